/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A drain outlives its operation: as long as its hold stands, nothing new is placed on what it
 * covers.
 *
 *	           [succeeds]         [engine_undrain()]           [the undrain succeeds]
 *	draining ------------> held ---------------------> undraining ------------> released
 *	   |                                                 ^     |
 *	   | [ends otherwise]                                |     | [it ends otherwise,
 *	   +-----------------> stopped ----------------------+     |  and the hold stands]
 *	   |                                                 |     v
 *	   | [an undo failed, a kernel call is stuck]        +- attention
 *	   +------------------------------------------------------>^
 *
 * A stopped drain holds where what was done stays, and does not where all was undone.
 *
 * A reboot of the host, a DIMM that is plugged in, or somebody by hand brings memory online that a drain has left offline: held
 * is then attention, and held again when it was taken offline (engine_see()). The hold stands either way.
 *
 * Where another drain holds what an undrain, or a drain that restores, would put back, or where the
 * DIMM is out, the hold ends and the drain is deferred; so it is where a stopped drain's target was drained once more, and that
 * one's hold stands: it is released by the undrain or restore of another that puts the rest
 * back, or by an undrain of its own that is asked for again. An undrain that keeps gives up what is left to be put back.
 */
#include "engine_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void add_range(struct snapshot_hold *hold, uint64_t start, uint64_t end)
{
	if (hold->range_count > 0 && hold->ranges[hold->range_count - 1].end == start)
		hold->ranges[hold->range_count - 1].end = end;
	else if (hold->range_count < SNAPSHOT_RANGES_MAX)
		hold->ranges[hold->range_count++] = (struct snapshot_range){start, end};
	/* More ranges than fit belong to a node, and the hold names the node. */
}

void engine_drain_cover(const struct wish_drain *wish, const struct snapshot *snapshot,
			struct snapshot_hold *ret_hold)
{
	struct snapshot_hold hold = {.node = -1};
	const struct snapshot_dimm *dimm;

	switch (wish->target) {
	case DRAIN_TARGET_DIMM:
		snprintf(hold.dimm, sizeof(hold.dimm), "%s", wish->dimm);
		dimm = snapshot_dimm(snapshot, wish->dimm);
		for (size_t i = 0; dimm && i < dimm->range_count; i++)
			add_range(&hold, dimm->ranges[i].start, dimm->ranges[i].end);
		break;
	case DRAIN_TARGET_NODE:
		hold.node = wish->node;
		for (size_t i = 0; i < snapshot->block_count; i++)
			if (snapshot->blocks[i].node == wish->node)
				add_range(&hold, snapshot->blocks[i].start,
					  snapshot->blocks[i].start +
						  snapshot->blocks[i].size_bytes);
		break;
	case DRAIN_TARGET_RANGE:
		add_range(&hold, wish->range.start, wish->range.end);
		break;
	case DRAIN_TARGET_COUNT:
		break;
	}
	*ret_hold = hold;
}

bool engine_drain_covers_overlap(const struct snapshot_hold *a, const struct snapshot_hold *b)
{
	if (a->node >= 0 && a->node == b->node)
		return true;
	if (a->dimm[0] && strcmp(a->dimm, b->dimm) == 0)
		return true;
	for (size_t i = 0; i < a->range_count; i++)
		for (size_t j = 0; j < b->range_count; j++)
			if (a->ranges[i].start < b->ranges[j].end &&
			    b->ranges[j].start < a->ranges[i].end)
				return true;
	return false;
}

bool engine_drain_is_held(const struct drain_record *drain)
{
	return drain->hold.drain[0] != '\0';
}

bool engine_drain_is_announced(const struct engine *engine, const struct drain_record *drain)
{
	for (size_t i = 0; i < engine->operation_count; i++)
		if (engine->operations[i]->drain == drain && operation_run_is_announced(engine->operations[i]))
			return true;
	return false;
}

enum snapshot_hold_work engine_drain_work(const struct engine *engine, const struct drain_record *drain)
{
	if (drain->wish.finish == DRAIN_FINISH_CORDON)
		return SNAPSHOT_HOLD_CORDONS;
	if (drain->state == DRAIN_STATE_STOPPED)
		return SNAPSHOT_HOLD_STOPPED;
	return engine_drain_is_announced(engine, drain) ? SNAPSHOT_HOLD_ANNOUNCED : SNAPSHOT_HOLD_EMPTIES;
}

void engine_drain_set_hold(struct drain_record *drain, bool held)
{
	snprintf(drain->hold.drain, sizeof(drain->hold.drain), "%s", held ? drain->id : "");
}

struct drain_record *engine_drain_find(const struct engine *engine, const char *id)
{
	for (size_t i = engine->drain_count; i-- > 0;)
		if (strcmp(engine->drains[i]->id, id) == 0)
			return engine->drains[i];
	return NULL;
}

int engine_drain_adopt(struct engine *engine, const struct drain_record *drain)
{
	struct drain_record **grown =
		reallocarray(engine->drains, engine->drain_count + 1, sizeof(*grown));
	struct drain_record *copy = malloc(sizeof(*copy));

	if (grown)
		engine->drains = grown;
	if (!grown || !copy) {
		free(copy);
		return -ENOMEM;
	}
	*copy = *drain;
	engine->drains[engine->drain_count++] = copy;
	return 0;
}

void engine_drain_remove(struct engine *engine, struct drain_record *drain)
{
	size_t kept = 0, before = engine->drain_count;

	for (size_t i = 0; i < engine->operation_count; i++)
		if (engine->operations[i]->drain == drain)
			engine->operations[i]->drain = NULL;
	for (size_t i = 0; i < before; i++)
		if (engine->drains[i] != drain)
			engine->drains[kept++] = engine->drains[i];
	engine->drain_count = kept;
	free(drain);
}

struct drain_record *engine_drain_create(struct engine *engine, struct operation_record *record,
					 const struct snapshot *snapshot)
{
	struct drain_record drain = {
		.wish = record->wish.drain_wish,
		.state = DRAIN_STATE_DRAINING,
		.stage = DRAIN_STAGE_CORDON,
		.created_at_ms = record->created_at_ms,
		.revision = 1,
	};

	if (engine_make_id("dr", drain.id) < 0)
		return NULL;
	snprintf(drain.operation, sizeof(drain.operation), "%s", record->id);
	snprintf(drain.target, sizeof(drain.target), "%s", record->target);
	snprintf(record->wish.drain, sizeof(record->wish.drain), "%s", drain.id);
	/*
	 * What it will cover is known from the start, so that another drain of the same memory is
	 * seen as one.
	 */
	engine_drain_cover(&drain.wish, snapshot, &drain.hold);
	return engine_drain_adopt(engine, &drain) == 0 ? engine->drains[engine->drain_count - 1]
						       : NULL;
}

void engine_drain_set_stage(struct operation *operation, const struct step *step)
{
	struct drain_record *drain = operation->drain;
	enum drain_stage stage;
	bool is_offline = false;

	if (!drain || operation->record->wish.kind != OPERATION_KIND_DRAIN)
		return;
	stage = drain->stage;
	switch (step->kind) {
	case STEP_KIND_CORDON:
		stage = DRAIN_STAGE_CORDON;
		break;
	case STEP_KIND_CHILD:
		for (size_t i = 0; i < operation->record->step_count; i++)
			is_offline = is_offline || operation->record->steps[i].step.kind ==
							   STEP_KIND_OFFLINE_BLOCKS;
		if (step->child && step->child->kind == OPERATION_KIND_RESIZE)
			stage = DRAIN_STAGE_SHRINK;
		else
			stage = is_offline ? DRAIN_STAGE_BRING_HOME : DRAIN_STAGE_MOVE;
		break;
	case STEP_KIND_OFFLINE_BLOCKS:
		stage = DRAIN_STAGE_OFFLINE;
		break;
	case STEP_KIND_UNDO:
		stage = DRAIN_STAGE_BRING_HOME;
		break;
	case STEP_KIND_EJECT:
		stage = DRAIN_STAGE_EJECT;
		break;
	case STEP_KIND_ONLINE_POLICY:
	case STEP_KIND_FREE_HUGE_PAGES:
	case STEP_KIND_RUN_HOOKS:
	case STEP_KIND_REQUEST:
	case STEP_KIND_COMPACT:
	case STEP_KIND_MAKE_GUEST_ROOM:
	case STEP_KIND_RECLAIM:
	case STEP_KIND_OFFLINE_GUEST_BLOCKS:
	case STEP_KIND_KICK:
	case STEP_KIND_AWAIT:
	case STEP_KIND_SETTLE:
	case STEP_KIND_AGENT_COMMIT:
	case STEP_KIND_AGENT_UNDO:
	case STEP_KIND_BALLOON:
	case STEP_KIND_HOST_POOL:
	case STEP_KIND_CPUSET:
	case STEP_KIND_NUMATUNE:
	case STEP_KIND_MEMORY_POLICY:
	case STEP_KIND_REPORT_FREE:
	case STEP_KIND_LAZY:
	case STEP_KIND_MOVE_PAGES:
	case STEP_KIND_CPUS:
	case STEP_KIND_PERSIST:
	case STEP_KIND_UNCORDON:
	case STEP_KIND_HOST_HOOKS:
	case STEP_KIND_ONLINE_BLOCKS:
	case STEP_KIND_SLICE_CPUSETS:
	case STEP_KIND_PROBE:
	case STEP_KIND_PROOF:
	case STEP_KIND_COUNT:
		break;
	}
	if (stage == drain->stage)
		return;
	drain->stage = stage;
	engine_tell_drain(operation->engine, drain);
}

static bool owes(const struct operation_record *record)
{
	for (size_t i = 0; i < record->step_count; i++)
		if (record->steps[i].step.kind != STEP_KIND_CORDON && undo_bar_is_due(&record->steps[i]) &&
		    !record->steps[i].undo_failed)
			return true;
	return false;
}

bool engine_drain_owes(struct engine *engine, const struct drain_record *drain)
{
	const struct operation *operation = engine_find_or_load(engine, drain->operation);

	return operation && owes(operation->record);
}

/* Does it hold anything, or is something of it left to be put back? */
static bool stands(const struct drain_record *drain)
{
	return engine_drain_is_held(drain) || drain->state == DRAIN_STATE_DEFERRED;
}

bool engine_drain_stands_beside(const struct engine *engine, const struct drain_record *drain)
{
	for (size_t i = 0; i < engine->drain_count; i++)
		if (engine->drains[i] != drain && stands(engine->drains[i]))
			return true;
	return false;
}

int engine_drain_others(struct engine *engine, const struct drain_record *drain,
			struct plan_drain **ret_drains, size_t *ret_count)
{
	struct plan_drain *drains = calloc(engine->drain_count + 1, sizeof(*drains));
	bool is_newer = true;
	size_t count = 0;

	if (!drains)
		return -ENOMEM;
	for (size_t i = engine->drain_count; i-- > 0;) {
		const struct drain_record *other = engine->drains[i];
		const struct operation *operation;

		is_newer = is_newer && other != drain;
		if (other == drain || !stands(other))
			continue;
		operation = engine_find_or_load(engine, other->operation);
		if (!operation)
			continue;
		drains[count++] = (struct plan_drain){
			.drain = other->id,
			.operation = operation->record->id,
			.steps = operation->record->steps,
			.step_count = operation->record->step_count,
			.is_held = engine_drain_is_held(other),
			.is_newer = is_newer,
			.is_same_target = strcmp(other->target, drain->target) == 0,
		};
	}
	*ret_drains = drains;
	*ret_count = count;
	return 0;
}

/* Nothing of it is due any more but what stands around its hold: that goes by itself (undrain_keep.c), or waits for another's. */
static int forget_steps(struct engine *engine, const struct drain_record *drain)
{
	const struct operation *operation = engine_find_or_load(engine, drain->operation);
	struct operation_record *record = operation ? operation->record : NULL;
	int r = record ? 0 : -ENOENT;

	for (size_t i = 0; record && i < record->step_count; i++) {
		struct step_record *step = &record->steps[i];
		int put = 0;

		if (step->step.kind == STEP_KIND_SLICE_CPUSETS)
			continue;
		if (step->step.kind == STEP_KIND_CORDON && step->state == STEP_STATE_DONE)
			step->state = STEP_STATE_UNDONE;
		step->step.undoable = false;
		put = journal_put_step(engine->options.journal, record, step, NULL, NULL);
		r = put < 0 ? put : r;
	}
	return r;
}

int engine_drain_give_up(struct engine *engine, const struct drain_record *drain)
{
	int r = forget_steps(engine, drain);

	for (size_t i = 0; i < engine->drain_count; i++) {
		const struct drain_record *other = engine->drains[i];

		if (other == drain || other->state != DRAIN_STATE_DEFERRED || strcmp(other->target, drain->target) != 0)
			continue;
		/* One that is in the journal no more has nothing that could be undone either. */
		(void)forget_steps(engine, other);
	}
	return r;
}

bool engine_drain_hold_went(const struct engine *engine, const struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->hold_count; i++) {
		const struct drain_record *drain = engine_drain_find(engine, snapshot->holds[i].drain);

		if (!drain || !engine_drain_is_held(drain))
			return true;
	}
	return false;
}

/* Is anything of it still to be undone that an undo has given up? */
static bool has_given_up(struct engine *engine, const struct drain_record *drain)
{
	const struct operation *operation = engine_find_or_load(engine, drain->operation);

	for (size_t i = 0; operation && i < operation->record->step_count; i++)
		if (operation->record->steps[i].step.kind != STEP_KIND_CORDON &&
		    undo_bar_is_due(&operation->record->steps[i]) && operation->record->steps[i].undo_failed)
			return true;
	return false;
}

/*
 * What an undo could not put back along with its own is tried again with the next drain that ends. Where there is none its
 * drain needs somebody's attention, who can undrain it once more.
 */
static void release_deferred(struct engine *engine)
{
	for (size_t i = 0; i < engine->drain_count; i++) {
		struct drain_record *drain = engine->drains[i];

		if (drain->state != DRAIN_STATE_DEFERRED || engine_drain_owes(engine, drain))
			continue;
		if (!has_given_up(engine, drain))
			drain->state = DRAIN_STATE_RELEASED;
		else if (engine_drain_stands_beside(engine, drain))
			continue;
		else
			drain->state = DRAIN_STATE_ATTENTION;
		engine_tell_drain(engine, drain);
		engine_drain_put(engine, drain);
	}
}

static void set_state(struct engine *engine, struct drain_record *drain, const struct operation_record *record,
		      enum operation_state state)
{
	bool is_deferred = !engine_drain_is_held(drain) && engine_drain_owes(engine, drain);

	if (record->wish.kind == OPERATION_KIND_UNDRAIN) {
		if (state == OPERATION_STATE_SUCCEEDED) {
			drain->state = DRAIN_STATE_RELEASED;
			engine_drain_set_hold(drain, false);
		} else {
			/*
			 * Where the hold is gone the undrain has done what can be done: its
			 * remainder says the rest.
			 */
			drain->state = engine_drain_is_held(drain) ? DRAIN_STATE_ATTENTION
				       : is_deferred		   ? DRAIN_STATE_DEFERRED
								   : DRAIN_STATE_RELEASED;
		}
		return;
	}
	if (state == OPERATION_STATE_SUCCEEDED) {
		drain->state = DRAIN_STATE_HELD;
		memcpy(drain->boot_id, engine->boot_id, sizeof(drain->boot_id));
	} else if (record->undo_wanted && is_deferred) {
		drain->state = DRAIN_STATE_DEFERRED;
	} else if ((record->undo_wanted && !record->undone) ||
		   remainder_list_has(&record->remainder, REMAINDER_KERNEL_STUCK)) {
		drain->state = DRAIN_STATE_ATTENTION;
	} else {
		drain->state = DRAIN_STATE_STOPPED;
		if (record->undone)
			engine_drain_set_hold(drain, false);
	}
}

/*
 * Earlier tries of the same target that have come to nothing: this one's hold stands for theirs, and what they have done goes
 * back along with what it has done.
 */
static void take_over_stopped(struct engine *engine, const struct drain_record *drain)
{
	if (!engine_drain_is_held(drain) || drain->wish.finish == DRAIN_FINISH_CORDON)
		return;
	for (size_t i = 0; i < engine->drain_count; i++) {
		struct drain_record *other = engine->drains[i];

		if (other == drain || other->state != DRAIN_STATE_STOPPED || !engine_drain_is_held(other) ||
		    strcmp(other->target, drain->target) != 0)
			continue;
		engine_drain_set_hold(other, false);
		other->state = DRAIN_STATE_DEFERRED;
		engine_tell_drain(engine, other);
		engine_drain_put(engine, other);
	}
}

void engine_drain_set_end(struct engine *engine, struct drain_record *drain,
			  const struct operation_record *record, enum operation_state state)
{
	set_state(engine, drain, record, state);
	if (record->wish.kind == OPERATION_KIND_DRAIN)
		take_over_stopped(engine, drain);
	release_deferred(engine);
}

/* ---- memory that is online again ---- */

/* Has it left its memory offline, as far as is known? */
static bool left_offline(const struct drain_record *drain)
{
	if (drain->wish.finish != DRAIN_FINISH_OFFLINE && drain->wish.finish != DRAIN_FINISH_EJECT)
		return false;
	return drain->state == DRAIN_STATE_HELD || (drain->state == DRAIN_STATE_ATTENTION && drain->online_bytes > 0);
}

static uint64_t held_online_bytes(const struct drain_record *drain, const struct snapshot *snapshot)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < snapshot->block_count; i++) {
		const struct snapshot_block *block = &snapshot->blocks[i];

		if (snapshot_hold_has(&drain->hold, block) && block->state != BLOCK_STATE_OFFLINE)
			bytes += block->size_bytes;
	}
	return bytes;
}

/*
 * Who works on the blocks of a drain that holds is the drain's own undrain alone, and then its state is another. The drain has
 * ended by a look at them, and looks come in their order, so that none is older.
 */
void engine_see(struct engine *engine, const struct snapshot *snapshot)
{
	for (size_t i = 0; i < engine->drain_count && snapshot->block_count > 0; i++) {
		struct drain_record *drain = engine->drains[i];
		bool is_new_boot = engine->boot_id[0] && strcmp(drain->boot_id, engine->boot_id) != 0;
		uint64_t bytes;

		if (!left_offline(drain))
			continue;
		bytes = held_online_bytes(drain, snapshot);
		if (bytes == drain->online_bytes && (bytes || !is_new_boot))
			continue;
		drain->state = bytes ? DRAIN_STATE_ATTENTION : DRAIN_STATE_HELD;
		drain->online_bytes = bytes;
		/* From now on it is this boot in which it is held. */
		if (!bytes && engine->boot_id[0])
			memcpy(drain->boot_id, engine->boot_id, sizeof(drain->boot_id));
		engine_tell_drain(engine, drain);
		engine_drain_put(engine, drain);
	}
}

/* ---- what comes where it has emptied memory ---- */

int engine_drain_wish(struct engine *engine, const char *id, struct wish *ret_wish)
{
	const struct drain_record *drain = engine_drain_find(engine, id);
	const struct operation *operation = drain ? engine_find_or_load(engine, drain->operation) : NULL;

	if (!operation)
		return -ENOENT;
	*ret_wish = operation->record->wish;
	return 0;
}

/* What systemd sets for a boot, and the kernel's cgroups, end with it. */
uint64_t engine_drain_lost_slices(struct engine *engine, const char *id)
{
	const struct drain_record *drain = engine_drain_find(engine, id);
	const struct operation *operation;
	uint64_t nodes = 0;

	/* Asked at each look: the operation may have to be read from the journal. */
	if (!drain || !drain->boot_id[0] || !engine->boot_id[0] || strcmp(drain->boot_id, engine->boot_id) == 0)
		return 0;
	operation = engine_find_or_load(engine, drain->operation);
	for (size_t i = 0; operation && i < operation->record->step_count; i++)
		if (operation->record->steps[i].step.kind == STEP_KIND_SLICE_CPUSETS &&
		    undo_bar_is_due(&operation->record->steps[i]))
			nodes |= operation->record->steps[i].step.nodes;
	return nodes;
}

/* Each takes one slice at least: more than these somebody gives back as often as they are taken. */
#define SLICE_STEPS_MAX 16

bool engine_drain_left_slices(struct engine *engine, const char *id)
{
	const struct drain_record *drain = engine_drain_find(engine, id);
	const struct operation *operation = drain ? engine_find_or_load(engine, drain->operation) : NULL;
	const struct step_record *last = NULL;
	unsigned count = 0;

	for (size_t i = 0; operation && i < operation->record->step_count; i++) {
		if (operation->record->steps[i].step.kind != STEP_KIND_SLICE_CPUSETS)
			continue;
		last = &operation->record->steps[i];
		count++;
	}
	return last && last->state != STEP_STATE_DONE && last->state != STEP_STATE_UNDONE && count < SLICE_STEPS_MAX;
}

static bool is_same_list(const struct remainder_list *a, const struct remainder_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct remainder *one = &a->items[i], *other = &b->items[i];

		if (one->code != other->code || one->bytes != other->bytes || one->consent != other->consent ||
		    strcmp(one->object, other->object) != 0 || strcmp(one->detail, other->detail) != 0 ||
		    strcmp(one->way_out, other->way_out) != 0)
			return false;
	}
	return true;
}

void engine_drain_set_newcomers(struct engine *engine, const char *id, const struct remainder_list *newcomers)
{
	struct drain_record *drain = engine_drain_find(engine, id);

	if (!drain || is_same_list(&drain->newcomers, newcomers))
		return;
	drain->newcomers = *newcomers;
	engine_tell_drain(engine, drain);
}

int engine_drain_put(struct engine *engine, const struct drain_record *drain)
{
	return journal_put_drain(engine->options.journal, drain, NULL, NULL);
}
