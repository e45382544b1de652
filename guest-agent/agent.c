/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. One thread, one poll(2). What may block in the kernel runs in a child
 * process (evacuate.c, agent_undo.c), so heartbeats and cancels are answered whatever happens.
 * While no host is connected the port cannot be polled (see port.h) and a timer looks at it;
 * everything else goes on, above all the leases: a host that dies does not renew them, and what was
 * changed for it is given back.
 */
#include "agent_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "cleanup.h"
#include "clock.h"
#include "failure.h"
#include "hugepages.h"
#include "memory_block.h"
#include "reclaim.h"
#include "report.h"
#include "sysroot.h"
#include "zones.h"

/* How often to look at children at the end, whose pidfd a kernel may not have. */
#define GIVE_BACK_LOOK_MS 20

/* Writes in one turn. */
#define TURN_WRITES 8

/* A request is taken only with room for the largest answer. */
#define OUTPUT_LOW_BYTES (SESSION_OUTPUT_BYTES - FRAME_MAX_BYTES)

CLEANUP_DEFINE(struct agent *, agent_free)

void agent_log(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

/* Goes on while the guest is suspended, as the host's clock does. */
static uint64_t boot_ms(void)
{
	return clock_ms(CLOCK_BOOTTIME);
}

uint64_t agent_now(const struct agent *agent)
{
	return agent->options.now_ms ? agent->options.now_ms(agent->options.user) : boot_ms();
}

static uint64_t read_features(const struct sysroot *sysroot, const struct agent_config *config)
{
	struct zones_policy policy;
	struct hugepages hugepages;
	uint64_t features = 0, block_bytes;

	zones_read_policy(sysroot, &policy);
	if (memory_block_read_size(sysroot, &block_bytes) == 0)
		features |= MESSAGE_FEATURE_OFFLINE;
	if (hugepages_read(sysroot, &hugepages) == 0 && hugepages.count > 0)
		features |= MESSAGE_FEATURE_HUGE_PAGES | MESSAGE_FEATURE_MAKE_ROOM | MESSAGE_FEATURE_POOL_NODES;
	if (sysroot_exists(sysroot, "/proc/sys/vm/compact_memory"))
		features |= MESSAGE_FEATURE_COMPACT;
	if (policy.auto_online != MESSAGE_AUTO_ONLINE_UNKNOWN)
		features |= MESSAGE_FEATURE_ONLINE_POLICY;
	if (policy.unplug_online != MESSAGE_SWITCH_UNKNOWN)
		features |= MESSAGE_FEATURE_UNPLUG_ONLINE;
	if ((features & MESSAGE_FEATURE_OFFLINE) && !(config->veto & AGENT_CONFIG_VETO_REPAIR))
		features |= MESSAGE_FEATURE_REPAIR;
	features |= MESSAGE_FEATURE_STALL_PROBE | MESSAGE_FEATURE_WORD | MESSAGE_FEATURE_WORK_SHARE |
		    MESSAGE_FEATURE_WISH;
	if (config->hooks)
		features |= MESSAGE_FEATURE_HOOKS;
	if (reclaim_is_supported(sysroot))
		features |= MESSAGE_FEATURE_RECLAIM;
	if (sysroot_exists(sysroot, "/proc/kpageflags"))
		features |= MESSAGE_FEATURE_BLOCK_HOLDERS;
	if (free_report_is_supported(sysroot))
		features |= MESSAGE_FEATURE_REPORT_FREE;
	return features;
}

static void init_session(struct agent *agent)
{
	struct session_guest_identity identity = {
		.features = read_features(agent->sysroot, &agent->options.config),
		.page_bytes = (uint32_t)sysconf(_SC_PAGESIZE),
		.instance = agent->instance,
		.version = BALLAST_VERSION,
	};

	memory_block_read_size(agent->sysroot, &identity.block_bytes);
	memcpy(identity.boot_id, agent->boot_id, sizeof(identity.boot_id));
	session_guest_init(&agent->session, &identity,
			   agent->instance ^ UINT64_C(0x5bd1e995a5a5a5a5), agent->input,
			   sizeof(agent->input), agent->output, sizeof(agent->output));
}

int agent_new(const struct sysroot *sysroot, const struct agent_options *options,
	      struct agent **ret_agent, struct failure *failure)
{
	CLEANUP(agent_freep) struct agent *agent = calloc(1, sizeof(*agent));
	char text[512];

	if (!agent)
		return failure_set(failure, ENOMEM, "ballast-agent", "cannot start");
	agent->sysroot = sysroot;
	agent->options = *options;
	port_init(&agent->port, sysroot, agent->options.config.port);
	agent_undo_init(agent);
	child_job_init(&agent->evacuate.job, -1);
	free_report_init(&agent->free_report, sysroot, &agent->options.config);
	repair_init(&agent->repair, sysroot, &agent->options.config, &agent->book);
	agent_watch_init(agent);
	int error = report_read_boot_id(sysroot, agent->boot_id);

	if (error < 0)
		return failure_set(failure, error, "/proc/sys/kernel/random/boot_id",
				   "cannot read");
	if (getrandom(&agent->instance, sizeof(agent->instance), 0) != sizeof(agent->instance))
		return failure_set(failure, errno, "ballast-agent", "cannot get random bytes");
	if (options->adopt_fd >= 0)
		port_adopt(&agent->port, options->adopt_fd);
	lease_book_init(&agent->book, agent->options.config.lease_directory, agent->boot_id);
	/* Damaged leases are told of and kept; an agent that refuses to start would help nobody. */
	if (lease_book_load(&agent->book, failure) < 0)
		agent_log("%s", failure_format(failure, text, sizeof(text)));
	error = hooks_init(&agent->undo.hooks, sysroot, &agent->options.config);
	if (error == 0)
		error = evacuate_init(&agent->evacuate, sysroot, &agent->options.config,
				      &agent->quiet_pools, &agent->book, -1);
	if (error < 0)
		return failure_set(failure, error, "ballast-agent", "cannot map memory");
	init_session(agent);
	agent->started_ms = agent->heartbeat_at_ms = agent_now(agent);
	agent_undo_begin(agent, agent->started_ms);
	*ret_agent = TAKE_PTR(agent);
	return 0;
}

struct agent *agent_free(struct agent *agent)
{
	if (!agent)
		return NULL;
	agent_watch_done(agent);
	free_report_done(&agent->free_report);
	repair_done(&agent->repair);
	agent_undo_done(agent);
	evacuate_done(&agent->evacuate);
	lease_book_done(&agent->book);
	port_done(&agent->port);
	free(agent);
	return NULL;
}

/* Work under way is its leases' concern; nobody waits for its answer. */
static void lose_host(struct agent *agent, uint64_t now_ms)
{
	session_guest_reset(&agent->session);
	evacuate_cancel(&agent->evacuate, now_ms);
	free_report_cancel(&agent->free_report, now_ms);
	repair_cancel(&agent->repair, now_ms);
	agent->waiting.answer.pending = false;
	agent_watch_drop(agent);
	for (size_t i = 0; i < LIMIT_LEASES; i++)
		agent->releases[i].answer.pending = false;
}

/* All that there is and has room: what stands behind a request may say that nobody wants it any
 * more. */
static void receive(struct agent *agent, uint64_t now_ms)
{
	for (;;) {
		uint8_t *space;
		size_t size = session_guest_space(&agent->session, &space);
		int64_t count = port_read(&agent->port, space, size, now_ms);

		if (count < 0)
			lose_host(agent, now_ms);
		if (count <= 0)
			return;
		session_guest_received(&agent->session, (size_t)count);
	}
}

static void flush_output(struct agent *agent, uint64_t now_ms)
{
	for (int i = 0; i < TURN_WRITES; i++) {
		const uint8_t *data;
		size_t size = session_guest_output(&agent->session, &data);
		int64_t count = size ? port_write(&agent->port, data, size, now_ms) : 0;

		if (count < 0)
			lose_host(agent, now_ms);
		if (count <= 0)
			return;
		session_guest_sent(&agent->session, (size_t)count);
	}
}

static bool has_room(const struct agent *agent)
{
	const uint8_t *unused;

	return session_guest_output(&agent->session, &unused) <= OUTPUT_LOW_BYTES;
}

static void handle_events(struct agent *agent, uint64_t now_ms)
{
	struct session_guest_event event;

	while (has_room(agent) && session_guest_next(&agent->session, now_ms, &event)) {
		switch (event.kind) {
		case SESSION_GUEST_EVENT_OPENED:
			agent_log("a host is connected");
			break;
		case SESSION_GUEST_EVENT_SUPERSEDED:
			/* Another host, or the same anew. */
			evacuate_cancel(&agent->evacuate, now_ms);
			free_report_cancel(&agent->free_report, now_ms);
			repair_cancel(&agent->repair, now_ms);
			agent->waiting.answer.pending = false;
			agent_watch_drop(agent);
			break;
		case SESSION_GUEST_EVENT_REQUEST:
			agent_verbs_handle(agent, &event, now_ms);
			break;
		case SESSION_GUEST_EVENT_COUNT:
			break;
		}
	}
}

static void step_evacuate(struct agent *agent, uint64_t now_ms)
{
	struct evacuate *evacuate = &agent->evacuate;

	switch (evacuate_step(evacuate, now_ms)) {
	case EVACUATE_STEP_NOTHING:
		return;
	case EVACUATE_STEP_PROGRESS:
		memset(&agent->out, 0, sizeof(agent->out));
		agent->out.type = MESSAGE_PROGRESS;
		evacuate_progress(evacuate, &agent->out.progress);
		/* One that does not fit is no loss. */
		session_guest_reply(&agent->session, evacuate->epoch, evacuate->request_id,
				    &agent->out);
		return;
	case EVACUATE_STEP_FINISHED:
		/* Kept until the channel takes it; a session that is over takes it no more. */
		if (session_guest_reply(&agent->session, evacuate->epoch, evacuate->request_id,
					&evacuate->reply) != -EAGAIN)
			evacuate_clear(evacuate);
		return;
	}
}

static void step_free_report(struct agent *agent, uint64_t now_ms)
{
	struct free_report *report = &agent->free_report;

	switch (free_report_step(report, now_ms)) {
	case FREE_REPORT_STEP_NOTHING:
		return;
	case FREE_REPORT_STEP_PROGRESS:
		memset(&agent->out, 0, sizeof(agent->out));
		agent->out.type = MESSAGE_PROGRESS;
		agent->out.progress.stage = report->stage == FREE_REPORT_STAGE_COMPACT
						    ? MESSAGE_STAGE_COMPACT
						    : MESSAGE_STAGE_REPORT;
		session_guest_reply(&agent->session, report->epoch, report->request_id,
				    &agent->out);
		return;
	case FREE_REPORT_STEP_FINISHED:
		memset(&agent->out, 0, sizeof(agent->out));
		agent->out.type = MESSAGE_RESULT;
		agent->out.result = report->result;
		/* As with an evacuation. */
		if (session_guest_reply(&agent->session, report->epoch, report->request_id,
					&agent->out) != -EAGAIN)
			free_report_clear(report);
		return;
	}
}

static void step_repair(struct agent *agent, uint64_t now_ms)
{
	struct repair *repair = &agent->repair;

	if (repair_step(repair, now_ms) == REPAIR_STEP_FINISHED) {
		memset(&agent->out, 0, sizeof(agent->out));
		agent->out.type = MESSAGE_RESULT;
		agent->out.result = repair->result;
		/* As with an evacuation. */
		if (session_guest_reply(&agent->session, repair->epoch, repair->request_id, &agent->out) != -EAGAIN) {
			agent_log("repair: %s", repair->result.text);
			repair_clear(repair);
		}
	}
	agent_verbs_go_on(agent, now_ms);
}

static void beat(struct agent *agent, uint64_t now_ms)
{
	struct message_heartbeat heartbeat = {
		.instance = agent->instance,
		.uptime_ms = now_ms - agent->started_ms,
		.leases = (uint16_t)agent->book.count,
		.busy = !evacuate_is_idle(&agent->evacuate) ||
			!free_report_is_idle(&agent->free_report) || !repair_is_idle(&agent->repair),
	};
	uint64_t total, unused;

	if (now_ms < agent->heartbeat_at_ms)
		return;
	agent->heartbeat_at_ms = now_ms + agent->session.heartbeat_ms;
	if (agent->port.state != PORT_PRESENT)
		return;
	memcpy(heartbeat.boot_id, agent->boot_id, sizeof(heartbeat.boot_id));
	report_read_pressure(agent->sysroot, &heartbeat.pressure);
	if (report_read_memory(agent->sysroot, &total, &unused, &heartbeat.available_bytes) == 0) {
		ask_look(&agent->ask, &agent->options.config,
			 &(struct ask_input){.total_bytes = total,
					     .pressure = heartbeat.pressure,
					     .now_ms = now_ms});
		heartbeat.wanted_bytes = agent->ask.wanted_bytes;
	}
	session_guest_heartbeat(&agent->session, &heartbeat);
}

/* Under a lease of a shrink the host has more to ask for. */
static bool is_shrinking(const struct agent *agent)
{
	for (size_t i = 0; i < agent->book.count; i++) {
		const struct lease *lease = &agent->book.leases[i];

		for (size_t j = 0; j < lease->entries.count && !lease->ending; j++)
			if (!lease_kind_is_setting(lease->entries.items[j].kind))
				return true;
	}
	return false;
}

/* Somebody waits for an answer. */
static bool owes_answer(const struct agent *agent)
{
	const uint8_t *unused;

	for (size_t i = 0; i < LIMIT_LEASES; i++)
		if (agent->releases[i].answer.pending)
			return true;
	return agent->evacuate.stage != EVACUATE_STAGE_IDLE || agent->free_report.stage != FREE_REPORT_STAGE_IDLE ||
	       agent->repair.stage != REPAIR_STAGE_IDLE || agent->waiting.answer.pending || agent->watch.answer.pending ||
	       agent->undo.kind == AGENT_UNDO_TAKEN || session_guest_output(&agent->session, &unused) > 0;
}

/* The features stand in the answer to a HELLO, and a heartbeat without a session brings one. */
static void greet_anew(struct agent *agent, uint64_t now_ms)
{
	if (!agent->must_greet || agent->session.state == SESSION_GUEST_GREETED || owes_answer(agent) || is_shrinking(agent))
		return;
	agent->must_greet = false;
	session_guest_reset(&agent->session);
	agent->heartbeat_at_ms = now_ms;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int wait_time(struct agent *agent, uint64_t now_ms, int timeout_ms)
{
	uint64_t next = lease_book_expire(&agent->book, now_ms);

	next = earlier(next, evacuate_deadline(&agent->evacuate, now_ms));
	next = earlier(next, child_job_deadline(&agent->undo.job, now_ms));
	next = earlier(next, free_report_deadline(&agent->free_report, now_ms));
	next = earlier(next, repair_deadline(&agent->repair, now_ms));
	next = earlier(next, agent_watch_deadline(agent));
	if (agent->port.state == PORT_PRESENT)
		next = earlier(next, agent->heartbeat_at_ms);
	else
		next = earlier(next, agent->port.retry_at_ms);
	uint64_t wait = next > now_ms ? next - now_ms : 0;

	if (wait > 60000)
		wait = 60000;
	return timeout_ms >= 0 && (uint64_t)timeout_ms < wait ? timeout_ms : (int)wait;
}

static void expire_leases(struct agent *agent, uint64_t now_ms)
{
	lease_book_expire(&agent->book, now_ms);
	struct lease *lease = lease_book_ending(&agent->book, now_ms);

	if (!lease)
		return;
	if (agent->evacuate.stage != EVACUATE_STAGE_IDLE &&
	    agent->evacuate.request.lease.id == lease->id)
		evacuate_cancel(&agent->evacuate, now_ms);
	/* Undoing does not begin beside it. */
	repair_cancel(&agent->repair, now_ms);
	agent_undo_begin(agent, now_ms);
}

/* Who says in the middle of it that nothing may leave is heard at once. */
static void reload(struct agent *agent, uint64_t now_ms)
{
	agent->options.reload(agent->options.user, &agent->options.config);
	uint64_t features = read_features(agent->sysroot, &agent->options.config);

	agent->must_greet |= features != agent->session.identity.features;
	agent->session.identity.features = features;
	if (agent->options.config.veto & AGENT_CONFIG_VETO_SHRINK)
		evacuate_cancel(&agent->evacuate, now_ms);
	if (agent->options.config.veto & AGENT_CONFIG_VETO_REPAIR)
		repair_cancel(&agent->repair, now_ms);
}

bool agent_turn(struct agent *agent, int timeout_ms)
{
	enum { PORT, EVACUATE, UNDO, REPORT, REPAIR, STOP, RELOAD, COUNT };
	const uint8_t *unused;
	uint64_t now_ms = agent_now(agent);
	enum port_state before = agent->port.state;

	port_tick(&agent->port, now_ms);
	/* A host that has just come is told at once that someone is here. */
	if (before != PORT_PRESENT && agent->port.state == PORT_PRESENT)
		agent->heartbeat_at_ms = now_ms;
	/* The children must not hold the port: another agent could not open it while one hangs. */
	agent->evacuate.job.close_fd = agent->undo.job.close_fd = agent->free_report.job.close_fd =
		agent->repair.job.close_fd = agent->port.fd;
	agent->evacuate.job.close_listener = agent->undo.job.close_listener =
		agent->free_report.job.close_listener = agent->repair.job.close_listener = agent->port.listener;
	bool waits = session_guest_output(&agent->session, &unused) > 0;
	struct pollfd polls[COUNT] = {
		[PORT] = {.fd = port_poll_fd(&agent->port),
			  .events = (short)((has_room(agent) || agent->port.state != PORT_PRESENT ? POLLIN : 0) |
					    (waits ? POLLOUT : 0))},
		[EVACUATE] = {.fd = agent->evacuate.job.pid_fd, .events = POLLIN},
		[UNDO] = {.fd = agent->undo.job.pid_fd, .events = POLLIN},
		[REPORT] = {.fd = agent->free_report.job.pid_fd, .events = POLLIN},
		[REPAIR] = {.fd = agent->repair.job.pid_fd, .events = POLLIN},
		[STOP] = {.fd = agent->options.stop_fd, .events = POLLIN},
		[RELOAD] = {.fd = agent->options.reload ? agent->options.reload_fd : -1, .events = POLLIN},
	};

	/* EINTR: nothing is ready, all else is looked at anyway. */
	if (poll(polls, COUNT, wait_time(agent, now_ms, timeout_ms)) < 0)
		memset(polls, 0, sizeof(polls));
	if (polls[STOP].revents)
		return false;
	now_ms = agent_now(agent);
	if (polls[RELOAD].revents)
		reload(agent, now_ms);
	if (polls[PORT].revents)
		receive(agent, now_ms);
	handle_events(agent, now_ms);
	step_evacuate(agent, now_ms);
	step_free_report(agent, now_ms);
	step_repair(agent, now_ms);
	agent_watch_step(agent, now_ms);
	agent_undo_step(agent, now_ms);
	expire_leases(agent, now_ms);
	greet_anew(agent, now_ms);
	beat(agent, now_ms);
	flush_output(agent, now_ms);
	return true;
}

void agent_give_back(struct agent *agent, uint32_t limit_ms)
{
	uint64_t until = boot_ms() + limit_ms;

	agent_watch_drop(agent);
	free_report_cancel(&agent->free_report, agent_now(agent));
	evacuate_cancel(&agent->evacuate, agent_now(agent));
	repair_cancel(&agent->repair, agent_now(agent));
	agent->waiting.answer.pending = false;
	for (size_t i = 0; i < agent->book.count; i++)
		agent->book.leases[i].ending = true;
	for (;;) {
		uint64_t now_ms = agent_now(agent);
		struct pollfd polls[] = {
			{.fd = agent->evacuate.job.pid_fd, .events = POLLIN},
			{.fd = agent->undo.job.pid_fd, .events = POLLIN},
			{.fd = agent->repair.job.pid_fd, .events = POLLIN},
		};

		step_repair(agent, now_ms);
		if (agent->repair.stage == REPAIR_STAGE_DONE)
			repair_clear(&agent->repair);
		step_evacuate(agent, now_ms);
		/* Nobody waits for its answer any longer. */
		if (agent->evacuate.stage == EVACUATE_STAGE_DONE)
			evacuate_clear(&agent->evacuate);
		agent_undo_step(agent, now_ms);
		agent_undo_begin(agent, now_ms);
		if (agent->book.count == 0 || boot_ms() >= until)
			break;
		poll(polls, ARRAY_SIZE(polls), GIVE_BACK_LOOK_MS);
	}
	flush_output(agent, agent_now(agent));
}
