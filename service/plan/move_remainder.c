/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a move says beside its steps: what speaks against it, what of the guest cannot move at all,
 * and in the end the reason of every byte that stayed.
 */
#include "plan_priv.h"

#include <stdio.h>
#include <string.h>
#include "size_text.h"

uint64_t move_remainder_pinned(const struct snapshot_guest *guest, uint64_t left_bytes,
			       enum remainder_code *ret_code)
{
	/* A passed-through device pins all that its domain maps: the whole RAM, where nothing says less. */
	uint64_t pinned = guest->vfio && !guest->pinned_bytes ? left_bytes : guest->pinned_bytes;

	*ret_code = guest->vfio ? REMAINDER_VFIO_PINNED : REMAINDER_PINNED;
	return pinned >= guest->resident_bytes ? left_bytes : plan_min(pinned, left_bytes);
}

static const char *pinned_why(enum remainder_code code)
{
	return code == REMAINDER_VFIO_PINNED ? "a passed-through device pins it"
					     : "held for long by who does input or output with it";
}

/* What of it is unplugged, and plugged again elsewhere. */
static uint64_t replugged_bytes(const struct plan_input *input, const struct snapshot_guest *guest,
				const struct move_goal *goal)
{
	struct move_replug replug;

	if (!(input->wish->allow >> CONSENT_SHRINK_GUESTS & 1))
		return 0;
	move_replug_find(input, guest, goal, NULL, &replug);
	return replug.covered_bytes;
}

void move_remainder_forecast(const struct plan_input *input, struct remainder_list *list)
{
	const struct snapshot_guest *guest = snapshot_guest(input->snapshot, input->wish->guest);
	enum remainder_code code;
	struct move_goal goal;
	uint64_t pinned;
	char object[96];

	if (!guest)
		return;
	move_goal_find(input, guest, &goal);
	pinned = move_remainder_pinned(guest, goal.left_bytes, &code);
	pinned -= plan_min(pinned, replugged_bytes(input, guest, &goal));
	/* Where the pins lie is not known: at most so much of what is to leave. */
	if (pinned)
		remainder_list_add(list, code, plan_guest_object(guest, object), pinned, NULL,
				   "up to that much: %s", pinned_why(code));
}

/* A CPU that touches its memory is, and stays, elsewhere. */
static bool runs_elsewhere(const struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;

	return !mover->input->wish->move.cpus &&
	       (!guest->cpu_nodes || guest->cpu_nodes & ~mover->goal.destinations);
}

/* Nothing outside can set a policy on it. */
static bool may_return(const struct mover *mover)
{
	return plan_guest_has(mover->guest, BACKING_KIND_ANON) &&
	       mover->guest->policy_mode == POLICY_MODE_DEFAULT &&
	       !mover->input->snapshot->numa_balancing_off && runs_elsewhere(mover);
}

/* Nodes that its cpuset leaves it when the move is over, as far as that can be told. */
static uint64_t mems_after(const struct mover *mover)
{
	uint64_t mems = mover->guest->cpuset_mems, destinations = mover->goal.destinations;

	if (!mems)
		return UINT64_MAX;
	/* One that is widened for it is narrowed again. */
	if (destinations & ~mems || plan_count(mover->input, STEP_KIND_CPUSET))
		mems &= ~move_goal_first_sources(mover->input, &mover->goal);
	return mems | destinations;
}

/*
 * Memory of these kinds has no policy but its own process', and the kernel takes a page where the CPU is that touches it
 * first.
 */
static void warn_of_first_touch(struct mover *mover)
{
	static const char *const kinds[BACKING_KIND_COUNT] = {
		[BACKING_KIND_ANON] = "anonymous",
		[BACKING_KIND_MEMFD] = "mapped for itself",
		[BACKING_KIND_FILE] = "a file without a policy of its own",
		[BACKING_KIND_HUGETLB] = "in huge pages of a pool",
	};
	const struct snapshot_guest *guest = mover->guest;

	if (!runs_elsewhere(mover) || !(mems_after(mover) & ~mover->goal.destinations))
		return;
	for (size_t i = 0; i < guest->backing_count; i++) {
		uint64_t nodes;

		if (snapshot_backing_takes_policy(&guest->backings[i]) ||
		    (guest->backings[i].kind == BACKING_KIND_ANON && may_return(mover)) ||
		    snapshot_guest_part_policy(guest, i, &nodes) != POLICY_MODE_DEFAULT)
			continue;
		remainder_list_add(&mover->decision->warnings, REMAINDER_POLICY_NOT_SETTABLE, mover->object, 0,
				   "move the vCPUs too, or restart the guest with the wished numatune",
				   "its memory is unbound and %s: what it touches first lands where its CPUs run",
				   kinds[guest->backings[i].kind]);
	}
}

static void warn_of_policy(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	bool file = snapshot_guest_takes_policy(guest);

	if (may_return(mover))
		remainder_list_add(&mover->decision->warnings, REMAINDER_AUTONUMA_MAY_RETURN,
				   mover->object, 0, NULL,
				   "its memory is anonymous and unbound: automatic NUMA balancing "
				   "may pull it back; where it lies is watched");
	else if (!file && guest->backing_count && guest->policy_mode != POLICY_MODE_DEFAULT &&
		 guest->policy_nodes & ~move_goal_nodes(&mover->goal, guest->policy_nodes))
		remainder_list_add(&mover->decision->warnings, REMAINDER_POLICY_NOT_SETTABLE,
				   mover->object, 0, NULL,
				   "the policy of its memory cannot be set from outside");
	/* A cpuset that changes with the move takes such policies along, or the plan says what it would do to them. */
	else if (file && !plan_count(mover->input, STEP_KIND_CPUSET) &&
		 !(mover->goal.destinations & ~guest->cpuset_mems) &&
		 move_goal_part_is_stuck(mover->input, guest, &mover->goal))
		remainder_list_add(&mover->decision->warnings, REMAINDER_POLICY_NOT_SETTABLE,
				   mover->object, 0, "move it again when it has grown",
				   "a part of its memory is bound by its own process: what it grows by "
				   "there comes from where that part was");
}

/*
 * The next start shall agree, and nothing stored can be made to say so. A drain only wants that nothing stored names what
 * leaves.
 */
static void tell_not_stored(struct mover *mover, struct remainder_list *list)
{
	const struct wish *wish = mover->input->wish;
	const struct snapshot_guest *guest = mover->guest;

	if (!wish->move.persist || wish->drain[0] || guest->stored_numatune_nodes ||
	    plan_count(mover->input, STEP_KIND_PERSIST) || move_goal_can_be_stored(guest, &mover->goal))
		return;
	remainder_list_add(list, REMAINDER_STORED_XML, mover->object, 0,
			   guest->persistent ? "give it a numatune if its next start shall be there"
					     : "define it, then ask again",
			   "%s",
			   guest->persistent ? "stored XML names no nodes, and only one node for all of it could be written there"
					     : "nothing is stored of it that a next start could follow");
}

static void warn_of_stored(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	uint64_t stored = guest->stored_numatune_nodes;
	struct remainder_list *warnings = &mover->decision->warnings;
	char nodes[32];

	if (stored && !mover->input->wish->move.persist && move_goal_renames(mover->input, &mover->goal, stored))
		remainder_list_add(warnings, REMAINDER_STORED_XML, mover->object, 0, NULL,
				   "stored XML still says node %s (--persist changes it)",
				   plan_nodes_text(stored, nodes));
	else
		tell_not_stored(mover, warnings);
}

static void warn_of_cpus(struct mover *mover)
{
	const struct snapshot *snapshot = mover->input->snapshot;
	uint64_t without = 0;
	char nodes[32];

	if (!mover->input->wish->move.cpus)
		return;
	for (size_t i = 0; i < snapshot->node_count; i++)
		if (!snapshot->nodes[i].has_cpus)
			without |= plan_node_bit(snapshot->nodes[i].id) & mover->goal.destinations;
	if (without)
		remainder_list_add(&mover->decision->warnings, REMAINDER_INVALID, mover->object, 0,
				   "", "node %s has no CPUs: its vCPUs go to the other destinations",
				   plan_nodes_text(without, nodes));
}

/* Who names the destination is told, not asked: a drain chooses it, and asks. */
static void warn_of_remote(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	const struct wish *wish = mover->input->wish;
	uint8_t before, after;

	if (wish->move.cpus || wish->allow >> CONSENT_REMOTE_MEMORY & 1 || !guest->cpus_pinned || !guest->cpu_nodes ||
	    !move_goal_is_farther(mover->input, guest, &mover->goal, &before, &after))
		return;
	remainder_list_add(&mover->decision->warnings, REMAINDER_REMOTE_MEMORY, mover->object, 0, NULL,
			   "its vCPUs are pinned and stay: memory that was at distance %u from them will be at %u", before,
			   after);
}

static void warn_of_huge(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	uint64_t gigantic = plan_guest_huge_bytes(guest, SIZE_TEXT_GIB, true);

	if (gigantic && mover->goal.left_bytes)
		remainder_list_add(&mover->decision->warnings, REMAINDER_GIGANTIC_PAGES,
				   mover->object, gigantic, "",
				   "each of its 1 GiB pages pauses who touches it for about %u ms",
				   move_shape_stall_ms(mover->input, guest));
}

static void warn_of_what_stays(struct mover *mover)
{
	const struct snapshot_guest *guest = mover->guest;
	struct remainder_list *warnings = &mover->decision->warnings;
	enum remainder_code code;
	uint64_t pinned = move_remainder_pinned(guest, mover->goal.left_bytes, &code);
	uint64_t replugged = replugged_bytes(mover->input, guest, &mover->goal);

	if (pinned > replugged)
		remainder_list_add(warnings, code, mover->object, pinned - replugged, NULL,
				   "some of its memory will stay: %s", pinned_why(code));
	if (replugged)
		remainder_list_add(warnings, code, mover->object, replugged, "",
				   "unplugged and plugged again where it goes: %s, and an undo gives back its size alone",
				   pinned_why(code));
	if (guest->private_bytes)
		remainder_list_add(warnings, REMAINDER_PRIVATE_MEMORY, mover->object,
				   guest->private_bytes, NULL,
				   "its private memory (guest_memfd) cannot be moved");
	if (guest->swapped_bytes)
		remainder_list_add(warnings, REMAINDER_SWAPPED, mover->object, guest->swapped_bytes,
				   NULL, "swapped out: it returns to a node when it is touched");
}

void move_remainder_warn(struct mover *mover)
{
	if (!plan_count(mover->input, STEP_KIND_MOVE_PAGES)) {
		move_pool_warn(mover);
		move_free_warn(mover);
	}
	/* Of what is away for a while nothing is to stay where it goes. */
	if (!mover->goal.in_ranges) {
		warn_of_policy(mover);
		warn_of_first_touch(mover);
		warn_of_stored(mover);
	}
	warn_of_what_stays(mover);
	warn_of_cpus(mover);
	warn_of_remote(mover);
	warn_of_huge(mover);
}

/* Adds up to the rest by node, where nodes tell. */
static void tell_by_node(struct mover *mover, enum remainder_code code, const char *why,
			 uint64_t rest)
{
	struct remainder_list *list = &mover->decision->remainder;

	for (int node = 0; node < SNAPSHOT_NODES_MAX && rest && !mover->goal.opaque; node++) {
		uint64_t bytes = plan_min(
			mover->goal.map[node] >= 0 ? mover->guest->node_bytes[node] : 0, rest);

		if (!bytes)
			continue;
		remainder_list_add(list, code, mover->object, bytes, NULL, "on node %d: %s", node,
				   why);
		rest -= bytes;
	}
	if (rest || list->count == 0)
		remainder_list_add(list, code, mover->object, rest, NULL, "%s", why);
}

/*
 * What the mover could not explain byte by byte: what is known to be pinned, then what ended the
 * last pass as a whole (its worker died, libvirt was down), which it tells without bytes.
 */
static void tell_rest(struct mover *mover, const struct step_record *last, uint64_t rest)
{
	enum remainder_code code;
	uint64_t pinned = move_remainder_pinned(mover->guest, rest, &code);
	const char *why;

	for (size_t i = 0; last && i < last->remainder.count; i++)
		if (last->remainder.items[i].code == code)
			pinned = 0;
	if (pinned)
		remainder_list_add(&mover->decision->remainder, code, mover->object, pinned, NULL,
				   "%s", pinned_why(code));
	rest -= pinned;
	if (!rest && pinned)
		return;
	for (size_t i = 0; last && last->state != STEP_STATE_DONE && i < last->remainder.count; i++) {
		const struct remainder *entry = &last->remainder.items[i];

		if (entry->bytes)
			continue;
		tell_by_node(mover, entry->code,
			     entry->detail[0] ? entry->detail : remainder_code_meaning(entry->code),
			     rest);
		return;
	}
	code = plan_unexplained(last, &why);
	tell_by_node(mover, code, why, rest);
}

bool move_remainder_is_cut(const struct step_record *record)
{
	static const enum remainder_code cuts[] = {
		REMAINDER_CANCELLED, REMAINDER_DEADLINE,    REMAINDER_MIGRATION_JOB, REMAINDER_USERFAULTFD,
		REMAINDER_RESTARTED, REMAINDER_WORKER_DIED, REMAINDER_KERNEL_STUCK,
	};

	if (record->state == STEP_STATE_DONE)
		return false;
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++)
		if (remainder_list_has(&record->remainder, cuts[i]))
			return true;
	/* What ended it as a whole it tells without bytes. */
	for (size_t i = 0; i < record->remainder.count; i++)
		if (!record->remainder.items[i].bytes)
			return true;
	return record->remainder.count == 0;
}

void move_remainder_left(struct mover *mover, enum remainder_code code, const char *why)
{
	const struct step_record *last = plan_last(mover->input, STEP_KIND_MOVE_PAGES);
	struct remainder_list *list = &mover->decision->remainder;
	uint64_t rest = mover->goal.left_bytes;

	mover->decision->kind = DECISION_KIND_GIVE_UP;
	/* What was tried has its own reason; time is that of the rest. */
	for (size_t i = 0; last && (code == REMAINDER_NONE || code == REMAINDER_DEADLINE) && i < last->remainder.count; i++)
		if (!remainder_code_is_unseen(last->remainder.items[i].code))
			plan_take_entry(list, &last->remainder.items[i], &rest);
	if (rest || list->count == 0) {
		if (code != REMAINDER_NONE)
			tell_by_node(mover, code, why, rest);
		else
			tell_rest(mover, last, rest);
	}
	/* What lay beside the page tables is there still, whatever ended the move. */
	if (plan_guest_runs(mover->guest))
		move_remainder_unseen(mover);
}

static bool tells_unseen(const struct step_record *record)
{
	for (size_t i = 0; i < record->remainder.count; i++)
		if (remainder_code_is_unseen(record->remainder.items[i].code) && record->remainder.items[i].bytes)
			return true;
	return false;
}

void move_remainder_unseen(struct mover *mover)
{
	const struct step_record *last = plan_last(mover->input, STEP_KIND_MOVE_PAGES);
	const struct snapshot_guest *guest = mover->guest;
	struct remainder_list *list = &mover->decision->remainder;
	/* What only the memfd has may be in memory or in swap: the survey does not tell these apart. */
	uint64_t file_only = guest->unmapped_bytes, swapped = guest->swapped_bytes;

	if (guest->private_bytes)
		remainder_list_add(list, REMAINDER_PRIVATE_MEMORY, mover->object,
				   guest->private_bytes, NULL,
				   "its private memory (guest_memfd) cannot be moved");
	/* No pass has come to its files, and none has said what is left of them. */
	if (file_only && (!last || (move_remainder_is_cut(last) && !tells_unseen(last)))) {
		remainder_list_add(list, REMAINDER_NOT_MAPPED, mover->object, file_only, "ask again",
				   "in the guest's memory file, in no page table: no pass over it came to its end");
		file_only = 0;
	}
	for (size_t i = 0; last && i < last->remainder.count; i++) {
		struct remainder entry = last->remainder.items[i];
		uint64_t own = entry.code == REMAINDER_SWAPPED ? plan_min(entry.bytes, swapped) : 0;
		uint64_t shared = plan_min(entry.bytes - own, file_only);

		if (!remainder_code_is_unseen(entry.code))
			continue;
		swapped -= own;
		file_only -= shared;
		entry.bytes = own + shared;
		if (entry.bytes)
			remainder_list_add_copy(list, &entry);
	}
	if (list->count)
		mover->decision->kind = DECISION_KIND_GIVE_UP;
}

/* Part of a policy is what there is where only some of the memory has one that can be set from outside. */
static bool is_unmet(const struct step_record *record)
{
	return record->state == STEP_STATE_FAILED ||
	       (record->state == STEP_STATE_PARTIAL && record->step.kind != STEP_KIND_MEMORY_POLICY &&
		!plan_was_cut(record));
}

void move_remainder_unmet(struct mover *mover)
{
	static const struct {
		enum step_kind kind;
		enum remainder_code code;
	} wished[] = {
		{STEP_KIND_MEMORY_POLICY, REMAINDER_POLICY_NOT_SETTABLE},
		{STEP_KIND_CPUS, REMAINDER_LIBVIRT_REFUSED},
		{STEP_KIND_PERSIST, REMAINDER_STORED_XML},
	};

	size_t before = mover->decision->remainder.count;

	if (!plan_guest_runs(mover->guest))
		return;
	tell_not_stored(mover, &mover->decision->remainder);
	if (mover->decision->remainder.count > before)
		mover->decision->kind = DECISION_KIND_GIVE_UP;
	for (size_t i = 0; i < sizeof(wished) / sizeof(wished[0]); i++) {
		const struct step_record *last = plan_last(mover->input, wished[i].kind);
		char text[160];

		if (!last || !is_unmet(last))
			continue;
		mover->decision->kind = DECISION_KIND_GIVE_UP;
		/* The bytes of a remainder are those that stayed: of these none is known to have. */
		for (size_t n = 0; n < last->remainder.count; n++) {
			struct remainder entry = last->remainder.items[n];

			entry.bytes = 0;
			remainder_list_add_copy(&mover->decision->remainder, &entry);
		}
		if (last->remainder.count == 0)
			remainder_list_add(&mover->decision->remainder, wished[i].code, mover->object, 0, NULL,
					   "step %u, %s, failed", last->n, step_describe(&last->step, text));
	}
}
