/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's line to one guest's agent: the channel's descriptor, the session upon it, its timers, and the last
 * report as the model has it. What the guest says is advice; nothing here decides by it.
 */
#ifndef BALLAST_SERVICE_AGENT_LINK_H
#define BALLAST_SERVICE_AGENT_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include "message.h"
#include "snapshot.h"

struct event_base;
struct agent_link;

struct agent_link_options {
	struct event_base *base;	/* borrowed: lives as long as the link */
	/* Its state changed or a report came. May free the link only from the loop's next turn. */
	void (*changed)(void *user, struct agent_link *link);
	/*
	 * Asked when a connection by vsock stands: does the QEMU that had this context id still live? Then it is the one at
	 * the other end, for it keeps the id until it ends. Else the id may be another guest's by now. NULL: yes.
	 */
	bool (*is_owner)(void *user);
	void *user;
};

enum agent_answer_kind {
	AGENT_ANSWER_REPLY,		/* message: its reply, a RESULT or UNSUPPORTED */
	AGENT_ANSWER_TIMED_OUT,
	AGENT_ANSWER_LOST,		/* agent or guest restarted, channel gone, or the agent became suspect */
	AGENT_ANSWER_COUNT
};

typedef void agent_answer_fn(void *user, enum agent_answer_kind kind, const struct message *message);
/* A PROGRESS, or a STALLS of a WATCH_STALLS. */
typedef void agent_progress_fn(void *user, const struct message *message);

/* NULL where memory is short. */
struct agent_link *agent_link_new(const struct agent_link_options *options);
/* Outstanding requests are answered LOST before this returns. */
struct agent_link *agent_link_free(struct agent_link *link);

/*
 * Where the guest's channel is: the socket's path from the live XML, NULL while the guest does not run or has no
 * channel. The same path again changes nothing. size is what the hypervisor says, to catch a lie.
 */
void agent_link_set_channel(struct agent_link *link, const char *path, uint64_t maximum_bytes);
/* The same by vsock: the context id from the live XML of a guest that runs. */
void agent_link_set_vsock(struct agent_link *link, unsigned cid, uint64_t maximum_bytes);
/* The guest rebooted, or was restored: greet anew, for no end of file tells. */
void agent_link_restart(struct agent_link *link);

void agent_link_describe(const struct agent_link *link, struct snapshot_agent *ret_agent);
bool agent_link_is_ready(const struct agent_link *link);
/* Of an agent that is ready; of another it has none. */
bool agent_link_has_feature(const struct agent_link *link, enum agent_feature feature);
/* The memory that its last heartbeat asked for; 0: none, or it is not ready. */
uint64_t agent_link_wanted_bytes(const struct agent_link *link);

/*
 * Sends a request. The answer comes once, from the loop. progress may be NULL. Returns 0, or -errno (-ENOTCONN unless
 * ready) without an answer. What asks it to put back its changes is answered LOST once it falls silent.
 */
int agent_link_request(struct agent_link *link, const struct message *message, uint32_t timeout_ms,
		       agent_answer_fn *answer, agent_progress_fn *progress, void *user, uint32_t *ret_id);
/* Asks the agent to end that request soon; its answer still comes. */
void agent_link_cancel(struct agent_link *link, uint32_t id);
/* Asks for a report and takes it into the description; done comes once, also when there is no agent. */
void agent_link_refresh(struct agent_link *link, uint32_t timeout_ms, void (*done)(void *user), void *user);
/* How its kernel came to online memory as it does; what is new is told. */
void agent_link_set_onlining(struct agent_link *link, enum agent_onlining onlining);
/* What came of a repair, in the agent's words. It stands until the agent or its guest begins anew. */
void agent_link_set_repair(struct agent_link *link, const char *text);
/* What is in its regions, in the order of the last report; where that has others by now nothing is taken. */
void agent_link_set_holders(struct agent_link *link, const struct snapshot_holders *holders, size_t count);

#endif
