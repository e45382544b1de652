/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel files of a small host: nodes 0, 1 and 3 of 1 GiB; node 3 is the DIMM acpi-MP00, eight
 * movable blocks of 128 MiB from 0x200000000; blocks 0 to 7 are node 0's, in kernel zones.
 */
#ifndef BALLAST_TESTS_FAKE_HOST_H
#define BALLAST_TESTS_FAKE_HOST_H

#include "fixture_tree.h"

#define FAKE_HOST_DIMM	      "acpi-MP00"
#define FAKE_HOST_DIMM_START  UINT64_C(0x200000000)
#define FAKE_HOST_BLOCK_BYTES (UINT64_C(128) << 20)
#define FAKE_HOST_DIMM_BLOCKS 8u
#define FAKE_HOST_FIRST_BLOCK 64u

void fake_host_init(struct fixture_tree *tree);
/* The process of a guest, as it is found by its command line. */
void fake_host_add_process(struct fixture_tree *tree, int pid, unsigned long long start_time,
			   const char *name, const char *uuid);
void fake_host_remove_process(struct fixture_tree *tree, int pid);

#endif
