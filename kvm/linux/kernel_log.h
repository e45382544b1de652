/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's own words about a page that would not leave, or a device that is not ejected, from /dev/kmsg.
 */
#ifndef BALLAST_KVM_KERNEL_LOG_H
#define BALLAST_KVM_KERNEL_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include "cleanup.h"

struct sysroot;

/* A page named in "migrating pfn 203100 failed ret:1" and the "page:..." line that follows it. */
struct kernel_log_page {
	uint64_t pfn;
	int result;	 /* of the migration: positive (pages left) or -errno */
	bool has_counts; /* the page line was seen */
	int references;
	int mappings;
	bool is_anonymous; /* so that no cache has a reference */
	bool is_unmovable; /* named by has_unmovable_pages ("page dumped because: unmovable page")
			    */
};

/* Whether somebody holds it who does not map it. A page has a reference for each mapping, one of the
 * page cache where it is not anonymous, and one of whoever has isolated it. */
bool kernel_log_page_is_pinned(const struct kernel_log_page *page);

/*
 * Feeds one line (the text after the prefix of a kmsg record). *page is the caller's running
 * record, zeroed at first. True where *page is now complete or changed for the better, false where
 * the line is of another kind.
 */
bool kernel_log_parse_page(const char *line, struct kernel_log_page *page);

/* Why an eject came to nothing. */
struct kernel_log_eject {
	/*
	 * The firmware's device that it kept, by its ACPI path: _EJ0 failed, or left it enabled. The kernel has taken its
	 * memory away by then (drivers/acpi/scan.c acpi_scan_hot_remove calls acpi_bus_trim first). Empty: the kernel gave
	 * it up before that, for the sake of block, which did not stay offline (acpi_scan_try_to_offline).
	 */
	char path[128];
	char text[64];	/* of the firmware: the kernel's own words, "Eject incomplete - status 0xf" */
	uint64_t block;
};

/* *ret_eject is written where it returns true; false: the line is of another kind. */
bool kernel_log_parse_eject_refused(const char *line, struct kernel_log_eject *ret_eject);

struct kernel_log;

/* Opens /dev/kmsg at its end: only what comes after is read. */
int kernel_log_new(const struct sysroot *sysroot, struct kernel_log **ret_log);
struct kernel_log *kernel_log_free(struct kernel_log *log);
CLEANUP_DEFINE(struct kernel_log *, kernel_log_free)

/* Reads what is there without waiting. 1 where *page was changed, 0 where nothing (more) is there,
 * -errno. */
int kernel_log_next_page(struct kernel_log *log, struct kernel_log_page *page);
/* The same, of kernel_log_parse_eject_refused(). What lies between is lost for the other. */
int kernel_log_next_eject_refused(struct kernel_log *log, struct kernel_log_eject *ret_eject);

#endif
