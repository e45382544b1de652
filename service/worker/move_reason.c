/* SPDX-License-Identifier: Apache-2.0 */
#include "move_reason.h"

#include "cleanup.h"

const struct move_reason *move_reasons(size_t *ret_count)
{
	static const struct move_reason reasons[] = {
		{PAGE_MOVE_BUSY, REMAINDER_PAGE_BUSY, "held or in use at each of several tries"},
		{PAGE_MOVE_NO_ROOM, REMAINDER_NO_ROOM, "no free page of their size at the destination"},
		{PAGE_MOVE_NOT_PERMITTED, REMAINDER_NOT_PERMITTED,
		 "the destination is outside the guest's cpuset, or moving is forbidden"},
		{PAGE_MOVE_FAULT, REMAINDER_NOT_MIGRATABLE, "of a kind that the kernel does not move"},
		{PAGE_MOVE_NOT_TRIED, REMAINDER_NOT_TRIED, "given up among many that were busy"},
	};

	*ret_count = ARRAY_SIZE(reasons);
	return reasons;
}
