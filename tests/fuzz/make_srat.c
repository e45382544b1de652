/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the corpus of fuzz_srat into the folder that is named.
 */
#include <stdio.h>
#include <stdlib.h>
#include "srat_table.h"

static void save(const char *folder, const char *name, const struct srat_table *table, size_t size)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/srat_%s", folder, name);
	file = fopen(path, "wbe");
	if (!file || fwrite(table->bytes, 1, size, file) != size || fclose(file) != 0) {
		perror(path);
		exit(EXIT_FAILURE);
	}
}

int main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[1] : ".";
	struct srat_table table;

	srat_table_qemu(&table);
	save(folder, "qemu", &table, table.size);
	save(folder, "cut", &table, table.size - 17);
	table.bytes[49] = 255;
	save(folder, "forged", &table, table.size);
	return EXIT_SUCCESS;
}
