/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "plan_priv.h"
#include "plan_world.h"
#include "unit.h"

#define DEADLINE_MS 60000

/* 512 MiB by balloon, to be 256 MiB. */
static struct snapshot_guest *balloon_guest(struct world *world)
{
	struct snapshot_guest *guest;

	world_init(world);
	guest = world_add_guest(world, "g1", 1, 300 * MIB);
	guest->has_balloon = true;
	guest->balloon_bytes = 512 * MIB;
	guest->max_bytes = GIB;
	world_wish_resize(world, "g1", 256 * MIB);
	world->input.now_ms = 0;
	return guest;
}

static void expect_step(struct world *world, enum step_kind kind)
{
	const struct decision *decision = world_next(world);

	CHECK_INT(decision->kind, DECISION_KIND_STEP);
	CHECK_STR(step_kind_name(decision->step.kind), step_kind_name(kind));
}

/* The decided balloon step takes so much. */
static struct step_record *inflate(struct world *world, uint64_t bytes)
{
	struct snapshot_guest *guest = snapshot_guest(world->snapshot, "g1");

	CHECK_INT(world->decision.step.kind, STEP_KIND_BALLOON);
	guest->balloon_bytes -= bytes;
	guest->current_bytes -= bytes;
	return world_record(world, bytes == world->decision.step.bytes ? STEP_STATE_DONE : STEP_STATE_PARTIAL, bytes);
}

static void what_it_cannot_get_is_not_taken_later(void)
{
	struct world world;

	balloon_guest(&world);
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.target_bytes, 256 * MIB);
	inflate(&world, 100 * MIB);
	/* No agent, no time given: it ends, and the balloon stays where it is. */
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.target_bytes, 412 * MIB);
	inflate(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 156 * MIB);
	world_done(&world);
}

static void it_gets_there(void)
{
	struct world world;

	balloon_guest(&world);
	expect_step(&world, STEP_KIND_BALLOON);
	inflate(&world, 256 * MIB);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

static void it_climbs(void)
{
	struct world world;
	struct snapshot_guest *guest = balloon_guest(&world);

	world_add_agent(guest, 150 * MIB, 60 * MIB);
	guest->agent.features = (1 << AGENT_FEATURE_COUNT) - 1;
	world.input.deadline_ms = DEADLINE_MS;
	/* 256 MiB and a sixteenth are not available. */
	expect_step(&world, STEP_KIND_FREE_HUGE_PAGES);
	world_gain(&world, 60 * MIB);
	expect_step(&world, STEP_KIND_RUN_HOOKS);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_BALLOON);
	inflate(&world, 200 * MIB);
	guest->agent.memory_free_bytes = 10 * MIB;
	expect_step(&world, STEP_KIND_RECLAIM);
	CHECK_INT(world.decision.step.bytes, 56 * MIB + 56 * MIB / 16 - 10 * MIB);
	world_gain(&world, 30 * MIB);
	expect_step(&world, STEP_KIND_BALLOON);
	inflate(&world, 30 * MIB);
	/* The balloon has gained since. */
	expect_step(&world, STEP_KIND_RECLAIM);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.timeout_ms, 5000);
	world_gain(&world, 0);
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_INT(world.decision.step.timeout_ms, 10000);
	world_gain(&world, 26 * MIB);
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.target_bytes, 256 * MIB);
	inflate(&world, 26 * MIB);
	expect_step(&world, STEP_KIND_AGENT_COMMIT);
	world_gain(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	world_done(&world);
}

/* What the guest can spare first, the next part when that has left, and by reclaim what it could not. */
static void no_more_than_memory_covers(void)
{
	struct world world;
	struct snapshot_guest *guest = balloon_guest(&world);
	const uint64_t keep = 512 * MIB / 32;

	world_add_agent(guest, keep + 100 * MIB, 0);
	world.input.deadline_ms = DEADLINE_MS;
	guest->agent.features = ((1 << AGENT_FEATURE_COUNT) - 1) & ~(1 << AGENT_FEATURE_HOOKS);
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.target_bytes, 412 * MIB);
	inflate(&world, 100 * MIB);
	/* Something has ended in the guest. */
	guest->agent.memory_available_bytes = keep + 60 * MIB;
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.target_bytes, 352 * MIB);
	inflate(&world, 60 * MIB);
	guest->agent.memory_available_bytes = keep;
	guest->agent.memory_free_bytes = keep;
	/* Were its time over now, it would not be for want of time. */
	world.input.now_ms = DEADLINE_MS;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 96 * MIB);
	CHECK_TRUE(!remainder_list_has(&world.decision.remainder, REMAINDER_DEADLINE));
	world.input.now_ms = 0;
	expect_step(&world, STEP_KIND_RECLAIM);
	world_gain(&world, 96 * MIB);
	guest->agent.memory_available_bytes = keep + 96 * MIB;
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.target_bytes, 256 * MIB);
	world_done(&world);
}

/* One that is to go on after its time is asked for in parts all the same, and at its end for what memory covers by then. */
static void what_is_to_stand(void)
{
	struct world world;
	struct snapshot_guest *guest = balloon_guest(&world);
	const uint64_t keep = 512 * MIB / 32;

	world_add_agent(guest, keep + 100 * MIB, 0);
	guest->agent.features = 0;
	world.wish.on_timeout = ON_TIMEOUT_CONTINUE;
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.target_bytes, 412 * MIB);
	inflate(&world, 50 * MIB);
	guest->agent.memory_available_bytes = keep + 90 * MIB;
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.target_bytes, 372 * MIB);
	CHECK_STR(world.decision.step.text, "stand");
	inflate(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 206 * MIB);
	world_done(&world);
}

/* Of what it had at the start, however often it is asked. */
static void no_more_than_it_lets_go_at_once(void)
{
	struct world world;
	struct snapshot_guest *guest = balloon_guest(&world);
	struct plan *plan;

	world_add_agent(guest, 16 * MIB + 60 * MIB, 0);
	guest->agent.shrink_most_bytes = 100 * MIB;
	guest->agent.features = 0;
	world_check_code(&world, "");
	plan = plan_dry_run(&world.input);
	CHECK_INT(plan->leaves[0].asked_bytes, 100 * MIB);
	CHECK_INT(plan->forecast.items[0].code, REMAINDER_BELOW_FLOOR);
	CHECK_INT(plan->forecast.items[0].bytes, 156 * MIB);
	plan_free(plan);
	world.input.deadline_ms = DEADLINE_MS;
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.target_bytes, 452 * MIB);
	inflate(&world, 60 * MIB);
	guest->agent.memory_available_bytes = 400 * MIB;
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.target_bytes, 412 * MIB);
	inflate(&world, 40 * MIB);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_BELOW_FLOOR);
	CHECK_INT(world.decision.remainder.items[0].bytes, 156 * MIB);
	world_done(&world);
}

/* What is over the limit by then stays away, and nothing more leaves. */
static void a_limit_in_the_middle(void)
{
	struct world world;
	struct snapshot_guest *guest = balloon_guest(&world);

	world_add_agent(guest, 400 * MIB, 0);
	world.input.deadline_ms = DEADLINE_MS;
	expect_step(&world, STEP_KIND_BALLOON);
	inflate(&world, 100 * MIB);
	guest->agent.shrink_most_bytes = 50 * MIB;
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.target_bytes, 412 * MIB);
	inflate(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_BELOW_FLOOR);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 156 * MIB);
	world_done(&world);
}

static void a_floor_that_rises_ends_it(void)
{
	struct world world;
	struct snapshot_guest *guest = balloon_guest(&world);

	world_add_agent(guest, 400 * MIB, 0);
	world.input.deadline_ms = DEADLINE_MS;
	expect_step(&world, STEP_KIND_BALLOON);
	inflate(&world, 100 * MIB);
	guest->agent.shrink_limit_bytes = 300 * MIB;
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.target_bytes, 412 * MIB);
	inflate(&world, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.count, 1);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_BELOW_FLOOR);
	CHECK_INT(world.decision.remainder.items[0].bytes, 156 * MIB);
	world_done(&world);
}

/* What it could spare is no longer known: no more is asked for until somebody tells again. */
static void a_silent_agent_is_waited_for(void)
{
	struct world world;
	struct snapshot_guest *guest = balloon_guest(&world);

	world_add_agent(guest, 16 * MIB + 100 * MIB, 0);
	guest->agent.last_seen_ms = 1;
	guest->agent.features = 0;
	world.input.deadline_ms = DEADLINE_MS;
	expect_step(&world, STEP_KIND_BALLOON);
	inflate(&world, 100 * MIB);
	guest->agent.state = AGENT_STATE_BUSY;
	expect_step(&world, STEP_KIND_AWAIT);
	CHECK_STR(world.decision.step.text, "agent");
	world_gain(&world, 0);
	world.input.now_ms = DEADLINE_MS;
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_AGENT_LOST);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 156 * MIB);
	world_done(&world);
}

static void time_that_is_over(void)
{
	static const struct {
		enum on_timeout how;
		uint64_t asked;
	} ways[] = {{ON_TIMEOUT_DEFAULT, 412 * MIB}, {ON_TIMEOUT_STOP, 412 * MIB},
		    {ON_TIMEOUT_RESTORE, 512 * MIB}, {ON_TIMEOUT_CONTINUE, 0}};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct world world;

		balloon_guest(&world);
		world.input.deadline_ms = DEADLINE_MS;
		world.wish.on_timeout = ways[i].how;
		expect_step(&world, STEP_KIND_BALLOON);
		inflate(&world, 100 * MIB)->flat = false;
		world.input.now_ms = DEADLINE_MS;
		if (ways[i].asked) {
			expect_step(&world, STEP_KIND_BALLOON);
			CHECK_INT(world.decision.step.target_bytes, ways[i].asked);
			CHECK_INT(world.decision.step.bytes, ways[i].asked - 412 * MIB);
			world_perform(&world);
		}
		CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
		CHECK_INT(remainder_list_bytes(&world.decision.remainder),
			  snapshot_guest(world.snapshot, "g1")->balloon_bytes - 256 * MIB);
		world_done(&world);
	}
}

static void a_refusal_is_the_reason(void)
{
	struct world world;

	balloon_guest(&world);
	world.input.deadline_ms = DEADLINE_MS;
	expect_step(&world, STEP_KIND_BALLOON);
	world_record(&world, STEP_STATE_FAILED, 0);
	expect_step(&world, STEP_KIND_BALLOON);
	CHECK_INT(world.decision.step.bytes, 0);
	world_record(&world, STEP_STATE_FAILED, 0);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_GIVE_UP);
	CHECK_INT(world.decision.remainder.items[0].code, REMAINDER_LIBVIRT_REFUSED);
	CHECK_INT(remainder_list_bytes(&world.decision.remainder), 256 * MIB);
	world_done(&world);
}

static void what_is_promised(void)
{
	struct world world;
	struct snapshot_guest *guest = balloon_guest(&world);

	CHECK_INT(plan_forecast_bytes(&world.input), 0);
	world_add_agent(guest, 150 * MIB, 0);
	/* But for a 32nd of its 512 MiB. */
	CHECK_INT(plan_forecast_bytes(&world.input), 512 * MIB - (150 - 16) * MIB);
	world_done(&world);
}

static void growing_needs_room(void)
{
	struct world world;
	struct snapshot_guest *guest = balloon_guest(&world);
	struct remainder_list blockers;
	struct failure failure;

	guest->balloon_bytes = guest->current_bytes = 128 * MIB;
	CHECK_INT(plan_check(&world.input, &blockers, &failure), 0);
	guest->cpuset_mems = 1 << 1;
	snapshot_node(world.snapshot, 1)->free_bytes = 250 * MIB;
	CHECK_INT(plan_check(&world.input, &blockers, &failure), -EPERM);
	CHECK_STR(failure.code, "no_room");
	/* The reserve's share is 200 MiB. */
	CHECK_INT(blockers.items[0].bytes, 78 * MIB);
	snapshot_node(world.snapshot, 1)->free_bytes = GIB;
	world.input.start_bytes = 128 * MIB;
	expect_step(&world, STEP_KIND_BALLOON);
	world_perform(&world);
	CHECK_INT(world_next(&world)->kind, DECISION_KIND_DONE);
	CHECK_INT(guest->balloon_bytes, 256 * MIB);
	world_done(&world);
}

static void a_balloon_keeps_to_the_policy(void)
{
	struct world world;
	struct snapshot_guest *guest;

	world_init(&world);
	guest = world_add_guest(&world, "g1", 1, 300 * MIB);
	guest->has_balloon = true;
	guest->balloon_bytes = guest->current_bytes = 512 * MIB;
	guest->max_bytes = GIB;
	world_wish_resize(&world, "g1", 256 * MIB);
	world_check_code(&world, "");
	guest->minimum_bytes = 300 * MIB;
	world_check_code(&world, "below_floor");
	/* What the guest says itself counts as much. */
	guest->minimum_bytes = 0;
	world_add_agent(guest, 400 * MIB, 0);
	guest->agent.shrink_limit_bytes = 300 * MIB;
	world_check_code(&world, "below_floor");
	guest->agent.shrink_limit_bytes = 200 * MIB;
	world_check_code(&world, "");
	world.wish.resize.target_bytes = 900 * MIB;
	world_check_code(&world, "");
	guest->maximum_bytes = 800 * MIB;
	world_check_code(&world, "above_maximum");
	world_done(&world);
}

static const struct unit_case cases[] = {
	{"what it cannot get is not taken later", what_it_cannot_get_is_not_taken_later},
	{"it gets there", it_gets_there},
	{"it climbs", it_climbs},
	{"no more than memory covers", no_more_than_memory_covers},
	{"what is to stand", what_is_to_stand},
	{"no more than it lets go at once", no_more_than_it_lets_go_at_once},
	{"a limit in the middle", a_limit_in_the_middle},
	{"a floor that rises ends it", a_floor_that_rises_ends_it},
	{"a silent agent is waited for", a_silent_agent_is_waited_for},
	{"time that is over", time_that_is_over},
	{"a refusal is the reason", a_refusal_is_the_reason},
	{"what is promised", what_is_promised},
	{"growing needs room", growing_needs_room},
	{"a balloon keeps to the policy", a_balloon_keeps_to_the_policy},
};

int main(void)
{
	return unit_main("resize_balloon", cases, sizeof(cases) / sizeof(cases[0]));
}
