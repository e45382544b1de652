/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ballastd and its worker processes say to each other, over a SOCK_SEQPACKET pair: one JSON object a packet,
 * {"v":1,"type":...}. Down: start limit pause resume cancel. Up: hello progress result.
 * A message that outgrows a packet is sent in parts (worker_channel.h).
 */
#ifndef BALLAST_SERVICE_WORKER_MESSAGE_H
#define BALLAST_SERVICE_WORKER_MESSAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "cgroup_memory.h"
#include "failure.h"
#include "name_table.h"
#include "remainder.h"
#include "snapshot.h"
#include "step.h"

#define WORKER_MESSAGE_VERSION 1
/* One packet: the default socket buffer (212992) takes several of them; a survey's answer is a few KiB. */
#define WORKER_MESSAGE_MAX     65536
/* A whole message, parts put together: what is written down of where a guest's pages are (page_homes.h) stays below. */
#define WORKER_MESSAGE_WHOLE_MAX (8u << 20)
#define WORKER_DETAIL_SIZE	 160
#define WORKER_PATH_SIZE	 256
/* DIMMs of one survey: the largest boards have some 200 slots. */
#define WORKER_DIMMS_MAX	 256

enum worker_job_kind {
	WORKER_JOB_SURVEY,	/* residency of one guest per node and DIMM; runs on asked-for nodes for an undo */
	WORKER_JOB_STEP,	/* a step of one of the worker's kinds: step */
	WORKER_JOB_UNDO,	/* undo of such a step: step and before */
	WORKER_JOB_BEFORE,	/* the values that a step will replace */
	WORKER_JOB_HOLDERS,	/* who holds the pages of dimms: worker_holders.h */
	WORKER_JOB_COUNT
};
NAME_TABLE_DECLARE(worker_job_kind);

/* Who the guest's process is: checked around every batch, because a process number may be reused. */
struct worker_process {
	int pid;
	uint64_t start_time;
};

struct worker_job {
	enum worker_job_kind kind;
	struct worker_process process;		/* survey and steps on a guest */
	/* RAM of the guest as the domain says: helps to find its mappings */
	size_t ram_size_count;
	uint64_t ram_sizes[SNAPSHOT_CELLS_MAX + SNAPSHOT_DEVICES_MAX];
	int8_t ram_cells[SNAPSHOT_CELLS_MAX + SNAPSHOT_DEVICES_MAX];	/* cell of each, -1 not known */
	/* host nodes that libvirt bound each to, 0 not told: tells cells of one size apart that have no file */
	uint64_t ram_nodes[SNAPSHOT_CELLS_MAX + SNAPSHOT_DEVICES_MAX];
	/* of a memory device: its guest-physical start, 0 not known, and what it is plugged by. Else 0 */
	uint64_t ram_addresses[SNAPSHOT_CELLS_MAX + SNAPSHOT_DEVICES_MAX];
	uint64_t ram_blocks[SNAPSHOT_CELLS_MAX + SNAPSHOT_DEVICES_MAX];
	size_t dimm_count;			/* survey: count bytes inside these too; holders: look at these */
	struct {
		char id[SNAPSHOT_NAME_SIZE];
		size_t range_count;
		struct snapshot_range ranges[SNAPSHOT_RANGES_MAX];
	} *dimms;				/* owned */
	bool policies_known;			/* survey: they need not be read again */
	uint64_t cpuset_nodes;			/* run the job from this memory placement; 0: as it is */
	struct step step;			/* of those that worker_job_has_step() */
	char *before;				/* owned, JSON text; UNDO */
	char hook_directory[WORKER_PATH_SIZE];	/* HOST_HOOKS: where they are; empty: nowhere */
	char operation[24];			/* HOST_HOOKS: whose step it is */
	uint64_t deadline_ms;			/* from the start of the job, 0: none */
	uint32_t silence_ms;			/* the pool's alone: one that says nothing for so long is killed; 0: it is not */
};

void worker_job_done(struct worker_job *job);
bool worker_job_has_step(const struct worker_job *job);
json_t *worker_job_to_json(const struct worker_job *job);
int worker_job_parse(const json_t *json, struct worker_job *ret_job, struct failure *failure);

enum worker_outcome {
	WORKER_OUTCOME_DONE,		/* all of it */
	WORKER_OUTCOME_PARTIAL,
	WORKER_OUTCOME_FAILED,
	WORKER_OUTCOME_CANCELLED,
	WORKER_OUTCOME_DIED,		/* made by the pool: the process ended without a result */
	WORKER_OUTCOME_STUCK,		/* made by the pool: it outlived SIGKILL */
	WORKER_OUTCOME_COUNT
};
NAME_TABLE_DECLARE(worker_outcome);

struct worker_result {
	enum worker_outcome outcome;
	uint64_t bytes_done;
	uint64_t longest_pause_us;	/* longest single kernel call, or the vCPU's longest pause */
	struct failure failure;
	struct remainder_list remainder;
	/*
	 * Owned by whoever delivers it, or NULL. Survey: see worker_survey. Before: the values. Step and undo: an object
	 * with "detail" (a sentence), "warnings" (remainders that did not fail anything) and facts of the step's kind.
	 */
	json_t *values;
};

void worker_result_done(struct worker_result *result);

/* What a survey found; parsed from worker_result.values. */
struct worker_survey {
	uint64_t node_bytes[SNAPSHOT_NODES_MAX];
	uint64_t resident_bytes, swapped_bytes, unmapped_bytes;
	size_t backing_count;
	struct snapshot_backing backings[SNAPSHOT_BACKINGS_MAX];
	size_t huge_count;
	struct snapshot_huge huges[SNAPSHOT_POOLS_MAX];
	bool has_policies;			/* read; else policy_*, balancing and those of the backings say nothing */
	enum policy_mode policy_mode;
	uint64_t policy_nodes;
	uint64_t cpuset_mems, cpuset_limit;
	char cgroup[CGROUP_MEMORY_PATH_SIZE];	/* the guest's own, as cgroup_memory_guest_path(); empty: none */
	uint64_t cpu_nodes;
	bool vfio, userfaultfd, locked, encrypted;
	bool balancing;				/* some of its policies let AutoNUMA move what they bind */
	bool loose;				/* some of what is told as bound only prefers its nodes, while a move lasts */
	uint64_t pinned_bytes, private_bytes, transparent_huge_bytes;
	bool counted;				/* counted_bytes are there: its cgroup's counters at the same time */
	uint64_t counted_bytes[SNAPSHOT_NODES_MAX];
	size_t residency_count;
	struct snapshot_residency residencies[SNAPSHOT_DEVICES_MAX];
	size_t place_count;
	struct snapshot_place places[SNAPSHOT_PLACES_MAX];	/* their DIMMs are those of dimms */
	uint64_t sharers_unlisted, sharers_unseen;
	size_t sharer_count;
	struct snapshot_sharer sharers[SNAPSHOT_SHARERS_MAX];
	size_t dimm_count;
	struct {
		char id[SNAPSHOT_NAME_SIZE];
		uint64_t bytes;
	} dimms[WORKER_DIMMS_MAX];
};

enum worker_message_type {
	WORKER_MESSAGE_START,
	WORKER_MESSAGE_LIMIT,
	WORKER_MESSAGE_PAUSE,
	WORKER_MESSAGE_RESUME,
	WORKER_MESSAGE_CANCEL,
	WORKER_MESSAGE_HELLO,
	WORKER_MESSAGE_PROGRESS,
	WORKER_MESSAGE_RESULT,
	WORKER_MESSAGE_TYPE_COUNT
};
NAME_TABLE_DECLARE(worker_message_type);

struct worker_message {
	enum worker_message_type type;
	struct worker_job job;		/* START */
	uint64_t bytes_per_s;		/* LIMIT */
	uint32_t stall_us;
	uint64_t guest_pause_us;
	uint64_t done_bytes;		/* PROGRESS */
	uint64_t total_bytes;
	char detail[WORKER_DETAIL_SIZE];
	struct worker_result result;	/* RESULT */
};

/* Releases what a parsed message owns; the struct may be on the stack, but is some 60 KiB. */
void worker_message_done(struct worker_message *message);
/* The text of a message, ASCII only, to be freed by the caller; NULL where memory is short. */
char *worker_message_to_text(const struct worker_message *message);
/*
 * Strict: unknown keys, wrong types and numbers out of range are refused. 0; -ENOMEM; -EPROTO for another version;
 * -EINVAL with *failure saying what is wrong.
 */
int worker_message_parse(const char *text, size_t length, struct worker_message *ret_message,
			 struct failure *failure);

json_t *worker_survey_to_json(const struct worker_survey *survey);
int worker_survey_parse(const json_t *json, struct worker_survey *ret_survey, struct failure *failure);

#endif
