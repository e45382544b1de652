/* SPDX-License-Identifier: Apache-2.0 */
#include "block_refusals.h"

#include <stdlib.h>
#include <string.h>
#include "cleanup.h"
#include "step.h"
#include "unit.h"

static void neighbours_make_one_run(void)
{
	struct block_refusals refusals = {0};
	struct step_record record = {0};
	struct block_refusals again = {0};
	json_t *json;
	char text[96];

	for (uint64_t id = 64; id < 71; id++)
		CHECK_INT(block_refusals_add(&refusals, id, REMAINDER_PINNED), 0);
	CHECK_INT(block_refusals_add(&refusals, 71, REMAINDER_KERNEL_MEMORY), 0);
	CHECK_INT(block_refusals_add(&refusals, 73, REMAINDER_PINNED), 0);
	CHECK_INT(refusals.count, 3);
	CHECK_INT(block_refusals_code(&refusals, 70), REMAINDER_PINNED);
	CHECK_INT(block_refusals_code(&refusals, 71), REMAINDER_KERNEL_MEMORY);
	CHECK_INT(block_refusals_code(&refusals, 72), REMAINDER_NONE);
	CHECK_INT(block_refusals_count(&refusals, REMAINDER_PINNED), 8);
	CHECK_STR(block_refusals_describe(&refusals, REMAINDER_PINNED, text, sizeof(text)), "blocks 64-70, 73");
	CHECK_STR(block_refusals_describe(&refusals, REMAINDER_KERNEL_MEMORY, text, sizeof(text)), "block 71");
	/* As it comes back from a worker, and from the journal. */
	json = json_pack("{s:o}", BLOCK_REFUSALS_KEY, block_refusals_to_json(&refusals));
	record.result = json_dumps(json, JSON_COMPACT);
	CHECK_INT(block_refusals_of_step(&record, &again), 0);
	CHECK_INT(again.count, 3);
	CHECK_INT(block_refusals_code(&again, 73), REMAINDER_PINNED);
	CHECK_INT(block_refusals_code(&again, 71), REMAINDER_KERNEL_MEMORY);
	json_decref(json);
	free(record.result);
	block_refusals_done(&again);
	block_refusals_done(&refusals);
}

/* Every other block: the text ends with how many there are. */
static void a_long_text_is_cut_honestly(void)
{
	struct block_refusals refusals = {0};
	char text[96];

	for (uint64_t id = 1000000; id < 1000200; id += 2)
		CHECK_INT(block_refusals_add(&refusals, id, REMAINDER_PINNED), 0);
	CHECK_INT(refusals.count, 100);
	block_refusals_describe(&refusals, REMAINDER_PINNED, text, sizeof(text));
	CHECK_STR(text, "blocks 1000000, 1000002, 1000004, 1000006, 1000008, 1000010, ... (100 of them)");
	block_refusals_done(&refusals);
}

/* One that tells none in its result is read by what it tells people; what is no block's is left out. */
static void without_them_the_text_is_read(void)
{
	static const char *const results[] = {NULL, "{\"blocks_offline\":1}", "no JSON"};

	for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
		struct step_record record = {.result = results[i] ? strdup(results[i]) : NULL};
		struct block_refusals refusals = {0};

		remainder_list_add(&record.remainder, REMAINDER_PINNED, "block 50", 1, NULL, "so it is");
		remainder_list_add(&record.remainder, REMAINDER_DEADLINE, "blocks 51-52", 1, NULL, "so it is");
		CHECK_INT(block_refusals_of_step(&record, &refusals), 0);
		CHECK_INT(block_refusals_code(&refusals, 50), REMAINDER_PINNED);
		CHECK_INT(block_refusals_code(&refusals, 51), REMAINDER_NONE);
		block_refusals_done(&refusals);
		free(record.result);
	}
}

static void what_cannot_be_read_is_left_out(void)
{
	struct step_record record = {
		.result = strdup("{\"stayed\":[7,{},{\"first\":2,\"last\":1,\"code\":\"pinned\"},"
				 "{\"first\":-1,\"last\":1,\"code\":\"pinned\"},"
				 "{\"first\":1,\"last\":1,\"code\":\"tin\"},"
				 "{\"first\":9,\"last\":9,\"code\":\"pinned\"}]}")};
	struct block_refusals refusals = {0};

	CHECK_INT(block_refusals_of_step(&record, &refusals), 0);
	CHECK_INT(refusals.count, 1);
	CHECK_INT(block_refusals_code(&refusals, 9), REMAINDER_PINNED);
	block_refusals_done(&refusals);
	free(record.result);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"neighbours make one run", neighbours_make_one_run},
		{"a long text is cut honestly", a_long_text_is_cut_honestly},
		{"without them the text is read", without_them_the_text_is_read},
		{"what cannot be read is left out", what_cannot_be_read_is_left_out},
	};

	return unit_main("service/model/block_refusals", cases, ARRAY_SIZE(cases));
}
