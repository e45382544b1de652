/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why blocks stayed that a step was to take offline: of each its code, however many they are. What is told of them to people
 * (step_record.remainder) is bounded; what is decided by the reasons is decided by these.
 */
#ifndef BALLAST_SERVICE_BLOCK_REFUSALS_H
#define BALLAST_SERVICE_BLOCK_REFUSALS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include "remainder.h"

struct step_record;

/* Runs of neighbours with the same code, in the order of their ids. Zero-initialise. */
struct block_refusals {
	size_t count;
	struct block_refusal_run {
		uint64_t first, last;
		enum remainder_code code;
	} *runs; /* owned */
};

void block_refusals_done(struct block_refusals *refusals);
/* Ids come ascending. 0 or -ENOMEM. */
int block_refusals_add(struct block_refusals *refusals, uint64_t id, enum remainder_code code);
/* NONE: it did not stay, or nothing was told of it. */
enum remainder_code block_refusals_code(const struct block_refusals *refusals, uint64_t id);
uint64_t block_refusals_count(const struct block_refusals *refusals, enum remainder_code code);
/* "block 64", "blocks 64-70, 72", "blocks 64, 66, ... (40 of them)": those with that code. Returns text. */
const char *block_refusals_describe(const struct block_refusals *refusals, enum remainder_code code, char *text,
				    size_t size);

/* What a worker puts into the step's result, by BLOCK_REFUSALS_KEY. NULL where memory is short. */
#define BLOCK_REFUSALS_KEY "stayed"
json_t *block_refusals_to_json(const struct block_refusals *refusals);
/* Of a step's result; where that says nothing of them, of its remainder's "block N". 0 or -ENOMEM. */
int block_refusals_of_step(const struct step_record *record, struct block_refusals *ret_refusals);

#endif
