/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both ends of a session share: buffers in and out, versions, and why a peer is suspect.
 */
#ifndef BALLAST_PROTOCOL_SESSION_H
#define BALLAST_PROTOCOL_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "frame.h"
#include "message.h"

/* The versions that this code speaks. */
#define SESSION_VERSION_MIN 0x0100
#define SESSION_VERSION_MAX 0x0101

/* What a caller provides for receiving, and at least for sending. */
/*
 * Where an agent without a virtio-serial port listens for its host, by vsock. The host comes from a port below 1024, which
 * takes CAP_NET_BIND_SERVICE there (net/vmw_vsock/af_vsock.c, __vsock_bind_connectible).
 */
#define SESSION_VSOCK_PORT	   16972
#define SESSION_VSOCK_HOST_PORT_MAX 1023

#define SESSION_INPUT_BYTES  FRAME_MAX_BYTES
#define SESSION_OUTPUT_BYTES (FRAME_MAX_BYTES + 4096)

/* Bytes in, bytes out. */
struct session_link {
	struct frame_reader reader;
	uint64_t partial_since_ms; /* when the unfinished frame was first seen; 0: there is none */
	uint8_t *output;	   /* borrowed */
	size_t output_size, output_start, output_end;
};

void session_link_init(struct session_link *link, uint8_t *input, size_t input_size,
		       uint8_t *output, size_t output_size);
/* Drops what was received and what waits to be sent. */
void session_link_reset(struct session_link *link);
/* Takes the next frame; gives up one that was begun LIMIT_FRAME_MS ago. */
bool session_link_next(struct session_link *link, uint64_t now_ms, struct frame *ret_frame);
/* Appends a frame. Returns 0, -EAGAIN where the output is too full now, -EINVAL as
 * message_encode(). */
int session_link_put(struct session_link *link, uint64_t epoch, uint32_t request_id,
		     const struct message *message);
/* What waits to be sent; 0 for nothing. */
size_t session_link_output(const struct session_link *link, const uint8_t **ret_data);
void session_link_sent(struct session_link *link, size_t count);

/* The highest version in both ranges, or 0. */
uint16_t session_version_choose(uint16_t min_a, uint16_t max_a, uint16_t min_b, uint16_t max_b);

#endif
