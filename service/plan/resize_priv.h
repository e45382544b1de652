/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of a resize share: the operation under planning, and the steps that more than one part decides.
 */
#ifndef BALLAST_SERVICE_RESIZE_PRIV_H
#define BALLAST_SERVICE_RESIZE_PRIV_H

#include "plan_priv.h"

#define RESIZE_AGENT_STEP_MS 30000	/* freeing huge pages, compacting: seconds even in large guests */

/* Texts of requests: back to the size before; what is offline of named ranges; less of a device that is stuck, and more of
 * another for it. */
#define RESIZE_RESTORE_MARK "restore"
#define RESIZE_NAMED_MARK   "named"
#define RESIZE_STUCK_MARK   "stuck"
#define RESIZE_SHIFT_MARK   "shift"
/* Text of a request that somebody else had made before the operation began. */
#define RESIZE_STOOD_MARK   "stood"
/* Text of what is asked for at the end, to stand when the operation is over. */
#define RESIZE_STAND_MARK   "stand"
/* Text of an await that is for the agent to be heard of. */
#define RESIZE_AGENT_MARK   "agent"
/* Text of a commit after which the ladder goes on under another lease. */
#define RESIZE_AGAIN_MARK   "again"

struct resize {
	const struct plan_input *input;
	const struct snapshot_guest *guest;
	struct decision *decision;
	uint64_t targets[SNAPSHOT_DEVICES_MAX];
	uint64_t shrink_gap, grow_gap;	/* bytes still to go, over the devices */
	uint64_t withheld_bytes;	/* of what was wished: more than the guest lets go at once, and not asked for */
	bool is_revoked;		/* the guest, or its policy, has come to allow less than was wished, or asked for */
};

/* resize_targets.c: requests of this operation for the device that are not ones of restoring; NULL: none. */
const struct step_record *resize_first_request(const struct plan_input *input, const char *alias);
/* The last one that asked for the device's whole goal. */
const struct step_record *resize_goal_request(const struct plan_input *input, const char *alias);
/* The device's size before its first request. */
uint64_t resize_before(const struct plan_input *input, const struct snapshot_guest *guest,
		       const struct snapshot_device *device);
/*
 * The least size that the guest lets itself be shrunk to at once, of what it had when the operation began, so that no step
 * earns it another allowance; 0: any.
 */
uint64_t resize_least_bytes(const struct plan_input *input, const struct snapshot_guest *guest);
/* How far these targets stay above the wish for that. Devices that are named keep their sizes, or the wish is refused. */
uint64_t resize_withheld_bytes(const struct plan_input *input, const struct snapshot_guest *guest,
			       const uint64_t targets[SNAPSHOT_DEVICES_MAX]);
/* How much of the device lies in the wish's ranges. */
uint64_t resize_named_bytes(const struct plan_input *input, const struct snapshot_guest *guest,
			    const struct snapshot_device *device);
/*
 * How much of it stays for 1 GiB pages in a kernel zone of it, beside these and what the kernel uses: the driver takes such
 * a page for want of memory and gives up (mm/hugetlb.c, isolate_or_dissolve_huge_page: -ENOMEM), and no agent takes blocks
 * of a kernel zone offline. What lies above the page may leave all the same. 0 where it is not known what is in the blocks.
 */
uint64_t resize_behind_gigantic_bytes(const struct snapshot_agent *agent, const struct snapshot_region *region);
/* How much of it can leave at most: what lies in a kernel zone cannot. */
uint64_t resize_device_gives(const struct snapshot_guest *guest, const struct snapshot_device *device);
/* How much of the device's share others could give instead of it; 0 where the wish names devices. */
uint64_t resize_shift_bytes(const struct plan_input *input, const struct snapshot_guest *guest,
			    const uint64_t targets[SNAPSHOT_DEVICES_MAX], size_t device);

/* resize_forecast.c: what is known beforehand of a shrink. false: nothing is, or it is none. */
struct resize_forecast {
	size_t device_count;
	struct plan_leave devices[SNAPSHOT_DEVICES_MAX];	/* those that are to shrink; the balloon as one */
	uint64_t asked_bytes, leaves_bytes;
	uint64_t withheld_bytes;		/* beyond what is asked for: as in struct resize */
	uint64_t kernel_bytes, pinned_bytes;	/* of those that stay: in kernel zones; held by somebody */
};
bool resize_forecast(const struct plan_input *input, const struct snapshot_guest *guest,
		     struct resize_forecast *ret_forecast);
/*
 * What could be taken of the guest now without anybody in it going short; UINT64_MAX: nobody in it has ever told. 0 while
 * its agent is silent.
 */
uint64_t resize_covered_bytes(const struct plan_input *input, const struct snapshot_guest *guest);
/* resize_remainder.c: why what is still to go stays; the entries' bytes sum up to exactly that. */
void resize_remainder(const struct resize *resize, struct remainder_list *list);
/* Why what a forecast leaves, and what is not asked for, would stay; the same of the sum. */
void resize_remainder_forecast(const struct plan_input *input, const struct snapshot_guest *guest,
			       const struct resize_forecast *forecast, struct remainder_list *list);

/*
 * resize_rungs.c. A rung is open that was never taken, or was cut short by a restart, or since whose last run another one, or
 * waiting, has gained; device may be NULL.
 */
bool resize_rung_is_open(const struct plan_input *input, enum step_kind kind, const char *device);
/* So many steps that no honest guest needs more. */
bool resize_is_worn_out(const struct plan_input *input);
/* The last step since the request after which the driver may find what it did not find before, or -1. */
long resize_last_work(const struct plan_input *input);
/* Each true where a step was decided: for so many bytes, where the agent can and the rung is open. */
bool resize_agent_rung_next(struct resize *resize, enum step_kind kind, enum agent_feature feature, uint64_t bytes);
bool resize_free_huge_pages_next(struct resize *resize, uint64_t deficit_bytes);
bool resize_hooks_next(struct resize *resize);
bool resize_compact_next(struct resize *resize);
/*
 * What leaves needs as much free memory elsewhere, and a sixteenth for the watermarks, and must be covered: what is lacking
 * of that.
 */
bool resize_reclaim_next(struct resize *resize);
/*
 * Before the request: what free memory does not cover must come out of the pools, and a sixteenth more, because the
 * kernel's watermarks keep some of what counts as available; then the guest's own hooks may let go of something.
 */
bool resize_prepare_next(struct resize *resize);
/* For so long at most, or until the deadline. */
void resize_emit_await(struct resize *resize, uint64_t ms);
/* Nothing is left to try: until something changes, as long as there is time. */
bool resize_await_next(struct resize *resize);
/*
 * There is an agent that could tell what the guest can spare, but it does not just now: it has worked in this operation, or
 * was heard of lately, or before that and has not been waited for. Whom nobody has heard of is no agent.
 */
bool resize_agent_is_silent(const struct plan_input *input, const struct snapshot_guest *guest);
/* A rung of this operation was the agent's. */
bool resize_agent_worked(const struct plan_input *input);
/* True where the agent is silent and an await for it was decided: one only where all was requested by somebody else. */
bool resize_silence_next(struct resize *resize);
/* True where all that is still to leave was requested by somebody else: a kick then asks no more of the guest than he did. */
bool resize_stood_before(const struct plan_input *input, const struct snapshot_guest *guest);
/* Before a rung or a kick: true where none may be now, and an await was decided. */
bool resize_wait_next(struct resize *resize);
bool resize_is_vetoed(const struct resize *resize);
/* A hook that failed stops nothing, but its owner should know. */
void resize_tell_of_hooks(const struct resize *resize);

/* resize_shrink.c, resize_grow.c, resize_balloon.c: each decides. */
void resize_shrink_next(struct resize *resize);
void resize_grow_next(struct resize *resize);
/* A growth that may come where a drain holds memory that is online, or is kept from there by a policy. */
void resize_warn_of_holds(struct resize *resize);
void resize_balloon_next(struct resize *resize);
/* What is asked of a balloon: the wish, or what of that the guest lets go at once. */
uint64_t resize_balloon_target(const struct plan_input *input, const struct snapshot_guest *guest);

/* resize_next.c */
/* Index of the last step of the kind (for this device, where given), or -1. */
long resize_last_index(const struct plan_input *input, enum step_kind kind, const char *device);
/* What a step of the agent may take: none may eat the time that the rungs behind it and the settling need. */
uint32_t resize_agent_timeout(const struct plan_input *input, uint32_t wished_ms);
void resize_emit_device(struct resize *resize, enum step_kind kind, size_t device, uint64_t target, const char *text);
void resize_emit_agent(struct resize *resize, enum step_kind kind, uint64_t bytes, uint32_t timeout_ms);
/* Each true where a step was decided. A request for each device whose goal has not been asked for, but those of skip. */
bool resize_request_next(struct resize *resize, const bool skip[SNAPSHOT_DEVICES_MAX]);
/*
 * How far a shrink from now to target may be asked to go at once. The driver takes whatever it can empty, down to the
 * kernel's last reserves, and what the guest allocates then brings its OOM killer: so no more is asked for at a time than
 * memory covers, in whole units; *covered_bytes loses it.
 */
uint64_t resize_covered_target(const struct resize *resize, uint64_t now, uint64_t target, uint64_t unit,
			       uint64_t *covered_bytes);
/* May a request that has gone unfulfilled stand when the operation is over, for a wish that is to be continued? */
bool resize_may_stand(const struct resize *resize);
/* So much is worth another pass of the driver, where the whole cannot be asked for at once. */
bool resize_is_worth_asking(uint64_t part_bytes, uint64_t whole_bytes);
/* What was asked for again, for each device that has not got there and had no kick since the step at index after. */
bool resize_kick_next(struct resize *resize, long after);
/* The lease must end where the agent has changed anything under it; once. */
bool resize_end_lease_next(struct resize *resize, enum step_kind how);
/* Refused, that is: a request that was taken but moved nothing is flat, and the ladder is for that. */
bool resize_request_failed(const struct plan_input *input);
/* Has putting in order begun? */
bool resize_is_ending(const struct plan_input *input);
/* Nothing is left to ask for: all of the wish has come true, or all that the guest lets go at once. */
void resize_finish(struct resize *resize);
/* The wish will not come true: end tidily, then say why. */
void resize_end(struct resize *resize, bool shrink);

#endif
