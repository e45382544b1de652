/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at a host with the guest g1, of a libvirt that does as told, and its agent; and a monotonic clock that the test
 * turns. Programs that use it are linked with --wrap=clock_gettime.
 */
#ifndef BALLAST_TESTS_GUEST_RIG_H
#define BALLAST_TESTS_GUEST_RIG_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include "fake_agent.h"
#include "fake_host.h"
#include "fake_libvirt.h"
#include "look.h"
#include "worker_pool.h"

struct guest_rig {
	struct fixture_tree tree;
	struct event_base *base;
	struct event *watchdog;
	struct worker_pool *pool;
	struct look *look;
	struct fake_agent *agent; /* NULL: none */
	struct fake_domain *domain;
	char lock_path[64], agent_path[64];
};

/* Zeroed, and begun: the guest has been surveyed, and its agent has reported. requests: of its agent, NULL: it has none. */
void guest_rig_start(struct guest_rig *rig, fake_agent_request_fn *requests,
		     void (*changed)(void *user, enum look_change change, const char *guest));
/* After what looks at it has been freed. */
void guest_rig_finish(struct guest_rig *rig);

const struct snapshot_guest *guest_rig_guest(const struct guest_rig *rig);
/* One turn of the loop. What never comes ends the program. */
void guest_rig_turn(struct guest_rig *rig);
/* All that is on its way comes. */
void guest_rig_let_pass(struct guest_rig *rig);
/* It has been seen, and so much time goes by. */
void guest_rig_pass(struct guest_rig *rig, uint64_t ms);
void guest_rig_turn_clock(uint64_t ms);

#endif
