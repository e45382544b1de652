/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the corpus of fuzz_smbios into the folder that is named: whole machines, a table that is cut, forged lengths.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "smbios_table.h"

static void save(const char *folder, const char *name, const struct smbios_table *table, size_t size)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/smbios_%s", folder, name);
	file = fopen(path, "wbe");
	if (!file || fwrite(table->bytes, 1, size, file) != size || fclose(file) != 0) {
		perror(path);
		exit(EXIT_FAILURE);
	}
}

int main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[1] : ".";
	struct smbios_table table = {0};

	smbios_table_qemu(&table);
	save(folder, "qemu", &table, table.size);
	smbios_table_two_of_many(&table);
	save(folder, "two_of_many", &table, table.size);
	smbios_table_in_turn(&table);
	save(folder, "in_turn", &table, table.size);
	save(folder, "cut", &table, table.size / 2 + 3);
	/* Every length in turn is forged: the parser is out of step from there. */
	for (size_t i = 1; i < table.size; i += 7)
		table.bytes[i] ^= 0x15;
	save(folder, "forged", &table, table.size);
	return EXIT_SUCCESS;
}
