/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare_guests(const void *left, const void *right)
{
	const struct snapshot_guest *const *a = left, *const *b = right;

	return strcmp((*a)->uuid, (*b)->uuid);
}

static int compare_uuid(const void *uuid, const void *guest)
{
	return strcmp(uuid, (*(const struct snapshot_guest *const *)guest)->uuid);
}

int guest_index_init(struct guest_index *index, const struct snapshot *snapshot)
{
	*index = (struct guest_index){.guests = calloc(snapshot->guest_count + 1, sizeof(*index->guests))};
	if (!index->guests)
		return -ENOMEM;
	for (size_t i = 0; i < snapshot->guest_count; i++)
		index->guests[index->count++] = &snapshot->guests[i];
	qsort(index->guests, index->count, sizeof(*index->guests), compare_guests);
	return 0;
}

void guest_index_done(struct guest_index *index)
{
	free(index->guests);
	*index = (struct guest_index){0};
}

struct snapshot_guest *guest_index_find(const struct guest_index *index, const char *uuid)
{
	struct snapshot_guest **found = NULL;

	if (uuid[0] && index->count)
		found = bsearch(uuid, index->guests, index->count, sizeof(*index->guests), compare_uuid);
	return found ? *found : NULL;
}
