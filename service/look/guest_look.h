/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest as libvirt and the kernel show it, taken into the model. Pure: no I/O.
 */
#ifndef BALLAST_SERVICE_GUEST_LOOK_H
#define BALLAST_SERVICE_GUEST_LOOK_H

#include "connection.h"
#include "domain_xml.h"
#include "snapshot.h"
#include "worker_message.h"

/*
 * Sets everything of *guest that libvirt tells; what surveys and agents tell stays. live and stored may be NULL.
 * Devices, cells and DIMMs beyond the model's bounds are left out, and has_excess says so.
 */
void guest_look_take_domain(struct snapshot_guest *guest, const struct connection_domain *domain,
			    const struct domain_xml *live, const struct domain_xml *stored, bool *ret_has_excess);
/* Of a CPU list, the snapshot's nodes that have any of them. */
uint64_t guest_look_nodes_of_cpus(const struct snapshot *snapshot, const char *cpus);

/*
 * One that was made without policies keeps those that are known, where the guest has the same memory still. host: whose
 * DIMMs and pieces it was asked about (survey_parts.h).
 */
void guest_look_take_survey(struct snapshot_guest *guest, const struct worker_survey *survey, const struct snapshot *host,
			    uint64_t now_ms);
/* Must its next survey read its policies? */
bool guest_look_needs_policies(const struct snapshot_guest *guest);
/*
 * Between surveys: counted_bytes are its cgroup's counters now. Where it was never surveyed they stand for the survey,
 * which nothing else does; they do not where they lack what the guest's memory is of: plain files, and hugetlb where its
 * controller does not count it (has_hugetlb).
 */
void guest_look_take_counters(struct snapshot_guest *guest, const uint64_t counted_bytes[SNAPSHOT_NODES_MAX],
			      bool has_hugetlb, uint64_t now_ms);
/*
 * It could not be surveyed. Where it is known roughly all the same, by counters or by an earlier survey, it stays that,
 * not told by DIMM, and is not to be moved: true. Else nothing is known of it: false.
 */
bool guest_look_take_failed_survey(struct snapshot_guest *guest, const char *reason);
/* Forgets what a survey told: the process is gone or another one. */
void guest_look_drop_survey(struct snapshot_guest *guest);
/* The RAM regions of the guest, for a job that must find them in its process. */
void guest_look_ram_sizes(const struct snapshot_guest *guest, struct worker_job *job);

#endif
