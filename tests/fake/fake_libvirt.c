/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_libvirt.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "unit.h"

#define DOMAINS_MAX 32
#define NAMES_MAX   16

struct link {
	unsigned holders;
	bool alive;
	struct libvirt_sink sink;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct fake_domain domains[DOMAINS_MAX];
	bool reachable;
	const char *refused, *refusal, *gated;
	struct {
		char name[16];
		unsigned count;
	} calls[NAMES_MAX];
	char changes[4096];
	struct link *link;
	unsigned links;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void fake_libvirt_lock(void)
{
	pthread_mutex_lock(&fake.lock);
}

void fake_libvirt_unlock(void)
{
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

void fake_libvirt_reset(void)
{
	fake_libvirt_lock();
	memset(fake.domains, 0, sizeof(fake.domains));
	memset(fake.calls, 0, sizeof(fake.calls));
	fake.reachable = true;
	fake.refused = fake.refusal = fake.gated = NULL;
	fake.changes[0] = '\0';
	fake_libvirt_unlock();
}

struct fake_domain *fake_libvirt_add(const char *uuid, const char *name)
{
	struct fake_domain *domain = NULL;

	fake_libvirt_lock();
	for (size_t i = 0; i < DOMAINS_MAX && !domain; i++)
		if (!fake.domains[i].exists)
			domain = &fake.domains[i];
	assert(domain);
	*domain = (struct fake_domain){
		.exists = true,
		.running = true,
		.persistent = true,
		.has_device = true,
		.base_mib = 512,
		.size_mib = 1024,
		.requested_mib = 256,
		.current_mib = 256,
		.balloon_mib = 768,
	};
	snprintf(domain->uuid, sizeof(domain->uuid), "%s", uuid);
	snprintf(domain->name, sizeof(domain->name), "%s", name);
	fake_libvirt_unlock();
	return domain;
}

static struct fake_domain *find(const char *uuid)
{
	for (size_t i = 0; i < DOMAINS_MAX; i++)
		if (fake.domains[i].exists && strcmp(fake.domains[i].uuid, uuid) == 0)
			return &fake.domains[i];
	return NULL;
}

static unsigned *counter(const char *name)
{
	for (size_t i = 0; i < NAMES_MAX; i++) {
		if (!fake.calls[i].name[0])
			snprintf(fake.calls[i].name, sizeof(fake.calls[i].name), "%s", name);
		if (strcmp(fake.calls[i].name, name) == 0)
			return &fake.calls[i].count;
	}
	assert(!"more names of calls than expected");
	return NULL;
}

static void note(const char *text)
{
	size_t used = strlen(fake.changes);

	snprintf(fake.changes + used, sizeof(fake.changes) - used, "%s%s", used ? "; " : "", text);
}

/* Counts the call; with the lock held on return, whatever it returns. */
static int enter(void *data, const char *name, struct libvirt_error *error)
{
	struct link *link = data;

	pthread_mutex_lock(&fake.lock);
	++*counter(name);
	pthread_cond_broadcast(&fake.changed);
	if (!link->alive) {
		*error = (struct libvirt_error){.is_transport = true, .text = "the line is cut"};
		return -EREMOTEIO;
	}
	if (fake.refused && strcmp(fake.refused, name) == 0) {
		*error = (struct libvirt_error){.code = 55};
		snprintf(error->text, sizeof(error->text), "%s", fake.refusal);
		return -EREMOTEIO;
	}
	return 0;
}

static int leave(const char *name, int result)
{
	while (fake.gated && strcmp(fake.gated, name) == 0)
		pthread_cond_wait(&fake.changed, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
	return result;
}

static int find_or_fail(const char *uuid, struct fake_domain **ret_domain,
			struct libvirt_error *error)
{
	*ret_domain = find(uuid);
	if (*ret_domain)
		return 0;
	*error = (struct libvirt_error){.code = 42, .no_domain = true, .text = "Domain not found"};
	return -EREMOTEIO;
}

static void make_tune(const struct fake_domain *domain, char *text, size_t size)
{
	int used = snprintf(text, size, "<cputune>");

	if (domain->pins[0])
		used += snprintf(text + used, size - (size_t)used, "<vcpupin vcpu='0' cpuset='%s'/>", domain->pins);
	if (domain->emulator[0])
		used += snprintf(text + used, size - (size_t)used, "<emulatorpin cpuset='%s'/>", domain->emulator);
	for (unsigned i = 0; i < domain->iothreads && i < FAKE_LIBVIRT_IOTHREADS; i++)
		if (domain->iothread_pins[i][0])
			used += snprintf(text + used, size - (size_t)used, "<iothreadpin iothread='%u' cpuset='%s'/>",
					 i + 1, domain->iothread_pins[i]);
	snprintf(text + used, size - (size_t)used, "</cputune>");
}

static char *make_xml(const struct fake_domain *domain, bool live)
{
	const char *nodes = live ? domain->nodes : domain->stored_nodes;
	char *text = NULL, numatune[128] = "", device[512] = "", channel[512] = "", tune[512] = "",
	     allowed[96] = "", policy[256] = "";

	if (nodes[0])
		snprintf(numatune, sizeof(numatune),
			 "<numatune><memory mode='%s' nodeset='%s'/></numatune>",
			 domain->mode[0] ? domain->mode : "strict", nodes);
	if (domain->has_device)
		snprintf(device, sizeof(device),
			 "<memory model='virtio-mem'><target><size "
			 "unit='MiB'>%llu</size><node>0</node>"
			 "<block unit='KiB'>2048</block><requested unit='MiB'>%llu</requested>"
			 "<current unit='MiB'>%llu</current></target><alias "
			 "name='" FAKE_LIBVIRT_ALIAS "'/></memory>",
			 (unsigned long long)domain->size_mib,
			 (unsigned long long)domain->requested_mib,
			 (unsigned long long)domain->current_mib);
	if (domain->channel[0])
		snprintf(channel, sizeof(channel),
			 "<channel type='unix'><source mode='bind' path='%s'/>"
			 "<target type='virtio' name='org.ballast.agent.0'/></channel>",
			 domain->channel);
	if (domain->vsock_cid)
		snprintf(channel + strlen(channel), sizeof(channel) - strlen(channel),
			 "<vsock model='virtio'><cid auto='yes' address='%u'/></vsock>", domain->vsock_cid);
	if (domain->vcpu_cpus[0])
		snprintf(allowed, sizeof(allowed), " cpuset='%s'", domain->vcpu_cpus);
	if (domain->vcpus_now)
		snprintf(allowed + strlen(allowed), sizeof(allowed) - strlen(allowed), " current='%u'", domain->vcpus_now);
	make_tune(domain, tune, sizeof(tune));
	if (domain->policy[0])
		snprintf(policy, sizeof(policy),
			 "<metadata><b:policy xmlns:b='urn:ballast:memory:1' %s/></metadata>",
			 domain->policy);
	if (asprintf(&text,
		     "<domain type='kvm'%s><name>%s</name><uuid>%s</uuid>%s"
		     "<maxMemory slots='4' unit='MiB'>8192</maxMemory><memory "
		     "unit='MiB'>%llu</memory>"
		     "<currentMemory "
		     "unit='MiB'>%llu</currentMemory><vcpu%s>2</vcpu><iothreads>%u</iothreads>%s%s<os><type>hvm</type></os>"
		     "<cpu><numa><cell id='0' cpus='0-1' memory='%llu' unit='MiB'/></numa></cpu>"
		     "<devices><controller type='virtio-serial' index='0'/>%s%s<memballoon "
		     "model='virtio'/>"
		     "</devices></domain>",
		     live ? " id='1'" : "", domain->name, domain->uuid, policy,
		     (unsigned long long)(domain->base_mib +
					  (domain->has_device ? domain->size_mib : 0)),
		     (unsigned long long)domain->balloon_mib, allowed, domain->iothreads, tune, numatune,
		     (unsigned long long)domain->base_mib, channel, device) < 0)
		assert(!"memory is short");
	return text;
}

static int fake_start(struct libvirt_error *error)
{
	return 0;
}

static int fake_open(const char *uri, const struct libvirt_sink *sink, void **ret_link,
		     struct libvirt_error *error)
{
	struct link *link;

	pthread_mutex_lock(&fake.lock);
	if (!fake.reachable) {
		pthread_mutex_unlock(&fake.lock);
		*error =
			(struct libvirt_error){.is_transport = true, .text = "no libvirtd listens"};
		return -EREMOTEIO;
	}
	link = calloc(1, sizeof(*link));
	assert(link);
	*link = (struct link){.holders = 1, .alive = true, .sink = *sink};
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
	((struct link *)data)->holders++;
	pthread_mutex_unlock(&fake.lock);
}

static void fake_unref(void *data)
{
	struct link *link = data;
	bool last;

	pthread_mutex_lock(&fake.lock);
	last = --link->holders == 0;
	if (last && fake.link == link)
		fake.link = NULL;
	pthread_mutex_unlock(&fake.lock);
	if (!last)
		return;
	link->sink.release(link->sink.userdata);
	free(link);
	pthread_mutex_lock(&fake.lock);
	fake.links--;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

static void fake_close(void *link)
{
}

static bool fake_is_alive(void *data)
{
	bool alive;

	pthread_mutex_lock(&fake.lock);
	alive = ((struct link *)data)->alive;
	pthread_mutex_unlock(&fake.lock);
	return alive;
}

static void describe(const struct fake_domain *domain, struct connection_domain *ret_domain)
{
	*ret_domain = (struct connection_domain){
		.name = strdup(domain->name),
		.id = domain->running ? 1 : -1,
		.state = domain->running ? CONNECTION_DOMAIN_RUNNING : CONNECTION_DOMAIN_SHUTOFF,
		.persistent = domain->persistent,
	};
	memcpy(ret_domain->uuid, domain->uuid, sizeof(ret_domain->uuid));
}

static int fake_list(void *link, struct connection_domain **ret_domains, size_t *ret_count,
		     struct libvirt_error *error)
{
	int result = enter(link, "list", error);

	if (result == 0) {
		*ret_domains = calloc(DOMAINS_MAX, sizeof(**ret_domains));
		assert(*ret_domains);
		*ret_count = 0;
		for (size_t i = 0; i < DOMAINS_MAX; i++)
			if (fake.domains[i].exists)
				describe(&fake.domains[i], &(*ret_domains)[(*ret_count)++]);
	}
	return leave("list", result);
}

static int fake_get(void *link, const char *uuid, struct connection_domain *ret_domain,
		    struct libvirt_error *error)
{
	struct fake_domain *domain;
	int result = enter(link, "get", error);

	if (result == 0)
		result = find_or_fail(uuid, &domain, error);
	if (result == 0) {
		describe(domain, ret_domain);
		ret_domain->has_job = domain->has_job;
		ret_domain->live_xml = domain->running ? make_xml(domain, true) : NULL;
		ret_domain->stored_xml = domain->persistent ? make_xml(domain, false) : NULL;
	}
	return leave("get", result);
}

static int fake_get_xml(void *link, const char *uuid, unsigned flags, char **ret_xml,
			struct libvirt_error *error)
{
	struct fake_domain *domain;
	int result = enter(link, "get_xml", error);

	if (result == 0)
		result = find_or_fail(uuid, &domain, error);
	if (result == 0)
		*ret_xml = make_xml(domain, !(flags & LIBVIRT_STORED));
	return leave("get_xml", result);
}

static int fake_update_device(void *data, const char *uuid, const char *xml, unsigned flags,
			      struct libvirt_error *error)
{
	struct link *link = data;
	struct fake_domain *domain;
	const char *requested = strstr(xml, "<requested");
	unsigned long long kib = 0;
	int result = enter(link, "update", error);
	bool tell = false;
	uint64_t bytes = 0;
	char text[64];

	if (result == 0)
		result = find_or_fail(uuid, &domain, error);
	if (result == 0) {
		assert(requested && sscanf(strchr(requested, '>') + 1, "%llu", &kib) == 1);
		snprintf(text, sizeof(text), "update %llu", kib >> 10);
		note(text);
		domain->requested_mib = kib >> 10;
		tell = domain->follows && domain->current_mib != domain->requested_mib;
		if (domain->follows)
			domain->current_mib = domain->requested_mib;
		bytes = domain->current_mib << 20;
	}
	result = leave("update", result);
	if (tell) {
		struct connection_event event = {.kind = CONNECTION_EVENT_MEMORY_SIZE_CHANGED,
						 .name = "",
						 .alias = FAKE_LIBVIRT_ALIAS,
						 .text = "",
						 .bytes = bytes};

		snprintf(event.uuid, sizeof(event.uuid), "%s", uuid);
		link->sink.event(link->sink.userdata, &event);
	}
	return result;
}

static int change(void *link, const char *name, const char *uuid, const char *what,
		  struct libvirt_error *error)
{
	struct fake_domain *domain;
	int result = enter(link, name, error);
	char text[128];

	if (result == 0 && uuid)
		result = find_or_fail(uuid, &domain, error);
	if (result == 0) {
		snprintf(text, sizeof(text), "%s %s", name, what);
		note(text);
	}
	return leave(name, result);
}

static int fake_attach_device(void *link, const char *uuid, const char *xml, unsigned flags,
			      struct libvirt_error *error)
{
	return change(link, "attach", uuid, "", error);
}

static int fake_set_memory(void *link, const char *uuid, uint64_t bytes, unsigned flags,
			   struct libvirt_error *error)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)(bytes >> 20));
	return change(link, "balloon", uuid, text, error);
}

static int fake_set_numa(void *link, const char *uuid, const char *nodes, unsigned flags,
			 struct libvirt_error *error)
{
	return change(link, "numa", uuid, nodes, error);
}

static int fake_pin(void *link, const char *uuid, enum libvirt_pin what, unsigned id,
		    const char *cpus, unsigned flags, struct libvirt_error *error)
{
	char text[64];

	if (what == LIBVIRT_PIN_EMULATOR)
		snprintf(text, sizeof(text), "%semulator:%s", flags & LIBVIRT_STORED ? "stored " : "", cpus);
	else
		snprintf(text, sizeof(text), "%s%s%u:%s", flags & LIBVIRT_STORED ? "stored " : "",
			 what == LIBVIRT_PIN_IOTHREAD ? "iothread " : "", id, cpus);
	int result = change(link, "pin", uuid, text, error);

	if (result == 0 && what == LIBVIRT_PIN_IOTHREAD && !(flags & LIBVIRT_STORED) && id - 1 < FAKE_LIBVIRT_IOTHREADS) {
		fake_libvirt_lock();
		snprintf(find(uuid)->iothread_pins[id - 1], sizeof(find(uuid)->iothread_pins[0]), "%s", cpus);
		fake_libvirt_unlock();
	}
	return result;
}

static int fake_get_metadata(void *link, const char *uuid, unsigned flags, char **ret_xml,
			     struct libvirt_error *error)
{
	*ret_xml = NULL;
	return 0;
}

static int fake_set_metadata(void *link, const char *uuid, const char *xml, unsigned flags,
			     struct libvirt_error *error)
{
	return change(link, "metadata", uuid, xml ? "set" : "none", error);
}

static int fake_define(void *link, const char *xml, struct libvirt_error *error)
{
	const char *nodes = strstr(xml, "nodeset=");
	char text[32] = "";

	if (nodes)
		sscanf(nodes + 9, "%31[0-9,-]", text);
	return change(link, "define", NULL, text, error);
}

const struct libvirt_ops fake_libvirt_ops = {
	.start = fake_start,
	.open = fake_open,
	.ref = fake_ref,
	.unref = fake_unref,
	.close = fake_close,
	.is_alive = fake_is_alive,
	.list = fake_list,
	.get = fake_get,
	.update_device = fake_update_device,
	.attach_device = fake_attach_device,
	.set_memory = fake_set_memory,
	.set_numa = fake_set_numa,
	.pin = fake_pin,
	.get_metadata = fake_get_metadata,
	.set_metadata = fake_set_metadata,
	.get_xml = fake_get_xml,
	.define = fake_define,
};

void fake_libvirt_set_reachable(bool reachable)
{
	struct libvirt_sink sink = {0};

	pthread_mutex_lock(&fake.lock);
	fake.reachable = reachable;
	if (!reachable && fake.link) {
		fake.link->alive = false;
		sink = fake.link->sink;
	}
	pthread_mutex_unlock(&fake.lock);
	if (sink.closed)
		sink.closed(sink.userdata, "libvirtd went away");
}

void fake_libvirt_refuse(const char *call, const char *text)
{
	fake_libvirt_lock();
	fake.refused = call;
	fake.refusal = text;
	fake_libvirt_unlock();
}

void fake_libvirt_gate(const char *call)
{
	fake_libvirt_lock();
	fake.gated = call;
	fake_libvirt_unlock();
}

void fake_libvirt_wait(const char *call, unsigned count)
{
	fake_libvirt_lock();
	while (*counter(call) < count)
		pthread_cond_wait(&fake.changed, &fake.lock);
	fake_libvirt_unlock();
}

unsigned fake_libvirt_count(const char *call)
{
	unsigned count;

	fake_libvirt_lock();
	count = *counter(call);
	fake_libvirt_unlock();
	return count;
}

struct emission {
	struct libvirt_sink sink;
	struct connection_event event;
};

static void *emit(void *data)
{
	struct emission *emission = data;

	emission->sink.event(emission->sink.userdata, &emission->event);
	return NULL;
}

void fake_libvirt_emit(enum connection_event_kind kind, const char *uuid, uint64_t bytes)
{
	struct emission emission = {.event = {.kind = kind,
					      .name = "",
					      .alias = FAKE_LIBVIRT_ALIAS,
					      .text = "",
					      .bytes = bytes}};
	pthread_t thread;

	snprintf(emission.event.uuid, sizeof(emission.event.uuid), "%s", uuid);
	fake_libvirt_lock();
	assert(fake.link);
	emission.sink = fake.link->sink;
	fake_libvirt_unlock();
	assert(pthread_create(&thread, NULL, emit, &emission) == 0);
	pthread_join(thread, NULL);
}

const char *fake_libvirt_changes(void)
{
	return fake.changes;
}

void fake_libvirt_wait_closed(void)
{
	fake_libvirt_lock();
	while (fake.links)
		pthread_cond_wait(&fake.changed, &fake.lock);
	fake_libvirt_unlock();
}
