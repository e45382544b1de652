/* SPDX-License-Identifier: Apache-2.0 */
#include "survey_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "unit.h"

#define MIB   (UINT64_C(1) << 20)
#define GIB   (UINT64_C(1) << 30)
#define BLOCK (128 * MIB)

static void add_blocks(struct snapshot *host, uint64_t start, uint64_t end, int node)
{
	for (; start < end; start += BLOCK)
		*snapshot_add_block(host) = (struct snapshot_block){
			.id = start / BLOCK, .start = start, .size_bytes = BLOCK, .node = node, .zone = BLOCK_ZONE_MOVABLE};
}

static void add_dimm(struct snapshot *host, const char *id, uint64_t start, uint64_t end)
{
	struct snapshot_dimm *dimm = snapshot_add_dimm(host);

	strcpy(dimm->id, id);
	dimm->node = 3;
	dimm->range_count = 1;
	dimm->ranges[0] = (struct snapshot_range){start, end};
}

/* Nodes 1 and 2 with a GiB in no DIMM, from 1 and 2 GiB on, and node 3 with two DIMMs from 6 and 7 GiB on. */
static struct snapshot *make_host(void)
{
	struct snapshot *host = snapshot_new();

	add_blocks(host, GIB, 2 * GIB, 1);
	add_blocks(host, 2 * GIB, 3 * GIB, 2);
	add_blocks(host, 6 * GIB, 8 * GIB, 3);
	add_dimm(host, "one", 6 * GIB, 7 * GIB);
	add_dimm(host, "two", 7 * GIB, 8 * GIB);
	return host;
}

/* "id=first-last first-last" of each part, in blocks, parts separated by a semicolon. Pieces stand as their range says. */
static void expect(const struct snapshot *host, const struct survey_ask *asks, size_t count, const char *expected)
{
	struct worker_job job = {0};
	char text[2048];
	size_t used = 0;

	CHECK_INT(survey_parts_ask(host, asks, count, &job), 0);
	text[0] = '\0';
	for (size_t i = 0; i < job.dimm_count; i++) {
		struct snapshot_guest_dimm part = survey_parts_find(host, job.dimms[i].id);
		bool is_piece = snapshot_guest_dimm_is_piece(&part);

		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s%s", i ? "; " : "", is_piece ? "*" : "",
					 part.id);
		if (is_piece) {
			CHECK_INT(part.range.start, job.dimms[i].ranges[0].start);
			CHECK_INT(part.range.end, job.dimms[i].ranges[0].end);
			used += (size_t)snprintf(text + used, sizeof(text) - used, "@%d", part.node);
		}
		for (size_t j = 0; j < job.dimms[i].range_count; j++)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%u-%u", j ? " " : "=",
						 (unsigned)(job.dimms[i].ranges[j].start / BLOCK),
						 (unsigned)(job.dimms[i].ranges[j].end / BLOCK));
	}
	CHECK_STR(text, expected);
	worker_job_done(&job);
}

static struct snapshot_range blocks(uint64_t first, uint64_t end)
{
	return (struct snapshot_range){first * BLOCK, end * BLOCK};
}

/* The DIMMs' blocks are 48 to 55 and 56 to 63, the others 8 to 15 and 16 to 23. */
static void ranges_cut_dimms(void)
{
	static const struct {
		uint64_t first, end;
		const char *parts;
	} rows[] = {
		{50, 52, "*one@3=50-52; one=48-50 52-56; two=56-64"},
		{48, 52, "*one@3=48-52; one=52-56; two=56-64"},
		{54, 58, "*one@3=54-56; *two@3=56-58; one=48-54; two=58-64"},
		{40, 58, "*two@3=56-58; one=48-56; two=58-64"},
		{48, 56, "one=48-56; two=56-64"},
		{48, 64, "one=48-56; two=56-64"},
		{0, 1, "one=48-56; two=56-64"},
		{52, 50, "one=48-56; two=56-64"},
	};
	struct snapshot *host = make_host();

	expect(host, NULL, 0, "one=48-56; two=56-64");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct snapshot_range range = blocks(rows[i].first, rows[i].end);

		expect(host, &(struct survey_ask){&range, 1}, 1, rows[i].parts);
	}
	snapshot_free(host);
}

/* Of each piece it must be known of all who ask whether it is theirs. */
static void ranges_cut_each_other(void)
{
	struct snapshot *host = make_host();
	struct snapshot_range ranges[] = {blocks(49, 52), blocks(51, 54), blocks(48, 56)};
	struct survey_ask asks[] = {{&ranges[0], 1}, {&ranges[1], 1}, {&ranges[2], 1}};

	/* The third has all of the DIMM, which is what all parts of it come to. */
	expect(host, asks, 3, "*one@3=49-51; *one@3=51-52; *one@3=52-54; one=48-49 54-56; two=56-64");
	/* Nothing remains. */
	ranges[0] = blocks(48, 51);
	ranges[1] = blocks(51, 56);
	expect(host, asks, 2, "*one@3=48-51; *one@3=51-56; two=56-64");
	snapshot_free(host);
}

/* Memory in no DIMM: by node, and only what is online; a whole node is told by its number. */
static void ranges_cut_what_is_in_no_dimm(void)
{
	struct snapshot *host = make_host();
	struct snapshot_range range = blocks(10, 12);
	struct survey_ask ask = {&range, 1};

	expect(host, &ask, 1, "*@1=10-12; one=48-56; two=56-64");
	range = blocks(14, 18);
	expect(host, &ask, 1, "*@1=14-16; *@2=16-18; one=48-56; two=56-64");
	range = blocks(8, 18);
	expect(host, &ask, 1, "*@2=16-18; one=48-56; two=56-64");
	range = blocks(14, 18);
	snapshot_block(host, 15)->state = BLOCK_STATE_OFFLINE;
	expect(host, &ask, 1, "*@1=14-15; *@2=16-18; one=48-56; two=56-64");
	/* What is offline gives its node nothing, so that the range has all of it. */
	for (uint64_t id = 18; id < 24; id++)
		snapshot_block(host, id)->state = BLOCK_STATE_OFFLINE;
	expect(host, &ask, 1, "*@1=14-15; one=48-56; two=56-64");
	snapshot_free(host);
}

static void more_pieces_than_are_told(void)
{
	struct snapshot *host = make_host();
	struct snapshot_range ranges[SNAPSHOT_PIECES_MAX + 4];
	struct worker_job job = {0};
	uint64_t rest = 0;

	/* One page of every other. */
	for (uint64_t i = 0; i < SNAPSHOT_PIECES_MAX + 4; i++)
		ranges[i] = (struct snapshot_range){6 * GIB + (2 * i + 1) * 4096, 6 * GIB + (2 * i + 2) * 4096};
	CHECK_INT(survey_parts_ask(host, &(struct survey_ask){ranges, SNAPSHOT_PIECES_MAX + 4}, 1, &job), 0);
	/* The DIMM has more parts beside them than one entry holds. */
	CHECK_INT(job.dimm_count, SNAPSHOT_PIECES_MAX + 3);
	CHECK_STR(job.dimms[SNAPSHOT_PIECES_MAX].id, "one");
	CHECK_INT(job.dimms[SNAPSHOT_PIECES_MAX].range_count, SNAPSHOT_RANGES_MAX);
	CHECK_STR(job.dimms[SNAPSHOT_PIECES_MAX + 1].id, "one");
	for (size_t i = SNAPSHOT_PIECES_MAX; i < SNAPSHOT_PIECES_MAX + 2; i++)
		for (size_t j = 0; j < job.dimms[i].range_count; j++)
			rest += job.dimms[i].ranges[j].end - job.dimms[i].ranges[j].start;
	CHECK_INT(rest, GIB - SNAPSHOT_PIECES_MAX * 4096);
	worker_job_done(&job);
	snapshot_free(host);
}

/* A worker is asked about so many parts and no more. */
static void many_dimms_are_told_whole(void)
{
	struct snapshot *host = make_host();
	struct snapshot_range range = blocks(50, 52);
	struct worker_job job = {0};
	char id[16];

	for (unsigned i = 2; i < WORKER_DIMMS_MAX - 1; i++) {
		snprintf(id, sizeof(id), "more-%u", i);
		add_dimm(host, id, (100 + i) * BLOCK, (101 + i) * BLOCK);
	}
	CHECK_INT(survey_parts_ask(host, &(struct survey_ask){&range, 1}, 1, &job), 0);
	CHECK_INT(job.dimm_count, WORKER_DIMMS_MAX - 1);
	CHECK_STR(job.dimms[0].id, "one");
	CHECK_INT(job.dimms[0].range_count, 1);
	worker_job_done(&job);
	snapshot_free(host);
}

static void other_words_are_dimms(void)
{
	static const char *const ids[] = {"", "acpi-MP00", "0x1000", "0x1000-", "0x2000-0x1000", "0x1000-0x2000x", "-"};
	struct snapshot *host = make_host();

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		struct snapshot_guest_dimm part = survey_parts_find(host, ids[i]);

		CHECK_TRUE(!snapshot_guest_dimm_is_piece(&part));
		CHECK_STR(part.id, ids[i]);
	}
	snapshot_free(host);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"ranges cut DIMMs", ranges_cut_dimms},
		{"ranges cut each other", ranges_cut_each_other},
		{"ranges cut what is in no DIMM", ranges_cut_what_is_in_no_dimm},
		{"more pieces than are told", more_pieces_than_are_told},
		{"many DIMMs are told whole", many_dimms_are_told_whole},
		{"other words are DIMMs", other_words_are_dimms},
	};

	return unit_main("service/look/survey_parts", cases, sizeof(cases) / sizeof(cases[0]));
}
