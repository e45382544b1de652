/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_rig.h"

#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "engine_priv.h"
#include "unit.h"

static enum journal_gate gate(void *user, unsigned long number)
{
	struct engine_rig *rig = user;
	unsigned long die_at = atomic_load(&rig->die_at), from = atomic_load(&rig->refuse_from);
	uint64_t one = 1;

	atomic_fetch_add(&rig->writes, 1);
	if (die_at && number == die_at) {
		atomic_store(&rig->died, true);
		assert(write(rig->died_fd, &one, sizeof(one)) == (ssize_t)sizeof(one));
		return (enum journal_gate)atomic_load(&rig->die_how);
	}
	if (from && number >= from && number <= atomic_load(&rig->refuse_to))
		return JOURNAL_GATE_REFUSE;
	return JOURNAL_GATE_PASS;
}

static void on_changed(void *user, enum engine_change change,
		       const struct operation_record *operation, const struct drain_record *drain)
{
	struct fake_world *world = user;
	struct engine_rig *rig =
		(struct engine_rig *)((char *)world - offsetof(struct engine_rig, world));

	if (change == ENGINE_CHANGE_OPERATION) {
		rig->changes++;
		return;
	}
	rig->drain_changes++;
	snprintf(rig->told_with, sizeof(rig->told_with), "%s", operation ? operation->id : "");
}

void engine_rig_init(struct engine_rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	fake_world_init(&rig->world);
#ifdef RIG_HAS_POOL
	/* It reaches into each of the DIMM's blocks. */
	rig->world.state.pool_bytes[2] = FAKE_BLOCK;
#endif
#ifdef RIG_HAS_HOOKS
	rig->world.has_hooks = true;
#endif
	rig->initial = rig->world.state;
	rig->boot_id = "boot-1";
	plan_limits_init(&rig->limits);
	rig->limits.reserve_bytes = 256 * FAKE_MIB;
#ifdef RIG_HAS_SLICES
	snprintf(rig->limits.slices, sizeof(rig->limits.slices), "machine.slice system.slice");
#endif
#ifdef RIG_DRAIN_MOVES
	rig->limits.drain_moves = RIG_DRAIN_MOVES;
#endif
	rig->base = event_base_new();
	rig->died_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/*
	 * A file system in memory where there is one: what is tested is the order of writes, not
	 * the disk.
	 */
	snprintf(rig->folder, sizeof(rig->folder), "%s/ballast-engine-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert(mkdtemp(rig->folder));
	snprintf(rig->path, sizeof(rig->path), "%s/journal.db", rig->folder);
}

void engine_rig_start(struct engine_rig *rig)
{
	struct failure failure = {0};
	struct engine_options options = {
		.base = rig->base,
		.executor = &rig->world.executor,
		.limits = &rig->limits,
		.observe = rig->observe,
		.now_ms = fake_world_now,
		.boot_id = rig->boot_id,
		.changed = on_changed,
		.user = &rig->world,
	};
	int r = journal_open(rig->path, &rig->journal, &failure);

	if (r < 0)
		fprintf(stderr, "%s %s %s\n", failure.object, failure.action, failure.cause);
	assert(r == 0);
	journal_set_gate(rig->journal, gate, rig);
	options.journal = rig->journal;
	r = engine_new(&options, &rig->engine, &failure);
	assert(r == 0);
	rig->world.engine = rig->engine;
	if (rig->world.stuck.used) {
		r = engine_stuck_add(rig->engine, FAKE_STUCK_PID, &rig->world.stuck.step, "worker 4711 does not come back");
		assert(r == 0);
	}
	engine_wait(rig->engine, rig->waits);
	r = engine_recover(rig->engine, &failure);
	if (r < 0)
		fprintf(stderr, "%s %s %s\n", failure.object, failure.action, failure.cause);
	assert(r == 0);
}

void engine_rig_begin(struct engine_rig *rig)
{
	engine_rig_init(rig);
	engine_rig_start(rig);
}

void engine_rig_kill(struct engine_rig *rig)
{
	uint64_t count;

	rig->deaths += atomic_load(&rig->died);
	rig->engine = engine_free(rig->engine);
	rig->world.engine = NULL;
	fake_world_crash(&rig->world);
	rig->journal = journal_close(rig->journal);
	atomic_store(&rig->die_at, 0);
	atomic_store(&rig->died, false);
	if (read(rig->died_fd, &count, sizeof(count)) < 0)
		count = 0;
}

void engine_rig_start_mortal(struct engine_rig *rig, enum journal_gate how, unsigned number)
{
	atomic_store(&rig->die_how, how);
	atomic_store(&rig->die_at, number);
	engine_rig_start(rig);
}

bool engine_rig_kill_but_stuck(struct engine_rig *rig)
{
	bool is_stuck = fake_world_stick(&rig->world);

	engine_rig_kill(rig);
	return is_stuck;
}

void engine_rig_unstick(struct engine_rig *rig, bool is_done)
{
	fake_world_unstick(&rig->world, is_done);
	engine_stuck_gone(rig->engine, FAKE_STUCK_PID);
}

bool engine_rig_start_again(struct engine_rig *rig, unsigned die_at, char ret_id[OPERATION_ID_SIZE])
{
	bool died = atomic_load(&rig->died);

	snprintf(ret_id, OPERATION_ID_SIZE, "%s", rig->answered ? rig->id : "");
	engine_rig_kill(rig);
	if (die_at) {
		atomic_store(&rig->die_at, die_at);
		engine_rig_start(rig);
		engine_rig_settle(rig, 0);
		engine_rig_kill(rig);
	}
	engine_rig_start(rig);
	return died;
}

unsigned engine_rig_die_at_every_write(engine_rig_death_fn *die, const void *scene, unsigned again)
{
	static const enum journal_gate ways[] = {JOURNAL_GATE_LOST, JOURNAL_GATE_UNANSWERED};
	unsigned deaths, fewest = UINT_MAX;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		for (deaths = 0; die(scene, ways[i], deaths + 1, again); deaths++)
			;
		fewest = deaths < fewest ? deaths : fewest;
	}
	return fewest;
}

void engine_rig_done(struct engine_rig *rig)
{
	char path[128];

	CHECK_TRUE(!rig->world.overlap && !rig->world.beside_stuck);
	if (rig->engine)
		engine_rig_kill(rig);
	fake_world_done(&rig->world);
	event_base_free(rig->base);
	close(rig->died_fd);
	unlink(rig->path);
	snprintf(path, sizeof(path), "%s-wal", rig->path);
	unlink(path);
	snprintf(path, sizeof(path), "%s-shm", rig->path);
	unlink(path);
	rmdir(rig->folder);
}

bool engine_rig_run(struct engine_rig *rig, unsigned until_tick)
{
	for (unsigned turn = 0; turn < 100000; turn++) {
		struct pollfd fds[2] = {{.fd = journal_fd(rig->journal), .events = POLLIN},
					{.fd = rig->died_fd, .events = POLLIN}};

		event_base_loop(rig->base, EVLOOP_NONBLOCK);
		if (atomic_load(&rig->died))
			return false;
		/* Nothing moves in the world while the disk works: so every run has the same order.
		 */
		if (journal_pending(rig->journal) > 0) {
			poll(fds, 2, 10000);
			continue;
		}
		if (until_tick && rig->world.ticks >= until_tick)
			return true;
		if (!fake_world_tick(&rig->world))
			return true;
	}
	assert(!"it does not come to an end");
}

bool engine_rig_settle(struct engine_rig *rig, unsigned until_tick)
{
	bool lives = engine_rig_run(rig, until_tick);

	for (unsigned n = 0; n < 600 && lives && (!until_tick || rig->world.ticks < until_tick); n++) {
		const struct operation_record *record = engine_rig_top(rig);

		if (!record || operation_state_is_final(record->state))
			break;
		engine_rig_advance(rig, 1000);
		lives = engine_rig_run(rig, until_tick);
	}
	return lives;
}

void engine_rig_advance(struct engine_rig *rig, uint64_t ms)
{
	rig->world.now_ms += ms;
	engine_tick(rig->engine);
}

static void on_answer(void *user, const struct engine_answer *answer)
{
	struct engine_rig *rig = user;

	assert(!rig->answered);
	rig->answered = true;
	rig->result = answer->result;
	snprintf(rig->id, sizeof(rig->id), "%s", answer->operation ? answer->operation->id : "");
	snprintf(rig->drain, sizeof(rig->drain), "%s", answer->drain ? answer->drain->id : "");
	snprintf(rig->code, sizeof(rig->code), "%s", answer->failure ? answer->failure->code : "");
	snprintf(rig->digest, sizeof(rig->digest), "%s", answer->plan ? answer->plan->digest : "");
	rig->plan_steps = answer->plan ? answer->plan->step_count : 0;
}

void engine_rig_submit_with(struct engine_rig *rig, const struct engine_submission *submission)
{
	rig->answered = false;
	engine_submit(rig->engine, submission, on_answer, rig);
	while (!rig->answered && !atomic_load(&rig->died)) {
		struct pollfd fds[2] = {{.fd = journal_fd(rig->journal), .events = POLLIN},
					{.fd = rig->died_fd, .events = POLLIN}};

		event_base_loop(rig->base, EVLOOP_NONBLOCK);
		if (rig->answered || atomic_load(&rig->died))
			break;
		if (journal_pending(rig->journal) > 0)
			poll(fds, 2, 10000);
		else if (!fake_world_tick(&rig->world))
			break;
	}
}

void engine_rig_submit(struct engine_rig *rig, const struct wish *wish)
{
	engine_rig_submit_with(rig, &(struct engine_submission){.wish = wish, .actor = "uid 0"});
}

const struct drain_record *engine_rig_drain_at(struct engine_rig *rig, size_t index)
{
	const struct drain_record *drains[8];
	size_t count = engine_drains(rig->engine, drains, ARRAY_SIZE(drains));

	return index < count ? drains[count - 1 - index] : NULL;
}

enum drain_state engine_rig_drain_state_at(struct engine_rig *rig, size_t index)
{
	const struct drain_record *drain = engine_rig_drain_at(rig, index);

	return drain ? drain->state : DRAIN_STATE_COUNT;
}

const struct operation_record *engine_rig_operation(struct engine_rig *rig, const char *id)
{
	const struct operation_record *record = engine_operation(rig->engine, id);

	if (!record)
		fprintf(stderr, "no operation %s\n", id);
	assert(record);
	return record;
}

bool engine_rig_has_hold(struct engine_rig *rig)
{
	const struct drain_record *drains[16];
	size_t count = engine_drains(rig->engine, drains, ARRAY_SIZE(drains));

	for (size_t i = 0; i < count; i++)
		if (drains[i]->hold.drain[0])
			return true;
	return false;
}

/* The one operation that nobody is the parent of; the newest where there are several. */
const struct operation_record *engine_rig_top(struct engine_rig *rig)
{
	const struct operation_record *records[64];
	size_t count = engine_operations(rig->engine, records, ARRAY_SIZE(records));

	for (size_t i = 0; i < count; i++)
		if (!records[i]->parent[0])
			return records[i];
	return NULL;
}

enum drain_state engine_rig_drain_state(struct engine_rig *rig)
{
	const struct drain_record *drain = NULL;

	return engine_drains(rig->engine, &drain, 1) ? drain->state : DRAIN_STATE_COUNT;
}

bool engine_rig_is_initial(const struct engine_rig *rig)
{
	return fake_state_is_equal(&rig->world.state, &rig->initial);
}

/*
 * What every ended operation must be: done as asked, or as if it had not been, or saying that it is
 * neither.
 */
void engine_rig_check_truthful(struct engine_rig *rig, bool ejected, const char *where,
			       unsigned number)
{
	const struct operation_record *record = engine_rig_top(rig);
	bool is_true = false;

	assert(record);
	if (record->state == OPERATION_STATE_SUCCEEDED)
		is_true = fake_world_is_drained(&rig->world, ejected) && engine_rig_has_hold(rig) &&
			  engine_rig_drain_state(rig) == DRAIN_STATE_HELD;
	else if (record->undone)
		is_true = engine_rig_is_initial(rig) && !engine_rig_has_hold(rig) &&
			  engine_rig_drain_state(rig) == DRAIN_STATE_STOPPED &&
			  (record->state == OPERATION_STATE_FAILED ||
			   record->state == OPERATION_STATE_CANCELLED);
	else
		/* Or nobody has told the host's hooks that it is over. */
		is_true = operation_state_is_final(record->state) &&
			  (!fake_world_is_drained(&rig->world, ejected) || rig->world.state.hooks_asked);
	if (!is_true)
		fprintf(stderr, "%s %u: %s%s, drain %s, hold %d, initial %d, drained %d\n", where,
			number, operation_state_name(record->state),
			record->undone ? " undone" : "",
			drain_state_name(engine_rig_drain_state(rig)), engine_rig_has_hold(rig),
			engine_rig_is_initial(rig), fake_world_is_drained(&rig->world, ejected));
	CHECK_TRUE(is_true);
	CHECK_TRUE(record->ended_at_ms > 0 && record->waiting_for[0] == '\0');
	if (record->state == OPERATION_STATE_FAILED)
		CHECK_TRUE(failure_is_set(&record->error));
}

void engine_rig_check_undrained(struct engine_rig *rig)
{
	char drain[OPERATION_ID_SIZE];
	const struct drain_record *record = NULL;

	CHECK_INT(engine_drains(rig->engine, &record, 1), 1);
	snprintf(drain, sizeof(drain), "%s", record->id);
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	snprintf(wish.drain, sizeof(wish.drain), "%s", drain);
	engine_rig_submit(rig, &wish);
	CHECK_INT(rig->result, ENGINE_SUBMIT_ACCEPTED);
	CHECK_INT(engine_rig_drain_state(rig), DRAIN_STATE_UNDRAINING);
	engine_rig_run(rig, 0);
	CHECK_INT(engine_rig_top(rig)->state, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(engine_rig_drain_state(rig), DRAIN_STATE_RELEASED);
	CHECK_TRUE(!engine_rig_has_hold(rig));
	CHECK_TRUE(engine_rig_is_initial(rig));
}

void engine_rig_check_given_back(struct engine_rig *rig)
{
	if (engine_rig_drain_state(rig) == DRAIN_STATE_HELD)
		engine_rig_check_undrained(rig);
	CHECK_INT(engine_rig_drain_state(rig), DRAIN_STATE_RELEASED);
	CHECK_TRUE(engine_rig_is_initial(rig) && !engine_rig_has_hold(rig));
}

struct wish engine_rig_drain_wish(enum drain_finish finish)
{
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_DRAIN);
	wish.drain_wish.target = DRAIN_TARGET_DIMM;
	snprintf(wish.drain_wish.dimm, sizeof(wish.drain_wish.dimm), "d1");
	wish.drain_wish.node = -1;
	wish.drain_wish.finish = finish;
	wish.allow = UINT32_MAX >> (32 - CONSENT_COUNT);
	return wish;
}

static const char *const uuids[] = {"11111111-1111-1111-1111-111111111111",
				    "22222222-2222-2222-2222-222222222222"};

struct wish engine_rig_resize_wish(int guest, uint64_t target_bytes)
{
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_RESIZE);
	snprintf(wish.guest, sizeof(wish.guest), "%s", uuids[guest]);
	wish.resize.target_bytes = target_bytes;
	return wish;
}

struct wish engine_rig_move_wish(int guest, int node)
{
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_MOVE);
	snprintf(wish.guest, sizeof(wish.guest), "%s", uuids[guest]);
	wish.move.form = MOVE_FORM_TO;
	wish.move.to_nodes = UINT64_C(1) << node;
	return wish;
}
