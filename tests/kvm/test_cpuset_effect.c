/* SPDX-License-Identifier: Apache-2.0 */
#include "cpuset_effect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "fixture_tree.h"
#include "unit.h"

#define MIB   (UINT64_C(1) << 20)
#define SLICE "/machine.slice"

static void write_group(struct fixture_tree *tree, const char *path, const char *mems, const char *effective,
			const char *processes)
{
	char full[256];

	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cpuset.mems", path);
	fixture_tree_write(tree, full, "%s\n", mems);
	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cpuset.mems.effective", path);
	fixture_tree_write(tree, full, "%s\n", effective);
	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cgroup.type", path);
	fixture_tree_write(tree, full, "domain\n");
	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cgroup.procs", path);
	fixture_tree_write(tree, full, "%s", processes);
}

static void write_process(struct fixture_tree *tree, int task, int process, const char *maps)
{
	char full[64];

	snprintf(full, sizeof(full), "/proc/%d/status", task);
	fixture_tree_write(tree, full, "Name:\tx\nTgid:\t%d\nPid:\t%d\n", process, task);
	snprintf(full, sizeof(full), "/proc/%d/numa_maps", process);
	fixture_tree_write(tree, full, "%s", maps);
}

static void setup(struct fixture_tree *tree)
{
	fixture_tree_init(tree);
	fixture_tree_write(tree, "/sys/fs/cgroup/cgroup.controllers", "cpuset memory\n");
	fixture_tree_write(tree, "/sys/fs/cgroup/cpuset.mems.effective", "0-3\n");
	write_group(tree, SLICE, "", "0-3", "");
}

static int read_effect(struct fixture_tree *tree, const char *mems, struct cpuset_effect *ret_effect)
{
	struct node_set set;

	CHECK_INT(node_set_parse(mems, &set), 0);
	return cpuset_effect_read(tree->sysroot, SLICE, &set, NULL, NULL, ret_effect);
}

static void pages_on_a_lost_node_move(void)
{
	struct fixture_tree tree;
	struct cpuset_effect effect;

	setup(&tree);
	write_group(&tree, SLICE "/a.service", "", "0-3", "10\n11\n12\n");
	write_process(&tree, 10, 10,
		      "7f0 default anon=256 dirty=256 N0=128 N3=128 kernelpagesize_kB=4\n"
		      "7f1 default file=/x mapped=2 N3=2 kernelpagesize_kB=2048\n");
	write_process(&tree, 11, 11, "7f0 default anon=256 N1=256 kernelpagesize_kB=4\n");
	/* 12 has ended meanwhile. */
	CHECK_INT(read_effect(&tree, "0-2", &effect), 0);
	CHECK_INT(effect.group_count, 2);
	CHECK_INT(effect.moved_bytes, 128 * 4096 + 4 * MIB);
	CHECK_INT(effect.pid, 0);
	fixture_tree_done(&tree);
}

/* Those with a set of their own that stays as it is, and all where the node has no memory online, which nobody has. */
static void whose_nodes_stay_is_not_looked_at(void)
{
	struct fixture_tree tree;
	struct cpuset_effect effect;

	setup(&tree);
	write_group(&tree, SLICE "/g.scope", "1", "1", "10\n");
	write_process(&tree, 10, 10, "7f0 bind:1 anon=256 N3=256 kernelpagesize_kB=4\n");
	CHECK_INT(read_effect(&tree, "0-2", &effect), 0);
	CHECK_INT(effect.group_count, 1);
	CHECK_INT(effect.moved_bytes, 0);
	CHECK_INT(effect.pid, 0);
	fixture_tree_write(&tree, "/sys/fs/cgroup/cpuset.mems.effective", "0-2\n");
	write_group(&tree, SLICE, "", "0-2", "10\n");
	CHECK_INT(read_effect(&tree, "0-2", &effect), 0);
	CHECK_INT(effect.group_count, 0);
	/* One that would have no node is given all that is above it. */
	fixture_tree_write(&tree, "/sys/fs/cgroup/cpuset.mems.effective", "0-3\n");
	write_group(&tree, SLICE, "", "0-3", "");
	write_group(&tree, SLICE "/g.scope", "3", "3", "10\n");
	CHECK_INT(read_effect(&tree, "0-2", &effect), 0);
	CHECK_INT(effect.group_count, 2);
	CHECK_INT(effect.moved_bytes, MIB);
	fixture_tree_done(&tree);
}

static void policies_shift_by_position(void)
{
	static const struct {
		const char *now, *then, *policy;
		bool shifts;
	} table[] = {
		{"0-3", "0-2", "bind:1", false},
		{"0-3", "0,2-3", "bind:0", false},
		{"0-3", "0,2-3", "bind:2", true},
		{"0-3", "0,2-3", "prefer (many):2-3", true},
		{"0-3", "0,2-3", "bind=static:2", false},
		{"0-3", "0-2", "bind=relative:1", true},
		{"0-3", "0-2", "interleave:0-3", true},
		{"0-3", "0-2", "default", false},
		{"0-3", "0-2", "local", false},
		/* wider */
		{"0-2", "0-3", "interleave:0-2", false},
		{"0,2-3", "0-3", "bind:3", true},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct fixture_tree tree;
		struct cpuset_effect effect;
		char maps[128], text[MEMORY_POLICY_TEXT_SIZE];

		setup(&tree);
		write_group(&tree, SLICE, "", table[i].now, "");
		write_group(&tree, SLICE "/a.service", "", table[i].now, "10\n");
		snprintf(maps, sizeof(maps), "7f0 default\n7f1 %s anon=1 N0=1 kernelpagesize_kB=4\n", table[i].policy);
		write_process(&tree, 10, 10, maps);
		CHECK_INT(read_effect(&tree, table[i].then, &effect), 0);
		CHECK_INT(effect.pid, table[i].shifts ? 10 : 0);
		if (table[i].shifts)
			CHECK_STR(memory_policy_format(&effect.policy, text, sizeof(text)), table[i].policy);
		fixture_tree_done(&tree);
	}
}

/* libvirt keeps the threads of a guest in groups of their own: only those whose group changes count. */
static void threads_are_judged_by_their_own_group(void)
{
	struct fixture_tree tree;
	struct cpuset_effect effect;
	static const char guest[] = SLICE "/g.scope/libvirt";

	setup(&tree);
	write_group(&tree, SLICE "/g.scope", "", "0-3", "");
	write_group(&tree, guest, "", "0-3", "20\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup" SLICE "/g.scope/libvirt/cgroup.type", "domain threaded\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup" SLICE "/g.scope/libvirt/cgroup.threads", "%s", "");
	write_group(&tree, SLICE "/g.scope/libvirt/emulator", "0-2", "0-2", "");
	fixture_tree_write(&tree, "/sys/fs/cgroup" SLICE "/g.scope/libvirt/emulator/cgroup.type", "threaded\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup" SLICE "/g.scope/libvirt/emulator/cgroup.threads", "20\n");
	write_process(&tree, 20, 20, "7f0 default N3=256 kernelpagesize_kB=4\n");
	CHECK_INT(read_effect(&tree, "0-2", &effect), 0);
	CHECK_INT(effect.moved_bytes, 0);
	/* With a vCPU's that is wider the process counts, and once. */
	write_group(&tree, SLICE "/g.scope/libvirt/vcpu0", "", "0-3", "");
	fixture_tree_write(&tree, "/sys/fs/cgroup" SLICE "/g.scope/libvirt/vcpu0/cgroup.type", "threaded\n");
	fixture_tree_write(&tree, "/sys/fs/cgroup" SLICE "/g.scope/libvirt/vcpu0/cgroup.threads", "21\n22\n");
	write_process(&tree, 21, 20, "7f0 default N3=256 kernelpagesize_kB=4\n");
	write_process(&tree, 22, 20, "7f0 default N3=256 kernelpagesize_kB=4\n");
	CHECK_INT(read_effect(&tree, "0-2", &effect), 0);
	CHECK_INT(effect.moved_bytes, MIB);
	fixture_tree_done(&tree);
}

static int refuse(void *user)
{
	(*(unsigned *)user)++;
	return -ECANCELED;
}

static void it_ends_when_asked_to(void)
{
	struct fixture_tree tree;
	struct cpuset_effect effect;
	struct node_set set;
	unsigned asked = 0;

	setup(&tree);
	write_group(&tree, SLICE "/a.service", "", "0-3", "10\n11\n");
	write_process(&tree, 10, 10, "");
	write_process(&tree, 11, 11, "");
	CHECK_INT(node_set_parse("0-2", &set), 0);
	CHECK_INT(cpuset_effect_read(tree.sysroot, SLICE, &set, refuse, &asked, &effect), -ECANCELED);
	CHECK_INT(asked, 1);
	fixture_tree_remove(&tree, "/sys/fs/cgroup/cpuset.mems.effective");
	CHECK_INT(read_effect(&tree, "0-2", &effect), -ENOENT);
	fixture_tree_done(&tree);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"pages on a lost node move", pages_on_a_lost_node_move},
		{"whose nodes stay is not looked at", whose_nodes_stay_is_not_looked_at},
		{"policies shift by position", policies_shift_by_position},
		{"threads are judged by their own group", threads_are_judged_by_their_own_group},
		{"it ends when asked to", it_ends_when_asked_to},
	};

	return unit_main("cpuset_effect", cases, sizeof(cases) / sizeof(cases[0]));
}
