/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a guest where its moves have put it, for as long as it runs: what libvirt gives new threads and new memory from
 * its own idea of the placement is put right; an I/O thread that comes after a move with its CPUs is pinned like the others.
 * What somebody changed on purpose is left, and said.
 */
#ifndef BALLAST_SERVICE_PLACEMENT_KEEPER_H
#define BALLAST_SERVICE_PLACEMENT_KEEPER_H

#include <stdbool.h>
#include "kept_placement.h"
#include "look.h"
#include "worker_pool.h"

struct event_base;
struct operation_record;
struct placement_keeper;

struct placement_keeper_options {
	struct event_base *base;	/* borrowed, as all here */
	const struct sysroot *sysroot;
	struct look *look;
	struct worker_pool *pool;
	bool observe;			/* only says what it would put right */
	unsigned settle_ms;		/* pause before a change is looked at; 0: 100 */
	/*
	 * How long a change of a group that was there must last before it is somebody's own; 0: 10000. libvirt itself gives
	 * the emulator's group all nodes while it plugs a vCPU, and takes them back (qemu_cgroup.c
	 * qemuCgroupEmulatorAllNodesAllow): 2.4 s on a slow host.
	 */
	unsigned confirm_ms;
	/* An operation works on the guest: it knows better until it ends. */
	bool (*is_busy)(void *user, const char *guest);
	void *user;
};

struct placement_keeper *placement_keeper_new(const struct placement_keeper_options *options);
/* Without a word more. Jobs under way end with the pool, which goes before. */
struct placement_keeper *placement_keeper_free(struct placement_keeper *keeper);

/*
 * Reads the guests' placement from operations, newest first; those that look does not know are passed by. is_all: the
 * records are all that there are, and what they do not say is forgotten; else what was known before stands.
 */
void placement_keeper_learn(struct placement_keeper *keeper, const struct operation_record *const *operations,
			    size_t count, bool is_all);

/* The guest may have changed, or ("") time has passed: looks at its threads and cgroups, and puts right what is new. */
void placement_keeper_check(struct placement_keeper *keeper, const char *guest);

#endif
