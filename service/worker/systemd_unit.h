/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices that systemd owns: it writes their cgroups as their units say, so what somebody else writes there does not last.
 * Spoken to through systemctl(1).
 */
#ifndef BALLAST_SERVICE_SYSTEMD_UNIT_H
#define BALLAST_SERVICE_SYSTEMD_UNIT_H

#include <stdbool.h>
#include "hook.h"
#include "node_set.h"

struct job_context;
struct sysroot;

/* Does systemd run here, as sd_booted(3) tells, and is it a slice by its name? */
bool systemd_unit_owns(const struct sysroot *sysroot, const char *name);

/* AllowedMemoryNodes=, empty where it limits nothing. 0; -errno with the cause in why. */
int systemd_unit_read_nodes(struct job_context *context, const char *name, struct node_set *ret_nodes,
			    char why[HOOK_TEXT_SIZE]);
/* Sets it until the next boot. systemd writes the cgroup a moment later, and says nothing where it cannot. */
int systemd_unit_set_nodes(struct job_context *context, const char *name, const struct node_set *nodes,
			   char why[HOOK_TEXT_SIZE]);

#endif
