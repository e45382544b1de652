/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast this very host has been: learnt from operations that have ended, for what plans tell beforehand.
 */
#ifndef BALLAST_SERVICE_MEASURED_RATE_H
#define BALLAST_SERVICE_MEASURED_RATE_H

#include <stdbool.h>
#include <stdint.h>
#include "name_table.h"

struct operation_record;

enum rate_kind {
	/* by bytes */
	/* of one move, whatever else ran beside it */
	RATE_KIND_MOVE,		/* pages of a guest in base pages, or in transparent huge ones */
	RATE_KIND_MOVE_HUGE,	/* in huge pages of a pool below 1 GiB */
	RATE_KIND_MOVE_GIGANTIC,
	RATE_KIND_OFFLINE,	/* blocks of the host that went */
	RATE_KIND_PLUG,
	RATE_KIND_UNPLUG,
	/* each */
	RATE_KIND_STEP,		/* what a step costs beside its bytes: looking, writing ahead, starting a worker */
	RATE_KIND_CHILD,	/* what a guest's move costs beside its pages */
	RATE_KIND_EJECT,
	RATE_KIND_COUNT
};
NAME_TABLE_DECLARE(rate_kind);

/* Of bytes, or of things counted in thousandths? */
bool rate_kind_is_bytes(enum rate_kind kind);
#define RATE_EACH UINT64_C(1000)

/* So much was done in so many milliseconds: what was seen last weighs as much as all before it. */
struct measured_rate {
	uint64_t amount;	/* 0: not measured */
	uint64_t ms;
};

struct measured_rates {
	struct measured_rate of[RATE_KIND_COUNT];
};

/* How long so much takes by it; 0 where it was not measured. */
uint64_t measured_rate_ms(const struct measured_rate *rate, uint64_t amount);
/* Bytes, or thousandths, a second; 0: not measured. */
uint64_t measured_rate_per_s(const struct measured_rate *rate);

/*
 * What an operation that has ended tells; pages is what kind its guest's are, where it moves any. Of a rate that was held
 * back by a budget only where nothing better is known. Returns a mask of the kinds that changed.
 */
uint32_t measured_rates_learn(struct measured_rates *rates, const struct operation_record *operation,
			      enum rate_kind pages);

#endif
