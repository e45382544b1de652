/* SPDX-License-Identifier: Apache-2.0 */
#include "hugepage_pool.h"

#include <inttypes.h>
#include <string.h>
#include "cleanup.h"
#include "sysroot.h"

#define HOST_DIRECTORY "/sys/kernel/mm/hugepages"

/* The directory of one pool, without its files. */
static int format_directory(char *path, size_t size, int node_id, uint64_t page_bytes)
{
	unsigned long long kib = page_bytes / 1024;
	int length =
		node_id == HUGEPAGE_POOL_ALL_NODES
			? snprintf(path, size, HOST_DIRECTORY "/hugepages-%llukB", kib)
			: snprintf(path, size,
				   "/sys/devices/system/node/node%d/hugepages/hugepages-%llukB",
				   node_id, kib);

	return length < 0 || (size_t)length >= size ? -ENAMETOOLONG : 0;
}

int hugepage_pool_list_sizes(const struct sysroot *sysroot, uint64_t sizes[HUGEPAGE_POOL_SIZES_MAX],
			     size_t *ret_count)
{
	CLEANUP(sysroot_names_done) struct sysroot_names names = {0};
	size_t count = 0;
	int error = sysroot_list(sysroot, &names, HOST_DIRECTORY);

	if (error < 0 && error != -ENOENT)
		return error;
	for (size_t i = 0; i < names.count && count < HUGEPAGE_POOL_SIZES_MAX; i++) {
		int64_t kib = sysroot_name_number(names.names[i], "hugepages-", "kB");

		if (kib > 0)
			sizes[count++] = (uint64_t)kib * 1024;
	}
	/* Names compare by number already, and there are at most eight. */
	*ret_count = count;
	return 0;
}

int hugepage_pool_read_default_size(const struct sysroot *sysroot, uint64_t *ret_page_bytes)
{
	CLEANUP_FREE char *text = NULL;
	const char *line;
	uint64_t kib;
	int error = sysroot_read_all(sysroot, 65536, &text, NULL, "/proc/meminfo");

	if (error < 0)
		return error;
	line = strstr(text, "\nHugepagesize:");
	if (!line)
		return -ENOENT;
	if (sscanf(line, "\nHugepagesize: %" SCNu64 " kB", &kib) != 1 || kib == 0)
		return -EBADMSG;
	*ret_page_bytes = kib * 1024;
	return 0;
}

int hugepage_pool_read(const struct sysroot *sysroot, int node_id, uint64_t page_bytes,
		       struct hugepage_pool *ret_pool)
{
	struct hugepage_pool pool = {.page_bytes = page_bytes, .node_id = node_id};
	char path[128];
	int error = format_directory(path, sizeof(path), node_id, page_bytes);

	if (error == 0)
		error = sysroot_read_number(sysroot, 10, &pool.total, "%s/nr_hugepages", path);
	if (error == 0)
		error = sysroot_read_number(sysroot, 10, &pool.free, "%s/free_hugepages", path);
	if (error == 0)
		error = sysroot_read_number(sysroot, 10, &pool.surplus, "%s/surplus_hugepages",
					    path);
	if (error == 0 && node_id == HUGEPAGE_POOL_ALL_NODES) {
		error = sysroot_read_number(sysroot, 10, &pool.reserved, "%s/resv_hugepages", path);
		/* Gigantic pages have no overcommit on some architectures. */
		if (error == 0 && sysroot_read_number(sysroot, 10, &pool.overcommit,
						      "%s/nr_overcommit_hugepages", path) < 0)
			pool.overcommit = 0;
	}
	if (error < 0)
		return error;
	*ret_pool = pool;
	return 0;
}

static int read_surplus_elsewhere(const struct sysroot *sysroot, int node_id, uint64_t page_bytes,
				  uint64_t *ret_pages)
{
	uint64_t surplus[2] = {0, 0};
	const int nodes[2] = {HUGEPAGE_POOL_ALL_NODES, node_id};
	int error = 0;

	for (int i = 0; i < 2 && error == 0; i++) {
		char path[128];

		error = format_directory(path, sizeof(path), nodes[i], page_bytes);
		if (error == 0)
			error = sysroot_read_number(sysroot, 10, &surplus[i], "%s/surplus_hugepages",
						    path);
	}
	if (error == 0)
		*ret_pages = surplus[0] > surplus[1] ? surplus[0] - surplus[1] : 0;
	return error;
}

static int ask(const struct sysroot *sysroot, int node_id, uint64_t page_bytes, uint64_t pages,
	       struct hugepage_pool *ret_pool)
{
	char path[128], text[24];
	int error = format_directory(path, sizeof(path), node_id, page_bytes);

	if (error < 0)
		return error;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)pages);
	error = sysroot_write_text(sysroot, text, "%s/nr_hugepages", path);
	if (error < 0)
		return error;
	return hugepage_pool_read(sysroot, node_id, page_bytes, ret_pool);
}

int hugepage_pool_set(const struct sysroot *sysroot, int node_id, uint64_t page_bytes,
		      uint64_t pages, struct hugepage_pool *ret_pool)
{
	uint64_t elsewhere = 0;
	int error = ask(sysroot, node_id, page_bytes, pages, ret_pool);

	if (error < 0 || node_id == HUGEPAGE_POOL_ALL_NODES ||
	    ret_pool->total <= pages + ret_pool->surplus)
		return error;
	error = read_surplus_elsewhere(sysroot, node_id, page_bytes, &elsewhere);
	if (error < 0 || elsewhere == 0)
		return error;
	return ask(sysroot, node_id, page_bytes, pages > elsewhere ? pages - elsewhere : 0,
		   ret_pool);
}
