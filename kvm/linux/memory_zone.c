/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_zone.h"

#include <inttypes.h>
#include <string.h>
#include "cleanup.h"
#include "sysroot.h"

/* Some 100 lines a CPU and zone: room for hosts of a thousand CPUs. */
#define ZONEINFO_LIMIT ((size_t)64 << 20)

static const char *const zone_names[MEMORY_ZONE_COUNT] = {
	[MEMORY_ZONE_NONE] = "none",	   [MEMORY_ZONE_DMA] = "DMA",
	[MEMORY_ZONE_DMA32] = "DMA32",	   [MEMORY_ZONE_NORMAL] = "Normal",
	[MEMORY_ZONE_MOVABLE] = "Movable", [MEMORY_ZONE_DEVICE] = "Device",
};
NAME_TABLE_DEFINE(memory_zone, zone_names)

static int add_zone(struct memory_zone_list *list, int node_id, enum memory_zone zone)
{
	struct memory_zone_info *larger =
		reallocarray(list->zones, list->count + 1, sizeof(*list->zones));

	if (!larger)
		return -ENOMEM;
	list->zones = larger;
	list->zones[list->count++] = (struct memory_zone_info){.node_id = node_id, .zone = zone};
	return 0;
}

/* One line of the body of a zone. Counters stand in pages; other lines are of no interest. */
static void read_counter(struct memory_zone_info *info, const char *line, uint64_t page_bytes)
{
	uint64_t value;

	if (sscanf(line, " pages free %" SCNu64, &value) == 1)
		info->free_bytes = value * page_bytes;
	else if (sscanf(line, " spanned %" SCNu64, &value) == 1)
		info->spanned_bytes = value * page_bytes;
	else if (sscanf(line, " present %" SCNu64, &value) == 1)
		info->present_bytes = value * page_bytes;
	else if (sscanf(line, " managed %" SCNu64, &value) == 1)
		info->managed_bytes = value * page_bytes;
	else if (sscanf(line, " start_pfn: %" SCNu64, &value) == 1)
		info->start = value * page_bytes;
}

static void drop_empty(struct memory_zone_list *list)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++)
		if (list->zones[i].spanned_bytes > 0 || list->zones[i].present_bytes > 0)
			list->zones[kept++] = list->zones[i];
	list->count = kept;
}

int memory_zone_list_read(const struct sysroot *sysroot, struct memory_zone_list *ret_list)
{
	CLEANUP(memory_zone_list_done) struct memory_zone_list list = {0};
	CLEANUP_FREE char *text = NULL;
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct memory_zone_info *current = NULL;
	char *save = NULL;
	int error = sysroot_read_all(sysroot, ZONEINFO_LIMIT, &text, NULL, "/proc/zoneinfo");

	if (error < 0)
		return error;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char name[16];
		int node_id, zone;

		if (sscanf(line, "Node %d, zone %15s", &node_id, name) == 2) {
			zone = memory_zone_from_name(name);
			current = NULL;
			if (zone < 0) /* HighMem and the like: not on 64-bit */
				continue;
			error = add_zone(&list, node_id, (enum memory_zone)zone);
			if (error < 0)
				return error;
			current = &list.zones[list.count - 1];
		} else if (current) {
			read_counter(current, line, page_bytes);
		}
	}
	drop_empty(&list);
	*ret_list = list;
	list = (struct memory_zone_list){0};
	return 0;
}

void memory_zone_list_done(struct memory_zone_list *list)
{
	free(list->zones);
	*list = (struct memory_zone_list){0};
}

const struct memory_zone_info *memory_zone_list_find(const struct memory_zone_list *list,
						     int node_id, enum memory_zone zone)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->zones[i].node_id == node_id && list->zones[i].zone == zone)
			return &list->zones[i];
	return NULL;
}
