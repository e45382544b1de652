/* SPDX-License-Identifier: Apache-2.0 */
#include "page_survey.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include "page_heat.h"
#include "sysroot.h"

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT	 (UINT64_C(1) << 63)
#define PAGEMAP_SWAPPED	 (UINT64_C(1) << 62)
#define PAGEMAP_PFN_MASK ((UINT64_C(1) << 55) - 1)
#define PAGE_FLAG_HEAD	 (UINT64_C(1) << 15)
#define PAGE_FLAG_THP	 (UINT64_C(1) << 22)
#define PAGE_FLAG_ZERO	 (UINT64_C(1) << 24)

/*
 * 64 KiB of entries describe 32 MiB: few calls, and what was copied is still in the processor's
 * cache when it is looked at. The kernel takes the map lock anew for each 2 MiB (fs/proc/task_mmu.c
 * PAGEMAP_WALK_SIZE), so that no size of ours holds it long.
 */
#define CHUNK_ENTRIES ((size_t)8192)

static const char *const state_names[PAGE_SURVEY_COUNT] = {
	[PAGE_SURVEY_ABSENT] = "absent",
	[PAGE_SURVEY_SWAPPED] = "swapped",
	[PAGE_SURVEY_PRESENT] = "present",
};
NAME_TABLE_DEFINE(page_survey_state, state_names)

struct page_survey {
	int pagemap;
	int page_flags; /* -1: not readable, then transparent huge pages are not told apart */
	uint64_t base_bytes;
	struct page_survey_options options;
	struct page_heat *heat; /* borrowed; NULL: not told */
	bool is_pfn_hidden;
	uint64_t zero_pfn; /* of the kernel's page of zeros; 0: not known */

	uint64_t *entries; /* owned; CHUNK_ENTRIES */
	uint64_t first_entry;
	size_t entry_count;

	struct page_survey_range range;
	uint64_t position;

	/* Page frames around the last one asked for that are all on one node, and in one target or
	 * none. Never frame 0, which stands for hidden. */
	uint64_t known_first, known_count;
	int known_node, known_target;
};

static ssize_t read_entries(int fd, uint64_t *entries, uint64_t first, size_t count)
{
	ssize_t got;

	do
		got = pread(fd, entries, count * sizeof(*entries),
			    (off_t)(first * sizeof(*entries)));
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got / (ssize_t)sizeof(*entries);
}

/*
 * Anonymous memory that was read and never written shows the one page of zeros that all processes
 * share (mm/memory.c do_anonymous_page). It is nobody's, takes no memory, and never moves. Which
 * one it is a page of our own tells.
 */
static uint64_t read_zero_frame(const struct sysroot *sysroot, uint64_t base_bytes)
{
	void *page = mmap(NULL, base_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CLEANUP_CLOSE int pagemap = sysroot_open(sysroot, O_RDONLY, "/proc/self/pagemap");
	uint64_t entry = 0;

	if (page == MAP_FAILED)
		return 0;
	(void)*(volatile const char *)page;
	if (pagemap < 0 || read_entries(pagemap, &entry, (uintptr_t)page / base_bytes, 1) != 1 ||
	    !(entry & PAGEMAP_PRESENT))
		entry = 0;
	munmap(page, base_bytes);
	return entry & PAGEMAP_PFN_MASK;
}

int page_survey_new(const struct sysroot *sysroot, pid_t pid,
		    const struct page_survey_options *options, struct page_survey **ret_survey)
{
	CLEANUP(page_survey_freep) struct page_survey *survey = calloc(1, sizeof(*survey));

	if (!survey)
		return -ENOMEM;
	survey->pagemap = survey->page_flags = -1;
	survey->options = *options;
	survey->base_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	survey->entries = malloc(CHUNK_ENTRIES * sizeof(*survey->entries));
	if (!survey->entries)
		return -ENOMEM;
	survey->pagemap = sysroot_open(sysroot, O_RDONLY, "/proc/%d/pagemap", (int)pid);
	if (survey->pagemap < 0) {
		int error = survey->pagemap;

		if (error == -ENOENT)
			return -ESRCH;
		return error == -EACCES ? -EPERM : error;
	}
	survey->page_flags = sysroot_open(sysroot, O_RDONLY, "/proc/kpageflags");
	survey->zero_pfn = read_zero_frame(sysroot, survey->base_bytes);
	*ret_survey = TAKE_PTR(survey);
	return 0;
}

struct page_survey *page_survey_free(struct page_survey *survey)
{
	if (!survey)
		return NULL;
	if (survey->pagemap >= 0)
		close(survey->pagemap);
	if (survey->page_flags >= 0)
		close(survey->page_flags);
	free(survey->entries);
	free(survey);
	return NULL;
}

bool page_survey_has_pfn(const struct page_survey *survey)
{
	return !survey->is_pfn_hidden;
}

void page_survey_set_heat(struct page_survey *survey, struct page_heat *heat)
{
	survey->heat = heat;
}

int page_survey_begin(struct page_survey *survey, const struct page_survey_range *range)
{
	if (range->page_bytes < survey->base_bytes || range->page_bytes % survey->base_bytes ||
	    range->start % range->page_bytes || range->end % range->page_bytes ||
	    range->end < range->start)
		return -EINVAL;
	survey->range = *range;
	survey->position = range->start;
	survey->entry_count = 0; /* what an earlier walk read is old */
	return 0;
}

/* Has count entries from the one of address at hand. 1 with *ret_entries, 0: the process has none,
 * -errno. */
static int load(struct page_survey *survey, uint64_t address, size_t count,
		const uint64_t **ret_entries)
{
	uint64_t first = address / survey->base_bytes;

	if (first < survey->first_entry ||
	    first + count > survey->first_entry + survey->entry_count || survey->entry_count == 0) {
		/* Of a huge page only the first entry matters: the other 511 need not be copied. */
		size_t wanted =
			survey->range.page_bytes >= PAGE_SURVEY_THP_BYTES
				? count
				: (size_t)((survey->range.end - address) / survey->base_bytes);
		/* Up to a border of huge pages, so that none is cut in two. */
		size_t room = CHUNK_ENTRIES - (size_t)(first % (PAGE_SURVEY_THP_BYTES / survey->base_bytes));
		ssize_t got;

		if (wanted > room)
			wanted = room;
		got = read_entries(survey->pagemap, survey->entries, first, wanted);
		if (got < 0)
			return (int)got;
		survey->first_entry = first;
		survey->entry_count = (size_t)got;
		if ((size_t)got < count)
			return 0;
	}
	*ret_entries = survey->entries + (first - survey->first_entry);
	return 1;
}

/* Makes known what the place of a page frame is, and of all around it up to the next border. */
static void find_place(struct page_survey *survey, uint64_t pfn)
{
	uint64_t physical = pfn * survey->base_bytes, start, end;

	if (pfn - survey->known_first < survey->known_count)
		return;
	survey->known_node = physical_map_find(survey->options.map, physical, &start, &end);
	survey->known_target = -1;
	for (size_t i = 0; i < survey->options.target_count; i++) {
		const struct physical_range *target = &survey->options.targets[i];
		const uint64_t borders[] = {target->start, target->end};

		if (survey->known_target < 0 && physical >= target->start && physical < target->end)
			survey->known_target = (int)i;
		for (size_t b = 0; b < ARRAY_SIZE(borders); b++) {
			if (borders[b] <= physical && borders[b] > start)
				start = borders[b];
			else if (borders[b] > physical && borders[b] < end)
				end = borders[b];
		}
	}
	/* A border inside a page counts from the next one on, as its first byte decides. */
	survey->known_first = (start + survey->base_bytes - 1) / survey->base_bytes;
	if (survey->known_first == 0)
		survey->known_first = 1;
	end = end / survey->base_bytes + (end % survey->base_bytes != 0);
	if (end > PAGEMAP_PFN_MASK)
		end = PAGEMAP_PFN_MASK;
	survey->known_count = end - survey->known_first;
	if (survey->zero_pfn - survey->known_first >= survey->known_count)
		return;
	/* The page of zeros is a place of its own. */
	if (pfn > survey->zero_pfn)
		survey->known_first = survey->zero_pfn + 1;
	else
		end = survey->zero_pfn;
	survey->known_count = end - survey->known_first;
}

/* Fills state, node, target and physical of one page from its entry. */
static void describe(struct page_survey *survey, uint64_t entry, struct page_survey_run *run)
{
	uint64_t pfn = entry & PAGEMAP_PFN_MASK;

	run->node_id = run->target = -1;
	run->physical = 0;
	run->is_hot = false;
	if (!(entry & PAGEMAP_PRESENT) || (pfn && pfn == survey->zero_pfn)) {
		run->state = entry & PAGEMAP_SWAPPED ? PAGE_SURVEY_SWAPPED : PAGE_SURVEY_ABSENT;
		return;
	}
	run->state = PAGE_SURVEY_PRESENT;
	if (pfn == 0) {
		survey->is_pfn_hidden = true;
		return;
	}
	find_place(survey, pfn);
	run->physical = pfn * survey->base_bytes;
	run->node_id = survey->known_node;
	run->target = survey->known_target;
	run->is_hot = survey->heat && page_heat_is_hot(survey->heat, entry);
}

enum page_shape { SHAPE_SMALL, SHAPE_HUGE, SHAPE_HUGE_ZERO };

/* What the entries of 2 MiB and the flags of their first page make of them. */
static enum page_shape find_shape(const struct page_survey *survey, const uint64_t *entries)
{
	const uint64_t mask = PAGEMAP_PRESENT | PAGEMAP_PFN_MASK;
	size_t pages = (size_t)(PAGE_SURVEY_THP_BYTES / survey->base_bytes);
	uint64_t first = entries[0] & mask, head = first & PAGEMAP_PFN_MASK, flags;

	if (!(first & PAGEMAP_PRESENT) || head == 0 || head % pages)
		return SHAPE_SMALL;
	for (size_t i = 1; i < pages; i++)
		if ((entries[i] & mask) != first + i)
			return SHAPE_SMALL;
	if (read_entries(survey->page_flags, &flags, head, 1) != 1 || !(flags & PAGE_FLAG_THP) ||
	    !(flags & PAGE_FLAG_HEAD))
		return SHAPE_SMALL;
	return flags & PAGE_FLAG_ZERO ? SHAPE_HUGE_ZERO : SHAPE_HUGE;
}

/* The same of the 2 MiB at address, or -errno. */
static int read_shape(struct page_survey *survey, uint64_t address)
{
	const uint64_t *entries;
	int loaded;

	if (survey->page_flags < 0 || survey->range.page_bytes != survey->base_bytes ||
	    address % PAGE_SURVEY_THP_BYTES || survey->range.end - address < PAGE_SURVEY_THP_BYTES)
		return SHAPE_SMALL;
	loaded = load(survey, address, (size_t)(PAGE_SURVEY_THP_BYTES / survey->base_bytes), &entries);
	return loaded <= 0 ? loaded : (int)find_shape(survey, entries);
}

/* One page at address, as a run of its own. 1, 0 at the end of what the process has, -errno. */
static int read_page(struct page_survey *survey, uint64_t address, struct page_survey_run *ret_page)
{
	const uint64_t *entries;
	int shape = read_shape(survey, address), loaded;

	if (shape < 0)
		return shape;
	loaded = load(survey, address, 1, &entries);
	if (loaded <= 0)
		return loaded;
	describe(survey, shape == SHAPE_HUGE_ZERO ? 0 : entries[0], ret_page);
	ret_page->start = address;
	ret_page->is_transparent = shape == SHAPE_HUGE;
	ret_page->page_bytes = shape == SHAPE_SMALL ? survey->range.page_bytes : PAGE_SURVEY_THP_BYTES;
	ret_page->end = address + ret_page->page_bytes;
	return 1;
}

static bool is_alike(const struct page_survey_run *run, const struct page_survey_run *page)
{
	return run->state == page->state && run->node_id == page->node_id &&
	       run->target == page->target && run->page_bytes == page->page_bytes &&
	       run->is_hot == page->is_hot;
}

/*
 * The entries that a run of small pages goes on with, of those at hand and up to where a huge page
 * may begin: nearly all of a survey's time is spent here. The last page of the run was described
 * last.
 */
static void extend(struct page_survey *survey, struct page_survey_run *run)
{
	uint64_t border = run->end - run->end % PAGE_SURVEY_THP_BYTES + PAGE_SURVEY_THP_BYTES;
	uint64_t last = border < survey->range.end ? border : survey->range.end;
	uint64_t first = run->end / survey->base_bytes, mask, base, span, hot = 0;
	const uint64_t *entry, *end;

	if (run->state == PAGE_SURVEY_PRESENT && survey->heat) {
		hot = page_heat_bit(survey->heat);
		/* It must be asked of each page. */
		if (!hot)
			return;
	}

	if (run->page_bytes != survey->base_bytes || run->end % PAGE_SURVEY_THP_BYTES == 0 ||
	    first < survey->first_entry || first >= survey->first_entry + survey->entry_count)
		return;
	entry = survey->entries + (first - survey->first_entry);
	end = entry + (last / survey->base_bytes - first);
	if (end > survey->entries + survey->entry_count)
		end = survey->entries + survey->entry_count;
	/* An entry belongs where its bits of mask, less base, are below span. */
	mask = PAGEMAP_PRESENT | PAGEMAP_SWAPPED;
	base = run->state == PAGE_SURVEY_SWAPPED ? PAGEMAP_SWAPPED : 0;
	span = 1;
	if (run->state == PAGE_SURVEY_PRESENT) {
		mask = PAGEMAP_PRESENT | PAGEMAP_PFN_MASK | hot;
		base = PAGEMAP_PRESENT | (run->physical ? survey->known_first : 0) | (run->is_hot ? hot : 0);
		span = run->physical ? survey->known_count : 1;
	}
	while (entry < end && (*entry & mask) - base < span)
		entry++;
	run->end = (survey->first_entry + (uint64_t)(entry - survey->entries)) * survey->base_bytes;
}

int page_survey_next(struct page_survey *survey, struct page_survey_run *ret_run)
{
	struct page_survey_run run, page;
	int got;

	if (survey->position >= survey->range.end)
		return 0;
	got = read_page(survey, survey->position, &run);
	if (got <= 0)
		return got;
	extend(survey, &run);
	while (run.end < survey->range.end) {
		got = read_page(survey, run.end, &page);
		if (got < 0)
			return got;
		if (got == 0 || !is_alike(&run, &page))
			break;
		run.end = page.end;
		extend(survey, &run);
	}
	survey->position = run.end;
	*ret_run = run;
	return 1;
}

int page_survey_next_on(struct page_survey *survey, const struct node_set *nodes,
			struct page_survey_run *ret_run)
{
	struct page_survey_run run;
	int got;

	while ((got = page_survey_next(survey, &run)) > 0) {
		if (run.state != PAGE_SURVEY_PRESENT)
			continue;
		if (nodes ? node_set_has(nodes, run.node_id) : run.target >= 0) {
			*ret_run = run;
			return 1;
		}
	}
	return got;
}

int page_survey_look(struct page_survey *survey, uint64_t address,
		     enum page_survey_state *ret_state, int *ret_node)
{
	struct page_survey_run page;
	uint64_t entry;
	ssize_t got = read_entries(survey->pagemap, &entry, address / survey->base_bytes, 1);

	if (got < 0)
		return (int)got;
	describe(survey, got == 1 ? entry : 0, &page);
	*ret_state = page.state;
	if (ret_node)
		*ret_node = page.node_id;
	return 0;
}

/* Entries that a look skips rather than asks anew for. */
#define LOOK_GAP 64

int page_survey_places(struct page_survey *survey, const uint64_t *addresses, size_t count,
		       int *places)
{
	struct page_survey_run page;
	size_t next;

	/* A walk reads its entries again. */
	survey->entry_count = 0;
	for (size_t i = 0; i < count; i = next) {
		uint64_t first = addresses[i] / survey->base_bytes, last = first;
		ssize_t got;

		for (next = i + 1; next < count; next++) {
			uint64_t entry = addresses[next] / survey->base_bytes;

			if (entry < last || entry - last > LOOK_GAP || entry - first >= CHUNK_ENTRIES)
				break;
			last = entry;
		}
		got = read_entries(survey->pagemap, survey->entries, first, last - first + 1);
		if (got < 0)
			return (int)got;
		for (size_t at = i; at < next; at++) {
			size_t entry = addresses[at] / survey->base_bytes - first;

			describe(survey, entry < (size_t)got ? survey->entries[entry] : 0, &page);
			places[at] = page.state == PAGE_SURVEY_PRESENT ? page.node_id
								       : PAGE_SURVEY_PLACE_ABSENT;
		}
	}
	return 0;
}

int page_survey_frames(struct page_survey *survey, uint64_t address, uint64_t page_bytes, size_t count,
		       uint64_t *frames)
{
	bool is_dense = page_bytes == survey->base_bytes;

	for (size_t i = 0; i < count; i += is_dense ? count : 1) {
		ssize_t got = read_entries(survey->pagemap, frames + i,
					   (address + i * page_bytes) / survey->base_bytes, is_dense ? count : 1);

		if (got < 0)
			return (int)got;
		/* The process is ending. */
		for (size_t n = (size_t)got; n < (is_dense ? count : 1); n++)
			frames[i + n] = 0;
	}
	for (size_t i = 0; i < count; i++)
		frames[i] = frames[i] & PAGEMAP_PRESENT ? frames[i] & PAGEMAP_PFN_MASK : 0;
	return 0;
}

int page_survey_is_huge(struct page_survey *survey, uint64_t address)
{
	size_t pages = (size_t)(PAGE_SURVEY_THP_BYTES / survey->base_bytes);
	ssize_t got;

	if (survey->page_flags < 0 || address % PAGE_SURVEY_THP_BYTES)
		return 0;
	survey->entry_count = 0;
	got = read_entries(survey->pagemap, survey->entries, address / survey->base_bytes, pages);
	if (got < 0)
		return (int)got;
	return (size_t)got == pages && find_shape(survey, survey->entries) == SHAPE_HUGE;
}

int page_survey_count(struct page_survey *survey, const struct page_survey_range *ranges,
		      size_t count, struct page_survey_totals *totals)
{
	for (size_t i = 0; i < count; i++) {
		struct page_survey_run run;
		int got = page_survey_begin(survey, &ranges[i]);

		if (got < 0)
			return got;
		while ((got = page_survey_next(survey, &run)) > 0) {
			uint64_t bytes = run.end - run.start;

			switch (run.state) {
			case PAGE_SURVEY_ABSENT:
				totals->absent_bytes += bytes;
				break;
			case PAGE_SURVEY_SWAPPED:
				totals->swapped_bytes += bytes;
				break;
			case PAGE_SURVEY_PRESENT:
				totals->present_bytes += bytes;
				if (run.node_id >= 0)
					totals->node_bytes[run.node_id] += bytes;
				else
					totals->unknown_bytes += bytes;
				if (run.page_bytes > survey->base_bytes)
					totals->huge_bytes += bytes;
				if (totals->target_bytes && run.target >= 0)
					totals->target_bytes[run.target] += bytes;
				break;
			case PAGE_SURVEY_COUNT:
				break;
			}
		}
		if (got < 0)
			return got;
	}
	return 0;
}
