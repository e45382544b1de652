/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that change something: each makes the request, cli_change() sends and follows it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "begin_time.h"
#include "cleanup.h"
#include "cli.h"
#include "size_text.h"

/* What --timeout says; 0: nothing. 0, or an exit code after having said why. */
static int timeout_seconds(const struct cli *cli, uint64_t *ret_seconds)
{
	char number[24];
	size_t length = cli->timeout ? strlen(cli->timeout) : 0;
	uint64_t seconds = 0;
	unsigned factor = 1;

	snprintf(number, sizeof(number), "%s", cli->timeout ? cli->timeout : "");
	if (length && length < sizeof(number)) {
		factor = number[length - 1] == 'm' ? 60 : number[length - 1] == 'h' ? 3600 : 1;
		if (number[length - 1] == 's' || factor > 1)
			number[length - 1] = '\0';
	}
	if (cli->timeout &&
	    (size_text_parse_number(number, 10, &seconds) < 0 || seconds == 0 || seconds > 30 * 86400u))
		return cli_usage("--timeout %s: write seconds, or 5m, or 2h", cli->timeout);
	*ret_seconds = seconds * factor;
	return 0;
}

int cli_add_common(struct cli *cli, json_t *body)
{
	uint64_t seconds;
	int r = timeout_seconds(cli, &seconds);

	if (r)
		return r;
	if (cli->allow) {
		json_t *allow = json_array();
		CLEANUP_FREE char *copy = strdup(cli->allow);
		char *rest = copy, *word;

		while ((word = strsep(&rest, ",")))
			if (word[0])
				json_array_append_new(allow, json_string(word));
		json_object_set_new(body, "allow", allow);
	}
	if (seconds)
		json_object_set_new(body, "timeout_s", json_integer((json_int_t)seconds));
	if (cli->on_timeout)
		json_object_set_new(body, "on_timeout", json_string(cli->on_timeout));
	return 0;
}

/* "1=512MiB": a cell and its size. */
static int add_cell(json_t *cells, const char *text)
{
	const char *equals = strchr(text, '=');
	char number[8];
	uint64_t cell, bytes;

	if (equals)
		snprintf(number, sizeof(number), "%.*s", (int)(equals - text < 7 ? equals - text : 7), text);
	if (!equals || equals - text > 7 || size_text_parse_number(number, 10, &cell) < 0 || cell > INT32_MAX ||
	    size_text_parse(equals + 1, &bytes) < 0 || bytes > INT64_MAX)
		return cli_usage("--cell %s: write a cell and its size, such as 1=512MiB", text);
	json_array_append_new(cells, json_pack("{s:I, s:I}", "cell", (json_int_t)cell, "target_bytes", (json_int_t)bytes));
	return 0;
}

/* What the guest, or each cell, is to have. 0, or an exit code after having said why. */
static int add_sizes(struct cli *cli, json_t *body)
{
	json_t *cells;
	uint64_t bytes;
	int r = 0;

	if (cli->cell_count == 0) {
		if (size_text_parse(cli->argv[1], &bytes) < 0)
			return cli_usage("%s is no size: write 4GiB or 512MiB", cli->argv[1]);
		json_object_set_new(body, "target_bytes", json_integer((json_int_t)bytes));
		return 0;
	}
	cells = json_array();
	for (size_t i = 0; r == 0 && i < cli->cell_count; i++)
		r = add_cell(cells, cli->cell[i]);
	json_object_set_new(body, "cells", cells);
	return r;
}

static int add_ranges(struct cli *cli, json_t *body)
{
	json_t *ranges;

	if (cli->range_count == 0)
		return 0;
	ranges = json_array();
	json_object_set_new(body, "ranges", ranges);
	for (size_t i = 0; i < cli->range_count; i++) {
		uint64_t start, end;
		int r = cli_parse_range(cli->ranges[i], &start, &end);

		if (r)
			return r;
		json_array_append_new(ranges, json_pack("{s:I, s:I}", "start", (json_int_t)start, "end", (json_int_t)end));
	}
	return 0;
}

/* A share of the guest's time: "20%". */
static int add_work_budget(struct cli *cli, json_t *body)
{
	char number[8];
	size_t length = cli->budget ? strlen(cli->budget) : 0;
	uint64_t percent;

	if (!cli->budget)
		return 0;
	snprintf(number, sizeof(number), "%.*s", (int)(length ? length - 1 : 0), cli->budget);
	if (length < 2 || length > 4 || cli->budget[length - 1] != '%' ||
	    size_text_parse_number(number, 10, &percent) < 0 || percent < 1 || percent > 100)
		return cli_usage("--budget %s: of a resize write a share of the guest's time, 1%% to 100%%", cli->budget);
	json_object_set_new(body, "budget", json_pack("{s:I}", "work_percent", (json_int_t)percent));
	return 0;
}

int cli_resize(struct cli *cli)
{
	json_t *body;
	char path[CLI_ESCAPED_SIZE + 32], escaped[CLI_ESCAPED_SIZE], what[256];
	int r;

	if (cli->argc != (cli->cell_count ? 1 : 2))
		return cli_usage("resize takes a guest and a size, or sizes of its cells: resize g1 4GiB, "
				 "resize g1 --cell 1=512MiB");
	body = json_object();
	r = add_sizes(cli, body);
	if (r == 0)
		r = add_ranges(cli, body);
	if (r == 0)
		r = add_work_budget(cli, body);
	if (r == 0)
		r = cli_add_common(cli, body);
	if (r) {
		json_decref(body);
		return r;
	}
	snprintf(path, sizeof(path), "/v1/guests/%s/memory", cli_escape(cli->argv[0], escaped, sizeof(escaped)));
	if (cli->cell_count)
		snprintf(what, sizeof(what), "resize %.100s, %zu of its cells", cli->argv[0], cli->cell_count);
	else
		snprintf(what, sizeof(what), "resize %.100s to %.40s", cli->argv[0], cli->argv[1]);
	return cli_change(cli, "PATCH", path, body, what);
}

/* "0:2,1:3" to {"0":2,"1":3}. NULL where it is malformed. */
static json_t *parse_map(const char *text)
{
	json_t *map = json_object();
	CLEANUP_FREE char *copy = strdup(text);
	char *rest = copy, *pair;

	while (copy && (pair = strsep(&rest, ","))) {
		char *colon = strchr(pair, ':');
		uint64_t from, to;

		if (!colon)
			goto malformed;
		*colon = '\0';
		if (size_text_parse_number(pair, 10, &from) < 0 || size_text_parse_number(colon + 1, 10, &to) < 0 ||
		    to > 1023 || json_object_get(map, pair))
			goto malformed;
		json_object_set_new(map, pair, json_integer((json_int_t)to));
	}
	return map;
malformed:
	json_decref(map);
	return NULL;
}

/* "10ms", "500us", "2s"; a bare number is milliseconds. False where it is none of these, or nothing. */
static bool parse_stall(const char *text, uint64_t *ret_us)
{
	static const struct {
		const char *unit;
		uint64_t us;
	} units[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}, {"", 1000}};
	size_t length = strlen(text);
	char number[24];

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		size_t unit = strlen(units[i].unit);
		uint64_t value;

		if (length <= unit || length - unit >= sizeof(number) ||
		    strcmp(text + length - unit, units[i].unit) != 0)
			continue;
		snprintf(number, sizeof(number), "%.*s", (int)(length - unit), text);
		if (size_text_parse_number(number, 10, &value) < 0 || value == 0 || value > UINT32_MAX / units[i].us)
			return false;
		*ret_us = value * units[i].us;
		return true;
	}
	return false;
}

/* Budgets and order. 0, or an exit code after having said why. */
static int add_manner(struct cli *cli, json_t *body)
{
	json_t *budget;
	uint64_t value;

	if (cli->order) {
		static const char *const words[][2] = {
			{"any", "any"}, {"cold-first", "cold_first"}, {"hot-first", "hot_first"}};
		const char *found = NULL;

		for (size_t i = 0; i < ARRAY_SIZE(words); i++)
			if (strcmp(cli->order, words[i][0]) == 0 || strcmp(cli->order, words[i][1]) == 0)
				found = words[i][1];
		if (!found)
			return cli_usage("--order %s: write cold-first, hot-first or any", cli->order);
		json_object_set_new(body, "order", json_string(found));
	}
	if (!cli->budget && !cli->stall_budget)
		return 0;
	budget = json_object();
	json_object_set_new(body, "budget", budget);
	if (cli->budget) {
		if (size_text_parse(cli->budget, &value) < 0)
			return cli_usage("--budget %s: write a size a second, such as 200MiB", cli->budget);
		json_object_set_new(budget, "bytes_per_s", json_integer((json_int_t)value));
	}
	if (cli->stall_budget) {
		if (!parse_stall(cli->stall_budget, &value))
			return cli_usage("--stall-budget %s: write a time such as 10ms or 500us", cli->stall_budget);
		json_object_set_new(budget, "stall_us", json_integer((json_int_t)value));
	}
	return 0;
}

int cli_move(struct cli *cli)
{
	json_t *body = json_object(), *where;
	char path[CLI_ESCAPED_SIZE + 32], escaped[CLI_ESCAPED_SIZE], what[256];
	int r;

	if (cli->argc != 1) {
		json_decref(body);
		return cli_usage("move takes one guest, and where to: move g1 --to 2");
	}
	if (!!cli->to + !!cli->map + !!cli->cells + cli->near_cpus != 1) {
		json_decref(body);
		return cli_usage("move takes one of --to, --map, --cells and --near-cpus");
	}
	if (cli->near_cpus) {
		json_object_set_new(body, "near_cpus", json_true());
	} else {
		const char *text = cli->to ? cli->to : cli->map ? cli->map : cli->cells;

		where = cli->to ? cli_parse_nodes(text) : parse_map(text);
		if (!where) {
			json_decref(body);
			return cli_usage("%s: write nodes as 2 or 0-1,3, a map as 0:2,1:3", text);
		}
		json_object_set_new(body, cli->to ? "nodes" : cli->map ? "map" : "cells", where);
	}
	if (cli->cpus)
		json_object_set_new(body, "cpus", json_true());
	if (cli->persist)
		json_object_set_new(body, "persist", json_true());
	if (cli->lazy)
		json_object_set_new(body, "lazy", json_true());
	r = add_manner(cli, body);
	if (r == 0)
		r = cli_add_common(cli, body);
	if (r) {
		json_decref(body);
		return r;
	}
	snprintf(path, sizeof(path), "/v1/guests/%s/placement", cli_escape(cli->argv[0], escaped, sizeof(escaped)));
	snprintf(what, sizeof(what), "move %.100s", cli->argv[0]);
	return cli_change(cli, "PATCH", path, body, what);
}

/* 0, or an exit code after having said why. */
static int add_not_before(struct cli *cli, json_t *body)
{
	char text[32];
	struct tm tm;
	time_t begin;
	int r = cli->not_before ? begin_time_parse(cli->not_before, time(NULL), &begin) : 0;

	if (r == -ERANGE)
		return cli_usage("--not-before %s: it is over, or more than a year away", cli->not_before);
	if (r < 0)
		return cli_usage("--not-before %s: write +2h, 2030-01-31 22:00 or 2030-01-31T22:00:00Z", cli->not_before);
	if (!cli->not_before)
		return 0;
	gmtime_r(&begin, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	json_object_set_new(body, "not_before", json_string(text));
	return 0;
}

int cli_drain(struct cli *cli)
{
	json_t *target, *body;
	const char *finish = cli->eject ? "eject" : cli->offline ? "offline" : cli->finish ? cli->finish : "offline";
	char what[256];
	uint64_t node, start, end;
	int r;

	if (cli->argc != 0 || !!cli->dimm + !!cli->node + !!cli->range != 1)
		return cli_usage("drain takes one of --dimm, --node and --range");
	if (cli->eject + cli->offline + !!cli->finish > 1)
		return cli_usage("drain takes one of --finish, --offline and --eject");
	if (cli->dimm) {
		target = json_pack("{s:s}", "dimm", cli->dimm);
		snprintf(what, sizeof(what), "drain dimm %.64s   finish: %.16s", cli->dimm, finish);
	} else if (cli->node) {
		if (size_text_parse_number(cli->node, 10, &node) < 0 || node > 1023)
			return cli_usage("--node %s is no node", cli->node);
		target = json_pack("{s:I}", "node", (json_int_t)node);
		snprintf(what, sizeof(what), "drain node %.16s   finish: %.16s", cli->node, finish);
	} else {
		r = cli_parse_range(cli->range, &start, &end);
		if (r)
			return r;
		target = json_pack("{s:I, s:I}", "start", (json_int_t)start, "end", (json_int_t)end);
		snprintf(what, sizeof(what), "drain range %.64s   finish: %.16s", cli->range, finish);
	}
	body = json_pack("{s:o, s:s, s:s}", "target", target, "finish", finish, "reason",
			 cli->reason ? cli->reason : "asked for with ballastctl");
	if (cli->persist)
		json_object_set_new(body, "persist", json_true());
	r = add_not_before(cli, body);
	if (r == 0)
		r = cli_add_common(cli, body);
	if (r) {
		json_decref(body);
		return r;
	}
	return cli_change(cli, "POST", "/v1/drains", body, what);
}

int cli_undrain(struct cli *cli)
{
	char path[CLI_ESCAPED_SIZE + 64], escaped[CLI_ESCAPED_SIZE], what[128], query[48] = "";
	uint64_t seconds;
	int r;

	if (cli->argc != 1)
		return cli_usage("undrain takes the id of one drain: ballastctl drains lists them");
	r = timeout_seconds(cli, &seconds);
	if (r)
		return r;
	if (seconds)
		snprintf(query, sizeof(query), "?timeout_s=%" PRIu64 "%s", seconds, cli->keep ? "&keep=true" : "");
	else if (cli->keep)
		snprintf(query, sizeof(query), "?keep=true");
	snprintf(path, sizeof(path), "/v1/drains/%s%s", cli_escape(cli->argv[0], escaped, sizeof(escaped)), query);
	snprintf(what, sizeof(what), "undrain %.64s%s", cli->argv[0], cli->keep ? "   keep: what it has changed stays" : "");
	return cli_change(cli, "DELETE", path, NULL, what);
}

/* A verb on an operation, or on the operation of a drain. */
static int verb(struct cli *cli, const char *name, json_t *body)
{
	struct api_reply reply;
	struct failure failure = {0};
	json_t *drain = NULL;
	char path[CLI_ESCAPED_SIZE + 64], escaped[CLI_ESCAPED_SIZE], id[64];
	bool follows = strcmp(name, "cancel") == 0 && !cli->detach;
	int r;

	if (cli->argc != 1) {
		json_decref(body);
		return cli_usage("%s takes the id of one operation or drain", name);
	}
	if (cli->dry_run) {
		json_decref(body);
		return cli_usage("%s has no dry run", name);
	}
	snprintf(id, sizeof(id), "%s", cli->argv[0]);
	if (strncmp(id, "dr-", 3) == 0) {
		snprintf(path, sizeof(path), "/v1/drains/%s", cli_escape(id, escaped, sizeof(escaped)));
		r = cli_get(cli, path, &drain);
		if (r) {
			json_decref(body);
			return r;
		}
		snprintf(id, sizeof(id), "%s", cli_text(drain, "operation"));
		json_decref(drain);
	}
	snprintf(path, sizeof(path), "/v1/operations/%s/%s", cli_escape(id, escaped, sizeof(escaped)), name);
	r = api_client_request(cli->client, "POST", path, body, 0, NULL, &reply, &failure);
	json_decref(body);
	if (r < 0) {
		char text[768];

		fprintf(stderr, "ballastctl: %s\n", failure_format(&failure, text, sizeof(text)));
		return CLI_EXIT_UNREACHABLE;
	}
	if (reply.status < 200 || reply.status > 299)
		r = cli_problem(cli, &reply);
	else if (cli->json && reply.body && !follows)
		cli_print_json(reply.body);
	api_reply_done(&reply);
	if (r == 0 && follows) {
		/* That it was cancelled is what was asked for. */
		r = cli_follow(cli, id);
		return r == CLI_EXIT_CANCELLED ? CLI_EXIT_DONE : r;
	}
	return r;
}

int cli_pause(struct cli *cli)
{
	return verb(cli, "pause", NULL);
}

int cli_resume(struct cli *cli)
{
	return verb(cli, "resume", NULL);
}

int cli_cancel(struct cli *cli)
{
	json_t *body = NULL;

	if (cli->undo) {
		if (strcmp(cli->undo, "yes") != 0 && strcmp(cli->undo, "no") != 0)
			return cli_usage("--undo %s: write yes or no", cli->undo);
		body = json_pack("{s:b}", "undo", strcmp(cli->undo, "yes") == 0);
	}
	return verb(cli, "cancel", body);
}

int cli_policy(struct cli *cli)
{
	json_t *policy = NULL;
	char path[CLI_ESCAPED_SIZE + 32], escaped[CLI_ESCAPED_SIZE], a[24], b[24], c[24], nodes[128];
	uint64_t bytes;
	int r;

	if (cli->argc != 1)
		return cli_usage("policy takes one guest");
	snprintf(path, sizeof(path), "/v1/guests/%s/policy", cli_escape(cli->argv[0], escaped, sizeof(escaped)));
	r = cli_get(cli, path, &policy);
	if (r)
		return r;
	if (!cli->minimum && !cli->maximum && !cli->request_limit && !cli->online_policy && !cli->zone_repair &&
	    !cli->priority && !cli->allowed_nodes) {
		const json_t *repair = json_object_get(policy, "zone_repair");

		if (cli->json)
			cli_print_json(policy);
		else if (cli_text(policy, "fault")[0])
			printf("cannot be read, so the guest is neither resized nor moved: %s\n", cli_text(policy, "fault"));
		else
			printf("minimum %s, maximum %s, may ask for up to %s, online policy %s, zone repair %s, priority %" PRIu64
			       ", allowed nodes %s\n",
			       cli_u64(policy, "minimum_bytes") ? cli_size(policy, "minimum_bytes", a) : "none",
			       cli_u64(policy, "maximum_bytes") ? cli_size(policy, "maximum_bytes", b) : "none",
			       cli_u64(policy, "request_limit_bytes") ? cli_size(policy, "request_limit_bytes", c) : "nothing",
			       cli_text(policy, "online_policy")[0] ? cli_text(policy, "online_policy") : "as configured",
			       json_is_true(repair) ? "yes" : json_is_false(repair) ? "no" : "as configured",
			       cli_u64(policy, "priority"),
			       json_array_size(json_object_get(policy, "allowed_nodes")) ?
				       cli_nodes(json_object_get(policy, "allowed_nodes"), nodes, sizeof(nodes)) :
				       "all");
		json_decref(policy);
		return CLI_EXIT_DONE;
	}
	/* What is not named stays as it is, and here nobody knows what that is. */
	if (cli_text(policy, "fault")[0]) {
		fprintf(stderr, "ballastctl: the policy of %s cannot be read: %s. It is left as it is: put it right or take it away "
				"(virsh metadata), then again\n",
			cli->argv[0], cli_text(policy, "fault"));
		json_decref(policy);
		return CLI_EXIT_REFUSED;
	}
	json_t *body = json_object();
	static const char *const keys[] = {"minimum_bytes", "maximum_bytes", "request_limit_bytes", "online_policy",
					  "zone_repair",   "priority",	    "allowed_nodes"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (json_object_get(policy, keys[i]) && !json_is_null(json_object_get(policy, keys[i])))
			json_object_set(body, keys[i], json_object_get(policy, keys[i]));
	json_decref(policy);
	const struct {
		const char *value, *option, *key;
	} sizes[] = {{cli->minimum, "--minimum", "minimum_bytes"},
		     {cli->maximum, "--maximum", "maximum_bytes"},
		     {cli->request_limit, "--request-limit", "request_limit_bytes"}};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (!sizes[i].value)
			continue;
		if (size_text_parse(sizes[i].value, &bytes) < 0) {
			json_decref(body);
			return cli_usage("%s %s is no size", sizes[i].option, sizes[i].value);
		}
		json_object_set_new(body, sizes[i].key, json_integer((json_int_t)bytes));
	}
	if (cli->online_policy && strcmp(cli->online_policy, "unset") == 0)
		json_object_del(body, "online_policy");
	else if (cli->online_policy)
		json_object_set_new(body, "online_policy", json_string(cli->online_policy));
	if (cli->zone_repair && strcmp(cli->zone_repair, "unset") == 0) {
		json_object_del(body, "zone_repair");
	} else if (cli->zone_repair) {
		bool is_yes = strcmp(cli->zone_repair, "yes") == 0;

		if (!is_yes && strcmp(cli->zone_repair, "no") != 0) {
			json_decref(body);
			return cli_usage("--zone-repair %s: write yes, no or unset", cli->zone_repair);
		}
		json_object_set_new(body, "zone_repair", json_boolean(is_yes));
	}
	if (cli->priority) {
		if (size_text_parse_number(cli->priority, 10, &bytes) < 0 || bytes > 1000) {
			json_decref(body);
			return cli_usage("--priority %s: write 0 to 1000", cli->priority);
		}
		json_object_set_new(body, "priority", json_integer((json_int_t)bytes));
	}
	if (cli->allowed_nodes) {
		json_t *list = strcmp(cli->allowed_nodes, "all") == 0 ? json_array() : cli_parse_nodes(cli->allowed_nodes);

		if (!list) {
			json_decref(body);
			return cli_usage("--allowed-nodes %s: write 0-1,3 or all", cli->allowed_nodes);
		}
		json_object_set_new(body, "allowed_nodes", list);
	}
	return cli_change(cli, "PUT", path, body, "policy");
}

/* An agent that is started by a udev rule is there within a second or two. */
#define AGENT_WAIT_S 5

static const char *state_of_agent(const json_t *guest)
{
	return cli_text(json_object_get(guest, "agent"), "state");
}

int cli_attach_agent(struct cli *cli)
{
	json_t *guest = NULL;
	char path[CLI_ESCAPED_SIZE + 32], escaped[CLI_ESCAPED_SIZE];
	int r;

	if (cli->argc != 1)
		return cli_usage("attach-agent takes one guest");
	snprintf(path, sizeof(path), "/v1/guests/%s/agent", cli_escape(cli->argv[0], escaped, sizeof(escaped)));
	r = cli_send(cli, "POST", path, NULL, &guest);
	if (r)
		return r;
	snprintf(path, sizeof(path), "/v1/guests/%s", escaped);
	for (unsigned i = 0; i < AGENT_WAIT_S && !cli_interrupted; i++) {
		const char *state = state_of_agent(guest);

		if (strcmp(state, "disconnected") != 0 && strcmp(state, "connecting") != 0)
			break;
		sleep(1);
		json_decref(guest);
		guest = NULL;
		r = cli_get(cli, path, &guest);
		if (r)
			return r;
	}
	if (cli->json) {
		cli_print_json(guest);
		json_decref(guest);
		return CLI_EXIT_DONE;
	}
	if (strcmp(state_of_agent(guest), "ready") == 0)
		printf("%s has the agent's channel, and its agent has answered\n", cli->argv[0]);
	else
		printf("%s has the agent's channel; nobody has answered there yet (%s): start ballast-agent in the guest\n",
		       cli->argv[0], state_of_agent(guest));
	json_decref(guest);
	puts("A channel that its stored description does not have is gone with its next start.");
	return CLI_EXIT_DONE;
}
