/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /metrics: what was seen and what is being done, in the text format of Prometheus (0.0.4).
 */
#ifndef BALLAST_SERVICE_METRICS_H
#define BALLAST_SERVICE_METRICS_H

#include <stddef.h>
#include "rest_call.h"

/* The caller frees the text. NULL where memory is short. */
char *metrics_text(const struct rest_context *context, size_t *ret_size);

#endif
