/* SPDX-License-Identifier: Apache-2.0 */
#include "schema_check.h"

#include <stdio.h>
#include <string.h>

static bool wrong(bool quiet, const char *where, const char *why)
{
	if (!quiet)
		printf("  %s: %s\n", where, why);
	return false;
}

static const json_t *resolve(const json_t *document, const char *reference)
{
	char path[200];
	char *rest = NULL;

	snprintf(path, sizeof(path), "%s", reference + 2);
	for (char *name = strtok_r(path, "/", &rest); name; name = strtok_r(NULL, "/", &rest))
		document = json_object_get(document, name);
	return document;
}

static bool is_type(const char *type, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return strcmp(type, "object") == 0;
	case JSON_ARRAY:
		return strcmp(type, "array") == 0;
	case JSON_STRING:
		return strcmp(type, "string") == 0;
	case JSON_INTEGER:
		return strcmp(type, "integer") == 0 || strcmp(type, "number") == 0;
	case JSON_REAL:
		return strcmp(type, "number") == 0;
	case JSON_TRUE:
	case JSON_FALSE:
		return strcmp(type, "boolean") == 0;
	case JSON_NULL:
		return strcmp(type, "null") == 0;
	}
	return false;
}

static bool type_fits(const json_t *types, const json_t *value)
{
	size_t index;
	json_t *type;

	if (!types)
		return true;
	if (json_is_string(types))
		return is_type(json_string_value(types), value);
	json_array_foreach((json_t *)types, index,
			   type) if (is_type(json_string_value(type), value)) return true;
	return false;
}

static bool object_fits(const json_t *document, const json_t *schema, const json_t *value,
			const char *where, bool quiet)
{
	const json_t *properties = json_object_get(schema, "properties");
	const json_t *others = json_object_get(schema, "additionalProperties");
	char at[300];
	const char *name;
	size_t index;
	json_t *item;

	json_array_foreach(json_object_get(schema, "required"), index, item)
	{
		snprintf(at, sizeof(at), "%s/%s", where, json_string_value(item));
		if (!json_object_get(value, json_string_value(item)))
			return wrong(quiet, at, "is missing");
	}
	json_object_foreach((json_t *)value, name, item)
	{
		const json_t *property = json_object_get(properties, name);

		snprintf(at, sizeof(at), "%s/%s", where, name);
		if (!property && json_is_object(others))
			property = others;
		if (!property && json_is_false(others))
			return wrong(quiet, at, "is not described");
		if (property && !schema_check(document, property, item, at, quiet))
			return false;
	}
	return true;
}

static bool one_fits(const json_t *document, const json_t *schemas, const json_t *value,
		     const char *where)
{
	size_t index;
	json_t *schema;

	json_array_foreach(
		(json_t *)schemas, index,
		schema) if (schema_check(document, schema, value, where, true)) return true;
	return false;
}

bool schema_check(const json_t *document, const json_t *schema, const json_t *value,
		  const char *where, bool quiet)
{
	const char *reference = json_string_value(json_object_get(schema, "$ref"));
	const json_t *any = json_object_get(schema, "anyOf"),
		     *one = json_object_get(schema, "oneOf");
	const json_t *values = json_object_get(schema, "enum");
	char at[300];
	size_t index;
	json_t *item;

	if (reference)
		return schema_check(document, resolve(document, reference), value, where, quiet);
	if (any && !one_fits(document, any, value, where))
		return wrong(quiet, where, "fits none of anyOf");
	if (one && !one_fits(document, one, value, where))
		return wrong(quiet, where, "fits none of oneOf");
	if (!type_fits(json_object_get(schema, "type"), value))
		return wrong(quiet, where, "is of another type");
	if (values) {
		bool found = false;

		json_array_foreach((json_t *)values, index, item) found =
			found || json_equal(item, value);
		if (!found)
			return wrong(quiet, where, "is none of the values described");
	}
	if (json_is_object(value) && !object_fits(document, schema, value, where, quiet))
		return false;
	json_array_foreach((json_t *)value, index, item)
	{
		snprintf(at, sizeof(at), "%s/%zu", where, index);
		if (json_object_get(schema, "items") &&
		    !schema_check(document, json_object_get(schema, "items"), item, at, quiet))
			return false;
	}
	return true;
}

json_t *schema_check_of_reply(const json_t *document, const char *pattern, const char *method,
			      const char *status)
{
	const json_t *operation = json_object_get(
		json_object_get(json_object_get(document, "paths"), pattern), method);
	json_t *response = json_object_get(json_object_get(operation, "responses"), status);

	return json_object_get(
		json_object_get(json_object_get(response, "content"), "application/json"),
		"schema");
}
