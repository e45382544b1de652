/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a udev rule of the guest onlines memory beside its kernel: then it is anybody's guess in which zone a block lands.
 */
#ifndef BALLAST_AGENT_UDEV_RULES_H
#define BALLAST_AGENT_UDEV_RULES_H

#include <stdbool.h>
#include "wire_limits.h"

struct sysroot;

/*
 * Writes the path of the first rules file with such a rule, as printable ASCII; empty: there is none. Of files of the same
 * name udev reads that of the first of its directories alone, and one that is a link to /dev/null or empty masks the others
 * (udev(7)). What depends on something that cannot be known here counts as true, so that no rule is overlooked; a rule for
 * another hypervisor, by its DMI names or CONST{virt}, does not count.
 */
void udev_rules_find(const struct sysroot *sysroot, char ret_path[LIMIT_RULE]);

#endif
