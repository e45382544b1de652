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
#define AGENT_CONFIG_PATH_SIZE	     256
#define AGENT_CONFIG_FLOORS_MAX	     8

/* What the host may not ask for. */
#define AGENT_CONFIG_VETO_HUGE_PAGES	(1u << 0)
#define AGENT_CONFIG_VETO_COMPACT	(1u << 1)
#define AGENT_CONFIG_VETO_OFFLINE	(1u << 2)
#define AGENT_CONFIG_VETO_ONLINE_POLICY (1u << 3)
#define AGENT_CONFIG_VETO_STALL_PROBE	(1u << 4)
#define AGENT_CONFIG_VETO_REPORT_FREE	(1u << 5)

struct agent_config_floor {
	uint64_t page_bytes;
	uint64_t pages;
};

struct agent_config {
	char port[AGENT_CONFIG_PATH_SIZE]; /* a path, or empty: look for the port by its name */
	char lease_directory[AGENT_CONFIG_PATH_SIZE];
	unsigned veto; /* AGENT_CONFIG_VETO_* */
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

/* Pages of that size that the guest keeps; 0 where nothing is said. */
uint64_t agent_config_floor(const struct agent_config *config, uint64_t page_bytes);

#endif
