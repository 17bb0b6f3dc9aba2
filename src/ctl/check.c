#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"
#include "run.h"

#define READER "ksmpool-config"

/* Our --quiet among its options; it has none of that name. */
static bool
quiet_word(const char *word)
{
	return strcmp(word, "--quiet") == 0 || strcmp(word, "-q") == 0;
}

/* With its output thrown away; one line when it found something. */
static int
check_quietly(const char *path, char *const *argv)
{
	int status, null;
	pid_t pid;

	pid = fork();
	if (pid == -1) {
		(void)fprintf(stderr, "ksmctl: check: %s\n", strerror(errno));
		return CTL_FAILED;
	}
	if (pid == 0) {
		null = open("/dev/null", O_WRONLY);
		if (null == -1 || dup2(null, STDOUT_FILENO) == -1 ||
		    dup2(null, STDERR_FILENO) == -1)
			_exit(CTL_FAILED);
		(void)execv(path, argv);
		_exit(CTL_FAILED);
	}
	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
			return CTL_FAILED;
	status = WIFEXITED(status) ? WEXITSTATUS(status) : CTL_FAILED;
	if (status != CTL_OK)
		(void)fprintf(stderr,
		    "ksmctl: check: %s; 'ksmctl check' says "
		    "more\n",
		    status == CTL_ATTENTION ? "there are warnings"
					    : "the configuration has errors");
	return status;
}

/* In the form that was asked for. */
static int
say_failed(bool json, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int
say_failed(bool json, const char *fmt, ...)
{
	const struct run_streams to = { .out = stdout, .err = stderr };
	struct ctl_reply r = {
		.type = CTL_ERROR, .exit = CTL_FAILED, .code = "failed"
	};
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(r.text, sizeof(r.text), fmt, ap);
	va_end(ap);
	run_say_error(&to, json, "check", &r);
	return CTL_FAILED;
}

/*
 * The caller's own rights are the point: a file the caller cannot read is a
 * finding. So nothing is asked of the daemon, and nothing is gained by exec.
 */
int
check_exec(const struct ctl_call *call)
{
	char path[PATH_MAX];
	const char **argv = NULL;
	size_t n = 0, count = 0;
	bool quiet = call->quiet, json = call->json;
	int status;

	for (; call->rest != NULL && call->rest[count] != NULL; count++)
		json = json || strcmp(call->rest[count], "--json") == 0;
	if (!program_find(READER, path))
		return say_failed(json,
		    READER " is not beside ksmctl and not in " KSM_BINDIR);
	argv = calloc(count + 4, sizeof(*argv));
	if (argv == NULL)
		return say_failed(json, "out of memory");
	argv[n++] = READER;
	argv[n++] = "check";
	if (call->json)
		argv[n++] = "--json";
	for (size_t i = 0; i < count; i++) {
		if (quiet_word(call->rest[i]))
			quiet = true;
		else
			argv[n++] = call->rest[i];
	}
	/* --json asks for a document; that wins. */
	if (quiet && !json)
		status = check_quietly(path, (char *const *)(uintptr_t)argv);
	else {
		(void)execv(path, (char *const *)(uintptr_t)argv);
		status = say_failed(
		    json, "cannot start %s: %s", path, strerror(errno));
	}
	free(argv);
	return status;
}
