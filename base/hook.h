/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that an administrator has put into a directory: each runs in a process group of its own, which is killed at
 * its deadline, and along with whoever started it. What it says last is kept.
 */
#ifndef BALLAST_BASE_HOOK_H
#define BALLAST_BASE_HOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "child_job.h"

/* As much of a hook's last line of output as is kept. */
#define HOOK_LINE_SIZE 128
#define HOOK_TEXT_SIZE (HOOK_LINE_SIZE + 64)
/* More of an environment is cut off. */
#define HOOK_ENVIRONMENT_MAX 15
/* More arguments behind the first are cut off. */
#define HOOK_MORE_MAX 6

struct hook_entry {
	char *name;	 /* owned */
	bool is_trusted; /* root's or whoever's runs this, and written by nobody else */
};

struct hook_list {
	struct hook_entry *entries; /* owned; in the order of their names */
	size_t count;
	bool is_trusted; /* so is the directory; else none may be run */
};

/*
 * The executable files of the directory, but for hidden ones and those that editors and package managers leave behind.
 * 0 or -errno.
 */
int hook_list_read(int directory_fd, struct hook_list *ret_list);
void hook_list_done(struct hook_list *list);

struct hook_order {
	int directory_fd;		/* borrowed, as the others: for the call */
	const char *argument;		/* "before", "after" */
	const char *const *more;	/* arguments behind it, NULL at their end; NULL: there are none */
	const char *const *environment; /* NULL at its end; all that it has beside PATH */
};

struct hook {
	char *line; /* owned; shared with the child; [HOOK_LINE_SIZE] */
};

int hook_init(struct hook *hook);
void hook_done(struct hook *hook);

/*
 * Starts the program of this name in job until deadline_ms. What it leaves running when it ends by itself is left alone.
 * 0 or -errno.
 */
int hook_start(struct hook *hook, struct child_job *job, const struct hook_order *order, const char *name,
	       uint64_t deadline_ms);
/* What became of it, as child_job_poll() said. False: it has failed, and text says how, in printable ASCII. */
bool hook_worked(const struct hook *hook, enum child_job_state state, const struct child_job_result *result,
		 char text[HOOK_TEXT_SIZE]);

#endif
