/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that can move a process' shared memory: one loop of move_pages(2), with a batch as
 * told. What the mover is compared with.
 *
 *   move_loop PID NODE BATCH [THREADS]
 *
 * Takes every page of the process' memfd and hugetlb mappings that its page table shows present, a
 * huge page by its first address; the list is made before the clock starts, and the threads (1)
 * take a part of it each. Prints a line of JSON: pages, moved (with the node as their status),
 * bytes (of those), us, calls, longest_us.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES  4096
#define THREADS_MAX 16
/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)

struct list {
	void **addresses;
	uint64_t *page_bytes;
	size_t count, room;
};

/* What one thread moves, and what became of it. */
struct part {
	pthread_t thread;
	int pid, error;
	size_t first, count, batch;
	const struct list *list;
	const int *nodes;
	int *status;
	uint64_t calls, longest_us;
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int complain(const char *what)
{
	fprintf(stderr, "move_loop: %s: %s\n", what, strerror(errno));
	return -1;
}

static int add(struct list *list, uint64_t address, uint64_t page_bytes)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 65536;
		void **addresses = realloc(list->addresses, room * sizeof(*addresses));
		uint64_t *sizes;

		if (!addresses)
			return complain("memory");
		list->addresses = addresses;
		sizes = realloc(list->page_bytes, room * sizeof(*sizes));
		if (!sizes)
			return complain("memory");
		list->page_bytes = sizes;
		list->room = room;
	}
	list->page_bytes[list->count] = page_bytes;
	list->addresses[list->count++] = (void *)(uintptr_t)address;
	return 0;
}

static int add_range(struct list *list, int pagemap, uint64_t start, uint64_t end,
		     uint64_t page_bytes)
{
	static uint64_t entries[8192];

	for (uint64_t address = start; address < end;) {
		size_t wanted =
			(end - address) / PAGE_BYTES < 8192 ? (end - address) / PAGE_BYTES : 8192;
		ssize_t got = pread(pagemap, entries, wanted * sizeof(*entries),
				    (off_t)(address / PAGE_BYTES * sizeof(*entries)));

		if (got <= 0)
			return complain("pagemap");
		for (size_t i = 0; i < (size_t)got / sizeof(*entries); i++, address += PAGE_BYTES)
			if ((entries[i] & PAGEMAP_PRESENT) && address % page_bytes == 0 &&
			    add(list, address, page_bytes) < 0)
				return -1;
	}
	return 0;
}

/* smaps: a line of the mapping, then lines of what it consists of, KernelPageSize among them. */
static int gather(struct list *list, const char *pid)
{
	char path[64], line[512];
	uint64_t start = 0, end = 0, first, last, kib;
	bool is_memfd = false;
	FILE *maps;
	int pagemap, rc = 0;

	snprintf(path, sizeof(path), "/proc/%s/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%s/smaps", pid);
	maps = fopen(path, "re");
	if (pagemap < 0 || !maps)
		return complain(path);
	while (rc == 0 && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &first, &last) == 2) {
			start = first;
			end = last;
			is_memfd = strstr(line, "/memfd:") != NULL;
		} else if (sscanf(line, "KernelPageSize: %" SCNu64 " kB", &kib) == 1 &&
			   (is_memfd || kib * 1024 > PAGE_BYTES)) {
			rc = add_range(list, pagemap, start, end, kib * 1024);
		}
	}
	fclose(maps);
	close(pagemap);
	return rc;
}

static void *run(void *argument)
{
	struct part *part = argument;

	for (size_t done = 0; done < part->count; done += part->batch) {
		size_t at = part->first + done,
		       count = part->count - done < part->batch ? part->count - done : part->batch;
		uint64_t began = now_us(), took;

		if (syscall(SYS_move_pages, part->pid, count, part->list->addresses + at,
			    part->nodes + at, part->status + at, MPOL_MF_MOVE_ALL) < 0) {
			part->error = errno;
			break;
		}
		took = now_us() - began;
		if (took > part->longest_us)
			part->longest_us = took;
		part->calls++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct part parts[THREADS_MAX];
	struct list list = {0};
	uint64_t began, took, calls = 0, moved = 0, bytes = 0, longest = 0;
	size_t batch, threads = 1;
	int *nodes, *status;

	if (argc < 4 || argc > 5 || (batch = strtoul(argv[3], NULL, 10)) == 0 ||
	    (argc == 5 && ((threads = strtoul(argv[4], NULL, 10)) == 0 || threads > THREADS_MAX))) {
		fprintf(stderr, "usage: move_loop PID NODE BATCH [THREADS, up to %d]\n",
			THREADS_MAX);
		return 2;
	}
	if (gather(&list, argv[1]) < 0)
		return 1;
	nodes = calloc(list.count + 1, sizeof(*nodes));
	status = calloc(list.count + 1, sizeof(*status));
	if (!nodes || !status)
		return 1;
	for (size_t i = 0; i < list.count; i++) {
		nodes[i] = atoi(argv[2]);
		status[i] = -1;
	}
	for (size_t i = 0; i < threads; i++)
		parts[i] = (struct part){.pid = atoi(argv[1]),
					 .first = list.count * i / threads,
					 .count = list.count * (i + 1) / threads -
						  list.count * i / threads,
					 .batch = batch,
					 .list = &list,
					 .nodes = nodes,
					 .status = status};
	began = now_us();
	for (size_t i = 1; i < threads; i++)
		if (pthread_create(&parts[i].thread, NULL, run, &parts[i]) != 0) {
			fprintf(stderr, "move_loop: no thread\n");
			return 1;
		}
	run(&parts[0]);
	for (size_t i = 1; i < threads; i++)
		pthread_join(parts[i].thread, NULL);
	took = now_us() - began;
	for (size_t i = 0; i < threads; i++) {
		errno = parts[i].error;
		if (errno) {
			complain("move_pages");
			return 1;
		}
		calls += parts[i].calls;
		longest = parts[i].longest_us > longest ? parts[i].longest_us : longest;
	}
	for (size_t i = 0; i < list.count; i++) {
		moved += status[i] == nodes[i];
		bytes += status[i] == nodes[i] ? list.page_bytes[i] : 0;
	}
	printf("{\"pages\":%zu,\"moved\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"us\":%" PRIu64
	       ",\"calls\":%" PRIu64 ",\"longest_us\":%" PRIu64 "}\n",
	       list.count, moved, bytes, took, calls, longest);
	return 0;
}
