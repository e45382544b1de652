/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DIMMs as the firmware presents them: ACPI memory devices (PNP0C80) with their memory blocks.
 */
#ifndef BALLAST_KVM_DIMM_H
#define BALLAST_KVM_DIMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "name_table.h"
#include "physical_map.h"

struct failure;
struct memory_block_list;
struct sysroot;

#define DIMM_ID_SIZE   64
#define DIMM_PATH_SIZE 128

enum dimm_state {
	DIMM_STATE_ABSENT,  /* no device in it, or none that is enabled: never was, or ejected */
	DIMM_STATE_OFFLINE, /* enabled, every block offline, or none known: not added, or taken away by an eject that the
			     * firmware refused */
	DIMM_STATE_PARTLY,  /* some blocks online */
	DIMM_STATE_ONLINE,
	DIMM_STATE_COUNT
};
NAME_TABLE_DECLARE(dimm_state);

struct dimm {
	/*
	 * "acpi-" and the last element of the ACPI path (\_SB_.MHPC.MP03 is "acpi-MP03"); where two
	 * share it, both carry the whole path ("acpi-_SB_.MHPC.MP03"). The path is the slot's, so
	 * the id outlives an eject and a reboot, which the kernel's own number (PNP0C80:03) need
	 * not.
	 */
	char id[DIMM_ID_SIZE];
	char device[32];	   /* the kernel's name, "PNP0C80:03" */
	char path[DIMM_PATH_SIZE]; /* the ACPI path; empty where the kernel gives none */
	char uid[32];		   /* the firmware's _UID; empty: none */
	enum dimm_state state;
	bool is_enabled; /* ACPI _STA says so: by this, and not by what stands in the slot, the kernel has it or not */
	bool can_eject;	 /* has an eject method */
	int node_id;	 /* of its blocks; -1: none, or they differ */
	uint64_t size_bytes;
	uint64_t *blocks; /* owned; ascending block ids */
	size_t block_count;
	struct physical_range *ranges; /* owned; joined blocks */
	size_t range_count;
};

struct dimm_list {
	struct dimm *dimms; /* owned; in the order of the kernel's names */
	size_t count;
};

/* blocks: as read in the same look. A host without such devices: an empty list. The caller calls
 * dimm_list_done(). */
int dimm_list_read(const struct sysroot *sysroot, const struct memory_block_list *blocks,
		   struct dimm_list *ret_list);
void dimm_list_done(struct dimm_list *list);
const struct dimm *dimm_list_find(const struct dimm_list *list, const char *id);

enum dimm_eject_result {
	DIMM_EJECT_REQUESTED,	  /* the kernel took it and works on it; watch dimm_is_enabled() */
	DIMM_EJECT_NOT_OFFLINE,	  /* a block is not offline: nothing was written */
	DIMM_EJECT_NOT_EJECTABLE, /* no eject method */
	DIMM_EJECT_DETACHED,	  /* the kernel has no memory of it any more, and takes no eject: the firmware kept it before */
	DIMM_EJECT_ABSENT,
	DIMM_EJECT_COUNT
};
NAME_TABLE_DECLARE(dimm_eject_result);

/*
 * Asks the firmware to let go of a DIMM. NOT undoable, NOT interruptible, and with a block online
 * it would leave a kernel worker looping on the host-wide hotplug lock: so the blocks are looked up
 * afresh and every state is read in the moment before the write. failure (may be NULL) names the
 * block that is not offline. Returns 0 with an outcome or -errno.
 */
int dimm_eject(const struct sysroot *sysroot, const struct dimm *dimm,
	       enum dimm_eject_result *ret_result, struct failure *failure);

/*
 * _STA's enabled bit, read now: cleared by a firmware that has let go of the device, also where it stands in its slot until
 * somebody pulls it (drivers/acpi/scan.c acpi_scan_hot_remove judges by the same).
 */
int dimm_is_enabled(const struct sysroot *sysroot, const struct dimm *dimm, bool *ret_enabled);

#endif
