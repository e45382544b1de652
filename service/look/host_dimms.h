/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The units in which memory leaves the host, taken into the model: ACPI memory devices, and beside them the slots of the
 * board, or the sets of slots that share their addresses, as the firmware's SMBIOS table tells them.
 */
#ifndef BALLAST_SERVICE_HOST_DIMMS_H
#define BALLAST_SERVICE_HOST_DIMMS_H

#include "failure.h"
#include "snapshot.h"

struct memory_block_list;
struct sysroot;

/*
 * Adds the DIMMs, and the memory controllers with what they count, to a snapshot that has its blocks; blocks are what
 * these were read from. An ACPI memory device is one DIMM, with the slots that its addresses are those of. A set of slots
 * is one with the rest of the set's blocks, if there are any, up to WORKER_DIMMS_MAX DIMMs in all: no block is in an ACPI
 * device and in a set. A block at the border of two sets is in both, for it leaves as a whole; surveys count guests'
 * memory in it for the first of them. A table that is missing or cannot be read tells no slots (kernel_probe's
 * firmware_slots says which of both), and without EDAC no errors are told (error_counts). Errors are a slot's where
 * EDAC's label names it and no other.
 * Returns 0 or -errno with failure.
 */
int host_dimms_read(const struct sysroot *sysroot, const struct memory_block_list *blocks, struct snapshot *snapshot,
		    struct failure *failure);

#endif
