/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ballastctl check: begins the check, follows it, and prints what it found: a line for each pair of nodes and kind of
 * memory, and one for each behaviour of the kernel.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "cleanup.h"
#include "cli.h"
#include "size_text.h"
#include "text_table.h"

static const json_t *facts_of(const json_t *operation)
{
	return json_object_get(json_object_get(operation, "result"), "facts");
}

/* "memfd 4 KiB": what a proof was about. Returns text. */
static const char *proof_name(const json_t *proof, char text[64])
{
	char size[24];

	snprintf(text, 64, "%.24s %s", cli_text(proof, "backing"), cli_size(proof, "page_bytes", size));
	return text;
}

static void add_time(struct text_table *table, uint64_t us)
{
	if (us < 1000)
		text_table_addf(table, "%" PRIu64 " us", us);
	else
		text_table_addf(table, "%" PRIu64 ".%" PRIu64 " ms", us / 1000, us % 1000 / 100);
}

static void pair_row(struct text_table *table, const json_t *proof, const json_t *pair)
{
	char size[24];

	text_table_add(table, cli_text(proof, "backing"));
	text_table_add(table, cli_size(proof, "page_bytes", size));
	text_table_addf(table, "%" PRIu64, cli_u64(pair, "from"));
	text_table_addf(table, "%" PRIu64, cli_u64(pair, "to"));
	text_table_add(table, cli_size(pair, "moved_bytes", size));
	text_table_add(table, cli_size(pair, "left_bytes", size));
	text_table_addf(table, "%s/s", cli_size(pair, "bytes_per_s", size));
	add_time(table, cli_u64(pair, "longest_pause_us"));
	add_time(table, cli_u64(proof, "quiet_pause_us"));
}

static void print_pairs(const json_t *facts)
{
	static const char *const titles[] = {"BACKING", ">PAGE",  ">FROM",	    ">TO",	   ">MOVED",
					     ">LEFT",	">RATE", ">LONGEST PAUSE", ">UNDISTURBED"};
	CLEANUP(text_table_freep) struct text_table *table = text_table_new(titles, ARRAY_SIZE(titles));
	uint64_t torn = 0, proofs = 0;
	json_t *proof, *pair;
	size_t index, number;

	json_array_foreach(facts, index, proof) {
		if (!json_object_get(proof, "pairs"))
			continue;
		proofs++;
		torn += cli_u64(proof, "torn_words");
		json_array_foreach(json_object_get(proof, "pairs"), number, pair)
			pair_row(table, proof, pair);
	}
	if (!proofs)
		return;
	printf("\nMemory of a microVM, moved under its running vCPU: %" PRIu64 " words torn\n", torn);
	text_table_print(table, "", stdout);
}

/* What was not proved, and why. */
static void print_left_out(const json_t *facts)
{
	char name[64], nodes[128], size[24];
	json_t *proof;
	size_t index;

	json_array_foreach(facts, index, proof) {
		if (!cli_text(proof, "backing")[0])
			continue;
		proof_name(proof, name);
		if (cli_text(proof, "skipped")[0])
			printf("%s: not proved: %s\n", name, cli_text(proof, "skipped"));
		if (json_array_size(json_object_get(proof, "left_out_nodes")))
			printf("%s: left out, without room or held: node %s\n", name,
			       cli_nodes(json_object_get(proof, "left_out_nodes"), nodes, sizeof(nodes)));
		if (cli_u64(proof, "left_out_pairs"))
			printf("%s: left out: %" PRIu64 " pairs of nodes that are not neighbours by number\n", name,
			       cli_u64(proof, "left_out_pairs"));
		if (cli_u64(proof, "split_bytes"))
			printf("%s: split on the way: %s\n", name, cli_size(proof, "split_bytes", size));
	}
}

static void print_features(const json_t *facts)
{
	static const char *const titles[] = {"THIS KERNEL", "IS", "WHAT IT IS GOOD FOR", "SEEN"};
	CLEANUP(text_table_freep) struct text_table *table = text_table_new(titles, ARRAY_SIZE(titles));
	json_t *fact, *feature;
	const char *name;
	size_t index;
	bool any = false;

	json_array_foreach(facts, index, fact) {
		json_object_foreach(json_object_get(fact, "features"), name, feature) {
			any = true;
			text_table_add(table, name);
			text_table_add(table, cli_text(feature, "state"));
			text_table_add(table, cli_text(feature, "meaning"));
			text_table_add(table, cli_text(feature, "detail"));
		}
	}
	if (!any)
		return;
	printf("\n");
	text_table_print(table, "", stdout);
}

void cli_print_check(const json_t *operation)
{
	print_pairs(facts_of(operation));
	print_left_out(facts_of(operation));
	print_features(facts_of(operation));
}

int cli_check(struct cli *cli)
{
	struct api_reply reply;
	struct failure failure = {0};
	json_t *body = json_object(), *operation = NULL;
	char path[CLI_ESCAPED_SIZE + 32], escaped[CLI_ESCAPED_SIZE], text[768], id[64];
	int r;

	if (cli->argc != 0) {
		json_decref(body);
		return cli_usage("check takes no arguments");
	}
	r = cli_add_common(cli, body);
	if (r) {
		json_decref(body);
		return r;
	}
	if (cli->dry_run || cli->detach)
		return cli_change(cli, "POST", "/v1/checks", body, "check this host");
	snprintf(path, sizeof(path), "/v1/checks%s%s", cli->expect_plan ? "?expect_plan=" : "",
		 cli->expect_plan ? cli_escape(cli->expect_plan, escaped, sizeof(escaped)) : "");
	r = api_client_request(cli->client, "POST", path, body, 120, NULL, &reply, &failure);
	json_decref(body);
	if (r < 0) {
		fprintf(stderr, "ballastctl: %s\n", failure_format(&failure, text, sizeof(text)));
		return CLI_EXIT_UNREACHABLE;
	}
	if (reply.status != 202) {
		r = cli_problem(cli, &reply);
		api_reply_done(&reply);
		return r;
	}
	snprintf(id, sizeof(id), "%s", cli_text(reply.body, "id"));
	api_reply_done(&reply);
	r = cli_follow(cli, id);
	snprintf(path, sizeof(path), "/v1/operations/%s", id);
	if (!cli->json && cli_get(cli, path, &operation) == 0) {
		cli_print_check(operation);
		json_decref(operation);
	}
	return r;
}
