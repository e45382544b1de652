/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt for a program with one loop that never blocks: calls are submitted, completions and
 * events come back through one queue, in order, on the thread that calls connection_dispatch() when
 * connection_fd() is readable.
 *
 * Behind it stand libvirt's own event loop in a thread of the process, a supervisor thread
 * (connects, reconnects with backoff, watches deadlines), and a pool of threads for the calls,
 * every one of which may block: libvirtd waits 30 s for a guest's job lock before it gives up
 * (qemu_domain.c QEMU_JOB_WAIT_TIME). At most one call of a guest is in flight; others of that
 * guest wait in the order of their submission.
 */
#ifndef BALLAST_KVM_LIBVIRT_CONNECTION_H
#define BALLAST_KVM_LIBVIRT_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "domain_xml.h"
#include "failure.h"
#include "name_table.h"

struct connection;
struct libvirt_ops;
struct sysroot;

enum connection_state { CONNECTION_STATE_DOWN, CONNECTION_STATE_UP, CONNECTION_STATE_COUNT };
NAME_TABLE_DECLARE(connection_state);

/* virDomainState without those that only other hypervisors have. */
enum connection_domain_state {
	CONNECTION_DOMAIN_UNKNOWN,
	CONNECTION_DOMAIN_RUNNING,
	CONNECTION_DOMAIN_PAUSED,
	CONNECTION_DOMAIN_SHUTDOWN, /* is shutting down */
	CONNECTION_DOMAIN_SHUTOFF,
	CONNECTION_DOMAIN_CRASHED,
	CONNECTION_DOMAIN_SUSPENDED, /* by the guest's power management */
	CONNECTION_DOMAIN_STATE_COUNT
};
NAME_TABLE_DECLARE(connection_domain_state);

struct connection_domain {
	char uuid[DOMAIN_XML_UUID_SIZE];
	char *name; /* owned */
	int id;	    /* -1: not running */
	enum connection_domain_state state;
	bool persistent;
	/* Not filled by LIST_DOMAINS: */
	char *live_xml;	  /* owned; NULL: not running */
	char *stored_xml; /* owned; NULL: transient */
	pid_t pid;	  /* of QEMU; 0: not running, or not found */
	bool has_job;	  /* migration, save, dump: leave the guest alone */
};
void connection_domain_done(struct connection_domain *domain);

enum connection_event_kind {
	CONNECTION_EVENT_UP,   /* everything may have changed since it was last up: list */
	CONNECTION_EVENT_DOWN, /* text says why */
	CONNECTION_EVENT_GAP,  /* events were dropped because nobody dispatched: list */
	CONNECTION_EVENT_DEFINED,
	CONNECTION_EVENT_UNDEFINED,
	CONNECTION_EVENT_STARTED,
	CONNECTION_EVENT_SUSPENDED,
	CONNECTION_EVENT_RESUMED,
	CONNECTION_EVENT_SHUTDOWN, /* is going down */
	CONNECTION_EVENT_STOPPED,
	CONNECTION_EVENT_CRASHED,
	CONNECTION_EVENT_PM_SUSPENDED,
	CONNECTION_EVENT_REBOOTED, /* virtio-mem gives everything back, the guest's agent is new */
	CONNECTION_EVENT_MEMORY_SIZE_CHANGED,	/* alias, bytes; at most once a second, never on
						   failure */
	CONNECTION_EVENT_BALLOON_CHANGED,	/* bytes */
	CONNECTION_EVENT_DEVICE_ADDED,		/* alias */
	CONNECTION_EVENT_DEVICE_REMOVED,	/* alias */
	CONNECTION_EVENT_DEVICE_REMOVAL_FAILED, /* alias */
	CONNECTION_EVENT_MIGRATION_ROUND,	/* an outgoing migration is under way */
	CONNECTION_EVENT_JOB_COMPLETED,
	CONNECTION_EVENT_METADATA_CHANGED, /* of DOMAIN_XML_POLICY_URI */
	CONNECTION_EVENT_CALL_RETURNED,	   /* a call that had timed out came back: call, text; look
					      again */
	CONNECTION_EVENT_KIND_COUNT
};
NAME_TABLE_DECLARE(connection_event_kind);

/* Hints: what is true is read again. Strings are never NULL and live during the callback. */
struct connection_event {
	enum connection_event_kind kind;
	char uuid[DOMAIN_XML_UUID_SIZE]; /* empty where no guest is meant */
	const char *name;
	const char *alias;
	const char *text;
	uint64_t bytes;
	uint64_t call;
	bool migration; /* STARTED, SUSPENDED, RESUMED, STOPPED: because of a migration */
};
typedef void connection_event_fn(void *userdata, const struct connection_event *event);

enum connection_call_kind {
	CONNECTION_CALL_LIST_DOMAINS, /* result: domains, without XML, so that no guest can hold it
					 up */
	CONNECTION_CALL_GET_DOMAIN,   /* result: one domain, whole */
	CONNECTION_CALL_UPDATE_VIRTIO_MEM, /* .virtio_mem; reads the live XML afresh and changes
					      <requested> */
	CONNECTION_CALL_SET_BALLOON,	   /* .balloon */
	CONNECTION_CALL_SET_NUMA,     /* .nodes; live, and only as placement_can_take_back() says */
	CONNECTION_CALL_PIN_VCPU,     /* .pin */
	CONNECTION_CALL_PIN_EMULATOR, /* .pin, id unused */
	CONNECTION_CALL_PIN_IOTHREAD, /* .pin */
	CONNECTION_CALL_ATTACH_CHANNEL, /* .channel_name; refused "needs_restart" without a
					   controller; done if there */
	CONNECTION_CALL_GET_METADATA,	/* result: text, NULL where the guest has none */
	CONNECTION_CALL_SET_METADATA, /* .metadata, NULL removes it; else checked to be a policy */
	CONNECTION_CALL_PERSIST_PLACEMENT, /* .placement into the stored XML */
	CONNECTION_CALL_KIND_COUNT
};
NAME_TABLE_DECLARE(connection_call_kind);

enum connection_outcome {
	CONNECTION_DONE,
	CONNECTION_REFUSED, /* libvirt, or a check before it, said no */
	CONNECTION_NO_DOMAIN,
	CONNECTION_NOT_UP, /* no connection, or it broke during the call: done or not, look again */
	CONNECTION_TIMED_OUT, /* if in_flight, the guest's turn stays taken until libvirt returns */
	CONNECTION_OUTCOME_COUNT
};
NAME_TABLE_DECLARE(connection_outcome);

struct connection_result {
	enum connection_call_kind kind;
	uint64_t call; /* the number connection_submit() gave */
	enum connection_outcome outcome;
	bool in_flight;			   /* TIMED_OUT: it had begun and may still take effect */
	struct failure failure;		   /* empty with CONNECTION_DONE */
	int libvirt_code;		   /* virErrorNumber, 0: none */
	struct connection_domain *domains; /* lives during the callback */
	size_t domain_count;
	const char *text; /* lives during the callback */
};
typedef void connection_done_fn(void *userdata, const struct connection_result *result);

/* Which of the guest's two descriptions a change applies to. */
enum connection_scope {
	CONNECTION_SCOPE_LIVE,
	CONNECTION_SCOPE_STORED,
	CONNECTION_SCOPE_BOTH,
};

#define CONNECTION_CALL_TIMEOUT_MS \
	45000 /* past the 30 s after which libvirtd itself gives up on a job lock */

struct connection_call {
	enum connection_call_kind kind;
	const char *uuid; /* of the guest; NULL for LIST_DOMAINS */
	enum connection_scope
		scope;	     /* of SET_BALLOON, PIN_*, ATTACH_CHANNEL, *_METADATA (GET: not BOTH) */
	unsigned timeout_ms; /* counts from the submission; 0: CONNECTION_CALL_TIMEOUT_MS */
	connection_done_fn
		*on_done; /* called exactly once, unless the connection is freed before */
	void *userdata;
	union {
		struct {
			const char *alias;
			uint64_t requested_bytes;
		} virtio_mem;
		uint64_t balloon_bytes;
		const char *nodes;
		struct {
			unsigned id;
			const char *cpus;
		} pin;
		const char *channel_name;
		const char *metadata;
		const struct domain_xml_placement *placement;
	};
};

struct connection_options {
	const char *uri;	     /* NULL: qemu:///system */
	unsigned threads;	     /* 0: 4. Below libvirtd's max_client_requests, 5 by default */
	unsigned backoff_minimum_ms; /* 0: 1000; doubles up to the maximum */
	unsigned backoff_maximum_ms; /* 0: 30000 */
	unsigned free_grace_ms;	     /* how long connection_free() waits for threads; 0: 1000 */
	const struct sysroot *sysroot; /* borrowed: lives as long as the process; NULL: no pids */
	const struct libvirt_ops *ops; /* borrowed likewise; NULL: libvirt itself */
	connection_event_fn *on_event; /* may be NULL */
	void *userdata;
};

/*
 * Starts the threads and the first attempt to connect; does not wait for it: CONNECTION_EVENT_UP or
 * CONNECTION_EVENT_DOWN tells how it went. DOWN comes once, not for each attempt. Returns 0 or
 * -errno.
 */
int connection_new(const struct connection_options *options, struct connection **ret_connection,
		   struct failure *failure);
/*
 * No callback is made after this, not even for calls under way; may be called from within a
 * callback. Waits a moment for the threads; one that hangs in libvirt keeps what it needs and
 * cleans up after itself. Returns NULL.
 */
struct connection *connection_free(struct connection *connection);

/* An eventfd, readable when there is something to dispatch. Owned by the connection. */
int connection_fd(const struct connection *connection);
/* Runs the callbacks of everything queued at its start. Never blocks by itself. */
void connection_dispatch(struct connection *connection);

/* As of the last dispatched event; reason (may be NULL) gets why it is down, for people. */
enum connection_state connection_get_state(struct connection *connection, const char **ret_reason);

/*
 * Takes a copy of everything in *call. Returns 0 and the call's number (ret_call may be NULL);
 * -EINVAL for a call without what its kind needs; -EBUSY when CONNECTION_MAX_CALLS are waiting;
 * -ENOMEM. While the connection is down, calls complete with CONNECTION_NOT_UP.
 */
int connection_submit(struct connection *connection, const struct connection_call *call,
		      uint64_t *ret_call);
#define CONNECTION_MAX_CALLS 4096

/* Calls in flight whose deadline has passed: threads that libvirt does not give back. For metrics.
 */
unsigned connection_stuck_calls(struct connection *connection);

#endif
