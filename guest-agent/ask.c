/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

#include "agent_config.h"

/* Asked for since the last heartbeats, it is asked for until the pressure has gone. */
static bool is_pressed(const struct ask *ask, const struct agent_config *config, uint32_t some)
{
	uint32_t limit = config->ask_pressure_percent * 100;

	if (!limit || some == MESSAGE_PRESSURE_NONE)
		return false;
	return some >= limit || (ask->wanted_bytes && some >= limit / 2);
}

static uint64_t choose(const struct ask *ask, const struct agent_config *config, const struct ask_input *input)
{
	if (config->memory_wanted_bytes > input->total_bytes)
		return config->memory_wanted_bytes;
	if (!is_pressed(ask, config, input->pressure.some_avg10_x100))
		return 0;
	/* What is asked for stands as long as nothing has come, or every heartbeat would ask for something else. */
	if (ask->wanted_bytes > input->total_bytes)
		return ask->wanted_bytes;
	return config->ask_step_bytes < UINT64_MAX - input->total_bytes ? input->total_bytes + config->ask_step_bytes : 0;
}

void ask_look(struct ask *ask, const struct agent_config *config, const struct ask_input *input)
{
	uint64_t wanted = choose(ask, config, input);

	/* A yes stands while the guest has what it had then: the kernel keeps some of what it is given for itself. */
	if (wanted && wanted == ask->answered_bytes &&
	    (ask->is_granted ? input->total_bytes >= ask->total_bytes : input->now_ms < ask->quiet_until_ms))
		wanted = 0;
	if (wanted && input->now_ms < ask->quiet_until_ms && !config->memory_wanted_bytes)
		wanted = 0;
	ask->wanted_bytes = wanted;
}

void ask_answered(struct ask *ask, const struct message_answer_wish *answer, uint64_t total_bytes, uint64_t now_ms)
{
	if (!ask->wanted_bytes || answer->wanted_bytes != ask->wanted_bytes)
		return;
	ask->answered_bytes = ask->wanted_bytes;
	ask->total_bytes = total_bytes;
	ask->wanted_bytes = 0;
	ask->is_granted = answer->code == MESSAGE_RESULT_OK;
	/* For the rest of what was granted in part it asks again, but not ever more rarely: who gives some may give more. */
	if (ask->is_granted || answer->code == MESSAGE_RESULT_PARTIAL || !ask->pause_ms)
		ask->pause_ms = ASK_PAUSE_MS;
	else if (ask->pause_ms < ASK_PAUSE_MOST_MS)
		ask->pause_ms *= 2;
	ask->quiet_until_ms = now_ms + ask->pause_ms;
}
