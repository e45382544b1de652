/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ballastctl hint: for who watches the memory. It says what became of it and does not wait for what was begun: whoever
 * reports an error has more to do.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "size_text.h"

static int print_answer(struct cli *cli, const json_t *answer)
{
	const json_t *hint = json_object_get(answer, "hint"), *refusal = json_object_get(answer, "refusal");
	const json_t *operation = json_object_get(answer, "operation");
	const char *action = cli_text(answer, "action"), *dimm = cli_text(hint, "dimm");

	if (dimm[0])
		printf("dimm %s", dimm);
	else
		printf("memory of no DIMM");
	if (json_is_integer(json_object_get(hint, "physical_address")))
		printf(", block 0x%" PRIx64 "-0x%" PRIx64, cli_u64(hint, "start"), cli_u64(hint, "end"));
	printf(": risk %s, told ", cli_text(hint, "risk"));
	if (cli_u64(hint, "count") == 1)
		printf("once");
	else
		printf("%" PRIu64 " times", cli_u64(hint, "count"));
	printf("; %s", strcmp(action, "alert") == 0 ? "an alert alone" : action);
	if (json_is_object(operation))
		printf(", operation %s", cli_text(operation, "id"));
	printf("\n");
	if (!json_is_object(refusal))
		return CLI_EXIT_DONE;
	fflush(stdout);
	fprintf(stderr, "ballastctl: %s was not begun: %s\n", cli_text(answer, "wanted"), cli_text(refusal, "detail"));
	if (json_array_size(json_object_get(refusal, "blockers")))
		cli_print_remainders(json_object_get(refusal, "blockers"), "  ", true);
	return CLI_EXIT_REFUSED;
}

int cli_hint(struct cli *cli)
{
	json_t *body, *answer = NULL;
	uint64_t address = 0;
	int r;

	if (cli->argc != 0 || !cli->address == !cli->dimm)
		return cli_usage("hint takes one of --address and --dimm");
	if (!cli->risk)
		return cli_usage("hint takes --risk: low, high or uncorrected");
	if (cli->dry_run || cli->expect_plan)
		return cli_usage("hint has no dry run");
	if (cli->address && (size_text_parse_number(cli->address, 16, &address) < 0 || address > INT64_MAX))
		return cli_usage("--address %s: write a physical address in hexadecimal", cli->address);
	body = json_pack("{s:s}", "risk", cli->risk);
	if (cli->dimm)
		json_object_set_new(body, "dimm", json_string(cli->dimm));
	else
		json_object_set_new(body, "physical_address", json_integer((json_int_t)address));
	r = cli_send(cli, "POST", "/v1/hints", body, &answer);
	if (r)
		return r;
	if (cli->json) {
		cli_print_json(answer);
		r = json_is_object(json_object_get(answer, "refusal")) ? CLI_EXIT_REFUSED : CLI_EXIT_DONE;
	} else {
		r = print_answer(cli, answer);
	}
	json_decref(answer);
	return r;
}
