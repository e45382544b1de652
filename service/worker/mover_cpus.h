/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On which processors a mover of a guest's pages should run.
 */
#ifndef BALLAST_SERVICE_MOVER_CPUS_H
#define BALLAST_SERVICE_MOVER_CPUS_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sysroot;

/*
 * Those of the destination nodes (a mask), less those that the guest's vCPU threads are bound to: the copies are made
 * by the mover, which near the destination reads far and writes near. Where too few of them are left, all but the
 * guest's own. False where those are too few too, or the guest has none of its own: then it had better run wherever the
 * kernel likes.
 */
bool mover_cpus_choose(const struct sysroot *sysroot, pid_t pid, uint64_t nodes, unsigned threads,
		       cpu_set_t *ret_cpus);

#endif
