/* SPDX-License-Identifier: Apache-2.0 */
#include "page_homes.h"

#include <stdlib.h>
#include <string.h>
#include "cleanup.h"
#include "move_record.h"
#include "step.h"
#include "unit.h"

#define UNIT	 ((uint64_t)PAGE_HOMES_UNIT)
#define START	 UINT64_C(0x7f0000000000)
#define PAGES	 60000

/* Writes the nodes down, in runs as a survey tells them. */
static void add_all(struct page_homes *homes, uint64_t start, const int8_t *nodes, size_t pages)
{
	CHECK_INT(page_homes_begin(homes, start, start + pages * UNIT), 0);
	for (size_t i = 0, next; i < pages; i = next) {
		for (next = i + 1; next < pages && nodes[next] == nodes[i];)
			next++;
		/* Holes are not told. */
		if (nodes[i] != PAGE_HOMES_NONE)
			CHECK_INT(page_homes_add(homes, start + i * UNIT, start + next * UNIT, nodes[i]), 0);
	}
}

static void reread(struct page_homes *homes)
{
	json_t *json = page_homes_to_json(homes);
	struct page_homes copy = {0};

	CHECK_TRUE(json != NULL);
	CHECK_INT(page_homes_parse(json, &copy), 0);
	json_decref(json);
	page_homes_done(homes);
	*homes = copy;
}

/* The pages whose home is not the one in nodes. */
static size_t wrong_pages(const struct page_homes *homes, uint64_t start, const int8_t *nodes, size_t pages)
{
	size_t wrong = 0;

	for (size_t i = 0, next; i < pages; i = next) {
		uint64_t end;
		int node = page_homes_find(homes, start + i * UNIT, &end);

		CHECK_TRUE(end > start + i * UNIT && end % UNIT == 0);
		next = end - start > pages * UNIT ? pages : (end - start) / UNIT;
		for (; i < next; i++)
			wrong += nodes[i] != node;
	}
	return wrong;
}

static int8_t *pattern(size_t pages, unsigned seed, size_t stretch, int nodes)
{
	int8_t *result = malloc(pages);

	for (size_t i = 0; i < pages; i++)
		result[i] = i % stretch ? result[i - 1] : (int8_t)(rand_r(&seed) / 7 % (nodes + 1) - 1);
	return result;
}

static void test_each_page(void)
{
	static const size_t stretches[] = {1, 2, 3, 50, 512, 3071, 3072, 3073, 100000};

	for (size_t s = 0; s < ARRAY_SIZE(stretches); s++)
		for (int nodes = 1; nodes <= 64; nodes += s ? 21 : 7) {
			CLEANUP_FREE int8_t *where = pattern(PAGES, (unsigned)s + 1, stretches[s], nodes);
			struct page_homes homes;
			size_t present = 0;

			page_homes_init(&homes, PAGE_HOMES_BYTES);
			/* Two parts, the second not as long as its chunks. */
			add_all(&homes, START, where, PAGES / 2);
			add_all(&homes, 2 * START, where + PAGES / 2, PAGES / 2 - 1);
			reread(&homes);
			CHECK_INT(wrong_pages(&homes, START, where, PAGES / 2), 0);
			CHECK_INT(wrong_pages(&homes, 2 * START, where + PAGES / 2, PAGES / 2 - 1), 0);
			for (size_t i = 0; i < PAGES - 1; i++)
				present += where[i] >= 0;
			CHECK_INT(homes.bytes, present * UNIT);
			CHECK_INT(homes.unknown_bytes, 0);
			page_homes_done(&homes);
		}
}

/* What is interleaved takes next to nothing, however large. */
static void test_interleaved_is_small(void)
{
	static const struct {
		size_t nodes, stretch;
	} ways[] = {{2, 1}, {3, 1}, {4, 1}, {8, 1}, {2, 512}, {3, 512}, {2, 16}};

	for (size_t w = 0; w < ARRAY_SIZE(ways); w++) {
		struct page_homes homes;
		size_t pages = 50 * PAGE_HOMES_CHUNK;
		CLEANUP_FREE int8_t *where = malloc(pages);

		for (size_t i = 0; i < pages; i++)
			where[i] = (int8_t)(i / ways[w].stretch % ways[w].nodes);
		page_homes_init(&homes, PAGE_HOMES_BYTES);
		add_all(&homes, START, where, pages);
		CHECK_INT(page_homes_begin(&homes, 2 * START, 2 * START + UNIT), 0);
		CHECK_TRUE(homes.used < 1300);
		reread(&homes);
		CHECK_INT(wrong_pages(&homes, START, where, pages), 0);
		CHECK_INT(homes.nodes, (1 << ways[w].nodes) - 1);
		page_homes_done(&homes);
	}
}

/* Without any order, and too much of it: the rest is known to be unknown, and what is uniform is known all the same. */
static void test_bounded(void)
{
	CLEANUP_FREE int8_t *where = pattern(PAGES, 3, 1, 2);
	size_t limit = 3000, unknown = 0;
	struct page_homes homes;
	json_t *json;

	memset(where + 40 * 1024, 5, 12 * 1024);
	page_homes_init(&homes, limit);
	add_all(&homes, START, where, PAGES);
	/* Runs of whole chunks, more than there is room for. */
	CHECK_INT(page_homes_begin(&homes, 2 * START, 4 * START), 0);
	for (size_t i = 0; i < 1000; i++)
		CHECK_INT(page_homes_add(&homes, 2 * START + i * PAGE_HOMES_CHUNK * UNIT,
					 2 * START + (i + 1) * PAGE_HOMES_CHUNK * UNIT, i % 2),
			  0);
	json = page_homes_to_json(&homes);
	CHECK_TRUE(homes.used > limit && homes.used <= limit + limit / 3);
	page_homes_done(&homes);
	CHECK_INT(page_homes_parse(json, &homes), 0);
	json_decref(json);
	for (size_t i = 0; i < PAGES; i++) {
		uint64_t end;
		int node = page_homes_find(&homes, START + i * UNIT, &end);

		if (node == PAGE_HOMES_UNKNOWN)
			unknown++;
		else
			CHECK_INT(node, where[i]);
	}
	CHECK_TRUE(unknown > PAGES / 2 && unknown < PAGES - 6 * 1024);
	CHECK_TRUE(homes.unknown_bytes >= unknown * UNIT);
	page_homes_done(&homes);
}

static void test_begun_again(void)
{
	struct page_homes homes;
	uint64_t end;

	page_homes_init(&homes, PAGE_HOMES_BYTES);
	CHECK_INT(page_homes_begin(&homes, START, START + 9000 * UNIT), 0);
	for (size_t i = 0; i < 4500; i++)
		CHECK_INT(page_homes_add(&homes, START + 2 * i * UNIT, START + (2 * i + 1) * UNIT, 1), 0);
	page_homes_restart(&homes);
	CHECK_INT(page_homes_add(&homes, START, START + 5 * UNIT, 2), 0);
	reread(&homes);
	CHECK_INT(page_homes_find(&homes, START + 4 * UNIT, &end), 2);
	CHECK_INT(end, START + 5 * UNIT);
	CHECK_INT(page_homes_find(&homes, START + 5 * UNIT, &end), PAGE_HOMES_NONE);
	CHECK_INT(page_homes_find(&homes, START - UNIT, &end), PAGE_HOMES_NONE);
	CHECK_INT(end, START);
	CHECK_INT(page_homes_find(&homes, START + 9000 * UNIT, &end), PAGE_HOMES_NONE);
	CHECK_INT(homes.bytes, 5 * UNIT);
	page_homes_done(&homes);
}

static void test_refuses(void)
{
	static const char *const texts[] = {
		"{}",
		"[1]",
		"[{\"first\":1,\"pages\":1}]",
		"[{\"first\":1,\"pages\":1,\"homes\":\"\"}]",
		/* No place, a place that is none, a run of nothing, a kind that is none, shorter and longer than it is. */
		"[{\"first\":1,\"pages\":1,\"homes\":\"BA==\"}]",
		"[{\"first\":1,\"pages\":1,\"homes\":\"BEA=\"}]",
		"[{\"first\":1,\"pages\":1,\"homes\":\"AAE=\"}]",
		"[{\"first\":1,\"pages\":1,\"homes\":\"BwE=\"}]",
		"[{\"first\":1,\"pages\":2,\"homes\":\"BAE=\"}]",
		"[{\"first\":1,\"pages\":1,\"homes\":\"BAEEAQ==\"}]",
		"[{\"first\":1,\"pages\":1,\"homes\":\"BAE\"}]",
		"[{\"first\":1,\"pages\":1,\"homes\":\"BAF=\"}]",
		"[{\"first\":-1,\"pages\":1,\"homes\":\"BAE=\"}]",
		"[{\"first\":5,\"pages\":1,\"homes\":\"BAE=\"},{\"first\":5,\"pages\":1,\"homes\":\"BAE=\"}]",
	};
	struct page_homes homes;
	json_t *json = json_loads("[{\"first\":1,\"pages\":1,\"homes\":\"BAE=\"}]", 0, NULL);
	unsigned seed = 1;

	CHECK_INT(page_homes_parse(json, &homes), 0);
	CHECK_INT(homes.nodes, 2);
	json_decref(json);
	page_homes_done(&homes);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json = json_loads(texts[i], 0, NULL);
		CHECK_INT(page_homes_parse(json, &homes), -EINVAL);
		json_decref(json);
	}
	/* Bytes of all kinds: refused, or every page can be asked for. */
	for (size_t i = 0; i < 20000; i++) {
		char text[17] = "";
		uint64_t end = 0;

		for (size_t c = 0; c < 16; c++)
			text[c] = "AQEBgIAEwMDBCABI"[rand_r(&seed) / 5 % 16];
		json = json_pack("[{s:I, s:I, s:s}]", "first", (json_int_t)0, "pages",
				 (json_int_t)(1 + rand_r(&seed) % 4000), "homes", text);
		if (page_homes_parse(json, &homes) == 0) {
			for (uint64_t at = 0; at < 4000 * UNIT; at = end)
				page_homes_find(&homes, at, &end);
			page_homes_done(&homes);
		}
		json_decref(json);
	}
}

/* Where a run goes: as far as its pages have one home; a huge page goes as a whole. */
static void test_place(void)
{
	int8_t where[3072];
	struct page_survey_run run = {.start = START, .end = START + 3072 * UNIT, .page_bytes = UNIT, .node_id = 3};
	struct move_place place;
	struct page_homes homes;

	for (size_t i = 0; i < ARRAY_SIZE(where); i++)
		where[i] = (int8_t)(i < 512 ? i % 2 : i < 1024 ? (i % 512 < 300 ? 2 : 1) : 2);
	page_homes_init(&homes, PAGE_HOMES_BYTES);
	add_all(&homes, START, where, ARRAY_SIZE(where));
	reread(&homes);
	place = move_record_place(&homes, &run, 8, -1);
	CHECK_INT(place.node, 0);
	CHECK_INT(place.end, START + UNIT);
	CHECK_INT(place.stray_bytes, 0);
	run.node_id = 0;
	CHECK_INT(move_record_place(&homes, &run, 8, -1).node, -1);
	run.node_id = 3;
	run.page_bytes = 512 * UNIT;
	run.start += 512 * UNIT;
	place = move_record_place(&homes, &run, 8, -1);
	CHECK_INT(place.node, 2);
	CHECK_INT(place.end, START + 1024 * UNIT);
	CHECK_INT(place.stray_bytes, 212 * UNIT);
	run.start += 512 * UNIT;
	place = move_record_place(&homes, &run, 8, -1);
	CHECK_INT(place.node, 2);
	CHECK_INT(place.end, run.end);
	CHECK_INT(place.stray_bytes, 0);
	page_homes_done(&homes);
	/* Of nothing is it known: what the move brought somewhere is astray, and stays. */
	page_homes_init(&homes, 0);
	homes.limit = 64;
	add_all(&homes, START, where, ARRAY_SIZE(where));
	reread(&homes);
	run.page_bytes = UNIT;
	place = move_record_place(&homes, &run, 8, -1);
	CHECK_INT(place.node, -1);
	CHECK_INT(place.end, run.end);
	CHECK_INT(place.stray_bytes, run.end - run.start);
	CHECK_INT(move_record_place(&homes, &run, 4, -1).stray_bytes, 0);
	page_homes_done(&homes);
}

/* What has come since goes with those that the move took to the same node; what was there before stays. */
static void test_newcomers(void)
{
	int8_t where[1024];
	struct step step = {.kind = STEP_KIND_MOVE_PAGES, .by_map = true};
	struct page_survey_run run = {.start = START, .end = START + 1024 * UNIT, .page_bytes = UNIT, .node_id = 3};
	struct move_place place;
	struct page_homes homes;

	memset(step.map, -1, sizeof(step.map));
	step.map[1] = 3;
	step.map[2] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(where); i++)
		where[i] = (int8_t)(i < 128 ? 1 : i < 256 ? 2 : i < 384 ? PAGE_HOMES_NONE : i < 512 ? PAGE_HOMES_STAYS :
				    i < 600 ? 1 : PAGE_HOMES_NONE);
	page_homes_init(&homes, PAGE_HOMES_BYTES);
	add_all(&homes, START, where, ARRAY_SIZE(where));
	reread(&homes);
	CHECK_INT(homes.nodes, 1 << 1 | 1 << 2);
	CHECK_INT(homes.bytes, (128 + 128 + 88) * UNIT);
	CHECK_INT(move_record_newcomers_home(&homes, &step, -1, 3), 1);
	CHECK_INT(move_record_newcomers_home(&homes, &step, -1, 0), 2);
	CHECK_INT(move_record_newcomers_home(&homes, &step, -1, 2), -1);
	step.map[2] = 3;
	CHECK_INT(move_record_newcomers_home(&homes, &step, -1, 3), -1);
	step.map[2] = 0;
	/* Of a part of a node policies stay as they are. */
	step.range_count = 1;
	CHECK_INT(move_record_newcomers_home(&homes, &step, -1, 3), -1);
	/* Nobody but the nodes that it has taken any from. */
	step = (struct step){.kind = STEP_KIND_MOVE_PAGES, .nodes = 1 << 3};
	CHECK_INT(move_record_newcomers_home(&homes, &step, -1, 3), -1);
	homes.nodes = 1 << 2;
	CHECK_INT(move_record_newcomers_home(&homes, &step, -1, 3), 2);

	run.start = START + 256 * UNIT;
	place = move_record_place(&homes, &run, 8, 1);
	CHECK_INT(place.node, 1);
	CHECK_INT(place.end, START + 384 * UNIT);
	CHECK_INT(place.stray_bytes, 0);
	CHECK_INT(move_record_place(&homes, &run, 8, -1).node, -1);
	run.start = place.end;
	place = move_record_place(&homes, &run, 8, 1);
	CHECK_INT(place.node, -1);
	CHECK_INT(place.end, START + 512 * UNIT);
	/* One huge page now: mostly new, so not torn from what it was with. */
	run.start = place.end;
	run.page_bytes = 512 * UNIT;
	place = move_record_place(&homes, &run, 8, 1);
	CHECK_INT(place.node, 1);
	CHECK_INT(place.end, run.end);
	CHECK_INT(place.stray_bytes, 0);
	/* And one that was of two nodes: what was not on the node of most of it is astray. */
	run.start = START;
	run.end = START + 512 * UNIT;
	run.node_id = 0;
	place = move_record_place(&homes, &run, 1, 2);
	CHECK_INT(place.node, 2);
	CHECK_INT(place.stray_bytes, 128 * UNIT);
	page_homes_done(&homes);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"each_page", test_each_page},
		{"interleaved_is_small", test_interleaved_is_small},
		{"bounded", test_bounded},
		{"begun_again", test_begun_again},
		{"refuses", test_refuses},
		{"place", test_place},
		{"newcomers", test_newcomers},
	};

	return unit_main("page_homes", cases, ARRAY_SIZE(cases));
}
