/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of requests, checked against a table of fields before anything looks at them: unknown
 * fields, wrong types, numbers that are no integers or out of range are refused with a pointer (RFC
 * 6901) to what is wrong.
 */
#ifndef BALLAST_SERVICE_BODY_SCHEMA_H
#define BALLAST_SERVICE_BODY_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "problem.h"

/* The deepest body of ours has three levels; jansson itself would go 2048 deep. */
#define BODY_SCHEMA_DEPTH_MAX 16

struct body_error {
	enum problem_code code;
	char pointer[128]; /* empty: the whole body */
	char detail[192];
};

/* Parses the text of a body into an object. 0, -EINVAL with *error, or -ENOMEM with *error. */
int body_schema_parse(const char *text, size_t size, json_t **ret_object, struct body_error *error);

enum body_type {
	BODY_TYPE_INTEGER, /* minimum..maximum */
	BODY_TYPE_BOOLEAN,
	BODY_TYPE_TEXT, /* minimum..maximum bytes, no control characters */
	BODY_TYPE_OBJECT,
	BODY_TYPE_ARRAY, /* minimum..maximum items */
};

struct body_field {
	const char *name;
	enum body_type type;
	bool required;
	int64_t minimum, maximum;
	bool nullable; /* null says the same as leaving it out */
};

/* object stands at pointer ("" or "/target"). 0, or -EINVAL with *error. */
int body_schema_check(const json_t *object, const char *pointer, const struct body_field *fields,
		      size_t count, struct body_error *error);
/* The same for one value without a name of its own, as in an array. */
int body_schema_check_value(const json_t *value, const char *pointer,
			    const struct body_field *field, struct body_error *error);

/* Fills *error and returns -EINVAL. */
int body_schema_refuse(struct body_error *error, enum problem_code code, const char *pointer,
		       const char *detail, ...) PRINTF_LIKE(4, 5);

/* "/nodes" and an index or a key: "/nodes/1". Returns text. */
const char *body_schema_pointer(char text[128], const char *parent, const char *name);
const char *body_schema_pointer_at(char text[128], const char *parent, size_t index);

#endif
