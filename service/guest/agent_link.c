/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One agent's line.
 *
 *   no path --set_channel--> (connect) --ok--> session: HELLO_SENT -> READY | BUSY | INCOMPATIBLE | SUSPECT
 *      ^                        |                  |
 *      |                        v no socket        v end of file: QEMU is gone
 *      +------set_channel(NULL)-+---- retry with backoff
 *
 * Buffers have their size from the start: a guest cannot make the daemon grow. Nor can it keep the daemon busy: what
 * may be read from it is a budget that fills with time, and who is suspect is not read from at all. What it writes beyond
 * that waits in the kernel and in its QEMU, until its own write(2) waits.
 */
#include "agent_link.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "channel.h"
#include "cleanup.h"
#include "clock.h"
#include "failure.h"
#include "session.h"
#include "session_host.h"

#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000
/* An honest agent says a few hundred bytes a second; the blocks of a guest of 1 TiB are 300 KiB, and what a port that was
 * cut in its middle still held was 176 KiB. */
#define READ_BURST_BYTES (UINT64_C(512) << 10)
#define READ_BYTES_PER_MS 256
#define READ_PAUSE_MS	  50
/* News of what a guest asks for are made no oftener. */
#define WISH_EVERY_MS 1000
/* Of its guest's memory an agent that does not tell keeps so much available. */
#define OLD_KEEP_SHARE 32
/* A report that speaks of more memory than the hypervisor could ever have given, beyond rounding, is a lie. */
#define LIE_SLACK_BYTES (UINT64_C(64) << 20)

struct request {
	uint32_t id;			/* 0: free */
	enum message_type type;
	agent_answer_fn *answer;
	agent_progress_fn *progress;
	void *user;
};

struct refresh_waiter {
	void (*done)(void *user);
	void *user;
	struct refresh_waiter *next;
};

struct agent_link {
	struct agent_link_options options;
	char *path;			/* owned; NULL: no channel */
	uint64_t maximum_bytes;
	uint64_t wish_at_ms;	/* of the last news of what it asks for */
	int fd;
	struct event *readable, *writable, *closed;	/* owned; NULL without fd */
	uint64_t budget_bytes, budget_ms;		/* what may be read, as it was then */
	struct event *resume;				/* owned: when there is budget again */
	struct event *tick;			/* owned */
	struct event *retry;			/* owned */
	uint32_t retry_ms;
	struct session_host session;
	uint8_t *input, *output;		/* owned */
	struct request requests[LIMIT_OUTSTANDING];
	bool connecting;		/* by vsock; not decided yet */
	bool refreshing;
	struct refresh_waiter *waiters;		/* owned */
	struct snapshot_agent report;		/* numbers of the last report; state is derived */
};

static uint64_t random_number(void)
{
	uint64_t number = 0;

	/* The pool is initialised long before a daemon runs; a short read would still only weaken a nonce. */
	if (getrandom(&number, sizeof(number), 0) != sizeof(number) || number == 0)
		number = monotonic_ms() * 2654435761u + (uint64_t)getpid() + 1;
	return number;
}

static void arm_tick(struct agent_link *link)
{
	uint64_t deadline = session_host_deadline(&link->session), now = monotonic_ms();

	if (link->fd < 0 || deadline == UINT64_MAX) {
		evtimer_del(link->tick);
		return;
	}
	uint64_t wait = deadline > now ? deadline - now : 0;
	struct timeval when = {.tv_sec = (time_t)(wait / 1000), .tv_usec = (suseconds_t)(wait % 1000 * 1000)};

	evtimer_add(link->tick, &when);
}

static void changed(struct agent_link *link)
{
	if (link->options.changed)
		link->options.changed(link->options.user, link);
}

/* Takes the request out before it answers, so that the answer may send another. */
static void answer_request(struct agent_link *link, uint32_t id, enum agent_answer_kind kind,
			   const struct message *message)
{
	for (size_t i = 0; i < ARRAY_SIZE(link->requests); i++) {
		struct request request = link->requests[i];

		if (request.id != id || id == 0)
			continue;
		link->requests[i].id = 0;
		request.answer(request.user, kind, message);
		return;
	}
}

static void lose_requests(struct agent_link *link)
{
	for (size_t i = 0; i < ARRAY_SIZE(link->requests); i++)
		if (link->requests[i].id)
			answer_request(link, link->requests[i].id, AGENT_ANSWER_LOST, NULL);
}

/* The agent is silent. What it was told to put back it will, when it hears again or at the lease's end: nobody waits. */
static void lose_releases(struct agent_link *link)
{
	for (size_t i = 0; i < ARRAY_SIZE(link->requests); i++)
		if (link->requests[i].type == MESSAGE_RELEASE_LEASE || link->requests[i].type == MESSAGE_RESTORE_POOLS)
			answer_request(link, link->requests[i].id, AGENT_ANSWER_LOST, NULL);
}

static void disconnect(struct agent_link *link)
{
	if (link->readable)
		event_free(link->readable);
	if (link->writable)
		event_free(link->writable);
	if (link->closed)
		event_free(link->closed);
	link->readable = link->writable = link->closed = NULL;
	evtimer_del(link->resume);
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
	session_host_disconnect(&link->session);
	link->report.reported = false;
	evtimer_del(link->tick);
	lose_requests(link);
}

static void schedule_retry(struct agent_link *link)
{
	struct timeval when = {.tv_sec = link->retry_ms / 1000, .tv_usec = (suseconds_t)(link->retry_ms % 1000 * 1000)};

	evtimer_add(link->retry, &when);
	link->retry_ms = link->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : link->retry_ms * 2;
}

static void flush(struct agent_link *link)
{
	const uint8_t *data;
	size_t size;

	while (link->fd >= 0 && (size = session_host_output(&link->session, &data)) > 0) {
		ssize_t written = write(link->fd, data, size);
		int error = errno;

		if (written >= 0) {
			session_host_sent(&link->session, (size_t)written);
			continue;
		}
		if (error == EINTR)
			continue;
		if (error == EAGAIN) {
			event_add(link->writable, NULL);
			return;
		}
		disconnect(link);
		schedule_retry(link);
		changed(link);
		return;
	}
}

/* No part of a guest is larger than what the hypervisor could ever have given it. */
static bool is_possible(const struct message_report_reply *report, uint64_t maximum_bytes)
{
	uint64_t most = maximum_bytes + LIE_SLACK_BYTES;

	if (report->total_bytes > most || report->free_bytes > most || report->available_bytes > most)
		return false;
	for (size_t i = 0; i < report->zone_count; i++)
		if (report->zones[i].zone != MESSAGE_ZONE_DEVICE && report->zones[i].managed_bytes > most)
			return false;
	for (size_t i = 0; i < report->region_count; i++)
		if (report->regions[i].plugged_bytes > most || report->regions[i].online_bytes > most ||
		    report->regions[i].movable_bytes > most)
			return false;
	return true;
}

/* True where it is news; a guest that changes its mind with every heartbeat makes none of each. */
static bool take_wish(struct agent_link *link, uint64_t wanted_bytes)
{
	bool is_news = wanted_bytes && wanted_bytes != link->report.wanted_bytes &&
		       monotonic_ms() >= link->wish_at_ms + WISH_EVERY_MS;

	link->report.wanted_bytes = wanted_bytes;
	if (is_news)
		link->wish_at_ms = monotonic_ms();
	return is_news;
}

static void take_pressure(struct agent_link *link, const struct message_pressure *pressure)
{
	link->report.pressure_percent =
		pressure->some_avg10_x100 <= 10000 ? (int)(pressure->some_avg10_x100 / 100) : -1;
}

static void take_report(struct agent_link *link, const struct message_report_reply *report)
{
	struct snapshot_agent *agent = &link->report;

	if (link->maximum_bytes && !is_possible(report, link->maximum_bytes)) {
		session_host_suspect(&link->session, SESSION_HOST_SUSPICION_LIED);
		return;
	}
	agent->reported = true;
	agent->memory_total_bytes = report->total_bytes;
	agent->memory_free_bytes = report->free_bytes;
	agent->memory_available_bytes = report->available_bytes;
	agent->normal_bytes = agent->movable_bytes = 0;
	for (size_t i = 0; i < report->zone_count; i++) {
		if (report->zones[i].zone == MESSAGE_ZONE_MOVABLE)
			agent->movable_bytes += report->zones[i].managed_bytes;
		else if (report->zones[i].zone != MESSAGE_ZONE_DEVICE)
			agent->normal_bytes += report->zones[i].managed_bytes;
	}
	agent->huge_free_bytes = agent->huge_used_bytes = agent->huge_floor_bytes = agent->gigantic_bytes = 0;
	for (size_t i = 0; i < report->pool_count; i++) {
		const struct message_report_pool *pool = &report->pools[i];

		if (pool->node != MESSAGE_NODE_ALL || pool->free > pool->total ||
		    pool->total > link->maximum_bytes / (pool->page_bytes ? pool->page_bytes : 1))
			continue;
		uint64_t kept = pool->reserved < pool->free ? pool->reserved : pool->free;

		agent->huge_free_bytes += (pool->free - kept) * pool->page_bytes;
		agent->huge_used_bytes += (pool->total - pool->free + kept) * pool->page_bytes;
		/* The floor is one of the pool's own pages: as many as are surplus leave beside it. */
		uint64_t surplus = pool->surplus < pool->total ? pool->surplus : pool->total;
		uint64_t own = pool->total - surplus, unreserved = pool->free - kept;
		uint64_t above = surplus + (own > pool->floor ? own - pool->floor : 0);

		uint64_t given = unreserved < above ? unreserved : above;

		agent->huge_floor_bytes += (unreserved - given) * pool->page_bytes;
		if (pool->page_bytes >= UINT64_C(1) << 30)
			agent->gigantic_bytes += (pool->total - given) * pool->page_bytes;
	}
	agent->offline_bytes = agent->wrong_zone_bytes = 0;
	agent->region_count = 0;
	for (size_t i = 0; i < report->region_count; i++) {
		const struct message_report_region *region = &report->regions[i];

		/* Of some only nobody knows whether a size is the only one of its kind. */
		if (!(report->flags & MESSAGE_REPORT_CUT_REGIONS) && region->size_bytes <= INT64_MAX &&
		    region->start <= INT64_MAX - region->size_bytes)
			agent->regions[agent->region_count++] =
				(struct snapshot_region){
					.start = region->start, .end = region->start + region->size_bytes,
					.plugged_bytes = region->plugged_bytes, .online_bytes = region->online_bytes,
					.movable_bytes = region->movable_bytes,
					.node = region->node == MESSAGE_NODE_ALL ? -1 : region->node};
		if (region->plugged_bytes > region->online_bytes)
			agent->offline_bytes += region->plugged_bytes - region->online_bytes;
		if (region->online_bytes > region->movable_bytes)
			agent->wrong_zone_bytes += region->online_bytes - region->movable_bytes;
	}
	agent->veto = report->word_flags & MESSAGE_WORD_VETO;
	agent->shrink_limit_bytes = report->floor_bytes;
	agent->shrink_most_bytes = report->limit_bytes;
	agent->keep_bytes = report->flags & MESSAGE_REPORT_KEEPS ? report->keep_bytes : report->total_bytes / OLD_KEEP_SHARE;
	agent->udev_onlines = report->flags & MESSAGE_REPORT_UDEV_ONLINES;
	snprintf(agent->udev_rule, sizeof(agent->udev_rule), "%s", report->udev_rule);
	take_pressure(link, &report->pressure);
	const char *policy = report->auto_online == MESSAGE_AUTO_ONLINE_ONLINE &&
					     report->zone_policy == MESSAGE_ZONE_POLICY_AUTO_MOVABLE ?
				     "auto-movable" :
				     message_auto_online_name(report->auto_online);

	snprintf(agent->online_policy, sizeof(agent->online_policy), "%s", policy);
}

static void refresh_done(struct agent_link *link)
{
	struct refresh_waiter *waiters = link->waiters;

	link->refreshing = false;
	link->waiters = NULL;
	while (waiters) {
		struct refresh_waiter *next = waiters->next;

		waiters->done(waiters->user);
		free(waiters);
		waiters = next;
	}
}

/* Reads on, or waits for budget, or only for the end. */
static void watch(struct agent_link *link)
{
	static const struct timeval pause = {.tv_usec = READ_PAUSE_MS * 1000};
	bool suspect = link->session.state == SESSION_HOST_SUSPECT;

	if (link->fd < 0)
		return;
	if (!suspect && link->budget_bytes > 0) {
		event_add(link->readable, NULL);
		return;
	}
	event_del(link->readable);
	if (!suspect)
		evtimer_add(link->resume, &pause);
}

static void earn(struct agent_link *link)
{
	uint64_t now = monotonic_ms();

	link->budget_bytes += (now - link->budget_ms) * READ_BYTES_PER_MS;
	if (link->budget_bytes > READ_BURST_BYTES)
		link->budget_bytes = READ_BURST_BYTES;
	link->budget_ms = now;
}

/* Both sides' versions, as major.minor; who speaks the older ones is to be replaced. */
static void take_versions(struct agent_link *link, const struct message_hello_reply *reply)
{
	bool is_old = reply->version_max < SESSION_VERSION_MIN;

	snprintf(link->report.version, sizeof(link->report.version), "%s", reply->agent_version);
	snprintf(link->report.incompatible_reason, sizeof(link->report.incompatible_reason),
		 "it speaks %u.%u to %u.%u, ballastd %u.%u to %u.%u: %s", reply->version_min >> 8, reply->version_min & 0xff,
		 reply->version_max >> 8, reply->version_max & 0xff, SESSION_VERSION_MIN >> 8, SESSION_VERSION_MIN & 0xff,
		 SESSION_VERSION_MAX >> 8, SESSION_VERSION_MAX & 0xff,
		 is_old ? "update ballast-agent in the guest" : "update ballastd, or install its own ballast-agent in the guest");
}

static void drain_events(struct agent_link *link)
{
	struct session_host_event event;
	bool tell = false;

	while (session_host_next(&link->session, monotonic_ms(), &event)) {
		switch (event.kind) {
		case SESSION_HOST_EVENT_READY:
			if (event.restarted) {
				link->report.reported = false;
				link->report.repair[0] = '\0';
			}
			snprintf(link->report.version, sizeof(link->report.version), "%s",
				 event.message->hello_reply.agent_version);
			link->report.features = event.message->hello_reply.features;
			tell = true;
			break;
		case SESSION_HOST_EVENT_REPLY:
			answer_request(link, event.request_id, AGENT_ANSWER_REPLY, event.message);
			break;
		case SESSION_HOST_EVENT_PROGRESS:
			for (size_t i = 0; i < ARRAY_SIZE(link->requests); i++) {
				struct request *request = &link->requests[i];

				if (request->id == event.request_id && request->progress)
					request->progress(request->user, event.message);
			}
			break;
		case SESSION_HOST_EVENT_HEARTBEAT:
			link->report.memory_available_bytes = event.message->heartbeat.available_bytes;
			take_pressure(link, &event.message->heartbeat.pressure);
			tell |= take_wish(link, event.message->heartbeat.wanted_bytes);
			break;
		case SESSION_HOST_EVENT_TIMED_OUT:
			answer_request(link, event.request_id, AGENT_ANSWER_TIMED_OUT, NULL);
			break;
		case SESSION_HOST_EVENT_LOST:
			answer_request(link, event.request_id, AGENT_ANSWER_LOST, NULL);
			break;
		case SESSION_HOST_EVENT_BUSY:
			lose_releases(link);
			tell = true;
			break;
		case SESSION_HOST_EVENT_INCOMPATIBLE:
			take_versions(link, &event.message->hello_reply);
			tell = true;
			break;
		case SESSION_HOST_EVENT_SUSPECT:
			tell = true;
			break;
		case SESSION_HOST_EVENT_COUNT:
			break;
		}
		if (event.kind == SESSION_HOST_EVENT_READY || event.kind == SESSION_HOST_EVENT_REPLY ||
		    event.kind == SESSION_HOST_EVENT_HEARTBEAT)
			link->report.last_seen_ms = wall_ms();
	}
	flush(link);
	arm_tick(link);
	watch(link);
	if (tell)
		changed(link);
}

static void hang_up(struct agent_link *link)
{
	/* End of file: this QEMU is gone. The next one may listen at the same path. */
	disconnect(link);
	link->retry_ms = RETRY_MIN_MS;
	schedule_retry(link);
	changed(link);
}

static void on_closed(evutil_socket_t fd, short what, void *user)
{
	hang_up(user);
}

static void on_resume(evutil_socket_t fd, short what, void *user)
{
	struct agent_link *link = user;

	earn(link);
	watch(link);
}

static void on_readable(evutil_socket_t fd, short what, void *user)
{
	struct agent_link *link = user;
	uint8_t *space;
	size_t size = session_host_space(&link->session, &space);

	earn(link);
	if (size > link->budget_bytes)
		size = (size_t)link->budget_bytes;
	/* One read a turn: a guest that floods gets its share of the loop and no more. */
	ssize_t count = size ? read(fd, space, size) : 0;
	int error = errno;

	if (count > 0) {
		link->budget_bytes -= (uint64_t)count;
		session_host_received(&link->session, (size_t)count);
		drain_events(link);
		return;
	}
	if (count < 0 && (error == EAGAIN || error == EINTR))
		return;
	hang_up(link);
}

static void begin(struct agent_link *link);

/* The connection by vsock is decided. */
static void end_connect(struct agent_link *link)
{
	int error = 0;
	socklen_t size = sizeof(error);

	link->connecting = false;
	if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error ||
	    event_add(link->closed, NULL) < 0 ||
	    (link->options.is_owner && !link->options.is_owner(link->options.user))) {
		disconnect(link);
		schedule_retry(link);
		return;
	}
	begin(link);
}

static void on_writable(evutil_socket_t fd, short what, void *user)
{
	struct agent_link *link = user;

	if (link->connecting)
		end_connect(link);
	else
		flush(link);
}

static void on_tick(evutil_socket_t fd, short what, void *user)
{
	struct agent_link *link = user;

	session_host_tick(&link->session, monotonic_ms());
	drain_events(link);
}

static void greet(struct agent_link *link)
{
	/* Epochs must differ over restarts of the daemon too: wall-clock milliseconds do, and are never 0. */
	session_host_connect(&link->session, random_number(), wall_ms(), monotonic_ms());
	flush(link);
	arm_tick(link);
	watch(link);
}

/* It is connected. What may be read counts from here, not from each greeting: a guest can reboot as often as it likes. */
static void begin(struct agent_link *link)
{
	link->retry_ms = RETRY_MIN_MS;
	link->budget_bytes = READ_BURST_BYTES;
	link->budget_ms = monotonic_ms();
	greet(link);
}

static void try_connect(struct agent_link *link)
{
	enum channel_outcome outcome;
	int fd = -1;

	if (!link->path || link->fd >= 0)
		return;
	outcome = channel_open(link->path, &fd, NULL);
	if (outcome != CHANNEL_OPEN && outcome != CHANNEL_CONNECTING) {
		schedule_retry(link);
		return;
	}
	link->fd = fd;
	link->connecting = outcome == CHANNEL_CONNECTING;
	link->readable = event_new(link->options.base, fd, EV_READ | EV_PERSIST, on_readable, link);
	link->writable = event_new(link->options.base, fd, EV_WRITE, on_writable, link);
	/* Needs epoll, as there is on Linux (epoll_ctl(2), EPOLLRDHUP). */
	link->closed = event_new(link->options.base, fd, EV_CLOSED, on_closed, link);
	if (!link->readable || !link->writable || !link->closed ||
	    event_add(link->connecting ? link->writable : link->closed, NULL) < 0) {
		disconnect(link);
		schedule_retry(link);
		return;
	}
	if (!link->connecting)
		begin(link);
}

static void on_retry(evutil_socket_t fd, short what, void *user)
{
	try_connect(user);
}

struct agent_link *agent_link_new(const struct agent_link_options *options)
{
	struct agent_link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->options = *options;
	link->fd = -1;
	link->retry_ms = RETRY_MIN_MS;
	link->input = malloc(SESSION_INPUT_BYTES);
	link->output = malloc(SESSION_OUTPUT_BYTES);
	link->tick = evtimer_new(options->base, on_tick, link);
	link->retry = evtimer_new(options->base, on_retry, link);
	link->resume = evtimer_new(options->base, on_resume, link);
	if (!link->input || !link->output || !link->tick || !link->retry || !link->resume)
		return agent_link_free(link);
	session_host_init(&link->session, BALLAST_VERSION, link->input, SESSION_INPUT_BYTES, link->output,
			  SESSION_OUTPUT_BYTES);
	return link;
}

struct agent_link *agent_link_free(struct agent_link *link)
{
	if (!link)
		return NULL;
	link->options.changed = NULL;
	if (link->tick && link->retry && link->resume && link->input && link->output)
		disconnect(link);
	refresh_done(link);
	if (link->tick)
		event_free(link->tick);
	if (link->retry)
		event_free(link->retry);
	if (link->resume)
		event_free(link->resume);
	free(link->input);
	free(link->output);
	free(link->path);
	free(link);
	return NULL;
}

void agent_link_set_channel(struct agent_link *link, const char *path, uint64_t maximum_bytes)
{
	link->maximum_bytes = maximum_bytes;
	if (path && link->path && strcmp(path, link->path) == 0)
		return;
	if (!path && !link->path)
		return;
	disconnect(link);
	evtimer_del(link->retry);
	free(link->path);
	link->path = path ? strdup(path) : NULL;
	memset(&link->report, 0, sizeof(link->report));
	link->retry_ms = RETRY_MIN_MS;
	try_connect(link);
}

void agent_link_set_vsock(struct agent_link *link, unsigned cid, uint64_t maximum_bytes)
{
	char path[40];

	snprintf(path, sizeof(path), CHANNEL_VSOCK_FORMAT, cid, SESSION_VSOCK_PORT);
	agent_link_set_channel(link, path, maximum_bytes);
}

void agent_link_restart(struct agent_link *link)
{
	if (link->fd < 0)
		return;
	link->report.reported = false;
	/* The session forgets its requests without a word: their owners are told here. */
	greet(link);
	lose_requests(link);
}

void agent_link_describe(const struct agent_link *link, struct snapshot_agent *ret_agent)
{
	*ret_agent = link->report;
	if (link->fd < 0 || link->session.state != SESSION_HOST_INCOMPATIBLE)
		ret_agent->incompatible_reason[0] = '\0';
	if (!link->path) {
		ret_agent->state = AGENT_STATE_NONE;
		return;
	}
	if (link->fd < 0) {
		ret_agent->state = AGENT_STATE_DISCONNECTED;
		return;
	}
	switch (link->session.state) {
	case SESSION_HOST_IDLE:
		ret_agent->state = AGENT_STATE_DISCONNECTED;
		break;
	case SESSION_HOST_HELLO_SENT:
		ret_agent->state = AGENT_STATE_CONNECTING;
		break;
	case SESSION_HOST_READY:
		ret_agent->state = AGENT_STATE_READY;
		break;
	case SESSION_HOST_BUSY:
		ret_agent->state = AGENT_STATE_BUSY;
		break;
	case SESSION_HOST_INCOMPATIBLE:
		ret_agent->state = AGENT_STATE_INCOMPATIBLE;
		break;
	case SESSION_HOST_SUSPECT:
		ret_agent->state = AGENT_STATE_SUSPECT;
		snprintf(ret_agent->suspect_reason, sizeof(ret_agent->suspect_reason), "%s",
			 session_host_suspicion_name(link->session.suspicion));
		break;
	case SESSION_HOST_STATE_COUNT:
		break;
	}
}

bool agent_link_is_ready(const struct agent_link *link)
{
	return link->fd >= 0 && link->session.state == SESSION_HOST_READY;
}

bool agent_link_has_feature(const struct agent_link *link, enum agent_feature feature)
{
	return agent_link_is_ready(link) && link->report.features >> feature & 1;
}

uint64_t agent_link_wanted_bytes(const struct agent_link *link)
{
	return agent_link_is_ready(link) ? link->report.wanted_bytes : 0;
}

int agent_link_request(struct agent_link *link, const struct message *message, uint32_t timeout_ms,
		       agent_answer_fn *answer, agent_progress_fn *progress, void *user, uint32_t *ret_id)
{
	struct request *free_request = NULL;
	uint32_t id;

	for (size_t i = 0; i < ARRAY_SIZE(link->requests) && !free_request; i++)
		if (link->requests[i].id == 0)
			free_request = &link->requests[i];
	if (!free_request)
		return -EBUSY;
	int r = session_host_request(&link->session, message, timeout_ms, monotonic_ms(), &id);

	if (r < 0)
		return r;
	*free_request = (struct request){.id = id, .type = message->type, .answer = answer, .progress = progress, .user = user};
	if (ret_id)
		*ret_id = id;
	/* Not flushed here: a write that fails would answer inside this call. */
	event_add(link->writable, NULL);
	arm_tick(link);
	return 0;
}

static void ignore_answer(void *user, enum agent_answer_kind kind, const struct message *message)
{
}

void agent_link_cancel(struct agent_link *link, uint32_t id)
{
	struct message message = {.type = MESSAGE_CANCEL};

	message.cancel.request_id = id;
	/* Where it cannot be sent the agent's own deadline ends the work. */
	(void)agent_link_request(link, &message, 5000, ignore_answer, NULL, NULL, NULL);
}

static void on_report(void *user, enum agent_answer_kind kind, const struct message *message)
{
	struct agent_link *link = user;

	bool is_report = kind == AGENT_ANSWER_REPLY && message->type == MESSAGE_REPORT_REPLY;

	if (is_report)
		take_report(link, &message->report_reply);
	link->report.overdue = kind == AGENT_ANSWER_TIMED_OUT;
	refresh_done(link);
	/* Who asks again on every change would be kept busy by an agent that refuses. */
	if (is_report)
		changed(link);
}

void agent_link_refresh(struct agent_link *link, uint32_t timeout_ms, void (*done)(void *user), void *user)
{
	struct refresh_waiter *waiter = calloc(1, sizeof(*waiter));
	struct message message = {.type = MESSAGE_REPORT};

	if (!waiter || !agent_link_is_ready(link)) {
		free(waiter);
		done(user);
		return;
	}
	*waiter = (struct refresh_waiter){.done = done, .user = user, .next = link->waiters};
	link->waiters = waiter;
	if (link->refreshing)
		return;
	link->refreshing = true;
	if (agent_link_request(link, &message, timeout_ms, on_report, NULL, link, NULL) < 0)
		refresh_done(link);
}

void agent_link_set_onlining(struct agent_link *link, enum agent_onlining onlining)
{
	if (link->report.onlining == onlining)
		return;
	link->report.onlining = onlining;
	changed(link);
}

void agent_link_set_repair(struct agent_link *link, const char *text)
{
	snprintf(link->report.repair, sizeof(link->report.repair), "%s", text);
	changed(link);
}

void agent_link_set_holders(struct agent_link *link, const struct snapshot_holders *holders, size_t count)
{
	struct snapshot_agent *agent = &link->report;

	if (!agent->reported || agent->region_count != count)
		return;
	for (size_t i = 0; i < count; i++) {
		agent->regions[i].holders = holders[i];
		agent->regions[i].has_holders = true;
	}
}
