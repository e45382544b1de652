/* SPDX-License-Identifier: Apache-2.0 */
#include "failure.h"

#include <stdarg.h>
#include <string.h>

/* Cuts a text that did not fit so that it does not end in half a UTF-8 character. */
static void trim_partial_character(char *text)
{
	size_t length = strlen(text), start = length;

	while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return;
	unsigned char lead = (unsigned char)text[start - 1];
	size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;

	if (length - (start - 1) < need)
		text[start - 1] = '\0';
}

static void copy(char *to, size_t size, const char *from)
{
	if ((size_t)snprintf(to, size, "%s", from ? from : "") >= size)
		trim_partial_character(to);
}

static void format_into(char *to, size_t size, const char *format, va_list arguments)
	PRINTF_LIKE(3, 0);

static void format_into(char *to, size_t size, const char *format, va_list arguments)
{
	int length = vsnprintf(to, size, format, arguments);

	if (length < 0)
		to[0] = '\0';
	else if ((size_t)length >= size)
		trim_partial_character(to);
}

void failure_clear(struct failure *failure)
{
	if (failure)
		memset(failure, 0, sizeof(*failure));
}

bool failure_is_set(const struct failure *failure)
{
	return failure->error != 0 || failure->action[0] != '\0' || failure->code[0] != '\0';
}

int failure_set(struct failure *failure, int error, const char *object, const char *action, ...)
{
	va_list arguments;

	if (error < 0)
		error = -error;
	if (!failure)
		return -error;
	failure_clear(failure);
	failure->error = error;
	copy(failure->object, sizeof(failure->object), object);
	va_start(arguments, action);
	format_into(failure->action, sizeof(failure->action), action, arguments);
	va_end(arguments);
	if (error)
		copy(failure->cause, sizeof(failure->cause), strerror(error));
	return -error;
}

void failure_set_code(struct failure *failure, const char *code)
{
	if (failure)
		copy(failure->code, sizeof(failure->code), code);
}

void failure_set_cause(struct failure *failure, const char *cause, ...)
{
	va_list arguments;

	if (!failure)
		return;
	va_start(arguments, cause);
	format_into(failure->cause, sizeof(failure->cause), cause, arguments);
	va_end(arguments);
}

void failure_set_way_out(struct failure *failure, const char *way_out, ...)
{
	va_list arguments;

	if (!failure)
		return;
	va_start(arguments, way_out);
	format_into(failure->way_out, sizeof(failure->way_out), way_out, arguments);
	va_end(arguments);
}

const char *failure_format(const struct failure *failure, char *text, size_t size)
{
	int length = snprintf(text, size, "%s%s%s%s%s%s%s%s", failure->object,
			      failure->object[0] && failure->action[0] ? ": " : "", failure->action,
			      failure->cause[0] && (failure->object[0] || failure->action[0]) ? ": " : "",
			      failure->cause, failure->way_out[0] ? " (" : "", failure->way_out,
			      failure->way_out[0] ? ")" : "");

	if (length >= 0 && size > 0 && (size_t)length >= size)
		trim_partial_character(text);
	return text;
}
