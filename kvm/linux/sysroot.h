/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel files below a root directory: "/" in production, a fixture tree in tests.
 * Every path is a printf format, absolute as a person writes it
 * ("/sys/devices/system/node/node%d/meminfo").
 */
#ifndef BALLAST_KVM_SYSROOT_H
#define BALLAST_KVM_SYSROOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cleanup.h"

struct sysroot;

/* Longest path after formatting, the terminator included; a longer one gives -ENAMETOOLONG. */
#define SYSROOT_PATH_SIZE 512

/* Opens the directory root ("/" in production). The caller frees with sysroot_free(). */
int sysroot_new(const char *root, struct sysroot **ret_sysroot);
struct sysroot *sysroot_free(struct sysroot *sysroot);
CLEANUP_DEFINE(struct sysroot *, sysroot_free)

/* Opens with openat(2) flags (O_CLOEXEC is added; never O_CREAT). Returns the descriptor or -errno.
 */
int sysroot_open(const struct sysroot *sysroot, int flags, const char *path, ...) PRINTF_LIKE(3, 4);
/* 1: it is there; 0: it is not; -errno: that cannot be told. */
int sysroot_find(const struct sysroot *sysroot, const char *path, ...) PRINTF_LIKE(2, 3);
/* For what is as good as missing when it cannot be reached. */
bool sysroot_exists(const struct sysroot *sysroot, const char *path, ...) PRINTF_LIKE(2, 3);

/*
 * Reads the whole of a small file into text and terminates it; blanks and newlines at the end are
 * cut. -EOVERFLOW where it does not fit into size, -EBADMSG where it holds a zero byte.
 */
int sysroot_read_text(const struct sysroot *sysroot, char *text, size_t size, const char *path, ...)
	PRINTF_LIKE(4, 5);

/* Reads a whole number, decimal or (base 16) hexadecimal, and nothing else: -EBADMSG otherwise. */
int sysroot_read_number(const struct sysroot *sysroot, int base, uint64_t *ret_number,
			const char *path, ...) PRINTF_LIKE(4, 5);

/*
 * Reads a file of unknown length, at most limit bytes (-EOVERFLOW beyond), to the heap and
 * terminates it. The caller frees *ret_text.
 */
int sysroot_read_all(const struct sysroot *sysroot, size_t limit, char **ret_text,
		     size_t *ret_length, const char *path, ...) PRINTF_LIKE(5, 6);

/* Writes text with one write(2), as sysfs demands; a short write is -EIO. */
int sysroot_write_text(const struct sysroot *sysroot, const char *text, const char *path, ...)
	PRINTF_LIKE(3, 4);

/* Where a symbolic link points, unresolved. -EOVERFLOW where it does not fit. */
int sysroot_read_link(const struct sysroot *sysroot, char *target, size_t size, const char *path,
		      ...) PRINTF_LIKE(4, 5);

/* The file system that a path (links followed) lies on: statfs(2) f_type and f_bsize. */
int sysroot_read_filesystem(const struct sysroot *sysroot, uint64_t *ret_type,
			    uint64_t *ret_block_bytes, const char *path, ...) PRINTF_LIKE(4, 5);

struct sysroot_names {
	char **names; /* owned, sorted: numbers in a name by value ("memory9" before "memory10") */
	size_t count;
};

/* The entries of a directory except those that begin with a dot. The caller calls
 * sysroot_names_done(). */
int sysroot_list(const struct sysroot *sysroot, struct sysroot_names *ret_names, const char *path,
		 ...) PRINTF_LIKE(3, 4);
void sysroot_names_done(struct sysroot_names *names);

/*
 * The number N of a name "prefixN" (prefix and decimal digits, nothing else), or -1.
 * Serves "node3", "memory64", "hugepages-2048kB" (suffix "kB").
 */
int64_t sysroot_name_number(const char *name, const char *prefix, const char *suffix);

#endif
