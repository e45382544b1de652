/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_policy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "cleanup.h"

/* MPOL_F_NUMA_BALANCING, not in every header */
#define MODE_BALANCING (1 << 13)

static const char *const mode_names[MEMORY_POLICY_COUNT] = {
	[MEMORY_POLICY_DEFAULT] = "default",
	[MEMORY_POLICY_PREFERRED] = "preferred",
	[MEMORY_POLICY_BIND] = "bind",
	[MEMORY_POLICY_INTERLEAVE] = "interleave",
	[MEMORY_POLICY_LOCAL] = "local",
	[MEMORY_POLICY_PREFERRED_MANY] = "preferred_many",
	[MEMORY_POLICY_WEIGHTED_INTERLEAVE] = "weighted_interleave",
};
NAME_TABLE_DEFINE(memory_policy_mode, mode_names)

/* The words and numbers of the kernel (mm/mempolicy.c policy_modes, uapi/linux/mempolicy.h). */
static const struct {
	const char *word;
	int number;
} kernel_modes[MEMORY_POLICY_COUNT] = {
	[MEMORY_POLICY_DEFAULT] = {"default", 0},
	[MEMORY_POLICY_PREFERRED] = {"prefer", 1},
	[MEMORY_POLICY_BIND] = {"bind", 2},
	[MEMORY_POLICY_INTERLEAVE] = {"interleave", 3},
	[MEMORY_POLICY_LOCAL] = {"local", 4},
	[MEMORY_POLICY_PREFERRED_MANY] = {"prefer (many)", 5},
	[MEMORY_POLICY_WEIGHTED_INTERLEAVE] = {"weighted interleave", 6},
};

/* The mode whose word stands at the start of text and ends there; -1: none. */
static int match_mode(const char *text)
{
	for (int mode = 0; mode < MEMORY_POLICY_COUNT; mode++) {
		size_t length = strlen(kernel_modes[mode].word);

		/* "prefer" is followed by a blank in "prefer (many)": the longer word must win. */
		if (strncmp(text, kernel_modes[mode].word, length) == 0 &&
		    strncmp(text + length, " (many)", 7) != 0 &&
		    (text[length] == '\0' || strchr("=: \n", text[length])))
			return mode;
	}
	return -1;
}

size_t memory_policy_text_length(const char *text)
{
	int mode = match_mode(text);
	size_t length = mode < 0 ? 0 : strlen(kernel_modes[mode].word);

	return length + strcspn(text + length, " \n");
}

static int parse_flags(const char *text, size_t length, struct memory_policy *policy)
{
	/* Kernels up to 6.8 or so print the balancing flag as an empty word. */
	if (length == 0) {
		policy->is_balancing = true;
		return 0;
	}
	while (length > 0) {
		size_t word = strcspn(text, "|:");

		if (word > length)
			word = length;
		if (word == strlen("static") && strncmp(text, "static", word) == 0)
			policy->is_static = true;
		else if (word == strlen("relative") && strncmp(text, "relative", word) == 0)
			policy->is_relative = true;
		else if (word == strlen("balancing") && strncmp(text, "balancing", word) == 0)
			policy->is_balancing = true;
		else
			return -EINVAL;
		text += word;
		length -= word;
		if (length > 0) {
			text++;
			length--;
			if (length == 0)
				return -EINVAL;
		}
	}
	return 0;
}

int memory_policy_parse(const char *text, struct memory_policy *ret_policy)
{
	struct memory_policy policy = {0};
	int mode = match_mode(text), error;

	if (mode < 0)
		return -EINVAL;
	policy.mode = (enum memory_policy_mode)mode;
	text += strlen(kernel_modes[mode].word);
	if (*text == '=') {
		size_t length = strcspn(++text, ":");

		error = parse_flags(text, length, &policy);
		if (error < 0)
			return error;
		text += length;
	}
	if (*text == ':') {
		if (node_set_parse(text + 1, &policy.nodes) < 0 || node_set_is_empty(&policy.nodes))
			return -EINVAL;
	} else if (*text != '\0') {
		return -EINVAL;
	}
	*ret_policy = policy;
	return 0;
}

const char *memory_policy_format(const struct memory_policy *policy, char *text, size_t size)
{
	char nodes[NODE_SET_TEXT_SIZE];
	bool has_flags = policy->is_static || policy->is_relative || policy->is_balancing;

	node_set_format(&policy->nodes, nodes, sizeof(nodes));
	snprintf(text, size, "%s%s%s%s%s%s%s", kernel_modes[policy->mode].word,
		 has_flags ? "=" : "",
		 policy->is_static     ? "static"
		 : policy->is_relative ? "relative"
				       : "",
		 (policy->is_static || policy->is_relative) && policy->is_balancing ? "|" : "",
		 policy->is_balancing ? "balancing" : "", nodes[0] ? ":" : "", nodes);
	return text;
}

bool memory_policy_is_equal(const struct memory_policy *a, const struct memory_policy *b)
{
	return a->mode == b->mode && a->is_static == b->is_static &&
	       a->is_relative == b->is_relative && a->is_balancing == b->is_balancing &&
	       node_set_is_equal(&a->nodes, &b->nodes);
}

static int call_mbind(void *address, uint64_t length, int mode, const struct node_set *nodes)
{
	bool has_nodes = !node_set_is_empty(nodes);

	/* maxnode counts one more than the bits (mm/mempolicy.c get_nodes takes one off). */
	if (syscall(SYS_mbind, address, length, mode, has_nodes ? nodes->words : NULL,
		    has_nodes ? (unsigned long)NODE_SET_MAX + 1 : 0UL, 0) < 0)
		return -errno;
	return 0;
}

static int read_at(void *address, struct memory_policy *ret_policy)
{
	struct memory_policy policy = {.mode = MEMORY_POLICY_COUNT};
	int mode;

	if (syscall(SYS_get_mempolicy, &mode, policy.nodes.words, (unsigned long)NODE_SET_MAX, address,
		    MPOL_F_ADDR) < 0)
		return -errno;
	policy.is_static = mode & MPOL_F_STATIC_NODES;
	policy.is_relative = mode & MPOL_F_RELATIVE_NODES;
	policy.is_balancing = mode & MODE_BALANCING;
	mode &= ~(MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES | MODE_BALANCING);
	for (int i = 0; i < MEMORY_POLICY_COUNT; i++)
		if (kernel_modes[i].number == mode)
			policy.mode = (enum memory_policy_mode)i;
	*ret_policy = policy;
	return policy.mode == MEMORY_POLICY_COUNT ? -EINVAL : 0;
}

/*
 * Reads back what the file has now. The nodes outside our own cpuset were cut off without a word
 * (mm/mempolicy.c mpol_set_nodemask).
 */
static int check_shared(void *address, const struct memory_policy *policy)
{
	struct memory_policy found;

	if (node_set_is_empty(&policy->nodes))
		return 0;
	if (read_at(address, &found) < 0)
		return -EIO;
	return found.mode == policy->mode && node_set_is_equal(&found.nodes, &policy->nodes) ? 0 : -EIO;
}

/* 0, or -errno where the file keeps no policy for those who map it. */
static int check_file(int fd)
{
	struct statfs filesystem;

	if (fstatfs(fd, &filesystem) < 0)
		return -errno;
	/* Of other files the policy would be that of the mapping here, which goes with it. */
	return filesystem.f_type == TMPFS_MAGIC ? 0 : -EOPNOTSUPP;
}

int memory_policy_read_shared(int fd, uint64_t offset, struct memory_policy *ret_policy)
{
	size_t length = (size_t)sysconf(_SC_PAGESIZE);
	int error = check_file(fd);
	void *address;

	if (error < 0)
		return error;
	address = mmap(NULL, length, PROT_NONE, MAP_SHARED, fd, (off_t)offset);
	if (address == MAP_FAILED)
		return -errno;
	error = read_at(address, ret_policy);
	munmap(address, length);
	return error;
}

int memory_policy_set_shared(int fd, uint64_t offset, uint64_t length,
			     const struct memory_policy *policy)
{
	int mode = kernel_modes[policy->mode].number, error = check_file(fd);
	void *address;

	if (error < 0)
		return error;
	if (policy->is_static)
		mode |= MPOL_F_STATIC_NODES;
	if (policy->is_relative)
		mode |= MPOL_F_RELATIVE_NODES;
	if (policy->is_balancing)
		mode |= MODE_BALANCING;
	address = mmap(NULL, length, PROT_NONE, MAP_SHARED, fd, (off_t)offset);
	if (address == MAP_FAILED)
		return -errno;
	/*
	 * A new mapping has the default policy itself, and mm/mempolicy.c mbind_range() skips a
	 * mapping that has the wished policy already, whatever the file's is: so it is given
	 * another one first.
	 */
	if (policy->mode == MEMORY_POLICY_DEFAULT)
		error = call_mbind(address, length, kernel_modes[MEMORY_POLICY_LOCAL].number,
				   &(struct node_set){0});
	if (error == 0) {
		error = call_mbind(address, length, mode, &policy->nodes);
		/* It has that other one now. */
		if (error < 0 && policy->mode == MEMORY_POLICY_DEFAULT)
			error = -EIO;
	}
	if (error == 0)
		error = check_shared(address, policy);
	munmap(address, length);
	return error;
}
