/* SPDX-License-Identifier: Apache-2.0 */
#include "node_set.h"

#include <stdio.h>
#include <string.h>
#include "cleanup.h"

#define WORD_BITS ((int)(8 * sizeof(unsigned long)))
#define WORDS	  (NODE_SET_MAX / WORD_BITS)

static bool is_node(int node_id)
{
	return node_id >= 0 && node_id < NODE_SET_MAX;
}

static unsigned long bit(int node_id)
{
	return 1UL << (node_id % WORD_BITS);
}

void node_set_clear(struct node_set *set)
{
	memset(set, 0, sizeof(*set));
}

void node_set_add(struct node_set *set, int node_id)
{
	if (is_node(node_id))
		set->words[node_id / WORD_BITS] |= bit(node_id);
}

void node_set_remove(struct node_set *set, int node_id)
{
	if (is_node(node_id))
		set->words[node_id / WORD_BITS] &= ~bit(node_id);
}

bool node_set_has(const struct node_set *set, int node_id)
{
	return is_node(node_id) && (set->words[node_id / WORD_BITS] & bit(node_id));
}

bool node_set_is_empty(const struct node_set *set)
{
	return node_set_next(set, -1) < 0;
}

int node_set_count(const struct node_set *set)
{
	int count = 0;

	for (int i = 0; i < WORDS; i++)
		count += __builtin_popcountl(set->words[i]);
	return count;
}

int node_set_next(const struct node_set *set, int after)
{
	for (int node_id = after + 1; node_id < NODE_SET_MAX;) {
		unsigned long rest = set->words[node_id / WORD_BITS] >> (node_id % WORD_BITS);

		if (rest)
			return node_id + __builtin_ctzl(rest);
		node_id = (node_id / WORD_BITS + 1) * WORD_BITS;
	}
	return -1;
}

struct node_set node_set_of(int node_id)
{
	struct node_set set = {0};

	node_set_add(&set, node_id);
	return set;
}

struct node_set node_set_union(const struct node_set *a, const struct node_set *b)
{
	struct node_set result;

	for (int i = 0; i < WORDS; i++)
		result.words[i] = a->words[i] | b->words[i];
	return result;
}

struct node_set node_set_intersection(const struct node_set *a, const struct node_set *b)
{
	struct node_set result;

	for (int i = 0; i < WORDS; i++)
		result.words[i] = a->words[i] & b->words[i];
	return result;
}

struct node_set node_set_difference(const struct node_set *a, const struct node_set *b)
{
	struct node_set result;

	for (int i = 0; i < WORDS; i++)
		result.words[i] = a->words[i] & ~b->words[i];
	return result;
}

bool node_set_is_equal(const struct node_set *a, const struct node_set *b)
{
	return memcmp(a->words, b->words, sizeof(a->words)) == 0;
}

bool node_set_is_subset(const struct node_set *inner, const struct node_set *outer)
{
	struct node_set rest = node_set_difference(inner, outer);

	return node_set_is_empty(&rest);
}

bool node_set_intersects(const struct node_set *a, const struct node_set *b)
{
	struct node_set both = node_set_intersection(a, b);

	return !node_set_is_empty(&both);
}

/* Reads digits at *text and moves on. */
static int parse_node(const char **text, int *ret_node)
{
	int node_id = 0;

	if (**text < '0' || **text > '9')
		return -EINVAL;
	while (**text >= '0' && **text <= '9') {
		node_id = node_id * 10 + (**text - '0');
		if (node_id >= NODE_SET_MAX)
			return -ERANGE;
		(*text)++;
	}
	*ret_node = node_id;
	return 0;
}

int node_set_parse(const char *text, struct node_set *ret_set)
{
	struct node_set set = {0};
	int last = -1;

	while (*text != '\0' && *text != '\n') {
		int first, end, error = parse_node(&text, &first);

		if (error < 0)
			return error;
		end = first;
		if (*text == '-') {
			text++;
			error = parse_node(&text, &end);
			if (error < 0)
				return error;
		}
		if (first <= last || end < first)
			return -EINVAL;
		for (int node_id = first; node_id <= end; node_id++)
			node_set_add(&set, node_id);
		last = end;
		if (*text == ',') {
			text++;
			if (*text == '\0' || *text == '\n')
				return -EINVAL;
		} else if (*text != '\0' && *text != '\n') {
			return -EINVAL;
		}
	}
	if (*text == '\n' && text[1] != '\0')
		return -EINVAL;
	*ret_set = set;
	return 0;
}

const char *node_set_format(const struct node_set *set, char *text, size_t size)
{
	size_t length = 0;

	if (size)
		text[0] = '\0';
	for (int first = node_set_next(set, -1); first >= 0;) {
		int last = first, written;
		char entry[24];

		while (node_set_has(set, last + 1))
			last++;
		written = first == last ? snprintf(entry, sizeof(entry), "%d", first)
					: snprintf(entry, sizeof(entry), "%d-%d", first, last);
		if (length + (size_t)written + (length ? 1 : 0) >= size)
			break;
		length += (size_t)snprintf(text + length, size - length, "%s%s", length ? "," : "",
					   entry);
		first = node_set_next(set, last);
	}
	return text;
}
