/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of NUMA nodes, as the kernel prints it ("0-2,5") and as its system calls take it.
 */
#ifndef BALLAST_KVM_NODE_SET_H
#define BALLAST_KVM_NODE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The largest MAX_NUMNODES of a Linux configuration (CONFIG_NODES_SHIFT is at most 10). */
#define NODE_SET_MAX	   1024
#define NODE_SET_TEXT_SIZE 512

struct node_set {
	unsigned long words[NODE_SET_MAX / (8 * sizeof(unsigned long))]; /* node n is bit n */
};

/* Operations with a node outside 0..NODE_SET_MAX-1: add and remove do nothing, has says false. */
void node_set_clear(struct node_set *set);
void node_set_add(struct node_set *set, int node_id);
void node_set_remove(struct node_set *set, int node_id);
bool node_set_has(const struct node_set *set, int node_id);
bool node_set_is_empty(const struct node_set *set);
int node_set_count(const struct node_set *set);

/* The smallest member greater than after, or -1. Begin with after -1. */
int node_set_next(const struct node_set *set, int after);
#define NODE_SET_FOR_EACH(node_id, set)                            \
	for (int node_id = node_set_next((set), -1); node_id >= 0; \
	     node_id = node_set_next((set), node_id))

struct node_set node_set_of(int node_id);
struct node_set node_set_union(const struct node_set *a, const struct node_set *b);
struct node_set node_set_intersection(const struct node_set *a, const struct node_set *b);
struct node_set node_set_difference(const struct node_set *a, const struct node_set *b);
bool node_set_is_equal(const struct node_set *a, const struct node_set *b);
bool node_set_is_subset(const struct node_set *inner, const struct node_set *outer);
bool node_set_intersects(const struct node_set *a, const struct node_set *b);

/*
 * Parses the kernel's list format, the whole text; an empty text (or one newline) is the empty set.
 * -EINVAL where malformed or descending, -ERANGE for a node of NODE_SET_MAX and more.
 */
int node_set_parse(const char *text, struct node_set *ret_set);

/* Writes the kernel's list format; cut at a whole entry where size is too small. Returns text. */
const char *node_set_format(const struct node_set *set, char *text, size_t size);

#endif
