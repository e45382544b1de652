/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "size_text.h"
#include "text_table.h"

volatile int cli_interrupted;

int cli_usage(const char *format, ...)
{
	va_list arguments;

	fputs("ballastctl: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputs("\nTry: ballastctl --help\n", stderr);
	return CLI_EXIT_USAGE;
}

void cli_print_json(const json_t *body)
{
	json_dumpf(body, stdout, JSON_INDENT(2));
	putchar('\n');
}

uint64_t cli_u64(const json_t *object, const char *key)
{
	json_int_t number = json_integer_value(json_object_get(object, key));

	return number > 0 ? (uint64_t)number : 0;
}

const char *cli_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

const char *cli_size(const json_t *object, const char *key, char text[24])
{
	return size_text_format(cli_u64(object, key), text);
}

const char *cli_nodes(const json_t *array, char *text, size_t size)
{
	size_t index, used = 0;
	json_t *entry;

	snprintf(text, size, "-");
	json_array_foreach(array, index, entry) {
		int length = snprintf(text + used, size - used, "%s%" JSON_INTEGER_FORMAT, used ? "," : "",
				      json_integer_value(entry));

		if (length < 0 || (size_t)length >= size - used) {
			text[used] = '\0';
			break;
		}
		used += (size_t)length;
	}
	return text;
}

const char *cli_escape(const char *text, char *escaped, size_t size)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	size_t used = 0;

	for (; *text && used + 4 <= size; text++) {
		if (strchr(plain, *text))
			escaped[used++] = *text;
		else
			used += (size_t)sprintf(escaped + used, "%%%02X", (unsigned char)*text);
	}
	escaped[used] = '\0';
	return escaped;
}

json_t *cli_parse_nodes(const char *text)
{
	json_t *array = json_array();
	const char *p = text;

	for (;;) {
		char *end;

		if (!isdigit((unsigned char)*p))
			break;
		unsigned long first = strtoul(p, &end, 10), last = first;

		if (*end == '-') {
			if (!isdigit((unsigned char)end[1]))
				break;
			last = strtoul(end + 1, &end, 10);
		}
		if (last < first || last > 1023)
			break;
		for (unsigned long node = first; node <= last; node++)
			json_array_append_new(array, json_integer((json_int_t)node));
		if (*end == '\0')
			return array;
		if (*end != ',')
			break;
		p = end + 1;
	}
	json_decref(array);
	return NULL;
}

int cli_parse_range(const char *text, uint64_t *ret_start, uint64_t *ret_end)
{
	const char *dash = strchr(text, '-');
	uint64_t start, end;
	char first[24];

	if (dash)
		snprintf(first, sizeof(first), "%.*s", (int)(dash - text < 23 ? dash - text : 23), text);
	if (!dash || dash - text > 23 || size_text_parse_number(first, 16, &start) < 0 ||
	    size_text_parse_number(dash + 1, 16, &end) < 0 || start >= end || end > INT64_MAX)
		return cli_usage("--range %s: write START-END in hexadecimal", text);
	*ret_start = start;
	*ret_end = end;
	return 0;
}

static int exit_of_problem(const struct api_reply *reply)
{
	switch (reply->status) {
	case 412:
	case 428:
		return CLI_EXIT_PLAN_CHANGED;
	case 409:
	case 422:
		return CLI_EXIT_REFUSED;
	case 503:
		return CLI_EXIT_FAILED;
	case 504:
		return CLI_EXIT_DEADLINE;
	default:
		return CLI_EXIT_FAILED;
	}
}

int cli_problem(struct cli *cli, const struct api_reply *reply)
{
	const char *detail = cli_text(reply->body, "detail");
	json_t *blockers = json_object_get(reply->body, "blockers");

	if (cli->json && reply->body) {
		cli_print_json(reply->body);
		return exit_of_problem(reply);
	}
	if (detail[0])
		fprintf(stderr, "ballastctl: %s\n", detail);
	else
		fprintf(stderr, "ballastctl: ballastd answered %ld\n", reply->status);
	if (json_array_size(blockers)) {
		fflush(stderr);
		cli_print_remainders(blockers, "  ", true);
	}
	return exit_of_problem(reply);
}

static int unreachable(const struct failure *failure)
{
	char text[768];

	fprintf(stderr, "ballastctl: %s\n", failure_format(failure, text, sizeof(text)));
	return CLI_EXIT_UNREACHABLE;
}

int cli_get(struct cli *cli, const char *path, json_t **ret_body)
{
	struct api_reply reply;
	struct failure failure = {0};
	int r = api_client_request(cli->client, "GET", path, NULL, 0, &cli_interrupted, &reply, &failure);

	if (r == -ECANCELED)
		return CLI_EXIT_CANCELLED;
	if (r < 0)
		return unreachable(&failure);
	if (reply.status != 200 || !reply.body) {
		r = cli_problem(cli, &reply);
		api_reply_done(&reply);
		return r;
	}
	*ret_body = reply.body;
	return 0;
}

void cli_print_remainders(const json_t *remainders, const char *indent, bool with_consents)
{
	CLEANUP(text_table_freep) struct text_table *table = text_table_new(NULL, 4);
	json_t *entry;
	size_t index;
	char size[24];

	json_array_foreach(remainders, index, entry) {
		const char *detail = cli_text(entry, "detail"), *way_out = cli_text(entry, "way_out");
		const char *consent = cli_text(entry, "consent");
		char object[256], out[320];

		snprintf(object, sizeof(object), "%s%s%s", cli_text(entry, "object"), detail[0] ? ": " : "", detail);
		if (with_consents && consent[0])
			snprintf(out, sizeof(out), "allow it with --allow %s", consent);
		else
			snprintf(out, sizeof(out), "%s", way_out);
		text_table_add(table, cli_u64(entry, "bytes") ? cli_size(entry, "bytes", size) : "-");
		text_table_add(table, cli_text(entry, "code"));
		text_table_add(table, object);
		text_table_add(table, out[0] ? out : " ");
	}
	text_table_print(table, indent, stdout);
}

/* Plans */

/* The sum, what of it nobody has measured here, and what it spares. */
static void print_time(const json_t *plan)
{
	json_t *entry;
	const char *before = "; assumed, not measured here: ";
	size_t index;

	if (!json_is_integer(json_object_get(plan, "estimate_s"))) {
		puts("time not known");
		return;
	}
	printf("about %" PRIu64 " s (a reboot of this host: ", cli_u64(plan, "estimate_s"));
	if (cli_u64(plan, "reboot_s"))
		printf("%" PRIu64 " s%s)", cli_u64(plan, "reboot_s"),
		       json_is_true(json_object_get(plan, "reboot_configured")) ? ", as configured" : "");
	else
		printf("not measured)");
	json_array_foreach(json_object_get(plan, "rates"), index, entry) {
		if (json_is_true(json_object_get(entry, "measured")))
			continue;
		printf("%s%s", before, cli_text(entry, "kind"));
		before = ", ";
	}
	putchar('\n');
}

/* What there is of the device, where the guest's agent tells. */
static void print_zones(const json_t *leave)
{
	char movable[24], kernel[24], offline[24];

	if (json_object_get(leave, "movable_bytes"))
		printf("  (of what is plugged movable %s, the kernel's %s, offline %s)", cli_size(leave, "movable_bytes", movable),
		       cli_size(leave, "kernel_bytes", kernel), cli_size(leave, "offline_bytes", offline));
}

static bool is_kept(const json_t *warning)
{
	return strcmp(cli_text(warning, "code"), "kept") == 0;
}

/* Of warnings: what a drain that is given up leaves as it is, with what can be done about that by hand. */
static void print_kept(const json_t *warnings, const char *title)
{
	json_t *kept = json_array(), *entry;
	size_t index;

	json_array_foreach(warnings, index, entry)
		if (is_kept(entry))
			json_array_append(kept, entry);
	if (json_array_size(kept)) {
		puts(title);
		cli_print_remainders(kept, "  ", false);
	}
	json_decref(kept);
}

int cli_print_plan(struct cli *cli, const json_t *plan, const char *what)
{
	CLEANUP(text_table_freep) struct text_table *table = text_table_new(NULL, 5);
	json_t *steps = json_object_get(plan, "steps"), *blockers = json_object_get(plan, "blockers");
	json_t *consents = json_object_get(plan, "consents_needed"), *entry;
	const char *digest = cli_text(plan, "digest");
	size_t index;
	char size[24], asked[24];

	if (cli->json) {
		cli_print_json(plan);
		return json_array_size(blockers) || json_array_size(consents) ? CLI_EXIT_REFUSED : CLI_EXIT_DONE;
	}
	printf("Plan %.4s  %s\n", digest, what);
	json_array_foreach(steps, index, entry) {
		bool undoable = json_is_true(json_object_get(entry, "undoable"));
		char notes[96];
		size_t used;

		snprintf(notes, sizeof(notes), "%s",
			 undoable					  ? "undoable" :
			 strcmp(cli_text(entry, "kind"), "eject") == 0 ? "NOT undoable without plugging it again" :
									 "");
		used = strlen(notes);
		if (cli_u64(entry, "stall_ms"))
			snprintf(notes + used, sizeof(notes) - used, "%sstall up to %" PRIu64 " ms", used ? ", " : "",
				 cli_u64(entry, "stall_ms"));
		text_table_addf(table, "%" PRIu64, cli_u64(entry, "n"));
		text_table_add(table, cli_text(entry, "kind"));
		text_table_add(table, cli_text(entry, "target")[0] ? cli_text(entry, "target") : " ");
		if (json_is_integer(json_object_get(entry, "estimate_ms")))
			text_table_addf(table, "%.1f s", (double)cli_u64(entry, "estimate_ms") / 1000);
		else
			text_table_add(table, " ");
		text_table_add(table, notes[0] ? notes : " ");
	}
	text_table_print(table, "  ", stdout);
	json_array_foreach(json_object_get(plan, "needs"), index, entry)
		printf("%s%s on node %" PRIu64, index ? ", " : "Needs ", cli_size(entry, "bytes", size),
		       cli_u64(entry, "node"));
	if (json_array_size(json_object_get(plan, "needs")))
		printf("; ");
	print_time(plan);
	json_array_foreach(json_object_get(plan, "warnings"), index, entry)
		if (!is_kept(entry))
			printf("Warning  %s%s%s: %s\n", cli_text(entry, "object"), cli_u64(entry, "bytes") ? "  " : "",
			       cli_u64(entry, "bytes") ? cli_size(entry, "bytes", size) : "", cli_text(entry, "detail"));
	print_kept(json_object_get(plan, "warnings"), "Will stay as it is:");
	json_array_foreach(json_object_get(plan, "leaves"), index, entry) {
		printf("%s can leave: %s of %s", cli_text(entry, "device"), cli_size(entry, "leaves_bytes", size),
		       cli_size(entry, "asked_bytes", asked));
		print_zones(entry);
		putchar('\n');
	}
	if (json_array_size(json_object_get(plan, "forecast"))) {
		puts("Will stay:");
		cli_print_remainders(json_object_get(plan, "forecast"), "  ", false);
	}
	if (json_array_size(blockers)) {
		puts("Blockers:");
		cli_print_remainders(blockers, "  ", true);
	}
	printf("%zu blockers, %zu consents. Nothing changed.", json_array_size(blockers), json_array_size(consents));
	if (json_array_size(blockers) == 0 && json_array_size(consents) == 0) {
		if (json_is_true(json_object_get(plan, "already_done")))
			printf(" There is nothing to do.\n");
		else
			printf(" Run: %s --expect-plan %.4s\n", cli->command_line, digest);
		return CLI_EXIT_DONE;
	}
	json_array_foreach(consents, index, entry)
		printf("%s%s", index ? "," : " Missing: --allow ", json_string_value(entry));
	putchar('\n');
	return CLI_EXIT_REFUSED;
}

/* Operations */

static int exit_of_operation(const json_t *operation)
{
	const char *state = cli_text(operation, "state");
	bool late = json_is_true(json_object_get(operation, "deadline_exceeded"));

	if (strcmp(state, "succeeded") == 0)
		return CLI_EXIT_DONE;
	if (strcmp(state, "cancelled") == 0)
		return CLI_EXIT_CANCELLED;
	if (late)
		return CLI_EXIT_DEADLINE;
	return strcmp(state, "incomplete") == 0 ? CLI_EXIT_INCOMPLETE : CLI_EXIT_FAILED;
}

static bool has_ended(const json_t *operation)
{
	static const char *const final[] = {"succeeded", "incomplete", "failed", "cancelled"};

	for (size_t i = 0; i < sizeof(final) / sizeof(final[0]); i++)
		if (strcmp(cli_text(operation, "state"), final[i]) == 0)
			return true;
	return false;
}

static const json_t *current_step(const json_t *operation)
{
	json_t *steps = json_object_get(operation, "steps"), *entry, *found = NULL;
	size_t index;

	json_array_foreach(steps, index, entry) {
		const char *state = cli_text(entry, "state");

		if (strcmp(state, "running") == 0 || strcmp(state, "undoing") == 0)
			found = entry;
	}
	return found;
}

static void print_progress(const json_t *operation, bool *shown)
{
	const json_t *progress = json_object_get(operation, "progress"), *step = current_step(operation);
	uint64_t done = cli_u64(progress, "done_bytes"), total = cli_u64(progress, "total_bytes");
	unsigned filled = total ? (unsigned)((done < total ? done : total) * 20 / total) : 0;
	char bar[20 * 3 + 1], done_text[24], total_text[24], rate[24], eta[40] = "";
	size_t used = 0;

	for (unsigned i = 0; i < 20; i++) {
		const char *cell = i < filled ? "█" : "░";

		memcpy(bar + used, cell, strlen(cell));
		used += strlen(cell);
	}
	bar[used] = '\0';
	if (json_is_integer(json_object_get(progress, "eta_s")))
		snprintf(eta, sizeof(eta), "  ETA %" PRIu64 " s", cli_u64(progress, "eta_s"));
	fprintf(stderr, "\r\033[K%s %s of %s  %s/s%s  %s %s", bar, size_text_format(done, done_text),
		size_text_format(total, total_text), size_text_format(cli_u64(progress, "bytes_per_s"), rate), eta,
		step ? cli_text(step, "kind") : cli_text(operation, "state"), step ? cli_text(step, "target") : "");
	fflush(stderr);
	*shown = true;
}

static bool has_remainder(const json_t *operation, const char *code)
{
	json_t *entry;
	size_t index;

	json_array_foreach(json_object_get(operation, "remainder"), index, entry)
		if (strcmp(cli_text(entry, "code"), code) == 0)
			return true;
	return false;
}

/* What becomes of a shrink's rest when nobody works on it. */
static void print_what_stands(const json_t *operation, const char *guest, uint64_t wanted, uint64_t reached)
{
	uint64_t requested = cli_u64(json_object_get(operation, "result"), "requested_bytes");
	char text[24];

	if (has_remainder(operation, "superseded") || has_remainder(operation, "guest_gone"))
		return;
	if (requested && requested < reached) {
		printf("The request stands at %s: more leaves when the guest's driver can take it.", size_text_format(requested, text));
	} else {
		printf("The request now stands at %s: nothing more will leave by itself.",
		       size_text_format(requested ? requested : reached, text));
	}
	printf(" Again: ballastctl resize %s %" PRIu64 "MiB\n", guest, wanted >> 20);
}

static void print_resize_end(const json_t *operation)
{
	const json_t *result = json_object_get(operation, "result");
	uint64_t wanted = cli_u64(result, "wanted_bytes"), reached = cli_u64(result, "reached_bytes");
	uint64_t start = cli_u64(result, "start_bytes"), promised = cli_u64(result, "forecast_bytes");
	const char *guest = cli_text(operation, "target");
	char a[24], b[24], c[24];
	json_t *entry;
	size_t index;

	if (strncmp(guest, "guest ", 6) == 0)
		guest += 6;
	printf("%s: wanted %s, now %s", guest, size_text_format(wanted, a), size_text_format(reached, b));
	if (wanted < start && reached > wanted)
		printf("; %s stayed", size_text_format(reached - wanted, c));
	else if (wanted > reached)
		printf("; %s missing", size_text_format(wanted - reached, c));
	if (json_is_true(json_object_get(operation, "deadline_exceeded")))
		printf(" (deadline)");
	printf("  (%.1f s)\n", json_real_value(json_object_get(result, "seconds")));
	cli_print_remainders(json_object_get(operation, "remainder"), "  ", false);
	json_array_foreach(json_object_get(result, "climbed"), index, entry)
		printf("%s%s +%s", index ? ", " : "Climbed: ", cli_text(entry, "rung"), cli_size(entry, "gained_bytes", a));
	if (index)
		putchar('\n');
	if (promised && reached != promised)
		printf("Forecast was %s: %s %s left than promised\n", size_text_format(promised, a),
		       size_text_format(reached > promised ? reached - promised : promised - reached, b),
		       reached > promised ? "less" : "more");
	if (wanted < start && reached != wanted)
		print_what_stands(operation, guest, wanted, reached);
}

static bool is_kind(const json_t *operation, const char *kind)
{
	return strcmp(cli_text(operation, "kind"), kind) == 0;
}

static void print_felt(const json_t *result, const char *whose)
{
	const json_t *felt = json_object_get(result, "guest");

	if (json_is_object(felt))
		printf(", %s longest pause %.1f ms", whose, (double)cli_u64(felt, "longest_pause_us") / 1000);
}

int cli_print_operation_end(struct cli *cli, const json_t *operation)
{
	const json_t *result = json_object_get(operation, "result"), *error = json_object_get(operation, "error");
	char a[24], b[24];
	json_t *entry;
	size_t index;

	if (cli->json) {
		cli_print_json(operation);
		return exit_of_operation(operation);
	}
	if (is_kind(operation, "resize")) {
		print_resize_end(operation);
	} else {
		printf("%s %s: %s", cli_text(operation, "kind"), cli_text(operation, "target"),
		       cli_text(operation, "state"));
		if (is_kind(operation, "move")) {
			printf(", %s moved, %s left, longest kernel call %.1f ms", cli_size(result, "moved_bytes", a),
			       cli_size(result, "left_bytes", b), (double)cli_u64(result, "longest_call_us") / 1000);
			print_felt(result, "the guest's");
		} else if (is_kind(operation, "drain")) {
			if (cli_u64(result, "shrunk_bytes"))
				printf(", %s unplugged from guests", cli_size(result, "shrunk_bytes", a));
			printf(", %s moved out, %" PRIu64 " blocks offline%s", cli_size(result, "emptied_bytes", a),
			       cli_u64(result, "blocks_offline"),
			       json_is_true(json_object_get(result, "ejected")) ? ", ejected" : "");
			print_felt(result, "a guest's");
		}
		if (json_is_real(json_object_get(result, "seconds")))
			printf("  (%.1f s)", json_real_value(json_object_get(result, "seconds")));
		putchar('\n');
		cli_print_remainders(json_object_get(operation, "remainder"), "  ", false);
	}
	if (cli_text(error, "detail")[0])
		printf("Error  %s\n", cli_text(error, "detail"));
	if (strcmp(cli_text(operation, "undo"), "done") == 0)
		puts("Everything that was changed has been put back.");
	if (cli_text(operation, "superseded_by")[0])
		printf("Superseded by operation %s.\n", cli_text(operation, "superseded_by"));
	json_array_foreach(json_object_get(operation, "warnings"), index, entry)
		if (!is_kept(entry))
			printf("Warning  %s: %s\n", cli_text(entry, "object"), cli_text(entry, "detail"));
	print_kept(json_object_get(operation, "warnings"), "Stays as it is:");
	return exit_of_operation(operation);
}

int cli_follow(struct cli *cli, const char *id)
{
	struct api_reply reply;
	struct failure failure = {0};
	char path[128];
	bool shown = false;
	int r;

	for (;;) {
		/* A terminal wants to see it move; a script waits for the end. */
		snprintf(path, sizeof(path), "/v1/operations/%.64s?wait=%d", id, cli->is_terminal ? 1 : 30);
		r = api_client_request(cli->client, "GET", path, NULL, 60, &cli_interrupted, &reply, &failure);
		if (r == -ECANCELED || cli_interrupted) {
			if (r == 0)
				api_reply_done(&reply);
			fprintf(stderr,
				"%sDetached. It goes on: ballastctl operation %s shows it, ballastctl cancel %s ends it.\n",
				shown ? "\n" : "", id, id);
			return CLI_EXIT_DONE;
		}
		if (r < 0)
			return unreachable(&failure);
		if (reply.status != 200 || !reply.body) {
			r = cli_problem(cli, &reply);
			api_reply_done(&reply);
			return r;
		}
		if (has_ended(reply.body))
			break;
		if (cli->is_terminal && !cli->json)
			print_progress(reply.body, &shown);
		api_reply_done(&reply);
	}
	if (shown)
		fputs("\r\033[K", stderr);
	r = cli_print_operation_end(cli, reply.body);
	api_reply_done(&reply);
	return r;
}

int cli_change(struct cli *cli, const char *method, const char *path, json_t *body, const char *what)
{
	struct api_reply reply;
	struct failure failure = {0};
	char target[2 * CLI_ESCAPED_SIZE + 64], escaped[CLI_ESCAPED_SIZE];
	const char *joint = strchr(path, '?') ? "&" : "?";
	const json_t *operation;
	int r;

	snprintf(target, sizeof(target), "%s%s%s%s", path, cli->dry_run || cli->expect_plan ? joint : "",
		 cli->dry_run	     ? "dry_run=true" :
		 cli->expect_plan ? "expect_plan=" :
				    "",
		 !cli->dry_run && cli->expect_plan ? cli_escape(cli->expect_plan, escaped, sizeof(escaped)) : "");
	r = api_client_request(cli->client, method, target, body, 120, &cli_interrupted, &reply, &failure);
	json_decref(body);
	if (r == -ECANCELED) {
		fputs("ballastctl: interrupted before ballastd had answered: ballastctl operations shows whether it began\n",
		      stderr);
		return CLI_EXIT_CANCELLED;
	}
	if (r < 0)
		return unreachable(&failure);
	if (cli->dry_run && reply.status == 200) {
		r = cli_print_plan(cli, reply.body, what);
	} else if (reply.status == 202) {
		char id[64];

		operation = json_object_get(reply.body, "operation");
		if (!json_is_object(operation))
			operation = reply.body;
		snprintf(id, sizeof(id), "%s", cli_text(operation, "id"));
		if (cli->detach) {
			if (cli->json)
				cli_print_json(reply.body);
			else
				printf("%s\n", id);
			r = CLI_EXIT_DONE;
		} else {
			r = cli_follow(cli, id);
		}
	} else if (reply.status >= 200 && reply.status < 300) {
		if (cli->json && reply.body)
			cli_print_json(reply.body);
		else if (!cli->json && strcmp(cli_text(reply.body, "state"), "released") == 0)
			printf("%s: the drain is released, and nothing of it is left to be put back\n", what);
		else if (!cli->json)
			printf("%s: nothing to do, it is so already\n", what);
		r = CLI_EXIT_DONE;
	} else {
		r = cli_problem(cli, &reply);
	}
	api_reply_done(&reply);
	return r;
}

int cli_send(struct cli *cli, const char *method, const char *path, json_t *body, json_t **ret_answer)
{
	struct api_reply reply;
	struct failure failure = {0};
	int r = api_client_request(cli->client, method, path, body, 120, &cli_interrupted, &reply, &failure);

	json_decref(body);
	if (r == -ECANCELED)
		return CLI_EXIT_CANCELLED;
	if (r < 0)
		return unreachable(&failure);
	if (reply.status >= 200 && reply.status < 300)
		*ret_answer = json_incref(reply.body);
	else
		r = cli_problem(cli, &reply);
	api_reply_done(&reply);
	return r;
}
