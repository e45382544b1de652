/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux memory blocks (/sys/devices/system/memory): look at them, take them offline and online.
 */
#ifndef BALLAST_KVM_MEMORY_BLOCK_H
#define BALLAST_KVM_MEMORY_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "memory_zone.h"
#include "name_table.h"
#include "node_set.h"

struct sysroot;

enum memory_block_state {
	MEMORY_BLOCK_STATE_ONLINE,
	MEMORY_BLOCK_STATE_GOING_OFFLINE,
	MEMORY_BLOCK_STATE_OFFLINE,
	MEMORY_BLOCK_STATE_COUNT
};
NAME_TABLE_DECLARE(memory_block_state);

/*
 * Whether the block can go offline. Sysfs' own "removable" is a constant (drivers/base/memory.c
 * removable_show), so the judgement rests on valid_zones.
 */
enum memory_block_removable {
	MEMORY_BLOCK_REMOVABLE_NO,    /* spans zones or nodes, or has holes: never */
	MEMORY_BLOCK_REMOVABLE_MAYBE, /* a kernel zone: only while the kernel itself has nothing
					 there */
	MEMORY_BLOCK_REMOVABLE_YES,   /* movable, or offline already */
	MEMORY_BLOCK_REMOVABLE_COUNT
};
NAME_TABLE_DECLARE(memory_block_removable);

struct memory_block {
	uint64_t id;	/* N of memoryN */
	uint64_t start; /* physical address */
	uint64_t size_bytes;
	int node_id;	     /* the lowest of its nodes, -1 where the kernel names none (yet: it is just being plugged) */
	unsigned node_count; /* more than 1 only for boot memory at a border between nodes */
	enum memory_block_state state;
	enum memory_zone zone; /* online: where it is (NONE: several). Offline: where a plain
				  "online" would put it (NONE: not known yet) */
	bool can_be_movable;   /* is in the movable zone, or is offline and may be onlined there */
	enum memory_block_removable removable;
};

struct memory_block_list {
	struct memory_block *blocks; /* owned; ascending by id */
	size_t count;
	uint64_t block_bytes;
};

int memory_block_read_size(const struct sysroot *sysroot, uint64_t *ret_bytes);

/* A block that vanishes while it is read is left out. The caller calls memory_block_list_done(). */
int memory_block_list_read(const struct sysroot *sysroot, struct memory_block_list *ret_list);
void memory_block_list_done(struct memory_block_list *list);
const struct memory_block *memory_block_list_find(const struct memory_block_list *list,
						  uint64_t id);

/* One block; -ENOENT where there is none of that number. */
int memory_block_read(const struct sysroot *sysroot, uint64_t id, struct memory_block *ret_block);
int memory_block_read_state(const struct sysroot *sysroot, uint64_t id,
			    enum memory_block_state *ret_state);

enum memory_block_offline_result {
	MEMORY_BLOCK_OFFLINE_OFFLINED,
	MEMORY_BLOCK_OFFLINE_ALREADY, /* was offline before; nothing was written */
	MEMORY_BLOCK_OFFLINE_BUSY, /* the kernel gave up: a page in use, a notifier, reserved huge
				      pages */
	MEMORY_BLOCK_OFFLINE_NOT_REMOVABLE, /* holes or several zones (the kernel's EINVAL) */
	MEMORY_BLOCK_OFFLINE_GONE,	    /* no such block */
	MEMORY_BLOCK_OFFLINE_INTERRUPTED,   /* a signal ended it; the kernel put everything back */
	MEMORY_BLOCK_OFFLINE_COUNT
};
NAME_TABLE_DECLARE(memory_block_offline_result);

/*
 * Takes a block offline. BLOCKS, possibly for ever, while a page is busy (mm/memory_hotplug.c
 * offline_pages has no limit): only a signal to this thread ends it, so call it in a process of its
 * own. The state is read again after a failed write: a block that is offline then counts as
 * OFFLINED. Returns 0 with an outcome, or -errno for what is none of them.
 */
int memory_block_offline(const struct sysroot *sysroot, uint64_t id,
			 enum memory_block_offline_result *ret_result);

enum memory_block_online_result {
	MEMORY_BLOCK_ONLINE_ONLINED,
	MEMORY_BLOCK_ONLINE_ALREADY,	/* was online in the zone asked for (or no zone was) */
	MEMORY_BLOCK_ONLINE_WRONG_ZONE, /* is online, in another zone than asked for */
	MEMORY_BLOCK_ONLINE_REFUSED, /* the kernel refused, mostly: that zone is impossible there */
	MEMORY_BLOCK_ONLINE_GONE,
	MEMORY_BLOCK_ONLINE_INTERRUPTED,
	MEMORY_BLOCK_ONLINE_COUNT
};
NAME_TABLE_DECLARE(memory_block_online_result);

/*
 * Brings a block online: MEMORY_ZONE_MOVABLE writes online_movable, MEMORY_ZONE_NORMAL (or a lower
 * kernel zone) online_kernel, MEMORY_ZONE_NONE leaves the choice to the kernel. What was reached is
 * read back, so another onliner that was faster shows as WRONG_ZONE.
 */
int memory_block_online(const struct sysroot *sysroot, uint64_t id, enum memory_zone zone,
			enum memory_block_online_result *ret_result);

enum memory_block_auto_online {
	MEMORY_BLOCK_AUTO_ONLINE_OFFLINE,
	MEMORY_BLOCK_AUTO_ONLINE_ONLINE,
	MEMORY_BLOCK_AUTO_ONLINE_KERNEL,
	MEMORY_BLOCK_AUTO_ONLINE_MOVABLE,
	MEMORY_BLOCK_AUTO_ONLINE_COUNT
};
NAME_TABLE_DECLARE(memory_block_auto_online); /* the kernel's words: offline online online_kernel
						 online_movable */

/* What the kernel does with a block that appears. set reads back: -EIO where it did not take. */
int memory_block_read_auto_online(const struct sysroot *sysroot,
				  enum memory_block_auto_online *ret_policy);
int memory_block_set_auto_online(const struct sysroot *sysroot,
				 enum memory_block_auto_online policy);

#endif
