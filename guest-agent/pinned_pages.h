/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that somebody holds, as the guest's kernel said when it last tried to empty their blocks.
 * Nothing else tells of a pin: to /proc/kpageflags and /proc/kpagecount such a page is like any
 * other.
 */
#ifndef BALLAST_AGENT_PINNED_PAGES_H
#define BALLAST_AGENT_PINNED_PAGES_H

#include <stddef.h>
#include <stdint.h>

struct sysroot;

/* The kernel names ten in five seconds and is silent about the others (mm/memory_hotplug.c
 * do_migrate_range). */
#define PINNED_PAGES_MAX 256

/* Zeroed to begin. */
struct pinned_pages {
	size_t count;
	uint64_t pfns[PINNED_PAGES_MAX]; /* the oldest first */
};

/* One more, which the kernel has just named. The oldest is forgotten for it where there are too
 * many. */
void pinned_pages_note(struct pinned_pages *pinned, uint64_t pfn);
/* Those in a range of guest-physical memory: it has left, or is about to be tried again. */
void pinned_pages_forget(struct pinned_pages *pinned, uint64_t start, uint64_t size_bytes);

/*
 * How much of a range they hold, in whole pieces of BLOCK_CENSUS_PIECE_BYTES: a lower bound,
 * because the kernel does not name all of them. What is free by now is forgotten; that somebody has
 * let go of a page and still uses it does not show.
 */
uint64_t pinned_pages_bytes(struct pinned_pages *pinned, const struct sysroot *sysroot,
			    uint64_t start, uint64_t size_bytes);

#endif
