/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables for people: columns as wide as their widest cell, numbers to the right, two blanks between.
 */
#ifndef BALLAST_SERVICE_TEXT_TABLE_H
#define BALLAST_SERVICE_TEXT_TABLE_H

#include <stddef.h>
#include <stdio.h>
#include "cleanup.h"

#define TEXT_TABLE_COLUMNS_MAX 12

struct text_table;

/* titles: count column titles; one that begins with '>' is right-aligned. NULL titles: no title line. */
struct text_table *text_table_new(const char *const *titles, size_t count);
struct text_table *text_table_free(struct text_table *table);
CLEANUP_DEFINE(struct text_table *, text_table_free)

/* Fills the cells of a row from left to right; a row is complete after count cells. NULL is "-". */
void text_table_add(struct text_table *table, const char *cell);
void text_table_addf(struct text_table *table, const char *format, ...) PRINTF_LIKE(2, 3);
void text_table_print(const struct text_table *table, const char *indent, FILE *stream);

#endif
