/* SPDX-License-Identifier: Apache-2.0 */
#include "job_fixture.h"

#include <stdio.h>
#include <string.h>
#include "worker_jobs.h"

void job_fixture_init(struct job_fixture *fixture, enum step_kind kind)
{
	char path[64];

	memset(fixture, 0, sizeof(*fixture));
	fixture_tree_init(&fixture->tree);
	fixture_tree_write(&fixture->tree, "/sys/devices/system/memory/block_size_bytes",
			   "1000000\n");
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)getpid());
	fixture_tree_write(&fixture->tree, path,
			   "%d (qemu) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n",
			   (int)getpid(), JOB_FIXTURE_START_TIME);
	worker_control_init(&fixture->control, NULL);
	step_init(&fixture->job.step, kind);
	strcpy(fixture->job.step.guest_name, "g1");
	fixture->job.process = (struct worker_process){getpid(), JOB_FIXTURE_START_TIME};
	fixture->context = (struct job_context){
		.sysroot = fixture->tree.sysroot,
		.control = &fixture->control,
		.job = &fixture->job,
		.result = &fixture->result,
	};
}

void job_fixture_done(struct job_fixture *fixture)
{
	fixture_tree_done(&fixture->tree);
	worker_result_done(&fixture->result);
	worker_job_done(&fixture->job);
	json_decref(fixture->before);
}

void job_fixture_prepare(struct job_fixture *fixture, enum worker_job_kind kind)
{
	worker_result_done(&fixture->result);
	memset(&fixture->result, 0, sizeof(fixture->result));
	free(fixture->job.before);
	fixture->job.before = kind == WORKER_JOB_UNDO ? json_dumps(fixture->before, 0) : NULL;
	fixture->job.kind = kind;
	fixture->context.stop = WORKER_CONTROL_GO;
}

void job_fixture_run(struct job_fixture *fixture, enum worker_job_kind kind)
{
	job_fixture_prepare(fixture, kind);
	worker_jobs_run(&fixture->context);
	if (kind == WORKER_JOB_BEFORE) {
		json_decref(fixture->before);
		fixture->before = json_incref(fixture->result.values);
	}
}

const struct remainder *job_fixture_remainder(const struct job_fixture *fixture,
					      enum remainder_code code)
{
	const struct remainder_list *list = &fixture->result.remainder;

	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].code == code)
			return &list->items[i];
	return NULL;
}

void job_fixture_read(struct job_fixture *fixture, const char *path, char *text, size_t size)
{
	struct sysroot *plain;

	CHECK_INT(sysroot_new(fixture->tree.root, &plain), 0);
	text[0] = '\0';
	sysroot_read_text(plain, text, size, "%s", path);
	sysroot_free(plain);
}
