/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How near nodes are to each other in nanoseconds, where the firmware tells it (HMAT).
 *
 * Proximity domains are the firmware's and nodes the kernel's, and nothing shows which is which. So a node is taken for
 * the domain that the SRAT gives its lowest memory; where two nodes are so taken for one (as with numa=fake=) neither is.
 */
#ifndef BALLAST_KVM_NODE_LATENCY_H
#define BALLAST_KVM_NODE_LATENCY_H

struct numa_node_list;
struct sysroot;

/*
 * Fills in latency and bandwidth of each node from its nearest processors. And from each node with processors the distances
 * to all nodes with memory, where the latencies of all of them are told: what the SLIT means to be (ACPI 6.5, 5.2.17), ten
 * times the latency over the node's own. A row of which something is not told stays as the kernel has it: one with numbers
 * of both kinds would order nothing.
 *
 * Returns 0, or -errno with nothing filled in; -ENOENT: the firmware has no such table.
 */
int node_latency_fill(const struct sysroot *sysroot, struct numa_node_list *list);

#endif
