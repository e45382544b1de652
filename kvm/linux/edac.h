/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory errors as the kernel's EDAC drivers have counted them.
 *
 * Source: Documentation/ABI/testing/sysfs-devices-edac, drivers/edac/edac_mc_sysfs.c. A controller shows its DIMMs
 * (dimm0, or rank0 where its driver tells ranks apart), and kernels with CONFIG_EDAC_LEGACY_SYSFS also rows of chip
 * selects with their channels (csrow0/ch0_*), in which uncorrected errors are counted by row alone.
 *
 * Labels are the firmware's (drivers/edac/ghes_edac.c dimm_setup_label: bank locator, a blank, device locator of SMBIOS),
 * the driver's own ("CPU_SrcID#0_MC#0_Chan#0_DIMM#0"), or what an administrator has written there (edac-ctl).
 */
#ifndef BALLAST_KVM_EDAC_H
#define BALLAST_KVM_EDAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct smbios;
struct sysroot;

#define EDAC_LABEL_SIZE 128
#define EDAC_NAME_SIZE	64

/* Counts since the driver was loaded or somebody reset them. */
struct edac_dimm {
	size_t controller;	     /* index */
	char label[EDAC_LABEL_SIZE]; /* empty: none, or longer than that */
	uint64_t corrected, uncorrected;
	bool uncorrected_told;
};

struct edac_controller {
	int64_t number;		   /* of the kernel: mc0 is 0 */
	char name[EDAC_NAME_SIZE]; /* the driver's, "Skylake Socket#0 IMC#0"; empty: not told */
	/* All of it, also what was counted for no DIMM. */
	uint64_t corrected, uncorrected;
};

struct edac {
	struct edac_controller *controllers; /* owned */
	struct edac_dimm *dimms;	     /* owned; also ranks and channels: several of them may be one DIMM */
	size_t controller_count, dimm_count;
};

/*
 * Reads all controllers; of one whose DIMMs are not counted one by one, the rows. What goes away meanwhile is left out.
 * Returns 0, -ENOENT where no driver counts, or -errno. The caller calls edac_done().
 */
int edac_read(const struct sysroot *sysroot, struct edac *ret_edac);
void edac_done(struct edac *edac);

/*
 * The slot whose counts these are: an index into smbios->slots, or -1 where that is not certain. The label must be the
 * locator of one populated slot alone, or its bank and locator.
 */
int64_t edac_dimm_slot(const struct edac_dimm *dimm, const struct smbios *smbios);

#endif
