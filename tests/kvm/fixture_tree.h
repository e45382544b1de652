/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small tree of kernel files in a temporary directory, and a sysroot on it.
 */
#ifndef BALLAST_TESTS_FIXTURE_TREE_H
#define BALLAST_TESTS_FIXTURE_TREE_H

#include <stddef.h>
#include "cleanup.h"
#include "sysroot.h"
#include "sysroot_priv.h"

struct fixture_tree {
	char root[64];
	struct sysroot *sysroot; /* owned */
};

/* Every function asserts that it worked. Paths are absolute within the tree. */
void fixture_tree_init(struct fixture_tree *tree);
void fixture_tree_done(struct fixture_tree *tree);
/* Makes the directories above path and (re)writes the file. */
void fixture_tree_write(struct fixture_tree *tree, const char *path, const char *text, ...)
	PRINTF_LIKE(3, 4);
void fixture_tree_write_bytes(struct fixture_tree *tree, const char *path, const void *data,
			      size_t size);
/* Writes size bytes at offset; what is before reads as zero. */
void fixture_tree_write_at(struct fixture_tree *tree, const char *path, uint64_t offset,
			   const void *data, size_t size);
void fixture_tree_append(struct fixture_tree *tree, const char *path, const char *text);
void fixture_tree_link(struct fixture_tree *tree, const char *path, const char *target);
/*
 * A file in which every write waits, as in a call of the kernel that takes long, until somebody reads from it. Returns the
 * descriptor to do so, non-blocking; the file is one as long as it is open.
 */
int fixture_tree_add_blocking(struct fixture_tree *tree, const char *path);
void fixture_tree_remove(struct fixture_tree *tree, const char *path); /* with all below */
void fixture_tree_set_hooks(struct fixture_tree *tree,
			    int (*on_write)(void *user, const char *path, const char *text),
			    void *user);

/* A memory block as sysfs shows it. valid_zones NULL: the file is left out. */
void fixture_tree_add_block(struct fixture_tree *tree, unsigned id, int node_id, const char *state,
			    const char *valid_zones);

#endif
