/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the corpus of fuzz_hmat into the folder that is named.
 */
#include "corpus_file.h"
#include "hmat_table.h"
#include "table_bytes.h"

int main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[1] : ".";
	struct hmat_table table;

	hmat_table_two_sockets(&table);
	corpus_file_save(folder, "hmat_two_sockets", table.bytes, table.size);
	hmat_table_qemu(&table);
	corpus_file_save(folder, "hmat_qemu", table.bytes, table.size);
	corpus_file_save(folder, "hmat_cut", table.bytes, table.size - 17);
	/* More initiators than the last structure has room for. */
	table_bytes_put(table.bytes + table.size - 44, 0x40000000, 4);
	corpus_file_save(folder, "hmat_forged", table.bytes, table.size);
	return EXIT_SUCCESS;
}
