/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_EJECT: the firmware is asked to let go of a DIMM. Cannot be undone.
 */
#ifndef BALLAST_SERVICE_EJECT_JOB_H
#define BALLAST_SERVICE_EJECT_JOB_H

struct job_context;

/*
 * Refuses where a block is not offline; then waits until the device and its blocks are gone. FAILED: nothing was asked of
 * the kernel, or it has said that it gave up. PARTIAL: it was asked, and has not said what becomes of it within the time, or the
 * firmware kept the device (eject_refused), whose memory the kernel has taken away by then.
 */
void eject_job_run(struct job_context *context);
/* Says whether the DIMM is there: that is all that can be done. */
void eject_job_undo(struct job_context *context);

#endif
