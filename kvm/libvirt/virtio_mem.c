/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio_mem.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include "domain_xml.h"

_Static_assert(VIRTIO_MEM_MAX_DEVICES == DOMAIN_XML_MAX_DEVICES, "a domain's devices must fit");

static const char *const outcome_names[VIRTIO_MEM_OUTCOME_COUNT] = {
	[VIRTIO_MEM_FITS] = "fits",
	[VIRTIO_MEM_NOT_MULTIPLE] = "not_multiple",
	[VIRTIO_MEM_ABOVE_MAXIMUM] = "above_maximum",
	[VIRTIO_MEM_BELOW_BASE] = "below_base",
	[VIRTIO_MEM_NO_DEVICE] = "no_device",
};
NAME_TABLE_DEFINE(virtio_mem_outcome, outcome_names)

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

uint64_t virtio_mem_maximum(const struct virtio_mem_device *devices, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum = add_saturated(sum, devices[i].size_bytes);
	return sum;
}

uint64_t virtio_mem_requested(const struct virtio_mem_device *devices, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum = add_saturated(sum, devices[i].requested_bytes);
	return sum;
}

uint64_t virtio_mem_current(const struct virtio_mem_device *devices, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum = add_saturated(sum, devices[i].current_bytes);
	return sum;
}

enum virtio_mem_outcome virtio_mem_check(const struct virtio_mem_device *device,
					 uint64_t requested_bytes)
{
	if (requested_bytes > device->size_bytes)
		return VIRTIO_MEM_ABOVE_MAXIMUM;
	if (requested_bytes % device->block_bytes)
		return VIRTIO_MEM_NOT_MULTIPLE;
	return VIRTIO_MEM_FITS;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * Hands out what is left in whole blocks, the largest blocks first. Blocks are powers of two, so
 * whatever the large ones take cannot make the rest harder for the small ones. Returns what could
 * not be handed out.
 */
static uint64_t hand_out(const struct virtio_mem_device *devices, const uint64_t *room,
			 size_t count, uint64_t left, uint64_t *amount)
{
	uint64_t below = UINT64_MAX;

	while (left) {
		uint64_t block = 0;

		for (size_t i = 0; i < count; i++)
			if (devices[i].block_bytes < below && devices[i].block_bytes > block)
				block = devices[i].block_bytes;
		if (!block)
			break;
		for (size_t i = 0; i < count; i++) {
			uint64_t more;

			if (devices[i].block_bytes != block)
				continue;
			more = smaller(left, room[i] - amount[i]);
			more -= more % block;
			amount[i] += more;
			left -= more;
		}
		below = block;
	}
	return left;
}

/* Shares delta in proportion to the room of each; false where whole blocks do not add up to it. */
static bool share(const struct virtio_mem_device *devices, const uint64_t *room, size_t count,
		  uint64_t delta, uint64_t *amount)
{
	uint64_t total = 0, left = delta;

	for (size_t i = 0; i < count; i++)
		total = add_saturated(total, room[i]);
	memset(amount, 0, count * sizeof(*amount));
	if (!total)
		return delta == 0;
	for (size_t i = 0; i < count; i++) {
		/* Rounding of the quotient does not matter: the rest is handed out exactly. */
		double part = (double)delta * ((double)room[i] / (double)total);

		amount[i] = smaller(smaller((uint64_t)part, room[i]), left);
		amount[i] -= amount[i] % devices[i].block_bytes;
		left -= amount[i];
	}
	if (hand_out(devices, room, count, left, amount) == 0)
		return true;
	/* The shares took the room of small blocks that this sum needs. */
	memset(amount, 0, count * sizeof(*amount));
	return hand_out(devices, room, count, delta, amount) == 0;
}

enum virtio_mem_outcome virtio_mem_spread(const struct virtio_mem_device *devices, size_t count,
					  uint64_t base_bytes, uint64_t target_bytes,
					  uint64_t *requested_bytes)
{
	uint64_t room[VIRTIO_MEM_MAX_DEVICES], amount[VIRTIO_MEM_MAX_DEVICES];
	uint64_t requested = virtio_mem_requested(devices, count), wanted;

	assert(count <= VIRTIO_MEM_MAX_DEVICES);
	if (target_bytes < base_bytes)
		return VIRTIO_MEM_BELOW_BASE;
	if (count == 0)
		return target_bytes == base_bytes ? VIRTIO_MEM_FITS : VIRTIO_MEM_NO_DEVICE;
	wanted = target_bytes - base_bytes;
	if (wanted > virtio_mem_maximum(devices, count))
		return VIRTIO_MEM_ABOVE_MAXIMUM;
	bool grows = wanted > requested;

	for (size_t i = 0; i < count; i++)
		room[i] = grows ? devices[i].size_bytes - devices[i].requested_bytes
				: devices[i].requested_bytes;
	if (!share(devices, room, count, grows ? wanted - requested : requested - wanted, amount))
		return VIRTIO_MEM_NOT_MULTIPLE;
	for (size_t i = 0; i < count; i++)
		requested_bytes[i] = grows ? devices[i].requested_bytes + amount[i]
					   : devices[i].requested_bytes - amount[i];
	return VIRTIO_MEM_FITS;
}

void virtio_mem_suggest(const struct virtio_mem_device *devices, size_t count, uint64_t base_bytes,
			uint64_t target_bytes, uint64_t *ret_below_bytes, uint64_t *ret_above_bytes)
{
	uint64_t maximum = virtio_mem_maximum(devices, count), block = UINT64_MAX, wanted;

	for (size_t i = 0; i < count; i++)
		block = smaller(block, devices[i].block_bytes);
	wanted = target_bytes > base_bytes ? smaller(target_bytes - base_bytes, maximum) : 0;
	*ret_below_bytes = *ret_above_bytes = base_bytes;
	if (count == 0)
		return;
	*ret_below_bytes = base_bytes + (wanted - wanted % block);
	*ret_above_bytes =
		base_bytes +
		smaller(wanted % block ? wanted - wanted % block + block : wanted, maximum);
}

size_t virtio_mem_collect(const struct domain_xml *domain, struct virtio_mem_device *devices,
			  size_t *index, size_t capacity)
{
	size_t found = 0;

	for (size_t i = 0; i < domain->device_count; i++) {
		const struct domain_xml_device *device = &domain->devices[i];

		if (device->model != DOMAIN_XML_MODEL_VIRTIO_MEM)
			continue;
		if (found < capacity) {
			devices[found] = (struct virtio_mem_device){
				.size_bytes = device->size_bytes,
				.block_bytes = device->block_bytes,
				.requested_bytes = device->requested_bytes,
				.current_bytes = device->current_bytes,
			};
			if (index)
				index[found] = i;
		}
		found++;
	}
	return found;
}
