/* SPDX-License-Identifier: Apache-2.0 */
#include "model_json.h"

#include <string.h>
#include "model_json_priv.h"

json_t *model_json_hint(const struct snapshot_hint *hint)
{
	json_t *json = json_object();
	bool has_range = hint->range.start < hint->range.end;

	model_json_put(&json, "risk", json_string(hint_risk_name(hint->risk)));
	model_json_put(&json, "worst_risk", json_string(hint_risk_name(hint->worst)));
	model_json_put(&json, "count", model_json_u64(hint->count));
	model_json_put(&json, "at", model_json_time(hint->at_ms));
	model_json_put(&json, "dimm", model_json_text_or_null(hint->dimm));
	model_json_put(&json, "node", hint->node >= 0 ? json_integer(hint->node) : json_null());
	model_json_put(&json, "physical_address", has_range ? model_json_u64(hint->address) : json_null());
	model_json_put(&json, "start", has_range ? model_json_u64(hint->range.start) : json_null());
	model_json_put(&json, "end", has_range ? model_json_u64(hint->range.end) : json_null());
	return json;
}

/* The last of those that are meant, with how often and how bad all of them were. */
static json_t *sum_json(const struct snapshot *snapshot, const char *dimm, int node)
{
	struct snapshot_hint sum = {0};

	for (size_t i = 0; i < snapshot->hint_count; i++) {
		const struct snapshot_hint *hint = &snapshot->hints[i];
		struct snapshot_hint before = sum;

		if (strcmp(hint->dimm, dimm) != 0 || (!dimm[0] && hint->node != node))
			continue;
		if (!before.count || hint->at_ms >= before.at_ms)
			sum = *hint;
		sum.count = before.count + hint->count;
		sum.worst = before.worst > hint->worst ? before.worst : hint->worst;
	}
	return sum.count ? model_json_hint(&sum) : json_null();
}

json_t *model_json_dimm_hint(const struct snapshot *snapshot, const struct snapshot_dimm *dimm)
{
	return sum_json(snapshot, dimm->id, -1);
}

json_t *model_json_node_hint(const struct snapshot *snapshot, int node)
{
	return sum_json(snapshot, "", node);
}
