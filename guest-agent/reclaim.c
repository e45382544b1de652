/* SPDX-License-Identifier: Apache-2.0 */
#include "reclaim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "clock.h"
#include "report.h"
#include "sysroot.h"

/* The root's reclaims from all of the guest (mm/memcontrol.c, memory_files: "reclaim" is not among
 * the files that the root lacks). Under "unified" where cgroup v1 has the rest. */
static const char *const places[] = {"/sys/fs/cgroup/memory.reclaim",
				     "/sys/fs/cgroup/unified/memory.reclaim"};

static const char *find_place(const struct sysroot *sysroot)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (sysroot_exists(sysroot, "%s", places[i]))
			return places[i];
	return NULL;
}

bool reclaim_is_supported(const struct sysroot *sysroot)
{
	return find_place(sysroot) != NULL;
}

static uint64_t real_now_us(void *user)
{
	return monotonic_us();
}

static void real_pause(void *user, uint32_t ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

const struct reclaim_time reclaim_real_time = {.now_us = real_now_us, .pause = real_pause};

/* The kernel adds up, in microseconds, how long some task waited for memory: its averages would tell
 * of a bite only seconds after it. False where it does not tell. */
static bool read_waited(const struct sysroot *sysroot, uint64_t *ret_us)
{
	char text[512];
	const char *total;

	if (sysroot_read_text(sysroot, text, sizeof(text), "/proc/pressure/memory") < 0 ||
	    strncmp(text, "some ", 5) != 0)
		return false;
	total = strstr(text, "total=");
	if (!total)
		return false;
	*ret_us = strtoull(total + strlen("total="), NULL, 10);
	return true;
}

static uint64_t read_free(const struct sysroot *sysroot)
{
	uint64_t total, free_bytes, available;

	return report_read_memory(sysroot, &total, &free_bytes, &available) == 0 ? free_bytes : 0;
}

struct work {
	const struct sysroot *sysroot;
	const struct reclaim_time *time;
	const char *place;
	bool is_told; /* of pressure */
	uint64_t since_us, waited_us;
	uint64_t bite;
	uint32_t most_percent;
	unsigned returns; /* bites in a row that did harm and have come back */
};

static void look(struct work *work)
{
	work->is_told = read_waited(work->sysroot, &work->waited_us);
	work->since_us = work->time->now_us(work->time->user);
}

/* Of the time since look(), the share in which some task waited. */
static uint32_t waited_percent(const struct work *work)
{
	uint64_t waited_us, elapsed_us = work->time->now_us(work->time->user) - work->since_us;

	if (!work->is_told || !read_waited(work->sysroot, &waited_us) || elapsed_us == 0 ||
	    waited_us <= work->waited_us)
		return 0;
	uint64_t percent = (waited_us - work->waited_us) * 100 / elapsed_us;

	return percent > 100 ? 100 : (uint32_t)percent;
}

/* Nothing is taken meanwhile: does the work go on again? */
static bool is_calm_after_rest(struct work *work, uint32_t ms)
{
	look(work);
	work->time->pause(work->time->user, ms);
	return waited_percent(work) <= work->most_percent;
}

static void suit_bite(struct work *work, uint32_t percent)
{
	if (!work->is_told)
		return;
	if (percent * 4 <= work->most_percent && work->bite < RECLAIM_BITE_MOST_BYTES)
		work->bite *= 2;
	else if (percent * 2 > work->most_percent && work->bite > RECLAIM_BITE_LEAST_BYTES)
		work->bite /= 2;
}

/* How much more is free for it. -EAGAIN of the write says that it got less than asked for, which is
 * to be seen anyway. */
static int64_t take_bite(struct work *work, uint64_t bytes)
{
	uint64_t before = read_free(work->sysroot);
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, bytes);
	int error = sysroot_write_text(work->sysroot, text, "%s", work->place);

	if (error < 0 && error != -EAGAIN)
		return error;
	uint64_t now = read_free(work->sysroot);

	return now > before ? (int64_t)(now - before) : 0;
}

/* What a bite took is missed, and the work has it back when it goes on again: it works with all that it has. */
static bool is_worked_with(struct work *work, uint64_t free_before, uint64_t bite)
{
	uint64_t now = read_free(work->sysroot);

	work->returns = now < free_before + bite / 2 ? work->returns + 1 : 0;
	return work->returns == RECLAIM_TRIES;
}

int reclaim_run(const struct sysroot *sysroot, uint64_t target_bytes, uint32_t most_percent,
		const struct reclaim_time *time, enum reclaim_outcome *ret_outcome)
{
	struct work work = {.sysroot = sysroot,
			    .time = time,
			    .place = find_place(sysroot),
			    .most_percent = most_percent,
			    .bite = RECLAIM_BITE_BYTES};
	uint64_t start = read_free(sysroot), reached = start;

	if (!work.place)
		return -EOPNOTSUPP;
	if (!is_calm_after_rest(&work, RECLAIM_PAUSE_MS)) {
		*ret_outcome = RECLAIM_PRESSURE;
		return 0;
	}
	if (!work.is_told)
		work.bite = RECLAIM_BITE_LEAST_BYTES;
	for (unsigned failures = 0; reached < start + target_bytes;) {
		uint64_t left = start + target_bytes - reached;

		look(&work);
		uint64_t bite = left < work.bite ? left : work.bite;
		int64_t got = take_bite(&work, bite);

		if (got < 0)
			return (int)got;
		failures = got > 0 ? 0 : failures + 1;
		if (failures == RECLAIM_TRIES) {
			*ret_outcome = RECLAIM_NOTHING_LEFT;
			return 0;
		}
		time->pause(time->user, RECLAIM_PAUSE_MS);
		uint32_t percent = waited_percent(&work);

		suit_bite(&work, percent);
		if (percent <= most_percent)
			work.returns = 0;
		else if (!is_calm_after_rest(&work, RECLAIM_REST_MS) || is_worked_with(&work, reached, bite)) {
			*ret_outcome = RECLAIM_PRESSURE;
			return 0;
		}
		reached = read_free(sysroot);
	}
	*ret_outcome = RECLAIM_REACHED;
	return 0;
}
