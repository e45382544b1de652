/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "agent_config.h"
#include "block_census.h"
#include "cleanup.h"
#include "hugepages.h"
#include "lease.h"
#include "memory_block.h"
#include "memory_zone.h"
#include "pinned_pages.h"
#include "sysroot.h"
#include "zones.h"

static bool find_kib(const char *text, const char *key, uint64_t *ret_bytes)
{
	const char *line = strstr(text, key);
	uint64_t kib;

	if (!line || (line != text && line[-1] != '\n') ||
	    sscanf(line + strlen(key), ": %" SCNu64 " kB", &kib) != 1)
		return false;
	*ret_bytes = kib * 1024;
	return true;
}

int report_read_memory(const struct sysroot *sysroot, uint64_t *ret_total, uint64_t *ret_free,
		       uint64_t *ret_available)
{
	CLEANUP_FREE char *text = NULL;
	uint64_t total, free_bytes, available;
	int error = sysroot_read_all(sysroot, 65536, &text, NULL, "/proc/meminfo");

	if (error < 0)
		return error;
	if (!find_kib(text, "MemTotal", &total) || !find_kib(text, "MemFree", &free_bytes) ||
	    !find_kib(text, "MemAvailable", &available))
		return -EBADMSG;
	*ret_total = total;
	*ret_free = free_bytes;
	*ret_available = available;
	return 0;
}

uint64_t report_keep_bytes(const struct agent_config *config, uint64_t total_bytes)
{
	return total_bytes / 100 * config->keep_available_percent;
}

/* "some avg10=1.53 avg60=..." */
static uint32_t parse_avg10(const char *text, const char *key)
{
	const char *line = strstr(text, key);
	unsigned whole, hundredths;

	if (!line || sscanf(line + strlen(key), " avg10=%3u.%2u", &whole, &hundredths) != 2)
		return MESSAGE_PRESSURE_NONE;
	return whole * 100 + hundredths;
}

void report_read_pressure(const struct sysroot *sysroot, struct message_pressure *ret_pressure)
{
	char text[512];

	/* Absent, or -EOPNOTSUPP on reading, where the kernel was booted without PSI. */
	if (sysroot_read_text(sysroot, text, sizeof(text), "/proc/pressure/memory") < 0)
		text[0] = '\0';
	ret_pressure->some_avg10_x100 = parse_avg10(text, "some");
	ret_pressure->full_avg10_x100 = parse_avg10(text, "full");
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int report_read_boot_id(const struct sysroot *sysroot, uint8_t boot_id[MESSAGE_BOOT_ID_BYTES])
{
	char text[64];
	size_t digits = 0;
	uint8_t id[MESSAGE_BOOT_ID_BYTES] = {0};
	int error =
		sysroot_read_text(sysroot, text, sizeof(text), "/proc/sys/kernel/random/boot_id");

	if (error < 0)
		return error;
	for (const char *p = text; *p; p++) {
		int digit = hex_digit(*p);

		if (*p == '-')
			continue;
		if (digit < 0 || digits == 2 * sizeof(id))
			return -EBADMSG;
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | digit);
		digits++;
	}
	if (digits != 2 * sizeof(id))
		return -EBADMSG;
	memcpy(boot_id, id, sizeof(id));
	return 0;
}

enum message_zone report_zone(int memory_zone)
{
	switch ((enum memory_zone)memory_zone) {
	case MEMORY_ZONE_DMA:
		return MESSAGE_ZONE_DMA;
	case MEMORY_ZONE_DMA32:
		return MESSAGE_ZONE_DMA32;
	case MEMORY_ZONE_NORMAL:
		return MESSAGE_ZONE_NORMAL;
	case MEMORY_ZONE_MOVABLE:
		return MESSAGE_ZONE_MOVABLE;
	case MEMORY_ZONE_DEVICE:
		return MESSAGE_ZONE_DEVICE;
	case MEMORY_ZONE_NONE:
	case MEMORY_ZONE_COUNT:
		break;
	}
	return MESSAGE_ZONE_UNKNOWN;
}

static void read_zones(const struct sysroot *sysroot, struct message_report_reply *report)
{
	CLEANUP(memory_zone_list_done) struct memory_zone_list list = {0};

	if (memory_zone_list_read(sysroot, &list) < 0)
		return;
	for (size_t i = 0; i < list.count; i++) {
		const struct memory_zone_info *info = &list.zones[i];

		if (report->zone_count == LIMIT_ZONES) {
			report->flags |= MESSAGE_REPORT_CUT_ZONES;
			return;
		}
		report->zones[report->zone_count++] =
			(struct message_report_zone){.node = (uint16_t)info->node_id,
						     .zone = report_zone((int)info->zone),
						     .present_bytes = info->present_bytes,
						     .managed_bytes = info->managed_bytes,
						     .free_bytes = info->free_bytes};
	}
}

static uint64_t taken_pages(const struct lease_book *book, int node_id, uint64_t page_bytes)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < book->taken.count; i++) {
		const struct lease_entry *entry = &book->taken.items[i];

		if (entry->key == page_bytes &&
		    (node_id == HUGEPAGE_POOL_ALL_NODES || entry->node_id == node_id))
			pages += entry->took;
	}
	return pages;
}

static void read_pools(const struct sysroot *sysroot, const struct agent_config *config,
		       const struct lease_book *book, struct message_report_reply *report)
{
	struct hugepages hugepages;

	if (hugepages_read(sysroot, &hugepages) < 0)
		return;
	if (hugepages.count == LIMIT_POOLS)
		report->flags |= MESSAGE_REPORT_CUT_POOLS;
	for (size_t i = 0; i < hugepages.count; i++) {
		const struct hugepage_pool *pool = &hugepages.pools[i];
		bool all = pool->node_id == HUGEPAGE_POOL_ALL_NODES;

		report->pools[report->pool_count++] = (struct message_report_pool){
			.node = all ? MESSAGE_NODE_ALL : (uint16_t)pool->node_id,
			.page_bytes = pool->page_bytes,
			.total = pool->total,
			.free = pool->free,
			.reserved = pool->reserved,
			.surplus = pool->surplus,
			.floor = all ? agent_config_floor(config, pool->page_bytes) : 0,
			.taken = taken_pages(book, pool->node_id, pool->page_bytes)};
	}
}

static void read_regions(const struct sysroot *sysroot, struct message_report_reply *report)
{
	CLEANUP(memory_block_list_done) struct memory_block_list list = {0};
	struct zones_regions regions;

	if (zones_read_regions(sysroot, &regions) < 0 || memory_block_list_read(sysroot, &list) < 0)
		return;
	if (regions.total > regions.count)
		report->flags |= MESSAGE_REPORT_CUT_REGIONS;
	report->region_count = (uint16_t)regions.count;
	for (size_t i = 0; i < regions.count; i++) {
		report->regions[i].start = regions.regions[i].start;
		report->regions[i].size_bytes = regions.regions[i].size_bytes;
	}
	for (size_t i = 0; i < list.count; i++) {
		const struct memory_block *block = &list.blocks[i];
		int index = zones_find_region(&regions, block);

		if (index < 0)
			continue;
		struct message_report_region *region = &report->regions[index];

		region->plugged_bytes += block->size_bytes;
		if (block->state == MEMORY_BLOCK_STATE_ONLINE) {
			region->online_bytes += block->size_bytes;
			if (block->zone == MEMORY_ZONE_MOVABLE)
				region->movable_bytes += block->size_bytes;
		}
		if (block->node_id >= 0)
			region->node = (uint16_t)block->node_id;
	}
}

int report_read(const struct sysroot *sysroot, const struct agent_config *config,
		const struct lease_book *book, struct message_report_reply *ret_report)
{
	struct zones_policy policy;

	memset(ret_report, 0, sizeof(*ret_report));
	int error = report_read_memory(sysroot, &ret_report->total_bytes, &ret_report->free_bytes,
				       &ret_report->available_bytes);

	if (error < 0)
		return error;
	report_read_pressure(sysroot, &ret_report->pressure);
	zones_read_policy(sysroot, &policy);
	ret_report->auto_online = policy.auto_online;
	ret_report->zone_policy = policy.zone_policy;
	ret_report->auto_movable_ratio = policy.auto_movable_ratio;
	ret_report->unplug_online = policy.unplug_online;
	ret_report->leases = (uint16_t)book->count;
	ret_report->word_flags = config->veto & AGENT_CONFIG_VETO_SHRINK ? MESSAGE_WORD_VETO : 0;
	ret_report->floor_bytes = config->memory_floor_bytes;
	ret_report->limit_bytes = config->shrink_limit_bytes;
	ret_report->flags |= MESSAGE_REPORT_KEEPS;
	ret_report->keep_bytes = report_keep_bytes(config, ret_report->total_bytes);
	read_zones(sysroot, ret_report);
	read_pools(sysroot, config, book, ret_report);
	read_regions(sysroot, ret_report);
	return 0;
}

static enum message_block_state block_state(enum memory_block_state state)
{
	switch (state) {
	case MEMORY_BLOCK_STATE_ONLINE:
		return MESSAGE_BLOCK_STATE_ONLINE;
	case MEMORY_BLOCK_STATE_GOING_OFFLINE:
		return MESSAGE_BLOCK_STATE_GOING_OFFLINE;
	case MEMORY_BLOCK_STATE_OFFLINE:
		return MESSAGE_BLOCK_STATE_OFFLINE;
	case MEMORY_BLOCK_STATE_COUNT:
		break;
	}
	return MESSAGE_BLOCK_STATE_UNKNOWN;
}

/* What the kernel does not show stays 0: all of it then looks movable. */
static void read_holders(const struct sysroot *sysroot, struct pinned_pages *pinned, struct message_block *block)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct block_census census;

	if (block->state != MESSAGE_BLOCK_STATE_ONLINE ||
	    block_census_read(sysroot, block->start, block->size_bytes, &census) < 0)
		return;
	block->free_bytes = census.empty * page_bytes;
	block->huge_free_bytes = census.huge_free * page_bytes;
	block->huge_used_bytes = census.huge_used * page_bytes;
	block->kernel_bytes = (block->zone == MESSAGE_ZONE_MOVABLE ? census.gigantic : census.held) * page_bytes;
	block->pinned_bytes = pinned_pages_bytes(pinned, sysroot, block->start, block->size_bytes);
}

int report_read_blocks(const struct sysroot *sysroot, struct pinned_pages *pinned, const struct message_blocks *request,
		       struct message_blocks_reply *ret_blocks)
{
	CLEANUP(memory_block_list_done) struct memory_block_list list = {0};
	struct zones_regions regions = {0};
	bool holders = request->flags & MESSAGE_BLOCKS_HOLDERS;
	uint16_t most = holders ? REPORT_HOLDERS_MAX : LIMIT_BLOCKS;
	int error = memory_block_list_read(sysroot, &list);

	if (error < 0)
		return error;
	if (request->max_count && request->max_count < most)
		most = request->max_count;
	if (zones_read_regions(sysroot, &regions) < 0)
		regions.count = 0;
	memset(ret_blocks, 0, sizeof(*ret_blocks));
	ret_blocks->next_block = MESSAGE_BLOCK_END;
	for (size_t i = 0; i < list.count; i++) {
		const struct memory_block *block = &list.blocks[i];
		int region = zones_find_region(&regions, block);

		if (block->id < request->first_block || block->id >= request->end_block ||
		    (region < 0 && (request->flags & MESSAGE_BLOCKS_REGIONS_ONLY)))
			continue;
		if (ret_blocks->block_count == most) {
			ret_blocks->next_block = block->id;
			break;
		}
		ret_blocks->blocks[ret_blocks->block_count++] = (struct message_block){
			.id = block->id,
			.start = block->start,
			.size_bytes = block->size_bytes,
			.state = block_state(block->state),
			.zone = report_zone((int)block->zone),
			.node = block->node_id < 0 ? 0 : (uint16_t)block->node_id,
			.region = region < 0 ? MESSAGE_REGION_NONE : (uint16_t)region,
			.flags = block->removable == MEMORY_BLOCK_REMOVABLE_NO
					 ? 0
					 : MESSAGE_BLOCK_REMOVABLE};
		if (holders)
			read_holders(sysroot, pinned, &ret_blocks->blocks[ret_blocks->block_count - 1]);
	}
	return 0;
}
