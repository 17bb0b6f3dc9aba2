#include "commands_parts.h"

#include <unistd.h>

#define FINDINGS_MAX 1000 /* the rest is counted */

static void
reload_done(void *arg, enum ksm_err err, const struct conf *read,
    const struct ksm_fail *fail)
{
	struct command_call *call = arg;
	const struct conf *conf;
	size_t n = read != NULL ? read->nfindings : 0;

	for (size_t i = 0; i < n && i < FINDINGS_MAX; i++) {
		const struct conf_finding *f = &read->findings[i];

		item_send(call, "findings",
		    json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}",
			"severity", conf_severity_text(f->severity),
			"file", text_or_null(f->file),
			"line", count_or_null(f->line, f->line > 0),
			"what", text_or_null(f->what),
			"value", text_or_null(f->value),
			"expected", text_or_null(f->expected)));
	}
	if (err != KSM_OK) {
		command_fail(call, CTL_FAILED,
		    err == KSM_EBUSY ? "busy" : "refused",
		    "the configuration in force is kept", "%s",
		    fail != NULL && fail->text[0] != '\0' ? fail->text
		    : "the new configuration is refused");
		return;
	}
	/* `read` has the findings only: the engine has taken the rest. */
	conf = engine_conf(call->face->engine);
	result_send(call, CTL_OK,
	    json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I}",
		"in_force", 1,
		"zones", (json_int_t)conf->zones,
		"policies", (json_int_t)conf->npolicies,
		"repositories", (json_int_t)conf->nrepositories,
		"errors", (json_int_t)(read != NULL ? read->errors : 0),
		"warnings", (json_int_t)(read != NULL ? read->warnings : 0),
		"notices", (json_int_t)(read != NULL ? read->notices : 0)));
	call->face->kick(call->face->ctx);
}

static void
reload_start(struct command_call *call)
{
	call->face->reload(call->face->ctx, arg_bool(call, "allow_empty"),
	    reload_done, call);
}

static void
reload_end(struct command_call *call)
{
	if (!call->done)
		call->face->reload_forget(call->face->ctx, call);
}

static void
stop_start(struct command_call *call)
{
	result_send(call, CTL_OK, json_pack("{s:b, s:I}", "stopping", 1, "pid",
	    (json_int_t)getpid()));
	call->face->stop(call->face->ctx);
}

static void
version_start(struct command_call *call)
{
	result_send(call, CTL_OK, json_pack("{s:s, s:I}", "daemon_version",
	    call->face->version, "pid", (json_int_t)getpid()));
}

static const struct command_arg reload_args[] = {
	{ "allow_empty", ARG_BOOL, false },
};

static const struct command commands[] = {
	{ .name = "reload", ARGS(reload_args), .right = RIGHT_ACT,
	    .start = reload_start, .end = reload_end },
	{ .name = "stop", .right = RIGHT_ACT, .start = stop_start },
	{ .name = "version", .start = version_start },
};

const struct command_group commands_daemon = { commands, nitems(commands) };
