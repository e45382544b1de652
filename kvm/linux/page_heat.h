/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of a process were used lately, by what this kernel offers:
 *
 *  - idle page tracking (CONFIG_IDLE_PAGE_TRACKING, /sys/kernel/mm/page_idle/bitmap): pages are marked idle, and a mark is
 *    gone as soon as the page was read or written. Costs a write for every page, and later a walk over its mappings.
 *    Pages of hugetlb are not tracked: they always count as hot.
 *  - else soft-dirty (CONFIG_MEM_SOFT_DIRTY, /proc/PID/clear_refs): tells of writes alone. Beginning takes the map lock,
 *    write-protects every page of the process and flushes its TLBs; under KVM the second-level tables go with them
 *    (fs/proc/task_mmu.c clear_refs_write). Each page's next write is a fault of the guest's. Others who use soft-dirty
 *    on the same process, as CRIU does, lose what they had. So only where somebody asked for it.
 */
#ifndef BALLAST_KVM_PAGE_HEAT_H
#define BALLAST_KVM_PAGE_HEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "cleanup.h"
#include "name_table.h"
#include "slow_write.h"

struct page_survey;
struct page_survey_range;
struct sysroot;

enum page_heat_source { PAGE_HEAT_IDLE, PAGE_HEAT_SOFT_DIRTY, PAGE_HEAT_COUNT };
NAME_TABLE_DECLARE(page_heat_source);

struct page_heat;

/* -EOPNOTSUPP where the kernel has neither; -EPERM where we may not. One object serves one thread. */
int page_heat_new(const struct sysroot *sysroot, pid_t pid, struct page_heat **ret_heat);
struct page_heat *page_heat_free(struct page_heat *heat);
CLEANUP_DEFINE(struct page_heat *, page_heat_free)
enum page_heat_source page_heat_source(const struct page_heat *heat);

/*
 * From now on every page of these ranges counts as cold until it is used. For all threads at once; survey is of the same
 * process, and its walk is lost. 0 or -errno; go_on is asked now and then, and gives it up as in slow_write_text(): then
 * nothing counts as anything.
 */
int page_heat_begin(struct page_heat *heat, struct page_survey *survey, const struct page_survey_range *ranges,
		    size_t count, slow_write_go_on_fn *go_on, void *user);

/* Whether a page was used since then, by its entry in /proc/PID/pagemap. */
bool page_heat_is_hot(struct page_heat *heat, uint64_t entry);
/* The bit of such an entry that alone decides; 0: there is none. */
uint64_t page_heat_bit(const struct page_heat *heat);

#endif
