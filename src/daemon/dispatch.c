/*
 * dispatch.c - which key is made next, by which generator, and what its
 * answer means.
 *
 * A refill of a pool is automatic (stock fell under low water; paced unless
 * the pool is critical; at most MaxPerRun keys until the pool was full or an
 * operator spoke) or explicit (a topup; unpaced; its own limit). Rows are
 * intended in batches and on disk before the first of them is asked for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

static struct repo *
repo_of(struct engine *e, const struct plan_pool *p)
{
	for (size_t i = 0; i < e->nconf; i++)
		if (e->repos[i]->conf == p->repository_conf)
			return e->repos[i];
	return NULL;
}

static void
pool_name(const struct plan_pool *p, char out[400])
{
	const struct alg *alg = alg_find(p->alg);

	(void)snprintf(out, 400, "%s %s %s-%d in %s", p->policy,
	    key_role_text(p->role), alg == NULL ? "?" : alg->name, p->bits,
	    p->repository);
}

static int64_t
pool_stock(const struct plan_pool *p)
{
	return p->required - p->deficit;
}

/* Below critical there is no time to be polite. */
static bool
pool_urgent(const struct plan_pool *p)
{
	return p->ready + p->coming < p->critical ||
	    (p->ready + p->coming == 0 && p->required > 0);
}

static void
auto_made_set(struct engine *e, struct prun *run, int64_t n)
{
	struct ksm_fail fail;

	if (run->auto_made == n)
		return;
	run->auto_made = n;
	(void)engine_stored(e, store_pool_auto(e->store, run->row, n, &fail),
	    &fail, "count the keys of a refill");
}

/* ---- runs -------------------------------------------------------------- */

static void
auto_run_look(struct engine *e)
{
	struct ksm_fail fail;
	bool any = false;

	for (size_t i = 0; i < e->plan.npools; i++)
		any = any || e->runs[i].automatic;
	if (any == e->auto_running)
		return;
	e->auto_running = any;
	if (any) {
		e->auto_run = (struct store_run){ .cause = RUN_AUTO,
			.uid = -1,
			.pid = -1,
			.max = -1,
			.started = engine_wall(e) };
		for (size_t i = 0; i < e->plan.npools; i++)
			if (e->runs[i].automatic)
				e->auto_run.wanted += e->plan.pools[i].make;
		(void)engine_stored(e,
		    store_run_start(e->store, &e->auto_run, &fail), &fail,
		    "record a refill");
	} else {
		e->auto_run.ended = engine_wall(e);
		(void)engine_stored(e,
		    store_run_end(e->store, &e->auto_run, &fail), &fail,
		    "record a refill");
	}
}

static void
run_start_automatic(struct plan_pool *p, struct prun *run)
{
	char name[400];

	run->automatic = true;
	pool_name(p, name);
	log_info("pool %s: %lld of %lld keys, under low water (%lld); a refill "
		 "starts%s",
	    name, (long long)pool_stock(p), (long long)p->required,
	    (long long)p->low_water,
	    pool_urgent(p) ? " at full speed" : ", paced");
}

static void
run_look(struct engine *e, size_t i)
{
	struct plan_pool *p = &e->plan.pools[i];
	struct prun *run = &e->runs[i];
	char name[400];

	if (p->make == 0 && p->stock[KEY_INTENDED] == 0 &&
	    p->stock[KEY_UNKNOWN] == 0) {
		if ((run->automatic || run->explicit) && p->deficit == 0) {
			pool_name(p, name);
			log_info("pool %s: filled, %lld keys", name,
			    (long long)p->required);
		}
		run->automatic = run->explicit = false;
		if (p->deficit == 0)
			auto_made_set(e, run, 0);
		return;
	}
	if (run->explicit && run->left <= 0 && run->nqueue == 0)
		run->explicit = false;
	if (run->automatic && run->auto_made >= p->settings.max_per_run &&
	    run->nqueue == 0) {
		run->automatic = false;
		pool_name(p, name);
		if (p->make > 0)
			log_warning("pool %s: %lld keys more are held back by "
				    "MaxPerRun (%lld); `ksmctl topup --policy "
				    "%s --max %lld` makes them",
			    name, (long long)p->make,
			    (long long)p->settings.max_per_run, p->policy,
			    (long long)p->make);
	}
	if (!run->automatic && !run->explicit && !run->blocked &&
	    !e->stopping && p->strategy != STRATEGY_MANUAL && p->make > 0 &&
	    pool_stock(p) < p->low_water &&
	    run->auto_made < p->settings.max_per_run)
		run_start_automatic(p, run);
}

/* A refill that a restart cut off goes on to required. */
void
dispatch_configure(struct engine *e)
{
	engine_levels(e);
	for (size_t i = 0; i < e->plan.npools; i++) {
		struct plan_pool *p = &e->plan.pools[i];
		struct prun *run = &e->runs[i];

		if (p->strategy == STRATEGY_MANUAL)
			run->automatic = false;
		else if (p->make > 0 && run->auto_made > 0 &&
		    run->auto_made < p->settings.max_per_run)
			run->automatic = true;
	}
}

/* ---- intents ----------------------------------------------------------- */

static int64_t
batch_size(struct engine *e, size_t pool, const struct repo *r)
{
	ksm_msec rate = engine_pool_rate(e, pool);
	int64_t n = rate <= 0 ? 4 : 2000 / rate;

	if (n < r->conf->sessions)
		n = r->conf->sessions;
	return n > INTENT_MAX ? INTENT_MAX : n;
}

static void
queue_fill(struct engine *e, struct repo *r, size_t pool)
{
	struct plan_pool *p = &e->plan.pools[pool];
	struct prun *run = &e->runs[pool];
	int64_t n = batch_size(e, pool, r), limit;
	struct ksm_fail fail;

	if ((int64_t)run->nqueue * 4 > n)
		return;
	if (run->nqueue > 0 && run->queue_automatic != !run->explicit)
		return; /* use those up first, limits differ */
	if (run->explicit)
		limit = run->left;
	else
		limit = p->settings.max_per_run - run->auto_made;
	if (!run->explicit && !pool_urgent(p) && n > r->conf->sessions)
		n = r->conf->sessions;
	n -= (int64_t)run->nqueue;
	if (n > limit)
		n = limit;
	if (n > p->make)
		n = p->make;
	if (n <= 0)
		return;
	if (!engine_stored(e,
		store_keys_intend(e->store, run->row, (size_t)n,
		    engine_wall(e), run->queue + run->nqueue, &fail),
		&fail, "intend keys"))
		return;
	run->queue_automatic = !run->explicit;
	if (run->queue_automatic)
		auto_made_set(e, run, run->auto_made + n);
	if (!engine_commit(e)) {
		run->nqueue = 0;
		return;
	}
	if (!run->queue_automatic)
		run->left -= n;
	run->nqueue += (size_t)n;
	for (int64_t k = 0; k < n; k++)
		engine_moved(e, run->row, KEY__STATES, KEY_INTENDED);
	engine_levels(e);
}

/* Rows that were never asked for are dropped, or with `forget_only` left to
 * settling. */
void
dispatch_drop_queues(struct engine *e, bool forget_only)
{
	struct ksm_fail fail;

	for (size_t i = 0; i < e->plan.npools; i++) {
		struct prun *run = &e->runs[i];
		size_t n = run->nqueue;

		run->nqueue = 0;
		if (forget_only)
			continue;
		for (size_t k = 0; k < n; k++) {
			if (!engine_stored(e,
				store_key_refused(e->store, &run->queue[k],
				    &fail),
				&fail, "drop an intended key"))
				return;
			engine_moved(e, run->row, KEY_INTENDED, KEY__STATES);
		}
		if (n > 0 && run->queue_automatic)
			auto_made_set(e, run,
			    run->auto_made > (int64_t)n
				? run->auto_made - (int64_t)n
				: 0);
		else if (n > 0)
			run->left += (int64_t)n;
	}
}

/* ---- generators -------------------------------------------------------- */

static bool
repo_open(const struct engine *e, const struct repo *r)
{
	return engine_repo_usable(r) && r->looked && !e->stopping &&
	    !e->recover && !e->clock_bad;
}

static bool
pool_wants(const struct plan_pool *p, const struct prun *run)
{
	if (run->blocked)
		return false;
	if (run->nqueue > 0)
		return true;
	if (p->make <= 0)
		return false;
	return (run->explicit && run->left > 0) ||
	    (run->automatic && run->auto_made < p->settings.max_per_run);
}

static bool
pool_paced(const struct plan_pool *p, const struct prun *run,
    const struct repo *r)
{
	return !run->explicit && !pool_urgent(p) &&
	    r->conf->keys_per_minute > 0;
}

/*
 * The pool of this repository that is worst off: least stock for what it
 * requires. Paced pools wait for the next slot of time.
 */
static bool
pool_choose(struct engine *e, const struct repo *r, size_t *out,
    ksm_msec *wait)
{
	ksm_msec now = engine_steady(e);
	bool found = false;

	for (size_t i = 0; i < e->plan.npools; i++) {
		const struct plan_pool *p = &e->plan.pools[i], *best;

		if (p->repository_conf != r->conf ||
		    !pool_wants(p, &e->runs[i]))
			continue;
		if (pool_paced(p, &e->runs[i], r) && now < r->next_paced) {
			if (r->next_paced - now < *wait)
				*wait = r->next_paced - now;
			continue;
		}
		best = &e->plan.pools[*out];
		if (!found ||
		    (__int128)pool_stock(p) * best->required <
			(__int128)pool_stock(best) * p->required)
			*out = i;
		found = true;
	}
	return found;
}

bool
dispatch_working(struct engine *e, struct repo *r)
{
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].busy)
			return true;
	if (!repo_open(e, r) ||
	    backoff_wait(&r->backoff, engine_steady(e)) > 0)
		return false;
	for (size_t i = 0; i < e->plan.npools; i++)
		if (e->plan.pools[i].repository_conf == r->conf &&
		    pool_wants(&e->plan.pools[i], &e->runs[i]))
			return true;
	return false;
}

/* Give `s` the next key, if there is one to make now. */
static void
slot_assign(struct engine *e, struct repo *r, struct slot *s, ksm_msec *wait)
{
	struct hsm_msg m = { .type = HSM_GENERATE };
	struct plan_pool *p;
	struct prun *run;
	size_t pool = 0;

	if (!repo_open(e, r) || !pool_choose(e, r, &pool, wait))
		return;
	p = &e->plan.pools[pool];
	run = &e->runs[pool];
	if (run->nqueue == 0)
		queue_fill(e, r, pool);
	if (run->nqueue == 0)
		return;
	if (pool_paced(p, run, r))
		r->next_paced = engine_steady(e) +
		    60 * 1000 / r->conf->keys_per_minute;

	s->job = ++e->last_job;
	s->id = run->queue[run->nqueue - 1];
	s->pool_row = run->row;
	s->automatic = run->queue_automatic;
	s->want = (struct keycheck_want){ .alg = p->alg,
		.bits = p->bits,
		.extractable = r->conf->allow_extraction };
	e->io.random(e->io.ctx, s->want.challenge, sizeof(s->want.challenge));
	m.u.generate.job = s->job;
	m.u.generate.id = s->id;
	m.u.generate.alg = p->alg;
	m.u.generate.bits = p->bits;
	memcpy(m.u.generate.challenge, s->want.challenge, CHALLENGE_LEN);
	if (engine_worker_send(e, r, s, &m, r->conf->deadline))
		run->nqueue--;
}

static void
repo_dispatch(struct engine *e, struct repo *r, ksm_msec *wait)
{
	ksm_msec left = backoff_wait(&r->backoff, engine_steady(e));
	bool yield_to_look = r->single &&
	    (r->look.step != LOOK_IDLE || look_due(e, r));
	size_t pool = 0;

	for (size_t k = 0; k < r->ngens; k++) {
		struct slot *s = &r->gens[k];
		bool idle = s->no != 0 && !s->starting && !s->busy &&
		    !s->leaving;

		if (idle &&
		    (s->generation != r->generation || yield_to_look ||
			r->conf == NULL ||
			(r->conf->recycle_after > 0 &&
			    s->made >= r->conf->recycle_after) ||
			(int64_t)k >= r->conf->sessions))
			engine_worker_leave(e, s);
	}
	if (!repo_open(e, r) || yield_to_look)
		return;
	if (left > 0) {
		if (left < *wait)
			*wait = left;
		return;
	}
	for (size_t k = 0; k < r->ngens; k++) {
		struct slot *s = &r->gens[k];

		if (s->stuck || s->leaving || (int64_t)k >= r->conf->sessions)
			continue;
		if (s->no == 0) {
			if (pool_choose(e, r, &pool, wait))
				(void)engine_worker_start(e, r, s,
				    PURPOSE_GENERATOR);
		} else if (!s->starting && !s->busy) {
			slot_assign(e, r, s, wait);
		}
	}
	for (size_t i = 0; i < e->plan.npools; i++)
		if (e->plan.pools[i].repository_conf == r->conf &&
		    e->runs[i].nqueue > 0 &&
		    !pool_paced(&e->plan.pools[i], &e->runs[i], r) &&
		    !e->runs[i].blocked)
			queue_fill(e, r, i);
}

void
dispatch_run(struct engine *e, ksm_msec *wait)
{
	for (size_t i = 0; i < e->plan.npools; i++)
		run_look(e, i);
	auto_run_look(e);
	for (size_t i = 0; i < e->nrepos; i++)
		repo_dispatch(e, e->repos[i], wait);
}

/* ---- answers ----------------------------------------------------------- */

static struct prun *
run_of(struct engine *e, int64_t pool_row, struct plan_pool **p)
{
	for (size_t i = 0; i < e->plan.npools; i++)
		if (e->runs[i].row == pool_row) {
			*p = &e->plan.pools[i];
			return &e->runs[i];
		}
	return NULL;
}

static bool
ticket_covers(const struct ticket *t, const char *policy)
{
	return t->policy == NULL || strcmp(t->policy, policy) == 0;
}

static void
tickets_count(struct engine *e, int64_t pool_row, bool automatic, bool made)
{
	struct plan_pool *p = NULL;

	if (automatic && made)
		e->auto_run.made++;
	else if (automatic)
		e->auto_run.failed++;
	if (run_of(e, pool_row, &p) == NULL)
		return;
	for (struct ticket *t = e->tickets; t != NULL; t = t->next) {
		if (t->state.done || !ticket_covers(t, p->policy))
			continue;
		if (made)
			t->state.made++;
		else
			t->state.failed++;
	}
}

/* The token's time is believed only as far as our own clock allows. */
static void
made_times(struct engine *e, const struct hsm_generated *g,
    struct store_made *out)
{
	ksm_time now = engine_wall(e);

	out->ended = g->ended > now || g->ended < now - 86400 ? now : g->ended;
	out->started = g->started > out->ended || g->started <= 0
	    ? out->ended
	    : g->started;
	if (out->ended > e->newest)
		e->newest = out->ended;
}

static void
pool_failed_check(struct engine *e, struct repo *r, const struct slot *was,
    const char *why)
{
	struct plan_pool *p = NULL;
	struct prun *run = run_of(e, was->pool_row, &p);
	char id[KEY_ID_HEX], name[400];

	key_id_format(&was->id, id);
	log_error("repository %s: key %s failed its check: %s; it is kept in "
		  "quarantine and will not be handed out",
	    r->name, id, why);
	tickets_count(e, was->pool_row, was->automatic, false);
	if (run == NULL || ++run->bad < POOL_BAD)
		return;
	run->blocked = true;
	run->bad = 0;
	(void)snprintf(run->trouble, sizeof(run->trouble),
	    "%d keys in a row failed their check: %.180s", POOL_BAD, why);
	pool_name(p, name);
	log_error("pool %s: %s; no more are made until `ksmctl topup`, a "
		  "reload or a restart",
	    name, run->trouble);
}

static void
record_generated(struct engine *e, struct repo *r, const struct slot *was,
    const struct hsm_generated *g)
{
	struct ksm_fail fail, check = { 0 };
	struct key_facts facts;
	struct store_made made = { 0 };
	struct plan_pool *p = NULL;
	struct prun *run;
	bool facts_ok = false;
	enum ksm_err err;
	const struct alg *alg = alg_find(was->want.alg);

	err = keycheck_evidence(&g->evidence, &was->want, &facts, &facts_ok,
	    &check);
	made.took = g->took;
	made.proved = err == KSM_OK;
	made.single = r->conf != NULL && r->conf->skip_public_key &&
	    alg != NULL && alg->family == ALG_RSA;
	made.tag_zsk = made.tag_ksk = made.tag_revoked = -1;
	if (facts_ok) {
		made.pub = facts.pub;
		made.publen = facts.publen;
		made.digest = facts.digest;
		made.tag_zsk = facts.tag_zsk;
		made.tag_ksk = facts.tag_ksk;
		made.tag_revoked = facts.tag_revoked;
	}
	made_times(e, g, &made);
	if (!engine_stored(e,
		store_key_made(e->store, &was->id, &made, engine_wall(e),
		    &fail),
		&fail, "record a key"))
		return;
	engine_result_noted(e);
	engine_moved(e, was->pool_row, KEY_INTENDED, KEY_MADE);
	(void)engine_stored(e,
	    store_rate_add(e->store, r->name, was->want.alg, was->want.bits,
		g->took, &fail),
	    &fail, "record a duration");
	if (r->group_since == 0)
		r->group_since = engine_steady(e);
	backoff_ok(&r->backoff);
	if (err != KSM_OK) {
		if (engine_stored(e,
			store_key_move(e->store, &was->id, KEY_MADE,
			    KEY_QUARANTINED, check.text, engine_wall(e),
			    &fail),
			&fail, "quarantine a key"))
			engine_moved(e, was->pool_row, KEY_MADE,
			    KEY_QUARANTINED);
		pool_failed_check(e, r, was, check.text);
		return;
	}
	run = run_of(e, was->pool_row, &p);
	if (run != NULL)
		run->bad = 0;
	tickets_count(e, was->pool_row, was->automatic, true);
}

static void
drop_intended(struct engine *e, const struct slot *was)
{
	struct ksm_fail fail;
	struct plan_pool *p = NULL;
	struct prun *run = run_of(e, was->pool_row, &p);

	if (!engine_stored(e, store_key_refused(e->store, &was->id, &fail),
		&fail, "drop a refused key"))
		return;
	engine_result_noted(e);
	engine_moved(e, was->pool_row, KEY_INTENDED, KEY__STATES);
	if (run != NULL && was->automatic && run->auto_made > 0)
		auto_made_set(e, run, run->auto_made - 1);
	else if (run != NULL && run->explicit)
		run->left++;
}

void
engine_no_text(const struct hsm_no *no, char out[256])
{
	(void)snprintf(out, 256, "%.31s: %.47s%s%.160s", no->stage, no->name,
	    no->name[0] == '\0' ? "" : ": ", no->text);
}

static void
record_refused(struct engine *e, struct repo *r, struct slot *s,
    const struct slot *was, const struct hsm_no *no)
{
	struct plan_pool *p = NULL;
	struct prun *run = run_of(e, was->pool_row, &p);
	char why[256], name[400];

	engine_no_text(no, why);
	drop_intended(e, was);
	tickets_count(e, was->pool_row, was->automatic, false);
	switch (no->group) {
	case CKRG_POLICY:
		if (run == NULL)
			break;
		run->blocked = true;
		(void)snprintf(run->trouble, sizeof(run->trouble),
		    "the token refuses such keys: %.220s", why);
		pool_name(p, name);
		log_error("pool %s: %s; other pools go on, this one is tried "
			  "again after `ksmctl topup`, a reload or a restart",
		    name, run->trouble);
		break;
	case CKRG_PIN:
		engine_repo_park(e, r, why, "");
		break;
	case CKRG_OTHER:
		/* An id that is taken: another is chosen, nothing to wait. */
		if (strcmp(no->stage, "search") == 0) {
			log_warning("repository %s: an id is already taken in "
				    "the token; another one is used", r->name);
			break;
		}
		engine_repo_failed(e, r, why);
		break;
	case CKRG_FULL:
		engine_repo_failed(e, r, why);
		break;
	case CKRG_LOGIN:
	case CKRG_SESSION:
	case CKRG_TOKEN:
	case CKRG_NOTHING:
	case CKRG__COUNT:
		engine_repo_failed(e, r, why);
		engine_worker_leave(e, s);
		break;
	}
}

static void
record_unknown(struct engine *e, struct repo *r, const struct slot *was,
    const char *why)
{
	struct ksm_fail fail;
	char id[KEY_ID_HEX];

	key_id_format(&was->id, id);
	log_warning("repository %s: key %s: %s; whether it exists is unknown, "
		    "it is settled next",
	    r->name, id, why);
	if (engine_stored(e,
		store_key_move(e->store, &was->id, KEY_INTENDED, KEY_UNKNOWN,
		    why, engine_wall(e), &fail),
		&fail, "mark a key unknown"))
		engine_moved(e, was->pool_row, KEY_INTENDED, KEY_UNKNOWN);
	(void)engine_commit(e);
	r->look_wanted = true;
}

static bool
token_serial_fits(struct engine *e, struct repo *r, const struct hsm_hello *h)
{
	struct ksm_fail fail;
	char why[256];

	if (r->row.token_serial[0] != '\0' &&
	    (strcmp(r->row.token_serial, h->serial) != 0 ||
		strcmp(r->row.token_label, h->label) != 0)) {
		(void)snprintf(why, sizeof(why),
		    "its token was '%.60s' serial '%.40s' and is now '%.60s' "
		    "serial '%.40s'",
		    r->row.token_label, r->row.token_serial, h->label,
		    h->serial);
		engine_repo_alien(e, r, why);
		return false;
	}
	if (strcmp(r->row.token_serial, h->serial) == 0 &&
	    strcmp(r->row.token_label, h->label) == 0)
		return true;
	(void)snprintf(r->row.token_label, sizeof(r->row.token_label), "%s",
	    h->label);
	(void)snprintf(r->row.token_serial, sizeof(r->row.token_serial), "%s",
	    h->serial);
	return engine_stored(e,
	    store_repository_token(e->store, r->row.row, h->label, h->serial,
		&fail),
	    &fail, "record the token of a repository");
}

/* A login went well: what stood against the PIN is history. */
static void
pin_is_good(struct engine *e, struct repo *r)
{
	struct ksm_fail fail;

	r->pin_again = false;
	if (r->row.pin_print[0] == '\0')
		return;
	r->row.pin_print[0] = '\0';
	(void)engine_stored(e,
	    store_repository_trouble(e->store, r->row.row, TROUBLE_NONE, "",
		"", engine_wall(e), &fail),
	    &fail, "clear the trouble of a repository");
	log_notice("repository %s: the new PIN works", r->name);
}

bool
engine_hello(struct engine *e, struct repo *r, struct slot *s,
    const struct hsm_hello *h)
{
	s->starting = false;
	pin_is_good(e, r);
	return token_serial_fits(e, r, h);
}

void
engine_start_failed(struct engine *e, struct repo *r, struct slot *s,
    const struct hsm_failed *f)
{
	char why[256];
	size_t others = r->look.slot.no != 0 && &r->look.slot != s;

	s->starting = false;
	s->leaving = true; /* it exits by itself */
	(void)snprintf(why, sizeof(why), "%.31s: %.47s%s%.160s", f->stage,
	    f->name, f->name[0] == '\0' ? "" : ": ", f->text);
	for (size_t k = 0; k < r->ngens; k++)
		others += r->gens[k].no != 0 && &r->gens[k] != s;
	if (f->group == CKRG_PIN) {
		engine_repo_park(e, r, why,
		    f->pin_print[0] != '\0' ? f->pin_print
					    : r->row.pin_print);
	} else if (strcmp(f->name, "CKR_SESSION_COUNT") == 0 && others > 0 &&
	    !r->single) {
		r->single = true;
		log_notice("repository %s: the token has no session for a "
			   "second worker; generator and verifier take turns",
		    r->name);
	} else {
		engine_repo_failed(e, r, why);
	}
}

void
dispatch_message(struct engine *e, struct repo *r, struct slot *s,
    struct hsm_msg *m)
{
	struct slot was = *s;
	ksm_msec wait = 0;
	char why[256];

	switch (m->type) {
	case HSM_HELLO:
		if (!engine_hello(e, r, s, &m->u.hello))
			engine_worker_leave(e, s);
		return;
	case HSM_FAILED:
		engine_start_failed(e, r, s, &m->u.failed);
		return;
	case HSM_GENERATED:
		if (!s->busy || m->u.generated.job != s->job ||
		    key_id_cmp(&m->u.generated.id, &s->id) != 0)
			break;
		s->busy = s->overdue = false;
		s->made++;
		/* The token works on while we write. */
		if (!s->leaving && s->generation == r->generation &&
		    (r->conf == NULL || r->conf->recycle_after == 0 ||
			s->made < r->conf->recycle_after) &&
		    !r->single)
			slot_assign(e, r, s, &wait);
		record_generated(e, r, &was, &m->u.generated);
		return;
	case HSM_REFUSED:
		if (!s->busy || m->u.no.job != s->job)
			break;
		s->busy = s->overdue = false;
		record_refused(e, r, s, &was, &m->u.no);
		return;
	case HSM_UNKNOWN:
		if (!s->busy || m->u.no.job != s->job)
			break;
		s->busy = s->overdue = false;
		s->leaving = true; /* it exits by itself */
		engine_no_text(&m->u.no, why);
		record_unknown(e, r, &was, why);
		engine_repo_failed(e, r, why);
		return;
	default:
		break;
	}
	engine_violation(e, r, s, hsm_type_text(m->type));
}

void
dispatch_exit(struct engine *e, struct repo *r, struct slot *s, bool asked,
    const char *how)
{
	struct slot was = *s;
	char why[256];

	*s = (struct slot){ 0 };
	if (was.busy && asked) {
		r->deaths++;
		(void)snprintf(why, sizeof(why),
		    "its worker ended (%s) while making it", how);
		record_unknown(e, r, &was, why);
		engine_repo_failed(e, r, why);
	} else if (was.starting || !was.leaving) {
		r->deaths++;
		(void)snprintf(why, sizeof(why), "a worker ended (%s) %s", how,
		    was.starting ? "before it was ready" : "while idle");
		engine_repo_failed(e, r, why);
	}
}

/* ---- topups ------------------------------------------------------------ */

static void
tickets_prune(struct engine *e)
{
	struct ticket **at = &e->tickets;
	size_t done = 0;

	/* newest first */
	while (*at != NULL) {
		struct ticket *t = *at;

		if (t->state.done && ++done > TICKETS_KEPT) {
			*at = t->next;
			free(t->policy);
			free(t);
		} else {
			at = &t->next;
		}
	}
}

enum ksm_err
engine_topup(struct engine *e, const struct topup_want *want, int64_t *ticket,
    struct ksm_fail *fail)
{
	struct ticket *t = NULL;
	enum ksm_err err;

	if (want->policy != NULL &&
	    conf_policy_find(&e->conf, want->policy) == NULL)
		return ksm_failf(fail, KSM_ENOENT,
		    "there is no policy %s; `ksmctl plan` names them",
		    want->policy);
	t = calloc(1, sizeof(*t));
	if (t == NULL ||
	    (want->policy != NULL &&
		(t->policy = strdup(want->policy)) == NULL)) {
		err = ksm_failf(fail, KSM_ENOMEM, "topup: no memory");
		goto out;
	}
	engine_levels(e);
	for (size_t i = 0; i < e->plan.npools; i++) {
		struct plan_pool *p = &e->plan.pools[i];
		struct prun *run = &e->runs[i];
		int64_t left = want->max >= 0 ? want->max
					      : p->settings.max_per_run;

		if (!ticket_covers(t, p->policy))
			continue;
		/* Those already asked for are counted when they are made. */
		t->state.wanted += (p->make < left ? p->make : left) +
		    p->stock[KEY_INTENDED] + p->stock[KEY_UNKNOWN];
		run->blocked = false;
		run->bad = 0;
		run->trouble[0] = '\0';
		if (p->make == 0)
			continue;
		run->explicit = true;
		if (run->left < left)
			run->left = left;
		auto_made_set(e, run, 0);
	}
	t->run = (struct store_run){ .cause = want->cause,
		.uid = want->uid,
		.pid = want->pid,
		.max = want->max,
		.started = engine_wall(e),
		.wanted = t->state.wanted };
	err = store_run_start(e->store, &t->run, fail);
	if (err == KSM_OK)
		err = store_commit(e->store, fail);
	if (err != KSM_OK) {
		(void)engine_stored(e, err, fail, "record a topup");
		goto out;
	}
	t->number = ++e->last_ticket;
	t->next = e->tickets;
	e->tickets = t;
	*ticket = t->number;
	t = NULL;
	log_notice("topup of %s asked for by uid %lld pid %lld: %lld keys to "
		   "make",
	    want->policy == NULL ? "all policies" : want->policy,
	    (long long)want->uid, (long long)want->pid,
	    (long long)e->tickets->state.wanted);
	tickets_prune(e);
out:
	if (t != NULL)
		free(t->policy);
	free(t);
	return err;
}

enum ksm_err
engine_topup_state(struct engine *e, int64_t ticket, struct topup_state *out)
{
	for (struct ticket *t = e->tickets; t != NULL; t = t->next)
		if (t->number == ticket) {
			*out = t->state;
			return KSM_OK;
		}
	return KSM_ENOENT;
}

void
engine_topup_forget(struct engine *e, int64_t ticket)
{
	for (struct ticket **at = &e->tickets; *at != NULL; at = &(*at)->next)
		if ((*at)->number == ticket) {
			struct ticket *t = *at;

			*at = t->next;
			free(t->policy);
			free(t);
			return;
		}
}

/* Will waiting longer not help this pool? */
static bool
pool_hopeless(struct engine *e, size_t i)
{
	const struct repo *r = repo_of(e, &e->plan.pools[i]);

	if (e->stopping || e->runs[i].blocked || e->clock_bad || r == NULL)
		return true;
	if (e->recover && e->store_backoff.tries >= POOL_MISSES)
		return true;
	/* An earlier worker has one key to finish, no longer. */
	if (r->waiting && engine_steady(e) - r->waiting_since >
	    r->conf->deadline * 1000)
		return true;
	return r->row.trouble != TROUBLE_NONE ||
	    r->backoff.tries >= POOL_MISSES;
}

static void
ticket_look(struct engine *e, struct ticket *t)
{
	struct topup_state *st = &t->state;
	bool finished = true, full = true;
	char trouble[256];
	struct ksm_fail fail;

	for (size_t i = 0; i < e->plan.npools; i++) {
		const struct plan_pool *p = &e->plan.pools[i];

		if (!ticket_covers(t, p->policy))
			continue;
		full = full && p->deficit == 0;
		if (pool_hopeless(e, i))
			continue;
		if (e->runs[i].explicit || p->stock[KEY_INTENDED] > 0 ||
		    p->stock[KEY_UNKNOWN] > 0 || p->stock[KEY_MADE] > 0)
			finished = false;
		/* Once is also the hour of the look at what is there. */
		if (t->run.cause == RUN_ONCE && !repo_of(e, p)->looked)
			finished = false;
	}
	if (!finished || (e->recover && !e->stopping &&
	    e->store_backoff.tries < POOL_MISSES))
		return;
	for (size_t i = 0; i < e->plan.npools; i++) {
		const struct plan_pool *p = &e->plan.pools[i];
		char name[400];

		if (!ticket_covers(t, p->policy))
			continue;
		e->runs[i].explicit = false;
		if (p->deficit == 0)
			continue;
		engine_pool_trouble(e, i, trouble);
		if (trouble[0] == '\0')
			st->held += p->make;
		else if (strlen(st->trouble) + strlen(trouble) + 20 <
		    sizeof(st->trouble)) {
			pool_name(p, name);
			(void)snprintf(st->trouble + strlen(st->trouble),
			    sizeof(st->trouble) - strlen(st->trouble),
			    "%s%.100s: %.200s",
			    st->trouble[0] == '\0' ? "" : "; ", name, trouble);
		}
	}
	if (e->stopping && !full && st->trouble[0] == '\0')
		(void)snprintf(st->trouble, sizeof(st->trouble),
		    "ksmpoold is stopping");
	st->full = full;
	st->done = true;
	t->run.ended = engine_wall(e);
	t->run.made = st->made;
	t->run.failed = st->failed;
	t->run.held = st->held;
	if (engine_stored(e, store_run_end(e->store, &t->run, &fail), &fail,
		"record a topup"))
		(void)engine_commit(e);
	log_notice("topup of %s: %lld keys made, %lld failed, %lld held back%s"
		   "%s%s",
	    t->policy == NULL ? "all policies" : t->policy,
	    (long long)st->made, (long long)st->failed, (long long)st->held,
	    full ? ", every pool is full" : "",
	    st->trouble[0] == '\0' ? "" : "; ", st->trouble);
}

void
dispatch_tickets(struct engine *e)
{
	for (struct ticket *t = e->tickets; t != NULL; t = t->next)
		if (!t->state.done)
			ticket_look(e, t);
}
