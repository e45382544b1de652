/* SPDX-License-Identifier: Apache-2.0 */
#include "host_look.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "buddy_info.h"
#include "cleanup.h"
#include "host_dimms.h"
#include "hugepage_pool.h"
#include "memory_block.h"
#include "memory_pinner.h"
#include "memory_zone.h"
#include "node_latency.h"
#include "numa_node.h"
#include "srat.h"
#include "sysroot.h"

/* x86 takes 2 KiB, other architectures 4; the boot loader may add to it. */
#define COMMAND_LINE_MAX 65536

static enum block_zone zone_to_model(enum memory_zone zone)
{
	switch (zone) {
	case MEMORY_ZONE_DMA:
	case MEMORY_ZONE_DMA32:
		return BLOCK_ZONE_DMA;
	case MEMORY_ZONE_NORMAL:
		return BLOCK_ZONE_NORMAL;
	case MEMORY_ZONE_MOVABLE:
		return BLOCK_ZONE_MOVABLE;
	case MEMORY_ZONE_NONE:
	case MEMORY_ZONE_DEVICE:
	case MEMORY_ZONE_COUNT:
		break;
	}
	return BLOCK_ZONE_NONE;
}

static enum block_state state_to_model(enum memory_block_state state)
{
	switch (state) {
	case MEMORY_BLOCK_STATE_ONLINE:
		return BLOCK_STATE_ONLINE;
	case MEMORY_BLOCK_STATE_GOING_OFFLINE:
		return BLOCK_STATE_GOING_OFFLINE;
	case MEMORY_BLOCK_STATE_OFFLINE:
	case MEMORY_BLOCK_STATE_COUNT:
		break;
	}
	return BLOCK_STATE_OFFLINE;
}

static int read_pools(const struct sysroot *sysroot, struct snapshot_node *node)
{
	uint64_t sizes[HUGEPAGE_POOL_SIZES_MAX];
	size_t count;
	int r = hugepage_pool_list_sizes(sysroot, sizes, &count);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count && node->pool_count < SNAPSHOT_POOLS_MAX; i++) {
		struct hugepage_pool pool, all;

		r = hugepage_pool_read(sysroot, node->id, sizes[i], &pool);
		if (r == -ENOENT)
			continue;
		if (r == 0)
			r = hugepage_pool_read(sysroot, HUGEPAGE_POOL_ALL_NODES, sizes[i], &all);
		if (r < 0)
			return r;
		node->pools[node->pool_count++] = (struct snapshot_pool){
			.page_bytes = sizes[i],
			.total = pool.total,
			.free = pool.free,
			.surplus = pool.surplus,
			.reserved = all.reserved,
		};
	}
	return 0;
}

static int read_nodes(const struct sysroot *sysroot, struct snapshot *snapshot, struct failure *failure)
{
	struct numa_node_list list = {0};
	int r = numa_node_list_read(sysroot, &list);

	if (r < 0)
		return failure_set(failure, r, "/sys/devices/system/node", "cannot read the NUMA nodes");
	/* Without it distances are the kernel's; why is among the probes. */
	(void)node_latency_fill(sysroot, &list);
	for (size_t i = 0; i < list.count && r == 0; i++) {
		const struct numa_node *from = &list.nodes[i];
		struct snapshot_node *node;

		if (from->id >= SNAPSHOT_NODES_MAX) {
			r = failure_set(failure, ERANGE, "host", "cannot handle node %d", from->id);
			failure_set_cause(failure, "node numbers up to %d are handled", SNAPSHOT_NODES_MAX - 1);
			break;
		}
		node = snapshot_add_node(snapshot);
		if (!node) {
			r = failure_set(failure, ENOMEM, "host", "cannot read the NUMA nodes");
			break;
		}
		node->id = from->id;
		node->has_memory = from->has_memory;
		node->has_cpus = from->has_cpu;
		if (strlen(from->cpus) < sizeof(node->cpus))
			memcpy(node->cpus, from->cpus, strlen(from->cpus) + 1);
		node->total_bytes = from->total_bytes;
		node->free_bytes = from->free_bytes;
		node->movable_bytes = from->movable_bytes;
		node->read_latency_ns = from->read_latency_ns;
		node->read_bytes_per_s = from->read_bytes_per_s;
		node->has_latency_distances = from->has_latency_distances;
		for (size_t j = 0; j < list.count; j++) {
			int distance = numa_node_list_distance(&list, from->id, list.nodes[j].id);

			if (distance > 0 && distance <= UINT8_MAX && list.nodes[j].id < SNAPSHOT_NODES_MAX)
				node->distances[list.nodes[j].id] = (uint8_t)distance;
		}
		r = read_pools(sysroot, node);
		if (r < 0)
			failure_set(failure, r, "host", "cannot read the huge page pools of node %d", from->id);
	}
	numa_node_list_done(&list);
	return r;
}

/* Without it nothing is known to be in pieces, and nobody is warned. */
static void read_pieces(const struct sysroot *sysroot, struct snapshot *snapshot)
{
	uint64_t small[SNAPSHOT_NODES_MAX] = {0};

	if (buddy_info_read(sysroot, buddy_info_huge_bytes(sysroot), small, SNAPSHOT_NODES_MAX))
		return;
	for (size_t i = 0; i < snapshot->node_count; i++)
		snapshot->nodes[i].fragmented_bytes = small[snapshot->nodes[i].id];
}

/* A word of the kernel's command line, alone. Negative: that cannot be told. */
static int find_boot_word(const struct sysroot *sysroot, const char *wanted)
{
	CLEANUP_FREE char *line = NULL;
	char *save = NULL;
	int r = sysroot_read_all(sysroot, COMMAND_LINE_MAX, &line, NULL, "/proc/cmdline");

	if (r < 0)
		return r;
	for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
		if (strcmp(word, wanted) == 0)
			return 1;
	return 0;
}

/*
 * What the firmware calls hot-pluggable, and whether the kernel was booted to heed it. A host without the table has
 * nothing that is called so. What cannot be read leaves it untold: then nobody is advised wrongly.
 */
static void read_boot(const struct sysroot *sysroot, struct snapshot *snapshot)
{
	CLEANUP(srat_done) struct srat srat = {0};
	int r = srat_read(sysroot, &srat), movable_node = find_boot_word(sysroot, "movable_node");

	if (r == -ENOENT && sysroot_exists(sysroot, "/sys/firmware/acpi/tables"))
		r = 0;
	if (r < 0 || movable_node < 0)
		return;
	snapshot->hotplug_told = true;
	snapshot->movable_node = movable_node;
	for (size_t i = 0; i < snapshot->block_count; i++) {
		struct snapshot_block *block = &snapshot->blocks[i];

		block->hotpluggable = srat_is_hotpluggable(&srat, block->start, block->start + block->size_bytes);
	}
}

static int read_blocks(const struct sysroot *sysroot, struct snapshot *snapshot, struct failure *failure)
{
	CLEANUP(memory_block_list_done) struct memory_block_list blocks = {0};
	int r = memory_block_list_read(sysroot, &blocks);

	/* A kernel without memory hotplug has no blocks: moves and resizes work there all the same. */
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return failure_set(failure, r, "/sys/devices/system/memory", "cannot read the memory blocks");
	snapshot->block_bytes = blocks.block_bytes;
	for (size_t i = 0; i < blocks.count; i++) {
		const struct memory_block *from = &blocks.blocks[i];
		struct snapshot_block *block = snapshot_add_block(snapshot);

		if (!block)
			return failure_set(failure, ENOMEM, "host", "cannot read the memory blocks");
		*block = (struct snapshot_block){
			.id = from->id,
			.start = from->start,
			.size_bytes = from->size_bytes,
			.node = from->node_id,
			.state = state_to_model(from->state),
			.zone = zone_to_model(from->zone),
		};
	}
	read_boot(sysroot, snapshot);
	return host_dimms_read(sysroot, &blocks, snapshot, failure);
}

static void read_pinners(const struct sysroot *sysroot, struct snapshot_pinners *pinners)
{
	CLEANUP_FREE struct memory_pinner_list *list = malloc(sizeof(*list));
	int r = list ? memory_pinner_find(sysroot, list) : -ENOMEM;

	_Static_assert(SNAPSHOT_PINNERS_MAX == (int)MEMORY_PINNER_MAX && (int)SNAPSHOT_NODES_MAX <= (int)NODE_SET_MAX,
		       "each has its place");
	if (r < 0) {
		snprintf(pinners->untold, sizeof(pinners->untold), "%s", strerror(-r));
		return;
	}
	pinners->count = list->count;
	for (size_t i = 0; i < list->count; i++) {
		const struct memory_pinner *from = &list->pinners[i];
		struct snapshot_pinner *pinner = &pinners->items[i];

		pinner->pid = (int)from->pid;
		memcpy(pinner->name, from->name, sizeof(pinner->name));
		pinner->pinned_bytes = from->pinned_bytes;
		memcpy(pinner->node_bytes, from->node_bytes, sizeof(pinner->node_bytes));
		pinner->has_nodes = from->has_nodes;
	}
	pinners->unlisted = list->total - list->count;
	pinners->unlisted_bytes = list->unlisted_bytes;
}

int host_look_read(const struct sysroot *sysroot, enum host_look_extent extent, struct snapshot *snapshot,
		   struct failure *failure)
{
	int r = read_nodes(sysroot, snapshot, failure);

	if (r < 0)
		return r;
	read_pieces(sysroot, snapshot);
	snapshot->numa_balancing_off = numa_node_balancing_is_off(sysroot);
	if (extent >= HOST_LOOK_PINNERS)
		read_pinners(sysroot, &snapshot->pinners);
	return extent >= HOST_LOOK_ALL ? read_blocks(sysroot, snapshot, failure) : 0;
}
