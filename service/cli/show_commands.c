/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that show and change nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "cleanup.h"
#include "cli.h"
#include "size_text.h"
#include "text_table.h"

static void json_unref(json_t **json)
{
	json_decref(*json);
}

#define CLEANUP_JSON CLEANUP(json_unref)

/* The items of a list, following its pages; the first page's object is what --json prints. */
static int get_list(struct cli *cli, const char *path, json_t **ret_items)
{
	json_t *items = json_array();
	char next[512];

	snprintf(next, sizeof(next), "%s%s", path, cli->fresh ? (strchr(path, '?') ? "&fresh=true" : "?fresh=true") : "");
	for (;;) {
		CLEANUP_JSON json_t *body = NULL;
		int r = cli_get(cli, next, &body);

		if (r) {
			json_decref(items);
			return r;
		}
		json_array_extend(items, json_object_get(body, "items"));
		if (!cli_text(body, "next")[0])
			break;
		snprintf(next, sizeof(next), "%s%cpage=%s", path, strchr(path, '?') ? '&' : '?', cli_text(body, "next"));
	}
	*ret_items = items;
	return 0;
}

static void print_list(const struct cli *cli, const json_t *items, const char *const *titles, size_t count,
		       void (*row)(struct text_table *table, const json_t *item))
{
	CLEANUP(text_table_freep) struct text_table *table = text_table_new(titles, count);
	json_t *item;
	size_t index;

	if (cli->json) {
		cli_print_json(items);
		return;
	}
	json_array_foreach(items, index, item)
		row(table, item);
	text_table_print(table, "", stdout);
}

static int show_list(struct cli *cli, const char *path, const char *const *titles, size_t count,
		     void (*row)(struct text_table *table, const json_t *item))
{
	CLEANUP_JSON json_t *items = NULL;
	int r = get_list(cli, path, &items);

	if (r == 0)
		print_list(cli, items, titles, count, row);
	return r ? r : CLI_EXIT_DONE;
}

static void join(const json_t *array, char *text, size_t size)
{
	size_t index, used = 0;
	json_t *entry;

	text[0] = '\0';
	json_array_foreach(array, index, entry) {
		const char *word = json_string_value(entry);
		int length = snprintf(text + used, size - used, "%s%s", used ? "," : "", word ? word : "?");

		if (length < 0 || (size_t)length >= size - used)
			return;
		used += (size_t)length;
	}
}

static void node_row(struct text_table *table, const json_t *node)
{
	char size[24], distances[256], dimms[256], pools[256] = "";
	size_t index, used = 0;
	json_t *pool;

	json_array_foreach(json_object_get(node, "hugepages"), index, pool) {
		char page[24];

		if (cli_u64(pool, "total") == 0)
			continue;
		int length = snprintf(pools + used, sizeof(pools) - used, "%s%" PRIu64 "/%" PRIu64 " x %s", used ? ", " : "",
				      cli_u64(pool, "free"), cli_u64(pool, "total"), cli_size(pool, "size_bytes", page));
		if (length < 0 || (size_t)length >= sizeof(pools) - used)
			break;
		used += (size_t)length;
	}
	join(json_object_get(node, "dimms"), dimms, sizeof(dimms));
	text_table_addf(table, "%" PRIu64, cli_u64(node, "id"));
	text_table_addf(table, "%s%s", cli_text(node, "state"),
			strcmp(cli_text(node, "state"), "no_memory") == 0 && json_is_true(json_object_get(node, "held"))
				? " (held)"
				: "");
	text_table_add(table, json_is_true(json_object_get(node, "has_cpus")) ? "yes" : "no");
	text_table_add(table, cli_size(node, "total_bytes", size));
	text_table_add(table, cli_size(node, "free_bytes", size));
	text_table_add(table, cli_size(node, "guest_bytes", size));
	text_table_addf(table, "%s (%s)", cli_size(node, "movable_bytes", size), cli_text(node, "movable"));
	text_table_add(table, pools);
	text_table_add(table, cli_nodes(json_object_get(node, "distances"), distances, sizeof(distances)));
	if (json_is_integer(json_object_get(node, "read_latency_ns")))
		text_table_addf(table, "%" PRIu64 " ns", cli_u64(node, "read_latency_ns"));
	else
		text_table_add(table, NULL);
	if (json_is_integer(json_object_get(node, "read_bytes_per_s")))
		text_table_addf(table, "%s/s", cli_size(node, "read_bytes_per_s", size));
	else
		text_table_add(table, NULL);
	text_table_add(table, dimms);
}

int cli_nodes_command(struct cli *cli)
{
	static const char *const titles[] = {">NODE",	"STATE",    "CPUS",	  ">TOTAL",    ">FREE",
					     ">GUESTS", ">MOVABLE", "HUGE PAGES", "DISTANCES", ">LATENCY",
					     ">BANDWIDTH", "DIMMS"};

	return show_list(cli, "/v1/nodes", titles, 12, node_row);
}

static void block_runs(const json_t *blocks, char *text, size_t size)
{
	size_t count = json_array_size(blocks), used = 0;

	snprintf(text, size, "-");
	for (size_t i = 0; i < count;) {
		json_int_t first = json_integer_value(json_array_get(blocks, i)), last = first;

		for (i++; i < count && json_integer_value(json_array_get(blocks, i)) == last + 1; i++)
			last++;
		int length = snprintf(text + used, size - used, "%s%" JSON_INTEGER_FORMAT, used ? "," : "", first);

		if (length > 0 && last > first && (size_t)length < size - used)
			length += snprintf(text + used + length, size - used - (size_t)length, "-%" JSON_INTEGER_FORMAT, last);
		if (length < 0 || (size_t)length >= size - used)
			return;
		used += (size_t)length;
	}
}

/* "A1,B1", as far as it fits, and how many more there are. */
static void slot_names(const json_t *dimm, char *text, size_t size)
{
	const json_t *slots = json_object_get(dimm, "slots");
	size_t count = json_array_size(slots), used = 0, named = 0;
	uint64_t more = cli_u64(dimm, "slots_unlisted");

	text[0] = '\0';
	for (; named < count && used < 40; named++)
		used += (size_t)snprintf(text + used, size - used, "%s%.64s", named ? "," : "",
					 cli_text(json_array_get(slots, named), "locator"));
	more += count - named;
	if (more)
		snprintf(text + used, size - used, " and %" PRIu64 " more", more);
}

/* Corrected and uncorrected, "?" for what is not told. */
static void add_errors(struct text_table *table, const json_t *dimm)
{
	static const char *const keys[] = {"corrected_errors", "uncorrected_errors"};
	const char *risk = cli_text(json_object_get(dimm, "hint"), "worst_risk");
	char counts[2][24];

	for (int i = 0; i < 2; i++)
		if (json_is_integer(json_object_get(dimm, keys[i])))
			snprintf(counts[i], sizeof(counts[i]), "%" PRIu64, cli_u64(dimm, keys[i]));
		else
			strcpy(counts[i], "?");
	if (counts[0][0] == '?' && counts[1][0] == '?' && !risk[0])
		text_table_add(table, NULL);
	else
		text_table_addf(table, "%s/%s%s%s", counts[0], counts[1], risk[0] ? " hint: " : "", risk);
}

static void dimm_row(struct text_table *table, const json_t *dimm)
{
	char size[24], blocks[256];

	block_runs(json_object_get(dimm, "blocks"), blocks, sizeof(blocks));
	text_table_add(table, cli_text(dimm, "id"));
	text_table_add(table, cli_text(dimm, "kind"));
	if (json_is_integer(json_object_get(dimm, "node")))
		text_table_addf(table, "%" PRIu64, cli_u64(dimm, "node"));
	else
		text_table_add(table, NULL);
	text_table_add(table, cli_size(dimm, "total_bytes", size));
	text_table_add(table, blocks);
	text_table_add(table, cli_text(dimm, "state"));
	text_table_add(table, cli_text(dimm, "movable"));
	text_table_addf(table, "%s (%s)", cli_text(dimm, "interleaved"), cli_text(dimm, "confidence"));
	slot_names(dimm, blocks, sizeof(blocks));
	text_table_add(table, blocks);
	add_errors(table, dimm);
	text_table_add(table, json_is_true(json_object_get(dimm, "ejectable")) ? "yes" : "no");
	text_table_add(table, json_is_integer(json_object_get(dimm, "guest_bytes")) ? cli_size(dimm, "guest_bytes", size)
										     : NULL);
}

int cli_dimms(struct cli *cli)
{
	static const char *const titles[] = {"DIMM",	 "KIND",	">NODE",       ">SIZE",	   "BLOCKS",
					     "STATE",	 "MOVABLE",	"INTERLEAVED", "SLOTS",	    ">ERRORS", "EJECTABLE", ">GUESTS"};

	return show_list(cli, "/v1/dimms", titles, ARRAY_SIZE(titles), dimm_row);
}

static void block_row(struct text_table *table, const json_t *block)
{
	char size[24];

	text_table_addf(table, "%" PRIu64, cli_u64(block, "id"));
	text_table_addf(table, "0x%" PRIx64 "-0x%" PRIx64, cli_u64(block, "start"), cli_u64(block, "end"));
	text_table_add(table, cli_size(block, "size_bytes", size));
	if (json_is_integer(json_object_get(block, "node")))
		text_table_addf(table, "%" PRIu64, cli_u64(block, "node"));
	else
		text_table_add(table, NULL);
	text_table_add(table, cli_text(block, "state"));
	text_table_add(table, cli_text(block, "zone"));
}

/* Bytes, or nothing where there are none. */
static void add_bytes(struct text_table *table, const json_t *json, const char *key)
{
	char size[24];

	text_table_add(table, cli_u64(json, key) ? cli_size(json, key, size) : "");
}

static void guest_block_row(struct text_table *table, const json_t *block)
{
	static const char *const parts[] = {"free_bytes", "huge_free_bytes", "huge_used_bytes", "kernel_bytes",
					    "pinned_bytes"};

	block_row(table, block);
	text_table_add(table, cli_text(block, "device"));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		add_bytes(table, block, parts[i]);
}

static int guest_blocks(struct cli *cli)
{
	static const char *const titles[] = {">BLOCK", "RANGE",	 ">SIZE",      ">NODE",	     "STATE",	"ZONE",
					     "DEVICE", ">FREE", ">HUGE FREE", ">HUGE USED", ">KERNEL", ">PINNED"};
	char path[CLI_ESCAPED_SIZE + 32], escaped[CLI_ESCAPED_SIZE];

	if (cli->node || cli->dimm || cli->argc > 1)
		return cli_usage("blocks takes one guest, --node, --dimm, or nothing");
	snprintf(path, sizeof(path), "/v1/guests/%s/blocks", cli_escape(cli->argv[0], escaped, sizeof(escaped)));
	return show_list(cli, path, titles, ARRAY_SIZE(titles), guest_block_row);
}

int cli_blocks(struct cli *cli)
{
	static const char *const titles[] = {">BLOCK", "RANGE", ">SIZE", ">NODE", "STATE", "ZONE"};
	char path[CLI_ESCAPED_SIZE + 32] = "/v1/blocks", escaped[CLI_ESCAPED_SIZE];

	if (cli->argc)
		return guest_blocks(cli);
	if (cli->node)
		snprintf(path, sizeof(path), "/v1/blocks?node=%s", cli_escape(cli->node, escaped, sizeof(escaped)));
	else if (cli->dimm)
		snprintf(path, sizeof(path), "/v1/blocks?dimm=%s", cli_escape(cli->dimm, escaped, sizeof(escaped)));
	return show_list(cli, path, titles, 6, block_row);
}

static void guest_row(struct text_table *table, const json_t *guest)
{
	const json_t *memory = json_object_get(guest, "memory"), *placement = json_object_get(guest, "placement");
	const json_t *policy = json_object_get(placement, "policy"), *agent = json_object_get(guest, "agent");
	char size[24], text[256] = "";
	size_t index, used = 0;
	json_t *entry;

	text_table_add(table, cli_text(guest, "name"));
	text_table_add(table, cli_text(guest, "state"));
	text_table_add(table, cli_size(memory, "current_bytes", size));
	text_table_add(table, cli_size(memory, "target_bytes", size));
	text_table_add(table, cli_size(memory, "max_bytes", size));
	json_array_foreach(json_object_get(placement, "nodes"), index, entry) {
		int length = snprintf(text + used, sizeof(text) - used, "%s%" PRIu64 ":%s", used ? " " : "",
				      cli_u64(entry, "node"), cli_size(entry, "bytes", size));

		if (length < 0 || (size_t)length >= sizeof(text) - used)
			break;
		used += (size_t)length;
	}
	text_table_add(table, text);
	cli_nodes(json_object_get(policy, "nodes"), text, sizeof(text));
	if (json_array_size(json_object_get(policy, "nodes")))
		text_table_addf(table, "%s%s:%s", cli_text(policy, "mode"),
				json_is_true(json_object_get(policy, "loose")) ? ",loose" : "", text);
	else
		text_table_add(table, cli_text(policy, "mode"));
	if (cli_text(agent, "incompatible_reason")[0])
		text_table_addf(table, "%s: %s", cli_text(agent, "state"), cli_text(agent, "incompatible_reason"));
	else
		text_table_add(table, cli_text(agent, "state"));
}

int cli_guests(struct cli *cli)
{
	static const char *const titles[] = {"GUEST",	   "STATE",	 ">NOW",   ">WANTED",
					     ">MAXIMUM", "RESIDENT", "POLICY", "AGENT"};

	return show_list(cli, "/v1/guests", titles, 8, guest_row);
}

/* What a move would leave behind, and because of whom. */
static void print_unmovable(const json_t *placement)
{
	char a[24], b[24];
	json_t *entry;
	size_t index;

	if (cli_text(placement, "unsurveyed")[0])
		printf("  not surveyed, so not to be moved: %s\n", cli_text(placement, "unsurveyed"));
	if (json_is_true(json_object_get(placement, "encrypted")))
		printf("  encrypted: its pages are bound to where they lie\n");
	if (cli_u64(placement, "private_bytes"))
		printf("  %s private to the guest: no page table of the host shows it\n",
		       cli_size(placement, "private_bytes", a));
	if (cli_u64(placement, "pinned_bytes"))
		printf("  %s pinned\n", cli_size(placement, "pinned_bytes", a));
	json_array_foreach(json_object_get(placement, "sharers"), index, entry)
		printf("  shared with %s (process %" PRIu64 "): maps %s, pins %s\n", cli_text(entry, "name"),
		       cli_u64(entry, "pid"), cli_size(entry, "mapped_bytes", a), cli_size(entry, "pinned_bytes", b));
	if (cli_u64(placement, "sharers_unlisted"))
		printf("  shared with %" PRIu64 " more processes\n", cli_u64(placement, "sharers_unlisted"));
	if (cli_u64(placement, "sharers_unseen"))
		printf("  may be shared with %" PRIu64 " processes that could not be asked\n",
		       cli_u64(placement, "sharers_unseen"));
}

/* What its owner wants, and what is off that would spare the host something. */
static void print_word(const json_t *guest)
{
	const json_t *word = json_object_get(json_object_get(guest, "agent"), "word");
	char size[24];

	if (json_is_false(json_object_get(json_object_get(guest, "memory"), "free_page_reporting")))
		printf("  free page reporting is off: what is free in it stays with it (<memballoon freePageReporting='on'>)\n");
	if (cli_u64(word, "wanted_bytes"))
		printf("  it asks for %s in all\n", cli_size(word, "wanted_bytes", size));
	if (json_is_true(json_object_get(word, "veto")))
		printf("  does not want to shrink now\n");
	if (cli_u64(word, "floor_bytes"))
		printf("  wants to keep %s\n", cli_size(word, "floor_bytes", size));
	if (cli_u64(word, "limit_bytes"))
		printf("  lets %s go in one shrink\n", cli_size(word, "limit_bytes", size));
	if (cli_u64(word, "keep_bytes"))
		printf("  keeps %s available to its work\n", cli_size(word, "keep_bytes", size));
	if (cli_u64(word, "pressure_percent"))
		printf("  some of its work waits for memory %" PRIu64 " %% of the time\n", cli_u64(word, "pressure_percent"));
	if (json_is_true(json_object_get(word, "udev_onlines")))
		printf("  a udev rule in it onlines memory, beside its kernel%s%s\n", cli_text(word, "udev_rule")[0] ? ": " : "",
		       cli_text(word, "udev_rule"));
	if (cli_text(word, "repair")[0])
		printf("  what was plugged: %s\n", cli_text(word, "repair"));
	if (strcmp(cli_text(word, "onlining"), "refused") == 0)
		printf("  how it onlines memory could not be set: %s\n", cli_text(word, "online_policy"));
	if (strcmp(cli_text(word, "onlining"), "overruled") == 0)
		printf("  how it onlines memory was changed in it: %s\n", cli_text(word, "online_policy"));
}

int cli_guest(struct cli *cli)
{
	static const char *const titles[] = {"GUEST",	   "STATE",	 ">NOW",   ">WANTED",
					     ">MAXIMUM", "RESIDENT", "POLICY", "AGENT"};
	CLEANUP_JSON json_t *guest = NULL;
	CLEANUP(text_table_freep) struct text_table *table = text_table_new(titles, 8);
	const json_t *memory, *placement;
	char path[CLI_ESCAPED_SIZE + 32], escaped[CLI_ESCAPED_SIZE], a[24], b[24], c[24];
	json_t *entry;
	size_t index;
	int r;

	if (cli->argc != 1)
		return cli_usage("guest takes the name or UUID of one guest");
	snprintf(path, sizeof(path), "/v1/guests/%s%s",
		 cli_escape(cli->argv[0], escaped, sizeof(escaped)), cli->fresh ? "?fresh=true" : "");
	r = cli_get(cli, path, &guest);
	if (r)
		return r;
	if (cli->json) {
		cli_print_json(guest);
		return CLI_EXIT_DONE;
	}
	guest_row(table, guest);
	text_table_print(table, "", stdout);
	memory = json_object_get(guest, "memory");
	placement = json_object_get(guest, "placement");
	json_array_foreach(json_object_get(memory, "devices"), index, entry)
		printf("  %s  cell %" PRIu64 "  %s of %s, asked for %s\n", cli_text(entry, "alias"), cli_u64(entry, "cell"),
		       cli_size(entry, "current_bytes", a), cli_size(entry, "size_bytes", b),
		       cli_size(entry, "requested_bytes", c));
	json_array_foreach(json_object_get(placement, "dimms"), index, entry)
		printf("  DIMM %s  %s\n", cli_text(entry, "dimm"), cli_size(entry, "bytes", a));
	printf("  managed by %s\n", cli_text(placement, "managed_by"));
	if (cli_text(json_object_get(guest, "policy"), "fault")[0])
		printf("  its policy cannot be read, so it is neither resized nor moved: %s\n",
		       cli_text(json_object_get(guest, "policy"), "fault"));
	entry = json_object_get(placement, "drift");
	if (json_is_object(entry))
		printf("  drift: %s, %s\n", cli_size(entry, "bytes", a), cli_text(entry, "detail"));
	entry = json_object_get(placement, "kept");
	if (json_is_object(entry))
		printf("  kept: %s (%s)\n", cli_text(entry, "detail"), cli_text(entry, "at"));
	print_unmovable(placement);
	print_word(guest);
	cli_print_remainders(json_object_get(memory, "remainder"), "  ", false);
	return CLI_EXIT_DONE;
}

static void drain_row(struct text_table *table, const json_t *drain)
{
	char size[24];

	text_table_add(table, cli_text(drain, "id"));
	text_table_add(table, cli_text(drain, "target_text"));
	text_table_add(table, cli_text(drain, "finish"));
	if (cli_u64(drain, "online_bytes"))
		text_table_addf(table, "%s: %s online", cli_text(drain, "state"),
				cli_size(drain, "online_bytes", size));
	else
		text_table_add(table, cli_text(drain, "state"));
	text_table_add(table, cli_text(drain, "stage"));
	text_table_add(table, cli_text(drain, "operation"));
	text_table_add(table, cli_text(drain, "reason"));
}

int cli_drains(struct cli *cli)
{
	static const char *const titles[] = {"DRAIN", "TARGET", "FINISH", "STATE", "STAGE", "OPERATION", "REASON"};

	CLEANUP_JSON json_t *drains = NULL;
	int r = get_list(cli, "/v1/drains", &drains);
	json_t *drain;
	size_t index;

	if (r)
		return r;
	print_list(cli, drains, titles, 7, drain_row);
	json_array_foreach(drains, index, drain) {
		const json_t *newcomers = json_object_get(drain, "newcomers");

		if (cli->json || !json_array_size(newcomers))
			continue;
		printf("%s: come to %s since it was emptied\n", cli_text(drain, "id"), cli_text(drain, "target_text"));
		cli_print_remainders(newcomers, "  ", false);
	}
	return CLI_EXIT_DONE;
}

static void print_holders(const json_t *body)
{
	char size[24], unused[24], offline[24];

	if (json_array_size(json_object_get(body, "items")) == 0)
		puts("Nobody: nothing there is in use.");
	else
		cli_print_remainders(json_object_get(body, "items"), "", false);
	if (json_is_integer(json_object_get(body, "size_bytes")))
		printf("%s in all, of it %s free and %s offline\n", cli_size(body, "size_bytes", size),
		       cli_size(body, "free_bytes", unused), cli_size(body, "offline_bytes", offline));
}

int cli_holders(struct cli *cli)
{
	CLEANUP_JSON json_t *body = NULL;
	char path[CLI_ESCAPED_SIZE + 32], escaped[CLI_ESCAPED_SIZE];
	uint64_t start, end;
	int r;

	if (!!cli->dimm + !!cli->node + !!cli->range != 1)
		return cli_usage("holders takes one of --dimm, --node and --range");
	if (cli->dimm) {
		snprintf(path, sizeof(path), "/v1/holders?dimm=%s", cli_escape(cli->dimm, escaped, sizeof(escaped)));
	} else if (cli->node) {
		snprintf(path, sizeof(path), "/v1/holders?node=%s", cli_escape(cli->node, escaped, sizeof(escaped)));
	} else {
		r = cli_parse_range(cli->range, &start, &end);
		if (r)
			return r;
		snprintf(path, sizeof(path), "/v1/holders?start=0x%" PRIx64 "&end=0x%" PRIx64, start, end);
	}
	r = cli_get(cli, path, &body);
	if (r)
		return r;
	if (cli->json)
		cli_print_json(body);
	else
		print_holders(body);
	return CLI_EXIT_DONE;
}

static void operation_row(struct text_table *table, const json_t *operation)
{
	const json_t *progress = json_object_get(operation, "progress");
	uint64_t total = cli_u64(progress, "total_bytes");

	text_table_add(table, cli_text(operation, "id"));
	text_table_add(table, cli_text(operation, "kind"));
	text_table_add(table, cli_text(operation, "target"));
	text_table_add(table, cli_text(operation, "state"));
	if (total)
		text_table_addf(table, "%" PRIu64 " %%", cli_u64(progress, "done_bytes") * 100 / total);
	else
		text_table_add(table, NULL);
	text_table_add(table, cli_text(operation, "created_at"));
	text_table_add(table, cli_text(operation, "actor"));
}

int cli_operations(struct cli *cli)
{
	static const char *const titles[] = {"OPERATION", "KIND", "TARGET", "STATE", ">DONE", "CREATED", "BY"};

	return show_list(cli, "/v1/operations", titles, 7, operation_row);
}

int cli_operation(struct cli *cli)
{
	CLEANUP_JSON json_t *operation = NULL;
	CLEANUP(text_table_freep) struct text_table *table = text_table_new(NULL, 5);
	char path[CLI_ESCAPED_SIZE + 32], escaped[CLI_ESCAPED_SIZE], size[24];
	json_t *step;
	size_t index;
	int r;

	if (cli->argc != 1)
		return cli_usage("operation takes the id of one operation");
	snprintf(path, sizeof(path), "/v1/operations/%s", cli_escape(cli->argv[0], escaped, sizeof(escaped)));
	r = cli_get(cli, path, &operation);
	if (r)
		return r;
	if (cli->json) {
		cli_print_json(operation);
		return CLI_EXIT_DONE;
	}
	printf("%s  %s %s  %s\n", cli_text(operation, "id"), cli_text(operation, "kind"), cli_text(operation, "target"),
	       cli_text(operation, "state"));
	json_array_foreach(json_object_get(operation, "steps"), index, step) {
		text_table_addf(table, "%" PRIu64, cli_u64(step, "n"));
		text_table_addf(table, "%s %s", cli_text(step, "kind"), cli_text(step, "target"));
		text_table_add(table, cli_text(step, "state"));
		text_table_add(table, cli_size(step, "done_bytes", size));
		text_table_add(table, cli_text(step, "detail")[0] ? cli_text(step, "detail") : " ");
	}
	text_table_print(table, "  ", stdout);
	cli_print_remainders(json_object_get(operation, "remainder"), "  ", false);
	if (cli_text(json_object_get(operation, "error"), "detail")[0])
		printf("Error  %s\n", cli_text(json_object_get(operation, "error"), "detail"));
	if (strcmp(cli_text(operation, "undo"), "done") == 0)
		puts("Everything that was changed has been put back.");
	cli_print_check(operation);
	return CLI_EXIT_DONE;
}

/* "move yes: nodes 0,1 | drain no: no node has movable memory; how zones ...". */
static void print_able(const json_t *host, const char *what, bool last)
{
	const json_t *able = json_object_get(json_object_get(host, "can"), what);
	char nodes[256];

	printf("%s %s", what, cli_text(able, "able"));
	if (cli_text(able, "reason")[0])
		printf(": %s", cli_text(able, "reason"));
	else if (strcmp(what, "resize") != 0)
		printf(": nodes %s", cli_nodes(json_object_get(able, "nodes"), nodes, sizeof(nodes)));
	fputs(last ? "\n" : " | ", stdout);
}

/* Of errors in slots that are known the list of DIMMs tells. */
static void print_errors(const json_t *controller)
{
	uint64_t corrected = cli_u64(controller, "unplaced_corrected_errors");
	uint64_t uncorrected = cli_u64(controller, "unplaced_uncorrected_errors");

	if (corrected || uncorrected)
		printf("memory controller %s (%s): %" PRIu64 " corrected and %" PRIu64
		       " uncorrected errors, in which DIMM is not known\n",
		       cli_text(controller, "id"), cli_text(controller, "name"), corrected, uncorrected);
}

static void print_stuck(const json_t *stuck)
{
	const char *place = cli_text(stuck, "place");

	printf("worker %" PRIu64 " does not come back from the kernel%s%s%s: %s; nothing is done beside it until it has gone\n",
	       cli_u64(stuck, "worker"), place[0] ? " (" : "", place, place[0] ? ")" : "", cli_text(stuck, "doing"));
}

int cli_status(struct cli *cli)
{
	CLEANUP_JSON json_t *host = NULL, *operations = NULL, *drains = NULL;
	const json_t *libvirt;
	size_t index, open = 0, held = 0;
	json_t *entry;
	int r = cli_get(cli, cli->fresh ? "/v1/host?fresh=true" : "/v1/host", &host);

	if (r)
		return r;
	if (cli->json) {
		cli_print_json(host);
		return CLI_EXIT_DONE;
	}
	libvirt = json_object_get(host, "libvirt");
	printf("ballastd %s, mode %s, kernel %s, libvirt %s%s%s\n", cli_text(host, "version"), cli_text(host, "mode"),
	       cli_text(host, "kernel"), cli_text(libvirt, "state"), cli_text(libvirt, "reason")[0] ? ": " : "",
	       cli_text(libvirt, "reason"));
	print_able(host, "resize", false);
	print_able(host, "move", false);
	print_able(host, "drain", true);
	json_array_foreach(json_object_get(host, "memory_controllers"), index, entry)
		print_errors(entry);
	json_array_foreach(json_object_get(host, "workers_stuck"), index, entry)
		print_stuck(entry);
	r = get_list(cli, "/v1/operations", &operations);
	if (r == 0)
		r = get_list(cli, "/v1/drains", &drains);
	if (r)
		return r;
	json_array_foreach(operations, index, entry)
		open += !cli_text(entry, "ended_at")[0];
	json_array_foreach(drains, index, entry)
		held += strcmp(cli_text(entry, "state"), "released") != 0 &&
			strcmp(cli_text(entry, "state"), "stopped") != 0 &&
			strcmp(cli_text(entry, "state"), "deferred") != 0;
	printf("%zu operations at work, %zu drains hold memory\n", open, held);
	return CLI_EXIT_DONE;
}

static void event_line(void *user, const char *event, const char *data)
{
	const struct cli *cli = user;
	json_error_t error;

	if (cli->json) {
		printf("{\"event\":\"%s\",\"data\":%s}\n", event, data);
	} else {
		CLEANUP_JSON json_t *object = json_loads(data, 0, &error);
		const char *name = cli_text(object, "name")[0]	 ? cli_text(object, "name") :
				   cli_text(object, "target")[0] ? cli_text(object, "target") :
				   cli_text(object, "target_text")[0] ? cli_text(object, "target_text") :
									cli_text(object, "uuid");

		printf("%-10s %s %s %s\n", event, cli_text(object, "kind"), name, cli_text(object, "state"));
	}
	fflush(stdout);
}

int cli_events(struct cli *cli)
{
	struct failure failure = {0};
	char text[768];
	int r = api_client_events(cli->client, &cli_interrupted, event_line, cli, &failure);

	if (r == 0)
		return CLI_EXIT_DONE;
	fprintf(stderr, "ballastctl: %s\n", failure_format(&failure, text, sizeof(text)));
	return r == -ENOTCONN ? CLI_EXIT_UNREACHABLE : CLI_EXIT_FAILED;
}
