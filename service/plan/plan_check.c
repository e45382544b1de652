/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can a wish be begun? Everything that stands in the way is told at once, with numbers; harms that
 * a caller may agree to are blockers that name their consent, and are none once it is given. One
 * file for all kinds, so that each code of the API's refusals is given in one place.
 */
#include "plan_priv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "movability.h"
#include "size_text.h"

struct check {
	const struct plan_input *input;
	struct remainder_list *blockers;
	struct failure *failure;
	const char *action; /* "cannot resize" */
	bool told;	    /* the failure has its first blocker */
};

static void tell(struct check *check, const char *code, const struct remainder *blocker)
{
	if (check->told)
		return;
	check->told = true;
	failure_set(check->failure, EPERM, blocker->object, "%s", check->action);
	failure_set_code(check->failure, code);
	failure_set_cause(check->failure, "%s", blocker->detail);
	failure_set_way_out(check->failure, "%s", blocker->way_out);
}

static void block(struct check *check, const char *code, enum remainder_code remainder,
		  const char *object, uint64_t bytes, const char *way_out, const char *detail, ...)
	PRINTF_LIKE(7, 8);

static void block(struct check *check, const char *code, enum remainder_code remainder,
		  const char *object, uint64_t bytes, const char *way_out, const char *detail, ...)
{
	char text[192];
	va_list arguments;

	va_start(arguments, detail);
	vsnprintf(text, sizeof(text), detail, arguments);
	va_end(arguments);
	tell(check, code,
	     remainder_list_add(check->blockers, remainder, object, bytes, way_out, "%s", text));
}

static void ask(struct check *check, enum consent consent, enum remainder_code remainder,
		const char *object, uint64_t bytes, const char *detail, ...) PRINTF_LIKE(6, 7);

static void ask(struct check *check, enum consent consent, enum remainder_code remainder,
		const char *object, uint64_t bytes, const char *detail, ...)
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

static const struct snapshot_guest *check_guest(struct check *check)
{
	const struct wish *wish = check->input->wish;
	const struct snapshot_guest *guest = snapshot_guest(check->input->snapshot, wish->guest);
	char object[96];

	if (!guest) {
		block(check, "unknown_guest", REMAINDER_UNKNOWN_TARGET, wish_target(wish, object),
		      0, "list the guests with ballastctl guests", "there is no such guest");
		return NULL;
	}
	if (!plan_guest_runs(guest)) {
		block(check, "guest_not_running", REMAINDER_GUEST_GONE,
		      plan_guest_object(guest, object), 0, NULL, "it is %s",
		      guest_state_name(guest->state));
		return NULL;
	}
	return guest;
}

/* What the guest's policy and the guest itself keep of it, and how much it lets go at once. */
static void check_floor(struct check *check, const struct snapshot_guest *guest, uint64_t wanted)
{
	char object[96], a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];
	uint64_t floor_bytes = plan_guest_floor(guest);

	if (wanted >= guest->current_bytes)
		return;
	plan_guest_object(guest, object);
	if (wanted < floor_bytes)
		block(check, "below_floor", REMAINDER_BELOW_FLOOR, object, floor_bytes - wanted,
		      NULL, "%s is below its floor, %s", size_text_format(wanted, a),
		      size_text_format(floor_bytes, b));
	/* Of a wish for the whole no more is asked for than that. */
	else if (check->input->wish->resize.device_count && guest->agent.shrink_most_bytes &&
		 guest->current_bytes - wanted > guest->agent.shrink_most_bytes)
		block(check, "below_floor", REMAINDER_BELOW_FLOOR, object,
		      guest->current_bytes - wanted - guest->agent.shrink_most_bytes,
		      "shrink it in several steps", "it lets no more than %s go at once",
		      size_text_format(guest->agent.shrink_most_bytes, b));
}

static void check_size(struct check *check, const struct snapshot_guest *guest, uint64_t wanted)
{
	char object[96], a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];

	plan_guest_object(guest, object);
	if (wanted < guest->base_bytes) {
		block(check, "below_base", REMAINDER_BELOW_FLOOR, object,
		      guest->base_bytes - wanted, NULL,
		      "%s is less than its base memory, %s, which cannot leave",
		      size_text_format(wanted, a), size_text_format(guest->base_bytes, b));
		return;
	}
	if (wanted > guest->max_bytes || (guest->maximum_bytes && wanted > guest->maximum_bytes)) {
		uint64_t maximum = guest->maximum_bytes
					   ? plan_min(guest->maximum_bytes, guest->max_bytes)
					   : guest->max_bytes;

		block(check, "above_maximum", REMAINDER_INVALID, object, wanted - maximum,
		      "ask for less", "%s is more than its maximum, %s",
		      size_text_format(wanted, a), size_text_format(maximum, b));
		return;
	}
	check_floor(check, guest, wanted);
}

static void check_multiple(struct check *check, const char *object, uint64_t bytes,
			   uint64_t block_bytes, uint64_t base_bytes)
{
	char asked[SIZE_TEXT_SIZE], unit[SIZE_TEXT_SIZE], low[SIZE_TEXT_SIZE], high[SIZE_TEXT_SIZE],
		way_out[96];
	uint64_t over = block_bytes ? bytes % block_bytes : 0;

	if (!over)
		return;
	snprintf(way_out, sizeof(way_out), "ask for %s or %s",
		 size_text_format(base_bytes + bytes - over, low),
		 size_text_format(base_bytes + bytes - over + block_bytes, high));
	block(check, "not_block_multiple", REMAINDER_INVALID, object, over, way_out,
	      "%s is no multiple of the block size %s", size_text_format(bytes, asked),
	      size_text_format(block_bytes, unit));
}

static void check_devices(struct check *check, const struct snapshot_guest *guest)
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
			block(check, "no_memory_device", REMAINDER_UNKNOWN_TARGET, object, 0, NULL,
			      "the guest has no such memory device");
			continue;
		}
		if (wish->devices[i].requested_bytes > device->size_bytes)
			block(check, "above_maximum", REMAINDER_INVALID, object,
			      wish->devices[i].requested_bytes - device->size_bytes, "ask for less",
			      "%s is more than its size, %s",
			      size_text_format(wish->devices[i].requested_bytes, asked),
			      size_text_format(device->size_bytes, size));
		check_multiple(check, object, wish->devices[i].requested_bytes, device->block_bytes,
			       0);
	}
}

/* "node 0 300 MiB, node 1 1.2 GiB": what the nodes could still give beyond the reserve. */
static void rooms_text(const uint64_t rooms[SNAPSHOT_NODES_MAX], uint64_t nodes, char text[112])
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

static void check_growth(struct check *check, const struct snapshot_guest *guest)
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
		rooms_text(room, growths[i].nodes, rooms);
		block(check, "no_room", REMAINDER_NO_ROOM, plan_guest_object(guest, object), growths[i].lacks, NULL,
		      "%s needs %s; beyond the reserve%s there is: %s", growths[i].alias ? growths[i].alias : "it",
		      size_text_format(growths[i].bytes, size),
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
	rooms_text(room, nodes, rooms);
	remainder_list_add(warnings, REMAINDER_NO_ROOM, plan_guest_object(guest, object), lacks,
			   "reserve_untouched in ballastd.conf refuses it",
			   "guests may yet touch %s that they have; beyond the reserve and that there is: %s",
			   size_text_format(growth_room_untouched(input, guest), size), rooms);
}

/* Named ranges can leave only where they are the guest's to give, and only an agent can see to it. */
static void check_ranges(struct check *check, const struct snapshot_guest *guest, uint64_t wanted)
{
	const struct wish_resize *wish = &check->input->wish->resize;
	char object[96];

	if (!wish->range_count)
		return;
	plan_guest_object(guest, object);
	if (wanted >= guest->current_bytes)
		block(check, "invalid_target", REMAINDER_INVALID, object, 0, "ask for less, or name no ranges",
		      "ranges say what leaves, and nothing does");
	if (!plan_agent_can(guest, AGENT_FEATURE_OFFLINE))
		block(check, "invalid_target", REMAINDER_NO_AGENT, object, 0, NULL,
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
		block(check, "invalid_target", REMAINDER_UNKNOWN_TARGET, object, 0,
		      "look at the addresses of its devices", "%s",
		      known ? "it lies in none of the guest's memory devices"
			    : "where the guest's memory devices lie is not known");
	}
}

/* Only what works in the guest can leave it alone in between. */
static void check_work_share(struct check *check, const struct snapshot_guest *guest, uint64_t wanted)
{
	char object[96];

	if (!check->input->wish->resize.work_percent || wanted >= guest->current_bytes ||
	    (!resize_is_balloon(guest) && plan_agent_can(guest, AGENT_FEATURE_OFFLINE) &&
	     plan_agent_can(guest, AGENT_FEATURE_WORK_SHARE)))
		return;
	block(check, "invalid_target", resize_is_balloon(guest) ? REMAINDER_INVALID : REMAINDER_NO_AGENT,
	      plan_guest_object(guest, object), 0, "ask without a share of the time", "%s",
	      resize_is_balloon(guest)
		      ? "a balloon keeps to no share of the guest's time"
		      : "only an agent in the guest can keep to a share of its time, and there is none that can");
}

static void check_resize(struct check *check)
{
	const struct snapshot_guest *guest = check_guest(check);
	size_t before = check->blockers->count;
	uint64_t wanted;
	char object[96];

	if (!guest)
		return;
	plan_guest_object(guest, object);
	if (guest->device_count == 0 && !guest->has_balloon) {
		block(check, "no_memory_device", REMAINDER_INVALID, object, 0,
		      "give it a virtio-mem device",
		      "it has neither a virtio-mem device nor a balloon");
		return;
	}
	if (guest->migrating)
		block(check, "guest_unmovable", REMAINDER_MIGRATION_JOB, object, 0, NULL,
		      "sizes are frozen while a migration is under way");
	wanted = plan_wanted_bytes(check->input->wish, guest);
	check_work_share(check, guest, wanted);
	if (resize_is_balloon(guest)) {
		if (check->input->wish->resize.range_count)
			block(check, "invalid_target", REMAINDER_INVALID, object, 0, "give it a virtio-mem device",
			      "a balloon cannot choose what leaves");
		if (wanted == 0 || wanted > guest->max_bytes ||
		    (guest->maximum_bytes && wanted > guest->maximum_bytes))
			block(check, "above_maximum", REMAINDER_INVALID, object, 0,
			      "ask for another size", "the balloon cannot make it that size");
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

/* What forbids moving a guest's memory at all. */
static void check_movable(struct check *check, const struct snapshot_guest *guest, uint64_t bytes)
{
	enum remainder_code pinned;
	char object[96];

	plan_guest_object(guest, object);
	if (guest->userfaultfd)
		block(check, "guest_unmovable", REMAINDER_USERFAULTFD, object, bytes, NULL,
		      "its memory is served by a userfaultfd");
	if (guest->migrating)
		block(check, "guest_unmovable", REMAINDER_MIGRATION_JOB, object, bytes, NULL,
		      "a migration of it is under way");
	/* Where only some of it is pinned the rest can go: that is a warning, and in the forecast. */
	if (bytes && move_remainder_pinned(guest, bytes, &pinned) == bytes)
		block(check, "guest_unmovable", pinned, object, bytes, NULL, "%s",
		      pinned == REMAINDER_VFIO_PINNED
			      ? "a passed-through device pins its memory"
			      : "all of its memory is held for long");
	if (guest->encrypted)
		block(check, "guest_unmovable", REMAINDER_ENCRYPTED, object, bytes, NULL,
		      "its memory is encrypted and bound to where it lies");
	else if (guest->unsurveyed[0])
		block(check, "guest_unmovable", REMAINDER_NOT_MOVABLE, object, bytes,
		      "put right what keeps its page table from being read",
		      "where its memory lies is not known: %.120s", guest->unsurveyed);
	else if (guest->unmovable)
		block(check, "guest_unmovable", REMAINDER_NOT_MOVABLE, object, bytes,
		      "shut the guest down", "its memory cannot be moved");
	if (guest->locked || guest->realtime)
		ask(check, CONSENT_LOCKED_GUESTS, REMAINDER_CONSENT_REQUIRED, object, bytes,
		    "it is %s: moving its memory pauses it",
		    guest->realtime ? "real-time" : "locked in memory");
	if (plan_guest_huge_page(guest) >= SIZE_TEXT_GIB)
		ask(check, CONSENT_GIGANTIC_PAGES, REMAINDER_CONSENT_REQUIRED, object, bytes,
		    "each of its 1 GiB pages pauses it by 100 ms and more");
}

static void check_destination(struct check *check, const struct snapshot_guest *guest, int id, uint64_t bytes)
{
	const struct snapshot *snapshot = check->input->snapshot;
	const struct snapshot_node *node = snapshot_node(snapshot, id);
	char object[96], nodes[32];

	snprintf(object, sizeof(object), "node %d", id);
	if (!node)
		block(check, "unknown_node", REMAINDER_UNKNOWN_TARGET, object, 0,
		      "list the nodes with ballastctl nodes", "there is no such node");
	else if (!node->has_memory)
		block(check, "invalid_target", REMAINDER_INVALID, object, 0,
		      "choose a node with memory", "it has no memory");
	else if (snapshot_held_nodes(snapshot, check->input->wish->drain) & plan_node_bit(id))
		block(check, "target_held", REMAINDER_HELD, object, 0, NULL, "a drain holds it");
	else if (guest->allowed_nodes && !(guest->allowed_nodes & plan_node_bit(id)))
		block(check, "invalid_target", REMAINDER_INVALID, object, 0,
		      "change the guest's policy", "the policy of guest %s does not allow it",
		      guest->name);
	else if (bytes && !plan_guest_may_use(guest, id))
		block(check, "guest_unmovable", REMAINDER_CPUSET_CANNOT_CHANGE, object, bytes,
		      "give the node to its slice (systemctl set-property machine.slice AllowedMemoryNodes=), or choose "
		      "one of these",
		      "the control groups above guest %s leave it only nodes %s", guest->name,
		      plan_nodes_text(guest->cpuset_limit, nodes));
}

/*
 * The kernel splits a transparent huge page for which it finds no whole one (mm/migrate.c try_split_folio), and the guest
 * pays for the small ones in its TLB from then on.
 */
static void check_split(struct check *check, const struct snapshot_guest *guest,
			const struct move_goal *goal)
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
			ask(check, CONSENT_SPLIT_HUGE_PAGES, REMAINDER_WOULD_SPLIT,
			    plan_guest_object(guest, object), need - whole,
			    "node %d has %s free in whole huge pages, its transparent huge pages "
			    "need %s",
			    id, size_text_format(whole, whole_text),
			    size_text_format(need, need_text));
	}
}

/* vCPUs that are to move along need CPUs to go to. */
static void check_cpus(struct check *check, const struct move_goal *goal, const char *object)
{
	const struct snapshot *snapshot = check->input->snapshot;

	if (!check->input->wish->move.cpus)
		return;
	for (size_t i = 0; i < snapshot->node_count; i++)
		if (snapshot->nodes[i].has_cpus &&
		    goal->destinations & plan_node_bit(snapshot->nodes[i].id))
			return;
	block(check, "invalid_target", REMAINDER_INVALID, object, 0, "ask without cpus",
	      "none of the destinations has CPUs for its vCPUs");
}

/* What belongs to no cell that is known would stay where it is. */
static void check_cells_known(struct check *check, const struct snapshot_guest *guest, const struct move_goal *goal)
{
	uint64_t bytes = 0;
	char object[96];

	for (size_t i = 0; goal->by_cells && i < guest->backing_count; i++)
		if (guest->backings[i].cell < 0)
			bytes += guest->backings[i].bytes;
	if (bytes)
		block(check, "invalid_target", REMAINDER_UNKNOWN_TARGET, plan_guest_object(guest, object), bytes,
		      "name host nodes instead of cells", "which cell a part of its memory is cannot be told");
}

static void check_move_of(struct check *check, const struct snapshot_guest *guest, bool room)
{
	const struct plan_input *input = check->input;
	const struct wish_move *wish = &input->wish->move;
	struct move_goal goal;
	char object[96], need[SIZE_TEXT_SIZE], have[SIZE_TEXT_SIZE];

	plan_guest_object(guest, object);
	move_goal_find(input, guest, &goal);
	if (!goal.destinations) {
		block(check, "invalid_target", REMAINDER_INVALID, object, 0, "name a node",
		      wish->form == MOVE_FORM_NEAR_CPUS ? "no node of its CPUs has memory to go to"
							: "no destination is named");
		return;
	}
	if (wish->lazy && move_lazy_refusal(input, guest, &goal))
		block(check, "invalid_target", REMAINDER_INVALID, object, goal.left_bytes,
		      "ask without lazy", "%s", move_lazy_refusal(input, guest, &goal));
	for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
		if (goal.destinations >> node & 1)
			check_destination(check, guest, node, goal.needs_bytes[node]);
	check_cpus(check, &goal, object);
	for (int node = 0; node < SNAPSHOT_NODES_MAX && wish->form == MOVE_FORM_MAP; node++) {
		if (wish->map[node] < 0 || snapshot_node(input->snapshot, node))
			continue;
		snprintf(object, sizeof(object), "node %d", node);
		block(check, "unknown_node", REMAINDER_UNKNOWN_TARGET, object, 0,
		      "list the nodes with ballastctl nodes", "there is no such node");
	}
	plan_guest_object(guest, object);
	if (!goal.left_bytes && !goal.opaque && guest->private_bytes)
		block(check, "guest_unmovable", REMAINDER_PRIVATE_MEMORY, object,
		      guest->private_bytes, NULL,
		      "all that is not there already is its private memory (guest_memfd)");
	/* What is there already needs nothing that could be forbidden; but that must be known. */
	if (goal.left_bytes || goal.opaque || guest->unsurveyed[0])
		check_movable(check, guest, goal.left_bytes);
	check_split(check, guest, &goal);
	check_cells_known(check, guest, &goal);
	for (int node = 0; node < SNAPSHOT_NODES_MAX && room; node++) {
		uint64_t free_bytes = plan_guest_room(input, guest, node, 0);

		/* Where nodes change places all of it may come before anything leaves: pages go in the guest's order. */
		if (!snapshot_node(input->snapshot, node) || goal.needs_bytes[node] <= free_bytes)
			continue;
		block(check, "no_room", REMAINDER_NO_ROOM, object, goal.needs_bytes[node] - free_bytes, NULL,
		      "it needs %s on node %d, which has %s beyond the reserve",
		      size_text_format(goal.needs_bytes[node], need), node,
		      size_text_format(free_bytes, have));
	}
	if (guest->cpuset_mems && goal.destinations & ~guest->cpuset_mems &&
	    move_goal_shifts(input, guest, &goal, guest->cpuset_mems | goal.destinations))
		ask(check, CONSENT_POLICY_SHIFT, REMAINDER_POLICY_WOULD_SHIFT, object,
		    goal.left_bytes,
		    "widening its cpuset would rewrite its policies by position to nodes that "
		    "nobody named");
}

static void check_move(struct check *check)
{
	const struct snapshot_guest *guest = check_guest(check);

	if (guest)
		check_move_of(check, guest, true);
}

static bool same_target(const struct snapshot_hold *hold, const struct wish_drain *wish)
{
	switch (wish->target) {
	case DRAIN_TARGET_DIMM:
		return strcmp(hold->dimm, wish->dimm) == 0;
	case DRAIN_TARGET_NODE:
		return hold->node == wish->node;
	case DRAIN_TARGET_RANGE:
		return hold->node < 0 && !hold->dimm[0] && hold->range_count == 1 &&
		       hold->ranges[0].start == wish->range.start &&
		       hold->ranges[0].end == wish->range.end;
	case DRAIN_TARGET_COUNT:
		break;
	}
	return false;
}

/* False where there is nothing to look at any closer. */
static bool check_target(struct check *check, const struct drain_scope *scope, const char *object)
{
	const struct wish_drain *wish = &check->input->wish->drain_wish;
	const struct snapshot *snapshot = check->input->snapshot;
	const struct snapshot_dimm *dimm = snapshot_dimm(snapshot, wish->dimm);

	if (wish->target == DRAIN_TARGET_DIMM && !dimm) {
		block(check, "unknown_dimm", REMAINDER_UNKNOWN_TARGET, object, 0,
		      "list them with ballastctl dimms", "there is no such DIMM");
		return false;
	}
	if (wish->target == DRAIN_TARGET_NODE && !snapshot_node(snapshot, wish->node)) {
		block(check, "unknown_node", REMAINDER_UNKNOWN_TARGET, object, 0,
		      "list the nodes with ballastctl nodes", "there is no such node");
		return false;
	}
	if (wish->target == DRAIN_TARGET_DIMM && snapshot_dimm_is_out(dimm)) {
		block(check, "invalid_target", REMAINDER_INVALID, object, 0, "",
		      "it is not there any more");
		return false;
	}
	if (wish->target == DRAIN_TARGET_RANGE) {
		uint64_t unit = snapshot->block_bytes;

		if (wish->range.start >= wish->range.end) {
			block(check, "invalid_target", REMAINDER_INVALID, object, 0,
			      "give a start below the end", "the range is empty");
			return false;
		}
		if (unit && (wish->range.start % unit || wish->range.end % unit))
			block(check, "not_block_multiple", REMAINDER_INVALID, object, 0,
			      "give bounds of whole blocks",
			      "its bounds are no multiples of the block size 0x%" PRIx64, unit);
	}
	if (!scope->blocks) {
		block(check, "invalid_target", REMAINDER_INVALID, object, 0, "",
		      "there is no memory in it");
		return false;
	}
	/* What is left out would stay, and the drain would be called done. */
	if (scope->is_cut)
		block(check, "invalid_target", REMAINDER_INVALID, object, 0,
		      "drain its DIMMs or ranges one by one",
		      "its memory lies in more than %d pieces", SNAPSHOT_RANGES_MAX);
	for (size_t i = 0; i < snapshot->hold_count; i++)
		if (strcmp(snapshot->holds[i].drain, check->input->wish->drain) != 0 &&
		    same_target(&snapshot->holds[i], wish))
			block(check, "target_held", REMAINDER_HELD, object, 0,
			      "undrain that one first", "drain %s holds it already",
			      snapshot->holds[i].drain);
	return true;
}

/* Blocks that can never go offline, as runs. */
static void check_blocks(struct check *check, const struct drain_scope *scope)
{
	const struct snapshot *snapshot = check->input->snapshot;

	for (size_t i = 0; i < snapshot->block_count;) {
		const struct snapshot_block *first = &snapshot->blocks[i];
		struct movability movability = {0};
		uint64_t last = first->id;
		const char *way_out;
		size_t next = i;
		char object[96];

		if (first->state == BLOCK_STATE_OFFLINE || first->zone == BLOCK_ZONE_MOVABLE ||
		    !drain_scope_has(scope, first)) {
			i++;
			continue;
		}
		while (next < snapshot->block_count && snapshot->blocks[next].zone == first->zone &&
		       snapshot->blocks[next].state == first->state &&
		       snapshot->blocks[next].hotpluggable == first->hotpluggable &&
		       snapshot->blocks[next].id == first->id + (next - i) &&
		       drain_scope_has(scope, &snapshot->blocks[next])) {
			movability_add(&movability, &snapshot->blocks[next]);
			last = snapshot->blocks[next++].id;
		}
		way_out = movability_way_out(snapshot, &movability);
		if (last == first->id)
			snprintf(object, sizeof(object), "block %" PRIu64, last);
		else
			snprintf(object, sizeof(object), "blocks %" PRIu64 "-%" PRIu64, first->id,
				 last);
		if (first->zone == BLOCK_ZONE_NONE)
			block(check, "not_movable", REMAINDER_NOT_MOVABLE, object, movability.fixed_bytes, NULL,
			      "they span zones or nodes and can never go offline");
		else
			block(check, "kernel_memory", REMAINDER_KERNEL_MEMORY, object, movability.fixed_bytes, way_out,
			      "in zone %s, where the kernel keeps its own memory",
			      block_zone_name(first->zone));
		i = next;
	}
}

static void check_eject(struct check *check, const struct drain_scope *scope)
{
	const struct wish_drain *wish = &check->input->wish->drain_wish;
	const struct snapshot *snapshot = check->input->snapshot;
	char object[96];

	if (wish->target == DRAIN_TARGET_RANGE) {
		block(check, "not_ejectable", REMAINDER_NOT_EJECTABLE,
		      wish_target(check->input->wish, object), 0, "drain the DIMM by its name",
		      "a range is no device that could be ejected");
		return;
	}
	for (size_t i = 0; i < snapshot->dimm_count; i++) {
		const struct snapshot_dimm *dimm = &snapshot->dimms[i];

		if (!drain_scope_has_dimm(wish, dimm) || dimm->ejectable || snapshot_dimm_is_out(dimm))
			continue;
		snprintf(object, sizeof(object), "dimm %s", dimm->id);
		block(check, "not_ejectable", REMAINDER_NOT_EJECTABLE, object, 0, NULL,
		      "the firmware offers no eject for it");
	}
	/* A node whose memory is no device at all. */
	for (size_t i = 0; i < snapshot->block_count; i++) {
		const struct snapshot_block *seen = &snapshot->blocks[i];
		bool inside = false;

		if (!drain_scope_has(scope, seen))
			continue;
		for (size_t d = 0; d < snapshot->dimm_count; d++)
			for (size_t r = 0; r < snapshot->dimms[d].range_count; r++)
				inside = inside || (snapshot->dimms[d].ranges[r].start <
							    seen->start + seen->size_bytes &&
						    seen->start < snapshot->dimms[d].ranges[r].end);
		if (inside)
			continue;
		block(check, "not_ejectable", REMAINDER_NOT_EJECTABLE,
		      wish_target(check->input->wish, object), 0, NULL,
		      "block %" PRIu64 " belongs to no device that could be ejected", seen->id);
		return;
	}
}

/* Farther from the vCPUs than it was, and the vCPUs cannot follow. */
static void check_remote(struct check *check, const struct snapshot_guest *guest,
			 const struct wish *child)
{
	const struct snapshot *snapshot = check->input->snapshot;
	char object[96];

	if (!guest->cpus_pinned || !guest->cpu_nodes)
		return;
	for (int from = 0; from < SNAPSHOT_NODES_MAX; from++) {
		uint8_t before, after;

		if (child->move.map[from] < 0)
			continue;
		before = plan_cpu_distance(snapshot, guest, from);
		after = plan_cpu_distance(snapshot, guest, child->move.map[from]);
		if (after > before)
			ask(check, CONSENT_REMOTE_MEMORY, REMAINDER_CONSENT_REQUIRED,
			    plan_guest_object(guest, object), guest->node_bytes[from],
			    "its memory would be at distance %u from its pinned vCPUs instead of "
			    "%u",
			    after, before);
	}
}

static void check_stored(struct check *check, const struct snapshot_guest *guest,
			 const struct drain_scope *scope)
{
	const struct wish_drain *wish = &check->input->wish->drain_wish;
	char object[96], nodes[32];
	uint64_t gone = guest->stored_numatune_nodes & scope->whole_nodes;

	if (!gone || wish->persist || wish->finish == DRAIN_FINISH_EMPTY ||
	    (guest->numatune_mode != NUMATUNE_MODE_STRICT &&
	     guest->numatune_mode != NUMATUNE_MODE_RESTRICTIVE))
		return;
	ask(check, CONSENT_STORED_XML, REMAINDER_STORED_XML, plan_guest_object(guest, object), 0,
	    "stored XML still says node %s, which will have no memory: it could not start again "
	    "(--persist changes it)",
	    plan_nodes_text(gone, nodes));
}

/* Every guest out, one after the other, as the drain itself would do it. */
static void check_guests(struct check *check, const struct drain_scope *scope)
{
	const struct plan_input *input = check->input;
	const struct snapshot *snapshot = input->snapshot;
	uint64_t taken[SNAPSHOT_NODES_MAX] = {0}, done_below = UINT64_MAX;
	size_t at = 0;

	/* Largest first, of equal ones in their order: done_below and at are where the last one
	 * stood. */
	for (;;) {
		const struct snapshot_guest *next = NULL;
		uint64_t bytes = 0;
		size_t index = 0;
		struct plan_input child_input = *input;
		struct wish child;
		struct step step;
		uint64_t room[SNAPSHOT_NODES_MAX];
		char object[96], rooms[112], size[SIZE_TEXT_SIZE];

		for (size_t i = 0; i < snapshot->guest_count; i++) {
			uint64_t has = drain_scope_guest_bytes(input, scope, &snapshot->guests[i]);

			if (has <= bytes || has > done_below || (has == done_below && i < at))
				continue;
			next = &snapshot->guests[i];
			bytes = has;
			index = i;
		}
		if (!next)
			return;
		done_below = bytes;
		at = index + 1;
		plan_guest_object(next, object);
		if (!drain_scope_child(input, scope, next, bytes, taken, &step, &child)) {
			check_movable(check, next, bytes);
			for (int node = 0; node < SNAPSHOT_NODES_MAX; node++)
				room[node] = plan_guest_room(input, next, node, scope->whole_nodes);
			rooms_text(room, drain_scope_destinations(input, scope, next), rooms);
			block(check, "no_room", REMAINDER_NO_ROOM, object, bytes,
			      next->cpuset_limit ? "free memory there, or give its slice (AllowedMemoryNodes=) more nodes"
						 : NULL,
			      "it needs %s; beyond the reserve and guests before it: %s",
			      size_text_format(bytes, size), rooms);
			continue;
		}
		child_input.wish = &child;
		child_input.history_count = 0;
		check->input = &child_input;
		check_move_of(check, next, false);
		check->input = input;
		check_remote(check, next, &child);
		check_stored(check, next, scope);
	}
}

int plan_check_child(const struct plan_input *input, const struct drain_scope *scope,
		     const struct snapshot_guest *guest, const struct wish *child, struct remainder_list *ret_blockers)
{
	struct remainder_list blockers = {0}, all = {0};
	struct failure failure = {0};
	struct plan_input child_input = *input;
	struct check check = {.input = input, .blockers = &all, .failure = &failure, .action = "cannot move"};

	if (child) {
		child_input.wish = child;
		child_input.history_count = 0;
		check.input = &child_input;
		check_move_of(&check, guest, false);
		check.input = input;
		check_remote(&check, guest, child);
		check_stored(&check, guest, scope);
	} else {
		check_movable(&check, guest, drain_scope_guest_bytes(input, scope, guest));
	}
	/* Without that consent the move itself leaves whatever it would have to split. */
	for (size_t i = 0; i < all.count; i++)
		if (all.items[i].code != REMAINDER_WOULD_SPLIT)
			remainder_list_add_copy(&blockers, &all.items[i]);
	*ret_blockers = blockers;
	return blockers.count ? -EPERM : 0;
}

static void check_drain(struct check *check)
{
	const struct wish_drain *wish = &check->input->wish->drain_wish;
	struct drain_scope scope;
	char object[96];

	drain_scope_find(check->input, &scope);
	if (!check_target(check, &scope, wish_target(check->input->wish, object)) ||
	    wish->finish == DRAIN_FINISH_CORDON)
		return;
	if (wish->finish != DRAIN_FINISH_EMPTY)
		check_blocks(check, &scope);
	if (wish->finish == DRAIN_FINISH_EJECT)
		check_eject(check, &scope);
	check_guests(check, &scope);
}

static void check_undrain(struct check *check)
{
	const struct snapshot *snapshot = check->input->snapshot;
	char object[96];

	for (size_t i = 0; i < snapshot->hold_count; i++)
		if (strcmp(snapshot->holds[i].drain, check->input->wish->drain) == 0)
			return;
	if (check->input->subject_count)
		return;
	snprintf(object, sizeof(object), "drain %s", check->input->wish->drain);
	block(check, "unknown_drain", REMAINDER_UNKNOWN_TARGET, object, 0,
	      "list them with ballastctl drains", "there is no such drain");
}

int plan_check(const struct plan_input *input, struct remainder_list *ret_blockers,
	       struct failure *failure)
{
	struct remainder_list blockers = {0};
	struct check check = {.input = input, .blockers = &blockers, .failure = failure};

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
		check_drain(&check);
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

/* More than one slot of the board: nobody shall pull the one whose name he knows. */
static void warn_of_slots(const struct snapshot_dimm *dimm, const char *object, struct remainder_list *warnings)
{
	char names[80];

	if (dimm->slot_count < 2 && (dimm->slot_count == 0 || dimm->interleaved != ANSWER_YES))
		return;
	snapshot_dimm_slot_names(dimm, names, sizeof(names));
	remainder_list_add(warnings, REMAINDER_INTERLEAVED, object, 0, "pull none of them before all of it is drained",
			   dimm->interleaved == ANSWER_YES ? "its addresses are interleaved over slots %s (%s)"
							   : "its addresses are those of slots %s (%s)",
			   names, confidence_name(dimm->confidence));
}

void plan_check_warnings(const struct plan_input *input, struct remainder_list *warnings)
{
	const struct snapshot *snapshot = input->snapshot;
	const struct snapshot_dimm *dimm;
	struct drain_scope scope;
	char object[96], nodes[32];

	if (input->wish->kind == OPERATION_KIND_RESIZE)
		warn_of_untouched(input, warnings);
	if (input->wish->kind == OPERATION_KIND_RESIZE && snapshot_guest(snapshot, input->wish->guest))
		resize_warn_of_agent(input, snapshot_guest(snapshot, input->wish->guest), warnings);
	if (input->wish->kind != OPERATION_KIND_DRAIN)
		return;
	drain_scope_find(input, &scope);
	dimm = snapshot_dimm(snapshot, input->wish->drain_wish.dimm);
	if (dimm)
		warn_of_slots(dimm, wish_target(input->wish, object), warnings);
	for (size_t i = 0; i < snapshot->guest_count; i++) {
		const struct snapshot_guest *guest = &snapshot->guests[i];

		if (!drain_scope_guest_bytes(input, &scope, guest) ||
		    input->wish->drain_wish.persist ||
		    !(guest->stored_numatune_nodes & scope.nodes))
			continue;
		remainder_list_add(
			warnings, REMAINDER_STORED_XML, plan_guest_object(guest, object), 0, NULL,
			"stored XML still says node %s (--persist changes it)",
			plan_nodes_text(guest->stored_numatune_nodes & scope.nodes, nodes));
	}
}
