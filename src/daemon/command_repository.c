#include "commands_parts.h"

static json_t *
repository_json(const struct repository_view *v, const struct plan *plan)
{
	const struct plan_token *token = token_find(plan, v->conf->name);

	return json_pack("{s:o, s:s, s:o, s:o, s:o, s:i, s:i, s:i, s:i, s:I,"
	    " s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:b}",
	    "name", ctl_text(v->conf->name),
	    "status", repository_status_text(v->status),
	    "reason", text_or_null(v->reason),
	    "token", text_or_null(v->token_label),
	    "serial", text_or_null(v->token_serial),
	    "sessions", v->conf->sessions,
	    "generators", v->generators,
	    "busy", v->busy,
	    "overdue", v->overdue,
	    "settling", (json_int_t)v->unknown,
	    "verifying", (json_int_t)v->made,
	    "missing", (json_int_t)v->missing,
	    "quarantined", (json_int_t)v->quarantined,
	    "orphans", (json_int_t)v->orphans,
	    "foreign", (json_int_t)v->foreign,
	    "debris", (json_int_t)v->nameless,
	    "deaths", (json_int_t)v->deaths,
	    "looked", time_json(v->looked),
	    "retry_in_ms", count_or_null(v->retry_in,
		v->status == REPO_DEGRADED),
	    "capacity", count_or_null(v->conf->capacity,
		v->conf->capacity >= 0),
	    "pairs", token != NULL ? json_integer(token->pairs_held)
				   : json_null(),
	    "require_backup", v->conf->require_backup);
}

/* All repositories as items; false if one needs a look. */
bool
repositories_send(struct command_call *call, const struct plan *plan)
{
	struct engine *e = call->face->engine;
	struct repository_view view;
	bool fine = true;

	for (size_t i = 0; i < engine_repositories(e); i++) {
		engine_repository_view(e, i, &view);
		if (view.status != REPO_OK && view.status != REPO_STARTING)
			fine = false;
		item_send(call, "repositories", repository_json(&view, plan));
	}
	return fine;
}

static void
repository_list_start(struct command_call *call)
{
	const struct conf *conf;
	const struct plan *plan = plan_in_force(call, &conf);
	bool fine;

	if (plan == NULL)
		return;
	fine = repositories_send(call, plan);
	result_send(call, fine ? CTL_OK : CTL_ATTENTION, json_object());
}

static void
repository_resume_start(struct command_call *call)
{
	const char *name = arg_text(call, "name");
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err;

	err = engine_repository_resume(call->face->engine, name,
	    arg_bool(call, "accept_token"),
	    call_actor(call), &fail);
	if (err != KSM_OK) {
		if (fail.text[0] == '\0' && err == KSM_ENOENT)
			(void)ksm_failf(&fail, err, "no repository '%s'",
			    name);
		fail_err(call, err, "unknown-repository", &fail);
		return;
	}
	result_send(call, CTL_OK, json_pack("{s:o, s:b}", "resumed",
	    ctl_text(name), "accept_token", arg_bool(call, "accept_token")));
	call->face->kick(call->face->ctx);
}

static const struct command_arg resume_args[] = {
	{ "name", ARG_NAME, true },
	{ "accept_token", ARG_BOOL, false },
};

static const struct command commands[] = {
	{ .name = "repository list", .start = repository_list_start },
	{ .name = "repository resume", ARGS(resume_args), .right = RIGHT_ACT,
	    .start = repository_resume_start },
};

const struct command_group commands_repository = { commands, nitems(commands) };
