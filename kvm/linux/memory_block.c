/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_block.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "cleanup.h"
#include "sysroot.h"

#define MEMORY_DIRECTORY "/sys/devices/system/memory"

static const char *const state_names[MEMORY_BLOCK_STATE_COUNT] = {
	[MEMORY_BLOCK_STATE_ONLINE] = "online",
	[MEMORY_BLOCK_STATE_GOING_OFFLINE] = "going-offline",
	[MEMORY_BLOCK_STATE_OFFLINE] = "offline",
};
NAME_TABLE_DEFINE(memory_block_state, state_names)

static const char *const removable_names[MEMORY_BLOCK_REMOVABLE_COUNT] = {
	[MEMORY_BLOCK_REMOVABLE_NO] = "no",
	[MEMORY_BLOCK_REMOVABLE_MAYBE] = "maybe",
	[MEMORY_BLOCK_REMOVABLE_YES] = "yes",
};
NAME_TABLE_DEFINE(memory_block_removable, removable_names)

static const char *const offline_names[MEMORY_BLOCK_OFFLINE_COUNT] = {
	[MEMORY_BLOCK_OFFLINE_OFFLINED] = "offlined",
	[MEMORY_BLOCK_OFFLINE_ALREADY] = "already_offline",
	[MEMORY_BLOCK_OFFLINE_BUSY] = "busy",
	[MEMORY_BLOCK_OFFLINE_NOT_REMOVABLE] = "not_removable",
	[MEMORY_BLOCK_OFFLINE_GONE] = "gone",
	[MEMORY_BLOCK_OFFLINE_INTERRUPTED] = "interrupted",
};
NAME_TABLE_DEFINE(memory_block_offline_result, offline_names)

static const char *const online_names[MEMORY_BLOCK_ONLINE_COUNT] = {
	[MEMORY_BLOCK_ONLINE_ONLINED] = "onlined",
	[MEMORY_BLOCK_ONLINE_ALREADY] = "already_online",
	[MEMORY_BLOCK_ONLINE_WRONG_ZONE] = "wrong_zone",
	[MEMORY_BLOCK_ONLINE_REFUSED] = "refused",
	[MEMORY_BLOCK_ONLINE_GONE] = "gone",
	[MEMORY_BLOCK_ONLINE_INTERRUPTED] = "interrupted",
};
NAME_TABLE_DEFINE(memory_block_online_result, online_names)

static const char *const auto_online_names[MEMORY_BLOCK_AUTO_ONLINE_COUNT] = {
	[MEMORY_BLOCK_AUTO_ONLINE_OFFLINE] = "offline",
	[MEMORY_BLOCK_AUTO_ONLINE_ONLINE] = "online",
	[MEMORY_BLOCK_AUTO_ONLINE_KERNEL] = "online_kernel",
	[MEMORY_BLOCK_AUTO_ONLINE_MOVABLE] = "online_movable",
};
NAME_TABLE_DEFINE(memory_block_auto_online, auto_online_names)

int memory_block_read_size(const struct sysroot *sysroot, uint64_t *ret_bytes)
{
	uint64_t bytes;
	int error = sysroot_read_number(sysroot, 16, &bytes, MEMORY_DIRECTORY "/block_size_bytes");

	if (error < 0)
		return error;
	if (bytes == 0)
		return -EBADMSG;
	*ret_bytes = bytes;
	return 0;
}

/* A removed block answers ENOENT, or ENODEV where its directory was open when it went. */
static bool is_gone(int error)
{
	return error == -ENOENT || error == -ENODEV;
}

static int parse_state(const char *text, enum memory_block_state *ret_state)
{
	int state = memory_block_state_from_name(text);

	if (state < 0)
		return -EBADMSG;
	*ret_state = (enum memory_block_state)state;
	return 0;
}

int memory_block_read_state(const struct sysroot *sysroot, uint64_t id,
			    enum memory_block_state *ret_state)
{
	char text[32];
	int error = sysroot_read_text(sysroot, text, sizeof(text),
				      MEMORY_DIRECTORY "/memory%llu/state", (unsigned long long)id);

	return error < 0 ? error : parse_state(text, ret_state);
}

/*
 * valid_zones of an online block is its zone, or "none" where it spans several
 * (drivers/base/memory.c valid_zones_show); of an offline one the zones it may go to, the default
 * first.
 */
static void read_zones(struct memory_block *block, char *text)
{
	bool is_first = true;
	char *save = NULL;

	block->zone = MEMORY_ZONE_NONE;
	block->can_be_movable = false;
	for (char *word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		int zone = strcasecmp(word, "none") == 0 ? MEMORY_ZONE_NONE
							 : memory_zone_from_name(word);

		if (zone < 0)
			zone = MEMORY_ZONE_NONE;
		if (is_first)
			block->zone = (enum memory_zone)zone;
		if (zone == MEMORY_ZONE_MOVABLE)
			block->can_be_movable = true;
		is_first = false;
	}
}

static enum memory_block_removable judge(const struct memory_block *block)
{
	if (block->state == MEMORY_BLOCK_STATE_OFFLINE)
		return MEMORY_BLOCK_REMOVABLE_YES;
	switch (block->zone) {
	case MEMORY_ZONE_MOVABLE:
		return MEMORY_BLOCK_REMOVABLE_YES;
	case MEMORY_ZONE_DMA:
	case MEMORY_ZONE_DMA32:
	case MEMORY_ZONE_NORMAL:
		return MEMORY_BLOCK_REMOVABLE_MAYBE;
	case MEMORY_ZONE_NONE:
	case MEMORY_ZONE_DEVICE:
	case MEMORY_ZONE_COUNT:
		break;
	}
	return MEMORY_BLOCK_REMOVABLE_NO;
}

/* The node links of a block: nodeN, one for each node that has pages there. */
static int read_nodes(const struct sysroot *sysroot, struct memory_block *block)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	int error = sysroot_list(sysroot, &names, MEMORY_DIRECTORY "/memory%llu",
				 (unsigned long long)block->id);

	if (error < 0)
		return error;
	block->node_id = -1;
	block->node_count = 0;
	for (size_t i = 0; i < names.count; i++) {
		int64_t node_id = sysroot_name_number(names.names[i], "node", NULL);

		if (node_id < 0 || node_id >= NODE_SET_MAX)
			continue;
		if (block->node_id < 0 || node_id < block->node_id)
			block->node_id = (int)node_id;
		block->node_count++;
	}
	return 0;
}

/*
 * A block shows in sysfs before it has its node. Until then its zones must not be asked for: Linux 6.1 looks them up by
 * the node, which is -1 (drivers/base/memory.c valid_zones_show, mm/memory_hotplug.c zone_for_pfn_range), without the
 * lock that would keep it away from there. Who asks dies of an oops, and whatever plugs memory never gets on again. The
 * node is set just before its link is made (drivers/base/node.c do_register_memory_block_under_node); a kernel without
 * NUMA makes no links, and takes no -1 amiss.
 */
static bool may_ask_zones(const struct sysroot *sysroot, const struct memory_block *block)
{
	return block->node_id >= 0 || !sysroot_exists(sysroot, "/sys/devices/system/node");
}

/* 0 or -errno; text is empty then. */
static int read_opened(int fd, char *text, size_t size)
{
	ssize_t length = read(fd, text, size - 1);

	text[length > 0 ? length : 0] = '\0';
	return length < 0 ? -errno : 0;
}

static int read_block(const struct sysroot *sysroot, uint64_t id, uint64_t block_bytes,
		      struct memory_block *ret_block)
{
	struct memory_block block = {
		.id = id, .start = id * block_bytes, .size_bytes = block_bytes};
	char zones[128] = "";
	/* Before its node is looked at: one that is plugged in its place is another file. */
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_RDONLY | O_CLOEXEC, MEMORY_DIRECTORY "/memory%llu/valid_zones",
					    (unsigned long long)id);
	int zones_error = fd < 0 ? fd : 0, error = memory_block_read_state(sysroot, id, &block.state);

	if (error == 0)
		error = read_nodes(sysroot, &block);
	if (error < 0)
		return error;
	if (fd >= 0)
		zones_error = may_ask_zones(sysroot, &block) ? read_opened(fd, zones, sizeof(zones)) : -ENOENT;
	/* Absent in a kernel that cannot remove memory: then no block has a zone, and none may go. */
	if (zones_error < 0 && !is_gone(zones_error))
		return zones_error;
	read_zones(&block, zones);
	block.removable = zones_error < 0 ? MEMORY_BLOCK_REMOVABLE_NO : judge(&block);
	*ret_block = block;
	return 0;
}

int memory_block_read(const struct sysroot *sysroot, uint64_t id, struct memory_block *ret_block)
{
	uint64_t block_bytes;
	int error = memory_block_read_size(sysroot, &block_bytes);

	if (error == 0)
		error = read_block(sysroot, id, block_bytes, ret_block);
	return error == -ENODEV ? -ENOENT : error;
}

int memory_block_list_read(const struct sysroot *sysroot, struct memory_block_list *ret_list)
{
	CLEANUP(memory_block_list_done) struct memory_block_list list = {0};
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	int error = memory_block_read_size(sysroot, &list.block_bytes);

	if (error == 0)
		error = sysroot_list(sysroot, &names, MEMORY_DIRECTORY);
	if (error < 0)
		return error;
	list.blocks = calloc(names.count + 1, sizeof(*list.blocks));
	if (!list.blocks)
		return -ENOMEM;
	for (size_t i = 0; i < names.count; i++) {
		int64_t id = sysroot_name_number(names.names[i], "memory", NULL);

		if (id < 0)
			continue;
		error = read_block(sysroot, (uint64_t)id, list.block_bytes,
				   &list.blocks[list.count]);
		if (is_gone(error))
			continue;
		if (error < 0)
			return error;
		list.count++;
	}
	*ret_list = list;
	list = (struct memory_block_list){0};
	return 0;
}

void memory_block_list_done(struct memory_block_list *list)
{
	free(list->blocks);
	*list = (struct memory_block_list){0};
}

const struct memory_block *memory_block_list_find(const struct memory_block_list *list, uint64_t id)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->blocks[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < list->count && list->blocks[low].id == id ? &list->blocks[low] : NULL;
}

static int write_state(const struct sysroot *sysroot, uint64_t id, const char *text)
{
	return sysroot_write_text(sysroot, text, MEMORY_DIRECTORY "/memory%llu/state",
				  (unsigned long long)id);
}

int memory_block_offline(const struct sysroot *sysroot, uint64_t id,
			 enum memory_block_offline_result *ret_result)
{
	enum memory_block_state state;
	int error = memory_block_read_state(sysroot, id, &state), write_error;

	if (is_gone(error)) {
		*ret_result = MEMORY_BLOCK_OFFLINE_GONE;
		return 0;
	}
	if (error < 0)
		return error;
	if (state == MEMORY_BLOCK_STATE_OFFLINE) {
		*ret_result = MEMORY_BLOCK_OFFLINE_ALREADY;
		return 0;
	}
	write_error = write_state(sysroot, id, "offline");
	error = memory_block_read_state(sysroot, id, &state);
	if (is_gone(error)) {
		*ret_result = MEMORY_BLOCK_OFFLINE_GONE;
		return 0;
	}
	if (error < 0)
		return error;
	if (state == MEMORY_BLOCK_STATE_OFFLINE) {
		*ret_result = MEMORY_BLOCK_OFFLINE_OFFLINED;
		return 0;
	}
	switch (-write_error) {
	case EBUSY:
	case EAGAIN:
		*ret_result = MEMORY_BLOCK_OFFLINE_BUSY;
		return 0;
	case EINVAL:
		*ret_result = MEMORY_BLOCK_OFFLINE_NOT_REMOVABLE;
		return 0;
	case EINTR:
		*ret_result = MEMORY_BLOCK_OFFLINE_INTERRUPTED;
		return 0;
	case 0: /* taken, and yet not offline: somebody else onlined it in between */
		*ret_result = MEMORY_BLOCK_OFFLINE_BUSY;
		return 0;
	}
	return write_error;
}

static const char *online_word(enum memory_zone zone)
{
	switch (zone) {
	case MEMORY_ZONE_MOVABLE:
		return "online_movable";
	case MEMORY_ZONE_DMA:
	case MEMORY_ZONE_DMA32:
	case MEMORY_ZONE_NORMAL:
		return "online_kernel";
	case MEMORY_ZONE_NONE:
	case MEMORY_ZONE_DEVICE:
	case MEMORY_ZONE_COUNT:
		break;
	}
	return "online";
}

/* online_kernel lands in whichever kernel zone holds that address. */
static bool is_wanted_zone(enum memory_zone reached, enum memory_zone wanted)
{
	return wanted == MEMORY_ZONE_NONE ||
	       (reached == MEMORY_ZONE_MOVABLE) == (wanted == MEMORY_ZONE_MOVABLE);
}

int memory_block_online(const struct sysroot *sysroot, uint64_t id, enum memory_zone zone,
			enum memory_block_online_result *ret_result)
{
	struct memory_block block;
	int error = memory_block_read(sysroot, id, &block), write_error;

	if (error == -ENOENT) {
		*ret_result = MEMORY_BLOCK_ONLINE_GONE;
		return 0;
	}
	if (error < 0)
		return error;
	if (block.state == MEMORY_BLOCK_STATE_ONLINE) {
		*ret_result = is_wanted_zone(block.zone, zone) ? MEMORY_BLOCK_ONLINE_ALREADY
							       : MEMORY_BLOCK_ONLINE_WRONG_ZONE;
		return 0;
	}
	write_error = write_state(sysroot, id, online_word(zone));
	error = memory_block_read(sysroot, id, &block);
	if (error == -ENOENT) {
		*ret_result = MEMORY_BLOCK_ONLINE_GONE;
		return 0;
	}
	if (error < 0)
		return error;
	if (block.state == MEMORY_BLOCK_STATE_ONLINE) {
		*ret_result = is_wanted_zone(block.zone, zone) ? MEMORY_BLOCK_ONLINE_ONLINED
							       : MEMORY_BLOCK_ONLINE_WRONG_ZONE;
		return 0;
	}
	switch (-write_error) {
	case EINTR:
		*ret_result = MEMORY_BLOCK_ONLINE_INTERRUPTED;
		return 0;
	case 0:
	case EINVAL:
	case EBUSY:
	case EAGAIN:
	case EPERM: /* a notifier's veto */
		*ret_result = MEMORY_BLOCK_ONLINE_REFUSED;
		return 0;
	}
	return write_error;
}

int memory_block_read_auto_online(const struct sysroot *sysroot,
				  enum memory_block_auto_online *ret_policy)
{
	char text[32];
	int policy, error = sysroot_read_text(sysroot, text, sizeof(text),
					      MEMORY_DIRECTORY "/auto_online_blocks");

	if (error < 0)
		return error;
	policy = memory_block_auto_online_from_name(text);
	if (policy < 0)
		return -EBADMSG;
	*ret_policy = (enum memory_block_auto_online)policy;
	return 0;
}

int memory_block_set_auto_online(const struct sysroot *sysroot,
				 enum memory_block_auto_online policy)
{
	enum memory_block_auto_online reached;
	int error = sysroot_write_text(sysroot, memory_block_auto_online_name(policy),
				       MEMORY_DIRECTORY "/auto_online_blocks");

	if (error == 0)
		error = memory_block_read_auto_online(sysroot, &reached);
	if (error < 0)
		return error;
	return reached == policy ? 0 : -EIO;
}
