/* SPDX-License-Identifier: Apache-2.0 */
#include "zones.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "cleanup.h"
#include "lease.h"
#include "memory_block.h"
#include "size_text.h"
#include "sysroot.h"

#define HOTPLUG_PARAMETERS "/sys/module/memory_hotplug/parameters"
#define UNPLUG_ONLINE	   "/sys/module/virtio_mem/parameters/unplug_online"

/* A machine with thousands of devices has some 100 KiB of it. */
#define IOMEM_LIMIT (4u << 20)

/* "  140000000-1bfffffff : virtio2" */
static bool parse_iomem(char *line, uint64_t *ret_start, uint64_t *ret_end, const char **ret_name)
{
	char *colon = strstr(line, " : "), *dash;

	if (!colon)
		return false;
	*colon = '\0';
	line += strspn(line, " ");
	dash = strchr(line, '-');
	if (!dash)
		return false;
	*dash = '\0';
	*ret_name = colon + 3;
	return size_text_parse_number(line, 16, ret_start) == 0 &&
	       size_text_parse_number(dash + 1, 16, ret_end) == 0 && *ret_end >= *ret_start;
}

int zones_read_regions(const struct sysroot *sysroot, struct zones_regions *ret_regions)
{
	CLEANUP_FREE char *text = NULL;
	struct zones_regions regions = {0};
	char *rest = NULL;
	int error = sysroot_read_all(sysroot, IOMEM_LIMIT, &text, NULL, "/proc/iomem");

	if (error < 0)
		return error;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		uint64_t start, end;
		const char *name;

		/* drivers/virtio/virtio_mem.c virtio_mem_create_resource() names the region after
		 * the device. */
		if (!parse_iomem(line, &start, &end, &name) ||
		    sysroot_name_number(name, "virtio", NULL) < 0 || end == 0 ||
		    !sysroot_exists(sysroot, "/sys/bus/virtio/drivers/virtio_mem/%s", name))
			continue;
		if (regions.count < LIMIT_REGIONS)
			regions.regions[regions.count++] = (struct zones_region){
				.start = start, .size_bytes = end - start + 1};
		regions.total++;
	}
	*ret_regions = regions;
	return 0;
}

int zones_find_region(const struct zones_regions *regions, const struct memory_block *block)
{
	for (size_t i = 0; i < regions->count; i++) {
		const struct zones_region *region = &regions->regions[i];

		if (block->start >= region->start && block->size_bytes <= region->size_bytes &&
		    block->start - region->start <= region->size_bytes - block->size_bytes)
			return (int)i;
	}
	return -1;
}

static enum message_auto_online auto_online_to_message(enum memory_block_auto_online policy)
{
	switch (policy) {
	case MEMORY_BLOCK_AUTO_ONLINE_OFFLINE:
		return MESSAGE_AUTO_ONLINE_OFFLINE;
	case MEMORY_BLOCK_AUTO_ONLINE_ONLINE:
		return MESSAGE_AUTO_ONLINE_ONLINE;
	case MEMORY_BLOCK_AUTO_ONLINE_KERNEL:
		return MESSAGE_AUTO_ONLINE_KERNEL;
	case MEMORY_BLOCK_AUTO_ONLINE_MOVABLE:
		return MESSAGE_AUTO_ONLINE_MOVABLE;
	case MEMORY_BLOCK_AUTO_ONLINE_COUNT:
		break;
	}
	return MESSAGE_AUTO_ONLINE_UNKNOWN;
}

void zones_read_policy(const struct sysroot *sysroot, struct zones_policy *ret_policy)
{
	struct zones_policy policy = {.unplug_online = MESSAGE_SWITCH_UNKNOWN};
	enum memory_block_auto_online auto_online;
	char word[64];
	uint64_t ratio;

	if (memory_block_read_auto_online(sysroot, &auto_online) == 0)
		policy.auto_online = auto_online_to_message(auto_online);
	if (sysroot_read_text(sysroot, word, sizeof(word), HOTPLUG_PARAMETERS "/online_policy") ==
	    0)
		for (int i = 1; i < MESSAGE_ZONE_POLICY_COUNT; i++)
			if (strcmp(word, message_zone_policy_name((enum message_zone_policy)i)) ==
			    0)
				policy.zone_policy = (enum message_zone_policy)i;
	if (sysroot_read_number(sysroot, 10, &ratio, HOTPLUG_PARAMETERS "/auto_movable_ratio") ==
		    0 &&
	    ratio <= UINT32_MAX) {
		policy.has_ratio = true;
		policy.auto_movable_ratio = (uint32_t)ratio;
	}
	if (sysroot_read_text(sysroot, word, sizeof(word), UNPLUG_ONLINE) == 0)
		policy.unplug_online = word[0] == 'Y' || word[0] == '1' ? 1 : 0;
	*ret_policy = policy;
}

static int remember(struct lease_entries *entries, enum lease_kind kind, uint64_t old)
{
	return lease_entries_add(entries,
				 &(struct lease_entry){.kind = kind, .node_id = -1, .old = old});
}

int zones_plan_policy(const struct zones_policy *now, const struct message_set_online_policy *wish,
		      struct lease_entries *entries)
{
	int error = 0;

	if (now->auto_online == MESSAGE_AUTO_ONLINE_UNKNOWN)
		return -ENOTSUP;
	if (wish->policy == MESSAGE_ONLINE_POLICY_AUTO_MOVABLE) {
		if (now->zone_policy == MESSAGE_ZONE_POLICY_UNKNOWN)
			return -ENOTSUP;
		error = remember(entries, LEASE_ZONE_POLICY, (uint64_t)now->zone_policy);
		if (error == 0 && wish->auto_movable_ratio) {
			if (!now->has_ratio)
				return -ENOTSUP;
			error = remember(entries, LEASE_MOVABLE_RATIO, now->auto_movable_ratio);
		}
	}
	/* The message's words are the kernel's, one further on. */
	if (error == 0)
		error = remember(entries, LEASE_AUTO_ONLINE, (uint64_t)now->auto_online - 1);
	return error;
}

int zones_set_policy(const struct sysroot *sysroot, const struct message_set_online_policy *wish)
{
	int error = 0;

	switch (wish->policy) {
	case MESSAGE_ONLINE_POLICY_MOVABLE:
		return memory_block_set_auto_online(sysroot, MEMORY_BLOCK_AUTO_ONLINE_MOVABLE);
	case MESSAGE_ONLINE_POLICY_AUTO_MOVABLE:
		error = zones_set_zone_policy(sysroot, MESSAGE_ZONE_POLICY_AUTO_MOVABLE);
		if (error == 0 && wish->auto_movable_ratio)
			error = zones_set_movable_ratio(sysroot, wish->auto_movable_ratio);
		if (error == 0)
			error = memory_block_set_auto_online(sysroot,
							     MEMORY_BLOCK_AUTO_ONLINE_ONLINE);
		return error;
	case MESSAGE_ONLINE_POLICY_LEAVE:
	case MESSAGE_ONLINE_POLICY_UNKNOWN:
	case MESSAGE_ONLINE_POLICY_COUNT:
		break;
	}
	return -EINVAL;
}

int zones_set_unplug_online(const struct sysroot *sysroot, bool online)
{
	return sysroot_write_text(sysroot, online ? "1" : "0", UNPLUG_ONLINE);
}

int zones_set_zone_policy(const struct sysroot *sysroot, enum message_zone_policy policy)
{
	return sysroot_write_text(sysroot, message_zone_policy_name(policy),
				  HOTPLUG_PARAMETERS "/online_policy");
}

int zones_set_movable_ratio(const struct sysroot *sysroot, uint64_t ratio)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, ratio);
	return sysroot_write_text(sysroot, text, HOTPLUG_PARAMETERS "/auto_movable_ratio");
}
