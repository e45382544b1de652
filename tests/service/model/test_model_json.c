/* SPDX-License-Identifier: Apache-2.0 */
#include "model_json.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "unit.h"

static char *text_of(json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);

	json_decref(json);
	return text;
}

static void check_json(json_t *json, const char *expected)
{
	char *text = text_of(json);

	CHECK_STR(text, expected);
	free(text);
}

static void times_are_rfc3339(void)
{
	json_t *array = json_array();

	json_array_append_new(array, model_json_time(0));
	json_array_append_new(array, model_json_time(UINT64_C(1700000000123)));
	check_json(array, "[null,\"2023-11-14T22:13:20.123Z\"]");
	check_json(model_json_nodes(UINT64_C(1) << 63 | 5), "[0,2,63]");
}

/* What is read back writes the same text again: nothing was lost. */
static void check_wish_round_trip(const struct wish *wish)
{
	char *first = text_of(model_json_wish(wish)), *second;
	json_t *json = json_loads(first, JSON_REJECT_DUPLICATES, NULL);
	struct failure failure = {0};
	struct wish again;

	CHECK_INT(model_json_wish_parse(json, &again, &failure), 0);
	CHECK_INT(memcmp(&again, wish, sizeof(again)), 0);
	second = text_of(model_json_wish(&again));
	CHECK_STR(second, first);
	json_decref(json);
	free(first);
	free(second);
}

static void wishes_round_trip(void)
{
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_RESIZE);
	strcpy(wish.guest, "4dea22b3-1d52-d8f3-2516-782e98ab3fa0");
	wish.allow = 1u << CONSENT_STORED_XML | 1u << CONSENT_MAY_CRASH_HOST;
	wish.timeout_s = 60;
	wish.on_timeout = ON_TIMEOUT_CONTINUE;
	wish.resize.target_bytes = UINT64_C(640) << 20;
	wish.resize.device_count = 2;
	strcpy(wish.resize.devices[0].alias, "ua-vm0");
	strcpy(wish.resize.devices[1].alias, "ua-vm1");
	wish.resize.devices[1].requested_bytes = 4096;
	wish.resize.range_count = 1;
	wish.resize.ranges[0] =
		(struct snapshot_range){UINT64_C(0x100000000), UINT64_C(0x140000000)};
	check_wish_round_trip(&wish);

	wish_init(&wish, OPERATION_KIND_MOVE);
	wish.move.form = MOVE_FORM_MAP;
	wish.move.map[0] = 2;
	wish.move.map[63] = 0;
	wish.move.cells[3] = 1;
	wish.move.to_nodes = UINT64_C(1) << 63;
	wish.move.cpus = wish.move.persist = wish.move.lazy = true;
	wish.move.budget_bytes_per_s = 1000000;
	wish.move.budget_stall_us = 10000;
	wish.move.order = MOVE_ORDER_HOT_FIRST;
	wish.move.range_count = 1;
	wish.move.ranges[0] = (struct snapshot_range){UINT64_C(0x180000000), UINT64_C(0x1c0000000)};
	check_wish_round_trip(&wish);

	wish_init(&wish, OPERATION_KIND_DRAIN);
	strcpy(wish.drain, "d-1");
	wish.drain_wish.target = DRAIN_TARGET_RANGE;
	wish.drain_wish.range = (struct snapshot_range){1, INT64_MAX};
	wish.drain_wish.finish = DRAIN_FINISH_EJECT;
	strcpy(wish.drain_wish.reason, "errors on \"P1-C2\"");
	wish.drain_wish.not_before_ms = 12345;
	wish.drain_wish.persist = true;
	check_wish_round_trip(&wish);

	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	wish.drain_wish.target = DRAIN_TARGET_NODE;
	wish.drain_wish.node = 0;
	check_wish_round_trip(&wish);
	wish.keep = true;
	check_wish_round_trip(&wish);

	wish_init(&wish, OPERATION_KIND_CHECK);
	check_wish_round_trip(&wish);
}

static void check_step_round_trip(const struct step *step)
{
	char *first = text_of(model_json_step(step)), *second;
	json_t *json = json_loads(first, JSON_REJECT_DUPLICATES, NULL);
	struct failure failure = {0};
	struct step again;

	CHECK_INT(model_json_step_parse(json, &again, &failure), 0);
	second = text_of(model_json_step(&again));
	CHECK_STR(second, first);
	json_decref(json);
	step_done(&again);
	free(first);
	free(second);
}

static void steps_round_trip(void)
{
	struct step step;
	struct wish child;

	for (int kind = 0; kind < STEP_KIND_COUNT; kind++) {
		step_init(&step, (enum step_kind)kind);
		check_step_round_trip(&step);
		step.undoable = step.by_map = step.by_cells = true;
		strcpy(step.guest, "uuid");
		strcpy(step.guest_name, "g1");
		strcpy(step.device, "ua-vm0");
		strcpy(step.dimm, "acpi-MP00");
		strcpy(step.text, "auto-movable");
		strcpy(step.undo_operation, "op-1");
		step.node = 63;
		step.bytes = 1;
		step.target_bytes = 2;
		step.page_bytes = 3;
		step.nodes = UINT64_MAX;
		memset(step.map, 0, sizeof(step.map));
		step.cells[0] = 1;
		step.mode = POLICY_MODE_MIXED;
		step.zone = BLOCK_ZONE_MOVABLE;
		step.block_run_count = STEP_BLOCK_RUNS_MAX;
		step.block_runs[31].last = 7;
		step.range_count = SNAPSHOT_RANGES_MAX;
		step.ranges[15].end = 9;
		step.timeout_ms = step.budget_stall_us = step.stall_ms = UINT32_MAX;
		step.budget_bytes_per_s = INT64_MAX;
		step.from_nodes = 3;
		step.order = MOVE_ORDER_COLD_FIRST;
		step.workers = 4;
		step.may_split = step.grows = step.zones_told = step.loose = step.budget_is_shared = true;
		step.offline_before = 3 << 20;
		step.wrong_before = 5 << 20;
		step.undo_n = 4;
		wish_init(&child, OPERATION_KIND_MOVE);
		child.move.map[3] = 1;
		step.child = &child;
		check_step_round_trip(&step);
	}
}

static void check_refused(const char *text, const char *named)
{
	json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
	struct failure failure = {0};
	char sentence[512];
	struct wish wish;

	CHECK_TRUE(json != NULL);
	CHECK_INT(model_json_wish_parse(json, &wish, &failure), -EINVAL);
	CHECK_TRUE(strstr(failure_format(&failure, sentence, sizeof(sentence)), named) != NULL);
	json_decref(json);
}

static void wishes_are_read_strictly(void)
{
	check_refused("[]", "no object");
	check_refused("{}", "kind");
	check_refused("{\"kind\":\"shrink\"}", "kind");
	check_refused("{\"kind\":\"check\",\"surprise\":1}", "surprise");
	check_refused("{\"kind\":\"check\",\"move\":{}}", "another kind");
	check_refused("{\"kind\":\"check\",\"timeout_s\":-1}", "timeout_s");
	check_refused("{\"kind\":\"check\",\"timeout_s\":4294967296}", "timeout_s");
	check_refused("{\"kind\":\"check\",\"timeout_s\":1.5}", "timeout_s");
	check_refused("{\"kind\":\"check\",\"guest\":7}", "guest");
	check_refused("{\"kind\":\"check\",\"guest\":\"0123456789012345678901234567890123456\"}",
		      "too long");
	check_refused("{\"kind\":\"check\",\"allow\":[\"everything\"]}", "consent");
	check_refused("{\"kind\":\"check\",\"allow\":\"stored_xml\"}", "allow");
	check_refused("{\"kind\":\"move\",\"move\":{\"form\":\"to\",\"to_nodes\":[64]}}",
		      "to_nodes");
	check_refused("{\"kind\":\"move\",\"move\":{\"form\":\"to\",\"to_nodes\":2}}", "to_nodes");
	check_refused("{\"kind\":\"move\",\"move\":{\"form\":\"map\",\"map\":{\"00\":1}}}", "00");
	check_refused("{\"kind\":\"move\",\"move\":{\"form\":\"map\",\"map\":{\"1\":-1}}}", "1");
	check_refused("{\"kind\":\"move\",\"move\":{\"form\":\"map\",\"map\":[2]}}", "map");
	check_refused("{\"kind\":\"move\",\"move\":{}}", "form");
	check_refused("{\"kind\":\"move\",\"move\":{\"form\":\"to\",\"cpus\":1}}", "cpus");
	check_refused("{\"kind\":\"resize\",\"resize\":{\"ranges\":[{\"start\":1,\"stop\":2}]}}",
		      "stop");
	check_refused("{\"kind\":\"resize\",\"resize\":{\"devices\":[3]}}", "devices");
	check_refused(
		"{\"kind\":\"drain\",\"drain_wish\":{\"target\":\"dimm\",\"finish\":\"explode\"}}",
		"finish");
}

static void remainders_round_trip(void)
{
	struct remainder_list list = {0}, again;
	struct failure failure = {0};
	json_t *json;

	remainder_list_add(&list, REMAINDER_PINNED, "block 40", 64, NULL, "io_uring of pid 7");
	remainder_list_add_consent(&list, REMAINDER_CONSENT_REQUIRED, CONSENT_REMOTE_MEMORY,
				   "guest g1", 0, "far");
	json = model_json_remainders(&list);
	CHECK_INT(model_json_remainders_parse(json, &again, &failure), 0);
	CHECK_INT(memcmp(&again.items[0], &list.items[0], sizeof(list.items[0])), 0);
	CHECK_INT(again.count, 2);
	CHECK_INT(again.items[1].consent, CONSENT_REMOTE_MEMORY);
	json_decref(json);
	json = json_loads("[{\"code\":\"nonsense\"}]", 0, NULL);
	CHECK_INT(model_json_remainders_parse(json, &again, &failure), -EINVAL);
	json_decref(json);
}

static void operations_have_the_shape_of_the_api(void)
{
	static const char *const keys[] = {"id",	 "kind",	"parent", "target",
					   "state",	 "progress",	"steps",  "remainder",
					   "warnings",	 "result",	"error",  "created_at",
					   "started_at", "ended_at",	"actor",  "superseded_by",
					   "revision",	 "deadline_at", "undo",	  "plan_digest"};
	CLEANUP(operation_record_freep) struct operation_record *record = operation_record_new();
	struct step step;
	struct step_record *added;
	json_t *json;

	wish_init(&record->wish, OPERATION_KIND_RESIZE);
	record->wish.resize.target_bytes = 640;
	record->snapshot_before_bytes = 2560;
	record->snapshot_forecast_bytes = 700;
	record->snapshot_after_bytes = 896;
	record->snapshot_requested_bytes = 800;
	record->state = OPERATION_STATE_INCOMPLETE;
	strcpy(record->target, "guest g1");
	step_init(&step, STEP_KIND_FREE_HUGE_PAGES);
	step.bytes = 512;
	added = operation_record_add_step(record, &step);
	added->state = STEP_STATE_DONE;
	added->bytes_done = 512;
	step_init(&step, STEP_KIND_KICK);
	operation_record_add_step(record, &step)->state = STEP_STATE_DONE;
	/* The guest's word, twice: no step gains more than it was for, nor all of them more than was missing. */
	step_init(&step, STEP_KIND_OFFLINE_GUEST_BLOCKS);
	for (int i = 0; i < 2; i++) {
		step.bytes = i ? 1900 : 128;
		added = operation_record_add_step(record, &step);
		added->state = STEP_STATE_DONE;
		added->bytes_done = UINT64_MAX;
	}
	step_init(&step, STEP_KIND_COMPACT);
	operation_record_add_step(record, &step);
	json = model_json_operation(record);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		CHECK_TRUE(json_object_get(json, keys[i]) != NULL);
	check_json(
		json_incref(json_object_get(json, "result")),
		"{\"climbed\":[{\"gained_bytes\":512,\"rung\":\"free huge "
		"pages\"},{\"gained_bytes\":1920,\"rung\":\"offline\"},{\"gained_bytes\":0,\"rung\":\"kick\"}],"
		"\"forecast_bytes\":700,\"reached_bytes\":896,\"requested_bytes\":800,\"seconds\":0.0,\"start_bytes\":2560,\"wanted_bytes\":640}");
	check_json(json_incref(json_object_get(json, "progress")),
		   "{\"bytes_per_s\":0,\"done_bytes\":0,\"eta_s\":null,\"total_bytes\":0}");
	json_decref(json);
}

static void moves_tell_what_the_guest_felt(void)
{
	CLEANUP(operation_record_freep) struct operation_record *record = operation_record_new();
	struct step step;
	json_t *json;

	wish_init(&record->wish, OPERATION_KIND_MOVE);
	record->state = OPERATION_STATE_SUCCEEDED;
	step_init(&step, STEP_KIND_MOVE_PAGES);
	operation_record_add_step(record, &step)->state = STEP_STATE_DONE;
	record->steps[0].bytes_done = 512;
	record->steps[0].longest_pause_us = 1500;
	record->steps[0].result = strdup("{\"detail\":\"no agent\"}");
	json = model_json_operation(record);
	check_json(json_incref(json_object_get(json, "result")),
		   "{\"left_bytes\":0,\"longest_call_us\":1500,\"moved_bytes\":512,\"seconds\":0.0}");
	json_decref(json);
	operation_record_add_step(record, &step)->state = STEP_STATE_DONE;
	record->steps[1].result = strdup("{\"guest\":{\"longest_pause_us\":3200,\"p99_us\":40,"
					 "\"samples\":100}}");
	operation_record_add_step(record, &step)->state = STEP_STATE_PARTIAL;
	record->steps[2].result = strdup("{\"guest\":{\"longest_pause_us\":900,\"p99_us\":60,"
					 "\"samples\":50}}");
	json = model_json_operation(record);
	check_json(json_incref(json_object_get(json_object_get(json, "result"), "guest")),
		   "{\"longest_pause_us\":3200,\"p99_us\":60,\"samples\":150}");
	json_decref(json);
}

/* Beside the planner's own words: what a worker saw happen, which no plan can know. */
static void operations_tell_what_steps_noticed(void)
{
	CLEANUP(operation_record_freep) struct operation_record *record = operation_record_new();
	struct remainder_list noticed = {0};
	struct step step;
	json_t *json, *result;

	wish_init(&record->wish, OPERATION_KIND_MOVE);
	remainder_list_add(&record->warnings, REMAINDER_STORED_XML, "guest g1", 0, NULL, "the plan's");
	step_init(&step, STEP_KIND_CPUSET);
	remainder_list_add(&noticed, REMAINDER_POLICY_WOULD_SHIFT, "guest g1", 4096, NULL, "bind:3 became bind:1");
	result = json_pack("{s:s, s:o}", "detail", "4 cgroups", "warnings", model_json_remainders(&noticed));
	for (int i = 0; i < 2; i++) {
		operation_record_add_step(record, &step)->state = STEP_STATE_DONE;
		record->steps[i].result = json_dumps(result, 0);
	}
	/* Nor does a step stand in the way that has noticed nothing. */
	operation_record_add_step(record, &step)->result = strdup("{\"detail\":\"nothing\"}");
	operation_record_add_step(record, &step);
	noticed.items[0].bytes *= 2;
	remainder_list_append(&record->warnings, &noticed);
	json = model_json_remainders(&record->warnings);
	record->warnings.count = 1;
	json_decref(result);
	result = model_json_operation(record);
	CHECK_INT(json_array_size(json_object_get(result, "warnings")), 2);
	CHECK_TRUE(json_equal(json_object_get(result, "warnings"), json));
	json_decref(result);
	json_decref(json);
}

static void drains_tell_what_went(void)
{
	CLEANUP(operation_record_freep) struct operation_record *record = operation_record_new();
	struct drain_record drain = {.id = "d1", .state = DRAIN_STATE_HELD};
	struct step step;
	json_t *json;

	wish_init(&record->wish, OPERATION_KIND_DRAIN);
	record->state = OPERATION_STATE_SUCCEEDED;
	step_init(&step, STEP_KIND_OFFLINE_BLOCKS);
	step.block_run_count = 1;
	step.block_runs[0].first = 64;
	step.block_runs[0].last = 71;
	operation_record_add_step(record, &step)->state = STEP_STATE_PARTIAL;
	record->steps[0].result = strdup("{\"blocks_offline\":3}");
	operation_record_add_step(record, &step)->state = STEP_STATE_DONE;
	json = model_json_operation(record);
	CHECK_INT(json_integer_value(
			  json_object_get(json_object_get(json, "result"), "blocks_offline")),
		  11);
	json_decref(json);
	/* Its moves left in their steps what their guests felt. */
	step_init(&step, STEP_KIND_CHILD);
	for (unsigned i = 1; i < 3; i++) {
		struct step_record *child = operation_record_add_step(record, &step);
		char text[96];

		child->state = STEP_STATE_DONE;
		child->bytes_done = 512;
		child->longest_pause_us = 100 * i;
		snprintf(text, sizeof(text), "{\"guest\":{\"longest_pause_us\":%u,\"p99_us\":%u,\"samples\":9}}", 70 / i, i);
		child->result = strdup(text);
	}
	/* What comes home has emptied nothing. */
	strcpy(step.text, STEP_TEXT_HOME);
	operation_record_add_step(record, &step)->state = STEP_STATE_DONE;
	record->steps[record->step_count - 1].bytes_done = 4096;
	/* What guests have lost has not been moved. */
	strcpy(step.text, STEP_TEXT_SHRINK);
	operation_record_add_step(record, &step)->state = STEP_STATE_DONE;
	record->steps[record->step_count - 1].bytes_done = 2048;
	json = model_json_operation(record);
	check_json(json_incref(json_object_get(json, "result")),
		   "{\"blocks_offline\":11,\"ejected\":false,\"emptied_bytes\":1024,\"guest\":{\"longest_pause_us\":70,"
		   "\"p99_us\":2,\"samples\":18},\"longest_call_us\":200,\"seconds\":0.0,\"shrunk_bytes\":2048}");
	json_decref(json);
	drain.wish.target = DRAIN_TARGET_NODE;
	drain.wish.node = 3;
	drain.online_bytes = 4096;
	remainder_list_add(&drain.newcomers, REMAINDER_GUEST_MEMORY, "guest g1", 8192, NULL, "it is moved away");
	json = model_json_drain(&drain, NULL);
	CHECK_INT(json_array_size(json_object_get(json, "newcomers")), 1);
	CHECK_INT(json_array_size(json_object_get(json, "remainder")), 0);
	check_json(json_incref(json_object_get(json, "target")), "{\"node\":3}");
	CHECK_INT(json_integer_value(json_object_get(json, "online_bytes")), 4096);
	json_decref(json);
}

/* A node without memory is one, held or not; what its CPUs can do is told beside it. */
static void check_node_state(const struct snapshot *snapshot, struct snapshot_node *node, bool has_memory, bool held,
			     const char *state)
{
	json_t *json;

	node->has_memory = has_memory;
	node->held = held;
	json = model_json_node(snapshot, node);
	CHECK_STR(json_string_value(json_object_get(json, "state")), state);
	CHECK_INT(json_is_true(json_object_get(json, "held")), held);
	CHECK_INT(json_is_true(json_object_get(json, "has_cpus")), node->has_cpus);
	json_decref(json);
}

static void guests_are_shown(void)
{
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct snapshot_guest *guest = snapshot_add_guest(snapshot);
	struct snapshot_node *node = snapshot_add_node(snapshot);
	struct snapshot_dimm *dimm = snapshot_add_dimm(snapshot);
	json_t *json;

	strcpy(guest->uuid, "u1");
	/* Not UTF-8: shown all the same. */
	strcpy(guest->name, "g\xff");
	guest->surveyed = true;
	guest->resident_bytes = 700;
	guest->current_bytes = 500;
	guest->numatune_mode = NUMATUNE_MODE_STRICT;
	guest->numatune_nodes = 1 << 3;
	guest->node_bytes[2] = 700;
	strcpy(guest->dimm_bytes[0].id, "acpi-MP00");
	guest->dimm_bytes[0].bytes = 200;
	guest->dimm_bytes[1] = guest->dimm_bytes[0];
	guest->dimm_bytes[1].bytes = 100;
	guest->dimm_bytes[1].range.end = 4096;
	guest->dimm_bytes[2] = (struct snapshot_guest_dimm){.bytes = 5, .range = {4096, 8192}};
	guest->dimm_count = 3;
	guest->encrypted = true;
	guest->pinned_bytes = 4;
	guest->sharers_unlisted = 2;
	guest->sharers_unseen = 3;
	guest->sharer_count = 1;
	guest->sharers[0] = (struct snapshot_sharer){7, "b\xff", 300, 4};
	guest->agent.state = AGENT_STATE_READY;
	guest->agent.features = 1 << AGENT_FEATURE_COMPACT;
	guest->agent.memory_total_bytes = UINT64_MAX;
	node->id = 2;
	node->distances[2] = 10;
	node->pool_count = 2;
	node->pools[0] = (struct snapshot_pool){.page_bytes = 2 << 20, .total = 5};
	node->pools[1] = (struct snapshot_pool){.page_bytes = 1 << 30, .total = 3, .free = 1};
	*snapshot_add_block(snapshot) = (struct snapshot_block){.node = 2, .size_bytes = 4096, .zone = BLOCK_ZONE_NORMAL};
	snapshot->hotplug_told = true;
	strcpy(dimm->id, "acpi-MP00");
	dimm->node = 2;
	dimm->guest_bytes = 300;

	json = model_json_guest(snapshot, guest);
	CHECK_STR(json_string_value(json_object_get(json, "name")), "g?");
	CHECK_INT(json_integer_value(
			  json_object_get(json_object_get(json, "memory"), "over_use_bytes")),
		  200);
	check_json(json_incref(json_object_get(json_object_get(json, "placement"), "drift")),
		   "{\"bytes\":700,\"detail\":\"libvirt's XML says strict node 3, memory is on 2\"}");
	check_json(json_incref(json_object_get(json_object_get(json, "agent"), "features")),
		   "[\"compact\"]");
	guest->policy_loose = true;
	guest->policy_nodes = 1 << 2;
	guest->numatune_nodes = 1 << 2;
	json_t *loose = model_json_guest(snapshot, guest);

	check_json(json_incref(json_object_get(json_object_get(loose, "placement"), "drift")),
		   "{\"bytes\":0,\"detail\":\"it only prefers node 2, as while a move lasts: its next move there binds "
		   "it\"}");
	json_decref(loose);
	check_json(json_incref(json_object_get(json_object_get(json, "placement"), "dimms")),
		   "[{\"bytes\":300,\"dimm\":\"acpi-MP00\"}]");
	check_json(json_incref(json_object_get(json_object_get(json, "placement"), "sharers")),
		   "[{\"mapped_bytes\":300,\"name\":\"b?\",\"pid\":7,\"pinned_bytes\":4}]");
	CHECK_INT(json_integer_value(json_object_get(json_object_get(json, "placement"), "sharers_unlisted")), 2);
	CHECK_INT(json_integer_value(json_object_get(json_object_get(json, "placement"), "sharers_unseen")), 3);
	CHECK_INT(json_integer_value(json_object_get(json_object_get(json, "placement"), "pinned_bytes")), 4);
	CHECK_TRUE(json_is_true(json_object_get(json_object_get(json, "placement"), "encrypted")));
	json_decref(json);
	json = model_json_node(snapshot, node);
	check_json(json_incref(json_object_get(json, "guests")),
		   "[{\"bytes\":700,\"id\":\"u1\",\"name\":\"g?\"}]");
	check_json(json_incref(json_object_get(json, "dimms")), "[\"acpi-MP00\"]");
	CHECK_STR(json_string_value(json_object_get(json, "movable")), "no");
	check_json(json_incref(json_object_get(json, "remainder")),
		   "[{\"bytes\":4096,\"code\":\"kernel_memory\",\"consent\":null,"
		   "\"detail\":\"1 of 1 blocks are online in a kernel zone, 1 of them boot memory, of no memory device\",\"object\":\"node 2\","
		   "\"way_out\":\"boot with kernelcore= (part of each node is movable); movable_node does not help: "
		   "the firmware does not call it "
		   "hot-pluggable (SRAT)\"},{\"bytes\":3221225472,\"code\":\"gigantic_pages\",\"consent\":null,"
		   "\"detail\":\"3 huge pages of 1 GiB on node 2, 1 of them free; other nodes have 0 free ones\",\"object\":\"node 2\","
		   "\"way_out\":\"stop what uses 2 of them and lower nr_hugepages there, or make as many on other nodes; at boot: "
		   "hugepages=NODE:COUNT for others\"}]");
	check_json(json_incref(json_object_get(json, "distances")), "[10]");
	CHECK_STR(json_string_value(json_object_get(json, "distances_by")), "slit");
	CHECK_TRUE(json_is_null(json_object_get(json, "read_latency_ns")));
	CHECK_TRUE(json_is_null(json_object_get(json, "read_bytes_per_s")));
	json_decref(json);
	node->has_latency_distances = true;
	node->read_latency_ns = 105;
	node->read_bytes_per_s = UINT64_C(230000000000);
	json = model_json_node(snapshot, node);
	CHECK_STR(json_string_value(json_object_get(json, "distances_by")), "hmat");
	CHECK_INT(json_integer_value(json_object_get(json, "read_latency_ns")), 105);
	CHECK_INT(json_integer_value(json_object_get(json, "read_bytes_per_s")), 230000000000);
	json_decref(json);
	check_node_state(snapshot, node, false, true, "no_memory");
	check_node_state(snapshot, node, true, true, "held");
	check_node_state(snapshot, node, false, false, "no_memory");
	check_node_state(snapshot, node, true, false, "online");
	dimm->interleaved = ANSWER_YES;
	dimm->confidence = CONFIDENCE_LIKELY;
	dimm->slot_count = 2;
	dimm->slots_unlisted = 1;
	dimm->slots[0] = (struct snapshot_slot){"A1", "BANK 1", "P-4G", 4096, 3, -1};
	dimm->corrected_errors = 3;
	dimm->uncorrected_errors = -1;
	json = model_json_dimm(snapshot, dimm);
	CHECK_STR(json_string_value(json_object_get(json, "interleaved")), "yes");
	CHECK_STR(json_string_value(json_object_get(json, "confidence")), "likely");
	check_json(json_incref(json_object_get(json, "slots")),
		   "[{\"bank\":\"BANK 1\",\"corrected_errors\":3,\"locator\":\"A1\",\"part\":\"P-4G\",\"size_bytes\":4096,"
		   "\"uncorrected_errors\":null},"
		   "{\"bank\":\"\",\"corrected_errors\":0,\"locator\":\"\",\"part\":\"\",\"size_bytes\":null,"
		   "\"uncorrected_errors\":0}]");
	CHECK_INT(json_integer_value(json_object_get(json, "corrected_errors")), 3);
	CHECK_TRUE(json_is_null(json_object_get(json, "uncorrected_errors")));
	*snapshot_add_controller(snapshot) = (struct snapshot_controller){"mc0", "a driver", 5, 1, 2, 1};
	check_json(model_json_controllers(snapshot),
		   "[{\"corrected_errors\":5,\"id\":\"mc0\",\"name\":\"a driver\",\"uncorrected_errors\":1,"
		   "\"unplaced_corrected_errors\":2,\"unplaced_uncorrected_errors\":1}]");
	CHECK_INT(json_integer_value(json_object_get(json, "slots_unlisted")), 1);
	CHECK_INT(json_integer_value(json_object_get(json, "guest_bytes")), 300);
	json_decref(json);
	dimm->guests_untold = true;
	json = model_json_dimm(snapshot, dimm);
	CHECK_TRUE(json_is_null(json_object_get(json, "guest_bytes")));
	json_decref(json);
}

/* Of a DIMM all that was said of its blocks, of a node what is in no DIMM. */
static void hints_of_memory(void)
{
	struct snapshot *snapshot = snapshot_new(), *copy;
	struct snapshot_dimm *dimm = snapshot_add_dimm(snapshot);
	struct snapshot_hint *hint;

	strcpy(dimm->id, "acpi-MP00");
	dimm->node = 2;
	snapshot_add_node(snapshot)->id = 2;
	CHECK_TRUE(json_is_null(model_json_dimm_hint(snapshot, dimm)));
	for (int i = 0; i < 3; i++) {
		hint = snapshot_add_hint(snapshot);
		*hint = (struct snapshot_hint){.node = 2, .risk = HINT_RISK_LOW, .worst = HINT_RISK_LOW, .count = 2};
		hint->at_ms = 1000u * (unsigned)(3 - i);
		hint->address = 4096u * (unsigned)i + 64;
		hint->range = (struct snapshot_range){4096u * (unsigned)i, 4096u * (unsigned)i + 4096};
		if (i < 2)
			strcpy(hint->dimm, "acpi-MP00");
	}
	snapshot->hints[1].worst = HINT_RISK_UNCORRECTED;
	copy = snapshot_copy(snapshot);
	snapshot_free(snapshot);
	check_json(model_json_dimm_hint(copy, &copy->dimms[0]),
		   "{\"at\":\"1970-01-01T00:00:03.000Z\",\"count\":4,\"dimm\":\"acpi-MP00\",\"end\":4096,\"node\":2,"
		   "\"physical_address\":64,\"risk\":\"low\",\"start\":0,\"worst_risk\":\"uncorrected\"}");
	check_json(model_json_node_hint(copy, 2),
		   "{\"at\":\"1970-01-01T00:00:01.000Z\",\"count\":2,\"dimm\":null,\"end\":12288,\"node\":2,"
		   "\"physical_address\":8256,\"risk\":\"low\",\"start\":8192,\"worst_risk\":\"low\"}");
	CHECK_TRUE(json_is_null(model_json_node_hint(copy, 1)));
	copy->hints[0].range.end = 0;
	check_json(model_json_hint(&copy->hints[0]),
		   "{\"at\":\"1970-01-01T00:00:03.000Z\",\"count\":2,\"dimm\":\"acpi-MP00\",\"end\":null,\"node\":2,"
		   "\"physical_address\":null,\"risk\":\"low\",\"start\":null,\"worst_risk\":\"low\"}");
	snapshot_free(copy);
}

/* In a process of its own: that one ends. */
static void ends_without_memory(void)
{
	json_malloc_t allocate;
	json_free_t release;
	int status = 0, quiet;
	pid_t child = fork();

	if (child == 0) {
		quiet = open("/dev/null", O_WRONLY);
		dup2(quiet, STDERR_FILENO);
		model_json_end_without_memory();
		json_get_alloc_funcs(&allocate, &release);
		release(allocate(16));
		allocate(SIZE_MAX / 4);
		_exit(0);
	}
	CHECK_TRUE(child > 0 && waitpid(child, &status, 0) == child);
	CHECK_TRUE(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), EXIT_FAILURE);
}

static const struct unit_case cases[] = {
	{"times are RFC 3339", times_are_rfc3339},
	{"wishes round-trip", wishes_round_trip},
	{"steps round-trip", steps_round_trip},
	{"wishes are read strictly", wishes_are_read_strictly},
	{"remainders round-trip", remainders_round_trip},
	{"operations have the shape of the API", operations_have_the_shape_of_the_api},
	{"moves tell what the guest felt", moves_tell_what_the_guest_felt},
	{"operations tell what steps noticed", operations_tell_what_steps_noticed},
	{"drains tell what went", drains_tell_what_went},
	{"guests are shown", guests_are_shown},
	{"hints of memory are summed up", hints_of_memory},
	{"a process without memory for JSON ends", ends_without_memory},
};

int main(void)
{
	return unit_main("model_json", cases, sizeof(cases) / sizeof(cases[0]));
}
