/*
 * errand_item.c - one id of an errand: may it go, as the record and the token
 * have it? Then it is proven, and the token is asked to destroy it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "errand_parts.h"

void
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
	char kept[KEPT_TEXT] = "";
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
	instead = key_state_destroy_not(key->state);
	if (instead != NULL) {
		item_not(j, "it is %s: %s", key_state_text(key->state),
		    instead);
		return false;
	}
	err = j->errand->before_purge ? KSM_OK
				      : engine_key_kept(e, key, kept, &fail);
	if (!batch_stored(e, err, &fail, "read hand-outs"))
		item_not(j, "%.250s", fail.text);
	else if (kept[0] != '\0')
		item_not(j, "%s", kept);
	return err == KSM_OK && kept[0] == '\0';
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

	j->step = JOB_PROVE;
	repo_prove(e, r, &j->slot, key);
}

void
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

void
prove_next(struct engine *e, struct repo *r, struct store_key *key)
{
	struct job *j = &r->job;
	const struct key_id *id = &j->errand->items[j->at].id;
	struct ksm_fail fail;

	if (!batch_stored(e, store_key_get(e->store, id, key, &fail), &fail,
		"read a key"))
		item_not(j, "%.250s", fail.text);
	else if (j->again && idmap_find(&j->seen, id) == NULL)
		job_anew(e, r);
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
	} else if (!key_state_half_may_go(state)) {
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

void
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

/* ---- answers ------------------------------------------------------ */

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

	if (proof_once(proof, &check) != KSM_OK) {
		item_not(j, "%.200s", check.text);
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
	if (proof_same(&facts, key, &check) != KSM_OK) {
		item_not(j, "%.200s", check.text);
		return false;
	}
	return true;
}

/* Its private object is all there is, and should not be. */
static bool
proof_half(const struct hsm_proof *proof, const struct store_key *key)
{
	const struct alg *alg = alg_find(key->pool.alg);

	return proof->privates == 1 && proof->publics == 0 &&
	    !(key->single && alg != NULL && alg->family == ALG_RSA);
}

/*
 * Both halves found once, the public key is the one on record, and a signature
 * made in the token verifies outside it. What fails here fails for good; but
 * a half that is not there may come again: the next look calls it missing.
 */
static void
proof_take(struct engine *e, struct repo *r, const struct hsm_proof *proof,
    const struct store_key *key)
{
	struct job *j = &r->job;
	struct errand_item *item = &j->errand->items[j->at];
	struct ksm_fail check = { .text = "" };
	struct key_facts facts;
	bool facts_ok = false;
	enum ksm_err err;

	if (proof_half(proof, key)) {
		item_not(j, "only its private half is in the token");
		r->look_wanted = true; /* the record is behind */
		return;
	}
	err = keycheck_evidence(&proof->evidence, &j->slot.want, &facts,
	    &facts_ok, &check);
	if (err == KSM_OK)
		err = proof_once(proof, &check);
	if (err == KSM_OK)
		err = proof_same(&facts, key, &check);
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

void
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
			proof_take(e, r, proof, key);
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
		? DEADLINE_GONE : r->conf->deadline);
out:
	free(key);
}

void
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
