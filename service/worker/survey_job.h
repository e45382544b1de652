/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a guest's memory is: by node, by DIMM, by backing; its policy, its cpuset and its processors' nodes.
 */
#ifndef BALLAST_SERVICE_SURVEY_JOB_H
#define BALLAST_SERVICE_SURVEY_JOB_H

struct job_context;

void survey_job_run(struct job_context *context);

#endif
