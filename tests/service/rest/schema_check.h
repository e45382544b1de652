/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of JSON Schema as configs/openapi.json uses, to hold replies against their description.
 */
#ifndef BALLAST_TESTS_SCHEMA_CHECK_H
#define BALLAST_TESTS_SCHEMA_CHECK_H

#include <jansson.h>
#include <stdbool.h>

/* Does value fit schema, whose references go into document? Prints where it does not, unless quiet.
 */
bool schema_check(const json_t *document, const json_t *schema, const json_t *value,
		  const char *where, bool quiet);

/* The schema of a reply, or NULL where the description has none for this status. */
json_t *schema_check_of_reply(const json_t *document, const char *pattern, const char *method,
			      const char *status);

#endif
