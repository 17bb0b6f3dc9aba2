#include "commands_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/clock.h"

#define PROGRESS_EVERY 250 /* ms */

struct topping {
	int64_t ticket;
	ksm_msec said; /* last progress */
	int64_t done;  /* what it said; -1: nothing yet */
	bool finished; /* the engine is done with it */
};

/* The same limits as the real run. */
static void
topup_dry_run(struct command_call *call, const char *policy, int64_t max)
{
	struct engine *e = call->face->engine;
	const struct conf *conf;
	const struct plan *plan;
	int64_t limit, make, sum = 0, held = 0, lack = 0;
	char trouble[256];
	json_t *pool;

	plan = plan_in_force(call, &conf);
	if (plan == NULL)
		return;
	if (policy != NULL && conf_policy_find(conf, policy) == NULL) {
		command_fail(call, CTL_FAILED, "unknown-policy",
		    "ksmctl plan names them", "no policy '%s'", policy);
		return;
	}
	for (size_t i = 0; i < plan->npools; i++) {
		const struct plan_pool *p = &plan->pools[i];

		if (policy != NULL && strcmp(p->policy, policy) != 0)
			continue;
		limit = max >= 0 ? max : p->settings.max_per_run;
		make = p->make < limit ? p->make : limit;
		sum += make;
		held += p->make - make;
		lack += p->capacity_short;
		trouble[0] = '\0';
		engine_pool_trouble(e, i, trouble);
		pool = pool_json(p);
		(void)json_object_update_new(pool,
		    json_pack("{s:I, s:I, s:I, s:o}",
			"make", (json_int_t)make,
			"held", (json_int_t)(p->make - make),
			"capacity_short", (json_int_t)p->capacity_short,
			"trouble", text_or_null(trouble)));
		item_send(call, "pools", pool);
	}
	result_send(call, CTL_OK, json_pack("{s:b, s:I, s:I, s:I}",
	    "dry_run", 1, "make", (json_int_t)sum, "held", (json_int_t)held,
	    "capacity_short", (json_int_t)lack));
}

static void
topup_start(struct command_call *call)
{
	const char *policy = arg_text(call, "policy");
	struct topup_want want = {
		.policy = policy,
		.max = arg_integer(call, "max", -1),
		.cause = RUN_TOPUP,
		.uid = call->uid,
		.pid = call->pid,
	};
	struct ksm_fail fail = { .text = "" };
	struct topping *t = NULL;
	int64_t ticket;
	enum ksm_err err;

	if (arg_bool(call, "dry_run")) {
		topup_dry_run(call, policy, want.max);
		return;
	}
	err = engine_topup(call->face->engine, &want, &ticket, &fail);
	if (err != KSM_OK) {
		if (fail.text[0] == '\0' && err == KSM_ENOENT)
			(void)ksm_failf(&fail, err, "no policy '%s'",
			    policy != NULL ? policy : "");
		fail_err(call, err, "unknown-policy", &fail);
		return;
	}
	call->face->kick(call->face->ctx);
	if (!arg_bool(call, "wait")) {
		result_send(call, CTL_OK,
		    json_pack("{s:[I]}", "tickets", (json_int_t)ticket));
		return; /* the engine still records how it ends */
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL) {
		fail_memory(call);
		return;
	}
	t->ticket = ticket;
	t->done = -1;
	call->state = t;
}

static void
topup_poll(struct command_call *call)
{
	struct topping *t = call->state;
	struct ctl_reply r = { .type = CTL_PROGRESS };
	struct topup_state s = { .done = false };
	ksm_msec now = clock_steady();

	if (engine_topup_state(call->face->engine, t->ticket, &s) != KSM_OK) {
		command_fail(call, CTL_FAILED, "failed", NULL,
		    "the daemon lost sight of this top-up");
		return;
	}
	if (s.done) {
		t->finished = true;
		result_send(call, s.full ? CTL_OK : CTL_ATTENTION,
		    json_pack("{s:I, s:I, s:I, s:I, s:b, s:o}",
			"wanted", (json_int_t)s.wanted,
			"made", (json_int_t)s.made,
			"failed", (json_int_t)s.failed,
			"held", (json_int_t)s.held,
			"full", s.full,
			"trouble", text_or_null(s.trouble)));
		return;
	}
	if (s.made == t->done ||
	    (t->done >= 0 && now - t->said < PROGRESS_EVERY))
		return;
	t->said = now;
	t->done = s.made;
	r.done = s.made > 0 ? s.made : 0;
	r.total = s.wanted > 0 ? s.wanted : 0;
	(void)snprintf(r.text, sizeof(r.text), "%s", s.trouble);
	reply_send(call, &r);
}

/*
 * A client that is gone leaves its top-up running: forgetting it would lose
 * the record of how it ended.
 */
static void
topup_end(struct command_call *call)
{
	struct topping *t = call->state;

	if (t != NULL && t->finished)
		engine_topup_forget(call->face->engine, t->ticket);
	state_free(call);
}

static const struct command_arg topup_args[] = {
	{ "policy", ARG_NAME, false },
	{ "max", ARG_SOME, false },
	{ "wait", ARG_BOOL, false },
	{ "dry_run", ARG_BOOL, false },
};

static const struct command commands[] = {
	{ .name = "topup", ARGS(topup_args), .right = RIGHT_ACT,
	    .start = topup_start, .poll = topup_poll, .end = topup_end },
};

const struct command_group commands_topup = { commands, nitems(commands) };
