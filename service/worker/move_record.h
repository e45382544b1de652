/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the undo of a move goes by: where each page was that the move is to take away.
 */
#ifndef BALLAST_SERVICE_MOVE_RECORD_H
#define BALLAST_SERVICE_MOVE_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include "move_crew.h"
#include "page_homes.h"

struct guest_view;
struct job_context;
struct physical_range;
struct step;

/*
 * Looks at all of the guest, what only its files have as well, and adds to homes, which is empty, what the context's step has
 * a destination for, and (PAGE_HOMES_STAYS) what lies where it brings that. 0, -ECANCELED with the context's stop saying why,
 * or -errno of page_survey_new().
 */
int move_record_take(struct job_context *context, const struct guest_view *view, const struct physical_range *targets,
		     struct page_homes *homes);

/*
 * To which node pages belong that have come to lie on this one since the move: to the one among homes->nodes that the step has
 * filled it from. -1: that is none, or several, or the step takes what lies in physical ranges, while policies stay. Pure.
 */
int move_record_newcomers_home(const struct page_homes *homes, const struct step *step, int cell, int node);

/*
 * Where the first pages of a run go by homes, and those that have none to newcomers_home (-1: they stay). Astray is what cannot
 * be brought home: what lies on one of the nodes in moved and whose home is not known, and in a huge page what was not on the
 * node of the most of it. Pure.
 */
struct move_place move_record_place(const struct page_homes *homes, const struct page_survey_run *run, uint64_t moved,
				    int newcomers_home);

#endif
