/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent has changed and must give back: written down before each change, so that an agent
 * that dies can undo it when it starts again.
 *
 * The file "leases" in the lease directory is text, one record a line, replaced as a whole (written
 * beside, synced, renamed):
 *
 *   ballast-agent leases 1
 *   boot 0f1e2d3c4b5a69788796a5b4c3d2e1f0
 *   taken NODE PAGE_BYTES OLD TOOK       pages of a pool that a finished shrink took and owes; node
 * -1: all nodes lease ID pool NODE PAGE_BYTES OLD TOOK        its entries follow block ID ZONE
 *   auto_online WORD
 *   zone_policy WORD
 *   movable_ratio OLD
 *   unplug_online OLD
 *   room PAGE_BYTES OLD GROWN            a pool is to be as large as before again
 *   surplus PAGE_BYTES OLD ADDED         surplus pages that became the pool's own, until they are free
 *   hooks BYTES KEPT                     those after it are still to run
 *   hook_range START BYTES
 *   end
 *
 * A file of another boot is void: a reboot has undone everything.
 */
#ifndef BALLAST_AGENT_LEASE_H
#define BALLAST_AGENT_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "wire_limits.h"

struct failure;

#define LEASE_BOOT_ID_BYTES 16
/* The first try to undo what could not be undone, and the longest time between two: what refuses now
 * may do so for hours, and costs a write. */
#define LEASE_RETRY_MS	    5000
#define LEASE_RETRY_MOST_MS 300000
/* All blocks of a TiB in 128 MiB blocks, and then some. */
#define LEASE_ENTRIES_MAX 16384

enum lease_kind {
	LEASE_POOL,	     /* node_id, key: page size, old: pages before, took */
	LEASE_BLOCK,	     /* key: block, old: enum memory_zone it was online in */
	LEASE_AUTO_ONLINE,   /* old: enum memory_block_auto_online */
	LEASE_ZONE_POLICY,   /* old: enum message_zone_policy */
	LEASE_MOVABLE_RATIO, /* old */
	LEASE_UNPLUG_ONLINE, /* old: 0 or 1 */
	LEASE_ROOM,	     /* key: page size, old: pages of all nodes before, took: by which it has grown */
	LEASE_SURPLUS,	     /* key: page size, old: pages before, took: surplus that became the pool's own */
	LEASE_HOOKS,	     /* hooks were run before; old: bytes that they were told of, took: 1 where the
				shrink was kept */
	LEASE_HOOK_RANGE,    /* key: start, old: bytes of a range that they were told of */
	LEASE_KIND_COUNT
};

struct lease_entry {
	enum lease_kind kind;
	int node_id;
	uint64_t key, old, took;
	uint64_t goal; /* of an undo that runs; not written down */
};

struct lease_entries {
	struct lease_entry *items; /* owned */
	size_t count, capacity;
};

struct lease {
	uint64_t id;
	uint64_t expires_ms;
	bool ending; /* to be undone as soon as nothing else runs, but not before retry_ms */
	uint64_t retry_ms;
	unsigned tries; /* that left something undone */
	struct lease_entries entries;
};

struct lease_book {
	char directory[256];
	uint8_t boot_id[LEASE_BOOT_ID_BYTES];
	struct lease leases[LIMIT_LEASES];
	size_t count;
	struct lease_entries taken; /* LEASE_POOL */
};

/* A word in a kernel's file, which is put back at once; all others may take long, or are put back by a hook. */
bool lease_kind_is_setting(enum lease_kind kind);

void lease_book_init(struct lease_book *book, const char *directory,
		     const uint8_t boot_id[LEASE_BOOT_ID_BYTES]);
void lease_book_done(struct lease_book *book);

/*
 * Reads the file; every lease in it is at its end. Without a file, or with one of another boot:
 * nothing. A file that is not as written above: -EBADMSG, nothing is taken from it, and it is kept
 * as "leases.bad".
 */
int lease_book_load(struct lease_book *book, struct failure *failure);
/* Must succeed before anything is changed. Makes the directory. */
int lease_book_save(const struct lease_book *book, struct failure *failure);

struct lease *lease_book_find(struct lease_book *book, uint64_t id);
/* Pools of huge pages are not as their owner left them: a lease has changed one, or pages are owed. */
bool lease_book_has_pools(const struct lease_book *book);
/* The lease, made if need be, now to end lease_ms later. NULL: LIMIT_LEASES are held, or it is
 * ending. */
struct lease *lease_book_open(struct lease_book *book, uint64_t id, uint32_t lease_ms,
			      uint64_t now_ms);
void lease_book_remove(struct lease_book *book, struct lease *lease);
/* Marks what has run out; the time of the next end, or of the next try to end one, or UINT64_MAX. */
uint64_t lease_book_expire(struct lease_book *book, uint64_t now_ms);
/* One that is to be undone now, or NULL. */
struct lease *lease_book_ending(struct lease_book *book, uint64_t now_ms);
/* What is left of an ending lease could not be undone: once more later, each time after longer. All
 * such leftovers are one lease, so that they do not keep others from being taken. */
void lease_book_retry(struct lease_book *book, struct lease *lease, uint64_t now_ms);

/*
 * Before a lease is undone: a setting that a later lease has changed too is put back when that one ends, to what it was
 * before both.
 */
void lease_book_hand_over(struct lease_book *book, struct lease *lease);

/* Adds; where the same thing was changed before, its older value stays and what was taken adds up.
 */
int lease_entries_add(struct lease_entries *entries, const struct lease_entry *entry);
struct lease_entry *lease_entries_find(struct lease_entries *entries, enum lease_kind kind,
				       int node_id, uint64_t key);
void lease_entries_remove(struct lease_entries *entries, struct lease_entry *entry);
void lease_entries_done(struct lease_entries *entries);

#endif
