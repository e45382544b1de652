/* SPDX-License-Identifier: Apache-2.0 */
#include "slow_write.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include "fixture_tree.h"
#include "unit.h"

#define FILE_PATH "/sys/devices/system/node/node2/compact"

struct scene {
	struct fixture_tree tree;
	int fd;	       /* of the blocking file; -1 */
	unsigned asked, gives_up_at, drains_at; /* 0: never */
	int ends[2];   /* a pipe, of which the writing end is closed when it is asked first */
	bool is_ended; /* all writing ends of it were closed then */
};

static void setup(struct scene *scene, bool blocks)
{
	*scene = (struct scene){.fd = -1, .ends = {-1, -1}};
	fixture_tree_init(&scene->tree);
	if (blocks)
		scene->fd = fixture_tree_add_blocking(&scene->tree, FILE_PATH);
}

static void teardown(struct scene *scene)
{
	if (scene->fd >= 0)
		close(scene->fd);
	fixture_tree_done(&scene->tree);
}

static int go_on(void *user)
{
	struct scene *scene = user;
	char page[4096];

	scene->asked++;
	if (scene->ends[1] >= 0) {
		struct pollfd end = {.fd = scene->ends[0], .events = POLLIN};

		close(scene->ends[1]);
		scene->ends[1] = -1;
		scene->is_ended = poll(&end, 1, 0) == 1 && end.revents & POLLHUP;
	}
	while (scene->asked == scene->drains_at && read(scene->fd, page, sizeof(page)) > 0)
		;
	return scene->asked == scene->gives_up_at ? -ECANCELED : 0;
}

static int write_slowly(struct scene *scene)
{
	return slow_write_text(scene->tree.sysroot, "1", go_on, scene, "/sys/devices/system/node/node%d/compact", 2);
}

static bool has_children(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void test_writes(void)
{
	struct scene scene;
	char text[8], path[SYSROOT_PATH_SIZE + 1];

	setup(&scene, false);
	CHECK_INT(write_slowly(&scene), -ENOENT);
	fixture_tree_write(&scene.tree, FILE_PATH, "%s", "");
	CHECK_INT(write_slowly(&scene), 0);
	CHECK_INT(sysroot_read_text(scene.tree.sysroot, text, sizeof(text), FILE_PATH), 0);
	CHECK_STR(text, "1");
	CHECK_INT(slow_write_text(scene.tree.sysroot, "1", NULL, NULL, FILE_PATH), 0);
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	CHECK_INT(slow_write_text(scene.tree.sysroot, "1", NULL, NULL, "%s", path), -ENAMETOOLONG);
	CHECK_TRUE(!has_children());
	teardown(&scene);
}

/* What the kernel says to the write. */
static void test_refused(void)
{
	struct scene scene;

	setup(&scene, false);
	fixture_tree_link(&scene.tree, "/sys/full", "/dev/full");
	CHECK_INT(slow_write_text(scene.tree.sysroot, "1", go_on, &scene, "/sys/full"), -ENOSPC);
	CHECK_TRUE(!has_children());
	teardown(&scene);
}

/* It hangs, and is given up: soon, and nobody writes any more. */
static void test_given_up(void)
{
	struct scene scene;
	uint64_t began;
	char page[4096];
	size_t bytes = 0;
	ssize_t count;

	setup(&scene, true);
	scene.gives_up_at = 2;
	began = now_ms();
	CHECK_INT(write_slowly(&scene), -ECANCELED);
	CHECK_INT(scene.asked, 2);
	CHECK_TRUE(now_ms() - began < 1000);
	CHECK_TRUE(!has_children());
	while ((count = read(scene.fd, page, sizeof(page))) > 0)
		bytes += (size_t)count;
	CHECK_INT(bytes % sizeof(page), 0);
	teardown(&scene);
}

static void test_takes_its_time(void)
{
	struct scene scene;

	setup(&scene, true);
	scene.drains_at = 2;
	CHECK_INT(write_slowly(&scene), 0);
	CHECK_TRUE(scene.asked >= 2);
	CHECK_TRUE(!has_children());
	teardown(&scene);
}

/* Who waits for the end of this process by its sockets and locks does not wait for the write. */
static void test_holds_nothing(void)
{
	struct scene scene;

	setup(&scene, true);
	CHECK_INT(pipe2(scene.ends, O_CLOEXEC), 0);
	/* Until the child has come so far. */
	for (unsigned i = 0; i < 20 && !scene.is_ended; i++) {
		if (scene.ends[1] < 0) {
			close(scene.ends[0]);
			CHECK_INT(pipe2(scene.ends, O_CLOEXEC), 0);
		}
		scene.asked = 0;
		scene.gives_up_at = 1;
		CHECK_INT(write_slowly(&scene), -ECANCELED);
	}
	CHECK_TRUE(scene.is_ended);
	close(scene.ends[0]);
	teardown(&scene);
}

/* Once the child has closed its own end: it has come as far as its write then. */
static int die(void *user)
{
	const int *ends = user;
	struct pollfd closed = {.fd = ends[0]};

	close(ends[1]);
	poll(&closed, 1, -1);
	_exit(7);
}

/* Nobody would give it up any more. */
static void test_ends_with_its_parent(void)
{
	struct scene scene;
	siginfo_t info;
	pid_t parent;

	setup(&scene, true);
	CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	parent = fork();
	if (parent == 0) {
		if (pipe2(scene.ends, O_CLOEXEC) == 0)
			slow_write_text(scene.tree.sysroot, "1", die, scene.ends, FILE_PATH);
		_exit(1);
	}
	CHECK_INT(waitid(P_PID, (id_t)parent, &info, WEXITED), 0);
	CHECK_INT(info.si_status, 7);
	CHECK_INT(waitid(P_ALL, 0, &info, WEXITED), 0);
	CHECK_INT(info.si_code, CLD_KILLED);
	CHECK_INT(info.si_status, SIGKILL);
	CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
	teardown(&scene);
}

static int on_write(void *user, const char *path, const char *text)
{
	*(bool *)user = strcmp(path, FILE_PATH) == 0 && strcmp(text, "1") == 0;
	return 0;
}

static void test_hook(void)
{
	struct scene scene;
	bool is_written = false;

	setup(&scene, false);
	fixture_tree_set_hooks(&scene.tree, on_write, &is_written);
	CHECK_INT(write_slowly(&scene), 0);
	CHECK_TRUE(is_written);
	teardown(&scene);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"writes", test_writes},
		{"refused", test_refused},
		{"given_up", test_given_up},
		{"takes_its_time", test_takes_its_time},
		{"holds_nothing", test_holds_nothing},
		{"ends_with_its_parent", test_ends_with_its_parent},
		{"hook", test_hook},
	};

	return unit_main("slow_write", cases, ARRAY_SIZE(cases));
}
