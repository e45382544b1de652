/* SPDX-License-Identifier: Apache-2.0 */
#include "domain_xml.h"
#include "domain_xml_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "failure.h"

static const char *const source_names[DOMAIN_XML_SOURCE_COUNT] = {
	[DOMAIN_XML_SOURCE_ANONYMOUS] = "anonymous",
	[DOMAIN_XML_SOURCE_MEMFD] = "memfd",
	[DOMAIN_XML_SOURCE_FILE] = "file",
};
NAME_TABLE_DEFINE(domain_xml_source, source_names)

static const char *const mode_names[DOMAIN_XML_MODE_COUNT] = {
	[DOMAIN_XML_MODE_STRICT] = "strict",
	[DOMAIN_XML_MODE_PREFERRED] = "preferred",
	[DOMAIN_XML_MODE_INTERLEAVE] = "interleave",
	[DOMAIN_XML_MODE_RESTRICTIVE] = "restrictive",
};
NAME_TABLE_DEFINE(domain_xml_mode, mode_names)

static const char *const model_names[DOMAIN_XML_MODEL_COUNT] = {
	[DOMAIN_XML_MODEL_VIRTIO_MEM] = "virtio-mem",
	[DOMAIN_XML_MODEL_DIMM] = "dimm",
	[DOMAIN_XML_MODEL_NVDIMM] = "nvdimm",
	[DOMAIN_XML_MODEL_VIRTIO_PMEM] = "virtio-pmem",
	[DOMAIN_XML_MODEL_SGX_EPC] = "sgx-epc",
};
NAME_TABLE_DEFINE(domain_xml_model, model_names)

static const char *const channel_state_names[DOMAIN_XML_CHANNEL_COUNT] = {
	[DOMAIN_XML_CHANNEL_UNKNOWN] = "unknown",
	[DOMAIN_XML_CHANNEL_CONNECTED] = "connected",
	[DOMAIN_XML_CHANNEL_DISCONNECTED] = "disconnected",
};
NAME_TABLE_DEFINE(domain_xml_channel_state, channel_state_names)

static const char *const policy_state_names[DOMAIN_XML_POLICY_COUNT] = {
	[DOMAIN_XML_POLICY_ABSENT] = "absent",
	[DOMAIN_XML_POLICY_VALID] = "valid",
	[DOMAIN_XML_POLICY_INVALID] = "invalid",
};
NAME_TABLE_DEFINE(domain_xml_policy_state, policy_state_names)

void domain_xml_done(struct domain_xml *domain)
{
	for (size_t i = 0; i < domain->channel_count; i++)
		free(domain->channels[i].path);
	free(domain->name);
	free(domain->cells);
	free(domain->devices);
	free(domain->channels);
	free(domain->vcpu_pins);
	free(domain->iothread_pins);
	free(domain->iothreads);
	memset(domain, 0, sizeof(*domain));
}

/* Room for one more element at the end of an array; NULL and a fault beyond the cap or without
 * memory. */
static void *append(struct domain_xml_reader *reader, void *array, size_t *count, size_t size,
		    size_t cap, const char *what)
{
	void **place = array;
	char *grown;

	if (reader->error)
		return NULL;
	if (*count >= cap) {
		domain_xml_fault(reader, -E2BIG, "more than %zu %s", cap, what);
		return NULL;
	}
	/* Powers of two: reallocated when the count reaches one. */
	if ((*count & (*count - 1)) == 0) {
		grown = realloc(*place, (*count ? *count * 2 : 1) * size);
		if (!grown) {
			domain_xml_fault(reader, -ENOMEM, "no memory for %s", what);
			return NULL;
		}
		*place = grown;
	}
	grown = (char *)*place + *count * size;
	memset(grown, 0, size);
	(*count)++;
	return grown;
}

static char *copy_text(struct domain_xml_reader *reader, const xmlChar *text)
{
	char *copy = text ? strdup((const char *)text) : NULL;

	if (!copy)
		domain_xml_fault(reader, text ? -ENOMEM : -EINVAL,
				 text ? "no memory" : "a name or path is missing");
	return copy;
}

static void read_mode(struct domain_xml_reader *reader, xmlNodePtr node,
		      enum domain_xml_mode *ret_mode)
{
	char text[16];
	int value = DOMAIN_XML_MODE_STRICT; /* libvirt's default, conf/numa_conf.c */

	if (domain_xml_attribute(reader, node, "mode", text, sizeof(text)))
		value = domain_xml_mode_from_name(text);
	if (value < 0)
		domain_xml_fault(reader, -EINVAL, "numatune has the unknown mode \"%s\"", text);
	else
		*ret_mode = (enum domain_xml_mode)value;
}

static void read_cells(struct domain_xml_reader *reader, xmlNodePtr numa, struct domain_xml *domain)
{
	for (xmlNodePtr node = domain_xml_child(numa, "cell"); node;
	     node = domain_xml_next(node, "cell")) {
		struct domain_xml_cell *cell = append(reader, &domain->cells, &domain->cell_count,
						      sizeof(*cell), DOMAIN_XML_MAX_CELLS, "cells");

		if (!cell)
			return;
		cell->id =
			domain_xml_number(reader, node, "id", (unsigned)(domain->cell_count - 1));
		cell->bytes = domain_xml_size(reader, node, "memory", "KiB");
		domain_xml_list(reader, node, "cpus", cell->cpus, sizeof(cell->cpus));
		cell->shared = domain_xml_attribute_is(node, "memAccess", "shared");
	}
}

static struct domain_xml_cell *find_cell(struct domain_xml *domain, unsigned id)
{
	for (size_t i = 0; i < domain->cell_count; i++)
		if (domain->cells[i].id == id)
			return &domain->cells[i];
	return NULL;
}

static void read_numatune(struct domain_xml_reader *reader, xmlNodePtr numatune,
			  struct domain_xml *domain)
{
	xmlNodePtr memory = domain_xml_child(numatune, "memory");

	if (memory) {
		domain->numatune.present = domain->numatune.has_memory = true;
		domain->numatune.automatic = domain_xml_attribute_is(memory, "placement", "auto");
		read_mode(reader, memory, &domain->numatune.mode);
		domain_xml_list(reader, memory, "nodeset", domain->numatune.nodes,
				sizeof(domain->numatune.nodes));
	}
	for (xmlNodePtr node = domain_xml_child(numatune, "memnode"); node;
	     node = domain_xml_next(node, "memnode")) {
		struct domain_xml_cell *cell =
			find_cell(domain, domain_xml_number(reader, node, "cellid", UINT32_MAX));

		domain->numatune.present = true;
		domain->numatune.memnode_count++;
		if (!cell) {
			domain_xml_fault(reader, -EINVAL,
					 "numatune names a cell that is not there");
			return;
		}
		cell->has_nodes = true;
		read_mode(reader, node, &cell->mode);
		domain_xml_list(reader, node, "nodeset", cell->nodes, sizeof(cell->nodes));
	}
}

/* Whether the list (checked before) has the number. */
static bool list_has(const char *list, unsigned number)
{
	while (*list) {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (number >= first && number <= last)
			return true;
		list = *end ? end + 1 : end;
	}
	return false;
}

static void read_hugepages(struct domain_xml_reader *reader, xmlNodePtr hugepages,
			   struct domain_xml *domain)
{
	char cells[DOMAIN_XML_NODES_SIZE];

	domain->backing.hugepages = true;
	for (xmlNodePtr page = domain_xml_child(hugepages, "page"); page;
	     page = domain_xml_next(page, "page")) {
		uint64_t bytes = domain_xml_size(reader, page, "size", "KiB");

		if (!domain->backing.page_bytes)
			domain->backing.page_bytes = bytes;
		domain_xml_list(reader, page, "nodeset", cells, sizeof(cells));
		for (size_t i = 0; i < domain->cell_count; i++)
			if (!cells[0] || list_has(cells, domain->cells[i].id))
				domain->cells[i].hugepage_bytes = bytes;
	}
}

static void read_backing(struct domain_xml_reader *reader, xmlNodePtr backing,
			 struct domain_xml *domain)
{
	xmlNodePtr source = domain_xml_child(backing, "source");
	xmlNodePtr hugepages = domain_xml_child(backing, "hugepages");
	xmlNodePtr allocation = domain_xml_child(backing, "allocation");
	char text[16];

	if (domain_xml_attribute(reader, source, "type", text, sizeof(text))) {
		int value = domain_xml_source_from_name(text);

		if (value < 0)
			domain_xml_fault(reader, -EINVAL,
					 "memoryBacking has the unknown source \"%s\"", text);
		else
			domain->backing.source = (enum domain_xml_source)value;
	}
	domain->backing.shared =
		domain_xml_attribute_is(domain_xml_child(backing, "access"), "mode", "shared");
	domain->backing.locked = domain_xml_child(backing, "locked") != NULL;
	domain->backing.no_sharing = domain_xml_child(backing, "nosharepages") != NULL;
	domain->backing.discard = domain_xml_child(backing, "discard") != NULL;
	domain->backing.preallocated = domain_xml_attribute_is(allocation, "mode", "immediate");
	if (hugepages)
		read_hugepages(reader, hugepages, domain);
}

static bool read_address(struct domain_xml_reader *reader, xmlNodePtr address,
			 uint64_t *ret_address)
{
	char text[24], *end;
	unsigned long long value;

	if (!domain_xml_attribute(reader, address, "base", text, sizeof(text)))
		return false;
	errno = 0;
	value = strtoull(text, &end, 16);
	if (errno || *end || strncmp(text, "0x", 2) != 0 || end == text + 2) {
		domain_xml_fault(reader, -EINVAL, "\"%s\" is no address", text);
		return false;
	}
	*ret_address = value;
	return true;
}

static void read_device(struct domain_xml_reader *reader, xmlNodePtr node,
			struct domain_xml *domain)
{
	xmlNodePtr source = domain_xml_child(node, "source"),
		   target = domain_xml_child(node, "target");
	struct domain_xml_device *device =
		append(reader, &domain->devices, &domain->device_count, sizeof(*device),
		       DOMAIN_XML_MAX_DEVICES, "memory devices");
	xmlNodePtr cell = domain_xml_child(target, "node");
	char model[16];
	int value = -1;

	if (!device)
		return;
	if (domain_xml_attribute(reader, node, "model", model, sizeof(model)))
		value = domain_xml_model_from_name(model);
	if (value < 0) {
		domain_xml_fault(reader, -EINVAL, "a memory device has no known model");
		return;
	}
	device->model = (enum domain_xml_model)value;
	domain_xml_attribute(reader, domain_xml_child(node, "alias"), "name", device->alias,
			     sizeof(device->alias));
	domain_xml_list(reader, domain_xml_child(source, "nodemask"), NULL, device->source_nodes,
			sizeof(device->source_nodes));
	device->page_bytes =
		domain_xml_size(reader, domain_xml_child(source, "pagesize"), NULL, "KiB");
	device->has_cell = cell != NULL;
	device->cell = domain_xml_number(reader, cell, NULL, 0);
	device->size_bytes = domain_xml_size(reader, domain_xml_child(target, "size"), NULL, "KiB");
	device->block_bytes =
		domain_xml_size(reader, domain_xml_child(target, "block"), NULL, "KiB");
	device->requested_bytes =
		domain_xml_size(reader, domain_xml_child(target, "requested"), NULL, "KiB");
	device->current_bytes =
		domain_xml_size(reader, domain_xml_child(target, "current"), NULL, "KiB");
	device->has_address =
		read_address(reader, domain_xml_child(target, "address"), &device->address) ||
		read_address(reader, domain_xml_child(node, "address"), &device->address);
	if (device->model == DOMAIN_XML_MODEL_VIRTIO_MEM &&
	    (!device->block_bytes || (device->block_bytes & (device->block_bytes - 1)) ||
	     device->requested_bytes > device->size_bytes))
		domain_xml_fault(reader, -EINVAL,
				 "virtio-mem %s has no sane block or requested size",
				 device->alias);
}

static void read_channel(struct domain_xml_reader *reader, xmlNodePtr node,
			 struct domain_xml *domain)
{
	xmlNodePtr target = domain_xml_child(node, "target"),
		   source = domain_xml_child(node, "source");
	struct domain_xml_channel *channel;
	char text[16];

	if (!domain_xml_attribute_is(node, "type", "unix") ||
	    !domain_xml_attribute_is(target, "type", "virtio"))
		return;
	channel = append(reader, &domain->channels, &domain->channel_count, sizeof(*channel),
			 DOMAIN_XML_MAX_DEVICES, "channels");
	if (!channel)
		return;
	domain_xml_attribute(reader, target, "name", channel->name, sizeof(channel->name));
	domain_xml_attribute(reader, domain_xml_child(node, "alias"), "name", channel->alias,
			     sizeof(channel->alias));
	if (domain_xml_attribute(reader, target, "state", text, sizeof(text))) {
		int value = domain_xml_channel_state_from_name(text);

		channel->state = value < 0 ? DOMAIN_XML_CHANNEL_UNKNOWN
					   : (enum domain_xml_channel_state)value;
	}
	DOMAIN_XML_FREE_STRING xmlChar *path =
		source ? xmlGetNoNsProp(source, (const xmlChar *)"path") : NULL;

	if (path)
		channel->path = copy_text(reader, path);
}

static bool is_vhost_user(xmlNodePtr node)
{
	xmlNodePtr driver = domain_xml_child(node, "driver"),
		   source = domain_xml_child(node, "source");

	return domain_xml_attribute_is(node, "type", "vhostuser") ||
	       domain_xml_attribute_is(driver, "type", "virtiofs") ||
	       domain_xml_attribute_is(source, "type", "vhostuser") ||
	       domain_xml_attribute_is(driver, "name", "vhostuser");
}

/* PCI and mediated devices are VFIO; so is an interface that libvirt takes from a PCI function, and
 * vDPA. */
static bool is_vfio(xmlNodePtr node, const char *element)
{
	if (strcmp(element, "hostdev") == 0)
		return domain_xml_attribute_is(node, "type", "pci") ||
		       domain_xml_attribute_is(node, "type", "mdev");
	return strcmp(element, "interface") == 0 &&
	       (domain_xml_attribute_is(node, "type", "hostdev") ||
		domain_xml_attribute_is(node, "type", "vdpa"));
}

static void read_balloon(xmlNodePtr node, struct domain_xml *domain)
{
	domain->has_balloon = !domain_xml_attribute_is(node, "model", "none");
	domain->free_page_reporting = domain_xml_attribute_is(node, "freePageReporting", "on");
}

static void read_devices(struct domain_xml_reader *reader, xmlNodePtr devices,
			 struct domain_xml *domain)
{
	for (xmlNodePtr node = devices ? devices->children : NULL; node; node = node->next) {
		const char *element = (const char *)node->name;

		if (node->type != XML_ELEMENT_NODE)
			continue;
		if (strcmp(element, "memory") == 0)
			read_device(reader, node, domain);
		else if (strcmp(element, "channel") == 0)
			read_channel(reader, node, domain);
		else if (strcmp(element, "vsock") == 0)
			domain->vsock_cid = domain_xml_number(reader, domain_xml_child(node, "cid"), "address", 0);
		else if (strcmp(element, "memballoon") == 0)
			read_balloon(node, domain);
		else if (strcmp(element, "controller") == 0 &&
			 domain_xml_attribute_is(node, "type", "virtio-serial"))
			domain->has_virtio_serial = true;
		if (is_vfio(node, element))
			domain->vfio_count++;
		if (is_vhost_user(node))
			domain->vhost_user_count++;
	}
}

static void read_pins(struct domain_xml_reader *reader, xmlNodePtr cputune, const char *element,
		      const char *id_name, struct domain_xml_pin **pins, size_t *count)
{
	for (xmlNodePtr node = domain_xml_child(cputune, element); node;
	     node = domain_xml_next(node, element)) {
		struct domain_xml_pin *pin =
			append(reader, pins, count, sizeof(*pin), DOMAIN_XML_MAX_PINS, "pins");

		if (!pin)
			return;
		pin->id = domain_xml_number(reader, node, id_name, 0);
		domain_xml_list(reader, node, "cpuset", pin->cpus, sizeof(pin->cpus));
	}
}

static void read_cputune(struct domain_xml_reader *reader, xmlNodePtr cputune,
			 struct domain_xml *domain)
{
	read_pins(reader, cputune, "vcpupin", "vcpu", &domain->vcpu_pins, &domain->vcpu_pin_count);
	read_pins(reader, cputune, "iothreadpin", "iothread", &domain->iothread_pins,
		  &domain->iothread_pin_count);
	domain_xml_list(reader, domain_xml_child(cputune, "emulatorpin"), "cpuset",
			domain->emulator_pin, sizeof(domain->emulator_pin));
	domain->realtime = domain_xml_child(cputune, "vcpusched") ||
			   domain_xml_child(cputune, "iothreadsched") ||
			   domain_xml_child(cputune, "emulatorsched");
}

static bool has_iothread(const struct domain_xml *domain, unsigned id)
{
	for (size_t i = 0; i < domain->iothread_count; i++)
		if (domain->iothreads[i] == id)
			return true;
	return false;
}

static void add_iothread(struct domain_xml_reader *reader, struct domain_xml *domain, unsigned id)
{
	unsigned *added = append(reader, &domain->iothreads, &domain->iothread_count, sizeof(*added),
				 DOMAIN_XML_MAX_PINS, "I/O threads");

	if (added)
		*added = id;
}

/* Those that are named, and then the lowest free ids (conf/domain_conf.c virDomainIOThreadIDDefArrayInit). */
static void read_iothreads(struct domain_xml_reader *reader, xmlNodePtr root, struct domain_xml *domain)
{
	unsigned count = domain_xml_number(reader, domain_xml_child(root, "iothreads"), NULL, 0);

	for (xmlNodePtr node = domain_xml_child(domain_xml_child(root, "iothreadids"), "iothread"); node;
	     node = domain_xml_next(node, "iothread"))
		add_iothread(reader, domain, domain_xml_number(reader, node, "id", 0));
	for (unsigned id = 1; !reader->error && domain->iothread_count < count; id++)
		if (!has_iothread(domain, id))
			add_iothread(reader, domain, id);
}

static void read_policy(xmlNodePtr metadata, struct domain_xml *domain)
{
	struct domain_xml_reader reader = {0};

	for (xmlNodePtr node = domain_xml_child(metadata, "policy"); node;
	     node = domain_xml_next(node, "policy")) {
		if (!node->ns || strcmp((const char *)node->ns->href, DOMAIN_XML_POLICY_URI) != 0)
			continue;
		domain_xml_policy_read(&reader, node, &domain->policy);
		domain->policy_state =
			reader.error ? DOMAIN_XML_POLICY_INVALID : DOMAIN_XML_POLICY_VALID;
		snprintf(domain->policy_fault, sizeof(domain->policy_fault), "%.127s",
			 reader.fault);
		if (reader.error)
			memset(&domain->policy, 0, sizeof(domain->policy));
		return;
	}
}

static void read_sizes(struct domain_xml_reader *reader, xmlNodePtr root, struct domain_xml *domain)
{
	xmlNodePtr maximum = domain_xml_child(root, "maxMemory"),
		   vcpu = domain_xml_child(root, "vcpu");
	uint64_t cells = 0, devices = 0;

	domain->memory_bytes =
		domain_xml_size(reader, domain_xml_child(root, "memory"), NULL, "KiB");
	domain->current_bytes =
		domain_xml_size(reader, domain_xml_child(root, "currentMemory"), NULL, "KiB");
	domain->maximum_bytes = domain_xml_size(reader, maximum, NULL, "KiB");
	domain->slots = domain_xml_number(reader, maximum, "slots", 0);
	domain->vcpu_maximum = domain_xml_number(reader, vcpu, NULL, 1);
	domain->vcpu_current = domain_xml_number(reader, vcpu, "current", domain->vcpu_maximum);
	domain_xml_list(reader, vcpu, "cpuset", domain->vcpu_cpus, sizeof(domain->vcpu_cpus));
	for (size_t i = 0; i < domain->cell_count; i++)
		if (__builtin_add_overflow(cells, domain->cells[i].bytes, &cells))
			domain_xml_fault(reader, -EINVAL, "the cells are larger than any machine");
	for (size_t i = 0; i < domain->device_count; i++)
		if (__builtin_add_overflow(devices, domain->devices[i].size_bytes, &devices))
			domain_xml_fault(reader, -EINVAL,
					 "the devices are larger than any machine");
	if (domain->cell_count)
		domain->base_bytes = cells;
	else if (devices <= domain->memory_bytes)
		domain->base_bytes = domain->memory_bytes - devices;
}

static void read_identity(struct domain_xml_reader *reader, xmlNodePtr root,
			  struct domain_xml *domain)
{
	xmlNodePtr name = domain_xml_child(root, "name");
	DOMAIN_XML_FREE_STRING xmlChar *text = name ? xmlNodeGetContent(name) : NULL;
	unsigned id = domain_xml_number(reader, root, "id", UINT32_MAX);

	domain->name = copy_text(reader, text);
	domain->id = id > INT32_MAX ? -1 : (int)id;
	domain_xml_attribute(reader, root, "type", domain->type, sizeof(domain->type));
	domain_xml_text(reader, domain_xml_child(root, "uuid"), domain->uuid, sizeof(domain->uuid));
	domain_xml_attribute(reader, domain_xml_child(root, "launchSecurity"), "type",
			     domain->launch_security, sizeof(domain->launch_security));
}

static void read_domain(struct domain_xml_reader *reader, xmlNodePtr root,
			struct domain_xml *domain)
{
	read_identity(reader, root, domain);
	/* Cells before what names them. */
	read_cells(reader, domain_xml_child(domain_xml_child(root, "cpu"), "numa"), domain);
	read_numatune(reader, domain_xml_child(root, "numatune"), domain);
	read_backing(reader, domain_xml_child(root, "memoryBacking"), domain);
	read_cputune(reader, domain_xml_child(root, "cputune"), domain);
	read_iothreads(reader, root, domain);
	read_devices(reader, domain_xml_child(root, "devices"), domain);
	read_sizes(reader, root, domain);
	read_policy(domain_xml_child(root, "metadata"), domain);
}

int domain_xml_parse(const char *text, size_t size, struct domain_xml *ret_domain,
		     struct failure *failure)
{
	struct domain_xml_reader reader = {0};
	struct domain_xml domain = {.id = -1};
	DOMAIN_XML_FREE_DOC xmlDocPtr doc =
		domain_xml_open(&reader, text, size, DOMAIN_XML_MAX_BYTES, "domain");

	if (doc)
		read_domain(&reader, xmlDocGetRootElement(doc), &domain);
	if (reader.error) {
		char object[FAILURE_OBJECT_SIZE];

		snprintf(object, sizeof(object), "guest %.80s",
			 domain.name ? domain.name : "(no name)");
		failure_set(failure, reader.error, object, "cannot read libvirt's description");
		failure_set_cause(failure, "%s", reader.fault);
		domain_xml_done(&domain);
		return reader.error;
	}
	*ret_domain = domain;
	return 0;
}

const struct domain_xml_cell *domain_xml_find_cell(const struct domain_xml *domain, unsigned id)
{
	for (size_t i = 0; i < domain->cell_count; i++)
		if (domain->cells[i].id == id)
			return &domain->cells[i];
	return NULL;
}

const struct domain_xml_device *domain_xml_find_device(const struct domain_xml *domain,
						       const char *alias)
{
	for (size_t i = 0; i < domain->device_count; i++)
		if (strcmp(domain->devices[i].alias, alias) == 0)
			return &domain->devices[i];
	return NULL;
}

const struct domain_xml_channel *domain_xml_find_channel(const struct domain_xml *domain,
							 const char *name)
{
	for (size_t i = 0; i < domain->channel_count; i++)
		if (strcmp(domain->channels[i].name, name) == 0)
			return &domain->channels[i];
	return NULL;
}
