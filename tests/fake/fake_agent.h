/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's agent at the far end of a unix socket, on the test's own loop: it speaks the guest's
 * half of the session and answers as the test's function says.
 */
#ifndef BALLAST_TESTS_FAKE_AGENT_H
#define BALLAST_TESTS_FAKE_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "message.h"

struct event_base;
struct fake_agent;

/* Answers with fake_agent_reply(), at once or later, or not at all. */
typedef void fake_agent_request_fn(void *user, struct fake_agent *agent, uint64_t epoch,
				   uint32_t id, const struct message *message);

/* Listens at path, which it makes. */
struct fake_agent *fake_agent_new(struct event_base *base, const char *path,
				  fake_agent_request_fn *request, void *user);
struct fake_agent *fake_agent_free(struct fake_agent *agent);

void fake_agent_reply(struct fake_agent *agent, uint64_t epoch, uint32_t id,
		      const struct message *message);
void fake_agent_reply_result(struct fake_agent *agent, uint64_t epoch, uint32_t id,
			     enum message_result_code code, const char *text);
/* Closes the connection, as a QEMU that ends does. The next connection is taken again. */
void fake_agent_hang_up(struct fake_agent *agent);
/* The agent's program starts anew, on the same connection. */
void fake_agent_restart(struct fake_agent *agent);
/* A heartbeat that asks for so much memory. */
void fake_agent_ask(struct fake_agent *agent, uint64_t wanted_bytes);
/* MESSAGE_FEATURE_*, all at first; before the first connection. */
void fake_agent_set_features(struct fake_agent *agent, uint64_t features);
/* Answers each HELLO as an agent that speaks this version of the protocol alone (major << 8 | minor). */
void fake_agent_set_foreign(struct fake_agent *agent, uint16_t version);
/* Does not answer anything while true, not even a HELLO. */
void fake_agent_set_mute(struct fake_agent *agent, bool mute);
/* How many were taken: the far end may not be reading. */
size_t fake_agent_send_bytes(struct fake_agent *agent, const void *data, size_t size);
unsigned fake_agent_connections(const struct fake_agent *agent);

#endif
