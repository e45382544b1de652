/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include "fixture_tree.h"
#include "kernel_log.h"

static void test_parse(void)
{
	struct kernel_log_page page = {0};

	CHECK_TRUE(!kernel_log_parse_page("eth0: link up", &page));
	CHECK_TRUE(!kernel_log_parse_page("page dumped because: unmovable page", &page));
	CHECK_TRUE(kernel_log_parse_page("migrating pfn 203100 failed ret:1", &page));
	CHECK_INT(page.pfn, 0x203100);
	CHECK_INT(page.result, 1);
	CHECK_TRUE(!page.has_counts);
	CHECK_TRUE(kernel_log_parse_page("page:00000000d5b5a1f8 refcount:3 mapcount:1 "
					 "mapping:000000001a2b index:0x1 pfn:0x203100",
					 &page));
	CHECK_INT(page.references, 3);
	CHECK_INT(page.mappings, 1);
	CHECK_INT(page.result, 1);
	/* Mapped, in the page cache, isolated: no more than that. */
	CHECK_TRUE(!kernel_log_page_is_pinned(&page));
	CHECK_TRUE(kernel_log_parse_page("anon flags: 0x17ffffc0080014(uptodate|lru|owner_priv_1|swapbacked)", &page));
	CHECK_TRUE(!kernel_log_page_is_pinned(&page));
	/* Mapped, isolated, and something else. */
	CHECK_TRUE(kernel_log_parse_page("anon flags: 0x17ffffc0080014(uptodate|lru|swapbacked|node=0)", &page));
	CHECK_TRUE(kernel_log_page_is_pinned(&page));
	CHECK_TRUE(!kernel_log_parse_page("page dumped because: migration failure", &page));
	CHECK_TRUE(kernel_log_parse_page("migrating pfn 100 failed ret:-12", &page));
	CHECK_INT(page.result, -12);
	CHECK_TRUE(!page.has_counts);
	CHECK_TRUE(kernel_log_parse_page(
		"page: refcount:1 mapcount:0 mapping:0 index:0x0 pfn:0x300", &page));
	CHECK_INT(page.pfn, 0x300);
	CHECK_TRUE(kernel_log_parse_page("page dumped because: unmovable page", &page));
	CHECK_TRUE(page.is_unmovable);
	CHECK_TRUE(!kernel_log_parse_page("page: refcount:1", &page));
}

static void test_read(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(kernel_log_freep) struct kernel_log *log = NULL;
	struct kernel_log_page page = {0};

	fixture_tree_init(&tree);
	CHECK_INT(kernel_log_new(tree.sysroot, &log), -ENOENT);
	fixture_tree_write(&tree, "/dev/kmsg", "4,1,1,-;migrating pfn 1 failed ret:1\n");
	CHECK_INT(kernel_log_new(tree.sysroot, &log), 0);
	CHECK_INT(kernel_log_next_page(log, &page), 0);
	fixture_tree_append(&tree, "/dev/kmsg",
			    "6,2,2,-;eth0: up\n SUBSYSTEM=net\n4,3,3,-;migrating pfn 2031");
	CHECK_INT(kernel_log_next_page(log, &page), 0);
	fixture_tree_append(&tree, "/dev/kmsg",
			    "00 failed ret:1\n4,4,4,-;page:0 refcount:2 mapcount:0 pfn:0x203100\n");
	CHECK_INT(kernel_log_next_page(log, &page), 1);
	CHECK_INT(page.pfn, 0x203100);
	CHECK_INT(kernel_log_next_page(log, &page), 1);
	CHECK_INT(page.references, 2);
	CHECK_INT(kernel_log_next_page(log, &page), 0);
}

static void test_eject_refused(void)
{
	static const char *const others[] = {
		"memory memory65: Offline", "cpu cpu3: Offline failed.", "memory memory65: Offline failed. Or not",
		"ACPI: \\_SB_.MHPC.MP00: Ejecting", "ACPI: Eject failed (0x5)", "ACPI: \\_SB_.MHPC.MP00 Eject failed (0x5)",
		"\\_SB_.MHPC.MP00: Eject failed (0x5)", "ACPI: \\_SB_.MHPC.MP00: Eject", "ACPI: ", "",
	};
	static const char *const words[] = {"Eject incomplete - status 0xf", "Eject failed (0x5)", "No _EJ0 support for device"};
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(kernel_log_freep) struct kernel_log *log = NULL;
	struct kernel_log_eject eject = {0};
	char line[128];

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		CHECK_TRUE(!kernel_log_parse_eject_refused(others[i], &eject));
	CHECK_TRUE(kernel_log_parse_eject_refused("memory memory65: Offline disabled.", &eject));
	CHECK_INT(eject.block, 65);
	CHECK_STR(eject.path, "");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		snprintf(line, sizeof(line), "ACPI: \\_SB_.MHPC.MP00: %s", words[i]);
		CHECK_TRUE(kernel_log_parse_eject_refused(line, &eject));
		CHECK_STR(eject.path, "\\_SB_.MHPC.MP00");
		CHECK_STR(eject.text, words[i]);
	}
	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/dev/kmsg", "4,1,1,-;memory memory1: Offline failed.\n");
	CHECK_INT(kernel_log_new(tree.sysroot, &log), 0);
	CHECK_INT(kernel_log_next_eject_refused(log, &eject), 0);
	fixture_tree_append(&tree, "/dev/kmsg",
			    "6,2,2,-;eth0: up\n4,3,3,-;memory memory66: Offline failed.\n SUBSYSTEM=memory\n"
			    "4,4,4,-;ACPI: \\x5c_SB_.MHPC.MP07: Eject incomplete - status 0xb\n4,5,5,-;\\x5\n");
	CHECK_INT(kernel_log_next_eject_refused(log, &eject), 1);
	CHECK_INT(eject.block, 66);
	CHECK_INT(kernel_log_next_eject_refused(log, &eject), 1);
	CHECK_STR(eject.path, "\\_SB_.MHPC.MP07");
	CHECK_STR(eject.text, "Eject incomplete - status 0xb");
	CHECK_INT(kernel_log_next_eject_refused(log, &eject), 0);
}

int main(void)
{
	static const struct unit_case cases[] = {{"parse", test_parse}, {"read", test_read}, {"eject_refused", test_eject_refused}};

	return unit_main("kernel_log", cases, ARRAY_SIZE(cases));
}
