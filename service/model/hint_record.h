/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of a hint over restarts of the daemon: what was said of a piece of memory, and what was last tried for it.
 */
#ifndef BALLAST_SERVICE_HINT_RECORD_H
#define BALLAST_SERVICE_HINT_RECORD_H

#include <stdint.h>
#include "operation_record.h"
#include "snapshot.h"

struct hint_record {
	struct snapshot_hint hint;
	uint64_t tried_at_ms;		  /* wall clock; 0: never */
	enum hint_risk tried_risk;
	char tried_target[96];		  /* wish_target() of that operation: other pieces may have the same */
	char boot_id[DRAIN_BOOT_ID_SIZE]; /* of the kernel under which it was said; empty: not known */
};

#endif
