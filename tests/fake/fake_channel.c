/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_channel.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "channel.h"

#define CIDS 8

static struct {
	char path[108]; /* empty: nobody */
	unsigned tries;
} at[CIDS];

enum channel_outcome __real_channel_open(const char *path, int *ret_fd, struct failure *failure);
enum channel_outcome __wrap_channel_open(const char *path, int *ret_fd, struct failure *failure);

enum channel_outcome __wrap_channel_open(const char *path, int *ret_fd, struct failure *failure)
{
	enum channel_outcome outcome;
	unsigned cid, port;

	if (sscanf(path, CHANNEL_VSOCK_FORMAT, &cid, &port) != 2)
		return __real_channel_open(path, ret_fd, failure);
	assert(cid < CIDS);
	at[cid].tries++;
	if (!at[cid].path[0])
		return CHANNEL_NOT_LISTENING;
	outcome = __real_channel_open(at[cid].path, ret_fd, failure);
	/* By vsock it is decided later. */
	return outcome == CHANNEL_OPEN ? CHANNEL_CONNECTING : outcome;
}

void fake_channel_reset(void)
{
	memset(at, 0, sizeof(at));
}

void fake_channel_set(unsigned cid, const char *path)
{
	assert(cid < CIDS);
	snprintf(at[cid].path, sizeof(at[cid].path), "%s", path ? path : "");
}

unsigned fake_channel_tries(unsigned cid)
{
	return at[cid].tries;
}
