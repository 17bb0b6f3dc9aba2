#include "store_internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define INTEND_TRIES 8 /* for one id; each has 96 random bits */

enum ksm_err
store_key_unreadable(struct store *st, sqlite3_stmt *q, struct ksm_fail *fail)
{
	return ksm_failf(fail, KSM_ESTORE, "key row %lld cannot be read (%s)",
	    (long long)sqlite3_column_int64(q, 0), st->path);
}

static bool
state_read(sqlite3_stmt *q, int col, enum key_state if_null,
    enum key_state *out)
{
	char text[16];

	*out = if_null;
	if (sqlite3_column_type(q, col) == SQLITE_NULL)
		return if_null == KEY__STATES;
	return column_text(q, col, text, sizeof(text)) &&
	    key_state_find(text, out);
}

bool
store_id_read(sqlite3_stmt *q, int col, struct key_id *out)
{
	size_t len;

	return column_blob(q, col, out->bytes, sizeof(out->bytes), &len) &&
	    len == sizeof(out->bytes);
}

bool
store_key_read(sqlite3_stmt *q, struct store_key *k)
{
	char role[8];
	size_t digestlen;

	memset(k, 0, sizeof(*k));
	k->serial = column_int(q, 2, 0);
	k->pool.alg = sqlite3_column_int(q, 6);
	k->pool.bits = sqlite3_column_int(q, 7);
	k->proved = sqlite3_column_int(q, 10) != 0;
	k->adopted = sqlite3_column_int(q, 11) != 0;
	k->since = column_int(q, 13, 0);
	k->intended = column_int(q, 14, 0);
	k->started = column_int(q, 15, 0);
	k->ended = column_int(q, 16, 0);
	k->tag_zsk = (int)column_int(q, 19, -1);
	k->tag_ksk = (int)column_int(q, 20, -1);
	k->tag_revoked = (int)column_int(q, 21, -1);
	k->single = sqlite3_column_int(q, 22) != 0;
	return store_id_read(q, 1, &k->id) &&
	    column_text(q, 3, k->pool.policy, sizeof(k->pool.policy)) &&
	    column_text(q, 4, role, sizeof(role)) &&
	    key_role_find(role, &k->pool.role) &&
	    column_text(q, 5, k->pool.repository,
		sizeof(k->pool.repository)) &&
	    state_read(q, 8, KEY_INTENDED, &k->state) &&
	    state_read(q, 9, KEY__STATES, &k->was) &&
	    column_text(q, 12, k->why, sizeof(k->why)) &&
	    column_blob(q, 17, k->pub, sizeof(k->pub), &k->publen) &&
	    column_blob(q, 18, k->digest, sizeof(k->digest), &digestlen) &&
	    digestlen == (k->publen == 0 ? 0 : sizeof(k->digest));
}

/* ---- a key comes to be ----------------------------------------------- */

static enum ksm_err
key_intend(struct store *st, int64_t pool_row, ksm_time now,
    struct key_id *out, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_KEY_INTEND];
	struct key_id id;
	enum ksm_err err;
	int rc = SQLITE_ERROR;

	memcpy(id.bytes, st->tag, KEY_TAG_LEN);
	for (int i = 0; i < INTEND_TRIES; i++) {
		err = st->dice(id.bytes + KEY_TAG_LEN,
		    KEY_ID_LEN - KEY_TAG_LEN, fail);
		if (err != KSM_OK)
			return err;
		if (bind_blob(q, ":id", id.bytes, sizeof(id.bytes)) !=
			SQLITE_OK ||
		    bind_int(q, ":pool", pool_row) != SQLITE_OK ||
		    bind_int(q, ":now", now) != SQLITE_OK)
			break;
		rc = sqlite3_step(q);
		if (rc != SQLITE_CONSTRAINT_UNIQUE)
			break;
		(void)sqlite3_reset(q);
	}
	if (rc != SQLITE_DONE)
		return store_change_failed(st, q, "intend key", fail);
	stmt_done(q);
	*out = id;
	return KSM_OK;
}

enum ksm_err
store_keys_intend(struct store *st, int64_t pool_row, size_t n, ksm_time now,
    struct key_id *out, struct ksm_fail *fail)
{
	enum ksm_err err;

	err = store_begin(st, fail);
	for (size_t i = 0; err == KSM_OK && i < n; i++) {
		err = key_intend(st, pool_row, now, &out[i], fail);
		if (err == KSM_ESYS) {
			/* No randomness: the rows before it go as well. */
			struct ksm_fail kept = fail != NULL ? *fail :
							      (struct ksm_fail){
								  .err = err };

			(void)store_change_failed(st, NULL, "intend key",
			    NULL);
			if (fail != NULL)
				*fail = kept;
		}
	}
	return err;
}

/* A pool as history names it: "repository SoftHSM, policy default, ZSK". */
static enum ksm_err
pool_words(struct store *st, int64_t pool, char *out, size_t size,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_POOL_NAMES];
	enum ksm_err err = KSM_OK;

	if (bind_int(q, ":row", pool) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW)
		err = store_failed(st, "name pool", fail);
	else
		(void)snprintf(out, size, "repository %s, policy %s, %s",
		    (const char *)sqlite3_column_text(q, 2),
		    (const char *)sqlite3_column_text(q, 0),
		    (const char *)sqlite3_column_text(q, 1));
	stmt_done(q);
	return err;
}

static enum ksm_err
made_note(struct store *st, const struct key_id *id, int64_t pool,
    ksm_time now, struct ksm_fail *fail)
{
	char hex[KEY_ID_HEX], words[440], why[512];
	enum ksm_err err;

	err = pool_words(st, pool, words, sizeof(words), fail);
	if (err != KSM_OK)
		return store_change_failed(st, NULL, "record made key", NULL);
	key_id_format(id, hex);
	(void)snprintf(why, sizeof(why), "%s, serial %lld", words,
	    (long long)st->serial);
	return store_history_note(st, now, "key made", hex, why, fail);
}

enum ksm_err
store_key_made(struct store *st, const struct key_id *id,
    const struct store_made *made, ksm_time now, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_KEY_MADE];
	enum ksm_err err = KSM_OK;
	ksm_time started = made->started;
	int64_t pool = 0;
	int rc = SQLITE_ERROR;

	if (made->ended <= 0)
		return ksm_failf(fail, KSM_EREFUSED,
		    "made key has no creation date");
	if (made->pub != NULL &&
	    (made->publen < 1 || made->publen > DNSKEY_PUB_MAX ||
		made->digest == NULL || made->tag_zsk < 0 ||
		made->tag_ksk < 0 || made->tag_revoked < 0))
		return ksm_failf(fail, KSM_EREFUSED, "public key of made key "
		    "has %zu bytes, or no digest or key tags", made->publen);
	if (made->pub == NULL && made->proved)
		return ksm_failf(fail, KSM_EREFUSED,
		    "a key without public key cannot be proved");
	/* The clock was set back meanwhile; the end is what is compared. */
	if (started > made->ended)
		started = made->ended;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_blob(q, ":id", id->bytes, sizeof(id->bytes)) == SQLITE_OK &&
	    bind_int(q, ":now", now) == SQLITE_OK &&
	    bind_text(q, ":why", made->adopted ? "found by settling" : "") ==
		SQLITE_OK &&
	    bind_known(q, ":started", started, 0) == SQLITE_OK &&
	    bind_int(q, ":ended", made->ended) == SQLITE_OK &&
	    bind_int(q, ":took", made->took < 0 ? 0 : made->took) ==
		SQLITE_OK &&
	    bind_int(q, ":adopted", made->adopted) == SQLITE_OK &&
	    bind_int(q, ":proved", made->proved) == SQLITE_OK &&
	    bind_int(q, ":single", made->single) == SQLITE_OK &&
	    (made->pub == NULL ||
		(bind_blob(q, ":pub", made->pub, made->publen) == SQLITE_OK &&
		    bind_blob(q, ":digest", made->digest, 32) == SQLITE_OK &&
		    bind_int(q, ":tag_zsk", made->tag_zsk) == SQLITE_OK &&
		    bind_int(q, ":tag_ksk", made->tag_ksk) == SQLITE_OK &&
		    bind_int(q, ":tag_revoked", made->tag_revoked) ==
			SQLITE_OK)))
		rc = sqlite3_step(q);
	if (rc == SQLITE_ROW) {
		int64_t serial = sqlite3_column_int64(q, 0);

		pool = sqlite3_column_int64(q, 1);
		rc = sqlite3_step(q);
		if (rc == SQLITE_DONE)
			st->serial = serial;
	} else if (rc == SQLITE_DONE) {
		err = ksm_failf(fail, KSM_ENOENT,
		    "made key is neither intended nor unknown");
	}
	if (rc != SQLITE_DONE)
		return store_change_failed(st, q, "record made key", fail);
	stmt_done(q);
	return err == KSM_OK ? made_note(st, id, pool, now, fail) : err;
}

/* A change of the row with that id; KSM_ENOENT: it did not match. */
static enum ksm_err
key_change(struct store *st, enum store_stmt which, const struct key_id *id,
    const char *what, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[which];
	enum ksm_err err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_blob(q, ":id", id->bytes, sizeof(id->bytes)) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, what, fail);
	if (sqlite3_changes(st->db) != 1)
		err = ksm_failf(fail, KSM_ENOENT, "%s: no such key", what);
	stmt_done(q);
	return err;
}

enum ksm_err
store_key_proved(struct store *st, const struct key_id *id,
    struct ksm_fail *fail)
{
	return key_change(st, ST_KEY_PROVED, id, "record proof of key", fail);
}

enum ksm_err
store_key_refused(struct store *st, const struct key_id *id,
    struct ksm_fail *fail)
{
	return key_change(st, ST_KEY_REFUSED, id, "drop refused key", fail);
}

/* ---- a key moves ----------------------------------------------------- */

/* A missing key returns to what it was, and to nothing else. */
static enum ksm_err
return_check(struct store *st, const struct key_id *id, enum key_state to,
    struct ksm_fail *fail)
{
	struct store_key k;
	enum ksm_err err;

	err = store_key_get(st, id, &k, fail);
	if (err == KSM_OK && k.state == KEY_MISSING && k.was != to)
		err = ksm_failf(fail, KSM_EREFUSED,
		    "a missing key that was %s cannot become %s",
		    key_state_text(k.was), key_state_text(to));
	return err;
}

/*
 * What never was in a token has no history; and what came of a key that was
 * chosen is noted, not that it was.
 */
static enum ksm_err
move_note(struct store *st, const struct key_id *id, enum key_state from,
    enum key_state to, const char *why, ksm_time now, struct ksm_fail *fail)
{
	char hex[KEY_ID_HEX], what[48], words[512];

	if (to == KEY_INTENDED || to == KEY_UNKNOWN || to == KEY_GONE ||
	    to == KEY_TAKING)
		return KSM_OK;
	key_id_format(id, hex);
	/* "key made" is said once of a key, by store_key_made. */
	if (from == KEY_MISSING)
		(void)strcpy(what, "key found");
	else
		(void)snprintf(what, sizeof(what), "key %s",
		    key_state_text(to));
	(void)snprintf(words, sizeof(words), "%s -> %s%s%s",
	    key_state_text(from), key_state_text(to),
	    why != NULL && why[0] != '\0' ? ": " : "", why != NULL ? why : "");
	return store_history_note(st, now, what, hex, words, fail);
}

enum ksm_err
store_key_move(struct store *st, const struct key_id *id, enum key_state from,
    enum key_state to, const char *why, ksm_time now, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_KEY_MOVE];
	enum ksm_err err = KSM_OK;

	if (!key_state_may(from, to))
		return ksm_failf(fail, KSM_EREFUSED, "a key cannot go from %s "
		    "to %s", key_state_text(from), key_state_text(to));
	if (to == KEY_MADE && from != KEY_MISSING)
		return ksm_failf(fail, KSM_EREFUSED,
		    "a key becomes made only with its answer");
	if (from == KEY_MISSING)
		err = return_check(st, id, to, fail);
	if (err == KSM_OK)
		err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;

	if (bind_blob(q, ":id", id->bytes, sizeof(id->bytes)) != SQLITE_OK ||
	    bind_text(q, ":from", key_state_text(from)) != SQLITE_OK ||
	    bind_text(q, ":to", key_state_text(to)) != SQLITE_OK ||
	    bind_text(q, ":was", to == KEY_MISSING ? key_state_text(from) :
						     NULL) != SQLITE_OK ||
	    bind_cut(q, ":why", why != NULL ? why : "",
		sizeof(((struct store_key *)0)->why)) != SQLITE_OK ||
	    bind_int(q, ":now", now) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "move key", fail);
	if (sqlite3_changes(st->db) != 1)
		err = ksm_failf(fail, KSM_ENOENT, "key is not %s",
		    key_state_text(from)); /* someone else moved it first */
	stmt_done(q);
	return err == KSM_OK ? move_note(st, id, from, to, why, now, fail) :
			       err;
}

enum ksm_err
store_key_adopt(struct store *st, int64_t pool_row, const struct key_id *id,
    const char *why, ksm_time now, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_KEY_CLAIM];
	struct store_key known;
	char hex[KEY_ID_HEX];
	enum ksm_err err;

	err = store_key_get(st, id, &known, fail);
	if (err == KSM_OK) {
		key_id_format(id, hex);
		return ksm_failf(fail, KSM_EREFUSED, "key %s is on record "
		    "already: it is %s, policy %s", hex,
		    key_state_text(known.state), known.pool.policy);
	}
	if (err == KSM_ENOENT)
		err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_blob(q, ":id", id->bytes, sizeof(id->bytes)) != SQLITE_OK ||
	    bind_int(q, ":pool", pool_row) != SQLITE_OK ||
	    bind_int(q, ":now", now) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "adopt key", fail);
	stmt_done(q);
	return store_key_move(st, id, KEY_INTENDED, KEY_UNKNOWN, why, now,
	    fail);
}

enum ksm_err
store_keys_orphan(struct store *st, ksm_time now, int64_t *n,
    struct ksm_fail *fail)
{
	sqlite3_stmt *count = st->stmt[ST_COUNT_STATE];
	sqlite3_stmt *q = st->stmt[ST_KEYS_ORPHAN];
	enum ksm_err err = KSM_OK;

	*n = 0;
	if (bind_text(count, ":state", key_state_text(KEY_INTENDED)) !=
		SQLITE_OK ||
	    sqlite3_step(count) != SQLITE_ROW)
		err = store_failed(st, "count intended keys", fail);
	else
		*n = sqlite3_column_int64(count, 0);
	stmt_done(count);
	if (err != KSM_OK || *n == 0)
		return err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_int(q, ":now", now) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "orphan intended keys",
		    fail);
	*n = sqlite3_changes(st->db);
	stmt_done(q);
	return KSM_OK;
}

enum ksm_err
store_keys_doubt(struct store *st, int64_t *n, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_KEYS_DOUBT];
	enum ksm_err err;

	*n = 0;
	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "doubt keys", fail);
	*n = sqlite3_changes(st->db);
	stmt_done(q);
	return KSM_OK;
}

/* ---- looking --------------------------------------------------------- */

enum ksm_err
store_key_get(struct store *st, const struct key_id *id, struct store_key *out,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_KEY_GET];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_ERROR;

	if (bind_blob(q, ":id", id->bytes, sizeof(id->bytes)) == SQLITE_OK)
		rc = sqlite3_step(q);
	if (rc == SQLITE_DONE)
		err = ksm_failf(fail, KSM_ENOENT, "no such key");
	else if (rc != SQLITE_ROW)
		err = store_failed(st, "read key", fail);
	else if (!store_key_read(q, out))
		err = store_key_unreadable(st, q, fail);
	stmt_done(q);
	return err;
}

enum ksm_err
store_digest_find(struct store *st, const uint8_t digest[32],
    const struct key_id *but, struct key_id *out, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_DIGEST_FIND];
	enum ksm_err err = KSM_OK;
	struct key_id id;
	int rc = SQLITE_ERROR;

	if (bind_blob(q, ":digest", digest, 32) == SQLITE_OK &&
	    bind_blob(q, ":but", but->bytes, sizeof(but->bytes)) == SQLITE_OK)
		rc = sqlite3_step(q);
	if (rc == SQLITE_DONE)
		err = ksm_failf(fail, KSM_ENOENT, "no such public key");
	else if (rc != SQLITE_ROW)
		err = store_failed(st, "find public key", fail);
	else if (!store_id_read(q, 1, &id))
		err = store_key_unreadable(st, q, fail);
	else
		*out = id;
	stmt_done(q);
	return err;
}

enum ksm_err
store_keys_brief(struct store *st, const char *repository, int64_t *cursor,
    struct store_brief *out, size_t max, size_t *n, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_KEYS_BRIEF];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_ERROR;

	*n = 0;
	if (bind_text(q, ":repository", repository) == SQLITE_OK &&
	    bind_int(q, ":cursor", *cursor) == SQLITE_OK)
		rc = SQLITE_DONE;
	while (rc != SQLITE_ERROR && *n < max &&
	    (rc = sqlite3_step(q)) == SQLITE_ROW) {
		struct store_brief *b = &out[*n];

		memset(b, 0, sizeof(*b));
		if (!store_id_read(q, 1, &b->id) ||
		    !state_read(q, 3, KEY_INTENDED, &b->state) ||
		    !state_read(q, 4, KEY__STATES, &b->was)) {
			err = store_key_unreadable(st, q, fail);
			goto out;
		}
		b->serial = column_int(q, 2, 0);
		b->proved = sqlite3_column_int(q, 5) != 0;
		b->single = sqlite3_column_int(q, 6) != 0;
		b->alg = sqlite3_column_int(q, 7);
		b->claimed = sqlite3_column_int(q, 8) != 0;
		b->destroyer = sqlite3_column_int(q, 9) != 0;
		*cursor = sqlite3_column_int64(q, 0);
		(*n)++;
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = store_failed(st, "list keys", fail);
out:
	stmt_done(q);
	return err;
}

enum ksm_err
store_keys_list(struct store *st, const struct key_filter *f, int64_t *cursor,
    struct store_key *out, size_t max, size_t *n, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[f->by_state ? ST_KEYS_LIST_STATE :
						 ST_KEYS_LIST];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_DONE;

	*n = 0;
	if (bind_int(q, ":cursor", *cursor) != SQLITE_OK ||
	    (f->by_created &&
		bind_int(q, ":after", f->created_after) != SQLITE_OK) ||
	    bind_known(q, ":before", f->created_before, 0) != SQLITE_OK ||
	    bind_known(q, ":alg", f->alg, 0) != SQLITE_OK ||
	    (f->by_tag && bind_int(q, ":tag", f->tag) != SQLITE_OK) ||
	    (f->by_state &&
		bind_text(q, ":state", key_state_text(f->state)) !=
		    SQLITE_OK) ||
	    bind_text(q, ":policy", f->policy) != SQLITE_OK ||
	    bind_text(q, ":repository", f->repository) != SQLITE_OK ||
	    (f->by_role &&
		bind_text(q, ":role", key_role_text(f->role)) != SQLITE_OK)) {
		err = store_failed(st, "list keys", fail);
		goto out;
	}
	while (*n < max && (rc = sqlite3_step(q)) == SQLITE_ROW) {
		struct store_key *k = &out[*n];

		if (!store_key_read(q, k)) {
			err = store_key_unreadable(st, q, fail);
			goto out;
		}
		*cursor = sqlite3_column_int64(q, 0);
		if (f->by_created && !key_state_living(k->state))
			continue;
		(*n)++;
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = store_failed(st, "list keys", fail);
out:
	stmt_done(q);
	return err;
}
