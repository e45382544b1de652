/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which slots of the board share which physical addresses, judged from SMBIOS: what can only be emptied together is one set.
 *
 * Three kinds of evidence, in this order. Type 20 names each slot's own ranges: slots whose ranges overlap answer in turn
 * to the same addresses. Where one slot of an array has no type 20, all of the array is one set, with the ranges that type
 * 19 gives the array: what of them is whose is not told. An array of one populated slot needs no more than that. A range
 * that two arrays share makes one set of them. Source: DMTF DSP0134, 7.20 and 7.21.
 */
#ifndef BALLAST_KVM_SLOT_SET_H
#define BALLAST_KVM_SLOT_SET_H

#include <stddef.h>
#include <stdint.h>
#include "name_table.h"
#include "physical_map.h"

struct smbios;

enum slot_set_interleave {
	SLOT_SET_INTERLEAVE_NO,
	SLOT_SET_INTERLEAVE_YES,
	SLOT_SET_INTERLEAVE_UNKNOWN,
	SLOT_SET_INTERLEAVE_COUNT
};
NAME_TABLE_DECLARE(slot_set_interleave);

/* Of the ranges and of the answer to whether they are interleaved. */
enum slot_set_confidence {
	SLOT_SET_CONFIDENCE_LOW,     /* no table tells the slots apart, or it does not say who shares with whom */
	SLOT_SET_CONFIDENCE_LIKELY,  /* a table says so, but its sizes, or what else it says, do not agree with it */
	SLOT_SET_CONFIDENCE_CERTAIN, /* a table says so, and ranges and slots are of the same size */
	SLOT_SET_CONFIDENCE_COUNT
};
NAME_TABLE_DECLARE(slot_set_confidence);

struct slot_set {
	size_t *slots; /* owned: indexes into smbios->slots, ascending */
	size_t slot_count;
	struct physical_range *ranges; /* owned; ascending, those that touch joined */
	size_t range_count;
	enum slot_set_interleave interleave;
	enum slot_set_confidence confidence;
};

struct slot_set_list {
	struct slot_set *sets; /* owned; in the order of their first slots */
	size_t count;
};

/*
 * The sets of all populated slots of system memory that have a range. Reads nothing. Returns 0 or -ENOMEM. The caller
 * calls slot_set_list_done().
 */
int slot_set_list_find(const struct smbios *smbios, struct slot_set_list *ret_list);
void slot_set_list_done(struct slot_set_list *list);

#endif
