/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of POST /v1/hints. Pure; what is wrong is refused with a pointer to it.
 */
#ifndef BALLAST_SERVICE_HINT_BODY_H
#define BALLAST_SERVICE_HINT_BODY_H

#include <jansson.h>
#include "body_schema.h"
#include "memory_hints.h"

/* 0, or -EINVAL with *error. */
int hint_body_parse(const json_t *body, struct memory_hint *ret_hint, struct body_error *error);

#endif
