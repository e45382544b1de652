/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is there at a context id of vsock: an agent at a unix socket, so that no kernel's vsock is needed. Programs that use it
 * are linked with --wrap=channel_open; other channels are opened as ever.
 */
#ifndef BALLAST_TESTS_FAKE_CHANNEL_H
#define BALLAST_TESTS_FAKE_CHANNEL_H

/* Nobody is anywhere, and nothing was tried. */
void fake_channel_reset(void);
/* NULL: nobody any more. Connections that stand are not touched. */
void fake_channel_set(unsigned cid, const char *path);
/* How often that id was tried. */
unsigned fake_channel_tries(unsigned cid);

#endif
