/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deciding: pure functions from what is wished and what was seen to the next step. No I/O, no clock, nothing kept
 * between calls. The engine calls next again after every step with a fresh snapshot and the grown history, so that
 * ladders, second passes and bringing home need no case of their own.
 */
#ifndef BALLAST_SERVICE_PLAN_H
#define BALLAST_SERVICE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "failure.h"
#include "operation_record.h"
#include "snapshot.h"
#include "step.h"
#include "wish.h"

/*
 * More steps than any operation needs, so that one which has so many goes in circles: a bound for simulations, and for the
 * engine. A drain, and what undoes it, has more for each guest that there is or that it has moved.
 */
#define PLAN_STEPS_MAX 512
#define PLAN_STEPS_PER_GUEST 8

struct plan_limits {
	uint64_t reserve_bytes;			/* stays free on the host */
	bool reserve_untouched;			/* and so does, from what grows, what guests have and have not touched */
	uint32_t flat_ms;			/* a size unchanged for so long has stalled */
	uint32_t block_timeout_ms;		/* offline of one block */
	uint32_t hook_timeout_ms;		/* of one hook of the host */
	bool zone_repair;			/* guests repair what is plugged and cannot be used or leave */
	uint32_t stall_us;			/* default stall budget of a move */
	uint64_t bytes_per_s;			/* default rate budget; 0: none */
	uint32_t online_ratio_percent;		/* auto-movable ratio for guests; 301 is the kernel's own default */
	uint32_t resize_timeout_s;
	uint32_t drain_timeout_factor;		/* times the plan's estimate */
	uint32_t drain_moves;			/* guests that a drain moves at the same time; 0: one */
	char slices[STEP_SLICES_SIZE];		/* whose cpusets lose a node that is drained; empty: none */
	uint64_t assumed_bytes_per_s;		/* for estimates before anything was measured */
};

/* The defaults of the configuration. */
void plan_limits_init(struct plan_limits *limits);

/*
 * How a guest is to online so many bytes more, in the words of snapshot_agent.online_policy: movable memory can leave
 * again, but past three times the kernel's own zones it starves the kernel.
 */
const char *plan_online_policy(const struct snapshot_agent *agent, uint64_t growth_bytes);

/* A drain beside the one that is undone: its hold stands, or steps of it are left to be undone. */
struct plan_drain {
	const char *drain, *operation;		/* borrowed: ids */
	const struct step_record *steps;	/* borrowed: of its operation */
	size_t step_count;
	bool is_held;				/* false: deferred, its steps are undone along with others' */
	bool is_newer;				/* than the one that is undone */
	bool is_same_target;			/* as that one's */
};

struct plan_input {
	const struct wish *wish;
	const struct snapshot *snapshot;
	const struct plan_limits *limits;
	const struct step_record *history;	/* steps of this operation so far, oldest first */
	size_t history_count;
	const struct step_record *subject;	/* undrain: the steps of the drain; else NULL */
	size_t subject_count;
	const char *subject_operation;		/* undrain: the id of the drain's operation; may be NULL */
	const struct plan_drain *drains;	/* undrain: the others that stand, newest first; borrowed */
	size_t drain_count;
	uint64_t start_bytes;			/* resize: the guest's size when the operation began */
	bool is_another;			/* resize: the guest's QEMU is not the one that the operation began with */
	uint64_t now_ms;			/* wall clock, the same that history uses */
	uint64_t deadline_ms;			/* 0: none */
	const struct wish *const *beside;	/* of other resizes that have not ended: what they promise; borrowed */
	size_t beside_count;
	unsigned threads_beside;		/* of other operations that move pages just now: one at least for each */
};

/* Of this operation, as it stands: by snapshot, history and subject. */
size_t plan_steps_max(const struct plan_input *input);

enum decision_kind {
	DECISION_KIND_STEP,	/* run step */
	DECISION_KIND_WAIT,	/* nothing else may begin until one of the children that run has ended */
	DECISION_KIND_DONE,	/* the wish is true; remainder is empty */
	DECISION_KIND_GIVE_UP,	/* no step is left that could help; remainder says why for every byte */
	DECISION_KIND_COUNT
};

struct decision {
	enum decision_kind kind;
	struct step step;		/* valid with STEP; the caller releases it with step_done() */
	bool beside;			/* a child that others may run beside: ask again as soon as it has begun */
	struct remainder_list remainder;
	struct remainder_list warnings;	/* said beside a plan or a result; nothing failed */
};

void resize_next(const struct plan_input *input, struct decision *ret_decision);
void move_next(const struct plan_input *input, struct decision *ret_decision);
void drain_next(const struct plan_input *input, struct decision *ret_decision);
void undrain_next(const struct plan_input *input, struct decision *ret_decision);
void check_next(const struct plan_input *input, struct decision *ret_decision);

/* undo_bar.c: how much of a drain's step has to wait, because another drain holds what it would give back. */
enum undo_bar {
	UNDO_BAR_NONE,	/* all of it may be undone */
	UNDO_BAR_PART,	/* only the blocks of *ret_step */
	UNDO_BAR_ALL,
};
/* Is there anything to undo of a step in this state? */
bool undo_bar_is_due(const struct step_record *record);
/* Has it changed anything that was not put back, whether or not it can be? */
bool undo_bar_stands(const struct step_record *record);
/*
 * owner: the drain whose step it is, one of input->drains or NULL for the wish's own, whose steps are the subject. *ret_step is
 * the step, without its child, with the blocks that may go back; what may not is added to *left (NULL: is not told), with
 * its bytes and the reason.
 */
enum undo_bar undo_bar_judge(const struct plan_input *input, const struct plan_drain *owner,
			     const struct step_record *record, struct step *ret_step, struct remainder_list *left);
/*
 * Blocks that lie in the wish's DIMMs and did not when these were drained, offline: as many as are lost of those that it took
 * away go online instead (a step ONLINE_BLOCKS; false: none). The others stay, and are told once that has been done.
 */
bool undo_bar_replace(const struct plan_input *input, struct step *ret_step);
void undo_bar_tell_added(const struct plan_input *input, struct remainder_list *list);

/*
 * In which order the steps of a drain are undone: the last first; but what has kept its memory empty when it had ended goes
 * after its blocks, which may have gone offline again since.
 */
struct undo_order {
	size_t count;
	size_t blocks;	  /* the first of these that is due; count: none is */
	size_t newcomers; /* the first of those: all that follow are, too; count: there is none */
};
struct undo_order undo_order_of(const struct step_record *steps, size_t count);
/* The step that is undone as the one of that number, from 0. */
size_t undo_order_at(const struct undo_order *order, size_t number);

/*
 * undo_beside.c: moves of guests that are put back beside each other. Records are those of the moves, by whatever operation;
 * of the input the snapshot and the limits are looked at. A guest that does not run, and so has nothing, is in nobody's way.
 */
#define UNDO_BESIDE_MAX 64
/* Must the first have come back before the second may begin? They are of one guest, or both may change pools of huge pages. */
bool undo_beside_excludes(const struct plan_input *input, const struct step_record *first, const struct step_record *second);
/* May this one begin beside those that run: does none of them exclude it, and is there room at home for all? */
bool undo_beside_may(const struct plan_input *input, const struct step_record *record,
		     const struct step_record *const *running, size_t count);

/* By the wish's kind. */
void plan_next(const struct plan_input *input, struct decision *ret_decision);

/*
 * Can this wish be begun at all? Blockers go to *ret_blockers; those that a consent would lift name it. The first
 * blocker also fills *failure with one of these codes for the API:
 *   unknown_guest unknown_node unknown_dimm unknown_drain (404); guest_not_running (409);
 *   not_block_multiple above_maximum below_base below_floor no_memory_device no_room kernel_memory not_movable
 *   not_ejectable target_held consent_required policy_would_shift guest_unmovable invalid_target
 *   policy_unreadable (422).
 * Returns 0, or -EPERM with both filled.
 */
int plan_check(const struct plan_input *input, struct remainder_list *ret_blockers, struct failure *failure);

/* How much is to leave one memory device, and how much of that can. */
struct plan_leave {
	char alias[SNAPSHOT_NAME_SIZE];
	uint64_t asked_bytes, leaves_bytes;
	bool zones_told;	/* what is plugged of it by now, as the guest's kernel has it: these sum up to that */
	uint64_t movable_bytes, kernel_bytes, offline_bytes;
};

/* What a step is expected to take, whatever runs beside it. */
struct plan_cost {
	uint64_t ms;
	bool is_measured;	/* by nothing but what was measured on this host */
};

/* What a dry run shows. */
struct plan {
	size_t step_count;
	struct step *steps;		/* owned, each with step_done() */
	struct plan_cost *costs;	/* owned: of each step; NULL: not known */
	struct remainder_list blockers;	/* with the consents that would lift them */
	struct remainder_list warnings;
	struct remainder_list forecast;	/* what would stay */
	size_t leave_count;		/* of a shrink whose guest tells anything */
	struct plan_leave leaves[SNAPSHOT_DEVICES_MAX];
	uint32_t consents_needed;	/* mask */
	uint64_t needs_bytes[SNAPSHOT_NODES_MAX];	/* room taken on each node */
	uint64_t bytes;			/* all that would move or leave */
	uint64_t work_bytes;		/* the same and the blocks that go offline: what progress is told of */
	uint32_t estimate_s;		/* all of it, moves of a drain beside each other; rounded up; UINT32_MAX: not known */
	bool estimate_measured;		/* that of every step is */
	uint32_t cautious_s;		/* for a deadline: one after the other, only pages faster than assumed; as above */
	uint32_t rates_used;		/* mask: the kinds that it is made of */
	struct measured_rates rates;	/* those that were measured, and for the others what is assumed */
	uint32_t rates_measured;	/* mask */
	struct snapshot_reboot reboot;	/* of this host: what a drain spares */
	bool already_done;		/* the wish is true as it stands: nothing to do */
	char digest[17];		/* of the steps and the consents: equal digests mean the same plan */
};

/*
 * Runs plan_next() against a copy of the snapshot to which each step's expected effect is applied. Returns the plan
 * (to be freed), or NULL where memory is short.
 */
struct plan *plan_dry_run(const struct plan_input *input);
struct plan *plan_free(struct plan *plan);
CLEANUP_DEFINE(struct plan *, plan_free)

/* The expected effect of a step on a snapshot, and the record the engine would write had it worked in full. Pure. */
void plan_apply(struct snapshot *snapshot, const struct step *step, uint64_t now_ms, struct step_record *ret_record);

/* What kind the guest's pages are, for the rate at which they move: that of its largest. */
enum rate_kind plan_rate_kind(const struct snapshot_guest *guest);
/* Bytes a second at which the guest's pages have moved on this host; 0: not measured. */
uint64_t plan_measured_rate(const struct snapshot *snapshot, const struct snapshot_guest *guest);

/*
 * What the steps of a move have unplugged of its guest for the time and not asked back: for an operation that ends
 * without being planned to its end.
 */
void plan_tell_taken(const struct step_record *steps, size_t count, struct remainder_list *list);

/* The size that a shrink is expected to come to, as far as the guest tells beforehand; 0: nothing is known, or no shrink. */
uint64_t plan_forecast_bytes(const struct plan_input *input);

/* The size that a resize's wish means for the whole guest, base included. */
uint64_t plan_wanted_bytes(const struct wish *wish, const struct snapshot_guest *guest);

#endif
