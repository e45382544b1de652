/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as domain XML and as a policy. What parses must survive being rewritten: the placement
 * that was read fits the text it was read from, and a policy that is written out is read back.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "domain_xml.h"
#include "placement.h"
#include "virtio_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_policy(const char *text, size_t size)
{
	struct domain_xml_policy policy, again;
	char *formatted;

	if (domain_xml_policy_parse(text, size, &policy, NULL) < 0)
		return;
	if (domain_xml_policy_format(&policy, &formatted) < 0)
		return;
	if (domain_xml_policy_parse(formatted, strlen(formatted), &again, NULL) < 0 ||
	    again.minimum_bytes != policy.minimum_bytes || again.priority != policy.priority)
		abort();
	free(formatted);
}

static void try_edits(const char *text, const struct domain_xml *domain)
{
	struct domain_xml_placement placement;
	char *xml;

	if (domain_xml_placement_read(domain, &placement) < 0)
		return;
	placement_replace_node(&placement, 0, 1);
	if (domain_xml_build_placement(text, &placement, &xml) == 0)
		free(xml);
	domain_xml_placement_done(&placement);
	for (size_t i = 0; i < domain->device_count; i++)
		if (domain_xml_build_requested(text, domain->devices[i].alias, 0, &xml) == 0)
			free(xml);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_mem_device devices[VIRTIO_MEM_MAX_DEVICES];
	uint64_t requested[VIRTIO_MEM_MAX_DEVICES];
	struct domain_xml domain;
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	if (domain_xml_parse(text, size, &domain, NULL) == 0) {
		size_t count = virtio_mem_collect(&domain, devices, NULL, VIRTIO_MEM_MAX_DEVICES);

		virtio_mem_spread(devices, count, domain.base_bytes, domain.maximum_bytes,
				  requested);
		placement_can_take_back(&domain);
		placement_stored_fits(&domain, "0-1");
		try_edits(text, &domain);
		domain_xml_done(&domain);
	}
	try_policy(text, size);
	free(text);
	return 0;
}
