/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an SMBIOS table. What parses keeps its promises, and every slot is in one set at most.
 */
#undef NDEBUG
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "slot_set.h"
#include "smbios.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char text[SMBIOS_TEXT_SIZE])
{
	size_t length = strnlen(text, SMBIOS_TEXT_SIZE);

	assert(length < SMBIOS_TEXT_SIZE);
	for (size_t i = 0; i < length; i++)
		assert(text[i] >= ' ' && text[i] <= '~');
}

static void check_sets(const struct smbios *smbios, const struct slot_set_list *list)
{
	uint8_t seen[SMBIOS_ITEMS_MAX] = {0};

	for (size_t i = 0; i < list->count; i++) {
		const struct slot_set *set = &list->sets[i];

		assert(set->slot_count > 0 && set->range_count > 0);
		for (size_t j = 0; j < set->slot_count; j++) {
			assert(set->slots[j] < smbios->slot_count && !seen[set->slots[j]]++);
			assert(smbios->slots[set->slots[j]].is_populated);
		}
		for (size_t j = 0; j < set->range_count; j++) {
			assert(set->ranges[j].start < set->ranges[j].end);
			assert(j == 0 || set->ranges[j - 1].end < set->ranges[j].start);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smbios smbios;
	struct slot_set_list list;

	if (smbios_parse(data, size, &smbios) < 0)
		return 0;
	for (size_t i = 0; i < smbios.slot_count; i++) {
		check_text(smbios.slots[i].locator);
		check_text(smbios.slots[i].bank);
		check_text(smbios.slots[i].part);
	}
	if (slot_set_list_find(&smbios, &list) == 0) {
		check_sets(&smbios, &list);
		slot_set_list_done(&list);
	}
	smbios_done(&smbios);
	return 0;
}
