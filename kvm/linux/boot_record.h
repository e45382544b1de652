/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long this host takes to reboot, by its own record: wtmp(5), in which init writes when the system is shut down, when
 * the kernel has booted and when the boot has come to its end.
 *
 * Source: utmp(5); systemd src/update-utmp/update-utmp.c writes a RUN_LVL of "shutdown", a BOOT_TIME of "reboot" and, until
 * systemd 258, a RUN_LVL of "runlevel". What systemd calls the boot's time is that of the kernel's start.
 */
#ifndef BALLAST_KVM_BOOT_RECORD_H
#define BALLAST_KVM_BOOT_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <utmpx.h>

struct sysroot;

/* The last so many reboots count. */
#define BOOT_RECORD_KEPT 5

/* One pass over the record, oldest entry first; begins zeroed. */
struct boot_record {
	int64_t down_s, boot_s, up_s;	/* of the reboot that is being read; 0: not seen */
	uint32_t took_s[BOOT_RECORD_KEPT];
	unsigned count;			/* of all reboots; the last ones are kept, in turn */
};

/* Any bytes may stand in the entry. */
void boot_record_add(struct boot_record *record, const struct utmpx *entry);
/* Of the reboots that were kept the middle one, the slower of two; 0: there was none. */
uint32_t boot_record_median_s(const struct boot_record *record);

/*
 * Reads /var/log/wtmp.1 and /var/log/wtmp. From the shutdown to the end of the boot, or where that is not recorded to the
 * kernel's start; what took longer than two hours was no reboot. *ret_s is 0 where no reboot is on record, as where
 * the host keeps none. By the C library's utmpxname(3): not beside other threads that use it. Returns 0 or -errno.
 */
int boot_record_read(const struct sysroot *sysroot, uint32_t *ret_s);

#endif
