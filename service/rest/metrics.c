/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include "event_stream.h"

#define OPERATIONS_MAX 1024

static void family(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and line end are escaped. */
static void put_label(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '\\' || *text == '"')
			fprintf(out, "\\%c", *text);
		else
			fputc(*text, out);
	}
}

static void put_nodes(FILE *out, const struct snapshot *snapshot)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} gauges[] = {
		{"ballast_node_total_bytes", "Memory of a host node.",
		 offsetof(struct snapshot_node, total_bytes)},
		{"ballast_node_free_bytes", "Free memory of a host node.",
		 offsetof(struct snapshot_node, free_bytes)},
		{"ballast_node_movable_bytes", "Memory of a host node in its movable zone.",
		 offsetof(struct snapshot_node, movable_bytes)},
		{"ballast_node_guest_bytes", "Resident guest memory on a host node.",
		 offsetof(struct snapshot_node, guest_bytes)},
	};

	for (size_t g = 0; g < ARRAY_SIZE(gauges); g++) {
		family(out, gauges[g].name, "gauge", gauges[g].help);
		for (size_t i = 0; i < snapshot->node_count; i++) {
			const char *node = (const char *)&snapshot->nodes[i];

			fprintf(out, "%s{node=\"%d\"} %" PRIu64 "\n", gauges[g].name,
				snapshot->nodes[i].id,
				*(const uint64_t *)(const void *)(node + gauges[g].offset));
		}
	}
	family(out, "ballast_node_held", "gauge", "1 while a drain holds a node or a part of it.");
	for (size_t i = 0; i < snapshot->node_count; i++)
		fprintf(out, "ballast_node_held{node=\"%d\"} %d\n", snapshot->nodes[i].id,
			snapshot->nodes[i].held);
}

static void put_dimms(FILE *out, const struct snapshot *snapshot)
{
	family(out, "ballast_dimm_guest_bytes", "gauge",
	       "Resident guest memory inside a DIMM, as last surveyed; absent where it is not known of every guest.");
	for (size_t i = 0; i < snapshot->dimm_count; i++) {
		if (snapshot->dimms[i].guests_untold)
			continue;
		fputs("ballast_dimm_guest_bytes{dimm=\"", out);
		put_label(out, snapshot->dimms[i].id);
		fprintf(out, "\"} %" PRIu64 "\n", snapshot->dimms[i].guest_bytes);
	}
	family(out, "ballast_dimm_state", "gauge", "1 for the state that a DIMM is in.");
	for (size_t i = 0; i < snapshot->dimm_count; i++) {
		fputs("ballast_dimm_state{dimm=\"", out);
		put_label(out, snapshot->dimms[i].id);
		fprintf(out, "\",state=\"%s\"} 1\n",
			snapshot_dimm_state_name(snapshot->dimms[i].state));
	}
}

static void put_guest(FILE *out, const char *name, const struct snapshot_guest *guest,
		      const char *more, uint64_t value)
{
	fprintf(out, "%s{guest=\"%s\",name=\"", name, guest->uuid);
	put_label(out, guest->name);
	fprintf(out, "\"%s} %" PRIu64 "\n", more, value);
}

static void put_guests(FILE *out, const struct snapshot *snapshot)
{
	char more[32];

	family(out, "ballast_guest_current_bytes", "gauge", "Memory that a guest has now.");
	for (size_t i = 0; i < snapshot->guest_count; i++)
		put_guest(out, "ballast_guest_current_bytes", &snapshot->guests[i], "",
			  snapshot->guests[i].current_bytes);
	family(out, "ballast_guest_target_bytes", "gauge", "Memory that a guest is to have.");
	for (size_t i = 0; i < snapshot->guest_count; i++)
		put_guest(out, "ballast_guest_target_bytes", &snapshot->guests[i], "",
			  snapshot->guests[i].requested_bytes);
	family(out, "ballast_guest_resident_bytes", "gauge",
	       "Resident memory of a guest on a host node.");
	for (size_t i = 0; i < snapshot->guest_count; i++)
		for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
			if (!snapshot->guests[i].node_bytes[node])
				continue;
			snprintf(more, sizeof(more), ",node=\"%d\"", node);
			put_guest(out, "ballast_guest_resident_bytes", &snapshot->guests[i], more,
				  snapshot->guests[i].node_bytes[node]);
		}
	family(out, "ballast_guest_agent_ready", "gauge", "1 while a guest's agent answers.");
	for (size_t i = 0; i < snapshot->guest_count; i++)
		put_guest(out, "ballast_guest_agent_ready", &snapshot->guests[i], "",
			  snapshot->guests[i].agent.state == AGENT_STATE_READY);
}

static void put_operations(FILE *out, const struct engine *engine)
{
	CLEANUP_FREE const struct operation_record **records =
		calloc(OPERATIONS_MAX, sizeof(*records));
	size_t count = records ? engine_operations(engine, records, OPERATIONS_MAX) : 0;
	uint64_t counts[OPERATION_KIND_COUNT][OPERATION_STATE_COUNT] = {0};

	for (size_t i = 0; i < count; i++)
		if ((unsigned)records[i]->wish.kind < OPERATION_KIND_COUNT &&
		    (unsigned)records[i]->state < OPERATION_STATE_COUNT)
			counts[records[i]->wish.kind][records[i]->state]++;
	family(out, "ballast_operations", "gauge",
	       "Operations that are open or ended lately, by kind and state.");
	for (int kind = 0; kind < OPERATION_KIND_COUNT; kind++)
		for (int state = 0; state < OPERATION_STATE_COUNT; state++)
			fprintf(out, "ballast_operations{kind=\"%s\",state=\"%s\"} %" PRIu64 "\n",
				operation_kind_name((enum operation_kind)kind),
				operation_state_name((enum operation_state)state),
				counts[kind][state]);
}

char *metrics_text(const struct rest_context *context, size_t *ret_size)
{
	const struct rest_backend *backend = context->backend;
	const struct snapshot *snapshot = backend->snapshot(backend->user);
	struct failure failure = {0};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	family(out, "ballast_build_info", "gauge", "1, labelled with the version.");
	fprintf(out, "ballast_build_info{version=\"%s\"} 1\n", BALLAST_VERSION);
	family(out, "ballast_libvirt_up", "gauge", "1 while there is a connection to libvirt.");
	fprintf(out, "ballast_libvirt_up %d\n", backend->libvirt_up(backend->user, &failure));
	family(out, "ballast_snapshot_timestamp_seconds", "gauge",
	       "When the host was last looked at.");
	fprintf(out, "ballast_snapshot_timestamp_seconds %" PRIu64 ".%03u\n",
		snapshot->observed_at_ms / 1000, (unsigned)(snapshot->observed_at_ms % 1000));
	family(out, "ballast_workers_stuck", "gauge", "Workers that the kernel does not let go of, and that no signal ends.");
	fprintf(out, "ballast_workers_stuck %zu\n", backend->stuck_workers(backend->user));
	put_nodes(out, snapshot);
	put_dimms(out, snapshot);
	put_guests(out, snapshot);
	put_operations(out, backend->engine);
	family(out, "ballast_http_replies_total", "counter",
	       "Replies of this API, by class of status.");
	for (int i = 2; i < REST_STATUS_CLASSES; i++)
		fprintf(out, "ballast_http_replies_total{class=\"%dxx\"} %" PRIu64 "\n", i,
			context->replies[i]);
	family(out, "ballast_event_readers", "gauge", "Open streams of events.");
	fprintf(out, "ballast_event_readers %u\n", event_stream_reader_count(context->events));
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	*ret_size = size;
	return text;
}
