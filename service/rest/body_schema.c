/* SPDX-License-Identifier: Apache-2.0 */
#include "body_schema.h"

#include <stdarg.h>
#include <string.h>

int body_schema_refuse(struct body_error *error, enum problem_code code, const char *pointer,
		       const char *detail, ...)
{
	va_list arguments;

	error->code = code;
	snprintf(error->pointer, sizeof(error->pointer), "%s", pointer);
	va_start(arguments, detail);
	vsnprintf(error->detail, sizeof(error->detail), detail, arguments);
	va_end(arguments);
	return -EINVAL;
}

/* How deep brackets nest, strings left out; the parser then judges whether they are JSON at all. */
static unsigned nesting(const char *text, size_t size)
{
	unsigned depth = 0, deepest = 0;
	bool in_string = false;

	for (size_t i = 0; i < size; i++) {
		char c = text[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > deepest)
				deepest = depth;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return deepest;
}

int body_schema_parse(const char *text, size_t size, json_t **ret_object, struct body_error *error)
{
	json_error_t why;

	if (nesting(text, size) > BODY_SCHEMA_DEPTH_MAX)
		return body_schema_refuse(error, PROBLEM_MALFORMED_JSON, "",
					  "the body nests deeper than %d levels",
					  BODY_SCHEMA_DEPTH_MAX);
	/* jansson skips one that stands behind a number or a word (load.c stream_get). */
	if (memchr(text, '\0', size))
		return body_schema_refuse(error, PROBLEM_MALFORMED_JSON, "",
					  "the body holds a byte of value 0");
	json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);

	if (!object && json_error_code(&why) == json_error_out_of_memory) {
		body_schema_refuse(error, PROBLEM_OUT_OF_MEMORY, "", "the body cannot be kept");
		return -ENOMEM;
	}
	if (!object)
		return body_schema_refuse(error, PROBLEM_MALFORMED_JSON, "",
					  "line %d, column %d: %s", why.line, why.column, why.text);
	if (!json_is_object(object)) {
		json_decref(object);
		return body_schema_refuse(error, PROBLEM_INVALID_BODY, "",
					  "the body must be an object");
	}
	*ret_object = object;
	return 0;
}

const char *body_schema_pointer(char text[128], const char *parent, const char *name)
{
	size_t used = (size_t)snprintf(text, 128, "%.60s/", parent);

	/* RFC 6901: ~ and / in a name are escaped. */
	for (; *name && used < 125; name++) {
		if (*name == '~' || *name == '/') {
			text[used++] = '~';
			text[used++] = *name == '~' ? '0' : '1';
		} else {
			text[used++] = *name;
		}
	}
	text[used] = '\0';
	return text;
}

const char *body_schema_pointer_at(char text[128], const char *parent, size_t index)
{
	snprintf(text, 128, "%.60s/%zu", parent, index);
	return text;
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

int body_schema_check_value(const json_t *value, const char *pointer,
			    const struct body_field *field, struct body_error *error)
{
	int64_t number;

	if (field->nullable && json_is_null(value))
		return 0;
	switch (field->type) {
	case BODY_TYPE_INTEGER:
		if (!json_is_integer(value))
			return body_schema_refuse(
				error, PROBLEM_INVALID_BODY, pointer, "must be an integer%s",
				json_is_string(value) ? ", not text: sizes are given in bytes"
						      : "");
		number = json_integer_value(value);
		if (number < field->minimum || number > field->maximum)
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, pointer,
						  "must be from %lld to %lld, and is %lld",
						  (long long)field->minimum,
						  (long long)field->maximum, (long long)number);
		return 0;
	case BODY_TYPE_BOOLEAN:
		if (!json_is_boolean(value))
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, pointer,
						  "must be true or false");
		return 0;
	case BODY_TYPE_TEXT:
		if (!json_is_string(value))
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, pointer,
						  "must be text");
		number = (int64_t)json_string_length(value);
		if (number < field->minimum || number > field->maximum ||
		    has_control(json_string_value(value)))
			return body_schema_refuse(
				error, PROBLEM_INVALID_BODY, pointer,
				"must be %lld to %lld bytes of text without control characters",
				(long long)field->minimum, (long long)field->maximum);
		return 0;
	case BODY_TYPE_OBJECT:
		if (!json_is_object(value))
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, pointer,
						  "must be an object");
		return 0;
	case BODY_TYPE_ARRAY:
		if (!json_is_array(value))
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, pointer,
						  "must be an array");
		number = (int64_t)json_array_size(value);
		if (number < field->minimum || number > field->maximum)
			return body_schema_refuse(error, PROBLEM_INVALID_BODY, pointer,
						  "must have %lld to %lld items, and has %lld",
						  (long long)field->minimum,
						  (long long)field->maximum, (long long)number);
		return 0;
	}
	return -EINVAL;
}

static const struct body_field *find_field(const struct body_field *fields, size_t count,
					   const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(fields[i].name, name) == 0)
			return &fields[i];
	return NULL;
}

int body_schema_check(const json_t *object, const char *pointer, const struct body_field *fields,
		      size_t count, struct body_error *error)
{
	char at[128];
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)object, name, value)
	{
		const struct body_field *field = find_field(fields, count, name);

		body_schema_pointer(at, pointer, name);
		if (!field) {
			/* A name cut in the middle of a character would be no UTF-8: say where it
			 * stands instead. */
			bool whole = strlen(name) < 60;

			return body_schema_refuse(error, PROBLEM_INVALID_BODY, whole ? at : pointer,
						  "is no field of this request");
		}
		if (body_schema_check_value(value, at, field, error) < 0)
			return -EINVAL;
	}
	for (size_t i = 0; i < count; i++)
		if (fields[i].required && !json_object_get(object, fields[i].name))
			return body_schema_refuse(error, PROBLEM_INVALID_BODY,
						  body_schema_pointer(at, pointer, fields[i].name),
						  "is missing");
	return 0;
}
