/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_look.h"

#include <string.h>
#include <unistd.h>
#include "node_mask.h"
#include "node_set.h"
#include "survey_parts.h"

static uint64_t mask_of_list(const char *list)
{
	struct node_set set;

	return list[0] && node_set_parse(list, &set) == 0 ? node_mask_from_set(&set) : 0;
}

static enum numatune_mode mode_of(enum domain_xml_mode mode)
{
	switch (mode) {
	case DOMAIN_XML_MODE_STRICT:
		return NUMATUNE_MODE_STRICT;
	case DOMAIN_XML_MODE_PREFERRED:
		return NUMATUNE_MODE_PREFERRED;
	case DOMAIN_XML_MODE_INTERLEAVE:
		return NUMATUNE_MODE_INTERLEAVE;
	case DOMAIN_XML_MODE_RESTRICTIVE:
		return NUMATUNE_MODE_RESTRICTIVE;
	case DOMAIN_XML_MODE_COUNT:
		break;
	}
	return NUMATUNE_MODE_NONE;
}

static uint64_t numatune_mask(const struct domain_xml *domain)
{
	uint64_t mask = domain->numatune.has_memory ? mask_of_list(domain->numatune.nodes) : 0;

	for (size_t i = 0; i < domain->cell_count; i++)
		if (domain->cells[i].has_nodes)
			mask |= mask_of_list(domain->cells[i].nodes);
	return mask;
}

/* Cells alone give it none (qemu/qemu_process.c qemuProcessSetupPid asks for the nodeset of the whole guest). */
static uint64_t cpuset_mask(const struct domain_xml *domain)
{
	bool limits = domain->numatune.mode == DOMAIN_XML_MODE_STRICT ||
		      domain->numatune.mode == DOMAIN_XML_MODE_RESTRICTIVE;

	return domain->numatune.has_memory && limits ? mask_of_list(domain->numatune.nodes) : 0;
}

static enum guest_state state_of(enum connection_domain_state state)
{
	switch (state) {
	case CONNECTION_DOMAIN_RUNNING:
		return GUEST_STATE_RUNNING;
	case CONNECTION_DOMAIN_PAUSED:
		return GUEST_STATE_PAUSED;
	case CONNECTION_DOMAIN_SHUTOFF:
	case CONNECTION_DOMAIN_CRASHED:
		return GUEST_STATE_SHUT_OFF;
	case CONNECTION_DOMAIN_UNKNOWN:
	case CONNECTION_DOMAIN_SHUTDOWN:
	case CONNECTION_DOMAIN_SUSPENDED:
	case CONNECTION_DOMAIN_STATE_COUNT:
		break;
	}
	return GUEST_STATE_OTHER;
}

static void take_sizes(struct snapshot_guest *guest, const struct domain_xml *xml, bool *ret_has_excess)
{
	guest->base_bytes = guest->max_bytes = guest->current_bytes = guest->requested_bytes = xml->base_bytes;
	guest->cell_count = guest->device_count = 0;
	for (size_t i = 0; i < xml->cell_count; i++) {
		if (guest->cell_count == SNAPSHOT_CELLS_MAX) {
			*ret_has_excess = true;
			break;
		}
		guest->cells[guest->cell_count++] =
			(struct snapshot_cell){.id = (int)xml->cells[i].id,
					       .bytes = xml->cells[i].bytes,
					       .bound_nodes = xml->cells[i].has_nodes ? mask_of_list(xml->cells[i].nodes) : 0};
	}
	for (size_t i = 0; i < xml->device_count; i++) {
		const struct domain_xml_device *from = &xml->devices[i];

		if (from->model != DOMAIN_XML_MODEL_VIRTIO_MEM) {
			/* A plain DIMM of the guest is memory it always has. */
			if (from->model == DOMAIN_XML_MODEL_DIMM) {
				guest->base_bytes += from->size_bytes;
				guest->max_bytes += from->size_bytes;
				guest->current_bytes += from->size_bytes;
				guest->requested_bytes += from->size_bytes;
			}
			continue;
		}
		if (guest->device_count == SNAPSHOT_DEVICES_MAX) {
			*ret_has_excess = true;
			break;
		}
		struct snapshot_device *device = &guest->devices[guest->device_count++];

		*device = (struct snapshot_device){
			.cell = from->has_cell ? (int)from->cell : 0,
			.size_bytes = from->size_bytes,
			.block_bytes = from->block_bytes,
			.requested_bytes = from->requested_bytes,
			.current_bytes = from->current_bytes,
			.address = from->has_address ? from->address : 0,
		};
		snprintf(device->alias, sizeof(device->alias), "%s", from->alias);
		guest->max_bytes += from->size_bytes;
		guest->current_bytes += from->current_bytes;
		guest->requested_bytes += from->requested_bytes;
	}
	guest->has_balloon = xml->has_balloon;
	guest->free_page_reporting = xml->free_page_reporting;
	guest->balloon_bytes = xml->current_bytes;
	/* Without a memory device the balloon is what resizes: the size is what it leaves. */
	if (guest->device_count == 0 && xml->has_balloon && xml->current_bytes) {
		guest->current_bytes = xml->current_bytes;
		guest->requested_bytes = xml->current_bytes;
	}
}

static void take_backing(struct snapshot_guest *guest, const struct domain_xml *xml)
{
	guest->in_hugetlb = xml->backing.hugepages;
	guest->in_file = xml->backing.source == DOMAIN_XML_SOURCE_FILE && !xml->backing.hugepages;
	for (size_t i = 0; i < xml->device_count; i++)
		guest->in_hugetlb |= xml->devices[i].page_bytes > (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A device that was detached leaves one word, and the next survey the other. */
static void join_hindrances(struct snapshot_guest *guest)
{
	guest->vfio = guest->defined.vfio || guest->seen.vfio;
	guest->locked = guest->defined.locked || guest->seen.locked;
	guest->encrypted = guest->defined.encrypted || guest->seen.encrypted;
	guest->unmovable = guest->encrypted || guest->unsurveyed[0];
}

uint64_t guest_look_nodes_of_cpus(const struct snapshot *snapshot, const char *cpus)
{
	struct node_set wanted, own;
	uint64_t mask = 0;

	/* The two lists have the same form; processors beyond the set's size are not seen. */
	if (!cpus[0] || node_set_parse(cpus, &wanted) < 0)
		return 0;
	for (size_t i = 0; i < snapshot->node_count; i++)
		if (snapshot->nodes[i].has_cpus && node_set_parse(snapshot->nodes[i].cpus, &own) == 0 &&
		    node_set_intersects(&wanted, &own))
			mask |= UINT64_C(1) << snapshot->nodes[i].id;
	return mask;
}

void guest_look_take_domain(struct snapshot_guest *guest, const struct connection_domain *domain,
			    const struct domain_xml *live, const struct domain_xml *stored, bool *ret_has_excess)
{
	const struct domain_xml *xml = live ? live : stored;

	*ret_has_excess = false;
	snprintf(guest->uuid, sizeof(guest->uuid), "%s", domain->uuid);
	snprintf(guest->name, sizeof(guest->name), "%.63s", domain->name ? domain->name : domain->uuid);
	guest->state = state_of(domain->state);
	guest->pid = domain->pid;
	guest->persistent = domain->persistent;
	guest->migrating = domain->has_job;
	guest->stored_numatune_nodes = stored ? numatune_mask(stored) : 0;
	if (!xml)
		return;
	take_sizes(guest, xml, ret_has_excess);
	take_backing(guest, xml);
	guest->numatune_nodes = live ? numatune_mask(live) : 0;
	guest->cpuset_given = live ? cpuset_mask(live) : 0;
	guest->numatune_mode = NUMATUNE_MODE_NONE;
	if (xml->numatune.has_memory) {
		guest->numatune_mode = mode_of(xml->numatune.mode);
	} else {
		for (size_t i = 0; i < xml->cell_count; i++)
			if (xml->cells[i].has_nodes)
				guest->numatune_mode = mode_of(xml->cells[i].mode);
	}
	guest->defined = (struct snapshot_hindrance){
		.vfio = xml->vfio_count > 0,
		.locked = xml->backing.locked,
		.encrypted = xml->launch_security[0] != '\0',
	};
	guest->realtime = xml->realtime;
	join_hindrances(guest);
	guest->cpus_pinned = xml->vcpu_pin_count > 0 || xml->vcpu_cpus[0] != '\0';
	guest->emulator_cpus[0] = '\0';
	if (live && strlen(live->emulator_pin) < sizeof(guest->emulator_cpus))
		memcpy(guest->emulator_cpus, live->emulator_pin, strlen(live->emulator_pin) + 1);
	guest->minimum_bytes = guest->maximum_bytes = guest->allowed_nodes = guest->request_limit_bytes = 0;
	guest->online_policy = GUEST_ONLINE_POLICY_UNSET;
	guest->zone_repair = GUEST_ZONE_REPAIR_UNSET;
	guest->priority = 0;
	if (xml->policy_state == DOMAIN_XML_POLICY_VALID) {
		if (xml->policy.has_minimum)
			guest->minimum_bytes = xml->policy.minimum_bytes;
		if (xml->policy.has_maximum)
			guest->maximum_bytes = xml->policy.maximum_bytes;
		if (xml->policy.has_request_limit)
			guest->request_limit_bytes = xml->policy.request_limit_bytes;
		if (xml->policy.online_policy[0])
			guest->online_policy =
				(enum guest_online_policy)guest_online_policy_from_name(xml->policy.online_policy);
		if (xml->policy.has_zone_repair)
			guest->zone_repair = xml->policy.zone_repair ? GUEST_ZONE_REPAIR_YES : GUEST_ZONE_REPAIR_NO;
		if (xml->policy.has_priority)
			guest->priority = (int)xml->policy.priority;
		guest->allowed_nodes = mask_of_list(xml->policy.allowed_nodes);
	}
	/* Somebody wanted it protected, and how cannot be read: nothing is done to it until that is put right. */
	snprintf(guest->policy_fault, sizeof(guest->policy_fault), "%s",
		 xml->policy_state == DOMAIN_XML_POLICY_INVALID ? xml->policy_fault : "");
}

void guest_look_take_counters(struct snapshot_guest *guest, const uint64_t counted_bytes[SNAPSHOT_NODES_MAX],
			      bool has_hugetlb, uint64_t now_ms)
{
	guest->hugetlb_counted = has_hugetlb;
	/* Without counters at the time of the survey there is nothing to carry it on by. */
	if (guest->surveyed && !guest->counted)
		return;
	/* What lacks the guest's own memory is no word about where that is. */
	if (!guest->surveyed && (guest->in_file || (guest->in_hugetlb && !has_hugetlb)))
		return;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		uint64_t base = guest->counted_bytes[node], now = counted_bytes[node], seen = guest->node_bytes[node];

		if (!guest->surveyed)
			guest->overview_bytes[node] = now;
		else if (now >= base)
			guest->overview_bytes[node] = seen + (now - base);
		else
			guest->overview_bytes[node] = seen > base - now ? seen - (base - now) : 0;
	}
	guest->overview_at_ms = now_ms;
	if (guest->unsurveyed[0] && !guest->surveyed)
		memcpy(guest->node_bytes, guest->overview_bytes, sizeof(guest->node_bytes));
}

bool guest_look_take_failed_survey(struct snapshot_guest *guest, const char *reason)
{
	if (!guest->surveyed && !guest->overview_at_ms)
		return false;
	snprintf(guest->unsurveyed, sizeof(guest->unsurveyed), "%s", reason);
	if (guest->overview_at_ms)
		memcpy(guest->node_bytes, guest->overview_bytes, sizeof(guest->node_bytes));
	guest->surveyed = false;
	guest->counted = false;
	guest->residency_count = guest->place_count = 0;
	/* A drain then reckons with all that it has on the node. */
	guest->dimms_told = false;
	guest->dimm_count = 0;
	join_hindrances(guest);
	return true;
}

/* What the policies were read of is what there is: the same parts, under the same cpuset. */
static bool has_same_parts(const struct snapshot_guest *guest, const struct worker_survey *survey)
{
	if (!guest->policies_seen || survey->backing_count != guest->backing_count ||
	    survey->cpuset_mems != guest->cpuset_mems)
		return false;
	for (size_t i = 0; i < survey->backing_count; i++)
		if (survey->backings[i].kind != guest->backings[i].kind ||
		    survey->backings[i].page_bytes != guest->backings[i].page_bytes ||
		    survey->backings[i].cell != guest->backings[i].cell)
			return false;
	return true;
}

static void take_backings(struct snapshot_guest *guest, const struct worker_survey *survey)
{
	if (!survey->has_policies && has_same_parts(guest, survey)) {
		for (size_t i = 0; i < survey->backing_count; i++)
			guest->backings[i].bytes = survey->backings[i].bytes;
		return;
	}
	guest->policies_seen = survey->has_policies;
	guest->backing_count = survey->backing_count;
	memcpy(guest->backings, survey->backings, sizeof(guest->backings));
	guest->policy_mode = survey->policy_mode;
	guest->policy_nodes = survey->policy_nodes;
	guest->policy_balancing = survey->balancing;
	guest->policy_loose = survey->loose;
}

bool guest_look_needs_policies(const struct snapshot_guest *guest)
{
	if (!guest->policies_seen)
		return true;
	/* Their policies are what tells such cells apart. */
	for (size_t i = 0; i < guest->backing_count && guest->cell_count > 1; i++)
		if (guest->backings[i].kind == BACKING_KIND_ANON)
			return true;
	return false;
}

/* Its place among the guest's, as a new one where it has none; SNAPSHOT_NO_DIMM: there are too many. */
static uint8_t dimm_place(struct snapshot_guest *guest, const struct snapshot_guest_dimm *part)
{
	size_t place = 0;

	while (place < guest->dimm_count && (strcmp(guest->dimm_bytes[place].id, part->id) != 0 ||
					     guest->dimm_bytes[place].range.start != part->range.start ||
					     guest->dimm_bytes[place].range.end != part->range.end))
		place++;
	if (place == SNAPSHOT_GUEST_DIMMS_MAX)
		return SNAPSHOT_NO_DIMM;
	if (place == guest->dimm_count)
		guest->dimm_bytes[guest->dimm_count++] = *part;
	return (uint8_t)place;
}

/*
 * All or none: what is left out would be taken for memory that it does not have. places gets which of the guest's DIMMs
 * and pieces each of the survey's is.
 */
static void take_dimms(struct snapshot_guest *guest, const struct worker_survey *survey, const struct snapshot *host,
		       uint8_t places[WORKER_DIMMS_MAX])
{
	guest->dimms_told = survey->dimm_count > 0;
	guest->dimm_count = 0;
	memset(places, SNAPSHOT_NO_DIMM, WORKER_DIMMS_MAX);
	for (size_t i = 0; i < survey->dimm_count; i++) {
		struct snapshot_guest_dimm part = survey_parts_find(host, survey->dimms[i].id);

		/* That it has none in a piece is what was asked. */
		if (survey->dimms[i].bytes == 0 && !snapshot_guest_dimm_is_piece(&part))
			continue;
		places[i] = dimm_place(guest, &part);
		if (places[i] == SNAPSHOT_NO_DIMM) {
			guest->dimms_told = false;
			guest->dimm_count = 0;
			memset(places, SNAPSHOT_NO_DIMM, WORKER_DIMMS_MAX);
			return;
		}
		guest->dimm_bytes[places[i]].bytes += survey->dimms[i].bytes;
	}
}

/* Where DIMMs are not told apart the node is still known. */
static void take_places(struct snapshot_guest *guest, const struct worker_survey *survey,
			const uint8_t dimms[WORKER_DIMMS_MAX])
{
	guest->place_count = survey->place_count;
	memcpy(guest->places, survey->places, sizeof(guest->places));
	for (size_t i = 0; i < guest->place_count; i++)
		if (guest->places[i].dimm != SNAPSHOT_NO_DIMM)
			guest->places[i].dimm = dimms[guest->places[i].dimm];
}

void guest_look_take_survey(struct snapshot_guest *guest, const struct worker_survey *survey, const struct snapshot *host,
			    uint64_t now_ms)
{
	uint8_t dimms[WORKER_DIMMS_MAX];

	take_backings(guest, survey);
	memcpy(guest->node_bytes, survey->node_bytes, sizeof(guest->node_bytes));
	guest->resident_bytes = survey->resident_bytes;
	guest->swapped_bytes = survey->swapped_bytes;
	guest->unmapped_bytes = survey->unmapped_bytes;
	guest->cpuset_mems = survey->cpuset_mems;
	guest->cpuset_limit = survey->cpuset_limit;
	guest->cpu_nodes = survey->cpu_nodes;
	guest->userfaultfd = survey->userfaultfd;
	guest->unsurveyed[0] = '\0';
	guest->seen = (struct snapshot_hindrance){
		.vfio = survey->vfio, .locked = survey->locked, .encrypted = survey->encrypted};
	join_hindrances(guest);
	guest->pinned_bytes = survey->pinned_bytes;
	guest->private_bytes = survey->private_bytes;
	guest->transparent_huge_bytes = survey->transparent_huge_bytes;
	guest->huge_count = survey->huge_count;
	memcpy(guest->huges, survey->huges, sizeof(guest->huges));
	guest->residency_count = survey->residency_count;
	memcpy(guest->residencies, survey->residencies, sizeof(guest->residencies));
	guest->shared_backing = survey->sharer_count > 0;
	guest->sharers_unlisted = survey->sharers_unlisted;
	guest->sharers_unseen = survey->sharers_unseen;
	guest->sharer_count = survey->sharer_count;
	memcpy(guest->sharers, survey->sharers, sizeof(guest->sharers));
	take_dimms(guest, survey, host, dimms);
	take_places(guest, survey, dimms);
	guest->surveyed = true;
	guest->surveyed_at_ms = now_ms;
	guest->counted = survey->counted;
	memcpy(guest->counted_bytes, survey->counted_bytes, sizeof(guest->counted_bytes));
	memcpy(guest->overview_bytes, survey->node_bytes, sizeof(guest->overview_bytes));
	guest->overview_at_ms = now_ms;
}

void guest_look_drop_survey(struct snapshot_guest *guest)
{
	memset(guest->node_bytes, 0, sizeof(guest->node_bytes));
	guest->resident_bytes = guest->swapped_bytes = guest->unmapped_bytes = 0;
	guest->huge_count = guest->backing_count = guest->dimm_count = guest->residency_count = guest->place_count = 0;
	guest->policy_mode = POLICY_MODE_DEFAULT;
	guest->policy_nodes = guest->cpuset_mems = guest->cpuset_limit = guest->cpu_nodes = 0;
	guest->userfaultfd = guest->surveyed = guest->dimms_told = guest->managed_by_ballast = false;
	guest->policy_balancing = guest->policy_loose = false;
	guest->policies_seen = false;
	guest->surveyed_at_ms = guest->kept_at_ms = 0;
	guest->wanted_nodes = guest->left_nodes = 0;
	guest->kept[0] = guest->unsurveyed[0] = '\0';
	guest->counted = false;
	guest->overview_at_ms = 0;
	memset(guest->overview_bytes, 0, sizeof(guest->overview_bytes));
	guest->pinned_bytes = guest->private_bytes = guest->transparent_huge_bytes = 0;
	guest->shared_backing = false;
	guest->sharers_unlisted = guest->sharers_unseen = guest->sharer_count = 0;
	memset(guest->sharers, 0, sizeof(guest->sharers));
	guest->seen = (struct snapshot_hindrance){0};
	join_hindrances(guest);
}

void guest_look_ram_sizes(const struct snapshot_guest *guest, struct worker_job *job)
{
	job->ram_size_count = 0;
	for (size_t i = 0; i < guest->cell_count; i++) {
		job->ram_sizes[job->ram_size_count] = guest->cells[i].bytes;
		job->ram_nodes[job->ram_size_count] = guest->cells[i].bound_nodes;
		job->ram_cells[job->ram_size_count++] = (int8_t)guest->cells[i].id;
	}
	if (guest->cell_count == 0) {
		job->ram_sizes[job->ram_size_count] = guest->base_bytes;
		job->ram_cells[job->ram_size_count++] = 0;
	}
	for (size_t i = 0; i < guest->device_count; i++) {
		job->ram_addresses[job->ram_size_count] = snapshot_guest_device_address(guest, &guest->devices[i]);
		job->ram_blocks[job->ram_size_count] = guest->devices[i].block_bytes;
		job->ram_sizes[job->ram_size_count] = guest->devices[i].size_bytes;
		job->ram_cells[job->ram_size_count++] = (int8_t)guest->devices[i].cell;
	}
}
