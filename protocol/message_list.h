/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All messages of the guest channel: MESSAGE(type number, NAME, name, sender, kind).
 *
 * Included several times with MESSAGE defined by the includer, hence no include guard. Numbers are
 * for ever: a message that goes out of use keeps its number. sender is HOST or GUEST; kind is
 * REQUEST (has a request id and is answered), REPLY (bears the id of its request) or EVENT (not
 * answered).
 */
MESSAGE(0x0001, HELLO, hello, HOST, REQUEST)
MESSAGE(0x0002, HELLO_REPLY, hello_reply, GUEST, REPLY)
MESSAGE(0x0003, HELLO_CONFIRM, hello_confirm, HOST, EVENT)
MESSAGE(0x0010, REPORT, report, HOST, REQUEST)
MESSAGE(0x0011, REPORT_REPLY, report_reply, GUEST, REPLY)
MESSAGE(0x0012, BLOCKS, blocks, HOST, REQUEST)
MESSAGE(0x0013, BLOCKS_REPLY, blocks_reply, GUEST, REPLY)
MESSAGE(0x0020, SET_ONLINE_POLICY, set_online_policy, HOST, REQUEST)
MESSAGE(0x0022, PREPARE, prepare, HOST, REQUEST)
MESSAGE(0x0024, EVACUATE, evacuate, HOST, REQUEST)
MESSAGE(0x0025, EVACUATE_REPLY, evacuate_reply, GUEST, REPLY)
MESSAGE(0x0026, REPAIR, repair, HOST, REQUEST)
MESSAGE(0x0030, RENEW_LEASE, renew_lease, HOST, REQUEST)
MESSAGE(0x0032, RELEASE_LEASE, release_lease, HOST, REQUEST)
MESSAGE(0x0034, RESTORE_POOLS, restore_pools, HOST, REQUEST)
MESSAGE(0x0036, WATCH_STALLS, watch_stalls, HOST, REQUEST)
MESSAGE(0x0038, REPORT_FREE, report_free, HOST, REQUEST)
MESSAGE(0x003a, ANSWER_WISH, answer_wish, HOST, REQUEST)
MESSAGE(0x0040, CANCEL, cancel, HOST, REQUEST)
MESSAGE(0x0050, PROGRESS, progress, GUEST, EVENT)
MESSAGE(0x0051, STALLS, stalls, GUEST, EVENT)
MESSAGE(0x0060, RESULT, result, GUEST, REPLY)
MESSAGE(0x0061, UNSUPPORTED, unsupported, GUEST, REPLY)
MESSAGE(0x0070, HEARTBEAT, heartbeat, GUEST, EVENT)
/* Reserved for questions of the guest to its host. No version has one yet: whoever sends it is
 * suspect. */
MESSAGE(0x0080, GUEST_REQUEST, guest_request, GUEST, REQUEST)
