/* SPDX-License-Identifier: Apache-2.0 */
#include "fault_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <linux/mempolicy.h>
#include "fault_gate.h"
#include "node_set.h"
#include "page_heat_priv.h"
#include "page_survey.h"

/* 16 MiB blocks of 4096 pages: block N is node N's. */
#define BLOCK_PAGES 4096
#define PART_BYTES  ((uint64_t)FAULT_WORLD_PART_PAGES * 4096)
#define SCOPE	    "/machine.slice/machine-qemu-1.scope"
#define GROUP	    SCOPE "/libvirt"
#define POOL	    "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/"
/* MPOL_F_NUMA_BALANCING, which older headers lack. */
#define POLICY_BALANCING (1 << 13)
/* No node has room for more than so many huge pages. */
#define POOL_MAX 64
#define HUGE_PAGES 512
/* Free pieces of 2 MiB where the guest is, and where it goes, at first and after a compaction. */
#define ROOM_ENOUGH 8
#define ROOM_LITTLE 1
/* Of a page that was written lately, and of one that this process has written. */
#define SOFT_DIRTY (UINT64_C(1) << 55)

static const uint64_t starts[FAULT_WORLD_PARTS] = {UINT64_C(0x7f0040000000),
						   UINT64_C(0x7f0000000000)};
static const char *const groups[FAULT_WORLD_GROUPS] = {SCOPE, GROUP "/emulator", GROUP "/vcpu0"};

static void write_process(struct fault_world *world, const char *file, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)getpid(), file);
	fixture_tree_write(&world->fixture.tree, path, "%s", text);
}

static bool is_huge(const struct fault_world *world)
{
	return world->memory == FAULT_MEMORY_TRANSPARENT || world->memory == FAULT_MEMORY_HUGETLB;
}

/* An entry of /proc/PID/pagemap. */
static uint64_t entry_of(const struct fault_world *world, size_t page, int node)
{
	bool is_hot = world->memory == FAULT_MEMORY_TOUCHED && page / 100 % 2;
	/* Page frame 0 is no page; a huge page begins at a multiple of its size. */
	uint64_t first = is_huge(world) ? HUGE_PAGES : 1;

	if (node == FAULT_WORLD_ABSENT)
		return 0;
	return UINT64_C(1) << 63 | (is_hot ? SOFT_DIRTY : 0) | ((uint64_t)node * BLOCK_PAGES + first + page);
}

static void write_entries(struct fault_world *world, uint64_t address, const uint64_t *entries, size_t count)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)getpid());
	fixture_tree_write_at(&world->fixture.tree, path, address / 4096 * sizeof(entries[0]), entries,
			      count * sizeof(entries[0]));
}

static void show_pages(struct fault_world *world, int part)
{
	static uint64_t entries[FAULT_WORLD_PART_PAGES];
	size_t first = (size_t)part * FAULT_WORLD_PART_PAGES;

	for (size_t i = 0; i < FAULT_WORLD_PART_PAGES; i++)
		entries[i] = entry_of(world, first + i, world->state.nodes[first + i]);
	write_entries(world, starts[part], entries, FAULT_WORLD_PART_PAGES);
}

/* What this process' own page table has of the guest's files: only what that of the guest lacks is ever brought there. */
static void show_window(struct fault_world *world, const struct fault_window *window)
{
	static uint64_t entries[FAULT_WORLD_PART_PAGES];
	size_t first = (size_t)window->part * FAULT_WORLD_PART_PAGES + window->offset / 4096;
	size_t count = window->length / 4096;

	for (size_t i = 0; i < count; i++)
		entries[i] = entry_of(world, first + i, world->state.file_nodes[first + i]);
	write_entries(world, window->address, entries, count);
}

static void show_huge_room(struct fault_world *world)
{
	char text[512] = "";

	for (int node = 0; node < FAULT_WORLD_NODES; node++) {
		size_t length = strlen(text);

		snprintf(text + length, sizeof(text) - length, "Node %d, zone Normal 9 9 9 9 9 9 9 9 9 %u 0\n", node,
			 world->huge_room[node]);
	}
	fixture_tree_write(&world->fixture.tree, "/proc/buddyinfo", "%s", text);
}

static void show_policies(struct fault_world *world)
{
	static const char *const words[] = {
		[MPOL_DEFAULT] = "default", [MPOL_PREFERRED] = "prefer",
		[MPOL_BIND] = "bind",	    [MPOL_INTERLEAVE] = "interleave",
		[MPOL_LOCAL] = "local",	    [MPOL_PREFERRED_MANY] = "prefer (many)",
	};
	char text[512] = "", nodes[NODE_SET_TEXT_SIZE];

	for (int part = FAULT_WORLD_PARTS; part-- > 0;) {
		struct node_set set = {0};
		size_t length = strlen(text);
		int mode = world->state.policy_modes[part];

		for (int node = 0; node < FAULT_WORLD_NODES; node++)
			if (world->state.policy_nodes[part] >> node & 1)
				node_set_add(&set, node);
		snprintf(text + length, sizeof(text) - length,
			 "%llx %s%s%s%s file=/memfd:memory-backend-memfd\n",
			 (unsigned long long)starts[part], words[mode & ~(POLICY_BALANCING | MPOL_F_STATIC_NODES)],
			 mode & POLICY_BALANCING      ? "=balancing"
			 : mode & MPOL_F_STATIC_NODES ? "=static"
						      : "",
			 node_set_is_empty(&set) ? "" : ":",
			 node_set_format(&set, nodes, sizeof(nodes)));
	}
	write_process(world, "numa_maps", text);
}

static void show_group(struct fault_world *world, const char *path, const char *mems,
		       const char *effective)
{
	struct fixture_tree *tree = &world->fixture.tree;
	char full[256];

	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cpuset.mems", path);
	fixture_tree_write(tree, full, "%s\n", mems);
	snprintf(full, sizeof(full), "/sys/fs/cgroup%s/cpuset.mems.effective", path);
	fixture_tree_write(tree, full, "%s\n", effective);
}

static void show_pool(struct fault_world *world, int node)
{
	static const char *const files[] = {"nr_hugepages", "free_hugepages", "surplus_hugepages"};
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), POOL "%s", node, files[i]);
		fixture_tree_write(&world->fixture.tree, path, "%u\n",
				   i == 2 ? 0 : world->state.pools[node]);
	}
}

/* Makes the tree tell the state. Only what has changed is written: this runs thousands of times. */
static void show(struct fault_world *world)
{
	const struct fault_state *is = &world->state,
				 *was = world->has_shown ? &world->shown : NULL;

	for (int part = 0; part < FAULT_WORLD_PARTS; part++) {
		size_t first = (size_t)part * FAULT_WORLD_PART_PAGES;

		if (!was ||
		    memcmp(is->nodes + first, was->nodes + first, FAULT_WORLD_PART_PAGES) != 0)
			show_pages(world, part);
	}
	if (was && memcmp(is->file_nodes, was->file_nodes, sizeof(is->file_nodes)) != 0)
		for (size_t i = 0; i < FAULT_WORLD_WINDOWS; i++)
			if (world->windows[i].length)
				show_window(world, &world->windows[i]);
	if (!was || memcmp(is->policy_modes, was->policy_modes, sizeof(is->policy_modes)) != 0 ||
	    memcmp(is->policy_nodes, was->policy_nodes, sizeof(is->policy_nodes)) != 0)
		show_policies(world);
	for (size_t i = 0; i < FAULT_WORLD_GROUPS; i++)
		if (!was || strcmp(is->mems[i], was->mems[i]) != 0)
			show_group(world, groups[i], is->mems[i], is->mems[i]);
	if (!was || strcmp(is->mems[0], was->mems[0]) != 0)
		show_group(world, GROUP, "", is->mems[0]);
	for (int node = 0; node < FAULT_WORLD_NODES; node++)
		if (!was || is->pools[node] != was->pools[node])
			show_pool(world, node);
	world->shown = *is;
	world->has_shown = true;
}

/* ---- the kernel ---- */

static int write_pool(struct fault_world *world, int node, const char *text)
{
	unsigned wanted;

	if (sscanf(text, "%u", &wanted) != 1 || node < 0 || node >= FAULT_WORLD_NODES)
		return -EINVAL;
	world->state.pools[node] = wanted < POOL_MAX ? wanted : POOL_MAX;
	return 0;
}

static int write_mems(struct fault_world *world, const char *path, const char *text)
{
	char file[128];

	/* kernel/cgroup/cpuset.c validate_change */
	if (!text[0] || text[0] == '\n')
		return -ENOSPC;
	for (size_t i = 0; i < FAULT_WORLD_GROUPS; i++) {
		snprintf(file, sizeof(file), "/sys/fs/cgroup%s/cpuset.mems", groups[i]);
		if (strcmp(path, file) == 0) {
			memset(world->state.mems[i], 0, sizeof(world->state.mems[i]));
			snprintf(world->state.mems[i], sizeof(world->state.mems[i]), "%s", text);
			return 0;
		}
	}
	return -ENOENT;
}

static void compact(struct fault_world *world, int node)
{
	world->huge_room[node] = ROOM_ENOUGH;
	show_huge_room(world);
}

static int on_write(void *user, const char *path, const char *text)
{
	struct fault_world *world = user;
	int node, end = 0, error = fault_gate_pass("write");

	if (error)
		return error;
	fault_gate_enter_fake();
	pthread_mutex_lock(&world->lock);
	world->writes++;
	if (sscanf(path, POOL "nr_hugepages%n", &node, &end) == 1 && end > 0)
		error = write_pool(world, node, text);
	else if (strncmp(path, "/sys/fs/cgroup/", 15) == 0)
		error = write_mems(world, path, text);
	else if (sscanf(path, "/sys/devices/system/node/node%d/compact%n", &node, &end) == 1 && end > 0)
		compact(world, node);
	else if (!strstr(path, "/clear_refs"))
		error = -EACCES;
	show(world);
	pthread_mutex_unlock(&world->lock);
	fault_gate_leave_fake();
	return error;
}

static int part_of(const struct fault_world *world, uint64_t inode)
{
	for (int part = 0; part < FAULT_WORLD_PARTS; part++)
		if (world->inodes[part] == inode)
			return part;
	return -1;
}

static int set_policy(void *user, uint64_t inode, uint64_t offset, uint64_t length, int mode,
		      uint64_t nodes)
{
	struct fault_world *world = user;
	int part = part_of(world, inode);

	if (part < 0 || offset != 0 || length != PART_BYTES)
		return -EINVAL;
	world->writes++;
	world->state.policy_modes[part] = mode;
	world->state.policy_nodes[part] = nodes;
	show(world);
	return 0;
}

static int get_policy(void *user, uint64_t inode, uint64_t offset, int *ret_mode,
		      uint64_t *ret_nodes)
{
	struct fault_world *world = user;
	int part = part_of(world, inode);

	if (part < 0)
		return -EFAULT;
	*ret_mode = world->state.policy_modes[part];
	*ret_nodes = world->state.policy_nodes[part];
	return 0;
}

static uint64_t huge_bytes(void *user, uint64_t inode)
{
	struct fault_world *world = user;

	return world->memory == FAULT_MEMORY_HUGETLB && part_of(world, inode) >= 0 ? HUGE_PAGES * UINT64_C(4096) : 0;
}

static struct fault_window *find_window(struct fault_world *world, uint64_t address)
{
	for (size_t i = 0; i < FAULT_WORLD_WINDOWS; i++)
		if (world->windows[i].length && address - world->windows[i].address < world->windows[i].length)
			return &world->windows[i];
	return NULL;
}

static void on_map(void *user, uint64_t inode, uint64_t offset, uint64_t address, uint64_t length, bool is_mapped)
{
	struct fault_world *world = user;
	int part = part_of(world, inode);
	struct fault_window *window;

	if (part < 0 || world->memory != FAULT_MEMORY_UNMAPPED)
		return;
	pthread_mutex_lock(&world->lock);
	window = find_window(world, is_mapped ? 0 : address);
	for (size_t i = 0; is_mapped && !window && i < FAULT_WORLD_WINDOWS; i++)
		if (!world->windows[i].length)
			window = &world->windows[i];
	assert(window);
	*window = (struct fault_window){part, offset, address, length};
	if (is_mapped)
		show_window(world, window);
	else
		window->length = 0;
	pthread_mutex_unlock(&world->lock);
}

/*
 * The place of a page in the state: of the guest's page table, or of the file in a window of ours. Whoever takes a huge
 * page for small ones gets all of it (mm/migrate.c add_page_for_migration).
 */
static int8_t *place_of(struct fault_world *world, uint64_t address)
{
	const struct fault_window *window = find_window(world, address);
	int part = address >= starts[0] ? 0 : 1;

	if (is_huge(world))
		address -= address % (HUGE_PAGES * UINT64_C(4096));
	if (window)
		return &world->state.file_nodes[(size_t)window->part * FAULT_WORLD_PART_PAGES +
						(window->offset + address - window->address) / 4096];
	return &world->state.nodes[(size_t)part * FAULT_WORLD_PART_PAGES + (address - starts[part]) / 4096];
}

/* A call that fails in its middle has moved some pages and written no status (mm/migrate.c
 * do_pages_move). */
static long fake_move(void *user, pid_t pid, size_t count, void *const *addresses, const int *nodes,
		      int *status)
{
	struct fault_world *world = user;
	int error = fault_gate_pass("move_pages");
	size_t moved = error == 0 ? count : error == -EACCES ? 0 : count / 2;

	fault_gate_enter_fake();
	pthread_mutex_lock(&world->lock);
	world->moves++;
	for (size_t i = 0; i < moved; i++) {
		int8_t *place = place_of(world, (uint64_t)(uintptr_t)addresses[i]);

		if (*place == FAULT_WORLD_ABSENT) {
			world->absent_moves++;
			status[i] = -ENOENT;
			continue;
		}
		memset(place, nodes[i], is_huge(world) ? HUGE_PAGES : 1);
		if (error == 0)
			status[i] = nodes[i];
	}
	show(world);
	pthread_mutex_unlock(&world->lock);
	fault_gate_leave_fake();
	return error;
}

static int fake_look(void *user, pid_t pid, const uint64_t *addresses, size_t count, int *places)
{
	struct fault_world *world = user;
	int error = fault_gate_pass("look");

	if (error)
		return error;
	pthread_mutex_lock(&world->lock);
	for (size_t i = 0; i < count; i++) {
		int node = *place_of(world, addresses[i]);

		places[i] = node == FAULT_WORLD_ABSENT ? PAGE_SURVEY_PLACE_ABSENT : node;
	}
	pthread_mutex_unlock(&world->lock);
	return 0;
}

static void fake_touch(void *user, pid_t pid, const uint64_t *addresses, size_t count)
{
	fault_gate_pass("touch");
}

static int fake_is_huge(void *user, pid_t pid, uint64_t address)
{
	int error = fault_gate_pass("is_huge");

	return error ? error : 1;
}

static uint64_t fake_now(void *user)
{
	struct fault_world *world = user;
	uint64_t now;

	pthread_mutex_lock(&world->lock);
	now = (uint64_t)world->moves * 1000000;
	pthread_mutex_unlock(&world->lock);
	return now;
}

/* ---- what does not change ---- */

static void part_path(int part, char *path, size_t size)
{
	snprintf(path, size, "/proc/%d/map_files/%llx-%llx", (int)getpid(), (unsigned long long)starts[part],
		 (unsigned long long)(starts[part] + PART_BYTES));
}

static int open_part(const struct fault_world *world, int part)
{
	char path[128], full[256];
	int fd;

	part_path(part, path, sizeof(path));
	snprintf(full, sizeof(full), "%s%s", world->fixture.tree.root, path);
	fd = open(full, O_RDWR | O_CLOEXEC);
	assert(fd >= 0);
	return fd;
}

static void write_memory(struct fault_world *world)
{
	struct fixture_tree *tree = &world->fixture.tree;
	char path[256], full[512], maps[512] = "";

	for (int part = FAULT_WORLD_PARTS; part-- > 0;) {
		struct stat data;
		size_t length = strlen(maps);

		part_path(part, path, sizeof(path));
		fixture_tree_write(tree, path, "%s", "");
		snprintf(full, sizeof(full), "%s%s", tree->root, path);
		assert(truncate(full, (off_t)PART_BYTES) == 0 && stat(full, &data) == 0);
		world->inodes[part] = data.st_ino;
		snprintf(maps + length, sizeof(maps) - length,
			 "%llx-%llx rw-s 00000000 %02x:%02x %llu /memfd:memory-backend-memfd "
			 "(deleted)\n",
			 (unsigned long long)starts[part],
			 (unsigned long long)(starts[part] + PART_BYTES), major(data.st_dev),
			 minor(data.st_dev), (unsigned long long)data.st_ino);
		/* What QEMU made first has the lower descriptor. */
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), 20 + part);
		fixture_tree_link(tree, path, full);
	}
	snprintf(path, sizeof(path), "/proc/%d/fd/0", (int)getpid());
	fixture_tree_link(tree, path, "/dev/null");
	write_process(world, "maps", maps);
	write_process(world, "status", "Name:\tqemu\nVmLck:\t0 kB\nVmPin:\t0 kB\n");
	write_process(world, "cgroup", "0::" GROUP "/emulator\n");
	write_process(world, "task/1/comm", "CPU 0/KVM\n");
	write_process(world, "task/1/status", "Name:\tCPU 0/KVM\nCpus_allowed_list:\t0-3\n");
	fixture_tree_write(tree, "/proc/zoneinfo", "%s", "");
	fixture_tree_write(tree, "/proc/kpageflags", "%s", "");
}

static void write_host(struct fault_world *world)
{
	struct fixture_tree *tree = &world->fixture.tree;
	char path[128];

	fixture_tree_write(tree, "/sys/devices/system/node/online", "0-3\n");
	for (int node = 0; node < FAULT_WORLD_NODES; node++) {
		fixture_tree_add_block(tree, (unsigned)node, node, "online", "Normal");
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
		fixture_tree_write(tree, path, "Node %d MemTotal: 16384 kB\n", node);
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
		fixture_tree_write(tree, path, "%d-%d\n", node * 4, node * 4 + 3);
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/distance", node);
		fixture_tree_write(tree, path, "10 20 20 20\n");
	}
	fixture_tree_write(tree, "/proc/sys/kernel/numa_balancing", "1\n");
	fixture_tree_write(tree, "/sys/fs/cgroup/cgroup.controllers", "cpuset memory\n");
	show_group(world, "/machine.slice", "", "0-3");
	for (size_t i = 0; i < FAULT_WORLD_GROUPS; i++) {
		snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cgroup.procs", groups[i]);
		fixture_tree_write(tree, path, "%s", "");
	}
	fixture_tree_write(tree, "/sys/fs/cgroup" GROUP "/cgroup.procs", "%s", "");
	fixture_tree_write(tree, "/sys/fs/cgroup" SCOPE "/memory.numa_stat",
			   "anon N0=0 N1=0\nshmem N0=0 N1=0\n");
}

/* Small pages: every 50th is absent, and of these every other one is in the file alone, if any is. */
static void lay_page(struct fault_state *state, enum fault_memory memory, size_t page)
{
	int8_t node = page < FAULT_WORLD_PART_PAGES ? 2 : 1;
	bool is_huge = memory == FAULT_MEMORY_TRANSPARENT || memory == FAULT_MEMORY_HUGETLB;
	bool is_absent = is_huge ? page / HUGE_PAGES == 1 : page % 50 == 49;
	bool is_in_file = memory == FAULT_MEMORY_UNMAPPED && page % 100 == 49;

	state->nodes[page] = is_absent ? FAULT_WORLD_ABSENT : node;
	state->file_nodes[page] = is_absent && is_in_file ? node : FAULT_WORLD_ABSENT;
}

/* What the guest's files hold, for the kernel itself: it is asked what lies in them. */
static void fill_files(struct fault_world *world)
{
	static const char page[4096] = "page";

	for (int part = 0; part < FAULT_WORLD_PARTS; part++) {
		int fd = open_part(world, part);

		for (size_t i = 0; i < FAULT_WORLD_PART_PAGES; i++)
			if (fault_world_node(&world->initial, (size_t)part * FAULT_WORLD_PART_PAGES + i) !=
			    FAULT_WORLD_ABSENT)
				assert(pwrite(fd, page, sizeof(page), (off_t)(i * sizeof(page))) == sizeof(page));
		close(fd);
	}
}

/* What tells of pages that were written, and of huge ones. */
static void write_kinds(struct fault_world *world)
{
	struct fixture_tree *tree = &world->fixture.tree;
	/* A compound page's head, and transparent (include/uapi/linux/kernel-page-flags.h). */
	uint64_t flags = UINT64_C(1) << 15 | UINT64_C(1) << 22, written = UINT64_C(1) << 63 | SOFT_DIRTY | 1;

	if (world->memory == FAULT_MEMORY_TOUCHED) {
		write_process(world, "clear_refs", "");
		write_entries(world, (uintptr_t)page_heat_probe_page(), &written, 1);
		world->fixture.context.heat_watch_ms = 1;
	}
	for (uint64_t frame = 0; is_huge(world) && frame < FAULT_WORLD_NODES * BLOCK_PAGES; frame += HUGE_PAGES)
		fixture_tree_write_at(tree, "/proc/kpageflags", frame * sizeof(flags), &flags, sizeof(flags));
}

void fault_world_init(struct fault_world *world, enum fault_memory memory)
{
	struct fault_state *state = &world->initial;
	struct worker_job *job = &world->fixture.job;
	struct fault_gate_file_ops files = {set_policy, get_policy, huge_bytes, on_map, world};

	memset(world, 0, sizeof(*world));
	world->memory = memory;
	pthread_mutex_init(&world->lock, NULL);
	job_fixture_init(&world->fixture, STEP_KIND_PROBE);
	write_host(world);
	write_memory(world);
	for (size_t i = 0; i < FAULT_WORLD_PAGES; i++)
		lay_page(state, memory, i);
	if (memory == FAULT_MEMORY_UNMAPPED)
		fill_files(world);
	for (size_t i = 0; i < FAULT_WORLD_GROUPS; i++)
		strcpy(state->mems[i], "1-2");
	for (int part = 0; part < FAULT_WORLD_PARTS; part++) {
		state->policy_modes[part] = MPOL_BIND;
		state->policy_nodes[part] = part == 0 ? 1 << 2 : 1 << 1;
		job->ram_sizes[part] = PART_BYTES;
		job->ram_cells[part] = (int8_t)part;
	}
	job->ram_size_count = FAULT_WORLD_PARTS;
	state->pools[1] = 10;
	state->pools[3] = 4;
	world->ops = (struct page_move_ops){.move = fake_move,
					    .look = fake_look,
					    .touch = fake_touch,
					    .is_huge = fake_is_huge,
					    .now_ns = fake_now,
					    .user = world};
	world->fixture.context.move_ops = &world->ops;
	write_kinds(world);
	fixture_tree_set_hooks(&world->fixture.tree, on_write, world);
	fault_gate_set_file_ops(&files);
	fault_world_reset(world);
}

void fault_world_done(struct fault_world *world)
{
	fault_gate_set_file_ops(NULL);
	job_fixture_done(&world->fixture);
	pthread_mutex_destroy(&world->lock);
}

void fault_world_reset(struct fault_world *world)
{
	world->state = world->initial;
	world->moves = world->writes = world->absent_moves = 0;
	for (int node = 0; node < FAULT_WORLD_NODES; node++)
		world->huge_room[node] = node == 0 || node == 3 ? ROOM_LITTLE : ROOM_ENOUGH;
	show_huge_room(world);
	show(world);
}

bool fault_world_is_initial(const struct fault_world *world)
{
	return memcmp(&world->state, &world->initial, sizeof(world->state)) == 0;
}

int fault_world_node(const struct fault_state *state, size_t page)
{
	return state->nodes[page] == FAULT_WORLD_ABSENT ? state->file_nodes[page] : state->nodes[page];
}

uint64_t fault_world_bytes_on(const struct fault_world *world, const int8_t *nodes, int part,
			      int node)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < FAULT_WORLD_PART_PAGES; i++)
		if (nodes[(size_t)part * FAULT_WORLD_PART_PAGES + i] == node)
			bytes += 4096;
	return bytes;
}

uint64_t fault_world_add_holder(struct fault_world *world)
{
	struct stat status = {0};
	char path[128];

	fixture_tree_write(&world->fixture.tree, "/sys/fs/cgroup/holder/cgroup.procs", "%d\n", (int)getpid());
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)getpid());
	fixture_tree_write(&world->fixture.tree, path, "%d (holder) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 9\n",
			   (int)getpid(), JOB_FIXTURE_START_TIME);
	snprintf(path, sizeof(path), "/proc/%d/fd/31", (int)getpid());
	fixture_tree_link(&world->fixture.tree, path, "anon_inode:kvm-vm");
	snprintf(path, sizeof(path), "%s/sys/fs/cgroup/holder", world->fixture.tree.root);
	assert(stat(path, &status) == 0);
	return status.st_ino;
}

void fault_world_add_userfaultfd(struct fault_world *world)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/30", (int)getpid());
	fixture_tree_link(&world->fixture.tree, path, "anon_inode:[userfaultfd]");
}

void fault_world_reuse_pid(struct fault_world *world, bool is_other)
{
	char text[128];

	snprintf(text, sizeof(text), "%d (qemu) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n",
		 (int)getpid(), is_other ? JOB_FIXTURE_START_TIME + 1 : JOB_FIXTURE_START_TIME);
	write_process(world, "stat", text);
}
