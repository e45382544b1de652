/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest's finished operations have left it with, beside what libvirt knows: read from their records, so that it
 * outlives a restart of the daemon. Pure.
 */
#ifndef BALLAST_SERVICE_KEPT_PLACEMENT_H
#define BALLAST_SERVICE_KEPT_PLACEMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "operation_record.h"
#include "snapshot.h"

struct kept_placement {
	uint64_t mems;			/* cpuset.mems of its cgroups as set last; 0: not set round libvirt */
	bool is_libvirts;		/* libvirt set them last, as asked: it keeps them itself */
	json_t *groups;			/* owned; of that step: [{path, inode, mems}], the groups that were there; or NULL */
	bool has_policy;		/* a policy of its shared memory was set: policy says which */
	struct step policy;		/* of kind MEMORY_POLICY */
	int8_t cells[SNAPSHOT_CELLS_MAX]; /* by kept_placement_see_cells(): the node of each cell's shared memory plus one; 0: not known */
	uint64_t cpu_nodes;		/* on whose CPUs all its threads were pinned last; 0: nobody asked for that */
	uint64_t wanted_nodes;		/* where it was moved to; 0: it was not moved */
	uint64_t left_nodes;		/* what of it lies there has come there since, or was left there */
};

void kept_placement_done(struct kept_placement *kept);

/*
 * Adds what this operation left; called newest first, because what a later one set stands. An operation of another
 * guest, one that is not finished, steps that were undone and steps on another process of the guest add nothing: what
 * was changed of a process ended with it. Returns 0 or -ENOMEM.
 */
int kept_placement_take(struct kept_placement *kept, const struct operation_record *operation,
			const struct snapshot_guest *guest);

/* What the step wrote down of this process of the guest: a new reference. NULL: nothing, or it was of another one. */
json_t *kept_placement_before(const struct step_record *record, const struct snapshot_guest *guest);

/* Takes over from an older word what this one does not say. */
int kept_placement_inherit(struct kept_placement *kept, const struct kept_placement *older);

/*
 * Remembers where the policies of the guest's shared memory say that each cell belongs: for a guest whose memory devices
 * have all been seen. A cell whose parts do not agree on one node keeps what was remembered of it.
 */
void kept_placement_see_cells(struct kept_placement *kept, const struct snapshot_guest *guest);

/*
 * The policy for a memory device that has come since. One that was set by a map of nodes says what became of nodes that
 * the device has never been on, and set again it would shift the others once more; then it is the cell that says where the
 * device belongs. False: that is not known, or no policy was set. 0 or -ENOMEM in *ret_error; the caller ends the step.
 */
bool kept_placement_new_policy(const struct kept_placement *kept, struct step *ret_step, int *ret_error);

enum kept_placement_verdict {
	KEPT_PLACEMENT_RIGHT,
	KEPT_PLACEMENT_NEW_GROUPS,	/* groups that came since say something else: libvirt gave them what it knows */
	KEPT_PLACEMENT_OVERRULED,	/* a group that was there before was changed: somebody meant it */
	KEPT_PLACEMENT_VERDICT_COUNT
};

/*
 * Compares the guest's cgroups as they are now ([{path, inode, mems}]) with what is kept. A group without a set of its
 * own inherits and is right. *ret_detail names the groups and their sets: "vcpu1: cpuset.mems 3, not 2".
 */
enum kept_placement_verdict kept_placement_judge(const struct kept_placement *kept, const json_t *groups,
						 char detail[160]);

#endif
