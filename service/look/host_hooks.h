/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the host's own programs a drain will run.
 */
#ifndef BALLAST_SERVICE_HOST_HOOKS_H
#define BALLAST_SERVICE_HOST_HOOKS_H

#include "snapshot.h"

struct sysroot;

/* Fills snapshot->hooks from the directory, which need not be there. What cannot be read is told in it. */
void host_hooks_read(const struct sysroot *sysroot, const char *directory, struct snapshot *snapshot);

#endif
