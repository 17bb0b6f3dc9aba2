/*
 * topup.c - refills that somebody asked for, from the asking to the sum.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

static bool
ticket_covers(const struct ticket *t, const char *policy)
{
	return t->policy == NULL || strcmp(t->policy, policy) == 0;
}

void
topup_count(struct engine *e, int64_t pool_row, bool automatic, bool made)
{
	struct plan_pool *p = NULL;

	if (automatic && made)
		e->auto_run.made++;
	else if (automatic)
		e->auto_run.failed++;
	if (dispatch_run_of(e, pool_row, &p) == NULL)
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

bool
topup_pending(const struct engine *e, const char *policy)
{
	bool pending = e->only_asked;

	for (const struct ticket *t = e->tickets; t != NULL; t = t->next)
		pending = pending ||
		    (!t->state.done && ticket_covers(t, policy));
	return pending;
}

/* Was the token looked at around the time the topup was asked for? */
static bool
look_fresh(struct engine *e, const struct ticket *t, size_t pool)
{
	const struct repo *r = dispatch_repo(e, &e->plan.pools[pool]);

	return r != NULL && r->looked &&
	    r->looked_ms + TOPUP_LOOK_MS >= t->asked;
}

/*
 * Let the topup fill a pool, once: when it is asked for, or when the look
 * that it waits for has shown that keys are missing.
 */
static void
ticket_reach(struct engine *e, struct ticket *t, size_t pool)
{
	struct plan_pool *p = &e->plan.pools[pool];
	struct prun *run = &e->runs[pool];
	int64_t left = t->max >= 0 ? t->max : p->settings.max_per_run;

	/* What is unknown may turn out never to have been made. */
	if (run->ticket == t->number ||
	    (p->make == 0 && p->stock[KEY_UNKNOWN] == 0))
		return;
	run->ticket = t->number;
	t->state.wanted += (p->make < left ? p->make : left) +
	    p->stock[KEY_UNKNOWN];
	run->explicit = true;
	if (run->left < left)
		run->left = left;
	(void)dispatch_auto_made(e, run, 0);
}

static enum ksm_err
topup_history(struct engine *e, const struct ticket *t, const char *what,
    struct ksm_fail *fail)
{
	const struct topup_state *st = &t->state;
	char why[sizeof(((struct store_history *)0)->why)];

	if (st->done)
		(void)snprintf(why, sizeof(why),
		    "%lld keys made, %lld failed, %lld held back%s%s%.380s",
		    (long long)st->made, (long long)st->failed,
		    (long long)st->held, st->full ? ", every pool is full" : "",
		    st->trouble[0] == '\0' ? "" : "; ", st->trouble);
	else
		(void)snprintf(why, sizeof(why), "%lld keys to make%s",
		    (long long)st->wanted,
		    t->run.cause == RUN_ONCE ? ", once" : "");
	return store_history_add(e->store, engine_wall(e),
	    (struct store_actor){ t->run.uid, t->run.pid }, what,
	    t->policy == NULL ? "" : t->policy, why, fail);
}

enum ksm_err
engine_topup(struct engine *e, const struct topup_want *want, int64_t *ticket,
    struct ksm_fail *fail)
{
	struct ticket *t = NULL;
	enum ksm_err err;
	char paused[256];

	if (e->dead && (err = batch_may(e, fail)) != KSM_OK)
		return err;
	if (want->policy != NULL &&
	    conf_policy_find(&e->conf, want->policy) == NULL)
		return ksm_failf(fail, KSM_ENOENT,
		    "there is no policy %s; `ksmctl plan` names them",
		    want->policy);
	/* --once begins and ends with it, and tells the reason in its sum. */
	if (pause_now(e) && want->cause != RUN_ONCE) {
		pause_text(e, paused);
		return ksm_failf(fail, KSM_EREFUSED,
		    "no key is made: %s; `ksmctl resume` ends the pause",
		    paused);
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL ||
	    (want->policy != NULL &&
		(t->policy = strdup(want->policy)) == NULL)) {
		err = ksm_failf(fail, KSM_ENOMEM, "topup: no memory");
		goto out;
	}
	t->number = ++e->last_ticket;
	t->max = want->max;
	t->asked = engine_steady(e);
	e->only_asked = e->only_asked || want->cause == RUN_ONCE;
	stock_levels(e);
	for (size_t i = 0; i < e->plan.npools; i++) {
		struct prun *run = &e->runs[i];

		if (!ticket_covers(t, e->plan.pools[i].policy))
			continue;
		run->blocked = false;
		run->bad = 0;
		run->trouble[0] = '\0';
		run->automatic = false;
		/* Those on their way are counted when they are made. */
		t->state.wanted += e->plan.pools[i].stock[KEY_INTENDED];
		ticket_reach(e, t, i);
		if (!look_fresh(e, t, i) && dispatch_repo(e, &e->plan.pools[i]))
			dispatch_repo(e, &e->plan.pools[i])->look_wanted = true;
	}
	t->run = (struct store_run){ .cause = want->cause,
		.uid = want->uid,
		.pid = want->pid,
		.max = want->max,
		.started = engine_wall(e),
		.wanted = t->state.wanted };
	err = store_run_start(e->store, &t->run, fail);
	if (err == KSM_OK)
		err = topup_history(e, t, "topup started", fail);
	if (err == KSM_OK)
		err = store_commit(e->store, fail);
	if (err != KSM_OK) {
		(void)batch_stored(e, err, fail, "record a topup");
		goto out;
	}
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

/* Another program's lock is waited for longer than a disk that fails. */
static bool
store_hopeless(struct engine *e)
{
	if (!e->recover)
		return false;
	return e->dead ||
	    (e->lost || e->gone
		    ? e->store_backoff.tries >= POOL_MISSES
		    : engine_steady(e) - e->locked_since >= LOCKED_LONG_MS);
}

/* Will waiting longer not help this pool? */
static bool
pool_hopeless(struct engine *e, size_t i)
{
	const struct repo *r = dispatch_repo(e, &e->plan.pools[i]);

	if (e->stopping || e->runs[i].blocked || e->clock_bad || r == NULL ||
	    pause_now(e) || store_hopeless(e))
		return true;
	/* An earlier worker has one key to finish, no longer. */
	if (r->waiting && engine_steady(e) - r->waiting_since >
	    r->conf->deadline * 1000)
		return true;
	return r->row.trouble != TROUBLE_NONE ||
	    dispatch_tries(e, r) >= POOL_MISSES;
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
		full = full && p->deficit == 0 && look_fresh(e, t, i);
		if (pool_hopeless(e, i))
			continue;
		/* Whether the keys are still there is part of the question. */
		if (look_fresh(e, t, i))
			ticket_reach(e, t, i);
		else
			finished = false;
		if (e->runs[i].explicit || p->stock[KEY_INTENDED] > 0 ||
		    p->stock[KEY_UNKNOWN] > 0 || p->stock[KEY_MADE] > 0)
			finished = false;
	}
	if (!finished || (e->recover && !e->stopping && !store_hopeless(e)))
		return;
	for (size_t i = 0; i < e->plan.npools; i++) {
		const struct plan_pool *p = &e->plan.pools[i];
		char name[400];

		if (!ticket_covers(t, p->policy))
			continue;
		e->runs[i].explicit = false;
		if (p->deficit == 0 && look_fresh(e, t, i))
			continue;
		engine_pool_trouble(e, i, trouble);
		if (trouble[0] == '\0')
			st->held += p->make;
		else if (strlen(st->trouble) + strlen(trouble) + 20 <
		    sizeof(st->trouble)) {
			dispatch_pool_name(p, name);
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
	if (full && t->policy == NULL)
		e->last_topup = t->run.ended;
	if (batch_ready(e) &&
	    batch_stored(e, store_run_end(e->store, &t->run, &fail), &fail,
		"record a topup") &&
	    batch_stored(e, topup_history(e, t, "topup ended", &fail), &fail,
		"write the history"))
		(void)batch_commit(e);
	log_notice("topup of %s: %lld keys made, %lld failed, %lld held back%s"
		   "%s%s",
	    t->policy == NULL ? "all policies" : t->policy,
	    (long long)st->made, (long long)st->failed, (long long)st->held,
	    full ? ", every pool is full" : "",
	    st->trouble[0] == '\0' ? "" : "; ", st->trouble);
}

void
topup_run(struct engine *e)
{
	for (struct ticket *t = e->tickets; t != NULL; t = t->next)
		if (!t->state.done)
			ticket_look(e, t);
}
