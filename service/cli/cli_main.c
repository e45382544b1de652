/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ballastctl: the command line of ballastd.
 */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "cleanup.h"
#include "cli.h"

#define DEFAULT_SOCKET "/run/ballast/ballastd.sock"

static const struct {
	const char *name;
	int (*run)(struct cli *cli);
	const char *arguments, *meaning;
} commands[] = {
	{"status", cli_status, "", "what this host can do, and what is at work"},
	{"nodes", cli_nodes_command, "", "NUMA nodes"},
	{"dimms", cli_dimms, "", "DIMMs and whether they can be emptied"},
	{"blocks", cli_blocks, "[G | --node N | --dimm D]", "memory blocks: the host's, or a guest's"},
	{"guests", cli_guests, "", "guests: sizes, residency, agents"},
	{"guest", cli_guest, "G", "one guest"},
	{"policy", cli_policy, "G [--minimum S] [--maximum S] [--request-limit S] [--online-policy W] [--zone-repair W] [--priority P] [--allowed-nodes N]", "show or set a guest's policy"},
	{"resize", cli_resize, "G SIZE | --cell N=SIZE ...  [--range START-END ...]", "grow or shrink a guest to SIZE, base included"},
	{"move", cli_move, "G --to NODES | --map A:B,... | --cells C:N,... | --near-cpus", "move a guest's memory between nodes"},
	{"drain", cli_drain, "--dimm D | --node N | --range START-END  [--finish F | --offline | --eject] [--not-before T]", "empty a DIMM, a node or a range"},
	{"undrain", cli_undrain, "DRAIN [--keep]", "give it back: everything as it was; or give it up, and everything stays as it is"},
	{"drains", cli_drains, "", "drains and what they hold"},
	{"holders", cli_holders, "--dimm D | --node N | --range START-END", "who holds memory there"},
	{"operations", cli_operations, "", "operations, newest first"},
	{"operation", cli_operation, "ID", "one operation with its steps"},
	{"pause", cli_pause, "ID", "begin no further step"},
	{"resume", cli_resume, "ID", "go on"},
	{"cancel", cli_cancel, "ID [--undo yes|no]", "end an operation or drain"},
	{"hint", cli_hint, "--address A | --dimm D  --risk low|high|uncorrected", "say that memory goes bad"},
	{"events", cli_events, "", "follow what happens"},
	{"check", cli_check, "", "prove on this host that backing moves under a running vCPU"},
	{"attach-agent", cli_attach_agent, "G", "give a running guest the agent's channel"},
};

enum {
	OPTION_SOCKET = 256, OPTION_URL, OPTION_JSON, OPTION_FRESH, OPTION_DETACH, OPTION_DRY_RUN, OPTION_EXPECT_PLAN,
	OPTION_TIMEOUT, OPTION_ON_TIMEOUT, OPTION_TO, OPTION_MAP, OPTION_CELLS, OPTION_CELL, OPTION_NEAR_CPUS, OPTION_CPUS,
	OPTION_PERSIST, OPTION_LAZY, OPTION_BUDGET, OPTION_STALL_BUDGET, OPTION_ORDER, OPTION_DIMM, OPTION_NODE, OPTION_RANGE, OPTION_FINISH,
	OPTION_OFFLINE, OPTION_EJECT, OPTION_NOT_BEFORE, OPTION_ALLOW, OPTION_REASON, OPTION_UNDO, OPTION_KEEP, OPTION_MINIMUM, OPTION_REQUEST_LIMIT, OPTION_ONLINE_POLICY, OPTION_ZONE_REPAIR, OPTION_MAXIMUM,
	OPTION_PRIORITY, OPTION_ALLOWED_NODES, OPTION_ADDRESS, OPTION_RISK, OPTION_VERSION,
};

static const struct option options[] = {
	{"socket", required_argument, NULL, OPTION_SOCKET},
	{"url", required_argument, NULL, OPTION_URL},
	{"json", no_argument, NULL, OPTION_JSON},
	{"fresh", no_argument, NULL, OPTION_FRESH},
	{"detach", no_argument, NULL, OPTION_DETACH},
	{"dry-run", no_argument, NULL, OPTION_DRY_RUN},
	{"expect-plan", required_argument, NULL, OPTION_EXPECT_PLAN},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"on-timeout", required_argument, NULL, OPTION_ON_TIMEOUT},
	{"to", required_argument, NULL, OPTION_TO},
	{"map", required_argument, NULL, OPTION_MAP},
	{"cells", required_argument, NULL, OPTION_CELLS},
	{"cell", required_argument, NULL, OPTION_CELL},
	{"near-cpus", no_argument, NULL, OPTION_NEAR_CPUS},
	{"cpus", no_argument, NULL, OPTION_CPUS},
	{"persist", no_argument, NULL, OPTION_PERSIST},
	{"lazy", no_argument, NULL, OPTION_LAZY},
	{"budget", required_argument, NULL, OPTION_BUDGET},
	{"stall-budget", required_argument, NULL, OPTION_STALL_BUDGET},
	{"order", required_argument, NULL, OPTION_ORDER},
	{"dimm", required_argument, NULL, OPTION_DIMM},
	{"node", required_argument, NULL, OPTION_NODE},
	{"range", required_argument, NULL, OPTION_RANGE},
	{"finish", required_argument, NULL, OPTION_FINISH},
	{"offline", no_argument, NULL, OPTION_OFFLINE},
	{"eject", no_argument, NULL, OPTION_EJECT},
	{"not-before", required_argument, NULL, OPTION_NOT_BEFORE},
	{"allow", required_argument, NULL, OPTION_ALLOW},
	{"reason", required_argument, NULL, OPTION_REASON},
	{"undo", required_argument, NULL, OPTION_UNDO},
	{"keep", no_argument, NULL, OPTION_KEEP},
	{"request-limit", required_argument, NULL, OPTION_REQUEST_LIMIT},
	{"online-policy", required_argument, NULL, OPTION_ONLINE_POLICY},
	{"zone-repair", required_argument, NULL, OPTION_ZONE_REPAIR},
	{"minimum", required_argument, NULL, OPTION_MINIMUM},
	{"maximum", required_argument, NULL, OPTION_MAXIMUM},
	{"priority", required_argument, NULL, OPTION_PRIORITY},
	{"allowed-nodes", required_argument, NULL, OPTION_ALLOWED_NODES},
	{"address", required_argument, NULL, OPTION_ADDRESS},
	{"risk", required_argument, NULL, OPTION_RISK},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static void print_help(void)
{
	puts("Usage: ballastctl [--socket PATH | --url URL] [--json] COMMAND ...\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-13s %s\n  %-13s   %s\n", commands[i].name, commands[i].arguments, "", commands[i].meaning);
	puts("\nChanges block and show their progress; Ctrl-C detaches.\n"
	     "  --dry-run            show the plan, change nothing\n"
	     "  --expect-plan D      only if the plan's digest begins with D\n"
	     "  --detach             print the operation's id and return\n"
	     "  --timeout T          seconds, or 5m, or 2h\n"
	     "  --on-timeout W       stop, restore or continue\n"
	     "  --allow A,B          consents, as a refusal names them\n"
	     "  --persist            change the stored XML too\n"
	     "  --not-before T       drain: cordon it now, begin then: +2h, or 2030-01-31 22:00\n"
	     "  --cpus, --lazy       move: its vCPUs too; let pages follow the vCPUs that touch them\n"
	     "  --budget S           move: bytes a second, for each pair of nodes; resize: share of the guest's time, 20%\n"
	     "  --stall-budget T     move: longest pause that the guest may feel, such as 10ms\n"
	     "  --order W            move: cold-first or hot-first\n"
	     "  --fresh              look again first\n"
	     "Sizes: 4GiB, 512MiB.\n"
	     "Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 deadline exceeded, 5 cancelled, 6 daemon unreachable,\n"
	     "7 plan changed, 8 incomplete.");
}

static void on_interrupt(int number)
{
	cli_interrupted = 1;
}

/* The options in a row, so that a plan can say how to run it; dry-run is what will be left out. */
static char *command_line(int argc, char **argv)
{
	size_t size = 1;
	char *text;

	for (int i = 0; i < argc; i++)
		size += strlen(argv[i]) + 1;
	text = calloc(1, size + 16);
	if (!text)
		return NULL;
	strcat(text, "ballastctl");
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--dry-run") == 0)
			continue;
		strcat(text, " ");
		strcat(text, argv[i]);
	}
	return text;
}

static bool take_repeated(const char **values, size_t *count)
{
	if (*count == CLI_REPEATS_MAX) {
		fprintf(stderr, "ballastctl: an option stands more than %d times\n", CLI_REPEATS_MAX);
		return false;
	}
	values[(*count)++] = optarg;
	return true;
}

/* False where an option is not for here. */
static bool take_option(struct cli *cli, int option)
{
	switch (option) {
	case OPTION_SOCKET: cli->socket = optarg; return true;
	case OPTION_URL: cli->url = optarg; return true;
	case OPTION_JSON: cli->json = true; return true;
	case OPTION_FRESH: cli->fresh = true; return true;
	case OPTION_DETACH: cli->detach = true; return true;
	case OPTION_DRY_RUN: cli->dry_run = true; return true;
	case OPTION_EXPECT_PLAN: cli->expect_plan = optarg; return true;
	case OPTION_TIMEOUT: cli->timeout = optarg; return true;
	case OPTION_ON_TIMEOUT: cli->on_timeout = optarg; return true;
	case OPTION_TO: cli->to = optarg; return true;
	case OPTION_MAP: cli->map = optarg; return true;
	case OPTION_CELLS: cli->cells = optarg; return true;
	case OPTION_CELL: return take_repeated(cli->cell, &cli->cell_count);
	case OPTION_NEAR_CPUS: cli->near_cpus = true; return true;
	case OPTION_CPUS: cli->cpus = true; return true;
	case OPTION_PERSIST: cli->persist = true; return true;
	case OPTION_LAZY: cli->lazy = true; return true;
	case OPTION_BUDGET: cli->budget = optarg; return true;
	case OPTION_STALL_BUDGET: cli->stall_budget = optarg; return true;
	case OPTION_ORDER: cli->order = optarg; return true;
	case OPTION_DIMM: cli->dimm = optarg; return true;
	case OPTION_NODE: cli->node = optarg; return true;
	case OPTION_RANGE:
		cli->range = optarg;
		return take_repeated(cli->ranges, &cli->range_count);
	case OPTION_FINISH: cli->finish = optarg; return true;
	case OPTION_OFFLINE: cli->offline = true; return true;
	case OPTION_EJECT: cli->eject = true; return true;
	case OPTION_NOT_BEFORE: cli->not_before = optarg; return true;
	case OPTION_ALLOW: cli->allow = optarg; return true;
	case OPTION_REASON: cli->reason = optarg; return true;
	case OPTION_UNDO: cli->undo = optarg; return true;
	case OPTION_KEEP: cli->keep = true; return true;
	case OPTION_REQUEST_LIMIT: cli->request_limit = optarg; return true;
	case OPTION_ONLINE_POLICY: cli->online_policy = optarg; return true;
	case OPTION_ZONE_REPAIR: cli->zone_repair = optarg; return true;
	case OPTION_MINIMUM: cli->minimum = optarg; return true;
	case OPTION_MAXIMUM: cli->maximum = optarg; return true;
	case OPTION_PRIORITY: cli->priority = optarg; return true;
	case OPTION_ALLOWED_NODES: cli->allowed_nodes = optarg; return true;
	case OPTION_ADDRESS: cli->address = optarg; return true;
	case OPTION_RISK: cli->risk = optarg; return true;
	default: return false;
	}
}

int main(int argc, char **argv)
{
	struct sigaction interrupt = {.sa_handler = on_interrupt};
	CLEANUP_FREE char *typed = command_line(argc, argv);
	struct cli cli = {.command_line = typed ? typed : "ballastctl"};
	const char *name;
	int option, result;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			print_help();
			return CLI_EXIT_DONE;
		}
		if (option == OPTION_VERSION) {
			puts("ballastctl " BALLAST_VERSION);
			return CLI_EXIT_DONE;
		}
		if (!take_option(&cli, option)) {
			fputs("Try: ballastctl --help\n", stderr);
			return CLI_EXIT_USAGE;
		}
	}
	if (optind == argc)
		return cli_usage("a command is missing");
	if (cli.socket && cli.url)
		return cli_usage("--socket and --url exclude each other");
	if (!cli.socket && !cli.url)
		cli.socket = getenv("BALLAST_SOCKET") ? getenv("BALLAST_SOCKET") : DEFAULT_SOCKET;
	name = argv[optind];
	cli.argc = argc - optind - 1;
	cli.argv = argv + optind + 1;
	cli.is_terminal = isatty(STDERR_FILENO);
	/* No SA_RESTART: a wait ends at once. */
	sigaction(SIGINT, &interrupt, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (api_client_new(cli.socket, cli.url, &cli.client) < 0) {
			fputs("ballastctl: out of memory\n", stderr);
			return CLI_EXIT_FAILED;
		}
		result = commands[i].run(&cli);
		api_client_free(cli.client);
		return result;
	}
	return cli_usage("there is no command %s", name);
}
