/* SPDX-License-Identifier: Apache-2.0 */
#include "hold_keeper.h"

#include <stdio.h>
#include <string.h>
#include "engine_rig.h"
#include "unit.h"

/* A drain that has emptied node 2, which is the DIMM d1, on a real engine with the real planners; and what comes there. */

#define PAUSE_MS 20000
#define G1	 "11111111-1111-1111-1111-111111111111"

static struct engine_rig rig;
static struct hold_keeper *keeper;
static struct {
	unsigned surveys, came, pools, failures;
	bool has_surplus;
	char object[96];
	bool is_locked, is_counted; /* g1 */
} told;

static void on_survey(void *user, const char *guest)
{
	CHECK_STR(guest, G1);
	told.surveys++;
}

static void on_given_back(void *user, const struct failure *failure)
{
	told.pools++;
	told.failures += failure != NULL;
}

static void on_came(void *user, const struct drain_record *drain, const struct remainder *what)
{
	CHECK_TRUE(drain->hold.drain[0] != '\0');
	told.came++;
	snprintf(told.object, sizeof(told.object), "%s", what->object);
}

static void start_keeper(bool moves, bool observe)
{
	keeper = hold_keeper_new(&(struct hold_keeper_options){.engine = rig.engine,
							       .limits = &rig.limits,
							       .moves = moves,
							       .observe = observe,
							       .pause_ms = PAUSE_MS,
							       .now_ms = fake_world_now,
							       .survey = on_survey,
							       .given_back = on_given_back,
							       .came = on_came,
							       .user = &rig.world});
}

static void begin_with(const char *slices, enum drain_finish finish, uint32_t allow, bool moves, bool observe)
{
	struct wish wish = engine_rig_drain_wish(finish);

	memset(&told, 0, sizeof(told));
	told.is_counted = true;
	wish.allow = allow;
	engine_rig_begin(&rig);
	snprintf(rig.limits.slices, sizeof(rig.limits.slices), "%s", slices);
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_HELD);
	start_keeper(moves, observe);
}

static void begin(enum drain_finish finish, uint32_t allow, bool moves, bool observe)
{
	begin_with("", finish, allow, moves, observe);
}

static void end(void)
{
	engine_rig_done(&rig);
	keeper = hold_keeper_free(keeper);
}

static const struct drain_record *drain(void)
{
	const struct drain_record *record = NULL;

	CHECK_INT(engine_drains(rig.engine, &record, 1), 1);
	return record;
}

/* What is there now, told to the keeper; what it begins runs to its end. */
static void see(void)
{
	CLEANUP(snapshot_freep) struct snapshot *seen = snapshot_copy(fake_world_see(&rig.world));

	for (size_t i = 0; i < seen->guest_count; i++)
		seen->guests[i].counted = true;
	seen->guests[0].counted = told.is_counted;
	seen->guests[0].locked = told.is_locked;
	snapshot_node(seen, 2)->pools[0].surplus = told.has_surplus;
	hold_keeper_see(keeper, seen);
}

static void see_and_run(void)
{
	see();
	engine_rig_run(&rig, 0);
}

static void come(uint64_t mib)
{
	struct fake_guest *guest = &rig.world.state.guests[0];
	int from = guest->node_bytes[0] ? 0 : 1;

	guest->node_bytes[from] -= mib * FAKE_MIB;
	guest->node_bytes[2] += mib * FAKE_MIB;
}

static void check_newcomer(const char *detail)
{
	const struct remainder_list *list = &drain()->newcomers;

	CHECK_INT(list->count, 1);
	CHECK_STR(list->items[0].object, "guest g1");
	if (detail)
		CHECK_STR(list->items[0].detail, detail);
}

static unsigned moves(void)
{
	const struct operation_record *records[64];
	size_t count = engine_operations(rig.engine, records, ARRAY_SIZE(records));
	unsigned found = 0;

	for (size_t i = 0; i < count; i++)
		found += !records[i]->parent[0] && records[i]->wish.kind == OPERATION_KIND_MOVE;
	return found;
}

#define ALL (UINT32_MAX >> (32 - CONSENT_COUNT))

static void test_moved_away(void)
{
	begin(DRAIN_FINISH_EMPTY, ALL, true, false);
	see_and_run();
	CHECK_INT(drain()->newcomers.count + told.came + told.surveys, 0);
	come(64);
	see();
	check_newcomer("it is moved away");
	CHECK_INT(drain()->newcomers.items[0].bytes, 64 * FAKE_MIB);
	CHECK_INT(told.came, 1);
	CHECK_STR(told.object, "guest g1");
	engine_rig_run(&rig, 0);
	CHECK_INT(moves(), 1);
	CHECK_STR(engine_rig_top(&rig)->actor, OPERATION_ACTOR_HOLD);
	CHECK_STR(engine_rig_top(&rig)->wish.drain, drain()->id);
	CHECK_INT(engine_rig_top(&rig)->state, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(rig.world.state.guests[0].node_bytes[2], 0);
	see_and_run();
	CHECK_INT(drain()->newcomers.count, 0);
	CHECK_INT(drain()->state, DRAIN_STATE_HELD);
	end();
}

/* One that keeps coming is not carried round and round. */
static void test_pauses(void)
{
	begin(DRAIN_FINISH_EMPTY, ALL, true, false);
	for (unsigned turn = 0; turn < 3; turn++) {
		uint64_t pause = turn ? (uint64_t)PAUSE_MS << (turn - 1) : 0;

		come(64);
		see_and_run();
		if (turn) {
			CHECK_INT(moves(), turn);
			check_newcomer("a move of it has begun a while ago; the next one does after a pause");
			engine_rig_advance(&rig, pause - PAUSE_MS / 2);
			see_and_run();
			CHECK_INT(moves(), turn);
			engine_rig_advance(&rig, PAUSE_MS / 2);
			see_and_run();
		}
		CHECK_INT(moves(), turn + 1);
		CHECK_INT(rig.world.state.guests[0].node_bytes[2], 0);
		see_and_run();
	}
	/* It has stayed away for long. */
	engine_rig_advance(&rig, 100 * PAUSE_MS);
	see_and_run();
	come(64);
	see_and_run();
	CHECK_INT(moves(), 4);
	come(64);
	engine_rig_advance(&rig, PAUSE_MS);
	see_and_run();
	CHECK_INT(moves(), 5);
	end();
}

static void test_only_told(void)
{
	for (int observe = 0; observe < 2; observe++) {
		unsigned changes;

		begin(DRAIN_FINISH_EMPTY, ALL, observe, observe);
		come(64);
		see_and_run();
		check_newcomer(observe ? "this ballastd only observes" : "it came when the memory had been emptied");
		CHECK_TRUE(drain()->newcomers.items[0].way_out[0] != '\0');
		changes = rig.drain_changes;
		see_and_run();
		CHECK_INT(rig.drain_changes, changes);
		CHECK_INT(told.came, 1);
		CHECK_INT(moves(), 0);
		come(64);
		see_and_run();
		CHECK_INT(rig.drain_changes, changes + 1);
		CHECK_INT(told.came, 1);
		end();
	}
}

/* Nobody has agreed to it for the drain, so nobody has for what keeps it. */
static void test_without_its_consent(void)
{
	begin(DRAIN_FINISH_EMPTY, 0, true, false);
	come(64);
	told.is_locked = true;
	see_and_run();
	check_newcomer(NULL);
	CHECK_INT(drain()->newcomers.items[0].consent, CONSENT_LOCKED_GUESTS);
	CHECK_INT(moves(), 0);
	told.is_locked = false;
	see_and_run();
	CHECK_INT(moves(), 1);
	end();
}

static void test_busy(void)
{
	struct wish wish;
	char text[192];

	begin(DRAIN_FINISH_EMPTY, ALL, true, false);
	come(64);
	wish = engine_rig_resize_wish(0, rig.world.state.guests[0].current_bytes / 2);
	engine_rig_submit(&rig, &wish);
	told.is_counted = false;
	see();
	snprintf(text, sizeof(text), "operation %s works on it", rig.id);
	check_newcomer(text);
	CHECK_INT(told.surveys, 0);
	CHECK_INT(moves(), 0);
	engine_rig_run(&rig, 0);
	told.is_counted = true;
	see_and_run();
	CHECK_INT(moves(), 1);
	end();
}

/* What begins no move says why, and it is tried again. */
static void test_refused(void)
{
	begin(DRAIN_FINISH_EMPTY, ALL, true, false);
	come(64);
	rig.world.fail_look = rig.world.looks + 1;
	see_and_run();
	CHECK_INT(moves(), 0);
	see();
	CHECK_TRUE(strstr(drain()->newcomers.items[0].detail, "it is tried again after a pause: ") != NULL);
	CHECK_INT(moves(), 0);
	engine_rig_advance(&rig, PAUSE_MS);
	see_and_run();
	CHECK_INT(moves(), 1);
	CHECK_INT(rig.world.state.guests[0].node_bytes[2], 0);
	end();
}

static void test_surveys(void)
{
	begin(DRAIN_FINISH_EMPTY, ALL, true, false);
	told.is_counted = false;
	see_and_run();
	see_and_run();
	CHECK_INT(told.surveys, 1);
	engine_rig_advance(&rig, 299000);
	see_and_run();
	CHECK_INT(told.surveys, 1);
	engine_rig_advance(&rig, 1000);
	see_and_run();
	CHECK_INT(told.surveys, 2);
	end();
}

static void check_pool(uint64_t mib, const char *detail)
{
	const struct remainder_list *list = &drain()->newcomers;

	CHECK_INT(list->count, 1);
	CHECK_INT(list->items[0].code, REMAINDER_HUGE_PAGE_POOL);
	CHECK_STR(list->items[0].object, "node 2, pool of 2 MiB pages");
	CHECK_INT(list->items[0].bytes, mib * FAKE_MIB);
	CHECK_STR(list->items[0].detail, detail);
}

static uint64_t *pool(void)
{
	return &rig.world.state.pool_bytes[2];
}

static void test_pools(void)
{
	struct wish wish;

	begin(DRAIN_FINISH_EMPTY, ALL, true, false);
	*pool() = 64 * FAKE_MIB;
	see_and_run();
	/* What there was before belongs there. */
	CHECK_INT(drain()->newcomers.count, 0);
	*pool() = 96 * FAKE_MIB;
	rig.world.state.pool_bytes[1] += 32 * FAKE_MIB;
	told.has_surplus = true;
	see_and_run();
	check_pool(32, "it has grown there since the memory was emptied, and some of its pages are surplus");
	told.has_surplus = false;
	wish = engine_rig_resize_wish(0, rig.world.state.guests[0].current_bytes / 2);
	engine_rig_submit(&rig, &wish);
	see();
	check_pool(32, "what is free is given back when no operation is at work");
	engine_rig_run(&rig, 0);
	CHECK_INT(*pool(), 96 * FAKE_MIB);
	see_and_run();
	check_pool(32, "what is free is given back");
	CHECK_INT(*pool(), 64 * FAKE_MIB);
	CHECK_INT(told.came, 1);
	CHECK_INT(told.pools, 1);
	*pool() = 96 * FAKE_MIB;
	see_and_run();
	check_pool(32, "what was free has been given back a while ago, and is once more after a pause");
	CHECK_INT(*pool(), 96 * FAKE_MIB);
	engine_rig_advance(&rig, PAUSE_MS);
	see_and_run();
	check_pool(32, "what is free is given back");
	CHECK_INT(*pool(), 64 * FAKE_MIB);
	CHECK_INT(told.pools, 2);
	/* Less than there was: so much belongs there from then on. */
	*pool() = 0;
	engine_rig_advance(&rig, 10 * PAUSE_MS);
	see_and_run();
	CHECK_INT(drain()->newcomers.count, 0);
	*pool() = 64 * FAKE_MIB;
	see_and_run();
	check_pool(64, "what is free is given back");
	CHECK_INT(*pool(), 0);
	CHECK_INT(told.pools, 3);
	CHECK_INT(told.failures, 0);
	end();
}

/* One that could not be made smaller says so, and is tried again. */
static void test_pools_that_fail(void)
{
	begin(DRAIN_FINISH_EMPTY, ALL, true, false);
	see_and_run();
	*pool() = 64 * FAKE_MIB;
	rig.world.fail_prepare = rig.world.prepares + 1;
	see_and_run();
	rig.world.fail_kind = STEP_KIND_HOST_POOL;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	engine_rig_advance(&rig, PAUSE_MS);
	see_and_run();
	CHECK_INT(*pool(), 64 * FAKE_MIB);
	CHECK_INT(told.pools, 2);
	CHECK_INT(told.failures, 2);
	rig.world.fail_kind = STEP_KIND_COUNT;
	engine_rig_advance(&rig, 2 * PAUSE_MS);
	see_and_run();
	CHECK_INT(*pool(), 0);
	CHECK_INT(told.failures, 2);
	end();
}

/* Who only keeps others away has them kept away. */
static void test_cordoned_pools(void)
{
	begin(DRAIN_FINISH_CORDON, ALL, false, false);
	see_and_run();
	CHECK_INT(drain()->newcomers.count, 0);
	rig.world.state.pool_bytes[2] += 32 * FAKE_MIB;
	see_and_run();
	CHECK_INT(drain()->newcomers.count, 1);
	CHECK_INT(drain()->newcomers.items[0].code, REMAINDER_HUGE_PAGE_POOL);
	CHECK_INT(drain()->newcomers.items[0].bytes, 32 * FAKE_MIB);
	end();
}

static void test_pools_that_are_only_told(void)
{
	begin(DRAIN_FINISH_EMPTY, ALL, false, false);
	see();
	*pool() += 32 * FAKE_MIB;
	see_and_run();
	check_pool(32, "it has grown there since the memory was emptied");
	CHECK_INT(*pool(), 32 * FAKE_MIB);
	end();
}

static void test_when_it_ends(void)
{
	struct wish wish;

	begin(DRAIN_FINISH_EMPTY, ALL, false, false);
	come(64);
	see_and_run();
	check_newcomer(NULL);
	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	snprintf(wish.drain, sizeof(wish.drain), "%s", drain()->id);
	engine_rig_submit(&rig, &wish);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_UNDRAINING);
	CHECK_INT(drain()->newcomers.count, 0);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_RELEASED);
	CHECK_INT(drain()->newcomers.count, 0);
	see_and_run();
	CHECK_INT(drain()->newcomers.count + moves(), 0);
	end();
}

/* Offline nobody can come; a reboot brings the memory online again, and guests with it. */
static void test_after_a_reboot(void)
{
	begin(DRAIN_FINISH_OFFLINE, ALL, true, false);
	see_and_run();
	CHECK_INT(drain()->newcomers.count, 0);
	engine_rig_kill(&rig);
	keeper = hold_keeper_free(keeper);
	rig.boot_id = "boot-2";
	for (size_t i = 32; i < FAKE_BLOCKS; i++)
		rig.world.state.online[i] = true;
	engine_rig_start(&rig);
	engine_rig_run(&rig, 0);
	start_keeper(false, false);
	engine_see(rig.engine, fake_world_see(&rig.world));
	CHECK_INT(drain()->state, DRAIN_STATE_ATTENTION);
	see_and_run();
	CHECK_INT(drain()->newcomers.count, 0);
	keeper = hold_keeper_free(keeper);
	start_keeper(true, false);
	come(64);
	see_and_run();
	CHECK_INT(told.came, 1);
	CHECK_INT(moves(), 1);
	CHECK_INT(rig.world.state.guests[0].node_bytes[2], 0);
	end();
}

/* Memory that stayed online is as empty as it was; but whatever the slices had lost they have back. */
static void test_slices_after_a_reboot(void)
{
	begin_with("machine.slice", DRAIN_FINISH_EMPTY, ALL, true, false);
	CHECK_INT(rig.world.state.slices_lack, 1 << 2);
	see_and_run();
	CHECK_INT(drain()->newcomers.count, 0);
	for (int is_other = 0; is_other < 2; is_other++) {
		engine_rig_kill(&rig);
		keeper = hold_keeper_free(keeper);
		rig.boot_id = is_other ? "boot-2" : "boot-1";
		engine_rig_start(&rig);
		engine_rig_run(&rig, 0);
		start_keeper(true, false);
		see_and_run();
		CHECK_INT(drain()->newcomers.count, (size_t)is_other);
	}
	CHECK_INT(drain()->newcomers.items[0].code, REMAINDER_SLICE_CPUSET);
	CHECK_STR(drain()->newcomers.items[0].object, "slices of the host");
	CHECK_INT(drain()->state, DRAIN_STATE_HELD);
	CHECK_INT(moves() + told.came, 0);
	engine_rig_check_undrained(&rig);
	see_and_run();
	CHECK_INT(drain()->newcomers.count, 0);
	end();
}

/* ---- slices that could not lose the node ---- */

static void begin_with_slices_left(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EMPTY);

	memset(&told, 0, sizeof(told));
	told.is_counted = true;
	engine_rig_begin(&rig);
	snprintf(rig.limits.slices, sizeof(rig.limits.slices), "machine.slice system.slice");
	rig.world.keeps_slices = true;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_HELD);
	CHECK_INT(rig.world.state.slices_lack, 0);
}

static void check_slices(const char *detail)
{
	const struct remainder_list *list = &drain()->newcomers;

	CHECK_INT(list->count, detail ? 1 : 0);
	if (!detail)
		return;
	CHECK_INT(list->items[0].code, REMAINDER_SLICE_CPUSET);
	CHECK_INT(list->items[0].bytes, 0);
	CHECK_STR(list->items[0].detail, detail);
}

/* Rarely, and nothing is written down before something can be done. */
static void test_slices_later(void)
{
	static const uint64_t pauses[] = {1, 1, 2, 4};
	unsigned long writes;
	unsigned prepares;

	begin_with_slices_left();
	start_keeper(true, false);
	writes = atomic_load(&rig.writes);
	prepares = rig.world.prepares;
	see_and_run();
	see_and_run();
	check_slices("some could not be kept from it, and are tried again");
	CHECK_INT(rig.world.prepares, prepares);
	for (size_t i = 0; i < ARRAY_SIZE(pauses); i++) {
		engine_rig_advance(&rig, pauses[i] * PAUSE_MS - 1000);
		see_and_run();
		CHECK_INT(rig.world.prepares, prepares);
		engine_rig_advance(&rig, 1000);
		see_and_run();
		CHECK_INT(rig.world.prepares, ++prepares);
		see_and_run();
		check_slices("some could not be kept from it, and are tried again: slice system.slice: too much is there");
	}
	CHECK_INT(atomic_load(&rig.writes), writes);
	CHECK_INT(told.came, 0);
	rig.world.keeps_slices = false;
	engine_rig_advance(&rig, 100 * PAUSE_MS);
	see_and_run();
	CHECK_INT(rig.world.state.slices_lack, 1 << 2);
	see_and_run();
	check_slices(NULL);
	prepares = rig.world.prepares;
	engine_rig_advance(&rig, 100 * PAUSE_MS);
	see_and_run();
	CHECK_INT(rig.world.prepares, prepares);
	engine_rig_check_undrained(&rig);
	end();
}

/* Whoever looks after it then finds what was left in the journal. */
static void test_slices_after_a_restart(void)
{
	for (int is_taken = 0; is_taken < 2; is_taken++) {
		begin_with_slices_left();
		start_keeper(true, false);
		rig.world.keeps_slices = !is_taken;
		see_and_run();
		engine_rig_advance(&rig, PAUSE_MS);
		see_and_run();
		engine_rig_kill(&rig);
		keeper = hold_keeper_free(keeper);
		engine_rig_start(&rig);
		engine_rig_run(&rig, 0);
		start_keeper(true, false);
		see_and_run();
		check_slices(is_taken ? NULL : "some could not be kept from it, and are tried again");
		rig.world.keeps_slices = false;
		engine_rig_advance(&rig, PAUSE_MS);
		see_and_run();
		CHECK_INT(rig.world.state.slices_lack, 1 << 2);
		engine_rig_check_undrained(&rig);
		end();
	}
}

static void test_slices_only_told(void)
{
	for (int observe = 0; observe < 2; observe++) {
		begin_with_slices_left();
		rig.world.keeps_slices = false;
		start_keeper(observe, observe);
		for (int i = 0; i < 3; i++) {
			see_and_run();
			check_slices("some could not be kept from it");
			engine_rig_advance(&rig, PAUSE_MS);
		}
		CHECK_INT(rig.world.state.slices_lack, 0);
		end();
	}
}

/* A step that does not work in the end is told, tried again, and stands in one place. */
static void test_slices_that_fail(void)
{
	size_t steps;

	begin_with_slices_left();
	rig.world.keeps_slices = false;
	rig.world.fail_kind = STEP_KIND_SLICE_CPUSETS;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	start_keeper(true, false);
	see_and_run();
	steps = engine_rig_operation(&rig, drain()->operation)->step_count;
	for (int i = 0; i < 3; i++) {
		engine_rig_advance(&rig, 100 * PAUSE_MS);
		see_and_run();
		see_and_run();
		check_slices("some could not be kept from it, and are tried again: told to fail");
		CHECK_INT(engine_rig_operation(&rig, drain()->operation)->step_count, steps + 1);
	}
	rig.world.fail_kind = STEP_KIND_COUNT;
	engine_rig_check_undrained(&rig);
	end();
}

static bool kill_with_slices(const void *scene, enum journal_gate how, unsigned number, unsigned again)
{
	char id[OPERATION_ID_SIZE];
	struct wish wish;
	bool died;

	begin_with_slices_left();
	start_keeper(true, false);
	see_and_run();
	rig.world.keeps_slices = false;
	engine_rig_advance(&rig, PAUSE_MS);
	atomic_store(&rig.die_how, how);
	atomic_store(&rig.die_at, atomic_load(&rig.writes) + number);
	see_and_run();
	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	snprintf(wish.drain, sizeof(wish.drain), "%s", drain()->id);
	if (!atomic_load(&rig.died)) {
		CHECK_INT(rig.world.state.slices_lack, 1 << 2);
		engine_rig_submit(&rig, &wish);
		if (!atomic_load(&rig.died))
			engine_rig_run(&rig, 0);
	}
	died = engine_rig_start_again(&rig, again, id);
	keeper = hold_keeper_free(keeper);
	engine_rig_run(&rig, 0);
	engine_rig_check_given_back(&rig);
	engine_rig_done(&rig);
	return died;
}

static void test_slices_killed_at_every_write(void)
{
	for (unsigned again = 0; again < 3; again += 2)
		CHECK_TRUE(engine_rig_die_at_every_write(kill_with_slices, NULL, again) >= 10);
}

/* ---- undrained ---- */

/* The second guest has nothing there when the memory is emptied, and the hold's keeper looks. */
static void begin_without_g2(bool moves)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_EMPTY);
	struct fake_guest *guest;

	memset(&told, 0, sizeof(told));
	told.is_counted = true;
	engine_rig_begin(&rig);
	guest = &rig.world.state.guests[1];
	guest->node_bytes[1] += guest->node_bytes[2];
	guest->node_bytes[2] = 0;
	rig.initial = rig.world.state;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_HELD);
	start_keeper(moves, false);
	see_and_run();
}

/* Bound to that memory, with all that it has; so it is to be again when all is undone. */
static void come_bound(int index)
{
	struct fake_guest *guest = &rig.world.state.guests[index];

	for (int node = 0; node < 2; node++) {
		guest->node_bytes[2] += guest->node_bytes[node];
		guest->node_bytes[node] = 0;
	}
	guest->policy_mode = POLICY_MODE_BIND;
	guest->policy_nodes = guest->numatune_nodes = 1u << 2;
	rig.initial.guests[index] = *guest;
}

static size_t kept_steps(void)
{
	const struct operation_record *record = engine_rig_operation(&rig, drain()->operation);
	size_t count = 0;

	for (size_t i = 0; i < record->step_count; i++)
		count += step_is_of_newcomer(&record->steps[i].step);
	return count;
}

static void test_brought_home(void)
{
	const struct fake_guest *guest = &rig.world.state.guests[1];

	for (int is_restarted = 0; is_restarted < 2; is_restarted++) {
		begin_without_g2(true);
		come_bound(1);
		see_and_run();
		CHECK_INT(moves(), 1);
		CHECK_INT(guest->node_bytes[2], 0);
		CHECK_TRUE(!(guest->policy_nodes >> 2 & 1));
		CHECK_INT(kept_steps(), 1);
		if (is_restarted) {
			engine_rig_kill(&rig);
			keeper = hold_keeper_free(keeper);
			engine_rig_start(&rig);
			engine_rig_run(&rig, 0);
			CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_HELD);
		}
		engine_rig_check_undrained(&rig);
		end();
	}
}

/* Both have come, one that the drain has moved before it. */
static void test_both_brought_home(void)
{
	begin_without_g2(true);
	rig.initial.guests[0] = rig.world.state.guests[0];
	come_bound(0);
	come_bound(1);
	see_and_run();
	CHECK_INT(moves(), 2);
	CHECK_INT(kept_steps(), 2);
	/* What the drain itself has moved goes back to what the drain found, after what came later. */
	rig.initial.guests[0].cpuset_mems = 7;
	rig.initial.guests[0].stored_nodes = 1u << 2;
	engine_rig_check_undrained(&rig);
	end();
}

/* What has not begun, or was put back, has left nothing to be undone. */
static void test_a_move_that_fails(void)
{
	const struct operation_record *record;

	begin_without_g2(true);
	come_bound(1);
	rig.world.fail_kind = STEP_KIND_MOVE_PAGES;
	rig.world.fail_kind_state = STEP_STATE_FAILED;
	see_and_run();
	CHECK_INT(moves(), 1);
	CHECK_TRUE(engine_rig_top(&rig)->undone);
	CHECK_INT(kept_steps(), 1);
	record = engine_rig_operation(&rig, drain()->operation);
	CHECK_INT(record->steps[record->step_count - 1].state, STEP_STATE_FAILED);
	rig.world.fail_kind = STEP_KIND_COUNT;
	/* The next try takes its place. */
	engine_rig_advance(&rig, PAUSE_MS);
	see_and_run();
	CHECK_INT(moves(), 2);
	CHECK_INT(kept_steps(), 1);
	engine_rig_check_undrained(&rig);
	end();
}

/* A guest that keeps coming leaves a few steps, and is at home again in the end. */
static void test_steps_are_few(void)
{
	begin_without_g2(true);
	for (unsigned turn = 0; turn < 10; turn++) {
		come_bound(1);
		see_and_run();
		CHECK_INT(moves(), turn + 1);
		CHECK_TRUE(kept_steps() <= 4);
		engine_rig_advance(&rig, 100 * PAUSE_MS);
		see_and_run();
	}
	CHECK_INT(kept_steps(), 4);
	engine_rig_kill(&rig);
	keeper = hold_keeper_free(keeper);
	engine_rig_start(&rig);
	engine_rig_run(&rig, 0);
	CHECK_INT(kept_steps(), 4);
	engine_rig_check_undrained(&rig);
	end();
}

/* A move that is under way is not waited for to its end: it puts back what it has moved. */
static void test_undrained_in_a_move(void)
{
	const struct operation_record *record;
	struct wish wish;

	for (int is_killed = 0; is_killed < 2; is_killed++) {
		begin_without_g2(true);
		come_bound(1);
		rig.world.hang_kind = STEP_KIND_MOVE_PAGES;
		see_and_run();
		CHECK_INT(moves(), 1);
		wish_init(&wish, OPERATION_KIND_UNDRAIN);
		snprintf(wish.drain, sizeof(wish.drain), "%s", drain()->id);
		engine_rig_submit(&rig, &wish);
		CHECK_INT(rig.result, ENGINE_SUBMIT_ACCEPTED);
		if (is_killed) {
			engine_rig_kill(&rig);
			keeper = hold_keeper_free(keeper);
			engine_rig_start(&rig);
		}
		engine_rig_run(&rig, 0);
		record = engine_rig_operation(&rig, rig.id);
		CHECK_INT(record->state, OPERATION_STATE_SUCCEEDED);
		CHECK_STR(record->waiting_for, "");
		CHECK_TRUE(engine_rig_is_initial(&rig) && !engine_rig_has_hold(&rig));
		CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_RELEASED);
		if (!is_killed)
			see_and_run();
		CHECK_INT(moves(), 1);
		end();
	}
}

/* It came to memory that a reboot had brought online, and that somebody has taken offline again since. */
static void test_brought_home_to_blocks_that_are_back(void)
{
	const struct operation_record *record, *undrain;
	struct wish wish;

	begin(DRAIN_FINISH_OFFLINE, ALL, true, false);
	engine_rig_kill(&rig);
	keeper = hold_keeper_free(keeper);
	rig.boot_id = "boot-2";
	for (size_t i = 32; i < FAKE_BLOCKS; i++)
		rig.world.state.online[i] = true;
	engine_rig_start(&rig);
	engine_rig_run(&rig, 0);
	start_keeper(true, false);
	engine_see(rig.engine, fake_world_see(&rig.world));
	come(64);
	see_and_run();
	CHECK_INT(moves(), 1);
	for (size_t i = 32; i < FAKE_BLOCKS; i++)
		rig.world.state.online[i] = false;
	engine_see(rig.engine, fake_world_see(&rig.world));
	CHECK_INT(drain()->state, DRAIN_STATE_HELD);
	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	snprintf(wish.drain, sizeof(wish.drain), "%s", drain()->id);
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	undrain = engine_rig_operation(&rig, rig.id);
	record = engine_rig_operation(&rig, drain()->operation);
	CHECK_INT(undrain->state, OPERATION_STATE_SUCCEEDED);
	CHECK_TRUE(undrain->step_count > 2);
	CHECK_INT(record->steps[undrain->steps[0].step.undo_n - 1].step.kind, STEP_KIND_OFFLINE_BLOCKS);
	CHECK_TRUE(step_is_of_newcomer(&record->steps[undrain->steps[1].step.undo_n - 1].step));
	CHECK_TRUE(engine_rig_is_initial(&rig));
	end();
}

/* Another holds the same memory: with that hold the last of it goes back. */
static void test_the_last_hold_brings_home(void)
{
	struct wish wish = engine_rig_drain_wish(DRAIN_FINISH_CORDON);
	const struct drain_record *drains[2] = {0};
	char ids[2][OPERATION_ID_SIZE];

	begin_without_g2(true);
	wish.drain_wish.target = DRAIN_TARGET_NODE;
	wish.drain_wish.dimm[0] = '\0';
	wish.drain_wish.node = 2;
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	come_bound(1);
	see_and_run();
	CHECK_INT(moves(), 1);
	CHECK_INT(engine_drains(rig.engine, drains, 2), 2);
	/* The older first. */
	for (size_t i = 0; i < 2; i++)
		memcpy(ids[i], drains[1 - i]->id, sizeof(ids[i]));
	for (size_t i = 0; i < 2; i++) {
		wish_init(&wish, OPERATION_KIND_UNDRAIN);
		memcpy(wish.drain, ids[i], sizeof(wish.drain));
		engine_rig_submit(&rig, &wish);
		engine_rig_run(&rig, 0);
		CHECK_INT(engine_drain(rig.engine, ids[i])->state, i ? DRAIN_STATE_RELEASED : DRAIN_STATE_DEFERRED);
		CHECK_INT(engine_rig_is_initial(&rig), (int)i);
	}
	CHECK_INT(engine_drain(rig.engine, ids[0])->state, DRAIN_STATE_RELEASED);
	end();
}

/* What somebody has made there since has its pages again. The last size is what was wanted. */
static void test_pool_given_back(void)
{
	for (int is_restarted = 0; is_restarted < 2; is_restarted++) {
		begin_without_g2(true);
		for (uint64_t mib = 64; mib; mib -= 32) {
			*pool() = mib * FAKE_MIB;
			see_and_run();
			CHECK_INT(*pool(), 0);
			engine_rig_advance(&rig, 100 * PAUSE_MS);
			see_and_run();
		}
		CHECK_INT(kept_steps(), 1);
		if (is_restarted) {
			engine_rig_kill(&rig);
			keeper = hold_keeper_free(keeper);
			engine_rig_start(&rig);
			engine_rig_run(&rig, 0);
		}
		rig.initial.pool_bytes[2] = 32 * FAKE_MIB;
		engine_rig_check_undrained(&rig);
		end();
	}
}

/* What the journal refuses is not begun, and leaves the numbers of what follows unique. */
static void test_refused_by_the_journal(void)
{
	for (int is_move = 0; is_move < 2; is_move++) {
		begin_without_g2(true);
		if (is_move)
			come_bound(1);
		else
			*pool() = 64 * FAKE_MIB;
		atomic_store(&rig.refuse_to, atomic_load(&rig.writes) + 2);
		atomic_store(&rig.refuse_from, atomic_load(&rig.writes) + 1);
		see_and_run();
		atomic_store(&rig.refuse_from, 0);
		CHECK_INT(moves(), 0);
		CHECK_INT(*pool(), is_move ? 0 : 64 * FAKE_MIB);
		CHECK_INT(told.failures, !is_move);
		if (!is_move)
			*pool() = 0;
		for (unsigned turn = 0; turn < 2; turn++) {
			engine_rig_advance(&rig, 100 * PAUSE_MS);
			come_bound(1);
			see_and_run();
			CHECK_INT(moves(), turn + 1);
			see_and_run();
			engine_rig_kill(&rig);
			keeper = hold_keeper_free(keeper);
			engine_rig_start(&rig);
			engine_rig_run(&rig, 0);
			start_keeper(true, false);
		}
		CHECK_INT(kept_steps(), 2);
		engine_rig_check_undrained(&rig);
		end();
	}
}

/* Its undrain waits until it is known what is to be put back. */
static void test_undrained_while_a_pool_shrinks(void)
{
	struct wish wish;

	begin_without_g2(true);
	*pool() = 64 * FAKE_MIB;
	rig.initial.pool_bytes[2] = 64 * FAKE_MIB;
	rig.world.hang_kind = STEP_KIND_HOST_POOL;
	see_and_run();
	CHECK_INT(*pool(), 32 * FAKE_MIB);
	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	snprintf(wish.drain, sizeof(wish.drain), "%s", drain()->id);
	engine_rig_submit(&rig, &wish);
	engine_rig_run(&rig, 0);
	CHECK_INT(*pool(), 32 * FAKE_MIB);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_UNDRAINING);
	fake_world_unhang(&rig.world);
	engine_rig_run(&rig, 0);
	CHECK_INT(engine_rig_drain_state(&rig), DRAIN_STATE_RELEASED);
	CHECK_TRUE(engine_rig_is_initial(&rig));
	CHECK_INT(told.pools, 1);
	end();
}

/* Dies at that write after they came (from 1), be it of what keeps them away or of the undrain; false: it has none so late. */
static bool kill_at_write(const void *scene, enum journal_gate how, unsigned number, unsigned again)
{
	char id[OPERATION_ID_SIZE];
	struct wish wish;
	bool died;

	begin_without_g2(true);
	come_bound(1);
	*pool() = 64 * FAKE_MIB;
	rig.initial.pool_bytes[2] = 64 * FAKE_MIB;
	atomic_store(&rig.die_how, how);
	atomic_store(&rig.die_at, atomic_load(&rig.writes) + number);
	/* First the guest, then the pool, for which no operation may be at work. */
	for (int turn = 0; turn < 2 && !atomic_load(&rig.died); turn++)
		see_and_run();
	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	snprintf(wish.drain, sizeof(wish.drain), "%s", drain()->id);
	if (!atomic_load(&rig.died)) {
		engine_rig_submit(&rig, &wish);
		if (!atomic_load(&rig.died))
			engine_rig_run(&rig, 0);
	}
	died = engine_rig_start_again(&rig, again, id);
	keeper = hold_keeper_free(keeper);
	engine_rig_run(&rig, 0);
	engine_rig_check_given_back(&rig);
	engine_rig_done(&rig);
	return died;
}

static void test_killed_at_every_write(void)
{
	for (unsigned again = 0; again < 3; again += 2)
		CHECK_TRUE(engine_rig_die_at_every_write(kill_at_write, NULL, again) >= 20);
}

/* A cordon empties nothing. */
static void test_cordon(void)
{
	begin(DRAIN_FINISH_CORDON, ALL, true, false);
	CHECK_TRUE(rig.world.state.guests[0].node_bytes[2] > 0);
	see_and_run();
	CHECK_INT(drain()->newcomers.count + moves(), 0);
	end();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a guest that comes is told and moved away", test_moved_away},
		{"one that comes again and again has pauses", test_pauses},
		{"where nothing is moved it is told once", test_only_told},
		{"one that would need a consent is told", test_without_its_consent},
		{"another operation goes first", test_busy},
		{"a move that is refused", test_refused},
		{"what no counter tells is surveyed", test_surveys},
		{"a pool that gains pages", test_pools},
		{"one that cannot be made smaller", test_pools_that_fail},
		{"a pool that gains pages under a cordon", test_cordoned_pools},
		{"one that is only told of", test_pools_that_are_only_told},
		{"an undrain ends it", test_when_it_ends},
		{"after a reboot of the host", test_after_a_reboot},
		{"slices after a reboot of the host", test_slices_after_a_reboot},
		{"a cordon", test_cordon},
		{"slices that could not lose the node lose it later", test_slices_later},
		{"the same after a restart", test_slices_after_a_restart},
		{"slices that are only told of", test_slices_only_told},
		{"slices that cannot lose it in the end", test_slices_that_fail},
		{"killed at every write of a step on slices", test_slices_killed_at_every_write},
		{"an undrain brings home who was moved away", test_brought_home},
		{"also who was moved by the drain before", test_both_brought_home},
		{"a move that fails leaves nothing to be undone", test_a_move_that_fails},
		{"who keeps coming leaves a few steps", test_steps_are_few},
		{"undrained while one is moved", test_undrained_in_a_move},
		{"to blocks that are back", test_brought_home_to_blocks_that_are_back},
		{"the last hold that goes brings home", test_the_last_hold_brings_home},
		{"an undrain gives a pool its pages back", test_pool_given_back},
		{"what the journal refuses", test_refused_by_the_journal},
		{"undrained while a pool shrinks", test_undrained_while_a_pool_shrinks},
		{"killed at every write", test_killed_at_every_write},
	};

	return unit_main("service/operation/hold_keeper", cases, sizeof(cases) / sizeof(cases[0]));
}
