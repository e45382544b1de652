/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup_owner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "cleanup.h"
#include "process_stat.h"
#include "process_status.h"
#include "size_text.h"
#include "sysroot.h"

/* A hundred thousand processes in one group. */
#define PROCS_LIMIT ((size_t)1 << 20)

/* It ended meanwhile, or (EOPNOTSUPP) its threads alone are in the group. */
static bool has_no_processes(int error)
{
	return error == -ENOENT || error == -ENODEV || error == -ESRCH || error == -EOPNOTSUPP;
}

/* A virtual machine is an open file of a kind of its own (virt/kvm/kvm_main.c kvm_dev_ioctl_create_vm). */
static int find_vm(const struct sysroot *sysroot, pid_t pid, bool *ret_is_guest)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	int rc = sysroot_list(sysroot, &names, "/proc/%d/fd", (int)pid);

	*ret_is_guest = false;
	if (rc)
		return has_no_processes(rc) ? 0 : rc;
	for (size_t i = 0; i < names.count && !*ret_is_guest; i++) {
		char target[64];

		rc = sysroot_read_link(sysroot, target, sizeof(target), "/proc/%d/fd/%s", (int)pid, names.names[i]);
		/* A long one is a file's. */
		if (rc && rc != -EOVERFLOW && !has_no_processes(rc))
			return rc;
		*ret_is_guest = !rc && strcmp(target, "anon_inode:kvm-vm") == 0;
	}
	return 0;
}

static int read_pinned(const struct sysroot *sysroot, pid_t pid, uint64_t *most, struct cgroup_owner *owner)
{
	struct process_status status;
	int rc = process_status_read(sysroot, pid, &status);

	if (rc)
		return rc == -ESRCH ? 0 : rc;
	owner->pinned_bytes += status.pinned_bytes;
	if (status.pinned_bytes <= *most)
		return 0;
	*most = status.pinned_bytes;
	owner->pinner_pid = pid;
	memcpy(owner->pinner_name, status.name, sizeof(owner->pinner_name));
	return 0;
}

static int read_processes(const struct sysroot *sysroot, struct cgroup_owner *owner)
{
	CLEANUP_FREE char *text = NULL;
	uint64_t most = 0, most_pinned = 0;
	char *save = NULL;
	int rc = cgroup_memory_read_processes(sysroot, owner->path, PROCS_LIMIT, &text);

	if (rc)
		return has_no_processes(rc) ? 0 : rc;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		int64_t pid = sysroot_name_number(line, "", NULL);
		struct process_stat stat;

		/* 0: a process of another namespace of processes than ours */
		if (pid <= 0 || pid > INT32_MAX)
			continue;
		rc = process_stat_read(sysroot, (pid_t)pid, 0, &stat);
		if (rc == -ESRCH)
			continue;
		if (rc)
			return rc;
		if (!stat.resident_bytes)
			continue;
		rc = read_pinned(sysroot, (pid_t)pid, &most_pinned, owner);
		if (rc)
			return rc;
		owner->process_count++;
		if (stat.resident_bytes <= most)
			continue;
		most = stat.resident_bytes;
		owner->pid = (pid_t)pid;
		memcpy(owner->name, stat.name, sizeof(owner->name));
	}
	return owner->pid ? find_vm(sysroot, owner->pid, &owner->is_guest) : 0;
}

static int read_inode(const struct sysroot *sysroot, const char *path, uint64_t *ret_inode)
{
	CLEANUP_CLOSE int fd = cgroup_memory_open(sysroot, path);
	struct stat status;

	if (fd < 0)
		return fd;
	if (fstat(fd, &status) < 0)
		return -errno;
	*ret_inode = status.st_ino;
	return 0;
}

int cgroup_owner_find(const struct sysroot *sysroot, struct cgroup_owner *owners, size_t count)
{
	CLEANUP(sysroot_names_done) struct sysroot_names paths = {0};
	int rc = cgroup_memory_list_tree(sysroot, "/", &paths);

	for (size_t i = 0; !rc && i < paths.count; i++) {
		uint64_t inode = 0;

		rc = read_inode(sysroot, paths.names[i], &inode);
		if (rc == -ENOENT) {
			rc = 0;
			continue;
		}
		for (size_t n = 0; !rc && n < count; n++) {
			if (owners[n].inode != inode || !inode)
				continue;
			snprintf(owners[n].path, sizeof(owners[n].path), "%s", paths.names[i]);
			rc = read_processes(sysroot, &owners[n]);
		}
	}
	return rc;
}

const char *cgroup_owner_describe(const struct cgroup_owner *owner, char *text, size_t size)
{
	char pinned[SIZE_TEXT_SIZE + 16] = "", bytes[SIZE_TEXT_SIZE];

	if (owner->pinned_bytes)
		snprintf(pinned, sizeof(pinned), ", %s pinned", size_text_format(owner->pinned_bytes, bytes));
	if (!owner->path[0])
		snprintf(text, size, "cgroup of inode %" PRIu64 ", which is not found", owner->inode);
	else if (owner->process_count == 1)
		snprintf(text, size, "process %d (%s%s) of cgroup %s", (int)owner->pid, owner->name, pinned, owner->path);
	else if (owner->process_count)
		snprintf(text, size, "cgroup %s, %zu processes%s, the largest %d (%s)", owner->path, owner->process_count,
			 pinned, (int)owner->pid, owner->name);
	else
		snprintf(text, size, "cgroup %s", owner->path);
	return text;
}
