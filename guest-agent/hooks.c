/* SPDX-License-Identifier: Apache-2.0 */
#include "hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "agent_config.h"
#include "byte_cursor.h"
#include "cleanup.h"

/* "0123456789abcdef-0123456789abcdef " */
#define RANGE_TEXT_SIZE 40

int hooks_init(struct hooks *hooks, const struct sysroot *sysroot,
	       const struct agent_config *config)
{
	*hooks = (struct hooks){.sysroot = sysroot, .config = config, .directory_fd = -1};
	return hook_init(&hooks->hook);
}

static void forget(struct hooks *hooks)
{
	hook_list_done(&hooks->list);
	cleanup_close(&hooks->directory_fd);
	hooks->directory_fd = -1;
	hooks->next = hooks->ran = hooks->failed = hooks->untold = 0;
	hooks->text[0] = '\0';
}

void hooks_done(struct hooks *hooks)
{
	forget(hooks);
	hook_done(&hooks->hook);
}

static void note_failure(struct hooks *hooks, const char *name, const char *what)
{
	size_t used = strlen(hooks->text), room = sizeof(hooks->text) - used;

	hooks->failed++;
	if ((size_t)snprintf(hooks->text + used, room, "%shook %.80s%s: %.120s", used ? "; " : "", name,
			     hooks->order.is_after ? " (after)" : "", what) >= room) {
		hooks->text[used] = '\0';
		hooks->untold++;
	}
	byte_cursor_make_text(hooks->text);
}

bool hooks_begin(struct hooks *hooks, const struct hooks_order *order)
{
	const char *directory = hooks->config->hook_directory;
	int error = 0;

	forget(hooks);
	hooks->order = *order;
	/* Who was asked to let go is told when it is over, whatever the configuration says by then. */
	if (!hooks->config->hooks && !order->is_after)
		return false;
	hooks->directory_fd =
		sysroot_open(hooks->sysroot, O_RDONLY | O_DIRECTORY, "%s", directory);
	if (hooks->directory_fd == -ENOENT)
		return false;
	error = hooks->directory_fd < 0 ? hooks->directory_fd
					: hook_list_read(hooks->directory_fd, &hooks->list);
	if (error < 0) {
		note_failure(hooks, directory, strerror(-error));
	} else if (!hooks->list.is_trusted) {
		note_failure(hooks, directory, "not run: others can write the directory");
		hook_list_done(&hooks->list);
	}
	return hooks->list.count > 0;
}

/* Says what is one and must not run. */
static const char *find_next(struct hooks *hooks)
{
	while (hooks->next < hooks->list.count) {
		const struct hook_entry *entry = &hooks->list.entries[hooks->next++];

		if (entry->is_trusted)
			return entry->name;
		note_failure(hooks, entry->name, "not run: others can write it");
	}
	return NULL;
}

static void print_ranges(char *text, size_t size, const struct hooks_order *order)
{
	size_t used = (size_t)snprintf(text, size, "BALLAST_RANGES=");

	for (size_t i = 0; i < order->range_count; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%" PRIx64 "-%" PRIx64,
					 i ? " " : "", order->ranges[i].start,
					 order->ranges[i].start + order->ranges[i].size_bytes);
}

bool hooks_start_next(struct hooks *hooks, struct child_job *job, uint64_t now_ms,
		      uint64_t deadline_ms)
{
	const struct hooks_order *order = &hooks->order;
	uint64_t end_ms = now_ms + (uint64_t)hooks->config->hook_timeout_s * 1000;
	char ranges[32 + LIMIT_RANGES * RANGE_TEXT_SIZE], bytes[40];
	const char *const environment[] = {
		order->is_after ? "BALLAST_HOOK=after" : "BALLAST_HOOK=before",
		bytes,
		ranges,
		!order->is_after  ? NULL :
		order->was_kept ? "BALLAST_OUTCOME=kept" :
				  "BALLAST_OUTCOME=undone",
		NULL,
	};
	const struct hook_order how = {.directory_fd = hooks->directory_fd,
				       .argument = order->is_after ? "after" : "before",
				       .environment = environment};
	const char *name;

	print_ranges(ranges, sizeof(ranges), order);
	snprintf(bytes, sizeof(bytes), "BALLAST_BYTES=%" PRIu64, order->bytes);
	while ((name = find_next(hooks))) {
		int error = hook_start(&hooks->hook, job, &how, name,
				       end_ms < deadline_ms ? end_ms : deadline_ms);

		if (error == 0) {
			hooks->ran++;
			return true;
		}
		note_failure(hooks, name, strerror(-error));
	}
	return false;
}

void hooks_end_one(struct hooks *hooks, enum child_job_state state,
		   const struct child_job_result *result)
{
	char text[HOOK_TEXT_SIZE];

	if (!hook_worked(&hooks->hook, state, result, text))
		note_failure(hooks, hooks->list.entries[hooks->next - 1].name, text);
}
