/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other processes that map a guest's memory files: back ends of vhost-user, readers of a memory dump, holders of
 * registered buffers. A page that one of them has pinned does not move, whoever asks for it.
 */
#ifndef BALLAST_KVM_MEMORY_SHARER_H
#define BALLAST_KVM_MEMORY_SHARER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct guest_map;
struct sysroot;

/* A guest has one back end for each disk and network card; more than these are counted, not listed. */
#define MEMORY_SHARER_MAX 4

struct memory_sharer {
	pid_t pid;
	char name[16];	       /* the kernel's name of the process, cut as the kernel cuts it */
	uint64_t mapped_bytes; /* of the guest's files */
	/* VmPin (process_status.h), at most mapped_bytes: how much, not which pages, and it may be memory of the process' own. */
	uint64_t pinned_bytes;
};

struct memory_sharer_list {
	struct memory_sharer sharers[MEMORY_SHARER_MAX]; /* those that pin most first */
	size_t count;					 /* of sharers */
	size_t total;					 /* of processes, listed or not */
	size_t unseen;					 /* that could not be asked, and may be among them */
	uint64_t pinned_bytes;				 /* of all of them */
};

/*
 * Looks through all processes but pid itself for mappings of the map's files, and of /dev/shm or hugetlbfs files
 * likewise. Private and anonymous ranges have no sharers. A process without a resident page of shared memory or
 * hugetlb is passed by on its status alone, kernel threads too: /proc/PID/maps takes a process' map lock, and most
 * processes of a host need not be asked. Processes that end meanwhile are no error; those that may not be looked at, or have more mappings
 * than are read here, are none either, but counted as unseen. Returns 0 or -errno.
 */
int memory_sharer_find(const struct sysroot *sysroot, pid_t pid, const struct guest_map *map,
		       struct memory_sharer_list *ret_list);

#endif
