/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes one call of the code under test fail: the n-th system call, or the n-th allocation, of all that it makes.
 * The linker leads its calls here (the build file lists them), so the code is the very code that runs in production.
 *
 *	fault_gate_arm(FAULT_CLASS_CALL, 7, EIO, false);
 *	code_under_test();
 *	count = fault_gate_disarm();  -> there is no 7th call any more once count < 7
 *
 * A wait for nothing takes no time: the clock is set forward instead.
 */
#ifndef BALLAST_TESTS_FAULT_GATE_H
#define BALLAST_TESTS_FAULT_GATE_H

#include <stdbool.h>
#include <stdint.h>

enum fault_class { FAULT_CLASS_CALL, FAULT_CLASS_MEMORY };

/* at: from 1; 0: none fails, they are only counted. for_ever: and all of its class after it. */
void fault_gate_arm(enum fault_class class, unsigned at, int error, bool for_ever);
/* How many calls of that class there were. */
unsigned fault_gate_disarm(void);
/* The name of the call that failed first; NULL: none did. */
const char *fault_gate_fired(void);

/*
 * For a fake that stands in for the kernel. Between enter and leave the calls of this thread are the fake's own and do
 * not count. fault_gate_pass() is one call of the code under test: 0, or the -errno that it is to fail with.
 */
void fault_gate_enter_fake(void);
void fault_gate_leave_fake(void);
int fault_gate_pass(const char *name);

/* Allocations that were not released, mappings included. Two readings are to be compared. */
long fault_gate_live_allocations(void);
/* Open descriptors of this process. */
unsigned fault_gate_open_descriptors(void);

/* The kernel's side of a guest's memory files, mapped shared. NULL takes it away: the real one. */
struct fault_gate_file_ops {
	/* mbind(2) and get_mempolicy(2): 0 or -errno. */
	int (*set)(void *user, uint64_t inode, uint64_t offset, uint64_t length, int mode, uint64_t nodes);
	int (*get)(void *user, uint64_t inode, uint64_t offset, int *ret_mode, uint64_t *ret_nodes);
	/* fstatfs(2): the page size of the hugetlbfs that it lies on, 0: it lies on none. */
	uint64_t (*huge_bytes)(void *user, uint64_t inode);
	/* A part of it is now mapped at that address of this process, or is so no more. */
	void (*on_map)(void *user, uint64_t inode, uint64_t offset, uint64_t address, uint64_t length, bool is_mapped);
	void *user;
};
void fault_gate_set_file_ops(const struct fault_gate_file_ops *ops);

#endif
