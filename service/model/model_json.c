/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was seen, as the API shows it. The wish and step in full, and operations, have files of
 * their own.
 */
#include "model_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "model_json_priv.h"
#include "movability.h"


static void *allocate_or_end(size_t size)
{
	static const char words[] = "out of memory for JSON: ending\n";
	void *memory = malloc(size);

	if (!memory && size) {
		/* Nothing that might allocate, and no exit handler. */
		if (write(STDERR_FILENO, words, sizeof(words) - 1) < 0)
			_exit(EXIT_FAILURE);
		_exit(EXIT_FAILURE);
	}
	return memory;
}

void model_json_end_without_memory(void)
{
	json_set_alloc_funcs(allocate_or_end, free);
}

void model_json_put(json_t **object, const char *key, json_t *value)
{
	if (!*object) {
		json_decref(value);
		return;
	}
	if (json_object_set_new(*object, key, value) < 0) {
		json_decref(*object);
		*object = NULL;
	}
}

void model_json_append(json_t **array, json_t *value)
{
	if (!*array) {
		json_decref(value);
		return;
	}
	if (json_array_append_new(*array, value) < 0) {
		json_decref(*array);
		*array = NULL;
	}
}

json_t *model_json_u64(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

json_t *model_json_text(const char *text)
{
	CLEANUP_FREE char *ascii = NULL;
	json_t *json = json_string(text);

	if (json)
		return json;
	ascii = strdup(text);
	if (!ascii)
		return NULL;
	for (char *c = ascii; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json_string(ascii);
}

json_t *model_json_text_or_null(const char *text)
{
	return text[0] ? model_json_text(text) : json_null();
}

json_t *model_json_time(uint64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	char date[32], text[48];
	struct tm tm;

	if (wall_ms == 0 || !gmtime_r(&seconds, &tm) ||
	    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		return json_null();
	snprintf(text, sizeof(text), "%s.%03uZ", date, (unsigned)(wall_ms % 1000));
	return json_string(text);
}

json_t *model_json_nodes(uint64_t mask)
{
	json_t *array = json_array();

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (mask >> node & 1)
			model_json_append(&array, json_integer(node));
	return array;
}

json_t *model_json_remainder(const struct remainder *remainder)
{
	json_t *json = json_object();

	model_json_put(&json, "code", json_string(remainder_code_name(remainder->code)));
	model_json_put(&json, "object", model_json_text(remainder->object));
	model_json_put(&json, "bytes", model_json_u64(remainder->bytes));
	model_json_put(&json, "detail", model_json_text(remainder->detail));
	model_json_put(&json, "way_out", model_json_text(remainder->way_out));
	model_json_put(&json, "consent",
		       remainder->consent >= 0
			       ? json_string(consent_name((enum consent)remainder->consent))
			       : json_null());
	return json;
}

json_t *model_json_remainders(const struct remainder_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		model_json_append(&array, model_json_remainder(&list->items[i]));
	return array;
}

static void put_observation(json_t **json, const struct snapshot *snapshot)
{
	model_json_put(json, "revision", model_json_u64(snapshot->revision));
	model_json_put(json, "observed_at", model_json_time(snapshot->observed_at_ms));
}

static json_t *pools_json(const struct snapshot_node *node)
{
	json_t *array = json_array();

	for (size_t i = 0; i < node->pool_count; i++) {
		const struct snapshot_pool *pool = &node->pools[i];
		json_t *json = json_object();

		model_json_put(&json, "size_bytes", model_json_u64(pool->page_bytes));
		model_json_put(&json, "total", model_json_u64(pool->total));
		model_json_put(&json, "free", model_json_u64(pool->free));
		model_json_put(&json, "reserved", model_json_u64(pool->reserved));
		model_json_put(&json, "surplus", model_json_u64(pool->surplus));
		model_json_append(&array, json);
	}
	return array;
}

static const char *node_state(const struct snapshot_node *node)
{
	/* Whatever may still run on its CPUs. */
	if (!node->has_memory)
		return "no_memory";
	return node->held ? "held" : "online";
}

/* Whether the node can ever be emptied, and what stands against it. */
static void put_movability(json_t **json, const struct snapshot *snapshot, const struct snapshot_node *node)
{
	struct movability movability = movability_of_node(snapshot, node->id);
	enum answer answer = movability_answer(&movability);
	struct remainder_list list = {0};
	char object[32];

	snprintf(object, sizeof(object), "node %d", node->id);
	movability_remain(&movability, snapshot, object, &list);
	movability_remain_pools(snapshot, node->id, object, &list);
	/* The rest of it can go. */
	if (answer == ANSWER_YES && movability_is_barred_by_pools(snapshot, node->id))
		answer = ANSWER_PARTLY;
	model_json_put(json, "movable", json_string(answer_name(answer)));
	model_json_put(json, "remainder", model_json_remainders(&list));
}

json_t *model_json_node(const struct snapshot *snapshot, const struct snapshot_node *node)
{
	json_t *json = json_object(), *distances = json_array(), *dimms = json_array(),
	       *guests = json_array();

	/* In the order of the node list, which is what a reader has beside it; ids may have gaps.
	 */
	for (size_t i = 0; i < snapshot->node_count; i++) {
		int id = snapshot->nodes[i].id;

		model_json_append(
			&distances,
			json_integer(id >= 0 && id < SNAPSHOT_NODES_MAX ? node->distances[id] : 0));
	}
	for (size_t i = 0; i < snapshot->dimm_count; i++)
		if (snapshot->dimms[i].node == node->id)
			model_json_append(&dimms, model_json_text(snapshot->dimms[i].id));
	for (size_t i = 0; i < snapshot->guest_count; i++) {
		const struct snapshot_guest *guest = &snapshot->guests[i];
		json_t *entry;

		if (node->id < 0 || node->id >= SNAPSHOT_NODES_MAX ||
		    guest->node_bytes[node->id] == 0)
			continue;
		entry = json_object();
		model_json_put(&entry, "id", model_json_text(guest->uuid));
		model_json_put(&entry, "name", model_json_text(guest->name));
		model_json_put(&entry, "bytes", model_json_u64(guest->node_bytes[node->id]));
		model_json_append(&guests, entry);
	}
	model_json_put(&json, "id", json_integer(node->id));
	model_json_put(&json, "state", json_string(node_state(node)));
	model_json_put(&json, "held", json_boolean(node->held));
	model_json_put(&json, "has_cpus", json_boolean(node->has_cpus));
	model_json_put(&json, "total_bytes", model_json_u64(node->total_bytes));
	model_json_put(&json, "free_bytes", model_json_u64(node->free_bytes));
	model_json_put(&json, "guest_bytes", model_json_u64(node->guest_bytes));
	model_json_put(&json, "movable_bytes", model_json_u64(node->movable_bytes));
	put_movability(&json, snapshot, node);
	model_json_put(&json, "hugepages", pools_json(node));
	model_json_put(&json, "distances", distances);
	model_json_put(&json, "distances_by", json_string(node->has_latency_distances ? "hmat" : "slit"));
	model_json_put(&json, "read_latency_ns", node->read_latency_ns ? model_json_u64(node->read_latency_ns) : json_null());
	model_json_put(&json, "read_bytes_per_s",
		       node->read_bytes_per_s ? model_json_u64(node->read_bytes_per_s) : json_null());
	model_json_put(&json, "dimms", dimms);
	model_json_put(&json, "guests", guests);
	model_json_put(&json, "hint", model_json_node_hint(snapshot, node->id));
	put_observation(&json, snapshot);
	return json;
}

static json_t *ranges_json(const struct snapshot_range *ranges, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		json_t *range = json_object();

		model_json_put(&range, "start", model_json_u64(ranges[i].start));
		model_json_put(&range, "end", model_json_u64(ranges[i].end));
		model_json_append(&array, range);
	}
	return array;
}

static void put_errors(json_t **json, int64_t corrected, int64_t uncorrected)
{
	model_json_put(json, "corrected_errors", corrected < 0 ? json_null() : json_integer(corrected));
	model_json_put(json, "uncorrected_errors", uncorrected < 0 ? json_null() : json_integer(uncorrected));
}

json_t *model_json_controllers(const struct snapshot *snapshot)
{
	json_t *array = json_array();

	for (size_t i = 0; i < snapshot->controller_count; i++) {
		const struct snapshot_controller *controller = &snapshot->controllers[i];
		json_t *json = json_object();

		model_json_put(&json, "id", model_json_text(controller->id));
		model_json_put(&json, "name", model_json_text(controller->name));
		model_json_put(&json, "corrected_errors", model_json_u64(controller->corrected_errors));
		model_json_put(&json, "uncorrected_errors", model_json_u64(controller->uncorrected_errors));
		model_json_put(&json, "unplaced_corrected_errors", model_json_u64(controller->unplaced_corrected));
		model_json_put(&json, "unplaced_uncorrected_errors", model_json_u64(controller->unplaced_uncorrected));
		model_json_append(&array, json);
	}
	return array;
}

void model_json_add_reboot(json_t *object, const struct snapshot_reboot *reboot)
{
	json_object_set_new(object, "reboot_s", reboot->s ? json_integer((json_int_t)reboot->s) : json_null());
	json_object_set_new(object, "reboot_configured", json_boolean(reboot->is_configured));
}

static json_t *slots_json(const struct snapshot_dimm *dimm)
{
	json_t *array = json_array();

	for (size_t i = 0; i < dimm->slot_count; i++) {
		const struct snapshot_slot *slot = &dimm->slots[i];
		json_t *json = json_object();

		model_json_put(&json, "locator", model_json_text(slot->locator));
		model_json_put(&json, "bank", model_json_text(slot->bank));
		model_json_put(&json, "part", model_json_text(slot->part));
		model_json_put(&json, "size_bytes", slot->size_bytes ? model_json_u64(slot->size_bytes) : json_null());
		put_errors(&json, slot->corrected_errors, slot->uncorrected_errors);
		model_json_append(&array, json);
	}
	return array;
}

/* What its node has of huge pages of 1 GiB may lie in it: which of its DIMMs they are in is told nowhere. */
static void put_dimm_movability(json_t **json, const struct snapshot *snapshot, const struct snapshot_dimm *dimm)
{
	struct remainder_list list = dimm->remainder;
	enum answer answer = dimm->movable;
	char object[96];

	snprintf(object, sizeof(object), "dimm %s", dimm->id);
	if (dimm->node >= 0 && dimm->range_count) {
		movability_remain_pools(snapshot, dimm->node, object, &list);
		if (answer == ANSWER_YES && movability_is_barred_by_pools(snapshot, dimm->node))
			answer = ANSWER_UNKNOWN;
	}
	model_json_put(json, "movable", json_string(answer_name(answer)));
	model_json_put(json, "remainder", model_json_remainders(&list));
}

json_t *model_json_dimm(const struct snapshot *snapshot, const struct snapshot_dimm *dimm)
{
	json_t *json = json_object(), *blocks = json_array();
	uint64_t total_bytes = snapshot_ranges_bytes(dimm->ranges, dimm->range_count);

	for (size_t i = 0; i < snapshot->block_count; i++)
		if (snapshot_block_is_in(&snapshot->blocks[i], dimm->ranges, dimm->range_count))
			model_json_append(&blocks, model_json_u64(snapshot->blocks[i].id));
	model_json_put(&json, "id", model_json_text(dimm->id));
	model_json_put(&json, "kind", json_string(dimm_kind_name(dimm->kind)));
	model_json_put(&json, "locator", model_json_text(dimm->locator));
	model_json_put(&json, "node", dimm->node >= 0 ? json_integer(dimm->node) : json_null());
	model_json_put(&json, "total_bytes", model_json_u64(total_bytes));
	model_json_put(&json, "ranges", ranges_json(dimm->ranges, dimm->range_count));
	model_json_put(&json, "blocks", blocks);
	model_json_put(&json, "state", json_string(snapshot_dimm_state_name(dimm->state)));
	model_json_put(&json, "held", json_boolean(dimm->held));
	put_dimm_movability(&json, snapshot, dimm);
	model_json_put(&json, "ejectable", json_boolean(dimm->ejectable));
	model_json_put(&json, "interleaved", json_string(answer_name(dimm->interleaved)));
	model_json_put(&json, "confidence", json_string(confidence_name(dimm->confidence)));
	model_json_put(&json, "slots", slots_json(dimm));
	model_json_put(&json, "slots_unlisted", model_json_u64(dimm->slots_unlisted));
	model_json_put(&json, "guest_bytes", dimm->guests_untold ? json_null() : model_json_u64(dimm->guest_bytes));
	put_errors(&json, dimm->corrected_errors, dimm->uncorrected_errors);
	model_json_put(&json, "hint", model_json_dimm_hint(snapshot, dimm));
	put_observation(&json, snapshot);
	return json;
}

json_t *model_json_block(const struct snapshot_block *block)
{
	json_t *json = json_object();

	model_json_put(&json, "id", model_json_u64(block->id));
	model_json_put(&json, "start", model_json_u64(block->start));
	model_json_put(&json, "end", model_json_u64(block->start + block->size_bytes));
	model_json_put(&json, "size_bytes", model_json_u64(block->size_bytes));
	model_json_put(&json, "node", block->node >= 0 ? json_integer(block->node) : json_null());
	model_json_put(&json, "state", json_string(block_state_name(block->state)));
	model_json_put(&json, "zone", json_string(block_zone_name(block->zone)));
	return json;
}

json_t *model_json_guest_block(const struct snapshot_guest_block *block, const char *device)
{
	json_t *json = model_json_block(&block->block);

	model_json_put(&json, "device", device[0] ? json_string(device) : json_null());
	model_json_put(&json, "can_offline", json_boolean(block->can_offline));
	model_json_put(&json, "free_bytes", model_json_u64(block->holders.free_bytes));
	model_json_put(&json, "huge_free_bytes", model_json_u64(block->holders.huge_free_bytes));
	model_json_put(&json, "huge_used_bytes", model_json_u64(block->holders.huge_used_bytes));
	model_json_put(&json, "kernel_bytes", model_json_u64(block->holders.kernel_bytes));
	model_json_put(&json, "pinned_bytes", model_json_u64(block->holders.pinned_bytes));
	return json;
}

/* What of the plugged memory the guest cannot use or give back, as its agent says. */
static json_t *memory_remainder(const struct snapshot_guest *guest)
{
	struct remainder_list list = {0};
	char object[96];

	snprintf(object, sizeof(object), "guest %s", guest->name);
	const char *repair = guest->agent.repair;

	if (guest->agent.reported && guest->agent.offline_bytes)
		remainder_list_add(&list, REMAINDER_NOT_ONLINED, object, guest->agent.offline_bytes,
				   NULL, "plugged, but not onlined in the guest%s%.120s",
				   repair[0] ? "; repair: " : "", repair);
	if (guest->agent.reported && guest->agent.wrong_zone_bytes && !snapshot_agent_is_by_ratio(&guest->agent))
		remainder_list_add(&list, REMAINDER_WRONG_ZONE, object,
				   guest->agent.wrong_zone_bytes, NULL,
				   "online in a kernel zone, from which it may never leave%s%.110s",
				   repair[0] ? "; repair: " : "", repair);
	return model_json_remainders(&list);
}

json_t *model_json_guest_memory(const struct snapshot_guest *guest)
{
	json_t *json = json_object(), *devices = json_array(), *cells = json_array();
	bool over_used = guest->surveyed && guest->resident_bytes > guest->current_bytes;

	for (size_t i = 0; i < guest->device_count; i++) {
		const struct snapshot_device *device = &guest->devices[i];
		json_t *entry = json_object();

		model_json_put(&entry, "alias", model_json_text(device->alias));
		model_json_put(&entry, "cell", json_integer(device->cell));
		model_json_put(&entry, "size_bytes", model_json_u64(device->size_bytes));
		model_json_put(&entry, "block_bytes", model_json_u64(device->block_bytes));
		model_json_put(&entry, "requested_bytes", model_json_u64(device->requested_bytes));
		model_json_put(&entry, "current_bytes", model_json_u64(device->current_bytes));
		model_json_append(&devices, entry);
	}
	for (size_t i = 0; i < guest->cell_count; i++) {
		json_t *entry = json_object();

		model_json_put(&entry, "id", json_integer(guest->cells[i].id));
		model_json_put(&entry, "bytes", model_json_u64(guest->cells[i].bytes));
		model_json_append(&cells, entry);
	}
	model_json_put(&json, "base_bytes", model_json_u64(guest->base_bytes));
	model_json_put(&json, "max_bytes", model_json_u64(guest->max_bytes));
	model_json_put(&json, "target_bytes", model_json_u64(guest->requested_bytes));
	model_json_put(&json, "current_bytes", model_json_u64(guest->current_bytes));
	model_json_put(
		&json, "over_use_bytes",
		model_json_u64(over_used ? guest->resident_bytes - guest->current_bytes : 0));
	model_json_put(&json, "balloon_bytes",
		       guest->has_balloon ? model_json_u64(guest->balloon_bytes) : json_null());
	model_json_put(&json, "free_page_reporting",
		       guest->has_balloon ? json_boolean(guest->free_page_reporting) : json_null());
	model_json_put(&json, "devices", devices);
	model_json_put(&json, "cells", cells);
	model_json_put(&json, "remainder", memory_remainder(guest));
	return json;
}

static json_t *policy_of_memory(const struct snapshot_guest *guest)
{
	json_t *json = json_object();

	model_json_put(&json, "mode", json_string(policy_mode_name(guest->policy_mode)));
	model_json_put(&json, "nodes", model_json_nodes(guest->policy_nodes));
	model_json_put(&json, "loose", json_boolean(guest->policy_loose));
	return json;
}

static const char *list_nodes(uint64_t mask, char text[64])
{
	size_t length = 0;

	text[0] = '\0';
	for (int node = 0; node < SNAPSHOT_NODES_MAX && length + 4 < 64; node++)
		if (mask >> node & 1)
			length += (size_t)snprintf(text + length, 64 - length, "%s%d", length ? "," : "",
						   node);
	return text;
}

/*
 * null, or how much of it lies where it should not, and in one sentence each: where its last move and the truth differ,
 * where libvirt's word and the truth do, and that nothing holds it where it is.
 */
static json_t *drift_json(const struct snapshot_guest *guest)
{
	char text[480] = "", moved[64], seen[64], defined[64], preferred[64];
	uint64_t resident = 0, bytes = guest->surveyed ? snapshot_guest_drift_bytes(guest) : 0;
	size_t length = 0;
	json_t *json;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (guest->node_bytes[node])
			resident |= UINT64_C(1) << node;
	list_nodes(resident, seen);
	if (guest->surveyed && guest->wanted_nodes && bytes)
		length = (size_t)snprintf(text, sizeof(text), "it was moved to %s, memory is on %s",
					  list_nodes(guest->wanted_nodes, moved), seen);
	if (guest->surveyed && guest->numatune_mode != NUMATUNE_MODE_NONE &&
	    resident & ~guest->numatune_nodes)
		length += (size_t)snprintf(text + length, sizeof(text) - length,
					   "%slibvirt's XML says %s node %s, memory is on %s",
					   length ? "; " : "", numatune_mode_name(guest->numatune_mode),
					   list_nodes(guest->numatune_nodes, defined), seen);
	if (guest->surveyed && guest->policy_loose)
		length += (size_t)snprintf(text + length, sizeof(text) - length,
					   "%sit only prefers node %s, as while a move lasts: its next move there binds it",
					   length ? "; " : "", list_nodes(guest->policy_nodes, preferred));
	if (!length)
		return json_null();
	json = json_object();
	model_json_put(&json, "bytes", model_json_u64(bytes));
	model_json_put(&json, "detail", json_string(text));
	return json;
}

static json_t *bytes_by_node(const uint64_t bytes[SNAPSHOT_NODES_MAX])
{
	json_t *nodes = json_array();

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		json_t *entry;

		if (bytes[node] == 0)
			continue;
		entry = json_object();
		model_json_put(&entry, "node", json_integer(node));
		model_json_put(&entry, "bytes", model_json_u64(bytes[node]));
		model_json_append(&nodes, entry);
	}
	return nodes;
}

static json_t *bytes_by_dimm(const struct snapshot_guest *guest)
{
	json_t *dimms = json_array();

	for (size_t i = 0; i < guest->dimm_count; i++) {
		const char *id = guest->dimm_bytes[i].id;
		uint64_t bytes = snapshot_guest_dimm_bytes(guest, id);
		json_t *entry;
		size_t first = 0;

		while (strcmp(guest->dimm_bytes[first].id, id) != 0)
			first++;
		if (first < i || !id[0] || !bytes)
			continue;
		entry = json_object();
		model_json_put(&entry, "dimm", model_json_text(id));
		model_json_put(&entry, "bytes", model_json_u64(bytes));
		model_json_append(&dimms, entry);
	}
	return dimms;
}

static json_t *overview_json(const struct snapshot_guest *guest)
{
	json_t *json;

	if (!guest->overview_at_ms)
		return json_null();
	json = json_object();
	model_json_put(&json, "nodes", bytes_by_node(guest->overview_bytes));
	model_json_put(&json, "source",
		       json_string(guest->overview_at_ms > guest->surveyed_at_ms || !guest->surveyed ? "cgroup"
												     : "survey"));
	model_json_put(&json, "observed_at", model_json_time(guest->overview_at_ms));
	return json;
}

static json_t *kept_json(const struct snapshot_guest *guest)
{
	json_t *json;

	if (!guest->kept[0])
		return json_null();
	json = json_object();
	model_json_put(&json, "detail", model_json_text(guest->kept));
	model_json_put(&json, "at", model_json_time(guest->kept_at_ms));
	return json;
}

static json_t *sharers_json(const struct snapshot_guest *guest)
{
	json_t *sharers = json_array();

	for (size_t i = 0; i < guest->sharer_count; i++) {
		json_t *entry = json_object();

		model_json_put(&entry, "pid", json_integer(guest->sharers[i].pid));
		model_json_put(&entry, "name", model_json_text(guest->sharers[i].name));
		model_json_put(&entry, "mapped_bytes", model_json_u64(guest->sharers[i].mapped_bytes));
		model_json_put(&entry, "pinned_bytes", model_json_u64(guest->sharers[i].pinned_bytes));
		model_json_append(&sharers, entry);
	}
	return sharers;
}

json_t *model_json_guest_placement(const struct snapshot_guest *guest)
{
	json_t *json = json_object(), *nodes = bytes_by_node(guest->node_bytes), *backing = json_array();
	json_t *cpus = json_object(), *numatune = json_object();

	for (size_t i = 0; i < guest->backing_count; i++) {
		json_t *entry = json_object();

		model_json_put(&entry, "kind",
			       json_string(backing_kind_name(guest->backings[i].kind)));
		model_json_put(&entry, "page_bytes", model_json_u64(guest->backings[i].page_bytes));
		model_json_put(&entry, "bytes", model_json_u64(guest->backings[i].bytes));
		model_json_put(&entry, "cell",
			       guest->backings[i].cell >= 0 ? json_integer(guest->backings[i].cell)
							    : json_null());
		model_json_append(&backing, entry);
	}
	model_json_put(&cpus, "nodes", model_json_nodes(guest->cpu_nodes));
	model_json_put(&cpus, "pinned", json_boolean(guest->cpus_pinned));
	model_json_put(&numatune, "mode", json_string(numatune_mode_name(guest->numatune_mode)));
	model_json_put(&numatune, "nodes", model_json_nodes(guest->numatune_nodes));
	model_json_put(&numatune, "stored_nodes", model_json_nodes(guest->stored_numatune_nodes));
	model_json_put(&json, "nodes", nodes);
	model_json_put(&json, "dimms", bytes_by_dimm(guest));
	model_json_put(&json, "backing", backing);
	model_json_put(&json, "policy", policy_of_memory(guest));
	model_json_put(&json, "cpus", cpus);
	model_json_put(&json, "managed_by",
		       json_string(guest->managed_by_ballast ? "ballast" : "libvirt"));
	model_json_put(&json, "drift", drift_json(guest));
	model_json_put(&json, "numatune", numatune);
	model_json_put(&json, "cpuset_mems", model_json_nodes(guest->cpuset_mems));
	model_json_put(&json, "cpuset_limit", model_json_nodes(guest->cpuset_limit));
	model_json_put(&json, "resident_bytes", model_json_u64(guest->resident_bytes));
	model_json_put(&json, "swapped_bytes", model_json_u64(guest->swapped_bytes));
	model_json_put(&json, "unmapped_bytes", model_json_u64(guest->unmapped_bytes));
	model_json_put(&json, "wanted_nodes", guest->wanted_nodes ? model_json_nodes(guest->wanted_nodes) : json_null());
	model_json_put(&json, "kept", kept_json(guest));
	model_json_put(&json, "overview", overview_json(guest));
	model_json_put(&json, "unsurveyed", model_json_text_or_null(guest->unsurveyed));
	model_json_put(&json, "transparent_huge_bytes", model_json_u64(guest->transparent_huge_bytes));
	model_json_put(&json, "pinned_bytes", model_json_u64(guest->pinned_bytes));
	model_json_put(&json, "private_bytes", model_json_u64(guest->private_bytes));
	model_json_put(&json, "encrypted", json_boolean(guest->encrypted));
	model_json_put(&json, "sharers", sharers_json(guest));
	model_json_put(&json, "sharers_unlisted", model_json_u64(guest->sharers_unlisted));
	model_json_put(&json, "sharers_unseen", model_json_u64(guest->sharers_unseen));
	model_json_put(&json, "surveyed_at", model_json_time(guest->surveyed_at_ms));
	return json;
}

/* null: it has not told yet. */
static json_t *word_json(const struct snapshot_agent *agent)
{
	json_t *json;

	if (!agent->reported)
		return json_null();
	json = json_object();
	model_json_put(&json, "veto", json_boolean(agent->veto));
	model_json_put(&json, "floor_bytes", agent->shrink_limit_bytes ? model_json_u64(agent->shrink_limit_bytes) : json_null());
	model_json_put(&json, "limit_bytes", agent->shrink_most_bytes ? model_json_u64(agent->shrink_most_bytes) : json_null());
	model_json_put(&json, "keep_bytes", model_json_u64(agent->keep_bytes));
	model_json_put(&json, "wanted_bytes", agent->wanted_bytes ? model_json_u64(agent->wanted_bytes) : json_null());
	model_json_put(&json, "pressure_percent",
		       agent->pressure_percent >= 0 ? json_integer(agent->pressure_percent) : json_null());
	model_json_put(&json, "udev_onlines", json_boolean(agent->udev_onlines));
	model_json_put(&json, "udev_rule", model_json_text_or_null(agent->udev_rule));
	model_json_put(&json, "online_policy", model_json_text(agent->online_policy));
	model_json_put(&json, "repair", model_json_text(agent->repair));
	model_json_put(&json, "onlining", json_string(agent_onlining_name(agent->onlining)));
	return json;
}

static json_t *agent_json(const struct snapshot_agent *agent)
{
	json_t *json = json_object(), *features = json_array();

	for (int i = 0; i < AGENT_FEATURE_COUNT; i++)
		if (agent->features >> i & 1)
			model_json_append(&features,
					  json_string(agent_feature_name((enum agent_feature)i)));
	model_json_put(&json, "connected", json_boolean(agent->state == AGENT_STATE_READY));
	model_json_put(&json, "state", json_string(agent_state_name(agent->state)));
	model_json_put(&json, "version", model_json_text_or_null(agent->version));
	model_json_put(&json, "features", features);
	model_json_put(&json, "last_seen_at", model_json_time(agent->last_seen_ms));
	model_json_put(&json, "suspect_reason", model_json_text_or_null(agent->suspect_reason));
	model_json_put(&json, "incompatible_reason", model_json_text_or_null(agent->incompatible_reason));
	model_json_put(&json, "word", word_json(agent));
	return json;
}

static json_t *owner_policy_json(const struct snapshot_guest *guest)
{
	json_t *json = json_object();

	model_json_put(&json, "minimum_bytes",
		       guest->minimum_bytes ? model_json_u64(guest->minimum_bytes) : json_null());
	model_json_put(&json, "maximum_bytes",
		       guest->maximum_bytes ? model_json_u64(guest->maximum_bytes) : json_null());
	model_json_put(&json, "request_limit_bytes",
		       guest->request_limit_bytes ? model_json_u64(guest->request_limit_bytes) : json_null());
	model_json_put(&json, "online_policy",
		       guest->online_policy != GUEST_ONLINE_POLICY_UNSET ?
			       json_string(guest_online_policy_name(guest->online_policy)) :
			       json_null());
	model_json_put(&json, "zone_repair",
		       guest->zone_repair != GUEST_ZONE_REPAIR_UNSET ?
			       json_boolean(guest->zone_repair == GUEST_ZONE_REPAIR_YES) :
			       json_null());
	model_json_put(&json, "priority", json_integer(guest->priority));
	/* null: all. */
	model_json_put(&json, "allowed_nodes",
		       guest->allowed_nodes ? model_json_nodes(guest->allowed_nodes) : json_null());
	model_json_put(&json, "fault", model_json_text_or_null(guest->policy_fault));
	return json;
}

json_t *model_json_guest(const struct snapshot *snapshot, const struct snapshot_guest *guest)
{
	json_t *json = json_object();

	model_json_put(&json, "uuid", model_json_text(guest->uuid));
	model_json_put(&json, "name", model_json_text(guest->name));
	model_json_put(&json, "state", json_string(guest_state_name(guest->state)));
	model_json_put(&json, "memory", model_json_guest_memory(guest));
	model_json_put(&json, "placement", model_json_guest_placement(guest));
	model_json_put(&json, "policy", owner_policy_json(guest));
	model_json_put(&json, "agent", agent_json(&guest->agent));
	put_observation(&json, snapshot);
	return json;
}
