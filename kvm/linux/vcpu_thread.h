/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of a QEMU process that run its guest's processors: QEMU names them "CPU 0/KVM" and so on, where it was
 * started with debug-threads=on, as libvirt starts it (accel/kvm/kvm-accel-ops.c kvm_start_vcpu_thread).
 */
#ifndef BALLAST_KVM_VCPU_THREAD_H
#define BALLAST_KVM_VCPU_THREAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sysroot;

struct vcpu_thread_list {
	pid_t *ids; /* owned */
	size_t count;
};

/* None where they have no such names. 0; -ESRCH without such a process; another -errno. The caller calls
 * vcpu_thread_list_done(). */
int vcpu_thread_list_read(const struct sysroot *sysroot, pid_t pid, struct vcpu_thread_list *ret_list);
void vcpu_thread_list_done(struct vcpu_thread_list *list);

/*
 * For how long all of them have run since they began, in guest, user and kernel mode: user_ticks and
 * kernel_ticks of process_stat.h, which are right to a clock tick (10 ms). A thread that ends meanwhile counts for nothing.
 */
int vcpu_thread_list_read_time(const struct sysroot *sysroot, pid_t pid, const struct vcpu_thread_list *list,
			       uint64_t *ret_us);

#endif
