/* SPDX-License-Identifier: Apache-2.0 */
#include "placement.h"

#include <errno.h>
#include <string.h>
#include "domain_xml.h"
#include "unit.h"

static struct domain_xml guest(enum domain_xml_mode mode)
{
	struct domain_xml domain = {.id = 1};

	domain.numatune.present = domain.numatune.has_memory = true;
	domain.numatune.mode = mode;
	strcpy(domain.numatune.nodes, "1");
	return domain;
}

static void test_can_take_back(void)
{
	struct domain_xml domain = guest(DOMAIN_XML_MODE_RESTRICTIVE);

	CHECK_INT(placement_can_take_back(&domain), PLACEMENT_CAN_TAKE_BACK);
	domain.numatune.automatic = true;
	CHECK_INT(placement_can_take_back(&domain), PLACEMENT_AUTOMATIC);
	domain.numatune.automatic = false;
	domain.numatune.memnode_count = 1;
	CHECK_INT(placement_can_take_back(&domain), PLACEMENT_PER_CELL);
	domain.id = -1;
	CHECK_INT(placement_can_take_back(&domain), PLACEMENT_NOT_RUNNING);
	domain = guest(DOMAIN_XML_MODE_STRICT);
	CHECK_INT(placement_can_take_back(&domain), PLACEMENT_STRICT);
	domain = guest(DOMAIN_XML_MODE_PREFERRED);
	CHECK_INT(placement_can_take_back(&domain), PLACEMENT_NOT_RESTRICTIVE);
	domain = guest(DOMAIN_XML_MODE_INTERLEAVE);
	CHECK_INT(placement_can_take_back(&domain), PLACEMENT_NOT_RESTRICTIVE);
	domain = (struct domain_xml){.id = 1};
	CHECK_INT(placement_can_take_back(&domain), PLACEMENT_NO_NUMATUNE);
	for (int i = 0; i < PLACEMENT_OUTCOME_COUNT; i++) {
		CHECK_TRUE(strcmp(placement_outcome_name((enum placement_outcome)i), "unknown") !=
			   0);
		CHECK_TRUE(strcmp(placement_outcome_text((enum placement_outcome)i), "unknown") !=
			   0);
	}
}

static void test_stored_fits(void)
{
	struct domain_xml_cell cell = {.has_nodes = true, .nodes = "2"};
	struct domain_xml_device device = {.source_nodes = "0-1"};
	struct domain_xml domain = guest(DOMAIN_XML_MODE_STRICT);

	CHECK_TRUE(placement_stored_fits(&domain, "0-2"));
	CHECK_TRUE(!placement_stored_fits(&domain, "0,2"));
	domain.numatune.automatic = true;
	CHECK_TRUE(placement_stored_fits(&domain, "0,2"));
	domain.cells = &cell;
	domain.cell_count = 1;
	CHECK_TRUE(!placement_stored_fits(&domain, "0-1"));
	domain.devices = &device;
	domain.device_count = 1;
	CHECK_TRUE(placement_stored_fits(&domain, "0-2"));
	CHECK_TRUE(!placement_stored_fits(&domain, "1-2"));
}

static void test_replace_node(void)
{
	struct domain_xml_nodes cells[] = {{.id = 0, .nodes = "3"}, {.id = 1, .nodes = "0"}};
	struct domain_xml_nodes devices[] = {{.id = 0, .nodes = "2-3"}};
	struct domain_xml_placement placement = {.has_nodes = true,
						 .nodes = "1,3",
						 .cells = cells,
						 .cell_count = 2,
						 .devices = devices,
						 .device_count = 1};

	CHECK_INT(placement_replace_node(&placement, 3, 1), 3);
	CHECK_STR(placement.nodes, "1");
	CHECK_STR(cells[0].nodes, "1");
	CHECK_STR(cells[1].nodes, "0");
	CHECK_STR(devices[0].nodes, "1-2");
	CHECK_INT(placement_replace_node(&placement, 7, 1), 0);
	CHECK_INT(placement_replace_node(&placement, 0, 5000), -ERANGE);
}

static struct domain_xml_nodes *new_list(const char *first, int first_cell, const char *second, int second_cell)
{
	struct domain_xml_nodes *list = calloc(3, sizeof(*list));

	list[0].cell = first_cell;
	list[1].id = 1;
	list[1].cell = second_cell;
	strcpy(list[0].nodes, first);
	strcpy(list[1].nodes, second);
	return list;
}

/* Two cells bound to nodes 0 and 1, a device of cell 1, and the whole of it. */
static struct domain_xml_placement new_placement(void)
{
	struct domain_xml_placement placement = {.has_nodes = true, .nodes = "0-1", .cell_count = 2, .device_count = 2};

	placement.cells = new_list("0", 0, "1", 1);
	placement.devices = new_list("1", 1, "0-1", -1);
	return placement;
}

static void test_follow(void)
{
	struct domain_xml_placement placement = new_placement();
	signed char map[4] = {2, 3, -1, -1}, cells[2] = {-1, 3};
	struct placement_move move = {.map = map, .map_count = 4, .nodes = "2-3"};

	/* By map each set follows its own nodes: the shape is kept. */
	CHECK_INT(placement_follow(&placement, &move), 0);
	CHECK_STR(placement.nodes, "2-3");
	CHECK_STR(placement.cells[0].nodes, "2");
	CHECK_STR(placement.cells[1].nodes, "3");
	CHECK_STR(placement.devices[0].nodes, "3");
	CHECK_STR(placement.devices[1].nodes, "2-3");
	domain_xml_placement_done(&placement);
	/* By cells: the second goes, the first stays where its own set says. */
	placement = new_placement();
	move = (struct placement_move){.cells = cells, .cell_count = 2, .nodes = "3"};
	CHECK_INT(placement_follow(&placement, &move), 0);
	CHECK_STR(placement.nodes, "0,3");
	CHECK_STR(placement.cells[0].nodes, "0");
	CHECK_STR(placement.cells[1].nodes, "3");
	CHECK_STR(placement.devices[0].nodes, "3");
	CHECK_STR(placement.devices[1].nodes, "0-1,3");
	domain_xml_placement_done(&placement);
	/* Cells without a set of their own get one: where it went, and for the one that stays where all were. */
	placement = new_placement();
	placement.cell_count = 0;
	CHECK_INT(placement_follow(&placement, &move), 0);
	CHECK_STR(placement.nodes, "0-1,3");
	CHECK_INT(placement.cell_count, 2);
	CHECK_INT(placement.cells[1].id, 1);
	CHECK_STR(placement.cells[0].nodes, "0-1");
	CHECK_STR(placement.cells[1].nodes, "3");
	domain_xml_placement_done(&placement);
	/* Only one of two has. */
	placement = new_placement();
	placement.cell_count = 1;
	CHECK_INT(placement_follow(&placement, &move), 0);
	CHECK_STR(placement.cells[0].nodes, "0");
	CHECK_STR(placement.cells[1].nodes, "3");
	CHECK_STR(placement.nodes, "0,3");
	domain_xml_placement_done(&placement);
	/* All of it to one node. */
	placement = new_placement();
	move = (struct placement_move){.nodes = "2"};
	CHECK_INT(placement_follow(&placement, &move), 0);
	CHECK_STR(placement.nodes, "2");
	CHECK_STR(placement.cells[1].nodes, "2");
	domain_xml_placement_done(&placement);
	/* Nothing names nodes: it gets a set for the whole, by a map it cannot. */
	placement = (struct domain_xml_placement){0};
	CHECK_INT(placement_follow(&placement, &move), 0);
	CHECK_TRUE(placement.has_nodes);
	CHECK_STR(placement.nodes, "2");
	domain_xml_placement_done(&placement);
	move = (struct placement_move){.map = map, .map_count = 4, .nodes = "2"};
	CHECK_INT(placement_follow(&placement, &move), 0);
	CHECK_TRUE(!placement.has_nodes);
	domain_xml_placement_done(&placement);
	/* A set that is none: nothing is changed. */
	placement = new_placement();
	strcpy(placement.devices[1].nodes, "x");
	move = (struct placement_move){.map = map, .map_count = 4};
	CHECK_INT(placement_follow(&placement, &move), -EINVAL);
	CHECK_STR(placement.cells[0].nodes, "0");
	move = (struct placement_move){.nodes = ""};
	strcpy(placement.devices[1].nodes, "0");
	CHECK_INT(placement_follow(&placement, &move), -EINVAL);
	domain_xml_placement_done(&placement);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"can_take_back", test_can_take_back},
		{"stored_fits", test_stored_fits},
		{"replace_node", test_replace_node},
		{"follow", test_follow},
	};

	return unit_main("placement", cases, sizeof(cases) / sizeof(cases[0]));
}
