/* SPDX-License-Identifier: Apache-2.0 */
#include "lease.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cleanup.h"
#include "failure.h"
#include "memory_block.h"
#include "message.h"

#define FILE_NAME  "leases"
#define FIRST_LINE "ballast-agent leases 1"

void lease_book_init(struct lease_book *book, const char *directory,
		     const uint8_t boot_id[LEASE_BOOT_ID_BYTES])
{
	memset(book, 0, sizeof(*book));
	snprintf(book->directory, sizeof(book->directory), "%s", directory);
	memcpy(book->boot_id, boot_id, sizeof(book->boot_id));
}

void lease_entries_done(struct lease_entries *entries)
{
	free(entries->items);
	*entries = (struct lease_entries){0};
}

static void clear(struct lease_book *book)
{
	for (size_t i = 0; i < book->count; i++)
		lease_entries_done(&book->leases[i].entries);
	book->count = 0;
	lease_entries_done(&book->taken);
}

void lease_book_done(struct lease_book *book)
{
	clear(book);
}

struct lease_entry *lease_entries_find(struct lease_entries *entries, enum lease_kind kind,
				       int node_id, uint64_t key)
{
	for (size_t i = 0; i < entries->count; i++) {
		struct lease_entry *entry = &entries->items[i];

		if (entry->kind == kind && entry->node_id == node_id && entry->key == key)
			return entry;
	}
	return NULL;
}

int lease_entries_add(struct lease_entries *entries, const struct lease_entry *entry)
{
	struct lease_entry *known =
		lease_entries_find(entries, entry->kind, entry->node_id, entry->key);

	if (known) {
		known->took += entry->took;
		return 0;
	}
	if (entries->count == LEASE_ENTRIES_MAX)
		return -ENOSPC;
	if (entries->count == entries->capacity) {
		size_t capacity = entries->capacity ? 2 * entries->capacity : 16;
		struct lease_entry *items = reallocarray(entries->items, capacity, sizeof(*items));

		if (!items)
			return -ENOMEM;
		entries->items = items;
		entries->capacity = capacity;
	}
	entries->items[entries->count++] = *entry;
	return 0;
}

void lease_entries_remove(struct lease_entries *entries, struct lease_entry *entry)
{
	size_t index = (size_t)(entry - entries->items);

	memmove(entry, entry + 1, (entries->count - index - 1) * sizeof(*entry));
	entries->count--;
}

struct lease *lease_book_find(struct lease_book *book, uint64_t id)
{
	for (size_t i = 0; i < book->count; i++)
		if (book->leases[i].id == id)
			return &book->leases[i];
	return NULL;
}

static bool is_of_pool(const struct lease_entry *entry)
{
	return entry->kind == LEASE_POOL || entry->kind == LEASE_ROOM || entry->kind == LEASE_SURPLUS;
}

bool lease_book_has_pools(const struct lease_book *book)
{
	for (size_t i = 0; i < book->count; i++)
		for (size_t j = 0; j < book->leases[i].entries.count; j++)
			if (is_of_pool(&book->leases[i].entries.items[j]))
				return true;
	return book->taken.count > 0;
}

struct lease *lease_book_open(struct lease_book *book, uint64_t id, uint32_t lease_ms,
			      uint64_t now_ms)
{
	struct lease *lease = lease_book_find(book, id);

	if (lease && lease->ending)
		return NULL;
	if (!lease) {
		if (book->count == LIMIT_LEASES)
			return NULL;
		lease = &book->leases[book->count++];
		*lease = (struct lease){.id = id};
	}
	lease->expires_ms = now_ms + lease_ms;
	return lease;
}

void lease_book_remove(struct lease_book *book, struct lease *lease)
{
	size_t index = (size_t)(lease - book->leases);

	lease_entries_done(&lease->entries);
	memmove(lease, lease + 1, (book->count - index - 1) * sizeof(*lease));
	book->count--;
}

uint64_t lease_book_expire(struct lease_book *book, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < book->count; i++) {
		struct lease *lease = &book->leases[i];

		if (now_ms >= lease->expires_ms)
			lease->ending = true;
		uint64_t at_ms = lease->ending ? lease->retry_ms : lease->expires_ms;

		/* One that is due is being undone, or waits for what runs: no matter of time. */
		if ((!lease->ending || at_ms > now_ms) && at_ms < next)
			next = at_ms;
	}
	return next;
}

struct lease *lease_book_ending(struct lease_book *book, uint64_t now_ms)
{
	for (size_t i = 0; i < book->count; i++)
		if (book->leases[i].ending && now_ms >= book->leases[i].retry_ms)
			return &book->leases[i];
	return NULL;
}

void lease_book_retry(struct lease_book *book, struct lease *lease, uint64_t now_ms)
{
	uint64_t wait_ms = LEASE_RETRY_MS;

	for (unsigned i = 0; i < lease->tries && wait_ms < LEASE_RETRY_MOST_MS; i++)
		wait_ms *= 2;
	lease->retry_ms =
		now_ms + (wait_ms < LEASE_RETRY_MOST_MS ? wait_ms : LEASE_RETRY_MOST_MS);
	lease->tries++;
	for (size_t i = 0; i < book->count; i++) {
		struct lease *other = &book->leases[i];

		if (other == lease || !other->tries)
			continue;
		for (size_t j = 0; j < lease->entries.count; j++)
			if (lease_entries_add(&other->entries, &lease->entries.items[j]) < 0)
				return; /* each stays where it is */
		other->retry_ms = lease->retry_ms;
		lease_book_remove(book, lease);
		return;
	}
}

bool lease_kind_is_setting(enum lease_kind kind)
{
	return kind == LEASE_AUTO_ONLINE || kind == LEASE_ZONE_POLICY || kind == LEASE_MOVABLE_RATIO ||
	       kind == LEASE_UNPLUG_ONLINE;
}

/* Leases stand in the order in which they were begun. */
void lease_book_hand_over(struct lease_book *book, struct lease *lease)
{
	for (size_t i = 0; i < lease->entries.count;) {
		const struct lease_entry *entry = &lease->entries.items[i];
		struct lease_entry *later = NULL;

		for (struct lease *other = lease + 1;
		     lease_kind_is_setting(entry->kind) && !later && other < book->leases + book->count; other++)
			later = lease_entries_find(&other->entries, entry->kind, entry->node_id, entry->key);
		if (!later) {
			i++;
			continue;
		}
		later->old = entry->old;
		lease_entries_remove(&lease->entries, &lease->entries.items[i]);
	}
}

static void print_entry(FILE *file, const struct lease_entry *entry)
{
	switch (entry->kind) {
	case LEASE_POOL:
		fprintf(file, "pool %d %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", entry->node_id,
			entry->key, entry->old, entry->took);
		return;
	case LEASE_BLOCK:
		fprintf(file, "block %" PRIu64 " %s\n", entry->key,
			memory_zone_name((enum memory_zone)entry->old));
		return;
	case LEASE_AUTO_ONLINE:
		fprintf(file, "auto_online %s\n",
			memory_block_auto_online_name((enum memory_block_auto_online)entry->old));
		return;
	case LEASE_ZONE_POLICY:
		fprintf(file, "zone_policy %s\n",
			message_zone_policy_name((enum message_zone_policy)entry->old));
		return;
	case LEASE_MOVABLE_RATIO:
		fprintf(file, "movable_ratio %" PRIu64 "\n", entry->old);
		return;
	case LEASE_UNPLUG_ONLINE:
		fprintf(file, "unplug_online %" PRIu64 "\n", entry->old);
		return;
	case LEASE_ROOM:
		fprintf(file, "room %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", entry->key, entry->old,
			entry->took);
		return;
	case LEASE_SURPLUS:
		fprintf(file, "surplus %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", entry->key, entry->old,
			entry->took);
		return;
	case LEASE_HOOKS:
		fprintf(file, "hooks %" PRIu64 " %" PRIu64 "\n", entry->old, entry->took);
		return;
	case LEASE_HOOK_RANGE:
		fprintf(file, "hook_range %" PRIu64 " %" PRIu64 "\n", entry->key, entry->old);
		return;
	case LEASE_KIND_COUNT:
		return;
	}
}

static void print_book(FILE *file, const struct lease_book *book)
{
	fprintf(file, FIRST_LINE "\nboot ");
	for (size_t i = 0; i < sizeof(book->boot_id); i++)
		fprintf(file, "%02x", book->boot_id[i]);
	fputc('\n', file);
	for (size_t i = 0; i < book->taken.count; i++)
		fprintf(file, "taken %d %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
			book->taken.items[i].node_id, book->taken.items[i].key,
			book->taken.items[i].old, book->taken.items[i].took);
	for (size_t i = 0; i < book->count; i++) {
		const struct lease *lease = &book->leases[i];

		fprintf(file, "lease %" PRIu64 "\n", lease->id);
		for (size_t j = 0; j < lease->entries.count; j++)
			print_entry(file, &lease->entries.items[j]);
	}
	fprintf(file, "end\n");
}

/* Makes all the directories of the path; an existing one is fine. */
static int make_directory(const char *path)
{
	char part[256];

	snprintf(part, sizeof(part), "%s", path);
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	if (mkdir(part, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

static int write_file(int directory, const struct lease_book *book)
{
	CLEANUP_CLOSE int fd =
		openat(directory, FILE_NAME ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	CLEANUP(cleanup_fclose) FILE *file = fdopen(fd, "w");

	if (!file)
		return -errno;
	fd = -1;
	print_book(file, book);
	errno = EIO;
	if (fflush(file) != 0 || ferror(file))
		return -errno;
	if (fsync(fileno(file)) < 0)
		return -errno;
	return 0;
}

int lease_book_save(const struct lease_book *book, struct failure *failure)
{
	CLEANUP_CLOSE int directory = -1;
	int error = make_directory(book->directory);

	if (error == 0) {
		directory = open(book->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		error = directory < 0 ? -errno : 0;
	}
	if (error == 0)
		error = write_file(directory, book);
	if (error == 0 && renameat(directory, FILE_NAME ".new", directory, FILE_NAME) < 0)
		error = -errno;
	if (error == 0 && fsync(directory) < 0)
		error = -errno;
	if (error < 0) {
		failure_set(failure, error, book->directory, "cannot write the lease file");
		failure_set_way_out(failure, "set lease_directory to a place that can be written");
	}
	return error;
}

/* A record of one line; the words behind its first. False where it is not as it should be. */
static bool parse_number(const char *word, uint64_t *ret_number)
{
	char *end;

	if (!word || word[0] < '0' || word[0] > '9')
		return false;
	errno = 0;
	*ret_number = strtoull(word, &end, 10);
	return errno == 0 && *end == '\0';
}

static bool parse_node(const char *word, int *ret_node)
{
	uint64_t number;

	if (word && strcmp(word, "-1") == 0) {
		*ret_node = -1;
		return true;
	}
	if (!parse_number(word, &number) || number > 65535)
		return false;
	*ret_node = (int)number;
	return true;
}

static int zone_policy_from_name(const char *word)
{
	for (int i = 0; i < MESSAGE_ZONE_POLICY_COUNT; i++)
		if (strcmp(word, message_zone_policy_name((enum message_zone_policy)i)) == 0)
			return i;
	return -1;
}

static bool parse_word(const char *word, int (*from_name)(const char *), uint64_t *ret_value)
{
	int value = word ? from_name(word) : -1;

	if (value < 0)
		return false;
	*ret_value = (uint64_t)value;
	return true;
}

#define WORDS_MAX 5

static bool parse_entry(char *const words[WORDS_MAX], size_t count, struct lease_entry *entry)
{
	*entry = (struct lease_entry){.node_id = -1};
	if (strcmp(words[0], "pool") == 0) {
		entry->kind = LEASE_POOL;
		return count == 5 && parse_node(words[1], &entry->node_id) &&
		       parse_number(words[2], &entry->key) && parse_number(words[3], &entry->old) &&
		       parse_number(words[4], &entry->took);
	}
	if (strcmp(words[0], "block") == 0) {
		entry->kind = LEASE_BLOCK;
		return count == 3 && parse_number(words[1], &entry->key) &&
		       parse_word(words[2], memory_zone_from_name, &entry->old);
	}
	if (strcmp(words[0], "room") == 0 || strcmp(words[0], "surplus") == 0) {
		entry->kind = words[0][0] == 'r' ? LEASE_ROOM : LEASE_SURPLUS;
		return count == 4 && parse_number(words[1], &entry->key) && entry->key > 0 &&
		       parse_number(words[2], &entry->old) && parse_number(words[3], &entry->took);
	}
	if (strcmp(words[0], "hook_range") == 0) {
		entry->kind = LEASE_HOOK_RANGE;
		return count == 3 && parse_number(words[1], &entry->key) &&
		       parse_number(words[2], &entry->old);
	}
	if (strcmp(words[0], "hooks") == 0) {
		entry->kind = LEASE_HOOKS;
		return count == 3 && parse_number(words[1], &entry->old) &&
		       parse_number(words[2], &entry->took) && entry->took <= 1;
	}
	if (count != 2)
		return false;
	if (strcmp(words[0], "auto_online") == 0) {
		entry->kind = LEASE_AUTO_ONLINE;
		return parse_word(words[1], memory_block_auto_online_from_name, &entry->old);
	}
	if (strcmp(words[0], "zone_policy") == 0) {
		entry->kind = LEASE_ZONE_POLICY;
		return parse_word(words[1], zone_policy_from_name, &entry->old);
	}
	if (strcmp(words[0], "movable_ratio") == 0) {
		entry->kind = LEASE_MOVABLE_RATIO;
		return parse_number(words[1], &entry->old);
	}
	entry->kind = LEASE_UNPLUG_ONLINE;
	return strcmp(words[0], "unplug_online") == 0 && parse_number(words[1], &entry->old) &&
	       entry->old <= 1;
}

static size_t split(char *line, char *words[WORDS_MAX])
{
	size_t count = 0;
	char *rest = NULL;

	for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		if (count == WORDS_MAX)
			return 0;
		words[count++] = word;
	}
	return count;
}

static int parse_line(struct lease_book *book, char *line, struct lease **lease)
{
	char *words[WORDS_MAX];
	size_t count = split(line, words);
	struct lease_entry entry = {.kind = LEASE_POOL};
	uint64_t id;

	if (count == 0)
		return -EBADMSG;
	if (strcmp(words[0], "taken") == 0) {
		if (count != 5 || !parse_node(words[1], &entry.node_id) ||
		    !parse_number(words[2], &entry.key) || !parse_number(words[3], &entry.old) ||
		    !parse_number(words[4], &entry.took))
			return -EBADMSG;
		return lease_entries_add(&book->taken, &entry);
	}
	if (strcmp(words[0], "lease") == 0) {
		if (count != 2 || !parse_number(words[1], &id) || lease_book_find(book, id))
			return -EBADMSG;
		*lease = lease_book_open(book, id, 0, 0);
		if (!*lease)
			return -EBADMSG;
		return 0;
	}
	if (!*lease || !parse_entry(words, count, &entry))
		return -EBADMSG;
	return lease_entries_add(&(*lease)->entries, &entry);
}

/* 1 where the file is of another boot. */
static int parse_file(struct lease_book *book, FILE *file)
{
	char line[256], boot[2 * LEASE_BOOT_ID_BYTES + 1];
	struct lease *lease = NULL;

	for (size_t i = 0; i < sizeof(book->boot_id); i++)
		snprintf(boot + 2 * i, 3, "%02x", book->boot_id[i]);
	for (unsigned number = 1; fgets(line, sizeof(line), file); number++) {
		char *end = strchr(line, '\n');

		if (!end)
			return -EBADMSG;
		*end = '\0';
		if (number == 1) {
			if (strcmp(line, FIRST_LINE) != 0)
				return -EBADMSG;
			continue;
		}
		if (number == 2) {
			if (strncmp(line, "boot ", 5) != 0)
				return -EBADMSG;
			if (strcmp(line + 5, boot) != 0)
				return 1;
			continue;
		}
		if (strcmp(line, "end") == 0)
			return fgetc(file) == EOF ? 0 : -EBADMSG;
		int error = parse_line(book, line, &lease);

		if (error < 0)
			return error;
	}
	return -EBADMSG;
}

int lease_book_load(struct lease_book *book, struct failure *failure)
{
	CLEANUP_CLOSE int directory = open(book->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	clear(book);
	if (directory < 0)
		return errno == ENOENT
			       ? 0
			       : failure_set(failure, errno, book->directory, "cannot open");
	CLEANUP_CLOSE int fd = openat(directory, FILE_NAME, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0
				       : failure_set(failure, errno, book->directory,
						     "cannot read the leases");
	CLEANUP(cleanup_fclose) FILE *file = fdopen(fd, "r");

	if (!file)
		return failure_set(failure, errno, book->directory, "cannot read the leases");
	fd = -1;
	int result = parse_file(book, file);

	for (size_t i = 0; i < book->count; i++)
		book->leases[i].ending = true;
	if (result == 0)
		return 0;
	clear(book);
	if (result == 1)
		return 0;
	if (renameat(directory, FILE_NAME, directory, FILE_NAME ".bad") < 0)
		result = -errno;
	failure_set(failure, result, book->directory, "cannot read the leases");
	failure_set_cause(failure, "the file is damaged; it is kept as " FILE_NAME ".bad");
	failure_set_way_out(failure,
			    "compare it with the guest's huge page pools and memory blocks");
	return result;
}
