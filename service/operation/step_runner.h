/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's executor for a real host: steps go to kernel workers, to libvirt or to the guest's agent, by their kind.
 */
#ifndef BALLAST_SERVICE_STEP_RUNNER_H
#define BALLAST_SERVICE_STEP_RUNNER_H

#include "executor.h"
#include "look.h"
#include "worker_pool.h"

struct event_base;
struct step_runner;

struct step_runner_options {
	struct event_base *base;	/* borrowed, as all here */
	struct look *look;
	struct worker_pool *pool;
	uint32_t flat_ms;		/* a size unchanged for so long has stalled */
	uint32_t block_timeout_ms;	/* for an agent to take one block offline; 0: its own default */
	const char *hook_directory;	/* of the host's own hooks; NULL: there are none */
	uint32_t pace_ms;		/* how often what gives no event is looked at; 0: as each step needs it */
};

struct step_runner *step_runner_new(const struct step_runner_options *options);
/* Nothing may run any more. */
struct step_runner *step_runner_free(struct step_runner *runner);
/* Borrowed: lives as long as the runner. */
const struct executor *step_runner_executor(struct step_runner *runner);

#endif
