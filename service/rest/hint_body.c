/* SPDX-License-Identifier: Apache-2.0 */
#include "hint_body.h"

#include <stdio.h>

int hint_body_parse(const json_t *body, struct memory_hint *ret_hint, struct body_error *error)
{
	static const struct body_field fields[] = {
		{"physical_address", BODY_TYPE_INTEGER, .maximum = INT64_MAX},
		{"dimm", BODY_TYPE_TEXT, .minimum = 1, .maximum = SNAPSHOT_NAME_SIZE - 1},
		{"risk", BODY_TYPE_TEXT, .required = true, .maximum = 16},
	};
	struct memory_hint hint = {0};
	const json_t *address, *dimm;
	int risk;

	if (body_schema_check(body, "", fields, ARRAY_SIZE(fields), error) < 0)
		return -EINVAL;
	address = json_object_get(body, "physical_address");
	dimm = json_object_get(body, "dimm");
	if (!address == !dimm)
		return body_schema_refuse(error, PROBLEM_INVALID_BODY, "",
					  "must have exactly one of: physical_address, dimm");
	risk = hint_risk_from_name(json_string_value(json_object_get(body, "risk")));
	if (risk < 0)
		return body_schema_refuse(error, PROBLEM_INVALID_BODY, "/risk", "must be low, high or uncorrected");
	hint.risk = (enum hint_risk)risk;
	hint.address = (uint64_t)json_integer_value(address);
	/* Its length has been checked against the field's maximum. */
	snprintf(hint.dimm, sizeof(hint.dimm), "%s", dimm ? json_string_value(dimm) : "");
	*ret_hint = hint;
	return 0;
}
