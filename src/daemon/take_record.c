/*
 * take_record.c - keys that are proven go on record: into the journal first,
 * then into the database.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "take_parts.h"

void
closed_text(const char *why, char out[CLOSED_TEXT])
{
	(void)snprintf(out, CLOSED_TEXT,
	    "nothing is handed out: %.380s; `ksmctl handout status` says more",
	    why);
}

enum ksm_err
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

void
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
	if (!batch_ready(e) ||
	    (!store_batch_clean(e->store) && !batch_commit(e))) {
		wait_at_most(wait, LOCKED_MS);
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
			t->retried = t->step == TAKE_WRITTEN;
		wait_at_most(wait, LOCKED_MS);
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

/* All that is proven, in one piece for the journal. */
struct writing {
	struct handout *keys;
	struct handout_line *lines; /* the texts become those of the takes */
	size_t n;
};

/* KSM_EBUSY: not now, the database is to have its part first. */
static enum ksm_err
proven_collect(struct engine *e, struct writing *w, struct ksm_fail *fail)
{
	size_t at = 0;

	for (struct take *t = e->takes; t != NULL; t = t->next) {
		if (t->step != TAKE_PROVEN)
			continue;
		if (!batch_stored(e, uncovered_note(e, t, fail), fail,
			"look for a backup"))
			return KSM_EBUSY;
		w->n += t->nkeys;
	}
	w->keys = calloc(w->n, sizeof(*w->keys));
	w->lines = calloc(w->n, sizeof(*w->lines));
	if (w->keys == NULL || w->lines == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "take: no memory");
	for (struct take *t = e->takes; t != NULL; t = t->next)
		for (size_t i = 0; t->step == TAKE_PROVEN && i < t->nkeys;
		     i++) {
			t->keys[i].when = engine_wall(e);
			t->keys[i].mark = store_serial_on_disk(e->store);
			w->keys[at++] = t->keys[i];
		}
	return KSM_OK;
}

static enum ksm_err
proven_append(struct engine *e, struct writing *w, struct ksm_fail *fail)
{
	char why[LOCK_TEXT], text[CLOSED_TEXT];
	enum ksm_err err;

	if (handouts_closed(e, why)) {
		closed_text(why, text);
		return ksm_failf(fail, KSM_EREFUSED, "%s", text);
	}
	err = journal_append(e->journal, w->keys, w->n, w->lines, fail);
	(void)snprintf(e->journal_failing, sizeof(e->journal_failing), "%s",
	    err == KSM_OK ? "" : fail->text);
	return err;
}

/* Each take goes on, or back. */
static void
proven_end(struct engine *e, struct writing *w, enum ksm_err err,
    const char *text)
{
	size_t at = 0;

	for (struct take *t = e->takes; t != NULL; t = t->next) {
		if (t->step != TAKE_PROVEN)
			continue;
		if (err == KSM_OK) {
			for (size_t i = 0; i < t->nkeys; i++, at++) {
				t->keys[i] = w->keys[at];
				t->lines[i] = w->lines[at];
			}
			t->step = TAKE_WRITTEN;
		} else if (err == KSM_EUNKNOWN) {
			/* They stay `taking`: a start reads what is there. */
			take_end(e, t, err, text);
		} else {
			take_fail(e, t, err, text);
		}
	}
}

static bool
proven_any(const struct engine *e)
{
	for (const struct take *t = e->takes; t != NULL; t = t->next)
		if (t->step == TAKE_PROVEN)
			return true;
	return false;
}

void
takes_write(struct engine *e, ksm_msec *wait)
{
	struct writing w = { .n = 0 };
	struct ksm_fail fail = { .text = "" };
	char text[CLOSED_TEXT];
	enum ksm_err err;

	if (!proven_any(e))
		return;
	/* What is in the journal should get its row. */
	err = batch_ready(e) ? proven_collect(e, &w, &fail) : KSM_EBUSY;
	if (err == KSM_EBUSY) {
		wait_at_most(wait, LOCKED_MS);
		goto out;
	}
	if (err == KSM_OK)
		err = proven_append(e, &w, &fail);
	if (err == KSM_ESYS || err == KSM_EUNKNOWN)
		closed_text(fail.text, text);
	else
		(void)snprintf(text, sizeof(text), "%s", fail.text);
	proven_end(e, &w, err, text);
	if (err == KSM_EUNKNOWN)
		handouts_lock(e, fail.text);
out:
	free(w.keys);
	free(w.lines);
}
