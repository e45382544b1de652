/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guests of a snapshot by UUID, for what asks for many of them: snapshot_guest() looks at one after the other.
 */
#ifndef BALLAST_SERVICE_GUEST_INDEX_H
#define BALLAST_SERVICE_GUEST_INDEX_H

#include "snapshot.h"

/* Stands as long as no guest is added to the snapshot or takes another UUID. */
struct guest_index {
	size_t count;
	struct snapshot_guest **guests; /* owned, by rising UUID; the guests are the snapshot's */
};

/* 0, or -ENOMEM with an empty index. */
int guest_index_init(struct guest_index *index, const struct snapshot *snapshot);
void guest_index_done(struct guest_index *index);
/* NULL: there is none, as of an empty UUID. */
struct snapshot_guest *guest_index_find(const struct guest_index *index, const char *uuid);

#endif
