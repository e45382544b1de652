/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's configuration file: what the guest's owner allows and keeps for himself.
 */
#ifndef BALLAST_AGENT_CONFIG_H
#define BALLAST_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct failure;
struct sysroot;

#define AGENT_CONFIG_FILE	     "/etc/ballast/ballast-agent.conf"
#define AGENT_CONFIG_LEASE_DIRECTORY "/run/ballast-agent"
#define AGENT_CONFIG_HOOK_DIRECTORY  "/etc/ballast/hooks.d"
/* Of each hook: a database lets go of its buffers in seconds or not at all, and the host's whole
 * shrink has two minutes by default. */
#define AGENT_CONFIG_HOOK_TIMEOUT_S  10
/* Of the time, in which some of the guest's work waits for memory. What is more is felt, and a fifth
 * would be all that a shrink may cost. */
#define AGENT_CONFIG_RECLAIM_PRESSURE_PERCENT 10
#define AGENT_CONFIG_KEEP_AVAILABLE_PERCENT 3
#define AGENT_CONFIG_ASK_STEP_BYTES (UINT64_C(256) << 20)
#define AGENT_CONFIG_PATH_SIZE	     256
#define AGENT_CONFIG_FLOORS_MAX	     8

/* What the host may not ask for. */
#define AGENT_CONFIG_VETO_HUGE_PAGES	(1u << 0)
#define AGENT_CONFIG_VETO_COMPACT	(1u << 1)
#define AGENT_CONFIG_VETO_OFFLINE	(1u << 2)
#define AGENT_CONFIG_VETO_ONLINE_POLICY (1u << 3)
#define AGENT_CONFIG_VETO_STALL_PROBE	(1u << 4)
#define AGENT_CONFIG_VETO_REPORT_FREE	(1u << 5)
#define AGENT_CONFIG_VETO_RECLAIM	(1u << 6)
#define AGENT_CONFIG_VETO_REPAIR	(1u << 8)
#define AGENT_CONFIG_VETO_SHRINK	(1u << 7) /* any of it, now: told to the host before it asks */

struct agent_config_floor {
	uint64_t page_bytes;
	uint64_t pages;
};

struct agent_config {
	char port[AGENT_CONFIG_PATH_SIZE]; /* a path, or empty: look for the port by its name */
	char lease_directory[AGENT_CONFIG_PATH_SIZE];
	unsigned veto; /* AGENT_CONFIG_VETO_* */
	uint64_t memory_floor_bytes; /* of all its memory the guest wants to keep so much; 0: none */
	uint64_t shrink_limit_bytes; /* most in one shrink; 0: none */
	uint64_t memory_wanted_bytes;  /* asked of the host while the guest has less; 0: nothing */
	uint32_t ask_pressure_percent; /* above that it asks for ask_step_bytes more; 0: never */
	uint64_t ask_step_bytes;
	bool hooks;	/* the host may have the hooks run */
	char hook_directory[AGENT_CONFIG_PATH_SIZE];
	uint32_t hook_timeout_s;
	uint32_t reclaim_pressure_percent;
	uint32_t keep_available_percent; /* of its memory: so much of what is available is left to the guest */
	bool drop_caches; /* clean caches may go so that more is free to report */
	size_t floor_count;
	struct agent_config_floor floors[AGENT_CONFIG_FLOORS_MAX];
};

void agent_config_init(struct agent_config *config);

/*
 * Reads the file and then, in order of their names, the *.conf in the directory beside it
 * ("path.d"); what is not there leaves the defaults. An unknown key or a bad value is -EINVAL with
 * file and line in *failure.
 */
int agent_config_read(struct agent_config *config, const struct sysroot *sysroot, const char *path,
		      struct failure *failure);

/* Reads anew what may change while the agent runs: all but the port and where leases are. As agent_config_read(). */
int agent_config_reread(struct agent_config *config, const struct sysroot *sysroot, const char *path,
			struct failure *failure);

/* Pages of that size that the guest keeps; 0 where nothing is said. */
uint64_t agent_config_floor(const struct agent_config *config, uint64_t page_bytes);

#endif
