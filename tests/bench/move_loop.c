/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that can move a process' shared memory: one loop of move_pages(2), with a batch as
 * told. What the mover is compared with.
 *
 *   move_loop PID NODE BATCH
 *
 * Takes every page of the process' memfd mappings that its page table shows present; the list is
 * made before the clock starts. Prints a line of JSON: pages, moved (with the node as their
 * status), bytes (of those), us, calls, longest_us.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES 4096
/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)

struct list {
	void **addresses;
	size_t count, room;
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

static int add(struct list *list, uint64_t address)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 65536;
		void **grown = realloc(list->addresses, room * sizeof(*grown));

		if (!grown)
			return complain("memory");
		list->addresses = grown;
		list->room = room;
	}
	list->addresses[list->count++] = (void *)(uintptr_t)address;
	return 0;
}

static int add_range(struct list *list, int pagemap, uint64_t start, uint64_t end)
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
			if ((entries[i] & PAGEMAP_PRESENT) && add(list, address) < 0)
				return -1;
	}
	return 0;
}

static int gather(struct list *list, const char *pid)
{
	char path[64], line[512];
	FILE *maps;
	int pagemap, rc = 0;

	snprintf(path, sizeof(path), "/proc/%s/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	maps = fopen(path, "re");
	if (pagemap < 0 || !maps)
		return complain(path);
	while (rc == 0 && fgets(line, sizeof(line), maps)) {
		uint64_t start, end;

		if (strstr(line, "/memfd:") &&
		    sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2)
			rc = add_range(list, pagemap, start, end);
	}
	fclose(maps);
	close(pagemap);
	return rc;
}

int main(int argc, char **argv)
{
	struct list list = {0};
	uint64_t began, took, calls = 0, moved = 0, longest = 0;
	size_t batch;
	int *nodes, *status;

	if (argc != 4 || (batch = strtoul(argv[3], NULL, 10)) == 0) {
		fprintf(stderr, "usage: move_loop PID NODE BATCH\n");
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
	began = now_us();
	for (size_t done = 0; done < list.count; done += batch) {
		size_t count = list.count - done < batch ? list.count - done : batch;
		uint64_t call_began = now_us();

		if (syscall(SYS_move_pages, atoi(argv[1]), count, list.addresses + done,
			    nodes + done, status + done, MPOL_MF_MOVE_ALL) < 0) {
			complain("move_pages");
			return 1;
		}
		if (now_us() - call_began > longest)
			longest = now_us() - call_began;
		calls++;
	}
	took = now_us() - began;
	for (size_t i = 0; i < list.count; i++)
		moved += status[i] == nodes[i];
	printf("{\"pages\":%zu,\"moved\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"us\":%" PRIu64
	       ",\"calls\":%" PRIu64 ",\"longest_us\":%" PRIu64 "}\n",
	       list.count, moved, moved * PAGE_BYTES, took, calls, longest);
	return 0;
}
