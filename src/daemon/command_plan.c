#include "commands_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static json_t *
term_json(const struct plan_term *t)
{
	return json_pack("{s:I, s:I, s:I, s:b, s:b, s:b, s:I, s:I, s:I, s:I,"
	    " s:I, s:I, s:I, s:I, s:I}",
	    "line", (json_int_t)t->key->line,
	    "zones", (json_int_t)t->in.zones,
	    "owners", (json_int_t)t->in.owners,
	    "by_owner", t->in.by_owner,
	    "shared", t->in.shared,
	    "passthrough", t->in.passthrough,
	    "lifetime_s", (json_int_t)t->in.lifetime,
	    "horizon_s", (json_int_t)t->in.horizon,
	    "units", (json_int_t)t->out.units,
	    "scheduled", (json_int_t)t->out.scheduled,
	    "emergency_rolls", (json_int_t)t->in.rolls,
	    "standby", (json_int_t)t->in.standby,
	    "growth", (json_int_t)t->out.grown,
	    "algorithm_roll", (json_int_t)t->in.algorithm_roll,
	    "required", (json_int_t)t->out.required);
}

static const char *
scope_by_text(enum scope_by by)
{
	switch (by) {
	case SCOPE_BY_KASP:
		return "ShareKeys";
	case SCOPE_BY_KSMPOOL:
		return "ksmpool.xml";
	case SCOPE_BY_WHAT_IF:
		return "what-if";
	}
	return "?";
}

/* Seconds for `make` keys on all generators; null: not measured, or absurd. */
static json_t *
fill_json(int64_t make, ksm_msec per_key, int sessions)
{
	int64_t ms;

	if (make > 0 && per_key <= 0)
		return json_null();
	if (__builtin_mul_overflow(make, per_key, &ms))
		return json_null();
	if (sessions < 1)
		sessions = 1;
	return json_integer(ms / sessions / 1000 +
	    (ms / sessions % 1000 != 0));
}

static void
plan_pool_send(struct command_call *call, const struct plan_pool *p,
    const char *trouble, int64_t held, ksm_msec rate)
{
	json_t *pool = pool_json(p), *stock = json_object();
	json_t *terms = json_array();

	for (int s = 0; s < KEY__STATES; s++)
		if (p->stock[s] != 0)
			(void)json_object_set_new(stock,
			    key_state_text((enum key_state)s),
			    json_integer(p->stock[s]));
	for (size_t i = 0; i < p->nterms; i++)
		(void)json_array_append_new(terms, term_json(&p->terms[i]));
	(void)json_object_update_new(pool,
	    json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o,"
		" s:o, s:o}",
		"scope", key_scope_text(p->scope),
		"scope_by", scope_by_text(p->scope_by),
		"low_water", (json_int_t)p->low_water,
		"target", (json_int_t)p->target,
		"max_per_run", (json_int_t)p->settings.max_per_run,
		"critical", (json_int_t)p->critical,
		"make", (json_int_t)p->make,
		"capacity_short", (json_int_t)p->capacity_short,
		"held", (json_int_t)held,
		"stock", stock,
		"terms", terms,
		"ms_per_key", count_or_null(rate, rate > 0),
		"fill_s", fill_json(p->make, rate,
		    p->repository_conf->sessions),
		"trouble", text_or_null(trouble)));
	item_send(call, "pools", pool);
}

static void
plan_token_send(struct command_call *call, const struct plan_token *t)
{
	const struct conf_repository *r = t->repository;

	item_send(call, "tokens",
	    json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:s, s:I, s:I}",
		"repository", ctl_text(r->name),
		"capacity", count_or_null(t->capacity, t->capacity >= 0),
		"pairs_held", (json_int_t)t->pairs_held,
		"pairs_make", (json_int_t)t->pairs_make,
		"pairs_over", (json_int_t)t->pairs_over,
		"pairs_need", (json_int_t)t->pairs_need,
		"pairs_free", count_or_null(t->pairs_free, t->pairs_free >= 0),
		"room", plan_room_text(t->room),
		"objects_held", (json_int_t)t->objects_held,
		"objects_make", (json_int_t)t->objects_make));
}

/* The plan for another number of zones, with the stock there is. */
static enum ksm_err
plan_what_if(const struct conf *conf, const struct plan *live,
    const struct plan_what_if *what, struct plan *out, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	struct plan tmp = { .pools = NULL };
	int64_t *held = NULL;

	err = plan_make(conf, what, &tmp, fail);
	if (err != KSM_OK)
		goto out;
	held = calloc(tmp.ntokens + 1, sizeof(*held));
	if (held == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "out of memory");
		goto out;
	}
	for (size_t i = 0; i < tmp.ntokens; i++) {
		const struct plan_token *t = token_find(live,
		    tmp.tokens[i].repository->name);

		held[i] = t != NULL ? t->pairs_held : 0;
	}
	for (size_t i = 0; i < live->npools; i++) {
		const struct plan_pool *p = &live->pools[i];
		struct plan_pool *same = plan_pool_find(&tmp, p->policy,
		    p->role, p->repository, p->alg, p->bits);

		for (int s = 0; same != NULL && s < KEY__STATES; s++)
			plan_stock_set(same, (enum key_state)s, p->stock[s]);
		if (same != NULL)
			plan_cover_set(same, p->covered);
	}
	plan_level(&tmp, held);
	*out = tmp;
	tmp = (struct plan){ .pools = NULL };
out:
	free(held);
	plan_clear(&tmp);
	return err;
}

static size_t
pool_index(const struct plan *plan, const struct plan_pool *p)
{
	const struct plan_pool *same = plan_pool_find(plan, p->policy, p->role,
	    p->repository, p->alg, p->bits);

	return same == NULL ? plan->npools : (size_t)(same - plan->pools);
}

/* -1: as configured. */
static bool
what_if_of(const struct command_call *call, struct plan_what_if *what)
{
	const char *scope = arg_text(call, "scope");

	*what = (struct plan_what_if){
		.zones = arg_integer(call, "zones", -1),
		.horizon = arg_integer(call, "horizon", -1),
		.emergency_rolls = arg_integer(call, "emergency_rolls", -1),
		.capacity = arg_integer(call, "capacity", -1),
		.scope = SCOPE_KASP,
	};
	if (scope != NULL) /* one of the words, as args_check saw */
		(void)key_scope_find(scope, &what->scope);
	return what->zones >= 0 || what->horizon >= 0 ||
	    what->emergency_rolls >= 0 || what->capacity >= 0 ||
	    what->scope != SCOPE_KASP;
}

/* One pool of `plan`, which may be another than the one in force. */
static void
plan_pool_one(struct command_call *call, const struct plan *live,
    const struct plan *plan, const struct plan_pool *p)
{
	struct engine *e = call->face->engine;
	/* Same configuration, same pools, unless we erred. */
	size_t k = plan == live ? (size_t)(p - plan->pools)
				: pool_index(live, p);
	int64_t limit = p->settings.max_per_run, held = 0;
	char trouble[256] = "";

	if (k < live->npools) {
		engine_pool_trouble(e, k, trouble);
		held = engine_pool_held(e, k);
	}
	if (plan != live)
		held = p->make > limit ? p->make - limit : 0;
	plan_pool_send(call, p, trouble, held,
	    k < live->npools ? engine_pool_rate(e, k) : 0);
}

static void
plan_start(struct command_call *call)
{
	const struct conf *conf;
	const struct plan *live, *plan;
	struct plan what_if = { .pools = NULL };
	struct plan_what_if what;
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err;

	live = plan = plan_in_force(call, &conf);
	if (live == NULL)
		return;
	if (conf->owner_file == NULL && arg_text(call, "scope") != NULL &&
	    strcmp(arg_text(call, "scope"), key_scope_text(SCOPE_OWNER)) == 0) {
		command_fail(call, CTL_FAILED, "refused",
		    "name an OwnerFile in <Policy> of ksmpool.xml, then "
		    "ksmctl reload", "nothing says which owner a zone has");
		return;
	}
	if (what_if_of(call, &what)) {
		err = plan_what_if(conf, live, &what, &what_if, &fail);
		if (err != KSM_OK) {
			fail_err(call, err, "failed", &fail);
			goto out;
		}
		plan = &what_if;
	}
	for (size_t i = 0; i < plan->npools; i++)
		plan_pool_one(call, live, plan, &plan->pools[i]);
	for (size_t i = 0; i < plan->ntokens; i++)
		plan_token_send(call, &plan->tokens[i]);
	result_send(call, CTL_OK,
	    json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I}",
		"what_if_zones", count_or_null(what.zones, what.zones >= 0),
		"what_if_horizon_s",
		count_or_null(what.horizon, what.horizon >= 0),
		"what_if_emergency_rolls", count_or_null(what.emergency_rolls,
		    what.emergency_rolls >= 0),
		"what_if_capacity",
		count_or_null(what.capacity, what.capacity >= 0),
		"what_if_scope", text_or_null(what.scope != SCOPE_KASP
			? key_scope_text(what.scope) : NULL),
		"zones", (json_int_t)lists_in_force(conf).zones,
		"required", (json_int_t)plan->required,
		"deficit", (json_int_t)plan->deficit,
		"make", (json_int_t)plan->make));
out:
	plan_clear(&what_if);
}

/* ---- explain ---------------------------------------------------------- */

/* POLICY[/ROLE[/REPOSITORY[/ALGORITHM[/SIZE]]]], in any case. */
static bool
pool_named(const struct plan_pool *p, const char *name)
{
	const struct alg *alg = alg_find(p->alg);
	char whole[512];
	size_t len = strlen(name);

	(void)snprintf(whole, sizeof(whole), "%s/%s/%s/%s/%d", p->policy,
	    key_role_text(p->role), p->repository,
	    alg != NULL ? alg->name : "?", p->bits);
	return strncasecmp(whole, name, len) == 0 &&
	    (whole[len] == '\0' || whole[len] == '/');
}

static void
explain_start(struct command_call *call)
{
	const char *name = arg_text(call, "pool");
	const struct conf *conf;
	const struct plan *plan = plan_in_force(call, &conf);
	int64_t n = 0;

	if (plan == NULL)
		return;
	for (size_t i = 0; i < plan->npools; i++) {
		if (name != NULL && !pool_named(&plan->pools[i], name))
			continue;
		plan_pool_one(call, plan, plan, &plan->pools[i]);
		n++;
	}
	if (n == 0 && name != NULL) {
		command_fail(call, CTL_FAILED, "unknown-pool",
		    "POLICY/ROLE/REPOSITORY/ALGORITHM, or its beginning; "
		    "ksmctl plan names them",
		    "no pool '%s'", name);
		return;
	}
	for (size_t i = 0; i < plan->ntokens; i++)
		plan_token_send(call, &plan->tokens[i]);
	result_send(call, CTL_OK, json_pack("{s:I}", "count", (json_int_t)n));
}

static const struct command_arg plan_args[] = {
	{ "zones", ARG_COUNT, false },
	{ "horizon", ARG_DURATION, false },
	{ "emergency_rolls", ARG_COUNT, false },
	{ "capacity", ARG_COUNT, false },
	{ "scope", ARG_SCOPE, false },
};
static const struct command_arg explain_args[] = {
	{ "pool", ARG_NAME, false },
};

static const struct command commands[] = {
	{ .name = "plan", ARGS(plan_args), .start = plan_start },
	{ .name = "explain", ARGS(explain_args), .start = explain_start },
};

const struct command_group commands_plan = { commands, nitems(commands) };
