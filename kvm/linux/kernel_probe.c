/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_probe_priv.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "cleanup.h"
#include "hugepage_pool.h"
#include "memory_block.h"
#include "memory_policy.h"
#include "numa_node.h"
#include "sysroot.h"

static const char *const feature_names[KERNEL_FEATURE_COUNT] = {
	[KERNEL_FEATURE_NUMA_NODES] = "numa_nodes",
	[KERNEL_FEATURE_MOVE_PAGES] = "move_pages",
	[KERNEL_FEATURE_MOVE_BETWEEN] = "move_between_nodes",
	[KERNEL_FEATURE_MBIND] = "mbind",
	[KERNEL_FEATURE_SHARED_POLICY] = "shared_policy",
	[KERNEL_FEATURE_MOVE_MARKED] = "move_marked_pages",
	[KERNEL_FEATURE_BATCH_STATUS] = "batch_status",
	[KERNEL_FEATURE_HUGE_PAGE_MOVE] = "huge_page_move",
	[KERNEL_FEATURE_BALANCING_POLICY] = "balancing_policy",
	[KERNEL_FEATURE_CPUSET_REMAP] = "cpuset_remap",
	[KERNEL_FEATURE_SOFT_DIRTY] = "soft_dirty",
	[KERNEL_FEATURE_NODE_COMPACTION] = "node_compaction",
	[KERNEL_FEATURE_PAGEMAP_PFN] = "pagemap_pfn",
	[KERNEL_FEATURE_PAGE_FLAGS] = "page_flags",
	[KERNEL_FEATURE_PAGE_CGROUP] = "page_cgroup",
	[KERNEL_FEATURE_PROCESS_READ] = "process_read",
	[KERNEL_FEATURE_PIDFD] = "pidfd",
	[KERNEL_FEATURE_NUMA_BALANCING] = "numa_balancing",
	[KERNEL_FEATURE_CGROUP2] = "cgroup2",
	[KERNEL_FEATURE_CGROUP_CPUSET] = "cgroup_cpuset",
	[KERNEL_FEATURE_MEMORY_HOTREMOVE] = "memory_hotremove",
	[KERNEL_FEATURE_MOVABLE_MEMORY] = "movable_memory",
	[KERNEL_FEATURE_HUGEPAGES] = "hugepages",
	[KERNEL_FEATURE_TRANSPARENT_HUGEPAGES] = "transparent_hugepages",
	[KERNEL_FEATURE_USERFAULTFD] = "userfaultfd",
	[KERNEL_FEATURE_IDLE_TRACKING] = "idle_tracking",
	[KERNEL_FEATURE_SAFE_COPY] = "safe_copy",
	[KERNEL_FEATURE_KERNEL_LOG] = "kernel_log",
	[KERNEL_FEATURE_KVM] = "kvm",
	[KERNEL_FEATURE_FIRMWARE_SLOTS] = "firmware_slots",
	[KERNEL_FEATURE_ERROR_COUNTS] = "error_counts",
	[KERNEL_FEATURE_HOTPLUG_RANGES] = "hotplug_ranges",
	[KERNEL_FEATURE_MEMORY_LATENCY] = "memory_latency",
};
NAME_TABLE_DEFINE(kernel_feature, feature_names)

static const char *const meanings[KERNEL_FEATURE_COUNT] = {
	[KERNEL_FEATURE_NUMA_NODES] = "there is somewhere to move to",
	[KERNEL_FEATURE_MOVE_PAGES] = "pages can be moved one by one",
	[KERNEL_FEATURE_MOVE_BETWEEN] = "a page goes to another node, and back",
	[KERNEL_FEATURE_MBIND] = "memory policies can be set",
	[KERNEL_FEATURE_SHARED_POLICY] =
		"where new pages of a guest's shared memory land can be set from outside",
	[KERNEL_FEATURE_MOVE_MARKED] =
		"pages that AutoNUMA has marked move; where not, each is read once before",
	[KERNEL_FEATURE_BATCH_STATUS] =
		("each page of a call has a status; where not, a held page hides those of the others, "
		 "which are looked at again"),
	[KERNEL_FEATURE_HUGE_PAGE_MOVE] = "a page of a huge page pool moves whole",
	[KERNEL_FEATURE_BALANCING_POLICY] =
		"bound shared memory can be left to follow its CPUs (move --lazy)",
	[KERNEL_FEATURE_CPUSET_REMAP] =
		"a change of a cpuset rewrites policies by position; plans reckon with it either way",
	[KERNEL_FEATURE_SOFT_DIRTY] = "which pages a guest writes can be seen: hot or cold first",
	[KERNEL_FEATURE_NODE_COMPACTION] = "room for huge pages can be made on one node",
	[KERNEL_FEATURE_PAGEMAP_PFN] = "where each page of a guest is can be read",
	[KERNEL_FEATURE_PAGE_FLAGS] = "what kind of page holds a block can be told",
	[KERNEL_FEATURE_PAGE_CGROUP] = "whose page holds a block can be told",
	[KERNEL_FEATURE_PROCESS_READ] = "a marked page can be read once, so that it moves",
	[KERNEL_FEATURE_PIDFD] = "a guest's process cannot be mistaken for another",
	[KERNEL_FEATURE_NUMA_BALANCING] =
		"pages follow the CPU that touches them, also back again where nothing binds them",
	[KERNEL_FEATURE_CGROUP2] = "groups of processes are told in one tree",
	[KERNEL_FEATURE_CGROUP_CPUSET] = "the nodes of a guest can be limited",
	[KERNEL_FEATURE_MEMORY_HOTREMOVE] = "memory blocks can go offline",
	[KERNEL_FEATURE_MOVABLE_MEMORY] = "some memory can be emptied for sure",
	[KERNEL_FEATURE_HUGEPAGES] = "there are pools of huge pages",
	[KERNEL_FEATURE_TRANSPARENT_HUGEPAGES] = "plain memory may lie in huge pages",
	[KERNEL_FEATURE_USERFAULTFD] = "a guest's memory may be served from elsewhere: then it is left alone",
	[KERNEL_FEATURE_IDLE_TRACKING] = "which pages a guest reads can be seen, too",
	[KERNEL_FEATURE_SAFE_COPY] = "moving broken memory does not stop the host",
	[KERNEL_FEATURE_KERNEL_LOG] = "the page that kept a block online can be named",
	[KERNEL_FEATURE_KVM] = "a guest of our own can prove that a move harms nothing",
	[KERNEL_FEATURE_FIRMWARE_SLOTS] = "which slots of the board have which addresses is told (SMBIOS)",
	[KERNEL_FEATURE_ERROR_COUNTS] = "memory errors are counted (EDAC)",
	[KERNEL_FEATURE_HOTPLUG_RANGES] = "booted with movable_node, memory that the firmware so marks is movable (SRAT)",
	[KERNEL_FEATURE_MEMORY_LATENCY] = "how far nodes are from each other is told in nanoseconds (HMAT)",
};

const char *kernel_feature_meaning(enum kernel_feature feature)
{
	return feature < KERNEL_FEATURE_COUNT ? meanings[feature] : "";
}

static const char *const probe_state_names[KERNEL_PROBE_COUNT] = {
	[KERNEL_PROBE_UNKNOWN] = "unknown",
	[KERNEL_PROBE_NO] = "no",
	[KERNEL_PROBE_YES] = "yes",
};
NAME_TABLE_DEFINE(kernel_probe_state, probe_state_names)

void kernel_probe_note(struct kernel_probe *probe, enum kernel_feature feature,
		       enum kernel_probe_state state, const char *format, ...)
{
	struct kernel_probe_entry *entry = &probe->entries[feature];
	va_list arguments;

	entry->state = state;
	va_start(arguments, format);
	vsnprintf(entry->detail, sizeof(entry->detail), format, arguments);
	va_end(arguments);
}

void kernel_probe_note_result(struct kernel_probe *probe, enum kernel_feature feature, int error)
{
	if (error == 0)
		kernel_probe_note(probe, feature, KERNEL_PROBE_YES, "%s", "");
	else
		kernel_probe_note(probe, feature, KERNEL_PROBE_NO, "%s", strerror(error < 0 ? -error : error));
}

static void probe_open(const struct sysroot *sysroot, struct kernel_probe *probe,
		       enum kernel_feature feature, int flags, const char *path)
{
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, flags, "%s", path);

	kernel_probe_note_result(probe, feature, fd < 0 ? fd : 0);
	if (fd < 0)
		kernel_probe_note(probe, feature, KERNEL_PROBE_NO, "%s: %s", path, strerror(-fd));
}

static struct node_set probe_nodes(const struct sysroot *sysroot, struct kernel_probe *probe)
{
	CLEANUP(numa_node_list_done) struct numa_node_list list = {0};
	char text[NODE_SET_TEXT_SIZE];
	int error = numa_node_list_read(sysroot, &list);

	if (error < 0) {
		kernel_probe_note(probe, KERNEL_FEATURE_NUMA_NODES, KERNEL_PROBE_UNKNOWN, "%s",
		     strerror(-error));
		return (struct node_set){0};
	}
	kernel_probe_note(probe, KERNEL_FEATURE_NUMA_NODES,
	     node_set_count(&list.with_memory) > 1 ? KERNEL_PROBE_YES : KERNEL_PROBE_NO,
	     "nodes with memory: %s", node_set_format(&list.with_memory, text, 128));
	return list.with_memory;
}

long kernel_probe_move(void *page, const int *node_id, int *status)
{
	if (syscall(SYS_move_pages, 0, 1UL, &page, node_id, status, node_id ? MPOL_MF_MOVE : 0) < 0)
		return -errno;
	return 0;
}

/* Takes a page of ours to another node and back. */
static void probe_move_between(struct kernel_probe *probe, void *page, int home,
			       const struct node_set *nodes)
{
	int other = -1, status = -1;
	long error;

	NODE_SET_FOR_EACH(node_id, nodes)
	if (node_id != home)
		other = node_id;
	if (other < 0) {
		kernel_probe_note(probe, KERNEL_FEATURE_MOVE_BETWEEN, KERNEL_PROBE_UNKNOWN,
		     "only one node has memory");
		return;
	}
	error = kernel_probe_move(page, &other, &status);
	if (error == 0 && status == other)
		error = kernel_probe_move(page, &home, &status);
	if (error < 0)
		kernel_probe_note_result(probe, KERNEL_FEATURE_MOVE_BETWEEN, (int)error);
	else
		kernel_probe_note(probe, KERNEL_FEATURE_MOVE_BETWEEN,
		     status == home ? KERNEL_PROBE_YES : KERNEL_PROBE_NO,
		     "node %d to %d and back: status %d", home, other, status);
}

static void probe_pagemap(const struct sysroot *sysroot, struct kernel_probe *probe,
			  const void *page)
{
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_RDONLY, "/proc/%d/pagemap", (int)getpid());
	uint64_t entry = 0;
	off_t offset = (off_t)((uintptr_t)page / (uintptr_t)sysconf(_SC_PAGESIZE) * sizeof(entry));

	if (fd < 0)
		kernel_probe_note_result(probe, KERNEL_FEATURE_PAGEMAP_PFN, fd);
	else if (pread(fd, &entry, sizeof(entry), offset) != (ssize_t)sizeof(entry))
		kernel_probe_note(probe, KERNEL_FEATURE_PAGEMAP_PFN, KERNEL_PROBE_NO,
		     "no entry for a page of our own");
	else if (entry << 9) /* bits 0 to 54 */
		kernel_probe_note_result(probe, KERNEL_FEATURE_PAGEMAP_PFN, 0);
	else
		kernel_probe_note(probe, KERNEL_FEATURE_PAGEMAP_PFN, KERNEL_PROBE_NO,
		     "physical addresses are hidden: needs CAP_SYS_ADMIN");
}

static void probe_own_page(const struct sysroot *sysroot, struct kernel_probe *probe,
			   const struct node_set *nodes)
{
	size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
	char *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char byte = 0;
	struct iovec local = {.iov_base = &byte, .iov_len = 1},
		     remote = {.iov_base = page, .iov_len = 1};
	int status = -1;
	long error;

	if (page == MAP_FAILED)
		return;
	page[0] = 1;
	error = kernel_probe_move(page, NULL, &status);
	if (error == 0 && status < 0)
		error = status;
	kernel_probe_note_result(probe, KERNEL_FEATURE_MOVE_PAGES, (int)error);
	if (error == 0)
		probe_move_between(probe, page, status, nodes);
	else
		kernel_probe_note(probe, KERNEL_FEATURE_MOVE_BETWEEN, KERNEL_PROBE_NO, "no move_pages");
	kernel_probe_note_result(probe, KERNEL_FEATURE_MBIND,
		    syscall(SYS_mbind, page, bytes, MPOL_DEFAULT, NULL, 0UL, 0) < 0 ? errno : 0);
	kernel_probe_note_result(probe, KERNEL_FEATURE_PROCESS_READ,
		    process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1 ? 0 : errno);
	probe_pagemap(sysroot, probe, page);
	munmap(page, bytes);
}

/* Sets a policy through one descriptor of a memfd and looks for it in a mapping made before. */
static void probe_shared_policy(struct kernel_probe *probe, const struct node_set *nodes)
{
	size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
	CLEANUP_CLOSE int fd = memfd_create("ballast-probe", MFD_CLOEXEC);
	struct memory_policy policy = {.mode = MEMORY_POLICY_BIND};
	int mode = -1, error;
	void *page;

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0) {
		kernel_probe_note_result(probe, KERNEL_FEATURE_SHARED_POLICY, errno);
		return;
	}
	page = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return;
	node_set_add(&policy.nodes, node_set_next(nodes, -1));
	error = memory_policy_set_shared(fd, 0, bytes, &policy);
	if (error == 0 && syscall(SYS_get_mempolicy, &mode, NULL, 0UL, page, MPOL_F_ADDR) < 0)
		error = -errno;
	kernel_probe_note_result(probe, KERNEL_FEATURE_SHARED_POLICY, error);
	if (error == 0 && mode != MPOL_BIND)
		kernel_probe_note(probe, KERNEL_FEATURE_SHARED_POLICY, KERNEL_PROBE_NO,
		     "set, but another mapping shows policy %d", mode);
	munmap(page, bytes);
}

static void probe_descriptors(struct kernel_probe *probe)
{
	CLEANUP_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	kernel_probe_note_result(probe, KERNEL_FEATURE_PIDFD, pidfd < 0 ? errno : 0);

	CLEANUP_CLOSE int userfaultfd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (userfaultfd < 0 && errno == EPERM)
		kernel_probe_note(probe, KERNEL_FEATURE_USERFAULTFD, KERNEL_PROBE_YES, "not for us");
	else
		kernel_probe_note_result(probe, KERNEL_FEATURE_USERFAULTFD, userfaultfd < 0 ? errno : 0);
}

static void probe_balancing(const struct sysroot *sysroot, struct kernel_probe *probe)
{
	uint64_t value;
	int error = sysroot_read_number(sysroot, 10, &value, "/proc/sys/kernel/numa_balancing");

	if (error == -ENOENT)
		kernel_probe_note(probe, KERNEL_FEATURE_NUMA_BALANCING, KERNEL_PROBE_NO, "not in this kernel");
	else if (error < 0)
		kernel_probe_note(probe, KERNEL_FEATURE_NUMA_BALANCING, KERNEL_PROBE_UNKNOWN, "%s",
		     strerror(-error));
	else
		kernel_probe_note(probe, KERNEL_FEATURE_NUMA_BALANCING,
		     value ? KERNEL_PROBE_YES : KERNEL_PROBE_NO, "kernel.numa_balancing = %" PRIu64,
		     value);
}

static void probe_cgroup(const struct sysroot *sysroot, struct kernel_probe *probe)
{
	char text[512], *save = NULL;
	int error =
		sysroot_read_text(sysroot, text, sizeof(text), "/sys/fs/cgroup/cgroup.controllers");

	if (error < 0)
		error = sysroot_read_text(sysroot, text, sizeof(text),
					  "/sys/fs/cgroup/unified/cgroup.controllers");
	kernel_probe_note_result(probe, KERNEL_FEATURE_CGROUP2, error);
	kernel_probe_note(probe, KERNEL_FEATURE_CGROUP_CPUSET, KERNEL_PROBE_NO,
	     "no cpuset controller in cgroup v2");
	if (error < 0)
		return;
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		if (strcmp(word, "cpuset") == 0)
			kernel_probe_note_result(probe, KERNEL_FEATURE_CGROUP_CPUSET, 0);
}

static void probe_blocks(const struct sysroot *sysroot, struct kernel_probe *probe)
{
	CLEANUP(memory_block_list_done) struct memory_block_list list = {0};
	size_t movable = 0;
	int error = memory_block_list_read(sysroot, &list);

	if (error < 0 || list.count == 0) {
		kernel_probe_note(probe, KERNEL_FEATURE_MEMORY_HOTREMOVE, KERNEL_PROBE_NO, "no memory blocks");
		kernel_probe_note(probe, KERNEL_FEATURE_MOVABLE_MEMORY, KERNEL_PROBE_NO, "no memory blocks");
		return;
	}
	/* drivers/base/memory.c makes valid_zones only with CONFIG_MEMORY_HOTREMOVE. */
	kernel_probe_note(probe, KERNEL_FEATURE_MEMORY_HOTREMOVE,
	     sysroot_exists(sysroot, "/sys/devices/system/memory/memory%" PRIu64 "/valid_zones",
			    list.blocks[0].id)
		     ? KERNEL_PROBE_YES
		     : KERNEL_PROBE_NO,
	     "%zu blocks of %" PRIu64 " MiB", list.count, list.block_bytes >> 20);
	for (size_t i = 0; i < list.count; i++)
		movable += list.blocks[i].can_be_movable;
	kernel_probe_note(probe, KERNEL_FEATURE_MOVABLE_MEMORY, movable ? KERNEL_PROBE_YES : KERNEL_PROBE_NO,
	     movable ? "%zu blocks are or can be movable"
		     : "%zu blocks are or can be movable; how zones are cut is decided at boot (movable_node, kernelcore=)",
	     movable);
}

static void probe_hugepages(const struct sysroot *sysroot, struct kernel_probe *probe)
{
	uint64_t sizes[HUGEPAGE_POOL_SIZES_MAX];
	size_t count = 0, length = 0;
	char text[128] = "";
	int error = hugepage_pool_list_sizes(sysroot, sizes, &count);

	for (size_t i = 0; error == 0 && i < count && length < sizeof(text); i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length,
					   "%s%" PRIu64 " KiB", i ? ", " : "", sizes[i] / 1024);
	kernel_probe_note(probe, KERNEL_FEATURE_HUGEPAGES, count ? KERNEL_PROBE_YES : KERNEL_PROBE_NO, "%s",
	     text);
	error = sysroot_read_text(sysroot, text, sizeof(text),
				  "/sys/kernel/mm/transparent_hugepage/enabled");
	if (error < 0)
		kernel_probe_note_result(probe, KERNEL_FEATURE_TRANSPARENT_HUGEPAGES, error);
	else
		kernel_probe_note(probe, KERNEL_FEATURE_TRANSPARENT_HUGEPAGES,
		     strstr(text, "[never]") ? KERNEL_PROBE_NO : KERNEL_PROBE_YES, "%s", text);
}

/*
 * Kernels that copy a page under migration with machine checks in mind have folio_mc_copy()
 * (mm/util.c) and an architecture part behind it. There is nothing to try without a broken DIMM, so
 * the symbols must do.
 */
static void probe_safe_copy(const struct sysroot *sysroot, struct kernel_probe *probe)
{
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_RDONLY, "/proc/kallsyms");
	CLEANUP(cleanup_fclose) FILE *stream = NULL;
	bool has_folio_copy = false, has_fragile = false, has_any = false;
	char line[512];

	if (fd >= 0)
		stream = fdopen(fd, "r");
	if (!stream) {
		kernel_probe_note(probe, KERNEL_FEATURE_SAFE_COPY, KERNEL_PROBE_UNKNOWN, "no /proc/kallsyms");
		return;
	}
	fd = -1; /* the stream closes it */
	while (fgets(line, sizeof(line), stream) && !(has_folio_copy && has_fragile)) {
		has_any = true;
		has_folio_copy |= strstr(line, " folio_mc_copy\n") != NULL;
		has_fragile |= strstr(line, " copy_mc_to_kernel\n") != NULL;
	}
	if (!has_any)
		kernel_probe_note(probe, KERNEL_FEATURE_SAFE_COPY, KERNEL_PROBE_UNKNOWN,
		     "/proc/kallsyms is empty");
	else if (has_folio_copy && has_fragile)
		kernel_probe_note_result(probe, KERNEL_FEATURE_SAFE_COPY, 0);
	else
		kernel_probe_note(probe, KERNEL_FEATURE_SAFE_COPY, KERNEL_PROBE_NO,
		     "an uncorrected memory error during a move may stop the host");
}

void kernel_probe_run(const struct sysroot *sysroot, struct kernel_probe *ret_probe)
{
	struct node_set nodes;

	memset(ret_probe, 0, sizeof(*ret_probe));
	nodes = probe_nodes(sysroot, ret_probe);
	probe_own_page(sysroot, ret_probe, &nodes);
	probe_shared_policy(ret_probe, &nodes);
	kernel_probe_pages(sysroot, ret_probe, &nodes);
	kernel_probe_note(ret_probe, KERNEL_FEATURE_CPUSET_REMAP, KERNEL_PROBE_UNKNOWN,
			  "not tried yet: ballastctl check does");
	probe_descriptors(ret_probe);
	probe_open(sysroot, ret_probe, KERNEL_FEATURE_PAGE_FLAGS, O_RDONLY, "/proc/kpageflags");
	probe_open(sysroot, ret_probe, KERNEL_FEATURE_PAGE_CGROUP, O_RDONLY, "/proc/kpagecgroup");
	probe_open(sysroot, ret_probe, KERNEL_FEATURE_IDLE_TRACKING, O_RDONLY,
		   "/sys/kernel/mm/page_idle/bitmap");
	probe_open(sysroot, ret_probe, KERNEL_FEATURE_KERNEL_LOG, O_RDONLY | O_NONBLOCK,
		   "/dev/kmsg");
	probe_open(sysroot, ret_probe, KERNEL_FEATURE_KVM, O_RDWR, "/dev/kvm");
	probe_balancing(sysroot, ret_probe);
	probe_cgroup(sysroot, ret_probe);
	probe_blocks(sysroot, ret_probe);
	probe_hugepages(sysroot, ret_probe);
	probe_safe_copy(sysroot, ret_probe);
	kernel_probe_firmware(sysroot, ret_probe);
}
