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
 * PICKED:  `taking` in the open batch; one commit at the end of the turn puts
 *          all of them on disk, and none is more than a choice before that.
 * CHOSEN:  all that wait for one repository are proven together.
 * PROVEN:  all that are proven go into the journal with one write and sync.
 * WRITTEN: the journal has it: nothing leads back. The rows follow as soon as
 *          the database takes them, or at the next start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"
#include "journal.h"

#define CANDIDATES   64	  /* read at once */
#define CANDIDATES_SPARE 3 /* read for one that clashes */
#define SCAN_MOST    5000 /* candidates in a turn of the loop */
#define TAKE_TRIES   5	  /* keys of one take that may fail their proof */
#define WAIT_LOOK_MS 500  /* between looks whether there is a key by now */
#define TAKES_KEPT   64	  /* finished, not fetched */

enum take_step { TAKE_CHOOSE, TAKE_PICKED, TAKE_CHOSEN, TAKE_PROVING,
	TAKE_PROVEN, TAKE_WRITTEN, TAKE_DONE };

/* A key's tag and, of one that can be revoked, what that becomes. */
struct tags {
	int tag, revoked;
};

struct take {
	int64_t number;
	enum take_step step;
	struct take_want want; /* its texts are the ones below */
	char zone[ZONE_TEXT], owner[128], policy[256], repository[128];
	char request[REQUEST_TEXT], reason[256], share[SHARE_TEXT];
	struct key_id outside;
	struct take_state state;
	struct handout *keys; /* want.count of them */
	struct handout_line *lines;
	bool *singles;
	struct tags *tags;
	size_t nkeys;
	bool lent;	     /* the group's own key, which is taken already */
	bool forgotten;
	bool offered;	     /* done for a turn of the loop, and not fetched */
	int64_t errand;	     /* of its repository; shared with others */
	size_t errand_at;    /* where its keys begin there */
	int tries;
	int64_t topup;	     /* asked for because the pool was short */
	struct id_list excluded; /* failed their proof */
	/* a choice that takes several turns */
	int64_t cursor, seen, unfit, clashes;
	int turns;
	bool unbacked; /* it looks at keys in no backup, too */
	bool waits;    /* the log has why */
	bool retried;  /* its rows may be there: a commit was not heard of */
	ksm_msec looked;
	struct take *next;
};

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

static void
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

static bool
text_take(const char *from, char *to, size_t size)
{
	size_t len = from == NULL ? 0 : strlen(from);

	if (len >= size)
		return false;
	memcpy(to, from == NULL ? "" : from, len + 1);
	return true;
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
	if (!text_take(want->zone, t->zone, sizeof(t->zone)) ||
	    !text_take(want->owner, t->owner, sizeof(t->owner)) ||
	    !text_take(want->policy, t->policy, sizeof(t->policy)) ||
	    !text_take(want->repository, t->repository,
		sizeof(t->repository)) ||
	    !text_take(want->request, t->request, sizeof(t->request)) ||
	    !text_take(want->reason, t->reason, sizeof(t->reason))) {
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

/* ---- moving keys --------------------------------------------------------- */

/* All that were chosen go from `from` to `to`, in the open batch. */
static enum ksm_err
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
 * `taking` until handed_out_look finds them.
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

static void
take_fail(struct engine *e, struct take *t, enum ksm_err err, const char *text)
{
	keys_back(e, t, "it was not handed out");
	take_end(e, t, err, text);
}

/* ---- choosing -------------------------------------------------------------- */

static bool
tag_fits(const struct take_want *w, int tag)
{
	if (w->by_range && (tag < w->tag_low || tag > w->tag_high))
		return false;
	return w->tag_modulo == 0 || tag % w->tag_modulo == w->tag_rest;
}

static struct tags
tags_of(const struct store_key *k)
{
	if (k->pool.role == ROLE_ZSK)
		return (struct tags){ k->tag_zsk, k->tag_zsk };
	return (struct tags){ k->tag_ksk, k->tag_revoked };
}

static bool
tags_fit(const struct take_want *w, const struct tags *tags)
{
	return tag_fits(w, tags->tag) && tag_fits(w, tags->revoked);
}

static bool
id_in(const struct id_list *l, const struct key_id *id)
{
	for (size_t i = 0; i < l->n; i++)
		if (key_id_cmp(&l->ids[i], id) == 0)
			return true;
	return false;
}

/* Both go to the same zone or group. */
static bool
same_home(const struct take *a, const struct take *b)
{
	return strcmp(a->zone, b->zone) == 0 ||
	    (strcmp(a->policy, b->policy) == 0 &&
		strcmp(a->share, b->share) == 0);
}

/* Tags that are on their way to the same zone, by this take or another. */
struct tag_map {
	uint8_t bits[(UINT16_MAX + 1) / 8];
};

static void
tag_map_add(struct tag_map *m, const struct tags *tags)
{
	m->bits[(tags->tag & UINT16_MAX) / 8] |=
	    (uint8_t)(1U << (tags->tag & 7));
	m->bits[(tags->revoked & UINT16_MAX) / 8] |=
	    (uint8_t)(1U << (tags->revoked & 7));
}

static bool
tag_map_has(const struct tag_map *m, const struct tags *tags)
{
	return (m->bits[(tags->tag & UINT16_MAX) / 8] >> (tags->tag & 7) & 1) ||
	    (m->bits[(tags->revoked & UINT16_MAX) / 8] >>
		    (tags->revoked & 7) & 1);
}

static void
tag_map_fill(struct engine *e, const struct take *t, struct tag_map *m)
{
	*m = (struct tag_map){ { 0 } };
	for (const struct take *o = e->takes; o != NULL; o = o->next)
		for (size_t i = 0; i < o->nkeys && o->step != TAKE_DONE &&
		     !o->lent && same_home(t, o);
		     i++)
			tag_map_add(m, &o->tags[i]);
}

/* KSM_OK: it may go; KSM_ENOENT: it does not fit, and is counted. */
static enum ksm_err
candidate_judge(struct engine *e, struct take *t, const struct tag_map *m,
    const struct store_key *k, struct ksm_fail *fail)
{
	struct tags tags = tags_of(k);
	struct key_id with;
	enum ksm_err err;

	t->seen++;
	if (id_in(&t->excluded, &k->id) || !tags_fit(&t->want, &tags)) {
		t->unfit++;
		return KSM_ENOENT;
	}
	err = store_tag_clash(e->store, k, t->zone, t->share, &with, fail);
	if (err != KSM_OK && err != KSM_ENOENT)
		return err;
	if (err == KSM_OK || tag_map_has(m, &tags)) {
		t->clashes++;
		return KSM_ENOENT;
	}
	return KSM_OK;
}

static void
handout_fill(struct engine *e, struct take *t, const struct store_key *k,
    bool drawn)
{
	struct handout *h = &t->keys[t->nkeys];

	t->tags[t->nkeys++] = tags_of(k);
	*h = (struct handout){ .id = k->id,
		.pool = k->pool,
		.drawn = drawn,
		.when = engine_wall(e),
		.who = t->want.who,
		.outside = t->want.outside != NULL,
		.serial = k->serial };
	(void)snprintf(h->zone, sizeof(h->zone), "%s", t->zone);
	(void)snprintf(h->share, sizeof(h->share), "%s", t->share);
	(void)snprintf(h->request, sizeof(h->request), "%s", t->request);
	(void)snprintf(h->consumer, sizeof(h->consumer), "%s",
	    t->want.consumer == CONSUMER_NONE
		? ""
		: consumer_text(t->want.consumer));
}

/*
 * Keys that should be in a backup and are not, as things stand now.
 */
static enum ksm_err
uncovered_note(struct engine *e, struct take *t, struct ksm_fail *fail)
{
	const struct conf_repository *r;
	enum ksm_err err = KSM_OK;

	t->state.uncovered = false;
	for (size_t i = 0; err == KSM_OK && i < t->nkeys; i++) {
		bool covered = true;

		r = conf_repository_find(&e->conf,
		    t->keys[i].pool.repository);
		if (r != NULL && r->require_backup)
			err = store_key_covered(e->store, &t->keys[i].id,
			    &covered, fail);
		t->keys[i].uncovered = !covered;
		t->state.uncovered = t->state.uncovered || !covered;
	}
	return err;
}

static void
choice_reset(struct take *t)
{
	t->cursor = t->seen = t->unfit = t->clashes = 0;
	t->turns = 0;
	t->nkeys = 0;
	t->state.uncovered = t->unbacked = false;
}

/* Where pools are shared, one draws and the others get what it drew. */
static bool
group_busy(struct engine *e, const struct take *t)
{
	for (const struct take *o = e->takes; o != t; o = o->next)
		if (o->step != TAKE_DONE && o->want.role == t->want.role &&
		    strcmp(o->policy, t->policy) == 0 &&
		    strcmp(o->share, t->share) == 0)
			return true;
	return false;
}

/* What was asked for of a key that is drawn holds for one that is shared. */
static enum ksm_err
group_key_fits(const struct take *t, const struct store_key *k,
    struct ksm_fail *fail)
{
	struct tags tags = tags_of(k);
	char hex[KEY_ID_HEX];

	key_id_format(&k->id, hex);
	if (!tags_fit(&t->want, &tags))
		return ksm_failf(fail, KSM_EREFUSED,
		    "key %s, which the zones of %s share, has key tag %d, "
		    "which is not what was asked for; --roll draws the next "
		    "one for a zone that has it",
		    hex, t->share,
		    tag_fits(&t->want, tags.tag) ? tags.revoked : tags.tag);
	if (t->want.not_before != 0 && k->ended < t->want.not_before)
		return ksm_failf(fail, KSM_EREFUSED,
		    "key %s, which the zones of %s share, was made before "
		    "that; --roll draws the next one for a zone that has it",
		    hex, t->share);
	return KSM_OK;
}

/* A further zone is not to rely on a key that is in no backup. */
static enum ksm_err
group_key_backed(struct engine *e, const struct take *t,
    const struct plan_pool *p, const struct store_key *k,
    struct ksm_fail *fail)
{
	bool covered = true;
	char hex[KEY_ID_HEX];
	enum ksm_err err;

	if (!p->repository_conf->require_backup ||
	    p->settings.on_shortage == SHORTAGE_UNCOVERED)
		return KSM_OK;
	err = store_key_covered(e->store, &k->id, &covered, fail);
	if (err != KSM_OK || covered)
		return err;
	key_id_format(&k->id, hex);
	return ksm_failf(fail,
	    p->settings.on_shortage == SHORTAGE_WAIT && !t->want.dry_run
		? KSM_EBUSY : KSM_EREFUSED,
	    "key %s, which the zones of %s share, is in no backup, which "
	    "this repository requires; back the HSM up, then `ksmctl backup "
	    "commit`",
	    hex, t->share);
}

/* Who takes a key once has it for the zone that it was given for first. */
static enum ksm_err
group_key_free(struct engine *e, const struct take *t, const struct key_id *id,
    struct ksm_fail *fail)
{
	enum { PAGE = 20 };
	struct handout_filter f = { .id = id };
	struct handout *page = NULL;
	enum ksm_err err = KSM_OK;
	char hex[KEY_ID_HEX];
	int64_t cursor = 0;
	size_t n = PAGE;

	if (!consumer_takes_once(t->want.consumer))
		return KSM_OK;
	key_id_format(id, hex);
	page = calloc(PAGE, sizeof(*page));
	if (page == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "take: no memory");
	while (err == KSM_OK && n == PAGE) {
		err = store_handout_list(e->store, &f, &cursor, page, PAGE, &n,
		    fail);
		for (size_t i = 0; err == KSM_OK && i < n; i++) {
			enum consumer c;

			if (consumer_find(page[i].consumer, &c) &&
			    consumer_takes_once(c))
				err = ksm_failf(fail, KSM_EREFUSED,
				    "OpenDNSSEC has key %s, which the zones of "
				    "%.100s share, since it was given to zone "
				    "%.100s, and takes a key once; with "
				    "--for opendnssec-pool and ShareKeys of "
				    "its own it gives the one key to them all",
				    hex, t->share, page[i].zone);
		}
	}
	free(page);
	return err;
}

/*
 * The group's own key, when it has one that goes on. KSM_ENOENT: one is to be
 * drawn. KSM_EBUSY: it is waited for. KSM_EREFUSED: neither, with words.
 */
static enum ksm_err
group_key(struct engine *e, struct take *t, const struct plan_pool *p,
    struct ksm_fail *fail)
{
	struct pool_spec spec = { .alg = p->alg, .bits = p->bits };
	struct handout *h = NULL;
	struct store_key *k = NULL;
	struct key_id with;
	char hex[KEY_ID_HEX], other[KEY_ID_HEX];
	enum ksm_err err;
	bool has = false;

	if (p->scope == SCOPE_ZONE || t->want.outside != NULL)
		return KSM_ENOENT;
	h = calloc(1, sizeof(*h));
	k = calloc(1, sizeof(*k));
	if (h == NULL || k == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "take: no memory");
		goto out;
	}
	spec.role = t->want.role;
	(void)snprintf(spec.policy, sizeof(spec.policy), "%s", p->policy);
	(void)snprintf(spec.repository, sizeof(spec.repository), "%s",
	    p->repository);
	err = store_handout_current(e->store, &spec, t->share, h, fail);
	if (err == KSM_OK)
		err = store_handout_has(e->store, &h->id, t->zone, &has, fail);
	if (err != KSM_OK || (t->want.roll && has)) {
		err = err == KSM_OK ? KSM_ENOENT : err;
		goto out;
	}
	key_id_format(&h->id, hex);
	err = store_key_get(e->store, &h->id, k, fail);
	if (err != KSM_OK)
		goto out; /* no row: of a database that was restored */
	if (k->state == KEY_MISSING) {
		err = ksm_failf(fail, KSM_EREFUSED,
		    "key %s, which the zones of %s share, is missing in its "
		    "token; --roll draws a new one for a zone that has it",
		    hex, t->share);
		goto out;
	}
	if (k->state != KEY_TAKEN) {
		err = KSM_ENOENT; /* retired, or destroyed: time for another */
		goto out;
	}
	if ((err = group_key_fits(t, k, fail)) != KSM_OK ||
	    (!has && (err = group_key_backed(e, t, p, k, fail)) != KSM_OK))
		goto out;
	if (!has) {
		err = store_tag_clash(e->store, k, t->zone, "", &with, fail);
		if (err == KSM_OK) {
			key_id_format(&with, other);
			err = ksm_failf(fail, KSM_EREFUSED,
			    "key %s, which the zones of %s share, has the same "
			    "key tag as key %s of zone %.200s",
			    hex, t->share, other, t->zone);
		}
		if (err != KSM_ENOENT)
			goto out;
	}
	if (!has && (err = group_key_free(e, t, &h->id, fail)) != KSM_OK)
		goto out;
	t->lent = true;
	handout_fill(e, t, k, false);
	err = KSM_OK;
out:
	free(h);
	free(k);
	return err;
}

/* Keys that are made, or that a topup would make. */
static int64_t
pool_grows(const struct plan_pool *p)
{
	return p->make + p->coming;
}

/* What gets more keys out of a pool that is to have no more than it has. */
static const char *
short_help(const struct take *t, const struct plan_pool *p)
{
	if (p->deficit > 0)
		return "the token has no room for more; keys that are not "
		       "needed make some, or Capacity is too low";
	if (t->want.not_before != 0 && t->seen < p->stock[KEY_READY])
		return "it is to have no more; ask for older ones, too";
	if (t->unfit > 0)
		return "it is to have no more; ask for other key tags, or let "
		       "it hold more (ksmpool.xml(5))";
	if (t->seen > t->clashes)
		return "it is to have no more; ask for fewer, or let it hold "
		       "more (ksmpool.xml(5))";
	return "it is to have no more; let it hold more (ksmpool.xml(5))";
}

static void
short_text(struct engine *e, const struct take *t, const struct plan_pool *p,
    char out[512])
{
	bool gate = p->repository_conf->require_backup && !t->unbacked &&
	    t->want.not_before == 0;
	char name[400], why[256] = "";
	int64_t fit = t->seen - t->unfit - t->clashes;
	const char *since = t->want.not_before == 0
	    ? ""
	    : " that were made since then";

	stock_levels(e);
	dispatch_pool_name(p, name);
	if (gate && t->seen < p->stock[KEY_READY])
		(void)snprintf(why, sizeof(why),
		    "%lld of its %lld ready keys are in a backup, which this "
		    "repository requires; back the HSM up, then `ksmctl backup "
		    "commit`",
		    (long long)t->seen, (long long)p->stock[KEY_READY]);
	else if (p->make > 0)
		(void)snprintf(why, sizeof(why),
		    "it has %lld ready keys%s; `ksmctl topup` makes %lld more",
		    (long long)t->seen, since, (long long)p->make);
	else if (p->coming > 0)
		(void)snprintf(why, sizeof(why),
		    "it has %lld ready keys%s; %lld more are being made",
		    (long long)t->seen, since, (long long)p->coming);
	else
		(void)snprintf(why, sizeof(why),
		    "it has %lld ready keys%s, and %s", (long long)t->seen,
		    since, short_help(t, p));
	(void)snprintf(out, 512, "pool %.120s cannot give %zu key%s: %s", name,
	    t->want.count, t->want.count == 1 ? "" : "s", why);
	if (t->unfit + t->clashes > 0) {
		size_t used = strlen(out);

		(void)snprintf(out + used, 512 - used,
		    " (%lld fit: %lld have other tags than asked for, %lld "
		    "clash with a key tag of the zone)",
		    (long long)fit, (long long)t->unfit,
		    (long long)t->clashes);
	}
}

static void
take_waits(struct engine *e, struct take *t, const char *text)
{
	t->looked = engine_steady(e);
	(void)snprintf(t->state.text, sizeof(t->state.text), "%s", text);
	if (!t->waits)
		log_notice("take for zone %s waits: %s", t->zone, text);
	t->waits = true;
}

/* There are too few: what the pool's settings say of that. */
static void
choice_short(struct engine *e, struct take *t, const struct plan_pool *p,
    ksm_msec *wait)
{
	struct topup_want more = { .policy = t->policy,
		.max = -1,
		.cause = RUN_TOPUP,
		.uid = t->want.who.uid,
		.pid = t->want.who.pid };
	enum on_shortage on = p->settings.on_shortage;
	struct topup_state st;
	struct ksm_fail fail;
	char text[512];

	short_text(e, t, p, text);
	if (on == SHORTAGE_UNCOVERED && p->repository_conf->require_backup &&
	    !t->unbacked) {
		choice_reset(t);
		t->unbacked = true;
		*wait = 0;
		return;
	}
	choice_reset(t);
	if (on == SHORTAGE_REFUSE || on == SHORTAGE_UNCOVERED ||
	    t->want.dry_run) {
		take_end(e, t, KSM_EREFUSED, text);
		return;
	}
	if (on == SHORTAGE_GENERATE) {
		if (t->topup == 0 && pool_grows(p) == 0) {
			take_end(e, t, KSM_EREFUSED, text);
			return;
		}
		if (t->topup == 0 &&
		    engine_topup(e, &more, &t->topup, &fail) != KSM_OK) {
			t->topup = 0;
			(void)ksm_fail_before(&fail, "%.250s; none can be made",
			    text);
			take_end(e, t, KSM_EREFUSED, fail.text);
			return;
		}
		if (engine_topup_state(e, t->topup, &st) != KSM_OK || st.done) {
			take_end(e, t, KSM_EREFUSED, text);
			return;
		}
	}
	take_waits(e, t, text);
}

static bool
picks_wait(const struct engine *e)
{
	for (const struct take *t = e->takes; t != NULL; t = t->next)
		if (t->step == TAKE_PICKED)
			return true;
	return false;
}

/* What was picked in this turn is not on disk: it is chosen again. */
static void
picks_drop(struct engine *e)
{
	for (struct take *t = e->takes; t != NULL; t = t->next)
		if (t->step == TAKE_PICKED) {
			t->step = TAKE_CHOOSE;
			choice_reset(t);
		}
}

/* On disk as `taking`, all of them, before anything else happens. */
static void
picks_commit(struct engine *e)
{
	if (!picks_wait(e))
		return;
	/* After a failure there is no batch, and to commit none is no success. */
	if (e->recover || !batch_commit(e)) {
		e->take_sweep = true; /* it may be on disk */
		picks_drop(e);
		return; /* tried again when the database is back */
	}
	for (struct take *t = e->takes; t != NULL; t = t->next)
		if (t->step == TAKE_PICKED)
			t->step = t->want.outside != NULL ? TAKE_PROVEN
							  : TAKE_CHOSEN;
}

/* A choice of many turns may name a key that another take has by now. */
static bool
choice_stands(struct engine *e, const struct take *t)
{
	struct store_key *k = calloc(1, sizeof(*k));
	struct ksm_fail fail;
	bool stands = k != NULL;

	for (size_t i = 0; stands && i < t->nkeys; i++)
		stands = store_key_get(e->store, &t->keys[i].id, k, &fail) ==
			KSM_OK &&
		    k->state == KEY_READY;
	free(k);
	return stands;
}

/* They are chosen: `taking` in the open batch, beside those of other takes. */
static void
choice_pick(struct engine *e, struct take *t)
{
	struct ksm_fail fail;
	enum ksm_err err = KSM_OK;
	char why[256];

	t->state.keys = t->keys;
	if (t->want.dry_run) {
		err = uncovered_note(e, t, &fail);
		t->state.nkeys = t->nkeys;
		take_end(e, t, err, err == KSM_OK ? "" : fail.text);
		return;
	}
	if (t->lent) {
		t->step = TAKE_CHOSEN;
		return;
	}
	/* What waits goes first, so that a failure undoes nothing but picks. */
	if ((!picks_wait(e) && !batch_commit(e)) ||
	    (t->turns > 1 && !choice_stands(e, t))) {
		choice_reset(t);
		return;
	}
	(void)snprintf(why, sizeof(why), "for zone %.200s", t->zone);
	err = keys_move(e, t, KEY_READY, KEY_TAKING, why, &fail);
	if (err == KSM_OK) {
		t->step = TAKE_PICKED;
		return;
	}
	/* Another program moved one of them meanwhile, or nothing works. */
	if (err == KSM_ENOENT)
		store_rollback(e->store);
	else
		(void)batch_stored(e, err, &fail, "take keys");
	picks_drop(e);
	choice_reset(t);
}

/* The oldest few nearly always fit, unless tags are asked for. */
static size_t
page_size(const struct take *t)
{
	size_t want = t->want.count - t->nkeys + CANDIDATES_SPARE;

	if (t->want.by_range || t->want.tag_modulo > 0 || want > CANDIDATES)
		return CANDIDATES;
	return want;
}

static void
choose(struct engine *e, struct take *t, const struct plan_pool *p,
    const struct prun *run, ksm_msec *wait)
{
	struct candidate_want want = { .pool_row = run->row,
		.covered = p->repository_conf->require_backup && !t->unbacked,
		.not_before = t->want.not_before };
	size_t most = page_size(t), n = 1;
	struct store_key *page = calloc(most, sizeof(*page));
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err = page == NULL ? KSM_ENOMEM : KSM_OK;
	int64_t stop = t->seen + SCAN_MOST;
	struct tag_map underway;

	t->turns++;
	tag_map_fill(e, t, &underway);
	while (err == KSM_OK && n > 0 && t->nkeys < t->want.count &&
	    t->seen < stop) {
		err = store_candidates(e->store, &want, &t->cursor, page,
		    most, &n, &fail);
		for (size_t i = 0; err == KSM_OK && i < n &&
		     t->nkeys < t->want.count; i++) {
			err = candidate_judge(e, t, &underway, &page[i],
			    &fail);
			if (err == KSM_OK) {
				handout_fill(e, t, &page[i], true);
				tag_map_add(&underway, &t->tags[t->nkeys - 1]);
			} else if (err == KSM_ENOENT)
				err = KSM_OK;
		}
	}
	if (err != KSM_OK) {
		(void)batch_stored(e, err, &fail, "choose keys");
		take_end(e, t, err, page == NULL ? "take: no memory"
						 : fail.text);
	} else if (t->nkeys == t->want.count) {
		choice_pick(e, t);
		*wait = 0;
	} else if (n > 0) {
		*wait = 0;
	} else {
		choice_short(e, t, p, wait);
	}
	free(page);
}

/* Asked for before, and answered: the same once more. */
static bool
request_again(struct engine *e, struct take *t)
{
	struct handout_filter f = { .request = t->want.request };
	struct handout *rows = NULL;
	struct ksm_fail fail = { .text = "" };
	int64_t cursor = 0;
	size_t n = 0;
	enum ksm_err err;
	char text[512];

	if (t->want.request == NULL)
		return false;
	rows = calloc(TAKE_MOST, sizeof(*rows));
	err = rows == NULL
	    ? ksm_failf(&fail, KSM_ENOMEM, "take: no memory")
	    : store_handout_list(e->store, &f, &cursor, rows, TAKE_MOST, &n,
		  &fail);
	if (err != KSM_OK) {
		take_end(e, t, err, fail.text);
	} else if (n > 0 && (strcmp(rows[0].zone, t->zone) != 0 ||
		strcmp(rows[0].pool.policy, t->policy) != 0 ||
		rows[0].pool.role != t->want.role || n != t->want.count)) {
		(void)snprintf(text, sizeof(text),
		    "request %s was for %zu %s of policy %.100s for zone "
		    "%.200s; a name is used once",
		    t->request, n, key_role_text(rows[0].pool.role),
		    rows[0].pool.policy, rows[0].zone);
		take_end(e, t, KSM_EREFUSED, text);
	} else if (n > 0) {
		memcpy(t->keys, rows, n * sizeof(*rows));
		t->state.keys = t->keys;
		t->state.singles = t->singles;
		t->state.nkeys = n;
		t->state.again = true;
		for (size_t i = 0; i < n; i++)
			t->state.uncovered = t->state.uncovered ||
			    rows[i].uncovered;
		take_end(e, t, KSM_OK, "");
	}
	free(rows);
	return t->step == TAKE_DONE;
}

/* The same request is under way: its answer is waited for. */
static bool
request_busy(struct engine *e, const struct take *t)
{
	if (t->want.request == NULL)
		return false;
	for (const struct take *o = e->takes; o != t; o = o->next)
		if (o->step != TAKE_DONE && strcmp(o->request, t->request) == 0)
			return true;
	return false;
}

/* mark-used: this key, whatever the pools ask for. */
static void
choose_outside(struct engine *e, struct take *t)
{
	struct store_key *k = calloc(1, sizeof(*k));
	struct ksm_fail fail = { .text = "take: no memory" };
	enum ksm_err err = KSM_ENOMEM;
	bool drawn = false; /* before, for another zone */
	char text[512], hex[KEY_ID_HEX];

	key_id_format(&t->outside, hex);
	if (k != NULL)
		err = store_key_get(e->store, &t->outside, k, &fail);
	if (err == KSM_ENOENT)
		(void)ksm_failf(&fail, err, "there is no key %s", hex);
	else if (err == KSM_OK && k->state != KEY_READY &&
	    k->state != KEY_SURPLUS)
		err = ksm_failf(&fail, KSM_EREFUSED,
		    "key %s is %s; only one that is ready or surplus can come "
		    "to be used", hex, key_state_text(k->state));
	else if (err == KSM_OK && !k->proved)
		err = ksm_failf(&fail, KSM_EREFUSED,
		    "key %s has to prove itself again, after a crash of the "
		    "machine; ask again when the next look has been at it",
		    hex);
	if (err == KSM_OK && k->state == KEY_SURPLUS) {
		if (!batch_commit(e))
			err = KSM_ESTORE;
		else
			err = store_key_move(e->store, &k->id, KEY_SURPLUS,
			    KEY_READY, "it is in use", engine_wall(e), &fail);
		if (err == KSM_ESTORE)
			(void)batch_stored(e, err, &fail, "mark a key used");
	}
	if (err == KSM_OK)
		err = store_handout_drawn(e->store, &k->id, &drawn, &fail);
	if (err == KSM_OK) {
		handout_fill(e, t, k, !drawn);
		choice_pick(e, t);
	} else {
		(void)snprintf(text, sizeof(text), "%s", fail.text);
		take_end(e, t, err, text);
	}
	free(k);
}

/* "zone:NAME", "owner:NAME" or "policy", as the pool's scope says. */
static void
share_set(struct take *t, enum key_scope scope)
{
	if (scope == SCOPE_POLICY)
		(void)snprintf(t->share, sizeof(t->share), "policy");
	else if (scope == SCOPE_OWNER && t->owner[0] != '\0')
		(void)snprintf(t->share, sizeof(t->share), "owner:%s",
		    t->owner);
	else
		(void)snprintf(t->share, sizeof(t->share), "zone:%s", t->zone);
}

static void
closed_text(const char *why, char out[512])
{
	(void)snprintf(out, 512,
	    "nothing is handed out: %.380s; `ksmctl handout status` says more",
	    why);
}

/* Why that repository can prove nothing now; false: it can. */
static bool
repo_closed(struct engine *e, const struct plan_pool *p, char out[512])
{
	const struct repo *r = dispatch_repo(e, p);

	if (r == NULL)
		(void)snprintf(out, 512, "repository %s is not configured any "
		    "more", p->repository);
	else if (!repo_usable(r))
		(void)snprintf(out, 512, "repository %s is %s: %s", r->name,
		    r->row.trouble == TROUBLE_PARKED ? "parked" : "alien",
		    r->row.reason);
	else
		return false;
	return true;
}

static void
take_choose(struct engine *e, struct take *t, ksm_msec *wait)
{
	const struct plan_pool *p = NULL;
	struct ksm_fail fail;
	char why[LOCK_TEXT], text[512];
	size_t pool = 0;
	enum ksm_err err;

	if (request_busy(e, t) || request_again(e, t))
		return;
	if (handouts_closed(e, why)) {
		closed_text(why, text);
		take_end(e, t, KSM_EREFUSED, text);
		return;
	}
	if (t->looked != 0 && engine_steady(e) < t->looked + WAIT_LOOK_MS) {
		*wait = WAIT_LOOK_MS < *wait ? WAIT_LOOK_MS : *wait;
		return;
	}
	if (!batch_ready(e)) {
		*wait = LOCKED_MS < *wait ? LOCKED_MS : *wait;
		if (e->dead)
			take_end(e, t, KSM_ESTORE, e->store_why);
		return;
	}
	err = order_pool_find(e,
	    &(struct pool_words){ t->policy, t->want.repository, t->want.role,
		t->want.alg },
	    &pool, &fail);
	if (err == KSM_OK)
		p = &e->plan.pools[pool];
	if (t->want.outside != NULL) {
		share_set(t, p == NULL || t->want.apart ? SCOPE_ZONE
							: p->scope);
		choose_outside(e, t);
		*wait = 0;
		return;
	}
	if (p == NULL) {
		take_end(e, t, err, fail.text);
		return;
	}
	share_set(t, p->scope);
	if (repo_closed(e, p, text)) {
		take_end(e, t, KSM_EREFUSED, text);
		return;
	}
	/* Once more: the pool may have changed while it waited. */
	err = consumer_fits(t->want.consumer, p->role, p->alg,
	    plan_objects(p->repository_conf, p->alg) == 1, &fail);
	if (err != KSM_OK) {
		take_end(e, t, err, fail.text);
		return;
	}
	if (p->scope != SCOPE_ZONE && t->want.count > 1) {
		take_end(e, t, KSM_EREFUSED,
		    "zones share the keys of this pool: --count can be 1 only, "
		    "and --roll draws the next");
		return;
	}
	if (p->scope != SCOPE_ZONE && group_busy(e, t))
		return;
	if (t->cursor == 0 && !t->unbacked) {
		choice_reset(t);
		err = group_key(e, t, p, &fail);
		if (err == KSM_OK) {
			choice_pick(e, t);
			*wait = 0;
			return;
		}
		if (err == KSM_EBUSY) {
			take_waits(e, t, fail.text);
			return;
		}
		if (err != KSM_ENOENT) {
			(void)batch_stored(e, err == KSM_EREFUSED ? KSM_OK
				: err, &fail, "look for a shared key");
			take_end(e, t, err, fail.text);
			return;
		}
	}
	choose(e, t, p, &e->runs[pool], wait);
}

/* ---- proving --------------------------------------------------------------- */

static const char *
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
	if (t->lent || s->failed) {
		take_fail(e, t, KSM_EREFUSED, s->failed ? s->text : text);
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

/* ---- on record -------------------------------------------------------------- */

/* Why it was handed out all the same. */
static const char *
uncovered_why(const struct take *t)
{
	if (t->want.outside != NULL)
		return "it was in use already";
	if (t->lent)
		return "zones share it already";
	return t->unbacked ? "OnShortage of its pool allows it"
			   : "it was chosen before its repository required one";
}

/* The rows of one take; KSM_OK: on disk. */
static enum ksm_err
take_store(struct engine *e, struct take *t, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	char why[256], hex[KEY_ID_HEX];

	(void)snprintf(why, sizeof(why), "zone %.180s%s%s", t->zone,
	    t->keys[0].consumer[0] == '\0' ? "" : ", for ",
	    t->keys[0].consumer);
	if (t->want.outside != NULL)
		(void)snprintf(why, sizeof(why), "in use by zone %.100s: "
		    "%.100s", t->zone, t->reason);
	if (!t->lent)
		err = keys_move(e, t, KEY_TAKING, KEY_TAKEN, why, fail);
	for (size_t i = 0; err == KSM_OK && i < t->nkeys; i++) {
		key_id_format(&t->keys[i].id, hex);
		err = store_handout_add(e->store, &t->keys[i], &t->lines[i],
		    fail);
		if (err == KSM_OK && t->lent)
			err = store_history_add(e->store, engine_wall(e),
			    t->want.who, "key shared", hex, why, fail);
		if (err == KSM_OK && t->keys[i].uncovered)
			err = store_history_add(e->store, engine_wall(e),
			    t->want.who, "key taken uncovered", hex,
			    uncovered_why(t), fail);
	}
	return err;
}

static void
take_tell(struct engine *e, const struct take *t)
{
	struct repo *r = repo_find(e, take_repository(t));

	for (size_t i = 0; r != NULL && i < t->nkeys; i++) {
		char hex[KEY_ID_HEX];

		key_id_format(&t->keys[i].id, hex);
		LOG_KEY(LOGL_NOTICE, r, hex,
		    "repository %s: key %s is handed out: %s of policy %s for "
		    "zone %s%s%s (hand-out %lld, uid %lld, pid %lld)%s",
		    r->name, hex, key_role_text(t->want.role), t->policy,
		    t->zone, t->keys[i].consumer[0] == '\0' ? "" : ", for ",
		    t->keys[i].consumer, (long long)t->keys[i].number,
		    (long long)t->want.who.uid, (long long)t->want.who.pid,
		    t->lent ? ", shared" : "");
		if (t->keys[i].uncovered)
			LOG_KEY(LOGL_WARNING, r, hex,
			    "repository %s: key %s is in NO BACKUP and was "
			    "handed out: %s; back the HSM up before the zone "
			    "relies on it",
			    r->name, hex, uncovered_why(t));
	}
	if (e->taken != NULL && t->want.outside == NULL)
		e->taken(e->taken_ctx, t->keys, t->singles, t->nkeys);
}

/* Their commit went through though nobody said so: all are there, or none. */
static bool
take_is_stored(struct engine *e, const struct take *t)
{
	size_t last = t->nkeys - 1;
	char *text = t->retried ? malloc(HANDOUT_LINE) : NULL;
	uint8_t hash[DIGEST_LEN];
	struct ksm_fail fail;
	bool is = text != NULL &&
	    store_handout_text(e->store, t->keys[last].number, text, hash,
		&fail) == KSM_OK &&
	    memcmp(hash, t->lines[last].hash, DIGEST_LEN) == 0;

	free(text);
	return is;
}

/*
 * The journal has them, and the database says that they cannot be: nothing is
 * handed out until somebody has looked.
 */
static void
takes_part(struct engine *e, const char *why)
{
	char part[LOCK_TEXT], text[512];

	(void)snprintf(part, sizeof(part),
	    "hand-outs in the journal do not fit the database: %.400s", why);
	handouts_lock(e, part);
	closed_text(part, text);
	for (struct take *t = e->takes; t != NULL; t = t->next)
		if (t->step == TAKE_WRITTEN)
			take_end(e, t, KSM_EUNKNOWN, text);
}

/* All that the journal has and the database does not. */
static void
takes_store(struct engine *e, ksm_msec *wait)
{
	struct ksm_fail fail;
	enum ksm_err err = KSM_OK;
	size_t n = 0;

	for (struct take *t = e->takes; t != NULL; t = t->next)
		n += t->step == TAKE_WRITTEN;
	if (n == 0)
		return;
	/* What waits goes first, so that a failure undoes nothing but this. */
	if (!batch_ready(e) || !batch_commit(e)) {
		*wait = LOCKED_MS < *wait ? LOCKED_MS : *wait;
		return;
	}
	for (struct take *t = e->takes; err == KSM_OK && t != NULL;
	     t = t->next)
		if (t->step == TAKE_WRITTEN && !take_is_stored(e, t))
			err = take_store(e, t, &fail);
	if (err != KSM_OK && err != KSM_ESTORE) {
		store_rollback(e->store);
		takes_part(e, fail.text);
		*wait = 0;
		return;
	}
	if (!batch_stored(e, err, &fail, "record hand-outs") ||
	    !batch_commit(e)) {
		for (struct take *t = e->takes; t != NULL; t = t->next)
			t->retried = true;
		*wait = LOCKED_MS < *wait ? LOCKED_MS : *wait;
		return; /* the journal has them: once more, or at a start */
	}
	for (struct take *t = e->takes; t != NULL; t = t->next) {
		if (t->step != TAKE_WRITTEN)
			continue;
		take_tell(e, t);
		t->state.keys = t->keys;
		t->state.singles = t->singles;
		t->state.nkeys = t->nkeys;
		take_end(e, t, KSM_OK, "");
	}
	e->tallies_old = true; /* and a refill follows, where one is due */
	*wait = 0;
}

/* Proven: one write and one sync for all of them. */
static void
takes_write(struct engine *e, ksm_msec *wait)
{
	struct handout *all = NULL;
	struct handout_line *lines = NULL;
	struct ksm_fail fail = { .text = "take: no memory" };
	enum ksm_err err = KSM_ENOMEM;
	char why[LOCK_TEXT], text[512];
	size_t n = 0, at = 0;

	for (struct take *t = e->takes; t != NULL; t = t->next)
		if (t->step == TAKE_PROVEN)
			n += t->nkeys;
	if (n == 0)
		return;
	if (!batch_ready(e)) { /* what is in the journal should get its row */
		*wait = LOCKED_MS < *wait ? LOCKED_MS : *wait;
		return;
	}
	for (struct take *t = e->takes; t != NULL; t = t->next) {
		if (t->step != TAKE_PROVEN)
			continue;
		if (!batch_stored(e, uncovered_note(e, t, &fail), &fail,
			"look for a backup")) {
			*wait = LOCKED_MS < *wait ? LOCKED_MS : *wait;
			return;
		}
	}
	all = calloc(n, sizeof(*all));
	lines = calloc(n, sizeof(*lines));
	for (struct take *t = e->takes; all != NULL && t != NULL; t = t->next)
		for (size_t i = 0; t->step == TAKE_PROVEN && i < t->nkeys;
		     i++) {
			t->keys[i].when = engine_wall(e);
			t->keys[i].mark = store_serial_on_disk(e->store);
			all[at++] = t->keys[i];
		}
	if (handouts_closed(e, why))
		err = ksm_failf(&fail, KSM_ESYS, "%.500s", why);
	else if (all != NULL && lines != NULL)
		err = journal_append(e->journal, all, n, lines, &fail);
	at = 0;
	closed_text(fail.text, text);
	for (struct take *t = e->takes; t != NULL; t = t->next) {
		if (t->step != TAKE_PROVEN)
			continue;
		if (err == KSM_OK) {
			for (size_t i = 0; i < t->nkeys; i++, at++) {
				t->keys[i] = all[at];
				t->lines[i] = lines[at];
			}
			t->step = TAKE_WRITTEN;
		} else if (err == KSM_EUNKNOWN) {
			/* They stay `taking`: a start reads what is there. */
			take_end(e, t, err, text);
		} else {
			take_fail(e, t, KSM_ESYS, text);
		}
	}
	if (err == KSM_EUNKNOWN)
		handouts_lock(e, fail.text);
	free(all);
	free(lines);
}

/* ---- all of it ----------------------------------------------------------------- */

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

/* ---- what commands ask ---------------------------------------------------------- */

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
	if (want->outside == NULL) {
		const struct plan_pool *p;

		err = order_pool_find(e,
		    &(struct pool_words){ want->policy, want->repository,
			want->role, want->alg },
		    &pool, fail);
		if (err != KSM_OK)
			return err;
		p = &e->plan.pools[pool];
		err = consumer_fits(want->consumer, p->role, p->alg,
		    plan_objects(p->repository_conf, p->alg) == 1, fail);
		if (err == KSM_OK)
			err = names_fit(e, want, p, fail);
		if (err != KSM_OK)
			return err;
	}
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
