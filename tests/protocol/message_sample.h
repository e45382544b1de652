/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One well-formed message of each type, the same for the same seed. Seed 0 is what the golden files
 * hold.
 */
#ifndef BALLAST_TESTS_MESSAGE_SAMPLE_H
#define BALLAST_TESTS_MESSAGE_SAMPLE_H

#include "message.h"

/* All types of message_list.h. */
extern const uint16_t message_sample_types[];
extern const size_t message_sample_type_count;

/* Larger seeds give other numbers and longer lists, up to full ones. False for the reserved type.
 */
bool message_sample(uint16_t type, uint32_t seed, struct message *ret_message);

#endif
