/* SPDX-License-Identifier: Apache-2.0 */
/* For tests. */
#ifndef BALLAST_KVM_PAGE_HEAT_PRIV_H
#define BALLAST_KVM_PAGE_HEAT_PRIV_H

/* The page of our own whose entry tells whether the kernel has soft-dirty. */
const void *page_heat_probe_page(void);

#endif
