/* SPDX-License-Identifier: Apache-2.0 */
#include "cpuset_job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "cgroup_memory.h"
#include "guest_view.h"
#include "job_context.h"
#include "node_mask.h"
#include "process_identity.h"
#include "sysroot.h"

/*
 * The groups of the guest, parents first, as paths. 0 with none where there is no cpuset to set: no
 * cgroup v2, no controller, or a guest that lives in the root group, whose cpuset is the machine's.
 */
static int list_groups(const struct job_context *context, struct sysroot_names *ret_groups)
{
	char path[CGROUP_MEMORY_PATH_SIZE];
	struct node_set mems;
	int rc = cgroup_memory_read_path(context->sysroot, context->job->process.pid, path);

	memset(ret_groups, 0, sizeof(*ret_groups));
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	cgroup_memory_guest_path(path);
	if (strcmp(path, "/") == 0)
		return 0;
	rc = cgroup_memory_read_mems(context->sysroot, path, &mems);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return cgroup_memory_list_tree(context->sysroot, path, ret_groups);
}

/* False with the result filled. */
static bool check_process(struct job_context *context)
{
	struct process_identity identity;
	int rc = process_identity_open_expected(context->sysroot, context->job->process.pid,
						context->job->process.start_time, &identity);

	if (!rc) {
		process_identity_done(&identity);
		return true;
	}
	if (rc == -ESRCH || rc == -ESTALE)
		job_context_guest_gone(context);
	else
		job_context_fail(context, rc, "guest", "cannot look at its process");
	return false;
}

/* The policies of the ranges, in the order of their addresses. Nothing where they cannot be read.
 */
static void read_policies(const struct job_context *context, struct guest_map *map)
{
	struct guest_map_options options = {
		.expected_bytes = context->job->ram_sizes,
		.expected_count = context->job->ram_size_count,
		.with_policies = true,
	};

	memset(map, 0, sizeof(*map));
	guest_map_read(context->sysroot, context->job->process.pid, &options, map);
}

/*
 * The kernel rewrites policies of anonymous and hugetlb memory by position when a cpuset changes
 * (mm/mempolicy.c mpol_rebind_mm). Returns true where it did.
 */
static bool tell_shift(struct job_context *context, const struct guest_map *before)
{
	struct guest_map after;
	char object[96], old[MEMORY_POLICY_TEXT_SIZE], new[MEMORY_POLICY_TEXT_SIZE];
	bool is_shifted = false;

	read_policies(context, &after);
	for (size_t i = 0; i < before->count; i++) {
		const struct guest_range *was = &before->ranges[i];

		for (size_t n = 0; n < after.count; n++) {
			const struct guest_range *is = &after.ranges[n];

			if (is->start != was->start || !is->has_policy || !was->has_policy ||
			    memory_policy_is_equal(&is->policy, &was->policy))
				continue;
			is_shifted = true;
			job_context_warn(context, REMAINDER_POLICY_WOULD_SHIFT,
					 job_context_guest(context, object), is->end - is->start,
					 "%s became %s",
					 memory_policy_format(&was->policy, old, sizeof(old)),
					 memory_policy_format(&is->policy, new, sizeof(new)));
		}
	}
	guest_map_done(&after);
	return is_shifted;
}

static void cannot_change(struct job_context *context, const char *path, const char *why)
{
	char object[96];

	snprintf(object, sizeof(object), "cgroup %s", path);
	remainder_list_add(&context->result->remainder, REMAINDER_CPUSET_CANNOT_CHANGE, object, 0,
			   NULL, "%s", why);
}

/*
 * Sets one group. is_top: the guest's own, which carries those below it that inherit. Groups that
 * inherit are left so: libvirt may give them a set of their own later, and an own set cannot be
 * taken back to none (ENOSPC). Returns true where it wrote, or may have.
 */
static bool set_group(struct job_context *context, const char *path, const struct node_set *wanted,
		      bool is_top)
{
	struct node_set mems, effective, now;
	int rc = cgroup_memory_read_mems(context->sysroot, path, &mems);
	bool is_written = false;

	/* A vCPU that was unplugged meanwhile took its group with it. */
	if (rc == -ENOENT || rc == -ENODEV)
		return false;
	if (!rc && node_set_is_equal(&mems, wanted))
		return false;
	if (!rc && node_set_is_empty(&mems)) {
		rc = cgroup_memory_read_effective_mems(context->sysroot, path, &effective);
		if (!rc && (!is_top || node_set_is_equal(&effective, wanted)))
			return false;
	}
	if (!rc) {
		rc = cgroup_memory_set_mems(context->sysroot, path, wanted);
		is_written = true;
	}
	if (rc == -ENOENT || rc == -ENODEV)
		return false;
	if (rc)
		cannot_change(context, path, strerror(-rc));
	/* After an error it is what it was only where that can be seen. */
	return is_written && (rc == 0 || cgroup_memory_read_mems(context->sysroot, path, &now) ||
			      !node_set_is_equal(&now, &mems));
}

/* A set can be written and still be without effect where a group above does not have the nodes. */
static void check_effect(struct job_context *context, const char *path,
			 const struct node_set *wanted)
{
	struct node_set effective, missing;
	char text[NODE_SET_TEXT_SIZE], why[NODE_SET_TEXT_SIZE + 64];

	if (cgroup_memory_read_effective_mems(context->sysroot, path, &effective))
		return;
	missing = node_set_difference(wanted, &effective);
	if (node_set_is_empty(&missing))
		return;
	snprintf(why, sizeof(why), "a group above it does not have nodes %s",
		 node_set_format(&missing, text, sizeof(text)));
	cannot_change(context, path, why);
}

static bool widens(const struct job_context *context, const char *path,
		   const struct node_set *wanted)
{
	struct node_set effective;

	return !cgroup_memory_read_effective_mems(context->sysroot, path, &effective) &&
	       node_set_is_subset(&effective, wanted);
}

static void set_groups(struct job_context *context, const struct sysroot_names *groups)
{
	struct node_set wanted = node_mask_to_set(context->job->step.nodes);
	bool is_widening = widens(context, groups->names[0], &wanted), is_shifted = false;
	struct guest_map before;
	unsigned written = 0, left = 0;
	char object[96];

	read_policies(context, &before);
	for (size_t i = 0; i < groups->count; i++) {
		size_t at = is_widening ? i : groups->count - 1 - i;

		/* Half of the groups on one side and half on the other is worse than either: end
		 * only between guests. */
		if (i == 0 && !job_context_go(context)) {
			left = (unsigned)groups->count;
			break;
		}
		if (!set_group(context, groups->names[at], &wanted, at == 0))
			continue;
		/* Each look walks all of the guest's page tables under its map lock: after the
		 * first and the last. */
		if (written++ == 0)
			is_shifted = tell_shift(context, &before);
	}
	if (written > 1 && !is_shifted)
		tell_shift(context, &before);
	guest_map_done(&before);
	if (!left)
		check_effect(context, groups->names[0], &wanted);
	job_context_detail(context, "%u of %zu cgroups", written, groups->count);
	job_context_settle(context, job_context_guest(context, object), 0, written > 0);
}

void cpuset_job_run(struct job_context *context)
{
	struct sysroot_names groups;
	int rc;

	if (!check_process(context))
		return;
	rc = list_groups(context, &groups);
	if (rc) {
		job_context_fail(context, rc, "cpuset", "cannot find the guest's cgroups");
	} else if (!groups.count) {
		job_context_detail(context, "no cpuset");
		context->result->outcome = WORKER_OUTCOME_DONE;
	} else {
		set_groups(context, &groups);
	}
	sysroot_names_done(&groups);
}

/* The nodes that the group above has: what an empty set means. */
static int read_inherited(const struct job_context *context, const char *path,
			  struct node_set *ret_mems)
{
	char parent[CGROUP_MEMORY_PATH_SIZE];
	char *slash;

	snprintf(parent, sizeof(parent), "%s", path);
	slash = strrchr(parent, '/');
	if (!slash)
		return -EINVAL;
	slash[slash == parent ? 1 : 0] = '\0';
	return cgroup_memory_read_effective_mems(context->sysroot, parent, ret_mems);
}

/* By what an undo gives a group that had none one may know it again: restore_group(). */
static int add_inherited(const struct job_context *context, json_t *group, const char *path)
{
	char text[NODE_SET_TEXT_SIZE];
	struct node_set mems;
	int rc = read_inherited(context, path, &mems);

	if (rc == -ENOENT || rc == -ENODEV)
		return 0;
	if (!rc && json_object_set_new(group, "inherits", json_string(node_set_format(&mems, text, sizeof(text)))))
		rc = -ENOMEM;
	return rc;
}

void cpuset_job_before(struct job_context *context)
{
	json_t *list = json_array();
	struct sysroot_names groups;
	char text[NODE_SET_TEXT_SIZE];
	int rc = 0;

	if (!check_process(context)) {
		json_decref(list);
		return;
	}
	rc = list_groups(context, &groups);
	for (size_t i = 0; !rc && i < groups.count; i++) {
		CLEANUP_CLOSE int fd = cgroup_memory_open(context->sysroot, groups.names[i]);
		struct node_set mems;
		struct stat status;

		rc = fd < 0 ? fd : fstat(fd, &status) ? -errno : 0;
		if (!rc)
			rc = cgroup_memory_read_mems(context->sysroot, groups.names[i], &mems);
		/* It went in between, as a vCPU's does that is unplugged. */
		if (rc == -ENOENT || rc == -ENODEV) {
			rc = 0;
			continue;
		}
		/* The inode tells a thread's group from that of a thread that took its name later. */
		if (!rc && json_array_append_new(
				   list, json_pack("{s:s, s:I, s:s}", "path", groups.names[i], "inode",
						   (json_int_t)status.st_ino, "mems",
						   node_set_format(&mems, text, sizeof(text)))))
			rc = -ENOMEM;
		/* Those below it inherit, and are left so. */
		if (!rc && i == 0)
			rc = add_inherited(context, json_array_get(list, 0), groups.names[i]);
	}
	sysroot_names_done(&groups);
	if (rc)
		job_context_fail(context, rc, "cpuset", "cannot read those of the guest's cgroups");
	else
		job_context_give(context, "cpuset",
				 list ? json_pack("{s:O}", "groups", list) : NULL);
	json_decref(list);
}

static int restore_group(const struct job_context *context, const char *path, const char *text)
{
	struct node_set mems, now;
	int rc = node_set_parse(text, &mems);

	if (!rc)
		rc = cgroup_memory_read_mems(context->sysroot, path, &now);
	if (rc == -ENOENT || rc == -ENODEV)
		return 0;
	if (rc || node_set_is_equal(&now, &mems))
		return rc;
	rc = cgroup_memory_set_mems(context->sysroot, path, &mems);
	/* An own set cannot become none again while there are tasks: all that it would inherit is
	 * the same. */
	if (rc && node_set_is_empty(&mems)) {
		rc = read_inherited(context, path, &mems);
		if (!rc && !node_set_is_equal(&now, &mems))
			rc = cgroup_memory_set_mems(context->sysroot, path, &mems);
	}
	return rc == -ENOENT || rc == -ENODEV ? 0 : rc;
}

void cpuset_job_undo(struct job_context *context)
{
	const json_t *groups = json_object_get(context->before, "groups");
	size_t count = json_array_size(groups);
	bool is_widening = true;
	char object[96];

	if (!check_process(context))
		return;
	if (count) {
		const json_t *top = json_array_get(groups, 0);
		const char *path = json_string_value(json_object_get(top, "path")),
			   *mems = json_string_value(json_object_get(top, "mems"));
		struct node_set wanted;

		is_widening = !path || !mems || node_set_parse(mems, &wanted) ||
			      node_set_is_empty(&wanted) || widens(context, path, &wanted);
	}
	for (size_t i = 0; i < count; i++) {
		const json_t *group = json_array_get(groups, is_widening ? i : count - 1 - i);
		const char *path = json_string_value(json_object_get(group, "path")),
			   *mems = json_string_value(json_object_get(group, "mems"));
		/* A path that climbs out of the tree was not written by us. */
		int rc = path && mems && path[0] == '/' && !strstr(path, "..")
				 ? restore_group(context, path, mems)
				 : -EINVAL;

		if (rc)
			remainder_list_add(&context->result->remainder, REMAINDER_UNDO_FAILED,
					   path ? path : "cgroup", 0, NULL,
					   "cpuset.mems cannot be put back: %s", strerror(-rc));
	}
	job_context_settle(context, job_context_guest(context, object), 0,
			   context->result->remainder.count < count);
}
