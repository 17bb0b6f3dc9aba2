#include "store_internal.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- the chain ------------------------------------------------------- */

/* Eight netstrings: 3 bytes of length, colon, field, comma. */
#define CHAIN_TEXT                                                             \
	(8 * 5 + 2 * DIGEST_LEN + 4 * 20 + sizeof(((struct store_history *)0)->what) + \
	    sizeof(((struct store_history *)0)->subject) +                     \
	    sizeof(((struct store_history *)0)->why))

struct chain {
	char text[CHAIN_TEXT];
	size_t len;
};

static void
chain_text(struct chain *c, const char *field)
{
	size_t len = strlen(field);

	c->len += (size_t)snprintf(c->text + c->len, sizeof(c->text) - c->len,
	    "%zu:", len);
	memcpy(c->text + c->len, field, len);
	c->len += len;
	c->text[c->len++] = ',';
}

static void
chain_int(struct chain *c, int64_t v)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%lld", (long long)v);
	chain_text(c, text);
}

/* Nobody is the empty text: 0 is root. */
static void
chain_id(struct chain *c, int64_t id)
{
	if (id == -1)
		chain_text(c, "");
	else
		chain_int(c, id);
}

/* As store.h and ksmpoold(8) describe it; never changed. */
static enum ksm_err
history_hash(const uint8_t before[DIGEST_LEN], const struct store_history *h,
    uint8_t out[DIGEST_LEN], struct ksm_fail *fail)
{
	struct chain c = { .len = 0 };
	char hex[2 * DIGEST_LEN + 1];

	hex_format(before, DIGEST_LEN, hex);
	chain_text(&c, hex);
	chain_int(&c, h->number);
	chain_int(&c, h->when);
	chain_id(&c, h->who.uid);
	chain_id(&c, h->who.pid);
	chain_text(&c, h->what);
	chain_text(&c, h->subject);
	chain_text(&c, h->why);
	return digest_sha256(c.text, c.len, out, fail);
}

/* ---- writing --------------------------------------------------------- */

enum ksm_err
store_history_read(struct store *st, struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HISTORY_HEAD];
	enum ksm_err err = KSM_OK;
	size_t len;

	if (sqlite3_step(q) != SQLITE_ROW)
		err = store_failed(st, "read history", fail);
	else if (!column_blob(q, 1, st->history_hash,
		     sizeof(st->history_hash), &len) ||
	    len != sizeof(st->history_hash))
		err = ksm_failf(fail, KSM_ESTORE,
		    "the newest hash of history has not %d bytes (%s)",
		    DIGEST_LEN, st->path);
	else
		st->history_number = sqlite3_column_int64(q, 0);
	stmt_done(q);
	return err;
}

void
store_actor_set(struct store *st, struct store_actor who)
{
	st->actor = who;
}

static void
field_set(char *out, size_t size, const char *text)
{
	size_t len = text_cut(text != NULL ? text : "", size);

	if (len > 0)
		memcpy(out, text, len);
	out[len] = '\0';
}

enum ksm_err
store_history_add(struct store *st, ksm_time when, struct store_actor who,
    const char *what, const char *subject, const char *why,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HISTORY_ADD];
	struct store_history h;
	enum ksm_err err;

	field_set(h.what, sizeof(h.what), what);
	field_set(h.subject, sizeof(h.subject), subject);
	field_set(h.why, sizeof(h.why), why);
	if (h.what[0] == '\0')
		return ksm_failf(fail, KSM_EREFUSED,
		    "a row of history says what happened");

	err = store_begin(st, fail);
	if (err != KSM_OK)
		return err;
	h.number = st->history_number + 1;
	h.when = when;
	h.who = who;
	err = history_hash(st->history_hash, &h, h.hash, fail);
	if (err != KSM_OK) {
		(void)store_change_failed(st, NULL, "record history", NULL);
		return err;
	}
	if (bind_int(q, ":number", h.number) != SQLITE_OK ||
	    bind_int(q, ":when", h.when) != SQLITE_OK ||
	    bind_known(q, ":uid", h.who.uid, -1) != SQLITE_OK ||
	    bind_known(q, ":pid", h.who.pid, -1) != SQLITE_OK ||
	    bind_text(q, ":what", h.what) != SQLITE_OK ||
	    bind_text(q, ":subject", h.subject) != SQLITE_OK ||
	    bind_text(q, ":why", h.why) != SQLITE_OK ||
	    bind_blob(q, ":hash", h.hash, sizeof(h.hash)) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		return store_change_failed(st, q, "record history", fail);
	stmt_done(q);
	st->history_number = h.number;
	memcpy(st->history_hash, h.hash, sizeof(h.hash));
	return KSM_OK;
}

enum ksm_err
store_history_note(struct store *st, ksm_time when, const char *what,
    const char *subject, const char *why, struct ksm_fail *fail)
{
	return store_history_add(st, when, st->actor, what, subject, why,
	    fail);
}

/* ---- reading --------------------------------------------------------- */

/* Columns as in HISTORY_COLUMNS of store_sql.c. */
static bool
history_read(sqlite3_stmt *q, struct store_history *h)
{
	size_t len;

	memset(h, 0, sizeof(*h));
	h->number = sqlite3_column_int64(q, 0);
	h->when = sqlite3_column_int64(q, 1);
	h->who.uid = column_int(q, 2, -1);
	h->who.pid = column_int(q, 3, -1);
	return column_text(q, 4, h->what, sizeof(h->what)) &&
	    column_text(q, 5, h->subject, sizeof(h->subject)) &&
	    column_text(q, 6, h->why, sizeof(h->why)) &&
	    column_blob(q, 7, h->hash, sizeof(h->hash), &len) &&
	    len == sizeof(h->hash);
}

enum ksm_err
store_history_list(struct store *st, const struct history_filter *f,
    int64_t *cursor, struct store_history *out, size_t max, size_t *n,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[f->subject != NULL ?
		ST_HISTORY_LIST_SUBJECT : ST_HISTORY_LIST];
	enum ksm_err err = KSM_OK;
	int64_t stop = INT64_MAX;
	int rc = SQLITE_DONE;

	*n = 0;
	if (f->scan > 0 && *cursor < INT64_MAX - f->scan)
		stop = *cursor + f->scan;
	if (bind_int(q, ":cursor", *cursor) != SQLITE_OK ||
	    bind_int(q, ":stop", stop) != SQLITE_OK ||
	    bind_known(q, ":since", f->since, 0) != SQLITE_OK ||
	    bind_known(q, ":until", f->until, 0) != SQLITE_OK ||
	    bind_text(q, ":what", f->what) != SQLITE_OK ||
	    bind_known(q, ":uid", f->uid, -1) != SQLITE_OK ||
	    (f->subject != NULL &&
		bind_text(q, ":subject", f->subject) != SQLITE_OK)) {
		err = store_failed(st, "list history", fail);
		goto out;
	}
	while (*n < max && (rc = sqlite3_step(q)) == SQLITE_ROW) {
		if (!history_read(q, &out[*n])) {
			err = ksm_failf(fail, KSM_ESTORE,
			    "history row %lld cannot be read (%s)",
			    (long long)sqlite3_column_int64(q, 0), st->path);
			goto out;
		}
		*cursor = out[*n].number;
		(*n)++;
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = store_failed(st, "list history", fail);
	else if (rc == SQLITE_DONE && stop != INT64_MAX)
		*cursor = stop;
out:
	stmt_done(q);
	return err;
}

enum ksm_err
store_history_head(struct store *st, int64_t *number, uint8_t hash[32],
    struct ksm_fail *fail)
{
	enum ksm_err err = store_history_read(st, fail);

	if (err == KSM_OK) {
		*number = st->history_number;
		memcpy(hash, st->history_hash, DIGEST_LEN);
	}
	return err;
}

/* ---- verifying ------------------------------------------------------- */

static void __attribute__((format(printf, 2, 3)))
history_fault(struct history_check *c, const char *fmt, ...)
{
	va_list ap;

	if (c->faults++ > 0)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(c->first, sizeof(c->first), fmt, ap);
	va_end(ap);
}

/*
 * After a fault the chain is followed from what the row itself says, so that
 * one changed row is one fault and not one for each row after it.
 */
static enum ksm_err
history_judge(struct history_check *c, const struct store_history *h,
    struct ksm_fail *fail)
{
	uint8_t want[DIGEST_LEN];
	enum ksm_err err;

	if (h->number == c->number + 2)
		history_fault(c, "history row %lld is not there",
		    (long long)c->number + 1);
	else if (h->number != c->number + 1)
		history_fault(c, "history rows %lld to %lld are not there",
		    (long long)c->number + 1, (long long)h->number - 1);
	else {
		err = history_hash(c->hash, h, want, fail);
		if (err != KSM_OK)
			return err;
		if (memcmp(want, h->hash, sizeof(want)) != 0)
			history_fault(c, "history row %lld (%s %s) is not what "
			    "was written", (long long)h->number, h->what,
			    h->subject);
	}
	c->number = h->number;
	memcpy(c->hash, h->hash, sizeof(c->hash));
	return KSM_OK;
}

static enum ksm_err
history_end(struct store *st, struct history_check *c, struct ksm_fail *fail)
{
	enum ksm_err err = store_history_read(st, fail);

	if (err != KSM_OK)
		return err;
	if (st->history_number != c->number)
		history_fault(c, "history ends with row %lld; the newest ever "
		    "written is %lld", (long long)c->number,
		    (long long)st->history_number);
	else if (memcmp(st->history_hash, c->hash, sizeof(c->hash)) != 0)
		history_fault(c, "the newest hash on record is not that of "
		    "history row %lld", (long long)c->number);
	c->done = true;
	return KSM_OK;
}

enum ksm_err
store_history_verify(struct store *st, struct history_check *c, size_t max,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = st->stmt[ST_HISTORY_NEXT];
	struct store_history h;
	enum ksm_err err = KSM_OK;
	size_t n = 0;
	int rc = SQLITE_DONE;

	if (c->done)
		return KSM_OK;
	if (bind_int(q, ":cursor", c->number) != SQLITE_OK)
		rc = SQLITE_ERROR;
	while (rc != SQLITE_ERROR && err == KSM_OK && n < max &&
	    (rc = sqlite3_step(q)) == SQLITE_ROW) {
		if (history_read(q, &h)) {
			err = history_judge(c, &h, fail);
		} else {
			history_fault(c, "history row %lld cannot be read",
			    (long long)h.number);
			c->number = h.number;
			memcpy(c->hash, h.hash, sizeof(c->hash));
		}
		n++;
	}
	if (err == KSM_OK && rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = store_failed(st, "verify history", fail);
	stmt_done(q);
	if (err == KSM_OK && rc == SQLITE_DONE)
		err = history_end(st, c, fail);
	return err;
}
