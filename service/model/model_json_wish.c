/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wishes and steps in full, both ways: what the journal stores and what a worker is started with.
 * What has the value that wish_init() and step_init() give is left out, and absent keys are read as
 * that; unknown keys are refused. Longer than most, because both ways stand together: a key is
 * added to both at once.
 */
#include <stdio.h>
#include <string.h>
#include "model_json.h"
#include "model_json_priv.h"

static void put_u64(json_t **json, const char *key, uint64_t value)
{
	if (value)
		model_json_put(json, key, model_json_u64(value));
}

static void put_text(json_t **json, const char *key, const char *text)
{
	if (text[0])
		model_json_put(json, key, model_json_text(text));
}

static void put_true(json_t **json, const char *key, bool value)
{
	if (value)
		model_json_put(json, key, json_true());
}

static void put_nodes(json_t **json, const char *key, uint64_t mask)
{
	if (mask)
		model_json_put(json, key, model_json_nodes(mask));
}

/* {"0": 2}: -1, which stays, is left out. */
static void put_map(json_t **json, const char *key, const int8_t *map, size_t count)
{
	json_t *object = json_object();
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		char index[24];

		if (map[i] < 0)
			continue;
		snprintf(index, sizeof(index), "%zu", i);
		model_json_put(&object, index, json_integer(map[i]));
		any = true;
	}
	if (any)
		model_json_put(json, key, object);
	else
		json_decref(object);
}

static void put_ranges(json_t **json, const char *key, const struct snapshot_range *ranges,
		       size_t count)
{
	json_t *array;

	if (count == 0)
		return;
	array = json_array();
	for (size_t i = 0; i < count; i++) {
		json_t *range = json_object();

		model_json_put(&range, "start", model_json_u64(ranges[i].start));
		model_json_put(&range, "end", model_json_u64(ranges[i].end));
		model_json_append(&array, range);
	}
	model_json_put(json, key, array);
}

static json_t *resize_json(const struct wish_resize *wish)
{
	json_t *json = json_object();

	put_u64(&json, "target_bytes", wish->target_bytes);
	if (wish->device_count) {
		json_t *devices = json_array();

		for (size_t i = 0; i < wish->device_count; i++) {
			json_t *device = json_object();

			model_json_put(&device, "alias", model_json_text(wish->devices[i].alias));
			model_json_put(&device, "requested_bytes",
				       model_json_u64(wish->devices[i].requested_bytes));
			model_json_append(&devices, device);
		}
		model_json_put(&json, "devices", devices);
	}
	put_ranges(&json, "ranges", wish->ranges, wish->range_count);
	put_u64(&json, "work_percent", wish->work_percent);
	return json;
}

static json_t *move_json(const struct wish_move *wish)
{
	json_t *json = json_object();

	model_json_put(&json, "form", json_string(move_form_name(wish->form)));
	put_nodes(&json, "to_nodes", wish->to_nodes);
	put_map(&json, "map", wish->map, SNAPSHOT_NODES_MAX);
	put_map(&json, "cells", wish->cells, SNAPSHOT_CELLS_MAX);
	put_true(&json, "cpus", wish->cpus);
	put_true(&json, "persist", wish->persist);
	put_true(&json, "lazy", wish->lazy);
	if (wish->order != MOVE_ORDER_ANY)
		model_json_put(&json, "order", json_string(move_order_name(wish->order)));
	put_u64(&json, "budget_bytes_per_s", wish->budget_bytes_per_s);
	put_u64(&json, "budget_stall_us", wish->budget_stall_us);
	put_ranges(&json, "ranges", wish->ranges, wish->range_count);
	return json;
}

static json_t *drain_json(const struct wish_drain *wish)
{
	json_t *json = json_object();

	model_json_put(&json, "target", json_string(drain_target_name(wish->target)));
	put_text(&json, "dimm", wish->dimm);
	if (wish->node >= 0)
		model_json_put(&json, "node", json_integer(wish->node));
	put_u64(&json, "start", wish->range.start);
	put_u64(&json, "end", wish->range.end);
	model_json_put(&json, "finish", json_string(drain_finish_name(wish->finish)));
	put_text(&json, "reason", wish->reason);
	put_u64(&json, "not_before_ms", wish->not_before_ms);
	put_true(&json, "persist", wish->persist);
	return json;
}

json_t *model_json_wish(const struct wish *wish)
{
	json_t *json = json_object();

	model_json_put(&json, "kind", json_string(operation_kind_name(wish->kind)));
	put_text(&json, "guest", wish->guest);
	put_text(&json, "drain", wish->drain);
	if (wish->allow) {
		json_t *allow = json_array();

		for (int i = 0; i < CONSENT_COUNT; i++)
			if (wish->allow >> i & 1)
				model_json_append(&allow,
						  json_string(consent_name((enum consent)i)));
		model_json_put(&json, "allow", allow);
	}
	put_u64(&json, "timeout_s", wish->timeout_s);
	model_json_put(&json, "on_timeout", json_string(on_timeout_name(wish->on_timeout)));
	put_true(&json, "keep", wish->keep);
	switch (wish->kind) {
	case OPERATION_KIND_RESIZE:
		model_json_put(&json, "resize", resize_json(&wish->resize));
		break;
	case OPERATION_KIND_MOVE:
		model_json_put(&json, "move", move_json(&wish->move));
		break;
	case OPERATION_KIND_DRAIN:
	case OPERATION_KIND_UNDRAIN:
		model_json_put(&json, "drain_wish", drain_json(&wish->drain_wish));
		break;
	case OPERATION_KIND_CHECK:
	case OPERATION_KIND_COUNT:
		break;
	}
	return json;
}

json_t *model_json_step(const struct step *step)
{
	json_t *json = json_object();

	model_json_put(&json, "kind", json_string(step_kind_name(step->kind)));
	put_true(&json, "undoable", step->undoable);
	put_text(&json, "guest", step->guest);
	put_text(&json, "guest_name", step->guest_name);
	put_text(&json, "device", step->device);
	put_text(&json, "dimm", step->dimm);
	put_text(&json, "text", step->text);
	if (step->node >= 0)
		model_json_put(&json, "node", json_integer(step->node));
	put_u64(&json, "bytes", step->bytes);
	put_u64(&json, "target_bytes", step->target_bytes);
	put_u64(&json, "page_bytes", step->page_bytes);
	put_nodes(&json, "nodes", step->nodes);
	put_nodes(&json, "from_nodes", step->from_nodes);
	put_true(&json, "by_map", step->by_map);
	put_true(&json, "by_cells", step->by_cells);
	put_map(&json, "map", step->map, SNAPSHOT_NODES_MAX);
	put_map(&json, "cells", step->cells, SNAPSHOT_CELLS_MAX);
	if (step->mode != POLICY_MODE_DEFAULT)
		model_json_put(&json, "mode", json_string(policy_mode_name(step->mode)));
	put_true(&json, "grows", step->grows);
	put_true(&json, "zones_told", step->zones_told);
	put_u64(&json, "offline_before", step->offline_before);
	put_u64(&json, "wrong_before", step->wrong_before);
	put_true(&json, "loose", step->loose);
	if (step->zone != BLOCK_ZONE_NONE)
		model_json_put(&json, "zone", json_string(block_zone_name(step->zone)));
	if (step->block_run_count) {
		json_t *runs = json_array();

		for (size_t i = 0; i < step->block_run_count; i++) {
			json_t *run = json_object();

			model_json_put(&run, "first", model_json_u64(step->block_runs[i].first));
			model_json_put(&run, "last", model_json_u64(step->block_runs[i].last));
			model_json_append(&runs, run);
		}
		model_json_put(&json, "block_runs", runs);
	}
	put_ranges(&json, "ranges", step->ranges, step->range_count);
	put_u64(&json, "timeout_ms", step->timeout_ms);
	put_u64(&json, "hook_count", step->hook_count);
	put_text(&json, "hook_names", step->hook_names);
	put_text(&json, "slices", step->slices);
	if (step->order != MOVE_ORDER_ANY)
		model_json_put(&json, "order", json_string(move_order_name(step->order)));
	put_u64(&json, "workers", step->workers);
	put_true(&json, "may_split", step->may_split);
	put_u64(&json, "budget_bytes_per_s", step->budget_bytes_per_s);
	put_true(&json, "budget_is_shared", step->budget_is_shared);
	put_u64(&json, "budget_stall_us", step->budget_stall_us);
	put_u64(&json, "work_percent", step->work_percent);
	put_u64(&json, "stall_ms", step->stall_ms);
	put_text(&json, "undo_operation", step->undo_operation);
	put_u64(&json, "undo_n", step->undo_n);
	if (step->child)
		model_json_put(&json, "child", model_json_wish(step->child));
	return json;
}

/*
 * Reading. One reader per object: the first thing that is wrong fills the failure and makes every
 * later read do nothing, so that a parser is a plain list of its keys and looks at error once, at
 * the end.
 */
struct reader {
	const json_t *object;
	const char *name; /* of the object, for the failure's text */
	struct failure *failure;
	size_t seen; /* keys that were asked for and are there */
	int error;
};

static void refuse(struct reader *reader, const char *key, const char *cause)
{
	if (reader->error)
		return;
	reader->error = -EINVAL;
	failure_set(reader->failure, EINVAL, reader->name, "cannot read %s", key);
	failure_set_code(reader->failure, "malformed");
	failure_set_cause(reader->failure, "%s", cause);
}

static struct reader reader_new(const json_t *object, const char *name, struct failure *failure)
{
	struct reader reader = {.object = object, .name = name, .failure = failure};

	if (!json_is_object(object))
		refuse(&reader, name, "it is no object");
	return reader;
}

static const json_t *take(struct reader *reader, const char *key)
{
	const json_t *value = reader->error ? NULL : json_object_get(reader->object, key);

	if (value)
		reader->seen++;
	return value;
}

static int reader_end(struct reader *reader, const char *const *keys, size_t key_count)
{
	const char *key;
	json_t *value;

	if (reader->error || reader->seen == json_object_size(reader->object))
		return reader->error;
	json_object_foreach((json_t *)reader->object, key, value)
	{
		bool known = false;

		for (size_t i = 0; i < key_count; i++)
			known = known || strcmp(keys[i], key) == 0;
		if (!known)
			refuse(reader, key, "there is no such key");
	}
	return reader->error;
}

static uint64_t to_number(struct reader *reader, const char *key, const json_t *value,
			  uint64_t maximum)
{
	if (!json_is_integer(value)) {
		refuse(reader, key, "it is no integer");
		return 0;
	}
	if (json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) > maximum) {
		refuse(reader, key, "it is out of range");
		return 0;
	}
	return (uint64_t)json_integer_value(value);
}

static uint64_t read_number(struct reader *reader, const char *key, uint64_t maximum)
{
	const json_t *value = take(reader, key);

	return value ? to_number(reader, key, value, maximum) : 0;
}

static uint64_t read_u64(struct reader *reader, const char *key)
{
	return read_number(reader, key, INT64_MAX);
}

static int read_node(struct reader *reader, const char *key)
{
	const json_t *value = take(reader, key);

	return value ? (int)to_number(reader, key, value, SNAPSHOT_NODES_MAX - 1) : -1;
}

static bool read_bool(struct reader *reader, const char *key)
{
	const json_t *value = take(reader, key);

	if (value && !json_is_boolean(value))
		refuse(reader, key, "it is neither true nor false");
	return json_is_true(value);
}

static void read_text(struct reader *reader, const char *key, char *ret_text, size_t size)
{
	const json_t *value = take(reader, key);

	if (!value)
		return;
	if (!json_is_string(value))
		refuse(reader, key, "it is no text");
	else if (json_string_length(value) >= size)
		refuse(reader, key, "it is too long");
	else if (strlen(json_string_value(value)) != json_string_length(value))
		refuse(reader, key, "it has a NUL in it");
	else
		memcpy(ret_text, json_string_value(value), json_string_length(value) + 1);
}

/* The enumerator of this name; none where the key is absent and none is not negative (else it is
 * missing). */
static int read_enum(struct reader *reader, const char *key, int (*from_name)(const char *),
		     int none)
{
	const json_t *value = take(reader, key);
	int enumerator;

	if (!value) {
		if (none < 0)
			refuse(reader, key, "it is missing");
		return none < 0 ? 0 : none;
	}
	enumerator = json_is_string(value) ? from_name(json_string_value(value)) : -1;
	if (enumerator < 0)
		refuse(reader, key, "there is no such name");
	return enumerator < 0 ? 0 : enumerator;
}

static uint64_t read_nodes(struct reader *reader, const char *key)
{
	const json_t *array = take(reader, key);
	uint64_t mask = 0;

	if (array && !json_is_array(array))
		refuse(reader, key, "it is no list");
	for (size_t i = 0; i < json_array_size(array); i++)
		mask |= UINT64_C(1)
			<< to_number(reader, key, json_array_get(array, i), SNAPSHOT_NODES_MAX - 1);
	return mask;
}

static void read_map(struct reader *reader, const char *name, int8_t *map, size_t count)
{
	const json_t *object = take(reader, name);
	struct reader entries;
	const char *key;
	json_t *value;

	if (!object)
		return;
	entries = reader_new(object, name, reader->failure);
	json_object_foreach((json_t *)object, key, value)
	{
		char *end;
		unsigned long index = strtoul(key, &end, 10);

		/* The key must be the number's only spelling, or one entry could be written twice.
		 */
		if (key[0] < '0' || key[0] > '9' || (key[0] == '0' && key[1]) || *end ||
		    index >= count)
			refuse(&entries, key, "it is no number of a node or cell");
		else
			map[index] =
				(int8_t)to_number(&entries, key, value, SNAPSHOT_NODES_MAX - 1);
	}
	if (entries.error)
		reader->error = entries.error;
}

static size_t read_ranges(struct reader *reader, const char *name, struct snapshot_range *ranges)
{
	static const char *const keys[] = {"start", "end"};
	const json_t *array = take(reader, name);

	if (!array)
		return 0;
	if (!json_is_array(array) || json_array_size(array) > SNAPSHOT_RANGES_MAX) {
		refuse(reader, name, "it is no list of at most 16 ranges");
		return 0;
	}
	for (size_t i = 0; i < json_array_size(array); i++) {
		struct reader range = reader_new(json_array_get(array, i), name, reader->failure);

		ranges[i].start = read_u64(&range, "start");
		ranges[i].end = read_u64(&range, "end");
		if (reader_end(&range, keys, ARRAY_SIZE(keys)) < 0) {
			reader->error = range.error;
			return 0;
		}
	}
	return json_array_size(array);
}

static void parse_resize(struct reader *outer, const json_t *json, struct wish_resize *wish)
{
	static const char *const keys[] = {"target_bytes", "devices", "ranges", "work_percent"};
	static const char *const device_keys[] = {"alias", "requested_bytes"};
	struct reader reader = reader_new(json, "resize", outer->failure);
	const json_t *devices;

	wish->target_bytes = read_u64(&reader, "target_bytes");
	devices = take(&reader, "devices");
	if (devices && (!json_is_array(devices) || json_array_size(devices) > SNAPSHOT_DEVICES_MAX))
		refuse(&reader, "devices", "it is no list of at most 16 devices");
	for (size_t i = 0; !reader.error && i < json_array_size(devices); i++) {
		struct reader device =
			reader_new(json_array_get(devices, i), "devices", outer->failure);

		read_text(&device, "alias", wish->devices[i].alias, sizeof(wish->devices[i].alias));
		wish->devices[i].requested_bytes = read_u64(&device, "requested_bytes");
		reader.error = reader_end(&device, device_keys, ARRAY_SIZE(device_keys));
		wish->device_count = i + 1;
	}
	wish->range_count = read_ranges(&reader, "ranges", wish->ranges);
	wish->work_percent = (unsigned)read_number(&reader, "work_percent", 100);
	outer->error = reader_end(&reader, keys, ARRAY_SIZE(keys));
}

static void parse_move(struct reader *outer, const json_t *json, struct wish_move *wish)
{
	static const char *const keys[] = {
		"form",		  "to_nodes", "map",  "cells",
		"cpus",		  "persist",  "lazy", "budget_bytes_per_s",
		"budget_stall_us", "order",   "ranges"};
	struct reader reader = reader_new(json, "move", outer->failure);

	wish->form = (enum move_form)read_enum(&reader, "form", move_form_from_name, -1);
	wish->to_nodes = read_nodes(&reader, "to_nodes");
	read_map(&reader, "map", wish->map, SNAPSHOT_NODES_MAX);
	read_map(&reader, "cells", wish->cells, SNAPSHOT_CELLS_MAX);
	wish->cpus = read_bool(&reader, "cpus");
	wish->persist = read_bool(&reader, "persist");
	wish->lazy = read_bool(&reader, "lazy");
	wish->order = (enum move_order)read_enum(&reader, "order", move_order_from_name, MOVE_ORDER_ANY);
	wish->budget_bytes_per_s = read_u64(&reader, "budget_bytes_per_s");
	wish->budget_stall_us = (uint32_t)read_number(&reader, "budget_stall_us", UINT32_MAX);
	wish->range_count = read_ranges(&reader, "ranges", wish->ranges);
	outer->error = reader_end(&reader, keys, ARRAY_SIZE(keys));
}

static void parse_drain(struct reader *outer, const json_t *json, struct wish_drain *wish)
{
	static const char *const keys[] = {"target", "dimm",   "node",		"start",  "end",
					   "finish", "reason", "not_before_ms", "persist"};
	struct reader reader = reader_new(json, "drain_wish", outer->failure);

	wish->target = (enum drain_target)read_enum(&reader, "target", drain_target_from_name, -1);
	read_text(&reader, "dimm", wish->dimm, sizeof(wish->dimm));
	wish->node = read_node(&reader, "node");
	wish->range.start = read_u64(&reader, "start");
	wish->range.end = read_u64(&reader, "end");
	wish->finish = (enum drain_finish)read_enum(&reader, "finish", drain_finish_from_name, -1);
	read_text(&reader, "reason", wish->reason, sizeof(wish->reason));
	wish->not_before_ms = read_u64(&reader, "not_before_ms");
	wish->persist = read_bool(&reader, "persist");
	outer->error = reader_end(&reader, keys, ARRAY_SIZE(keys));
}

static uint32_t read_allow(struct reader *reader)
{
	const json_t *array = take(reader, "allow");
	uint32_t allow = 0;

	if (array && !json_is_array(array))
		refuse(reader, "allow", "it is no list");
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *name = json_string_value(json_array_get(array, i));
		int consent = name ? consent_from_name(name) : -1;

		if (consent < 0)
			refuse(reader, "allow", "there is no such consent");
		else
			allow |= UINT32_C(1) << consent;
	}
	return allow;
}

int model_json_wish_parse(const json_t *json, struct wish *ret_wish, struct failure *failure)
{
	static const char *const keys[] = {"kind",   "guest",	  "drain",
					   "allow",  "timeout_s", "on_timeout",
					   "resize", "move",	  "drain_wish",
					   "keep"};
	struct reader reader = reader_new(json, "wish", failure);
	const json_t *part;
	struct wish wish;

	wish_init(&wish,
		  (enum operation_kind)read_enum(&reader, "kind", operation_kind_from_name, -1));
	read_text(&reader, "guest", wish.guest, sizeof(wish.guest));
	read_text(&reader, "drain", wish.drain, sizeof(wish.drain));
	wish.allow = read_allow(&reader);
	wish.timeout_s = (uint32_t)read_number(&reader, "timeout_s", UINT32_MAX);
	wish.on_timeout = (enum on_timeout)read_enum(&reader, "on_timeout", on_timeout_from_name,
						     ON_TIMEOUT_DEFAULT);
	switch (wish.kind) {
	case OPERATION_KIND_RESIZE:
		part = take(&reader, "resize");
		if (part)
			parse_resize(&reader, part, &wish.resize);
		break;
	case OPERATION_KIND_MOVE:
		part = take(&reader, "move");
		if (part)
			parse_move(&reader, part, &wish.move);
		break;
	case OPERATION_KIND_DRAIN:
	case OPERATION_KIND_UNDRAIN:
		part = take(&reader, "drain_wish");
		if (part)
			parse_drain(&reader, part, &wish.drain_wish);
		/* A drain's own wish has none. */
		wish.keep = wish.kind == OPERATION_KIND_UNDRAIN && read_bool(&reader, "keep");
		break;
	case OPERATION_KIND_CHECK:
	case OPERATION_KIND_COUNT:
		break;
	}
	if (reader_end(&reader, keys, ARRAY_SIZE(keys)) < 0)
		return reader.error;
	/* Known, but of another kind. */
	if (reader.seen != json_object_size(json)) {
		refuse(&reader, "kind", "a key belongs to another kind of operation");
		return reader.error;
	}
	*ret_wish = wish;
	return 0;
}

static void read_runs(struct reader *reader, struct step *step)
{
	static const char *const keys[] = {"first", "last"};
	const json_t *array = take(reader, "block_runs");

	if (array && (!json_is_array(array) || json_array_size(array) > STEP_BLOCK_RUNS_MAX))
		refuse(reader, "block_runs", "it is no list of at most 32 runs");
	for (size_t i = 0; !reader->error && i < json_array_size(array); i++) {
		struct reader run =
			reader_new(json_array_get(array, i), "block_runs", reader->failure);

		step->block_runs[i].first = read_u64(&run, "first");
		step->block_runs[i].last = read_u64(&run, "last");
		reader->error = reader_end(&run, keys, ARRAY_SIZE(keys));
		step->block_run_count = i + 1;
	}
}

static void read_child(struct reader *reader, struct step *step)
{
	const json_t *child = take(reader, "child");

	if (!child)
		return;
	step->child = malloc(sizeof(*step->child));
	reader->error =
		step->child ? model_json_wish_parse(child, step->child, reader->failure) : -ENOMEM;
}

int model_json_step_parse(const json_t *json, struct step *ret_step, struct failure *failure)
{
	static const char *const keys[] = {"kind",
					   "undoable",
					   "guest",
					   "guest_name",
					   "device",
					   "dimm",
					   "text",
					   "node",
					   "bytes",
					   "target_bytes",
					   "page_bytes",
					   "nodes",
					   "from_nodes",
					   "by_map",
					   "by_cells",
					   "map",
					   "cells",
					   "mode",
					   "grows",
					   "zones_told",
					   "offline_before",
					   "wrong_before",
					   "loose",
					   "zone",
					   "block_runs",
					   "ranges",
					   "timeout_ms",
					   "hook_count",
					   "hook_names",
					   "slices",
					   "order",
					   "workers",
					   "may_split",
					   "budget_bytes_per_s",
					   "budget_is_shared",
					   "budget_stall_us",
					   "work_percent",
					   "stall_ms",
					   "undo_operation",
					   "undo_n",
					   "child"};
	struct reader reader = reader_new(json, "step", failure);
	struct step step;

	step_init(&step, (enum step_kind)read_enum(&reader, "kind", step_kind_from_name, -1));
	step.undoable = read_bool(&reader, "undoable");
	read_text(&reader, "guest", step.guest, sizeof(step.guest));
	read_text(&reader, "guest_name", step.guest_name, sizeof(step.guest_name));
	read_text(&reader, "device", step.device, sizeof(step.device));
	read_text(&reader, "dimm", step.dimm, sizeof(step.dimm));
	read_text(&reader, "text", step.text, sizeof(step.text));
	step.node = read_node(&reader, "node");
	step.bytes = read_u64(&reader, "bytes");
	step.target_bytes = read_u64(&reader, "target_bytes");
	step.page_bytes = read_u64(&reader, "page_bytes");
	step.nodes = read_nodes(&reader, "nodes");
	step.from_nodes = read_nodes(&reader, "from_nodes");
	step.by_map = read_bool(&reader, "by_map");
	step.by_cells = read_bool(&reader, "by_cells");
	read_map(&reader, "map", step.map, SNAPSHOT_NODES_MAX);
	read_map(&reader, "cells", step.cells, SNAPSHOT_CELLS_MAX);
	step.mode = (enum policy_mode)read_enum(&reader, "mode", policy_mode_from_name,
						POLICY_MODE_DEFAULT);
	step.grows = read_bool(&reader, "grows");
	step.zones_told = read_bool(&reader, "zones_told");
	step.offline_before = read_u64(&reader, "offline_before");
	step.wrong_before = read_u64(&reader, "wrong_before");
	step.loose = read_bool(&reader, "loose");
	step.zone =
		(enum block_zone)read_enum(&reader, "zone", block_zone_from_name, BLOCK_ZONE_NONE);
	read_runs(&reader, &step);
	step.range_count = read_ranges(&reader, "ranges", step.ranges);
	step.timeout_ms = (uint32_t)read_number(&reader, "timeout_ms", UINT32_MAX);
	step.hook_count = (unsigned)read_number(&reader, "hook_count", UINT32_MAX);
	read_text(&reader, "hook_names", step.hook_names, sizeof(step.hook_names));
	read_text(&reader, "slices", step.slices, sizeof(step.slices));
	step.order =
		(enum move_order)read_enum(&reader, "order", move_order_from_name, MOVE_ORDER_ANY);
	step.workers = (unsigned)read_number(&reader, "workers", UINT32_MAX);
	step.may_split = read_bool(&reader, "may_split");
	step.budget_bytes_per_s = read_u64(&reader, "budget_bytes_per_s");
	step.budget_is_shared = read_bool(&reader, "budget_is_shared");
	step.budget_stall_us = (uint32_t)read_number(&reader, "budget_stall_us", UINT32_MAX);
	step.work_percent = (unsigned)read_number(&reader, "work_percent", 100);
	step.stall_ms = (uint32_t)read_number(&reader, "stall_ms", UINT32_MAX);
	read_text(&reader, "undo_operation", step.undo_operation, sizeof(step.undo_operation));
	step.undo_n = (unsigned)read_number(&reader, "undo_n", UINT32_MAX);
	read_child(&reader, &step);
	if (reader_end(&reader, keys, ARRAY_SIZE(keys)) < 0) {
		step_done(&step);
		return reader.error;
	}
	*ret_step = step;
	return 0;
}

int model_json_remainders_parse(const json_t *json, struct remainder_list *ret_list,
				struct failure *failure)
{
	static const char *const keys[] = {"code",   "object",	"bytes",
					   "detail", "way_out", "consent"};
	struct remainder_list list = {0};

	if (!json_is_array(json)) {
		failure_set(failure, EINVAL, "remainder", "cannot read it");
		failure_set_code(failure, "malformed");
		failure_set_cause(failure, "it is no list");
		return -EINVAL;
	}
	for (size_t i = 0; i < json_array_size(json); i++) {
		struct reader reader = reader_new(json_array_get(json, i), "remainder", failure);
		struct remainder entry = {.consent = -1};

		entry.code = (enum remainder_code)read_enum(&reader, "code",
							    remainder_code_from_name, -1);
		read_text(&reader, "object", entry.object, sizeof(entry.object));
		entry.bytes = read_u64(&reader, "bytes");
		read_text(&reader, "detail", entry.detail, sizeof(entry.detail));
		read_text(&reader, "way_out", entry.way_out, sizeof(entry.way_out));
		if (json_is_null(json_object_get(reader.object, "consent")))
			take(&reader, "consent");
		else if (json_object_get(reader.object, "consent"))
			entry.consent = read_enum(&reader, "consent", consent_from_name, -1);
		if (reader_end(&reader, keys, ARRAY_SIZE(keys)) < 0)
			return reader.error;
		remainder_list_add_copy(&list, &entry);
	}
	*ret_list = list;
	return 0;
}
