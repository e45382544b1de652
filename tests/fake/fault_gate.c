/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ld's --wrap=CALL leads every reference to CALL of the program's own objects to __wrap_CALL, and __real_CALL to the
 * library. Calls that the C library makes of itself do not come by.
 */
#include "fault_gate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* As many as one job maps at once, and more. */
#define MAPPINGS_MAX	64
#define DESCRIPTORS_MAX 1024

static struct {
	atomic_bool armed;
	enum fault_class class;
	unsigned at;
	int error;
	bool for_ever;
	atomic_uint count;
	_Atomic(const char *) fired;
	atomic_long live;
	atomic_ullong skipped_ns; /* waits that took no time */
	struct fault_gate_file_ops files;
} gate;

static pthread_mutex_t mappings_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mapping {
	uintptr_t start, end; /* start 0: free */
	uint64_t inode, offset;
} mappings[MAPPINGS_MAX];

static _Thread_local unsigned in_fake;

void fault_gate_arm(enum fault_class class, unsigned at, int error, bool for_ever)
{
	gate.class = class;
	gate.at = at;
	gate.error = error;
	gate.for_ever = for_ever;
	atomic_store(&gate.count, 0);
	atomic_store(&gate.fired, NULL);
	atomic_store(&gate.armed, true);
}

unsigned fault_gate_disarm(void)
{
	atomic_store(&gate.armed, false);
	return atomic_load(&gate.count);
}

const char *fault_gate_fired(void)
{
	return atomic_load(&gate.fired);
}

void fault_gate_enter_fake(void)
{
	in_fake++;
}

void fault_gate_leave_fake(void)
{
	in_fake--;
}

static bool is_refused(enum fault_class class, const char *name)
{
	const char *none = NULL;
	unsigned number;

	if (!atomic_load(&gate.armed) || in_fake || class != gate.class)
		return false;
	number = atomic_fetch_add(&gate.count, 1) + 1;
	if (!gate.at || (gate.for_ever ? number < gate.at : number != gate.at))
		return false;
	atomic_compare_exchange_strong(&gate.fired, &none, name);
	errno = gate.error;
	return true;
}

int fault_gate_pass(const char *name)
{
	return is_refused(FAULT_CLASS_CALL, name) ? -gate.error : 0;
}

long fault_gate_live_allocations(void)
{
	return atomic_load(&gate.live);
}

unsigned fault_gate_open_descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

void fault_gate_set_file_ops(const struct fault_gate_file_ops *ops)
{
	gate.files = ops ? *ops : (struct fault_gate_file_ops){0};
}

/* A call that may fail, and does nothing else here. */
#define GATED(type, name, parameters, arguments, failed)       \
	type __real_##name parameters;                         \
	type __wrap_##name parameters;                         \
	type __wrap_##name parameters                          \
	{                                                      \
		if (is_refused(FAULT_CLASS_CALL, #name))       \
			return failed;                         \
		return __real_##name arguments;                \
	}

GATED(int, open64, (const char *path, int flags, mode_t mode), (path, flags, mode), -1)
GATED(int, __open64_2, (const char *path, int flags), (path, flags), -1)
GATED(int, openat64, (int at, const char *path, int flags, mode_t mode), (at, path, flags, mode), -1)
GATED(int, __openat64_2, (int at, const char *path, int flags), (at, path, flags), -1)
GATED(ssize_t, read, (int fd, void *data, size_t size), (fd, data, size), -1)
GATED(ssize_t, __read_chk, (int fd, void *data, size_t size, size_t room), (fd, data, size, room), -1)
GATED(ssize_t, pread64, (int fd, void *data, size_t size, off64_t at), (fd, data, size, at), -1)
GATED(ssize_t, __pread64_chk, (int fd, void *data, size_t size, off64_t at, size_t room),
      (fd, data, size, at, room), -1)
GATED(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), -1)
GATED(ssize_t, readlinkat, (int at, const char *path, char *target, size_t size), (at, path, target, size), -1)
GATED(ssize_t, __readlinkat_chk, (int at, const char *path, char *target, size_t size, size_t room),
      (at, path, target, size, room), -1)
GATED(int, faccessat, (int at, const char *path, int mode, int flags), (at, path, mode, flags), -1)
GATED(int, eventfd, (unsigned count, int flags), (count, flags), -1)
GATED(int, fstat64, (int fd, struct stat64 *data), (fd, data), -1)
GATED(DIR *, fdopendir, (int fd), (fd), NULL)
GATED(struct dirent64 *, readdir64, (DIR * directory), (directory), NULL)
GATED(int, poll, (struct pollfd *fds, nfds_t count, int timeout), (fds, count, timeout), -1)
GATED(ssize_t, process_vm_readv,
      (pid_t pid, const struct iovec *local, unsigned long local_count, const struct iovec *remote,
       unsigned long remote_count, unsigned long flags),
      (pid, local, local_count, remote, remote_count, flags), -1)

int __real_fstatfs64(int fd, struct statfs64 *data);
int __wrap_fstatfs64(int fd, struct statfs64 *data);
int __wrap_fstatfs64(int fd, struct statfs64 *data)
{
	struct stat64 file;
	uint64_t huge_bytes = 0;

	if (is_refused(FAULT_CLASS_CALL, "fstatfs64") || __real_fstatfs64(fd, data))
		return -1;
	if (gate.files.huge_bytes && __real_fstat64(fd, &file) == 0)
		huge_bytes = gate.files.huge_bytes(gate.files.user, file.st_ino);
	if (huge_bytes) {
		data->f_type = HUGETLBFS_MAGIC;
		data->f_bsize = (__fsword_t)huge_bytes;
	}
	return 0;
}

/* The tests' own process is left where it is. */
int __wrap_sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set);
int __wrap_sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set)
{
	return is_refused(FAULT_CLASS_CALL, "sched_setaffinity") ? -1 : 0;
}

int __wrap_pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *set);
int __wrap_pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *set)
{
	return is_refused(FAULT_CLASS_CALL, "pthread_setaffinity_np") ? EPERM : 0;
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *user);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *user);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *user)
{
	if (is_refused(FAULT_CLASS_CALL, "pthread_create"))
		return EAGAIN;
	return __real_pthread_create(thread, attributes, run, user);
}

/* ---- time ---- */

int __real_clock_gettime(clockid_t id, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret_now)
{
	int rc = __real_clock_gettime(id, ret_now);
	uint64_t nanoseconds = (uint64_t)ret_now->tv_nsec + atomic_load(&gate.skipped_ns);

	ret_now->tv_sec += (time_t)(nanoseconds / 1000000000);
	ret_now->tv_nsec = (long)(nanoseconds % 1000000000);
	return rc;
}

int __real_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask);
int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask);
int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	int ready;

	if (is_refused(FAULT_CLASS_CALL, "ppoll"))
		return -1;
	if (!timeout)
		return __real_ppoll(fds, count, timeout, mask);
	/* Another thread may be about to make it ready. */
	ready = __real_ppoll(fds, count, &(struct timespec){.tv_nsec = 100000}, mask);
	if (ready == 0)
		atomic_fetch_add(&gate.skipped_ns,
				 (uint64_t)timeout->tv_sec * 1000000000 + (uint64_t)timeout->tv_nsec);
	return ready;
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
	struct timespec now;
	int64_t left;

	(void)condition;
	pthread_mutex_unlock(mutex);
	sched_yield();
	pthread_mutex_lock(mutex);
	__wrap_clock_gettime(CLOCK_MONOTONIC, &now);
	left = (int64_t)(until->tv_sec - now.tv_sec) * 1000000000 + until->tv_nsec - now.tv_nsec;
	if (left > 0)
		atomic_fetch_add(&gate.skipped_ns, (uint64_t)left);
	return ETIMEDOUT;
}

/* ---- memory ---- */

#define ALLOCATES(name, parameters, arguments)                           \
	void *__real_##name parameters;                                  \
	void *__wrap_##name parameters;                                  \
	void *__wrap_##name parameters                                   \
	{                                                                \
		void *memory;                                            \
                                                                         \
		if (is_refused(FAULT_CLASS_MEMORY, #name)) {             \
			errno = ENOMEM;                                  \
			return NULL;                                     \
		}                                                        \
		memory = __real_##name arguments;                        \
		atomic_fetch_add(&gate.live, memory != NULL);            \
		return memory;                                           \
	}

ALLOCATES(malloc, (size_t size), (size))
ALLOCATES(calloc, (size_t count, size_t size), (count, size))

#define REALLOCATES(name, parameters, arguments)                                \
	void *__real_##name parameters;                                         \
	void *__wrap_##name parameters;                                         \
	void *__wrap_##name parameters                                          \
	{                                                                       \
		void *larger;                                                   \
		bool is_new = !memory;                                          \
                                                                                \
		if (is_refused(FAULT_CLASS_MEMORY, #name)) {                    \
			errno = ENOMEM;                                         \
			return NULL;                                            \
		}                                                               \
		larger = __real_##name arguments;                               \
		atomic_fetch_add(&gate.live, is_new && larger);                 \
		return larger;                                                  \
	}

REALLOCATES(realloc, (void *memory, size_t size), (memory, size))
REALLOCATES(reallocarray, (void *memory, size_t count, size_t size), (memory, count, size))

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
	char *copy;

	if (is_refused(FAULT_CLASS_MEMORY, "strdup")) {
		errno = ENOMEM;
		return NULL;
	}
	copy = __real_strdup(text);
	atomic_fetch_add(&gate.live, copy != NULL);
	return copy;
}

void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
	atomic_fetch_sub(&gate.live, memory != NULL);
	__real_free(memory);
}

static void tell_of_mapping(const struct mapping *mapping, bool is_mapped)
{
	if (!gate.files.on_map || !mapping->inode)
		return;
	fault_gate_enter_fake();
	gate.files.on_map(gate.files.user, mapping->inode, mapping->offset, mapping->start, mapping->end - mapping->start,
			  is_mapped);
	fault_gate_leave_fake();
}

void *__real_mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset);
void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset);
void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
	struct stat64 data = {0};
	void *memory;

	if (is_refused(FAULT_CLASS_CALL, "mmap64"))
		return MAP_FAILED;
	memory = __real_mmap64(address, length, protection, flags, fd, offset);
	if (memory == MAP_FAILED)
		return memory;
	atomic_fetch_add(&gate.live, 1);
	if (fd >= 0)
		__real_fstat64(fd, &data);
	pthread_mutex_lock(&mappings_lock);
	for (size_t i = 0; i < MAPPINGS_MAX; i++) {
		if (mappings[i].start)
			continue;
		mappings[i] = (struct mapping){(uintptr_t)memory, (uintptr_t)memory + length, data.st_ino,
					       (uint64_t)offset};
		break;
	}
	pthread_mutex_unlock(&mappings_lock);
	tell_of_mapping(&(struct mapping){(uintptr_t)memory, (uintptr_t)memory + length, data.st_ino, (uint64_t)offset},
			true);
	return memory;
}

int __real_munmap(void *memory, size_t length);
int __wrap_munmap(void *memory, size_t length);
int __wrap_munmap(void *memory, size_t length)
{
	struct mapping gone = {0};

	atomic_fetch_sub(&gate.live, 1);
	pthread_mutex_lock(&mappings_lock);
	for (size_t i = 0; i < MAPPINGS_MAX; i++) {
		if (mappings[i].start != (uintptr_t)memory)
			continue;
		gone = mappings[i];
		mappings[i] = (struct mapping){0};
	}
	pthread_mutex_unlock(&mappings_lock);
	tell_of_mapping(&gone, false);
	return __real_munmap(memory, length);
}

static struct mapping find_mapping(uintptr_t address)
{
	struct mapping found = {0};

	pthread_mutex_lock(&mappings_lock);
	for (size_t i = 0; i < MAPPINGS_MAX; i++)
		if (address >= mappings[i].start && address < mappings[i].end)
			found = mappings[i];
	pthread_mutex_unlock(&mappings_lock);
	return found;
}

/* ---- calls without a function of their own ---- */

static const char *syscall_name(long number)
{
	return number == SYS_mbind	   ? "mbind"
	       : number == SYS_get_mempolicy ? "get_mempolicy"
	       : number == SYS_pidfd_open    ? "pidfd_open"
	       : number == SYS_move_pages    ? "move_pages"
					     : "syscall";
}

static long answer(int error)
{
	if (error == 0)
		return 0;
	errno = -error;
	return -1;
}

static long fake_mbind(const long *arguments)
{
	struct mapping mapping = find_mapping((uintptr_t)arguments[0]);
	const uint64_t *nodes = (const uint64_t *)arguments[3];
	int error;

	fault_gate_enter_fake();
	error = gate.files.set(gate.files.user, mapping.inode,
				mapping.offset + (uintptr_t)arguments[0] - mapping.start, (uint64_t)arguments[1],
				(int)arguments[2], nodes ? nodes[0] : 0);
	fault_gate_leave_fake();
	return answer(error);
}

static long fake_get_mempolicy(const long *arguments)
{
	struct mapping mapping = find_mapping((uintptr_t)arguments[3]);
	uint64_t nodes;
	int error, mode;

	fault_gate_enter_fake();
	error = gate.files.get(gate.files.user, mapping.inode,
				mapping.offset + (uintptr_t)arguments[3] - mapping.start, &mode, &nodes);
	fault_gate_leave_fake();
	if (error == 0) {
		*(int *)arguments[0] = mode;
		memset((void *)arguments[1], 0, (size_t)arguments[2] / 8);
		*(uint64_t *)arguments[1] = nodes;
	}
	return answer(error);
}

long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	const long arguments[] = {a, b, c, d, e, f};

	if (is_refused(FAULT_CLASS_CALL, syscall_name(number)))
		return -1;
	if (number == SYS_mbind && gate.files.set)
		return fake_mbind(arguments);
	if (number == SYS_get_mempolicy && gate.files.get)
		return fake_get_mempolicy(arguments);
	return __real_syscall(number, a, b, c, d, e, f);
}
