/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A write to a kernel file that takes its time, and that can be given up.
 *
 * A child process of ours writes, because such a write ends early by nothing but a signal that kills: a compaction looks
 * for one every few pages (mm/compaction.c isolate_migratepages_block), clear_refs while it waits for the map lock
 * (fs/proc/task_mmu.c clear_refs_write).
 */
#ifndef BALLAST_KVM_SLOW_WRITE_H
#define BALLAST_KVM_SLOW_WRITE_H

#include "cleanup.h"

struct sysroot;

/* Asked some times a second while the write is under way: 0 lets it go on, anything else gives it up. */
typedef int slow_write_go_on_fn(void *user);

/*
 * As sysroot_write_text(), on the calling thread, which waits. Where go_on gives it up, what go_on said: the write has
 * ended then, or ends as soon as the kernel lets it, a moment later or, in the walk of clear_refs, when it is done.
 * Whatever it had done stays done. go_on NULL: it is waited for. Any thread may call it.
 */
int slow_write_text(const struct sysroot *sysroot, const char *text, slow_write_go_on_fn *go_on, void *user,
		    const char *path, ...) PRINTF_LIKE(5, 6);

#endif
