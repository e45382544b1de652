/* SPDX-License-Identifier: Apache-2.0 */
#include "domain_xml.h"
#include "domain_xml_priv.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <libxml/parser.h>
#include <libxml/xmlerror.h>
#include "size_text.h"

#define LIST_LIMIT 65536 /* above every kernel's CONFIG_NR_CPUS and MAX_NUMNODES */

void domain_xml_fault(struct domain_xml_reader *reader, int error, const char *format, ...)
{
	va_list arguments;

	if (reader->error)
		return;
	reader->error = error;
	va_start(arguments, format);
	vsnprintf(reader->fault, sizeof(reader->fault), format, arguments);
	va_end(arguments);
}

/* One line of libxml2's message: it ends in a newline. */
static void fault_from_parser(struct domain_xml_reader *reader, xmlParserCtxtPtr context)
{
	const xmlError *error = xmlCtxtGetLastError(context);

	if (!error || !error->message)
		domain_xml_fault(reader, -EINVAL, "it is no XML");
	else if (error->code == XML_ERR_NO_MEMORY)
		domain_xml_fault(reader, -ENOMEM, "no memory");
	else
		domain_xml_fault(reader, -EINVAL, "line %d: %.*s", error->line,
				 (int)strcspn(error->message, "\n"), error->message);
}

xmlDocPtr domain_xml_open(struct domain_xml_reader *reader, const char *text, size_t size,
			  size_t max_bytes, const char *root)
{
	/* libxml2 2.9 sets up its tables at the first parse; two threads must not do that at once.
	 */
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	DOMAIN_XML_FREE_DOC xmlDocPtr doc = NULL;
	xmlParserCtxtPtr context;

	pthread_once(&once, xmlInitParser);
	if (size > max_bytes) {
		domain_xml_fault(reader, -E2BIG, "%zu bytes are more than %zu", size, max_bytes);
		return NULL;
	}
	context = xmlNewParserCtxt();
	if (!context) {
		domain_xml_fault(reader, -ENOMEM, "no memory");
		return NULL;
	}
	/* Without NOENT, DTDLOAD and HUGE: nothing is expanded or fetched, depth and lengths are
	 * limited. */
	doc = xmlCtxtReadMemory(context, text, (int)size, NULL, NULL,
				XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
					XML_PARSE_NOCDATA | XML_PARSE_COMPACT);
	if (!doc)
		fault_from_parser(reader, context);
	xmlFreeParserCtxt(context);
	if (!doc)
		return NULL;
	if (doc->intSubset || doc->extSubset) {
		domain_xml_fault(reader, -EINVAL, "it has a DTD");
		return NULL;
	}
	xmlNodePtr element = xmlDocGetRootElement(doc);

	if (!element || strcmp((const char *)element->name, root) != 0) {
		domain_xml_fault(reader, -EINVAL, "its root is not <%s>", root);
		return NULL;
	}
	return TAKE_PTR(doc);
}

static xmlNodePtr find_element(xmlNodePtr node, const char *name)
{
	for (; node; node = node->next)
		if (node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0)
			return node;
	return NULL;
}

xmlNodePtr domain_xml_child(xmlNodePtr parent, const char *name)
{
	return parent ? find_element(parent->children, name) : NULL;
}

xmlNodePtr domain_xml_next(xmlNodePtr node, const char *name)
{
	return node ? find_element(node->next, name) : NULL;
}

/* The caller frees. NULL where it is absent (or memory is short, which reads as absent in libxml2
 * too). */
static xmlChar *raw_value(xmlNodePtr node, const char *name)
{
	if (!node)
		return NULL;
	return name ? xmlGetNoNsProp(node, (const xmlChar *)name) : xmlNodeGetContent(node);
}

static bool copy_value(struct domain_xml_reader *reader, xmlNodePtr node, const char *name,
		       char *buffer, size_t size)
{
	DOMAIN_XML_FREE_STRING xmlChar *value = raw_value(node, name);
	size_t length = value ? strlen((const char *)value) : 0;

	buffer[0] = '\0';
	if (!value)
		return false;
	if (length >= size) {
		domain_xml_fault(reader, -E2BIG, "%s of <%.40s> has %zu characters",
				 name ? name : "text", (const char *)node->name, length);
		return false;
	}
	memcpy(buffer, value, length + 1);
	return true;
}

bool domain_xml_text(struct domain_xml_reader *reader, xmlNodePtr node, char *buffer, size_t size)
{
	return copy_value(reader, node, NULL, buffer, size);
}

bool domain_xml_attribute(struct domain_xml_reader *reader, xmlNodePtr node, const char *name,
			  char *buffer, size_t size)
{
	return copy_value(reader, node, name, buffer, size);
}

bool domain_xml_attribute_is(xmlNodePtr node, const char *name, const char *value)
{
	DOMAIN_XML_FREE_STRING xmlChar *actual = raw_value(node, name);

	return actual && strcmp((const char *)actual, value) == 0;
}

unsigned domain_xml_number(struct domain_xml_reader *reader, xmlNodePtr node, const char *name,
			   unsigned fallback)
{
	char text[24];
	uint64_t number;

	if (!copy_value(reader, node, name, text, sizeof(text)))
		return fallback;
	if (size_text_parse_number(text, 10, &number) < 0 || number > UINT32_MAX) {
		domain_xml_fault(reader, -EINVAL, "\"%s\" in <%.40s> is no number", text,
				 (const char *)node->name);
		return fallback;
	}
	return (unsigned)number;
}

/* The units of util/virutil.c virScaleInteger(): those without "i" before the B are powers of 1000.
 */
static uint64_t unit_bytes(const char *unit)
{
	static const struct {
		const char *name;
		uint64_t bytes;
	} units[] = {
		{"b", 1},
		{"bytes", 1},
		{"byte", 1},
		{"k", SIZE_TEXT_KIB},
		{"KiB", SIZE_TEXT_KIB},
		{"KB", 1000},
		{"M", SIZE_TEXT_MIB},
		{"MiB", SIZE_TEXT_MIB},
		{"MB", 1000 * 1000},
		{"G", SIZE_TEXT_GIB},
		{"GiB", SIZE_TEXT_GIB},
		{"GB", 1000 * 1000 * 1000},
		{"T", SIZE_TEXT_TIB},
		{"TiB", SIZE_TEXT_TIB},
		{"TB", UINT64_C(1000) * 1000 * 1000 * 1000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (strcasecmp(unit, units[i].name) == 0)
			return units[i].bytes;
	return 0;
}

uint64_t domain_xml_size(struct domain_xml_reader *reader, xmlNodePtr node, const char *name,
			 const char *default_unit)
{
	char text[24], unit[8];
	uint64_t number, scale, bytes;

	if (!copy_value(reader, node, name, text, sizeof(text)))
		return 0;
	if (!domain_xml_attribute(reader, node, "unit", unit, sizeof(unit)))
		snprintf(unit, sizeof(unit), "%s", default_unit);
	scale = unit_bytes(unit);
	if (!scale || size_text_parse_number(text, 10, &number) < 0 ||
	    __builtin_mul_overflow(number, scale, &bytes) || bytes > INT64_MAX) {
		domain_xml_fault(reader, -EINVAL, "\"%s\" %s in <%.40s> is no size", text, unit,
				 (const char *)node->name);
		return 0;
	}
	return bytes;
}

void domain_xml_list(struct domain_xml_reader *reader, xmlNodePtr node, const char *name,
		     char *buffer, size_t size)
{
	if (!copy_value(reader, node, name, buffer, size) || !buffer[0])
		return;
	if (!domain_xml_list_is_valid(buffer, LIST_LIMIT)) {
		domain_xml_fault(reader, -EINVAL, "\"%.40s\" in <%.40s> is no list of numbers",
				 buffer, (const char *)node->name);
		buffer[0] = '\0';
	}
}

/* Digits at *text, moved past; false for none or a number of limit and more. */
static bool list_number(const char **text, unsigned limit, unsigned *ret_number)
{
	unsigned number = 0;

	if (**text < '0' || **text > '9')
		return false;
	for (; **text >= '0' && **text <= '9'; (*text)++) {
		number = number * 10 + (unsigned)(**text - '0');
		if (number >= limit || number >= LIST_LIMIT)
			return false;
	}
	*ret_number = number;
	return true;
}

bool domain_xml_list_is_valid(const char *text, unsigned limit)
{
	for (;;) {
		unsigned first, last;

		if (!list_number(&text, limit, &first))
			return false;
		if (*text == '-') {
			text++;
			if (!list_number(&text, limit, &last) || last < first)
				return false;
		}
		if (*text == '\0')
			return true;
		if (*text++ != ',')
			return false;
	}
}

char *domain_xml_dump(xmlDocPtr doc, xmlNodePtr node)
{
	char *text = NULL;

	if (!node) {
		xmlChar *dump = NULL;
		int length = 0;

		xmlDocDumpMemoryEnc(doc, &dump, &length, "UTF-8");
		if (dump)
			text = strdup((const char *)dump);
		xmlFree(dump);
		return text;
	}
	xmlBufferPtr buffer = xmlBufferCreate();

	if (!buffer)
		return NULL;
	if (xmlNodeDump(buffer, doc, node, 0, 0) >= 0)
		text = strdup((const char *)xmlBufferContent(buffer));
	xmlBufferFree(buffer);
	return text;
}
