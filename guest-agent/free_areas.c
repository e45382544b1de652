/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free page reporting (mm/page_reporting.c) tells of 32 pieces in one call, and every 2 s of a
 * sixteenth of each list and one call more, so that a long list has had its turn after 16 rounds. A
 * zone takes part while it has so many free pages that it can spare those of one call.
 */
#include "free_areas.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cleanup.h"
#include "size_text.h"
#include "sysroot.h"

/* A line of some 100 bytes for each zone. */
#define BUDDYINFO_LIMIT (256u << 10)
/* It goes on for hundreds of KiB on large machines; what is looked for stands at its beginning. */
#define PAGETYPEINFO_LIMIT (4u << 20)

/* 2 MiB of 4 KiB pages, as on every machine of today with those. */
#define BLOCK_ORDER 9
/* More than any kernel has (MAX_PAGE_ORDER). */
#define ORDERS 32

/* PAGE_REPORTING_CAPACITY, and how many parts of a list make a round. */
#define CALL_PIECES  32
#define ROUND_PARTS 16

static unsigned rounds_of(uint64_t pieces)
{
	uint64_t calls = (pieces + (uint64_t)CALL_PIECES * ROUND_PARTS - 1) /
				 ((uint64_t)CALL_PIECES * ROUND_PARTS) +
			 1;

	return (unsigned)((pieces + CALL_PIECES * calls - 1) / (CALL_PIECES * calls));
}

/* "Node 0, zone   Normal      4      3 ..." from the first count on. False where it is none. */
static bool add_zone(char *line, unsigned least_order, struct free_areas *areas)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), counts[ORDERS], all_pages = 0;
	char *zone = strstr(line, "zone "), *rest = NULL;
	unsigned count = 0;

	if (!zone)
		return false;
	/* The zone's name. */
	if (!strtok_r(zone + strlen("zone "), " ", &rest))
		return false;
	for (char *word = strtok_r(NULL, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		/* More pages there are on no machine, and sums of so many do not overflow. */
		if (count == ORDERS || size_text_parse_number(word, 10, &counts[count]) < 0 ||
		    counts[count] > UINT64_C(1) << 40 >> count)
			return false;
		all_pages += counts[count] << count;
		count++;
	}
	if (count == 0)
		return false;
	if (all_pages < (uint64_t)CALL_PIECES << least_order)
		return true;
	for (unsigned order = least_order; order < count; order++) {
		unsigned rounds = rounds_of(counts[order]);

		areas->bytes += (counts[order] << order) * page_bytes;
		if (rounds > areas->rounds)
			areas->rounds = rounds;
	}
	return true;
}

int free_areas_read(const struct sysroot *sysroot, unsigned least_order,
		    struct free_areas *ret_areas)
{
	CLEANUP_FREE char *text = NULL;
	struct free_areas areas = {0};
	char *rest = NULL;
	int error = sysroot_read_all(sysroot, BUDDYINFO_LIMIT, &text, NULL, "/proc/buddyinfo");

	if (error < 0)
		return error;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (!add_zone(line, least_order, &areas))
			return -EBADMSG;
	*ret_areas = areas;
	return 0;
}

unsigned free_areas_block_order(const struct sysroot *sysroot)
{
	static const char key[] = "Page block order:";
	CLEANUP_FREE char *text = NULL;
	unsigned order;

	if (sysroot_read_all(sysroot, PAGETYPEINFO_LIMIT, &text, NULL, "/proc/pagetypeinfo") < 0)
		return BLOCK_ORDER;
	const char *line = strstr(text, key);

	if (!line || sscanf(line + strlen(key), "%u", &order) != 1 || order >= ORDERS)
		return BLOCK_ORDER;
	return order;
}

unsigned free_areas_report_order(const struct sysroot *sysroot)
{
	uint64_t order;

	/* -1, which is no number here: nothing has registered yet. */
	if (sysroot_read_number(sysroot, 10, &order,
				"/sys/module/page_reporting/parameters/page_reporting_order") < 0 ||
	    order >= ORDERS)
		return free_areas_block_order(sysroot);
	return (unsigned)order;
}
