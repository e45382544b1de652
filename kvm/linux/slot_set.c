/* SPDX-License-Identifier: Apache-2.0 */
#include "slot_set.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "cleanup.h"
#include "smbios.h"

static const char *const interleave_names[SLOT_SET_INTERLEAVE_COUNT] = {
	[SLOT_SET_INTERLEAVE_NO] = "no",
	[SLOT_SET_INTERLEAVE_YES] = "yes",
	[SLOT_SET_INTERLEAVE_UNKNOWN] = "unknown",
};
NAME_TABLE_DEFINE(slot_set_interleave, interleave_names)

static const char *const confidence_names[SLOT_SET_CONFIDENCE_COUNT] = {
	[SLOT_SET_CONFIDENCE_LOW] = "low",
	[SLOT_SET_CONFIDENCE_LIKELY] = "likely",
	[SLOT_SET_CONFIDENCE_CERTAIN] = "certain",
};
NAME_TABLE_DEFINE(slot_set_confidence, confidence_names)

/* What is known of one slot while sets are formed. Those of a set have the same root (union-find). */
struct member {
	size_t parent;
	bool is_used;	      /* populated, of system memory */
	bool has_own;	      /* type 20 names ranges of it */
	bool by_array;	      /* its ranges are its array's */
	bool shares;	      /* another slot answers to the same addresses */
	bool claims;	      /* type 20 says that it is interleaved */
	bool claim_is_unknown;
};

#define NO_SLOT SIZE_MAX

struct finder {
	const struct smbios *smbios; /* borrowed */
	struct member *members;	     /* owned; one a slot */
	size_t *slot_of;	     /* owned; the used slot of each slot range, or NO_SLOT */
	size_t *array_slot_of;	     /* owned; of each array range the first slot that has its ranges from it, or NO_SLOT */
};

static size_t root_of(struct member *members, size_t slot)
{
	while (members[slot].parent != slot) {
		members[slot].parent = members[members[slot].parent].parent;
		slot = members[slot].parent;
	}
	return slot;
}

/* The lower one is the root, so that the order of sets is that of slots. */
static void join(struct member *members, size_t a, size_t b)
{
	a = root_of(members, a);
	b = root_of(members, b);
	if (a < b)
		members[b].parent = a;
	else
		members[a].parent = b;
}

static bool overlap(const struct physical_range *a, const struct physical_range *b)
{
	return a->start < b->end && b->start < a->end;
}

/* An array that no structure describes is taken for memory: what else would its slots be for. */
static bool is_system_memory(const struct smbios *smbios, uint16_t array)
{
	for (size_t i = 0; i < smbios->array_count; i++)
		if (smbios->arrays[i].handle == array)
			return smbios->arrays[i].is_system_memory;
	return true;
}

static size_t find_slot(const struct finder *finder, uint16_t handle)
{
	for (size_t i = 0; i < finder->smbios->slot_count; i++)
		if (finder->smbios->slots[i].handle == handle && finder->members[i].is_used)
			return i;
	return NO_SLOT;
}

static size_t find_array_slot(const struct finder *finder, uint16_t array)
{
	for (size_t i = 0; i < finder->smbios->slot_count; i++)
		if (finder->members[i].is_used && finder->members[i].by_array && finder->smbios->slots[i].array == array)
			return i;
	return NO_SLOT;
}

static void look_at_slots(struct finder *finder)
{
	const struct smbios *smbios = finder->smbios;

	for (size_t i = 0; i < smbios->slot_count; i++) {
		finder->members[i].parent = i;
		finder->members[i].is_used =
			smbios->slots[i].is_populated && is_system_memory(smbios, smbios->slots[i].array);
	}
	for (size_t i = 0; i < smbios->slot_range_count; i++) {
		const struct smbios_slot_range *range = &smbios->slot_ranges[i];
		size_t slot = find_slot(finder, range->slot);

		finder->slot_of[i] = slot;
		if (slot == NO_SLOT)
			continue;
		finder->members[slot].has_own = true;
		if (range->position == SMBIOS_INTERLEAVE_UNKNOWN)
			finder->members[slot].claim_is_unknown = true;
		else if (range->position != SMBIOS_INTERLEAVE_NONE)
			finder->members[slot].claims = true;
	}
}

/* An array is told by its slots only if each of them is: what the rest has would be nobody's. */
static void look_at_arrays(struct finder *finder)
{
	const struct smbios *smbios = finder->smbios;

	for (size_t i = 0; i < smbios->slot_count; i++) {
		struct member *member = &finder->members[i];

		for (size_t j = 0; member->is_used && j < smbios->slot_count; j++) {
			const struct member *other = &finder->members[j];

			if (other->is_used && smbios->slots[i].array == smbios->slots[j].array)
				member->by_array |= !other->has_own;
		}
	}
	for (size_t i = 0; i < smbios->array_range_count; i++)
		finder->array_slot_of[i] = find_array_slot(finder, smbios->array_ranges[i].array);
}

static void join_sharers(struct finder *finder, size_t a, size_t b)
{
	finder->members[a].shares = finder->members[b].shares = true;
	join(finder->members, a, b);
}

static void join_by_slot_ranges(struct finder *finder)
{
	const struct smbios_slot_range *ranges = finder->smbios->slot_ranges;

	for (size_t i = 0; i < finder->smbios->slot_range_count; i++)
		for (size_t j = 0; j < i; j++) {
			size_t a = finder->slot_of[i], b = finder->slot_of[j];

			if (a != NO_SLOT && b != NO_SLOT && a != b && overlap(&ranges[i].range, &ranges[j].range))
				join_sharers(finder, a, b);
		}
}

/* Slots that are interleaved, as they say, and with none that has the same range: with each other, then. */
static void join_lone_claims(struct finder *finder)
{
	const struct smbios *smbios = finder->smbios;

	for (size_t i = 0; i < smbios->slot_count; i++)
		for (size_t j = 0; j < i; j++) {
			const struct member *a = &finder->members[i], *b = &finder->members[j];

			if (smbios->slots[i].array == smbios->slots[j].array && a->claims && b->claims &&
			    !a->shares && !b->shares)
				join(finder->members, i, j);
		}
}

static void join_by_arrays(struct finder *finder)
{
	const struct smbios *smbios = finder->smbios;

	for (size_t i = 0; i < smbios->slot_count; i++)
		for (size_t j = 0; j < i; j++)
			if (finder->members[i].by_array && finder->members[j].by_array &&
			    smbios->slots[i].array == smbios->slots[j].array)
				join(finder->members, i, j);
}

static void join_arrays_that_share(struct finder *finder)
{
	const struct smbios_array_range *ranges = finder->smbios->array_ranges;

	for (size_t i = 0; i < finder->smbios->array_range_count; i++)
		for (size_t j = 0; j < i; j++) {
			size_t a = finder->array_slot_of[i], b = finder->array_slot_of[j];

			if (a != NO_SLOT && b != NO_SLOT && a != b && overlap(&ranges[i].range, &ranges[j].range))
				join_sharers(finder, a, b);
		}
}

static int compare_ranges(const void *left, const void *right)
{
	const struct physical_range *a = left, *b = right;

	return a->start != b->start ? (a->start < b->start ? -1 : 1) : (a->end > b->end) - (a->end < b->end);
}

static size_t join_ranges(struct physical_range *ranges, size_t count)
{
	size_t kept = 0;

	if (count)
		qsort(ranges, count, sizeof(*ranges), compare_ranges);
	for (size_t i = 0; i < count; i++) {
		if (kept && ranges[i].start <= ranges[kept - 1].end) {
			if (ranges[i].end > ranges[kept - 1].end)
				ranges[kept - 1].end = ranges[i].end;
		} else {
			ranges[kept++] = ranges[i];
		}
	}
	return kept;
}

static bool is_of(struct finder *finder, size_t slot, size_t root)
{
	return slot != NO_SLOT && root_of(finder->members, slot) == root;
}

static int take_ranges(struct finder *finder, size_t root, struct slot_set *set)
{
	const struct smbios *smbios = finder->smbios;

	set->ranges = calloc(smbios->slot_range_count + smbios->array_range_count + 1, sizeof(*set->ranges));
	if (!set->ranges)
		return -ENOMEM;
	for (size_t i = 0; i < smbios->slot_range_count; i++)
		if (is_of(finder, finder->slot_of[i], root))
			set->ranges[set->range_count++] = smbios->slot_ranges[i].range;
	for (size_t i = 0; i < smbios->array_range_count; i++)
		if (is_of(finder, finder->array_slot_of[i], root))
			set->ranges[set->range_count++] = smbios->array_ranges[i].range;
	set->range_count = join_ranges(set->ranges, set->range_count);
	return 0;
}

/* Is all that the slots have mapped, and nothing more? */
static bool sizes_agree(const struct smbios *smbios, const struct slot_set *set)
{
	uint64_t slots_bytes = 0, mapped_bytes = 0;

	for (size_t i = 0; i < set->slot_count; i++)
		slots_bytes += smbios->slots[set->slots[i]].size_bytes;
	for (size_t i = 0; i < set->range_count; i++)
		mapped_bytes += set->ranges[i].end - set->ranges[i].start;
	return slots_bytes == mapped_bytes;
}

/* Does a table say that rows of the set's arrays take several slots? */
static bool has_wide_rows(const struct smbios *smbios, const struct slot_set *set)
{
	for (size_t i = 0; i < smbios->array_range_count; i++)
		for (size_t j = 0; j < set->slot_count; j++)
			if (smbios->array_ranges[i].array == smbios->slots[set->slots[j]].array &&
			    smbios->array_ranges[i].width > 1)
				return true;
	return false;
}

static void judge(const struct finder *finder, struct slot_set *set)
{
	bool by_array = false, shares = false, claims = false, claim_is_unknown = false, all_claim = true;
	enum slot_set_confidence firm =
		sizes_agree(finder->smbios, set) ? SLOT_SET_CONFIDENCE_CERTAIN : SLOT_SET_CONFIDENCE_LIKELY;

	for (size_t i = 0; i < set->slot_count; i++) {
		const struct member *member = &finder->members[set->slots[i]];

		by_array |= member->by_array;
		shares |= member->shares;
		claims |= member->claims;
		claim_is_unknown |= member->claim_is_unknown;
		all_claim &= member->claims;
	}
	set->confidence = SLOT_SET_CONFIDENCE_LOW;
	if (by_array && set->slot_count > 1) {
		set->interleave = shares || claims || has_wide_rows(finder->smbios, set) ? SLOT_SET_INTERLEAVE_YES
											  : SLOT_SET_INTERLEAVE_UNKNOWN;
	} else if (shares) {
		set->interleave = SLOT_SET_INTERLEAVE_YES;
		set->confidence = all_claim ? firm : SLOT_SET_CONFIDENCE_LIKELY;
	} else if (claims && set->slot_count == 1 && firm == SLOT_SET_CONFIDENCE_CERTAIN) {
		/* The only one of a turn: all its addresses are its own. */
		set->interleave = SLOT_SET_INTERLEAVE_NO;
		set->confidence = SLOT_SET_CONFIDENCE_LIKELY;
	} else if (claims) {
		set->interleave = SLOT_SET_INTERLEAVE_YES;
	} else if (claim_is_unknown) {
		set->interleave = SLOT_SET_INTERLEAVE_UNKNOWN;
	} else {
		set->interleave = SLOT_SET_INTERLEAVE_NO;
		set->confidence = firm;
	}
}

static void set_done(struct slot_set *set)
{
	free(set->slots);
	free(set->ranges);
	*set = (struct slot_set){0};
}

static int take_set(struct finder *finder, size_t root, struct slot_set *set)
{
	size_t slot_count = finder->smbios->slot_count;
	int r;

	set->slots = calloc(slot_count, sizeof(*set->slots));
	if (!set->slots)
		return -ENOMEM;
	for (size_t i = root; i < slot_count; i++)
		if (finder->members[i].is_used && root_of(finder->members, i) == root)
			set->slots[set->slot_count++] = i;
	r = take_ranges(finder, root, set);
	if (r == 0)
		judge(finder, set);
	return r;
}

int slot_set_list_find(const struct smbios *smbios, struct slot_set_list *ret_list)
{
	CLEANUP(slot_set_list_done) struct slot_set_list list = {0};
	CLEANUP_FREE struct member *members = calloc(smbios->slot_count + 1, sizeof(*members));
	CLEANUP_FREE size_t *slot_of = calloc(smbios->slot_range_count + 1, sizeof(*slot_of));
	CLEANUP_FREE size_t *array_slot_of = calloc(smbios->array_range_count + 1, sizeof(*array_slot_of));
	struct finder finder = {.smbios = smbios, .members = members, .slot_of = slot_of, .array_slot_of = array_slot_of};

	list.sets = calloc(smbios->slot_count + 1, sizeof(*list.sets));
	if (!members || !slot_of || !array_slot_of || !list.sets)
		return -ENOMEM;
	look_at_slots(&finder);
	look_at_arrays(&finder);
	join_by_slot_ranges(&finder);
	join_lone_claims(&finder);
	join_by_arrays(&finder);
	join_arrays_that_share(&finder);
	for (size_t i = 0; i < smbios->slot_count; i++) {
		struct slot_set *set = &list.sets[list.count];
		int r;

		if (!members[i].is_used || root_of(members, i) != i)
			continue;
		r = take_set(&finder, i, set);
		list.count++;
		if (r < 0)
			return r;
		if (!set->range_count) {
			set_done(set);
			list.count--;
		}
	}
	*ret_list = list;
	list = (struct slot_set_list){0};
	return 0;
}

void slot_set_list_done(struct slot_set_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		set_done(&list->sets[i]);
	free(list->sets);
	*list = (struct slot_set_list){0};
}
