/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function for each call and each event, none with a decision in it: long, but flat. It is the
 * only file that includes libvirt's headers.
 */
#include "libvirt_ops.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include "connection.h"

/*
 * 2 questions without an answer, 20 s apart: a libvirtd that hangs counts as gone after a minute.
 * One that ends is told by the socket at once, and calls have time limits of their own; each
 * question costs an idle daemon two wake-ups.
 */
#define KEEPALIVE_INTERVAL_S 20
#define KEEPALIVE_COUNT	     2
#define MAX_CPUS	     8192 /* the largest CONFIG_NR_CPUS of x86 */

#define MAX_EVENTS 16 /* more than subscribe_all() has */

/* What libvirt's callbacks get: outlives the link, because libvirt frees callback data late. */
struct feed {
	atomic_uint holders;
	struct libvirt_sink sink;
};

struct link {
	atomic_uint holders;
	virConnectPtr connection; /* owned */
	struct feed *feed;	  /* a share */
	int events[MAX_EVENTS];	  /* callback numbers */
	size_t event_count;
};

/* ---- errors ---- */

static int fail(virConnectPtr connection, struct libvirt_error *error)
{
	virErrorPtr last = virGetLastError();

	*error = (struct libvirt_error){0};
	if (last) {
		error->code = last->code;
		error->domain = last->domain;
		snprintf(error->text, sizeof(error->text), "%s",
			 last->message ? last->message : "");
	}
	error->no_domain = error->code == VIR_ERR_NO_DOMAIN;
	error->is_transport = error->domain == VIR_FROM_RPC || error->code == VIR_ERR_RPC ||
			      error->code == VIR_ERR_NO_CONNECT ||
			      error->code == VIR_ERR_INVALID_CONN || !connection ||
			      virConnectIsAlive(connection) != 1;
	return -EREMOTEIO;
}

static int fail_here(struct libvirt_error *error, int number)
{
	*error = (struct libvirt_error){0};
	snprintf(error->text, sizeof(error->text), "%s", strerror(number));
	return -number;
}

/* ---- the event loop of the process ---- */

static void ignore_error(void *data, virErrorPtr error)
{
}

static void *run_events(void *argument)
{
	for (;;)
		if (virEventRunDefaultImpl() < 0)
			poll(NULL, 0, 100); /* no memory or no descriptors: not a busy loop too */
	return NULL;
}

/*
 * libvirt has one event implementation for the process: registered before the first connection,
 * never replaced, and run for as long as the process lives (src/util/virevent.c). Hence this state.
 */
static int event_loop_error;

static void start_once(void)
{
	pthread_t thread;

	/* Otherwise libvirt prints each error to stderr. Errors are taken where they occur. */
	virSetErrorFunc(NULL, ignore_error);
	if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0) {
		event_loop_error = EREMOTEIO;
		return;
	}
	event_loop_error = pthread_create(&thread, NULL, run_events, NULL);
	if (event_loop_error == 0)
		pthread_detach(thread);
}

static int real_start(struct libvirt_error *error)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, start_once);
	return event_loop_error ? fail_here(error, event_loop_error) : 0;
}

/* ---- events ---- */

static void feed_free(void *data)
{
	struct feed *feed = data;

	if (atomic_fetch_sub(&feed->holders, 1) != 1)
		return;
	feed->sink.release(feed->sink.userdata);
	free(feed);
}

/* Pairs with the count in subscribe(): the sink is seen whole, whatever locks libvirt takes in
 * between. */
static const struct libvirt_sink *sink_of(struct feed *feed)
{
	atomic_load(&feed->holders);
	return &feed->sink;
}

static void emit(struct feed *feed, virDomainPtr domain, struct connection_event event)
{
	const struct libvirt_sink *sink = sink_of(feed);

	if (virDomainGetUUIDString(domain, event.uuid) < 0)
		event.uuid[0] = '\0';
	event.name = virDomainGetName(domain);
	sink->event(sink->userdata, &event);
}

static int on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail,
			void *opaque)
{
	static const enum connection_event_kind kinds[] = {
		[VIR_DOMAIN_EVENT_DEFINED] = CONNECTION_EVENT_DEFINED,
		[VIR_DOMAIN_EVENT_UNDEFINED] = CONNECTION_EVENT_UNDEFINED,
		[VIR_DOMAIN_EVENT_STARTED] = CONNECTION_EVENT_STARTED,
		[VIR_DOMAIN_EVENT_SUSPENDED] = CONNECTION_EVENT_SUSPENDED,
		[VIR_DOMAIN_EVENT_RESUMED] = CONNECTION_EVENT_RESUMED,
		[VIR_DOMAIN_EVENT_STOPPED] = CONNECTION_EVENT_STOPPED,
		[VIR_DOMAIN_EVENT_SHUTDOWN] = CONNECTION_EVENT_SHUTDOWN,
		[VIR_DOMAIN_EVENT_PMSUSPENDED] = CONNECTION_EVENT_PM_SUSPENDED,
		[VIR_DOMAIN_EVENT_CRASHED] = CONNECTION_EVENT_CRASHED,
	};

	if (event < 0 || (size_t)event >= ARRAY_SIZE(kinds))
		return 0;
	emit(opaque, domain,
	     (struct connection_event){
		     .kind = kinds[event],
		     .migration = (event == VIR_DOMAIN_EVENT_STARTED &&
				   detail == VIR_DOMAIN_EVENT_STARTED_MIGRATED) ||
				  (event == VIR_DOMAIN_EVENT_SUSPENDED &&
				   (detail == VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED ||
				    detail == VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY ||
				    detail == VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED)) ||
				  (event == VIR_DOMAIN_EVENT_RESUMED &&
				   (detail == VIR_DOMAIN_EVENT_RESUMED_MIGRATED ||
				    detail == VIR_DOMAIN_EVENT_RESUMED_POSTCOPY)) ||
				  (event == VIR_DOMAIN_EVENT_STOPPED &&
				   detail == VIR_DOMAIN_EVENT_STOPPED_MIGRATED),
	     });
	return 0;
}

static void on_reboot(virConnectPtr connection, virDomainPtr domain, void *opaque)
{
	emit(opaque, domain, (struct connection_event){.kind = CONNECTION_EVENT_REBOOTED});
}

static void on_memory_size(virConnectPtr connection, virDomainPtr domain, const char *alias,
			   unsigned long long kib, void *opaque)
{
	emit(opaque, domain,
	     (struct connection_event){.kind = CONNECTION_EVENT_MEMORY_SIZE_CHANGED,
				       .alias = alias,
				       .bytes = (uint64_t)kib * 1024});
}

static void on_balloon(virConnectPtr connection, virDomainPtr domain, unsigned long long kib,
		       void *opaque)
{
	emit(opaque, domain,
	     (struct connection_event){.kind = CONNECTION_EVENT_BALLOON_CHANGED,
				       .bytes = (uint64_t)kib * 1024});
}

static void on_device_added(virConnectPtr connection, virDomainPtr domain, const char *alias,
			    void *opaque)
{
	emit(opaque, domain,
	     (struct connection_event){.kind = CONNECTION_EVENT_DEVICE_ADDED, .alias = alias});
}

static void on_device_removed(virConnectPtr connection, virDomainPtr domain, const char *alias,
			      void *opaque)
{
	emit(opaque, domain,
	     (struct connection_event){.kind = CONNECTION_EVENT_DEVICE_REMOVED, .alias = alias});
}

static void on_device_removal_failed(virConnectPtr connection, virDomainPtr domain,
				     const char *alias, void *opaque)
{
	emit(opaque, domain,
	     (struct connection_event){.kind = CONNECTION_EVENT_DEVICE_REMOVAL_FAILED,
				       .alias = alias});
}

static void on_migration_round(virConnectPtr connection, virDomainPtr domain, int iteration,
			       void *opaque)
{
	emit(opaque, domain,
	     (struct connection_event){.kind = CONNECTION_EVENT_MIGRATION_ROUND,
				       .migration = true});
}

static void on_job_completed(virConnectPtr connection, virDomainPtr domain,
			     virTypedParameterPtr parameters, int count, void *opaque)
{
	emit(opaque, domain, (struct connection_event){.kind = CONNECTION_EVENT_JOB_COMPLETED});
}

static void on_metadata(virConnectPtr connection, virDomainPtr domain, int type, const char *uri,
			void *opaque)
{
	if (type == VIR_DOMAIN_METADATA_ELEMENT && uri && strcmp(uri, DOMAIN_XML_POLICY_URI) == 0)
		emit(opaque, domain,
		     (struct connection_event){.kind = CONNECTION_EVENT_METADATA_CHANGED});
}

/* Runs in the event thread, or in the thread of a call that found the line broken. */
static void on_closed(virConnectPtr connection, int reason, void *opaque)
{
	static const char *const reasons[] = {
		[VIR_CONNECT_CLOSE_REASON_ERROR] = "the line to libvirt broke",
		[VIR_CONNECT_CLOSE_REASON_EOF] = "libvirt closed the line",
		[VIR_CONNECT_CLOSE_REASON_KEEPALIVE] = "libvirt no longer answers",
		[VIR_CONNECT_CLOSE_REASON_CLIENT] = "closed",
	};
	const struct libvirt_sink *sink = sink_of(opaque);

	sink->closed(sink->userdata, name_table_name(reasons, ARRAY_SIZE(reasons), reason));
}

static bool subscribe(struct link *link, int id, virConnectDomainEventGenericCallback callback)
{
	int number;

	atomic_fetch_add(&link->feed->holders, 1);
	number = virConnectDomainEventRegisterAny(link->connection, NULL, id, callback, link->feed,
						  feed_free);
	if (number < 0) {
		feed_free(link->feed);
		return false;
	}
	link->events[link->event_count++] = number;
	return true;
}

/*
 * Without life-cycle events there is no use in going on. The others are hints that an older
 * libvirtd may not have; what they announce is found at the next look all the same.
 */
static int subscribe_all(struct link *link)
{
	static const struct {
		int id;
		virConnectDomainEventGenericCallback callback;
	} hints[] = {
		{VIR_DOMAIN_EVENT_ID_REBOOT, on_reboot},
		{VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE,
		 VIR_DOMAIN_EVENT_CALLBACK(on_memory_size)},
		{VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_balloon)},
		{VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device_added)},
		{VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device_removed)},
		{VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
		 VIR_DOMAIN_EVENT_CALLBACK(on_device_removal_failed)},
		{VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION,
		 VIR_DOMAIN_EVENT_CALLBACK(on_migration_round)},
		{VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, VIR_DOMAIN_EVENT_CALLBACK(on_job_completed)},
		{VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata)},
	};

	_Static_assert(ARRAY_SIZE(hints) + 1 <= MAX_EVENTS, "room for every subscription");
	if (!subscribe(link, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
		       VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)))
		return -EREMOTEIO;
	for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
		subscribe(link, hints[i].id, hints[i].callback);
	/*
	 * No free callback: drivers without a line to break (test:///) accept the registration and
	 * forget it (src/libvirt.c virConnectRegisterCloseCallback). The link's own share is
	 * enough, because unregistering in real_close() waits for a callback that is running
	 * (src/datatypes.c virConnectCloseCallbackDataCall holds the lock).
	 */
	virConnectRegisterCloseCallback(link->connection, on_closed, link->feed, NULL);
	virConnectSetKeepAlive(link->connection, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT);
	return 0;
}

/* ---- links ---- */

static void real_ref(void *data)
{
	struct link *link = data;

	atomic_fetch_add(&link->holders, 1);
}

static void real_unref(void *data)
{
	struct link *link = data;

	if (atomic_fetch_sub(&link->holders, 1) != 1)
		return;
	virConnectClose(link->connection);
	feed_free(link->feed);
	free(link);
}

static void real_close(void *data)
{
	struct link *link = data;

	for (size_t i = 0; i < link->event_count; i++)
		virConnectDomainEventDeregisterAny(link->connection, link->events[i]);
	virConnectUnregisterCloseCallback(link->connection, on_closed);
}

static bool real_is_alive(void *data)
{
	struct link *link = data;

	return virConnectIsAlive(link->connection) == 1;
}

static int real_open(const char *uri, const struct libvirt_sink *sink, void **ret_link,
		     struct libvirt_error *error)
{
	struct link *link = calloc(1, sizeof(*link));
	struct feed *feed = calloc(1, sizeof(*feed));

	if (!link || !feed) {
		free(link);
		free(feed);
		return fail_here(error, ENOMEM);
	}
	/* Without callbacks for credentials: a daemon has nobody to ask. */
	link->connection = virConnectOpen(uri);
	if (!link->connection) {
		free(link);
		free(feed);
		return fail(NULL, error);
	}
	atomic_init(&feed->holders, 1);
	feed->sink = *sink;
	sink->acquire(sink->userdata);
	atomic_init(&link->holders, 1);
	link->feed = feed;
	if (subscribe_all(link) < 0) {
		fail(link->connection, error);
		real_close(link);
		real_unref(link);
		return -EREMOTEIO;
	}
	*ret_link = link;
	return 0;
}

/* ---- guests ---- */

static void free_domain(virDomainPtr *domain)
{
	if (*domain)
		virDomainFree(*domain);
}
#define CLEANUP_DOMAIN CLEANUP(free_domain)

static virDomainPtr look_up(struct link *link, const char *uuid, struct libvirt_error *error)
{
	virDomainPtr domain = virDomainLookupByUUIDString(link->connection, uuid);

	if (!domain)
		fail(link->connection, error);
	return domain;
}

static unsigned impact(unsigned flags)
{
	return (flags & LIBVIRT_LIVE ? VIR_DOMAIN_AFFECT_LIVE : 0u) |
	       (flags & LIBVIRT_STORED ? VIR_DOMAIN_AFFECT_CONFIG : 0u);
}

static enum connection_domain_state state_from(int state)
{
	static const enum connection_domain_state states[] = {
		[VIR_DOMAIN_NOSTATE] = CONNECTION_DOMAIN_UNKNOWN,
		[VIR_DOMAIN_RUNNING] = CONNECTION_DOMAIN_RUNNING,
		[VIR_DOMAIN_BLOCKED] = CONNECTION_DOMAIN_RUNNING,
		[VIR_DOMAIN_PAUSED] = CONNECTION_DOMAIN_PAUSED,
		[VIR_DOMAIN_SHUTDOWN] = CONNECTION_DOMAIN_SHUTDOWN,
		[VIR_DOMAIN_SHUTOFF] = CONNECTION_DOMAIN_SHUTOFF,
		[VIR_DOMAIN_CRASHED] = CONNECTION_DOMAIN_CRASHED,
		[VIR_DOMAIN_PMSUSPENDED] = CONNECTION_DOMAIN_SUSPENDED,
	};

	return state < 0 || (size_t)state >= ARRAY_SIZE(states) ? CONNECTION_DOMAIN_UNKNOWN
								: states[state];
}

/* The receiving end of a migration shows no job, only these reasons. */
static bool is_migration_reason(int state, int reason)
{
	return (state == VIR_DOMAIN_PAUSED &&
		(reason == VIR_DOMAIN_PAUSED_MIGRATION || reason == VIR_DOMAIN_PAUSED_POSTCOPY ||
		 reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)) ||
	       (state == VIR_DOMAIN_RUNNING && (reason == VIR_DOMAIN_RUNNING_POSTCOPY ||
						reason == VIR_DOMAIN_RUNNING_POSTCOPY_FAILED));
}

static int read_brief(virConnectPtr connection, virDomainPtr domain,
		      struct connection_domain *ret_domain, struct libvirt_error *error)
{
	struct connection_domain result = {0};
	int state, reason;
	unsigned id = virDomainGetID(domain);

	if (virDomainGetUUIDString(domain, result.uuid) < 0 ||
	    virDomainGetState(domain, &state, &reason, 0) < 0)
		return fail(connection, error);
	result.id = id == (unsigned)-1 ? -1 : (int)id;
	result.state = state_from(state);
	result.has_job = is_migration_reason(state, reason);
	result.persistent = virDomainIsPersistent(domain) == 1;
	result.name = strdup(virDomainGetName(domain));
	if (!result.name)
		return fail_here(error, ENOMEM);
	*ret_domain = result;
	return 0;
}

static int real_list(void *data, struct connection_domain **ret_domains, size_t *ret_count,
		     struct libvirt_error *error)
{
	struct link *link = data;
	struct connection_domain *domains;
	virDomainPtr *found = NULL;
	size_t used = 0;
	int count = virConnectListAllDomains(link->connection, &found, 0), result = 0;

	if (count < 0)
		return fail(link->connection, error);
	domains = calloc((size_t)count + 1, sizeof(*domains));
	if (!domains)
		result = fail_here(error, ENOMEM);
	for (int i = 0; i < count; i++) {
		if (result == 0)
			result = read_brief(link->connection, found[i], &domains[used], error);
		if (result == 0)
			used++;
		else if (error->no_domain)
			result = 0; /* it went away while we looked */
		virDomainFree(found[i]);
	}
	free(found);
	if (result < 0) {
		for (size_t i = 0; i < used; i++)
			connection_domain_done(&domains[i]);
		free(domains);
		return result;
	}
	*ret_domains = domains;
	*ret_count = used;
	return 0;
}

static int real_get(void *data, const char *uuid, struct connection_domain *ret_domain,
		    struct libvirt_error *error)
{
	struct link *link = data;
	CLEANUP_DOMAIN virDomainPtr domain = look_up(link, uuid, error);
	struct connection_domain result;
	virDomainJobInfo job;
	int status;

	if (!domain)
		return -EREMOTEIO;
	status = read_brief(link->connection, domain, &result, error);
	if (status < 0)
		return status;
	if (result.id >= 0) {
		result.live_xml = virDomainGetXMLDesc(domain, 0);
		if (!result.live_xml)
			status = fail(link->connection, error);
		/* Not every driver has jobs; that is no reason to fail. */
		if (virDomainGetJobInfo(domain, &job) == 0 && job.type != VIR_DOMAIN_JOB_NONE &&
		    job.type != VIR_DOMAIN_JOB_COMPLETED)
			result.has_job = true;
	}
	if (status == 0 && result.persistent) {
		result.stored_xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE);
		if (!result.stored_xml)
			status = fail(link->connection, error);
	}
	if (status < 0) {
		connection_domain_done(&result);
		return status;
	}
	*ret_domain = result;
	return 0;
}

static int real_get_xml(void *data, const char *uuid, unsigned flags, char **ret_xml,
			struct libvirt_error *error)
{
	struct link *link = data;
	CLEANUP_DOMAIN virDomainPtr domain = look_up(link, uuid, error);
	char *xml;

	if (!domain)
		return -EREMOTEIO;
	xml = virDomainGetXMLDesc(domain, flags & LIBVIRT_STORED
						  ? VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE
						  : 0);
	if (!xml)
		return fail(link->connection, error);
	*ret_xml = xml;
	return 0;
}

/* change: virDomainUpdateDeviceFlags() or virDomainAttachDeviceFlags(). */
static int change_device(struct link *link, const char *uuid, const char *xml, unsigned flags,
			 int (*change)(virDomainPtr, const char *, unsigned),
			 struct libvirt_error *error)
{
	CLEANUP_DOMAIN virDomainPtr domain = look_up(link, uuid, error);

	if (!domain)
		return -EREMOTEIO;
	if (change(domain, xml, impact(flags)) < 0)
		return fail(link->connection, error);
	return 0;
}

static int real_update_device(void *data, const char *uuid, const char *xml, unsigned flags,
			      struct libvirt_error *error)
{
	return change_device(data, uuid, xml, flags, virDomainUpdateDeviceFlags, error);
}

static int real_attach_device(void *data, const char *uuid, const char *xml, unsigned flags,
			      struct libvirt_error *error)
{
	return change_device(data, uuid, xml, flags, virDomainAttachDeviceFlags, error);
}

static int real_set_memory(void *data, const char *uuid, uint64_t bytes, unsigned flags,
			   struct libvirt_error *error)
{
	struct link *link = data;
	CLEANUP_DOMAIN virDomainPtr domain = look_up(link, uuid, error);

	if (!domain)
		return -EREMOTEIO;
	if (virDomainSetMemoryFlags(domain, (unsigned long)(bytes / 1024), impact(flags)) < 0)
		return fail(link->connection, error);
	return 0;
}

static int real_set_numa(void *data, const char *uuid, const char *nodes, unsigned flags,
			 struct libvirt_error *error)
{
	struct link *link = data;
	CLEANUP_DOMAIN virDomainPtr domain = look_up(link, uuid, error);
	virTypedParameterPtr parameters = NULL;
	int count = 0, capacity = 0, status = 0;

	if (!domain)
		return -EREMOTEIO;
	if (virTypedParamsAddString(&parameters, &count, &capacity, VIR_DOMAIN_NUMA_NODESET,
				    nodes) < 0 ||
	    virDomainSetNumaParameters(domain, parameters, count, impact(flags)) < 0)
		status = fail(link->connection, error);
	virTypedParamsFree(parameters, count);
	return status;
}

/* The list was checked to be one. Returns the bytes of map in use. */
static int fill_cpu_map(const char *cpus, unsigned char map[MAX_CPUS / 8])
{
	int used = 0;

	memset(map, 0, MAX_CPUS / 8);
	while (*cpus) {
		char *end;
		unsigned long first = strtoul(cpus, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (unsigned long cpu = first; cpu <= last && cpu < MAX_CPUS; cpu++) {
			map[cpu / 8] |= (unsigned char)(1u << (cpu % 8));
			if ((int)(cpu / 8) >= used)
				used = (int)(cpu / 8) + 1;
		}
		cpus = *end ? end + 1 : end;
	}
	return used;
}

static int real_pin(void *data, const char *uuid, enum libvirt_pin what, unsigned id,
		    const char *cpus, unsigned flags, struct libvirt_error *error)
{
	struct link *link = data;
	CLEANUP_DOMAIN virDomainPtr domain = look_up(link, uuid, error);
	unsigned char map[MAX_CPUS / 8];
	int used = fill_cpu_map(cpus, map), status = -1;

	if (!domain)
		return -EREMOTEIO;
	switch (what) {
	case LIBVIRT_PIN_VCPU:
		status = virDomainPinVcpuFlags(domain, id, map, used, impact(flags));
		break;
	case LIBVIRT_PIN_EMULATOR:
		status = virDomainPinEmulator(domain, map, used, impact(flags));
		break;
	case LIBVIRT_PIN_IOTHREAD:
		status = virDomainPinIOThread(domain, id, map, used, impact(flags));
		break;
	}
	return status < 0 ? fail(link->connection, error) : 0;
}

static int real_get_metadata(void *data, const char *uuid, unsigned flags, char **ret_xml,
			     struct libvirt_error *error)
{
	struct link *link = data;
	CLEANUP_DOMAIN virDomainPtr domain = look_up(link, uuid, error);
	char *xml;

	if (!domain)
		return -EREMOTEIO;
	xml = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, DOMAIN_XML_POLICY_URI,
				   impact(flags));
	if (!xml && fail(link->connection, error) < 0 && error->code != VIR_ERR_NO_DOMAIN_METADATA)
		return -EREMOTEIO;
	*ret_xml = xml;
	return 0;
}

static int real_set_metadata(void *data, const char *uuid, const char *xml, unsigned flags,
			     struct libvirt_error *error)
{
	struct link *link = data;
	CLEANUP_DOMAIN virDomainPtr domain = look_up(link, uuid, error);

	if (!domain)
		return -EREMOTEIO;
	if (virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, xml, DOMAIN_XML_POLICY_KEY,
				 DOMAIN_XML_POLICY_URI, impact(flags)) < 0)
		return fail(link->connection, error);
	return 0;
}

static int real_define(void *data, const char *xml, struct libvirt_error *error)
{
	struct link *link = data;
	CLEANUP_DOMAIN virDomainPtr domain = virDomainDefineXMLFlags(link->connection, xml, 0);

	return domain ? 0 : fail(link->connection, error);
}

const struct libvirt_ops libvirt_ops_real = {
	.start = real_start,
	.open = real_open,
	.ref = real_ref,
	.unref = real_unref,
	.close = real_close,
	.is_alive = real_is_alive,
	.list = real_list,
	.get = real_get,
	.get_xml = real_get_xml,
	.update_device = real_update_device,
	.attach_device = real_attach_device,
	.set_memory = real_set_memory,
	.set_numa = real_set_numa,
	.pin = real_pin,
	.get_metadata = real_get_metadata,
	.set_metadata = real_set_metadata,
	.define = real_define,
};
