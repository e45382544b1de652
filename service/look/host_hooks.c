/* SPDX-License-Identifier: Apache-2.0 */
#include "host_hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "hook.h"
#include "sysroot.h"

/* " and 4294967295 more" */
#define MORE_SIZE 24

static void name_one(struct snapshot_hooks *hooks, const char *name, size_t *unnamed)
{
	size_t used = strlen(hooks->names), length = strlen(name) + (used ? 2 : 0);

	if (*unnamed || used + length + MORE_SIZE > sizeof(hooks->names))
		(*unnamed)++;
	else
		snprintf(hooks->names + used, sizeof(hooks->names) - used, "%s%s", used ? ", " : "", name);
}

static void take_list(struct snapshot_hooks *hooks, const struct hook_list *list)
{
	size_t unnamed = 0, used;

	for (size_t i = 0; i < list->count; i++) {
		const struct hook_entry *entry = &list->entries[i];

		if (!entry->is_trusted) {
			snprintf(hooks->trouble, sizeof(hooks->trouble), "%.60s is not run: others can write it", entry->name);
			continue;
		}
		hooks->count++;
		name_one(hooks, entry->name, &unnamed);
	}
	used = strlen(hooks->names);
	if (unnamed)
		snprintf(hooks->names + used, sizeof(hooks->names) - used, "%s%zu more", used ? " and " : "", unnamed);
}

void host_hooks_read(const struct sysroot *sysroot, const char *directory, struct snapshot *snapshot)
{
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_RDONLY | O_DIRECTORY, "%s", directory);
	struct snapshot_hooks *hooks = &snapshot->hooks;
	struct hook_list list = {0};
	int r = fd < 0 ? fd : hook_list_read(fd, &list);

	*hooks = (struct snapshot_hooks){0};
	if (r < 0 && r != -ENOENT)
		snprintf(hooks->trouble, sizeof(hooks->trouble), "%.60s: %s", directory, strerror(-r));
	else if (list.count && !list.is_trusted)
		snprintf(hooks->trouble, sizeof(hooks->trouble), "none is run: others can write %.60s", directory);
	else
		take_list(hooks, &list);
	hook_list_done(&list);
}
