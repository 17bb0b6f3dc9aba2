#include "store_internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Append-only: a version that was released is never edited, a change is a new
 * step at the end. Each runs in a transaction that also sets user_version.
 *
 * The tables hold the invariants themselves, so that neither our own mistake
 * nor a hand with sqlite3 can give a key out twice or lose one:
 *   - a row begins as `intended` and follows the arrows of core/keystate.c
 *     (copied into `arrow`, see store_derive);
 *   - what was once handed out never comes back to stock, whatever `arrow`
 *     says;
 *   - id, pool, dates, serial and public key never change once given;
 *   - serials only grow, over all keys, also those of rows that are gone;
 *   - only a key that never came to be can be deleted;
 *   - nothing becomes ready or is taken that no signature proved.
 */
static const char schema_1[] =
    /*
     * One row. `serial` is the last one given; `newest` the latest creation
     * of a key. Nothing else moves it: a run, a reload or a move of a key
     * under a clock that is years ahead must not forbid keys for years.
     */
    "CREATE TABLE meta ("
    " only INTEGER PRIMARY KEY CHECK (only = 1),"
    " tag BLOB NOT NULL CHECK (length(tag) = 4),"
    " serial INTEGER NOT NULL DEFAULT 0 CHECK (serial >= 0),"
    " newest INTEGER NOT NULL DEFAULT 0,"
    " zones_when INTEGER,"
    " boot_id TEXT"
    ") STRICT;"
    "INSERT INTO meta (only, tag) VALUES (1, randomblob(4));"
    "CREATE TRIGGER meta_stays BEFORE DELETE ON meta BEGIN"
    " SELECT RAISE(ABORT, 'the installation''s row cannot be deleted');"
    "END;"
    "CREATE TRIGGER meta_tag_stays BEFORE UPDATE OF tag ON meta"
    " WHEN NEW.tag IS NOT OLD.tag BEGIN"
    " SELECT RAISE(ABORT, 'the installation''s tag cannot change');"
    "END;"
    "CREATE TRIGGER meta_serial_grows BEFORE UPDATE OF serial ON meta"
    " WHEN NEW.serial < OLD.serial BEGIN"
    " SELECT RAISE(ABORT, 'serials only grow');"
    "END;"

    "CREATE TABLE repository ("
    " row INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE"
    "  CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 127),"
    " token_label TEXT NOT NULL DEFAULT ''"
    "  CHECK (length(CAST(token_label AS BLOB)) <= 127),"
    " token_serial TEXT NOT NULL DEFAULT ''"
    "  CHECK (length(CAST(token_serial AS BLOB)) <= 63),"
    " trouble TEXT NOT NULL DEFAULT 'none'"
    "  CHECK (trouble IN ('none', 'parked', 'alien')),"
    " reason TEXT NOT NULL DEFAULT ''"
    "  CHECK (length(CAST(reason AS BLOB)) <= 255),"
    " since INTEGER NOT NULL DEFAULT 0,"
    " pin_print TEXT NOT NULL DEFAULT ''"
    "  CHECK (length(CAST(pin_print AS BLOB)) <= 63),"
    " synced INTEGER NOT NULL DEFAULT 0 CHECK (synced >= 0)"
    ") STRICT;"

    "CREATE TABLE pool ("
    " row INTEGER PRIMARY KEY,"
    " policy TEXT NOT NULL CHECK (length(CAST(policy AS BLOB)) <= 255),"
    " role TEXT NOT NULL CHECK (role IN ('KSK', 'ZSK', 'CSK')),"
    " repository INTEGER NOT NULL REFERENCES repository (row),"
    " alg INTEGER NOT NULL CHECK (alg BETWEEN 1 AND 255),"
    " bits INTEGER NOT NULL CHECK (bits > 0),"
    " auto_made INTEGER NOT NULL DEFAULT 0 CHECK (auto_made >= 0),"
    " UNIQUE (policy, role, repository, alg, bits)"
    ") STRICT;"
    "CREATE TRIGGER pool_stays BEFORE UPDATE OF policy, role, repository, alg,"
    " bits ON pool BEGIN"
    " SELECT RAISE(ABORT, 'what a pool is cannot change');"
    "END;"

    "CREATE TABLE arrow ("
    " state TEXT NOT NULL,"
    " next TEXT NOT NULL,"
    " PRIMARY KEY (state, next)"
    ") STRICT, WITHOUT ROWID;"

    /*
     * AUTOINCREMENT: listings go by row number over several turns of the
     * loop; a number that is used again after a refused key would hide the
     * new key from them.
     */
    "CREATE TABLE key ("
    " row INTEGER PRIMARY KEY AUTOINCREMENT,"
    " cka_id BLOB NOT NULL UNIQUE CHECK (length(cka_id) = 16),"
    " pool INTEGER NOT NULL REFERENCES pool (row),"
    " state TEXT NOT NULL CHECK (state IN ('intended', 'unknown', 'gone',"
    "  'made', 'ready', 'surplus', 'quarantined', 'taking', 'taken',"
    "  'retired', 'missing', 'destroying', 'consumed', 'destroyed')),"
    " was TEXT,"
    " since INTEGER NOT NULL,"
    " intended INTEGER NOT NULL,"
    " started INTEGER,"
    " ended INTEGER,"
    " serial INTEGER UNIQUE CHECK (serial > 0),"
    " pub BLOB CHECK (length(pub) BETWEEN 1 AND 600),"
    " digest BLOB CHECK (length(digest) = 32),"
    " tag_zsk INTEGER CHECK (tag_zsk BETWEEN 0 AND 65535),"
    " tag_ksk INTEGER CHECK (tag_ksk BETWEEN 0 AND 65535),"
    " tag_revoked INTEGER CHECK (tag_revoked BETWEEN 0 AND 65535),"
    " proved INTEGER NOT NULL DEFAULT 0 CHECK (proved IN (0, 1)),"
    " adopted INTEGER NOT NULL DEFAULT 0 CHECK (adopted IN (0, 1)),"
    " single INTEGER NOT NULL DEFAULT 0 CHECK (single IN (0, 1)),"
    " took_ms INTEGER CHECK (took_ms >= 0),"
    " why TEXT NOT NULL DEFAULT ''"
    "  CHECK (length(CAST(why AS BLOB)) <= 255),"
    " CHECK (ended >= started),"
    " CHECK ((state = 'missing') = (was IS NOT NULL)),"
    " CHECK ((state IN ('intended', 'unknown', 'gone')) = (serial IS NULL)),"
    " CHECK ((serial IS NULL) = (ended IS NULL)),"
    " CHECK ((pub IS NULL) = (digest IS NULL)),"
    " CHECK ((pub IS NULL) = (tag_zsk IS NULL)),"
    " CHECK ((pub IS NULL) = (tag_ksk IS NULL)),"
    " CHECK ((pub IS NULL) = (tag_revoked IS NULL)),"
    " CHECK (proved = 0 OR pub IS NOT NULL)"
    ") STRICT;"
    /* With the row number in it, as every index: pages of one state. */
    "CREATE INDEX key_by_state ON key (state);"
    /* A token that makes the same key twice is found out by it. */
    "CREATE INDEX key_by_digest ON key (digest) WHERE digest IS NOT NULL;"

    /*
     * How many keys of each state a pool has. Kept by the triggers below:
     * the daemon asks after every change, and counting 100,000 rows each
     * time would take longer than making an EC key.
     */
    "CREATE TABLE key_count ("
    " pool INTEGER NOT NULL REFERENCES pool (row),"
    " state TEXT NOT NULL,"
    " n INTEGER NOT NULL CHECK (n >= 0),"
    " PRIMARY KEY (pool, state)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TRIGGER key_begins BEFORE INSERT ON key"
    " WHEN NEW.state <> 'intended' BEGIN"
    " SELECT RAISE(ABORT, 'a key begins as intended');"
    "END;"
    "CREATE TRIGGER key_begun AFTER INSERT ON key BEGIN"
    " INSERT INTO key_count VALUES (NEW.pool, NEW.state, 1)"
    "  ON CONFLICT (pool, state) DO UPDATE SET n = n + 1;"
    "END;"
    "CREATE TRIGGER key_goes BEFORE DELETE ON key"
    " WHEN OLD.state NOT IN ('intended', 'unknown') BEGIN"
    " SELECT RAISE(ABORT, 'a key that came to be cannot be deleted');"
    "END;"
    "CREATE TRIGGER key_went AFTER DELETE ON key BEGIN"
    " UPDATE key_count SET n = n - 1"
    "  WHERE pool = OLD.pool AND state = OLD.state;"
    "END;"
    "CREATE TRIGGER key_moves BEFORE UPDATE OF state ON key"
    " WHEN NEW.state <> OLD.state BEGIN"
    " SELECT RAISE(ABORT, 'a key handed out never comes back')"
    "  WHERE (OLD.state IN ('taken', 'retired', 'consumed', 'destroyed')"
    "    OR OLD.was IN ('taken', 'retired'))"
    "  AND NEW.state IN ('intended', 'unknown', 'gone', 'made', 'ready',"
    "    'surplus', 'taking');"
    " SELECT RAISE(ABORT, 'a key''s life has no such arrow')"
    "  WHERE NOT EXISTS (SELECT 1 FROM arrow"
    "    WHERE state = OLD.state AND next = NEW.state);"
    " SELECT RAISE(ABORT, 'a missing key comes back as what it was')"
    "  WHERE OLD.state = 'missing' AND NEW.state <> OLD.was;"
    " SELECT RAISE(ABORT, 'a missing key remembers what it was')"
    "  WHERE NEW.state = 'missing' AND NEW.was IS NOT OLD.state;"
    " SELECT RAISE(ABORT, 'a key is not ready or taken before it is proved')"
    "  WHERE NEW.proved = 0 AND ((OLD.state = 'made' AND NEW.state = 'ready')"
    "    OR NEW.state = 'taking');"
    "END;"
    "CREATE TRIGGER key_moved AFTER UPDATE OF state ON key"
    " WHEN NEW.state <> OLD.state BEGIN"
    " UPDATE key_count SET n = n - 1"
    "  WHERE pool = OLD.pool AND state = OLD.state;"
    " INSERT INTO key_count VALUES (NEW.pool, NEW.state, 1)"
    "  ON CONFLICT (pool, state) DO UPDATE SET n = n + 1;"
    "END;"
    "CREATE TRIGGER key_time AFTER UPDATE OF ended ON key BEGIN"
    " UPDATE meta SET newest = NEW.ended WHERE newest < NEW.ended;"
    "END;"
    "CREATE TRIGGER key_serial BEFORE UPDATE OF serial ON key"
    " WHEN OLD.serial IS NULL AND NEW.serial IS NOT NULL BEGIN"
    " SELECT RAISE(ABORT, 'serials only grow')"
    "  WHERE NEW.serial <= (SELECT serial FROM meta);"
    " UPDATE meta SET serial = NEW.serial;"
    "END;"
    "CREATE TRIGGER key_stays BEFORE UPDATE OF row, cka_id, pool, was, intended,"
    " started, ended, serial, pub, digest, tag_zsk, tag_ksk, tag_revoked,"
    " adopted, single, took_ms ON key"
    " WHEN NEW.row IS NOT OLD.row OR NEW.cka_id IS NOT OLD.cka_id"
    "  OR NEW.pool IS NOT OLD.pool OR NEW.intended IS NOT OLD.intended"
    "  OR (NEW.state = OLD.state AND NEW.was IS NOT OLD.was)"
    "  OR (OLD.serial IS NOT NULL AND (NEW.serial IS NOT OLD.serial"
    "   OR NEW.started IS NOT OLD.started OR NEW.ended IS NOT OLD.ended"
    "   OR NEW.pub IS NOT OLD.pub OR NEW.digest IS NOT OLD.digest"
    "   OR NEW.tag_zsk IS NOT OLD.tag_zsk OR NEW.tag_ksk IS NOT OLD.tag_ksk"
    "   OR NEW.tag_revoked IS NOT OLD.tag_revoked"
    "   OR NEW.adopted IS NOT OLD.adopted OR NEW.single IS NOT OLD.single"
    "   OR NEW.took_ms IS NOT OLD.took_ms)) BEGIN"
    " SELECT RAISE(ABORT, 'what is on record of a key cannot change');"
    "END;"

    /* Microseconds, so that a moving average of short times does not stick. */
    "CREATE TABLE rate ("
    " repository INTEGER NOT NULL REFERENCES repository (row),"
    " alg INTEGER NOT NULL,"
    " bits INTEGER NOT NULL,"
    " us INTEGER NOT NULL CHECK (us >= 0),"
    " PRIMARY KEY (repository, alg, bits)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE zone_count ("
    " policy TEXT PRIMARY KEY NOT NULL"
    "  CHECK (length(CAST(policy AS BLOB)) <= 255),"
    " zones INTEGER NOT NULL CHECK (zones >= 0)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE run ("
    " row INTEGER PRIMARY KEY AUTOINCREMENT,"
    " cause TEXT NOT NULL CHECK (cause IN ('auto', 'topup', 'once')),"
    " uid INTEGER,"
    " pid INTEGER,"
    " most INTEGER CHECK (most >= 0),"
    " started INTEGER NOT NULL,"
    " ended INTEGER,"
    " wanted INTEGER NOT NULL DEFAULT 0,"
    " made INTEGER NOT NULL DEFAULT 0,"
    " failed INTEGER NOT NULL DEFAULT 0,"
    " held INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE TRIGGER run_stays BEFORE UPDATE ON run"
    " WHEN OLD.ended IS NOT NULL BEGIN"
    " SELECT RAISE(ABORT, 'a finished run cannot change');"
    "END;"
    "CREATE TRIGGER run_kept BEFORE DELETE ON run BEGIN"
    " SELECT RAISE(ABORT, 'a run on record cannot be deleted');"
    "END;"

    /* For operators with sqlite3: documented in ksmpoold(8), kept stable. */
    "CREATE VIEW keys AS SELECT"
    " lower(hex(k.cka_id)) AS id,"
    " lower(hex(k.cka_id)) AS label,"
    " r.name AS repository,"
    " p.policy AS policy,"
    " p.role AS role,"
    " CASE p.alg WHEN 5 THEN 'RSASHA1' WHEN 7 THEN 'RSASHA1-NSEC3-SHA1'"
    "  WHEN 8 THEN 'RSASHA256' WHEN 10 THEN 'RSASHA512'"
    "  WHEN 13 THEN 'ECDSAP256SHA256' WHEN 14 THEN 'ECDSAP384SHA384'"
    "  WHEN 15 THEN 'ED25519' WHEN 16 THEN 'ED448'"
    "  ELSE 'ALG' || p.alg END AS algorithm,"
    " p.bits AS size,"
    " strftime('%Y-%m-%dT%H:%M:%SZ', k.ended, 'unixepoch') AS created,"
    " k.state AS state,"
    " k.serial AS serial,"
    " k.ended AS created_s"
    " FROM key k JOIN pool p ON p.row = k.pool"
    " JOIN repository r ON r.row = p.repository;";

/*
 * What happened, one row each, for ever: see store.h on the chain. The tables
 * refuse what an honest mistake would do; whoever means to rewrite history can
 * take the triggers away, and the chain shows it.
 */
static const char schema_2[] =
    "CREATE TABLE history ("
    " number INTEGER PRIMARY KEY CHECK (number > 0),"
    " when_s INTEGER NOT NULL,"
    " uid INTEGER,"
    " pid INTEGER,"
    " what TEXT NOT NULL CHECK (length(CAST(what AS BLOB)) BETWEEN 1 AND 47),"
    " subject TEXT NOT NULL CHECK (length(CAST(subject AS BLOB)) <= 255),"
    " why TEXT NOT NULL CHECK (length(CAST(why AS BLOB)) <= 511),"
    " hash BLOB NOT NULL CHECK (length(hash) = 32)"
    ") STRICT;"
    "CREATE INDEX history_by_subject ON history (subject);"

    "ALTER TABLE meta ADD COLUMN history_number INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE meta ADD COLUMN history_hash BLOB NOT NULL DEFAULT"
    " x'0000000000000000000000000000000000000000000000000000000000000000'"
    "  CHECK (length(history_hash) = 32);"
    "ALTER TABLE meta ADD COLUMN pause_since INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE meta ADD COLUMN pause_until INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE meta ADD COLUMN pause_uid INTEGER;"
    "ALTER TABLE meta ADD COLUMN pause_pid INTEGER;"
    "ALTER TABLE meta ADD COLUMN pause_reason TEXT NOT NULL DEFAULT ''"
    "  CHECK (length(CAST(pause_reason AS BLOB)) <= 255);"

    "CREATE TRIGGER history_goes_on BEFORE INSERT ON history"
    " WHEN NEW.number IS NOT (SELECT history_number + 1 FROM meta) BEGIN"
    " SELECT RAISE(ABORT, 'history has no gap and no second row of a number');"
    "END;"
    "CREATE TRIGGER history_went_on AFTER INSERT ON history BEGIN"
    " UPDATE meta SET history_number = NEW.number, history_hash = NEW.hash;"
    "END;"
    "CREATE TRIGGER history_stays BEFORE UPDATE ON history BEGIN"
    " SELECT RAISE(ABORT, 'history cannot change');"
    "END;"
    "CREATE TRIGGER history_kept BEFORE DELETE ON history BEGIN"
    " SELECT RAISE(ABORT, 'history cannot be deleted');"
    "END;"
    "CREATE TRIGGER meta_history_grows"
    " BEFORE UPDATE OF history_number, history_hash ON meta"
    " WHEN NEW.history_number IS NOT OLD.history_number + 1 BEGIN"
    " SELECT RAISE(ABORT, 'history only grows');"
    "END;"

    /* For operators with sqlite3: documented in ksmpoold(8), kept stable. */
    "CREATE VIEW events AS SELECT"
    " number,"
    " strftime('%Y-%m-%dT%H:%M:%SZ', when_s, 'unixepoch') AS time,"
    " uid,"
    " pid,"
    " what,"
    " subject,"
    " why"
    " FROM history;";

const char *const store_migrations[] = {
	schema_1,
	schema_2,
};
const size_t store_nmigrations = nitems(store_migrations);

static enum ksm_err
migrate_one(struct store *st, const char *sql, size_t version,
    struct ksm_fail *fail)
{
	char mark[96];
	enum ksm_err err;
	int64_t now = 0;

	if (store_exec(st, "BEGIN IMMEDIATE") != SQLITE_OK)
		return store_failed(st, "migrate schema", fail);

	/* Another process may have been faster while we waited. */
	err = store_ask_int(st, "PRAGMA user_version", &now, fail);
	if (err == KSM_OK && now == (int64_t)version - 1) {
		(void)snprintf(mark, sizeof(mark),
		    "PRAGMA application_id = %d; PRAGMA user_version = %zu",
		    STORE_APPLICATION, version);
		if (store_exec(st, sql) != SQLITE_OK ||
		    store_exec(st, mark) != SQLITE_OK)
			err = store_failed(st, "migrate schema", fail);
	}
	if (err == KSM_OK && store_exec(st, "COMMIT") != SQLITE_OK)
		err = store_failed(st, "migrate schema", fail);
	if (err != KSM_OK) {
		if (sqlite3_get_autocommit(st->db) == 0)
			(void)store_exec(st, "ROLLBACK");
		(void)ksm_fail_before(fail, "schema version %zu", version);
	}
	return err;
}

/*
 * What is there goes beside it first, whole: a step that turns out to be wrong
 * only later, or a way back to the older program, needs it.
 */
static enum ksm_err
copy_take(struct store *st, int64_t version, struct ksm_fail *fail)
{
	size_t size = strlen(st->path) + 64;
	char *part = malloc(size), *to = malloc(size);
	enum ksm_err err;
	int i = 1;

	if (part == NULL || to == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "%s: no memory", st->path);
		goto out;
	}
	(void)snprintf(part, size, "%s.schema-%lld.part", st->path,
	    (long long)version);
	(void)snprintf(to, size, "%s.schema-%lld", st->path,
	    (long long)version);
	(void)unlink(part); /* of one that was killed here */
	err = store_copy_write(st->db, part, 0640, fail);
	if (err != KSM_OK)
		goto out;
	while ((err = store_copy_place(part, to, fail)) == KSM_EREFUSED &&
	    ++i < 1000)
		(void)snprintf(to, size, "%s.schema-%lld-%d", st->path,
		    (long long)version, i);
	if (err != KSM_OK) {
		(void)unlink(part);
		goto out;
	}
	st->migrated = to;
	to = NULL;
out:
	if (err != KSM_OK)
		(void)ksm_fail_before(fail, "copy of the database before its "
		    "schema becomes version %zu, nothing was changed",
		    store_nmigrations);
	free(part);
	free(to);
	return err;
}

enum ksm_err
store_migrate(struct store *st, const char *const *steps, size_t n,
    struct ksm_fail *fail)
{
	enum ksm_err err;
	int64_t version = 0;

	err = store_ask_int(st, "PRAGMA user_version", &version, fail);
	if (err == KSM_OK && version >= 1 && (size_t)version < n)
		err = copy_take(st, version, fail);
	for (size_t i = (size_t)version; err == KSM_OK && i < n; i++)
		err = migrate_one(st, steps[i], i + 1, fail);
	return err;
}

/*
 * The arrows as SQL values: "('intended','made'),...". They are known at
 * compile time and hold no quotes.
 */
static char *
arrow_values(void)
{
	sqlite3_str *text = sqlite3_str_new(NULL);
	const char *comma = "";

	for (int from = 0; from < KEY__STATES; from++) {
		for (int to = 0; to < KEY__STATES; to++) {
			if (from == to ||
			    !key_state_may((enum key_state)from,
				(enum key_state)to))
				continue;
			sqlite3_str_appendf(text, "%s(%Q,%Q)", comma,
			    key_state_text((enum key_state)from),
			    key_state_text((enum key_state)to));
			comma = ",";
		}
	}
	return sqlite3_str_finish(text); /* NULL: no memory */
}

#define TRUE_COUNTS                                                            \
	"SELECT pool, state, count(*) FROM key GROUP BY pool, state"
#define KEPT_COUNTS "SELECT pool, state, n FROM key_count WHERE n > 0"

const char store_counts_differ[] =
    "WITH kept AS (" KEPT_COUNTS "), truth (pool, state, n) AS (" TRUE_COUNTS
    ") SELECT 'pool row ' || pool || ' has ' || coalesce((SELECT n FROM truth"
    " t WHERE t.pool = d.pool AND t.state = d.state), 0) || ' keys that are ' "
    "|| state || '; its count says ' || coalesce((SELECT n FROM kept k WHERE "
    "k.pool = d.pool AND k.state = d.state), 0) FROM (SELECT DISTINCT pool, "
    "state FROM (SELECT * FROM (SELECT * FROM truth EXCEPT SELECT * FROM kept)"
    " UNION ALL SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM truth)"
    ")) d";

char *
store_arrows_differ(void)
{
	char *values = arrow_values(), *text = NULL;

	if (values != NULL)
		text = sqlite3_mprintf("WITH want (state, next) AS (VALUES %s)"
		    " SELECT 'the arrow from ' || state || ' to ' || next || "
		    "' is not on record' FROM (SELECT * FROM want EXCEPT "
		    "SELECT state, next FROM arrow) UNION ALL "
		    "SELECT 'there is no arrow from ' || state || ' to ' || "
		    "next FROM (SELECT state, next FROM arrow EXCEPT "
		    "SELECT * FROM want)", values);
	sqlite3_free(values);
	return text;
}

enum ksm_err
store_derive(struct store *st, struct ksm_fail *fail)
{
	char *values = NULL, *ask = NULL, *put = NULL;
	int64_t arrows_differ = 0, counts_differ = 0;
	enum ksm_err err;

	values = arrow_values();
	if (values != NULL) {
		ask = sqlite3_mprintf("WITH want (state, next) AS (VALUES %s) "
		    "SELECT EXISTS (SELECT * FROM want EXCEPT "
		    "SELECT state, next FROM arrow) OR EXISTS ("
		    "SELECT state, next FROM arrow EXCEPT SELECT * FROM want)",
		    values);
		put = sqlite3_mprintf("DELETE FROM arrow;"
		    "INSERT INTO arrow (state, next) VALUES %s", values);
	}
	if (ask == NULL || put == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "database: no memory");
		goto out;
	}

	err = store_ask_int(st, ask, &arrows_differ, fail);
	if (err == KSM_OK)
		err = store_ask_int(st,
		    "SELECT EXISTS (" TRUE_COUNTS " EXCEPT " KEPT_COUNTS ")"
		    " OR EXISTS (" KEPT_COUNTS " EXCEPT " TRUE_COUNTS ")",
		    &counts_differ, fail);
	if (err != KSM_OK || (arrows_differ == 0 && counts_differ == 0))
		goto out;

	if (store_exec(st, "BEGIN IMMEDIATE") != SQLITE_OK ||
	    store_exec(st, put) != SQLITE_OK ||
	    store_exec(st, "DELETE FROM key_count;"
		"INSERT INTO key_count " TRUE_COUNTS) != SQLITE_OK ||
	    store_exec(st, "COMMIT") != SQLITE_OK) {
		err = store_failed(st, "prepare database", fail);
		if (sqlite3_get_autocommit(st->db) == 0)
			(void)store_exec(st, "ROLLBACK");
	}
out:
	sqlite3_free(values);
	sqlite3_free(ask);
	sqlite3_free(put);
	return err;
}
