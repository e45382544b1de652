/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a keeper knows of each guest, by its UUID, and the questions to agents whose answers it waits for. An answer may
 * come after its guest has been forgotten, and after the keeper has gone: it finds nothing then.
 */
#ifndef BALLAST_SERVICE_GUEST_RECORDS_H
#define BALLAST_SERVICE_GUEST_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include "snapshot.h"

/* The first member of what the keeper knows of a guest. */
struct guest_record {
	char uuid[SNAPSHOT_UUID_SIZE];
	struct guest_record *next;
};

/* On its way. What ends it is guest_records_answer(). */
struct guest_records_question {
	struct guest_records *records; /* borrowed; NULL: nobody waits for it any more */
	char uuid[SNAPSHOT_UUID_SIZE];
	int kind;
	struct guest_records_question *next;
};

struct guest_records {
	size_t record_size;
	void (*release)(void *record);		  /* frees what it owns, not itself; may be NULL */
	struct guest_record *first;		  /* owned */
	struct guest_records_question *questions; /* each is freed by its answer */
};

void guest_records_init(struct guest_records *records, size_t record_size, void (*release)(void *record));
/* The questions that are on their way will find nothing. */
void guest_records_done(struct guest_records *records);

/* NULL: there is none. */
void *guest_records_find(const struct guest_records *records, const char *uuid);
/* Of a guest that has none yet: zeroed but for the UUID. NULL where memory is short. */
void *guest_records_add(struct guest_records *records, const char *uuid);
/* There need not be one. */
void guest_records_forget(struct guest_records *records, const char *uuid);
/* Of every guest in turn; that one may be forgotten, and others come, meanwhile. */
void guest_records_visit(struct guest_records *records, void (*visit)(void *user, const char *uuid), void *user);

/* The caller asks that guest's agent; kind is its own. NULL where memory is short. */
struct guest_records_question *guest_records_ask(struct guest_records *records, const char *uuid, int kind);
bool guest_records_is_asking(const struct guest_records *records, const char *uuid);
/* It has been answered, or could not be asked. Frees it. The guest's record; NULL where there is none any more. */
void *guest_records_answer(struct guest_records_question *question);

#endif
