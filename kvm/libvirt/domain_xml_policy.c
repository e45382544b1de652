/* SPDX-License-Identifier: Apache-2.0 */
#include "domain_xml.h"
#include "domain_xml_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "failure.h"
#include "size_text.h"

#define POLICY_MAX_BYTES    4096 /* seven short attributes */
#define POLICY_MAX_PRIORITY 1000
#define POLICY_NODE_LIMIT   1024 /* MAX_NUMNODES of every kernel so far */

static void read_size(struct domain_xml_reader *reader, const char *name, const char *text,
		      bool *ret_has, uint64_t *ret_bytes)
{
	if (size_text_parse(text, ret_bytes) < 0)
		domain_xml_fault(reader, -EINVAL, "%s=\"%s\" is no size", name, text);
	else
		*ret_has = true;
}

static bool online_policy_is_valid(const char *text)
{
	return strcmp(text, "leave") == 0 || strcmp(text, "movable") == 0;
}

static void read_attribute(struct domain_xml_reader *reader, const char *name, const char *text,
			   struct domain_xml_policy *policy)
{
	uint64_t number;

	if (strcmp(name, "minimum_bytes") == 0) {
		read_size(reader, name, text, &policy->has_minimum, &policy->minimum_bytes);
	} else if (strcmp(name, "maximum_bytes") == 0) {
		read_size(reader, name, text, &policy->has_maximum, &policy->maximum_bytes);
	} else if (strcmp(name, "request_limit_bytes") == 0) {
		read_size(reader, name, text, &policy->has_request_limit, &policy->request_limit_bytes);
	} else if (strcmp(name, "online_policy") == 0) {
		if (!online_policy_is_valid(text))
			domain_xml_fault(reader, -EINVAL, "online_policy=\"%.40s\" is neither leave nor movable", text);
		else
			snprintf(policy->online_policy, sizeof(policy->online_policy), "%.7s", text);
	} else if (strcmp(name, "zone_repair") == 0) {
		policy->zone_repair = strcmp(text, "yes") == 0;
		policy->has_zone_repair = policy->zone_repair || strcmp(text, "no") == 0;
		if (!policy->has_zone_repair)
			domain_xml_fault(reader, -EINVAL, "zone_repair=\"%.40s\" is neither yes nor no", text);
	} else if (strcmp(name, "priority") == 0) {
		if (size_text_parse_number(text, 10, &number) < 0 || number > POLICY_MAX_PRIORITY) {
			domain_xml_fault(reader, -EINVAL, "priority=\"%s\" is not 0 to %d", text,
					 POLICY_MAX_PRIORITY);
			return;
		}
		policy->has_priority = true;
		policy->priority = (unsigned)number;
	} else if (strcmp(name, "allowed_nodes") == 0) {
		if (!domain_xml_list_is_valid(text, POLICY_NODE_LIMIT))
			domain_xml_fault(reader, -EINVAL,
					 "allowed_nodes=\"%.60s\" is no list of nodes", text);
		else
			snprintf(policy->allowed_nodes, sizeof(policy->allowed_nodes), "%s", text);
	} else {
		domain_xml_fault(reader, -EINVAL, "\"%.40s\" is no attribute of a policy", name);
	}
}

/*
 * Strict, unlike the rest of the domain: it is written by people for us, and a policy that is half
 * understood lets a guest be shrunk that must not be.
 */
void domain_xml_policy_read(struct domain_xml_reader *reader, xmlNodePtr node,
			    struct domain_xml_policy *policy)
{
	memset(policy, 0, sizeof(*policy));
	for (xmlAttrPtr attribute = node->properties; attribute; attribute = attribute->next) {
		const char *name = (const char *)attribute->name;
		char text[DOMAIN_XML_NODES_SIZE];

		if (!domain_xml_attribute(reader, node, name, text, sizeof(text)))
			domain_xml_fault(reader, -EINVAL, "\"%.40s\" cannot be read", name);
		else
			read_attribute(reader, name, text, policy);
	}
	if (policy->has_minimum && policy->has_maximum &&
	    policy->minimum_bytes > policy->maximum_bytes)
		domain_xml_fault(reader, -EINVAL, "minimum_bytes is above maximum_bytes");
}

int domain_xml_policy_parse(const char *text, size_t size, struct domain_xml_policy *ret_policy,
			    struct failure *failure)
{
	struct domain_xml_reader reader = {0};
	struct domain_xml_policy policy;
	DOMAIN_XML_FREE_DOC xmlDocPtr doc =
		domain_xml_open(&reader, text, size, POLICY_MAX_BYTES, "policy");

	if (doc)
		domain_xml_policy_read(&reader, xmlDocGetRootElement(doc), &policy);
	if (reader.error) {
		failure_set(failure, reader.error, "policy metadata", "cannot be read");
		failure_set_cause(failure, "%s", reader.fault);
		return reader.error;
	}
	*ret_policy = policy;
	return 0;
}

int domain_xml_policy_format(const struct domain_xml_policy *policy, char **ret_xml)
{
	char text[DOMAIN_XML_NODES_SIZE + 256];
	size_t used = (size_t)snprintf(text, sizeof(text), "<policy");

	if (policy->has_minimum)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 " minimum_bytes=\"%" PRIu64 "\"", policy->minimum_bytes);
	if (policy->has_maximum)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 " maximum_bytes=\"%" PRIu64 "\"", policy->maximum_bytes);
	if (policy->has_request_limit)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 " request_limit_bytes=\"%" PRIu64 "\"", policy->request_limit_bytes);
	if (policy->online_policy[0]) {
		if (!online_policy_is_valid(policy->online_policy))
			return -EINVAL;
		used += (size_t)snprintf(text + used, sizeof(text) - used, " online_policy=\"%s\"",
					 policy->online_policy);
	}
	if (policy->has_zone_repair)
		used += (size_t)snprintf(text + used, sizeof(text) - used, " zone_repair=\"%s\"",
					 policy->zone_repair ? "yes" : "no");
	if (policy->has_priority)
		used += (size_t)snprintf(text + used, sizeof(text) - used, " priority=\"%u\"",
					 policy->priority);
	if (policy->allowed_nodes[0]) {
		if (!domain_xml_list_is_valid(policy->allowed_nodes, POLICY_NODE_LIMIT))
			return -EINVAL;
		used += (size_t)snprintf(text + used, sizeof(text) - used, " allowed_nodes=\"%s\"",
					 policy->allowed_nodes);
	}
	snprintf(text + used, sizeof(text) - used, "/>");

	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	*ret_xml = copy;
	return 0;
}
