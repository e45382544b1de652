/* SPDX-License-Identifier: Apache-2.0 */
#include "hmat.h"

#include <errno.h>
#include <stdlib.h>
#include "acpi_table.h"
#include "cleanup.h"
#include "sysroot.h"
#include "table_field.h"

/* 5.2.28: four reserved bytes stand between the header and the structures. */
#define STRUCTURES_OFFSET (ACPI_TABLE_HEADER_BYTES + 4)
#define REVISION	  2

#define TYPE_ATTRIBUTES	 0
#define ATTRIBUTES_BYTES 40
#define FLAG_ATTACHED	 1 /* the initiator's domain is valid */

#define TYPE_LOCALITY	  1
#define LOCALITY_BYTES	  32 /* before the lists */
#define HIERARCHY_MASK	  0xf /* 0: the memory itself, not a cache before it */
#define ENTRY_NOT_TOLD	  0
#define ENTRY_UNREACHABLE 0xffff

/* Of a structure's data types those that we want; access is for reads and writes, where they do not differ. */
enum value_kind { VALUE_ATTACHED, VALUE_ACCESS_LATENCY, VALUE_READ_LATENCY, VALUE_ACCESS_BANDWIDTH, VALUE_READ_BANDWIDTH };

struct value {
	uint32_t initiator, target;
	enum value_kind kind;
	uint32_t value;
	size_t order; /* in the table: the later of two stands, as in the kernel */
};

struct value_list {
	struct value *values;
	size_t count;
};

static void add_value(struct value_list *list, uint32_t initiator, uint32_t target, enum value_kind kind, uint32_t value)
{
	list->values[list->count] = (struct value){initiator, target, kind, value, list->count};
	list->count++;
}

static int take_attributes(const struct acpi_structure *structure, struct value_list *list)
{
	const uint8_t *data = structure->data;

	if (structure->length < ATTRIBUTES_BYTES)
		return -EBADMSG;
	if (table_field(data, structure->length, 8, 2) & FLAG_ATTACHED)
		add_value(list, (uint32_t)table_field(data, structure->length, 12, 4),
			  (uint32_t)table_field(data, structure->length, 16, 4), VALUE_ATTACHED, 0);
	return 0;
}

/* Returns 1 where these values are of use to us. */
static int kind_of(uint64_t data_type, enum value_kind *ret_kind)
{
	switch (data_type) {
	case 0:
		*ret_kind = VALUE_ACCESS_LATENCY;
		return 1;
	case 1:
		*ret_kind = VALUE_READ_LATENCY;
		return 1;
	case 3:
		*ret_kind = VALUE_ACCESS_BANDWIDTH;
		return 1;
	case 4:
		*ret_kind = VALUE_READ_BANDWIDTH;
		return 1;
	}
	return 0;
}

static int take_locality(const struct acpi_structure *structure, struct value_list *list)
{
	const uint8_t *data = structure->data;
	size_t length = structure->length;
	uint64_t initiators = table_field(data, length, 12, 4), targets = table_field(data, length, 16, 4);
	uint64_t base = table_field(data, length, 24, 8);
	size_t targets_at, entries_at;
	enum value_kind kind;

	if (length < LOCALITY_BYTES)
		return -EBADMSG;
	/* Each alone first: then no sum or product of them can overflow. */
	if (initiators > length / 4 || targets > length / 4 ||
	    4 * (initiators + targets) + 2 * initiators * targets > length - LOCALITY_BYTES)
		return -EBADMSG;
	if ((table_field(data, length, 8, 1) & HIERARCHY_MASK) || !kind_of(table_field(data, length, 9, 1), &kind))
		return 0;
	targets_at = LOCALITY_BYTES + 4 * (size_t)initiators;
	entries_at = targets_at + 4 * (size_t)targets;
	for (size_t i = 0; i < initiators; i++) {
		for (size_t j = 0; j < targets; j++) {
			uint64_t entry = table_field(data, length, entries_at + 2 * (i * (size_t)targets + j), 2);

			/* What does not fit would be milliseconds, or petabytes a second: an error of the firmware's. */
			if (entry == ENTRY_NOT_TOLD || entry == ENTRY_UNREACHABLE || base == 0 || base > UINT32_MAX / entry)
				continue;
			add_value(list, (uint32_t)table_field(data, length, LOCALITY_BYTES + 4 * i, 4),
				  (uint32_t)table_field(data, length, targets_at + 4 * j, 4), kind, (uint32_t)(entry * base));
		}
	}
	return 0;
}

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_values(const void *left, const void *right)
{
	const struct value *a = left, *b = right;
	int r = compare(a->target, b->target);

	if (!r)
		r = compare(a->initiator, b->initiator);
	if (!r)
		r = compare(a->kind, b->kind);
	return r ? r : compare(a->order, b->order);
}

/* Of the values of one pair, reads after what is for both: the last stands. */
static void put_value(struct hmat_path *path, const struct value *value)
{
	switch (value->kind) {
	case VALUE_ATTACHED:
		path->is_attached = true;
		break;
	case VALUE_ACCESS_LATENCY:
	case VALUE_READ_LATENCY:
		path->read_latency_ps = value->value;
		break;
	case VALUE_ACCESS_BANDWIDTH:
	case VALUE_READ_BANDWIDTH:
		path->read_mb_per_s = value->value;
		break;
	}
}

static int join_values(struct value_list *list, struct hmat *ret_hmat)
{
	struct hmat hmat = {.paths = calloc(list->count + 1, sizeof(*hmat.paths))};

	if (!hmat.paths)
		return -ENOMEM;
	qsort(list->values, list->count, sizeof(*list->values), compare_values);
	for (size_t i = 0; i < list->count; i++) {
		const struct value *value = &list->values[i];
		struct hmat_path *last = hmat.count ? &hmat.paths[hmat.count - 1] : NULL;

		if (!last || last->target != value->target || last->initiator != value->initiator) {
			last = &hmat.paths[hmat.count++];
			*last = (struct hmat_path){.initiator = value->initiator, .target = value->target};
		}
		put_value(last, value);
	}
	*ret_hmat = hmat;
	return 0;
}

int hmat_parse(const void *data, size_t size, struct hmat *ret_hmat)
{
	CLEANUP_FREE struct value *values = NULL;
	struct value_list list = {0};
	size_t offset = STRUCTURES_OFFSET;
	struct acpi_structure structure;
	struct acpi_table table;
	int r = acpi_table_open(data, size, "HMAT", &table);

	if (r < 0)
		return r;
	if (table.revision != REVISION)
		return -ENOTSUP;
	if (table.size < STRUCTURES_OFFSET)
		return -EBADMSG;
	/* An entry has two bytes. */
	list.values = values = calloc(table.size / 2, sizeof(*values));
	if (!values)
		return -ENOMEM;
	while ((r = acpi_table_next_wide(&table, &offset, &structure)) > 0) {
		int taken = 0;

		/* Of caches, and of what later revisions add, nothing is wanted. */
		if (structure.type == TYPE_ATTRIBUTES)
			taken = take_attributes(&structure, &list);
		else if (structure.type == TYPE_LOCALITY)
			taken = take_locality(&structure, &list);
		if (taken < 0)
			return taken;
	}
	return r < 0 ? r : join_values(&list, ret_hmat);
}

int hmat_read(const struct sysroot *sysroot, struct hmat *ret_hmat)
{
	CLEANUP_FREE char *data = NULL;
	size_t size;
	int r = acpi_table_read(sysroot, "HMAT", &data, &size);

	return r < 0 ? r : hmat_parse(data, size, ret_hmat);
}

void hmat_done(struct hmat *hmat)
{
	free(hmat->paths);
	*hmat = (struct hmat){0};
}

static int compare_paths(const void *left, const void *right)
{
	const struct hmat_path *a = left, *b = right;
	int r = compare(a->target, b->target);

	return r ? r : compare(a->initiator, b->initiator);
}

const struct hmat_path *hmat_path(const struct hmat *hmat, uint32_t initiator, uint32_t target)
{
	struct hmat_path wanted = {.initiator = initiator, .target = target};

	return hmat->count ? bsearch(&wanted, hmat->paths, hmat->count, sizeof(*hmat->paths), compare_paths) : NULL;
}

/* Is a nearer than b? What is not told is farthest. */
static bool is_nearer(const struct hmat_path *a, const struct hmat_path *b)
{
	if (a->is_attached != b->is_attached)
		return a->is_attached;
	if (a->read_latency_ps != b->read_latency_ps)
		return a->read_latency_ps && (!b->read_latency_ps || a->read_latency_ps < b->read_latency_ps);
	return a->read_mb_per_s > b->read_mb_per_s;
}

const struct hmat_path *hmat_nearest(const struct hmat *hmat, uint32_t target)
{
	const struct hmat_path *best = NULL;

	for (size_t i = 0; i < hmat->count; i++) {
		const struct hmat_path *path = &hmat->paths[i];

		if (path->target == target && (path->read_latency_ps || path->read_mb_per_s) && (!best || is_nearer(path, best)))
			best = path;
	}
	return best;
}
