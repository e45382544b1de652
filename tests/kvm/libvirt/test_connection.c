/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection against a libvirt that does as told: lines that do not open, calls that hang until
 * the test lets them go, events from another thread. Nothing waits for time to pass but deadlines
 * of a few milliseconds, and those end in something to dispatch.
 */
#include "connection.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "libvirt_ops.h"
#include "unit.h"

#define GUEST_A "aaaaaaaa-0000-0000-0000-000000000001"
#define GUEST_B "bbbbbbbb-0000-0000-0000-000000000002"

/* ---- the fake ---- */

struct fake_link {
	unsigned holders;
	bool alive;
	struct libvirt_sink sink;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned refuse_opens; /* so many attempts fail */
	unsigned opens, closes, links;
	struct fake_link *link; /* the newest */
	const char *gated;	/* calls for this guest hang */
	unsigned entered;	/* calls that reached the gate */
	int result;		/* what calls return */
	struct libvirt_error error;
	const char *live, *stored; /* descriptions; NULL: no such guest */
	char calls[1024];	   /* what was called, in order */
	char xml[65536];	   /* what the last one was given */
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void fake_reset(void)
{
	fake.refuse_opens = fake.opens = fake.closes = fake.entered = 0;
	fake.gated = fake.live = fake.stored = NULL;
	fake.result = 0;
	fake.error = (struct libvirt_error){0};
	fake.calls[0] = fake.xml[0] = '\0';
}

static int fake_start(struct libvirt_error *error)
{
	return 0;
}

static int fake_open(const char *uri, const struct libvirt_sink *sink, void **ret_link,
		     struct libvirt_error *error)
{
	struct fake_link *link;

	pthread_mutex_lock(&fake.lock);
	fake.opens++;
	if (fake.refuse_opens) {
		fake.refuse_opens--;
		pthread_mutex_unlock(&fake.lock);
		*error = (struct libvirt_error){.is_transport = true, .text = "no socket"};
		return -EREMOTEIO;
	}
	link = calloc(1, sizeof(*link));
	assert(link);
	*link = (struct fake_link){.holders = 1, .alive = true, .sink = *sink};
	fake.link = link;
	fake.links++;
	pthread_mutex_unlock(&fake.lock);
	sink->acquire(sink->userdata);
	*ret_link = link;
	return 0;
}

static void fake_ref(void *data)
{
	pthread_mutex_lock(&fake.lock);
	((struct fake_link *)data)->holders++;
	pthread_mutex_unlock(&fake.lock);
}

static void fake_unref(void *data)
{
	struct fake_link *link = data;
	bool last;

	pthread_mutex_lock(&fake.lock);
	last = --link->holders == 0;
	if (last) {
		fake.links--;
		if (fake.link == link)
			fake.link = NULL;
		pthread_cond_broadcast(&fake.changed);
	}
	pthread_mutex_unlock(&fake.lock);
	if (!last)
		return;
	link->sink.release(link->sink.userdata);
	free(link);
}

static void fake_close(void *data)
{
	pthread_mutex_lock(&fake.lock);
	fake.closes++;
	pthread_mutex_unlock(&fake.lock);
}

static bool fake_is_alive(void *data)
{
	bool alive;

	pthread_mutex_lock(&fake.lock);
	alive = ((struct fake_link *)data)->alive;
	pthread_mutex_unlock(&fake.lock);
	return alive;
}

/* Notes the call, waits at the gate, and gives the scripted result. */
static int enter(const char *what, const char *uuid, const char *xml, struct libvirt_error *error)
{
	int result;

	pthread_mutex_lock(&fake.lock);
	snprintf(fake.calls + strlen(fake.calls), sizeof(fake.calls) - strlen(fake.calls), "%s:%c ",
		 what, uuid ? uuid[0] : '-');
	snprintf(fake.xml, sizeof(fake.xml), "%s", xml ? xml : "");
	fake.entered++;
	pthread_cond_broadcast(&fake.changed);
	while (uuid && fake.gated && strcmp(fake.gated, uuid) == 0)
		pthread_cond_wait(&fake.changed, &fake.lock);
	result = fake.result;
	if (result < 0)
		*error = fake.error;
	pthread_mutex_unlock(&fake.lock);
	return result;
}

static int fake_list(void *link, struct connection_domain **ret_domains, size_t *ret_count,
		     struct libvirt_error *error)
{
	int result = enter("list", NULL, NULL, error);

	if (result < 0)
		return result;
	*ret_domains = calloc(1, sizeof(**ret_domains));
	*ret_count = 1;
	strcpy((*ret_domains)[0].uuid, GUEST_A);
	(*ret_domains)[0].name = strdup("a");
	return 0;
}

static int fake_get(void *link, const char *uuid, struct connection_domain *ret_domain,
		    struct libvirt_error *error)
{
	int result = enter("get", uuid, NULL, error);

	if (result < 0)
		return result;
	*ret_domain = (struct connection_domain){
		.id = 1, .name = strdup("a"), .live_xml = strdup("<x/>")};
	return 0;
}

static int fake_get_xml(void *link, const char *uuid, unsigned flags, char **ret_xml,
			struct libvirt_error *error)
{
	int result = enter(flags & LIBVIRT_STORED ? "stored" : "live", uuid, NULL, error);

	if (result < 0)
		return result;
	*ret_xml = strdup(flags & LIBVIRT_STORED ? fake.stored : fake.live);
	return 0;
}

static int fake_update_device(void *link, const char *uuid, const char *xml, unsigned flags,
			      struct libvirt_error *error)
{
	return enter("update", uuid, xml, error);
}

static int fake_attach_device(void *link, const char *uuid, const char *xml, unsigned flags,
			      struct libvirt_error *error)
{
	return enter("attach", uuid, xml, error);
}

static int fake_set_memory(void *link, const char *uuid, uint64_t bytes, unsigned flags,
			   struct libvirt_error *error)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	return enter("balloon", uuid, text, error);
}

static int fake_set_numa(void *link, const char *uuid, const char *nodes, unsigned flags,
			 struct libvirt_error *error)
{
	return enter("numa", uuid, nodes, error);
}

static int fake_pin(void *link, const char *uuid, enum libvirt_pin what, unsigned id,
		    const char *cpus, unsigned flags, struct libvirt_error *error)
{
	return enter("pin", uuid, cpus, error);
}

static int fake_get_metadata(void *link, const char *uuid, unsigned flags, char **ret_xml,
			     struct libvirt_error *error)
{
	int result = enter("metadata", uuid, NULL, error);

	*ret_xml = result < 0 ? NULL : strdup("<policy/>");
	return result;
}

static int fake_set_metadata(void *link, const char *uuid, const char *xml, unsigned flags,
			     struct libvirt_error *error)
{
	return enter("set_metadata", uuid, xml, error);
}

static int fake_define(void *link, const char *xml, struct libvirt_error *error)
{
	return enter("define", NULL, xml, error);
}

static const struct libvirt_ops fake_ops = {
	.start = fake_start,
	.open = fake_open,
	.ref = fake_ref,
	.unref = fake_unref,
	.close = fake_close,
	.is_alive = fake_is_alive,
	.list = fake_list,
	.get = fake_get,
	.get_xml = fake_get_xml,
	.update_device = fake_update_device,
	.attach_device = fake_attach_device,
	.set_memory = fake_set_memory,
	.set_numa = fake_set_numa,
	.pin = fake_pin,
	.get_metadata = fake_get_metadata,
	.set_metadata = fake_set_metadata,
	.define = fake_define,
};

static void set_gate(const char *uuid)
{
	pthread_mutex_lock(&fake.lock);
	fake.gated = uuid;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

static void wait_entered(unsigned count)
{
	pthread_mutex_lock(&fake.lock);
	while (fake.entered < count)
		pthread_cond_wait(&fake.changed, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
}

static void set_result(int result, struct libvirt_error error)
{
	pthread_mutex_lock(&fake.lock);
	fake.result = result;
	fake.error = error;
	pthread_mutex_unlock(&fake.lock);
}

static void break_line(bool tell)
{
	struct libvirt_sink sink;

	pthread_mutex_lock(&fake.lock);
	fake.link->alive = false;
	sink = fake.link->sink;
	pthread_mutex_unlock(&fake.lock);
	if (tell)
		sink.closed(sink.userdata, "libvirt closed the line");
}

struct emission {
	const struct connection_event *events;
	size_t count;
	unsigned times;
};

static void *emit_all(void *data)
{
	const struct emission *emission = data;
	struct libvirt_sink sink;

	pthread_mutex_lock(&fake.lock);
	sink = fake.link->sink;
	pthread_mutex_unlock(&fake.lock);
	for (unsigned n = 0; n < emission->times; n++)
		for (size_t i = 0; i < emission->count; i++)
			sink.event(sink.userdata, &emission->events[i]);
	return NULL;
}

/* From a thread of its own, as libvirt does. */
static void emit(const struct connection_event *events, size_t count, unsigned times)
{
	struct emission emission = {.events = events, .count = count, .times = times};
	pthread_t thread;

	assert(pthread_create(&thread, NULL, emit_all, &emission) == 0);
	pthread_join(thread, NULL);
}

/* ---- the loop ---- */

static struct {
	struct connection *connection;
	char log[2048]; /* "up; list=done; ..." */
	unsigned told;
	struct connection_result last;
	char text[512], cause[512], code[64];
	bool free_on_tell;
} loop;

static void note(const char *text)
{
	size_t used = strlen(loop.log);

	snprintf(loop.log + used, sizeof(loop.log) - used, "%s%s", used ? " " : "", text);
	loop.told++;
}

static void on_event(void *userdata, const struct connection_event *event)
{
	char text[256];

	CHECK_TRUE(userdata == &loop);
	snprintf(text, sizeof(text), "%s%s%s%s%s", connection_event_kind_name(event->kind),
		 event->name[0] ? "/" : "", event->name, event->alias[0] ? "/" : "", event->alias);
	snprintf(loop.text, sizeof(loop.text), "%s", event->text);
	note(text);
	if (loop.free_on_tell)
		loop.connection = connection_free(loop.connection);
}

/* userdata is the call's name in the log. */
static void on_done(void *userdata, const struct connection_result *result)
{
	char text[128];

	snprintf(text, sizeof(text), "%s=%s%s", (const char *)userdata,
		 connection_outcome_name(result->outcome), result->in_flight ? "!" : "");
	loop.last = *result;
	snprintf(loop.text, sizeof(loop.text), "%s", result->text ? result->text : "");
	snprintf(loop.cause, sizeof(loop.cause), "%s", result->failure.cause);
	snprintf(loop.code, sizeof(loop.code), "%s", result->failure.code);
	note(text);
	if (loop.free_on_tell)
		loop.connection = connection_free(loop.connection);
}

/* Dispatches until so many callbacks were made since the start of the test. */
static void pump(unsigned told)
{
	while (loop.connection && loop.told < told) {
		struct pollfd entry = {.fd = connection_fd(loop.connection), .events = POLLIN};

		assert(poll(&entry, 1, 20000) == 1);
		connection_dispatch(loop.connection);
	}
}

static void start(unsigned refuse_opens, unsigned threads)
{
	struct connection_options options = {
		.uri = "fake:///",
		.threads = threads,
		.backoff_minimum_ms = 1,
		.backoff_maximum_ms = 4,
		.free_grace_ms = 20000,
		.ops = &fake_ops,
		.on_event = on_event,
		.userdata = &loop,
	};

	fake_reset();
	fake.refuse_opens = refuse_opens;
	memset(&loop, 0, sizeof(loop));
	assert(connection_new(&options, &loop.connection, NULL) == 0);
}

static void finish(void)
{
	set_gate(NULL);
	loop.connection = connection_free(loop.connection);
	pthread_mutex_lock(&fake.lock);
	while (fake.links)
		pthread_cond_wait(&fake.changed, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
}

static void submit(const char *name, enum connection_call_kind kind, const char *uuid,
		   unsigned timeout_ms)
{
	struct connection_call call = {
		.kind = kind, .uuid = uuid, .timeout_ms = timeout_ms, .on_done = on_done};

	call.userdata = (void *)(uintptr_t)name;
	CHECK_INT(connection_submit(loop.connection, &call, NULL), 0);
}

/* ---- the tests ---- */

static void test_up_and_calls(void)
{
	start(0, 2);
	pump(1);
	CHECK_INT(connection_get_state(loop.connection, NULL), CONNECTION_STATE_UP);
	submit("list", CONNECTION_CALL_LIST_DOMAINS, NULL, 0);
	pump(2);
	CHECK_INT(loop.last.domain_count, 1);
	submit("get", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	pump(3);
	submit("metadata", CONNECTION_CALL_GET_METADATA, GUEST_A, 0);
	pump(4);
	CHECK_STR(loop.text, "<policy/>");
	CHECK_STR(loop.log, "up list=done get=done metadata=done");
	finish();
	CHECK_INT(fake.closes, 1);
}

static void test_reconnect(void)
{
	const struct connection_event started = {.kind = CONNECTION_EVENT_STARTED, .name = "g"};
	const char *reason;

	/* Down until it has been seen to be: on a busy machine it would be up before anybody looks. */
	start(INT32_MAX, 1);
	pump(1);
	CHECK_STR(loop.log, "down");
	CHECK_INT(connection_get_state(loop.connection, &reason), CONNECTION_STATE_DOWN);
	CHECK_STR(reason, "no socket");
	pthread_mutex_lock(&fake.lock);
	fake.refuse_opens = 2;
	fake.opens = 1;
	pthread_mutex_unlock(&fake.lock);
	pump(2);
	CHECK_STR(loop.log, "down up");
	CHECK_INT(fake.opens, 4);
	pthread_mutex_lock(&fake.lock);
	fake.refuse_opens = 2;
	pthread_mutex_unlock(&fake.lock);
	break_line(true);
	pump(4);
	CHECK_STR(loop.log, "down up down up");
	CHECK_INT(fake.opens, 7);
	emit(&started, 1, 1);
	pump(5);
	CHECK_STR(loop.log, "down up down up started/g");
	finish();
	CHECK_INT(fake.closes, 2);
}

static void test_down_refuses(void)
{
	start(1000000, 1);
	pump(1);
	submit("list", CONNECTION_CALL_LIST_DOMAINS, NULL, 0);
	pump(2);
	CHECK_STR(loop.log, "down list=not_up");
	CHECK_STR(loop.cause, "no socket");
	CHECK_STR(loop.code, "libvirt_down");
	finish();
}

/* The call finds out before libvirt's own callback does; what waits behind it is told at once. */
static void test_line_breaks_in_call(void)
{
	start(0, 2);
	pump(1);
	set_gate(GUEST_A);
	submit("a1", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	submit("a2", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	wait_entered(1);
	set_result(-EREMOTEIO,
		   (struct libvirt_error){.code = 39, .is_transport = true, .text = "EOF"});
	break_line(false);
	set_gate(NULL);
	pump(5);
	/* a2 may have been taken by a thread before the supervisor took the line away. */
	CHECK_TRUE(strcmp(loop.log, "up a1=not_up down a2=not_up up") == 0 ||
		   strcmp(loop.log, "up a1=not_up a2=not_up down up") == 0 ||
		   strcmp(loop.log, "up a1=not_up down up a2=not_up") == 0);
	finish();
}

static void test_one_in_flight(void)
{
	start(0, 3);
	pump(1);
	set_gate(GUEST_A);
	submit("a1", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	submit("a2", CONNECTION_CALL_GET_METADATA, GUEST_A, 0);
	submit("b1", CONNECTION_CALL_GET_DOMAIN, GUEST_B, 0);
	submit("a3", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	submit("list", CONNECTION_CALL_LIST_DOMAINS, NULL, 0);
	pump(3);
	CHECK_TRUE(strstr(loop.log, "b1=done") != NULL);
	CHECK_TRUE(strstr(loop.log, "list=done") != NULL);
	wait_entered(3);
	CHECK_INT(fake.entered, 3);
	set_gate(NULL);
	pump(6);
	CHECK_TRUE(strstr(loop.log, "a1=done a2=done a3=done") != NULL);
	CHECK_TRUE(strstr(fake.calls, "metadata:a get:a ") != NULL);
	finish();
}

static void test_timeout(void)
{
	start(0, 2);
	pump(1);
	set_gate(GUEST_A);
	submit("a1", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 10);
	wait_entered(1);
	pump(2);
	submit("a2", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 20);
	pump(3);
	CHECK_STR(loop.log, "up a1=timed_out! a2=timed_out");
	CHECK_STR(loop.code, "libvirt_timeout");
	CHECK_INT(connection_stuck_calls(loop.connection), 1);
	/* Its turn is still taken; another guest's is not. */
	submit("a3", CONNECTION_CALL_GET_METADATA, GUEST_A, 0);
	submit("b1", CONNECTION_CALL_GET_DOMAIN, GUEST_B, 0);
	pump(4);
	CHECK_STR(loop.log, "up a1=timed_out! a2=timed_out b1=done");
	set_gate(NULL);
	pump(6);
	CHECK_STR(loop.log, "up a1=timed_out! a2=timed_out b1=done call_returned a3=done");
	CHECK_STR(fake.calls, "get:a get:b metadata:a ");
	CHECK_INT(connection_stuck_calls(loop.connection), 0);
	finish();
}

static void test_event_order(void)
{
	const struct connection_event events[] = {
		{.kind = CONNECTION_EVENT_STARTED, .uuid = GUEST_A, .name = "a"},
		{.kind = CONNECTION_EVENT_DEVICE_ADDED,
		 .uuid = GUEST_A,
		 .name = "a",
		 .alias = "channel0"},
		{.kind = CONNECTION_EVENT_MEMORY_SIZE_CHANGED,
		 .name = "a",
		 .alias = "vm0",
		 .bytes = 5},
		{.kind = CONNECTION_EVENT_STOPPED, .uuid = GUEST_A, .name = "a"},
	};

	start(0, 1);
	pump(1);
	emit(events, 4, 1);
	submit("get", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	pump(6);
	CHECK_STR(loop.log,
		  "up started/a device_added/a/channel0 memory_size_changed/a/vm0 stopped/a "
		  "get=done");
	finish();
}

static void test_gap(void)
{
	const struct connection_event event = {.kind = CONNECTION_EVENT_REBOOTED};

	start(0, 1);
	pump(1);
	emit(&event, 1, 5000);
	loop.told = 0;
	pump(4097);
	CHECK_INT(loop.told, 4097);
	CHECK_INT(connection_get_state(loop.connection, NULL), CONNECTION_STATE_UP);
	loop.log[0] = '\0';
	emit(&event, 1, 1);
	pump(4098);
	CHECK_STR(loop.log, "rebooted");
	finish();
}

static void test_refusals(void)
{
	start(0, 1);
	pump(1);
	set_result(-EREMOTEIO, (struct libvirt_error){.code = 55, .text = "no such job"});
	submit("get", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	pump(2);
	CHECK_INT(loop.last.libvirt_code, 55);
	CHECK_STR(loop.cause, "no such job");
	CHECK_STR(loop.code, "libvirt_refused");
	CHECK_STR(loop.last.failure.object, "guest " GUEST_A);
	set_result(-EREMOTEIO,
		   (struct libvirt_error){.code = 42, .no_domain = true, .text = "gone"});
	submit("get", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	pump(3);
	CHECK_STR(loop.log, "up get=refused get=no_domain");
	CHECK_STR(loop.code, "unknown_guest");
	finish();
}

static const char live_xml[] =
	"<domain id='1'><name>a</name><numatune><memory mode='strict' "
	"nodeset='0'/></numatune><devices>"
	"<memory model='virtio-mem'><target><size unit='MiB'>64</size><block unit='MiB'>2</block>"
	"<requested unit='MiB'>8</requested></target><alias "
	"name='vm0'/></memory></devices></domain>";
static const char restrictive_xml[] =
	"<domain id='1'><name>a</name><numatune><memory mode='restrictive' nodeset='0'/></numatune>"
	"<devices><controller type='virtio-serial'/></devices></domain>";

static void submit_call(const char *name, struct connection_call call)
{
	call.uuid = GUEST_A;
	call.on_done = on_done;
	call.userdata = (void *)(uintptr_t)name;
	CHECK_INT(connection_submit(loop.connection, &call, NULL), 0);
}

static void test_virtio_mem(void)
{
	struct connection_call call = {.kind = CONNECTION_CALL_UPDATE_VIRTIO_MEM};

	start(0, 1);
	fake.live = live_xml;
	pump(1);
	call.virtio_mem.alias = "vm0";
	call.virtio_mem.requested_bytes = 16 << 20;
	submit_call("size", call);
	pump(2);
	CHECK_STR(fake.calls, "live:a update:a ");
	CHECK_TRUE(strstr(fake.xml, "<requested unit=\"KiB\">16384</requested>") != NULL);
	call.virtio_mem.requested_bytes = 1 << 20;
	submit_call("size", call);
	pump(3);
	CHECK_STR(loop.code, "not_multiple");
	CHECK_STR(loop.cause, "1 MiB is no multiple of the block size 2 MiB");
	call.virtio_mem.requested_bytes = 128 << 20;
	submit_call("size", call);
	pump(4);
	CHECK_STR(loop.code, "above_maximum");
	call.virtio_mem.alias = "vm1";
	submit_call("size", call);
	pump(5);
	CHECK_STR(loop.code, "no_device");
	CHECK_STR(loop.log, "up size=done size=refused size=refused size=refused");
	finish();
}

static void test_numa_and_channel(void)
{
	start(0, 1);
	fake.live = live_xml;
	pump(1);
	submit_call("numa",
		    (struct connection_call){.kind = CONNECTION_CALL_SET_NUMA, .nodes = "1"});
	pump(2);
	CHECK_STR(loop.code, "strict");
	submit_call("attach", (struct connection_call){.kind = CONNECTION_CALL_ATTACH_CHANNEL,
						       .channel_name = "org.ballast.agent.0"});
	pump(3);
	CHECK_STR(loop.code, "needs_restart");
	CHECK_STR(fake.calls, "live:a live:a ");
	fake.live = restrictive_xml;
	submit_call("numa",
		    (struct connection_call){.kind = CONNECTION_CALL_SET_NUMA, .nodes = "1"});
	pump(4);
	CHECK_STR(fake.xml, "1");
	submit_call("attach", (struct connection_call){.kind = CONNECTION_CALL_ATTACH_CHANNEL,
						       .channel_name = "org.ballast.agent.0"});
	pump(5);
	CHECK_TRUE(strstr(fake.xml, "org.ballast.agent.0") != NULL);
	CHECK_STR(loop.log, "up numa=refused attach=refused numa=done attach=done");
	fake.live = "<broken";
	submit_call("numa",
		    (struct connection_call){.kind = CONNECTION_CALL_SET_NUMA, .nodes = "1"});
	pump(6);
	CHECK_INT(loop.last.outcome, CONNECTION_REFUSED);
	finish();
}

static void test_persist(void)
{
	struct domain_xml_placement placement = {.has_nodes = true, .nodes = "2"};

	start(0, 1);
	fake.stored = live_xml;
	pump(1);
	submit_call("persist", (struct connection_call){.kind = CONNECTION_CALL_PERSIST_PLACEMENT,
							.placement = &placement});
	pump(2);
	CHECK_STR(fake.calls, "stored:a define:- ");
	CHECK_TRUE(strstr(fake.xml, "nodeset=\"2\"") != NULL);
	fake.stored = "<domain><name>a</name><numatune><memory placement='auto'/></numatune></domain>";
	submit_call("persist", (struct connection_call){.kind = CONNECTION_CALL_PERSIST_PLACEMENT,
							.placement = &placement});
	pump(3);
	CHECK_STR(loop.cause, "its stored description has no such nodeset");
	submit_call("pin", (struct connection_call){.kind = CONNECTION_CALL_PIN_VCPU,
						    .pin = {.id = 1, .cpus = "2-3"}});
	pump(4);
	CHECK_STR(fake.xml, "2-3");
	submit_call("balloon", (struct connection_call){.kind = CONNECTION_CALL_SET_BALLOON,
							.balloon_bytes = 4096});
	pump(5);
	CHECK_STR(fake.xml, "4096");
	submit_call("policy", (struct connection_call){.kind = CONNECTION_CALL_SET_METADATA,
						       .metadata = "<policy priority='3'/>"});
	pump(6);
	CHECK_STR(fake.xml, "<policy priority='3'/>");
	finish();
}

static int try_submit(struct connection_call call)
{
	call.on_done = on_done;
	return connection_submit(loop.connection, &call, NULL);
}

static void test_bad_calls(void)
{
	struct connection_call call = {.kind = CONNECTION_CALL_LIST_DOMAINS};

	start(0, 1);
	pump(1);
	CHECK_INT(connection_submit(loop.connection, &call, NULL), -EINVAL);
	call = (struct connection_call){.kind = CONNECTION_CALL_GET_DOMAIN};
	CHECK_INT(try_submit(call), -EINVAL);
	call.uuid = "short";
	CHECK_INT(try_submit(call), -EINVAL);
	call = (struct connection_call){
		.kind = CONNECTION_CALL_SET_NUMA, .uuid = GUEST_A, .nodes = "x"};
	CHECK_INT(try_submit(call), -EINVAL);
	call = (struct connection_call){.kind = CONNECTION_CALL_PIN_VCPU, .uuid = GUEST_A};
	CHECK_INT(try_submit(call), -EINVAL);
	call = (struct connection_call){
		.kind = CONNECTION_CALL_SET_METADATA, .uuid = GUEST_A, .metadata = "<other/>"};
	CHECK_INT(try_submit(call), -EINVAL);
	call = (struct connection_call){.kind = CONNECTION_CALL_PERSIST_PLACEMENT, .uuid = GUEST_A};
	CHECK_INT(try_submit(call), -EINVAL);
	finish();
}

static void test_too_many_calls(void)
{
	start(0, 1);
	pump(1);
	set_gate(GUEST_A);
	for (unsigned i = 0; i < CONNECTION_MAX_CALLS; i++)
		submit("a", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	CHECK_INT(try_submit((struct connection_call){.kind = CONNECTION_CALL_LIST_DOMAINS}),
		  -EBUSY);
	finish();
	CHECK_INT(loop.told, 1);
}

/* The first callback frees the connection: nothing queued behind it is told. */
static void test_free_in_callback(void)
{
	const struct connection_event event = {.kind = CONNECTION_EVENT_REBOOTED};

	start(0, 2);
	pump(1);
	emit(&event, 1, 3);
	submit("get", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	loop.free_on_tell = true;
	pump(99);
	CHECK_STR(loop.log, "up rebooted");
	CHECK_TRUE(loop.connection == NULL);
	finish();

	start(0, 2);
	pump(1);
	submit("get", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	loop.free_on_tell = true;
	pump(99);
	CHECK_STR(loop.log, "up get=done");
	finish();
}

/* A thread that libvirt does not give back outlives the connection and then cleans up. */
static void test_free_while_stuck(void)
{
	struct connection_options options = {.free_grace_ms = 1,
					     .threads = 1,
					     .ops = &fake_ops,
					     .on_event = on_event,
					     .userdata = &loop};

	fake_reset();
	memset(&loop, 0, sizeof(loop));
	assert(connection_new(&options, &loop.connection, NULL) == 0);
	pump(1);
	set_gate(GUEST_A);
	submit("a1", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	submit("a2", CONNECTION_CALL_GET_DOMAIN, GUEST_A, 0);
	wait_entered(1);
	loop.connection = connection_free(loop.connection);
	CHECK_INT(fake.links, 1);
	finish();
	CHECK_STR(loop.log, "up");
	CHECK_STR(fake.calls, "get:a ");
}

static void test_free_early(void)
{
	CHECK_TRUE(connection_free(NULL) == NULL);
	for (int i = 0; i < 20; i++) {
		start(i % 2 ? 1000000 : 0, 4);
		finish();
	}
	CHECK_INT(loop.told, 0);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"up_and_calls", test_up_and_calls},
		{"reconnect", test_reconnect},
		{"down_refuses", test_down_refuses},
		{"line_breaks_in_call", test_line_breaks_in_call},
		{"one_in_flight", test_one_in_flight},
		{"timeout", test_timeout},
		{"event_order", test_event_order},
		{"gap", test_gap},
		{"refusals", test_refusals},
		{"virtio_mem", test_virtio_mem},
		{"numa_and_channel", test_numa_and_channel},
		{"persist", test_persist},
		{"bad_calls", test_bad_calls},
		{"too_many_calls", test_too_many_calls},
		{"free_in_callback", test_free_in_callback},
		{"free_while_stuck", test_free_while_stuck},
		{"free_early", test_free_early},
	};

	return unit_main("connection", cases, sizeof(cases) / sizeof(cases[0]));
}
