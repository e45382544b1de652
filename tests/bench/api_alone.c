/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API alone, with two guests of a scripted host behind it, on this machine: what a request
 * costs without emulation. Says its socket's path on the first line of standard output; SIGTERM
 * ends it.
 */
#include <event2/event.h>
#include <signal.h>
#include "rest_world.h"
#include "unit.h"

static void on_terminate(evutil_socket_t number, short what, void *user)
{
	event_base_loopbreak(user);
}

static void serve(void)
{
	struct rest_world world;
	struct event *terminate;

	rest_world_setup(&world);
	terminate = evsignal_new(world.base, SIGTERM, on_terminate, world.base);
	event_add(terminate, NULL);
	printf("%s\n", world.path);
	fflush(stdout);
	event_base_dispatch(world.base);
	event_free(terminate);
	rest_world_teardown(&world);
}

static const struct unit_case cases[] = {{"serve", serve}};

int main(void)
{
	return unit_main("api alone", cases, 1);
}
