/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main thread:  wait for the first rounds -> measure a quiet pause -> move away, move back, ... ->
 * stop vCPU thread:  write, write, write ... -> end then: every page is compared with what the
 * guest must have written.
 */
#include "proof_job.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "guest_view.h"
#include "job_context.h"
#include "microvm.h"
#include "node_mask.h"
#include "numa_node.h"
#include "page_move.h"
#include "page_survey.h"
#include "physical_map.h"

#define MEMORY_BYTES	  (UINT64_C(32) << 20)
#define HUGE_MEMORY_BYTES (UINT64_C(64) << 20)
/* A KVM that cannot run a guest shows it in the first second; an emulated one needs some seconds
 * for a round. */
#define RUN_MS	       60000
#define FIRST_ROUND_MS 20000
#define QUIET_US       200000
#define MOVES	       6 /* there and back, three times */
#define POLL_US	       10000

struct proof {
	struct job_context *context;
	struct microvm *vm; /* owned */
	uint64_t bytes, page_bytes;
	int from, to;
	uint64_t *addresses; /* owned */
	size_t count;
	struct page_move_counts counts;
	uint64_t quiet_pause_us, moving_pause_us;
	/* The vCPU thread's, read after it was joined. */
	enum microvm_end end;
	int error;
	struct failure failure;
};

static void *run_vcpu(void *user)
{
	struct proof *proof = user;

	proof->error = microvm_run(proof->vm, RUN_MS, &proof->end, &proof->failure);
	return NULL;
}

/* False with the result filled. */
static bool choose_nodes(struct proof *proof)
{
	const struct step *step = &proof->context->job->step;
	struct numa_node_list nodes = {0};
	int rc = numa_node_list_read(proof->context->sysroot, &nodes);
	uint64_t with_memory = rc ? 0 : node_mask_from_set(&nodes.with_memory), others;

	numa_node_list_done(&nodes);
	proof->from = step->node >= 0 ? step->node
		      : with_memory   ? __builtin_ctzll(with_memory)
				      : -1;
	others = (step->nodes ? step->nodes : with_memory) & ~node_mask_of(proof->from);
	proof->to = others ? __builtin_ctzll(others) : -1;
	if (proof->from >= 0 && proof->to >= 0)
		return true;
	job_context_fail(proof->context, ENODEV, "this host", "cannot prove a move");
	failure_set_cause(&proof->context->result->failure, "it has one node with memory only");
	return false;
}

static bool make_vm(struct proof *proof)
{
	uint64_t page_bytes = proof->context->job->step.page_bytes;
	bool is_huge = page_bytes > 4096;
	struct microvm_options options = {
		.memory_bytes = is_huge ? HUGE_MEMORY_BYTES : MEMORY_BYTES,
		.backing = is_huge ? MICROVM_BACKING_HUGETLB : MICROVM_BACKING_MEMFD,
		.page_bytes = is_huge ? page_bytes : 0,
	};
	struct worker_result *result = proof->context->result;
	const char *memory;

	if (options.memory_bytes < page_bytes)
		options.memory_bytes = page_bytes;
	if (microvm_new(&options, &proof->vm, &result->failure)) {
		result->outcome = WORKER_OUTCOME_FAILED;
		return false;
	}
	memory = microvm_memory(proof->vm, &proof->bytes);
	proof->page_bytes = is_huge ? page_bytes : 4096;
	proof->count = (size_t)(proof->bytes / proof->page_bytes);
	proof->addresses = calloc(proof->count, sizeof(*proof->addresses));
	if (!proof->addresses) {
		job_context_fail(proof->context, ENOMEM, "microVM", "cannot begin");
		return false;
	}
	for (size_t i = 0; i < proof->count; i++)
		proof->addresses[i] = (uint64_t)(uintptr_t)memory + i * proof->page_bytes;
	return true;
}

static bool wait_rounds(struct proof *proof, uint64_t rounds)
{
	uint64_t until = worker_control_now_ms() + FIRST_ROUND_MS;
	struct microvm_stats stats;

	do {
		microvm_read_stats(proof->vm, &stats);
		if (stats.rounds >= rounds)
			return true;
	} while (worker_control_now_ms() < until && job_context_wait(proof->context, POLL_US));
	return false;
}

static int move_once(struct proof *proof, struct page_move *move, int node)
{
	int rc = 0;

	for (int tries = 0; tries < 3; tries++) {
		uint64_t failed = proof->counts.pages[PAGE_MOVE_BUSY];

		rc = page_move_run(move, proof->addresses, proof->count, node, NULL,
				   &proof->counts);
		if (rc || proof->counts.pages[PAGE_MOVE_BUSY] == failed)
			break;
	}
	return rc;
}

static int move_about(struct proof *proof)
{
	CLEANUP(physical_map_freep) struct physical_map *physical = NULL;
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	CLEANUP(page_move_freep) struct page_move *move = NULL;
	struct page_survey_options survey_options;
	struct page_move_options options = {.pid = 0, .look_first = true};
	struct microvm_stats stats;
	int rc = physical_map_read(proof->context->sysroot, &physical);

	survey_options = (struct page_survey_options){.map = physical};
	if (!rc)
		rc = page_survey_new(proof->context->sysroot, getpid(), &survey_options, &survey);
	options.ops = page_move_kernel_ops(survey);
	if (!rc)
		rc = page_move_new(&options, &move);
	if (rc)
		return rc;
	if (!wait_rounds(proof, 1))
		return -ETIME;
	microvm_reset_pause(proof->vm);
	job_context_wait(proof->context, QUIET_US);
	microvm_read_stats(proof->vm, &stats);
	proof->quiet_pause_us = stats.longest_pause_ns / 1000;
	rc = move_once(proof, move, proof->from);
	memset(&proof->counts, 0, sizeof(proof->counts));
	microvm_reset_pause(proof->vm);
	for (int i = 0; !rc && i < MOVES && job_context_go(proof->context); i++) {
		rc = move_once(proof, move, i % 2 ? proof->from : proof->to);
		worker_control_progress(proof->context->control, (uint64_t)(i + 1) * proof->bytes,
					MOVES * proof->bytes, "node %d",
					i % 2 ? proof->from : proof->to);
		/* The guest must look at every page between two moves, or the proof proves nothing.
		 */
		microvm_read_stats(proof->vm, &stats);
		if (!rc && !wait_rounds(proof, stats.rounds + 2))
			rc = -ETIME;
	}
	microvm_read_stats(proof->vm, &stats);
	proof->moving_pause_us = stats.longest_pause_ns / 1000;
	return rc;
}

static void judge(struct proof *proof, int rc, uint64_t bad_pages)
{
	struct job_context *context = proof->context;
	uint64_t moved = proof->counts.pages[PAGE_MOVE_MOVED];

	if (proof->error || proof->end == MICROVM_END_KVM_ERROR) {
		job_context_fail(context, proof->error ? proof->error : EIO, "microVM",
				 "cannot run it");
		if (failure_is_set(&proof->failure))
			context->result->failure = proof->failure;
	} else if (proof->end == MICROVM_END_NO_PROGRESS || rc == -ETIME) {
		job_context_fail(context, ETIME, "microVM", "cannot run it");
		failure_set_cause(&context->result->failure,
				  "KVM of this host does not let a guest make progress");
	} else if (rc) {
		job_context_fail(context, rc, "microVM", "cannot move its memory");
	} else if (proof->end == MICROVM_END_CORRUPT || bad_pages) {
		job_context_fail(context, 0, "microVM", "its memory was damaged by a move");
		failure_set_cause(&context->result->failure,
				  "%llu pages were not as the guest had written them",
				  (unsigned long long)bad_pages);
	} else if (moved < proof->count * MOVES) {
		remainder_list_add(&context->result->remainder, REMAINDER_PAGE_BUSY, "microVM",
				   (proof->count * MOVES - moved) * proof->page_bytes, NULL,
				   "%llu of %llu pages moved", (unsigned long long)moved,
				   (unsigned long long)(proof->count * MOVES));
		context->result->outcome = moved ? WORKER_OUTCOME_PARTIAL : WORKER_OUTCOME_FAILED;
	} else {
		context->result->outcome = WORKER_OUTCOME_DONE;
	}
}

static void prove(struct proof *proof)
{
	struct job_context *context = proof->context;
	struct microvm_stats stats;
	uint64_t bad_pages = 0;
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, run_vcpu, proof);

	if (rc) {
		job_context_fail(context, rc, "microVM", "cannot start its vCPU");
		return;
	}
	rc = move_about(proof);
	microvm_stop(proof->vm);
	pthread_join(thread, NULL);
	if (!proof->error && microvm_verify(proof->vm, &bad_pages))
		bad_pages = 0;
	microvm_read_stats(proof->vm, &stats);
	context->result->bytes_done = proof->counts.pages[PAGE_MOVE_MOVED] * proof->page_bytes;
	context->result->longest_pause_us = proof->moving_pause_us;
	if (context->stop != WORKER_CONTROL_GO) {
		job_context_settle(context, "microVM", 0, false);
		return;
	}
	judge(proof, rc, bad_pages);
	json_object_update_new(
		job_context_values(context),
		json_pack("{s:I, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "page_bytes",
			  (json_int_t)proof->page_bytes, "from", proof->from, "to", proof->to,
			  "memory_bytes", (json_int_t)proof->bytes, "moved_bytes",
			  (json_int_t)context->result->bytes_done, "rounds",
			  (json_int_t)stats.rounds, "exits", (json_int_t)stats.exits, "bytes_per_s",
			  (json_int_t)(proof->counts.call_ns
					       ? (double)context->result->bytes_done * 1e9 /
							 (double)proof->counts.call_ns
					       : 0),
			  "longest_pause_us", (json_int_t)proof->moving_pause_us, "quiet_pause_us",
			  (json_int_t)proof->quiet_pause_us));
}

void proof_job_run(struct job_context *context)
{
	struct proof *proof = calloc(1, sizeof(*proof));

	if (!proof) {
		job_context_fail(context, ENOMEM, "microVM", "cannot begin");
		return;
	}
	proof->context = context;
	if (choose_nodes(proof) && make_vm(proof))
		prove(proof);
	microvm_free(proof->vm);
	free(proof->addresses);
	free(proof);
}
