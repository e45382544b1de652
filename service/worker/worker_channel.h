/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of the socket pair between ballastd and a worker: whole messages in and out, never waiting.
 *
 * A message whose text outgrows a packet travels as consecutive packets {"v":1,"part":"...","last":false}, the
 * last of them with true: pieces of its text, which is ASCII, so that any place is good for a cut.
 */
#ifndef BALLAST_SERVICE_WORKER_CHANNEL_H
#define BALLAST_SERVICE_WORKER_CHANNEL_H

#include <stdbool.h>
#include "cleanup.h"
#include "failure.h"
#include "worker_message.h"

struct worker_channel;

/* Takes over the descriptor and makes it non-blocking, also when it fails. */
int worker_channel_new(int fd, struct worker_channel **ret_channel);
struct worker_channel *worker_channel_free(struct worker_channel *channel);
CLEANUP_DEFINE(struct worker_channel *, worker_channel_free)

int worker_channel_fd(const struct worker_channel *channel);

/* Queues a message and sends what the socket takes now. 0 or -errno (-EPIPE: the peer is gone). */
int worker_channel_send(struct worker_channel *channel, const struct worker_message *message);
/* Sends more of the queue. 0 where it is empty now, -EAGAIN where some is left, or -errno. */
int worker_channel_flush(struct worker_channel *channel);
bool worker_channel_is_pending(const struct worker_channel *channel);

/*
 * 1 with *ret_message (to be released with worker_message_done()); 0 where the peer has closed; -EAGAIN where nothing
 * whole is there; -EINVAL, -EPROTO or -EMSGSIZE with *failure for what is no message: the peer is then not to be
 * trusted further.
 */
int worker_channel_receive(struct worker_channel *channel, struct worker_message *ret_message,
			   struct failure *failure);

#endif
