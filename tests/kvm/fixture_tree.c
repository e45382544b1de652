/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture_tree.h"

#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include "scratch.h"

void fixture_tree_init(struct fixture_tree *tree)
{
	snprintf(tree->root, sizeof(tree->root), "%s/tree.XXXXXX", scratch_folder());
	assert(mkdtemp(tree->root));
	assert(sysroot_new(tree->root, &tree->sysroot) == 0);
}

static int remove_one(const char *path, const struct stat *data, int kind, struct FTW *walk)
{
	return remove(path);
}

void fixture_tree_done(struct fixture_tree *tree)
{
	assert(nftw(tree->root, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
	tree->sysroot = sysroot_free(tree->sysroot);
}

/* The path outside the tree, with every directory above it made. */
static void outside(const struct fixture_tree *tree, const char *path, char full[1024])
{
	assert(path[0] == '/');
	assert(snprintf(full, 1024, "%s%s", tree->root, path) < 1024);
	for (char *slash = full + strlen(tree->root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		assert(mkdir(full, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
}

void fixture_tree_write_bytes(struct fixture_tree *tree, const char *path, const void *data,
			      size_t size)
{
	char full[1024];

	outside(tree, path, full);
	CLEANUP_CLOSE int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert(fd >= 0);
	assert(write(fd, data, size) == (ssize_t)size);
}

void fixture_tree_write_at(struct fixture_tree *tree, const char *path, uint64_t offset,
			   const void *data, size_t size)
{
	char full[1024];

	outside(tree, path, full);
	CLEANUP_CLOSE int fd = open(full, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	assert(fd >= 0);
	assert(pwrite(fd, data, size, (off_t)offset) == (ssize_t)size);
}

void fixture_tree_write(struct fixture_tree *tree, const char *path, const char *text, ...)
{
	char buffer[8192];
	va_list arguments;

	va_start(arguments, text);
	assert(vsnprintf(buffer, sizeof(buffer), text, arguments) < (int)sizeof(buffer));
	va_end(arguments);
	fixture_tree_write_bytes(tree, path, buffer, strlen(buffer));
}

void fixture_tree_append(struct fixture_tree *tree, const char *path, const char *text)
{
	char full[1024];

	outside(tree, path, full);
	CLEANUP_CLOSE int fd = open(full, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

	assert(fd >= 0);
	assert(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

void fixture_tree_link(struct fixture_tree *tree, const char *path, const char *target)
{
	char full[1024];

	outside(tree, path, full);
	assert(symlink(target, full) == 0);
}

int fixture_tree_add_blocking(struct fixture_tree *tree, const char *path)
{
	char full[256], page[4096] = {0};
	int fd;

	/* For the directories above it. */
	fixture_tree_write(tree, path, "%s", "");
	fixture_tree_remove(tree, path);
	snprintf(full, sizeof(full), "%s%s", tree->root, path);
	assert(mkfifo(full, 0600) == 0);
	fd = open(full, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert(fd >= 0);
	while (write(fd, page, sizeof(page)) > 0)
		;
	assert(errno == EAGAIN);
	return fd;
}

void fixture_tree_remove(struct fixture_tree *tree, const char *path)
{
	char full[1024];

	outside(tree, path, full);
	assert(nftw(full, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

void fixture_tree_set_hooks(struct fixture_tree *tree,
			    int (*on_write)(void *user, const char *path, const char *text),
			    void *user)
{
	struct sysroot_hooks hooks = {.on_write = on_write, .user = user};

	sysroot_set_hooks(tree->sysroot, &hooks);
}

void fixture_tree_add_block(struct fixture_tree *tree, unsigned id, int node_id, const char *state,
			    const char *valid_zones)
{
	char path[128], target[64];

	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u/state", id);
	fixture_tree_write(tree, path, "%s\n", state);
	if (valid_zones) {
		snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u/valid_zones", id);
		fixture_tree_write(tree, path, "%s\n", valid_zones);
	}
	if (node_id >= 0) {
		snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u/node%d", id,
			 node_id);
		snprintf(target, sizeof(target), "../../node/node%d", node_id);
		fixture_tree_link(tree, path, target);
	}
}
