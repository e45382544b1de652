/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a MOVE_PAGES step goes about it: how many threads copy, and what pause is to be expected.
 *
 * How many of them are in the kernel at once is found out on the way (pace.h pace_crew): measured beside each
 * other, two threads moved 2 MiB pages up to three times and untouched 4 KiB pages 1.75 times as fast as one, but
 * 4 KiB pages that KVM had mapped for the guest a third as fast.
 *
 * Moves of several guests run beside each other. The CPUs go across guests first: each that moves has one thread,
 * however many they are; a further one only from what the others leave of the half of the host's CPUs.
 */
#include "plan_priv.h"

#include "model_json.h"
#include "size_text.h"

#define WORKERS_MAX 4
/* Less than that for each thread is over before a second one has started. */
#define PART_LEAST_BYTES (64 * SIZE_TEXT_MIB)
/* From here on time counts for more than CPUs, on a host that has them. */
#define MUCH_BYTES     (4 * SIZE_TEXT_GIB)
#define MANY_CPUS      16
#define GIGANTIC_MS    100
#define GIGANTIC_MS_MAX 10000
/* The other half is the guests'. */
#define MOVERS_SHARE 2

static unsigned host_cpus(const struct snapshot *snapshot)
{
	unsigned count = 0;

	for (size_t i = 0; i < snapshot->node_count; i++)
		count += snapshot_node_cpu_count(&snapshot->nodes[i]);
	return count;
}

static bool has_suffered(const struct plan_input *input)
{
	const struct step_record *last = plan_last(input, STEP_KIND_MOVE_PAGES);

	return last && last->step.budget_stall_us &&
	       model_json_step_felt_us(last) > last->step.budget_stall_us;
}

unsigned move_shape_workers(const struct plan_input *input, const struct snapshot_guest *guest,
			    uint64_t bytes)
{
	unsigned cpus = host_cpus(input->snapshot), workers = 2;

	/* Two pages of 1 GiB at once are two pauses at once. */
	if (has_suffered(input) || plan_guest_huge_page(guest) >= SIZE_TEXT_GIB)
		return 1;
	if (bytes >= MUCH_BYTES && cpus >= MANY_CPUS)
		workers *= 2;
	if (workers > WORKERS_MAX)
		workers = WORKERS_MAX;
	cpus /= MOVERS_SHARE;
	cpus = cpus > input->threads_beside ? cpus - input->threads_beside : 0;
	while (workers > 1 && (workers > cpus || bytes / workers < PART_LEAST_BYTES))
		workers--;
	return workers;
}

uint32_t move_shape_stall_ms(const struct plan_input *input, const struct snapshot_guest *guest)
{
	uint64_t rate = plan_measured_rate(input->snapshot, guest), ms;
	uint32_t stall_us = input->wish->move.budget_stall_us;

	if (!stall_us)
		stall_us = input->limits->stall_us;
	if (plan_guest_huge_page(guest) < SIZE_TEXT_GIB)
		return (stall_us + 999) / 1000;
	ms = rate ? plan_guest_huge_page(guest) / (rate / 1000 + 1) : GIGANTIC_MS;
	if (ms < GIGANTIC_MS)
		ms = GIGANTIC_MS;
	return ms < GIGANTIC_MS_MAX ? (uint32_t)ms : GIGANTIC_MS_MAX;
}
