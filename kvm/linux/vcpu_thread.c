/* SPDX-License-Identifier: Apache-2.0 */
#include "vcpu_thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cleanup.h"
#include "process_stat.h"
#include "sysroot.h"

#define NAME_BEGINS "CPU "

int vcpu_thread_list_read(const struct sysroot *sysroot, pid_t pid, struct vcpu_thread_list *ret_list)
{
	CLEANUP(sysroot_names_done) struct sysroot_names threads = {0};
	CLEANUP(vcpu_thread_list_done) struct vcpu_thread_list list = {0};
	int error = sysroot_list(sysroot, &threads, "/proc/%d/task", (int)pid);

	if (error < 0)
		return error == -ENOENT ? -ESRCH : error;
	list.ids = calloc(threads.count + 1, sizeof(*list.ids));
	if (!list.ids)
		return -ENOMEM;
	for (size_t i = 0; i < threads.count; i++) {
		char name[32];

		/* One that has just ended has no name any more. */
		if (sysroot_read_text(sysroot, name, sizeof(name), "/proc/%d/task/%s/comm", (int)pid,
				      threads.names[i]) < 0 ||
		    strncmp(name, NAME_BEGINS, strlen(NAME_BEGINS)) != 0)
			continue;
		list.ids[list.count++] = (pid_t)strtol(threads.names[i], NULL, 10);
	}
	*ret_list = list;
	list = (struct vcpu_thread_list){0};
	return 0;
}

void vcpu_thread_list_done(struct vcpu_thread_list *list)
{
	free(list->ids);
	*list = (struct vcpu_thread_list){0};
}

int vcpu_thread_list_read_time(const struct sysroot *sysroot, pid_t pid, const struct vcpu_thread_list *list,
			       uint64_t *ret_us)
{
	uint64_t ticks_per_s = (uint64_t)sysconf(_SC_CLK_TCK), sum = 0;

	for (size_t i = 0; i < list->count; i++) {
		struct process_stat stat;
		int error = process_stat_read(sysroot, pid, list->ids[i], &stat);

		if (error == -ESRCH)
			continue;
		if (error < 0)
			return error;
		sum += stat.user_ticks + stat.kernel_ticks;
	}
	*ret_us = sum * 1000000 / ticks_per_s;
	return 0;
}
