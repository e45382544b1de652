/* SPDX-License-Identifier: Apache-2.0 */
#include "backing_window.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "page_survey.h"

/* Pages that one mincore(2) tells of. */
#define RESIDENT_PAGES 4096

struct backing_window {
	int userfaultfd; /* owned */
	int file;	 /* borrowed while mapped */
	char *memory;	 /* owned mapping, NULL: none */
	uint64_t offset, length, page_bytes, system_page_bytes;
	unsigned char resident[RESIDENT_PAGES];
};

int backing_window_new(struct backing_window **ret_window)
{
	CLEANUP(backing_window_freep) struct backing_window *window = calloc(1, sizeof(*window));
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_MINOR_HUGETLBFS};

	if (!window)
		return -ENOMEM;
	window->system_page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	/* Nobody will ever wait on it, the kernel least of all. */
	window->userfaultfd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (window->userfaultfd < 0)
		return errno == ENOSYS || errno == EPERM || errno == EINVAL ? -EOPNOTSUPP : -errno;
	if (ioctl(window->userfaultfd, UFFDIO_API, &api) < 0)
		return -EOPNOTSUPP;
	*ret_window = TAKE_PTR(window);
	return 0;
}

void backing_window_unmap(struct backing_window *window)
{
	if (window->memory)
		munmap(window->memory, window->length);
	window->memory = NULL;
}

struct backing_window *backing_window_free(struct backing_window *window)
{
	if (!window)
		return NULL;
	backing_window_unmap(window);
	if (window->userfaultfd >= 0)
		close(window->userfaultfd);
	free(window);
	return NULL;
}

int backing_window_map(struct backing_window *window, int fd, uint64_t page_bytes, uint64_t offset, uint64_t length,
		       uint64_t *ret_address)
{
	struct uffdio_register registration = {.mode = UFFDIO_REGISTER_MODE_MINOR};
	void *memory;

	backing_window_unmap(window);
	/* Nobody here reads it. Without the right to, its entries would look like those that AutoNUMA has marked, which
	 * move_pages(2) passes by. */
	memory = mmap(NULL, length, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, (off_t)offset);
	if (memory == MAP_FAILED)
		return -errno;
	window->memory = memory;
	window->file = fd;
	window->page_bytes = page_bytes;
	window->offset = offset;
	window->length = length;
	registration.range.start = (uintptr_t)memory;
	registration.range.len = length;
	if (ioctl(window->userfaultfd, UFFDIO_REGISTER, &registration) < 0) {
		int error = errno;

		backing_window_unmap(window);
		return -error;
	}
	*ret_address = (uintptr_t)memory;
	return 0;
}

/* Maps the pages of a stretch that were in memory a moment ago. Returns the bytes that are mapped now. */
static uint64_t map_stretch(struct backing_window *window, uint64_t start, uint64_t length)
{
	uint64_t done = 0, mapped = 0;

	while (done < length) {
		struct uffdio_continue go_on = {
			.range = {.start = (uintptr_t)window->memory + start + done, .len = length - done},
			.mode = UFFDIO_CONTINUE_MODE_DONTWAKE,
		};

		if (ioctl(window->userfaultfd, UFFDIO_CONTINUE, &go_on) == 0) {
			mapped += length - done;
			break;
		}
		if (go_on.mapped > 0) {
			mapped += (uint64_t)go_on.mapped;
			done += (uint64_t)go_on.mapped;
			continue;
		}
		/* It is mapped already, or has gone; either way it is not this page that we wait for. */
		if (errno == EEXIST)
			mapped += window->page_bytes;
		done += window->page_bytes;
	}
	return mapped;
}

/* A stretch of the file that holds data. */
static int fill_data(struct backing_window *window, uint64_t start, uint64_t end, struct backing_window_found *found)
{
	while (start < end) {
		uint64_t length = end - start, pages;

		if (length > RESIDENT_PAGES * window->page_bytes)
			length = RESIDENT_PAGES * window->page_bytes;
		pages = length / window->page_bytes;
		/* Of a shared file: what is in the page cache, mapped or not (mm/mincore.c). Touches nothing. */
		if (mincore(window->memory + start, length, window->resident) < 0)
			return -errno;
		for (uint64_t first = 0, last; first < pages; first = last) {
			bool is_resident = window->resident[first] & 1;

			for (last = first + 1; last < pages && (window->resident[last] & 1) == is_resident;)
				last++;
			if (is_resident)
				found->mapped_bytes += map_stretch(window, start + first * window->page_bytes,
								   (last - first) * window->page_bytes);
			else
				found->swapped_bytes += (last - first) * window->page_bytes;
		}
		start += length;
	}
	return 0;
}

int backing_window_fill(struct backing_window *window, uint64_t offset, uint64_t length,
			struct backing_window_found *found)
{
	uint64_t end = offset + length;

	if (!window->memory || offset < window->offset || end > window->offset + window->length)
		return -EINVAL;
	/* hugetlbfs tells neither holes (it has no llseek of its own) nor, by mincore(2), what no page table has. */
	if (window->page_bytes > window->system_page_bytes) {
		found->mapped_bytes += map_stretch(window, offset - window->offset, length);
		return 0;
	}
	while (offset < end) {
		off_t data = lseek(window->file, (off_t)offset, SEEK_DATA), hole;
		int rc;

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		if ((uint64_t)data >= end)
			return 0;
		hole = lseek(window->file, data, SEEK_HOLE);
		if (hole < 0)
			return errno == ENXIO ? 0 : -errno;
		offset = (uint64_t)hole < end ? (uint64_t)hole : end;
		rc = fill_data(window, (uint64_t)data - window->offset, offset - window->offset, found);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int backing_window_fill_absent(struct backing_window *window, struct page_survey *survey,
			       const struct page_survey_range *range, uint64_t offset, int (*go_on)(void *user), void *user,
			       struct backing_window_found *found)
{
	struct page_survey_run run;
	int rc = page_survey_begin(survey, range);

	while (!rc && (rc = page_survey_next(survey, &run)) > 0) {
		rc = go_on(user);
		if (!rc && run.state == PAGE_SURVEY_ABSENT)
			rc = backing_window_fill(window, offset + run.start - range->start, run.end - run.start, found);
	}
	return rc;
}
