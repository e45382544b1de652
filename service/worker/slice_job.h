/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STEP_KIND_SLICE_CPUSETS: nodes leave the cpusets of slices, so that nothing below them gets memory there, and come back by
 * the undo. A slice is left alone, and told, where the kernel would move its memory by that, or rewrite policies
 * (cpuset_effect.h). Groups of systemd's are changed through it, all others by writing cpuset.mems.
 */
#ifndef BALLAST_SERVICE_SLICE_JOB_H
#define BALLAST_SERVICE_SLICE_JOB_H

struct job_context;

/*
 * {"slices":[{"name":"machine.slice","path":"/machine.slice","mems":"","wanted":"0-2","removed":"3","unit":""},...]}: an
 * empty text in mems is a group that inherits, in removed that nothing of it needed to go; unit: of systemd's, as found.
 */
/* Of a step that is only tried again it fails, with EBUSY and what is in the way, where no slice can lose anything yet. */
void slice_job_before(struct job_context *context);
void slice_job_run(struct job_context *context);
/*
 * Gives back what was taken, to what is there now: other drains may have taken, or given back, nodes of their own. Nodes that
 * are held are in the step's from_nodes. What somebody else has changed since is left, and told, and is no failure.
 */
void slice_job_undo(struct job_context *context);

#endif
