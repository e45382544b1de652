/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "unit.h"

static void add_blocks(struct world *world, int node, uint64_t start, unsigned count,
		       unsigned kernel)
{
	for (unsigned i = 0; i < count; i++) {
		struct snapshot_block *block = snapshot_add_block(world->snapshot);

		block->start = start + i * WORLD_BLOCK;
		block->id = block->start / WORLD_BLOCK;
		block->size_bytes = WORLD_BLOCK;
		block->node = node;
		block->state = BLOCK_STATE_ONLINE;
		block->zone = i < kernel ? BLOCK_ZONE_NORMAL : BLOCK_ZONE_MOVABLE;
	}
}

void world_init(struct world *world)
{
	static const uint8_t distances[4][4] = {
		{10, 20, 20, 25}, {20, 10, 20, 12}, {20, 20, 10, 20}, {25, 12, 20, 10}};
	struct snapshot_dimm *dimm;

	memset(world, 0, sizeof(*world));
	world->snapshot = snapshot_new();
	world->snapshot->block_bytes = WORLD_BLOCK;
	plan_limits_init(&world->limits);
	world->limits.reserve_bytes = 700 * MIB;
	for (int id = 0; id < 4; id++) {
		struct snapshot_node *node = snapshot_add_node(world->snapshot);

		node->id = id;
		node->has_memory = true;
		node->has_cpus = id < 2;
		node->total_bytes = id < 3 ? 2 * GIB : GIB;
		node->free_bytes = id < 3 ? 1400 * MIB : GIB;
		node->pool_count = 1;
		node->pools[0].page_bytes = 2 * MIB;
		for (int other = 0; other < 4; other++)
			node->distances[other] = distances[id][other];
		add_blocks(world, id, (uint64_t)id * 2 * GIB, id < 3 ? 16 : 8, id < 3 ? 8 : 0);
	}
	dimm = snapshot_add_dimm(world->snapshot);
	strcpy(dimm->id, "acpi-MP00");
	dimm->node = 3;
	dimm->range_count = 1;
	dimm->ranges[0] = (struct snapshot_range){6 * GIB, 7 * GIB};
	dimm->movable = ANSWER_YES;
	dimm->ejectable = true;
	world->input = (struct plan_input){.wish = &world->wish,
					   .snapshot = world->snapshot,
					   .limits = &world->limits,
					   .now_ms = 1000};
}

void world_add_second_dimm(struct world *world)
{
	struct snapshot_dimm *dimm = snapshot_add_dimm(world->snapshot);

	strcpy(dimm->id, "acpi-MP01");
	dimm->node = 3;
	dimm->range_count = 1;
	dimm->ranges[0] = (struct snapshot_range){7 * GIB, 8 * GIB};
	for (unsigned i = 0; i < 8; i++) {
		struct snapshot_block *block = snapshot_add_block(world->snapshot);

		*block = (struct snapshot_block){.id = 56 + i,
						 .start = 7 * GIB + i * WORLD_BLOCK,
						 .size_bytes = WORLD_BLOCK,
						 .node = 3,
						 .zone = BLOCK_ZONE_MOVABLE};
	}
	snapshot_node(world->snapshot, 3)->total_bytes += GIB;
	snapshot_node(world->snapshot, 3)->free_bytes += GIB;
}

void world_done(struct world *world)
{
	if (world->decision.kind == DECISION_KIND_STEP)
		step_done(&world->decision.step);
	for (size_t i = 0; i < world->history_count; i++)
		step_record_done(&world->history[i]);
	free(world->history);
	snapshot_free(world->snapshot);
}

void world_undrain(struct world *world)
{
	world->input.subject = world->history;
	world->input.subject_count = world->history_count;
	world->input.subject_operation = "op-7";
	world->history = NULL;
	world->history_count = 0;
	world->wish.kind = OPERATION_KIND_UNDRAIN;
}

void world_undrain_done(struct world *world)
{
	for (size_t i = 0; i < world->input.subject_count; i++)
		step_record_done((struct step_record *)&world->input.subject[i]);
	free((void *)world->input.subject);
	world_done(world);
}

struct snapshot_guest *world_add_guest(struct world *world, const char *name, int node,
				       uint64_t bytes)
{
	struct snapshot_guest *guest = snapshot_add_guest(world->snapshot);

	snprintf(guest->name, sizeof(guest->name), "%s", name);
	snprintf(guest->uuid, sizeof(guest->uuid), "uuid-%s", name);
	guest->state = GUEST_STATE_RUNNING;
	guest->pid = 100;
	guest->base_bytes = guest->max_bytes = guest->current_bytes = guest->requested_bytes =
		512 * MIB;
	guest->node_bytes[node] = bytes;
	guest->resident_bytes = bytes;
	guest->surveyed = true;
	guest->backing_count = 1;
	guest->backings[0] = (struct snapshot_backing){BACKING_KIND_MEMFD, 4096, bytes, 0};
	guest->cpu_nodes = 1;
	snapshot_node(world->snapshot, node)->free_bytes -= bytes;
	return guest;
}

struct snapshot_device *world_add_device(struct snapshot_guest *guest, const char *alias,
					 uint64_t size_bytes, uint64_t current_bytes)
{
	struct snapshot_device *device = &guest->devices[guest->device_count++];

	snprintf(device->alias, sizeof(device->alias), "%s", alias);
	device->size_bytes = size_bytes;
	device->block_bytes = 2 * MIB;
	device->current_bytes = device->requested_bytes = current_bytes;
	guest->max_bytes += size_bytes;
	guest->current_bytes += current_bytes;
	guest->requested_bytes += current_bytes;
	return device;
}

void world_add_agent(struct snapshot_guest *guest, uint64_t available_bytes,
		     uint64_t huge_free_bytes)
{
	struct snapshot_agent *agent = &guest->agent;

	agent->state = AGENT_STATE_READY;
	agent->features = (1 << (AGENT_FEATURE_REPORT_FREE + 1)) - 1;
	agent->reported = true;
	agent->memory_total_bytes = guest->current_bytes;
	agent->keep_bytes = guest->current_bytes / 32;
	agent->memory_free_bytes = agent->memory_available_bytes = available_bytes;
	agent->huge_free_bytes = huge_free_bytes;
	agent->normal_bytes = guest->base_bytes;
	agent->movable_bytes = guest->current_bytes - guest->base_bytes;
	strcpy(agent->online_policy, "online_movable");
}

void world_wish_resize(struct world *world, const char *guest, uint64_t target_bytes)
{
	wish_init(&world->wish, OPERATION_KIND_RESIZE);
	snprintf(world->wish.guest, sizeof(world->wish.guest), "uuid-%s", guest);
	world->wish.resize.target_bytes = target_bytes;
	world->input.start_bytes = snapshot_guest(world->snapshot, guest)->current_bytes;
}

void world_wish_move(struct world *world, const char *guest, uint64_t to_nodes)
{
	wish_init(&world->wish, OPERATION_KIND_MOVE);
	snprintf(world->wish.guest, sizeof(world->wish.guest), "uuid-%s", guest);
	world->wish.move.form = MOVE_FORM_TO;
	world->wish.move.to_nodes = to_nodes;
}

void world_wish_map(struct world *world, const char *guest, int from, int to)
{
	world_wish_move(world, guest, 0);
	world->wish.move.form = MOVE_FORM_MAP;
	world->wish.move.map[from] = (int8_t)to;
}

void world_wish_drain_dimm(struct world *world, enum drain_finish finish)
{
	wish_init(&world->wish, OPERATION_KIND_DRAIN);
	strcpy(world->wish.drain, "d1");
	world->wish.drain_wish.target = DRAIN_TARGET_DIMM;
	strcpy(world->wish.drain_wish.dimm, "acpi-MP00");
	world->wish.drain_wish.finish = finish;
}

void world_check_code(struct world *world, const char *code)
{
	struct remainder_list blockers;
	struct failure failure;

	CHECK_INT(plan_check(&world->input, &blockers, &failure), code[0] ? -EPERM : 0);
	CHECK_STR(failure.code, code);
}

const struct decision *world_next(struct world *world)
{
	if (world->decision.kind == DECISION_KIND_STEP)
		step_done(&world->decision.step);
	world->input.snapshot = world->snapshot;
	world->input.history = world->history;
	world->input.history_count = world->history_count;
	plan_next(&world->input, &world->decision);
	CHECK_TRUE(world->decision.kind < DECISION_KIND_COUNT);
	return &world->decision;
}

static struct step_record *add_record(struct world *world)
{
	world->history =
		reallocarray(world->history, world->history_count + 1, sizeof(*world->history));
	assert(world->history);
	world->history_count++;
	world->input.history = world->history;
	world->input.history_count = world->history_count;
	return &world->history[world->history_count - 1];
}

struct step_record *world_record(struct world *world, enum step_state state, uint64_t bytes_done)
{
	struct step_record *record = add_record(world);

	memset(record, 0, sizeof(*record));
	assert(world->decision.kind == DECISION_KIND_STEP);
	step_copy(&world->decision.step, &record->step);
	record->n = (unsigned)world->history_count;
	record->state = state;
	record->bytes_done = bytes_done;
	record->flat = state != STEP_STATE_DONE && state != STEP_STATE_FAILED;
	return record;
}

struct step_record *world_gain(struct world *world, uint64_t bytes)
{
	const struct step *step = &world->decision.step;
	struct snapshot_guest *guest = snapshot_guest(world->snapshot, step->guest);
	enum step_state state = step->kind == STEP_KIND_AWAIT
					? (bytes ? STEP_STATE_DONE : STEP_STATE_PARTIAL)
					: (bytes >= step->bytes ? STEP_STATE_DONE : STEP_STATE_PARTIAL);

	for (size_t i = 0; i < guest->device_count; i++) {
		struct snapshot_device *device = &guest->devices[i];

		if (strcmp(device->alias, step->device) != 0)
			continue;
		if (step->kind == STEP_KIND_REQUEST || step->kind == STEP_KIND_KICK) {
			bool grow = step->target_bytes > device->current_bytes;

			device->current_bytes += grow ? bytes : -bytes;
			guest->current_bytes += grow ? bytes : -bytes;
		}
		if (step->kind == STEP_KIND_REQUEST || step->kind == STEP_KIND_KICK ||
		    step->kind == STEP_KIND_SETTLE)
			device->requested_bytes = step->target_bytes;
	}
	if (step->kind == STEP_KIND_FREE_HUGE_PAGES)
		guest->agent.huge_free_bytes -= bytes;
	return world_record(world, state, bytes);
}

void world_perform(struct world *world)
{
	struct step_record *record = add_record(world);

	assert(world->decision.kind == DECISION_KIND_STEP);
	plan_apply(world->snapshot, &world->decision.step, world->input.now_ms, record);
	if (record->step.kind == STEP_KIND_UNDO && !record->step.undo_operation[0])
		world->history[record->step.undo_n - 1].state = STEP_STATE_UNDONE;
	record->n = (unsigned)world->history_count;
}

const char *world_run(struct world *world, char text[512])
{
	text[0] = '\0';
	for (int i = 0; i < 64; i++) {
		const struct decision *decision = world_next(world);
		size_t length = strlen(text);

		if (decision->kind != DECISION_KIND_STEP) {
			snprintf(text + length, 512 - length, "%s",
				 decision->kind == DECISION_KIND_DONE ? "done" : "give_up");
			return text;
		}
		snprintf(text + length, 512 - length, "%s ", step_word(&decision->step));
		world_perform(world);
	}
	return "endless";
}

uint64_t world_share(const struct world *world, int node, uint64_t without)
{
	uint64_t total = 0;

	for (size_t i = 0; i < world->snapshot->node_count; i++)
		if (!(without >> world->snapshot->nodes[i].id & 1))
			total += world->snapshot->nodes[i].total_bytes;
	return total ? (uint64_t)((double)world->limits.reserve_bytes *
				  (double)snapshot_node(world->snapshot, node)->total_bytes /
				  (double)total)
		     : 0;
}

void world_set_rate(struct world *world, enum rate_kind kind, uint64_t bytes_per_s)
{
	world->snapshot->rates.of[kind] = (struct measured_rate){.amount = bytes_per_s, .ms = 1000};
}
