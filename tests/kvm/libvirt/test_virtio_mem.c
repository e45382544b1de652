/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio_mem.h"

#include "domain_xml.h"
#include "size_text.h"
#include "unit.h"

#define MIB SIZE_TEXT_MIB
#define GIB SIZE_TEXT_GIB

static struct virtio_mem_device device(uint64_t size, uint64_t block, uint64_t requested)
{
	return (struct virtio_mem_device){
		.size_bytes = size, .block_bytes = block, .requested_bytes = requested};
}

static void test_check(void)
{
	struct virtio_mem_device one = device(GIB, 2 * MIB, 0);

	CHECK_INT(virtio_mem_check(&one, 0), VIRTIO_MEM_FITS);
	CHECK_INT(virtio_mem_check(&one, GIB), VIRTIO_MEM_FITS);
	CHECK_INT(virtio_mem_check(&one, MIB), VIRTIO_MEM_NOT_MULTIPLE);
	CHECK_INT(virtio_mem_check(&one, GIB + 2 * MIB), VIRTIO_MEM_ABOVE_MAXIMUM);
}

static void test_one_device(void)
{
	struct virtio_mem_device one = device(2 * GIB, 2 * MIB, 768 * MIB);
	uint64_t requested = 77;

	CHECK_INT(virtio_mem_spread(&one, 1, GIB, 2 * GIB, &requested), VIRTIO_MEM_FITS);
	CHECK_INT(requested, GIB);
	CHECK_INT(virtio_mem_spread(&one, 1, GIB, GIB, &requested), VIRTIO_MEM_FITS);
	CHECK_INT(requested, 0);
	CHECK_INT(virtio_mem_spread(&one, 1, GIB, 1792 * MIB, &requested), VIRTIO_MEM_FITS);
	CHECK_INT(requested, 768 * MIB);
	requested = 77;
	CHECK_INT(virtio_mem_spread(&one, 1, GIB, GIB - 1, &requested), VIRTIO_MEM_BELOW_BASE);
	CHECK_INT(virtio_mem_spread(&one, 1, GIB, 3 * GIB + 1, &requested),
		  VIRTIO_MEM_ABOVE_MAXIMUM);
	CHECK_INT(virtio_mem_spread(&one, 1, GIB, GIB + MIB, &requested), VIRTIO_MEM_NOT_MULTIPLE);
	CHECK_INT(requested, 77);
	CHECK_INT(virtio_mem_spread(NULL, 0, GIB, 2 * GIB, &requested), VIRTIO_MEM_NO_DEVICE);
	CHECK_INT(virtio_mem_spread(NULL, 0, GIB, GIB, &requested), VIRTIO_MEM_FITS);
}

static void test_several_devices(void)
{
	struct virtio_mem_device two[] = {device(GIB, 2 * MIB, 0), device(3 * GIB, 2 * MIB, GIB)};
	uint64_t requested[2];

	/* In proportion to the room: 1 GiB and 2 GiB. */
	CHECK_INT(virtio_mem_spread(two, 2, 0, GIB + 300 * MIB, requested), VIRTIO_MEM_FITS);
	CHECK_INT(requested[0], 100 * MIB);
	CHECK_INT(requested[1], GIB + 200 * MIB);
	/* One block is not shared. */
	CHECK_INT(virtio_mem_spread(two, 2, 0, GIB + 2 * MIB, requested), VIRTIO_MEM_FITS);
	CHECK_INT(requested[0] + requested[1], GIB + 2 * MIB);
	/* Shrinking takes only from what has something. */
	CHECK_INT(virtio_mem_spread(two, 2, 0, 512 * MIB, requested), VIRTIO_MEM_FITS);
	CHECK_INT(requested[0], 0);
	CHECK_INT(requested[1], 512 * MIB);
	CHECK_INT(virtio_mem_spread(two, 2, 0, 4 * GIB, requested), VIRTIO_MEM_FITS);
	CHECK_INT(requested[0], GIB);
	CHECK_INT(requested[1], 3 * GIB);
}

static void test_mixed_blocks(void)
{
	struct virtio_mem_device two[] = {device(GIB, GIB, 0), device(GIB, 2 * MIB, 0)};
	uint64_t requested[2];

	/* Half each is impossible for the first. */
	CHECK_INT(virtio_mem_spread(two, 2, 0, 1536 * MIB, requested), VIRTIO_MEM_FITS);
	CHECK_INT(requested[0], GIB);
	CHECK_INT(requested[1], 512 * MIB);
	CHECK_INT(virtio_mem_spread(two, 2, 0, 512 * MIB, requested), VIRTIO_MEM_FITS);
	CHECK_INT(requested[0], 0);
	two[1].size_bytes = 4 * MIB;
	CHECK_INT(virtio_mem_spread(two, 2, 0, 512 * MIB, requested), VIRTIO_MEM_NOT_MULTIPLE);
}

/* Every reachable total is reached, by whole blocks, and nothing goes against the direction. */
static void test_all_totals(void)
{
	struct virtio_mem_device three[] = {device(16 * MIB, 2 * MIB, 4 * MIB),
					    device(32 * MIB, 4 * MIB, 32 * MIB),
					    device(24 * MIB, 8 * MIB, 8 * MIB)};
	uint64_t requested[3], before = virtio_mem_requested(three, 3);

	CHECK_INT(before, 44 * MIB);
	for (uint64_t target = 0; target <= 72 * MIB; target += 2 * MIB) {
		uint64_t sum = 0;

		CHECK_INT(virtio_mem_spread(three, 3, 0, target, requested), VIRTIO_MEM_FITS);
		for (size_t i = 0; i < 3; i++) {
			sum += requested[i];
			CHECK_INT(virtio_mem_check(&three[i], requested[i]), VIRTIO_MEM_FITS);
			if (target >= before)
				CHECK_TRUE(requested[i] >= three[i].requested_bytes);
			if (target <= before)
				CHECK_TRUE(requested[i] <= three[i].requested_bytes);
		}
		CHECK_INT(sum, target);
	}
}

static void test_suggest(void)
{
	struct virtio_mem_device two[] = {device(GIB, 2 * MIB, 0), device(GIB, 4 * MIB, 0)};
	uint64_t below, above;

	virtio_mem_suggest(two, 2, GIB, GIB + 3 * MIB, &below, &above);
	CHECK_INT(below, GIB + 2 * MIB);
	CHECK_INT(above, GIB + 4 * MIB);
	virtio_mem_suggest(two, 2, GIB, 5, &below, &above);
	CHECK_INT(below, GIB);
	CHECK_INT(above, GIB);
	virtio_mem_suggest(two, 2, GIB, UINT64_MAX, &below, &above);
	CHECK_INT(below, 3 * GIB);
	CHECK_INT(above, 3 * GIB);
	virtio_mem_suggest(two, 0, GIB, 5 * GIB, &below, &above);
	CHECK_INT(above, GIB);
}

static void test_collect(void)
{
	struct domain_xml_device devices[] = {
		{.model = DOMAIN_XML_MODEL_DIMM, .size_bytes = GIB},
		{.model = DOMAIN_XML_MODEL_VIRTIO_MEM, .size_bytes = 2 * GIB, .current_bytes = MIB},
		{.model = DOMAIN_XML_MODEL_VIRTIO_MEM, .size_bytes = 3 * GIB},
	};
	struct domain_xml domain = {.devices = devices, .device_count = 3};
	struct virtio_mem_device found[1];
	size_t index[1];

	CHECK_INT(virtio_mem_collect(&domain, found, index, 1), 2);
	CHECK_INT(found[0].size_bytes, 2 * GIB);
	CHECK_INT(virtio_mem_current(found, 1), MIB);
	CHECK_INT(index[0], 1);
	CHECK_STR(virtio_mem_outcome_name(VIRTIO_MEM_BELOW_BASE), "below_base");
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"check", test_check},
		{"one_device", test_one_device},
		{"several_devices", test_several_devices},
		{"mixed_blocks", test_mixed_blocks},
		{"all_totals", test_all_totals},
		{"suggest", test_suggest},
		{"collect", test_collect},
	};

	return unit_main("virtio_mem", cases, sizeof(cases) / sizeof(cases[0]));
}
