/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inotify sees what goes through the file system: mkdir and rmdir of groups, and writes to their files. That is how
 * libvirt and every tool work on cgroups. Each directory has a watch of its own; one for a new group is added when its
 * parent's tells of it, and because something may have been written there before that, its coming is news itself.
 */
#include "cgroup_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "cgroup_memory.h"
#include "sysroot.h"

struct cgroup_watch {
	const struct sysroot *sysroot; /* borrowed: outlives the watch */
	int fd;
	char path[CGROUP_MEMORY_PATH_SIZE];
};

static int add_group(struct cgroup_watch *watch, const char *path)
{
	CLEANUP_CLOSE int fd = cgroup_memory_open(watch->sysroot, path);
	char link[32];

	if (fd < 0)
		return fd;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	/* The same directory again is the same watch. */
	return inotify_add_watch(watch->fd, link, IN_CREATE | IN_DELETE | IN_MODIFY | IN_ONLYDIR) < 0 ? -errno : 0;
}

static int add_tree(struct cgroup_watch *watch)
{
	CLEANUP(sysroot_names_done) struct sysroot_names paths = {0};
	int error = cgroup_memory_list_tree(watch->sysroot, watch->path, &paths);

	for (size_t i = 0; error == 0 && i < paths.count; i++) {
		error = add_group(watch, paths.names[i]);
		if (error == -ENOENT && i > 0) /* went in between */
			error = 0;
	}
	return error;
}

int cgroup_watch_new(const struct sysroot *sysroot, const char *path, struct cgroup_watch **ret_watch)
{
	CLEANUP(cgroup_watch_freep) struct cgroup_watch *watch = calloc(1, sizeof(*watch));
	int error;

	if (!watch)
		return -ENOMEM;
	watch->sysroot = sysroot;
	if ((size_t)snprintf(watch->path, sizeof(watch->path), "%s", path) >= sizeof(watch->path)) {
		watch->fd = -1;
		return -ENAMETOOLONG;
	}
	watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch->fd < 0)
		return -errno;
	error = add_tree(watch);
	if (error < 0)
		return error;
	*ret_watch = TAKE_PTR(watch);
	return 0;
}

struct cgroup_watch *cgroup_watch_free(struct cgroup_watch *watch)
{
	if (!watch)
		return NULL;
	if (watch->fd >= 0)
		close(watch->fd);
	free(watch);
	return NULL;
}

int cgroup_watch_fd(const struct cgroup_watch *watch)
{
	return watch->fd;
}

bool cgroup_watch_read(struct cgroup_watch *watch)
{
	_Alignas(struct inotify_event) char buffer[4096];
	bool is_news = false, is_new_group = false;
	ssize_t length;

	while ((length = read(watch->fd, buffer, sizeof(buffer))) > 0) {
		for (char *at = buffer; at < buffer + length;) {
			const struct inotify_event *event = (const struct inotify_event *)(void *)at;

			at += sizeof(*event) + event->len;
			if (event->mask & (IN_ISDIR | IN_Q_OVERFLOW)) {
				is_news = true;
				is_new_group |= (event->mask & (IN_CREATE | IN_Q_OVERFLOW)) != 0;
			} else if (event->len && strcmp(event->name, "cpuset.mems") == 0) {
				is_news = true;
			}
		}
	}
	/* What cannot be watched is found at the next look. */
	if (is_new_group)
		(void)add_tree(watch);
	return is_news;
}
