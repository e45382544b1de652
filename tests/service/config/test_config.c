/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "scratch.h"
#include "unit.h"

struct fixture {
	char directory[64], path[128], drop_ins[160];
	struct config config;
	struct failure failure;
};

static void setup(struct fixture *fixture)
{
	memset(fixture, 0, sizeof(*fixture));
	snprintf(fixture->directory, sizeof(fixture->directory), "%s/config.XXXXXX", scratch_folder());
	assert(mkdtemp(fixture->directory));
	snprintf(fixture->path, sizeof(fixture->path), "%s/ballastd.conf", fixture->directory);
	snprintf(fixture->drop_ins, sizeof(fixture->drop_ins), "%s.d", fixture->path);
	assert(mkdir(fixture->drop_ins, 0700) == 0);
	config_init(&fixture->config);
}

static void teardown(struct fixture *fixture)
{
	char command[160];

	snprintf(command, sizeof(command), "rm -r %s", fixture->directory);
	assert(system(command) == 0);
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void write_drop_in(const struct fixture *fixture, const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", fixture->drop_ins, name);
	write_text(path, text);
}

static int read_text(struct fixture *fixture, const char *text)
{
	config_init(&fixture->config);
	memset(&fixture->failure, 0, sizeof(fixture->failure));
	write_text(fixture->path, text);
	return config_read(&fixture->config, fixture->path, true, &fixture->failure);
}

/* The text is refused, and the failure names this line, this cause and this way out. */
static void check_refused(const char *text, int line, const char *cause, const char *way_out)
{
	struct fixture fixture;
	char object[160];

	setup(&fixture);
	CHECK_INT(read_text(&fixture, text), -EINVAL);
	snprintf(object, sizeof(object), "%s:%d", fixture.path, line);
	CHECK_STR(fixture.failure.object, object);
	CHECK_STR(fixture.failure.cause, cause);
	CHECK_STR(fixture.failure.way_out, way_out);
	CHECK_STR(fixture.failure.code, "bad_configuration");
	teardown(&fixture);
}

static void test_defaults(void)
{
	struct fixture fixture;

	setup(&fixture);
	CHECK_INT(config_read(&fixture.config, fixture.path, false, &fixture.failure), 0);
	CHECK_TRUE(!fixture.config.observe);
	CHECK_STR(fixture.config.socket, "/run/ballast/ballastd.sock");
	CHECK_INT(fixture.config.reserve_bytes, 1 << 30);
	CHECK_INT(fixture.config.reserve_percent, 5);
	CHECK_STR(fixture.config.hook_directory, "/etc/ballast/drain.d");
	CHECK_STR(fixture.config.slice_cpusets, "");
	CHECK_INT(fixture.config.hook_s, 10);
	CHECK_INT(fixture.config.reboot_s, 0);
	CHECK_INT(config_read(&fixture.config, fixture.path, true, &fixture.failure), -ENOENT);
	CHECK_STR(fixture.failure.object, fixture.path);
	teardown(&fixture);
}

static void test_values(void)
{
	struct fixture fixture;
	struct plan_limits limits;

	setup(&fixture);
	CHECK_INT(read_text(&fixture,
			    "# a comment\n[daemon]\nmode = observe\nonline_policy = movable\nsocket = /tmp/s ; another\n"
			    "libvirt_uri =\nworkers = 7\nreboot_s = 240\nzone_repair = yes\nkeep_empty = no\n"
			    "slice_cpusets =  machine.slice\tsystem.slice \n[limits]\nreserve = 1.5GiB\nreserve_untouched = yes\n"
			    "bytes_per_s "
			    "= 100MiB\n"
			    "reserve_percent = 0\nflat_ms = 1000\ndrain_moves = 3\n[timeouts]\nresize_s = 86400\nhook_s = 7\n"),
		  0);
	CHECK_TRUE(fixture.config.observe);
	CHECK_TRUE(fixture.config.online_movable);
	CHECK_TRUE(!fixture.config.keep_empty);
	CHECK_STR(fixture.config.socket, "/tmp/s");
	CHECK_STR(fixture.config.libvirt_uri, "");
	CHECK_INT(fixture.config.workers, 7);
	CHECK_INT(fixture.config.reboot_s, 240);
	config_limits(&fixture.config, &limits);
	CHECK_INT(limits.reserve_bytes, 3ll << 29);
	CHECK_TRUE(limits.reserve_untouched);
	CHECK_INT(limits.bytes_per_s, 100 << 20);
	CHECK_INT(limits.flat_ms, 1000);
	CHECK_INT(limits.drain_moves, 3);
	CHECK_TRUE(limits.zone_repair);
	CHECK_INT(limits.resize_timeout_s, 86400);
	CHECK_INT(limits.hook_timeout_ms, 7000);
	CHECK_STR(limits.slices, "machine.slice system.slice");
	teardown(&fixture);
}

static void test_hints(void)
{
	struct fixture fixture;

	setup(&fixture);
	for (int risk = 0; risk < HINT_RISK_COUNT; risk++)
		CHECK_INT(fixture.config.hints.actions[risk], HINT_ACTION_ALERT);
	CHECK_INT(fixture.config.hints.finish, DRAIN_FINISH_EMPTY);
	CHECK_INT(fixture.config.hints.allow, 0);
	CHECK_INT(read_text(&fixture, "[hints]\nlow = alert\nhigh = move_range\nuncorrected = drain\nfinish = offline\n"
				      "allow = locked_guests  may_crash_host\n"),
		  0);
	CHECK_INT(fixture.config.hints.actions[HINT_RISK_LOW], HINT_ACTION_ALERT);
	CHECK_INT(fixture.config.hints.actions[HINT_RISK_HIGH], HINT_ACTION_MOVE_RANGE);
	CHECK_INT(fixture.config.hints.actions[HINT_RISK_UNCORRECTED], HINT_ACTION_DRAIN);
	CHECK_INT(fixture.config.hints.finish, DRAIN_FINISH_OFFLINE);
	CHECK_INT(fixture.config.hints.allow, 1u << CONSENT_LOCKED_GUESTS | 1u << CONSENT_MAY_CRASH_HOST);
	CHECK_INT(read_text(&fixture, "[hints]\nallow =\n"), 0);
	CHECK_INT(fixture.config.hints.allow, 0);
	teardown(&fixture);
	check_refused("[hints]\nhigh = offline\n", 2, "high = offline is not possible", "alert, move_range or drain");
	/* Nobody is there to see a DIMM ejected that nobody asked for. */
	check_refused("[hints]\nfinish = eject\n", 2, "finish = eject is not possible", "cordon, empty or offline");
	check_refused("[hints]\nallow = locked_guests all\n", 2, "allow = locked_guests all: there is no consent all",
		      "the consents of ballastctl(1), --allow, with blanks between them");
}

static void test_drop_ins(void)
{
	struct fixture fixture;
	char object[256];

	setup(&fixture);
	write_drop_in(&fixture, "20-b.conf", "[daemon]\nworkers = 3\n");
	write_drop_in(&fixture, "10-a.conf", "[daemon]\nworkers = 2\nmode = observe\n");
	write_drop_in(&fixture, "30-c.txt", "[daemon]\nworkers = nonsense\n");
	write_drop_in(&fixture, ".40-d.conf", "[daemon]\nworkers = nonsense\n");
	CHECK_INT(read_text(&fixture, "[daemon]\nworkers = 1\n"), 0);
	CHECK_INT(fixture.config.workers, 3);
	CHECK_TRUE(fixture.config.observe);
	/* Drop-ins count without the file too, and their mistakes are named with their own path. */
	unlink(fixture.path);
	write_drop_in(&fixture, "50-e.conf", "[daemon]\nworker = relative\n");
	CHECK_INT(config_read(&fixture.config, fixture.path, false, &fixture.failure), -EINVAL);
	snprintf(object, sizeof(object), "%s/50-e.conf:2", fixture.drop_ins);
	CHECK_STR(fixture.failure.object, object);
	teardown(&fixture);
}

static void test_refusals(void)
{
	check_refused("[daemon]\n\nsockte = /x\n", 3, "there is no key sockte in [daemon]",
		      "did you mean socket in [daemon]?");
	check_refused("[limits]\nmode = act\n", 2, "there is no key mode in [limits]",
		      "did you mean mode in [daemon]?");
	check_refused("[daemon]\nsomething_else_altogether = 1\n", 2,
		      "there is no key something_else_altogether in [daemon]",
		      "ballastd.conf(5) lists the keys of [daemon], [limits], [timeouts] and [hints]");
	check_refused("[daemon]\nmode = Act\n", 2, "mode = Act is not possible", "act or observe");
	check_refused("[daemon]\nonline_policy = online\n", 2, "online_policy = online is not possible", "leave or movable");
	check_refused("[daemon]\nsocket = sock\n", 2, "socket = sock is no absolute path",
		      "a path that begins with /");
	check_refused("[daemon]\nworkers = 0\n", 2, "workers = 0 is out of bounds",
		      "a whole number from 1 to 64");
	check_refused("[daemon]\nworkers = 4x\n", 2, "workers = 4x is out of bounds",
		      "a whole number from 1 to 64");
	check_refused("[limits]\nreserve = lots\n", 2, "reserve = lots is no size",
		      "a size such as 512MiB or 2GiB");
	check_refused("[limits]\nreserve = -1\n", 2, "reserve = -1 is no size",
		      "a size such as 512MiB or 2GiB");
	check_refused("[daemon]\nmode\n", 2, "this line cannot be read",
		      "key = value, below a [section]");
}

static void test_first_mistake_is_named(void)
{
	check_refused("[daemon]\nworkers = 0\n[limits]\nreserve = lots\n", 2,
		      "workers = 0 is out of bounds", "a whole number from 1 to 64");
	check_refused("[daemon]\nmode\nworkers = 0\n", 2, "this line cannot be read",
		      "key = value, below a [section]");
}

/* The INI reader takes an indented line for more of the value above. */
static void test_indented_line(void)
{
	check_refused("[daemon]\nlibvirt_uri = qemu:///system\n  workers = 9\n", 3,
		      "the line begins with a blank", "write the key at the beginning of its line");
}

/* The INI reader cuts a line that is longer than its buffer in two. */
static void test_long_line(void)
{
	char text[600], long_path[450];

	memset(long_path, 'a', sizeof(long_path) - 1);
	long_path[0] = '/';
	long_path[sizeof(long_path) - 1] = '\0';
	snprintf(text, sizeof(text), "[daemon]\nsocket = %s\nworkers = 9\n", long_path);
	check_refused(text, 2, "the line is too long", "at most 198 characters");
}

static void test_last_line_without_end(void)
{
	struct fixture fixture;

	setup(&fixture);
	CHECK_INT(read_text(&fixture, "[daemon]\nworkers = 9"), 0);
	CHECK_INT(fixture.config.workers, 9);
	teardown(&fixture);
}

static void test_keys(void)
{
	const char *section, *meaning;
	unsigned count = 0;

	while (config_key(count, &section, &meaning)) {
		CHECK_TRUE(section[0] && meaning[0]);
		count++;
	}
	CHECK_TRUE(count >= 18);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"defaults", test_defaults},
		{"values", test_values},
		{"hints", test_hints},
		{"drop-ins", test_drop_ins},
		{"refusals", test_refusals},
		{"the first mistake is named", test_first_mistake_is_named},
		{"an indented line", test_indented_line},
		{"a long line", test_long_line},
		{"a last line without an end", test_last_line_without_end},
		{"keys", test_keys},
	};

	return unit_main("service/config", cases, sizeof(cases) / sizeof(cases[0]));
}
