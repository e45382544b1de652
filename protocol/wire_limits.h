/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every bound of the guest channel, with its reason. Nothing that a peer says makes anyone
 * allocate: all storage has these sizes from the start, and what is larger is refused.
 */
#ifndef BALLAST_PROTOCOL_WIRE_LIMITS_H
#define BALLAST_PROTOCOL_WIRE_LIMITS_H

/* Payload of one frame. virtio-serial moves a few KiB at a time; 64 KiB holds every list page below
 * with room for fields to come, and is what a host is ready to hold for each of hundreds of guests.
 */
#define LIMIT_PAYLOAD_BYTES 65536

/* A HELLO or its reply is found inside what looks like the body of a frame cut short by a dead
 * peer, so it must be small enough to look for at every arrival. */
#define LIMIT_HELLO_BYTES 512

/* Checking checksums may cost at most this many times the bytes received: a peer that nests
 * thousands of false headers buys itself no more of our time than one that does not. */
#define LIMIT_CHECK_FACTOR 8

/* A frame begun and not finished within this time was cut short: its sender died. A whole frame
 * takes milliseconds even on an emulated guest. */
#define LIMIT_FRAME_MS 5000

/* A version string like "0.1.0-12-gabcdef1-dirty". */
#define LIMIT_VERSION_TEXT 48

/* One sentence for a person. */
#define LIMIT_TEXT 240

/* The path of a file of udev rules. */
#define LIMIT_RULE 128

/* Zones of one guest: four kinds on each of 16 nodes. Guests with more report the first ones. */
#define LIMIT_ZONES 64

/* Huge page pools: per size one total and one for each node; four sizes are the most that any
 * architecture has, with 15 nodes. */
#define LIMIT_POOLS 64

/* virtio-mem devices: QEMU guests have one for each cell. */
#define LIMIT_REGIONS 16

/* Memory blocks in one page of a list: 64 GiB of 128 MiB blocks, 38 KiB on the wire. */
#define LIMIT_BLOCKS 512

/* Guest-physical ranges in one request: a DIMM's share in one guest is a few runs; 256 is 4 KiB on
 * the wire. */
#define LIMIT_RANGES 256

/* Requests that wait for an answer at once: one long one, and room for questions and cancels beside
 * it. */
#define LIMIT_OUTSTANDING 8

/* Leases held at once: a shrink, a policy, and what a host that restarted left behind. */
#define LIMIT_LEASES 8

/* Longest lease and longest deadline, 24 hours: what is asked for longer is refused, so that a
 * mistake in units does not leave a guest changed for a year. */
#define LIMIT_LEASE_MS	  (24u * 3600u * 1000u)
#define LIMIT_DEADLINE_MS (24u * 3600u * 1000u)

/* Stalls are told at most so often: a tenth of LIMIT_EVENTS_PER_SECOND, and still many times within
 * the second in which a mover is to heed them. */
#define LIMIT_STALLS_INTERVAL_MS 100

/* Longest watch of stalls. The probe costs its guest something while it runs: what a host that died
 * or forgot leaves behind ends within a minute. Who wants more asks again. */
#define LIMIT_STALLS_WATCH_MS 60000u

/* The guest says that it lives this often. The agent must cost next to nothing while idle; the host
 * must notice a dead agent well within the 120 s that a resize takes by default. */
#define LIMIT_HEARTBEAT_MS 5000

/* Nothing heard for this long, with heartbeats due: the channel is busy or the agent is gone. Four
 * heartbeats, because a guest under memory pressure schedules late. */
#define LIMIT_SILENCE_MS 20000

/* HELLO is sent again after this long without an answer, then more rarely (what is written to a
 * guest that is down piles up and is all delivered after its boot). */
#define LIMIT_HELLO_MS	     2000
#define LIMIT_HELLO_TRIES    5
#define LIMIT_HELLO_LATER_MS 30000

/* Bytes that are no frame, since the last whole frame. One full buffer of a port that was cut in
 * its middle is innocent (176 KiB were seen after a guest's reset); several are not. */
#define LIMIT_GARBAGE_BYTES (1024u * 1024u)

/* Frames damaged or of forbidden length in one session: each cut connection damages one; a working
 * channel damages none. */
#define LIMIT_BAD_FRAMES 16

/* Requests in a row that were not answered in their time, by a guest that is heard all the while: one
 * under pressure is late with one or two. Late answers count as answers. */
#define LIMIT_UNANSWERED 4

/* Sessions that a guest opens and gives up at once, asking to be greeted, without a word in between.
 * One whose agent crashes at its start and is started again gets a minute of tries. */
#define LIMIT_GREETINGS 32

/* Unasked-for frames in a second (heartbeats, progress). An honest agent sends a handful. */
#define LIMIT_EVENTS_PER_SECOND 100

#endif
