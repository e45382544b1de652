/* SPDX-License-Identifier: Apache-2.0 */
#include "pinned_pages.h"

#include <unistd.h>
#include "cleanup.h"
#include "fake_guest.h"
#include "unit.h"

#define MIB   (UINT64_C(1) << 20)
#define BLOCK (33 * FAKE_GUEST_BLOCK_BYTES)

/* Of /proc/kpageflags. */
#define LRU   (1 << 5)
#define BUDDY (1 << 10)

static struct fake_guest guest;

static uint64_t pfn_of(uint64_t address)
{
	return address / (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t held(struct pinned_pages *pinned, uint64_t block)
{
	return pinned_pages_bytes(pinned, guest.sysroot, block, FAKE_GUEST_BLOCK_BYTES);
}

static void test_pieces(void)
{
	struct pinned_pages pinned = {0};

	fake_guest_start(&guest);
	CHECK_INT(held(&pinned, BLOCK), 0);
	/* Twice the same, two of one piece, one of another, and one of the next block. */
	pinned_pages_note(&pinned, pfn_of(BLOCK));
	pinned_pages_note(&pinned, pfn_of(BLOCK));
	CHECK_INT(pinned.count, 1);
	pinned_pages_note(&pinned, pfn_of(BLOCK + MIB));
	pinned_pages_note(&pinned, pfn_of(BLOCK + 127 * MIB));
	pinned_pages_note(&pinned, pfn_of(BLOCK + FAKE_GUEST_BLOCK_BYTES));
	CHECK_INT(held(&pinned, BLOCK), 4 * MIB);
	CHECK_INT(held(&pinned, BLOCK + FAKE_GUEST_BLOCK_BYTES), 2 * MIB);
	pinned_pages_forget(&pinned, BLOCK, FAKE_GUEST_BLOCK_BYTES);
	CHECK_INT(held(&pinned, BLOCK), 0);
	CHECK_INT(held(&pinned, BLOCK + FAKE_GUEST_BLOCK_BYTES), 2 * MIB);
	fake_guest_stop(&guest);
}

/* Nobody holds it, and whoever has it next need not. */
static void test_free_pages(void)
{
	struct pinned_pages pinned = {0};

	fake_guest_start(&guest);
	for (uint64_t i = 0; i < 3; i++) {
		pinned_pages_note(&pinned, pfn_of(BLOCK + 4 * i * MIB));
		fake_guest_set_pages(&guest, 33, pfn_of(4 * i * MIB), 1, LRU);
	}
	CHECK_INT(held(&pinned, BLOCK), 6 * MIB);
	fake_guest_set_pages(&guest, 33, 0, 1, BUDDY);
	CHECK_INT(held(&pinned, BLOCK), 4 * MIB);
	/* A processor has it ready to give out. */
	fake_guest_set_pages(&guest, 33, pfn_of(4 * MIB), 1, 0);
	CHECK_INT(held(&pinned, BLOCK), 2 * MIB);
	fake_guest_set_pages(&guest, 33, 0, 1, LRU);
	CHECK_INT(held(&pinned, BLOCK), 2 * MIB);
	fake_guest_stop(&guest);
}

static void test_more_than_fit(void)
{
	struct pinned_pages pinned = {0};

	for (uint64_t i = 0; i <= PINNED_PAGES_MAX; i++)
		pinned_pages_note(&pinned, 1000 + i);
	CHECK_INT(pinned.count, PINNED_PAGES_MAX);
	CHECK_INT(pinned.pfns[0], 1001);
	CHECK_INT(pinned.pfns[PINNED_PAGES_MAX - 1], 1000 + PINNED_PAGES_MAX);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"a page holds its piece", test_pieces},
		{"what is free is held by nobody", test_free_pages},
		{"the oldest is forgotten for the newest", test_more_than_fit},
	};

	return unit_main("pinned_pages", cases, ARRAY_SIZE(cases));
}
