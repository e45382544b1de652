/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ballast-agent: empties guest memory that is to be unplugged, at the host's request.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "agent.h"
#include "agent_config.h"
#include "cleanup.h"
#include "failure.h"
#include "oom_score.h"
#include "sysroot.h"

/* Settings come back in milliseconds, blocks in tenths of a second on a busy guest; what takes longer is the next start's. */
#define GIVE_BACK_MS 10000

struct arguments {
	const char *sysroot;
	const char *config;
	const char *port;
};

static void print_help(void)
{
	printf("Usage: ballast-agent [OPTION]...\n"
	       "Helps the host to take memory away from this guest and to give it back.\n\n"
	       "  --config FILE    configuration (default %s)\n"
	       "  --port PATH      the channel: a port, a terminal or a unix socket\n"
	       "                   (default: the virtio-serial port org.ballast.agent.0)\n"
	       "  --foreground     stay in the foreground; the agent always does\n"
	       "  --sysroot DIR    look for /proc, /sys and /etc below DIR (for tests)\n"
	       "  --version        print the version\n"
	       "  --help           print this\n",
	       AGENT_CONFIG_FILE);
}

/* -1: go on. Otherwise the exit status. */
static int parse_arguments(int argc, char **argv, struct arguments *arguments)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"port", required_argument, NULL, 'p'},
		{"foreground", no_argument, NULL, 'f'},
		{"sysroot", required_argument, NULL, 's'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};

	for (;;) {
		switch (getopt_long(argc, argv, "", options, NULL)) {
		case 'c':
			arguments->config = optarg;
			break;
		case 'p':
			arguments->port = optarg;
			break;
		case 'f':
			break;
		case 's':
			arguments->sysroot = optarg;
			break;
		case 'V':
			printf("ballast-agent %s\n", BALLAST_VERSION);
			return 0;
		case 'h':
			print_help();
			return 0;
		case -1:
			if (optind == argc)
				return -1;
			fprintf(stderr, "ballast-agent: unexpected argument \"%s\" (try --help)\n",
				argv[optind]);
			return 2;
		default:
			return 2;
		}
	}
}

/* What a reload needs. */
struct origin {
	const struct arguments *arguments;
	const struct sysroot *sysroot;
	int signals;
};

/* Signals are read from a descriptor, so that they do not interrupt a lease being written. */
static int open_signals(int first, int second)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, first);
	sigaddset(&signals, second);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return -errno;
	int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* A configuration that cannot be used leaves the one before. */
static void reload(void *user, struct agent_config *config)
{
	const struct origin *origin = user;
	struct signalfd_siginfo signals[4];
	struct failure failure;
	char text[1024];

	/* However many came, it is read once. */
	while (read(origin->signals, signals, sizeof(signals)) > 0)
		;
	if (agent_config_reread(config, origin->sysroot, origin->arguments->config, &failure) < 0)
		fprintf(stderr, "ballast-agent: not read anew: %s\n", failure_format(&failure, text, sizeof(text)));
	else
		fprintf(stderr, "ballast-agent: the configuration has been read anew\n");
}

static int prepare(const struct arguments *arguments, const struct sysroot *sysroot,
		   struct agent_options *options, struct failure *failure)
{
	char directory[2 * AGENT_CONFIG_PATH_SIZE];
	int error;

	agent_config_init(&options->config);
	error = agent_config_read(&options->config, sysroot, arguments->config, failure);
	if (error < 0)
		return error;
	if (arguments->port)
		snprintf(options->config.port, sizeof(options->config.port), "%s", arguments->port);
	if (strcmp(arguments->sysroot, "/") != 0) {
		int length = snprintf(directory, sizeof(directory), "%s%s", arguments->sysroot,
				      options->config.lease_directory);

		if (length < 0 || (size_t)length >= sizeof(options->config.lease_directory))
			return failure_set(failure, ENAMETOOLONG, arguments->sysroot,
					   "cannot use as root");
		strcpy(options->config.lease_directory, directory);
	}
	signal(SIGPIPE, SIG_IGN);
	options->stop_fd = open_signals(SIGTERM, SIGINT);
	options->reload_fd = open_signals(SIGHUP, SIGHUP);
	error = options->stop_fd < 0 ? options->stop_fd : options->reload_fd;
	return error < 0 ? failure_set(failure, error, "ballast-agent", "cannot read signals") : 0;
}

static int fail(const struct failure *failure)
{
	char text[1024];

	fprintf(stderr, "ballast-agent: %s\n", failure_format(failure, text, sizeof(text)));
	return 1;
}

int main(int argc, char **argv)
{
	struct arguments arguments = {.sysroot = "/", .config = AGENT_CONFIG_FILE};
	struct agent_options options = {.adopt_fd = -1, .stop_fd = -1, .reload_fd = -1};
	struct origin origin = {.arguments = &arguments};
	CLEANUP(sysroot_freep) struct sysroot *sysroot = NULL;
	struct agent *agent = NULL;
	struct failure failure;
	int status = parse_arguments(argc, argv, &arguments);

	if (status >= 0)
		return status;
	setvbuf(stderr, NULL, _IOLBF, 0);
	status = sysroot_new(arguments.sysroot, &sysroot);
	if (status < 0) {
		failure_set(&failure, status, arguments.sysroot, "cannot open");
		return fail(&failure);
	}
	status = oom_score_lower(sysroot);
	if (status < 0)
		fprintf(stderr, "ballast-agent: not protected from the OOM killer: %s\n", strerror(-status));
	origin.sysroot = sysroot;
	options.reload = reload;
	options.user = &origin;
	if (prepare(&arguments, sysroot, &options, &failure) < 0)
		return fail(&failure);
	origin.signals = options.reload_fd;
	if (agent_new(sysroot, &options, &agent, &failure) < 0)
		return fail(&failure);
	while (agent_turn(agent, -1))
		;
	agent_give_back(agent, GIVE_BACK_MS);
	agent_free(agent);
	return 0;
}
