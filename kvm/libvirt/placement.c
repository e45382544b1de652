/* SPDX-License-Identifier: Apache-2.0 */
#include "placement.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "domain_xml.h"
#include "node_set.h"

static const char *const outcome_names[PLACEMENT_OUTCOME_COUNT] = {
	[PLACEMENT_CAN_TAKE_BACK] = "can_take_back",
	[PLACEMENT_NO_NUMATUNE] = "no_numatune",
	[PLACEMENT_STRICT] = "strict",
	[PLACEMENT_NOT_RESTRICTIVE] = "not_restrictive",
	[PLACEMENT_AUTOMATIC] = "automatic",
	[PLACEMENT_PER_CELL] = "per_cell",
	[PLACEMENT_NOT_RUNNING] = "not_running",
};
NAME_TABLE_DEFINE(placement_outcome, outcome_names)

enum placement_outcome placement_can_take_back(const struct domain_xml *live)
{
	if (live->id < 0)
		return PLACEMENT_NOT_RUNNING;
	if (!live->numatune.present)
		return PLACEMENT_NO_NUMATUNE;
	if (live->numatune.automatic)
		return PLACEMENT_AUTOMATIC;
	if (live->numatune.memnode_count)
		return PLACEMENT_PER_CELL;
	switch (live->numatune.mode) {
	case DOMAIN_XML_MODE_STRICT:
		return PLACEMENT_STRICT;
	case DOMAIN_XML_MODE_PREFERRED:
	case DOMAIN_XML_MODE_INTERLEAVE:
		return PLACEMENT_NOT_RESTRICTIVE;
	case DOMAIN_XML_MODE_RESTRICTIVE:
	case DOMAIN_XML_MODE_COUNT:
		break;
	}
	return PLACEMENT_CAN_TAKE_BACK;
}

const char *placement_outcome_text(enum placement_outcome outcome)
{
	static const char *const texts[PLACEMENT_OUTCOME_COUNT] = {
		[PLACEMENT_CAN_TAKE_BACK] = "libvirt can change its nodes and change them back",
		[PLACEMENT_NO_NUMATUNE] = "it has no numatune, and one set now would leave it "
					  "strict for the rest of its run",
		[PLACEMENT_STRICT] =
			"its numatune is strict, which libvirt cannot change while it runs",
		[PLACEMENT_NOT_RESTRICTIVE] = "its numatune is not restrictive, which libvirt "
					      "cannot change while it runs",
		[PLACEMENT_AUTOMATIC] =
			"its nodes were chosen by numad and will be at its next start",
		[PLACEMENT_PER_CELL] = "its cells have nodes of their own, and libvirt takes one "
				       "set for all while it runs",
		[PLACEMENT_NOT_RUNNING] = "it is not running",
	};

	return name_table_name(texts, PLACEMENT_OUTCOME_COUNT, (int)outcome);
}

static bool fits(const char *nodes, const struct node_set *available)
{
	struct node_set set;

	return !nodes[0] ||
	       (node_set_parse(nodes, &set) == 0 && node_set_is_subset(&set, available));
}

bool placement_stored_fits(const struct domain_xml *stored, const char *available_nodes)
{
	struct node_set available;

	if (node_set_parse(available_nodes, &available) < 0)
		return false;
	/* numad's choice is made anew at every start. */
	if (!stored->numatune.automatic && !fits(stored->numatune.nodes, &available))
		return false;
	for (size_t i = 0; i < stored->cell_count; i++)
		if (stored->cells[i].has_nodes && !fits(stored->cells[i].nodes, &available))
			return false;
	for (size_t i = 0; i < stored->device_count; i++)
		if (!fits(stored->devices[i].source_nodes, &available))
			return false;
	return true;
}

/* Returns 1 with the new text in result, 0 where nodes does not name from. */
static int replace(const char *nodes, unsigned from, unsigned to,
		   char result[DOMAIN_XML_NODES_SIZE])
{
	struct node_set set, check;

	if (node_set_parse(nodes, &set) < 0 || !node_set_has(&set, (int)from))
		return 0;
	node_set_remove(&set, (int)from);
	node_set_add(&set, (int)to);
	node_set_format(&set, result, DOMAIN_XML_NODES_SIZE);
	if (node_set_parse(result, &check) < 0 || !node_set_is_equal(&set, &check))
		return -ENOSPC;
	return 1;
}

static int replace_all(struct domain_xml_placement *placement, unsigned from, unsigned to,
		       bool write)
{
	size_t total = placement->cell_count + placement->device_count;
	char result[DOMAIN_XML_NODES_SIZE];
	int changed = 0;

	for (size_t i = 0; i <= total; i++) {
		char *nodes = placement->nodes;
		int one;

		if (i > placement->cell_count)
			nodes = placement->devices[i - 1 - placement->cell_count].nodes;
		else if (i > 0)
			nodes = placement->cells[i - 1].nodes;
		else if (!placement->has_nodes)
			continue;
		one = replace(nodes, from, to, result);
		if (one < 0)
			return one;
		if (one && write)
			snprintf(nodes, DOMAIN_XML_NODES_SIZE, "%s", result);
		changed += one;
	}
	return changed;
}

int placement_replace_node(struct domain_xml_placement *placement, unsigned from, unsigned to)
{
	int changed;

	if (from >= NODE_SET_MAX || to >= NODE_SET_MAX)
		return -ERANGE;
	changed = replace_all(placement, from, to, false);
	return changed < 0 ? changed : replace_all(placement, from, to, true);
}

/* The set of one cell, or of all of the guest (cell -1), after the move. */
static int follow_set(const char *nodes, int cell, const struct placement_move *move, struct node_set *ret_set)
{
	struct node_set old, moved, new;

	if (node_set_parse(nodes, &old) < 0 || node_set_parse(move->nodes ? move->nodes : "", &moved) < 0)
		return -EINVAL;
	node_set_clear(&new);
	if (move->cells) {
		if (cell >= 0 && (size_t)cell < move->cell_count)
			new = move->cells[cell] >= 0 ? node_set_of(move->cells[cell]) : old;
		else
			new = node_set_union(&old, &moved);
	} else if (move->map) {
		NODE_SET_FOR_EACH(node, &old) {
			bool is_mapped = (size_t)node < move->map_count && move->map[node] >= 0;

			node_set_add(&new, is_mapped ? move->map[node] : node);
		}
	} else {
		new = moved;
	}
	*ret_set = new;
	return node_set_is_empty(&new) ? -EINVAL : 0;
}

static bool has_memnode(const struct domain_xml_placement *placement, size_t cell)
{
	for (size_t i = 0; i < placement->cell_count; i++)
		if (placement->cells[i].cell == (int)cell)
			return true;
	return false;
}

/*
 * Cells that have no memnode lie anywhere in the set of the whole guest. Once that has the nodes of several cells, each
 * needs one of its own, where it went or where it stays.
 */
static int add_cells(struct domain_xml_placement *placement, const struct placement_move *move)
{
	struct domain_xml_nodes *cells;

	if (!move->cells || !placement->has_nodes)
		return 0;
	cells = reallocarray(placement->cells, placement->cell_count + move->cell_count + 1, sizeof(*cells));
	if (!cells)
		return -ENOMEM;
	placement->cells = cells;
	for (size_t cell = 0; cell < move->cell_count; cell++) {
		struct domain_xml_nodes *added = &cells[placement->cell_count];

		if (has_memnode(placement, cell))
			continue;
		*added = (struct domain_xml_nodes){.id = (unsigned)cell, .cell = (int)cell};
		memcpy(added->nodes, placement->nodes, sizeof(added->nodes));
		placement->cell_count++;
	}
	return 0;
}

/* By cells: what moved, and what the cells' own sets say now. */
static int follow_whole(const struct domain_xml_placement *placement, const struct domain_xml_placement *after,
			const struct placement_move *move, struct node_set *ret_set)
{
	struct node_set whole, one;

	/* A guest that has no cells to tell apart is bound as a whole. */
	if (!move->cells || after->cell_count == 0)
		return follow_set(placement->nodes, -1, move, ret_set);
	if (node_set_parse(move->nodes ? move->nodes : "", &whole) < 0)
		return -EINVAL;
	for (size_t i = 0; i < after->cell_count; i++) {
		if (node_set_parse(after->cells[i].nodes, &one) < 0)
			return -EINVAL;
		whole = node_set_union(&whole, &one);
	}
	*ret_set = whole;
	return node_set_is_empty(&whole) ? -EINVAL : 0;
}

static int write_set(const struct node_set *set, char nodes[DOMAIN_XML_NODES_SIZE])
{
	struct node_set check;

	node_set_format(set, nodes, DOMAIN_XML_NODES_SIZE);
	return node_set_parse(nodes, &check) < 0 || !node_set_is_equal(set, &check) ? -ENOSPC : 0;
}

static int follow_list(struct domain_xml_nodes *list, size_t count, const struct placement_move *move)
{
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		struct node_set set;

		rc = follow_set(list[i].nodes, list[i].cell, move, &set);
		if (rc == 0)
			rc = write_set(&set, list[i].nodes);
	}
	return rc;
}

/* Nothing names nodes for it yet, and all of it is on these now. */
static bool is_named(const struct domain_xml_placement *placement, const struct placement_move *move)
{
	return placement->cell_count == 0 && !move->map && !move->cells && move->nodes;
}

int placement_follow(struct domain_xml_placement *placement, const struct placement_move *move)
{
	struct domain_xml_placement after;
	struct node_set whole;
	int rc = domain_xml_placement_copy(placement, &after);

	if (rc < 0)
		return rc;
	rc = add_cells(&after, move);
	if (rc == 0)
		rc = follow_list(after.cells, after.cell_count, move);
	if (rc == 0)
		rc = follow_list(after.devices, after.device_count, move);
	after.has_nodes = placement->has_nodes || is_named(placement, move);
	if (rc == 0 && after.has_nodes)
		rc = placement->has_nodes ? follow_whole(placement, &after, move, &whole)
					  : node_set_parse(move->nodes, &whole);
	if (rc == 0 && after.has_nodes)
		rc = write_set(&whole, after.nodes);
	if (rc < 0) {
		domain_xml_placement_done(&after);
		return rc;
	}
	domain_xml_placement_done(placement);
	*placement = after;
	return 0;
}
