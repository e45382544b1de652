/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What host and guest say to each other, as structs, and their payload bytes.
 * Sizes are bytes, times are relative milliseconds, addresses are guest-physical.
 */
#ifndef BALLAST_PROTOCOL_MESSAGE_H
#define BALLAST_PROTOCOL_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "wire_limits.h"

enum message_type {
#define MESSAGE(number, NAME, name, sender, kind) MESSAGE_##NAME = number,
#include "message_list.h"
#undef MESSAGE
};

enum message_sender { MESSAGE_SENDER_HOST, MESSAGE_SENDER_GUEST };
enum message_kind { MESSAGE_KIND_REQUEST, MESSAGE_KIND_REPLY, MESSAGE_KIND_EVENT };

/*
 * Enumerations on the wire: 0 is "unknown", and what a newer peer says beyond _COUNT is read as
 * unknown.
 */

/* How new memory comes online: /sys/devices/system/memory/auto_online_blocks. */
enum message_auto_online {
	MESSAGE_AUTO_ONLINE_UNKNOWN,
	MESSAGE_AUTO_ONLINE_OFFLINE,
	MESSAGE_AUTO_ONLINE_ONLINE,
	MESSAGE_AUTO_ONLINE_KERNEL,
	MESSAGE_AUTO_ONLINE_MOVABLE,
	MESSAGE_AUTO_ONLINE_COUNT
};

/* Which zone "online" means: /sys/module/memory_hotplug/parameters/online_policy. */
enum message_zone_policy {
	MESSAGE_ZONE_POLICY_UNKNOWN,
	MESSAGE_ZONE_POLICY_CONTIG_ZONES,
	MESSAGE_ZONE_POLICY_AUTO_MOVABLE,
	MESSAGE_ZONE_POLICY_COUNT
};

/* What SET_ONLINE_POLICY asks for. */
enum message_online_policy {
	MESSAGE_ONLINE_POLICY_UNKNOWN,
	MESSAGE_ONLINE_POLICY_MOVABLE,	    /* everything new goes to the movable zone */
	MESSAGE_ONLINE_POLICY_AUTO_MOVABLE, /* movable as long as the ratio to kernel memory allows
					     */
	MESSAGE_ONLINE_POLICY_LEAVE,	    /* as the guest has it; gives a leased change back */
	MESSAGE_ONLINE_POLICY_COUNT
};

enum message_zone {
	MESSAGE_ZONE_UNKNOWN, /* none, or several in one block */
	MESSAGE_ZONE_DMA,
	MESSAGE_ZONE_DMA32,
	MESSAGE_ZONE_NORMAL,
	MESSAGE_ZONE_MOVABLE,
	MESSAGE_ZONE_DEVICE,
	MESSAGE_ZONE_COUNT
};

enum message_block_state {
	MESSAGE_BLOCK_STATE_UNKNOWN,
	MESSAGE_BLOCK_STATE_ONLINE,
	MESSAGE_BLOCK_STATE_OFFLINE,
	MESSAGE_BLOCK_STATE_GOING_OFFLINE,
	MESSAGE_BLOCK_STATE_COUNT
};

enum message_rung {
	MESSAGE_RUNG_UNKNOWN,
	MESSAGE_RUNG_HUGE_PAGES, /* free huge pages above the floor given up */
	MESSAGE_RUNG_COMPACT,	 /* memory compacted, so that whole pageblocks become free */
	MESSAGE_RUNG_OFFLINE,	 /* blocks taken offline one by one */
	MESSAGE_RUNG_HOOKS,	 /* applications asked to let go, by the guest's own hooks */
	MESSAGE_RUNG_MAKE_ROOM,	 /* room made outside, so that huge pages in use can be migrated */
	MESSAGE_RUNG_RECLAIM,	 /* caches and idle memory reclaimed through the guest's cgroups */
	MESSAGE_RUNG_COUNT
};

/* What became of a block, and why memory stays. */
enum message_reason {
	MESSAGE_REASON_UNKNOWN,
	MESSAGE_REASON_OFFLINED,
	MESSAGE_REASON_ALREADY_OFFLINE,
	MESSAGE_REASON_GONE,	      /* the device took the block away: done */
	MESSAGE_REASON_BUSY,	      /* the kernel refused: pages that it could not move */
	MESSAGE_REASON_TIMED_OUT,     /* not offline at its deadline */
	MESSAGE_REASON_NOT_REMOVABLE, /* spans zones or holds kernel memory */
	MESSAGE_REASON_CANCELLED,     /* not tried any more */
	MESSAGE_REASON_HUGE_PAGES_IN_USE,
	MESSAGE_REASON_HUGE_PAGES_FLOOR, /* free, but the guest keeps them */
	MESSAGE_REASON_PINNED,
	MESSAGE_REASON_KERNEL_MEMORY,
	MESSAGE_REASON_WRITEBACK,
	MESSAGE_REASON_NOT_CANDIDATE, /* in the range, but no block of a virtio-mem region */
	MESSAGE_REASON_KERNEL_STUCK,  /* its offlining does not end, not even by a signal */
	MESSAGE_REASON_NO_MEMORY,     /* not tried: the guest would be left with too little */
	MESSAGE_REASON_HOOK_FAILED,   /* a hook of the guest failed or did not end in its time */
	MESSAGE_REASON_PRESSURE,      /* not tried further: the guest is under memory pressure */
	MESSAGE_REASON_COUNT
};

enum message_result_code {
	MESSAGE_RESULT_UNKNOWN,
	MESSAGE_RESULT_OK,
	MESSAGE_RESULT_PARTIAL,	      /* some of it done; the reply says what not */
	MESSAGE_RESULT_BUSY,	      /* one evacuation at a time */
	MESSAGE_RESULT_VETOED,	      /* the guest's configuration forbids it */
	MESSAGE_RESULT_INVALID,	      /* the request is malformed or out of bounds */
	MESSAGE_RESULT_NOT_FOUND,     /* no such request, lease or block */
	MESSAGE_RESULT_NOT_SUPPORTED, /* this guest's kernel cannot */
	MESSAGE_RESULT_FAILED,
	MESSAGE_RESULT_CANCELLED,
	MESSAGE_RESULT_TIMED_OUT,
	MESSAGE_RESULT_COUNT
};

enum message_stage {
	MESSAGE_STAGE_UNKNOWN,
	MESSAGE_STAGE_HUGE_PAGES,
	MESSAGE_STAGE_COMPACT,
	MESSAGE_STAGE_OFFLINE,
	MESSAGE_STAGE_RESTORE,
	MESSAGE_STAGE_REPORT, /* free pages are being reported */
	MESSAGE_STAGE_HOOKS,
	MESSAGE_STAGE_MAKE_ROOM,
	MESSAGE_STAGE_RECLAIM,
	MESSAGE_STAGE_COUNT
};

const char *message_auto_online_name(enum message_auto_online value);
const char *message_zone_policy_name(enum message_zone_policy value);
const char *message_online_policy_name(enum message_online_policy value);
const char *message_zone_name(enum message_zone value);
const char *message_block_state_name(enum message_block_state value);
const char *message_rung_name(enum message_rung value);
const char *message_reason_name(enum message_reason value);
const char *message_result_code_name(enum message_result_code value);
const char *message_stage_name(enum message_stage value);

/* Features of an agent (HELLO_REPLY). */
#define MESSAGE_FEATURE_OFFLINE	      (UINT64_C(1) << 0) /* can offline blocks */
#define MESSAGE_FEATURE_HUGE_PAGES    (UINT64_C(1) << 1) /* can shrink and restore pools */
#define MESSAGE_FEATURE_COMPACT	      (UINT64_C(1) << 2)
#define MESSAGE_FEATURE_ONLINE_POLICY (UINT64_C(1) << 3)
#define MESSAGE_FEATURE_UNPLUG_ONLINE \
	(UINT64_C(1) << 4) /* virtio_mem's parameter is there and can be set */
#define MESSAGE_FEATURE_STALL_PROBE (UINT64_C(1) << 5) /* can measure its own pauses */
#define MESSAGE_FEATURE_REPORT_FREE \
	(UINT64_C(1) << 6) /* the balloon reports free pages, and they can be made ready for it */
/* From version 1.1 on. */
#define MESSAGE_FEATURE_HOOKS	      (UINT64_C(1) << 7) /* can run the guest's hooks */
#define MESSAGE_FEATURE_MAKE_ROOM     (UINT64_C(1) << 8) /* can make room for huge pages in use */
#define MESSAGE_FEATURE_RECLAIM	      (UINT64_C(1) << 9) /* can reclaim through cgroups */
#define MESSAGE_FEATURE_BLOCK_HOLDERS (UINT64_C(1) << 10) /* BLOCKS may ask what is in each block */
#define MESSAGE_FEATURE_WORD	      (UINT64_C(1) << 11) /* the report bears the guest's word */
#define MESSAGE_FEATURE_WORK_SHARE    (UINT64_C(1) << 12) /* EVACUATE may say how much of the time it works */
#define MESSAGE_FEATURE_WISH	      (UINT64_C(1) << 13) /* may ask for more by its heartbeats */
#define MESSAGE_FEATURE_REPAIR	      (UINT64_C(1) << 14) /* can online, and move to the movable zone, what is plugged */
#define MESSAGE_FEATURE_POOL_NODES    (UINT64_C(1) << 15) /* PREPARE may say where free huge pages are to go first */
#define MESSAGE_FEATURE_ALL	      (UINT64_C(65535))

#define MESSAGE_BOOT_ID_BYTES  16
#define MESSAGE_NODE_ALL       0xffff /* a pool's total over all nodes */
#define MESSAGE_REGION_NONE    0xffff
#define MESSAGE_BLOCK_END      UINT64_MAX /* no further page */
#define MESSAGE_PRESSURE_NONE  UINT32_MAX /* the kernel does not tell */
#define MESSAGE_SWITCH_UNKNOWN 2 /* a switch that is neither 0 nor 1 because it is not there */

/* The header's epoch is the one that the session will have. */
struct message_hello {
	uint16_t version_min, version_max; /* major << 8 | minor */
	uint64_t nonce;
	uint64_t features; /* reserved for the host's: 0 */
	uint32_t heartbeat_ms;
	char host_version[LIMIT_VERSION_TEXT];
};

struct message_hello_reply {
	uint16_t version_min, version_max;
	uint16_t version; /* chosen; 0 where the ranges have nothing in common */
	uint64_t nonce;	  /* the HELLO's */
	uint64_t guest_nonce;
	uint64_t features;
	uint64_t block_bytes; /* 0 where the guest has no memory hotplug */
	uint32_t page_bytes;
	uint8_t boot_id[MESSAGE_BOOT_ID_BYTES];
	uint64_t instance; /* differs between two runs of the agent */
	char agent_version[LIMIT_VERSION_TEXT];
};

/* Requests are heard only after this: only a host that lives can know the guest's nonce. */
struct message_hello_confirm {
	uint64_t guest_nonce;
};

struct message_pressure {
	uint32_t some_avg10_x100,
		full_avg10_x100; /* per cent times 100, or MESSAGE_PRESSURE_NONE */
};

struct message_report_zone {
	uint16_t node;
	enum message_zone zone;
	uint64_t present_bytes, managed_bytes, free_bytes;
};

struct message_report_pool {
	uint16_t node; /* MESSAGE_NODE_ALL: the total, the only one that knows reserved and floor */
	uint64_t page_bytes;
	uint64_t total, free, reserved, surplus; /* pages */
	uint64_t floor; /* pages that the guest keeps whatever the host asks */
	uint64_t taken; /* pages that a committed shrink took and owes */
};

struct message_report_region {
	uint64_t start, size_bytes; /* the device's whole range */
	uint64_t plugged_bytes;	    /* in blocks that exist now; what QEMU says is the truth */
	uint64_t online_bytes, movable_bytes;
	uint16_t node;
};

struct message_report {
	uint32_t flags; /* none defined */
};

#define MESSAGE_REPORT_CUT_ZONES    (1u << 0) /* more than fit */
#define MESSAGE_REPORT_CUT_POOLS    (1u << 1)
#define MESSAGE_REPORT_CUT_REGIONS  (1u << 2)
#define MESSAGE_REPORT_UDEV_ONLINES (1u << 3) /* a udev rule onlines memory too: a competitor */
#define MESSAGE_REPORT_KEEPS	    (1u << 4) /* keep_bytes is told; older agents keep a 32nd of total_bytes */

#define MESSAGE_WORD_VETO (1u << 0) /* the guest does not want to shrink now */

struct message_report_reply {
	uint32_t flags; /* MESSAGE_REPORT_* */
	uint64_t total_bytes, free_bytes, available_bytes;
	struct message_pressure pressure;
	enum message_auto_online auto_online;
	enum message_zone_policy zone_policy;
	uint32_t auto_movable_ratio; /* per cent; 0 where unknown */
	uint8_t unplug_online;	     /* 0, 1 or MESSAGE_SWITCH_UNKNOWN */
	uint16_t leases;	     /* active now */
	uint16_t zone_count;
	struct message_report_zone zones[LIMIT_ZONES];
	uint16_t pool_count;
	struct message_report_pool pools[LIMIT_POOLS];
	uint16_t region_count;
	struct message_report_region regions[LIMIT_REGIONS];
	/* The guest's word, from 1.1 on: what its owner wants, for the host to heed before it asks. */
	uint32_t word_flags;  /* MESSAGE_WORD_* */
	uint64_t floor_bytes; /* it wants to keep so much in all; 0: none */
	uint64_t limit_bytes; /* most in one shrink; 0: none */
	/* Likewise: the file with the rule of MESSAGE_REPORT_UDEV_ONLINES; empty where there is none, or it is not told. */
	char udev_rule[LIMIT_RULE];
	/* Likewise, with MESSAGE_REPORT_KEEPS: of what is available so much is left to the guest. */
	uint64_t keep_bytes;
};

#define MESSAGE_BLOCKS_REGIONS_ONLY (1u << 0) /* only blocks of virtio-mem regions */
#define MESSAGE_BLOCKS_HOLDERS	    (1u << 1) /* and what is in them; costs a look at each page */

struct message_blocks {
	uint32_t flags;
	uint64_t first_block; /* from this id on */
	uint64_t end_block;   /* below this id; MESSAGE_BLOCK_END: all */
	uint16_t max_count;   /* 0: LIMIT_BLOCKS */
};

#define MESSAGE_BLOCK_REMOVABLE (1u << 0) /* valid_zones does not say "none" */

struct message_block {
	uint64_t id, start, size_bytes;
	enum message_block_state state;
	enum message_zone zone;
	uint16_t node;
	uint16_t region; /* index into the report's regions, or MESSAGE_REGION_NONE */
	uint32_t flags;
	/* From 1.1 on, and only where MESSAGE_BLOCKS_HOLDERS asked for it; otherwise 0. What is
	 * neither of these is in use and can be moved. */
	uint64_t free_bytes;
	uint64_t huge_free_bytes, huge_used_bytes; /* in pools */
	uint64_t kernel_bytes, pinned_bytes;	   /* cannot be moved */
};

struct message_blocks_reply {
	uint64_t next_block; /* ask again from here, or MESSAGE_BLOCK_END */
	uint16_t block_count;
	struct message_block blocks[LIMIT_BLOCKS];
};

/* The host names a lease and how long it holds; several requests may share one.
 * lease_ms 1..LIMIT_LEASE_MS. */
struct message_lease {
	uint64_t id;
	uint32_t lease_ms;
};

struct message_set_online_policy {
	struct message_lease lease;
	enum message_online_policy policy;
	uint32_t auto_movable_ratio; /* per cent; 0: as it is */
};

struct message_range {
	uint64_t start, size_bytes;
};

#define MESSAGE_EVACUATE_HUGE_PAGES (1u << 0) /* which rungs may be climbed */
#define MESSAGE_EVACUATE_COMPACT    (1u << 1)
#define MESSAGE_EVACUATE_OFFLINE    (1u << 2) /* not in PREPARE */
#define MESSAGE_EVACUATE_HOOKS	    (1u << 3) /* from 1.1 on, as the next two */
#define MESSAGE_EVACUATE_MAKE_ROOM  (1u << 4)
#define MESSAGE_EVACUATE_RECLAIM    (1u << 5)
#define MESSAGE_EVACUATE_ALL	    (63u)

/* PREPARE and EVACUATE. Without ranges the agent chooses blocks of virtio-mem regions, in the
 * movable zone. Where less is to leave than there is to choose from, the emptiest blocks go. */
struct message_evacuate {
	struct message_lease lease;
	uint32_t flags;
	uint64_t target_bytes;	    /* how much is to leave; with ranges 0 means all of them */
	uint32_t deadline_ms;	    /* for everything, 1..LIMIT_DEADLINE_MS */
	uint32_t block_deadline_ms; /* for each block; 0: the agent's default */
	uint16_t range_count;
	struct message_range ranges[LIMIT_RANGES];
	/* From 1.1 on: of the time that it takes blocks offline in, so much is worked at most; 0: all of it. */
	uint8_t work_percent;
};

struct message_rung_gain {
	enum message_rung rung;
	uint64_t gained_bytes;
	uint32_t elapsed_ms;
	enum message_reason reason; /* from 1.1 on: why it gained no more; UNKNOWN: nothing to say */
};

struct message_block_outcome {
	uint64_t id, start, size_bytes;
	enum message_reason reason;
	uint32_t error; /* errno of the kernel's refusal, or 0 */
};

struct message_pool_remainder {
	uint16_t node;
	uint64_t page_bytes;
	uint64_t stayed_pages;
	enum message_reason reason;
};

struct message_evacuate_reply {
	enum message_result_code code;
	uint64_t offlined_bytes; /* in blocks offline or gone at the end */
	uint16_t rung_count;
	struct message_rung_gain rungs[MESSAGE_RUNG_COUNT];
	uint16_t pool_count;
	struct message_pool_remainder pools[LIMIT_POOLS];
	uint32_t blocks_total; /* tried; more than block_count where they did not fit */
	uint16_t block_count;
	struct message_block_outcome blocks[LIMIT_BLOCKS];
	char text[LIMIT_TEXT];
};

#define MESSAGE_REPAIR_ONLINE (1u << 0) /* blocks that are plugged and offline come online */
#define MESSAGE_REPAIR_ZONES  (1u << 1) /* those in a kernel zone that are free enough go to the movable one */
#define MESSAGE_REPAIR_ALL    (3u)

/* Blocks of virtio-mem regions, each tried once for as long as it is plugged. */
struct message_repair {
	struct message_lease lease; /* what is offline in between stands under it */
	uint32_t flags;
	enum message_online_policy policy; /* MOVABLE, or AUTO_MOVABLE: the kernel chooses, and no zone is wrong */
	uint32_t deadline_ms;		   /* for everything, 1..LIMIT_DEADLINE_MS */
	uint32_t block_deadline_ms;	   /* for each block; 0: the agent's default */
};

struct message_renew_lease {
	struct message_lease lease;
};

#define MESSAGE_RELEASE_KEEP_POOLS  (1u << 0) /* pools stay shrunk until RESTORE_POOLS */
#define MESSAGE_RELEASE_KEEP_POLICY (1u << 1) /* the onlining policy stays */
#define MESSAGE_RELEASE_ALL	    (3u)

struct message_release_lease {
	uint64_t lease_id;
	uint32_t flags;
};

struct message_restore_pools {
	uint64_t limit_bytes; /* give back at most this much; 0: all that was taken */
};

/* The agent measures how long it is kept from running, and says so every interval_ms. It ends by
 * itself after duration_ms, or when another one begins. */
struct message_watch_stalls {
	uint32_t interval_ms; /* LIMIT_STALLS_INTERVAL_MS..LIMIT_STALLS_WATCH_MS */
	uint32_t duration_ms; /* 1..LIMIT_STALLS_WATCH_MS */
};

/* To what a heartbeat has asked for. OK: it comes, as far as it can. PARTIAL: some of it. VETOED: no. text says more. */
struct message_answer_wish {
	uint64_t wanted_bytes; /* as it was asked for */
	enum message_result_code code;
	char text[LIMIT_TEXT];
};

/* The guest's free pages are made ready for its balloon to report, and given the time for it. */
struct message_report_free {
	uint32_t deadline_ms; /* 1..LIMIT_DEADLINE_MS */
};

struct message_cancel {
	uint32_t request_id;
};

/* Bears its request's id in the header. */
struct message_progress {
	enum message_stage stage;
	uint64_t done_bytes, total_bytes;
};

/* What the agent felt. Bears its WATCH_STALLS' id in the header. */
struct message_stalls {
	uint64_t longest_us; /* longest time it was kept from running since the STALLS before */
	uint64_t p99_us;     /* 99 of 100 samples since the watch began were no longer */
	uint32_t samples;    /* since the STALLS before */
};

struct message_result {
	enum message_result_code code;
	uint32_t error;	      /* errno, or 0 */
	uint64_t value_bytes; /* RESTORE_POOLS: given back; REPAIR: repaired; REPORT_FREE: free and large enough */
	char text[LIMIT_TEXT];
};

struct message_unsupported {
	uint16_t type; /* the request's */
};

/* With epoch 0: an agent without a session asks to be greeted. */
struct message_heartbeat {
	uint8_t boot_id[MESSAGE_BOOT_ID_BYTES];
	uint64_t instance;
	uint64_t uptime_ms;
	uint64_t available_bytes;
	struct message_pressure pressure;
	uint16_t leases;
	uint8_t busy; /* 1: an evacuation runs */
	uint64_t wanted_bytes; /* from 1.1 on: the guest asks for so much memory in all; 0: for nothing */
};

struct message {
	enum message_type type;
	union {
		struct message_hello hello;
		struct message_hello_reply hello_reply;
		struct message_hello_confirm hello_confirm;
		struct message_report report;
		struct message_report_reply report_reply;
		struct message_blocks blocks;
		struct message_blocks_reply blocks_reply;
		struct message_set_online_policy set_online_policy;
		struct message_evacuate prepare;
		struct message_evacuate evacuate;
		struct message_evacuate_reply evacuate_reply;
		struct message_repair repair;
		struct message_renew_lease renew_lease;
		struct message_release_lease release_lease;
		struct message_restore_pools restore_pools;
		struct message_watch_stalls watch_stalls;
		struct message_report_free report_free;
		struct message_answer_wish answer_wish;
		struct message_cancel cancel;
		struct message_progress progress;
		struct message_stalls stalls;
		struct message_result result;
		struct message_unsupported unsupported;
		struct message_heartbeat heartbeat;
	};
};

bool message_type_is_known(uint16_t type);
const char *message_type_name(uint16_t type); /* "unknown" for others */

/* For known types only. */
enum message_sender message_type_sender(uint16_t type);
enum message_kind message_type_kind(uint16_t type);

/* Whether reply may answer request: its own reply type, RESULT or UNSUPPORTED. */
bool message_type_answers(uint16_t reply, uint16_t request);
/* Whether event may tell of request on its way: PROGRESS of any, STALLS of WATCH_STALLS. */
bool message_type_tells(uint16_t event, uint16_t request);

/*
 * Writes the payload. Returns 0 and its length; -EINVAL where a field is out of its bounds (a
 * count, a text that is not printable ASCII, an enumerator) or the type has no payload of its own;
 * -ENOBUFS.
 */
int message_encode(const struct message *message, uint8_t *buffer, size_t size, size_t *ret_length);

/*
 * Reads a payload. Returns 0; -EBADMSG where it is cut short or out of bounds; -EOPNOTSUPP for a
 * type that is not known or reserved. What stands behind the known fields is skipped: newer peers
 * add fields at the end, of a payload as of a list's entries. *ret_message is undefined after an
 * error, but within its bounds.
 */
int message_decode(uint16_t type, const uint8_t *payload, size_t length,
		   struct message *ret_message);

#endif
