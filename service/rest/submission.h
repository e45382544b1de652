/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change on its way to the engine, and the engine's answer as a reply.
 */
#ifndef BALLAST_SERVICE_SUBMISSION_H
#define BALLAST_SERVICE_SUBMISSION_H

#include <jansson.h>
#include "plan.h"
#include "rest_call.h"

/*
 * Submits call->wish, or with ?dry_run=true only plans it, and ends the call with what comes of it.
 * Idempotency-Key and ?expect_plan= are taken from the request.
 */
void submission_send(struct rest_call *call);
/* DELETE of a drain. call->wish is that undrain, for ?dry_run=true. */
void submission_send_undrain(struct rest_call *call, const char *drain);

/* As a dry run shows it. A new reference, or NULL. */
json_t *submission_plan_json(const struct plan *plan);

#endif
