/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where hot-plugged memory goes: virtio-mem regions, the onlining policy, and virtio-mem's own
 * switch.
 */
#ifndef BALLAST_AGENT_ZONES_H
#define BALLAST_AGENT_ZONES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "message.h"

struct lease_entries;
struct lease_entry;
struct memory_block;
struct sysroot;

/* Of a virtio-mem device, whether anything is plugged or not. */
struct zones_region {
	uint64_t start, size_bytes;
};

struct zones_regions {
	size_t count, total; /* total: more than fit */
	struct zones_region regions[LIMIT_REGIONS];
};

/* From /proc/iomem, where the driver claims its whole region under the device's name. */
int zones_read_regions(const struct sysroot *sysroot, struct zones_regions *ret_regions);
/* The region's index that holds the whole block, or -1. */
int zones_find_region(const struct zones_regions *regions, const struct memory_block *block);

struct zones_policy {
	enum message_auto_online auto_online;
	enum message_zone_policy zone_policy;
	bool has_ratio;
	uint32_t auto_movable_ratio;
	uint8_t unplug_online; /* 0, 1, MESSAGE_SWITCH_UNKNOWN */
};

/* What the kernel does not have reads as unknown. */
void zones_read_policy(const struct sysroot *sysroot, struct zones_policy *ret_policy);

/* What would be changed for the wish, as entries with the old values. -ENOTSUP where this kernel
 * cannot. */
int zones_plan_policy(const struct zones_policy *now, const struct message_set_online_policy *wish,
		      struct lease_entries *entries);
/* Writes it. Policy first, so that what comes online in between does not land in the wrong zone. */
int zones_set_policy(const struct sysroot *sysroot, const struct message_set_online_policy *wish);

int zones_set_unplug_online(const struct sysroot *sysroot, bool online);
int zones_set_zone_policy(const struct sysroot *sysroot, enum message_zone_policy policy);
int zones_set_movable_ratio(const struct sysroot *sysroot, uint64_t ratio);

#endif
