/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "model_json.h"

static const char *const job_kind_names[WORKER_JOB_COUNT] = {
	[WORKER_JOB_SURVEY] = "survey",
	[WORKER_JOB_STEP] = "step",
	[WORKER_JOB_UNDO] = "undo",
	[WORKER_JOB_BEFORE] = "before",
	[WORKER_JOB_HOLDERS] = "holders",
};
NAME_TABLE_DEFINE(worker_job_kind, job_kind_names)

static const char *const outcome_names[WORKER_OUTCOME_COUNT] = {
	[WORKER_OUTCOME_DONE] = "done",	    [WORKER_OUTCOME_PARTIAL] = "partial",
	[WORKER_OUTCOME_FAILED] = "failed", [WORKER_OUTCOME_CANCELLED] = "cancelled",
	[WORKER_OUTCOME_DIED] = "died",	    [WORKER_OUTCOME_STUCK] = "stuck",
};
NAME_TABLE_DEFINE(worker_outcome, outcome_names)

static const char *const type_names[WORKER_MESSAGE_TYPE_COUNT] = {
	[WORKER_MESSAGE_START] = "start",	[WORKER_MESSAGE_LIMIT] = "limit",
	[WORKER_MESSAGE_PAUSE] = "pause",	[WORKER_MESSAGE_RESUME] = "resume",
	[WORKER_MESSAGE_CANCEL] = "cancel",	[WORKER_MESSAGE_HELLO] = "hello",
	[WORKER_MESSAGE_PROGRESS] = "progress", [WORKER_MESSAGE_RESULT] = "result",
};
NAME_TABLE_DEFINE(worker_message_type, type_names)

#define RAM_MAX (SNAPSHOT_CELLS_MAX + SNAPSHOT_DEVICES_MAX)

static json_t *json_number(uint64_t number)
{
	return json_integer((json_int_t)(number > INT64_MAX ? INT64_MAX : number));
}

static int refuse(struct failure *failure, const char *what, const char *why)
{
	failure_set(failure, EINVAL, "worker message", "cannot read \"%s\"", what);
	failure_set_cause(failure, "%s", why);
	return -EINVAL;
}

/* jansson's own strict unpacking with its complaint kept. */
static int unpack(const json_t *json, struct failure *failure, const char *what, const char *format,
		  ...)
{
	json_error_t error;
	va_list arguments;
	int rc;

	va_start(arguments, format);
	rc = json_vunpack_ex((json_t *)json, &error, JSON_STRICT, format, arguments);
	va_end(arguments);
	return rc ? refuse(failure, what, error.text) : 0;
}

/* Numbers of the protocol are never negative, and end where a signed 64-bit number does. */
static int take_number(const json_t *json, uint64_t limit, uint64_t *ret_number,
		       struct failure *failure, const char *what)
{
	if (!json_is_integer(json) || json_integer_value(json) < 0)
		return refuse(failure, what, "it is no whole number from 0");
	if ((uint64_t)json_integer_value(json) > limit)
		return refuse(failure, what, "it is too large");
	*ret_number = (uint64_t)json_integer_value(json);
	return 0;
}

static int take_text(const json_t *json, char *text, size_t size, struct failure *failure,
		     const char *what)
{
	if (!json_is_string(json))
		return refuse(failure, what, "it is no text");
	if (json_string_length(json) >= size)
		return refuse(failure, what, "it is too long");
	memcpy(text, json_string_value(json), json_string_length(json) + 1);
	return 0;
}

static int take_nodes(const json_t *json, uint64_t *ret_mask, struct failure *failure,
		      const char *what)
{
	uint64_t mask = 0, node;

	if (!json_is_array(json))
		return refuse(failure, what, "it is no list of nodes");
	for (size_t i = 0; i < json_array_size(json); i++) {
		int rc = take_number(json_array_get(json, i), SNAPSHOT_NODES_MAX - 1, &node,
				     failure, what);

		if (rc)
			return rc;
		mask |= UINT64_C(1) << node;
	}
	*ret_mask = mask;
	return 0;
}

/* -1 stands for "not known". */
static int take_small(const json_t *json, int limit, int8_t *ret_value, struct failure *failure,
		      const char *what)
{
	if (!json_is_integer(json) || json_integer_value(json) < -1 ||
	    json_integer_value(json) > limit)
		return refuse(failure, what, "it is no number from -1 to its limit");
	*ret_value = (int8_t)json_integer_value(json);
	return 0;
}

void worker_job_done(struct worker_job *job)
{
	free(job->dimms);
	job->dimms = NULL;
	job->dimm_count = 0;
	free(job->before);
	job->before = NULL;
	step_done(&job->step);
}

bool worker_job_has_step(const struct worker_job *job)
{
	return job->kind != WORKER_JOB_SURVEY && job->kind != WORKER_JOB_HOLDERS;
}

json_t *worker_job_to_json(const struct worker_job *job)
{
	json_t *ram = json_array(), *dimms = json_array(), *json;

	for (size_t i = 0; i < job->ram_size_count && i < RAM_MAX; i++)
		json_array_append_new(ram, json_pack("{s:o, s:i, s:o, s:o, s:o}", "bytes",
						     json_number(job->ram_sizes[i]), "cell",
						     (int)job->ram_cells[i], "nodes",
						     model_json_nodes(job->ram_nodes[i]), "address",
						     json_number(job->ram_addresses[i]), "block_bytes",
						     json_number(job->ram_blocks[i])));
	for (size_t i = 0; i < job->dimm_count; i++) {
		json_t *ranges = json_array();

		for (size_t r = 0; r < job->dimms[i].range_count; r++)
			json_array_append_new(ranges,
					      json_pack("[o, o]",
							json_number(job->dimms[i].ranges[r].start),
							json_number(job->dimms[i].ranges[r].end)));
		json_array_append_new(dimms,
				      json_pack("{s:o, s:o}", "id", model_json_text(job->dimms[i].id),
						"ranges", ranges));
	}
	json = json_pack("{s:s, s:{s:i, s:o}, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "kind",
			 worker_job_kind_name(job->kind), "process", "pid", job->process.pid,
			 "start_time", json_number(job->process.start_time), "ram", ram, "dimms",
			 dimms, "cpuset_nodes", model_json_nodes(job->cpuset_nodes), "deadline_ms",
			 json_number(job->deadline_ms), "step",
			 worker_job_has_step(job) ? model_json_step(&job->step) : json_null(), "before",
			 job->before ? model_json_text(job->before) : json_null(), "policies_known",
			 (int)job->policies_known, "hook_directory",
			 model_json_text(job->hook_directory), "operation",
			 model_json_text(job->operation));
	/* An entry lost to a short memory must not pass for a shorter list. */
	if (json && (json_array_size(ram) != job->ram_size_count ||
		     json_array_size(dimms) != job->dimm_count)) {
		json_decref(json);
		return NULL;
	}
	return json;
}

static int parse_ram(const json_t *ram, struct worker_job *job, struct failure *failure)
{
	if (!json_is_array(ram) || json_array_size(ram) > RAM_MAX)
		return refuse(failure, "ram", "it is no list, or too long a one");
	for (size_t i = 0; i < json_array_size(ram); i++) {
		json_t *bytes, *cell, *nodes, *address, *block;
		int rc = unpack(json_array_get(ram, i), failure, "ram", "{s:o, s:o, s:o, s:o, s:o}",
				"bytes", &bytes, "cell", &cell, "nodes", &nodes, "address", &address,
				"block_bytes", &block);

		if (!rc)
			rc = take_number(bytes, INT64_MAX, &job->ram_sizes[i], failure,
					 "ram bytes");
		if (!rc)
			rc = take_small(cell, SNAPSHOT_CELLS_MAX - 1, &job->ram_cells[i], failure,
					"ram cell");
		if (!rc)
			rc = take_nodes(nodes, &job->ram_nodes[i], failure, "ram nodes");
		if (!rc)
			rc = take_number(address, INT64_MAX, &job->ram_addresses[i], failure,
					 "ram address");
		if (!rc)
			rc = take_number(block, INT64_MAX, &job->ram_blocks[i], failure,
					 "ram block_bytes");
		if (rc)
			return rc;
	}
	job->ram_size_count = json_array_size(ram);
	return 0;
}

static int parse_ranges(const json_t *ranges, size_t *ret_count, struct snapshot_range *out,
			struct failure *failure)
{
	if (!json_is_array(ranges) || json_array_size(ranges) > SNAPSHOT_RANGES_MAX)
		return refuse(failure, "ranges", "it is no list, or too long a one");
	for (size_t i = 0; i < json_array_size(ranges); i++) {
		json_t *start, *end;
		int rc = unpack(json_array_get(ranges, i), failure, "ranges", "[o, o]", &start,
				&end);

		if (!rc)
			rc = take_number(start, INT64_MAX, &out[i].start, failure, "range start");
		if (!rc)
			rc = take_number(end, INT64_MAX, &out[i].end, failure, "range end");
		if (!rc && out[i].end < out[i].start)
			rc = refuse(failure, "ranges", "one ends before it starts");
		if (rc)
			return rc;
	}
	*ret_count = json_array_size(ranges);
	return 0;
}

static int parse_dimms(const json_t *dimms, struct worker_job *job, struct failure *failure)
{
	size_t count = json_array_size(dimms);

	if (!json_is_array(dimms) || count > WORKER_DIMMS_MAX)
		return refuse(failure, "dimms", "it is no list, or too long a one");
	if (count == 0)
		return 0;
	job->dimms = calloc(count, sizeof(*job->dimms));
	if (!job->dimms)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		json_t *id, *ranges;
		int rc = unpack(json_array_get(dimms, i), failure, "dimms", "{s:o, s:o}", "id", &id,
				"ranges", &ranges);

		if (!rc)
			rc = take_text(id, job->dimms[i].id, sizeof(job->dimms[i].id), failure,
				       "dimm id");
		if (!rc)
			rc = parse_ranges(ranges, &job->dimms[i].range_count, job->dimms[i].ranges,
					  failure);
		if (rc)
			return rc;
	}
	job->dimm_count = count;
	return 0;
}

static int parse_job(const json_t *json, struct worker_job *job, struct failure *failure)
{
	json_t *process, *ram, *dimms, *nodes, *deadline, *step, *before, *pid_json, *start_json;
	json_t *hook_directory, *operation;
	const char *kind;
	uint64_t pid;
	int policies_known, value, rc;

	rc = unpack(json, failure, "job", "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "kind", &kind,
		    "process", &process, "ram", &ram, "dimms", &dimms, "cpuset_nodes", &nodes,
		    "deadline_ms", &deadline, "step", &step, "before", &before, "policies_known",
		    &policies_known, "hook_directory", &hook_directory, "operation", &operation);
	if (!rc)
		rc = take_text(hook_directory, job->hook_directory, sizeof(job->hook_directory), failure,
			       "hook_directory");
	if (!rc)
		rc = take_text(operation, job->operation, sizeof(job->operation), failure, "operation");
	if (rc)
		return rc;
	job->policies_known = policies_known;
	value = worker_job_kind_from_name(kind);
	if (value < 0)
		return refuse(failure, "kind", "there is no such kind of job");
	job->kind = (enum worker_job_kind)value;
	rc = unpack(process, failure, "process", "{s:o, s:o}", "pid", &pid_json, "start_time",
		    &start_json);
	if (!rc)
		rc = take_number(pid_json, INT32_MAX, &pid, failure, "pid");
	if (!rc)
		rc = take_number(start_json, INT64_MAX, &job->process.start_time, failure,
				 "start_time");
	if (!rc) {
		job->process.pid = (int)pid;
		rc = parse_ram(ram, job, failure);
	}
	if (!rc)
		rc = parse_dimms(dimms, job, failure);
	if (!rc)
		rc = take_nodes(nodes, &job->cpuset_nodes, failure, "cpuset_nodes");
	if (!rc)
		rc = take_number(deadline, INT64_MAX / 1000000, &job->deadline_ms, failure,
				 "deadline_ms");
	if (rc)
		return rc;
	if (worker_job_has_step(job)) {
		rc = model_json_step_parse(step, &job->step, failure);
		if (rc)
			return rc;
	} else if (!json_is_null(step)) {
		return refuse(failure, "step", "this job has none");
	}
	if (json_is_null(before))
		return 0;
	if (!json_is_string(before) || job->kind != WORKER_JOB_UNDO)
		return refuse(failure, "before", "it is no text, or this job is no undo");
	job->before = strdup(json_string_value(before));
	return job->before ? 0 : -ENOMEM;
}

int worker_job_parse(const json_t *json, struct worker_job *ret_job, struct failure *failure)
{
	struct worker_job *job = calloc(1, sizeof(*job));
	int rc;

	if (!job)
		return -ENOMEM;
	step_init(&job->step, STEP_KIND_PROBE);
	rc = parse_job(json, job, failure);
	if (rc)
		worker_job_done(job);
	else
		*ret_job = *job;
	free(job);
	return rc;
}

static json_t *failure_to_json(const struct failure *failure)
{
	if (!failure_is_set(failure))
		return json_null();
	return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}", "error", failure->error, "code",
			 model_json_text(failure->code), "object", model_json_text(failure->object), "action",
			 model_json_text(failure->action), "cause", model_json_text(failure->cause), "way_out",
			 model_json_text(failure->way_out));
}

static int failure_parse(const json_t *json, struct failure *ret, struct failure *failure)
{
	json_t *error, *code, *object, *action, *cause, *way_out;
	uint64_t number;
	int rc;

	if (json_is_null(json))
		return 0;
	rc = unpack(json, failure, "failure", "{s:o, s:o, s:o, s:o, s:o, s:o}", "error", &error,
		    "code", &code, "object", &object, "action", &action, "cause", &cause, "way_out",
		    &way_out);
	if (!rc)
		rc = take_number(error, 4095, &number, failure, "error");
	if (!rc)
		rc = take_text(code, ret->code, sizeof(ret->code), failure, "code");
	if (!rc)
		rc = take_text(object, ret->object, sizeof(ret->object), failure, "object");
	if (!rc)
		rc = take_text(action, ret->action, sizeof(ret->action), failure, "action");
	if (!rc)
		rc = take_text(cause, ret->cause, sizeof(ret->cause), failure, "cause");
	if (!rc)
		rc = take_text(way_out, ret->way_out, sizeof(ret->way_out), failure, "way_out");
	if (!rc)
		ret->error = (int)number;
	return rc;
}

void worker_result_done(struct worker_result *result)
{
	if (result->values)
		json_decref(result->values);
	result->values = NULL;
}

static json_t *result_to_json(const struct worker_result *result)
{
	return json_pack(
		"{s:s, s:o, s:o, s:o, s:o, s:o}", "outcome", worker_outcome_name(result->outcome),
		"bytes_done", json_number(result->bytes_done), "longest_pause_us",
		json_number(result->longest_pause_us), "failure", failure_to_json(&result->failure),
		"remainder", model_json_remainders(&result->remainder), "values",
		result->values ? json_incref(result->values) : json_null());
}

static int result_parse(const json_t *json, struct worker_result *result, struct failure *failure)
{
	json_t *bytes, *pause, *told, *remainder, *values;
	const char *outcome;
	int value, rc;

	rc = unpack(json, failure, "result", "{s:s, s:o, s:o, s:o, s:o, s:o}", "outcome", &outcome,
		    "bytes_done", &bytes, "longest_pause_us", &pause, "failure", &told, "remainder",
		    &remainder, "values", &values);
	if (rc)
		return rc;
	value = worker_outcome_from_name(outcome);
	/* What only the pool can know is not taken from a worker. */
	if (value < 0 || value >= WORKER_OUTCOME_DIED)
		return refuse(failure, "outcome", "a worker cannot say this");
	result->outcome = (enum worker_outcome)value;
	rc = take_number(bytes, INT64_MAX, &result->bytes_done, failure, "bytes_done");
	if (!rc)
		rc = take_number(pause, INT64_MAX, &result->longest_pause_us, failure,
				 "longest_pause_us");
	if (!rc)
		rc = failure_parse(told, &result->failure, failure);
	if (!rc)
		rc = model_json_remainders_parse(remainder, &result->remainder, failure);
	if (!rc && !json_is_null(values))
		result->values = json_incref(values);
	return rc;
}

void worker_message_done(struct worker_message *message)
{
	if (message->type == WORKER_MESSAGE_START)
		worker_job_done(&message->job);
	if (message->type == WORKER_MESSAGE_RESULT)
		worker_result_done(&message->result);
}

static json_t *message_body(const struct worker_message *message)
{
	switch (message->type) {
	case WORKER_MESSAGE_START:
		return json_pack("{s:o}", "job", worker_job_to_json(&message->job));
	case WORKER_MESSAGE_LIMIT:
		return json_pack("{s:o, s:o, s:o}", "bytes_per_s",
				 json_number(message->bytes_per_s), "stall_us",
				 json_number(message->stall_us), "guest_pause_us",
				 json_number(message->guest_pause_us));
	case WORKER_MESSAGE_PROGRESS:
		return json_pack("{s:o, s:o, s:o}", "done_bytes", json_number(message->done_bytes),
				 "total_bytes", json_number(message->total_bytes), "detail",
				 model_json_text(message->detail));
	case WORKER_MESSAGE_RESULT:
		return json_pack("{s:o}", "result", result_to_json(&message->result));
	case WORKER_MESSAGE_PAUSE:
	case WORKER_MESSAGE_RESUME:
	case WORKER_MESSAGE_CANCEL:
	case WORKER_MESSAGE_HELLO:
	case WORKER_MESSAGE_TYPE_COUNT:
		break;
	}
	return json_object();
}

char *worker_message_to_text(const struct worker_message *message)
{
	json_t *json = message_body(message);
	char *text = NULL;

	if (!json)
		return NULL;
	if (!json_object_set_new(json, "v", json_integer(WORKER_MESSAGE_VERSION)) &&
	    !json_object_set_new(json, "type",
				 json_string(worker_message_type_name(message->type))))
		text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(json);
	return text;
}

static int parse_limit(json_t *body, struct worker_message *message, struct failure *failure)
{
	json_t *rate, *stall, *pause;
	uint64_t stall_us;
	int rc = unpack(body, failure, "limit", "{s:o, s:o, s:o}", "bytes_per_s", &rate, "stall_us",
			&stall, "guest_pause_us", &pause);

	if (!rc)
		rc = take_number(rate, INT64_MAX, &message->bytes_per_s, failure, "bytes_per_s");
	if (!rc)
		rc = take_number(stall, UINT32_MAX, &stall_us, failure, "stall_us");
	if (!rc) {
		message->stall_us = (uint32_t)stall_us;
		rc = take_number(pause, INT64_MAX, &message->guest_pause_us, failure,
				 "guest_pause_us");
	}
	return rc;
}

static int parse_progress(json_t *body, struct worker_message *message, struct failure *failure)
{
	json_t *done, *total, *detail;
	int rc = unpack(body, failure, "progress", "{s:o, s:o, s:o}", "done_bytes", &done,
			"total_bytes", &total, "detail", &detail);

	if (!rc)
		rc = take_number(done, INT64_MAX, &message->done_bytes, failure, "done_bytes");
	if (!rc)
		rc = take_number(total, INT64_MAX, &message->total_bytes, failure, "total_bytes");
	if (!rc)
		rc = take_text(detail, message->detail, sizeof(message->detail), failure, "detail");
	return rc;
}

/* body: the message without its version and type. */
static int parse_body(json_t *body, struct worker_message *message, struct failure *failure)
{
	json_t *inner;
	int rc;

	switch (message->type) {
	case WORKER_MESSAGE_START:
		rc = unpack(body, failure, "start", "{s:o}", "job", &inner);
		return rc ? rc : worker_job_parse(inner, &message->job, failure);
	case WORKER_MESSAGE_LIMIT:
		return parse_limit(body, message, failure);
	case WORKER_MESSAGE_PROGRESS:
		return parse_progress(body, message, failure);
	case WORKER_MESSAGE_RESULT:
		rc = unpack(body, failure, "result", "{s:o}", "result", &inner);
		return rc ? rc : result_parse(inner, &message->result, failure);
	case WORKER_MESSAGE_PAUSE:
	case WORKER_MESSAGE_RESUME:
	case WORKER_MESSAGE_CANCEL:
	case WORKER_MESSAGE_HELLO:
	case WORKER_MESSAGE_TYPE_COUNT:
		break;
	}
	return json_object_size(body) ? refuse(failure, worker_message_type_name(message->type),
					       "it has keys that it cannot have")
				      : 0;
}

int worker_message_parse(const char *text, size_t length, struct worker_message *ret_message,
			 struct failure *failure)
{
	struct worker_message *message = NULL;
	json_error_t error;
	json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
	const json_t *type_json;
	int rc, type;

	if (!json)
		return refuse(failure, "message", error.text);
	type_json = json_object_get(json, "type");
	type = json_is_string(type_json)
		       ? worker_message_type_from_name(json_string_value(type_json))
		       : -1;
	if (json_integer_value(json_object_get(json, "v")) != WORKER_MESSAGE_VERSION) {
		refuse(failure, "v", "it is another version than ours");
		rc = -EPROTO;
	} else if (type < 0) {
		rc = refuse(failure, "type", "there is no such message");
	} else {
		message = calloc(1, sizeof(*message));
		rc = message ? 0 : -ENOMEM;
	}
	if (!rc) {
		message->type = (enum worker_message_type)type;
		json_object_del(json, "v");
		json_object_del(json, "type");
		rc = parse_body(json, message, failure);
		if (!rc)
			*ret_message = *message;
		else if (type == WORKER_MESSAGE_RESULT)
			worker_result_done(&message->result);
	}
	free(message);
	json_decref(json);
	return rc;
}

/* A list that lacks a row is no list. */
static void append_row(json_t **list, json_t *row)
{
	if (json_array_append_new(*list, row) == 0)
		return;
	json_decref(*list);
	*list = NULL;
}

static json_t *residency_to_json(const struct snapshot_residency *residency)
{
	json_t *units = json_array();

	for (size_t i = 0; i < residency->count; i++)
		append_row(&units, json_number(residency->bytes[i]));
	return json_pack("{s:o, s:o, s:o, s:o}", "address", json_number(residency->address),
			 "size_bytes", json_number(residency->size_bytes), "unit_bytes",
			 json_number(residency->unit_bytes), "units", units);
}

static json_t *place_to_json(const struct snapshot_place *place)
{
	return json_pack("[i, i, i, i, o]", place->device, place->unit,
			 place->dimm == SNAPSHOT_NO_DIMM ? -1 : place->dimm, place->node, json_number(place->pages));
}

static json_t *huge_to_json(const struct snapshot_huge *huge)
{
	json_t *pages = json_array();

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (huge->pages[node])
			append_row(&pages, json_pack("[i, o]", node, json_number(huge->pages[node])));
	return json_pack("{s:o, s:o}", "page_bytes", json_number(huge->page_bytes), "pages", pages);
}

json_t *worker_survey_to_json(const struct worker_survey *survey)
{
	json_t *nodes = json_array(), *backings = json_array(), *dimms = json_array(),
	       *sharers = json_array(), *counted = json_array(), *residencies = json_array(), *places = json_array(),
	       *huges = json_array();

	for (size_t i = 0; i < survey->huge_count; i++)
		append_row(&huges, huge_to_json(&survey->huges[i]));
	for (size_t i = 0; i < survey->place_count; i++)
		append_row(&places, place_to_json(&survey->places[i]));
	for (size_t i = 0; i < survey->residency_count; i++)
		append_row(&residencies, residency_to_json(&survey->residencies[i]));
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (survey->counted_bytes[node])
			append_row(&counted, json_pack("[i, o]", node,
						       json_number(survey->counted_bytes[node])));
	for (size_t i = 0; i < survey->sharer_count; i++)
		append_row(&sharers,
			   json_pack("{s:i, s:o, s:o, s:o}", "pid", survey->sharers[i].pid, "name",
				     model_json_text(survey->sharers[i].name), "mapped_bytes",
				     json_number(survey->sharers[i].mapped_bytes), "pinned_bytes",
				     json_number(survey->sharers[i].pinned_bytes)));
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (survey->node_bytes[node])
			append_row(&nodes, json_pack("[i, o]", node,
						     json_number(survey->node_bytes[node])));
	for (size_t i = 0; i < survey->backing_count; i++)
		append_row(&backings,
			   json_pack("{s:s, s:o, s:o, s:i, s:s, s:o, s:b}", "kind",
				     backing_kind_name(survey->backings[i].kind), "page_bytes",
				     json_number(survey->backings[i].page_bytes), "bytes",
				     json_number(survey->backings[i].bytes), "cell",
				     survey->backings[i].cell, "policy_mode",
				     policy_mode_name(survey->backings[i].policy_mode),
				     "policy_nodes",
				     model_json_nodes(survey->backings[i].policy_nodes),
				     "has_own_policy", (int)survey->backings[i].has_own_policy));
	for (size_t i = 0; i < survey->dimm_count; i++)
		append_row(&dimms, json_pack("{s:o, s:o}", "id", model_json_text(survey->dimms[i].id),
					     "bytes", json_number(survey->dimms[i].bytes)));
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:b, s:b, s:b, s:o, s:b, "
			 "s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:o, s:o, s:o, s:o}",
			 "nodes", nodes, "resident_bytes", json_number(survey->resident_bytes),
			 "swapped_bytes", json_number(survey->swapped_bytes), "unmapped_bytes",
			 json_number(survey->unmapped_bytes), "backings", backings, "policy_mode",
			 policy_mode_name(survey->policy_mode), "policy_nodes",
			 model_json_nodes(survey->policy_nodes), "cpuset_mems",
			 model_json_nodes(survey->cpuset_mems), "cpu_nodes",
			 model_json_nodes(survey->cpu_nodes), "vfio", (int)survey->vfio,
			 "userfaultfd", (int)survey->userfaultfd, "locked", (int)survey->locked,
			 "dimms", dimms, "encrypted", (int)survey->encrypted, "pinned_bytes",
			 json_number(survey->pinned_bytes), "private_bytes",
			 json_number(survey->private_bytes), "transparent_huge_bytes",
			 json_number(survey->transparent_huge_bytes), "sharers", sharers, "counted",
			 (int)survey->counted, "counted_bytes", counted, "cpuset_limit",
			 model_json_nodes(survey->cpuset_limit), "sharers_unlisted",
			 json_number(survey->sharers_unlisted), "sharers_unseen",
			 json_number(survey->sharers_unseen), "balancing", (int)survey->balancing, "loose",
			 (int)survey->loose, "has_policies", (int)survey->has_policies, "residencies",
			 residencies, "places", places, "cgroup", model_json_text(survey->cgroup), "huges", huges);
}

static int survey_parse_nodes(const json_t *nodes, uint64_t node_bytes[SNAPSHOT_NODES_MAX],
			      struct failure *failure)
{
	if (!json_is_array(nodes))
		return refuse(failure, "nodes", "it is no list");
	for (size_t i = 0; i < json_array_size(nodes); i++) {
		json_t *node_json, *bytes_json;
		uint64_t node, bytes;
		int rc = unpack(json_array_get(nodes, i), failure, "nodes", "[o, o]", &node_json,
				&bytes_json);

		if (!rc)
			rc = take_number(node_json, SNAPSHOT_NODES_MAX - 1, &node, failure, "node");
		if (!rc)
			rc = take_number(bytes_json, INT64_MAX, &bytes, failure, "node bytes");
		if (rc)
			return rc;
		node_bytes[node] = bytes;
	}
	return 0;
}

static int survey_parse_backings(const json_t *backings, struct worker_survey *survey,
				 struct failure *failure)
{
	if (!json_is_array(backings) || json_array_size(backings) > SNAPSHOT_BACKINGS_MAX)
		return refuse(failure, "backings", "it is no list, or too long a one");
	for (size_t i = 0; i < json_array_size(backings); i++) {
		struct snapshot_backing *backing = &survey->backings[i];
		json_t *page, *bytes, *cell, *nodes;
		const char *kind, *policy;
		int8_t number;
		int has_own_policy;
		int rc = unpack(json_array_get(backings, i), failure, "backings",
				"{s:s, s:o, s:o, s:o, s:s, s:o, s:b}", "kind", &kind, "page_bytes",
				&page, "bytes", &bytes, "cell", &cell, "policy_mode", &policy,
				"policy_nodes", &nodes, "has_own_policy", &has_own_policy);
		int value = rc ? 0 : backing_kind_from_name(kind);
		int mode = rc ? 0 : policy_mode_from_name(policy);

		if (!rc && value < 0)
			rc = refuse(failure, "backing kind", "there is no such kind");
		if (!rc && mode < 0)
			rc = refuse(failure, "policy_mode", "there is no such mode");
		if (!rc)
			rc = take_nodes(nodes, &backing->policy_nodes, failure, "policy_nodes");
		if (!rc)
			rc = take_number(page, INT64_MAX, &backing->page_bytes, failure,
					 "page_bytes");
		if (!rc)
			rc = take_number(bytes, INT64_MAX, &backing->bytes, failure, "bytes");
		if (!rc)
			rc = take_small(cell, SNAPSHOT_CELLS_MAX - 1, &number, failure, "cell");
		if (rc)
			return rc;
		backing->kind = (enum backing_kind)value;
		backing->policy_mode = (enum policy_mode)mode;
		backing->cell = number;
		backing->has_own_policy = has_own_policy;
	}
	survey->backing_count = json_array_size(backings);
	return 0;
}

static int survey_parse_dimms(const json_t *dimms, struct worker_survey *survey,
			      struct failure *failure)
{
	if (!json_is_array(dimms) || json_array_size(dimms) > ARRAY_SIZE(survey->dimms))
		return refuse(failure, "dimms", "it is no list, or too long a one");
	for (size_t i = 0; i < json_array_size(dimms); i++) {
		json_t *id, *bytes;
		int rc = unpack(json_array_get(dimms, i), failure, "dimms", "{s:o, s:o}", "id", &id,
				"bytes", &bytes);

		if (!rc)
			rc = take_text(id, survey->dimms[i].id, sizeof(survey->dimms[i].id),
				       failure, "dimm id");
		if (!rc)
			rc = take_number(bytes, INT64_MAX, &survey->dimms[i].bytes, failure,
					 "dimm bytes");
		if (rc)
			return rc;
	}
	survey->dimm_count = json_array_size(dimms);
	return 0;
}

static int survey_parse_sharers(const json_t *sharers, struct worker_survey *survey,
				struct failure *failure)
{
	if (!json_is_array(sharers) || json_array_size(sharers) > ARRAY_SIZE(survey->sharers))
		return refuse(failure, "sharers", "it is no list, or too long a one");
	for (size_t i = 0; i < json_array_size(sharers); i++) {
		struct snapshot_sharer *sharer = &survey->sharers[i];
		json_t *pid, *name, *mapped, *pinned;
		uint64_t number = 0;
		int rc = unpack(json_array_get(sharers, i), failure, "sharers",
				"{s:o, s:o, s:o, s:o}", "pid", &pid, "name", &name, "mapped_bytes",
				&mapped, "pinned_bytes", &pinned);

		if (!rc)
			rc = take_number(pid, INT32_MAX, &number, failure, "pid");
		if (!rc)
			rc = take_text(name, sharer->name, sizeof(sharer->name), failure,
				       "sharer name");
		if (!rc)
			rc = take_number(mapped, INT64_MAX, &sharer->mapped_bytes, failure,
					 "mapped_bytes");
		if (!rc)
			rc = take_number(pinned, INT64_MAX, &sharer->pinned_bytes, failure,
					 "pinned_bytes");
		if (rc)
			return rc;
		sharer->pid = (int)number;
	}
	survey->sharer_count = json_array_size(sharers);
	return 0;
}

static int residency_parse(const json_t *json, struct snapshot_residency *residency, struct failure *failure)
{
	json_t *address, *size, *unit, *units;
	int rc = unpack(json, failure, "residencies", "{s:o, s:o, s:o, s:o}", "address", &address, "size_bytes",
			&size, "unit_bytes", &unit, "units", &units);

	if (!rc)
		rc = take_number(address, INT64_MAX, &residency->address, failure, "device address");
	if (!rc)
		rc = take_number(size, INT64_MAX, &residency->size_bytes, failure, "device size_bytes");
	if (!rc)
		rc = take_number(unit, INT64_MAX, &residency->unit_bytes, failure, "unit_bytes");
	if (rc)
		return rc;
	/* What is reckoned by it must not divide by nothing, nor read beyond the device. */
	if (!json_is_array(units) || json_array_size(units) > SNAPSHOT_UNITS_MAX || !residency->unit_bytes ||
	    !residency->size_bytes ||
	    json_array_size(units) !=
		    snapshot_unit_count(residency->address, residency->size_bytes, residency->unit_bytes))
		return refuse(failure, "units", "they are no list, or another one than the device has");
	residency->count = json_array_size(units);
	for (size_t i = 0; !rc && i < residency->count; i++)
		rc = take_number(json_array_get(units, i), INT64_MAX, &residency->bytes[i], failure, "unit");
	return rc;
}

static int survey_parse_residencies(const json_t *residencies, struct worker_survey *survey, struct failure *failure)
{
	int rc = 0;

	if (!json_is_array(residencies) || json_array_size(residencies) > ARRAY_SIZE(survey->residencies))
		return refuse(failure, "residencies", "it is no list, or too long a one");
	for (size_t i = 0; !rc && i < json_array_size(residencies); i++)
		rc = residency_parse(json_array_get(residencies, i), &survey->residencies[i], failure);
	survey->residency_count = json_array_size(residencies);
	return rc;
}

static int survey_parse_huges(const json_t *huges, struct worker_survey *survey, struct failure *failure)
{
	if (!json_is_array(huges) || json_array_size(huges) > ARRAY_SIZE(survey->huges))
		return refuse(failure, "huges", "it is no list, or too long a one");
	for (size_t i = 0; i < json_array_size(huges); i++) {
		struct snapshot_huge *huge = &survey->huges[i];
		uint64_t pages[SNAPSHOT_NODES_MAX] = {0};
		json_t *page, *nodes;
		int rc = unpack(json_array_get(huges, i), failure, "huges", "{s:o, s:o}", "page_bytes", &page, "pages", &nodes);

		if (!rc)
			rc = take_number(page, INT64_MAX, &huge->page_bytes, failure, "page_bytes");
		if (!rc)
			rc = survey_parse_nodes(nodes, pages, failure);
		for (int node = 0; !rc && node < SNAPSHOT_NODES_MAX; node++) {
			if (pages[node] > UINT32_MAX)
				rc = refuse(failure, "huges", "it is too many pages");
			huge->pages[node] = (uint32_t)pages[node];
		}
		if (rc)
			return rc;
	}
	survey->huge_count = json_array_size(huges);
	return 0;
}

static int survey_parse_places(const json_t *places, struct worker_survey *survey, struct failure *failure)
{
	int rc = 0;

	if (!json_is_array(places) || json_array_size(places) > ARRAY_SIZE(survey->places))
		return refuse(failure, "places", "it is no list, or too long a one");
	for (size_t i = 0; !rc && i < json_array_size(places); i++) {
		struct snapshot_place *place = &survey->places[i];
		json_t *pages;
		uint64_t count = 0;
		int device, unit, dimm, node;

		rc = unpack(json_array_get(places, i), failure, "places", "[i, i, i, i, o]", &device, &unit, &dimm, &node,
			    &pages);
		if (!rc)
			rc = take_number(pages, UINT32_MAX, &count, failure, "place pages");
		if (rc)
			return rc;
		/* They are indexes, by which memory is read. */
		if (device < 0 || (size_t)device >= survey->residency_count || unit < 0 ||
		    (size_t)unit >= survey->residencies[device].count || dimm < -1 || dimm >= SNAPSHOT_NO_DIMM ||
		    dimm >= (int)survey->dimm_count || node < -1 || node >= SNAPSHOT_NODES_MAX)
			return refuse(failure, "places", "there is no such unit, DIMM or node");
		*place = (struct snapshot_place){.pages = (uint32_t)count,
						 .device = (uint8_t)device,
						 .unit = (uint8_t)unit,
						 .dimm = dimm < 0 ? SNAPSHOT_NO_DIMM : (uint8_t)dimm,
						 .node = (int8_t)node};
	}
	survey->place_count = json_array_size(places);
	return rc;
}

static int parse_survey(const json_t *json, struct worker_survey *survey, struct failure *failure)
{
	json_t *nodes, *resident, *swapped, *unmapped, *backings, *policy_nodes, *mems, *limit, *cpus,
		*dimms, *pinned, *private, *huge, *sharers, *unlisted, *unseen, *counted, *residencies,
		*places, *cgroup, *huges;
	const char *mode;
	int vfio, userfaultfd, locked, encrypted, balancing, loose, has_policies, is_counted, value, rc;

	rc = unpack(json, failure, "survey",
		    "{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:b, s:b, s:b, s:o, s:b, s:o, "
		    "s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:o, s:o, s:o, s:o}",
		    "nodes", &nodes, "resident_bytes", &resident, "swapped_bytes", &swapped,
		    "unmapped_bytes", &unmapped, "backings", &backings, "policy_mode", &mode,
		    "policy_nodes", &policy_nodes, "cpuset_mems", &mems, "cpu_nodes", &cpus, "vfio",
		    &vfio, "userfaultfd", &userfaultfd, "locked", &locked, "dimms", &dimms,
		    "encrypted", &encrypted, "pinned_bytes", &pinned, "private_bytes", &private,
		    "transparent_huge_bytes", &huge, "sharers", &sharers, "counted", &is_counted,
		    "counted_bytes", &counted, "cpuset_limit", &limit, "sharers_unlisted", &unlisted,
		    "sharers_unseen", &unseen, "balancing", &balancing, "loose", &loose, "has_policies",
		    &has_policies, "residencies", &residencies, "places", &places, "cgroup", &cgroup,
		    "huges", &huges);
	if (rc)
		return rc;
	value = policy_mode_from_name(mode);
	if (value < 0)
		return refuse(failure, "policy_mode", "there is no such mode");
	survey->policy_mode = (enum policy_mode)value;
	survey->vfio = vfio;
	survey->userfaultfd = userfaultfd;
	survey->locked = locked;
	survey->encrypted = encrypted;
	survey->balancing = balancing;
	survey->loose = loose;
	survey->has_policies = has_policies;
	survey->counted = is_counted;
	rc = survey_parse_nodes(nodes, survey->node_bytes, failure);
	if (!rc)
		rc = survey_parse_nodes(counted, survey->counted_bytes, failure);
	if (!rc)
		rc = take_number(resident, INT64_MAX, &survey->resident_bytes, failure,
				 "resident_bytes");
	if (!rc)
		rc = take_number(swapped, INT64_MAX, &survey->swapped_bytes, failure,
				 "swapped_bytes");
	if (!rc)
		rc = take_number(unmapped, INT64_MAX, &survey->unmapped_bytes, failure,
				 "unmapped_bytes");
	if (!rc)
		rc = take_number(pinned, INT64_MAX, &survey->pinned_bytes, failure, "pinned_bytes");
	if (!rc)
		rc = take_number(private, INT64_MAX, &survey->private_bytes, failure,
				 "private_bytes");
	if (!rc)
		rc = take_number(huge, INT64_MAX, &survey->transparent_huge_bytes, failure,
				 "transparent_huge_bytes");
	if (!rc)
		rc = survey_parse_residencies(residencies, survey, failure);
	if (!rc)
		rc = survey_parse_sharers(sharers, survey, failure);
	if (!rc)
		rc = take_number(unlisted, INT32_MAX, &survey->sharers_unlisted, failure,
				 "sharers_unlisted");
	if (!rc)
		rc = take_number(unseen, INT32_MAX, &survey->sharers_unseen, failure,
				 "sharers_unseen");
	if (!rc)
		rc = survey_parse_backings(backings, survey, failure);
	if (!rc)
		rc = take_nodes(policy_nodes, &survey->policy_nodes, failure, "policy_nodes");
	if (!rc)
		rc = take_nodes(mems, &survey->cpuset_mems, failure, "cpuset_mems");
	if (!rc)
		rc = take_nodes(limit, &survey->cpuset_limit, failure, "cpuset_limit");
	if (!rc)
		rc = take_nodes(cpus, &survey->cpu_nodes, failure, "cpu_nodes");
	if (!rc)
		rc = take_text(cgroup, survey->cgroup, sizeof(survey->cgroup), failure, "cgroup");
	if (!rc)
		rc = survey_parse_huges(huges, survey, failure);
	if (!rc)
		rc = survey_parse_dimms(dimms, survey, failure);
	return rc ? rc : survey_parse_places(places, survey, failure);
}

int worker_survey_parse(const json_t *json, struct worker_survey *ret_survey,
			struct failure *failure)
{
	struct worker_survey *survey = calloc(1, sizeof(*survey));
	int rc;

	if (!survey)
		return -ENOMEM;
	rc = parse_survey(json, survey, failure);
	if (!rc)
		*ret_survey = *survey;
	free(survey);
	return rc;
}
