/* SPDX-License-Identifier: Apache-2.0 */
#include "node_latency.h"

#include <errno.h>
#include "cleanup.h"
#include "hmat.h"
#include "numa_node.h"
#include "srat.h"

#define LOCAL_DISTANCE 10 /* of a node to itself, by the SLIT */
#define DISTANCE_MAX   254 /* 255 means not reachable */
#define NO_DOMAIN      (-1)

struct domains {
	const struct numa_node_list *list;
	const struct hmat *hmat;
	int64_t *of; /* by index of the node; NO_DOMAIN */
};

static void find_domains(const struct srat *srat, struct domains *domains)
{
	const struct numa_node_list *list = domains->list;

	for (size_t i = 0; i < list->count; i++) {
		uint32_t domain;

		domains->of[i] = srat_domain_at(srat, list->nodes[i].start, &domain) ? (int64_t)domain : NO_DOMAIN;
	}
	for (size_t i = 0; i < list->count; i++) {
		bool is_alone = true;

		for (size_t j = i + 1; j < list->count; j++) {
			if (domains->of[j] != domains->of[i])
				continue;
			domains->of[j] = NO_DOMAIN;
			is_alone = false;
		}
		if (!is_alone)
			domains->of[i] = NO_DOMAIN;
	}
}

/* 0 where it is not told. */
static uint64_t latency(const struct domains *domains, size_t from, size_t to)
{
	const struct hmat_path *path = NULL;

	if (domains->of[from] != NO_DOMAIN && domains->of[to] != NO_DOMAIN)
		path = hmat_path(domains->hmat, (uint32_t)domains->of[from], (uint32_t)domains->of[to]);
	return path ? path->read_latency_ps : 0;
}

static void fill_nearest(const struct domains *domains, size_t index, struct numa_node *node)
{
	const struct hmat_path *path = NULL;

	if (domains->of[index] != NO_DOMAIN)
		path = hmat_nearest(domains->hmat, (uint32_t)domains->of[index]);
	if (!path)
		return;
	/* Rounded up, as the kernel does. */
	node->read_latency_ns = (uint32_t)(((uint64_t)path->read_latency_ps + 999) / 1000);
	node->read_bytes_per_s = (uint64_t)path->read_mb_per_s * 1000000;
}

static void fill_distances(const struct domains *domains, size_t from, struct numa_node_list *list)
{
	uint64_t own = latency(domains, from, from);

	if (!list->nodes[from].has_cpu || own == 0)
		return;
	for (size_t to = 0; to < list->count; to++)
		if (list->nodes[to].has_memory && latency(domains, from, to) == 0)
			return;
	list->nodes[from].has_latency_distances = true;
	for (size_t to = 0; to < list->count; to++) {
		uint64_t distance = (latency(domains, from, to) * LOCAL_DISTANCE + own / 2) / own;

		if (!list->nodes[to].has_memory)
			continue;
		if (distance < 1)
			distance = 1;
		list->distances[from * list->count + to] = distance < DISTANCE_MAX ? (int)distance : DISTANCE_MAX;
	}
}

int node_latency_fill(const struct sysroot *sysroot, struct numa_node_list *list)
{
	CLEANUP(hmat_done) struct hmat hmat = {0};
	CLEANUP(srat_done) struct srat srat = {0};
	CLEANUP_FREE int64_t *of = calloc(list->count + 1, sizeof(*of));
	struct domains domains = {.list = list, .hmat = &hmat, .of = of};
	int r = of ? hmat_read(sysroot, &hmat) : -ENOMEM;

	if (r == 0)
		r = srat_read(sysroot, &srat);
	if (r < 0)
		return r;
	find_domains(&srat, &domains);
	for (size_t i = 0; i < list->count; i++) {
		fill_nearest(&domains, i, &list->nodes[i]);
		fill_distances(&domains, i, list);
	}
	return 0;
}
