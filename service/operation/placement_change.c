/* SPDX-License-Identifier: Apache-2.0 */
#include "placement_change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kept_placement.h"
#include "memory_policy.h"
#include "node_mask.h"
#include "wanted_policy.h"

struct known_step {
	struct step step; /* owned */
	json_t *before;	  /* owned */
};

struct placement_change {
	uint64_t sources; /* of the move */
	size_t count;
	struct known_step steps[]; /* in their order */
};

struct placement_change *placement_change_free(struct placement_change *change)
{
	for (size_t i = 0; change && i < change->count; i++) {
		step_done(&change->steps[i].step);
		json_decref(change->steps[i].before);
	}
	free(change);
	return NULL;
}

/* Has it written down what groups, or policies, there were? */
static bool tells_groups(const struct known_step *known)
{
	return step_sets_cpuset(&known->step) || json_object_get(known->before, "groups");
}

static bool tells_policies(const struct known_step *known)
{
	return step_sets_policy(&known->step) || json_object_get(known->before, "ranges");
}

/* What it wrote down, if that is of this process. libvirt's word is not a process' own. */
static json_t *before_of(const struct step_record *record, const struct snapshot_guest *guest)
{
	if (record->step.kind != STEP_KIND_NUMATUNE)
		return kept_placement_before(record, guest);
	return record->before ? json_loads(record->before, JSON_REJECT_DUPLICATES, NULL) : NULL;
}

struct placement_change *placement_change_new(const struct operation_record *operation, const struct snapshot_guest *guest)
{
	const struct wish_move *move = &operation->wish.move;
	struct placement_change *change =
		calloc(1, sizeof(*change) + operation->step_count * sizeof(change->steps[0]));

	for (size_t i = 0; change && i < operation->step_count; i++) {
		const struct step_record *record = &operation->steps[i];
		struct known_step *known = &change->steps[change->count];

		if (!step_sets_policy(&record->step) && !step_sets_cpuset(&record->step) && record->step.kind != STEP_KIND_MOVE_PAGES)
			continue;
		known->before = before_of(record, guest);
		if (!known->before)
			continue;
		if (step_copy(&record->step, &known->step) < 0) {
			json_decref(known->before);
			return placement_change_free(change);
		}
		change->count++;
	}
	for (int node = 0; change && move->form == MOVE_FORM_MAP && node < SNAPSHOT_NODES_MAX; node++)
		if (move->map[node] >= 0)
			change->sources |= node_mask_of(node);
	return change;
}

const struct step *placement_change_cpuset_step(const struct placement_change *change)
{
	/* libvirt's own way is not looked at by a worker. */
	for (size_t i = change->count; i-- > 0;)
		if (change->steps[i].step.kind != STEP_KIND_NUMATUNE && tells_groups(&change->steps[i]))
			return &change->steps[i].step;
	return NULL;
}

const struct step *placement_change_policy_step(const struct placement_change *change)
{
	for (size_t i = change->count; i-- > 0;)
		if (tells_policies(&change->steps[i]))
			return &change->steps[i].step;
	return NULL;
}

static bool text_of(const json_t *json, const char *key, const char **ret_text)
{
	*ret_text = json_string_value(json_object_get(json, key));
	return *ret_text != NULL;
}

static bool set_of(const json_t *json, const char *key, struct node_set *ret_set)
{
	const char *text;

	return text_of(json, key, &text) && node_set_parse(text, ret_set) == 0;
}

/* ---- cpusets ---- */

/* The group as the step found it, or NULL. A thread that came back has a group of the same name: another one. */
static const json_t *find_group(const struct known_step *known, const json_t *group)
{
	const char *path, *other;
	size_t index;
	json_t *found;

	if (!text_of(group, "path", &path))
		return NULL;
	json_array_foreach(json_object_get(known->before, "groups"), index, found) {
		if (text_of(found, "path", &other) && strcmp(other, path) == 0 &&
		    json_integer_value(json_object_get(found, "inode")) ==
			    json_integer_value(json_object_get(group, "inode")))
			return found;
	}
	return NULL;
}

/* Does the step say so of the group, or did it find it so? */
static bool step_leaves_group(const struct known_step *known, const json_t *group, const struct node_set *now)
{
	struct node_set nodes = node_mask_to_set(known->step.nodes), had;
	const json_t *found = find_group(known, group);

	if (step_sets_cpuset(&known->step) && node_set_is_equal(&nodes, now))
		return true;
	/* libvirt sets all groups alike. */
	if (known->step.kind == STEP_KIND_NUMATUNE)
		return set_of(known->before, "nodes", &had) && node_set_is_equal(&had, now);
	if (!found || !set_of(found, "mems", &had))
		return false;
	/* What inherited gets what it would inherit when that is put back. */
	if (node_set_is_empty(&had) && !set_of(group, "inherits", &had))
		return false;
	return node_set_is_equal(&had, now);
}

static bool is_group_changed(const struct placement_change *change, const json_t *group, const struct node_set *limits)
{
	struct node_set now;
	bool is_known = false;

	/* libvirt itself gives the emulator's group all nodes for a while, and others when it starts: that is no place. */
	if (!set_of(group, "mems", &now) || node_set_is_empty(&now) || node_set_is_subset(limits, &now))
		return false;
	for (size_t i = 0; i < change->count; i++) {
		const struct known_step *known = &change->steps[i];

		if (!tells_groups(known))
			continue;
		if (step_leaves_group(known, group, &now))
			return false;
		is_known = is_known || find_group(known, group);
	}
	return is_known;
}

bool placement_change_in_cpusets(const struct placement_change *change, const json_t *values, uint64_t memory_nodes,
				 uint64_t held_nodes, char ret_detail[160])
{
	/* Who gave a group all nodes while this was drained gave it these. */
	struct node_set limits = node_mask_to_set(memory_nodes & ~change->sources & ~held_nodes);
	size_t index;
	json_t *group;

	json_array_foreach(json_object_get(values, "groups"), index, group) {
		const char *path = json_string_value(json_object_get(group, "path"));

		if (!is_group_changed(change, group, &limits))
			continue;
		snprintf(ret_detail, 160, "cpuset.mems of %.40s is %.60s, set by somebody else", strrchr(path, '/') + 1,
			 json_string_value(json_object_get(group, "mems")));
		return true;
	}
	return false;
}

/* ---- policies ---- */

struct known_range {
	json_int_t inode, device, offset;
	struct memory_policy policy;
	int cell;
};

static bool take_range(const json_t *json, struct known_range *ret_range)
{
	struct known_range range = {.cell = -1};
	const json_t *cell = json_object_get(json, "cell");
	const char *text;

	if (!text_of(json, "policy", &text) || memory_policy_parse(text, &range.policy) < 0)
		return false;
	range.inode = json_integer_value(json_object_get(json, "inode"));
	range.device = json_integer_value(json_object_get(json, "device"));
	range.offset = json_integer_value(json_object_get(json, "offset"));
	if (json_is_integer(cell))
		range.cell = (int)json_integer_value(cell);
	*ret_range = range;
	return true;
}

static bool find_range(const struct known_step *known, const struct known_range *range, struct known_range *ret_range)
{
	size_t index;
	json_t *json;

	json_array_foreach(json_object_get(known->before, "ranges"), index, json) {
		struct known_range found;

		if (!take_range(json, &found) || found.inode != range->inode || found.device != range->device ||
		    found.offset != range->offset)
			continue;
		*ret_range = found;
		return true;
	}
	return false;
}

/* What is loose is to be bound, and the kernel tells one preferred node from several. */
static enum memory_policy_mode mode_of(const struct memory_policy *policy)
{
	if (wanted_policy_is_loose(policy))
		return MEMORY_POLICY_BIND;
	return policy->mode == MEMORY_POLICY_PREFERRED_MANY ? MEMORY_POLICY_PREFERRED : policy->mode;
}

/*
 * Is it what this policy became when it was set? A kernel leaves out nodes without memory, and an old one all but the first of
 * those that are preferred.
 */
static bool is_set(const struct memory_policy *now, const struct memory_policy *set, const struct node_set *memory)
{
	struct node_set kept = node_set_intersection(&set->nodes, memory), first;

	if (mode_of(now) != mode_of(set))
		return false;
	if (set->is_relative || node_set_is_equal(&now->nodes, &set->nodes) || node_set_is_equal(&now->nodes, &kept))
		return true;
	if (set->mode != MEMORY_POLICY_PREFERRED_MANY || wanted_policy_is_loose(set))
		return false;
	first = node_set_of(node_set_next(&set->nodes, -1));
	return node_set_is_equal(&now->nodes, &first);
}

static bool is_range_changed(const struct placement_change *change, const struct known_range *range,
			     const struct node_set *memory)
{
	bool is_touched = false;

	/* Nobody but a lazy move sets it from outside. */
	if (range->policy.is_balancing)
		return false;
	for (size_t i = 0; i < change->count; i++) {
		const struct known_step *known = &change->steps[i];
		struct known_range had;
		struct memory_policy set;

		if (!tells_policies(known) || !find_range(known, range, &had))
			continue;
		if (is_set(&range->policy, &had.policy, memory))
			return false;
		if (known->step.kind != STEP_KIND_MEMORY_POLICY) {
			is_touched = true;
			continue;
		}
		if (!wanted_policy_of_step(&known->step, &had.policy, range->cell, &set))
			continue;
		/* Without a policy of its own it shows that of its process. */
		if (set.mode == MEMORY_POLICY_DEFAULT || is_set(&range->policy, &set, memory))
			return false;
		is_touched = true;
	}
	return is_touched;
}

bool placement_change_in_policies(const struct placement_change *change, const json_t *values, uint64_t memory_nodes,
				  char ret_detail[160])
{
	struct node_set memory = node_mask_to_set(memory_nodes);
	char text[MEMORY_POLICY_TEXT_SIZE];
	size_t index;
	json_t *json;

	json_array_foreach(json_object_get(values, "ranges"), index, json) {
		struct known_range range;

		if (!take_range(json, &range) || !is_range_changed(change, &range, &memory))
			continue;
		snprintf(ret_detail, 160, "memory of it has the policy %.80s, set by somebody else",
			 memory_policy_format(&range.policy, text, sizeof(text)));
		return true;
	}
	return false;
}
