/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "unit.h"

static int parse(const char *text, struct worker_message *message)
{
	struct failure failure = {0};
	int rc = worker_message_parse(text, strlen(text), message, &failure);

	CHECK_INT(failure_is_set(&failure), rc != 0);
	return rc;
}

/* Both ways, and the same text again. Returns the parsed message, for the caller to release. */
static struct worker_message *round_trip(const struct worker_message *message)
{
	struct worker_message *copy = calloc(1, sizeof(*copy));
	char *text = worker_message_to_text(message), *again;

	CHECK_TRUE(text != NULL);
	CHECK_INT(parse(text, copy), 0);
	again = worker_message_to_text(copy);
	CHECK_STR(again, text);
	free(again);
	free(text);
	return copy;
}

static void release(struct worker_message *message)
{
	worker_message_done(message);
	free(message);
}

static void test_job(void)
{
	struct worker_message *message = calloc(1, sizeof(*message)), *copy;
	struct worker_job *job = &message->job;

	message->type = WORKER_MESSAGE_START;
	job->kind = WORKER_JOB_UNDO;
	job->process = (struct worker_process){.pid = 4711, .start_time = UINT64_C(9000000000)};
	job->ram_size_count = 2;
	job->ram_sizes[0] = UINT64_C(1) << 40;
	job->ram_cells[0] = 1;
	job->ram_sizes[1] = 4096;
	job->ram_cells[1] = -1;
	job->ram_addresses[1] = UINT64_C(1) << 32;
	job->ram_blocks[1] = 2097152;
	job->dimm_count = 1;
	job->dimms = calloc(1, sizeof(*job->dimms));
	strcpy(job->dimms[0].id, "acpi-MP00");
	job->dimms[0].range_count = 1;
	job->dimms[0].ranges[0] = (struct snapshot_range){0x100000000, 0x140000000};
	job->cpuset_nodes = UINT64_C(1) << 63 | 5;
	step_init(&job->step, STEP_KIND_MOVE_PAGES);
	job->step.by_map = true;
	job->step.map[3] = 1;
	job->before = strdup("{\"nodes\":[\"\\u00e9\"]}");
	job->deadline_ms = 120000;
	strcpy(job->hook_directory, "/etc/h\xc3\xa9");
	strcpy(job->operation, "op-7");
	job->step.hook_count = 2;
	strcpy(job->step.hook_names, "10-a, 20-b");
	strcpy(job->step.slices, "machine.slice");
	copy = round_trip(message);
	CHECK_INT(copy->job.kind, WORKER_JOB_UNDO);
	CHECK_INT(copy->job.process.pid, 4711);
	CHECK_INT(copy->job.process.start_time, 9000000000);
	CHECK_INT(copy->job.ram_size_count, 2);
	CHECK_INT(copy->job.ram_cells[1], -1);
	CHECK_INT(copy->job.ram_addresses[0] | copy->job.ram_blocks[0], 0);
	CHECK_INT(copy->job.ram_addresses[1], UINT64_C(1) << 32);
	CHECK_INT(copy->job.ram_blocks[1], 2097152);
	CHECK_INT(copy->job.dimm_count, 1);
	CHECK_STR(copy->job.dimms[0].id, "acpi-MP00");
	CHECK_INT(copy->job.dimms[0].ranges[0].end, 0x140000000);
	CHECK_TRUE(copy->job.cpuset_nodes == job->cpuset_nodes);
	CHECK_INT(copy->job.step.kind, STEP_KIND_MOVE_PAGES);
	CHECK_INT(copy->job.step.map[3], 1);
	CHECK_STR(copy->job.before, job->before);
	CHECK_INT(copy->job.deadline_ms, 120000);
	CHECK_STR(copy->job.hook_directory, job->hook_directory);
	CHECK_STR(copy->job.operation, "op-7");
	CHECK_INT(copy->job.step.hook_count, 2);
	CHECK_STR(copy->job.step.hook_names, "10-a, 20-b");
	CHECK_STR(copy->job.step.slices, "machine.slice");
	release(copy);
	release(message);
}

static void test_survey_job_has_no_step(void)
{
	struct worker_message *message = calloc(1, sizeof(*message)), *copy;

	message->type = WORKER_MESSAGE_START;
	message->job.kind = WORKER_JOB_SURVEY;
	copy = round_trip(message);
	CHECK_INT(copy->job.kind, WORKER_JOB_SURVEY);
	release(copy);
	message->job.kind = WORKER_JOB_HOLDERS;
	copy = round_trip(message);
	CHECK_INT(copy->job.kind, WORKER_JOB_HOLDERS);
	CHECK_TRUE(!worker_job_has_step(&copy->job));
	release(copy);
	release(message);
}

static void test_result(void)
{
	struct worker_message *message = calloc(1, sizeof(*message)), *copy;
	struct worker_result *result = &message->result;

	message->type = WORKER_MESSAGE_RESULT;
	result->outcome = WORKER_OUTCOME_PARTIAL;
	result->bytes_done = UINT64_C(1) << 50;
	result->longest_pause_us = 1234;
	failure_set(&result->failure, EBUSY, "block 40", "cannot go offline");
	failure_set_code(&result->failure, "block_busy");
	remainder_list_add(&result->remainder, REMAINDER_BLOCK_BUSY, "block 40", 134217728, NULL,
			   "page %d", 17);
	result->values = json_pack("{s:s}", "detail", "one of two");
	copy = round_trip(message);
	CHECK_INT(copy->result.outcome, WORKER_OUTCOME_PARTIAL);
	CHECK_INT(copy->result.bytes_done, 1LL << 50);
	CHECK_INT(copy->result.failure.error, EBUSY);
	CHECK_STR(copy->result.failure.object, "block 40");
	CHECK_STR(copy->result.failure.code, "block_busy");
	CHECK_INT(copy->result.remainder.count, 1);
	CHECK_STR(copy->result.remainder.items[0].detail, "page 17");
	CHECK_STR(json_string_value(json_object_get(copy->result.values, "detail")), "one of two");
	release(copy);
	release(message);
}

static void test_small_messages(void)
{
	struct worker_message *message = calloc(1, sizeof(*message)), *copy;

	message->type = WORKER_MESSAGE_LIMIT;
	message->bytes_per_s = 1000;
	message->stall_us = UINT32_MAX;
	message->guest_pause_us = 3;
	copy = round_trip(message);
	CHECK_INT(copy->stall_us, UINT32_MAX);
	release(copy);
	memset(message, 0, sizeof(*message));
	message->type = WORKER_MESSAGE_PROGRESS;
	message->done_bytes = 1;
	message->total_bytes = 2;
	strcpy(message->detail, "node 3 \xff");
	copy = round_trip(message);
	CHECK_STR(copy->detail, "node 3 ?");
	release(copy);
	for (int type = WORKER_MESSAGE_PAUSE; type <= WORKER_MESSAGE_HELLO; type++) {
		memset(message, 0, sizeof(*message));
		message->type = (enum worker_message_type)type;
		copy = round_trip(message);
		CHECK_INT(copy->type, type);
		release(copy);
	}
	free(message);
}

static void test_refuses(void)
{
	static const struct {
		const char *text;
		int error;
	} cases[] = {
		{"", -EINVAL},
		{"[]", -EPROTO},
		{"{\"v\":2,\"type\":\"cancel\"}", -EPROTO},
		{"{\"type\":\"cancel\"}", -EPROTO},
		{"{\"v\":1,\"type\":\"dance\"}", -EINVAL},
		{"{\"v\":1}", -EINVAL},
		{"{\"v\":1,\"type\":\"cancel\",\"type\":\"cancel\"}", -EINVAL},
		{"{\"v\":1,\"type\":\"cancel\",\"undo\":true}", -EINVAL},
		{"{\"v\":1,\"type\":\"limit\",\"bytes_per_s\":-1,\"stall_us\":0,\"guest_pause_us\":"
		 "0}",
		 -EINVAL},
		{"{\"v\":1,\"type\":\"limit\",\"bytes_per_s\":1.5,\"stall_us\":0,\"guest_pause_"
		 "us\":0}",
		 -EINVAL},
		{"{\"v\":1,\"type\":\"limit\",\"bytes_per_s\":1,\"stall_us\":4294967296,"
		 "\"guest_pause_us\":0}",
		 -EINVAL},
		{"{\"v\":1,\"type\":\"limit\",\"bytes_per_s\":1}", -EINVAL},
		{"{\"v\":1,\"type\":\"start\",\"job\":{}}", -EINVAL},
		{"{\"v\":1,\"type\":\"start\",\"job\":7}", -EINVAL},
		/* A survey with a step, a step without one, a wrong node, a negative process. */
		{"{\"v\":1,\"type\":\"start\",\"job\":{\"kind\":\"survey\",\"process\":{\"pid\":1,"
		 "\"start_time\":1},\"ram\":[],\"dimms\":[],\"cpuset_nodes\":[],\"deadline_ms\":0,"
		 "\"step\":{\"kind\":\"probe\"},\"before\":null}}",
		 -EINVAL},
		{"{\"v\":1,\"type\":\"start\",\"job\":{\"kind\":\"step\",\"process\":{\"pid\":1,"
		 "\"start_time\":1},\"ram\":[],\"dimms\":[],\"cpuset_nodes\":[],\"deadline_ms\":0,"
		 "\"step\":null,\"before\":null}}",
		 -EINVAL},
		{"{\"v\":1,\"type\":\"start\",\"job\":{\"kind\":\"survey\",\"process\":{\"pid\":1,"
		 "\"start_time\":1},\"ram\":[],\"dimms\":[],\"cpuset_nodes\":[64],\"deadline_ms\":"
		 "0,"
		 "\"step\":null,\"before\":null}}",
		 -EINVAL},
		{"{\"v\":1,\"type\":\"start\",\"job\":{\"kind\":\"survey\",\"process\":{\"pid\":-1,"
		 "\"start_time\":1},\"ram\":[],\"dimms\":[],\"cpuset_nodes\":[],\"deadline_ms\":0,"
		 "\"step\":null,\"before\":null}}",
		 -EINVAL},
		{"{\"v\":1,\"type\":\"start\",\"job\":{\"kind\":\"survey\",\"process\":{\"pid\":1,"
		 "\"start_time\":1},\"ram\":[],\"dimms\":[{\"id\":\"d\",\"ranges\":[[2,1]]}],"
		 "\"cpuset_nodes\":[],\"deadline_ms\":0,\"step\":null,\"before\":null}}",
		 -EINVAL},
		/* Only the pool knows that a worker died. */
		{"{\"v\":1,\"type\":\"result\",\"result\":{\"outcome\":\"died\",\"bytes_done\":0,"
		 "\"longest_pause_us\":0,\"failure\":null,\"remainder\":[],\"values\":null}}",
		 -EINVAL},
	};
	struct worker_message *message = calloc(1, sizeof(*message));

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int rc = parse(cases[i].text, message);

		if (rc != cases[i].error)
			printf("  %s\n", cases[i].text);
		CHECK_INT(rc, cases[i].error);
	}
	free(message);
}

static void test_survey(void)
{
	struct worker_survey *survey = calloc(1, sizeof(*survey)), *copy = calloc(1, sizeof(*copy));
	struct failure failure = {0};
	json_t *json;

	survey->node_bytes[0] = 1;
	survey->node_bytes[63] = UINT64_C(1) << 45;
	survey->resident_bytes = (UINT64_C(1) << 45) + 1;
	survey->swapped_bytes = 2;
	survey->unmapped_bytes = 3;
	survey->backing_count = 1;
	survey->backings[0] = (struct snapshot_backing){BACKING_KIND_HUGETLB, 2097152,	     4, -1,
							POLICY_MODE_BIND,     UINT64_C(1) << 63, true};
	survey->policy_mode = POLICY_MODE_BIND;
	survey->policy_nodes = 8;
	survey->cpuset_mems = 15;
	survey->cpuset_limit = 7;
	survey->cpu_nodes = 1;
	survey->vfio = true;
	survey->locked = true;
	survey->encrypted = true;
	survey->balancing = survey->loose = true;
	survey->has_policies = true;
	survey->pinned_bytes = 6;
	survey->private_bytes = 7;
	survey->transparent_huge_bytes = 8;
	survey->counted = true;
	survey->counted_bytes[3] = 10;
	survey->sharers_unlisted = 5;
	survey->sharers_unseen = 6;
	survey->sharer_count = 1;
	survey->sharers[0] = (struct snapshot_sharer){4711, "backend", 9, 6};
	survey->huge_count = 2;
	survey->huges[0] = (struct snapshot_huge){.page_bytes = 2097152, .pages = {3}};
	survey->huges[1].page_bytes = 1 << 30;
	survey->huges[1].pages[63] = UINT32_MAX;
	survey->dimm_count = 1;
	strcpy(survey->dimms[0].id, "acpi-MP00");
	survey->dimms[0].bytes = 5;
	json = worker_survey_to_json(survey);
	CHECK_INT(worker_survey_parse(json, copy, &failure), 0);
	CHECK_INT(memcmp(survey, copy, sizeof(*survey)), 0);
	json_object_set_new(json, "more", json_true());
	CHECK_INT(worker_survey_parse(json, copy, &failure), -EINVAL);
	json_object_del(json, "more");
	json_object_set_new(json_array_get(json_object_get(json, "sharers"), 0), "pid", json_integer(-1));
	CHECK_INT(worker_survey_parse(json, copy, &failure), -EINVAL);
	json_array_clear(json_object_get(json, "sharers"));
	CHECK_INT(worker_survey_parse(json, copy, &failure), 0);
	json_object_set_new(json_array_get(json_object_get(json, "huges"), 1), "pages",
			    json_pack("[[i, I]]", 3, (json_int_t)UINT32_MAX + 1));
	CHECK_INT(worker_survey_parse(json, copy, &failure), -EINVAL);
	json_object_set_new(json_array_get(json_object_get(json, "huges"), 1), "pages", json_pack("[[i, i]]", 64, 1));
	CHECK_INT(worker_survey_parse(json, copy, &failure), -EINVAL);
	json_object_set_new(json, "huges", json_pack("[{}, {}, {}, {}, {}]"));
	CHECK_INT(worker_survey_parse(json, copy, &failure), -EINVAL);
	json_object_set_new(json, "huges", json_array());
	CHECK_INT(worker_survey_parse(json, copy, &failure), 0);
	for (int i = 0; i <= SNAPSHOT_SHARERS_MAX; i++)
		json_array_append_new(json_object_get(json, "sharers"), json_object());
	CHECK_INT(worker_survey_parse(json, copy, &failure), -EINVAL);
	json_decref(json);
	free(survey);
	free(copy);
}

static void test_residencies(void)
{
	struct worker_survey *survey = calloc(1, sizeof(*survey)), *copy = calloc(1, sizeof(*copy));
	struct failure failure = {0};
	static const struct {
		const char *key;
		json_int_t value;
	} wrong[] = {
		{"unit_bytes", 0},		/* nothing can be reckoned by it */
		{"unit_bytes", 268435456},	/* then they are too many */
		{"size_bytes", 0},
		{"size_bytes", INT64_C(1) << 40},
		{"address", -1},
	};
	/* Device, unit, DIMM, node, pages: what is not there must not be read. */
	static const struct {
		size_t index;
		json_int_t value;
	} misplaced[] = {
		{0, SNAPSHOT_DEVICES_MAX}, {0, -1}, {1, 5}, {1, -1}, {2, 2}, {2, -2},
		{3, SNAPSHOT_NODES_MAX},   {3, -2}, {4, -1}, {4, (json_int_t)UINT32_MAX + 1},
	};
	json_t *json, *device;

	survey->residency_count = SNAPSHOT_DEVICES_MAX;
	for (size_t i = 0; i < SNAPSHOT_DEVICES_MAX; i++) {
		struct snapshot_residency *residency = &survey->residencies[i];

		*residency = (struct snapshot_residency){.address = (i + 4) << 40 | 64 << 20,
							 .size_bytes = SNAPSHOT_UNIT_LEAST_BYTES * (i + 1),
							 .unit_bytes = SNAPSHOT_UNIT_LEAST_BYTES,
							 .count = i + 2};
		for (size_t unit = 0; unit < residency->count; unit++)
			residency->bytes[unit] = 4096 * (i + unit);
	}
	survey->dimm_count = 2;
	strcpy(survey->dimms[0].id, "a");
	strcpy(survey->dimms[1].id, "b");
	survey->place_count = 2;
	survey->places[0] = (struct snapshot_place){7, 3, 4, 1, -1};
	survey->places[1] = (struct snapshot_place){UINT32_MAX, SNAPSHOT_DEVICES_MAX - 1, 0, SNAPSHOT_NO_DIMM, 63};
	json = worker_survey_to_json(survey);
	CHECK_INT(worker_survey_parse(json, copy, &failure), 0);
	CHECK_INT(memcmp(survey, copy, sizeof(*survey)), 0);
	for (size_t i = 0; i < sizeof(misplaced) / sizeof(misplaced[0]); i++) {
		json_t *place = json_array_get(json_object_get(json, "places"), 0);
		json_t *right = json_incref(json_array_get(place, misplaced[i].index));

		json_array_set_new(place, misplaced[i].index, json_integer(misplaced[i].value));
		CHECK_INT(worker_survey_parse(json, copy, &failure), -EINVAL);
		json_array_set_new(place, misplaced[i].index, right);
		CHECK_INT(worker_survey_parse(json, copy, &failure), 0);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		json_t *right;

		device = json_array_get(json_object_get(json, "residencies"), 3);
		right = json_incref(json_object_get(device, wrong[i].key));
		json_object_set_new(device, wrong[i].key, json_integer(wrong[i].value));
		CHECK_INT(worker_survey_parse(json, copy, &failure), -EINVAL);
		json_object_set_new(device, wrong[i].key, right);
		CHECK_INT(worker_survey_parse(json, copy, &failure), 0);
	}
	/* More units than there is place for, although the device has them. */
	json_object_set_new(device, "size_bytes", json_integer((json_int_t)SNAPSHOT_UNIT_LEAST_BYTES * SNAPSHOT_UNITS_MAX));
	while (json_array_size(json_object_get(device, "units")) <= SNAPSHOT_UNITS_MAX)
		json_array_append_new(json_object_get(device, "units"), json_integer(0));
	CHECK_INT(worker_survey_parse(json, copy, &failure), -EINVAL);
	json_array_append_new(json_object_get(json, "residencies"), json_object());
	CHECK_INT(worker_survey_parse(json, copy, &failure), -EINVAL);
	json_decref(json);
	/* More than there is place for. */
	json = worker_survey_to_json(survey);
	while (json_array_size(json_object_get(json, "places")) < SNAPSHOT_PLACES_MAX)
		json_array_append_new(json_object_get(json, "places"), json_pack("[i, i, i, i, i]", 0, 0, 0, 0, 1));
	CHECK_INT(worker_survey_parse(json, copy, &failure), 0);
	CHECK_INT(copy->place_count, SNAPSHOT_PLACES_MAX);
	json_array_append_new(json_object_get(json, "places"), json_pack("[i, i, i, i, i]", 0, 0, 0, 0, 1));
	CHECK_INT(worker_survey_parse(json, copy, &failure), -EINVAL);
	json_decref(json);
	free(survey);
	free(copy);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"job", test_job},	   {"survey_job_has_no_step", test_survey_job_has_no_step},
		{"result", test_result},   {"small_messages", test_small_messages},
		{"refuses", test_refuses}, {"survey", test_survey},
		{"residencies", test_residencies},
	};

	return unit_main("worker_message", cases, sizeof(cases) / sizeof(cases[0]));
}
