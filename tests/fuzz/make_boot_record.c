/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the corpus of fuzz_boot_record into the folder that is named.
 */
#include <stdint.h>
#include <string.h>
#include <utmpx.h>
#include "corpus_file.h"

#define REBOOTS 7

static void fill(struct utmpx *entry, short type, const char *user, int at)
{
	memset(entry, 0, sizeof(*entry));
	entry->ut_type = type;
	memcpy(entry->ut_user, user, strlen(user));
	entry->ut_tv.tv_sec = at;
}

int main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[1] : ".";
	struct utmpx entries[REBOOTS * 3];

	for (int i = 0; i < REBOOTS; i++) {
		int at = 1700000000 + i * 86400;

		fill(&entries[i * 3], RUN_LVL, "shutdown", at);
		fill(&entries[i * 3 + 1], BOOT_TIME, "reboot", at + 40 + i);
		fill(&entries[i * 3 + 2], RUN_LVL, "runlevel", at + 60 + i);
	}
	corpus_file_save(folder, "boot_record_reboots", entries, sizeof(entries));
	corpus_file_save(folder, "boot_record_cut", entries, sizeof(entries) - 17);
	/* Texts without an end, times before 1970, and after a shutdown nothing for years. */
	memset(entries[1].ut_user, 'x', sizeof(entries[1].ut_user));
	entries[4].ut_tv.tv_sec = -1;
	entries[7].ut_tv.tv_sec = INT32_MAX;
	corpus_file_save(folder, "boot_record_forged", entries, sizeof(entries));
	return EXIT_SUCCESS;
}
