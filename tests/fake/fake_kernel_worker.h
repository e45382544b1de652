/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test and its worker without a kernel agree on.
 */
#ifndef BALLAST_TESTS_FAKE_KERNEL_WORKER_H
#define BALLAST_TESTS_FAKE_KERNEL_WORKER_H

/* The guest's cgroups, JSON; the number is the test's process. */
#define FAKE_KERNEL_GROUPS "/tmp/ballast-groups-%d.json"

#endif
