#include "store_internal.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

/* ---- time ------------------------------------------------------------ */

enum ksm_err
store_newest(struct store *st, ksm_time *out, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_NEWEST];
	enum ksm_err err = KSM_OK;

	if (sqlite3_step(q) != SQLITE_ROW)
		err = store_failed(st, "read newest record", fail);
	else
		*out = sqlite3_column_int64(q, 0);
	stmt_done(q);
	return err;
}

enum ksm_err
store_newest_accept(struct store *st, ksm_time now, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_NEWEST_ACCEPT];
	enum ksm_err err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_int(q, ":now", now) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "accept the clock", fail);
	stmt_done(q);
	return KSM_OK;
}

/* ---- pause ----------------------------------------------------------- */

enum ksm_err
store_pause_get(struct store *st, struct store_pause *out,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_PAUSE_GET];
	enum ksm_err err = KSM_OK;
	struct store_pause p;

	memset(&p, 0, sizeof(p));
	if (sqlite3_step(q) != SQLITE_ROW) {
		err = store_failed(st, "read pause", fail);
	} else {
		p.since = sqlite3_column_int64(q, 0);
		p.until = sqlite3_column_int64(q, 1);
		p.who.uid = column_int(q, 2, -1);
		p.who.pid = column_int(q, 3, -1);
		if (!column_text(q, 4, p.reason, sizeof(p.reason)))
			err = ksm_failf(fail, KSM_ESTORE,
			    "the reason of the pause cannot be read (%s)",
			    st->path);
	}
	stmt_done(q);
	if (err == KSM_OK)
		*out = p;
	return err;
}

enum ksm_err
store_pause_put(struct store *st, const struct store_pause *p,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_PAUSE_PUT];
	enum ksm_err err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_int(q, ":since", p->since) != SQLITE_OK ||
	    bind_int(q, ":until", p->until) != SQLITE_OK ||
	    bind_known(q, ":uid", p->who.uid, -1) != SQLITE_OK ||
	    bind_known(q, ":pid", p->who.pid, -1) != SQLITE_OK ||
	    bind_cut(q, ":reason", p->reason, sizeof(p->reason)) !=
		SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "record pause", fail);
	stmt_done(q);
	return KSM_OK;
}

/* ---- rates ----------------------------------------------------------- */

enum ksm_err
store_rate_get(struct store *st, const char *repository, int alg, int bits,
    ksm_msec *per_key, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_RATE_GET];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_ERROR;
	ksm_msec ms;

	if (bind_text(q, ":repository", repository) == SQLITE_OK &&
	    bind_int(q, ":alg", alg) == SQLITE_OK &&
	    bind_int(q, ":bits", bits) == SQLITE_OK)
		rc = sqlite3_step(q);
	if (rc == SQLITE_ROW) {
		ms = (sqlite3_column_int64(q, 0) + 500) / 1000;
		*per_key = ms > 0 ? ms : 1; /* 0 would read as "never" */
	} else if (rc == SQLITE_DONE) {
		err = ksm_failf(fail, KSM_ENOENT, "nothing was measured yet");
	} else {
		err = store_failed(st, "read rate", fail);
	}
	stmt_done(q);
	return err;
}

enum ksm_err
store_rate_add(struct store *st, const char *repository, int alg, int bits,
    ksm_msec took, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_RATE_ADD];
	enum ksm_err err;

	if (took < 0 || took > INT64_MAX / 1000)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%lld ms is no time for a key", (long long)took);
	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_text(q, ":repository", repository) != SQLITE_OK ||
	    bind_int(q, ":alg", alg) != SQLITE_OK ||
	    bind_int(q, ":bits", bits) != SQLITE_OK ||
	    bind_int(q, ":us", took * 1000) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "record rate", fail);
	if (sqlite3_changes(st->db) != 1)
		err = ksm_failf(fail, KSM_ENOENT, "no repository %s",
		    repository);
	stmt_done(q);
	return err;
}

/* ---- across boots ---------------------------------------------------- */

enum ksm_err
store_boot(struct store *st, const char *boot_id, bool *changed,
    struct ksm_fail *fail)
{
	sqlite3_stmt *get = st->stmt[ST_BOOT_GET];
	sqlite3_stmt *put = st->stmt[ST_BOOT_PUT];
	enum ksm_err err = KSM_OK;
	const char *last;

	*changed = false;
	if (sqlite3_step(get) != SQLITE_ROW) {
		err = store_failed(st, "read boot", fail);
	} else {
		last = (const char *)sqlite3_column_text(get, 0);
		*changed = last != NULL && strcmp(last, boot_id) != 0;
	}
	stmt_done(get);
	if (err == KSM_OK)
		err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (bind_text(put, ":boot_id", boot_id) != SQLITE_OK ||
	    sqlite3_step(put) != SQLITE_DONE)
		return store_change_failed(st, put, "record boot", fail);
	stmt_done(put);
	return KSM_OK;
}

/* ---- zone list ------------------------------------------------------- */

enum ksm_err
store_zones_put(struct store *st, const struct zone_count *z, size_t n,
    ksm_time now, struct ksm_fail *fail)
{
	sqlite3_stmt *clear = st->stmt[ST_ZONES_CLEAR];
	sqlite3_stmt *add = st->stmt[ST_ZONES_ADD];
	sqlite3_stmt *when = st->stmt[ST_ZONES_WHEN];
	enum ksm_err err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (sqlite3_step(clear) != SQLITE_DONE)
		return store_change_failed(st, clear, "record zones", fail);
	stmt_done(clear);
	for (size_t i = 0; i < n; i++) {
		if (bind_text(add, ":policy", z[i].policy) != SQLITE_OK ||
		    bind_int(add, ":zones", z[i].zones) != SQLITE_OK ||
		    bind_int(add, ":owners", z[i].owners) != SQLITE_OK ||
		    sqlite3_step(add) != SQLITE_DONE)
			return store_change_failed(st, add, "record zones",
			    fail);
		stmt_done(add);
	}
	if (bind_int(when, ":now", now) != SQLITE_OK ||
	    sqlite3_step(when) != SQLITE_DONE)
		return store_change_failed(st, when, "record zones", fail);
	stmt_done(when);
	return KSM_OK;
}

enum ksm_err
store_zones_get(struct store *st, struct zone_count **z, size_t *n,
    ksm_time *when, struct ksm_fail *fail)
{
	sqlite3_stmt *get = st->stmt[ST_ZONES_GET];
	sqlite3_stmt *get_when = st->stmt[ST_ZONES_WHEN_GET];
	struct zone_count *all = NULL, *more;
	size_t have = 0, room = 0;
	enum ksm_err err = KSM_OK;
	int rc;

	if (sqlite3_step(get_when) != SQLITE_ROW) {
		err = store_failed(st, "read zones", fail);
		goto out;
	}
	while ((rc = sqlite3_step(get)) == SQLITE_ROW) {
		if (have == room) {
			room = room == 0 ? 16 : 2 * room;
			more = reallocarray(all, room, sizeof(*all));
			if (more == NULL) {
				err = ksm_failf(fail, KSM_ENOMEM,
				    "read zones: no memory");
				goto out;
			}
			all = more;
		}
		if (!column_text(get, 0, all[have].policy,
			sizeof(all[have].policy))) {
			err = ksm_failf(fail, KSM_ESTORE,
			    "zone counts cannot be read (%s)", st->path);
			goto out;
		}
		all[have].zones = sqlite3_column_int64(get, 1);
		all[have++].owners = sqlite3_column_int64(get, 2);
	}
	if (rc != SQLITE_DONE) {
		err = store_failed(st, "read zones", fail);
		goto out;
	}
	*when = column_int(get_when, 0, 0);
	*n = have;
	*z = all;
	all = NULL;
out:
	free(all);
	stmt_done(get);
	stmt_done(get_when);
	return err;
}

/* ---- runs ------------------------------------------------------------ */

static const char *const cause_text[] = {
	[RUN_AUTO] = "auto",
	[RUN_TOPUP] = "topup",
	[RUN_ONCE] = "once",
};

static bool
run_bind(sqlite3_stmt *q, const struct store_run *run)
{
	return bind_int(q, ":wanted", run->wanted) == SQLITE_OK &&
	    bind_int(q, ":made", run->made) == SQLITE_OK &&
	    bind_int(q, ":failed", run->failed) == SQLITE_OK &&
	    bind_int(q, ":held", run->held) == SQLITE_OK;
}

enum ksm_err
store_run_start(struct store *st, struct store_run *run, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_RUN_START];
	enum ksm_err err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (!run_bind(q, run) ||
	    bind_text(q, ":cause", cause_text[run->cause]) != SQLITE_OK ||
	    bind_known(q, ":uid", run->uid, -1) != SQLITE_OK ||
	    bind_known(q, ":pid", run->pid, -1) != SQLITE_OK ||
	    bind_known(q, ":most", run->max, -1) != SQLITE_OK ||
	    bind_int(q, ":started", run->started) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "record run", fail);
	run->row = sqlite3_last_insert_rowid(st->db);
	stmt_done(q);
	return KSM_OK;
}

enum ksm_err
store_run_end(struct store *st, const struct store_run *run,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_RUN_END];
	enum ksm_err err;

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	if (!run_bind(q, run) || bind_int(q, ":row", run->row) != SQLITE_OK ||
	    bind_int(q, ":ended", run->ended) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "record end of run", fail);
	if (sqlite3_changes(st->db) != 1)
		err = ksm_failf(fail, KSM_ENOENT, "no such run is open");
	stmt_done(q);
	return err;
}

enum ksm_err
store_run_last(struct store *st, struct store_run *out, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_RUN_LAST];
	enum ksm_err err = KSM_OK;
	const char *cause;
	int rc;

	rc = sqlite3_step(q);
	if (rc == SQLITE_DONE) {
		err = ksm_failf(fail, KSM_ENOENT, "no run has finished yet");
		goto out;
	}
	if (rc != SQLITE_ROW) {
		err = store_failed(st, "read last run", fail);
		goto out;
	}
	memset(out, 0, sizeof(*out));
	cause = (const char *)sqlite3_column_text(q, 1);
	for (size_t i = 0; cause != NULL && i < nitems(cause_text); i++) {
		if (strcmp(cause, cause_text[i]) == 0)
			out->cause = (enum run_cause)i;
	}
	out->row = sqlite3_column_int64(q, 0);
	out->uid = column_int(q, 2, -1);
	out->pid = column_int(q, 3, -1);
	out->max = column_int(q, 4, -1);
	out->started = sqlite3_column_int64(q, 5);
	out->ended = sqlite3_column_int64(q, 6);
	out->wanted = sqlite3_column_int64(q, 7);
	out->made = sqlite3_column_int64(q, 8);
	out->failed = sqlite3_column_int64(q, 9);
	out->held = sqlite3_column_int64(q, 10);
out:
	stmt_done(q);
	return err;
}
