/* SPDX-License-Identifier: Apache-2.0 */
#include "probe_job.h"

#include <errno.h>
#include <stdlib.h>
#include "job_context.h"
#include "kernel_probe.h"
#include "worker_cgroup.h"

void probe_job_run(struct job_context *context)
{
	CLEANUP_FREE struct kernel_probe *probe = calloc(1, sizeof(*probe));
	json_t *features = json_object();
	char group[CGROUP_MEMORY_PATH_SIZE];

	if (!probe || !features) {
		json_decref(features);
		job_context_fail(context, ENOMEM, "probe", "cannot begin");
		return;
	}
	kernel_probe_run(context->sysroot, probe);
	kernel_probe_try_cpuset(context->sysroot, worker_cgroup_path(getpid(), group), probe);
	for (int feature = 0; feature < KERNEL_FEATURE_COUNT; feature++) {
		const struct kernel_probe_entry *entry = &probe->entries[feature];

		json_object_set_new(features, kernel_feature_name((enum kernel_feature)feature),
				    json_pack("{s:s, s:s, s:s}", "state",
					      kernel_probe_state_name(entry->state), "detail",
					      entry->detail, "meaning",
					      kernel_feature_meaning((enum kernel_feature)feature)));
	}
	json_object_set_new(job_context_values(context), "features", features);
	context->result->outcome = WORKER_OUTCOME_DONE;
}
