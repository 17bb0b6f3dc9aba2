/*
 * engine.c - the frame: configuration in force, repositories, stock, the
 * store's batch, and what commands ask. dispatch.c makes keys, settle.c
 * judges what is in the token.
 */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

ksm_time
engine_wall(struct engine *e)
{
	return e->io.wall(e->io.ctx);
}

ksm_msec
engine_steady(struct engine *e)
{
	return e->io.steady(e->io.ctx);
}

/* ---- the store's batch ----------------------------------------------- */

bool
engine_stored(struct engine *e, enum ksm_err err, const struct ksm_fail *fail,
    const char *doing)
{
	uint32_t dice;

	if (err == KSM_OK)
		return true;
	if (err == KSM_ENOENT) {
		log_warning("%s: the row is not in that state any more; "
			    "nothing was changed", doing);
		return false;
	}
	log_error("%s: %s; nothing since the last commit was kept, generation "
		  "stops until the database works and keys are settled",
	    doing, fail->text);
	(void)store_batch_lost(e->store);
	e->recover = true;
	e->tallies_old = true;
	e->batch_since = 0;
	e->batch_results = 0;
	e->io.random(e->io.ctx, &dice, sizeof(dice));
	backoff_fail(&e->store_backoff, engine_steady(e), dice);
	return false;
}

bool
engine_commit(struct engine *e)
{
	struct ksm_fail fail;

	e->batch_since = 0;
	e->batch_results = 0;
	if (!store_batch_open(e->store))
		return true;
	return engine_stored(e, store_commit(e->store, &fail), &fail, "commit");
}

void
engine_result_noted(struct engine *e)
{
	if (e->batch_since == 0)
		e->batch_since = engine_steady(e);
	e->batch_results++;
}

static bool
any_generator_busy(const struct engine *e)
{
	for (size_t i = 0; i < e->nrepos; i++)
		for (size_t k = 0; k < e->repos[i]->ngens; k++)
			if (e->repos[i]->gens[k].busy)
				return true;
	return false;
}

static void
commit_when_due(struct engine *e, ksm_msec *wait)
{
	ksm_msec age;

	if (!store_batch_open(e->store))
		return;
	if (e->batch_since == 0)
		e->batch_since = engine_steady(e);
	age = engine_steady(e) - e->batch_since;
	if (age >= COMMIT_MS || e->batch_results >= COMMIT_RESULTS ||
	    !any_generator_busy(e))
		(void)engine_commit(e);
	else if (COMMIT_MS - age < *wait)
		*wait = COMMIT_MS - age;
}

/*
 * A batch was lost: rows may be behind what happened. Wait for the running
 * keys, then treat every intended row as a daemon start does.
 */
static void
recover_when_possible(struct engine *e, ksm_msec *wait)
{
	struct ksm_fail fail;
	ksm_msec left = backoff_wait(&e->store_backoff, engine_steady(e));
	int64_t n;

	if (!e->recover || any_generator_busy(e))
		return;
	if (left > 0) {
		if (left < *wait)
			*wait = left;
		return;
	}
	for (size_t i = 0; i < e->nrepos; i++)
		look_abandon(e, e->repos[i]);
	dispatch_drop_queues(e, true);
	e->recover = false;
	if (!engine_stored(e,
		store_keys_orphan(e->store, engine_wall(e), &n, &fail), &fail,
		"settle after a lost batch") ||
	    !engine_commit(e))
		return;
	log_notice("the database works again; %lld keys are settled now",
	    (long long)n);
	backoff_ok(&e->store_backoff);
	for (size_t i = 0; i < e->nrepos; i++)
		e->repos[i]->looked = false;
}

/* ---- stock ------------------------------------------------------------ */

struct tally *
engine_tally(struct engine *e, int64_t pool_row)
{
	for (size_t i = 0; i < e->ntallies; i++)
		if (e->tallies[i].row == pool_row)
			return &e->tallies[i];
	return NULL;
}

static struct tally *
tally_add(struct engine *e, int64_t pool_row, const char *repository)
{
	struct tally *t = engine_tally(e, pool_row);

	if (t != NULL)
		return t;
	t = reallocarray(e->tallies, e->ntallies + 1, sizeof(*t));
	if (t == NULL)
		return NULL;
	e->tallies = t;
	t = &e->tallies[e->ntallies++];
	*t = (struct tally){ .row = pool_row };
	(void)snprintf(t->repository, sizeof(t->repository), "%s", repository);
	return t;
}

static void
count_one(void *ctx, int64_t pool_row, const struct pool_spec *spec,
    enum key_state state, int64_t n)
{
	struct tally *t = tally_add(ctx, pool_row, spec->repository);

	if (t != NULL)
		t->n[state] += n;
}

void
engine_moved(struct engine *e, int64_t pool_row, enum key_state from,
    enum key_state to)
{
	struct tally *t = engine_tally(e, pool_row);

	if (t == NULL) {
		e->tallies_old = true;
		return;
	}
	if (from != KEY__STATES)
		t->n[from]--;
	if (to != KEY__STATES)
		t->n[to]++;
	e->levels_old = true;
}

/* Bring stock, deficits and levels of the plan up to date. */
void
engine_levels(struct engine *e)
{
	struct ksm_fail fail;
	int64_t *held;

	if (e->tallies_old) {
		for (size_t i = 0; i < e->ntallies; i++)
			memset(e->tallies[i].n, 0, sizeof(e->tallies[i].n));
		if (!engine_stored(e,
			store_counts(e->store, count_one, e, &fail), &fail,
			"count keys"))
			return;
		e->tallies_old = false;
		e->levels_old = true;
	}
	if (!e->levels_old)
		return;
	for (size_t i = 0; i < e->plan.npools; i++) {
		const struct tally *t = engine_tally(e, e->runs[i].row);

		for (int s = 0; s < KEY__STATES; s++)
			plan_stock_set(&e->plan.pools[i], s,
			    t == NULL ? 0 : t->n[s]);
	}
	held = calloc(e->plan.ntokens + 1, sizeof(*held));
	if (held == NULL)
		return;
	for (size_t i = 0; i < e->ntallies; i++)
		for (size_t k = 0; k < e->plan.ntokens; k++)
			if (strcmp(e->tallies[i].repository,
				e->plan.tokens[k].repository->name) == 0)
				for (int s = 0; s < KEY__STATES; s++)
					if (key_state_living(s) ||
					    s == KEY_INTENDED ||
					    s == KEY_UNKNOWN ||
					    s == KEY_MISSING)
						held[k] += e->tallies[i].n[s];
	plan_level(&e->plan, held);
	free(held);
	e->levels_old = false;
}

/* ---- repositories: trouble and back-off ------------------------------ */

bool
engine_repo_usable(const struct repo *r)
{
	return r->conf != NULL && r->row.trouble == TROUBLE_NONE;
}

void
engine_repo_failed(struct engine *e, struct repo *r, const char *why)
{
	uint32_t dice;

	(void)snprintf(r->why, sizeof(r->why), "%s", why);
	e->io.random(e->io.ctx, &dice, sizeof(dice));
	backoff_fail(&r->backoff, engine_steady(e), dice);
	if (e->stopping)
		return;
	log_warning("repository %s: %s; tried again in %lld ms (failure %d in "
		    "a row), other repositories go on",
	    r->name, why,
	    (long long)backoff_wait(&r->backoff, engine_steady(e)),
	    r->backoff.tries);
}

static void
repo_trouble(struct engine *e, struct repo *r, enum repository_trouble trouble,
    const char *why, const char *pin_print)
{
	struct ksm_fail fail;

	r->row.trouble = trouble;
	r->row.since = engine_wall(e);
	(void)snprintf(r->row.reason, sizeof(r->row.reason), "%s", why);
	(void)snprintf(r->row.pin_print, sizeof(r->row.pin_print), "%s",
	    pin_print);
	if (engine_stored(e,
		store_repository_trouble(e->store, r->row.row, trouble, why,
		    pin_print, r->row.since, &fail),
		&fail, "record the trouble of a repository"))
		(void)engine_commit(e);
	r->looked = false;
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].no != 0 && !r->gens[k].busy)
			engine_worker_leave(e, &r->gens[k]);
}

void
engine_repo_park(struct engine *e, struct repo *r, const char *why,
    const char *pin_print)
{
	repo_trouble(e, r, TROUBLE_PARKED, why, pin_print);
	if (r->conf != NULL)
		e->io.pin_source_print(e->io.ctx, r->conf, r->pin_seen);
	log_error("repository %s: %s; it is parked and no login is tried until "
		  "its PIN source changes or `ksmctl repository resume %s`",
	    r->name, why, r->name);
}

void
engine_repo_alien(struct engine *e, struct repo *r, const char *why)
{
	repo_trouble(e, r, TROUBLE_ALIEN, why, "");
	log_error("repository %s: %s; the token is taken for another one: no "
		  "key of it is called missing and none is made. Bring the "
		  "right token back and `ksmctl repository resume %s`, or "
		  "accept this one with --accept-token",
	    r->name, why, r->name);
}

static struct repo *
repo_find(struct engine *e, const char *name)
{
	for (size_t i = 0; i < e->nrepos; i++)
		if (strcmp(e->repos[i]->name, name) == 0)
			return e->repos[i];
	return NULL;
}

/* ---- workers ---------------------------------------------------------- */

static struct slot *
slot_find(struct engine *e, worker_no no, struct repo **r)
{
	for (size_t i = 0; i < e->nrepos; i++) {
		*r = e->repos[i];
		if ((*r)->look.slot.no == no)
			return &(*r)->look.slot;
		for (size_t k = 0; k < (*r)->ngens; k++)
			if ((*r)->gens[k].no == no)
				return &(*r)->gens[k];
	}
	return NULL;
}

/* Logging in is serialised: SoftHSM hides the token from a second starter. */
static bool
repo_starting(const struct repo *r)
{
	if (r->look.slot.no != 0 && r->look.slot.starting)
		return true;
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].no != 0 && r->gens[k].starting)
			return true;
	return false;
}

bool
engine_worker_start(struct engine *e, struct repo *r, struct slot *s,
    enum worker_purpose purpose)
{
	struct ksm_fail fail;
	enum ksm_err err;
	const char *refused = r->pin_again ? "" : r->row.pin_print;

	if (repo_starting(r))
		return false;
	err = e->io.worker_start(e->io.ctx, ++e->last_no, r->conf, purpose,
	    r->alone, refused, &fail);
	if (err == KSM_EBUSY && r->alone) {
		if (!r->waiting)
			log_notice("repository %s: an earlier worker is still "
				   "finishing its key; waiting for it",
			    r->name);
		r->waiting = true;
		r->waiting_at = engine_steady(e) + WAITING_MS;
		return false;
	}
	if (err != KSM_OK) {
		engine_repo_failed(e, r, fail.text);
		return false;
	}
	if (r->waiting)
		log_notice("repository %s: the earlier worker is gone",
		    r->name);
	r->waiting = false;
	r->alone = false;
	*s = (struct slot){ .no = e->last_no,
		.purpose = purpose,
		.starting = true,
		.generation = r->generation };
	return true;
}

bool
engine_worker_send(struct engine *e, struct repo *r, struct slot *s,
    const struct hsm_msg *m, int64_t deadline)
{
	struct ksm_fail fail;
	enum ksm_err err;
	ksm_msec kill_after = -1;

	if (r->conf != NULL && r->conf->on_overdue == OVERDUE_KILL)
		kill_after = r->conf->kill_after * 1000;
	err = e->io.worker_send(e->io.ctx, s->no, m, deadline * 1000,
	    kill_after, &fail);
	if (err != KSM_OK) {
		/* Not delivered; the exit of the process follows. */
		log_debug("repository %s: worker %lld: %s", r->name,
		    (long long)s->no, fail.text);
		return false;
	}
	s->busy = true;
	return true;
}

void
engine_worker_leave(struct engine *e, struct slot *s)
{
	if (s->no == 0 || s->leaving || s->stuck)
		return;
	s->leaving = true;
	e->io.worker_leave(e->io.ctx, s->no);
}

void
engine_violation(struct engine *e, struct repo *r, struct slot *s,
    const char *what)
{
	log_error("repository %s: worker %lld (%s) broke the protocol: %s; it "
		  "is ended and its open key is settled",
	    r->name, (long long)s->no, worker_purpose_text(s->purpose), what);
	e->io.worker_kill(e->io.ctx, s->no, what);
}

/* ---- configuration ---------------------------------------------------- */

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
	    a->search_first == b->search_first && same_env(a, b);
}

static struct repo *
repo_new(struct engine *e, const char *name, struct ksm_fail *fail)
{
	struct repo *r = calloc(1, sizeof(*r));
	uint64_t seed;

	if (r == NULL)
		return NULL;
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	r->alone = true;
	e->io.random(e->io.ctx, &seed, sizeof(seed));
	idmap_init(&r->halves, seed);
	idmap_init(&r->look.seen, seed);
	idmap_init(&r->look.unknowns, seed);
	idmap_init(&r->look.half_now, seed);
	if (store_repository_get(e->store, name, &r->row, fail) != KSM_OK) {
		free(r);
		return NULL;
	}
	return r;
}

static void
repo_free(struct repo *r)
{
	if (r == NULL)
		return;
	look_clear(&r->look);
	idmap_clear(&r->halves);
	free(r->gens);
	free(r);
}

/* As many slots as Sessions; never fewer than have a process. */
static enum ksm_err
repo_slots(struct repo *r, size_t want)
{
	size_t used = 0;
	struct slot *gens;

	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].no != 0)
			used = k + 1;
	if (want < used)
		want = used;
	gens = reallocarray(r->gens, want, sizeof(*gens));
	if (gens == NULL)
		return KSM_ENOMEM;
	for (size_t k = r->ngens; k < want; k++)
		gens[k] = (struct slot){ 0 };
	r->gens = gens;
	r->ngens = want;
	return KSM_OK;
}

static bool
repo_has_process(const struct repo *r)
{
	if (r->look.slot.no != 0)
		return true;
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].no != 0)
			return true;
	return false;
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
			r = repo_new(e, cr->name, fail);
		if (r == NULL) {
			err = KSM_ESTORE;
			goto out;
		}
		list[n++] = r;
		if (repo_slots(r, (size_t)cr->sessions) != KSM_OK) {
			err = ksm_failf(fail, KSM_ENOMEM,
			    "configure: no memory");
			goto out;
		}
	}
	*out = list;
	*nout = n;
	list = NULL;
out:
	for (size_t i = 0; list != NULL && i < n; i++)
		if (repo_find(e, list[i]->name) == NULL)
			repo_free(list[i]);
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
			r->generation++;
			r->looked = false;
			backoff_ok(&r->backoff);
		}
		r->look_wanted = true;
		r->conf = NULL; /* points into what is freed; set below */
	}
	for (size_t i = 0; i < e->nrepos; i++) {
		struct repo *r = e->repos[i];
		bool kept = false;

		for (size_t k = 0; k < n; k++)
			kept = kept || list[k] == r;
		if (kept)
			continue;
		r->conf = NULL;
		r->generation++;
		if (repo_has_process(r))
			list[total++] = r;
		else
			repo_free(r);
	}
	free(e->repos);
	e->repos = list;
	e->nrepos = total;
	e->nconf = n;
}

/* A repository nobody configures any more goes when its last worker went. */
static void
repos_forget(struct engine *e)
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
		repo_free(r);
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
				e->runs[k].nqueue = 0;
			}
}

static enum ksm_err
zones_remember(struct engine *e, const struct conf *c, struct ksm_fail *fail)
{
	struct zone_count *z;
	enum ksm_err err;

	if (c->zonelist != ZONELIST_OK && c->zonelist != ZONELIST_EMPTY)
		return KSM_OK;
	z = calloc(c->npolicies + 1, sizeof(*z));
	if (z == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "configure: no memory");
	for (size_t i = 0; i < c->npolicies; i++) {
		(void)snprintf(z[i].policy, sizeof(z[i].policy), "%s",
		    c->policies[i].name);
		z[i].zones = c->policies[i].zones;
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

enum ksm_err
engine_configure(struct engine *e, struct conf *c, struct ksm_fail *fail)
{
	enum ksm_err err;
	struct plan plan = { 0 };
	struct prun *runs = NULL;
	struct repo **repos = NULL;
	size_t nrepos = 0;

	(void)engine_commit(e);
	err = plan_make(c, -1, &plan, fail);
	if (err != KSM_OK)
		goto out;
	if ((err = configure_repos(e, c, &repos, &nrepos, fail)) != KSM_OK ||
	    (err = pool_rows(e, &plan, &runs, fail)) != KSM_OK ||
	    (err = zones_remember(e, c, fail)) != KSM_OK ||
	    (err = surplus_sort_out(e, runs, plan.npools, fail)) != KSM_OK ||
	    (err = store_commit(e->store, fail)) != KSM_OK)
		goto out;

	/* From here on nothing fails. */
	runs_carry(e, runs, plan.npools);
	dispatch_drop_queues(e, false);
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
	if (err == KSM_ESTORE)
		(void)store_batch_lost(e->store);
	for (size_t i = 0; repos != NULL && i < nrepos; i++)
		if (repo_find(e, repos[i]->name) == NULL)
			repo_free(repos[i]);
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

enum ksm_err
engine_new(struct store *st, const struct engine_io *io, struct engine **out,
    struct ksm_fail *fail)
{
	struct engine *e = calloc(1, sizeof(*e));
	enum ksm_err err;
	int64_t n;

	if (e == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "engine: no memory");
	e->store = st;
	e->io = *io;
	conf_init(&e->conf);
	e->tallies_old = true;
	err = store_newest(st, &e->newest, fail);
	if (err == KSM_OK)
		err = store_keys_orphan(st, engine_wall(e), &n, fail);
	if (err == KSM_OK)
		err = store_commit(st, fail);
	if (err != KSM_OK) {
		free(e);
		return err;
	}
	if (n > 0)
		log_notice("%lld keys were asked for when ksmpoold last ended; "
			   "they are settled before anything new",
		    (long long)n);
	*out = e;
	return KSM_OK;
}

void
engine_free(struct engine *e)
{
	if (e == NULL)
		return;
	(void)engine_commit(e);
	while (e->tickets != NULL)
		engine_topup_forget(e, e->tickets->number);
	for (size_t i = 0; i < e->nrepos; i++)
		repo_free(e->repos[i]);
	free(e->repos);
	free(e->runs);
	free(e->tallies);
	plan_clear(&e->plan);
	conf_clear(&e->conf);
	free(e);
}

/* ---- running ---------------------------------------------------------- */

static void
clock_look(struct engine *e)
{
	bool bad = engine_wall(e) + CLOCK_SLACK < e->newest;
	char newest[TIME_TEXT], now[TIME_TEXT];

	if (bad == e->clock_bad)
		return;
	e->clock_bad = bad;
	time_format(e->newest, newest);
	time_format(engine_wall(e), now);
	if (bad)
		log_error("the clock says %s, but a record was made at %s; no "
			  "key is made until the clock is right, so that "
			  "creation dates stay true",
		    now, newest);
	else
		log_notice("the clock is right again (%s); generation goes on",
		    now);
}

/* A parked repository is tried again when its PIN source changes. */
static void
parked_look(struct engine *e, struct repo *r, ksm_msec *wait)
{
	char print[sizeof(r->pin_seen)];
	ksm_msec now = engine_steady(e);

	if (r->conf == NULL || r->row.trouble != TROUBLE_PARKED)
		return;
	if (now < r->pin_at) {
		if (r->pin_at - now < *wait)
			*wait = r->pin_at - now;
		return;
	}
	r->pin_at = now + PARKED_MS;
	if (PARKED_MS < *wait)
		*wait = PARKED_MS;
	e->io.pin_source_print(e->io.ctx, r->conf, print);
	if (strcmp(print, r->pin_seen) == 0)
		return;
	(void)snprintf(r->pin_seen, sizeof(r->pin_seen), "%s", print);
	log_notice("repository %s: its PIN source may have changed; the worker "
		   "looks, and logs in only with another PIN",
	    r->name);
	/* The print stays: the worker refuses to try the same PIN. */
	r->row.trouble = TROUBLE_NONE;
	r->looked = false;
	backoff_ok(&r->backoff);

}

ksm_msec
engine_run(struct engine *e)
{
	ksm_msec wait = 60 * 1000;

	clock_look(e);
	recover_when_possible(e, &wait);
	engine_levels(e);
	for (size_t i = 0; i < e->nrepos; i++) {
		parked_look(e, e->repos[i], &wait);
		if (!e->recover)
			look_run(e, e->repos[i], &wait);
	}
	dispatch_run(e, &wait);
	commit_when_due(e, &wait);
	engine_levels(e);
	dispatch_tickets(e);
	commit_when_due(e, &wait);
	repos_forget(e);
	return wait < 0 ? 0 : wait;
}

void
engine_on_message(struct engine *e, worker_no no, struct hsm_msg *m)
{
	struct repo *r;
	struct slot *s = slot_find(e, no, &r);

	if (s == NULL)
		return;
	if (s == &r->look.slot)
		look_message(e, r, m);
	else
		dispatch_message(e, r, s, m);
}

void
engine_on_overdue(struct engine *e, worker_no no)
{
	struct repo *r;
	struct slot *s = slot_find(e, no, &r);
	char id[KEY_ID_HEX] = "";

	if (s == NULL)
		return;
	s->overdue = true;
	if (s != &r->look.slot)
		key_id_format(&s->id, id);
	log_warning("repository %s: worker %lld (%s) gives no answer within "
		    "its deadline%s%s; it goes on%s, other repositories are "
		    "not affected",
	    r->name, (long long)no, worker_purpose_text(s->purpose),
	    id[0] == '\0' ? "" : ", key ", id,
	    r->conf != NULL && r->conf->on_overdue == OVERDUE_KILL
		? " until OnOverdue ends it"
		: "");
}

void
engine_on_exit(struct engine *e, worker_no no, bool asked, const char *how)
{
	struct repo *r;
	struct slot *s = slot_find(e, no, &r);

	if (s == NULL)
		return;
	if (s == &r->look.slot)
		look_exit(e, r, how);
	else
		dispatch_exit(e, r, s, asked, how);
}

void
engine_on_stuck(struct engine *e, worker_no no)
{
	struct repo *r;
	struct slot *s = slot_find(e, no, &r);

	if (s == NULL)
		return;
	s->stuck = true;
	log_error("repository %s: worker %lld cannot be ended (it hangs in the "
		  "kernel); nothing is started in its place, its key stays "
		  "unknown",
	    r->name, (long long)no);
}

void
engine_stop(struct engine *e)
{
	if (e->stopping)
		return;
	e->stopping = true;
	for (size_t i = 0; i < e->nrepos; i++) {
		struct repo *r = e->repos[i];

		look_abandon(e, r);
		for (size_t k = 0; k < r->ngens; k++)
			if (r->gens[k].no != 0 && !r->gens[k].busy)
				engine_worker_leave(e, &r->gens[k]);
	}
	dispatch_drop_queues(e, false);
	(void)engine_commit(e);
}

bool
engine_stopped(const struct engine *e)
{
	return e->stopping && !any_generator_busy(e) &&
	    !store_batch_open(e->store);
}

/* ---- what commands ask ------------------------------------------------ */

const struct plan *
engine_plan(struct engine *e)
{
	engine_levels(e);
	return &e->plan;
}

const char *
repository_status_text(enum repository_status s)
{
	static const char *const text[REPO__COUNT] = {
		[REPO_OK] = "ok",
		[REPO_STARTING] = "starting",
		[REPO_WAITING] = "waiting",
		[REPO_DEGRADED] = "degraded",
		[REPO_PARKED] = "parked",
		[REPO_ALIEN] = "alien",
		[REPO_STUCK] = "stuck",
	};

	return text[s];
}

size_t
engine_repositories(const struct engine *e)
{
	return e->nconf;
}

static enum repository_status
repo_status(struct engine *e, const struct repo *r)
{
	bool stuck = r->look.slot.stuck;

	for (size_t k = 0; k < r->ngens; k++)
		stuck = stuck || r->gens[k].stuck;
	if (stuck)
		return REPO_STUCK;
	if (r->row.trouble == TROUBLE_PARKED)
		return REPO_PARKED;
	if (r->row.trouble == TROUBLE_ALIEN)
		return REPO_ALIEN;
	if (r->waiting)
		return REPO_WAITING;
	if (r->backoff.tries > 0)
		return REPO_DEGRADED;
	(void)e;
	return r->looked ? REPO_OK : REPO_STARTING;
}

void
engine_repository_view(struct engine *e, size_t i, struct repository_view *out)
{
	const struct repo *r = e->repos[i];

	*out = (struct repository_view){
		.conf = r->conf,
		.status = repo_status(e, r),
		.retry_in = backoff_wait(&r->backoff, engine_steady(e)),
		.orphans = r->orphans,
		.foreign = r->foreign,
		.nameless = r->nameless,
		.deaths = r->deaths,
		.looked = r->looked_at,
	};
	if (out->status == REPO_PARKED || out->status == REPO_ALIEN)
		(void)snprintf(out->reason, sizeof(out->reason), "%s",
		    r->row.reason);
	else if (out->status == REPO_DEGRADED)
		(void)snprintf(out->reason, sizeof(out->reason), "%s", r->why);
	else if (out->status == REPO_WAITING)
		(void)snprintf(out->reason, sizeof(out->reason), "%s",
		    "an earlier worker is still finishing its key");
	else if (out->status == REPO_STUCK)
		(void)snprintf(out->reason, sizeof(out->reason), "%s",
		    "a worker cannot be ended");
	(void)snprintf(out->token_label, sizeof(out->token_label), "%s",
	    r->row.token_label);
	(void)snprintf(out->token_serial, sizeof(out->token_serial), "%s",
	    r->row.token_serial);
	for (size_t k = 0; k < r->ngens; k++) {
		out->generators += r->gens[k].no != 0;
		out->busy += r->gens[k].busy;
		out->overdue += r->gens[k].overdue;
	}
	engine_levels(e);
	for (size_t k = 0; k < e->ntallies; k++) {
		const struct tally *t = &e->tallies[k];

		if (strcmp(t->repository, r->name) != 0)
			continue;
		out->unknown += t->n[KEY_UNKNOWN];
		out->made += t->n[KEY_MADE];
		out->missing += t->n[KEY_MISSING];
		out->quarantined += t->n[KEY_QUARANTINED];
	}
}

static struct repo *
pool_repo(struct engine *e, size_t pool)
{
	return repo_find(e, e->plan.pools[pool].repository);
}

void
engine_pool_trouble(struct engine *e, size_t pool, char out[256])
{
	const struct plan_pool *p = &e->plan.pools[pool];
	const struct repo *r = pool_repo(e, pool);
	const struct prun *run = &e->runs[pool];
	struct repository_view view = { .status = REPO_OK };

	out[0] = '\0';
	if (p->deficit == 0)
		return;
	for (size_t i = 0; i < e->nconf; i++)
		if (e->repos[i] == r)
			engine_repository_view(e, i, &view);
	if (e->clock_bad)
		(void)engine_clock_trouble(e, out);
	else if (e->recover)
		(void)snprintf(out, 256, "%s", "the database failed");
	else if (run->blocked)
		(void)snprintf(out, 256, "%s", run->trouble);
	else if (view.status != REPO_OK && view.status != REPO_STARTING)
		(void)snprintf(out, 256, "repository %.60s is %s: %.160s",
		    p->repository, repository_status_text(view.status),
		    view.reason);
	else if (p->make == 0 && p->capacity_short > 0)
		(void)snprintf(out, 256,
		    "%lld keys do not fit the Capacity of repository %.100s",
		    (long long)p->capacity_short, p->repository);
}

int64_t
engine_pool_held(struct engine *e, size_t pool)
{
	const struct plan_pool *p = &e->plan.pools[pool];
	const struct prun *run = &e->runs[pool];

	engine_levels(e);
	if (run->automatic || run->explicit || p->make == 0 ||
	    run->auto_made < p->settings.max_per_run)
		return 0;
	return p->make;
}

ksm_msec
engine_pool_rate(struct engine *e, size_t pool)
{
	const struct plan_pool *p = &e->plan.pools[pool];
	struct ksm_fail fail;
	ksm_msec per_key;

	if (store_rate_get(e->store, p->repository, p->alg, p->bits, &per_key,
		&fail) != KSM_OK)
		return 0;
	return per_key;
}

bool
engine_clock_trouble(struct engine *e, char out[256])
{
	char newest[TIME_TEXT], now[TIME_TEXT];

	out[0] = '\0';
	if (!e->clock_bad)
		return false;
	time_format(e->newest, newest);
	time_format(engine_wall(e), now);
	(void)snprintf(out, 256,
	    "the clock says %s, but a record was made at %s", now, newest);
	return true;
}

enum ksm_err
engine_repository_resume(struct engine *e, const char *name, bool accept_token,
    struct ksm_fail *fail)
{
	struct repo *r = repo_find(e, name);
	enum ksm_err err;

	if (r == NULL || r->conf == NULL)
		return ksm_failf(fail, KSM_ENOENT,
		    "there is no repository %s; `ksmctl repository list` names "
		    "them",
		    name);
	err = store_repository_trouble(e->store, r->row.row, TROUBLE_NONE, "",
	    "", engine_wall(e), fail);
	if (err == KSM_OK && accept_token)
		err = store_repository_token(e->store, r->row.row, "", "",
		    fail);
	if (err == KSM_OK)
		err = store_commit(e->store, fail);
	if (err != KSM_OK) {
		(void)engine_stored(e, err, fail, "resume a repository");
		return err;
	}
	r->row.trouble = TROUBLE_NONE;
	r->row.reason[0] = '\0';
	r->row.pin_print[0] = '\0';
	if (accept_token) {
		r->row.token_label[0] = '\0';
		r->row.token_serial[0] = '\0';
	}
	r->accept = accept_token;
	r->looked = false;
	backoff_ok(&r->backoff);
	for (size_t i = 0; i < e->plan.npools; i++)
		if (pool_repo(e, i) == r)
			e->runs[i].blocked = false;
	log_notice("repository %s: resumed by an operator%s", r->name,
	    accept_token ? ", its token is accepted as it is" : "");
	return KSM_OK;
}
