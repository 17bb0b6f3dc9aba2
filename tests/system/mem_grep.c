/*
 * mem_grep - is a secret in the memory of a process?
 *
 *   mem_grep PID < SECRET
 *
 * Reads the secret from stdin (up to a newline), so that it is in no argument
 * list. Exit 0: found, with the mapping on stdout; 1: not found; 2: could not
 * look.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 65536

int
main(int argc, char **argv)
{
	static char buf[CHUNK + 256];
	char path[64], line[512], secret[256], perms[8];
	unsigned long long from, to, looked = 0;
	size_t len;
	bool found = false;
	FILE *maps;
	int mem;

	if (argc != 2 || fgets(secret, sizeof(secret), stdin) == NULL) {
		fputs("usage: mem_grep PID < SECRET\n", stderr);
		return 2;
	}
	len = strcspn(secret, "\r\n");
	if (len < 4) {
		fputs("mem_grep: the secret is too short to look for\n", stderr);
		return 2;
	}
	snprintf(path, sizeof(path), "/proc/%.20s/maps", argv[1]);
	maps = fopen(path, "r");
	snprintf(path, sizeof(path), "/proc/%.20s/mem", argv[1]);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	if (maps == NULL || mem == -1) {
		fprintf(stderr, "mem_grep: %s: %s\n", path, strerror(errno));
		return 2;
	}
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%llx-%llx %7s", &from, &to, perms) != 3 ||
		    perms[0] != 'r' || strstr(line, "[vvar]") != NULL ||
		    strstr(line, "[vsyscall]") != NULL)
			continue;
		while (from < to) {
			/* Overlap, so that nothing hides on the border. */
			size_t want = to - from < CHUNK + len ? to - from :
								CHUNK + len;
			ssize_t n = pread(mem, buf, want, (off_t)from);

			if (n <= 0)
				break;
			looked += (unsigned long long)n;
			if (memmem(buf, (size_t)n, secret, len) != NULL) {
				printf("at %llx: %s", from, line);
				found = true;
				break;
			}
			from += CHUNK;
		}
	}
	fclose(maps);
	close(mem);
	if (looked == 0) {
		fputs("mem_grep: nothing could be read\n", stderr);
		return 2;
	}
	return found ? 0 : 1;
}
