/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a guest's placement libvirt itself can change on the running guest, and take back.
 */
#ifndef BALLAST_KVM_LIBVIRT_PLACEMENT_H
#define BALLAST_KVM_LIBVIRT_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include "name_table.h"

struct domain_xml;
struct domain_xml_placement;

enum placement_outcome {
	PLACEMENT_CAN_TAKE_BACK, /* restrictive: libvirt repeats it as often as asked */
	/*
	 * No numatune. Setting one live works once, moves all memory inside the call, and leaves
	 * the guest strict, which refuses every later change, undo included (qemu_driver.c
	 * qemuDomainSetNumaParamsLive).
	 */
	PLACEMENT_NO_NUMATUNE,
	PLACEMENT_STRICT,	   /* QEMU has no command for new host nodes: libvirt refuses */
	PLACEMENT_NOT_RESTRICTIVE, /* preferred, interleave: libvirt refuses likewise */
	PLACEMENT_AUTOMATIC,	   /* numad placed it: the next start places it anew */
	PLACEMENT_PER_CELL, /* memnodes: the one set that libvirt takes would overrule them all */
	PLACEMENT_NOT_RUNNING,
	PLACEMENT_OUTCOME_COUNT
};
NAME_TABLE_DECLARE(placement_outcome);

/* Whether virDomainSetNumaParameters may be used on this running guest. Pure. */
enum placement_outcome placement_can_take_back(const struct domain_xml *live);
/* One clause that says why not, for people. Never NULL. */
const char *placement_outcome_text(enum placement_outcome outcome);

/*
 * Whether the stored XML still lets the guest start when these host nodes (list format) are all
 * there are: false where a nodeset or a nodemask in it names another one.
 */
bool placement_stored_fits(const struct domain_xml *stored, const char *available_nodes);

/*
 * Replaces node from by node to in every set that *placement holds; sets that do not name it stay.
 * Returns how many changed, or -ENOSPC where the text of one would grow too long (nothing changed
 * then), or -ERANGE for a node of 1024 and more.
 */
int placement_replace_node(struct domain_xml_placement *placement, unsigned from, unsigned to);

/* What a move did to the guest, as its stored description has to follow. One of the three. */
struct placement_move {
	const signed char *map; /* host node to host node, -1: what is there stays; or NULL */
	size_t map_count;
	const signed char *cells; /* guest cell to host node, -1: it stays; or NULL */
	size_t cell_count;	  /* of the guest: every cell that it has stands in cells */
	const char *nodes;	  /* all of it is on these (list format); with cells: all that moved */
};

/*
 * Every set that *placement holds, as it must read after the move. By cells each memnode and each device follows its cell,
 * a cell without a memnode gets one, and the set of the whole guest is what the cells have together: libvirt makes the
 * guest's cpuset of it, so none may be missing. Where nothing names nodes for the guest and all of it has moved, it gets a
 * set for the whole. Returns 0; -EINVAL for a set that is none; -ENOSPC where a text would grow too long; with an error
 * nothing is changed.
 */
int placement_follow(struct domain_xml_placement *placement, const struct placement_move *move);

#endif
