/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parsers make of kernels that lack things, and of odd files.
 */
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "agent_config.h"
#include "block_census.h"
#include "fake_guest.h"
#include "lease.h"
#include "unit.h"
#include "zones.h"

static struct fake_guest guest;

static void remove_file(const char *path)
{
	char full[256];

	snprintf(full, sizeof(full), "%s%s", guest.root, path);
	CHECK_INT(unlink(full), 0);
}

static void test_regions(void)
{
	struct zones_regions regions;

	fake_guest_start(&guest);
	CHECK_INT(zones_read_regions(guest.sysroot, &regions), 0);
	CHECK_INT(regions.count, 1);
	CHECK_INT(regions.regions[0].start, UINT64_C(0x100000000));
	/* virtio9 is another kind of device; without CAP_SYS_ADMIN all addresses read as 0. */
	fake_guest_write(&guest, "/proc/iomem",
			 "00000000-00000000 : virtio2\nnonsense\n5-4 : virtio2\n : virtio2");
	CHECK_INT(zones_read_regions(guest.sysroot, &regions), 0);
	CHECK_INT(regions.count, 0);
	fake_guest_stop(&guest);
}

static void test_kernel_without_features(void)
{
	static struct message_report_reply report;
	struct agent_config config;
	struct lease_book book;
	struct zones_policy policy;

	fake_guest_start(&guest);
	agent_config_init(&config);
	lease_book_init(&book, guest.lease_directory, (const uint8_t[LEASE_BOOT_ID_BYTES]){0});
	remove_file("/sys/devices/system/memory/auto_online_blocks");
	remove_file("/sys/module/memory_hotplug/parameters/online_policy");
	remove_file("/sys/module/memory_hotplug/parameters/auto_movable_ratio");
	remove_file("/sys/module/virtio_mem/parameters/unplug_online");
	remove_file("/proc/pressure/memory");
	remove_file("/proc/iomem");
	CHECK_INT(report_read(guest.sysroot, &config, &book, &report), 0);
	CHECK_INT(report.auto_online, MESSAGE_AUTO_ONLINE_UNKNOWN);
	CHECK_INT(report.zone_policy, MESSAGE_ZONE_POLICY_UNKNOWN);
	CHECK_INT(report.unplug_online, MESSAGE_SWITCH_UNKNOWN);
	CHECK_INT(report.pressure.some_avg10_x100, MESSAGE_PRESSURE_NONE);
	CHECK_INT(report.region_count, 0);
	zones_read_policy(guest.sysroot, &policy);
	CHECK_INT(zones_plan_policy(&policy,
				    &(struct message_set_online_policy){
					    .policy = MESSAGE_ONLINE_POLICY_MOVABLE},
				    &(struct lease_entries){0}),
		  -ENOTSUP);
	remove_file("/proc/meminfo");
	CHECK_INT(report_read(guest.sysroot, &config, &book, &report), -ENOENT);
	lease_book_done(&book);
	fake_guest_stop(&guest);
}

static void test_boot_ids(void)
{
	static const char *const bad[] = {"", "0f1e", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1fg",
					  "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0aa"};
	uint8_t id[MESSAGE_BOOT_ID_BYTES];

	fake_guest_start(&guest);
	CHECK_INT(report_read_boot_id(guest.sysroot, id), 0);
	CHECK_INT(id[0], 0x0f);
	CHECK_INT(id[15], 0xf0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fake_guest_write(&guest, "/proc/sys/kernel/random/boot_id", bad[i]);
		CHECK_INT(report_read_boot_id(guest.sysroot, id), -EBADMSG);
	}
	fake_guest_stop(&guest);
}

static void test_udev_rule(void)
{
	struct zones_policy policy;

	fake_guest_start(&guest);
	zones_read_policy(guest.sysroot, &policy);
	CHECK_TRUE(!policy.udev_onlines);
	fake_guest_write(&guest, "/usr/lib/udev/rules.d/40-redhat.rules", "");
	zones_read_policy(guest.sysroot, &policy);
	CHECK_TRUE(policy.udev_onlines);
	fake_guest_stop(&guest);
}

static void test_census(void)
{
	static const uint64_t flags[8] = {
		1 << 10,	       /* free */
		1 << 23,	       /* given back */
		1 << 17,	       /* huge, free */
		(1 << 17) | (1 << 11), /* huge, mapped */
		1 << 7,		       /* slab */
		(1 << 5) | (1 << 8),   /* under writeback */
		(1 << 5) | (1 << 12),  /* anonymous */
		UINT64_C(1) << 26,     /* page table */
	};
	struct block_census census;
	char path[128];

	fake_guest_start(&guest);
	CHECK_INT(block_census_read(guest.sysroot, 0, 4096, &census), -ENOENT);
	snprintf(path, sizeof(path), "%s/proc/kpageflags", guest.root);
	FILE *file = fopen(path, "we");

	fwrite(flags, sizeof(flags), 1, file);
	fclose(file);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	CHECK_INT(block_census_read(guest.sysroot, 0, 8 * page, &census), 0);
	CHECK_INT(census.pages, 8);
	CHECK_INT(census.empty, 2);
	CHECK_INT(census.huge_free, 1);
	CHECK_INT(census.huge_used, 1);
	CHECK_INT(census.kernel, 2);
	CHECK_INT(census.writeback, 1);
	/* The range ends behind what the kernel shows. */
	CHECK_INT(block_census_read(guest.sysroot, 4 * page, 8 * page, &census), -ENOENT);
	fake_guest_stop(&guest);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"virtio-mem regions", test_regions},
		{"a kernel without features", test_kernel_without_features},
		{"boot ids", test_boot_ids},
		{"a udev rule that onlines", test_udev_rule},
		{"census of a block", test_census},
	};

	return unit_main("report", cases, sizeof(cases) / sizeof(cases[0]));
}
