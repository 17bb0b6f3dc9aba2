#include "store_handout.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "store_internal.h"

/* Columns as in HANDOUT_COLUMNS of store_sql.c. */
static bool
handout_read(sqlite3_stmt *q, struct handout *h)
{
	char role[8];

	memset(h, 0, sizeof(*h));
	h->number = sqlite3_column_int64(q, 0);
	h->pool.alg = sqlite3_column_int(q, 6);
	h->pool.bits = sqlite3_column_int(q, 7);
	h->drawn = sqlite3_column_int(q, 9) != 0;
	h->when = sqlite3_column_int64(q, 12);
	h->who.uid = column_int(q, 13, -1);
	h->who.pid = column_int(q, 14, -1);
	h->uncovered = sqlite3_column_int(q, 15) != 0;
	h->outside = sqlite3_column_int(q, 16) != 0;
	h->serial = sqlite3_column_int64(q, 17);
	h->mark = sqlite3_column_int64(q, 18);
	return store_id_read(q, 1, &h->id) &&
	    column_text(q, 2, h->zone, sizeof(h->zone)) &&
	    column_text(q, 3, h->pool.policy, sizeof(h->pool.policy)) &&
	    column_text(q, 4, role, sizeof(role)) &&
	    key_role_find(role, &h->pool.role) &&
	    column_text(q, 5, h->pool.repository,
		sizeof(h->pool.repository)) &&
	    column_text(q, 8, h->share, sizeof(h->share)) &&
	    column_text(q, 10, h->request, sizeof(h->request)) &&
	    column_text(q, 11, h->consumer, sizeof(h->consumer));
}

static enum ksm_err
unreadable(struct store *st, sqlite3_stmt *q, struct ksm_fail *fail)
{
	return ksm_failf(fail, KSM_ESTORE, "hand-out %lld cannot be read (%s)",
	    (long long)sqlite3_column_int64(q, 0), st->path);
}

static int
id_bind(sqlite3_stmt *q, const struct key_id *id)
{
	return bind_blob(q, ":id", id->bytes, sizeof(id->bytes));
}

/* ---- writing --------------------------------------------------------- */

enum ksm_err
store_handout_add(struct store *st, const struct handout *h,
    const struct handout_line *line, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HANDOUT_ADD];
	enum ksm_err err;
	int rc;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_int(q, ":number", h->number) != SQLITE_OK ||
	    id_bind(q, &h->id) != SQLITE_OK ||
	    bind_text(q, ":zone", h->zone) != SQLITE_OK ||
	    bind_text(q, ":repository", h->pool.repository) != SQLITE_OK ||
	    bind_text(q, ":policy", h->pool.policy) != SQLITE_OK ||
	    bind_text(q, ":role", key_role_text(h->pool.role)) != SQLITE_OK ||
	    bind_int(q, ":alg", h->pool.alg) != SQLITE_OK ||
	    bind_int(q, ":bits", h->pool.bits) != SQLITE_OK ||
	    bind_text(q, ":share", h->share) != SQLITE_OK ||
	    bind_int(q, ":drawn", h->drawn) != SQLITE_OK ||
	    bind_text(q, ":request", h->request[0] == '\0' ? NULL
							   : h->request) !=
		SQLITE_OK ||
	    bind_text(q, ":consumer", h->consumer) != SQLITE_OK ||
	    bind_int(q, ":when", h->when) != SQLITE_OK ||
	    bind_known(q, ":uid", h->who.uid, -1) != SQLITE_OK ||
	    bind_known(q, ":pid", h->who.pid, -1) != SQLITE_OK ||
	    bind_int(q, ":uncovered", h->uncovered) != SQLITE_OK ||
	    bind_int(q, ":outside", h->outside) != SQLITE_OK ||
	    bind_int(q, ":serial", h->serial) != SQLITE_OK ||
	    bind_int(q, ":mark", h->mark) != SQLITE_OK ||
	    bind_text(q, ":line", line->text) != SQLITE_OK ||
	    bind_blob(q, ":hash", line->hash, DIGEST_LEN) != SQLITE_OK)
		return store_change_failed(st, q, "record hand-out", fail);
	rc = sqlite3_step(q);
	if ((rc & 0xff) == SQLITE_CONSTRAINT) {
		/* That row and no more was undone: the batch goes on. */
		(void)ksm_failf(fail, KSM_EREFUSED,
		    "hand-out %lld is refused by the database: %s",
		    (long long)h->number, sqlite3_errmsg(st->db));
		stmt_done(q);
		return KSM_EREFUSED;
	}
	if (rc != SQLITE_DONE)
		return store_change_failed(st, q, "record hand-out", fail);
	stmt_done(q);
	return KSM_OK;
}

/* ---- looking --------------------------------------------------------- */

enum ksm_err
store_handout_head(struct store *st, int64_t *number,
    uint8_t hash[DIGEST_LEN], struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HANDOUT_HEAD];
	enum ksm_err err = KSM_OK;
	size_t len;

	if (sqlite3_step(q) != SQLITE_ROW ||
	    !column_blob(q, 1, hash, DIGEST_LEN, &len) || len != DIGEST_LEN)
		err = store_failed(st, "read the head of the hand-outs", fail);
	else
		*number = sqlite3_column_int64(q, 0);
	stmt_done(q);
	return err;
}

enum ksm_err
store_handout_text(struct store *st, int64_t number, char *out,
    uint8_t hash[DIGEST_LEN], struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HANDOUT_TEXT];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_ERROR;
	size_t len;

	if (bind_int(q, ":number", number) == SQLITE_OK)
		rc = sqlite3_step(q);
	if (rc == SQLITE_DONE)
		err = ksm_failf(fail, KSM_ENOENT, "there is no hand-out %lld",
		    (long long)number);
	else if (rc != SQLITE_ROW || !column_text(q, 0, out, HANDOUT_LINE) ||
	    !column_blob(q, 1, hash, DIGEST_LEN, &len) || len != DIGEST_LEN)
		err = store_failed(st, "read a hand-out", fail);
	stmt_done(q);
	return err;
}

enum ksm_err
store_handout_list(struct store *st, const struct handout_filter *f,
    int64_t *cursor, struct handout *out, size_t max, size_t *n,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[f->request != NULL ? ST_HANDOUT_LIST_REQUEST
		: f->zone != NULL		      ? ST_HANDOUT_LIST_ZONE
		: f->id != NULL			      ? ST_HANDOUT_LIST_KEY
						      : ST_HANDOUT_LIST];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_DONE;

	*n = 0;
	if (bind_int(q, ":cursor", *cursor) != SQLITE_OK ||
	    bind_text(q, ":policy", f->policy) != SQLITE_OK ||
	    (f->request != NULL &&
		bind_text(q, ":request", f->request) != SQLITE_OK) ||
	    (f->zone != NULL && bind_text(q, ":zone", f->zone) != SQLITE_OK) ||
	    (f->id != NULL && id_bind(q, f->id) != SQLITE_OK)) {
		err = store_failed(st, "list hand-outs", fail);
		goto out;
	}
	while (*n < max && (rc = sqlite3_step(q)) == SQLITE_ROW) {
		if (!handout_read(q, &out[*n])) {
			err = unreadable(st, q, fail);
			goto out;
		}
		*cursor = out[*n].number;
		(*n)++;
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = store_failed(st, "list hand-outs", fail);
out:
	stmt_done(q);
	return err;
}

enum ksm_err
store_handout_current(struct store *st, const struct pool_spec *pool,
    const char *share, struct handout *out, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HANDOUT_CURRENT];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_ERROR;

	if (bind_text(q, ":policy", pool->policy) == SQLITE_OK &&
	    bind_text(q, ":repository", pool->repository) == SQLITE_OK &&
	    bind_text(q, ":role", key_role_text(pool->role)) == SQLITE_OK &&
	    bind_int(q, ":alg", pool->alg) == SQLITE_OK &&
	    bind_int(q, ":bits", pool->bits) == SQLITE_OK &&
	    bind_text(q, ":share", share) == SQLITE_OK)
		rc = sqlite3_step(q);
	if (rc == SQLITE_DONE)
		err = KSM_ENOENT;
	else if (rc != SQLITE_ROW)
		err = store_failed(st, "find the key of a group", fail);
	else if (!handout_read(q, out))
		err = unreadable(st, q, fail);
	stmt_done(q);
	return err;
}

/* One number, of a statement whose parameters are bound. */
static enum ksm_err
number_read(struct store *st, sqlite3_stmt *q, bool bound, int64_t *out,
    const char *what, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;

	if (!bound || sqlite3_step(q) != SQLITE_ROW)
		err = store_failed(st, what, fail);
	else
		*out = sqlite3_column_int64(q, 0);
	stmt_done(q);
	return err;
}

enum ksm_err
store_handout_has(struct store *st, const struct key_id *id, const char *zone,
    bool *has, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HANDOUT_HAS];
	int64_t n = 0;
	enum ksm_err err;

	err = number_read(st, q,
	    id_bind(q, id) == SQLITE_OK &&
		bind_text(q, ":zone", zone) == SQLITE_OK,
	    &n, "look for a hand-out", fail);
	*has = n != 0;
	return err;
}

enum ksm_err
store_handout_drawn(struct store *st, const struct key_id *id, bool *drawn,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HANDOUT_DRAWN];
	int64_t n = 0;
	enum ksm_err err;

	err = number_read(st, q, id_bind(q, id) == SQLITE_OK, &n,
	    "look for a hand-out", fail);
	*drawn = n != 0;
	return err;
}

enum ksm_err
store_handout_zones(struct store *st, const struct key_id *id, int64_t *n,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HANDOUT_ZONES];

	return number_read(st, q, id_bind(q, id) == SQLITE_OK, n,
	    "count the zones of a key", fail);
}

enum ksm_err
store_handout_outside(struct store *st, const struct key_id *id, bool *outside,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HANDOUT_OUTSIDE];
	int64_t n = 0;
	enum ksm_err err;

	err = number_read(st, q, id_bind(q, id) == SQLITE_OK, &n,
	    "look for who uses a key", fail);
	*outside = n != 0;
	return err;
}

enum ksm_err
store_tag_clash(struct store *st, const struct store_key *key,
    const char *zone, const char *share, struct key_id *out,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_TAG_CLASH];
	bool zsk = key->pool.role == ROLE_ZSK;
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_ERROR;

	if (id_bind(q, &key->id) == SQLITE_OK &&
	    bind_text(q, ":zone", zone) == SQLITE_OK &&
	    bind_text(q, ":policy", key->pool.policy) == SQLITE_OK &&
	    bind_text(q, ":share", share) == SQLITE_OK &&
	    bind_int(q, ":tag", zsk ? key->tag_zsk : key->tag_ksk) ==
		SQLITE_OK &&
	    bind_int(q, ":revoked", zsk ? key->tag_zsk : key->tag_revoked) ==
		SQLITE_OK)
		rc = sqlite3_step(q);
	if (rc == SQLITE_DONE)
		err = KSM_ENOENT;
	else if (rc != SQLITE_ROW || !store_id_read(q, 1, out))
		err = store_failed(st, "compare key tags", fail);
	stmt_done(q);
	return err;
}

enum ksm_err
store_home_tags(struct store *st, const char *policy, const char *zone,
    const char *share, store_tags_fn *fn, void *ctx, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HOME_TAGS];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_ERROR;

	if (bind_text(q, ":zone", zone) == SQLITE_OK &&
	    bind_text(q, ":policy", policy) == SQLITE_OK &&
	    bind_text(q, ":share", share) == SQLITE_OK)
		while ((rc = sqlite3_step(q)) == SQLITE_ROW)
			if (sqlite3_column_type(q, 0) != SQLITE_NULL)
				fn(ctx, sqlite3_column_int(q, 0),
				    sqlite3_column_int(q, 1));
	if (rc != SQLITE_DONE)
		err = store_failed(st, "read key tags", fail);
	stmt_done(q);
	return err;
}

enum ksm_err
store_candidates(struct store *st, const struct candidate_want *want,
    int64_t *cursor, struct store_key *out, size_t max, size_t *n,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_CANDIDATES];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_DONE;

	*n = 0;
	if (bind_int(q, ":pool", want->pool_row) != SQLITE_OK ||
	    bind_int(q, ":cursor", *cursor) != SQLITE_OK ||
	    bind_int(q, ":covered", want->covered) != SQLITE_OK ||
	    bind_known(q, ":after", want->not_before, 0) != SQLITE_OK) {
		err = store_failed(st, "list keys to take", fail);
		goto out;
	}
	while (*n < max && (rc = sqlite3_step(q)) == SQLITE_ROW) {
		if (!store_key_read(q, &out[*n])) {
			err = store_key_unreadable(st, q, fail);
			goto out;
		}
		*cursor = out[*n].serial;
		(*n)++;
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = store_failed(st, "list keys to take", fail);
out:
	stmt_done(q);
	return err;
}

enum ksm_err
store_handed_out(struct store *st, int64_t *cursor, struct handed_out *out,
    size_t max, size_t *n, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HANDED_OUT];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_DONE;
	char state[16];

	*n = 0;
	if (bind_int(q, ":cursor", *cursor) != SQLITE_OK) {
		err = store_failed(st, "list keys handed out", fail);
		goto out;
	}
	while (*n < max && (rc = sqlite3_step(q)) == SQLITE_ROW) {
		if (!store_id_read(q, 1, &out[*n].id) ||
		    !column_text(q, 2, state, sizeof(state)) ||
		    !key_state_find(state, &out[*n].state)) {
			err = store_key_unreadable(st, q, fail);
			goto out;
		}
		*cursor = sqlite3_column_int64(q, 0);
		(*n)++;
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = store_failed(st, "list keys handed out", fail);
out:
	stmt_done(q);
	return err;
}

enum ksm_err
store_key_covered(struct store *st, const struct key_id *id, bool *covered,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_KEY_COVERED];
	int64_t n = 0;
	enum ksm_err err;

	err = number_read(st, q, id_bind(q, id) == SQLITE_OK, &n,
	    "look for the backup of a key", fail);
	*covered = n != 0;
	return err;
}

/* ---- the lock -------------------------------------------------------- */

enum ksm_err
store_handout_locked(struct store *st, char out[LOCK_TEXT],
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HANDOUT_LOCKED];
	enum ksm_err err = KSM_OK;

	if (sqlite3_step(q) != SQLITE_ROW ||
	    !column_text(q, 0, out, LOCK_TEXT))
		err = store_failed(st, "read the lock of the hand-outs", fail);
	stmt_done(q);
	return err;
}

enum ksm_err
store_handout_lock(struct store *st, const char *reason,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HANDOUT_LOCK];
	enum ksm_err err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_cut(q, ":reason", reason, LOCK_TEXT) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "lock the hand-outs", fail);
	stmt_done(q);
	return KSM_OK;
}

enum ksm_err
store_serial_raise(struct store *st, int64_t serial, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_SERIAL_RAISE];
	enum ksm_err err;
	int64_t last;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_int(q, ":serial", serial) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW)
		return store_change_failed(st, q, "raise serials", fail);
	last = sqlite3_column_int64(q, 0);
	if (sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "raise serials", fail);
	stmt_done(q);
	st->serial = last;
	return KSM_OK;
}

enum ksm_err
store_orphans_accepted(struct store *st, int64_t repository, int64_t *n,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_ORPHANS_ACCEPTED];

	return number_read(st, q, bind_int(q, ":row", repository) == SQLITE_OK,
	    n, "read the accepted pairs", fail);
}

enum ksm_err
store_orphans_accept(struct store *st, int64_t repository, int64_t n,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_ORPHANS_ACCEPT];
	enum ksm_err err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_int(q, ":row", repository) != SQLITE_OK ||
	    bind_int(q, ":n", n) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "accept pairs", fail);
	stmt_done(q);
	return KSM_OK;
}
