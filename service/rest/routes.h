/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of routes, one for each family of resources; and what the server calls of them.
 */
#ifndef BALLAST_SERVICE_ROUTES_H
#define BALLAST_SERVICE_ROUTES_H

#include "rest_call.h"
#include "router.h"

#define ROUTES_TABLE_COUNT 5

extern const struct route_table routes_host_table;
extern const struct route_table routes_guest_table;
extern const struct route_table routes_drain_table;
extern const struct route_table routes_operation_table;
extern const struct route_table routes_hint_table;

/* All of them. */
void routes_all(struct route_table tables[ROUTES_TABLE_COUNT]);

/* Looks which of the waiting calls can be answered now. */
void routes_operation_check_waiters(struct rest_context *context);

#endif
