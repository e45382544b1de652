/* SPDX-License-Identifier: Apache-2.0 */
#include "router.h"

#include <string.h>

/* Segments are compared as they were sent, so that %2F never becomes a separator; only the id is
 * decoded. */
static bool path_matches(const char *pattern, const char *path, char id[ROUTE_ID_SIZE])
{
	while (*pattern && *path) {
		size_t pattern_length, path_length;

		if (*pattern++ != '/' || *path++ != '/')
			return false;
		pattern_length = strcspn(pattern, "/");
		path_length = strcspn(path, "/");
		if (pattern[0] == '{') {
			if (path_length == 0 ||
			    http_head_decode(path, path_length, id, ROUTE_ID_SIZE) < 0)
				return false;
		} else if (pattern_length != path_length ||
			   memcmp(pattern, path, path_length) != 0) {
			return false;
		}
		pattern += pattern_length;
		path += path_length;
	}
	return *pattern == '\0' && *path == '\0';
}

void router_find(const struct route_table *tables, size_t count, enum http_method method,
		 const char *path, struct route_match *ret_match)
{
	*ret_match = (struct route_match){0};
	for (size_t t = 0; t < count; t++)
		for (size_t i = 0; i < tables[t].count; i++) {
			const struct route *route = &tables[t].routes[i];
			char id[ROUTE_ID_SIZE] = "";
			size_t used = strlen(ret_match->allow);

			if (!path_matches(route->pattern, path, id))
				continue;
			if (route->method == method) {
				ret_match->route = route;
				memcpy(ret_match->id, id, sizeof(id));
			}
			snprintf(ret_match->allow + used, sizeof(ret_match->allow) - used, "%s%s",
				 used ? ", " : "", http_method_name(route->method));
		}
}
