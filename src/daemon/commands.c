#include "commands.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ksmpool/clock.h"
#include "ksmpool/duration.h"

#define LIST_PAGE	200	     /* rows per command_more */
#define PROGRESS_EVERY	250	     /* ms */
#define FINDINGS_MAX	1000	     /* the rest is counted */

enum arg_type {
	ARG_BOOL,
	ARG_COUNT, /* an integer >= 0 */
	ARG_SOME,  /* an integer >= 1 */
	ARG_TIME,  /* seconds UTC */
	ARG_NAME,  /* 1 to 255 bytes */
	ARG_ROLE,
	ARG_STATE,
	ARG_ID,
};

struct command_arg {
	const char *name;
	enum arg_type type;
	bool required;
};

struct command {
	const char *name;
	const struct command_arg *args;
	size_t nargs;
	bool changes;
	void (*start)(struct command_call *call);
	void (*more)(struct command_call *call);
	void (*poll)(struct command_call *call);
	void (*end)(struct command_call *call);
};

/* ---- replies --------------------------------------------------------- */

static void
reply_send(struct command_call *call, const struct ctl_reply *r)
{
	if (call->done)
		return;
	if (r->type == CTL_RESULT || r->type == CTL_ERROR)
		call->done = true;
	call->emit(call->to, r);
}

void
command_fail(struct command_call *call, int status, const char *code,
    const char *hint, const char *fmt, ...)
{
	struct ctl_reply r = { .type = CTL_ERROR, .exit = status };
	va_list ap;

	(void)snprintf(r.code, sizeof(r.code), "%s", code);
	(void)snprintf(r.hint, sizeof(r.hint), "%s", hint != NULL ? hint : "");
	va_start(ap, fmt);
	(void)vsnprintf(r.text, sizeof(r.text), fmt, ap);
	va_end(ap);
	reply_send(call, &r);
}

static void
fail_memory(struct command_call *call)
{
	command_fail(call, CTL_FAILED, "no-memory", NULL,
	    "the daemon is out of memory");
}

/* Codes are a promise to scripts; words are not. */
static void
fail_err(struct command_call *call, enum ksm_err err, const char *enoent,
    const struct ksm_fail *fail)
{
	const char *code = "failed";

	switch (err) {
	case KSM_ENOENT:
		code = enoent;
		break;
	case KSM_EBUSY:
		code = "busy";
		break;
	case KSM_EREFUSED:
		code = "refused";
		break;
	case KSM_ESTORE:
		code = "store";
		break;
	case KSM_ENOMEM:
		code = "no-memory";
		break;
	default:
		break;
	}
	command_fail(call, CTL_FAILED, code, NULL, "%s",
	    fail->text[0] != '\0' ? fail->text : "failed without words");
}

/* Take `body` over; NULL: out of memory. */
static void
item_send(struct command_call *call, const char *list, json_t *body)
{
	struct ctl_reply r = { .type = CTL_ITEM };

	r.body = json_pack("{s:o}", list, body);
	if (r.body == NULL)
		fail_memory(call);
	else
		reply_send(call, &r);
	ctl_reply_clear(&r);
}

static void
result_send(struct command_call *call, int status, json_t *body)
{
	struct ctl_reply r = { .type = CTL_RESULT, .exit = status };

	r.body = body;
	if (r.body == NULL)
		fail_memory(call);
	else
		reply_send(call, &r);
	ctl_reply_clear(&r);
}

/* ---- values ---------------------------------------------------------- */

static json_t *
time_json(ksm_time t)
{
	char text[TIME_TEXT];

	if (t == 0)
		return json_null();
	time_format(t, text);
	return json_string(text);
}

static json_t *
text_or_null(const char *text)
{
	return text == NULL || text[0] == '\0' ? json_null() : ctl_text(text);
}

static json_t *
count_or_null(int64_t n, bool known)
{
	return known ? json_integer(n) : json_null();
}

static json_t *
algorithm_json(int number)
{
	const struct alg *alg = alg_find(number);

	return alg != NULL ? json_string(alg->name) : json_integer(number);
}

static const char *
arg_text(const struct command_call *call, const char *name)
{
	return json_string_value(json_object_get(call->args, name));
}

static bool
arg_bool(const struct command_call *call, const char *name)
{
	return json_is_true(json_object_get(call->args, name));
}

/* `none` when it was not given. */
static int64_t
arg_integer(const struct command_call *call, const char *name, int64_t none)
{
	const json_t *value = json_object_get(call->args, name);

	return value != NULL ? json_integer_value(value) : none;
}

/* ---- status ---------------------------------------------------------- */

static const struct plan_token *
token_find(const struct plan *plan, const char *repository)
{
	for (size_t i = 0; i < plan->ntokens; i++)
		if (strcmp(plan->tokens[i].repository->name, repository) == 0)
			return &plan->tokens[i];
	return NULL;
}

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

/* What every list of pools says first. */
static json_t *
pool_json(const struct plan_pool *p)
{
	return json_pack("{s:o, s:s, s:o, s:o, s:i, s:s, s:s, s:I, s:I, s:I,"
	    " s:I}",
	    "policy", ctl_text(p->policy),
	    "role", key_role_text(p->role),
	    "repository", ctl_text(p->repository),
	    "algorithm", algorithm_json(p->alg),
	    "size", p->bits,
	    "strategy", strategy_text(p->strategy),
	    "level", pool_level_text(p->level),
	    "required", (json_int_t)p->required,
	    "ready", (json_int_t)p->ready,
	    "coming", (json_int_t)p->coming,
	    "deficit", (json_int_t)p->deficit);
}

static json_t *
run_json(const struct store_run *run)
{
	static const char *const cause[] = {
		[RUN_AUTO] = "auto",
		[RUN_TOPUP] = "topup",
		[RUN_ONCE] = "once",
	};

	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I}",
	    "cause", (size_t)run->cause < nitems(cause) ? cause[run->cause]
							: "unknown",
	    "uid", count_or_null(run->uid, run->uid >= 0),
	    "pid", count_or_null(run->pid, run->pid >= 0),
	    "max", count_or_null(run->max, run->max >= 0),
	    "started", time_json(run->started),
	    "ended", time_json(run->ended),
	    "wanted", (json_int_t)run->wanted,
	    "made", (json_int_t)run->made,
	    "failed", (json_int_t)run->failed,
	    "held", (json_int_t)run->held);
}

static const char *
zonelist_text(enum zonelist_state state)
{
	switch (state) {
	case ZONELIST_OK:
		return "ok";
	case ZONELIST_EMPTY:
		return "empty";
	case ZONELIST_VANISHED:
		return "vanished";
	case ZONELIST_BAD:
		return "bad";
	}
	return "unknown";
}

/* What was read may hold none: these are counted on. */
static int64_t
zones_in_force(const struct conf *conf)
{
	int64_t zones = 0;

	for (size_t i = 0; i < conf->npolicies; i++)
		zones += conf->policies[i].zones;
	return zones;
}

/*
 * A list that is empty counts only when it was accepted; a start with one
 * keeps the zones that were in force before.
 */
static bool
zonelist_is_last_good(const struct conf *conf)
{
	return conf->zonelist == ZONELIST_EMPTY ? zones_in_force(conf) > 0
						: conf->zonelist != ZONELIST_OK;
}

/* The plan and configuration in force; answers the caller when there is none. */
static const struct plan *
plan_in_force(struct command_call *call, const struct conf **conf)
{
	const struct plan *plan = NULL;

	*conf = engine_conf(call->face->engine);
	if (*conf != NULL)
		plan = engine_plan(call->face->engine);
	if (plan == NULL)
		command_fail(call, CTL_FAILED, "starting",
		    "ask again in a moment",
		    "no configuration is in force yet");
	return plan;
}

/* All repositories as items; false if one needs a look. */
static bool
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

/* A whole picture of one moment, so it is not made in pages. */
static void
status_start(struct command_call *call)
{
	const struct daemon_face *face = call->face;
	const struct conf *conf;
	const struct plan *plan;
	struct ksm_fail fail = { .text = "" };
	struct store_run run;
	char clock[256] = "", trouble[256];
	json_t *last = NULL, *backup = NULL, *pool;
	enum ksm_err err;
	bool fine, last_good;

	plan = plan_in_force(call, &conf);
	if (plan == NULL)
		goto out;
	err = store_run_last(face->store, &run, &fail);
	if (err != KSM_OK && err != KSM_ENOENT) {
		fail_err(call, err, "failed", &fail);
		goto out;
	}
	last = err == KSM_OK ? run_json(&run) : json_null();
	fine = repositories_send(call, plan);
	for (size_t i = 0; i < plan->npools; i++) {
		const struct plan_pool *p = &plan->pools[i];

		if (p->level == LEVEL_CRITICAL || p->level == LEVEL_EMPTY)
			fine = false;
		trouble[0] = '\0';
		engine_pool_trouble(face->engine, i, trouble);
		pool = pool_json(p);
		(void)json_object_set_new(pool, "held",
		    json_integer(engine_pool_held(face->engine, i)));
		(void)json_object_set_new(pool, "trouble",
		    text_or_null(trouble));
		item_send(call, "pools", pool);
	}
	backup = json_array();
	for (size_t i = 0; i < conf->nrepositories; i++)
		if (conf->repositories[i].require_backup)
			(void)json_array_append_new(backup,
			    ctl_text(conf->repositories[i].name));
	if (!engine_clock_trouble(face->engine, clock))
		clock[0] = '\0';
	else
		fine = false; /* no key is made while it lasts */
	last_good = zonelist_is_last_good(conf);
	if (last_good)
		fine = false; /* zones may have come that nobody counts */
	result_send(call, fine ? CTL_OK : CTL_ATTENTION,
	    json_pack("{s:s, s:I, s:o, s:I, s:o, s:{s:I, s:s, s:s}, s:o,"
		" s:{s:O}, s:O}",
		"daemon_version", face->version,
		"pid", (json_int_t)getpid(),
		"started", time_json(face->started),
		"uptime_s", (json_int_t)(clock_wall() - face->started),
		"config", text_or_null(conf->file),
		"zonelist",
		"zones", (json_int_t)zones_in_force(conf),
		"state", zonelist_text(conf->zonelist),
		"in_force", last_good ? "last-good" : "read",
		"clock", text_or_null(clock),
		"backup", "required", backup,
		"last_run", last));
out:
	json_decref(backup);
	json_decref(last);
}

/* ---- plan ------------------------------------------------------------ */

static json_t *
term_json(const struct plan_term *t)
{
	return json_pack("{s:I, s:I, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I,"
	    " s:I, s:I, s:I}",
	    "line", (json_int_t)t->key->line,
	    "zones", (json_int_t)t->in.zones,
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
	    json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}",
		"low_water", (json_int_t)p->low_water,
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
	    json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I}",
		"repository", ctl_text(r->name),
		"capacity", count_or_null(r->capacity, r->capacity >= 0),
		"pairs_held", (json_int_t)t->pairs_held,
		"pairs_make", (json_int_t)t->pairs_make,
		"pairs_over", (json_int_t)t->pairs_over,
		"objects_held", (json_int_t)t->objects_held,
		"objects_make", (json_int_t)t->objects_make));
}

/* The plan for another number of zones, with the stock there is. */
static enum ksm_err
plan_what_if(const struct conf *conf, const struct plan *live, int64_t zones,
    struct plan *out, struct ksm_fail *fail)
{
	struct plan_what_if what = PLAN_AS_CONFIGURED;
	enum ksm_err err = KSM_OK;
	struct plan tmp = { .pools = NULL };
	int64_t *held = NULL;

	what.zones = zones;
	err = plan_make(conf, &what, &tmp, fail);
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
	size_t i;

	for (i = 0; i < plan->npools; i++)
		if (strcmp(plan->pools[i].policy, p->policy) == 0 &&
		    plan->pools[i].role == p->role &&
		    strcmp(plan->pools[i].repository, p->repository) == 0 &&
		    plan->pools[i].alg == p->alg &&
		    plan->pools[i].bits == p->bits)
			break;
	return i;
}

static void
plan_start(struct command_call *call)
{
	struct engine *e = call->face->engine;
	const struct conf *conf;
	const struct plan *live, *plan;
	struct plan what_if = { .pools = NULL };
	struct ksm_fail fail = { .text = "" };
	int64_t zones = arg_integer(call, "zones", -1), limit, held;
	char trouble[256];
	enum ksm_err err;
	size_t k;

	live = plan = plan_in_force(call, &conf);
	if (live == NULL)
		return;
	if (zones >= 0) {
		err = plan_what_if(conf, live, zones, &what_if, &fail);
		if (err != KSM_OK) {
			fail_err(call, err, "failed", &fail);
			goto out;
		}
		plan = &what_if;
	}
	for (size_t i = 0; i < plan->npools; i++) {
		const struct plan_pool *p = &plan->pools[i];

		/* Same configuration, same pools: i, unless we erred. */
		k = plan == live ? i : pool_index(live, p);
		trouble[0] = '\0';
		if (k < live->npools)
			engine_pool_trouble(e, k, trouble);
		held = k < live->npools ? engine_pool_held(e, k) : 0;
		if (plan != live) {
			limit = p->settings.max_per_run;
			held = p->make > limit ? p->make - limit : 0;
		}
		plan_pool_send(call, p, trouble, held,
		    k < live->npools ? engine_pool_rate(e, k) : 0);
	}
	for (size_t i = 0; i < plan->ntokens; i++)
		plan_token_send(call, &plan->tokens[i]);
	result_send(call, CTL_OK,
	    json_pack("{s:o, s:I, s:I, s:I, s:I}",
		"what_if_zones", count_or_null(zones, zones >= 0),
		"zones", (json_int_t)zones_in_force(conf),
		"required", (json_int_t)plan->required,
		"deficit", (json_int_t)plan->deficit,
		"make", (json_int_t)plan->make));
out:
	plan_clear(&what_if);
}

/* ---- keys ------------------------------------------------------------ */

static json_t *
key_json(const struct store_key *k)
{
	char id[KEY_ID_HEX];

	key_id_format(&k->id, id);
	return json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:i, s:s, s:o, s:o}",
	    "id", id,
	    "serial", count_or_null(k->serial, k->serial > 0),
	    "policy", ctl_text(k->pool.policy),
	    "role", key_role_text(k->pool.role),
	    "repository", ctl_text(k->pool.repository),
	    "algorithm", algorithm_json(k->pool.alg),
	    "size", k->pool.bits,
	    "state", key_state_text(k->state),
	    "created", time_json(k->ended),
	    "since", time_json(k->since));
}

static json_t *
key_json_whole(const struct store_key *k)
{
	char pub[2 * DNSKEY_PUB_MAX + 1] = "";
	char digest[2 * sizeof(k->digest) + 1] = "";
	json_t *key = key_json(k);
	size_t len = k->publen < DNSKEY_PUB_MAX ? k->publen : DNSKEY_PUB_MAX;

	if (len > 0) {
		hex_format(k->pub, len, pub);
		hex_format(k->digest, sizeof(k->digest), digest);
	}
	(void)json_object_update_new(key,
	    json_pack("{s:o, s:o, s:o, s:o, s:b, s:b, s:o, s:o, s:o, s:o,"
		" s:o}",
		"was", k->was < KEY__STATES
		    ? json_string(key_state_text(k->was)) : json_null(),
		"why", text_or_null(k->why),
		"intended", time_json(k->intended),
		"started", time_json(k->started),
		"proved", k->proved,
		"adopted", k->adopted,
		"tag_zsk", count_or_null(k->tag_zsk, k->tag_zsk >= 0),
		"tag_ksk", count_or_null(k->tag_ksk, k->tag_ksk >= 0),
		"tag_revoked", count_or_null(k->tag_revoked,
		    k->tag_revoked >= 0),
		"public_key", text_or_null(pub),
		"sha256", text_or_null(digest)));
	return key;
}

struct listing {
	struct key_filter filter; /* its names are borrowed from the args */
	int64_t cursor, count;
};

/*
 * "No keys" for a name that was mistyped would be a false all-clear. What was
 * in force once may have keys still. False: the caller was told.
 */
static bool
names_check(struct command_call *call, const char *policy,
    const char *repository)
{
	const struct conf *conf = engine_conf(call->face->engine);
	struct store *st = call->face->store;
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err = KSM_OK;
	bool known = true;

	if (policy != NULL &&
	    (conf == NULL || conf_policy_find(conf, policy) == NULL))
		err = store_policy_known(st, policy, &known, &fail);
	if (err == KSM_OK && !known) {
		command_fail(call, CTL_FAILED, "unknown-policy",
		    "ksmctl plan names those in force",
		    "there is and was no policy '%s'", policy);
		return false;
	}
	if (err == KSM_OK && repository != NULL &&
	    (conf == NULL || conf_repository_find(conf, repository) == NULL))
		err = store_repository_known(st, repository, &known, &fail);
	if (err == KSM_OK && !known) {
		command_fail(call, CTL_FAILED, "unknown-repository",
		    "ksmctl repository list names those in force",
		    "there is and was no repository '%s'", repository);
		return false;
	}
	if (err != KSM_OK)
		fail_err(call, err, "failed", &fail);
	return err == KSM_OK;
}

static void
key_list_start(struct command_call *call)
{
	const char *state = arg_text(call, "state");
	const char *role = arg_text(call, "role");
	struct listing *l;

	if (!names_check(call, arg_text(call, "policy"),
		arg_text(call, "repository")))
		return;
	l = calloc(1, sizeof(*l));
	if (l == NULL) {
		fail_memory(call);
		return;
	}
	l->filter.by_created =
	    json_object_get(call->args, "created_after") != NULL;
	l->filter.created_after = arg_integer(call, "created_after", 0);
	l->filter.by_state = state != NULL &&
	    key_state_find(state, &l->filter.state);
	l->filter.by_role = role != NULL &&
	    key_role_find(role, &l->filter.role);
	l->filter.policy = arg_text(call, "policy");
	l->filter.repository = arg_text(call, "repository");
	call->state = l;
}

/* Sum of keys that are being settled and match, but for the date. */
struct unsettled {
	const struct key_filter *filter;
	int64_t n;
};

static void
unsettled_add(void *ctx, int64_t pool_row, const struct pool_spec *spec,
    enum key_state state, int64_t n)
{
	struct unsettled *u = ctx;
	const struct key_filter *f = u->filter;

	(void)pool_row;
	if (state == KEY_UNKNOWN &&
	    (f->policy == NULL || strcmp(f->policy, spec->policy) == 0) &&
	    (f->repository == NULL ||
		strcmp(f->repository, spec->repository) == 0) &&
	    (!f->by_role || f->role == spec->role))
		u->n += n;
}

/*
 * Whether keys in state unknown exist is not known, so a list of those that
 * exist leaves them out; whoever asks what is in no backup must hear of them.
 */
static void
key_list_end(struct command_call *call, const struct listing *l)
{
	struct unsettled u = { .filter = &l->filter };
	struct ksm_fail fail = { .text = "" };
	json_t *body = json_pack("{s:I}", "count", (json_int_t)l->count);
	enum ksm_err err = KSM_OK;

	if (l->filter.by_created && !l->filter.by_state) {
		err = store_counts(call->face->store, unsettled_add, &u,
		    &fail);
		if (body != NULL)
			(void)json_object_set_new(body, "unsettled",
			    json_integer(u.n));
	}
	if (err == KSM_OK) {
		result_send(call, l->filter.by_created && l->count > 0
		    ? CTL_ATTENTION : CTL_OK, body);
		return;
	}
	json_decref(body);
	fail_err(call, err, "failed", &fail);
}

static void
key_list_more(struct command_call *call)
{
	struct listing *l = call->state;
	struct store_key *page = NULL;
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err;
	size_t n = 0;

	page = calloc(LIST_PAGE, sizeof(*page));
	if (page == NULL) {
		fail_memory(call);
		goto out;
	}
	err = store_keys_list(call->face->store, &l->filter, &l->cursor, page,
	    LIST_PAGE, &n, &fail);
	if (err != KSM_OK) {
		fail_err(call, err, "failed", &fail);
		goto out;
	}
	for (size_t i = 0; i < n; i++)
		item_send(call, "keys", key_json(&page[i]));
	l->count += (int64_t)n;
	if (n == 0)
		key_list_end(call, l);
out:
	free(page);
}

static void
state_free(struct command_call *call)
{
	free(call->state);
	call->state = NULL;
}

static void
key_show_start(struct command_call *call)
{
	struct ksm_fail fail = { .text = "" };
	struct store_key key;
	struct key_id id;
	enum ksm_err err;

	if (!key_id_parse(arg_text(call, "id"), &id)) {
		command_fail(call, CTL_FAILED, "bad-argument", NULL,
		    "key show: \"id\" is not 32 hex digits");
		return;
	}
	err = store_key_get(call->face->store, &id, &key, &fail);
	if (err == KSM_ENOENT)
		command_fail(call, CTL_FAILED, "unknown-key",
		    "ksmctl key list shows what there is",
		    "no key with id %s", arg_text(call, "id"));
	else if (err != KSM_OK)
		fail_err(call, err, "unknown-key", &fail);
	else
		result_send(call, CTL_OK,
		    json_pack("{s:o}", "key", key_json_whole(&key)));
}

/* ---- topup ----------------------------------------------------------- */

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

/* ---- repositories ---------------------------------------------------- */

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
	    (struct store_actor){ call->uid, call->pid }, &fail);
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

/* ---- daemon ---------------------------------------------------------- */

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

/* ---- the table ------------------------------------------------------- */

static const struct command_arg plan_args[] = {
	{ "zones", ARG_COUNT, false },
};
static const struct command_arg key_list_args[] = {
	{ "created_after", ARG_TIME, false },
	{ "state", ARG_STATE, false },
	{ "policy", ARG_NAME, false },
	{ "role", ARG_ROLE, false },
	{ "repository", ARG_NAME, false },
};
static const struct command_arg key_show_args[] = {
	{ "id", ARG_ID, true },
};
static const struct command_arg topup_args[] = {
	{ "policy", ARG_NAME, false },
	{ "max", ARG_SOME, false },
	{ "wait", ARG_BOOL, false },
	{ "dry_run", ARG_BOOL, false },
};
static const struct command_arg resume_args[] = {
	{ "name", ARG_NAME, true },
	{ "accept_token", ARG_BOOL, false },
};
static const struct command_arg reload_args[] = {
	{ "allow_empty", ARG_BOOL, false },
};

#define ARGS(a) .args = (a), .nargs = nitems(a)

static const struct command commands[] = {
	{ .name = "status", .start = status_start },
	{ .name = "plan", ARGS(plan_args), .start = plan_start },
	{ .name = "key list", ARGS(key_list_args), .start = key_list_start,
	    .more = key_list_more, .end = state_free },
	{ .name = "key show", ARGS(key_show_args), .start = key_show_start },
	{ .name = "topup", ARGS(topup_args), .changes = true,
	    .start = topup_start, .poll = topup_poll, .end = topup_end },
	{ .name = "repository list", .start = repository_list_start },
	{ .name = "repository resume", ARGS(resume_args), .changes = true,
	    .start = repository_resume_start },
	{ .name = "reload", ARGS(reload_args), .changes = true,
	    .start = reload_start, .end = reload_end },
	{ .name = "stop", .changes = true, .start = stop_start },
	{ .name = "version", .start = version_start },
};

static void
name_append(char *list, size_t size, const char *name)
{
	size_t used = strlen(list);

	(void)snprintf(list + used, size - used, "%s%s",
	    used > 0 ? ", " : "", name);
}

/* NULL when the value is right; otherwise what was expected. */
static const char *
arg_expected(enum arg_type type, const json_t *value)
{
	enum key_state state;
	enum key_role role;
	struct key_id id;
	const char *text = json_string_value(value);

	switch (type) {
	case ARG_BOOL:
		return json_is_boolean(value) ? NULL : "true or false";
	case ARG_COUNT:
		return json_is_integer(value) && json_integer_value(value) >= 0
		    ? NULL : "a whole number, 0 or more";
	case ARG_SOME:
		return json_is_integer(value) && json_integer_value(value) > 0
		    ? NULL : "a whole number, 1 or more";
	case ARG_TIME:
		return json_is_integer(value) ? NULL : "seconds since 1970";
	case ARG_NAME:
		return text != NULL && text[0] != '\0' && strlen(text) < 256
		    ? NULL : "a name of 1 to 255 bytes";
	case ARG_ROLE:
		return text != NULL && key_role_find(text, &role)
		    ? NULL : "KSK, ZSK or CSK";
	case ARG_STATE:
		return text != NULL && key_state_find(text, &state)
		    ? NULL : "a state of a key, see ksmctl(1)";
	case ARG_ID:
		return text != NULL && key_id_parse(text, &id)
		    ? NULL : "32 hex digits";
	}
	return "nothing";
}

static bool
args_check(struct command_call *call)
{
	const struct command *c = call->command;
	const char *name, *expected;
	char known[256] = "";
	json_t *value;
	size_t i;

	for (i = 0; i < c->nargs; i++)
		name_append(known, sizeof(known), c->args[i].name);
	json_object_foreach(call->args, name, value) {
		for (i = 0; i < c->nargs; i++)
			if (strcmp(c->args[i].name, name) == 0)
				break;
		if (i == c->nargs) {
			command_fail(call, CTL_FAILED, "bad-argument", NULL,
			    "%s: unknown argument \"%.64s\"; known: %s",
			    c->name, name, known[0] != '\0' ? known : "none");
			return false;
		}
		expected = arg_expected(c->args[i].type, value);
		if (expected != NULL) {
			command_fail(call, CTL_FAILED, "bad-argument", NULL,
			    "%s: argument \"%s\" must be %s", c->name, name,
			    expected);
			return false;
		}
	}
	for (i = 0; i < c->nargs; i++) {
		if (!c->args[i].required ||
		    json_object_get(call->args, c->args[i].name) != NULL)
			continue;
		command_fail(call, CTL_FAILED, "bad-argument", NULL,
		    "%s: argument \"%s\" is missing", c->name,
		    c->args[i].name);
		return false;
	}
	return true;
}

void
command_start(struct command_call *call, struct ctl_request *r)
{
	char known[256] = "";

	call->args = r->args;
	r->args = NULL;
	for (size_t i = 0; i < nitems(commands); i++) {
		name_append(known, sizeof(known), commands[i].name);
		if (strcmp(commands[i].name, r->command) == 0)
			call->command = &commands[i];
	}
	if (call->command == NULL) {
		command_fail(call, CTL_FAILED, "unknown-command", NULL,
		    "unknown command \"%s\"; known: %s", r->command, known);
		return;
	}
	if (args_check(call))
		call->command->start(call);
}

bool
command_streams(const struct command_call *call)
{
	return !call->done && call->command != NULL &&
	    call->command->more != NULL;
}

void
command_more(struct command_call *call)
{
	if (command_streams(call))
		call->command->more(call);
}

void
command_poll(struct command_call *call)
{
	if (!call->done && call->command != NULL &&
	    call->command->poll != NULL)
		call->command->poll(call);
}

void
command_end(struct command_call *call)
{
	if (call->command != NULL && call->command->end != NULL)
		call->command->end(call);
	call->command = NULL;
	call->done = true;
	json_decref(call->args);
	call->args = NULL;
}

bool
command_changes(const struct command_call *call)
{
	return call->command != NULL && call->command->changes &&
	    !arg_bool(call, "dry_run");
}
