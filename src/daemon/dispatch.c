/*
 * dispatch.c - which key is made next, and by which generator.
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

struct repo *
dispatch_repo(struct engine *e, const struct plan_pool *p)
{
	for (size_t i = 0; i < e->nconf; i++)
		if (e->repos[i]->conf == p->repository_conf)
			return e->repos[i];
	return NULL;
}

void
dispatch_pool_name(const struct plan_pool *p, char out[400])
{
	const struct alg *alg = alg_find(p->alg);

	(void)snprintf(out, 400, "%s %s %s-%d in %s", p->policy,
	    key_role_text(p->role), alg == NULL ? "?" : alg->name, p->bits,
	    p->repository);
}

static int64_t
pool_stock(const struct plan_pool *p)
{
	return p->target - p->deficit;
}

/* Below critical there is no time to be polite. */
static bool
pool_urgent(const struct plan_pool *p)
{
	return p->ready + p->coming < p->critical ||
	    (p->ready + p->coming == 0 && p->required > 0);
}

bool
dispatch_auto_made(struct engine *e, struct prun *run, int64_t n)
{
	struct ksm_fail fail;

	if (run->auto_made == n)
		return true;
	if (!batch_ready(e))
		return false;
	run->auto_made = n;
	return batch_stored(e,
	    store_pool_auto(e->store, run->row, n, &fail), &fail,
	    "count the keys of a refill");
}

struct prun *
dispatch_run_of(struct engine *e, int64_t pool_row, struct plan_pool **p)
{
	for (size_t i = 0; i < e->plan.npools; i++)
		if (e->runs[i].row == pool_row) {
			*p = &e->plan.pools[i];
			return &e->runs[i];
		}
	return NULL;
}

/* ---- runs -------------------------------------------------------------- */

static void
auto_run_look(struct engine *e)
{
	struct ksm_fail fail;
	bool any = false;

	/* As long as anything of it goes on, it is the same refill. */
	for (size_t i = 0; i < e->plan.npools; i++)
		any = any || e->runs[i].automatic;
	if (any == e->auto_running || !batch_ready(e))
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
		(void)batch_stored(e,
		    store_run_start(e->store, &e->auto_run, &fail), &fail,
		    "record a refill");
		batch_history(e, ACTOR_DAEMON, "refill started", "",
		    "%lld keys to make", (long long)e->auto_run.wanted);
	} else {
		e->auto_run.ended = engine_wall(e);
		(void)batch_stored(e,
		    store_run_end(e->store, &e->auto_run, &fail), &fail,
		    "record a refill");
		batch_history(e, ACTOR_DAEMON, "refill ended", "",
		    "%lld keys made, %lld failed",
		    (long long)e->auto_run.made,
		    (long long)e->auto_run.failed);
		if (e->plan.deficit == 0)
			e->last_topup = e->auto_run.ended;
	}
}

static void
run_start_automatic(struct plan_pool *p, struct prun *run)
{
	char name[400];

	run->automatic = true;
	dispatch_pool_name(p, name);
	LOG_POOL(LOGL_INFO, p,
	    "pool %s: %lld of %lld keys, under low water (%lld); a refill "
	    "starts%s",
	    name, (long long)pool_stock(p), (long long)p->target,
	    (long long)p->low_water,
	    pool_urgent(p) ? " at full speed" : ", paced");
}

static void
run_look(struct engine *e, size_t i)
{
	struct plan_pool *p = &e->plan.pools[i];
	struct prun *run = &e->runs[i];
	char name[400];

	/* A topup also makes the one that a failed check takes away. */
	if (p->make == 0 && p->stock[KEY_INTENDED] == 0 &&
	    p->stock[KEY_UNKNOWN] == 0 &&
	    (!run->explicit || p->stock[KEY_MADE] == 0)) {
		if ((run->automatic || run->explicit) && p->deficit == 0) {
			dispatch_pool_name(p, name);
			LOG_POOL(LOGL_INFO, p, "pool %s: filled, %lld keys",
			    name, (long long)p->target);
		}
		run->automatic = run->explicit = false;
		if (p->deficit == 0)
			(void)dispatch_auto_made(e, run, 0);
		return;
	}
	if (run->explicit && run->left <= 0 && run->nqueue == 0)
		run->explicit = false;
	if (run->automatic && run->auto_made >= p->settings.max_per_run &&
	    run->nqueue == 0) {
		run->automatic = false;
		dispatch_pool_name(p, name);
		if (p->make > 0)
			LOG_POOL(LOGL_WARNING, p,
			    "pool %s: %lld keys more are held back by "
			    "MaxPerRun (%lld); `ksmctl topup --policy %s --max "
			    "%lld` makes them",
			    name, (long long)p->make,
			    (long long)p->settings.max_per_run, p->policy,
			    (long long)p->make);
	}
	if (!run->automatic && !run->explicit && !run->blocked &&
	    !e->stopping && !pause_now(e) && !e->recover &&
	    !topup_pending(e, p->policy) &&
	    p->strategy != STRATEGY_MANUAL && p->make > 0 &&
	    pool_stock(p) < p->low_water &&
	    run->auto_made < p->settings.max_per_run)
		run_start_automatic(p, run);
}

/* A refill that a restart cut off goes on to its target. */
void
dispatch_configure(struct engine *e)
{
	stock_levels(e);
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

	if (e->recover || (int64_t)run->nqueue * 4 > n)
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
	if (!batch_stored(e,
		store_keys_intend(e->store, run->row, (size_t)n,
		    engine_wall(e), run->queue + run->nqueue, &fail),
		&fail, "intend keys"))
		return;
	run->queue_automatic = !run->explicit;
	/*
	 * Asked for or not, they count against MaxPerRun until the pool was
	 * full or the next topup. When either fails the new rows are gone with
	 * the batch.
	 */
	if (!dispatch_auto_made(e, run, run->auto_made + n) ||
	    !batch_commit(e)) {
		run->nqueue = 0;
		return;
	}
	if (!run->queue_automatic)
		run->left -= n;
	run->nqueue += (size_t)n;
	for (int64_t k = 0; k < n; k++)
		stock_moved(e, run->row, KEY__STATES, KEY_INTENDED);
	stock_levels(e);
}

static void
queue_drop(struct engine *e, struct prun *run)
{
	struct ksm_fail fail;
	size_t n = run->nqueue;

	run->nqueue = 0;
	for (size_t k = 0; k < n; k++) {
		if (!batch_stored(e,
			store_key_refused(e->store, &run->queue[k], &fail),
			&fail, "drop an intended key")) {
			/* Nobody else knows of them: they are settled. */
			e->recover = e->lost = true;
			return;
		}
		batch_noted(e);
		stock_moved(e, run->row, KEY_INTENDED, KEY__STATES);
	}
	if (n > 0)
		(void)dispatch_auto_made(e, run,
		    run->auto_made > (int64_t)n ? run->auto_made - (int64_t)n
						: 0);
	if (n > 0 && !run->queue_automatic)
		run->left += (int64_t)n;
}

/* Rows that were never asked for are dropped, or with `forget_only` left to
 * settling. */
void
dispatch_drop_queues(struct engine *e, bool forget_only)
{
	for (size_t i = 0; i < e->plan.npools; i++)
		if (forget_only)
			e->runs[i].nqueue = 0;
		else
			queue_drop(e, &e->runs[i]);
}

void
dispatch_block(struct engine *e, struct prun *run)
{
	run->blocked = true;
	queue_drop(e, run);
}

/* ---- generators -------------------------------------------------------- */

static bool
repo_open(const struct engine *e, const struct repo *r)
{
	return repo_usable(r) && r->looked && !e->stopping &&
	    !e->recover && !e->clock_bad &&
	    e->pause.until == 0;
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
 * aims at. Paced pools wait for the next slot of time.
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
			wait_at_most(wait, r->next_paced - now);
			continue;
		}
		best = &e->plan.pools[*out];
		if (!found ||
		    (__int128)pool_stock(p) * best->target <
			(__int128)pool_stock(best) * p->target)
			*out = i;
		found = true;
	}
	return found;
}

static bool
repo_wants(const struct engine *e, const struct repo *r)
{
	for (size_t i = 0; i < e->plan.npools; i++)
		if (e->plan.pools[i].repository_conf == r->conf &&
		    pool_wants(&e->plan.pools[i], &e->runs[i]))
			return true;
	return false;
}

int64_t
dispatch_left(struct engine *e, struct repo *r)
{
	int64_t n = 0;

	if (!repo_open(e, r))
		return 0;
	for (size_t i = 0; i < e->plan.npools; i++) {
		const struct plan_pool *p = &e->plan.pools[i];
		const struct prun *run = &e->runs[i];

		if (p->repository_conf != r->conf || !pool_wants(p, run) ||
		    pool_paced(p, run, r))
			continue;
		n += (int64_t)run->nqueue;
		if (run->explicit)
			n += run->left < p->make ? run->left : p->make;
		else
			n += p->make;
	}
	return n;
}

bool
dispatch_working(struct engine *e, struct repo *r)
{
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].busy)
			return true;
	return repo_open(e, r) && dispatch_wait(e, r) == 0 && repo_wants(e, r);
}

ksm_msec
dispatch_wait(struct engine *e, const struct repo *r)
{
	ksm_msec now = engine_steady(e);
	ksm_msec look = backoff_wait(&r->backoff, now);
	ksm_msec making = backoff_wait(&r->making, now);

	return look > making ? look : making;
}

/* With no key to make, old failures to make one are nobody's trouble. */
int
dispatch_tries(struct engine *e, const struct repo *r)
{
	int making = backoff_wait(&r->making, engine_steady(e)) > 0 ||
		repo_wants(e, r)
	    ? r->making.tries
	    : 0;

	return r->backoff.tries > making ? r->backoff.tries : making;
}

void
dispatch_assign(struct engine *e, struct repo *r, struct slot *s, ksm_msec *wait)
{
	struct hsm_msg m = { .type = HSM_GENERATE };
	struct plan_pool *p;
	struct prun *run;
	size_t pool = 0;

	if (!repo_open(e, r) || r->hold || repo_starting(r) ||
	    !pool_choose(e, r, &pool, wait))
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
	s->single = plan_objects(r->conf, p->alg) == 1;
	s->want = (struct keycheck_want){ .alg = p->alg,
		.bits = p->bits,
		.extractable = r->conf->allow_extraction };
	e->io.random(e->io.ctx, s->want.challenge, sizeof(s->want.challenge));
	m.u.generate.job = s->job;
	m.u.generate.id = s->id;
	m.u.generate.alg = p->alg;
	m.u.generate.bits = p->bits;
	memcpy(m.u.generate.challenge, s->want.challenge, CHALLENGE_LEN);
	if (repo_worker_send(e, r, s, &m, r->conf->deadline))
		run->nqueue--;
}

/* Is the k-th generator one too many? */
bool
dispatch_spare(const struct repo *r, size_t k)
{
	return (int64_t)k >= r->conf->sessions || (r->most > 0 && k >= r->most);
}

static void
repo_dispatch(struct engine *e, struct repo *r, ksm_msec *wait)
{
	ksm_msec left = dispatch_wait(e, r);
	bool yield_to_look = (r->single &&
	    (r->look.slot.no != 0 || look_due(e, r))) || errand_crowded(e, r);
	size_t pool = 0;

	for (size_t k = 0; k < r->ngens; k++) {
		struct slot *s = &r->gens[k];
		bool idle = s->no != 0 && !s->starting && !s->busy &&
		    !s->leaving;

		if (idle &&
		    (s->generation != r->generation || yield_to_look ||
			!repo_usable(r) || e->pause.until != 0 ||
			(r->conf->recycle_after > 0 &&
			    s->made >= r->conf->recycle_after) ||
			dispatch_spare(r, k)))
			repo_worker_leave(e, s);
	}
	if (!repo_open(e, r) || yield_to_look)
		return;
	if (left > 0) {
		wait_at_most(wait, left);
		return;
	}
	/* All that are to log in first; keys only when nobody does. */
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].no == 0 && !r->gens[k].stuck &&
		    !dispatch_spare(r, k) && pool_choose(e, r, &pool, wait))
			(void)repo_worker_start(e, r, &r->gens[k],
			    PURPOSE_GENERATOR);
	for (size_t k = 0; k < r->ngens; k++) {
		struct slot *s = &r->gens[k];

		if (s->no != 0 && !s->starting && !s->busy && !s->stuck &&
		    !s->leaving && !dispatch_spare(r, k))
			dispatch_assign(e, r, s, wait);
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
