/* SPDX-License-Identifier: Apache-2.0 */
#include "connection.h"

static const char *const state_names[CONNECTION_STATE_COUNT] = {
	[CONNECTION_STATE_DOWN] = "down",
	[CONNECTION_STATE_UP] = "up",
};
NAME_TABLE_DEFINE(connection_state, state_names)

static const char *const domain_state_names[CONNECTION_DOMAIN_STATE_COUNT] = {
	[CONNECTION_DOMAIN_UNKNOWN] = "unknown",     [CONNECTION_DOMAIN_RUNNING] = "running",
	[CONNECTION_DOMAIN_PAUSED] = "paused",	     [CONNECTION_DOMAIN_SHUTDOWN] = "shutdown",
	[CONNECTION_DOMAIN_SHUTOFF] = "shutoff",     [CONNECTION_DOMAIN_CRASHED] = "crashed",
	[CONNECTION_DOMAIN_SUSPENDED] = "suspended",
};
NAME_TABLE_DEFINE(connection_domain_state, domain_state_names)

static const char *const event_names[CONNECTION_EVENT_KIND_COUNT] = {
	[CONNECTION_EVENT_UP] = "up",
	[CONNECTION_EVENT_DOWN] = "down",
	[CONNECTION_EVENT_GAP] = "gap",
	[CONNECTION_EVENT_DEFINED] = "defined",
	[CONNECTION_EVENT_UNDEFINED] = "undefined",
	[CONNECTION_EVENT_STARTED] = "started",
	[CONNECTION_EVENT_SUSPENDED] = "suspended",
	[CONNECTION_EVENT_RESUMED] = "resumed",
	[CONNECTION_EVENT_SHUTDOWN] = "shutdown",
	[CONNECTION_EVENT_STOPPED] = "stopped",
	[CONNECTION_EVENT_CRASHED] = "crashed",
	[CONNECTION_EVENT_PM_SUSPENDED] = "pm_suspended",
	[CONNECTION_EVENT_REBOOTED] = "rebooted",
	[CONNECTION_EVENT_MEMORY_SIZE_CHANGED] = "memory_size_changed",
	[CONNECTION_EVENT_BALLOON_CHANGED] = "balloon_changed",
	[CONNECTION_EVENT_DEVICE_ADDED] = "device_added",
	[CONNECTION_EVENT_DEVICE_REMOVED] = "device_removed",
	[CONNECTION_EVENT_DEVICE_REMOVAL_FAILED] = "device_removal_failed",
	[CONNECTION_EVENT_MIGRATION_ROUND] = "migration_round",
	[CONNECTION_EVENT_JOB_COMPLETED] = "job_completed",
	[CONNECTION_EVENT_METADATA_CHANGED] = "metadata_changed",
	[CONNECTION_EVENT_CALL_RETURNED] = "call_returned",
};
NAME_TABLE_DEFINE(connection_event_kind, event_names)

static const char *const outcome_names[CONNECTION_OUTCOME_COUNT] = {
	[CONNECTION_DONE] = "done",	      [CONNECTION_REFUSED] = "refused",
	[CONNECTION_NO_DOMAIN] = "no_domain", [CONNECTION_NOT_UP] = "not_up",
	[CONNECTION_TIMED_OUT] = "timed_out",
};
NAME_TABLE_DEFINE(connection_outcome, outcome_names)
