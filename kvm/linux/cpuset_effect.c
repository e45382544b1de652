/* SPDX-License-Identifier: Apache-2.0 */
#include "cpuset_effect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cgroup_memory.h"
#include "cleanup.h"
#include "node_mask.h"
#include "node_remap.h"
#include "sysroot.h"

/* Some 100,000 mappings. */
#define MAPS_LIMIT  ((size_t)16 << 20)
#define TASKS_LIMIT ((size_t)1 << 20)

struct change {
	struct node_set now, then;
};

struct looking {
	const struct sysroot *sysroot;
	int (*look)(void *user);
	void *user;
	struct cpuset_effect *effect;
	/* The last process that was looked at: threads of one are listed one by one where they are in groups of their own. */
	pid_t process;
	struct change change;
};

/* ---- which nodes ---- */

/* kernel/cgroup/cpuset.c update_nodemasks_hier: a set that has nothing in common with what is above it is without effect. */
static struct node_set effective(const struct node_set *own, const struct node_set *above)
{
	struct node_set both = node_set_intersection(own, above);

	return node_set_is_empty(&both) ? *above : both;
}

/* The group above, which stands before it in the list; NULL: that is not in the list. */
static const struct change *above(const struct sysroot_names *groups, const struct change *changes, size_t at)
{
	const char *path = groups->names[at], *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 0;

	for (size_t i = at; i-- > 0;)
		if (strlen(groups->names[i]) == length && strncmp(groups->names[i], path, length) == 0)
			return &changes[i];
	return NULL;
}

/* Of the group that is to have other nodes. */
static int change_top(const struct sysroot *sysroot, const char *path, const struct node_set *mems, struct change *ret_change)
{
	char parent[CGROUP_MEMORY_PATH_SIZE];
	struct node_set around;
	char *slash;
	int rc;

	snprintf(parent, sizeof(parent), "%s", path);
	slash = strrchr(parent, '/');
	if (!slash)
		return -EINVAL;
	slash[slash == parent ? 1 : 0] = '\0';
	rc = cgroup_memory_read_effective_mems(sysroot, parent, &around);
	if (rc < 0)
		return rc;
	ret_change->then = effective(mems, &around);
	rc = cgroup_memory_read_effective_mems(sysroot, path, &ret_change->now);
	/* The controller is not handed down so far yet: it has what is above it. */
	if (rc == -ENOENT)
		ret_change->now = around;
	return rc == -ENOENT ? 0 : rc;
}

static int change_below(const struct sysroot *sysroot, const char *path, const struct change *over, struct change *ret_change)
{
	struct node_set own;
	int rc = cgroup_memory_read_mems(sysroot, path, &own);

	if (rc == 0)
		rc = cgroup_memory_read_effective_mems(sysroot, path, &ret_change->now);
	if (rc == -ENOENT || rc == -ENODEV) {
		*ret_change = *over;
		return 0;
	}
	if (rc == 0)
		ret_change->then = effective(&own, &over->then);
	return rc;
}

/* ---- what processes have ---- */

static void take_policy(struct looking *looking, const char *text, size_t length)
{
	struct cpuset_effect *effect = looking->effect;
	char word[MEMORY_POLICY_TEXT_SIZE];
	struct memory_policy policy;
	uint64_t nodes;

	if (effect->pid || length >= sizeof(word))
		return;
	memcpy(word, text, length);
	word[length] = '\0';
	/* Static ones are worked out anew from what was asked for: they come back as they were. */
	if (memory_policy_parse(word, &policy) < 0 || policy.is_static || node_set_is_empty(&policy.nodes))
		return;
	nodes = node_mask_from_set(&policy.nodes);
	if (!policy.is_relative &&
	    node_remap_policy(nodes, node_mask_from_set(&looking->change.now), node_mask_from_set(&looking->change.then)) == nodes)
		return;
	effect->pid = looking->process;
	effect->policy = policy;
}

/* "N3=512 kernelpagesize_kB=4" */
static void take_pages(struct looking *looking, char *words)
{
	struct node_set lost = node_set_difference(&looking->change.now, &looking->change.then);
	uint64_t pages = 0, page_kib = 0;
	char *save = NULL;

	for (char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		uint64_t count;
		int node_id;

		if (sscanf(word, "N%d=%" SCNu64, &node_id, &count) == 2 && node_set_has(&lost, node_id))
			pages += count;
		else
			sscanf(word, "kernelpagesize_kB=%" SCNu64, &page_kib);
	}
	looking->effect->moved_bytes += pages * page_kib * 1024;
}

static bool is_gone(int error)
{
	return error == -ENOENT || error == -ENODEV || error == -ESRCH;
}

static int look_at_process(struct looking *looking)
{
	CLEANUP_FREE char *text = NULL;
	char *save = NULL;
	int rc = sysroot_read_all(looking->sysroot, MAPS_LIMIT, &text, NULL, "/proc/%d/numa_maps", (int)looking->process);

	if (rc < 0)
		return is_gone(rc) ? 0 : rc;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *policy = strchr(line, ' ');
		size_t length;

		if (!policy)
			continue;
		length = memory_policy_text_length(++policy);
		take_policy(looking, policy, length);
		take_pages(looking, policy + length);
	}
	return 0;
}

/* The number of the process that a thread is of. */
static int read_process(const struct sysroot *sysroot, int64_t task, pid_t *ret_process)
{
	CLEANUP_FREE char *text = NULL;
	const char *line;
	int process, rc = sysroot_read_all(sysroot, 65536, &text, NULL, "/proc/%d/status", (int)task);

	if (rc < 0)
		return rc;
	line = strstr(text, "\nTgid:");
	if (!line || sscanf(line, " Tgid: %d", &process) != 1)
		return -EBADMSG;
	*ret_process = process;
	return 0;
}

static int look_at_task(struct looking *looking, int64_t task, const struct change *change)
{
	pid_t process;
	int rc = looking->look ? looking->look(looking->user) : 0;

	if (rc == 0)
		rc = read_process(looking->sysroot, task, &process);
	if (rc < 0)
		return is_gone(rc) ? 0 : rc;
	if (process == looking->process && node_set_is_equal(&change->now, &looking->change.now) &&
	    node_set_is_equal(&change->then, &looking->change.then))
		return 0;
	looking->process = process;
	looking->change = *change;
	return look_at_process(looking);
}

static int look_at_group(struct looking *looking, const char *path, const struct change *change)
{
	CLEANUP_FREE char *text = NULL;
	char *save = NULL;
	int rc;

	if (node_set_is_equal(&change->now, &change->then))
		return 0;
	looking->effect->group_count++;
	rc = cgroup_memory_read_tasks(looking->sysroot, path, TASKS_LIMIT, &text);
	if (rc < 0)
		return is_gone(rc) ? 0 : rc;
	for (char *line = strtok_r(text, "\n", &save); line && !rc; line = strtok_r(NULL, "\n", &save)) {
		int64_t task = sysroot_name_number(line, "", NULL);

		/* 0: of another namespace of processes than ours */
		if (task > 0 && task <= INT32_MAX)
			rc = look_at_task(looking, task, change);
	}
	return rc;
}

int cpuset_effect_read(const struct sysroot *sysroot, const char *path, const struct node_set *mems,
		       int (*look)(void *user), void *user, struct cpuset_effect *ret_effect)
{
	CLEANUP(sysroot_names_done) struct sysroot_names groups = {0};
	CLEANUP_FREE struct change *changes = NULL;
	struct cpuset_effect effect = {0};
	struct looking looking = {.sysroot = sysroot, .look = look, .user = user, .effect = &effect};
	struct change top;
	int rc = change_top(sysroot, path, mems, &top);

	/* Then nothing below changes either. */
	if (rc == 0 && !node_set_is_equal(&top.now, &top.then))
		rc = cgroup_memory_list_tree(sysroot, path, &groups);
	if (rc == 0 && groups.count && !(changes = calloc(groups.count, sizeof(*changes))))
		rc = -ENOMEM;
	for (size_t i = 0; rc == 0 && i < groups.count; i++) {
		const struct change *over = i ? above(&groups, changes, i) : NULL;

		if (over)
			rc = change_below(sysroot, groups.names[i], over, &changes[i]);
		else
			changes[i] = top;
		if (rc == 0)
			rc = look_at_group(&looking, groups.names[i], &changes[i]);
	}
	if (rc < 0)
		return rc;
	*ret_effect = effect;
	return 0;
}
