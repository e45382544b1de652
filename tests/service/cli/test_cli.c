/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line against a daemon that answers from a script, one connection a request, on a unix
 * socket.
 */
#include "cli.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "scratch.h"
#include "unit.h"

struct exchange {
	const char *request; /* how "METHOD path\nbody" must read */
	const char *status;  /* "200 OK" */
	const char *headers; /* each with its end of line */
	const char *body;
};

static struct {
	char path[64], url_request[2048];
	int listener;
	pthread_t thread;
	const struct exchange *script;
	size_t count;
	char requests[8][2048];
	size_t served;
	struct cli cli;
	FILE *output;
	int saved_stdout, saved_stderr;
	char text[16384];
} rig;

static void serve_one(int fd, const struct exchange *exchange, char *request)
{
	char head[8192], method[16], path[1024], *body = NULL;
	size_t used = 0, length = 0;

	while (used < sizeof(head) - 1) {
		ssize_t count = read(fd, head + used, sizeof(head) - 1 - used);

		if (count <= 0)
			break;
		used += (size_t)count;
		head[used] = '\0';
		body = strstr(head, "\r\n\r\n");
		if (!body)
			continue;
		const char *given = strcasestr(head, "content-length:");

		length = given ? strtoul(given + 15, NULL, 10) : 0;
		if (used >= (size_t)(body - head) + 4 + length)
			break;
	}
	assert(body && sscanf(head, "%15s %1023s", method, path) == 2);
	snprintf(request, sizeof(rig.requests[0]), "%s %s%s%.*s", method, path, length ? "\n" : "",
		 (int)length, body + 4);
	dprintf(fd, "HTTP/1.1 %s\r\n%sContent-Type: application/json\r\nConnection: close\r\n",
		exchange->status, exchange->headers ? exchange->headers : "");
	if (exchange->body)
		dprintf(fd, "Content-Length: %zu\r\n\r\n%s", strlen(exchange->body),
			exchange->body);
	else
		dprintf(fd, "Content-Length: 0\r\n\r\n");
}

static void *serve(void *unused)
{
	for (size_t i = 0; i < rig.count; i++) {
		int fd = accept4(rig.listener, NULL, NULL, SOCK_CLOEXEC);

		assert(fd >= 0);
		serve_one(fd, &rig.script[i], rig.requests[i]);
		close(fd);
		rig.served++;
	}
	return NULL;
}

static void start(const struct exchange *script, size_t count)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memset(&rig, 0, sizeof(rig));
	snprintf(rig.path, sizeof(rig.path), "%s/daemon", scratch_folder());
	strcpy(address.sun_path, rig.path);
	unlink(rig.path);
	rig.script = script;
	rig.count = count;
	rig.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(bind(rig.listener, (struct sockaddr *)&address, sizeof(address)) == 0);
	assert(listen(rig.listener, 4) == 0);
	assert(pthread_create(&rig.thread, NULL, serve, NULL) == 0);
	assert(api_client_new(rig.path, NULL, &rig.cli.client) == 0);
	rig.cli.command_line = "ballastctl typed";
	/* What is printed goes to a file, both streams in one. */
	fflush(stdout);
	rig.output = tmpfile();
	assert(rig.output);
	rig.saved_stdout = dup(STDOUT_FILENO);
	rig.saved_stderr = dup(STDERR_FILENO);
	dup2(fileno(rig.output), STDOUT_FILENO);
	dup2(fileno(rig.output), STDERR_FILENO);
}

/* Everything was asked for as the script says, and printed as expected (NULL: not looked at). */
static void finish(const char *expected)
{
	fflush(stdout);
	dup2(rig.saved_stdout, STDOUT_FILENO);
	dup2(rig.saved_stderr, STDERR_FILENO);
	close(rig.saved_stdout);
	close(rig.saved_stderr);
	rewind(rig.output);
	rig.text[fread(rig.text, 1, sizeof(rig.text) - 1, rig.output)] = '\0';
	fclose(rig.output);
	pthread_join(rig.thread, NULL);
	CHECK_INT(rig.served, rig.count);
	for (size_t i = 0; i < rig.served; i++)
		CHECK_STR(rig.requests[i], rig.script[i].request);
	if (expected)
		CHECK_STR(rig.text, expected);
	api_client_free(rig.cli.client);
	close(rig.listener);
	unlink(rig.path);
	cli_interrupted = 0;
}

static int command(int (*run)(struct cli *cli), int argc, char **argv)
{
	int result;

	rig.cli.argc = argc;
	rig.cli.argv = argv;
	result = run(&rig.cli);
	fflush(stdout);
	return result;
}

#define ARGUMENTS(...) ((char **)(uintptr_t)(const char *[]){__VA_ARGS__, NULL})

static void test_nodes_text(void)
{
	char text[16];
	json_t *nodes = cli_parse_nodes("0-2,5");

	CHECK_STR(cli_nodes(nodes, text, sizeof(text)), "0,1,2,5");
	CHECK_STR(cli_nodes(nodes, text, 5), "0,1");
	json_decref(nodes);
	CHECK_STR(cli_nodes(NULL, text, sizeof(text)), "-");
	static const char *const wrong[] = {"",	  ",",	"1,", "2-1",	"a",
					    "1-", "-1", "1 ", "0-4000", "99999999999999999999"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_TRUE(cli_parse_nodes(wrong[i]) == NULL);
}

static void test_unreachable(void)
{
	struct api_client *client;
	struct api_reply reply;
	struct failure failure = {0};

	assert(api_client_new("/nonexistent/ballast.sock", NULL, &client) == 0);
	CHECK_INT(api_client_request(client, "GET", "/v1/host", NULL, 0, NULL, &reply, &failure),
		  -ENOTCONN);
	CHECK_STR(failure.object, "/nonexistent/ballast.sock");
	CHECK_TRUE(failure.way_out[0]);
	api_reply_done(&reply);
	api_client_free(client);
}

/* A proxy of the environment is not for a unix socket. */
static void test_request_and_proxy(void)
{
	static const struct exchange script[] = {
		{"PATCH /v1/x?a=1\n{\"k\":1}", "202 Accepted", "location:  /v1/operations/op-1\r\n",
		 "{\"id\":\"op-1\"}"},
		{"POST /v1/y\n{}", "204 No Content", NULL, NULL},
		{"GET /v1/z", "200 OK", NULL, "no json"},
	};
	struct api_reply reply;
	struct failure failure = {0};
	json_t *body = json_pack("{s:i}", "k", 1);

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	start(script, 3);
	CHECK_INT(api_client_request(rig.cli.client, "PATCH", "/v1/x?a=1", body, 0, NULL, &reply,
				     &failure),
		  0);
	CHECK_INT(reply.status, 202);
	CHECK_STR(reply.location, "/v1/operations/op-1");
	CHECK_STR(cli_text(reply.body, "id"), "op-1");
	api_reply_done(&reply);
	CHECK_INT(api_client_request(rig.cli.client, "POST", "/v1/y", NULL, 0, NULL, &reply,
				     &failure),
		  0);
	CHECK_INT(reply.status, 204);
	CHECK_TRUE(reply.body == NULL && !reply.location[0]);
	CHECK_INT(
		api_client_request(rig.cli.client, "GET", "/v1/z", NULL, 0, NULL, &reply, &failure),
		0);
	CHECK_INT(reply.status, 200);
	CHECK_TRUE(reply.body == NULL);
	json_decref(body);
	finish("");
	unsetenv("http_proxy");
}

static void test_plan(void)
{
	static const struct exchange script[] = {
		{"POST /v1/drains?dry_run=true\n"
		 "{\"target\":{\"dimm\":\"acpi-MP00\"},\"finish\":\"eject\",\"reason\":\"asked for "
		 "with ballastctl\"}",
		 "200 OK", NULL,
		 "{\"digest\":\"7f2c81aa\",\"steps\":["
		 "{\"n\":1,\"kind\":\"cordon\",\"target\":\"node 3\",\"undoable\":true,\"estimate_ms\":449},"
		 "{\"n\":2,\"kind\":\"move\",\"target\":\"db1  512 MiB  3 -> "
		 "1\",\"undoable\":true,\"stall_ms\":3,\"estimate_ms\":7451},"
		 "{\"n\":3,\"kind\":\"eject\",\"target\":\"\",\"undoable\":false,\"estimate_ms\":null}],"
		 "\"needs\":[{\"node\":1,\"bytes\":536870912}],\"estimate_s\":9,\"estimate_"
		 "measured\":false,\"reboot_s\":180,\"reboot_configured\":true,\"rates\":[{\"kind\":\"move\",\"measured\":"
		 "true},{\"kind\":\"step\",\"measured\":false},{\"kind\":\"eject\",\"measured\":false}],"
		 "\"warnings\":[{\"object\":\"db1\",\"detail\":\"stored XML still says node 3\"},"
		 "{\"object\":\"db1\",\"bytes\":8388608,\"detail\":\"swapped out\"}],"
		 "\"blockers\":[],\"consents_needed\":[]}"},
		{"POST /v1/drains?dry_run=true\n"
		 "{\"target\":{\"node\":3},\"finish\":\"offline\",\"reason\":\"asked for with "
		 "ballastctl\"}",
		 "200 OK", NULL,
		 "{\"digest\":\"11112222\",\"steps\":[],\"needs\":[],\"estimate_s\":null,"
		 "\"blockers\":[{\"code\":\"stored_xml\",\"object\":\"guest "
		 "db1\",\"bytes\":0,\"detail\":\"says node 3\","
		 "\"way_out\":\"\",\"consent\":\"stored_xml\"}],\"consents_needed\":[\"stored_"
		 "xml\",\"remote_memory\"]}"},
	};

	start(script, 2);
	rig.cli.dry_run = rig.cli.eject = true;
	rig.cli.dimm = "acpi-MP00";
	CHECK_INT(command(cli_drain, 0, NULL), CLI_EXIT_DONE);
	rig.cli.eject = false;
	rig.cli.dimm = NULL;
	rig.cli.node = "3";
	CHECK_INT(command(cli_drain, 0, NULL), CLI_EXIT_REFUSED);
	finish("Plan 7f2c  drain dimm acpi-MP00   finish: eject\n"
	       "  1  cordon  node 3                0.4 s  undoable\n"
	       "  2  move    db1  512 MiB  3 -> 1  7.5 s  undoable, stall up to 3 ms\n"
	       "  3  eject                                NOT undoable without plugging it again\n"
	       "Needs 512 MiB on node 1; about 9 s (a reboot of this host: 180 s, as configured); assumed, not measured here: step, "
	       "eject\n"
	       "Warning  db1: stored XML still says node 3\n"
	       "Warning  db1  8 MiB: swapped out\n"
	       "0 blockers, 0 consents. Nothing changed. Run: ballastctl typed --expect-plan 7f2c\n"
	       "Plan 1111  drain node 3   finish: offline\n"
	       "time not known\n"
	       "Blockers:\n"
	       "  -  stored_xml  guest db1: says node 3  allow it with --allow stored_xml\n"
	       "1 blockers, 2 consents. Nothing changed. Missing: --allow "
	       "stored_xml,remote_memory\n");
}

static void test_resize_followed(void)
{
	static const struct exchange script[] = {
		{"PATCH "
		 "/v1/guests/g1/"
		 "memory?expect_plan=7f2c\n{\"target_bytes\":671088640,\"timeout_s\":300}",
		 "202 Accepted", NULL, "{\"id\":\"op-9\",\"state\":\"pending\"}"},
		{"GET /v1/operations/op-9?wait=30", "200 OK", NULL,
		 "{\"id\":\"op-9\",\"state\":\"running\"}"},
		{"GET /v1/operations/op-9?wait=30", "200 OK", NULL,
		 "{\"id\":\"op-9\",\"kind\":\"resize\",\"target\":\"guest "
		 "g1\",\"state\":\"incomplete\","
		 "\"deadline_exceeded\":true,"
		 "\"result\":{\"start_bytes\":1073741824,\"wanted_bytes\":671088640,\"reached_"
		 "bytes\":939524096,\"forecast_bytes\":671088640,"
		 "\"seconds\":60.5,\"climbed\":[{\"rung\":\"free huge "
		 "pages\",\"gained_bytes\":536870912},"
		 "{\"rung\":\"kick\",\"gained_bytes\":0}]},"
		 "\"remainder\":[{\"code\":\"pinned\",\"object\":\"block "
		 "40\",\"bytes\":67108864,\"detail\":\"\","
		 "\"way_out\":\"give the application a pre-evacuate hook\",\"consent\":null}]}"},
	};

	start(script, 3);
	rig.cli.expect_plan = "7f2c";
	rig.cli.timeout = "5m";
	CHECK_INT(command(cli_resize, 2, ARGUMENTS("g1", "640MiB")), CLI_EXIT_DEADLINE);
	finish("g1: wanted 640 MiB, now 896 MiB; 256 MiB stayed (deadline)  (60.5 s)\n"
	       "  64 MiB  pinned  block 40  give the application a pre-evacuate hook\n"
	       "Climbed: free huge pages +512 MiB, kick +0 B\n"
	       "Forecast was 640 MiB: 256 MiB less left than promised\n"
	       "The request now stands at 896 MiB: nothing more will leave by itself. Again: "
	       "ballastctl resize g1 "
	       "640MiB\n");
}

/* What the owner wrote is not written over by what was read of it. */
static void test_policy_that_cannot_be_read(void)
{
	static const struct exchange script[] = {
		{"GET /v1/guests/g1/policy", "200 OK", NULL, "{\"minimum_bytes\":null,\"priority\":0,\"fault\":\"no size\"}"},
	};

	start(script, 1);
	CHECK_INT(command(cli_policy, 1, ARGUMENTS("g1")), CLI_EXIT_DONE);
	finish("cannot be read, so the guest is neither resized nor moved: no size\n");
	start(script, 1);
	rig.cli.priority = "5";
	CHECK_INT(command(cli_policy, 1, ARGUMENTS("g1")), CLI_EXIT_REFUSED);
	finish("ballastctl: the policy of g1 cannot be read: no size. It is left as it is: put it right or take it away (virsh "
	       "metadata), then again\n");
}

static void check_what_stands(const char *result, const char *remainder, const char *expected)
{
	char body[512], lines[512];
	const struct exchange script[] = {
		{"PATCH /v1/guests/g1/memory\n{\"target_bytes\":671088640}", "202 Accepted", NULL,
		 "{\"id\":\"op-9\",\"state\":\"pending\"}"},
		{"GET /v1/operations/op-9?wait=30", "200 OK", NULL, body},
	};

	snprintf(body, sizeof(body),
		 "{\"id\":\"op-9\",\"kind\":\"resize\",\"target\":\"guest g1\",\"state\":\"incomplete\",\"result\":{"
		 "\"start_bytes\":1073741824,\"wanted_bytes\":671088640,\"reached_bytes\":939524096,\"seconds\":1.0,%s"
		 "\"climbed\":[]},\"remainder\":[%s]}",
		 result, remainder);
	snprintf(lines, sizeof(lines), "g1: wanted 640 MiB, now 896 MiB; 256 MiB stayed  (1.0 s)\n%s", expected);
	start(script, 2);
	CHECK_INT(command(cli_resize, 2, ARGUMENTS("g1", "640MiB")), CLI_EXIT_INCOMPLETE);
	finish(lines);
}

static void test_what_stands_after_a_shrink(void)
{
	check_what_stands("\"requested_bytes\":939524096,", "",
			  "The request now stands at 896 MiB: nothing more will leave by itself. Again: ballastctl resize g1 "
			  "640MiB\n");
	/* With --on-timeout continue, or where libvirt was asked by somebody else, it stands lower. */
	check_what_stands("\"requested_bytes\":671088640,", "",
			  "The request stands at 640 MiB: more leaves when the guest's driver can take it. Again: ballastctl resize "
			  "g1 640MiB\n");
	/* Nobody is there to be asked. */
	check_what_stands("", "{\"code\":\"guest_gone\",\"object\":\"guest g1\",\"bytes\":0,\"detail\":\"\",\"way_out\":\"look there\","
			      "\"consent\":null}",
			  "  -  guest_gone  guest g1  look there\n");
}

/* Sizes of cells instead of one of all, and ranges beside either. */
static void test_resize_of_parts(void)
{
	static const struct exchange script[] = {
		{"PATCH /v1/guests/g1/memory\n{\"cells\":[{\"cell\":1,\"target_bytes\":536870912},"
		 "{\"cell\":0,\"target_bytes\":1073741824}]}",
		 "200 OK", NULL, "{}"},
		{"PATCH /v1/guests/g1/memory\n{\"target_bytes\":671088640,\"ranges\":[{\"start\":4294967296,"
		 "\"end\":4429185024},{\"start\":16,\"end\":32}]}",
		 "200 OK", NULL, "{}"},
		{"PATCH /v1/guests/g1/memory\n{\"target_bytes\":671088640,\"budget\":{\"work_percent\":20}}", "200 OK", NULL,
		 "{}"},
	};
	static const char *const no_shares[] = {"", "%", "20", "0%", "101%", "2000%", "1MiB", "-1%"};

	start(script, 3);
	rig.cli.cell[0] = "1=512MiB";
	rig.cli.cell[1] = "0=1GiB";
	rig.cli.cell_count = 2;
	CHECK_INT(command(cli_resize, 1, ARGUMENTS("g1")), CLI_EXIT_DONE);
	CHECK_INT(command(cli_resize, 2, ARGUMENTS("g1", "1GiB")), CLI_EXIT_USAGE);
	rig.cli.cell[1] = "0:1GiB";
	CHECK_INT(command(cli_resize, 1, ARGUMENTS("g1")), CLI_EXIT_USAGE);
	rig.cli.cell[1] = "0=all";
	CHECK_INT(command(cli_resize, 1, ARGUMENTS("g1")), CLI_EXIT_USAGE);
	rig.cli.cell_count = 0;
	rig.cli.ranges[0] = "0x100000000-0x108000000";
	rig.cli.ranges[1] = "10-20";
	rig.cli.range_count = 2;
	CHECK_INT(command(cli_resize, 2, ARGUMENTS("g1", "640MiB")), CLI_EXIT_DONE);
	rig.cli.ranges[1] = "20-10";
	CHECK_INT(command(cli_resize, 2, ARGUMENTS("g1", "640MiB")), CLI_EXIT_USAGE);
	rig.cli.range_count = 0;
	rig.cli.budget = "20%";
	CHECK_INT(command(cli_resize, 2, ARGUMENTS("g1", "640MiB")), CLI_EXIT_DONE);
	for (size_t i = 0; i < ARRAY_SIZE(no_shares); i++) {
		rig.cli.budget = no_shares[i];
		CHECK_INT(command(cli_resize, 2, ARGUMENTS("g1", "640MiB")), CLI_EXIT_USAGE);
	}
	finish(NULL);
}

static void test_attached_agent(void)
{
	static const struct exchange ready[] = {
		{"POST /v1/guests/g1/agent\n{}", "200 OK", NULL, "{\"agent\":{\"state\":\"ready\"}}"},
	};
	static const struct exchange busy[] = {
		{"POST /v1/guests/g1/agent\n{}", "200 OK", NULL, "{\"agent\":{\"state\":\"disconnected\"}}"},
		{"GET /v1/guests/g1", "200 OK", NULL, "{\"agent\":{\"state\":\"channel_busy\"}}"},
	};
	static const struct exchange refused[] = {
		{"POST /v1/guests/g1/agent\n{}", "422 Unprocessable", NULL,
		 "{\"code\":\"needs_restart\",\"title\":\"The guest must be restarted for it\",\"status\":422,"
		 "\"detail\":\"no controller\"}"},
	};

	start(ready, 1);
	CHECK_INT(command(cli_attach_agent, 1, ARGUMENTS("g1")), CLI_EXIT_DONE);
	finish("g1 has the agent's channel, and its agent has answered\n"
	       "A channel that its stored description does not have is gone with its next start.\n");
	start(busy, 2);
	CHECK_INT(command(cli_attach_agent, 1, ARGUMENTS("g1")), CLI_EXIT_DONE);
	finish("g1 has the agent's channel; nobody has answered there yet (channel_busy): start ballast-agent in the guest\n"
	       "A channel that its stored description does not have is gone with its next start.\n");
	start(refused, 1);
	CHECK_TRUE(command(cli_attach_agent, 1, ARGUMENTS("g1")) != CLI_EXIT_DONE);
	finish(NULL);
}

static void test_hint(void)
{
	static const struct exchange alert[] = {
		{"POST /v1/hints\n{\"risk\":\"high\",\"physical_address\":8589934656}", "200 OK", NULL,
		 "{\"hint\":{\"risk\":\"high\",\"dimm\":\"acpi-MP00\",\"count\":2,\"physical_address\":8589934656,"
		 "\"start\":8589934592,\"end\":8724152320},\"wanted\":\"alert\",\"action\":\"alert\",\"operation\":null,"
		 "\"refusal\":null}"},
	};
	static const struct exchange begun[] = {
		{"POST /v1/hints\n{\"risk\":\"uncorrected\",\"dimm\":\"acpi-MP00\"}", "202 Accepted", NULL,
		 "{\"hint\":{\"risk\":\"uncorrected\",\"dimm\":\"acpi-MP00\",\"count\":1,\"physical_address\":null},"
		 "\"wanted\":\"drain\",\"action\":\"drain\",\"operation\":{\"id\":\"op-1\"},\"refusal\":null}"},
	};
	static const struct exchange refused[] = {
		{"POST /v1/hints\n{\"risk\":\"low\",\"dimm\":\"acpi-MP00\"}", "200 OK", NULL,
		 "{\"hint\":{\"risk\":\"low\",\"dimm\":\"acpi-MP00\",\"count\":1},\"wanted\":\"drain\",\"action\":\"alert\","
		 "\"operation\":null,\"refusal\":{\"code\":\"no_room\",\"detail\":\"there is no room\"}}"},
	};
	static const struct exchange unknown[] = {
		{"POST /v1/hints\n{\"risk\":\"low\",\"dimm\":\"x\"}", "404 Not Found", NULL,
		 "{\"code\":\"unknown_dimm\",\"status\":404,\"detail\":\"there is no such DIMM\"}"},
	};

	start(alert, 1);
	rig.cli.address = "0x200000040";
	rig.cli.risk = "high";
	CHECK_INT(command(cli_hint, 0, NULL), CLI_EXIT_DONE);
	finish("dimm acpi-MP00, block 0x200000000-0x208000000: risk high, told 2 times; an alert alone\n");
	start(begun, 1);
	rig.cli.dimm = "acpi-MP00";
	rig.cli.risk = "uncorrected";
	CHECK_INT(command(cli_hint, 0, NULL), CLI_EXIT_DONE);
	finish("dimm acpi-MP00: risk uncorrected, told once; drain, operation op-1\n");
	start(refused, 1);
	rig.cli.dimm = "acpi-MP00";
	rig.cli.risk = "low";
	CHECK_INT(command(cli_hint, 0, NULL), CLI_EXIT_REFUSED);
	finish("dimm acpi-MP00: risk low, told once; an alert alone\nballastctl: drain was not begun: there is no room\n");
	start(unknown, 1);
	rig.cli.dimm = "x";
	rig.cli.risk = "low";
	CHECK_INT(command(cli_hint, 0, NULL), CLI_EXIT_FAILED);
	finish("ballastctl: there is no such DIMM\n");
	start(NULL, 0);
	rig.cli.risk = "low";
	CHECK_INT(command(cli_hint, 0, NULL), CLI_EXIT_USAGE);
	rig.cli.address = "40x";
	CHECK_INT(command(cli_hint, 0, NULL), CLI_EXIT_USAGE);
	rig.cli.dimm = "x";
	CHECK_INT(command(cli_hint, 0, NULL), CLI_EXIT_USAGE);
	rig.cli.risk = rig.cli.address = NULL;
	CHECK_INT(command(cli_hint, 0, NULL), CLI_EXIT_USAGE);
	finish(NULL);
}

static void test_word_of_a_guest(void)
{
	static const struct exchange script[] = {
		{"GET /v1/guests/g1", "200 OK", NULL,
		 "{\"name\":\"g1\",\"state\":\"running\",\"memory\":{\"free_page_reporting\":false},\"placement\":"
		 "{\"managed_by\":\"libvirt\"},\"agent\":{\"state\":\"ready\",\"word\":{\"veto\":true,"
		 "\"floor_bytes\":1073741824,\"limit_bytes\":268435456,\"pressure_percent\":12,\"udev_onlines\":true,"
		 "\"udev_rule\":\"/etc/udev/rules.d/9.rules\"}}}"},
	};

	start(script, 1);
	CHECK_INT(command(cli_guest, 1, ARGUMENTS("g1")), CLI_EXIT_DONE);
	finish("GUEST  STATE    NOW  WANTED  MAXIMUM  RESIDENT  POLICY  AGENT\n"
	       "g1     running  0 B     0 B      0 B  -         -       ready\n"
	       "  managed by libvirt\n"
	       "  free page reporting is off: what is free in it stays with it (<memballoon freePageReporting='on'>)\n"
	       "  does not want to shrink now\n"
	       "  wants to keep 1 GiB\n"
	       "  lets 256 MiB go in one shrink\n"
	       "  some of its work waits for memory 12 % of the time\n"
	       "  a udev rule in it onlines memory, beside its kernel: /etc/udev/rules.d/9.rules\n");
}

/* Somebody else's size stands then, and not what was reached. */
static void test_superseded_resize(void)
{
	static const struct exchange script[] = {
		{"GET /v1/operations/op?wait=30", "200 OK", NULL,
		 "{\"kind\":\"resize\",\"target\":\"guest g1\",\"state\":\"incomplete\",\"result\":{"
		 "\"start_bytes\":1073741824,\"wanted_bytes\":671088640,\"reached_bytes\":939524096,\"seconds\":3.0},"
		 "\"remainder\":[{\"code\":\"superseded\",\"object\":\"guest g1\",\"bytes\":268435456,"
		 "\"detail\":\"\",\"way_out\":\"ask again\"}]}"},
	};

	start(script, 1);
	CHECK_INT(cli_follow(&rig.cli, "op"), CLI_EXIT_INCOMPLETE);
	finish("g1: wanted 640 MiB, now 896 MiB; 256 MiB stayed  (3.0 s)\n"
	       "  256 MiB  superseded  guest g1  ask again\n");
}

static void test_end_of_a_move(void)
{
	static const struct exchange told = {
		"GET /v1/operations/op?wait=30", "200 OK", NULL,
		"{\"kind\":\"move\",\"target\":\"db1\",\"state\":\"succeeded\",\"result\":{"
		"\"moved_bytes\":536870912,\"left_bytes\":0,\"longest_call_us\":14040,"
		"\"guest\":{\"longest_pause_us\":3240,\"p99_us\":40,\"samples\":100},\"seconds\":4.06}}"};
	static const struct exchange untold = {
		"GET /v1/operations/op?wait=30", "200 OK", NULL,
		"{\"kind\":\"move\",\"target\":\"db1\",\"state\":\"succeeded\",\"result\":{"
		"\"moved_bytes\":536870912,\"left_bytes\":0,\"longest_call_us\":14040,\"seconds\":4.06}}"};

	start(&told, 1);
	CHECK_INT(cli_follow(&rig.cli, "op"), CLI_EXIT_DONE);
	finish("move db1: succeeded, 512 MiB moved, 0 B left, longest kernel call 14.0 ms, the guest's "
	       "longest pause 3.2 ms  (4.1 s)\n");
	start(&untold, 1);
	CHECK_INT(cli_follow(&rig.cli, "op"), CLI_EXIT_DONE);
	finish("move db1: succeeded, 512 MiB moved, 0 B left, longest kernel call 14.0 ms  (4.1 s)\n");
}

static void test_announced_drain(void)
{
	char at[32], request[256];
	struct exchange script = {request, "202 Accepted", NULL, "{\"operation\":{\"id\":\"op-1\"}}"};
	time_t begin = time(NULL) + 30 * 86400;
	struct tm tm;

	gmtime_r(&begin, &tm);
	strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
	snprintf(request, sizeof(request),
		 "POST /v1/drains\n{\"target\":{\"node\":3},\"finish\":\"offline\",\"reason\":\"asked for with "
		 "ballastctl\",\"not_before\":\"%s\"}",
		 at);
	start(&script, 1);
	rig.cli.detach = true;
	rig.cli.node = "3";
	rig.cli.not_before = at;
	CHECK_INT(command(cli_drain, 0, NULL), CLI_EXIT_DONE);
	finish("op-1\n");
}

static void test_end_of_a_drain(void)
{
	static const struct exchange told = {
		"GET /v1/operations/op?wait=30", "200 OK", NULL,
		"{\"kind\":\"drain\",\"target\":\"node 3\",\"state\":\"succeeded\",\"result\":{"
		"\"emptied_bytes\":536870912,\"blocks_offline\":8,\"ejected\":true,\"longest_call_us\":14040,"
		"\"guest\":{\"longest_pause_us\":3240,\"p99_us\":40,\"samples\":100},\"seconds\":4.06}}"};
	static const struct exchange shrunk = {
		"GET /v1/operations/op?wait=30", "200 OK", NULL,
		"{\"kind\":\"drain\",\"target\":\"node 3\",\"state\":\"succeeded\",\"result\":{"
		"\"emptied_bytes\":536870912,\"shrunk_bytes\":268435456,\"blocks_offline\":8,\"ejected\":false}}"};

	start(&told, 1);
	CHECK_INT(cli_follow(&rig.cli, "op"), CLI_EXIT_DONE);
	finish("drain node 3: succeeded, 512 MiB moved out, 8 blocks offline, ejected, a guest's longest pause "
	       "3.2 ms  (4.1 s)\n");
	start(&shrunk, 1);
	CHECK_INT(cli_follow(&rig.cli, "op"), CLI_EXIT_DONE);
	finish("drain node 3: succeeded, 256 MiB unplugged from guests, 512 MiB moved out, 8 blocks offline\n");
}

/* Ends of operations by which scripts go. */
static void test_exits(void)
{
	static const struct {
		const char *operation;
		int result;
	} ends[] = {
		{"{\"kind\":\"move\",\"state\":\"succeeded\"}", CLI_EXIT_DONE},
		{"{\"kind\":\"move\",\"state\":\"failed\"}", CLI_EXIT_FAILED},
		{"{\"kind\":\"move\",\"state\":\"failed\",\"deadline_exceeded\":true}",
		 CLI_EXIT_DEADLINE},
		{"{\"kind\":\"move\",\"state\":\"cancelled\"}", CLI_EXIT_CANCELLED},
		{"{\"kind\":\"move\",\"state\":\"incomplete\"}", CLI_EXIT_INCOMPLETE},
	};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct exchange script = {"GET /v1/operations/op?wait=30", "200 OK", NULL,
					  ends[i].operation};

		start(&script, 1);
		CHECK_INT(cli_follow(&rig.cli, "op"), ends[i].result);
		finish(NULL);
	}
	static const struct {
		const char *status;
		int result;
	} problems[] = {
		{"400 Bad Request", CLI_EXIT_FAILED},
		{"404 Not Found", CLI_EXIT_FAILED},
		{"409 Conflict", CLI_EXIT_REFUSED},
		{"412 Precondition Failed", CLI_EXIT_PLAN_CHANGED},
		{"422 Unprocessable", CLI_EXIT_REFUSED},
		{"503 Service Unavailable", CLI_EXIT_FAILED},
		{"504 Gateway Timeout", CLI_EXIT_DEADLINE},
	};

	for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++) {
		struct exchange script = {
			"PUT /v1/x", problems[i].status, NULL,
			"{\"code\":\"c\",\"detail\":\"this is why\",\"blockers\":[]}"};

		script.request = "DELETE /v1/drains/dr-1";
		start(&script, 1);
		CHECK_INT(command(cli_undrain, 1, ARGUMENTS("dr-1")), problems[i].result);
		finish("ballastctl: this is why\n");
	}
}

/* What it has no body for. */
static void test_time_of_an_undrain(void)
{
	static const struct exchange script[] = {
		{"DELETE /v1/drains/dr-1?timeout_s=600", "200 OK", NULL, "{}"},
		{"DELETE /v1/drains/dr-1?timeout_s=600&expect_plan=7f2c", "200 OK", NULL, "{}"},
	};

	start(script, 2);
	rig.cli.timeout = "10m";
	CHECK_INT(command(cli_undrain, 1, ARGUMENTS("dr-1")), CLI_EXIT_DONE);
	rig.cli.expect_plan = "7f2c";
	CHECK_INT(command(cli_undrain, 1, ARGUMENTS("dr-1")), CLI_EXIT_DONE);
	finish("undrain dr-1: nothing to do, it is so already\nundrain dr-1: nothing to do, it is so already\n");
}

/* The plan tells what stays, with what can be done about it; and what is released has nothing left, however it came to that. */
static void test_undrain_for_good(void)
{
	static const struct exchange script[] = {
		{"DELETE /v1/drains/dr-1?keep=true&dry_run=true", "200 OK", NULL,
		 "{\"digest\":\"7f2c4e1100000000\",\"steps\":[{\"n\":1,\"kind\":\"uncordon\",\"target\":\"dimm d1\"}],\"warnings\":["
		 "{\"code\":\"kept\",\"object\":\"guest db1\",\"bytes\":1048576,\"detail\":\"stays on node 1\",\"way_out\":\"move it\"},"
		 "{\"code\":\"hook_failed\",\"object\":\"hooks\",\"bytes\":0,\"detail\":\"one failed\",\"way_out\":\"look\"}]}"},
		{"DELETE /v1/drains/dr-1?timeout_s=60&keep=true", "200 OK", NULL, "{\"id\":\"dr-1\",\"state\":\"released\"}"},
	};
	const char *text = rig.text;

	start(script, 2);
	rig.cli.command_line = "ballastctl undrain dr-1 --keep";
	rig.cli.keep = true;
	rig.cli.dry_run = true;
	CHECK_INT(command(cli_undrain, 1, ARGUMENTS("dr-1")), CLI_EXIT_DONE);
	rig.cli.dry_run = false;
	rig.cli.timeout = "60";
	CHECK_INT(command(cli_undrain, 1, ARGUMENTS("dr-1")), CLI_EXIT_DONE);
	finish(NULL);
	CHECK_TRUE(strstr(text, "Warning  hooks: one failed\nWill stay as it is:\n") != NULL);
	CHECK_TRUE(strstr(text, "1 MiB  kept") != NULL && strstr(text, "guest db1: stays on node 1") != NULL);
	CHECK_TRUE(strstr(text, "move it\n") != NULL && !strstr(text, "Warning  guest"));
	CHECK_TRUE(strstr(text, "the drain is released, and nothing of it is left to be put back\n") != NULL);
}

static void test_already_and_detach(void)
{
	static const struct exchange script[] = {
		{"PATCH /v1/guests/g1/placement\n{\"nodes\":[2]}", "200 OK", NULL, "{}"},
		{"PATCH /v1/guests/g1/placement\n{\"map\":{\"0\":1,\"1\":0}}", "202 Accepted", NULL,
		 "{\"operation\":{\"id\":\"op-3\"}}"},
	};

	start(script, 2);
	rig.cli.to = "2";
	CHECK_INT(command(cli_move, 1, ARGUMENTS("g1")), CLI_EXIT_DONE);
	rig.cli.to = NULL;
	rig.cli.map = "0:1,1:0";
	rig.cli.detach = true;
	CHECK_INT(command(cli_move, 1, ARGUMENTS("g1")), CLI_EXIT_DONE);
	finish("move g1: nothing to do, it is so already\nop-3\n");
}

/* How a move goes about it, as it is typed and as the API has it. */
static void test_move_manner(void)
{
	static const struct exchange script[] = {
		{"PATCH /v1/guests/g1/placement\n"
		 "{\"near_cpus\":true,\"lazy\":true,\"order\":\"cold_first\",\"budget\":{\"bytes_per_s\":"
		 "209715200,\"stall_us\":10000},\"allow\":[\"shrink_guests\"]}",
		 "202 Accepted", NULL, "{\"operation\":{\"id\":\"op-1\"}}"},
		{"PATCH /v1/guests/g1/placement\n"
		 "{\"nodes\":[2],\"cpus\":true,\"persist\":true,\"order\":\"hot_first\",\"budget\":{"
		 "\"stall_us\":500}}",
		 "202 Accepted", NULL, "{\"operation\":{\"id\":\"op-2\"}}"},
		{"PATCH /v1/guests/g1/placement\n"
		 "{\"nodes\":[2],\"order\":\"any\",\"budget\":{\"stall_us\":2000000}}",
		 "202 Accepted", NULL, "{\"operation\":{\"id\":\"op-3\"}}"},
	};
	static const char *const bad[] = {"",	  "ms",	    "0ms",  "-5ms", "10 ms", "1.5ms",
					  "10min", "4295s", "soon", "ns"};

	start(script, 3);
	rig.cli.detach = rig.cli.near_cpus = rig.cli.lazy = true;
	rig.cli.order = "cold-first";
	rig.cli.budget = "200MiB";
	rig.cli.stall_budget = "10ms";
	rig.cli.allow = "shrink_guests";
	CHECK_INT(command(cli_move, 1, ARGUMENTS("g1")), CLI_EXIT_DONE);
	rig.cli.near_cpus = rig.cli.lazy = false;
	rig.cli.allow = rig.cli.budget = NULL;
	rig.cli.to = "2";
	rig.cli.cpus = rig.cli.persist = true;
	rig.cli.order = "hot-first";
	rig.cli.stall_budget = "500us";
	CHECK_INT(command(cli_move, 1, ARGUMENTS("g1")), CLI_EXIT_DONE);
	rig.cli.cpus = rig.cli.persist = false;
	rig.cli.order = "any";
	rig.cli.stall_budget = "2s";
	CHECK_INT(command(cli_move, 1, ARGUMENTS("g1")), CLI_EXIT_DONE);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		rig.cli.stall_budget = bad[i];
		CHECK_INT(command(cli_move, 1, ARGUMENTS("g1")), CLI_EXIT_USAGE);
	}
	rig.cli.stall_budget = NULL;
	rig.cli.order = "warm-first";
	CHECK_INT(command(cli_move, 1, ARGUMENTS("g1")), CLI_EXIT_USAGE);
	finish(NULL);
}

static void test_interrupted(void)
{
	static const struct exchange script[] = {{"GET /v1/operations/op?wait=30", "200 OK", NULL,
						  "{\"id\":\"op\",\"state\":\"running\"}"}};

	json_t *body = NULL;

	start(script, 1);
	CHECK_INT(cli_get(&rig.cli, "/v1/operations/op?wait=30", &body), 0);
	json_decref(body);
	cli_interrupted = 1;
	/* No request is made any more: curl's own check stops it. */
	CHECK_INT(cli_get(&rig.cli, "/v1/host", &body), CLI_EXIT_CANCELLED);
	finish("");
}

/* A guest's name may hold what a path may not. */
static void test_names_in_paths(void)
{
	static const struct exchange script[] = {
		{"PATCH /v1/guests/my%20guest%3Fa%25/memory\n{\"target_bytes\":1024}", "200 OK",
		 NULL, "{}"},
		{"GET /v1/guests/my%20guest", "404 Not Found", NULL,
		 "{\"detail\":\"there is none\"}"},
	};

	start(script, 2);
	CHECK_INT(command(cli_resize, 2, ARGUMENTS("my guest?a%", "1KiB")), CLI_EXIT_DONE);
	CHECK_INT(command(cli_guest, 1, ARGUMENTS("my guest")), CLI_EXIT_FAILED);
	finish("resize my guest?a% to 1KiB: nothing to do, it is so already\nballastctl: there is "
	       "none\n");
}

/*
 * Addresses are written in hexadecimal, with 0x or without; a DIMM's id may hold what a query may
 * not.
 */
static void test_newcomers(void)
{
	static const struct exchange script = {
		"GET /v1/drains", "200 OK", NULL,
		"{\"items\":[{\"id\":\"dr-1\",\"target_text\":\"node 3\",\"finish\":\"empty\",\"state\":\"held\",\"stage\":\"move\","
		"\"operation\":\"op-1\",\"reason\":\"\",\"newcomers\":[{\"code\":\"guest_memory\",\"object\":\"guest g1\","
		"\"bytes\":67108864,\"detail\":\"it is moved away\",\"way_out\":\"wait for it\",\"consent\":null}]},"
		"{\"id\":\"dr-2\",\"target_text\":\"node 2\",\"finish\":\"offline\",\"state\":\"held\",\"stage\":\"offline\","
		"\"operation\":\"op-2\",\"reason\":\"\",\"newcomers\":[]}],\"next_page\":null}"};

	start(&script, 1);
	CHECK_INT(command(cli_drains, 0, NULL), CLI_EXIT_DONE);
	finish(NULL);
	CHECK_TRUE(strstr(rig.text, "dr-1: come to node 3 since it was emptied\n"
				    "  64 MiB  guest_memory  guest g1: it is moved away  wait for it\n"));
	CHECK_TRUE(!strstr(rig.text, "dr-2: come"));
}

static void test_holders(void)
{
	static const struct exchange script[] = {
		{"GET /v1/holders?start=0x100000000&end=0x140000000", "200 OK", NULL,
		 "{\"items\":[]}"},
		{"GET /v1/holders?start=0x1000&end=0x2000", "200 OK", NULL, "{\"items\":[]}"},
		{"GET /v1/holders?dimm=a%26b", "200 OK", NULL,
		 "{\"items\":[{\"code\":\"host_process\",\"object\":\"process 7 (db)\",\"bytes\":2097152,"
		 "\"detail\":\"cgroup /x: 2 MiB anonymous\",\"way_out\":\"stop it\"}],"
		 "\"size_bytes\":8388608,\"free_bytes\":6291456,\"offline_bytes\":0}"},
	};

	start(script, 3);
	rig.cli.range = "100000000-140000000";
	CHECK_INT(command(cli_holders, 0, NULL), CLI_EXIT_DONE);
	rig.cli.range = "0x1000-0x2000";
	CHECK_INT(command(cli_holders, 0, NULL), CLI_EXIT_DONE);
	rig.cli.range = "2000-1000";
	CHECK_INT(command(cli_holders, 0, NULL), CLI_EXIT_USAGE);
	rig.cli.range = NULL;
	rig.cli.dimm = "a&b";
	CHECK_INT(command(cli_holders, 0, NULL), CLI_EXIT_DONE);
	finish("Nobody: nothing there is in use.\nNobody: nothing there is in use.\n"
	       "ballastctl: --range 2000-1000: write START-END in hexadecimal\nTry: ballastctl --help\n"
	       "2 MiB  host_process  process 7 (db): cgroup /x: 2 MiB anonymous  stop it\n"
	       "8 MiB in all, of it 6 MiB free and 0 B offline\n");
}

/* One command, one JSON text; and what has no dry run is not done for one. */
static void test_cancel(void)
{
	static const struct exchange script[] = {
		{"POST /v1/operations/op-1/cancel\n{}", "202 Accepted", NULL,
		 "{\"id\":\"op-1\",\"state\":\"cancelling\"}"},
		{"GET /v1/operations/op-1?wait=30", "200 OK", NULL,
		 "{\"id\":\"op-1\",\"state\":\"cancelled\"}"},
	};

	start(script, 2);
	rig.cli.json = true;
	CHECK_INT(command(cli_cancel, 1, ARGUMENTS("op-1")), CLI_EXIT_DONE);
	finish("{\n  \"id\": \"op-1\",\n  \"state\": \"cancelled\"\n}\n");
	start(NULL, 0);
	rig.cli.dry_run = true;
	CHECK_INT(command(cli_cancel, 1, ARGUMENTS("op-1")), CLI_EXIT_USAGE);
	CHECK_INT(command(cli_check, 1, ARGUMENTS("op-1")), CLI_EXIT_USAGE);
	finish(NULL);
}

static void test_check(void)
{
	static const struct exchange script[] = {
		{"POST /v1/checks\n{\"timeout_s\":90}", "202 Accepted", NULL, "{\"id\":\"op-1\"}"},
		{"GET /v1/operations/op-1?wait=30", "200 OK", NULL,
		 "{\"id\":\"op-1\",\"state\":\"succeeded\"}"},
		{"GET /v1/operations/op-1", "200 OK", NULL,
		 "{\"result\":{\"facts\":[{\"features\":{\"soft_dirty\":{\"state\":\"no\","
		 "\"meaning\":\"writes show\",\"detail\":\"tried\"}}},"
		 "{\"backing\":\"memfd\",\"page_bytes\":4096,\"torn_words\":3,"
		 "\"quiet_pause_us\":40,\"left_out_pairs\":54,\"left_out_nodes\":[3,4],"
		 "\"pairs\":[{\"from\":0,\"to\":2,\"moved_bytes\":1048576,\"left_bytes\":4096,"
		 "\"bytes_per_s\":2097152,\"longest_pause_us\":12340}]},"
		 "{\"backing\":\"hugetlb\",\"page_bytes\":1073741824,"
		 "\"skipped\":\"no free pages\"}]}}"},
	};

	start(script, 3);
	rig.cli.timeout = "90";
	CHECK_INT(command(cli_check, 0, NULL), CLI_EXIT_DONE);
	finish(NULL);
	CHECK_TRUE(strstr(rig.text, "under its running vCPU: 3 words torn\n") != NULL);
	CHECK_TRUE(strstr(rig.text,
			  "memfd    4 KiB     0   2  1 MiB  4 KiB  2 MiB/s        12.3 ms        40 us\n") !=
		   NULL);
	CHECK_TRUE(strstr(rig.text, "memfd 4 KiB: left out, without room or held: node 3,4\n") != NULL);
	CHECK_TRUE(strstr(rig.text, "memfd 4 KiB: left out: 54 pairs") != NULL);
	CHECK_TRUE(strstr(rig.text, "hugetlb 1 GiB: not proved: no free pages\n") != NULL);
	CHECK_TRUE(strstr(rig.text, "soft_dirty   no  writes show          tried\n") != NULL);
	start(&(struct exchange){"POST /v1/checks\n{}", "409 Conflict", NULL,
				 "{\"detail\":\"another check runs\"}"},
	      1);
	CHECK_INT(command(cli_check, 0, NULL), CLI_EXIT_REFUSED);
	finish(NULL);
}

static void test_events_refused(void)
{
	static const struct exchange script[] = {
		{"GET /v1/events", "429 Too Many Requests", NULL, "{\"detail\":\"enough\"}"}};

	start(script, 1);
	CHECK_INT(command(cli_events, 0, NULL), CLI_EXIT_FAILED);
	finish(NULL);
}

static void test_usage(void)
{
	start(NULL, 0);
	CHECK_INT(command(cli_resize, 1, ARGUMENTS("g1")), CLI_EXIT_USAGE);
	CHECK_INT(command(cli_resize, 2, ARGUMENTS("g1", "much")), CLI_EXIT_USAGE);
	CHECK_INT(command(cli_move, 1, ARGUMENTS("g1")), CLI_EXIT_USAGE);
	rig.cli.to = "2";
	rig.cli.map = "0:1";
	CHECK_INT(command(cli_move, 1, ARGUMENTS("g1")), CLI_EXIT_USAGE);
	rig.cli.to = NULL;
	rig.cli.map = "0:1,0:2";
	CHECK_INT(command(cli_move, 1, ARGUMENTS("g1")), CLI_EXIT_USAGE);
	rig.cli.map = NULL;
	CHECK_INT(command(cli_drain, 0, NULL), CLI_EXIT_USAGE);
	rig.cli.range = "0x2000-0x1000";
	CHECK_INT(command(cli_drain, 0, NULL), CLI_EXIT_USAGE);
	rig.cli.range = NULL;
	rig.cli.node = "3";
	rig.cli.offline = rig.cli.eject = true;
	CHECK_INT(command(cli_drain, 0, NULL), CLI_EXIT_USAGE);
	rig.cli.offline = rig.cli.eject = false;
	rig.cli.timeout = "soon";
	CHECK_INT(command(cli_drain, 0, NULL), CLI_EXIT_USAGE);
	rig.cli.timeout = NULL;
	rig.cli.not_before = "tomorrow";
	CHECK_INT(command(cli_drain, 0, NULL), CLI_EXIT_USAGE);
	rig.cli.not_before = "2001-01-31 22:00";
	CHECK_INT(command(cli_drain, 0, NULL), CLI_EXIT_USAGE);
	rig.cli.undo = "perhaps";
	CHECK_INT(command(cli_cancel, 1, ARGUMENTS("op")), CLI_EXIT_USAGE);
	finish(NULL);
}

struct event_log {
	char text[512];
};

static void on_line(void *user, const char *event, const char *data)
{
	struct event_log *log = user;
	size_t used = strlen(log->text);

	snprintf(log->text + used, sizeof(log->text) - used, "%s=%s;", event, data);
}

static void test_events(void)
{
	static const struct exchange script[] = {
		{"GET /v1/events", "200 OK", NULL,
		 ": hello\n\nid: 1-1\nevent: operation\ndata: {\"a\":1}\n\nevent: guest\ndata: "
		 "{}\n\ndata: cut"}};
	struct event_log log = {{0}};
	struct failure failure = {0};

	start(script, 1);
	CHECK_INT(api_client_events(rig.cli.client, NULL, on_line, &log, &failure), 0);
	CHECK_STR(log.text, "operation={\"a\":1};guest={};");
	finish("");
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"nodes as text", test_nodes_text},
		{"unreachable", test_unreachable},
		{"requests, and no proxy", test_request_and_proxy},
		{"a plan", test_plan},
		{"a resize is followed to its end", test_resize_followed},
		{"a policy that cannot be read", test_policy_that_cannot_be_read},
		{"what stands after a shrink", test_what_stands_after_a_shrink},
		{"a resize of cells, and of named ranges", test_resize_of_parts},
		{"the word of a guest", test_word_of_a_guest},
		{"an attached agent", test_attached_agent},
		{"a hint", test_hint},
		{"a resize that somebody else's took the place of", test_superseded_resize},
		{"end of a move", test_end_of_a_move},
		{"a drain that is announced", test_announced_drain},
		{"end of a drain", test_end_of_a_drain},
		{"exit codes", test_exits},
		{"an undrain has the time that it was given", test_time_of_an_undrain},
		{"an undrain for good tells what stays", test_undrain_for_good},
		{"already so, and detached", test_already_and_detach},
		{"how a move goes about it", test_move_manner},
		{"interrupted", test_interrupted},
		{"names in paths", test_names_in_paths},
		{"what has come to a drain", test_newcomers},
		{"holders of a range", test_holders},
		{"a cancel", test_cancel},
		{"check", test_check},
		{"events refused", test_events_refused},
		{"usage", test_usage},
		{"events", test_events},
	};

	/* A request that does not come is waited for no longer. */
	alarm(60);
	return unit_main("service/cli", cases, sizeof(cases) / sizeof(cases[0]));
}
