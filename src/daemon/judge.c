/*
 * judge.c - one row of the database held against what a look has seen of it.
 *
 * Nothing is changed here: moves, proofs and halves to destroy are collected,
 * and settle.c acts on them when the token as a whole is believed.
 */
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

static void *
room(void *array, size_t n, size_t *allocated, size_t size)
{
	size_t want;
	void *p;

	if (n < *allocated)
		return array;
	want = *allocated == 0 ? 64 : *allocated * 2;
	p = reallocarray(array, want, size);
	if (p != NULL)
		*allocated = want;
	return p;
}

static bool
move_add(struct look *l, const struct key_id *id, enum key_state from,
    enum key_state to, const char *why)
{
	void *p = room(l->moves, l->nmoves, &l->amoves, sizeof(*l->moves));

	if (p == NULL)
		return false;
	l->moves = p;
	l->moves[l->nmoves++] =
	    (struct look_move){ .id = *id, .from = from, .to = to, .why = why };
	return true;
}

static bool
proof_add(struct look *l, const struct key_id *id)
{
	void *p = room(l->proofs, l->nproofs, &l->aproofs, sizeof(*l->proofs));

	if (p == NULL)
		return false;
	l->proofs = p;
	l->proofs[l->nproofs++] = *id;
	return true;
}

bool
id_list_add(struct id_list *l, const struct key_id *id)
{
	void *p = room(l->ids, l->n, &l->allocated, sizeof(*l->ids));

	if (p == NULL)
		return false;
	l->ids = p;
	l->ids[l->n++] = *id;
	return true;
}

void
id_list_clear(struct id_list *l)
{
	free(l->ids);
	*l = (struct id_list){ 0 };
}

static bool
half_add(struct look *l, const struct key_id *id, enum key_half half)
{
	void *p = room(l->halves, l->nhalves, &l->ahalves, sizeof(*l->halves));

	if (p == NULL)
		return false;
	l->halves = p;
	l->halves[l->nhalves++] = (struct look_half){ .id = *id, .half = half };
	return true;
}

/* ---- judging one row --------------------------------------------------- */

enum sight { SIGHT_NONE, SIGHT_HALF, SIGHT_WHOLE, SIGHT_DOUBLED };

static enum sight
sight_of(const struct repo *r, const struct store_brief *b,
    const struct idmap_entry *seen)
{
	const struct alg *alg = alg_find(b->alg);
	bool single = alg != NULL && alg->family == ALG_RSA &&
	    (b->single ||
		(b->serial == 0 && r->conf != NULL &&
		    r->conf->skip_public_key));

	if (seen == NULL || seen->privates + seen->publics == 0)
		return SIGHT_NONE;
	if (seen->privates > 1 || seen->publics > 1)
		return SIGHT_DOUBLED;
	if (seen->privates == 1 && (seen->publics == 1 || single))
		return SIGHT_WHOLE;
	return SIGHT_HALF;
}

static enum key_half
half_of(const struct idmap_entry *seen)
{
	return seen->privates == 1 ? HALF_PRIVATE : HALF_PUBLIC;
}

static const char *
half_why(const struct idmap_entry *seen)
{
	return seen->privates == 0
	    ? "only its public half is in the token"
	    : "only its private half is in the token";
}

/*
 * True when the look before this one, by another process, saw the same half:
 * it is at rest and may go. Otherwise the next look will know.
 */
static enum ksm_err
half_again(struct repo *r, struct look *l, const struct key_id *id,
    const struct idmap_entry *seen)
{
	struct idmap_entry *before = idmap_find(&r->halves, id), *now;

	if (before != NULL && before->privates == seen->privates &&
	    before->publics == seen->publics)
		return KSM_OK;
	now = idmap_put(&l->half_now, id);
	if (now == NULL)
		return KSM_ENOMEM;
	now->privates = seen->privates;
	now->publics = seen->publics;
	return KSM_ENOENT;
}

/*
 * Whether a half of it may be cleaned away without an operator's word: only of
 * what this installation asked for itself. A half of an adopted key may be all
 * that its maker has left of it, or wants to have.
 */
static bool
half_ours(const struct repo *r, const struct store_brief *b)
{
	return !b->claimed &&
	    memcmp(b->id.bytes, r->look.tag, KEY_TAG_LEN) == 0;
}

/*
 * Torn while it was made, and no look ever saw it whole: nobody can have it.
 * Made goes by way of quarantined, so that its reason is on record.
 */
static bool
judge_torn(struct repo *r, struct look *l, const struct store_brief *b,
    const struct idmap_entry *seen)
{
	enum ksm_err err;

	if (!half_ours(r, b))
		return b->state != KEY_MADE ||
		    move_add(l, &b->id, KEY_MADE, KEY_QUARANTINED,
			half_why(seen));
	err = half_again(r, l, &b->id, seen);
	if (err != KSM_OK)
		return err == KSM_ENOENT;
	if (b->state == KEY_MADE &&
	    !move_add(l, &b->id, KEY_MADE, KEY_QUARANTINED, half_why(seen)))
		return false;
	return move_add(l, &b->id, KEY_QUARANTINED, KEY_DESTROYING,
		   half_why(seen)) &&
	    half_add(l, &b->id, half_of(seen));
}

static bool
judge_unknown(struct repo *r, struct look *l, const struct store_brief *b,
    enum sight sight, const struct idmap_entry *seen)
{
	enum ksm_err err;

	if (idmap_find(&l->unknowns, &b->id) == NULL)
		return true;
	if (sight == SIGHT_NONE)
		return move_add(l, &b->id, KEY_UNKNOWN, KEY_GONE,
		    "it was not in the token when looked for");
	if (sight != SIGHT_HALF)
		return proof_add(l, &b->id);
	if (!half_ours(r, b))
		return move_add(l, &b->id, KEY_UNKNOWN, KEY_GONE,
		    "only a half of it is in the token; it is left alone");
	err = half_again(r, l, &b->id, seen);
	if (err != KSM_OK)
		return err == KSM_ENOENT;
	return half_add(l, &b->id, half_of(seen));
}

static bool
judge_living(struct repo *r, struct look *l, const struct store_brief *b,
    enum sight sight, const struct idmap_entry *seen)
{
	const char *why = "it is not in the token any more";

	if (sight == SIGHT_WHOLE) {
		if (!b->proved && b->state != KEY_QUARANTINED)
			return proof_add(l, &b->id);
		if (b->state == KEY_MADE)
			return move_add(l, &b->id, KEY_MADE, KEY_READY, "");
		return true;
	}
	if (sight == SIGHT_DOUBLED)
		why = "several objects in the token carry its id";
	else if (sight == SIGHT_HALF)
		why = half_why(seen);
	/* Quarantined and proved: it was ready, a human is to look at it. */
	if (sight == SIGHT_HALF &&
	    (b->state == KEY_MADE ||
		(b->state == KEY_QUARANTINED && !b->proved)))
		return judge_torn(r, l, b, seen);
	if (b->state == KEY_QUARANTINED && sight != SIGHT_NONE)
		return true; /* a human is to look at it as it is */
	if (b->state == KEY_MADE && sight != SIGHT_NONE)
		return move_add(l, &b->id, KEY_MADE, KEY_QUARANTINED, why);
	if (sight == SIGHT_NONE && b->destroyer)
		return move_add(l, &b->id, b->state, KEY_CONSUMED,
		    "its signer destroys keys that it drops, and it is not in "
		    "the token any more");
	if (!key_state_may(b->state, KEY_MISSING))
		return true;
	return move_add(l, &b->id, b->state, KEY_MISSING, why);
}

/*
 * Somebody died while it was being destroyed. A whole pair is left to an
 * errand, which proves it once more; a half goes like any other.
 */
static bool
judge_destroying(struct repo *r, struct look *l, const struct store_brief *b,
    enum sight sight, const struct idmap_entry *seen)
{
	enum ksm_err err;

	if (errand_holds(r, &b->id))
		return true; /* at this moment */
	switch (sight) {
	case SIGHT_NONE:
		return move_add(l, &b->id, KEY_DESTROYING, KEY_DESTROYED,
		    "it is not in the token any more");
	case SIGHT_WHOLE:
		return id_list_add(&l->unfinished, &b->id);
	case SIGHT_HALF:
		err = half_again(r, l, &b->id, seen);
		if (err != KSM_OK)
			return err == KSM_ENOENT;
		return half_add(l, &b->id, half_of(seen));
	case SIGHT_DOUBLED:
		break; /* none of them is the one that was proven */
	}
	return true;
}

bool
look_judge(struct repo *r, struct look *l, const struct store_brief *b)
{
	struct idmap_entry *seen = idmap_find(&l->seen, &b->id);
	enum sight sight = sight_of(r, b, seen);

	if (seen != NULL)
		seen->known = true;
	switch (b->state) {
	case KEY_UNKNOWN:
		return judge_unknown(r, l, b, sight, seen);
	case KEY_GONE:
		if (sight == SIGHT_NONE ||
		    (sight == SIGHT_HALF && !half_ours(r, b)))
			return true;
		l->again = true;
		return move_add(l, &b->id, KEY_GONE, KEY_UNKNOWN,
		    "it was found after all");
	case KEY_MADE:
	case KEY_READY:
	case KEY_SURPLUS:
	case KEY_QUARANTINED:
	case KEY_TAKING:
	case KEY_TAKEN:
	case KEY_RETIRED:
		if (b->serial > l->serial_limit)
			return true; /* younger than the enumeration */
		/* A key that no look has seen yet is a poor witness. */
		if (b->state == KEY_MADE) {
			l->fresh++;
			l->fresh_found += sight != SIGHT_NONE;
		} else {
			l->living++;
			l->found += sight != SIGHT_NONE;
		}
		return judge_living(r, l, b, sight, seen);
	case KEY_MISSING:
		if (sight != SIGHT_WHOLE)
			return true;
		l->found++;
		l->again = l->again || b->was == KEY_MADE; /* to be ready */
		if (!b->proved && b->was != KEY_QUARANTINED)
			return proof_add(l, &b->id);
		return move_add(l, &b->id, KEY_MISSING, b->was,
		    "it is in the token again");
	case KEY_DESTROYING:
		return judge_destroying(r, l, b, sight, seen);
	case KEY_INTENDED:
	case KEY_CONSUMED:
	case KEY_DESTROYED:
	case KEY__STATES:
		return true;
	}
	return true;
}
