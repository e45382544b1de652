/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watching stalls for the host: the probe runs while somebody has asked and listens, and not a
 * minute longer.
 */
#include "agent_priv.h"

#include <string.h>

void agent_watch_init(struct agent *agent)
{
	stall_probe_init(&agent->watch.probe, agent->sysroot);
}

void agent_watch_done(struct agent *agent)
{
	stall_probe_done(&agent->watch.probe);
}

void agent_watch_drop(struct agent *agent)
{
	stall_probe_stop(&agent->watch.probe);
	agent->watch.answer.pending = false;
}

static void end(struct agent *agent, enum message_result_code code, const char *text)
{
	struct agent_answer answer = agent->watch.answer;

	agent_watch_drop(agent);
	agent_verbs_send_result(agent, answer.epoch, answer.request_id, code, 0, 0, "%s", text);
}

void agent_watch_begin(struct agent *agent, const struct session_guest_event *event,
		       uint64_t now_ms)
{
	struct agent_watch *watch = &agent->watch;
	const struct message_watch_stalls wish = event->message->watch_stalls;
	const struct agent_answer answer = {
		.pending = true, .epoch = event->epoch, .request_id = event->request_id};

	if (watch->answer.pending)
		end(agent, MESSAGE_RESULT_CANCELLED, "another watch takes its place");
	int error = stall_probe_start(&watch->probe);

	if (error < 0) {
		agent_verbs_send_result(agent, answer.epoch, answer.request_id,
					MESSAGE_RESULT_FAILED, -error, 0, "cannot start the probe");
		return;
	}
	watch->answer = answer;
	watch->interval_ms = wish.interval_ms;
	watch->next_ms = now_ms + wish.interval_ms;
	watch->end_ms = now_ms + wish.duration_ms;
}

static void tell(struct agent *agent)
{
	struct agent_watch *watch = &agent->watch;
	struct stall_probe_sample sample;
	const uint8_t *unused;

	/* While the channel is not emptied the tally goes on, and the next one tells of both. */
	if (session_guest_output(&agent->session, &unused) > 0)
		return;
	stall_probe_take(&watch->probe, &sample);
	memset(&agent->out, 0, sizeof(agent->out));
	agent->out.type = MESSAGE_STALLS;
	agent->out.stalls = (struct message_stalls){.longest_us = sample.longest_us,
						    .p99_us = sample.p99_us,
						    .samples = sample.samples};
	session_guest_reply(&agent->session, watch->answer.epoch, watch->answer.request_id,
			    &agent->out);
}

void agent_watch_step(struct agent *agent, uint64_t now_ms)
{
	struct agent_watch *watch = &agent->watch;

	if (!watch->answer.pending)
		return;
	if (now_ms >= watch->next_ms || now_ms >= watch->end_ms) {
		tell(agent);
		watch->next_ms = now_ms + watch->interval_ms;
	}
	if (now_ms >= watch->end_ms)
		end(agent, MESSAGE_RESULT_OK, "");
}

bool agent_watch_cancel(struct agent *agent, uint64_t epoch, uint32_t request_id)
{
	const struct agent_answer *answer = &agent->watch.answer;

	if (!answer->pending || answer->epoch != epoch || answer->request_id != request_id)
		return false;
	/* What was felt up to now belongs to it too. */
	tell(agent);
	end(agent, MESSAGE_RESULT_CANCELLED, "");
	return true;
}

uint64_t agent_watch_deadline(const struct agent *agent)
{
	const struct agent_watch *watch = &agent->watch;

	if (!watch->answer.pending)
		return UINT64_MAX;
	return watch->next_ms < watch->end_ms ? watch->next_ms : watch->end_ms;
}
