/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an HMAT. What parses keeps its promises.
 */
#undef NDEBUG
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include "fuzz_acpi.h"
#include "hmat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try(const uint8_t *data, size_t size)
{
	struct hmat hmat;

	if (hmat_parse(data, size, &hmat) < 0)
		return;
	for (size_t i = 0; i < hmat.count; i++) {
		const struct hmat_path *path = &hmat.paths[i], *before = path - 1, *nearest = hmat_nearest(&hmat, path->target);

		assert(i == 0 || before->target < path->target ||
		       (before->target == path->target && before->initiator < path->initiator));
		assert(hmat_path(&hmat, path->initiator, path->target) == path);
		if (nearest)
			assert(nearest->target == path->target && (nearest->read_latency_ps || nearest->read_mb_per_s));
		else
			assert(!path->read_latency_ps && !path->read_mb_per_s);
	}
	hmat_done(&hmat);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_acpi_try(data, size, "HMAT", try);
	return 0;
}
