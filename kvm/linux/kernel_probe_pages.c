/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Behaviours that differ from kernel to kernel and that no file tells: each is provoked on a page of our own.
 */
#include "kernel_probe_priv.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "cgroup_memory.h"
#include "hugepage_pool.h"
#include "memory_policy.h"
#include "sysroot.h"

#define PAGE_BYTES	((size_t)sysconf(_SC_PAGESIZE))
#define HUGE_BYTES	(UINT64_C(2) << 20)
/* No status of move_pages(2): its errors are at most 4095. */
#define UNWRITTEN	(-10000)
#define BALANCING	(1 << 13)	    /* MPOL_F_NUMA_BALANCING, not in every header */
#define HUGE_2MIB	(21 << MAP_HUGE_SHIFT) /* MAP_HUGE_2MB */
#define SOFT_DIRTY	(UINT64_C(1) << 55) /* Documentation/admin-guide/mm/soft-dirty.rst */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static char *map_pages(size_t count)
{
	char *pages = mmap(NULL, count * PAGE_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return NULL;
	for (size_t i = 0; i < count; i++)
		pages[i * PAGE_BYTES] = 1;
	return pages;
}

static int another_node(const struct node_set *nodes, int home)
{
	NODE_SET_FOR_EACH(node_id, nodes)
	if (node_id != home)
		return node_id;
	return -1;
}

/*
 * AutoNUMA takes a page's rights away to see who touches it. mprotect(2) marks the page table alike, and the walk of
 * move_pages(2) looks at nothing else (mm/gup.c follow_page_pte, later mm/pagewalk.c folio_walk_start).
 */
static void probe_marked(struct kernel_probe *probe)
{
	char *page = map_pages(1);
	int home = -1, status = UNWRITTEN;
	long error = page ? kernel_probe_move(page, NULL, &home) : -ENOMEM;

	if (error == 0 && home < 0)
		error = home;
	if (error == 0 && mprotect(page, PAGE_BYTES, PROT_NONE) < 0)
		error = -errno;
	if (error == 0)
		error = kernel_probe_move(page, &home, &status);
	if (error < 0)
		kernel_probe_note(probe, KERNEL_FEATURE_MOVE_MARKED, KERNEL_PROBE_UNKNOWN, "%s",
				  strerror((int)-error));
	else
		kernel_probe_note(probe, KERNEL_FEATURE_MOVE_MARKED,
				  status == home ? KERNEL_PROBE_YES : KERNEL_PROBE_NO,
				  "status of a page without rights: %d", status);
	if (page)
		munmap(page, PAGE_BYTES);
}

/* Three pages in one call, the middle one held by a pipe. */
static void probe_batch(struct kernel_probe *probe, const struct node_set *nodes)
{
	char *pages = map_pages(3);
	void *addresses[3];
	int targets[3], status[3] = {UNWRITTEN, UNWRITTEN, UNWRITTEN}, home = -1, other, ends[2];
	struct iovec held = {.iov_len = PAGE_BYTES};
	long rc;

	if (!pages)
		return;
	rc = kernel_probe_move(pages, NULL, &home);
	other = rc == 0 && home >= 0 ? another_node(nodes, home) : -1;
	if (other < 0) {
		kernel_probe_note(probe, KERNEL_FEATURE_BATCH_STATUS, KERNEL_PROBE_UNKNOWN,
				  "only one node has memory");
		goto out_pages;
	}
	if (pipe2(ends, O_CLOEXEC) < 0) {
		kernel_probe_note(probe, KERNEL_FEATURE_BATCH_STATUS, KERNEL_PROBE_UNKNOWN, "%s",
				  strerror(errno));
		goto out_pages;
	}
	for (size_t i = 0; i < 3; i++) {
		addresses[i] = pages + i * PAGE_BYTES;
		targets[i] = other;
	}
	held.iov_base = addresses[1];
	rc = vmsplice(ends[1], &held, 1, 0) < 0 ? -errno : 0;
	if (rc == 0)
		rc = syscall(SYS_move_pages, 0, 3UL, addresses, targets, status, MPOL_MF_MOVE) < 0
			     ? -errno
			     : 0;
	if (rc < 0)
		kernel_probe_note(probe, KERNEL_FEATURE_BATCH_STATUS, KERNEL_PROBE_UNKNOWN, "%s",
				  strerror((int)-rc));
	else if (status[1] == other)
		kernel_probe_note(probe, KERNEL_FEATURE_BATCH_STATUS, KERNEL_PROBE_UNKNOWN,
				  "even a held page moved");
	else
		kernel_probe_note(probe, KERNEL_FEATURE_BATCH_STATUS,
				  status[0] != UNWRITTEN && status[1] != UNWRITTEN &&
						  status[2] != UNWRITTEN
					  ? KERNEL_PROBE_YES
					  : KERNEL_PROBE_NO,
				  "a held page among three: %d of 3 statuses written",
				  (status[0] != UNWRITTEN) + (status[1] != UNWRITTEN) +
					  (status[2] != UNWRITTEN));
	close(ends[0]);
	close(ends[1]);
out_pages:
	munmap(pages, 3 * PAGE_BYTES);
}

/* Does the policy that lets bound memory follow its CPUs stay on a memfd when it is set from another mapping? */
static void probe_balancing_policy(struct kernel_probe *probe, const struct node_set *nodes)
{
	CLEANUP_CLOSE int fd = memfd_create("ballast-probe", MFD_CLOEXEC);
	struct memory_policy policy = {.mode = MEMORY_POLICY_BIND, .is_balancing = true};
	int mode = -1, error;
	void *page;

	if (fd < 0 || ftruncate(fd, (off_t)PAGE_BYTES) < 0 || node_set_is_empty(nodes)) {
		kernel_probe_note(probe, KERNEL_FEATURE_BALANCING_POLICY, KERNEL_PROBE_UNKNOWN,
				  "no memfd or no node to try it on");
		return;
	}
	page = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return;
	node_set_add(&policy.nodes, node_set_next(nodes, -1));
	error = memory_policy_set_shared(fd, 0, PAGE_BYTES, &policy);
	if (error == 0 && syscall(SYS_get_mempolicy, &mode, NULL, 0UL, page, MPOL_F_ADDR) < 0)
		error = -errno;
	kernel_probe_note_result(probe, KERNEL_FEATURE_BALANCING_POLICY, error);
	if (error == 0 && mode != (MPOL_BIND | BALANCING))
		kernel_probe_note(probe, KERNEL_FEATURE_BALANCING_POLICY, KERNEL_PROBE_NO,
				  "set, but another mapping shows policy %#x", mode);
	munmap(page, PAGE_BYTES);
}

static int read_entry(const struct sysroot *sysroot, const void *page, uint64_t *ret_entry)
{
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_RDONLY, "/proc/%d/pagemap", (int)getpid());

	if (fd < 0)
		return fd;
	if (pread(fd, ret_entry, sizeof(*ret_entry),
		  (off_t)((uintptr_t)page / PAGE_BYTES * sizeof(*ret_entry))) !=
	    (ssize_t)sizeof(*ret_entry))
		return -EIO;
	return 0;
}

/* Forgets who wrote what in this process, writes one page, and looks whether that shows. */
static void probe_soft_dirty(const struct sysroot *sysroot, struct kernel_probe *probe)
{
	char *page = map_pages(1);
	uint64_t before = 0, after = 0;
	int error = page ? sysroot_write_text(sysroot, "4", "/proc/%d/clear_refs", (int)getpid())
			 : -ENOMEM;

	if (error == 0)
		error = read_entry(sysroot, page, &before);
	if (error == 0) {
		*(volatile char *)page = 2;
		error = read_entry(sysroot, page, &after);
	}
	kernel_probe_note_result(probe, KERNEL_FEATURE_SOFT_DIRTY, error);
	if (error == 0 && (before & SOFT_DIRTY || !(after & SOFT_DIRTY)))
		kernel_probe_note(probe, KERNEL_FEATURE_SOFT_DIRTY, KERNEL_PROBE_NO,
				  "a write does not show in pagemap");
	if (page)
		munmap(page, PAGE_BYTES);
}

static void probe_compaction(const struct sysroot *sysroot, struct kernel_probe *probe,
			     const struct node_set *nodes)
{
	int node = node_set_next(nodes, -1);
	/* Opened, not written: a write compacts the whole node. */
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_WRONLY,
					    "/sys/devices/system/node/node%d/compact", node);

	kernel_probe_note_result(probe, KERNEL_FEATURE_NODE_COMPACTION, fd < 0 ? fd : 0);
}

/* A node other than home whose pool has a free page; -1: none. */
static int free_page_elsewhere(const struct sysroot *sysroot, const struct node_set *nodes, int home)
{
	struct hugepage_pool pool;

	NODE_SET_FOR_EACH(node_id, nodes)
	if (node_id != home &&
	    hugepage_pool_read(sysroot, node_id, HUGE_BYTES, &pool) == 0 && pool.free > 0)
		return node_id;
	return -1;
}

/*
 * Takes a free page of a pool to another node and back, where that has one too: into a node without the kernel would
 * make a page, and take one of the pool on the way back, so that the pools would not be as they were.
 */
static void probe_huge_page(const struct sysroot *sysroot, struct kernel_probe *probe,
			    const struct node_set *nodes)
{
	int home = -1, other, status = UNWRITTEN;
	void *page = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | HUGE_2MIB, -1, 0);
	long error = 0;

	if (page == MAP_FAILED) {
		kernel_probe_note(probe, KERNEL_FEATURE_HUGE_PAGE_MOVE, KERNEL_PROBE_UNKNOWN,
				  "no free huge page of 2 MiB to try it on: %s", strerror(errno));
		return;
	}
	/* A plain touch would be a SIGBUS where our own cpuset has none. */
	if (madvise(page, HUGE_BYTES, MADV_POPULATE_WRITE) < 0)
		error = -errno;
	if (error == 0)
		error = kernel_probe_move(page, NULL, &home);
	other = error == 0 && home >= 0 ? free_page_elsewhere(sysroot, nodes, home) : -1;
	if (error < 0 || other < 0) {
		kernel_probe_note(probe, KERNEL_FEATURE_HUGE_PAGE_MOVE, KERNEL_PROBE_UNKNOWN, "%s",
				  error < 0 ? strerror((int)-error)
					    : "no two nodes have a free huge page of 2 MiB");
	} else {
		error = kernel_probe_move(page, &other, &status);
		if (error == 0 && status == other)
			error = kernel_probe_move(page, &home, &status);
		kernel_probe_note(probe, KERNEL_FEATURE_HUGE_PAGE_MOVE,
				  error == 0 && status == home ? KERNEL_PROBE_YES
							       : KERNEL_PROBE_NO,
				  "node %d to %d and back: %s, status %d", home, other,
				  error < 0 ? strerror((int)-error) : "done", status);
	}
	munmap(page, HUGE_BYTES);
}

void kernel_probe_pages(const struct sysroot *sysroot, struct kernel_probe *probe,
			const struct node_set *nodes)
{
	probe_marked(probe);
	probe_batch(probe, nodes);
	probe_balancing_policy(probe, nodes);
	probe_soft_dirty(sysroot, probe);
	probe_compaction(sysroot, probe, nodes);
	probe_huge_page(sysroot, probe, nodes);
}

/* ---- the cpuset ---- */

/* A process with one page bound to node, told to the parent by a byte; it lives until told, or as long as its parent. */
static void bound_child(int node, void *page, int ready, int wait)
{
	unsigned long mask[NODE_SET_MAX / (8 * sizeof(unsigned long)) + 1] = {0};
	char byte = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The parent puts us into the cpuset first. */
	if (read(wait, &byte, 1) != 1)
		_exit(1);
	mask[(size_t)node / (8 * sizeof(*mask))] = 1UL << (size_t)node % (8 * sizeof(*mask));
	if (syscall(SYS_mbind, page, PAGE_BYTES, MPOL_BIND, mask, (unsigned long)NODE_SET_MAX + 1,
		    0) < 0)
		byte = 0;
	*(volatile char *)page = 1;
	if (write(ready, &byte, 1) != 1)
		_exit(1);
	while (read(wait, &byte, 1) > 0)
		;
	_exit(0);
}

/* The policy of the child's page now. 0 or -errno. */
static int read_policy(const struct sysroot *sysroot, pid_t child, const void *page,
		       struct memory_policy *ret_policy)
{
	CLEANUP_FREE char *text = NULL;
	char wanted[32], *line;
	int error = sysroot_read_all(sysroot, 1u << 20, &text, NULL, "/proc/%d/numa_maps",
				     (int)child);

	if (error < 0)
		return error;
	snprintf(wanted, sizeof(wanted), "%" PRIxPTR " ", (uintptr_t)page);
	for (line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		if (strncmp(line, wanted, strlen(wanted)) == 0) {
			line += strlen(wanted);
			line[memory_policy_text_length(line)] = '\0';
			return memory_policy_parse(line, ret_policy);
		}
	return -ENOENT;
}

static int widen_and_look(const struct sysroot *sysroot, const char *group, pid_t child, void *page,
			  int low, int high, const int *to_child, const int *from_child,
			  struct memory_policy *ret_policy)
{
	struct node_set mems = node_set_of(high);
	char byte = 1;
	int error = cgroup_memory_make(sysroot, group, &mems);

	if (error == 0)
		error = cgroup_memory_attach(sysroot, group, child);
	if (error == 0 && (write(to_child[1], &byte, 1) != 1 || read(from_child[0], &byte, 1) != 1))
		error = -EIO;
	if (error == 0 && !byte)
		error = -EINVAL;
	node_set_add(&mems, low);
	if (error == 0)
		error = cgroup_memory_set_mems(sysroot, group, &mems);
	return error ? error : read_policy(sysroot, child, page, ret_policy);
}

void kernel_probe_try_cpuset(const struct sysroot *sysroot, const char *group,
			     struct kernel_probe *probe)
{
	char text[512];
	struct memory_policy policy = {0};
	struct node_set nodes = {0};
	int low, high = -1, to_child[2], from_child[2], error;
	void *page = NULL;
	pid_t child;

	kernel_probe_note(probe, KERNEL_FEATURE_CPUSET_REMAP, KERNEL_PROBE_UNKNOWN,
			  "only one node has memory");
	/* What is not handed down already is not handed down for a try. */
	if (sysroot_read_text(sysroot, text, sizeof(text),
			      "/sys/fs/cgroup/cgroup.subtree_control") < 0 ||
	    !strstr(text, "cpuset")) {
		kernel_probe_note(probe, KERNEL_FEATURE_CPUSET_REMAP, KERNEL_PROBE_UNKNOWN,
				  "no group below the root has a cpuset");
		return;
	}
	if (sysroot_read_text(sysroot, text, sizeof(text),
			      "/sys/devices/system/node/has_memory") < 0 ||
	    node_set_parse(text, &nodes) < 0)
		return;
	low = node_set_next(&nodes, -1);
	NODE_SET_FOR_EACH(node_id, &nodes)
	high = node_id;
	if (low < 0 || low == high)
		return;
	page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return;
	if (pipe2(to_child, O_CLOEXEC) < 0)
		goto out_page;
	if (pipe2(from_child, O_CLOEXEC) < 0)
		goto out_to_child;
	child = fork();
	if (child == 0) {
		close(to_child[1]);
		close(from_child[0]);
		bound_child(high, page, from_child[1], to_child[0]);
	}
	/* So that a child that died is an end of file. */
	close(from_child[1]);
	error = child < 0 ? -errno
			  : widen_and_look(sysroot, group, child, page, low, high, to_child,
					   from_child, &policy);
	if (child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		cgroup_memory_remove(sysroot, group);
	}
	if (error)
		kernel_probe_note(probe, KERNEL_FEATURE_CPUSET_REMAP, KERNEL_PROBE_UNKNOWN, "%s",
				  strerror(-error));
	else
		kernel_probe_note(probe, KERNEL_FEATURE_CPUSET_REMAP,
				  node_set_has(&policy.nodes, high) ? KERNEL_PROBE_NO
								    : KERNEL_PROBE_YES,
				  "cpuset %d to %d,%d: bind:%d became %s", high, low, high, high,
				  memory_policy_format(&policy, text, sizeof(text)));
	close(from_child[0]);
out_to_child:
	close(to_child[0]);
	close(to_child[1]);
out_page:
	munmap(page, PAGE_BYTES);
}
