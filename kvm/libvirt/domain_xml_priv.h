/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the domain_xml files read libxml2 trees. A reader remembers its first error, so that a run of
 * reads is checked once at its end.
 */
#ifndef BALLAST_KVM_LIBVIRT_DOMAIN_XML_PRIV_H
#define BALLAST_KVM_LIBVIRT_DOMAIN_XML_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <libxml/tree.h>
#include "cleanup.h"

struct domain_xml_policy;
struct failure;

struct domain_xml_reader {
	int error;	 /* 0 or -errno of the first fault */
	char fault[160]; /* that fault in words */
};

static inline void domain_xml_free_doc(xmlDocPtr *doc)
{
	if (*doc)
		xmlFreeDoc(*doc);
}
#define DOMAIN_XML_FREE_DOC CLEANUP(domain_xml_free_doc)

static inline void domain_xml_free_string(xmlChar **string)
{
	if (*string)
		xmlFree(*string);
}
#define DOMAIN_XML_FREE_STRING CLEANUP(domain_xml_free_string)

/*
 * Parses and checks that the root element is called root. NULL with reader->error set otherwise:
 * -E2BIG, -EINVAL, -ENOMEM. Documents with a DTD are refused: libvirt writes none.
 */
xmlDocPtr domain_xml_open(struct domain_xml_reader *reader, const char *text, size_t size,
			  size_t max_bytes, const char *root);

void domain_xml_fault(struct domain_xml_reader *reader, int error, const char *format, ...)
	PRINTF_LIKE(3, 4);

/* The first child element of this name, or the next sibling element of it; NULL where there is
 * none. */
xmlNodePtr domain_xml_child(xmlNodePtr parent, const char *name);
xmlNodePtr domain_xml_next(xmlNodePtr node, const char *name);

/* Text into buffer; false (and an empty buffer) where node or the attribute is absent. Too long is
 * a fault. */
bool domain_xml_text(struct domain_xml_reader *reader, xmlNodePtr node, char *buffer, size_t size);
bool domain_xml_attribute(struct domain_xml_reader *reader, xmlNodePtr node, const char *name,
			  char *buffer, size_t size);
bool domain_xml_attribute_is(xmlNodePtr node, const char *name, const char *value);

/* A number below 2^32, or fallback where the attribute (of node itself, with name NULL the text) is
 * absent. */
unsigned domain_xml_number(struct domain_xml_reader *reader, xmlNodePtr node, const char *name,
			   unsigned fallback);
/* A size: with name NULL the text and its unit attribute, else the attribute name and unit; 0 if
 * absent. */
uint64_t domain_xml_size(struct domain_xml_reader *reader, xmlNodePtr node, const char *name,
			 const char *default_unit);
/* A list checked by domain_xml_list_is_valid(); empty where it is absent or empty. */
void domain_xml_list(struct domain_xml_reader *reader, xmlNodePtr node, const char *name,
		     char *buffer, size_t size);

/* The text of node (or doc whole, with node NULL) as a string for free(); NULL without memory. */
char *domain_xml_dump(xmlDocPtr doc, xmlNodePtr node);

/* Reads the policy attributes of a <policy> element. */
void domain_xml_policy_read(struct domain_xml_reader *reader, xmlNodePtr node,
			    struct domain_xml_policy *policy);

#endif
