/* SPDX-License-Identifier: Apache-2.0 */
#include "job_context.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "model_json.h"

bool job_context_go(struct job_context *context)
{
	return job_context_wait(context, 0);
}

bool job_context_wait(struct job_context *context, uint64_t pause_us)
{
	if (context->stop == WORKER_CONTROL_GO)
		context->stop = worker_control_wait(context->control, pause_us);
	return context->stop == WORKER_CONTROL_GO;
}

int job_context_look(void *user)
{
	struct job_context *context = user;

	if (context->stop == WORKER_CONTROL_GO)
		context->stop = worker_control_listen(context->control, -1, 0);
	if (context->stop != WORKER_CONTROL_GO)
		return -ECANCELED;
	return context->control->is_paused ? -EAGAIN : 0;
}

void job_context_fail(struct job_context *context, int error, const char *object,
		      const char *action, ...)
{
	char text[FAILURE_TEXT_SIZE];
	va_list arguments;

	va_start(arguments, action);
	vsnprintf(text, sizeof(text), action, arguments);
	va_end(arguments);
	context->result->outcome = WORKER_OUTCOME_FAILED;
	failure_set(&context->result->failure, error, object, "%s", text);
}

const char *job_context_guest(const struct job_context *context, char text[96])
{
	const struct worker_job *job = context->job;

	if (worker_job_has_step(job) && job->step.guest_name[0])
		snprintf(text, 96, "guest %s", job->step.guest_name);
	else
		snprintf(text, 96, "process %d", job->process.pid);
	return text;
}

void job_context_guest_gone(struct job_context *context)
{
	char object[96];

	if (context->job->kind == WORKER_JOB_UNDO) {
		context->result->outcome = WORKER_OUTCOME_DONE;
		/* What could not be put back is not there any more. */
		failure_clear(&context->result->failure);
		context->result->remainder.count = 0;
		if (!json_object_get(job_context_values(context), "detail"))
			job_context_detail(context,
					   "the guest is gone, and what was changed of it with it");
		return;
	}
	job_context_fail(context, ESRCH, job_context_guest(context, object), "cannot work on it");
	failure_set_code(&context->result->failure, remainder_code_name(REMAINDER_GUEST_GONE));
	failure_set_cause(&context->result->failure, "its process %d has ended",
			  context->job->process.pid);
	remainder_list_add(&context->result->remainder, REMAINDER_GUEST_GONE, object, 0, NULL,
			   "process %d has ended", context->job->process.pid);
}

void job_context_give(struct job_context *context, const char *object, json_t *values)
{
	json_decref(context->result->values);
	context->result->values = values;
	if (values)
		context->result->outcome = WORKER_OUTCOME_DONE;
	else
		job_context_fail(context, ENOMEM, object, "cannot tell what was found");
}

json_t *job_context_values(struct job_context *context)
{
	if (!context->result->values)
		context->result->values = json_object();
	return context->result->values;
}

void job_context_detail(struct job_context *context, const char *detail, ...)
{
	json_t *values = job_context_values(context);
	const char *old = json_string_value(json_object_get(values, "detail"));
	char added[WORKER_DETAIL_SIZE], text[2 * WORKER_DETAIL_SIZE + 4];
	va_list arguments;

	va_start(arguments, detail);
	vsnprintf(added, sizeof(added), detail, arguments);
	va_end(arguments);
	snprintf(text, sizeof(text), "%s%s%s", old ? old : "", old ? "; " : "", added);
	if (values)
		json_object_set_new(values, "detail", json_string(text));
}

void job_context_warn(struct job_context *context, enum remainder_code code, const char *object,
		      uint64_t bytes, const char *detail, ...)
{
	json_t *values = job_context_values(context),
	       *warnings = json_object_get(values, "warnings");
	struct remainder_list list = {0};
	char text[192];
	va_list arguments;

	va_start(arguments, detail);
	vsnprintf(text, sizeof(text), detail, arguments);
	va_end(arguments);
	remainder_list_add(&list, code, object, bytes, NULL, "%s", text);
	if (!warnings && values) {
		warnings = json_array();
		json_object_set_new(values, "warnings", warnings);
	}
	/* As many as a remainder list has: they may be read into one. */
	if (warnings && json_array_size(warnings) < REMAINDER_LIST_MAX)
		json_array_append_new(warnings, model_json_remainder(&list.items[0]));
}

void job_context_settle(struct job_context *context, const char *object, uint64_t left_bytes,
			bool is_any_done)
{
	struct worker_result *result = context->result;

	switch (context->stop) {
	case WORKER_CONTROL_CANCELLED:
		remainder_list_add(&result->remainder, REMAINDER_CANCELLED, object, left_bytes,
				   NULL, "ended by request");
		result->outcome = WORKER_OUTCOME_CANCELLED;
		return;
	case WORKER_CONTROL_DEADLINE:
		remainder_list_add(&result->remainder, REMAINDER_DEADLINE, object, left_bytes, NULL,
				   "the time was up");
		break;
	case WORKER_CONTROL_GO:
		break;
	}
	if (!result->remainder.count)
		result->outcome = WORKER_OUTCOME_DONE;
	else
		result->outcome = is_any_done ? WORKER_OUTCOME_PARTIAL : WORKER_OUTCOME_FAILED;
	if (result->outcome == WORKER_OUTCOME_FAILED && !failure_is_set(&result->failure)) {
		const struct remainder *first = &result->remainder.items[0];

		failure_set(&result->failure, 0, first->object, "nothing of it could be done");
		failure_set_code(&result->failure, remainder_code_name(first->code));
		failure_set_cause(&result->failure, "%s", first->detail);
		failure_set_way_out(&result->failure, "%s", first->way_out);
	}
}
