/*
 * run_seeds.c - a fuzz harness as an ordinary test.
 *
 * Every regular file of the directories on the command line goes through
 * LLVMFuzzerTestOneInput once; a harness says by abort() that a file broke
 * it. Exit 1: a directory or file cannot be read, or there was no file: a
 * test that ran nothing has not passed.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SEED_MAX (64 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 1 if the file was run, 0 if it is no regular file, -1 on failure. */
static int
run_file(const char *path)
{
	struct stat st;
	uint8_t *data = NULL;
	FILE *f = NULL;
	int ret = -1;

	if (stat(path, &st) == -1) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		ret = 0;
		goto out;
	}
	if (st.st_size > SEED_MAX) {
		(void)fprintf(stderr, "%s: larger than %d bytes\n", path,
		    SEED_MAX);
		goto out;
	}
	f = fopen(path, "rb");
	if (f == NULL) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		goto out;
	}
	/* Exactly its size, so that a sanitizer sees a read past the end. */
	data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1);
	if (data == NULL) {
		(void)fprintf(stderr, "%s: no memory\n", path);
		goto out;
	}
	if (fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size) {
		(void)fprintf(stderr, "%s: cannot be read whole\n", path);
		goto out;
	}
	/* Named before it runs: after an abort it is the last line. */
	(void)printf("%s\n", path);
	(void)fflush(stdout);
	(void)LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
	ret = 1;
out:
	if (f != NULL)
		(void)fclose(f);
	free(data);
	return ret;
}

/* Files run, or -1. */
static long
run_directory(const char *name)
{
	struct dirent **entries = NULL;
	long run = 0;
	int n;

	n = scandir(name, &entries, NULL, alphasort);
	if (n == -1) {
		(void)fprintf(stderr, "%s: %s\n", name, strerror(errno));
		return -1;
	}
	for (int i = 0; i < n; i++) {
		char path[4096];
		int len, got;

		len = snprintf(path, sizeof(path), "%s/%s", name,
		    entries[i]->d_name);
		free(entries[i]);
		if (run == -1)
			continue;
		if (len < 0 || (size_t)len >= sizeof(path)) {
			(void)fprintf(stderr, "%s: path too long\n", name);
			run = -1;
			continue;
		}
		got = run_file(path);
		run = got == -1 ? -1 : run + got;
	}
	free(entries);
	return run;
}

int
main(int argc, char *argv[])
{
	long total = 0;

	if (argc < 2) {
		(void)fprintf(stderr, "usage: %s directory ...\n", argv[0]);
		return 1;
	}
	for (int i = 1; i < argc; i++) {
		long run = run_directory(argv[i]);

		if (run == -1)
			return 1;
		if (run == 0) {
			(void)fprintf(stderr, "%s: no seeds\n", argv[i]);
			return 1;
		}
		total += run;
	}
	(void)printf("%ld seeds\n", total);
	return 0;
}
