/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a rules file is walked once, as udev walks it when a memory block is added, but that a match may be
 * true, false or unknown (a program's result, what another file has set). A line that is not false may act, and one that is
 * not certain may be passed too: so each line is reached or not, and GOTO leads forward only. A file counts when a line that
 * is reached sets the block's state, and some line up to there has spoken of memory.
 */
#include "udev_rules.h"

#include <fnmatch.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include "byte_cursor.h"
#include "cleanup.h"
#include "sysroot.h"

#define RULES_FILE_MAX (256u << 10) /* udev's own longest is a tenth of it */
#define RULES_LINES_MAX 2048
#define TOKEN_SIZE	256

/* The block that is imagined. */
#define BLOCK_NAME "memory64"
#define BLOCK_PATH "/devices/system/memory/" BLOCK_NAME

static const char *const directories[] = {
	"/etc/udev/rules.d",	 "/run/udev/rules.d", "/usr/local/lib/udev/rules.d",
	"/usr/lib/udev/rules.d", "/lib/udev/rules.d",
};

enum truth { TRUTH_FALSE, TRUTH_TRUE, TRUTH_UNKNOWN };

/* key{attribute} operator "value" */
struct token {
	char key[32], attribute[TOKEN_SIZE], operator[3], value[TOKEN_SIZE];
};

struct line {
	enum truth truth;
	bool onlines, names_memory;
	char go_to[64], label[64];
};

static bool take_until(const char **text, const char *ends, char *to, size_t size)
{
	size_t length = strcspn(*text, ends);

	if (length >= size || !(*text)[length])
		return false;
	memcpy(to, *text, length);
	to[length] = '\0';
	*text += length;
	return true;
}

/* 1: a token; 0: the line has ended; -1: it is none that udev understands, or longer than any of interest. */
static int next_token(const char **text, struct token *ret_token)
{
	*ret_token = (struct token){0};
	*text += strspn(*text, " \t,");
	if (!**text)
		return 0;
	if (!take_until(text, " \t={!+-:", ret_token->key, sizeof(ret_token->key)))
		return -1;
	if (**text == '{') {
		++*text;
		if (!take_until(text, "}", ret_token->attribute, sizeof(ret_token->attribute)))
			return -1;
		++*text;
	}
	*text += strspn(*text, " \t");
	size_t length = strspn(*text, "=!+-:");

	if (length == 0 || length >= sizeof(ret_token->operator))
		return -1;
	memcpy(ret_token->operator, *text, length);
	*text += length;
	*text += strspn(*text, " \t");
	/* e"..." has escapes, i"..." is matched without case. */
	*text += strspn(*text, "ei");
	if (**text != '"')
		return -1;
	++*text;
	if (!take_until(text, "\"", ret_token->value, sizeof(ret_token->value)))
		return -1;
	++*text;
	return 1;
}

/* "a|b*": any of them. */
static bool matches(const char *patterns, const char *value)
{
	char copy[TOKEN_SIZE], *rest = copy, *pattern;

	snprintf(copy, sizeof(copy), "%s", patterns);
	while ((pattern = strsep(&rest, "|")))
		if (fnmatch(pattern, value, 0) == 0)
			return true;
	return false;
}

/* systemd's words for what uname(2) says (src/basic/architecture.c). */
static const char *architecture(struct utsname *name)
{
	if (uname(name) < 0)
		return NULL;
	return strcmp(name->machine, "x86_64") == 0  ? "x86-64" :
	       strcmp(name->machine, "aarch64") == 0 ? "arm64" :
						       name->machine;
}

/* What the token is compared with; NULL: nobody can say. *text is room for it. */
static const char *value_of(const struct sysroot *sysroot, const struct token *token, char text[TOKEN_SIZE],
			    struct utsname *name)
{
	static const struct {
		const char *key, *attribute, *value;
	} known[] = {
		{"ACTION", "", "add"},
		{"SUBSYSTEM", "", "memory"},
		{"SUBSYSTEMS", "", "memory"},
		{"KERNEL", "", BLOCK_NAME},
		{"KERNELS", "", BLOCK_NAME},
		{"DEVPATH", "", BLOCK_PATH},
		{"ATTR", "state", "offline"},
		{"ATTR", "online", "0"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(token->key, known[i].key) == 0 && strcmp(token->attribute, known[i].attribute) == 0)
			return known[i].value;
	if (strcmp(token->key, "CONST") == 0 && strcmp(token->attribute, "arch") == 0)
		return architecture(name);
	if (strcmp(token->key, "ATTR") == 0 && strncmp(token->attribute, "[dmi/id]", 8) == 0 &&
	    !strchr(token->attribute + 8, '/'))
		return sysroot_read_text(sysroot, text, TOKEN_SIZE, "/sys/class/dmi/id/%s", token->attribute + 8) < 0 ?
			       "" :
			       text;
	return NULL;
}

static enum truth judge(const struct sysroot *sysroot, const struct token *token)
{
	bool negated = token->operator[0] == '!', is_match;
	char text[TOKEN_SIZE];
	struct utsname name;
	const char *value;

	if (strcmp(token->operator, "==") != 0 && strcmp(token->operator, "!=") != 0)
		return TRUTH_TRUE;
	/* A virtio-mem device has one of these behind it. */
	if (strcmp(token->key, "CONST") == 0 && strcmp(token->attribute, "virt") == 0) {
		is_match = matches(token->value, "kvm") || matches(token->value, "qemu");
	} else {
		value = value_of(sysroot, token, text, &name);
		if (!value)
			return TRUTH_UNKNOWN;
		is_match = matches(token->value, value);
	}
	return is_match != negated ? TRUTH_TRUE : TRUTH_FALSE;
}

static bool is_assignment(const struct token *token)
{
	return strcmp(token->operator, "=") == 0 || strcmp(token->operator, ":=") == 0;
}

/* What is substituted may be anything, and is hardly written down to leave the block as it is. */
static bool sets_online(const struct token *token)
{
	bool substituted = strpbrk(token->value, "$%") != NULL;

	if (strcmp(token->key, "ATTR") != 0 || !is_assignment(token))
		return false;
	return (strcmp(token->attribute, "state") == 0 && (substituted || strncmp(token->value, "online", 6) == 0)) ||
	       (strcmp(token->attribute, "online") == 0 && (substituted || strcmp(token->value, "1") == 0));
}

static void read_line(const struct sysroot *sysroot, const char *text, struct line *ret_line)
{
	struct token token;
	int r;

	*ret_line = (struct line){.truth = TRUTH_TRUE};
	while ((r = next_token(&text, &token)) > 0) {
		enum truth truth = judge(sysroot, &token);

		if (truth == TRUTH_FALSE || (truth == TRUTH_UNKNOWN && ret_line->truth == TRUTH_TRUE))
			ret_line->truth = ret_line->truth == TRUTH_FALSE ? TRUTH_FALSE : truth;
		ret_line->onlines |= sets_online(&token);
		ret_line->names_memory |=
			(strncmp(token.key, "SUBSYSTEM", 9) == 0 || strncmp(token.key, "KERNEL", 6) == 0 ||
			 strcmp(token.key, "DEVPATH") == 0) &&
			strstr(token.value, "memory");
		if (strcmp(token.key, "GOTO") == 0 && is_assignment(&token))
			snprintf(ret_line->go_to, sizeof(ret_line->go_to), "%.63s", token.value);
		else if (strcmp(token.key, "LABEL") == 0 && is_assignment(&token))
			snprintf(ret_line->label, sizeof(ret_line->label), "%.63s", token.value);
	}
	/* udev passes over a line with a fault. */
	if (r < 0)
		*ret_line = (struct line){.truth = TRUTH_FALSE};
}

/* The next logical line of *rest, joined over "\" at its ends, without comments between. NULL: there is none. */
static char *next_line(char **rest)
{
	char *line = *rest, *to = line, *from = line;

	if (!line || !*line)
		return NULL;
	for (;;) {
		size_t length = strcspn(from, "\n");
		bool goes_on = length > 0 && from[length - 1] == '\\', has_more = from[length] == '\n';
		char *next = from + length + has_more;

		if (to == line || from[strspn(from, " \t")] != '#') {
			memmove(to, from, length - goes_on);
			to += length - goes_on;
		} else {
			goes_on = true;
		}
		from = next;
		if (!goes_on || !has_more)
			break;
	}
	*rest = from;
	*to = '\0';
	return line;
}

/* Labels that something leads to and that have not come yet. */
struct targets {
	size_t count;
	char labels[64][64];
};

static void add_target(struct targets *targets, const char *label)
{
	if (targets->count < ARRAY_SIZE(targets->labels))
		memcpy(targets->labels[targets->count++], label, sizeof(targets->labels[0]));
}

static bool is_target(const struct targets *targets, const char *label)
{
	for (size_t i = 0; label[0] && i < targets->count; i++)
		if (strcmp(targets->labels[i], label) == 0)
			return true;
	return false;
}

static bool file_onlines(const struct sysroot *sysroot, char *text)
{
	struct targets targets = {0};
	bool is_reached = true, is_of_memory = false;
	char *rest = text, *line;

	for (int i = 0; i < RULES_LINES_MAX && (line = next_line(&rest)); i++) {
		struct line rule;

		line += strspn(line, " \t");
		if (!*line || *line == '#')
			continue;
		read_line(sysroot, line, &rule);
		is_of_memory |= rule.names_memory;
		is_reached |= is_target(&targets, rule.label);
		if (!is_reached || rule.truth == TRUTH_FALSE)
			continue;
		if (rule.onlines && is_of_memory)
			return true;
		if (!rule.go_to[0])
			continue;
		add_target(&targets, rule.go_to);
		is_reached = rule.truth != TRUTH_TRUE;
	}
	return false;
}

static bool has_name(const struct sysroot_names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->names[i], name) == 0)
			return true;
	return false;
}

static bool is_rules_file(const char *name)
{
	size_t length = strlen(name);

	return length > 6 && strcmp(name + length - 6, ".rules") == 0;
}

static bool examine(const struct sysroot *sysroot, const char *directory, const char *name)
{
	CLEANUP_FREE char *text = NULL;

	/* A link to /dev/null reads as empty. */
	return sysroot_read_all(sysroot, RULES_FILE_MAX, &text, NULL, "%s/%s", directory, name) == 0 &&
	       file_onlines(sysroot, text);
}

void udev_rules_find(const struct sysroot *sysroot, char ret_path[LIMIT_RULE])
{
	struct sysroot_names seen[ARRAY_SIZE(directories)] = {0};

	ret_path[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(directories) && !ret_path[0]; i++) {
		if (sysroot_list(sysroot, &seen[i], "%s", directories[i]) < 0)
			continue;
		for (size_t j = 0; j < seen[i].count && !ret_path[0]; j++) {
			const char *name = seen[i].names[j];
			bool is_hidden = false;

			for (size_t k = 0; k < i && !is_hidden; k++)
				is_hidden = has_name(&seen[k], name);
			if (is_hidden || !is_rules_file(name) || !examine(sysroot, directories[i], name))
				continue;
			snprintf(ret_path, LIMIT_RULE, "%s/%.80s", directories[i], name);
			byte_cursor_make_text(ret_path);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
		sysroot_names_done(&seen[i]);
}
