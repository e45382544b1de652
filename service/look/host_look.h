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
 * Fills nodes, blocks, dimms and block_bytes of an empty snapshot. Reads files below /sys and /proc only, which a
 * memory hotplug under way can delay: not for the loop's thread. Returns 0 or -errno with failure; -ERANGE for a host
 * with node ids beyond the model.
 */
int host_look_read(const struct sysroot *sysroot, struct snapshot *snapshot, struct failure *failure);

#endif
