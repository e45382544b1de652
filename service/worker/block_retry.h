/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often, how long and how soon after each other a block that refuses is tried to be taken offline.
 *
 * The kernel tries for ever to empty a block with a page that does not go, and takes it out of its owners' page tables each
 * time (mm/memory_hotplug.c offline_pages, do_migrate_range). So the first try is short: it is long enough for the
 * kernel to name a page that stays. What is emptied by a try that was cut short stays empty, so a large block needs no
 * more time by that.
 */
#ifndef BALLAST_SERVICE_BLOCK_RETRY_H
#define BALLAST_SERVICE_BLOCK_RETRY_H

#include <stddef.h>
#include <stdint.h>

/* Tries of one block. */
#define BLOCK_RETRY_ROUNDS 4

/*
 * The longest that one try may take, in the round (from 0) in which so many blocks are tried: at most timeout_ms, the
 * time that a block has. Of what is left of the job's time (UINT64_MAX: no end) the tries of one round take at most half.
 */
uint32_t block_retry_timeout_ms(unsigned round, uint32_t timeout_ms, uint64_t left_ms, size_t count);
/* How long to wait before that round, which is not the first. */
uint32_t block_retry_pause_ms(unsigned round, uint64_t left_ms);

#endif
