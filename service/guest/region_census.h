/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a guest's virtio-mem devices, asked of its agent block by block and summed up by device.
 */
#ifndef BALLAST_SERVICE_REGION_CENSUS_H
#define BALLAST_SERVICE_REGION_CENSUS_H

#include <stdint.h>

struct agent_link;

/*
 * Puts what the agent tells into the regions of the link's description (struct snapshot_holders), which the report
 * before it has brought; the next report forgets it. done comes once, from the loop or at once; also where the agent
 * cannot tell, tells what cannot be, or has not told all of it within timeout_ms: then nothing is known.
 */
void region_census(struct agent_link *link, uint32_t timeout_ms, void (*done)(void *user), void *user);

#endif
