/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot.h"

#include <stdio.h>
#include <string.h>

static const char *const block_states[BLOCK_STATE_COUNT] = {
	[BLOCK_STATE_ONLINE] = "online",
	[BLOCK_STATE_OFFLINE] = "offline",
	[BLOCK_STATE_GOING_OFFLINE] = "going_offline",
};
NAME_TABLE_DEFINE(block_state, block_states)

static const char *const block_zones[BLOCK_ZONE_COUNT] = {
	[BLOCK_ZONE_NONE] = "none",
	[BLOCK_ZONE_DMA] = "dma",
	[BLOCK_ZONE_NORMAL] = "normal",
	[BLOCK_ZONE_MOVABLE] = "movable",
};
NAME_TABLE_DEFINE(block_zone, block_zones)

static const char *const dimm_kinds[DIMM_KIND_COUNT] = {
	[DIMM_KIND_ACPI] = "acpi",
	[DIMM_KIND_SMBIOS] = "smbios",
	[DIMM_KIND_DAX] = "dax",
};
NAME_TABLE_DEFINE(dimm_kind, dimm_kinds)

static const char *const dimm_states[SNAPSHOT_DIMM_COUNT] = {
	[SNAPSHOT_DIMM_ONLINE] = "online",   [SNAPSHOT_DIMM_DRAINING] = "draining",
	[SNAPSHOT_DIMM_OFFLINE] = "offline", [SNAPSHOT_DIMM_EJECTED] = "ejected",
	[SNAPSHOT_DIMM_ABSENT] = "absent",
};
NAME_TABLE_DEFINE(snapshot_dimm_state, dimm_states)

static const char *const answers[ANSWER_COUNT] = {
	[ANSWER_NO] = "no",
	[ANSWER_YES] = "yes",
	[ANSWER_PARTLY] = "partly",
	[ANSWER_UNKNOWN] = "unknown",
};
NAME_TABLE_DEFINE(answer, answers)

static const char *const confidences[CONFIDENCE_COUNT] = {
	[CONFIDENCE_LOW] = "low", [CONFIDENCE_LIKELY] = "likely", [CONFIDENCE_CERTAIN] = "certain",
};
NAME_TABLE_DEFINE(confidence, confidences)

static const char *const backing_kinds[BACKING_KIND_COUNT] = {
	[BACKING_KIND_ANON] = "anon",
	[BACKING_KIND_MEMFD] = "memfd",
	[BACKING_KIND_FILE] = "file",
	[BACKING_KIND_HUGETLB] = "hugetlb",
};
NAME_TABLE_DEFINE(backing_kind, backing_kinds)

static const char *const policy_modes[POLICY_MODE_COUNT] = {
	[POLICY_MODE_DEFAULT] = "default",     [POLICY_MODE_BIND] = "bind",
	[POLICY_MODE_PREFERRED] = "preferred", [POLICY_MODE_INTERLEAVE] = "interleave",
	[POLICY_MODE_MIXED] = "mixed",
};
NAME_TABLE_DEFINE(policy_mode, policy_modes)

static const char *const numatune_modes[NUMATUNE_MODE_COUNT] = {
	[NUMATUNE_MODE_NONE] = "none",
	[NUMATUNE_MODE_STRICT] = "strict",
	[NUMATUNE_MODE_PREFERRED] = "preferred",
	[NUMATUNE_MODE_INTERLEAVE] = "interleave",
	[NUMATUNE_MODE_RESTRICTIVE] = "restrictive",
};
NAME_TABLE_DEFINE(numatune_mode, numatune_modes)

static const char *const agent_states[AGENT_STATE_COUNT] = {
	[AGENT_STATE_NONE] = "none",
	[AGENT_STATE_DISCONNECTED] = "disconnected",
	[AGENT_STATE_CONNECTING] = "connecting",
	[AGENT_STATE_READY] = "ready",
	[AGENT_STATE_BUSY] = "channel_busy",
	[AGENT_STATE_INCOMPATIBLE] = "incompatible",
	[AGENT_STATE_SUSPECT] = "suspect",
};
NAME_TABLE_DEFINE(agent_state, agent_states)

static const char *const agent_features[AGENT_FEATURE_COUNT] = {
	[AGENT_FEATURE_OFFLINE] = "offline",
	[AGENT_FEATURE_HUGE_PAGES] = "huge_pages",
	[AGENT_FEATURE_COMPACT] = "compact",
	[AGENT_FEATURE_ONLINE_POLICY] = "online_policy",
	[AGENT_FEATURE_UNPLUG_ONLINE] = "unplug_online",
	[AGENT_FEATURE_STALL_PROBE] = "stall_probe",
	[AGENT_FEATURE_REPORT_FREE] = "report_free",
	[AGENT_FEATURE_HOOKS] = "hooks",
	[AGENT_FEATURE_MAKE_ROOM] = "make_room",
	[AGENT_FEATURE_RECLAIM] = "reclaim",
	[AGENT_FEATURE_BLOCK_HOLDERS] = "block_holders",
	[AGENT_FEATURE_WORD] = "word",
	[AGENT_FEATURE_WORK_SHARE] = "work_share",
	[AGENT_FEATURE_WISH] = "wish",
	[AGENT_FEATURE_REPAIR] = "repair",
	[AGENT_FEATURE_POOL_NODES] = "pool_nodes",
};
NAME_TABLE_DEFINE(agent_feature, agent_features)

static const char *const agent_onlinings[AGENT_ONLINING_COUNT] = {
	[AGENT_ONLINING_LEFT] = "left",
	[AGENT_ONLINING_OWN] = "own",
	[AGENT_ONLINING_KEPT] = "kept",
	[AGENT_ONLINING_REFUSED] = "refused",
	[AGENT_ONLINING_OVERRULED] = "overruled",
};
NAME_TABLE_DEFINE(agent_onlining, agent_onlinings)

static const char *const guest_online_policies[GUEST_ONLINE_POLICY_COUNT] = {
	[GUEST_ONLINE_POLICY_UNSET] = "unset",
	[GUEST_ONLINE_POLICY_LEAVE] = "leave",
	[GUEST_ONLINE_POLICY_MOVABLE] = "movable",
};
NAME_TABLE_DEFINE(guest_online_policy, guest_online_policies)

static const char *const hint_risks[HINT_RISK_COUNT] = {
	[HINT_RISK_LOW] = "low",
	[HINT_RISK_HIGH] = "high",
	[HINT_RISK_UNCORRECTED] = "uncorrected",
};
NAME_TABLE_DEFINE(hint_risk, hint_risks)

static const char *const guest_states[GUEST_STATE_COUNT] = {
	[GUEST_STATE_RUNNING] = "running",
	[GUEST_STATE_PAUSED] = "paused",
	[GUEST_STATE_SHUT_OFF] = "shut_off",
	[GUEST_STATE_OTHER] = "other",
};
NAME_TABLE_DEFINE(guest_state, guest_states)

struct snapshot *snapshot_new(void)
{
	return calloc(1, sizeof(struct snapshot));
}

struct snapshot *snapshot_free(struct snapshot *snapshot)
{
	if (!snapshot)
		return NULL;
	free(snapshot->nodes);
	free(snapshot->blocks);
	free(snapshot->dimms);
	free(snapshot->controllers);
	free(snapshot->guests);
	free(snapshot->holds);
	free(snapshot->hints);
	free(snapshot);
	return NULL;
}

void snapshot_take_blocks(struct snapshot *snapshot, struct snapshot *from)
{
	free(snapshot->blocks);
	free(snapshot->dimms);
	free(snapshot->controllers);
	snapshot->block_bytes = from->block_bytes;
	snapshot->hotplug_told = from->hotplug_told;
	snapshot->movable_node = from->movable_node;
	snapshot->block_count = from->block_count;
	snapshot->dimm_count = from->dimm_count;
	snapshot->blocks = TAKE_PTR(from->blocks);
	snapshot->dimms = TAKE_PTR(from->dimms);
	snapshot->controller_count = from->controller_count;
	snapshot->controllers = TAKE_PTR(from->controllers);
	from->block_count = from->dimm_count = from->controller_count = 0;
}

static void *copy_array(const void *from, size_t count, size_t size, bool *ok)
{
	void *to;

	if (count == 0)
		return NULL;
	to = malloc(count * size);
	if (!to) {
		*ok = false;
		return NULL;
	}
	return memcpy(to, from, count * size);
}

struct snapshot *snapshot_copy(const struct snapshot *snapshot)
{
	CLEANUP(snapshot_freep) struct snapshot *copy = snapshot_new();
	bool ok = true;

	if (!copy)
		return NULL;
	*copy = *snapshot;
	copy->nodes = copy_array(snapshot->nodes, snapshot->node_count, sizeof(*copy->nodes), &ok);
	copy->blocks =
		copy_array(snapshot->blocks, snapshot->block_count, sizeof(*copy->blocks), &ok);
	copy->dimms = copy_array(snapshot->dimms, snapshot->dimm_count, sizeof(*copy->dimms), &ok);
	copy->controllers =
		copy_array(snapshot->controllers, snapshot->controller_count, sizeof(*copy->controllers), &ok);
	copy->guests =
		copy_array(snapshot->guests, snapshot->guest_count, sizeof(*copy->guests), &ok);
	copy->holds = copy_array(snapshot->holds, snapshot->hold_count, sizeof(*copy->holds), &ok);
	copy->hints = copy_array(snapshot->hints, snapshot->hint_count, sizeof(*copy->hints), &ok);
	return ok ? TAKE_PTR(copy) : NULL;
}

/*
 * One more zeroed element. The capacity asked for follows from the count alone (the next power of
 * two), so that it need not be kept; realloc() does nothing where it is unchanged.
 */
static void *grow(void *array, size_t *count, size_t size)
{
	size_t capacity = 1;
	char *grown;

	while (capacity < *count + 1)
		capacity *= 2;
	grown = realloc(array, capacity * size);
	if (!grown)
		return NULL;
	memset(grown + *count * size, 0, size);
	(*count)++;
	return grown;
}

#define SNAPSHOT_DEFINE_ADD(member, array, counter)                                                \
	struct snapshot_##member *snapshot_add_##member(struct snapshot *snapshot)                 \
	{                                                                                          \
		void *grown = grow(snapshot->array, &snapshot->counter, sizeof(*snapshot->array)); \
                                                                                                   \
		if (!grown)                                                                        \
			return NULL;                                                               \
		snapshot->array = grown;                                                           \
		return &snapshot->array[snapshot->counter - 1];                                    \
	}

SNAPSHOT_DEFINE_ADD(node, nodes, node_count)
SNAPSHOT_DEFINE_ADD(block, blocks, block_count)
SNAPSHOT_DEFINE_ADD(dimm, dimms, dimm_count)
SNAPSHOT_DEFINE_ADD(controller, controllers, controller_count)
SNAPSHOT_DEFINE_ADD(guest, guests, guest_count)
SNAPSHOT_DEFINE_ADD(hold, holds, hold_count)
SNAPSHOT_DEFINE_ADD(hint, hints, hint_count)

struct snapshot_node *snapshot_node(const struct snapshot *snapshot, int id)
{
	for (size_t i = 0; i < snapshot->node_count; i++)
		if (snapshot->nodes[i].id == id)
			return &snapshot->nodes[i];
	return NULL;
}

struct snapshot_dimm *snapshot_dimm(const struct snapshot *snapshot, const char *id)
{
	for (size_t i = 0; i < snapshot->dimm_count; i++)
		if (strcmp(snapshot->dimms[i].id, id) == 0)
			return &snapshot->dimms[i];
	return NULL;
}

uint64_t snapshot_dimm_uncorrected(const struct snapshot_dimm *dimm)
{
	uint64_t errors = 0;

	if (dimm->uncorrected_errors >= 0)
		return (uint64_t)dimm->uncorrected_errors;
	for (size_t i = 0; i < dimm->slot_count; i++)
		if (dimm->slots[i].uncorrected_errors > 0)
			errors += (uint64_t)dimm->slots[i].uncorrected_errors;
	return errors;
}

bool snapshot_dimm_is_out(const struct snapshot_dimm *dimm)
{
	return !dimm || dimm->state == SNAPSHOT_DIMM_EJECTED || dimm->state == SNAPSHOT_DIMM_ABSENT;
}

bool snapshot_dimm_is_detached(const struct snapshot_dimm *dimm)
{
	return !snapshot_dimm_is_out(dimm) && dimm->kind == DIMM_KIND_ACPI && dimm->range_count == 0;
}

struct snapshot_guest *snapshot_guest(const struct snapshot *snapshot, const char *name_or_uuid)
{
	for (size_t i = 0; i < snapshot->guest_count; i++)
		if (strcmp(snapshot->guests[i].uuid, name_or_uuid) == 0)
			return &snapshot->guests[i];
	for (size_t i = 0; i < snapshot->guest_count; i++)
		if (strcmp(snapshot->guests[i].name, name_or_uuid) == 0)
			return &snapshot->guests[i];
	return NULL;
}

struct snapshot_block *snapshot_block(const struct snapshot *snapshot, uint64_t id)
{
	for (size_t i = 0; i < snapshot->block_count; i++)
		if (snapshot->blocks[i].id == id)
			return &snapshot->blocks[i];
	return NULL;
}

unsigned snapshot_node_cpu_count(const struct snapshot_node *node)
{
	const char *text = node->cpus;
	unsigned count = 0;

	while (*text) {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;

		if (end == text)
			break;
		if (*end == '-') {
			text = end + 1;
			last = strtoul(text, &end, 10);
			if (end == text || last < first)
				break;
		}
		count += (unsigned)(last - first) + 1;
		text = *end == ',' ? end + 1 : end;
		if (*end && *end != ',')
			break;
	}
	return count;
}

void snapshot_cpus_of_nodes(const struct snapshot *snapshot, uint64_t nodes, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < snapshot->node_count; i++) {
		const struct snapshot_node *node = &snapshot->nodes[i];

		if (!(nodes >> node->id & 1) || !node->cpus[0])
			continue;
		int length = snprintf(text + used, size - used, "%s%s", used ? "," : "", node->cpus);

		if (length < 0 || (size_t)length >= size - used) {
			text[used] = '\0';
			return;
		}
		used += (size_t)length;
	}
}

void snapshot_dimm_slot_names(const struct snapshot_dimm *dimm, char *text, size_t size)
{
	const size_t rest_size = sizeof(" and 99999 more");
	size_t used = 0, named = 0, count = dimm->slot_count + dimm->slots_unlisted;

	text[0] = '\0';
	for (; named < dimm->slot_count; named++) {
		const char *locator = dimm->slots[named].locator;

		if (used + strlen(locator) + 2 + rest_size > size)
			break;
		used += (size_t)snprintf(text + used, size - used, "%s%s", named ? ", " : "", locator[0] ? locator : "?");
	}
	if (named < count)
		snprintf(text + used, size - used, "%s%zu more", named ? " and " : "", count - named);
}

bool snapshot_guest_dimm_is_piece(const struct snapshot_guest_dimm *part)
{
	return part->range.start < part->range.end;
}

uint64_t snapshot_guest_dimm_bytes(const struct snapshot_guest *guest, const char *dimm)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < guest->dimm_count; i++)
		if (strcmp(guest->dimm_bytes[i].id, dimm) == 0)
			bytes += guest->dimm_bytes[i].bytes;
	return bytes;
}

bool snapshot_guest_dimm_is_told(const struct snapshot_guest *guest, const struct snapshot_dimm *dimm)
{
	if (guest->dimms_told || guest->pid <= 0 || dimm->range_count == 0)
		return true;
	return guest->surveyed && dimm->node >= 0 && guest->node_bytes[dimm->node] == 0;
}

/* The one region of the device's size, and of its cell with by_cell; 0: there is none, or another device is like it. */
static uint64_t region_address(const struct snapshot_guest *guest, const struct snapshot_device *device, bool by_cell)
{
	const struct snapshot_agent *agent = &guest->agent;
	size_t devices = 0, regions = 0;
	uint64_t address = 0;

	for (size_t i = 0; i < guest->device_count; i++)
		devices += guest->devices[i].size_bytes == device->size_bytes &&
			   (!by_cell || guest->devices[i].cell == device->cell);
	for (size_t i = 0; i < agent->region_count; i++) {
		if (agent->regions[i].end - agent->regions[i].start != device->size_bytes ||
		    (by_cell && agent->regions[i].node != device->cell))
			continue;
		address = agent->regions[i].start;
		regions++;
	}
	return devices == 1 && regions == 1 ? address : 0;
}

uint64_t snapshot_guest_device_address(const struct snapshot_guest *guest, const struct snapshot_device *device)
{
	uint64_t address;

	if (device->address)
		return device->address;
	if (guest->agent.state != AGENT_STATE_READY || !guest->agent.reported)
		return 0;
	address = region_address(guest, device, false);
	return address ? address : region_address(guest, device, true);
}

const struct snapshot_region *snapshot_guest_region(const struct snapshot_guest *guest,
						    const struct snapshot_device *device)
{
	const struct snapshot_agent *agent = &guest->agent;
	uint64_t address = snapshot_guest_device_address(guest, device);

	if (agent->state != AGENT_STATE_READY || !agent->reported)
		return NULL;
	for (size_t i = 0; i < agent->region_count; i++)
		if ((address && agent->regions[i].start == address) ||
		    (guest->device_count == 1 && agent->region_count == 1))
			return &agent->regions[i];
	return NULL;
}

uint64_t snapshot_unit_count(uint64_t address, uint64_t size_bytes, uint64_t unit_bytes)
{
	return (address % unit_bytes + size_bytes - 1) / unit_bytes + 1;
}

const struct snapshot_residency *snapshot_guest_residency(const struct snapshot_guest *guest,
							  const struct snapshot_device *device)
{
	uint64_t address = snapshot_guest_device_address(guest, device);

	for (size_t i = 0; address && i < guest->residency_count; i++)
		if (guest->residencies[i].address == address &&
		    guest->residencies[i].size_bytes == device->size_bytes)
			return &guest->residencies[i];
	return NULL;
}

struct snapshot_range snapshot_unit_range(const struct snapshot_residency *residency, size_t unit)
{
	uint64_t base = residency->address - residency->address % residency->unit_bytes;
	struct snapshot_range range = {base + unit * residency->unit_bytes, base + (unit + 1) * residency->unit_bytes};
	uint64_t last = residency->address + residency->size_bytes;

	if (range.start < residency->address)
		range.start = residency->address;
	if (range.end > last)
		range.end = last;
	return range;
}

const uint64_t *snapshot_guest_newest_bytes(const struct snapshot_guest *guest)
{
	return guest->overview_at_ms > guest->surveyed_at_ms ? guest->overview_bytes : guest->node_bytes;
}

uint64_t snapshot_guest_drift_bytes(const struct snapshot_guest *guest)
{
	const uint64_t *node_bytes = snapshot_guest_newest_bytes(guest);
	uint64_t off = guest->left_nodes, bytes = 0;

	if (!guest->wanted_nodes)
		off = guest->numatune_mode == NUMATUNE_MODE_NONE ? 0 : ~guest->numatune_nodes;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (off >> node & 1)
			bytes += node_bytes[node];
	return bytes;
}

enum policy_mode snapshot_guest_part_policy(const struct snapshot_guest *guest, size_t part, uint64_t *ret_nodes)
{
	bool own = guest->policy_mode == POLICY_MODE_MIXED;
	enum policy_mode mode = own ? guest->backings[part].policy_mode : guest->policy_mode;

	*ret_nodes = mode == POLICY_MODE_DEFAULT ? 0
		     : own			 ? guest->backings[part].policy_nodes
						 : guest->policy_nodes;
	return mode;
}

bool snapshot_is_by_ratio(uint64_t movable_bytes, uint64_t normal_bytes)
{
	return movable_bytes / 3 > normal_bytes;
}

bool snapshot_agent_is_by_ratio(const struct snapshot_agent *agent)
{
	uint64_t wrong = agent->wrong_zone_bytes < agent->normal_bytes ? agent->wrong_zone_bytes : agent->normal_bytes;

	return snapshot_is_by_ratio(agent->movable_bytes + agent->offline_bytes + wrong, agent->normal_bytes - wrong);
}

bool snapshot_guest_is_repaired(const struct snapshot_guest *guest, bool by_default)
{
	return guest->zone_repair == GUEST_ZONE_REPAIR_UNSET ? by_default : guest->zone_repair == GUEST_ZONE_REPAIR_YES;
}

bool snapshot_backing_takes_policy(const struct snapshot_backing *part)
{
	return (part->kind == BACKING_KIND_MEMFD || part->kind == BACKING_KIND_FILE) && !part->has_own_policy;
}

bool snapshot_guest_takes_policy(const struct snapshot_guest *guest)
{
	for (size_t i = 0; i < guest->backing_count; i++)
		if (snapshot_backing_takes_policy(&guest->backings[i]))
			return true;
	return false;
}

static bool is_excepted(const struct snapshot_hold *hold, const char *except_drain)
{
	return except_drain && strcmp(hold->drain, except_drain) == 0;
}

uint64_t snapshot_ranges_bytes(const struct snapshot_range *ranges, size_t count)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		bytes += ranges[i].end - ranges[i].start;
	return bytes;
}

uint64_t snapshot_ranges_shared(const struct snapshot_range *a, size_t a_count, const struct snapshot_range *b, size_t b_count)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < a_count; i++)
		for (size_t j = 0; j < b_count; j++) {
			uint64_t start = a[i].start > b[j].start ? a[i].start : b[j].start;
			uint64_t end = a[i].end < b[j].end ? a[i].end : b[j].end;

			bytes += end > start ? end - start : 0;
		}
	return bytes;
}

bool snapshot_block_meets(const struct snapshot_block *block, uint64_t start, uint64_t end)
{
	return start < block->start + block->size_bytes && block->start < end;
}

bool snapshot_block_is_in(const struct snapshot_block *block, const struct snapshot_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (snapshot_block_meets(block, ranges[i].start, ranges[i].end))
			return true;
	return false;
}

bool snapshot_hold_has(const struct snapshot_hold *hold, const struct snapshot_block *block)
{
	return (hold->node >= 0 && hold->node == block->node) ||
	       snapshot_block_is_in(block, hold->ranges, hold->range_count);
}

bool snapshot_hold_only_cordons(const struct snapshot_hold *hold)
{
	return hold->work == SNAPSHOT_HOLD_CORDONS || hold->work == SNAPSHOT_HOLD_ANNOUNCED;
}

static uint64_t node_bit(int node)
{
	return node >= 0 && node < SNAPSHOT_NODES_MAX ? UINT64_C(1) << node : 0;
}

uint64_t snapshot_held_nodes(const struct snapshot *snapshot, const char *except_drain)
{
	uint64_t nodes = 0;

	for (size_t i = 0; i < snapshot->hold_count; i++) {
		const struct snapshot_hold *hold = &snapshot->holds[i];
		const struct snapshot_dimm *dimm;

		if (is_excepted(hold, except_drain))
			continue;
		nodes |= node_bit(hold->node);
		dimm = hold->dimm[0] ? snapshot_dimm(snapshot, hold->dimm) : NULL;
		if (dimm)
			nodes |= node_bit(dimm->node);
		for (size_t b = 0; b < snapshot->block_count; b++)
			if (snapshot_hold_has(hold, &snapshot->blocks[b]))
				nodes |= node_bit(snapshot->blocks[b].node);
	}
	return nodes;
}
