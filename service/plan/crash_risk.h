/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory with uncorrected errors. A page that is moved, or that the kernel takes out of a block, is read whole; where the
 * kernel's copy does not survive such an error (mm/migrate.c without folio_mc_copy()), the host stops. So whoever wants that
 * memory copied must have agreed to it (may_crash_host). Unplugging memory from a guest copies nothing, and asks nobody.
 *
 * EDAC tells the DIMM, not the page: all of a DIMM's memory counts. A hint may tell the block. What neither has told is not
 * known.
 */
#ifndef BALLAST_SERVICE_CRASH_RISK_H
#define BALLAST_SERVICE_CRASH_RISK_H

#include "plan_check_priv.h"

/* A drain as a whole: its blocks, and what its guests have where they must leave. */
void crash_risk_check_drain(struct plan_check *check, const struct drain_scope *scope);
/* One guest of a drain, with what it has where it must leave. */
void crash_risk_check_guest(struct plan_check *check, const struct drain_scope *scope, const struct snapshot_guest *guest);
/* A guest that is to be moved: what it has on the nodes that it leaves. */
void crash_risk_check_move(struct plan_check *check, const struct snapshot_guest *guest);
/* Must no block of a drain that is under way go offline, because of errors that have come since? */
bool crash_risk_bars(const struct plan_input *input, const struct drain_scope *scope);
/* What that keeps online; at most *rest, which shrinks by it. */
void crash_risk_tell(const struct plan_input *input, const struct drain_scope *scope, struct remainder_list *list,
		     uint64_t *rest);

/* The wish is a move: its pages would come to lie there. To write them harms no host, but who reads them is the guest. */
void crash_risk_warn_move(const struct plan_input *input, struct remainder_list *warnings);
/* The wish is a drain: errors that belong to no DIMM that is known may be the target's. */
void crash_risk_warn_drain(const struct plan_input *input, const struct drain_scope *scope,
			   struct remainder_list *warnings);

#endif
