/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/PID/maps is cut into runs (neighbouring mappings of one thing), and each run is judged
 * once:
 *
 *   maps -> mapping[] -> run (first..last mapping) -> is it RAM?  -> guest_range
 *                                                     by name, file system, or expected size
 *
 * QEMU maps each RAM block on its own with an inaccessible guard page behind it
 * (util/mmap-alloc.c), so two blocks never join; what the kernel splits (policies, madvise) is
 * joined again here.
 */
#include "guest_map.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "cleanup.h"
#include "hugepage_pool.h"
#include "process_status.h"
#include "sysroot.h"

#define MAPS_LIMIT ((size_t)64 << 20)
/* No guest has a RAM region smaller than this; QEMU's own small shared mappings fall out. */
#define RAM_MIN_BYTES ((uint64_t)1 << 20)

static const char *const backing_names[GUEST_BACKING_COUNT] = {
	[GUEST_BACKING_ANON] = "anon",
	[GUEST_BACKING_MEMFD] = "memfd",
	[GUEST_BACKING_FILE] = "file",
	[GUEST_BACKING_HUGETLB] = "hugetlb",
};
NAME_TABLE_DEFINE(guest_backing, backing_names)

struct mapping {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	uint64_t device;
	uint64_t inode;
	bool is_writable;
	bool is_shared;
	char name[64]; /* without " (deleted)" */
	char object[40];
};

struct mapping_list {
	struct mapping *mappings; /* owned */
	size_t count;
};

struct reading {
	const struct sysroot *sysroot;
	pid_t pid;
	const struct guest_map_options *options;
	uint64_t expected_sum;
	bool *found; /* owned; by expected size */
	size_t room;
	struct guest_map map; /* owned until handed over */
};

static void mapping_list_done(struct mapping_list *list)
{
	free(list->mappings);
	*list = (struct mapping_list){0};
}

static void reading_done(struct reading *reading)
{
	free(reading->found);
	guest_map_done(&reading->map);
}

/*
 * The memory object that a path is named after, cut from its last part; nothing where it is not named so, or does not
 * fit: a name that was cut could be another's.
 */
static void find_object(const char *path, size_t length, char *object, size_t size)
{
	static const char prefix[] = "qemu_back_mem.", canonical[] = "_objects_", cell[] = "ram-node";
	const char *last = memrchr(path, '/', length), *end = path + length;

	if (!last)
		return;
	last++;
	if ((size_t)(end - last) > strlen(prefix) && strncmp(last, prefix, strlen(prefix)) == 0) {
		const char *dot = memrchr(last + strlen(prefix), '.', (size_t)(end - last) - strlen(prefix));

		last += strlen(prefix);
		if (!dot)
			return;
		end = dot;
		/* Some machine types name memory by its whole path among QEMU's objects. */
		if ((size_t)(end - last) > strlen(canonical) && strncmp(last, canonical, strlen(canonical)) == 0)
			last += strlen(canonical);
	} else if (strncmp(last, cell, strlen(cell)) != 0) {
		return;
	}
	if ((size_t)(end - last) < size)
		memcpy(object, last, (size_t)(end - last));
}

/* "7f0000000000-7f0020000000 rw-s 00000000 00:01 1025    /memfd:memory-backend-memfd (deleted)" */
static int parse_mapping(const char *line, struct mapping *ret_mapping)
{
	static const char deleted[] = " (deleted)";
	struct mapping mapping = {0};
	unsigned major_number, minor_number;
	char permissions[5];
	int name_at = 0;
	size_t length;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n",
		   &mapping.start, &mapping.end, permissions, &mapping.offset, &major_number,
		   &minor_number, &mapping.inode, &name_at) < 7 ||
	    mapping.end <= mapping.start || strlen(permissions) != 4)
		return -EBADMSG;
	mapping.device = makedev(major_number, minor_number);
	mapping.is_writable = permissions[0] == 'r' && permissions[1] == 'w';
	mapping.is_shared = permissions[3] == 's';
	length = name_at ? strlen(line + name_at) : 0;
	if (length >= strlen(deleted) &&
	    strcmp(line + name_at + length - strlen(deleted), deleted) == 0)
		length -= strlen(deleted);
	if (mapping.inode)
		find_object(line + name_at, length, mapping.object, sizeof(mapping.object));
	if (length >= sizeof(mapping.name))
		length = sizeof(mapping.name) - 1;
	if (length)
		memcpy(mapping.name, line + name_at, length);
	*ret_mapping = mapping;
	return 0;
}

static int read_mappings(const struct sysroot *sysroot, pid_t pid, struct mapping_list *ret_list)
{
	CLEANUP(mapping_list_done) struct mapping_list list = {0};
	CLEANUP_FREE char *text = NULL;
	size_t room = 0;
	char *save = NULL;
	int error = sysroot_read_all(sysroot, MAPS_LIMIT, &text, NULL, "/proc/%d/maps", (int)pid);

	if (error < 0)
		return error == -ENOENT ? -ESRCH : error;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (list.count == room) {
			struct mapping *larger;

			room = room ? room * 2 : 256;
			larger = reallocarray(list.mappings, room, sizeof(*larger));
			if (!larger)
				return -ENOMEM;
			list.mappings = larger;
		}
		error = parse_mapping(line, &list.mappings[list.count]);
		if (error < 0)
			return error;
		list.count++;
	}
	*ret_list = list;
	list = (struct mapping_list){0};
	return 0;
}

/* Anonymous memory without a name of its own: neither heap nor stack nor vdso. */
static bool is_plain_anonymous(const struct mapping *mapping)
{
	return mapping->inode == 0 && !mapping->is_shared && mapping->name[0] == '\0';
}

static bool continues(const struct mapping *previous, const struct mapping *next)
{
	if (previous->end != next->start || !next->is_writable ||
	    previous->is_shared != next->is_shared)
		return false;
	if (is_plain_anonymous(previous))
		return is_plain_anonymous(next);
	return previous->inode != 0 && previous->inode == next->inode &&
	       previous->device == next->device &&
	       previous->offset + (previous->end - previous->start) == next->offset;
}

/* Marks one expected size, or all where bytes is their sum. True where bytes was expected. */
static bool expect(struct reading *reading, uint64_t bytes)
{
	const struct guest_map_options *options = reading->options;
	bool is_expected = false;

	for (size_t i = 0; i < options->expected_count; i++) {
		if (options->expected_bytes[i] != bytes)
			continue;
		is_expected = true;
		if (!reading->found[i]) {
			reading->found[i] = true;
			return true;
		}
	}
	if (!is_expected && options->expected_count > 1 && bytes == reading->expected_sum) {
		memset(reading->found, true, options->expected_count);
		return true;
	}
	return is_expected;
}

static int add_range(struct reading *reading, const struct mapping *first,
		     const struct mapping *last, enum guest_backing backing, uint64_t page_bytes, bool is_shmem)
{
	struct guest_map *map = &reading->map;

	if (map->count == reading->room) {
		size_t room = reading->room ? reading->room * 2 : 8;
		struct guest_range *larger = reallocarray(map->ranges, room, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		map->ranges = larger;
		reading->room = room;
	}
	struct guest_range *range = &map->ranges[map->count++];

	*range = (struct guest_range){
		.start = first->start,
		.end = last->end,
		.backing = backing,
		.page_bytes = page_bytes,
		.is_shared = first->is_shared,
		.is_shmem = is_shmem,
		.offset = first->inode ? first->offset : 0,
		.device = first->device,
		.inode = first->inode,
		.first_end = first->end,
	};
	memcpy(range->name, first->name, sizeof(range->name));
	memcpy(range->object, first->object, sizeof(range->object));
	map->ram_bytes += range->end - range->start;
	return 0;
}

/* Or shared anonymous memory, which is one to the kernel. */
static bool is_memfd(const struct mapping *mapping)
{
	return strncmp(mapping->name, "/memfd:", 7) == 0 || strcmp(mapping->name, "/dev/zero") == 0;
}

/* The number of the process' descriptor of that file, -ENOENT: it has none, or -errno where that cannot be told. */
static int find_descriptor(const struct sysroot *sysroot, pid_t pid, uint64_t device,
			   uint64_t inode)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	int error = sysroot_list(sysroot, &names, "/proc/%d/fd", (int)pid), unknown = -ENOENT;

	if (error < 0)
		return error;
	for (size_t i = 0; i < names.count; i++) {
		CLEANUP_CLOSE int fd = -1;
		struct stat data;
		int64_t number = sysroot_name_number(names.names[i], "", NULL);

		if (number < 0 || number > INT32_MAX)
			continue;
		fd = sysroot_open(sysroot, O_PATH, "/proc/%d/fd/%d", (int)pid, (int)number);
		error = fd < 0 ? fd : fstat(fd, &data) < 0 ? -errno : 0;
		if (!error && data.st_dev == device && data.st_ino == inode)
			return (int)number;
		/* It was closed meanwhile, or else it may have been the one. */
		if (error && error != -ENOENT)
			unknown = error;
	}
	return unknown;
}

/*
 * The huge page size behind a mapping, 0 where it lies on no hugetlbfs, and whether it is shmem. Asked of the file system
 * (f_bsize of hugetlbfs is its page size), because smaps would walk every page table for it.
 */
static int read_file_kind(struct reading *reading, const struct mapping *mapping, uint64_t *ret_huge_bytes,
			  bool *ret_is_shmem)
{
	uint64_t type, block_bytes;
	int error = sysroot_read_filesystem(reading->sysroot, &type, &block_bytes,
					    "/proc/%d/map_files/%" PRIx64 "-%" PRIx64,
					    (int)reading->pid, mapping->start, mapping->end);

	if (error < 0) {
		int number = find_descriptor(reading->sysroot, reading->pid, mapping->device,
					     mapping->inode);

		if (number >= 0)
			error = sysroot_read_filesystem(reading->sysroot, &type, &block_bytes,
							"/proc/%d/fd/%d", (int)reading->pid,
							number);
	}
	if (error == 0) {
		*ret_huge_bytes = type == HUGETLBFS_MAGIC ? block_bytes : 0;
		*ret_is_shmem = type == TMPFS_MAGIC;
		return 0;
	}
	/* Neither way is open to us: the usual mount point's name is all there is. */
	*ret_huge_bytes = 0;
	*ret_is_shmem = false;
	if (strstr(mapping->name, "/hugepages") ||
	    strncmp(mapping->name, "/anon_hugepage", 14) == 0)
		return hugepage_pool_read_default_size(reading->sysroot, ret_huge_bytes);
	*ret_is_shmem = is_memfd(mapping);
	return 0;
}

static int judge_file_run(struct reading *reading, const struct mapping *first,
			  const struct mapping *last)
{
	uint64_t bytes = last->end - first->start, huge_bytes;
	bool is_shmem, is_expected, is_named = strcmp(first->name, "/memfd:memory-backend-memfd") == 0;
	int error;

	if (bytes < RAM_MIN_BYTES)
		return 0;
	error = read_file_kind(reading, first, &huge_bytes, &is_shmem);
	if (error < 0)
		return error;
	is_expected = expect(reading, bytes);
	if (huge_bytes)
		return add_range(reading, first, last, GUEST_BACKING_HUGETLB, huge_bytes, false);
	if (is_named || is_expected)
		return add_range(reading, first, last,
				 is_memfd(first) ? GUEST_BACKING_MEMFD : GUEST_BACKING_FILE,
				 (uint64_t)sysconf(_SC_PAGESIZE), is_shmem);
	return 0;
}

/*
 * Anonymous memory has nothing but its size: any stretch of whole mappings that fits. A stretch
 * rather than the run, because memory of QEMU's own may lie right below a block.
 */
static int judge_anonymous_run(struct reading *reading, const struct mapping *first,
			       const struct mapping *last)
{
	for (const struct mapping *from = first; from <= last; from++) {
		for (const struct mapping *to = last; to >= from; to--) {
			uint64_t bytes = to->end - from->start;
			int error;

			if (bytes < RAM_MIN_BYTES)
				break;
			if (!expect(reading, bytes))
				continue;
			error = add_range(reading, from, to, GUEST_BACKING_ANON,
					  (uint64_t)sysconf(_SC_PAGESIZE), false);
			if (error < 0)
				return error;
			from = to;
			break;
		}
	}
	return 0;
}

static int judge_mappings(struct reading *reading, const struct mapping_list *list)
{
	for (size_t first = 0, last; first < list->count; first = last + 1) {
		const struct mapping *mapping = &list->mappings[first];
		int error = 0;

		last = first;
		if (!mapping->is_writable)
			continue;
		while (last + 1 < list->count &&
		       continues(&list->mappings[last], &list->mappings[last + 1]))
			last++;
		if (is_plain_anonymous(mapping))
			error = judge_anonymous_run(reading, mapping, &list->mappings[last]);
		else if (mapping->inode != 0)
			error = judge_file_run(reading, mapping, &list->mappings[last]);
		if (error < 0)
			return error;
	}
	return 0;
}

static void add_policy(struct guest_range *range, const struct memory_policy *policy)
{
	if (!range->has_policy)
		range->policy = *policy;
	else if (!memory_policy_is_equal(&range->policy, policy))
		range->has_mixed_policies = true;
	range->has_policy = true;
}

/* "7f0000000000 bind:2 file=/memfd:... dirty=512 N2=512 kernelpagesize_kB=4": one line a mapping. */
static bool parse_line(char *line, uint64_t *ret_address, struct memory_policy *ret_policy)
{
	int policy_at = 0;

	if (sscanf(line, "%" SCNx64 " %n", ret_address, &policy_at) < 1 || policy_at == 0)
		return false;
	line += policy_at;
	line[memory_policy_text_length(line)] = '\0';
	return memory_policy_parse(line, ret_policy) == 0;
}

static void take_policy(struct guest_map *map, const bool *done, char *line)
{
	struct memory_policy policy;
	uint64_t address;

	if (!parse_line(line, &address, &policy))
		return;
	for (size_t i = 0; i < map->count; i++) {
		struct guest_range *range = &map->ranges[i];

		if (!done[i] && address >= range->start && address < range->end)
			add_policy(range, &policy);
	}
}

/*
 * A file without a policy takes pages by that of the process (mm/mempolicy.c get_vma_policy), as numactl(8) gave it one.
 * numa_maps shows it for every mapping that has none of its own, as the first, the program's, has not. No more than that is
 * read: the kernel walks the page tables of what it shows. What cannot be told stays as it is.
 */
static void take_task_policy(struct reading *reading, struct memory_policy *policy)
{
	CLEANUP_CLOSE int fd = sysroot_open(reading->sysroot, O_RDONLY, "/proc/%d/numa_maps", (int)reading->pid);
	struct memory_policy found;
	char line[128];
	uint64_t address;
	ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);

	if (length <= 0)
		return;
	line[length] = '\0';
	if (!parse_line(line, &address, &found))
		return;
	for (size_t i = 0; i < reading->map.count; i++)
		if (address >= reading->map.ranges[i].start && address < reading->map.ranges[i].end)
			return;
	*policy = found;
}

/* The policies that the range's file keeps, one for each mapping of it. False: numa_maps has to be asked. */
static bool ask_file(struct reading *reading, const struct mapping_list *list, struct guest_range *range)
{
	CLEANUP_CLOSE int fd = -1;
	struct guest_range asked = *range;

	if (!range->is_shmem || !range->is_shared)
		return false;
	fd = guest_map_open_backing(reading->sysroot, reading->pid, range, NULL);
	for (size_t i = 0; fd >= 0 && i < list->count; i++) {
		const struct mapping *mapping = &list->mappings[i];
		struct memory_policy policy;

		if (mapping->start < range->start || mapping->start >= range->end)
			continue;
		if (memory_policy_read_shared(fd, mapping->offset, &policy) < 0)
			return false;
		if (policy.mode == MEMORY_POLICY_DEFAULT)
			take_task_policy(reading, &policy);
		add_policy(&asked, &policy);
	}
	if (asked.has_policy)
		*range = asked;
	return asked.has_policy;
}

/* A walk of the guest's page tables under its map lock is done only for memory whose policy nothing else tells. */
static int read_policies(struct reading *reading, const struct mapping_list *list)
{
	struct guest_map *map = &reading->map;
	CLEANUP_FREE bool *done = calloc(map->count + 1, sizeof(*done));
	CLEANUP_FREE char *text = NULL;
	char *save = NULL;
	bool is_told = true;
	int error;

	if (!done)
		return -ENOMEM;
	for (size_t i = 0; i < map->count; i++) {
		done[i] = ask_file(reading, list, &map->ranges[i]);
		is_told = is_told && done[i];
	}
	if (is_told)
		return 0;
	error = sysroot_read_all(reading->sysroot, MAPS_LIMIT, &text, NULL, "/proc/%d/numa_maps", (int)reading->pid);
	/* A kernel without NUMA has none. */
	if (error == -ENOENT)
		return 0;
	if (error < 0)
		return error;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		take_policy(map, done, line);
	return 0;
}

static int read_status(struct reading *reading)
{
	struct process_status status;
	int error = process_status_read(reading->sysroot, reading->pid, &status);

	if (error < 0)
		return error;
	reading->map.locked_bytes = status.locked_bytes;
	reading->map.pinned_bytes = status.pinned_bytes;
	return 0;
}

struct descriptors {
	unsigned userfaultfd, vfio, encryption;
	uint64_t private_bytes;
};

/* What one descriptor is, by the name that the kernel gives it. */
static int judge_descriptor(const struct sysroot *sysroot, pid_t pid, const char *number,
			    struct descriptors *descriptors)
{
	char target[256];
	struct stat data;
	CLEANUP_CLOSE int fd = -1;
	int error = sysroot_read_link(sysroot, target, sizeof(target), "/proc/%d/fd/%s", (int)pid,
				      number);

	/* Closed meanwhile, or longer than any name that matters. */
	if (error == -ENOENT || error == -EOVERFLOW)
		return 0;
	if (error < 0)
		return error;
	if (strcmp(target, "anon_inode:[userfaultfd]") == 0) {
		descriptors->userfaultfd++;
	} else if (strncmp(target, "/dev/vfio/", 10) == 0 || strcmp(target, "/dev/iommu") == 0 ||
		   strncmp(target, "/dev/vhost-vdpa", 15) == 0) {
		descriptors->vfio++;
	} else if (strcmp(target, "/dev/sev") == 0) {
		descriptors->encryption++;
	} else if (strstr(target, "[kvm-gmem]")) {
		/* virt/kvm/guest_memfd.c: an anonymous inode first, one of a file system of its own later; the name
		 * in brackets stayed. */
		fd = sysroot_open(sysroot, O_PATH, "/proc/%d/fd/%s", (int)pid, number);
		if (fd >= 0 && fstat(fd, &data) == 0 && data.st_size > 0)
			descriptors->private_bytes += (uint64_t)data.st_size;
	}
	return 0;
}

static int read_descriptors(const struct sysroot *sysroot, pid_t pid,
			    struct descriptors *ret_descriptors)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	struct descriptors descriptors = {0};
	int error = sysroot_list(sysroot, &names, "/proc/%d/fd", (int)pid);

	if (error < 0)
		return error == -ENOENT ? -ESRCH : error;
	for (size_t i = 0; i < names.count; i++) {
		if (sysroot_name_number(names.names[i], "", NULL) < 0)
			continue;
		error = judge_descriptor(sysroot, pid, names.names[i], &descriptors);
		if (error < 0)
			return error;
	}
	*ret_descriptors = descriptors;
	return 0;
}

int guest_map_count_descriptors(const struct sysroot *sysroot, pid_t pid, unsigned *ret_userfaultfd,
				unsigned *ret_vfio)
{
	struct descriptors descriptors;
	int error = read_descriptors(sysroot, pid, &descriptors);

	if (error < 0)
		return error;
	*ret_userfaultfd = descriptors.userfaultfd;
	*ret_vfio = descriptors.vfio;
	return 0;
}

int guest_map_read(const struct sysroot *sysroot, pid_t pid,
		   const struct guest_map_options *options, struct guest_map *ret_map)
{
	CLEANUP(reading_done)
	struct reading reading = {.sysroot = sysroot, .pid = pid, .options = options};
	CLEANUP(mapping_list_done) struct mapping_list list = {0};
	struct descriptors descriptors;
	int error = read_mappings(sysroot, pid, &list);

	if (error < 0)
		return error;
	reading.found = calloc(options->expected_count + 1, sizeof(*reading.found));
	if (!reading.found)
		return -ENOMEM;
	for (size_t i = 0; i < options->expected_count; i++)
		reading.expected_sum += options->expected_bytes[i];
	error = judge_mappings(&reading, &list);
	if (error == 0 && options->with_policies)
		error = read_policies(&reading, &list);
	if (error == 0)
		error = read_status(&reading);
	if (error == 0)
		error = read_descriptors(sysroot, pid, &descriptors);
	if (error < 0)
		return error;
	reading.map.userfaultfd_count = descriptors.userfaultfd;
	reading.map.vfio_count = descriptors.vfio;
	reading.map.encryption_count = descriptors.encryption;
	reading.map.private_bytes = descriptors.private_bytes;
	for (size_t i = 0; i < options->expected_count; i++)
		if (!reading.found[i])
			reading.map.missing_bytes += options->expected_bytes[i];
	*ret_map = reading.map;
	reading.map = (struct guest_map){0};
	return 0;
}

void guest_map_done(struct guest_map *map)
{
	free(map->ranges);
	*map = (struct guest_map){0};
}

int guest_map_open_backing(const struct sysroot *sysroot, pid_t pid,
			   const struct guest_range *range, uint64_t *ret_held_bytes)
{
	CLEANUP_CLOSE int fd = -1;
	struct stat data;
	int number;

	if (range->inode == 0)
		return -ENOENT;
	fd = sysroot_open(sysroot, O_RDWR, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid,
			  range->start, range->first_end);
	if (fd < 0) {
		number = find_descriptor(sysroot, pid, range->device, range->inode);
		if (number < 0)
			return number;
		fd = sysroot_open(sysroot, O_RDWR, "/proc/%d/fd/%d", (int)pid, number);
		if (fd < 0)
			return fd;
	}
	/* The mapping or descriptor may have become another file since the map was read. */
	if (fstat(fd, &data) < 0)
		return -errno;
	if (data.st_dev != range->device || data.st_ino != range->inode)
		return -ESTALE;
	if (ret_held_bytes)
		*ret_held_bytes = (uint64_t)data.st_blocks * 512;
	return TAKE_FD(fd);
}

bool guest_range_is_same_file(const struct guest_range *range, const struct guest_range *other)
{
	return range->inode == other->inode && range->device == other->device;
}

bool guest_range_has_window(const struct guest_range *range)
{
	return range->is_shared && (range->is_shmem || range->backing == GUEST_BACKING_HUGETLB);
}
