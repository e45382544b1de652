/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include "edac.h"
#include "hmat.h"
#include "kernel_probe_priv.h"
#include "slot_set.h"
#include "smbios.h"
#include "srat.h"
#include "sysroot.h"

static void probe_slots(const struct sysroot *sysroot, struct kernel_probe *probe)
{
	CLEANUP(smbios_done) struct smbios smbios = {0};
	CLEANUP(slot_set_list_done) struct slot_set_list sets = {0};
	size_t populated = 0;
	int r = smbios_read(sysroot, &smbios);

	if (r == 0)
		r = slot_set_list_find(&smbios, &sets);
	if (r == -EBADMSG) {
		kernel_probe_note(probe, KERNEL_FEATURE_FIRMWARE_SLOTS, KERNEL_PROBE_NO, "the SMBIOS table is malformed");
		return;
	}
	if (r < 0) {
		kernel_probe_note(probe, KERNEL_FEATURE_FIRMWARE_SLOTS, KERNEL_PROBE_NO, "SMBIOS: %s", strerror(-r));
		return;
	}
	for (size_t i = 0; i < smbios.slot_count; i++)
		populated += smbios.slots[i].is_populated;
	kernel_probe_note(probe, KERNEL_FEATURE_FIRMWARE_SLOTS, sets.count ? KERNEL_PROBE_YES : KERNEL_PROBE_NO,
			  "%zu of %zu slots populated, in %zu sets; addresses by %s", populated, smbios.slot_count, sets.count,
			  smbios.slot_range_count ? "slot" : smbios.array_range_count ? "array alone" : "nothing");
}

static void probe_errors(const struct sysroot *sysroot, struct kernel_probe *probe)
{
	CLEANUP(edac_done) struct edac edac = {0};
	int r = edac_read(sysroot, &edac);

	if (r < 0)
		kernel_probe_note(probe, KERNEL_FEATURE_ERROR_COUNTS, KERNEL_PROBE_NO, "EDAC: %s", strerror(-r));
	else
		kernel_probe_note(probe, KERNEL_FEATURE_ERROR_COUNTS, KERNEL_PROBE_YES, "%zu controllers, %zu counts below them",
				  edac.controller_count, edac.dimm_count);
}

static void probe_hotplug(const struct sysroot *sysroot, struct kernel_probe *probe)
{
	CLEANUP(srat_done) struct srat srat = {0};
	size_t marked = 0;
	int r = srat_read(sysroot, &srat);

	if (r < 0) {
		kernel_probe_note(probe, KERNEL_FEATURE_HOTPLUG_RANGES, KERNEL_PROBE_NO, "%s",
				  r == -EBADMSG ? "the SRAT is malformed" : strerror(-r));
		return;
	}
	for (size_t i = 0; i < srat.count; i++)
		marked += srat.ranges[i].is_hotpluggable;
	kernel_probe_note(probe, KERNEL_FEATURE_HOTPLUG_RANGES, marked ? KERNEL_PROBE_YES : KERNEL_PROBE_NO,
			  "%zu of %zu ranges of memory are marked hot-pluggable", marked, srat.count);
}

static void probe_latency(const struct sysroot *sysroot, struct kernel_probe *probe)
{
	CLEANUP(hmat_done) struct hmat hmat = {0};
	size_t told = 0;
	int r = hmat_read(sysroot, &hmat);

	if (r < 0) {
		kernel_probe_note(probe, KERNEL_FEATURE_MEMORY_LATENCY, KERNEL_PROBE_NO, "%s",
				  r == -EBADMSG	   ? "the HMAT is malformed"
				  : r == -ENOTSUP ? "the HMAT is not of revision 2"
						   : strerror(-r));
		return;
	}
	for (size_t i = 0; i < hmat.count; i++)
		told += hmat.paths[i].read_latency_ps != 0;
	kernel_probe_note(probe, KERNEL_FEATURE_MEMORY_LATENCY, told ? KERNEL_PROBE_YES : KERNEL_PROBE_NO,
			  "of %zu pairs of processors and memory", told);
}

void kernel_probe_firmware(const struct sysroot *sysroot, struct kernel_probe *probe)
{
	probe_slots(sysroot, probe);
	probe_errors(sysroot, probe);
	probe_hotplug(sysroot, probe);
	probe_latency(sysroot, probe);
}
