/* SPDX-License-Identifier: Apache-2.0 */
#include "block_holder.h"

#include <stdio.h>
#include <string.h>
#include "cgroup_owner.h"
#include "page_holder.h"

static void tell_group(const struct sysroot *sysroot, uint64_t inode, struct block_holder *holder)
{
	struct cgroup_owner owner = {.inode = inode};
	char text[sizeof(holder->text) - 4];

	if (inode == 0) {
		snprintf(holder->text, sizeof(holder->text), "of no cgroup");
		return;
	}
	/* Without its path it is told by the inode. */
	cgroup_owner_find(sysroot, &owner, 1);
	holder->is_process = owner.pid && !owner.is_guest;
	snprintf(holder->text, sizeof(holder->text), "of %s", cgroup_owner_describe(&owner, text, sizeof(text)));
}

static void tell_kind(const uint64_t kinds[PAGE_KIND_COUNT], struct block_holder *holder)
{
	static const struct {
		enum page_kind kind;
		const char *words;
	} rows[] = {
		{PAGE_KIND_HUGE_USED, "of a huge page in use"},
		{PAGE_KIND_HUGE_FREE, "of a pool of huge pages"},
		{PAGE_KIND_SLAB, "of the kernel's slab"},
		{PAGE_KIND_PAGE_TABLE, "of page tables"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (kinds[rows[i].kind]) {
			snprintf(holder->text, sizeof(holder->text), "%s", rows[i].words);
			return;
		}
}

void block_holder_find(const struct sysroot *sysroot, uint64_t start, uint64_t size_bytes, struct block_holder *ret_holder)
{
	const struct physical_range range = {start, start + size_bytes};
	CLEANUP(page_holder_freep) struct page_holder *pages = NULL;
	const struct page_holder_group *groups;
	uint64_t kinds[PAGE_KIND_COUNT] = {0};

	memset(ret_holder, 0, sizeof(*ret_holder));
	if (page_holder_new(sysroot, &pages) || page_holder_count(pages, &range, kinds, NULL, NULL))
		return;
	if (page_holder_top(pages, &groups))
		tell_group(sysroot, groups[0].inode, ret_holder);
	else
		tell_kind(kinds, ret_holder);
}
