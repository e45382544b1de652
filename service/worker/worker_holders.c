/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_holders.h"

#include <errno.h>
#include <string.h>
#include "model_json.h"

/* Kinds of which there is nothing are left out. */
static json_t *kinds_to_json(const uint64_t kinds[PAGE_KIND_COUNT])
{
	json_t *json = json_object();

	for (int kind = 0; kind < PAGE_KIND_COUNT; kind++)
		if (kinds[kind] && json_object_set_new(json, page_kind_name((enum page_kind)kind),
						       json_integer((json_int_t)kinds[kind]))) {
			json_decref(json);
			return NULL;
		}
	return json;
}

static json_t *group_to_json(const struct worker_holder *group)
{
	const struct cgroup_owner *owner = &group->owner;

	return json_pack("{s:I, s:o, s:I, s:i, s:o, s:b, s:I, s:i, s:o, s:o}", "inode", (json_int_t)owner->inode, "path",
			 model_json_text(owner->path), "processes", (json_int_t)owner->process_count, "pid", (int)owner->pid,
			 "name", model_json_text(owner->name), "is_guest", (int)owner->is_guest, "pinned_bytes",
			 (json_int_t)owner->pinned_bytes, "pinner_pid", (int)owner->pinner_pid, "pinner_name",
			 model_json_text(owner->pinner_name), "kinds", kinds_to_json(group->kinds));
}

json_t *worker_holders_to_json(const struct worker_holders *holders)
{
	json_t *groups = json_array();

	for (size_t i = 0; i < holders->count; i++)
		if (json_array_append_new(groups, group_to_json(&holders->groups[i]))) {
			json_decref(groups);
			return NULL;
		}
	return json_pack("{s:o, s:o, s:o, s:I, s:o}", "kernel", kinds_to_json(holders->kernel), "movable",
			 kinds_to_json(holders->movable), "groups", groups, "rest_count", (json_int_t)holders->rest_count,
			 "rest", kinds_to_json(holders->rest));
}

static int refuse(struct failure *failure, const char *why)
{
	failure_set(failure, EINVAL, "worker message", "cannot read who holds memory");
	failure_set_cause(failure, "%s", why);
	return -EINVAL;
}

static int parse_kinds(json_t *json, uint64_t kinds[PAGE_KIND_COUNT], struct failure *failure)
{
	const char *name;
	json_t *bytes;

	if (!json_is_object(json))
		return refuse(failure, "kinds of pages are no object");
	json_object_foreach(json, name, bytes) {
		int kind = page_kind_from_name(name);

		if (kind < 0)
			return refuse(failure, "there is no such kind of pages");
		if (!json_is_integer(bytes) || json_integer_value(bytes) < 0)
			return refuse(failure, "bytes are no whole number from 0");
		kinds[kind] = (uint64_t)json_integer_value(bytes);
	}
	return 0;
}

static int parse_group(json_t *json, struct worker_holder *group, struct failure *failure)
{
	struct cgroup_owner *owner = &group->owner;
	json_int_t inode, processes, pinned;
	const char *path, *name, *pinner;
	json_error_t error;
	json_t *kinds;
	int pid, pinner_pid, is_guest;

	if (json_unpack_ex(json, &error, JSON_STRICT, "{s:I, s:s, s:I, s:i, s:s, s:b, s:I, s:i, s:s, s:o}", "inode", &inode,
			   "path", &path, "processes", &processes, "pid", &pid, "name", &name, "is_guest", &is_guest,
			   "pinned_bytes", &pinned, "pinner_pid", &pinner_pid, "pinner_name", &pinner, "kinds", &kinds))
		return refuse(failure, error.text);
	if (processes < 0 || pid < 0 || pinned < 0 || pinner_pid < 0 || strlen(path) >= sizeof(owner->path) ||
	    strlen(name) >= sizeof(owner->name) || strlen(pinner) >= sizeof(owner->pinner_name))
		return refuse(failure, "a group's numbers or names are out of range");
	/* All 64 bits of an inode may be used. */
	owner->inode = (uint64_t)inode;
	owner->process_count = (size_t)processes;
	owner->pid = pid;
	owner->is_guest = is_guest;
	owner->pinned_bytes = (uint64_t)pinned;
	owner->pinner_pid = pinner_pid;
	strcpy(owner->pinner_name, pinner);
	strcpy(owner->path, path);
	strcpy(owner->name, name);
	return parse_kinds(kinds, group->kinds, failure);
}

int worker_holders_parse(const json_t *json, struct worker_holders *ret_holders, struct failure *failure)
{
	json_t *kernel, *movable, *groups, *rest;
	json_int_t rest_count;
	json_error_t error;
	int rc;

	memset(ret_holders, 0, sizeof(*ret_holders));
	if (json_unpack_ex((json_t *)json, &error, JSON_STRICT, "{s:o, s:o, s:o, s:I, s:o}", "kernel", &kernel, "movable",
			   &movable, "groups", &groups, "rest_count", &rest_count, "rest", &rest))
		return refuse(failure, error.text);
	if (!json_is_array(groups) || json_array_size(groups) > WORKER_HOLDERS_MAX || rest_count < 0)
		return refuse(failure, "groups are no list, or too many");
	ret_holders->count = json_array_size(groups);
	ret_holders->rest_count = (uint64_t)rest_count;
	rc = parse_kinds(kernel, ret_holders->kernel, failure);
	if (!rc)
		rc = parse_kinds(movable, ret_holders->movable, failure);
	if (!rc)
		rc = parse_kinds(rest, ret_holders->rest, failure);
	for (size_t i = 0; !rc && i < ret_holders->count; i++)
		rc = parse_group(json_array_get(groups, i), &ret_holders->groups[i], failure);
	return rc;
}
