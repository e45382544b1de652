/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "plan_world.h"
#include "unit.h"

/* Memory with uncorrected errors: who has it copied must have agreed that the host may stop. */

static struct snapshot_dimm *dimm_of(struct world *world)
{
	return snapshot_dimm(world->snapshot, "acpi-MP00");
}

static struct snapshot_guest *dimm_guest(struct world *world, const char *name, uint64_t bytes)
{
	struct snapshot_guest *guest = world_add_guest(world, name, 3, bytes);

	guest->dimms_told = true;
	guest->dimm_count = 1;
	strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
	guest->dimm_bytes[0].bytes = bytes;
	return guest;
}

static void begin(struct world *world, int64_t errors)
{
	world_init(world);
	dimm_of(world)->uncorrected_errors = errors;
}

/* All blockers are this consent for this object; with it there is none. */
static void check_asked(struct world *world, const char *object, uint64_t bytes)
{
	struct remainder_list blockers;
	struct failure failure;

	CHECK_INT(plan_check(&world->input, &blockers, &failure), -EPERM);
	CHECK_STR(failure.code, "consent_required");
	CHECK_INT(blockers.count, 1);
	CHECK_INT(blockers.items[0].code, REMAINDER_UNCORRECTED_ERRORS);
	CHECK_INT(blockers.items[0].consent, CONSENT_MAY_CRASH_HOST);
	CHECK_STR(blockers.items[0].object, object);
	CHECK_INT(blockers.items[0].bytes, bytes);
	CHECK_TRUE(strstr(blockers.items[0].way_out, "may_crash_host") != NULL);
	CHECK_TRUE(strstr(blockers.items[0].detail, "uncorrected errors") != NULL);
	world->wish.allow = 1u << CONSENT_MAY_CRASH_HOST;
	world_check_code(world, "");
	world->wish.allow = 0;
}

static void what_goes_offline_is_asked_for(void)
{
	struct world world;

	begin(&world, 3);
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	check_asked(&world, "dimm acpi-MP00", GIB);
	/* What is offline already is not copied again. */
	for (size_t i = 0; i < world.snapshot->block_count; i++)
		if (world.snapshot->blocks[i].node == 3 && world.snapshot->blocks[i].id % 2)
			world.snapshot->blocks[i].state = BLOCK_STATE_OFFLINE;
	check_asked(&world, "dimm acpi-MP00", GIB / 2);
	world_wish_drain_dimm(&world, DRAIN_FINISH_EJECT);
	check_asked(&world, "dimm acpi-MP00", GIB / 2);
	/* A part of it may be the part with the errors. */
	world.wish.drain_wish.target = DRAIN_TARGET_RANGE;
	world.wish.drain_wish.finish = DRAIN_FINISH_OFFLINE;
	world.wish.drain_wish.range = (struct snapshot_range){6 * GIB, 6 * GIB + 2 * WORLD_BLOCK};
	check_asked(&world, "dimm acpi-MP00", WORLD_BLOCK);
	world_done(&world);
}

static void what_copies_nothing_is_not_asked_for(void)
{
	struct world world;

	begin(&world, 3);
	world_wish_drain_dimm(&world, DRAIN_FINISH_CORDON);
	world_check_code(&world, "");
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	world_check_code(&world, "");
	/* Where guests are, they would be copied. */
	dimm_guest(&world, "db1", 300 * MIB);
	check_asked(&world, "dimm acpi-MP00", 300 * MIB);
	/* Unplugging memory from a guest reads nothing of it. */
	world_add_device(snapshot_guest(world.snapshot, "db1"), "virtiomem0", 512 * MIB, 256 * MIB);
	world_wish_resize(&world, "db1", 512 * MIB);
	world_check_code(&world, "");
	/* Nor is memory of another node asked for. */
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	world.wish.drain_wish.target = DRAIN_TARGET_NODE;
	world.wish.drain_wish.node = 1;
	world_check_code(&world, "");
	world_done(&world);
}

static void a_safe_copy_needs_no_consent(void)
{
	struct world world;

	begin(&world, 3);
	dimm_guest(&world, "db1", 300 * MIB);
	world.snapshot->safe_copy = true;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_check_code(&world, "");
	world_wish_move(&world, "db1", 1 << 1);
	world_check_code(&world, "");
	world_done(&world);
}

/* Corrected errors harm nobody. Of a set the sum may be untold although a slot of it has counted. */
static void only_uncorrected_errors_count(void)
{
	struct world world;

	begin(&world, 0);
	dimm_of(&world)->corrected_errors = 1000;
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_check_code(&world, "");
	dimm_of(&world)->uncorrected_errors = -1;
	world_check_code(&world, "");
	dimm_of(&world)->slot_count = 2;
	dimm_of(&world)->slots[0].uncorrected_errors = -1;
	dimm_of(&world)->slots[1].uncorrected_errors = 1;
	check_asked(&world, "dimm acpi-MP00", GIB);
	world_done(&world);
}

static void a_move_out_of_it_is_asked_for(void)
{
	struct snapshot_guest *guest;
	struct world world;

	begin(&world, 1);
	guest = dimm_guest(&world, "db1", 300 * MIB);
	world_wish_move(&world, "db1", 1 << 1);
	check_asked(&world, "guest db1", 300 * MIB);
	world_wish_map(&world, "db1", 3, 1);
	check_asked(&world, "guest db1", 300 * MIB);
	/* Where the survey did not tell its DIMMs apart, it may be there. */
	guest->dimms_told = false;
	check_asked(&world, "guest db1", 300 * MIB);
	/* And where it did, and it is in another one of the node, it is not. */
	guest->dimms_told = true;
	strcpy(guest->dimm_bytes[0].id, "acpi-MP01");
	world_check_code(&world, "");
	/* What stays there is not copied. */
	strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
	guest->node_bytes[0] = 100 * MIB;
	world_wish_map(&world, "db1", 0, 1);
	world_check_code(&world, "");
	world_done(&world);
}

/* To write to bad memory stops no host, and nodes are all that can be chosen: it is said, and not refused. */
static void a_move_into_it_is_warned_of(void)
{
	struct plan *plan;
	struct world world;

	begin(&world, 2);
	world_add_guest(&world, "db1", 1, 200 * MIB);
	for (int to = 2; to <= 3; to++) {
		world_wish_move(&world, "db1", UINT64_C(1) << to);
		plan = plan_dry_run(&world.input);
		CHECK_INT(plan->blockers.count, 0);
		CHECK_INT(plan->consents_needed, 0);
		CHECK_INT(remainder_list_has(&plan->warnings, REMAINDER_UNCORRECTED_ERRORS), to == 3);
		plan_free(plan);
	}
	world_done(&world);
}

/* Guests that leave a node with all they have there have what lies in a DIMM beside the target copied, and no others. */
static void a_dimm_beside_the_target_counts_for_guests(void)
{
	struct snapshot_dimm *beside;
	struct snapshot_guest *guest;
	struct world world;

	begin(&world, 0);
	dimm_of(&world)->ranges[0].end = 6 * GIB + 4 * WORLD_BLOCK;
	beside = snapshot_add_dimm(world.snapshot);
	strcpy(beside->id, "acpi-MP01");
	beside->node = 3;
	beside->range_count = 1;
	beside->ranges[0] = (struct snapshot_range){6 * GIB + 4 * WORLD_BLOCK, 7 * GIB};
	beside->uncorrected_errors = 1;
	guest = dimm_guest(&world, "db1", 300 * MIB);
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	world_check_code(&world, "");
	guest->dimm_bytes[0].bytes = 200 * MIB;
	strcpy(guest->dimm_bytes[1].id, "acpi-MP01");
	guest->dimm_bytes[1].bytes = 100 * MIB;
	guest->dimm_count = 2;
	/* Only what lies in the target leaves. */
	world_check_code(&world, "");
	CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CORDON);
	world_perform(&world);
	CHECK_INT(world_next(&world)->step.bytes, 200 * MIB);
	world_wish_drain_dimm(&world, DRAIN_FINISH_EMPTY);
	world_check_code(&world, "");
	/* The node is no home for it. */
	guest->allowed_nodes = 1 << 1;
	check_asked(&world, "dimm acpi-MP01", 100 * MIB);
	guest->allowed_nodes = 0;
	/* The kernel's own errors are in the target. */
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	beside->uncorrected_errors = 0;
	dimm_of(&world)->uncorrected_errors = 1;
	check_asked(&world, "dimm acpi-MP00", 4 * WORLD_BLOCK);
	world_done(&world);
}

/* Errors that come while it is drained stop it, and every byte has that reason. */
static void errors_that_come_meanwhile_stop_a_drain(void)
{
	for (int has_guest = 0; has_guest < 2; has_guest++) {
		const struct remainder_list *list;
		struct world world;
		char text[512];

		begin(&world, 0);
		if (has_guest)
			dimm_guest(&world, "db1", 300 * MIB);
		world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
		CHECK_INT(world_next(&world)->step.kind, STEP_KIND_CORDON);
		world_perform(&world);
		dimm_of(&world)->uncorrected_errors = 1;
		CHECK_STR(world_run(&world, text), "give_up");
		list = &world.decision.remainder;
		CHECK_INT(remainder_list_bytes(list), GIB);
		for (size_t i = 0; i < list->count; i++) {
			CHECK_INT(list->items[i].code, REMAINDER_UNCORRECTED_ERRORS);
			CHECK_INT(list->items[i].consent, CONSENT_MAY_CRASH_HOST);
		}
		world.wish.allow = 1u << CONSENT_MAY_CRASH_HOST;
		CHECK_STR(world_run(&world, text), has_guest ? "move offline done" : "offline done");
		world_done(&world);
	}
}

/* A dry run says which consent it takes, and what happens with it. */
static void a_plan_names_the_consent(void)
{
	struct plan *plan;
	struct world world;

	begin(&world, 1);
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->consents_needed, 1u << CONSENT_MAY_CRASH_HOST);
	CHECK_INT(plan->step_count, 2);
	plan_free(plan);
	world_done(&world);
}

/* Errors of no known slot may be those of whatever is not counted one by one. */
static void errors_without_a_place_are_warned_of(void)
{
	struct snapshot_controller *controller;
	struct plan *plan;
	struct world world;

	begin(&world, -1);
	controller = snapshot_add_controller(world.snapshot);
	controller->uncorrected_errors = controller->unplaced_uncorrected = 2;
	for (int told = 0; told < 2; told++) {
		dimm_of(&world)->uncorrected_errors = told ? 0 : -1;
		world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
		plan = plan_dry_run(&world.input);
		CHECK_INT(plan->blockers.count, 0);
		CHECK_INT(remainder_list_has(&plan->warnings, REMAINDER_UNCORRECTED_ERRORS), !told);
		plan_free(plan);
	}
	world_done(&world);
}

static struct snapshot_hint *add_hint(struct world *world, const char *dimm, int node, uint64_t start)
{
	struct snapshot_hint *hint = snapshot_add_hint(world->snapshot);

	snprintf(hint->dimm, sizeof(hint->dimm), "%s", dimm);
	hint->node = node;
	hint->risk = hint->worst = HINT_RISK_UNCORRECTED;
	if (start)
		hint->range = (struct snapshot_range){start, start + WORLD_BLOCK};
	hint->count = 1;
	return hint;
}

/* A hint counts as errors do: for the block that it names, or for the DIMM. The worst that was said stands. */
static void what_a_hint_says_is_asked_for(void)
{
	struct snapshot_hint *hint;
	struct world world;

	begin(&world, 0);
	hint = add_hint(&world, "acpi-MP00", 3, 0);
	world_wish_drain_dimm(&world, DRAIN_FINISH_OFFLINE);
	check_asked(&world, "dimm acpi-MP00", GIB);
	hint->risk = HINT_RISK_LOW;
	check_asked(&world, "dimm acpi-MP00", GIB);
	hint->worst = HINT_RISK_HIGH;
	world_check_code(&world, "");
	hint->worst = HINT_RISK_UNCORRECTED;
	hint->range = (struct snapshot_range){6 * GIB, 6 * GIB + WORLD_BLOCK};
	check_asked(&world, "block 48", WORLD_BLOCK);
	/* Other blocks of the DIMM are not meant. */
	world.wish.drain_wish.target = DRAIN_TARGET_RANGE;
	world.wish.drain_wish.range = (struct snapshot_range){6 * GIB + WORLD_BLOCK, 7 * GIB};
	world_check_code(&world, "");
	/* But a guest leaves the node with all that it has in the DIMM, and its page may be in that block. */
	dimm_guest(&world, "db1", 300 * MIB);
	check_asked(&world, "block 48", WORLD_BLOCK);
	world_wish_move(&world, "db1", 1 << 1);
	check_asked(&world, "guest db1", WORLD_BLOCK);
	/* What EDAC has counted as well is told once. */
	dimm_of(&world)->uncorrected_errors = 1;
	check_asked(&world, "guest db1", 300 * MIB);
	world_done(&world);
}

/* Of memory in no DIMM a guest may have anything that it has on the node. */
static void a_hint_of_no_dimm_counts_for_its_node(void)
{
	struct plan *plan;
	struct world world;

	begin(&world, 0);
	world_add_guest(&world, "db1", 1, 50 * MIB);
	add_hint(&world, "", 1, 2 * GIB);
	world_wish_move(&world, "db1", 1 << 2);
	check_asked(&world, "guest db1", 50 * MIB);
	world_wish_map(&world, "db1", 0, 2);
	world_check_code(&world, "");
	world_add_guest(&world, "db2", 0, 50 * MIB);
	world_wish_move(&world, "db2", 1 << 1);
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->blockers.count, 0);
	CHECK_TRUE(remainder_list_has(&plan->warnings, REMAINDER_UNCORRECTED_ERRORS));
	plan_free(plan);
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"what goes offline is asked for", what_goes_offline_is_asked_for},
	{"what copies nothing is not asked for", what_copies_nothing_is_not_asked_for},
	{"a safe copy needs no consent", a_safe_copy_needs_no_consent},
	{"only uncorrected errors count", only_uncorrected_errors_count},
	{"a move out of it is asked for", a_move_out_of_it_is_asked_for},
	{"a move into it is warned of", a_move_into_it_is_warned_of},
	{"a DIMM beside the target counts for guests", a_dimm_beside_the_target_counts_for_guests},
	{"errors that come meanwhile stop a drain", errors_that_come_meanwhile_stop_a_drain},
	{"a plan names the consent", a_plan_names_the_consent},
	{"errors without a place are warned of", errors_without_a_place_are_warned_of},
	{"what a hint says is asked for", what_a_hint_says_is_asked_for},
	{"a hint of no DIMM counts for its node", a_hint_of_no_dimm_counts_for_its_node},
};

int main(void)
{
	return unit_main("crash_risk", cases, sizeof(cases) / sizeof(cases[0]));
}
