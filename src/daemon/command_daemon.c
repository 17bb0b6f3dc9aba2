#include "commands_parts.h"

#include <unistd.h>

#include "ksmpool/clock.h"
#include "ksmpool/log.h"

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

/* ---- pause ------------------------------------------------------------ */

json_t *
pause_json(const struct engine *e)
{
	struct store_pause p;

	engine_pause_view(e, &p);
	if (p.until == 0)
		return json_null();
	return json_pack("{s:o, s:o, s:I, s:o}", "since", time_json(p.since),
	    "until", p.until == PAUSE_OPEN ? json_null() : time_json(p.until),
	    "uid", (json_int_t)p.who.uid, "reason", text_or_null(p.reason));
}

static void
pause_start(struct command_call *call)
{
	int64_t length = arg_integer(call, "for", 0);
	const char *reason = arg_text(call, "reason");
	ksm_time now = clock_wall(), until = PAUSE_OPEN;
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err;

	if (length > 0 && __builtin_add_overflow(now, length, &until))
		until = PAUSE_OPEN;
	err = engine_pause(call->face->engine, until,
	    reason != NULL ? reason : "", call_actor(call), &fail);
	if (err != KSM_OK) {
		fail_err(call, err, "failed", &fail);
		return;
	}
	result_send(call, CTL_OK,
	    json_pack("{s:o}", "paused", pause_json(call->face->engine)));
	call->face->kick(call->face->ctx);
}

static void
resume_start(struct command_call *call)
{
	struct ksm_fail fail = { .text = "" };
	bool was = false;
	enum ksm_err err;

	err = engine_unpause(call->face->engine, call_actor(call), &was, &fail);
	if (err != KSM_OK) {
		fail_err(call, err, "failed", &fail);
		return;
	}
	result_send(call, CTL_OK, json_pack("{s:b}", "was_paused", was));
	call->face->kick(call->face->ctx);
}

/* ---- clock, log ------------------------------------------------------- */

static void
clock_accept_start(struct command_call *call)
{
	struct ksm_fail fail = { .text = "" };
	ksm_time before = 0;
	enum ksm_err err;

	err = engine_clock_accept(call->face->engine, arg_text(call, "reason"),
	    call_actor(call), &before, &fail);
	if (err != KSM_OK) {
		fail_err(call, err, "failed", &fail);
		return;
	}
	result_send(call, CTL_OK, json_pack("{s:o, s:o}", "accepted",
	    time_json(clock_wall()), "record_said", time_json(before)));
	call->face->kick(call->face->ctx);
}

static void
log_level_start(struct command_call *call)
{
	const char *text = arg_text(call, "level");
	struct ksm_fail fail = { .text = "" };
	enum log_level level;
	enum ksm_err err = KSM_OK;

	if (text != NULL && log_level_find(text, &level)) {
		err = engine_note(call->face->engine, call_actor(call),
		    "log level", text, "until the next reload or start", &fail);
		if (err != KSM_OK) {
			fail_err(call, err, "failed", &fail);
			return;
		}
		call->face->log_level_set(call->face->ctx, level);
	}
	result_send(call, CTL_OK, json_pack("{s:s}", "level",
	    log_level_text(call->face->log_level(call->face->ctx))));
}

static const struct command_arg pause_args[] = {
	{ "for", ARG_DURATION, false },
	{ "reason", ARG_TEXT, false },
};
static const struct command_arg clock_args[] = {
	{ "reason", ARG_TEXT, true },
};
static const struct command_arg log_level_args[] = {
	{ "level", ARG_LEVEL, false },
};
static const struct command_arg reload_args[] = {
	{ "allow_empty", ARG_BOOL, false },
};

static const struct command commands[] = {
	{ .name = "reload", ARGS(reload_args), .right = RIGHT_ACT,
	    .start = reload_start, .end = reload_end },
	{ .name = "pause", ARGS(pause_args), .right = RIGHT_ACT,
	    .start = pause_start },
	{ .name = "resume", .right = RIGHT_ACT, .start = resume_start },
	{ .name = "clock accept", ARGS(clock_args), .right = RIGHT_ACT,
	    .start = clock_accept_start },
	{ .name = "log level", ARGS(log_level_args), .right = RIGHT_SET,
	    .start = log_level_start },
	{ .name = "stop", .right = RIGHT_ACT, .start = stop_start },
	{ .name = "version", .start = version_start },
};

const struct command_group commands_daemon = { commands, nitems(commands) };
