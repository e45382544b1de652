/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "node_mask.h"
#include "size_text.h"
#include "sysroot.h"

#define RAM_MAX (SNAPSHOT_CELLS_MAX + SNAPSHOT_DEVICES_MAX)

/* The lowest descriptor of each range's file, -1 for none. */
static int find_descriptors(const struct sysroot *sysroot, pid_t pid, const struct guest_map *map,
			    int *fds)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	int rc = sysroot_list(sysroot, &names, "/proc/%d/fd", (int)pid);

	for (size_t i = 0; i < map->count; i++)
		fds[i] = -1;
	if (rc)
		return rc == -ENOENT ? -ESRCH : rc;
	for (size_t n = 0; n < names.count; n++) {
		uint64_t number;
		struct stat status;
		CLEANUP_CLOSE int fd = -1;

		if (size_text_parse_number(names.names[n], 10, &number) || number > INT32_MAX)
			continue;
		fd = sysroot_open(sysroot, O_PATH, "/proc/%d/fd/%s", (int)pid, names.names[n]);
		if (fd == -ENOENT) /* closed meanwhile */
			continue;
		if (fd < 0 || fstat(fd, &status))
			return fd < 0 ? fd : -errno;
		for (size_t i = 0; i < map->count; i++)
			if (map->ranges[i].inode && map->ranges[i].inode == status.st_ino &&
			    map->ranges[i].device == status.st_dev &&
			    (fds[i] < 0 || fds[i] > (int)number))
				fds[i] = (int)number;
	}
	return 0;
}

/* The ranges of this size from the highest address down; their count. */
static size_t list_same_size(const struct guest_map *map, uint64_t bytes, size_t *indexes,
			     size_t limit)
{
	size_t count = 0;

	for (size_t i = map->count; i-- > 0;)
		if (map->ranges[i].end - map->ranges[i].start == bytes && count++ < limit)
			indexes[count - 1] = i;
	return count;
}

/* Of the files, from the highest address down: the descriptors rise, because none was closed in between. */
static bool is_made_in_order(const int *fds, const size_t *indexes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[indexes[i]] < 0 || (i > 0 && fds[indexes[i]] <= fds[indexes[i - 1]]))
			return false;
	return true;
}

/*
 * Memory without a file leaves no descriptors. Where libvirt bound each cell to nodes of its own, and the kernel shows
 * these very nodes in the order of the addresses, both traces agree.
 */
static bool is_bound_in_order(const struct guest_map *map, const size_t *indexes, const uint64_t *nodes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct guest_range *range = &map->ranges[indexes[i]];

		if (range->inode || !range->has_policy || range->has_mixed_policies || !nodes[i] ||
		    node_mask_from_set(&range->policy.nodes) != nodes[i])
			return false;
		/* Two that are bound alike tell nothing. */
		for (size_t n = 0; n < i; n++)
			if (nodes[n] == nodes[i])
				return false;
	}
	return true;
}

/* libvirt names the object of cell N "ram-nodeN". Believed where a cell of that number has that size. */
static void take_named_cell(const struct worker_job *job, const struct guest_map *map, size_t index, int8_t *entries,
			    int8_t *cells)
{
	const struct guest_range *range = &map->ranges[index];
	static const char prefix[] = "ram-node";
	uint64_t number;

	if (strncmp(range->object, prefix, strlen(prefix)) != 0 ||
	    size_text_parse_number(range->object + strlen(prefix), 10, &number) || number >= SNAPSHOT_CELLS_MAX)
		return;
	for (size_t i = 0; i < job->ram_size_count; i++) {
		if (job->ram_cells[i] != (int8_t)number || job->ram_sizes[i] != range->end - range->start)
			continue;
		cells[index] = (int8_t)number;
		/* Which of those of one size it is: the cell itself, and no device in it. */
		if (job->ram_blocks[i])
			continue;
		for (size_t other = 0; other < map->count; other++)
			if (entries[other] == (int8_t)i)
				entries[other] = -1;
		entries[index] = (int8_t)i;
	}
}

void guest_view_assign_ram(const struct worker_job *job, const struct guest_map *map, const int *fds, int8_t *entries,
			   int8_t *cells)
{
	for (size_t i = 0; i < map->count; i++)
		entries[i] = cells[i] = -1;
	for (size_t s = 0; s < job->ram_size_count; s++) {
		int8_t same[RAM_MAX];
		uint64_t same_nodes[RAM_MAX];
		size_t indexes[RAM_MAX], wanted = 0, found;
		bool is_one_cell = true, is_told;

		for (size_t i = 0; i < job->ram_size_count; i++) {
			if (job->ram_sizes[i] != job->ram_sizes[s])
				continue;
			same_nodes[wanted] = job->ram_nodes[i];
			same[wanted++] = (int8_t)i;
			is_one_cell &= job->ram_cells[i] == job->ram_cells[s];
		}
		found = list_same_size(map, job->ram_sizes[s], indexes, RAM_MAX);
		if (found != wanted)
			continue;
		is_told = wanted == 1 || is_made_in_order(fds, indexes, found) ||
			  is_bound_in_order(map, indexes, same_nodes, found);
		for (size_t i = 0; i < found; i++) {
			if (is_told)
				entries[indexes[i]] = same[i];
			if (is_told || is_one_cell)
				cells[indexes[i]] = job->ram_cells[same[i]];
		}
	}
	/* A name is QEMU's own word; an order is only a trace. */
	for (size_t i = 0; i < map->count; i++)
		take_named_cell(job, map, i, entries, cells);
}

bool guest_view_open(struct guest_view *view, struct job_context *context, bool with_policies)
{
	const struct worker_job *job = context->job;
	struct guest_map_options options = {
		.expected_bytes = job->ram_sizes,
		.expected_count = job->ram_size_count,
		/* Cells without files are told apart by their policies. */
		.with_policies = with_policies || job->step.by_cells,
	};
	CLEANUP_FREE int *fds = NULL;
	char object[96];
	int rc;

	*view = (struct guest_view){.identity = PROCESS_IDENTITY_NONE};
	rc = process_identity_open_expected(context->sysroot, job->process.pid,
					    job->process.start_time, &view->identity);
	if (!rc)
		rc = guest_map_read(context->sysroot, job->process.pid, &options, &view->map);
	if (!rc)
		rc = physical_map_read(context->sysroot, &view->physical);
	if (!rc) {
		view->entries = calloc(view->map.count + 1, sizeof(*view->entries));
		view->cells = calloc(view->map.count + 1, sizeof(*view->cells));
		fds = calloc(view->map.count + 1, sizeof(*fds));
		rc = view->entries && view->cells && fds ? 0 : -ENOMEM;
	}
	if (!rc)
		rc = find_descriptors(context->sysroot, job->process.pid, &view->map, fds);
	if (rc == -ESRCH || rc == -ESTALE) {
		job_context_guest_gone(context);
		return false;
	}
	if (rc) {
		job_context_fail(context, rc, job_context_guest(context, object),
				 "cannot read where its memory is");
		return false;
	}
	guest_view_assign_ram(job, &view->map, fds, view->entries, view->cells);
	return guest_view_is_same(view, context);
}

void guest_view_done(struct guest_view *view)
{
	process_identity_done(&view->identity);
	guest_map_done(&view->map);
	physical_map_free(view->physical);
	free(view->entries);
	free(view->cells);
	*view = (struct guest_view){.identity = PROCESS_IDENTITY_NONE};
}

bool guest_view_is_gone(const struct guest_view *view, struct job_context *context)
{
	if (process_identity_check(context->sysroot, &view->identity) != -ESRCH)
		return false;
	job_context_guest_gone(context);
	return true;
}

bool guest_view_is_same(const struct guest_view *view, struct job_context *context)
{
	char object[96];
	int rc = process_identity_check(context->sysroot, &view->identity);

	if (rc == -ESRCH)
		job_context_guest_gone(context);
	else if (rc)
		job_context_fail(context, rc, job_context_guest(context, object),
				 "cannot see whether its process is still the same");
	return rc == 0;
}

bool guest_view_is_touchable(const struct guest_view *view, struct job_context *context)
{
	char object[96];

	if (!view->map.userfaultfd_count)
		return true;
	/* Touching a page that is absent would lose data of a post-copy migration. */
	remainder_list_add(&context->result->remainder, REMAINDER_USERFAULTFD,
			   job_context_guest(context, object), 0, NULL,
			   "%u descriptors of userfaultfd", view->map.userfaultfd_count);
	job_context_settle(context, object, 0, false);
	return false;
}

int guest_view_check_userfaultfd(const struct guest_view *view, const struct sysroot *sysroot)
{
	unsigned userfaultfd = 0, vfio = 0;
	int rc = guest_map_count_descriptors(sysroot, view->identity.pid, &userfaultfd, &vfio);

	return rc ? rc : userfaultfd ? -EBUSY : 0;
}

struct page_survey_range guest_view_range(const struct guest_view *view, size_t index)
{
	const struct guest_range *range = &view->map.ranges[index];

	return (struct page_survey_range){
		.start = range->start, .end = range->end, .page_bytes = range->page_bytes};
}
