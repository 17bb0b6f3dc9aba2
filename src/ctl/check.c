#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

#define READER "ksmpool-config"

/* The directory of this program; false if the kernel does not tell. */
static bool
own_directory(char out[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
	char *slash;

	if (n <= 0)
		return false;
	out[n] = '\0';
	slash = strrchr(out, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	return true;
}

static bool
reader_at(const char *dir, char out[PATH_MAX])
{
	int n;

	if (dir == NULL || dir[0] == '\0')
		return false;
	n = snprintf(out, PATH_MAX, "%s/%s", dir, READER);
	return n > 0 && n < PATH_MAX && access(out, X_OK) == 0;
}

/*
 * The caller's own rights are the point: a file the caller cannot read is a
 * finding. So nothing is asked of the daemon, and nothing is gained by exec.
 */
int
check_exec(const struct ctl_call *call)
{
	char own[PATH_MAX], path[PATH_MAX];
	const char **argv = NULL;
	size_t n = 0, count = 0;

	while (call->rest != NULL && call->rest[count] != NULL)
		count++;
	if (!reader_at(getenv("KSMPOOL_LIBEXEC"), path) &&
	    !(own_directory(own) && reader_at(own, path)) &&
	    !reader_at(KSM_BINDIR, path)) {
		(void)fprintf(stderr, "ksmctl: check: %s is not beside ksmctl "
		    "and not in %s\n", READER, KSM_BINDIR);
		return CTL_FAILED;
	}
	argv = calloc(count + 5, sizeof(*argv));
	if (argv == NULL) {
		(void)fprintf(stderr, "ksmctl: check: out of memory\n");
		return CTL_FAILED;
	}
	argv[n++] = READER;
	argv[n++] = "check";
	if (call->json)
		argv[n++] = "--json";
	if (call->quiet)
		argv[n++] = "--quiet";
	for (size_t i = 0; i < count; i++)
		argv[n++] = call->rest[i];
	(void)execv(path, (char *const *)(uintptr_t)argv);
	(void)fprintf(stderr, "ksmctl: check: cannot start %s: %s\n", path,
	    strerror(errno));
	free(argv);
	return CTL_FAILED;
}
