/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part's bytes are pieces of text, one after the other, each for one or more chunks. A piece begins with a number of
 * which the lowest two bits say what it is:
 *
 *   run     number of pages, place
 *   runs    number of like chunks, number of runs, then each run: place, pages
 *   packed  number of like chunks, number of places, the places, then each page: which of them, in the fewest bits
 *
 * A number has seven bits a byte, the lowest first. A place is a node, or one of three that are not. The last chunk of a part
 * is filled up with pages that have no home.
 */
#include "page_homes.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base64.h"
#include "cleanup.h"
#include "snapshot.h"

#define CHUNK	    PAGE_HOMES_CHUNK
#define NONE	    0xff
#define UNKNOWN	    0xfe
#define STAYS	    0xfd
#define NUMBER_SIZE 10
/* A run piece at most. */
#define RUN_SIZE    (NUMBER_SIZE + 1)
/* A chunk in its longest form: eight bits a page, and all places. */
#define PIECE_SIZE  (2 * NUMBER_SIZE + 256 + CHUNK)
/* From one mark to the next a search goes piece by piece. */
#define MARK_PIECES 32
/* Addresses have at most 57 bits. */
#define PAGES_MAX   (UINT64_C(1) << 45)

enum piece_kind { PIECE_RUN, PIECE_RUNS, PIECE_PACKED, PIECE_COUNT };

struct mark {
	uint64_t page; /* of the part */
	size_t offset;
};

struct page_homes_part {
	uint64_t first, pages;
	uint8_t *bytes; /* owned */
	size_t size, room;
	struct mark *marks; /* owned; after a parse */
	size_t mark_count;
	/* While it is written: the chunk that fills up, and what waits behind it: a run, or one chunk several times. */
	struct draft {
		uint64_t added;
		size_t fill;
		uint8_t chunk[CHUNK];
		uint8_t run_place;
		uint64_t run_pages;
		uint8_t like[CHUNK];
		uint64_t repeats;
	} *draft; /* owned */
};

/* A piece as it is read. */
struct piece {
	enum piece_kind kind;
	uint64_t repeats; /* of its pages */
	uint64_t pages;	  /* each time */
	size_t count;	  /* of runs or places */
	const uint8_t *places;
	const uint8_t *data;
	unsigned bits;
};

static int error_of_place(uint8_t place)
{
	return place < SNAPSHOT_NODES_MAX || place == NONE || place == UNKNOWN || place == STAYS ? 0 : -EINVAL;
}

static int node_of_place(uint8_t place)
{
	switch (place) {
	case NONE:
		return PAGE_HOMES_NONE;
	case UNKNOWN:
		return PAGE_HOMES_UNKNOWN;
	case STAYS:
		return PAGE_HOMES_STAYS;
	default:
		return place;
	}
}

static uint8_t place_of_node(int node)
{
	if (node >= 0 && node < SNAPSHOT_NODES_MAX)
		return (uint8_t)node;
	return node == PAGE_HOMES_UNKNOWN ? UNKNOWN : node == PAGE_HOMES_STAYS ? STAYS : NONE;
}

static unsigned bits_of(size_t places)
{
	unsigned bits = 0;

	while ((size_t)1 << bits < places)
		bits++;
	return bits;
}

void page_homes_init(struct page_homes *homes, size_t limit)
{
	*homes = (struct page_homes){.limit = limit};
}

void page_homes_done(struct page_homes *homes)
{
	for (size_t i = 0; i < homes->count; i++) {
		free(homes->parts[i].bytes);
		free(homes->parts[i].marks);
		free(homes->parts[i].draft);
	}
	free(homes->parts);
	memset(homes, 0, sizeof(*homes));
}

/* Writing */

static size_t put_number(uint8_t *bytes, uint64_t number)
{
	size_t size = 0;

	for (; number > 0x7f; number >>= 7)
		bytes[size++] = (uint8_t)(number | 0x80);
	bytes[size++] = (uint8_t)number;
	return size;
}

static int put(struct page_homes *homes, const uint8_t *bytes, size_t size)
{
	struct page_homes_part *part = &homes->parts[homes->count - 1];

	if (part->room - part->size < size) {
		size_t room = 2 * part->room + size + 64;
		uint8_t *grown = realloc(part->bytes, room);

		if (!grown)
			return -ENOMEM;
		part->bytes = grown;
		part->room = room;
	}
	memcpy(part->bytes + part->size, bytes, size);
	part->size += size;
	homes->used += size;
	return 0;
}

static size_t write_runs(const uint8_t *chunk, uint64_t repeats, uint8_t *piece)
{
	uint8_t runs[PIECE_SIZE];
	size_t size = 0, count = 0, head;

	for (size_t i = 0, next; i < CHUNK; i = next) {
		for (next = i + 1; next < CHUNK && chunk[next] == chunk[i];)
			next++;
		/* As long as the other form can be: that one is taken then. */
		if (size + RUN_SIZE > CHUNK)
			return SIZE_MAX;
		runs[size++] = chunk[i];
		size += put_number(runs + size, next - i);
		count++;
	}
	head = put_number(piece, repeats << 2 | PIECE_RUNS);
	head += put_number(piece + head, count);
	memcpy(piece + head, runs, size);
	return head + size;
}

static size_t write_packed(const uint8_t *chunk, uint64_t repeats, uint8_t *piece)
{
	uint8_t index[256] = {0}, places[256];
	bool is_there[256] = {false};
	size_t count = 0, size;
	unsigned bits;

	for (size_t i = 0; i < CHUNK; i++) {
		if (is_there[chunk[i]])
			continue;
		is_there[chunk[i]] = true;
		index[chunk[i]] = (uint8_t)count;
		places[count++] = chunk[i];
	}
	bits = bits_of(count);
	size = put_number(piece, repeats << 2 | PIECE_PACKED);
	size += put_number(piece + size, count);
	memcpy(piece + size, places, count);
	size += count;
	memset(piece + size, 0, (CHUNK * bits + 7) / 8);
	for (size_t i = 0; i < CHUNK; i++)
		for (unsigned bit = 0; bit < bits; bit++)
			if (index[chunk[i]] >> bit & 1)
				piece[size + (i * bits + bit) / 8] |= (uint8_t)(1 << (i * bits + bit) % 8);
	return size + (CHUNK * bits + 7) / 8;
}

static int flush_run(struct page_homes *homes, struct draft *draft)
{
	uint8_t piece[RUN_SIZE];
	size_t size;

	if (!draft->run_pages)
		return 0;
	size = put_number(piece, draft->run_pages << 2 | PIECE_RUN);
	piece[size++] = draft->run_place;
	draft->run_pages = 0;
	return put(homes, piece, size);
}

static int add_run(struct page_homes *homes, struct draft *draft, uint8_t place, uint64_t pages)
{
	/* The end of the room: one last run is still to be written, and of all that follows nothing is known. */
	if (homes->used + 2 * RUN_SIZE > homes->limit + homes->limit / 3)
		place = UNKNOWN;
	if (draft->run_pages && draft->run_place != place) {
		int rc = flush_run(homes, draft);

		if (rc)
			return rc;
	}
	draft->run_place = place;
	draft->run_pages += pages;
	return 0;
}

/* Writes the chunks that wait, in the shorter form. */
static int flush_like(struct page_homes *homes, struct draft *draft)
{
	uint8_t runs[PIECE_SIZE], packed[PIECE_SIZE];
	size_t runs_size, packed_size, size;
	uint64_t pages = draft->repeats * CHUNK;
	int rc;

	if (!draft->repeats)
		return 0;
	runs_size = write_runs(draft->like, draft->repeats, runs);
	packed_size = write_packed(draft->like, draft->repeats, packed);
	size = runs_size < packed_size ? runs_size : packed_size;
	draft->repeats = 0;
	if (homes->used + size > homes->limit)
		return add_run(homes, draft, UNKNOWN, pages);
	rc = flush_run(homes, draft);
	return rc ? rc : put(homes, runs_size < packed_size ? runs : packed, size);
}

/* So many pages, whole chunks of them, of one place. */
static int add_uniform(struct page_homes *homes, struct draft *draft, uint8_t place, uint64_t pages)
{
	int rc = flush_like(homes, draft);

	return rc ? rc : add_run(homes, draft, place, pages);
}

static int end_chunk(struct page_homes *homes, struct draft *draft)
{
	int rc;

	draft->fill = 0;
	if (memcmp(draft->chunk, draft->chunk + 1, CHUNK - 1) == 0)
		return add_uniform(homes, draft, draft->chunk[0], CHUNK);
	if (draft->repeats && memcmp(draft->chunk, draft->like, CHUNK) == 0) {
		draft->repeats++;
		return 0;
	}
	rc = flush_like(homes, draft);
	memcpy(draft->like, draft->chunk, CHUNK);
	draft->repeats = 1;
	return rc;
}

static int append(struct page_homes *homes, uint8_t place, uint64_t pages)
{
	struct draft *draft = homes->parts[homes->count - 1].draft;
	int rc = 0;

	draft->added += pages;
	while (!rc && pages) {
		uint64_t now = pages - pages % CHUNK;

		if (draft->fill || !now) {
			now = pages < CHUNK - draft->fill ? pages : CHUNK - draft->fill;
			memset(draft->chunk + draft->fill, place, now);
			draft->fill += now;
			rc = draft->fill == CHUNK ? end_chunk(homes, draft) : 0;
		} else {
			rc = add_uniform(homes, draft, place, now);
		}
		pages -= now;
	}
	return rc;
}

/* What waits of the last part is written. */
static int finish_part(struct page_homes *homes)
{
	struct page_homes_part *part = homes->count ? &homes->parts[homes->count - 1] : NULL;
	int rc;

	if (!part || !part->draft)
		return 0;
	rc = append(homes, NONE, part->pages - part->draft->added);
	if (!rc && part->draft->fill)
		rc = append(homes, NONE, CHUNK - part->draft->fill);
	if (!rc)
		rc = flush_like(homes, part->draft);
	if (!rc)
		rc = flush_run(homes, part->draft);
	free(part->draft);
	part->draft = NULL;
	return rc;
}

/* A further part, without anything in it. */
static int new_part(struct page_homes *homes, uint64_t first, uint64_t pages)
{
	if (homes->count == homes->room) {
		size_t room = homes->room ? 2 * homes->room : 8;
		struct page_homes_part *grown = reallocarray(homes->parts, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		homes->parts = grown;
		homes->room = room;
	}
	homes->parts[homes->count++] = (struct page_homes_part){.first = first, .pages = pages};
	return 0;
}

int page_homes_begin(struct page_homes *homes, uint64_t start, uint64_t end)
{
	int rc = finish_part(homes);

	if (!rc)
		rc = new_part(homes, start / PAGE_HOMES_UNIT, (end - start) / PAGE_HOMES_UNIT);
	if (rc)
		return rc;
	homes->parts[homes->count - 1].draft = calloc(1, sizeof(struct draft));
	return homes->parts[homes->count - 1].draft ? 0 : -ENOMEM;
}

int page_homes_add(struct page_homes *homes, uint64_t start, uint64_t end, int node)
{
	struct page_homes_part *part = &homes->parts[homes->count - 1];
	uint64_t first = start / PAGE_HOMES_UNIT - part->first, pages = (end - start) / PAGE_HOMES_UNIT;
	int rc = append(homes, NONE, first - part->draft->added);

	return rc ? rc : append(homes, place_of_node(node), pages);
}

void page_homes_restart(struct page_homes *homes)
{
	struct page_homes_part *part = &homes->parts[homes->count - 1];

	homes->used -= part->size;
	part->size = 0;
	memset(part->draft, 0, sizeof(*part->draft));
}

json_t *page_homes_to_json(struct page_homes *homes)
{
	json_t *list = finish_part(homes) ? NULL : json_array();

	for (size_t i = 0; list && i < homes->count; i++) {
		const struct page_homes_part *part = &homes->parts[i];
		CLEANUP_FREE char *text = base64_encode(part->bytes, part->size);
		json_t *entry = text ? json_pack("{s:I, s:I, s:s}", "first", (json_int_t)part->first, "pages",
						 (json_int_t)part->pages, "homes", text)
				     : NULL;

		if (!entry || json_array_append_new(list, entry)) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

/* Reading */

/* Of what is left, from *at on. */
static int get_number(const struct page_homes_part *part, size_t *at, uint64_t *ret_number)
{
	uint64_t number = 0;

	for (unsigned shift = 0; *at < part->size && shift < 63; shift += 7) {
		uint8_t byte = part->bytes[(*at)++];

		number |= (uint64_t)(byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		*ret_number = number;
		return 0;
	}
	return -EINVAL;
}

static int get_runs(const struct page_homes_part *part, size_t *at, struct piece *piece)
{
	uint64_t pages = 0, count;

	piece->data = part->bytes + *at;
	for (size_t i = 0; i < piece->count; i++) {
		if (*at >= part->size || error_of_place(part->bytes[(*at)++]) || get_number(part, at, &count) ||
		    !count || count > CHUNK - pages)
			return -EINVAL;
		pages += count;
	}
	return pages == CHUNK ? 0 : -EINVAL;
}

static int get_packed(const struct page_homes_part *part, size_t *at, struct piece *piece)
{
	size_t size;

	piece->bits = bits_of(piece->count);
	size = piece->count + (CHUNK * piece->bits + 7) / 8;
	if (piece->count < 2 || part->size - *at < size)
		return -EINVAL;
	piece->places = part->bytes + *at;
	piece->data = piece->places + piece->count;
	for (size_t i = 0; i < piece->count; i++)
		if (error_of_place(piece->places[i]))
			return -EINVAL;
	*at += size;
	return 0;
}

/* The piece at *at, which is behind it then. 0 or -EINVAL. */
static int get_piece(const struct page_homes_part *part, size_t *at, struct piece *ret_piece)
{
	uint64_t number, count;

	if (get_number(part, at, &number) || (number & 3) >= PIECE_COUNT || !(number >> 2) ||
	    number >> 2 > PAGES_MAX)
		return -EINVAL;
	*ret_piece = (struct piece){.kind = (enum piece_kind)(number & 3), .repeats = number >> 2, .pages = CHUNK};
	if (ret_piece->kind == PIECE_RUN) {
		ret_piece->places = part->bytes + *at;
		ret_piece->pages = number >> 2;
		ret_piece->repeats = 1;
		return *at < part->size ? error_of_place(part->bytes[(*at)++]) : -EINVAL;
	}
	if (get_number(part, at, &count) || count > CHUNK)
		return -EINVAL;
	ret_piece->count = (size_t)count;
	return ret_piece->kind == PIECE_RUNS ? get_runs(part, at, ret_piece) : get_packed(part, at, ret_piece);
}

static uint8_t packed_at(const struct piece *piece, size_t page)
{
	size_t index = 0;

	for (unsigned bit = 0; bit < piece->bits; bit++) {
		size_t at = page * piece->bits + bit;

		index |= (size_t)(piece->data[at / 8] >> at % 8 & 1) << bit;
	}
	return index < piece->count ? piece->places[index] : NONE;
}

/* The place of a page of a piece, and how many from it on are there too, within this time of it. */
static uint8_t place_at(const struct piece *piece, uint64_t page, uint64_t *ret_pages)
{
	const uint8_t *data = piece->data;
	size_t at = (size_t)(page % piece->pages), next = at + 1;
	uint8_t place;

	switch (piece->kind) {
	case PIECE_RUN:
		*ret_pages = piece->pages - page;
		return piece->places[0];
	case PIECE_PACKED:
		for (place = packed_at(piece, at); next < CHUNK && packed_at(piece, next) == place;)
			next++;
		*ret_pages = next - at;
		return place;
	case PIECE_RUNS:
	case PIECE_COUNT:
		break;
	}
	for (size_t end = 0;;) {
		size_t pages = 0;
		unsigned shift = 0;

		place = *data++;
		do
			pages |= (size_t)(*data & 0x7f) << shift;
		while (shift += 7, *data++ & 0x80);
		end += pages;
		if (at < end) {
			*ret_pages = end - at;
			return place;
		}
	}
}

static void sum_up(struct page_homes *homes, const struct piece *piece)
{
	uint64_t pages;

	for (uint64_t at = 0; at < piece->pages; at += pages) {
		uint8_t place = place_at(piece, at, &pages);
		uint64_t bytes = pages * piece->repeats * PAGE_HOMES_UNIT;

		if (place == UNKNOWN) {
			homes->unknown_bytes += bytes;
		} else if (place != NONE && place != STAYS) {
			homes->bytes += bytes;
			homes->nodes |= UINT64_C(1) << place;
		}
	}
}

static int add_mark(struct page_homes_part *part, uint64_t page, size_t offset)
{
	/* Room is doubled whenever the number is a power of two. */
	if (!(part->mark_count & (part->mark_count - 1))) {
		struct mark *grown = reallocarray(part->marks, part->mark_count ? 2 * part->mark_count : 1,
						  sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		part->marks = grown;
	}
	part->marks[part->mark_count++] = (struct mark){page, offset};
	return 0;
}

/* All of it makes sense, and is as long as it has to be. */
static int check_part(struct page_homes *homes, struct page_homes_part *part)
{
	uint64_t page = 0;
	size_t at = 0;

	for (size_t n = 0; at < part->size; n++) {
		struct piece piece;
		int rc = n % MARK_PIECES ? 0 : add_mark(part, page, at);

		if (!rc)
			rc = get_piece(part, &at, &piece);
		if (rc)
			return rc;
		if (page >= part->pages || piece.repeats > (part->pages - page) / piece.pages + 1)
			return -EINVAL;
		page += piece.pages * piece.repeats;
		sum_up(homes, &piece);
	}
	return page >= part->pages && page - part->pages < CHUNK ? 0 : -EINVAL;
}

static int parse_part(const json_t *json, struct page_homes *homes)
{
	const json_t *text = json_object_get(json, "homes");
	json_int_t first = json_integer_value(json_object_get(json, "first"));
	json_int_t pages = json_integer_value(json_object_get(json, "pages"));
	struct page_homes_part *part;
	int rc;

	if (json_object_size(json) != 3 || !json_is_string(text) || first < 0 || pages < 1 ||
	    (uint64_t)first >= PAGES_MAX || (uint64_t)pages >= PAGES_MAX)
		return -EINVAL;
	part = homes->count ? &homes->parts[homes->count - 1] : NULL;
	if (part && part->first + part->pages > (uint64_t)first)
		return -EINVAL;
	rc = new_part(homes, (uint64_t)first, (uint64_t)pages);
	if (rc)
		return rc;
	part = &homes->parts[homes->count - 1];
	rc = base64_decode(json_string_value(text), &part->bytes, &part->size);
	return rc ? rc : check_part(homes, part);
}

int page_homes_parse(const json_t *json, struct page_homes *ret_homes)
{
	struct page_homes homes;
	int rc = json_is_array(json) ? 0 : -EINVAL;

	page_homes_init(&homes, 0);
	for (size_t i = 0; !rc && i < json_array_size(json); i++)
		rc = parse_part(json_array_get(json, i), &homes);
	if (rc)
		page_homes_done(&homes);
	else
		*ret_homes = homes;
	return rc;
}

/* The last of the marks that is not behind the page. */
static const struct mark *find_mark(const struct page_homes_part *part, uint64_t page)
{
	size_t low = 0, high = part->mark_count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (part->marks[middle].page <= page)
			low = middle;
		else
			high = middle;
	}
	return &part->marks[low];
}

int page_homes_find(const struct page_homes *homes, uint64_t address, uint64_t *ret_end)
{
	uint64_t page = address / PAGE_HOMES_UNIT, pages = 0;
	const struct page_homes_part *part = NULL;
	const struct mark *mark;
	struct piece piece;
	uint8_t place;

	*ret_end = UINT64_MAX;
	for (size_t i = 0; !part && i < homes->count; i++)
		if (page < homes->parts[i].first + homes->parts[i].pages)
			part = &homes->parts[i];
	if (!part || page < part->first) {
		if (part)
			*ret_end = part->first * PAGE_HOMES_UNIT;
		return PAGE_HOMES_NONE;
	}
	page -= part->first;
	mark = find_mark(part, page);
	page -= mark->page;
	for (size_t at = mark->offset;;) {
		if (get_piece(part, &at, &piece))
			return PAGE_HOMES_NONE;
		if (page < piece.pages * piece.repeats)
			break;
		page -= piece.pages * piece.repeats;
	}
	place = place_at(&piece, page, &pages);
	*ret_end = address - address % PAGE_HOMES_UNIT + pages * PAGE_HOMES_UNIT;
	if (*ret_end > (part->first + part->pages) * PAGE_HOMES_UNIT)
		*ret_end = (part->first + part->pages) * PAGE_HOMES_UNIT;
	return node_of_place(place);
}
