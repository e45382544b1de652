/* SPDX-License-Identifier: Apache-2.0 */
#include "move_record.h"

#include <errno.h>
#include "guest_view.h"
#include "job_context.h"
#include "move_job.h"
#include "node_mask.h"

static int record_range(struct job_context *context, const struct guest_view *view, size_t index,
			struct page_survey *survey, struct page_homes *homes)
{
	struct page_survey_range range = guest_view_range(view, index);
	struct page_survey_run run;
	int rc = page_survey_begin(survey, &range);

	if (!rc)
		rc = page_homes_begin(homes, range.start, range.end);
	while (!rc && (rc = page_survey_next(survey, &run)) > 0) {
		rc = move_job_destination(&context->job->step, view->cells[index], &run) < 0
			     ? 0
			     : page_homes_add(homes, run.start, run.end, run.node_id);
		if (!rc && !job_context_go(context))
			rc = -ECANCELED;
	}
	return rc;
}

int move_record_take(struct job_context *context, const struct guest_view *view, const struct physical_range *targets,
		     struct page_homes *homes)
{
	CLEANUP(page_survey_freep) struct page_survey *survey = NULL;
	struct page_survey_options options = {
		.map = view->physical,
		.targets = targets,
		.target_count = context->job->step.range_count,
	};
	int rc = page_survey_new(context->sysroot, context->job->process.pid, &options, &survey);

	for (size_t i = 0; !rc && i < view->map.count; i++)
		rc = record_range(context, view, i, survey, homes);
	return rc;
}

/* Of one huge page that was several pages of several homes: the most of it decides. */
static struct move_place place_mixed(const struct page_homes *homes, const struct page_survey_run *run)
{
	uint64_t weights[SNAPSHOT_NODES_MAX] = {0}, unknown = 0, all = 0, end;
	struct move_place place = {.node = -1, .end = run->start + run->page_bytes};

	for (uint64_t at = run->start; at < place.end; at = end) {
		int home = page_homes_find(homes, at, &end);

		if (end > place.end)
			end = place.end;
		if (home >= 0)
			weights[home] += end - at;
		else if (home == PAGE_HOMES_UNKNOWN)
			unknown += end - at;
		all += home >= 0 ? end - at : 0;
	}
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (weights[node] && (place.node < 0 || weights[node] > weights[place.node]))
			place.node = node;
	place.stray_bytes = unknown + all - (place.node >= 0 ? weights[place.node] : 0);
	if (place.node == run->node_id)
		place.node = -1;
	return place;
}

struct move_place move_record_place(const struct page_homes *homes, const struct page_survey_run *run, uint64_t moved)
{
	struct move_place place;
	int home = page_homes_find(homes, run->start, &place.end);

	if (place.end >= run->end)
		place.end = run->end;
	else if (run->page_bytes > PAGE_HOMES_UNIT && place.end - run->start < run->page_bytes)
		return place_mixed(homes, run);
	else if (run->page_bytes > PAGE_HOMES_UNIT)
		place.end -= (place.end - run->start) % run->page_bytes;
	place.node = home == run->node_id || home < 0 ? -1 : home;
	place.stray_bytes =
		home == PAGE_HOMES_UNKNOWN && moved & node_mask_of(run->node_id) ? place.end - run->start : 0;
	return place;
}
