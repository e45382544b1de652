/* SPDX-License-Identifier: Apache-2.0 */
#include "huge_pages.h"

#include <stdio.h>

long huge_pages_allow(long count)
{
	FILE *file = fopen("/proc/sys/vm/nr_overcommit_hugepages", "r+");
	long before = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%ld", &before) != 1)
		before = -1;
	rewind(file);
	if (before >= 0 && (fprintf(file, "%ld", count) < 0 || fflush(file) != 0))
		before = -1;
	fclose(file);
	return before;
}
