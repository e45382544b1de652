/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_priv.h"

#include <stdio.h>
#include <string.h>

uint64_t plan_node_bit(int node)
{
	return node >= 0 && node < SNAPSHOT_NODES_MAX ? UINT64_C(1) << node : 0;
}

uint64_t plan_memory_nodes(const struct snapshot *snapshot)
{
	uint64_t nodes = 0;

	for (size_t i = 0; i < snapshot->node_count; i++)
		if (snapshot->nodes[i].has_memory)
			nodes |= plan_node_bit(snapshot->nodes[i].id);
	return nodes;
}

unsigned plan_node_count(uint64_t nodes)
{
	return (unsigned)__builtin_popcountll(nodes);
}

int plan_first_node(uint64_t nodes)
{
	return nodes ? __builtin_ctzll(nodes) : -1;
}

uint8_t plan_distance(const struct snapshot *snapshot, int from, int to)
{
	const struct snapshot_node *node = snapshot_node(snapshot, from);
	uint8_t distance = node && to >= 0 && to < SNAPSHOT_NODES_MAX ? node->distances[to] : 0;

	/* Unknown is farthest: 255 is what firmware says for "not reachable". */
	return distance ? distance : UINT8_MAX;
}

uint8_t plan_cpu_distance(const struct snapshot *snapshot, const struct snapshot_guest *guest, int node)
{
	uint8_t least = UINT8_MAX;

	for (uint64_t cpus = guest->cpu_nodes; cpus; cpus &= cpus - 1) {
		uint8_t distance = plan_distance(snapshot, plan_first_node(cpus), node);

		least = distance < least ? distance : least;
	}
	return least;
}

uint64_t plan_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t plan_room(const struct plan_input *input, int node_id, uint64_t without)
{
	const struct snapshot *snapshot = input->snapshot;
	const struct snapshot_node *node = snapshot_node(snapshot, node_id);
	uint64_t reserve = input->limits->reserve_bytes, total = 0, share;

	if (!node || !node->has_memory)
		return 0;
	if (snapshot->reserve_bytes > reserve)
		reserve = snapshot->reserve_bytes;
	for (size_t i = 0; i < snapshot->node_count; i++)
		if (!(plan_node_bit(snapshot->nodes[i].id) & without))
			total += snapshot->nodes[i].total_bytes;
	/* In MiB, so that the product cannot overflow. */
	share = total >> 20 ? (reserve >> 20) * (node->total_bytes >> 20) / (total >> 20) << 20
			    : reserve;
	return node->free_bytes > share ? node->free_bytes - share : 0;
}

uint64_t plan_take_room(uint64_t left[SNAPSHOT_NODES_MAX], uint64_t nodes, uint64_t bytes)
{
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t takes = nodes >> node & 1 ? plan_min(left[node], bytes) : 0;

		left[node] -= takes;
		bytes -= takes;
	}
	return bytes;
}

struct snapshot_pool *plan_pool(const struct snapshot *snapshot, int node_id, uint64_t page_bytes)
{
	struct snapshot_node *node = snapshot_node(snapshot, node_id);

	for (size_t i = 0; node && i < node->pool_count; i++)
		if (node->pools[i].page_bytes == page_bytes)
			return &node->pools[i];
	return NULL;
}

static bool is_all_of(const struct snapshot_guest *guest, uint64_t page_bytes)
{
	for (size_t i = 0; i < guest->backing_count; i++)
		if (guest->backings[i].kind != BACKING_KIND_HUGETLB ||
		    guest->backings[i].page_bytes != page_bytes)
			return false;
	return true;
}

/* An earlier part of its backing has the same size of huge pages. */
static bool is_counted(const struct snapshot_guest *guest, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (guest->backings[i].kind == BACKING_KIND_HUGETLB &&
		    guest->backings[i].page_bytes == guest->backings[index].page_bytes)
			return true;
	return false;
}

uint64_t plan_guest_room(const struct plan_input *input, const struct snapshot_guest *guest,
			 int node, uint64_t without)
{
	return plan_with_pools(input, guest, node, plan_room(input, node, without));
}

uint64_t plan_with_pools(const struct plan_input *input, const struct snapshot_guest *guest, int node, uint64_t room)
{
	uint64_t page = plan_guest_huge_page(guest);
	const struct snapshot_pool *pool;

	if (!page)
		return room;
	/* All in one size: what is left of a page is no room for it. */
	if (is_all_of(guest, page))
		room = room / page * page;
	for (size_t i = 0; i < guest->backing_count; i++) {
		page = guest->backings[i].page_bytes;
		if (guest->backings[i].kind != BACKING_KIND_HUGETLB || is_counted(guest, i))
			continue;
		pool = plan_pool(input->snapshot, node, page);
		if (pool && is_all_of(guest, page))
			room += pool->free * page;
		else if (pool)
			room += plan_min(pool->free * page,
					 plan_guest_huge_bytes(guest, page, false));
	}
	return room;
}

const char *plan_nodes_text(uint64_t nodes, char text[32])
{
	size_t length = 0;

	text[0] = '\0';
	for (int node = 0; node < SNAPSHOT_NODES_MAX && length < 28; node++)
		if (nodes >> node & 1)
			length += (size_t)snprintf(text + length, 32 - length, "%s%d",
						   length ? "," : "", node);
	return text;
}

uint64_t plan_move_budget(const struct plan_input *input)
{
	uint64_t asked = input->wish->move.budget_bytes_per_s;

	return asked ? asked : input->limits->bytes_per_s;
}

uint64_t plan_guest_floor(const struct snapshot_guest *guest)
{
	return guest->agent.shrink_limit_bytes > guest->minimum_bytes ? guest->agent.shrink_limit_bytes
								      : guest->minimum_bytes;
}

bool plan_guest_runs(const struct snapshot_guest *guest)
{
	return guest->state == GUEST_STATE_RUNNING || guest->state == GUEST_STATE_PAUSED;
}

bool plan_guest_may_use(const struct snapshot_guest *guest, int node)
{
	return !guest->cpuset_limit || guest->cpuset_limit & plan_node_bit(node);
}

uint64_t plan_guest_huge_page(const struct snapshot_guest *guest)
{
	uint64_t largest = 0;

	for (size_t i = 0; i < guest->backing_count; i++)
		if (guest->backings[i].kind == BACKING_KIND_HUGETLB &&
		    guest->backings[i].page_bytes > largest)
			largest = guest->backings[i].page_bytes;
	return largest;
}

uint64_t plan_guest_next_size(const struct snapshot_guest *guest, uint64_t page_bytes)
{
	uint64_t next = 0;

	for (size_t i = 0; i < guest->backing_count; i++) {
		const struct snapshot_backing *backing = &guest->backings[i];

		if (backing->kind == BACKING_KIND_HUGETLB && backing->page_bytes > page_bytes &&
		    (!next || backing->page_bytes < next))
			next = backing->page_bytes;
	}
	return next;
}

uint64_t plan_guest_size_bytes(const struct snapshot_guest *guest, int node, uint64_t bytes, uint64_t page_bytes)
{
	uint64_t all = 0, here = 0;

	if (guest->huge_count && node >= 0) {
		for (size_t i = 0; i < guest->huge_count; i++)
			if (guest->huges[i].page_bytes == page_bytes)
				here = guest->huges[i].pages[node] * page_bytes;
		all = guest->node_bytes[node];
		return plan_min(bytes, bytes < all ? plan_share(bytes, here, all) : here);
	}
	for (size_t i = 0; i < guest->backing_count; i++)
		all += guest->backings[i].bytes;
	return all ? plan_share(bytes, plan_guest_huge_bytes(guest, page_bytes, false), all) : 0;
}

uint64_t plan_guest_huge_bytes(const struct snapshot_guest *guest, uint64_t page_bytes,
			       bool and_larger)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < guest->backing_count; i++)
		if (guest->backings[i].kind == BACKING_KIND_HUGETLB &&
		    (guest->backings[i].page_bytes == page_bytes ||
		     (and_larger && guest->backings[i].page_bytes > page_bytes)))
			bytes += guest->backings[i].bytes;
	return bytes;
}

bool plan_guest_has(const struct snapshot_guest *guest, enum backing_kind kind)
{
	for (size_t i = 0; i < guest->backing_count; i++)
		if (guest->backings[i].kind == kind)
			return true;
	return false;
}

uint64_t plan_guest_nodes(const struct snapshot_guest *guest)
{
	uint64_t nodes = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (guest->node_bytes[node])
			nodes |= plan_node_bit(node);
	return nodes;
}

/* mm/mempolicy.c mpol_rebind_mm */
bool plan_part_is_rebound(const struct snapshot_guest *guest, size_t part)
{
	return !snapshot_backing_takes_policy(&guest->backings[part]);
}

bool plan_agent_can(const struct snapshot_guest *guest, enum agent_feature feature)
{
	return guest->agent.state == AGENT_STATE_READY && guest->agent.features >> feature & 1;
}

const char *plan_guest_object(const struct snapshot_guest *guest, char text[96])
{
	snprintf(text, 96, "guest %s", guest->name[0] ? guest->name : guest->uuid);
	return text;
}

bool plan_device_range(const struct snapshot_guest *guest, const struct snapshot_device *device,
		       struct snapshot_range *ret_range)
{
	uint64_t address = snapshot_guest_device_address(guest, device);

	if (!address && guest->device_count > 1)
		return false;
	*ret_range = address ? (struct snapshot_range){address, address + device->size_bytes}
			     : (struct snapshot_range){0, UINT64_MAX};
	return true;
}

uint64_t plan_growth_nodes(const struct plan_input *input, const struct snapshot_guest *guest)
{
	uint64_t nodes =
		plan_memory_nodes(input->snapshot) & ~snapshot_held_nodes(input->snapshot, NULL);

	if (guest->policy_mode == POLICY_MODE_BIND && guest->policy_nodes)
		nodes &= guest->policy_nodes;
	if (guest->cpuset_mems)
		nodes &= guest->cpuset_mems;
	if (guest->allowed_nodes)
		nodes &= guest->allowed_nodes;
	return nodes;
}

size_t plan_count(const struct plan_input *input, enum step_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < input->history_count; i++)
		if (input->history[i].step.kind == kind &&
		    input->history[i].state != STEP_STATE_UNDONE)
			count++;
	return count;
}

bool plan_was_cut(const struct step_record *record)
{
	return remainder_list_has(&record->remainder, REMAINDER_RESTARTED);
}

size_t plan_tried(const struct plan_input *input, enum step_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < input->history_count; i++)
		count += input->history[i].step.kind == kind &&
			 input->history[i].state != STEP_STATE_UNDONE &&
			 !plan_was_cut(&input->history[i]);
	return count;
}

const struct step_record *plan_last(const struct plan_input *input, enum step_kind kind)
{
	for (size_t i = input->history_count; i-- > 0;)
		if (input->history[i].step.kind == kind &&
		    input->history[i].state != STEP_STATE_UNDONE)
			return &input->history[i];
	return NULL;
}

enum remainder_code plan_unexplained(const struct step_record *last, const char **ret_why)
{
	if (!last || (last->state != STEP_STATE_DONE && !last->remainder.count)) {
		*ret_why = "no pass over it came to its end";
		return REMAINDER_NOT_TRIED;
	}
	*ret_why = "it has come there, or back there, since the last pass over it";
	return REMAINDER_CAME_MEANWHILE;
}

bool plan_is_late(const struct plan_input *input)
{
	return input->deadline_ms && input->now_ms >= input->deadline_ms;
}

uint64_t plan_share(uint64_t bytes, uint64_t part, uint64_t whole)
{
	return part < whole ? (uint64_t)((double)bytes * ((double)part / (double)whole)) : bytes;
}

/* Guests that children of this operation have moved, each once. */
static size_t moved_guests(const struct plan_input *input)
{
	size_t guests = 0;

	for (size_t i = 0; i < input->history_count; i++) {
		const struct step *step = &input->history[i].step;
		bool is_first = step->kind == STEP_KIND_CHILD;

		for (size_t j = 0; is_first && j < i; j++)
			is_first = input->history[j].step.kind != STEP_KIND_CHILD ||
				   strcmp(input->history[j].step.guest, step->guest) != 0;
		guests += is_first;
	}
	return guests;
}

size_t plan_steps_max(const struct plan_input *input)
{
	size_t guests = input->snapshot->guest_count, moved;
	/* An undrain has one for each step of the drain, and may ask for it again. */
	size_t most = PLAN_STEPS_MAX + 2 * input->subject_count;

	if (input->history_count < most + PLAN_STEPS_PER_GUEST * guests)
		return most + PLAN_STEPS_PER_GUEST * guests;
	/* Guests may have gone since. */
	moved = moved_guests(input);
	return most + PLAN_STEPS_PER_GUEST * (moved > guests ? moved : guests);
}

void plan_step_init(struct step *step, enum step_kind kind, const struct snapshot_guest *guest)
{
	step_init(step, kind);
	if (!guest)
		return;
	memcpy(step->guest, guest->uuid, sizeof(step->guest));
	memcpy(step->guest_name, guest->name, sizeof(step->guest_name));
}

void plan_decide(struct decision *decision, const struct step *step)
{
	decision->kind = DECISION_KIND_STEP;
	decision->step = *step;
}

void plan_take_entry(struct remainder_list *to, const struct remainder *from, uint64_t *rest)
{
	struct remainder entry = *from;

	entry.bytes = plan_min(entry.bytes, *rest);
	if (!entry.bytes)
		return;
	remainder_list_add_copy(to, &entry);
	*rest -= entry.bytes;
}

void plan_take_remainder(struct remainder_list *to, const struct remainder_list *from,
			 uint64_t *rest)
{
	for (size_t i = 0; i < from->count; i++)
		plan_take_entry(to, &from->items[i], rest);
}
