#include "store_backup.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "ksmpool/duration.h"
#include "store_internal.h"

#define LABEL_TRIES 1000 /* 20261125T030000Z, ...-2, ...-1000 */

static const char *const state_text[BACKUP__STATES] = {
	[BACKUP_OPEN] = "open",
	[BACKUP_COMMITTED] = "committed",
	[BACKUP_ROLLED_BACK] = "rolled-back",
};

const char *
backup_state_text(enum backup_state s)
{
	if ((unsigned)s >= BACKUP__STATES)
		return "?";
	return state_text[s];
}

static bool
state_find(const char *text, enum backup_state *out)
{
	for (int i = 0; i < BACKUP__STATES; i++) {
		if (strcmp(text, state_text[i]) == 0) {
			*out = (enum backup_state)i;
			return true;
		}
	}
	return false;
}

/* ---- reading --------------------------------------------------------- */

/* Columns as in BACKUP_COLUMNS of store_sql.c. */
static bool
backup_read(sqlite3_stmt *q, struct store_backup *b)
{
	char state[16];

	memset(b, 0, sizeof(*b));
	b->row = sqlite3_column_int64(q, 0);
	b->recorded = sqlite3_column_int(q, 4) != 0;
	b->started = sqlite3_column_int64(q, 5);
	b->finished = column_int(q, 6, 0);
	b->who.uid = column_int(q, 7, -1);
	b->who.pid = column_int(q, 8, -1);
	b->frozen = sqlite3_column_int64(q, 11);
	b->covered = sqlite3_column_int64(q, 12);
	b->skipped = sqlite3_column_int64(q, 13);
	return column_text(q, 1, b->repository, sizeof(b->repository)) &&
	    column_text(q, 2, b->label, sizeof(b->label)) &&
	    column_text(q, 3, state, sizeof(state)) &&
	    state_find(state, &b->state) &&
	    column_text(q, 9, b->note, sizeof(b->note)) &&
	    column_text(q, 10, b->medium, sizeof(b->medium));
}

static enum ksm_err
unreadable(struct store *st, sqlite3_stmt *q, struct ksm_fail *fail)
{
	return ksm_failf(fail, KSM_ESTORE, "backup row %lld cannot be read "
	    "(%s)", (long long)sqlite3_column_int64(q, 0), st->path);
}

/* One backup of a repository; without words when it is not there. */
static enum ksm_err
backup_find(struct store *st, enum store_stmt which, const char *repository,
    const char *label, struct store_backup *out, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[which];
	struct store_backup b;
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_ERROR;

	if (bind_text(q, ":repository", repository) == SQLITE_OK &&
	    (label == NULL || bind_text(q, ":label", label) == SQLITE_OK))
		rc = sqlite3_step(q);
	if (rc == SQLITE_DONE)
		err = KSM_ENOENT;
	else if (rc != SQLITE_ROW)
		err = store_failed(st, "find backup", fail);
	else if (!backup_read(q, &b))
		err = unreadable(st, q, fail);
	else
		*out = b;
	stmt_done(q);
	return err;
}

enum ksm_err
store_backup_get(struct store *st, const char *repository, const char *label,
    struct store_backup *out, struct ksm_fail *fail)
{
	enum ksm_err err;

	err = backup_find(st, label != NULL ? ST_BACKUP_GET :
					      ST_BACKUP_GET_OPEN,
	    repository, label, out, fail);
	if (err == KSM_ENOENT && label != NULL)
		return ksm_failf(fail, err, "repository %s has no backup %s",
		    repository, label);
	if (err == KSM_ENOENT)
		return ksm_failf(fail, err, "repository %s has no open backup",
		    repository);
	return err;
}

enum ksm_err
store_backup_last(struct store *st, const char *repository,
    struct store_backup *out, struct ksm_fail *fail)
{
	enum ksm_err err;

	err = backup_find(st, ST_BACKUP_LAST, repository, NULL, out, fail);
	if (err == KSM_ENOENT)
		return ksm_failf(fail, err,
		    "repository %s has no committed backup", repository);
	return err;
}

enum ksm_err
store_backup_list(struct store *st, const char *repository, int64_t *cursor,
    struct store_backup *out, size_t max, size_t *n, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_BACKUP_LIST];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_ERROR;

	*n = 0;
	if (bind_int(q, ":cursor", *cursor) == SQLITE_OK &&
	    bind_text(q, ":repository", repository) == SQLITE_OK)
		rc = SQLITE_DONE;
	while (rc != SQLITE_ERROR && *n < max &&
	    (rc = sqlite3_step(q)) == SQLITE_ROW) {
		if (!backup_read(q, &out[*n])) {
			err = unreadable(st, q, fail);
			goto out;
		}
		*cursor = out[*n].row;
		(*n)++;
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = store_failed(st, "list backups", fail);
out:
	stmt_done(q);
	return err;
}

enum ksm_err
store_backup_keys(struct store *st, int64_t backup_row, int64_t *cursor,
    struct backup_key *out, size_t max, size_t *n, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_BACKUP_KEYS];
	enum ksm_err err = KSM_OK;
	char state[16];
	size_t len;
	int rc = SQLITE_ERROR;

	*n = 0;
	if (bind_int(q, ":backup", backup_row) == SQLITE_OK &&
	    bind_int(q, ":cursor", *cursor) == SQLITE_OK)
		rc = SQLITE_DONE;
	while (rc != SQLITE_ERROR && *n < max &&
	    (rc = sqlite3_step(q)) == SQLITE_ROW) {
		struct backup_key *k = &out[*n];

		if (!column_blob(q, 1, k->id.bytes, sizeof(k->id.bytes),
			&len) ||
		    len != sizeof(k->id.bytes) ||
		    !column_text(q, 2, state, sizeof(state)) ||
		    !key_state_find(state, &k->state)) {
			err = store_key_unreadable(st, q, fail);
			goto out;
		}
		k->covered = sqlite3_column_int(q, 3) != 0;
		*cursor = sqlite3_column_int64(q, 0);
		(*n)++;
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = store_failed(st, "list keys of backup", fail);
out:
	stmt_done(q);
	return err;
}

/* ---- what can be said no to ------------------------------------------ */

static enum ksm_err
text_check(const char *what, const char *text, size_t size,
    struct ksm_fail *fail)
{
	size_t len = text != NULL ? strlen(text) : 0;

	if (len >= size)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s of the backup has %zu bytes; expected at most %zu",
		    what, len, size - 1);
	return KSM_OK;
}

/*
 * It is typed again for commit, and history has "REPOSITORY LABEL": no blanks,
 * and nothing that reads as an option.
 */
enum ksm_err
store_backup_label(const char *label, struct ksm_fail *fail)
{
	size_t len = strlen(label);

	if (len == 0 || len >= BACKUP_LABEL)
		return ksm_failf(fail, KSM_EREFUSED, "label of the backup has "
		    "%zu bytes; expected 1 to %d", len, BACKUP_LABEL - 1);
	for (size_t i = 0; i < len; i++) {
		if (label[i] <= ' ' || label[i] > '~' ||
		    (i == 0 && label[i] == '-'))
			return ksm_failf(fail, KSM_EREFUSED, "label of the "
			    "backup: byte %zu is not allowed; expected "
			    "printable ASCII without blanks that does not "
			    "begin with '-'", i + 1);
	}
	return KSM_OK;
}

/* 20261125T030000Z, or the same with -2, -3, ... where there is one. */
static enum ksm_err
label_make(struct store *st, const char *repository, ksm_time when,
    char out[BACKUP_LABEL], struct ksm_fail *fail)
{
	struct store_backup other;
	char text[TIME_TEXT];
	enum ksm_err err;
	size_t len = 0;

	time_format(when, text);
	for (const char *p = text; *p != '\0'; p++)
		if (*p != '-' && *p != ':')
			out[len++] = *p;
	out[len] = '\0';
	for (int i = 2;; i++) {
		err = backup_find(st, ST_BACKUP_GET, repository, out, &other,
		    fail);
		if (err == KSM_ENOENT)
			return KSM_OK;
		if (err != KSM_OK)
			return err;
		if (i > LABEL_TRIES)
			return ksm_failf(fail, KSM_EREFUSED, "repository %s "
			    "has %d backups of %s; give this one a label",
			    repository, LABEL_TRIES, text);
		(void)snprintf(out + len, BACKUP_LABEL - len, "-%d", i);
	}
}

static enum ksm_err
repository_row(struct store *st, const char *name, int64_t *row,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_BACKUP_REPOSITORY];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_ERROR;

	if (bind_text(q, ":repository", name) == SQLITE_OK)
		rc = sqlite3_step(q);
	if (rc == SQLITE_DONE)
		err = ksm_failf(fail, KSM_ENOENT, "no repository %s", name);
	else if (rc != SQLITE_ROW)
		err = store_failed(st, "find repository", fail);
	else
		*row = sqlite3_column_int64(q, 0);
	stmt_done(q);
	return err;
}

/* `refusal` if a backup of the repository is open, in words. */
static enum ksm_err
none_open(struct store *st, const char *repository, enum ksm_err refusal,
    struct ksm_fail *fail)
{
	struct store_backup b;
	char since[TIME_TEXT];
	enum ksm_err err;

	err = backup_find(st, ST_BACKUP_GET_OPEN, repository, NULL, &b, fail);
	if (err == KSM_ENOENT)
		return KSM_OK;
	if (err != KSM_OK)
		return err;
	time_format(b.started, since);
	return ksm_failf(fail, refusal, "backup %s of repository %s is open "
	    "since %s; commit it or roll it back first", b.label, repository,
	    since);
}

static enum ksm_err
must_be_open(const struct store_backup *b, struct ksm_fail *fail)
{
	char when[TIME_TEXT];

	if (b->state == BACKUP_OPEN)
		return KSM_OK;
	time_format(b->finished, when);
	if (b->recorded)
		return ksm_failf(fail, KSM_EREFUSED, "backup %s of repository "
		    "%s was recorded as a whole; there is nothing to commit "
		    "or to roll back", b->label, b->repository);
	return ksm_failf(fail, KSM_EREFUSED, "backup %s of repository %s was "
	    "%s at %s", b->label, b->repository,
	    b->state == BACKUP_COMMITTED ? "committed" : "rolled back", when);
}

/* ---- steps: one statement each, the batch is lost if it fails --------- */

static enum ksm_err
step(struct store *st, enum store_stmt which, bool bound, const char *what,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[which];

	if (!bound || sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, what, fail);
	stmt_done(q);
	return KSM_OK;
}

/* What makes a backup: two statements that choose by the same values. */
struct choice {
	int64_t repository;
	ksm_time started; /* 0: begun now, whatever the dates of the keys */
	int64_t cut;
};

static bool
choice_bind(sqlite3_stmt *q, const struct choice *c)
{
	return bind_int(q, ":repository", c->repository) == SQLITE_OK &&
	    bind_known(q, ":started", c->started, 0) == SQLITE_OK &&
	    bind_int(q, ":cut", c->cut) == SQLITE_OK;
}

static enum ksm_err
backup_add(struct store *st, const struct choice *c, const char *label,
    const char *note, const char *medium, ksm_time now, struct store_actor who,
    int64_t *row, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_BACKUP_ADD];
	enum ksm_err err;

	err = step(st, ST_BACKUP_ADD, choice_bind(q, c) &&
		bind_text(q, ":label", label) == SQLITE_OK &&
		bind_text(q, ":note", note != NULL ? note : "") == SQLITE_OK &&
		bind_text(q, ":medium", medium != NULL ? medium : "") ==
		    SQLITE_OK &&
		bind_known(q, ":uid", who.uid, -1) == SQLITE_OK &&
		bind_known(q, ":pid", who.pid, -1) == SQLITE_OK &&
		bind_int(q, ":now", now) == SQLITE_OK,
	    "begin backup", fail);
	if (err != KSM_OK)
		return err;
	*row = sqlite3_last_insert_rowid(st->db);
	q = st->stmt[ST_BACKUP_FREEZE];
	return step(st, ST_BACKUP_FREEZE, choice_bind(q, c) &&
		bind_int(q, ":backup", *row) == SQLITE_OK,
	    "freeze keys", fail);
}

static enum ksm_err
backup_close(struct store *st, int64_t row, enum backup_state state,
    ksm_time finished, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_BACKUP_CLOSE];
	enum ksm_err err;

	err = step(st, ST_BACKUP_CLOSE,
	    bind_int(q, ":backup", row) == SQLITE_OK &&
		bind_text(q, ":state", backup_state_text(state)) ==
		    SQLITE_OK &&
		bind_known(q, ":finished", finished, 0) == SQLITE_OK,
	    "close backup", fail);
	if (err != KSM_OK || state != BACKUP_COMMITTED)
		return err;
	q = st->stmt[ST_BACKUP_COVER];
	return step(st, ST_BACKUP_COVER,
	    bind_int(q, ":backup", row) == SQLITE_OK, "cover keys", fail);
}

/* As it is now, with its row of history. */
static enum ksm_err
backup_note(struct store *st, const char *repository, const char *label,
    ksm_time now, struct store_actor who, const char *what, const char *why,
    struct store_backup *out, struct ksm_fail *fail)
{
	char subject[256];
	enum ksm_err err;

	(void)snprintf(subject, sizeof(subject), "%s %s", repository, label);
	err = store_history_add(st, now, who, what, subject, why, fail);
	if (err == KSM_OK)
		err = store_backup_get(st, repository, label, out, fail);
	return err;
}

static const char *
plural(int64_t n)
{
	return n == 1 ? "" : "s";
}

/* ", medium M: note", as far as they are there. */
static void
told_format(const struct store_backup *b, char *out, size_t size)
{
	(void)snprintf(out, size, "%s%s%s%s", b->medium[0] != '\0' ?
	    ", medium " : "", b->medium, b->note[0] != '\0' ? ": " : "",
	    b->note);
}

/* ---- in two steps ---------------------------------------------------- */

enum ksm_err
store_backup_begin(struct store *st, const char *repository, const char *label,
    const char *note, const char *medium, ksm_time now, struct store_actor who,
    struct store_backup *out, struct ksm_fail *fail)
{
	struct choice c = { .repository = 0 };
	struct store_backup b;
	char made[BACKUP_LABEL], told[400], why[512];
	enum ksm_err err;

	err = text_check("note", note, sizeof(b.note), fail);
	if (err == KSM_OK)
		err = text_check("medium", medium, sizeof(b.medium), fail);
	if (err == KSM_OK && label != NULL)
		err = store_backup_label(label, fail);
	if (err == KSM_OK)
		err = repository_row(st, repository, &c.repository, fail);
	if (err == KSM_OK)
		err = none_open(st, repository, KSM_EBUSY, fail);
	if (err == KSM_OK && label == NULL) {
		err = label_make(st, repository, now, made, fail);
		label = made;
	} else if (err == KSM_OK) {
		err = backup_find(st, ST_BACKUP_GET, repository, label, &b,
		    fail);
		if (err == KSM_OK)
			err = ksm_failf(fail, KSM_EREFUSED, "repository %s has "
			    "a backup %s already, it is %s; give this one "
			    "another label", repository, label,
			    backup_state_text(b.state));
		else if (err == KSM_ENOENT)
			err = KSM_OK;
	}
	if (err == KSM_OK)
		err = store_begin(st, fail);
	if (err == KSM_OK)
		err = backup_add(st, &c, label, note, medium, now, who, &b.row,
		    fail);
	if (err == KSM_OK)
		err = store_backup_get(st, repository, label, &b, fail);
	if (err != KSM_OK)
		return err;
	told_format(&b, told, sizeof(told));
	(void)snprintf(why, sizeof(why), "%lld key%s frozen%s",
	    (long long)b.frozen, plural(b.frozen), told);
	return backup_note(st, repository, label, now, who, "backup begun",
	    why, out, fail);
}

/* KSM_EREFUSED if one of them is not in the set. */
static enum ksm_err
except_check(struct store *st, const struct store_backup *b,
    const struct key_id *except, size_t n, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_BACKUP_HAS];
	enum ksm_err err = KSM_OK;
	char hex[KEY_ID_HEX];

	for (size_t i = 0; err == KSM_OK && i < n; i++) {
		int rc = SQLITE_ERROR;

		if (bind_int(q, ":backup", b->row) == SQLITE_OK &&
		    bind_blob(q, ":id", except[i].bytes,
			sizeof(except[i].bytes)) == SQLITE_OK)
			rc = sqlite3_step(q);
		key_id_format(&except[i], hex);
		if (rc == SQLITE_DONE)
			err = ksm_failf(fail, KSM_EREFUSED, "key %s is not in "
			    "the set of backup %s of repository %s, and "
			    "cannot be excepted from it", hex, b->label,
			    b->repository);
		else if (rc != SQLITE_ROW)
			err = store_failed(st, "find key of backup", fail);
		stmt_done(q);
	}
	return err;
}

/* The keys that will not be marked: those named, and those that are gone. */
static enum ksm_err
backup_skip(struct store *st, int64_t row, const struct key_id *except,
    size_t n, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_BACKUP_EXCEPT];
	enum ksm_err err = KSM_OK;

	for (size_t i = 0; err == KSM_OK && i < n; i++)
		err = step(st, ST_BACKUP_EXCEPT,
		    bind_int(q, ":backup", row) == SQLITE_OK &&
			bind_blob(q, ":id", except[i].bytes,
			    sizeof(except[i].bytes)) == SQLITE_OK,
		    "except key", fail);
	q = st->stmt[ST_BACKUP_SKIP];
	if (err == KSM_OK)
		err = step(st, ST_BACKUP_SKIP,
		    bind_int(q, ":backup", row) == SQLITE_OK, "skip keys",
		    fail);
	return err;
}

/* "598 of 600 keys, 2 skipped; excepted ID ID and 3 more" */
static void
committed_format(const struct store_backup *b, const struct key_id *except,
    size_t n, char *out, size_t size)
{
	char hex[KEY_ID_HEX];
	size_t len;

	len = (size_t)snprintf(out, size, "%lld of %lld key%s covered",
	    (long long)b->covered, (long long)b->frozen, plural(b->frozen));
	if (b->skipped > 0)
		len += (size_t)snprintf(out + len, size - len,
		    ", %lld skipped", (long long)b->skipped);
	for (size_t i = 0; i < n; i++) {
		/* with room for the end, whatever number it names */
		if (size - len < KEY_ID_HEX + 64) {
			(void)snprintf(out + len, size - len, " and %zu more",
			    n - i);
			return;
		}
		key_id_format(&except[i], hex);
		len += (size_t)snprintf(out + len, size - len, "%s%s",
		    i == 0 ? "; excepted " : " ", hex);
	}
}

enum ksm_err
store_backup_commit(struct store *st, const char *repository,
    const char *label, const struct key_id *except, size_t nexcept,
    ksm_time now, struct store_actor who, struct store_backup *out,
    struct ksm_fail *fail)
{
	struct store_backup b;
	enum ksm_err err;
	char why[512];

	err = store_backup_get(st, repository, label, &b, fail);
	if (err == KSM_OK)
		err = must_be_open(&b, fail);
	if (err == KSM_OK)
		err = except_check(st, &b, except, nexcept, fail);
	if (err == KSM_OK)
		err = store_begin(st, fail);
	if (err == KSM_OK)
		err = backup_skip(st, b.row, except, nexcept, fail);
	if (err == KSM_OK)
		err = backup_close(st, b.row, BACKUP_COMMITTED, now, fail);
	if (err == KSM_OK)
		err = store_backup_get(st, repository, label, &b, fail);
	if (err != KSM_OK)
		return err;
	committed_format(&b, except, nexcept, why, sizeof(why));
	return backup_note(st, repository, b.label, now, who,
	    "backup committed", why, out, fail);
}

enum ksm_err
store_backup_rollback(struct store *st, const char *repository,
    const char *label, ksm_time now, struct store_actor who,
    struct store_backup *out, struct ksm_fail *fail)
{
	struct store_backup b;
	enum ksm_err err;
	char why[64];

	err = store_backup_get(st, repository, label, &b, fail);
	if (err == KSM_OK)
		err = must_be_open(&b, fail);
	if (err == KSM_OK)
		err = store_begin(st, fail);
	if (err == KSM_OK)
		err = backup_close(st, b.row, BACKUP_ROLLED_BACK, now, fail);
	if (err != KSM_OK)
		return err;
	(void)snprintf(why, sizeof(why), "%lld key%s of its set not covered "
	    "by it", (long long)b.frozen, plural(b.frozen));
	return backup_note(st, repository, b.label, now, who,
	    "backup rolled back", why, out, fail);
}

/* ---- in one step ----------------------------------------------------- */

static enum ksm_err
times_check(struct store *st, const char *repository, ksm_time started,
    ksm_time finished, ksm_time now, struct ksm_fail *fail)
{
	char a[TIME_TEXT], b[TIME_TEXT];
	struct store_backup last;
	enum ksm_err err;

	if (started <= 0)
		return ksm_failf(fail, KSM_EREFUSED, "a backup that is "
		    "recorded needs the time at which it started");
	time_format(now, b);
	time_format(started, a);
	if (started > now)
		return ksm_failf(fail, KSM_EREFUSED, "the backup's start, %s, "
		    "lies in the future: it is %s", a, b);
	time_format(finished, a);
	if (finished > now)
		return ksm_failf(fail, KSM_EREFUSED, "the backup's end, %s, "
		    "lies in the future: it is %s", a, b);
	time_format(started, b);
	if (finished != 0 && finished < started)
		return ksm_failf(fail, KSM_EREFUSED, "the backup's end, %s, "
		    "lies before its start, %s", a, b);
	err = backup_find(st, ST_BACKUP_LAST, repository, NULL, &last, fail);
	if (err == KSM_ENOENT)
		return KSM_OK;
	if (err != KSM_OK)
		return err;
	time_format(last.started, a);
	if (started <= last.started)
		return ksm_failf(fail, KSM_EREFUSED, "the backup's start, %s, "
		    "is not after that of backup %s of repository %s, %s", b,
		    last.label, repository, a);
	return KSM_OK;
}

/*
 * The lowest serial of a key made at `started` or later: what has a higher one
 * was made after it, whatever its date says.
 */
static enum ksm_err
serial_cut(struct store *st, ksm_time started, ksm_time now, int64_t *out,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_BACKUP_CUT];
	enum ksm_err err = KSM_OK;

	if (bind_int(q, ":started", started) != SQLITE_OK ||
	    bind_int(q, ":now", now) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW)
		err = store_failed(st, "find keys made since", fail);
	else
		*out = column_int(q, 0, INT64_MAX);
	stmt_done(q);
	return err;
}

enum ksm_err
store_backup_record(struct store *st, const char *repository,
    ksm_time started, ksm_time finished, const char *note, const char *medium,
    ksm_time now, struct store_actor who, struct store_backup *out,
    struct ksm_fail *fail)
{
	struct choice c = { .started = started };
	struct store_backup b;
	char label[BACKUP_LABEL], from[TIME_TEXT], told[400], why[512];
	enum ksm_err err;

	err = text_check("note", note, sizeof(b.note), fail);
	if (err == KSM_OK)
		err = text_check("medium", medium, sizeof(b.medium), fail);
	if (err == KSM_OK)
		err = repository_row(st, repository, &c.repository, fail);
	if (err == KSM_OK)
		err = none_open(st, repository, KSM_EREFUSED, fail);
	if (err == KSM_OK)
		err = times_check(st, repository, started, finished, now,
		    fail);
	if (err == KSM_OK)
		err = label_make(st, repository, started, label, fail);
	if (err == KSM_OK)
		err = serial_cut(st, started, now, &c.cut, fail);
	if (err == KSM_OK)
		err = store_begin(st, fail);
	if (err == KSM_OK)
		err = backup_add(st, &c, label, note, medium, now, who, &b.row,
		    fail);
	if (err == KSM_OK)
		err = backup_close(st, b.row, BACKUP_COMMITTED, finished,
		    fail);
	if (err == KSM_OK)
		err = store_backup_get(st, repository, label, &b, fail);
	if (err != KSM_OK)
		return err;
	time_format(started, from);
	told_format(&b, told, sizeof(told));
	(void)snprintf(why, sizeof(why), "started %s, %lld key%s covered%s",
	    from, (long long)b.covered, plural(b.covered), told);
	return backup_note(st, repository, label, now, who, "backup recorded",
	    why, out, fail);
}

/* ---- what no backup has ---------------------------------------------- */

enum ksm_err
store_uncovered_list(struct store *st, const char *repository,
    int64_t pool_row, ksm_time at, int64_t *cursor, struct store_key *out,
    size_t max, size_t *n, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[at == 0 ? ST_UNCOVERED_LIST :
					     ST_UNCOVERED_LIST_AT];
	enum ksm_err err = KSM_OK;
	int rc = SQLITE_ERROR;

	*n = 0;
	if (bind_int(q, ":cursor", *cursor) == SQLITE_OK &&
	    bind_text(q, ":repository", repository) == SQLITE_OK &&
	    bind_known(q, ":pool", pool_row, 0) == SQLITE_OK &&
	    (at == 0 || bind_int(q, ":at", at) == SQLITE_OK))
		rc = SQLITE_DONE;
	while (rc != SQLITE_ERROR && *n < max &&
	    (rc = sqlite3_step(q)) == SQLITE_ROW) {
		if (!store_key_read(q, &out[*n])) {
			err = store_key_unreadable(st, q, fail);
			goto out;
		}
		*cursor = sqlite3_column_int64(q, 0);
		(*n)++;
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = store_failed(st, "list keys without a backup", fail);
out:
	stmt_done(q);
	return err;
}

enum ksm_err
store_cover_counts(struct store *st, store_cover_fn fn, void *ctx,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_COVER_COUNTS];
	struct pool_spec spec;
	enum key_state state;
	enum ksm_err err = KSM_OK;
	char role[8], text[16];
	int rc;

	while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
		int64_t covered = sqlite3_column_int64(q, 7);

		memset(&spec, 0, sizeof(spec));
		spec.alg = sqlite3_column_int(q, 4);
		spec.bits = sqlite3_column_int(q, 5);
		if (!column_text(q, 1, spec.policy, sizeof(spec.policy)) ||
		    !column_text(q, 2, role, sizeof(role)) ||
		    !key_role_find(role, &spec.role) ||
		    !column_text(q, 3, spec.repository,
			sizeof(spec.repository)) ||
		    !column_text(q, 6, text, sizeof(text)) ||
		    !key_state_find(text, &state)) {
			err = ksm_failf(fail, KSM_ESTORE, "counts of pool row "
			    "%lld cannot be read (%s)",
			    (long long)sqlite3_column_int64(q, 0), st->path);
			goto out;
		}
		fn(ctx, sqlite3_column_int64(q, 0), &spec, state, covered,
		    sqlite3_column_int64(q, 8) - covered);
	}
	if (rc != SQLITE_DONE)
		err = store_failed(st, "count keys with a backup", fail);
out:
	stmt_done(q);
	return err;
}

enum ksm_err
store_uncovered_oldest(struct store *st, const char *repository, ksm_time *out,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_UNCOVERED_OLDEST];
	enum ksm_err err = KSM_OK;

	if (bind_text(q, ":repository", repository) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW)
		err = store_failed(st, "find oldest key without a backup",
		    fail);
	else
		*out = column_int(q, 0, 0);
	stmt_done(q);
	return err;
}
