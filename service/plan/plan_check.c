/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can a wish be begun? Everything that stands in the way is told at once, with numbers; harms that
 * a caller may agree to are blockers that name their consent, and are none once it is given. Drains
 * are checked in plan_check_drain.c, with what stands here for a guest.
 */
#include "plan_check_priv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "crash_risk.h"
#include "size_text.h"

static void tell(struct plan_check *check, const char *code, const struct remainder *blocker)
{
	if (check->told)
		return;
	check->told = true;
	failure_set(check->failure, EPERM, blocker->object, "%s", check->action);
	failure_set_code(check->failure, code);
	failure_set_cause(check->failure, "%s", blocker->detail);
	failure_set_way_out(check->failure, "%s", blocker->way_out);
}

void plan_check_block(struct plan_check *check, const char *code, enum remainder_code remainder, const char *object,
		      uint64_t bytes, const char *way_out, const char *detail, ...)
{
	char text[192];
	va_list arguments;

	va_start(arguments, detail);
	vsnprintf(text, sizeof(text), detail, arguments);
	va_end(arguments);
	tell(check, code,
	     remainder_list_add(check->blockers, remainder, object, bytes, way_out, "%s", text));
}

void plan_check_ask(struct plan_check *check, enum consent consent, enum remainder_code remainder, const char *object,
		    uint64_t bytes, const char *detail, ...)
{
	bool shift = consent == CONSENT_POLICY_SHIFT;
	char text[192];
	va_list arguments;

	if (check->input->wish->allow >> consent & 1)
		return;
	va_start(arguments, detail);
	vsnprintf(text, sizeof(text), detail, arguments);
	va_end(arguments);
	tell(check, shift ? "policy_would_shift" : "consent_required",
	     remainder_list_add_consent(check->blockers, remainder, consent, object, bytes, "%s",
					text));
}

static const struct snapshot_guest *check_guest(struct plan_check *check)
{
	const struct wish *wish = check->input->wish;
	const struct snapshot_guest *guest = snapshot_guest(check->input->snapshot, wish->guest);
	char object[96];

	if (!guest) {
		plan_check_block(check, "unknown_guest", REMAINDER_UNKNOWN_TARGET, wish_target(wish, object), 0,
				 "list the guests with ballastctl guests", "there is no such guest");
		return NULL;
	}
	if (!plan_guest_runs(guest)) {
		plan_check_block(check, "guest_not_running", REMAINDER_GUEST_GONE, plan_guest_object(guest, object), 0,
				 NULL, "it is %s", guest_state_name(guest->state));
		return NULL;
	}
	return guest;
}

/* What the guest's policy and the guest itself keep of it, and how much it lets go at once. */
static void check_floor(struct plan_check *check, const struct snapshot_guest *guest, uint64_t wanted)
{
	char object[96], a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];
	uint64_t floor_bytes = plan_guest_floor(guest);

	if (wanted >= guest->current_bytes)
		return;
	plan_guest_object(guest, object);
	if (wanted < floor_bytes)
		plan_check_block(check, "below_floor", REMAINDER_BELOW_FLOOR, object, floor_bytes - wanted, NULL,
				 "%s is below its floor, %s", size_text_format(wanted, a),
				 size_text_format(floor_bytes, b));
	/* Of a wish for the whole no more is asked for than that. */
	else if (check->input->wish->resize.device_count && guest->agent.shrink_most_bytes &&
		 guest->current_bytes - wanted > guest->agent.shrink_most_bytes)
		plan_check_block(check, "below_floor", REMAINDER_BELOW_FLOOR, object,
				 guest->current_bytes - wanted - guest->agent.shrink_most_bytes,
				 "shrink it in several steps", "it lets no more than %s go at once",
				 size_text_format(guest->agent.shrink_most_bytes, b));
}

static void check_size(struct plan_check *check, const struct snapshot_guest *guest, uint64_t wanted)
{
	char object[96], a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];

	plan_guest_object(guest, object);
	if (wanted < guest->base_bytes) {
		plan_check_block(check, "below_base", REMAINDER_BELOW_FLOOR, object, guest->base_bytes - wanted, NULL,
				 "%s is less than its base memory, %s, which cannot leave", size_text_format(wanted, a),
				 size_text_format(guest->base_bytes, b));
		return;
	}
	if (wanted > guest->max_bytes || (guest->maximum_bytes && wanted > guest->maximum_bytes)) {
		uint64_t maximum = guest->maximum_bytes
					   ? plan_min(guest->maximum_bytes, guest->max_bytes)
					   : guest->max_bytes;

		plan_check_block(check, "above_maximum", REMAINDER_INVALID, object, wanted - maximum, "ask for less",
				 "%s is more than its maximum, %s", size_text_format(wanted, a),
				 size_text_format(maximum, b));
		return;
	}
	check_floor(check, guest, wanted);
}

static void check_multiple(struct plan_check *check, const char *object, uint64_t bytes, uint64_t block_bytes,
			   uint64_t base_bytes)
{
	char asked[SIZE_TEXT_SIZE], unit[SIZE_TEXT_SIZE], low[SIZE_TEXT_SIZE], high[SIZE_TEXT_SIZE],
		way_out[96];
	uint64_t over = block_bytes ? bytes % block_bytes : 0;

	if (!over)
		return;
	snprintf(way_out, sizeof(way_out), "ask for %s or %s",
		 size_text_format(base_bytes + bytes - over, low),
		 size_text_format(base_bytes + bytes - over + block_bytes, high));
	plan_check_block(check, "not_block_multiple", REMAINDER_INVALID, object, over, way_out,
			 "%s is no multiple of the block size %s", size_text_format(bytes, asked),
			 size_text_format(block_bytes, unit));
}

static void check_devices(struct plan_check *check, const struct snapshot_guest *guest)
{
	const struct wish_resize *wish = &check->input->wish->resize;
	char object[96], asked[SIZE_TEXT_SIZE], size[SIZE_TEXT_SIZE];
	uint64_t smallest = 0;

	for (size_t i = 0; i < guest->device_count; i++)
		if (!smallest || guest->devices[i].block_bytes < smallest)
			smallest = guest->devices[i].block_bytes;
	if (wish->device_count == 0 && wish->target_bytes > guest->base_bytes)
		check_multiple(check, plan_guest_object(guest, object),
			       wish->target_bytes - guest->base_bytes, smallest, guest->base_bytes);
	for (size_t i = 0; i < wish->device_count; i++) {
		const struct snapshot_device *device = NULL;

		for (size_t j = 0; j < guest->device_count; j++)
			if (strcmp(guest->devices[j].alias, wish->devices[i].alias) == 0)
				device = &guest->devices[j];
		snprintf(object, sizeof(object), "device %s", wish->devices[i].alias);
		if (!device) {
			plan_check_block(check, "no_memory_device", REMAINDER_UNKNOWN_TARGET, object, 0, NULL,
					 "the guest has no such memory device");
			continue;
		}
		if (wish->devices[i].requested_bytes > device->size_bytes)
			plan_check_block(check, "above_maximum", REMAINDER_INVALID, object,
					 wish->devices[i].requested_bytes - device->size_bytes, "ask for less",
					 "%s is more than its size, %s",
					 size_text_format(wish->devices[i].requested_bytes, asked),
					 size_text_format(device->size_bytes, size));
		check_multiple(check, object, wish->devices[i].requested_bytes, device->block_bytes,
			       0);
	}
}

void plan_check_rooms_text(const uint64_t rooms[SNAPSHOT_NODES_MAX], uint64_t nodes, char text[112])
{
	size_t length = 0;

	snprintf(text, 112, "no node");
	for (int node = 0; node < SNAPSHOT_NODES_MAX && length < 80; node++) {
		char size[SIZE_TEXT_SIZE];

		if (nodes >> node & 1)
			length += (size_t)snprintf(text + length, 112 - length, "%snode %d %s", length ? ", " : "", node,
						   size_text_format(rooms[node], size));
	}
}

/* One device's growth, or the balloon's, and where it may land. */
struct growth {
	const char *alias; /* NULL: it is the only one */
	uint64_t nodes, bytes, lacks;
};

/*
 * Each device on the nodes that its cell may use: what another cell's nodes have is no room for it, and QEMU would be
 * killed for want of memory on its own. Those with the fewest nodes choose first. What leaves a balloon lands wherever
 * the guest may have memory. Returns how many growths there are.
 */
static size_t find_growths(const struct plan_input *input, const struct snapshot_guest *guest,
			   const uint64_t rooms[SNAPSHOT_NODES_MAX], struct growth growths[SNAPSHOT_DEVICES_MAX])
{
	uint64_t targets[SNAPSHOT_DEVICES_MAX], left[SNAPSHOT_NODES_MAX];
	bool done[SNAPSHOT_DEVICES_MAX] = {false};

	memcpy(left, rooms, sizeof(left));
	if (resize_is_balloon(guest)) {
		uint64_t wanted = plan_wanted_bytes(input->wish, guest);

		growths[0] = (struct growth){.nodes = plan_growth_nodes(input, guest),
					     .bytes = wanted - plan_min(wanted, guest->balloon_bytes)};
		growths[0].lacks = plan_take_room(left, growths[0].nodes, growths[0].bytes);
		return 1;
	}
	resize_targets(input, guest, targets);
	for (size_t n = 0; n < guest->device_count; n++) {
		struct growth *growth = &growths[n];
		size_t next = guest->device_count;

		*growth = (struct growth){.nodes = UINT64_MAX};
		for (size_t i = 0; i < guest->device_count; i++) {
			uint64_t own = resize_device_nodes(input, guest, &guest->devices[i]);

			if (done[i] || (next < guest->device_count &&
					plan_node_count(own) >= plan_node_count(growth->nodes)))
				continue;
			next = i;
			growth->nodes = own;
		}
		done[next] = true;
		growth->alias = guest->device_count > 1 ? guest->devices[next].alias : NULL;
		growth->bytes = targets[next] - plan_min(targets[next], guest->devices[next].current_bytes);
		growth->lacks = plan_take_room(left, growth->nodes, growth->bytes);
	}
	return guest->device_count;
}

static void check_growth(struct plan_check *check, const struct snapshot_guest *guest)
{
	uint64_t room[SNAPSHOT_NODES_MAX];
	struct growth growths[SNAPSHOT_DEVICES_MAX];
	bool keeps_untouched = check->input->limits->reserve_untouched;
	char object[96], rooms[112], size[SIZE_TEXT_SIZE];
	size_t count;

	growth_room_find_guest(check->input, guest, keeps_untouched, room);
	count = find_growths(check->input, guest, room, growths);
	for (size_t i = 0; i < count; i++) {
		if (!growths[i].lacks)
			continue;
		plan_check_rooms_text(room, growths[i].nodes, rooms);
		plan_check_block(check, "no_room", REMAINDER_NO_ROOM, plan_guest_object(guest, object),
				 growths[i].lacks, NULL, "%s needs %s; beyond the reserve%s there is: %s",
				 growths[i].alias ? growths[i].alias : "it", size_text_format(growths[i].bytes, size),
				 keeps_untouched ? " and what guests have not touched yet" : "", rooms);
	}
}

/* It fits as long as no guest touches more of what it has: then the host is overcommitted. */
static void warn_of_untouched(const struct plan_input *input, struct remainder_list *warnings)
{
	const struct snapshot_guest *guest = snapshot_guest(input->snapshot, input->wish->guest);
	uint64_t room[SNAPSHOT_NODES_MAX], lacks = 0, nodes = 0;
	struct growth growths[SNAPSHOT_DEVICES_MAX];
	char object[96], rooms[112], size[SIZE_TEXT_SIZE];
	size_t count;

	if (!guest || input->limits->reserve_untouched || plan_wanted_bytes(input->wish, guest) <= guest->current_bytes)
		return;
	growth_room_find_guest(input, guest, true, room);
	count = find_growths(input, guest, room, growths);
	for (size_t i = 0; i < count; i++) {
		lacks += growths[i].lacks;
		nodes |= growths[i].nodes;
	}
	if (!lacks)
		return;
	plan_check_rooms_text(room, nodes, rooms);
	remainder_list_add(warnings, REMAINDER_NO_ROOM, plan_guest_object(guest, object), lacks,
			   "reserve_untouched in ballastd.conf refuses it",
			   "guests may yet touch %s that they have; beyond the reserve and that there is: %s",
			   size_text_format(growth_room_untouched(input, guest), size), rooms);
}

/* Named ranges can leave only where they are the guest's to give, and only an agent can see to it. */
static void check_ranges(struct plan_check *check, const struct snapshot_guest *guest, uint64_t wanted)
{
	const struct wish_resize *wish = &check->input->wish->resize;
	char object[96];

	if (!wish->range_count)
		return;
	plan_guest_object(guest, object);
	if (wanted >= guest->current_bytes)
		plan_check_block(check, "invalid_target", REMAINDER_INVALID, object, 0,
				 "ask for less, or name no ranges", "ranges say what leaves, and nothing does");
	if (!plan_agent_can(guest, AGENT_FEATURE_OFFLINE))
		plan_check_block(
			check, "invalid_target", REMAINDER_NO_AGENT, object, 0, NULL,
			"only an agent in the guest can take named ranges offline, and there is none that can");
	for (size_t i = 0; i < wish->range_count; i++) {
		bool inside = false, known = guest->device_count > 0;

		for (size_t j = 0; j < guest->device_count; j++) {
			struct snapshot_range device;

			known = known && plan_device_range(guest, &guest->devices[j], &device);
			inside = inside || (known && wish->ranges[i].start >= device.start &&
					    wish->ranges[i].end <= device.end);
		}
		if (inside)
			continue;
		snprintf(object, sizeof(object), "range 0x%" PRIx64 "-0x%" PRIx64, wish->ranges[i].start,
			 wish->ranges[i].end);
		plan_check_block(check, "invalid_target", REMAINDER_UNKNOWN_TARGET, object, 0,
				 "look at the addresses of its devices", "%s",
				 known ? "it lies in none of the guest's memory devices"
				       : "where the guest's memory devices lie is not known");
	}
}

/* Only what works in the guest can leave it alone in between. */
static void check_work_share(struct plan_check *check, const struct snapshot_guest *guest, uint64_t wanted)
{
	char object[96];

	if (!check->input->wish->resize.work_percent || wanted >= guest->current_bytes ||
	    (!resize_is_balloon(guest) && plan_agent_can(guest, AGENT_FEATURE_OFFLINE) &&
	     plan_agent_can(guest, AGENT_FEATURE_WORK_SHARE)))
		return;
	plan_check_block(
		check, "invalid_target", resize_is_balloon(guest) ? REMAINDER_INVALID : REMAINDER_NO_AGENT,
		plan_guest_object(guest, object), 0, "ask without a share of the time", "%s",
		resize_is_balloon(guest)
			? "a balloon keeps to no share of the guest's time"
			: "only an agent in the guest can keep to a share of its time, and there is none that can");
}

/* Its owner forbade something, and nobody knows what. */
static void check_policy(struct plan_check *check, const struct snapshot_guest *guest, uint64_t bytes)
{
	char object[96];

	if (guest->policy_fault[0])
		plan_check_block(check, "policy_unreadable", REMAINDER_INVALID, plan_guest_object(guest, object), bytes,
				 "put its policy in the domain's metadata right, or take it away: virsh metadata",
				 "its owner's policy cannot be read: %.127s", guest->policy_fault);
}

static void check_resize(struct plan_check *check)
{
	const struct snapshot_guest *guest = check_guest(check);
	size_t before = check->blockers->count;
	uint64_t wanted;
	char object[96];

	if (!guest)
		return;
	plan_guest_object(guest, object);
	if (guest->device_count == 0 && !guest->has_balloon) {
		plan_check_block(check, "no_memory_device", REMAINDER_INVALID, object, 0, "give it a virtio-mem device",
				 "it has neither a virtio-mem device nor a balloon");
		return;
	}
	if (guest->migrating)
		plan_check_block(check, "guest_unmovable", REMAINDER_MIGRATION_JOB, object, 0, NULL,
				 "sizes are frozen while a migration is under way");
	check_policy(check, guest, 0);
	wanted = plan_wanted_bytes(check->input->wish, guest);
	check_work_share(check, guest, wanted);
	if (resize_is_balloon(guest)) {
		if (check->input->wish->resize.range_count)
			plan_check_block(check, "invalid_target", REMAINDER_INVALID, object, 0,
					 "give it a virtio-mem device", "a balloon cannot choose what leaves");
		if (wanted == 0 || wanted > guest->max_bytes ||
		    (guest->maximum_bytes && wanted > guest->maximum_bytes))
			plan_check_block(check, "above_maximum", REMAINDER_INVALID, object, 0, "ask for another size",
					 "the balloon cannot make it that size");
		else if (wanted > guest->balloon_bytes)
			check_growth(check, guest);
		else
			check_floor(check, guest, wanted);
		return;
	}
	check_devices(check, guest);
	check_size(check, guest, wanted);
	check_ranges(check, guest, wanted);
	/* Numbers about room help nobody who has asked for an impossible size. */
	if (check->blockers->count == before && wanted > guest->current_bytes)
		check_growth(check, guest);
}

/*
 * Where only some of it is pinned the rest can go: that is a warning, and in the forecast. True where what is pinned can leave
 * by being unplugged.
 */
static bool check_pinned(struct plan_check *check, const struct snapshot_guest *guest, const char *object, uint64_t bytes)
{
	char portion[SIZE_TEXT_SIZE], covered[SIZE_TEXT_SIZE];
	struct move_replug replug = {0};
	enum remainder_code pinned;
	struct move_goal goal;

	if (!bytes || move_remainder_pinned(guest, bytes, &pinned) < bytes)
		return false;
	if (check->input->wish->kind == OPERATION_KIND_MOVE) {
		move_goal_find(check->input, guest, &goal);
		move_replug_find(check->input, guest, &goal, check->scope, &replug);
	}
	if (replug.covered_bytes && replug.covered_bytes >= replug.there_bytes) {
		plan_check_ask(check, CONSENT_SHRINK_GUESTS, pinned, object, replug.covered_bytes,
			       "a passed-through device pins it: it is unplugged and plugged again elsewhere, %s at a time",
			       size_text_format(replug.portion_bytes, portion));
		return true;
	}
	if (replug.covered_bytes)
		plan_check_block(check, "guest_unmovable", pinned, object, replug.there_bytes - replug.covered_bytes, NULL,
				 "a passed-through device pins it, and it is no virtio-mem that could be unplugged and plugged "
				 "again, as %s beside it could",
				 size_text_format(replug.covered_bytes, covered));
	else
		plan_check_block(check, "guest_unmovable", pinned, object, bytes, NULL, "%s",
				 pinned == REMAINDER_VFIO_PINNED ? "a passed-through device pins its memory"
								 : "all of its memory is held for long");
	return false;
}

void plan_check_movable(struct plan_check *check, const struct snapshot_guest *guest, uint64_t bytes)
{
	bool is_replugged;
	char object[96];

	plan_guest_object(guest, object);
	check_policy(check, guest, bytes);
	if (guest->userfaultfd)
		plan_check_block(check, "guest_unmovable", REMAINDER_USERFAULTFD, object, bytes, NULL,
				 "its memory is served by a userfaultfd");
	if (guest->migrating)
		plan_check_block(check, "guest_unmovable", REMAINDER_MIGRATION_JOB, object, bytes, NULL,
				 "a migration of it is under way");
	is_replugged = check_pinned(check, guest, object, bytes);
	if (guest->encrypted)
		plan_check_block(check, "guest_unmovable", REMAINDER_ENCRYPTED, object, bytes, NULL,
				 "its memory is encrypted and bound to where it lies");
	else if (guest->unsurveyed[0])
		plan_check_block(check, "guest_unmovable", REMAINDER_NOT_MOVABLE, object, bytes,
				 "put right what keeps its page table from being read",
				 "where its memory lies is not known: %.120s", guest->unsurveyed);
	else if (guest->unmovable)
		plan_check_block(check, "guest_unmovable", REMAINDER_NOT_MOVABLE, object, bytes, "shut the guest down",
				 "its memory cannot be moved");
	/* What VFIO has pinned counts as locked, and is not moved. */
	if ((guest->locked && !is_replugged) || guest->realtime)
		plan_check_ask(check, CONSENT_LOCKED_GUESTS, REMAINDER_CONSENT_REQUIRED, object, bytes,
			       "it is %s: moving its memory pauses it",
			       guest->realtime ? "real-time" : "locked in memory");
	if (plan_guest_huge_page(guest) >= SIZE_TEXT_GIB)
		plan_check_ask(check, CONSENT_GIGANTIC_PAGES, REMAINDER_CONSENT_REQUIRED, object, bytes,
			       "each of its 1 GiB pages pauses it by 100 ms and more");
}

static void check_destination(struct plan_check *check, const struct snapshot_guest *guest, int id, uint64_t bytes)
{
	const struct snapshot *snapshot = check->input->snapshot;
	const struct snapshot_node *node = snapshot_node(snapshot, id);
	char object[96], nodes[32];

	snprintf(object, sizeof(object), "node %d", id);
	if (!node)
		plan_check_block(check, "unknown_node", REMAINDER_UNKNOWN_TARGET, object, 0,
				 "list the nodes with ballastctl nodes", "there is no such node");
	else if (!node->has_memory)
		plan_check_block(check, "invalid_target", REMAINDER_INVALID, object, 0, "choose a node with memory",
				 "it has no memory");
	else if (snapshot_held_nodes(snapshot, check->input->wish->drain) & plan_node_bit(id))
		plan_check_block(check, "target_held", REMAINDER_HELD, object, 0, NULL, "a drain holds it");
	else if (guest->allowed_nodes && !(guest->allowed_nodes & plan_node_bit(id)))
		plan_check_block(check, "invalid_target", REMAINDER_INVALID, object, 0, "change the guest's policy",
				 "the policy of guest %s does not allow it", guest->name);
	else if (bytes && !plan_guest_may_use(guest, id))
		plan_check_block(check, "guest_unmovable", REMAINDER_CPUSET_CANNOT_CHANGE, object, bytes,
				 "give the node to its slice (systemctl set-property machine.slice "
				 "AllowedMemoryNodes=), or choose "
				 "one of these",
				 "the control groups above guest %s leave it only nodes %s", guest->name,
				 plan_nodes_text(guest->cpuset_limit, nodes));
}

/*
 * The kernel splits a transparent huge page for which it finds no whole one (mm/migrate.c try_split_folio), and the guest
 * pays for the small ones in its TLB from then on.
 */
static void check_split(struct plan_check *check, const struct snapshot_guest *guest, const struct move_goal *goal)
{
	double share = guest->resident_bytes ? (double)guest->transparent_huge_bytes /
						       (double)guest->resident_bytes
					     : 0;
	char object[96], whole_text[SIZE_TEXT_SIZE], need_text[SIZE_TEXT_SIZE];

	for (int id = 0; share > 0 && id < SNAPSHOT_NODES_MAX; id++) {
		const struct snapshot_node *node = snapshot_node(check->input->snapshot, id);
		uint64_t need = (uint64_t)(share * (double)goal->needs_bytes[id]), whole;

		/* Not known is not fragmented. */
		if (!node || !need || !node->fragmented_bytes)
			continue;
		whole = node->free_bytes - plan_min(node->free_bytes, node->fragmented_bytes);
		if (need > whole)
			plan_check_ask(check, CONSENT_SPLIT_HUGE_PAGES, REMAINDER_WOULD_SPLIT,
				       plan_guest_object(guest, object), need - whole,
				       "node %d has %s free in whole huge pages, its transparent huge pages "
				       "need %s",
				       id, size_text_format(whole, whole_text), size_text_format(need, need_text));
	}
}

/* vCPUs that are to move along need CPUs to go to. */
static void check_cpus(struct plan_check *check, const struct move_goal *goal, const char *object)
{
	const struct snapshot *snapshot = check->input->snapshot;

	if (!check->input->wish->move.cpus)
		return;
	for (size_t i = 0; i < snapshot->node_count; i++)
		if (snapshot->nodes[i].has_cpus &&
		    goal->destinations & plan_node_bit(snapshot->nodes[i].id))
			return;
	plan_check_block(check, "invalid_target", REMAINDER_INVALID, object, 0, "ask without cpus",
			 "none of the destinations has CPUs for its vCPUs");
}

/* What belongs to no cell that is known would stay where it is. */
static void check_cells_known(struct plan_check *check, const struct snapshot_guest *guest,
			      const struct move_goal *goal)
{
	uint64_t bytes = 0;
	char object[96];

	for (size_t i = 0; goal->by_cells && i < guest->backing_count; i++)
		if (guest->backings[i].cell < 0)
			bytes += guest->backings[i].bytes;
	if (bytes)
		plan_check_block(check, "invalid_target", REMAINDER_UNKNOWN_TARGET, plan_guest_object(guest, object),
				 bytes, "name host nodes instead of cells",
				 "which cell a part of its memory is cannot be told");
}

/* What a node lacks for what comes to it: each size of huge pages has its pool, and room in whole pages beside that. */
static uint64_t lacks(const struct plan_input *input, const struct snapshot_guest *guest, const struct move_goal *goal, int node)
{
	uint64_t room = plan_room(input, node, 0), need = 0, rest = goal->needs_bytes[node];

	for (uint64_t page = plan_guest_next_size(guest, 0); page; page = plan_guest_next_size(guest, page)) {
		const struct snapshot_pool *pool = plan_pool(input->snapshot, node, page);
		uint64_t comes = move_goal_size_bytes(guest, goal, node, page);

		need += comes - plan_min(comes, pool ? pool->free * page : 0);
		rest -= plan_min(rest, comes);
	}
	need += rest;
	return need - plan_min(need, room);
}

void plan_check_move_of(struct plan_check *check, const struct snapshot_guest *guest, bool room)
{
	const struct plan_input *input = check->input;
	const struct wish_move *wish = &input->wish->move;
	struct move_goal goal;
	char object[96], need[SIZE_TEXT_SIZE], have[SIZE_TEXT_SIZE];

	plan_guest_object(guest, object);
	move_goal_find(input, guest, &goal);
	if (!goal.destinations) {
		plan_check_block(check, "invalid_target", REMAINDER_INVALID, object, 0, "name a node",
				 wish->form == MOVE_FORM_NEAR_CPUS ? "no node of its CPUs has memory to go to"
								   : "no destination is named");
		return;
	}
	if (wish->lazy && move_lazy_refusal(input, guest, &goal))
		plan_check_block(check, "invalid_target", REMAINDER_INVALID, object, goal.left_bytes,
				 "ask without lazy", "%s", move_lazy_refusal(input, guest, &goal));
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (goal.destinations >> node & 1)
			check_destination(check, guest, node, goal.needs_bytes[node]);
	check_cpus(check, &goal, object);
	for (int node = 0; node < SNAPSHOT_NODES_MAX && wish->form == MOVE_FORM_MAP; node++) {
		if (wish->map[node] < 0 || snapshot_node(input->snapshot, node))
			continue;
		snprintf(object, sizeof(object), "node %d", node);
		plan_check_block(check, "unknown_node", REMAINDER_UNKNOWN_TARGET, object, 0,
				 "list the nodes with ballastctl nodes", "there is no such node");
	}
	plan_guest_object(guest, object);
	if (!goal.left_bytes && !goal.opaque && guest->private_bytes)
		plan_check_block(check, "guest_unmovable", REMAINDER_PRIVATE_MEMORY, object, guest->private_bytes, NULL,
				 "all that is not there already is its private memory (guest_memfd)");
	/* What is there already needs nothing that could be forbidden; but that must be known. */
	if (goal.left_bytes || goal.opaque || guest->unsurveyed[0])
		plan_check_movable(check, guest, goal.left_bytes);
	check_split(check, guest, &goal);
	check_cells_known(check, guest, &goal);
	for (int node = 0; node < SNAPSHOT_NODES_MAX && room; node++) {
		uint64_t needs = goal.needs_bytes[node];
		uint64_t missing = snapshot_node(input->snapshot, node) ? lacks(input, guest, &goal, node) : 0;

		/* Where nodes change places all of it may come before anything leaves: pages go in the guest's order. */
		if (!missing)
			continue;
		plan_check_block(check, "no_room", REMAINDER_NO_ROOM, object, missing, NULL,
				 "it needs %s on node %d, which has %s for it beyond the reserve", size_text_format(needs, need),
				 node, size_text_format(needs - plan_min(needs, missing), have));
	}
	if (guest->cpuset_mems && goal.destinations & ~guest->cpuset_mems &&
	    move_goal_shifts(input, guest, &goal, guest->cpuset_mems | goal.destinations))
		plan_check_ask(check, CONSENT_POLICY_SHIFT, REMAINDER_POLICY_WOULD_SHIFT, object, goal.left_bytes,
			       "widening its cpuset would rewrite its policies by position to nodes that "
			       "nobody named");
}

static void check_move(struct plan_check *check)
{
	const struct snapshot_guest *guest = check_guest(check);

	if (!guest)
		return;
	plan_check_move_of(check, guest, true);
	crash_risk_check_move(check, guest);
}

static void check_undrain(struct plan_check *check)
{
	const struct snapshot *snapshot = check->input->snapshot;
	char object[96];

	for (size_t i = 0; i < snapshot->hold_count; i++)
		if (strcmp(snapshot->holds[i].drain, check->input->wish->drain) == 0)
			return;
	if (check->input->subject_count)
		return;
	snprintf(object, sizeof(object), "drain %s", check->input->wish->drain);
	plan_check_block(check, "unknown_drain", REMAINDER_UNKNOWN_TARGET, object, 0,
			 "list them with ballastctl drains", "there is no such drain");
}

int plan_check(const struct plan_input *input, struct remainder_list *ret_blockers,
	       struct failure *failure)
{
	struct remainder_list blockers = {0};
	struct plan_check check = {.input = input, .blockers = &blockers, .failure = failure};

	failure_clear(failure);
	switch (input->wish->kind) {
	case OPERATION_KIND_RESIZE:
		check.action = "cannot resize";
		check_resize(&check);
		break;
	case OPERATION_KIND_MOVE:
		check.action = "cannot move";
		check_move(&check);
		break;
	case OPERATION_KIND_DRAIN:
		check.action = "cannot drain";
		plan_check_drain(&check);
		break;
	case OPERATION_KIND_UNDRAIN:
		check.action = "cannot undrain";
		check_undrain(&check);
		break;
	case OPERATION_KIND_CHECK:
	case OPERATION_KIND_COUNT:
		break;
	}
	*ret_blockers = blockers;
	return blockers.count ? -EPERM : 0;
}

void plan_check_warnings(const struct plan_input *input, struct remainder_list *warnings)
{
	const struct snapshot *snapshot = input->snapshot;

	if (input->wish->kind == OPERATION_KIND_RESIZE)
		warn_of_untouched(input, warnings);
	if (input->wish->kind == OPERATION_KIND_RESIZE && snapshot_guest(snapshot, input->wish->guest))
		resize_warn_of_agent(input, snapshot_guest(snapshot, input->wish->guest), warnings);
	if (input->wish->kind == OPERATION_KIND_MOVE)
		crash_risk_warn_move(input, warnings);
	if (input->wish->kind == OPERATION_KIND_DRAIN)
		plan_check_drain_warnings(input, warnings);
}
