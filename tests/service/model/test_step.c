/* SPDX-License-Identifier: Apache-2.0 */
#include "step.h"

#include <string.h>
#include "operation_record.h"
#include "unit.h"

static void check_text(const struct step *step, const char *expected)
{
	char text[160];

	CHECK_STR(step_describe(step, text), expected);
}

static void steps_are_described(void)
{
	struct step step;
	struct wish child;

	step_init(&step, STEP_KIND_OFFLINE_BLOCKS);
	step.block_run_count = 2;
	step.block_runs[0].first = 64;
	step.block_runs[0].last = 71;
	step.block_runs[1].first = step.block_runs[1].last = 80;
	check_text(&step, "blocks 64-71,80");
	step.block_run_count = 1;
	step.block_runs[0].last = 64;
	check_text(&step, "block 64");

	step_init(&step, STEP_KIND_MOVE_PAGES);
	strcpy(step.guest_name, "db1");
	step.bytes = UINT64_C(512) << 20;
	step.by_map = true;
	step.map[3] = 1;
	check_text(&step, "db1  512 MiB  3 -> 1");
	step.map[0] = 1;
	step.map[2] = 4;
	check_text(&step, "db1  512 MiB  0,3 -> 1, 2 -> 4");

	step_init(&step, STEP_KIND_CORDON);
	step.node = 3;
	check_text(&step, "node 3");

	wish_init(&child, OPERATION_KIND_MOVE);
	child.move.form = MOVE_FORM_MAP;
	child.move.map[3] = 1;
	step_init(&step, STEP_KIND_CHILD);
	step.child = &child;
	step.bytes = UINT64_C(512) << 20;
	strcpy(step.guest_name, "db1");
	strcpy(step.text, "dist 12");
	CHECK_STR(step_word(&step), "move");
	check_text(&step, "db1  512 MiB  3 -> 1  dist 12");

	step_init(&step, STEP_KIND_UNDO);
	strcpy(step.guest_name, "db1");
	step.undo_n = 2;
	step.bytes = UINT64_C(512) << 20;
	strcpy(step.text, STEP_TEXT_HOME);
	check_text(&step, "db1  step 2  512 MiB  (home)");
	strcpy(step.undo_operation, "op-1");
	strcpy(step.text, "move");
	check_text(&step, "db1  step 2 of op-1  (move)");

	/* Longer than the text may be: cut, never overrun. */
	step_init(&step, STEP_KIND_OFFLINE_BLOCKS);
	step.block_run_count = STEP_BLOCK_RUNS_MAX;
	for (size_t i = 0; i < STEP_BLOCK_RUNS_MAX; i++) {
		step.block_runs[i].first = 1000000 + i * 10;
		step.block_runs[i].last = 1000005 + i * 10;
	}
	char text[160];

	CHECK_INT(strlen(step_describe(&step, text)), 159);
}

static void every_kind_has_a_name_and_a_text(void)
{
	for (int i = 0; i < STEP_KIND_COUNT; i++) {
		struct step step;
		char text[160];

		CHECK_INT(step_kind_from_name(step_kind_name((enum step_kind)i)), i);
		step_init(&step, (enum step_kind)i);
		CHECK_TRUE(step_describe(&step, text) == text);
	}
	for (int i = 0; i < STEP_STATE_COUNT; i++)
		CHECK_INT(step_state_from_name(step_state_name((enum step_state)i)), i);
}

static void records_own_their_steps(void)
{
	CLEANUP(operation_record_freep) struct operation_record *record = operation_record_new();
	struct step step;
	struct wish child;

	wish_init(&child, OPERATION_KIND_MOVE);
	strcpy(child.guest, "u");
	step_init(&step, STEP_KIND_CHILD);
	step.child = &child;
	for (unsigned i = 1; i <= 20; i++) {
		struct step_record *added = operation_record_add_step(record, &step);

		CHECK_INT(added->n, i);
		CHECK_INT(added->state, STEP_STATE_PENDING);
		CHECK_TRUE(added->step.child != &child);
		CHECK_STR(added->step.child->guest, "u");
	}
	record->steps[0].before = strdup("{}");
	CHECK_TRUE(operation_state_is_final(OPERATION_STATE_INCOMPLETE));
	CHECK_TRUE(!operation_state_is_final(OPERATION_STATE_CANCELLING));
}

static void targets_are_told(void)
{
	struct wish wish;
	char text[96];

	wish_init(&wish, OPERATION_KIND_DRAIN);
	CHECK_INT(wish.drain_wish.node, -1);
	strcpy(wish.drain_wish.dimm, "acpi-MP00");
	CHECK_STR(wish_target(&wish, text), "dimm acpi-MP00");
	wish.drain_wish.target = DRAIN_TARGET_NODE;
	wish.drain_wish.node = 3;
	CHECK_STR(wish_target(&wish, text), "node 3");
	wish.drain_wish.target = DRAIN_TARGET_RANGE;
	wish.drain_wish.range = (struct snapshot_range){0x10, 0x20};
	CHECK_STR(wish_target(&wish, text), "range 0x10-0x20");
	wish_init(&wish, OPERATION_KIND_MOVE);
	strcpy(wish.guest, "g1");
	CHECK_STR(wish_target(&wish, text), "guest g1");
	wish_init(&wish, OPERATION_KIND_CHECK);
	CHECK_STR(wish_target(&wish, text), "host");
}

static void blocks_are_kept_in_runs(void)
{
	struct step step, other;

	step_init(&step, STEP_KIND_OFFLINE_BLOCKS);
	CHECK_INT(step_block_count(&step), 0);
	CHECK_TRUE(!step_has_block(&step, 0));
	for (uint64_t id = 64; id < 72; id++)
		CHECK_TRUE(step_add_block(&step, id));
	CHECK_TRUE(step_add_block(&step, 80));
	check_text(&step, "blocks 64-71,80");
	CHECK_INT(step_block_count(&step), 9);
	CHECK_TRUE(step_has_block(&step, 64) && step_has_block(&step, 71) && step_has_block(&step, 80));
	CHECK_TRUE(!step_has_block(&step, 63) && !step_has_block(&step, 72) && !step_has_block(&step, 81));
	other = step;
	CHECK_TRUE(step_is_of_same_blocks(&step, &other));
	other.block_runs[1].last++;
	CHECK_TRUE(!step_is_of_same_blocks(&step, &other));
	other.block_run_count--;
	CHECK_TRUE(!step_is_of_same_blocks(&step, &other));

	step_init(&step, STEP_KIND_OFFLINE_BLOCKS);
	for (uint64_t i = 0; i < STEP_BLOCK_RUNS_MAX; i++)
		CHECK_TRUE(step_add_block(&step, i * 2));
	/* Only what goes on with the last run. */
	CHECK_TRUE(!step_add_block(&step, STEP_BLOCK_RUNS_MAX * 2));
	CHECK_TRUE(step_add_block(&step, STEP_BLOCK_RUNS_MAX * 2 - 1));
	CHECK_INT(step_block_count(&step), STEP_BLOCK_RUNS_MAX + 1);
}

static void placing_is_told(void)
{
	struct step step;
	unsigned count = 0;

	for (int kind = 0; kind < STEP_KIND_COUNT; kind++) {
		step_init(&step, (enum step_kind)kind);
		count += step_places_guest(&step);
	}
	CHECK_INT(count, 7);
	step_init(&step, STEP_KIND_MOVE_PAGES);
	CHECK_TRUE(step_places_guest(&step));
	/* What is stored is of its next start, and its size has no place. */
	step_init(&step, STEP_KIND_PERSIST);
	CHECK_TRUE(!step_places_guest(&step));
	step_init(&step, STEP_KIND_REQUEST);
	CHECK_TRUE(!step_places_guest(&step));
}

static const struct unit_case cases[] = {
	{"what places a guest", placing_is_told},
	{"steps are described", steps_are_described},
	{"blocks are kept in runs", blocks_are_kept_in_runs},
	{"every kind has a name and a text", every_kind_has_a_name_and_a_text},
	{"records own their steps", records_own_their_steps},
	{"targets are told", targets_are_told},
};

int main(void)
{
	return unit_main("step", cases, sizeof(cases) / sizeof(cases[0]));
}
