/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the agent alive in a guest that runs out of memory: it is there to help then, and has nothing worth killing it for.
 */
#ifndef BALLAST_AGENT_OOM_SCORE_H
#define BALLAST_AGENT_OOM_SCORE_H

struct sysroot;

/* As its unit has it for systemd. Not -1000: one that leaks can still be killed. */
#define OOM_SCORE_ADJUST "-900"

/* Lowers the score of this process and of its children to come, where nobody else has set one. 0 or -errno. */
int oom_score_lower(const struct sysroot *sysroot);

#endif
