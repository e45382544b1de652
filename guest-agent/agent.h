/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: one poll loop between the host's channel, the work in child processes, and the leases.
 */
#ifndef BALLAST_AGENT_AGENT_H
#define BALLAST_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include "agent_config.h"

struct agent;
struct failure;
struct sysroot;

struct agent_options {
	struct agent_config
		config; /* lease_directory as the process sees it, not below the sysroot */
	int adopt_fd;	/* a connected channel for tests; -1: open the configured port */
	int stop_fd;	/* readable when the agent is to end; borrowed; -1 */
	int reload_fd;	/* readable when reload is to be called, which reads from it; borrowed; -1 */
	/* Puts what has changed into the configuration, or leaves it as it is. */
	void (*reload)(void *user, struct agent_config *config);
	uint64_t (*now_ms)(void *user); /* NULL: CLOCK_BOOTTIME */
	void *user;
};

/* sysroot is borrowed. What an earlier run left in the lease file begins to be undone. */
int agent_new(const struct sysroot *sysroot, const struct agent_options *options,
	      struct agent **ret_agent, struct failure *failure);
struct agent *agent_free(struct agent *agent);

/* Waits at most timeout_ms (-1: as long as it may) for something to happen, and does it. False at
 * the end. */
bool agent_turn(struct agent *agent, int timeout_ms);

/*
 * Before an end that was asked for: cancels what runs and gives back what was changed, for at most
 * limit_ms. What is not done then stays in the lease file, for the next start.
 */
void agent_give_back(struct agent *agent, uint32_t limit_ms);

#endif
