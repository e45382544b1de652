/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check: what the kernel does, then for each kind of backing the proof that it moves under a
 * running vCPU between all nodes that have room.
 *
 *   probe -> for each backing: (room in the pools ->) proof (-> the pools as they were)
 *
 * A pool that was made larger is made smaller again whatever happened since, also when time ran out
 * or the operation is cancelled: the history says what is owed.
 */
#include "plan_priv.h"

#include <string.h>
#include "size_text.h"

#define PROOF_BYTES (16 * SIZE_TEXT_MIB) /* the microVM's memory: a few calls of move_pages(2) */
/* A page so large is not made for a proof: the kernel would have to clear so much in one piece. */
#define GIGANTIC    (UINT64_C(1) << 30)
/* Pools that are enlarged at the same time: no more steps than a cancelled operation may still take
 * to put things in order. */
#define POOLS_MAX   8
/* Once more where the daemon was restarted in the middle of it. */
#define TRIES_MAX   2

struct proof_kind {
	const char *backing; /* as the worker names it (kvm/microvm) */
	uint64_t page_bytes;
};

static bool is_same_work(const struct step *a, const struct step *b)
{
	return a->kind == b->kind && a->page_bytes == b->page_bytes && strcmp(a->text, b->text) == 0;
}

/* Has this probe or proof been made, or tried often enough? */
static bool was_made(const struct plan_input *input, const struct step *step)
{
	unsigned tries = 0;

	for (size_t i = 0; i < input->history_count; i++) {
		if (!is_same_work(&input->history[i].step, step))
			continue;
		if (!plan_was_cut(&input->history[i]) || ++tries == TRIES_MAX)
			return true;
	}
	return false;
}

static uint64_t proof_bytes(const struct proof_kind *kind)
{
	return kind->page_bytes > PROOF_BYTES ? kind->page_bytes : PROOF_BYTES;
}

/* ---- pools of huge pages ---- */

/* What the kernel keeps without being asked: surplus pages come and go by themselves. */
static uint64_t lasting(const struct snapshot_pool *pool)
{
	return pool->total > pool->surplus ? pool->total - pool->surplus : 0;
}

/* Pages that the proof needs and the node's pool has not free. */
static uint64_t lacking(const struct snapshot_pool *pool, const struct proof_kind *kind)
{
	uint64_t needed = proof_bytes(kind) / kind->page_bytes;
	/* Which node's pages are promised nobody can tell. */
	uint64_t free = pool->free > pool->reserved ? pool->free - pool->reserved : 0;

	return free < needed ? needed - free : 0;
}

static bool is_larger(const struct step *step)
{
	return step->kind == STEP_KIND_HOST_POOL && step->bytes > 0;
}

/* What was done to one pool and is not taken back yet. */
struct debt {
	const struct step_record *first; /* with which it was made larger; NULL: none */
	uint64_t added;			 /* pages, at most */
	unsigned tries;
	bool was_cut; /* the last of them */
};

static struct debt find_debt(const struct plan_input *input, int node, uint64_t page_bytes)
{
	struct debt debt = {0};

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];
		const struct step *step = &record->step;

		if (step->kind != STEP_KIND_HOST_POOL || step->node != node ||
		    step->page_bytes != page_bytes)
			continue;
		if (is_larger(step)) {
			debt.first = debt.first ? debt.first : record;
			debt.added += step->bytes / page_bytes;
			debt.tries++;
			debt.was_cut = plan_was_cut(record);
		} else if (!plan_was_cut(record)) {
			debt = (struct debt){0};
		}
	}
	return debt;
}

static size_t count_enlarged(const struct plan_input *input, uint64_t page_bytes)
{
	size_t count = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		count += find_debt(input, node, page_bytes).first != NULL;
	return count;
}

static bool can_enlarge(const struct plan_input *input, const struct snapshot_node *node,
			const struct proof_kind *kind)
{
	struct debt debt = find_debt(input, node->id, kind->page_bytes);

	if (kind->page_bytes >= GIGANTIC || node->free_bytes < 4 * proof_bytes(kind))
		return false;
	return debt.first ? debt.was_cut && debt.tries < TRIES_MAX
			  : count_enlarged(input, kind->page_bytes) < POOLS_MAX;
}

static void pool_step(struct decision *decision, int node, uint64_t page_bytes, uint64_t pages,
		      uint64_t added)
{
	struct step step;

	plan_step_init(&step, STEP_KIND_HOST_POOL, NULL);
	step.node = node;
	step.page_bytes = page_bytes;
	step.target_bytes = pages * page_bytes;
	/* Only a step that adds has bytes: that is how it is known again. */
	step.bytes = added * page_bytes;
	step.undoable = true;
	plan_decide(decision, &step);
}

static bool enlarge_next(const struct plan_input *input, const struct proof_kind *kind,
			 uint64_t nodes, struct decision *decision)
{
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		const struct snapshot_pool *pool =
			plan_pool(input->snapshot, node, kind->page_bytes);

		if (!(nodes & plan_node_bit(node)) || !pool || !lacking(pool, kind))
			continue;
		pool_step(decision, node, kind->page_bytes, lasting(pool) + lacking(pool, kind),
			  lacking(pool, kind));
		return true;
	}
	return false;
}

/*
 * Takes away what was added, and no more: another operation may have added to the same pool meanwhile, and a step that
 * was cut short may have added nothing.
 */
static bool restore_next(const struct plan_input *input, struct decision *decision)
{
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step *step = &input->history[i].step;
		const struct snapshot_pool *pool;
		struct debt debt;
		uint64_t before;

		if (!is_larger(step))
			continue;
		debt = find_debt(input, step->node, step->page_bytes);
		if (debt.first != &input->history[i])
			continue;
		pool = plan_pool(input->snapshot, step->node, step->page_bytes);
		before = (step->target_bytes - step->bytes) / step->page_bytes;
		/* Gone with the DIMM under it, or never made. */
		if (!pool || lasting(pool) <= before)
			continue;
		pool_step(decision, step->node, step->page_bytes,
			  lasting(pool) - plan_min(debt.added, lasting(pool) - before), 0);
		return true;
	}
	return false;
}

/* ---- proofs ---- */

/* Nodes with the room that the proof takes, or where it can be made. */
static uint64_t proof_nodes(const struct plan_input *input, const struct proof_kind *kind)
{
	const struct snapshot *snapshot = input->snapshot;
	uint64_t held = snapshot_held_nodes(snapshot, NULL), nodes = 0;
	size_t more = 0;

	for (size_t i = 0; i < snapshot->node_count; i++) {
		const struct snapshot_node *node = &snapshot->nodes[i];
		const struct snapshot_pool *pool;

		if (!node->has_memory || held & plan_node_bit(node->id))
			continue;
		if (strcmp(kind->backing, "hugetlb") != 0) {
			if (node->free_bytes >= 4 * proof_bytes(kind))
				nodes |= plan_node_bit(node->id);
			continue;
		}
		pool = plan_pool(snapshot, node->id, kind->page_bytes);
		if (!pool)
			continue;
		if (lacking(pool, kind) && (!can_enlarge(input, node, kind) || more++ == POOLS_MAX))
			continue;
		nodes |= plan_node_bit(node->id);
	}
	return nodes;
}

static void proof_step(const struct proof_kind *kind, struct step *ret_step)
{
	plan_step_init(ret_step, STEP_KIND_PROOF, NULL);
	strcpy(ret_step->text, kind->backing);
	ret_step->page_bytes = kind->page_bytes;
	ret_step->bytes = proof_bytes(kind);
}

/* False: it was made. */
static bool proof_next(const struct plan_input *input, const struct proof_kind *kind,
		       struct decision *decision)
{
	struct step step;

	proof_step(kind, &step);
	if (was_made(input, &step))
		return false;
	step.nodes = proof_nodes(input, kind);
	if (strcmp(kind->backing, "hugetlb") == 0 && plan_node_count(step.nodes) > 1 &&
	    enlarge_next(input, kind, step.nodes, decision))
		return true;
	/* With fewer than two nodes the worker says why there is nothing to prove. */
	plan_decide(decision, &step);
	return true;
}

/* Every size of huge pages that a node has a pool of, ascending; 0 after the last. */
static uint64_t next_huge_page(const struct snapshot *snapshot, uint64_t after)
{
	uint64_t next = 0;

	for (size_t i = 0; i < snapshot->node_count; i++)
		for (size_t p = 0; p < snapshot->nodes[i].pool_count; p++) {
			uint64_t page = snapshot->nodes[i].pools[p].page_bytes;

			if (page > after && (!next || page < next))
				next = page;
		}
	return next;
}

/* What comes next of all proofs; false: all were made. */
static bool proofs_next(const struct plan_input *input, struct decision *decision)
{
	static const struct proof_kind kinds[] = {
		{"memfd", 4096}, {"anon", 4096}, {"thp", 2 * SIZE_TEXT_MIB}};

	if (plan_node_count(plan_memory_nodes(input->snapshot)) < 2)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (proof_next(input, &kinds[i], decision))
			return true;
	for (uint64_t page = 0; (page = next_huge_page(input->snapshot, page));) {
		struct proof_kind kind = {"hugetlb", page};

		if (proof_next(input, &kind, decision))
			return true;
		/* Before another size needs the room. */
		if (count_enlarged(input, page) && restore_next(input, decision))
			return true;
	}
	return false;
}

/* ---- the end ---- */

/*
 * Cut short, and made again. What was cut short of a pool has been looked at since: nothing of it is owed any more, and
 * a node without enough pages is among those that the proof left out.
 */
static bool was_repeated(const struct plan_input *input, size_t index)
{
	const struct step *step = &input->history[index].step;

	if (!plan_was_cut(&input->history[index]))
		return false;
	for (size_t i = index + 1; i < input->history_count; i++)
		if (is_same_work(&input->history[i].step, step))
			return true;
	return step->kind == STEP_KIND_HOST_POOL;
}

static void tell_failures(const struct plan_input *input, struct remainder_list *remainder)
{
	for (size_t i = 0; i < input->history_count; i++) {
		const struct step_record *record = &input->history[i];
		char text[160];

		if ((record->state != STEP_STATE_FAILED && record->state != STEP_STATE_PARTIAL) ||
		    was_repeated(input, i))
			continue;
		if (record->remainder.count)
			remainder_list_append(remainder, &record->remainder);
		else
			remainder_list_add(remainder, REMAINDER_INVALID, "host", 0, NULL,
					   "%s %.100s: %s", step_word(&record->step),
					   step_describe(&record->step, text),
					   record->detail[0] ? record->detail : "it failed");
	}
}

void check_next(const struct plan_input *input, struct decision *ret_decision)
{
	bool is_late = plan_is_late(input), is_open;
	struct step step;

	memset(ret_decision, 0, sizeof(*ret_decision));
	plan_step_init(&step, STEP_KIND_PROBE, NULL);
	is_open = !was_made(input, &step);
	if (is_open && !is_late) {
		plan_decide(ret_decision, &step);
		return;
	}
	is_open |= proofs_next(input, ret_decision);
	if (is_open && !is_late)
		return;
	memset(ret_decision, 0, sizeof(*ret_decision));
	if (restore_next(input, ret_decision))
		return;
	ret_decision->kind = DECISION_KIND_DONE;
	tell_failures(input, &ret_decision->remainder);
	if (is_open)
		remainder_list_add(&ret_decision->remainder, REMAINDER_DEADLINE, "host", 0, NULL,
				   "time ran out before every kind of memory was proved");
	if (ret_decision->remainder.count)
		ret_decision->kind = DECISION_KIND_GIVE_UP;
	else if (!plan_count(input, STEP_KIND_PROOF))
		remainder_list_add(&ret_decision->warnings, REMAINDER_NO_ROOM, "host", 0,
				   "nothing: there is nowhere to move to",
				   "no two nodes with memory: moving was not proved");
}
