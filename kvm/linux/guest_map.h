/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a guest's RAM lies in its QEMU process, what backs it, and what stands in the way of moving
 * it.
 */
#ifndef BALLAST_KVM_GUEST_MAP_H
#define BALLAST_KVM_GUEST_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "memory_policy.h"
#include "name_table.h"

struct sysroot;

enum guest_backing {
	GUEST_BACKING_ANON,
	GUEST_BACKING_MEMFD,
	GUEST_BACKING_FILE,
	GUEST_BACKING_HUGETLB,
	GUEST_BACKING_COUNT
};
NAME_TABLE_DECLARE(guest_backing);

struct guest_range {
	uint64_t start; /* address in the QEMU process */
	uint64_t end;
	enum guest_backing backing;
	uint64_t page_bytes; /* 4096, or the huge page size of hugetlb; transparent huge pages do
				not show here */
	bool is_shared;
	/*
	 * A memfd or a file on tmpfs: pages that are in it and in no page table, or swapped out, can be told and moved, and
	 * it keeps a memory policy for all that map it (mm/shmem.c). Other files (a disk's) do neither.
	 */
	bool is_shmem;
	uint64_t offset;	 /* of start in its file; 0 for anonymous */
	uint64_t device;	 /* of the file, as makedev(3) */
	uint64_t inode;		 /* 0: anonymous */
	uint64_t first_end;	 /* end of the first kernel mapping in it: names its entry in
				    /proc/PID/map_files */
	bool has_policy;	 /* policies were asked for and read */
	bool has_mixed_policies; /* its kernel mappings differ in policy; policy is the first one's
				  */
	struct memory_policy policy;
	char name[64]; /* of the file: "/memfd:memory-backend-memfd"; empty: anonymous */
	/*
	 * QEMU's id of the memory object ("ram-node0", "memvirtiomem0"), where the file is named after it: in a directory as
	 * "qemu_back_mem.ram-node0.x1y2z3" or "qemu_back_mem._objects_ram-node0.x1y2z3" (softmmu/physmem.c file_ram_open), or by libvirt as ".../ram-node0". Empty:
	 * not told.
	 */
	char object[40];
};

struct guest_map {
	struct guest_range *ranges; /* owned; ascending by address */
	size_t count;
	uint64_t ram_bytes;	/* sum of the ranges */
	uint64_t missing_bytes; /* of expected sizes, those for which no range was found */
	unsigned
		userfaultfd_count; /* not 0: hands off; touching a page may lose data (post-copy) */
	unsigned vfio_count;   /* /dev/vfio/N, iommufd and vhost-vdpa descriptors: RAM is pinned */
	uint64_t locked_bytes; /* VmLck */
	uint64_t pinned_bytes; /* VmPin */
	/*
	 * guest_memfd: memory that only the guest can reach, in no page table of the host. Its size, of which any part may
	 * be in use: the kernel tells nobody how much.
	 */
	uint64_t private_bytes;
	unsigned encryption_count; /* /dev/sev descriptors: the guest's pages are encrypted where they lie */
};

struct guest_map_options {
	/* Sizes of the guest's RAM regions (cells, memory devices) from its definition; may be
	 * empty. */
	const uint64_t *expected_bytes;
	size_t expected_count;
	/*
	 * Of shmem the file is asked, and where it has none the process' own is told. For all else numa_maps is read, which walks all of the guest's page tables under its map
	 * lock: so not in a loop.
	 */
	bool with_policies;
};

/*
 * Reads the map of process pid. A mapping counts as RAM where
 *  - it lies on hugetlbfs, or is a shared memfd that QEMU named memory-backend-memfd; or
 *  - it is a shared file or other memfd, or an anonymous mapping, whose size is one of the expected
 *    sizes or the sum of all (a machine without cells has one block for all of its boot memory).
 * Neighbouring mappings of the same file at consecutive offsets, or of anonymous memory, are taken
 * together first: policies and madvise split them. Mappings that nobody can write (option ROMs,
 * guard pages) never count. With no expected sizes, anonymous RAM cannot be told from QEMU's own
 * memory and is not listed.
 * The caller calls guest_map_done().
 */
int guest_map_read(const struct sysroot *sysroot, pid_t pid,
		   const struct guest_map_options *options, struct guest_map *ret_map);
void guest_map_done(struct guest_map *map);

/*
 * Opens the file behind a range, read and write: through /proc/PID/map_files (needs CAP_SYS_ADMIN
 * or CAP_CHECKPOINT_RESTORE) or else the process' own descriptor of it. -ENOENT for anonymous
 * memory and where the process has no descriptor left; -ESTALE where another file is there by now.
 * Returns the descriptor, and in *ret_held_bytes (may be NULL) what the file holds, of shmem what
 * is swapped out too; or -errno.
 */
int guest_map_open_backing(const struct sysroot *sysroot, pid_t pid,
			   const struct guest_range *range, uint64_t *ret_held_bytes);
bool guest_range_is_same_file(const struct guest_range *range, const struct guest_range *other);
/* Shared memory of shmem or of hugetlbfs: what it has in no page table can be mapped elsewhere (backing_window.h). */
bool guest_range_has_window(const struct guest_range *range);

/* Counts descriptors that forbid or hinder: cheap enough to call before every batch. */
int guest_map_count_descriptors(const struct sysroot *sysroot, pid_t pid, unsigned *ret_userfaultfd,
				unsigned *ret_vfio);

#endif
