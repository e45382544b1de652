/* SPDX-License-Identifier: Apache-2.0 */
#include "survey_job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <linux/magic.h>
#include "guest_view.h"
#include "job_fixture.h"
#include "survey_places.h"
#include "sysroot_priv.h"

#define MIB	    (UINT64_C(1) << 20)
#define BLOCK_PAGES 4096
#define START	    UINT64_C(0x7f0000000000)
#define PAGES	    2048
#define RESIDENT    1024

/* A guest of 8 MiB on one memfd, half of it resident on node 2. */
static struct job_fixture *setup(void)
{
	struct job_fixture *fixture = calloc(1, sizeof(*fixture));
	uint64_t *entries = calloc(PAGES, sizeof(*entries));
	int pid = (int)getpid();
	char path[128];

	job_fixture_init(fixture, STEP_KIND_PROBE);
	for (unsigned node = 0; node < 3; node++)
		fixture_tree_add_block(&fixture->tree, node, (int)node, "online", "Normal");
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	fixture_tree_write(&fixture->tree, path,
			   "7f0000000000-7f0000800000 rw-s 00000000 00:01 1025 /memfd:memory-backend-memfd (deleted)\n");
	snprintf(path, sizeof(path), "/proc/%d/numa_maps", pid);
	fixture_tree_write(&fixture->tree, path, "7f0000000000 bind:2 file=/memfd N2=1024\n");
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fixture_tree_write(&fixture->tree, path, "Name:\tqemu\nVmSize: 9 kB\nVmLck:\t8192 kB\nVmPin:\t0 kB\n");
	snprintf(path, sizeof(path), "/proc/%d/fd/0", pid);
	fixture_tree_link(&fixture->tree, path, "/dev/null");
	for (size_t i = 0; i < RESIDENT; i++)
		entries[i] = UINT64_C(1) << 63 | (2 * BLOCK_PAGES + i);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fixture_tree_write_at(&fixture->tree, path, START / 4096 * sizeof(*entries), entries,
			      PAGES * sizeof(*entries));
	free(entries);
	fixture->job.ram_size_count = 1;
	fixture->job.ram_sizes[0] = 8 * MIB;
	return fixture;
}

static void teardown(struct job_fixture *fixture)
{
	job_fixture_done(fixture);
	free(fixture);
}

static struct worker_survey *run(struct job_fixture *fixture)
{
	struct worker_survey *survey = calloc(1, sizeof(*survey));
	struct failure failure = {0};

	job_fixture_run(fixture, WORKER_JOB_SURVEY);
	CHECK_INT(fixture->result.outcome, WORKER_OUTCOME_DONE);
	CHECK_INT(worker_survey_parse(fixture->result.values, survey, &failure), 0);
	return survey;
}

static void write_status(struct job_fixture *fixture, int pid, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fixture_tree_write(&fixture->tree, path, "%s", text);
}

static void test_nothing_holds_it(void)
{
	struct job_fixture *fixture = setup();
	struct worker_survey *survey = run(fixture);

	CHECK_INT(survey->resident_bytes, 4 * MIB);
	CHECK_INT(survey->node_bytes[2], 4 * MIB);
	/* Locked in memory is not pinned: it moves, if that is consented to. */
	CHECK_TRUE(survey->locked && !survey->vfio && !survey->encrypted);
	CHECK_INT(survey->pinned_bytes + survey->private_bytes, 0);
	CHECK_INT(survey->sharer_count, 0);
	free(survey);
	teardown(fixture);
}

#define SMALL_START UINT64_C(0x7f0040000000)
#define LARGE_START UINT64_C(0x7f0080000000)

static int two_sizes(void *user, const char *path, uint64_t *ret_type, uint64_t *ret_block_bytes)
{
	bool is_small = strstr(path, "7f0040000000") != NULL, is_large = strstr(path, "7f0080000000") != NULL;

	*ret_type = is_small || is_large ? HUGETLBFS_MAGIC : TMPFS_MAGIC;
	*ret_block_bytes = is_small ? 2 * MIB : is_large ? 4 * MIB : 4096;
	return 0;
}

static void put_page(struct job_fixture *fixture, uint64_t address, uint64_t first_pfn, size_t count)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)getpid());
	for (size_t i = 0; i < count; i++) {
		uint64_t entry = UINT64_C(1) << 63 | (first_pfn + i);

		fixture_tree_write_at(&fixture->tree, path, (address / 4096 + i) * sizeof(entry), &entry, sizeof(entry));
	}
}

/* Of each size of huge pages it is told where they lie; of other memory not. */
static void test_huge_pages_by_node(void)
{
	struct sysroot_hooks hooks = {.on_filesystem = two_sizes};
	struct job_fixture *fixture = setup();
	struct worker_survey *survey;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)getpid());
	fixture_tree_write(&fixture->tree, path,
			   "7f0000000000-7f0000800000 rw-s 00000000 00:01 1025 /memfd:memory-backend-memfd (deleted)\n"
			   "7f0040000000-7f0040800000 rw-s 00000000 00:0f 77 /dev/hugepages/libvirt/qemu/1-g1/ram1 (deleted)\n"
			   "7f0080000000-7f0080800000 rw-s 00000000 00:10 78 /dev/hugepages4M/libvirt/qemu/1-g1/ram2 (deleted)\n");
	snprintf(path, sizeof(path), "/proc/%d/numa_maps", (int)getpid());
	fixture_tree_write(&fixture->tree, path,
			   "7f0000000000 bind:2 file=/memfd N2=1024\n7f0040000000 bind:1 file=/ram1 huge\n"
			   "7f0080000000 bind:0 file=/ram2 huge\n");
	for (uint64_t i = 0; i < 4; i++)
		put_page(fixture, SMALL_START + i * 2 * MIB, i < 3 ? BLOCK_PAGES + i * 512 : 2 * BLOCK_PAGES + 1024, 512);
	put_page(fixture, LARGE_START + 4 * MIB, 1024, 1024);
	fixture->job.ram_size_count = 3;
	fixture->job.ram_sizes[1] = fixture->job.ram_sizes[2] = 8 * MIB;
	sysroot_set_hooks(fixture->tree.sysroot, &hooks);
	survey = run(fixture);
	CHECK_INT(survey->node_bytes[0], 4 * MIB);
	CHECK_INT(survey->node_bytes[1], 6 * MIB);
	CHECK_INT(survey->node_bytes[2], 6 * MIB);
	CHECK_INT(survey->huge_count, 2);
	CHECK_INT(survey->huges[0].page_bytes, 2 * MIB);
	CHECK_INT(survey->huges[0].pages[0], 0);
	CHECK_INT(survey->huges[0].pages[1], 3);
	CHECK_INT(survey->huges[0].pages[2], 1);
	CHECK_INT(survey->huges[1].page_bytes, 4 * MIB);
	CHECK_INT(survey->huges[1].pages[0], 1);
	CHECK_INT(survey->huges[1].pages[2], 0);
	free(survey);
	teardown(fixture);
}

/* A lazy move that was killed left AutoNUMA its leave; and the slice above the guest has but two nodes. */
static void test_policy_and_cpuset(void)
{
	struct job_fixture *fixture = setup();
	struct worker_survey *survey = run(fixture);
	char path[64];

	CHECK_TRUE(!survey->balancing);
	CHECK_INT(survey->cpuset_mems | survey->cpuset_limit, 0);
	free(survey);
	snprintf(path, sizeof(path), "/proc/%d/numa_maps", (int)getpid());
	fixture_tree_write(&fixture->tree, path, "7f0000000000 bind=balancing:2 file=/memfd N2=1024\n");
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)getpid());
	fixture_tree_write(&fixture->tree, path, "0::/machine.slice/g1.scope/libvirt/emulator\n");
	fixture_tree_write(&fixture->tree, "/sys/fs/cgroup/cgroup.controllers", "cpuset memory\n");
	fixture_tree_write(&fixture->tree, "/sys/fs/cgroup/machine.slice/cpuset.mems", "1-2\n");
	fixture_tree_write(&fixture->tree, "/sys/fs/cgroup/machine.slice/g1.scope/cpuset.mems", "2\n");
	fixture_tree_write(&fixture->tree, "/sys/fs/cgroup/machine.slice/g1.scope/libvirt/emulator/cpuset.mems.effective",
			   "2\n");
	survey = run(fixture);
	CHECK_TRUE(survey->balancing);
	CHECK_INT(survey->policy_mode, POLICY_MODE_BIND);
	CHECK_INT(survey->cpuset_mems, 1 << 2);
	CHECK_INT(survey->cpuset_limit, 1 << 1 | 1 << 2);
	CHECK_STR(survey->cgroup, "/machine.slice/g1.scope");
	CHECK_TRUE(!survey->loose);
	CHECK_TRUE(survey->has_policies);
	free(survey);
	/* Of a move that was cut short: it belongs bound. What libvirt prefers has no flag. */
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/%d/numa_maps", (int)getpid());
		fixture_tree_write(&fixture->tree, path, i ? "7f0000000000 prefer=static:1 file=/memfd N2=1024\n"
							   : "7f0000000000 prefer:1 file=/memfd N2=1024\n");
		survey = run(fixture);
		CHECK_INT(survey->loose, i);
		CHECK_INT(survey->policy_mode, i ? POLICY_MODE_BIND : POLICY_MODE_PREFERRED);
		CHECK_INT(survey->backings[0].policy_mode, survey->policy_mode);
		CHECK_INT(survey->policy_nodes, 1 << 1);
		free(survey);
	}
	/* Who knows the policies spares the guest the walk through its page tables. */
	fixture->job.policies_known = true;
	survey = run(fixture);
	CHECK_TRUE(!survey->has_policies && !survey->balancing);
	CHECK_INT(survey->policy_mode, POLICY_MODE_DEFAULT);
	CHECK_INT(survey->resident_bytes, 4 * MIB);
	CHECK_INT(survey->cpuset_mems, 1 << 2);
	free(survey);
	teardown(fixture);
}

/* A back end maps half of the guest and has registered 1 MiB of it. */
static void test_a_sharer_pins(void)
{
	struct job_fixture *fixture = setup();
	struct worker_survey *survey;

	write_status(fixture, 1, "Name:\tinit\nVmSize: 9 kB\nRssShmem: 0 kB\n");
	write_status(fixture, 999999, "Name:\tbackend\nVmSize: 9 kB\nVmPin: 1024 kB\nRssShmem: 4 kB\n");
	fixture_tree_write(&fixture->tree, "/proc/999999/maps",
			   "7f1000000000-7f1000400000 rw-s 00000000 00:01 1025 /memfd:memory-backend-memfd (deleted)\n");
	survey = run(fixture);
	CHECK_INT(survey->sharer_count, 1);
	CHECK_INT(survey->sharers_unlisted, 0);
	CHECK_INT(survey->sharers_unseen, 0);
	CHECK_STR(survey->sharers[0].name, "backend");
	CHECK_INT(survey->sharers[0].pid, 999999);
	CHECK_INT(survey->sharers[0].mapped_bytes, 4 * MIB);
	CHECK_INT(survey->pinned_bytes, 1 * MIB);
	free(survey);
	/* More than there is place for are counted. */
	for (int i = 0; i < SNAPSHOT_SHARERS_MAX + 2; i++) {
		char path[64];

		write_status(fixture, 999900 + i, "Name:\treader\nVmSize: 9 kB\nRssShmem: 4 kB\n");
		snprintf(path, sizeof(path), "/proc/%d/maps", 999900 + i);
		fixture_tree_write(&fixture->tree, path,
				   "7f1000000000-7f1000400000 rw-s 00000000 00:01 1025 /memfd:memory-backend-memfd (deleted)\n");
	}
	survey = run(fixture);
	CHECK_INT(survey->sharer_count, SNAPSHOT_SHARERS_MAX);
	CHECK_INT(survey->sharers_unlisted, 3);
	free(survey);
	/* QEMU and the back end together never pin more than there is. */
	write_status(fixture, (int)getpid(), "Name:\tqemu\nVmLck:\t0 kB\nVmPin:\t4000 kB\n");
	survey = run(fixture);
	CHECK_INT(survey->pinned_bytes, 4 * MIB);
	free(survey);
	teardown(fixture);
}

/* Counters at the time of the survey, where they count all that the guest is made of. */
static void test_counters(void)
{
	struct job_fixture *fixture = setup();
	struct worker_survey *survey = run(fixture);
	char path[64];

	CHECK_TRUE(!survey->counted);
	free(survey);
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)getpid());
	fixture_tree_write(&fixture->tree, path, "0::/g1/libvirt/emulator\n");
	fixture_tree_write(&fixture->tree, "/sys/fs/cgroup/cgroup.controllers", "memory\n");
	fixture_tree_write(&fixture->tree, "/sys/fs/cgroup/g1/memory.numa_stat",
			   "anon N0=4096 N1=0\nshmem N0=0 N2=4194304\n");
	survey = run(fixture);
	CHECK_TRUE(survey->counted);
	CHECK_INT(survey->counted_bytes[0], 4096);
	CHECK_INT(survey->counted_bytes[2], 4 * MIB);
	free(survey);
	teardown(fixture);
}

/* VFIO accounts what it pins as locked. */
static void test_devices(void)
{
	struct job_fixture *fixture = setup();
	struct worker_survey *survey;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/7", (int)getpid());
	fixture_tree_link(&fixture->tree, path, "/dev/vfio/3");
	snprintf(path, sizeof(path), "/proc/%d/fd/8", (int)getpid());
	fixture_tree_link(&fixture->tree, path, "/dev/sev");
	survey = run(fixture);
	CHECK_TRUE(survey->vfio && survey->encrypted);
	CHECK_INT(survey->pinned_bytes, 4 * MIB);
	free(survey);
	teardown(fixture);
}

/* Cells of one size: who is who is told by a name or by two traces that agree, or not at all. */
static void test_cells_told_apart(void)
{
	struct guest_range ranges[] = {
		{.start = 0x1000000, .end = 0x2000000},
		{.start = 0x4000000, .end = 0x5000000},
	};
	struct guest_map map = {.ranges = ranges, .count = 2};
	struct worker_job *job = calloc(1, sizeof(*job));
	int fds[] = {-1, -1};
	int8_t entries[2], cells[2];

	job->ram_size_count = 2;
	job->ram_sizes[0] = job->ram_sizes[1] = 0x1000000;
	job->ram_cells[1] = 1;
	/* Anonymous, and bound by nobody: the addresses are one trace only. */
	guest_view_assign_ram(job, &map, fds, entries, cells);
	CHECK_INT(cells[0], -1);
	CHECK_INT(cells[1], -1);
	/* libvirt bound the first cell to node 0, the second to node 3, and the kernel shows it so. */
	job->ram_nodes[0] = 1 << 0;
	job->ram_nodes[1] = 1 << 3;
	for (int i = 0; i < 2; i++) {
		ranges[i].has_policy = true;
		ranges[i].policy.mode = MEMORY_POLICY_BIND;
		node_set_clear(&ranges[i].policy.nodes);
		node_set_add(&ranges[i].policy.nodes, i ? 0 : 3);
	}
	guest_view_assign_ram(job, &map, fds, entries, cells);
	CHECK_INT(cells[0], 1);
	CHECK_INT(cells[1], 0);
	CHECK_INT(entries[0], 1);
	CHECK_INT(entries[1], 0);
	/* The traces disagree, as after somebody rewrote the policies; one is mixed; both are alike. */
	job->ram_nodes[0] = 1 << 3;
	job->ram_nodes[1] = 1 << 0;
	guest_view_assign_ram(job, &map, fds, entries, cells);
	CHECK_INT(cells[0], -1);
	job->ram_nodes[0] = 1 << 0;
	job->ram_nodes[1] = 1 << 3;
	ranges[1].has_mixed_policies = true;
	guest_view_assign_ram(job, &map, fds, entries, cells);
	CHECK_INT(cells[0], -1);
	ranges[1].has_mixed_policies = false;
	job->ram_nodes[0] = job->ram_nodes[1];
	ranges[1].policy = ranges[0].policy;
	guest_view_assign_ram(job, &map, fds, entries, cells);
	CHECK_INT(cells[1], -1);
	/* Files that are named after the cells, whatever the orders say. */
	strcpy(ranges[0].object, "ram-node0");
	strcpy(ranges[1].object, "ram-node1");
	guest_view_assign_ram(job, &map, fds, entries, cells);
	CHECK_INT(cells[0], 0);
	CHECK_INT(cells[1], 1);
	CHECK_INT(entries[0], 0);
	CHECK_INT(entries[1], 1);
	/* A name that no cell of that size has is not believed. */
	strcpy(ranges[0].object, "ram-node7");
	strcpy(ranges[1].object, "ram-node1x");
	guest_view_assign_ram(job, &map, fds, entries, cells);
	CHECK_INT(cells[0], -1);
	CHECK_INT(cells[1], -1);
	CHECK_INT(entries[0], -1);
	free(job);
}

/* A cell and its memory device of one size: the cell is certain, which is which only by a name or the order. */
static void test_entries_told_apart(void)
{
	struct guest_range ranges[] = {
		{.start = 0x1000000, .end = 0x2000000},
		{.start = 0x4000000, .end = 0x5000000},
	};
	struct guest_map map = {.ranges = ranges, .count = 2};
	struct worker_job *job = calloc(1, sizeof(*job));
	int unordered[] = {20, 21}, ordered[] = {21, 20};
	int8_t entries[2], cells[2];

	job->ram_size_count = 2;
	job->ram_sizes[0] = job->ram_sizes[1] = 0x1000000;
	job->ram_blocks[1] = 0x200000;
	guest_view_assign_ram(job, &map, unordered, entries, cells);
	CHECK_INT(cells[0] | cells[1], 0);
	CHECK_INT(entries[0], -1);
	CHECK_INT(entries[1], -1);
	guest_view_assign_ram(job, &map, ordered, entries, cells);
	CHECK_INT(entries[0], 1);
	CHECK_INT(entries[1], 0);
	/* The name says the contrary: then the order was none, and tells nothing of the other either. */
	strcpy(ranges[0].object, "ram-node0");
	guest_view_assign_ram(job, &map, ordered, entries, cells);
	CHECK_INT(entries[0], 0);
	CHECK_INT(entries[1], -1);
	/* A size of its own. */
	ranges[1].end = 0x6000000;
	job->ram_sizes[1] = 0x2000000;
	guest_view_assign_ram(job, &map, unordered, entries, cells);
	CHECK_INT(entries[0], 0);
	CHECK_INT(entries[1], 1);
	free(job);
}

#define DEVICE_START (START + 4096 * MIB)

/* Makes the guest one of a memory device too; of it these pages are resident, from this one on. */
static void add_device(struct job_fixture *fixture, uint64_t bytes, size_t first, size_t count)
{
	struct worker_job *job = &fixture->job;
	uint64_t *entries = calloc(bytes / 4096, sizeof(*entries));
	char path[128];

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)getpid());
	fixture_tree_write(&fixture->tree, path,
			   "7f0000000000-7f0000800000 rw-s 00000000 00:01 1025 /memfd:memory-backend-memfd (deleted)\n"
			   "%" PRIx64 "-%" PRIx64 " rw-s 00000000 00:01 1026 /memfd:memory-backend-memfd (deleted)\n",
			   DEVICE_START, DEVICE_START + bytes);
	for (size_t i = 0; i < count; i++)
		entries[first + i] = UINT64_C(1) << 63 | (BLOCK_PAGES + i);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)getpid());
	fixture_tree_write_at(&fixture->tree, path, DEVICE_START / 4096 * sizeof(*entries), entries,
			      bytes / 4096 * sizeof(*entries));
	free(entries);
	job->ram_size_count = 2;
	job->ram_sizes[1] = bytes;
	job->ram_blocks[1] = 2 * MIB;
	job->ram_addresses[1] = 4096 * MIB;
	job->policies_known = true;
}

static void test_units_of_a_device(void)
{
	struct job_fixture *fixture = setup();
	struct worker_survey *survey = run(fixture);
	struct worker_job *job = &fixture->job;
	const struct snapshot_residency *residency;

	CHECK_INT(survey->residency_count, 0);
	free(survey);
	/* 48 MiB before the border of the first two blocks and 16 MiB behind it. */
	add_device(fixture, 384 * MIB, 80 * MIB / 4096, 64 * MIB / 4096);
	survey = run(fixture);
	residency = &survey->residencies[0];
	CHECK_INT(survey->residency_count, 1);
	CHECK_INT(residency->address, 4096 * MIB);
	CHECK_INT(residency->size_bytes, 384 * MIB);
	CHECK_INT(residency->unit_bytes, 128 * MIB);
	CHECK_INT(residency->count, 3);
	CHECK_INT(residency->bytes[0], 48 * MIB);
	CHECK_INT(residency->bytes[1], 16 * MIB);
	CHECK_INT(residency->bytes[2], 0);
	/* And what all of it comes to is what it was. */
	CHECK_INT(survey->resident_bytes, 68 * MIB);
	CHECK_INT(survey->backing_count, 1);
	CHECK_INT(survey->backings[0].bytes, 68 * MIB);
	free(survey);
	/* It begins in the middle of a block of the guest. */
	job->ram_addresses[1] = (4096 + 64) * MIB;
	survey = run(fixture);
	CHECK_INT(survey->residencies[0].count, 4);
	CHECK_INT(survey->residencies[0].bytes[0], 0);
	CHECK_INT(survey->residencies[0].bytes[1], 64 * MIB);
	CHECK_INT(survey->residencies[0].bytes[2] + survey->residencies[0].bytes[3], 0);
	CHECK_INT(survey->resident_bytes, 68 * MIB);
	free(survey);
	/* It goes in larger pieces. */
	job->ram_addresses[1] = 4096 * MIB;
	job->ram_blocks[1] = 256 * MIB;
	survey = run(fixture);
	CHECK_INT(survey->residencies[0].unit_bytes, 256 * MIB);
	CHECK_INT(survey->residencies[0].count, 2);
	CHECK_INT(survey->residencies[0].bytes[0], 64 * MIB);
	free(survey);
	/* A page of the process that lies across a border is not cut: it is the second one's. */
	job->ram_blocks[1] = 2 * MIB;
	job->ram_addresses[1] = 4096 * MIB + 4096;
	survey = run(fixture);
	CHECK_INT(survey->residencies[0].count, 4);
	CHECK_INT(survey->residencies[0].bytes[0], 46 * MIB);
	CHECK_INT(survey->residencies[0].bytes[1], 18 * MIB);
	CHECK_INT(survey->resident_bytes, 68 * MIB);
	free(survey);
	/* The device's first byte is the last of a unit. */
	job->ram_addresses[1] = 4096 * MIB - 4096;
	survey = run(fixture);
	CHECK_INT(survey->residencies[0].count, 4);
	CHECK_INT(survey->residencies[0].bytes[0], 0);
	CHECK_INT(survey->residencies[0].bytes[1], 48 * MIB);
	CHECK_INT(survey->resident_bytes, 68 * MIB);
	free(survey);
	/* Where it is nobody knows. */
	job->ram_addresses[1] = 0;
	survey = run(fixture);
	CHECK_INT(survey->residency_count, 0);
	CHECK_INT(survey->resident_bytes, 68 * MIB);
	free(survey);
	/* Another part of the guest has its size, and nothing tells which is which. */
	job->ram_addresses[1] = 4096 * MIB;
	job->ram_sizes[0] = job->ram_sizes[1];
	survey = run(fixture);
	CHECK_INT(survey->residency_count, 0);
	free(survey);
	teardown(fixture);
}

/* One DIMM has the first 16 MiB of what is resident; the next are on another node, and of the last nobody knows the node. */
static void test_units_in_dimms(void)
{
	struct job_fixture *fixture = setup();
	struct worker_job *job = &fixture->job;
	struct worker_survey *survey;

	job->dimm_count = 2;
	job->dimms = calloc(2, sizeof(*job->dimms));
	for (size_t i = 0; i < 2; i++) {
		snprintf(job->dimms[i].id, sizeof(job->dimms[i].id), "acpi-%zu", i);
		job->dimms[i].range_count = 1;
		job->dimms[i].ranges[0] = (struct snapshot_range){i * 16 * MIB, (i + 1) * 16 * MIB};
	}
	add_device(fixture, 384 * MIB, (128 - 8) * MIB / 4096, 64 * MIB / 4096);
	survey = run(fixture);
	CHECK_INT(survey->place_count, 3);
	/* Half of the DIMM's on either side of the border of two units. */
	for (size_t i = 0; i < 2; i++) {
		CHECK_INT(survey->places[i].device, 0);
		CHECK_INT(survey->places[i].unit, i);
		CHECK_INT(survey->places[i].dimm, 1);
		CHECK_INT(survey->places[i].node, 1);
		CHECK_INT(survey->places[i].pages, 8 * MIB / 4096);
	}
	CHECK_INT(survey->places[2].unit, 1);
	CHECK_INT(survey->places[2].dimm, SNAPSHOT_NO_DIMM);
	CHECK_INT(survey->places[2].node, 2);
	CHECK_INT(survey->places[2].pages, 16 * MIB / 4096);
	CHECK_INT(survey->dimms[1].bytes, 16 * MIB);
	free(survey);
	teardown(fixture);
}

static void add_part(struct worker_job *job, const char *id, struct snapshot_range one, struct snapshot_range other)
{
	snprintf(job->dimms[job->dimm_count].id, sizeof(job->dimms[0].id), "%s", id);
	job->dimms[job->dimm_count].range_count = other.end ? 2 : 1;
	job->dimms[job->dimm_count].ranges[0] = one;
	job->dimms[job->dimm_count++].ranges[1] = other;
}

/* One that is all of the host's memory, as firmware may tell it, is on as many nodes: nothing counts twice. */
static void test_a_dimm_of_several_nodes(void)
{
	static const struct {
		uint8_t unit;
		int8_t node;
		uint64_t bytes;
	} places[] = {{0, 1, 8 * MIB}, {1, 1, 8 * MIB}, {1, 2, 16 * MIB}};
	struct job_fixture *fixture = setup();
	struct worker_job *job = &fixture->job;
	struct worker_survey *survey;

	job->dimms = calloc(1, sizeof(*job->dimms));
	add_part(job, "smbios-1", (struct snapshot_range){0, 64 * MIB}, (struct snapshot_range){0});
	add_device(fixture, 384 * MIB, (128 - 8) * MIB / 4096, 64 * MIB / 4096);
	survey = run(fixture);
	CHECK_INT(survey->place_count, sizeof(places) / sizeof(places[0]));
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		CHECK_INT(survey->places[i].unit, places[i].unit);
		CHECK_INT(survey->places[i].dimm, 0);
		CHECK_INT(survey->places[i].node, places[i].node);
		CHECK_INT(survey->places[i].pages, places[i].bytes / 4096);
	}
	free(survey);
	teardown(fixture);
}

/* The same memory: a piece of the DIMM has the last 4 MiB of the first unit and the first 2 of the second. */
static void test_units_in_pieces(void)
{
	static const struct {
		uint8_t unit, dimm;
		uint64_t bytes;
	} places[] = {{0, 0, 4 * MIB}, {0, 1, 4 * MIB}, {1, 0, 2 * MIB}, {1, 1, 6 * MIB}};
	struct job_fixture *fixture = setup();
	struct worker_job *job = &fixture->job;
	struct worker_survey *survey;

	job->dimms = calloc(2, sizeof(*job->dimms));
	add_part(job, "0x1400000-0x1a00000", (struct snapshot_range){20 * MIB, 26 * MIB}, (struct snapshot_range){0});
	add_part(job, "acpi-1", (struct snapshot_range){16 * MIB, 20 * MIB}, (struct snapshot_range){26 * MIB, 32 * MIB});
	add_device(fixture, 384 * MIB, (128 - 8) * MIB / 4096, 64 * MIB / 4096);
	survey = run(fixture);
	CHECK_INT(survey->dimms[0].bytes, 6 * MIB);
	CHECK_INT(survey->dimms[1].bytes, 10 * MIB);
	CHECK_INT(survey->place_count, 5);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		CHECK_INT(survey->places[i].unit, places[i].unit);
		CHECK_INT(survey->places[i].dimm, places[i].dimm);
		CHECK_INT(survey->places[i].node, 1);
		CHECK_INT(survey->places[i].pages, places[i].bytes / 4096);
	}
	free(survey);
	teardown(fixture);
}

/* More parts than are told: those that have most are. */
static void test_most_of_many_places(void)
{
	struct worker_survey *survey = calloc(1, sizeof(*survey));
	struct survey_target targets[] = {{0, 3}, {1, 3}};
	struct survey_places places = {.targets = targets, .target_count = 2};
	struct page_survey_totals *totals = calloc(1, sizeof(*totals));
	uint64_t bytes[] = {0, 0}, before[] = {0, 0};

	places.target_before = before;
	totals->target_bytes = bytes;
	for (size_t unit = 0; unit < 160; unit++) {
		survey_places_mark(&places, totals);
		bytes[0] += (unit + 1) * 4096;
		bytes[1] += MIB;
		totals->node_bytes[3] += (unit + 1) * 4096 + MIB;
		survey_places_take(&places, totals, 0, unit, survey);
	}
	CHECK_INT(survey->place_count, SNAPSHOT_PLACES_MAX);
	for (size_t i = 0; i < survey->place_count; i++) {
		CHECK_TRUE(survey->places[i].dimm == 1 || survey->places[i].pages > 64);
		CHECK_INT(survey->places[i].node, 3);
	}
	free(totals);
	free(survey);
}

/* Of a device that has more blocks than are told the units are larger. */
static void test_units_of_a_large_device(void)
{
	struct job_fixture *fixture = setup();
	struct worker_survey *survey;

	add_device(fixture, (SNAPSHOT_UNITS_MAX + 1) * 128 * MIB, 0, 1);
	survey = run(fixture);
	CHECK_INT(survey->residency_count, 1);
	CHECK_INT(survey->residencies[0].unit_bytes, 256 * MIB);
	CHECK_INT(survey->residencies[0].count, SNAPSHOT_UNITS_MAX / 2 + 1);
	CHECK_INT(survey->residencies[0].bytes[0], 4096);
	free(survey);
	teardown(fixture);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"huge pages by node", test_huge_pages_by_node},
		{"policy and cpuset", test_policy_and_cpuset},
		{"nothing holds it", test_nothing_holds_it},
		{"a sharer pins", test_a_sharer_pins},
		{"counters", test_counters},
		{"devices", test_devices},
		{"cells told apart", test_cells_told_apart},
		{"entries told apart", test_entries_told_apart},
		{"units of a device", test_units_of_a_device},
		{"units of a large device", test_units_of_a_large_device},
		{"units in DIMMs", test_units_in_dimms},
		{"units in pieces", test_units_in_pieces},
		{"a DIMM of several nodes", test_a_dimm_of_several_nodes},
		{"most of many places", test_most_of_many_places},
	};

	return unit_main("service/survey_job", cases, sizeof(cases) / sizeof(cases[0]));
}
