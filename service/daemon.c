/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start: directories and lock, journal, workers (those of a daemon before us are waited for), look, engine, API, and
 * then what the journal holds unfinished, once libvirt and the host have been looked at. Stop: the other way round;
 * running steps are cancelled softly and taken up by the next start.
 */
#include "daemon_priv.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include <cap-ng.h>
#include "boot_record.h"
#include "cleanup.h"
#include "clock.h"
#include "grow_audit.h"
#include "guest_asks.h"
#include "hold_keeper.h"
#include "journal.h"
#include "memory_hints.h"
#include "online_keeper.h"
#include "placement_keeper.h"
#include "rate_keeper.h"
#include "rest_server.h"
#include "step_runner.h"
#include "size_assistant.h"
#include "sysroot.h"
#include "worker_pool.h"

/* Workers of a killed daemon end with it; what a stuck kernel call holds longer is somebody's business to see. */
#define ORPHAN_WAIT_MS 15000
#define KILL_GRACE_MS  3000
/* After so many looks that failed the operations of the daemon before us go on all the same: each looks for itself. */
#define FIRST_LOOK_TRIES 5
/* Operations that are asked where they left their guests: several moves of each guest of a full host. */
#define LEARN_OPERATIONS 256

uint64_t daemon_now_ms(void *user)
{
	return wall_ms();
}

void daemon_say(const char *priority, const struct failure *failure, const char *what)
{
	char text[512];

	fprintf(stderr, "%s%s%s%s\n", priority, what, failure && failure_is_set(failure) ? ": " : "",
		failure && failure_is_set(failure) ? failure_format(failure, text, sizeof(text)) : "");
}

/* Looking and the engine's word */

static void add_holds(void *user, struct snapshot *snapshot)
{
	struct daemon *daemon = user;

	if (daemon->engine && engine_see_holds(daemon->engine, snapshot) < 0)
		daemon_say("<4>", NULL, "no memory to see all that drains hold");
	if (daemon->hints && memory_hints_see(daemon->hints, snapshot) < 0)
		daemon_say("<4>", NULL, "no memory to see all hints");
}

static bool is_guest_busy(void *user, const char *guest)
{
	return engine_guest_is_busy(((struct daemon *)user)->engine, guest);
}

/* The operation is told of as any other; what refuses it now is tried again by the assistant, after a pause. */
static void on_assist_answer(void *user, const struct engine_answer *answer)
{
	if (answer->result == ENGINE_SUBMIT_REFUSED || answer->result == ENGINE_SUBMIT_FAILED)
		daemon_say("<5>", answer->failure, "a size that libvirt was asked for is not helped");
}

static void on_assist(void *user, const struct wish *wish)
{
	struct daemon *daemon = user;

	engine_submit(daemon->engine, &(struct engine_submission){.wish = wish, .actor = OPERATION_ACTOR_LIBVIRT},
		      on_assist_answer, NULL);
}

struct ask_to {
	struct daemon *daemon;
	char guest[SNAPSHOT_UUID_SIZE];
};

static void on_ask_answer(void *user, const struct engine_answer *answer)
{
	struct ask_to *ask = user;
	bool granted = answer->result == ENGINE_SUBMIT_ACCEPTED || answer->result == ENGINE_SUBMIT_ALREADY ||
		       answer->result == ENGINE_SUBMIT_REPLAYED;
	struct failure failure;

	if (!granted && answer->failure)
		failure = *answer->failure;
	else if (!granted)
		failure_set(&failure, EBUSY, ask->guest, "cannot grow now");
	if (ask->daemon->asks)
		guest_asks_decided(ask->daemon->asks, ask->guest, granted ? NULL : &failure);
	free(ask);
}

static void on_ask(void *user, const struct wish *wish)
{
	struct daemon *daemon = user;
	struct ask_to *ask = calloc(1, sizeof(*ask));
	struct failure failure;

	if (!ask) {
		failure_set(&failure, ENOMEM, "ballastd", "cannot grant it now");
		guest_asks_decided(daemon->asks, wish->guest, &failure);
		return;
	}
	*ask = (struct ask_to){.daemon = daemon};
	memcpy(ask->guest, wish->guest, sizeof(ask->guest));
	engine_submit(daemon->engine, &(struct engine_submission){.wish = wish, .actor = OPERATION_ACTOR_GUEST},
		      on_ask_answer, ask);
}

static int start_assistant(struct daemon *daemon)
{
	const struct config *config = daemon->config;

	if (!config->assist_after_s || config->observe)
		return 0;
	daemon->assistant = size_assistant_new(&(struct size_assistant_options){
		.base = daemon->base, .look = daemon->look, .flat_ms = config->assist_after_s * 1000,
		.read_ms = config->look_interval_s * 1000, .is_busy = is_guest_busy, .submit = on_assist, .user = daemon});
	return daemon->assistant ? 0 : -ENOMEM;
}

/* What the operations in memory left their guests with. An undo takes some of it back: then these alone say what stands. */
static void on_learn(evutil_socket_t fd, short what, void *user)
{
	struct daemon *daemon = user;
	const struct operation_record *operations[LEARN_OPERATIONS];
	size_t count = engine_operations(daemon->engine, operations, ARRAY_SIZE(operations));

	placement_keeper_learn(daemon->keeper, operations, count, daemon->has_undone);
	daemon->has_undone = false;
}

/* What operations of daemons before this one left: the journal has them, newest first. */
static void learn_from_journal(struct daemon *daemon)
{
	struct operation_record **operations = NULL;
	struct failure failure = {0};
	size_t count = 0;

	if (journal_load_operations(daemon->journal, false, NULL, LEARN_OPERATIONS, &operations, &count, &failure) < 0) {
		daemon_say("<4>", &failure, "cannot tell which guests are to be kept in their place");
		return;
	}
	placement_keeper_learn(daemon->keeper, (const struct operation_record *const *)operations, count, true);
	for (size_t i = 0; i < count; i++)
		operation_record_free(operations[i]);
	free(operations);
}

/* Outside of what the look and the engine call: it begins operations, and looks. */
static void on_keep_holds(evutil_socket_t fd, short what, void *user)
{
	struct daemon *daemon = user;

	hold_keeper_see(daemon->holds, look_snapshot(daemon->look));
}

static void on_newcomer_surveyed(void *user, int error, const struct failure *failure)
{
	event_active(((struct daemon *)user)->keep_holds, EV_TIMEOUT, 0);
}

/* One that cannot be surveyed is told with that reason. */
static void survey_newcomer(void *user, const char *guest)
{
	look_refresh(((struct daemon *)user)->look, guest, LOOK_SURVEY | LOOK_NODES, on_newcomer_surveyed, user);
}

static void on_given_back(void *user, const struct failure *failure)
{
	struct daemon *daemon = user;

	if (failure)
		daemon_say("<5>", failure, "huge pages that nobody uses could not all be given back");
	look_refresh(daemon->look, "", LOOK_NODES, on_newcomer_surveyed, daemon);
}

static uint64_t steady_ms(void *user)
{
	return monotonic_ms();
}

static void on_rates_changed(void *user, const struct measured_rates *rates)
{
	look_set_rates(((struct daemon *)user)->look, rates);
}

/* Life */

static void on_idle(void *user)
{
	event_base_loopbreak(((struct daemon *)user)->base);
}

static void on_signal(evutil_socket_t number, short what, void *user)
{
	struct daemon *daemon = user;

	if (daemon->stopping) {
		event_base_loopbreak(daemon->base);
		return;
	}
	daemon->stopping = true;
	sd_notify(0, "STOPPING=1");
	engine_stop(daemon->engine, on_idle, daemon);
}

static void on_first_look(void *user, int error, const struct failure *failure)
{
	struct daemon *daemon = user;

	daemon->looking = false;
	/* A guest that cannot be looked at must not keep all others' operations from going on for ever. */
	if (error && (!look_libvirt_is_up(daemon->look, NULL) || ++daemon->failed_looks < FIRST_LOOK_TRIES))
		return;
	if (error)
		daemon_say("<4>", failure, "cannot look at everything");
	daemon->acting = true;
	/* Of guests that do not change nothing else tells. */
	const struct snapshot *snapshot = look_snapshot(daemon->look);

	for (size_t i = 0; i < snapshot->guest_count; i++) {
		grow_audit_check(daemon->audit, snapshot->guests[i].uuid);
		online_keeper_check(daemon->onlining, snapshot->guests[i].uuid);
	}
	learn_from_journal(daemon);
	engine_wait(daemon->engine, false);
	event_active(daemon->keep_holds, EV_TIMEOUT, 0);
}

static void on_looked_at_host(void *user, int error, const struct failure *failure)
{
	struct daemon *daemon = user;

	daemon->looking = false;
	if (error)
		daemon_say("<4>", failure, "cannot look at the host");
	else
		engine_see(daemon->engine, look_snapshot(daemon->look));
	placement_keeper_check(daemon->keeper, "");
	if (daemon->acting)
		event_active(daemon->keep_holds, EV_TIMEOUT, 0);
}

static void schedule_look(struct daemon *daemon)
{
	/* Until the operations may go on, libvirt is waited for more eagerly. */
	struct timeval when = {.tv_sec = daemon->acting ? (time_t)daemon->config->look_interval_s : 1};

	evtimer_add(daemon->look_timer, &when);
}

static void on_look_timer(evutil_socket_t fd, short what, void *user)
{
	struct daemon *daemon = user;
	bool is_first = !daemon->acting && look_libvirt_is_up(daemon->look, NULL);

	/* One that takes longer than the interval is not asked for again meanwhile. */
	if (!daemon->looking) {
		daemon->looking = true;
		if (is_first)
			look_refresh(daemon->look, NULL, LOOK_SURVEY | LOOK_POLICY | LOOK_AGENT, on_first_look, daemon);
		else
			look_refresh(daemon->look, "", 0, on_looked_at_host, daemon);
	}
	schedule_look(daemon);
}

static void on_watchdog(evutil_socket_t fd, short what, void *user)
{
	sd_notify(0, "WATCHDOG=1");
}

/* Without either a plan says that it is not known. */
static void find_reboot(struct daemon *daemon)
{
	struct snapshot_reboot reboot = {.s = daemon->config->reboot_s, .is_configured = daemon->config->reboot_s > 0};
	int r = reboot.s ? 0 : boot_record_read(daemon->sysroot, &reboot.s);
	struct failure failure;

	if (r < 0) {
		failure_set(&failure, r, "/var/log/wtmp", "cannot read how long reboots took");
		daemon_say("<5>", &failure, "the time that a reboot takes is not known");
	}
	look_set_reboot(daemon->look, &reboot);
}

static int make_directory(const char *path, mode_t mode, struct failure *failure)
{
	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return 0;
	return failure_set(failure, errno, path, "cannot make the directory");
}

/* One daemon at a time: two would act beside each other. */
static int take_lock(struct daemon *daemon, struct failure *failure)
{
	char path[CONFIG_PATH_SIZE + 32];

	snprintf(path, sizeof(path), "%s/ballastd.lock", daemon->config->run_directory);
	daemon->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (daemon->lock_fd < 0)
		return failure_set(failure, errno, path, "cannot open the lock");
	if (flock(daemon->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	int error = errno;

	failure_set(failure, error, path, "cannot take the lock");
	if (error == EWOULDBLOCK) {
		failure_set_cause(failure, "another ballastd runs");
		failure_set_way_out(failure, "stop it first");
	}
	return -error;
}

/* Keeps what moving, surveying, offlining and opening the sockets takes, and nothing else. */
static int drop_capabilities(struct failure *failure)
{
	capng_clear(CAPNG_SELECT_BOTH);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, CAP_SYS_NICE, CAP_SYS_PTRACE,
		      CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_CHOWN, CAP_SYSLOG, CAP_NET_BIND_SERVICE, -1);
	if (capng_apply(CAPNG_SELECT_BOTH) < 0)
		return failure_set(failure, EPERM, "ballastd", "cannot drop capabilities");
	return 0;
}

static void find_worker(const struct config *config, char path[CONFIG_PATH_SIZE])
{
	ssize_t length;
	char *slash;

	if (config->worker[0]) {
		memcpy(path, config->worker, CONFIG_PATH_SIZE);
		return;
	}
	/* Beside the daemon in a build tree, in libexec once installed. */
	length = readlink("/proc/self/exe", path, CONFIG_PATH_SIZE - 32);
	if (length > 0) {
		path[length] = '\0';
		slash = strrchr(path, '/');
		if (slash) {
			strcpy(slash, "/worker/ballast-worker");
			if (access(path, X_OK) == 0)
				return;
			strcpy(slash, "/ballast-worker");
			if (access(path, X_OK) == 0)
				return;
		}
	}
	snprintf(path, CONFIG_PATH_SIZE, "%s", BALLAST_LIBEXECDIR "/ballast-worker");
}

static int listen_fd(void)
{
	return sd_listen_fds(1) >= 1 ? SD_LISTEN_FDS_START : -1;
}

static int start(struct daemon *daemon, struct failure *failure)
{
	const struct config *config = daemon->config;
	char journal[CONFIG_PATH_SIZE + 32], lock[CONFIG_PATH_SIZE + 32], worker[CONFIG_PATH_SIZE];
	uint64_t watchdog_us;
	char boot_id[64];
	int r;

	if (geteuid() != 0) {
		r = failure_set(failure, EPERM, "ballastd", "cannot run");
		failure_set_way_out(failure, "run it as root: it moves other processes' memory");
		return r;
	}
	r = make_directory(config->run_directory, 0755, failure);
	if (r == 0)
		r = make_directory(config->state_directory, 0700, failure);
	if (r == 0)
		r = take_lock(daemon, failure);
	if (r == 0)
		r = drop_capabilities(failure);
	if (r < 0)
		return r;
	if (evthread_use_pthreads() < 0)
		return failure_set(failure, ENOMEM, "ballastd", "cannot start the loop");
	daemon->base = event_base_new();
	if (!daemon->base)
		return failure_set(failure, ENOMEM, "ballastd", "cannot start the loop");
	r = sysroot_new("/", &daemon->sysroot);
	if (r < 0)
		return failure_set(failure, r, "/", "cannot open");
	kernel_probe_run(daemon->sysroot, &daemon->probe);
	snprintf(journal, sizeof(journal), "%s/journal.db", config->state_directory);
	r = journal_open(journal, &daemon->journal, failure);
	if (r < 0)
		return r;
	find_worker(config, worker);
	snprintf(lock, sizeof(lock), "%s/workers.lock", config->run_directory);
	r = worker_pool_new(&(struct worker_pool_options){.base = daemon->base, .program = worker, .lock_path = lock,
							  .limit = config->workers, .kill_grace_ms = KILL_GRACE_MS,
							  .sysroot = daemon->sysroot, .on_stuck = daemon_events_stuck,
							  .user = daemon},
			    ORPHAN_WAIT_MS, &daemon->pool, failure);
	if (r < 0)
		return r;
	r = look_new(&(struct look_options){.base = daemon->base, .sysroot = daemon->sysroot, .pool = daemon->pool,
					    .libvirt_uri = config->libvirt_uri[0] ? config->libvirt_uri : NULL,
					    .hook_directory = config->hook_directory,
					    .reserve_min_bytes = config->reserve_bytes,
					    .reserve_percent = config->reserve_percent,
					    .safe_copy = daemon->probe.entries[KERNEL_FEATURE_SAFE_COPY].state == KERNEL_PROBE_YES,
					    .add_holds = add_holds,
					    .changed = daemon_events_look, .user = daemon},
		     &daemon->look, failure);
	if (r < 0)
		return r;
	find_reboot(daemon);
	r = rate_keeper_new(&(struct rate_keeper_options){.journal = daemon->journal, .changed = on_rates_changed, .user = daemon},
			    &daemon->rates, failure);
	if (r < 0)
		return r;
	daemon->runner = step_runner_new(&(struct step_runner_options){
		.base = daemon->base, .look = daemon->look, .pool = daemon->pool, .flat_ms = config->flat_ms,
		.block_timeout_ms = config->block_timeout_ms, .hook_directory = config->hook_directory});
	daemon->terminate = evsignal_new(daemon->base, SIGTERM, on_signal, daemon);
	daemon->interrupt = evsignal_new(daemon->base, SIGINT, on_signal, daemon);
	daemon->look_timer = evtimer_new(daemon->base, on_look_timer, daemon);
	daemon->learn = event_new(daemon->base, -1, 0, on_learn, daemon);
	daemon->keep_holds = event_new(daemon->base, -1, 0, on_keep_holds, daemon);
	daemon->keeper = placement_keeper_new(&(struct placement_keeper_options){
		.base = daemon->base, .sysroot = daemon->sysroot, .look = daemon->look, .pool = daemon->pool,
		.observe = config->observe, .is_busy = is_guest_busy, .user = daemon});
	daemon->audit = grow_audit_new(&(struct grow_audit_options){
		.base = daemon->base, .look = daemon->look, .repair = config->zone_repair,
		.block_timeout_ms = config->block_timeout_ms, .observe = config->observe, .is_busy = is_guest_busy, .user = daemon});
	if (!daemon->runner || !daemon->keeper || !daemon->audit || !daemon->learn || !daemon->keep_holds || !daemon->terminate || !daemon->interrupt || !daemon->look_timer ||
	    event_add(daemon->terminate, NULL) < 0 || event_add(daemon->interrupt, NULL) < 0)
		return failure_set(failure, ENOMEM, "ballastd", "cannot start");
	/* Without it a reboot goes unseen, and nothing else. */
	if (sysroot_read_text(daemon->sysroot, boot_id, sizeof(boot_id), "/proc/sys/kernel/random/boot_id") < 0)
		boot_id[0] = '\0';
	r = engine_new(&(struct engine_options){.base = daemon->base, .journal = daemon->journal,
						.executor = step_runner_executor(daemon->runner),
						.limits = &daemon->limits, .observe = config->observe, .now_ms = daemon_now_ms,
						.boot_id = boot_id, .changed = daemon_events_engine, .user = daemon},
		       &daemon->engine, failure);
	if (r < 0)
		return r;
	daemon->asks = guest_asks_new(&(struct guest_asks_options){.base = daemon->base,
								   .look = daemon->look,
								   .observe = config->observe,
								   .is_busy = is_guest_busy,
								   .submit = on_ask,
								   .user = daemon});
	daemon->onlining = online_keeper_new(&(struct online_keeper_options){.base = daemon->base,
									   .look = daemon->look,
									   .observe = config->observe,
									   .is_movable = config->online_movable,
									   .ratio_percent = config->online_ratio_percent,
									   .is_busy = is_guest_busy,
									   .user = daemon});
	daemon->hints = memory_hints_new(&(struct memory_hints_options){.engine = daemon->engine,
									.policy = &config->hints,
									.journal = daemon->journal,
									.boot_id = boot_id,
									.now_ms = daemon_now_ms,
									.changed = daemon_events_hint,
									.user = daemon});
	daemon->holds = hold_keeper_new(&(struct hold_keeper_options){.engine = daemon->engine,
								      .limits = &daemon->limits,
								      .moves = config->keep_empty,
								      .observe = config->observe,
								      .now_ms = steady_ms,
								      .survey = survey_newcomer,
								      .given_back = on_given_back,
								      .came = daemon_events_came,
								      .user = daemon});
	if (!daemon->hints || !daemon->holds || !daemon->asks || !daemon->onlining || start_assistant(daemon) < 0)
		return failure_set(failure, ENOMEM, "ballastd", "cannot start");
	r = memory_hints_load(daemon->hints, failure);
	if (r < 0)
		return r;
	for (size_t i = 0; worker_pool_stuck(daemon->pool, i); i++)
		if (daemon_take_stuck(daemon, worker_pool_stuck(daemon->pool, i)) < 0)
			return failure_set(failure, ENOMEM, "ballastd", "cannot start");
	/* From the first request on callers see what is unfinished and held; it goes on after the first look. */
	engine_wait(daemon->engine, true);
	r = engine_recover(daemon->engine, failure);
	if (r < 0)
		return r;
	daemon_backend_init(daemon);
	r = rest_server_new(&(struct rest_server_options){.base = daemon->base, .backend = &daemon->backend,
							  .listen_fd = listen_fd(), .socket_path = config->socket,
							  .socket_group = config->socket_group},
			    &daemon->rest, failure);
	if (r < 0)
		return r;
	if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
		struct timeval half = {.tv_sec = (time_t)(watchdog_us / 2 / 1000000),
				       .tv_usec = (suseconds_t)(watchdog_us / 2 % 1000000)};

		daemon->watchdog = event_new(daemon->base, -1, EV_PERSIST, on_watchdog, daemon);
		if (!daemon->watchdog || event_add(daemon->watchdog, &half) < 0)
			return failure_set(failure, ENOMEM, "ballastd", "cannot serve the watchdog");
	}
	daemon->looking = true;
	look_refresh(daemon->look, "", 0, on_looked_at_host, daemon);
	schedule_look(daemon);
	return 0;
}

static void stop(struct daemon *daemon)
{
	/*
	 * What answers goes before who is answered: agents that are given up answer the runner, and the runner the
	 * engine, which takes no turn any more.
	 */
	daemon->rest = rest_server_free(daemon->rest);
	worker_pool_free(daemon->pool);
	daemon->keeper = placement_keeper_free(daemon->keeper);
	daemon->assistant = size_assistant_free(daemon->assistant);
	daemon->audit = grow_audit_free(daemon->audit);
	daemon->asks = guest_asks_free(daemon->asks);
	daemon->onlining = online_keeper_free(daemon->onlining);
	look_free(daemon->look);
	step_runner_free(daemon->runner);
	daemon->engine = engine_free(daemon->engine);
	daemon->hints = memory_hints_free(daemon->hints);
	daemon->holds = hold_keeper_free(daemon->holds);
	daemon->rates = rate_keeper_free(daemon->rates);
	journal_close(daemon->journal);
	if (daemon->terminate)
		event_free(daemon->terminate);
	if (daemon->interrupt)
		event_free(daemon->interrupt);
	if (daemon->look_timer)
		event_free(daemon->look_timer);
	if (daemon->watchdog)
		event_free(daemon->watchdog);
	if (daemon->learn)
		event_free(daemon->learn);
	if (daemon->keep_holds)
		event_free(daemon->keep_holds);
	if (daemon->base)
		event_base_free(daemon->base);
	sysroot_free(daemon->sysroot);
	if (daemon->lock_fd >= 0)
		close(daemon->lock_fd);
}

int daemon_run(const struct config *config, struct failure *failure)
{
	struct daemon daemon = {.config = config, .lock_fd = -1};
	int r;

	config_limits(config, &daemon.limits);
	r = start(&daemon, failure);
	if (r == 0) {
		sd_notify(0, "READY=1");
		daemon_tell_status(&daemon);
		if (event_base_dispatch(daemon.base) < 0)
			r = failure_set(failure, EIO, "ballastd", "the loop failed");
	}
	stop(&daemon);
	return r;
}
