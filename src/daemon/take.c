/*
 * take.c - keys are handed out, and the journal and the database agree on it.
 *
 *          +-- wait, generate: none may go now
 *          v   |
 *   -----> CHOOSE -> PICKED -> CHOSEN --> PROVING --> PROVEN --> WRITTEN --> DONE
 *          ^ |         |         ^           |          |           |
 *          | +---------|---------+           |          |           +-- the store
 *          |  a key of the group             |          v               is locked
 *          +-----------+---------------------+   the journal says no:
 *        not committed   one failed: another     back to ready
 *
 * CHOOSE:  so many candidates in a turn.
 * PICKED:  `taking` in the open batch; one commit at the end of the turn, and
 *          none is more than a choice before that. It is there for whoever is
 *          killed; should the machine die, the journal alone decides.
 * CHOSEN:  all that wait for one repository are proven together.
 * PROVEN:  all that are proven go into the journal with one write and sync.
 * WRITTEN: the journal has it: nothing leads back. The rows follow as soon as
 *          the database takes them, or at the next start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/text.h"

#include "journal.h"
#include "take_parts.h"

#define TAKE_TRIES   5	  /* keys of one take that may fail their proof */
#define TAKES_KEPT   64	  /* finished, not fetched */

/* ---- the list ---------------------------------------------------------- */

static void
take_free(struct take *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; t->lines != NULL && i < t->want.count; i++)
		free(t->lines[i].text);
	free(t->keys);
	free(t->lines);
	free(t->singles);
	free(t->tags);
	id_list_clear(&t->excluded);
	free(t);
}

static struct take *
take_find(const struct engine *e, int64_t number)
{
	for (struct take *t = e->takes; t != NULL; t = t->next)
		if (t->number == number)
			return t;
	return NULL;
}

static void
take_unlink(struct engine *e, struct take *t)
{
	for (struct take **at = &e->takes; *at != NULL; at = &(*at)->next)
		if (*at == t) {
			*at = t->next;
			take_free(t);
			return;
		}
}

/*
 * Those nobody fetches go, the oldest first; not before whoever waits had a
 * turn to fetch it, or of many that end together one loses its answer.
 */
static void
takes_prune(struct engine *e)
{
	struct take *oldest = NULL, *next;
	size_t done = 0;

	for (struct take *t = e->takes; t != NULL; t = next) {
		next = t->next;
		if (t->step != TAKE_DONE)
			continue;
		if (t->forgotten) {
			take_unlink(e, t);
			continue;
		}
		if (t->offered) {
			oldest = oldest == NULL ? t : oldest;
			done++;
		}
		t->offered = true;
	}
	if (done > TAKES_KEPT)
		take_unlink(e, oldest);
}

void
take_end(struct engine *e, struct take *t, enum ksm_err err, const char *text)
{
	t->step = TAKE_DONE;
	t->state.done = true;
	t->state.err = err;
	(void)snprintf(t->state.text, sizeof(t->state.text), "%s", text);
	if (err != KSM_OK)
		t->state.nkeys = 0;
	if (t->topup != 0)
		engine_topup_forget(e, t->topup);
	t->topup = 0;
}

static struct take *
take_new(struct engine *e, const struct take_want *want, struct ksm_fail *fail)
{
	struct take *t = calloc(1, sizeof(*t));

	if (t == NULL)
		goto no_memory;
	t->want = *want;
	t->keys = calloc(want->count, sizeof(*t->keys));
	t->lines = calloc(want->count, sizeof(*t->lines));
	t->singles = calloc(want->count, sizeof(*t->singles));
	t->tags = calloc(want->count, sizeof(*t->tags));
	if (t->keys == NULL || t->lines == NULL || t->singles == NULL ||
	    t->tags == NULL)
		goto no_memory;
	if (!text_fit(want->zone, t->zone, sizeof(t->zone)) ||
	    !text_fit(want->owner, t->owner, sizeof(t->owner)) ||
	    !text_fit(want->policy, t->policy, sizeof(t->policy)) ||
	    !text_fit(want->repository, t->repository,
		sizeof(t->repository)) ||
	    !text_fit(want->request, t->request, sizeof(t->request)) ||
	    !text_fit(want->reason, t->reason, sizeof(t->reason))) {
		(void)ksm_failf(fail, KSM_EREFUSED, "a name is too long");
		take_free(t);
		return NULL;
	}
	t->want.zone = t->zone;
	t->want.owner = t->owner[0] == '\0' ? NULL : t->owner;
	t->want.policy = t->policy;
	t->want.repository = t->repository[0] == '\0' ? NULL : t->repository;
	t->want.request = t->request[0] == '\0' ? NULL : t->request;
	t->want.reason = t->reason;
	if (want->outside != NULL) {
		t->outside = *want->outside;
		t->want.outside = &t->outside;
	}
	t->number = ++e->last_take;
	return t;
no_memory:
	(void)ksm_failf(fail, KSM_ENOMEM, "take: no memory");
	take_free(t);
	return NULL;
}

/* ---- moving keys -------------------------------------------------- */

enum ksm_err
keys_move(struct engine *e, const struct take *t, enum key_state from,
    enum key_state to, const char *why, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;

	e->tallies_old = true;
	store_actor_set(e->store, t->want.who);
	for (size_t i = 0; err == KSM_OK && i < t->nkeys; i++)
		err = store_key_move(e->store, &t->keys[i].id, from, to, why,
		    engine_wall(e), fail);
	store_actor_set(e->store, ACTOR_DAEMON);
	return err;
}

/*
 * They were not handed out. When the database cannot say so now they stay
 * `taking` until handouts_look finds them.
 */
static void
keys_back(struct engine *e, struct take *t, const char *why)
{
	struct ksm_fail fail;

	if (t->lent || t->nkeys == 0 || t->step < TAKE_CHOSEN)
		return;
	if (!batch_ready(e) ||
	    !batch_stored(e,
		keys_move(e, t, KEY_TAKING, KEY_READY, why, &fail), &fail,
		"give keys back to their pool"))
		e->take_sweep = true;
	else if (!batch_commit(e))
		e->take_sweep = true;
	t->nkeys = 0;
}

void
take_fail(struct engine *e, struct take *t, enum ksm_err err, const char *text)
{
	keys_back(e, t, "it was not handed out");
	take_end(e, t, err, text);
}

/* ---- proving ------------------------------------------------------ */

const char *
take_repository(const struct take *t)
{
	return t->keys[0].pool.repository;
}

/* All that are chosen in its repository share one enumeration. */
static void
takes_prove(struct engine *e, const char *repository)
{
	struct key_id *ids = NULL;
	size_t n = 0, at = 0;
	int64_t errand = 0;

	for (struct take *t = e->takes; t != NULL; t = t->next)
		if (t->step == TAKE_CHOSEN &&
		    strcmp(take_repository(t), repository) == 0)
			n += t->nkeys;
	ids = calloc(n + 1, sizeof(*ids));
	for (struct take *t = e->takes; ids != NULL && t != NULL; t = t->next)
		if (t->step == TAKE_CHOSEN &&
		    strcmp(take_repository(t), repository) == 0) {
			t->errand_at = at;
			for (size_t i = 0; i < t->nkeys; i++)
				ids[at++] = t->keys[i].id;
		}
	if (ids != NULL)
		errand = errand_prove(e, repository, ids, n);
	free(ids);
	for (struct take *t = e->takes; t != NULL; t = t->next) {
		if (t->step != TAKE_CHOSEN ||
		    strcmp(take_repository(t), repository) != 0)
			continue;
		if (errand == 0) {
			take_fail(e, t, KSM_ENOMEM, "take: no memory");
			continue;
		}
		t->errand = errand;
		t->step = TAKE_PROVING;
	}
}

static bool
prove_running(struct engine *e, const char *repository)
{
	for (const struct take *t = e->takes; t != NULL; t = t->next)
		if (t->step == TAKE_PROVING &&
		    strcmp(take_repository(t), repository) == 0)
			return true;
	return false;
}

/* A key that is not what the record says is kept for a human. */
static void
key_quarantine(struct engine *e, const struct take *t, size_t i,
    const char *why)
{
	struct repo *r = repo_find(e, take_repository(t));
	struct ksm_fail fail;
	char hex[KEY_ID_HEX];

	key_id_format(&t->keys[i].id, hex);
	e->tallies_old = true;
	if (batch_ready(e) &&
	    batch_stored(e,
		store_key_move(e->store, &t->keys[i].id, KEY_TAKING,
		    KEY_QUARANTINED, why, engine_wall(e), &fail),
		&fail, "quarantine a key"))
		(void)batch_commit(e);
	else
		e->take_sweep = true;
	if (r != NULL)
		LOG_KEY(LOGL_ERROR, r, hex,
		    "repository %s: key %s was to be handed out and failed its "
		    "check: %s; it is quarantined, another one is taken",
		    r->name, hex, why);
}

static void
take_proved(struct engine *e, struct take *t, const struct errand_state *s)
{
	char text[512] = "";
	size_t good = 0, left = 0;
	bool memory = true;

	for (size_t i = 0; i < t->nkeys; i++) {
		const struct errand_item *item = &s->items[t->errand_at + i];

		good += item->done;
		t->singles[i] = item->single;
		if (!item->done && text[0] == '\0') {
			char hex[KEY_ID_HEX];

			key_id_format(&item->id, hex);
			(void)snprintf(text, sizeof(text), "key %s: %.300s",
			    hex, item->text);
		}
	}
	if (good == t->nkeys) {
		t->step = TAKE_PROVEN;
		return;
	}
	if (s->failed)
		(void)snprintf(text, sizeof(text),
		    "repository %.127s: %.250s; `ksmctl repository list` tells "
		    "how it stands",
		    take_repository(t), s->text);
	if (t->lent || s->failed) {
		take_fail(e, t, KSM_EREFUSED, text);
		return;
	}
	for (size_t i = 0; i < t->nkeys; i++) {
		const struct errand_item *item = &s->items[t->errand_at + i];

		if (!item->done) {
			memory = id_list_add(&t->excluded, &t->keys[i].id) &&
			    memory;
			t->tries++;
		}
		if (item->bad)
			key_quarantine(e, t, i, item->text);
		else
			t->keys[left++] = t->keys[i];
	}
	t->nkeys = left;
	if (t->tries >= TAKE_TRIES || !memory) {
		take_fail(e, t, KSM_EREFUSED, text);
		return;
	}
	keys_back(e, t, "it was to go with one that could not");
	t->lent = false;
	choice_reset(t);
	t->step = TAKE_CHOOSE;
}

/* An errand that ended: every take of it goes on. */
static void
proofs_look(struct engine *e, ksm_msec *wait)
{
	for (struct take *t = e->takes; t != NULL; t = t->next) {
		struct errand_state s;
		int64_t errand = t->errand;

		if (t->step != TAKE_PROVING)
			continue;
		if (engine_errand_state(e, errand, &s) != KSM_OK) {
			take_fail(e, t, KSM_EREFUSED,
			    "the daemon lost sight of its proof");
			continue;
		}
		if (!s.done)
			continue;
		for (struct take *o = t; o != NULL; o = o->next)
			if (o->step == TAKE_PROVING && o->errand == errand)
				take_proved(e, o, &s);
		engine_errand_forget(e, errand);
		*wait = 0;
	}
}

/* ---- all of it ---------------------------------------------------- */

void
take_run(struct engine *e, ksm_msec *wait)
{
	handouts_look(e);
	if (e->takes == NULL)
		return;
	for (struct take *t = e->takes; t != NULL; t = t->next) {
		if (t->step == TAKE_CHOOSE && t->forgotten)
			take_end(e, t, KSM_EREFUSED, "nobody waits for it");
		else if (e->stopping && t->step <= TAKE_CHOSEN)
			take_fail(e, t, KSM_EREFUSED, "ksmpoold is stopping");
		else if (t->step == TAKE_CHOOSE)
			take_choose(e, t, wait);
	}
	picks_commit(e);
	proofs_look(e, wait);
	for (struct take *t = e->takes; t != NULL; t = t->next)
		if (t->step == TAKE_PROVEN && t->forgotten)
			take_fail(e, t, KSM_EREFUSED, "nobody waits for it");
	takes_write(e, wait);
	takes_store(e, wait);
	for (struct take *t = e->takes; t != NULL; t = t->next)
		if (t->step == TAKE_CHOSEN &&
		    !prove_running(e, take_repository(t)))
			takes_prove(e, take_repository(t));
	takes_prune(e);
}

bool
take_holds(const struct engine *e, const struct key_id *id)
{
	for (const struct take *t = e->takes; t != NULL; t = t->next)
		for (size_t i = 0; t->step != TAKE_DONE && i < t->nkeys; i++)
			if (key_id_cmp(&t->keys[i].id, id) == 0)
				return true;
	return false;
}

bool
take_recording(const struct engine *e)
{
	for (const struct take *t = e->takes; t != NULL; t = t->next)
		if (t->step == TAKE_WRITTEN)
			return true;
	return false;
}

bool
take_busy(const struct engine *e)
{
	for (const struct take *t = e->takes; t != NULL; t = t->next)
		if (t->step != TAKE_DONE)
			return true;
	return false;
}

void
take_clear(struct engine *e)
{
	while (e->takes != NULL)
		take_unlink(e, e->takes);
	journal_close(e->journal);
	e->journal = NULL;
}

/* ---- what commands ask -------------------------------------------- */

static enum ksm_err
names_fit(struct engine *e, const struct take_want *want,
    const struct plan_pool *p, struct ksm_fail *fail)
{
	const struct repo *r = repo_find(e, p->repository);
	struct consumer_names names = { .zone = want->zone,
		.repository = p->repository,
		.module = p->repository_conf->module };

	/* a token that was seen has a serial, and a label or none */
	if (r != NULL && r->row.token_serial[0] != '\0')
		names.token_label = r->row.token_label;
	return consumer_names_fit(want->consumer, &names, fail);
}

enum ksm_err
take_pool_check(struct engine *e, const struct take_want *want, size_t *pool,
    struct ksm_fail *fail)
{
	const struct plan_pool *p;
	enum ksm_err err;

	err = order_pool_find(e,
	    &(struct pool_words){ want->policy, want->repository, want->role,
		want->alg },
	    pool, fail);
	if (err != KSM_OK)
		return err;
	p = &e->plan.pools[*pool];
	err = consumer_fits(want->consumer, p->role, p->alg,
	    plan_objects(p->repository_conf, p->alg) == 1, fail);
	return err != KSM_OK ? err : names_fit(e, want, p, fail);
}

enum ksm_err
engine_take(struct engine *e, const struct take_want *want, int64_t *ticket,
    struct ksm_fail *fail)
{
	struct take *t, **at = &e->takes;
	enum ksm_err err;
	size_t pool;

	if (e->stopping)
		return ksm_failf(fail, KSM_EREFUSED, "ksmpoold is stopping");
	if (want->count < 1 || want->count > TAKE_MOST)
		return ksm_failf(fail, KSM_EREFUSED,
		    "the number of keys must be 1 to %d", TAKE_MOST);
	if ((err = batch_may(e, fail)) != KSM_OK)
		return err;
	if (want->outside == NULL &&
	    (err = take_pool_check(e, want, &pool, fail)) != KSM_OK)
		return err;
	t = take_new(e, want, fail);
	if (t == NULL)
		return fail->err;
	while (*at != NULL)
		at = &(*at)->next;
	*at = t;
	*ticket = t->number;
	return KSM_OK;
}

void
engine_take_tell(struct engine *e, engine_taken *taken, void *ctx)
{
	e->taken = taken;
	e->taken_ctx = ctx;
}

enum ksm_err
engine_take_state(struct engine *e, int64_t ticket, struct take_state *out)
{
	const struct take *t = take_find(e, ticket);

	if (t == NULL || t->forgotten)
		return KSM_ENOENT;
	*out = t->state;
	return KSM_OK;
}

void
engine_take_forget(struct engine *e, int64_t ticket)
{
	struct take *t = take_find(e, ticket);

	if (t == NULL)
		return;
	t->forgotten = true;
	if (t->step == TAKE_DONE)
		take_unlink(e, t);
}
