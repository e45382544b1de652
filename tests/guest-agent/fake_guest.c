/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_guest.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "scratch.h"
#include "sysroot_priv.h"
#include "unit.h"

#define POOL  "/sys/kernel/mm/hugepages/hugepages-2048kB"
#define NODE  "/sys/devices/system/node/node0/hugepages/hugepages-2048kB"
#define BLOCK "/sys/devices/system/memory/memory"
#define RECLAIM "/sys/fs/cgroup/memory.reclaim"

static void make_directories(const struct fake_guest *guest, const char *path)
{
	char full[512];

	snprintf(full, sizeof(full), "%s%s", guest->root, path);
	for (char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
}

void fake_guest_write(const struct fake_guest *guest, const char *path, const char *text)
{
	char full[512];

	make_directories(guest, path);
	snprintf(full, sizeof(full), "%s%s", guest->root, path);
	FILE *file = fopen(full, "we");

	assert(file);
	fprintf(file, "%s\n", text);
	fclose(file);
}

const char *fake_guest_read(const struct fake_guest *guest, const char *path)
{
	static char text[8192];
	char full[512];

	snprintf(full, sizeof(full), "%s%s", guest->root, path);
	FILE *file = fopen(full, "re");

	text[0] = '\0';
	if (!file)
		return text;
	size_t length = fread(text, 1, sizeof(text) - 1, file);

	fclose(file);
	text[length] = '\0';
	if (length > 0 && text[length - 1] == '\n')
		text[length - 1] = '\0';
	return text;
}

const char *fake_guest_leases(const struct fake_guest *guest)
{
	return fake_guest_read(guest, "/run/ballast-agent/leases");
}

const char *fake_guest_block_state(const struct fake_guest *guest, unsigned id)
{
	char path[128];

	snprintf(path, sizeof(path), BLOCK "%u/state", id);
	return fake_guest_read(guest, path);
}

const char *fake_guest_block_zones(const struct fake_guest *guest, unsigned id)
{
	char path[128];

	snprintf(path, sizeof(path), BLOCK "%u/valid_zones", id);
	return fake_guest_read(guest, path);
}

void fake_guest_add_hook(const struct fake_guest *guest, const char *name, const char *text)
{
	char path[256], full[512], script[1024];

	snprintf(path, sizeof(path), "/etc/ballast/hooks.d/%s", name);
	snprintf(script, sizeof(script), "#!/bin/sh\n%s", text);
	fake_guest_write(guest, path, script);
	snprintf(full, sizeof(full), "%s%s", guest->root, path);
	assert(chmod(full, 0755) == 0);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_tree(const struct fake_guest *guest, const char *path)
{
	char full[512];

	snprintf(full, sizeof(full), "%s%s", guest->root, path);
	nftw(full, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fake_guest_set_block(const struct fake_guest *guest, unsigned id, const char *state, const char *zones)
{
	char path[128];

	snprintf(path, sizeof(path), BLOCK "%u/state", id);
	fake_guest_write(guest, path, state);
	snprintf(path, sizeof(path), BLOCK "%u/valid_zones", id);
	fake_guest_write(guest, path, zones);
	snprintf(path, sizeof(path), BLOCK "%u/node0/", id);
	make_directories(guest, path);
}

void fake_guest_set_region(const struct fake_guest *guest, unsigned first_id, unsigned count, const char *state,
			   const char *zones)
{
	char text[128];

	snprintf(text, sizeof(text), "00001000-1fffffff : System RAM\n%llx-%llx : virtio2",
		 (unsigned long long)(first_id * FAKE_GUEST_BLOCK_BYTES),
		 (unsigned long long)((first_id + count) * FAKE_GUEST_BLOCK_BYTES - 1));
	fake_guest_write(guest, "/proc/iomem", text);
	for (unsigned id = first_id; id < first_id + count; id++)
		fake_guest_set_block(guest, id, state, zones);
}

static void write_number(const struct fake_guest *guest, const char *directory, const char *name,
			 uint64_t number)
{
	char path[256], text[32];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	fake_guest_write(guest, path, text);
}

static uint64_t read_number(const struct fake_guest *guest, const char *directory, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return strtoull(fake_guest_read(guest, path), NULL, 10);
}

void fake_guest_set_pool(const struct fake_guest *guest, uint64_t total, uint64_t free_pages,
			 uint64_t reserved, uint64_t surplus)
{
	static const char *const directories[] = {POOL, NODE};

	for (int i = 0; i < 2; i++) {
		write_number(guest, directories[i], "nr_hugepages", total);
		write_number(guest, directories[i], "free_hugepages", free_pages);
		write_number(guest, directories[i], "surplus_hugepages", surplus);
	}
	write_number(guest, POOL, "resv_hugepages", reserved);
	write_number(guest, POOL, "nr_overcommit_hugepages", 0);
}

uint64_t fake_guest_pool(const struct fake_guest *guest)
{
	return read_number(guest, POOL, "nr_hugepages");
}

void fake_guest_unplug(const struct fake_guest *guest, unsigned id)
{
	char path[128];

	snprintf(path, sizeof(path), BLOCK "%u", id);
	remove_tree(guest, path);
}

void fake_guest_set_pages(const struct fake_guest *guest, unsigned id, uint64_t first, uint64_t count, uint64_t flags)
{
	static const uint64_t is_other = 0;
	uint64_t base_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t end = FAKE_GUEST_BLOCKS * FAKE_GUEST_BLOCK_BYTES / base_bytes;
	char path[128];

	snprintf(path, sizeof(path), "%s/proc/kpageflags", guest->root);
	FILE *file = fopen(path, access(path, F_OK) == 0 ? "r+e" : "we");

	assert(file);
	fseeko(file, (off_t)((end - 1) * sizeof(is_other)), SEEK_SET);
	fwrite(&is_other, sizeof(is_other), 1, file);
	fseeko(file, (off_t)((id * FAKE_GUEST_BLOCK_BYTES / base_bytes + first) * sizeof(flags)), SEEK_SET);
	for (uint64_t i = 0; i < count; i++)
		fwrite(&flags, sizeof(flags), 1, file);
	fclose(file);
}

void fake_guest_set_huge(const struct fake_guest *guest, unsigned id, unsigned first, unsigned count,
			 bool in_use)
{
	uint64_t each = (2 << 20) / (uint64_t)sysconf(_SC_PAGESIZE);

	/* KPF_HUGE, KPF_MMAP */
	fake_guest_set_pages(guest, id, first * each, count * each, in_use ? 1 << 17 | 1 << 11 : 1 << 17);
}

/* mm/hugetlb.c set_max_huge_pages(): surplus first becomes persistent, then fresh ones are made; or free
 * ones go, as long as the pool has what is in use and promised, and the rest is surplus. */
static int resize_pool(const struct fake_guest *guest, uint64_t wanted)
{
	uint64_t total = fake_guest_pool(guest),
		 free_pages = read_number(guest, POOL, "free_hugepages");
	uint64_t reserved = read_number(guest, POOL, "resv_hugepages");
	uint64_t surplus = read_number(guest, POOL, "surplus_hugepages");

	free_pages -= guest->state->used_meanwhile;
	guest->state->used_meanwhile = 0;
	while (surplus > 0 && wanted > total - surplus)
		surplus--;
	uint64_t most = total > guest->state->pool_most ? total : guest->state->pool_most, old = total;

	while (wanted > total - surplus && total < most)
		total++;
	free_pages += total - old;
	if (total > old && guest->state->inside_room > 0) {
		uint64_t inside = total - old < guest->state->inside_room ? total - old
									  : guest->state->inside_room;

		/* Behind those that are in use. */
		guest->state->inside_room -= inside;
		fake_guest_set_huge(guest, 39, 32 + (unsigned)guest->state->inside_room,
				    (unsigned)inside, false);
	}
	uint64_t needed = reserved + total - free_pages;

	needed = needed > wanted ? needed : wanted;
	while (needed < total - surplus && free_pages > 0) {
		total--;
		free_pages--;
	}
	while (wanted < total - surplus && surplus < total)
		surplus++;
	fake_guest_set_pool(guest, total, free_pages, reserved, surplus);
	return 0;
}

/* mm/hugetlb.c dissolve_free_huge_page(): any, while one of all that are free is not promised. */
static void dissolve(const struct fake_guest *guest, unsigned id)
{
	uint64_t free_pages = read_number(guest, POOL, "free_hugepages"),
		 reserved = read_number(guest, POOL, "resv_hugepages");
	uint64_t most = free_pages > reserved ? free_pages - reserved : 0,
		 pages = guest->state->free_inside[id];

	pages = pages < most ? pages : most;
	guest->state->free_inside[id] -= pages;
	if (pages > 0)
		fake_guest_set_pool(guest, fake_guest_pool(guest) - pages, free_pages - pages, reserved,
				    read_number(guest, POOL, "surplus_hugepages"));
}

/* mm/memory_hotplug.c do_migrate_range() */
static void say_pinned(const struct fake_guest *guest, unsigned id)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/dev/kmsg", guest->root);
	FILE *file = fopen(path, "ae");

	assert(file);
	fprintf(file,
		"4,901,1234,-;migrating pfn %llx failed ret:1\n"
		"4,902,1235,-;page:00000000f4a9 refcount:6 mapcount:1 mapping:0000 index:0x7f pfn:0x%llx\n",
		(unsigned long long)(id * FAKE_GUEST_BLOCK_BYTES / 4096 + 7),
		(unsigned long long)(id * FAKE_GUEST_BLOCK_BYTES / 4096 + 7));
	fclose(file);
}

static int offline(const struct fake_guest *guest, unsigned id)
{
	char path[128];

	snprintf(path, sizeof(path), BLOCK "%u", id);
	guest->state->tries[id]++;
	dissolve(guest, id);
	switch (guest->state->scripts[id]) {
	case FAKE_GUEST_GOES:
		break;
	case FAKE_GUEST_BUSY_ONCE:
		if (guest->state->tries[id] == 1)
			return -EBUSY;
		break;
	case FAKE_GUEST_BUSY:
		return -EBUSY;
	case FAKE_GUEST_PINNED:
		say_pinned(guest, id);
		return -EBUSY;
	case FAKE_GUEST_HANGS:
		guest->state->hangs = true;
		for (;;)
			pause();
	case FAKE_GUEST_INVALID:
		return -EINVAL;
	case FAKE_GUEST_VANISHES:
		remove_tree(guest, path);
		return -ENODEV;
	case FAKE_GUEST_TAKEN_AFTERWARDS:
		remove_tree(guest, path);
		return 0;
	}
	fake_guest_set_block(guest, id, "offline", "Movable Normal");
	return 0;
}

/* Of the largest order, in the movable zone. */
static void set_free(const struct fake_guest *guest, unsigned pieces)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      2\n"
		 "Node 0, zone   Normal    901     70     33     12      4      2      1      0      3     10     60\n"
		 "Node 0, zone  Movable      0      0      0      0      0      0      0      0      0      0  %5u",
		 pieces);
	fake_guest_write(guest, "/proc/buddyinfo", text);
}

static void write_memory(const struct fake_guest *guest, uint64_t free_kib)
{
	char text[128];

	snprintf(text, sizeof(text),
		 "MemTotal:        1500000 kB\nMemFree: %10llu kB\nMemAvailable:    1000000 kB",
		 (unsigned long long)free_kib);
	fake_guest_write(guest, "/proc/meminfo", text);
}

uint64_t fake_guest_free_kib(const struct fake_guest *guest)
{
	const char *line = strstr(fake_guest_read(guest, "/proc/meminfo"), "MemFree:");

	return line ? strtoull(line + strlen("MemFree:"), NULL, 10) : 0;
}

static void write_pressure(const struct fake_guest *guest, unsigned percent, uint64_t waited_us)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "some avg10=%u.53 avg60=0.10 avg300=0.00 total=%llu\nfull avg10=0.25 avg60=0.00 "
		 "avg300=0.00 total=3",
		 percent, (unsigned long long)waited_us);
	fake_guest_write(guest, "/proc/pressure/memory", text);
}

void fake_guest_set_pressure(const struct fake_guest *guest, unsigned percent)
{
	write_pressure(guest, percent, 12);
}

/* mm/memcontrol.c memory_reclaim() */
static int reclaim(const struct fake_guest *guest, uint64_t bytes)
{
	struct fake_guest_state *state = guest->state;
	uint64_t asked_kib = bytes >> 10;
	uint64_t taken_kib = asked_kib < state->reclaimable_kib ? asked_kib : state->reclaimable_kib;

	state->bites++;
	if (bytes > state->largest_bite)
		state->largest_bite = bytes;
	state->reclaimable_kib -= taken_kib;
	write_memory(guest, fake_guest_free_kib(guest) + taken_kib);
	if (state->harm_us != UINT64_MAX)
		write_pressure(guest, 1, strtoull(strstr(fake_guest_read(guest, "/proc/pressure/memory"),
						      "total=") + 6, NULL, 10) +
					      state->harm_us * (taken_kib >> 10));
	return taken_kib < asked_kib ? -EAGAIN : 0;
}

void fake_guest_add_reclaim(const struct fake_guest *guest, uint64_t reclaimable_kib)
{
	guest->state->reclaimable_kib = reclaimable_kib;
	fake_guest_write(guest, RECLAIM, "");
}

static void die(const struct fake_guest *guest)
{
	guest->state->is_dead = true;
	snprintf(guest->state->last_leases, sizeof(guest->state->last_leases), "%s",
		 fake_guest_leases(guest));
}

void fake_guest_bury(const struct fake_guest *guest)
{
	if (guest->state->is_dead && guest->state->last_leases[0])
		fake_guest_write(guest, "/run/ballast-agent/leases", guest->state->last_leases);
	else if (guest->state->is_dead)
		remove_tree(guest, "/run/ballast-agent/leases");
	guest->state->is_dead = false;
	guest->state->dies_at = 0;
}

static int react(void *user, const char *path, const char *text)
{
	const struct fake_guest *guest = user;
	struct fake_guest_state *state = guest->state;
	size_t used = strlen(state->log);
	unsigned id;
	int end = 0;

	state->writes++;
	snprintf(state->log + used, sizeof(state->log) - used, "%s=%s\n", path, text);
	if (sscanf(path, BLOCK "%u/state%n", &id, &end) == 1 && path[end] == '\0') {
		if (strcmp(text, "offline") == 0)
			return offline(guest, id);
		if (state->refusals > 0) {
			state->refusals--;
			return -EBUSY;
		}
		fake_guest_set_block(guest, id, "online",
			  state->is_onlined_by_others || strcmp(text, "online_kernel") == 0 ? "Normal" : "Movable");
		return 0;
	}
	if (strcmp(path, POOL "/nr_hugepages") == 0 || strcmp(path, NODE "/nr_hugepages") == 0)
		return resize_pool(guest, strtoull(text, NULL, 10));
	if (strcmp(path, RECLAIM) == 0)
		return reclaim(guest, strtoull(text, NULL, 10));
	if (strcmp(path, "/proc/sys/vm/compact_memory") == 0)
		set_free(guest, 100 + state->compacted_pieces);
	if (strcmp(path, "/sys/module/virtio_mem/parameters/unplug_online") == 0)
		text = text[0] == '1' ? "Y" : "N";
	fake_guest_write(guest, path, text);
	return 0;
}

static int on_write(void *user, const char *path, const char *text)
{
	const struct fake_guest *guest = user;
	struct fake_guest_state *state = guest->state;
	bool is_last = state->dies_at && state->writes + 1 == state->dies_at;

	if (is_last && !state->dies_after && !state->is_dead)
		die(guest);
	if (state->is_dead) {
		state->writes++;
		return -EIO;
	}
	int result = react(user, path, text);

	if (is_last)
		die(guest);
	return result;
}

void fake_guest_set_balloon(const struct fake_guest *guest, bool reports, unsigned interrupts)
{
	char text[512];

	fake_guest_write(guest, "/sys/bus/virtio/devices/virtio0/device", "0x0003");
	fake_guest_write(guest, "/sys/bus/virtio/devices/virtio0/features", "111111111111");
	fake_guest_write(guest, "/sys/bus/virtio/devices/virtio1/device", "0x0005");
	fake_guest_write(guest, "/sys/bus/virtio/devices/virtio1/features",
			 reports ? "010011000000" : "010010000000");
	snprintf(text, sizeof(text),
		 "           CPU0       CPU1\n"
		 "  24:          0          9   PCI-MSI 32768-edge      virtio1-config\n"
		 "  25:          7         %u   PCI-MSI 32769-edge      virtio1-inflate\n"
		 "  28:          2         %u   PCI-MSI 32772-edge      virtio1-reporting_vq\n"
		 "  29:          2          1   PCI-MSI 32773-edge      virtio10-reporting_vq\n"
		 " NMI:          0          0   Non-maskable interrupts",
		 interrupts * 3, interrupts);
	fake_guest_write(guest, "/proc/interrupts", text);
	fake_guest_write(guest, "/sys/module/page_reporting/parameters/page_reporting_order", "9");
	fake_guest_write(guest, "/proc/pagetypeinfo",
			 "Page block order: 9\nPages per block:  512\n\nFree pages count per migrate "
			 "type at order       0      1");
}

static void fill(const struct fake_guest *guest)
{
	fake_guest_write(guest, "/proc/sys/kernel/random/boot_id",
			 "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0");
	fake_guest_write(guest, "/proc/sys/vm/compact_memory", "");
	fake_guest_write(guest, "/dev/kmsg", "6,900,1,-;of old");
	write_memory(guest, 900000);
	write_pressure(guest, 1, 12);
	fake_guest_write(
		guest, "/proc/iomem",
		"00000000-00000fff : Reserved\n00001000-1fffffff : System RAM\n"
		"100000000-17fffffff : virtio2\n  100000000-13fffffff : System RAM (virtio_mem)\n"
		"fe000000-fe003fff : virtio-pci-modern\n  fe000000-fe000fff : virtio9");
	make_directories(guest, "/sys/bus/virtio/drivers/virtio_mem/virtio2/");
	fake_guest_write(guest, "/sys/module/virtio_mem/parameters/unplug_online", "Y");
	fake_guest_write(guest, "/sys/module/memory_hotplug/parameters/online_policy",
			 "contig-zones");
	fake_guest_write(guest, "/sys/module/memory_hotplug/parameters/auto_movable_ratio", "301");
	fake_guest_write(guest, "/sys/devices/system/memory/block_size_bytes", "8000000");
	fake_guest_write(guest, "/sys/devices/system/memory/auto_online_blocks", "offline");
	fake_guest_set_balloon(guest, true, 100);
	set_free(guest, 100);
	for (unsigned id = 0; id < 4; id++)
		fake_guest_set_block(guest, id, "online", "none");
	for (unsigned id = FAKE_GUEST_FIRST_BLOCK; id < FAKE_GUEST_FIRST_BLOCK + 8; id++)
		fake_guest_set_block(guest, id, "online", "Movable");
	fake_guest_set_pool(guest, 100, 100, 0, 0);
}

void fake_guest_start(struct fake_guest *guest)
{
	struct sysroot_hooks hooks = {.on_write = on_write, .user = guest};

	snprintf(guest->root, sizeof(guest->root), "%s/guest.XXXXXX", scratch_folder());
	assert(mkdtemp(guest->root));
	snprintf(guest->lease_directory, sizeof(guest->lease_directory), "%s/run/ballast-agent",
		 guest->root);
	guest->state = mmap(NULL, sizeof(*guest->state), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert(guest->state != MAP_FAILED);
	guest->state->pool_most = 1000000;
	fill(guest);
	assert(sysroot_new(guest->root, &guest->sysroot) == 0);
	sysroot_set_hooks(guest->sysroot, &hooks);
}

void fake_guest_stop(struct fake_guest *guest)
{
	sysroot_free(guest->sysroot);
	munmap(guest->state, sizeof(*guest->state));
	remove_tree(guest, "");
}
