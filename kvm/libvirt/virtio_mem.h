/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic of virtio-mem sizes: which totals a guest can have, and how one is spread over its
 * devices. Pure. Asking is done with connection_submit(); a kick is the same requested size asked
 * for again, which makes the guest's driver try at once where its own timer waits 50 to 300 s
 * (drivers/virtio/virtio_mem.c, VIRTIO_MEM_RETRY_TIMER_MIN_MS). Newer drivers abort a running pass
 * on it: kick only when flat.
 */
#ifndef BALLAST_KVM_LIBVIRT_VIRTIO_MEM_H
#define BALLAST_KVM_LIBVIRT_VIRTIO_MEM_H

#include <stddef.h>
#include <stdint.h>
#include "name_table.h"

struct domain_xml;

/* As many as domain_xml_parse() accepts. Callers pass no more. */
#define VIRTIO_MEM_MAX_DEVICES 256

struct virtio_mem_device {
	uint64_t size_bytes;  /* the most it can give; a multiple of block_bytes */
	uint64_t block_bytes; /* a power of two */
	uint64_t requested_bytes;
	uint64_t current_bytes;
};

enum virtio_mem_outcome {
	VIRTIO_MEM_FITS,
	VIRTIO_MEM_NOT_MULTIPLE,  /* not reachable in whole blocks */
	VIRTIO_MEM_ABOVE_MAXIMUM, /* base and every device full is less */
	VIRTIO_MEM_BELOW_BASE,	  /* less than the memory that no device gave */
	VIRTIO_MEM_NO_DEVICE,
	VIRTIO_MEM_OUTCOME_COUNT
};
NAME_TABLE_DECLARE(virtio_mem_outcome);

/* Whether one device can be asked for this. */
enum virtio_mem_outcome virtio_mem_check(const struct virtio_mem_device *device,
					 uint64_t requested_bytes);

/*
 * Spreads target_bytes, base included, over count devices: requested_bytes[i] is what to ask of
 * device i, written only with VIRTIO_MEM_FITS. Growing only adds and shrinking only takes, in
 * proportion to the room or the request of each device, so that no memory is taken from one guest
 * node to plug on another.
 */
enum virtio_mem_outcome virtio_mem_spread(const struct virtio_mem_device *devices, size_t count,
					  uint64_t base_bytes, uint64_t target_bytes,
					  uint64_t *requested_bytes);

/*
 * The nearest totals at and below, at and above target_bytes that whole blocks of the smallest kind
 * give, within base and maximum: what to suggest where the outcome was a refusal. Without devices
 * both are the base.
 */
void virtio_mem_suggest(const struct virtio_mem_device *devices, size_t count, uint64_t base_bytes,
			uint64_t target_bytes, uint64_t *ret_below_bytes,
			uint64_t *ret_above_bytes);

uint64_t virtio_mem_maximum(const struct virtio_mem_device *devices, size_t count);
uint64_t virtio_mem_requested(const struct virtio_mem_device *devices, size_t count);
uint64_t virtio_mem_current(const struct virtio_mem_device *devices, size_t count);

/*
 * The virtio-mem devices of a domain in document order, at most capacity of them; index[i], where
 * index is not NULL, is the device's position in domain->devices. Returns how many there are.
 */
size_t virtio_mem_collect(const struct domain_xml *domain, struct virtio_mem_device *devices,
			  size_t *index, size_t capacity);

#endif
