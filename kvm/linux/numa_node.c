/* SPDX-License-Identifier: Apache-2.0 */
#include "numa_node.h"

#include <inttypes.h>
#include <string.h>
#include "cleanup.h"
#include "memory_zone.h"
#include "size_text.h"
#include "sysroot.h"

#define NODE_DIRECTORY "/sys/devices/system/node"

/* "Node 0 MemTotal:  17194624 kB", and in /proc/meminfo the same without the first two words. */
static void read_meminfo_line(struct numa_node *node, const char *line)
{
	static const struct {
		const char *name;
		size_t member;
	} members[] = {
		{"MemTotal", offsetof(struct numa_node, total_bytes)},
		{"MemFree", offsetof(struct numa_node, free_bytes)},
		{"FilePages", offsetof(struct numa_node, file_bytes)},
		{"Cached", offsetof(struct numa_node, file_bytes)},
		{"AnonPages", offsetof(struct numa_node, anon_bytes)},
		{"Shmem", offsetof(struct numa_node, shmem_bytes)},
		{"Slab", offsetof(struct numa_node, slab_bytes)},
		{"Unevictable", offsetof(struct numa_node, unevictable_bytes)},
	};
	char name[48];
	uint64_t kib;

	if (sscanf(line, "Node %*d %47[^:]: %" SCNu64 " kB", name, &kib) != 2 &&
	    sscanf(line, "%47[^:]: %" SCNu64 " kB", name, &kib) != 2)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (strcmp(members[i].name, name) == 0)
			memcpy((char *)node + members[i].member, &(uint64_t){kib * 1024},
			       sizeof(uint64_t));
}

static void parse_meminfo(struct numa_node *node, char *text)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		read_meminfo_line(node, line);
}

static void add_zones(struct numa_node *node, const struct memory_zone_list *zones)
{
	for (size_t i = 0; i < zones->count; i++) {
		const struct memory_zone_info *zone = &zones->zones[i];

		if (zone->node_id != node->id || zone->zone == MEMORY_ZONE_DEVICE)
			continue;
		if (zone->present_bytes && zone->start < node->start)
			node->start = zone->start;
		if (zone->zone == MEMORY_ZONE_MOVABLE) {
			node->movable_bytes += zone->managed_bytes;
			node->movable_free_bytes += zone->free_bytes;
		} else {
			node->kernel_zone_bytes += zone->managed_bytes;
			node->kernel_zone_free_bytes += zone->free_bytes;
		}
	}
}

static int read_node(const struct sysroot *sysroot, int node_id,
		     const struct memory_zone_list *zones, struct numa_node *ret_node)
{
	struct numa_node node = {.id = node_id, .start = UINT64_MAX};
	CLEANUP_FREE char *text = NULL;
	int error = sysroot_read_all(sysroot, 65536, &text, NULL, NODE_DIRECTORY "/node%d/meminfo",
				     node_id);

	if (error < 0)
		return error;
	parse_meminfo(&node, text);
	error = sysroot_read_text(sysroot, node.cpus, sizeof(node.cpus),
				  NODE_DIRECTORY "/node%d/cpulist", node_id);
	if (error < 0 && error != -ENOENT)
		return error;
	node.has_cpu = node.cpus[0] != '\0';
	node.has_memory = node.total_bytes > 0;
	add_zones(&node, zones);
	*ret_node = node;
	return 0;
}

/*
 * A distance line has one number for each *online* node, in order (drivers/base/node.c
 * node_read_distance), which are the nodes of this list.
 */
static void read_distances(const struct sysroot *sysroot, struct numa_node_list *list)
{
	for (size_t from = 0; from < list->count; from++) {
		char text[NODE_SET_MAX * 4], *save = NULL, *word;
		int *row = &list->distances[from * list->count];
		size_t to = 0;

		if (sysroot_read_text(sysroot, text, sizeof(text),
				      NODE_DIRECTORY "/node%d/distance", list->nodes[from].id) < 0)
			continue;
		for (word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
			uint64_t distance;

			/* 255 at most (drivers/acpi/numa/srat.c, one byte of the SLIT); else not
			 * told. */
			if (to < list->count && size_text_parse_number(word, 10, &distance) == 0 &&
			    distance <= UINT8_MAX)
				row[to] = (int)distance;
			to++;
		}
		/* Nodes came or went in between: what cannot be assigned is not told. */
		if (to != list->count)
			for (to = 0; to < list->count; to++)
				row[to] = -1;
	}
}

/* The kernel has no NUMA: all memory is node 0. */
static int read_without_numa(const struct sysroot *sysroot, const struct memory_zone_list *zones,
			     struct numa_node_list *list)
{
	CLEANUP_FREE char *text = NULL;
	int error = sysroot_read_all(sysroot, 65536, &text, NULL, "/proc/meminfo");

	if (error < 0)
		return error;
	list->nodes = calloc(1, sizeof(*list->nodes));
	list->distances = calloc(1, sizeof(*list->distances));
	if (!list->nodes || !list->distances)
		return -ENOMEM;
	list->count = 1;
	list->distances[0] = 10;
	list->nodes[0].start = UINT64_MAX;
	parse_meminfo(&list->nodes[0], text);
	list->nodes[0].has_memory = list->nodes[0].has_cpu = true;
	node_set_add(&list->with_memory, 0);
	add_zones(&list->nodes[0], zones);
	(void)sysroot_read_text(sysroot, list->nodes[0].cpus, sizeof(list->nodes[0].cpus),
				"/sys/devices/system/cpu/online");
	return 0;
}

int numa_node_list_read(const struct sysroot *sysroot, struct numa_node_list *ret_list)
{
	CLEANUP(numa_node_list_done) struct numa_node_list list = {0};
	CLEANUP(memory_zone_list_done) struct memory_zone_list zones = {0};
	char text[NODE_SET_TEXT_SIZE];
	struct node_set online;
	int error = memory_zone_list_read(sysroot, &zones);

	if (error < 0 && error != -ENOENT)
		return error;
	error = sysroot_read_text(sysroot, text, sizeof(text), NODE_DIRECTORY "/online");
	if (error == -ENOENT)
		error = read_without_numa(sysroot, &zones, &list);
	else if (error == 0)
		error = node_set_parse(text, &online);
	if (error < 0)
		return error;
	if (list.count == 0) {
		size_t room = (size_t)node_set_count(&online);

		list.nodes = calloc(room + 1, sizeof(*list.nodes));
		list.distances = calloc(room * room + 1, sizeof(*list.distances));
		if (!list.nodes || !list.distances)
			return -ENOMEM;
		NODE_SET_FOR_EACH(node_id, &online)
		{
			error = read_node(sysroot, node_id, &zones, &list.nodes[list.count]);
			if (error == -ENOENT) /* went offline in between */
				continue;
			if (error < 0)
				return error;
			if (list.nodes[list.count].has_memory)
				node_set_add(&list.with_memory, node_id);
			list.count++;
		}
		for (size_t i = 0; i < list.count * list.count; i++)
			list.distances[i] = -1;
		read_distances(sysroot, &list);
	}
	*ret_list = list;
	list = (struct numa_node_list){0};
	return 0;
}

void numa_node_list_done(struct numa_node_list *list)
{
	free(list->nodes);
	free(list->distances);
	*list = (struct numa_node_list){0};
}

const struct numa_node *numa_node_list_find(const struct numa_node_list *list, int node_id)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->nodes[i].id == node_id)
			return &list->nodes[i];
	return NULL;
}

int numa_node_list_distance(const struct numa_node_list *list, int from, int to)
{
	const struct numa_node *first = numa_node_list_find(list, from);
	const struct numa_node *second = numa_node_list_find(list, to);

	if (!first || !second)
		return -1;
	return list->distances[(size_t)(first - list->nodes) * list->count +
			       (size_t)(second - list->nodes)];
}

bool numa_node_balancing_is_off(const struct sysroot *sysroot)
{
	uint64_t value;
	int r = sysroot_read_number(sysroot, 10, &value, "/proc/sys/kernel/numa_balancing");

	return r == -ENOENT || (r == 0 && value == 0);
}
