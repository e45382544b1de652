/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include "fixture_tree.h"

static void test_text(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	char text[16];

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/a/b", "  word \n\n");
	CHECK_INT(sysroot_read_text(tree.sysroot, text, sizeof(text), "/a/%s", "b"), 0);
	CHECK_STR(text, "  word");
	fixture_tree_write(&tree, "/a/b", "123456789012345");
	CHECK_INT(sysroot_read_text(tree.sysroot, text, sizeof(text), "/a/b"), 0);
	CHECK_STR(text, "123456789012345");
	fixture_tree_write(&tree, "/a/b", "1234567890123456");
	CHECK_INT(sysroot_read_text(tree.sysroot, text, sizeof(text), "/a/b"), -EOVERFLOW);
	fixture_tree_write_bytes(&tree, "/a/b", "a\0b", 3);
	CHECK_INT(sysroot_read_text(tree.sysroot, text, sizeof(text), "/a/b"), -EBADMSG);
	CHECK_INT(sysroot_read_text(tree.sysroot, text, sizeof(text), "/a/none"), -ENOENT);
	CHECK_INT(sysroot_read_text(tree.sysroot, text, sizeof(text), "relative"), -EINVAL);
	CHECK_INT(sysroot_read_text(tree.sysroot, text, sizeof(text), "/%0600d", 1), -ENAMETOOLONG);
}

static void test_numbers(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	uint64_t number = 7;

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/n", "42\n");
	CHECK_INT(sysroot_read_number(tree.sysroot, 10, &number, "/n"), 0);
	CHECK_INT(number, 42);
	fixture_tree_write(&tree, "/n", "8000000\n");
	CHECK_INT(sysroot_read_number(tree.sysroot, 16, &number, "/n"), 0);
	CHECK_INT(number, 0x8000000);
	static const char *const bad[] = {"", "-1", "4 2", "0x", "42kB", "99999999999999999999"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fixture_tree_write(&tree, "/n", "%s\n", bad[i]);
		CHECK_INT(sysroot_read_number(tree.sysroot, 10, &number, "/n"), -EBADMSG);
	}
	CHECK_INT(number, 0x8000000);
}

static void test_read_all(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP_FREE char *text = NULL, *large = malloc(100001);
	size_t length = 0;

	fixture_tree_init(&tree);
	memset(large, 'x', 100000);
	large[100000] = '\0';
	fixture_tree_write_bytes(&tree, "/large", large, 100000);
	CHECK_INT(sysroot_read_all(tree.sysroot, 100000, &text, &length, "/large"), 0);
	CHECK_INT(length, 100000);
	CHECK_STR(text, large);
	CHECK_INT(sysroot_read_all(tree.sysroot, 99999, &text, &length, "/large"), -EOVERFLOW);
}

static void test_list(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/d/memory10/state", "x");
	fixture_tree_write(&tree, "/d/memory9/state", "x");
	fixture_tree_write(&tree, "/d/.hidden", "x");
	fixture_tree_write(&tree, "/d/block_size_bytes", "x");
	CHECK_INT(sysroot_list(tree.sysroot, &names, "/d"), 0);
	CHECK_INT(names.count, 3);
	CHECK_STR(names.names[0], "block_size_bytes");
	CHECK_STR(names.names[1], "memory9");
	CHECK_STR(names.names[2], "memory10");
	CHECK_INT(sysroot_list(tree.sysroot, &names, "/none"), -ENOENT);
	CHECK_INT(sysroot_name_number("memory10", "memory", NULL), 10);
	CHECK_INT(sysroot_name_number("hugepages-2048kB", "hugepages-", "kB"), 2048);
	CHECK_INT(sysroot_name_number("memory", "memory", NULL), -1);
	CHECK_INT(sysroot_name_number("memoryx", "memory", NULL), -1);
	CHECK_INT(sysroot_name_number("memory-1", "memory", NULL), -1);
	CHECK_INT(sysroot_name_number("kB", "", "kB"), -1);
}

struct script {
	int answer;
	char path[128];
	char text[64];
};

static int on_write(void *user, const char *path, const char *text)
{
	struct script *script = user;

	snprintf(script->path, sizeof(script->path), "%s", path);
	snprintf(script->text, sizeof(script->text), "%s", text);
	return script->answer;
}

static void test_write(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct script script = {0};
	char text[16];

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, "/w", "old");
	CHECK_INT(sysroot_write_text(tree.sysroot, "new", "/w"), 0);
	CHECK_INT(sysroot_read_text(tree.sysroot, text, sizeof(text), "/w"), 0);
	CHECK_STR(text, "new");
	CHECK_INT(sysroot_write_text(tree.sysroot, "new", "/none"), -ENOENT);
	fixture_tree_set_hooks(&tree, on_write, &script);
	CHECK_INT(sysroot_write_text(tree.sysroot, "offline", "/x%d", 1), 0);
	CHECK_STR(script.path, "/x1");
	CHECK_STR(script.text, "offline");
	script.answer = -EBUSY;
	CHECK_INT(sysroot_write_text(tree.sysroot, "offline", "/x"), -EBUSY);
	script.answer = 3;
	CHECK_INT(sysroot_write_text(tree.sysroot, "offline", "/x"), -EIO);
	script.answer = 7;
	CHECK_INT(sysroot_write_text(tree.sysroot, "offline", "/x"), 0);
}

static void test_link_and_root(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct sysroot *none = NULL;
	char target[8];

	fixture_tree_init(&tree);
	fixture_tree_link(&tree, "/l", "../a");
	CHECK_INT(sysroot_read_link(tree.sysroot, target, sizeof(target), "/l"), 0);
	CHECK_STR(target, "../a");
	CHECK_INT(sysroot_read_link(tree.sysroot, target, 4, "/l"), -EOVERFLOW);
	CHECK_TRUE(sysroot_exists(tree.sysroot, "/"));
	CHECK_TRUE(!sysroot_exists(tree.sysroot, "/l"));
	CHECK_INT(sysroot_new("/nonexistent", &none), -ENOENT);
	CHECK_TRUE(!none);
	CHECK_INT(sysroot_open(tree.sysroot, O_RDONLY, "/none"), -ENOENT);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"text", test_text},	     {"numbers", test_numbers},
		{"read_all", test_read_all}, {"list", test_list},
		{"write", test_write},	     {"link_and_root", test_link_and_root},
	};

	return unit_main("sysroot", cases, ARRAY_SIZE(cases));
}
