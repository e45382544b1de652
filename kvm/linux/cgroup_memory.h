/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process' cgroup (v2): which nodes it may use, and how much memory it has where.
 */
#ifndef BALLAST_KVM_CGROUP_MEMORY_H
#define BALLAST_KVM_CGROUP_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "node_set.h"

struct sysroot;
struct sysroot_names;

#define CGROUP_MEMORY_PATH_SIZE 384

/*
 * The cgroup of a process, as in its "0::" line:
 * "/machine.slice/machine-qemu...scope/libvirt/emulator". -ENOENT on a host without cgroup v2.
 * libvirt keeps a guest's threads in children of one group: cgroup_memory_guest_path() cuts
 * "/libvirt/emulator", "/libvirt/vcpuN", "/emulator", ... off.
 */
int cgroup_memory_read_path(const struct sysroot *sysroot, pid_t pid,
			    char path[CGROUP_MEMORY_PATH_SIZE]);
void cgroup_memory_guest_path(char path[CGROUP_MEMORY_PATH_SIZE]);

/* This group and all below it, parents first, as paths. The caller calls sysroot_names_done(). */
int cgroup_memory_list_tree(const struct sysroot *sysroot, const char *path,
			    struct sysroot_names *ret_paths);

/* The directory of a group, for who watches it or asks for its inode. A descriptor (O_PATH) or -errno. */
int cgroup_memory_open(const struct sysroot *sysroot, const char *path);

/* cgroup.procs: numbers of processes, one a line; at most limit bytes (-EOVERFLOW beyond). The caller frees *ret_text. */
int cgroup_memory_read_processes(const struct sysroot *sysroot, const char *path, size_t limit, char **ret_text);
/*
 * The same; but of a group that has only threads of its processes, the others being in groups beside or below it, the
 * threads that are in exactly this one (cgroup.threads).
 */
int cgroup_memory_read_tasks(const struct sysroot *sysroot, const char *path, size_t limit, char **ret_text);

/* cpuset.mems as written (empty: inherited) and in effect. -ENOENT without the cpuset controller
 * there. */
int cgroup_memory_read_mems(const struct sysroot *sysroot, const char *path,
			    struct node_set *ret_mems);
int cgroup_memory_read_effective_mems(const struct sysroot *sysroot, const char *path,
				      struct node_set *ret_mems);

/*
 * The nodes that the groups above this one leave it, empty where none of them limits it. By what is written there, not
 * by what is in effect: that lacks nodes whose memory is offline at the moment. A set that has nothing in common with
 * what is above it is without effect (kernel/cgroup/cpuset.c update_nodemasks_hier), so it is passed over.
 */
int cgroup_memory_read_limit(const struct sysroot *sysroot, const char *path, struct node_set *ret_limit);

/*
 * Writes cpuset.mems and reads it back; -EIO where it did not take. The kernel moves memory in the
 * same moment, without limit, and rewrites policies by position (node_remap.h says how). An empty
 * set can be refused (-ENOSPC) where there are tasks.
 */
int cgroup_memory_set_mems(const struct sysroot *sysroot, const char *path,
			   const struct node_set *mems);

struct cgroup_memory_stat {
	uint64_t anon_bytes[NODE_SET_MAX];
	uint64_t file_bytes[NODE_SET_MAX]; /* shmem included */
	uint64_t shmem_bytes[NODE_SET_MAX];
	uint64_t unevictable_bytes[NODE_SET_MAX];
};

/* memory.numa_stat; large: put it on the heap. */
int cgroup_memory_read_stat(const struct sysroot *sysroot, const char *path,
			    struct cgroup_memory_stat *ret_stat);

/*
 * The bytes by node that the kernel has charged to this group and those below it: anonymous and shared memory, and
 * hugetlb where its controller counts it (*ret_has_hugetlb). From counters: no page table is walked and no map lock is
 * taken, so a guest does not feel it, whatever its size. It counts what QEMU has beside the guest's memory, and not
 * what another group touched first: what has changed between two readings is worth more than either. -ENOENT where the
 * memory controller is not there.
 */
int cgroup_memory_read_resident(const struct sysroot *sysroot, const char *path, uint64_t bytes[NODE_SET_MAX],
				bool *ret_has_hugetlb);
/* The same of the group that libvirt made for the guest whose QEMU is pid. -ENOENT too where it has none of its own. */
int cgroup_memory_read_guest(const struct sysroot *sysroot, pid_t pid, uint64_t bytes[NODE_SET_MAX],
			     bool *ret_has_hugetlb);

/*
 * Makes a group (and enables cpuset in its parents' subtree_control), puts a process in, takes an
 * empty group away. A process that takes blocks offline runs in a group with cpuset.mems at the
 * wished destination: the kernel obeys the writer's cpuset there.
 */
int cgroup_memory_make(const struct sysroot *sysroot, const char *path,
		       const struct node_set *mems);
int cgroup_memory_attach(const struct sysroot *sysroot, const char *path, pid_t pid);
int cgroup_memory_remove(const struct sysroot *sysroot, const char *path);

#endif
