/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's memory as a job sees it: whose process it is, where its RAM lies, and which cell each range belongs to.
 */
#ifndef BALLAST_SERVICE_GUEST_VIEW_H
#define BALLAST_SERVICE_GUEST_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include "guest_map.h"
#include "job_context.h"
#include "page_survey.h"
#include "physical_map.h"
#include "process_identity.h"

struct guest_view {
	struct process_identity identity;
	struct guest_map map;
	struct physical_map *physical; /* owned */
	int8_t *entries;	       /* owned; by range: which of the job's RAM it is, or -1 where it cannot be told */
	int8_t *cells;		       /* owned; by range: the guest's cell, or -1 likewise */
};

/* False with the result filled: the guest is gone, or cannot be looked at. The caller calls guest_view_done() always. */
bool guest_view_open(struct guest_view *view, struct job_context *context, bool with_policies);
void guest_view_done(struct guest_view *view);

/* False with the result filled where the process is not the one any more, or that cannot be told.
 */
bool guest_view_is_same(const struct guest_view *view, struct job_context *context);
/* True with the result filled where the process is not the one any more. */
bool guest_view_is_gone(const struct guest_view *view, struct job_context *context);

/* False with the result filled where its memory was under a userfaultfd when the view was opened: hands off. */
bool guest_view_is_touchable(const struct guest_view *view, struct job_context *context);
/* Looks now, by a link for each of its descriptors. 0; -EBUSY where there is a userfaultfd; or another -errno. */
int guest_view_check_userfaultfd(const struct guest_view *view, const struct sysroot *sysroot);

struct page_survey_range guest_view_range(const struct guest_view *view, size_t index);

/*
 * Which range is which entry of the job's RAM, and so of which cell. A size that occurs once is told by itself, a file
 * that QEMU named after the cell by its name. Other ranges of the same size are told by the order in which QEMU made them,
 * and only where two independent traces of it agree: falling addresses (mm/mmap.c searches from the top) and rising
 * descriptors; or, for memory without a file, falling addresses and the nodes that libvirt bound each cell to. Else -1:
 * never a guess. Where all of that size belong to one cell the cell is told without the entry. fds has the lowest
 * descriptor of each range's file, -1 for none. Pure.
 */
void guest_view_assign_ram(const struct worker_job *job, const struct guest_map *map, const int *fds, int8_t *entries,
			   int8_t *cells);

#endif
