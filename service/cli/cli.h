/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands of ballastctl share. It speaks REST only.
 */
#ifndef BALLAST_SERVICE_CLI_H
#define BALLAST_SERVICE_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "api_client.h"

/* Fixed and documented: scripts rely on them. */
enum cli_exit {
	CLI_EXIT_DONE = 0,		/* a dry run: would run */
	CLI_EXIT_FAILED = 1,
	CLI_EXIT_USAGE = 2,
	CLI_EXIT_REFUSED = 3,		/* blockers, or a consent is missing */
	CLI_EXIT_DEADLINE = 4,
	CLI_EXIT_CANCELLED = 5,
	CLI_EXIT_UNREACHABLE = 6,
	CLI_EXIT_PLAN_CHANGED = 7,
	CLI_EXIT_INCOMPLETE = 8,
};

/* How often one option may stand; more than the API takes, so that it is the API that refuses with its limit. */
#define CLI_REPEATS_MAX 64

struct cli {
	struct api_client *client;
	const char *socket, *url;
	bool json, detach, dry_run, fresh, is_terminal;
	const char *expect_plan, *timeout, *on_timeout, *not_before;
	const char *to, *map, *cells, *dimm, *node, *range, *finish, *allow, *reason, *budget, *stall_budget, *order, *undo;
	const char *address, *risk;
	bool offline, eject, near_cpus, cpus, persist, lazy, keep;
	const char *minimum, *maximum, *request_limit, *online_policy, *zone_repair, *priority, *allowed_nodes;
	size_t range_count, cell_count;		/* --range and --cell as often as they stand; range is the last */
	const char *ranges[CLI_REPEATS_MAX], *cell[CLI_REPEATS_MAX];
	const char *command_line;	/* as it was typed, for "Run: ..." */
	int argc;			/* the command's own arguments */
	char **argv;
};

/* Set by SIGINT: commands that follow an operation detach. */
extern volatile int cli_interrupted;

/* Prints "ballastctl: ..." to standard error and returns CLI_EXIT_USAGE. */
int cli_usage(const char *format, ...) PRINTF_LIKE(1, 2);
/* A request whose body is wanted: 0 with *ret_body (to be released), else an exit code, after having said why. */
int cli_get(struct cli *cli, const char *path, json_t **ret_body);
/* Says what a problem says and returns the exit code for it. */
int cli_problem(struct cli *cli, const struct api_reply *reply);
/* Prints JSON as the API gave it. */
void cli_print_json(const json_t *body);

/* JSON members, tolerant of their absence. */
uint64_t cli_u64(const json_t *object, const char *key);
const char *cli_text(const json_t *object, const char *key);	/* "" where it is not there */
const char *cli_size(const json_t *object, const char *key, char text[24]);
/* "0,2" of [0,2]; "-" where empty. */
const char *cli_nodes(const json_t *array, char *text, size_t size);
/* Text as a part of a path or query: a guest's name may hold what a URL may not. Returns escaped. */
#define CLI_ESCAPED_SIZE 512
const char *cli_escape(const char *text, char *escaped, size_t size);
/* "0-2,5" or "0,1" to [0,1,2,5]. NULL where it is malformed. */
json_t *cli_parse_nodes(const char *text);
/* --range: START-END in hexadecimal, with or without 0x. 0, or an exit code after having said why. */
int cli_parse_range(const char *text, uint64_t *ret_start, uint64_t *ret_end);

/* The tables of remainders: bytes, code, object, detail, way out. */
void cli_print_remainders(const json_t *remainders, const char *indent, bool with_consents);
/* The plan of a dry run, as docs show it. */
int cli_print_plan(struct cli *cli, const json_t *plan, const char *what);
/* Waits for an operation and shows its progress; prints how it ended. Returns the exit code. */
int cli_follow(struct cli *cli, const char *id);
int cli_print_operation_end(struct cli *cli, const json_t *operation);
/* Sends a change, and follows what comes of it unless --detach or --dry-run. body is taken over. */
int cli_change(struct cli *cli, const char *method, const char *path, json_t *body, const char *what);

/* Sends a change that is done with its answer. 0 with that (NULL: empty), or an exit code after having said why not. */
int cli_send(struct cli *cli, const char *method, const char *path, json_t *body, json_t **ret_answer);

/* show_commands.c */
int cli_status(struct cli *cli);
int cli_nodes_command(struct cli *cli);
int cli_dimms(struct cli *cli);
int cli_blocks(struct cli *cli);
int cli_guests(struct cli *cli);
int cli_guest(struct cli *cli);
int cli_drains(struct cli *cli);
int cli_holders(struct cli *cli);
int cli_operations(struct cli *cli);
int cli_operation(struct cli *cli);
int cli_events(struct cli *cli);

/* change_commands.c */
/* Adds allow, timeout_s and on_timeout to a body. 0, or an exit code after having said why. */
int cli_add_common(struct cli *cli, json_t *body);
int cli_resize(struct cli *cli);
int cli_move(struct cli *cli);
int cli_drain(struct cli *cli);
int cli_undrain(struct cli *cli);
int cli_pause(struct cli *cli);
int cli_resume(struct cli *cli);
int cli_cancel(struct cli *cli);
int cli_policy(struct cli *cli);
int cli_attach_agent(struct cli *cli);

/* hint_command.c */
int cli_hint(struct cli *cli);

/* check_command.c */
int cli_check(struct cli *cli);
/* What a check found, as tables; nothing for an operation of another kind. */
void cli_print_check(const json_t *operation);

#endif
