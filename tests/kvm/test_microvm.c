/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <threads.h>
#include "cleanup.h"
#include "failure.h"
#include "microvm.h"

#define MIB (1ull << 20)

/* Builds one where /dev/kvm lets us, else says why not. */
static struct microvm *build(struct microvm_options options)
{
	struct failure failure = {0};
	struct microvm *vm = NULL;
	char text[512];
	int error = microvm_new(&options, &vm, &failure);

	if (error == -ENODEV) {
		printf("skip: %s\n", failure_format(&failure, text, sizeof(text)));
		return NULL;
	}
	CHECK_INT(error, 0);
	return vm;
}

/* False where this KVM cannot run a guest at all: that is an answer, not a failure of ours. */
static bool is_run(int end, const struct failure *failure)
{
	char text[512];

	if (end == MICROVM_END_NO_PROGRESS || end == MICROVM_END_KVM_ERROR) {
		printf("skip: %s\n", failure_format(failure, text, sizeof(text)));
		return false;
	}
	CHECK_INT(end, MICROVM_END_STOPPED);
	return end == MICROVM_END_STOPPED;
}

static void test_pattern(void)
{
	static const enum microvm_backing backings[] = {MICROVM_BACKING_ANON,
							MICROVM_BACKING_MEMFD};

	for (size_t i = 0; i < ARRAY_SIZE(backings); i++) {
		CLEANUP(microvm_freep)
		struct microvm *vm = build(
			(struct microvm_options){.memory_bytes = MIB, .backing = backings[i]});
		struct failure failure = {0};
		struct microvm_stats stats;
		enum microvm_end end;
		uint64_t torn, bytes;
		uint32_t *words;

		if (!vm)
			return;
		words = microvm_memory(vm, &bytes);
		CHECK_INT(bytes, MIB);
		CHECK_INT(microvm_run(vm, 300, &end, &failure), 0);
		if (!is_run(end, &failure))
			return;
		microvm_read_stats(vm, &stats);
		printf("  %s: %llu pages, longest pause %llu us, first exit after %llu us\n",
		       microvm_backing_name(backings[i]), (unsigned long long)stats.pages,
		       (unsigned long long)stats.longest_pause_ns / 1000,
		       (unsigned long long)stats.first_exit_ns / 1000);
		CHECK_TRUE(stats.pages > 0);
		/* 300 ms are many ticks. */
		CHECK_TRUE(stats.interruptions > 0);
		CHECK_TRUE(stats.cpu_ns > 0 && stats.cpu_ns < UINT64_C(60) * 1000000000);
		CHECK_INT(microvm_verify(vm, &torn), 0);
		CHECK_INT(torn, 0);
		/* It goes on where it stood. */
		CHECK_INT(microvm_run(vm, 100, &end, &failure), 0);
		CHECK_INT(microvm_verify(vm, &torn), 0);
		CHECK_INT(torn, 0);
		/* One word lost in a page that is not in work: we see it, and so does the guest. */
		microvm_read_stats(vm, &stats);
		words[((stats.pages + 2) % 256) * 1024 + 500] ^= 1;
		CHECK_INT(microvm_verify(vm, &torn), 0);
		CHECK_INT(torn, 1);
		CHECK_INT(microvm_run(vm, 2000, &end, &failure), 0);
		CHECK_INT(end, MICROVM_END_CORRUPT);
		CHECK_TRUE(strstr(failure.cause, "is not as it was written") != NULL);
	}
}

static void test_thp(void)
{
	struct microvm_options options = {
		.memory_bytes = 4 * MIB, .backing = MICROVM_BACKING_THP, .page_bytes = 2 * MIB};
	CLEANUP(microvm_freep) struct microvm *vm = build(options);
	struct failure failure = {0};
	enum microvm_end end;
	uint64_t torn, bytes;

	if (!vm)
		return;
	/* Whether they are huge is the kernel's affair; that they could be is ours. */
	CHECK_INT((uintptr_t)microvm_memory(vm, &bytes) % (2 * MIB), 0);
	CHECK_INT(bytes, 4 * MIB);
	CHECK_INT(microvm_run(vm, 300, &end, &failure), 0);
	if (!is_run(end, &failure))
		return;
	CHECK_INT(microvm_verify(vm, &torn), 0);
	CHECK_INT(torn, 0);
}

static int stopper(void *user)
{
	struct microvm *vm = user;
	struct microvm_stats stats;

	do {
		thrd_yield();
		microvm_read_stats(vm, &stats);
	} while (stats.pages == 0);
	microvm_stop(vm);
	return 0;
}

static void test_stop(void)
{
	CLEANUP(microvm_freep)
	struct microvm *vm = build((struct microvm_options){.memory_bytes = MIB});
	struct failure failure = {0};
	enum microvm_end end;
	struct timespec began, ended;
	thrd_t thread;

	if (!vm)
		return;
	CHECK_INT(microvm_run(vm, 300, &end, &failure), 0);
	if (!is_run(end, &failure))
		return;
	clock_gettime(CLOCK_MONOTONIC, &began);
	CHECK_INT(thrd_create(&thread, stopper, vm), thrd_success);
	CHECK_INT(microvm_run(vm, 10000, &end, &failure), 0);
	thrd_join(thread, NULL);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	CHECK_INT(end, MICROVM_END_STOPPED);
	CHECK_TRUE(ended.tv_sec - began.tv_sec < 8);
}

static void test_refused(void)
{
	struct microvm_options options = {.memory_bytes = 2 * MIB, .kvm_path = "/nonexistent/kvm"};
	struct failure failure = {0};
	struct microvm *vm = NULL;

	CHECK_INT(microvm_new(&options, &vm, &failure), -ENODEV);
	CHECK_STR(failure.object, "/nonexistent/kvm");
	CHECK_TRUE(vm == NULL);
	options.memory_bytes = MIB - 4096;
	CHECK_INT(microvm_new(&options, &vm, &failure), -EINVAL);
	options.memory_bytes = MIB + 1;
	CHECK_INT(microvm_new(&options, &vm, NULL), -EINVAL);
	options = (struct microvm_options){
		.memory_bytes = 3 * MIB, .backing = MICROVM_BACKING_HUGETLB, .page_bytes = 2 * MIB};
	CHECK_INT(microvm_new(&options, &vm, &failure), -EINVAL);
	options.backing = MICROVM_BACKING_THP;
	CHECK_INT(microvm_new(&options, &vm, &failure), -EINVAL);
	options.kvm_path = "/dev/null";
	options.memory_bytes = 4 * MIB;
	CHECK_INT(microvm_new(&options, &vm, &failure), -ENODEV);
	CHECK_TRUE(microvm_free(NULL) == NULL);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"refused", test_refused},
		{"pattern", test_pattern},
		{"thp", test_thp},
		{"stop", test_stop},
	};

	return unit_main("microvm", cases, ARRAY_SIZE(cases));
}
