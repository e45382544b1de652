/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another process on the host that has a guest's memory: as a vhost-user back end has it, or as
 * evidence.
 *
 *   survey PID RANGE...           what the page table says of the ranges
 *   within PID FIRST LAST RANGE...  how much of them lies in the host's physical addresses FIRST to LAST
 *   file PID RANGE                what the file holds, by node, in a page table or not
 *   places PID RANGE              the same page by page: its node's digit, or a dot for a hole
 *   scatter PID A B RANGE         lays its pages in no regular order on the nodes A and B
 *   find PID SEED PAGES RANGE...  pages of a pattern written once (pattern_word.h), by node
 *   read PID SEED PAGES RANGE...  finds them again and again until its input ends
 *   fill PID MIB RANGE            puts pages where the file has holes, and goes
 *   balance PID NODE RANGE        binds it to a node and lets AutoNUMA mark it all the same
 *   pin PID KIB RANGE             so much of it as io_uring buffers until its input ends
 *   hold PID KIB RANGE            so much of it in a pipe until its input ends
 *   keep NODE MIB KIB             so much memory of its own on a node, a MiB of it in a pipe and so much of the rest as
 *                                 io_uring buffers, until its input ends
 *
 * RANGE is START-END in hexadecimal: addresses in the process PID, of whole mappings of one file.
 * The answer is one line of JSON. What lasts prints a first line when it has begun.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/io_uring.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "guest/pattern_word.h"

#define NODES_MAX	64
#define PAGE		PATTERN_PAGE_BYTES
#define QUERY_PAGES	1024u
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)
#define PAGEMAP_PFN	((UINT64_C(1) << 55) - 1)
#define PAGE_FLAG_THP	(UINT64_C(1) << 22)
#define PIPE_BYTES	(1 << 20)

static void die(const char *what)
{
	fprintf(stderr, "memory_peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

struct range {
	uint64_t start, end;
};

/* A whole file of the guest's memory, mapped here. */
struct file {
	int fd;
	unsigned char *memory;
	uint64_t size, page_bytes;
	int pagemap; /* of the process whose range it is */
	struct range range;
};

struct by_node {
	uint64_t bytes[NODES_MAX];
	uint64_t total, unknown;
};

static struct range parse_range(const char *text)
{
	struct range range;

	if (sscanf(text, "%" SCNx64 "-%" SCNx64, &range.start, &range.end) != 2 ||
	    range.end <= range.start) {
		errno = EINVAL;
		die(text);
	}
	return range;
}

/* The first mapping in the range names its file; the others are parts of the same. */
static struct file open_file(int pid, struct range range, int protection)
{
	struct file file = {.range = range};
	char path[128], line[512];
	uint64_t start = 0, end = 0;
	struct stat status;
	struct statfs system;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	FILE *maps = fopen(path, "re");

	if (!maps)
		die(path);
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2 && start == range.start)
			break;
	fclose(maps);
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, pid, start, end);
	file.fd = open(path, (protection & PROT_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (start != range.start || file.fd < 0 || fstat(file.fd, &status) < 0 ||
	    fstatfs(file.fd, &system) < 0)
		die(path);
	file.size = (uint64_t)status.st_size;
	file.page_bytes = (uint64_t)system.f_bsize;
	/* Not reserved: of hugetlbfs most of the file may be absent, and stays so. */
	file.memory = mmap(NULL, file.size, protection, MAP_SHARED | MAP_NORESERVE, file.fd, 0);
	if (file.memory == MAP_FAILED)
		die("mmap");
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	file.pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (file.pagemap < 0)
		die(path);
	return file;
}

static void close_file(struct file *file)
{
	munmap(file->memory, file->size);
	close(file->fd);
	close(file->pagemap);
}

/* Whether the pages of this process that have been touched are of a transparent huge page, mapped
 * as such or not. */
static uint64_t huge_bytes(int pagemap, int flags, void **pages, size_t count)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t entry = 0, flag = 0;

		if (pread(pagemap, &entry, 8, (off_t)((uintptr_t)pages[i] / PAGE * 8)) == 8 &&
		    (entry & PAGEMAP_PRESENT) &&
		    pread(flags, &flag, 8, (off_t)((entry & PAGEMAP_PFN) * 8)) == 8 &&
		    (flag & PAGE_FLAG_THP))
			bytes += PAGE;
	}
	return bytes;
}

/* Where pages of this process are; they have been touched. Sums count whole pages of page_bytes
 * each. */
static void add_nodes(struct by_node *sums, void **pages, size_t count, uint64_t page_bytes)
{
	int status[QUERY_PAGES];

	if (count && syscall(SYS_move_pages, 0, count, pages, NULL, status, 0) < 0)
		die("move_pages");
	for (size_t i = 0; i < count; i++) {
		sums->total += page_bytes;
		if (status[i] >= 0 && status[i] < NODES_MAX)
			sums->bytes[status[i]] += page_bytes;
		else
			sums->unknown += page_bytes;
	}
}

static void print_nodes(const struct by_node *sums)
{
	bool is_first = true;

	printf("\"total\":%" PRIu64 ",\"unknown\":%" PRIu64 ",\"nodes\":{", sums->total,
	       sums->unknown);
	for (int node = 0; node < NODES_MAX; node++)
		if (sums->bytes[node]) {
			printf("%s\"%d\":%" PRIu64, is_first ? "" : ",", node, sums->bytes[node]);
			is_first = false;
		}
	printf("}");
}

static void wait_input_end(void)
{
	char byte;

	while (read(0, &byte, 1) > 0)
		;
}

static int survey(int pid, char **ranges, int count)
{
	uint64_t present = 0, absent = 0, swapped = 0, marked = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	int pagemap = open(path, O_RDONLY | O_CLOEXEC);

	if (pagemap < 0)
		die(path);
	for (int i = 0; i < count; i++) {
		struct range range = parse_range(ranges[i]);

		for (uint64_t at = range.start; at < range.end; at += QUERY_PAGES * PAGE) {
			uint64_t entries[QUERY_PAGES], left = (range.end - at) / PAGE;
			size_t pages = left < QUERY_PAGES ? (size_t)left : QUERY_PAGES, asked = 0;
			void *addresses[QUERY_PAGES];
			int status[QUERY_PAGES];

			if (pread(pagemap, entries, pages * 8, (off_t)(at / PAGE * 8)) !=
			    (ssize_t)(pages * 8))
				die("pagemap");
			for (size_t page = 0; page < pages; page++) {
				if (entries[page] & PAGEMAP_PRESENT)
					addresses[asked++] = (void *)(uintptr_t)(at + page * PAGE);
				else if (entries[page] & PAGEMAP_SWAPPED)
					swapped += PAGE;
				else
					absent += PAGE;
			}
			if (asked &&
			    syscall(SYS_move_pages, pid, asked, addresses, NULL, status, 0) < 0)
				die("move_pages");
			for (size_t page = 0; page < asked; page++)
				*(status[page] < 0 ? &marked : &present) += PAGE;
		}
	}
	printf("{\"present\":%" PRIu64 ",\"marked\":%" PRIu64 ",\"swapped\":%" PRIu64
	       ",\"absent\":%" PRIu64 "}\n",
	       present + marked, marked, swapped, absent);
	return 0;
}

static int within(int pid, const char *first, const char *last, char **ranges, int count)
{
	uint64_t from = strtoull(first, NULL, 0) / PAGE, to = strtoull(last, NULL, 0) / PAGE, bytes = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	int pagemap = open(path, O_RDONLY | O_CLOEXEC);

	if (pagemap < 0)
		die(path);
	for (int i = 0; i < count; i++) {
		struct range range = parse_range(ranges[i]);

		for (uint64_t at = range.start; at < range.end; at += QUERY_PAGES * PAGE) {
			uint64_t entries[QUERY_PAGES], left = (range.end - at) / PAGE;
			size_t pages = left < QUERY_PAGES ? (size_t)left : QUERY_PAGES;

			if (pread(pagemap, entries, pages * 8, (off_t)(at / PAGE * 8)) != (ssize_t)(pages * 8))
				die("pagemap");
			for (size_t page = 0; page < pages; page++) {
				uint64_t frame = entries[page] & PAGEMAP_PFN;

				if (entries[page] & PAGEMAP_PRESENT && frame >= from && frame <= to)
					bytes += PAGE;
			}
		}
	}
	printf("{\"within\":%" PRIu64 "}\n", bytes);
	return 0;
}

static bool is_in_page_table(const struct file *file, uint64_t at)
{
	uint64_t entry = 0;

	return pread(file->pagemap, &entry, 8, (off_t)((file->range.start + at) / PAGE * 8)) == 8 &&
	       (entry & PAGEMAP_PRESENT);
}

/* The next stretch with data at or after *at; false at the end. */
static bool next_data(const struct file *file, uint64_t *at, uint64_t *ret_end)
{
	off_t data, hole;

	/* hugetlbfs has no holes to seek, but what a guest has of it is always in its page table.
	 */
	while (file->page_bytes > PAGE && *at < file->size) {
		*ret_end = *at + file->page_bytes;
		if (is_in_page_table(file, *at))
			return true;
		*at += file->page_bytes;
	}
	data = lseek(file->fd, (off_t)*at, SEEK_DATA);
	if (data < 0)
		return false;
	hole = lseek(file->fd, data, SEEK_HOLE);
	*at = (uint64_t)data;
	*ret_end = hole < 0 ? file->size : (uint64_t)hole;
	return true;
}

static int file_nodes(int pid, const char *text)
{
	struct file file = open_file(pid, parse_range(text), PROT_READ);
	struct by_node sums = {0};
	uint64_t at = 0, end, huge = 0;
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);

	if (pagemap < 0 || flags < 0)
		die("pagemap");
	while (next_data(&file, &at, &end))
		while (at < end) {
			void *pages[QUERY_PAGES];
			size_t count = 0;

			for (; at < end && count < QUERY_PAGES; at += PAGE) {
				/* It has data: this maps what is there and makes nothing new. */
				(void)*(volatile unsigned char *)(file.memory + at);
				pages[count++] = file.memory + at;
			}
			add_nodes(&sums, pages, count, PAGE);
			huge += huge_bytes(pagemap, flags, pages, count);
		}
	printf("{\"huge\":%" PRIu64 ",", huge);
	print_nodes(&sums);
	printf("}\n");
	close_file(&file);
	return 0;
}

/* The next pages with data, touched; their number, 0 at the end. */
static size_t next_pages(const struct file *file, uint64_t *at, uint64_t *end, void **pages)
{
	size_t count = 0;

	if (*at >= *end && !next_data(file, at, end))
		return 0;
	for (; *at < *end && count < QUERY_PAGES; *at += PAGE) {
		(void)*(volatile unsigned char *)(file->memory + *at);
		pages[count++] = file->memory + *at;
	}
	return count;
}

static int places(int pid, const char *text)
{
	struct file file = open_file(pid, parse_range(text), PROT_READ);
	char *line = malloc(file.size / PAGE + 1);
	uint64_t at = 0, end = 0;
	void *pages[QUERY_PAGES];
	int status[QUERY_PAGES];
	size_t count;

	if (!line)
		die("malloc");
	memset(line, '.', file.size / PAGE);
	line[file.size / PAGE] = '\0';
	while ((count = next_pages(&file, &at, &end, pages)) > 0) {
		if (syscall(SYS_move_pages, 0, count, pages, NULL, status, 0) < 0)
			die("move_pages");
		for (size_t i = 0; i < count; i++)
			line[(size_t)((unsigned char *)pages[i] - file.memory) / PAGE] =
				status[i] >= 0 && status[i] <= 9 ? (char)('0' + status[i]) : '?';
	}
	printf("{\"places\":\"%s\"}\n", line);
	free(line);
	close_file(&file);
	return 0;
}

static int scatter(int pid, const char *first, const char *second, const char *text)
{
	struct file file = open_file(pid, parse_range(text), PROT_READ);
	int ends[] = {atoi(first), atoi(second)}, nodes[QUERY_PAGES], status[QUERY_PAGES];
	uint64_t at = 0, end = 0, scattered = 0;
	void *pages[QUERY_PAGES];
	size_t count;

	while ((count = next_pages(&file, &at, &end, pages)) > 0) {
		for (size_t i = 0; i < count; i++)
			nodes[i] = ends[__builtin_parityll((size_t)((unsigned char *)pages[i] - file.memory) / PAGE)];
		if (syscall(SYS_move_pages, 0, count, pages, nodes, status, MPOL_MF_MOVE_ALL) < 0)
			die("move_pages");
		for (size_t i = 0; i < count; i++)
			scattered += status[i] == nodes[i] ? PAGE : 0;
	}
	printf("{\"scattered\":%" PRIu64 "}\n", scattered);
	close_file(&file);
	return 0;
}

struct known {
	uint64_t word, page;
};

static int by_word(const void *a, const void *b)
{
	const struct known *first = a, *second = b;

	return first->word < second->word ? -1 : first->word > second->word;
}

struct search {
	struct known *known;
	uint64_t count, seed;
	unsigned char *seen;
	uint64_t found, torn;
	struct by_node sums;
};

static void search_page(struct search *search, unsigned char *memory, void **pages, size_t *waiting)
{
	volatile uint64_t *words = (volatile uint64_t *)(void *)memory;
	struct known key = {.word = words[0]};
	const struct known *known =
		bsearch(&key, search->known, search->count, sizeof(key), by_word);

	if (!known)
		return;
	for (uint64_t line = 1; line < PATTERN_LINES; line++)
		if (words[line * PATTERN_LINE_WORDS] !=
		    pattern_word(known->page, search->seed, line)) {
			search->torn++;
			return;
		}
	search->found += !search->seen[known->page];
	search->seen[known->page] = 1;
	pages[(*waiting)++] = memory;
	if (*waiting == QUERY_PAGES) {
		add_nodes(&search->sums, pages, *waiting, PAGE);
		*waiting = 0;
	}
}

static void search_file(struct search *search, const struct file *file)
{
	void *pages[QUERY_PAGES];
	uint64_t at = 0, end;
	size_t waiting = 0;

	while (next_data(file, &at, &end))
		for (; at < end; at += PAGE)
			search_page(search, file->memory + at, pages, &waiting);
	add_nodes(&search->sums, pages, waiting, PAGE);
}

static void search_all(struct search *search, struct file *files, int count)
{
	memset(search->seen, 0, search->count);
	search->found = search->torn = 0;
	search->sums = (struct by_node){0};
	for (int i = 0; i < count; i++)
		search_file(search, &files[i]);
}

static int find(int pid, const char *seed, const char *pages, char **ranges, int count,
		bool goes_on)
{
	struct search search = {.seed = strtoull(seed, NULL, 10),
				.count = strtoull(pages, NULL, 10)};
	struct file *files = calloc((size_t)count, sizeof(*files));
	uint64_t rounds = 0, lost = 0, torn = 0;
	struct pollfd input = {.fd = 0, .events = POLLIN | POLLHUP};

	search.known = calloc(search.count, sizeof(*search.known));
	search.seen = calloc(search.count, 1);
	if (!files || !search.known || !search.seen)
		die("memory");
	for (uint64_t page = 0; page < search.count; page++)
		search.known[page] =
			(struct known){.word = pattern_word(page, search.seed, 0), .page = page};
	qsort(search.known, search.count, sizeof(*search.known), by_word);
	for (int i = 0; i < count; i++)
		files[i] = open_file(pid, parse_range(ranges[i]), PROT_READ);
	do {
		search_all(&search, files, count);
		rounds++;
		lost += search.count - search.found;
		torn += search.torn;
		if (goes_on && rounds == 1) {
			printf("{\"found\":%" PRIu64 "}\n", search.found);
			fflush(stdout);
		}
	} while (goes_on && poll(&input, 1, 250) == 0);
	printf("{\"rounds\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"torn\":%" PRIu64 ",", rounds, lost,
	       torn);
	print_nodes(&search.sums);
	printf("}\n");
	return 0;
}

static int fill(int pid, const char *mib, const char *text)
{
	struct file file = open_file(pid, parse_range(text), PROT_READ);
	uint64_t wanted = strtoull(mib, NULL, 10) << 20, filled = 0;

	/* From the top: what a guest's kernel has never used lies there more often than not. */
	for (uint64_t at = file.size; at > 0 && filled < wanted; at -= PAGE) {
		off_t data = lseek(file.fd, (off_t)(at - PAGE), SEEK_DATA);

		if (data == (off_t)(at - PAGE))
			continue;
		(void)*(volatile unsigned char *)(file.memory + at - PAGE);
		filled += PAGE;
	}
	printf("{\"filled\":%" PRIu64 "}\n", filled);
	close_file(&file);
	return filled == wanted ? 0 : 1;
}

/* So much of the file that is there already, at one piece from a boundary of 2 MiB. */
static unsigned char *find_data(const struct file *file, uint64_t bytes)
{
	uint64_t at = 0, end;

	while (next_data(file, &at, &end)) {
		uint64_t from = (at + (2u << 20) - 1) & ~(uint64_t)((2u << 20) - 1);

		if (from + bytes <= end)
			return file->memory + from;
		at = end;
	}
	errno = ENOENT;
	die("no such stretch of data");
	return NULL;
}

/* A memfd without a policy of its own AutoNUMA leaves alone (mm/mempolicy.c vma_policy_mof). */
static int balance(int pid, const char *node, const char *text)
{
	struct file file = open_file(pid, parse_range(text), PROT_NONE);
	unsigned long nodes = 1ul << strtoul(node, NULL, 10);

	if (syscall(SYS_mbind, file.memory, file.size, MPOL_BIND | MPOL_F_NUMA_BALANCING, &nodes,
		    sizeof(nodes) * 8, 0) < 0)
		die("mbind");
	printf("{\"bound\":%" PRIu64 "}\n", file.size);
	close_file(&file);
	return 0;
}

static void say_held(uint64_t bytes)
{
	printf("{\"held\":%" PRIu64 "}\n", bytes);
	fflush(stdout);
	wait_input_end();
	printf("{\"released\":%" PRIu64 "}\n", bytes);
}

/* A ring that has them. */
static int register_buffers(void *memory, uint64_t bytes)
{
	struct iovec vector = {.iov_base = memory, .iov_len = bytes};
	struct io_uring_params parameters = {0};
	int ring = (int)syscall(SYS_io_uring_setup, 4, &parameters);

	if (ring < 0)
		die("io_uring_setup");
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &vector, 1) < 0)
		die("io_uring_register");
	return ring;
}

static int pin(int pid, const char *kib, const char *text)
{
	struct file file = open_file(pid, parse_range(text), PROT_READ | PROT_WRITE);
	uint64_t bytes = strtoull(kib, NULL, 10) << 10;
	int ring = register_buffers(find_data(&file, bytes), bytes);

	say_held(bytes);
	close(ring);
	return 0;
}

/* The pipe has the very pages from then on. */
static void put_into_pipe(void *memory, uint64_t bytes)
{
	struct iovec vector = {.iov_base = memory, .iov_len = bytes};
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES) < PIPE_BYTES)
		die("pipe");
	if (vmsplice(ends[1], &vector, 1, 0) != (ssize_t)bytes)
		die("vmsplice");
}

static int hold(int pid, const char *kib, const char *text)
{
	struct file file = open_file(pid, parse_range(text), PROT_READ);
	uint64_t bytes = strtoull(kib, NULL, 10) << 10;

	if (bytes > PIPE_BYTES) {
		errno = EINVAL;
		die(kib);
	}
	put_into_pipe(find_data(&file, bytes), bytes);
	say_held(bytes);
	return 0;
}

static int keep(const char *node, const char *mib, const char *kib)
{
	uint64_t bytes = strtoull(mib, NULL, 10) << 20, registered = strtoull(kib, NULL, 10) << 10;
	unsigned long nodes = 1ul << strtoul(node, NULL, 10);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	if (registered + PIPE_BYTES > bytes) {
		errno = EINVAL;
		die(kib);
	}
	if (syscall(SYS_mbind, memory, bytes, MPOL_BIND, &nodes, sizeof(nodes) * 8, 0) < 0)
		die("mbind");
	/* A huge page leaves as a whole where some of it is registered. */
	if (registered && madvise((char *)memory + PIPE_BYTES, registered, MADV_NOHUGEPAGE) < 0)
		die("madvise");
	memset(memory, 1, bytes);
	put_into_pipe(memory, PIPE_BYTES);
	/* The ring lasts as long as the process. */
	if (registered)
		register_buffers((char *)memory + PIPE_BYTES, registered);
	say_held(bytes);
	return 0;
}

int main(int argc, char **argv)
{
	int pid = argc > 2 ? atoi(argv[2]) : 0;

	if (argc >= 4 && strcmp(argv[1], "survey") == 0)
		return survey(pid, argv + 3, argc - 3);
	if (argc >= 6 && strcmp(argv[1], "within") == 0)
		return within(pid, argv[3], argv[4], argv + 5, argc - 5);
	if (argc == 4 && strcmp(argv[1], "file") == 0)
		return file_nodes(pid, argv[3]);
	if (argc == 4 && strcmp(argv[1], "places") == 0)
		return places(pid, argv[3]);
	if (argc == 6 && strcmp(argv[1], "scatter") == 0)
		return scatter(pid, argv[3], argv[4], argv[5]);
	if (argc >= 6 && (strcmp(argv[1], "find") == 0 || strcmp(argv[1], "read") == 0))
		return find(pid, argv[3], argv[4], argv + 5, argc - 5, argv[1][0] == 'r');
	if (argc == 5 && strcmp(argv[1], "fill") == 0)
		return fill(pid, argv[3], argv[4]);
	if (argc == 5 && strcmp(argv[1], "balance") == 0)
		return balance(pid, argv[3], argv[4]);
	if (argc == 5 && strcmp(argv[1], "pin") == 0)
		return pin(pid, argv[3], argv[4]);
	if (argc == 5 && strcmp(argv[1], "hold") == 0)
		return hold(pid, argv[3], argv[4]);
	if (argc == 5 && strcmp(argv[1], "keep") == 0)
		return keep(argv[2], argv[3], argv[4]);
	fprintf(stderr, "usage: memory_peer (survey | within | file | places | scatter | find | read | fill | balance | "
			"pin | hold) PID ... | keep NODE MIB KIB\n");
	return 2;
}
