/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_look.h"

#include <stdlib.h>
#include <string.h>
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static const char live_text[] =
	"<domain type='kvm' id='1'><name>g1</name><uuid>11111111-0000-0000-0000-000000000001</uuid>"
	"<metadata><b:policy xmlns:b='urn:ballast:memory:1' minimum_bytes='512MiB' priority='10' "
	"zone_repair='yes' allowed_nodes='0-2'/>"
	"</metadata><maxMemory slots='4' unit='MiB'>8192</maxMemory><memory "
	"unit='MiB'>2304</memory>"
	"<currentMemory "
	"unit='MiB'>1024</currentMemory><memoryBacking><locked/></memoryBacking><vcpu>2</vcpu>"
	"<cputune><vcpupin vcpu='0' cpuset='2'/></cputune>"
	"<numatune><memory mode='strict' nodeset='3'/><memnode cellid='1' mode='strict' "
	"nodeset='1'/></numatune>"
	"<cpu><numa><cell id='0' cpus='0' memory='512' unit='MiB'/><cell id='1' cpus='1' "
	"memory='512' unit='MiB'/>"
	"</numa></cpu><devices>"
	"<memory model='dimm'><target><size unit='MiB'>256</size><node>0</node></target><alias "
	"name='dimm0'/></memory>"
	"<memory model='virtio-mem'><target><size unit='MiB'>1024</size><node>1</node><block "
	"unit='KiB'>2048</block>"
	"<requested unit='MiB'>768</requested><current unit='MiB'>256</current></target><alias "
	"name='virtiomem0'/>"
	"</memory><memballoon model='virtio' freePageReporting='on'/></devices></domain>";

static void parse(const char *text, struct domain_xml *ret_domain)
{
	struct failure failure = {0};
	int r = domain_xml_parse(text, strlen(text), ret_domain, &failure);

	if (r < 0)
		printf("  %s\n", failure.cause);
	assert(r == 0);
}

static struct connection_domain domain = {.uuid = "11111111-0000-0000-0000-000000000001",
					  .name = (char *)(uintptr_t) "g1",
					  .id = 1,
					  .state = CONNECTION_DOMAIN_RUNNING,
					  .persistent = true,
					  .pid = 4711};

static void test_sizes_and_placement(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct domain_xml live;
	bool excess = true;

	parse(live_text, &live);
	guest_look_take_domain(guest, &domain, &live, NULL, &excess);
	CHECK_TRUE(!excess);
	CHECK_STR(guest->name, "g1");
	CHECK_INT(guest->state, GUEST_STATE_RUNNING);
	CHECK_INT(guest->pid, 4711);
	/* A plain DIMM is memory that it always has. */
	CHECK_INT(guest->base_bytes, 1280 * MIB);
	CHECK_INT(guest->max_bytes, 2304 * MIB);
	CHECK_INT(guest->current_bytes, 1536 * MIB);
	CHECK_INT(guest->requested_bytes, 2048 * MIB);
	CHECK_INT(guest->cell_count, 2);
	CHECK_INT(guest->device_count, 1);
	CHECK_STR(guest->devices[0].alias, "virtiomem0");
	CHECK_INT(guest->devices[0].cell, 1);
	CHECK_INT(guest->numatune_mode, NUMATUNE_MODE_STRICT);
	CHECK_INT(guest->numatune_nodes, 1 << 3 | 1 << 1);
	CHECK_INT(guest->cpuset_given, 1 << 3);
	CHECK_INT(guest->stored_numatune_nodes, 0);
	CHECK_TRUE(guest->locked && !guest->vfio && !guest->realtime && guest->cpus_pinned &&
		   guest->persistent);
	CHECK_TRUE(guest->has_balloon && guest->free_page_reporting);
	CHECK_INT(guest->minimum_bytes, 512 * MIB);
	CHECK_INT(guest->maximum_bytes, 0);
	CHECK_INT(guest->priority, 10);
	CHECK_INT(guest->allowed_nodes, 7);
	CHECK_INT(guest->zone_repair, GUEST_ZONE_REPAIR_YES);
	domain_xml_done(&live);
	free(guest);
}

/* What its emulator threads are pinned to, by the nodes that have these CPUs. */
static void test_emulator_pin(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	CLEANUP(snapshot_freep) struct snapshot *snapshot = snapshot_new();
	struct domain_xml live;
	bool excess;

	for (int id = 0; id < 3; id++) {
		struct snapshot_node *node = snapshot_add_node(snapshot);

		node->id = id;
		node->has_cpus = id < 2;
		snprintf(node->cpus, sizeof(node->cpus), "%s", id == 0 ? "0-3,8" : id == 1 ? "4-7" : "");
	}
	parse("<domain type='kvm' id='1'><name>g</name><uuid>11111111-0000-0000-0000-000000000001</uuid>"
	      "<memory unit='MiB'>2048</memory><vcpu>2</vcpu><cputune><emulatorpin cpuset='5,8'/></cputune><devices/>"
	      "</domain>",
	      &live);
	guest_look_take_domain(guest, &domain, &live, NULL, &excess);
	CHECK_STR(guest->emulator_cpus, "5,8");
	CHECK_INT(guest_look_nodes_of_cpus(snapshot, guest->emulator_cpus), 3);
	CHECK_INT(guest_look_nodes_of_cpus(snapshot, "6"), 2);
	CHECK_INT(guest_look_nodes_of_cpus(snapshot, "9-12"), 0);
	CHECK_INT(guest_look_nodes_of_cpus(snapshot, ""), 0);
	/* Stored XML says nothing of the threads that run. */
	guest_look_take_domain(guest, &domain, NULL, &live, &excess);
	CHECK_STR(guest->emulator_cpus, "");
	domain_xml_done(&live);
	free(guest);
}

/* Its vCPUs cannot go where they like: one that has a pin, or all by the set of the whole guest. */
static void test_pinned(void)
{
	static const struct {
		const char *cpus;
		bool pinned;
	} cases[] = {
		{"<vcpu>2</vcpu>", false},
		{"<vcpu placement='static' cpuset='1-2'>2</vcpu>", true},
		{"<vcpu>2</vcpu><cputune><vcpupin vcpu='1' cpuset='2'/></cputune>", true},
		{"<vcpu>2</vcpu><cputune><emulatorpin cpuset='2'/></cputune>", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct snapshot_guest *guest = calloc(1, sizeof(*guest));
		char text[512];
		struct domain_xml live;
		bool excess;

		snprintf(text, sizeof(text),
			 "<domain type='kvm' id='1'><name>g</name><uuid>11111111-0000-0000-0000-000000000001</uuid>"
			 "<memory unit='MiB'>2048</memory>%s<devices/></domain>",
			 cases[i].cpus);
		parse(text, &live);
		guest_look_take_domain(guest, &domain, &live, NULL, &excess);
		CHECK_INT(guest->cpus_pinned, cases[i].pinned);
		domain_xml_done(&live);
		free(guest);
	}
}

/* Of a policy that cannot be read nothing counts but that. */
static void test_unreadable_policy(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	char *text = strdup(live_text), *size = strstr(text, "512MiB");
	struct domain_xml live;
	bool excess;

	memcpy(size, "half  ", 6);
	parse(text, &live);
	CHECK_INT(live.policy_state, DOMAIN_XML_POLICY_INVALID);
	guest_look_take_domain(guest, &domain, &live, NULL, &excess);
	CHECK_STR(guest->policy_fault, "minimum_bytes=\"half  \" is no size");
	CHECK_INT(guest->minimum_bytes, 0);
	CHECK_INT(guest->allowed_nodes, 0);
	CHECK_INT(guest->zone_repair, GUEST_ZONE_REPAIR_UNSET);
	domain_xml_done(&live);
	free(text);
	free(guest);
}

static void test_balloon_alone(void)
{
	static const char text[] =
		"<domain type='kvm' "
		"id='1'><name>g</name><uuid>11111111-0000-0000-0000-000000000001</uuid>"
		"<memory unit='MiB'>2048</memory><currentMemory "
		"unit='MiB'>512</currentMemory><vcpu>1</vcpu>"
		"<devices><memballoon model='virtio'/></devices></domain>";
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct domain_xml live;
	struct worker_job job = {0};
	bool excess;

	parse(text, &live);
	guest_look_take_domain(guest, &domain, &live, NULL, &excess);
	CHECK_INT(guest->base_bytes, 2048 * MIB);
	CHECK_INT(guest->max_bytes, 2048 * MIB);
	CHECK_INT(guest->current_bytes, 512 * MIB);
	CHECK_INT(guest->balloon_bytes, 512 * MIB);
	guest_look_ram_sizes(guest, &job);
	CHECK_INT(job.ram_size_count, 1);
	CHECK_INT(job.ram_sizes[0], 2048 * MIB);
	domain_xml_done(&live);
	free(guest);
}

/* A guest that is shut off is known by what is stored. */
static void test_stored_only(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct connection_domain off = domain;
	struct domain_xml stored;
	bool excess;

	off.state = CONNECTION_DOMAIN_SHUTOFF;
	off.pid = 0;
	off.has_job = true;
	parse(live_text, &stored);
	guest->numatune_nodes = 77;
	guest_look_take_domain(guest, &off, NULL, &stored, &excess);
	CHECK_INT(guest->state, GUEST_STATE_SHUT_OFF);
	CHECK_INT(guest->numatune_nodes, 0);
	CHECK_INT(guest->stored_numatune_nodes, 1 << 3 | 1 << 1);
	CHECK_TRUE(guest->migrating);
	/* Neither: names and state all the same. */
	guest_look_take_domain(guest, &domain, NULL, NULL, &excess);
	CHECK_INT(guest->state, GUEST_STATE_RUNNING);
	CHECK_INT(guest->stored_numatune_nodes, 0);
	domain_xml_done(&stored);
	free(guest);
}

static void test_excess(void)
{
	char *text = malloc(65536), *end;
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct domain_xml live;
	bool excess = false;

	end = text +
	      sprintf(text, "<domain type='kvm' "
			    "id='1'><name>g</name><uuid>11111111-0000-0000-0000-000000000001</uuid>"
			    "<maxMemory slots='64' unit='GiB'>64</maxMemory><memory "
			    "unit='GiB'>21</memory><vcpu>1</vcpu>"
			    "<cpu><numa><cell id='0' cpus='0' memory='1' "
			    "unit='GiB'/></numa></cpu><devices>");
	for (unsigned i = 0; i < SNAPSHOT_DEVICES_MAX + 4; i++)
		end += sprintf(
			end,
			"<memory model='virtio-mem'><target><size unit='GiB'>1</size><node>0</node>"
			"<block unit='MiB'>2</block><requested unit='GiB'>1</requested>"
			"<current unit='GiB'>1</current></target><alias name='m%u'/></memory>",
			i);
	strcpy(end, "</devices></domain>");
	parse(text, &live);
	guest_look_take_domain(guest, &domain, &live, NULL, &excess);
	CHECK_TRUE(excess);
	CHECK_INT(guest->device_count, SNAPSHOT_DEVICES_MAX);
	domain_xml_done(&live);
	free(guest);
	free(text);
}

/* Either word counts, and each is taken back by who gave it. */
static void test_hindrances(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct worker_survey *survey = calloc(1, sizeof(*survey));
	struct domain_xml live;
	bool excess;

	parse(live_text, &live);
	survey->vfio = survey->encrypted = true;
	survey->pinned_bytes = 3 * MIB;
	survey->private_bytes = 4 * MIB;
	survey->transparent_huge_bytes = 2 * MIB;
	survey->sharers_unlisted = 3;
	survey->sharers_unseen = 2;
	survey->sharer_count = 1;
	survey->sharers[0] = (struct snapshot_sharer){7, "backend", 5 * MIB, MIB};
	guest_look_take_survey(guest, survey, NULL, 123);
	CHECK_TRUE(guest->vfio && guest->encrypted && guest->unmovable && !guest->locked);
	CHECK_TRUE(guest->shared_backing);
	CHECK_INT(guest->pinned_bytes, 3 * MIB);
	CHECK_INT(guest->private_bytes, 4 * MIB);
	CHECK_INT(guest->transparent_huge_bytes, 2 * MIB);
	CHECK_STR(guest->sharers[0].name, "backend");
	CHECK_INT(guest->sharers_unlisted, 3);
	CHECK_INT(guest->sharers_unseen, 2);
	/* libvirt knows of no device: the survey saw it all the same. */
	guest_look_take_domain(guest, &domain, &live, NULL, &excess);
	CHECK_TRUE(guest->vfio && guest->unmovable && guest->locked);
	/* The device was detached. */
	survey->vfio = survey->encrypted = false;
	survey->sharer_count = 0;
	guest_look_take_survey(guest, survey, NULL, 124);
	CHECK_TRUE(!guest->vfio && !guest->unmovable && guest->locked && !guest->shared_backing);
	survey->vfio = true;
	guest_look_take_survey(guest, survey, NULL, 125);
	guest_look_drop_survey(guest);
	CHECK_TRUE(!guest->vfio && guest->locked);
	CHECK_INT(guest->sharers_unlisted + guest->sharers_unseen, 0);
	CHECK_INT(guest->pinned_bytes + guest->private_bytes + guest->transparent_huge_bytes, 0);
	domain_xml_done(&live);
	free(survey);
	free(guest);
}

/* The last survey is carried on by what the counters say has changed, not replaced by them. */
static void test_overview(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct worker_survey *survey = calloc(1, sizeof(*survey));
	uint64_t counted[SNAPSHOT_NODES_MAX] = {[1] = 50 * MIB, [2] = 140 * MIB};

	/* Never surveyed: better than nothing. */
	guest_look_take_counters(guest, counted, false, 10);
	CHECK_INT(guest->overview_bytes[2], 140 * MIB);
	CHECK_INT(guest->node_bytes[2], 0);
	survey->node_bytes[2] = survey->resident_bytes = 100 * MIB;
	survey->counted = true;
	survey->counted_bytes[1] = 30 * MIB; /* QEMU's own */
	survey->counted_bytes[2] = 100 * MIB;
	guest_look_take_survey(guest, survey, NULL, 20);
	CHECK_INT(guest->overview_bytes[1], 0);
	CHECK_INT(guest->overview_at_ms, 20);
	guest->wanted_nodes = 4;
	guest->left_nodes = ~UINT64_C(4);
	CHECK_INT(snapshot_guest_drift_bytes(guest), 0);
	counted[1] = 56 * MIB;
	counted[2] = 74 * MIB;
	guest_look_take_counters(guest, counted, false, 30);
	CHECK_INT(guest->overview_bytes[1], 26 * MIB);
	CHECK_INT(guest->overview_bytes[2], 74 * MIB);
	CHECK_INT(guest->node_bytes[2], 100 * MIB);
	CHECK_INT(snapshot_guest_drift_bytes(guest), 26 * MIB);
	/* QEMU gave more back than the guest had there. */
	counted[1] = 0;
	guest_look_take_counters(guest, counted, false, 40);
	CHECK_INT(guest->overview_bytes[1], 0);
	/* A survey without counters (hugetlb without its controller) is not carried on. */
	survey->counted = false;
	guest_look_take_survey(guest, survey, NULL, 50);
	guest_look_take_counters(guest, counted, false, 60);
	CHECK_INT(guest->overview_at_ms, 50);
	guest_look_drop_survey(guest);
	CHECK_INT(guest->overview_at_ms, 0);
	free(survey);
	free(guest);
}

static void test_failed_survey(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct worker_survey *survey = calloc(1, sizeof(*survey));
	uint64_t counted[SNAPSHOT_NODES_MAX] = {[3] = 50 * MIB};

	/* Nothing is known of it: nobody may act as if it had nothing. */
	CHECK_TRUE(!guest_look_take_failed_survey(guest, "it hangs"));
	CHECK_TRUE(!guest->unmovable);
	guest_look_take_counters(guest, counted, false, 10);
	CHECK_TRUE(guest_look_take_failed_survey(guest, "it hangs"));
	CHECK_TRUE(guest->unmovable && !guest->surveyed);
	CHECK_STR(guest->unsurveyed, "it hangs");
	CHECK_INT(guest->node_bytes[3], 50 * MIB);
	counted[3] = 60 * MIB;
	guest_look_take_counters(guest, counted, false, 20);
	CHECK_INT(guest->node_bytes[3], 60 * MIB);
	survey->node_bytes[1] = survey->resident_bytes = 5 * MIB;
	survey->dimm_count = 1;
	strcpy(survey->dimms[0].id, "acpi-1");
	survey->dimms[0].bytes = 5 * MIB;
	guest_look_take_survey(guest, survey, NULL, 30);
	CHECK_TRUE(!guest->unmovable && guest->surveyed);
	CHECK_STR(guest->unsurveyed, "");
	/* The last survey stands, but not by DIMM: where on the node it is now nobody knows. */
	CHECK_TRUE(guest_look_take_failed_survey(guest, "it hangs"));
	CHECK_INT(guest->node_bytes[1], 5 * MIB);
	CHECK_TRUE(!guest->dimms_told);
	CHECK_INT(guest->dimm_count, 0);
	/* One with nothing in any DIMM has been told so; one that was not asked of them has not. */
	survey->dimms[0].bytes = 0;
	guest_look_take_survey(guest, survey, NULL, 40);
	CHECK_TRUE(guest->dimms_told);
	CHECK_INT(guest->dimm_count, 0);
	survey->dimm_count = 0;
	guest_look_take_survey(guest, survey, NULL, 50);
	CHECK_TRUE(!guest->dimms_told);
	free(survey);
	free(guest);
}

/* Counters that lack the guest's own memory say nothing of where it is. */
static void test_counters_that_lack_it(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct worker_survey *survey = calloc(1, sizeof(*survey));
	struct domain_xml_device device = {.page_bytes = 2 * MIB};
	struct domain_xml xml = {.backing.hugepages = true};
	uint64_t counted[SNAPSHOT_NODES_MAX] = {[3] = 2 * MIB};
	bool has_excess;

	/* Never surveyed: of all that is in huge pages nothing is known, which is not that there is none. */
	guest_look_take_domain(guest, &domain, &xml, NULL, &has_excess);
	guest_look_take_counters(guest, counted, false, 10);
	CHECK_INT(guest->overview_at_ms, 0);
	CHECK_TRUE(!guest_look_take_failed_survey(guest, "it hangs"));
	guest_look_take_counters(guest, counted, true, 20);
	CHECK_TRUE(guest_look_take_failed_survey(guest, "it hangs"));
	CHECK_INT(guest->node_bytes[3], 2 * MIB);
	/* Nor do they stand for an earlier survey. */
	survey->node_bytes[3] = survey->resident_bytes = 100 * MIB;
	guest_look_take_survey(guest, survey, NULL, 30);
	CHECK_TRUE(guest_look_take_failed_survey(guest, "it hangs"));
	guest_look_take_counters(guest, counted, false, 40);
	CHECK_INT(guest->node_bytes[3], 100 * MIB);
	/* So it is with one device in huge pages, and with a plain file. */
	xml.backing.hugepages = false;
	guest_look_take_domain(guest, &domain, &xml, NULL, &has_excess);
	CHECK_TRUE(!guest->in_hugetlb && !guest->in_file);
	xml.devices = &device;
	xml.device_count = 1;
	guest_look_take_domain(guest, &domain, &xml, NULL, &has_excess);
	CHECK_TRUE(guest->in_hugetlb);
	xml.device_count = 0;
	xml.backing.source = DOMAIN_XML_SOURCE_FILE;
	guest_look_take_domain(guest, &domain, &xml, NULL, &has_excess);
	guest_look_take_counters(guest, counted, true, 50);
	CHECK_INT(guest->node_bytes[3], 100 * MIB);
	free(survey);
	free(guest);
}

/* They are read only where they may have changed: a survey without them keeps those of the same memory. */
static void test_policies_are_kept(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct worker_survey *survey = calloc(1, sizeof(*survey));

	CHECK_TRUE(guest_look_needs_policies(guest));
	survey->has_policies = survey->balancing = true;
	survey->policy_mode = POLICY_MODE_BIND;
	survey->policy_nodes = survey->cpuset_mems = 4;
	survey->backing_count = 1;
	survey->backings[0] = (struct snapshot_backing){BACKING_KIND_MEMFD, 4096, 10 * MIB, 0, POLICY_MODE_BIND, 4};
	survey->huge_count = 1;
	survey->huges[0] = (struct snapshot_huge){.page_bytes = 2 * MIB, .pages = {0, 5}};
	guest_look_take_survey(guest, survey, NULL, 1);
	CHECK_INT(guest->huge_count, 1);
	CHECK_INT(guest->huges[0].pages[1], 5);
	CHECK_TRUE(!guest_look_needs_policies(guest));
	survey->has_policies = survey->balancing = false;
	survey->policy_mode = POLICY_MODE_DEFAULT;
	survey->policy_nodes = 0;
	survey->backings[0] = (struct snapshot_backing){BACKING_KIND_MEMFD, 4096, 12 * MIB, 0, POLICY_MODE_DEFAULT, 0};
	guest_look_take_survey(guest, survey, NULL, 2);
	CHECK_INT(guest->policy_mode, POLICY_MODE_BIND);
	CHECK_INT(guest->policy_nodes, 4);
	CHECK_TRUE(guest->policy_balancing);
	CHECK_INT(guest->backings[0].policy_nodes, 4);
	CHECK_INT(guest->backings[0].bytes, 12 * MIB);
	/* Another cpuset may have rebound them; another part has one of its own. */
	survey->cpuset_mems = 2;
	guest_look_take_survey(guest, survey, NULL, 3);
	CHECK_TRUE(guest_look_needs_policies(guest));
	CHECK_INT(guest->policy_mode, POLICY_MODE_DEFAULT);
	survey->has_policies = true;
	guest_look_take_survey(guest, survey, NULL, 4);
	survey->has_policies = false;
	survey->backings[survey->backing_count++] = (struct snapshot_backing){BACKING_KIND_ANON, 4096, MIB, 0};
	guest_look_take_survey(guest, survey, NULL, 5);
	CHECK_TRUE(guest_look_needs_policies(guest));
	/* Cells of anonymous memory are told apart by them. */
	survey->has_policies = true;
	guest_look_take_survey(guest, survey, NULL, 6);
	CHECK_TRUE(!guest_look_needs_policies(guest));
	guest->cell_count = 2;
	CHECK_TRUE(guest_look_needs_policies(guest));
	guest_look_drop_survey(guest);
	CHECK_INT(guest->huge_count, 0);
	guest->cell_count = 1;
	CHECK_TRUE(guest_look_needs_policies(guest));
	free(survey);
	free(guest);
}

/* A piece is told also where the guest has nothing in it; what remains of its DIMM may come in several parts. */
static void test_pieces(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct worker_survey *survey = calloc(1, sizeof(*survey));
	struct snapshot *host = snapshot_new();
	struct snapshot_dimm *dimm = snapshot_add_dimm(host);
	static const struct {
		const char *id;
		uint64_t bytes;
	} told[] = {
		{"0x40000000-0x48000000", 3 * MIB}, {"0x48000000-0x50000000", 0}, {"0x8000000-0x10000000", 5 * MIB},
		{"acpi-1", MIB},		    {"acpi-1", 4 * MIB},	  {"acpi-2", 0},
	};

	strcpy(dimm->id, "acpi-1");
	dimm->node = 3;
	dimm->range_count = 1;
	dimm->ranges[0] = (struct snapshot_range){0x40000000, 0x80000000};
	*snapshot_add_block(host) = (struct snapshot_block){.id = 1, .start = 0x8000000, .size_bytes = 0x8000000, .node = 1};
	for (; survey->dimm_count < sizeof(told) / sizeof(told[0]); survey->dimm_count++) {
		strcpy(survey->dimms[survey->dimm_count].id, told[survey->dimm_count].id);
		survey->dimms[survey->dimm_count].bytes = told[survey->dimm_count].bytes;
	}
	survey->residency_count = 1;
	survey->residencies[0] = (struct snapshot_residency){4096 * MIB, 256 * MIB, 128 * MIB, 2, {7, 8}};
	survey->place_count = 2;
	survey->places[0] = (struct snapshot_place){7, 0, 1, 2, 1};
	survey->places[1] = (struct snapshot_place){8, 0, 0, 4, 3};
	guest_look_take_survey(guest, survey, host, 1);
	CHECK_TRUE(guest->dimms_told);
	CHECK_INT(guest->dimm_count, 4);
	CHECK_STR(guest->dimm_bytes[0].id, "acpi-1");
	CHECK_TRUE(snapshot_guest_dimm_is_piece(&guest->dimm_bytes[0]));
	CHECK_INT(guest->dimm_bytes[0].range.end, 0x48000000);
	CHECK_INT(guest->dimm_bytes[0].node, 3);
	CHECK_INT(guest->dimm_bytes[1].bytes, 0);
	CHECK_STR(guest->dimm_bytes[2].id, "");
	CHECK_INT(guest->dimm_bytes[2].node, 1);
	CHECK_TRUE(!snapshot_guest_dimm_is_piece(&guest->dimm_bytes[3]));
	CHECK_INT(guest->dimm_bytes[3].bytes, 5 * MIB);
	CHECK_INT(snapshot_guest_dimm_bytes(guest, "acpi-1"), 8 * MIB);
	CHECK_INT(guest->places[0].dimm, 2);
	CHECK_INT(guest->places[1].dimm, 3);
	snapshot_free(host);
	free(survey);
	free(guest);
}

static void test_survey(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct worker_survey *survey = calloc(1, sizeof(*survey));

	survey->node_bytes[2] = survey->resident_bytes = 5 * MIB;
	survey->vfio = true;
	survey->policy_mode = POLICY_MODE_BIND;
	survey->policy_nodes = 4;
	survey->dimm_count = SNAPSHOT_GUEST_DIMMS_MAX + 3;
	for (size_t i = 0; i < survey->dimm_count; i++) {
		snprintf(survey->dimms[i].id, sizeof(survey->dimms[i].id), "acpi-%zu", i);
		survey->dimms[i].bytes = i < 3 ? 0 : i;
	}
	survey->has_policies = true;
	survey->residency_count = 1;
	survey->residencies[0] = (struct snapshot_residency){4096 * MIB, 256 * MIB, 128 * MIB, 2, {7, 8}};
	survey->place_count = 2;
	survey->places[0] = (struct snapshot_place){7, 0, 1, 5, 2};
	survey->places[1] = (struct snapshot_place){8, 0, 0, SNAPSHOT_NO_DIMM, 2};
	guest_look_take_survey(guest, survey, NULL, 123);
	/* Those with nothing of the guest have no place in its list. */
	CHECK_INT(guest->place_count, 2);
	CHECK_STR(guest->dimm_bytes[guest->places[0].dimm].id, "acpi-5");
	CHECK_INT(guest->places[0].pages, 7);
	CHECK_INT(guest->places[1].dimm, SNAPSHOT_NO_DIMM);
	CHECK_TRUE(guest->surveyed && guest->vfio);
	CHECK_INT(guest->surveyed_at_ms, 123);
	CHECK_INT(guest->dimm_count, SNAPSHOT_GUEST_DIMMS_MAX);
	CHECK_STR(guest->dimm_bytes[0].id, "acpi-3");
	CHECK_INT(snapshot_guest_dimm_bytes(guest, "acpi-0"), 0);
	CHECK_INT(snapshot_guest_dimm_bytes(guest, "acpi-5"), 5);
	CHECK_TRUE(guest->dimms_told);
	/* In more than are kept it is told apart in none. */
	survey->dimms[0].bytes = MIB;
	guest_look_take_survey(guest, survey, NULL, 123);
	CHECK_TRUE(!guest->dimms_told);
	CHECK_INT(guest->dimm_count, 0);
	CHECK_INT(guest->places[0].dimm, SNAPSHOT_NO_DIMM);
	CHECK_INT(guest->places[0].node, 2);
	survey->dimms[0].bytes = 0;
	guest_look_take_survey(guest, survey, NULL, 123);
	CHECK_INT(guest->residency_count, 1);
	CHECK_INT(guest->residencies[0].bytes[1], 8);
	/* What a survey that fails leaves is known by counters alone. */
	guest_look_take_failed_survey(guest, "no");
	CHECK_INT(guest->residency_count + guest->place_count, 0);
	guest_look_take_survey(guest, survey, NULL, 123);
	guest_look_drop_survey(guest);
	CHECK_INT(guest->residency_count + guest->place_count, 0);
	CHECK_TRUE(!guest->surveyed);
	CHECK_INT(guest->node_bytes[2], 0);
	CHECK_INT(guest->resident_bytes, 0);
	CHECK_INT(guest->policy_nodes, 0);
	CHECK_INT(guest->dimm_count, 0);
	free(survey);
	free(guest);
}

static void test_ram_sizes(void)
{
	struct snapshot_guest *guest = calloc(1, sizeof(*guest));
	struct worker_job job = {0};

	guest->cell_count = SNAPSHOT_CELLS_MAX;
	guest->device_count = SNAPSHOT_DEVICES_MAX;
	guest->cells[3] = (struct snapshot_cell){.id = 3, .bytes = MIB};
	guest->devices[15] = (struct snapshot_device){
		.cell = 7, .size_bytes = 9 * MIB, .block_bytes = 2 * MIB, .address = 4096 * MIB};
	guest_look_ram_sizes(guest, &job);
	CHECK_INT(job.ram_size_count, SNAPSHOT_CELLS_MAX + SNAPSHOT_DEVICES_MAX);
	CHECK_INT(job.ram_sizes[3], MIB);
	CHECK_INT(job.ram_cells[3], 3);
	CHECK_INT(job.ram_sizes[31], 9 * MIB);
	CHECK_INT(job.ram_cells[31], 7);
	CHECK_INT(job.ram_addresses[31], 4096 * MIB);
	CHECK_INT(job.ram_blocks[31], 2 * MIB);
	CHECK_INT(job.ram_addresses[3] | job.ram_blocks[3], 0);
	free(guest);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"sizes and placement", test_sizes_and_placement},
		{"vCPUs that cannot follow", test_pinned},
		{"emulator threads", test_emulator_pin},
		{"a policy that cannot be read", test_unreadable_policy},
		{"a balloon alone", test_balloon_alone},
		{"stored only", test_stored_only},
		{"more devices than the model holds", test_excess},
		{"hindrances", test_hindrances},
		{"overview", test_overview},
		{"a survey that failed", test_failed_survey},
		{"counters that lack it", test_counters_that_lack_it},
		{"pieces", test_pieces},
		{"a survey", test_survey},
		{"policies are kept", test_policies_are_kept},
		{"sizes of memory regions", test_ram_sizes},
	};

	return unit_main("service/look/guest_look", cases, sizeof(cases) / sizeof(cases[0]));
}
