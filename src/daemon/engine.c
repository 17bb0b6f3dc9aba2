/*
 * engine.c - the frame: repositories, workers, stock and the store's batch.
 * configure.c changes what is in force, dispatch.c chooses keys, answer.c
 * hears what became of them, topup.c serves who asked, settle.c judges what is
 * in the token, view.c answers commands.
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
	if (err == KSM_ENOENT || err == KSM_EREFUSED) {
		log_warning("%s: %s; nothing was changed", doing,
		    err == KSM_EREFUSED
			? fail->text
			: "the row is not in that state any more");
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

static bool
being_made(const struct engine *e, const struct key_id *id)
{
	for (size_t i = 0; i < e->nrepos; i++)
		for (size_t k = 0; k < e->repos[i]->ngens; k++) {
			const struct slot *s = &e->repos[i]->gens[k];

			if (s->busy && key_id_cmp(&s->id, id) == 0)
				return true;
		}
	return false;
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
		ok = engine_stored(e,
		    store_keys_list(e->store, &f, &cursor, page, 16, &got,
			&fail),
		    &fail, "list intended keys");
		for (size_t i = 0; ok && i < got; i++) {
			if (being_made(e, &page[i].id))
				continue;
			ok = engine_stored(e,
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

		ok = engine_stored(e,
			 store_repository_token(e->store, row->row,
			     row->token_label, row->token_serial, &fail),
			 &fail, "record the token of a repository") &&
		    engine_stored(e,
			store_repository_trouble(e->store, row->row,
			    row->trouble, row->reason, row->pin_print,
			    row->since, &fail),
			&fail, "record the trouble of a repository");
	}
	for (size_t i = 0; ok && i < e->plan.npools; i++)
		ok = engine_stored(e,
		    store_pool_auto(e->store, e->runs[i].row,
			e->runs[i].auto_made, &fail),
		    &fail, "count the keys of a refill");
	return ok;
}

/*
 * A batch was lost: rows may be behind what happened. Every intended row but
 * those of running keys is treated as a daemon start does; a token that hangs
 * keeps no other one waiting.
 */
static void
recover_when_possible(struct engine *e, ksm_msec *wait)
{
	ksm_msec left = backoff_wait(&e->store_backoff, engine_steady(e));
	int64_t n;

	if (!e->recover)
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
	if (!orphan_the_others(e, &n) || !write_again(e) ||
	    !engine_commit(e)) {
		e->recover = true;
		return;
	}
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
					    s == KEY_UNKNOWN)
						held[k] += e->tallies[i].n[s];
	/* Capacity is the token's: pairs of others take room, too. */
	for (size_t k = 0; k < e->plan.ntokens; k++) {
		const struct repo *r = engine_repo_find(e,
		    e->plan.tokens[k].repository->name);

		if (r != NULL)
			held[k] += r->foreign + r->orphans;
	}
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

static void
repo_back_off(struct engine *e, struct repo *r, struct backoff *b,
    const char *why)
{
	uint32_t dice;

	(void)snprintf(r->why, sizeof(r->why), "%s", why);
	e->io.random(e->io.ctx, &dice, sizeof(dice));
	backoff_fail(b, engine_steady(e), dice);
	if (e->stopping)
		return;
	log_warning("repository %s: %s; tried again in %lld ms (failure %d in "
		    "a row), other repositories go on",
	    r->name, why, (long long)backoff_wait(b, engine_steady(e)),
	    b->tries);
}

void
engine_repo_failed(struct engine *e, struct repo *r, const char *why)
{
	repo_back_off(e, r, &r->backoff, why);
}

void
engine_making_failed(struct engine *e, struct repo *r, const char *why)
{
	repo_back_off(e, r, &r->making, why);
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
	if (r->look.step == LOOK_IDLE)
		engine_worker_leave(e, &r->look.slot);
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
		  "%s`ksmctl repository resume %s`",
	    r->name, why,
	    pin_print[0] == '\0' ? "" : "its PIN is another one or ", r->name);
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

struct repo *
engine_repo_find(struct engine *e, const char *name)
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
bool
engine_repo_starting(const struct repo *r)
{
	if (r->look.slot.no != 0 && r->look.slot.starting)
		return true;
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].no != 0 && r->gens[k].starting)
			return true;
	return false;
}

/*
 * A key is being made. In SoftHSM a login of another process meanwhile can
 * tear it: CKR_OK, and a half pair or a private key that does not sign. One
 * that is overdue may hang for ever and is not waited for.
 */
static bool
repo_making(const struct repo *r)
{
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].busy && !r->gens[k].overdue &&
		    !r->gens[k].stuck)
			return true;
	return false;
}

bool
engine_worker_start(struct engine *e, struct repo *r, struct slot *s,
    enum worker_purpose purpose)
{
	struct ksm_fail fail;
	enum ksm_err err;

	if (engine_repo_starting(r))
		return false;
	if (repo_making(r)) {
		r->hold = true;
		return false;
	}
	err = e->io.worker_start(e->io.ctx, ++e->last_no, r->conf, purpose,
	    r->alone, r->row.pin_print, &fail);
	if (err == KSM_EBUSY && r->alone) {
		if (!r->waiting)
			r->waiting_since = engine_steady(e);
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
	/* Who only looks may be killed: nothing is being made. */
	if (m->type == HSM_ENUMERATE || m->type == HSM_PROVE)
		kill_after = 0;
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
		engine_repo_free(e->repos[i]);
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
	/*
	 * Another file or memfd need not be another PIN; the worker tells by
	 * the print of the one that was refused. Without it only a human can.
	 */
	if (r->row.pin_print[0] == '\0')
		return;
	log_notice("repository %s: its PIN source may have changed; the worker "
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
	recover_when_possible(e, &wait);
	engine_levels(e);
	for (size_t i = 0; i < e->nrepos; i++) {
		e->repos[i]->hold = false; /* set again by who still waits */
		parked_look(e, e->repos[i], &wait);
		if (!e->recover)
			look_run(e, e->repos[i], &wait);
	}
	dispatch_run(e, &wait);
	commit_when_due(e, &wait);
	engine_levels(e);
	topup_run(e);
	commit_when_due(e, &wait);
	engine_repos_forget(e);
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
		answer_message(e, r, s, m);
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
		    "its deadline%s%s; %s, other repositories are not affected",
	    r->name, (long long)no, worker_purpose_text(s->purpose),
	    id[0] == '\0' ? "" : ", key ", id,
	    s == &r->look.slot ? "it only looked and is ended"
	    : r->conf != NULL && r->conf->on_overdue == OVERDUE_KILL
		? "it goes on until OnOverdue ends it"
		: "it goes on");
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
		answer_exit(e, r, s, asked, how);
}

void
engine_on_deaf(struct engine *e, worker_no no)
{
	struct repo *r;
	struct slot *s = slot_find(e, no, &r);

	if (s == NULL || s->leaving)
		return;
	r->deaths++;
	if (s == &r->look.slot) {
		if (r->look.step != LOOK_IDLE)
			engine_repo_failed(e, r,
			    "a worker closed its socket before it had seen "
			    "everything");
		look_abandon(e, r);
	} else {
		engine_making_failed(e, r,
		    "a worker closed its socket and goes on running");
	}
	s->starting = false;
	s->leaving = true;
}

void
engine_on_stuck(struct engine *e, worker_no no)
{
	struct repo *r;
	struct slot *s = slot_find(e, no, &r);

	if (s == NULL)
		return;
	s->stuck = true;
	if (s == &r->look.slot)
		look_abandon(e, r);
	else
		answer_stuck(e, r, s);
	log_error("repository %s: worker %lld cannot be ended (it hangs in the "
		  "kernel); nothing is started in its place",
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

