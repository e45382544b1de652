/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks by which a test makes a fixture tree behave as a kernel does.
 */
#ifndef BALLAST_KVM_SYSROOT_PRIV_H
#define BALLAST_KVM_SYSROOT_PRIV_H

#include "sysroot.h"

struct sysroot_hooks {
	/*
	 * Called instead of each write. May change the tree with plain file calls, may refuse.
	 * Returns 0 (the write succeeded), a positive number (that many bytes were taken)
	 * or -errno. path is absolute, as the library formatted it.
	 */
	int (*on_write)(void *user, const char *path, const char *text);
	/* Called before each sysroot_open(). NULL: nothing is. */
	void (*on_open)(void *user, const char *path);
	/* Called instead of statfs(2). NULL: the real one. */
	int (*on_filesystem)(void *user, const char *path, uint64_t *ret_type,
			     uint64_t *ret_block_bytes);
	void *user;
};

/* Whether writes go to a hook. */
bool sysroot_has_writer(const struct sysroot *sysroot);

/* NULL hooks takes them away. */
void sysroot_set_hooks(struct sysroot *sysroot, const struct sysroot_hooks *hooks);

#endif
