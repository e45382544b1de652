/* SPDX-License-Identifier: Apache-2.0 */
#include "sysroot.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "size_text.h"
#include "sysroot_priv.h"

struct sysroot {
	int fd;
	struct sysroot_hooks hooks;
};

static int format_path(char path[SYSROOT_PATH_SIZE], const char *format, va_list arguments)
	PRINTF_LIKE(2, 0);

static int format_path(char path[SYSROOT_PATH_SIZE], const char *format, va_list arguments)
{
	int length = vsnprintf(path, SYSROOT_PATH_SIZE, format, arguments);

	if (length < 0)
		return -EINVAL;
	if (length >= SYSROOT_PATH_SIZE)
		return -ENAMETOOLONG;
	return path[0] == '/' ? 0 : -EINVAL;
}

/* Formats the path of a variadic caller into path; error gets 0 or -errno. */
#define FORMAT_PATH(path, error, format)                             \
	do {                                                         \
		va_list arguments_;                                  \
		va_start(arguments_, format);                        \
		(error) = format_path((path), (format), arguments_); \
		va_end(arguments_);                                  \
	} while (0)

/* What openat(2) and its kin take: relative to the root, "." for the root itself. */
static const char *below_root(const char *path)
{
	while (*path == '/')
		path++;
	return *path ? path : ".";
}

int sysroot_new(const char *root, struct sysroot **ret_sysroot)
{
	CLEANUP(sysroot_freep) struct sysroot *sysroot = calloc(1, sizeof(*sysroot));

	if (!sysroot)
		return -ENOMEM;
	sysroot->fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (sysroot->fd < 0)
		return -errno;
	*ret_sysroot = TAKE_PTR(sysroot);
	return 0;
}

struct sysroot *sysroot_free(struct sysroot *sysroot)
{
	if (!sysroot)
		return NULL;
	if (sysroot->fd >= 0)
		close(sysroot->fd);
	free(sysroot);
	return NULL;
}

void sysroot_set_hooks(struct sysroot *sysroot, const struct sysroot_hooks *hooks)
{
	sysroot->hooks = hooks ? *hooks : (struct sysroot_hooks){0};
}

bool sysroot_has_writer(const struct sysroot *sysroot)
{
	return sysroot->hooks.on_write != NULL;
}

static int open_path(const struct sysroot *sysroot, const char *path, int flags)
{
	int fd = openat(sysroot->fd, below_root(path), flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int sysroot_open(const struct sysroot *sysroot, int flags, const char *path, ...)
{
	char full[SYSROOT_PATH_SIZE];
	int error;

	FORMAT_PATH(full, error, path);
	if (error < 0)
		return error;
	if (sysroot->hooks.on_open)
		sysroot->hooks.on_open(sysroot->hooks.user, full);
	return open_path(sysroot, full, flags & ~(O_CREAT | (O_TMPFILE & ~O_DIRECTORY)));
}

static int find_path(const struct sysroot *sysroot, const char *path)
{
	if (faccessat(sysroot->fd, below_root(path), F_OK, 0) == 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

int sysroot_find(const struct sysroot *sysroot, const char *path, ...)
{
	char full[SYSROOT_PATH_SIZE];
	int error;

	FORMAT_PATH(full, error, path);
	return error < 0 ? error : find_path(sysroot, full);
}

bool sysroot_exists(const struct sysroot *sysroot, const char *path, ...)
{
	char full[SYSROOT_PATH_SIZE];
	int error;

	FORMAT_PATH(full, error, path);
	return error == 0 && find_path(sysroot, full) > 0;
}

static ssize_t read_some(int fd, void *data, size_t size)
{
	ssize_t got;

	do
		got = read(fd, data, size);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static int read_bounded(const struct sysroot *sysroot, const char *path, char *text, size_t size)
{
	CLEANUP_CLOSE int fd = open_path(sysroot, path, O_RDONLY);
	size_t length = 0;

	if (fd < 0)
		return fd;
	for (;;) {
		char extra;
		ssize_t got = length < size - 1 ? read_some(fd, text + length, size - 1 - length)
						: read_some(fd, &extra, 1);

		if (got < 0)
			return (int)got;
		if (got == 0)
			break;
		if (length == size - 1)
			return -EOVERFLOW;
		length += (size_t)got;
	}
	if (memchr(text, '\0', length))
		return -EBADMSG;
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		length--;
	text[length] = '\0';
	return 0;
}

int sysroot_read_text(const struct sysroot *sysroot, char *text, size_t size, const char *path, ...)
{
	char full[SYSROOT_PATH_SIZE];
	int error;

	FORMAT_PATH(full, error, path);
	return error < 0 ? error : read_bounded(sysroot, full, text, size);
}

int sysroot_read_number(const struct sysroot *sysroot, int base, uint64_t *ret_number,
			const char *path, ...)
{
	char full[SYSROOT_PATH_SIZE], text[64];
	uint64_t number;
	int error;

	FORMAT_PATH(full, error, path);
	if (error == 0)
		error = read_bounded(sysroot, full, text, sizeof(text));
	if (error < 0)
		return error == -EOVERFLOW ? -EBADMSG : error;
	if (size_text_parse_number(text, base, &number) < 0)
		return -EBADMSG;
	*ret_number = number;
	return 0;
}

int sysroot_read_all(const struct sysroot *sysroot, size_t limit, char **ret_text,
		     size_t *ret_length, const char *path, ...)
{
	CLEANUP_FREE char *text = NULL;
	CLEANUP_CLOSE int fd = -1;
	char full[SYSROOT_PATH_SIZE];
	size_t length = 0, size = 0;
	int error;

	FORMAT_PATH(full, error, path);
	if (error < 0)
		return error;
	fd = open_path(sysroot, full, O_RDONLY);
	if (fd < 0)
		return fd;
	for (;;) {
		/* Kernel files hand out up to a page or more at once and have no size beforehand.
		 */
		if (size - length < 4096 + 1) {
			char *larger = realloc(text, size ? size * 2 : 16384);

			if (!larger)
				return -ENOMEM;
			text = larger;
			size = size ? size * 2 : 16384;
		}
		ssize_t got = read_some(fd, text + length, size - length - 1);

		if (got < 0)
			return (int)got;
		if (got == 0)
			break;
		length += (size_t)got;
		if (length > limit)
			return -EOVERFLOW;
	}
	text[length] = '\0';
	*ret_text = TAKE_PTR(text);
	if (ret_length)
		*ret_length = length;
	return 0;
}

int sysroot_write_text(const struct sysroot *sysroot, const char *text, const char *path, ...)
{
	CLEANUP_CLOSE int fd = -1;
	char full[SYSROOT_PATH_SIZE];
	size_t length = strlen(text);
	ssize_t written;
	int error;

	FORMAT_PATH(full, error, path);
	if (error < 0)
		return error;
	if (sysroot->hooks.on_write) {
		int taken = sysroot->hooks.on_write(sysroot->hooks.user, full, text);

		if (taken <= 0)
			return taken;
		return (size_t)taken == length ? 0 : -EIO;
	}
	fd = open_path(sysroot, full, O_WRONLY);
	if (fd < 0)
		return fd;
	/* EINTR is an answer here (an offline ended by a signal), so no retry. */
	written = write(fd, text, length);
	if (written < 0)
		return -errno;
	return (size_t)written == length ? 0 : -EIO;
}

int sysroot_read_link(const struct sysroot *sysroot, char *target, size_t size, const char *path,
		      ...)
{
	char full[SYSROOT_PATH_SIZE];
	ssize_t length;
	int error;

	FORMAT_PATH(full, error, path);
	if (error < 0)
		return error;
	length = readlinkat(sysroot->fd, below_root(full), target, size);
	if (length < 0)
		return -errno;
	if ((size_t)length >= size)
		return -EOVERFLOW;
	target[length] = '\0';
	return 0;
}

int sysroot_read_filesystem(const struct sysroot *sysroot, uint64_t *ret_type,
			    uint64_t *ret_block_bytes, const char *path, ...)
{
	CLEANUP_CLOSE int fd = -1;
	char full[SYSROOT_PATH_SIZE];
	struct statfs data;
	int error;

	FORMAT_PATH(full, error, path);
	if (error < 0)
		return error;
	if (sysroot->hooks.on_filesystem)
		return sysroot->hooks.on_filesystem(sysroot->hooks.user, full, ret_type,
						    ret_block_bytes);
	fd = open_path(sysroot, full, O_PATH);
	if (fd < 0)
		return fd;
	if (fstatfs(fd, &data) < 0)
		return -errno;
	*ret_type = (uint64_t)data.f_type;
	*ret_block_bytes = (uint64_t)data.f_bsize;
	return 0;
}

/* Numbers inside names by value, so that memory9 stands before memory10. */
static int compare_names(const void *left, const void *right)
{
	return strverscmp(*(char *const *)left, *(char *const *)right);
}

int sysroot_list(const struct sysroot *sysroot, struct sysroot_names *ret_names, const char *path,
		 ...)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	CLEANUP(cleanup_closedir) DIR *directory = NULL;
	char full[SYSROOT_PATH_SIZE];
	size_t room = 0;
	int error, fd;

	FORMAT_PATH(full, error, path);
	if (error < 0)
		return error;
	fd = open_path(sysroot, full, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	directory = fdopendir(fd);
	if (!directory) {
		error = -errno;
		close(fd);
		return error;
	}
	for (;;) {
		errno = 0;
		struct dirent *entry = readdir(directory);

		if (!entry) {
			if (errno)
				return -errno;
			break;
		}
		if (entry->d_name[0] == '.')
			continue;
		if (names.count == room) {
			size_t more = room ? room * 2 : 32;
			char **larger = reallocarray(names.names, more, sizeof(*larger));

			if (!larger)
				return -ENOMEM;
			names.names = larger;
			room = more;
		}
		names.names[names.count] = strdup(entry->d_name);
		if (!names.names[names.count])
			return -ENOMEM;
		names.count++;
	}
	if (names.count)
		qsort(names.names, names.count, sizeof(*names.names), compare_names);
	*ret_names = names;
	names = (struct sysroot_names){0};
	return 0;
}

void sysroot_names_done(struct sysroot_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->names[i]);
	free(names->names);
	*names = (struct sysroot_names){0};
}

int64_t sysroot_name_number(const char *name, const char *prefix, const char *suffix)
{
	size_t prefix_length = strlen(prefix), suffix_length = suffix ? strlen(suffix) : 0;
	size_t length = strlen(name);
	char digits[24];
	uint64_t number;

	if (length <= prefix_length + suffix_length || strncmp(name, prefix, prefix_length) != 0)
		return -1;
	if (suffix_length && strcmp(name + length - suffix_length, suffix) != 0)
		return -1;
	length -= prefix_length + suffix_length;
	if (length >= sizeof(digits))
		return -1;
	memcpy(digits, name + prefix_length, length);
	digits[length] = '\0';
	if (size_text_parse_number(digits, 10, &number) < 0 || number > INT64_MAX)
		return -1;
	return (int64_t)number;
}
