/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds a piece of the host's memory, for GET /v1/holders.
 */
#ifndef BALLAST_SERVICE_HOLDER_REPORT_H
#define BALLAST_SERVICE_HOLDER_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remainder.h"

/* Sorts of holders, in the order in which they are told. */
enum holder_class {
	HOLDER_CLASS_GUEST,
	HOLDER_CLASS_PROCESS, /* of the host, and alone in its cgroup */
	HOLDER_CLASS_CGROUP,  /* of several processes, of none, or not found; or none at all */
	HOLDER_CLASS_QEMU,    /* what the QEMU of a guest has beside the guest's memory */
	HOLDER_CLASS_OTHERS,  /* the sum of cgroups that were not told one by one */
	HOLDER_CLASS_KERNEL,
	HOLDER_CLASS_UNKNOWN,
	HOLDER_CLASS_POOL,
	HOLDER_CLASS_POISONED,
	HOLDER_CLASS_UNCOUNTED,	 /* the pages, where they could not be counted */
	HOLDER_CLASS_UNSURVEYED, /* guests that could not be looked at */
	HOLDER_CLASS_COUNT
};

/* Of one class so many are told, those that hold most; one more entry is the sum of all others of it. */
#define HOLDER_CLASS_ENTRIES_MAX 64

struct holder {
	enum holder_class class;
	bool has_pinned; /* how much of it is pinned, at most, is told */
	uint64_t pinned_bytes;
	struct remainder entry;
};

/*
 * Where the pages were counted, the bytes of the holders with free_bytes and offline_bytes are size_bytes, but for what
 * changed between the looks at the pages and at the guests' page tables. Zero-initialise.
 */
struct holder_report {
	size_t count;
	struct holder *holders; /* owned */
	bool is_counted;
	bool is_short_of_memory; /* some could not be added */
	uint64_t size_bytes, free_bytes;
	uint64_t offline_bytes; /* of blocks that are offline, given back to a device, or no memory at all */
};

void holder_report_done(struct holder_report *report);
/* The code is that of the class. way_out NULL takes the code's usual one; detail is printf-like. */
void holder_report_add(struct holder_report *report, enum holder_class class, const char *object, uint64_t bytes,
		       const char *way_out, const char *detail, ...) PRINTF_LIKE(6, 7);
/*
 * Of the one that was added last: of its bytes no more than these are pinned. Whoever pins is counted by process and not by
 * page, so it may be less, and more than its bytes stands for all of them.
 */
void holder_report_set_pinned(struct holder_report *report, uint64_t pinned_bytes);
/*
 * Once all are there: in the order of their classes, in each those first that hold most, and no more of each than
 * HOLDER_CLASS_ENTRIES_MAX with one entry for the sum of the others. The bytes of all entries stay the same.
 */
void holder_report_finish(struct holder_report *report);
uint64_t holder_report_bytes(const struct holder_report *report);

#endif
