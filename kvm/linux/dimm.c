/* SPDX-License-Identifier: Apache-2.0 */
#include "dimm.h"

#include <string.h>
#include "cleanup.h"
#include "failure.h"
#include "memory_block.h"
#include "sysroot.h"

#define ACPI_DIRECTORY "/sys/bus/acpi/devices"
/* ACPI 6.x, 6.3.7 _STA: bit 0 is "present", bit 1 "enabled", which nothing is that is not present. */
#define STATUS_ENABLED 2

static const char *const state_names[DIMM_STATE_COUNT] = {
	[DIMM_STATE_ABSENT] = "absent",
	[DIMM_STATE_OFFLINE] = "offline",
	[DIMM_STATE_PARTLY] = "partly",
	[DIMM_STATE_ONLINE] = "online",
};
NAME_TABLE_DEFINE(dimm_state, state_names)

static const char *const eject_names[DIMM_EJECT_COUNT] = {
	[DIMM_EJECT_REQUESTED] = "requested",
	[DIMM_EJECT_NOT_OFFLINE] = "not_offline",
	[DIMM_EJECT_NOT_EJECTABLE] = "not_ejectable",
	[DIMM_EJECT_DETACHED] = "detached",
	[DIMM_EJECT_ABSENT] = "absent",
};
NAME_TABLE_DEFINE(dimm_eject_result, eject_names)

static void dimm_done(struct dimm *dimm)
{
	free(dimm->blocks);
	free(dimm->ranges);
	*dimm = (struct dimm){0};
}

void dimm_list_done(struct dimm_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		dimm_done(&list->dimms[i]);
	free(list->dimms);
	*list = (struct dimm_list){0};
}

static int compare_ids(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

/*
 * The memory blocks behind a device: its links physical_node, physical_node1, ... as
 * drivers/acpi/glue.c acpi_bind_one() makes them.
 */
static int read_block_ids(const struct sysroot *sysroot, const char *device, uint64_t **ret_blocks,
			  size_t *ret_count)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	CLEANUP_FREE uint64_t *blocks = NULL;
	size_t count = 0;
	int error = sysroot_list(sysroot, &names, ACPI_DIRECTORY "/%s", device);

	if (error < 0)
		return error;
	blocks = calloc(names.count + 1, sizeof(*blocks));
	if (!blocks)
		return -ENOMEM;
	for (size_t i = 0; i < names.count; i++) {
		char target[256];
		const char *last;
		int64_t id;

		if (strncmp(names.names[i], "physical_node", 13) != 0)
			continue;
		error = sysroot_read_link(sysroot, target, sizeof(target), ACPI_DIRECTORY "/%s/%s",
					  device, names.names[i]);
		if (error == -ENOENT) /* the block went in between */
			continue;
		if (error < 0)
			return error;
		last = strrchr(target, '/');
		id = sysroot_name_number(last ? last + 1 : target, "memory", NULL);
		if (id >= 0)
			blocks[count++] = (uint64_t)id;
	}
	qsort(blocks, count, sizeof(*blocks), compare_ids);
	*ret_blocks = TAKE_PTR(blocks);
	*ret_count = count;
	return 0;
}

static int read_enabled(const struct sysroot *sysroot, const char *device, bool *ret_enabled)
{
	uint64_t status;
	int error = sysroot_read_number(sysroot, 10, &status, ACPI_DIRECTORY "/%s/status", device);

	if (error == -ENOENT || error == -ENODEV) {
		*ret_enabled = false;
		return 0;
	}
	if (error < 0)
		return error;
	*ret_enabled = status & STATUS_ENABLED;
	return 0;
}

/* State, node, size and ranges from the blocks. */
static int add_blocks(struct dimm *dimm, const struct memory_block_list *blocks)
{
	size_t online = 0, seen = 0;

	dimm->node_id = -1;
	dimm->ranges = calloc(dimm->block_count + 1, sizeof(*dimm->ranges));
	if (!dimm->ranges)
		return -ENOMEM;
	for (size_t i = 0; i < dimm->block_count; i++) {
		const struct memory_block *block = memory_block_list_find(blocks, dimm->blocks[i]);
		struct physical_range *last =
			dimm->range_count ? &dimm->ranges[dimm->range_count - 1] : NULL;

		if (!block)
			continue;
		dimm->size_bytes += block->size_bytes;
		online += block->state != MEMORY_BLOCK_STATE_OFFLINE;
		if (last && last->end == block->start)
			last->end += block->size_bytes;
		else
			dimm->ranges[dimm->range_count++] = (struct physical_range){
				.start = block->start, .end = block->start + block->size_bytes};
		if (seen++ == 0)
			dimm->node_id = block->node_id;
		else if (dimm->node_id != block->node_id)
			dimm->node_id = -1;
	}
	if (!dimm->is_enabled)
		dimm->state = DIMM_STATE_ABSENT;
	else if (online == 0)
		dimm->state = DIMM_STATE_OFFLINE;
	else
		dimm->state = online == seen ? DIMM_STATE_ONLINE : DIMM_STATE_PARTLY;
	return 0;
}

static int read_dimm(const struct sysroot *sysroot, const char *device,
		     const struct memory_block_list *blocks, struct dimm *ret_dimm)
{
	struct dimm dimm = {.node_id = -1};
	int error;

	if (strlen(device) >= sizeof(dimm.device))
		return -ENAMETOOLONG;
	strcpy(dimm.device, device);
	if (sysroot_read_text(sysroot, dimm.path, sizeof(dimm.path), ACPI_DIRECTORY "/%s/path",
			      device) < 0)
		dimm.path[0] = '\0';
	if (sysroot_read_text(sysroot, dimm.uid, sizeof(dimm.uid), ACPI_DIRECTORY "/%s/uid",
			      device) < 0)
		dimm.uid[0] = '\0';
	dimm.can_eject = sysroot_exists(sysroot, ACPI_DIRECTORY "/%s/eject", device);
	error = read_enabled(sysroot, device, &dimm.is_enabled);
	if (error == 0)
		error = read_block_ids(sysroot, device, &dimm.blocks, &dimm.block_count);
	if (error == 0)
		error = add_blocks(&dimm, blocks);
	if (error < 0) {
		dimm_done(&dimm);
		return error;
	}
	*ret_dimm = dimm;
	return 0;
}

/* The last element of an ACPI path, whose parts are divided by points. */
static const char *last_element(const char *path)
{
	const char *point = strrchr(path, '.');

	return point ? point + 1 : path;
}

static void name_dimm(struct dimm_list *list, struct dimm *dimm)
{
	const char *path = dimm->path, *last = last_element(path);
	bool is_shared = false;

	while (*path == '\\')
		path++;
	while (*last == '\\')
		last++;
	for (size_t i = 0; i < list->count; i++)
		if (&list->dimms[i] != dimm && strcmp(last_element(list->dimms[i].path), last) == 0)
			is_shared = true;
	if (*path == '\0') /* the kernel's number is the best there is */
		snprintf(dimm->id, sizeof(dimm->id), "acpi-%s", dimm->device);
	else
		snprintf(dimm->id, sizeof(dimm->id), "acpi-%.58s", is_shared ? path : last);
}

int dimm_list_read(const struct sysroot *sysroot, const struct memory_block_list *blocks,
		   struct dimm_list *ret_list)
{
	CLEANUP(dimm_list_done) struct dimm_list list = {0};
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	int error = sysroot_list(sysroot, &names, ACPI_DIRECTORY);

	if (error < 0 && error != -ENOENT)
		return error;
	list.dimms = calloc(names.count + 1, sizeof(*list.dimms));
	if (!list.dimms)
		return -ENOMEM;
	for (size_t i = 0; i < names.count; i++) {
		if (strncmp(names.names[i], "PNP0C80:", 8) != 0)
			continue;
		error = read_dimm(sysroot, names.names[i], blocks, &list.dimms[list.count]);
		if (error == -ENOENT || error == -ENODEV) /* the device went in between */
			continue;
		if (error < 0)
			return error;
		list.count++;
	}
	for (size_t i = 0; i < list.count; i++)
		name_dimm(&list, &list.dimms[i]);
	*ret_list = list;
	list = (struct dimm_list){0};
	return 0;
}

const struct dimm *dimm_list_find(const struct dimm_list *list, const char *id)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->dimms[i].id, id) == 0)
			return &list->dimms[i];
	return NULL;
}

int dimm_is_enabled(const struct sysroot *sysroot, const struct dimm *dimm, bool *ret_enabled)
{
	return read_enabled(sysroot, dimm->device, ret_enabled);
}

/* The first block that is not offline; -1: all are. */
static int find_online_block(const struct sysroot *sysroot, const struct dimm *dimm, int64_t *ret_id,
			     enum memory_block_state *ret_state, size_t *ret_count)
{
	CLEANUP_FREE uint64_t *blocks = NULL;
	size_t count;
	int error = read_block_ids(sysroot, dimm->device, &blocks, &count);

	if (error < 0)
		return error;
	*ret_id = -1;
	for (size_t i = 0; i < count && *ret_id < 0; i++) {
		error = memory_block_read_state(sysroot, blocks[i], ret_state);
		if (error == -ENOENT || error == -ENODEV)
			continue;
		if (error < 0)
			return error;
		if (*ret_state != MEMORY_BLOCK_STATE_OFFLINE)
			*ret_id = (int64_t)blocks[i];
	}
	*ret_count = count;
	return 0;
}

int dimm_eject(const struct sysroot *sysroot, const struct dimm *dimm,
	       enum dimm_eject_result *ret_result, struct failure *failure)
{
	enum memory_block_state state = MEMORY_BLOCK_STATE_ONLINE;
	int64_t online_block = -1;
	size_t count = 0;
	char object[FAILURE_OBJECT_SIZE];
	bool is_enabled;
	int error = read_enabled(sysroot, dimm->device, &is_enabled);

	snprintf(object, sizeof(object), "dimm %s", dimm->id);
	if (error < 0)
		return failure_set(failure, error, object, "cannot read whether it is enabled");
	if (!is_enabled) {
		*ret_result = DIMM_EJECT_ABSENT;
		return 0;
	}
	if (!sysroot_exists(sysroot, ACPI_DIRECTORY "/%s/eject", dimm->device)) {
		*ret_result = DIMM_EJECT_NOT_EJECTABLE;
		return 0;
	}
	error = find_online_block(sysroot, dimm, &online_block, &state, &count);
	if (error < 0)
		return failure_set(failure, error, object, "cannot read the state of its blocks");
	if (online_block >= 0) {
		failure_set(failure, EBUSY, object, "cannot eject");
		failure_set_cause(failure, "block %lld is %s", (long long)online_block,
				  memory_block_state_name(state));
		failure_set_way_out(failure, "take the block offline first");
		*ret_result = DIMM_EJECT_NOT_OFFLINE;
		return 0;
	}
	error = sysroot_write_text(sysroot, "1", ACPI_DIRECTORY "/%s/eject", dimm->device);
	/* drivers/acpi/device_sysfs.c eject_store: no eject method after all, or no handler since acpi_bus_trim */
	if (error == -ENODEV) {
		*ret_result = count ? DIMM_EJECT_NOT_EJECTABLE : DIMM_EJECT_DETACHED;
		return 0;
	}
	if (error < 0)
		return failure_set(failure, error, object, "cannot eject");
	*ret_result = DIMM_EJECT_REQUESTED;
	return 0;
}
