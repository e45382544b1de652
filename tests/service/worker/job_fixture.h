/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job of a worker on a tree of kernel files, without a daemon.
 */
#ifndef BALLAST_TESTS_JOB_FIXTURE_H
#define BALLAST_TESTS_JOB_FIXTURE_H

#include "fixture_tree.h"
#include "job_context.h"
#include "unit.h"

/* The start time of the process in the tree. It has our own number, because its life is asked of the real kernel. */
#define JOB_FIXTURE_START_TIME 77

struct job_fixture {
	struct fixture_tree tree;
	struct worker_control control;
	struct worker_job job;
	struct worker_result result;
	struct job_context context;
	json_t *before; /* owned; the last BEFORE's values */
};

/* With /proc/PID/stat and a block size of 16 MiB. */
void job_fixture_init(struct job_fixture *fixture, enum step_kind kind);
void job_fixture_done(struct job_fixture *fixture);

/* All but the run itself, which is worker_jobs_run() on the fixture's context. */
void job_fixture_prepare(struct job_fixture *fixture, enum worker_job_kind kind);
/* Runs the job afresh. BEFORE keeps its values; UNDO is given them. */
void job_fixture_run(struct job_fixture *fixture, enum worker_job_kind kind);

/*
 * A run that is cancelled as soon as it has a child process, as one that writes to a file of the kernel has for as long as
 * that takes. Returns how many milliseconds it took from then on.
 */
uint64_t job_fixture_run_cancelled(struct job_fixture *fixture);

/* The remainder of that code, or NULL. */
const struct remainder *job_fixture_remainder(const struct job_fixture *fixture,
					      enum remainder_code code);
void job_fixture_read(struct job_fixture *fixture, const char *path, char *text, size_t size);

#endif
