/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long processors wait for memory, and how much of it they get: the Heterogeneous Memory Attribute Table.
 *
 * Source: ACPI 6.5, 5.2.28 (HMAT), 5.2.28.3 (memory proximity domain attributes), 5.2.28.4 (system locality latency and
 * bandwidth). Revision 2 alone, in which latencies are in picoseconds; the first had another unit and another first
 * structure. Read as the kernel reads it (drivers/acpi/numa/hmat.c), which shows the nearest initiator's values alone.
 */
#ifndef BALLAST_KVM_HMAT_H
#define BALLAST_KVM_HMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sysroot;

/* From one proximity domain with processors (the initiator) to one with memory (the target); not the kernel's node numbers. */
struct hmat_path {
	uint32_t initiator, target;
	uint32_t read_latency_ps;    /* 0: not told, or not reachable */
	uint32_t read_mb_per_s;	     /* 0: the same */
	bool is_attached;	     /* the target's memory controller is the initiator's, says the firmware */
};

struct hmat {
	struct hmat_path *paths; /* owned; by rising target, then initiator: each pair once */
	size_t count;
};

/*
 * Returns 0, -EBADMSG for a table that is cut, malformed or of a wrong checksum (nothing of it is used), -ENOTSUP for
 * another revision, or -ENOMEM. The caller calls hmat_done().
 */
int hmat_parse(const void *data, size_t size, struct hmat *ret_hmat);
/* The kernel's copy. -ENOENT: the firmware has none, as on most hosts whose memory is all of one kind. */
int hmat_read(const struct sysroot *sysroot, struct hmat *ret_hmat);
void hmat_done(struct hmat *hmat);

/* NULL where nothing is told of the two. Borrowed. */
const struct hmat_path *hmat_path(const struct hmat *hmat, uint32_t initiator, uint32_t target);
/*
 * From the initiator that the target is attached to; where that is not told, from the one with the least latency, of equal
 * ones that with most bandwidth. NULL where nothing is told. Borrowed.
 */
const struct hmat_path *hmat_nearest(const struct hmat *hmat, uint32_t target);

#endif
