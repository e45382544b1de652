/* SPDX-License-Identifier: Apache-2.0 */
#include "placement.h"

#include <errno.h>
#include <stdio.h>
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
