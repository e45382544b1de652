/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps memory in use and notices if any of it is lost, stale or torn.
 *
 *   pattern run NAME MIB [hugetlb | gigantic] [once | still] [pace=MICROSECONDS] [seed=GENERATION] [cell=NODE] [held=PAGES]
 *       fills the memory, then goes on until told to quit; hugetlb, gigantic: in huge pages of 2 MiB, of 1 GiB;
 *       cell: memory of that NUMA node alone; held: so many pages, all over it, stay in a pipe, from where the kernel
 *       cannot move them
 *   pattern ask NAME (status | reset | round | held | quit)
 *       prints one line of JSON; held: the page frames that are held
 *
 * Every page carries the words of pattern_word.h. The writer goes round: verify a page against the
 * generation of the round before, write the next one. So a page that was replaced by an older copy
 * of itself is found as surely as a lost one. Between two pages it looks at the clock: the longest
 * gap is the longest time that this guest could not write. With "once" the pages are written once,
 * in generation seed, and then only verified, a round a second; with "still" likewise, but a round for
 * each that is asked for and none else.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "pattern_word.h"

#define HUGE_BYTES     ((size_t)2 << 20)
#define GIGANTIC_BYTES ((size_t)1 << 30)
/* With a pace, sleep after this many pages. */
#define PACE_PAGES 64u

struct pattern {
	uint64_t *memory;
	uint64_t pages;
	bool once, still;
	sem_t asked;	/* still: rounds */
	unsigned pace_us, held;
	uint64_t seed;
	_Atomic bool filled, pause_reset;
	_Atomic uint64_t verified, rounds, errors;
	_Atomic uint64_t longest_pause_us, reset_at_us;
	_Atomic uint64_t bad_page, bad_line, bad_expected, bad_found;
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void page_write(struct pattern *p, uint64_t page, uint64_t generation)
{
	volatile uint64_t *words = p->memory + page * (PATTERN_PAGE_BYTES / 8);

	for (uint64_t line = 0; line < PATTERN_LINES; line++)
		words[line * PATTERN_LINE_WORDS] = pattern_word(page, generation, line);
}

static void page_verify(struct pattern *p, uint64_t page, uint64_t generation)
{
	volatile uint64_t *words = p->memory + page * (PATTERN_PAGE_BYTES / 8);

	for (uint64_t line = 0; line < PATTERN_LINES; line++) {
		uint64_t found = words[line * PATTERN_LINE_WORDS],
			 expected = pattern_word(page, generation, line);

		if (found == expected)
			continue;
		if (atomic_fetch_add(&p->errors, 1) == 0) {
			p->bad_page = page;
			p->bad_line = line;
			p->bad_expected = expected;
			p->bad_found = found;
		}
		break;
	}
	p->verified++;
}

/* Into a pipe that nobody reads. */
static bool hold(struct pattern *p)
{
	int ends[2];

	if (p->held == 0)
		return true;
	if (pipe(ends) < 0 || fcntl(ends[1], F_SETPIPE_SZ, (int)(p->held * PATTERN_PAGE_BYTES)) < 0)
		return false;
	for (uint64_t i = 0; i < p->held; i++) {
		struct iovec page = {
			.iov_base = (char *)p->memory + i * p->pages / p->held * PATTERN_PAGE_BYTES,
			.iov_len = PATTERN_PAGE_BYTES};

		if (vmsplice(ends[1], &page, 1, 0) != (ssize_t)PATTERN_PAGE_BYTES)
			return false;
	}
	return true;
}

static void *writer(void *argument)
{
	struct pattern *p = argument;
	uint64_t generation = p->seed, before;

	for (uint64_t page = 0; page < p->pages; page++)
		page_write(p, page, generation);
	if (!hold(p))
		_exit(1);
	p->reset_at_us = before = now_us();
	p->filled = true;
	for (;;) {
		if (p->still) {
			while (sem_wait(&p->asked) < 0)
				;
			before = now_us();
		}
		for (uint64_t page = 0; page < p->pages; page++) {
			page_verify(p, page, generation);
			if (!p->once && !p->still)
				page_write(p, page, generation + 1);
			uint64_t now = now_us();

			if (p->pause_reset) {
				p->pause_reset = false;
				p->longest_pause_us = 0;
				p->reset_at_us = now;
			} else if (now - before > p->longest_pause_us) {
				p->longest_pause_us = now - before;
			}
			before = now;
			if (p->pace_us && page % PACE_PAGES == PACE_PAGES - 1) {
				usleep(p->pace_us);
				before = now_us();
			}
		}
		p->rounds++;
		if (p->once) {
			sleep(1);
			before = now_us();
		} else if (!p->still) {
			generation++;
		}
	}
	return NULL;
}

static void describe(struct pattern *p, char *text, size_t room)
{
	snprintf(text, room,
		 "{\"filled\":%s,\"pages\":%" PRIu64 ",\"verified\":%" PRIu64 ",\"rounds\":%" PRIu64
		 ",\"errors\":%" PRIu64 ",\"longest_pause_us\":%" PRIu64
		 ",\"since_reset_us\":%" PRIu64 ",\"first_bad\":{\"page\":%" PRIu64
		 ",\"line\":%" PRIu64 ",\"expected\":\"%" PRIx64 "\",\"found\":\"%" PRIx64 "\"}}\n",
		 p->filled ? "true" : "false", p->pages, p->verified, p->rounds, p->errors,
		 p->longest_pause_us, p->filled ? now_us() - p->reset_at_us : 0, p->bad_page,
		 p->bad_line, p->bad_expected, p->bad_found);
}

/* Where the guest's kernel has them, by /proc/PID/pagemap. */
static void describe_held(const struct pattern *p, char *text, size_t room)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t used = (size_t)snprintf(text, room, "[");

	for (uint64_t i = 0; i < p->held && used < room; i++) {
		uint64_t page = (uint64_t)(uintptr_t)p->memory / PATTERN_PAGE_BYTES + i * p->pages / p->held, entry = 0;

		if (pread(pagemap, &entry, sizeof(entry), (off_t)(page * sizeof(entry))) != sizeof(entry))
			break;
		/* Bits 0 to 54 (Documentation/admin-guide/mm/pagemap.rst). */
		used += (size_t)snprintf(text + used, room - used, "%s%" PRIu64, i ? "," : "",
					 entry & ((UINT64_C(1) << 55) - 1));
	}
	if (used < room)
		snprintf(text + used, room - used, "]\n");
	close(pagemap);
}

static struct sockaddr_un address_of(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "/run/pattern.%s", name);
	return address;
}

static int complain(const char *what)
{
	fprintf(stderr, "pattern: %s: %s\n", what, strerror(errno));
	return 1;
}

/*
 * Forks. The parent ends when the child says that it is ready, with 1 when that died before (it has said why); the child
 * returns, with the end to say it by, or -1.
 */
static int behind(void)
{
	int ends[2];
	char word;
	pid_t child = -1;

	if (pipe2(ends, O_CLOEXEC) == 0)
		child = fork();
	if (child > 0) {
		close(ends[1]);
		_exit(read(ends[0], &word, 1) == 1 ? 0 : 1);
	}
	if (child < 0)
		return -1;
	close(ends[0]);
	setsid();
	return ends[1];
}

/* Lets go of what the caller has of it, so that its command ends, and tells that it is ready. */
static bool detach(int ready)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || chdir("/") < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		return false;
	close(null);
	if (write(ready, "", 1) != 1)
		return false;
	close(ready);
	return true;
}

static int run(int argc, char **argv)
{
	static struct pattern p;
	const char *name = argv[2];
	uint64_t mib = strtoull(argv[3], NULL, 10);
	size_t huge_bytes = 0;
	unsigned long cells = 0;
	pthread_t thread;

	for (int i = 4; i < argc; i++) {
		if (strcmp(argv[i], "hugetlb") == 0)
			huge_bytes = HUGE_BYTES;
		if (strcmp(argv[i], "gigantic") == 0)
			huge_bytes = GIGANTIC_BYTES;
		p.once |= strcmp(argv[i], "once") == 0;
		p.still |= strcmp(argv[i], "still") == 0;
		if (strncmp(argv[i], "pace=", 5) == 0)
			p.pace_us = (unsigned)strtoul(argv[i] + 5, NULL, 10);
		if (strncmp(argv[i], "seed=", 5) == 0)
			p.seed = strtoull(argv[i] + 5, NULL, 10);
		if (strncmp(argv[i], "held=", 5) == 0)
			p.held = (unsigned)strtoul(argv[i] + 5, NULL, 10);
		if (strncmp(argv[i], "cell=", 5) == 0)
			cells = 1ul << strtoul(argv[i] + 5, NULL, 10);
	}
	size_t size = (size_t)mib << 20;

	if (huge_bytes)
		size = (size + huge_bytes - 1) / huge_bytes * huge_bytes;
	p.pages = size / PATTERN_PAGE_BYTES;

	struct sockaddr_un address = address_of(name);
	int ready = behind(), listener;

	if (ready < 0)
		return complain("fork");
	/*
	 * Mapped by the process that writes: huge pages that a private mapping has reserved stay with who mapped it, a child
	 * of that dies of SIGBUS while its parent still lives (mm/hugetlb.c, HPAGE_RESV_OWNER).
	 */
	p.memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | (huge_bytes ? MAP_HUGETLB : 0) |
				(huge_bytes == GIGANTIC_BYTES ? MAP_HUGE_1GB : 0),
			-1, 0);
	if (p.pages == 0 || p.memory == MAP_FAILED)
		return complain("mmap");
	/* The writer's thread inherits it. */
	if (cells && syscall(SYS_set_mempolicy, MPOL_BIND, &cells, sizeof(cells) * 8) < 0)
		return complain("set_mempolicy");
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(address.sun_path);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 4) < 0)
		return complain(address.sun_path);
	/* The filling goes on behind. */
	if (!detach(ready))
		return complain("detach");
	if (sem_init(&p.asked, 0, 0) < 0)
		return 1;
	if (pthread_create(&thread, NULL, writer, &p) != 0)
		return 1;
	for (;;) {
		char order[16] = "", answer[4096] = "{}\n";
		int client = accept(listener, NULL, NULL);

		if (client < 0)
			continue;
		if (read(client, order, sizeof(order) - 1) > 0 && strcmp(order, "reset") == 0 &&
		    p.filled && !p.still) {
			p.pause_reset = true;
			while (p.pause_reset)
				usleep(1000);
		}
		if (strcmp(order, "round") == 0)
			sem_post(&p.asked);
		if (strcmp(order, "held") == 0)
			describe_held(&p, answer, sizeof(answer));
		else
			describe(&p, answer, sizeof(answer));
		if (write(client, answer, strlen(answer)) < 0)
			complain("answer");
		if (strcmp(order, "quit") == 0) {
			/* The client is closed by the exit, after the memory has gone: who asked waits for that. */
			unlink(address.sun_path);
			return 0;
		}
		close(client);
	}
}

static int ask(const char *name, const char *order)
{
	struct sockaddr_un address = address_of(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char answer[512];
	ssize_t n;

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return complain(address.sun_path);
	if (write(fd, order, strlen(order)) < 0)
		return complain("ask");
	while ((n = read(fd, answer, sizeof(answer))) > 0)
		if (fwrite(answer, 1, (size_t)n, stdout) != (size_t)n)
			return complain("print");
	return n < 0 ? complain("answer") : 0;
}

int main(int argc, char **argv)
{
	if (argc >= 4 && strcmp(argv[1], "run") == 0)
		return run(argc, argv);
	if (argc == 4 && strcmp(argv[1], "ask") == 0)
		return ask(argv[2], argv[3]);
	fprintf(stderr, "usage: pattern run NAME MIB [hugetlb | gigantic] [once | still] [pace=MICROSECONDS] "
			"[seed=GENERATION] [cell=NODE] [held=PAGES]\n"
			"       pattern ask NAME (status | reset | round | held | quit)\n");
	return 2;
}
