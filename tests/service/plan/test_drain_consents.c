/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "plan_world.h"
#include "unit.h"

/* Guests that come into a drain's target when it has begun: what nobody has agreed to is not done to them. */

static struct snapshot_guest *dimm_guest(struct world *world, const char *name, uint64_t bytes)
{
	struct snapshot_guest *guest = world_add_guest(world, name, 3, bytes);

	guest->dimms_told = true;
	guest->dimm_count = 1;
	strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
	guest->dimm_bytes[0].bytes = bytes;
	return guest;
}

/* One guest, and the cordon stands. */
static void begin(struct world *world, enum drain_finish finish)
{
	world_init(world);
	dimm_guest(world, "db1", 300 * MIB);
	world_wish_drain_dimm(world, finish);
	world_check_code(world, "");
	CHECK_INT(world_next(world)->step.kind, STEP_KIND_CORDON);
	world_perform(world);
}

static void expect_rest(struct world *world, const char *expected)
{
	char text[512];

	CHECK_STR(world_run(world, text), expected);
}

static const struct remainder *told_of(const struct world *world, const char *object)
{
	const struct remainder_list *list = &world->decision.remainder;

	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].object, object) == 0)
			return &list->items[i];
	return NULL;
}

static void a_late_guest_is_not_moved_without_its_consent(void)
{
	for (int is_allowed = 0; is_allowed < 2; is_allowed++) {
		const struct remainder *told;
		struct snapshot_guest *late;
		struct world world;

		begin(&world, DRAIN_FINISH_OFFLINE);
		late = dimm_guest(&world, "late", 400 * MIB);
		late->locked = true;
		if (is_allowed) {
			world.wish.allow = 1 << CONSENT_LOCKED_GUESTS;
			expect_rest(&world, "move move offline done");
			CHECK_STR(world.history[1].step.guest_name, "late");
			world_done(&world);
			continue;
		}
		/* The others go; no block does, because the kernel would take the guest's pages along. */
		expect_rest(&world, "move give_up");
		CHECK_STR(world.history[1].step.guest_name, "db1");
		told = told_of(&world, "guest late");
		CHECK_TRUE(told && told->code == REMAINDER_CONSENT_REQUIRED && told->consent == CONSENT_LOCKED_GUESTS);
		CHECK_INT(told->bytes, 400 * MIB);
		CHECK_TRUE(told->way_out[0] != '\0');
		CHECK_INT(remainder_list_bytes(&world.decision.remainder), GIB);
		CHECK_INT(late->node_bytes[3], 400 * MIB);
		world_done(&world);
	}
}

static void each_consent_counts(void)
{
	for (int consent = 0; consent < 3; consent++) {
		static const enum consent asked[] = {CONSENT_GIGANTIC_PAGES, CONSENT_REMOTE_MEMORY, CONSENT_STORED_XML};
		struct snapshot_guest *late;
		struct world world;

		begin(&world, DRAIN_FINISH_OFFLINE);
		late = dimm_guest(&world, "late", 100 * MIB);
		if (consent == 0) {
			late->backings[0].kind = BACKING_KIND_HUGETLB;
			late->backings[0].page_bytes = GIB;
			late->node_bytes[3] = late->backings[0].bytes = GIB;
			snapshot_node(world.snapshot, 1)->free_bytes = 4 * GIB;
		} else if (consent == 1) {
			late->cpus_pinned = true;
			late->cpu_nodes = 1 << 3;
		} else {
			late->numatune_mode = NUMATUNE_MODE_STRICT;
			late->stored_numatune_nodes = 1 << 3;
		}
		expect_rest(&world, "move give_up");
		CHECK_STR(world.history[1].step.guest_name, "db1");
		CHECK_TRUE(told_of(&world, "guest late") && told_of(&world, "guest late")->consent == (int)asked[consent]);
		CHECK_TRUE(late->node_bytes[3] > 0);
		world_done(&world);
	}
}

static void a_late_guest_that_cannot_move_is_told(void)
{
	struct snapshot_guest *late;
	struct world world;

	begin(&world, DRAIN_FINISH_EMPTY);
	late = dimm_guest(&world, "late", 100 * MIB);
	late->encrypted = true;
	expect_rest(&world, "move give_up");
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_ENCRYPTED);
	CHECK_INT(world.decision.remainder.items[0].bytes, 100 * MIB);
	world_done(&world);
}

/* Nor does the kernel take along what fits on no single node. */
static void what_fits_nowhere_needs_its_consent_too(void)
{
	struct snapshot_guest *late;
	struct world world;

	begin(&world, DRAIN_FINISH_OFFLINE);
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	world_perform(&world);
	late = dimm_guest(&world, "late", 100 * MIB);
	late->locked = true;
	late->allowed_nodes = 1 << 3;
	expect_rest(&world, "give_up");
	CHECK_TRUE(told_of(&world, "guest late") && told_of(&world, "guest late")->consent == CONSENT_LOCKED_GUESTS);
	/* And where it needs none, it is not forced to where it may not be. */
	late->locked = false;
	expect_rest(&world, "give_up");
	CHECK_TRUE(told_of(&world, "guest late") && told_of(&world, "guest late")->code == REMAINDER_NO_ROOM);
	world_done(&world);
}

/* What stays of a guest that was moved may all be pinned: that its step has told, and the blocks beside it go. */
static void what_was_tried_is_not_judged_anew(void)
{
	struct step_record *record;
	struct snapshot_guest *guest;
	struct world world;

	begin(&world, DRAIN_FINISH_OFFLINE);
	guest = snapshot_guest(world.snapshot, "db1");
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CHILD);
	record = world_record(&world, STEP_STATE_PARTIAL, 0);
	remainder_list_add(&record->remainder, REMAINDER_USERFAULTFD, "guest db1", 300 * MIB, NULL, "so it is");
	guest->userfaultfd = true;
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_OFFLINE_BLOCKS);
	guest->realtime = true;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	world_done(&world);
}

static const struct remainder *warned_of(const struct plan *plan, const char *object)
{
	for (size_t i = 0; i < plan->warnings.count; i++)
		if (plan->warnings.items[i].code == REMAINDER_REMOTE_MEMORY &&
		    strcmp(plan->warnings.items[i].object, object) == 0)
			return &plan->warnings.items[i];
	return NULL;
}

/* Of huge pages of 1 GiB in use as many have to be free elsewhere, whoever has them. */
static void gigantic_pages_in_use_are_told_beforehand(void)
{
	for (uint64_t elsewhere = 0; elsewhere < 2; elsewhere++) {
		struct world world;
		struct plan *plan;

		world_init(&world);
		for (size_t i = 0; i < world.snapshot->node_count; i++) {
			struct snapshot_node *node = &world.snapshot->nodes[i];
			struct snapshot_pool *pool = &node->pools[node->pool_count];

			if (node->id != 0 && node->id != 3)
				continue;
			node->pool_count++;
			*pool = (struct snapshot_pool){.page_bytes = GIB, .total = 1, .free = node->id ? 0 : elsewhere};
		}
		world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
		plan = plan_dry_run(&world.input);
		CHECK_INT(remainder_list_has(&plan->warnings, REMAINDER_GIGANTIC_PAGES), elsewhere == 0);
		plan_free(plan);
		world_done(&world);
	}
}

/*
 * Of what a process has pinned no more can lie in the target than its group has on the target's node, than the target has, or
 * than it has pinned; where nobody tells its nodes it may be any. Guests' own processes are told by their moves.
 */
static void who_has_pinned_memory_there_is_told_beforehand(void)
{
	static const struct {
		const char *name;
		uint64_t pinned, on_1, on_3, bytes;
		bool has_nodes, is_guest;
		enum drain_finish finish;
	} table[] = {
		{"some", 8 * MIB, GIB, 300 * MIB, 8 * MIB, true, false, DRAIN_FINISH_OFFLINE},
		{"few", 8 * MIB, GIB, 3 * MIB, 3 * MIB, true, false, DRAIN_FINISH_EJECT},
		{"huge", 3 * GIB, 0, 0, GIB, false, false, DRAIN_FINISH_OFFLINE},
		{"elsewhere", 8 * MIB, GIB, 0, 0, true, false, DRAIN_FINISH_OFFLINE},
		{"qemu", 8 * MIB, 0, GIB, 0, true, true, DRAIN_FINISH_OFFLINE},
		{"stays", 8 * MIB, 0, GIB, 0, true, false, DRAIN_FINISH_EMPTY},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct remainder *told = NULL;
		struct snapshot_pinner *pinner;
		char object[64];
		struct world world;
		struct plan *plan;

		world_init(&world);
		world_add_guest(&world, "db1", 1, 8 * MIB)->pid = 4711;
		pinner = &world.snapshot->pinners.items[world.snapshot->pinners.count++];
		pinner->pid = table[i].is_guest ? 4711 : 815;
		snprintf(pinner->name, sizeof(pinner->name), "%s", table[i].name);
		pinner->pinned_bytes = table[i].pinned;
		pinner->node_bytes[1] = table[i].on_1;
		pinner->node_bytes[3] = table[i].on_3;
		pinner->has_nodes = table[i].has_nodes;
		snprintf(object, sizeof(object), "process 815 (%s)", table[i].name);
		world_wish_drain_dimm(&world, table[i].finish);
		plan = plan_dry_run(&world.input);
		for (size_t n = 0; n < plan->warnings.count; n++)
			if (plan->warnings.items[n].code == REMAINDER_PINNED)
				told = &plan->warnings.items[n];
		CHECK_TRUE(!told == !table[i].bytes);
		if (told) {
			CHECK_STR(told->object, object);
			CHECK_INT(told->bytes, table[i].bytes);
			CHECK_TRUE(strstr(told->detail, "on node 3") != NULL);
			CHECK_INT(strstr(told->detail, "any other") == NULL, table[i].has_nodes);
			CHECK_TRUE(strstr(told->way_out, "drain.d") != NULL);
		}
		CHECK_INT(plan->blockers.count, 0);
		plan_free(plan);
		world_done(&world);
	}
}

/* Those that are not named are counted, and that they could not be looked for is told, too. */
static void others_that_have_pinned_memory_are_counted(void)
{
	struct world world;
	struct plan *plan;
	unsigned seen = 0;

	world_init(&world);
	world.snapshot->pinners.unlisted = 12;
	world.snapshot->pinners.unlisted_bytes = 48 * MIB;
	strcpy(world.snapshot->pinners.untold, "Too many levels of symbolic links");
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	plan = plan_dry_run(&world.input);
	for (size_t i = 0; i < plan->warnings.count; i++) {
		const struct remainder *item = &plan->warnings.items[i];

		if (item->code == REMAINDER_PINNED) {
			CHECK_STR(item->detail, "12 more have 48 MiB pinned, which may lie in the target");
			seen |= 1;
		} else if (item->code == REMAINDER_NOT_SURVEYED) {
			CHECK_STR(item->detail,
				  "which of them have memory pinned is not known: Too many levels of symbolic links");
			seen |= 2;
		}
	}
	CHECK_INT(seen, 3);
	plan_free(plan);
	world_done(&world);
}

/* Guests that may run anywhere are told in one line, however many are pinned there besides. */
static void who_may_run_on_an_emptied_node_is_told(void)
{
	static const struct {
		unsigned unpinned, elsewhere, stopped, pinned;
		enum drain_finish finish;
		const char *detail;
	} table[] = {
		{3, 2, 1, 0, DRAIN_FINISH_OFFLINE, "3 guests without CPU pins may run on CPUs of node 3, which will have no memory"},
		{1, 0, 0, 40, DRAIN_FINISH_EJECT, "1 guest without CPU pins may run on CPUs of node 3, which will have no memory"},
		{0, 2, 2, 0, DRAIN_FINISH_OFFLINE, NULL},
		{3, 0, 0, 0, DRAIN_FINISH_EMPTY, NULL},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		unsigned count = table[i].unpinned + table[i].elsewhere + table[i].stopped + table[i].pinned;
		const struct remainder *told;
		struct world world;
		struct plan *plan;

		world_init(&world);
		for (unsigned n = 0; n < count; n++) {
			struct snapshot_guest *guest;
			char name[16];

			snprintf(name, sizeof(name), "g%u", n);
			guest = world_add_guest(&world, name, 1, MIB);
			guest->cpu_nodes = n < table[i].elsewhere ? 1 << 1 : 0xf;
			guest->cpus_pinned = n >= count - table[i].pinned;
			guest->state = n >= table[i].elsewhere && n < table[i].elsewhere + table[i].stopped
					       ? GUEST_STATE_SHUT_OFF
					       : GUEST_STATE_RUNNING;
		}
		world_wish_drain_dimm(&world, table[i].finish);
		plan = plan_dry_run(&world.input);
		told = warned_of(plan, "guests");
		CHECK_TRUE(!told == !table[i].detail);
		if (told)
			CHECK_STR(told->detail, table[i].detail);
		plan_free(plan);
		world_done(&world);
	}
}

/* The CPUs of a node stay when all of its memory goes: whoever is pinned there is told, wherever its memory lies. */
static void what_is_pinned_to_an_emptied_node_is_told(void)
{
	static const struct {
		bool vcpus, emulator, runs, is_part;
		enum drain_finish finish;
		const char *detail;
	} table[] = {
		{true, false, true, false, DRAIN_FINISH_OFFLINE, "its vCPUs are pinned to CPUs of node 3, which will have no memory"},
		{false, true, true, false, DRAIN_FINISH_EJECT, "its emulator threads are pinned to CPUs of node 3, which will have no memory"},
		{true, true, true, false, DRAIN_FINISH_OFFLINE, "its vCPUs and emulator threads are pinned to CPUs of node 3, which will have no memory"},
		{false, false, true, false, DRAIN_FINISH_OFFLINE, NULL},
		{true, true, false, false, DRAIN_FINISH_OFFLINE, NULL},
		/* It keeps its memory, or some of it. */
		{true, true, true, false, DRAIN_FINISH_EMPTY, NULL},
		{true, true, true, true, DRAIN_FINISH_OFFLINE, NULL},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct snapshot_guest *guest;
		const struct remainder *told;
		struct world world;
		struct plan *plan;

		world_init(&world);
		guest = world_add_guest(&world, "db1", 1, 300 * MIB);
		guest->cpu_nodes = 1 << 3;
		guest->cpus_pinned = table[i].vcpus;
		guest->emulator_nodes = table[i].emulator ? 1 << 3 | 1 << 2 : 1 << 2;
		guest->state = table[i].runs ? GUEST_STATE_RUNNING : GUEST_STATE_SHUT_OFF;
		if (table[i].is_part)
			*snapshot_add_block(world.snapshot) = (struct snapshot_block){.id = 56,
										      .start = 7 * GIB,
										      .size_bytes = WORLD_BLOCK,
										      .node = 3,
										      .zone = BLOCK_ZONE_MOVABLE};
		world_wish_drain_dimm(&world, table[i].finish);
		plan = plan_dry_run(&world.input);
		told = warned_of(plan, "guest db1");
		CHECK_TRUE(!told == !table[i].detail);
		if (told)
			CHECK_STR(told->detail, table[i].detail);
		plan_free(plan);
		world_done(&world);
	}
}

static const struct unit_case cases[] = {
	{"what is pinned to an emptied node is told", what_is_pinned_to_an_emptied_node_is_told},
	{"gigantic pages in use are told beforehand", gigantic_pages_in_use_are_told_beforehand},
	{"who has pinned memory there is told beforehand", who_has_pinned_memory_there_is_told_beforehand},
	{"others that have pinned memory are counted", others_that_have_pinned_memory_are_counted},
	{"who may run on an emptied node is told", who_may_run_on_an_emptied_node_is_told},
	{"a late guest is not moved without its consent", a_late_guest_is_not_moved_without_its_consent},
	{"each consent counts", each_consent_counts},
	{"a late guest that cannot move is told", a_late_guest_that_cannot_move_is_told},
	{"what fits nowhere needs its consent too", what_fits_nowhere_needs_its_consent_too},
	{"what was tried is not judged anew", what_was_tried_is_not_judged_anew},
};

int main(void)
{
	return unit_main("drain_consents", cases, sizeof(cases) / sizeof(cases[0]));
}
