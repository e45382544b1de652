/* SPDX-License-Identifier: Apache-2.0 */
#include "wish.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const operation_kinds[OPERATION_KIND_COUNT] = {
	[OPERATION_KIND_RESIZE] = "resize", [OPERATION_KIND_MOVE] = "move",
	[OPERATION_KIND_DRAIN] = "drain",   [OPERATION_KIND_UNDRAIN] = "undrain",
	[OPERATION_KIND_CHECK] = "check",
};
NAME_TABLE_DEFINE(operation_kind, operation_kinds)

static const char *const timeouts[ON_TIMEOUT_COUNT] = {
	[ON_TIMEOUT_DEFAULT] = "default",
	[ON_TIMEOUT_STOP] = "stop",
	[ON_TIMEOUT_RESTORE] = "restore",
	[ON_TIMEOUT_CONTINUE] = "continue",
};
NAME_TABLE_DEFINE(on_timeout, timeouts)

static const char *const move_forms[MOVE_FORM_COUNT] = {
	[MOVE_FORM_TO] = "to",
	[MOVE_FORM_MAP] = "map",
	[MOVE_FORM_CELLS] = "cells",
	[MOVE_FORM_NEAR_CPUS] = "near_cpus",
};
NAME_TABLE_DEFINE(move_form, move_forms)

static const char *const move_orders[MOVE_ORDER_COUNT] = {
	[MOVE_ORDER_ANY] = "any",
	[MOVE_ORDER_COLD_FIRST] = "cold_first",
	[MOVE_ORDER_HOT_FIRST] = "hot_first",
};
NAME_TABLE_DEFINE(move_order, move_orders)

static const char *const drain_targets[DRAIN_TARGET_COUNT] = {
	[DRAIN_TARGET_DIMM] = "dimm",
	[DRAIN_TARGET_NODE] = "node",
	[DRAIN_TARGET_RANGE] = "range",
};
NAME_TABLE_DEFINE(drain_target, drain_targets)

static const char *const drain_finishes[DRAIN_FINISH_COUNT] = {
	[DRAIN_FINISH_CORDON] = "cordon",
	[DRAIN_FINISH_EMPTY] = "empty",
	[DRAIN_FINISH_OFFLINE] = "offline",
	[DRAIN_FINISH_EJECT] = "eject",
};
NAME_TABLE_DEFINE(drain_finish, drain_finishes)

void wish_init(struct wish *wish, enum operation_kind kind)
{
	memset(wish, 0, sizeof(*wish));
	wish->kind = kind;
	switch (kind) {
	case OPERATION_KIND_MOVE:
		memset(wish->move.map, -1, sizeof(wish->move.map));
		memset(wish->move.cells, -1, sizeof(wish->move.cells));
		break;
	case OPERATION_KIND_DRAIN:
	case OPERATION_KIND_UNDRAIN:
		wish->drain_wish.node = -1;
		break;
	case OPERATION_KIND_RESIZE:
	case OPERATION_KIND_CHECK:
	case OPERATION_KIND_COUNT:
		break;
	}
}

static void drain_target_text(const struct wish_drain *drain, char text[96])
{
	switch (drain->target) {
	case DRAIN_TARGET_DIMM:
		snprintf(text, 96, "dimm %s", drain->dimm);
		return;
	case DRAIN_TARGET_NODE:
		snprintf(text, 96, "node %d", drain->node);
		return;
	case DRAIN_TARGET_RANGE:
		snprintf(text, 96, "range 0x%" PRIx64 "-0x%" PRIx64, drain->range.start,
			 drain->range.end);
		return;
	case DRAIN_TARGET_COUNT:
		break;
	}
	snprintf(text, 96, "unknown");
}

const char *wish_target(const struct wish *wish, char text[96])
{
	switch (wish->kind) {
	case OPERATION_KIND_RESIZE:
	case OPERATION_KIND_MOVE:
		snprintf(text, 96, "guest %s", wish->guest);
		return text;
	case OPERATION_KIND_DRAIN:
	case OPERATION_KIND_UNDRAIN:
		drain_target_text(&wish->drain_wish, text);
		return text;
	case OPERATION_KIND_CHECK:
	case OPERATION_KIND_COUNT:
		break;
	}
	snprintf(text, 96, "host");
	return text;
}
