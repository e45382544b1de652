/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound release of memory and descriptors: the only place that uses compiler extensions.
 */
#ifndef BALLAST_BASE_CLEANUP_H
#define BALLAST_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(function) __attribute__((cleanup(function)))

/* Defines x_freep() for CLEANUP() from a function x_free() that accepts NULL. */
#define CLEANUP_DEFINE(type, free_function)                                                        \
	static inline void free_function##p(type *pointer)                                         \
	{                                                                                          \
		if (*pointer)                                                                      \
			free_function(*pointer);                                                   \
	}

static inline void cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}

/* Closes a descriptor and keeps errno, so that it may run on an error path. */
static inline void cleanup_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		errno = saved;
	}
}

static inline void cleanup_fclose(FILE **stream)
{
	if (*stream)
		fclose(*stream);
}

static inline void cleanup_closedir(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

#define CLEANUP_FREE  CLEANUP(cleanup_free)
#define CLEANUP_CLOSE CLEANUP(cleanup_close)

/* Hands a value over and leaves nothing behind for the cleanup: return TAKE_PTR(object); */
#define TAKE_PTR(pointer)                                                                          \
	__extension__({                                                                            \
		__typeof__(pointer) taken_ = (pointer);                                            \
		(pointer) = NULL;                                                                  \
		taken_;                                                                            \
	})
#define TAKE_FD(fd)                                                                                \
	__extension__({                                                                            \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define PRINTF_LIKE(format_index, first_argument)                                                  \
	__attribute__((format(printf, format_index, first_argument)))

#endif
