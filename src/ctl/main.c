/* ksmctl - see ksmctl(1). */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "run.h"

static int
usage_error(const struct run_streams *to, bool json, const char *text)
{
	struct ctl_reply r = {
		.type = CTL_ERROR, .exit = CTL_USAGE, .code = "usage"
	};

	(void)snprintf(r.text, sizeof(r.text), "%s", text);
	run_say_error(to, json, NULL, &r);
	return CTL_USAGE;
}

/* What needs neither a daemon nor another program; false: it does. */
static bool
own_answer(const struct ctl_call *call, const struct run_streams *to,
    int *status)
{
	if (call->version && call->json)
		run_say_version(to);
	else if (call->version)
		(void)printf("ksmctl %s\n", KSM_VERSION);
	else if (call->help && call->json)
		run_say_help(to, call->about);
	else if (call->help && call->about != NULL)
		help_print_command(stdout, call->about);
	else if (call->help)
		help_print(stdout);
	else if (call->command == NULL && call->json)
		*status = usage_error(to, true,
		    "a command is missing; 'ksmctl help' lists them");
	else if (call->command == NULL) {
		help_print(stderr);
		*status = CTL_USAGE;
	} else
		return false;
	return true;
}

int
main(int argc, char *argv[])
{
	struct run_streams to = { .out = stdout, .err = stderr };
	struct ksm_fail fail = { .text = "" };
	struct ctl_call call;
	int status = CTL_OK;

	(void)signal(SIGPIPE, SIG_IGN);
	to.progress = isatty(STDERR_FILENO) == 1;
	to.asks = to.progress && isatty(STDIN_FILENO) == 1;
	if (call_parse(&call, argc, argv, &fail) != KSM_OK)
		status = usage_error(&to, call.json, fail.text);
	else if (own_answer(&call, &to, &status))
		;
	else if (call.command->local != NULL)
		status = call.command->local(&call);
	else
		status = run_call(&call, &to);
	call_clear(&call);
	return run_finish(&to, status);
}
