/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of pages that did not move, by what became of them in move_pages(2).
 */
#ifndef BALLAST_SERVICE_MOVE_REASON_H
#define BALLAST_SERVICE_MOVE_REASON_H

#include <stddef.h>
#include "page_move.h"
#include "remainder.h"

struct move_reason {
	enum page_move_outcome outcome;
	enum remainder_code code;
	const char *detail;
};

/* Each outcome that leaves a page where it was and is not the end of the page, in the order in which they are told. */
const struct move_reason *move_reasons(size_t *ret_count);

#endif
