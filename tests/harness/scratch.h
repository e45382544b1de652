/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a test program keeps what it needs by path: sockets, locks, trees of files.
 */
#ifndef BALLAST_TESTS_SCRATCH_H
#define BALLAST_TESTS_SCRATCH_H

/* Longest path of the folder, with its end. */
#define SCRATCH_FOLDER_SIZE 56

/*
 * This program's own folder, made when first asked for. It goes with all that is in it when the program has ended, by
 * whatever: an assertion, a sanitizer and a timeout leave no more behind than a test that passes.
 */
const char *scratch_folder(void);

#endif
