/* SPDX-License-Identifier: Apache-2.0 */
#include "mover_cpus.h"

#include <string.h>
#include "node_mask.h"
#include "numa_node.h"
#include "sysroot.h"
#include "vcpu_thread.h"

/*
 * On a node with fewer CPUs the mover would fight for them with the guest itself, whose threads the kernel draws to where
 * its memory is now (kernel/sched/fair.c task_numa_migrate): on one CPU that cost more than the copying.
 */
#define NEAR_CPUS_MIN 4
/* The lists of processors of a large host, as /proc/PID/status prints them. */
#define STATUS_LIMIT ((size_t)64 * 1024)

/* The processors that a thread may use. */
static bool read_allowed(const struct sysroot *sysroot, pid_t pid, pid_t thread, struct node_set *ret_cpus)
{
	CLEANUP_FREE char *status = NULL;
	char *list;

	if (sysroot_read_all(sysroot, STATUS_LIMIT, &status, NULL, "/proc/%d/task/%d/status", (int)pid, (int)thread))
		return false;
	list = strstr(status, "\nCpus_allowed_list:");
	if (!list)
		return false;
	list += strlen("\nCpus_allowed_list:");
	list += strspn(list, " \t");
	list[strcspn(list, "\n")] = '\0';
	/* Processors beyond the set's size: then the list is not understood at all. */
	return node_set_parse(list, ret_cpus) == 0;
}

/* What vCPU threads are bound to. One that may use every CPU there is is not bound. */
static struct node_set cpus_of_guest(const struct sysroot *sysroot, pid_t pid, const struct node_set *all)
{
	CLEANUP(vcpu_thread_list_done) struct vcpu_thread_list threads = {0};
	struct node_set taken, allowed;

	node_set_clear(&taken);
	/* Where they cannot be told nothing is kept from them. */
	if (vcpu_thread_list_read(sysroot, pid, &threads) < 0)
		return taken;
	for (size_t i = 0; i < threads.count; i++)
		if (read_allowed(sysroot, pid, threads.ids[i], &allowed) && !node_set_is_subset(all, &allowed))
			taken = node_set_union(&taken, &allowed);
	return taken;
}

static bool is_enough(const struct node_set *cpus, unsigned threads)
{
	return node_set_count(cpus) >= NEAR_CPUS_MIN && (unsigned)node_set_count(cpus) >= threads;
}

bool mover_cpus_choose(const struct sysroot *sysroot, pid_t pid, uint64_t nodes, unsigned threads,
		       cpu_set_t *ret_cpus)
{
	struct numa_node_list list = {0};
	struct node_set all, cpus, own, taken;

	node_set_clear(&all);
	node_set_clear(&cpus);
	if (numa_node_list_read(sysroot, &list))
		return false;
	for (size_t i = 0; i < list.count; i++) {
		if (!list.nodes[i].has_cpu || node_set_parse(list.nodes[i].cpus, &own))
			continue;
		all = node_set_union(&all, &own);
		if (nodes & node_mask_of(list.nodes[i].id))
			cpus = node_set_union(&cpus, &own);
	}
	numa_node_list_done(&list);
	taken = cpus_of_guest(sysroot, pid, &all);
	cpus = node_set_difference(&cpus, &taken);
	if (!is_enough(&cpus, threads)) {
		if (!node_set_count(&taken))
			return false;
		/* Far from the memory is better than in the guest's way. */
		cpus = node_set_difference(&all, &taken);
		if (!is_enough(&cpus, threads))
			return false;
	}
	CPU_ZERO(ret_cpus);
	NODE_SET_FOR_EACH(cpu, &cpus)
		CPU_SET(cpu, ret_cpus);
	return true;
}
