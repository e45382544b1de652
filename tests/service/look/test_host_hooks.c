/* SPDX-License-Identifier: Apache-2.0 */
#include "host_hooks.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "fixture_tree.h"
#include "unit.h"

#define DIRECTORY "/etc/ballast/drain.d"

static struct fixture_tree tree;
static struct snapshot snapshot;

static void set_mode(const char *path, mode_t mode)
{
	char full[256];

	snprintf(full, sizeof(full), "%s%s", tree.root, path);
	CHECK_INT(chmod(full, mode), 0);
}

static void add(const char *name, mode_t mode)
{
	char path[128];

	snprintf(path, sizeof(path), DIRECTORY "/%s", name);
	fixture_tree_write(&tree, path, "#!/bin/sh\n");
	set_mode(path, mode);
	set_mode(DIRECTORY, 0755);
}

static void check(size_t count, const char *names, const char *trouble)
{
	host_hooks_read(tree.sysroot, DIRECTORY, &snapshot);
	CHECK_INT(snapshot.hooks.count, count);
	CHECK_STR(snapshot.hooks.names, names);
	CHECK_STR(snapshot.hooks.trouble, trouble);
}

static void test_names(void)
{
	fixture_tree_init(&tree);
	check(0, "", "");
	add("20-database", 0755);
	check(1, "20-database", "");
	add("10-cache", 0700);
	add("README", 0644);
	check(2, "10-cache, 20-database", "");
	/* No more than a line has room for, and the rest by number. */
	for (unsigned i = 0; i < 9; i++) {
		char name[32];

		snprintf(name, sizeof(name), "3%u-something", i);
		add(name, 0755);
	}
	check(11, "10-cache, 20-database, 30-something, 31-something, 32-something, 33-something and 5 more", "");
	fixture_tree_done(&tree);
}

static void test_trouble(void)
{
	fixture_tree_init(&tree);
	add("10-cache", 0777);
	add("20-database", 0755);
	check(1, "20-database", "10-cache is not run: others can write it");
	set_mode(DIRECTORY, 0777);
	check(0, "", "none is run: others can write " DIRECTORY);
	fixture_tree_remove(&tree, DIRECTORY);
	fixture_tree_write(&tree, DIRECTORY, "a file");
	check(0, "", DIRECTORY ": Not a directory");
	fixture_tree_done(&tree);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"names", test_names},
		{"trouble", test_trouble},
	};

	return unit_main("host_hooks", cases, sizeof(cases) / sizeof(cases[0]));
}
