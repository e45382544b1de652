/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each job of a move, with each of its calls failing once, and with all of them failing from some
 *call on; with each of its allocations likewise. Whatever fails, the job must tell the truth about
 *the host:
 *
 *	done		-> the goal is reached; of a look or a "before": it is what it is when
 *nothing fails failed		-> nothing was changed, because the engine undoes no step that
 *failed partial		-> there is a reason, and bytes that are told are those that stayed
 *	any of these	-> an undo afterwards puts everything back
 *
 * and it must leave no descriptor, no mapping and no memory behind.
 */
#include "worker_jobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <sys/vfs.h>
#include "backing_window.h"
#include "fault_gate.h"
#include "fault_world.h"

/* So many are told in full. */
#define TOLD_MAX 12
#define PAGE	 (UINT64_C(2) << 20)

struct scene {
	const char *name;
	enum step_kind kind;
	void (*set_step)(struct step *step);
	bool (*is_reached)(const struct fault_world *world);
	unsigned least; /* calls that must have had their turn, or the test has lost its subject */
	enum fault_memory memory;
};

/* One way of failing. */
struct way {
	enum fault_class class;
	int error;
	bool for_ever;
	bool is_minor; /* enough for one scene of each kind */
};

static const struct way ways[] = {
	{FAULT_CLASS_CALL, EIO, false, false},	   {FAULT_CLASS_CALL, EINTR, false, true},
	{FAULT_CLASS_CALL, ENOMEM, false, true},   {FAULT_CLASS_CALL, EACCES, false, true},
	{FAULT_CLASS_CALL, EIO, true, false},	   {FAULT_CLASS_MEMORY, ENOMEM, false, false},
	{FAULT_CLASS_MEMORY, ENOMEM, true, false},
};

static struct fault_world world;
static unsigned lies, runs;
static struct {
	const char *scene;
	enum worker_job_kind job;
	const struct way *way;
	unsigned at;
} now;

static void lie(const char *what)
{
	const struct worker_result *result = &world.fixture.result;
	char text[256];

	if (lies++ >= TOLD_MAX)
		return;
	printf("  %s, %s, %s of %s %u (%s)%s: %s\n", now.scene, worker_job_kind_name(now.job),
	       strerror(now.way->error), now.way->class == FAULT_CLASS_CALL ? "call" : "allocation",
	       now.at, fault_gate_fired() ? fault_gate_fired() : "none",
	       now.way->for_ever ? " and later" : "", what);
	printf("    %s, %llu bytes done, remainder %zu of %llu bytes; %s\n",
	       worker_outcome_name(result->outcome), (unsigned long long)result->bytes_done,
	       result->remainder.count,
	       (unsigned long long)remainder_list_bytes(&result->remainder),
	       failure_format(&result->failure, text, sizeof(text)));
}

#define TRUE(condition, what)      \
	do {                       \
		if (!(condition))  \
			lie(what); \
	} while (0)

/* ---- the steps of a move ---- */

static void step_pool_grow(struct step *step)
{
	step->node = 3;
	step->page_bytes = PAGE;
	step->target_bytes = 12 * PAGE;
}

static bool is_pool_grown(const struct fault_world *of)
{
	return of->state.pools[3] == 12;
}

static void step_pool_shrink(struct step *step)
{
	step->node = 1;
	step->page_bytes = PAGE;
	step->target_bytes = 2 * PAGE;
}

static bool is_pool_shrunk(const struct fault_world *of)
{
	return of->state.pools[1] == 2;
}

static void step_cpuset(struct step *step)
{
	step->nodes = 1 << 1 | 1 << 2 | 1 << 3;
}

static bool is_cpuset(const struct fault_world *of)
{
	for (size_t i = 0; i < FAULT_WORLD_GROUPS; i++)
		if (strcmp(of->state.mems[i], "1-3") != 0)
			return false;
	return true;
}

static void step_policy_map(struct step *step)
{
	step->by_map = true;
	step->mode = POLICY_MODE_MIXED;
	step->map[1] = 3;
	step->map[2] = 0;
}

static bool is_policy_mapped(const struct fault_world *of)
{
	return of->state.policy_modes[0] == MPOL_BIND && of->state.policy_nodes[0] == 1 << 0 &&
	       of->state.policy_modes[1] == MPOL_BIND && of->state.policy_nodes[1] == 1 << 3;
}

static void step_policy_loose(struct step *step)
{
	step_policy_map(step);
	step->loose = true;
}

/* Preferred, with the sign that it belongs bound. */
static bool is_policy_loose(const struct fault_world *of)
{
	int mode = MPOL_PREFERRED | MPOL_F_STATIC_NODES;

	return of->state.policy_modes[0] == mode && of->state.policy_nodes[0] == 1 << 0 &&
	       of->state.policy_modes[1] == mode && of->state.policy_nodes[1] == 1 << 3;
}

static void step_policy_preferred(struct step *step)
{
	step->mode = POLICY_MODE_PREFERRED;
	step->nodes = 1 << 3;
}

static bool is_policy_preferred(const struct fault_world *of)
{
	return of->state.policy_modes[0] == MPOL_PREFERRED && of->state.policy_nodes[0] == 1 << 3 &&
	       of->state.policy_modes[1] == MPOL_PREFERRED && of->state.policy_nodes[1] == 1 << 3;
}

static void step_policy_cells(struct step *step)
{
	step->by_cells = true;
	step->mode = POLICY_MODE_BIND;
	step->cells[0] = 0;
	step->cells[1] = 3;
}

static void step_move_map(struct step *step)
{
	step->by_map = true;
	step->map[1] = 3;
	step->map[2] = 0;
}

static void step_move_map_threads(struct step *step)
{
	step_move_map(step);
	step->workers = 2;
}

static void step_move_cold_first(struct step *step)
{
	step_move_map(step);
	step->order = MOVE_ORDER_COLD_FIRST;
}

static void step_move_hot_first(struct step *step)
{
	step_move_map(step);
	step->order = MOVE_ORDER_HOT_FIRST;
}

static void step_move_cells(struct step *step)
{
	step->by_cells = true;
	step->cells[0] = 0;
	step->cells[1] = 3;
}

static bool is_moved(const struct fault_world *of)
{
	for (size_t i = 0; i < FAULT_WORLD_PAGES; i++) {
		int was = fault_world_node(&of->initial, i);

		if (was != FAULT_WORLD_ABSENT && fault_world_node(&of->state, i) != (was == 1 ? 3 : 0))
			return false;
	}
	return true;
}

static void step_move_to(struct step *step)
{
	step->nodes = 1 << 3;
	step->bytes = FAULT_WORLD_PAGES * UINT64_C(4096);
}

/* Nobody touches it here: for its time it waits, and leaves the policies as they were. */
static void step_lazy(struct step *step)
{
	step_move_map(step);
	step->timeout_ms = 300;
}

static bool is_moved_to(const struct fault_world *of)
{
	for (size_t i = 0; i < FAULT_WORLD_PAGES; i++)
		if (of->state.nodes[i] != FAULT_WORLD_ABSENT && of->state.nodes[i] != 3)
			return false;
	return true;
}

static const struct scene scenes[] = {
	{"pool, larger", STEP_KIND_HOST_POOL, step_pool_grow, is_pool_grown, 10},
	{"pool, smaller", STEP_KIND_HOST_POOL, step_pool_shrink, is_pool_shrunk, 10},
	{"cpuset", STEP_KIND_CPUSET, step_cpuset, is_cpuset, 60},
	{"policy by map", STEP_KIND_MEMORY_POLICY, step_policy_map, is_policy_mapped, 60},
	{"policy, preferred", STEP_KIND_MEMORY_POLICY, step_policy_preferred, is_policy_preferred,
	 60},
	{"policy by cells", STEP_KIND_MEMORY_POLICY, step_policy_cells, is_policy_mapped, 60},
	{"policy, loose", STEP_KIND_MEMORY_POLICY, step_policy_loose, is_policy_loose, 60},
	{"move by map", STEP_KIND_MOVE_PAGES, step_move_map, is_moved, 80},
	{"move to a node", STEP_KIND_MOVE_PAGES, step_move_to, is_moved_to, 80},
	{"move by cells", STEP_KIND_MOVE_PAGES, step_move_cells, is_moved, 80},
	{"move with two threads", STEP_KIND_MOVE_PAGES, step_move_map_threads, is_moved, 80},
	{"move, cold pages first", STEP_KIND_MOVE_PAGES, step_move_cold_first, is_moved, 80, FAULT_MEMORY_TOUCHED},
	{"move, hot pages first", STEP_KIND_MOVE_PAGES, step_move_hot_first, is_moved, 80, FAULT_MEMORY_TOUCHED},
	{"move of transparent huge pages", STEP_KIND_MOVE_PAGES, step_move_map, is_moved, 80, FAULT_MEMORY_TRANSPARENT},
	{"move of hugetlb", STEP_KIND_MOVE_PAGES, step_move_map, is_moved, 80, FAULT_MEMORY_HUGETLB},
	{"move of what only the file has, too", STEP_KIND_MOVE_PAGES, step_move_map, is_moved, 80, FAULT_MEMORY_UNMAPPED},
	{"lazy move", STEP_KIND_LAZY, step_lazy, fault_world_is_initial, 80},
};

/* ---- one run ---- */

/* Bytes that are where they were and shall not be. */
static uint64_t bytes_left(const struct scene *scene)
{
	bool to_3 = scene->is_reached == is_moved_to;
	uint64_t left = 0;

	for (size_t i = 0; i < FAULT_WORLD_PAGES; i++) {
		int was = fault_world_node(&world.initial, i), is = fault_world_node(&world.state, i);

		if (was != FAULT_WORLD_ABSENT && is != (to_3 || was == 1 ? 3 : 0))
			left += 4096;
	}
	return left;
}

static uint64_t bytes_moved(void)
{
	uint64_t moved = 0;

	for (size_t i = 0; i < FAULT_WORLD_PAGES; i++)
		moved += fault_world_node(&world.state, i) != fault_world_node(&world.initial, i) ? 4096 : 0;
	return moved;
}

static void run_faulty(enum worker_job_kind kind, const struct way *way, unsigned at)
{
	struct job_fixture *fixture = &world.fixture;

	job_fixture_prepare(fixture, kind);
	fixture->control.is_cancelled = false;
	fault_gate_arm(way->class, at, way->error, way->for_ever);
	worker_jobs_run(&fixture->context);
	fault_gate_disarm();
	runs++;
	now.job = kind;
	now.way = way;
	now.at = at;
}

static void check_reasons(void)
{
	const struct worker_result *result = &world.fixture.result;

	switch (result->outcome) {
	case WORKER_OUTCOME_DONE:
		TRUE(!failure_is_set(&result->failure) && result->remainder.count == 0,
		     "done, and a reason why not");
		break;
	case WORKER_OUTCOME_PARTIAL:
		TRUE(result->remainder.count > 0, "partial, and no reason");
		break;
	case WORKER_OUTCOME_FAILED:
		TRUE(failure_is_set(&result->failure) && result->failure.cause[0],
		     "failed, and no cause");
		break;
	case WORKER_OUTCOME_CANCELLED:
		lie("cancelled, and nobody did");
		break;
	case WORKER_OUTCOME_DIED:
	case WORKER_OUTCOME_STUCK:
	case WORKER_OUTCOME_COUNT:
		lie("an outcome that is not a job's");
		break;
	}
	TRUE(!remainder_list_has(&result->remainder, REMAINDER_GUEST_GONE),
	     "the guest is gone, and is not");
	TRUE(world.absent_moves == 0, "an absent page was touched");
}

/* What a call that failed has moved of pages that no page table shows cannot be told: they are all told, then. */
static bool is_upper_bound(const struct scene *scene, uint64_t told)
{
	const struct worker_result *result = &world.fixture.result;
	const struct remainder *unmapped = job_fixture_remainder(&world.fixture, REMAINDER_NOT_MAPPED);
	uint64_t left = bytes_left(scene);

	return failure_is_set(&result->failure) && unmapped && told > left && told - unmapped->bytes <= left;
}

static void check_step(const struct scene *scene)
{
	const struct worker_result *result = &world.fixture.result;
	uint64_t told = remainder_list_bytes(&result->remainder);

	check_reasons();
	if (result->outcome == WORKER_OUTCOME_DONE)
		TRUE(scene->is_reached(&world), "done, and the goal is not reached");
	/* service/operation/step_worker.c takes it for "nothing of it", which is not undone. */
	if (result->outcome == WORKER_OUTCOME_FAILED && !result->bytes_done)
		TRUE(fault_world_is_initial(&world), "failed, and something was changed");
	if (scene->kind == STEP_KIND_MOVE_PAGES) {
		TRUE(result->bytes_done <= bytes_moved(), "more is told moved than was");
		TRUE(!told || told == bytes_left(scene) || is_upper_bound(scene, told),
		     "the remainder is not what is left");
	}
}

static void undo_cleanly(const char *after)
{
	struct worker_result *result = &world.fixture.result;

	job_fixture_run(&world.fixture, WORKER_JOB_UNDO);
	if (result->outcome != WORKER_OUTCOME_DONE || !fault_world_is_initial(&world))
		lie(after);
}

static void forget_result(void)
{
	worker_result_done(&world.fixture.result);
	memset(&world.fixture.result, 0, sizeof(world.fixture.result));
	free(world.fixture.job.before);
	world.fixture.job.before = NULL;
}

/* False where nothing failed any more: there are no more calls. */
static bool play(const struct scene *scene, enum worker_job_kind kind, const struct way *way,
		 unsigned at, const json_t *reference)
{
	struct job_fixture *fixture = &world.fixture;
	struct worker_result *result = &fixture->result;
	long live = fault_gate_live_allocations();
	unsigned descriptors = fault_gate_open_descriptors();
	bool has_fired;

	fault_world_reset(&world);
	if (kind == WORKER_JOB_UNDO)
		job_fixture_run(fixture, WORKER_JOB_STEP);
	run_faulty(kind, way, at);
	has_fired = fault_gate_fired() != NULL;
	switch (kind) {
	case WORKER_JOB_SURVEY:
	case WORKER_JOB_HOLDERS:
	case WORKER_JOB_BEFORE:
		check_reasons();
		TRUE(result->outcome != WORKER_OUTCOME_DONE ||
			     json_equal(result->values, reference),
		     "done, and something is missing");
		TRUE(fault_world_is_initial(&world), "it only looks, and something was changed");
		break;
	case WORKER_JOB_STEP:
		check_step(scene);
		undo_cleanly("the undo after it does not put everything back");
		break;
	case WORKER_JOB_UNDO:
		check_reasons();
		TRUE(result->outcome != WORKER_OUTCOME_DONE || fault_world_is_initial(&world),
		     "undone, and not everything is back");
		undo_cleanly("the second undo does not put everything back");
		break;
	case WORKER_JOB_COUNT:
		break;
	}
	forget_result();
	TRUE(fault_gate_live_allocations() == live, "memory is left behind");
	TRUE(fault_gate_open_descriptors() == descriptors, "a descriptor is left open");
	return has_fired;
}

static bool is_first(const struct scene *scene)
{
	return !scene || scene == scenes || scene[-1].kind != scene->kind;
}

/* Not of the job: in a worker it does not come back without memory (worker_main.c). */
static void *allocate_certainly(size_t size)
{
	void *memory;

	fault_gate_enter_fake();
	memory = malloc(size);
	fault_gate_leave_fake();
	return memory;
}

static void play_all(const struct scene *scene, enum worker_job_kind kind, const json_t *reference)
{
	/* An undo reads text, in which jansson would lose bytes without a word. */
	json_set_alloc_funcs(kind == WORKER_JOB_UNDO ? allocate_certainly : malloc, free);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		unsigned at = 1;

		if (ways[i].is_minor && !is_first(scene))
			continue;
		while (play(scene, kind, &ways[i], at, reference))
			at++;
		if (ways[i].class == FAULT_CLASS_CALL && !ways[i].for_ever &&
		    kind == WORKER_JOB_STEP)
			CHECK_TRUE(at > scene->least);
	}
}

static void run_scene(const struct scene *scene)
{
	struct job_fixture *fixture = &world.fixture;

	lies = runs = 0;
	now.scene = scene->name;
	now.way = &ways[0];
	fault_world_init(&world, scene->memory);
	fixture->job.step.kind = scene->kind;
	scene->set_step(&fixture->job.step);
	/* First as it is when nothing fails: what is wrong then needs no faults. */
	job_fixture_run(fixture, WORKER_JOB_BEFORE);
	CHECK_INT(fixture->result.outcome, WORKER_OUTCOME_DONE);
	job_fixture_run(fixture, WORKER_JOB_STEP);
	CHECK_INT(fixture->result.outcome, WORKER_OUTCOME_DONE);
	CHECK_TRUE(scene->is_reached(&world));
	/* As, if it could not tell which pages were touched. */
	CHECK_TRUE(!json_object_get(fixture->result.values, "warnings"));
	job_fixture_run(fixture, WORKER_JOB_UNDO);
	CHECK_INT(fixture->result.outcome, WORKER_OUTCOME_DONE);
	CHECK_TRUE(fault_world_is_initial(&world));
	forget_result();
	/* It does not ask what the step is to do, but what there is. */
	if (is_first(scene) || scene->memory != scene[-1].memory)
		play_all(scene, WORKER_JOB_BEFORE, fixture->before);
	play_all(scene, WORKER_JOB_STEP, NULL);
	play_all(scene, WORKER_JOB_UNDO, NULL);
	fault_world_done(&world);
	printf("  %s: %u runs\n", scene->name, runs);
	CHECK_INT(lies, 0);
}

static void test_pool(void)
{
	run_scene(&scenes[0]);
	run_scene(&scenes[1]);
}

static void test_cpuset(void)
{
	run_scene(&scenes[2]);
}

static void test_policy(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++)
		if (scenes[i].kind == STEP_KIND_MEMORY_POLICY)
			run_scene(&scenes[i]);
}

/* What is held loosely while its pages move is bound after, each part to the nodes that it has by then. */
static void test_bound_again(void)
{
	struct job_fixture *fixture = &world.fixture;
	struct step *step = &fixture->job.step;

	fault_world_init(&world, FAULT_MEMORY_SMALL);
	step->kind = STEP_KIND_MEMORY_POLICY;
	step_policy_loose(step);
	job_fixture_run(fixture, WORKER_JOB_STEP);
	CHECK_TRUE(is_policy_loose(&world));
	step->loose = false;
	memset(step->map, -1, sizeof(step->map));
	job_fixture_run(fixture, WORKER_JOB_BEFORE);
	job_fixture_run(fixture, WORKER_JOB_STEP);
	CHECK_INT(fixture->result.outcome, WORKER_OUTCOME_DONE);
	CHECK_TRUE(is_policy_mapped(&world));
	job_fixture_run(fixture, WORKER_JOB_UNDO);
	CHECK_INT(fixture->result.outcome, WORKER_OUTCOME_DONE);
	CHECK_TRUE(is_policy_loose(&world));
	/* Several nodes need another mode; and who wants it preferred wants it without the sign. */
	step->by_map = false;
	step->mode = POLICY_MODE_BIND;
	step->nodes = 1 << 0 | 1 << 3;
	step->loose = true;
	job_fixture_run(fixture, WORKER_JOB_STEP);
	CHECK_INT(world.state.policy_modes[0], MPOL_PREFERRED_MANY | MPOL_F_STATIC_NODES);
	CHECK_INT(world.state.policy_nodes[1], 1 << 0 | 1 << 3);
	step->mode = POLICY_MODE_PREFERRED;
	step->nodes = 1 << 3;
	job_fixture_run(fixture, WORKER_JOB_STEP);
	CHECK_TRUE(is_policy_preferred(&world));
	forget_result();
	fault_world_done(&world);
}

/* What only a file has is asked of this machine's own kernel. */
static bool can_ask_files(void)
{
	CLEANUP(backing_window_freep) struct backing_window *window = NULL;
	const char *directory = getenv("TMPDIR");
	struct statfs data;

	return directory && statfs(directory, &data) == 0 && data.f_type == TMPFS_MAGIC &&
	       backing_window_new(&window) == 0;
}

static void test_move(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
		if (scenes[i].kind != STEP_KIND_MOVE_PAGES)
			continue;
		if (scenes[i].memory == FAULT_MEMORY_UNMAPPED && !can_ask_files())
			printf("# %s: needs files on a tmpfs, and a userfaultfd\n", scenes[i].name);
		else
			run_scene(&scenes[i]);
	}
}

static void test_lazy(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenes); i++)
		if (scenes[i].kind == STEP_KIND_LAZY)
			run_scene(&scenes[i]);
}

/* Jobs that only look: all that they say is as if nothing had failed, or they say that it has. */
static void play_look(enum worker_job_kind kind)
{
	json_t *reference;

	lies = runs = 0;
	now.scene = worker_job_kind_name(kind);
	now.way = &ways[0];
	job_fixture_run(&world.fixture, kind);
	CHECK_INT(world.fixture.result.outcome, WORKER_OUTCOME_DONE);
	reference = json_incref(world.fixture.result.values);
	forget_result();
	play_all(NULL, kind, reference);
	json_decref(reference);
	fault_world_done(&world);
	printf("  %s: %u runs\n", worker_job_kind_name(kind), runs);
	CHECK_INT(lies, 0);
}

static void test_survey(void)
{
	fault_world_init(&world, FAULT_MEMORY_SMALL);
	play_look(WORKER_JOB_SURVEY);
}

/* 71 groups: the table of them grows once. One of them is there, with a process. */
static void test_holders(void)
{
	struct worker_job *job = &world.fixture.job;
	uint64_t flags[110], inodes[110];
	const json_t *groups;
	uint64_t holder;

	fault_world_init(&world, FAULT_MEMORY_SMALL);
	holder = fault_world_add_holder(&world);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		flags[i] = UINT64_C(1) << 12;
		inodes[i] = i < 40 ? holder : 1000000000 + i;
	}
	fixture_tree_write_at(&world.fixture.tree, "/proc/kpageflags", 0, flags, sizeof(flags));
	fixture_tree_write_at(&world.fixture.tree, "/proc/kpagecgroup", 0, inodes, sizeof(inodes));
	job->dimm_count = 1;
	job->dimms = calloc(1, sizeof(*job->dimms));
	job->dimms[0].range_count = 1;
	job->dimms[0].ranges[0].end = 100 * 4096;
	job_fixture_run(&world.fixture, WORKER_JOB_HOLDERS);
	groups = json_object_get(world.fixture.result.values, "groups");
	CHECK_TRUE(json_is_true(json_object_get(json_array_get(groups, 0), "is_guest")));
	forget_result();
	play_look(WORKER_JOB_HOLDERS);
}

/* A guest that must not be touched is not, whatever fails in finding that out. */
static void test_hands_off(void)
{
	for (int is_other = 0; is_other < 2; is_other++) {
		fault_world_init(&world, FAULT_MEMORY_SMALL);
		if (is_other)
			fault_world_reuse_pid(&world, true);
		else
			fault_world_add_userfaultfd(&world);
		for (size_t s = 2; s < ARRAY_SIZE(scenes); s++) {
			struct step *step = &world.fixture.job.step;

			/* Only a process number that is another's matters to more than the mover.
			 */
			if (!is_other && scenes[s].kind != STEP_KIND_MOVE_PAGES &&
			    scenes[s].kind != STEP_KIND_LAZY)
				continue;
			step_init(step, scenes[s].kind);
			strcpy(step->guest_name, "g1");
			scenes[s].set_step(step);
			now.scene = scenes[s].name;
			for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
				for (unsigned at = 1; at == 1 || fault_gate_fired(); at++) {
					run_faulty(WORKER_JOB_STEP, &ways[i], at);
					CHECK_TRUE(world.moves == 0 && world.writes == 0);
					CHECK_INT(world.fixture.result.outcome,
						  WORKER_OUTCOME_FAILED);
				}
		}
		fault_world_done(&world);
	}
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"pool", test_pool},
		{"cpuset", test_cpuset},
		{"policy", test_policy},
		{"bound again", test_bound_again},
		{"move", test_move},
		{"lazy", test_lazy},
		{"survey", test_survey},
		{"holders", test_holders},
		{"a guest that must not be touched", test_hands_off},
	};

	/* Files in memory: there are thousands of runs. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	json_set_alloc_funcs(malloc, free);
	return unit_main("job_faults", cases, sizeof(cases) / sizeof(cases[0]));
}
