/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NUMA memory policies: as numa_maps prints them, and as a shared file takes them from outside.
 */
#ifndef BALLAST_KVM_MEMORY_POLICY_H
#define BALLAST_KVM_MEMORY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "name_table.h"
#include "node_set.h"

enum memory_policy_mode {
	MEMORY_POLICY_DEFAULT,
	MEMORY_POLICY_PREFERRED,
	MEMORY_POLICY_BIND,
	MEMORY_POLICY_INTERLEAVE,
	MEMORY_POLICY_LOCAL,
	MEMORY_POLICY_PREFERRED_MANY,
	MEMORY_POLICY_WEIGHTED_INTERLEAVE,
	MEMORY_POLICY_COUNT
};
NAME_TABLE_DECLARE(
	memory_policy_mode); /* default preferred bind interleave local preferred_many ... */

struct memory_policy {
	enum memory_policy_mode mode;
	bool is_static;	  /* nodes are kept when the cpuset changes */
	bool is_relative; /* nodes count from the cpuset's first */
	bool is_balancing;
	struct node_set nodes; /* empty for default and local */
};

#define MEMORY_POLICY_TEXT_SIZE (NODE_SET_TEXT_SIZE + 64)

/*
 * The policy word of a numa_maps line, as mm/mempolicy.c mpol_to_str() writes it: "default",
 * "local", "bind:2", "prefer:1", "prefer (many):0-1", "interleave=static:0,2",
 * "bind=static|balancing:3". -EINVAL for anything else.
 */
int memory_policy_parse(const char *text, struct memory_policy *ret_policy);

/* How long the policy at the start of text is: in a line of numa_maps more follows after a blank.
 */
size_t memory_policy_text_length(const char *text);

const char *memory_policy_format(const struct memory_policy *policy, char *text, size_t size);
bool memory_policy_is_equal(const struct memory_policy *a, const struct memory_policy *b);

/*
 * Sets the policy of length bytes from offset of a shared-memory file (memfd, tmpfs), for every
 * process that maps it: maps it PROT_NONE and calls mbind(2) with flags 0, which moves nothing and
 * touches nothing. offset and length are multiples of the page size. The caller's own cpuset cuts
 * the nodes, so the caller must be allowed all of them (-EINVAL where none is left). Read back:
 * -EIO where it did not take as asked, or may not have. After any other error the policy is the one
 * that it was.
 * Useless on hugetlbfs: it keeps no shared policy, so the call would succeed and change nothing
 * (mm/hugetlb.c has no set_policy); -EOPNOTSUPP is returned there without a try.
 */
int memory_policy_set_shared(int fd, uint64_t offset, uint64_t length,
			     const struct memory_policy *policy);

/*
 * The policy that such a file has at offset, a multiple of the page size: by a mapping of our own, without a walk of anybody's
 * page tables. -EOPNOTSUPP for other files, -EINVAL for a mode that is not known here, or another -errno.
 */
int memory_policy_read_shared(int fd, uint64_t offset, struct memory_policy *ret_policy);

#endif
