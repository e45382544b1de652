/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a wish to an operation: key, look, check, plan, busy, expected plan, and a durable pending
 * record; only then does the caller hear that it is accepted, and only then does a newer resize
 * take the older one's place.
 */
#include "engine_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "begin_time.h"

/* Fewer digits of a digest would match by accident. */
#define SUBMIT_DIGEST_MIN 4

struct submission {
	struct submission *next, **link;
	struct engine *engine;		 /* borrowed */
	struct operation_record *record; /* owned; becomes the operation's */
	struct operation *subject;	 /* borrowed, pinned; undrain */
	struct step *newcomer;		 /* owned; a move's that keeps memory empty */
	char expect_plan[17];
	bool expects_plan;
	bool is_dry_run;
	engine_answer_fn *answer;
	void *user;
};

static void submission_free(struct submission *submission)
{
	*submission->link = submission->next;
	if (submission->next)
		submission->next->link = submission->link;
	if (submission->subject)
		submission->subject->pins--;
	operation_record_free(submission->record);
	free(submission->newcomer);
	free(submission);
}

struct submission *engine_submit_free_all(struct submission *submissions)
{
	while (submissions) {
		struct submission *next = submissions->next;

		operation_record_free(submissions->record);
		free(submissions->newcomer);
		free(submissions);
		submissions = next;
	}
	return NULL;
}

/* Answers and ends the submission. */
static void conclude(struct submission *submission, const struct engine_answer *answer)
{
	submission->answer(submission->user, answer);
	submission_free(submission);
}

static void conclude_failed(struct submission *submission, enum engine_submit_result result,
			    int error, const char *code, const char *object, const char *action,
			    const char *cause, const char *way_out)
{
	struct failure failure = {0};

	failure_set(&failure, error, object, "%s", action);
	failure_set_code(&failure, code);
	if (cause)
		failure_set_cause(&failure, "%s", cause);
	if (way_out)
		failure_set_way_out(&failure, "%s", way_out);
	conclude(submission, &(struct engine_answer){.result = result, .failure = &failure});
}

static void conclude_busy(struct submission *submission, const struct operation *other)
{
	struct failure failure = {0};

	failure_set(&failure, EBUSY, submission->record->target, "cannot %s",
		    operation_kind_name(submission->record->wish.kind));
	failure_set_code(&failure, "busy");
	failure_set_cause(&failure, "operation %s (%s of %s) works on it%s", other->record->id,
			  operation_kind_name(other->record->wish.kind), other->record->target,
			  other->keeps_locks ? " and is stuck in the kernel" : "");
	failure_set_way_out(&failure, "%s",
			    other->keeps_locks
				    ? "it is free again when the kernel call has come back"
				    : "wait for it, or cancel it");
	conclude(submission, &(struct engine_answer){.result = ENGINE_SUBMIT_BUSY,
						     .operation = other->record,
						     .drain = other->drain,
						     .failure = &failure});
}

/* ---- idempotency ---- */

/* Has this key been used? Concludes the submission where it has. */
static bool conclude_replayed(struct submission *submission)
{
	struct engine *engine = submission->engine;
	const struct operation_record *wanted = submission->record;
	struct operation_record *loaded = NULL;
	struct operation *operation = NULL;

	if (!wanted->idempotency_key[0])
		return false;
	for (size_t i = 0; i < engine->operation_count && !operation; i++)
		if (strcmp(engine->operations[i]->record->idempotency_key,
			   wanted->idempotency_key) == 0 &&
		    strcmp(engine->operations[i]->record->actor, wanted->actor) == 0)
			operation = engine->operations[i];
	if (!operation && journal_find_key(engine->options.journal, wanted->actor,
					   wanted->idempotency_key, &loaded, NULL) == 0)
		operation = engine_add(engine, loaded, false);
	if (!operation)
		return false;
	if (strcmp(operation->record->body_hash, wanted->body_hash) != 0) {
		conclude_failed(submission, ENGINE_SUBMIT_KEY_MISUSED, EINVAL,
				"idempotency_key_misused", wanted->idempotency_key,
				"cannot use this Idempotency-Key", "it was used with another body",
				"take a new key for each request");
		return true;
	}
	conclude(submission, &(struct engine_answer){.result = ENGINE_SUBMIT_REPLAYED,
						     .operation = operation->record,
						     .drain = operation->drain});
	return true;
}

/* ---- who is in the way ---- */

static bool can_be_superseded(const struct operation *operation, const struct wish *wish)
{
	const struct operation_record *record = operation->record;

	bool helps = strcmp(record->actor, OPERATION_ACTOR_LIBVIRT) == 0;

	return (wish->kind == OPERATION_KIND_RESIZE || (wish->kind == OPERATION_KIND_MOVE && helps)) &&
	       record->wish.kind == OPERATION_KIND_RESIZE && !record->parent[0] && !operation->keeps_locks &&
	       !(record->state == OPERATION_STATE_CANCELLING && record->undo_wanted);
}

static bool is_about(const struct operation *operation, const struct wish *wish,
		     const struct snapshot_hold *cover, bool is_deferred)
{
	const struct operation_record *record = operation->record;

	if (operation->phase == OPERATION_PHASE_ENDED && !operation->keeps_locks)
		return false;
	/* Holds are counted, and it looks who works there when its time comes. */
	if (operation_run_leaves_alone(operation))
		return false;
	if (wish->guest[0])
		return strcmp(record->wish.guest, wish->guest) == 0;
	switch (wish->kind) {
	case OPERATION_KIND_UNDRAIN:
		/* Whatever else is undone just now may undo what this one has deferred. */
		if (is_deferred && (record->wish.kind == OPERATION_KIND_UNDRAIN ||
				    operation->course == OPERATION_COURSE_UNDO))
			return true;
		/* fall through */
	case OPERATION_KIND_DRAIN:
		return operation->drain &&
		       engine_drain_covers_overlap(&operation->drain->hold, cover);
	case OPERATION_KIND_CHECK:
		return record->wish.kind == OPERATION_KIND_CHECK;
	case OPERATION_KIND_RESIZE:
	case OPERATION_KIND_MOVE:
	case OPERATION_KIND_COUNT:
		break;
	}
	return false;
}

/* The one to wait for, or NULL. *ret_supersedes: there are others, but all give way. */
static const struct operation *find_busy(struct engine *engine, const struct wish *wish,
					 const struct snapshot *snapshot, bool *ret_supersedes)
{
	struct operation_lock lock = {.kind = OPERATION_LOCK_GUEST};
	struct snapshot_hold cover = {.node = -1};
	const struct operation *holder;
	const struct drain_record *drain =
		wish->kind == OPERATION_KIND_UNDRAIN ? engine_drain_find(engine, wish->drain) : NULL;
	bool is_deferred = drain && drain->state == DRAIN_STATE_DEFERRED, supersedes = false;

	/* What is undone may be out just now, and then the host does not show where it lay. */
	if (drain)
		cover = drain->hold;
	else if (wish->kind == OPERATION_KIND_DRAIN)
		engine_drain_cover(&wish->drain_wish, snapshot, &cover);
	for (size_t i = 0; i < engine->operation_count; i++) {
		if (!is_about(engine->operations[i], wish, &cover, is_deferred))
			continue;
		if (!can_be_superseded(engine->operations[i], wish))
			return engine->operations[i];
		supersedes = true;
	}
	/* A drain that puts a guest's part back holds the guest, too. */
	snprintf(lock.name, sizeof(lock.name), "%s", wish->guest);
	holder = wish->guest[0] && !engine_stuck_of_guest(engine, wish->guest)
			 ? operation_lock_holder(&engine->locks, &lock)
			 : NULL;
	if (holder && !can_be_superseded(holder, wish))
		return holder;
	*ret_supersedes = supersedes;
	return NULL;
}

static void supersede(struct engine *engine, const struct operation *newer)
{
	for (size_t i = 0; i < engine->operation_count && engine->operations[i] != newer; i++) {
		struct operation *older = engine->operations[i];

		if (operation_run_is_ending(older) || older->phase == OPERATION_PHASE_CREATING ||
		    strcmp(older->record->wish.guest, newer->record->wish.guest) != 0 ||
		    !can_be_superseded(older, &newer->record->wish))
			continue;
		snprintf(older->record->superseded_by, sizeof(older->record->superseded_by), "%s",
			 newer->record->id);
		if (older->record->state == OPERATION_STATE_CANCELLING)
			continue;
		older->is_cancelled = true;
		operation_run_enter(older, OPERATION_STATE_CANCELLING);
		operation_run_divert(older, OPERATION_COURSE_SETTLE);
	}
}

/* ---- creating ---- */

static void forget(struct operation *operation)
{
	struct engine *engine = operation->engine;
	struct drain_record *drain = operation->drain;

	if (drain && operation->record->wish.kind == OPERATION_KIND_DRAIN) {
		engine_drain_remove(engine, drain);
	} else if (drain) {
		const struct drain_before *before = &operation->drain_before;

		drain->state = before->state;
		drain->online_bytes = before->online_bytes;
		snprintf(drain->undrain_operation, sizeof(drain->undrain_operation), "%s", before->undrain_operation);
	}
	engine_keep_forget(operation);
	engine_remove(engine, operation);
}

void engine_submit_durable(struct operation *operation, int error, const struct failure *failure)
{
	struct engine *engine = operation->engine;
	engine_answer_fn *answer = operation->answer;
	void *user = operation->answer_user;

	engine->calls--;
	if (error) {
		struct failure unknown = {0};

		failure_set(&unknown, error, "journal", "cannot write");
		answer(user, &(struct engine_answer){.result = ENGINE_SUBMIT_FAILED,
						     .failure = failure ? failure : &unknown});
		forget(operation);
		engine_wake(engine);
		return;
	}
	operation_run_ready(operation, OPERATION_PHASE_READY);
	/* An undrain may have come in between, and is to tell it so. */
	if (operation->kept_for)
		operation_run_wake_parked(engine);
	if (operation->record->wish.kind == OPERATION_KIND_RESIZE ||
	    operation->record->wish.kind == OPERATION_KIND_MOVE)
		supersede(engine, operation);
	answer(user, &(struct engine_answer){.result = ENGINE_SUBMIT_ACCEPTED,
					     .operation = operation->record,
					     .drain = operation->drain});
	engine_tell(engine, operation);
	if (operation->drain)
		engine_tell_drain(engine, operation->drain);
}

static void created(void *user, int error, const struct failure *failure)
{
	engine_submit_durable(user, error, failure);
}

static void set_deadline(struct engine *engine, struct operation_record *record,
			 const struct plan *plan)
{
	uint64_t begin = record->created_at_ms;

	if (record->wish.kind == OPERATION_KIND_DRAIN &&
	    record->wish.drain_wish.not_before_ms > begin)
		begin = record->wish.drain_wish.not_before_ms;
	record->deadline_ms =
		begin + engine_default_timeout_ms(engine, &record->wish, plan->cautious_s);
}

static int create(struct submission *submission, const struct snapshot *snapshot,
		  const struct plan *plan)
{
	struct engine *engine = submission->engine;
	struct journal *journal = engine->options.journal;
	struct operation_record *record = submission->record;
	struct drain_record *drain = NULL;
	struct operation *operation;
	int r = engine_make_id("op", record->id);

	if (r < 0)
		return r;
	record->state = OPERATION_STATE_PENDING;
	record->revision = 1;
	record->created_at_ms = engine_now(engine);
	record->progress.total_bytes = plan->work_bytes;
	record->progress.eta_s = UINT32_MAX;
	record->warnings = plan->warnings;
	memcpy(record->plan_digest, plan->digest, sizeof(record->plan_digest));
	set_deadline(engine, record, plan);
	if (record->wish.kind == OPERATION_KIND_DRAIN) {
		drain = engine_drain_create(engine, record, snapshot);
		if (!drain)
			return -ENOMEM;
	} else if (record->wish.kind == OPERATION_KIND_UNDRAIN) {
		drain = engine_drain_find(engine, record->wish.drain);
	}
	operation = engine_add(engine, TAKE_PTR(submission->record), true);
	if (!operation) {
		if (drain && drain->state == DRAIN_STATE_DRAINING)
			engine_drain_remove(engine, drain);
		return -ENOMEM;
	}
	r = submission->newcomer ? engine_keep_move(operation, submission->newcomer, snapshot) : 0;
	if (r < 0) {
		engine_remove(engine, operation);
		return r;
	}
	operation->drain = drain;
	operation->subject = TAKE_PTR(submission->subject);
	operation->answer = submission->answer;
	operation->answer_user = submission->user;
	if (drain && operation->record->wish.kind == OPERATION_KIND_UNDRAIN) {
		operation->drain_before.state = drain->state;
		operation->drain_before.online_bytes = drain->online_bytes;
		snprintf(operation->drain_before.undrain_operation, sizeof(operation->drain_before.undrain_operation), "%s",
			 drain->undrain_operation);
		drain->state = DRAIN_STATE_UNDRAINING;
		drain->online_bytes = 0;
		drain->newcomers.count = 0;
		snprintf(drain->undrain_operation, sizeof(drain->undrain_operation), "%s",
			 operation->record->id);
	}
	operation_run_await(operation, OPERATION_PHASE_CREATING);
	journal_begin(journal);
	if (drain)
		engine_drain_put(engine, drain);
	r = engine_keep_put(operation);
	if (r == 0)
		r = journal_put_operation(journal, operation->record, created, operation);
	journal_end(journal);
	if (r < 0)
		engine_submit_durable(operation, r, NULL);
	submission_free(submission);
	return 0;
}

/* ---- look, check, plan ---- */

static bool plan_differs(const struct submission *submission, const struct plan *plan)
{
	size_t length = strlen(submission->expect_plan);

	return submission->expects_plan &&
	       (length < SUBMIT_DIGEST_MIN ||
		strncmp(plan->digest, submission->expect_plan, length) != 0);
}

static void conclude_plan_changed(struct submission *submission, const struct plan *plan)
{
	struct failure failure = {0};

	failure_set(&failure, ESTALE, submission->record->target, "cannot begin");
	failure_set_code(&failure, "plan_changed");
	failure_set_cause(&failure, "the plan is %.4s now, %s was expected", plan->digest,
			  submission->expect_plan);
	failure_set_way_out(&failure, "look at the new plan");
	conclude(submission, &(struct engine_answer){.result = ENGINE_SUBMIT_PLAN_CHANGED,
						     .failure = &failure,
						     .plan = plan});
}

/*
 * What a plan cannot even be made for, as against what stands in a plan's way and is shown beside
 * it.
 */
static bool is_ill_posed(const struct failure *failure)
{
	static const char *const codes[] = {
		"unknown_guest",     "unknown_node",   "unknown_dimm",	     "unknown_drain",
		"guest_not_running", "invalid_target", "not_block_multiple", "no_memory_device",
		"above_maximum",     "below_base"};

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (strcmp(failure->code, codes[i]) == 0)
			return true;
	return false;
}

static void consider(struct submission *submission, const struct snapshot *snapshot)
{
	struct engine *engine = submission->engine;
	struct operation_record *record = submission->record;
	const struct snapshot_guest *guest =
		record->wish.guest[0] ? snapshot_guest(snapshot, record->wish.guest) : NULL;
	const struct operation *busy;
	struct plan_input input = {
		.wish = &record->wish,
		.snapshot = snapshot,
		.limits = engine->options.limits,
		.now_ms = engine_now(engine),
		.threads_beside = operation_run_threads_beside(engine, NULL),
		.start_bytes = guest ? guest->current_bytes : 0,
	};
	CLEANUP_FREE const struct wish **beside = operation_run_resizes_beside(engine, NULL, &input.beside_count);
	CLEANUP(plan_freep) struct plan *plan = NULL;
	CLEANUP_FREE struct plan_drain *others = NULL;
	const struct engine_stuck *stuck;
	const struct drain_record *drain;
	struct remainder_list blockers = {0};
	struct failure failure = {0};
	bool supersedes = false;
	int r;

	input.beside = beside;

	if (submission->subject) {
		drain = engine_drain_find(engine, record->wish.drain);
		if (engine_drain_others(engine, drain, &others, &input.drain_count) < 0) {
			conclude_failed(submission, ENGINE_SUBMIT_FAILED, ENOMEM, "no_memory",
					record->target, "cannot plan", NULL, NULL);
			return;
		}
		input.drains = others;
		input.subject = submission->subject->record->steps;
		input.subject_count = submission->subject->record->step_count;
		input.subject_operation = submission->subject->record->id;
	}
	if (guest) {
		snprintf(record->guest_name, sizeof(record->guest_name), "%s", guest->name);
		/* The wish may name the guest by its name: locks go by the UUID. */
		snprintf(record->wish.guest, sizeof(record->wish.guest), "%s", guest->uuid);
	}
	engine_text_target(record);
	r = plan_check(&input, &blockers, &failure);
	if (r < 0 && (!submission->is_dry_run || is_ill_posed(&failure))) {
		conclude(submission, &(struct engine_answer){.result = ENGINE_SUBMIT_REFUSED,
							     .failure = &failure,
							     .blockers = &blockers});
		return;
	}
	plan = plan_dry_run(&input);
	if (!plan) {
		conclude_failed(submission, ENGINE_SUBMIT_FAILED, ENOMEM, "no_memory",
				record->target, "cannot plan", NULL, NULL);
		return;
	}
	if (submission->is_dry_run) {
		conclude(submission, &(struct engine_answer){
					     .result = plan->already_done ? ENGINE_SUBMIT_ALREADY
									  : ENGINE_SUBMIT_ACCEPTED,
					     .failure = r < 0 ? &failure : NULL,
					     .blockers = &blockers,
					     .plan = plan});
		return;
	}
	busy = find_busy(engine, &record->wish, snapshot, &supersedes);
	/* Another with the same key may have come while this one looked. */
	if (conclude_replayed(submission))
		return;
	stuck = engine_stuck_of_guest(engine, record->wish.guest);
	if (busy) {
		conclude_busy(submission, busy);
	} else if (stuck) {
		conclude_failed(submission, ENGINE_SUBMIT_REFUSED, EBUSY, "kernel_stuck", record->target,
				"cannot work on it", stuck->text,
				"ask again when the kernel has let go of it; its log may say what it waits for");
	} else if (supersedes && strcmp(record->actor, OPERATION_ACTOR_LIBVIRT) == 0) {
		conclude_failed(submission, ENGINE_SUBMIT_BUSY, EBUSY, "busy", record->target, "cannot help",
				"somebody's resize works on it", NULL);
	} else if (submission->newcomer && !engine_keep_may(engine, record->wish.drain)) {
		conclude_failed(submission, ENGINE_SUBMIT_BUSY, EBUSY, "busy", record->wish.drain,
				"cannot keep its memory empty", "it is being given back", NULL);
	} else if (plan->already_done && !supersedes) {
		conclude(submission,
			 &(struct engine_answer){.result = ENGINE_SUBMIT_ALREADY, .plan = plan});
	} else if (plan_differs(submission, plan)) {
		conclude_plan_changed(submission, plan);
	} else {
		r = create(submission, snapshot, plan);
		if (r < 0)
			conclude_failed(submission, ENGINE_SUBMIT_FAILED, r, "no_memory", "engine",
					"cannot make an operation", NULL, NULL);
	}
}

static void looked(void *token, int error, const struct snapshot *snapshot,
		   const struct failure *failure)
{
	struct submission *submission = token;
	struct engine *engine = submission->engine;

	engine->calls--;
	if (error) {
		struct failure unknown = {0};

		failure_set(&unknown, error, submission->record->target, "cannot look at");
		conclude(submission,
			 &(struct engine_answer){.result = ENGINE_SUBMIT_FAILED,
						 .failure = failure ? failure : &unknown});
	} else {
		consider(submission, snapshot);
	}
	engine_wake(engine);
}

/* The drain to be undone. Concludes the submission and returns false where there is nothing to do.
 */
static bool find_subject(struct submission *submission)
{
	struct engine *engine = submission->engine;
	struct wish *wish = &submission->record->wish;
	struct drain_record *drain = engine_drain_find(engine, wish->drain);
	struct operation *subject = drain ? engine_find_or_load(engine, drain->operation) : NULL;
	struct operation *undrain;

	if (!subject) {
		conclude_failed(submission, ENGINE_SUBMIT_REFUSED, ENOENT, "unknown_drain",
				wish->drain, "cannot undrain", "there is no such drain", NULL);
		return false;
	}
	undrain = drain->undrain_operation[0]
			  ? engine_find_or_load(engine, drain->undrain_operation)
			  : NULL;
	if (subject->phase != OPERATION_PHASE_ENDED ||
	    (undrain && undrain->phase != OPERATION_PHASE_ENDED)) {
		conclude_busy(submission,
			      subject->phase != OPERATION_PHASE_ENDED ? subject : undrain);
		return false;
	}
	if (drain->state == DRAIN_STATE_RELEASED ||
	    (subject->record->undone && !engine_drain_is_held(drain))) {
		conclude(submission, &(struct engine_answer){.result = ENGINE_SUBMIT_ALREADY,
							     .operation = undrain ? undrain->record
										  : subject->record,
							     .drain = drain});
		return false;
	}
	wish->drain_wish = drain->wish;
	wish->allow |= subject->record->wish.allow;
	submission->subject = subject;
	subject->pins++;
	return true;
}

static void begin(struct engine *engine, const struct engine_submission *given, bool is_dry_run,
		  engine_answer_fn *answer, void *user)
{
	const struct executor *executor = engine->options.executor;
	struct submission *submission = calloc(1, sizeof(*submission));
	struct operation_record *record = submission ? operation_record_new() : NULL;

	if (!record) {
		struct failure failure = {0};

		free(submission);
		failure_set(&failure, ENOMEM, "engine", "cannot make an operation");
		answer(user, &(struct engine_answer){.result = ENGINE_SUBMIT_FAILED,
						     .failure = &failure});
		return;
	}
	submission->engine = engine;
	submission->record = record;
	submission->is_dry_run = is_dry_run;
	submission->answer = answer;
	submission->user = user;
	submission->next = engine->submissions;
	submission->link = &engine->submissions;
	if (submission->next)
		submission->next->link = &submission->next;
	engine->submissions = submission;
	record->wish = *given->wish;
	engine_text_target(record);
	snprintf(record->actor, sizeof(record->actor), "%s", given->actor ? given->actor : "");
	snprintf(record->idempotency_key, sizeof(record->idempotency_key), "%s",
		 given->idempotency_key ? given->idempotency_key : "");
	snprintf(record->body_hash, sizeof(record->body_hash), "%s",
		 given->body_hash ? given->body_hash : "");
	submission->newcomer = given->newcomer ? malloc(sizeof(*submission->newcomer)) : NULL;
	if (given->newcomer && !submission->newcomer) {
		conclude_failed(submission, ENGINE_SUBMIT_FAILED, ENOMEM, "no_memory", record->target,
				"cannot make an operation", NULL, NULL);
		return;
	}
	if (submission->newcomer) {
		*submission->newcomer = *given->newcomer;
		submission->newcomer->child = NULL;
	}
	submission->expects_plan = given->expect_plan != NULL;
	snprintf(submission->expect_plan, sizeof(submission->expect_plan), "%s",
		 given->expect_plan ? given->expect_plan : "");
	if (engine->stopping) {
		conclude_failed(submission, ENGINE_SUBMIT_FAILED, ESHUTDOWN, "stopping", "ballastd",
				"cannot begin anything", "it is stopping",
				"ask again when it has started");
		return;
	}
	if (!is_dry_run && conclude_replayed(submission))
		return;
	/* After the replays: of what was accepted then the time may be over by now. */
	if (record->wish.kind == OPERATION_KIND_DRAIN && record->wish.drain_wish.not_before_ms &&
	    !begin_time_is_allowed((time_t)(engine_now(engine) / 1000),
				   (time_t)(record->wish.drain_wish.not_before_ms / 1000))) {
		conclude_failed(submission, ENGINE_SUBMIT_REFUSED, EINVAL, "invalid_body", record->target,
				"cannot announce a drain", "not_before is over, or more than a year away",
				"give a time within the next year, or none to begin at once");
		return;
	}
	if (!is_dry_run && engine->options.observe) {
		conclude_failed(submission, ENGINE_SUBMIT_OBSERVE_ONLY, EPERM, "observe_only",
				record->target, "cannot begin", "this ballastd only observes",
				"set mode = act in ballastd.conf, or ask for a dry run");
		return;
	}
	if (record->wish.kind == OPERATION_KIND_UNDRAIN && !find_subject(submission))
		return;
	engine->calls++;
	executor->look(executor->user, record, looked, submission);
}

void engine_submit(struct engine *engine, const struct engine_submission *submission,
		   engine_answer_fn *answer, void *user)
{
	begin(engine, submission, false, answer, user);
}

void engine_dry_run(struct engine *engine, const struct wish *wish, engine_answer_fn *answer,
		    void *user)
{
	begin(engine, &(struct engine_submission){.wish = wish}, true, answer, user);
}

void engine_undrain(struct engine *engine, const char *drain, bool keep, uint32_t timeout_s, const char *actor,
		    engine_answer_fn *answer, void *user)
{
	struct wish wish;

	wish_init(&wish, OPERATION_KIND_UNDRAIN);
	snprintf(wish.drain, sizeof(wish.drain), "%s", drain);
	wish.keep = keep;
	wish.timeout_s = timeout_s;
	begin(engine, &(struct engine_submission){.wish = &wish, .actor = actor}, false, answer,
	      user);
}
