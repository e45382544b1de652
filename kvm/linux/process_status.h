/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel tells of a process' memory in /proc/PID/status (proc(5)). It counts: no page table is walked, and no map
 * lock is taken.
 */
#ifndef BALLAST_KVM_PROCESS_STATUS_H
#define BALLAST_KVM_PROCESS_STATUS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sysroot;

struct process_status {
	char name[16];	       /* cut as the kernel cuts it */
	bool has_memory;       /* a thread of the kernel has none */
	uint64_t locked_bytes; /* VmLck: mlock, and what VFIO has pinned (drivers/vfio/vfio_iommu_type1.c vfio_lock_acct) */
	/*
	 * VmPin (mm->pinned_vm): what is held for long for a device or the kernel, as far as somebody accounts for it there.
	 * So do registered buffers of io_uring, with and without a limit on locked memory (io_uring/rsrc.c io_account_mem),
	 * RDMA (drivers/infiniband/core/umem.c ib_umem_get), vhost-vdpa and iommufd; perf's buffers count as well, which are the
	 * kernel's own pages (kernel/events/core.c perf_mmap). Not in it: what VFIO has pinned, AF_XDP's buffers (the user's
	 * account, net/xdp/xdp_umem.c), pages spliced into a pipe, and whatever is held for the time of one transfer. It is a
	 * number of the process: which pages they are nobody tells.
	 */
	uint64_t pinned_bytes;
	uint64_t shared_bytes; /* RssShmem: resident, of shared memory */
	uint64_t huge_bytes;   /* HugetlbPages: mapped */
};

/* Lines that are not there count as 0. -ESRCH where there is no such process; another -errno. */
int process_status_read(const struct sysroot *sysroot, pid_t pid, struct process_status *ret_status);

#endif
