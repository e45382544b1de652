/* SPDX-License-Identifier: Apache-2.0 */
#include "rate_keeper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "journal.h"
#include "plan.h"

/* Operations that are not learnt from: paused, or learnt from already. More are not under way at once. */
#define PASSED_MAX 32

struct rate_keeper {
	struct rate_keeper_options options;
	struct measured_rates rates;
	char passed[PASSED_MAX][OPERATION_ID_SIZE];
	size_t passed_next;
};

int rate_keeper_new(const struct rate_keeper_options *options, struct rate_keeper **ret_keeper, struct failure *failure)
{
	struct rate_keeper *keeper = calloc(1, sizeof(*keeper));
	int r;

	if (!keeper)
		return failure_set(failure, ENOMEM, "ballastd", "cannot keep rates");
	keeper->options = *options;
	r = journal_load_rates(options->journal, &keeper->rates, failure);
	if (r < 0) {
		free(keeper);
		return r;
	}
	options->changed(options->user, &keeper->rates);
	*ret_keeper = keeper;
	return 0;
}

struct rate_keeper *rate_keeper_free(struct rate_keeper *keeper)
{
	free(keeper);
	return NULL;
}

static bool is_passed(const struct rate_keeper *keeper, const char *id)
{
	for (size_t i = 0; i < PASSED_MAX; i++)
		if (strcmp(keeper->passed[i], id) == 0)
			return true;
	return false;
}

static void pass(struct rate_keeper *keeper, const char *id)
{
	memcpy(keeper->passed[keeper->passed_next++ % PASSED_MAX], id, OPERATION_ID_SIZE);
}

void rate_keeper_see(struct rate_keeper *keeper, const struct operation_record *operation,
		     const struct snapshot *snapshot)
{
	bool is_final = operation_state_is_final(operation->state);
	const struct snapshot_guest *guest;
	uint32_t changed;

	if ((!is_final && operation->state != OPERATION_STATE_PAUSED) || is_passed(keeper, operation->id))
		return;
	pass(keeper, operation->id);
	if (!is_final)
		return;
	/* Of a guest that has gone nobody can tell any more what its pages were. */
	guest = snapshot_guest(snapshot, operation->wish.guest);
	if (operation->wish.kind == OPERATION_KIND_MOVE && !guest)
		return;
	changed = measured_rates_learn(&keeper->rates, operation, guest ? plan_rate_kind(guest) : RATE_KIND_MOVE);
	for (int kind = 0; kind < RATE_KIND_COUNT; kind++)
		/* Lost with the daemon where it cannot be written: it is measured again. */
		if (changed >> kind & 1)
			journal_put_rate(keeper->options.journal, (enum rate_kind)kind, &keeper->rates.of[kind], NULL, NULL);
	if (changed)
		keeper->options.changed(keeper->options.user, &keeper->rates);
}
