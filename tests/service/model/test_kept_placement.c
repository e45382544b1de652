/* SPDX-License-Identifier: Apache-2.0 */
#include "kept_placement.h"

#include <stdlib.h>
#include <string.h>
#include "unit.h"

static struct snapshot_guest *new_guest(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));

	strcpy(guest->uuid, "u1");
	guest->pid = 4711;
	guest->start_time = 99;
	return guest;
}

static struct operation_record *new_move(enum operation_state state)
{
	struct operation_record *operation = operation_record_new();

	wish_init(&operation->wish, OPERATION_KIND_MOVE);
	strcpy(operation->wish.guest, "u1");
	operation->wish.move.form = MOVE_FORM_TO;
	operation->wish.move.to_nodes = 1 << 2;
	operation->state = state;
	return operation;
}

static struct step_record *add(struct operation_record *operation, enum step_kind kind, uint64_t nodes, unsigned pid)
{
	struct step step;
	struct step_record *record;
	char before[160];

	step_init(&step, kind);
	step.nodes = nodes;
	record = operation_record_add_step(operation, &step);
	record->state = STEP_STATE_DONE;
	snprintf(before, sizeof(before),
		 "{\"groups\":[{\"path\":\"/g\",\"inode\":7,\"mems\":\"3\"}],\"process\":{\"pid\":%u,\"start_time\":99}}", pid);
	record->before = strdup(before);
	return record;
}

static void test_last_word_counts(void)
{
	struct snapshot_guest *guest = new_guest();
	struct operation_record *newer = new_move(OPERATION_STATE_INCOMPLETE), *older = new_move(OPERATION_STATE_SUCCEEDED);
	struct kept_placement kept = {0};

	/* The older one widened and narrowed; the newer found the cpuset right. */
	older->wish.move.to_nodes = 1 << 1;
	add(older, STEP_KIND_CPUSET, 12, 4711);
	add(older, STEP_KIND_MOVE_PAGES, 2, 4711);
	add(older, STEP_KIND_CPUSET, 4, 4711);
	add(newer, STEP_KIND_MEMORY_POLICY, 4, 4711);
	add(newer, STEP_KIND_MOVE_PAGES, 4, 4711)->state = STEP_STATE_PARTIAL;
	/* Its CPUs went along with the older one only. */
	add(older, STEP_KIND_CPUS, 2, 4711);
	add(older, STEP_KIND_CPUS, 8, 4712);
	CHECK_INT(kept_placement_take(&kept, newer, guest), 0);
	CHECK_INT(kept.cpu_nodes, 0);
	CHECK_INT(kept_placement_take(&kept, older, guest), 0);
	CHECK_INT(kept.cpu_nodes, 2);
	CHECK_INT(kept.mems, 4);
	CHECK_INT(json_array_size(kept.groups), 1);
	CHECK_TRUE(kept.has_policy);
	CHECK_INT(kept.policy.nodes, 4);
	CHECK_INT(kept.wanted_nodes, 4);
	CHECK_INT(kept.left_nodes, ~UINT64_C(4));
	kept_placement_done(&kept);
	CHECK_INT(kept.mems, 0);
	operation_record_free(newer);
	operation_record_free(older);
	free(guest);
}

/* It was widened round libvirt for the move, and then libvirt itself was told. */
static void test_libvirts_own(void)
{
	struct snapshot_guest *guest = new_guest();
	struct operation_record *newer = new_move(OPERATION_STATE_SUCCEEDED), *older = new_move(OPERATION_STATE_SUCCEEDED);
	struct kept_placement kept = {0}, before = {0};
	struct step_record *told;

	add(older, STEP_KIND_CPUSET, 2, 4711);
	add(newer, STEP_KIND_CPUSET, 6, 4711);
	add(newer, STEP_KIND_MOVE_PAGES, 4, 4711);
	told = add(newer, STEP_KIND_NUMATUNE, 4, 4711);
	CHECK_INT(kept_placement_take(&before, older, guest), 0);
	CHECK_INT(before.mems, 2);
	CHECK_INT(kept_placement_take(&kept, newer, guest), 0);
	CHECK_INT(kept_placement_inherit(&kept, &before), 0);
	CHECK_TRUE(kept.mems == 0 && !kept.groups);
	CHECK_INT(kept.wanted_nodes, 4);
	kept_placement_done(&kept);
	/* It refused: then what was done round it stands. */
	told->state = STEP_STATE_FAILED;
	CHECK_INT(kept_placement_take(&kept, newer, guest), 0);
	CHECK_INT(kept.mems, 6);
	kept_placement_done(&kept);
	kept_placement_done(&before);
	operation_record_free(newer);
	operation_record_free(older);
	free(guest);
}

static void test_what_does_not_count(void)
{
	struct snapshot_guest *guest = new_guest();
	struct operation_record *running = new_move(OPERATION_STATE_RUNNING), *done = new_move(OPERATION_STATE_CANCELLED);
	struct kept_placement kept = {0};

	add(running, STEP_KIND_CPUSET, 4, 4711);
	CHECK_INT(kept_placement_take(&kept, running, guest), 0);
	/* Undone, failed, of the guest's process before this one, without a word whose it was. */
	add(done, STEP_KIND_CPUSET, 4, 4711)->state = STEP_STATE_UNDONE;
	add(done, STEP_KIND_CPUSET, 4, 4711)->state = STEP_STATE_FAILED;
	add(done, STEP_KIND_MEMORY_POLICY, 4, 4712);
	struct step_record *record = add(done, STEP_KIND_MOVE_PAGES, 4, 4711);

	free(record->before);
	record->before = strdup("{}");
	CHECK_INT(kept_placement_take(&kept, done, guest), 0);
	strcpy(guest->uuid, "u2");
	done->steps[0].state = STEP_STATE_DONE;
	CHECK_INT(kept_placement_take(&kept, done, guest), 0);
	CHECK_TRUE(kept.mems == 0 && !kept.has_policy && kept.wanted_nodes == 0 && !kept.groups);
	operation_record_free(running);
	operation_record_free(done);
	free(guest);
}

static void test_shapes(void)
{
	struct snapshot_guest *guest = new_guest();
	struct operation_record *move = new_move(OPERATION_STATE_SUCCEEDED);
	struct kept_placement kept = {0};

	add(move, STEP_KIND_MOVE_PAGES, 1 << 3, 4711);
	move->wish.move.form = MOVE_FORM_MAP;
	move->wish.move.map[0] = 1;
	move->wish.move.map[1] = 3;
	CHECK_INT(kept_placement_take(&kept, move, guest), 0);
	CHECK_INT(kept.wanted_nodes, 1 << 1 | 1 << 3);
	CHECK_INT(kept.left_nodes, 1 << 0);
	kept_placement_done(&kept);
	/* What lay in ranges is away for a while: it belongs where it was. */
	move->wish.move.range_count = 1;
	CHECK_INT(kept_placement_take(&kept, move, guest), 0);
	CHECK_INT(kept.wanted_nodes, 0);
	kept_placement_done(&kept);
	move->wish.move.range_count = 0;
	move->wish.move.form = MOVE_FORM_NEAR_CPUS;
	CHECK_INT(kept_placement_take(&kept, move, guest), 0);
	CHECK_INT(kept.wanted_nodes, 1 << 3);
	CHECK_INT(kept.left_nodes, ~(UINT64_C(1) << 3));
	kept_placement_done(&kept);
	/* The second cell stays where it is: it has not drifted. */
	move->wish.move.form = MOVE_FORM_CELLS;
	move->wish.move.cells[0] = 2;
	guest->cell_count = 2;
	guest->cells[1].id = 1;
	CHECK_INT(kept_placement_take(&kept, move, guest), 0);
	CHECK_INT(kept.wanted_nodes, 1 << 2);
	CHECK_INT(kept.left_nodes, 0);
	kept_placement_done(&kept);
	move->wish.move.cells[1] = 3;
	CHECK_INT(kept_placement_take(&kept, move, guest), 0);
	CHECK_INT(kept.left_nodes, ~UINT64_C(12));
	kept_placement_done(&kept);
	operation_record_free(move);
	free(guest);
}

static enum kept_placement_verdict judge(const char *known, const char *now, char detail[160])
{
	struct kept_placement kept = {.mems = 1 << 2 | 1 << 3, .groups = json_loads(known, 0, NULL)};
	json_t *groups = json_loads(now, 0, NULL);
	enum kept_placement_verdict verdict = kept_placement_judge(&kept, groups, detail);

	json_decref(groups);
	kept_placement_done(&kept);
	return verdict;
}

static void test_judge(void)
{
	static const char known[] = "[{\"path\":\"/g/vcpu0\",\"inode\":7,\"mems\":\"3\"}]";
	char detail[160];

	CHECK_INT(judge(known, "[{\"path\":\"/g\",\"inode\":6,\"mems\":\"\"},"
			       "{\"path\":\"/g/vcpu0\",\"inode\":7,\"mems\":\"2-3\"},"
			       "{\"path\":\"/g/vcpu1\",\"inode\":8,\"mems\":\"2,3\"}]", detail),
		  KEPT_PLACEMENT_RIGHT);
	CHECK_STR(detail, "");
	CHECK_INT(judge(known, "[{\"path\":\"/g/vcpu1\",\"inode\":8,\"mems\":\"3\"},"
			       "{\"path\":\"/g/iothread1\",\"inode\":9,\"mems\":\"0-1,3\"}]", detail),
		  KEPT_PLACEMENT_NEW_GROUPS);
	CHECK_STR(detail, "vcpu1: cpuset.mems 3, iothread1: cpuset.mems 0-1,3");
	/* One that was there says something else: nothing is touched, the new ones neither. */
	CHECK_INT(judge(known, "[{\"path\":\"/g/vcpu1\",\"inode\":8,\"mems\":\"3\"},"
			       "{\"path\":\"/g/vcpu0\",\"inode\":7,\"mems\":\"0\"}]", detail),
		  KEPT_PLACEMENT_OVERRULED);
	/* The name alone does not make it the same thread's. */
	CHECK_INT(judge(known, "[{\"path\":\"/g/vcpu0\",\"inode\":17,\"mems\":\"3\"}]", detail),
		  KEPT_PLACEMENT_NEW_GROUPS);
	/* No lists of nodes: nothing that could be compared. */
	CHECK_INT(judge(known, "[{\"path\":\"/a\",\"inode\":1,\"mems\":\"x\"},{\"path\":\"/b\",\"inode\":1,\"mems\":\"3-2\"},"
			       "{\"path\":\"/c\",\"inode\":1,\"mems\":\"64\"},{\"path\":\"/d\",\"inode\":1,\"mems\":\"1x\"},"
			       "{\"path\":\"/e\",\"inode\":1,\"mems\":7},{\"mems\":\"1\"}]", detail),
		  KEPT_PLACEMENT_RIGHT);
}

static void test_inherit(void)
{
	struct kept_placement older = {.mems = 4, .groups = json_array(), .has_policy = true, .wanted_nodes = 4,
				       .left_nodes = ~UINT64_C(4)};
	struct kept_placement kept = {.wanted_nodes = 2, .left_nodes = ~UINT64_C(2)};

	step_init(&older.policy, STEP_KIND_MEMORY_POLICY);
	older.policy.nodes = 4;
	CHECK_INT(kept_placement_inherit(&kept, &older), 0);
	CHECK_INT(kept.mems, 4);
	CHECK_INT(kept.wanted_nodes, 2);
	CHECK_INT(kept.policy.nodes, 4);
	kept_placement_done(&kept);
	kept_placement_done(&older);
}

static struct snapshot_backing part(enum backing_kind kind, int8_t cell, uint64_t nodes)
{
	return (struct snapshot_backing){kind, 4096, 1, cell, POLICY_MODE_BIND, nodes};
}

/* A device that comes later has the nodes of libvirt's XML, with which a map has nothing to do any more. */
static void test_new_device(void)
{
	struct snapshot_guest *guest = new_guest();
	struct operation_record *move = new_move(OPERATION_STATE_SUCCEEDED);
	struct kept_placement kept = {0}, older = {0};
	struct step_record *record = add(move, STEP_KIND_MEMORY_POLICY, 3, 4711);
	struct step step;
	int error = 1;

	record->step.mode = POLICY_MODE_MIXED;
	record->step.by_map = true;
	record->step.map[2] = 1;
	record->step.map[3] = 0;
	CHECK_TRUE(!kept_placement_new_policy(&kept, &step, &error));
	CHECK_INT(kept_placement_take(&kept, move, guest), 0);
	CHECK_TRUE(kept.has_policy);
	/* Which cell belongs where has not been seen. */
	CHECK_TRUE(!kept_placement_new_policy(&kept, &step, &error));
	CHECK_INT(error, 0);

	guest->policy_mode = POLICY_MODE_MIXED;
	guest->policy_nodes = 3;
	guest->backings[0] = part(BACKING_KIND_MEMFD, 0, 1 << 1);
	guest->backings[1] = part(BACKING_KIND_MEMFD, 1, 1 << 0);
	/* Not settable from outside: it says nothing of where the cell belongs. */
	guest->backings[2] = part(BACKING_KIND_HUGETLB, 1, 1 << 3);
	guest->backing_count = 3;
	kept_placement_see_cells(&kept, guest);
	CHECK_TRUE(kept_placement_new_policy(&kept, &step, &error));
	CHECK_TRUE(step.by_cells && !step.by_map);
	CHECK_INT(step.mode, POLICY_MODE_MIXED);
	CHECK_INT(step.cells[0], 1);
	CHECK_INT(step.cells[1], 0);
	CHECK_INT(step.cells[2], -1);
	step_done(&step);

	/* The device is there, with the nodes of the XML: what was remembered stands. */
	guest->backings[0].policy_nodes |= 1 << 2;
	guest->backings[0].policy_mode = POLICY_MODE_MIXED;
	kept_placement_see_cells(&kept, guest);
	CHECK_TRUE(kept_placement_new_policy(&kept, &step, &error));
	CHECK_INT(step.cells[0], 1);
	step_done(&step);
	CHECK_INT(kept_placement_inherit(&older, &kept), 0);
	CHECK_INT(older.cells[0], 2);
	CHECK_INT(older.cells[5], 0);

	/* Said by cell or for all: as it was said. */
	kept.policy.by_map = false;
	memset(kept.cells, 0, sizeof(kept.cells));
	CHECK_TRUE(kept_placement_new_policy(&kept, &step, &error));
	CHECK_TRUE(!step.by_cells);
	CHECK_INT(step.nodes, 3);
	step_done(&step);
	kept_placement_done(&kept);
	kept_placement_done(&older);
	operation_record_free(move);
	free(guest);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a new device", test_new_device},
		{"the last word counts", test_last_word_counts},
		{"libvirt's own", test_libvirts_own},
		{"what does not count", test_what_does_not_count},
		{"shapes of a move", test_shapes},
		{"judge", test_judge},
		{"inherit", test_inherit},
	};

	return unit_main("service/model/kept_placement", cases, sizeof(cases) / sizeof(cases[0]));
}
