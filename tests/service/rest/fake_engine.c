/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine and the journal as the API calls them, answering what a test has put into struct
 * engine.
 */
#include "rest_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void answer_now(struct engine *engine, enum engine_submit_result result,
		       engine_answer_fn *answer, void *user)
{
	struct engine_answer said = {
		.result = result,
		.operation = engine->operation,
		.drain = engine->drain,
		.failure = &engine->failure,
		.blockers = &engine->blockers,
		.plan = engine->plan,
	};

	if (engine->hold_answer) {
		engine->held = answer;
		engine->held_user = user;
		return;
	}
	answer(user, &said);
}

void engine_submit(struct engine *engine, const struct engine_submission *submission,
		   engine_answer_fn *answer, void *user)
{
	engine->submit_count++;
	engine->wish = *submission->wish;
	snprintf(engine->actor, sizeof(engine->actor), "%s", submission->actor);
	snprintf(engine->key, sizeof(engine->key), "%s",
		 submission->idempotency_key ? submission->idempotency_key : "");
	snprintf(engine->body_hash, sizeof(engine->body_hash), "%s", submission->body_hash);
	snprintf(engine->expect_plan, sizeof(engine->expect_plan), "%s",
		 submission->expect_plan ? submission->expect_plan : "");
	answer_now(engine, engine->result, answer, user);
}

void engine_dry_run(struct engine *engine, const struct wish *wish, engine_answer_fn *answer,
		    void *user)
{
	engine->dry_run_count++;
	engine->wish = *wish;
	answer_now(engine,
		   engine->dry_run_result_set ? engine->dry_run_result : ENGINE_SUBMIT_ACCEPTED,
		   answer, user);
}

void engine_undrain(struct engine *engine, const char *drain, bool keep, uint32_t timeout_s, const char *actor,
		    engine_answer_fn *answer, void *user)
{
	engine->undrain_count++;
	engine->undrain_timeout_s = timeout_s;
	engine->undrain_keep = keep;
	answer_now(engine, engine->result, answer, user);
}

static int control(struct engine *engine, const char *id, struct failure *failure)
{
	if (!engine->operation || strcmp(engine->operation->id, id) != 0)
		return -ENOENT;
	if (engine->control_result)
		failure_set(failure, engine->control_result, "operation op-1", "cannot do it");
	return engine->control_result;
}

int engine_cancel(struct engine *engine, const char *id, bool undo, struct failure *failure)
{
	engine->cancel_count++;
	engine->undo = undo;
	return control(engine, id, failure);
}

int engine_pause(struct engine *engine, const char *id, struct failure *failure)
{
	return control(engine, id, failure);
}

int engine_resume(struct engine *engine, const char *id, struct failure *failure)
{
	return control(engine, id, failure);
}

size_t engine_operations(const struct engine *engine, const struct operation_record **ret_records,
			 size_t count)
{
	if (!engine->operation || count == 0)
		return 0;
	ret_records[0] = engine->operation;
	return 1;
}

const struct operation_record *engine_operation(const struct engine *engine, const char *id)
{
	return engine->operation && strcmp(engine->operation->id, id) == 0 ? engine->operation
									   : NULL;
}

size_t engine_drains(const struct engine *engine, const struct drain_record **ret_drains,
		     size_t count)
{
	if (!engine->drain || count == 0)
		return 0;
	ret_drains[0] = engine->drain;
	return 1;
}

const struct drain_record *engine_drain(const struct engine *engine, const char *id)
{
	return engine->drain && strcmp(engine->drain->id, id) == 0 ? engine->drain : NULL;
}

/* Ended operations "old-N", newest first, so with N falling from count to 1. */
static struct operation_record *old_record(unsigned n)
{
	struct operation_record *record = operation_record_new();

	snprintf(record->id, sizeof(record->id), "old-%u", n);
	wish_init(&record->wish, OPERATION_KIND_CHECK);
	record->state = OPERATION_STATE_SUCCEEDED;
	return record;
}

int journal_load_operations(struct journal *journal, bool only_open, const char *before_id,
			    size_t count, struct operation_record ***ret_records, size_t *ret_count,
			    struct failure *failure)
{
	unsigned next = journal->count;
	struct operation_record **records = calloc(count + 1, sizeof(struct operation_record *));
	size_t used = 0;

	if (before_id && (sscanf(before_id, "old-%u", &next) != 1 || next > journal->count)) {
		free(records);
		return -ENOENT;
	}
	if (before_id)
		next--;
	for (; next > 0 && used < count; next--)
		records[used++] = old_record(next);
	*ret_records = records;
	*ret_count = used;
	return 0;
}

int journal_load_operation(struct journal *journal, const char *id,
			   struct operation_record **ret_record, struct failure *failure)
{
	unsigned n;

	if (sscanf(id, "old-%u", &n) != 1 || n == 0 || n > journal->count)
		return -ENOENT;
	*ret_record = old_record(n);
	return 0;
}
