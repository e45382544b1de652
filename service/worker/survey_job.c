/* SPDX-License-Identifier: Apache-2.0 */
#include "survey_job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cgroup_memory.h"
#include "guest_view.h"
#include "memory_sharer.h"
#include "node_mask.h"
#include "numa_node.h"
#include "policy_job.h"
#include "survey_places.h"
#include "sysroot.h"
#include "wanted_policy.h"

/* The lists of processors of a large host, as /proc/PID/status prints them. */
#define STATUS_LIMIT (64 * 1024)

static const enum backing_kind backing_kinds[GUEST_BACKING_COUNT] = {
	[GUEST_BACKING_ANON] = BACKING_KIND_ANON,
	[GUEST_BACKING_MEMFD] = BACKING_KIND_MEMFD,
	[GUEST_BACKING_FILE] = BACKING_KIND_FILE,
	[GUEST_BACKING_HUGETLB] = BACKING_KIND_HUGETLB,
};

static const enum policy_mode policy_modes[MEMORY_POLICY_COUNT] = {
	[MEMORY_POLICY_DEFAULT] = POLICY_MODE_DEFAULT,
	[MEMORY_POLICY_PREFERRED] = POLICY_MODE_PREFERRED,
	[MEMORY_POLICY_BIND] = POLICY_MODE_BIND,
	[MEMORY_POLICY_INTERLEAVE] = POLICY_MODE_INTERLEAVE,
	[MEMORY_POLICY_LOCAL] = POLICY_MODE_DEFAULT,
	[MEMORY_POLICY_PREFERRED_MANY] = POLICY_MODE_PREFERRED,
	[MEMORY_POLICY_WEIGHTED_INTERLEAVE] = POLICY_MODE_INTERLEAVE,
};

static enum policy_mode mode_of(const struct memory_policy *policy)
{
	return wanted_policy_is_loose(policy) ? POLICY_MODE_BIND : policy_modes[policy->mode];
}

/* Parts with the same backing and several policies: mixed, on all of their nodes. */
static void join_policy(struct snapshot_backing *backing, enum policy_mode mode, uint64_t nodes)
{
	if (backing->policy_mode != mode || backing->policy_nodes != nodes)
		backing->policy_mode = POLICY_MODE_MIXED;
	backing->policy_nodes |= nodes;
}

static void add_policy(struct worker_survey *survey, const struct guest_range *range, bool is_first)
{
	uint64_t nodes = node_mask_from_set(&range->policy.nodes);
	enum policy_mode mode = mode_of(&range->policy);

	survey->loose |= range->has_policy && wanted_policy_is_loose(&range->policy);
	survey->balancing |= range->has_policy && range->policy.is_balancing;
	if (!range->has_policy)
		return;
	if (range->has_mixed_policies ||
	    (!is_first && (mode != survey->policy_mode || nodes != survey->policy_nodes)))
		mode = POLICY_MODE_MIXED;
	survey->policy_mode = mode;
	survey->policy_nodes |= nodes;
}

static void add_backing(struct worker_survey *survey, const struct guest_range *range, int cell,
			uint64_t bytes)
{
	enum backing_kind kind = backing_kinds[range->backing];
	struct snapshot_backing *backing = survey->backings;
	enum policy_mode mode = range->has_mixed_policies ? POLICY_MODE_MIXED
				: range->has_policy ? mode_of(&range->policy)
						    : POLICY_MODE_DEFAULT;
	uint64_t nodes = range->has_policy ? node_mask_from_set(&range->policy.nodes) : 0;
	bool has_own_policy = !policy_job_is_settable(range);

	for (size_t i = 0; i < survey->backing_count; i++, backing++) {
		/* More than fit are joined in the last one, which then belongs to no cell. */
		bool is_last = i + 1 == SNAPSHOT_BACKINGS_MAX;

		if (!is_last && (backing->kind != kind ||
				 backing->page_bytes != range->page_bytes || backing->cell != cell ||
				 backing->has_own_policy != has_own_policy))
			continue;
		if (is_last && backing->cell != cell)
			backing->cell = -1;
		backing->bytes += bytes;
		join_policy(backing, mode, nodes);
		return;
	}
	*backing = (struct snapshot_backing){kind, range->page_bytes, bytes, cell, mode, nodes, has_own_policy};
	survey->backing_count++;
}

/*
 * What a file holds beyond what its mappings show: pages that only the file knows. Swapped pages of
 * shared memory count here too, because the page table does not remember them.
 */
static uint64_t count_unmapped(const struct job_context *context, const struct guest_view *view,
			       const uint64_t *present)
{
	uint64_t unmapped = 0;

	for (size_t i = 0; i < view->map.count; i++) {
		const struct guest_range *range = &view->map.ranges[i];
		uint64_t mapped = 0, held;
		bool is_first = true;
		CLEANUP_CLOSE int fd = -1;

		for (size_t n = 0; n < view->map.count; n++) {
			const struct guest_range *other = &view->map.ranges[n];

			if (!guest_range_is_same_file(other, range))
				continue;
			is_first &= n >= i;
			mapped += present[n];
		}
		/* What a disk's file has beside what is mapped is on the disk, and in the host's cache of it. */
		if (!guest_range_has_window(range) || !is_first)
			continue;
		fd = guest_map_open_backing(context->sysroot, context->job->process.pid, range, &held);
		if (fd >= 0 && held > mapped)
			unmapped += held - mapped;
	}
	return unmapped;
}

/* 0 where there is no cpuset: no cgroup v2, or no controller. */
static int read_cpuset(const struct job_context *context, struct worker_survey *survey)
{
	char path[CGROUP_MEMORY_PATH_SIZE];
	struct node_set mems = {0}, limit = {0};
	int rc = cgroup_memory_read_path(context->sysroot, context->job->process.pid, path);

	if (!rc) {
		memcpy(survey->cgroup, path, sizeof(survey->cgroup));
		cgroup_memory_guest_path(survey->cgroup);
		rc = cgroup_memory_read_effective_mems(context->sysroot, path, &mems);
	}
	if (!rc)
		rc = cgroup_memory_read_limit(context->sysroot, survey->cgroup, &limit);
	if (rc && rc != -ENOENT && rc != -ENODEV)
		return rc;
	survey->cpuset_mems = node_mask_from_set(&mems);
	survey->cpuset_limit = node_mask_from_set(&limit);
	return 0;
}

/* Of which nodes are these processors ("0-3,8")? */
static uint64_t nodes_of_cpus(const struct numa_node_list *nodes, const char *cpus)
{
	struct node_set allowed, own;
	uint64_t mask = 0;

	/* The two lists have the same form; processors beyond the set's size are not seen. */
	if (node_set_parse(cpus, &allowed))
		return 0;
	for (size_t i = 0; i < nodes->count; i++)
		if (nodes->nodes[i].has_cpu && !node_set_parse(nodes->nodes[i].cpus, &own) &&
		    node_set_intersects(&allowed, &own))
			mask |= node_mask_of(nodes->nodes[i].id);
	return mask;
}

/* A thread that has ended meanwhile is on no node. */
static bool has_ended(int error)
{
	return error == -ENOENT || error == -ESRCH;
}

static int thread_nodes(const struct job_context *context, const struct numa_node_list *nodes,
			const char *thread, uint64_t *ret_mask)
{
	CLEANUP_FREE char *status = NULL;
	char *cpus;
	int rc = sysroot_read_all(context->sysroot, STATUS_LIMIT, &status, NULL,
				  "/proc/%d/task/%s/status", context->job->process.pid, thread);

	*ret_mask = 0;
	if (rc)
		return has_ended(rc) ? 0 : rc;
	cpus = strstr(status, "\nCpus_allowed_list:");
	if (!cpus)
		return 0;
	cpus += strlen("\nCpus_allowed_list:");
	cpus += strspn(cpus, " \t");
	cpus[strcspn(cpus, "\n")] = '\0';
	*ret_mask = nodes_of_cpus(nodes, cpus);
	return 0;
}

/* The nodes of the vCPU threads, which QEMU names "CPU 0/KVM"; of all threads where none has such a
 * name. */
static int read_cpu_nodes(const struct job_context *context, uint64_t *ret_nodes)
{
	CLEANUP(numa_node_list_done) struct numa_node_list nodes = {0};
	CLEANUP(sysroot_names_done) struct sysroot_names threads = {0};
	uint64_t vcpus = 0, all = 0, mask;
	char name[32];
	int rc = numa_node_list_read(context->sysroot, &nodes);

	if (!rc)
		rc = sysroot_list(context->sysroot, &threads, "/proc/%d/task",
				  context->job->process.pid);
	if (has_ended(rc))
		rc = 0;
	for (size_t i = 0; !rc && i < threads.count; i++) {
		rc = thread_nodes(context, &nodes, threads.names[i], &mask);
		if (rc)
			break;
		all |= mask;
		rc = sysroot_read_text(context->sysroot, name, sizeof(name),
				       "/proc/%d/task/%s/comm", context->job->process.pid,
				       threads.names[i]);
		if (!rc && strncmp(name, "CPU ", 4) == 0)
			vcpus |= mask;
		if (has_ended(rc))
			rc = 0;
	}
	*ret_nodes = vcpus ? vcpus : all;
	return rc;
}

/* The DIMMs' ranges for the survey, cut where a node ends. */
struct targets {
	struct physical_range *ranges;	/* owned */
	struct survey_target *of;	/* owned: whose each range is */
	size_t count, room;
};

static void targets_done(struct targets *targets)
{
	free(targets->ranges);
	free(targets->of);
	*targets = (struct targets){0};
}

static int add_target(struct targets *targets, struct physical_range range, struct survey_target target)
{
	if (targets->count == targets->room) {
		size_t room = targets->room ? 2 * targets->room : 16;
		struct physical_range *ranges = reallocarray(targets->ranges, room, sizeof(*ranges));
		struct survey_target *of;

		if (!ranges)
			return -ENOMEM;
		targets->ranges = ranges;
		of = reallocarray(targets->of, room, sizeof(*of));
		if (!of)
			return -ENOMEM;
		targets->of = of;
		targets->room = room;
	}
	targets->ranges[targets->count] = range;
	targets->of[targets->count++] = target;
	return 0;
}

static int list_targets(const struct worker_job *job, const struct physical_map *map, struct targets *ret_targets)
{
	struct targets targets = {0};
	int rc = 0;

	for (size_t i = 0; i < job->dimm_count; i++)
		for (size_t r = 0; r < job->dimms[i].range_count; r++) {
			uint64_t start = job->dimms[i].ranges[r].start, end = job->dimms[i].ranges[r].end, until;

			for (; !rc && start < end; start = until) {
				int node = physical_map_node(map, start, &until);

				if (until > end || until <= start)
					until = end;
				rc = add_target(&targets, (struct physical_range){.start = start, .end = until},
						(struct survey_target){i, node < SNAPSHOT_NODES_MAX ? node : -1});
			}
		}
	if (rc)
		targets_done(&targets);
	*ret_targets = targets;
	return rc;
}

/* The units by which a memory device's range is told, see struct snapshot_residency. False: it is not. */
static bool find_units(const struct worker_job *job, int entry, const struct guest_range *range,
		       struct snapshot_residency *residency)
{
	uint64_t address = entry < 0 ? 0 : job->ram_addresses[entry], size = range->end - range->start;
	uint64_t unit = SNAPSHOT_UNIT_LEAST_BYTES;

	if (!address)
		return false;
	while (unit < job->ram_blocks[entry] || unit < range->page_bytes ||
	       snapshot_unit_count(address, size, unit) > SNAPSHOT_UNITS_MAX)
		unit *= 2;
	*residency = (struct snapshot_residency){.address = address, .size_bytes = size, .unit_bytes = unit};
	residency->count = snapshot_unit_count(address, size, unit);
	return true;
}

/*
 * Where in the process a unit ends. QEMU aligns a file to its own pages only, so that a huge page of the process may lie
 * across it: that one is the next unit's, for in two halves it would be counted as small pages.
 */
static uint64_t unit_end(const struct page_survey_range *range, const struct snapshot_residency *residency, size_t unit)
{
	uint64_t page = range->page_bytes > PAGE_SURVEY_THP_BYTES ? range->page_bytes : PAGE_SURVEY_THP_BYTES;
	uint64_t end = range->start + (unit + 1) * residency->unit_bytes - residency->address % residency->unit_bytes;

	end -= end % page;
	if (end < range->start)
		return range->start;
	return unit + 1 == residency->count ? range->end : end;
}

static int count_range(const struct worker_job *job, const struct guest_view *view, size_t index,
		       struct page_survey *pages, struct survey_places *places, struct worker_survey *survey,
		       struct page_survey_totals *totals)
{
	struct page_survey_range range = guest_view_range(view, index), part = range;
	struct snapshot_residency *residency = &survey->residencies[survey->residency_count];
	int rc = 0;

	if (survey->residency_count == SNAPSHOT_DEVICES_MAX ||
	    !find_units(job, view->entries[index], &view->map.ranges[index], residency))
		return page_survey_count(pages, &range, 1, totals);
	survey->residency_count++;
	for (size_t i = 0; !rc && i < residency->count; i++) {
		uint64_t before = totals->present_bytes;

		part.start = i ? part.end : range.start;
		part.end = unit_end(&range, residency, i);
		survey_places_mark(places, totals);
		rc = page_survey_count(pages, &part, 1, totals);
		survey_places_take(places, totals, survey->residency_count - 1, i, survey);
		residency->bytes[i] = totals->present_bytes - before;
	}
	return rc;
}

/*
 * What has come to the nodes since before, of one size of huge pages. Of more sizes than there is place for none is told: what
 * is not told is reckoned, and what lacks one would be taken for all.
 */
static void add_huge(struct worker_survey *survey, uint64_t page_bytes, const uint64_t *before, const uint64_t *after,
		     bool *too_many)
{
	struct snapshot_huge *huge = NULL;

	for (size_t i = 0; i < survey->huge_count; i++)
		if (survey->huges[i].page_bytes == page_bytes)
			huge = &survey->huges[i];
	if (!huge && survey->huge_count == SNAPSHOT_POOLS_MAX)
		*too_many = true;
	if (*too_many || !page_bytes)
		return;
	if (!huge) {
		huge = &survey->huges[survey->huge_count++];
		huge->page_bytes = page_bytes;
	}
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		huge->pages[node] += (uint32_t)((after[node] - before[node]) / page_bytes);
}

/* Counts range by range, so that each one's backing and cell keep their share. */
static int count_pages(struct job_context *context, const struct guest_view *view,
		       struct worker_survey *survey, uint64_t *present)
{
	CLEANUP(page_survey_freep) struct page_survey *pages = NULL;
	CLEANUP(targets_done) struct targets targets = {0};
	CLEANUP_FREE uint64_t *target_bytes = NULL;
	CLEANUP_FREE struct page_survey_totals *totals = calloc(1, sizeof(*totals));
	CLEANUP(survey_places_done) struct survey_places places = {0};
	uint64_t nodes_before[SNAPSHOT_NODES_MAX];
	bool too_many_sizes = false;
	struct page_survey_options options = {.map = view->physical};
	int rc = list_targets(context->job, view->physical, &targets);

	target_bytes = calloc(targets.count + 1, sizeof(*target_bytes));
	if (!rc && (!totals || !target_bytes))
		rc = -ENOMEM;
	options.targets = targets.ranges;
	options.target_count = targets.count;
	if (!rc)
		rc = survey_places_init(&places, targets.of, targets.count);
	if (!rc)
		rc = page_survey_new(context->sysroot, context->job->process.pid, &options, &pages);
	if (!rc)
		totals->target_bytes = target_bytes;
	for (size_t i = 0; !rc && i < view->map.count && job_context_go(context); i++) {
		uint64_t before = totals->present_bytes, huge_before = totals->huge_bytes;

		memcpy(nodes_before, totals->node_bytes, sizeof(nodes_before));
		rc = count_range(context->job, view, i, pages, &places, survey, totals);
		present[i] = totals->present_bytes - before;
		/* Elsewhere huge pages are what the backing is made of. */
		if (view->map.ranges[i].backing != GUEST_BACKING_HUGETLB)
			survey->transparent_huge_bytes += totals->huge_bytes - huge_before;
		else if (!rc)
			add_huge(survey, view->map.ranges[i].page_bytes, nodes_before, totals->node_bytes,
				 &too_many_sizes);
		add_backing(survey, &view->map.ranges[i], view->cells[i], present[i]);
		add_policy(survey, &view->map.ranges[i], i == 0);
	}
	if (!rc && !page_survey_has_pfn(pages))
		rc = -EPERM;
	if (rc)
		return rc;
	if (too_many_sizes)
		survey->huge_count = 0;
	survey->resident_bytes = totals->present_bytes;
	survey->swapped_bytes = totals->swapped_bytes;
	memcpy(survey->node_bytes, totals->node_bytes, sizeof(survey->node_bytes));
	survey->dimm_count = context->job->dimm_count;
	for (size_t i = 0; i < survey->dimm_count; i++)
		memcpy(survey->dimms[i].id, context->job->dimms[i].id, sizeof(survey->dimms[i].id));
	for (size_t i = 0; i < targets.count; i++)
		survey->dimms[targets.of[i].dimm].bytes += target_bytes[i];
	return 0;
}

/*
 * What is held so that it cannot move, and by whom: QEMU itself (VmPin; a passed-through device's pins are VmLck where
 * it is VFIO's own container, drivers/vfio/vfio_iommu_type1.c) and processes that map the same memory. The numbers of
 * several holders may be of the same pages: never more than there is.
 */
static int find_holders(const struct job_context *context, const struct guest_view *view,
			struct worker_survey *survey)
{
	struct memory_sharer_list list = {0};
	uint64_t resident = survey->resident_bytes;
	int rc = memory_sharer_find(context->sysroot, context->job->process.pid, &view->map, &list);

	if (rc)
		return rc;

	survey->pinned_bytes = view->map.pinned_bytes;
	if (view->map.vfio_count && survey->pinned_bytes < view->map.locked_bytes)
		survey->pinned_bytes = view->map.locked_bytes;
	survey->pinned_bytes += list.pinned_bytes;
	if (survey->pinned_bytes > resident)
		survey->pinned_bytes = resident;
	survey->sharers_unlisted = list.total;
	survey->sharers_unseen = list.unseen;
	for (size_t i = 0; i < list.count && i < SNAPSHOT_SHARERS_MAX; i++) {
		struct snapshot_sharer *sharer = &survey->sharers[survey->sharer_count++];

		survey->sharers_unlisted--;
		sharer->pid = list.sharers[i].pid;
		memcpy(sharer->name, list.sharers[i].name, sizeof(sharer->name));
		sharer->mapped_bytes = list.sharers[i].mapped_bytes;
		sharer->pinned_bytes = list.sharers[i].pinned_bytes;
	}
	return 0;
}

/*
 * The cgroup's counters at the time of the survey: what they say has changed later is what has changed of the guest.
 * They say nothing of plain files, and of hugetlb only with its controller.
 */
static int read_counters(const struct job_context *context, const struct guest_view *view, struct worker_survey *survey)
{
	CLEANUP_FREE uint64_t *bytes = calloc(NODE_SET_MAX, sizeof(*bytes));
	bool has_hugetlb, is_complete = true;
	int rc = bytes ? cgroup_memory_read_guest(context->sysroot, context->job->process.pid, bytes, &has_hugetlb)
		       : -ENOMEM;

	if (rc == -ENOENT || rc == -ENODEV)
		return 0;
	if (rc)
		return rc;
	for (size_t i = 0; i < view->map.count; i++)
		is_complete &= view->map.ranges[i].backing != GUEST_BACKING_FILE &&
			       (has_hugetlb || view->map.ranges[i].backing != GUEST_BACKING_HUGETLB);
	memcpy(survey->counted_bytes, bytes, sizeof(survey->counted_bytes));
	survey->counted = is_complete;
	return 0;
}

static void run(struct job_context *context, const struct guest_view *view,
		struct worker_survey *survey)
{
	CLEANUP_FREE uint64_t *present = calloc(view->map.count + 1, sizeof(*present));
	char object[96];
	int rc = present ? count_pages(context, view, survey, present) : -ENOMEM;

	if (rc) {
		job_context_fail(context, rc, job_context_guest(context, object),
				 "cannot read its page table");
		return;
	}
	survey->unmapped_bytes = count_unmapped(context, view, present);
	rc = read_cpuset(context, survey);
	if (!rc)
		rc = read_cpu_nodes(context, &survey->cpu_nodes);
	if (rc && rc != -ESRCH) {
		job_context_fail(context, rc, job_context_guest(context, object),
				 "cannot see what nodes it may use");
		return;
	}
	survey->vfio = view->map.vfio_count > 0;
	survey->userfaultfd = view->map.userfaultfd_count > 0;
	survey->locked = view->map.locked_bytes > 0;
	survey->encrypted = view->map.encryption_count > 0;
	survey->private_bytes = view->map.private_bytes;
	rc = find_holders(context, view, survey);
	if (!rc)
		rc = read_counters(context, view, survey);
	if (rc && rc != -ESRCH) {
		job_context_fail(context, rc, job_context_guest(context, object),
				 "cannot see who else has its memory");
		return;
	}
	/* Where the process ended meanwhile its page table read as empty. */
	if (!guest_view_is_same(view, context))
		return;
	job_context_settle(context, job_context_guest(context, object), 0, false);
	if (context->result->outcome != WORKER_OUTCOME_DONE)
		return;
	context->result->bytes_done = survey->resident_bytes;
	job_context_give(context, object, worker_survey_to_json(survey));
}

void survey_job_run(struct job_context *context)
{
	CLEANUP_FREE struct worker_survey *survey = calloc(1, sizeof(*survey));
	struct guest_view view;

	if (!survey) {
		job_context_fail(context, ENOMEM, "survey", "cannot begin");
		return;
	}
	survey->has_policies = !context->job->policies_known;
	if (guest_view_open(&view, context, survey->has_policies))
		run(context, &view, survey);
	guest_view_done(&view);
}
