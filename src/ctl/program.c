#include "program.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "run.h"

#define DAEMON	   "ksmpoold"
#define PROBE_WAIT 5000 /* ms: a daemon that is busy is there */

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
program_at(const char *dir, const char *below, const char *name,
    char out[PATH_MAX])
{
	int n;

	if (dir == NULL || dir[0] == '\0')
		return false;
	n = snprintf(out, PATH_MAX, "%s%s/%s", dir, below, name);
	return n > 0 && n < PATH_MAX && access(out, X_OK) == 0;
}

bool
program_find(const char *name, char out[PATH_MAX])
{
	char own[PATH_MAX];

	if (program_at(getenv("KSMPOOL_LIBEXEC"), "", name, out))
		return true;
	if (own_directory(own) && (program_at(own, "", name, out) ||
	    program_at(own, "/../sbin", name, out)))
		return true;
	return program_at(KSM_BINDIR, "", name, out) ||
	    program_at(KSM_BINDIR, "/../sbin", name, out);
}

static int say_failed(const struct ctl_call *call, int status,
    const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int
say_failed(const struct ctl_call *call, int status, const char *code,
    const char *fmt, ...)
{
	const struct run_streams to = { .out = stdout, .err = stderr };
	struct ctl_reply r = { .type = CTL_ERROR, .exit = status };
	va_list ap;

	(void)snprintf(r.code, sizeof(r.code), "%s", code);
	va_start(ap, fmt);
	(void)vsnprintf(r.text, sizeof(r.text), fmt, ap);
	va_end(ap);
	run_say_error(&to, call->json, call->command->name, &r);
	return status;
}

/* A directory or daemon of which nothing is known is not "no daemon". */
static bool
daemon_absent(const char *path)
{
	struct ctl_reply r = { .type = CTL_ERROR };
	struct client cl;
	bool open;

	client_init(&cl);
	open = client_open(&cl, path, PROBE_WAIT, &r);
	client_close(&cl);
	return !open && r.exit == CTL_UNREACHABLE;
}

static int
once_exec(const struct ctl_call *call, const char *config)
{
	const char *argv[6] = { DAEMON };
	char path[PATH_MAX];
	size_t n = 1;

	if (config != NULL) {
		argv[n++] = "--config";
		argv[n++] = config;
	}
	argv[n++] = "--once";
	if (call->quiet)
		argv[n++] = "--quiet";
	if (!program_find(DAEMON, path))
		return say_failed(call, CTL_FAILED, "failed",
		    "no daemon listens on %s, and " DAEMON " is not found",
		    call->socket);
	(void)execv(path, (char *const *)(uintptr_t)argv);
	return say_failed(call, CTL_FAILED, "failed", "cannot start %s: %s",
	    path, strerror(errno));
}

int
topup_run(const struct ctl_call *call)
{
	struct run_streams to = { .out = stdout, .err = stderr };
	static const char *const narrow[] = { "policy", "max", "dry_run" };
	bool once = json_object_get(call->args, "or_once") != NULL;
	const char *config = json_string_value(
	    json_object_get(call->args, "config"));
	int status;

	to.progress = isatty(STDERR_FILENO) == 1;
	if (config != NULL && !once)
		return say_failed(call, CTL_USAGE, "usage",
		    "--config is for --or-once; the daemon has its own");
	for (size_t i = 0; once && i < nitems(narrow); i++)
		if (json_object_get(call->args, narrow[i]) != NULL)
			return say_failed(call, CTL_USAGE, "usage",
			    "--or-once fills every pool, so --policy, --max "
			    "and --dry-run cannot stand beside it");
	if (once && call->json)
		return say_failed(call, CTL_USAGE, "usage",
		    "--or-once has no document for --json");
	if (once && daemon_absent(call->socket))
		return once_exec(call, config);
	(void)json_object_del(call->args, "or_once");
	(void)json_object_del(call->args, "config");
	status = run_call(call, &to);
	return status;
}
