/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	        somebody is there        told, and may move       [pause, doubled each time]
 *	(none) -----------------> TOLD ---------------------> MOVED ------------------------> TOLD, if it is there again
 *	   ^                                                    |
 *	   +----- nobody has been there for another pause ------+
 *
 * The counters of the guests' cgroups tell whether anything has changed, and a survey tells what is there: the counters have
 * what QEMU itself needs, too. Where there are no counters a guest is surveyed now and then.
 *
 * Of a pool of huge pages the least that it had since the hold stands is what belongs there. That is known only for as long
 * as the daemon runs. What it has more is given back while it is free. No operation is at work meanwhile, for a pool that is
 * made smaller while the kernel migrates one of its pages may be spoilt (docs/ARCHITECTURE.md section 13).
 *
 * All that is done stands among the steps of the drain (engine_keep.c), so that its undrain undoes it.
 */
#include "hold_keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "drain_newcomer.h"
#include "guest_records.h"
#include "size_text.h"

#define PAUSE_MS      60000u
#define PAUSE_MOST_MS 960000u
/* Giving free huge pages back takes milliseconds. */
#define POOL_MS 30000
/* Their processes' memory is looked through. */
#define SLICES_MS 120000
/* Between two surveys of one guest: of one that is said to have changed; of one of which nothing is said. */
#define CHANGED_MS 10000u
#define UNTOLD_MS  300000u
/* More than stand on any host at a time. */
#define DRAINS_MAX 256
/* Newest first: those that are at work, and others that have ended. */
#define OPERATIONS_MAX 256

/* How often something is done about the same thing. */
struct pace {
	uint64_t not_before_ms; /* the next time */
	uint32_t pause_ms;	/* after that */
	bool was_done;
};

struct newcomer {
	struct guest_record record;
	struct hold_keeper *keeper; /* borrowed */
	struct pace pace;
	uint64_t surveyed_at_ms;
	bool was_surveyed;
	bool is_submitting;
	bool is_there;	   /* in this round */
	char refused[144]; /* why its last move did not begin; empty: it did */
};

struct pool_least {
	int node;
	uint64_t page_bytes, pages;
	struct pace pace;
};

/* A drain that holds memory. */
struct kept {
	struct kept *next;
	char drain[OPERATION_ID_SIZE];
	bool is_seen; /* in this round */
	bool has_wish;
	struct wish wish; /* what it was begun with */
	bool knows_slices, has_left_slices;
	struct pace slices;
	char slices_why[160]; /* they could not be taken the last time */
	size_t pool_count;
	struct pool_least pools[SNAPSHOT_NODES_MAX * SNAPSHOT_POOLS_MAX];
};

struct hold_keeper {
	struct hold_keeper_options options;
	struct guest_records guests;
	struct kept *drains; /* owned */
};

struct hold_keeper *hold_keeper_new(const struct hold_keeper_options *options)
{
	struct hold_keeper *keeper = calloc(1, sizeof(*keeper));

	if (!keeper)
		return NULL;
	keeper->options = *options;
	if (!keeper->options.pause_ms)
		keeper->options.pause_ms = PAUSE_MS;
	guest_records_init(&keeper->guests, sizeof(struct newcomer), NULL);
	return keeper;
}

struct hold_keeper *hold_keeper_free(struct hold_keeper *keeper)
{
	while (keeper && keeper->drains) {
		struct kept *kept = keeper->drains;

		keeper->drains = kept->next;
		free(kept);
	}
	if (keeper)
		guest_records_done(&keeper->guests);
	free(keeper);
	return NULL;
}

static uint64_t now_ms(const struct hold_keeper *keeper)
{
	return keeper->options.now_ms(keeper->options.user);
}

static bool is_due(const struct hold_keeper *keeper, const struct pace *pace)
{
	return now_ms(keeper) >= pace->not_before_ms;
}

static void note_done(const struct hold_keeper *keeper, struct pace *pace)
{
	pace->not_before_ms = now_ms(keeper) + pace->pause_ms;
	pace->pause_ms = pace->pause_ms > PAUSE_MOST_MS / 2 ? PAUSE_MOST_MS : pace->pause_ms * 2;
	pace->was_done = true;
}

/* What was not needed again for another pause is new when it is. */
static bool is_over(const struct hold_keeper *keeper, const struct pace *pace)
{
	return !pace->was_done || now_ms(keeper) >= pace->not_before_ms + pace->pause_ms;
}

/* Has it come as far as it was to? After a reboot what was offline may be online. */
static bool is_kept(const struct drain_record *drain)
{
	return drain->hold.drain[0] &&
	       (drain->state == DRAIN_STATE_HELD || (drain->state == DRAIN_STATE_ATTENTION && drain->online_bytes > 0));
}

/* ---- guests ---- */

/* NULL where memory is short. */
static struct newcomer *record_of(struct hold_keeper *keeper, const char *uuid)
{
	struct newcomer *newcomer = guest_records_find(&keeper->guests, uuid);

	if (newcomer)
		return newcomer;
	newcomer = guest_records_add(&keeper->guests, uuid);
	if (newcomer) {
		newcomer->keeper = keeper;
		newcomer->pace.pause_ms = keeper->options.pause_ms;
	}
	return newcomer;
}

static void survey(struct newcomer *newcomer, enum drain_newcomer_doubt doubt)
{
	struct hold_keeper *keeper = newcomer->keeper;
	uint64_t now = now_ms(keeper);

	if (newcomer->was_surveyed &&
	    now < newcomer->surveyed_at_ms + (doubt == DRAIN_NEWCOMER_CHANGED ? CHANGED_MS : UNTOLD_MS))
		return;
	newcomer->was_surveyed = true;
	newcomer->surveyed_at_ms = now;
	keeper->options.survey(keeper->options.user, newcomer->record.uuid);
}

static void on_answer(void *user, const struct engine_answer *answer)
{
	struct newcomer *newcomer = user;
	char text[FAILURE_OBJECT_SIZE + 3 * FAILURE_TEXT_SIZE];

	newcomer->is_submitting = false;
	switch (answer->result) {
	case ENGINE_SUBMIT_ACCEPTED:
	case ENGINE_SUBMIT_ALREADY:
	case ENGINE_SUBMIT_REPLAYED:
		return;
	case ENGINE_SUBMIT_BUSY:
	case ENGINE_SUBMIT_PLAN_CHANGED:
	case ENGINE_SUBMIT_REFUSED:
	case ENGINE_SUBMIT_KEY_MISUSED:
	case ENGINE_SUBMIT_OBSERVE_ONLY:
	case ENGINE_SUBMIT_FAILED:
		break;
	}
	snprintf(newcomer->refused, sizeof(newcomer->refused), "%s",
		 answer->failure ? failure_format(answer->failure, text, sizeof(text)) : "no reason was told");
}

static void move(struct newcomer *newcomer, const struct drain_newcomer *found)
{
	struct hold_keeper *keeper = newcomer->keeper;

	note_done(keeper, &newcomer->pace);
	newcomer->is_submitting = true;
	newcomer->refused[0] = '\0';
	engine_submit(keeper->options.engine,
		      &(struct engine_submission){
			      .wish = &found->move, .actor = OPERATION_ACTOR_HOLD, .newcomer = &found->step},
		      on_answer, newcomer);
}

/* What becomes of one that may be moved. way_out: NULL for the code's own. */
static const char *handle(struct newcomer *newcomer, const struct drain_newcomer *found, char text[192],
			  const char **ret_way_out)
{
	const struct hold_keeper *keeper = newcomer->keeper;
	const struct operation_record *operation =
		engine_guest_operation(keeper->options.engine, newcomer->record.uuid);

	*ret_way_out = "wait for it";
	if (operation) {
		snprintf(text, 192, "operation %s works on it", operation->id);
		return text;
	}
	if (keeper->options.observe) {
		*ret_way_out = NULL;
		return "this ballastd only observes";
	}
	if (!keeper->options.moves) {
		*ret_way_out = "move it, or set keep_empty = yes in ballastd.conf";
		return "it came when the memory had been emptied";
	}
	if (!newcomer->is_submitting && is_due(keeper, &newcomer->pace))
		move(newcomer, found);
	else if (!newcomer->is_submitting && !newcomer->refused[0])
		return "a move of it has begun a while ago; the next one does after a pause";
	if (!newcomer->refused[0])
		return "it is moved away";
	*ret_way_out = NULL;
	snprintf(text, 192, "it is tried again after a pause: %s", newcomer->refused);
	return text;
}

static void judge_guest(struct hold_keeper *keeper, const struct snapshot *snapshot, const struct drain_newcomer *found,
			struct remainder_list *list)
{
	const struct snapshot_guest *guest = &snapshot->guests[found->guest];
	struct newcomer *newcomer = record_of(keeper, guest->uuid);
	const char *what, *way_out;
	char object[96], text[192];

	if (!newcomer)
		return;
	newcomer->is_there |= found->bytes > 0;
	/* What an operation does to it is seen when that has ended. */
	if (found->doubt != DRAIN_NEWCOMER_SURE && !engine_guest_operation(keeper->options.engine, guest->uuid))
		survey(newcomer, found->doubt);
	if (!found->bytes)
		return;
	if (!found->may_move) {
		remainder_list_append(list, &found->why);
		return;
	}
	snprintf(object, sizeof(object), "guest %s", guest->name);
	what = handle(newcomer, found, text, &way_out);
	remainder_list_add(list, REMAINDER_GUEST_MEMORY, object, found->bytes, way_out, "%s", what);
}

/* ---- pools ---- */

static struct pool_least *least_of(const struct hold_keeper *keeper, struct kept *kept, int node,
				   const struct snapshot_pool *pool)
{
	for (size_t i = 0; i < kept->pool_count; i++)
		if (kept->pools[i].node == node && kept->pools[i].page_bytes == pool->page_bytes)
			return &kept->pools[i];
	if (kept->pool_count == sizeof(kept->pools) / sizeof(kept->pools[0]))
		return NULL;
	kept->pools[kept->pool_count] =
		(struct pool_least){node, pool->page_bytes, pool->total, {.pause_ms = keeper->options.pause_ms}};
	return &kept->pools[kept->pool_count++];
}

static bool is_any_at_work(const struct hold_keeper *keeper)
{
	const struct operation_record *operations[OPERATIONS_MAX];
	size_t count = engine_operations(keeper->options.engine, operations, OPERATIONS_MAX);

	for (size_t i = 0; i < count; i++)
		if (!operation_state_is_final(operations[i]->state))
			return true;
	return false;
}

static void on_given_back(void *user, const struct failure *failure)
{
	const struct hold_keeper *keeper = user;

	keeper->options.given_back(keeper->options.user, failure);
}

static void give_back(struct hold_keeper *keeper, const struct kept *kept, const struct snapshot *snapshot,
		      const struct pool_least *least, const struct snapshot_pool *pool, uint64_t pages)
{
	struct step step;

	step_init(&step, STEP_KIND_HOST_POOL);
	step.node = least->node;
	step.page_bytes = pool->page_bytes;
	step.bytes = pages * pool->page_bytes;
	step.target_bytes = (pool->total - pages) * pool->page_bytes;
	step.timeout_ms = POOL_MS;
	step.undoable = true;
	memcpy(step.text, STEP_TEXT_NEWCOMER, sizeof(STEP_TEXT_NEWCOMER));
	engine_keep(keeper->options.engine, kept->drain, &step, snapshot, on_given_back, keeper);
}

/* So many of its pages are free and more than belong there. */
static const char *handle_pool(struct hold_keeper *keeper, const struct kept *kept, const struct snapshot *snapshot,
			       struct pool_least *least, const struct snapshot_pool *pool, bool is_whole, uint64_t pages)
{
	if (keeper->options.observe || !keeper->options.moves)
		return "it has grown there since the memory was emptied";
	if (!is_whole)
		return "it has grown since the memory was emptied, and in which memory of the node only the kernel knows";
	/* The kernel might take other pages than the free ones. */
	if (pool->surplus)
		return "it has grown there since the memory was emptied, and some of its pages are surplus";
	if (is_any_at_work(keeper))
		return "what is free is given back when no operation is at work";
	if (!is_due(keeper, &least->pace))
		return "what was free has been given back a while ago, and is once more after a pause";
	note_done(keeper, &least->pace);
	give_back(keeper, kept, snapshot, least, pool, pages);
	return "what is free is given back";
}

/* Of what it has gained the free ones: who has the others is told as a guest, or is none. */
static void judge_pool(struct hold_keeper *keeper, const struct kept *kept, const struct snapshot *snapshot,
		       struct pool_least *least, const struct snapshot_pool *pool, bool is_whole, struct remainder_list *list)
{
	char object[96], size[SIZE_TEXT_SIZE];
	uint64_t pages;

	if (pool->total < least->pages)
		least->pages = pool->total;
	pages = pool->total - least->pages < pool->free ? pool->total - least->pages : pool->free;
	if (!pages) {
		if (is_over(keeper, &least->pace))
			least->pace = (struct pace){.pause_ms = keeper->options.pause_ms};
		return;
	}
	snprintf(object, sizeof(object), "node %d, pool of %s pages", least->node,
		 size_text_format(pool->page_bytes, size));
	remainder_list_add(list, REMAINDER_HUGE_PAGE_POOL, object, pages * pool->page_bytes, NULL, "%s",
			   handle_pool(keeper, kept, snapshot, least, pool, is_whole, pages));
}

static void judge_pools(struct hold_keeper *keeper, struct kept *kept, const struct snapshot *snapshot,
			const struct drain_newcomers *found, struct remainder_list *list)
{
	for (size_t i = 0; i < snapshot->node_count; i++) {
		const struct snapshot_node *node = &snapshot->nodes[i];

		for (size_t j = 0; j < node->pool_count && found->nodes >> node->id & 1; j++) {
			struct pool_least *least = least_of(keeper, kept, node->id, &node->pools[j]);

			if (least)
				judge_pool(keeper, kept, snapshot, least, &node->pools[j],
					   found->whole_nodes >> node->id & 1, list);
		}
	}
}

/* ---- drains ---- */

/* NULL where memory is short. */
static struct kept *kept_of(struct hold_keeper *keeper, const char *drain)
{
	struct kept *kept = keeper->drains;

	while (kept && strcmp(kept->drain, drain) != 0)
		kept = kept->next;
	if (kept)
		return kept;
	kept = calloc(1, sizeof(*kept));
	if (!kept)
		return NULL;
	snprintf(kept->drain, sizeof(kept->drain), "%s", drain);
	/* The drain itself has just tried. */
	kept->slices = (struct pace){now_ms(keeper) + keeper->options.pause_ms, keeper->options.pause_ms, false};
	kept->next = keeper->drains;
	keeper->drains = kept;
	return kept;
}

static void forget_unseen(struct hold_keeper *keeper)
{
	for (struct kept **link = &keeper->drains; *link;) {
		struct kept *kept = *link;

		if (kept->is_seen) {
			kept->is_seen = false;
			link = &kept->next;
			continue;
		}
		*link = kept->next;
		free(kept);
	}
}

static bool has_object(const struct remainder_list *list, const char *object)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].object, object) == 0)
			return true;
	return false;
}

static void tell(struct hold_keeper *keeper, const struct drain_record *drain, const struct remainder_list *list)
{
	for (size_t i = 0; i < list->count && keeper->options.came; i++)
		if (list->items[i].bytes && !has_object(&drain->newcomers, list->items[i].object))
			keeper->options.came(keeper->options.user, drain, &list->items[i]);
	engine_drain_set_newcomers(keeper->options.engine, drain->id, list);
}

/* ---- slices ---- */

static void on_slices(void *user, const struct failure *failure)
{
	struct hold_keeper *keeper = user;

	for (struct kept *kept = keeper->drains; kept; kept = kept->next) {
		if (failure && strcmp(failure->object, kept->drain) == 0)
			snprintf(kept->slices_why, sizeof(kept->slices_why), ": %.150s", failure->cause);
		kept->knows_slices = false;
	}
}

/* Those that the drain could not take a node from, because the kernel would have moved what they had there, say. */
static void judge_left_slices(struct hold_keeper *keeper, struct kept *kept, const struct plan_input *input,
			      const struct drain_newcomers *found, struct remainder_list *list)
{
	bool acts = keeper->options.moves && !keeper->options.observe;
	struct step step;

	if (!drain_newcomers_slices(input, found, &step))
		return;
	if (!kept->knows_slices)
		kept->has_left_slices = engine_drain_left_slices(keeper->options.engine, kept->drain);
	kept->knows_slices = true;
	if (!kept->has_left_slices)
		return;
	if (acts && is_due(keeper, &kept->slices)) {
		note_done(keeper, &kept->slices);
		kept->slices_why[0] = '\0';
		step.timeout_ms = SLICES_MS;
		engine_keep(keeper->options.engine, kept->drain, &step, input->snapshot, on_slices, keeper);
	}
	remainder_list_add(list, REMAINDER_SLICE_CPUSET, "slices of the host", 0, acts ? "wait" : "undrain, then drain again",
			   "some could not be kept from it%s%s", acts ? ", and are tried again" : "", kept->slices_why);
}

static void judge_slices(struct hold_keeper *keeper, struct kept *kept, const struct plan_input *input,
			 const struct drain_newcomers *found, struct remainder_list *list)
{
	if (engine_drain_lost_slices(keeper->options.engine, kept->drain))
		remainder_list_add(list, REMAINDER_SLICE_CPUSET, "slices of the host", 0, "undrain, then drain again",
				   "a reboot of the host has given back what the drain had taken from their cpusets");
	else
		judge_left_slices(keeper, kept, input, found, list);
}

/* False where nothing can be said: then what was said stands. */
static bool judge(struct hold_keeper *keeper, const struct drain_record *drain, const struct snapshot *snapshot,
		  struct remainder_list *list)
{
	struct plan_input input = {.snapshot = snapshot, .limits = keeper->options.limits};
	CLEANUP(drain_newcomers_done) struct drain_newcomers found = {0};
	struct kept *kept = kept_of(keeper, drain->id);

	if (!kept)
		return false;
	kept->is_seen = true;
	kept->has_wish = kept->has_wish || engine_drain_wish(keeper->options.engine, drain->id, &kept->wish) == 0;
	input.wish = &kept->wish;
	if (!kept->has_wish || drain_newcomers_find(&input, &found) < 0)
		return false;
	judge_pools(keeper, kept, snapshot, &found, list);
	/* A cordon has emptied nothing: only pools are not to grow there. */
	if (drain->wish.finish == DRAIN_FINISH_CORDON)
		return true;
	for (size_t i = 0; i < found.count; i++)
		judge_guest(keeper, snapshot, &found.items[i], list);
	judge_slices(keeper, kept, &input, &found, list);
	return true;
}

static void rest(void *user, const char *uuid)
{
	struct hold_keeper *keeper = user;
	struct newcomer *newcomer = guest_records_find(&keeper->guests, uuid);

	/* When it was surveyed last is to be known for as long. */
	if (!newcomer->is_there && !newcomer->is_submitting && is_over(keeper, &newcomer->pace) &&
	    (!newcomer->was_surveyed || now_ms(keeper) >= newcomer->surveyed_at_ms + UNTOLD_MS))
		guest_records_forget(&keeper->guests, uuid);
	else
		newcomer->is_there = false;
}

void hold_keeper_see(struct hold_keeper *keeper, const struct snapshot *snapshot)
{
	const struct drain_record *drains[DRAINS_MAX];
	size_t count = snapshot->observed_at_ms ? engine_drains(keeper->options.engine, drains, DRAINS_MAX) : 0;

	for (size_t i = 0; i < count; i++) {
		struct remainder_list list = {0};

		if (!is_kept(drains[i]) || judge(keeper, drains[i], snapshot, &list))
			tell(keeper, drains[i], &list);
	}
	if (snapshot->observed_at_ms)
		forget_unseen(keeper);
	guest_records_visit(&keeper->guests, rest, keeper);
}
