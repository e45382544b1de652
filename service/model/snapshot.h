/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was seen of the host and its guests at one moment: plain structs, filled by service/look, read by
 * service/plan and printed by service/rest. Nothing here changes anything.
 *
 * Node ids up to SNAPSHOT_NODES_MAX - 1 are handled (a set of nodes is a uint64_t mask); a host with larger ids is
 * refused at start with a clear word.
 */
#ifndef BALLAST_SERVICE_SNAPSHOT_H
#define BALLAST_SERVICE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cleanup.h"
#include "measured_rate.h"
#include "name_table.h"
#include "remainder.h"

#define SNAPSHOT_NODES_MAX	  64
#define SNAPSHOT_POOLS_MAX	  4	/* huge page sizes of one architecture */
#define SNAPSHOT_CELLS_MAX	  16
#define SNAPSHOT_DEVICES_MAX	  16
#define SNAPSHOT_RANGES_MAX	  16
#define SNAPSHOT_BACKINGS_MAX	  8
#define SNAPSHOT_SHARERS_MAX	  4	/* processes that are named; all are counted */
#define SNAPSHOT_PINNERS_MAX	  8	/* processes of the host that are named; all are counted */
#define SNAPSHOT_PIECES_MAX	  16	/* pieces of DIMMs, and of memory in none, that one survey tells apart beside them */
#define SNAPSHOT_GUEST_DIMMS_MAX  (32 + SNAPSHOT_PIECES_MAX) /* DIMMs and pieces in which one guest's pages are told apart */
#define SNAPSHOT_SLOTS_MAX	  32	/* of one DIMM (a set of them) that are named; all are counted */
#define SNAPSHOT_UNITS_MAX	  64	/* of one memory device: 8 GiB in the smallest blocks that a guest has */
#define SNAPSHOT_UNIT_LEAST_BYTES ((uint64_t)128 << 20)	/* the smallest memory block of a guest's kernel (x86) */
#define SNAPSHOT_PLACES_MAX	  256	/* of one guest's units in DIMMs and pieces: those that have most */
#define SNAPSHOT_PLACE_BYTES	  4096	/* what a place is counted in: the smallest page */
#define SNAPSHOT_NAME_SIZE	  64
#define SNAPSHOT_UUID_SIZE	  37
#define SNAPSHOT_HOOKS_TEXT_SIZE  112	/* names of hooks: as many as a line has room for */
#define SNAPSHOT_CPUS_SIZE	  256	/* CPU list of a node; one that does not fit is left empty */

struct snapshot_pool {
	uint64_t page_bytes;
	uint64_t total, free, reserved, surplus;	/* pages; reserved is the host's, repeated on each node */
};

struct snapshot_node {
	int id;
	bool has_memory, has_cpus;
	char cpus[SNAPSHOT_CPUS_SIZE];		/* the kernel's list format */
	bool held;				/* a drain's hold stands on the whole node or on part of it */
	uint64_t total_bytes, free_bytes;
	uint64_t movable_bytes;			/* managed by ZONE_MOVABLE */
	uint64_t guest_bytes;			/* resident guest memory: sum over guests */
	uint64_t fragmented_bytes;		/* of the free: in pieces smaller than a huge page; 0: none, or not known */
	size_t pool_count;
	struct snapshot_pool pools[SNAPSHOT_POOLS_MAX];
	uint8_t distances[SNAPSHOT_NODES_MAX];	/* by node id; 0 where unknown */
	bool has_latency_distances;		/* they are by the firmware's latencies (HMAT), not the kernel's (SLIT) */
	uint32_t read_latency_ns;		/* from the nearest processors; 0: not told */
	uint64_t read_bytes_per_s;		/* the same */
};

enum block_state { BLOCK_STATE_ONLINE, BLOCK_STATE_OFFLINE, BLOCK_STATE_GOING_OFFLINE, BLOCK_STATE_COUNT };
NAME_TABLE_DECLARE(block_state);

enum block_zone {
	BLOCK_ZONE_NONE,	/* spans zones or nodes: can never go offline */
	BLOCK_ZONE_DMA,
	BLOCK_ZONE_NORMAL,
	BLOCK_ZONE_MOVABLE,
	BLOCK_ZONE_COUNT
};
NAME_TABLE_DECLARE(block_zone);

struct snapshot_block {
	uint64_t id;
	uint64_t start, size_bytes;	/* host-physical */
	int node;			/* -1 where it has none (offline and unlinked) */
	enum block_state state;
	enum block_zone zone;		/* of an online block: its zone; of an offline one: the zone it may go to first */
	bool hotpluggable;		/* the firmware calls all of it so */
};

enum dimm_kind { DIMM_KIND_ACPI, DIMM_KIND_SMBIOS, DIMM_KIND_DAX, DIMM_KIND_COUNT };
NAME_TABLE_DECLARE(dimm_kind);

enum snapshot_dimm_state {
	SNAPSHOT_DIMM_ONLINE, SNAPSHOT_DIMM_DRAINING, SNAPSHOT_DIMM_OFFLINE, SNAPSHOT_DIMM_EJECTED, SNAPSHOT_DIMM_ABSENT,
	SNAPSHOT_DIMM_COUNT
};
NAME_TABLE_DECLARE(snapshot_dimm_state);

enum answer { ANSWER_NO, ANSWER_YES, ANSWER_PARTLY, ANSWER_UNKNOWN, ANSWER_COUNT };
NAME_TABLE_DECLARE(answer);

enum confidence { CONFIDENCE_LOW, CONFIDENCE_LIKELY, CONFIDENCE_CERTAIN, CONFIDENCE_COUNT };
NAME_TABLE_DECLARE(confidence);

struct snapshot_range {
	uint64_t start, end;	/* host-physical unless said otherwise, end exclusive */
};

/* A slot of the board with what is in it. Texts are the firmware's; empty: not told. */
struct snapshot_slot {
	char locator[SNAPSHOT_NAME_SIZE];
	char bank[SNAPSHOT_NAME_SIZE];
	char part[SNAPSHOT_NAME_SIZE];
	uint64_t size_bytes;			/* 0: not told */
	int64_t corrected_errors, uncorrected_errors;	/* as counted since boot, or a reset; -1: not told */
};

/* A memory controller, and the errors that it has counted. */
struct snapshot_controller {
	char id[16];				/* the kernel's, "mc0" */
	char name[SNAPSHOT_NAME_SIZE];		/* its driver's word; empty: not told */
	uint64_t corrected_errors, uncorrected_errors;
	uint64_t unplaced_corrected, unplaced_uncorrected;	/* of these: in no slot that is known */
};

struct snapshot_dimm {
	char id[SNAPSHOT_NAME_SIZE];		/* outlives an eject */
	enum dimm_kind kind;
	char locator[SNAPSHOT_NAME_SIZE];
	int node;
	size_t range_count;
	struct snapshot_range ranges[SNAPSHOT_RANGES_MAX];
	bool ranges_cut;			/* there are more of them: it cannot be drained by its name */
	enum snapshot_dimm_state state;
	enum answer movable;			/* can it ever be emptied? */
	enum answer interleaved;		/* are its addresses spread over several slots? */
	enum confidence confidence;		/* of that answer, and of which slots they are */
	size_t slot_count;			/* 0: not told */
	struct snapshot_slot slots[SNAPSHOT_SLOTS_MAX];
	size_t slots_unlisted;			/* beyond those */
	int64_t corrected_errors, uncorrected_errors;	/* of all its slots; -1: of one of them not told */
	bool ejectable;
	bool held;
	uint64_t guest_bytes;			/* resident guest memory inside, as last surveyed */
	bool guests_untold;			/* of a guest it is not known how much: there may be more */
	struct remainder_list remainder;	/* why it cannot be emptied */
};

/* How bad memory is said to be (POST /v1/hints), each worse than the one before. */
enum hint_risk {
	HINT_RISK_LOW,		/* errors that were corrected, now and then */
	HINT_RISK_HIGH,		/* likely to fail: corrected errors that get more, or a predictor's word */
	HINT_RISK_UNCORRECTED,	/* an error that was not corrected */
	HINT_RISK_COUNT
};
NAME_TABLE_DECLARE(hint_risk);

/* What was said of one piece of memory: a block, or a DIMM as a whole. */
struct snapshot_hint {
	char dimm[SNAPSHOT_NAME_SIZE];	/* in which it is; empty: in none */
	struct snapshot_range range;	/* the block; empty: all of the DIMM */
	int node;			/* -1: not of one alone */
	uint64_t address;		/* of a block: the last that was named */
	enum hint_risk risk, worst;	/* the last, and the worst of all */
	uint64_t count, at_ms;		/* how often it was said, and when last (wall clock) */
};

enum backing_kind { BACKING_KIND_ANON, BACKING_KIND_MEMFD, BACKING_KIND_FILE, BACKING_KIND_HUGETLB, BACKING_KIND_COUNT };
NAME_TABLE_DECLARE(backing_kind);

/* Another process that maps the guest's memory, and what it holds so that it cannot move. */
struct snapshot_sharer {
	int pid;
	char name[16];
	uint64_t mapped_bytes, pinned_bytes;
};

/* What hinders a move for the guest's whole life, by who says so. */
struct snapshot_hindrance {
	bool vfio, locked, encrypted;
};

enum policy_mode {
	POLICY_MODE_DEFAULT, POLICY_MODE_BIND, POLICY_MODE_PREFERRED, POLICY_MODE_INTERLEAVE, POLICY_MODE_MIXED,
	POLICY_MODE_COUNT
};
NAME_TABLE_DECLARE(policy_mode);

struct snapshot_backing {
	enum backing_kind kind;
	uint64_t page_bytes, bytes;
	int cell;				/* guest cell, or -1 where not known */
	enum policy_mode policy_mode;		/* of this part, as the kernel says */
	uint64_t policy_nodes;
	bool has_own_policy;			/* no other process can set it: mapped privately, or a file on a disk */
};

/* Where a guest's huge pages (hugetlb) of one size lie, in pages by node. */
struct snapshot_huge {
	uint64_t page_bytes;
	uint32_t pages[SNAPSHOT_NODES_MAX];
};

enum numatune_mode {
	NUMATUNE_MODE_NONE, NUMATUNE_MODE_STRICT, NUMATUNE_MODE_PREFERRED, NUMATUNE_MODE_INTERLEAVE,
	NUMATUNE_MODE_RESTRICTIVE, NUMATUNE_MODE_COUNT
};
NAME_TABLE_DECLARE(numatune_mode);

struct snapshot_device {
	char alias[SNAPSHOT_NAME_SIZE];
	int cell;
	uint64_t size_bytes, block_bytes, requested_bytes, current_bytes;
	uint64_t address;			/* guest-physical start, 0 where not known */
};

/*
 * What the host has of a memory device, by unit of its guest-physical range: SNAPSHOT_UNIT_LEAST_BYTES, or the device's own
 * block where that is larger, and twice as much again until SNAPSHOT_UNITS_MAX cover the device. Units are aligned as
 * guest-physical addresses are: unit i begins i * unit_bytes above the device's start, which is rounded down to a unit; of
 * the first and the last one only a part may be the device's.
 */
struct snapshot_residency {
	uint64_t address, size_bytes;	/* of the device */
	uint64_t unit_bytes;
	size_t count;
	uint64_t bytes[SNAPSHOT_UNITS_MAX];
};

#define SNAPSHOT_NO_DIMM UINT8_MAX

/* What one DIMM or piece has of one unit; or, with SNAPSHOT_NO_DIMM, one node outside of all that are told apart. */
struct snapshot_place {
	uint32_t pages;		/* of SNAPSHOT_PLACE_BYTES */
	uint8_t device, unit;	/* by their places in residencies, and in its bytes */
	uint8_t dimm;		/* DIMM or piece, by its place among those of the guest (or of the survey) */
	int8_t node;		/* -1: not known */
};

struct snapshot_cell {
	int id;
	uint64_t bytes;
	uint64_t bound_nodes;			/* its own binding in the live XML; 0: none */
};

enum agent_state {
	AGENT_STATE_NONE,		/* no channel in the domain */
	AGENT_STATE_DISCONNECTED,	/* channel there, nothing connected inside */
	AGENT_STATE_CONNECTING,
	AGENT_STATE_READY,
	AGENT_STATE_BUSY,		/* somebody else owns the channel: channel_busy */
	AGENT_STATE_INCOMPATIBLE,
	AGENT_STATE_SUSPECT,
	AGENT_STATE_COUNT
};
NAME_TABLE_DECLARE(agent_state);

/* Bits of snapshot_agent.features, in the order of the guest protocol's own (service/guest asserts that they agree). */
enum agent_feature {
	AGENT_FEATURE_OFFLINE,		/* can offline blocks */
	AGENT_FEATURE_HUGE_PAGES,	/* can shrink and restore pools */
	AGENT_FEATURE_COMPACT,
	AGENT_FEATURE_ONLINE_POLICY,
	AGENT_FEATURE_UNPLUG_ONLINE,	/* virtio_mem's parameter is there and can be set */
	AGENT_FEATURE_STALL_PROBE,	/* can measure its own pauses */
	AGENT_FEATURE_REPORT_FREE,	/* its balloon reports free pages to the host */
	AGENT_FEATURE_HOOKS,		/* can run the guest's hooks */
	AGENT_FEATURE_MAKE_ROOM,	/* can make room for huge pages in use */
	AGENT_FEATURE_RECLAIM,		/* can reclaim through the guest's cgroups */
	AGENT_FEATURE_BLOCK_HOLDERS,	/* can tell what is in each block */
	AGENT_FEATURE_WORD,		/* its report bears the guest's veto, floor and limit */
	AGENT_FEATURE_WORK_SHARE,	/* keeps to a share of the time while it takes blocks offline */
	AGENT_FEATURE_WISH,		/* may ask for more memory */
	AGENT_FEATURE_REPAIR,		/* can online, and move to the movable zone, what is plugged */
	AGENT_FEATURE_POOL_NODES,	/* takes free huge pages first where memory is to leave */
	AGENT_FEATURE_COUNT
};
NAME_TABLE_DECLARE(agent_feature);

/* What is in the online blocks of a device. The rest of counted_bytes is in use and can be moved. */
struct snapshot_holders {
	uint64_t counted_bytes;			/* the blocks */
	uint64_t free_bytes;
	uint64_t huge_free_bytes, huge_used_bytes;	/* in pools */
	uint64_t kernel_bytes, pinned_bytes;	/* cannot be moved; in whole pieces that a driver could take */
};

/* A block of a guest's memory, as its agent tells: guest-physical, in the guest's own nodes and zones. */
struct snapshot_guest_block {
	struct snapshot_block block;
	size_t region;				/* of the agent's, by index */
	bool can_offline;			/* its kernel would try */
	struct snapshot_holders holders;
};

/* A virtio-mem device as the guest sees it. */
struct snapshot_region {
	uint64_t start, end;			/* guest-physical */
	uint64_t plugged_bytes, online_bytes, movable_bytes;	/* movable: of the online, in ZONE_MOVABLE */
	int node;				/* the guest's own number; -1: not told */
	bool has_holders;			/* only where a forecast was wanted */
	struct snapshot_holders holders;
};

/* How its kernel onlines what is plugged: who has seen to it that it is what was asked for. */
enum agent_onlining {
	AGENT_ONLINING_LEFT,		/* nobody has asked for anything */
	AGENT_ONLINING_OWN,		/* the guest has it so by itself */
	AGENT_ONLINING_KEPT,		/* set by us, under a lease */
	AGENT_ONLINING_REFUSED,		/* by its agent or its kernel */
	AGENT_ONLINING_OVERRULED,	/* set by us, and changed in the guest since: left at that until its next boot */
	AGENT_ONLINING_COUNT
};
NAME_TABLE_DECLARE(agent_onlining);

/* The guest's own word (advice, never authority), from its agent's last report. */
struct snapshot_agent {
	enum agent_state state;
	char version[48];
	uint64_t features;
	uint64_t last_seen_ms;			/* wall clock; 0: never */
	char suspect_reason[64];
	char incompatible_reason[160];		/* who speaks which versions of the protocol, and the way out */
	bool reported;				/* the numbers below have been seen since it connected */
	bool overdue;				/* but when last asked it did not tell them in time */
	uint64_t memory_total_bytes, memory_free_bytes, memory_available_bytes;
	uint64_t normal_bytes, movable_bytes;	/* managed, by zone */
	uint64_t huge_free_bytes, huge_used_bytes;	/* of all pools; used counts reserved */
	uint64_t huge_floor_bytes;		/* what of those free the guest keeps */
	uint64_t gigantic_bytes;		/* in 1 GiB pages that are in use, reserved, or kept */
	uint64_t offline_bytes;			/* plugged, not onlined */
	uint64_t wrong_zone_bytes;		/* virtio-mem memory online in a kernel zone */
	uint64_t keep_bytes;			/* of what is available, left to the guest */
	uint64_t shrink_limit_bytes;		/* the guest's own floor for its whole memory; 0: none */
	uint64_t wanted_bytes;			/* it asks for so much memory in all; 0: for nothing */
	uint64_t shrink_most_bytes;		/* most that it lets go in one shrink; 0: no limit */
	bool veto;				/* the guest does not want to shrink now */
	bool udev_onlines;			/* a udev rule in it onlines memory too */
	char udev_rule[128];			/* the file that it stands in; empty: not told */
	int pressure_percent;			/* of the last 10 s some of its work waited for memory; -1: not told */
	char online_policy[24];			/* "offline", "online", "online_kernel", "online_movable", "auto-movable" */
	enum agent_onlining onlining;		/* said by the daemon */
	char repair[240];			/* what came of its last repair, in its words; empty: there was none */
	size_t region_count;			/* 0 where it told more than fit */
	struct snapshot_region regions[SNAPSHOT_DEVICES_MAX];
};

/* What is asked of a guest beyond what an operation asks for its own time. */
enum guest_online_policy {
	GUEST_ONLINE_POLICY_UNSET,	/* as the daemon's configuration says */
	GUEST_ONLINE_POLICY_LEAVE,
	GUEST_ONLINE_POLICY_MOVABLE,
	GUEST_ONLINE_POLICY_COUNT
};
NAME_TABLE_DECLARE(guest_online_policy);

/* Whether it is told to repair what was plugged without an operation. */
enum guest_zone_repair {
	GUEST_ZONE_REPAIR_UNSET,	/* as the daemon's configuration says */
	GUEST_ZONE_REPAIR_NO,
	GUEST_ZONE_REPAIR_YES,
	GUEST_ZONE_REPAIR_COUNT
};

enum guest_state { GUEST_STATE_RUNNING, GUEST_STATE_PAUSED, GUEST_STATE_SHUT_OFF, GUEST_STATE_OTHER, GUEST_STATE_COUNT };
NAME_TABLE_DECLARE(guest_state);

struct snapshot_guest {
	char uuid[SNAPSHOT_UUID_SIZE];
	char name[SNAPSHOT_NAME_SIZE];
	enum guest_state state;
	int pid;				/* of QEMU, 0 where not running */
	uint64_t start_time;			/* of that process, clock ticks since boot: tells reuse of a number */
	uint64_t boot_count;			/* grows with every reboot of the guest seen by the daemon */
	/* size */
	uint64_t base_bytes, max_bytes, current_bytes, requested_bytes;	/* whole memory, base included */
	size_t cell_count;
	struct snapshot_cell cells[SNAPSHOT_CELLS_MAX];
	size_t device_count;
	struct snapshot_device devices[SNAPSHOT_DEVICES_MAX];
	bool has_balloon, free_page_reporting;
	uint64_t balloon_bytes;
	/* placement */
	uint64_t node_bytes[SNAPSHOT_NODES_MAX];	/* resident, by page table */
	bool dimms_told;				/* the last survey told the DIMMs apart, and they all stand here */
	/*
	 * Of node_bytes: inside which DIMM. Where the survey was asked about ranges, the pieces that these cut of DIMMs, and
	 * of memory in none, are told apart from what remains of the DIMM. DIMMs with none are left out, pieces are not.
	 */
	size_t dimm_count;
	struct snapshot_guest_dimm {
		char id[SNAPSHOT_NAME_SIZE];		/* empty: a piece in no DIMM */
		uint64_t bytes;
		struct snapshot_range range;		/* of a piece; empty: all of the DIMM that is in none of its pieces */
		int node;				/* of a piece */
	} dimm_bytes[SNAPSHOT_GUEST_DIMMS_MAX];
	uint64_t swapped_bytes, unmapped_bytes;		/* unmapped: in the memfd, not in QEMU's page table */
	uint64_t resident_bytes;
	bool surveyed;					/* node_bytes have been seen */
	uint64_t surveyed_at_ms;
	/*
	 * Between surveys: the last survey carried on by what its cgroup's counters say has changed since; without a survey
	 * the counters as they are, which is about right.
	 */
	uint64_t overview_bytes[SNAPSHOT_NODES_MAX];
	uint64_t overview_at_ms;			/* 0: there is none */
	uint64_t counted_bytes[SNAPSHOT_NODES_MAX];	/* the counters when it was surveyed */
	bool counted;					/* they were there */
	bool hugetlb_counted;				/* the counters now have huge pages too: there is their controller */
	bool in_hugetlb, in_file;			/* by libvirt's XML, some of its memory: what counters do not always have */
	char unsurveyed[96];				/* why the last survey failed; empty: it did not */
	size_t backing_count;
	struct snapshot_backing backings[SNAPSHOT_BACKINGS_MAX];
	size_t huge_count;				/* sizes of its hugetlb parts; 0: it has none, or they are not told */
	struct snapshot_huge huges[SNAPSHOT_POOLS_MAX];
	enum policy_mode policy_mode;			/* of its RAM as the kernel says */
	uint64_t policy_nodes;
	bool policies_seen;				/* policy_* and those of the backings have been read of this process */
	bool policy_balancing;				/* with MPOL_F_NUMA_BALANCING, somewhere: a lazy move's own, for its time */
	bool policy_loose;				/* some of what is told as bound only prefers its nodes: a move's own, for its time */
	enum numatune_mode numatune_mode;
	uint64_t numatune_nodes;			/* live XML */
	uint64_t cpuset_given;				/* what libvirt gives its cpuset by that; 0: nothing */
	uint64_t stored_numatune_nodes;			/* persistent XML; 0: none */
	bool persistent;
	uint64_t cpuset_mems;				/* effective; 0 where there is no cpuset controller */
	uint64_t cpuset_limit;				/* what the groups above its own leave it; 0: they do not limit it */
	uint64_t cpu_nodes;				/* nodes its vCPUs may run on */
	bool cpus_pinned;				/* by live XML: a vCPU, or all by <vcpu cpuset> */
	char emulator_cpus[SNAPSHOT_CPUS_SIZE];		/* by live XML: what its emulator threads are pinned to; empty: they
							 * are not, or the list does not fit */
	uint64_t emulator_nodes;			/* the nodes of these */
	bool managed_by_ballast;			/* placement was changed round libvirt */
	uint64_t wanted_nodes;				/* where its last move left it to be; 0: it was not moved */
	uint64_t left_nodes;				/* what of it lies there has drifted, or was left by the move */
	char kept[160];					/* what was last done so that it stays so; empty: nothing */
	uint64_t kept_at_ms;
	/* what cannot move, known beforehand */
	uint64_t pinned_bytes;				/* held for long: passed-through devices, registered buffers */
	uint64_t private_bytes;				/* guest_memfd: in no page table of the host */
	bool encrypted;					/* SEV, TDX: pages are bound to where they lie */
	uint64_t transparent_huge_bytes;		/* of the resident: in transparent huge pages */
	size_t residency_count;				/* devices whose memory was told from the others' */
	struct snapshot_residency residencies[SNAPSHOT_DEVICES_MAX];
	size_t place_count;				/* of what residencies tell: which DIMM has it, the largest parts of all */
	struct snapshot_place places[SNAPSHOT_PLACES_MAX];
	bool shared_backing;				/* another process maps its memory too */
	uint64_t sharers_unlisted, sharers_unseen;	/* more than there is place for; could not be asked */
	size_t sharer_count;				/* of sharers: those that pin most */
	struct snapshot_sharer sharers[SNAPSHOT_SHARERS_MAX];
	struct snapshot_hindrance defined, seen;	/* libvirt's word and the last survey's: either counts */
	/* what forbids or hampers */
	bool locked, realtime, vfio, userfaultfd, migrating, unmovable;
	/* policy of its owner */
	uint64_t minimum_bytes, maximum_bytes;		/* 0: none */
	uint64_t request_limit_bytes;			/* up to this it may ask for more itself; 0: it may not */
	enum guest_online_policy online_policy;		/* how it shall online what is plugged */
	enum guest_zone_repair zone_repair;		/* whether it shall repair what came otherwise */
	int priority;
	uint64_t allowed_nodes;				/* 0: all */
	char policy_fault[128];				/* why it cannot be read, and then none of it counts; empty: it can */
	struct snapshot_agent agent;
};

/* What the drain of a hold does there, but for keeping others away. */
enum snapshot_hold_work {
	SNAPSHOT_HOLD_EMPTIES,	 /* it is at work, or has done it */
	SNAPSHOT_HOLD_CORDONS,	 /* nothing: who is there stays, and may come back */
	SNAPSHOT_HOLD_ANNOUNCED, /* nothing yet */
	SNAPSHOT_HOLD_STOPPED,	 /* it has ended before it was done */
};

/* A drain's claim on memory. Several may overlap. */
struct snapshot_hold {
	char drain[24];
	enum snapshot_hold_work work;
	int node;				/* whole node, or -1 */
	char dimm[SNAPSHOT_NAME_SIZE];		/* or a DIMM */
	size_t range_count;			/* always filled: what it covers */
	struct snapshot_range ranges[SNAPSHOT_RANGES_MAX];
};

/* The host's own programs that a drain runs, as they were when the host was looked at. */
struct snapshot_hooks {
	size_t count;				/* that would be run */
	char names[SNAPSHOT_HOOKS_TEXT_SIZE];	/* "10-cache, 20-database and 3 more" */
	char trouble[SNAPSHOT_HOOKS_TEXT_SIZE];	/* why others would not; empty: there are none */
};

/* A process of the host, or a guest's QEMU, that has memory pinned for long. */
struct snapshot_pinner {
	int pid;
	char name[16];
	uint64_t pinned_bytes;			/* by the kernel's count of the process: which pages they are nobody tells */
	uint64_t node_bytes[SNAPSHOT_NODES_MAX];	/* what its control group has there */
	bool has_nodes;				/* that is told: else any of it may be on any node */
};

struct snapshot_pinners {
	size_t count;
	struct snapshot_pinner items[SNAPSHOT_PINNERS_MAX];	/* those that have most pinned first */
	uint64_t unlisted, unlisted_bytes;	/* how many more, and what they have pinned */
	char untold[SNAPSHOT_HOOKS_TEXT_SIZE];	/* why they could not be looked for; empty: they could */
};

/* How long a reboot of this host usually takes. */
struct snapshot_reboot {
	uint32_t s;				/* 0: not known */
	bool is_configured;			/* somebody has said so; else as its own record tells */
};

struct snapshot {
	uint64_t revision;			/* grows with every look that changed something */
	uint64_t observed_at_ms;		/* wall clock */
	uint64_t block_bytes;
	uint64_t reserve_bytes;			/* of the whole host: stays free */
	struct measured_rates rates;		/* as operations on this host have shown */
	struct snapshot_reboot reboot;
	bool numa_balancing_off;		/* known to be: nothing pulls pages to the CPUs that touch them */
	bool hotplug_told;			/* what the firmware calls hot-pluggable is known, and the next as well */
	bool movable_node;			/* the kernel was booted so */
	bool safe_copy;				/* its copy of a page under migration survives an uncorrected memory error */
	struct snapshot_hooks hooks;
	struct snapshot_pinners pinners;	/* only where a look has asked for them; those of the last that did */
	char hotplug_stuck[256];		/* whom the kernel does not let go of, so that no block goes; empty: nobody */
	size_t node_count, block_count, dimm_count, controller_count, guest_count, hold_count, hint_count;
	struct snapshot_node *nodes;		/* owned */
	struct snapshot_block *blocks;		/* owned, by rising start */
	struct snapshot_dimm *dimms;		/* owned */
	struct snapshot_controller *controllers;	/* owned */
	struct snapshot_guest *guests;		/* owned */
	struct snapshot_hold *holds;		/* owned */
	struct snapshot_hint *hints;		/* owned */
};

/* NULL where memory is short. */
struct snapshot *snapshot_new(void);
struct snapshot *snapshot_copy(const struct snapshot *snapshot);
/*
 * Hands over what from has of blocks (and how they were booted), DIMMs and controllers, for what there was; from has none
 * then.
 */
void snapshot_take_blocks(struct snapshot *snapshot, struct snapshot *from);
struct snapshot *snapshot_free(struct snapshot *snapshot);
CLEANUP_DEFINE(struct snapshot *, snapshot_free)

/* Grow an array by one zeroed element and return it, or NULL. The pointers move: take none across calls. */
struct snapshot_node *snapshot_add_node(struct snapshot *snapshot);
struct snapshot_block *snapshot_add_block(struct snapshot *snapshot);
struct snapshot_dimm *snapshot_add_dimm(struct snapshot *snapshot);
struct snapshot_controller *snapshot_add_controller(struct snapshot *snapshot);
struct snapshot_guest *snapshot_add_guest(struct snapshot *snapshot);
struct snapshot_hold *snapshot_add_hold(struct snapshot *snapshot);
struct snapshot_hint *snapshot_add_hint(struct snapshot *snapshot);

/* NULL where there is none. A guest is found by UUID or by name. */
struct snapshot_node *snapshot_node(const struct snapshot *snapshot, int id);
struct snapshot_dimm *snapshot_dimm(const struct snapshot *snapshot, const char *id);
struct snapshot_guest *snapshot_guest(const struct snapshot *snapshot, const char *name_or_uuid);
struct snapshot_block *snapshot_block(const struct snapshot *snapshot, uint64_t id);

/*
 * Uncorrected errors that are known of the DIMM, also where not all of its slots are counted. 0: none is known, which does
 * not say that there were none.
 */
uint64_t snapshot_dimm_uncorrected(const struct snapshot_dimm *dimm);
/* Nothing of it is plugged in just now; also where there is none (NULL). */
bool snapshot_dimm_is_out(const struct snapshot_dimm *dimm);
/* Does the firmware have it, and the kernel no memory of it? So an eject leaves it that the firmware refuses. */
bool snapshot_dimm_is_detached(const struct snapshot_dimm *dimm);

/* How many CPUs the node's list names; 0 where it has none, or its list was too long to keep. */
unsigned snapshot_node_cpu_count(const struct snapshot_node *node);
/* The CPUs of a set of nodes, as a list, cut at a whole node where size is too small; empty where none of them has any. */
void snapshot_cpus_of_nodes(const struct snapshot *snapshot, uint64_t nodes, char *text, size_t size);
/*
 * The policy of one part of a guest's backing: that of all of it where it has one and the same, else the part's own. nodes
 * is 0 for a part without one.
 */
enum policy_mode snapshot_guest_part_policy(const struct snapshot_guest *guest, size_t part, uint64_t *ret_nodes);
/*
 * Whether its memory is onlined by a ratio (auto-movable): all that is not its kernel's own would be more than 3 to 1 movable,
 * so a part of what is plugged is meant to be in a kernel zone. What that would be with so much movable memory of so much
 * of the kernel's is snapshot_is_by_ratio().
 */
bool snapshot_agent_is_by_ratio(const struct snapshot_agent *agent);
bool snapshot_is_by_ratio(uint64_t movable_bytes, uint64_t normal_bytes);
/* Whether the guest is told to repair what was plugged otherwise. by_default: where its policy does not say. */
bool snapshot_guest_is_repaired(const struct snapshot_guest *guest, bool by_default);
/* Whether another process can set this part's policy: shared memory of a file that keeps it (mm/shmem.c shmem_set_policy). */
bool snapshot_backing_takes_policy(const struct snapshot_backing *part);
/* Of any of its parts. */
bool snapshot_guest_takes_policy(const struct snapshot_guest *guest);
/*
 * Where a memory device is in the guest-physical space: libvirt's word, or where it has none (before 9.4) the agent's,
 * if the size tells the device from the guest's others, or the cell from those of its size. 0: not known.
 */
uint64_t snapshot_guest_device_address(const struct snapshot_guest *guest, const struct snapshot_device *device);
/* What the agent reports of the device; NULL: nothing that could be told from the others'. */
const struct snapshot_region *snapshot_guest_region(const struct snapshot_guest *guest,
						    const struct snapshot_device *device);
/* How many units of unit_bytes cover a memory device: see struct snapshot_residency. unit_bytes and size_bytes are not 0. */
uint64_t snapshot_unit_count(uint64_t address, uint64_t size_bytes, uint64_t unit_bytes);
/* What the last survey told of the device by unit; NULL: nothing. */
const struct snapshot_residency *snapshot_guest_residency(const struct snapshot_guest *guest,
							  const struct snapshot_device *device);
/* The guest-physical range of one unit of it: cut where the device begins and ends. unit is below its count. */
struct snapshot_range snapshot_unit_range(const struct snapshot_residency *residency, size_t unit);
/* "A1, B1 and 14 more", as fits into size; empty where its slots are not told. */
void snapshot_dimm_slot_names(const struct snapshot_dimm *dimm, char *text, size_t size);
/* Is it a piece that was asked about? */
bool snapshot_guest_dimm_is_piece(const struct snapshot_guest_dimm *part);
/* Resident bytes of the guest inside this DIMM, its pieces included, as last surveyed; 0 where none were seen. */
uint64_t snapshot_guest_dimm_bytes(const struct snapshot_guest *guest, const char *dimm);
/* Whether that is known: of one that was not surveyed, or lies in more DIMMs than are kept, it is not. */
bool snapshot_guest_dimm_is_told(const struct snapshot_guest *guest, const struct snapshot_dimm *dimm);

/*
 * Resident bytes that do not lie where they should: off the nodes of the last move; or, where there was none, off those
 * that libvirt's XML binds it to. By the newer of survey and overview.
 */
uint64_t snapshot_guest_drift_bytes(const struct snapshot_guest *guest);
/* Resident bytes by node, by the newer of survey and overview; borrowed from the guest. */
const uint64_t *snapshot_guest_newest_bytes(const struct snapshot_guest *guest);

/* How many bytes the ranges have, none of which is named twice. */
uint64_t snapshot_ranges_bytes(const struct snapshot_range *ranges, size_t count);
/* How many bytes are in ranges of both lists, neither of which names any twice. */
uint64_t snapshot_ranges_shared(const struct snapshot_range *a, size_t a_count, const struct snapshot_range *b, size_t b_count);
/* Is any of the block between them, or in one of the ranges? */
bool snapshot_block_meets(const struct snapshot_block *block, uint64_t start, uint64_t end);
bool snapshot_block_is_in(const struct snapshot_block *block, const struct snapshot_range *ranges, size_t count);
/* Also what came to a whole node later: it may have more ranges than a hold can name. */
bool snapshot_hold_has(const struct snapshot_hold *hold, const struct snapshot_block *block);
/* Does it keep away only who is new there? Its drain has taken nothing away that is to stay away. */
bool snapshot_hold_only_cordons(const struct snapshot_hold *hold);
/* Nodes wholly or partly under a hold of another drain: nothing new goes there. */
uint64_t snapshot_held_nodes(const struct snapshot *snapshot, const char *except_drain);

#endif
