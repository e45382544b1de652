/* SPDX-License-Identifier: Apache-2.0 */
#include "huge_room.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "sysroot.h"

/* A line a zone, four zones a node, a thousand nodes. */
#define TEXT_LIMIT ((size_t)1 << 20)

/* "   311     48      7 ...": free pieces of each order. */
static uint64_t count_pieces(const char *text, unsigned order)
{
	uint64_t number, pieces = 0;
	int used;

	for (unsigned at = 0; sscanf(text, "%" SCNu64 "%n", &number, &used) == 1; at++, text += used)
		if (at >= order)
			pieces += number << (at - order);
	return pieces;
}

int huge_room_read(const struct sysroot *sysroot, int node_id, uint64_t piece_bytes, uint64_t *ret_pieces)
{
	CLEANUP_FREE char *text = NULL;
	uint64_t pages = piece_bytes / (uint64_t)sysconf(_SC_PAGESIZE), pieces = 0;
	char *line, *save = NULL;
	int rc;

	if (!pages || pages & (pages - 1))
		return -EINVAL;
	rc = sysroot_read_all(sysroot, TEXT_LIMIT, &text, NULL, "/proc/buddyinfo");
	if (rc < 0)
		return rc;
	/* "Node 0, zone   Normal    311     48 ..." */
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		int node, used = 0;

		if (sscanf(line, "Node %d, zone %*s%n", &node, &used) != 1 || !used)
			return -EBADMSG;
		if (node == node_id)
			pieces += count_pieces(line + used, (unsigned)__builtin_ctzll(pages));
	}
	*ret_pieces = pieces;
	return 0;
}

int huge_room_compact(const struct sysroot *sysroot, int node_id, slow_write_go_on_fn *go_on, void *user)
{
	if (node_id < 0)
		return slow_write_text(sysroot, "1", go_on, user, "/proc/sys/vm/compact_memory");
	return slow_write_text(sysroot, "1", go_on, user, "/sys/devices/system/node/node%d/compact", node_id);
}
