/* SPDX-License-Identifier: Apache-2.0 */
#include "wish_body.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include "size_text.h"

/* Every change takes these. */
#define COMMON_FIELDS                                          \
	{"allow", BODY_TYPE_ARRAY, .maximum = CONSENT_COUNT},  \
		{"timeout_s", BODY_TYPE_INTEGER, .minimum = 1, \
		 .maximum = WISH_BODY_TIMEOUT_MAX_S},          \
	{                                                      \
		"on_timeout", BODY_TYPE_TEXT, .maximum = 16    \
	}

static const struct body_field node_item = {"", BODY_TYPE_INTEGER,
					    .maximum = SNAPSHOT_NODES_MAX - 1};

static uint64_t integer(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static void copy_text(char *to, size_t size, const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	/* Its length has been checked against the field's maximum. */
	snprintf(to, size, "%s", text ? text : "");
}

static int parse_allow(const json_t *list, uint32_t *ret_allow, struct body_error *error)
{
	char pointer[128];
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)list, index, item)
	{
		const char *name = json_string_value(item);
		int consent = name ? consent_from_name(name) : -1;

		if (consent < 0)
			return body_schema_refuse(
				error, PROBLEM_INVALID_BODY,
				body_schema_pointer_at(pointer, "/allow", index),
				"is none of the consents: shrink_guests remote_memory "
				"split_huge_pages gigantic_pages locked_guests stored_xml "
				"policy_shift may_crash_host");
		*ret_allow |= 1u << consent;
	}
	return 0;
}

static int parse_common(const json_t *body, struct wish *wish, struct body_error *error)
{
	const char *on_timeout = json_string_value(json_object_get(body, "on_timeout"));

	wish->timeout_s = (uint32_t)integer(body, "timeout_s");
	if (on_timeout) {
		int value = on_timeout_from_name(on_timeout);

		if (value <= ON_TIMEOUT_DEFAULT)
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, "/on_timeout",
						  "must be stop, restore or continue");
		wish->on_timeout = (enum on_timeout)value;
	}
	return parse_allow(json_object_get(body, "allow"), &wish->allow, error);
}

static int parse_devices(const json_t *list, struct wish_resize *resize, struct body_error *error)
{
	static const struct body_field fields[] = {
		{"alias", BODY_TYPE_TEXT, .required = true, .minimum = 1,
		 .maximum = SNAPSHOT_NAME_SIZE - 1},
		{"requested_bytes", BODY_TYPE_INTEGER, .required = true, .maximum = INT64_MAX},
	};
	static const struct body_field item_field = {"", BODY_TYPE_OBJECT};
	char pointer[128];
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)list, index, item)
	{
		const char *alias;

		body_schema_pointer_at(pointer, "/devices", index);
		if (body_schema_check_value(item, pointer, &item_field, error) < 0 ||
		    body_schema_check(item, pointer, fields, ARRAY_SIZE(fields), error) < 0)
			return -EINVAL;
		alias = json_string_value(json_object_get(item, "alias"));
		for (size_t i = 0; i < resize->device_count; i++)
			if (strcmp(resize->devices[i].alias, alias) == 0)
				return body_schema_refuse(
					error, PROBLEM_INVALID_BODY, pointer,
					"names a device that stands before it too");
		copy_text(resize->devices[resize->device_count].alias, SNAPSHOT_NAME_SIZE, item,
			  "alias");
		resize->devices[resize->device_count++].requested_bytes =
			integer(item, "requested_bytes");
	}
	return 0;
}

/* A cell's size is its own memory and what its devices add: the rest goes to them in their order.
 */
static int fill_cell(const struct snapshot_guest *guest, int cell, uint64_t target_bytes,
		     const char *pointer, struct wish_resize *resize, struct body_error *error)
{
	uint64_t cell_bytes = 0, left;
	size_t before = resize->device_count;
	bool known = false;

	for (size_t i = 0; i < guest->cell_count; i++)
		if (guest->cells[i].id == cell) {
			known = true;
			cell_bytes = guest->cells[i].bytes;
		}
	if (!known)
		return body_schema_refuse(error, PROBLEM_INVALID_TARGET, pointer,
					  "the guest has no cell %d", cell);
	if (target_bytes < cell_bytes)
		return body_schema_refuse(error, PROBLEM_BELOW_BASE, pointer,
					  "cell %d has %" PRIu64
					  " bytes that are no device's and cannot leave",
					  cell, cell_bytes);
	left = target_bytes - cell_bytes;
	for (size_t i = 0; i < guest->device_count && i < SNAPSHOT_DEVICES_MAX; i++) {
		const struct snapshot_device *device = &guest->devices[i];
		uint64_t bytes = left < device->size_bytes ? left : device->size_bytes;

		if (device->cell != cell)
			continue;
		snprintf(resize->devices[resize->device_count].alias, SNAPSHOT_NAME_SIZE, "%s",
			 device->alias);
		resize->devices[resize->device_count++].requested_bytes = bytes;
		left -= bytes;
	}
	if (resize->device_count == before)
		return body_schema_refuse(error, PROBLEM_NO_MEMORY_DEVICE, pointer,
					  "cell %d has no device to resize by", cell);
	if (left > 0)
		return body_schema_refuse(error, PROBLEM_ABOVE_MAXIMUM, pointer,
					  "the devices of cell %d are %" PRIu64
					  " bytes too small for it",
					  cell, left);
	return 0;
}

static int parse_cells(const json_t *list, const struct snapshot_guest *guest,
		       struct wish_resize *resize, struct body_error *error)
{
	static const struct body_field fields[] = {
		{"cell", BODY_TYPE_INTEGER, .required = true, .maximum = SNAPSHOT_CELLS_MAX - 1},
		{"target_bytes", BODY_TYPE_INTEGER, .required = true, .maximum = INT64_MAX},
	};
	static const struct body_field item_field = {"", BODY_TYPE_OBJECT};
	uint32_t seen = 0;
	char pointer[128];
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)list, index, item)
	{
		int cell;

		body_schema_pointer_at(pointer, "/cells", index);
		if (body_schema_check_value(item, pointer, &item_field, error) < 0 ||
		    body_schema_check(item, pointer, fields, ARRAY_SIZE(fields), error) < 0)
			return -EINVAL;
		cell = (int)integer(item, "cell");
		if (seen & (1u << cell))
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, pointer,
						  "names a cell that stands before it too");
		seen |= 1u << cell;
		if (fill_cell(guest, cell, integer(item, "target_bytes"), pointer, resize, error) <
		    0)
			return -EINVAL;
	}
	return 0;
}

static int parse_ranges(const json_t *list, struct wish_resize *resize, struct body_error *error)
{
	static const struct body_field fields[] = {
		{"start", BODY_TYPE_INTEGER, .required = true, .maximum = INT64_MAX},
		{"end", BODY_TYPE_INTEGER, .required = true, .minimum = 1, .maximum = INT64_MAX},
	};
	static const struct body_field item_field = {"", BODY_TYPE_OBJECT};
	char pointer[128];
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)list, index, item)
	{
		struct snapshot_range range;

		body_schema_pointer_at(pointer, "/ranges", index);
		if (body_schema_check_value(item, pointer, &item_field, error) < 0 ||
		    body_schema_check(item, pointer, fields, ARRAY_SIZE(fields), error) < 0)
			return -EINVAL;
		range = (struct snapshot_range){integer(item, "start"), integer(item, "end")};
		if (range.start >= range.end)
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, pointer,
						  "must begin before it ends: the end is exclusive");
		/* What is counted twice would be expected to leave twice. */
		for (size_t i = 0; i < resize->range_count; i++)
			if (range.start < resize->ranges[i].end && resize->ranges[i].start < range.end)
				return body_schema_refuse(error, PROBLEM_INVALID_BODY, pointer,
							  "overlaps one that stands before it");
		resize->ranges[resize->range_count++] = range;
	}
	return 0;
}

/* Exactly one of these names must be there. */
static int one_of(const json_t *body, const char *pointer, const char *const *names, size_t count,
		  struct body_error *error)
{
	size_t found = 0;
	char list[96] = "";

	for (size_t i = 0; i < count; i++) {
		size_t used = strlen(list);

		found += json_object_get(body, names[i]) != NULL;
		snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "", names[i]);
	}
	if (found != 1)
		return body_schema_refuse(error, PROBLEM_INVALID_BODY, pointer,
					  "must have exactly one of: %s", list);
	return 0;
}

static int parse_work_budget(const json_t *budget, struct wish_resize *resize, struct body_error *error)
{
	static const struct body_field fields[] = {
		{"work_percent", BODY_TYPE_INTEGER, .required = true, .minimum = 1, .maximum = 100},
	};

	if (budget && body_schema_check(budget, "/budget", fields, ARRAY_SIZE(fields), error) < 0)
		return -EINVAL;
	resize->work_percent = (unsigned)integer(budget, "work_percent");
	return 0;
}

int wish_body_resize(const json_t *body, const struct snapshot_guest *guest, struct wish *ret_wish,
		     struct body_error *error)
{
	static const struct body_field fields[] = {
		{"target_bytes", BODY_TYPE_INTEGER, .minimum = 1, .maximum = INT64_MAX},
		{"devices", BODY_TYPE_ARRAY, .minimum = 1, .maximum = SNAPSHOT_DEVICES_MAX},
		{"cells", BODY_TYPE_ARRAY, .minimum = 1, .maximum = SNAPSHOT_CELLS_MAX},
		{"ranges", BODY_TYPE_ARRAY, .minimum = 1, .maximum = SNAPSHOT_RANGES_MAX},
		{"budget", BODY_TYPE_OBJECT},
		COMMON_FIELDS,
	};
	static const char *const forms[] = {"target_bytes", "devices", "cells"};
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_RESIZE);
	snprintf(wish.guest, sizeof(wish.guest), "%s", guest->uuid);
	if (body_schema_check(body, "", fields, ARRAY_SIZE(fields), error) < 0 ||
	    one_of(body, "", forms, ARRAY_SIZE(forms), error) < 0 ||
	    parse_common(body, &wish, error) < 0 ||
	    parse_devices(json_object_get(body, "devices"), &wish.resize, error) < 0 ||
	    parse_cells(json_object_get(body, "cells"), guest, &wish.resize, error) < 0 ||
	    parse_ranges(json_object_get(body, "ranges"), &wish.resize, error) < 0 ||
	    parse_work_budget(json_object_get(body, "budget"), &wish.resize, error) < 0)
		return -EINVAL;
	wish.resize.target_bytes = integer(body, "target_bytes");
	*ret_wish = wish;
	return 0;
}

static int parse_nodes(const json_t *list, const char *parent, uint64_t *ret_nodes,
		       struct body_error *error)
{
	char pointer[128];
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)list, index, item)
	{
		body_schema_pointer_at(pointer, parent, index);
		if (body_schema_check_value(item, pointer, &node_item, error) < 0)
			return -EINVAL;
		*ret_nodes |= UINT64_C(1) << json_integer_value(item);
	}
	return 0;
}

/* {"0": 2}: from a node or cell, below limit, to a node. */
static int parse_map(const json_t *map, const char *parent, size_t limit, int8_t *to,
		     struct body_error *error)
{
	char pointer[128];
	const char *name;
	json_t *item;

	if (map && json_object_size(map) == 0)
		return body_schema_refuse(error, PROBLEM_INVALID_BODY, parent,
					  "must map something");
	json_object_foreach((json_t *)map, name, item)
	{
		uint64_t from;

		body_schema_pointer(pointer, parent, name);
		if (strlen(name) > 3 || size_text_parse_number(name, 10, &from) < 0 ||
		    from >= limit)
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, parent,
						  "its keys must be numbers below %zu, as text",
						  limit);
		if (to[from] >= 0)
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, pointer,
						  "stands twice");
		if (body_schema_check_value(item, pointer, &node_item, error) < 0)
			return -EINVAL;
		to[from] = (int8_t)json_integer_value(item);
	}
	return 0;
}

static int parse_budget(const json_t *budget, struct wish_move *move, struct body_error *error)
{
	static const struct body_field fields[] = {
		{"bytes_per_s", BODY_TYPE_INTEGER, .minimum = 1, .maximum = INT64_MAX},
		{"stall_us", BODY_TYPE_INTEGER, .minimum = 1, .maximum = UINT32_MAX},
	};

	if (budget && body_schema_check(budget, "/budget", fields, ARRAY_SIZE(fields), error) < 0)
		return -EINVAL;
	move->budget_bytes_per_s = integer(budget, "bytes_per_s");
	move->budget_stall_us = (uint32_t)integer(budget, "stall_us");
	return 0;
}

int wish_body_move(const json_t *body, const struct snapshot_guest *guest, struct wish *ret_wish,
		   struct body_error *error)
{
	static const struct body_field fields[] = {
		{"nodes", BODY_TYPE_ARRAY, .minimum = 1, .maximum = SNAPSHOT_NODES_MAX},
		{"map", BODY_TYPE_OBJECT},
		{"cells", BODY_TYPE_OBJECT},
		{"near_cpus", BODY_TYPE_BOOLEAN},
		{"cpus", BODY_TYPE_BOOLEAN},
		{"persist", BODY_TYPE_BOOLEAN},
		{"lazy", BODY_TYPE_BOOLEAN},
		{"order", BODY_TYPE_TEXT, .maximum = 16},
		{"budget", BODY_TYPE_OBJECT},
		COMMON_FIELDS,
	};
	static const char *const forms[] = {"nodes", "map", "cells", "near_cpus"};
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_MOVE);
	snprintf(wish.guest, sizeof(wish.guest), "%s", guest->uuid);
	if (body_schema_check(body, "", fields, ARRAY_SIZE(fields), error) < 0 ||
	    one_of(body, "", forms, ARRAY_SIZE(forms), error) < 0 ||
	    parse_common(body, &wish, error) < 0 ||
	    parse_nodes(json_object_get(body, "nodes"), "/nodes", &wish.move.to_nodes, error) < 0 ||
	    parse_map(json_object_get(body, "map"), "/map", SNAPSHOT_NODES_MAX, wish.move.map,
		      error) < 0 ||
	    parse_map(json_object_get(body, "cells"), "/cells", SNAPSHOT_CELLS_MAX, wish.move.cells,
		      error) < 0 ||
	    parse_budget(json_object_get(body, "budget"), &wish.move, error) < 0)
		return -EINVAL;
	if (json_object_get(body, "map"))
		wish.move.form = MOVE_FORM_MAP;
	else if (json_object_get(body, "cells"))
		wish.move.form = MOVE_FORM_CELLS;
	else if (json_object_get(body, "near_cpus"))
		wish.move.form = MOVE_FORM_NEAR_CPUS;
	else
		wish.move.form = MOVE_FORM_TO;
	if (json_is_false(json_object_get(body, "near_cpus")))
		return body_schema_refuse(error, PROBLEM_INVALID_BODY, "/near_cpus",
					  "must be true where it stands");
	wish.move.cpus = json_is_true(json_object_get(body, "cpus"));
	wish.move.persist = json_is_true(json_object_get(body, "persist"));
	wish.move.lazy = json_is_true(json_object_get(body, "lazy"));
	if (json_object_get(body, "order")) {
		int order = move_order_from_name(json_string_value(json_object_get(body, "order")));

		if (order < 0)
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, "/order",
						  "must be any, cold_first or hot_first");
		wish.move.order = (enum move_order)order;
	}
	*ret_wish = wish;
	return 0;
}

int wish_body_parse_time(const char *text, uint64_t *ret_ms)
{
	struct tm tm = {0};
	uint64_t ms = 0, scale = 100;
	const char *rest;
	int64_t offset = 0, seconds;

	/* strptime() would take blanks and one digit for two: the shape is checked first. */
	for (int i = 0; i < 19; i++) {
		char shape = "0000-00-00T00:00:00"[i];

		if (shape == '0' ? text[i] < '0' || text[i] > '9' : text[i] != shape)
			return -EINVAL;
	}
	rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest || rest != text + 19)
		return -EINVAL;
	if (*rest == '.') {
		const char *digits = ++rest;

		for (; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
			ms += scale * (uint64_t)(*rest - '0');
		if (rest == digits)
			return -EINVAL;
	}
	if (*rest == '+' || *rest == '-') {
		int sign = *rest == '+' ? 1 : -1;
		unsigned hours, minutes;

		if (strlen(rest) != 6 || strspn(rest + 1, "0123456789") != 2 || rest[3] != ':' ||
		    strspn(rest + 4, "0123456789") != 2)
			return -EINVAL;
		hours = (unsigned)(rest[1] - '0') * 10 + (unsigned)(rest[2] - '0');
		minutes = (unsigned)(rest[4] - '0') * 10 + (unsigned)(rest[5] - '0');
		if (hours > 23 || minutes > 59)
			return -EINVAL;
		offset = sign * (int64_t)(hours * 3600 + minutes * 60);
	} else if (strcmp(rest, "Z") != 0) {
		return -EINVAL;
	}
	seconds = timegm(&tm) - offset;
	if (seconds <= 0)
		return -EINVAL;
	*ret_ms = (uint64_t)seconds * 1000 + ms;
	return 0;
}

static int parse_drain_target(const json_t *target, struct wish_drain *drain,
			      struct body_error *error)
{
	static const struct body_field fields[] = {
		{"dimm", BODY_TYPE_TEXT, .minimum = 1, .maximum = SNAPSHOT_NAME_SIZE - 1},
		{"node", BODY_TYPE_INTEGER, .maximum = SNAPSHOT_NODES_MAX - 1},
		{"start", BODY_TYPE_INTEGER, .maximum = INT64_MAX},
		{"end", BODY_TYPE_INTEGER, .minimum = 1, .maximum = INT64_MAX},
	};
	static const char *const forms[] = {"dimm", "node", "start"};

	if (body_schema_check(target, "/target", fields, ARRAY_SIZE(fields), error) < 0 ||
	    one_of(target, "/target", forms, ARRAY_SIZE(forms), error) < 0)
		return -EINVAL;
	if (!json_object_get(target, "start") != !json_object_get(target, "end"))
		return body_schema_refuse(error, PROBLEM_INVALID_BODY, "/target/end",
					  "start and end stand together or not at all");
	if (json_object_get(target, "dimm")) {
		drain->target = DRAIN_TARGET_DIMM;
		copy_text(drain->dimm, sizeof(drain->dimm), target, "dimm");
	} else if (json_object_get(target, "node")) {
		drain->target = DRAIN_TARGET_NODE;
		drain->node = (int)integer(target, "node");
	} else {
		drain->target = DRAIN_TARGET_RANGE;
		drain->range.start = integer(target, "start");
		drain->range.end = integer(target, "end");
		if (drain->range.start >= drain->range.end)
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, "/target/end",
						  "must be greater than start");
	}
	return 0;
}

int wish_body_drain(const json_t *body, struct wish *ret_wish, struct body_error *error)
{
	static const struct body_field fields[] = {
		{"target", BODY_TYPE_OBJECT, .required = true},
		{"finish", BODY_TYPE_TEXT, .required = true, .maximum = 16},
		{"reason", BODY_TYPE_TEXT, .maximum = 127},
		{"not_before", BODY_TYPE_TEXT, .minimum = 20, .maximum = 40},
		{"persist", BODY_TYPE_BOOLEAN},
		COMMON_FIELDS,
	};
	const char *not_before;
	struct wish wish;
	int finish;

	wish_init(&wish, OPERATION_KIND_DRAIN);
	if (body_schema_check(body, "", fields, ARRAY_SIZE(fields), error) < 0 ||
	    parse_common(body, &wish, error) < 0 ||
	    parse_drain_target(json_object_get(body, "target"), &wish.drain_wish, error) < 0)
		return -EINVAL;
	finish = drain_finish_from_name(json_string_value(json_object_get(body, "finish")));
	if (finish < 0)
		return body_schema_refuse(error, PROBLEM_INVALID_BODY, "/finish",
					  "must be cordon, empty, offline or eject");
	wish.drain_wish.finish = (enum drain_finish)finish;
	copy_text(wish.drain_wish.reason, sizeof(wish.drain_wish.reason), body, "reason");
	wish.drain_wish.persist = json_is_true(json_object_get(body, "persist"));
	not_before = json_string_value(json_object_get(body, "not_before"));
	if (not_before && wish_body_parse_time(not_before, &wish.drain_wish.not_before_ms) < 0)
		return body_schema_refuse(error, PROBLEM_INVALID_BODY, "/not_before",
					  "must be a time like 2030-01-31T12:00:00Z");
	*ret_wish = wish;
	return 0;
}

int wish_body_check(const json_t *body, struct wish *ret_wish, struct body_error *error)
{
	static const struct body_field fields[] = {
		{"timeout_s", BODY_TYPE_INTEGER, .minimum = 1, .maximum = WISH_BODY_TIMEOUT_MAX_S},
	};
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_CHECK);
	if (body && body_schema_check(body, "", fields, ARRAY_SIZE(fields), error) < 0)
		return -EINVAL;
	wish.timeout_s = (uint32_t)integer(body, "timeout_s");
	*ret_wish = wish;
	return 0;
}

static int parse_online_policy(const json_t *text, enum guest_online_policy *ret_policy, struct body_error *error)
{
	int policy = json_is_string(text) ? guest_online_policy_from_name(json_string_value(text)) : GUEST_ONLINE_POLICY_UNSET;

	if (policy < 0 || (json_is_string(text) && policy == GUEST_ONLINE_POLICY_UNSET))
		return body_schema_refuse(error, PROBLEM_INVALID_BODY, "/online_policy", "must be leave or movable");
	*ret_policy = (enum guest_online_policy)policy;
	return 0;
}

int wish_body_policy(const json_t *body, struct rest_guest_policy *ret_policy,
		     struct body_error *error)
{
	static const struct body_field fields[] = {
		{"minimum_bytes", BODY_TYPE_INTEGER, .maximum = INT64_MAX, .nullable = true},
		{"maximum_bytes", BODY_TYPE_INTEGER, .maximum = INT64_MAX, .nullable = true},
		{"request_limit_bytes", BODY_TYPE_INTEGER, .maximum = INT64_MAX, .nullable = true},
		{"online_policy", BODY_TYPE_TEXT, .maximum = 16, .nullable = true},
		{"zone_repair", BODY_TYPE_BOOLEAN, .nullable = true},
		{"priority", BODY_TYPE_INTEGER, .minimum = -1000, .maximum = 1000},
		{"allowed_nodes", BODY_TYPE_ARRAY, .maximum = SNAPSHOT_NODES_MAX, .nullable = true},
	};
	struct rest_guest_policy policy = {0};

	if (body_schema_check(body, "", fields, ARRAY_SIZE(fields), error) < 0 ||
	    parse_nodes(json_object_get(body, "allowed_nodes"), "/allowed_nodes",
			&policy.allowed_nodes, error) < 0)
		return -EINVAL;
	policy.minimum_bytes = integer(body, "minimum_bytes");
	policy.maximum_bytes = integer(body, "maximum_bytes");
	policy.request_limit_bytes = integer(body, "request_limit_bytes");
	if (parse_online_policy(json_object_get(body, "online_policy"), &policy.online_policy, error) < 0)
		return -EINVAL;
	const json_t *repair = json_object_get(body, "zone_repair");

	if (json_is_boolean(repair))
		policy.zone_repair = json_is_true(repair) ? GUEST_ZONE_REPAIR_YES : GUEST_ZONE_REPAIR_NO;
	policy.priority = (int)json_integer_value(json_object_get(body, "priority"));
	if (policy.maximum_bytes && policy.minimum_bytes > policy.maximum_bytes)
		return body_schema_refuse(error, PROBLEM_INVALID_BODY, "/minimum_bytes",
					  "must not be above maximum_bytes");
	*ret_policy = policy;
	return 0;
}

int wish_body_cancel(const json_t *body, bool usual, bool *ret_undo, struct body_error *error)
{
	static const struct body_field fields[] = {{"undo", BODY_TYPE_BOOLEAN}};

	if (body && body_schema_check(body, "", fields, ARRAY_SIZE(fields), error) < 0)
		return -EINVAL;
	const json_t *undo = json_object_get(body, "undo");

	*ret_undo = undo ? json_is_true(undo) : usual;
	return 0;
}
