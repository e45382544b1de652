/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which handler answers which method and path: a row for each.
 */
#ifndef BALLAST_SERVICE_ROUTER_H
#define BALLAST_SERVICE_ROUTER_H

#include <stddef.h>
#include <stdint.h>
#include "http_head.h"

struct rest_call;

enum route_body {
	ROUTE_BODY_NONE,  /* a body is refused */
	ROUTE_BODY_EMPTY, /* none, or {} */
	ROUTE_BODY_OPTIONAL,
	ROUTE_BODY_REQUIRED,
};

/* What {name} in a pattern may stand for, decoded: names and ids are shorter. */
#define ROUTE_ID_SIZE 256

struct route {
	enum http_method method;
	const char *pattern; /* at most one segment is {name}: "/v1/guests/{guest}/memory" */
	void (*handle)(struct rest_call *call);
	uint32_t queries; /* mask of QUERY_TAKES() */
	enum route_body body;
	bool needs_libvirt; /* 503 while there is no connection */
};

struct route_table {
	const struct route *routes;
	size_t count;
};

struct route_match {
	const struct route *route; /* NULL: no such path, or not with this method */
	char id[ROUTE_ID_SIZE];	   /* what stands for {name} */
	char allow[48];		   /* methods that the path has, for Allow; empty: no such path */
};

void router_find(const struct route_table *tables, size_t count, enum http_method method,
		 const char *path, struct route_match *ret_match);

#endif
