/* SPDX-License-Identifier: Apache-2.0 */
#include "text_table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct text_table {
	size_t columns;
	bool right[TEXT_TABLE_COLUMNS_MAX];
	bool has_titles;
	char **cells;		/* owned, titles first */
	size_t count;
};

struct text_table *text_table_new(const char *const *titles, size_t count)
{
	struct text_table *table = calloc(1, sizeof(*table));

	if (!table || count > TEXT_TABLE_COLUMNS_MAX) {
		free(table);
		return NULL;
	}
	table->columns = count;
	table->has_titles = titles != NULL;
	for (size_t i = 0; titles && i < count; i++) {
		table->right[i] = titles[i][0] == '>';
		text_table_add(table, titles[i] + (titles[i][0] == '>'));
	}
	return table;
}

struct text_table *text_table_free(struct text_table *table)
{
	if (!table)
		return NULL;
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
	return NULL;
}

void text_table_add(struct text_table *table, const char *cell)
{
	char **grown = table ? realloc(table->cells, (table->count + 1) * sizeof(*grown)) : NULL;

	if (!grown)
		return;
	table->cells = grown;
	table->cells[table->count] = strdup(cell && cell[0] ? cell : "-");
	if (table->cells[table->count])
		table->count++;
}

void text_table_addf(struct text_table *table, const char *format, ...)
{
	char cell[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(cell, sizeof(cell), format, arguments);
	va_end(arguments);
	text_table_add(table, cell);
}

/* Characters, not bytes: continuation bytes of UTF-8 take no place. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

/* What a guest or a host process says must not drive the reader's terminal: C0, DEL, and C1 as UTF-8 has it. */
static void print_safe(const char *text, FILE *stream)
{
	for (; *text; text++) {
		const unsigned char first = (unsigned char)text[0], second = (unsigned char)text[1];

		if (first == 0xc2 && second >= 0x80 && second < 0xa0) {
			fputs("??", stream);
			text++;
		} else {
			fputc(first < 0x20 || first == 0x7f ? '?' : first, stream);
		}
	}
}

void text_table_print(const struct text_table *table, const char *indent, FILE *stream)
{
	size_t widths[TEXT_TABLE_COLUMNS_MAX] = {0};

	if (!table)
		return;
	for (size_t i = 0; i < table->count; i++) {
		size_t width = width_of(table->cells[i]);

		if (width > widths[i % table->columns])
			widths[i % table->columns] = width;
	}
	for (size_t i = 0; i < table->count; i++) {
		size_t column = i % table->columns, width = width_of(table->cells[i]);
		bool last = column + 1 == table->columns;

		if (column == 0)
			fputs(indent, stream);
		if (table->right[column])
			fprintf(stream, "%*s", (int)(widths[column] - width), "");
		print_safe(table->cells[i], stream);
		if (!last && !table->right[column])
			fprintf(stream, "%*s", (int)(widths[column] - width), "");
		fputs(last ? "\n" : "  ", stream);
	}
}
