/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scripted host behind the API: two nodes, a DIMM, two guests; an engine that answers as a test
 * says; and clients over a real unix socket, pumped by the test itself, so that nothing depends on
 * threads or sleep.
 */
#ifndef BALLAST_TESTS_REST_WORLD_H
#define BALLAST_TESTS_REST_WORLD_H

#include <jansson.h>
#include <stdbool.h>
#include "engine.h"
#include "rest_server.h"

struct event_base;

/* Stands for the engine: these functions replace the library's. */
struct engine {
	enum engine_submit_result result;
	bool dry_run_result_set;
	enum engine_submit_result dry_run_result;
	struct failure failure;
	struct remainder_list blockers;
	struct plan *plan;		    /* owned by the test */
	struct operation_record *operation; /* answered, listed and found by its id */
	struct drain_record *drain;
	int control_result; /* of cancel, pause and resume */
	bool hold_answer;   /* the answer waits for rest_world_answer() */
	engine_answer_fn *held;
	void *held_user;
	/* what was asked for */
	unsigned submit_count, dry_run_count, undrain_count, cancel_count;
	uint32_t undrain_timeout_s;
	bool undrain_keep;
	struct wish wish;
	char actor[64], key[128], body_hash[65], expect_plan[20];
	bool undo;
};

/* Likewise for the journal: so many operations that have ended. */
struct journal {
	unsigned count;
};

struct rest_world {
	struct event_base *base;
	struct engine engine;
	struct snapshot *snapshot;
	size_t stuck_workers;
	struct rest_backend backend;
	struct rest_server *server;
	char directory[64], path[96];
	bool libvirt_down;
	int refresh_error, attach_error, policy_error, blocks_error;
	unsigned refresh_count, attach_count, policy_count;
	struct rest_guest_policy policy;
	struct snapshot_range holders_asked;
	bool holders_untold;
};

void rest_world_setup(struct rest_world *world);
void rest_world_teardown(struct rest_world *world);
void rest_world_answer(struct rest_world *world);
/* Runs the loop for what is ready. */
void rest_world_turn(struct rest_world *world);

int rest_world_connect(struct rest_world *world);

struct reply {
	int status;
	char *head; /* owned */
	char *body; /* owned */
	size_t body_size;
	json_t *json; /* owned; NULL: it is none */
	bool closed;  /* the server closed the connection after it */
};
void reply_done(struct reply *reply);

/* Sends bytes; reads one reply (and, with until_closed, on to the end of the connection). */
void rest_world_exchange(struct rest_world *world, int fd, const char *bytes, size_t size,
			 bool until_closed, struct reply *ret_reply);
/* A whole request on a connection of its own. headers end in CRLF each, or NULL. */
void rest_world_request(struct rest_world *world, const char *method, const char *target,
			const char *headers, const char *body, struct reply *ret_reply);
/* Raw bytes on a connection of their own, read to the end. */
void rest_world_raw(struct rest_world *world, const char *bytes, struct reply *ret_reply);
/* Reads until needle has come or nothing comes any more; the text is the caller's to free. */
char *rest_world_read_until(struct rest_world *world, int fd, const char *needle);

#endif
