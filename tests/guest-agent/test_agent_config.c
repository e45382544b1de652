/* SPDX-License-Identifier: Apache-2.0 */
#include "agent_config.h"

#include <errno.h>
#include <string.h>
#include "failure.h"
#include "fake_guest.h"
#include "unit.h"

static struct fake_guest guest;
static struct agent_config config;
static struct failure failure;

static int read_config(const char *text)
{
	fake_guest_write(&guest, AGENT_CONFIG_FILE, text);
	agent_config_init(&config);
	return agent_config_read(&config, guest.sysroot, AGENT_CONFIG_FILE, &failure);
}

static void test_defaults(void)
{
	fake_guest_start(&guest);
	agent_config_init(&config);
	CHECK_INT(agent_config_read(&config, guest.sysroot, AGENT_CONFIG_FILE, &failure), 0);
	CHECK_STR(config.port, "");
	CHECK_STR(config.lease_directory, "/run/ballast-agent");
	CHECK_INT(config.veto, 0);
	CHECK_TRUE(!config.drop_caches);
	CHECK_INT(agent_config_floor(&config, 2 << 20), 0);
	fake_guest_stop(&guest);
}

static void test_all_keys_and_drop_ins(void)
{
	fake_guest_start(&guest);
	fake_guest_write(&guest, AGENT_CONFIG_FILE ".d/10-floor.conf", "hugepage_floor_2MiB = 200");
	fake_guest_write(&guest, AGENT_CONFIG_FILE ".d/20-veto.conf",
			 "[agent]\nveto = offline, compact");
	fake_guest_write(&guest, AGENT_CONFIG_FILE ".d/README", "nonsense");
	CHECK_INT(read_config("# comment\n[agent]\nport = /dev/vport1p1\nlease_directory = "
			      "/var/lib/ballast\n"
			      "hugepage_floor_2MiB = 100\nhugepage_floor_1GiB = 1\nveto =\ndrop_caches = yes\n"
			      "hooks = yes\nhook_directory = /opt/hooks\nhook_timeout_s = 5\n"
			      "reclaim_pressure_percent = 20\nkeep_available_percent = 0\nmemory_floor = 2GiB\nshrink_limit = 512MiB\n"
			      "memory_wanted = 4GiB\nask_pressure_percent = 15\nask_step = 1GiB"),
		  0);
	CHECK_STR(config.port, "/dev/vport1p1");
	CHECK_STR(config.lease_directory, "/var/lib/ballast");
	CHECK_INT(agent_config_floor(&config, 2 << 20), 200);
	CHECK_INT(agent_config_floor(&config, 1 << 30), 1);
	CHECK_INT(config.veto, AGENT_CONFIG_VETO_OFFLINE | AGENT_CONFIG_VETO_COMPACT);
	CHECK_TRUE(config.drop_caches);
	CHECK_TRUE(config.hooks);
	CHECK_STR(config.hook_directory, "/opt/hooks");
	CHECK_INT(config.hook_timeout_s, 5);
	CHECK_INT(config.reclaim_pressure_percent, 20);
	CHECK_INT(config.keep_available_percent, 0);
	CHECK_INT(config.memory_floor_bytes, UINT64_C(2) << 30);
	CHECK_INT(config.shrink_limit_bytes, 512 << 20);
	CHECK_INT(config.memory_wanted_bytes, UINT64_C(4) << 30);
	CHECK_INT(config.ask_pressure_percent, 15);
	CHECK_INT(config.ask_step_bytes, 1 << 30);
	fake_guest_stop(&guest);
}

static void check_error(const char *text, const char *sentence)
{
	char formatted[1024];

	CHECK_INT(read_config(text), -EINVAL);
	CHECK_STR(failure_format(&failure, formatted, sizeof(formatted)), sentence);
}

static void test_reread(void)
{
	fake_guest_start(&guest);
	CHECK_INT(read_config("port = /dev/vport1p1\nveto = offline\nhugepage_floor_2MiB = 7"), 0);
	fake_guest_write(&guest, AGENT_CONFIG_FILE ".d/shrink.conf", "veto = shrink\nport = /dev/other\nlease_directory = /x");
	CHECK_INT(agent_config_reread(&config, guest.sysroot, AGENT_CONFIG_FILE, &failure), 0);
	CHECK_INT(config.veto, AGENT_CONFIG_VETO_SHRINK);
	/* What the agent stands on stays. */
	CHECK_STR(config.port, "/dev/vport1p1");
	CHECK_STR(config.lease_directory, AGENT_CONFIG_LEASE_DIRECTORY);
	/* What is not said any more is as if it had never been. */
	fake_guest_write(&guest, AGENT_CONFIG_FILE, "");
	fake_guest_write(&guest, AGENT_CONFIG_FILE ".d/shrink.conf", "");
	CHECK_INT(agent_config_reread(&config, guest.sysroot, AGENT_CONFIG_FILE, &failure), 0);
	CHECK_INT(config.veto, 0);
	CHECK_INT(agent_config_floor(&config, 2 << 20), 0);
	/* What cannot be used leaves all as it was. */
	config.veto = AGENT_CONFIG_VETO_COMPACT;
	fake_guest_write(&guest, AGENT_CONFIG_FILE, "veto = shrink\nmemory_floor = much\n");
	CHECK_INT(agent_config_reread(&config, guest.sysroot, AGENT_CONFIG_FILE, &failure), -EINVAL);
	CHECK_INT(config.veto, AGENT_CONFIG_VETO_COMPACT);
	fake_guest_stop(&guest);
}

#define CANNOT ": cannot use this configuration: "

static void test_errors(void)
{
	fake_guest_start(&guest);
	check_error("[agent]\n\nlease_dir = /x\n", AGENT_CONFIG_FILE
		    ":3" CANNOT
		    "unknown key \"lease_dir\" (the keys are in ballast-agent.conf(5))");
	check_error("hook_timeout_s = 0\n", AGENT_CONFIG_FILE
		    ":1" CANNOT "hook_timeout_s: \"0\" is no number from 1 to 3600");
	check_error("[daemon]\nport = /x\n", AGENT_CONFIG_FILE
		    ":2" CANNOT "unknown section [daemon] (the only section is [agent])");
	check_error("port = vport\n",
		    AGENT_CONFIG_FILE ":1" CANNOT "port: \"vport\" is no absolute path");
	check_error("veto = everything\n",
		    AGENT_CONFIG_FILE ":1" CANNOT "veto: unknown word \"everything\" (huge_pages, "
						  "compact, offline, online_policy, stall_probe, "
						  "report_free, reclaim, repair or shrink)");
	check_error("memory_floor = much\n", AGENT_CONFIG_FILE
		    ":1" CANNOT "memory_floor: \"much\" is no size (memory_floor = 2GiB)");
	check_error("drop_caches = maybe\n", AGENT_CONFIG_FILE
		    ":1" CANNOT "drop_caches: \"maybe\" is neither yes nor no");
	check_error("hugepage_floor_2MiB = 1.5\n", AGENT_CONFIG_FILE
		    ":1" CANNOT "hugepage_floor_2MiB: \"1.5\" is no number of pages");
	check_error("hugepage_floor_3MiB = 1\n", AGENT_CONFIG_FILE
		    ":1" CANNOT "\"3MiB\" is no size of huge pages (hugepage_floor_2MiB = 128)");
	check_error("port = /a\nnonsense\n",
		    AGENT_CONFIG_FILE ":2" CANNOT "not of the form \"key = value\"");
	fake_guest_stop(&guest);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"defaults", test_defaults},
		{"read anew", test_reread},
		{"all keys and drop-ins", test_all_keys_and_drop_ins},
		{"errors name file and line", test_errors},
	};

	return unit_main("agent_config", cases, sizeof(cases) / sizeof(cases[0]));
}
