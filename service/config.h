/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ballastd's configuration: an INI file and its drop-ins. Without any file the defaults serve.
 */
#ifndef BALLAST_SERVICE_CONFIG_H
#define BALLAST_SERVICE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include "failure.h"
#include "hint_policy.h"
#include "plan.h"

#define CONFIG_PATH_SIZE 256
#define CONFIG_FILE	 "/etc/ballast/ballastd.conf"

struct config {
	/* [daemon] */
	bool observe;				/* mode = observe: plan everything, change nothing */
	char socket[CONFIG_PATH_SIZE];
	char socket_group[64];
	char state_directory[CONFIG_PATH_SIZE];	/* the journal */
	char run_directory[CONFIG_PATH_SIZE];	/* the workers' lock */
	char worker[CONFIG_PATH_SIZE];		/* path of ballast-worker; empty: beside ballastd, else the installed one */
	char libvirt_uri[CONFIG_PATH_SIZE];	/* empty: libvirt's default */
	char hook_directory[CONFIG_PATH_SIZE];	/* what drains run */
	uint32_t workers;			/* at the same time */
	uint32_t look_interval_s;		/* between looks when nothing happens */
	bool online_movable;			/* online_policy = movable: guests online as movable what is plugged */
	bool zone_repair;			/* guests are told to online what is plugged, and as movable */
	uint32_t reboot_s;			/* what a reboot of this host takes; 0: as its own record tells */
	bool keep_empty;			/* guests, and free huge pages, leave again what a drain has emptied */
	uint32_t assist_after_s;		/* a size asked for through libvirt alone is helped along; 0: never */
	/* [limits] */
	uint64_t reserve_bytes;			/* the host keeps the larger of both */
	uint32_t reserve_percent;
	bool reserve_untouched;			/* what guests have and have not touched is kept from what grows, too */
	uint32_t flat_ms;
	uint32_t block_timeout_ms;
	uint32_t stall_us;
	uint64_t bytes_per_s;
	uint32_t online_ratio_percent;
	uint32_t drain_moves;			/* guests of one drain at the same time */
	char slice_cpusets[STEP_SLICES_SIZE];	/* slices that a node which is drained is taken from; one blank between two */
	/* [timeouts] */
	uint32_t resize_s;
	uint32_t drain_factor;
	uint32_t hook_s;			/* of each hook */
	/* [hints] */
	struct hint_policy hints;
};

void config_init(struct config *config);

/*
 * Reads path and then the files *.conf of PATH.d in the order of their names over *config. A path that is not there is an error only
 * with must_exist. An unknown key or a bad value: -EINVAL, and failure names file, line and what would be right.
 */
int config_read(struct config *config, const char *path, bool must_exist, struct failure *failure);

/* The planners' share of it. */
void config_limits(const struct config *config, struct plan_limits *ret_limits);

/* Row by row, for the documentation check: NULL after the last. section, key and a sentence. */
const char *config_key(unsigned index, const char **ret_section, const char **ret_meaning);

#endif
