/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces arrive on their own (host files from the reader's thread, domains from libvirt, surveys from workers, reports
 * from agents) and are kept per guest; a snapshot is put together from them whenever one has changed and somebody
 * looks. A refresh is a count of pieces on their way: when the last has come, whoever asked is told.
 */
#include "look.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "agent_link.h"
#include "cleanup.h"
#include "clock.h"
#include "domain_xml.h"
#include "host_reader.h"
#include "process_identity.h"
#include "region_census.h"
#include "survey_parts.h"
#include "sysroot.h"

#define AGENT_TIMEOUT_MS 5000
/* Of a guest with 100 GiB plugged a second or two; without an answer the forecast has less to go by. */
#define CENSUS_TIMEOUT_MS 10000
/* A survey of a terabyte takes some seconds; one that takes a minute hangs. */
#define SURVEY_DEADLINE_MS 60000

struct refresh {
	struct look *look;		/* borrowed */
	unsigned pending;		/* pieces on their way, and 1 while they are being asked for */
	unsigned what;
	enum host_look_extent extent;
	uint64_t host_read;		/* 0: the host has been read */
	bool is_whole;			/* all guests are meant: one that cannot be surveyed must not hide the others */
	size_t range_count;		/* surveys tell what lies in these */
	struct snapshot_range ranges[SNAPSHOT_RANGES_MAX];
	int error;
	struct failure failure;
	look_done_fn *done;
	void *user;
	struct refresh *next;
};

struct guest {
	struct look *look;		/* borrowed */
	struct snapshot_guest model;
	struct agent_link *agent;	/* owned */
	bool listed;			/* seen by the list under way */
	bool reading;			/* a GET_DOMAIN is on its way that nobody waits for */
	bool again;			/* something happened since it began: it may not have seen that */
	bool is_loose_told;		/* that its memory prefers the nodes that it belongs bound to */
	bool is_drift_told;		/* that it has drifted: told again when it has come back meanwhile */
	struct guest *next;
};

/* One guest's piece of a refresh. */
struct piece {
	struct refresh *refresh;	/* NULL: nobody waits */
	struct look *look;
	bool is_reading;		/* it is what guest->reading speaks of */
	bool wants_survey;		/* it waits for the host: a survey counts by DIMM and piece */
	char uuid[SNAPSHOT_UUID_SIZE];
	struct piece *next;
	struct piece **link;		/* in look->pieces */
};

struct look_watch {
	struct look *look;
	char uuid[SNAPSHOT_UUID_SIZE];
	void (*changed)(void *user);
	void *user;
	struct look_watch *next;
};

struct look {
	struct look_options options;
	struct connection *connection;	/* owned */
	struct event *connection_event;	/* owned */
	struct host_reader *reader;	/* owned */
	struct snapshot *host;		/* owned: host part only */
	struct snapshot *current;	/* owned: assembled */
	struct snapshot **retired;	/* owned: replaced in this turn of the loop, somebody may still read them */
	size_t retired_count;
	struct event *retire;		/* owned */
	bool stale;			/* a piece changed since current was assembled */
	uint64_t revision, reads_done;
	struct measured_rates rates;
	struct snapshot_reboot reboot;
	struct guest *guests;		/* owned */
	struct refresh *refreshes;	/* owned: those that wait for a host read or pieces */
	struct piece *pieces;		/* owned */
	struct look_watch *watches;	/* borrowed: their owners free them */
};

static struct guest *find_guest(const struct look *look, const char *uuid)
{
	for (struct guest *guest = look->guests; guest; guest = guest->next)
		if (strcmp(guest->model.uuid, uuid) == 0)
			return guest;
	return NULL;
}

static void tell(struct look *look, enum look_change change, const char *uuid)
{
	look->stale = true;
	if (look->options.changed)
		look->options.changed(look->options.user, change, uuid);
	if (!uuid[0])
		return;
	for (struct look_watch *watch = look->watches, *next; watch; watch = next) {
		next = watch->next;
		if (strcmp(watch->uuid, uuid) == 0)
			watch->changed(watch->user);
	}
}

static void on_retire(evutil_socket_t fd, short what, void *user)
{
	struct look *look = user;

	while (look->retired_count)
		snapshot_free(look->retired[--look->retired_count]);
}

/* A snapshot lives until the next turn of the loop, whoever looks again meanwhile. */
static bool retire(struct look *look, struct snapshot *snapshot)
{
	struct snapshot **grown = realloc(look->retired, (look->retired_count + 1) * sizeof(*grown));

	if (!grown)
		return false;
	look->retired = grown;
	look->retired[look->retired_count++] = snapshot;
	event_active(look->retire, EV_TIMEOUT, 0);
	return true;
}

static void assemble(struct look *look)
{
	struct snapshot *snapshot = look->host ? snapshot_copy(look->host) : snapshot_new();
	uint64_t total = 0;

	if (!snapshot)
		return;		/* the last one stays: old, and said to be so by its time */
	for (const struct guest *guest = look->guests; guest; guest = guest->next) {
		struct snapshot_guest *model = snapshot_add_guest(snapshot);

		if (!model) {
			snapshot_free(snapshot);
			return;
		}
		*model = guest->model;
		if (guest->agent)
			agent_link_describe(guest->agent, &model->agent);
		model->emulator_nodes = guest_look_nodes_of_cpus(snapshot, model->emulator_cpus);
	}
	if (look->options.add_holds)
		look->options.add_holds(look->options.user, snapshot);
	for (size_t n = 0; n < snapshot->node_count; n++) {
		struct snapshot_node *node = &snapshot->nodes[n];

		total += node->total_bytes;
		node->guest_bytes = 0;
		for (size_t g = 0; g < snapshot->guest_count; g++)
			node->guest_bytes += snapshot->guests[g].node_bytes[node->id];
		node->held = snapshot_held_nodes(snapshot, NULL) >> node->id & 1;
	}
	for (size_t d = 0; d < snapshot->dimm_count; d++) {
		struct snapshot_dimm *dimm = &snapshot->dimms[d];

		dimm->guest_bytes = 0;
		dimm->guests_untold = false;
		for (size_t g = 0; g < snapshot->guest_count; g++) {
			dimm->guest_bytes += snapshot_guest_dimm_bytes(&snapshot->guests[g], dimm->id);
			dimm->guests_untold |= !snapshot_guest_dimm_is_told(&snapshot->guests[g], dimm);
		}
		for (size_t h = 0; h < snapshot->hold_count; h++)
			if (strcmp(snapshot->holds[h].dimm, dimm->id) == 0)
				dimm->held = true;
		if (dimm->held && dimm->state == SNAPSHOT_DIMM_ONLINE)
			dimm->state = SNAPSHOT_DIMM_DRAINING;
		else if (dimm->held && dimm->state == SNAPSHOT_DIMM_ABSENT)
			dimm->state = SNAPSHOT_DIMM_EJECTED;
	}
	uint64_t reserve = total / 100 * look->options.reserve_percent;

	snapshot->reserve_bytes =
		reserve > look->options.reserve_min_bytes ? reserve : look->options.reserve_min_bytes;
	snapshot->safe_copy = look->options.safe_copy;
	snapshot->rates = look->rates;
	snapshot->reboot = look->reboot;
	snapshot->revision = ++look->revision;
	snapshot->observed_at_ms = look->host ? look->host->observed_at_ms : 0;
	if (!retire(look, look->current)) {
		snapshot_free(snapshot);
		return;
	}
	look->current = snapshot;
	look->stale = false;
}

static void refresh_step(struct refresh *refresh)
{
	struct look *look = refresh->look;

	if (--refresh->pending > 0)
		return;
	for (struct refresh **link = &look->refreshes; *link; link = &(*link)->next)
		if (*link == refresh) {
			*link = refresh->next;
			break;
		}
	assemble(look);
	refresh->done(refresh->user, refresh->error, &refresh->failure);
	free(refresh);
}

static void refresh_fail(struct refresh *refresh, int error, const struct failure *failure)
{
	if (refresh->error)
		return;
	refresh->error = error;
	refresh->failure = *failure;
}

static void start_waiting_surveys(struct look *look, struct refresh *refresh);
static void start_survey(struct look *look, struct refresh *refresh, struct guest *guest);

/* Of a page here and there nobody need be told: a hundredth of what the guest has. */
static bool is_drifting(const struct snapshot_guest *guest)
{
	return guest->wanted_nodes && snapshot_guest_drift_bytes(guest) > guest->resident_bytes / 100;
}

/*
 * The counters were read with the host. They are told of only after a survey has said the same: what QEMU has beside
 * the guest's memory is in them too.
 */
static void take_counters(struct look *look, struct snapshot *host)
{
	for (size_t i = 0; i < host->guest_count; i++) {
		const struct snapshot_guest *seen = &host->guests[i];
		struct guest *guest = find_guest(look, seen->uuid);

		if (!guest || guest->model.pid != seen->pid || guest->model.start_time != seen->start_time)
			continue;
		guest_look_take_counters(&guest->model, seen->overview_bytes, seen->hugetlb_counted,
					 host->observed_at_ms);
		if (guest->model.surveyed && is_drifting(&guest->model) != guest->is_drift_told)
			start_survey(look, NULL, guest);
	}
	/* What look itself keeps of the host has no guests. */
	free(host->guests);
	host->guests = NULL;
	host->guest_count = 0;
}

/* Where memory is short those of the last time are read: whoever has gone is left out. */
static void set_counted_guests(struct look *look)
{
	CLEANUP_FREE struct host_reader_guest *guests = NULL;
	size_t count = 0;

	for (const struct guest *guest = look->guests; guest; guest = guest->next)
		count++;
	guests = calloc(count + 1, sizeof(*guests));
	if (!guests)
		return;
	count = 0;
	for (const struct guest *guest = look->guests; guest; guest = guest->next) {
		if (guest->model.pid <= 0)
			continue;
		memcpy(guests[count].uuid, guest->model.uuid, sizeof(guests[count].uuid));
		guests[count].pid = guest->model.pid;
		guests[count++].start_time = guest->model.start_time;
	}
	(void)host_reader_set_guests(look->reader, guests, count);
}

static void on_host_read(void *user, enum host_look_extent extent, struct snapshot *snapshot, const struct failure *failure)
{
	struct look *look = user;

	look->reads_done++;
	if (snapshot) {
		snapshot->observed_at_ms = wall_ms();
		take_counters(look, snapshot);
		if (extent == HOST_LOOK_NODES)
			snapshot_take_blocks(snapshot, look->host);
		/* One that was asked for them may still wait for its surveys. */
		if (extent < HOST_LOOK_PINNERS && look->host)
			snapshot->pinners = look->host->pinners;
		snapshot_free(look->host);
		look->host = snapshot;
		tell(look, LOOK_CHANGE_HOST, "");
	}
	for (struct refresh *refresh = look->refreshes, *next; refresh; refresh = next) {
		next = refresh->next;
		if (refresh->host_read == 0 || refresh->host_read > look->reads_done)
			continue;
		refresh->host_read = 0;
		if (!snapshot)
			refresh_fail(refresh, failure->error ? -failure->error : -EIO, failure);
		start_waiting_surveys(look, refresh);
		refresh_step(refresh);
	}
}

/* Pieces */

/* NULL where memory is short: whoever waits is told so, and not that all is well. */
static struct piece *piece_new(struct look *look, struct refresh *refresh, const char *uuid)
{
	struct piece *piece = calloc(1, sizeof(*piece));

	if (!piece && refresh) {
		struct failure failure = {0};

		refresh_fail(refresh, failure_set(&failure, ENOMEM, "ballastd", "cannot look"), &failure);
	}
	if (!piece)
		return NULL;
	piece->look = look;
	piece->refresh = refresh;
	snprintf(piece->uuid, sizeof(piece->uuid), "%s", uuid);
	piece->next = look->pieces;
	piece->link = &look->pieces;
	if (piece->next)
		piece->next->link = &piece->next;
	look->pieces = piece;
	if (refresh)
		refresh->pending++;
	return piece;
}

static void piece_done(struct piece *piece)
{
	struct refresh *refresh = piece->refresh;

	*piece->link = piece->next;
	if (piece->next)
		piece->next->link = piece->link;
	free(piece);
	if (refresh)
		refresh_step(refresh);
}

/* And whether it is held there: a move that was cut short has left it loose, or the next one has bound it. */
static void watch_drift(struct guest *guest)
{
	bool was_told = guest->is_drift_told, was_loose = guest->is_loose_told;

	guest->is_drift_told = is_drifting(&guest->model);
	guest->is_loose_told = guest->model.policy_loose;
	if (guest->is_drift_told != was_told || guest->is_loose_told != was_loose)
		tell(guest->look, LOOK_CHANGE_GUEST, guest->model.uuid);
}

static void on_survey(void *user, const struct worker_result *result)
{
	struct piece *piece = user;
	struct guest *guest = find_guest(piece->look, piece->uuid);
	struct worker_survey survey;
	struct failure failure = {0};

	if (guest && result->outcome == WORKER_OUTCOME_DONE && result->values) {
		bool had_policies = guest->model.policies_seen;

		if (worker_survey_parse(result->values, &survey, &failure) == 0) {
			guest_look_take_survey(&guest->model, &survey, piece->look->host, wall_ms());
			piece->look->stale = true;
			watch_drift(guest);
			/* It has other memory than the one whose policies are known. */
			if (had_policies && !guest->model.policies_seen)
				start_survey(piece->look, piece->refresh, guest);
		} else if (piece->refresh) {
			refresh_fail(piece->refresh, -EIO, &failure);
		}
	} else if (guest && guest->model.state == GUEST_STATE_RUNNING && piece->refresh) {
		char reason[96];

		/* A guest that has ended meanwhile is no error; one that runs and cannot be surveyed is. */
		failure_format(&result->failure, reason, sizeof(reason));
		if (guest_look_take_failed_survey(&guest->model, reason) && piece->refresh->is_whole)
			tell(piece->look, LOOK_CHANGE_GUEST, piece->uuid);
		else
			refresh_fail(piece->refresh, -EIO, &result->failure);
	}
	piece_done(piece);
}

/*
 * A survey that somebody else wanted takes the place of one that knew what a drain asks about: so each is asked about all
 * that is held, and that anybody waits for. Without memory for it the DIMMs are not told apart.
 */
static void ask_parts(const struct look *look, struct worker_job *job)
{
	struct survey_ask asks[SURVEY_ASKS_MAX];
	size_t count = 0;

	if (!look->host)
		return;
	for (const struct refresh *refresh = look->refreshes; refresh && count < SURVEY_ASKS_MAX; refresh = refresh->next)
		if (refresh->range_count)
			asks[count++] = (struct survey_ask){refresh->ranges, refresh->range_count};
	for (size_t i = 0; i < look->current->hold_count && count < SURVEY_ASKS_MAX; i++)
		asks[count++] = (struct survey_ask){look->current->holds[i].ranges, look->current->holds[i].range_count};
	(void)survey_parts_ask(look->host, asks, count, job);
}

static void start_survey(struct look *look, struct refresh *refresh, struct guest *guest)
{
	struct worker_job job = {.kind = WORKER_JOB_SURVEY, .deadline_ms = SURVEY_DEADLINE_MS};
	struct failure failure = {0};
	struct piece *piece;

	if (guest->model.pid <= 0 ||
	    (guest->model.state != GUEST_STATE_RUNNING && guest->model.state != GUEST_STATE_PAUSED))
		return;
	step_init(&job.step, STEP_KIND_MOVE_PAGES);
	job.policies_known = !(refresh && refresh->what & LOOK_POLICY) && !guest_look_needs_policies(&guest->model);
	job.process = (struct worker_process){guest->model.pid, guest->model.start_time};
	/* It may know where the memory devices are. */
	if (guest->agent)
		agent_link_describe(guest->agent, &guest->model.agent);
	guest_look_ram_sizes(&guest->model, &job);
	ask_parts(look, &job);
	piece = piece_new(look, refresh, guest->model.uuid);
	if (piece) {
		int r = worker_pool_start(look->options.pool, &job, NULL, on_survey, piece, NULL, &failure);

		if (r < 0) {
			if (refresh)
				refresh_fail(refresh, r, &failure);
			piece_done(piece);
		}
	}
	worker_job_done(&job);
}

/* The host has been read: the refresh's guests that were read before it are surveyed now. */
static void start_waiting_surveys(struct look *look, struct refresh *refresh)
{
	for (struct piece *piece = look->pieces, *next; piece; piece = next) {
		struct guest *guest = find_guest(look, piece->uuid);

		next = piece->next;
		if (piece->refresh != refresh || !piece->wants_survey)
			continue;
		if (guest)
			start_survey(look, refresh, guest);
		piece_done(piece);
	}
}

static void on_counted(void *user)
{
	struct piece *piece = user;

	piece->look->stale = true;
	piece_done(piece);
}

static void on_reported(void *user)
{
	struct piece *piece = user;
	struct guest *guest = find_guest(piece->look, piece->uuid);

	if (guest && guest->agent && piece->refresh && (piece->refresh->what & LOOK_HOLDERS))
		region_census(guest->agent, CENSUS_TIMEOUT_MS, on_counted, piece);
	else
		on_counted(piece);
}

static void start_report(struct look *look, struct refresh *refresh, struct guest *guest)
{
	struct piece *piece;

	if (!guest->agent || !agent_link_is_ready(guest->agent))
		return;
	piece = piece_new(look, refresh, guest->model.uuid);
	if (piece)
		agent_link_refresh(guest->agent, AGENT_TIMEOUT_MS, on_reported, piece);
}

/* Guests */

static void on_agent_changed(void *user, struct agent_link *link)
{
	struct guest *guest = user;
	struct snapshot_agent agent;

	agent_link_describe(link, &agent);
	/* The first report, so that GET /v1/guests has numbers without anybody asking for them. */
	if (agent.state == AGENT_STATE_READY && !agent.reported)
		start_report(guest->look, NULL, guest);
	tell(guest->look, LOOK_CHANGE_AGENT, guest->model.uuid);
}

static void drop_guest(struct look *look, const char *uuid)
{
	for (struct guest **link = &look->guests; *link; link = &(*link)->next) {
		struct guest *guest = *link;

		if (strcmp(guest->model.uuid, uuid) != 0)
			continue;
		*link = guest->next;
		tell(look, LOOK_CHANGE_GUEST_GONE, uuid);
		agent_link_free(guest->agent);
		free(guest);
		return;
	}
}

/* The process that had the context id when the guest was last looked at. */
static bool is_owner(void *user)
{
	const struct guest *guest = user;
	uint64_t start_time;

	return guest->model.pid > 0 &&
	       process_identity_read_start_time(guest->look->options.sysroot, guest->model.pid, &start_time) == 0 &&
	       start_time == guest->model.start_time;
}

static struct guest *add_guest(struct look *look, const char *uuid)
{
	struct guest *guest = calloc(1, sizeof(*guest));
	struct guest **link = &look->guests;

	if (!guest)
		return NULL;
	guest->look = look;
	snprintf(guest->model.uuid, sizeof(guest->model.uuid), "%s", uuid);
	guest->agent = agent_link_new(&(struct agent_link_options){
		.base = look->options.base, .changed = on_agent_changed, .is_owner = is_owner, .user = guest});
	if (!guest->agent) {
		free(guest);
		return NULL;
	}
	while (*link)
		link = &(*link)->next;
	*link = guest;
	return guest;
}

static void take_domain(struct look *look, const struct connection_domain *domain)
{
	struct domain_xml live = {0}, stored = {0};
	bool has_live = domain->live_xml &&
			domain_xml_parse(domain->live_xml, strlen(domain->live_xml), &live, NULL) == 0;
	bool has_stored = domain->stored_xml &&
			  domain_xml_parse(domain->stored_xml, strlen(domain->stored_xml), &stored, NULL) == 0;
	struct guest *guest = find_guest(look, domain->uuid);
	bool excess;

	if (!guest)
		guest = add_guest(look, domain->uuid);
	if (guest) {
		int pid_before = guest->model.pid;
		uint64_t start_before = guest->model.start_time;

		guest_look_take_domain(&guest->model, domain, has_live ? &live : NULL,
				       has_stored ? &stored : NULL, &excess);
		guest->model.start_time = 0;
		if (guest->model.pid > 0 &&
		    process_identity_read_start_time(look->options.sysroot, guest->model.pid,
						     &guest->model.start_time) < 0)
			guest->model.pid = 0;
		if (guest->model.pid != pid_before || guest->model.start_time != start_before)
			guest_look_drop_survey(&guest->model);
		const struct domain_xml_channel *channel =
			has_live ? domain_xml_find_channel(&live, DOMAIN_XML_AGENT_CHANNEL) : NULL;

		const char *path = channel && guest->model.pid > 0 ? channel->path : NULL;

		/* The port is the better one: it is there before any network is, and only QEMU's owner has it. */
		if (!path && has_live && guest->model.pid > 0 && live.vsock_cid)
			agent_link_set_vsock(guest->agent, live.vsock_cid, guest->model.max_bytes);
		else
			agent_link_set_channel(guest->agent, path, guest->model.max_bytes);
		tell(look, LOOK_CHANGE_GUEST, guest->model.uuid);
	}
	domain_xml_done(&live);
	domain_xml_done(&stored);
}

static void read_domain(struct look *look, struct refresh *refresh, const char *uuid);

/* The read that nobody waits for has ended. What happened meanwhile it may not have seen. */
static void read_ended(struct piece *piece)
{
	struct guest *guest = piece->is_reading ? find_guest(piece->look, piece->uuid) : NULL;

	if (!guest)
		return;
	guest->reading = false;
	if (!guest->again)
		return;
	guest->again = false;
	if (look_libvirt_is_up(piece->look, NULL))
		read_domain(piece->look, NULL, piece->uuid);
}

static void on_domain(void *user, const struct connection_result *result)
{
	struct piece *piece = user;
	struct look *look = piece->look;
	struct refresh *refresh = piece->refresh;
	struct guest *guest;

	switch (result->outcome) {
	case CONNECTION_DONE:
		if (result->domain_count)
			take_domain(look, &result->domains[0]);
		guest = find_guest(look, piece->uuid);
		if (guest && refresh && (refresh->what & LOOK_SURVEY)) {
			/* It counts by DIMM and piece. */
			if (refresh->host_read && refresh->extent >= HOST_LOOK_ALL)
				piece->wants_survey = true;
			else
				start_survey(look, refresh, guest);
		}
		if (guest && refresh && (refresh->what & LOOK_AGENT))
			start_report(look, refresh, guest);
		break;
	case CONNECTION_NO_DOMAIN:
		drop_guest(look, piece->uuid);
		break;
	case CONNECTION_REFUSED:
	case CONNECTION_NOT_UP:
	case CONNECTION_TIMED_OUT:
	case CONNECTION_OUTCOME_COUNT:
		if (refresh)
			refresh_fail(refresh, result->outcome == CONNECTION_TIMED_OUT ? -ETIMEDOUT : -ENOTCONN,
				     &result->failure);
		break;
	}
	read_ended(piece);
	/* One that waits for the host is finished by it. */
	if (!piece->wants_survey)
		piece_done(piece);
}

static void read_domain(struct look *look, struct refresh *refresh, const char *uuid)
{
	struct piece *piece = piece_new(look, refresh, uuid);
	struct guest *guest = find_guest(look, uuid);

	if (!piece)
		return;
	if (!refresh && guest) {
		/* One read that nobody waits for is enough, and one more after it for all that comes meanwhile. */
		if (guest->reading) {
			guest->again = true;
			piece_done(piece);
			return;
		}
		guest->reading = piece->is_reading = true;
	}
	struct connection_call call = {.kind = CONNECTION_CALL_GET_DOMAIN, .uuid = uuid, .on_done = on_domain,
				       .userdata = piece};

	if (connection_submit(look->connection, &call, NULL) < 0) {
		if (guest && piece->is_reading)
			guest->reading = false;
		if (refresh) {
			struct failure failure;

			failure_set(&failure, EBUSY, "libvirt", "cannot ask for the guest");
			refresh_fail(refresh, -EBUSY, &failure);
		}
		piece_done(piece);
	}
}

static void on_list(void *user, const struct connection_result *result)
{
	struct piece *piece = user;
	struct look *look = piece->look;
	struct refresh *refresh = piece->refresh;

	if (result->outcome != CONNECTION_DONE) {
		if (refresh)
			refresh_fail(refresh, -ENOTCONN, &result->failure);
		piece_done(piece);
		return;
	}
	for (struct guest *guest = look->guests; guest; guest = guest->next)
		guest->listed = false;
	for (size_t i = 0; i < result->domain_count; i++) {
		struct guest *guest = find_guest(look, result->domains[i].uuid);

		if (guest)
			guest->listed = true;
		read_domain(look, refresh, result->domains[i].uuid);
	}
	for (struct guest *guest = look->guests, *next; guest; guest = next) {
		next = guest->next;
		if (!guest->listed) {
			char uuid[SNAPSHOT_UUID_SIZE];

			memcpy(uuid, guest->model.uuid, sizeof(uuid));
			drop_guest(look, uuid);
		}
	}
	piece_done(piece);
}

static void list_domains(struct look *look, struct refresh *refresh)
{
	struct piece *piece = piece_new(look, refresh, "");
	struct connection_call call = {.kind = CONNECTION_CALL_LIST_DOMAINS, .on_done = on_list, .userdata = piece};

	if (piece && connection_submit(look->connection, &call, NULL) < 0) {
		if (refresh) {
			struct failure failure;

			failure_set(&failure, EBUSY, "libvirt", "cannot ask for the guests");
			refresh_fail(refresh, -EBUSY, &failure);
		}
		piece_done(piece);
	}
}

static void ignore_refresh(void *user, int error, const struct failure *failure)
{
}

static void on_connection_event(void *user, const struct connection_event *event)
{
	struct look *look = user;
	struct guest *guest = event->uuid[0] ? find_guest(look, event->uuid) : NULL;

	switch (event->kind) {
	case CONNECTION_EVENT_UP:
		tell(look, LOOK_CHANGE_LIBVIRT, "");
		look_refresh(look, NULL, LOOK_SURVEY | LOOK_AGENT, ignore_refresh, NULL);
		break;
	case CONNECTION_EVENT_DOWN:
		tell(look, LOOK_CHANGE_LIBVIRT, "");
		break;
	case CONNECTION_EVENT_GAP:
		look_refresh(look, NULL, 0, ignore_refresh, NULL);
		break;
	case CONNECTION_EVENT_MEMORY_SIZE_CHANGED:
		/* The event has the number: a resize that is watched need not wait for the XML. */
		for (size_t i = 0; guest && i < guest->model.device_count; i++) {
			struct snapshot_device *device = &guest->model.devices[i];

			if (strcmp(device->alias, event->alias) != 0 || event->bytes > device->size_bytes)
				continue;
			guest->model.current_bytes += event->bytes - device->current_bytes;
			device->current_bytes = event->bytes;
		}
		if (guest)
			tell(look, LOOK_CHANGE_GUEST, event->uuid);
		/* Somebody else may have asked for it: what is requested stands in the XML alone. */
		read_domain(look, NULL, event->uuid);
		break;
	case CONNECTION_EVENT_REBOOTED:
		if (guest) {
			guest->model.boot_count++;
			agent_link_restart(guest->agent);
			tell(look, LOOK_CHANGE_GUEST, event->uuid);
		}
		read_domain(look, NULL, event->uuid);
		break;
	case CONNECTION_EVENT_STARTED:
		if (guest)
			guest->model.boot_count++;
		look_refresh(look, event->uuid, LOOK_SURVEY, ignore_refresh, NULL);
		break;
	case CONNECTION_EVENT_DEFINED:
	case CONNECTION_EVENT_UNDEFINED:
	case CONNECTION_EVENT_SUSPENDED:
	case CONNECTION_EVENT_RESUMED:
	case CONNECTION_EVENT_SHUTDOWN:
	case CONNECTION_EVENT_STOPPED:
	case CONNECTION_EVENT_CRASHED:
	case CONNECTION_EVENT_PM_SUSPENDED:
	case CONNECTION_EVENT_BALLOON_CHANGED:
	case CONNECTION_EVENT_DEVICE_ADDED:
	case CONNECTION_EVENT_DEVICE_REMOVED:
	case CONNECTION_EVENT_DEVICE_REMOVAL_FAILED:
	case CONNECTION_EVENT_MIGRATION_ROUND:
	case CONNECTION_EVENT_JOB_COMPLETED:
	case CONNECTION_EVENT_METADATA_CHANGED:
	case CONNECTION_EVENT_CALL_RETURNED:
		if (event->uuid[0])
			read_domain(look, NULL, event->uuid);
		break;
	case CONNECTION_EVENT_KIND_COUNT:
		break;
	}
}

static void on_connection_ready(evutil_socket_t fd, short what, void *user)
{
	struct look *look = user;

	connection_dispatch(look->connection);
}

int look_new(const struct look_options *options, struct look **ret_look, struct failure *failure)
{
	struct look *look = calloc(1, sizeof(*look));
	int r;

	if (!look)
		return failure_set(failure, ENOMEM, "ballastd", "cannot start looking");
	look->options = *options;
	look->current = snapshot_new();
	look->retire = event_new(options->base, -1, 0, on_retire, look);
	if (!look->current || !look->retire) {
		look_free(look);
		return failure_set(failure, ENOMEM, "ballastd", "cannot start looking");
	}
	r = host_reader_new(options->base, options->sysroot, on_host_read, look, &look->reader);
	if (r < 0) {
		look_free(look);
		return failure_set(failure, r, "ballastd", "cannot start the thread that reads the host");
	}
	host_reader_set_hooks(look->reader, options->hook_directory);
	r = connection_new(&(struct connection_options){.uri = options->libvirt_uri,
							.sysroot = options->sysroot,
							.ops = options->libvirt_ops,
							.on_event = on_connection_event,
							.userdata = look},
			   &look->connection, failure);
	if (r < 0) {
		look_free(look);
		return r;
	}
	look->connection_event = event_new(options->base, connection_fd(look->connection), EV_READ | EV_PERSIST,
					   on_connection_ready, look);
	if (!look->connection_event || event_add(look->connection_event, NULL) < 0) {
		look_free(look);
		return failure_set(failure, ENOMEM, "ballastd", "cannot listen to libvirt");
	}
	*ret_look = look;
	return 0;
}

struct look *look_free(struct look *look)
{
	if (!look)
		return NULL;
	look->options.changed = NULL;
	for (struct look_watch *watch = look->watches; watch; watch = watch->next)
		watch->look = NULL;
	look->watches = NULL;
	/* An agent that is given up ends its pieces: no refresh comes to its end by that any more. */
	for (struct piece *piece = look->pieces; piece; piece = piece->next)
		piece->refresh = NULL;
	if (look->connection_event)
		event_free(look->connection_event);
	connection_free(look->connection);
	host_reader_free(look->reader);
	while (look->guests) {
		struct guest *guest = look->guests;

		look->guests = guest->next;
		agent_link_free(guest->agent);
		free(guest);
	}
	while (look->pieces) {
		struct piece *piece = look->pieces;

		look->pieces = piece->next;
		free(piece);
	}
	while (look->refreshes) {
		struct refresh *refresh = look->refreshes;

		look->refreshes = refresh->next;
		free(refresh);
	}
	on_retire(-1, 0, look);
	free(look->retired);
	if (look->retire)
		event_free(look->retire);
	snapshot_free(look->host);
	snapshot_free(look->current);
	free(look);
	return NULL;
}

const struct snapshot *look_snapshot(const struct look *look)
{
	if (look->stale)
		/* Putting together what is known changes nothing that a caller could see otherwise. */
		assemble((struct look *)look);
	return look->current;
}

struct connection *look_connection(struct look *look)
{
	return look->connection;
}

bool look_libvirt_is_up(const struct look *look, struct failure *failure)
{
	const char *reason = NULL;

	if (connection_get_state(look->connection, &reason) == CONNECTION_STATE_UP)
		return true;
	failure_set(failure, ENOTCONN, "libvirt", "there is no connection");
	failure_set_code(failure, "libvirt_down");
	if (reason && reason[0])
		failure_set_cause(failure, "%s", reason);
	failure_set_way_out(failure, "start libvirtd; the connection is tried again by itself");
	return false;
}

void look_refresh(struct look *look, const char *guest, unsigned what, look_done_fn *done, void *user)
{
	look_refresh_ranges(look, guest, what, NULL, 0, done, user);
}

void look_refresh_ranges(struct look *look, const char *guest, unsigned what, const struct snapshot_range *ranges,
			 size_t count, look_done_fn *done, void *user)
{
	struct refresh *refresh = calloc(1, sizeof(*refresh));
	struct failure failure = {0};

	if (!refresh) {
		failure_set(&failure, ENOMEM, "ballastd", "cannot look");
		done(user, -ENOMEM, &failure);
		return;
	}
	*refresh = (struct refresh){.look = look, .pending = 2, .what = what, .done = done, .user = user};
	refresh->next = look->refreshes;
	look->refreshes = refresh;
	set_counted_guests(look);
	if (!(what & LOOK_NODES) || !look->host)
		refresh->extent = HOST_LOOK_ALL;
	if (what & LOOK_PINNERS)
		refresh->extent = HOST_LOOK_PINNERS;
	refresh->host_read = host_reader_request(look->reader, refresh->extent);
	refresh->is_whole = !guest;
	while (refresh->range_count < count && refresh->range_count < SNAPSHOT_RANGES_MAX) {
		refresh->ranges[refresh->range_count] = ranges[refresh->range_count];
		refresh->range_count++;
	}
	if (!guest || guest[0]) {
		if (!look_libvirt_is_up(look, &failure))
			refresh_fail(refresh, -ENOTCONN, &failure);
		else if (!guest)
			list_domains(look, refresh);
		else
			read_domain(look, refresh, guest);
	}
	refresh_step(refresh);
}

void look_read_guest(struct look *look, const char *uuid)
{
	if (look_libvirt_is_up(look, NULL))
		read_domain(look, NULL, uuid);
}

struct agent_link *look_agent(struct look *look, const char *uuid)
{
	struct guest *guest = find_guest(look, uuid);

	return guest ? guest->agent : NULL;
}

struct look_watch *look_watch_new(struct look *look, const char *uuid, void (*changed)(void *user), void *user)
{
	struct look_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	*watch = (struct look_watch){.look = look, .changed = changed, .user = user, .next = look->watches};
	snprintf(watch->uuid, sizeof(watch->uuid), "%s", uuid);
	look->watches = watch;
	return watch;
}

struct look_watch *look_watch_free(struct look_watch *watch)
{
	if (!watch)
		return NULL;
	/* Without a look it has gone before. */
	for (struct look_watch **link = watch->look ? &watch->look->watches : NULL; link && *link; link = &(*link)->next)
		if (*link == watch) {
			*link = watch->next;
			break;
		}
	free(watch);
	return NULL;
}

void look_set_managed(struct look *look, const char *uuid, bool managed)
{
	struct guest *guest = find_guest(look, uuid);

	if (!guest)
		return;
	guest->model.managed_by_ballast = managed;
	look->stale = true;
}

void look_set_wanted(struct look *look, const char *uuid, uint64_t wanted_nodes, uint64_t left_nodes)
{
	struct guest *guest = find_guest(look, uuid);

	if (!guest)
		return;
	guest->model.wanted_nodes = wanted_nodes;
	guest->model.left_nodes = left_nodes;
	/* What the move itself left behind has been told by its remainder. */
	guest->is_drift_told = is_drifting(&guest->model);
	look->stale = true;
}

void look_set_kept(struct look *look, const char *uuid, const char *detail)
{
	struct guest *guest = find_guest(look, uuid);

	if (!guest)
		return;
	snprintf(guest->model.kept, sizeof(guest->model.kept), "%s", detail);
	guest->model.kept_at_ms = wall_ms();
	tell(look, LOOK_CHANGE_GUEST, uuid);
}

void look_renew(struct look *look)
{
	look->stale = true;
}

void look_set_rates(struct look *look, const struct measured_rates *rates)
{
	look->rates = *rates;
	look->stale = true;
}

void look_set_reboot(struct look *look, const struct snapshot_reboot *reboot)
{
	look->reboot = *reboot;
	look->stale = true;
}
