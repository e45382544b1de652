/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the survey is, beside the least that can be: reading the same part of /proc/PID/pagemap from end to end.
 *
 *   survey_rate PID [ROUNDS]
 *
 * Takes the process' shared and anonymous mappings of 16 MiB and more, and does both in turn, ROUNDS (5) times each; the
 * survey as a whole, and by units, as it counts a memory device.
 * Prints a line of JSON: bytes of address space, bare_us, survey_us and units_us (the best of each), ratio (how fast the
 * survey is beside the bare read: 1 is as fast).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "page_survey.h"
#include "sysroot.h"

#define RANGES_MAX  64
#define RANGE_BYTES (UINT64_C(16) << 20)
#define PAGE_BYTES  4096
#define UNIT_BYTES  (UINT64_C(128) << 20)
/* The same as the survey's: what differs is then what it does with the entries. */
#define BARE_BYTES  65536

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static size_t list_ranges(int pid, struct page_survey_range *ranges, uint64_t *ret_bytes)
{
	char path[64], line[512];
	size_t count = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	*ret_bytes = 0;
	while (maps && count < RANGES_MAX && fgets(line, sizeof(line), maps)) {
		uint64_t start, end;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " rw", &start, &end) != 2 ||
		    end - start < RANGE_BYTES)
			continue;
		ranges[count++] = (struct page_survey_range){start, end, PAGE_BYTES};
		*ret_bytes += end - start;
	}
	if (maps)
		fclose(maps);
	return count;
}

static int read_bare(int pagemap, const struct page_survey_range *ranges, size_t count)
{
	static char buffer[BARE_BYTES];

	for (size_t i = 0; i < count; i++) {
		uint64_t at = ranges[i].start / PAGE_BYTES * 8, end = ranges[i].end / PAGE_BYTES * 8;

		while (at < end) {
			ssize_t got = pread(pagemap, buffer,
					    end - at < BARE_BYTES ? end - at : BARE_BYTES, (off_t)at);

			if (got <= 0)
				return -1;
			at += (uint64_t)got;
		}
	}
	return 0;
}

static int count_units(struct page_survey *survey, const struct page_survey_range *ranges, size_t count,
		       struct page_survey_totals *totals)
{
	int rc = 0;

	for (size_t i = 0; i < count; i++) {
		struct page_survey_range unit = ranges[i];

		for (; !rc && unit.start < ranges[i].end; unit.start = unit.end) {
			unit.end = ranges[i].end - unit.start < UNIT_BYTES ? ranges[i].end : unit.start + UNIT_BYTES;
			rc = page_survey_count(survey, &unit, 1, totals);
		}
	}
	return rc;
}

int main(int argc, char **argv)
{
	CLEANUP(sysroot_freep) struct sysroot *sysroot = NULL;
	CLEANUP(physical_map_freep) struct physical_map *map = NULL;
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	struct page_survey_range ranges[RANGES_MAX];
	struct page_survey_options options = {0};
	uint64_t bytes, bare = UINT64_MAX, ours = UINT64_MAX, by_units = UINT64_MAX, present = 0;
	int pid = argc > 1 ? atoi(argv[1]) : 0, rounds = argc > 2 ? atoi(argv[2]) : 5, pagemap;
	char path[64];
	size_t count;

	if (pid <= 0 || rounds < 1) {
		fprintf(stderr, "usage: survey_rate PID [ROUNDS]\n");
		return 2;
	}
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	count = list_ranges(pid, ranges, &bytes);
	if (pagemap < 0 || !count || sysroot_new("/", &sysroot) || physical_map_read(sysroot, &map)) {
		fprintf(stderr, "survey_rate: cannot look at process %d\n", pid);
		return 1;
	}
	options.map = map;
	if (page_survey_new(sysroot, pid, &options, &survey))
		return 1;
	for (int i = 0; i < rounds; i++) {
		CLEANUP_FREE struct page_survey_totals *totals = calloc(1, sizeof(*totals));
		uint64_t began = now_us(), took;

		if (!totals || read_bare(pagemap, ranges, count))
			return 1;
		took = now_us() - began;
		bare = took < bare ? took : bare;
		began = now_us();
		if (page_survey_count(survey, ranges, count, totals))
			return 1;
		took = now_us() - began;
		ours = took < ours ? took : ours;
		present = totals->present_bytes;
		began = now_us();
		if (count_units(survey, ranges, count, totals))
			return 1;
		took = now_us() - began;
		by_units = took < by_units ? took : by_units;
	}
	printf("{\"bytes\":%" PRIu64 ",\"present_bytes\":%" PRIu64 ",\"bare_us\":%" PRIu64
	       ",\"survey_us\":%" PRIu64 ",\"units_us\":%" PRIu64 ",\"ratio\":%.3f}\n",
	       bytes, present, bare, ours, by_units, (double)bare / (double)(ours ? ours : 1));
	close(pagemap);
	return 0;
}
