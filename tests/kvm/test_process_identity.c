/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include "fixture_tree.h"
#include "process_identity.h"

static void test_child(void)
{
	CLEANUP(sysroot_freep) struct sysroot *sysroot = NULL;
	struct process_identity identity = PROCESS_IDENTITY_NONE, other = PROCESS_IDENTITY_NONE;
	uint64_t start_time;
	pid_t child;

	CHECK_INT(sysroot_new("/", &sysroot), 0);
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	CHECK_TRUE(child > 0);
	CHECK_INT(process_identity_open(sysroot, child, &identity), 0);
	CHECK_TRUE(process_identity_is_same(sysroot, &identity));
	CHECK_INT(process_identity_read_start_time(sysroot, child, &start_time), 0);
	CHECK_INT(start_time, identity.start_time);
	CHECK_INT(process_identity_open_expected(sysroot, child, start_time, &other), 0);
	process_identity_done(&other);
	CHECK_INT(process_identity_open_expected(sysroot, child, start_time + 1, &other), -ESTALE);
	CHECK_INT(other.pidfd, -1);
	kill(child, SIGKILL);
	/* Wait for its end without reaping it: a zombie is no longer the process. */
	siginfo_t info;

	waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
	CHECK_TRUE(!process_identity_is_same(sysroot, &identity));
	CHECK_INT(process_identity_open(sysroot, child, &other), -ESRCH);
	waitpid(child, NULL, 0);
	CHECK_TRUE(!process_identity_is_same(sysroot, &identity));
	CHECK_INT(process_identity_open(sysroot, child, &other), -ESRCH);
	process_identity_done(&identity);
	process_identity_done(&identity);
}

static void test_stat_line(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	uint64_t start_time = 0;

	fixture_tree_init(&tree);
	fixture_tree_write(
		&tree, "/proc/7/stat",
		"7 (a) R 1 (b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 777 1000 10\n");
	CHECK_INT(process_identity_read_start_time(tree.sysroot, 7, &start_time), 0);
	CHECK_INT(start_time, 777);
	fixture_tree_write(&tree, "/proc/7/stat", "7 (a) R 1 2\n");
	CHECK_INT(process_identity_read_start_time(tree.sysroot, 7, &start_time), -EBADMSG);
	CHECK_INT(process_identity_read_start_time(tree.sysroot, 8, &start_time), -ESRCH);
}

int main(void)
{
	static const struct unit_case cases[] = {{"child", test_child},
						 {"stat_line", test_stat_line}};

	return unit_main("process_identity", cases, ARRAY_SIZE(cases));
}
