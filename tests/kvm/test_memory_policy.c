/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "cleanup.h"
#include "memory_policy.h"

static void test_parse(void)
{
	static const struct {
		const char *text;
		enum memory_policy_mode mode;
		bool is_static, is_relative, is_balancing;
		const char *nodes;
	} cases[] = {
		{"default", MEMORY_POLICY_DEFAULT, 0, 0, 0, ""},
		{"local", MEMORY_POLICY_LOCAL, 0, 0, 0, ""},
		{"bind:2", MEMORY_POLICY_BIND, 0, 0, 0, "2"},
		{"prefer:1", MEMORY_POLICY_PREFERRED, 0, 0, 0, "1"},
		{"prefer (many):0-1", MEMORY_POLICY_PREFERRED_MANY, 0, 0, 0, "0-1"},
		{"interleave=static:0,2", MEMORY_POLICY_INTERLEAVE, 1, 0, 0, "0,2"},
		{"bind=relative:3", MEMORY_POLICY_BIND, 0, 1, 0, "3"},
		{"bind=static|balancing:3", MEMORY_POLICY_BIND, 1, 0, 1, "3"},
		{"weighted interleave:0-3", MEMORY_POLICY_WEIGHTED_INTERLEAVE, 0, 0, 0, "0-3"},
	};
	static const char *const bad[] = {
		"",	  "bin:2",    "bind:",		"bind:x",	  "bind2",
		"bind=:", "bind=x:2", "bind=static|:2", "prefer (few):1", "bind:2 "};
	struct memory_policy policy;
	char text[MEMORY_POLICY_TEXT_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CHECK_INT(memory_policy_parse(cases[i].text, &policy), 0);
		CHECK_INT(policy.mode, cases[i].mode);
		CHECK_INT(policy.is_static, cases[i].is_static);
		CHECK_INT(policy.is_relative, cases[i].is_relative);
		CHECK_INT(policy.is_balancing, cases[i].is_balancing);
		CHECK_STR(node_set_format(&policy.nodes, text, sizeof(text)), cases[i].nodes);
		CHECK_STR(memory_policy_format(&policy, text, sizeof(text)), cases[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_INT(memory_policy_parse(bad[i], &policy), -EINVAL);
	CHECK_INT(memory_policy_parse("bind=:2", &policy), 0);
	CHECK_TRUE(policy.is_balancing);
	CHECK_INT(memory_policy_text_length("prefer (many):0-1 file=/x"), 17);
	CHECK_INT(memory_policy_text_length("bind:2 anon=3"), 6);
	CHECK_INT(memory_policy_text_length("default"), 7);
	CHECK_INT(memory_policy_text_length("prefer:1 huge"), 8);
}

/* The real kernel: set through the descriptor, seen in a mapping made before. */
static void test_set_shared(void)
{
	struct memory_policy policy = {.mode = MEMORY_POLICY_BIND, .nodes = node_set_of(0)}, found;
	CLEANUP_CLOSE int fd = memfd_create("test", MFD_CLOEXEC);
	size_t bytes = 4 * (size_t)sysconf(_SC_PAGESIZE), page = bytes / 4;
	unsigned long nodes[NODE_SET_MAX / 64] = {0};
	int mode = -1, error;
	char *view;

	CHECK_INT(ftruncate(fd, (off_t)bytes), 0);
	view = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	error = memory_policy_set_shared(fd, page, 2 * page, &policy);
	if (error == -ENOSYS || error == -EPERM) {
		printf("skip: mbind: %s\n", strerror(-error));
		return;
	}
	CHECK_INT(error, 0);
	CHECK_INT(syscall(SYS_get_mempolicy, &mode, nodes, (unsigned long)NODE_SET_MAX, view + page,
			  MPOL_F_ADDR),
		  0);
	CHECK_INT(mode, MPOL_BIND);
	CHECK_INT(nodes[0], 1);
	CHECK_INT(syscall(SYS_get_mempolicy, &mode, NULL, 0UL, view, MPOL_F_ADDR), 0);
	CHECK_INT(mode, MPOL_DEFAULT);
	CHECK_INT(memory_policy_read_shared(fd, page, &found), 0);
	CHECK_TRUE(memory_policy_is_equal(&found, &policy));
	CHECK_INT(memory_policy_read_shared(fd, 3 * page, &found), 0);
	CHECK_TRUE(found.mode == MEMORY_POLICY_DEFAULT && node_set_is_empty(&found.nodes));
	policy.is_static = true;
	CHECK_INT(memory_policy_set_shared(fd, page, page, &policy), 0);
	CHECK_INT(memory_policy_read_shared(fd, page, &found), 0);
	CHECK_TRUE(memory_policy_is_equal(&found, &policy));
	policy = (struct memory_policy){.mode = MEMORY_POLICY_DEFAULT};
	CHECK_INT(memory_policy_set_shared(fd, page, 2 * page, &policy), 0);
	CHECK_INT(syscall(SYS_get_mempolicy, &mode, NULL, 0UL, view + page, MPOL_F_ADDR), 0);
	CHECK_INT(mode, MPOL_DEFAULT);
	CHECK_INT(memory_policy_set_shared(-1, 0, bytes, &policy), -EBADF);
	munmap(view, bytes);
}

/* What would be set is the policy of a mapping that goes at once: the file has none, and nothing is claimed. */
static void test_set_shared_on_disk(void)
{
	struct memory_policy policy = {.mode = MEMORY_POLICY_BIND, .nodes = node_set_of(0)};
	size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
	CLEANUP_CLOSE int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct statfs filesystem;

	if (fd < 0 || fstatfs(fd, &filesystem) || filesystem.f_type == TMPFS_MAGIC) {
		printf("skip: no file on a disk to be had here\n");
		return;
	}
	CHECK_INT(ftruncate(fd, (off_t)bytes), 0);
	CHECK_INT(memory_policy_set_shared(fd, 0, bytes, &policy), -EOPNOTSUPP);
	CHECK_INT(memory_policy_read_shared(fd, 0, &policy), -EOPNOTSUPP);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"parse", test_parse},
		{"set_shared", test_set_shared},
		{"set_shared_on_disk", test_set_shared_on_disk},
	};

	return unit_main("memory_policy", cases, ARRAY_SIZE(cases));
}
