/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test and its worker without a kernel agree on.
 */
#ifndef BALLAST_TESTS_FAKE_KERNEL_WORKER_H
#define BALLAST_TESTS_FAKE_KERNEL_WORKER_H

/* In the environment: the file of the guest's cgroups, JSON. */
#define FAKE_KERNEL_GROUPS "FAKE_KERNEL_GROUPS"

#endif
