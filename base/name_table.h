/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enumerators and their names: one table of strings with designated initialisers serves both ways.
 */
#ifndef BALLAST_BASE_NAME_TABLE_H
#define BALLAST_BASE_NAME_TABLE_H

#include <stddef.h>

/* The name at value, or "unknown" where value lies outside the table or has no name. */
const char *name_table_name(const char *const *names, size_t count, int value);

/* The value whose name is exactly text, or -1. */
int name_table_value(const char *const *names, size_t count, const char *text);

/* Declares x_name(enum x) and x_from_name(const char *) (which gives -1 for an unknown name). */
#define NAME_TABLE_DECLARE(type)                                                                   \
	const char *type##_name(enum type value);                                                  \
	int type##_from_name(const char *text)

/* Defines them from a static const char *const table[type##_COUNT]. */
#define NAME_TABLE_DEFINE(type, table)                                                             \
	const char *type##_name(enum type value)                                                   \
	{                                                                                          \
		return name_table_name(table, sizeof(table) / sizeof((table)[0]), (int)value);     \
	}                                                                                          \
	int type##_from_name(const char *text)                                                     \
	{                                                                                          \
		return name_table_value(table, sizeof(table) / sizeof((table)[0]), text);          \
	}

#endif
