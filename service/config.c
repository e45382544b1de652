/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "cleanup.h"
#include "size_text.h"

_Static_assert(sizeof(enum hint_action) == sizeof(int) && sizeof(enum drain_finish) == sizeof(int),
	       "a word is set as an int");

enum key_type { KEY_SWITCH, KEY_TEXT, KEY_PATH, KEY_BYTES, KEY_NUMBER, KEY_WORD, KEY_CONSENTS, KEY_SLICES };

struct key {
	const char *section, *name, *meaning;
	enum key_type type;
	size_t offset, size;
	uint64_t minimum, maximum;	/* numbers */
	const char *no, *yes;		/* the words of a switch; of a word: no is what may stand there, for people */
	int (*from_name)(const char *name);	/* of a word: an enumerator, which is at most maximum; -1: there is none */
};

#define TEXT(section, name, member, type, meaning)                                                           \
	{section, name, meaning, type, offsetof(struct config, member), sizeof(((struct config *)0)->member), 0, 0, NULL, NULL, NULL}
#define NUMBER(section, name, member, minimum, maximum, meaning)                                             \
	{section, name, meaning, KEY_NUMBER, offsetof(struct config, member), sizeof(uint32_t), minimum, maximum, NULL, NULL, NULL}
#define BYTES(section, name, member, meaning)                                                                \
	{section, name, meaning, KEY_BYTES, offsetof(struct config, member), sizeof(uint64_t), 0, INT64_MAX, NULL, NULL, NULL}
#define SWITCH(section, name, member, no, yes, meaning)                                                      \
	{section, name, meaning, KEY_SWITCH, offsetof(struct config, member), sizeof(bool), 0, 0, no, yes, NULL}
#define WORD(section, name, member, from_name, maximum, words, meaning)                                      \
	{section, name, meaning, KEY_WORD, offsetof(struct config, member), sizeof(((struct config *)0)->member), 0, maximum, words, NULL, from_name}
#define CONSENTS(section, name, member, meaning)                                                             \
	{section, name, meaning, KEY_CONSENTS, offsetof(struct config, member), sizeof(uint32_t), 0, 0, NULL, NULL, NULL}
#define SLICES(section, name, member, meaning)                                                               \
	{section, name, meaning, KEY_SLICES, offsetof(struct config, member), sizeof(((struct config *)0)->member), 0, 0, NULL, NULL, NULL}
#define ACTIONS "alert, move_range or drain"

static const struct key keys[] = {
	SWITCH("daemon", "mode", observe, "act", "observe", "act, or observe: plan everything, change nothing"),
	TEXT("daemon", "socket", socket, KEY_PATH, "the API's unix socket"),
	TEXT("daemon", "socket_group", socket_group, KEY_TEXT, "who may use it besides root"),
	TEXT("daemon", "state_directory", state_directory, KEY_PATH, "where the journal is"),
	TEXT("daemon", "run_directory", run_directory, KEY_PATH, "where the workers' lock is"),
	TEXT("daemon", "worker", worker, KEY_PATH, "the worker program"),
	TEXT("daemon", "libvirt_uri", libvirt_uri, KEY_TEXT, "which libvirt to talk to"),
	TEXT("daemon", "hook_directory", hook_directory, KEY_PATH, "programs that a drain runs, so that others let go of memory"),
	NUMBER("daemon", "workers", workers, 1, 64, "kernel workers at the same time"),
	NUMBER("daemon", "look_interval_s", look_interval_s, 5, 3600, "seconds between looks at an idle host"),
	NUMBER("daemon", "assist_after_s", assist_after_s, 0, 3600,
	       "seconds after which a stalled size that libvirt was asked for is helped along, 0 for never"),
	NUMBER("daemon", "reboot_s", reboot_s, 0, 86400,
	       "seconds that a reboot of this host takes, 0 for what its own record tells"),
	SWITCH("daemon", "zone_repair", zone_repair, "no", "yes", "whether guests repair what is plugged and cannot be used or leave, where their policy says nothing"),
	SWITCH("daemon", "online_policy", online_movable, "leave", "movable", "how guests online what is plugged"),
	SWITCH("daemon", "keep_empty", keep_empty, "no", "yes", "whether guests that come into memory which a drain has emptied are moved away again"),
	BYTES("limits", "reserve", reserve_bytes, "memory that stays free on the host, at least"),
	NUMBER("limits", "reserve_percent", reserve_percent, 0, 50, "the same in per cent of the host's memory"),
	SWITCH("limits", "reserve_untouched", reserve_untouched, "no", "yes",
	       "whether what guests have and have not touched is kept from what grows"),
	NUMBER("limits", "flat_ms", flat_ms, 1000, 60000, "a size unchanged for so long has stalled"),
	NUMBER("limits", "block_timeout_ms", block_timeout_ms, 1000, 600000, "for taking one memory block offline"),
	NUMBER("limits", "stall_us", stall_us, 0, 1000000, "longest pause a move may cause a guest"),
	BYTES("limits", "bytes_per_s", bytes_per_s, "rate of moves from one node to another, 0 for no limit"),
	NUMBER("limits", "online_ratio_percent", online_ratio_percent, 100, 1000,
	       "movable memory of a guest for its kernel memory, in per cent"),
	NUMBER("limits", "drain_moves", drain_moves, 1, 64, "guests that a drain moves at the same time"),
	SLICES("daemon", "slice_cpusets", slice_cpusets, "slices that get no memory of a node which a drain holds, once it is empty"),
	NUMBER("timeouts", "resize_s", resize_s, 1, 86400, "for a resize that names none"),
	NUMBER("timeouts", "drain_factor", drain_factor, 1, 100, "for a drain that names none: times the plan's estimate"),
	NUMBER("timeouts", "hook_s", hook_s, 1, 3600, "for each program of hook_directory"),
	WORD("hints", "low", hints.actions[HINT_RISK_LOW], hint_action_from_name, HINT_ACTION_COUNT - 1, ACTIONS,
	     "what a hint of low risk has done"),
	WORD("hints", "high", hints.actions[HINT_RISK_HIGH], hint_action_from_name, HINT_ACTION_COUNT - 1, ACTIONS,
	     "what a hint of high risk has done"),
	WORD("hints", "uncorrected", hints.actions[HINT_RISK_UNCORRECTED], hint_action_from_name, HINT_ACTION_COUNT - 1, ACTIONS,
	     "what a hint of uncorrected errors has done"),
	WORD("hints", "finish", hints.finish, drain_finish_from_name, DRAIN_FINISH_OFFLINE, "cordon, empty or offline",
	     "how far a drain goes that a hint has begun"),
	CONSENTS("hints", "allow", hints.allow, "consents of what a hint has begun"),
};

struct reader {
	struct config *config;
	const char *path;
	struct failure *failure;
	int error;
	int line;
	bool is_indented;	/* the line begins with a blank */
};

void config_init(struct config *config)
{
	struct plan_limits limits;

	plan_limits_init(&limits);
	*config = (struct config){
		.socket = "/run/ballast/ballastd.sock",
		.socket_group = "ballast",
		.state_directory = "/var/lib/ballast",
		.run_directory = "/run/ballast",
		.hook_directory = "/etc/ballast/drain.d",
		.workers = 4,
		.look_interval_s = 30,
		.assist_after_s = 5,
		.keep_empty = true,
		.reserve_bytes = SIZE_TEXT_GIB,
		.reserve_percent = 5,
		.flat_ms = limits.flat_ms,
		.block_timeout_ms = limits.block_timeout_ms,
		.stall_us = limits.stall_us,
		.bytes_per_s = limits.bytes_per_s,
		.online_ratio_percent = limits.online_ratio_percent,
		.drain_moves = limits.drain_moves,
		.resize_s = limits.resize_timeout_s,
		.drain_factor = limits.drain_timeout_factor,
		.hook_s = limits.hook_timeout_ms / 1000,
	};
	hint_policy_init(&config->hints);
}

void config_limits(const struct config *config, struct plan_limits *ret_limits)
{
	plan_limits_init(ret_limits);
	ret_limits->reserve_bytes = config->reserve_bytes;
	ret_limits->reserve_untouched = config->reserve_untouched;
	ret_limits->flat_ms = config->flat_ms;
	ret_limits->block_timeout_ms = config->block_timeout_ms;
	ret_limits->zone_repair = config->zone_repair;
	ret_limits->stall_us = config->stall_us;
	ret_limits->bytes_per_s = config->bytes_per_s;
	ret_limits->online_ratio_percent = config->online_ratio_percent;
	ret_limits->drain_moves = config->drain_moves;
	memcpy(ret_limits->slices, config->slice_cpusets, sizeof(ret_limits->slices));
	ret_limits->resize_timeout_s = config->resize_s;
	ret_limits->drain_timeout_factor = config->drain_factor;
	ret_limits->hook_timeout_ms = config->hook_s * 1000;
}

const char *config_key(unsigned index, const char **ret_section, const char **ret_meaning)
{
	if (index >= ARRAY_SIZE(keys))
		return NULL;
	*ret_section = keys[index].section;
	*ret_meaning = keys[index].meaning;
	return keys[index].name;
}

static int fail(struct reader *reader, const char *way_out, const char *cause, ...) PRINTF_LIKE(3, 4);

static int fail(struct reader *reader, const char *way_out, const char *cause, ...)
{
	char object[FAILURE_OBJECT_SIZE], text[FAILURE_TEXT_SIZE];
	va_list arguments;

	va_start(arguments, cause);
	vsnprintf(text, sizeof(text), cause, arguments);
	va_end(arguments);
	snprintf(object, sizeof(object), "%s:%d", reader->path, reader->line);
	reader->error = failure_set(reader->failure, EINVAL, object, "cannot be used");
	failure_set_code(reader->failure, "bad_configuration");
	failure_set_cause(reader->failure, "%s", text);
	failure_set_way_out(reader->failure, "%s", way_out);
	return 0;	/* inih: stop here */
}

/* How many letters differ, roughly: enough to guess which key was meant. */
static unsigned distance(const char *a, const char *b)
{
	size_t length_a = strlen(a), length_b = strlen(b);
	unsigned row[64];

	if (length_b >= ARRAY_SIZE(row))
		return UINT_MAX;
	for (size_t j = 0; j <= length_b; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= length_a; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= length_b; j++) {
			unsigned substitute = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
			if (substitute < row[j])
				row[j] = substitute;
		}
	}
	return row[length_b];
}

static int fail_unknown(struct reader *reader, const char *section, const char *name)
{
	const struct key *nearest = NULL;
	unsigned best = UINT_MAX;
	char way_out[FAILURE_TEXT_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		unsigned d = distance(name, keys[i].name) + (strcmp(section, keys[i].section) == 0 ? 0 : 1);

		if (d < best) {
			best = d;
			nearest = &keys[i];
		}
	}
	if (nearest && best <= 3)
		snprintf(way_out, sizeof(way_out), "did you mean %s in [%s]?", nearest->name, nearest->section);
	else
		snprintf(way_out, sizeof(way_out), "ballastd.conf(5) lists the keys of [daemon], [limits], [timeouts] and [hints]");
	return fail(reader, way_out, "there is no key %.60s in [%.60s]", name, section);
}

/* Words with blanks between them. */
static int set_consents(struct reader *reader, const struct key *key, const char *value, uint32_t *ret_consents)
{
	CLEANUP_FREE char *copy = strdup(value);
	uint32_t consents = 0;
	char *save = NULL;

	if (!copy)
		return fail(reader, "try again", "memory is short");
	for (char *word = strtok_r(copy, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
		int consent = consent_from_name(word);

		if (consent < 0)
			return fail(reader, "the consents of ballastctl(1), --allow, with blanks between them",
				    "%s = %.60s: there is no consent %.40s", key->name, value, word);
		consents |= 1u << consent;
	}
	*ret_consents = consents;
	return 1;
}

/* Names with blanks between them, of groups at the top, or as systemd names slices. */
static int set_slices(struct reader *reader, const struct key *key, const char *value, char *slices)
{
	CLEANUP_FREE char *copy = strdup(value);
	char text[STEP_SLICES_SIZE] = "", *save = NULL;

	if (!copy)
		return fail(reader, "try again", "memory is short");
	for (char *word = strtok_r(copy, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
		size_t used = strlen(text);

		if (word[0] == '.' || word[0] == '-' || strchr(word, '/') || strlen(word) > 63)
			return fail(reader, "such as machine.slice system.slice user.slice", "%s = %.60s: %.40s is no name of a slice",
				    key->name, value, word);
		if (used + strlen(word) + 2 > sizeof(text))
			return fail(reader, "fewer slices, or one above them", "the value of %s is too long", key->name);
		snprintf(text + used, sizeof(text) - used, "%s%s", used ? " " : "", word);
	}
	memcpy(slices, text, sizeof(text));
	return 1;
}

static int set_value(struct reader *reader, const struct key *key, const char *value)
{
	char *member = (char *)reader->config + key->offset;
	uint64_t number;

	switch (key->type) {
	case KEY_SWITCH:
		if (strcmp(value, key->no) != 0 && strcmp(value, key->yes) != 0) {
			char way_out[FAILURE_TEXT_SIZE];

			snprintf(way_out, sizeof(way_out), "%s or %s", key->no, key->yes);
			return fail(reader, way_out, "%s = %.60s is not possible", key->name, value);
		}
		*(bool *)member = strcmp(value, key->yes) == 0;
		return 1;
	case KEY_PATH:
		if (value[0] != '/')
			return fail(reader, "a path that begins with /", "%s = %.60s is no absolute path", key->name, value);
		/* fall through */
	case KEY_TEXT:
		if (strlen(value) >= key->size)
			return fail(reader, "something shorter", "the value of %s is too long", key->name);
		snprintf(member, key->size, "%s", value);
		return 1;
	case KEY_BYTES:
		if (size_text_parse(value, &number) < 0)
			return fail(reader, "a size such as 512MiB or 2GiB", "%s = %.60s is no size", key->name, value);
		*(uint64_t *)member = number;
		return 1;
	case KEY_NUMBER:
		if (size_text_parse_number(value, 10, &number) < 0 || number < key->minimum || number > key->maximum) {
			char way_out[FAILURE_TEXT_SIZE];

			snprintf(way_out, sizeof(way_out), "a whole number from %llu to %llu",
				 (unsigned long long)key->minimum, (unsigned long long)key->maximum);
			return fail(reader, way_out, "%s = %.60s is out of bounds", key->name, value);
		}
		*(uint32_t *)member = (uint32_t)number;
		return 1;
	case KEY_WORD: {
		int word = key->from_name(value);

		if (word < 0 || (uint64_t)word > key->maximum)
			return fail(reader, key->no, "%s = %.60s is not possible", key->name, value);
		memcpy(member, &word, key->size);
		return 1;
	}
	case KEY_SLICES:
		return set_slices(reader, key, value, member);
	case KEY_CONSENTS:
		return set_consents(reader, key, value, (uint32_t *)member);
	}
	return 0;
}

static int take_line(void *user, const char *section, const char *name, const char *value)
{
	struct reader *reader = user;

	/* inih takes such a line for more of the value above it (INI_ALLOW_MULTILINE), silently. */
	if (reader->is_indented)
		return fail(reader, "write the key at the beginning of its line", "the line begins with a blank");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].section, section) == 0 && strcmp(keys[i].name, name) == 0)
			return set_value(reader, &keys[i], value ? value : "");
	return fail_unknown(reader, section, name);
}

struct source {
	FILE *file;
	struct reader *reader;
};

/*
 * Debian's inih does not tell the handler where it is: the lines are counted as it reads them. Nor does it stop at the
 * first error (INI_STOP_ON_FIRST_ERROR), or notice that a line is longer than its buffer.
 */
static char *read_line(char *text, int size, void *user)
{
	struct source *source = user;
	struct reader *reader = source->reader;
	size_t length;

	if (reader->error || !fgets(text, size, source->file))
		return NULL;
	reader->line++;
	reader->is_indented = text[0] == ' ' || text[0] == '\t';
	length = strlen(text);
	if (length + 1 == (size_t)size && text[length - 1] != '\n') {
		char way_out[FAILURE_TEXT_SIZE];

		snprintf(way_out, sizeof(way_out), "at most %d characters", size - 2);
		fail(reader, way_out, "the line is too long");
		return NULL;
	}
	return text;
}

static int read_file(struct config *config, const char *path, bool must_exist, struct failure *failure)
{
	struct reader reader = {.config = config, .path = path, .failure = failure};
	CLEANUP(cleanup_fclose) FILE *file = fopen(path, "re");
	struct source source = {.file = file, .reader = &reader};

	if (!file) {
		int error = errno;

		if (error == ENOENT && !must_exist)
			return 0;
		return failure_set(failure, error, path, "cannot open the configuration");
	}
	int line = ini_parse_stream(read_line, &source, take_line, &reader);

	/* A line that is none at all is told only at the end, by its number. */
	if (reader.error && (line <= 0 || line >= reader.line))
		return reader.error;
	if (line > 0) {
		reader.line = line;
		fail(&reader, "key = value, below a [section]", "this line cannot be read");
		return reader.error;
	}
	return line < 0 ? failure_set(failure, EIO, path, "cannot read the configuration") : 0;
}

static int is_drop_in(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return length > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + length - 5, ".conf") == 0;
}

int config_read(struct config *config, const char *path, bool must_exist, struct failure *failure)
{
	char directory[CONFIG_PATH_SIZE + 8], file[sizeof(directory) + NAME_MAX + 2];
	struct dirent **entries = NULL;
	int r = read_file(config, path, must_exist, failure), count;

	if (r < 0)
		return r;
	snprintf(directory, sizeof(directory), "%s.d", path);
	count = scandir(directory, &entries, is_drop_in, alphasort);
	for (int i = 0; i < count; i++) {
		if (r == 0) {
			snprintf(file, sizeof(file), "%s/%s", directory, entries[i]->d_name);
			r = read_file(config, file, true, failure);
		}
		free(entries[i]);
	}
	free(entries);
	return r;
}
