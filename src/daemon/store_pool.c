#include "store_internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static const char *const trouble_text[] = {
	[TROUBLE_NONE] = "none",
	[TROUBLE_PARKED] = "parked",
	[TROUBLE_ALIEN] = "alien",
};

static bool
trouble_find(const char *text, enum repository_trouble *out)
{
	for (size_t i = 0; i < nitems(trouble_text); i++) {
		if (strcmp(text, trouble_text[i]) == 0) {
			*out = (enum repository_trouble)i;
			return true;
		}
	}
	return false;
}

static enum ksm_err
name_check(const char *what, const char *name, size_t size,
    struct ksm_fail *fail)
{
	size_t len = strlen(name);

	if (len == 0 || len >= size)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s has %zu bytes; expected 1 to %zu", what, len, size - 1);
	return KSM_OK;
}

/* ---- repositories ---------------------------------------------------- */

/* KSM_ENOENT: there is none of that name. */
static enum ksm_err
repository_find(struct store *st, const char *name,
    struct store_repository *out, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_REPOSITORY_GET];
	struct store_repository r = { .row = 0 };
	enum ksm_err err = KSM_OK;
	char trouble[16];
	int rc = SQLITE_ERROR;

	if (bind_text(q, ":name", name) == SQLITE_OK)
		rc = sqlite3_step(q);
	if (rc == SQLITE_DONE) {
		err = KSM_ENOENT;
	} else if (rc != SQLITE_ROW) {
		err = store_failed(st, "find repository", fail);
	} else {
		r.row = sqlite3_column_int64(q, 0);
		r.since = column_int(q, 6, 0);
		if (!column_text(q, 1, r.name, sizeof(r.name)) ||
		    !column_text(q, 2, r.token_label, sizeof(r.token_label)) ||
		    !column_text(q, 3, r.token_serial,
			sizeof(r.token_serial)) ||
		    !column_text(q, 4, trouble, sizeof(trouble)) ||
		    !trouble_find(trouble, &r.trouble) ||
		    !column_text(q, 5, r.reason, sizeof(r.reason)) ||
		    !column_text(q, 7, r.pin_print, sizeof(r.pin_print)))
			err = ksm_failf(fail, KSM_ESTORE, "repository row %lld "
			    "cannot be read (%s)", (long long)r.row, st->path);
	}
	stmt_done(q);
	if (err == KSM_OK)
		*out = r;
	return err;
}

enum ksm_err
store_repository_get(struct store *st, const char *name,
    struct store_repository *out, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_REPOSITORY_ADD];
	enum ksm_err err;

	err = name_check("repository name", name, sizeof(out->name), fail);
	if (err == KSM_OK)
		err = repository_find(st, name, out, fail);
	if (err != KSM_ENOENT)
		return err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_text(q, ":name", name) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "add repository", fail);
	stmt_done(q);
	return repository_find(st, name, out, fail);
}

/* Run `q`, an UPDATE of one row that must be there. */
static enum ksm_err
update_one(struct store *st, sqlite3_stmt *q, bool bound, const char *what,
    struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;

	if (!bound || sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, what, fail);
	if (sqlite3_changes(st->db) != 1)
		err = ksm_failf(fail, KSM_ENOENT, "%s: no such row", what);
	stmt_done(q);
	return err;
}

enum ksm_err
store_repository_token(struct store *st, int64_t row, const char *label,
    const char *serial, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_REPOSITORY_TOKEN];
	struct store_repository *r = NULL;
	enum ksm_err err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	return update_one(st, q,
	    bind_int(q, ":row", row) == SQLITE_OK &&
		bind_cut(q, ":label", label, sizeof(r->token_label)) ==
		    SQLITE_OK &&
		bind_cut(q, ":serial", serial, sizeof(r->token_serial)) ==
		    SQLITE_OK,
	    "record token", fail);
}

enum ksm_err
store_repository_trouble(struct store *st, int64_t row,
    enum repository_trouble trouble, const char *reason, const char *pin_print,
    ksm_time now, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_REPOSITORY_TROUBLE];
	struct store_repository *r = NULL;
	enum ksm_err err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	return update_one(st, q,
	    bind_int(q, ":row", row) == SQLITE_OK &&
		bind_text(q, ":trouble", trouble_text[trouble]) == SQLITE_OK &&
		bind_cut(q, ":reason", reason != NULL ? reason : "",
		    sizeof(r->reason)) == SQLITE_OK &&
		bind_cut(q, ":pin_print", pin_print != NULL ? pin_print : "",
		    sizeof(r->pin_print)) == SQLITE_OK &&
		bind_int(q, ":now", now) == SQLITE_OK,
	    "record trouble", fail);
}

enum ksm_err
store_repository_synced(struct store *st, int64_t row, int64_t serial,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_REPOSITORY_SYNCED];
	enum ksm_err err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	return update_one(st, q,
	    bind_int(q, ":row", row) == SQLITE_OK &&
		bind_int(q, ":serial", serial) == SQLITE_OK,
	    "record sync", fail);
}

/* ---- pools ----------------------------------------------------------- */

static enum ksm_err
pool_find(struct store *st, const struct pool_spec *spec,
    struct store_pool *out, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_POOL_GET];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_ERROR;

	if (bind_text(q, ":repository", spec->repository) == SQLITE_OK &&
	    bind_text(q, ":policy", spec->policy) == SQLITE_OK &&
	    bind_text(q, ":role", key_role_text(spec->role)) == SQLITE_OK &&
	    bind_int(q, ":alg", spec->alg) == SQLITE_OK &&
	    bind_int(q, ":bits", spec->bits) == SQLITE_OK)
		rc = sqlite3_step(q);
	if (rc == SQLITE_ROW) {
		out->row = sqlite3_column_int64(q, 0);
		out->auto_made = sqlite3_column_int64(q, 1);
	} else if (rc == SQLITE_DONE) {
		err = KSM_ENOENT;
	} else {
		err = store_failed(st, "find pool", fail);
	}
	stmt_done(q);
	return err;
}

enum ksm_err
store_pool_get(struct store *st, const struct pool_spec *spec,
    struct store_pool *out, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_POOL_ADD];
	struct store_repository r;
	enum ksm_err err;

	err = pool_find(st, spec, out, fail);
	if (err != KSM_ENOENT)
		return err;
	if ((unsigned)spec->role >= ROLE__COUNT || spec->alg < 1 ||
	    spec->alg > 255 || spec->bits < 1)
		return ksm_failf(fail, KSM_EREFUSED, "pool of policy %s: role "
		    "%d, algorithm %d and %d bits are none of a key",
		    spec->policy, (int)spec->role, spec->alg, spec->bits);

	err = store_repository_get(st, spec->repository, &r, fail);
	if (err == KSM_OK)
		err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_text(q, ":policy", spec->policy) != SQLITE_OK ||
	    bind_text(q, ":role", key_role_text(spec->role)) != SQLITE_OK ||
	    bind_int(q, ":repository", r.row) != SQLITE_OK ||
	    bind_int(q, ":alg", spec->alg) != SQLITE_OK ||
	    bind_int(q, ":bits", spec->bits) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "add pool", fail);
	out->row = sqlite3_last_insert_rowid(st->db);
	out->auto_made = 0;
	stmt_done(q);
	return KSM_OK;
}

enum ksm_err
store_pool_auto(struct store *st, int64_t row, int64_t auto_made,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_POOL_AUTO];
	enum ksm_err err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	return update_one(st, q,
	    bind_int(q, ":row", row) == SQLITE_OK &&
		bind_int(q, ":n", auto_made) == SQLITE_OK,
	    "count keys of pool", fail);
}

static enum ksm_err
name_known(struct store *st, sqlite3_stmt *q, const char *name, bool *known,
    struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;

	if (bind_text(q, ":name", name) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW)
		err = store_failed(st, "look for a name", fail);
	else
		*known = sqlite3_column_int(q, 0) != 0;
	stmt_done(q);
	return err;
}

enum ksm_err
store_policy_known(struct store *st, const char *name, bool *known,
    struct ksm_fail *fail)
{
	return name_known(st, st->stmt[ST_POLICY_KNOWN], name, known, fail);
}

enum ksm_err
store_repository_known(struct store *st, const char *name, bool *known,
    struct ksm_fail *fail)
{
	return name_known(st, st->stmt[ST_REPOSITORY_KNOWN], name, known, fail);
}

enum ksm_err
store_counts(struct store *st, store_count_fn fn, void *ctx,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_COUNTS];
	enum ksm_err err = KSM_OK;
	struct pool_spec spec;
	enum key_state state;
	char role[8], text[16];
	int rc;

	while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
		if (!column_text(q, 1, spec.policy, sizeof(spec.policy)) ||
		    !column_text(q, 2, role, sizeof(role)) ||
		    !key_role_find(role, &spec.role) ||
		    !column_text(q, 3, spec.repository,
			sizeof(spec.repository)) ||
		    !column_text(q, 6, text, sizeof(text)) ||
		    !key_state_find(text, &state)) {
			err = ksm_failf(fail, KSM_ESTORE, "pool row %lld "
			    "cannot be read (%s)",
			    (long long)sqlite3_column_int64(q, 0), st->path);
			goto out;
		}
		spec.alg = sqlite3_column_int(q, 4);
		spec.bits = sqlite3_column_int(q, 5);
		fn(ctx, sqlite3_column_int64(q, 0), &spec, state,
		    sqlite3_column_int64(q, 7));
	}
	if (rc != SQLITE_DONE)
		err = store_failed(st, "count keys", fail);
out:
	stmt_done(q);
	return err;
}

/* ---- ready <-> surplus ----------------------------------------------- */

static bool
is_wanted(int64_t row, const int64_t *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (rows[i] == row)
			return true;
	}
	return false;
}

/*
 * The next pool above *row that holds keys on the wrong side. The counts are
 * read anew after each shift, which changes them.
 */
static enum ksm_err
misplaced_find(struct store *st, const int64_t *wanted, size_t n, int64_t *row,
    enum key_state *state, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_COUNTS_UNUSED];
	enum ksm_err err = KSM_ENOENT;
	int rc;

	while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(q, 1);
		int64_t pool = sqlite3_column_int64(q, 0);

		if (text == NULL || !key_state_find(text, state))
			continue;
		if (is_wanted(pool, wanted, n) == (*state == KEY_SURPLUS)) {
			*row = pool;
			err = KSM_OK;
			break;
		}
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = store_failed(st, "find surplus keys", fail);
	stmt_done(q);
	return err;
}

/* One row for a pool: ten thousand keys that change sides are one event. */
static enum ksm_err
shift_note(struct store *st, int64_t pool, enum key_state to, int64_t n,
    ksm_time now, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_POOL_NAMES];
	char policy[256], why[512];

	if (bind_int(q, ":row", pool) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW ||
	    !column_text(q, 0, policy, sizeof(policy)))
		return store_change_failed(st, q, "name pool", fail);
	(void)snprintf(why, sizeof(why), "%lld %s of repository %s, %s: %s",
	    (long long)n, n == 1 ? "key" : "keys",
	    (const char *)sqlite3_column_text(q, 2),
	    (const char *)sqlite3_column_text(q, 1),
	    to == KEY_SURPLUS ? "no policy asks for the pool" :
				"a policy asks for the pool again");
	stmt_done(q);
	return store_history_note(st, now,
	    to == KEY_SURPLUS ? "keys surplus" : "keys ready", policy, why,
	    fail);
}

enum ksm_err
store_pools_wanted(struct store *st, const int64_t *wanted_rows, size_t n,
    ksm_time now, int64_t *out_surplus, int64_t *out_ready,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_KEYS_SHIFT];
	enum key_state from = KEY_READY, to;
	int64_t row = 0, moved;
	enum ksm_err err;

	*out_surplus = *out_ready = 0;
	while ((err = misplaced_find(st, wanted_rows, n, &row, &from,
		    fail)) == KSM_OK) {
		err = store_begin(st, fail);
		if (err != KSM_OK)
			return err;
		to = from == KEY_READY ? KEY_SURPLUS : KEY_READY;
		if (bind_text(q, ":from", key_state_text(from)) != SQLITE_OK ||
		    bind_text(q, ":to", key_state_text(to)) != SQLITE_OK ||
		    bind_text(q, ":why", to == KEY_SURPLUS ?
			"no policy asks for its pool" :
			"a policy asks for its pool again") != SQLITE_OK ||
		    bind_int(q, ":pool", row) != SQLITE_OK ||
		    bind_int(q, ":now", now) != SQLITE_OK ||
		    sqlite3_step(q) != SQLITE_DONE)
			return store_change_failed(st, q, "move surplus keys",
			    fail);
		if (sqlite3_changes(st->db) == 0) {
			/* The kept count says otherwise: never loop on it. */
			stmt_done(q);
			return ksm_failf(fail, KSM_ESTORE, "counts of pool row "
			    "%lld disagree with its keys; restart ksmpoold to "
			    "count anew (%s)", (long long)row, st->path);
		}
		moved = sqlite3_changes(st->db);
		*(to == KEY_SURPLUS ? out_surplus : out_ready) += moved;
		stmt_done(q);
		err = shift_note(st, row, to, moved, now, fail);
		if (err != KSM_OK)
			return err;
	}
	return err == KSM_ENOENT ? KSM_OK : err;
}
