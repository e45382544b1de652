/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the corpus of fuzz_srat into the folder that is named.
 */
#include "corpus_file.h"
#include "srat_table.h"

int main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[1] : ".";
	struct srat_table table;

	srat_table_qemu(&table);
	corpus_file_save(folder, "srat_qemu", table.bytes, table.size);
	corpus_file_save(folder, "srat_cut", table.bytes, table.size - 17);
	table.bytes[49] = 255;
	corpus_file_save(folder, "srat_forged", table.bytes, table.size);
	return EXIT_SUCCESS;
}
