/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ballastd: moves and sheds guest memory on this host.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "config.h"
#include "daemon.h"
#include "model_json.h"

static const char usage[] =
	"Usage: ballastd [OPTION...]\n"
	"Moves and sheds guest memory on this KVM host while the guests run.\n"
	"\n"
	"  -c, --config FILE   read FILE and FILE.d/*.conf (" CONFIG_FILE ", which need not be there)\n"
	"  -s, --socket PATH   serve the API at PATH\n"
	"  -o, --observe       plan everything, change nothing\n"
	"  -t, --test-config   check the configuration and end\n"
	"  -V, --version\n"
	"  -h, --help\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'}, {"socket", required_argument, NULL, 's'},
		{"observe", no_argument, NULL, 'o'},	  {"test-config", no_argument, NULL, 't'},
		{"version", no_argument, NULL, 'V'},	  {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	const char *path = CONFIG_FILE, *socket = NULL;
	bool observe = false, test = false, named = false;
	struct failure failure = {0};
	struct config config;
	char text[768];
	int option, r;

	model_json_end_without_memory();

	while ((option = getopt_long(argc, argv, "c:s:otVh", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			named = true;
			break;
		case 's':
			socket = optarg;
			break;
		case 'o':
			observe = true;
			break;
		case 't':
			test = true;
			break;
		case 'V':
			puts("ballastd " BALLAST_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("Try: ballastd --help\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "ballastd: %s: there are no arguments\nTry: ballastd --help\n", argv[optind]);
		return 2;
	}
	config_init(&config);
	r = config_read(&config, path, named, &failure);
	if (r == 0 && socket)
		snprintf(config.socket, sizeof(config.socket), "%s", socket);
	config.observe = config.observe || observe;
	if (r == 0 && !test)
		r = daemon_run(&config, &failure);
	if (r < 0) {
		fprintf(stderr, "ballastd: %s\n", failure_format(&failure, text, sizeof(text)));
		return 1;
	}
	return 0;
}
