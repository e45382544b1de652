/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker a guest walks its page table, one more counts the pages of the ranges (worker_holders.h). When all of them
 * have answered, the guests' bytes are taken off the pages' and the rest is told:
 *
 *   pages by cgroup and kind  -  guests by page table  =  processes, groups, the kernel
 */
#include "holders.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "guest_look.h"
#include "movability.h"
#include "size_text.h"
#include "worker_holders.h"

#define DEADLINE_MS 60000
/* Three terabytes of pages, at the rate of page_holder.h. */
#define PAGES_DEADLINE_MS 300000

#define MOVED_ALONG "the kernel moves it when the block goes offline, unless it is pinned"
#define LET_GO	    "have a hook in drain.d see to it that what is pinned is let go, or stop the process: the rest is moved along"

struct share {
	char name[SNAPSHOT_NAME_SIZE];
	char cgroup[CGROUP_MEMORY_PATH_SIZE];
	int pid;
	uint64_t left; /* not found among the pages so far */
	uint32_t kinds; /* that its backings make, of 1u << kind */
};

static const enum page_kind kind_of_backing[BACKING_KIND_COUNT] = {
	[BACKING_KIND_ANON] = PAGE_KIND_ANON,
	[BACKING_KIND_MEMFD] = PAGE_KIND_SHMEM,
	[BACKING_KIND_FILE] = PAGE_KIND_FILE,
	[BACKING_KIND_HUGETLB] = PAGE_KIND_HUGE_USED,
};

#define HUGE   (1u << PAGE_KIND_HUGE_USED)
#define SHARED (1u << PAGE_KIND_SHMEM)
#define OWNED  (1u << PAGE_KIND_ANON | 1u << PAGE_KIND_SHMEM | 1u << PAGE_KIND_FILE | 1u << PAGE_KIND_WRITEBACK)

struct search {
	holders_fn *found;
	void *user;
	unsigned pending;
	struct holder_report report;
	struct worker_holders pages;
	const char *kernel_way_out; /* static; NULL: the code's own */
	size_t share_count;
	struct share *shares; /* owned; room for every guest */
};

struct survey {
	struct search *search;
	char name[SNAPSHOT_NAME_SIZE];
	int pid;
};

/* One that cannot be seen does not hide the others, and is not taken for one that has nothing there. */
static void tell_unseen(struct search *search, enum holder_class class, const char *object, const struct failure *failure)
{
	char why[160] = "no answer";

	if (failure_is_set(failure))
		failure_format(failure, why, sizeof(why));
	holder_report_add(&search->report, class, object, 0, NULL, "not surveyed: %s", why);
}

/* Of one kind; returns how much it was. */
static uint64_t take(uint64_t *bytes, uint64_t want)
{
	uint64_t taken = *bytes < want ? *bytes : want;

	*bytes -= taken;
	return taken;
}

static bool is_below(const char *path, const char *group)
{
	size_t length = strlen(group);

	return length && strncmp(path, group, length) == 0 && (!path[length] || (path[length] == '/' && length > 1));
}

static void take_kinds(struct share *share, uint64_t kinds[PAGE_KIND_COUNT], uint32_t which)
{
	for (int kind = 0; kind < PAGE_KIND_COUNT; kind++)
		if (which & 1u << kind)
			share->left -= take(&kinds[kind], share->left);
}

/* False where none of its groups stands alone. */
static bool take_from_own(struct share *share, struct worker_holders *pages, uint32_t which)
{
	bool is_any = false;

	for (size_t i = 0; i < pages->count; i++) {
		if (!is_below(pages->groups[i].owner.path, share->cgroup))
			continue;
		take_kinds(share, pages->groups[i].kinds, which);
		is_any = true;
	}
	return is_any;
}

/*
 * Hugetlb is charged to no group. Shared memory is charged to whoever touched it first: what the guest's own group does
 * not have is another's that maps it too, and may be with any of them. What its own group has of other kinds comes last:
 * a private copy of a file, or a page on its way to swap. Where there are many groups its own may be in their sum.
 */
static void take_share(struct share *share, struct worker_holders *pages)
{
	bool stands_alone = take_from_own(share, pages, share->kinds);

	take_kinds(share, pages->rest, stands_alone ? share->kinds & ~SHARED : share->kinds);
	take_kinds(share, pages->movable, share->kinds & HUGE);
	take_kinds(share, pages->kernel, share->kinds & HUGE);
	for (size_t i = 0; i < pages->count; i++)
		take_kinds(share, pages->groups[i].kinds, share->kinds & SHARED);
	take_kinds(share, pages->rest, share->kinds & SHARED);
	take_from_own(share, pages, OWNED);
	if (!stands_alone)
		take_kinds(share, pages->rest, OWNED);
}

/* "200 MiB anonymous, 3 MiB file"; returns the sum. */
static uint64_t describe(const uint64_t kinds[PAGE_KIND_COUNT], char *text, size_t size)
{
	uint64_t sum = 0;
	size_t used = 0;

	text[0] = '\0';
	for (int kind = 0; kind < PAGE_KIND_COUNT; kind++) {
		char bytes[SIZE_TEXT_SIZE];

		if (!kinds[kind] || used >= size)
			continue;
		used += (size_t)snprintf(text + used, size - used, "%s%s %s", sum ? ", " : "",
					 size_text_format(kinds[kind], bytes), page_kind_name((enum page_kind)kind));
		sum += kinds[kind];
	}
	return sum;
}

/* The end of a long path says more than its beginning. */
static const char *end_of(const char *path, size_t size)
{
	size_t length = strlen(path);

	return length < size ? path : path + length - size + 1;
}

/* "up to 4 MiB pinned; ", or with who has most of that: one of several. Empty where nothing is. */
static const char *pinned_text(const struct cgroup_owner *owner, uint64_t bytes, char text[64])
{
	char size[SIZE_TEXT_SIZE];

	text[0] = '\0';
	if (!owner->pinned_bytes)
		return text;
	size_text_format(owner->pinned_bytes < bytes ? owner->pinned_bytes : bytes, size);
	if (owner->process_count == 1)
		snprintf(text, 64, "up to %s pinned; ", size);
	else
		snprintf(text, 64, "up to %s pinned, by %d (%s) most; ", size, (int)owner->pinner_pid, owner->pinner_name);
	return text;
}

static void tell_group(struct search *search, const struct worker_holder *group)
{
	const struct cgroup_owner *owner = &group->owner;
	char object[96], kinds[96], pinned[64];
	uint64_t bytes = describe(group->kinds, kinds, sizeof(kinds));
	struct holder_report *report = &search->report;
	const char *way_out = owner->pinned_bytes ? LET_GO : MOVED_ALONG;

	if (!bytes)
		return;
	pinned_text(owner, bytes, pinned);
	for (size_t i = 0; i < search->share_count; i++) {
		const struct share *share = &search->shares[i];

		if (!is_below(owner->path, share->cgroup) || strcmp(share->cgroup, "/") == 0)
			continue;
		snprintf(object, sizeof(object), "process %d", share->pid);
		holder_report_add(report, HOLDER_CLASS_QEMU, object, bytes, MOVED_ALONG,
				  "what QEMU of guest %s has beside its memory: %s", share->name, kinds);
		return;
	}
	if (!owner->inode) {
		holder_report_add(report, HOLDER_CLASS_CGROUP, "no cgroup", bytes, MOVED_ALONG, "%s", kinds);
	} else if (owner->process_count == 1) {
		snprintf(object, sizeof(object), "process %d (%s)", (int)owner->pid, owner->name);
		holder_report_add(report, HOLDER_CLASS_PROCESS, object, bytes, way_out, "%scgroup %s: %s", pinned,
				  end_of(owner->path, 80), kinds);
		holder_report_set_pinned(report, owner->pinned_bytes);
	} else if (owner->path[0]) {
		snprintf(object, sizeof(object), "cgroup %s", end_of(owner->path, sizeof(object) - 8));
		if (owner->process_count)
			holder_report_add(report, HOLDER_CLASS_CGROUP, object, bytes, way_out,
					  "%s%zu processes, the largest %d (%s): %s", pinned, owner->process_count,
					  (int)owner->pid, owner->name, kinds);
		else
			holder_report_add(report, HOLDER_CLASS_CGROUP, object, bytes, MOVED_ALONG, "no process: %s",
					  kinds);
		holder_report_set_pinned(report, owner->pinned_bytes);
	} else {
		snprintf(object, sizeof(object), "cgroup of inode %" PRIu64, owner->inode);
		holder_report_add(report, HOLDER_CLASS_CGROUP, object, bytes, MOVED_ALONG, "%s", kinds);
	}
}

static void tell_rest(struct search *search)
{
	char kinds[96];
	uint64_t bytes = describe(search->pages.rest, kinds, sizeof(kinds));

	if (bytes)
		holder_report_add(&search->report, HOLDER_CLASS_OTHERS, "other cgroups", bytes, MOVED_ALONG,
				  "%" PRIu64 " of them: %s", search->pages.rest_count, kinds);
}

static void tell_kernel(struct search *search)
{
	static const struct {
		enum page_kind kind;
		const char *object, *detail;
	} rows[] = {
		{PAGE_KIND_SLAB, "slab", "small objects of the kernel"},
		{PAGE_KIND_PAGE_TABLE, "page tables", "of processes"},
	};
	const struct worker_holders *pages = &search->pages;
	struct holder_report *report = &search->report;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t bytes = pages->kernel[rows[i].kind] + pages->movable[rows[i].kind];

		if (bytes)
			holder_report_add(report, HOLDER_CLASS_KERNEL, rows[i].object, bytes,
					  search->kernel_way_out, "%s", rows[i].detail);
	}
	if (pages->kernel[PAGE_KIND_OTHER])
		holder_report_add(report, HOLDER_CLASS_KERNEL, "kernel zone", pages->kernel[PAGE_KIND_OTHER],
				  search->kernel_way_out, "the kernel's own, or ready on a processor's list");
	if (pages->movable[PAGE_KIND_OTHER])
		holder_report_add(report, HOLDER_CLASS_UNKNOWN, "movable zone", pages->movable[PAGE_KIND_OTHER], NULL,
				  "the kernel tells no kind of them");
}

static void tell_pools(struct search *search)
{
	const struct worker_holders *pages = &search->pages;
	uint64_t used = pages->kernel[PAGE_KIND_HUGE_USED] + pages->movable[PAGE_KIND_HUGE_USED];
	uint64_t unused = pages->kernel[PAGE_KIND_HUGE_FREE] + pages->movable[PAGE_KIND_HUGE_FREE];
	uint64_t poisoned = pages->kernel[PAGE_KIND_POISONED] + pages->movable[PAGE_KIND_POISONED];

	if (used)
		holder_report_add(&search->report, HOLDER_CLASS_POOL, "huge pages", used,
				  "stop what maps them: HugetlbPages in /proc/PID/status", "in use, by no guest");
	if (unused)
		holder_report_add(&search->report, HOLDER_CLASS_POOL, "huge pages", unused, NULL,
				  "of a pool, not mapped");
	if (poisoned)
		holder_report_add(&search->report, HOLDER_CLASS_POISONED, "pages", poisoned, NULL,
				  "out of use after a memory error");
}

static void tell_pages(struct search *search)
{
	struct holder_report *report = &search->report;
	struct worker_holders *pages = &search->pages;

	for (int kind = 0; kind < PAGE_KIND_COUNT; kind++)
		report->size_bytes += pages->kernel[kind] + pages->movable[kind];
	report->free_bytes = pages->kernel[PAGE_KIND_FREE] + pages->movable[PAGE_KIND_FREE];
	report->offline_bytes = pages->kernel[PAGE_KIND_OFFLINE] + pages->movable[PAGE_KIND_OFFLINE];
	for (size_t i = 0; i < search->share_count; i++)
		take_share(&search->shares[i], pages);
	for (size_t i = 0; i < pages->count; i++)
		tell_group(search, &pages->groups[i]);
	tell_rest(search);
	tell_kernel(search);
	tell_pools(search);
}

static void step(struct search *search)
{
	struct failure failure = {0};

	if (--search->pending > 0)
		return;
	if (search->report.is_counted)
		tell_pages(search);
	holder_report_finish(&search->report);
	if (search->report.is_short_of_memory) {
		failure_set(&failure, ENOMEM, "ballastd", "cannot tell the holders");
		search->found(search->user, -ENOMEM, &failure, NULL);
	} else {
		search->found(search->user, 0, &failure, &search->report);
	}
	holder_report_done(&search->report);
	free(search->shares);
	free(search);
}

static void on_pages(void *user, const struct worker_result *result)
{
	struct search *search = user;
	struct failure failure = result->failure;

	if (result->outcome == WORKER_OUTCOME_DONE && result->values &&
	    worker_holders_parse(result->values, &search->pages, &failure) == 0)
		search->report.is_counted = true;
	else
		tell_unseen(search, HOLDER_CLASS_UNCOUNTED, "pages", &failure);
	step(search);
}

static void add_share(struct survey *survey, const struct worker_survey *seen)
{
	struct search *search = survey->search;
	struct share *share = &search->shares[search->share_count];
	uint64_t bytes = 0;
	char object[96];

	for (size_t i = 0; i < seen->dimm_count; i++)
		bytes += seen->dimms[i].bytes;
	/* A guest without memory there may still have its QEMU's. */
	search->share_count++;
	memcpy(share->name, survey->name, sizeof(share->name));
	memcpy(share->cgroup, seen->cgroup, sizeof(share->cgroup));
	share->pid = survey->pid;
	share->left = bytes;
	for (size_t i = 0; i < seen->backing_count; i++)
		share->kinds |= 1u << kind_of_backing[seen->backings[i].kind];
	if (!bytes)
		return;
	snprintf(object, sizeof(object), "guest %s", survey->name);
	holder_report_add(&search->report, HOLDER_CLASS_GUEST, object, bytes, NULL, "resident by its page table");
	/* A passed-through device pins all that it may reach, where nothing says less. */
	holder_report_set_pinned(&search->report, seen->vfio && !seen->pinned_bytes ? bytes : seen->pinned_bytes);
}

static void on_survey(void *user, const struct worker_result *result)
{
	struct survey *survey = user;
	struct search *search = survey->search;
	struct worker_survey *seen = calloc(1, sizeof(*seen));
	struct failure failure = {0};
	char object[96];

	snprintf(object, sizeof(object), "guest %s", survey->name);
	if (!seen)
		failure_set(&failure, ENOMEM, object, "cannot survey");
	if (seen && result->outcome == WORKER_OUTCOME_DONE && result->values &&
	    worker_survey_parse(result->values, seen, &failure) == 0)
		add_share(survey, seen);
	else if (!remainder_list_has(&result->remainder, REMAINDER_GUEST_GONE))
		tell_unseen(search, HOLDER_CLASS_UNSURVEYED, object, failure_is_set(&failure) ? &failure : &result->failure);
	free(seen);
	free(survey);
	step(search);
}

/* To the last of the entries with that id that has room. -E2BIG: there is no room; -ENOMEM. */
static int add_range(struct worker_job *job, const char *id, uint64_t start, uint64_t end)
{
	size_t i = job->dimm_count;

	if (start >= end)
		return 0;
	while (i > 0 && (strcmp(job->dimms[i - 1].id, id) != 0 || job->dimms[i - 1].range_count == SNAPSHOT_RANGES_MAX))
		i--;
	if (i == 0) {
		void *larger;

		if (job->dimm_count == WORKER_DIMMS_MAX)
			return -E2BIG;
		larger = reallocarray(job->dimms, job->dimm_count + 1, sizeof(*job->dimms));
		if (!larger)
			return -ENOMEM;
		job->dimms = larger;
		i = ++job->dimm_count;
		memset(&job->dimms[i - 1], 0, sizeof(job->dimms[i - 1]));
		snprintf(job->dimms[i - 1].id, sizeof(job->dimms[i - 1].id), "%s", id);
	}
	job->dimms[i - 1].ranges[job->dimms[i - 1].range_count++] = (struct snapshot_range){start, end};
	return 0;
}

/* What lies in online blocks of the kernel's zones, and what does not. Blocks stand in the order of their addresses. */
static int split_by_zone(const struct snapshot *snapshot, const struct snapshot_range *range, struct worker_job *job,
			 struct movability *movability)
{
	uint64_t at = range->start, kernel_from = range->start;
	int rc = 0;

	for (size_t b = 0; !rc && b < snapshot->block_count; b++) {
		const struct snapshot_block *block = &snapshot->blocks[b];
		uint64_t start = block->start > range->start ? block->start : range->start;
		uint64_t end = block->start + block->size_bytes < range->end ? block->start + block->size_bytes : range->end;

		if (start >= end || start < at || block->state != BLOCK_STATE_ONLINE || block->zone == BLOCK_ZONE_MOVABLE)
			continue;
		movability_add(movability, block);
		if (start > at) {
			rc = add_range(job, "kernel", kernel_from, at);
			if (!rc)
				rc = add_range(job, WORKER_HOLDERS_MOVABLE, at, start);
			kernel_from = start;
		}
		at = end;
	}
	if (!rc)
		rc = add_range(job, "kernel", kernel_from, at);
	return rc ? rc : add_range(job, WORKER_HOLDERS_MOVABLE, at, range->end);
}

static void count_pages(struct search *search, struct worker_pool *pool, const struct snapshot *snapshot,
			const struct snapshot_range *ranges, size_t count)
{
	struct worker_job job = {.kind = WORKER_JOB_HOLDERS, .deadline_ms = PAGES_DEADLINE_MS};
	struct movability movability = {0};
	struct failure failure = {0};
	int rc = 0;

	for (size_t i = 0; !rc && i < count; i++)
		rc = split_by_zone(snapshot, &ranges[i], &job, &movability);
	search->kernel_way_out = movability_way_out(snapshot, &movability);
	if (rc)
		failure_set(&failure, -rc, "pages", "cannot count so many pieces");
	else
		rc = worker_pool_start(pool, &job, NULL, on_pages, search, NULL, &failure);
	worker_job_done(&job);
	if (rc)
		tell_unseen(search, HOLDER_CLASS_UNCOUNTED, "pages", &failure);
	else
		search->pending++;
}

static int start_survey(struct search *search, struct worker_pool *pool, const struct snapshot_guest *guest,
			const struct snapshot_range *ranges, size_t count, struct failure *failure)
{
	struct worker_job job = {.kind = WORKER_JOB_SURVEY, .deadline_ms = DEADLINE_MS};
	struct survey *survey = calloc(1, sizeof(*survey));
	int rc = survey ? 0 : -ENOMEM;

	job.process = (struct worker_process){guest->pid, guest->start_time};
	guest_look_ram_sizes(guest, &job);
	for (size_t i = 0; !rc && i < count; i++)
		rc = add_range(&job, "range", ranges[i].start, ranges[i].end);
	if (rc) {
		failure_set(failure, -rc, guest->name, "cannot survey");
	} else {
		survey->search = search;
		survey->pid = guest->pid;
		memcpy(survey->name, guest->name, sizeof(survey->name));
		rc = worker_pool_start(pool, &job, NULL, on_survey, survey, NULL, failure);
	}
	worker_job_done(&job);
	if (rc)
		free(survey);
	return rc;
}

void holders_find(struct look *look, struct worker_pool *pool, const struct snapshot_range *ranges, size_t count,
		  holders_fn *found, void *user)
{
	const struct snapshot *snapshot = look_snapshot(look);
	struct search *search = calloc(1, sizeof(*search));
	struct failure failure = {0};

	if (search)
		search->shares = calloc(snapshot->guest_count + 1, sizeof(*search->shares));
	if (!search || !search->shares) {
		free(search);
		failure_set(&failure, ENOMEM, "ballastd", "cannot look for holders");
		found(user, -ENOMEM, &failure, NULL);
		return;
	}
	search->found = found;
	search->user = user;
	search->pending = 1;
	count_pages(search, pool, snapshot, ranges, count);
	for (size_t g = 0; g < snapshot->guest_count; g++) {
		const struct snapshot_guest *guest = &snapshot->guests[g];
		char object[96];

		if (guest->pid <= 0)
			continue;
		failure_clear(&failure);
		snprintf(object, sizeof(object), "guest %s", guest->name);
		if (start_survey(search, pool, guest, ranges, count, &failure))
			tell_unseen(search, HOLDER_CLASS_UNSURVEYED, object, &failure);
		else
			search->pending++;
	}
	step(search);
}
