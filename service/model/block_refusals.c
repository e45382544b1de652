/* SPDX-License-Identifier: Apache-2.0 */
#include "block_refusals.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model_json_priv.h"
#include "step.h"

/* For " ... (18446744073709551615 of them)". */
#define TAIL_BYTES 34

void block_refusals_done(struct block_refusals *refusals)
{
	free(refusals->runs);
	memset(refusals, 0, sizeof(*refusals));
}

static int add_run(struct block_refusals *refusals, uint64_t first, uint64_t last, enum remainder_code code)
{
	/* A power of two is full. */
	if ((refusals->count & (refusals->count - 1)) == 0) {
		size_t capacity = refusals->count ? refusals->count * 2 : 1;
		struct block_refusal_run *larger = reallocarray(refusals->runs, capacity, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		refusals->runs = larger;
	}
	refusals->runs[refusals->count++] = (struct block_refusal_run){first, last, code};
	return 0;
}

int block_refusals_add(struct block_refusals *refusals, uint64_t id, enum remainder_code code)
{
	struct block_refusal_run *last = refusals->count ? &refusals->runs[refusals->count - 1] : NULL;

	if (!last || last->code != code || last->last + 1 != id)
		return add_run(refusals, id, id, code);
	last->last = id;
	return 0;
}

enum remainder_code block_refusals_code(const struct block_refusals *refusals, uint64_t id)
{
	for (size_t i = 0; i < refusals->count; i++)
		if (refusals->runs[i].first <= id && id <= refusals->runs[i].last)
			return refusals->runs[i].code;
	return REMAINDER_NONE;
}

uint64_t block_refusals_count(const struct block_refusals *refusals, enum remainder_code code)
{
	uint64_t count = 0;

	for (size_t i = 0; i < refusals->count; i++)
		if (refusals->runs[i].code == code)
			count += refusals->runs[i].last - refusals->runs[i].first + 1;
	return count;
}

const char *block_refusals_describe(const struct block_refusals *refusals, enum remainder_code code, char *text,
				    size_t size)
{
	uint64_t count = block_refusals_count(refusals, code);
	size_t used = (size_t)snprintf(text, size, "block%s", count == 1 ? "" : "s");
	const char *between = " ";

	for (size_t i = 0; i < refusals->count; i++) {
		const struct block_refusal_run *run = &refusals->runs[i];
		char one[48];
		int length = snprintf(one, sizeof(one), "%s%" PRIu64, between, run->first);

		if (run->code != code)
			continue;
		if (run->last != run->first)
			length += snprintf(one + length, sizeof(one) - (size_t)length, "-%" PRIu64, run->last);
		if (used + (size_t)length + TAIL_BYTES >= size) {
			snprintf(text + used, size - used, "%s... (%" PRIu64 " of them)", between, count);
			break;
		}
		memcpy(text + used, one, (size_t)length + 1);
		used += (size_t)length;
		between = ", ";
	}
	return text;
}

json_t *block_refusals_to_json(const struct block_refusals *refusals)
{
	json_t *array = json_array();

	for (size_t i = 0; i < refusals->count; i++) {
		const struct block_refusal_run *run = &refusals->runs[i];

		model_json_append(&array, json_pack("{s:I, s:I, s:s}", "first", (json_int_t)run->first, "last",
						    (json_int_t)run->last, "code", remainder_code_name(run->code)));
	}
	return array;
}

/* What cannot be read is left out: then its blocks are tried again. */
static int parse(const json_t *array, struct block_refusals *refusals)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		json_int_t first, last;
		const char *name;
		int code;

		if (json_unpack(json_array_get(array, i), "{s:I, s:I, s:s}", "first", &first, "last", &last, "code",
				&name))
			continue;
		code = remainder_code_from_name(name);
		if (first < 0 || last < first || code < 0)
			continue;
		if (add_run(refusals, (uint64_t)first, (uint64_t)last, (enum remainder_code)code))
			return -ENOMEM;
	}
	return 0;
}

int block_refusals_of_step(const struct step_record *record, struct block_refusals *ret_refusals)
{
	json_t *result = record->result ? json_loads(record->result, 0, NULL) : NULL;
	const json_t *told = json_object_get(result, BLOCK_REFUSALS_KEY);
	struct block_refusals refusals = {0};
	int rc = told ? parse(told, &refusals) : 0;

	for (size_t i = 0; !rc && !told && i < record->remainder.count; i++) {
		uint64_t id;

		if (sscanf(record->remainder.items[i].object, "block %" SCNu64, &id) == 1)
			rc = add_run(&refusals, id, id, record->remainder.items[i].code);
	}
	json_decref(result);
	if (rc)
		block_refusals_done(&refusals);
	else
		*ret_refusals = refusals;
	return rc;
}
