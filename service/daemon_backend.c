/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon_priv.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include "cleanup.h"
#include "connection.h"
#include "domain_xml.h"
#include "guest_blocks.h"
#include "holders.h"
#include "memory_hints.h"
#include "model_json.h"
#include "movability.h"
#include "node_set.h"
#include "worker_pool.h"

static const struct snapshot *backend_snapshot(void *user)
{
	return look_snapshot(((struct daemon *)user)->look);
}

struct answer_to {
	rest_done_fn *done;
	void *user;
	struct daemon *daemon;
	char guest[SNAPSHOT_UUID_SIZE];
};

static struct answer_to *answer_new(struct daemon *daemon, const char *guest, rest_done_fn *done, void *user)
{
	struct answer_to *answer = calloc(1, sizeof(*answer));
	struct failure failure;

	if (!answer) {
		failure_set(&failure, ENOMEM, "ballastd", "cannot answer");
		done(user, -ENOMEM, &failure, NULL);
		return NULL;
	}
	*answer = (struct answer_to){.done = done, .user = user, .daemon = daemon};
	snprintf(answer->guest, sizeof(answer->guest), "%s", guest ? guest : "");
	return answer;
}

static void on_refreshed(void *user, int error, const struct failure *failure)
{
	struct answer_to answer = *(struct answer_to *)user;

	free(user);
	/* Without libvirt the host's part is fresh, and the guests' says when it was seen. */
	answer.done(answer.user, error == -ENOTCONN ? 0 : error, failure, NULL);
}

static void backend_refresh(void *user, const char *guest, rest_done_fn *done, void *done_user)
{
	struct daemon *daemon = user;
	struct answer_to *answer = answer_new(daemon, guest, done, done_user);

	if (answer)
		look_refresh(daemon->look, guest, LOOK_SURVEY | LOOK_POLICY | LOOK_AGENT, on_refreshed, answer);
}

static void backend_hint(void *user, const struct memory_hint *hint, const char *actor, memory_hints_answer_fn *done,
			 void *done_user)
{
	struct daemon *daemon = user;

	memory_hints_take(daemon->hints, look_snapshot(daemon->look), hint, actor, done, done_user);
}

static bool backend_libvirt_up(void *user, struct failure *failure)
{
	return look_libvirt_is_up(((struct daemon *)user)->look, failure);
}

/* nodes: on which it can be done. */
static json_t *able(uint64_t nodes, const char *reason)
{
	if (!nodes)
		return json_pack("{s:s, s:s}", "able", "no", "reason", reason);
	return json_pack("{s:s, s:o}", "able", "yes", "nodes", model_json_nodes(nodes));
}

static json_t *probes_json(const struct kernel_probe *probe)
{
	json_t *probes = json_object();

	for (int i = 0; i < KERNEL_FEATURE_COUNT; i++)
		json_object_set_new(probes, kernel_feature_name((enum kernel_feature)i),
				    json_pack("{s:s, s:s}", "state", kernel_probe_state_name(probe->entries[i].state),
					      "detail", probe->entries[i].detail));
	return probes;
}

static json_t *can_json(const struct snapshot *snapshot, bool libvirt_is_up)
{
	struct movability movability = {0};
	uint64_t with_memory = 0, movable = 0;
	const char *way_out;
	unsigned count = 0;
	char reason[256];

	for (size_t i = 0; i < snapshot->node_count; i++) {
		const struct snapshot_node *node = &snapshot->nodes[i];

		if (!node->total_bytes)
			continue;
		with_memory |= UINT64_C(1) << node->id;
		count++;
		if (node->movable_bytes)
			movable |= UINT64_C(1) << node->id;
	}
	for (size_t i = 0; i < snapshot->block_count; i++)
		movability_add(&movability, &snapshot->blocks[i]);
	way_out = movability_way_out(snapshot, &movability);
	snprintf(reason, sizeof(reason), "no node has movable memory; %s",
		 way_out ? way_out : "how zones are cut is decided at boot (movable_node, kernelcore=)");
	return json_pack("{s:o, s:o, s:o}", "resize",
			 able(libvirt_is_up ? with_memory : 0, "libvirt is not there"), "move",
			 able(libvirt_is_up && count > 1 ? with_memory : 0,
			      libvirt_is_up ? "only one node has memory" : "libvirt is not there"),
			 "drain", able(movable, reason));
}

static size_t backend_stuck_workers(void *user)
{
	const struct daemon *daemon = user;
	size_t count = 0;

	while (worker_pool_stuck(daemon->pool, count))
		count++;
	return count;
}

static json_t *stuck_json(const struct worker_pool *pool)
{
	json_t *list = json_array();
	const struct worker_stuck *stuck;

	for (size_t i = 0; (stuck = worker_pool_stuck(pool, i)); i++)
		json_array_append_new(list, json_pack("{s:i, s:o, s:o, s:b}", "worker", stuck->record.pid, "doing",
						      model_json_text(stuck->record.text), "place",
						      stuck->place[0] ? model_json_text(stuck->place) : json_null(), "of_this_daemon",
						      (int)!stuck->is_orphan));
	return list;
}

json_t *daemon_backend_host(void *user)
{
	struct daemon *daemon = user;
	const struct snapshot *snapshot = look_snapshot(daemon->look);
	struct failure failure = {0};
	bool up = look_libvirt_is_up(daemon->look, &failure);
	struct utsname kernel;
	json_t *libvirt, *json;
	char text[512];

	uname(&kernel);
	libvirt = up ? json_pack("{s:s}", "state", "up") :
		       json_pack("{s:s, s:s}", "state", "down", "reason", failure_format(&failure, text, sizeof(text)));
	json = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:{s:I, s:i, s:I}, s:I, s:o}", "version", BALLAST_VERSION,
			 "mode", daemon->config->observe ? "observe" : "act", "kernel", kernel.release, "libvirt", libvirt,
			 "probes", probes_json(&daemon->probe), "can", can_json(snapshot, up), "memory_controllers",
			 model_json_controllers(snapshot), "workers_stuck", stuck_json(daemon->pool), "limits", "reserve_bytes",
			 (json_int_t)snapshot->reserve_bytes, "stall_us", (int)daemon->limits.stall_us, "bytes_per_s",
			 (json_int_t)daemon->limits.bytes_per_s, "revision", (json_int_t)snapshot->revision,
			 "observed_at", model_json_time(snapshot->observed_at_ms));
	model_json_add_reboot(json, &snapshot->reboot);
	return json;
}

static void backend_holders(void *user, const struct snapshot_range *ranges, size_t count, rest_holders_fn *done,
			    void *done_user)
{
	struct daemon *daemon = user;

	holders_find(daemon->look, daemon->pool, ranges, count, done, done_user);
}

static void backend_guest_blocks(void *user, const char *guest, uint64_t first_block, size_t count,
				 rest_guest_blocks_fn *done, void *done_user)
{
	guest_blocks_ask(((struct daemon *)user)->look, guest, first_block, count, done, done_user);
}

static void on_called(void *user, const struct connection_result *result)
{
	struct answer_to *answer = user;
	int error = 0;

	switch (result->outcome) {
	case CONNECTION_DONE:
		/* Seen by whoever asks next. */
		look_refresh(answer->daemon->look, answer->guest, 0, on_refreshed, answer);
		return;
	case CONNECTION_NO_DOMAIN:
		error = -ENOENT;
		break;
	case CONNECTION_NOT_UP:
		error = -ENOTCONN;
		break;
	case CONNECTION_TIMED_OUT:
		error = -ETIMEDOUT;
		break;
	case CONNECTION_REFUSED:
	case CONNECTION_OUTCOME_COUNT:
		/* What a check before libvirt refused has a code of its own: it is the caller's to mend. */
		error = result->failure.code[0] ? -EPERM : -EIO;
		break;
	}
	answer->done(answer->user, error, &result->failure, NULL);
	free(answer);
}

static void call(struct answer_to *answer, struct connection_call *request)
{
	struct failure failure;

	request->uuid = answer->guest;
	request->on_done = on_called;
	request->userdata = answer;
	int r = connection_submit(look_connection(answer->daemon->look), request, NULL);

	if (r == 0)
		return;
	failure_set(&failure, r, "libvirt", "cannot be asked");
	answer->done(answer->user, -EBUSY, &failure, NULL);
	free(answer);
}

static void backend_attach_agent(void *user, const char *guest, rest_done_fn *done, void *done_user)
{
	struct answer_to *answer = answer_new(user, guest, done, done_user);
	struct connection_call request = {.kind = CONNECTION_CALL_ATTACH_CHANNEL,
					  .scope = CONNECTION_SCOPE_LIVE,
					  .channel_name = DOMAIN_XML_AGENT_CHANNEL};

	if (answer)
		call(answer, &request);
}

static void backend_set_policy(void *user, const char *guest, const struct rest_guest_policy *policy,
			       rest_done_fn *done, void *done_user)
{
	struct daemon *daemon = user;
	struct answer_to *answer = answer_new(daemon, guest, done, done_user);
	const struct snapshot_guest *seen = snapshot_guest(look_snapshot(daemon->look), guest);
	struct domain_xml_policy element = {
		.has_minimum = policy->minimum_bytes > 0,
		.minimum_bytes = policy->minimum_bytes,
		.has_maximum = policy->maximum_bytes > 0,
		.maximum_bytes = policy->maximum_bytes,
		.has_request_limit = policy->request_limit_bytes > 0,
		.request_limit_bytes = policy->request_limit_bytes,
		.has_zone_repair = policy->zone_repair != GUEST_ZONE_REPAIR_UNSET,
		.zone_repair = policy->zone_repair == GUEST_ZONE_REPAIR_YES,
		.has_priority = policy->priority > 0,
		.priority = (unsigned)policy->priority,
	};
	struct connection_call request = {.kind = CONNECTION_CALL_SET_METADATA, .scope = CONNECTION_SCOPE_LIVE};
	CLEANUP_FREE char *xml = NULL;
	struct failure failure;
	struct node_set nodes;

	if (!answer)
		return;
	node_set_clear(&nodes);
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (policy->allowed_nodes >> node & 1)
			node_set_add(&nodes, node);
	node_set_format(&nodes, element.allowed_nodes, sizeof(element.allowed_nodes));
	if (policy->online_policy != GUEST_ONLINE_POLICY_UNSET)
		snprintf(element.online_policy, sizeof(element.online_policy), "%s",
			 guest_online_policy_name(policy->online_policy));
	int r = domain_xml_policy_format(&element, &xml);

	if (r < 0) {
		failure_set(&failure, r, guest, "cannot set its policy");
		done(done_user, r, &failure, NULL);
		free(answer);
		return;
	}
	if (seen && seen->persistent)
		request.scope = seen->pid > 0 ? CONNECTION_SCOPE_BOTH : CONNECTION_SCOPE_STORED;
	request.metadata = xml;
	call(answer, &request);
}

void daemon_backend_init(struct daemon *daemon)
{
	daemon->backend = (struct rest_backend){
		.user = daemon,
		.engine = daemon->engine,
		.journal = daemon->journal,
		.snapshot = backend_snapshot,
		.refresh = backend_refresh,
		.libvirt_up = backend_libvirt_up,
		.stuck_workers = backend_stuck_workers,
		.host = daemon_backend_host,
		.holders = backend_holders,
		.hint = backend_hint,
		.guest_blocks = backend_guest_blocks,
		.attach_agent = backend_attach_agent,
		.set_policy = backend_set_policy,
		.now_ms = daemon_now_ms,
	};
}
