/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for memory that comes new to a guest. What is free now is not all of it: guests have been given more than they
 * have touched, and may touch it at any time. Where the host is not to be overcommitted that is kept for them.
 */
#include "plan_priv.h"

#include <string.h>

/* What it has, or is about to have. Of the guest that is to grow just what it has: the rest is what room is sought for. */
static uint64_t given_bytes(const struct plan_input *input, const struct snapshot_guest *guest, bool grows)
{
	uint64_t given = resize_is_balloon(guest) ? guest->balloon_bytes : guest->current_bytes;

	if (grows)
		return given;
	if (!resize_is_balloon(guest) && guest->requested_bytes > given)
		given = guest->requested_bytes;
	for (size_t i = 0; i < input->beside_count; i++) {
		uint64_t wanted = strcmp(input->beside[i]->guest, guest->uuid) == 0 ?
					  plan_wanted_bytes(input->beside[i], guest) :
					  0;

		if (wanted > given)
			given = wanted;
	}
	return given;
}

/* Huge pages come out of their pools, and are counted there. Of a guest whose residency nobody knows nothing is said. */
static uint64_t untouched_bytes(const struct plan_input *input, const struct snapshot_guest *guest, bool grows)
{
	const uint64_t *node_bytes = snapshot_guest_newest_bytes(guest);
	uint64_t given = given_bytes(input, guest, grows), taken = guest->unmapped_bytes + guest->private_bytes;

	if (!plan_guest_runs(guest) || plan_guest_huge_page(guest) || !(guest->surveyed || guest->overview_at_ms))
		return 0;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		taken += node_bytes[node];
	return given - plan_min(given, taken);
}

/* By what each node has left: the kernel takes where there is room. */
static void spread(uint64_t rooms[SNAPSHOT_NODES_MAX], uint64_t nodes, uint64_t bytes)
{
	uint64_t all = 0;

	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		all += nodes >> node & 1 ? rooms[node] : 0;
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++) {
		if (!(nodes >> node & 1) || !rooms[node])
			continue;
		/* In MiB, so that the product cannot overflow. */
		if (bytes >= all || !(all >> 20))
			rooms[node] = 0;
		else
			rooms[node] -= plan_min(rooms[node], (rooms[node] >> 20) * (bytes >> 20) / (all >> 20) << 20);
	}
}

uint64_t growth_room_untouched(const struct plan_input *input, const struct snapshot_guest *guest)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < input->snapshot->guest_count; i++)
		bytes += untouched_bytes(input, &input->snapshot->guests[i], &input->snapshot->guests[i] == guest);
	return bytes;
}

/* Those that may land on the fewest nodes first: they cannot give way. */
static void keep_untouched(const struct plan_input *input, const struct snapshot_guest *grows,
			   uint64_t rooms[SNAPSHOT_NODES_MAX])
{
	unsigned most = plan_node_count(plan_memory_nodes(input->snapshot));

	for (unsigned count = 1; count <= most; count++)
		for (size_t i = 0; i < input->snapshot->guest_count; i++) {
			const struct snapshot_guest *guest = &input->snapshot->guests[i];
			uint64_t nodes = plan_growth_nodes(input, guest);

			if (plan_node_count(nodes) == count)
				spread(rooms, nodes, untouched_bytes(input, guest, guest == grows));
		}
}

void growth_room_find(const struct plan_input *input, const struct snapshot_guest *guest, bool keeps_untouched,
		      uint64_t rooms[SNAPSHOT_NODES_MAX])
{
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		rooms[node] = plan_room(input, node, 0);
	if (keeps_untouched)
		keep_untouched(input, guest, rooms);
}

void growth_room_find_guest(const struct plan_input *input, const struct snapshot_guest *guest, bool keeps_untouched,
			    uint64_t rooms[SNAPSHOT_NODES_MAX])
{
	growth_room_find(input, guest, keeps_untouched, rooms);
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		rooms[node] = plan_with_pools(input, guest, node, rooms[node]);
}
