/* SPDX-License-Identifier: Apache-2.0 */
#include "rate_keeper.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "journal.h"
#include "scratch.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static struct {
	char folder[64], path[96];
	struct journal *journal;
	struct rate_keeper *keeper;
	struct snapshot *snapshot;
	struct measured_rates rates;
	unsigned told;
} rig;

static void on_changed(void *user, const struct measured_rates *rates)
{
	rig.rates = *rates;
	rig.told++;
}

static void start(void)
{
	struct failure failure = {0};

	CHECK_INT(journal_open(rig.path, &rig.journal, &failure), 0);
	memset(&rig.rates, 0, sizeof(rig.rates));
	CHECK_INT(rate_keeper_new(&(struct rate_keeper_options){.journal = rig.journal, .changed = on_changed}, &rig.keeper,
				  &failure),
		  0);
}

static void stop(void)
{
	rig.keeper = rate_keeper_free(rig.keeper);
	rig.journal = journal_close(rig.journal);
}

static void setup(void)
{
	struct snapshot_guest *guest;

	snprintf(rig.folder, sizeof(rig.folder), "%s/rates.XXXXXX", scratch_folder());
	assert(mkdtemp(rig.folder));
	snprintf(rig.path, sizeof(rig.path), "%s/journal.db", rig.folder);
	rig.snapshot = snapshot_new();
	guest = snapshot_add_guest(rig.snapshot);
	snprintf(guest->uuid, sizeof(guest->uuid), "g1");
	rig.told = 0;
	start();
	CHECK_INT(rig.told, 1);
}

static void teardown(void)
{
	stop();
	snapshot_free(rig.snapshot);
	unlink(rig.path);
	rmdir(rig.folder);
}

static void see(const char *id, const char *guest, uint64_t bytes, enum operation_state state)
{
	CLEANUP(operation_record_freep) struct operation_record *record = operation_record_new();
	struct step_record *moved;
	struct step step;

	snprintf(record->id, sizeof(record->id), "%s", id);
	wish_init(&record->wish, OPERATION_KIND_MOVE);
	snprintf(record->wish.guest, sizeof(record->wish.guest), "%s", guest);
	record->state = state;
	step_init(&step, STEP_KIND_MOVE_PAGES);
	moved = operation_record_add_step(record, &step);
	moved->state = STEP_STATE_DONE;
	moved->started_at_ms = 5000;
	moved->ended_at_ms = 6000;
	moved->bytes_done = bytes;
	rate_keeper_see(rig.keeper, record, rig.snapshot);
}

static void test_over_a_restart(void)
{
	setup();
	see("op-1", "g1", 64 * MIB, OPERATION_STATE_RUNNING);
	CHECK_INT(rig.told, 1);
	see("op-1", "g1", 64 * MIB, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(rig.told, 2);
	CHECK_INT(rig.rates.of[RATE_KIND_MOVE].amount, 64 * MIB);
	/* Told once more. */
	see("op-1", "g1", 64 * MIB, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(rig.told, 2);
	rig.snapshot->guests[0].backing_count = 1;
	rig.snapshot->guests[0].backings[0] = (struct snapshot_backing){.kind = BACKING_KIND_HUGETLB, .page_bytes = 2 * MIB};
	see("op-2", "g1", 128 * MIB, OPERATION_STATE_INCOMPLETE);
	CHECK_INT(rig.told, 3);
	stop();
	start();
	CHECK_INT(rig.told, 4);
	CHECK_INT(rig.rates.of[RATE_KIND_MOVE].amount, 64 * MIB);
	CHECK_INT(rig.rates.of[RATE_KIND_MOVE].ms, 1000);
	CHECK_INT(rig.rates.of[RATE_KIND_MOVE_HUGE].amount, 128 * MIB);
	CHECK_INT(rig.rates.of[RATE_KIND_OFFLINE].amount, 0);
	teardown();
}

static void test_what_says_nothing(void)
{
	setup();
	/* Its time is that of the pause, too. */
	see("op-1", "g1", 64 * MIB, OPERATION_STATE_PAUSED);
	see("op-1", "g1", 64 * MIB, OPERATION_STATE_SUCCEEDED);
	/* Nobody knows what pages it had. */
	see("op-2", "g2", 64 * MIB, OPERATION_STATE_SUCCEEDED);
	see("op-3", "g1", 1 * MIB, OPERATION_STATE_SUCCEEDED);
	CHECK_INT(rig.told, 1);
	teardown();
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"what was measured outlives a restart", test_over_a_restart},
		{"operations that say nothing of time", test_what_says_nothing},
	};

	return unit_main("rate_keeper", cases, ARRAY_SIZE(cases));
}
