#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ksmpool/alg.h"
#include "ksmpool/duration.h"
#include "ksmpool/msg_ctl.h"
#include "ksmpool/plan.h"

#include "config.h"

/*
 * The conf with a stand-in for each repository that a key names and nobody
 * configured, so that pools can be shown for a kasp.xml alone.
 */
static enum ksm_err
view_make(const struct conf *c, struct conf *view, struct ksm_fail *fail)
{
	size_t n = c->nrepositories, most = n;

	*view = *c;
	for (size_t i = 0; i < c->npolicies; i++)
		most += c->policies[i].nkeys;
	view->repositories = calloc(most + 1, sizeof(*view->repositories));
	if (view->repositories == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "out of memory");
	if (n > 0)
		memcpy(view->repositories, c->repositories,
		    n * sizeof(*view->repositories));
	for (size_t i = 0; i < c->npolicies; i++) {
		for (size_t k = 0; k < c->policies[i].nkeys; k++) {
			char *name = c->policies[i].keys[k].repository;

			if (conf_repository_find(view, name) != NULL)
				continue;
			view->repositories[view->nrepositories].name = name;
			view->repositories[view->nrepositories].capacity = -1;
			view->nrepositories++;
		}
	}
	return KSM_OK;
}

static const char *
alg_name(int number)
{
	const struct alg *a = alg_find(number);

	return a != NULL ? a->name : "?";
}

/* ---- for people ------------------------------------------------------- */

/* Values come from files: no control characters reach the terminal. */
static void
text_print(const char *text)
{
	for (const char *p = text; *p != '\0'; p++) {
		unsigned char ch = (unsigned char)*p;

		(void)putchar(ch < 0x20 || ch == 0x7f ? '?' : ch);
	}
}

static void
finding_print(const struct conf_finding *f)
{
	text_print(f->file != NULL ? f->file : "-");
	if (f->line > 0)
		(void)printf(":%" PRId64, f->line);
	(void)printf(": %s: ", conf_severity_text(f->severity));
	text_print(f->what);
	if (f->value != NULL) {
		(void)fputs(": '", stdout);
		text_print(f->value);
		(void)putchar('\'');
	}
	if (f->expected != NULL) {
		(void)fputs("; expected ", stdout);
		text_print(f->expected);
	}
	(void)putchar('\n');
}

static void
lifetime_text(const struct plan_pool *pool, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < pool->nterms && used < size; i++) {
		char one[DURATION_TEXT] = "never";
		int n;

		if (pool->terms[i].in.lifetime > 0)
			duration_format(pool->terms[i].in.lifetime, one);
		n = snprintf(out + used, size - used, "%s%s",
		    i == 0 ? "" : "+", one);
		if (n > 0)
			used += (size_t)n;
	}
}

static void
pools_print(const struct plan *plan)
{
	int policy = 6, repository = 10, lifetime = 8;
	char life[256];

	for (size_t i = 0; i < plan->npools; i++) {
		const struct plan_pool *p = &plan->pools[i];
		int n;

		lifetime_text(p, life, sizeof(life));
		n = (int)strlen(p->policy);
		policy = n > policy ? n : policy;
		n = (int)strlen(p->repository);
		repository = n > repository ? n : repository;
		n = (int)strlen(life);
		lifetime = n > lifetime ? n : lifetime;
	}
	(void)printf("\n%-*s %-4s %-*s %-18s %5s %15s %-*s %12s\n", policy,
	    "POLICY", "ROLE", repository, "REPOSITORY", "ALGORITHM", "SIZE",
	    "ZONES/UNITS", lifetime, "LIFETIME", "REQUIRED");
	for (size_t i = 0; i < plan->npools; i++) {
		const struct plan_pool *p = &plan->pools[i];
		char units[64], kind[64] = "";

		lifetime_text(p, life, sizeof(life));
		(void)snprintf(units, sizeof(units), "%" PRId64 "/%" PRId64,
		    p->policy_conf->zones,
		    p->nterms > 0 ? p->terms[0].out.units : 0);
		if (p->strategy == STRATEGY_FILL && p->target > p->required)
			(void)snprintf(kind, sizeof(kind),
			    "  (fill, up to %" PRId64 ")", p->target);
		else if (p->strategy != STRATEGY_FORMULA)
			(void)snprintf(kind, sizeof(kind), "  (%s)",
			    strategy_text(p->strategy));
		(void)printf("%-*s %-4s %-*s %-18s %5d %15s %-*s %12" PRId64
		    "%s\n", policy, p->policy, key_role_text(p->role),
		    repository, p->repository, alg_name(p->alg), p->bits,
		    units, lifetime, life, p->required, kind);
	}
	(void)printf("%-*s %-4s %-*s %-18s %5s %15s %-*s %12" PRId64 "\n",
	    policy, "in all", "", repository, "", "", "", "", lifetime, "",
	    plan->required);
}

/* The most dangerous lack first: the level reached, then the part of it. */
static int
short_order(const void *a, const void *b)
{
	const struct plan_pool *x = *(const struct plan_pool *const *)a;
	const struct plan_pool *y = *(const struct plan_pool *const *)b;
	enum pool_level left = plan_level_at(x, x->make);
	enum pool_level right = plan_level_at(y, y->make);
	long double of_x, of_y;

	if (left != right)
		return left > right ? -1 : 1;
	of_x = (long double)x->make * (long double)y->required;
	of_y = (long double)y->make * (long double)x->required;
	if (of_x < of_y || of_x > of_y)
		return of_x < of_y ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* What each token has room for, and which pools go short. */
static void
tokens_print(const struct plan *plan)
{
	const struct plan_pool **lacking;
	size_t n = 0, limited = 0;
	int name = 10;

	for (size_t i = 0; i < plan->ntokens; i++) {
		int len = (int)strlen(plan->tokens[i].repository->name);

		name = len > name ? len : name;
		limited += plan->tokens[i].capacity >= 0 ? 1 : 0;
	}
	if (limited == 0)
		return;
	(void)printf("\n%-*s %12s %12s %12s\n", name, "REPOSITORY", "CAPACITY",
	    "NEED", "FREE");
	for (size_t i = 0; i < plan->ntokens; i++) {
		const struct plan_token *t = &plan->tokens[i];

		if (t->capacity < 0)
			continue;
		(void)printf("%-*s %12" PRId64 " %12" PRId64 " %12" PRId64
		    "%s\n", name, t->repository->name, t->capacity,
		    t->pairs_need, t->capacity > t->pairs_need ?
		    t->capacity - t->pairs_need : 0,
		    t->pairs_over > 0 ? "  too small" : "");
	}
	lacking = calloc(plan->npools + 1, sizeof(*lacking));
	if (lacking == NULL)
		return; /* the table before says it, too */
	for (size_t i = 0; i < plan->npools; i++) {
		if (plan->pools[i].capacity_short > 0)
			lacking[n++] = &plan->pools[i];
	}
	qsort(lacking, n, sizeof(*lacking), short_order);
	if (n > 0)
		(void)printf("\nPools that go short, the greatest risk "
		    "first:\n");
	for (size_t i = 0; i < n; i++)
		(void)printf("  %s %s in %s: room for %" PRId64 " of %" PRId64
		    " keys, level %s\n", lacking[i]->policy,
		    key_role_text(lacking[i]->role), lacking[i]->repository,
		    lacking[i]->make, lacking[i]->required,
		    pool_level_text(plan_level_at(lacking[i],
			lacking[i]->make)));
	free(lacking);
}

static void
human_report(const struct loaded *l, const struct plan *plan)
{
	const struct conf *c = &l->conf;
	int64_t all = c->errors + c->warnings + c->notices;

	for (size_t i = 0; i < c->nfindings; i++)
		finding_print(&c->findings[i]);
	if (all > (int64_t)c->nfindings)
		(void)printf("%" PRId64 " more findings are counted and not "
		    "shown\n", all - (int64_t)c->nfindings);
	if (plan != NULL && plan->npools > 0) {
		pools_print(plan);
		tokens_print(plan);
	} else if (c->npolicies == 0 && l->zonelist.ncounts > 0) {
		(void)printf("\n%-24s %12s\n", "POLICY", "ZONES");
		for (size_t i = 0; i < l->zonelist.ncounts; i++)
			(void)printf("%-24s %12" PRId64 "\n",
			    l->zonelist.counts[i].policy,
			    l->zonelist.counts[i].zones);
	}
	(void)printf("%s%" PRId64 " error%s, %" PRId64 " warning%s, %" PRId64
	    " notice%s\n", all > 0 || (plan != NULL && plan->npools > 0) ?
	    "\n" : "", c->errors, c->errors == 1 ? "" : "s", c->warnings,
	    c->warnings == 1 ? "" : "s", c->notices,
	    c->notices == 1 ? "" : "s");
}

/* ---- for programs ----------------------------------------------------- */

static const char *const file_names[CONF__FILES] = {
	[CONF_KSMPOOL] = "ksmpool",
	[CONF_OPENDNSSEC] = "opendnssec",
	[CONF_KASP] = "kasp",
	[CONF_ZONELIST] = "zonelist",
	[CONF_OWNERS] = "owners",
};

static json_t *
text_or_null(const char *text)
{
	return text != NULL ? ctl_text(text) : json_null();
}

static json_t *
findings_json(const struct conf *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->nfindings; i++) {
		const struct conf_finding *f = &c->findings[i];

		(void)json_array_append_new(list, json_pack(
		    "{s:s, s:o, s:I, s:o, s:o, s:o, s:s}",
		    "severity", conf_severity_text(f->severity),
		    "file", text_or_null(f->file),
		    "line", (json_int_t)f->line,
		    "what", text_or_null(f->what),
		    "value", text_or_null(f->value),
		    "expected", text_or_null(f->expected),
		    "in", file_names[f->in]));
	}
	return list;
}

static json_t *
policies_json(const struct loaded *l)
{
	const struct conf *c = &l->conf;
	json_t *list = json_array();

	for (size_t i = 0; i < c->npolicies; i++) {
		const struct conf_policy *p = &c->policies[i];
		json_t *keys = json_array();

		for (size_t j = 0; j < p->nkeys; j++) {
			const struct conf_key *k = &p->keys[j];

			(void)json_array_append_new(keys, json_pack(
			    "{s:s, s:i, s:i, s:I, s:o, s:I, s:b, s:I}",
			    "role", key_role_text(k->role),
			    "algorithm", k->alg, "bits", k->bits,
			    "lifetime_s", (json_int_t)k->lifetime,
			    "repository", ctl_text(k->repository),
			    "standby", (json_int_t)k->standby,
			    "manual_rollover", (int)k->manual_rollover,
			    "line", (json_int_t)k->line));
		}
		(void)json_array_append_new(list, json_pack(
		    "{s:o, s:b, s:b, s:I, s:I, s:I, s:o, s:I}",
		    "name", ctl_text(p->name),
		    "passthrough", (int)p->passthrough,
		    "shared", (int)p->share_keys,
		    "purge_s", (json_int_t)p->purge,
		    "zones", (json_int_t)p->zones,
		    "owners", (json_int_t)p->owners, "keys", keys,
		    "line", (json_int_t)p->line));
	}
	/* a zone list alone still says which policies it speaks of */
	for (size_t i = 0; i < l->zonelist.ncounts; i++) {
		const struct zone_count *n = &l->zonelist.counts[i];

		if (conf_policy_find(c, n->policy) != NULL)
			continue;
		(void)json_array_append_new(list, json_pack(
		    "{s:o, s:b, s:b, s:I, s:I, s:I, s:[], s:n}",
		    "name", ctl_text(n->policy), "passthrough", 0,
		    "shared", 0, "purge_s", (json_int_t)0,
		    "zones", (json_int_t)n->zones,
		    "owners", (json_int_t)n->zones, "keys", "line"));
	}
	return list;
}

static json_t *
attributes_json(const struct conf_repository *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->nattributes; i++) {
		const struct conf_attribute *a = &r->attributes[i];

		(void)json_array_append_new(list, json_pack(
		    "{s:s, s:o, s:o}",
		    "half", a->public_half ? "public" : "private",
		    "name", ctl_text(a->name),
		    "value", text_or_null(a->value)));
	}
	return list;
}

static json_t *
repositories_json(const struct conf *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->nrepositories; i++) {
		const struct conf_repository *r = &c->repositories[i];

		(void)json_array_append_new(list, json_pack(
		    "{s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:b, s:b, s:i, "
		    "s:I, s:I, s:s, s:o}",
		    "name", ctl_text(r->name),
		    "module", text_or_null(r->module),
		    "token", text_or_null(r->token_uri != NULL ?
			r->token_uri : r->token_label),
		    "serial", text_or_null(r->token_serial),
		    "capacity", r->capacity >= 0 ?
			json_integer(r->capacity) : json_null(),
		    "require_backup", (int)r->require_backup,
		    "skip_public_key", (int)r->skip_public_key,
		    "allow_extraction", (int)r->allow_extraction,
		    "search_first", (int)r->search_first,
		    "has_pin", (int)(r->pin != PIN_NONE),
		    "sessions", r->sessions,
		    "deadline_s", (json_int_t)r->deadline,
		    "keys_per_minute", (json_int_t)r->keys_per_minute,
		    "on_overdue", r->on_overdue == OVERDUE_KILL ? "kill" :
			"wait",
		    "attributes", attributes_json(r)));
	}
	return list;
}

static json_t *
term_json(const struct plan_term *t)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
	    "lifetime_s", (json_int_t)t->in.lifetime,
	    "horizon_s", (json_int_t)t->in.horizon,
	    "emergency_rolls", (json_int_t)t->in.rolls,
	    "standby", (json_int_t)t->in.standby,
	    "units", (json_int_t)t->out.units,
	    "growth", (json_int_t)t->out.grown,
	    "scheduled", (json_int_t)t->out.scheduled,
	    "per_unit", (json_int_t)t->out.per_unit,
	    "required", (json_int_t)t->out.required,
	    "critical", (json_int_t)t->out.critical);
}

static json_t *
pool_json(const struct plan_pool *p)
{
	json_t *terms = json_array(), *pool;

	for (size_t i = 0; i < p->nterms; i++)
		(void)json_array_append_new(terms, term_json(&p->terms[i]));
	pool = json_pack("{s:o, s:s, s:o, s:i, s:s, s:i, s:s, s:I, s:I, s:s, "
	    "s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o}",
	    "policy", ctl_text(p->policy), "role", key_role_text(p->role),
	    "repository", ctl_text(p->repository), "algorithm", p->alg,
	    "algorithm_name", alg_name(p->alg), "size", p->bits,
	    "strategy", strategy_text(p->strategy),
	    "zones", (json_int_t)p->policy_conf->zones,
	    "owners", (json_int_t)p->policy_conf->owners,
	    "scope", key_scope_text(p->scope),
	    "shared", (int)(p->scope == SCOPE_POLICY),
	    "passthrough", (int)p->passthrough,
	    "required", (json_int_t)p->required,
	    "critical", (json_int_t)p->critical,
	    "low_water", (json_int_t)p->low_water,
	    "target", (json_int_t)p->target,
	    "fits", (json_int_t)p->make,
	    "capacity_short", (json_int_t)p->capacity_short,
	    "level_when_filled", pool_level_text(plan_level_at(p, p->make)),
	    "terms", terms);
	if (pool == NULL)
		return NULL;
	/* the usual pool has one term: its numbers, without digging */
	(void)json_object_update_missing(pool, json_array_get(terms, 0));
	return pool;
}

static json_t *
tokens_json(const struct plan *plan)
{
	json_t *list = json_array();

	for (size_t i = 0; plan != NULL && i < plan->ntokens; i++) {
		const struct plan_token *t = &plan->tokens[i];

		(void)json_array_append_new(list, json_pack(
		    "{s:o, s:o, s:I, s:I, s:I, s:s}",
		    "repository", ctl_text(t->repository->name),
		    "capacity", t->capacity >= 0 ?
			json_integer(t->capacity) : json_null(),
		    "need", (json_int_t)t->pairs_need,
		    "over", (json_int_t)t->pairs_over,
		    "objects", (json_int_t)t->objects_make,
		    "room", plan_room_text(t->room)));
	}
	return list;
}

static enum ksm_err
json_report(const struct loaded *l, const struct plan *plan,
    struct ksm_fail *fail)
{
	const struct conf *c = &l->conf;
	json_t *pools = json_array(), *root;
	enum ksm_err err = KSM_OK;
	int64_t all = c->errors + c->warnings + c->notices;

	for (size_t i = 0; plan != NULL && i < plan->npools; i++)
		(void)json_array_append_new(pools, pool_json(&plan->pools[i]));
	root = json_pack("{s:i, s:{s:o, s:o, s:o, s:o, s:o}, s:o, s:I, s:I, s:I, "
	    "s:I, s:o, s:o, s:o, s:o, s:I, s:I}",
	    "version", 1, "files",
	    file_names[CONF_KSMPOOL], text_or_null(c->file),
	    file_names[CONF_OPENDNSSEC], text_or_null(c->opendnssec_file),
	    file_names[CONF_KASP], text_or_null(c->kasp_file),
	    file_names[CONF_ZONELIST], text_or_null(c->zonelist_file),
	    file_names[CONF_OWNERS], text_or_null(c->owner_file),
	    "findings", findings_json(c),
	    "findings_not_shown", (json_int_t)(all - (int64_t)c->nfindings),
	    "errors", (json_int_t)c->errors,
	    "warnings", (json_int_t)c->warnings,
	    "notices", (json_int_t)c->notices,
	    "policies", policies_json(l),
	    "repositories", repositories_json(c),
	    "pools", pools, "tokens", tokens_json(plan),
	    "zones", (json_int_t)c->zones,
	    "required", (json_int_t)(plan != NULL ? plan->required : 0));
	if (root == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "out of memory");
	if (json_dumpf(root, stdout, JSON_INDENT(1)) == -1)
		err = ksm_failf(fail, KSM_ESYS, "write the report: %s",
		    strerror(errno));
	(void)putchar('\n');
	json_decref(root);
	return err;
}

static void
document_print(json_t *doc)
{
	if (doc != NULL)
		(void)json_dumpf(doc, stdout, JSON_COMPACT);
	(void)putchar('\n');
	json_decref(doc);
}

void
config_say_error(const char *code, const char *text, const char *hint)
{
	document_print(json_pack("{s:i, s:{s:s, s:o, s:o}}", "version", 1,
	    "error", "code", code, "text", ctl_text(text),
	    "hint", text_or_null(hint)));
}

void
config_say(const char *name, const char *text)
{
	document_print(json_pack("{s:i, s:o}", "version", 1, name,
	    ctl_text(text)));
}

enum ksm_err
config_report(const struct loaded *l, const struct check_options *options,
    int *status, struct ksm_fail *fail)
{
	struct ksm_fail why = { .err = KSM_OK };
	const struct conf *c = &l->conf;
	bool planned = false;
	struct conf view;
	struct plan plan;
	enum ksm_err err;

	memset(&plan, 0, sizeof(plan));
	err = view_make(c, &view, fail);
	if (err != KSM_OK)
		return err;
	err = plan_make(&view, NULL, &plan, &why);
	planned = err == KSM_OK;
	if (err != KSM_OK && err != KSM_EREFUSED) {
		(void)ksm_failf(fail, err, "%s", why.text);
		goto out;
	}
	/* refused: conf_check has said which key, in an error */
	err = KSM_OK;
	if (options->json)
		err = json_report(l, planned ? &plan : NULL, fail);
	else
		human_report(l, planned ? &plan : NULL);
	if (err == KSM_OK && (fflush(stdout) == EOF || ferror(stdout) != 0))
		err = ksm_failf(fail, KSM_ESYS, "write the report: %s",
		    strerror(errno));
	*status = c->errors > 0 ? 2 : c->warnings > 0 && options->strict ? 1 :
	    0;
out:
	plan_clear(&plan);
	free(view.repositories);
	return err;
}
