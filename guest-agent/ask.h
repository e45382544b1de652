/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the guest asks its host for more memory: because its owner said how much it wants, or because its work waits for
 * memory. It asks with each heartbeat, until the host has answered; the host decides by the policy that it has of the guest.
 */
#ifndef BALLAST_AGENT_ASK_H
#define BALLAST_AGENT_ASK_H

#include <stdint.h>
#include "message.h"

struct agent_config;

/* After an answer that was no yes; twice as long each time, up to the second. */
#define ASK_PAUSE_MS	  60000
#define ASK_PAUSE_MOST_MS 960000

/* Zeroed to begin. */
struct ask {
	uint64_t wanted_bytes;	 /* asked for now; 0: nothing */
	uint64_t answered_bytes; /* what the host has answered last */
	uint64_t total_bytes;	 /* the guest's size then */
	bool is_granted;
	uint32_t pause_ms;
	uint64_t quiet_until_ms;
};

struct ask_input {
	uint64_t total_bytes;		  /* all memory that the guest's kernel has */
	struct message_pressure pressure;
	uint64_t now_ms;
};

/* Pure. Decides ask->wanted_bytes anew. */
void ask_look(struct ask *ask, const struct agent_config *config, const struct ask_input *input);
/* The host has answered what was asked for. An answer to anything else is not heard. */
void ask_answered(struct ask *ask, const struct message_answer_wish *answer, uint64_t total_bytes, uint64_t now_ms);

#endif
