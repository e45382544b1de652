/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker without a kernel. A survey finds 300 MiB of the guest on node 1 and 50 MiB in the first
 * DIMM it is asked about; a guest whose start time is 666 cannot be surveyed, and one with 667 has
 * ended; the memory of one with 668 is bound loosely, that of one with 669
 * is hugetlb, and that of one with 670 anonymous. Of pages it finds what holders() says. Other jobs do what the text of their step says, or else all of it.
 * The guest's cgroups are those in the file that FAKE_KERNEL_GROUPS names: [{path, inode, mems}].
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fake_kernel_worker.h"
#include "worker_channel.h"
#include "worker_holders.h"
#include "worker_spawn.h"

#define MIB (UINT64_C(1) << 20)

static void wait_for(short events)
{
	struct pollfd ready = {.fd = WORKER_SPAWN_CHANNEL_FD, .events = events};

	poll(&ready, 1, -1);
}

static int receive(struct worker_channel *channel, struct worker_message *message)
{
	int r;

	while ((r = worker_channel_receive(channel, message, NULL)) == -EAGAIN)
		wait_for(POLLIN);
	return r;
}

static void send_all(struct worker_channel *channel, const struct worker_message *message)
{
	worker_channel_send(channel, message);
	while (worker_channel_flush(channel) == -EAGAIN)
		wait_for(POLLOUT);
}

static void survey(const struct worker_job *job, struct worker_message *answer)
{
	struct worker_survey *survey = calloc(1, sizeof(*survey));

	if (!survey)
		return;
	if (job->process.start_time == 666) {
		answer->result.outcome = WORKER_OUTCOME_FAILED;
		failure_set(&answer->result.failure, ESRCH, "process", "cannot survey");
	} else if (job->process.start_time == 667) {
		answer->result.outcome = WORKER_OUTCOME_FAILED;
		remainder_list_add(&answer->result.remainder, REMAINDER_GUEST_GONE, "guest g1", 0, NULL, "ended");
	} else {
		survey->node_bytes[1] = survey->resident_bytes = 300 * MIB;
		survey->counted = true;
		survey->has_policies = !job->policies_known;
		survey->loose = job->process.start_time == 668;
		survey->cpuset_mems = 11;
		survey->cpu_nodes = 3;
		snprintf(survey->cgroup, sizeof(survey->cgroup), "/machine/g1");
		survey->backing_count = 1;
		survey->backings[0] = (struct snapshot_backing){.kind = job->process.start_time == 669   ? BACKING_KIND_HUGETLB
									: job->process.start_time == 670 ? BACKING_KIND_ANON
													 : BACKING_KIND_MEMFD,
								.page_bytes = 4096,
								.bytes = 300 * MIB};
		survey->dimm_count = job->dimm_count < 64 ? job->dimm_count : 64;
		for (size_t i = 0; i < survey->dimm_count; i++) {
			memcpy(survey->dimms[i].id, job->dimms[i].id, sizeof(survey->dimms[i].id));
			survey->dimms[i].bytes = i == 0 ? 50 * MIB : 0;
		}
		answer->result.values = worker_survey_to_json(survey);
	}
	free(survey);
}

static void add_group(struct worker_holders *pages, uint64_t inode, const char *path, int pid, size_t processes,
		      enum page_kind kind, uint64_t bytes)
{
	struct worker_holder *group = &pages->groups[pages->count++];

	group->owner.inode = inode;
	snprintf(group->owner.path, sizeof(group->owner.path), "%s", path);
	group->owner.pid = pid;
	snprintf(group->owner.name, sizeof(group->owner.name), "program");
	group->owner.process_count = processes;
	group->kinds[kind] = bytes;
	pages->movable[kind] += bytes;
}

/*
 * By the start of the first range: at 0 there is no answer. At 8 GiB the guest's group has 45 MiB shared and 3 MiB
 * anonymous, others have more; at 8.5 GiB its group has 45 MiB shared, and 60 MiB are hugetlb; at 8.75 GiB
 * it is one of many. Of the kernel's there is a little in every range.
 */
static void holders(const struct worker_job *job, struct worker_message *answer)
{
	struct worker_holders *pages = calloc(1, sizeof(*pages));

	if (!pages)
		return;
	if (job->dimm_count == 0 || job->dimms[0].ranges[0].start == 0) {
		answer->result.outcome = WORKER_OUTCOME_FAILED;
		failure_set(&answer->result.failure, ENOENT, "pages", "cannot see who holds them");
		free(pages);
		return;
	}
	for (size_t i = 0; i < job->dimm_count; i++)
		for (size_t r = 0; r < job->dimms[i].range_count; r++) {
			uint64_t bytes = job->dimms[i].ranges[r].end - job->dimms[i].ranges[r].start;

			if (strcmp(job->dimms[i].id, WORKER_HOLDERS_MOVABLE) != 0) {
				pages->kernel[PAGE_KIND_SLAB] += 4 * MIB;
				pages->kernel[PAGE_KIND_FREE] += bytes - 4 * MIB;
				continue;
			}
			pages->movable[PAGE_KIND_OTHER] += MIB;
			pages->movable[PAGE_KIND_POISONED] += 4096;
			pages->movable[PAGE_KIND_OFFLINE] += bytes - MIB - 4096;
		}
	if (job->dimms[0].ranges[0].start == UINT64_C(0x200000000)) {
		add_group(pages, 5, "/machine/g1/libvirt", 4711, 1, PAGE_KIND_SHMEM, 45 * MIB);
		pages->groups[0].kinds[PAGE_KIND_ANON] = 3 * MIB;
		pages->movable[PAGE_KIND_ANON] = 3 * MIB;
		add_group(pages, 6, "/machine/g10", 80, 1, PAGE_KIND_ANON, 7 * MIB);
		add_group(pages, 7, "/system/store", 90, 12, PAGE_KIND_SHMEM, 9 * MIB);
		/* Of some there is more pinned than lies there, and not by the largest. */
		pages->groups[1].owner.pinned_bytes = 64 * MIB;
		pages->groups[1].owner.pinner_pid = 80;
		strcpy(pages->groups[1].owner.pinner_name, "program");
		pages->groups[2].owner.pinned_bytes = MIB;
		pages->groups[2].owner.pinner_pid = 93;
		strcpy(pages->groups[2].owner.pinner_name, "rdma");
		add_group(pages, 0, "", 0, 0, PAGE_KIND_FILE, 2 * MIB);
		pages->rest_count = 30;
		pages->rest[PAGE_KIND_FILE] = 8 * MIB;
		pages->movable[PAGE_KIND_FILE] += 8 * MIB;
		pages->movable[PAGE_KIND_OFFLINE] -= (45 + 3 + 7 + 9 + 2 + 8) * MIB;
	}
	if (job->dimms[0].ranges[0].start == UINT64_C(0x220000000)) {
		add_group(pages, 5, "/machine/g1/libvirt", 4711, 1, PAGE_KIND_SHMEM, 45 * MIB);
		pages->movable[PAGE_KIND_HUGE_USED] = 60 * MIB;
		pages->movable[PAGE_KIND_OFFLINE] -= (45 + 60) * MIB;
	}
	if (job->dimms[0].ranges[0].start == UINT64_C(0x230000000)) {
		add_group(pages, 7, "/system/store", 90, 12, PAGE_KIND_SHMEM, 10 * MIB);
		pages->rest_count = 30;
		pages->rest[PAGE_KIND_ANON] = 54 * MIB;
		pages->rest[PAGE_KIND_SHMEM] = 50 * MIB;
		pages->movable[PAGE_KIND_ANON] += 54 * MIB;
		pages->movable[PAGE_KIND_SHMEM] += 50 * MIB;
		pages->movable[PAGE_KIND_OFFLINE] -= (10 + 54 + 50) * MIB;
	}
	answer->result.values = worker_holders_to_json(pages);
	free(pages);
}

static json_t *read_groups(void)
{
	const char *path = getenv(FAKE_KERNEL_GROUPS);

	return path ? json_load_file(path, 0, NULL) : NULL;
}

/* Each group with a set of its own has the step's first node then. */
static void write_groups(const struct step *step)
{
	char mems[8];
	json_t *groups = read_groups(), *group;
	size_t index;

	snprintf(mems, sizeof(mems), "%d", __builtin_ctzll(step->nodes));
	json_array_foreach(groups, index, group) {
		if (json_string_length(json_object_get(group, "mems")))
			json_object_set_new(group, "mems", json_string(mems));
	}
	if (groups)
		json_dump_file(groups, getenv(FAKE_KERNEL_GROUPS), JSON_COMPACT);
	json_decref(groups);
}

static void tell_rate(struct worker_channel *channel, uint64_t bytes_per_s)
{
	struct worker_message *progress = calloc(1, sizeof(*progress));

	if (!progress)
		return;
	progress->type = WORKER_MESSAGE_PROGRESS;
	progress->done_bytes = progress->total_bytes = bytes_per_s;
	send_all(channel, progress);
	free(progress);
}

static int run(struct worker_channel *channel, struct worker_message *start,
	       struct worker_message *answer)
{
	const char *script = start->job.step.text;
	struct worker_result *result = &answer->result;

	answer->type = WORKER_MESSAGE_RESULT;
	result->outcome = WORKER_OUTCOME_DONE;
	result->bytes_done = start->job.step.bytes;
	if (start->job.kind == WORKER_JOB_SURVEY) {
		survey(&start->job, answer);
	} else if (start->job.kind == WORKER_JOB_HOLDERS) {
		holders(&start->job, answer);
	} else if (start->job.step.kind == STEP_KIND_HOST_HOOKS) {
		/* What it was told, and how long it has. */
		result->values = json_pack("{s:o}", "detail",
					   json_sprintf("%s %s of %s in %s, %s", worker_job_kind_name(start->job.kind),
							script, start->job.operation, start->job.hook_directory,
							start->job.deadline_ms ? "bounded" : "unbounded"));
		if (start->job.kind == WORKER_JOB_UNDO)
			remainder_list_add(&result->remainder, REMAINDER_HOOK_FAILED, "hook 10-a", 0, NULL, "so it is");
	} else if (start->job.step.kind == STEP_KIND_SLICE_CPUSETS) {
		result->values = json_pack("{s:o}", "detail",
					   json_sprintf("%s, %llx held", worker_job_kind_name(start->job.kind),
							(unsigned long long)start->job.step.from_nodes));
	} else if (start->job.kind == WORKER_JOB_BEFORE &&
		   start->job.step.kind == STEP_KIND_CPUSET) {
		result->values = json_pack("{s:o*}", "groups", read_groups());
	} else if (start->job.kind == WORKER_JOB_STEP && start->job.step.kind == STEP_KIND_CPUSET &&
		   start->job.step.nodes) {
		write_groups(&start->job.step);
		result->values = json_pack("{s:s}", "detail", "1 cgroup");
	} else if (start->job.kind == WORKER_JOB_BEFORE && start->job.step.kind == STEP_KIND_MEMORY_POLICY) {
		result->values = json_pack("{s:s, s:[{s:i, s:i, s:i, s:i, s:s, s:i}]}", "mode", "bind", "ranges", "inode", 7,
					   "device", 8, "offset", 0, "bytes", 4096, "policy", "bind:1", "cell", 0);
	} else if (start->job.kind == WORKER_JOB_BEFORE) {
		result->values = json_pack("{s:s}", "mode", "bind");
	} else if (start->job.kind == WORKER_JOB_UNDO) {
		result->values =
			json_pack("{s:s}", "detail", start->job.before ? start->job.before : "");
	} else if (strcmp(script, "partial") == 0) {
		result->outcome = WORKER_OUTCOME_PARTIAL;
		result->bytes_done /= 2;
		remainder_list_add(&result->remainder, REMAINDER_PAGE_BUSY, "guest g1", 7, NULL,
				   "some stay");
	} else if (strcmp(script, "die") == 0) {
		return 3;
	} else if (strcmp(script, "limit") == 0) {
		/* Goes on until it has been told what the guest felt. */
		do {
			worker_message_done(start);
			if (receive(channel, start) != 1)
				return 6;
		} while (start->type != WORKER_MESSAGE_LIMIT);
		result->values = json_pack("{s:I, s:I, s:I}", "bytes_per_s",
					   (json_int_t)start->bytes_per_s, "felt_us",
					   (json_int_t)start->guest_pause_us, "stall_us",
					   (json_int_t)start->stall_us);
	} else if (strcmp(script, "rates") == 0) {
		/* Tells as its progress the rate that it may move at, until it is cancelled. */
		tell_rate(channel, start->job.step.budget_bytes_per_s);
		do {
			worker_message_done(start);
			if (receive(channel, start) != 1)
				return 7;
			if (start->type == WORKER_MESSAGE_LIMIT)
				tell_rate(channel, start->bytes_per_s);
		} while (start->type != WORKER_MESSAGE_CANCEL);
		result->outcome = WORKER_OUTCOME_CANCELLED;
		result->bytes_done = 0;
	} else if (strcmp(script, "wait") == 0 || strcmp(script, "give way") == 0) {
		struct worker_message *progress = calloc(1, sizeof(*progress));
		bool says_nothing = strcmp(script, "wait") != 0;

		if (!progress)
			return 4;
		progress->type = WORKER_MESSAGE_PROGRESS;
		progress->done_bytes = says_nothing ? 0 : 1;
		progress->total_bytes = 2;
		send_all(channel, progress);
		free(progress);
		do {
			worker_message_done(start);
			if (receive(channel, start) != 1)
				return 5;
		} while (start->type != WORKER_MESSAGE_CANCEL);
		if (says_nothing)
			return 3;
		result->outcome = WORKER_OUTCOME_CANCELLED;
		result->bytes_done = 0;
	} else {
		result->longest_pause_us = 1500;
		result->values = json_pack("{s:s}", "detail", "all of it");
	}
	send_all(channel, answer);
	return 0;
}

int main(void)
{
	struct worker_channel *channel;
	struct worker_message *start = calloc(1, sizeof(*start)),
			      *answer = calloc(1, sizeof(*answer));
	int r;

	if (!start || !answer || worker_channel_new(WORKER_SPAWN_CHANNEL_FD, &channel) ||
	    receive(channel, start) != 1)
		return 9;
	r = run(channel, start, answer);
	worker_message_done(start);
	worker_message_done(answer);
	worker_channel_free(channel);
	free(start);
	free(answer);
	return r;
}
