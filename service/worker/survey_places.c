/* SPDX-License-Identifier: Apache-2.0 */
#include "survey_places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int survey_places_init(struct survey_places *places, const struct survey_target *targets, size_t target_count)
{
	*places = (struct survey_places){.targets = targets, .target_count = target_count};
	places->target_before = calloc(target_count + 1, sizeof(*places->target_before));
	return places->target_before ? 0 : -ENOMEM;
}

void survey_places_done(struct survey_places *places)
{
	free(places->target_before);
	places->target_before = NULL;
}

void survey_places_mark(struct survey_places *places, const struct page_survey_totals *totals)
{
	memcpy(places->node_before, totals->node_bytes, sizeof(places->node_before));
	memcpy(places->target_before, totals->target_bytes, places->target_count * sizeof(*places->target_before));
}

static void add(struct worker_survey *survey, struct snapshot_place place, uint64_t bytes)
{
	size_t index = survey->place_count;

	if (bytes < SNAPSHOT_PLACE_BYTES || bytes / SNAPSHOT_PLACE_BYTES > UINT32_MAX)
		return;
	place.pages = (uint32_t)(bytes / SNAPSHOT_PLACE_BYTES);
	if (index < SNAPSHOT_PLACES_MAX) {
		survey->places[survey->place_count++] = place;
		return;
	}
	index = 0;
	for (size_t i = 1; i < SNAPSHOT_PLACES_MAX; i++)
		if (survey->places[i].pages < survey->places[index].pages)
			index = i;
	if (survey->places[index].pages < place.pages)
		survey->places[index] = place;
}

static bool is_told(const struct survey_target *target)
{
	return target->dimm < SNAPSHOT_NO_DIMM && target->node >= 0;
}

static bool are_of_same(const struct survey_target *a, const struct survey_target *b)
{
	return a->dimm == b->dimm && a->node == b->node;
}

void survey_places_take(const struct survey_places *places, const struct page_survey_totals *totals, size_t device,
			size_t unit, struct worker_survey *survey)
{
	const struct survey_target *targets = places->targets;
	uint64_t inside[SNAPSHOT_NODES_MAX] = {0}, sum = 0;
	struct snapshot_place place = {.device = (uint8_t)device, .unit = (uint8_t)unit};

	for (size_t i = 0; i < places->target_count; i++) {
		sum += totals->target_bytes[i] - places->target_before[i];
		if (i + 1 < places->target_count && are_of_same(&targets[i], &targets[i + 1]))
			continue;
		/* One whose number has no place is told with its node alone; one of a node that is not known likewise. */
		if (sum && is_told(&targets[i])) {
			place.dimm = (uint8_t)targets[i].dimm;
			place.node = (int8_t)targets[i].node;
			inside[place.node] += sum;
			add(survey, place, sum);
		}
		sum = 0;
	}
	place.dimm = SNAPSHOT_NO_DIMM;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t bytes = totals->node_bytes[node] - places->node_before[node];

		place.node = (int8_t)node;
		if (bytes > inside[node])
			add(survey, place, bytes - inside[node]);
	}
}
