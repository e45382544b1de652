/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps that libvirt runs: pins, numatune and the stored XML; sizes are in step_size.c.
 */
#include "step_runner_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "connection.h"
#include "domain_xml.h"
#include "node_set.h"
#include "placement.h"

/* Answers */

bool step_libvirt_worked(struct step_run *run, const struct connection_result *result)
{
	char text[192];

	switch (result->outcome) {
	case CONNECTION_DONE:
		return true;
	case CONNECTION_NO_DOMAIN:
		if (run->undoing) {
			step_run_done(run, "the guest is gone");
			return false;
		}
		step_run_fail(run, REMAINDER_GUEST_GONE, run->step.bytes, "libvirt does not know it any more");
		return false;
	case CONNECTION_NOT_UP:
		step_run_fail(run, REMAINDER_LIBVIRT_DOWN, run->step.bytes, "%s",
			      failure_format(&result->failure, text, sizeof(text)));
		return false;
	case CONNECTION_TIMED_OUT:
	case CONNECTION_REFUSED:
	case CONNECTION_OUTCOME_COUNT:
		break;
	}
	step_run_fail(run, REMAINDER_LIBVIRT_REFUSED, run->step.bytes, "%s",
		      failure_format(&result->failure, text, sizeof(text)));
	return false;
}

bool step_libvirt_submit(struct step_run *run, struct connection_call *call, connection_done_fn *done)
{
	call->uuid = run->step.guest;
	call->on_done = done;
	call->userdata = run;
	int r = connection_submit(look_connection(run->runner->options.look), call, NULL);

	if (r < 0)
		step_run_fail(run, REMAINDER_LIBVIRT_REFUSED, run->step.bytes, "libvirt cannot be asked: %s",
			      strerror(-r));
	return r == 0;
}

/* Placement */

static void list_of_mask(uint64_t mask, char *text, size_t size)
{
	struct node_set set;

	node_set_clear(&set);
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (mask >> node & 1)
			node_set_add(&set, node);
	node_set_format(&set, text, size);
}

static void on_numatune(void *user, const struct connection_result *result)
{
	struct step_run *run = user;

	if (step_libvirt_worked(run, result))
		step_run_done(run, "");
}

static void set_numatune(struct step_run *run)
{
	char nodes[DOMAIN_XML_NODES_SIZE];
	struct connection_call call = {.kind = CONNECTION_CALL_SET_NUMA, .scope = CONNECTION_SCOPE_LIVE, .nodes = nodes};
	const char *old = json_string_value(json_object_get(run->before, "nodes"));

	if (run->undoing && !old) {
		step_run_done(run, "nothing was replaced");
		return;
	}
	if (run->undoing)
		snprintf(nodes, sizeof(nodes), "%s", old);
	else
		list_of_mask(run->step.nodes, nodes, sizeof(nodes));
	step_libvirt_submit(run, &call, on_numatune);
}

static void on_pinned(void *user, const struct connection_result *result)
{
	struct step_run *run = user;
	char text[192];

	run->calls--;
	if (result->outcome != CONNECTION_DONE && !(run->undoing && result->outcome == CONNECTION_NO_DOMAIN))
		remainder_list_add(&run->outcome.remainder, REMAINDER_LIBVIRT_REFUSED, run->step.guest_name, 0, NULL,
				   "%s", failure_format(&result->failure, text, sizeof(text)));
	if (run->calls > 0)
		return;
	run->outcome.state = run->outcome.remainder.count ? STEP_STATE_PARTIAL : STEP_STATE_DONE;
	step_run_finish(run);
}

static void pin(struct step_run *run, enum connection_call_kind kind, enum connection_scope scope, unsigned id,
		const char *cpus)
{
	struct connection_call call = {.kind = kind, .scope = scope, .uuid = run->step.guest,
				       .on_done = on_pinned, .userdata = run, .pin = {.id = id, .cpus = cpus}};
	int r = connection_submit(look_connection(run->runner->options.look), &call, NULL);

	if (r == 0)
		run->calls++;
	else
		remainder_list_add(&run->outcome.remainder, REMAINDER_LIBVIRT_REFUSED, run->step.guest_name, 0, NULL,
				   "%s", strerror(-r));
}

/*
 * What a thread is pinned to: the wished CPUs, or on the way back its old ones, and where it had none what the guest has
 * for all its threads.
 */
static const char *cpus_for(const struct step_run *run, const json_t *old, const char *wanted, const char *all)
{
	const char *text = json_string_value(old);

	if (!run->undoing)
		return wanted;
	return text && text[0] ? text : all;
}

/* The threads that one description of the guest has, as pins_to_json() wrote them down. */
static void pin_all(struct step_run *run, const json_t *pins, enum connection_scope scope, const char *wanted,
		    const char *all)
{
	const char *unpinned = json_string_value(json_object_get(pins, "unpinned"));
	size_t index;
	json_t *entry;

	if (!pins)
		return;
	if (unpinned && unpinned[0])
		all = unpinned;
	json_array_foreach(json_object_get(pins, "vcpus"), index, entry)
		pin(run, CONNECTION_CALL_PIN_VCPU, scope,
		    (unsigned)json_integer_value(json_object_get(entry, "id")),
		    cpus_for(run, json_object_get(entry, "cpus"), wanted, all));
	json_array_foreach(json_object_get(pins, "iothreads"), index, entry)
		pin(run, CONNECTION_CALL_PIN_IOTHREAD, scope,
		    (unsigned)json_integer_value(json_object_get(entry, "id")),
		    cpus_for(run, json_object_get(entry, "cpus"), wanted, all));
	pin(run, CONNECTION_CALL_PIN_EMULATOR, scope, 0, cpus_for(run, json_object_get(pins, "emulator"), wanted, all));
}

static void set_cpus(struct step_run *run)
{
	const struct snapshot *snapshot = look_snapshot(run->runner->options.look);
	char all[DOMAIN_XML_CPUS_SIZE], wanted[DOMAIN_XML_CPUS_SIZE];

	snapshot_cpus_of_nodes(snapshot, UINT64_MAX, all, sizeof(all));
	snapshot_cpus_of_nodes(snapshot, run->step.nodes, wanted, sizeof(wanted));
	if (!run->undoing && !wanted[0]) {
		step_run_fail(run, REMAINDER_INVALID, 0, "the nodes have no CPUs");
		return;
	}
	/* Not finished from inside: the count of calls is held up until all are on their way. */
	run->calls = 1;
	pin_all(run, run->before, CONNECTION_SCOPE_LIVE, wanted, all);
	/* Only where the next start is to agree; then the values were written down. */
	pin_all(run, json_object_get(run->before, "stored"), CONNECTION_SCOPE_STORED, wanted, all);
	if (--run->calls == 0) {
		run->outcome.state = run->outcome.remainder.count ? STEP_STATE_PARTIAL : STEP_STATE_DONE;
		step_run_finish(run);
	}
}

static const char *pin_of(const struct domain_xml_pin *pins, size_t count, unsigned id)
{
	for (size_t i = 0; i < count; i++)
		if (pins[i].id == id)
			return pins[i].cpus;
	return "";
}

/*
 * vCPUs and I/O threads, pinned or not: one without a pin runs where <vcpu cpuset> lets all of them. Of vCPUs those, too,
 * that can still be plugged: libvirt keeps their pins, and one that comes starts with its own (qemu_driver.c
 * qemuDomainPinVcpuLive, qemu_process.c qemuProcessSetupVcpu).
 */
static json_t *pins_to_json(const struct domain_xml *xml)
{
	json_t *vcpus = json_array(), *iothreads = json_array();

	for (unsigned id = 0; id < xml->vcpu_maximum; id++)
		json_array_append_new(vcpus, json_pack("{s:i, s:s}", "id", (int)id, "cpus",
						       pin_of(xml->vcpu_pins, xml->vcpu_pin_count, id)));
	for (size_t i = 0; i < xml->iothread_count; i++)
		json_array_append_new(iothreads, json_pack("{s:i, s:s}", "id", (int)xml->iothreads[i], "cpus",
							   pin_of(xml->iothread_pins, xml->iothread_pin_count,
								  xml->iothreads[i])));
	return json_pack("{s:o, s:o, s:s, s:s}", "vcpus", vcpus, "iothreads", iothreads, "emulator", xml->emulator_pin,
			 "unpinned", xml->vcpu_cpus);
}

/* Adds what is stored to the pins of the running guest. 0, or -errno: without it there would be no way back. */
static int add_stored_pins(json_t *before, const char *stored_xml, struct failure *failure)
{
	struct domain_xml xml;
	int r = domain_xml_parse(stored_xml, strlen(stored_xml), &xml, failure);

	if (r < 0)
		return r;
	r = json_object_set_new(before, "stored", pins_to_json(&xml)) ? -ENOMEM : 0;
	domain_xml_done(&xml);
	return r;
}

static json_t *placement_to_json(const struct domain_xml_placement *placement)
{
	json_t *cells = json_array(), *devices = json_array();

	for (size_t i = 0; i < placement->cell_count; i++)
		json_array_append_new(cells, json_pack("{s:i, s:s}", "id", (int)placement->cells[i].id, "nodes",
						       placement->cells[i].nodes));
	for (size_t i = 0; i < placement->device_count; i++)
		json_array_append_new(devices, json_pack("{s:i, s:i, s:s}", "id", (int)placement->devices[i].id, "cell",
							 placement->devices[i].cell, "nodes",
							 placement->devices[i].nodes));
	return json_pack("{s:b, s:s, s:o, s:o}", "has_nodes", placement->has_nodes, "nodes", placement->nodes, "cells",
			 cells, "devices", devices);
}

static int nodes_from_json(const json_t *list, struct domain_xml_nodes **ret_nodes, size_t *ret_count)
{
	size_t index, count = json_array_size(list);
	struct domain_xml_nodes *nodes = calloc(count ? count : 1, sizeof(*nodes));
	json_t *entry;

	if (!nodes)
		return -ENOMEM;
	json_array_foreach(list, index, entry) {
		const char *text = json_string_value(json_object_get(entry, "nodes"));

		const json_t *cell = json_object_get(entry, "cell");

		nodes[index].id = (unsigned)json_integer_value(json_object_get(entry, "id"));
		/* A memnode is its cell's; a device says whose it is. */
		nodes[index].cell = cell ? (int)json_integer_value(cell) : (int)nodes[index].id;
		snprintf(nodes[index].nodes, sizeof(nodes[index].nodes), "%s", text ? text : "");
	}
	*ret_nodes = nodes;
	*ret_count = count;
	return 0;
}

static int placement_from_json(const json_t *json, struct domain_xml_placement *ret_placement)
{
	const char *nodes = json_string_value(json_object_get(json, "nodes"));

	memset(ret_placement, 0, sizeof(*ret_placement));
	ret_placement->has_nodes = json_is_true(json_object_get(json, "has_nodes"));
	snprintf(ret_placement->nodes, sizeof(ret_placement->nodes), "%s", nodes ? nodes : "");
	int r = nodes_from_json(json_object_get(json, "cells"), &ret_placement->cells, &ret_placement->cell_count);

	if (r == 0)
		r = nodes_from_json(json_object_get(json, "devices"), &ret_placement->devices,
				    &ret_placement->device_count);
	if (r < 0)
		domain_xml_placement_done(ret_placement);
	return r;
}

/* The stored sets as they must read after the move. */
static int follow(const struct step_run *run, struct domain_xml_placement *placement)
{
	const struct step *step = &run->step;
	const struct snapshot_guest *guest = step_run_guest(run);
	char nodes[DOMAIN_XML_NODES_SIZE];
	struct placement_move move = {.nodes = nodes};

	list_of_mask(step->nodes, nodes, sizeof(nodes));
	if (step->by_map) {
		move.map = step->map;
		move.map_count = SNAPSHOT_NODES_MAX;
	} else if (step->by_cells) {
		move.cells = step->cells;
		for (size_t i = 0; guest && i < guest->cell_count; i++)
			if (guest->cells[i].id >= 0 && (size_t)guest->cells[i].id >= move.cell_count &&
			    guest->cells[i].id < SNAPSHOT_CELLS_MAX)
				move.cell_count = (size_t)guest->cells[i].id + 1;
	}
	return placement_follow(placement, &move);
}

static void on_persisted(void *user, const struct connection_result *result)
{
	struct step_run *run = user;

	if (step_libvirt_worked(run, result))
		step_run_done(run, "");
}

static void set_stored(struct step_run *run)
{
	struct domain_xml_placement placement;
	struct connection_call call = {.kind = CONNECTION_CALL_PERSIST_PLACEMENT, .placement = &placement};

	if (!run->before && run->undoing) {
		step_run_done(run, "nothing was replaced");
		return;
	}
	if (!run->before) {
		step_run_fail(run, REMAINDER_STORED_XML, 0, "nothing is stored of it");
		return;
	}
	if (placement_from_json(run->before, &placement) < 0) {
		step_run_fail(run, REMAINDER_INVALID, 0, "out of memory");
		return;
	}
	int r = run->undoing ? 0 : follow(run, &placement);

	if (r < 0) {
		domain_xml_placement_done(&placement);
		step_run_fail(run, REMAINDER_INVALID, 0, "the stored sets of nodes cannot be rewritten: %s", strerror(-r));
		return;
	}
	step_libvirt_submit(run, &call, on_persisted);
	domain_xml_placement_done(&placement);
}

/* Preparing */

static void on_prepared_domain(void *user, const struct connection_result *result)
{
	struct step_run *run = user;
	struct domain_xml xml;
	struct domain_xml_placement placement;
	bool stored = run->step.kind == STEP_KIND_PERSIST;
	struct failure failure = {0};
	const char *text;
	int r;

	if (result->outcome != CONNECTION_DONE || result->domain_count == 0) {
		step_run_prepared(run, -EIO, &result->failure);
		return;
	}
	text = stored ? result->domains[0].stored_xml : result->domains[0].live_xml;
	if (!text) {
		/* A transient guest has nothing stored: there is nothing to replace. */
		step_run_prepared(run, 0, NULL);
		return;
	}
	r = domain_xml_parse(text, strlen(text), &xml, &failure);
	if (r < 0) {
		step_run_prepared(run, r, &failure);
		return;
	}
	if (!stored) {
		run->before = pins_to_json(&xml);
		step_run_note_process(run);
		if (run->before && run->persists && result->domains[0].stored_xml)
			r = add_stored_pins(run->before, result->domains[0].stored_xml, &failure);
	} else if (domain_xml_placement_read(&xml, &placement) == 0) {
		run->before = placement_to_json(&placement);
		domain_xml_placement_done(&placement);
	}
	domain_xml_done(&xml);
	/* What was there and could not be written down could not be put back. */
	if (!run->before)
		r = failure_set(&failure, ENOMEM, run->step.guest_name, "cannot write down what the step would replace");
	step_run_prepared(run, r, &failure);
}

void step_libvirt_prepare(struct step_run *run)
{
	const struct snapshot_guest *guest = step_run_guest(run);
	struct failure failure;
	char nodes[DOMAIN_XML_NODES_SIZE];

	if (!guest) {
		failure_set(&failure, ESRCH, run->step.guest_name, "cannot read what the step would replace");
		step_run_prepared(run, -ESRCH, &failure);
		return;
	}
	if (run->step.kind == STEP_KIND_AWAIT) {
		step_run_prepared(run, 0, NULL);
		return;
	}
	if (run->step.kind == STEP_KIND_NUMATUNE) {
		list_of_mask(guest->numatune_nodes, nodes, sizeof(nodes));
		run->before = json_pack("{s:s}", "nodes", nodes);
	} else if (run->step.kind == STEP_KIND_CPUS || run->step.kind == STEP_KIND_PERSIST) {
		struct connection_call call = {.kind = CONNECTION_CALL_GET_DOMAIN, .uuid = run->step.guest,
					       .on_done = on_prepared_domain, .userdata = run};
		int r = connection_submit(look_connection(run->runner->options.look), &call, NULL);

		if (r == 0)
			return;
		failure_set(&failure, r, run->step.guest_name, "cannot read what the step would replace");
		step_run_prepared(run, r, &failure);
		return;
	} else {
		run->before = json_pack("{s:I}", "requested_bytes", (json_int_t)step_size_requested(run, guest));
	}
	step_run_prepared(run, 0, NULL);
}

void step_libvirt_start(struct step_run *run)
{
	/* What was changed of a running guest ended with it; its stored XML is there all the same. */
	if (run->undoing && run->step.kind != STEP_KIND_PERSIST) {
		const struct snapshot_guest *guest = step_run_guest(run);

		if (!guest || guest->state == GUEST_STATE_SHUT_OFF) {
			step_run_done(run, "the guest is gone");
			return;
		}
	}
	switch (run->step.kind) {
	case STEP_KIND_NUMATUNE:
		set_numatune(run);
		return;
	case STEP_KIND_CPUS:
		set_cpus(run);
		return;
	case STEP_KIND_PERSIST:
		set_stored(run);
		return;
	case STEP_KIND_REQUEST:
	case STEP_KIND_KICK:
	case STEP_KIND_SETTLE:
	case STEP_KIND_BALLOON:
		step_size_start(run);
		return;
	case STEP_KIND_AWAIT:
		step_await_start(run);
		return;
	case STEP_KIND_ONLINE_POLICY:
	case STEP_KIND_FREE_HUGE_PAGES:
	case STEP_KIND_RUN_HOOKS:
	case STEP_KIND_COMPACT:
	case STEP_KIND_MAKE_GUEST_ROOM:
	case STEP_KIND_RECLAIM:
	case STEP_KIND_OFFLINE_GUEST_BLOCKS:
	case STEP_KIND_AGENT_COMMIT:
	case STEP_KIND_AGENT_UNDO:
	case STEP_KIND_HOST_POOL:
	case STEP_KIND_CPUSET:
	case STEP_KIND_MEMORY_POLICY:
	case STEP_KIND_REPORT_FREE:
	case STEP_KIND_LAZY:
	case STEP_KIND_MOVE_PAGES:
	case STEP_KIND_CORDON:
	case STEP_KIND_UNCORDON:
	case STEP_KIND_CHILD:
	case STEP_KIND_HOST_HOOKS:
	case STEP_KIND_OFFLINE_BLOCKS:
	case STEP_KIND_ONLINE_BLOCKS:
	case STEP_KIND_SLICE_CPUSETS:
	case STEP_KIND_EJECT:
	case STEP_KIND_UNDO:
	case STEP_KIND_PROBE:
	case STEP_KIND_PROOF:
	case STEP_KIND_COUNT:
		break;
	}
	step_run_fail(run, REMAINDER_INVALID, 0, "%s is no step of libvirt's", step_kind_name(run->step.kind));
}

void step_libvirt_cancel(struct step_run *run)
{
	/* A call on its way cannot be taken back; what is only being watched or waited for can be left. */
	if (run->step.kind == STEP_KIND_AWAIT)
		step_await_cancel(run);
	else if (run->timer)
		step_size_cancel(run);
}
