/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: one vCPU in flat 32-bit protected mode without paging, no interrupt controller, no
 * devices. Its physical memory:
 *
 *   0x00000000  one page of code
 *   0x10000000  the pattern memory: what the caller moves
 *
 * Page p holds (r << 20) + p in each of its 1024 words after round r; round 0 is written by us. In
 * each round the guest compares a whole page with the round before, fills it, and tells us by a
 * write to a port. So the number of exits says exactly what every page must hold.
 */
#include "microvm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/kvm.h>
#include "clock.h"
#include "failure.h"

#define CODE_ADDRESS   0
#define MEMORY_ADDRESS 0x10000000u
#define PAGE_BYTES     4096u
#define PAGE_WORDS     (PAGE_BYTES / 4)
#define ROUND_STEP     0x100000u /* above the largest page number: 1 GiB has 2^18 pages */
#define MEMORY_MIN     ((uint64_t)1 << 20)
#define MEMORY_MAX     ((uint64_t)1 << 30)
#define PORT_PROGRESS  0x10
#define PORT_CORRUPT   0x11
#define TICK_NS	       10000000 /* how long a stop or the deadline may go unseen */

static const char *const backing_names[MICROVM_BACKING_COUNT] = {
	[MICROVM_BACKING_ANON] = "anon",
	[MICROVM_BACKING_MEMFD] = "memfd",
	[MICROVM_BACKING_THP] = "thp",
	[MICROVM_BACKING_HUGETLB] = "hugetlb",
};
NAME_TABLE_DEFINE(microvm_backing, backing_names)

static const char *const end_names[MICROVM_END_COUNT] = {
	[MICROVM_END_STOPPED] = "stopped",
	[MICROVM_END_NO_PROGRESS] = "no_progress",
	[MICROVM_END_CORRUPT] = "corrupt",
	[MICROVM_END_KVM_ERROR] = "kvm_error",
};
NAME_TABLE_DEFINE(microvm_end, end_names)

struct microvm {
	int kvm;
	int machine;
	int cpu;
	struct kvm_run *run; /* owned mapping */
	size_t run_bytes;
	uint8_t *code;	 /* owned mapping, one page */
	uint8_t *memory; /* inside the mapping */
	uint64_t memory_bytes;
	void *mapping; /* owned */
	uint64_t mapping_bytes;
	atomic_bool is_stop_asked;
	/* Written by the thread that runs the vCPU only. */
	_Atomic uint64_t pages;
	_Atomic uint64_t longest_pause_ns;
	_Atomic uint64_t first_exit_ns;
	_Atomic uint64_t interruptions;
	_Atomic uint64_t cpu_ns;
};

static void put32(uint8_t *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

/* The guest's program; ebx is 0 at its start. */
static void write_code(uint8_t *code, uint32_t page_count)
{
	static const uint8_t program[] = {
		0xbe, 0,
		0,    0,
		0, /*  0 round: mov esi, MEMORY_ADDRESS */
		0xbd, 0,
		0,    0,
		0,	    /*  5        mov ebp, page_count */
		0x89, 0xd8, /* 10 page:  mov eax, ebx */
		0x89, 0xf7, /* 12        mov edi, esi */
		0xb9, 0x00,
		0x04, 0x00,
		0x00,	    /* 14        mov ecx, PAGE_WORDS */
		0xf3, 0xaf, /* 19        repe scasd */
		0x75, 0x29, /* 21        jne bad */
		0x8d, 0x83,
		0x00, 0x00,
		0x10, 0x00, /* 23        lea eax, [ebx + ROUND_STEP] */
		0x89, 0xf7, /* 29        mov edi, esi */
		0xb9, 0x00,
		0x04, 0x00,
		0x00,		     /* 31        mov ecx, PAGE_WORDS */
		0xf3, 0xab,	     /* 36        rep stosd */
		0xe6, PORT_PROGRESS, /* 38        out PORT_PROGRESS, al */
		0x81, 0xc6,
		0x00, 0x10,
		0x00, 0x00, /* 40        add esi, PAGE_BYTES */
		0x43,	    /* 46        inc ebx */
		0x4d,	    /* 47        dec ebp */
		0x75, 0xd8, /* 48        jnz page */
		0x81, 0xeb,
		0,    0,
		0,    0, /* 50        sub ebx, page_count */
		0x81, 0xc3,
		0x00, 0x00,
		0x10, 0x00,	    /* 56        add ebx, ROUND_STEP */
		0xeb, 0xc0,	    /* 62        jmp round */
		0xe6, PORT_CORRUPT, /* 64 bad:   out PORT_CORRUPT, al */
		0xeb, 0xfc,	    /* 66        jmp bad */
	};

	memcpy(code, program, sizeof(program));
	put32(code + 1, MEMORY_ADDRESS);
	put32(code + 6, page_count);
	put32(code + 52, page_count);
}

static int map_memory(struct microvm *vm, const struct microvm_options *options,
		      struct failure *failure)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, error;
	uint64_t bytes = options->memory_bytes;
	CLEANUP_CLOSE int fd = -1;
	uint8_t *memory;

	switch (options->backing) {
	case MICROVM_BACKING_ANON:
		break;
	case MICROVM_BACKING_THP:
		/* Room to begin at a multiple of the huge page's size. */
		bytes += options->page_bytes;
		break;
	case MICROVM_BACKING_MEMFD:
		fd = memfd_create("ballast-microvm", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, (off_t)options->memory_bytes) < 0)
			return failure_set(failure, errno, "microvm", "cannot make a memfd");
		flags = MAP_SHARED;
		break;
	case MICROVM_BACKING_HUGETLB:
		flags |= MAP_HUGETLB | __builtin_ctzll(options->page_bytes) << MAP_HUGE_SHIFT;
		break;
	case MICROVM_BACKING_COUNT:
		return failure_set(failure, EINVAL, "microvm", "no such backing");
	}
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (memory == MAP_FAILED) {
		error = errno;
		failure_set(failure, error, "microvm", "cannot map %" PRIu64 " MiB of %s memory",
			    options->memory_bytes >> 20, microvm_backing_name(options->backing));
		if (options->backing == MICROVM_BACKING_HUGETLB)
			failure_set_way_out(failure,
					    "make the pool of %" PRIu64 " KiB pages larger",
					    options->page_bytes / 1024);
		return -error;
	}
	vm->mapping = memory;
	vm->mapping_bytes = bytes;
	if (options->backing == MICROVM_BACKING_THP) {
		memory += -(uintptr_t)memory & (options->page_bytes - 1);
		/* Refused where the kernel has none: then it is small pages. */
		(void)madvise(memory, options->memory_bytes, MADV_HUGEPAGE);
	} else if (options->backing == MICROVM_BACKING_ANON) {
		/* Small pages are wanted, whatever the host prefers. */
		(void)madvise(memory, options->memory_bytes, MADV_NOHUGEPAGE);
	}
	vm->memory = memory;
	vm->memory_bytes = options->memory_bytes;
	/* Round 0, which also faults every page in. */
	for (uint64_t page = 0; page < vm->memory_bytes / PAGE_BYTES; page++) {
		uint32_t *words = (uint32_t *)(void *)(vm->memory + page * PAGE_BYTES);

		for (unsigned i = 0; i < PAGE_WORDS; i++)
			words[i] = (uint32_t)page;
	}
	return 0;
}

static int set_slot(struct microvm *vm, uint32_t slot, uint64_t address, uint64_t bytes,
		    void *memory)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = address,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)memory,
	};

	return ioctl(vm->machine, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

#if defined(__x86_64__)
static int set_registers(struct microvm *vm)
{
	struct kvm_regs registers = {.rip = CODE_ADDRESS, .rflags = 2};
	struct kvm_sregs system;
	struct kvm_segment flat = {
		.base = 0,
		.limit = 0xffffffff,
		.type = 3, /* data, writable, accessed */
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1,
		.selector = 16,
	};

	if (ioctl(vm->cpu, KVM_GET_SREGS, &system) < 0)
		return -errno;
	system.ds = system.es = system.fs = system.gs = system.ss = flat;
	flat.type = 11; /* code, readable, accessed */
	flat.selector = 8;
	system.cs = flat;
	system.cr0 |= 1; /* PE */
	if (ioctl(vm->cpu, KVM_SET_SREGS, &system) < 0 ||
	    ioctl(vm->cpu, KVM_SET_REGS, &registers) < 0)
		return -errno;
	return 0;
}
#else
static int set_registers(struct microvm *vm)
{
	return -ENODEV;
}
#endif

/* The tick's signal is blocked in the thread and let in only while KVM_RUN stands in the guest. */
static int set_signal_mask(struct microvm *vm)
{
	/* struct kvm_signal_mask: a length, and that many bytes of the kernel's sigset right behind
	 * it. */
	struct {
		uint32_t length;
		uint8_t set[8];
	} mask = {.length = sizeof(mask.set)};
	sigset_t set;

	pthread_sigmask(SIG_SETMASK, NULL, &set);
	sigdelset(&set, SIGRTMIN + 1);
	memcpy(mask.set, &set, sizeof(mask.set));
	return ioctl(vm->cpu, KVM_SET_SIGNAL_MASK, &mask) < 0 ? -errno : 0;
}

static int build_machine(struct microvm *vm, const char *kvm_path, struct failure *failure)
{
	int bytes;

	vm->kvm = open(kvm_path, O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		return failure_set(failure, errno, kvm_path, "cannot open"), -ENODEV;
	if (ioctl(vm->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		failure_set(failure, ENODEV, kvm_path, "cannot be used");
		failure_set_cause(failure, "it does not speak KVM's API version %d",
				  KVM_API_VERSION);
		return -ENODEV;
	}
	vm->machine = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	if (vm->machine < 0)
		return failure_set(failure, errno, kvm_path, "cannot create a machine"), -ENODEV;
#if defined(__x86_64__)
	/* Wanted by Intel processors without unrestricted guests; refused elsewhere, which is no
	 * harm. */
	(void)ioctl(vm->machine, KVM_SET_TSS_ADDR, 0xfffbd000UL);
#endif
	vm->cpu = ioctl(vm->machine, KVM_CREATE_VCPU, 0);
	if (vm->cpu < 0)
		return failure_set(failure, errno, kvm_path, "cannot create a vCPU"), -ENODEV;
	bytes = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (bytes <= 0)
		return failure_set(failure, errno, kvm_path, "cannot size the vCPU's state"),
		       -ENODEV;
	vm->run_bytes = (size_t)bytes;
	void *run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vm->cpu, 0);

	if (run == MAP_FAILED)
		return failure_set(failure, errno, kvm_path, "cannot map the vCPU's state");
	vm->run = run;
	return 0;
}

static int check_options(const struct microvm_options *options, struct failure *failure)
{
	bool is_huge = options->backing == MICROVM_BACKING_HUGETLB ||
		       options->backing == MICROVM_BACKING_THP;
	uint64_t unit = is_huge ? options->page_bytes : PAGE_BYTES;

	if (options->memory_bytes < MEMORY_MIN || options->memory_bytes > MEMORY_MAX || unit == 0 ||
	    (unit & (unit - 1)) || options->memory_bytes % unit) {
		failure_set(failure, EINVAL, "microvm", "cannot be built");
		failure_set_cause(failure,
				  "%" PRIu64 " bytes of memory in pages of %" PRIu64 " bytes",
				  options->memory_bytes, unit);
		return -EINVAL;
	}
	return 0;
}

int microvm_new(const struct microvm_options *options, struct microvm **ret_vm,
		struct failure *failure)
{
	CLEANUP(microvm_freep) struct microvm *vm = calloc(1, sizeof(*vm));
	const char *kvm_path = options->kvm_path ? options->kvm_path : "/dev/kvm";
	void *code;
	int error;

	if (!vm)
		return failure_set(failure, ENOMEM, "microvm", "cannot be built");
	vm->kvm = vm->machine = vm->cpu = -1;
	error = check_options(options, failure);
	if (error == 0)
		error = build_machine(vm, kvm_path, failure);
	if (error == 0)
		error = map_memory(vm, options, failure);
	if (error < 0)
		return error;
	code = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (code == MAP_FAILED)
		return failure_set(failure, errno, "microvm", "cannot map a page for its code");
	vm->code = code;
	write_code(vm->code, (uint32_t)(vm->memory_bytes / PAGE_BYTES));
	error = set_slot(vm, 0, CODE_ADDRESS, PAGE_BYTES, vm->code);
	if (error == 0)
		error = set_slot(vm, 1, MEMORY_ADDRESS, vm->memory_bytes, vm->memory);
	if (error < 0)
		return failure_set(failure, error, "microvm", "KVM refused its memory");
	error = set_registers(vm);
	if (error < 0)
		return failure_set(failure, error, "microvm", "KVM refused its registers"), -ENODEV;
	*ret_vm = TAKE_PTR(vm);
	return 0;
}

struct microvm *microvm_free(struct microvm *vm)
{
	if (!vm)
		return NULL;
	if (vm->run)
		munmap(vm->run, vm->run_bytes);
	if (vm->cpu >= 0)
		close(vm->cpu);
	if (vm->machine >= 0)
		close(vm->machine);
	if (vm->kvm >= 0)
		close(vm->kvm);
	if (vm->code)
		munmap(vm->code, PAGE_BYTES);
	if (vm->mapping)
		munmap(vm->mapping, vm->mapping_bytes);
	free(vm);
	return NULL;
}

void *microvm_memory(const struct microvm *vm, uint64_t *ret_bytes)
{
	*ret_bytes = vm->memory_bytes;
	return vm->memory;
}

static int start_tick(timer_t *ret_timer)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1};
	struct itimerspec tick = {.it_value.tv_nsec = TICK_NS, .it_interval.tv_nsec = TICK_NS};
	timer_t timer;
	int error;

	event._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
		return -errno;
	if (timer_settime(timer, 0, &tick, NULL) < 0) {
		error = -errno;
		timer_delete(timer);
		return error;
	}
	*ret_timer = timer;
	return 0;
}

/* A pending tick would end every further KVM_RUN at once. */
static void take_ticks(const sigset_t *tick)
{
	struct timespec zero = {0};

	while (sigtimedwait(tick, NULL, &zero) > 0 || errno == EINTR)
		;
}

static void count_interruption(struct microvm *vm)
{
	struct timespec cpu = {0};

	vm->interruptions++;
	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu) == 0)
		vm->cpu_ns = (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
}

static void count_page(struct microvm *vm, uint64_t began, uint64_t *last)
{
	uint64_t now = monotonic_ns();

	if (*last == 0)
		vm->first_exit_ns = now - began;
	else if (now - *last > vm->longest_pause_ns)
		vm->longest_pause_ns = now - *last;
	*last = now;
	vm->pages++;
}

/* What one return of KVM_RUN means: true: go on, false: *ret_end is set. */
static bool take_exit(struct microvm *vm, uint64_t began, uint64_t *last, enum microvm_end *ret_end,
		      struct failure *failure)
{
	switch (vm->run->exit_reason) {
	case KVM_EXIT_IO:
		if (vm->run->io.port == PORT_PROGRESS) {
			count_page(vm, began, last);
			return true;
		}
		failure_set(failure, EIO, "microvm", "found a wrong page");
		failure_set_cause(failure,
				  "page %" PRIu64 " in round %" PRIu64 " is not as it was written",
				  vm->pages % (vm->memory_bytes / PAGE_BYTES),
				  vm->pages / (vm->memory_bytes / PAGE_BYTES));
		*ret_end = MICROVM_END_CORRUPT;
		return false;
	case KVM_EXIT_INTR:
		return true;
	}
	failure_set(failure, EIO, "microvm", "KVM cannot run it");
	if (vm->run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		failure_set_cause(failure, "internal error %u of KVM", vm->run->internal.suberror);
	else
		failure_set_cause(failure, "exit reason %u of KVM", vm->run->exit_reason);
	*ret_end = MICROVM_END_KVM_ERROR;
	return false;
}

static int run_loop(struct microvm *vm, unsigned time_ms, const sigset_t *tick,
		    enum microvm_end *ret_end, struct failure *failure)
{
	uint64_t began = monotonic_ns(), last = 0, deadline = began + (uint64_t)time_ms * 1000000;
	uint64_t pages_before = vm->pages;

	for (;;) {
		if (vm->is_stop_asked || monotonic_ns() >= deadline)
			break;
		if (ioctl(vm->cpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR) {
				take_ticks(tick);
				count_interruption(vm);
				continue;
			}
			if (errno == EAGAIN)
				continue;
			failure_set(failure, errno, "microvm", "KVM cannot run it");
			*ret_end = MICROVM_END_KVM_ERROR;
			return 0;
		}
		if (!take_exit(vm, began, &last, ret_end, failure))
			return 0;
	}
	if (vm->pages == pages_before && !vm->is_stop_asked) {
		failure_set(failure, ETIMEDOUT, "microvm", "did not run");
		failure_set_cause(failure,
				  "no page was written in %u ms: this KVM cannot run a guest",
				  time_ms);
		*ret_end = MICROVM_END_NO_PROGRESS;
		return 0;
	}
	*ret_end = MICROVM_END_STOPPED;
	return 0;
}

int microvm_run(struct microvm *vm, unsigned time_ms, enum microvm_end *ret_end,
		struct failure *failure)
{
	sigset_t tick, old;
	timer_t timer;
	int error;

	sigemptyset(&tick);
	sigaddset(&tick, SIGRTMIN + 1);
	error = pthread_sigmask(SIG_BLOCK, &tick, &old);
	if (error)
		return failure_set(failure, error, "microvm", "cannot block a signal");
	error = set_signal_mask(vm);
	if (error == 0)
		error = start_tick(&timer);
	if (error < 0) {
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		return failure_set(failure, error, "microvm", "cannot bound its time");
	}
	error = run_loop(vm, time_ms, &tick, ret_end, failure);
	timer_delete(timer);
	take_ticks(&tick);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	vm->is_stop_asked = false;
	return error;
}

void microvm_stop(struct microvm *vm)
{
	vm->is_stop_asked = true;
}

void microvm_read_stats(struct microvm *vm, struct microvm_stats *ret_stats)
{
	uint64_t pages = vm->pages;

	*ret_stats = (struct microvm_stats){
		.exits = pages,
		.rounds = pages / (vm->memory_bytes / PAGE_BYTES),
		.pages = pages,
		.longest_pause_ns = vm->longest_pause_ns,
		.first_exit_ns = vm->first_exit_ns,
		.interruptions = vm->interruptions,
		.cpu_ns = vm->cpu_ns,
	};
}

void microvm_reset_pause(struct microvm *vm)
{
	vm->longest_pause_ns = 0;
}

/*
 * Words that are neither: the guest may be in the middle of a page, with new words before old ones.
 */
static uint64_t count_torn(const uint32_t *words, uint32_t new_value, uint32_t old_value)
{
	uint64_t torn = 0;
	unsigned i = 0;

	while (i < PAGE_WORDS && words[i] == new_value)
		i++;
	for (; i < PAGE_WORDS; i++)
		torn += words[i] != old_value;
	return torn;
}

int microvm_verify(const struct microvm *vm, uint64_t *ret_torn_words)
{
	uint64_t page_count = vm->memory_bytes / PAGE_BYTES, torn = 0;
	uint64_t rounds = vm->pages / page_count, position = vm->pages % page_count;

	for (uint64_t page = 0; page < page_count; page++) {
		const uint32_t *words =
			(const uint32_t *)(const void *)(vm->memory + page * PAGE_BYTES);
		uint32_t old_value = (uint32_t)(rounds * ROUND_STEP + page);
		uint32_t new_value = old_value + ROUND_STEP;

		/* Behind the position nothing of this round is written, before it all. */
		if (page < position)
			old_value = new_value;
		else if (page > position)
			new_value = old_value;
		torn += count_torn(words, new_value, old_value);
	}
	*ret_torn_words = torn;
	return 0;
}
