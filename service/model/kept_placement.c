/* SPDX-License-Identifier: Apache-2.0 */
#include "kept_placement.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void kept_placement_done(struct kept_placement *kept)
{
	json_decref(kept->groups);
	step_done(&kept->policy);
	*kept = (struct kept_placement){0};
}

json_t *kept_placement_before(const struct step_record *record, const struct snapshot_guest *guest)
{
	json_t *before = record->before ? json_loads(record->before, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const json_t *process = json_object_get(before, "process");

	if (json_integer_value(json_object_get(process, "pid")) == guest->pid &&
	    (uint64_t)json_integer_value(json_object_get(process, "start_time")) == guest->start_time)
		return before;
	json_decref(before);
	return NULL;
}

static uint64_t node_bit(int node)
{
	return node >= 0 && node < SNAPSHOT_NODES_MAX ? UINT64_C(1) << node : 0;
}

static void take_map(struct kept_placement *kept, const struct wish_move *wish)
{
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		if (wish->map[node] < 0)
			continue;
		kept->wanted_nodes |= node_bit(wish->map[node]);
		kept->left_nodes |= node_bit(node);
	}
	/* One cell's place may be where another came from. */
	kept->left_nodes &= ~kept->wanted_nodes;
}

static void take_cells(struct kept_placement *kept, const struct wish_move *wish, const struct snapshot_guest *guest)
{
	bool is_whole = guest->cell_count > 0;

	for (size_t i = 0; i < guest->cell_count; i++) {
		int id = guest->cells[i].id;
		int node = id >= 0 && id < SNAPSHOT_CELLS_MAX ? wish->cells[id] : -1;

		is_whole &= node >= 0;
		kept->wanted_nodes |= node_bit(node);
	}
	/* A cell that stayed lies where it lay: what is there has not drifted. */
	if (is_whole)
		kept->left_nodes = ~kept->wanted_nodes;
}

static void take_nodes(struct kept_placement *kept, const struct operation_record *operation, const struct step *step,
		       const struct snapshot_guest *guest)
{
	const struct wish_move *wish = &operation->wish.move;

	switch (wish->form) {
	case MOVE_FORM_TO:
		kept->wanted_nodes = wish->to_nodes;
		kept->left_nodes = ~wish->to_nodes;
		return;
	case MOVE_FORM_MAP:
		take_map(kept, wish);
		return;
	case MOVE_FORM_CELLS:
		take_cells(kept, wish, guest);
		return;
	case MOVE_FORM_NEAR_CPUS:
		kept->wanted_nodes = step->nodes;
		kept->left_nodes = step->nodes ? ~step->nodes : 0;
		return;
	case MOVE_FORM_COUNT:
		return;
	}
}

static int take_step(struct kept_placement *kept, const struct operation_record *operation,
		     const struct step_record *record, const struct snapshot_guest *guest)
{
	json_t *before;
	int rc = 0;

	if (record->state != STEP_STATE_DONE && record->state != STEP_STATE_PARTIAL)
		return 0;
	/* What was widened round it before is its own again (a guest of mode restrictive). */
	if (record->step.kind == STEP_KIND_NUMATUNE && !kept->mems)
		kept->is_libvirts = true;
	if (record->step.kind != STEP_KIND_CPUSET && record->step.kind != STEP_KIND_MEMORY_POLICY &&
	    record->step.kind != STEP_KIND_MOVE_PAGES && record->step.kind != STEP_KIND_CPUS)
		return 0;
	before = kept_placement_before(record, guest);
	if (!before)
		return 0;
	if (record->step.kind == STEP_KIND_CPUSET && !kept->mems && !kept->is_libvirts) {
		kept->mems = record->step.nodes;
		kept->groups = json_incref(json_object_get(before, "groups"));
	} else if (record->step.kind == STEP_KIND_MEMORY_POLICY && !kept->has_policy) {
		rc = step_copy(&record->step, &kept->policy);
		kept->has_policy = rc == 0;
	} else if (record->step.kind == STEP_KIND_CPUS && !kept->cpu_nodes) {
		kept->cpu_nodes = record->step.nodes;
	/* What lay in ranges is away for a while only. */
	} else if (record->step.kind == STEP_KIND_MOVE_PAGES && !kept->wanted_nodes && !operation->wish.move.range_count) {
		take_nodes(kept, operation, &record->step, guest);
	}
	json_decref(before);
	return rc;
}

int kept_placement_take(struct kept_placement *kept, const struct operation_record *operation,
			const struct snapshot_guest *guest)
{
	if (operation->wish.kind != OPERATION_KIND_MOVE || !operation_state_is_final(operation->state) ||
	    strcmp(operation->wish.guest, guest->uuid) != 0 || guest->pid <= 0)
		return 0;
	/* A move may widen and narrow again: its last word counts. */
	for (size_t i = operation->step_count; i-- > 0;) {
		int rc = take_step(kept, operation, &operation->steps[i], guest);

		if (rc)
			return rc;
	}
	return 0;
}

int kept_placement_inherit(struct kept_placement *kept, const struct kept_placement *older)
{
	if (!kept->mems && !kept->is_libvirts) {
		json_decref(kept->groups);
		kept->mems = older->mems;
		kept->is_libvirts = older->is_libvirts;
		kept->groups = json_incref(older->groups);
	}
	for (int cell = 0; cell < SNAPSHOT_CELLS_MAX; cell++)
		if (!kept->cells[cell])
			kept->cells[cell] = older->cells[cell];
	if (!kept->cpu_nodes)
		kept->cpu_nodes = older->cpu_nodes;
	if (!kept->wanted_nodes) {
		kept->wanted_nodes = older->wanted_nodes;
		kept->left_nodes = older->left_nodes;
	}
	if (!kept->has_policy && older->has_policy) {
		int rc = step_copy(&older->policy, &kept->policy);

		if (rc)
			return rc;
		kept->has_policy = true;
	}
	return 0;
}

void kept_placement_see_cells(struct kept_placement *kept, const struct snapshot_guest *guest)
{
	uint64_t seen[SNAPSHOT_CELLS_MAX] = {0};

	for (size_t i = 0; i < guest->backing_count; i++) {
		const struct snapshot_backing *part = &guest->backings[i];
		uint64_t nodes;

		snapshot_guest_part_policy(guest, i, &nodes);
		if (snapshot_backing_takes_policy(part) && part->cell >= 0 && part->cell < SNAPSHOT_CELLS_MAX)
			seen[part->cell] |= nodes;
	}
	for (int cell = 0; cell < SNAPSHOT_CELLS_MAX; cell++)
		if (seen[cell] && !(seen[cell] & (seen[cell] - 1)))
			kept->cells[cell] = (int8_t)(__builtin_ctzll(seen[cell]) + 1);
}

bool kept_placement_new_policy(const struct kept_placement *kept, struct step *ret_step, int *ret_error)
{
	bool is_known = !kept->policy.by_map;

	for (int cell = 0; cell < SNAPSHOT_CELLS_MAX; cell++)
		is_known |= kept->cells[cell] != 0;
	*ret_error = 0;
	if (!kept->has_policy || !is_known)
		return false;
	*ret_error = step_copy(&kept->policy, ret_step);
	if (*ret_error || !kept->policy.by_map)
		return *ret_error == 0;
	ret_step->by_map = false;
	ret_step->by_cells = true;
	for (int cell = 0; cell < SNAPSHOT_CELLS_MAX; cell++)
		ret_step->cells[cell] = (int8_t)(kept->cells[cell] - 1);
	return true;
}

/* A list of nodes as the kernel prints a set ("0,2-3"), as a mask. False for none, or for what is no list. */
static bool parse_mems(const char *text, uint64_t *ret_mask)
{
	uint64_t mask = 0;

	for (const char *at = text; at && *at;) {
		unsigned first, last;
		int used = 0;

		if (sscanf(at, "%2u-%2u%n", &first, &last, &used) != 2 || !used) {
			if (sscanf(at, "%2u%n", &first, &used) != 1)
				return false;
			last = first;
		}
		if (first > last || last >= SNAPSHOT_NODES_MAX || (at[used] != ',' && at[used] != '\0'))
			return false;
		for (unsigned node = first; node <= last; node++)
			mask |= UINT64_C(1) << node;
		at += used + (at[used] == ',');
	}
	*ret_mask = mask;
	return mask != 0;
}

static bool is_known(const json_t *groups, const char *path, json_int_t inode)
{
	size_t index;
	json_t *group;

	json_array_foreach(groups, index, group) {
		const char *known = json_string_value(json_object_get(group, "path"));

		/* A thread that came back has a group of the same name: another one. */
		if (known && strcmp(known, path) == 0 &&
		    json_integer_value(json_object_get(group, "inode")) == inode)
			return true;
	}
	return false;
}

enum kept_placement_verdict kept_placement_judge(const struct kept_placement *kept, const json_t *groups,
						 char detail[160])
{
	enum kept_placement_verdict verdict = KEPT_PLACEMENT_RIGHT;
	size_t index, length = 0;
	json_t *group;

	detail[0] = '\0';
	json_array_foreach(groups, index, group) {
		const char *path = json_string_value(json_object_get(group, "path")),
			   *mems = json_string_value(json_object_get(group, "mems")), *name;
		bool is_changed;
		uint64_t mask;

		if (!path || !mems || !parse_mems(mems, &mask) || mask == kept->mems)
			continue;
		is_changed = is_known(kept->groups, path, json_integer_value(json_object_get(group, "inode")));
		if (is_changed)
			verdict = KEPT_PLACEMENT_OVERRULED;
		else if (verdict == KEPT_PLACEMENT_RIGHT)
			verdict = KEPT_PLACEMENT_NEW_GROUPS;
		name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
		if (length + 1 < 160)
			length += (size_t)snprintf(detail + length, 160 - length, "%s%s: cpuset.mems %s", length ? ", " : "",
						   name, mems);
	}
	return verdict;
}
