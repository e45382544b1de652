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
#include "sysroot_priv.h"
#include "unit.h"

#define POOL  "/sys/kernel/mm/hugepages/hugepages-2048kB"
#define NODE  "/sys/devices/system/node/node0/hugepages/hugepages-2048kB"
#define BLOCK "/sys/devices/system/memory/memory"

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

static void set_block(const struct fake_guest *guest, unsigned id, const char *state,
		      const char *zones)
{
	char path[128];

	snprintf(path, sizeof(path), BLOCK "%u/state", id);
	fake_guest_write(guest, path, state);
	snprintf(path, sizeof(path), BLOCK "%u/valid_zones", id);
	fake_guest_write(guest, path, zones);
	snprintf(path, sizeof(path), BLOCK "%u/node0/", id);
	make_directories(guest, path);
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

/* mm/hugetlb.c set_max_huge_pages(): takes what is free and unreserved, gives what there is room
 * for. */
static int resize_pool(const struct fake_guest *guest, uint64_t wanted)
{
	uint64_t total = fake_guest_pool(guest),
		 free_pages = read_number(guest, POOL, "free_hugepages");
	uint64_t reserved = read_number(guest, POOL, "resv_hugepages");
	uint64_t surplus = read_number(guest, POOL, "surplus_hugepages");
	uint64_t least = total - (free_pages > reserved ? free_pages - reserved : 0);

	wanted += surplus;
	if (wanted < least)
		wanted = least;
	if (wanted > total && wanted > guest->state->pool_most)
		wanted = guest->state->pool_most > total ? guest->state->pool_most : total;
	fake_guest_set_pool(guest, wanted, free_pages + wanted - total, reserved, surplus);
	return 0;
}

static int offline(const struct fake_guest *guest, unsigned id)
{
	char path[128];

	snprintf(path, sizeof(path), BLOCK "%u", id);
	guest->state->tries[id]++;
	switch (guest->state->scripts[id]) {
	case FAKE_GUEST_GOES:
		break;
	case FAKE_GUEST_BUSY_ONCE:
		if (guest->state->tries[id] == 1)
			return -EBUSY;
		break;
	case FAKE_GUEST_BUSY:
		return -EBUSY;
	case FAKE_GUEST_HANGS:
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
	set_block(guest, id, "offline", "Movable Normal");
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

static int on_write(void *user, const char *path, const char *text)
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
		set_block(guest, id, "online",
			  strcmp(text, "online_kernel") == 0 ? "Normal" : "Movable");
		return 0;
	}
	if (strcmp(path, POOL "/nr_hugepages") == 0 || strcmp(path, NODE "/nr_hugepages") == 0)
		return resize_pool(guest, strtoull(text, NULL, 10));
	if (strcmp(path, "/proc/sys/vm/compact_memory") == 0)
		set_free(guest, 100 + state->compacted_pieces);
	if (strcmp(path, "/sys/module/virtio_mem/parameters/unplug_online") == 0)
		text = text[0] == '1' ? "Y" : "N";
	fake_guest_write(guest, path, text);
	return 0;
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
	fake_guest_write(guest, "/proc/meminfo",
			 "MemTotal:        1500000 kB\nMemFree:          900000 kB\nMemAvailable:  "
			 "  1000000 kB");
	fake_guest_write(guest, "/proc/pressure/memory",
			 "some avg10=1.53 avg60=0.10 avg300=0.00 total=12\nfull avg10=0.25 "
			 "avg60=0.00 avg300=0.00 total=3");
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
		set_block(guest, id, "online", "none");
	for (unsigned id = FAKE_GUEST_FIRST_BLOCK; id < FAKE_GUEST_FIRST_BLOCK + 8; id++)
		set_block(guest, id, "online", "Movable");
	fake_guest_set_pool(guest, 100, 100, 0, 0);
}

void fake_guest_start(struct fake_guest *guest)
{
	struct sysroot_hooks hooks = {.on_write = on_write, .user = guest};

	strcpy(guest->root, "/tmp/fake-guest-XXXXXX");
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
