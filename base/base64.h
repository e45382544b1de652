/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as text, RFC 4648 section 4: for what is kept in JSON and is no text.
 */
#ifndef BALLAST_BASE_BASE64_H
#define BALLAST_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* To be freed by the caller; NULL where memory is short. */
char *base64_encode(const uint8_t *bytes, size_t size);
/*
 * Strict: no other characters, padded, nothing in the bits that no byte uses. *ret_bytes, to be freed by the caller, is
 * never NULL. 0, -EINVAL or -ENOMEM.
 */
int base64_decode(const char *text, uint8_t **ret_bytes, size_t *ret_size);

#endif
