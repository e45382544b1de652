/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tiny guest on /dev/kvm: one vCPU that writes a counting pattern over its memory for ever, so
 * that moving the memory under it can be proved on this very host.
 */
#ifndef BALLAST_KVM_MICROVM_H
#define BALLAST_KVM_MICROVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cleanup.h"
#include "name_table.h"

struct failure;

enum microvm_backing {
	MICROVM_BACKING_ANON,
	MICROVM_BACKING_MEMFD,
	MICROVM_BACKING_THP, /* anonymous, and asked to be transparent huge pages */
	MICROVM_BACKING_HUGETLB,
	MICROVM_BACKING_COUNT
};
NAME_TABLE_DECLARE(microvm_backing);

struct microvm_options {
	uint64_t memory_bytes; /* the pattern's memory: 1 MiB to 1 GiB, a multiple of page_bytes */
	enum microvm_backing backing;
	uint64_t page_bytes;  /* of hugetlb and thp; 0 otherwise */
	const char *kvm_path; /* NULL: /dev/kvm */
};

struct microvm;

/*
 * Builds the machine and faults its memory in, where the calling thread's memory policy wants it.
 * Whether thp memory became huge pages only a look at the page table can say. -ENODEV where there is no usable /dev/kvm (or this
 * is no x86-64), -ENOMEM where huge pages are short; failure (may be NULL) says it in words.
 */
int microvm_new(const struct microvm_options *options, struct microvm **ret_vm,
		struct failure *failure);
struct microvm *microvm_free(struct microvm *vm); /* the vCPU must not be running */
CLEANUP_DEFINE(struct microvm *, microvm_free)

/* The memory that the guest writes to, in this process: what the caller moves (page_move, pid 0).
 */
void *microvm_memory(const struct microvm *vm, uint64_t *ret_bytes);

enum microvm_end {
	MICROVM_END_STOPPED,	 /* microvm_stop(), or the time was up after it had run */
	MICROVM_END_NO_PROGRESS, /* time was up and the guest had not written one page: KVM cannot
				    run it here */
	MICROVM_END_CORRUPT,   /* the guest itself found a page that was not as it had written it */
	MICROVM_END_KVM_ERROR, /* an exit that does not belong here; failure names it */
	MICROVM_END_COUNT
};
NAME_TABLE_DECLARE(microvm_end);

/*
 * Runs the vCPU in the calling thread for at most time_ms. A timer signal of this thread
 * (SIGRTMIN + 1 is blocked, and unblocked only inside KVM_RUN) bounds every stay in the guest, so
 * that a KVM that hangs is left in time. Returns 0 with an end, or -errno.
 */
int microvm_run(struct microvm *vm, unsigned time_ms, enum microvm_end *ret_end,
		struct failure *failure);

/* Ends microvm_run() from another thread, within 20 ms. A later run starts afresh where this one
 * stood. */
void microvm_stop(struct microvm *vm);

struct microvm_stats {
	uint64_t exits;		   /* one a page written */
	uint64_t rounds;	   /* over the whole memory */
	uint64_t pages;		   /* written */
	uint64_t longest_pause_ns; /* between two exits of the vCPU */
	uint64_t first_exit_ns;	   /* from the start of microvm_run() to its first exit */
	/* As of the last timer signal, one each 10 ms while its thread has a CPU: */
	uint64_t interruptions; /* how often such a signal ended a stay in the guest */
	uint64_t cpu_ns;	/* what its thread ran, since the thread began */
};

/* A snapshot; may be called while it runs. reset_pause starts a new longest pause, to measure one
 * phase. */
void microvm_read_stats(struct microvm *vm, struct microvm_stats *ret_stats);
void microvm_reset_pause(struct microvm *vm);

/*
 * Compares every word with what the guest must have written by now; only while the vCPU stands.
 * *ret_torn_words is the number of those that differ (0: proved).
 */
int microvm_verify(const struct microvm *vm, uint64_t *ret_torn_words);

#endif
