/* SPDX-License-Identifier: Apache-2.0 */
#include "domain_xml.h"

#include <stdio.h>
#include <string.h>
#include "failure.h"
#include "size_text.h"
#include "unit.h"

static char *read_fixture(const char *name)
{
	char path[512], *text = calloc(1, 65536);
	FILE *stream;

	snprintf(path, sizeof(path), "%s/%s", TEST_DOMAIN_XML_DIR, name);
	stream = fopen(path, "re");
	assert(stream && text && fread(text, 1, 65535, stream) > 0);
	fclose(stream);
	return text;
}

static void parse_fixture(const char *name, struct domain_xml *domain)
{
	CLEANUP_FREE char *text = read_fixture(name);
	struct failure failure = {0};
	int error = domain_xml_parse(text, strlen(text), domain, &failure);

	if (error)
		printf("  %s\n", failure.cause);
	assert(error == 0);
}

static int parse_text(const char *text, struct failure *failure)
{
	struct domain_xml domain;
	int error = domain_xml_parse(text, strlen(text), &domain, failure);

	if (error == 0)
		domain_xml_done(&domain);
	return error;
}

static void test_live(void)
{
	struct domain_xml domain;

	parse_fixture("virtio_mem_live.xml", &domain);
	CHECK_STR(domain.name, "g1");
	CHECK_STR(domain.uuid, "6f0d0a3c-0b7e-4c53-9d0c-2f1f5d1a7e01");
	CHECK_STR(domain.type, "kvm");
	CHECK_INT(domain.id, 3);
	CHECK_INT(domain.base_bytes, 512 * SIZE_TEXT_MIB);
	CHECK_INT(domain.memory_bytes, 3584 * SIZE_TEXT_MIB);
	CHECK_INT(domain.maximum_bytes, 8 * SIZE_TEXT_GIB);
	CHECK_INT(domain.slots, 16);
	CHECK_INT(domain.vcpu_maximum, 4);
	CHECK_INT(domain.vcpu_current, 2);
	CHECK_INT(domain.cell_count, 2);
	CHECK_STR(domain.cells[1].cpus, "2-3");
	CHECK_TRUE(domain.cells[0].shared);
	CHECK_INT(domain.backing.source, DOMAIN_XML_SOURCE_MEMFD);
	CHECK_TRUE(domain.backing.shared);
	CHECK_TRUE(!domain.backing.hugepages && !domain.backing.locked);
	CHECK_TRUE(domain.numatune.present);
	CHECK_INT(domain.numatune.mode, DOMAIN_XML_MODE_STRICT);
	CHECK_STR(domain.numatune.nodes, "3");
	CHECK_INT(domain.vcpu_pin_count, 2);
	CHECK_STR(domain.vcpu_pins[1].cpus, "3");
	CHECK_STR(domain.emulator_pin, "0-1");
	CHECK_INT(domain.iothread_pin_count, 1);
	CHECK_INT(domain.iothread_pins[0].id, 1);
	CHECK_INT(domain.iothread_count, 1);
	CHECK_INT(domain.iothreads[0], 1);
	CHECK_STR(domain.vcpu_cpus, "");
	CHECK_TRUE(domain.has_balloon && domain.free_page_reporting && domain.has_virtio_serial);
	CHECK_INT(domain.vsock_cid, 0);
	CHECK_TRUE(!domain.realtime);
	CHECK_INT(domain.vfio_count, 0);
	domain_xml_done(&domain);
}

static void test_iothreads(void)
{
	static const char text[] = "<domain><name>g</name><uuid>6f0d0a3c-0b7e-4c53-9d0c-2f1f5d1a7e01</uuid>"
				   "<vcpu cpuset='2-3'>2</vcpu><iothreads>3</iothreads>"
				   "<iothreadids><iothread id='2'/><iothread id='7'/></iothreadids></domain>",
			 many[] = "<domain><name>g</name><uuid>6f0d0a3c-0b7e-4c53-9d0c-2f1f5d1a7e01</uuid>"
				  "<iothreads>4000000000</iothreads></domain>";
	struct domain_xml domain;

	/* The ones that are named, and the lowest free numbers for the rest. */
	CHECK_INT(domain_xml_parse(text, strlen(text), &domain, NULL), 0);
	CHECK_INT(domain.iothread_count, 3);
	CHECK_INT(domain.iothreads[0], 2);
	CHECK_INT(domain.iothreads[1], 7);
	CHECK_INT(domain.iothreads[2], 1);
	CHECK_STR(domain.vcpu_cpus, "2-3");
	domain_xml_done(&domain);
	/* As many as one likes to write are not made. */
	CHECK_INT(domain_xml_parse(many, strlen(many), &domain, NULL), -E2BIG);
}

static void test_devices_and_channels(void)
{
	const struct domain_xml_channel *channel;
	const struct domain_xml_device *device;
	struct domain_xml domain;

	parse_fixture("virtio_mem_live.xml", &domain);
	CHECK_INT(domain.device_count, 2);
	device = domain_xml_find_device(&domain, "virtiomem0");
	assert(device);
	CHECK_INT(device->model, DOMAIN_XML_MODEL_VIRTIO_MEM);
	CHECK_INT(device->size_bytes, 2 * SIZE_TEXT_GIB);
	CHECK_INT(device->block_bytes, 2 * SIZE_TEXT_MIB);
	CHECK_INT(device->requested_bytes, 768 * SIZE_TEXT_MIB);
	CHECK_INT(device->current_bytes, 512 * SIZE_TEXT_MIB);
	CHECK_STR(device->source_nodes, "2-3");
	CHECK_INT(device->page_bytes, 4096);
	CHECK_TRUE(!device->has_address);
	device = domain_xml_find_device(&domain, "ua-second");
	assert(device);
	CHECK_INT(device->cell, 1);
	CHECK_TRUE(device->has_address);
	CHECK_INT(device->address, 0x140000000);
	CHECK_TRUE(domain_xml_find_device(&domain, "none") == NULL);
	CHECK_INT(domain.channel_count, 2);
	channel = domain_xml_find_channel(&domain, DOMAIN_XML_AGENT_CHANNEL);
	assert(channel);
	CHECK_STR(channel->path,
		  "/var/lib/libvirt/qemu/channel/target/domain-3-g1/org.ballast.agent.0");
	CHECK_INT(channel->state, DOMAIN_XML_CHANNEL_CONNECTED);
	CHECK_INT(domain.channels[1].state, DOMAIN_XML_CHANNEL_DISCONNECTED);
	domain_xml_done(&domain);
}

static void test_hugepages(void)
{
	const struct domain_xml_cell *cell;
	struct domain_xml domain;

	parse_fixture("hugepages_live.xml", &domain);
	CHECK_STR(domain.name, "db, the first");
	CHECK_INT(domain.base_bytes, 8 * SIZE_TEXT_GIB);
	CHECK_TRUE(domain.backing.hugepages && domain.backing.locked && domain.backing.no_sharing);
	CHECK_TRUE(domain.backing.preallocated && domain.backing.discard);
	CHECK_INT(domain.backing.source, DOMAIN_XML_SOURCE_ANONYMOUS);
	CHECK_INT(domain.backing.page_bytes, 2 * SIZE_TEXT_MIB);
	CHECK_INT(domain.numatune.memnode_count, 2);
	cell = domain_xml_find_cell(&domain, 1);
	assert(cell);
	CHECK_INT(cell->hugepage_bytes, SIZE_TEXT_GIB);
	CHECK_TRUE(cell->has_nodes);
	CHECK_INT(cell->mode, DOMAIN_XML_MODE_PREFERRED);
	CHECK_STR(cell->nodes, "1");
	CHECK_TRUE(domain.realtime);
	CHECK_INT(domain.vfio_count, 2);
	CHECK_INT(domain.vhost_user_count, 2);
	CHECK_STR(domain.launch_security, "sev");
	CHECK_TRUE(!domain.has_balloon && !domain.has_virtio_serial);
	CHECK_INT(domain.devices[0].model, DOMAIN_XML_MODEL_DIMM);
	CHECK_INT(domain.devices[0].address, 0x240000000);
	domain_xml_done(&domain);
}

static void test_plain(void)
{
	struct domain_xml domain;

	parse_fixture("plain_live.xml", &domain);
	CHECK_INT(domain.vsock_cid, 7);
	CHECK_INT(domain.base_bytes, SIZE_TEXT_GIB);
	CHECK_INT(domain.current_bytes, 768 * SIZE_TEXT_MIB);
	CHECK_INT(domain.maximum_bytes, 0);
	CHECK_TRUE(!domain.numatune.present && !domain.has_virtio_serial &&
		   !domain.free_page_reporting);
	CHECK_INT(domain.policy_state, DOMAIN_XML_POLICY_ABSENT);
	domain_xml_done(&domain);
	parse_fixture("virtio_mem_stored.xml", &domain);
	CHECK_INT(domain.id, -1);
	CHECK_TRUE(!domain.has_balloon);
	CHECK_TRUE(domain.channels[0].path == NULL);
	CHECK_INT(domain.channels[0].state, DOMAIN_XML_CHANNEL_UNKNOWN);
	domain_xml_done(&domain);
}

static void test_policy_of_domain(void)
{
	struct domain_xml domain;

	parse_fixture("virtio_mem_live.xml", &domain);
	CHECK_INT(domain.policy_state, DOMAIN_XML_POLICY_VALID);
	CHECK_INT(domain.policy.minimum_bytes, 512 * SIZE_TEXT_MIB);
	CHECK_INT(domain.policy.maximum_bytes, 3 * SIZE_TEXT_GIB);
	CHECK_INT(domain.policy.priority, 10);
	CHECK_STR(domain.policy.allowed_nodes, "0-2");
	domain_xml_done(&domain);
	parse_fixture("hugepages_live.xml", &domain);
	CHECK_INT(domain.policy_state, DOMAIN_XML_POLICY_INVALID);
	CHECK_STR(domain.policy_fault, "minimum_bytes is above maximum_bytes");
	CHECK_TRUE(!domain.policy.has_minimum);
	domain_xml_done(&domain);
}

static int policy(const char *text, struct domain_xml_policy *ret_policy)
{
	return domain_xml_policy_parse(text, strlen(text), ret_policy, NULL);
}

static void test_policy(void)
{
	struct domain_xml_policy one = {.has_minimum = true,
					.minimum_bytes = 5,
					.has_priority = true,
					.priority = 1000,
					.online_policy = "movable",
					.has_zone_repair = true,
					.allowed_nodes = "0,2"};
	struct domain_xml_policy two;
	char *text;

	CHECK_INT(domain_xml_policy_format(&one, &text), 0);
	CHECK_STR(text, "<policy minimum_bytes=\"5\" online_policy=\"movable\" zone_repair=\"no\" priority=\"1000\" allowed_nodes=\"0,2\"/>");
	CHECK_INT(policy(text, &two), 0);
	free(text);
	CHECK_INT(two.minimum_bytes, 5);
	CHECK_TRUE(!two.has_maximum);
	CHECK_STR(two.allowed_nodes, "0,2");
	CHECK_STR(two.online_policy, "movable");
	CHECK_TRUE(two.has_zone_repair && !two.zone_repair);
	CHECK_INT(policy("<policy/>", &two), 0);
	CHECK_STR(two.online_policy, "");
	CHECK_TRUE(!two.has_zone_repair);
	CHECK_INT(policy("<policy zone_repair='yes'/>", &two), 0);
	CHECK_TRUE(two.has_zone_repair && two.zone_repair);
	CHECK_INT(policy("<policy zone_repair='true'/>", &two), -EINVAL);
	CHECK_INT(policy("<policy online_policy='leave'/>", &two), 0);
	CHECK_INT(policy("<policy online_policy='online_movable'/>", &two), -EINVAL);
	CHECK_INT(policy("<policy xmlns='urn:ballast:memory:1' priority='0'/>", &two), 0);
	CHECK_INT(policy("<policy minimum='1'/>", &two), -EINVAL);
	CHECK_INT(policy("<policy priority='1001'/>", &two), -EINVAL);
	CHECK_INT(policy("<policy allowed_nodes='0-'/>", &two), -EINVAL);
	CHECK_INT(policy("<policy allowed_nodes=''/>", &two), -EINVAL);
	CHECK_INT(policy("<policy minimum_bytes='-1'/>", &two), -EINVAL);
	CHECK_INT(policy("<guest/>", &two), -EINVAL);
	CHECK_INT(policy("nothing", &two), -EINVAL);
}

static void test_bad_domains(void)
{
	struct failure failure = {0};

	CHECK_INT(parse_text("", NULL), -EINVAL);
	CHECK_INT(parse_text("<network/>", NULL), -EINVAL);
	CHECK_INT(parse_text("<domain>", NULL), -EINVAL);
	CHECK_INT(parse_text("<domain/>", NULL), -EINVAL);
	CHECK_INT(parse_text("<domain><name>a</name></domain>", NULL), 0);
	CHECK_INT(parse_text("<domain><name>a</name><memory unit='KiB'>1x</memory></domain>",
			     &failure),
		  -EINVAL);
	CHECK_STR(failure.object, "guest a");
	CHECK_STR(failure.cause, "\"1x\" KiB in <memory> is no size");
	CHECK_INT(
		parse_text("<domain><name>a</name><memory unit='TiB'>99999999999</memory></domain>",
			   NULL),
		-EINVAL);
	CHECK_INT(
		parse_text(
			"<domain><name>a</name><numatune><memory mode='some'/></numatune></domain>",
			NULL),
		-EINVAL);
	CHECK_INT(parse_text("<domain><name>a</name><numatune><memnode cellid='0' "
			     "nodeset='0'/></numatune>"
			     "</domain>",
			     NULL),
		  -EINVAL);
	/* A device whose blocks are no power of two would break every sum. */
	CHECK_INT(parse_text("<domain><name>a</name><devices><memory model='virtio-mem'><target>"
			     "<size>9</size><block>3</block></target></memory></devices></domain>",
			     NULL),
		  -EINVAL);
}

static void test_entities(void)
{
	struct failure failure = {0};

	CHECK_INT(parse_text("<!DOCTYPE domain [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"
			     "<domain><name>&a;</name></domain>",
			     &failure),
		  -EINVAL);
	CHECK_STR(failure.cause, "it has a DTD");
	CHECK_INT(
		parse_text("<!DOCTYPE domain [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]>"
			   "<domain type='&b;&b;&b;'><name>&b;</name></domain>",
			   NULL),
		-EINVAL);
}

static void test_caps(void)
{
	struct domain_xml domain;
	char *text = malloc(DOMAIN_XML_MAX_BYTES + 2);
	size_t used;

	assert(text);
	memset(text, ' ', DOMAIN_XML_MAX_BYTES + 1);
	CHECK_INT(domain_xml_parse(text, DOMAIN_XML_MAX_BYTES + 1, &domain, NULL), -E2BIG);
	used = (size_t)sprintf(text, "<domain><name>a</name><cpu><numa>");
	for (unsigned i = 0; i <= DOMAIN_XML_MAX_CELLS; i++)
		used += (size_t)sprintf(text + used, "<cell id='%u' memory='1'/>", i);
	sprintf(text + used, "</numa></cpu></domain>");
	CHECK_INT(parse_text(text, NULL), -E2BIG);
	free(text);
}

static void test_build_requested(void)
{
	CLEANUP_FREE char *live = read_fixture("virtio_mem_live.xml");
	char *xml;

	CHECK_INT(domain_xml_build_requested(live, "virtiomem0", 256 * SIZE_TEXT_MIB, &xml), 0);
	CHECK_TRUE(strstr(xml, "<requested unit=\"KiB\">262144</requested>") != NULL);
	CHECK_TRUE(strstr(xml, "<nodemask>2-3</nodemask>") != NULL);
	CHECK_TRUE(strstr(xml, "<alias name=\"virtiomem0\"/>") != NULL);
	CHECK_TRUE(strstr(xml, "ua-second") == NULL);
	CHECK_INT(strncmp(xml, "<memory model=\"virtio-mem\">", 27), 0);
	free(xml);
	CHECK_INT(domain_xml_build_requested(live, "balloon0", 0, &xml), -ENODEV);
	CHECK_INT(domain_xml_build_requested(live, "virtiomem0", 1000, &xml), -EINVAL);
	CHECK_INT(domain_xml_build_requested("<a/>", "virtiomem0", 0, &xml), -EINVAL);
	CHECK_INT(domain_xml_build_channel("org.ballast.agent.0", &xml), 0);
	CHECK_STR(xml, "<channel type=\"unix\"><source mode=\"bind\"/>"
		       "<target type=\"virtio\" name=\"org.ballast.agent.0\"/></channel>");
	free(xml);
	CHECK_INT(domain_xml_build_channel("a\"b<c", &xml), 0);
	CHECK_TRUE(strstr(xml, "name=\"a&quot;b&lt;c\"") != NULL);
	free(xml);
}

static void test_build_placement(void)
{
	CLEANUP_FREE char *stored = read_fixture("virtio_mem_stored.xml");
	struct domain_xml_placement before, after, again;
	struct domain_xml domain;
	char *xml, *back;

	parse_fixture("virtio_mem_stored.xml", &domain);
	CHECK_INT(domain_xml_placement_read(&domain, &before), 0);
	domain_xml_done(&domain);
	CHECK_STR(before.nodes, "3");
	CHECK_INT(before.cell_count, 2);
	CHECK_INT(before.device_count, 1);
	CHECK_INT(domain_xml_placement_copy(&before, &after), 0);
	strcpy(after.nodes, "1-2");
	strcpy(after.cells[1].nodes, "0");
	strcpy(after.devices[0].nodes, "2");
	CHECK_INT(domain_xml_build_placement(stored, &after, &xml), 0);
	CHECK_INT(domain_xml_parse(xml, strlen(xml), &domain, NULL), 0);
	CHECK_STR(domain.numatune.nodes, "1-2");
	CHECK_STR(domain.cells[0].nodes, "3");
	CHECK_STR(domain.cells[1].nodes, "0");
	CHECK_INT(domain.cells[1].mode, DOMAIN_XML_MODE_PREFERRED);
	CHECK_STR(domain.devices[0].source_nodes, "2");
	CHECK_STR(domain.devices[1].source_nodes, "");
	domain_xml_done(&domain);
	CHECK_TRUE(strstr(xml, "secret &amp; more") != NULL);
	/* And back: the placement that was there gives the description that was there. */
	CHECK_INT(domain_xml_build_placement(xml, &before, &back), 0);
	CHECK_INT(domain_xml_parse(back, strlen(back), &domain, NULL), 0);
	CHECK_INT(domain_xml_placement_read(&domain, &again), 0);
	CHECK_STR(again.nodes, "3");
	CHECK_STR(again.devices[0].nodes, "2-3");
	domain_xml_done(&domain);
	free(xml);
	free(back);
	/* A memnode that is not listed goes, one that is not there yet comes, bound as all of it is. */
	after.cell_count = 1;
	CHECK_INT(domain_xml_build_placement(stored, &after, &xml), 0);
	CHECK_INT(domain_xml_parse(xml, strlen(xml), &domain, NULL), 0);
	CHECK_TRUE(domain.cells[0].has_nodes && !domain.cells[1].has_nodes);
	domain_xml_done(&domain);
	after.cell_count = 2;
	strcpy(after.cells[1].nodes, "1");
	CHECK_INT(domain_xml_build_placement(xml, &after, &back), 0);
	CHECK_INT(domain_xml_parse(back, strlen(back), &domain, NULL), 0);
	CHECK_STR(domain.cells[1].nodes, "1");
	CHECK_INT(domain.cells[1].mode, domain.numatune.mode);
	domain_xml_done(&domain);
	free(back);
	strcpy(after.cells[1].nodes, "1-");
	CHECK_INT(domain_xml_build_placement(xml, &after, &back), -EINVAL);
	strcpy(after.cells[1].nodes, "1");
	free(xml);

	after.devices[0].id = 1;
	CHECK_INT(domain_xml_build_placement(stored, &after, &xml), -ENOENT);
	after.devices[0].id = 7;
	CHECK_INT(domain_xml_build_placement(stored, &after, &xml), -ENOENT);
	after.device_count = 0;
	after.cells[0].id = 9;
	CHECK_INT(domain_xml_build_placement(stored, &after, &xml), -ENOENT);
	after.cell_count = 0;
	strcpy(after.nodes, "2-1");
	CHECK_INT(domain_xml_build_placement(stored, &after, &xml), -EINVAL);
	CHECK_INT(domain_xml_build_placement("<domain/>", &before, &xml), -ENOENT);
	domain_xml_placement_done(&before);
	domain_xml_placement_done(&after);
	domain_xml_placement_done(&again);
}

/* A numatune that was not there comes, and goes without a trace. */
static void test_build_first_placement(void)
{
	static const char plain[] = "<domain type='kvm'><name>a</name><uuid>11111111-0000-0000-0000-000000000001</uuid>"
				    "<memory unit='MiB'>512</memory><vcpu>1</vcpu></domain>";
	struct domain_xml_placement none = {0}, named = {.has_nodes = true, .nodes = "2"};
	struct domain_xml domain;
	char *xml, *back;

	CHECK_INT(domain_xml_build_placement(plain, &named, &xml), 0);
	CHECK_INT(domain_xml_parse(xml, strlen(xml), &domain, NULL), 0);
	CHECK_TRUE(domain.numatune.has_memory);
	CHECK_INT(domain.numatune.mode, DOMAIN_XML_MODE_PREFERRED);
	CHECK_STR(domain.numatune.nodes, "2");
	domain_xml_done(&domain);
	for (int twice = 0; twice < 2; twice++) {
		CHECK_INT(domain_xml_build_placement(xml, &none, &back), 0);
		CHECK_TRUE(strstr(back, "numatune") == NULL);
		free(xml);
		xml = back;
	}
	free(xml);
	/* numad's choice is no set that could be changed or taken away. */
	static const char automatic[] = "<domain><numatune><memory mode='strict' placement='auto'/></numatune></domain>";

	CHECK_INT(domain_xml_build_placement(automatic, &named, &xml), -ENOENT);
	CHECK_INT(domain_xml_build_placement(automatic, &none, &xml), 0);
	CHECK_TRUE(strstr(xml, "placement=\"auto\"") != NULL);
	free(xml);
	strcpy(named.nodes, "2-");
	CHECK_INT(domain_xml_build_placement(plain, &named, &xml), -EINVAL);
}

static void test_lists(void)
{
	CHECK_TRUE(domain_xml_list_is_valid("0", 1));
	CHECK_TRUE(domain_xml_list_is_valid("0,2-3,9", 10));
	CHECK_TRUE(!domain_xml_list_is_valid("10", 10));
	CHECK_TRUE(!domain_xml_list_is_valid("", 10));
	CHECK_TRUE(!domain_xml_list_is_valid("1,", 10));
	CHECK_TRUE(!domain_xml_list_is_valid(",1", 10));
	CHECK_TRUE(!domain_xml_list_is_valid("3-1", 10));
	CHECK_TRUE(!domain_xml_list_is_valid("1-2-3", 10));
	CHECK_TRUE(!domain_xml_list_is_valid(" 1", 10));
	CHECK_TRUE(!domain_xml_list_is_valid("99999999999999999999", 4096));
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"live", test_live},
		{"iothreads", test_iothreads},
		{"devices_and_channels", test_devices_and_channels},
		{"hugepages", test_hugepages},
		{"plain", test_plain},
		{"policy_of_domain", test_policy_of_domain},
		{"policy", test_policy},
		{"bad_domains", test_bad_domains},
		{"entities", test_entities},
		{"caps", test_caps},
		{"build_requested", test_build_requested},
		{"build_placement", test_build_placement},
		{"build_first_placement", test_build_first_placement},
		{"lists", test_lists},
	};

	return unit_main("domain_xml", cases, sizeof(cases) / sizeof(cases[0]));
}
