/* SPDX-License-Identifier: Apache-2.0 */
#include "rest_world.h"

#include <event2/event.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "scratch.h"
#include "unit.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)
/* Turns of the loop without a byte after which nothing more is expected. */
#define QUIET_TURNS 200

static const struct snapshot *get_snapshot(void *user)
{
	struct rest_world *world = user;

	return world->snapshot;
}

static void refresh(void *user, const char *guest, rest_done_fn *done, void *done_user)
{
	struct rest_world *world = user;
	struct failure failure = {0};

	world->refresh_count++;
	world->snapshot->revision++;
	if (world->refresh_error)
		failure_set(&failure, world->refresh_error, "host", "cannot look");
	done(done_user, world->refresh_error, &failure, NULL);
}

static bool libvirt_up(void *user, struct failure *failure)
{
	struct rest_world *world = user;

	if (world->libvirt_down)
		failure_set(failure, ENOTCONN, "libvirt", "cannot connect");
	return !world->libvirt_down;
}

static size_t stuck_workers(void *user)
{
	return ((struct rest_world *)user)->stuck_workers;
}

static json_t *host(void *user)
{
	return json_pack("{s:s}", "version", "0");
}

static void holders(void *user, const struct snapshot_range *ranges, size_t count,
		    rest_holders_fn *done, void *done_user)
{
	struct rest_world *world = user;
	struct holder_report report = {
		.is_counted = !world->holders_untold, .size_bytes = 8192, .free_bytes = 3072, .offline_bytes = 1024};

	world->holders_asked = count ? ranges[0] : (struct snapshot_range){0};
	holder_report_add(&report, HOLDER_CLASS_PROCESS, "process 12", 4096, NULL, "dpdk");
	holder_report_set_pinned(&report, 1024);
	holder_report_add(&report, HOLDER_CLASS_KERNEL, "slab", 0, NULL, "small objects");
	done(done_user, 0, NULL, &report);
	holder_report_done(&report);
}

/* Blocks 32 to 39, the kernel in the last. */
static void guest_blocks(void *user, const char *guest, uint64_t first_block, size_t count, rest_guest_blocks_fn *done,
			 void *done_user)
{
	struct rest_world *world = user;
	struct snapshot_guest_block blocks[8] = {0};
	struct failure failure = {0};
	size_t filled = 0;

	if (world->blocks_error) {
		failure_set(&failure, world->blocks_error, guest, "cannot say what is in its blocks");
		failure_set_code(&failure, "agent_unavailable");
		done(done_user, world->blocks_error, &failure, NULL, 0, UINT64_MAX);
		return;
	}
	for (uint64_t id = first_block < 32 ? 32 : first_block; id < 40 && filled < count; id++)
		blocks[filled++] = (struct snapshot_guest_block){
			.block = {.id = id, .start = id << 27, .size_bytes = 1 << 27, .zone = BLOCK_ZONE_MOVABLE},
			.can_offline = true,
			.holders = {.kernel_bytes = id == 39 ? 4096 : 0}};
	done(done_user, 0, NULL, blocks, filled,
	     filled && blocks[filled - 1].block.id < 39 ? blocks[filled - 1].block.id + 1 : UINT64_MAX);
}

static void attach_agent(void *user, const char *guest, rest_done_fn *done, void *done_user)
{
	struct rest_world *world = user;
	struct failure failure = {0};

	world->attach_count++;
	if (world->attach_error) {
		failure_set(&failure, world->attach_error, guest, "cannot add the channel");
		failure_set_code(&failure, "needs_restart");
	}
	done(done_user, world->attach_error, &failure, NULL);
}

static void set_policy(void *user, const char *guest, const struct rest_guest_policy *policy,
		       rest_done_fn *done, void *done_user)
{
	struct rest_world *world = user;
	struct failure failure = {0};

	world->policy_count++;
	world->policy = *policy;
	if (world->policy_error)
		failure_set(&failure, world->policy_error, guest, "cannot set the policy");
	done(done_user, world->policy_error, &failure, NULL);
}

static uint64_t now_ms(void *user)
{
	return UINT64_C(1700000000000);
}

static void fill_guest(struct snapshot *snapshot, const char *name, const char *uuid)
{
	struct snapshot_guest *guest = snapshot_add_guest(snapshot);

	snprintf(guest->name, sizeof(guest->name), "%s", name);
	snprintf(guest->uuid, sizeof(guest->uuid), "%s", uuid);
	guest->state = GUEST_STATE_RUNNING;
	guest->pid = 4711;
	guest->base_bytes = GIB;
	guest->max_bytes = 5 * GIB;
	guest->current_bytes = guest->requested_bytes = 2 * GIB;
	guest->cell_count = 1;
	guest->cells[0].bytes = GIB;
	guest->device_count = 1;
	snprintf(guest->devices[0].alias, sizeof(guest->devices[0].alias), "virtiomem0");
	guest->devices[0].size_bytes = 4 * GIB;
	guest->devices[0].block_bytes = 2 * MIB;
	guest->devices[0].requested_bytes = guest->devices[0].current_bytes = GIB;
	guest->surveyed = true;
	guest->node_bytes[1] = guest->resident_bytes = 900 * MIB;
	guest->backing_count = 1;
	guest->backings[0].kind = BACKING_KIND_MEMFD;
	guest->backings[0].page_bytes = 4096;
	guest->backings[0].bytes = 2 * GIB;
	guest->cpu_nodes = 3;
	guest->agent.state = AGENT_STATE_READY;
	snprintf(guest->agent.version, sizeof(guest->agent.version), "1.0");
	guest->agent.last_seen_ms = UINT64_C(1700000000000);
}

static void fill_snapshot(struct snapshot *snapshot)
{
	struct snapshot_dimm *dimm;

	snapshot->revision = 7;
	snapshot->observed_at_ms = UINT64_C(1700000000123);
	snapshot->block_bytes = 128 * MIB;
	for (int i = 0; i < 2; i++) {
		struct snapshot_node *node = snapshot_add_node(snapshot);

		node->id = i;
		node->has_memory = node->has_cpus = true;
		node->total_bytes = 2 * GIB;
		node->free_bytes = GIB;
		node->distances[i] = 10;
		node->distances[1 - i] = 20;
		node->pool_count = 1;
		node->pools[0] =
			(struct snapshot_pool){.page_bytes = 2 * MIB, .total = 4, .free = 4};
	}
	for (unsigned i = 0; i < 16; i++) {
		struct snapshot_block *block = snapshot_add_block(snapshot);

		block->id = i;
		block->size_bytes = 128 * MIB;
		block->start = i * block->size_bytes;
		block->node = i < 8 ? 0 : 1;
		block->zone = i < 8 ? BLOCK_ZONE_NORMAL : BLOCK_ZONE_MOVABLE;
	}
	dimm = snapshot_add_dimm(snapshot);
	snprintf(dimm->id, sizeof(dimm->id), "acpi-MP00");
	snprintf(dimm->locator, sizeof(dimm->locator), "P1-C2");
	dimm->node = 1;
	dimm->range_count = 1;
	dimm->ranges[0] = (struct snapshot_range){GIB, 2 * GIB};
	dimm->movable = ANSWER_YES;
	dimm->ejectable = true;
	fill_guest(snapshot, "g1", "11111111-1111-1111-1111-111111111111");
	fill_guest(snapshot, "db \"1\"", "22222222-2222-2222-2222-222222222222");
}

static void fill_engine(struct engine *engine)
{
	struct step step;

	*engine = (struct engine){.result = ENGINE_SUBMIT_ACCEPTED};
	engine->operation = operation_record_new();
	snprintf(engine->operation->id, sizeof(engine->operation->id), "op-1");
	snprintf(engine->operation->target, sizeof(engine->operation->target), "guest g1");
	snprintf(engine->operation->actor, sizeof(engine->operation->actor), "uid 0 pid 1");
	wish_init(&engine->operation->wish, OPERATION_KIND_RESIZE);
	engine->operation->state = OPERATION_STATE_RUNNING;
	engine->operation->progress.eta_s = UINT32_MAX;
	engine->operation->created_at_ms = UINT64_C(1700000000000);
	engine->operation->revision = 3;
	step_init(&step, STEP_KIND_REQUEST);
	snprintf(step.guest_name, sizeof(step.guest_name), "g1");
	operation_record_add_step(engine->operation, &step);
	engine->operation->steps[0].n = 1;
	engine->drain = calloc(1, sizeof(*engine->drain));
	snprintf(engine->drain->id, sizeof(engine->drain->id), "drain-1");
	snprintf(engine->drain->operation, sizeof(engine->drain->operation), "op-1");
	snprintf(engine->drain->target, sizeof(engine->drain->target), "dimm acpi-MP00");
	snprintf(engine->drain->wish.dimm, sizeof(engine->drain->wish.dimm), "acpi-MP00");
	engine->drain->created_at_ms = UINT64_C(1700000000000);
	engine->drain->revision = 5;
}

void rest_world_setup(struct rest_world *world)
{
	struct failure failure = {0};
	struct rest_server_options options = {.listen_fd = -1};
	int error;

	*world = (struct rest_world){.base = event_base_new(), .snapshot = snapshot_new()};
	fill_snapshot(world->snapshot);
	fill_engine(&world->engine);
	world->backend = (struct rest_backend){
		.user = world,
		.engine = &world->engine,
		.snapshot = get_snapshot,
		.refresh = refresh,
		.libvirt_up = libvirt_up,
		.stuck_workers = stuck_workers,
		.host = host,
		.holders = holders,
		.guest_blocks = guest_blocks,
		.attach_agent = attach_agent,
		.set_policy = set_policy,
		.now_ms = now_ms,
	};
	snprintf(world->directory, sizeof(world->directory), "%s/rest.XXXXXX", scratch_folder());
	assert(mkdtemp(world->directory));
	snprintf(world->path, sizeof(world->path), "%s/socket", world->directory);
	options.base = world->base;
	options.backend = &world->backend;
	options.socket_path = world->path;
	error = rest_server_new(&options, &world->server, &failure);
	CHECK_INT(error, 0);
	assert(error == 0);
}

void rest_world_teardown(struct rest_world *world)
{
	rest_server_free(world->server);
	operation_record_free(world->engine.operation);
	free(world->engine.drain);
	snapshot_free(world->snapshot);
	event_base_free(world->base);
	CHECK_INT(access(world->path, F_OK), -1);
	rmdir(world->directory);
}

void rest_world_answer(struct rest_world *world)
{
	struct engine *engine = &world->engine;
	engine_answer_fn *held = engine->held;
	struct engine_answer said = {.result = engine->result, .operation = engine->operation};

	engine->held = NULL;
	engine->hold_answer = false;
	held(engine->held_user, &said);
}

void rest_world_turn(struct rest_world *world)
{
	event_base_loop(world->base, EVLOOP_NONBLOCK);
}

int rest_world_connect(struct rest_world *world)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", world->path);
	assert(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

void reply_done(struct reply *reply)
{
	free(reply->head);
	free(reply->body);
	json_decref(reply->json);
	*reply = (struct reply){0};
}

/* Is the reply at text whole? */
static bool is_whole(const char *text, size_t size)
{
	const char *end = strstr(text, "\r\n\r\n"),
		   *length = strcasestr(text, "\r\nContent-Length: ");

	if (!end || !length || length > end)
		return false;
	return size - (size_t)(end + 4 - text) >= strtoul(length + 18, NULL, 10);
}

void rest_world_exchange(struct rest_world *world, int fd, const char *bytes, size_t size,
			 bool until_closed, struct reply *ret_reply)
{
	size_t sent = 0, used = 0, room = 1 << 16;
	char *text = calloc(1, room);
	struct reply reply = {0};
	int quiet = 0;

	while (quiet < QUIET_TURNS && (until_closed || sent < size || !is_whole(text, used))) {
		ssize_t count = sent < size ? send(fd, bytes + sent, size - sent,
						   MSG_NOSIGNAL | MSG_DONTWAIT)
					    : -1;

		quiet++;
		if (count > 0) {
			sent += (size_t)count;
			quiet = 0;
		} else if (count < 0 && sent < size && errno != EAGAIN) {
			sent = size;
		}
		rest_world_turn(world);
		if (used + 4096 > room)
			text = realloc(text, room *= 2);
		count = recv(fd, text + used, room - used - 1, MSG_DONTWAIT);
		if (count == 0 || (count < 0 && errno != EAGAIN)) {
			reply.closed = true;
			break;
		}
		if (count > 0) {
			used += (size_t)count;
			quiet = 0;
		}
		text[used] = '\0';
	}
	char *end = strstr(text, "\r\n\r\n");

	if (end && sscanf(text, "HTTP/1.1 %d ", &reply.status) == 1) {
		reply.head = strndup(text, (size_t)(end + 2 - text));
		reply.body_size = used - (size_t)(end + 4 - text);
		reply.body = calloc(1, reply.body_size + 1);
		memcpy(reply.body, end + 4, reply.body_size);
		reply.json = json_loads(reply.body, 0, NULL);
	}
	free(text);
	*ret_reply = reply;
}

void rest_world_raw(struct rest_world *world, const char *bytes, struct reply *ret_reply)
{
	int fd = rest_world_connect(world);

	rest_world_exchange(world, fd, bytes, strlen(bytes), true, ret_reply);
	close(fd);
}

void rest_world_request(struct rest_world *world, const char *method, const char *target,
			const char *headers, const char *body, struct reply *ret_reply)
{
	int fd = rest_world_connect(world);
	char *text = NULL;
	int size = asprintf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s%s", method, target,
			    headers ? headers : "", body ? "" : "\r\n");

	if (body) {
		char *more = NULL;

		size = asprintf(&more,
				"%sContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
				text, strlen(body), body);
		free(text);
		text = more;
	}
	rest_world_exchange(world, fd, text, (size_t)size, false, ret_reply);
	free(text);
	close(fd);
	rest_world_turn(world);
}

char *rest_world_read_until(struct rest_world *world, int fd, const char *needle)
{
	size_t used = 0, room = 1 << 22;
	char *text = calloc(1, room);

	for (int quiet = 0; quiet < QUIET_TURNS && !strstr(text, needle) && used + 1 < room;
	     quiet++) {
		ssize_t count;

		rest_world_turn(world);
		count = recv(fd, text + used, room - used - 1, MSG_DONTWAIT);
		if (count == 0)
			break;
		if (count > 0) {
			used += (size_t)count;
			text[used] = '\0';
			quiet = 0;
		}
	}
	return text;
}
