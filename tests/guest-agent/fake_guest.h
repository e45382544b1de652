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
#define FAKE_GUEST_BLOCKS      64

/* What happens to a write of "offline". */
enum fake_guest_script {
	FAKE_GUEST_GOES,
	FAKE_GUEST_BUSY_ONCE,
	FAKE_GUEST_BUSY,
	FAKE_GUEST_HANGS,	     /* until killed */
	FAKE_GUEST_INVALID,	     /* EINVAL: holes */
	FAKE_GUEST_VANISHES,	     /* the device takes it away while it is tried */
	FAKE_GUEST_TAKEN_AFTERWARDS, /* goes offline, and the driver unplugs it at once */
};

/* Shared with child processes. */
struct fake_guest_state {
	enum fake_guest_script scripts[FAKE_GUEST_BLOCKS];
	unsigned tries[FAKE_GUEST_BLOCKS];
	uint64_t pool_most; /* the pool does not grow beyond it */
	unsigned compacted_pieces; /* of 4 MiB, that compaction makes */
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
/* Sets the pool of 2 MiB pages. */
void fake_guest_set_pool(const struct fake_guest *guest, uint64_t total, uint64_t free,
			 uint64_t reserved, uint64_t surplus);
/* A balloon, virtio1, that reports free pages or does not and whose reporting has raised so many
 * interrupts; 660 MiB are free in pieces of 2 MiB and 4 MiB. */
void fake_guest_set_balloon(const struct fake_guest *guest, bool reports, unsigned interrupts);
uint64_t fake_guest_pool(const struct fake_guest *guest);
/* The lease file. */
const char *fake_guest_leases(const struct fake_guest *guest);

#endif
