/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_pinner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cgroup_memory.h"
#include "process_status.h"
#include "sysroot.h"

static void add(struct memory_pinner_list *list, pid_t pid, const struct process_status *status)
{
	size_t at;

	list->total++;
	for (at = 0; at < list->count; at++)
		if (list->pinners[at].pinned_bytes < status->pinned_bytes)
			break;
	if (at == MEMORY_PINNER_MAX) {
		list->unlisted_bytes += status->pinned_bytes;
		return;
	}
	if (list->count < MEMORY_PINNER_MAX)
		list->count++;
	else
		list->unlisted_bytes += list->pinners[MEMORY_PINNER_MAX - 1].pinned_bytes;
	memmove(&list->pinners[at + 1], &list->pinners[at], (list->count - at - 1) * sizeof(list->pinners[0]));
	list->pinners[at] = (struct memory_pinner){
		.pid = pid, .pinned_bytes = status->pinned_bytes, .has_nodes = status->huge_bytes == 0};
	memcpy(list->pinners[at].name, status->name, sizeof(status->name));
}

/* 0 too where the process is passed by. */
static int look_at(const struct sysroot *sysroot, pid_t pid, struct memory_pinner_list *list)
{
	struct process_status status;
	int error = process_status_read(sysroot, pid, &status);

	if (error < 0)
		return error == -ESRCH ? 0 : error;
	if (status.pinned_bytes)
		add(list, pid, &status);
	return 0;
}

/* Without the controller, or a group, it is on any node. */
static int find_nodes(const struct sysroot *sysroot, struct memory_pinner *pinner)
{
	char path[CGROUP_MEMORY_PATH_SIZE];
	bool has_none_huge = pinner->has_nodes, has_hugetlb = false;
	int error = cgroup_memory_read_path(sysroot, pinner->pid, path);

	if (error == 0)
		error = cgroup_memory_read_resident(sysroot, path, pinner->node_bytes, &has_hugetlb);
	pinner->has_nodes = error == 0 && (has_none_huge || has_hugetlb);
	return error == -ENOENT || error == -ESRCH || error == -ENODEV ? 0 : error;
}

int memory_pinner_find(const struct sysroot *sysroot, struct memory_pinner_list *ret_list)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	int error = sysroot_list(sysroot, &names, "/proc");

	memset(ret_list, 0, sizeof(*ret_list));
	for (size_t i = 0; error == 0 && i < names.count; i++) {
		int64_t number = sysroot_name_number(names.names[i], "", NULL);

		if (number > 0 && number <= INT32_MAX)
			error = look_at(sysroot, (pid_t)number, ret_list);
	}
	for (size_t i = 0; error == 0 && i < ret_list->count; i++)
		error = find_nodes(sysroot, &ret_list->pinners[i]);
	return error;
}
