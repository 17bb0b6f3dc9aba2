/*
 * handouts.c - the hand-out journal and the database put side by side: at a
 * start, when something was lost, and when an operator has looked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"
#include "journal.h"

#define REPLAY_TURN 256
#define SWEEP_MS    5000 /* between looks at keys that cannot be taken yet */
#define CLOSED_MS   1000 /* between looks whether they are closed */
#define BUSY_LINES  64

/* What stands in the way of all hand-outs; false: nothing. */
bool
handouts_closed(struct engine *e, char out[LOCK_TEXT])
{
	struct ksm_fail fail;

	out[0] = '\0';
	if (e->handout_lock[0] != '\0' && e->journal_why[0] != '\0' &&
	    strcmp(e->handout_lock, e->journal_why) != 0)
		(void)snprintf(out, LOCK_TEXT, "%.250s; and %.250s",
		    e->handout_lock, e->journal_why);
	else if (e->handout_lock[0] != '\0')
		(void)snprintf(out, LOCK_TEXT, "%s", e->handout_lock);
	else if (e->journal == NULL)
		(void)snprintf(out, LOCK_TEXT, "%s",
		    e->journal_why[0] != '\0' ? e->journal_why
					      : "there is no hand-out journal");
	else if (journal_look(e->journal, &fail) != KSM_OK)
		(void)snprintf(out, LOCK_TEXT, "%s", fail.text);
	return out[0] != '\0';
}

void
handouts_lock(struct engine *e, const char *why)
{
	struct ksm_fail fail;

	if (e->handout_lock[0] != '\0')
		return;
	(void)snprintf(e->handout_lock, sizeof(e->handout_lock), "%s", why);
	log_error("NOTHING IS HANDED OUT from now on: %s; look at `ksmctl "
		  "handout status`, then `ksmctl handout accept --reason ...`",
	    why);
	if (!batch_ready(e) ||
	    !batch_stored(e, store_handout_lock(e->store, why, &fail), &fail,
		"lock the hand-outs"))
		return;
	batch_history(e, ACTOR_DAEMON, "hand-outs locked", "", "%s", why);
	(void)batch_commit(e);
}

/* ---- what the journal knows ------------------------------------------------- */

/* A key that was handed out and does not look so, or the other way round. */
static enum ksm_err
handed_out_settle(struct engine *e, const struct handed_out *k, int64_t *n,
    int64_t *left, struct ksm_fail *fail)
{
	static const char why[] = "the hand-out journal says that it was taken";
	ksm_time now = engine_wall(e);
	enum key_state state = k->state;
	enum ksm_err err = KSM_OK;

	if (state == KEY_SURPLUS) {
		err = store_key_move(e->store, &k->id, state, KEY_READY, why,
		    now, fail);
		state = KEY_READY;
	}
	if (err == KSM_OK && state == KEY_READY) {
		err = store_key_move(e->store, &k->id, state, KEY_TAKING, why,
		    now, fail);
		state = KEY_TAKING;
	}
	if (err == KSM_OK && state == KEY_TAKING) {
		err = store_key_move(e->store, &k->id, state, KEY_TAKEN, why,
		    now, fail);
		*n += err == KSM_OK;
	} else if (err == KSM_OK && state != KEY_QUARANTINED) {
		++*left; /* it has to be verified, or found, first */
	}
	return err;
}

/* Keys that are `taking` and of which the journal has no line. */
static enum ksm_err
takings_back(struct engine *e, int64_t *n, struct ksm_fail *fail)
{
	struct key_filter f = { .by_state = true, .state = KEY_TAKING };
	struct store_key *page = calloc(REPLAY_TURN, sizeof(*page));
	enum ksm_err err = KSM_OK;
	int64_t cursor = 0;
	size_t got = 1;

	if (page == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "take: no memory");
	while (err == KSM_OK && got > 0) {
		engine_busy(e);
		err = store_keys_list(e->store, &f, &cursor, page, REPLAY_TURN,
		    &got, fail);
		for (size_t i = 0; err == KSM_OK && i < got; i++) {
			if (take_holds(e, &page[i].id))
				continue;
			err = store_key_move(e->store, &page[i].id, KEY_TAKING,
			    KEY_READY, "the hand-out journal does not have it",
			    engine_wall(e), fail);
			*n += err == KSM_OK;
		}
	}
	free(page);
	return err;
}

/*
 * Bring the states of keys in line with the hand-outs on record. Only when the
 * journal is there: without it nobody knows what `taking` became.
 */
static enum ksm_err
handed_out_look(struct engine *e, struct ksm_fail *fail)
{
	struct handed_out *page = calloc(REPLAY_TURN, sizeof(*page));
	enum ksm_err err = page == NULL
	    ? ksm_failf(fail, KSM_ENOMEM, "take: no memory")
	    : KSM_OK;
	int64_t cursor = 0, taken = 0, back = 0, left = 0;
	struct ksm_fail look;
	size_t got = 1;

	while (err == KSM_OK && got > 0) {
		engine_busy(e);
		err = store_handed_out(e->store, &cursor, page, REPLAY_TURN,
		    &got, fail);
		for (size_t i = 0; err == KSM_OK && i < got; i++)
			if (!take_holds(e, &page[i].id))
				err = handed_out_settle(e, &page[i], &taken,
				    &left, fail);
	}
	free(page);
	if (err == KSM_OK && e->journal != NULL &&
	    journal_look(e->journal, &look) == KSM_OK)
		err = takings_back(e, &back, fail);
	if (err != KSM_OK)
		return err;
	if (taken + back > 0) {
		e->tallies_old = true;
		log_warning("hand-outs: %lld keys were being taken, or were "
			    "handed out as the journal knows, and are taken "
			    "now; %lld were not handed out and are ready again",
		    (long long)taken, (long long)back);
	}
	e->take_sweep = left > 0;
	e->sweep_at = engine_steady(e) + SWEEP_MS;
	return KSM_OK;
}

#define REPLAY_COMMIT 4096 /* rows: a million in one would fill memory */

struct replay {
	struct engine *e;
	int64_t head; /* of the database */
	uint8_t hash[DIGEST_LEN];
	bool differs;
	int64_t n, mark;
};

/* Keys were made that the database does not have: true, and locked. */
static bool
replay_older(const struct replay *r)
{
	int64_t serial = store_serial_last(r->e->store);
	char why[LOCK_TEXT];

	if (r->mark <= serial)
		return false;
	(void)snprintf(why, sizeof(why),
	    "the database is older than the hand-out journal, which knows of "
	    "keys up to serial %lld; the database ends at %lld: keys made since "
	    "are not on record",
	    (long long)r->mark, (long long)serial);
	handouts_lock(r->e, why);
	return true;
}

static enum ksm_err
replay_line(void *ctx, const struct handout *h,
    const struct handout_line *line, struct ksm_fail *fail)
{
	struct replay *r = ctx;
	enum ksm_err err;

	if (h->number % BUSY_LINES == 0)
		engine_busy(r->e);
	if (h->mark > r->mark)
		r->mark = h->mark;
	if (h->number < r->head || r->differs)
		return KSM_OK;
	if (h->number == r->head) {
		r->differs = memcmp(line->hash, r->hash, DIGEST_LEN) != 0;
		return KSM_OK;
	}
	err = store_handout_add(r->e->store, h, line, fail);
	r->n += err == KSM_OK;
	if (err != KSM_OK || r->n % REPLAY_COMMIT != 0)
		return err;
	/* Killed after this, the next start does not see it any more. */
	(void)replay_older(r);
	return store_commit(r->e->store, fail);
}

/* What journal and database say when they are put side by side. */
static void
replay_judge(struct engine *e, const struct replay *r)
{
	int64_t last = journal_head(e->journal, NULL);
	char why[LOCK_TEXT] = "";

	if (r->differs)
		(void)snprintf(why, sizeof(why),
		    "the hand-out journal %.200s and the database disagree about "
		    "hand-out %lld: one of them was restored or changed",
		    e->journal_path, (long long)r->head);
	else if (last < r->head)
		(void)snprintf(why, sizeof(why),
		    "the hand-out journal %.200s ends with hand-out %lld, and the "
		    "database has %lld: it was removed, cut or restored",
		    e->journal_path, (long long)last, (long long)r->head);
	if (why[0] != '\0')
		handouts_lock(e, why);
	else
		(void)replay_older(r);
}

static enum ksm_err
journal_read(struct engine *e, struct ksm_fail *fail)
{
	struct replay r = { .e = e };
	struct ksm_fail why;
	uint8_t tag[KEY_TAG_LEN];
	int64_t cut = 0;
	enum ksm_err err;

	store_tag_get(e->store, tag);
	if ((err = store_handout_head(e->store, &r.head, r.hash, fail)) !=
	    KSM_OK)
		return err;
	if (r.head == 0)
		memset(r.hash, 0, sizeof(r.hash));
	/* Its hash is on record: what stands before that is proven by it. */
	err = journal_open(e->journal_path, tag, r.head - 1, replay_line, &r,
	    &e->journal, &cut, &why);
	if (err == KSM_ESTORE || err == KSM_ENOMEM) {
		*fail = why;
		return err;
	}
	if (err != KSM_OK) {
		e->journal = NULL;
		(void)snprintf(e->journal_why, sizeof(e->journal_why), "%s",
		    why.text);
		log_error("%s: nothing is handed out until that is mended and "
			  "ksmpoold restarted; everything else goes on",
		    why.text);
		if (err == KSM_EREFUSED)
			handouts_lock(e, why.text);
	}
	if (cut > 0)
		log_warning("hand-out journal %s: its last line was only "
			    "begun (%lld bytes); it was cut off, nobody was "
			    "given that key",
		    e->journal_path, (long long)cut);
	if (r.n > 0)
		batch_history(e, ACTOR_DAEMON, "hand-outs replayed",
		    "", "%lld hand-outs that the journal had and the database "
		    "had not", (long long)r.n);
	if ((err = handed_out_look(e, fail)) != KSM_OK)
		return err;
	if (store_batch_open(e->store) &&
	    (err = store_commit(e->store, fail)) != KSM_OK)
		return err;
	e->journal_mark = r.mark;
	if (e->journal != NULL)
		replay_judge(e, &r);
	return KSM_OK;
}

enum ksm_err
engine_handouts_open(struct engine *e, const char *path, struct ksm_fail *fail)
{
	enum ksm_err err;

	if (snprintf(e->journal_path, sizeof(e->journal_path), "%s", path) >=
	    (int)sizeof(e->journal_path))
		return ksm_failf(fail, KSM_EREFUSED,
		    "the path of the hand-out journal is too long");
	err = store_handout_locked(e->store, e->handout_lock, fail);
	if (err == KSM_OK)
		err = journal_read(e, fail);
	if (err == KSM_OK && e->handout_lock[0] != '\0')
		log_error("nothing is handed out: %s; look at `ksmctl handout "
			  "status`, then `ksmctl handout accept --reason ...`",
		    e->handout_lock);
	return err;
}

/* Pairs of ours without a row: this database may be an older copy. */
static void
orphans_look(struct engine *e)
{
	char why[LOCK_TEXT];
	struct ksm_fail fail;
	int64_t accepted = 0;

	if (e->journal_path[0] == '\0' || e->handout_lock[0] != '\0')
		return;
	for (size_t i = 0; i < e->nrepos; i++) {
		struct repo *r = e->repos[i];

		if (!r->looked || r->orphans == r->orphans_judged)
			continue;
		if (!batch_stored(e,
			store_orphans_accepted(e->store, r->row.row, &accepted,
			    &fail),
			&fail, "read the accepted pairs"))
			return;
		/* What was accepted and is gone is not there for another. */
		if (r->orphans < accepted &&
		    (!batch_ready(e) ||
			!batch_stored(e,
			    store_orphans_accept(e->store, r->row.row,
				r->orphans, &fail),
			    &fail, "accept fewer pairs") ||
			!batch_commit(e)))
			return;
		r->orphans_judged = r->orphans;
		if (r->orphans <= accepted)
			continue;
		(void)snprintf(why, sizeof(why),
		    "repository %s holds %lld pair%s of this installation not "
		    "on record: the database may be an older copy; `ksmctl "
		    "inventory` names them",
		    r->name, (long long)r->orphans,
		    r->orphans == 1 ? "" : "s");
		handouts_lock(e, why);
		return;
	}
}

/* ---- an operator has looked --------------------------------------------------- */

/*
 *   rows    what files have and the database has not gets its rows: committed
 *           before any file is touched
 *   file    a journal that the database does not go on from is written anew
 *           beside the old one, synced, and takes its place; one that it does
 *           go on from gets what it lacks
 *   unlock  committed
 *
 * Cut anywhere, the database has all that was known and hand-outs are locked;
 * to accept once more does what is left. Files that were set aside are read each
 * time: whoever is killed never loses what they have.
 */
struct salvage {
	struct engine *e;
	int64_t head, rows; /* of the database; that were added */
	int64_t mark;	    /* the highest serial that a line knows of */
	uint8_t hash[DIGEST_LEN];
};

/* Was that name another take's? All keys of one take bear the same. */
static enum ksm_err
request_foreign(struct engine *e, const struct handout *h, bool *foreign,
    struct ksm_fail *fail)
{
	struct handout_filter f = { .request = h->request };
	struct handout *row = calloc(1, sizeof(*row));
	enum ksm_err err = KSM_OK;
	int64_t cursor = 0;
	size_t n = 1;

	*foreign = false;
	if (row == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "take: no memory");
	while (err == KSM_OK && n > 0 && !*foreign) {
		err = store_handout_list(e->store, &f, &cursor, row, 1, &n,
		    fail);
		*foreign = err == KSM_OK && n > 0 &&
		    (strcmp(row->zone, h->zone) != 0 ||
			strcmp(row->pool.policy, h->pool.policy) != 0 ||
			row->pool.role != h->pool.role ||
			row->who.uid != h->who.uid ||
			row->who.pid != h->who.pid);
	}
	free(row);
	return err;
}

/* A row at the end of the database, and its line. */
static enum ksm_err
salvaged_add(struct salvage *s, struct handout *h, struct ksm_fail *fail)
{
	struct handout_line line = { .text = NULL };
	enum ksm_err err;

	h->number = s->head + 1;
	line.text = handout_encode(h, s->hash);
	if (line.text == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "take: no memory");
	err = digest_sha256(line.text, strlen(line.text), line.hash, fail);
	if (err == KSM_OK)
		err = store_handout_add(s->e->store, h, &line, fail);
	if (err == KSM_OK) {
		memcpy(s->hash, line.hash, DIGEST_LEN);
		s->head++;
		s->rows++;
	}
	free(line.text);
	return err;
}

static enum ksm_err
salvage_line(void *ctx, const struct handout *h, struct ksm_fail *fail)
{
	struct salvage *s = ctx;
	struct handout *row;
	int64_t zones = 0;
	bool known = false, foreign = false;
	enum ksm_err err;

	engine_busy(s->e);
	if (h->mark > s->mark)
		s->mark = h->mark;
	err = store_handout_has(s->e->store, &h->id, h->zone, &known, fail);
	if (err != KSM_OK || known)
		return err;
	row = malloc(sizeof(*row));
	if (row == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "take: no memory");
	*row = *h;
	/* Of a key that another zone drew it can only be said as well. */
	err = store_handout_zones(s->e->store, &h->id, &zones, fail);
	row->drawn = h->drawn && zones == 0;
	if (err == KSM_OK && h->request[0] != '\0')
		err = request_foreign(s->e, h, &foreign, fail);
	if (foreign)
		row->request[0] = '\0';
	if (err == KSM_OK)
		err = salvaged_add(s, row, fail);
	free(row);
	return err;
}

/* A journal that the database goes on from is only written on. */
static enum ksm_err
journal_follows(struct engine *e, bool *follows, struct ksm_fail *fail)
{
	uint8_t ours[DIGEST_LEN], theirs[DIGEST_LEN];
	struct ksm_fail look;
	enum ksm_err err;
	int64_t last;
	char *text;

	*follows = false;
	if (e->journal == NULL || journal_look(e->journal, &look) != KSM_OK)
		return KSM_OK;
	last = journal_head(e->journal, theirs);
	*follows = last == 0;
	if (last == 0)
		return KSM_OK;
	text = malloc(HANDOUT_LINE);
	if (text == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "take: no memory");
	err = store_handout_text(e->store, last, text, ours, fail);
	*follows = err == KSM_OK && memcmp(ours, theirs, DIGEST_LEN) == 0;
	free(text);
	return err == KSM_ENOENT ? KSM_OK : err;
}

static enum ksm_err
accept_rows(struct engine *e, const char *was, bool follows, bool *changed,
    struct ksm_fail *fail)
{
	struct salvage s = { .e = e, .mark = e->journal_mark };
	uint8_t tag[KEY_TAG_LEN];
	enum ksm_err err;

	*changed = false;
	err = store_handout_head(e->store, &s.head, s.hash, fail);
	/* The first line of a journal is the one before hand-out 1. */
	if (err == KSM_OK && s.head == 0) {
		store_tag_get(e->store, tag);
		err = journal_first_hash(tag, s.hash, fail);
	}
	if (err == KSM_OK)
		err = journal_salvage_asides(e->journal_path, salvage_line, &s,
		    fail);
	if (err == KSM_OK && !follows)
		err = journal_salvage_old(e->journal_path, e->journal != NULL,
		    salvage_line, &s, fail);
	if (err == KSM_OK)
		err = handed_out_look(e, fail);
	if (err == KSM_OK && s.mark > store_serial_last(e->store))
		err = store_serial_raise(e->store, s.mark, fail);
	if (err == KSM_OK && s.rows > 0) {
		err = store_handout_lock(e->store, was, fail);
		*changed = err == KSM_OK;
	}
	return err;
}

/* Lines that the database has and the journal has not. */
static enum ksm_err
journal_mend(struct engine *e, struct journal *j, struct ksm_fail *fail)
{
	char *text = malloc(HANDOUT_LINE);
	uint8_t hash[DIGEST_LEN];
	int64_t head = 0, number;
	enum ksm_err err;

	if (text == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "take: no memory");
	err = store_handout_head(e->store, &head, hash, fail);
	number = journal_head(j, NULL);
	while (err == KSM_OK && number < head) {
		if (number % BUSY_LINES == 0)
			engine_busy(e);
		err = store_handout_text(e->store, ++number, text, hash, fail);
		if (err == KSM_OK)
			err = journal_append_text(j, text, fail);
	}
	free(text);
	return err == KSM_OK ? journal_sync(j, fail) : err;
}

/* A whole one from the database, in the place of what is there. */
static enum ksm_err
journal_renew(struct engine *e, char aside[512], bool *touched,
    struct ksm_fail *fail)
{
	struct journal *j = NULL;
	struct ksm_fail ignored;
	uint8_t tag[KEY_TAG_LEN];
	enum ksm_err err;

	store_tag_get(e->store, tag);
	err = journal_create(e->journal_path, tag, &j, fail);
	if (err == KSM_OK)
		err = journal_mend(e, j, fail);
	if (err == KSM_OK) {
		*touched = true;
		err = journal_place(j, e->journal_path, aside, fail);
	}
	if (err != KSM_OK) {
		journal_close(j);
		(void)journal_new_remove(e->journal_path, &ignored);
		return err;
	}
	journal_close(e->journal);
	e->journal = j;
	return KSM_OK;
}

static enum ksm_err
accept_end(struct engine *e, const char *text, struct store_actor who,
    struct ksm_fail *fail)
{
	enum ksm_err err = handed_out_look(e, fail);

	/* Of a token that was not looked at yet, what was accepted before. */
	for (size_t i = 0; err == KSM_OK && i < e->nrepos; i++)
		if (e->repos[i]->looked)
			err = store_orphans_accept(e->store,
			    e->repos[i]->row.row, e->repos[i]->orphans, fail);
	if (err == KSM_OK)
		err = store_handout_lock(e->store, "", fail);
	if (err == KSM_OK)
		err = store_history_add(e->store, engine_wall(e), who,
		    "hand-outs accepted", "", text, fail);
	return err;
}

/* One of its batches, whole or not at all. */
static enum ksm_err
accept_commit(struct engine *e, enum ksm_err err, struct ksm_fail *fail)
{
	if (err != KSM_OK && err != KSM_ESTORE)
		store_rollback(e->store);
	return engine_order_end(e, err, "accept the hand-outs", fail);
}

enum ksm_err
engine_handouts_accept(struct engine *e, const char *reason,
    struct store_actor who, char aside[512], struct ksm_fail *fail)
{
	char was[LOCK_TEXT], why[512];
	bool follows, touched = false;
	enum ksm_err err;

	aside[0] = '\0';
	if (!handouts_closed(e, was))
		return ksm_failf(fail, KSM_EREFUSED,
		    "there is nothing to accept: hand-outs are not locked");
	if (take_recording(e))
		return ksm_failf(fail, KSM_EBUSY,
		    "hand-outs are being recorded; ask again");
	if ((err = engine_order_begin(e, who, fail)) != KSM_OK)
		return err;
	err = journal_follows(e, &follows, fail);
	if (err == KSM_OK)
		err = accept_rows(e, was, follows, &touched, fail);
	if ((err = accept_commit(e, err, fail)) != KSM_OK)
		return err;
	if (touched)
		(void)snprintf(e->handout_lock, sizeof(e->handout_lock), "%s",
		    was);

	if (follows) {
		touched = true;
		err = journal_new_remove(e->journal_path, fail);
		if (err == KSM_OK)
			err = journal_mend(e, e->journal, fail);
	} else {
		err = journal_renew(e, aside, &touched, fail);
	}
	(void)snprintf(why, sizeof(why), "%.250s; it was: %.230s", reason, was);
	if (err == KSM_OK &&
	    (err = engine_order_begin(e, who, fail)) == KSM_OK)
		err = accept_commit(e, accept_end(e, why, who, fail), fail);
	if (err != KSM_OK) {
		if (touched)
			handouts_lock(e, was);
		return err;
	}
	e->handout_lock[0] = '\0';
	e->journal_why[0] = e->journal_failing[0] = '\0';
	e->closed_told = false; /* accepting is on record */
	e->tallies_old = true;
	log_warning("hand-outs go on, accepted by uid %lld pid %lld: %s%s%s",
	    (long long)who.uid, (long long)who.pid, why,
	    aside[0] == '\0' ? "" : "; the old journal is kept as ", aside);
	return KSM_OK;
}

void
engine_handouts_view(struct engine *e, struct handouts_view *out)
{
	struct ksm_fail fail;
	uint8_t hash[DIGEST_LEN];

	*out = (struct handouts_view){ .journal = e->journal_path };
	(void)store_handout_head(e->store, &out->number, hash, &fail);
	out->locked = handouts_closed(e, out->reason);
	if (!out->locked)
		(void)snprintf(out->reason, sizeof(out->reason), "%s",
		    e->journal_failing);
}

/*
 * What is found out by looking alone (the file is gone, or another) ends and
 * begins on record, too.
 */
static void
closed_look(struct engine *e)
{
	char why[LOCK_TEXT];
	bool closed;

	if (e->journal_path[0] == '\0' ||
	    engine_steady(e) < e->closed_looked + CLOSED_MS || !batch_ready(e))
		return;
	e->closed_looked = engine_steady(e);
	closed = handouts_closed(e, why);
	if (closed == e->closed_told)
		return;
	e->closed_told = closed;
	if (e->handout_lock[0] != '\0')
		return; /* on record already */
	if (closed) {
		log_error("nothing is handed out: %s", why);
		batch_history(e, ACTOR_DAEMON, "hand-outs locked", "", "%s",
		    why);
	} else {
		log_notice("hand-outs go on");
		batch_history(e, ACTOR_DAEMON, "hand-outs unlocked", "",
		    "what was in the way is gone");
	}
	(void)batch_commit(e);
}

void
handouts_look(struct engine *e)
{
	struct ksm_fail fail;

	orphans_look(e);
	closed_look(e);
	if (e->take_sweep && engine_steady(e) >= e->sweep_at &&
	    batch_ready(e) &&
	    batch_stored(e, handed_out_look(e, &fail), &fail,
		"settle hand-outs"))
		(void)batch_commit(e);
}
