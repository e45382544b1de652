/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of requests into wishes. Pure; what is wrong is refused with a pointer to it and changes
 * nothing.
 */
#ifndef BALLAST_SERVICE_WISH_BODY_H
#define BALLAST_SERVICE_WISH_BODY_H

#include <jansson.h>
#include <stdbool.h>
#include "body_schema.h"
#include "rest_backend.h"
#include "snapshot.h"
#include "wish.h"

#define WISH_BODY_TIMEOUT_MAX_S 604800 /* a week */

/* Each returns 0, or -EINVAL with *error. The wish's guest is set from guest. */
int wish_body_resize(const json_t *body, const struct snapshot_guest *guest, struct wish *ret_wish,
		     struct body_error *error);
int wish_body_move(const json_t *body, const struct snapshot_guest *guest, struct wish *ret_wish,
		   struct body_error *error);
int wish_body_drain(const json_t *body, struct wish *ret_wish, struct body_error *error);
/* body may be NULL. */
int wish_body_check(const json_t *body, struct wish *ret_wish, struct body_error *error);
int wish_body_policy(const json_t *body, struct rest_guest_policy *ret_policy,
		     struct body_error *error);
/* usual: what it is where the body does not say. */
int wish_body_cancel(const json_t *body, bool usual, bool *ret_undo, struct body_error *error);

/* RFC 3339 into milliseconds since 1970. 0 or -EINVAL. */
int wish_body_parse_time(const char *text, uint64_t *ret_ms);

#endif
