#include "commands_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/duration.h"

/* ---- replies --------------------------------------------------------- */

void
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

void
fail_memory(struct command_call *call)
{
	command_fail(call, CTL_FAILED, "no-memory", NULL,
	    "the daemon is out of memory");
}

/* Codes are a promise to scripts; words are not. */
void
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
void
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

void
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

json_t *
time_json(ksm_time t)
{
	char text[TIME_TEXT];

	if (t == 0)
		return json_null();
	time_format(t, text);
	return json_string(text);
}

json_t *
text_or_null(const char *text)
{
	return text == NULL || text[0] == '\0' ? json_null() : ctl_text(text);
}

json_t *
count_or_null(int64_t n, bool known)
{
	return known ? json_integer(n) : json_null();
}

json_t *
algorithm_json(int number)
{
	const struct alg *alg = alg_find(number);

	return alg != NULL ? json_string(alg->name) : json_integer(number);
}

const char *
arg_text(const struct command_call *call, const char *name)
{
	return json_string_value(json_object_get(call->args, name));
}

bool
arg_bool(const struct command_call *call, const char *name)
{
	return json_is_true(json_object_get(call->args, name));
}

/* `none` when it was not given. */
int64_t
arg_integer(const struct command_call *call, const char *name, int64_t none)
{
	const json_t *value = json_object_get(call->args, name);

	return value != NULL ? json_integer_value(value) : none;
}

int
arg_alg(const struct command_call *call, const char *name)
{
	const char *text = arg_text(call, name);
	const struct alg *alg = text != NULL ? alg_parse(text) : NULL;

	return alg != NULL ? alg->number : 0;
}

struct store_actor
call_actor(const struct command_call *call)
{
	return (struct store_actor){ .uid = call->uid, .pid = call->pid };
}

/* ---- views that several commands show -------------------------------- */

const struct plan_token *
token_find(const struct plan *plan, const char *repository)
{
	for (size_t i = 0; i < plan->ntokens; i++)
		if (strcmp(plan->tokens[i].repository->name, repository) == 0)
			return &plan->tokens[i];
	return NULL;
}

/* What every list of pools says first. */
json_t *
pool_json(const struct plan_pool *p)
{
	return json_pack("{s:o, s:s, s:o, s:o, s:i, s:s, s:s, s:I, s:I, s:I,"
	    " s:I, s:I, s:I}",
	    "policy", ctl_text(p->policy),
	    "role", key_role_text(p->role),
	    "repository", ctl_text(p->repository),
	    "algorithm", algorithm_json(p->alg),
	    "size", p->bits,
	    "strategy", strategy_text(p->strategy),
	    "level", pool_level_text(p->level),
	    "required", (json_int_t)p->required,
	    "ready", (json_int_t)p->ready,
	    "covered", (json_int_t)p->covered,
	    "usable", (json_int_t)p->usable,
	    "coming", (json_int_t)p->coming,
	    "deficit", (json_int_t)p->deficit);
}

struct list_counts
lists_in_force(const struct conf *conf)
{
	struct list_counts sum = { .zones = 0 };

	for (size_t i = 0; i < conf->npolicies; i++) {
		sum.zones += conf->policies[i].zones;
		sum.owners += conf->policies[i].owners;
	}
	return sum;
}

/*
 * True while the zones or owners in force are not those that were read last.
 * What is empty counts only when it was accepted; a start with it keeps what
 * was in force before.
 */
bool
lists_are_last_good(const struct conf *conf)
{
	struct list_counts sum = lists_in_force(conf);

	if (conf->zonelist == ZONELIST_EMPTY ? sum.zones > 0
					     : conf->zonelist != ZONELIST_OK)
		return true;
	return conf->owners == ZONELIST_EMPTY ? sum.owners < sum.zones
					      : conf->owners != ZONELIST_OK;
}

/* The plan and configuration in force; answers the caller when there is none. */
const struct plan *
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

/*
 * "No keys" for a name that was mistyped would be a false all-clear. What was
 * in force once may have keys still. False: the caller was told.
 */
bool
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

void
state_free(struct command_call *call)
{
	free(call->state);
	call->state = NULL;
}
