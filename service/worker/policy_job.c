/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "guest_view.h"
#include "job_context.h"
#include "memory_policy.h"
#include "node_mask.h"

static const enum memory_policy_mode kernel_modes[POLICY_MODE_COUNT] = {
	[POLICY_MODE_DEFAULT] = MEMORY_POLICY_DEFAULT,
	[POLICY_MODE_BIND] = MEMORY_POLICY_BIND,
	[POLICY_MODE_PREFERRED] = MEMORY_POLICY_PREFERRED,
	[POLICY_MODE_INTERLEAVE] = MEMORY_POLICY_INTERLEAVE,
	[POLICY_MODE_MIXED] = MEMORY_POLICY_DEFAULT, /* never looked up */
};

bool policy_job_is_settable(const struct guest_range *range)
{
	return range->is_shared && range->inode && range->is_shmem;
}

bool policy_job_is_loose(const struct memory_policy *policy)
{
	return policy->is_static &&
	       (policy->mode == MEMORY_POLICY_PREFERRED || policy->mode == MEMORY_POLICY_PREFERRED_MANY);
}

static void bind(struct memory_policy *policy)
{
	policy->mode = MEMORY_POLICY_BIND;
	policy->is_static = false;
}

static void loosen(struct memory_policy *policy)
{
	policy->mode = MEMORY_POLICY_PREFERRED_MANY;
	policy->is_static = true;
	policy->is_relative = false;
}

static uint64_t map_nodes(const struct step *step, uint64_t nodes)
{
	uint64_t mapped = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (nodes & node_mask_of(node))
			mapped |= node_mask_of(step->map[node] >= 0 ? step->map[node] : node);
	return mapped;
}

static uint64_t map_destinations(const struct step *step)
{
	uint64_t mask = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		mask |= node_mask_of(step->map[node]);
	return mask;
}

/* False where the range keeps its policy. */
static bool wanted_policy(const struct step *step, const struct guest_range *range, int cell,
			  struct memory_policy *ret_policy)
{
	uint64_t old = node_mask_from_set(&range->policy.nodes), nodes = step->nodes;
	struct memory_policy policy = range->policy;

	if (policy_job_is_loose(&policy))
		bind(&policy);
	if (step->by_cells) {
		if (cell < 0 || step->cells[cell] < 0)
			return false;
		nodes = node_mask_of(step->cells[cell]);
	} else if (step->by_map) {
		nodes = old	      ? map_nodes(step, old)
			: step->nodes ? step->nodes
				      : map_destinations(step);
	}
	if (step->mode != POLICY_MODE_MIXED)
		policy.mode = kernel_modes[step->mode];
	if (step->loose && policy.mode == MEMORY_POLICY_BIND)
		loosen(&policy);
	/* One node is what "preferred" takes; the kernel has another mode for several. */
	if (policy.mode == MEMORY_POLICY_PREFERRED && __builtin_popcountll(nodes) > 1)
		policy.mode = MEMORY_POLICY_PREFERRED_MANY;
	else if (policy.mode == MEMORY_POLICY_PREFERRED_MANY && __builtin_popcountll(nodes) == 1)
		policy.mode = MEMORY_POLICY_PREFERRED;
	if (policy.mode == MEMORY_POLICY_DEFAULT || policy.mode == MEMORY_POLICY_LOCAL)
		nodes = 0;
	policy.nodes = node_mask_to_set(nodes);
	/* Nobody but a lazy move sets it from outside, for its own time: it was cut off in the middle. */
	policy.is_balancing = false;
	*ret_policy = policy;
	return true;
}

int policy_job_set(const struct job_context *context, const struct guest_range *range,
		   const struct memory_policy *policy)
{
	CLEANUP_CLOSE int fd =
		guest_map_open_backing(context->sysroot, context->job->process.pid, range, NULL);
	struct memory_policy one = *policy;
	uint64_t length = range->end - range->start;
	int rc;

	if (fd < 0)
		return fd;
	rc = memory_policy_set_shared(fd, range->offset, length, policy);
	if (rc == -EINVAL && policy->mode == MEMORY_POLICY_PREFERRED_MANY) {
		/* A kernel before that mode: the first of them, but what belongs bound to all is bound to all. */
		if (policy_job_is_loose(policy)) {
			bind(&one);
		} else {
			one.mode = MEMORY_POLICY_PREFERRED;
			one.nodes = node_set_of(node_set_next(&policy->nodes, -1));
		}
		rc = memory_policy_set_shared(fd, range->offset, length, &one);
	}
	return rc;
}

static void cannot_set(struct job_context *context, const struct guest_range *range,
		       const char *why)
{
	char object[96];

	remainder_list_add(&context->result->remainder, REMAINDER_POLICY_NOT_SETTABLE,
			   job_context_guest(context, object), range->end - range->start, NULL,
			   "%s memory: %s", guest_backing_name(range->backing), why);
}

void policy_job_run(struct job_context *context)
{
	struct guest_view view;
	char object[96], text[MEMORY_POLICY_TEXT_SIZE];
	uint64_t left = 0;
	bool is_changed = false;

	if (!guest_view_open(&view, context, true)) {
		guest_view_done(&view);
		return;
	}
	for (size_t i = 0; i < view.map.count; i++) {
		const struct guest_range *range = &view.map.ranges[i];
		struct memory_policy policy;
		int rc;

		if (!job_context_go(context)) {
			left += range->end - range->start;
			continue;
		}
		if (context->job->step.by_cells && view.cells[i] < 0) {
			cannot_set(context, range, "which cell it is cannot be told");
			continue;
		}
		if (!wanted_policy(&context->job->step, range, view.cells[i], &policy))
			continue;
		if (!policy_job_is_settable(range)) {
			cannot_set(context, range, "its policy is its process' own");
			continue;
		}
		if (range->has_mixed_policies) {
			cannot_set(context, range, "it has several policies inside");
			continue;
		}
		rc = policy_job_set(context, range, &policy);
		/* The one error after which it may have another one all the same. */
		is_changed |= !rc || rc == -EIO;
		if (rc) {
			cannot_set(context, range, strerror(-rc));
			continue;
		}
		context->result->bytes_done += range->end - range->start;
		job_context_detail(context, "%s",
				   memory_policy_format(&policy, text, sizeof(text)));
	}
	if (!guest_view_is_gone(&view, context))
		job_context_settle(context, job_context_guest(context, object), left, is_changed);
	guest_view_done(&view);
}

void policy_job_before(struct job_context *context)
{
	json_t *ranges = json_array();
	struct guest_view view;
	char text[MEMORY_POLICY_TEXT_SIZE], object[96];
	bool is_short = !ranges;

	if (!guest_view_open(&view, context, true)) {
		json_decref(ranges);
		guest_view_done(&view);
		return;
	}
	for (size_t i = 0; i < view.map.count; i++) {
		const struct guest_range *range = &view.map.ranges[i];

		/* What the step will not touch needs no way back. */
		if (!policy_job_is_settable(range) || range->has_mixed_policies || !range->has_policy)
			continue;
		if (json_array_append_new(
			    ranges,
			    json_pack("{s:I, s:I, s:I, s:I, s:s}", "inode",
				      (json_int_t)range->inode, "device", (json_int_t)range->device,
				      "offset", (json_int_t)range->offset, "bytes",
				      (json_int_t)(range->end - range->start), "policy",
				      memory_policy_format(&range->policy, text, sizeof(text)))))
			is_short = true;
	}
	if (guest_view_is_same(&view, context))
		job_context_give(context, job_context_guest(context, object),
				 is_short ? NULL : json_pack("{s:O}", "ranges", ranges));
	json_decref(ranges);
	guest_view_done(&view);
}

/* The recorded range as it is mapped now, or NULL. */
static const struct guest_range *find_range(const struct guest_map *map, json_int_t inode,
					    json_int_t device, json_int_t offset)
{
	for (size_t i = 0; i < map->count; i++)
		if (map->ranges[i].inode == (uint64_t)inode &&
		    map->ranges[i].device == (uint64_t)device &&
		    map->ranges[i].offset == (uint64_t)offset)
			return &map->ranges[i];
	return NULL;
}

static void undo_range(struct job_context *context, const struct guest_map *map, json_t *entry)
{
	json_int_t inode, device, offset, bytes;
	const struct guest_range *range;
	struct memory_policy policy;
	struct guest_range part;
	const char *text;
	char object[96];
	int rc;

	rc = json_unpack_ex(entry, NULL, JSON_STRICT, "{s:I, s:I, s:I, s:I, s:s}", "inode", &inode,
			    "device", &device, "offset", &offset, "bytes", &bytes, "policy", &text)
		     ? -EINVAL
		     : memory_policy_parse(text, &policy);
	if (!rc) {
		range = find_range(map, inode, device, offset);
		/* A memory device that was unplugged since has taken its policy with it. */
		if (!range)
			return;
		part = *range;
		if ((uint64_t)bytes < part.end - part.start)
			part.end = part.start + (uint64_t)bytes;
		rc = policy_job_set(context, &part, &policy);
	}
	if (rc)
		remainder_list_add(&context->result->remainder, REMAINDER_UNDO_FAILED,
				   job_context_guest(context, object), 0, NULL,
				   "the policy cannot be put back: %s", strerror(-rc));
	else
		context->result->bytes_done += (uint64_t)bytes;
}

void policy_job_undo(struct job_context *context)
{
	const json_t *ranges = json_object_get(context->before, "ranges");
	struct guest_view view;
	char object[96];

	if (guest_view_open(&view, context, false)) {
		for (size_t i = 0; i < json_array_size(ranges); i++)
			undo_range(context, &view.map, json_array_get(ranges, i));
		if (!guest_view_is_gone(&view, context))
			job_context_settle(context, job_context_guest(context, object), 0,
					   context->result->bytes_done > 0);
	}
	guest_view_done(&view);
}
