/*
 * engine.c - the frame: what is run when, events, recovery. Under it lie
 * batch.c (the store), stock.c (counts) and repo.c (repositories and their
 * workers); with those, configure.c changes what is in force, dispatch.c
 * chooses keys, answer.c hears what became of them, topup.c serves who asked,
 * settle.c looks at the token and judge.c at each key, errand.c does there what
 * an operator asked for, order.c what needs no token, view.c answers commands.
 */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

/* ---- recovery --------------------------------------------------------- */

static bool
being_made(const struct engine *e, const struct key_id *id)
{
	for (size_t i = 0; i < e->nrepos; i++)
		for (size_t k = 0; k < e->repos[i]->ngens; k++) {
			const struct slot *s = &e->repos[i]->gens[k];

			if (s->busy && key_id_cmp(&s->id, id) == 0)
				return true;
		}
	return answer_is_kept(e, id); /* it was: that is written next */
}

/* As store_keys_orphan, but for keys that a worker of ours is making. */
static bool
orphan_the_others(struct engine *e, int64_t *n)
{
	struct key_filter f = { .by_state = true, .state = KEY_INTENDED };
	struct store_key *page = calloc(16, sizeof(*page));
	struct ksm_fail fail;
	int64_t cursor = 0;
	size_t got = 1;
	bool ok = page != NULL;

	*n = 0;
	while (ok && got > 0) {
		ok = batch_stored(e,
		    store_keys_list(e->store, &f, &cursor, page, 16, &got,
			&fail),
		    &fail, "list intended keys");
		for (size_t i = 0; ok && i < got; i++) {
			if (being_made(e, &page[i].id))
				continue;
			ok = batch_stored(e,
			    store_key_move(e->store, &page[i].id,
				KEY_INTENDED, KEY_UNKNOWN,
				"its answer was lost by the database",
				engine_wall(e), &fail),
			    &fail, "settle after a lost batch");
			*n += ok;
		}
	}
	free(page);
	return ok;
}

/* What else we know and the lost batch may have held. */
static bool
write_again(struct engine *e)
{
	struct ksm_fail fail;
	bool ok = true;

	for (size_t i = 0; ok && i < e->nrepos; i++) {
		const struct store_repository *row = &e->repos[i]->row;

		ok = batch_stored(e,
			 store_repository_token(e->store, row->row,
			     row->token_label, row->token_serial, &fail),
			 &fail, "record the token of a repository") &&
		    batch_stored(e,
			store_repository_trouble(e->store, row->row,
			    row->trouble, row->reason, row->pin_print,
			    row->since, &fail),
			&fail, "record the trouble of a repository");
	}
	for (size_t i = 0; ok && i < e->plan.npools; i++)
		ok = batch_stored(e,
		    store_pool_auto(e->store, e->runs[i].row,
			e->runs[i].auto_made, &fail),
		    &fail, "count the keys of a refill");
	return ok;
}

/*
 * A batch was lost: rows may be behind what happened. Every intended row but
 * those of running keys is treated as a daemon start does; a token that hangs
 * keeps no other one waiting. Where others only held the lock nothing is
 * behind but what was kept.
 */
static void
recover_when_possible(struct engine *e, ksm_msec *wait)
{
	ksm_msec now = engine_steady(e), left = e->locked_at - now;
	struct ksm_fail fail;
	bool lost = e->lost;
	int64_t n = 0;

	if (!e->recover)
		return;
	for (size_t i = 0; i < e->nrepos; i++)
		look_abandon(e, e->repos[i]); /* what it found was not kept */
	if (e->dead)
		return;
	if (lost || e->gone)
		left = backoff_wait(&e->store_backoff, now);
	if (left > 0) {
		wait_at_most(wait, left);
		return;
	}
	if (e->gone)
		return; /* batch_place_look ends that */
	if (lost)
		dispatch_drop_queues(e, true);
	e->recover = e->lost = false;
	if (!batch_stored(e, store_begin(e->store, &fail), &fail, "begin") ||
	    (lost && !orphan_the_others(e, &n)) || !write_again(e) ||
	    !batch_commit(e)) {
		e->recover = true;
		e->lost = e->lost || lost;
		wait_at_most(wait, LOCKED_MS);
		return;
	}
	e->locked_since = 0;
	backoff_ok(&e->store_backoff);
	if (lost)
		log_notice("the database works again; %lld keys are settled "
			   "now",
		    (long long)n);
	else
		log_notice("the database can be written again; what waited is "
			   "recorded now");
	answer_kept(e);
	for (size_t i = 0; lost && i < e->nrepos; i++)
		e->repos[i]->looked = false;
}

/* The newest finished run, as far as it tells whether all was full then. */
static enum ksm_err
last_topup_read(struct engine *e, struct ksm_fail *fail)
{
	struct store_run run;
	enum ksm_err err = store_run_last(e->store, &run, fail);

	if (err == KSM_ENOENT)
		return KSM_OK;
	if (err == KSM_OK && run.held == 0 && run.failed == 0 &&
	    run.made >= run.wanted)
		e->last_topup = run.ended;
	return err;
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
	e->kept_end = &e->kept;
	err = store_newest(st, &e->newest, fail);
	if (err == KSM_OK)
		err = store_pause_get(st, &e->pause, fail);
	if (err == KSM_OK)
		err = last_topup_read(e, fail);
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
	(void)batch_commit(e);
	while (e->tickets != NULL)
		engine_topup_forget(e, e->tickets->number);
	answer_kept_clear(e);
	errand_clear(e);
	take_clear(e);
	metric_clear(e);
	for (size_t i = 0; i < e->nrepos; i++)
		configure_repo_free(e->repos[i]);
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
		wait_at_most(wait, r->pin_at - now);
		return;
	}
	r->pin_at = now + PARKED_MS;
	wait_at_most(wait, PARKED_MS);
	e->io.pin_source_print(e->io.ctx, r->conf, print);
	if (strcmp(print, r->pin_seen) == 0)
		return;
	(void)snprintf(r->pin_seen, sizeof(r->pin_seen), "%s", print);
	/*
	 * Another file or memfd need not be another PIN; the worker tells by
	 * the print of the one that was refused. Without it only a human can.
	 */
	if (r->row.pin_print[0] == '\0')
		return;
	LOG_REPO(LOGL_NOTICE, r,
	    "repository %s: its PIN source may have changed; the worker "
	    "looks, and logs in only with another PIN",
	    r->name);
	/* The print stays: the worker refuses to try the same PIN. */
	r->row.trouble = TROUBLE_NONE;
	r->looked = false;
	backoff_ok(&r->backoff);
	backoff_ok(&r->making);
}

ksm_msec
engine_run(struct engine *e)
{
	ksm_msec wait = 60 * 1000;

	clock_look(e);
	if (e->clock_bad)
		wait = CLOCK_LOOK_MS; /* nobody tells when it is set right */
	batch_place_look(e, &wait);
	recover_when_possible(e, &wait);
	pause_look(e, &wait);
	stock_levels(e);
	take_run(e, &wait); /* before the next key is made */
	for (size_t i = 0; i < e->nrepos; i++) {
		struct repo *r = e->repos[i];

		r->hold = errand_destroys(r); /* or who still waits */
		parked_look(e, r, &wait);
		/* They take turns; one that waits for a key lets the other. */
		if (!e->recover && !errand_running(r))
			look_run(e, r, &wait);
		errand_run(e, r, &wait);
		repo_troubled(e, r);
	}
	dispatch_run(e, &wait);
	batch_commit_due(e, &wait);
	stock_levels(e);
	topup_run(e);
	batch_commit_due(e, &wait);
	configure_repos_forget(e);
	errands_homeless(e);
	return wait < 0 ? 0 : wait;
}

void
engine_on_message(struct engine *e, worker_no no, struct hsm_msg *m)
{
	struct repo *r;
	struct slot *s = repo_slot_find(e, no, &r);

	if (s == NULL)
		return;
	if (s == &r->look.slot)
		look_message(e, r, m);
	else if (s == &r->job.slot)
		errand_message(e, r, m);
	else
		answer_message(e, r, s, m);
}

void
engine_on_overdue(struct engine *e, worker_no no)
{
	struct repo *r;
	struct slot *s = repo_slot_find(e, no, &r);
	char id[KEY_ID_HEX] = "";

	if (s == NULL)
		return;
	s->overdue = true;
	if (!s->looking)
		key_id_format(&s->id, id);
	LOG_REPO(LOGL_WARNING, r,
	    "repository %s: worker %lld (%s) gives no answer within "
	    "its deadline%s%s; %s, other repositories are not affected",
	    r->name, (long long)no, worker_purpose_text(s->purpose),
	    id[0] == '\0' ? "" : ", key ", id,
	    s->looking ? "it only looked and is ended"
	    : r->conf != NULL && r->conf->on_overdue == OVERDUE_KILL
		? "it goes on until OnOverdue ends it"
		: "it goes on");
}

void
engine_on_exit(struct engine *e, worker_no no, bool asked, const char *how)
{
	struct repo *r;
	struct slot *s = repo_slot_find(e, no, &r);

	if (s == NULL)
		return;
	if (s == &r->look.slot)
		look_exit(e, r, how);
	else if (s == &r->job.slot)
		errand_exit(e, r, how);
	else
		answer_exit(e, r, s, asked, how);
}

void
engine_on_deaf(struct engine *e, worker_no no)
{
	struct repo *r;
	struct slot *s = repo_slot_find(e, no, &r);

	if (s == NULL || s->leaving)
		return;
	r->deaths++;
	if (s == &r->look.slot) {
		if (r->look.step != LOOK_IDLE)
			repo_failed(e, r,
			    "a worker closed its socket before it had seen "
			    "everything");
		look_abandon(e, r);
	} else if (s == &r->job.slot) {
		errand_cut(e, r, "its worker closed its socket");
	} else {
		repo_making_failed(e, r,
		    "a worker closed its socket and goes on running");
	}
	s->starting = false;
	s->leaving = true;
}

void
engine_on_stuck(struct engine *e, worker_no no)
{
	struct repo *r;
	struct slot *s = repo_slot_find(e, no, &r);

	if (s == NULL)
		return;
	s->stuck = true;
	if (s == &r->look.slot)
		look_abandon(e, r);
	else if (s == &r->job.slot)
		errand_stuck(e, r);
	else
		answer_stuck(e, r, s);
	LOG_REPO(LOGL_ERROR, r,
	    "repository %s: worker %lld cannot be ended (it hangs in the "
	    "kernel); nothing is started in its place",
	    r->name, (long long)no);
}

void
engine_stop(struct engine *e)
{
	if (e->stopping)
		return;
	e->stopping = true;
	e->stop_at = engine_steady(e);
	for (size_t i = 0; i < e->nrepos; i++) {
		struct repo *r = e->repos[i];

		look_abandon(e, r);
		errand_cut(e, r, "ksmpoold is stopping");
		for (size_t k = 0; k < r->ngens; k++)
			if (r->gens[k].no != 0 && !r->gens[k].busy)
				repo_worker_leave(e, &r->gens[k]);
	}
	dispatch_drop_queues(e, false);
	(void)batch_commit(e);
}

bool
engine_stopped(const struct engine *e)
{
	if (!e->stopping || repo_any_busy(e) || store_batch_open(e->store))
		return false;
	/* A lock that lasts is not waited for: the next start settles. */
	return (e->kept == NULL && !take_busy(e)) || e->dead ||
	    e->io.steady(e->io.ctx) - e->stop_at >= LOCKED_LONG_MS / 10;
}
