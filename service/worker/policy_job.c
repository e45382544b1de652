/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "guest_view.h"
#include "job_context.h"
#include "memory_policy.h"
#include "wanted_policy.h"

bool policy_job_is_settable(const struct guest_range *range)
{
	return range->is_shared && range->inode && range->is_shmem;
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
		if (wanted_policy_is_loose(policy)) {
			wanted_policy_bind(&one);
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
		if (!wanted_policy_of_step(&context->job->step, &range->policy, view.cells[i], &policy))
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
			    json_pack("{s:I, s:I, s:I, s:I, s:s, s:i}", "inode",
				      (json_int_t)range->inode, "device", (json_int_t)range->device,
				      "offset", (json_int_t)range->offset, "bytes",
				      (json_int_t)(range->end - range->start), "policy",
				      memory_policy_format(&range->policy, text, sizeof(text)),
				      "cell", view.cells[i])))
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
	int rc, cell;

	rc = json_unpack_ex(entry, NULL, JSON_STRICT, "{s:I, s:I, s:I, s:I, s:s, s?:i}", "inode", &inode,
			    "device", &device, "offset", &offset, "bytes", &bytes, "policy", &text, "cell", &cell)
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
