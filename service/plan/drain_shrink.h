/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where what a drain has to place has no room: which guests become smaller, by how much, and by which of their memory.
 *
 * What is taken lies in the drain's scope: units of the guests' memory devices of which the host has at least a quarter
 * there, those with most of it first. The guest with the lowest priority gives first, of equal ones who has no place
 * itself; each no more than it can spare, and all together no more than is missing, in whole blocks of the guest.
 */
#ifndef BALLAST_SERVICE_DRAIN_SHRINK_H
#define BALLAST_SERVICE_DRAIN_SHRINK_H

#include "drain_layout.h"

/* What one guest gives. */
struct drain_shrink_part {
	size_t guest;		/* by its place in the snapshot */
	uint64_t bytes;		/* that it becomes smaller by */
	uint64_t target_bytes;	/* of them resident in the scope */
	uint64_t node_bytes[SNAPSHOT_NODES_MAX];	/* the same by node */
	uint64_t device_bytes[SNAPSHOT_DEVICES_MAX];	/* of bytes, by device */
	size_t range_count;
	struct snapshot_range ranges[SNAPSHOT_RANGES_MAX];	/* guest-physical; their sum is bytes */
};

/*
 * What the guest gives of these devices (a mask, by their places) for a while, so that it leaves the scope: no more than
 * most_bytes at once, of any unit that has some there but for what move_replug_begin() says was taken so before. Where it
 * can spare none the part has no bytes.
 */
void drain_shrink_portion(const struct plan_input *input, const struct drain_scope *scope,
			  const struct snapshot_guest *guest, uint64_t devices, uint64_t most_bytes,
			  struct drain_shrink_part *ret_part);
/* Resident bytes in the scope of all units that could be given so, one portion after the other; at most what devices give. */
uint64_t drain_shrink_in_portions(const struct plan_input *input, const struct drain_scope *scope,
				  const struct snapshot_guest *guest, uint64_t devices);

struct drain_shrink {
	struct drain_layout plain;	/* owned: with all guests as they are */
	bool is_needed;			/* there something has no place */
	bool is_enough;			/* with what follows everything has */
	uint64_t could_bytes;		/* most that guests could give of the scope; 0 where none is needed */
	/* Only where it is enough: */
	struct drain_layout shrunk;	/* owned: with these guests as they are to be */
	size_t part_count;
	struct drain_shrink_part *parts;	/* owned; who gives first stands first */
	uint64_t bytes, target_bytes;	/* of all parts */
	uint64_t *less;			/* owned: as drain_layout_find_less() takes it */
};

/* Whether or not the wish has the consent. 0, or -ENOMEM with *ret_shrink empty. To be given to drain_shrink_done(). */
int drain_shrink_find(const struct plan_input *input, const struct drain_scope *scope, struct drain_shrink *ret_shrink);
void drain_shrink_done(struct drain_shrink *shrink);

#endif
