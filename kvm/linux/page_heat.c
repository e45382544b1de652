/* SPDX-License-Identifier: Apache-2.0 */
#include "page_heat.h"

#include <fcntl.h>
#include <string.h>
#include "page_heat_priv.h"
#include "page_survey.h"
#include "sysroot.h"

/* Documentation/admin-guide/mm/pagemap.rst, idle_page_tracking.rst */
#define PAGEMAP_SOFT_DIRTY (UINT64_C(1) << 55)
#define PAGEMAP_PFN_MASK   ((UINT64_C(1) << 55) - 1)
#define BITMAP_PATH	   "/sys/kernel/mm/page_idle/bitmap"
#define WORD_PAGES	   64
/* Marks of neighbours that are written together: 32768 pages. */
#define WORDS_MAX 512
#define FRAMES	  1024
/* A run is at most as many pages, and at least one: asking costs two system calls. */
#define STEPS_ASK 64

static const char *const source_names[PAGE_HEAT_COUNT] = {
	[PAGE_HEAT_IDLE] = "idle",
	[PAGE_HEAT_SOFT_DIRTY] = "soft_dirty",
};
NAME_TABLE_DEFINE(page_heat_source, source_names)

struct page_heat {
	const struct sysroot *sysroot; /* borrowed */
	pid_t pid;
	enum page_heat_source source;
	int bitmap; /* owned; -1 with soft-dirty */
	/* The word read last: neighbours mostly share it. */
	uint64_t word, word_index;
	bool has_word;
};

static _Alignas(4096) volatile char probe_page[4096];

const void *page_heat_probe_page(void)
{
	return (const void *)(uintptr_t)probe_page;
}

/* A page that has just been written is soft-dirty, where there is such a thing. */
static int probe_soft_dirty(const struct sysroot *sysroot)
{
	CLEANUP_CLOSE int pagemap = sysroot_open(sysroot, O_RDONLY, "/proc/%d/pagemap", (int)getpid());
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), entry = 0;

	if (pagemap < 0)
		return pagemap == -EACCES ? -EPERM : -EOPNOTSUPP;
	probe_page[0] = 1;
	if (pread(pagemap, &entry, sizeof(entry), (off_t)((uintptr_t)probe_page / page_bytes * sizeof(entry))) !=
	    sizeof(entry))
		return -EOPNOTSUPP;
	return entry & PAGEMAP_SOFT_DIRTY ? 0 : -EOPNOTSUPP;
}

int page_heat_new(const struct sysroot *sysroot, pid_t pid, struct page_heat **ret_heat)
{
	CLEANUP(page_heat_freep) struct page_heat *heat = calloc(1, sizeof(*heat));
	int rc;

	if (!heat)
		return -ENOMEM;
	heat->sysroot = sysroot;
	heat->pid = pid;
	heat->bitmap = sysroot_open(sysroot, O_RDWR, BITMAP_PATH);
	if (heat->bitmap < 0) {
		rc = heat->bitmap;
		if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM)
			return rc;
		heat->source = PAGE_HEAT_SOFT_DIRTY;
		rc = probe_soft_dirty(sysroot);
		if (rc < 0)
			return rc;
	}
	*ret_heat = TAKE_PTR(heat);
	return 0;
}

struct page_heat *page_heat_free(struct page_heat *heat)
{
	if (heat && heat->bitmap >= 0)
		close(heat->bitmap);
	free(heat);
	return NULL;
}

enum page_heat_source page_heat_source(const struct page_heat *heat)
{
	return heat->source;
}

/* Words of marks that are not written yet. */
struct marks {
	slow_write_go_on_fn *go_on;
	void *user;
	unsigned steps;
	uint64_t words[WORDS_MAX];
	uint64_t first;
	size_t count;
};

static int write_marks(struct page_heat *heat, struct marks *marks)
{
	size_t bytes = marks->count * sizeof(marks->words[0]);
	ssize_t written = bytes ? pwrite(heat->bitmap, marks->words, bytes, (off_t)(marks->first * 8)) : 0;

	/* Beyond the last page frame there is nothing to mark. */
	if (written < 0 && errno != ENXIO)
		return -errno;
	memset(marks->words, 0, sizeof(marks->words));
	marks->count = 0;
	return 0;
}

static int mark(struct page_heat *heat, struct marks *marks, uint64_t pfn)
{
	uint64_t index = pfn / WORD_PAGES;

	if (!marks->count || index < marks->first || index >= marks->first + WORDS_MAX) {
		int rc = write_marks(heat, marks);

		if (rc < 0)
			return rc;
		marks->first = index;
	}
	if (index - marks->first >= marks->count)
		marks->count = (size_t)(index - marks->first) + 1;
	marks->words[index - marks->first] |= UINT64_C(1) << pfn % WORD_PAGES;
	return 0;
}

static int mark_run(struct page_heat *heat, struct marks *marks, struct page_survey *survey,
		    const struct page_survey_run *run)
{
	uint64_t frames[FRAMES], address = run->start;
	int rc = 0;

	while (!rc && address < run->end) {
		uint64_t left = (run->end - address) / run->page_bytes;
		size_t count = left < FRAMES ? (size_t)left : FRAMES;

		if (marks->go_on && ++marks->steps % STEPS_ASK == 0)
			rc = marks->go_on(marks->user);
		if (rc)
			break;
		/* Of a huge page the first one is tracked. */
		rc = page_survey_frames(survey, address, run->page_bytes, count, frames);
		for (size_t i = 0; !rc && i < count; i++)
			rc = frames[i] ? mark(heat, marks, frames[i]) : 0;
		address += count * run->page_bytes;
	}
	return rc;
}

static int begin_idle(struct page_heat *heat, struct page_survey *survey, const struct page_survey_range *ranges,
		      size_t count, slow_write_go_on_fn *go_on, void *user)
{
	CLEANUP_FREE struct marks *marks = calloc(1, sizeof(*marks));
	int rc = marks ? 0 : -ENOMEM;

	if (marks) {
		marks->go_on = go_on;
		marks->user = user;
	}
	for (size_t i = 0; !rc && i < count; i++) {
		struct page_survey_run run;

		rc = page_survey_begin(survey, &ranges[i]);
		while (!rc && (rc = page_survey_next(survey, &run)) > 0)
			rc = run.state == PAGE_SURVEY_PRESENT ? mark_run(heat, marks, survey, &run) : 0;
	}
	return rc ? rc : write_marks(heat, marks);
}

int page_heat_begin(struct page_heat *heat, struct page_survey *survey, const struct page_survey_range *ranges,
		    size_t count, slow_write_go_on_fn *go_on, void *user)
{
	int rc;

	heat->has_word = false;
	if (heat->source == PAGE_HEAT_IDLE)
		return begin_idle(heat, survey, ranges, count, go_on, user);
	rc = slow_write_text(heat->sysroot, "4", go_on, user, "/proc/%d/clear_refs", (int)heat->pid);
	return rc == -ENOENT ? -ESRCH : rc;
}

bool page_heat_is_hot(struct page_heat *heat, uint64_t entry)
{
	uint64_t pfn = entry & PAGEMAP_PFN_MASK, index = pfn / WORD_PAGES;

	if (heat->source == PAGE_HEAT_SOFT_DIRTY)
		return entry & PAGEMAP_SOFT_DIRTY;
	if (!heat->has_word || heat->word_index != index) {
		heat->has_word = pread(heat->bitmap, &heat->word, sizeof(heat->word), (off_t)(index * 8)) ==
				 sizeof(heat->word);
		heat->word_index = index;
	}
	return !heat->has_word || !(heat->word >> pfn % WORD_PAGES & 1);
}

uint64_t page_heat_bit(const struct page_heat *heat)
{
	return heat->source == PAGE_HEAT_SOFT_DIRTY ? PAGEMAP_SOFT_DIRTY : 0;
}
