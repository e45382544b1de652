/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file of a corpus that is made.
 */
#ifndef BALLAST_TESTS_CORPUS_FILE_H
#define BALLAST_TESTS_CORPUS_FILE_H

#include <stdio.h>
#include <stdlib.h>

/* Ends the program where it cannot be written. */
static inline void corpus_file_save(const char *folder, const char *name, const void *bytes, size_t size)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "wbe");
	if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
		perror(path);
		exit(EXIT_FAILURE);
	}
}

#endif
