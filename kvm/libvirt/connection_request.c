/* SPDX-License-Identifier: Apache-2.0 */
#include "connection_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "guest_process.h"
#include "libvirt_ops.h"
#include "placement.h"
#include "size_text.h"
#include "virtio_mem.h"

#define NODE_LIMIT 1024 /* MAX_NUMNODES of every kernel so far */
#define CPU_LIMIT  8192 /* the largest CONFIG_NR_CPUS of x86 */

static const char *const kind_names[CONNECTION_CALL_KIND_COUNT] = {
	[CONNECTION_CALL_LIST_DOMAINS] = "list_domains",
	[CONNECTION_CALL_GET_DOMAIN] = "get_domain",
	[CONNECTION_CALL_UPDATE_VIRTIO_MEM] = "update_virtio_mem",
	[CONNECTION_CALL_SET_BALLOON] = "set_balloon",
	[CONNECTION_CALL_SET_NUMA] = "set_numa",
	[CONNECTION_CALL_PIN_VCPU] = "pin_vcpu",
	[CONNECTION_CALL_PIN_EMULATOR] = "pin_emulator",
	[CONNECTION_CALL_PIN_IOTHREAD] = "pin_iothread",
	[CONNECTION_CALL_ATTACH_CHANNEL] = "attach_channel",
	[CONNECTION_CALL_GET_METADATA] = "get_metadata",
	[CONNECTION_CALL_SET_METADATA] = "set_metadata",
	[CONNECTION_CALL_PERSIST_PLACEMENT] = "persist_placement",
};
NAME_TABLE_DEFINE(connection_call_kind, kind_names)

/* "cannot ...", for people. */
static const char *const actions[CONNECTION_CALL_KIND_COUNT] = {
	[CONNECTION_CALL_LIST_DOMAINS] = "cannot list the guests",
	[CONNECTION_CALL_GET_DOMAIN] = "cannot read the guest",
	[CONNECTION_CALL_UPDATE_VIRTIO_MEM] = "cannot set the size of its virtio-mem device",
	[CONNECTION_CALL_SET_BALLOON] = "cannot set its balloon",
	[CONNECTION_CALL_SET_NUMA] = "cannot change its nodes",
	[CONNECTION_CALL_PIN_VCPU] = "cannot pin its vCPU",
	[CONNECTION_CALL_PIN_EMULATOR] = "cannot pin its emulator",
	[CONNECTION_CALL_PIN_IOTHREAD] = "cannot pin its I/O thread",
	[CONNECTION_CALL_ATTACH_CHANNEL] = "cannot add the agent's channel",
	[CONNECTION_CALL_GET_METADATA] = "cannot read its policy",
	[CONNECTION_CALL_SET_METADATA] = "cannot write its policy",
	[CONNECTION_CALL_PERSIST_PLACEMENT] = "cannot change its stored placement",
};

/* ---- taking a copy ---- */

/* The one string a call carries and whether it will do. */
static int check_call(const struct connection_call *call, const char **ret_text)
{
	struct domain_xml_policy policy;

	*ret_text = NULL;
	switch (call->kind) {
	case CONNECTION_CALL_LIST_DOMAINS:
		return call->uuid ? -EINVAL : 0;
	case CONNECTION_CALL_GET_DOMAIN:
	case CONNECTION_CALL_SET_BALLOON:
		return 0;
	case CONNECTION_CALL_GET_METADATA:
		return call->scope == CONNECTION_SCOPE_BOTH ? -EINVAL : 0;
	case CONNECTION_CALL_PERSIST_PLACEMENT:
		return call->placement ? 0 : -EINVAL;
	case CONNECTION_CALL_SET_METADATA:
		*ret_text = call->metadata;
		return call->metadata
			       ? domain_xml_policy_parse(call->metadata, strlen(call->metadata),
							 &policy, NULL)
			       : 0;
	case CONNECTION_CALL_UPDATE_VIRTIO_MEM:
		*ret_text = call->virtio_mem.alias;
		return *ret_text && **ret_text ? 0 : -EINVAL;
	case CONNECTION_CALL_SET_NUMA:
		*ret_text = call->nodes;
		return *ret_text && domain_xml_list_is_valid(*ret_text, NODE_LIMIT) ? 0 : -EINVAL;
	case CONNECTION_CALL_PIN_VCPU:
	case CONNECTION_CALL_PIN_EMULATOR:
	case CONNECTION_CALL_PIN_IOTHREAD:
		*ret_text = call->pin.cpus;
		return *ret_text && domain_xml_list_is_valid(*ret_text, CPU_LIMIT) ? 0 : -EINVAL;
	case CONNECTION_CALL_ATTACH_CHANNEL:
		*ret_text = call->channel_name;
		return *ret_text && **ret_text ? 0 : -EINVAL;
	case CONNECTION_CALL_KIND_COUNT:
		break;
	}
	return -EINVAL;
}

int connection_request_init(struct connection_request *request, const struct connection_call *call)
{
	const char *text;
	int error = check_call(call, &text);

	if (error < 0)
		return error;
	memset(request, 0, sizeof(*request));
	request->call = *call;
	if (call->kind != CONNECTION_CALL_LIST_DOMAINS) {
		if (!call->uuid || strlen(call->uuid) != DOMAIN_XML_UUID_SIZE - 1)
			return -EINVAL;
		memcpy(request->uuid, call->uuid, sizeof(request->uuid));
	}
	request->call.uuid = request->uuid;
	if (call->kind == CONNECTION_CALL_PERSIST_PLACEMENT)
		return domain_xml_placement_copy(call->placement, &request->placement);
	if (text) {
		request->text = strdup(text);
		if (!request->text)
			return -ENOMEM;
	}
	return 0;
}

void connection_request_done(struct connection_request *request)
{
	free(request->text);
	request->text = NULL;
	domain_xml_placement_done(&request->placement);
}

/* ---- answers ---- */

void connection_domain_done(struct connection_domain *domain)
{
	free(domain->name);
	free(domain->live_xml);
	free(domain->stored_xml);
	memset(domain, 0, sizeof(*domain));
}

void connection_answer_done(struct connection_answer *answer)
{
	for (size_t i = 0; i < answer->domain_count; i++)
		connection_domain_done(&answer->domains[i]);
	free(answer->domains);
	free(answer->text);
	answer->domains = NULL;
	answer->domain_count = 0;
	answer->text = NULL;
}

void connection_request_fail(const struct connection_request *request, struct failure *failure,
			     int error, const char *code, const char *cause)
{
	char object[FAILURE_OBJECT_SIZE];

	if (request->uuid[0])
		snprintf(object, sizeof(object), "guest %s", request->uuid);
	else
		snprintf(object, sizeof(object), "libvirt");
	failure_set(failure, error, object, "%s", actions[request->call.kind]);
	failure_set_code(failure, code);
	failure_set_cause(failure, "%s", cause);
}

static void refuse(const struct connection_request *request, struct connection_answer *answer,
		   const char *code, const char *cause, const char *way_out)
{
	answer->outcome = CONNECTION_REFUSED;
	connection_request_fail(request, &answer->failure, EPERM, code, cause);
	failure_set_way_out(&answer->failure, "%s", way_out);
}

/* What a failed function of the ops means. */
static void take_error(const struct connection_request *request, int error,
		       const struct libvirt_error *details, struct connection_answer *answer)
{
	answer->libvirt_code = details->code;
	answer->is_transport = details->is_transport;
	if (details->is_transport) {
		answer->outcome = CONNECTION_NOT_UP;
		connection_request_fail(request, &answer->failure, error, "libvirt_down",
					details->text);
	} else if (details->no_domain) {
		answer->outcome = CONNECTION_NO_DOMAIN;
		connection_request_fail(request, &answer->failure, ENOENT, "unknown_guest",
					details->text);
	} else {
		answer->outcome = CONNECTION_REFUSED;
		connection_request_fail(request, &answer->failure, error, "libvirt_refused",
					details->text);
	}
}

/* libvirt's own words were not ours to read. */
static void take_local_error(const struct connection_request *request, int error, const char *cause,
			     struct connection_answer *answer)
{
	answer->outcome = CONNECTION_REFUSED;
	connection_request_fail(request, &answer->failure, error, "libvirt_refused", cause);
}

/* ---- carrying out ---- */

struct run {
	const struct connection_request *request;
	const struct libvirt_ops *ops;
	void *link; /* borrowed */
	const struct sysroot *sysroot;
	struct connection_answer *answer;
	struct libvirt_error error;
};

static unsigned scope_flags(enum connection_scope scope)
{
	switch (scope) {
	case CONNECTION_SCOPE_LIVE:
		return LIBVIRT_LIVE;
	case CONNECTION_SCOPE_STORED:
		return LIBVIRT_STORED;
	case CONNECTION_SCOPE_BOTH:
		break;
	}
	return LIBVIRT_LIVE | LIBVIRT_STORED;
}

/* The live description afresh. 0, or an error of the ops, or (with the answer filled) -EBADMSG. */
static int read_live(struct run *run, char **ret_xml, struct domain_xml *ret_domain)
{
	CLEANUP_FREE char *xml = NULL;
	struct failure failure = {0};
	int error =
		run->ops->get_xml(run->link, run->request->uuid, LIBVIRT_LIVE, &xml, &run->error);

	if (error < 0)
		return error;
	if (domain_xml_parse(xml, strlen(xml), ret_domain, &failure) < 0) {
		take_local_error(run->request, EBADMSG, failure.cause, run->answer);
		return -EBADMSG;
	}
	*ret_xml = TAKE_PTR(xml);
	return 0;
}

static int run_list(struct run *run)
{
	return run->ops->list(run->link, &run->answer->domains, &run->answer->domain_count,
			      &run->error);
}

static int run_get(struct run *run)
{
	struct connection_domain *domain = calloc(1, sizeof(*domain));
	int error;

	if (!domain)
		return -ENOMEM;
	error = run->ops->get(run->link, run->request->uuid, domain, &run->error);
	if (error < 0) {
		free(domain);
		return error;
	}
	/* Not found is no error: the guest may be of another kind, or be on its way down. */
	if (domain->id >= 0 && run->sysroot &&
	    guest_process_find(run->sysroot, domain->name, domain->uuid, &domain->pid) < 0)
		domain->pid = 0;
	run->answer->domains = domain;
	run->answer->domain_count = 1;
	return 0;
}

static void refuse_size(struct run *run, const struct domain_xml_device *device,
			enum virtio_mem_outcome outcome)
{
	char cause[128], block[SIZE_TEXT_SIZE], size[SIZE_TEXT_SIZE], wanted[SIZE_TEXT_SIZE];

	size_text_format(run->request->call.virtio_mem.requested_bytes, wanted);
	size_text_format(device->block_bytes, block);
	size_text_format(device->size_bytes, size);
	if (outcome == VIRTIO_MEM_NOT_MULTIPLE)
		snprintf(cause, sizeof(cause), "%s is no multiple of the block size %s", wanted,
			 block);
	else
		snprintf(cause, sizeof(cause), "%s is more than the device's %s", wanted, size);
	refuse(run->request, run->answer, virtio_mem_outcome_name(outcome), cause, "");
}

static int send_requested(struct run *run, const char *live_xml)
{
	CLEANUP_FREE char *xml = NULL;
	int error = domain_xml_build_requested(live_xml, run->request->text,
					       run->request->call.virtio_mem.requested_bytes, &xml);

	if (error < 0) {
		take_local_error(run->request, error, strerror(-error), run->answer);
		return 0;
	}
	return run->ops->update_device(run->link, run->request->uuid, xml, LIBVIRT_LIVE,
				       &run->error);
}

static int run_virtio_mem(struct run *run)
{
	const struct connection_request *request = run->request;
	CLEANUP_FREE char *live = NULL;
	const struct domain_xml_device *device;
	struct domain_xml domain;
	int error = read_live(run, &live, &domain);

	if (error < 0)
		return error == -EBADMSG ? 0 : error;
	device = domain_xml_find_device(&domain, request->text);
	if (!device || device->model != DOMAIN_XML_MODEL_VIRTIO_MEM) {
		refuse(request, run->answer, virtio_mem_outcome_name(VIRTIO_MEM_NO_DEVICE),
		       "it has no virtio-mem device of that alias", "");
	} else {
		struct virtio_mem_device sizes = {.size_bytes = device->size_bytes,
						  .block_bytes = device->block_bytes};
		enum virtio_mem_outcome outcome =
			virtio_mem_check(&sizes, request->call.virtio_mem.requested_bytes);

		if (outcome == VIRTIO_MEM_FITS)
			error = send_requested(run, live);
		else
			refuse_size(run, device, outcome);
	}
	domain_xml_done(&domain);
	return error;
}

static int run_numa(struct run *run)
{
	CLEANUP_FREE char *live = NULL;
	enum placement_outcome outcome;
	struct domain_xml domain;
	int error = read_live(run, &live, &domain);

	if (error < 0)
		return error == -EBADMSG ? 0 : error;
	outcome = placement_can_take_back(&domain);
	domain_xml_done(&domain);
	if (outcome != PLACEMENT_CAN_TAKE_BACK) {
		refuse(run->request, run->answer, placement_outcome_name(outcome),
		       placement_outcome_text(outcome), "");
		return 0;
	}
	return run->ops->set_numa(run->link, run->request->uuid, run->request->text, LIBVIRT_LIVE,
				  &run->error);
}

static int run_attach(struct run *run)
{
	const struct connection_request *request = run->request;
	CLEANUP_FREE char *live = NULL, *xml = NULL;
	struct domain_xml domain;
	bool there, possible;
	int error;

	if (request->call.scope != CONNECTION_SCOPE_STORED) {
		error = read_live(run, &live, &domain);
		if (error < 0)
			return error == -EBADMSG ? 0 : error;
		there = domain_xml_find_channel(&domain, request->text) != NULL;
		possible = domain.has_virtio_serial;
		domain_xml_done(&domain);
		if (there)
			return 0;
		if (!possible) {
			refuse(request, run->answer, "needs_restart",
			       "it has no virtio-serial controller, and none can be added while it "
			       "runs",
			       "add a virtio-serial controller to its stored description and "
			       "restart it");
			return 0;
		}
	}
	error = domain_xml_build_channel(request->text, &xml);
	if (error < 0) {
		take_local_error(request, error, strerror(-error), run->answer);
		return 0;
	}
	return run->ops->attach_device(run->link, request->uuid, xml,
				       scope_flags(request->call.scope), &run->error);
}

static int run_persist(struct run *run)
{
	const struct connection_request *request = run->request;
	CLEANUP_FREE char *stored = NULL, *changed = NULL;
	int error =
		run->ops->get_xml(run->link, request->uuid, LIBVIRT_STORED, &stored, &run->error);

	if (error < 0)
		return error;
	error = domain_xml_build_placement(stored, &request->placement, &changed);
	if (error < 0) {
		take_local_error(request, error,
				 error == -ENOENT ? "its stored description has no such nodeset"
						  : strerror(-error),
				 run->answer);
		return 0;
	}
	return run->ops->define(run->link, changed, &run->error);
}

static int run_kind(struct run *run)
{
	const struct connection_request *request = run->request;
	const struct connection_call *call = &request->call;
	unsigned flags = scope_flags(call->scope);

	switch (call->kind) {
	case CONNECTION_CALL_LIST_DOMAINS:
		return run_list(run);
	case CONNECTION_CALL_GET_DOMAIN:
		return run_get(run);
	case CONNECTION_CALL_UPDATE_VIRTIO_MEM:
		return run_virtio_mem(run);
	case CONNECTION_CALL_SET_BALLOON:
		return run->ops->set_memory(run->link, request->uuid, call->balloon_bytes, flags,
					    &run->error);
	case CONNECTION_CALL_SET_NUMA:
		return run_numa(run);
	case CONNECTION_CALL_PIN_VCPU:
		return run->ops->pin(run->link, request->uuid, LIBVIRT_PIN_VCPU, call->pin.id,
				     request->text, flags, &run->error);
	case CONNECTION_CALL_PIN_EMULATOR:
		return run->ops->pin(run->link, request->uuid, LIBVIRT_PIN_EMULATOR, 0,
				     request->text, flags, &run->error);
	case CONNECTION_CALL_PIN_IOTHREAD:
		return run->ops->pin(run->link, request->uuid, LIBVIRT_PIN_IOTHREAD, call->pin.id,
				     request->text, flags, &run->error);
	case CONNECTION_CALL_ATTACH_CHANNEL:
		return run_attach(run);
	case CONNECTION_CALL_GET_METADATA:
		return run->ops->get_metadata(run->link, request->uuid, flags, &run->answer->text,
					      &run->error);
	case CONNECTION_CALL_SET_METADATA:
		return run->ops->set_metadata(run->link, request->uuid, request->text, flags,
					      &run->error);
	case CONNECTION_CALL_PERSIST_PLACEMENT:
		return run_persist(run);
	case CONNECTION_CALL_KIND_COUNT:
		break;
	}
	return 0;
}

void connection_request_run(const struct connection_request *request, const struct libvirt_ops *ops,
			    void *link, const struct sysroot *sysroot,
			    struct connection_answer *ret_answer)
{
	struct run run = {.request = request,
			  .ops = ops,
			  .link = link,
			  .sysroot = sysroot,
			  .answer = ret_answer};
	int error;

	*ret_answer = (struct connection_answer){.outcome = CONNECTION_DONE};
	error = run_kind(&run);
	if (error == -ENOMEM && !run.error.text[0])
		take_local_error(request, error, strerror(ENOMEM), ret_answer);
	else if (error < 0)
		take_error(request, error, &run.error, ret_answer);
}
