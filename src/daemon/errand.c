/*
 * errand.c - what an operator has done in a token: look through it, destroy
 * pairs, clean halves, sweep debris; and prove keys that are to be taken.
 *
 *   IDLE -worker-> START -hello-> LIST -listed-> COMPARE +-> SORT ----> (end)
 *    ^                                                   +-> NEXT -> PROVE (-> NEXT)
 *    |                                                   |    ^        |
 *    +-- a worker died: another one, from the start      |    +- ACT <-+
 *    +-- BETWEEN: a clean's second worker                +-> ACT (a sweep)
 *
 * START:   as with any worker, nobody else logs in and no key is being made.
 * LIST:    DESTROY, CLEAN and PROVE enumerate ids, INVENTORY and SWEEP inspect
 *          every object.
 * COMPARE: one pass over the rows, so many in a turn.
 * SORT:    an inventory: what each id of the token is.
 * NEXT:    the next id: may it go, as the record and the token have it?
 * PROVE:   a pair says its public key; it must be the one on record.
 * ACT:     that it is to go is on disk before the token is asked. Whoever dies
 *          now leaves a row that is `destroying`: the next worker, or a look,
 *          ends it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "errand_parts.h"

#define COMPARE_ROWS 2000 /* per turn of the loop */
#define ITEM_DEATHS  2	  /* workers that one id may cost */
#define ERRANDS_KEPT 16	  /* finished, not fetched */
#define WARM_ERRAND_MS (60 * 1000) /* a worker stays for the next take */

static const char *const kind_text[ERRAND__COUNT] = {
	[ERRAND_INVENTORY] = "inventory",
	[ERRAND_DESTROY] = "key destroy",
	[ERRAND_CLEAN] = "inventory clean",
	[ERRAND_SWEEP] = "inventory sweep",
	[ERRAND_PROVE] = "take",
};

/* ---- the list of errands ------------------------------------------------ */

static void
errand_free(struct errand *x)
{
	if (x == NULL)
		return;
	free(x->items);
	free(x->found);
	free(x->only);
	free(x);
}

static struct errand *
errand_find(const struct engine *e, int64_t number)
{
	for (struct errand *x = e->errands; x != NULL; x = x->next)
		if (x->number == number)
			return x;
	return NULL;
}

static void
errand_unlink(struct engine *e, struct errand *x)
{
	for (struct errand **at = &e->errands; *at != NULL; at = &(*at)->next)
		if (*at == x) {
			*at = x->next;
			errand_free(x);
			return;
		}
}

static void
errand_append(struct engine *e, struct errand *x)
{
	struct errand **at = &e->errands;

	while (*at != NULL)
		at = &(*at)->next;
	*at = x;
}

static struct errand *
errand_new(struct engine *e, const struct errand_want *want)
{
	struct errand *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return NULL;
	x->items = calloc(want->nids + 1, sizeof(*x->items));
	if (want->only != NULL)
		x->only = calloc(want->nonly + 1, sizeof(*x->only));
	if (x->items == NULL || (want->only != NULL && x->only == NULL)) {
		errand_free(x);
		return NULL;
	}
	x->sorts = want->sorts;
	x->nonly = want->only != NULL ? want->nonly : 0;
	if (x->nonly > 0) {
		memcpy(x->only, want->only, x->nonly * sizeof(*x->only));
		qsort(x->only, x->nonly, sizeof(*x->only), key_id_order);
	}
	x->number = ++e->last_errand;
	x->kind = want->kind;
	x->who = want->who;
	x->debris = want->debris;
	x->before_purge = want->before_purge;
	(void)snprintf(x->repository, sizeof(x->repository), "%s",
	    want->repository);
	(void)snprintf(x->reason, sizeof(x->reason), "%s",
	    want->reason == NULL ? "" : want->reason);
	x->state.nitems = want->nids;
	for (size_t i = 0; i < want->nids; i++)
		x->items[i].id = want->ids[i];
	return x;
}

/* Those nobody fetches go, the oldest first. */
static void
errands_prune(struct engine *e)
{
	struct errand *oldest = NULL;
	size_t done = 0;

	for (struct errand *x = e->errands; x != NULL; x = x->next)
		if (x->state.done) {
			/* Proofs stand at the head, whenever they came. */
			if (oldest == NULL || x->number < oldest->number)
				oldest = x;
			done++;
		}
	if (done > ERRANDS_KEPT)
		errand_unlink(e, oldest);
}

void
errand_clear(struct engine *e)
{
	while (e->errands != NULL)
		errand_unlink(e, e->errands);
}

static size_t
errand_close(struct errand *x, const char *why)
{
	size_t done = 0;

	x->state.done = true;
	x->state.failed = why != NULL;
	if (why != NULL)
		(void)snprintf(x->state.text, sizeof(x->state.text), "%s",
		    why);
	for (size_t i = 0; i < x->state.nitems; i++) {
		struct errand_item *item = &x->items[i];

		done += item->done;
		if (!item->done && item->text[0] == '\0')
			(void)snprintf(item->text, sizeof(item->text),
			    "not tried: %.200s", why == NULL ? "" : why);
	}
	return done;
}

/* Their repository went before they were begun. */
void
errands_homeless(struct engine *e)
{
	struct errand *next;

	for (struct errand *x = e->errands; x != NULL; x = next) {
		next = x->next;
		if (x->state.done || repo_find(e, x->repository) != NULL)
			continue;
		(void)errand_close(x, "its repository is not configured any "
				      "more");
		if (x->forgotten)
			errand_unlink(e, x);
	}
}

/* ---- one errand of a repository ----------------------------------------- */

/* What one worker has found out; the next begins anew. */
static void
job_forget(struct job *j)
{
	idmap_clear(&j->seen);
	sightings_clear(j);
	j->cursor = j->pages = j->privates = j->publics = 0;
	j->living = j->found = j->fresh = j->fresh_found = 0;
	j->debris = 0;
}

void
job_clear(struct job *j)
{
	job_forget(j);
	idmap_clear(&j->halves);
	free(j->states);
	free(j->singles);
	j->states = NULL;
	j->singles = NULL;
	j->errand = NULL;
	j->step = JOB_IDLE;
	j->deaths = j->at_deaths = 0;
	j->crowded = j->second = j->again = false;
	j->cut[0] = '\0';
	j->at = 0;
}

/* It is idle, and takes no session that somebody else may need. */
static bool
worker_may_stay(struct engine *e, const struct repo *r)
{
	const struct slot *s = &r->job.slot;

	return s->no != 0 && !s->busy && !s->leaving && !e->stopping &&
	    r->conf != NULL && r->row.trouble == TROUBLE_NONE && !r->single &&
	    r->most == 0 && !r->scarce && !pause_now(e) &&
	    s->generation == r->generation;
}

void
errand_end(struct engine *e, struct repo *r, const char *why)
{
	struct job *j = &r->job;
	struct errand *x = j->errand;
	size_t done;

	/* The next take may be near, and a login costs seconds in a full token. */
	if (x != NULL && x->kind == ERRAND_PROVE && why == NULL &&
	    worker_may_stay(e, r))
		j->warm_until = engine_steady(e) + WARM_ERRAND_MS;
	else
		repo_worker_leave(e, &j->slot);
	if (x == NULL)
		return;
	done = errand_close(x, why);
	if (why == NULL)
		backoff_ok(&r->backoff); /* as a look that went well */
	if (why != NULL)
		LOG_REPO(LOGL_WARNING, r, "repository %s: %s ended: %s",
		    r->name, kind_text[x->kind], why);
	else if (x->state.nitems > 0)
		LOG_REPO(x->kind == ERRAND_PROVE ? LOGL_DEBUG : LOGL_NOTICE, r,
		    "repository %s: %s: %zu of %zu done", r->name,
		    kind_text[x->kind], done, x->state.nitems);
	job_clear(j);
	e->tallies_old = true;
	if (x->forgotten)
		errand_unlink(e, x);
	else
		errands_prune(e);
}

void
errand_cut(struct engine *e, struct repo *r, const char *why)
{
	struct job *j = &r->job;

	if (j->errand == NULL)
		return;
	(void)snprintf(j->cut, sizeof(j->cut), "%s", why);
	if (j->slot.busy && !j->slot.looking)
		return; /* its answer is waited for, like that of a key */
	errand_end(e, r, why);
}

bool
errand_running(const struct repo *r)
{
	return r->job.step != JOB_IDLE && !r->job.slot.overdue &&
	    !r->job.slot.stuck;
}

bool
errand_destroys(const struct repo *r)
{
	const struct job *j = &r->job;

	if (!errand_running(r) || j->errand == NULL || j->slot.no == 0)
		return false;
	return j->errand->kind == ERRAND_DESTROY ||
	    j->errand->kind == ERRAND_SWEEP ||
	    (j->errand->kind == ERRAND_CLEAN && j->second);
}

/* The one that is run, or the next. */
static struct errand *
errand_waiting(const struct engine *e, const struct repo *r)
{
	if (r->job.errand != NULL)
		return r->job.errand;
	for (struct errand *x = e->errands; x != NULL; x = x->next)
		if (!x->state.done && strcmp(x->repository, r->name) == 0)
			return x;
	return NULL;
}

bool
errand_crowded(const struct engine *e, const struct repo *r)
{
	return (r->single || r->job.crowded) && errand_waiting(e, r) != NULL;
}

bool
errand_holds(const struct repo *r, const struct key_id *id)
{
	return r->job.step == JOB_ACT &&
	    key_id_cmp(&r->job.slot.id, id) == 0;
}

void
errand_finish_keys(struct engine *e, struct repo *r, const struct id_list *ids)
{
	struct errand_want want = { .kind = ERRAND_DESTROY,
		.repository = r->name,
		.reason = "it was being destroyed when somebody died",
		.who = ACTOR_DAEMON };
	struct errand *x;
	struct key_id *left = calloc(ids->n + 1, sizeof(*left));

	for (size_t i = 0; left != NULL && i < ids->n; i++) {
		bool asked = false;

		for (x = e->errands; x != NULL && !asked; x = x->next)
			for (size_t k = 0; !x->state.done && !asked &&
			     x->kind == ERRAND_DESTROY && k < x->state.nitems;
			     k++)
				asked = key_id_cmp(&x->items[k].id,
					    &ids->ids[i]) == 0;
		if (!asked)
			left[want.nids++] = ids->ids[i];
	}
	want.ids = left;
	x = want.nids == 0 ? NULL : errand_new(e, &want);
	if (x != NULL) {
		x->forgotten = true;
		errand_append(e, x);
		LOG_REPO(LOGL_NOTICE, r,
		    "repository %s: %zu keys were being destroyed when "
		    "somebody died; that is finished now",
		    r->name, want.nids);
	}
	free(left);
}

/* ---- starting ----------------------------------------------------- */

static enum worker_purpose
job_purpose(const struct job *j)
{
	if (j->errand->kind == ERRAND_INVENTORY)
		return PURPOSE_INSPECTOR;
	if (j->errand->kind == ERRAND_PROVE ||
	    (j->errand->kind == ERRAND_CLEAN && !j->second))
		return PURPOSE_VERIFIER; /* it only looks */
	return PURPOSE_DESTROYER;
}

static bool
others_inside(const struct repo *r)
{
	if (r->look.slot.no != 0)
		return true;
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].no != 0)
			return true;
	return false;
}

static bool
job_take(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;
	struct errand *x = errand_waiting(e, r);

	if (x == NULL)
		return false;
	job_clear(j);
	j->errand = x;
	j->states = calloc(x->state.nitems + 1, sizeof(*j->states));
	j->singles = calloc(x->state.nitems + 1, sizeof(*j->singles));
	if (j->states == NULL || j->singles == NULL) {
		errand_end(e, r, "no memory");
		return false;
	}
	return true;
}

static void job_list(struct engine *e, struct repo *r);

/*
 * A session that was open before a key was made may not show it
 * (CK_SESSION_INFO says nothing of that): another worker is asked before the
 * key is said not to be there.
 */
void
job_anew(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;

	j->again = false;
	repo_worker_leave(e, &j->slot);
	job_forget(j);
	j->step = JOB_IDLE;
}

/*
 * The worker of the last take is there still: it enumerates anew, and that is
 * all. False: there is none, or it is not for this.
 */
static bool
job_goes_on(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;

	if (j->warm_until == 0)
		return false;
	if (j->errand->kind != ERRAND_PROVE || !worker_may_stay(e, r)) {
		j->warm_until = 0;
		repo_worker_leave(e, &j->slot);
		return false;
	}
	if (r->look.step == LOOK_IDLE && !r->waiting) {
		j->warm_until = 0;
		j->again = true;
		job_list(e, r);
	}
	return true;
}

/* Nobody came for it. */
static void
job_cool(struct engine *e, struct repo *r, ksm_msec *wait)
{
	struct job *j = &r->job;
	ksm_msec left = j->warm_until - engine_steady(e);

	if (j->warm_until == 0)
		return;
	if (left > 0 && worker_may_stay(e, r)) {
		wait_at_most(wait, left);
		return;
	}
	j->warm_until = 0;
	repo_worker_leave(e, &j->slot);
}

static void
job_start(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;
	int tries = r->backoff.tries;
	char why[256];

	if (j->errand == NULL && !job_take(e, r))
		return;
	if (e->stopping)
		errand_end(e, r, "ksmpoold is stopping");
	else if (r->conf == NULL)
		errand_end(e, r, "its repository is not configured any more");
	else if (r->row.trouble != TROUBLE_NONE) {
		(void)snprintf(why, sizeof(why), "%s", r->row.reason);
		errand_end(e, r, why);
	} else if (j->slot.stuck)
		errand_end(e, r, "a worker cannot be ended");
	if (j->errand != NULL && job_goes_on(e, r))
		return;
	if (j->errand == NULL || j->slot.no != 0)
		return; /* or the last one has not left yet */
	if (r->look.step != LOOK_IDLE || r->waiting)
		return;
	if ((r->single || j->crowded) && others_inside(r))
		return;
	if (repo_worker_start(e, r, &j->slot, job_purpose(j))) {
		j->step = JOB_START;
	} else if (r->backoff.tries > tries) {
		(void)snprintf(why, sizeof(why), "%s", r->why);
		errand_end(e, r, why);
	}
}

static void
job_list(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;
	bool inspects = j->errand->kind == ERRAND_INVENTORY ||
	    j->errand->kind == ERRAND_SWEEP;
	struct hsm_msg m = { .type = inspects ? HSM_INSPECT : HSM_ENUMERATE };
	int64_t deadline = r->conf->deadline > LOOK_DEADLINE
	    ? r->conf->deadline
	    : LOOK_DEADLINE;

	job_forget(j);
	j->step = JOB_LIST;
	j->serial_limit = store_serial_last(e->store);
	j->slot.job = ++e->last_job;
	if (inspects)
		m.u.inspect.job = j->slot.job;
	else
		m.u.enumerate.job = j->slot.job;
	(void)repo_worker_send(e, r, &j->slot, &m, deadline);
}

/*
 * Its worker is gone, or must be. Another one begins anew, from the id that
 * this one had in hand; not for ever.
 */
static void
job_lost(struct engine *e, struct repo *r, const char *why)
{
	struct job *j = &r->job;
	struct errand *x = j->errand;
	bool item = j->step == JOB_PROVE ||
	    (j->step == JOB_ACT && x->kind != ERRAND_SWEEP);
	bool swept = j->step == JOB_ACT && x->kind == ERRAND_SWEEP;
	char text[256];

	repo_worker_leave(e, &j->slot);
	/* What it left is seen; those of our own wait for an ordinary look. */
	if (j->step == JOB_ACT && x->who.uid != ACTOR_DAEMON.uid)
		r->look_wanted = true;
	if (item && ++j->at_deaths >= ITEM_DEATHS) {
		(void)snprintf(x->items[j->at].text,
		    sizeof(x->items[j->at].text), "%.180s%s", why,
		    j->step == JOB_ACT ? "; what became of it is settled next"
				       : "");
		j->at++;
		j->at_deaths = 0;
	}
	j->step = JOB_IDLE;
	job_forget(j);
	if (j->cut[0] != '\0')
		errand_end(e, r, j->cut);
	else if (swept) {
		(void)snprintf(text, sizeof(text),
		    "%.180s; some of it may be gone, take an inventory again",
		    why);
		errand_end(e, r, text);
	} else if (++j->deaths >= ERRAND_DEATHS)
		errand_end(e, r, why);
}

/* ---- rows --------------------------------------------------------- */

/* States of the ids that a clean was given. */
static void
row_note(struct job *j, const struct store_brief *b)
{
	for (size_t i = 0; i < j->errand->state.nitems; i++)
		if (key_id_cmp(&j->errand->items[i].id, &b->id) == 0) {
			j->states[i] = b->state;
			j->singles[i] = b->single;
		}
}

static void
job_sweep(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;
	struct hsm_msg m = { .type = HSM_SWEEP };
	char why[128];

	if (j->debris != j->errand->debris || j->debris == 0) {
		(void)snprintf(why, sizeof(why),
		    "the token holds %lld pieces of debris, not %lld; nothing "
		    "was touched",
		    (long long)j->debris, (long long)j->errand->debris);
		errand_end(e, r, why);
		return;
	}
	j->step = JOB_ACT;
	j->slot.id = (struct key_id){ 0 };
	j->slot.job = m.u.sweep.job = ++e->last_job;
	m.u.sweep.debris = j->debris;
	(void)repo_worker_send(e, r, &j->slot, &m, r->conf->deadline);
}

/* Both halves of what is to be cleaned are looked for by two processes. */
static void
job_between(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;

	for (size_t i = 0; i < j->errand->state.nitems; i++) {
		struct idmap_entry *seen =
		    idmap_find(&j->seen, &j->errand->items[i].id), *half;

		if (seen == NULL || seen->privates + seen->publics != 1)
			continue;
		half = idmap_put(&j->halves, &seen->id);
		if (half == NULL) {
			errand_end(e, r, "no memory");
			return;
		}
		half->privates = seen->privates;
		half->publics = seen->publics;
	}
	for (size_t i = 0; i < j->errand->state.nitems; i++)
		j->states[i] = KEY__STATES;
	j->second = true;
	repo_worker_leave(e, &j->slot);
	j->step = JOB_BETWEEN;
	job_forget(j);
}

static void
job_listed(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;

	switch (j->errand->kind) {
	case ERRAND_INVENTORY:
		sightings_order(j);
		j->step = JOB_COMPARE;
		break;
	case ERRAND_DESTROY:
	case ERRAND_PROVE:
		j->step = JOB_COMPARE;
		break;
	case ERRAND_CLEAN:
		if (j->second)
			j->step = JOB_COMPARE;
		else
			job_between(e, r);
		break;
	case ERRAND_SWEEP:
		job_sweep(e, r);
		break;
	case ERRAND__COUNT:
		break;
	}
}

/*
 * "Found nothing, CKR_OK" is what a token says that was emptied or is away: as
 * in a look, nothing is believed of it before it has shown one key that it
 * should hold.
 */
static void
witness_note(struct job *j, const struct store_brief *b)
{
	bool seen = j->errand->kind == ERRAND_INVENTORY
	    ? sighting_has(j, &b->id)
	    : idmap_find(&j->seen, &b->id) != NULL;

	if (b->serial == 0 || b->serial > j->serial_limit)
		return;
	if (b->state == KEY_MADE) {
		j->fresh++;
		j->fresh_found += seen;
	} else if (b->state == KEY_MISSING) {
		j->found += seen;
	} else if (key_state_living(b->state)) {
		j->living++;
		j->found += seen;
	}
}

static bool
witnesses_agree(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;
	char why[256];

	if (j->living == 0) {
		j->living = j->fresh;
		j->found += j->fresh_found;
	}
	if (j->living == 0 || j->found > 0)
		return true;
	(void)snprintf(why, sizeof(why),
	    "none of its %lld known keys is in the token: nothing it says is "
	    "believed, and nothing was done",
	    (long long)j->living);
	r->look_wanted = true;
	errand_end(e, r, why);
	return false;
}

static void
job_compare(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;
	struct store_brief *rows = calloc(COMPARE_ROWS, sizeof(*rows));
	struct ksm_fail fail;
	size_t n = 0;
	bool ok = rows != NULL;

	if (ok &&
	    !batch_stored(e,
		store_keys_brief(e->store, r->name, &j->cursor, rows,
		    COMPARE_ROWS, &n, &fail),
		&fail, "read keys")) {
		errand_end(e, r, fail.text);
		goto out;
	}
	for (size_t i = 0; ok && i < n; i++) {
		witness_note(j, &rows[i]);
		if (j->errand->kind == ERRAND_INVENTORY)
			ok = row_compare(j, &rows[i]);
		else if (j->errand->kind == ERRAND_CLEAN)
			row_note(j, &rows[i]);
	}
	if (!ok)
		errand_end(e, r, "no memory to compare token and database");
	else if (n == 0 && witnesses_agree(e, r)) {
		j->cursor = 0;
		j->step = j->errand->kind == ERRAND_INVENTORY ? JOB_SORT
							      : JOB_NEXT;
	}
out:
	free(rows);
}

static void
job_next(struct engine *e, struct repo *r, ksm_msec *wait)
{
	struct job *j = &r->job;
	struct store_key *key;

	if (j->slot.no == 0 || j->slot.leaving)
		return;
	if (j->cut[0] != '\0' || j->at == j->errand->state.nitems) {
		char why[sizeof(j->cut)];

		(void)snprintf(why, sizeof(why), "%s", j->cut);
		errand_end(e, r, why[0] == '\0' ? NULL : why);
		*wait = 0;
		return;
	}
	if (e->dead) {
		errand_end(e, r, e->store_why);
		return;
	}
	if (!batch_ready(e)) { /* nothing is destroyed that is not on record */
		wait_at_most(wait, LOCKED_MS);
		return;
	}
	if (j->errand->kind == ERRAND_CLEAN) {
		clean_next(e, r);
	} else {
		key = calloc(1, sizeof(*key));
		if (key == NULL)
			errand_end(e, r, "no memory");
		else if (j->errand->kind == ERRAND_PROVE)
			prove_next(e, r, key);
		else
			destroy_next(e, r, key);
		free(key);
	}
	if (j->step == JOB_NEXT)
		*wait = 0;
}

void
errand_run(struct engine *e, struct repo *r, ksm_msec *wait)
{
	switch (r->job.step) {
	case JOB_IDLE:
	case JOB_BETWEEN:
		job_start(e, r);
		if (r->job.errand == NULL)
			job_cool(e, r, wait);
		break;
	case JOB_START:
	case JOB_LIST:
	case JOB_PROVE:
	case JOB_ACT:
		break;
	case JOB_COMPARE:
		job_compare(e, r);
		*wait = 0;
		break;
	case JOB_SORT:
		job_sort(e, r);
		*wait = 0;
		break;
	case JOB_NEXT:
		job_next(e, r, wait);
		break;
	}
}

/* ---- answers ------------------------------------------------------ */

static void
debris_swept(struct engine *e, struct repo *r, int64_t n)
{
	struct errand *x = r->job.errand;

	x->state.swept = n;
	r->nameless -= n < r->nameless ? n : r->nameless;
	batch_history(e, x->who, "debris swept", r->name, "%lld objects: %s",
	    (long long)n, x->reason);
	(void)batch_commit(e);
	LOG_REPO(LOGL_NOTICE, r,
	    "repository %s: %lld nameless objects were destroyed: %s", r->name,
	    (long long)n, x->reason);
	errand_end(e, r, NULL);
}

static void
errand_no(struct engine *e, struct repo *r, const struct hsm_no *no,
    bool leaves)
{
	struct job *j = &r->job;
	struct errand *x = j->errand;
	char why[256];

	answer_no_text(no, why);
	if (leaves) {
		repo_failed(e, r, why);
		job_lost(e, r, why);
	} else if (j->step == JOB_LIST || x->kind == ERRAND_SWEEP) {
		errand_end(e, r, why);
	} else if (j->step == JOB_ACT && x->kind == ERRAND_DESTROY) {
		item_not(j, "%.180s; it stays destroying and is tried again "
			    "after later looks", why);
	} else {
		item_not(j, "%s", why);
	}
}

static bool
ids_note(struct job *j, const struct hsm_page *page)
{
	struct idmap_entry *seen;

	j->pages++;
	j->privates += (int64_t)page->nprivates;
	j->publics += (int64_t)page->npublics;
	for (size_t i = 0; i < page->nprivates; i++) {
		if ((seen = idmap_put(&j->seen, &page->privates[i])) == NULL)
			return false;
		seen->privates += seen->privates < UINT8_MAX;
	}
	for (size_t i = 0; i < page->npublics; i++) {
		if ((seen = idmap_put(&j->seen, &page->publics[i])) == NULL)
			return false;
		seen->publics += seen->publics < UINT8_MAX;
	}
	return true;
}

static void
errand_hello(struct engine *e, struct repo *r, const struct hsm_hello *h)
{
	struct job *j = &r->job;

	if (answer_hello(e, r, &j->slot, h))
		job_list(e, r);
	else /* alien has ended it already, with its reason */
		errand_cut(e, r, e->store_why);
}

static void
errand_failed(struct engine *e, struct repo *r, const struct hsm_failed *f)
{
	struct job *j = &r->job;
	bool crowded = j->crowded;
	char why[256];

	j->step = j->errand == NULL ? JOB_IDLE : JOB_START;
	answer_start_failed(e, r, &j->slot, f); /* a wrong PIN ends it */
	if (j->errand == NULL)
		return;
	if (j->crowded && !crowded) {
		j->step = j->second ? JOB_BETWEEN : JOB_IDLE;
		return;
	}
	(void)snprintf(why, sizeof(why), "%.31s: %.47s%s%.160s", f->stage,
	    f->name, f->name[0] == '\0' ? "" : ": ", f->text);
	errand_end(e, r, why);
}

/* Words that fit the step; false: it broke the protocol. */
static bool
errand_answer(struct engine *e, struct repo *r, struct hsm_msg *m)
{
	struct job *j = &r->job;
	struct slot *s = &j->slot;
	bool list = j->step == JOB_LIST, act = j->step == JOB_ACT;
	bool ids = j->errand->kind == ERRAND_DESTROY ||
	    j->errand->kind == ERRAND_CLEAN || j->errand->kind == ERRAND_PROVE;

	switch (m->type) {
	case HSM_PAGE:
	case HSM_OBJECTS:
		if (!list || (m->type == HSM_PAGE) != ids ||
		    (ids ? m->u.page.job : m->u.objects.job) != s->job ||
		    j->seen.count + j->nsightings > LOOK_MOST)
			return false;
		if (ids ? !ids_note(j, &m->u.page)
			: !objects_note(j, &m->u.objects))
			errand_end(e, r, "no memory for what is in the token");
		return true;
	case HSM_LISTED:
		if (!list || m->u.listed.job != s->job ||
		    m->u.listed.pages != j->pages ||
		    (ids && (m->u.listed.privates != j->privates ||
				m->u.listed.publics != j->publics)))
			return false;
		s->busy = s->overdue = false;
		job_listed(e, r);
		return true;
	case HSM_PROOF:
		if (j->step != JOB_PROVE || m->u.proof.job != s->job ||
		    key_id_cmp(&m->u.proof.id, &s->id) != 0)
			return false;
		s->busy = s->overdue = false;
		proof_act(e, r, &m->u.proof);
		return true;
	case HSM_DESTROYED:
		if (!act || !ids || m->u.destroyed.job != s->job ||
		    key_id_cmp(&m->u.destroyed.id, &s->id) != 0)
			return false;
		s->busy = s->overdue = false;
		item_destroyed(e, r);
		return true;
	case HSM_SWEPT:
		if (!act || ids || m->u.swept.job != s->job)
			return false;
		s->busy = s->overdue = false;
		debris_swept(e, r, m->u.swept.n);
		return true;
	case HSM_REFUSED:
	case HSM_UNKNOWN:
		if (!s->busy || m->u.no.job != s->job)
			return false;
		s->busy = s->overdue = false;
		errand_no(e, r, &m->u.no, m->type == HSM_UNKNOWN);
		return true;
	default:
		return false;
	}
}

void
errand_message(struct engine *e, struct repo *r, struct hsm_msg *m)
{
	struct job *j = &r->job;
	struct slot *s = &j->slot;

	if (m->type == HSM_FAILED)
		errand_failed(e, r, &m->u.failed);
	else if (j->errand == NULL || s->leaving)
		s->starting = s->busy = false; /* given up meanwhile */
	else if (m->type == HSM_HELLO)
		errand_hello(e, r, &m->u.hello);
	else if (!errand_answer(e, r, m))
		e->io.worker_kill(e->io.ctx, s->no, hsm_type_text(m->type));
	/* What was to end it waited for this answer. */
	if (j->errand != NULL && j->cut[0] != '\0' && !s->busy) {
		char why[sizeof(j->cut)];

		(void)snprintf(why, sizeof(why), "%s", j->cut);
		errand_end(e, r, why);
	}
}

void
errand_exit(struct engine *e, struct repo *r, const char *how)
{
	struct job *j = &r->job;
	struct slot was = j->slot;
	char why[256];

	j->slot = (struct slot){ 0 };
	j->warm_until = 0;
	if (was.leaving || j->errand == NULL)
		return;
	r->deaths++;
	metric_errors(e, r->name)->deaths++;
	(void)snprintf(why, sizeof(why), "its %s ended (%s)",
	    worker_purpose_text(was.purpose), how);
	repo_failed(e, r, why);
	job_lost(e, r, why);
}

void
errand_stuck(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;

	j->slot.busy = j->slot.overdue = false;
	if (j->errand == NULL)
		return;
	if (j->step == JOB_ACT)
		r->look_wanted = true;
	errand_end(e, r, "its worker was killed and does not end");
}

/* ---- what commands ask -------------------------------------------- */

static enum ksm_err
errand_refused(struct engine *e, const struct errand_want *want,
    const struct repo *r, struct ksm_fail *fail)
{
	bool stuck = r->look.slot.stuck || r->job.slot.stuck;

	for (size_t k = 0; k < r->ngens; k++)
		stuck = stuck || r->gens[k].stuck;
	if (e->stopping)
		return ksm_failf(fail, KSM_EREFUSED, "ksmpoold is stopping");
	if (r->row.trouble != TROUBLE_NONE)
		return ksm_failf(fail, KSM_EREFUSED, "repository %s is %s: %s",
		    r->name,
		    r->row.trouble == TROUBLE_PARKED ? "parked" : "alien",
		    r->row.reason);
	if (stuck)
		return ksm_failf(fail, KSM_EREFUSED,
		    "repository %s is stuck: a worker cannot be ended",
		    r->name);
	if ((want->kind == ERRAND_DESTROY || want->kind == ERRAND_CLEAN) &&
	    want->nids == 0)
		return ksm_failf(fail, KSM_EREFUSED, "no key is named");
	if (want->kind == ERRAND_SWEEP && want->debris <= 0)
		return ksm_failf(fail, KSM_EREFUSED,
		    "the number of pieces must be known, from an inventory");
	return want->kind == ERRAND_INVENTORY ? KSM_OK : batch_may(e, fail);
}

/* Looking changes nothing and leaves no trace. */
static enum ksm_err
errand_history(struct engine *e, const struct errand *x, struct ksm_fail *fail)
{
	char why[512];
	enum ksm_err err;

	if (x->kind == ERRAND_INVENTORY)
		return KSM_OK;
	(void)snprintf(why, sizeof(why), "%lld %s: %.400s",
	    (long long)(x->kind == ERRAND_SWEEP ? x->debris
						: (int64_t)x->state.nitems),
	    x->kind == ERRAND_SWEEP	  ? "pieces of debris"
		: x->kind == ERRAND_CLEAN ? "halves"
					  : "keys",
	    x->reason);
	err = store_history_add(e->store, engine_wall(e), x->who,
	    kind_text[x->kind], x->repository, why, fail);
	if (!batch_stored(e, err, fail, "write the history") ||
	    !batch_commit(e))
		return err == KSM_OK
		    ? ksm_failf(fail, KSM_ESTORE, "%s", e->store_why)
		    : err;
	return KSM_OK;
}

enum ksm_err
engine_errand(struct engine *e, const struct errand_want *want,
    int64_t *ticket, struct ksm_fail *fail)
{
	struct repo *r = repo_find(e, want->repository);
	struct errand *x = NULL;
	enum ksm_err err;

	if (r == NULL || r->conf == NULL)
		return ksm_failf(fail, KSM_ENOENT,
		    "there is no repository %s; `ksmctl repository list` names "
		    "them",
		    want->repository);
	if ((err = errand_refused(e, want, r, fail)) != KSM_OK)
		return err;
	x = errand_new(e, want);
	if (x == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "%s: no memory",
		    kind_text[want->kind]);
	if ((err = errand_history(e, x, fail)) != KSM_OK) {
		errand_free(x);
		return err;
	}
	errand_append(e, x);
	*ticket = x->number;
	LOG_REPO(LOGL_NOTICE, r,
	    "repository %s: %s asked for by uid %lld pid %lld%s%s", r->name,
	    kind_text[x->kind], (long long)x->who.uid, (long long)x->who.pid,
	    x->reason[0] == '\0' ? "" : ": ", x->reason);
	return KSM_OK;
}

int64_t
errand_prove(struct engine *e, const char *repository,
    const struct key_id *ids, size_t n)
{
	struct errand_want want = { .kind = ERRAND_PROVE,
		.repository = repository,
		.ids = ids,
		.nids = n,
		.who = ACTOR_DAEMON };
	struct errand *x = errand_new(e, &want);

	if (x == NULL)
		return 0;
	x->next = e->errands; /* before all that wait */
	e->errands = x;
	return x->number;
}

enum ksm_err
engine_errand_state(struct engine *e, int64_t ticket, struct errand_state *out)
{
	const struct errand *x = errand_find(e, ticket);

	if (x == NULL || x->forgotten)
		return KSM_ENOENT;
	*out = x->state;
	out->items = x->items;
	out->found = x->found;
	return KSM_OK;
}

void
engine_errand_forget(struct engine *e, int64_t ticket)
{
	struct errand *x = errand_find(e, ticket);

	if (x == NULL || x->forgotten)
		return;
	for (size_t i = 0; i < e->nrepos; i++)
		if (e->repos[i]->job.errand == x) {
			x->forgotten = true;
			errand_cut(e, e->repos[i], "nobody waits for it");
			return;
		}
	errand_unlink(e, x);
}
