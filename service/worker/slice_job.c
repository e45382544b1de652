/* SPDX-License-Identifier: Apache-2.0 */
#include "slice_job.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "cgroup_memory.h"
#include "cpuset_effect.h"
#include "job_context.h"
#include "node_mask.h"
#include "size_text.h"
#include "sysroot.h"
#include "systemd_unit.h"

/* As much of a slice may be moved along: at the slowest rate that was seen (one thread, 4 KiB pages) a fifth of a second. */
#define STRAY_BYTES (UINT64_C(16) << 20)
/* systemd writes a cgroup when it has nothing else to do. */
#define WAITS_MAX 50
#define WAIT_US	  100000
#define NAME_SIZE 64

struct slice {
	char name[NAME_SIZE], path[CGROUP_MEMORY_PATH_SIZE];
	bool is_unit;
	struct node_set mems; /* as written; empty: it inherits */
	struct node_set wanted, removed;
	struct node_set unit; /* what systemd has as its setting */
};

static void note(struct job_context *context, const char *name, uint64_t bytes, const char *what, ...) PRINTF_LIKE(4, 5);

/* Why a slice was left as it is. */
static void note(struct job_context *context, const char *name, uint64_t bytes, const char *what, ...)
{
	char object[96], text[200];
	va_list arguments;

	va_start(arguments, what);
	vsnprintf(text, sizeof(text), what, arguments);
	va_end(arguments);
	snprintf(object, sizeof(object), "slice %s", name);
	remainder_list_add(&context->result->remainder, REMAINDER_SLICE_CPUSET, object, bytes, NULL, "%s", text);
	/* A drain does not fail by it, and is to say it all the same. */
	job_context_warn(context, REMAINDER_SLICE_CPUSET, object, bytes, "%s", text);
}

/* ---- what there is ---- */

/* "a-b.slice" is /a.slice/a-b.slice, as systemd.slice(5) has it; another name is that of a group at the top. */
static int path_of(const char *name, char path[CGROUP_MEMORY_PATH_SIZE])
{
	const char *end = strrchr(name, '.');
	size_t used = 0;

	if (!name[0] || name[0] == '.' || name[0] == '-' || strchr(name, '/') || strlen(name) >= NAME_SIZE)
		return -EINVAL;
	path[0] = '\0';
	for (const char *dash = strchr(name, '-'); dash && end && strcmp(end, ".slice") == 0; dash = strchr(dash + 1, '-'))
		used += (size_t)snprintf(path + used, CGROUP_MEMORY_PATH_SIZE - used, "/%.*s.slice", (int)(dash - name), name);
	if (used >= CGROUP_MEMORY_PATH_SIZE || used + strlen(name) + 1 >= CGROUP_MEMORY_PATH_SIZE)
		return -ENAMETOOLONG;
	sprintf(path + used, "/%s", name);
	return 0;
}

static int read_mems(const struct job_context *context, const char *path, struct node_set *ret_mems)
{
	int rc = cgroup_memory_read_mems(context->sysroot, path, ret_mems);

	/* Nobody has handed it the controller, so nothing limits it. */
	if (rc == -ENOENT || rc == -ENODEV) {
		node_set_clear(ret_mems);
		return 0;
	}
	return rc;
}

/* All that can ever be there: a set of these limits nothing. */
static int read_possible(const struct job_context *context, struct node_set *ret_nodes)
{
	char text[NODE_SET_TEXT_SIZE];
	int rc = sysroot_read_text(context->sysroot, text, sizeof(text), "/sys/devices/system/node/possible");

	if (rc < 0)
		return rc;
	return node_set_parse(text, ret_nodes) < 0 || node_set_is_empty(ret_nodes) ? -EBADMSG : 0;
}

/* -ENOENT: there is no such slice. */
static int look_at(struct job_context *context, const char *name, struct slice *ret_slice, char why[HOOK_TEXT_SIZE])
{
	struct node_set nodes = node_mask_to_set(context->job->step.nodes), all;
	struct slice slice = {0};
	CLEANUP_CLOSE int fd = -1;
	int rc = path_of(name, slice.path);

	if (rc == 0) {
		snprintf(slice.name, sizeof(slice.name), "%s", name);
		slice.is_unit = systemd_unit_owns(context->sysroot, name);
		fd = cgroup_memory_open(context->sysroot, slice.path);
		rc = fd < 0 ? fd : read_mems(context, slice.path, &slice.mems);
	}
	if (rc == 0)
		rc = read_possible(context, &all);
	snprintf(why, HOOK_TEXT_SIZE, "%s", rc < 0 ? strerror(-rc) : "");
	if (rc == 0 && slice.is_unit)
		rc = systemd_unit_read_nodes(context, name, &slice.unit, why);
	if (rc < 0)
		return rc;
	if (!node_set_is_empty(&slice.mems))
		all = slice.mems;
	slice.removed = node_set_intersection(&all, &nodes);
	slice.wanted = node_set_difference(&all, &nodes);
	*ret_slice = slice;
	return 0;
}

/* ---- what it may be ---- */

/* False, told, where something would be moved or rewritten, or where nobody can tell. */
static bool is_harmless(struct job_context *context, const struct slice *slice, const struct node_set *mems)
{
	struct cpuset_effect effect;
	char text[MEMORY_POLICY_TEXT_SIZE], size[SIZE_TEXT_SIZE];
	int rc;

	do {
		rc = cpuset_effect_read(context->sysroot, slice->path, mems, job_context_look, context, &effect);
	} while (rc == -EAGAIN && job_context_go(context));
	if (context->stop != WORKER_CONTROL_GO)
		return false;
	if (rc < 0) {
		note(context, slice->name, 0, "what its processes have cannot be read: %s", strerror(-rc));
		return false;
	}
	if (effect.moved_bytes > STRAY_BYTES) {
		note(context, slice->name, effect.moved_bytes, "its processes have %s on nodes that they would lose, and the "
		     "kernel would move that at once", size_text_format(effect.moved_bytes, size));
		return false;
	}
	if (effect.pid) {
		note(context, slice->name, 0, "the kernel would rewrite the policy %s of process %d",
		     memory_policy_format(&effect.policy, text, sizeof(text)), (int)effect.pid);
		return false;
	}
	return true;
}

/* False, told, where no node with memory would be left: such a set is without effect. */
static bool leaves_memory(struct job_context *context, const struct slice *slice)
{
	char text[NODE_SET_TEXT_SIZE];
	struct node_set memory;
	int rc = cgroup_memory_read_effective_mems(context->sysroot, "/", &memory);

	if (rc < 0) {
		note(context, slice->name, 0, "which nodes have memory cannot be read: %s", strerror(-rc));
		return false;
	}
	if (node_set_intersects(&memory, &slice->wanted))
		return true;
	note(context, slice->name, 0, "without nodes %.40s it would have no memory",
	     node_set_format(&slice->removed, text, sizeof(text)));
	return false;
}

/* ---- writing ---- */

/* Until systemd has written it. */
static int await(struct job_context *context, const struct slice *slice, const struct node_set *mems,
		 char why[HOOK_TEXT_SIZE])
{
	struct node_set now;
	int rc;

	for (unsigned i = 0;; i++) {
		rc = read_mems(context, slice->path, &now);
		if (rc < 0)
			snprintf(why, HOOK_TEXT_SIZE, "%s", strerror(-rc));
		if (rc < 0 || node_set_is_equal(&now, mems))
			return rc;
		if (i == WAITS_MAX || !job_context_wait(context, WAIT_US))
			break;
	}
	snprintf(why, HOOK_TEXT_SIZE, "systemd has taken the setting, and cpuset.mems is another one");
	return -EIO;
}

static int write_mems(struct job_context *context, const struct slice *slice, const struct node_set *mems,
		      char why[HOOK_TEXT_SIZE])
{
	int rc;

	if (slice->is_unit) {
		rc = systemd_unit_set_nodes(context, slice->name, mems, why);
		return rc < 0 ? rc : await(context, slice, mems, why);
	}
	/* The group is there: this hands it the controller where nobody has. */
	rc = cgroup_memory_make(context->sysroot, slice->path, mems);
	snprintf(why, HOOK_TEXT_SIZE, "%s", rc < 0 ? strerror(-rc) : "");
	return rc;
}

/*
 * As it was found, once a set that says the same has been written: the kernel does not let a set become none again while
 * there are processes below (kernel/cgroup/cpuset.c validate_change), and systemd does not tell that it was refused.
 */
static int write_found(struct job_context *context, const struct slice *slice, const struct node_set *written,
		       bool inherits, char why[HOOK_TEXT_SIZE])
{
	struct node_set none = {0};

	if (slice->is_unit && node_set_is_equal(&slice->unit, written))
		return 0;
	if (slice->is_unit)
		return systemd_unit_set_nodes(context, slice->name, &slice->unit, why);
	if (inherits)
		(void)cgroup_memory_set_mems(context->sysroot, slice->path, &none);
	return 0;
}

/* ---- the step ---- */

typedef void slice_fn(struct job_context *context, const struct slice *slice, void *user);

/* Each slice of the step that is there. What cannot be looked at is given to failed. */
static void for_each(struct job_context *context, slice_fn *take, void *user,
		     void (*failed)(struct job_context *context, const char *name, int error, const char *why))
{
	char names[sizeof(context->job->step.slices)], why[HOOK_TEXT_SIZE];
	char *save = NULL;

	memcpy(names, context->job->step.slices, sizeof(names));
	for (char *name = strtok_r(names, " ", &save); name && job_context_go(context); name = strtok_r(NULL, " ", &save)) {
		struct slice slice;
		int rc = look_at(context, name, &slice, why);

		if (rc == 0)
			take(context, &slice, user);
		else if (rc == -ENOENT)
			job_context_detail(context, "%s is not there", name);
		else
			failed(context, name, rc, why);
	}
}

/* Has it a node to lose, and may it? False is told, but for a slice that has none. */
static bool may_narrow(struct job_context *context, const struct slice *slice)
{
	return !node_set_is_empty(&slice->removed) && leaves_memory(context, slice) &&
	       is_harmless(context, slice, &slice->wanted);
}

static void count_narrow(struct job_context *context, const struct slice *slice, void *count)
{
	*(unsigned *)count += may_narrow(context, slice);
}

static void before_failed(struct job_context *context, const char *name, int error, const char *why)
{
	job_context_fail(context, error, name, "cannot read its cpuset: %s", why);
}

/* What was left when the drain ended is looked at again and again: only where something can be done that is worth a step. */
static bool is_worth_it(struct job_context *context)
{
	struct worker_result *result = context->result;
	unsigned count = 0;

	if (!step_is_of_newcomer(&context->job->step))
		return true;
	for_each(context, count_narrow, &count, before_failed);
	if (!count && !failure_is_set(&result->failure)) {
		job_context_fail(context, EBUSY, "slices", "cannot take a node out");
		if (result->remainder.count)
			failure_set_cause(&result->failure, "%s: %s", result->remainder.items[0].object,
					  result->remainder.items[0].detail);
	}
	/* Told of the step, where there is one. */
	result->remainder.count = 0;
	return !failure_is_set(&result->failure);
}

static void add_before(struct job_context *context, const struct slice *slice, void *list)
{
	char mems[NODE_SET_TEXT_SIZE], wanted[NODE_SET_TEXT_SIZE], removed[NODE_SET_TEXT_SIZE], unit[NODE_SET_TEXT_SIZE];
	json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", slice->name, "path", slice->path, "mems",
				 node_set_format(&slice->mems, mems, sizeof(mems)), "wanted",
				 node_set_format(&slice->wanted, wanted, sizeof(wanted)), "removed",
				 node_set_format(&slice->removed, removed, sizeof(removed)));

	if (slice->is_unit && json)
		json_object_set_new(json, "unit", json_string(node_set_format(&slice->unit, unit, sizeof(unit))));
	if (json_array_append_new(list, json) < 0)
		job_context_fail(context, ENOMEM, slice->name, "cannot keep what it was");
}

void slice_job_before(struct job_context *context)
{
	json_t *list = json_array();

	if (is_worth_it(context))
		for_each(context, add_before, list, before_failed);
	/* What is not written down could not be put back. */
	if (!failure_is_set(&context->result->failure))
		job_context_give(context, "slices", list ? json_pack("{s:O}", "slices", list) : NULL);
	json_decref(list);
}

static void narrow(struct job_context *context, const struct slice *slice, void *count)
{
	char text[NODE_SET_TEXT_SIZE], why[HOOK_TEXT_SIZE];
	struct node_set now;

	if (!may_narrow(context, slice))
		return;
	if (write_mems(context, slice, &slice->wanted, why) < 0)
		note(context, slice->name, 0, "nodes %.40s could not be taken out: %.120s",
		     node_set_format(&slice->removed, text, sizeof(text)), why);
	/* After an error it is what it was only where that can be seen. */
	if (read_mems(context, slice->path, &now) < 0 || !node_set_is_equal(&now, &slice->mems))
		++*(unsigned *)count;
}

static void narrow_failed(struct job_context *context, const char *name, int error, const char *why)
{
	note(context, name, 0, "its cpuset cannot be read: %s", why[0] ? why : strerror(-error));
}

void slice_job_run(struct job_context *context)
{
	unsigned count = 0;

	for_each(context, narrow, &count, narrow_failed);
	job_context_detail(context, "%u slice%s", count, count == 1 ? "" : "s");
	job_context_settle(context, "slices", 0, count > 0);
	/* What was narrowed is to be undone by an undo. */
	if (count && context->result->outcome == WORKER_OUTCOME_CANCELLED)
		context->result->outcome = WORKER_OUTCOME_PARTIAL;
}

/* ---- back ---- */

static bool take_set(const json_t *json, const char *key, struct node_set *ret_set)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text && node_set_parse(text, ret_set) == 0;
}

static bool parse_slice(const struct job_context *context, const json_t *json, struct slice *ret_slice)
{
	const char *name = json_string_value(json_object_get(json, "name"));
	struct slice slice = {0};

	/* The path is told for people: a name that climbs out of the tree was not written by us. */
	if (!name || path_of(name, slice.path) < 0 || !take_set(json, "mems", &slice.mems) ||
	    !take_set(json, "wanted", &slice.wanted) || !take_set(json, "removed", &slice.removed))
		return false;
	snprintf(slice.name, sizeof(slice.name), "%s", name);
	slice.is_unit = take_set(json, "unit", &slice.unit) && systemd_unit_owns(context->sysroot, name);
	*ret_slice = slice;
	return true;
}

/* Is there nothing to give back, because it has it all, or because somebody has taken more, who is not a drain? */
static bool is_settled(struct job_context *context, const struct slice *slice, const struct node_set *now)
{
	struct node_set held = node_mask_to_set(context->job->step.from_nodes);
	struct node_set missing = node_set_difference(&slice->wanted, now);
	char text[NODE_SET_TEXT_SIZE];

	if (node_set_is_empty(now) || node_set_is_subset(&slice->removed, now))
		return true;
	missing = node_set_difference(&missing, &held);
	if (node_set_is_empty(&missing))
		return false;
	note(context, slice->name, 0, "somebody has set it to nodes %.40s since: it is left so",
	     node_set_format(now, text, sizeof(text)));
	return true;
}

/* False: it could not be done, which is told. */
static bool widen(struct job_context *context, struct slice *slice)
{
	struct node_set now, back, all;
	char why[HOOK_TEXT_SIZE] = "";
	bool is_found, inherits;
	int rc;

	if (node_set_is_empty(&slice->removed))
		return true;
	rc = read_mems(context, slice->path, &now);
	if (rc == 0 && is_settled(context, slice, &now))
		return true;
	if (rc == 0)
		rc = read_possible(context, &all);
	if (rc < 0) {
		note(context, slice->name, 0, "its cpuset cannot be read: %s", strerror(-rc));
		return false;
	}
	back = node_set_union(&now, &slice->removed);
	is_found = node_set_is_equal(&back, node_set_is_empty(&slice->mems) ? &all : &slice->mems);
	/* Where drains end in another order than they began what is found now is none's before. */
	inherits = node_set_is_equal(&back, &all) && (!is_found || node_set_is_empty(&slice->mems));
	if (!is_found)
		node_set_clear(&slice->unit);
	if (!is_harmless(context, slice, &back))
		return false;
	rc = write_mems(context, slice, &back, why);
	if (rc == 0 && (is_found || inherits))
		rc = write_found(context, slice, &back, inherits, why);
	if (rc < 0)
		note(context, slice->name, 0, "its nodes could not be given back: %.120s", why);
	return rc == 0;
}

void slice_job_undo(struct job_context *context)
{
	const json_t *list = json_object_get(context->before, "slices");
	size_t count = json_array_size(list), failed = 0;

	for (size_t i = 0; i < count && job_context_go(context); i++) {
		struct slice slice;

		if (!parse_slice(context, json_array_get(list, i), &slice)) {
			note(context, "?", 0, "what it was before cannot be read");
			failed++;
		} else if (!widen(context, &slice)) {
			failed++;
		}
	}
	if (!failed && context->stop == WORKER_CONTROL_GO)
		context->result->outcome = WORKER_OUTCOME_DONE;
	else
		job_context_settle(context, "slices", 0, failed < count);
}
