/* SPDX-License-Identifier: Apache-2.0 */
#include "edac.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cleanup.h"
#include "smbios.h"
#include "sysroot.h"

#define DIRECTORY "/sys/devices/system/edac/mc"

/* Drivers take as many DIMMs as a socket has channels and slots; rows count twice as many again. */
#define DIMMS_MAX 4096

static int add_dimm(struct edac *edac, const struct edac_dimm *dimm)
{
	struct edac_dimm *larger;

	if (edac->dimm_count >= DIMMS_MAX)
		return -E2BIG;
	larger = reallocarray(edac->dimms, edac->dimm_count + 1, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	edac->dimms = larger;
	edac->dimms[edac->dimm_count++] = *dimm;
	return 0;
}

static bool is_gone(int error)
{
	return error == -ENOENT || error == -ENODEV;
}

/* A label that cannot be read names nobody. */
static void take_label(int error, char *label)
{
	if (error < 0)
		label[0] = '\0';
}

/* dimm0 or rank0. -ENOENT: gone, or of a kernel that does not count here. */
static int read_dimm(const struct sysroot *sysroot, struct edac *edac, int64_t number, const char *name)
{
	struct edac_dimm dimm = {.controller = edac->controller_count, .uncorrected_told = true};
	int r = sysroot_read_number(sysroot, 10, &dimm.corrected, DIRECTORY "/mc%lld/%s/dimm_ce_count", (long long)number,
				    name);

	if (r == 0)
		r = sysroot_read_number(sysroot, 10, &dimm.uncorrected, DIRECTORY "/mc%lld/%s/dimm_ue_count",
					(long long)number, name);
	if (r < 0)
		return r;
	take_label(sysroot_read_text(sysroot, dimm.label, sizeof(dimm.label), DIRECTORY "/mc%lld/%s/dimm_label",
				     (long long)number, name),
		   dimm.label);
	return add_dimm(edac, &dimm);
}

/* Of the channels of a row: uncorrected errors are the row's, and a channel's only where there are none or it has no other. */
static void share_uncorrected(struct edac *edac, size_t first, uint64_t uncorrected)
{
	bool is_one = true;

	for (size_t i = first; i < edac->dimm_count; i++)
		is_one &= i == first || (edac->dimms[i].label[0] &&
					 strcmp(edac->dimms[i].label, edac->dimms[first].label) == 0);
	for (size_t i = first; i < edac->dimm_count; i++) {
		edac->dimms[i].uncorrected_told = uncorrected == 0 || is_one;
		edac->dimms[i].uncorrected = is_one && i == first ? uncorrected : 0;
	}
}

static int read_row(const struct sysroot *sysroot, struct edac *edac, int64_t number, const char *name)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	size_t first = edac->dimm_count;
	uint64_t uncorrected;
	int r = sysroot_read_number(sysroot, 10, &uncorrected, DIRECTORY "/mc%lld/%s/ue_count", (long long)number, name);

	if (r == 0)
		r = sysroot_list(sysroot, &names, DIRECTORY "/mc%lld/%s", (long long)number, name);
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		struct edac_dimm dimm = {.controller = edac->controller_count};
		int64_t channel = sysroot_name_number(names.names[i], "ch", "_ce_count");

		if (channel < 0)
			continue;
		r = sysroot_read_number(sysroot, 10, &dimm.corrected, DIRECTORY "/mc%lld/%s/%s", (long long)number, name,
					names.names[i]);
		if (r < 0)
			break;
		take_label(sysroot_read_text(sysroot, dimm.label, sizeof(dimm.label),
					     DIRECTORY "/mc%lld/%s/ch%lld_dimm_label", (long long)number, name,
					     (long long)channel),
			   dimm.label);
		r = add_dimm(edac, &dimm);
	}
	if (r < 0)
		edac->dimm_count = first;
	else
		share_uncorrected(edac, first, uncorrected);
	return r;
}

static int read_dimms(const struct sysroot *sysroot, struct edac *edac, int64_t number, const struct sysroot_names *names)
{
	size_t first = edac->dimm_count;
	bool has_dimms;
	int r;

	for (size_t i = 0; i < names->count; i++) {
		const char *name = names->names[i];

		if (sysroot_name_number(name, "dimm", NULL) < 0 && sysroot_name_number(name, "rank", NULL) < 0)
			continue;
		r = read_dimm(sysroot, edac, number, name);
		if (r < 0 && !is_gone(r))
			return r;
	}
	/* Rows show the same errors once more. */
	has_dimms = edac->dimm_count > first;
	for (size_t i = 0; !has_dimms && i < names->count; i++) {
		if (sysroot_name_number(names->names[i], "csrow", NULL) < 0)
			continue;
		r = read_row(sysroot, edac, number, names->names[i]);
		if (r < 0 && !is_gone(r))
			return r;
	}
	return 0;
}

static int read_controller(const struct sysroot *sysroot, struct edac *edac, int64_t number)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	struct edac_controller *controller = &edac->controllers[edac->controller_count];
	int r = sysroot_read_number(sysroot, 10, &controller->corrected, DIRECTORY "/mc%lld/ce_count", (long long)number);

	if (r == 0)
		r = sysroot_read_number(sysroot, 10, &controller->uncorrected, DIRECTORY "/mc%lld/ue_count",
					(long long)number);
	if (r == 0)
		r = sysroot_list(sysroot, &names, DIRECTORY "/mc%lld", (long long)number);
	if (r < 0)
		return r;
	controller->number = number;
	take_label(sysroot_read_text(sysroot, controller->name, sizeof(controller->name), DIRECTORY "/mc%lld/mc_name",
				     (long long)number),
		   controller->name);
	r = read_dimms(sysroot, edac, number, &names);
	if (r == 0)
		edac->controller_count++;
	return r;
}

int edac_read(const struct sysroot *sysroot, struct edac *ret_edac)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	CLEANUP(edac_done) struct edac edac = {0};
	int r = sysroot_list(sysroot, &names, DIRECTORY);

	if (r < 0)
		return r;
	edac.controllers = calloc(names.count + 1, sizeof(*edac.controllers));
	if (!edac.controllers)
		return -ENOMEM;
	for (size_t i = 0; i < names.count; i++) {
		int64_t number = sysroot_name_number(names.names[i], "mc", NULL);

		if (number < 0)
			continue;
		r = read_controller(sysroot, &edac, number);
		if (r < 0 && !is_gone(r))
			return r;
	}
	if (!edac.controller_count)
		return -ENOENT;
	*ret_edac = edac;
	edac = (struct edac){0};
	return 0;
}

void edac_done(struct edac *edac)
{
	free(edac->controllers);
	free(edac->dimms);
	*edac = (struct edac){0};
}

static bool is_label_of(const char *label, const struct smbios_slot *slot)
{
	size_t bank_length = strlen(slot->bank);

	if (!slot->locator[0])
		return false;
	if (strcmp(label, slot->locator) == 0)
		return true;
	return bank_length && strncmp(label, slot->bank, bank_length) == 0 && label[bank_length] == ' ' &&
	       strcmp(label + bank_length + 1, slot->locator) == 0;
}

int64_t edac_dimm_slot(const struct edac_dimm *dimm, const struct smbios *smbios)
{
	int64_t found = -1;

	for (size_t i = 0; i < smbios->slot_count; i++) {
		if (!smbios->slots[i].is_populated || !is_label_of(dimm->label, &smbios->slots[i]))
			continue;
		if (found >= 0)
			return -1;
		found = (int64_t)i;
	}
	return found;
}
