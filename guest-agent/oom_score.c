/* SPDX-License-Identifier: Apache-2.0 */
#include "oom_score.h"

#include <string.h>
#include "sysroot.h"

#define FILE_PATH "/proc/self/oom_score_adj"

int oom_score_lower(const struct sysroot *sysroot)
{
	char text[16];
	int error = sysroot_read_text(sysroot, text, sizeof(text), FILE_PATH);

	if (error < 0 || strcmp(text, "0") != 0)
		return error;
	return sysroot_write_text(sysroot, OOM_SCORE_ADJUST, FILE_PATH);
}
