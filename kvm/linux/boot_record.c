/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cleanup.h"
#include "sysroot.h"

/* A host that was off for the night was not rebooting; one that trains terabytes of memory takes half an hour. */
#define REBOOT_S_MAX 7200

static bool is_user(const struct utmpx *entry, const char *user)
{
	return strncmp(entry->ut_user, user, sizeof(entry->ut_user)) == 0;
}

/* What is known of the last reboot is all that will be. */
static void settle(struct boot_record *record)
{
	int64_t end = record->up_s ? record->up_s : record->boot_s;

	if (record->down_s && record->boot_s && end > record->down_s && end - record->down_s <= REBOOT_S_MAX)
		record->took_s[record->count++ % BOOT_RECORD_KEPT] = (uint32_t)(end - record->down_s);
	record->down_s = record->boot_s = record->up_s = 0;
}

void boot_record_add(struct boot_record *record, const struct utmpx *entry)
{
	int64_t at = entry->ut_tv.tv_sec;

	if (at <= 0)
		return;
	if (entry->ut_type == RUN_LVL && is_user(entry, "shutdown")) {
		settle(record);
		record->down_s = at;
	} else if (entry->ut_type == BOOT_TIME) {
		/* A second boot without a shutdown was no orderly one. */
		if (record->boot_s)
			settle(record);
		record->boot_s = record->down_s && at >= record->down_s ? at : 0;
		if (!record->boot_s)
			record->down_s = 0;
	} else if (entry->ut_type == RUN_LVL && record->boot_s && !record->up_s && at >= record->boot_s) {
		record->up_s = at;
	} else if (entry->ut_type == OLD_TIME || entry->ut_type == NEW_TIME) {
		/* The clock was set: what came before cannot be compared with what comes. */
		if (!record->up_s)
			record->down_s = record->boot_s = 0;
	}
}

static int compare_times(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return a < b ? -1 : a > b;
}

uint32_t boot_record_median_s(const struct boot_record *record)
{
	unsigned kept = record->count < BOOT_RECORD_KEPT ? record->count : BOOT_RECORD_KEPT;
	uint32_t sorted[BOOT_RECORD_KEPT];

	if (!kept)
		return 0;
	memcpy(sorted, record->took_s, kept * sizeof(sorted[0]));
	qsort(sorted, kept, sizeof(sorted[0]), compare_times);
	return sorted[kept / 2];
}

/* One that is not there holds nothing. */
static int read_file(const struct sysroot *sysroot, const char *path, struct boot_record *record)
{
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_RDONLY, "%s", path);
	const struct utmpx *entry;
	char name[32];

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	/* The library takes a name only, and the file may lie below another root. */
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	if (utmpxname(name) < 0)
		return -EINVAL;
	setutxent();
	while ((entry = getutxent()))
		boot_record_add(record, entry);
	endutxent();
	return 0;
}

int boot_record_read(const struct sysroot *sysroot, uint32_t *ret_s)
{
	struct boot_record record = {0};
	int r = read_file(sysroot, "/var/log/wtmp.1", &record);

	if (r == 0)
		r = read_file(sysroot, "/var/log/wtmp", &record);
	/* For whoever else asks the library. */
	utmpxname("/var/run/utmp");
	if (r < 0)
		return r;
	settle(&record);
	*ret_s = boot_record_median_s(&record);
	return 0;
}
