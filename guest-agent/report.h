/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent tells about its guest: memory, zones, pools, regions, blocks, pressure.
 */
#ifndef BALLAST_AGENT_REPORT_H
#define BALLAST_AGENT_REPORT_H

#include "message.h"

struct agent_config;
struct lease_book;
struct pinned_pages;
struct sysroot;

/*
 * All but what udev's rules say, which is not to be read for each report. Parts that the kernel does not show stay 0 or
 * unknown; only what no kernel lacks makes this fail.
 */
int report_read(const struct sysroot *sysroot, const struct agent_config *config,
		const struct lease_book *book, struct message_report_reply *ret_report);

/*
 * One page of blocks from request->first_block on; where it is asked what is in them no more than
 * REPORT_HOLDERS_MAX, because each costs some milliseconds, in which the agent hears nothing. What of *pinned is free by
 * now is forgotten.
 */
#define REPORT_HOLDERS_MAX 8
int report_read_blocks(const struct sysroot *sysroot, struct pinned_pages *pinned, const struct message_blocks *request,
		       struct message_blocks_reply *ret_blocks);

void report_read_pressure(const struct sysroot *sysroot, struct message_pressure *ret_pressure);
/* MemTotal, MemFree and MemAvailable of /proc/meminfo. */
int report_read_memory(const struct sysroot *sysroot, uint64_t *ret_total, uint64_t *ret_free,
		       uint64_t *ret_available);

/* How much of what is available nothing may take, in a guest with so much memory in all. */
uint64_t report_keep_bytes(const struct agent_config *config, uint64_t total_bytes);

/* As raw bytes; -EBADMSG where it is no UUID. */
int report_read_boot_id(const struct sysroot *sysroot, uint8_t boot_id[MESSAGE_BOOT_ID_BYTES]);

enum message_zone report_zone(int memory_zone);

#endif
