/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup_memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include "cleanup.h"
#include "sysroot.h"

/* A machine has some hundred groups; deeper or more than this is a mistake of ours. */
#define TREE_MAX 4096

/* Where cgroup v2 is mounted: alone, or beside v1 ("hybrid"). */
static int find_mount(const struct sysroot *sysroot, const char **ret_mount)
{
	int found = sysroot_find(sysroot, "/sys/fs/cgroup/cgroup.controllers");

	*ret_mount = "/sys/fs/cgroup";
	if (found != 0)
		return found < 0 ? found : 0;
	found = sysroot_find(sysroot, "/sys/fs/cgroup/unified/cgroup.controllers");
	if (found > 0)
		*ret_mount = "/sys/fs/cgroup/unified";
	return found < 0 ? found : 0;
}

/* "/" is the root itself: no second slash. */
static const char *below(const char *path)
{
	return strcmp(path, "/") == 0 ? "" : path;
}

int cgroup_memory_read_path(const struct sysroot *sysroot, pid_t pid,
			    char path[CGROUP_MEMORY_PATH_SIZE])
{
	CLEANUP_FREE char *text = NULL;
	char *save = NULL;
	int error = sysroot_read_all(sysroot, 65536, &text, NULL, "/proc/%d/cgroup", (int)pid);

	if (error < 0)
		return error == -ENOENT ? -ESRCH : error;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		if (strlen(line + 3) >= CGROUP_MEMORY_PATH_SIZE)
			return -ENAMETOOLONG;
		strcpy(path, line + 3);
		return 0;
	}
	return -ENOENT;
}

void cgroup_memory_guest_path(char path[CGROUP_MEMORY_PATH_SIZE])
{
	char *last = strrchr(path, '/');

	if (!last || last == path)
		return;
	if (strcmp(last, "/emulator") == 0 || sysroot_name_number(last, "/vcpu", NULL) >= 0 ||
	    sysroot_name_number(last, "/iothread", NULL) >= 0) {
		*last = '\0';
		last = strrchr(path, '/');
	}
	if (last && last != path && strcmp(last, "/libvirt") == 0)
		*last = '\0';
}

static int add_path(struct sysroot_names *paths, const char *path)
{
	char **larger;

	if (paths->count == TREE_MAX)
		return -E2BIG;
	larger = reallocarray(paths->names, paths->count + 1, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	paths->names = larger;
	paths->names[paths->count] = strdup(path);
	if (!paths->names[paths->count])
		return -ENOMEM;
	paths->count++;
	return 0;
}

/* Adds the groups right below one. */
static int add_children(const struct sysroot *sysroot, const char *mount,
			struct sysroot_names *paths, const char *path)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	int error = sysroot_list(sysroot, &names, "%s%s", mount, below(path));

	if (error < 0)
		return error;
	for (size_t i = 0; i < names.count; i++) {
		char child[CGROUP_MEMORY_PATH_SIZE];

		/* Only a group has this file in it; all else are files. */
		error = sysroot_find(sysroot, "%s%s/%s/cgroup.procs", mount, below(path),
				     names.names[i]);
		if (error < 0)
			return error;
		if (error == 0)
			continue;
		if ((size_t)snprintf(child, sizeof(child), "%s/%s", below(path), names.names[i]) >=
		    sizeof(child))
			return -ENAMETOOLONG;
		error = add_path(paths, child);
		if (error < 0)
			return error;
	}
	return 0;
}

int cgroup_memory_list_tree(const struct sysroot *sysroot, const char *path,
			    struct sysroot_names *ret_paths)
{
	CLEANUP(sysroot_names_done) struct sysroot_names paths = {0};
	const char *mount;
	int error = find_mount(sysroot, &mount);

	if (error == 0)
		error = add_path(&paths, path);

	/* The list is its own queue: a group stands before those below it. */
	for (size_t i = 0; i < paths.count && error == 0; i++) {
		error = add_children(sysroot, mount, &paths, paths.names[i]);
		if (error == -ENOENT && i > 0) /* went in between */
			error = 0;
	}
	if (error < 0)
		return error;
	*ret_paths = paths;
	paths = (struct sysroot_names){0};
	return 0;
}

int cgroup_memory_open(const struct sysroot *sysroot, const char *path)
{
	const char *mount;
	int error = find_mount(sysroot, &mount);

	if (error < 0)
		return error;
	return sysroot_open(sysroot, O_PATH | O_DIRECTORY, "%s%s", mount, below(path));
}

int cgroup_memory_read_processes(const struct sysroot *sysroot, const char *path, size_t limit, char **ret_text)
{
	const char *mount;
	int error = find_mount(sysroot, &mount);

	if (error < 0)
		return error;
	return sysroot_read_all(sysroot, limit, ret_text, NULL, "%s%s/cgroup.procs", mount, below(path));
}

int cgroup_memory_read_tasks(const struct sysroot *sysroot, const char *path, size_t limit, char **ret_text)
{
	char type[32];
	const char *mount;
	int error = find_mount(sysroot, &mount);

	if (error == 0)
		error = sysroot_read_text(sysroot, type, sizeof(type), "%s%s/cgroup.type", mount, below(path));
	/* The root group has no such file. */
	if (error < 0 && error != -ENOENT)
		return error;
	if (error == -ENOENT || !strstr(type, "threaded"))
		return cgroup_memory_read_processes(sysroot, path, limit, ret_text);
	return sysroot_read_all(sysroot, limit, ret_text, NULL, "%s%s/cgroup.threads", mount, below(path));
}

static int read_mems(const struct sysroot *sysroot, const char *path, const char *file,
		     struct node_set *ret_mems)
{
	char text[NODE_SET_TEXT_SIZE];
	const char *mount;
	int error = find_mount(sysroot, &mount);

	if (error == 0)
		error = sysroot_read_text(sysroot, text, sizeof(text), "%s%s/%s", mount,
					  below(path), file);
	if (error < 0)
		return error;
	return node_set_parse(text, ret_mems) < 0 ? -EBADMSG : 0;
}

int cgroup_memory_read_mems(const struct sysroot *sysroot, const char *path,
			    struct node_set *ret_mems)
{
	return read_mems(sysroot, path, "cpuset.mems", ret_mems);
}

int cgroup_memory_read_effective_mems(const struct sysroot *sysroot, const char *path,
				      struct node_set *ret_mems)
{
	return read_mems(sysroot, path, "cpuset.mems.effective", ret_mems);
}

int cgroup_memory_read_limit(const struct sysroot *sysroot, const char *path, struct node_set *ret_limit)
{
	struct node_set limit = {0};

	/* The root group has no file of its own: its set is all nodes. */
	for (const char *end = path; (end = strchr(end + 1, '/'));) {
		char group[CGROUP_MEMORY_PATH_SIZE];
		struct node_set mems, both;
		int error;

		if ((size_t)snprintf(group, sizeof(group), "%.*s", (int)(end - path), path) >= sizeof(group))
			return -ENAMETOOLONG;
		error = cgroup_memory_read_mems(sysroot, group, &mems);
		/* Not handed down so far: then it does not limit anything. */
		if (error == -ENOENT)
			continue;
		if (error < 0)
			return error;
		both = node_set_intersection(&limit, &mems);
		if (node_set_is_empty(&limit))
			limit = mems;
		else if (!node_set_is_empty(&both))
			limit = both;
	}
	*ret_limit = limit;
	return 0;
}

int cgroup_memory_set_mems(const struct sysroot *sysroot, const char *path,
			   const struct node_set *mems)
{
	char text[NODE_SET_TEXT_SIZE];
	struct node_set reached;
	const char *mount;
	int error = find_mount(sysroot, &mount);

	node_set_format(mems, text, sizeof(text));
	/* An empty write(2) would not reach the kernel's handler at all. */
	if (error == 0)
		error = sysroot_write_text(sysroot, text[0] ? text : "\n", "%s%s/cpuset.mems",
					   mount, below(path));
	if (error == 0)
		error = cgroup_memory_read_mems(sysroot, path, &reached);
	if (error < 0)
		return error;
	return node_set_is_equal(mems, &reached) ? 0 : -EIO;
}

/* "anon N0=4096 N1=0" */
static void read_stat_line(uint64_t *bytes, char *values)
{
	char *save = NULL;

	for (char *word = strtok_r(values, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		int node_id;
		uint64_t value;

		if (sscanf(word, "N%d=%" SCNu64, &node_id, &value) == 2 && node_id >= 0 &&
		    node_id < NODE_SET_MAX)
			bytes[node_id] = value;
	}
}

int cgroup_memory_read_stat(const struct sysroot *sysroot, const char *path,
			    struct cgroup_memory_stat *ret_stat)
{
	CLEANUP_FREE char *text = NULL;
	char *save = NULL;
	const char *mount;
	int error = find_mount(sysroot, &mount);

	if (error == 0)
		error = sysroot_read_all(sysroot, (size_t)1 << 20, &text, NULL,
					 "%s%s/memory.numa_stat", mount, below(path));
	if (error < 0)
		return error;
	memset(ret_stat, 0, sizeof(*ret_stat));
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *values = strchr(line, ' ');

		if (!values)
			continue;
		*values++ = '\0';
		if (strcmp(line, "anon") == 0)
			read_stat_line(ret_stat->anon_bytes, values);
		else if (strcmp(line, "file") == 0)
			read_stat_line(ret_stat->file_bytes, values);
		else if (strcmp(line, "shmem") == 0)
			read_stat_line(ret_stat->shmem_bytes, values);
		else if (strcmp(line, "unevictable") == 0)
			read_stat_line(ret_stat->unevictable_bytes, values);
	}
	return 0;
}

/* "total=4194304 N0=0 N1=4194304" */
static int add_hugetlb(const struct sysroot *sysroot, const char *mount, const char *path, uint64_t *bytes,
		       bool *ret_has_hugetlb)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	int error = sysroot_list(sysroot, &names, "%s%s", mount, below(path));

	*ret_has_hugetlb = false;
	for (size_t i = 0; error == 0 && i < names.count; i++) {
		static const char suffix[] = ".numa_stat";
		CLEANUP_FREE char *text = NULL;
		uint64_t counted[NODE_SET_MAX] = {0};
		size_t length = strlen(names.names[i]);

		if (strncmp(names.names[i], "hugetlb.", 8) != 0 || length < sizeof(suffix) ||
		    strcmp(names.names[i] + length - strlen(suffix), suffix) != 0)
			continue;
		error = sysroot_read_all(sysroot, (size_t)1 << 16, &text, NULL, "%s%s/%s", mount, below(path),
					 names.names[i]);
		if (error < 0)
			return error;
		text[strcspn(text, "\n")] = '\0';
		read_stat_line(counted, text);
		for (int node_id = 0; node_id < NODE_SET_MAX; node_id++)
			bytes[node_id] += counted[node_id];
		*ret_has_hugetlb = true;
	}
	return error;
}

int cgroup_memory_read_resident(const struct sysroot *sysroot, const char *path, uint64_t bytes[NODE_SET_MAX],
				bool *ret_has_hugetlb)
{
	CLEANUP_FREE struct cgroup_memory_stat *stat = malloc(sizeof(*stat));
	const char *mount;
	int error = find_mount(sysroot, &mount);

	if (!stat)
		return -ENOMEM;
	if (error == 0)
		error = cgroup_memory_read_stat(sysroot, path, stat);
	if (error < 0)
		return error;
	for (int node_id = 0; node_id < NODE_SET_MAX; node_id++)
		bytes[node_id] = stat->anon_bytes[node_id] + stat->shmem_bytes[node_id];
	return add_hugetlb(sysroot, mount, path, bytes, ret_has_hugetlb);
}

int cgroup_memory_read_guest(const struct sysroot *sysroot, pid_t pid, uint64_t bytes[NODE_SET_MAX],
			     bool *ret_has_hugetlb)
{
	char path[CGROUP_MEMORY_PATH_SIZE];
	int error = cgroup_memory_read_path(sysroot, pid, path);

	if (error < 0)
		return error;
	cgroup_memory_guest_path(path);
	/* The root's counters are the machine's. */
	if (strcmp(path, "/") == 0)
		return -ENOENT;
	return cgroup_memory_read_resident(sysroot, path, bytes, ret_has_hugetlb);
}

/* Opens the directory of the parent of path and points *ret_name at the last element. */
static int open_parent(const struct sysroot *sysroot, const char *path, const char **ret_name)
{
	const char *last = strrchr(path, '/'), *mount;
	int error;

	if (!last || last[1] == '\0')
		return -EINVAL;
	error = find_mount(sysroot, &mount);
	if (error < 0)
		return error;
	*ret_name = last + 1;
	return sysroot_open(sysroot, O_RDONLY | O_DIRECTORY, "%s%.*s", mount, (int)(last - path),
			    path);
}

/* A controller must be handed down by every group above. */
static int enable_cpuset(const struct sysroot *sysroot, const char *path)
{
	const char *mount;
	int found = find_mount(sysroot, &mount);

	if (found < 0)
		return found;
	for (const char *end = path; (end = strchr(end, '/')) && end[1]; end++) {
		char text[512];
		int length = (int)(end - path), error;

		error = sysroot_read_text(sysroot, text, sizeof(text),
					  "%s%.*s/cgroup.subtree_control", mount, length, path);
		if (error < 0)
			return error;
		if (strstr(text, "cpuset"))
			continue;
		error = sysroot_write_text(sysroot, "+cpuset", "%s%.*s/cgroup.subtree_control",
					   mount, length, path);
		if (error < 0)
			return error;
	}
	return 0;
}

int cgroup_memory_make(const struct sysroot *sysroot, const char *path, const struct node_set *mems)
{
	CLEANUP_CLOSE int parent = -1;
	const char *name;
	bool is_new;
	int error = enable_cpuset(sysroot, path);

	if (error < 0)
		return error;
	parent = open_parent(sysroot, path, &name);
	if (parent < 0)
		return parent;
	is_new = mkdirat(parent, name, 0755) == 0;
	if (!is_new && errno != EEXIST)
		return -errno;
	error = cgroup_memory_set_mems(sysroot, path, mems);
	if (error < 0 && is_new)
		(void)unlinkat(parent, name, AT_REMOVEDIR);
	return error;
}

int cgroup_memory_attach(const struct sysroot *sysroot, const char *path, pid_t pid)
{
	char text[16];
	const char *mount;
	int error = find_mount(sysroot, &mount);

	if (error < 0)
		return error;
	snprintf(text, sizeof(text), "%d", (int)pid);
	return sysroot_write_text(sysroot, text, "%s%s/cgroup.procs", mount, below(path));
}

int cgroup_memory_remove(const struct sysroot *sysroot, const char *path)
{
	CLEANUP_CLOSE int parent = -1;
	const char *name;

	parent = open_parent(sysroot, path, &name);
	if (parent < 0)
		return parent;
	return unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}
