/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why not: the one shape in which everything that did not happen, or cannot happen, is told.
 * Remainders, blockers, holders (holder_report.h) and warnings all are lists of this.
 */
#ifndef BALLAST_SERVICE_REMAINDER_H
#define BALLAST_SERVICE_REMAINDER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cleanup.h"
#include "name_table.h"

/* The registry of codes. Every code has a row in remainder.c with a sentence for the documentation. */
enum remainder_code {
	REMAINDER_NONE = 0,
	/* resize */
	REMAINDER_HUGE_PAGES_IN_USE,
	REMAINDER_GIGANTIC_PAGES,
	REMAINDER_PINNED,
	REMAINDER_KERNEL_ZONE,
	REMAINDER_BELOW_FLOOR,
	REMAINDER_VETOED,
	REMAINDER_NOT_ONLINED,
	REMAINDER_WRONG_ZONE,
	REMAINDER_GUEST_BUSY,
	REMAINDER_GUEST_PRESSURE,
	REMAINDER_HOOK_FAILED,
	REMAINDER_NO_AGENT,
	REMAINDER_AGENT_LOST,
	REMAINDER_GUEST_REBOOTED,
	REMAINDER_GUEST_GONE,
	REMAINDER_DRIVER_STALLED,
	REMAINDER_SUPERSEDED,
	/* move */
	REMAINDER_PAGE_BUSY,
	REMAINDER_NOT_MIGRATABLE,
	REMAINDER_NOT_TRIED,
	REMAINDER_CAME_MEANWHILE,
	REMAINDER_NO_ROOM,
	REMAINDER_NOT_PERMITTED,
	REMAINDER_NOT_MAPPED,
	REMAINDER_SWAPPED,
	REMAINDER_VFIO_PINNED,
	REMAINDER_USERFAULTFD,
	REMAINDER_MIGRATION_JOB,
	REMAINDER_CPUSET_CANNOT_CHANGE,
	REMAINDER_POLICY_WOULD_SHIFT,
	REMAINDER_POLICY_NOT_SETTABLE,
	REMAINDER_AUTONUMA_MAY_RETURN,
	REMAINDER_REMOTE_MEMORY,
	REMAINDER_ENCRYPTED,
	REMAINDER_PRIVATE_MEMORY,
	REMAINDER_WOULD_SPLIT,
	REMAINDER_ORDER_NOT_KEPT,
	REMAINDER_COPIED_SOONER,
	REMAINDER_NO_KERNEL_MEMORY,
	REMAINDER_HOME_UNKNOWN,
	/* drain */
	REMAINDER_KERNEL_MEMORY,
	REMAINDER_NOT_MOVABLE,
	REMAINDER_BLOCK_BUSY,
	REMAINDER_HOST_PROCESS,
	REMAINDER_UNKNOWN_PAGES,
	REMAINDER_POISONED,
	REMAINDER_UNCORRECTED_ERRORS,
	REMAINDER_WRITEBACK,
	REMAINDER_NO_CPUSET,
	REMAINDER_GUEST_MEMORY,
	REMAINDER_NOT_SURVEYED,
	REMAINDER_INTERLEAVED,
	REMAINDER_NOT_EJECTABLE,
	REMAINDER_EJECT_FAILED,
	REMAINDER_EJECT_REFUSED,
	REMAINDER_HUGE_PAGE_POOL,
	REMAINDER_SLICE_CPUSET,
	REMAINDER_HELD,
	REMAINDER_KEPT,
	/* any */
	REMAINDER_CONSENT_REQUIRED,
	REMAINDER_STORED_XML,
	REMAINDER_DEADLINE,
	REMAINDER_CANCELLED,
	REMAINDER_WORKER_DIED,
	REMAINDER_KERNEL_STUCK,
	REMAINDER_LIBVIRT_REFUSED,
	REMAINDER_LIBVIRT_DOWN,
	REMAINDER_RESTARTED,
	REMAINDER_CHANGED_SINCE,
	REMAINDER_UNDO_FAILED,
	REMAINDER_UNKNOWN_TARGET,
	REMAINDER_INVALID,
	REMAINDER_CODE_COUNT,
};

NAME_TABLE_DECLARE(remainder_code);

/* One sentence for people, as the documentation prints it. */
const char *remainder_code_meaning(enum remainder_code code);

/* One consent for each harm. A set of them is a mask of 1u << consent. */
enum consent {
	CONSENT_SHRINK_GUESTS,
	CONSENT_REMOTE_MEMORY,
	CONSENT_SPLIT_HUGE_PAGES,
	CONSENT_GIGANTIC_PAGES,
	CONSENT_LOCKED_GUESTS,
	CONSENT_STORED_XML,
	CONSENT_POLICY_SHIFT,
	CONSENT_MAY_CRASH_HOST,
	CONSENT_COUNT,
};

NAME_TABLE_DECLARE(consent);

struct remainder {
	enum remainder_code code;
	char object[96];	/* "guest g1", "block 40", "dimm acpi-MP00", "blocks 36-37" */
	uint64_t bytes;		/* 0 where bytes make no sense */
	char detail[192];	/* cause, with numbers */
	char way_out[160];	/* what the reader can do */
	int consent;		/* enum consent whose flag lifts it, or -1 */
};

/* Fills one that no consent lifts. way_out NULL takes the registry's usual one for the code; detail is printf-like. */
void remainder_set(struct remainder *remainder, enum remainder_code code, const char *object, uint64_t bytes,
		   const char *way_out, const char *detail, va_list arguments) PRINTF_LIKE(6, 0);

/*
 * A bounded list. More than REMAINDER_LIST_MAX entries are merged by code into the last entries, so that the
 * sum of bytes stays true. Zero-initialise; no release needed.
 */
#define REMAINDER_LIST_MAX 24

struct remainder_list {
	size_t count;
	struct remainder items[REMAINDER_LIST_MAX];
};

/*
 * Adds one; an entry with the same code, object, detail and consent -1 grows by bytes instead. detail is printf-like.
 * way_out NULL takes the registry's usual one for the code.
 */
struct remainder *remainder_list_add(struct remainder_list *list, enum remainder_code code, const char *object,
				     uint64_t bytes, const char *way_out, const char *detail, ...)
	PRINTF_LIKE(6, 7);
/* The same, naming the consent that lifts it. */
struct remainder *remainder_list_add_consent(struct remainder_list *list, enum remainder_code code,
					     enum consent consent, const char *object, uint64_t bytes,
					     const char *detail, ...) PRINTF_LIKE(6, 7);
void remainder_list_add_copy(struct remainder_list *list, const struct remainder *remainder);
void remainder_list_append(struct remainder_list *list, const struct remainder_list *more);
/* What has the one code gets the other, with its usual way out, and that detail. */
void remainder_list_recode(struct remainder_list *list, enum remainder_code from, enum remainder_code to,
			   const char *detail);
uint64_t remainder_list_bytes(const struct remainder_list *list);
/* Is it of bytes that no page table of QEMU shows? */
bool remainder_code_is_unseen(enum remainder_code code);
bool remainder_list_has(const struct remainder_list *list, enum remainder_code code);

#endif
