/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether memory can ever be emptied, judged by its blocks, and what an administrator would change at the next boot where
 * it cannot. Pure.
 */
#ifndef BALLAST_SERVICE_MOVABILITY_H
#define BALLAST_SERVICE_MOVABILITY_H

#include "snapshot.h"

struct movability {
	size_t blocks, fixed_blocks;	/* fixed: online, and not in the movable zone */
	uint64_t fixed_bytes;
	size_t fixed_hotpluggable;	/* of the fixed blocks: the firmware calls them hot-pluggable */
	size_t fixed_boot;		/* of the fixed blocks: no memory device has them; only where all devices are known */
};

void movability_add(struct movability *movability, const struct snapshot_block *block);
/* Of all blocks of a node. */
struct movability movability_of_node(const struct snapshot *snapshot, int node);

/* yes, no or partly; unknown without a block. */
enum answer movability_answer(const struct movability *movability);
/*
 * What to change so that fixed blocks can leave after the next boot. NULL where it is not known what the firmware says of
 * them: then the usual way out of the code is all there is.
 */
const char *movability_way_out(const struct snapshot *snapshot, const struct movability *movability);
/*
 * Are there huge pages of 1 GiB in use on the node for which the others have too few free ones? The kernel makes none when
 * it moves them (mm/hugetlb.c alloc_migrate_huge_page). Free ones leave with their blocks.
 */
bool movability_is_barred_by_pools(const struct snapshot *snapshot, int node);
/* Adds what the node has of such pages, for the object, and what to do about them; nothing where it has none. */
void movability_remain_pools(const struct snapshot *snapshot, int node, const char *object, struct remainder_list *list);
/* Adds why not, for the object; nothing where all of it is movable. */
void movability_remain(const struct movability *movability, const struct snapshot *snapshot, const char *object,
		       struct remainder_list *list);

#endif
