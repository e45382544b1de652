/* SPDX-License-Identifier: Apache-2.0 */
#include "buddy_info.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cleanup.h"
#include "sysroot.h"

/* A line of some 130 characters for each zone of each node. */
#define FILE_LIMIT (256 * 1024)
#define HUGE_BYTES (UINT64_C(2) << 20)

/* "Node 0, zone   Normal    5    3 ...": how many pieces of 1, 2, 4 ... pages (mm/vmstat.c frag_show_print). */
static int parse_line(char *line, uint64_t piece_bytes, uint64_t *small_bytes, size_t count)
{
	uint64_t size = (uint64_t)sysconf(_SC_PAGESIZE);
	unsigned node;
	int at = 0;
	char *rest;

	if (sscanf(line, "Node %u, zone %*s%n", &node, &at) != 1 || !at)
		return -EBADMSG;
	rest = line + at;
	for (;; size *= 2) {
		char *end;
		unsigned long long pieces;

		rest += strspn(rest, " ");
		if (!*rest)
			return 0;
		errno = 0;
		pieces = strtoull(rest, &end, 10);
		if (end == rest || errno || *rest == '-' || (*end && *end != ' '))
			return -EBADMSG;
		if (size < piece_bytes && node < count)
			small_bytes[node] += pieces * size;
		rest = end;
	}
}

int buddy_info_read(const struct sysroot *sysroot, uint64_t piece_bytes, uint64_t *small_bytes,
		    size_t count)
{
	CLEANUP_FREE char *text = NULL;
	char *rest, *line;
	int rc = sysroot_read_all(sysroot, FILE_LIMIT, &text, NULL, "/proc/buddyinfo");

	rest = text;
	while (!rc && (line = strsep(&rest, "\n")))
		if (*line)
			rc = parse_line(line, piece_bytes, small_bytes, count);
	return rc;
}

uint64_t buddy_info_huge_bytes(const struct sysroot *sysroot)
{
	uint64_t bytes;
	int rc = sysroot_read_number(sysroot, 10, &bytes,
				     "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");

	return rc || !bytes ? HUGE_BYTES : bytes;
}
