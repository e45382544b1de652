/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_records.h"

#include <stdlib.h>
#include <string.h>

void guest_records_init(struct guest_records *records, size_t record_size, void (*release)(void *record))
{
	*records = (struct guest_records){.record_size = record_size, .release = release};
}

static void drop(struct guest_records *records, struct guest_record **link)
{
	struct guest_record *record = *link;

	*link = record->next;
	if (records->release)
		records->release(record);
	free(record);
}

void guest_records_done(struct guest_records *records)
{
	while (records->first)
		drop(records, &records->first);
	for (struct guest_records_question *question = records->questions; question; question = question->next)
		question->records = NULL;
	records->questions = NULL;
}

void *guest_records_find(const struct guest_records *records, const char *uuid)
{
	struct guest_record *record = records->first;

	while (record && strcmp(record->uuid, uuid) != 0)
		record = record->next;
	return record;
}

void *guest_records_add(struct guest_records *records, const char *uuid)
{
	struct guest_record *record = calloc(1, records->record_size);

	if (!record)
		return NULL;
	memcpy(record->uuid, uuid, strnlen(uuid, sizeof(record->uuid) - 1));
	record->next = records->first;
	records->first = record;
	return record;
}

void guest_records_forget(struct guest_records *records, const char *uuid)
{
	struct guest_record **link = &records->first;

	while (*link && strcmp((*link)->uuid, uuid) != 0)
		link = &(*link)->next;
	if (*link)
		drop(records, link);
}

void guest_records_visit(struct guest_records *records, void (*visit)(void *user, const char *uuid), void *user)
{
	char uuid[SNAPSHOT_UUID_SIZE];

	for (struct guest_record *record = records->first, *next; record; record = next) {
		next = record->next;
		/* The visit may forget it, and go on with its name. */
		memcpy(uuid, record->uuid, sizeof(uuid));
		visit(user, uuid);
	}
}

struct guest_records_question *guest_records_ask(struct guest_records *records, const char *uuid, int kind)
{
	struct guest_records_question *question = calloc(1, sizeof(*question));

	if (!question)
		return NULL;
	*question = (struct guest_records_question){.records = records, .kind = kind, .next = records->questions};
	memcpy(question->uuid, uuid, strnlen(uuid, sizeof(question->uuid) - 1));
	records->questions = question;
	return question;
}

bool guest_records_is_asking(const struct guest_records *records, const char *uuid)
{
	const struct guest_records_question *question = records->questions;

	while (question && strcmp(question->uuid, uuid) != 0)
		question = question->next;
	return question;
}

void *guest_records_answer(struct guest_records_question *question)
{
	struct guest_records *records = question->records;
	void *record = NULL;

	if (records) {
		struct guest_records_question **link = &records->questions;

		while (*link != question)
			link = &(*link)->next;
		*link = question->next;
		record = guest_records_find(records, question->uuid);
	}
	free(question);
	return record;
}
