/*
 * settle.c - looks: what is in the token, held against the database.
 *
 *   IDLE -due-> START -hello-> LIST -listed-> COMPARE -> APPLY -> PROVE
 *                                                                  |
 *    ^                                                             v
 *    +------------------------- END <--------------------------- DESTROY
 *
 * START:    a freshly exec'd worker logs in; whoever asked before is dead.
 * LIST:     the rows to be judged are fixed: unknown before the enumeration
 *           was asked for, serial at or below the last one given then.
 * COMPARE:  one pass over the rows; nothing is changed yet.
 * APPLY:    only after the token has shown at least one key it should hold:
 *           "found nothing, CKR_OK" is never read as "all keys are gone".
 * PROVE:    one signature for each key whose answer nobody recorded.
 * DESTROY:  half pairs that two looks in a row have seen.
 *
 * Start-up, worker death, a lost reply, a passed deadline and an unfinished
 * destroying all come here; there is no other way to settle.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

#define COMPARE_ROWS 2000 /* per turn of the loop */
#define APPLY_MOVES  100

void
look_clear(struct look *l)
{
	free(l->moves);
	free(l->proofs);
	free(l->halves);
	idmap_clear(&l->seen);
	idmap_clear(&l->unknowns);
	idmap_clear(&l->half_now);
	id_list_clear(&l->unfinished);
	l->moves = NULL;
	l->proofs = NULL;
	l->halves = NULL;
	l->nmoves = l->amoves = l->at_move = 0;
	l->nproofs = l->aproofs = l->at_proof = 0;
	l->nhalves = l->ahalves = l->at_half = 0;
	l->cursor = l->living = l->found = l->fresh = l->fresh_found = 0;
	l->foreign = l->nameless = 0;
	l->pages = l->privates = l->publics = 0;
	l->settled_gone = l->settled_made = 0;
	l->again = false;
}

/* Give it up; everything it had not committed is looked at again. */
void
look_abandon(struct engine *e, struct repo *r)
{
	repo_worker_leave(e, &r->look.slot);
	if (r->look.step == LOOK_IDLE)
		return;
	r->look.step = LOOK_IDLE;
	r->look_wanted = true;
	look_clear(&r->look);
}

static int64_t
repo_count(struct engine *e, const struct repo *r, enum key_state state)
{
	int64_t n = 0;

	stock_levels(e);
	for (size_t i = 0; i < e->ntallies; i++)
		if (strcmp(e->tallies[i].repository, r->name) == 0)
			n += e->tallies[i].n[state];
	return n;
}

/*
 * A look costs a login and a pass over all objects: in a token of 50,000 that
 * is seconds, so that looks may not follow each other without a pause.
 */
static ksm_msec
group_bound(const struct repo *r)
{
	ksm_msec slow = r->look_took * GROUP_LOOKS;

	return slow > GROUP_MS ? slow : GROUP_MS;
}

/*
 * A long refill: every login of a verifier stops the generators (see
 * repo_worker_start), and in a large token reading all of it takes longer
 * than the keys of a group. So the verifier comes before them, and stays.
 */
static bool
look_warms(struct engine *e, struct repo *r)
{
	return r->look.slot.no == 0 && !r->single &&
	    dispatch_left(e, r) >= WARM_KEYS;
}

static bool
look_may(const struct engine *e, const struct repo *r)
{
	return repo_usable(r) && !e->stopping && !e->recover &&
	    e->pause.until == 0;
}

bool
look_due(struct engine *e, struct repo *r)
{
	ksm_msec now = engine_steady(e);

	if (!look_may(e, r))
		return false;
	if (!r->looked || r->look_wanted)
		return true;
	if (r->halves.count > 0 && backoff_wait(&r->cleaning, now) == 0)
		return true;
	if (r->group_since != 0 &&
	    (now - r->group_since >= group_bound(r) ||
		!dispatch_working(e, r)))
		return true;
	return look_warms(e, r) || now - r->looked_ms >= LOOK_EVERY_MS;
}

/* ---- steps ------------------------------------------------------------- */

static bool
unknowns_collect(struct engine *e, struct repo *r)
{
	struct key_filter f = { .by_state = true,
		.state = KEY_UNKNOWN,
		.repository = r->name };
	struct store_key *page = calloc(16, sizeof(*page));
	struct ksm_fail fail;
	int64_t cursor = 0;
	size_t n = 0;
	bool ok = page != NULL;

	while (ok) {
		ok = batch_stored(e,
		    store_keys_list(e->store, &f, &cursor, page, 16, &n,
			&fail),
		    &fail, "list unknown keys");
		if (!ok || n == 0)
			break;
		for (size_t i = 0; i < n; i++)
			ok = ok &&
			    idmap_put(&r->look.unknowns, &page[i].id) != NULL;
	}
	free(page);
	return ok;
}

static void
look_list(struct engine *e, struct repo *r)
{
	struct look *l = &r->look;
	struct hsm_msg m = { .type = HSM_ENUMERATE };
	int64_t deadline = r->conf->deadline > LOOK_DEADLINE
	    ? r->conf->deadline
	    : LOOK_DEADLINE;

	store_tag_get(e->store, l->tag);
	if (!batch_commit(e) || !unknowns_collect(e, r)) {
		look_abandon(e, r);
		return;
	}
	l->serial_limit = store_serial_last(e->store);
	l->slot.job = m.u.enumerate.job = ++e->last_job;
	if (r->conf->sync_path != NULL)
		(void)snprintf(m.u.enumerate.sync_path,
		    sizeof(m.u.enumerate.sync_path), "%s", r->conf->sync_path);
	if (!repo_worker_send(e, r, &l->slot, &m, deadline))
		return; /* its exit follows */
	r->group_since = 0;
	r->look_wanted = false;
	l->step = LOOK_LIST;
}

static void
look_no_memory(struct engine *e, struct repo *r)
{
	repo_failed(e, r, "no memory to compare token and database");
	look_abandon(e, r);
}

/* Ours by tag, but no row: whoever holds the database should know. */
static void
orphans_count(struct engine *e, struct repo *r)
{
	uint8_t tag[KEY_TAG_LEN];
	struct idmap_entry *seen;
	size_t cursor = 0;
	int64_t n = 0;
	char id[KEY_ID_HEX], first[KEY_ID_HEX] = "";

	store_tag_get(e->store, tag);
	while ((seen = idmap_next(&r->look.seen, &cursor)) != NULL) {
		if (seen->known || memcmp(seen->id.bytes, tag, sizeof(tag)) != 0)
			continue;
		key_id_format(&seen->id, id);
		if (n++ == 0)
			memcpy(first, id, sizeof(first));
	}
	if (n > 0 && n != r->orphans)
		LOG_REPO(LOGL_ERROR, r,
		    "repository %s: %lld keys of this installation are "
		    "in the token but not in the database (the first is "
		    "%s): the database is older than the token. Restore "
		    "the newer one",
		    r->name, (long long)n, first);
	r->orphans = n;
}

static void
look_compare(struct engine *e, struct repo *r)
{
	struct look *l = &r->look;
	struct store_brief *rows = calloc(COMPARE_ROWS, sizeof(*rows));
	struct ksm_fail fail;
	size_t n = 0;
	char why[256];

	if (rows == NULL) {
		look_no_memory(e, r);
		return;
	}
	if (!batch_stored(e,
		store_keys_brief(e->store, r->name, &l->cursor, rows,
		    COMPARE_ROWS, &n, &fail),
		&fail, "read keys")) {
		look_abandon(e, r);
		goto out;
	}
	for (size_t i = 0; i < n; i++)
		if (!look_judge(r, l, &rows[i])) {
			look_no_memory(e, r);
			goto out;
		}
	if (n > 0)
		goto out;
	if (l->living == 0) {
		l->living = l->fresh;
		l->found += l->fresh_found;
	}
	if (l->living > 0 && l->found == 0 && !r->accept) {
		(void)snprintf(why, sizeof(why),
		    "none of its %lld known keys is in the token '%.60s' "
		    "serial '%.40s'",
		    (long long)l->living, r->row.token_label,
		    r->row.token_serial);
		repo_alien(e, r, why);
		look_abandon(e, r);
		goto out;
	}
	/* Ids of another length come as objects, two to a pair. */
	r->foreign = (l->foreign + 1) / 2;
	for (size_t cursor = 0;;) {
		const struct idmap_entry *s = idmap_next(&l->seen, &cursor);

		if (s == NULL)
			break;
		r->foreign += s->known ? 0 : 1;
	}
	if (l->nameless > r->nameless)
		LOG_REPO(LOGL_NOTICE, r,
		    "repository %s: %lld nameless objects in the token, "
		    "debris of workers that were killed; they are no "
		    "keys and are left alone",
		    r->name, (long long)l->nameless);
	r->nameless = l->nameless;
	orphans_count(e, r);
	r->foreign -= r->orphans;
	if (!r->looked && r->foreign > 0 && store_serial_last(e->store) == 0)
		LOG_REPO(LOGL_WARNING, r,
		    "repository %s: %lld key pairs are in the token and "
		    "this database has never made one; if a database "
		    "was lost, restore it before anything else",
		    r->name, (long long)r->foreign);
	e->levels_old = true;
	l->step = LOOK_APPLY;
out:
	free(rows);
}

/* A daemon that was killed leaves many that were never asked for: one line
 * for all of them, and one each for whoever wants to see everything. */
static void
move_log(struct repo *r, const struct look_move *m)
{
	char id[KEY_ID_HEX];

	key_id_format(&m->id, id);
	if (m->to == KEY_MISSING || m->to == KEY_QUARANTINED)
		LOG_KEY(LOGL_ERROR, r, id,
		    "repository %s: key %s was %s and is now %s: %s",
		    r->name, id, key_state_text(m->from),
		    key_state_text(m->to), m->why);
	else if (m->from == KEY_UNKNOWN && m->to == KEY_GONE)
		LOG_KEY(LOGL_DEBUG, r, id,
		    "repository %s: key %s is gone: %s", r->name, id, m->why);
	else if (m->to != KEY_READY || m->from != KEY_MADE)
		LOG_KEY(m->from == KEY_TAKEN && m->to == KEY_CONSUMED
			? LOGL_WARNING : LOGL_NOTICE, r, id,
		    "repository %s: key %s was %s and is now %s: %s",
		    r->name, id, key_state_text(m->from),
		    key_state_text(m->to), m->why);
}

static void
look_apply(struct engine *e, struct repo *r)
{
	struct look *l = &r->look;
	struct ksm_fail fail;
	size_t stop = l->at_move + APPLY_MOVES;

	for (; l->at_move < l->nmoves && l->at_move < stop; l->at_move++) {
		const struct look_move *m = &l->moves[l->at_move];
		enum ksm_err err = store_key_move(e->store, &m->id, m->from,
		    m->to, m->why, engine_wall(e), &fail);

		if (!batch_stored(e, err, &fail, "move a key") &&
		    err != KSM_ENOENT) {
			look_abandon(e, r);
			return;
		}
		l->settled_gone += err == KSM_OK && m->to == KEY_GONE;
		if (err == KSM_OK)
			move_log(r, m);
	}
	e->tallies_old = true;
	batch_noted(e);
	if (l->at_move == l->nmoves)
		l->step = LOOK_PROVE;
}

static void proof_note(struct engine *e, struct repo *r,
    const struct hsm_proof *proof, const char *refused);

static void
look_prove(struct engine *e, struct repo *r)
{
	struct look *l = &r->look;
	struct store_key *key;
	struct ksm_fail fail;

	if (l->slot.busy)
		return;
	if (l->at_proof == l->nproofs) {
		l->step = LOOK_DESTROY;
		return;
	}
	l->slot.id = l->proofs[l->at_proof];
	if (r->poison_deaths >= POISON_DEATHS &&
	    key_id_cmp(&l->slot.id, &r->poison) == 0) {
		r->poison_deaths = 0;
		proof_note(e, r, NULL,
		    "its worker died each time it was to be proven");
		return;
	}
	key = calloc(1, sizeof(*key));
	if (key == NULL) {
		look_no_memory(e, r);
		return;
	}
	if (!batch_stored(e,
		store_key_get(e->store, &l->slot.id, key, &fail), &fail,
		"read a key")) {
		free(key);
		look_abandon(e, r);
		return;
	}
	repo_prove(e, r, &l->slot, key);
	free(key);
}

static void
look_destroy(struct engine *e, struct repo *r)
{
	struct look *l = &r->look;
	struct hsm_msg m = { .type = HSM_DESTROY };

	if (l->slot.busy)
		return;
	if (l->at_half == l->nhalves) {
		l->step = LOOK_END;
		return;
	}
	/* That it is to go is on disk before it goes. */
	if (!batch_commit(e)) {
		look_abandon(e, r);
		return;
	}
	l->slot.id = l->halves[l->at_half].id;
	l->slot.job = m.u.destroy.job = ++e->last_job;
	m.u.destroy.id = l->slot.id;
	m.u.destroy.half = l->halves[l->at_half].half;
	(void)repo_worker_send(e, r, &l->slot, &m,
	    r->conf == NULL ? DEADLINE_GONE : r->conf->deadline);
}

static void
look_end(struct engine *e, struct repo *r)
{
	struct look *l = &r->look;
	struct ksm_fail fail;
	struct idmap was = r->halves;
	bool first = !r->looked;
	ksm_msec started = l->started;
	struct id_list unfinished;

	if (r->conf != NULL && r->conf->sync_path != NULL)
		(void)batch_stored(e,
		    store_repository_synced(e->store, r->row.row,
			l->serial_limit, &fail),
		    &fail, "record a sync");
	if (l->settled_gone + l->settled_made > 0)
		log_notice("repository %s: settled %lld keys: %lld exist, %lld "
			   "never came to be",
		    r->name, (long long)(l->settled_gone + l->settled_made),
		    (long long)l->settled_made, (long long)l->settled_gone);
	r->halves = l->half_now;
	l->half_now = was;
	r->look_wanted = r->look_wanted || l->again;
	unfinished = l->unfinished;
	l->unfinished = (struct id_list){ 0 };
	l->step = LOOK_IDLE;
	look_clear(l);
	if (!batch_commit(e)) {
		id_list_clear(&unfinished);
		repo_worker_leave(e, &l->slot);
		return;
	}
	r->looked = true;
	e->take_sweep = true; /* a key that is seen again may be handed out */
	l->slot.warm = l->slot.warm || dispatch_left(e, r) >= WARM_KEYS ||
	    engine_steady(e) - started >= WARM_LOOK_MS;
	if (!l->slot.warm || l->slot.purpose != PURPOSE_VERIFIER || r->single)
		repo_worker_leave(e, &l->slot);
	r->accept = false;
	r->looked_at = engine_wall(e);
	r->looked_ms = engine_steady(e);
	r->look_took = r->looked_ms - started;
	backoff_ok(&r->backoff);
	e->tallies_old = true;
	configure_surplus(e);
	errand_finish_keys(e, r, &unfinished);
	id_list_clear(&unfinished);
	if (first)
		LOG_REPO(LOGL_INFO, r,
		    "repository %s: token '%s' serial '%s' and database agree, "
		    "or the differences are on record",
		    r->name, r->row.token_label, r->row.token_serial);
}

/* A verifier that stayed: true if it can look again, else it is to leave. */
static bool
look_warm_fits(struct engine *e, struct repo *r)
{
	struct slot *s = &r->look.slot;

	if (s->no == 0 || s->starting || s->busy || s->leaving || s->stuck)
		return false;
	if (look_may(e, r) && s->generation == r->generation && !r->single &&
	    !errand_crowded(e, r) &&
	    repo_count(e, r, KEY_UNKNOWN) == 0 && r->halves.count == 0 &&
	    engine_steady(e) - r->looked_ms < WARM_MS)
		return true;
	repo_worker_leave(e, s);
	return false;
}

static void
look_start(struct engine *e, struct repo *r, ksm_msec *wait)
{
	ksm_msec now = engine_steady(e), left = backoff_wait(&r->backoff, now);
	struct look *l = &r->look;
	bool warm = look_warm_fits(e, r);

	if (warm)
		wait_at_most(wait, r->looked_ms + WARM_MS - now);
	if (!look_may(e, r))
		return;
	if (!look_due(e, r)) {
		if (r->halves.count > 0)
			wait_at_most(wait, backoff_wait(&r->cleaning, now));
		if (r->group_since != 0)
			wait_at_most(wait,
			    r->group_since + group_bound(r) - now);
		return;
	}
	if (r->waiting && r->waiting_at - now > left)
		left = r->waiting_at - now;
	if (left > 0) {
		wait_at_most(wait, left);
		return;
	}
	if (warm) {
		l->step = LOOK_START;
		l->started = now;
		look_list(e, r);
		return;
	}
	if (l->slot.no != 0)
		return; /* the last one has not left yet */
	if (r->single)
		for (size_t k = 0; k < r->ngens; k++)
			if (r->gens[k].no != 0)
				return;
	if (repo_worker_start(e, r, &l->slot,
		repo_count(e, r, KEY_UNKNOWN) > 0 || r->halves.count > 0
		    ? PURPOSE_SETTLER
		    : PURPOSE_VERIFIER)) {
		l->step = LOOK_START;
		l->started = now;
		return;
	}
	if (r->waiting)
		wait_at_most(wait, WAITING_MS);
	/* Another is logging in (its hello wakes us), or it failed. */
	left = backoff_wait(&r->backoff, now);
	if (left > 0)
		wait_at_most(wait, left);
}

void
look_run(struct engine *e, struct repo *r, ksm_msec *wait)
{
	switch (r->look.step) {
	case LOOK_IDLE:
		look_start(e, r, wait);
		break;
	case LOOK_START:
	case LOOK_LIST:
		break;
	case LOOK_COMPARE:
		look_compare(e, r);
		*wait = 0;
		break;
	case LOOK_APPLY:
		look_apply(e, r);
		*wait = 0;
		break;
	case LOOK_PROVE:
		look_prove(e, r);
		if (r->look.step != LOOK_PROVE)
			*wait = 0;
		break;
	case LOOK_DESTROY:
		look_destroy(e, r);
		if (r->look.step != LOOK_DESTROY)
			*wait = 0;
		break;
	case LOOK_END:
		look_end(e, r);
		*wait = 0;
		break;
	}
}

/* ---- answers ----------------------------------------------------------- */

static bool
page_note(struct look *l, const struct hsm_page *page)
{
	struct idmap_entry *seen;

	l->pages++;
	l->privates += (int64_t)page->nprivates;
	l->publics += (int64_t)page->npublics;
	for (size_t i = 0; i < page->nprivates; i++) {
		if ((seen = idmap_put(&l->seen, &page->privates[i])) == NULL)
			return false;
		seen->privates += seen->privates < UINT8_MAX;
	}
	for (size_t i = 0; i < page->npublics; i++) {
		if ((seen = idmap_put(&l->seen, &page->publics[i])) == NULL)
			return false;
		seen->publics += seen->publics < UINT8_MAX;
	}
	return true;
}

static bool
key_moved(struct engine *e, const struct key_id *id, enum key_state from,
    enum key_state to, const char *why)
{
	struct ksm_fail fail;

	e->tallies_old = true;
	batch_noted(e);
	return batch_stored(e,
	    store_key_move(e->store, id, from, to, why, engine_wall(e), &fail),
	    &fail, "move a key");
}

/* An unknown key exists: write down what its answer would have said. */
static bool
key_adopt(struct engine *e, struct repo *r, const struct store_key *key,
    const struct key_facts *facts, bool facts_ok, bool proved)
{
	struct store_made made = { .adopted = true,
		.proved = proved,
		.ended = engine_wall(e),
		.tag_zsk = -1,
		.tag_ksk = -1,
		.tag_revoked = -1 };
	struct ksm_fail fail;

	made.single = r->look.slot.single;
	if (facts_ok) {
		made.pub = facts->pub;
		made.publen = facts->publen;
		made.digest = facts->digest;
		made.tag_zsk = facts->tag_zsk;
		made.tag_ksk = facts->tag_ksk;
		made.tag_revoked = facts->tag_revoked;
	}
	if (made.ended < e->newest)
		made.ended = e->newest; /* the clock went back */
	e->newest = made.ended;
	e->tallies_old = true;
	batch_noted(e);
	return batch_stored(e,
	    store_key_made(e->store, &key->id, &made, engine_wall(e), &fail),
	    &fail, "record a settled key");
}

static void
proof_judge(struct engine *e, struct repo *r, const struct store_key *key,
    enum ksm_err err, const char *why, const struct key_facts *facts,
    bool facts_ok)
{
	struct ksm_fail fail;
	bool proved = err == KSM_OK;
	char id[KEY_ID_HEX];

	key_id_format(&key->id, id);
	switch (key->state) {
	case KEY_UNKNOWN:
		if (!key_adopt(e, r, key, facts, facts_ok, proved))
			return;
		LOG_KEY(proved ? LOGL_DEBUG : LOGL_ERROR, r, id,
		    "repository %s: key %s exists: it was made when its "
		    "worker ended; it is %s",
		    r->name, id, proved ? "ready" : "quarantined");
		r->look.settled_made++;
		(void)key_moved(e, &key->id, KEY_MADE,
		    proved ? KEY_READY : KEY_QUARANTINED, why);
		return;
	case KEY_MADE:
		if (proved)
			(void)batch_stored(e,
			    store_key_proved(e->store, &key->id, &fail), &fail,
			    "record a proof");
		(void)key_moved(e, &key->id, KEY_MADE,
		    proved ? KEY_READY : KEY_QUARANTINED, why);
		return;
	case KEY_MISSING:
		if (!proved)
			return;
		(void)batch_stored(e,
		    store_key_proved(e->store, &key->id, &fail), &fail,
		    "record a proof");
		(void)key_moved(e, &key->id, KEY_MISSING, key->was,
		    "it is in the token again");
		return;
	default:
		break;
	}
	if (proved) {
		(void)batch_stored(e,
		    store_key_proved(e->store, &key->id, &fail), &fail,
		    "record a proof");
		batch_noted(e);
		return;
	}
	LOG_KEY(LOGL_ERROR, r, id,
	    "repository %s: key %s is in the token but unusable: %s; it is "
	    "missing now",
	    r->name, id, why);
	if (key_state_may(key->state, KEY_MISSING))
		(void)key_moved(e, &key->id, key->state, KEY_MISSING, why);
}

static void
proof_note(struct engine *e, struct repo *r, const struct hsm_proof *proof,
    const char *refused)
{
	struct look *l = &r->look;
	struct store_key *key = calloc(1, sizeof(*key));
	struct ksm_fail fail, check = { .text = "" };
	struct key_facts facts;
	bool facts_ok = false;
	enum ksm_err err = KSM_EREFUSED;

	l->at_proof++;
	if (key == NULL || !batch_stored(e,
		store_key_get(e->store, &l->slot.id, key, &fail), &fail,
		"read a key"))
		goto out;
	if (refused != NULL)
		(void)snprintf(check.text, sizeof(check.text), "%s", refused);
	else
		err = keycheck_evidence(&proof->evidence, &l->slot.want,
		    &facts, &facts_ok, &check);
	if (err == KSM_OK)
		err = proof_once(proof, &check);
	if (err == KSM_OK && key->publen > 0)
		err = proof_same(&facts, key, &check);
	if (err == KSM_OK && key->state == KEY_UNKNOWN)
		err = answer_key_fresh(e, &key->id, &facts, &check);
	if (err == KSM_ESTORE)
		goto out;
	l->slot.single = proof != NULL && proof->publics == 0;
	proof_judge(e, r, key, err, err == KSM_OK ? "" : check.text, &facts,
	    facts_ok);
out:
	free(key);
}

/*
 * The other half came after all, or the token does not give it up: looked at
 * again, but less and less often.
 */
static void
half_kept(struct engine *e, struct repo *r, const char *why)
{
	struct look *l = &r->look;
	const struct look_half *h = &l->halves[l->at_half++];
	struct idmap_entry *now = idmap_put(&l->half_now, &h->id);
	uint32_t dice;

	if (now != NULL) {
		now->privates = h->half == HALF_PRIVATE;
		now->publics = h->half == HALF_PUBLIC;
	}
	e->io.random(e->io.ctx, &dice, sizeof(dice));
	backoff_fail(&r->cleaning, engine_steady(e), dice);
	LOG_REPO(LOGL_WARNING, r,
	    "repository %s: a half pair was not cleaned: %s; tried "
	    "again in %lld ms",
	    r->name, why,
	    (long long)backoff_wait(&r->cleaning, engine_steady(e)));
}

/* An unknown key never came to be; one that was made and torn is destroyed. */
static void
half_gone(struct engine *e, struct repo *r, const struct key_id *id)
{
	static const char why[] = "only one half was there; it was destroyed";
	struct store_key *key = calloc(1, sizeof(*key));
	struct ksm_fail fail;
	char hex[KEY_ID_HEX];

	if (key == NULL || !batch_stored(e,
		store_key_get(e->store, id, key, &fail), &fail, "read a key")) {
		free(key); /* the next look finds it gone */
		return;
	}
	key_id_format(id, hex);
	LOG_KEY(LOGL_NOTICE, r, hex, "repository %s: key %s: %s", r->name, hex,
	    why);
	if (key->state == KEY_UNKNOWN)
		(void)key_moved(e, id, KEY_UNKNOWN, KEY_GONE, why);
	else
		(void)key_moved(e, id, KEY_DESTROYING, KEY_DESTROYED, why);
	free(key);
}

static void
look_answer_no(struct engine *e, struct repo *r, const struct hsm_no *no,
    bool leaves)
{
	struct look *l = &r->look;
	char why[256];

	answer_no_text(no, why);
	if (leaves || l->step == LOOK_LIST) {
		repo_failed(e, r, why);
		look_abandon(e, r);
	} else if (l->step == LOOK_PROVE) {
		proof_note(e, r, NULL, why);
	} else {
		half_kept(e, r, why);
	}
}

void
look_message(struct engine *e, struct repo *r, struct hsm_msg *m)
{
	struct look *l = &r->look;
	struct slot *s = &l->slot;
	const struct hsm_listed *listed = &m->u.listed;

	if (l->step == LOOK_IDLE && m->type != HSM_FAILED) {
		/* abandoned; what it still says changes nothing */
		s->starting = s->busy = false;
		return;
	}
	switch (m->type) {
	case HSM_HELLO:
		if (!answer_hello(e, r, s, &m->u.hello))
			look_abandon(e, r);
		else
			look_list(e, r);
		return;
	case HSM_FAILED:
		answer_start_failed(e, r, s, &m->u.failed);
		look_abandon(e, r);
		return;
	case HSM_PAGE:
		if (l->step != LOOK_LIST || m->u.page.job != s->job)
			break;
		if (l->seen.count > LOOK_MOST) {
			e->io.worker_kill(e->io.ctx, s->no,
			    "more objects than any token holds");
			return;
		}
		if (!page_note(l, &m->u.page))
			look_no_memory(e, r);
		return;
	case HSM_LISTED:
		if (l->step != LOOK_LIST || listed->job != s->job)
			break;
		/* A page that was lost would make its keys missing. */
		if (listed->pages != l->pages ||
		    listed->privates != l->privates ||
		    listed->publics != l->publics) {
			e->io.worker_kill(e->io.ctx, s->no,
			    "its pages and their count disagree");
			return;
		}
		s->busy = s->overdue = false;
		l->foreign = listed->foreign;
		l->nameless = listed->nameless;
		l->step = LOOK_COMPARE;
		return;
	case HSM_PROOF:
		if (l->step != LOOK_PROVE || m->u.proof.job != s->job ||
		    key_id_cmp(&m->u.proof.id, &s->id) != 0)
			break;
		s->busy = s->overdue = false;
		proof_note(e, r, &m->u.proof, NULL);
		return;
	case HSM_DESTROYED:
		if (l->step != LOOK_DESTROY || m->u.destroyed.job != s->job ||
		    key_id_cmp(&m->u.destroyed.id, &s->id) != 0)
			break;
		s->busy = s->overdue = false;
		half_gone(e, r, &s->id);
		backoff_ok(&r->cleaning);
		l->at_half++;
		return;
	case HSM_REFUSED:
	case HSM_UNKNOWN:
		if (!s->busy || m->u.no.job != s->job)
			break;
		s->busy = s->overdue = false;
		look_answer_no(e, r, &m->u.no, m->type == HSM_UNKNOWN);
		return;
	default:
		break;
	}
	e->io.worker_kill(e->io.ctx, s->no, hsm_type_text(m->type));
}

void
look_exit(struct engine *e, struct repo *r, const char *how)
{
	struct slot was = r->look.slot;
	char why[256];

	r->look.slot = (struct slot){ 0 };
	if (was.leaving)
		return;
	r->deaths++;
	metric_errors(e, r->name)->deaths++;
	if (r->look.step == LOOK_IDLE)
		return; /* one that stayed; it was not looking */
	if (r->look.step == LOOK_PROVE && was.busy) {
		if (key_id_cmp(&r->poison, &was.id) != 0)
			r->poison_deaths = 0;
		r->poison = was.id;
		r->poison_deaths++;
	}
	(void)snprintf(why, sizeof(why),
	    "its %s ended (%s) before it had seen everything",
	    worker_purpose_text(was.purpose), how);
	repo_failed(e, r, why);
	look_abandon(e, r);
}
