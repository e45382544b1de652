/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rate that is the host's, shared by the moves that go between the same two nodes at the same time. Pure.
 *
 * Each move has one rate for all its pairs of nodes. So it counts every move that has any pair with it: on no pair do all
 * together have more than the whole, and on some they have less.
 */
#ifndef BALLAST_SERVICE_BUDGET_SHARE_H
#define BALLAST_SERVICE_BUDGET_SHARE_H

#include <stdbool.h>
#include <stdint.h>

struct step;

/*
 * Do two MOVE_PAGES steps copy from one same node to one same other? By what was planned: where the pages lay then, and
 * where they go. An undo goes the other way.
 */
bool budget_share_meets(const struct step *one, bool one_undoes, const struct step *other, bool other_undoes);

/* Of a rate that so many have together; never 0, which would be no limit, unless the whole is. */
uint64_t budget_share_part(uint64_t bytes_per_s, unsigned sharers);

#endif
