/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step of an operation, and what became of it. A planner emits steps, the engine runs them, the journal keeps
 * both the step and the values it replaced.
 */
#ifndef BALLAST_SERVICE_STEP_H
#define BALLAST_SERVICE_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "name_table.h"
#include "remainder.h"
#include "snapshot.h"
#include "wish.h"

enum step_kind {
	/* resize */
	STEP_KIND_ONLINE_POLICY,	/* agent: how the guest onlines new memory. text: policy; target: ratio percent */
	STEP_KIND_FREE_HUGE_PAGES,	/* agent: give free huge pages above the floor back to its buddy allocator. bytes */
	STEP_KIND_RUN_HOOKS,		/* agent: the guest's own hooks let go of bytes, or of what lies in ranges[] */
	STEP_KIND_REQUEST,		/* libvirt: requested size of one device := target_bytes, then watch */
	STEP_KIND_COMPACT,		/* agent: compact */
	STEP_KIND_MAKE_GUEST_ROOM,	/* agent: room outside for huge pages in use, so that these can be migrated. bytes */
	STEP_KIND_RECLAIM,		/* agent: reclaim bytes through the guest's cgroups, as its pressure allows */
	STEP_KIND_OFFLINE_GUEST_BLOCKS,	/* agent: offline bytes worth of its blocks, or of those in ranges[] */
	STEP_KIND_KICK,			/* libvirt: the same requested size again, then watch */
	STEP_KIND_AWAIT,		/* libvirt, agent: nothing more to try now; until something that may help has changed
					 * (DONE, or bytes_done: so much more than target_bytes is available or free in huge
					 * pages) or timeout_ms (PARTIAL). A size that moves is watched until it is flat */
	STEP_KIND_SETTLE,		/* libvirt: requested := target_bytes, and waits for nothing: what was reached, so
					 * that nothing leaves later, or what comes while pages move */
	STEP_KIND_AGENT_COMMIT,		/* agent: end the lease, keeping what a finished shrink needs kept */
	STEP_KIND_AGENT_UNDO,		/* agent: end the lease, everything back; on grow: give taken pools back */
	STEP_KIND_BALLOON,		/* libvirt: balloon target := target_bytes, then watch */
	/* host side of a resize, and move */
	STEP_KIND_HOST_POOL,		/* worker: huge page pool of node, page_bytes := target_bytes / page_bytes pages */
	STEP_KIND_CPUSET,		/* worker: cpuset.mems of the guest's cgroups := nodes */
	STEP_KIND_NUMATUNE,		/* libvirt: numatune --live, where it can be taken back */
	STEP_KIND_MEMORY_POLICY,	/* worker: policy of the guest's shared memory := mode, map[] or nodes */
	STEP_KIND_REPORT_FREE,		/* agent: the guest reports its free pages, which then need no copying */
	STEP_KIND_LAZY,			/* worker: pages follow the CPUs that touch them, watched until timeout_ms */
	STEP_KIND_MOVE_PAGES,		/* worker: pages on map[] sources to map[] destinations (or cells[]) */
	STEP_KIND_CPUS,			/* libvirt: vCPU and emulator threads to the CPUs of nodes */
	STEP_KIND_PERSIST,		/* libvirt: stored XML names nodes */
	/* drain */
	STEP_KIND_CORDON,		/* service: the hold; released by UNCORDON */
	STEP_KIND_UNCORDON,		/* service: the hold goes, and what the drain has done is not undone any more */
	STEP_KIND_CHILD,		/* a whole operation of its own: child */
	STEP_KIND_HOST_HOOKS,		/* worker: the host's own hooks, each with timeout_ms; text: "before" or "after". They
					 * are told of ranges[], nodes, dimm, target_bytes (all of it) and bytes (no guest's) */
	STEP_KIND_OFFLINE_BLOCKS,	/* worker: blocks[] in this order, from a cpuset of nodes */
	STEP_KIND_ONLINE_BLOCKS,	/* worker: blocks[] into zone */
	STEP_KIND_SLICE_CPUSETS,	/* worker: nodes leave the cpusets of slices. Undone while nodes are held: from_nodes */
	STEP_KIND_EJECT,		/* worker: ACPI eject of dimm */
	STEP_KIND_UNDO,			/* undo step undo_n of operation undo_operation; empty: undrain: of the drain's, drain: of
					 * its own */
	/* check */
	STEP_KIND_PROBE,		/* worker: kernel behaviours */
	STEP_KIND_PROOF,		/* worker: the microVM; text: its backing, page_bytes, bytes; between all nodes */
	STEP_KIND_COUNT,
};
NAME_TABLE_DECLARE(step_kind);

/* Blocks are told as runs: a DIMM's blocks are nearly always one run. */
#define STEP_BLOCK_RUNS_MAX 32

/* Names of slices: as many as a line has room for. */
#define STEP_SLICES_SIZE 112

struct step {
	enum step_kind kind;
	bool undoable;
	char guest[SNAPSHOT_UUID_SIZE];		/* empty: no guest */
	char guest_name[SNAPSHOT_NAME_SIZE];
	char device[SNAPSHOT_NAME_SIZE];	/* alias */
	char dimm[SNAPSHOT_NAME_SIZE];
	char text[32];				/* ONLINE_POLICY: the policy; CORDON: the drain's id; PROOF: the backing;
						 * AWAIT: whom for; HOST_HOOKS: when; CHILD, UNDO: a word for people */
	int node;				/* -1: none */
	uint64_t bytes;				/* what it is expected to move, free or take: for progress and ETA */
	uint64_t target_bytes;
	uint64_t page_bytes;
	uint64_t nodes;				/* mask */
	uint64_t from_nodes;			/* MOVE_PAGES, LAZY: where what is to move lay when it was planned; CPUSET: mems then */
	bool by_map, by_cells;
	int8_t map[SNAPSHOT_NODES_MAX];
	int8_t cells[SNAPSHOT_CELLS_MAX];
	enum policy_mode mode;
	bool grows;				/* REQUEST: target_bytes is more than the device had */
	bool zones_told;			/* REQUEST that grows: the guest's agent has said what the next two were before it */
	uint64_t offline_before, wrong_before;	/* bytes: plugged and not onlined; of virtio-mem, online in a kernel zone */
	bool loose;				/* MEMORY_POLICY: what is to be bound prefers its nodes while its pages move */
	enum block_zone zone;
	size_t block_run_count;
	struct { uint64_t first, last; } block_runs[STEP_BLOCK_RUNS_MAX];
	size_t range_count;
	struct snapshot_range ranges[SNAPSHOT_RANGES_MAX];
	uint32_t timeout_ms;			/* of this step, OFFLINE_BLOCKS: of each block, HOST_HOOKS: of each hook; 0: the
						 * operation's deadline alone */
	unsigned hook_count;			/* HOST_HOOKS: when it was planned */
	char hook_names[SNAPSHOT_HOOKS_TEXT_SIZE];	/* likewise: as many names as fit */
	char slices[STEP_SLICES_SIZE];		/* SLICE_CPUSETS: names with blanks between them */
	enum move_order order;			/* MOVE_PAGES */
	unsigned workers;			/* MOVE_PAGES: threads of the worker; 0: one */
	bool may_split;				/* MOVE_PAGES: transparent huge pages, where no whole ones are free */
	uint64_t budget_bytes_per_s;		/* for each pair of source and destination */
	bool budget_is_shared;			/* the rate is the host's: moves beside each other have it together */
	uint32_t budget_stall_us;
	unsigned work_percent;			/* OFFLINE_GUEST_BLOCKS: of the time that it takes; 0: all of it */
	uint32_t stall_ms;			/* forecast: the longest pause it may cause a guest */
	char undo_operation[24];
	unsigned undo_n;
	struct wish *child;			/* owned; STEP_KIND_CHILD only */
};

/* A zeroed step of this kind with the fields whose "none" is not zero set (node -1, map and cells -1). */
void step_init(struct step *step, enum step_kind kind);
void step_done(struct step *step);
/* 0, or -ENOMEM with *ret_copy zeroed. */
int step_copy(const struct step *step, struct step *ret_copy);

/* The text of a drain's CHILD, or UNDO, that brings a guest back to its node. */
#define STEP_TEXT_HOME "home"
bool step_brings_home(const struct step *step);
/* That of one that makes a guest smaller, because there is no room for all of it. */
#define STEP_TEXT_SHRINK "shrink"
bool step_shrinks(const struct step *step);
/*
 * That of one that keeps memory empty once the drain has ended: who or what had come there leaves again, or slices that could
 * not lose its node do so.
 */
#define STEP_TEXT_NEWCOMER "newcomer"
bool step_is_of_newcomer(const struct step *step);

/*
 * The text of the REQUEST by which memory leaves that cannot be moved, and of the agent's work for it: a move plugs it again
 * where it goes, so that what the REQUEST gets is a part of what it moves.
 */
#define STEP_TEXT_REPLUG "replug"
bool step_replugs(const struct step *step);	/* is it the REQUEST? */

/* The text of a HOST_HOOKS once the drain has ended, and what it has taken away stays away. Before, it is "before". */
#define STEP_TEXT_AFTER "after"
bool step_is_after(const struct step *step);

/* Does it change where a running guest's memory and CPUs belong, or lie, or what pools have for it there? */
bool step_places_guest(const struct step *step);
/* Does it set policies, or cpusets, of a running guest? */
bool step_sets_policy(const struct step *step);
bool step_sets_cpuset(const struct step *step);

/* One block more, behind those that there are: ids come ascending. False where no run more fits. */
bool step_add_block(struct step *step, uint64_t id);
bool step_has_block(const struct step *step, uint64_t id);
uint64_t step_block_count(const struct step *step);
/* Of the same kind, and of the same guest or the same pool. */
bool step_is_of_same_object(const struct step *a, const struct step *b);
/* Of the same blocks, as they are named; also where neither names any. */
bool step_is_of_same_blocks(const struct step *a, const struct step *b);

/* How long all of the step may take, in milliseconds. 0: as long as its operation has. */
uint32_t step_timeout_ms(const struct step *step);

/*
 * The word that a plan and the API print for the step: its kind's name, or for STEP_KIND_CHILD the kind of the child
 * operation ("move").
 */
const char *step_word(const struct step *step);
/* "blocks 64-71", "db1  512 MiB  3 -> 1": what stands after the kind's name in a plan. Returns text. */
const char *step_describe(const struct step *step, char text[160]);

enum step_state {
	STEP_STATE_PENDING,	/* journalled, not begun */
	STEP_STATE_RUNNING,	/* begun: after a crash it may have had any part of its effect */
	STEP_STATE_DONE,	/* its whole effect, as verified by looking */
	STEP_STATE_PARTIAL,	/* some of it; the remainder says why not all */
	STEP_STATE_FAILED,	/* nothing of it */
	STEP_STATE_UNDOING,
	STEP_STATE_UNDONE,
	STEP_STATE_COUNT
};
NAME_TABLE_DECLARE(step_state);

struct step_record {
	unsigned n;			/* from 1 */
	struct step step;
	enum step_state state;
	uint64_t started_at_ms, ended_at_ms;	/* wall clock */
	uint64_t bytes_done;		/* gained, moved or emptied */
	uint64_t reached_bytes;		/* REQUEST, KICK, BALLOON: the size when it ended */
	uint64_t longest_pause_us;	/* MOVE_PAGES, PROOF: longest single call (or vCPU pause) */
	bool flat;			/* REQUEST, KICK: ended because the size had stopped changing */
	bool undo_failed;
	bool is_taken_up;		/* a daemon before this one has begun it; not in the journal */
	char child_operation[24];
	char detail[160];
	struct remainder_list remainder;
	char *before;			/* owned, JSON text: the values the step replaced; NULL: none */
	char *result;			/* owned, JSON text: kind-specific facts worth keeping; NULL: none */
};

void step_record_done(struct step_record *record);

#endif
