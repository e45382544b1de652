/* SPDX-License-Identifier: Apache-2.0 */
#include "domain_xml.h"
#include "domain_xml_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NODE_LIMIT 1024 /* MAX_NUMNODES of every kernel so far */

static xmlNodePtr first_memory_device(xmlDocPtr doc)
{
	return domain_xml_child(domain_xml_child(xmlDocGetRootElement(doc), "devices"), "memory");
}

/* A new text of a node. libvirt's element has no child but text. */
static int set_content(xmlNodePtr node, const char *text)
{
	xmlNodePtr content = xmlNewText((const xmlChar *)text);

	if (!content)
		return -ENOMEM;
	xmlNodeSetContent(node, NULL);
	if (!xmlAddChild(node, content)) {
		xmlFreeNode(content);
		return -ENOMEM;
	}
	return 0;
}

int domain_xml_build_requested(const char *live_xml, const char *alias, uint64_t requested_bytes,
			       char **ret_xml)
{
	struct domain_xml_reader reader = {0};
	DOMAIN_XML_FREE_DOC xmlDocPtr doc = domain_xml_open(&reader, live_xml, strlen(live_xml),
							    DOMAIN_XML_MAX_BYTES, "domain");
	xmlNodePtr node, requested;
	char text[24], *xml;
	int error;

	if (!doc)
		return reader.error;
	if (requested_bytes % 1024)
		return -EINVAL;
	for (node = first_memory_device(doc); node; node = domain_xml_next(node, "memory"))
		if (domain_xml_attribute_is(node, "model", "virtio-mem") &&
		    domain_xml_attribute_is(domain_xml_child(node, "alias"), "name", alias))
			break;
	if (!node)
		return -ENODEV;
	requested = domain_xml_child(domain_xml_child(node, "target"), "requested");
	if (!requested)
		return -EINVAL;
	snprintf(text, sizeof(text), "%" PRIu64, requested_bytes / 1024);
	error = set_content(requested, text);
	if (error < 0)
		return error;
	if (!xmlSetProp(requested, (const xmlChar *)"unit", (const xmlChar *)"KiB"))
		return -ENOMEM;
	xml = domain_xml_dump(doc, node);
	if (!xml)
		return -ENOMEM;
	*ret_xml = xml;
	return 0;
}

int domain_xml_build_channel(const char *port_name, char **ret_xml)
{
	DOMAIN_XML_FREE_DOC xmlDocPtr doc = xmlNewDoc((const xmlChar *)"1.0");
	xmlNodePtr channel =
		doc ? xmlNewDocNode(doc, NULL, (const xmlChar *)"channel", NULL) : NULL;
	xmlNodePtr source, target;
	char *xml;

	if (!channel)
		return -ENOMEM;
	xmlDocSetRootElement(doc, channel);
	/* Without a path: libvirt chooses one that QEMU may use, and removes it with the guest. */
	source = xmlNewChild(channel, NULL, (const xmlChar *)"source", NULL);
	target = xmlNewChild(channel, NULL, (const xmlChar *)"target", NULL);
	if (!source || !target ||
	    !xmlSetProp(channel, (const xmlChar *)"type", (const xmlChar *)"unix") ||
	    !xmlSetProp(source, (const xmlChar *)"mode", (const xmlChar *)"bind") ||
	    !xmlSetProp(target, (const xmlChar *)"type", (const xmlChar *)"virtio") ||
	    !xmlSetProp(target, (const xmlChar *)"name", (const xmlChar *)port_name))
		return -ENOMEM;
	xml = domain_xml_dump(doc, channel);
	if (!xml)
		return -ENOMEM;
	*ret_xml = xml;
	return 0;
}

void domain_xml_placement_done(struct domain_xml_placement *placement)
{
	free(placement->cells);
	free(placement->devices);
	memset(placement, 0, sizeof(*placement));
}

int domain_xml_placement_read(const struct domain_xml *domain,
			      struct domain_xml_placement *ret_placement)
{
	struct domain_xml_placement placement = {0};

	placement.cells = calloc(domain->cell_count + 1, sizeof(*placement.cells));
	placement.devices = calloc(domain->device_count + 1, sizeof(*placement.devices));
	if (!placement.cells || !placement.devices) {
		domain_xml_placement_done(&placement);
		return -ENOMEM;
	}
	placement.has_nodes = domain->numatune.nodes[0] != '\0';
	memcpy(placement.nodes, domain->numatune.nodes, sizeof(placement.nodes));
	for (size_t i = 0; i < domain->cell_count; i++) {
		if (!domain->cells[i].has_nodes)
			continue;
		struct domain_xml_nodes *cell = &placement.cells[placement.cell_count++];

		cell->id = domain->cells[i].id;
		cell->cell = (int)cell->id;
		memcpy(cell->nodes, domain->cells[i].nodes, sizeof(cell->nodes));
	}
	for (size_t i = 0; i < domain->device_count; i++) {
		if (!domain->devices[i].source_nodes[0])
			continue;
		struct domain_xml_nodes *device = &placement.devices[placement.device_count++];

		device->id = (unsigned)i;
		device->cell = domain->devices[i].has_cell ? (int)domain->devices[i].cell : -1;
		memcpy(device->nodes, domain->devices[i].source_nodes, sizeof(device->nodes));
	}
	*ret_placement = placement;
	return 0;
}

static struct domain_xml_nodes *copy_array(const struct domain_xml_nodes *array, size_t count)
{
	struct domain_xml_nodes *copy = calloc(count + 1, sizeof(*copy));

	if (copy && count)
		memcpy(copy, array, count * sizeof(*copy));
	return copy;
}

int domain_xml_placement_copy(const struct domain_xml_placement *placement,
			      struct domain_xml_placement *ret_copy)
{
	struct domain_xml_placement copy = *placement;

	copy.cells = copy_array(placement->cells, placement->cell_count);
	copy.devices = copy_array(placement->devices, placement->device_count);
	if (!copy.cells || !copy.devices) {
		domain_xml_placement_done(&copy);
		return -ENOMEM;
	}
	*ret_copy = copy;
	return 0;
}

static int set_nodeset(xmlNodePtr node, const char *nodes)
{
	if (!node || !xmlHasProp(node, (const xmlChar *)"nodeset"))
		return -ENOENT;
	if (!domain_xml_list_is_valid(nodes, NODE_LIMIT))
		return -EINVAL;
	return xmlSetProp(node, (const xmlChar *)"nodeset", (const xmlChar *)nodes) ? 0 : -ENOMEM;
}

/* A guest without a <memory> gets one that prefers the node: it starts as it would have, and elsewhere where that is full. */
static int set_memory(xmlDocPtr doc, const char *nodes)
{
	xmlNodePtr root = xmlDocGetRootElement(doc), numatune = domain_xml_child(root, "numatune"), node;
	bool is_set;

	node = domain_xml_child(numatune, "memory");
	if (node)
		return set_nodeset(node, nodes);
	if (!domain_xml_list_is_valid(nodes, NODE_LIMIT))
		return -EINVAL;
	if (!numatune)
		numatune = xmlNewChild(root, NULL, (const xmlChar *)"numatune", NULL);
	node = numatune ? xmlNewChild(numatune, NULL, (const xmlChar *)"memory", NULL) : NULL;
	is_set = node && xmlSetProp(node, (const xmlChar *)"mode", (const xmlChar *)"preferred") &&
		 xmlSetProp(node, (const xmlChar *)"nodeset", (const xmlChar *)nodes);
	return is_set ? 0 : -ENOMEM;
}

/* One that names no nodes is numad's. */
static void drop_memory(xmlNodePtr numatune)
{
	xmlNodePtr node = domain_xml_child(numatune, "memory");

	if (!node || !xmlHasProp(node, (const xmlChar *)"nodeset"))
		return;
	xmlUnlinkNode(node);
	xmlFreeNode(node);
	if (xmlFirstElementChild(numatune))
		return;
	xmlUnlinkNode(numatune);
	xmlFreeNode(numatune);
}

/* How the others are bound, in the words of the XML: of a guest some of whose cells have no memnode. */
static int add_memnode(xmlNodePtr numatune, const struct domain_xml_nodes *cell, const char *id)
{
	xmlNodePtr like = domain_xml_child(numatune, "memory"), node;
	xmlChar *mode;
	bool is_set;

	if (!like)
		like = domain_xml_child(numatune, "memnode");
	mode = like ? xmlGetProp(like, (const xmlChar *)"mode") : NULL;
	/* libvirt's own default (conf/numa_conf.c virDomainNumatuneNodeParseXML). */
	node = xmlNewChild(numatune, NULL, (const xmlChar *)"memnode", NULL);
	is_set = node && xmlSetProp(node, (const xmlChar *)"cellid", (const xmlChar *)id) &&
		 xmlSetProp(node, (const xmlChar *)"mode", mode ? mode : (const xmlChar *)"strict") &&
		 xmlSetProp(node, (const xmlChar *)"nodeset", (const xmlChar *)cell->nodes);
	xmlFree(mode);
	return is_set ? 0 : -ENOMEM;
}

static xmlNodePtr find_memnode(xmlNodePtr numatune, const char *id)
{
	xmlNodePtr node = domain_xml_child(numatune, "memnode");

	while (node && !domain_xml_attribute_is(node, "cellid", id))
		node = domain_xml_next(node, "memnode");
	return node;
}

static bool has_cell(xmlDocPtr doc, const char *id)
{
	xmlNodePtr cpu = domain_xml_child(xmlDocGetRootElement(doc), "cpu"),
		   node = domain_xml_child(domain_xml_child(cpu, "numa"), "cell");

	while (node && !domain_xml_attribute_is(node, "id", id))
		node = domain_xml_next(node, "cell");
	return node;
}

static int set_memnode(xmlDocPtr doc, xmlNodePtr numatune, const struct domain_xml_nodes *cell)
{
	xmlNodePtr node;
	char id[12];

	snprintf(id, sizeof(id), "%u", cell->id);
	node = find_memnode(numatune, id);
	if (node)
		return set_nodeset(node, cell->nodes);
	if (!numatune || !has_cell(doc, id))
		return -ENOENT;
	return domain_xml_list_is_valid(cell->nodes, NODE_LIMIT) ? add_memnode(numatune, cell, id) : -EINVAL;
}

static void drop_other_memnodes(xmlNodePtr numatune, const struct domain_xml_placement *placement)
{
	xmlNodePtr node = domain_xml_child(numatune, "memnode");

	while (node) {
		xmlNodePtr next = domain_xml_next(node, "memnode");
		bool is_listed = false;

		for (size_t i = 0; i < placement->cell_count; i++) {
			char id[12];

			snprintf(id, sizeof(id), "%u", placement->cells[i].id);
			is_listed |= domain_xml_attribute_is(node, "cellid", id);
		}
		if (!is_listed) {
			xmlUnlinkNode(node);
			xmlFreeNode(node);
		}
		node = next;
	}
}

static int set_nodemask(xmlDocPtr doc, const struct domain_xml_nodes *device)
{
	xmlNodePtr node = first_memory_device(doc), mask;

	for (unsigned index = 0; node && index < device->id; index++)
		node = domain_xml_next(node, "memory");
	mask = domain_xml_child(domain_xml_child(node, "source"), "nodemask");
	if (!mask)
		return -ENOENT;
	if (!domain_xml_list_is_valid(device->nodes, NODE_LIMIT))
		return -EINVAL;
	return set_content(mask, device->nodes);
}

int domain_xml_build_placement(const char *stored_xml, const struct domain_xml_placement *placement,
			       char **ret_xml)
{
	struct domain_xml_reader reader = {0};
	DOMAIN_XML_FREE_DOC xmlDocPtr doc = domain_xml_open(&reader, stored_xml, strlen(stored_xml),
							    DOMAIN_XML_MAX_BYTES, "domain");
	xmlNodePtr numatune;
	char *xml;
	int error = 0;

	if (!doc)
		return reader.error;
	if (placement->has_nodes)
		error = set_memory(doc, placement->nodes);
	numatune = domain_xml_child(xmlDocGetRootElement(doc), "numatune");
	for (size_t i = 0; error == 0 && i < placement->cell_count; i++)
		error = set_memnode(doc, numatune, &placement->cells[i]);
	if (error == 0)
		drop_other_memnodes(numatune, placement);
	for (size_t i = 0; error == 0 && i < placement->device_count; i++)
		error = set_nodemask(doc, &placement->devices[i]);
	if (error < 0)
		return error;
	if (!placement->has_nodes)
		drop_memory(numatune);
	xml = domain_xml_dump(doc, NULL);
	if (!xml)
		return -ENOMEM;
	*ret_xml = xml;
	return 0;
}
