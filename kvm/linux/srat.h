/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which memory the firmware calls hot-pluggable: the System Resource Affinity Table.
 *
 * Source: ACPI 6.5, 5.2.16 (SRAT) and 5.2.16.2 (memory affinity structure). With movable_node on its command line the
 * kernel puts boot memory that is marked so into the movable zone, except on nodes on which it lies itself, and does not
 * look at kernelcore= and movablecore= (mm/mm_init.c, in 6.1 mm/page_alloc.c, find_zone_movable_pfns_for_nodes;
 * arch/x86/mm/numa.c numa_clear_kernel_node_hotplug). For memory that is not marked movable_node does nothing.
 */
#ifndef BALLAST_KVM_SRAT_H
#define BALLAST_KVM_SRAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "physical_map.h"

struct sysroot;

struct srat_range {
	struct physical_range range;
	uint32_t domain; /* proximity domain: not the kernel's node number */
	bool is_hotpluggable;
};

struct srat {
	struct srat_range *ranges; /* owned; by rising start. Those that are not enabled are left out */
	size_t count;
};

/*
 * Returns 0, -EBADMSG for a table that is cut, malformed or of a wrong checksum (nothing of it is used), or -ENOMEM. The
 * caller calls srat_done().
 */
int srat_parse(const void *data, size_t size, struct srat *ret_srat);
/* The kernel's copy. -ENOENT: the firmware has none, as on a host of one node. */
int srat_read(const struct sysroot *sysroot, struct srat *ret_srat);
void srat_done(struct srat *srat);

/* Is all of it (not empty) in ranges that are marked? */
bool srat_is_hotpluggable(const struct srat *srat, uint64_t start, uint64_t end);
/* False where no range has the address. */
bool srat_domain_at(const struct srat *srat, uint64_t address, uint32_t *ret_domain);

#endif
