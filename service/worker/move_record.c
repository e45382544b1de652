/* SPDX-License-Identifier: Apache-2.0 */
#include "move_record.h"

#include <errno.h>
#include "backing_window.h"
#include "guest_view.h"
#include "job_context.h"
#include "move_job.h"
#include "node_mask.h"

/* What the window shows at a time: its page tables are ours. */
#define WINDOW_BYTES (UINT64_C(1) << 30)

struct recorder {
	struct job_context *context;
	const struct guest_view *view;
	struct page_survey_options options;
	struct page_survey *survey; /* owned */
	struct page_homes *homes;
	/* Of pages that only the guest's files have; owned, made when needed. */
	struct backing_window *window;
	struct page_survey *own;
};

/* A walk whose runs are told by where they lie in the guest. */
struct walk {
	struct page_survey *survey;
	uint64_t shift;
	struct page_survey_run run; /* no run yet, or none any more: absent */
};

/* The run at address, or the one that was walked to already. 0 or -errno. */
static int walk_to(struct walk *walk, uint64_t address)
{
	while (walk->run.end <= address) {
		int got = page_survey_next(walk->survey, &walk->run);

		if (got < 0)
			return got;
		walk->run.start += walk->shift;
		walk->run.end += walk->shift;
		if (got == 0)
			walk->run = (struct page_survey_run){.state = PAGE_SURVEY_ABSENT, .end = UINT64_MAX};
	}
	return 0;
}

static int go_on(void *user)
{
	return job_context_go(user) ? 0 : -ECANCELED;
}

/* Does it lie where the step brings others? Of what lies in physical ranges nobody asks. */
static bool is_there_already(const struct step *step, const struct page_survey_run *run)
{
	return !step->range_count && run->state == PAGE_SURVEY_PRESENT && run->node_id >= 0 &&
	       run->node_id < SNAPSHOT_NODES_MAX && (move_job_destinations(step) & node_mask_of(run->node_id));
}

/* Part of a run in a range of the guest. Likewise, or -ECANCELED. */
static int record_run(struct recorder *recorder, size_t index, const struct page_survey_run *run)
{
	struct job_context *context = recorder->context;
	const struct step *step = &context->job->step;
	int rc = 0;

	if (move_job_destination(step, recorder->view->cells[index], run) >= 0)
		rc = page_homes_add(recorder->homes, run->start, run->end, run->node_id);
	else if (is_there_already(step, run))
		rc = page_homes_add(recorder->homes, run->start, run->end, PAGE_HOMES_STAYS);
	return rc ? rc : go_on(context);
}

/* By the guest's page table. */
static int record_mapped(struct recorder *recorder, size_t index, const struct page_survey_range *range,
			 uint64_t *ret_bytes)
{
	struct page_survey_run run;
	int rc = page_survey_begin(recorder->survey, range);

	*ret_bytes = 0;
	while (!rc && (rc = page_survey_next(recorder->survey, &run)) > 0) {
		if (run.state == PAGE_SURVEY_PRESENT)
			*ret_bytes += run.end - run.start;
		rc = record_run(recorder, index, &run);
	}
	return rc;
}

/* A part of a range, by both page tables at once. */
static int record_part(struct recorder *recorder, size_t index, const struct page_survey_range *part, int fd)
{
	const struct guest_range *range = &recorder->view->map.ranges[index];
	uint64_t offset = range->offset + part->start - range->start, end;
	struct page_survey_range own = {.page_bytes = part->page_bytes};
	struct backing_window_found found = {0};
	struct walk mapped = {.survey = recorder->survey}, unmapped = {.survey = recorder->own};
	int rc = backing_window_map(recorder->window, fd, part->page_bytes, offset, part->end - part->start, &own.start);

	if (rc)
		return rc;
	own.end = own.start + (part->end - part->start);
	unmapped.shift = part->start - own.start;
	rc = backing_window_fill_absent(recorder->window, recorder->survey, part, offset, go_on, recorder->context, &found);
	if (!rc)
		rc = page_survey_begin(mapped.survey, part);
	if (!rc)
		rc = page_survey_begin(unmapped.survey, &own);
	for (uint64_t at = part->start; !rc && at < part->end; at = end) {
		struct page_survey_run run;

		rc = walk_to(&mapped, at);
		if (!rc)
			rc = walk_to(&unmapped, at);
		end = mapped.run.end < unmapped.run.end ? mapped.run.end : unmapped.run.end;
		if (end > part->end)
			end = part->end;
		run = mapped.run.state == PAGE_SURVEY_PRESENT ? mapped.run : unmapped.run;
		run.start = at;
		run.end = end;
		if (!rc)
			rc = record_run(recorder, index, &run);
	}
	backing_window_unmap(recorder->window);
	return rc;
}

/* A range once more, where its file has more than the guest's page table shows. */
static int record_file(struct recorder *recorder, size_t index, const struct page_survey_range *range, int fd)
{
	struct page_survey_range part = *range;
	int rc = recorder->window ? 0 : backing_window_new(&recorder->window);

	/* Nobody can move them either. */
	if (rc == -EOPNOTSUPP)
		return 0;
	if (!rc && !recorder->own)
		rc = page_survey_new(recorder->context->sysroot, getpid(), &recorder->options, &recorder->own);
	if (rc)
		return rc;
	page_homes_restart(recorder->homes);
	for (; !rc && part.start < range->end; part.start = part.end) {
		part.end = range->end - part.start > WINDOW_BYTES ? part.start + WINDOW_BYTES : range->end;
		rc = record_part(recorder, index, &part, fd);
	}
	return rc;
}

static int record_range(struct recorder *recorder, size_t index)
{
	const struct guest_range *memory = &recorder->view->map.ranges[index];
	struct page_survey_range range = guest_view_range(recorder->view, index);
	CLEANUP_CLOSE int fd = -1;
	uint64_t mapped, held;
	int rc = page_homes_begin(recorder->homes, range.start, range.end);

	if (!rc)
		rc = record_mapped(recorder, index, &range, &mapped);
	if (rc || !guest_range_has_window(memory))
		return rc;
	fd = guest_map_open_backing(recorder->context->sysroot, recorder->context->job->process.pid, memory, &held);
	if (fd < 0)
		return fd == -ENOENT || fd == -ESTALE ? 0 : fd;
	return held > mapped ? record_file(recorder, index, &range, fd) : 0;
}

int move_record_take(struct job_context *context, const struct guest_view *view, const struct physical_range *targets,
		     struct page_homes *homes)
{
	struct recorder recorder = {
		.context = context,
		.view = view,
		.options = {.map = view->physical, .targets = targets, .target_count = context->job->step.range_count},
		.homes = homes,
	};
	int rc = page_survey_new(context->sysroot, context->job->process.pid, &recorder.options, &recorder.survey);

	for (size_t i = 0; !rc && i < view->map.count; i++)
		rc = record_range(&recorder, i);
	page_survey_free(recorder.survey);
	page_survey_free(recorder.own);
	backing_window_free(recorder.window);
	return rc;
}

int move_record_newcomers_home(const struct page_homes *homes, const struct step *step, int cell, int node)
{
	int home = -1;

	if (step->range_count)
		return -1;
	for (uint64_t rest = homes->nodes; rest; rest &= rest - 1) {
		struct page_survey_run run = {.state = PAGE_SURVEY_PRESENT, .node_id = __builtin_ctzll(rest)};

		if (move_job_destination(step, cell, &run) != node)
			continue;
		if (home >= 0)
			return -1;
		home = run.node_id;
	}
	return home;
}

/* Of one huge page that was several pages of several homes: the most of it decides. */
static struct move_place place_mixed(const struct page_homes *homes, const struct page_survey_run *run, int newcomers_home)
{
	uint64_t weights[SNAPSHOT_NODES_MAX] = {0}, known[SNAPSHOT_NODES_MAX] = {0}, unknown = 0, all = 0, end;
	struct move_place place = {.node = -1, .end = run->start + run->page_bytes};

	for (uint64_t at = run->start; at < place.end; at = end) {
		int home = page_homes_find(homes, at, &end), belongs = home;

		if (end > place.end)
			end = place.end;
		if (home == PAGE_HOMES_NONE)
			belongs = newcomers_home;
		else if (home == PAGE_HOMES_STAYS)
			belongs = run->node_id;
		else if (home == PAGE_HOMES_UNKNOWN)
			unknown += end - at;
		if (belongs >= 0)
			weights[belongs] += end - at;
		if (home >= 0) {
			known[home] += end - at;
			all += end - at;
		}
	}
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (weights[node] && (place.node < 0 || weights[node] > weights[place.node]))
			place.node = node;
	place.stray_bytes = unknown + all - (place.node >= 0 ? known[place.node] : 0);
	if (place.node == run->node_id)
		place.node = -1;
	return place;
}

struct move_place move_record_place(const struct page_homes *homes, const struct page_survey_run *run, uint64_t moved,
				    int newcomers_home)
{
	struct move_place place;
	int home = page_homes_find(homes, run->start, &place.end);

	if (place.end >= run->end)
		place.end = run->end;
	else if (run->page_bytes > PAGE_HOMES_UNIT && place.end - run->start < run->page_bytes)
		return place_mixed(homes, run, newcomers_home);
	else if (run->page_bytes > PAGE_HOMES_UNIT)
		place.end -= (place.end - run->start) % run->page_bytes;
	place.stray_bytes =
		home == PAGE_HOMES_UNKNOWN && moved & node_mask_of(run->node_id) ? place.end - run->start : 0;
	if (home == PAGE_HOMES_NONE)
		home = newcomers_home;
	place.node = home == run->node_id || home < 0 ? -1 : home;
	return place;
}
