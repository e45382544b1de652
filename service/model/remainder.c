/* SPDX-License-Identifier: Apache-2.0 */
#include "remainder.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One row per code: its name, what it means, and what a reader can usually do about it. */
static const struct {
	const char *name, *meaning, *way_out;
} codes[REMAINDER_CODE_COUNT] = {
	[REMAINDER_NONE] = {"none", "Nothing stayed.", ""},
	[REMAINDER_HUGE_PAGES_IN_USE] = {"huge_pages_in_use",
					 "Huge pages that the guest uses or has reserved lie in "
					 "the memory that should leave.",
					 "stop the user or lower nr_hugepages in the guest"},
	[REMAINDER_GIGANTIC_PAGES] =
		{"gigantic_pages",
		 "1 GiB pages lie in the memory that should leave; they make unplug fail at once.",
		 "free the 1 GiB pages"},
	[REMAINDER_PINNED] = {"pinned", "Pages are pinned and cannot be migrated.",
			      "stop what pins it, or have it let go"},
	[REMAINDER_KERNEL_ZONE] =
		{"kernel_zone",
		 "Memory was onlined into a zone in which the guest's kernel keeps its own data.",
		 "set auto_online_blocks to online_movable in the guest and reboot it"},
	[REMAINDER_BELOW_FLOOR] = {"below_floor",
				   "The size is below what the guest needs or its owner allows.",
				   "ask for a larger size or lower the floor"},
	[REMAINDER_VETOED] = {"vetoed", "The guest does not want to shrink now.",
			      "try again later"},
	[REMAINDER_NOT_ONLINED] = {"not_onlined",
				   "Memory is plugged, but was not onlined.",
				   "online the blocks, or of a guest run the agent there"},
	[REMAINDER_WRONG_ZONE] =
		{"wrong_zone", "Memory was onlined into a zone from which it cannot leave again.",
		 "offline the blocks in the guest and online them as online_movable"},
	[REMAINDER_GUEST_BUSY] = {"guest_busy",
				  "The guest's memory is in use and did not become free in time.",
				  "try again when the guest needs less"},
	[REMAINDER_GUEST_PRESSURE] =
		{"guest_pressure",
		 "The guest is under memory pressure, so no more was reclaimed from its work.",
		 "try again when the guest needs less, or allow more pressure in its agent's "
		 "configuration"},
	[REMAINDER_HOOK_FAILED] = {"hook_failed",
				   "A hook, of the guest or of the host, failed or did not end in its time.",
				   "look at the hook; a guest's has its word in the log of ballast-agent, too"},
	[REMAINDER_NO_AGENT] =
		{"no_agent",
		 "No agent is connected in the guest, so nothing can be prepared there.",
		 "run ballast-agent in the guest"},
	[REMAINDER_AGENT_LOST] = {"agent_lost", "The agent stopped answering during the operation.",
				  "look at ballast-agent in the guest, then ask again"},
	[REMAINDER_GUEST_REBOOTED] = {"guest_rebooted", "The guest rebooted during the operation.",
				      "ask again"},
	[REMAINDER_GUEST_GONE] = {"guest_gone", "The guest is not running any more.",
				  "start the guest, then ask again"},
	[REMAINDER_DRIVER_STALLED] =
		{"driver_stalled",
		 "The guest's virtio-mem driver stopped before the wished size was reached.",
		 "ask again: that wakes the driver"},
	[REMAINDER_SUPERSEDED] = {"superseded",
				  "Somebody else asked for another size during the operation, and that stands.",
				  "ask again if it shall not stand"},
	[REMAINDER_PAGE_BUSY] = {"page_busy",
				 "Pages could not be isolated or were busy at each attempt.",
				 "ask again when the guest is quieter"},
	[REMAINDER_NOT_MIGRATABLE] = {"not_migratable", "Pages are of a kind that the kernel does not move.",
				      "shut the guest down and start it where it belongs"},
	[REMAINDER_NOT_TRIED] = {"not_tried", "No attempt to move the pages came to its end.", "ask again"},
	[REMAINDER_CAME_MEANWHILE] = {"came_meanwhile",
				      "Memory has come there after the rest had been looked at.",
				      "ask again, with the vCPUs if it comes where they run"},
	[REMAINDER_NO_ROOM] = {"no_room", "There is not enough free memory at the destination.",
			       "free memory there or choose another node"},
	[REMAINDER_NOT_PERMITTED] = {"not_permitted", "The kernel refused to move the pages there.",
				     "look at the cpuset of the guest"},
	[REMAINDER_NOT_MAPPED] = {"not_mapped",
				  "Pages are in the guest's memory file but not mapped by QEMU.",
				  "ask again"},
	[REMAINDER_SWAPPED] =
		{"swapped", "Pages are swapped out; they return to a node when they are touched.",
		 "make the guest touch them or turn swap off"},
	[REMAINDER_VFIO_PINNED] = {"vfio_pinned",
				   "A passed-through device pins the guest's memory.",
				   "detach the device or stop the guest; what is virtio-mem can leave, with the agent in the guest"},
	[REMAINDER_USERFAULTFD] = {"userfaultfd", "The guest's memory is served by a userfaultfd.",
				   "wait until the post-copy or snapshot is over"},
	[REMAINDER_MIGRATION_JOB] = {"migration_job", "A migration of the guest is under way.",
				     "wait until the migration is over"},
	[REMAINDER_CPUSET_CANNOT_CHANGE] =
		{"cpuset_cannot_change",
		 "The guest's cpuset does not allow the destination and cannot be changed.",
		 "allow the node in the guest's cpuset"},
	[REMAINDER_POLICY_WOULD_SHIFT] =
		{"policy_would_shift",
		 "Changing the cpuset would make the kernel rewrite the guest's policies to other "
		 "nodes.",
		 "allow policy_shift or choose a destination inside the cpuset"},
	[REMAINDER_POLICY_NOT_SETTABLE] =
		{"policy_not_settable", "No policy can be set from outside on memory of this kind.",
		 "restart the guest with the wished numatune"},
	[REMAINDER_AUTONUMA_MAY_RETURN] = {"autonuma_may_return",
					   "The memory has no policy: automatic NUMA balancing may "
					   "pull it to the node of its CPUs.",
					   "move the vCPUs too, or turn kernel.numa_balancing off"},
	[REMAINDER_REMOTE_MEMORY] = {"remote_memory", "The memory goes farther from the vCPUs, which are pinned.",
				     "move the vCPUs too, or allow remote_memory"},
	[REMAINDER_ENCRYPTED] = {"encrypted",
				 "The guest's memory is encrypted and bound to where it lies.",
				 "shut the guest down and start it where it belongs"},
	[REMAINDER_PRIVATE_MEMORY] =
		{"private_memory",
		 "The memory is the guest's alone (guest_memfd) and in no page table of the host.",
		 "shut the guest down and start it where it belongs"},
	[REMAINDER_WOULD_SPLIT] =
		{"would_split",
		 "Transparent huge pages would be split for want of whole ones at the destination.",
		 "free or compact memory there, or allow split_huge_pages"},
	[REMAINDER_ORDER_NOT_KEPT] = {"order_not_kept",
				      "The kernel does not tell which pages are in use: they were moved by address.",
				      "boot a kernel with idle page tracking or soft-dirty"},
	[REMAINDER_COPIED_SOONER] = {"copied_sooner",
				     "Memory that is free in the guest is copied, because that is sooner done than sparing it.",
				     "nothing"},
	[REMAINDER_NO_KERNEL_MEMORY] = {"no_kernel_memory",
					"The guest's nodes have movable memory alone: at a reset KVM may find no memory for its vCPUs.",
					"allow it a node with kernel memory too"},
	[REMAINDER_HOME_UNKNOWN] = {"home_unknown",
				    "Which of several nodes each of the pages was on is not known any more: they were left where they are.",
				    "move the guest to where it shall be"},
	[REMAINDER_KERNEL_MEMORY] = {"kernel_memory",
				     "The kernel keeps its own memory there and cannot move it.",
				     "drain other memory; how zones are cut is decided at boot (movable_node, kernelcore=)"},
	[REMAINDER_NOT_MOVABLE] = {"not_movable",
				   "The block spans zones or nodes and can never go offline.",
				   "drain other memory; how zones are cut is decided at boot (movable_node, kernelcore=)"},
	[REMAINDER_BLOCK_BUSY] = {"block_busy", "The block did not go offline.",
				  "ask again later; ballastctl holders tells who has memory there"},
	[REMAINDER_HOST_PROCESS] = {"host_process", "A process of the host holds memory there.",
				    "stop it, or have it let go of that memory"},
	[REMAINDER_UNKNOWN_PAGES] = {"unknown_pages",
				     "Pages of which the kernel tells no kind: on their way, a driver's, or ready on a processor's list.",
				     "ask again: what was on its way is elsewhere by then"},
	[REMAINDER_POISONED] = {"poisoned", "The kernel took the memory out of use after a memory error.",
				"nothing: it keeps no block; replace the DIMM"},
	[REMAINDER_UNCORRECTED_ERRORS] =
		{"uncorrected_errors",
		 "Memory with uncorrected errors would be copied, and to read one of them there may stop the host.",
		 "unplug it from its guests, which reads nothing of it, or allow may_crash_host"},
	[REMAINDER_WRITEBACK] = {"writeback",
				 "Pages there are written to a device that does not finish: to wait for it could hang all hotplug of the host.",
				 "look at the device that they are written to; ask again when it answers"},
	[REMAINDER_NO_CPUSET] = {"no_cpuset",
				 "The worker is in no cpuset of the planned nodes: the kernel would have chosen where pages go.",
				 "see to it that cgroups can be made in /sys/fs/cgroup (v2), with the cpuset controller; then ask again"},
	[REMAINDER_GUEST_MEMORY] = {"guest_memory", "A guest's memory lies there.",
				    "move the guest, or drain"},
	[REMAINDER_NOT_SURVEYED] = {"not_surveyed",
				    "It could not be seen whose memory lies there, or where the guest's lies.",
				    "ask again; the cause stands in the detail"},
	[REMAINDER_INTERLEAVED] = {"interleaved", "The memory is interleaved with other DIMMs.",
				   "drain the whole interleave set"},
	[REMAINDER_NOT_EJECTABLE] = {"not_ejectable", "The firmware offers no eject for it.",
				     "drain it with --offline and pull it with the power off"},
	[REMAINDER_EJECT_FAILED] = {"eject_failed",
				    "The eject was asked for, but the device is still there.",
				    "look at the kernel's log"},
	[REMAINDER_EJECT_REFUSED] = {"eject_refused",
				     "The firmware kept the device after the kernel had taken its memory away.",
				     "look at the board's log; its memory is back once the firmware announces the device again, or after a reboot"},
	[REMAINDER_HUGE_PAGE_POOL] = {"huge_page_pool",
				      "The host's huge page pool holds pages there.",
				      "lower nr_hugepages of the node"},
	[REMAINDER_SLICE_CPUSET] = {"slice_cpuset",
				    "The cpuset of a slice could not lose the nodes of a drain, or get them back.",
				    "look at AllowedMemoryNodes of the slice in systemctl show, and at its cpuset.mems"},
	[REMAINDER_HELD] = {"held", "A drain holds this memory.",
			    "wait for the drain or undrain it"},
	[REMAINDER_KEPT] = {"kept", "A drain has changed it and was given up: it stays so.",
			    "change it by hand where it is not wanted so"},
	[REMAINDER_CONSENT_REQUIRED] = {"consent_required",
					"It does harm to which the caller has not agreed.",
					"agree with --allow"},
	[REMAINDER_STORED_XML] = {"stored_xml",
				  "What libvirt has stored for the guest no longer fits.",
				  "change it with --persist"},
	[REMAINDER_DEADLINE] = {"deadline", "Time ran out.", "ask again with a longer timeout"},
	[REMAINDER_CANCELLED] = {"cancelled", "It was cancelled.", "ask again"},
	[REMAINDER_WORKER_DIED] = {"worker_died",
				   "The worker process ended before its work was done.",
				   "ask again"},
	[REMAINDER_KERNEL_STUCK] =
		{"kernel_stuck", "A kernel call does not return and no signal reaches it.",
		 "look at the kernel's log; the host's memory and CPU hotplug hang until it ends"},
	[REMAINDER_LIBVIRT_REFUSED] = {"libvirt_refused", "libvirt refused the change.",
				       "look at libvirt's log"},
	[REMAINDER_LIBVIRT_DOWN] = {"libvirt_down", "libvirt cannot be reached.", "start libvirtd"},
	[REMAINDER_RESTARTED] = {"restarted", "The daemon was restarted during the step.",
				 "ask again"},
	[REMAINDER_CHANGED_SINCE] =
		{"changed_since", "Somebody else has changed since what would be put back: it was left as it is.",
		 "move the guest to where it shall be"},
	[REMAINDER_UNDO_FAILED] = {"undo_failed", "What had been changed could not be put back.",
				   "look at the step and put it back by hand"},
	[REMAINDER_UNKNOWN_TARGET] = {"unknown_target", "There is no such thing on this host.",
				      "list what there is"},
	[REMAINDER_INVALID] = {"invalid", "The wish makes no sense here.", ""},
};

static const char *const consents[CONSENT_COUNT] = {
	[CONSENT_SHRINK_GUESTS] = "shrink_guests",
	[CONSENT_REMOTE_MEMORY] = "remote_memory",
	[CONSENT_SPLIT_HUGE_PAGES] = "split_huge_pages",
	[CONSENT_GIGANTIC_PAGES] = "gigantic_pages",
	[CONSENT_LOCKED_GUESTS] = "locked_guests",
	[CONSENT_STORED_XML] = "stored_xml",
	[CONSENT_POLICY_SHIFT] = "policy_shift",
	[CONSENT_MAY_CRASH_HOST] = "may_crash_host",
};

NAME_TABLE_DEFINE(consent, consents)

/* The names stand in rows with other columns, so that the usual definition does not fit. */
const char *remainder_code_name(enum remainder_code value)
{
	if ((int)value < 0 || value >= REMAINDER_CODE_COUNT || !codes[value].name)
		return "unknown";
	return codes[value].name;
}

int remainder_code_from_name(const char *text)
{
	for (int i = 0; i < REMAINDER_CODE_COUNT; i++)
		if (codes[i].name && strcmp(codes[i].name, text) == 0)
			return i;
	return -1;
}

const char *remainder_code_meaning(enum remainder_code code)
{
	if ((int)code < 0 || code >= REMAINDER_CODE_COUNT || !codes[code].meaning)
		return "";
	return codes[code].meaning;
}

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

/* Makes one entry of two with the same code, so that the sum of bytes stays true. */
static void merge(struct remainder *into, const struct remainder *from)
{
	if (strcmp(into->object, from->object) != 0)
		copy(into->object, sizeof(into->object), "several");
	if (strcmp(into->detail, from->detail) != 0)
		copy(into->detail, sizeof(into->detail), "several; the list was too long");
	into->bytes += from->bytes;
}

static bool same_kind(const struct remainder *a, const struct remainder *b)
{
	return a->code == b->code && a->consent == b->consent;
}

/* Frees the last slot by merging it, or another pair, by code. The last resort mixes codes, never
 * bytes. */
static void make_room(struct remainder_list *list)
{
	for (size_t i = list->count; i-- > 1;) {
		for (size_t j = i; j-- > 0;) {
			if (!same_kind(&list->items[i], &list->items[j]))
				continue;
			merge(&list->items[j], &list->items[i]);
			memmove(&list->items[i], &list->items[i + 1],
				(list->count - i - 1) * sizeof(list->items[0]));
			list->count--;
			return;
		}
	}
	merge(&list->items[list->count - 2], &list->items[list->count - 1]);
	list->count--;
}

static struct remainder *insert(struct remainder_list *list, const struct remainder *entry)
{
	for (size_t i = 0; i < list->count; i++) {
		struct remainder *old = &list->items[i];

		if (same_kind(old, entry) && strcmp(old->object, entry->object) == 0 &&
		    strcmp(old->detail, entry->detail) == 0) {
			old->bytes += entry->bytes;
			return old;
		}
	}
	if (list->count == REMAINDER_LIST_MAX) {
		for (size_t i = list->count; i-- > 0;) {
			if (same_kind(&list->items[i], entry)) {
				merge(&list->items[i], entry);
				return &list->items[i];
			}
		}
		make_room(list);
	}
	list->items[list->count] = *entry;
	return &list->items[list->count++];
}

void remainder_set(struct remainder *remainder, enum remainder_code code, const char *object, uint64_t bytes,
		   const char *way_out, const char *detail, va_list arguments)
{
	*remainder = (struct remainder){.code = code, .bytes = bytes, .consent = -1};
	copy(remainder->object, sizeof(remainder->object), object);
	copy(remainder->way_out, sizeof(remainder->way_out), way_out ? way_out : codes[code].way_out);
	vsnprintf(remainder->detail, sizeof(remainder->detail), detail, arguments);
}

static struct remainder *add(struct remainder_list *list, enum remainder_code code, int consent,
			     const char *object, uint64_t bytes, const char *way_out,
			     const char *detail, va_list arguments) PRINTF_LIKE(7, 0);

static struct remainder *add(struct remainder_list *list, enum remainder_code code, int consent,
			     const char *object, uint64_t bytes, const char *way_out,
			     const char *detail, va_list arguments)
{
	struct remainder entry;

	remainder_set(&entry, code, object, bytes, way_out, detail, arguments);
	entry.consent = consent;
	return insert(list, &entry);
}

struct remainder *remainder_list_add(struct remainder_list *list, enum remainder_code code,
				     const char *object, uint64_t bytes, const char *way_out,
				     const char *detail, ...)
{
	struct remainder *entry;
	va_list arguments;

	va_start(arguments, detail);
	entry = add(list, code, -1, object, bytes, way_out, detail, arguments);
	va_end(arguments);
	return entry;
}

struct remainder *remainder_list_add_consent(struct remainder_list *list, enum remainder_code code,
					     enum consent consent, const char *object,
					     uint64_t bytes, const char *detail, ...)
{
	struct remainder *entry;
	char way_out[64];
	va_list arguments;

	snprintf(way_out, sizeof(way_out), "agree with --allow %s", consent_name(consent));
	va_start(arguments, detail);
	entry = add(list, code, (int)consent, object, bytes, way_out, detail, arguments);
	va_end(arguments);
	return entry;
}

void remainder_list_add_copy(struct remainder_list *list, const struct remainder *remainder)
{
	insert(list, remainder);
}

void remainder_list_append(struct remainder_list *list, const struct remainder_list *more)
{
	for (size_t i = 0; i < more->count; i++)
		insert(list, &more->items[i]);
}

void remainder_list_recode(struct remainder_list *list, enum remainder_code from, enum remainder_code to,
			   const char *detail)
{
	struct remainder_list told = {0};

	for (size_t i = 0; i < list->count; i++) {
		const struct remainder *one = &list->items[i];

		if (one->code == from)
			remainder_list_add(&told, to, one->object, one->bytes, NULL, "%s", detail);
		else
			insert(&told, one);
	}
	*list = told;
}

uint64_t remainder_list_bytes(const struct remainder_list *list)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < list->count; i++)
		bytes += list->items[i].bytes;
	return bytes;
}

bool remainder_code_is_unseen(enum remainder_code code)
{
	return code == REMAINDER_NOT_MAPPED || code == REMAINDER_SWAPPED;
}

bool remainder_list_has(const struct remainder_list *list, enum remainder_code code)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].code == code)
			return true;
	return false;
}
