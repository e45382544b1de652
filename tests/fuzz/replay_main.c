/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files, or over all files of directories, without a fuzzer: what was once
 * found stays found.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As libFuzzer's own default. */
#define INPUT_MAX (1u << 20)

static int replay_file(const char *path, unsigned *count)
{
	FILE *file = fopen(path, "rbe");
	uint8_t *data = malloc(INPUT_MAX);

	if (!file || !data) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		free(data);
		if (file)
			fclose(file);
		return 1;
	}
	size_t size = fread(data, 1, INPUT_MAX, file);
	/* Exactly as long as the input, so that a sanitizer sees a read behind it. */
	uint8_t *exact = malloc(size ? size : 1);

	fclose(file);
	if (exact) {
		memcpy(exact, data, size);
		LLVMFuzzerTestOneInput(exact, size);
		(*count)++;
	}
	free(exact);
	free(data);
	return exact ? 0 : 1;
}

static int replay_directory(const char *path, unsigned *count)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int result = 0;

	if (!directory) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	while (result == 0 && (entry = readdir(directory))) {
		char file[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		result = replay_file(file, count);
	}
	closedir(directory);
	return result;
}

int main(int argc, char **argv)
{
	unsigned count = 0;
	int result = 0;

	for (int i = 1; i < argc && result == 0; i++) {
		struct stat status;

		if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode))
			result = replay_directory(argv[i], &count);
		else
			result = replay_file(argv[i], &count);
	}
	printf("%u inputs replayed\n", count);
	return result || count == 0;
}
