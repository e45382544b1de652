/* SPDX-License-Identifier: Apache-2.0 */
#include "submission.h"

#include <string.h>
#include "model_json.h"

#define KEY_MAX 127

static json_t *plan_steps(const struct plan *plan)
{
	json_t *steps = json_array();

	for (size_t i = 0; i < plan->step_count; i++) {
		struct step_record record = {.n = (unsigned)i + 1, .step = plan->steps[i]};
		json_t *whole = model_json_step_record(&record), *step = json_object();
		/* What a step of an operation has and a plan can know; so both are spelt the same.
		 */
		static const char *const keys[] = {"n",	       "kind",	"target",  "detail",
						   "undoable", "bytes", "stall_ms"};

		for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
			json_object_set(step, keys[k], json_object_get(whole, keys[k]));
		json_object_set_new(step, "estimate_ms",
				    plan->costs ? json_integer((json_int_t)plan->costs[i].ms) : json_null());
		json_object_set_new(step, "estimate_measured",
				    json_boolean(plan->costs && plan->costs[i].is_measured));
		json_decref(whole);
		json_array_append_new(steps, step);
	}
	return steps;
}

/* What the estimate is made of. */
static json_t *plan_rates(const struct plan *plan)
{
	json_t *rates = json_array();

	for (int i = 0; i < RATE_KIND_COUNT; i++) {
		enum rate_kind kind = (enum rate_kind)i;
		const struct measured_rate *rate = &plan->rates.of[i];
		bool is_bytes = rate_kind_is_bytes(kind);

		if (!(plan->rates_used >> i & 1))
			continue;
		json_array_append_new(
			rates,
			json_pack("{s:s, s:b, s:o, s:o}", "kind", rate_kind_name(kind), "measured",
				  (int)(plan->rates_measured >> i & 1), "bytes_per_s",
				  is_bytes ? json_integer((json_int_t)measured_rate_per_s(rate)) : json_null(), "each_ms",
				  is_bytes ? json_null() : json_integer((json_int_t)measured_rate_ms(rate, RATE_EACH))));
	}
	return rates;
}

static json_t *plan_leave(const struct plan_leave *leave)
{
	json_t *json = json_pack("{s:s, s:I, s:I}", "device", leave->alias, "asked_bytes", (json_int_t)leave->asked_bytes,
				 "leaves_bytes", (json_int_t)leave->leaves_bytes);

	if (leave->zones_told) {
		json_object_set_new(json, "movable_bytes", json_integer((json_int_t)leave->movable_bytes));
		json_object_set_new(json, "kernel_bytes", json_integer((json_int_t)leave->kernel_bytes));
		json_object_set_new(json, "offline_bytes", json_integer((json_int_t)leave->offline_bytes));
	}
	return json;
}

json_t *submission_plan_json(const struct plan *plan)
{
	json_t *json = json_object(), *consents = json_array(), *needs = json_array(), *leaves = json_array();

	for (int consent = 0; consent < CONSENT_COUNT; consent++)
		if (plan->consents_needed & (1u << consent))
			json_array_append_new(consents,
					      json_string(consent_name((enum consent)consent)));
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (plan->needs_bytes[node])
			json_array_append_new(needs,
					      json_pack("{s:i, s:I}", "node", node, "bytes",
							(json_int_t)plan->needs_bytes[node]));
	json_object_set_new(json, "digest", json_string(plan->digest));
	json_object_set_new(json, "steps", plan_steps(plan));
	json_object_set_new(json, "blockers", model_json_remainders(&plan->blockers));
	json_object_set_new(json, "warnings", model_json_remainders(&plan->warnings));
	json_object_set_new(json, "forecast", model_json_remainders(&plan->forecast));
	for (size_t i = 0; i < plan->leave_count; i++)
		json_array_append_new(leaves, plan_leave(&plan->leaves[i]));
	json_object_set_new(json, "leaves", leaves);
	json_object_set_new(json, "consents_needed", consents);
	json_object_set_new(json, "needs", needs);
	json_object_set_new(json, "bytes", json_integer((json_int_t)plan->bytes));
	json_object_set_new(json, "estimate_s",
			    plan->estimate_s == UINT32_MAX ? json_null()
							   : json_integer(plan->estimate_s));
	json_object_set_new(json, "estimate_measured", json_boolean(plan->estimate_measured));
	json_object_set_new(json, "rates", plan_rates(plan));
	model_json_add_reboot(json, &plan->reboot);
	json_object_set_new(json, "already_done", json_boolean(plan->already_done));
	return json;
}

/* The object that is as wished already. */
static void reply_already(struct rest_call *call, const struct engine_answer *answer)
{
	const struct snapshot_guest *guest =
		snapshot_guest(rest_call_snapshot(call), call->target_id);
	json_t *json = NULL;

	switch (call->wish.kind) {
	case OPERATION_KIND_RESIZE:
		json = guest ? model_json_guest_memory(guest) : json_object();
		break;
	case OPERATION_KIND_MOVE:
		json = guest ? model_json_guest_placement(guest) : json_object();
		break;
	case OPERATION_KIND_DRAIN:
		json = json_object();
		json_object_set_new(json, "operation", json_null());
		json_object_set_new(
			json, "drain",
			answer->drain ? rest_call_stamp(call, model_json_drain(answer->drain,
									       answer->operation))
				      : json_null());
		break;
	case OPERATION_KIND_UNDRAIN:
		json = answer->drain ? model_json_drain(answer->drain, answer->operation)
				     : json_object();
		break;
	case OPERATION_KIND_CHECK:
	case OPERATION_KIND_COUNT:
		json = json_object();
		break;
	}
	rest_call_reply_object(call, rest_call_stamp(call, json));
}

static void reply_accepted(struct rest_call *call, const struct engine_answer *answer,
			   bool replayed)
{
	json_t *body = NULL;

	if (call->wish.kind == OPERATION_KIND_DRAIN) {
		const struct drain_record *drain = answer->drain;

		body = json_object();
		if (!drain)
			drain = engine_drain(call->context->backend->engine,
					     answer->operation->wish.drain);
		json_object_set_new(body, "operation",
				    rest_call_stamp(call, model_json_operation(answer->operation)));
		json_object_set_new(
			body, "drain",
			drain ? rest_call_stamp(call, model_json_drain(drain, answer->operation))
			      : json_null());
	}
	rest_call_reply_accepted(call, answer->operation, body, replayed);
}

static void refuse_busy(struct rest_call *call, const struct engine_answer *answer)
{
	const struct operation_record *operation = answer->operation;
	char detail[640];
	json_t *problem;

	/* One that has ended and is in the way all the same cannot be waited for nor cancelled: the engine says why. */
	if (operation && operation_state_is_final(operation->state) && answer->failure)
		snprintf(detail, sizeof(detail), "%s (%s)", answer->failure->cause, answer->failure->way_out);
	else
		snprintf(detail, sizeof(detail),
			 "operation %s (%s of %s) is at work there (wait for it with GET "
			 "/v1/operations/%s?wait=60, or cancel it)",
			 operation ? operation->id : "?",
			 operation ? operation_kind_name(operation->wish.kind) : "?",
			 operation ? operation->target : "?", operation ? operation->id : "?");
	problem = problem_json(PROBLEM_OPERATION_IN_PROGRESS, detail, NULL);
	if (problem && operation)
		json_object_set_new(problem, "operation", json_string(operation->id));
	rest_call_refuse_json(call, PROBLEM_OPERATION_IN_PROGRESS, problem);
}

static void refuse_plan_changed(struct rest_call *call, const struct plan *plan)
{
	char detail[160];
	json_t *problem;

	snprintf(detail, sizeof(detail),
		 "the plan is %s now, and %s was expected (look at the new plan, then insist on "
		 "that)",
		 plan ? plan->digest : "another one", call->query.expect_plan);
	problem = problem_json(PROBLEM_PLAN_CHANGED, detail, NULL);
	if (problem && plan)
		json_object_set_new(problem, "plan", submission_plan_json(plan));
	rest_call_refuse_json(call, PROBLEM_PLAN_CHANGED, problem);
}

static void refuse_blocked(struct rest_call *call, const struct engine_answer *answer, int error)
{
	struct failure failure =
		answer->failure ? *answer->failure : (struct failure){.error = error};

	rest_call_refuse_failure(call, failure.error ? -failure.error : -error, &failure,
				 answer->blockers);
}

static void on_answer(void *user, const struct engine_answer *answer)
{
	struct rest_call *call = user;

	if (!rest_call_is_alive(call))
		return;
	switch (answer->result) {
	case ENGINE_SUBMIT_ACCEPTED:
		reply_accepted(call, answer, false);
		return;
	case ENGINE_SUBMIT_REPLAYED:
		reply_accepted(call, answer, true);
		return;
	case ENGINE_SUBMIT_ALREADY:
		reply_already(call, answer);
		return;
	case ENGINE_SUBMIT_BUSY:
		refuse_busy(call, answer);
		return;
	case ENGINE_SUBMIT_PLAN_CHANGED:
		refuse_plan_changed(call, answer->plan);
		return;
	case ENGINE_SUBMIT_REFUSED:
		refuse_blocked(call, answer, EPERM);
		return;
	case ENGINE_SUBMIT_KEY_MISUSED:
		rest_call_refuse(
			call, PROBLEM_IDEMPOTENCY_KEY_MISUSED,
			"this Idempotency-Key came with another request before (take a new one)");
		return;
	case ENGINE_SUBMIT_OBSERVE_ONLY:
		rest_call_refuse(
			call, PROBLEM_OBSERVE_ONLY,
			"the daemon plans and changes nothing (set mode = act in ballastd.conf; "
			"?dry_run=true shows the plan)");
		return;
	case ENGINE_SUBMIT_FAILED:
		refuse_blocked(call, answer, EFAULT);
		return;
	}
}

static void on_plan(void *user, const struct engine_answer *answer)
{
	static const struct plan nothing_to_do = {.already_done = true};
	struct rest_call *call = user;

	if (!rest_call_is_alive(call))
		return;
	switch (answer->result) {
	case ENGINE_SUBMIT_ACCEPTED:
	case ENGINE_SUBMIT_ALREADY:
	case ENGINE_SUBMIT_REPLAYED:
		rest_call_reply(call, 200,
				submission_plan_json(answer->plan ? answer->plan : &nothing_to_do));
		return;
	case ENGINE_SUBMIT_BUSY:
	case ENGINE_SUBMIT_PLAN_CHANGED:
	case ENGINE_SUBMIT_REFUSED:
	case ENGINE_SUBMIT_KEY_MISUSED:
	case ENGINE_SUBMIT_OBSERVE_ONLY:
	case ENGINE_SUBMIT_FAILED:
		on_answer(user, answer);
		return;
	}
}

/* 1 to 127 visible ASCII characters. */
static bool key_is_valid(const char *key)
{
	size_t length = strlen(key);

	return length > 0 && length <= KEY_MAX && !strchr(key, ' ') && !strchr(key, '\t');
}

void submission_send(struct rest_call *call)
{
	const char *key = http_head_find(http_exchange_head(call->exchange), "Idempotency-Key");
	struct engine *engine = call->context->backend->engine;
	struct engine_submission submission = {
		.wish = &call->wish,
		/* A key is found again by its actor, and who tries again does so from another
		   process. */
		.actor = key ? call->user : call->actor,
		.expect_plan = call->query.expect_plan[0] ? call->query.expect_plan : NULL,
		.idempotency_key = key,
		.body_hash = call->body_hash,
	};

	if (key && !key_is_valid(key)) {
		rest_call_refuse(call, PROBLEM_INVALID_HEADER,
				 "Idempotency-Key must be 1 to %d visible characters", KEY_MAX);
		return;
	}
	if (call->query.dry_run)
		engine_dry_run(engine, &call->wish, on_plan, call);
	else
		engine_submit(engine, &submission, on_answer, call);
}

void submission_send_undrain(struct rest_call *call, const char *drain)
{
	struct engine *engine = call->context->backend->engine;

	if (call->query.dry_run || call->query.expect_plan[0])
		submission_send(call);
	else
		engine_undrain(engine, drain, call->wish.keep, call->wish.timeout_s, call->actor, on_answer, call);
}
