/* SPDX-License-Identifier: Apache-2.0 */
#include "step.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "size_text.h"

static const char *const step_kinds[STEP_KIND_COUNT] = {
	[STEP_KIND_ONLINE_POLICY] = "online_policy",
	[STEP_KIND_FREE_HUGE_PAGES] = "free_huge_pages",
	[STEP_KIND_RUN_HOOKS] = "run_hooks",
	[STEP_KIND_REQUEST] = "request",
	[STEP_KIND_COMPACT] = "compact",
	[STEP_KIND_MAKE_GUEST_ROOM] = "make_guest_room",
	[STEP_KIND_RECLAIM] = "reclaim",
	[STEP_KIND_OFFLINE_GUEST_BLOCKS] = "offline_guest_blocks",
	[STEP_KIND_KICK] = "kick",
	[STEP_KIND_AWAIT] = "await",
	[STEP_KIND_SETTLE] = "settle",
	[STEP_KIND_AGENT_COMMIT] = "agent_commit",
	[STEP_KIND_AGENT_UNDO] = "agent_undo",
	[STEP_KIND_BALLOON] = "balloon",
	[STEP_KIND_HOST_POOL] = "host_pool",
	[STEP_KIND_CPUSET] = "cpuset",
	[STEP_KIND_NUMATUNE] = "numatune",
	[STEP_KIND_MEMORY_POLICY] = "memory_policy",
	[STEP_KIND_REPORT_FREE] = "report_free",
	[STEP_KIND_LAZY] = "lazy",
	[STEP_KIND_MOVE_PAGES] = "move",
	[STEP_KIND_CPUS] = "cpus",
	[STEP_KIND_PERSIST] = "persist",
	[STEP_KIND_CORDON] = "cordon",
	[STEP_KIND_UNCORDON] = "uncordon",
	[STEP_KIND_CHILD] = "child",
	[STEP_KIND_HOST_HOOKS] = "host_hooks",
	[STEP_KIND_OFFLINE_BLOCKS] = "offline",
	[STEP_KIND_ONLINE_BLOCKS] = "online",
	[STEP_KIND_SLICE_CPUSETS] = "slice_cpusets",
	[STEP_KIND_EJECT] = "eject",
	[STEP_KIND_UNDO] = "undo",
	[STEP_KIND_PROBE] = "probe",
	[STEP_KIND_PROOF] = "proof",
};
NAME_TABLE_DEFINE(step_kind, step_kinds)

static const char *const step_states[STEP_STATE_COUNT] = {
	[STEP_STATE_PENDING] = "pending", [STEP_STATE_RUNNING] = "running",
	[STEP_STATE_DONE] = "done",	  [STEP_STATE_PARTIAL] = "partial",
	[STEP_STATE_FAILED] = "failed",	  [STEP_STATE_UNDOING] = "undoing",
	[STEP_STATE_UNDONE] = "undone",
};
NAME_TABLE_DEFINE(step_state, step_states)

void step_init(struct step *step, enum step_kind kind)
{
	memset(step, 0, sizeof(*step));
	step->kind = kind;
	step->node = -1;
	memset(step->map, -1, sizeof(step->map));
	memset(step->cells, -1, sizeof(step->cells));
}

void step_done(struct step *step)
{
	free(step->child);
	step->child = NULL;
}

int step_copy(const struct step *step, struct step *ret_copy)
{
	struct wish *child = NULL;

	if (step->child) {
		child = malloc(sizeof(*child));
		if (!child) {
			memset(ret_copy, 0, sizeof(*ret_copy));
			return -ENOMEM;
		}
		*child = *step->child;
	}
	*ret_copy = *step;
	ret_copy->child = child;
	return 0;
}

bool step_brings_home(const struct step *step)
{
	return step->kind == STEP_KIND_CHILD && strcmp(step->text, STEP_TEXT_HOME) == 0;
}

bool step_is_after(const struct step *step)
{
	return step->kind == STEP_KIND_HOST_HOOKS && strcmp(step->text, STEP_TEXT_AFTER) == 0;
}

bool step_shrinks(const struct step *step)
{
	return step->kind == STEP_KIND_CHILD && strcmp(step->text, STEP_TEXT_SHRINK) == 0;
}

bool step_is_of_newcomer(const struct step *step)
{
	return (step->kind == STEP_KIND_CHILD || step->kind == STEP_KIND_HOST_POOL ||
		step->kind == STEP_KIND_SLICE_CPUSETS) &&
	       strcmp(step->text, STEP_TEXT_NEWCOMER) == 0;
}

bool step_replugs(const struct step *step)
{
	return step->kind == STEP_KIND_REQUEST && strcmp(step->text, STEP_TEXT_REPLUG) == 0;
}

bool step_sets_policy(const struct step *step)
{
	return step->kind == STEP_KIND_MEMORY_POLICY || step->kind == STEP_KIND_LAZY;
}

bool step_sets_cpuset(const struct step *step)
{
	return step->kind == STEP_KIND_CPUSET || step->kind == STEP_KIND_NUMATUNE;
}

bool step_places_guest(const struct step *step)
{
	return step->kind == STEP_KIND_HOST_POOL || step->kind == STEP_KIND_CPUSET || step->kind == STEP_KIND_NUMATUNE ||
	       step->kind == STEP_KIND_MEMORY_POLICY || step->kind == STEP_KIND_LAZY ||
	       step->kind == STEP_KIND_MOVE_PAGES || step->kind == STEP_KIND_CPUS;
}

bool step_add_block(struct step *step, uint64_t id)
{
	size_t run = step->block_run_count;

	if (run && step->block_runs[run - 1].last + 1 == id) {
		step->block_runs[run - 1].last = id;
		return true;
	}
	if (run == STEP_BLOCK_RUNS_MAX)
		return false;
	step->block_runs[run].first = step->block_runs[run].last = id;
	step->block_run_count++;
	return true;
}

bool step_has_block(const struct step *step, uint64_t id)
{
	for (size_t i = 0; i < step->block_run_count; i++)
		if (step->block_runs[i].first <= id && id <= step->block_runs[i].last)
			return true;
	return false;
}

uint64_t step_block_count(const struct step *step)
{
	uint64_t count = 0;

	for (size_t i = 0; i < step->block_run_count; i++)
		count += step->block_runs[i].last - step->block_runs[i].first + 1;
	return count;
}

bool step_is_of_same_object(const struct step *a, const struct step *b)
{
	if (a->kind != b->kind)
		return false;
	return a->kind == STEP_KIND_HOST_POOL ? a->node == b->node && a->page_bytes == b->page_bytes
					      : strcmp(a->guest, b->guest) == 0;
}

bool step_is_of_same_blocks(const struct step *a, const struct step *b)
{
	return a->block_run_count == b->block_run_count &&
	       memcmp(a->block_runs, b->block_runs, a->block_run_count * sizeof(a->block_runs[0])) == 0;
}

uint32_t step_timeout_ms(const struct step *step)
{
	return step->kind == STEP_KIND_OFFLINE_BLOCKS || step->kind == STEP_KIND_HOST_HOOKS ? 0 : step->timeout_ms;
}

void step_record_done(struct step_record *record)
{
	step_done(&record->step);
	free(record->before);
	free(record->result);
	record->before = NULL;
	record->result = NULL;
}

const char *step_word(const struct step *step)
{
	if (step->kind == STEP_KIND_CHILD && step->child)
		return operation_kind_name(step->child->kind);
	return step_kind_name(step->kind);
}

#define DESCRIPTION_SIZE 160

static void append(char *text, const char *format, ...) PRINTF_LIKE(2, 3);

static void append(char *text, const char *format, ...)
{
	size_t length = strlen(text);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text + length, DESCRIPTION_SIZE - length, format, arguments);
	va_end(arguments);
}

/* "1", "0,2": what stands behind "node" or "nodes". */
static void append_nodes(char *text, uint64_t nodes)
{
	const char *separator = "";

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		if (!(nodes >> node & 1))
			continue;
		append(text, "%s%d", separator, node);
		separator = ",";
	}
}

static void append_size(char *text, const char *before, uint64_t bytes)
{
	char size[SIZE_TEXT_SIZE];

	append(text, "%s%s", before, size_text_format(bytes, size));
}

/* Sources first, so that "0,1 -> 2" is one arrow where all go to one place. */
static void append_map(char *text, const int8_t *map, size_t count, const char *what)
{
	const char *separator = "";

	for (size_t i = 0; i < count; i++) {
		const char *comma = "";
		bool seen = false;

		if (map[i] < 0)
			continue;
		for (size_t j = 0; j < i; j++)
			seen = seen || map[j] == map[i];
		if (seen)
			continue;
		append(text, "%s%s", separator, what);
		for (size_t j = i; j < count; j++) {
			if (map[j] != map[i])
				continue;
			append(text, "%s%zu", comma, j);
			comma = ",";
		}
		append(text, " -> %d", map[i]);
		separator = ", ";
	}
}

static void append_where(char *text, const struct step *step)
{
	if (step->by_map)
		append_map(text, step->map, SNAPSHOT_NODES_MAX, "");
	else if (step->by_cells)
		append_map(text, step->cells, SNAPSHOT_CELLS_MAX, "cell ");
	else
		append_nodes(text, step->nodes);
}

static void append_blocks(char *text, const struct step *step)
{
	append(text,
	       step->block_run_count == 1 && step->block_runs[0].first == step->block_runs[0].last
		       ? "block "
		       : "blocks ");
	for (size_t i = 0; i < step->block_run_count; i++) {
		append(text, "%s%" PRIu64, i ? "," : "", step->block_runs[i].first);
		if (step->block_runs[i].last != step->block_runs[i].first)
			append(text, "-%" PRIu64, step->block_runs[i].last);
	}
}

static void append_child(char *text, const struct step *step)
{
	char target[96];

	if (!step->child)
		return;
	append(text, "%s",
	       step->guest_name[0] ? step->guest_name : wish_target(step->child, target));
	if (step->bytes)
		append_size(text, "  ", step->bytes);
	if (step_shrinks(step))
		append(text, " less");
	if (step->child->kind != OPERATION_KIND_MOVE)
		return;
	append(text, "  ");
	switch (step->child->move.form) {
	case MOVE_FORM_TO:
		append(text, "to ");
		append_nodes(text, step->child->move.to_nodes);
		break;
	case MOVE_FORM_MAP:
		append_map(text, step->child->move.map, SNAPSHOT_NODES_MAX, "");
		break;
	case MOVE_FORM_CELLS:
		append_map(text, step->child->move.cells, SNAPSHOT_CELLS_MAX, "cell ");
		break;
	case MOVE_FORM_NEAR_CPUS:
		append(text, "near its CPUs");
		break;
	case MOVE_FORM_COUNT:
		break;
	}
	if (step->text[0])
		append(text, "  %s", step->text);
}

const char *step_describe(const struct step *step, char text[160])
{
	text[0] = '\0';
	if (step->guest_name[0] && step->kind != STEP_KIND_CHILD)
		append(text, "%s  ", step->guest_name);
	switch (step->kind) {
	case STEP_KIND_ONLINE_POLICY:
		append(text, "%s", step->text);
		break;
	case STEP_KIND_FREE_HUGE_PAGES:
	case STEP_KIND_RUN_HOOKS:
	case STEP_KIND_MAKE_GUEST_ROOM:
	case STEP_KIND_RECLAIM:
	case STEP_KIND_OFFLINE_GUEST_BLOCKS:
		if (step->device[0])
			append(text, "%s  ", step->device);
		append_size(text, "", step->bytes);
		if (step->device[0])
			append(text, "  (%s)", step->text);
		else if (step->range_count)
			append(text, " in %zu ranges", step->range_count);
		break;
	case STEP_KIND_REQUEST:
	case STEP_KIND_KICK:
	case STEP_KIND_SETTLE:
	case STEP_KIND_BALLOON:
		if (step->device[0])
			append(text, "%s  ", step->device);
		append_size(text, "to ", step->target_bytes);
		if (step->text[0])
			append(text, "  (%s)", step->text);
		break;
	case STEP_KIND_AWAIT:
		if (step->text[0])
			append(text, "for the guest's %s", step->text);
		break;
	case STEP_KIND_COMPACT:
	case STEP_KIND_AGENT_COMMIT:
	case STEP_KIND_AGENT_UNDO:
	case STEP_KIND_REPORT_FREE:
		break;
	case STEP_KIND_HOST_POOL:
		append(text, "node %d", step->node);
		append_size(text, "  pages of ", step->page_bytes);
		append_size(text, " to ", step->target_bytes);
		break;
	case STEP_KIND_CPUSET:
	case STEP_KIND_NUMATUNE:
	case STEP_KIND_CPUS:
	case STEP_KIND_PERSIST:
		append(text, "nodes ");
		append_nodes(text, step->nodes);
		break;
	case STEP_KIND_MEMORY_POLICY:
		append(text, "%s%s ", policy_mode_name(step->mode), step->loose ? " loosely" : "");
		append_where(text, step);
		break;
	case STEP_KIND_LAZY:
	case STEP_KIND_MOVE_PAGES:
		append_size(text, "", step->bytes);
		append(text, "  ");
		append_where(text, step);
		break;
	case STEP_KIND_CORDON:
	case STEP_KIND_UNCORDON:
		if (step->dimm[0])
			append(text, "dimm %s", step->dimm);
		else if (step->node >= 0)
			append(text, "node %d", step->node);
		else if (step->range_count)
			append(text, "range 0x%" PRIx64 "-0x%" PRIx64, step->ranges[0].start,
			       step->ranges[0].end);
		break;
	case STEP_KIND_CHILD:
		append_child(text, step);
		break;
	case STEP_KIND_HOST_HOOKS:
		append(text, "%s  %s", step->text, step->hook_names);
		break;
	case STEP_KIND_OFFLINE_BLOCKS:
	case STEP_KIND_ONLINE_BLOCKS:
		append_blocks(text, step);
		break;
	case STEP_KIND_SLICE_CPUSETS:
		append(text, "without nodes ");
		append_nodes(text, step->nodes);
		append(text, "  %s", step->slices);
		break;
	case STEP_KIND_EJECT:
		append(text, "dimm %s", step->dimm);
		break;
	case STEP_KIND_UNDO:
		append(text, "step %u", step->undo_n);
		if (step->undo_operation[0])
			append(text, " of %s", step->undo_operation);
		else if (step->bytes)
			append_size(text, "  ", step->bytes);
		if (step->text[0])
			append(text, "  (%s)", step->text);
		break;
	case STEP_KIND_PROBE:
		append(text, "kernel");
		break;
	case STEP_KIND_PROOF:
		append(text, "%s", step->text);
		append_size(text, "  pages of ", step->page_bytes);
		append(text, "  nodes ");
		append_nodes(text, step->nodes);
		break;
	case STEP_KIND_COUNT:
		break;
	}
	/* A kind without words of its own leaves the guest's name and blanks. */
	for (size_t length = strlen(text); length > 0 && text[length - 1] == ' '; length--)
		text[length - 1] = '\0';
	return text;
}
