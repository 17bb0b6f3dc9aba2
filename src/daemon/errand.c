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
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

#define COMPARE_ROWS 2000 /* per turn of the loop */
#define SORT_IDS     5000
#define ITEM_DEATHS  2	  /* workers that one id may cost */
#define ERRANDS_KEPT 16	  /* finished, not fetched */
#define ID_SEEN	     64	  /* bytes of an id that are told */
#define WARM_ERRAND_MS (60 * 1000) /* a worker stays for the next take */

struct sighting {
	uint8_t id[ID_SEEN];
	int64_t idlen;
	int64_t key_type, bits;
	enum object_class class;
	char *label; /* NULL: none, or the hex of its id */
	/* of the first with its id: what the record says */
	bool on_record, single, young;
	enum key_state state;
};

static const char *const kind_text[ERRAND__COUNT] = {
	[ERRAND_INVENTORY] = "inventory",
	[ERRAND_DESTROY] = "key destroy",
	[ERRAND_CLEAN] = "inventory clean",
	[ERRAND_SWEEP] = "inventory sweep",
	[ERRAND_PROVE] = "take",
};

static const char *const sort_text[FOUND__COUNT] = {
	[FOUND_OURS] = "ours",
	[FOUND_MISSING] = "missing",
	[FOUND_HALF] = "half",
	[FOUND_DOUBLED] = "doubled",
	[FOUND_ORPHAN] = "orphan",
	[FOUND_ELSEWHERE] = "elsewhere",
	[FOUND_LEFT] = "left",
	[FOUND_FOREIGN] = "foreign",
	[FOUND_DEBRIS] = "debris",
	[FOUND_OTHER] = "other",
};

const char *
found_sort_text(enum found_sort s)
{
	return (unsigned)s < FOUND__COUNT ? sort_text[s] : "?";
}

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

static int
id_cmp(const void *a, const void *b)
{
	return key_id_cmp(a, b);
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
		qsort(x->only, x->nonly, sizeof(*x->only), id_cmp);
	}
	x->number = ++e->last_errand;
	x->kind = want->kind;
	x->who = want->who;
	x->debris = want->debris;
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
			oldest = oldest == NULL ? x : oldest;
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

/* `why` NULL: it was done, whatever became of each id. */
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

static void
sightings_clear(struct job *j)
{
	for (size_t i = 0; i < j->nsightings; i++)
		free(j->sightings[i].label);
	free(j->sightings);
	j->sightings = NULL;
	j->nsightings = j->asightings = 0;
}

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
	j->crowded = j->second = false;
	j->cut[0] = '\0';
	j->at = 0;
}

/* It is idle, and takes no session that somebody else may need. */
static bool
worker_may_stay(struct engine *e, const struct repo *r)
{
	const struct slot *s = &r->job.slot;

	return s->no != 0 && !s->busy && !s->leaving && !e->stopping &&
	    !r->single && r->most == 0 && !pause_now(e) &&
	    s->generation == r->generation;
}

static void
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

static const struct errand *
errand_waiting(const struct engine *e, const struct repo *r)
{
	if (r->job.errand != NULL)
		return r->job.errand;
	for (const struct errand *x = e->errands; x != NULL; x = x->next)
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

/* ---- starting ------------------------------------------------------------- */

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
	struct errand *x;

	for (x = e->errands; x != NULL; x = x->next)
		if (!x->state.done && strcmp(x->repository, r->name) == 0)
			break;
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
		*wait = left < *wait ? left : *wait;
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

/* ---- what an inventory finds ---------------------------------------------- */

static int
sighting_cmp(const void *a, const void *b)
{
	const struct sighting *x = a, *y = b;
	int d = memcmp(x->id, y->id, sizeof(x->id));

	if (d != 0)
		return d;
	return (x->idlen > y->idlen) - (x->idlen < y->idlen);
}

static bool
sighting_add(struct job *j, const struct hsm_object *o)
{
	struct sighting *s;
	size_t len = strlen(o->id) / 2;

	if (j->nsightings == j->asightings) {
		size_t want = j->asightings == 0 ? 256 : j->asightings * 2;
		void *p = reallocarray(j->sightings, want, sizeof(*s));

		if (p == NULL)
			return false;
		j->sightings = p;
		j->asightings = want;
	}
	s = &j->sightings[j->nsightings];
	*s = (struct sighting){ .idlen = o->idlen,
		.key_type = o->key_type,
		.bits = o->bits,
		.class = o->class,
		.state = KEY__STATES };
	if (len > sizeof(s->id) || !hex_parse(o->id, s->id, len))
		s->idlen = 0;
	if (o->label[0] != '\0' && strcmp(o->label, o->id) != 0 &&
	    (s->label = strdup(o->label)) == NULL)
		return false;
	j->nsightings++;
	return true;
}

static bool
objects_note(struct job *j, const struct hsm_objects *page)
{
	bool ok = true;

	j->pages++;
	for (size_t i = 0; ok && i < page->nobjects; i++) {
		if (page->objects[i].debris)
			j->debris++;
		else if (j->errand->kind == ERRAND_INVENTORY)
			ok = sighting_add(j, &page->objects[i]);
	}
	return ok;
}

static bool
found_wanted(const struct errand *x, const struct errand_found *f)
{
	struct key_id id;

	if ((x->sorts & FOUND_BIT(f->sort)) == 0)
		return false;
	return x->only == NULL ||
	    (f->idlen == KEY_ID_LEN && key_id_parse(f->id, &id) &&
		bsearch(&id, x->only, x->nonly, sizeof(id), id_cmp) != NULL);
}

/* Those beyond FOUND_MOST are counted, and whoever asked is told. */
static bool
found_add(struct errand *x, const struct errand_found *f)
{
	if (!found_wanted(x, f))
		return true;
	if (x->state.nfound == FOUND_MOST) {
		x->state.cut = true;
		return true;
	}
	if (x->state.nfound == x->afound) {
		size_t want = x->afound == 0 ? 64 : x->afound * 2;
		void *p = reallocarray(x->found, want, sizeof(*x->found));

		if (p == NULL)
			return false;
		x->found = p;
		x->afound = want;
	}
	x->found[x->state.nfound++] = *f;
	return true;
}

/* The first object with that id; they are in order. */
static struct sighting *
sighting_find(struct job *j, const struct key_id *id)
{
	struct sighting want = { .idlen = KEY_ID_LEN };
	size_t low = 0, high = j->nsightings;

	memcpy(want.id, id->bytes, sizeof(id->bytes));
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (sighting_cmp(&j->sightings[middle], &want) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == j->nsightings || sighting_cmp(&j->sightings[low], &want) != 0)
		return NULL;
	return &j->sightings[low];
}

static bool
row_compare(struct job *j, const struct store_brief *b)
{
	struct sighting *s = sighting_find(j, &b->id);
	struct errand_found f = { .sort = FOUND_MISSING,
		.idlen = KEY_ID_LEN,
		.key_type = -1,
		.on_record = true,
		.state = b->state };
	/* Being made, settled or verified while we looked. */
	bool young = b->serial == 0 || b->serial > j->serial_limit;

	if (s != NULL) {
		s->on_record = true;
		s->state = b->state;
		s->single = b->single;
		s->young = young && b->state != KEY_GONE;
		return true;
	}
	if (young || b->state == KEY_DESTROYING ||
	    (!key_state_living(b->state) && b->state != KEY_MISSING))
		return true;
	key_id_format(&b->id, f.id);
	j->errand->state.counts[FOUND_MISSING]++;
	return found_add(j->errand, &f);
}

static enum found_sort
found_sort(const struct repo *r, const struct sighting *s,
    const struct errand_found *f, const uint8_t tag[KEY_TAG_LEN])
{
	bool ours = s->on_record ||
	    (s->idlen == KEY_ID_LEN && memcmp(s->id, tag, KEY_TAG_LEN) == 0);
	bool single = s->on_record ? s->single
				   : r->conf != NULL && r->conf->skip_public_key &&
		f->key_type == 0; /* CKK_RSA */

	/* A certificate with its id is no key. */
	if (f->privates + f->publics == 0)
		return s->on_record && !s->young &&
			s->state != KEY_DESTROYING &&
			(key_state_living(s->state) || s->state == KEY_MISSING)
		    ? FOUND_MISSING
		    : FOUND_OTHER;
	if (!ours)
		return FOUND_FOREIGN;
	if (s->young)
		return FOUND_OURS;
	if (f->privates > 1 || f->publics > 1)
		return FOUND_DOUBLED;
	if (f->privates == 0 || (f->publics == 0 && !single))
		return FOUND_HALF;
	if (!s->on_record)
		return FOUND_ORPHAN;
	if (key_state_living(s->state) || s->state == KEY_MISSING)
		return FOUND_OURS;
	return FOUND_LEFT;
}

/* An id that no row of this repository has may be one of another's. */
static enum found_sort
orphan_sort(struct engine *e, struct errand_found *f)
{
	struct store_key *key = calloc(1, sizeof(*key));
	enum found_sort sort = FOUND_ORPHAN;
	struct ksm_fail fail;
	struct key_id id;

	if (key != NULL && key_id_parse(f->id, &id) &&
	    store_key_get(e->store, &id, key, &fail) == KSM_OK) {
		sort = FOUND_ELSEWHERE;
		f->on_record = true;
		f->state = key->state;
	}
	free(key);
	return sort;
}

/* All objects with one id; *at is moved behind them. */
static bool
sightings_sort(struct engine *e, struct repo *r,
    const uint8_t tag[KEY_TAG_LEN], size_t *at)
{
	struct job *j = &r->job;
	const struct sighting *first = &j->sightings[*at], *s = first;
	struct errand_found f = { .idlen = first->idlen,
		.key_type = first->key_type,
		.bits = first->bits,
		.on_record = first->on_record,
		.state = first->state };
	size_t len = first->idlen > ID_SEEN ? ID_SEEN : (size_t)first->idlen;

	hex_format(first->id, len, f.id);
	do {
		f.privates += s->class == OBJECT_PRIVATE;
		f.publics += s->class == OBJECT_PUBLIC;
		f.others += s->class != OBJECT_PRIVATE &&
		    s->class != OBJECT_PUBLIC;
		if (f.bits == 0)
			f.bits = s->bits;
		if (f.label[0] == '\0' && s->label != NULL)
			(void)snprintf(f.label, sizeof(f.label), "%s",
			    s->label);
		++*at;
		s++;
		/* Without an id nothing says that two belong together. */
	} while (first->idlen > 0 && *at < j->nsightings &&
	    sighting_cmp(first, s) == 0);
	f.sort = found_sort(r, first, &f, tag);
	if (!f.on_record && f.idlen == KEY_ID_LEN && f.sort != FOUND_OTHER &&
	    orphan_sort(e, &f) == FOUND_ELSEWHERE)
		f.sort = FOUND_ELSEWHERE;
	j->errand->state.counts[f.sort]++;
	return f.sort == FOUND_OURS || found_add(j->errand, &f);
}

static int
found_cmp(const void *a, const void *b)
{
	const struct errand_found *x = a, *y = b;

	return strcmp(x->id, y->id);
}

static void
job_sort(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;
	struct errand *x = j->errand;
	size_t at = (size_t)j->cursor, stop = at + SORT_IDS;
	uint8_t tag[KEY_TAG_LEN];

	store_tag_get(e->store, tag);
	while (at < j->nsightings && at < stop)
		if (!sightings_sort(e, r, tag, &at)) {
			errand_end(e, r, "no memory for what was found");
			return;
		}
	j->cursor = (int64_t)at;
	if (at < j->nsightings)
		return;
	for (int64_t i = 0; i < j->debris; i++) {
		struct errand_found f = { .sort = FOUND_DEBRIS,
			.others = 1,
			.key_type = -1 };

		if (!found_add(x, &f)) {
			errand_end(e, r, "no memory for what was found");
			return;
		}
	}
	x->state.counts[FOUND_DEBRIS] = j->debris;
	r->nameless = j->debris;
	if (x->state.nfound > 0)
		qsort(x->found, x->state.nfound, sizeof(*x->found), found_cmp);
	errand_end(e, r, NULL);
}

/* ---- rows ----------------------------------------------------------------- */

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
		if (j->nsightings > 0)
			qsort(j->sightings, j->nsightings,
			    sizeof(*j->sightings), sighting_cmp);
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
	    ? sighting_find(j, &b->id) != NULL
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

/* ---- one id ------------------------------------------------------------------ */

/* What there is to do first; NULL: a pair in that state may be destroyed. */
static const char *
destroy_instead(enum key_state state)
{
	switch (state) {
	case KEY_READY:
	case KEY_SURPLUS:
	case KEY_QUARANTINED:
	case KEY_RETIRED:
	case KEY_DESTROYING:
		return NULL;
	case KEY_INTENDED:
	case KEY_UNKNOWN:
	case KEY_MADE:
		return "it is not settled yet; ask again when it is ready";
	case KEY_TAKING:
		return "it is being handed out";
	case KEY_TAKEN:
		return "it was handed out; when no zone uses it, retire it "
		       "first";
	case KEY_MISSING:
		return "it is not in the token";
	case KEY_GONE:
		return "it never came to be";
	case KEY_CONSUMED:
	case KEY_DESTROYED:
	case KEY__STATES:
		break;
	}
	return "it is destroyed already";
}

static void __attribute__((format(printf, 2, 3)))
item_not(struct job *j, const char *fmt, ...)
{
	struct errand_item *item = &j->errand->items[j->at];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(item->text, sizeof(item->text), fmt, ap);
	va_end(ap);
	j->at++;
	j->at_deaths = 0;
	j->step = JOB_NEXT;
}

static void
item_done(struct engine *e, struct job *j)
{
	j->errand->items[j->at].done = true;
	j->errand->items[j->at].text[0] = '\0';
	j->at++;
	j->at_deaths = 0;
	j->step = JOB_NEXT;
	e->tallies_old = true;
}

static bool
key_move_by(struct engine *e, const struct errand *x, const struct key_id *id,
    enum key_state from, enum key_state to)
{
	struct ksm_fail fail;
	enum ksm_err err;

	e->tallies_old = true;
	if (!batch_ready(e))
		return false;
	store_actor_set(e->store, x->who);
	err = store_key_move(e->store, id, from, to, x->reason,
	    engine_wall(e), &fail);
	store_actor_set(e->store, ACTOR_DAEMON);
	return batch_stored(e, err, &fail, "move a key") && batch_commit(e);
}

/* The row of the id in hand; false: *item has the words. */
static bool
item_row(struct engine *e, struct repo *r, struct store_key *key)
{
	struct job *j = &r->job;
	struct ksm_fail fail;
	enum ksm_err err = store_key_get(e->store, &j->errand->items[j->at].id,
	    key, &fail);
	const char *instead;

	if (err == KSM_ENOENT) {
		item_not(j, "there is no such key on record");
		return false;
	}
	if (!batch_stored(e, err, &fail, "read a key")) {
		item_not(j, "%.250s", fail.text);
		return false;
	}
	if (strcmp(key->pool.repository, r->name) != 0) {
		item_not(j, "it is a key of repository %.100s",
		    key->pool.repository);
		return false;
	}
	instead = destroy_instead(key->state);
	if (instead != NULL)
		item_not(j, "it is %s: %s", key_state_text(key->state),
		    instead);
	return instead == NULL;
}

/* What the enumeration has of the id in hand; false: the item has the words. */
static bool
item_seen(struct repo *r, const struct idmap_entry *seen)
{
	struct job *j = &r->job;

	if (seen != NULL && seen->privates == 1 && seen->publics <= 1)
		return true;
	if (seen == NULL)
		item_not(j, "it is not in the token");
	else
		item_not(j,
		    "%d private and %d public objects in the token carry its "
		    "id",
		    seen->privates, seen->publics);
	r->look_wanted = true; /* the record is behind */
	return false;
}

static void
item_prove(struct engine *e, struct repo *r, const struct store_key *key)
{
	struct job *j = &r->job;
	struct hsm_msg m = { .type = HSM_PROVE };
	uint8_t tag[KEY_TAG_LEN];

	store_tag_get(e->store, tag);
	j->step = JOB_PROVE;
	j->slot.id = key->id;
	j->slot.want = (struct keycheck_want){ .alg = key->pool.alg,
		.bits = key->pool.bits,
		.extractable = r->conf->allow_extraction,
		.other_label = memcmp(key->id.bytes, tag, sizeof(tag)) != 0 };
	e->io.random(e->io.ctx, j->slot.want.challenge, CHALLENGE_LEN);
	j->slot.job = m.u.prove.job = ++e->last_job;
	m.u.prove.id = key->id;
	m.u.prove.alg = key->pool.alg;
	memcpy(m.u.prove.challenge, j->slot.want.challenge, CHALLENGE_LEN);
	(void)repo_worker_send(e, r, &j->slot, &m, r->conf->deadline);
}

static void
destroy_next(struct engine *e, struct repo *r, struct store_key *key)
{
	struct job *j = &r->job;
	const struct key_id *id = &j->errand->items[j->at].id;
	const struct idmap_entry *seen = idmap_find(&j->seen, id);

	if (!item_row(e, r, key))
		return;
	if (seen == NULL && key->state == KEY_DESTROYING) {
		if (key_move_by(e, j->errand, id, KEY_DESTROYING,
			KEY_DESTROYED))
			item_done(e, j);
		else
			item_not(j, "it is not in the token any more, which "
				    "could not be recorded: %.150s",
			    e->store_why);
	} else if (item_seen(r, seen)) {
		item_prove(e, r, key);
	}
}

/* A key that is to be taken; take.c has chosen it. */
static void
prove_next(struct engine *e, struct repo *r, struct store_key *key)
{
	struct job *j = &r->job;
	const struct key_id *id = &j->errand->items[j->at].id;
	struct ksm_fail fail;

	if (!batch_stored(e, store_key_get(e->store, id, key, &fail), &fail,
		"read a key"))
		item_not(j, "%.250s", fail.text);
	else if (item_seen(r, idmap_find(&j->seen, id)))
		item_prove(e, r, key);
}

/* May this half go? */
static bool
clean_may(struct engine *e, struct repo *r, const struct idmap_entry *seen)
{
	struct job *j = &r->job;
	const struct key_id *id = &j->errand->items[j->at].id;
	const struct idmap_entry *before = idmap_find(&j->halves, id);
	enum key_state state = j->states[j->at];
	uint8_t tag[KEY_TAG_LEN];

	store_tag_get(e->store, tag);
	if (memcmp(id->bytes, tag, sizeof(tag)) != 0) {
		item_not(j, "its id is not of this installation");
	} else if (state != KEY__STATES && state != KEY_GONE &&
	    state != KEY_DESTROYED && state != KEY_CONSUMED &&
	    state != KEY_DESTROYING && state != KEY_QUARANTINED) {
		item_not(j, "it is on record as %s: never cleaned",
		    key_state_text(state));
	} else if (seen == NULL) {
		item_not(j, "it is not in the token");
	} else if (seen->privates + seen->publics != 1) {
		item_not(j,
		    "it is no half: %d private and %d public objects in the "
		    "token carry its id",
		    seen->privates, seen->publics);
	} else if (seen->privates == 1 &&
	    (j->singles[j->at] ||
		(state == KEY__STATES && r->conf->skip_public_key))) {
		item_not(j, "its private object is the whole key "
			    "(SkipPublicKey)");
	} else if (before == NULL || before->privates != seen->privates) {
		item_not(j, "two workers saw it differently; ask again when it "
			    "is at rest");
	} else {
		return true;
	}
	return false;
}

/* A key of another repository, which may be another name of this token. */
static bool
clean_elsewhere(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;
	struct store_key *key = calloc(1, sizeof(*key));
	struct ksm_fail fail = { .text = "no memory" };
	enum ksm_err err = KSM_ENOMEM;
	bool elsewhere = true;

	if (key != NULL)
		err = store_key_get(e->store, &j->errand->items[j->at].id, key,
		    &fail);
	if (err == KSM_ENOENT ||
	    (err == KSM_OK && strcmp(key->pool.repository, r->name) == 0))
		elsewhere = false;
	else if (err == KSM_OK)
		item_not(j,
		    "it is on record as %s in repository %.100s: never cleaned",
		    key_state_text(key->state), key->pool.repository);
	else
		item_not(j, "%.250s", fail.text);
	free(key);
	return elsewhere;
}

static void
clean_next(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;
	const struct key_id *id = &j->errand->items[j->at].id;
	const struct idmap_entry *seen = idmap_find(&j->seen, id);
	struct hsm_msg m = { .type = HSM_DESTROY };

	if (clean_elsewhere(e, r) || !clean_may(e, r, seen))
		return;
	if (j->states[j->at] == KEY_QUARANTINED) {
		if (!key_move_by(e, j->errand, id, KEY_QUARANTINED,
			KEY_DESTROYING)) {
			item_not(j, "%.250s", e->recover
				? e->store_why
				: "its state changed meanwhile");
			return;
		}
		j->states[j->at] = KEY_DESTROYING;
	}
	j->step = JOB_ACT;
	j->slot.id = *id;
	j->slot.job = m.u.destroy.job = ++e->last_job;
	m.u.destroy.id = *id;
	m.u.destroy.half = seen->privates == 1 ? HALF_PRIVATE : HALF_PUBLIC;
	(void)repo_worker_send(e, r, &j->slot, &m, r->conf->deadline);
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
		if (LOCKED_MS < *wait)
			*wait = LOCKED_MS;
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

/* ---- answers ------------------------------------------------------------------ */

/*
 * What the token holds under that id is what the record says. A key whose
 * public key never could be read is known by its id alone, if that is ours.
 */
static bool
proof_fits(struct engine *e, struct job *j, const struct hsm_proof *proof,
    const struct store_key *key)
{
	struct ksm_fail check = { .text = "" };
	struct key_facts facts;
	bool facts_ok = false;
	uint8_t tag[KEY_TAG_LEN];

	if (proof->privates != 1 || proof->publics > 1) {
		item_not(j, "%d private and %d public objects carry its id",
		    proof->privates, proof->publics);
		return false;
	}
	/* It may fail any other check: that can be why it is to go. */
	(void)keycheck_evidence(&proof->evidence, &j->slot.want, &facts,
	    &facts_ok, &check);
	store_tag_get(e->store, tag);
	if (key->publen == 0) {
		if (memcmp(key->id.bytes, tag, sizeof(tag)) == 0)
			return true;
		item_not(j, "no public key is on record and its id is not of "
			    "this installation");
		return false;
	}
	if (!facts_ok) {
		item_not(j, "its public key could not be read: %.200s",
		    check.text);
		return false;
	}
	if (facts.publen != key->publen ||
	    memcmp(facts.pub, key->pub, key->publen) != 0) {
		item_not(j, "its public key is not the one on record");
		return false;
	}
	return true;
}

/*
 * Both halves found once, the public key is the one on record, and a signature
 * made in the token verifies outside it. What fails here fails for good.
 */
static void
proof_take(struct engine *e, struct job *j, const struct hsm_proof *proof,
    const struct store_key *key)
{
	struct errand_item *item = &j->errand->items[j->at];
	struct ksm_fail check = { .text = "" };
	struct key_facts facts;
	bool facts_ok = false;
	enum ksm_err err;

	err = keycheck_evidence(&proof->evidence, &j->slot.want, &facts,
	    &facts_ok, &check);
	if (err == KSM_OK && (proof->privates != 1 || proof->publics > 1))
		err = ksm_failf(&check, KSM_EREFUSED,
		    "%d private and %d public objects carry its id",
		    proof->privates, proof->publics);
	if (err == KSM_OK &&
	    (facts.publen != key->publen ||
		memcmp(facts.pub, key->pub, key->publen) != 0))
		err = ksm_failf(&check, KSM_EREFUSED,
		    "its public key is not the one on record");
	if (err == KSM_OK) {
		item->single = proof->publics == 0;
		item_done(e, j);
		return;
	}
	item->bad = true;
	item_not(j, "%.250s", check.text);
}

/* A commit may have gone through and what followed it not. */
static bool
item_is_destroying(struct engine *e, const struct key_id *id)
{
	struct store_key *key = calloc(1, sizeof(*key));
	struct ksm_fail fail;
	bool is = key != NULL &&
	    store_key_get(e->store, id, key, &fail) == KSM_OK &&
	    key->state == KEY_DESTROYING;

	free(key);
	return is;
}

static void
proof_act(struct engine *e, struct repo *r, const struct hsm_proof *proof)
{
	struct job *j = &r->job;
	const struct errand *x = j->errand;
	struct hsm_msg m = { .type = HSM_REMOVE };
	struct store_key *key = calloc(1, sizeof(*key));

	if (key == NULL) {
		errand_end(e, r, "no memory");
		return;
	}
	if (x->kind == ERRAND_PROVE) {
		struct ksm_fail fail;

		if (batch_stored(e,
			store_key_get(e->store, &x->items[j->at].id, key,
			    &fail),
			&fail, "read a key"))
			proof_take(e, j, proof, key);
		else
			item_not(j, "%.250s", fail.text);
		goto out;
	}
	/* Read again: it may have been taken since. */
	if (!item_row(e, r, key) || !proof_fits(e, j, proof, key))
		goto out;
	if (j->cut[0] != '\0') {
		item_not(j, "not tried: %.200s", j->cut);
		goto out;
	}
	if (key->state != KEY_DESTROYING &&
	    !key_move_by(e, x, &key->id, key->state, KEY_DESTROYING)) {
		item_not(j, "%.180s%s",
		    e->recover || e->dead ? e->store_why
					  : "its state changed meanwhile",
		    item_is_destroying(e, &key->id)
			? "; that it is to go is on record, it will be "
			  "destroyed later"
			: "");
		goto out;
	}
	j->step = JOB_ACT;
	j->slot.job = m.u.remove.job = ++e->last_job;
	m.u.remove.id = key->id;
	(void)repo_worker_send(e, r, &j->slot, &m, r->conf == NULL
		? 120 : r->conf->deadline);
out:
	free(key);
}

static void
item_destroyed(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;
	const struct errand *x = j->errand;
	const struct key_id *id = &x->items[j->at].id;
	char hex[KEY_ID_HEX];

	key_id_format(id, hex);
	if (x->kind == ERRAND_DESTROY ||
	    j->states[j->at] == KEY_DESTROYING) {
		/* Not recorded: the row says destroying, and a look ends it. */
		if (!key_move_by(e, x, id, KEY_DESTROYING, KEY_DESTROYED))
			r->look_wanted = true;
	} else {
		batch_history(e, x->who, "half cleaned", hex, "%s", x->reason);
		(void)batch_commit(e);
		r->look_wanted = true; /* its count of strays is old */
	}
	LOG_KEY(LOGL_NOTICE, r, hex, "repository %s: key %s%s: %s", r->name,
	    hex,
	    x->kind == ERRAND_CLEAN ? ": its half was destroyed"
				    : " was destroyed",
	    x->reason);
	item_done(e, j);
}

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

/* ---- what commands ask -------------------------------------------------------- */

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
