/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ballastd as a whole: its parts, in the order in which they start and stop.
 */
#ifndef BALLAST_SERVICE_DAEMON_H
#define BALLAST_SERVICE_DAEMON_H

#include "config.h"
#include "failure.h"

/* Runs until SIGTERM or SIGINT. Returns 0, or -errno with failure where it could not start. */
int daemon_run(const struct config *config, struct failure *failure);

#endif
