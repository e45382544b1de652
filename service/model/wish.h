/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a caller asked for: the input of an operation, kept unchanged for its whole life and in the journal.
 */
#ifndef BALLAST_SERVICE_WISH_H
#define BALLAST_SERVICE_WISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "name_table.h"
#include "snapshot.h"

enum operation_kind {
	OPERATION_KIND_RESIZE, OPERATION_KIND_MOVE, OPERATION_KIND_DRAIN, OPERATION_KIND_UNDRAIN, OPERATION_KIND_CHECK,
	OPERATION_KIND_COUNT
};
NAME_TABLE_DECLARE(operation_kind);

enum on_timeout { ON_TIMEOUT_DEFAULT, ON_TIMEOUT_STOP, ON_TIMEOUT_RESTORE, ON_TIMEOUT_CONTINUE, ON_TIMEOUT_COUNT };
NAME_TABLE_DECLARE(on_timeout);

/* Per device where device_count > 0, else the whole memory (base included). */
struct wish_resize {
	uint64_t target_bytes;
	size_t device_count;
	struct {
		char alias[SNAPSHOT_NAME_SIZE];
		uint64_t requested_bytes;
	} devices[SNAPSHOT_DEVICES_MAX];
	size_t range_count;			/* guest-physical ranges that must be what leaves */
	struct snapshot_range ranges[SNAPSHOT_RANGES_MAX];
	unsigned work_percent;			/* a shrink: of the time the guest is worked on; 0: all of it */
};

enum move_form { MOVE_FORM_TO, MOVE_FORM_MAP, MOVE_FORM_CELLS, MOVE_FORM_NEAR_CPUS, MOVE_FORM_COUNT };
NAME_TABLE_DECLARE(move_form);

/* Which pages of a guest go first. Cold and hot as the kernel has seen them touched, where it can tell. */
enum move_order { MOVE_ORDER_ANY, MOVE_ORDER_COLD_FIRST, MOVE_ORDER_HOT_FIRST, MOVE_ORDER_COUNT };
NAME_TABLE_DECLARE(move_order);

struct wish_move {
	enum move_form form;
	uint64_t to_nodes;			/* MOVE_FORM_TO */
	int8_t map[SNAPSHOT_NODES_MAX];		/* MOVE_FORM_MAP: host node -> host node, -1 stays */
	int8_t cells[SNAPSHOT_CELLS_MAX];	/* MOVE_FORM_CELLS: guest cell -> host node, -1 stays */
	bool cpus, persist, lazy;
	enum move_order order;
	uint64_t budget_bytes_per_s;		/* for each pair of source and destination; 0: none */
	uint32_t budget_stall_us;		/* 0: the configured default */
	/*
	 * A drain's child, with MOVE_FORM_MAP: of the sources only what lies in these host-physical ranges, and only for a
	 * while. Policies and the nodes that the guest may use stay as they are, but for what its pages need to go and come.
	 */
	size_t range_count;
	struct snapshot_range ranges[SNAPSHOT_RANGES_MAX];
};

enum drain_target { DRAIN_TARGET_DIMM, DRAIN_TARGET_NODE, DRAIN_TARGET_RANGE, DRAIN_TARGET_COUNT };
NAME_TABLE_DECLARE(drain_target);

enum drain_finish {
	DRAIN_FINISH_CORDON, DRAIN_FINISH_EMPTY, DRAIN_FINISH_OFFLINE, DRAIN_FINISH_EJECT, DRAIN_FINISH_COUNT
};
NAME_TABLE_DECLARE(drain_finish);

struct wish_drain {
	enum drain_target target;
	char dimm[SNAPSHOT_NAME_SIZE];
	int node;
	struct snapshot_range range;
	enum drain_finish finish;
	char reason[128];
	uint64_t not_before_ms;			/* wall clock; 0: now */
	bool persist;				/* also change stored XML of the guests that move */
};

struct wish {
	enum operation_kind kind;
	char guest[SNAPSHOT_UUID_SIZE];		/* resize, move: the UUID */
	char drain[24];				/* drain: its own id; undrain: whose; else empty */
	uint32_t allow;				/* mask of consents */
	uint32_t timeout_s;			/* 0: the default for the kind */
	enum on_timeout on_timeout;
	bool keep;				/* undrain: for good. What the drain has changed stays as it is, and only the hold goes */
	union {
		struct wish_resize resize;
		struct wish_move move;
		struct wish_drain drain_wish;	/* drain; undrain: a copy of the drain's */
	};
};

/* A zeroed wish of this kind with the fields whose "none" is not zero set (node, map and cells -1). */
void wish_init(struct wish *wish, enum operation_kind kind);

/* "guest g1", "dimm acpi-MP00", "node 3", "range 0x…-0x…", "host": for people and for locks. Returns text. */
const char *wish_target(const struct wish *wish, char text[96]);

#endif
