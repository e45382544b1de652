/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the planners share: room on nodes, questions about the history, and the goals that a check, a dry run and a
 * planner must understand alike.
 */
#ifndef BALLAST_SERVICE_PLAN_PRIV_H
#define BALLAST_SERVICE_PLAN_PRIV_H

#include "plan.h"

/* plan_common.c: nodes */
uint64_t plan_node_bit(int node);
uint64_t plan_memory_nodes(const struct snapshot *snapshot);
unsigned plan_node_count(uint64_t nodes);
int plan_first_node(uint64_t nodes);		/* -1: none */
uint8_t plan_distance(const struct snapshot *snapshot, int from, int to);
/* From the nearest of the nodes that the guest's vCPUs may run on. */
uint8_t plan_cpu_distance(const struct snapshot *snapshot, const struct snapshot_guest *guest, int node);
/*
 * What may still be taken of a node: its free memory less its share of the host's reserve, which the nodes bear by
 * size. Nodes in without bear nothing: they are about to leave.
 */
uint64_t plan_room(const struct plan_input *input, int node, uint64_t without);
/* The same for memory of this guest: free huge pages of its size count, and room is cut to whole pages. */
uint64_t plan_guest_room(const struct plan_input *input, const struct snapshot_guest *guest, int node,
			 uint64_t without);
/* Takes bytes out of what is left on these nodes, by number. Returns what is lacking. */
uint64_t plan_take_room(uint64_t left[SNAPSHOT_NODES_MAX], uint64_t nodes, uint64_t bytes);
uint64_t plan_with_pools(const struct plan_input *input, const struct snapshot_guest *guest, int node, uint64_t room);
struct snapshot_pool *plan_pool(const struct snapshot *snapshot, int node, uint64_t page_bytes);
/* "0,2": at most 32 bytes of them. Returns text. */
const char *plan_nodes_text(uint64_t nodes, char text[32]);

/* plan_common.c: guests */
/* Of each pair of nodes, bytes a second; 0: none. */
uint64_t plan_move_budget(const struct plan_input *input);
/* What it is not to be shrunk below, by its policy and by its own last word. */
uint64_t plan_guest_floor(const struct snapshot_guest *guest);
bool plan_guest_runs(const struct snapshot_guest *guest);
/* Do the control groups above the guest's own leave it this node? Nobody can widen its cpuset beyond that. */
bool plan_guest_may_use(const struct snapshot_guest *guest, int node);
uint64_t plan_guest_huge_page(const struct snapshot_guest *guest);	/* the largest of hugetlb; 0: no such backing */
/* The smallest of hugetlb that is larger than this; 0: there is none. */
uint64_t plan_guest_next_size(const struct snapshot_guest *guest, uint64_t page_bytes);
/*
 * How much of these bytes, which the guest has on the node, is in huge pages of this size: all that the survey has found there,
 * of a part of the node's its share. Where none has told them by node (-1: none can), the share of the guest as a whole.
 */
uint64_t plan_guest_size_bytes(const struct snapshot_guest *guest, int node, uint64_t bytes, uint64_t page_bytes);
/* Resident in hugetlb pages of this size; of this size and larger ones with and_larger. */
uint64_t plan_guest_huge_bytes(const struct snapshot_guest *guest, uint64_t page_bytes, bool and_larger);
bool plan_guest_has(const struct snapshot_guest *guest, enum backing_kind kind);
uint64_t plan_guest_nodes(const struct snapshot_guest *guest);		/* where it has pages */
bool plan_agent_can(const struct snapshot_guest *guest, enum agent_feature feature);
/* Does the kernel rewrite the part's policy when the cpuset changes? Those of shared memory belong to its inode. */
bool plan_part_is_rebound(const struct snapshot_guest *guest, size_t part);
const char *plan_guest_object(const struct snapshot_guest *guest, char text[96]);
/*
 * The guest-physical range that is the device's, so that the agent can be told which blocks are meant. false: its blocks
 * cannot be told from those of others. All addresses where the guest has no other device.
 */
bool plan_device_range(const struct snapshot_guest *guest, const struct snapshot_device *device,
		       struct snapshot_range *ret_range);
/* Nodes on which new memory of the guest may land. */
uint64_t plan_growth_nodes(const struct plan_input *input, const struct snapshot_guest *guest);

/*
 * growth_room.c: plan_room() of each node for a guest that is to grow; with keeps_untouched less what guests have been
 * given, or are promised, and have not touched yet, spread over the nodes where it may land.
 */
void growth_room_find(const struct plan_input *input, const struct snapshot_guest *guest, bool keeps_untouched,
		      uint64_t rooms[SNAPSHOT_NODES_MAX]);
/* plan_guest_room() likewise. */
void growth_room_find_guest(const struct plan_input *input, const struct snapshot_guest *guest, bool keeps_untouched,
			    uint64_t rooms[SNAPSHOT_NODES_MAX]);
/* What that is in all while this guest is to grow. */
uint64_t growth_room_untouched(const struct plan_input *input, const struct snapshot_guest *guest);

/* plan_common.c: the history. A step counts whatever became of it, unless it was undone. */
size_t plan_count(const struct plan_input *input, enum step_kind kind);
/* A restart of the daemon cut it short: whatever it was to do may be asked for again. */
bool plan_was_cut(const struct step_record *record);
/* Likewise, without those that were cut. */
size_t plan_tried(const struct plan_input *input, enum step_kind kind);
const struct step_record *plan_last(const struct plan_input *input, enum step_kind kind);	/* NULL: none */
bool plan_is_late(const struct plan_input *input);
uint64_t plan_min(uint64_t a, uint64_t b);
/* This part of bytes, of a whole that has no less. */
uint64_t plan_share(uint64_t bytes, uint64_t part, uint64_t whole);

/*
 * Why there is more left than the last move of a guest's memory has told of: a move that came to its end tells of every
 * byte that it found. last may be NULL.
 */
enum remainder_code plan_unexplained(const struct step_record *last, const char **ret_why);

/* plan_common.c: decisions */
void plan_step_init(struct step *step, enum step_kind kind, const struct snapshot_guest *guest);
void plan_decide(struct decision *decision, const struct step *step);
/* Entries of from, cut so that they sum up to at most *rest, which shrinks by them. */
void plan_take_entry(struct remainder_list *to, const struct remainder *from, uint64_t *rest);
void plan_take_remainder(struct remainder_list *to, const struct remainder_list *from, uint64_t *rest);

/* resize_targets.c, resize_balloon.c, resize_rungs.c */
/* Nodes on which new memory of this device may land: those that its cell is bound to, of those that the guest may use. */
uint64_t resize_device_nodes(const struct plan_input *input, const struct snapshot_guest *guest,
			     const struct snapshot_device *device);
void resize_targets(const struct plan_input *input, const struct snapshot_guest *guest,
		    uint64_t targets[SNAPSHOT_DEVICES_MAX]);
bool resize_is_balloon(const struct snapshot_guest *guest);
/*
 * What the agent cannot do of what such a resize may need: that is left out. Hooks are the guest's own affair, and no lack.
 */
void resize_warn_of_agent(const struct plan_input *input, const struct snapshot_guest *guest, struct remainder_list *warnings);

/*
 * move_goal.c: what a move's wish means for this guest now. A goal is opaque where residency by node cannot tell
 * whether it is reached: cells, maps in which a destination is a source too, and ranges.
 */
struct move_goal {
	bool by_cells, opaque;
	bool in_ranges;			/* only what lies in the wish's ranges, and for a while: policies stay as they are */
	int8_t map[SNAPSHOT_NODES_MAX];
	int8_t cells[SNAPSHOT_CELLS_MAX];
	uint64_t to_nodes;		/* all of the guest belongs there; 0: only the map's sources leave */
	uint64_t sources;		/* nodes with pages that are to leave */
	uint64_t destinations;
	uint64_t left_bytes;
	uint64_t needs_bytes[SNAPSHOT_NODES_MAX];
	uint64_t leaves_bytes[SNAPSHOT_NODES_MAX]; /* the same by source; not by cells */
};
/* A move under planning: what its parts share. */
struct mover {
	const struct plan_input *input;
	const struct snapshot_guest *guest;
	struct decision *decision;
	struct move_goal goal;
	/* Why no page can come there any more, although time is left; REMAINDER_NONE: nothing hinders it. */
	enum remainder_code shut_out;
	const char *shut_out_why;
	char object[96];
};
void move_goal_find(const struct plan_input *input, const struct snapshot_guest *guest, struct move_goal *ret_goal);
/* Where what was to move lay when this operation began to move it. */
uint64_t move_goal_first_sources(const struct plan_input *input, const struct move_goal *goal);
/* What, from where and to where: the fields that every step which brings pages to the goal has. */
void move_goal_fill_step(const struct move_goal *goal, struct step *step);
/* The node to which a goal by cells sends a part; -1: none, or its cell is not known. */
int move_goal_cell_node(const struct move_goal *goal, const struct snapshot_backing *part);
/* How much comes to the node in huge pages of this size, at most: whole pages. */
uint64_t move_goal_size_bytes(const struct snapshot_guest *guest, const struct move_goal *goal, int node, uint64_t page_bytes);
/* The policy that fits the goal, whether or not it is so already. false: none can or should be set. */
bool move_goal_policy(const struct snapshot_guest *guest, const struct move_goal *goal, enum policy_mode *ret_mode,
		      uint64_t *ret_nodes);
/* Is any part that can have a policy set bound elsewhere than the goal wants it, although together they fit? */
bool move_goal_part_differs(const struct plan_input *input, const struct snapshot_guest *guest,
			    const struct move_goal *goal);
/* Is any part that only a change of the cpuset can rebind bound elsewhere than the goal wants it? */
bool move_goal_part_is_stuck(const struct plan_input *input, const struct snapshot_guest *guest,
			     const struct move_goal *goal);
/*
 * The map by which sets of nodes that differ from part to part are carried over, for all of these nodes: where the goal
 * is "to" nodes, one on which the guest has no page (any more) goes along all the same.
 */
void move_goal_map(const struct plan_input *input, const struct move_goal *goal, uint64_t nodes,
		   int8_t ret_map[SNAPSHOT_NODES_MAX]);
/*
 * Does any of the memory that this operation moves go farther from the guest's vCPUs, and how far are they then? Of cells
 * whose nodes are not known: farther than all of it was.
 */
bool move_goal_is_farther(const struct plan_input *input, const struct snapshot_guest *guest, const struct move_goal *goal,
			  uint8_t *ret_before, uint8_t *ret_after);
/* Nodes by the goal: those that leave replaced by where they go. */
uint64_t move_goal_nodes(const struct move_goal *goal, uint64_t nodes);
/*
 * Can the goal be written into stored XML that names no nodes? Of several nodes not: libvirt prefers one only, unless it was
 * built with MPOL_PREFERRED_MANY (util/virnuma.c virNumaSetupMemoryPolicy), and does not start the guest else.
 */
bool move_goal_can_be_stored(const struct snapshot_guest *guest, const struct move_goal *goal);
/* Must what names these nodes for parts of the guest, as its stored XML does, be written anew? */
bool move_goal_renames(const struct plan_input *input, const struct move_goal *goal, uint64_t nodes);
/* Would writing the cpuset rewrite the policy of any part of the guest to what neither was nor is wished? */
bool move_goal_shifts(const struct plan_input *input, const struct snapshot_guest *guest, const struct move_goal *goal,
		      uint64_t new_mems);

/*
 * move_shape.c: how a MOVE_PAGES step goes about it.
 * Workers: two threads, four for much memory on a large host, and one only where a piece would be small, where pages are
 * of 1 GiB, or where the guest has felt more than the caller's stall budget. All moves together have no more than half of
 * the host's CPUs, but one thread each. Decided when the step is planned: a move that begins or ends beside it changes
 * nothing of it until its next pass.
 */
unsigned move_shape_workers(const struct plan_input *input, const struct snapshot_guest *guest, uint64_t bytes);
/* The longest pause that one call may cause the guest: 1 GiB pages by the measured rate, all others by the budget. */
uint32_t move_shape_stall_ms(const struct plan_input *input, const struct snapshot_guest *guest);

/* move_free.c: what is free in the guest need not be copied. The first two are true where a step was decided. */
bool move_free_next(struct mover *mover);
bool move_free_return_next(struct mover *mover);	/* also when the move was cut short */
uint64_t move_free_taken(const struct plan_input *input, const struct snapshot_guest *guest);
/* What the host is expected to have of the memory that this step takes of the device; 0: nobody knows. */
uint64_t move_free_there(const struct snapshot_guest *guest, const struct snapshot_device *device,
			 const struct step *step);
/* Gives up where memory that was taken has not come back into use, with the reason. */
void move_free_missing(struct mover *mover);
void move_free_warn(struct mover *mover);	/* before the first page moves */

/* The first half of move_free_return_next(): each device that was taken from has its size asked back. */
bool move_free_size_back_next(struct mover *mover);
/* The last REQUEST that took of the device what is to come back; NULL: none. */
const struct step_record *move_free_last_take(const struct plan_input *input, const char *alias);

/*
 * move_replug.c: memory that a passed-through device pins leaves by being unplugged, and is plugged again where the guest
 * goes, with the consent shrink_guests.
 */
struct drain_scope;
struct move_replug {
	uint64_t there_bytes;	/* resident in what is to be emptied, and pinned */
	uint64_t covered_bytes;	/* of them what can leave so; 0: none */
	uint64_t portion_bytes;	/* that the guest lacks at a time */
};
/*
 * The input's wish is a move of the guest, with this goal. scope: what is to be emptied of its sources; NULL: what the drain
 * whose child it is holds, else all of them. Whether or not the wish has the consent; no bytes where the move needs none.
 */
void move_replug_find(const struct plan_input *input, const struct snapshot_guest *guest, const struct move_goal *goal,
		      const struct drain_scope *scope, struct move_replug *ret_replug);
/* With the consent: is all that is left pinned by a device, so that it is not tried to move it? */
bool move_replug_is_due(const struct mover *mover);
/* True where a step was decided. */
bool move_replug_next(struct mover *mover);
/* Where in the guest-physical range begins what this operation has not replugged yet; its end: nowhere. */
uint64_t move_replug_begin(const struct plan_input *input, const struct snapshot_range *range);

/* move_pool.c: pools of huge pages around a move. Each is true where a step was decided. */
bool move_pool_room_next(struct mover *mover);
bool move_pool_is_short(struct mover *mover);	/* after that: a destination lacks pages for what comes */
bool move_pool_growth_next(struct mover *mover);
bool move_pool_back_next(struct mover *mover);
void move_pool_warn(struct mover *mover);	/* before the first page moves */

/* move_lazy.c: why pages cannot follow the CPUs that touch them; NULL: they can. */
const char *move_lazy_refusal(const struct plan_input *input, const struct snapshot_guest *guest,
			      const struct move_goal *goal);
/* True where a LAZY step was decided. */
bool move_lazy_next(struct mover *mover);

/* move_remainder.c */
/* How much of left_bytes is known to be pinned, at most, and by what. All of it: no move can do anything. */
uint64_t move_remainder_pinned(const struct snapshot_guest *guest, uint64_t left_bytes, enum remainder_code *ret_code);
/* What would stay, as is known beforehand. */
void move_remainder_forecast(const struct plan_input *input, struct remainder_list *list);
void move_remainder_warn(struct mover *mover);
/*
 * Gives up with a reason for each of the goal's left bytes: this code and why for all of them, or with REMAINDER_NONE
 * what the last pass told, and for what it did not the best that is known.
 */
void move_remainder_left(struct mover *mover, enum remainder_code code, const char *why);
/* Whether a pass ended before it came to its end, and so to what only the guest's files have. */
bool move_remainder_is_cut(const struct step_record *record);
/* What belongs to the wish beside the pages, and did not come about: policy, CPUs, stored XML. Gives up where there is any. */
void move_remainder_unmet(struct mover *mover);
/*
 * Reasons for bytes that no page table of QEMU shows, which are beside the goal's left bytes: those of the last pass, as far
 * as a look after it still finds such bytes; and guest_memfd. What only the files have is told also where no pass has come
 * to it. Gives up where there are any.
 */
void move_remainder_unseen(struct mover *mover);

/* plan_apply.c: plan_apply() for who has the step's guest at hand; NULL: it has none. */
void plan_apply_to(struct snapshot *snapshot, struct snapshot_guest *guest, const struct step *step, uint64_t now_ms,
		   struct step_record *ret_record);

/* plan_estimate.c: fills all that a plan says of time, from its steps. */
void plan_estimate(struct plan *plan, const struct plan_input *input);

/* plan_check.c: what a plan should say beside its steps, known before the first of them. */
void plan_check_warnings(const struct plan_input *input, struct remainder_list *warnings);

/* undo_bar.c: whose steps an undrain undoes. drain: NULL for the wish's own, whose steps are the subject. */
struct undo_owner {
	const struct plan_drain *drain; /* likewise */
	const struct step_record *steps;
	size_t count;
	const char *operation; /* may be NULL */
};
struct undo_owner undo_owner_of(const struct plan_input *input, const struct plan_drain *drain);

/* undo_bar.c: the undo step of this operation for step n of that one (NULL: ""); NULL: none yet. */
const struct step_record *undo_bar_undo_of(const struct plan_input *input, const char *operation, unsigned n);

/* drain_scope.c: what a drain's wish covers. */
struct drain_scope {
	size_t range_count;
	struct snapshot_range ranges[SNAPSHOT_RANGES_MAX];
	bool is_cut;			/* there are more of them: such a target is refused */
	uint64_t nodes;			/* that have memory in it, or had before it went offline */
	uint64_t whole_nodes;		/* all of whose memory is in it, but for what is offline already */
	size_t blocks, online_blocks;
	uint64_t online_bytes;
	uint64_t node_bytes[SNAPSHOT_NODES_MAX];	/* the same by node */
	uint64_t loose_bytes[SNAPSHOT_NODES_MAX];	/* of those online, by node: in no DIMM that is all of that node */
};
void drain_scope_find(const struct plan_input *input, struct drain_scope *ret_scope);
/* What these host-physical ranges cover, whoever asks. */
void drain_scope_of_ranges(const struct snapshot *snapshot, const struct snapshot_range *ranges, size_t count,
			   struct drain_scope *ret_scope);
bool drain_scope_has(const struct drain_scope *scope, const struct snapshot_block *block);
/* Of what the survey told of one of its DIMMs or pieces, by index, not less than can lie inside. 0 where it is not of that node. */
uint64_t drain_scope_part_bytes(const struct snapshot *snapshot, const struct drain_scope *scope,
				const struct snapshot_guest *guest, int node, size_t index);
/*
 * What is known to lie inside of what the guest has of a unit of a memory device: on a node that is not whole, of a part of
 * a DIMM or a piece, and of memory that was told in neither, nothing is.
 */
uint64_t drain_scope_place_bytes(const struct plan_input *input, const struct drain_scope *scope,
				 const struct snapshot_guest *guest, const struct snapshot_place *place);
/* Resident bytes of the guest on the node and inside, exactly where it can be told, else not less than they are. */
uint64_t drain_scope_node_bytes(const struct snapshot *snapshot, const struct drain_scope *scope,
				const struct snapshot_guest *guest, int node);
/* Can it be told? By whole nodes, and where the guest's survey told them apart by whole DIMMs and pieces that were asked about. */
bool drain_scope_is_exact(const struct snapshot *snapshot, const struct drain_scope *scope,
			  const struct snapshot_guest *guest, int node);
/* The same of all nodes. */
uint64_t drain_scope_guest_bytes(const struct plan_input *input, const struct drain_scope *scope,
				 const struct snapshot_guest *guest);
/* Its guests, by their places in the snapshot. */
struct drain_scope_guest {
	uint64_t bytes;
	size_t index;
};
/* All that have anything in the scope, the largest first, of equal ones the first: malloc'ed; NULL where memory is short. */
struct drain_scope_guest *drain_scope_guests(const struct plan_input *input, const struct drain_scope *scope,
					     size_t *ret_count);
/* Has the guest anything there that must leave this node? Then with all that it has there, but for drain_part_keeps(). */
bool drain_scope_guest_leaves(const struct plan_input *input, const struct drain_scope *scope,
			      const struct snapshot_guest *guest, int node);
/*
 * What host processes, the page cache and the kernel have of the node's part of the scope, which the kernel has to move
 * when it goes offline: all that is used and is neither a guest's nor a free huge page. 0 where nothing goes offline.
 */
uint64_t drain_scope_host_bytes(const struct plan_input *input, const struct drain_scope *scope, int node);
/* Nodes with memory, out of the scope and under no hold. */
uint64_t drain_scope_free_nodes(const struct plan_input *input, const struct drain_scope *scope);
/*
 * Does a part go of the only node that has memory? Then nothing can be moved away first, and the kernel itself finds room on
 * that node as it takes blocks offline (mm/memory_hotplug.c do_migrate_range), which it does nowhere else.
 */
bool drain_scope_stays_within(const struct plan_input *input, const struct drain_scope *scope);
/* Those of them that this guest may have, whether or not there is room. */
uint64_t drain_scope_destinations(const struct plan_input *input, const struct drain_scope *scope,
				  const struct snapshot_guest *guest);
/* drain_batch.c: the moves that a drain would decide one after the other, if all of them worked. */
struct drain_batch {
	size_t count;
	struct step *steps;	/* owned, each with step_done() */
};
/* False where memory is short. */
bool drain_batch_find(const struct plan_input *input, struct drain_batch *ret_batch);
/* The same of the way home of those that nobody has brought home yet: by undo of their moves, or by moves of their own. */
bool drain_batch_home(const struct plan_input *input, bool by_undo, struct drain_batch *ret_batch);
void drain_batch_done(struct drain_batch *batch);
/* drain_pool.c. True where the step of a pool was decided that no block must go without. */
bool drain_pool_next(const struct plan_input *input, const struct drain_scope *scope, struct decision *decision);
/* Is there a pool that could not be looked at, or whose pages do not go? */
bool drain_pool_failed(const struct plan_input *input);
/* What pools keep of the target; at most *rest, which shrinks by it. */
void drain_pool_tell(const struct plan_input *input, const struct drain_scope *scope, struct remainder_list *list,
		     uint64_t *rest);
/*
 * plan_check_drain.c: may a drain move this guest out by this child, or (NULL) have the kernel take along what it has
 * there? By the same rules as when the drain was asked for, but for room. 0, or -EPERM with the blockers.
 */
int plan_check_child(const struct plan_input *input, const struct drain_scope *scope,
		     const struct snapshot_guest *guest, const struct wish *child, struct remainder_list *ret_blockers);
bool drain_scope_has_dimm(const struct wish_drain *wish, const struct snapshot_dimm *dimm);
/* Of a node: has the device memory in the scope, and memory that is not? Then it cannot be ejected with what is drained. */
bool drain_scope_cuts_dimm(const struct plan_input *input, const struct drain_scope *scope, const struct snapshot_dimm *dimm);

#endif
