/* SPDX-License-Identifier: Apache-2.0 */
#include "placement_change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "placement_owed.h"
#include "unit.h"

#define GROUP "/machine.slice/machine-g1.scope"
#define ALL   0xfu /* nodes 0-3 have memory */

/* A guest that was at home on node 1, and that a drain has moved to node 2. */
static struct {
	struct operation_record *operation;
	struct snapshot_guest guest;
	struct placement_change *change;
	char detail[160];
} rig;

static void start(void)
{
	memset(&rig, 0, sizeof(rig));
	rig.guest.pid = 4711;
	rig.guest.start_time = 4242;
	rig.operation = operation_record_new();
	wish_init(&rig.operation->wish, OPERATION_KIND_MOVE);
	rig.operation->wish.move.form = MOVE_FORM_MAP;
	rig.operation->wish.move.map[1] = 2;
}

static void finish(void)
{
	placement_change_free(rig.change);
	operation_record_free(rig.operation);
}

static struct step *add(enum step_kind kind, const char *before)
{
	struct step step;
	struct step_record *record;
	char text[600];

	step_init(&step, kind);
	record = operation_record_add_step(rig.operation, &step);
	record->state = STEP_STATE_DONE;
	snprintf(text, sizeof(text), "{%s,\"process\":{\"pid\":4711,\"start_time\":4242}}", before);
	record->before = strdup(text);
	return &record->step;
}

static void learn(void)
{
	placement_change_free(rig.change);
	rig.change = placement_change_new(rig.operation, &rig.guest);
	CHECK_TRUE(rig.change != NULL);
}

/* ---- cpusets ---- */

#define TWO_GROUPS(mems)                                                              \
	"\"groups\":[{\"path\":\"" GROUP "\",\"inode\":5,\"mems\":\"" mems            \
	"\",\"inherits\":\"0-3\"},{\"path\":\"" GROUP "/vcpu0\",\"inode\":6,\"mems\":\"" mems "\"}]"

static void add_cpuset(const char *before, uint64_t nodes)
{
	add(STEP_KIND_CPUSET, before)->nodes = nodes;
}

static bool groups_differ(const char *top, const char *vcpu, unsigned inode)
{
	json_t *values = json_pack("{s:[{s:s, s:i, s:s, s:s}, {s:s, s:i, s:s}]}", "groups", "path", GROUP, "inode", 5,
				   "mems", top, "inherits", "0-2", "path", GROUP "/vcpu0", "inode", (int)inode, "mems", vcpu);
	bool is_changed = placement_change_in_cpusets(rig.change, values, ALL, 0, rig.detail);

	CHECK_TRUE(values != NULL);
	json_decref(values);
	return is_changed;
}

static void test_cpusets(void)
{
	start();
	add_cpuset(TWO_GROUPS("1"), 1 << 1 | 1 << 2);
	add_cpuset(TWO_GROUPS("1-2"), 1 << 2);
	learn();
	CHECK_INT(placement_change_cpuset_step(rig.change)->nodes, 1 << 2);
	/* Done, half of it, none of it, undone, half undone. */
	CHECK_TRUE(!groups_differ("2", "2", 6));
	CHECK_TRUE(!groups_differ("1-2", "2", 6));
	CHECK_TRUE(!groups_differ("1-2", "1-2", 6));
	CHECK_TRUE(!groups_differ("1", "1-2", 6));
	CHECK_TRUE(!groups_differ("1", "1", 6));
	/* As libvirt has it where nobody says anything. */
	CHECK_TRUE(!groups_differ("", "2", 6));
	CHECK_TRUE(!groups_differ("0-3", "2", 6));
	/* While node 1 was away that was all. */
	CHECK_TRUE(!groups_differ("0,2-3", "0,2-3", 6));
	/* A thread that came since has what libvirt gives it. */
	CHECK_TRUE(!groups_differ("2", "3", 7));
	/* virsh numatune sets those of threads. */
	CHECK_TRUE(groups_differ("2", "3", 6));
	CHECK_STR(rig.detail, "cpuset.mems of vcpu0 is 3, set by somebody else");
	CHECK_TRUE(groups_differ("2-3", "2-3", 6));
	CHECK_STR(rig.detail, "cpuset.mems of machine-g1.scope is 2-3, set by somebody else");
	/* Not all that was there: node 3 was not away. */
	CHECK_TRUE(groups_differ("0,2", "2", 6));
	finish();
}

/* What inherited gets what it would inherit when that is put back, and whoever dies of that has changed nothing. */
static void test_inherited(void)
{
	start();
	add_cpuset(TWO_GROUPS(""), 1 << 2);
	learn();
	CHECK_TRUE(!groups_differ("2", "", 6));
	CHECK_TRUE(!groups_differ("0-2", "", 6));
	CHECK_TRUE(groups_differ("3", "", 6));
	finish();
}

static void test_numatune(void)
{
	start();
	add_cpuset(TWO_GROUPS("1"), 1 << 1 | 1 << 2);
	add(STEP_KIND_NUMATUNE, "\"nodes\":\"1\"")->nodes = 1 << 2;
	learn();
	CHECK_TRUE(!groups_differ("1-2", "2", 6));
	CHECK_TRUE(!groups_differ("1", "1", 6));
	CHECK_TRUE(groups_differ("1-2", "3", 6));
	finish();
}

/* Of a guest that was started anew nothing is known. */
static void test_other_process(void)
{
	start();
	add_cpuset(TWO_GROUPS("1"), 1 << 2);
	rig.guest.pid = 4712;
	learn();
	CHECK_TRUE(placement_change_cpuset_step(rig.change) == NULL);
	CHECK_TRUE(!groups_differ("3", "3", 6));
	finish();
}

/* ---- policies ---- */

#define RANGE(offset, policy) "{\"inode\":7,\"device\":8,\"offset\":" offset ",\"bytes\":4096,\"policy\":\"" policy "\",\"cell\":0}"

static struct step *add_policy(const char *before)
{
	struct step *step = add(STEP_KIND_MEMORY_POLICY, before);

	step->mode = POLICY_MODE_BIND;
	step->nodes = 1 << 2;
	return step;
}

static bool range_differs_at(int offset, const char *policy, uint64_t memory)
{
	json_t *values = json_pack("{s:[{s:i, s:i, s:i, s:i, s:s, s:i}]}", "ranges", "inode", 7, "device", 8, "offset", offset,
				   "bytes", 4096, "policy", policy, "cell", 0);
	bool is_changed = placement_change_in_policies(rig.change, values, memory, rig.detail);

	CHECK_TRUE(values != NULL);
	json_decref(values);
	return is_changed;
}

static bool range_differs(const char *policy)
{
	return range_differs_at(0, policy, ALL);
}

static void test_policies(void)
{
	start();
	add_policy("\"ranges\":[" RANGE("0", "bind:1") "]")->loose = true;
	add_policy("\"ranges\":[" RANGE("0", "prefer=static:2") "]");
	learn();
	CHECK_TRUE(placement_change_policy_step(rig.change) != NULL);
	/* What each of the steps made of it, and found; a lazy move that was cut off; a kernel that cannot prefer. */
	CHECK_TRUE(!range_differs("bind:2"));
	CHECK_TRUE(!range_differs("prefer=static:2"));
	CHECK_TRUE(!range_differs("bind:1"));
	CHECK_TRUE(!range_differs("bind=balancing:0-3"));
	/* Memory that came since. */
	CHECK_TRUE(!range_differs_at(4096, "bind:3", ALL));
	CHECK_TRUE(range_differs("bind:3"));
	CHECK_STR(rig.detail, "memory of it has the policy bind:3, set by somebody else");
	CHECK_TRUE(range_differs("bind:1-2"));
	CHECK_TRUE(range_differs("prefer:2"));
	CHECK_TRUE(range_differs("interleave:2"));
	CHECK_TRUE(range_differs("default"));
	/* A move by hand that was cut off: loose, and not where this one went. */
	CHECK_TRUE(range_differs("prefer=static:3"));
	finish();
}

/* Each part keeps its mode, and its nodes are mapped. */
static void test_mapped(void)
{
	struct step *step;

	start();
	step = add_policy("\"ranges\":[" RANGE("0", "interleave:0-1") "," RANGE("4096", "prefer (many):1,3") "]");
	step->mode = POLICY_MODE_MIXED;
	step->by_map = true;
	step->map[1] = 2;
	learn();
	CHECK_TRUE(!range_differs("interleave:0,2"));
	CHECK_TRUE(range_differs("interleave:2"));
	CHECK_TRUE(range_differs("interleave:0"));
	/* A node without memory is left out by the kernel. */
	CHECK_TRUE(!range_differs_at(0, "interleave:2", ALL & ~1u));
	CHECK_TRUE(!range_differs_at(4096, "prefer (many):2-3", ALL));
	CHECK_TRUE(!range_differs_at(4096, "prefer:2", ALL));
	CHECK_TRUE(range_differs_at(4096, "prefer:3", ALL));
	finish();
}

/* By cells: what is not of a cell that moves is nobody's to judge. */
static void test_cells(void)
{
	struct step *step;

	start();
	step = add_policy("\"ranges\":[" RANGE("0", "bind:1") "]");
	step->by_cells = true;
	step->cells[1] = 2;
	learn();
	CHECK_TRUE(!range_differs("bind:3"));
	step = &rig.operation->steps[0].step;
	step->cells[0] = 2;
	learn();
	CHECK_TRUE(!range_differs("bind:2"));
	CHECK_TRUE(range_differs("bind:3"));
	finish();
}

/* Memory without a policy of its own shows that of its process, which the kernel shifts with the cpuset. */
static void test_without_policy(void)
{
	start();
	add_policy("\"ranges\":[" RANGE("0", "bind:1") "]")->mode = POLICY_MODE_DEFAULT;
	learn();
	CHECK_TRUE(!range_differs("default"));
	CHECK_TRUE(!range_differs("bind:3"));
	finish();
}

static void test_lazy(void)
{
	start();
	add(STEP_KIND_LAZY, "\"ranges\":[" RANGE("0", "default") "]");
	learn();
	CHECK_TRUE(!range_differs("default"));
	CHECK_TRUE(range_differs("bind:3"));
	finish();
}

/* ---- a move that sets neither ---- */

static bool owes(bool policies, bool cpusets)
{
	const struct step_record *last = &rig.operation->steps[rig.operation->step_count - 1];
	struct placement_owed owed = placement_owed(rig.operation, last);

	return owed.policies == policies && owed.cpusets == cpusets;
}

static void test_owed(void)
{
	start();
	add(STEP_KIND_HOST_POOL, "\"pages\":0");
	CHECK_TRUE(owes(false, false));
	add(STEP_KIND_MOVE_PAGES, "\"homes\":[]");
	CHECK_TRUE(owes(true, true));
	/* The first has told it. */
	add(STEP_KIND_MOVE_PAGES, "\"homes\":[]");
	CHECK_TRUE(owes(false, false));
	finish();
	start();
	add_cpuset(TWO_GROUPS("1"), 1 << 2);
	CHECK_TRUE(owes(false, false));
	add(STEP_KIND_MOVE_PAGES, "\"homes\":[]");
	CHECK_TRUE(owes(true, false));
	finish();
	start();
	add_policy("\"ranges\":[]");
	add(STEP_KIND_MOVE_PAGES, "\"homes\":[]");
	CHECK_TRUE(owes(false, true));
	rig.operation->wish.kind = OPERATION_KIND_DRAIN;
	CHECK_TRUE(owes(false, false));
	finish();
}

static void test_pages_alone(void)
{
	start();
	add(STEP_KIND_MOVE_PAGES, "\"homes\":[],\"ranges\":[" RANGE("0", "bind:1") "]," TWO_GROUPS("1"))->nodes = 1 << 2;
	learn();
	CHECK_TRUE(placement_change_policy_step(rig.change) != NULL);
	CHECK_TRUE(placement_change_cpuset_step(rig.change) != NULL);
	CHECK_TRUE(!range_differs("bind:1"));
	CHECK_TRUE(!range_differs_at(4096, "bind:3", ALL));
	CHECK_TRUE(range_differs("bind:2"));
	CHECK_TRUE(range_differs("default"));
	CHECK_TRUE(!groups_differ("1", "1", 6));
	CHECK_TRUE(!groups_differ("0-3", "1", 6));
	CHECK_TRUE(!groups_differ("1", "2", 9));
	/* It has set none, so the nodes that its pages went to are no word of its own. */
	CHECK_TRUE(groups_differ("1", "2", 6));
	CHECK_TRUE(groups_differ("3", "1", 6));
	finish();
}

/* Of a move from before that was written down, or where it could not be looked at: nothing is known, and nothing is said. */
static void test_untold(void)
{
	start();
	add(STEP_KIND_MOVE_PAGES, "\"homes\":[]");
	learn();
	CHECK_TRUE(placement_change_policy_step(rig.change) == NULL);
	CHECK_TRUE(placement_change_cpuset_step(rig.change) == NULL);
	CHECK_TRUE(!range_differs("bind:3"));
	CHECK_TRUE(!groups_differ("3", "3", 6));
	finish();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"cpusets as the steps left or found them, and as somebody else did", test_cpusets},
		{"a group that inherited", test_inherited},
		{"groups that libvirt has set for a step", test_numatune},
		{"a guest that was started anew", test_other_process},
		{"policies as the steps left or found them, and as somebody else did", test_policies},
		{"policies that were mapped", test_mapped},
		{"policies by cells", test_cells},
		{"memory that was to have no policy", test_without_policy},
		{"a lazy move sets its own and takes it back", test_lazy},
		{"what a move that only moves pages has to write down", test_owed},
		{"a move that only moved pages", test_pages_alone},
		{"a move that has written nothing down", test_untold},
	};

	return unit_main("service/operation/placement_change", cases, sizeof(cases) / sizeof(cases[0]));
}
