/* SPDX-License-Identifier: Apache-2.0 */
#include "agent_config.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include "cleanup.h"
#include "failure.h"
#include "port.h"
#include "size_text.h"
#include "sysroot.h"

#define FLOOR_PREFIX "hugepage_floor_"

struct reading {
	struct agent_config *config;
	char cause[FAILURE_TEXT_SIZE];
	char way_out[FAILURE_TEXT_SIZE];
};

static const struct {
	const char *word;
	unsigned bit;
} vetoes[] = {
	{"huge_pages", AGENT_CONFIG_VETO_HUGE_PAGES},
	{"compact", AGENT_CONFIG_VETO_COMPACT},
	{"offline", AGENT_CONFIG_VETO_OFFLINE},
	{"online_policy", AGENT_CONFIG_VETO_ONLINE_POLICY},
	{"stall_probe", AGENT_CONFIG_VETO_STALL_PROBE},
	{"report_free", AGENT_CONFIG_VETO_REPORT_FREE},
	{"reclaim", AGENT_CONFIG_VETO_RECLAIM},
	{"repair", AGENT_CONFIG_VETO_REPAIR},
	{"shrink", AGENT_CONFIG_VETO_SHRINK},
};

void agent_config_init(struct agent_config *config)
{
	*config = (struct agent_config){.lease_directory = AGENT_CONFIG_LEASE_DIRECTORY,
					.hook_directory = AGENT_CONFIG_HOOK_DIRECTORY,
					.hook_timeout_s = AGENT_CONFIG_HOOK_TIMEOUT_S,
					.ask_step_bytes = AGENT_CONFIG_ASK_STEP_BYTES,
					.reclaim_pressure_percent =
						AGENT_CONFIG_RECLAIM_PRESSURE_PERCENT,
					.keep_available_percent = AGENT_CONFIG_KEEP_AVAILABLE_PERCENT};
}

static int set_path(struct reading *reading, char *to, const char *name, const char *value)
{
	if (value[0] != '/') {
		snprintf(reading->cause, sizeof(reading->cause), "%s: \"%s\" is no absolute path",
			 name, value);
		return 0;
	}
	if (strlen(value) >= AGENT_CONFIG_PATH_SIZE) {
		snprintf(reading->cause, sizeof(reading->cause), "%s: longer than %d characters",
			 name, AGENT_CONFIG_PATH_SIZE - 1);
		return 0;
	}
	strcpy(to, value);
	return 1;
}

static int set_port(struct reading *reading, const char *value)
{
	if (strcmp(value, PORT_VSOCK) != 0)
		return set_path(reading, reading->config->port, "port", value);
	strcpy(reading->config->port, PORT_VSOCK);
	return 1;
}

static int set_veto(struct reading *reading, const char *value)
{
	char words[256], *rest = NULL;

	snprintf(words, sizeof(words), "%s", value);
	reading->config->veto = 0;
	for (char *word = strtok_r(words, " ,", &rest); word; word = strtok_r(NULL, " ,", &rest)) {
		unsigned bit = 0;

		for (size_t i = 0; i < ARRAY_SIZE(vetoes); i++)
			if (strcmp(word, vetoes[i].word) == 0)
				bit = vetoes[i].bit;
		if (!bit) {
			snprintf(reading->cause, sizeof(reading->cause),
				 "veto: unknown word \"%s\"", word);
			snprintf(reading->way_out, sizeof(reading->way_out),
				 "huge_pages, compact, offline, online_policy, stall_probe, "
				 "report_free, reclaim, repair or shrink");
			return 0;
		}
		reading->config->veto |= bit;
	}
	return 1;
}

static int set_switch(struct reading *reading, bool *to, const char *name, const char *value)
{
	if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0) {
		snprintf(reading->cause, sizeof(reading->cause), "%s: \"%s\" is neither yes nor no",
			 name, value);
		return 0;
	}
	*to = strcmp(value, "yes") == 0;
	return 1;
}

static int set_number(struct reading *reading, uint32_t *to, const char *name, const char *value,
		      uint32_t least, uint32_t most)
{
	uint64_t number;

	if (size_text_parse_number(value, 10, &number) < 0 || number < least || number > most) {
		snprintf(reading->cause, sizeof(reading->cause),
			 "%s: \"%s\" is no number from %u to %u", name, value, least, most);
		return 0;
	}
	*to = (uint32_t)number;
	return 1;
}

static int set_size(struct reading *reading, uint64_t *to, const char *name, const char *value)
{
	if (size_text_parse(value, to) == 0)
		return 1;
	snprintf(reading->cause, sizeof(reading->cause), "%s: \"%s\" is no size", name, value);
	snprintf(reading->way_out, sizeof(reading->way_out), "%s = 2GiB", name);
	return 0;
}

static int set_floor(struct reading *reading, const char *size, const char *value)
{
	struct agent_config *config = reading->config;
	struct agent_config_floor floor, *slot = NULL;

	if (size_text_parse(size, &floor.page_bytes) < 0 || floor.page_bytes < 4096 ||
	    (floor.page_bytes & (floor.page_bytes - 1))) {
		snprintf(reading->cause, sizeof(reading->cause), "\"%s\" is no size of huge pages",
			 size);
		snprintf(reading->way_out, sizeof(reading->way_out), FLOOR_PREFIX "2MiB = 128");
		return 0;
	}
	if (size_text_parse_number(value, 10, &floor.pages) < 0) {
		snprintf(reading->cause, sizeof(reading->cause),
			 FLOOR_PREFIX "%s: \"%s\" is no number of pages", size, value);
		return 0;
	}
	for (size_t i = 0; i < config->floor_count; i++)
		if (config->floors[i].page_bytes == floor.page_bytes)
			slot = &config->floors[i];
	if (!slot && config->floor_count < AGENT_CONFIG_FLOORS_MAX)
		slot = &config->floors[config->floor_count++];
	if (!slot) {
		snprintf(reading->cause, sizeof(reading->cause), "more than %d sizes of huge pages",
			 AGENT_CONFIG_FLOORS_MAX);
		return 0;
	}
	*slot = floor;
	return 1;
}

/* inih's handler: 0 stops with the number of the line. */
static int on_key(void *user, const char *section, const char *name, const char *value)
{
	struct reading *reading = user;

	if (reading->cause[0])
		return 0; /* inih goes on after an error; the first one counts */
	if (strcmp(section, "agent") != 0 && section[0] != '\0') {
		snprintf(reading->cause, sizeof(reading->cause), "unknown section [%s]", section);
		snprintf(reading->way_out, sizeof(reading->way_out), "the only section is [agent]");
		return 0;
	}
	if (strcmp(name, "port") == 0)
		return set_port(reading, value);
	if (strcmp(name, "lease_directory") == 0)
		return set_path(reading, reading->config->lease_directory, name, value);
	if (strcmp(name, "veto") == 0)
		return set_veto(reading, value);
	if (strcmp(name, "memory_floor") == 0)
		return set_size(reading, &reading->config->memory_floor_bytes, name, value);
	if (strcmp(name, "shrink_limit") == 0)
		return set_size(reading, &reading->config->shrink_limit_bytes, name, value);
	if (strcmp(name, "memory_wanted") == 0)
		return set_size(reading, &reading->config->memory_wanted_bytes, name, value);
	if (strcmp(name, "ask_pressure_percent") == 0)
		return set_number(reading, &reading->config->ask_pressure_percent, name, value, 0, 100);
	if (strcmp(name, "ask_step") == 0)
		return set_size(reading, &reading->config->ask_step_bytes, name, value);
	if (strcmp(name, "hooks") == 0)
		return set_switch(reading, &reading->config->hooks, name, value);
	if (strcmp(name, "hook_directory") == 0)
		return set_path(reading, reading->config->hook_directory, name, value);
	if (strcmp(name, "hook_timeout_s") == 0)
		return set_number(reading, &reading->config->hook_timeout_s, name, value, 1, 3600);
	if (strcmp(name, "reclaim_pressure_percent") == 0)
		return set_number(reading, &reading->config->reclaim_pressure_percent, name, value, 1,
				  100);
	if (strcmp(name, "keep_available_percent") == 0)
		return set_number(reading, &reading->config->keep_available_percent, name, value, 0, 50);
	if (strcmp(name, "drop_caches") == 0)
		return set_switch(reading, &reading->config->drop_caches, name, value);
	if (strncmp(name, FLOOR_PREFIX, strlen(FLOOR_PREFIX)) == 0)
		return set_floor(reading, name + strlen(FLOOR_PREFIX), value);
	snprintf(reading->cause, sizeof(reading->cause), "unknown key \"%s\"", name);
	snprintf(reading->way_out, sizeof(reading->way_out),
		 "the keys are in ballast-agent.conf(5)");
	return 0;
}

/* 0 where the file is not there. */
static int read_file(struct agent_config *config, const struct sysroot *sysroot, const char *path,
		     struct failure *failure)
{
	struct reading reading = {.config = config};
	CLEANUP_CLOSE int fd = sysroot_open(sysroot, O_RDONLY, "%s", path);
	char object[FAILURE_OBJECT_SIZE];

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return failure_set(failure, fd, path, "cannot open");
	CLEANUP(cleanup_fclose) FILE *file = fdopen(fd, "r");

	if (!file)
		return failure_set(failure, errno, path, "cannot read");
	fd = -1;
	int line = ini_parse_file(file, on_key, &reading);

	if (line == 0)
		return 0;
	snprintf(object, sizeof(object), "%s:%d", path, line > 0 ? line : 0);
	failure_set(failure, EINVAL, object, "cannot use this configuration");
	failure_set_cause(failure, "%s",
			  reading.cause[0] ? reading.cause : "not of the form \"key = value\"");
	failure_set_way_out(failure, "%s", reading.way_out);
	return -EINVAL;
}

int agent_config_read(struct agent_config *config, const struct sysroot *sysroot, const char *path,
		      struct failure *failure)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	int error = read_file(config, sysroot, path, failure);

	if (error < 0)
		return error;
	error = sysroot_list(sysroot, &names, "%s.d", path);
	if (error == -ENOENT)
		return 0;
	if (error < 0)
		return failure_set(failure, error, path, "cannot list the drop-ins");
	for (size_t i = 0; i < names.count; i++) {
		size_t length = strlen(names.names[i]);
		char drop_in[2 * AGENT_CONFIG_PATH_SIZE];

		if (length < 5 || strcmp(names.names[i] + length - 5, ".conf") != 0)
			continue;
		snprintf(drop_in, sizeof(drop_in), "%s.d/%s", path, names.names[i]);
		error = read_file(config, sysroot, drop_in, failure);
		if (error < 0)
			return error;
	}
	return 0;
}

int agent_config_reread(struct agent_config *config, const struct sysroot *sysroot, const char *path,
			struct failure *failure)
{
	struct agent_config fresh;

	agent_config_init(&fresh);
	int error = agent_config_read(&fresh, sysroot, path, failure);

	if (error < 0)
		return error;
	memcpy(fresh.port, config->port, sizeof(fresh.port));
	memcpy(fresh.lease_directory, config->lease_directory, sizeof(fresh.lease_directory));
	*config = fresh;
	return 0;
}

uint64_t agent_config_floor(const struct agent_config *config, uint64_t page_bytes)
{
	for (size_t i = 0; i < config->floor_count; i++)
		if (config->floors[i].page_bytes == page_bytes)
			return config->floors[i].pages;
	return 0;
}
