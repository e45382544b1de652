/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_process.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "scratch.h"
#include "sysroot.h"
#include "unit.h"

#define UUID	   "6f0d0a3c-0b7e-4c53-9d0c-2f1f5d1a7e01"
#define OTHER_UUID "7a1b6c1d-1f2e-4e3d-8c4b-5a6978695a03"
#define MATCHES(arguments, name) \
	guest_process_cmdline_matches(arguments, sizeof(arguments), name, UUID)

static char root[64];

static void test_cmdline(void)
{
	CHECK_TRUE(MATCHES("qemu\0-name\0guest=g1,debug-threads=on\0-uuid\0" UUID, "g1"));
	CHECK_TRUE(MATCHES("qemu\0-name\0guest=g1", "g1"));
	CHECK_TRUE(MATCHES("qemu\0-uuid\0" UUID, "g1"));
	CHECK_TRUE(!MATCHES("qemu\0-name\0guest=g1,debug-threads=on\0-uuid\0" OTHER_UUID, "g1"));
	CHECK_TRUE(!MATCHES("qemu\0-name\0guest=g10,debug-threads=on\0-uuid\0" UUID, "g1"));
	CHECK_TRUE(!MATCHES("vi\0guest=g1", "g1"));
	CHECK_TRUE(!MATCHES("", "g1"));
	CHECK_TRUE(MATCHES("qemu\0-name\0guest=a,,b,debug-threads=on", "a,b"));
	CHECK_TRUE(!MATCHES("qemu\0-name\0guest=a,,b,debug-threads=on", "a"));
	CHECK_TRUE(!MATCHES("qemu\0-name\0guest=a,b", "a,b"));
	/* Cut off in the middle. */
	CHECK_TRUE(!guest_process_cmdline_matches("-uuid\0" UUID, 6 + 36, "g1", UUID));
}

static void write_file(const char *path, const void *data, size_t size)
{
	char full[256];
	FILE *stream;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
	stream = fopen(full, "we");
	assert(stream && fwrite(data, 1, size, stream) == size);
	fclose(stream);
}

static void remove_all(void)
{
	static const char *const paths[] = {"/run/libvirt/qemu/g1.pid",
					    "/run/libvirt/qemu",
					    "/run/libvirt",
					    "/run",
					    "/proc/12/cmdline",
					    "/proc/12",
					    "/proc/40/cmdline",
					    "/proc/40",
					    "/proc",
					    ""};
	char full[256];

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		snprintf(full, sizeof(full), "%s%s", root, paths[i]);
		remove(full);
	}
}

static void test_find(void)
{
	static const char of_guest[] = "qemu\0-name\0guest=g1\0-uuid\0" UUID;
	static const char of_other[] = "qemu\0-name\0guest=g2\0-uuid\0" OTHER_UUID;
	struct sysroot *sysroot;
	pid_t pid = 0;

	write_file("/proc/12/cmdline", of_other, sizeof(of_other));
	write_file("/proc/40/cmdline", of_guest, sizeof(of_guest));
	write_file("/run/libvirt/qemu/g1.pid", "40\n", 3);
	assert(sysroot_new(root, &sysroot) == 0);
	CHECK_INT(guest_process_find(sysroot, "g1", UUID, &pid), 0);
	CHECK_INT(pid, 40);
	/* The file is another run's: the number is taken by another guest. */
	write_file("/run/libvirt/qemu/g1.pid", "12\n", 3);
	pid = 0;
	CHECK_INT(guest_process_find(sysroot, "g1", UUID, &pid), 0);
	CHECK_INT(pid, 40);
	write_file("/run/libvirt/qemu/g1.pid", "x\n", 2);
	CHECK_INT(guest_process_find(sysroot, "g1", UUID, &pid), 0);
	CHECK_INT(guest_process_find(sysroot, "g3", "00000000-0b7e-4c53-9d0c-2f1f5d1a7e01", &pid),
		  -ESRCH);
	CHECK_INT(guest_process_find(sysroot, "../g1", UUID, &pid), -EINVAL);
	sysroot_free(sysroot);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{"cmdline", test_cmdline},
		{"find", test_find},
	};
	int result;

	snprintf(root, sizeof(root), "%s/process.XXXXXX", scratch_folder());
	assert(mkdtemp(root));
	result = unit_main("guest_process", cases, sizeof(cases) / sizeof(cases[0]));
	remove_all();
	return result;
}
