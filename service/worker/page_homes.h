/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node on which each page of a guest was: written down before a move, in little room, for its undo.
 *
 * Memory that lies page by page on several nodes has no runs worth the name. It is cut into chunks; a chunk that is like
 * the one before costs nothing (interleaved memory is so throughout), another one a few bits a page. What all chunks may
 * take together is bounded: from then on of a chunk that is mixed it is only known that it was.
 */
#ifndef BALLAST_SERVICE_PAGE_HOMES_H
#define BALLAST_SERVICE_PAGE_HOMES_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Pages are told in this unit, whatever their own size. */
#define PAGE_HOMES_UNIT 4096
/*
 * So many pages are a chunk. A multiple of the periods of memory interleaved by small pages over 2, 3, 4, 6 or 8 nodes and
 * by huge pages of 2 MiB over 2 or 3.
 */
#define PAGE_HOMES_CHUNK 3072
/*
 * Bytes in which pages are told one by one: enough for 96 GiB without any order over two nodes. A third more is for
 * what can be told of the rest; as text all of it stays below WORKER_MESSAGE_WHOLE_MAX.
 */
#define PAGE_HOMES_BYTES (3u << 20)

/* In place of a node's number. */
#define PAGE_HOMES_NONE	   (-1) /* nothing to bring home */
#define PAGE_HOMES_UNKNOWN (-2) /* some of it was on one node and some on another, or not to be brought home */
#define PAGE_HOMES_STAYS   (-3) /* it was there already, where the move brings others: nothing to bring home */

struct page_homes_part;

struct page_homes {
	struct page_homes_part *parts; /* owned; ascending, not touching each other's pages */
	size_t count, room;
	size_t limit, used; /* bytes */
	/* Of what was parsed. */
	uint64_t nodes;	       /* mask of all homes */
	uint64_t bytes;	       /* that have a home */
	uint64_t unknown_bytes;
};

/* limit: PAGE_HOMES_BYTES, or less. */
void page_homes_init(struct page_homes *homes, size_t limit);
void page_homes_done(struct page_homes *homes);

/* A further part of the guest's memory, above those before it; nothing of it has a home yet. 0 or -ENOMEM. */
int page_homes_begin(struct page_homes *homes, uint64_t start, uint64_t end);
/* Pages of the last part, above those before them. 0 or -ENOMEM. */
int page_homes_add(struct page_homes *homes, uint64_t start, uint64_t end, int node);
/* Drops what was said of the last part. */
void page_homes_restart(struct page_homes *homes);

/* Of all parts; nothing can be added after that. NULL where memory is short. */
json_t *page_homes_to_json(struct page_homes *homes);
/* Strict. 0, -EINVAL or -ENOMEM. */
int page_homes_parse(const json_t *json, struct page_homes *ret_homes);

/* Of what was parsed: the home of the page at address, or one of the above; *ret_end is up to where it is the same at least. */
int page_homes_find(const struct page_homes *homes, uint64_t address, uint64_t *ret_end);

#endif
