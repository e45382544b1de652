/* SPDX-License-Identifier: Apache-2.0 */
#include "holders.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "guest_look.h"
#include "movability.h"

struct search {
	holders_fn *found;
	void *user;
	unsigned pending;
	struct remainder_list list;
};

struct survey {
	struct search *search;
	char name[SNAPSHOT_NAME_SIZE];
};

static void step(struct search *search)
{
	struct failure failure = {0};

	if (--search->pending > 0)
		return;
	search->found(search->user, 0, &failure, &search->list);
	free(search);
}

/* One that cannot be seen does not hide the others, and is not taken for one that has nothing there. */
static void tell_unseen(struct search *search, const char *name, const struct failure *failure)
{
	char object[96], why[160] = "the survey gave no answer";

	snprintf(object, sizeof(object), "guest %s", name);
	if (failure_is_set(failure))
		failure_format(failure, why, sizeof(why));
	remainder_list_add(&search->list, REMAINDER_NOT_SURVEYED, object, 0, NULL, "not surveyed: %s", why);
}

static void on_survey(void *user, const struct worker_result *result)
{
	struct survey *survey = user;
	struct search *search = survey->search;
	struct worker_survey seen;
	struct failure failure = {0};
	char object[96];

	snprintf(object, sizeof(object), "guest %s", survey->name);
	if (result->outcome == WORKER_OUTCOME_DONE && result->values &&
	    worker_survey_parse(result->values, &seen, &failure) == 0) {
		for (size_t i = 0; i < seen.dimm_count; i++)
			if (seen.dimms[i].bytes)
				remainder_list_add(&search->list, REMAINDER_GUEST_MEMORY, object, seen.dimms[i].bytes,
						   NULL, "resident by its page table");
	} else if (!remainder_list_has(&result->remainder, REMAINDER_GUEST_GONE)) {
		tell_unseen(search, survey->name, failure_is_set(&failure) ? &failure : &result->failure);
	}
	free(survey);
	step(search);
}

/* The blocks of the ranges that lie in a zone of the kernel: nothing empties those. */
static void add_kernel_blocks(const struct snapshot *snapshot, const struct snapshot_range *ranges, size_t count,
			      struct remainder_list *list)
{
	for (size_t b = 0; b < snapshot->block_count; b++) {
		const struct snapshot_block *block = &snapshot->blocks[b];
		char object[96];

		if (block->state != BLOCK_STATE_ONLINE || block->zone == BLOCK_ZONE_MOVABLE)
			continue;
		for (size_t r = 0; r < count; r++) {
			struct movability movability = {0};

			if (block->start >= ranges[r].end || block->start + block->size_bytes <= ranges[r].start)
				continue;
			if (block->node >= 0)
				snprintf(object, sizeof(object), "blocks of node %d", block->node);
			else
				snprintf(object, sizeof(object), "blocks of several nodes");
			movability_add(&movability, block);
			remainder_list_add(list, REMAINDER_KERNEL_MEMORY, object, block->size_bytes,
					   movability_way_out(snapshot, &movability), "online in a kernel zone");
			break;
		}
	}
}

void holders_find(struct look *look, struct worker_pool *pool, const struct snapshot_range *ranges, size_t count,
		  holders_fn *found, void *user)
{
	const struct snapshot *snapshot = look_snapshot(look);
	struct search *search = calloc(1, sizeof(*search));
	struct failure failure = {0};

	if (!search) {
		failure_set(&failure, ENOMEM, "ballastd", "cannot look for holders");
		found(user, -ENOMEM, &failure, NULL);
		return;
	}
	*search = (struct search){.found = found, .user = user, .pending = 1};
	add_kernel_blocks(snapshot, ranges, count, &search->list);
	for (size_t g = 0; g < snapshot->guest_count; g++) {
		const struct snapshot_guest *guest = &snapshot->guests[g];
		struct worker_job job = {.kind = WORKER_JOB_SURVEY, .deadline_ms = 60000};
		struct survey *survey;
		int r;

		if (guest->pid <= 0)
			continue;
		survey = calloc(1, sizeof(*survey));
		job.dimms = calloc(1, sizeof(*job.dimms));
		if (!survey || !job.dimms) {
			free(survey);
			worker_job_done(&job);
			failure_set(&failure, ENOMEM, guest->name, "cannot survey");
			tell_unseen(search, guest->name, &failure);
			continue;
		}
		step_init(&job.step, STEP_KIND_MOVE_PAGES);
		job.process = (struct worker_process){guest->pid, guest->start_time};
		guest_look_ram_sizes(guest, &job);
		job.dimm_count = 1;
		snprintf(job.dimms[0].id, SNAPSHOT_NAME_SIZE, "range");
		for (size_t r2 = 0; r2 < count && r2 < SNAPSHOT_RANGES_MAX; r2++)
			job.dimms[0].ranges[job.dimms[0].range_count++] = ranges[r2];
		survey->search = search;
		memcpy(survey->name, guest->name, sizeof(survey->name));
		r = worker_pool_start(pool, &job, NULL, on_survey, survey, NULL, &failure);
		worker_job_done(&job);
		if (r < 0) {
			tell_unseen(search, guest->name, &failure);
			free(survey);
			continue;
		}
		search->pending++;
	}
	step(search);
}
