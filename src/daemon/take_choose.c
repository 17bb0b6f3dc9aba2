/*
 * take_choose.c - which keys a take gets: the oldest of its pool that fit, the
 * one that its group shares, or the one that somebody uses already.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "take_parts.h"

#define CANDIDATES   64	  /* read at once */
#define CANDIDATES_SPARE 3 /* read for one that clashes */
#define SCAN_MOST    5000 /* candidates in a turn of the loop */
#define WAIT_LOOK_MS 500  /* between looks whether there is a key by now */

bool
tag_fits(const struct take_want *w, int tag)
{
	if (w->by_range && (tag < w->tag_low || tag > w->tag_high))
		return false;
	return w->tag_modulo == 0 || tag % w->tag_modulo == w->tag_rest;
}

struct tags
tags_of(const struct store_key *k)
{
	if (k->pool.role == ROLE_ZSK)
		return (struct tags){ k->tag_zsk, k->tag_zsk };
	return (struct tags){ k->tag_ksk, k->tag_revoked };
}

bool
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

/* Tags that a zone and its group have, or that are on their way there. */
struct tag_map {
	uint8_t bits[(UINT16_MAX + 1) / 8];
};

static void
tag_map_add(void *ctx, int tag, int revoked)
{
	struct tag_map *m = ctx;

	m->bits[(tag & UINT16_MAX) / 8] |= (uint8_t)(1U << (tag & 7));
	m->bits[(revoked & UINT16_MAX) / 8] |= (uint8_t)(1U << (revoked & 7));
}

static bool
tag_map_has(const struct tag_map *m, const struct tags *t)
{
	return (m->bits[(t->tag & UINT16_MAX) / 8] >> (t->tag & 7) & 1) != 0 ||
	    (m->bits[(t->revoked & UINT16_MAX) / 8] >> (t->revoked & 7) & 1) !=
	    0;
}

static enum ksm_err
tag_map_fill(struct engine *e, const struct take *t, struct tag_map *m,
    struct ksm_fail *fail)
{
	*m = (struct tag_map){ { 0 } };
	for (const struct take *o = e->takes; o != NULL; o = o->next)
		for (size_t i = 0; i < o->nkeys && o->step != TAKE_DONE &&
		     !o->lent && same_home(t, o);
		     i++)
			tag_map_add(m, o->tags[i].tag, o->tags[i].revoked);
	return store_home_tags(e->store, t->policy, t->zone, t->share,
	    tag_map_add, m, fail);
}

/* Does it fit? If not it is counted. */
static bool
candidate_fits(struct take *t, const struct tag_map *m,
    const struct store_key *k)
{
	struct tags tags = tags_of(k);
	bool other = id_in(&t->excluded, &k->id) || !tags_fit(&t->want, &tags);
	bool clash = !other && tag_map_has(m, &tags);

	t->seen++;
	t->unfit += other;
	t->clashes += clash;
	return !other && !clash;
}

void
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

void
choice_reset(struct take *t)
{
	t->cursor = t->seen = t->unfit = t->clashes = 0;
	t->turns = 0;
	t->nkeys = 0;
	t->state.uncovered = t->unbacked = false;
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

void
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
	/*
	 * What waits goes first, so that a failure undoes nothing but picks.
	 * These need no sync of their own: should the machine die, the journal
	 * says what was handed out, and what it does not have was not.
	 */
	if ((!picks_wait(e) &&
		(!batch_commit(e) ||
		    !batch_stored(e, store_begin_later(e->store, &fail), &fail,
			"begin"))) ||
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
	struct tag_map home;

	t->turns++;
	if (err == KSM_OK)
		err = tag_map_fill(e, t, &home, &fail);
	while (err == KSM_OK && n > 0 && t->nkeys < t->want.count &&
	    t->seen < stop) {
		err = store_candidates(e->store, &want, &t->cursor, page,
		    most, &n, &fail);
		for (size_t i = 0; err == KSM_OK && i < n &&
		     t->nkeys < t->want.count; i++) {
			const struct tags *tags = &t->tags[t->nkeys];

			if (!candidate_fits(t, &home, &page[i]))
				continue;
			handout_fill(e, t, &page[i], true);
			tag_map_add(&home, tags->tag, tags->revoked);
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

/* Why that repository can prove nothing now; false: it can. */
static bool
repo_closed(struct engine *e, const struct plan_pool *p, char out[512])
{
	const struct repo *r = dispatch_repo(e, p);

	if (r == NULL)
		(void)snprintf(out, 512, "repository %s is not configured any "
		    "more", p->repository);
	else if (!repo_usable(r))
		(void)snprintf(out, 512,
		    "repository %.100s is %s: %.160s; %s `ksmctl repository "
		    "resume %.100s`",
		    r->name,
		    r->row.trouble == TROUBLE_PARKED ? "parked" : "alien",
		    r->row.reason,
		    r->row.trouble == TROUBLE_PARKED
			? "put the PIN right, then"
			: "put the token right, then",
		    r->name);
	else
		return false;
	return true;
}

/* Can a key be chosen now? False: it has its answer, or is looked at later. */
static bool
choice_may(struct engine *e, struct take *t, ksm_msec *wait)
{
	char why[LOCK_TEXT], text[512];

	if (request_busy(e, t) || request_again(e, t))
		return false;
	if (handouts_closed(e, why)) {
		closed_text(why, text);
		take_end(e, t, KSM_EREFUSED, text);
		return false;
	}
	if (t->looked != 0 && engine_steady(e) < t->looked + WAIT_LOOK_MS) {
		wait_at_most(wait, WAIT_LOOK_MS);
		return false;
	}
	if (batch_ready(e))
		return true;
	wait_at_most(wait, LOCKED_MS);
	if (e->dead)
		take_end(e, t, KSM_ESTORE, e->store_why);
	return false;
}

/* The key that its group has, where pools are shared; false: draw one. */
static bool
choose_shared(struct engine *e, struct take *t, const struct plan_pool *p,
    ksm_msec *wait)
{
	struct ksm_fail fail;
	enum ksm_err err;

	if (p->scope == SCOPE_ZONE)
		return false;
	if (t->want.count > 1) {
		take_end(e, t, KSM_EREFUSED,
		    "zones share the keys of this pool: --count can be 1 only, "
		    "and --roll draws the next");
		return true;
	}
	if (group_busy(e, t))
		return true;
	if (t->cursor != 0 || t->unbacked)
		return false; /* it had none when the choice began */
	err = group_key(e, t, p, &fail);
	if (err == KSM_ENOENT)
		return false;
	if (err == KSM_OK) {
		choice_pick(e, t);
		*wait = 0;
	} else if (err == KSM_EBUSY) {
		take_waits(e, t, fail.text);
	} else {
		(void)batch_stored(e, err == KSM_EREFUSED ? KSM_OK : err, &fail,
		    "look for a shared key");
		take_end(e, t, err, fail.text);
	}
	return true;
}

void
take_choose(struct engine *e, struct take *t, ksm_msec *wait)
{
	const struct plan_pool *p = NULL;
	struct ksm_fail fail;
	char text[512];
	size_t pool = 0;
	enum ksm_err err;

	if (!choice_may(e, t, wait))
		return;
	/* Once more: the pool may have changed while it waited. */
	err = take_pool_check(e, &t->want, &pool, &fail);
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
	if (t->cursor == 0 && !t->unbacked)
		choice_reset(t);
	if (!choose_shared(e, t, p, wait))
		choose(e, t, p, &e->runs[pool], wait);
}
