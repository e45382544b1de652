/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the probe share.
 */
#ifndef BALLAST_KVM_KERNEL_PROBE_PRIV_H
#define BALLAST_KVM_KERNEL_PROBE_PRIV_H

#include "cleanup.h"
#include "kernel_probe.h"
#include "node_set.h"

void kernel_probe_note(struct kernel_probe *probe, enum kernel_feature feature,
		       enum kernel_probe_state state, const char *format, ...) PRINTF_LIKE(4, 5);
/* Notes yes, or why not. error is 0 or an errno of either sign; what is forbidden is no better than absent. */
void kernel_probe_note_result(struct kernel_probe *probe, enum kernel_feature feature, int error);

/* move_pages(2) on a page of ours; node_id NULL: only asks where it is. 0 or -errno. */
long kernel_probe_move(void *page, const int *node_id, int *status);

/* kernel_probe_pages.c: how pages and policies of our own behave. nodes: those with memory. */
void kernel_probe_pages(const struct sysroot *sysroot, struct kernel_probe *probe,
			const struct node_set *nodes);

/* kernel_probe_firmware.c: what the firmware's tables tell. */
void kernel_probe_firmware(const struct sysroot *sysroot, struct kernel_probe *probe);

#endif
