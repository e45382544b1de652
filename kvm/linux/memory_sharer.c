/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_sharer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "cleanup.h"
#include "guest_map.h"
#include "process_status.h"
#include "sysroot.h"

/* Some 60000 mappings: a process that has more is no back end of a guest. */
#define MAPS_LIMIT ((size_t)8 << 20)

static bool is_file(const struct guest_range *range)
{
	return range->inode != 0 && range->is_shared;
}

/* Bytes of this line of maps that are one of the guest's files. */
static uint64_t shared_bytes(const struct guest_map *map, const char *line)
{
	uint64_t start, end, inode;
	unsigned major_number, minor_number;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*4s %*x %x:%x %" SCNu64, &start, &end, &major_number, &minor_number,
		   &inode) != 5 ||
	    inode == 0 || end < start)
		return 0;
	for (size_t i = 0; i < map->count; i++)
		if (is_file(&map->ranges[i]) && map->ranges[i].inode == inode &&
		    map->ranges[i].device == makedev(major_number, minor_number))
			return end - start;
	return 0;
}

static uint64_t count_shared(const struct guest_map *map, char *maps)
{
	uint64_t bytes = 0;
	char *save = NULL;

	for (char *line = strtok_r(maps, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		bytes += shared_bytes(map, line);
	return bytes;
}

static void add(struct memory_sharer_list *list, const struct memory_sharer *sharer)
{
	size_t at;

	list->total++;
	list->pinned_bytes += sharer->pinned_bytes;
	for (at = 0; at < list->count; at++)
		if (list->sharers[at].pinned_bytes < sharer->pinned_bytes)
			break;
	if (at == MEMORY_SHARER_MAX)
		return;
	if (list->count < MEMORY_SHARER_MAX)
		list->count++;
	memmove(&list->sharers[at + 1], &list->sharers[at], (list->count - at - 1) * sizeof(*sharer));
	list->sharers[at] = *sharer;
}

/*
 * It has ended, or is not to be asked: a security module, or a container of its own, may keep root out too. A guest's
 * survey must not fail for a stranger's sake. Returns what is an error all the same.
 */
static int pass_by(struct memory_sharer_list *list, int error)
{
	if (error == -ENOENT || error == -ESRCH)
		return 0;
	if (error != -EACCES && error != -EPERM && error != -EOVERFLOW)
		return error;
	list->unseen++;
	return 0;
}

/* 0 too where the process is passed by. */
static int look_at(const struct sysroot *sysroot, pid_t pid, const struct guest_map *map, bool is_plain_file,
		   struct memory_sharer_list *list)
{
	CLEANUP_FREE char *maps = NULL;
	struct memory_sharer sharer = {.pid = pid};
	struct process_status status;
	int error = process_status_read(sysroot, pid, &status);

	if (error < 0)
		return pass_by(list, error);
	if (!status.has_memory)
		return 0;
	/* Pages of a plain file count as RssFile, which every program has. */
	if (!is_plain_file && !status.shared_bytes && !status.huge_bytes)
		return 0;
	error = sysroot_read_all(sysroot, MAPS_LIMIT, &maps, NULL, "/proc/%d/maps", (int)pid);
	if (error < 0)
		return pass_by(list, error);
	sharer.mapped_bytes = count_shared(map, maps);
	if (sharer.mapped_bytes == 0)
		return 0;
	sharer.pinned_bytes = status.pinned_bytes;
	if (sharer.pinned_bytes > sharer.mapped_bytes)
		sharer.pinned_bytes = sharer.mapped_bytes;
	memcpy(sharer.name, status.name, sizeof(sharer.name));
	add(list, &sharer);
	return 0;
}

int memory_sharer_find(const struct sysroot *sysroot, pid_t pid, const struct guest_map *map,
		       struct memory_sharer_list *ret_list)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	struct memory_sharer_list list = {0};
	bool has_file = false, is_plain_file = false;
	int error;

	for (size_t i = 0; i < map->count; i++) {
		has_file |= is_file(&map->ranges[i]);
		is_plain_file |= is_file(&map->ranges[i]) && map->ranges[i].backing == GUEST_BACKING_FILE;
	}
	*ret_list = list;
	if (!has_file)
		return 0;
	error = sysroot_list(sysroot, &names, "/proc");
	for (size_t i = 0; error == 0 && i < names.count; i++) {
		int64_t number = sysroot_name_number(names.names[i], "", NULL);

		if (number > 0 && number <= INT32_MAX && number != pid)
			error = look_at(sysroot, (pid_t)number, map, is_plain_file, &list);
	}
	if (error == 0)
		*ret_list = list;
	return error;
}
