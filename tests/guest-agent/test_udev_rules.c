/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules as distributions ship them, shortened, and as people write them, in a tree of files.
 */
#include "udev_rules.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fake_guest.h"
#include "sysroot.h"
#include "unit.h"

#define SIMPLE "SUBSYSTEM==\"memory\", ACTION==\"add\", ATTR{state}==\"offline\", ATTR{state}=\"online\"\n"

/* Red Hat's: what is of memory is said by a jump, and the value comes from elsewhere. */
static const char red_hat[] = "# Memory that comes is used\n\n"
			      "# Of one architecture another service does it\n"
			      "SUBSYSTEM!=\"memory\", GOTO=\"over\"\n"
			      "ACTION!=\"add\", GOTO=\"over\"\n"
			      "CONST{arch}==\"ppc64*|s390*\", GOTO=\"over\"\n\n"
			      "ENV{.how}=\"online\"\n"
			      "CONST{virt}==\"none\", ENV{.how}=\"online_movable\"\n"
			      "ATTR{state}==\"offline\", ATTR{state}=\"$env{.how}\"\n\n"
			      "LABEL=\"over\"\n";
static const char suse[] = "ACTION==\"add\", SUBSYSTEM==\"memory\", PROGRAM=\"/bin/uname -i\", RESULT!=\"s390x\", \\\n"
			   "# of a comment between\n"
			   "  ATTR{state}==\"offline\", ATTR{state}=\"online\"\n";
/* As Debian and Ubuntu have one: for two other hypervisors. */
static const char hotadd[] =
	"ATTR{[dmi/id]sys_vendor}==\"Xen\", GOTO=\"theirs\"\n"
	"ATTR{[dmi/id]product_name}==\"Virtual Machine\", ATTR{[dmi/id]sys_vendor}==\"Microsoft Corporation\", "
	"GOTO=\"theirs\"\n"
	"GOTO=\"over\"\n\n"
	"LABEL=\"theirs\"\n"
	"ACTION==\"add\", SUBSYSTEM==\"cpu\", TEST==\"online\", ATTR{online}=\"1\"\n"
	"ACTION==\"add\", SUBSYSTEM==\"memory\", DEVPATH==\"*/memory/memory[0-9]*\", TEST==\"state\", "
	"ATTR{state}=\"online\"\n\n"
	"LABEL=\"over\"\n";

static struct fake_guest guest;

static const char *found(void)
{
	static char path[LIMIT_RULE];

	udev_rules_find(guest.sysroot, path);
	return path;
}

/* What this text alone, in a file of its own, is taken for. */
static bool counts(const char *text)
{
	fake_guest_write(&guest, "/etc/udev/rules.d/50-it.rules", text);
	return strcmp(found(), "/etc/udev/rules.d/50-it.rules") == 0;
}

static void test_directories(void)
{
	fake_guest_start(&guest);
	CHECK_STR(found(), "");
	fake_guest_write(&guest, "/lib/udev/rules.d/80-mem.rules", SIMPLE);
	CHECK_STR(found(), "/lib/udev/rules.d/80-mem.rules");
	fake_guest_write(&guest, "/usr/local/lib/udev/rules.d/80-mem.rules", SIMPLE);
	CHECK_STR(found(), "/usr/local/lib/udev/rules.d/80-mem.rules");
	fake_guest_write(&guest, "/run/udev/rules.d/80-mem.rules", SIMPLE);
	CHECK_STR(found(), "/run/udev/rules.d/80-mem.rules");
	/* The first of the name counts, and may say nothing; other names count beside it. */
	fake_guest_write(&guest, "/etc/udev/rules.d/80-mem.rules", "");
	CHECK_STR(found(), "");
	fake_guest_write(&guest, "/usr/lib/udev/rules.d/81-mem.rules", SIMPLE);
	CHECK_STR(found(), "/usr/lib/udev/rules.d/81-mem.rules");
	fake_guest_write(&guest, "/etc/udev/rules.d/81-mem.rules", "");
	fake_guest_write(&guest, "/etc/udev/rules.d/82-mem.rules.bak", SIMPLE);
	CHECK_STR(found(), "");
	fake_guest_stop(&guest);
}

static void test_masked_by_a_link(void)
{
	char path[300];

	fake_guest_start(&guest);
	fake_guest_write(&guest, "/etc/udev/rules.d/10-other.rules", "");
	fake_guest_write(&guest, "/usr/lib/udev/rules.d/40-redhat.rules", red_hat);
	CHECK_STR(found(), "/usr/lib/udev/rules.d/40-redhat.rules");
	snprintf(path, sizeof(path), "%s/etc/udev/rules.d/40-redhat.rules", guest.root);
	CHECK_INT(symlink("/dev/null", path), 0);
	CHECK_STR(found(), "");
	fake_guest_stop(&guest);
}

static void test_rules(void)
{
	fake_guest_start(&guest);
	CHECK_TRUE(counts(SIMPLE));
	CHECK_TRUE(counts(red_hat));
	CHECK_TRUE(counts(suse));
	CHECK_TRUE(counts("KERNEL==\"memory[0-9]*\",ATTR{online}=\"1\""));
	CHECK_TRUE(counts("SUBSYSTEM==\"cpu|memory\", ACTION==\"add|change\", ATTR{state} := \"online_movable\"\n"));
	/* It depends on what nobody knows. */
	CHECK_TRUE(counts("ENV{WHO}==\"us\", GOTO=\"end\"\n" SIMPLE "LABEL=\"end\"\n"));
	CHECK_TRUE(counts("ENV{WHO}==\"us\", GOTO=\"do\"\nGOTO=\"end\"\nLABEL=\"do\"\n" SIMPLE "LABEL=\"end\"\n"));

	CHECK_TRUE(!counts("# " SIMPLE));
	CHECK_TRUE(!counts("SUBSYSTEM==\"memory\", ACTION==\"add\", RUN+=\"/bin/true\"\n"));
	CHECK_TRUE(!counts("SUBSYSTEM==\"memory\", ATTR{state}==\"online\", TAG+=\"x\"\n"));
	CHECK_TRUE(!counts("SUBSYSTEM==\"memory\", ACTION==\"remove\", ATTR{state}=\"online\"\n"));
	CHECK_TRUE(!counts("SUBSYSTEM==\"memory\", ATTR{state}=\"offline\"\n"));
	CHECK_TRUE(!counts("SUBSYSTEM==\"cpu\", ACTION==\"add\", ATTR{online}=\"1\"\n"));
	CHECK_TRUE(!counts("SUBSYSTEM!=\"memory\", ATTR{state}=\"online\"\n"));
	CHECK_TRUE(!counts("GOTO=\"end\"\n" SIMPLE "LABEL=\"end\"\n"));
	CHECK_TRUE(!counts("SUBSYSTEM==\"memory\", ATTR{state}=online\n"));
	CHECK_TRUE(!counts("SUBSYSTEM==\"memory\", ATTR{state"));
	CHECK_TRUE(!counts("\\\n\\"));
	fake_guest_stop(&guest);
}

static void test_rules_for_another_hypervisor(void)
{
	fake_guest_start(&guest);
	CHECK_TRUE(!counts(hotadd));
	fake_guest_write(&guest, "/sys/class/dmi/id/sys_vendor", "QEMU");
	CHECK_TRUE(!counts(hotadd));
	CHECK_TRUE(!counts("CONST{virt}==\"microsoft|xen\", " SIMPLE));
	CHECK_TRUE(counts("CONST{virt}!=\"none\", " SIMPLE));
	fake_guest_write(&guest, "/sys/class/dmi/id/sys_vendor", "Xen");
	CHECK_TRUE(counts(hotadd));
	fake_guest_stop(&guest);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"which file counts", test_directories},
		{"a link to /dev/null masks", test_masked_by_a_link},
		{"rules", test_rules},
		{"rules for another hypervisor", test_rules_for_another_hypervisor},
	};

	return unit_main("guest-agent/udev_rules", cases, sizeof(cases) / sizeof(cases[0]));
}
