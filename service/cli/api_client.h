/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ballastctl's requests to ballastd, over its unix socket or a URL.
 */
#ifndef BALLAST_SERVICE_API_CLIENT_H
#define BALLAST_SERVICE_API_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include "failure.h"

struct api_client;

/* One of socket and url. Returns 0 or -ENOMEM. */
int api_client_new(const char *socket, const char *url, struct api_client **ret_client);
struct api_client *api_client_free(struct api_client *client);

struct api_reply {
	long status;
	json_t *body;		/* owned; NULL where there was none or it was no JSON */
	char location[256];	/* empty: none */
};

void api_reply_done(struct api_reply *reply);

/*
 * One request. body NULL: none. timeout_s 0: 60. Returns 0 for any reply of the daemon, whatever its status; -ENOTCONN
 * with failure where the daemon cannot be reached; -ECANCELED where *interrupted became true (may be NULL).
 */
int api_client_request(struct api_client *client, const char *method, const char *path, const json_t *body,
		       long timeout_s, const volatile int *interrupted, struct api_reply *ret_reply,
		       struct failure *failure);

/*
 * Reads GET /v1/events until interrupted or the daemon ends it: one call of line for each "data:" line, with the
 * event's name.
 */
int api_client_events(struct api_client *client, const volatile int *interrupted,
		      void (*line)(void *user, const char *event, const char *data), void *user,
		      struct failure *failure);

#endif
