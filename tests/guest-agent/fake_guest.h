/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's kernel files in a temporary directory that react to writes as the kernel does: 512 MiB
 * of boot memory (blocks 0 to 3), and a virtio-mem region of 16 blocks of 128 MiB (32 to 47) of
 * which the first 8 are plugged, online and movable. One node; a pool of 2 MiB pages.
 */
#ifndef BALLAST_TESTS_FAKE_GUEST_H
#define BALLAST_TESTS_FAKE_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sysroot.h"

#define FAKE_GUEST_BLOCK_BYTES (UINT64_C(128) << 20)
#define FAKE_GUEST_FIRST_BLOCK 32
#define FAKE_GUEST_BLOCKS      1024 /* ids that a test may use */

/* What happens to a write of "offline". */
enum fake_guest_script {
	FAKE_GUEST_GOES,
	FAKE_GUEST_BUSY_ONCE,
	FAKE_GUEST_BUSY,
	FAKE_GUEST_PINNED,	     /* busy, and the kernel says of a page what holds it */
	FAKE_GUEST_HANGS,	     /* until killed; says so in hangs */
	FAKE_GUEST_INVALID,	     /* EINVAL: holes */
	FAKE_GUEST_VANISHES,	     /* the device takes it away while it is tried */
	FAKE_GUEST_TAKEN_AFTERWARDS, /* goes offline, and the driver unplugs it at once */
};

/* Shared with child processes. */
struct fake_guest_state {
	enum fake_guest_script scripts[FAKE_GUEST_BLOCKS];
	unsigned tries[FAKE_GUEST_BLOCKS];
	bool hangs;
	uint64_t pool_most; /* the pool does not grow beyond it */
	uint64_t inside_room; /* of what the pool grows by, so many pages come to lie in block 39 */
	uint64_t free_inside[FAKE_GUEST_BLOCKS]; /* free pages of the pool that go with the block */
	uint64_t used_meanwhile; /* free pages that are used before the next write of the pool's size */
	unsigned refusals; /* writes of "online" that are refused */
	bool is_onlined_by_others; /* a udev rule is quicker: whatever is onlined lands in the kernel's zone */
	unsigned compacted_pieces; /* of 4 MiB, that compaction makes */
	/* Of memory.reclaim: what it finds, and how long some task waits for each MiB that was taken.
	 * UINT64_MAX: the kernel does not tell of pressure. */
	uint64_t reclaimable_kib, harm_us;
	unsigned bites;
	uint64_t largest_bite;
	/* The agent dies at this write (from 1 on; 0: never), before it or after it: from then on nothing
	 * that it writes reaches the kernel, and its lease file is kept as it was. */
	unsigned dies_at;
	bool dies_after, is_dead;
	char last_leases[4096];
	unsigned writes;
	char log[4096]; /* "memory36/state=offline\n" ... */
};

struct fake_guest {
	char root[64];
	char lease_directory[96];
	struct sysroot *sysroot;
	struct fake_guest_state *state;
};

void fake_guest_start(struct fake_guest *guest);
void fake_guest_stop(struct fake_guest *guest);

void fake_guest_write(const struct fake_guest *guest, const char *path, const char *text);
/* The file without its newline, in a static buffer; "" where there is none. */
const char *fake_guest_read(const struct fake_guest *guest, const char *path);
const char *fake_guest_block_state(const struct fake_guest *guest, unsigned id);
const char *fake_guest_block_zones(const struct fake_guest *guest, unsigned id);
/* Plugged, or as if it had been so for long: "online" or "offline", and valid_zones. */
void fake_guest_set_block(const struct fake_guest *guest, unsigned id, const char *state, const char *zones);
/* In place of the region: one of so many blocks from first_id on, all of them in this state. */
void fake_guest_set_region(const struct fake_guest *guest, unsigned first_id, unsigned count, const char *state,
			   const char *zones);
void fake_guest_unplug(const struct fake_guest *guest, unsigned id);
/* So many base pages of block id from first on have these flags of /proc/kpageflags; what was never set has none. */
void fake_guest_set_pages(const struct fake_guest *guest, unsigned id, uint64_t first, uint64_t count, uint64_t flags);
void fake_guest_set_pressure(const struct fake_guest *guest, unsigned percent);
/* Sets the pool of 2 MiB pages. */
void fake_guest_set_pool(const struct fake_guest *guest, uint64_t total, uint64_t free,
			 uint64_t reserved, uint64_t surplus);
/* A balloon, virtio1, that reports free pages or does not and whose reporting has raised so many
 * interrupts; 660 MiB are free in pieces of 2 MiB and 4 MiB. */
void fake_guest_set_balloon(const struct fake_guest *guest, bool reports, unsigned interrupts);
uint64_t fake_guest_pool(const struct fake_guest *guest);
/* An executable of the default hook directory: a shell script. */
void fake_guest_add_hook(const struct fake_guest *guest, const char *name, const char *text);
/* Of block id so many huge pages from first on, in use or free in the pool; all others are no huge
 * pages. */
void fake_guest_set_huge(const struct fake_guest *guest, unsigned id, unsigned first, unsigned count,
			 bool in_use);
/* cgroup v2 with memory.reclaim. */
void fake_guest_add_reclaim(const struct fake_guest *guest, uint64_t reclaimable_kib);
uint64_t fake_guest_free_kib(const struct fake_guest *guest);
/* After its death: its lease file as it was then. The next one lives. */
void fake_guest_bury(const struct fake_guest *guest);
/* The lease file. */
const char *fake_guest_leases(const struct fake_guest *guest);

#endif
