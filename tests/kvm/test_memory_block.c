/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include "fixture_tree.h"
#include "memory_block.h"

#define DIRECTORY "/sys/devices/system/memory"

/* A scripted kernel: what each write answers, and what the block then is. */
struct step {
	int answer;
	const char *state; /* NULL: unchanged; "gone": the block vanishes */
	const char *zones; /* NULL: unchanged */
};

struct script {
	struct fixture_tree *tree;
	const struct step *steps;
	size_t count, at;
	char last_text[32];
};

static int on_write(void *user, const char *path, const char *text)
{
	struct script *script = user;

	if (script->at >= script->count) {
		CHECK_TRUE(!"more writes than the script has");
		return -EIO;
	}
	const struct step *step = &script->steps[script->at++];

	snprintf(script->last_text, sizeof(script->last_text), "%s", text);
	if (step->state && strcmp(step->state, "gone") == 0)
		fixture_tree_remove(script->tree, DIRECTORY "/memory4");
	else if (step->state)
		fixture_tree_write(script->tree, path, "%s\n", step->state);
	if (step->zones)
		fixture_tree_write(script->tree, DIRECTORY "/memory4/valid_zones", "%s\n",
				   step->zones);
	return step->answer;
}

static void add_machine(struct fixture_tree *tree)
{
	fixture_tree_write(tree, DIRECTORY "/block_size_bytes", "8000000\n");
	fixture_tree_write(tree, DIRECTORY "/auto_online_blocks", "offline\n");
	fixture_tree_add_block(tree, 0, 0, "online", "none");
	fixture_tree_add_block(tree, 10, 1, "online", "Movable");
	fixture_tree_add_block(tree, 2, 0, "online", "Normal");
	fixture_tree_link(tree, DIRECTORY "/memory2/node1", "../../node/node1");
	fixture_tree_add_block(tree, 4, 3, "offline", "Movable Normal");
	fixture_tree_add_block(tree, 5, 3, "going-offline", "Movable");
	fixture_tree_add_block(tree, 6, -1, "offline", NULL);
}

/* It shows before the kernel has given it its node: its zones are not asked for then. */
static void test_just_being_plugged(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct memory_block block;

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, DIRECTORY "/block_size_bytes", "8000000\n");
	fixture_tree_write(&tree, "/sys/devices/system/node/online", "0-1\n");
	fixture_tree_add_block(&tree, 4, -1, "offline", "Movable");
	CHECK_INT(memory_block_read(tree.sysroot, 4, &block), 0);
	CHECK_INT(block.state, MEMORY_BLOCK_STATE_OFFLINE);
	CHECK_INT(block.node_id, -1);
	CHECK_INT(block.zone, MEMORY_ZONE_NONE);
	CHECK_TRUE(!block.can_be_movable);
	fixture_tree_link(&tree, DIRECTORY "/memory4/node1", "../../node/node1");
	CHECK_INT(memory_block_read(tree.sysroot, 4, &block), 0);
	CHECK_INT(block.node_id, 1);
	CHECK_INT(block.zone, MEMORY_ZONE_MOVABLE);
	/* A kernel without NUMA has no nodes at all. */
	fixture_tree_remove(&tree, DIRECTORY "/memory4/node1");
	fixture_tree_remove(&tree, "/sys/devices/system/node");
	CHECK_INT(memory_block_read(tree.sysroot, 4, &block), 0);
	CHECK_INT(block.zone, MEMORY_ZONE_MOVABLE);
}

static void test_list(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	CLEANUP(memory_block_list_done) struct memory_block_list list = {0};
	struct memory_block block;

	fixture_tree_init(&tree);
	add_machine(&tree);
	CHECK_INT(memory_block_list_read(tree.sysroot, &list), 0);
	CHECK_INT(list.count, 6);
	CHECK_INT(list.block_bytes, 128 << 20);
	CHECK_INT(list.blocks[0].removable, MEMORY_BLOCK_REMOVABLE_NO);
	CHECK_INT(list.blocks[1].id, 2);
	CHECK_INT(list.blocks[1].node_count, 2);
	CHECK_INT(list.blocks[1].node_id, 0);
	CHECK_INT(list.blocks[1].removable, MEMORY_BLOCK_REMOVABLE_MAYBE);
	CHECK_INT(list.blocks[1].start, 2ull * (128 << 20));
	CHECK_INT(list.blocks[2].zone, MEMORY_ZONE_MOVABLE);
	CHECK_TRUE(list.blocks[2].can_be_movable);
	CHECK_INT(list.blocks[3].state, MEMORY_BLOCK_STATE_GOING_OFFLINE);
	CHECK_INT(list.blocks[4].node_id, -1);
	CHECK_INT(list.blocks[4].removable, MEMORY_BLOCK_REMOVABLE_NO);
	CHECK_INT(list.blocks[5].removable, MEMORY_BLOCK_REMOVABLE_YES);
	CHECK_TRUE(memory_block_list_find(&list, 10) == &list.blocks[5]);
	CHECK_TRUE(!memory_block_list_find(&list, 3));
	CHECK_INT(memory_block_read(tree.sysroot, 3, &block), -ENOENT);
	fixture_tree_write(&tree, DIRECTORY "/memory4/state", "broken\n");
	CHECK_INT(memory_block_read(tree.sysroot, 4, &block), -EBADMSG);
	fixture_tree_write(&tree, DIRECTORY "/block_size_bytes", "0\n");
	CHECK_INT(memory_block_read(tree.sysroot, 4, &block), -EBADMSG);
}

static enum memory_block_offline_result offline(const struct step *steps, size_t count,
						int expected)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct script script = {.tree = &tree, .steps = steps, .count = count};
	enum memory_block_offline_result result = MEMORY_BLOCK_OFFLINE_COUNT;

	fixture_tree_init(&tree);
	fixture_tree_add_block(&tree, 4, 3, "online", "Movable");
	fixture_tree_set_hooks(&tree, on_write, &script);
	CHECK_INT(memory_block_offline(tree.sysroot, 4, &result), expected);
	CHECK_STR(script.last_text, "offline");
	CHECK_INT(script.at, count);
	return result;
}

static void test_offline(void)
{
	CHECK_INT(offline((struct step[]){{0, "offline"}}, 1, 0), MEMORY_BLOCK_OFFLINE_OFFLINED);
	CHECK_INT(offline((struct step[]){{-EBUSY}}, 1, 0), MEMORY_BLOCK_OFFLINE_BUSY);
	CHECK_INT(offline((struct step[]){{-EAGAIN}}, 1, 0), MEMORY_BLOCK_OFFLINE_BUSY);
	CHECK_INT(offline((struct step[]){{-EINVAL}}, 1, 0), MEMORY_BLOCK_OFFLINE_NOT_REMOVABLE);
	CHECK_INT(offline((struct step[]){{-EINTR}}, 1, 0), MEMORY_BLOCK_OFFLINE_INTERRUPTED);
	CHECK_INT(offline((struct step[]){{0, "gone"}}, 1, 0), MEMORY_BLOCK_OFFLINE_GONE);
	CHECK_INT(offline((struct step[]){{-ENODEV, "gone"}}, 1, 0), MEMORY_BLOCK_OFFLINE_GONE);
	/* A failed write whose goal was reached all the same. */
	CHECK_INT(offline((struct step[]){{-EBUSY, "offline"}}, 1, 0),
		  MEMORY_BLOCK_OFFLINE_OFFLINED);
	CHECK_INT(offline((struct step[]){{0, "online"}}, 1, 0), MEMORY_BLOCK_OFFLINE_BUSY);
	CHECK_INT(offline((struct step[]){{-EACCES}}, 1, -EACCES), MEMORY_BLOCK_OFFLINE_COUNT);
	CHECK_INT(offline((struct step[]){{3}}, 1, -EIO), MEMORY_BLOCK_OFFLINE_COUNT);
}

static void test_offline_again(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	static const struct step steps[] = {{-EBUSY}, {-EBUSY}, {0, "offline"}};
	struct script script = {.tree = &tree, .steps = steps, .count = 3};
	enum memory_block_offline_result result;

	fixture_tree_init(&tree);
	fixture_tree_add_block(&tree, 4, 3, "online", "Movable");
	fixture_tree_set_hooks(&tree, on_write, &script);
	CHECK_INT(memory_block_offline(tree.sysroot, 4, &result), 0);
	CHECK_INT(result, MEMORY_BLOCK_OFFLINE_BUSY);
	CHECK_INT(memory_block_offline(tree.sysroot, 4, &result), 0);
	CHECK_INT(result, MEMORY_BLOCK_OFFLINE_BUSY);
	CHECK_INT(memory_block_offline(tree.sysroot, 4, &result), 0);
	CHECK_INT(result, MEMORY_BLOCK_OFFLINE_OFFLINED);
	CHECK_INT(memory_block_offline(tree.sysroot, 4, &result), 0);
	CHECK_INT(result, MEMORY_BLOCK_OFFLINE_ALREADY);
	CHECK_INT(memory_block_offline(tree.sysroot, 5, &result), 0);
	CHECK_INT(result, MEMORY_BLOCK_OFFLINE_GONE);
	CHECK_INT(script.at, 3);
}

static enum memory_block_online_result online(enum memory_zone zone, const char *word,
					      const struct step *step)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct script script = {.tree = &tree, .steps = step, .count = 1};
	enum memory_block_online_result result = MEMORY_BLOCK_ONLINE_COUNT;

	fixture_tree_init(&tree);
	fixture_tree_write(&tree, DIRECTORY "/block_size_bytes", "8000000\n");
	fixture_tree_add_block(&tree, 4, 3, "offline", "Normal Movable");
	fixture_tree_set_hooks(&tree, on_write, &script);
	CHECK_INT(memory_block_online(tree.sysroot, 4, zone, &result), 0);
	CHECK_STR(script.last_text, word);
	return result;
}

static void test_online(void)
{
	CHECK_INT(online(MEMORY_ZONE_MOVABLE, "online_movable",
			 &(struct step){0, "online", "Movable"}),
		  MEMORY_BLOCK_ONLINE_ONLINED);
	CHECK_INT(
		online(MEMORY_ZONE_NORMAL, "online_kernel", &(struct step){0, "online", "Normal"}),
		MEMORY_BLOCK_ONLINE_ONLINED);
	CHECK_INT(online(MEMORY_ZONE_NONE, "online", &(struct step){0, "online", "Normal"}),
		  MEMORY_BLOCK_ONLINE_ONLINED);
	/* Another onliner was faster. */
	CHECK_INT(online(MEMORY_ZONE_MOVABLE, "online_movable",
			 &(struct step){-EINVAL, "online", "Normal"}),
		  MEMORY_BLOCK_ONLINE_WRONG_ZONE);
	CHECK_INT(online(MEMORY_ZONE_MOVABLE, "online_movable", &(struct step){-EINVAL}),
		  MEMORY_BLOCK_ONLINE_REFUSED);
	CHECK_INT(online(MEMORY_ZONE_MOVABLE, "online_movable", &(struct step){-EINTR}),
		  MEMORY_BLOCK_ONLINE_INTERRUPTED);
	CHECK_INT(online(MEMORY_ZONE_MOVABLE, "online_movable", &(struct step){-ENODEV, "gone"}),
		  MEMORY_BLOCK_ONLINE_GONE);
}

static void test_online_without_write(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	struct script script = {.tree = &tree};
	enum memory_block_online_result result;

	fixture_tree_init(&tree);
	add_machine(&tree);
	fixture_tree_set_hooks(&tree, on_write, &script);
	CHECK_INT(memory_block_online(tree.sysroot, 10, MEMORY_ZONE_MOVABLE, &result), 0);
	CHECK_INT(result, MEMORY_BLOCK_ONLINE_ALREADY);
	CHECK_INT(memory_block_online(tree.sysroot, 10, MEMORY_ZONE_NORMAL, &result), 0);
	CHECK_INT(result, MEMORY_BLOCK_ONLINE_WRONG_ZONE);
	CHECK_INT(memory_block_online(tree.sysroot, 99, MEMORY_ZONE_NORMAL, &result), 0);
	CHECK_INT(result, MEMORY_BLOCK_ONLINE_GONE);
}

static int ignore_write(void *user, const char *path, const char *text)
{
	return 0;
}

static void test_auto_online(void)
{
	CLEANUP(fixture_tree_done) struct fixture_tree tree;
	enum memory_block_auto_online policy;

	fixture_tree_init(&tree);
	add_machine(&tree);
	CHECK_INT(memory_block_read_auto_online(tree.sysroot, &policy), 0);
	CHECK_INT(policy, MEMORY_BLOCK_AUTO_ONLINE_OFFLINE);
	fixture_tree_write(&tree, DIRECTORY "/auto_online_blocks", "%s", "");
	CHECK_INT(memory_block_read_auto_online(tree.sysroot, &policy), -EBADMSG);
	CHECK_INT(memory_block_set_auto_online(tree.sysroot, MEMORY_BLOCK_AUTO_ONLINE_MOVABLE), 0);
	CHECK_INT(memory_block_read_auto_online(tree.sysroot, &policy), 0);
	CHECK_INT(policy, MEMORY_BLOCK_AUTO_ONLINE_MOVABLE);
	fixture_tree_set_hooks(&tree, ignore_write, NULL);
	CHECK_INT(memory_block_set_auto_online(tree.sysroot, MEMORY_BLOCK_AUTO_ONLINE_OFFLINE),
		  -EIO);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"just being plugged", test_just_being_plugged},
		{"list", test_list},
		{"offline", test_offline},
		{"offline_again", test_offline_again},
		{"online", test_online},
		{"online_without_write", test_online_without_write},
		{"auto_online", test_auto_online},
	};

	return unit_main("memory_block", cases, ARRAY_SIZE(cases));
}
