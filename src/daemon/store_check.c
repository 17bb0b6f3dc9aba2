/*
 * store_check.c - a database as a file, looked at from outside: what
 * ksmpoold --check-database and --copy-database do.
 *
 * Everything is read in one transaction, so that what a running daemon commits
 * meanwhile is no contradiction.
 */
#include "store_internal.h"

#include <sys/stat.h>

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct check {
	struct store *st;
	store_fault_fn say;
	void *ctx;
	int64_t faults;
};

static void __attribute__((format(printf, 2, 3)))
fault(struct check *c, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* One line each, whatever stands in a damaged file. */
	for (char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	c->faults++;
	c->say(c->ctx, text);
}

/* ---- reading only ---------------------------------------------------- */

/* As a URI: what means something there is written %XX. */
static char *
uri_make(const char *path, bool unchanging)
{
	static const char hex[] = "0123456789abcdef";
	char *uri = malloc(3 * strlen(path) + 64), *to = uri;

	if (uri == NULL)
		return NULL;
	to += sprintf(to, "file:");
	for (const unsigned char *p = (const unsigned char *)path; *p != '\0';
	     p++) {
		if (*p == '%' || *p == '?' || *p == '#') {
			*to++ = '%';
			*to++ = hex[*p >> 4];
			*to++ = hex[*p & 15];
		} else {
			*to++ = (char)*p;
		}
	}
	(void)strcpy(to, unchanging ? "?immutable=1" : "?mode=ro");
	return uri;
}

/*
 * Without a log nobody has it open for writing, and SQLite would make one just
 * to read: such a file is taken as one that does not change. *damaged: it is
 * one of ours or was, and not even its schema can be read.
 */
static enum ksm_err
file_open(const char *path, struct store **out, bool *damaged,
    struct ksm_fail *fail)
{
	struct store *st = NULL;
	char wal[PATH_MAX + 8], *uri = NULL;
	enum ksm_err err = KSM_OK;
	struct stat sb;

	*damaged = false;
	if (stat(path, &sb) == -1)
		return store_path_failed(path, errno, fail);
	if (!S_ISREG(sb.st_mode))
		return ksm_failf(fail, KSM_ESTORE,
		    "%s: not a regular file; expected a database", path);
	if (access(path, R_OK) == -1)
		return store_path_failed(path, errno, fail);
	(void)snprintf(wal, sizeof(wal), "%.*s-wal", PATH_MAX, path);

	st = calloc(1, sizeof(*st));
	uri = uri_make(path, access(wal, F_OK) == -1);
	if (st == NULL || uri == NULL || (st->path = strdup(path)) == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "%s: no memory", path);
		goto out;
	}
	if (sqlite3_open_v2(uri, &st->db, SQLITE_OPEN_READONLY |
		SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
		NULL) != SQLITE_OK) {
		err = st->db == NULL ?
		    ksm_failf(fail, KSM_ENOMEM, "%s: no memory", path) :
		    store_failed(st, "open database", fail);
		goto out;
	}
	(void)sqlite3_busy_timeout(st->db, STORE_OPEN_BUSY_MS);
	(void)sqlite3_db_config(st->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (store_exec(st, "PRAGMA trusted_schema = OFF;"
			   "PRAGMA cell_size_check = ON;"
			   "PRAGMA temp_store = MEMORY;") != SQLITE_OK)
		err = store_failed(st, "open database", fail);
	if (err == KSM_OK)
		err = store_owner_check(st, fail);
	if (err != KSM_OK)
		goto out;
	*out = st;
	st = NULL;
out:
	/* What is no database at all was refused, and is not damaged. */
	*damaged = st != NULL && st->damaged && err == KSM_ESTORE;
	free(uri);
	store_close(st);
	return err;
}

/* ---- checking -------------------------------------------------------- */

/*
 * Each row of `sql` is a fault in words, but for one that says "ok". A file
 * that is damaged where it is read is a fault as well, and no error.
 */
static void
rows_are_faults(struct check *c, const char *sql, const char *doing)
{
	sqlite3_stmt *q = NULL;
	int rc, n = 0;

	rc = sqlite3_prepare_v2(c->st->db, sql, -1, &q, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		const char *text;

		rc = sqlite3_step(q);
		if (rc != SQLITE_ROW)
			break;
		text = (const char *)sqlite3_column_text(q, 0);
		if (text == NULL || strcmp(text, "ok") == 0)
			continue;
		if (++n > STORE_FAULTS)
			break;
		fault(c, "%s", text);
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		fault(c, "%s: %s", doing, sqlite3_errmsg(c->st->db));
	(void)sqlite3_finalize(q);
}

/* What is on record of public keys, computed anew. */
static void
public_keys(struct check *c)
{
	sqlite3_stmt *q = NULL;
	uint8_t digest[DIGEST_LEN];
	int rc, n = 0;

	rc = sqlite3_prepare_v2(c->st->db, "SELECT k.pub, k.digest, k.tag_zsk,"
	    " k.tag_ksk, k.tag_revoked, p.alg, lower(hex(k.cka_id)) "
	    "FROM key k JOIN pool p ON p.row = k.pool "
	    "WHERE k.pub IS NOT NULL ORDER BY k.row", -1, &q, NULL);
	while (n < STORE_FAULTS && (rc == SQLITE_OK || rc == SQLITE_ROW)) {
		const uint8_t *pub;
		size_t len;
		uint8_t alg;

		rc = sqlite3_step(q);
		if (rc != SQLITE_ROW)
			break;
		pub = sqlite3_column_blob(q, 0);
		len = (size_t)sqlite3_column_bytes(q, 0);
		alg = (uint8_t)sqlite3_column_int(q, 5);
		if (pub == NULL ||
		    digest_sha256(pub, len, digest, NULL) != KSM_OK ||
		    sqlite3_column_bytes(q, 1) != DIGEST_LEN ||
		    memcmp(digest, sqlite3_column_blob(q, 1), DIGEST_LEN) !=
			0) {
			fault(c, "key %s: its digest is not that of its public "
			    "key", (const char *)sqlite3_column_text(q, 6));
			n++;
		} else if (
		    sqlite3_column_int(q, 2) !=
			dnskey_tag(DNSKEY_ZSK, alg, pub, len) ||
		    sqlite3_column_int(q, 3) !=
			dnskey_tag(DNSKEY_KSK, alg, pub, len) ||
		    sqlite3_column_int(q, 4) !=
			dnskey_tag(DNSKEY_REVOKED, alg, pub, len)) {
			fault(c, "key %s: its key tags are not those of its "
			    "public key",
			    (const char *)sqlite3_column_text(q, 6));
			n++;
		}
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		fault(c, "read public keys: %s", sqlite3_errmsg(c->st->db));
	(void)sqlite3_finalize(q);
}

static void
history(struct check *c)
{
	struct history_check h = { 0 };
	struct ksm_fail why = { .text = "" };

	if (store_prepare_one(c->st, ST_HISTORY_NEXT, &why) != KSM_OK ||
	    store_prepare_one(c->st, ST_HISTORY_HEAD, &why) != KSM_OK) {
		fault(c, "%s", why.text);
		store_finalize(c->st);
		return;
	}
	/* One row at a time, so that each fault has its words. */
	while (!h.done && h.faults < STORE_FAULTS) {
		int64_t before = h.faults;

		h.first[0] = '\0';
		h.faults = 0;
		if (store_history_verify(c->st, &h, 1, &why) != KSM_OK) {
			fault(c, "%s", why.text);
			break;
		}
		if (h.first[0] != '\0')
			fault(c, "%s", h.first);
		h.faults += before;
	}
	store_finalize(c->st);
}

/*
 * SQLite keeps no CHECK constraint of a database that it opens to read, so
 * those that a key's life hangs on are asked again.
 */
static const char keys_at_odds[] =
    "SELECT 'key ' || lower(hex(cka_id)) || ' (' || state || '): what is on '"
    " || 'record of it contradicts itself' FROM key WHERE NOT ("
    "length(cka_id) = 16"
    " AND state IN ('intended', 'unknown', 'gone', 'made', 'ready', 'surplus',"
    "  'quarantined', 'taking', 'taken', 'retired', 'missing', 'destroying',"
    "  'consumed', 'destroyed')"
    " AND (state = 'missing') = (was IS NOT NULL)"
    " AND (state IN ('intended', 'unknown', 'gone')) = (serial IS NULL)"
    " AND (serial IS NULL) = (ended IS NULL)"
    " AND coalesce(ended >= started, 1)"
    " AND (pub IS NULL) = (digest IS NULL)"
    " AND (pub IS NULL) = (tag_zsk IS NULL)"
    " AND (pub IS NULL) = (tag_ksk IS NULL)"
    " AND (pub IS NULL) = (tag_revoked IS NULL)"
    " AND proved IN (0, 1) AND (proved = 0 OR pub IS NOT NULL))";

/* ---- backups --------------------------------------------------------- */

#define LEDGER_NAME "'backup ' || b.label || ' of ' || r.name || '"
#define LEDGER_KEY "'key ' || lower(hex(k.cka_id)) || ' (' || k.state || ')"
#define LEDGER_HAS                                                             \
	"coalesce(k.row <= (SELECT high FROM backup_run WHERE backup = b.row " \
	"AND low <= k.row ORDER BY low DESC LIMIT 1), 0)"
#define LEDGER_SKIPS                                                           \
	"EXISTS (SELECT 1 FROM backup_skip WHERE backup = b.row "              \
	"AND key = k.row)"

/*
 * A run is of keys of one repository that follow each other, so how many it
 * has is known from the place of its ends among them.
 */
static const char sets_at_odds[] =
    "WITH place (key, repository, n) AS MATERIALIZED (SELECT k.row, "
    "p.repository, row_number() OVER (PARTITION BY p.repository "
    "ORDER BY k.row) FROM key k JOIN pool p ON p.row = k.pool), "
    "run (backup, low, high, n, below) AS MATERIALIZED (SELECT backup, low, "
    "high, upto - lag(upto, 1, 0) OVER w, lag(high, 1, 0) OVER w "
    "FROM backup_run WINDOW w AS (PARTITION BY backup ORDER BY low)), "
    "odd (backup) AS (SELECT s.backup FROM run s "
    "JOIN backup b ON b.row = s.backup "
    "LEFT JOIN place l ON l.key = s.low LEFT JOIN place h ON h.key = s.high "
    "WHERE NOT coalesce(s.low > s.below AND l.repository = b.repository "
    "AND h.repository = b.repository AND h.n - l.n + 1 = s.n, 0) "
    "UNION SELECT b.row FROM backup b WHERE b.frozen IS NOT coalesce("
    "(SELECT max(upto) FROM backup_run WHERE backup = b.row), 0)) "
    "SELECT " LEDGER_NAME ": its set is not what it was' FROM odd "
    "JOIN backup b ON b.row = odd.backup "
    "JOIN repository r ON r.row = b.repository ORDER BY b.row";

static const char backups_at_odds[] =
    "SELECT " LEDGER_NAME ": its counts contradict its set' FROM backup b "
    "JOIN repository r ON r.row = b.repository WHERE NOT (CASE b.state "
    "WHEN 'committed' THEN b.covered + b.skipped = b.frozen AND b.skipped = "
    "(SELECT count(*) FROM backup_skip WHERE backup = b.row) "
    "WHEN 'open' THEN b.covered = 0 AND b.skipped = 0 AND b.finished IS NULL "
    "WHEN 'rolled-back' THEN b.covered = 0 AND b.skipped = 0 "
    "ELSE 0 END) ORDER BY b.row";

static const char covers_at_odds[] =
    "SELECT " LEDGER_KEY ": is on record as covered by ' || " LEDGER_NAME
    ", which has it not' FROM cover c JOIN key k ON k.row = c.key "
    "JOIN pool p ON p.row = k.pool JOIN backup b ON b.row = c.backup "
    "JOIN repository r ON r.row = b.repository WHERE b.state <> 'committed' "
    "OR p.repository <> b.repository OR NOT " LEDGER_HAS " OR " LEDGER_SKIPS
    " ORDER BY k.row";

static const char covers_missing[] =
    "WITH newest (key) AS MATERIALIZED (SELECT max(high) FROM backup_run) "
    "SELECT " LEDGER_KEY ": is covered by ' || " LEDGER_NAME
    ", and not on record so', min(b.row) "
    "FROM key k JOIN pool p ON p.row = k.pool "
    "JOIN backup b ON b.repository = p.repository "
    "AND b.state = 'committed' JOIN repository r ON r.row = b.repository "
    "WHERE k.row <= (SELECT key FROM newest) "
    "AND NOT EXISTS (SELECT 1 FROM cover WHERE key = k.row) "
    "AND " LEDGER_HAS " AND NOT " LEDGER_SKIPS " GROUP BY k.row "
    "ORDER BY k.row";

static void
backups(struct check *c)
{
	rows_are_faults(c, sets_at_odds, "read the sets of backups");
	rows_are_faults(c, backups_at_odds, "read backups");
	rows_are_faults(c, covers_at_odds, "read keys in backups");
	rows_are_faults(c, covers_missing, "read keys in no backup");
	rows_are_faults(c, store_covers_differ, "count keys in backups");
	rows_are_faults(c, store_uncovered_differ, "count keys in no backup");
}

/* Schema versions: what an older database has not is not asked of it. */
#define WITH_HISTORY 2
#define WITH_BACKUPS 3

enum ksm_err
store_file_check(const char *path, store_fault_fn say, void *ctx,
    int64_t *faults, struct ksm_fail *fail)
{
	struct check c = { .say = say, .ctx = ctx };
	struct ksm_fail why = { .text = "" };
	char *arrows = NULL;
	bool damaged;
	int64_t version = 0;
	enum ksm_err err;

	err = file_open(path, &c.st, &damaged, &why);
	if (damaged) {
		fault(&c, "%s", why.text);
		*faults = c.faults;
		return KSM_OK;
	}
	if (err != KSM_OK)
		return ksm_failf(fail, err, "%s", why.text);
	arrows = store_arrows_differ();
	if (arrows == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "%s: no memory", path);
		goto out;
	}
	if (store_exec(c.st, "BEGIN") != SQLITE_OK) {
		err = store_failed(c.st, "read database", fail);
		goto out;
	}
	err = store_ask_int(c.st, "PRAGMA user_version", &version, fail);
	if (err != KSM_OK)
		goto out;

	rows_are_faults(&c, "PRAGMA integrity_check", "check database");
	rows_are_faults(&c, "SELECT 'row ' || coalesce(rowid, '?') || ' of ' "
	    "|| \"table\" || ' points to no row of ' || parent "
	    "FROM pragma_foreign_key_check", "check references");
	rows_are_faults(&c, "SELECT 'the installation has ' || count(*) || "
	    "' rows of its own, not 1' FROM meta HAVING count(*) <> 1",
	    "read the installation's row");
	rows_are_faults(&c, keys_at_odds, "read keys");
	rows_are_faults(&c, store_counts_differ, "count keys");
	rows_are_faults(&c, "SELECT 'serial ' || max(k.serial) || ' was given;"
	    " the last on record is ' || m.serial FROM key k, meta m "
	    "HAVING max(k.serial) > m.serial", "read serials");
	public_keys(&c);
	if (version >= WITH_BACKUPS)
		backups(&c);
	/* Older schemas have the arrows of their program. */
	if (version == (int64_t)store_nmigrations)
		rows_are_faults(&c, arrows, "read arrows");
	if (version >= WITH_HISTORY)
		history(&c);
	*faults = c.faults;
out:
	sqlite3_free(arrows);
	store_close(c.st);
	return err;
}

/* ---- copying --------------------------------------------------------- */

enum ksm_err
store_file_copy(const char *path, const char *to, struct ksm_fail *fail)
{
	struct store *st = NULL;
	char part[PATH_MAX];
	enum ksm_err err;
	struct stat sb;
	bool damaged;

	if (to[0] != '/')
		return ksm_failf(fail, KSM_EREFUSED, "%s: expected an absolute "
		    "path for the copy", to);
	if (strlen(to) + 32 > sizeof(part))
		return store_path_failed(to, ENAMETOOLONG, fail);
	if (lstat(to, &sb) == 0)
		return ksm_failf(fail, KSM_EREFUSED, "%s: exists already; the "
		    "copy needs a new name", to);
	if (errno != ENOENT)
		return store_path_failed(to, errno, fail);

	err = file_open(path, &st, &damaged, fail);
	if (err != KSM_OK)
		return err;
	(void)snprintf(part, sizeof(part), "%.*s.part-%ld", PATH_MAX - 32, to,
	    (long)getpid());
	err = store_copy_write(st->db, part, 0640, fail);
	if (err == KSM_OK) {
		err = store_copy_place(part, to, fail);
		if (err != KSM_OK)
			(void)unlink(part);
	}
	store_close(st);
	return err;
}
