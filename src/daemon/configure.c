/*
 * configure.c - put a configuration in force, whole or not at all.
 *
 * Everything that can fail is done first and is undone by dropping it; from
 * the comment "nothing fails" on, the engine is changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
same_env(const struct conf_repository *a, const struct conf_repository *b)
{
	if (a->nenv != b->nenv)
		return false;
	for (size_t i = 0; i < a->nenv; i++)
		if (!same_text(a->env[i].name, b->env[i].name) ||
		    !same_text(a->env[i].value, b->env[i].value))
			return false;
	return true;
}

static bool
same_attributes(const struct conf_repository *a,
    const struct conf_repository *b)
{
	if (a->nattributes != b->nattributes)
		return false;
	for (size_t i = 0; i < a->nattributes; i++) {
		const struct conf_attribute *x = &a->attributes[i];
		const struct conf_attribute *y = &b->attributes[i];

		if (x->public_half != y->public_half ||
		    x->remove != y->remove || !same_text(x->name, y->name) ||
		    !same_text(x->value, y->value))
			return false;
	}
	return true;
}

/* Settings that a running worker was started with. */
static bool
same_worker(const struct conf_repository *a, const struct conf_repository *b)
{
	return same_text(a->module, b->module) &&
	    same_text(a->token_label, b->token_label) &&
	    same_text(a->token_serial, b->token_serial) &&
	    same_text(a->token_uri, b->token_uri) &&
	    same_text(a->init_reserved, b->init_reserved) &&
	    a->pin == b->pin && same_text(a->pin_path, b->pin_path) &&
	    a->skip_public_key == b->skip_public_key &&
	    a->allow_extraction == b->allow_extraction &&
	    a->search_first == b->search_first && same_env(a, b) &&
	    same_attributes(a, b);
}

static enum ksm_err
repo_new(struct engine *e, const char *name, struct repo **out,
    struct ksm_fail *fail)
{
	struct repo *r = calloc(1, sizeof(*r));
	enum ksm_err err;
	uint64_t seed;

	if (r == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "configure: no memory");
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	r->alone = true;
	r->orphans_judged = -1;
	e->io.random(e->io.ctx, &seed, sizeof(seed));
	idmap_init(&r->halves, seed);
	idmap_init(&r->look.seen, seed);
	idmap_init(&r->look.unknowns, seed);
	idmap_init(&r->look.half_now, seed);
	idmap_init(&r->job.seen, seed);
	idmap_init(&r->job.halves, seed);
	err = store_repository_get(e->store, name, &r->row, fail);
	if (err == KSM_OK)
		*out = r;
	else
		free(r);
	return err;
}

void
configure_repo_free(struct repo *r)
{
	if (r == NULL)
		return;
	look_clear(&r->look);
	job_clear(&r->job);
	idmap_clear(&r->halves);
	free(r->gens);
	free(r);
}

/* Room for as many slots as Sessions; how many there are stays. */
static enum ksm_err
slots_reserve(struct repo *r, size_t want, struct ksm_fail *fail)
{
	struct slot *gens;

	if (want <= r->ngens)
		return KSM_OK;
	gens = reallocarray(r->gens, want, sizeof(*gens));
	if (gens == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "configure: no memory");
	for (size_t k = r->ngens; k < want; k++)
		gens[k] = (struct slot){ 0 };
	r->gens = gens;
	return KSM_OK;
}

/* As many slots as Sessions; never fewer than have a process. */
static void
slots_adopt(struct repo *r, size_t want)
{
	size_t used = 0;

	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].no != 0)
			used = k + 1;
	r->ngens = want < used ? used : want;
}

/* Repositories of the new configuration first, in its order. */
static enum ksm_err
configure_repos(struct engine *e, const struct conf *c, struct repo ***out,
    size_t *nout, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	struct repo **list = calloc(c->nrepositories + e->nrepos + 1,
	    sizeof(*list));
	size_t n = 0;

	if (list == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "configure: no memory");
	for (size_t i = 0; i < c->nrepositories; i++) {
		const struct conf_repository *cr = &c->repositories[i];
		struct repo *r = repo_find(e, cr->name);

		if (r == NULL)
			err = repo_new(e, cr->name, &r, fail);
		if (err != KSM_OK)
			goto out;
		list[n++] = r;
		err = slots_reserve(r, (size_t)cr->sessions, fail);
		if (err != KSM_OK)
			goto out;
	}
	*out = list;
	*nout = n;
	list = NULL;
out:
	for (size_t i = 0; list != NULL && i < n; i++)
		if (repo_find(e, list[i]->name) == NULL)
			configure_repo_free(list[i]);
	free(list);
	return err;
}

static void
adopt_repos(struct engine *e, struct conf *c, struct repo **list, size_t n)
{
	size_t total = n;

	for (size_t i = 0; i < n; i++) {
		struct repo *r = list[i];
		struct conf_repository *now = &c->repositories[i];

		if (r->conf == NULL || !same_worker(r->conf, now)) {
			look_abandon(e, r); /* it looks at something else */
			errand_cut(e, r, "the configuration of its repository "
					 "changed");
			r->generation++;
			r->looked = false;
			backoff_ok(&r->backoff);
			backoff_ok(&r->making);
		}
		slots_adopt(r, (size_t)now->sessions);
		r->most = 0;
		r->scarce = false;
		r->conf = NULL; /* points into what is freed; set below */
	}
	for (size_t i = 0; i < e->nrepos; i++) {
		struct repo *r = e->repos[i];
		bool kept = false;

		for (size_t k = 0; k < n; k++)
			kept = kept || list[k] == r;
		if (kept)
			continue;
		look_abandon(e, r);
		errand_cut(e, r, "its repository is not configured any more");
		r->conf = NULL;
		r->generation++;
		if (repo_has_process(r))
			list[total++] = r;
		else
			configure_repo_free(r);
	}
	free(e->repos);
	e->repos = list;
	e->nrepos = total;
	e->nconf = n;
}

/* A repository nobody configures any more goes when its last worker went. */
void
configure_repos_forget(struct engine *e)
{
	for (size_t i = e->nconf; i < e->nrepos;) {
		struct repo *r = e->repos[i];

		if (repo_has_process(r)) {
			i++;
			continue;
		}
		memmove(&e->repos[i], &e->repos[i + 1],
		    (e->nrepos - i - 1) * sizeof(e->repos[0]));
		e->nrepos--;
		configure_repo_free(r);
	}
}

static enum ksm_err
pool_rows(struct engine *e, const struct plan *plan, struct prun **out,
    struct ksm_fail *fail)
{
	struct prun *runs = calloc(plan->npools + 1, sizeof(*runs));

	if (runs == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "configure: no memory");
	for (size_t i = 0; i < plan->npools; i++) {
		const struct plan_pool *p = &plan->pools[i];
		struct pool_spec spec = { .role = p->role,
			.alg = p->alg,
			.bits = p->bits };
		struct store_pool row;
		enum ksm_err err;

		(void)snprintf(spec.policy, sizeof(spec.policy), "%s",
		    p->policy);
		(void)snprintf(spec.repository, sizeof(spec.repository), "%s",
		    p->repository);
		err = store_pool_get(e->store, &spec, &row, fail);
		if (err != KSM_OK) {
			free(runs);
			return err;
		}
		runs[i].row = row.row;
		runs[i].auto_made = row.auto_made;
	}
	*out = runs;
	return KSM_OK;
}

/* What was under way for a pool goes on under the new plan. */
static void
runs_carry(struct engine *e, struct prun *runs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < e->plan.npools; k++)
			if (e->runs[k].row == runs[i].row) {
				int64_t row = runs[i].row;

				runs[i] = e->runs[k];
				runs[i].row = row;
				runs[i].blocked = false;
				runs[i].trouble[0] = '\0';
			}
}

static enum ksm_err
zones_remember(struct engine *e, const struct conf *c, struct ksm_fail *fail)
{
	struct zone_count *z;
	enum ksm_err err;

	if ((c->zonelist != ZONELIST_OK && c->zonelist != ZONELIST_EMPTY) ||
	    (c->owners != ZONELIST_OK && c->owners != ZONELIST_EMPTY))
		return KSM_OK;
	z = calloc(c->npolicies + 1, sizeof(*z));
	if (z == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "configure: no memory");
	for (size_t i = 0; i < c->npolicies; i++) {
		(void)snprintf(z[i].policy, sizeof(z[i].policy), "%s",
		    c->policies[i].name);
		z[i].zones = c->policies[i].zones;
		z[i].owners = c->policies[i].owners;
	}
	err = store_zones_put(e->store, z, c->npolicies, engine_wall(e), fail);
	free(z);
	return err;
}

static enum ksm_err
surplus_sort_out(struct engine *e, const struct prun *runs, size_t n,
    struct ksm_fail *fail)
{
	int64_t *rows = calloc(n + 1, sizeof(*rows)), surplus, ready;
	enum ksm_err err;

	if (rows == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "configure: no memory");
	for (size_t i = 0; i < n; i++)
		rows[i] = runs[i].row;
	err = store_pools_wanted(e->store, rows, n, engine_wall(e), &surplus,
	    &ready, fail);
	free(rows);
	if (err == KSM_OK && surplus > 0)
		log_warning("%lld unused keys belong to no pool of this policy "
			    "any more; they are kept as surplus",
		    (long long)surplus);
	if (err == KSM_OK && ready > 0)
		log_notice("%lld surplus keys are asked for again and ready",
		    (long long)ready);
	return err;
}

/* A look may have made keys ready of pools that went in the meantime. */
void
configure_surplus(struct engine *e)
{
	struct ksm_fail fail;
	bool any = false;

	stock_levels(e);
	for (size_t i = 0; i < e->ntallies; i++) {
		const struct tally *t = &e->tallies[i];
		struct plan_pool *p = NULL;
		bool wanted = dispatch_run_of(e, t->row, &p) != NULL;

		any = any || t->n[wanted ? KEY_SURPLUS : KEY_READY] > 0;
	}
	if (!any)
		return;
	e->tallies_old = true;
	if (batch_stored(e,
		surplus_sort_out(e, e->runs, e->plan.npools, &fail), &fail,
		"sort out surplus keys"))
		(void)batch_commit(e);
}

static enum ksm_err
in_force_remember(struct engine *e, const struct conf *c,
    const struct plan *plan, struct ksm_fail *fail)
{
	char why[128];

	(void)snprintf(why, sizeof(why),
	    "%zu policies, %lld zones, %zu pools that require %lld keys",
	    c->npolicies, (long long)c->zones, plan->npools,
	    (long long)plan->required);
	return store_history_add(e->store, engine_wall(e), ACTOR_DAEMON,
	    "configuration in force", c->file == NULL ? "" : c->file, why,
	    fail);
}

enum ksm_err
engine_configure(struct engine *e, struct conf *c, struct ksm_fail *fail)
{
	enum ksm_err err;
	struct plan plan = { 0 };
	struct prun *runs = NULL;
	struct repo **repos = NULL;
	size_t nrepos = 0;

	(void)batch_commit(e);
	if (e->dead && (err = batch_may(e, fail)) != KSM_OK)
		goto out;
	err = plan_make(c, NULL, &plan, fail);
	if (err != KSM_OK)
		goto out;
	if ((err = configure_repos(e, c, &repos, &nrepos, fail)) != KSM_OK ||
	    (err = pool_rows(e, &plan, &runs, fail)) != KSM_OK ||
	    (err = zones_remember(e, c, fail)) != KSM_OK ||
	    (err = surplus_sort_out(e, runs, plan.npools, fail)) != KSM_OK ||
	    (err = in_force_remember(e, c, &plan, fail)) != KSM_OK ||
	    (err = store_commit(e->store, fail)) != KSM_OK)
		goto out;

	/* From here on nothing fails. What was intended may be too much now. */
	dispatch_drop_queues(e, false);
	runs_carry(e, runs, plan.npools);
	adopt_repos(e, c, repos, nrepos);
	repos = NULL;
	free(e->runs);
	e->runs = runs;
	runs = NULL;
	plan_clear(&e->plan);
	e->plan = plan;
	plan = (struct plan){ 0 };
	conf_clear(&e->conf);
	e->conf = *c;
	conf_init(c);
	for (size_t i = 0; i < e->nconf; i++)
		e->repos[i]->conf = &e->conf.repositories[i];
	e->tallies_old = true;
	dispatch_configure(e);
out:
	/* Rows, counts and surplus of what is not in force. */
	if (err != KSM_OK)
		store_rollback(e->store);
	for (size_t i = 0; repos != NULL && i < nrepos; i++)
		if (repo_find(e, repos[i]->name) == NULL)
			configure_repo_free(repos[i]);
	free(repos);
	free(runs);
	plan_clear(&plan);
	return err;
}

const struct conf *
engine_conf(const struct engine *e)
{
	return &e->conf;
}

