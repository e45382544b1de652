/* SPDX-License-Identifier: Apache-2.0 */
#include "host_dimms.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "cleanup.h"
#include "dimm.h"
#include "edac.h"
#include "movability.h"
#include "slot_set.h"
#include "smbios.h"
#include "sysroot.h"
#include "worker_message.h"

/* What was read, before any of it is judged. */
struct inventory {
	struct snapshot *snapshot;	/* borrowed */
	struct dimm_list devices;
	struct smbios smbios;
	struct slot_set_list sets;
	struct edac edac;
	int64_t *slot_of_counts;	/* owned; of each edac.dimms: its slot, or -1 */
};

static bool has_block(const struct physical_range *ranges, size_t count, const struct snapshot_block *block)
{
	for (size_t i = 0; i < count; i++)
		if (snapshot_block_meets(block, ranges[i].start, ranges[i].end))
			return true;
	return false;
}

static void judge_zones(const struct inventory *inventory, const struct physical_range *ranges, size_t count,
			struct snapshot_dimm *dimm)
{
	struct movability movability = {0};
	char object[96];

	for (size_t i = 0; i < inventory->snapshot->block_count; i++)
		if (has_block(ranges, count, &inventory->snapshot->blocks[i]))
			movability_add(&movability, &inventory->snapshot->blocks[i]);
	/* A device without a block has nothing that could stay. */
	dimm->movable = movability.blocks ? movability_answer(&movability) : ANSWER_YES;
	snprintf(object, sizeof(object), "dimm %s", dimm->id);
	movability_remain(&movability, inventory->snapshot, object, &dimm->remainder);
}

static void take_ranges(const struct physical_range *ranges, size_t count, struct snapshot_dimm *dimm)
{
	uint64_t left_bytes = 0;
	char object[96];

	for (size_t i = 0; i < count; i++) {
		if (dimm->range_count < SNAPSHOT_RANGES_MAX)
			dimm->ranges[dimm->range_count++] = (struct snapshot_range){ranges[i].start, ranges[i].end};
		else
			left_bytes += ranges[i].end - ranges[i].start;
	}
	dimm->ranges_cut = dimm->range_count < count;
	if (!dimm->ranges_cut)
		return;
	snprintf(object, sizeof(object), "dimm %s", dimm->id);
	remainder_list_add(&dimm->remainder, REMAINDER_INVALID, object, left_bytes, "drain ranges of it, one by one",
			   "its memory lies in %zu pieces, of which %d are seen", count, SNAPSHOT_RANGES_MAX);
}

static enum answer interleave_to_model(enum slot_set_interleave interleave)
{
	switch (interleave) {
	case SLOT_SET_INTERLEAVE_NO:
		return ANSWER_NO;
	case SLOT_SET_INTERLEAVE_YES:
		return ANSWER_YES;
	case SLOT_SET_INTERLEAVE_UNKNOWN:
	case SLOT_SET_INTERLEAVE_COUNT:
		break;
	}
	return ANSWER_UNKNOWN;
}

static enum confidence confidence_to_model(enum slot_set_confidence confidence)
{
	switch (confidence) {
	case SLOT_SET_CONFIDENCE_CERTAIN:
		return CONFIDENCE_CERTAIN;
	case SLOT_SET_CONFIDENCE_LIKELY:
		return CONFIDENCE_LIKELY;
	case SLOT_SET_CONFIDENCE_LOW:
	case SLOT_SET_CONFIDENCE_COUNT:
		break;
	}
	return CONFIDENCE_LOW;
}

/* Several counters may be one slot's, such as those of its ranks. -1: none is, or one of them does not tell. */
static void count_errors(const struct inventory *inventory, size_t slot, int64_t *ret_corrected, int64_t *ret_uncorrected)
{
	bool is_counted = false, is_told = true;

	*ret_corrected = *ret_uncorrected = 0;
	for (size_t i = 0; i < inventory->edac.dimm_count; i++) {
		if (inventory->slot_of_counts[i] != (int64_t)slot)
			continue;
		is_counted = true;
		is_told &= inventory->edac.dimms[i].uncorrected_told;
		*ret_corrected += (int64_t)inventory->edac.dimms[i].corrected;
		*ret_uncorrected += (int64_t)inventory->edac.dimms[i].uncorrected;
	}
	if (!is_counted)
		*ret_corrected = -1;
	if (!is_counted || !is_told)
		*ret_uncorrected = -1;
}

static void add_count(int64_t *sum, int64_t count)
{
	*sum = *sum < 0 || count < 0 ? -1 : *sum + count;
}

/* Adds a set's slots, and its answer to those of the sets before: one that is interleaved makes all of it so. */
static void take_set(const struct inventory *inventory, const struct slot_set *set, struct snapshot_dimm *dimm)
{
	enum answer interleaved = interleave_to_model(set->interleave);
	enum confidence confidence = confidence_to_model(set->confidence);
	bool is_first = dimm->slot_count == 0;

	if (is_first)
		dimm->corrected_errors = dimm->uncorrected_errors = 0;
	for (size_t i = 0; i < set->slot_count; i++) {
		const struct smbios_slot *from = &inventory->smbios.slots[set->slots[i]];
		struct snapshot_slot *slot = &dimm->slots[dimm->slot_count];
		int64_t corrected, uncorrected;

		count_errors(inventory, set->slots[i], &corrected, &uncorrected);
		add_count(&dimm->corrected_errors, corrected);
		add_count(&dimm->uncorrected_errors, uncorrected);
		if (dimm->slot_count == SNAPSHOT_SLOTS_MAX) {
			dimm->slots_unlisted++;
			continue;
		}
		dimm->slot_count++;
		snprintf(slot->locator, sizeof(slot->locator), "%s", from->locator);
		snprintf(slot->bank, sizeof(slot->bank), "%s", from->bank);
		snprintf(slot->part, sizeof(slot->part), "%s", from->part);
		slot->size_bytes = from->size_bytes;
		slot->corrected_errors = corrected;
		slot->uncorrected_errors = uncorrected;
	}
	if (is_first || interleaved == ANSWER_YES || (interleaved == ANSWER_UNKNOWN && dimm->interleaved == ANSWER_NO))
		dimm->interleaved = interleaved;
	if (is_first || confidence < dimm->confidence)
		dimm->confidence = confidence;
}

static bool meet(const struct physical_range *a, size_t a_count, const struct physical_range *b, size_t b_count)
{
	for (size_t i = 0; i < a_count; i++)
		for (size_t j = 0; j < b_count; j++)
			if (a[i].start < b[j].end && b[j].start < a[i].end)
				return true;
	return false;
}

static enum snapshot_dimm_state state_to_model(enum dimm_state state)
{
	switch (state) {
	case DIMM_STATE_ABSENT:
		return SNAPSHOT_DIMM_ABSENT;
	case DIMM_STATE_OFFLINE:
		return SNAPSHOT_DIMM_OFFLINE;
	case DIMM_STATE_PARTLY:
	case DIMM_STATE_ONLINE:
	case DIMM_STATE_COUNT:
		break;
	}
	return SNAPSHOT_DIMM_ONLINE;
}

static int add_devices(const struct inventory *inventory)
{
	for (size_t i = 0; i < inventory->devices.count; i++) {
		const struct dimm *from = &inventory->devices.dimms[i];
		struct snapshot_dimm *dimm = snapshot_add_dimm(inventory->snapshot);

		if (!dimm)
			return -ENOMEM;
		snprintf(dimm->id, sizeof(dimm->id), "%s", from->id);
		snprintf(dimm->locator, sizeof(dimm->locator), "%.63s", from->path);
		dimm->kind = DIMM_KIND_ACPI;
		dimm->node = from->node_id;
		dimm->ejectable = from->can_eject;
		dimm->state = state_to_model(from->state);
		take_ranges(from->ranges, from->range_count, dimm);
		/*
		 * One ACPI memory device is one unit to the firmware, which ejects exactly these ranges. Over how many slots
		 * they are spread only a set can tell.
		 */
		dimm->interleaved = ANSWER_UNKNOWN;
		dimm->corrected_errors = dimm->uncorrected_errors = -1;
		for (size_t j = 0; j < inventory->sets.count; j++) {
			const struct slot_set *set = &inventory->sets.sets[j];

			if (meet(from->ranges, from->range_count, set->ranges, set->range_count))
				take_set(inventory, set, dimm);
		}
		/* An empty slot: nobody knows what will be plugged into it. */
		if (from->state == DIMM_STATE_ABSENT)
			dimm->movable = ANSWER_UNKNOWN;
		else
			judge_zones(inventory, from->ranges, from->range_count, dimm);
	}
	return 0;
}

static bool is_in_device(const struct inventory *inventory, const struct snapshot_block *block)
{
	for (size_t i = 0; i < inventory->devices.count; i++)
		if (has_block(inventory->devices.dimms[i].ranges, inventory->devices.dimms[i].range_count, block))
			return true;
	return false;
}

/* Is that text another populated slot's too? */
static bool is_shared(const struct inventory *inventory, const struct smbios_slot *slot, bool with_bank)
{
	for (size_t i = 0; i < inventory->smbios.slot_count; i++) {
		const struct smbios_slot *other = &inventory->smbios.slots[i];

		if (other != slot && other->is_populated && strcmp(other->locator, slot->locator) == 0 &&
		    (!with_bank || strcmp(other->bank, slot->bank) == 0))
			return true;
	}
	return false;
}

/* Texts of the firmware as they may stand in a path of the API. */
static void make_plain(char *text)
{
	for (; *text; text++)
		if (!((*text >= 'A' && *text <= 'Z') || (*text >= 'a' && *text <= 'z') ||
		      (*text >= '0' && *text <= '9') || *text == '-' || *text == '.'))
			*text = '_';
}

/* By what is printed on the board; by the table's own number where that is not told, or not of one slot alone. */
static void name_set(const struct inventory *inventory, const struct slot_set *set, struct snapshot_dimm *dimm)
{
	const struct smbios_slot *slot = &inventory->smbios.slots[set->slots[0]];
	const char *suffix = set->slot_count > 1 ? "-set" : "";

	if (slot->locator[0] && !is_shared(inventory, slot, false))
		snprintf(dimm->id, sizeof(dimm->id), "smbios-%.48s%s", slot->locator, suffix);
	else if (slot->locator[0] && slot->bank[0] && !is_shared(inventory, slot, true))
		snprintf(dimm->id, sizeof(dimm->id), "smbios-%.24s-%.24s%s", slot->bank, slot->locator, suffix);
	else
		snprintf(dimm->id, sizeof(dimm->id), "smbios-%04x%s", slot->handle, suffix);
	make_plain(dimm->id);
	/* What differs in a character that is not kept, or far behind. */
	for (size_t i = 0; i + 1 < inventory->snapshot->dimm_count; i++)
		if (strcmp(inventory->snapshot->dimms[i].id, dimm->id) == 0) {
			snprintf(dimm->id, sizeof(dimm->id), "smbios-%04x%s", slot->handle, suffix);
			break;
		}
}

/* The blocks of a set that are no device's, in runs; what is seen of them goes to the DIMM. */
static size_t find_runs(const struct inventory *inventory, const struct slot_set *set, struct physical_range *runs,
			struct snapshot_dimm *dimm)
{
	size_t count = 0, online = 0;

	dimm->node = -1;
	for (size_t i = 0; i < inventory->snapshot->block_count; i++) {
		const struct snapshot_block *block = &inventory->snapshot->blocks[i];

		if (!has_block(set->ranges, set->range_count, block) || is_in_device(inventory, block))
			continue;
		online += block->state != BLOCK_STATE_OFFLINE;
		if (!count)
			dimm->node = block->node;
		else if (dimm->node != block->node)
			dimm->node = -1;
		if (count && runs[count - 1].end == block->start)
			runs[count - 1].end += block->size_bytes;
		else
			runs[count++] = (struct physical_range){block->start, block->start + block->size_bytes};
	}
	dimm->state = online ? SNAPSHOT_DIMM_ONLINE : SNAPSHOT_DIMM_OFFLINE;
	return count;
}

static int add_set(const struct inventory *inventory, const struct slot_set *set)
{
	CLEANUP_FREE struct physical_range *runs = calloc(inventory->snapshot->block_count + 1, sizeof(*runs));
	struct snapshot_dimm seen = {0}, *dimm;
	size_t count;

	if (!runs)
		return -ENOMEM;
	count = find_runs(inventory, set, runs, &seen);
	if (!count)
		return 0;
	dimm = snapshot_add_dimm(inventory->snapshot);
	if (!dimm)
		return -ENOMEM;
	dimm->kind = DIMM_KIND_SMBIOS;
	dimm->node = seen.node;
	dimm->state = seen.state;
	name_set(inventory, set, dimm);
	take_set(inventory, set, dimm);
	snapshot_dimm_slot_names(dimm, dimm->locator, sizeof(dimm->locator));
	take_ranges(runs, count, dimm);
	judge_zones(inventory, runs, count, dimm);
	return 0;
}

static int read_slots(const struct sysroot *sysroot, struct inventory *inventory)
{
	int r = smbios_read(sysroot, &inventory->smbios);

	if (r == 0)
		r = slot_set_list_find(&inventory->smbios, &inventory->sets);
	return r == -ENOMEM ? r : 0;
}

/* What a controller has counted and no slot has. The files are read one after the other: a count may be behind. */
static int add_controllers(const struct inventory *inventory)
{
	for (size_t i = 0; i < inventory->edac.controller_count; i++) {
		const struct edac_controller *from = &inventory->edac.controllers[i];
		struct snapshot_controller *controller = snapshot_add_controller(inventory->snapshot);
		uint64_t corrected = 0, uncorrected = 0;

		if (!controller)
			return -ENOMEM;
		for (size_t j = 0; j < inventory->edac.dimm_count; j++) {
			const struct edac_dimm *dimm = &inventory->edac.dimms[j];

			if (dimm->controller != i || inventory->slot_of_counts[j] < 0)
				continue;
			corrected += dimm->corrected;
			uncorrected += dimm->uncorrected;
		}
		snprintf(controller->id, sizeof(controller->id), "mc%" PRId64, from->number);
		snprintf(controller->name, sizeof(controller->name), "%s", from->name);
		controller->corrected_errors = from->corrected;
		controller->uncorrected_errors = from->uncorrected;
		controller->unplaced_corrected = from->corrected > corrected ? from->corrected - corrected : 0;
		controller->unplaced_uncorrected = from->uncorrected > uncorrected ? from->uncorrected - uncorrected : 0;
	}
	return 0;
}

/* Most hosts count nothing: then nothing is told. */
static int read_errors(const struct sysroot *sysroot, struct inventory *inventory)
{
	int r = edac_read(sysroot, &inventory->edac);

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	inventory->slot_of_counts = calloc(inventory->edac.dimm_count + 1, sizeof(*inventory->slot_of_counts));
	if (!inventory->slot_of_counts)
		return -ENOMEM;
	for (size_t i = 0; i < inventory->edac.dimm_count; i++)
		inventory->slot_of_counts[i] = edac_dimm_slot(&inventory->edac.dimms[i], &inventory->smbios);
	return 0;
}

static void inventory_done(struct inventory *inventory)
{
	free(inventory->slot_of_counts);
	edac_done(&inventory->edac);
	dimm_list_done(&inventory->devices);
	slot_set_list_done(&inventory->sets);
	smbios_done(&inventory->smbios);
}

int host_dimms_read(const struct sysroot *sysroot, const struct memory_block_list *blocks, struct snapshot *snapshot,
		    struct failure *failure)
{
	CLEANUP(inventory_done) struct inventory inventory = {.snapshot = snapshot};
	int r = dimm_list_read(sysroot, blocks, &inventory.devices);

	if (r < 0)
		return failure_set(failure, r, "/sys/bus/acpi/devices", "cannot read the memory devices");
	r = read_slots(sysroot, &inventory);
	if (r == 0)
		r = read_errors(sysroot, &inventory);
	if (r == 0)
		r = add_controllers(&inventory);
	if (r == 0)
		r = add_devices(&inventory);
	/* With more DIMMs than a survey tells apart there would be no survey at all. */
	for (size_t i = 0; r == 0 && i < inventory.sets.count && snapshot->dimm_count < WORKER_DIMMS_MAX; i++)
		r = add_set(&inventory, &inventory.sets.sets[i]);
	return r < 0 ? failure_set(failure, ENOMEM, "host", "cannot read the memory devices") : 0;
}
