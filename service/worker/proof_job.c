/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small guest goes through one pair first: that says how large the one of the proof may be.
 *
 * main thread:  wait for the first pass -> measure a quiet pause -> move to and fro between the
 *               nodes, each ordered pair once, and let the guest look at every page after each
 *               -> stop
 * vCPU thread:  write, write, write ... -> end
 * then:         every word is compared with what the guest must have written.
 */
#include "proof_job.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include "clock.h"
#include "guest_view.h"
#include "job_context.h"
#include "microvm.h"
#include "move_reason.h"
#include "node_mask.h"
#include "numa_node.h"
#include "page_move.h"
#include "page_survey.h"
#include "physical_map.h"
#include "proof_job_priv.h"
#include "size_text.h"

/* A guest that has written no page for so long does not get on: KVM cannot run it here. */
#define STUCK_MS 20000
#define QUIET_US 200000
#define POLL_US	 2000
/* What one pair may take, with the guest's look at every page after it: a moment on any processor, but where KVM is
 * emulated itself the kernel may move a hundred pages a second under a running vCPU. */
#define PAIR_MS	    500
#define LEAST_BYTES (UINT64_C(1) << 20)
/*
 * A page that was busy for a moment is moved with the next try. Who holds pages for a moment, like a compaction, has many of
 * them at a time, and no CPU to let go of them while others have it.
 */
#define TRIES	     5
#define TRY_AGAIN_US 100000

size_t proof_job_pairs(uint64_t nodes, struct proof_pair *pairs, size_t *ret_left_out)
{
	int ids[SNAPSHOT_NODES_MAX];
	size_t node_count = 0, count = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (nodes & node_mask_of(node))
			ids[node_count++] = node;
	for (size_t i = 0; i < node_count; i++)
		for (size_t j = i + 1; j < node_count; j++) {
			/* The last one closes the ring. */
			bool is_ring = j == i + 1 || (i == 0 && j == node_count - 1);

			if (node_count > PROOF_NODES_MAX && !is_ring)
				continue;
			pairs[count++] = (struct proof_pair){.from = ids[i], .to = ids[j]};
			pairs[count++] = (struct proof_pair){.from = ids[j], .to = ids[i]};
		}
	*ret_left_out = node_count ? node_count * (node_count - 1) - count : 0;
	return count;
}

uint64_t proof_job_fit(uint64_t tried_bytes, uint64_t took_ms, uint64_t page_bytes, uint64_t most_bytes)
{
	uint64_t bytes = tried_bytes * PAIR_MS / (took_ms ? took_ms : 1);

	bytes -= bytes % page_bytes;
	return bytes < tried_bytes ? tried_bytes : bytes < most_bytes ? bytes : most_bytes;
}

struct proof {
	struct job_context *context;
	enum microvm_backing backing;
	struct microvm *vm; /* owned */
	uint64_t bytes, page_bytes;
	uint64_t nodes;		   /* of the proof */
	uint64_t nodes_elsewhere; /* have memory too, and are left out */
	int home;
	struct proof_pair pairs[PROOF_PAIRS_MAX];
	size_t pair_count, left_out;
	uint64_t *addresses; /* owned */
	size_t count;
	struct page_survey *survey; /* owned; of this process */
	struct page_move *move;	    /* owned */
	struct physical_map *physical; /* owned */
	uint64_t quiet_pause_us;
	uint64_t pair_ms; /* of the small guest's one pair */
	uint64_t torn_words;
	/* Where it did not get on: what its vCPU's thread had in the time in which it wrote no page. */
	uint64_t stuck_interruptions, stuck_cpu_ms;
	/* The vCPU thread's, read after it was joined. */
	enum microvm_end end;
	int error;
	struct failure failure;
};

static void *run_vcpu(void *user)
{
	struct proof *proof = user;

	proof->error = microvm_run(proof->vm, UINT32_MAX, &proof->end, &proof->failure);
	return NULL;
}

static json_t *put_head(struct proof *proof)
{
	json_t *values = job_context_values(proof->context);

	json_object_update_new(values,
			       json_pack("{s:s, s:I}", "backing",
					 microvm_backing_name(proof->backing), "page_bytes",
					 (json_int_t)proof->page_bytes));
	return values;
}

/* Nothing failed, and nothing was proved. */
static void skip(struct proof *proof, const char *why, ...) PRINTF_LIKE(2, 3);

static void skip(struct proof *proof, const char *why, ...)
{
	char text[WORKER_DETAIL_SIZE];
	va_list arguments;

	va_start(arguments, why);
	vsnprintf(text, sizeof(text), why, arguments);
	va_end(arguments);
	failure_clear(&proof->context->result->failure);
	proof->context->result->outcome = WORKER_OUTCOME_DONE;
	json_object_set_new(put_head(proof), "skipped", json_string(text));
	job_context_detail(proof->context, "skipped: %s", text);
}

/* False with the result filled. */
static bool choose(struct proof *proof)
{
	const struct step *step = &proof->context->job->step;
	struct numa_node_list nodes = {0};
	int rc = numa_node_list_read(proof->context->sysroot, &nodes);
	uint64_t with_memory = rc ? 0 : node_mask_from_set(&nodes.with_memory);
	char size[SIZE_TEXT_SIZE];
	int backing;

	numa_node_list_done(&nodes);
	proof->page_bytes = step->page_bytes ? step->page_bytes : 4096;
	proof->bytes = step->bytes ? step->bytes : PROOF_BYTES;
	if (proof->bytes < proof->page_bytes)
		proof->bytes = proof->page_bytes;
	backing = microvm_backing_from_name(step->text);
	if (backing < 0) {
		job_context_fail(proof->context, EINVAL, "microVM", "cannot be made of \"%s\"",
				 step->text);
		return false;
	}
	proof->backing = (enum microvm_backing)backing;
	proof->nodes = step->nodes & with_memory;
	proof->nodes_elsewhere = with_memory & ~proof->nodes;
	proof->pair_count = proof_job_pairs(proof->nodes, proof->pairs, &proof->left_out);
	if (proof->pair_count) {
		proof->home = proof->pairs[0].from;
		return true;
	}
	size_text_format(proof->page_bytes, size);
	if (proof->backing == MICROVM_BACKING_HUGETLB)
		skip(proof, "no two nodes have free pages of %s, or room for them", size);
	else
		skip(proof, "no two nodes have room");
	return false;
}

/*
 * Builds the guest with its memory on the node `home`, and with that as the memory's own policy: AutoNUMA leaves such
 * memory alone (mm/mempolicy.c vma_policy_mof), and would else take back what is moved while it is moved. Where there
 * are no policies the pages are moved there before anything is measured.
 */
static int new_vm(const struct microvm_options *options, int home, struct microvm **ret_vm,
		  struct failure *failure)
{
	unsigned long mask[SNAPSHOT_NODES_MAX / (8 * sizeof(unsigned long)) + 1] = {0};
	unsigned long bits = SNAPSHOT_NODES_MAX + 1;
	uint64_t bytes;
	void *memory;
	int rc;

	mask[(size_t)home / (8 * sizeof(*mask))] = 1UL << (size_t)home % (8 * sizeof(*mask));
	(void)syscall(SYS_set_mempolicy, MPOL_PREFERRED, mask, bits);
	rc = microvm_new(options, ret_vm, failure);
	(void)syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0UL);
	if (rc)
		return rc;
	memory = microvm_memory(*ret_vm, &bytes);
	(void)syscall(SYS_mbind, memory, bytes, MPOL_PREFERRED, mask, bits, 0);
	return 0;
}

/* How much of its memory lies in pages of the proof's size or larger; UINT64_MAX where it cannot be told. */
static uint64_t huge_bytes(struct proof *proof)
{
	CLEANUP_FREE struct page_survey_totals *totals = calloc(1, sizeof(*totals));
	struct page_survey_range range = {.start = proof->addresses[0],
					  .end = proof->addresses[0] + proof->bytes,
					  .page_bytes = 4096};

	if (!totals || page_survey_count(proof->survey, &range, 1, totals))
		return UINT64_MAX;
	return totals->huge_bytes;
}

/* False with the result filled. */
static bool make_vm(struct proof *proof)
{
	struct job_context *context = proof->context;
	struct microvm_options options = {
		.memory_bytes = proof->bytes,
		.backing = proof->backing,
		.page_bytes = proof->page_bytes > 4096 ? proof->page_bytes : 0,
	};
	char text[FAILURE_OBJECT_SIZE + 3 * FAILURE_TEXT_SIZE];
	const char *memory;
	int rc;

	rc = new_vm(&options, proof->home, &proof->vm, &context->result->failure);
	if (rc == -ENOMEM && proof->backing == MICROVM_BACKING_HUGETLB) {
		failure_format(&context->result->failure, text, sizeof(text));
		skip(proof, "%.150s", text);
		return false;
	}
	if (rc) {
		context->result->outcome = WORKER_OUTCOME_FAILED;
		return false;
	}
	memory = microvm_memory(proof->vm, &proof->bytes);
	proof->count = (size_t)(proof->bytes / proof->page_bytes);
	proof->addresses = calloc(proof->count, sizeof(*proof->addresses));
	if (!proof->addresses) {
		job_context_fail(context, ENOMEM, "microVM", "cannot begin");
		return false;
	}
	for (size_t i = 0; i < proof->count; i++)
		proof->addresses[i] = (uint64_t)(uintptr_t)memory + i * proof->page_bytes;
	return true;
}

/* False with the result filled. */
static bool make_mover(struct proof *proof)
{
	struct job_context *context = proof->context;
	struct page_survey_options survey_options = {0};
	struct page_move_options options = {.pid = 0, .look_first = true};
	int rc = physical_map_read(context->sysroot, &proof->physical);

	survey_options.map = proof->physical;
	if (!rc)
		rc = page_survey_new(context->sysroot, getpid(), &survey_options, &proof->survey);
	options.ops = context->move_ops ? *context->move_ops : page_move_kernel_ops(proof->survey);
	if (!rc)
		rc = page_move_new(&options, &proof->move);
	if (rc) {
		job_context_fail(context, rc, "microVM", "cannot find its pages");
		return false;
	}
	return true;
}

/* Is what should be transparent huge pages made of them? False with the result filled. */
static bool is_whole(struct proof *proof)
{
	char text[SIZE_TEXT_SIZE];
	uint64_t huge;

	if (proof->backing != MICROVM_BACKING_THP)
		return true;
	huge = huge_bytes(proof);
	if (huge == proof->bytes)
		return true;
	skip(proof, "the kernel gave %s of it as transparent huge pages",
	     huge == UINT64_MAX ? "nothing that can be seen" : size_text_format(huge, text));
	return false;
}

/* Waits until the guest has looked at every page once more. False: it does not get on, or is stopped. */
static bool wait_pass(struct proof *proof)
{
	uint64_t until = monotonic_ms() + STUCK_MS, target;
	struct microvm_stats last, stats;

	microvm_read_stats(proof->vm, &last);
	/* One more, for the page that it was in the middle of. */
	target = last.pages + proof->bytes / 4096 + 1;
	do {
		microvm_read_stats(proof->vm, &stats);
		if (stats.pages >= target)
			return true;
		if (stats.pages != last.pages) {
			until = monotonic_ms() + STUCK_MS;
			last = stats;
		}
	} while (monotonic_ms() < until && job_context_wait(proof->context, POLL_US));
	proof->stuck_interruptions = stats.interruptions - last.interruptions;
	proof->stuck_cpu_ms = (stats.cpu_ns - last.cpu_ns) / 1000000;
	return false;
}

/* Until all of it is on the node. 0, -errno or -ECANCELED; what stays, and why, is what the last try said. */
static int move_all(struct proof *proof, int node, struct proof_pair *pair)
{
	struct page_move_counts counts = {0};
	uint64_t moved = 0, there = 0, call_ns = 0;
	int rc = 0;

	for (int try = 0; !rc && try < TRIES && there < proof->count; try++) {
		if (try && !job_context_wait(proof->context, TRY_AGAIN_US))
			return -ECANCELED;
		counts = (struct page_move_counts){0};
		rc = page_move_run(proof->move, proof->addresses, proof->count, node, NULL, &counts);
		moved += counts.pages[PAGE_MOVE_MOVED];
		there = counts.pages[PAGE_MOVE_MOVED] + counts.pages[PAGE_MOVE_ALREADY_THERE];
		call_ns += counts.call_ns;
	}
	pair->error = rc;
	pair->moved_bytes = (moved < proof->count ? moved : proof->count) * proof->page_bytes;
	pair->left_bytes = (proof->count - there) * proof->page_bytes;
	pair->call_us = call_ns / 1000;
	memcpy(pair->left_pages, counts.pages, sizeof(pair->left_pages));
	return rc;
}

/* 0; -ETIME where the guest does not get on; -ECANCELED. What stays of the pair is in the pair. */
static int prove_pair(struct proof *proof, struct proof_pair *pair)
{
	struct microvm_stats stats;
	int rc;

	/* Mostly it is there already, from the pair before. */
	rc = move_all(proof, pair->from, pair);
	microvm_reset_pause(proof->vm);
	if (!rc)
		rc = move_all(proof, pair->to, pair);
	if (rc == -ECANCELED)
		return rc;
	pair->is_tried = true;
	if (proof->backing == MICROVM_BACKING_THP && huge_bytes(proof) < proof->bytes) {
		pair->is_split = true;
		pair->left_bytes = proof->bytes - huge_bytes(proof);
		pair->moved_bytes = proof->bytes - pair->left_bytes;
	}
	/* The guest must look at every page between two moves, or the proof proves nothing. */
	if (!wait_pass(proof))
		return proof->context->stop == WORKER_CONTROL_GO ? -ETIME : -ECANCELED;
	microvm_read_stats(proof->vm, &stats);
	pair->pause_us = stats.longest_pause_ns / 1000;
	return 0;
}

static int prove_pairs(struct proof *proof)
{
	struct microvm_stats stats;
	int rc = 0;

	if (!wait_pass(proof))
		return proof->context->stop == WORKER_CONTROL_GO ? -ETIME : -ECANCELED;
	microvm_reset_pause(proof->vm);
	if (!job_context_wait(proof->context, QUIET_US))
		return -ECANCELED;
	microvm_read_stats(proof->vm, &stats);
	proof->quiet_pause_us = stats.longest_pause_ns / 1000;
	/* One address for each huge page is right only while they are whole. */
	for (size_t i = 0; !rc && i < proof->pair_count && !(i && proof->pairs[i - 1].is_split); i++) {
		rc = prove_pair(proof, &proof->pairs[i]);
		worker_control_progress(proof->context->control, (i + 1) * proof->bytes,
					proof->pair_count * proof->bytes, "%s, node %d to %d",
					microvm_backing_name(proof->backing), proof->pairs[i].from,
					proof->pairs[i].to);
	}
	return rc;
}

/* Why a pair did not end with all of its memory at the other node. */
static void tell_left(struct proof *proof, const struct proof_pair *pair)
{
	struct remainder_list *list = &proof->context->result->remainder;
	uint64_t left = pair->left_bytes;
	const struct move_reason *reasons;
	char object[96];
	size_t count;

	if (!left)
		return;
	snprintf(object, sizeof(object), "node %d to %d, %s", pair->from, pair->to,
		 microvm_backing_name(proof->backing));
	if (pair->error || pair->is_split) {
		remainder_list_add(list, pair->error ? REMAINDER_NOT_PERMITTED : REMAINDER_NO_ROOM, object, left,
				   NULL, "%s", pair->error ? strerror(-pair->error) : "its huge pages were split");
		return;
	}
	reasons = move_reasons(&count);
	for (size_t i = 0; i < count; i++) {
		uint64_t bytes = pair->left_pages[reasons[i].outcome] * proof->page_bytes;

		if (bytes)
			remainder_list_add(list, reasons[i].code, object, bytes, NULL, "%s", reasons[i].detail);
		left -= bytes;
	}
	/* Its own process has it mapped, and touches nothing of it away. */
	if (left)
		remainder_list_add(list, REMAINDER_SWAPPED, object, left, NULL, "in no page table while it was moved");
}

static void tell_pairs(struct proof *proof)
{
	struct worker_result *result = proof->context->result;
	json_t *values = put_head(proof), *list = json_array();

	for (size_t i = 0; i < proof->pair_count; i++) {
		const struct proof_pair *pair = &proof->pairs[i];

		if (!pair->is_tried)
			continue;
		result->bytes_done += pair->moved_bytes;
		if (pair->pause_us > result->longest_pause_us)
			result->longest_pause_us = pair->pause_us;
		json_array_append_new(
			list,
			json_pack("{s:i, s:i, s:I, s:I, s:I, s:I}", "from", pair->from, "to",
				  pair->to, "moved_bytes", (json_int_t)pair->moved_bytes,
				  "left_bytes", (json_int_t)pair->left_bytes, "bytes_per_s",
				  (json_int_t)(pair->call_us ? (double)pair->moved_bytes * 1e6 /
								       (double)pair->call_us
							     : 0),
				  "longest_pause_us", (json_int_t)pair->pause_us));
		tell_left(proof, pair);
	}
	json_object_set_new(values, "pairs", list);
}

static void tell_facts(struct proof *proof)
{
	json_t *values = put_head(proof), *nodes = json_array();
	struct microvm_stats stats;

	microvm_read_stats(proof->vm, &stats);
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (proof->nodes_elsewhere & node_mask_of(node))
			json_array_append_new(nodes, json_integer(node));
	json_object_update_new(
		values, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "memory_bytes",
				  (json_int_t)proof->bytes, "torn_words", (json_int_t)proof->torn_words,
				  "rounds", (json_int_t)stats.rounds, "quiet_pause_us",
				  (json_int_t)proof->quiet_pause_us, "longest_pause_us",
				  (json_int_t)proof->context->result->longest_pause_us,
				  "left_out_pairs", (json_int_t)proof->left_out, "split_bytes",
				  (json_int_t)(proof->backing == MICROVM_BACKING_THP
						       ? proof->bytes - huge_bytes(proof)
						       : 0),
				  "left_out_nodes", nodes));
}

static void judge(struct proof *proof, int rc)
{
	struct job_context *context = proof->context;

	if (context->stop != WORKER_CONTROL_GO) {
		job_context_settle(context, "microVM", 0, context->result->bytes_done > 0);
	} else if (proof->error || proof->end == MICROVM_END_KVM_ERROR) {
		job_context_fail(context, proof->error ? proof->error : EIO, "microVM",
				 "cannot run it");
		if (failure_is_set(&proof->failure))
			context->result->failure = proof->failure;
	} else if (proof->end == MICROVM_END_CORRUPT || proof->torn_words) {
		job_context_fail(context, 0, "microVM", "its memory was damaged by a move");
		failure_set_cause(&context->result->failure,
				  "%llu words were not as the guest had written them",
				  (unsigned long long)proof->torn_words);
	} else if (proof->end == MICROVM_END_NO_PROGRESS || rc == -ETIME) {
		job_context_fail(context, ETIME, "microVM", "cannot run it");
		failure_set_cause(&context->result->failure,
				  "KVM of this host does not let a guest make progress: no page written in %u s, in which "
				  "its vCPU ran %llu ms and was interrupted %llu times",
				  STUCK_MS / 1000, (unsigned long long)proof->stuck_cpu_ms,
				  (unsigned long long)proof->stuck_interruptions);
	} else if (rc) {
		job_context_fail(context, rc, "microVM", "cannot move its memory");
	} else {
		job_context_settle(context, "microVM", 0, context->result->bytes_done > 0);
	}
}

/*
 * Does the work of the main thread while the vCPU runs, and compares every word after it. False with the result filled:
 * the vCPU's thread cannot be started.
 */
static bool run_beside(struct proof *proof, int (*work)(struct proof *proof), int *ret_rc)
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, run_vcpu, proof);

	if (rc) {
		job_context_fail(proof->context, rc, "microVM", "cannot start its vCPU");
		return false;
	}
	*ret_rc = work(proof);
	microvm_stop(proof->vm);
	pthread_join(thread, NULL);
	proof->torn_words = 0;
	if (!proof->error && microvm_verify(proof->vm, &proof->torn_words))
		proof->torn_words = 0;
	return true;
}

/* How long one pair takes. */
static int try_pair(struct proof *proof)
{
	struct proof_pair pair = proof->pairs[0];
	uint64_t began;
	int rc;

	if (!wait_pass(proof))
		return proof->context->stop == WORKER_CONTROL_GO ? -ETIME : -ECANCELED;
	began = monotonic_ms();
	rc = prove_pair(proof, &pair);
	proof->pair_ms = monotonic_ms() - began;
	return rc;
}

/* A guest as small as can be, one pair, and then the guest of the proof. False with the result filled. */
static bool fit_vm(struct proof *proof)
{
	uint64_t most = proof->bytes;
	int rc;

	proof->bytes = proof->page_bytes > LEAST_BYTES ? proof->page_bytes : LEAST_BYTES;
	if (proof->bytes >= most) {
		proof->bytes = most;
		return make_vm(proof);
	}
	if (!make_vm(proof))
		return false;
	if (!run_beside(proof, try_pair, &rc))
		return false;
	/* A move that was refused is refused again, and told then. */
	if (rc == -ETIME || rc == -ECANCELED || proof->error || proof->torn_words ||
	    proof->end != MICROVM_END_STOPPED) {
		tell_facts(proof);
		judge(proof, rc);
		return false;
	}
	proof->bytes = proof_job_fit(proof->bytes, proof->pair_ms, proof->page_bytes, most);
	proof->vm = microvm_free(proof->vm);
	free(proof->addresses);
	proof->addresses = NULL;
	return make_vm(proof);
}

static void prove(struct proof *proof)
{
	int rc;

	if (!run_beside(proof, prove_pairs, &rc))
		return;
	tell_pairs(proof);
	tell_facts(proof);
	judge(proof, rc);
}

void proof_job_run(struct job_context *context)
{
	struct proof *proof = calloc(1, sizeof(*proof));

	if (!proof) {
		job_context_fail(context, ENOMEM, "microVM", "cannot begin");
		return;
	}
	proof->context = context;
	if (choose(proof) && make_mover(proof) && fit_vm(proof) && is_whole(proof))
		prove(proof);
	page_move_free(proof->move);
	page_survey_free(proof->survey);
	physical_map_free(proof->physical);
	microvm_free(proof->vm);
	free(proof->addresses);
	free(proof);
}
