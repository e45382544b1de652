/* SPDX-License-Identifier: Apache-2.0 */
#include "systemd_unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "clock.h"
#include "hook_job.h"
#include "job_context.h"
#include "sysroot.h"

#define DIRECTORY "/usr/bin"
#define PROGRAM	  "systemctl"
#define PROPERTY  "AllowedMemoryNodes="
/* It asks a process that does nothing else for long. */
#define TIMEOUT_MS 25000

bool systemd_unit_owns(const struct sysroot *sysroot, const char *name)
{
	size_t length = strlen(name);

	return length > strlen(".slice") && strcmp(name + length - strlen(".slice"), ".slice") == 0 &&
	       sysroot_exists(sysroot, "/run/systemd/system");
}

/* The last line that it says is kept in the hook. */
static int run(struct job_context *context, struct hook *hook, const char *verb, const char *const *more,
	       char why[HOOK_TEXT_SIZE])
{
	static const char *const environment[] = {NULL};
	struct worker_channel *channel = context->control->channel;
	CLEANUP_CLOSE int directory = sysroot_open(context->sysroot, O_RDONLY | O_DIRECTORY, DIRECTORY);
	struct hook_order order = {.directory_fd = directory, .argument = verb, .more = more, .environment = environment};
	struct child_job_result result = {0};
	struct child_job job;
	int rc = directory < 0 ? directory : 0;

	/* It keeps the worker's lock: before it is gone no other daemon begins. */
	child_job_init(&job, channel ? worker_channel_fd(channel) : -1);
	if (rc == 0)
		rc = hook_start(hook, &job, &order, PROGRAM, monotonic_ms() + TIMEOUT_MS);
	if (rc < 0) {
		snprintf(why, HOOK_TEXT_SIZE, PROGRAM ": %s", strerror(-rc));
		return rc;
	}
	if (!hook_worked(hook, hook_job_wait(context, &job, &result), &result, why))
		rc = -EIO;
	child_job_done(&job);
	return rc;
}

/* "AllowedMemoryNodes=0-1 3": as the kernel lists them, but for the blank. */
static bool parse_nodes(const char *line, struct node_set *ret_nodes)
{
	char list[HOOK_LINE_SIZE];

	if (strncmp(line, PROPERTY, strlen(PROPERTY)) != 0)
		return false;
	snprintf(list, sizeof(list), "%s", line + strlen(PROPERTY));
	for (char *blank = list; (blank = strchr(blank, ' '));)
		*blank = ',';
	return node_set_parse(list, ret_nodes) == 0;
}

int systemd_unit_read_nodes(struct job_context *context, const char *name, struct node_set *ret_nodes,
			    char why[HOOK_TEXT_SIZE])
{
	const char *const more[] = {"--property=AllowedMemoryNodes", "--", name, NULL};
	struct hook hook = {0};
	int rc = hook_init(&hook);

	snprintf(why, HOOK_TEXT_SIZE, "%s", rc < 0 ? strerror(-rc) : "");
	if (rc == 0)
		rc = run(context, &hook, "show", more, why);
	/* An older one does not know the property, and says nothing. */
	if (rc == 0 && !parse_nodes(hook.line, ret_nodes)) {
		snprintf(why, HOOK_TEXT_SIZE, "systemd says \"%.60s\" of its " PROPERTY, hook.line);
		rc = -EBADMSG;
	}
	hook_done(&hook);
	return rc;
}

int systemd_unit_set_nodes(struct job_context *context, const char *name, const struct node_set *nodes,
			   char why[HOOK_TEXT_SIZE])
{
	char setting[sizeof(PROPERTY) + NODE_SET_TEXT_SIZE], text[NODE_SET_TEXT_SIZE];
	const char *const more[] = {"--runtime", "--", name, setting, NULL};
	struct hook hook = {0};
	int rc = hook_init(&hook);

	snprintf(setting, sizeof(setting), PROPERTY "%s", node_set_format(nodes, text, sizeof(text)));
	snprintf(why, HOOK_TEXT_SIZE, "%s", rc < 0 ? strerror(-rc) : "");
	if (rc == 0)
		rc = run(context, &hook, "set-property", more, why);
	hook_done(&hook);
	return rc;
}
