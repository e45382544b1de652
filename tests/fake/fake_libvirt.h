/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libvirt with a few guests that does as told, behind struct libvirt_ops. One for each program:
 * the operations have no place for more. Guests are changed only between fake_libvirt_lock() and
 * fake_libvirt_unlock(), because the connection's threads read them.
 */
#ifndef BALLAST_TESTS_FAKE_LIBVIRT_H
#define BALLAST_TESTS_FAKE_LIBVIRT_H

#include <stdbool.h>
#include <stdint.h>
#include "connection.h"
#include "libvirt_ops.h"

#define FAKE_LIBVIRT_G1	   "11111111-0000-0000-0000-000000000001"
#define FAKE_LIBVIRT_G2	   "22222222-0000-0000-0000-000000000002"
#define FAKE_LIBVIRT_ALIAS "virtiomem0"
#define FAKE_LIBVIRT_IOTHREADS 4 /* at most, from 1 on */

struct fake_domain {
	char uuid[DOMAIN_XML_UUID_SIZE], name[32];
	bool exists, running, persistent, has_job, has_device;
	bool follows; /* a request is fulfilled at once, with its event */
	uint64_t base_mib, size_mib, requested_mib, current_mib, balloon_mib;
	char channel[128];	     /* path of the agent's socket; empty: none */
	unsigned vsock_cid;	     /* its context id; 0: none */
	char nodes[32], mode[16];    /* numatune; empty: none */
	char stored_nodes[32];	     /* of the stored XML; empty: none */
	char pins[32], emulator[32]; /* of vCPU 0, and of the emulator; empty: none */
	unsigned vcpus_now;	     /* of its two; 0: both */
	unsigned iothreads;
	char iothread_pins[FAKE_LIBVIRT_IOTHREADS][32]; /* as they were pinned last; empty: none */
	char vcpu_cpus[32];	     /* of <vcpu cpuset>; empty: none */
	char policy[128];	     /* attributes of ours in its metadata; empty: none */
};

extern const struct libvirt_ops fake_libvirt_ops;

/* No guests, nothing refused, reachable. No link may be open. */
void fake_libvirt_reset(void);
/* A running guest of 512 MiB with a virtio-mem device of 1 GiB, 256 MiB of it plugged. */
struct fake_domain *fake_libvirt_add(const char *uuid, const char *name);
void fake_libvirt_lock(void);
void fake_libvirt_unlock(void);

/* Opening fails while false; a link that is open breaks. */
void fake_libvirt_set_reachable(bool reachable);
/* The call of this name ("update", "numa", "pin", "balloon", "define", "list", "get") is refused
 * with this text; NULL: none is. */
void fake_libvirt_refuse(const char *call, const char *text);
/* Calls of this name return only when the gate is opened, with what they saw when they began. NULL
 * opens it. */
void fake_libvirt_gate(const char *call);
/* Waits until count calls of this name have begun. */
void fake_libvirt_wait(const char *call, unsigned count);
unsigned fake_libvirt_count(const char *call);
/* From a thread of its own, as libvirt does. */
void fake_libvirt_emit(enum connection_event_kind kind, const char *uuid, uint64_t bytes);
/* What changed something, in order: "update 768; pin 0:2-3; numa 1; balloon 256; define 0".
 * Borrowed. */
const char *fake_libvirt_changes(void);
/* Waits until no link is open any more. */
void fake_libvirt_wait_closed(void);

#endif
