/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the corpus of fuzz_smbios into the folder that is named: whole machines, a table that is cut, forged lengths.
 */
#include "corpus_file.h"
#include "smbios_table.h"

int main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[1] : ".";
	struct smbios_table table = {0};

	smbios_table_qemu(&table);
	corpus_file_save(folder, "smbios_qemu", table.bytes, table.size);
	smbios_table_two_of_many(&table);
	corpus_file_save(folder, "smbios_two_of_many", table.bytes, table.size);
	smbios_table_in_turn(&table);
	corpus_file_save(folder, "smbios_in_turn", table.bytes, table.size);
	corpus_file_save(folder, "smbios_cut", table.bytes, table.size / 2 + 3);
	/* Every length in turn is forged: the parser is out of step from there. */
	for (size_t i = 1; i < table.size; i += 7)
		table.bytes[i] ^= 0x15;
	corpus_file_save(folder, "smbios_forged", table.bytes, table.size);
	return EXIT_SUCCESS;
}
