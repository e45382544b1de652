/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's memory as the kernel shows it, taken into the model: nodes, blocks, DIMMs, pools.
 */
#ifndef BALLAST_SERVICE_HOST_LOOK_H
#define BALLAST_SERVICE_HOST_LOOK_H

#include "failure.h"
#include "snapshot.h"

struct sysroot;

/*
 * What of the host is read, each with all before it. Blocks are thousands of files on a large host, and change by hotplug
 * alone. Who has memory pinned is asked of every process: that is for a drain that is about to be planned.
 */
enum host_look_extent { HOST_LOOK_NODES, HOST_LOOK_ALL, HOST_LOOK_PINNERS };

/*
 * Fills the nodes of an empty snapshot, with HOST_LOOK_ALL also blocks, how they were booted, DIMMs and controllers; with
 * HOST_LOOK_PINNERS pinners, or why they are not told, which is no error.
 * Reads files below /sys and /proc only, which a memory hotplug under way can delay: not for the loop's thread. Returns 0
 * or -errno with failure; -ERANGE for a host with node ids beyond the model.
 */
int host_look_read(const struct sysroot *sysroot, enum host_look_extent extent, struct snapshot *snapshot,
		   struct failure *failure);

#endif
