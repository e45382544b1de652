/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the drain planner share: who is made smaller for want of room (drain_shrink_next.c), which guests leave
 * and come home (drain_children.c, drain_part.c), what is under way meanwhile (drain_running.c), which blocks go offline
 * (drain_offline.c), and why something stayed (drain_remainder.c). drain_next.c has their order.
 */
#ifndef BALLAST_SERVICE_DRAIN_PRIV_H
#define BALLAST_SERVICE_DRAIN_PRIV_H

#include "block_refusals.h"
#include "drain_layout.h"
#include "guest_index.h"

struct drainer {
	const struct plan_input *input;
	const struct wish_drain *wish;
	struct decision *decision;
	struct drain_scope scope;
	uint64_t guest_bytes; /* of all guests, in the scope */
	uint64_t rest_bytes;  /* the same, and what the host itself has there */
	bool is_stuck;	      /* nothing was done with a guest: it has no place, or its moves came to nothing */
};

/* The step is what is decided. Always true, as the others below are where they have decided something. */
bool drain_emit(struct drainer *drainer, const struct step *step);

/* Ends the planning. Always true. */
bool drain_memory_is_short(struct drainer *drainer);

/* drain_shrink_next.c: with the consent, the resize that makes room for what has none. */
bool drain_shrink_next(struct drainer *drainer);
/* Why guests did not become as small as they were to; without bytes. */
void drain_shrink_tell(const struct drainer *drainer, struct remainder_list *list);
/* The guest's move, where it has a place, may be tried and is not to be left alone. */
bool drain_child_of(const struct drainer *drainer, const struct drain_layout *layout, size_t index,
		    struct step *ret_step, struct wish *ret_child);
/* The move of the largest guest that may be tried and has a place. */
bool drain_guest_next(struct drainer *drainer);
/* The move that brings a guest home that was bound to a node alone of which a part stays, and has left it with all. */
bool drain_home_next(struct drainer *drainer);
/*
 * drain_part.c: the undo that brings home what left a node of which a part stays. What does not come home is warned of,
 * with the bytes, also when time has run out and nothing is decided.
 */
bool drain_part_home_next(struct drainer *drainer);
/*
 * What these two would decide one after the other, if all of it worked, of a snapshot to which nobody has come home yet: for
 * dry runs. Each step is given to take(), which keeps a copy, does to the snapshot what the step would and returns false where
 * memory is short. guests: of that snapshot. False as well where memory is short.
 */
typedef bool drain_take_fn(void *user, const struct step *step);
bool drain_part_home_all(struct drainer *drainer, const struct guest_index *guests, drain_take_fn *take, void *user);
bool drain_home_all(struct drainer *drainer, const struct guest_index *guests, drain_take_fn *take, void *user);
/* How many moves of this guest out of the scope there were; *ret_last is the latest of them, or NULL. */
size_t drain_tries(const struct plan_input *input, const char *guest, const struct step_record **ret_last);
/* Where moves of this guest out of the scope have found no room, and taken none of it: it goes elsewhere. */
uint64_t drain_full_nodes(const struct plan_input *input, const struct snapshot_guest *guest);
/* Is a guest that has something in the scope not to be touched? By the child that the layout has for it. */
bool drain_leaves_alone(const struct drainer *drainer, const struct drain_layout *layout, size_t index,
			struct remainder_list *ret_why);
/* Is there any such guest? */
bool drain_leaves_any_alone(const struct drainer *drainer);

/* So little of a guest that nobody looks after it. */
bool drain_is_stray(const struct snapshot_guest *guest, uint64_t bytes);

/* Children, and undos of them, that run. */
size_t drain_running(const struct plan_input *input);
/* May so many more moves begin? */
bool drain_may_begin(const struct plan_input *input, size_t more);
/* May this guest be moved while those run? */
bool drain_may_run_beside(const struct plan_input *input, const struct snapshot_guest *guest);
/*
 * A copy of the snapshot in which all that runs has come to its end, so that the room which was promised to it is taken.
 * NULL where memory is short.
 */
struct snapshot *drain_foresee(const struct plan_input *input);

/* As many blocks as a step can name; the next step has the next. */
bool drain_offline_next(struct drainer *drainer);
/*
 * How often it was tried to take this block offline, but for what a restart cut off; *ret_last is the latest of them, or
 * NULL.
 */
size_t drain_offlines(const struct plan_input *input, uint64_t block, const struct step_record **ret_last);

/*
 * What a try has told of a block; NONE: nothing. Those of the step that was asked last are kept: zero-initialise, and
 * release at the end.
 */
struct drain_refusals {
	const struct step_record *of; /* borrowed: from the input's history */
	struct block_refusals told;
};
enum remainder_code drain_refusal(struct drain_refusals *refusals, const struct step_record *record, uint64_t block);
void drain_refusals_done(struct drain_refusals *refusals);

/*
 * drain_hooks.c: the host's hooks, once before the first block goes, and once after a drain that does not end with its undo,
 * which calls them itself.
 */
bool drain_hooks_next(struct drainer *drainer);
bool drain_hooks_after_next(struct drainer *drainer);

/* drain_slices.c: nodes that the drain holds wholly, and has emptied, leave the cpusets of slices; once. */
bool drain_slices_next(struct drainer *drainer);

/*
 * undrain_home.c: the move home of a guest whose memory a device pins, once its move out is undone. True where a step was
 * decided. What is not at home all the same is told, with the bytes.
 */
bool undrain_home_next(const struct plan_input *input, struct decision *decision);
void undrain_home_tell(const struct plan_input *input, struct remainder_list *list, struct remainder_list *warnings);

/* undrain_keep.c: does the wish give up this drain (NULL: its own) for good, so that what it has changed stays? */
bool undrain_keep_has(const struct plan_input *input, const struct plan_drain *drain);
/* Of such a drain: is the step one that is put back all the same? True of any other drain. */
bool undrain_keep_gives_back(const struct plan_input *input, const struct plan_drain *drain, const struct step_record *record);
/* The last steps: UNCORDON, by which it is given up, and what comes before that. True where a step was decided. */
bool undrain_keep_next(const struct plan_input *input, struct decision *decision);
bool undrain_keep_is_done(const struct plan_input *input);
/* What stays, before and after that. */
void undrain_keep_tell(const struct plan_input *input, struct remainder_list *warnings);

/* Why what is online (with blocks), or what guests have, did not go; the sum is exactly that. */
void drain_give_up(struct drainer *drainer, bool blocks);

#endif
