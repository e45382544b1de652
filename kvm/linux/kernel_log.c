/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_log.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include "sysroot.h"

/* A record of /dev/kmsg is at most 8 KiB (kernel/printk/printk.c PRINTKRB_RECORD_MAX and its
 * prefix). */
#define BUFFER_SIZE 16384

struct kernel_log {
	int fd;
	size_t length;
	char buffer[BUFFER_SIZE]; /* text not yet taken, from the start */
};

/* The value after "name:" in a line, or false. */
static bool find_number(const char *line, const char *name, int *ret_value)
{
	const char *at = strstr(line, name);

	return at && sscanf(at + strlen(name), "%d", ret_value) == 1;
}

bool kernel_log_parse_page(const char *line, struct kernel_log_page *page)
{
	uint64_t pfn;
	const char *at;
	int result, references, mappings;

	/* mm/memory_hotplug.c do_migrate_range */
	if (sscanf(line, "migrating pfn %" SCNx64 " failed ret:%d", &pfn, &result) == 2) {
		*page = (struct kernel_log_page){.pfn = pfn, .result = result};
		return true;
	}
	/* mm/debug.c __dump_page; newer kernels leave the pointer out */
	if (strncmp(line, "page:", 5) == 0 || strncmp(line, "page: ", 6) == 0) {
		at = strstr(line, "pfn:0x");
		if (!at || sscanf(at, "pfn:0x%" SCNx64, &pfn) != 1 ||
		    !find_number(line, "refcount:", &references) ||
		    !find_number(line, "mapcount:", &mappings))
			return false;
		if (page->pfn != pfn)
			*page = (struct kernel_log_page){.pfn = pfn};
		page->has_counts = true;
		page->references = references;
		page->mappings = mappings;
		return true;
	}
	if (strncmp(line, "anon flags:", 11) == 0 && page->has_counts) {
		/* The swap cache has one, too (PG_swapcache is PG_owner_priv_1, and printed so). */
		page->is_anonymous = !strstr(line, "owner_priv_1") && !strstr(line, "swapcache");
		return true;
	}
	if (strcmp(line, "page dumped because: unmovable page") == 0 && page->has_counts) {
		page->is_unmovable = true;
		return true;
	}
	return false;
}

bool kernel_log_page_is_pinned(const struct kernel_log_page *page)
{
	return page->has_counts &&
	       page->references > page->mappings + (page->is_anonymous ? 1 : 2);
}

/* drivers/acpi/scan.c acpi_scan_hot_remove, drivers/acpi/utils.c acpi_evaluate_ej0. */
static const char *const firmware_words[] = {
	"Eject incomplete - status 0x",
	"Eject failed (0x",
	"No _EJ0 support for device",
};

/* "ACPI: \_SB_.MHPC.MP00: Eject incomplete - status 0xf" */
static bool is_of_firmware(const char *line, struct kernel_log_eject *ret_eject)
{
	struct kernel_log_eject eject = {0};
	int end = 0;

	if (sscanf(line, "ACPI: %127[^: ]: %n", eject.path, &end) != 1 || end == 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(firmware_words); i++) {
		if (strncmp(line + end, firmware_words[i], strlen(firmware_words[i])) != 0)
			continue;
		snprintf(eject.text, sizeof(eject.text), "%s", line + end);
		*ret_eject = eject;
		return true;
	}
	return false;
}

bool kernel_log_parse_eject_refused(const char *line, struct kernel_log_eject *ret_eject)
{
	uint64_t block;
	int end = 0;

	if (is_of_firmware(line, ret_eject))
		return true;
	if (sscanf(line, "memory memory%" SCNu64 ": Offline %n", &block, &end) != 1 || end == 0 ||
	    (strcmp(line + end, "failed.") != 0 && strcmp(line + end, "disabled.") != 0))
		return false;
	*ret_eject = (struct kernel_log_eject){.block = block};
	return true;
}

int kernel_log_new(const struct sysroot *sysroot, struct kernel_log **ret_log)
{
	CLEANUP(kernel_log_freep) struct kernel_log *log = calloc(1, sizeof(*log));

	if (!log)
		return -ENOMEM;
	log->fd = sysroot_open(sysroot, O_RDONLY | O_NONBLOCK, "/dev/kmsg");
	if (log->fd < 0)
		return log->fd;
	if (lseek(log->fd, 0, SEEK_END) < 0)
		return -errno;
	*ret_log = TAKE_PTR(log);
	return 0;
}

struct kernel_log *kernel_log_free(struct kernel_log *log)
{
	if (log && log->fd >= 0)
		close(log->fd);
	free(log);
	return NULL;
}

/* Reads one more record behind what is there. 1, 0 for nothing there, -errno. */
static int fill(struct kernel_log *log)
{
	ssize_t got;

	/* A line longer than the buffer is none of ours. */
	if (log->length >= BUFFER_SIZE - 8192)
		log->length = 0;
	for (;;) {
		got = read(log->fd, log->buffer + log->length, BUFFER_SIZE - 1 - log->length);
		if (got > 0) {
			log->length += (size_t)got;
			return 1;
		}
		if (got == 0 || errno == EAGAIN)
			return 0;
		/* EPIPE: records were overwritten before we came; the next read goes on behind the
		 * gap. */
		if (errno != EPIPE && errno != EINTR)
			return -errno;
	}
}

/* Takes the next whole line out of the buffer into line. False where there is none. */
static bool take_line(struct kernel_log *log, char *line, size_t size)
{
	char *end = memchr(log->buffer, '\n', log->length);
	size_t length;

	if (!end)
		return false;
	length = (size_t)(end - log->buffer);
	snprintf(line, size, "%.*s", (int)length, log->buffer);
	log->length -= length + 1;
	memmove(log->buffer, end + 1, log->length);
	return true;
}

/* /dev/kmsg writes "\x5c" for a backslash, with which each ACPI path begins (kernel/printk/printk.c msg_add_ext_text). */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from;) {
		if (from[0] == '\\' && from[1] == 'x' && isxdigit((unsigned char)from[2]) &&
		    isxdigit((unsigned char)from[3])) {
			char digits[] = {from[2], from[3], '\0'};

			*to++ = (char)strtoul(digits, NULL, 16);
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
}

/* The text of the next record. 1, 0 for nothing there, -errno. */
static int next_text(struct kernel_log *log, char *text, size_t size)
{
	for (;;) {
		while (take_line(log, text, size)) {
			/* "priority,sequence,time,flags;text"; continuation lines begin with a
			 * blank. */
			const char *start = strchr(text, ';');

			if (text[0] == ' ' || !start)
				continue;
			memmove(text, start + 1, strlen(start + 1) + 1);
			unescape(text);
			return 1;
		}
		int filled = fill(log);

		if (filled <= 0)
			return filled;
	}
}

int kernel_log_next_page(struct kernel_log *log, struct kernel_log_page *page)
{
	char text[1024];
	int got;

	do
		got = next_text(log, text, sizeof(text));
	while (got > 0 && !kernel_log_parse_page(text, page));
	return got;
}

int kernel_log_next_eject_refused(struct kernel_log *log, struct kernel_log_eject *ret_eject)
{
	char text[1024];
	int got;

	do
		got = next_text(log, text, sizeof(text));
	while (got > 0 && !kernel_log_parse_eject_refused(text, ret_eject));
	return got;
}
