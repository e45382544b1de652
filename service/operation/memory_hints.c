/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_hints.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "hint_record.h"
#include "journal.h"

/* Pieces of memory of which something was said: more go bad on no host that is still in service. */
#define PIECES_MAX 256
/* More than stand on any host at a time. */
#define DRAINS_MAX 256
/*
 * After an operation was begun for a piece of memory, or refused, so long no other is: whoever watches a DIMM repeats
 * himself, and an operator who has taken a drain back does not want it again at once.
 */
#define PAUSE_MS 600000
/* How often the same was said is written down no more often than that: errors can come by the thousand. */
#define WRITE_MS 60000

struct piece {
	struct hint_record record;
	uint64_t written_at_ms; /* 0: never */
	bool is_submitting;
};

struct submission {
	struct submission *next, **link;
	struct memory_hints *hints; /* borrowed */
	struct snapshot_hint hint;
	enum hint_action wanted;
	memory_hints_answer_fn *answer;
	void *user;
};

struct memory_hints {
	struct memory_hints_options options;
	char boot_id[DRAIN_BOOT_ID_SIZE];
	size_t count;
	struct piece pieces[PIECES_MAX];
	struct submission *submissions; /* owned: the engine has not answered them yet */
};

struct memory_hints *memory_hints_new(const struct memory_hints_options *options)
{
	struct memory_hints *hints = calloc(1, sizeof(*hints));

	if (!hints)
		return NULL;
	hints->options = *options;
	snprintf(hints->boot_id, sizeof(hints->boot_id), "%s", options->boot_id ? options->boot_id : "");
	return hints;
}

struct memory_hints *memory_hints_free(struct memory_hints *hints)
{
	while (hints && hints->submissions) {
		struct submission *submission = hints->submissions;

		hints->submissions = submission->next;
		free(submission);
	}
	free(hints);
	return NULL;
}

/* ---- which memory is meant ---- */

static const struct snapshot_block *block_at(const struct snapshot *snapshot, uint64_t address)
{
	for (size_t i = 0; i < snapshot->block_count; i++) {
		const struct snapshot_block *block = &snapshot->blocks[i];

		if (address >= block->start && address - block->start < block->size_bytes)
			return block;
	}
	return NULL;
}

/* Of two slots that share a block the one that has the address; else the one that has any of the block. */
static const struct snapshot_dimm *dimm_at(const struct snapshot *snapshot, const struct snapshot_range *range)
{
	for (size_t i = 0; i < snapshot->dimm_count; i++)
		for (size_t j = 0; j < snapshot->dimms[i].range_count; j++)
			if (range->start < snapshot->dimms[i].ranges[j].end && snapshot->dimms[i].ranges[j].start < range->end)
				return &snapshot->dimms[i];
	return NULL;
}

static int fail(struct failure *failure, int error, const char *code, const char *object, const char *action,
		const char *cause, const char *way_out)
{
	failure_set(failure, error, object, "%s", action);
	failure_set_code(failure, code);
	failure_set_cause(failure, "%s", cause);
	failure_set_way_out(failure, "%s", way_out);
	return -error;
}

static int refuse(struct failure *failure, int error, const char *code, const char *object, const char *cause,
		  const char *way_out)
{
	return fail(failure, error, code, object, "cannot take the hint", cause, way_out);
}

/* The hint is taken all the same. */
static void begin_nothing(struct failure *failure, int error, const char *code, const char *cause, const char *way_out)
{
	fail(failure, error, code, "ballastd", "begins nothing for it", cause, way_out);
}

static int locate_dimm(const struct snapshot *snapshot, const char *id, struct snapshot_hint *hint, struct failure *failure)
{
	const struct snapshot_dimm *dimm = snapshot_dimm(snapshot, id);
	char object[96];

	snprintf(object, sizeof(object), "dimm %s", id);
	if (!dimm)
		return refuse(failure, ENOENT, "unknown_dimm", object, "there is no such DIMM",
			      "list them with ballastctl dimms");
	if (snapshot_dimm_is_out(dimm))
		return refuse(failure, EINVAL, "invalid_target", object, "it is not plugged in",
			      "list what is with ballastctl dimms");
	memcpy(hint->dimm, dimm->id, sizeof(hint->dimm));
	hint->node = dimm->node;
	return 0;
}

static int locate_address(const struct snapshot *snapshot, uint64_t address, struct snapshot_hint *hint,
			  struct failure *failure)
{
	const struct snapshot_block *block = block_at(snapshot, address);
	const struct snapshot_dimm *dimm;
	char object[96];

	snprintf(object, sizeof(object), "address 0x%" PRIx64, address);
	if (!block)
		return refuse(failure, EINVAL, "invalid_target", object, "no memory of this host lies there",
			      "give a physical address of the host; ballastctl blocks lists its memory");
	dimm = dimm_at(snapshot, &(struct snapshot_range){address, address + 1});
	hint->range = (struct snapshot_range){block->start, block->start + block->size_bytes};
	if (!dimm)
		dimm = dimm_at(snapshot, &hint->range);
	if (dimm)
		memcpy(hint->dimm, dimm->id, sizeof(hint->dimm));
	hint->node = block->node;
	hint->address = address;
	return 0;
}

static int locate(const struct snapshot *snapshot, const struct memory_hint *hint, struct snapshot_hint *ret_hint,
		  struct failure *failure)
{
	*ret_hint = (struct snapshot_hint){.risk = hint->risk, .worst = hint->risk, .node = -1};
	if (!snapshot->observed_at_ms)
		return refuse(failure, EAGAIN, "not_ready", "host", "it has not been looked at yet", "try again");
	if (hint->dimm[0])
		return locate_dimm(snapshot, hint->dimm, ret_hint, failure);
	return locate_address(snapshot, hint->address, ret_hint, failure);
}

/* ---- what is known ---- */

static struct piece *find_piece(struct memory_hints *hints, const struct snapshot_hint *hint)
{
	for (size_t i = 0; i < hints->count; i++) {
		const struct snapshot_hint *known = &hints->pieces[i].record.hint;

		if (known->range.start == hint->range.start && known->range.end == hint->range.end &&
		    strcmp(known->dimm, hint->dimm) == 0)
			return &hints->pieces[i];
	}
	return NULL;
}

/* Of those that are said to be least bad, the one of which nothing was heard for longest. */
static struct piece *least_piece(struct memory_hints *hints)
{
	struct piece *least = &hints->pieces[0];

	for (size_t i = 1; i < hints->count; i++) {
		struct piece *piece = &hints->pieces[i];

		if (piece->record.hint.worst < least->record.hint.worst ||
		    (piece->record.hint.worst == least->record.hint.worst && piece->record.hint.at_ms < least->record.hint.at_ms))
			least = piece;
	}
	return least;
}

/* What cannot be written is lost with the daemon, and said again by whoever watches the memory. */
static void write_down(struct memory_hints *hints, struct piece *piece)
{
	piece->written_at_ms = hints->options.now_ms(hints->options.user);
	if (hints->options.journal)
		journal_put_hint(hints->options.journal, &piece->record, NULL, NULL);
}

static void forget(struct memory_hints *hints, struct piece *piece)
{
	piece->record.hint.count = 0;
	write_down(hints, piece);
}

static struct piece *new_piece(struct memory_hints *hints, const struct snapshot_hint *hint)
{
	bool is_full = hints->count == PIECES_MAX;
	struct piece *piece = is_full ? least_piece(hints) : &hints->pieces[hints->count++];

	if (is_full)
		forget(hints, piece);
	*piece = (struct piece){.record.hint = *hint};
	memcpy(piece->record.boot_id, hints->boot_id, sizeof(piece->record.boot_id));
	return piece;
}

static struct piece *keep(struct memory_hints *hints, const struct snapshot_hint *said)
{
	struct piece *piece = find_piece(hints, said);
	uint64_t now = hints->options.now_ms(hints->options.user);
	struct snapshot_hint *hint;
	bool is_news;

	if (!piece)
		piece = new_piece(hints, said);
	hint = &piece->record.hint;
	is_news = !hint->count || hint->risk != said->risk || now < piece->written_at_ms ||
		  now >= piece->written_at_ms + WRITE_MS;
	hint->node = said->node;
	hint->address = said->address;
	hint->risk = said->risk;
	if (said->risk > hint->worst)
		hint->worst = said->risk;
	hint->count++;
	hint->at_ms = now;
	if (is_news)
		write_down(hints, piece);
	return piece;
}

int memory_hints_load(struct memory_hints *hints, struct failure *failure)
{
	struct hint_record *records = calloc(PIECES_MAX, sizeof(*records));
	size_t count = 0;
	int r;

	if (!records)
		return failure_set(failure, ENOMEM, "ballastd", "cannot keep hints");
	r = journal_load_hints(hints->options.journal, records, PIECES_MAX, &count, failure);
	for (size_t i = 0; i < count; i++) {
		struct piece piece = {.record = records[i]};

		/* A row of another boot stays for nobody; one of which that is not known is believed. */
		if (records[i].boot_id[0] && hints->boot_id[0] && strcmp(records[i].boot_id, hints->boot_id) != 0)
			forget(hints, &piece);
		else
			hints->pieces[hints->count++] = piece;
	}
	free(records);
	return r;
}

int memory_hints_see(struct memory_hints *hints, struct snapshot *snapshot)
{
	size_t kept = 0;

	for (size_t i = 0; i < hints->count; i++) {
		const struct snapshot_dimm *dimm = snapshot_dimm(snapshot, hints->pieces[i].record.hint.dimm);

		if (dimm && snapshot_dimm_is_out(dimm))
			forget(hints, &hints->pieces[i]);
		else
			hints->pieces[kept++] = hints->pieces[i];
	}
	hints->count = kept;
	free(snapshot->hints);
	snapshot->hints = NULL;
	snapshot->hint_count = 0;
	for (size_t i = 0; i < hints->count; i++) {
		struct snapshot_hint *seen = snapshot_add_hint(snapshot);

		if (!seen)
			return -ENOMEM;
		*seen = hints->pieces[i].record.hint;
	}
	return 0;
}

/* ---- what is done about it ---- */

static bool is_of_target(const struct snapshot *snapshot, const struct wish_drain *wish, const struct snapshot_block *block)
{
	const struct snapshot_range *ranges = &wish->range;
	size_t count = 1;

	if (wish->target == DRAIN_TARGET_DIMM) {
		const struct snapshot_dimm *dimm = snapshot_dimm(snapshot, wish->dimm);

		ranges = dimm ? dimm->ranges : NULL;
		count = dimm ? dimm->range_count : 0;
	}
	return snapshot_block_is_in(block, ranges, count);
}

/* Is all of the target in what that drain covers? */
static bool covers(const struct drain_record *drain, const struct snapshot *snapshot, const struct wish_drain *wish)
{
	size_t blocks = 0;

	for (size_t i = 0; i < snapshot->block_count; i++) {
		if (!is_of_target(snapshot, wish, &snapshot->blocks[i]))
			continue;
		if (!snapshot_hold_has(&drain->hold, &snapshot->blocks[i]))
			return false;
		blocks++;
	}
	return blocks > 0;
}

/*
 * Has it done what is wanted, or is it at it? Not one that has ended before it was done, nor one that is given back. One that
 * only keeps others away has moved nothing.
 */
static bool serves(const struct memory_hints *hints, const struct drain_record *drain, const struct wish_drain *wish)
{
	bool is_at_work = drain->state == DRAIN_STATE_DRAINING, is_held = drain->hold.drain[0] != '\0';

	if (wish->finish == DRAIN_FINISH_CORDON)
		return is_at_work || (is_held && drain->state != DRAIN_STATE_UNDRAINING);
	if (drain->wish.finish == DRAIN_FINISH_CORDON || engine_drain_is_announced(hints->options.engine, drain))
		return false;
	return is_at_work || (is_held && drain->state == DRAIN_STATE_HELD);
}

/* A drain that serves all of it, whoever asked for that and however it is to end; NULL: none. */
static const struct drain_record *standing_drain(const struct memory_hints *hints, const struct snapshot *snapshot,
						 const struct wish_drain *wish)
{
	const struct drain_record *drains[DRAINS_MAX];
	size_t count = engine_drains(hints->options.engine, drains, DRAINS_MAX);

	for (size_t i = 0; i < count; i++)
		if (serves(hints, drains[i], wish) && covers(drains[i], snapshot, wish))
			return drains[i];
	return NULL;
}

static void conclude(struct submission *submission, struct memory_hints_answer *answer)
{
	struct piece *piece = find_piece(submission->hints, &submission->hint);

	if (piece)
		piece->is_submitting = false;
	answer->hint = &submission->hint;
	answer->wanted = submission->wanted;
	submission->answer(submission->user, answer);
	*submission->link = submission->next;
	if (submission->next)
		submission->next->link = submission->link;
	free(submission);
}

static void on_engine_answer(void *user, const struct engine_answer *said)
{
	struct submission *submission = user;
	struct memory_hints_answer answer = {.operation = said->operation, .drain = said->drain};
	struct failure failure = {0};

	switch (said->result) {
	case ENGINE_SUBMIT_ACCEPTED:
		answer.is_new = true;
		answer.action = submission->wanted;
		break;
	case ENGINE_SUBMIT_ALREADY:
	case ENGINE_SUBMIT_REPLAYED:
		answer.action = submission->wanted;
		break;
	case ENGINE_SUBMIT_OBSERVE_ONLY:
		begin_nothing(&failure, EPERM, "observe_only", "it plans and changes nothing",
			      "set mode = act in ballastd.conf");
		answer.failure = &failure;
		break;
	/* Whoever works there may have another end in mind. */
	case ENGINE_SUBMIT_BUSY:
	case ENGINE_SUBMIT_PLAN_CHANGED:
	case ENGINE_SUBMIT_REFUSED:
	case ENGINE_SUBMIT_KEY_MISUSED:
	case ENGINE_SUBMIT_FAILED:
		begin_nothing(&failure, EIO, "internal", "no reason was told", "look at its log");
		answer.failure = said->failure ? said->failure : &failure;
		answer.blockers = said->blockers;
		break;
	}
	conclude(submission, &answer);
}

/* Was that tried for this piece, or for another, a short time ago, and is the risk no worse? */
static bool was_tried(const struct memory_hints *hints, const struct hint_record *tried, const struct piece *piece)
{
	uint64_t now = hints->options.now_ms(hints->options.user);

	/* A clock that was set back says nothing: to wait for it could take for ever. */
	return tried->tried_at_ms && now >= tried->tried_at_ms && now < tried->tried_at_ms + PAUSE_MS &&
	       piece->record.hint.risk <= tried->tried_risk;
}

/* Why nothing is begun now although the policy would; false: it is. */
static bool is_paused(const struct memory_hints *hints, const struct piece *piece, const char *target, struct failure *failure)
{
	for (size_t i = 0; i < hints->count; i++) {
		const struct piece *other = &hints->pieces[i];

		if (other != piece && strcmp(other->record.tried_target, target) != 0)
			continue;
		if (other->is_submitting) {
			begin_nothing(failure, EBUSY, "conflict", "an earlier hint of this memory is just being decided", "");
			return true;
		}
		if (was_tried(hints, &other->record, piece)) {
			begin_nothing(failure, EBUSY, "conflict", "a hint of this memory was acted upon or refused within the last 10 minutes",
				      "drain it with ballastctl drain");
			return true;
		}
	}
	return false;
}

static void act(struct memory_hints *hints, struct piece *piece, const struct wish *wish, const char *actor,
		memory_hints_answer_fn *answer, void *user)
{
	struct submission *submission = calloc(1, sizeof(*submission));
	struct memory_hints_answer said = {.hint = &piece->record.hint,
					   .wanted = hints->options.policy->actions[piece->record.hint.risk]};
	struct failure failure = {0};

	if (!submission) {
		begin_nothing(&failure, ENOMEM, "out_of_memory", "memory is short", "try again");
		said.failure = &failure;
		answer(user, &said);
		return;
	}
	*submission = (struct submission){.next = hints->submissions,
					  .link = &hints->submissions,
					  .hints = hints,
					  .hint = piece->record.hint,
					  .wanted = said.wanted,
					  .answer = answer,
					  .user = user};
	if (submission->next)
		submission->next->link = &submission->next;
	hints->submissions = submission;
	piece->is_submitting = true;
	piece->record.tried_at_ms = piece->record.hint.at_ms;
	piece->record.tried_risk = piece->record.hint.risk;
	wish_target(wish, piece->record.tried_target);
	write_down(hints, piece);
	engine_submit(hints->options.engine, &(struct engine_submission){.wish = wish, .actor = actor}, on_engine_answer,
		      submission);
}

void memory_hints_take(struct memory_hints *hints, const struct snapshot *snapshot, const struct memory_hint *hint,
		       const char *actor, memory_hints_answer_fn *answer, void *user)
{
	struct memory_hints_answer said = {0};
	struct failure failure = {0};
	struct snapshot_hint located;
	struct piece *piece;
	struct wish wish;
	char target[96];

	said.failure = &failure;
	said.error = locate(snapshot, hint, &located, &failure);
	if (said.error) {
		answer(user, &said);
		return;
	}
	piece = keep(hints, &located);
	located = piece->record.hint;
	said.hint = &located;
	said.wanted = hints->options.policy->actions[hint->risk];
	/* Whoever is told of it may look, and that may move the pieces (memory_hints_see()). */
	if (hints->options.changed)
		hints->options.changed(hints->options.user, &located);
	piece = find_piece(hints, &located);
	if (!piece || !hint_policy_wish(hints->options.policy, &located, &wish)) {
		said.failure = NULL;
		answer(user, &said);
		return;
	}
	said.drain = standing_drain(hints, snapshot, &wish.drain_wish);
	if (said.drain) {
		said.failure = NULL;
		said.action = said.wanted;
		said.operation = engine_operation(hints->options.engine, drain_record_operation(said.drain));
		answer(user, &said);
		return;
	}
	if (is_paused(hints, piece, wish_target(&wish, target), &failure))
		answer(user, &said);
	else
		act(hints, piece, &wish, actor, answer, user);
}
