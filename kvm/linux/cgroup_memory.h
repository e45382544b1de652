/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process' cgroup (v2): which nodes it may use, and how much memory it has where.
 */
#ifndef BALLAST_KVM_CGROUP_MEMORY_H
#define BALLAST_KVM_CGROUP_MEMORY_H

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

/* cpuset.mems as written (empty: inherited) and in effect. -ENOENT without the cpuset controller
 * there. */
int cgroup_memory_read_mems(const struct sysroot *sysroot, const char *path,
			    struct node_set *ret_mems);
int cgroup_memory_read_effective_mems(const struct sysroot *sysroot, const char *path,
				      struct node_set *ret_mems);

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
 * Makes a group (and enables cpuset in its parents' subtree_control), puts a process in, takes an
 * empty group away. A process that takes blocks offline runs in a group with cpuset.mems at the
 * wished destination: the kernel obeys the writer's cpuset there.
 */
int cgroup_memory_make(const struct sysroot *sysroot, const char *path,
		       const struct node_set *mems);
int cgroup_memory_attach(const struct sysroot *sysroot, const char *path, pid_t pid);
int cgroup_memory_remove(const struct sysroot *sysroot, const char *path);

#endif
