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
    /* Put here by an operator: this installation did not ask for it. */
    "ALTER TABLE key ADD COLUMN claimed INTEGER NOT NULL DEFAULT 0"
    " CHECK (claimed IN (0, 1));"

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

/*
 * The ledger of backups: see store_backup.h. The set of one is kept as runs
 * of rows, because a backup a day of 100,000 keys is 36 million rows a year:
 * low..high are all keys that the repository had then in these rows, and every
 * one of them is in the set. A key that was not stands between two runs, rows
 * are never used again, and none in a run can be deleted, so a run means the
 * same keys for ever. `upto` counts the keys of the set up to `high`: when it
 * has reached `frozen` no run can be added any more.
 */
static const char schema_3[] =
    "CREATE TABLE backup ("
    " row INTEGER PRIMARY KEY,"
    " repository INTEGER NOT NULL REFERENCES repository (row),"
    " label TEXT NOT NULL"
    "  CHECK (length(CAST(label AS BLOB)) BETWEEN 1 AND 63),"
    " state TEXT NOT NULL"
    "  CHECK (state IN ('open', 'committed', 'rolled-back')),"
    " recorded INTEGER NOT NULL CHECK (recorded IN (0, 1)),"
    " started INTEGER NOT NULL,"
    " finished INTEGER,"
    " uid INTEGER,"
    " pid INTEGER,"
    " note TEXT NOT NULL CHECK (length(CAST(note AS BLOB)) <= 255),"
    " medium TEXT NOT NULL CHECK (length(CAST(medium AS BLOB)) <= 127),"
    " frozen INTEGER NOT NULL CHECK (frozen >= 0),"
    " covered INTEGER NOT NULL DEFAULT 0 CHECK (covered >= 0),"
    " skipped INTEGER NOT NULL DEFAULT 0 CHECK (skipped >= 0),"
    " UNIQUE (repository, label),"
    " CHECK (state = 'committed' OR (covered = 0 AND skipped = 0)),"
    " CHECK (state <> 'committed' OR covered + skipped = frozen),"
    " CHECK (state <> 'open' OR finished IS NULL),"
    " CHECK (recorded = 0 OR finished >= started)"
    ") STRICT;"
    /* With the row number in it: the newest committed one. */
    "CREATE INDEX backup_by_state ON backup (repository, state);"
    "CREATE UNIQUE INDEX backup_open ON backup (repository)"
    " WHERE state = 'open';"

    "CREATE TABLE backup_run ("
    " backup INTEGER NOT NULL REFERENCES backup (row),"
    " low INTEGER NOT NULL,"
    " high INTEGER NOT NULL CHECK (high >= low),"
    " upto INTEGER NOT NULL,"
    " PRIMARY KEY (backup, low)"
    ") STRICT, WITHOUT ROWID;"
    /* Keys of the set that its commit did not mark, and why. */
    "CREATE TABLE backup_skip ("
    " backup INTEGER NOT NULL REFERENCES backup (row),"
    " key INTEGER NOT NULL,"
    " why TEXT NOT NULL CHECK (why IN ('excepted', 'missing', 'destroying',"
    "  'consumed', 'destroyed')),"
    " PRIMARY KEY (backup, key)"
    ") STRICT, WITHOUT ROWID;"
    /* The first committed backup that has the key. */
    "CREATE TABLE cover ("
    " key INTEGER PRIMARY KEY REFERENCES key (row),"
    " backup INTEGER NOT NULL REFERENCES backup (row)"
    ") STRICT;"

    /*
     * Kept by the triggers below, since every status asks: the keys in use or
     * for use that have no row in `cover`, and how many of each state do.
     */
    "CREATE TABLE uncovered ("
    " key INTEGER PRIMARY KEY,"
    " pool INTEGER NOT NULL,"
    " ended INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX uncovered_by_age ON uncovered (pool, ended);"
    "CREATE TABLE cover_count ("
    " pool INTEGER NOT NULL REFERENCES pool (row),"
    " state TEXT NOT NULL,"
    " n INTEGER NOT NULL CHECK (n >= 0),"
    " PRIMARY KEY (pool, state)"
    ") STRICT, WITHOUT ROWID;"
    "INSERT INTO uncovered SELECT row, pool, ended FROM key WHERE state IN ("
    " 'made', 'ready', 'surplus', 'taking', 'taken', 'retired', 'missing');"

    /*
     * The triggers before an INSERT ask for what is there already as well: an
     * INSERT OR REPLACE would take it away, and no other trigger sees that.
     */
    "CREATE TRIGGER backup_begins BEFORE INSERT ON backup BEGIN"
    " SELECT RAISE(ABORT, 'a backup begins as open') WHERE NEW.state <> 'open';"
    " SELECT RAISE(ABORT, 'a backup of the repository is open') WHERE EXISTS ("
    "  SELECT 1 FROM backup WHERE repository = NEW.repository"
    "  AND state = 'open');"
    " SELECT RAISE(ABORT, 'a backup on record cannot change') WHERE EXISTS ("
    "  SELECT 1 FROM backup WHERE row = NEW.row"
    "  OR (repository = NEW.repository AND label = NEW.label));"
    "END;"
    "CREATE TRIGGER backup_moves BEFORE UPDATE ON backup BEGIN"
    " SELECT RAISE(ABORT, 'a backup on record cannot change')"
    "  WHERE OLD.state <> 'open' OR NEW.state = 'open'"
    "  OR NEW.row IS NOT OLD.row OR NEW.repository IS NOT OLD.repository"
    "  OR NEW.label IS NOT OLD.label OR NEW.recorded IS NOT OLD.recorded"
    "  OR NEW.started IS NOT OLD.started OR NEW.uid IS NOT OLD.uid"
    "  OR NEW.pid IS NOT OLD.pid OR NEW.note IS NOT OLD.note"
    "  OR NEW.medium IS NOT OLD.medium OR NEW.frozen IS NOT OLD.frozen;"
    " SELECT RAISE(ABORT, 'a backup skips the keys that are named')"
    "  WHERE NEW.state = 'committed' AND NEW.skipped <> ("
    "   SELECT count(*) FROM backup_skip WHERE backup = NEW.row);"
    "END;"
    "CREATE TRIGGER backup_kept BEFORE DELETE ON backup BEGIN"
    " SELECT RAISE(ABORT, 'a backup on record cannot be deleted');"
    "END;"

    "CREATE TRIGGER backup_run_goes_on BEFORE INSERT ON backup_run BEGIN"
    " SELECT RAISE(ABORT, 'the set of a backup is fixed when it begins')"
    "  WHERE NOT EXISTS (SELECT 1 FROM backup WHERE row = NEW.backup"
    "   AND state = 'open' AND NEW.upto <= frozen)"
    "  OR EXISTS (SELECT 1 FROM (SELECT high, upto FROM backup_run"
    "    WHERE backup = NEW.backup ORDER BY low DESC LIMIT 1)"
    "   WHERE NEW.low <= high OR NEW.upto <= upto);"
    "END;"
    "CREATE TRIGGER backup_run_stays BEFORE UPDATE ON backup_run BEGIN"
    " SELECT RAISE(ABORT, 'the set of a backup is fixed when it begins');"
    "END;"
    "CREATE TRIGGER backup_run_kept BEFORE DELETE ON backup_run BEGIN"
    " SELECT RAISE(ABORT, 'the set of a backup is fixed when it begins');"
    "END;"

    "CREATE TRIGGER backup_skip_begins BEFORE INSERT ON backup_skip BEGIN"
    " SELECT RAISE(ABORT, 'an open backup skips a key of its set, once')"
    "  WHERE NOT EXISTS (SELECT 1 FROM backup b"
    "   JOIN key k ON k.row = NEW.key"
    "   JOIN pool p ON p.row = k.pool AND p.repository = b.repository"
    "   WHERE b.row = NEW.backup AND b.state = 'open'"
    "   AND k.row <= (SELECT high FROM backup_run WHERE backup = b.row"
    "    AND low <= k.row ORDER BY low DESC LIMIT 1))"
    "  OR EXISTS (SELECT 1 FROM backup_skip WHERE backup = NEW.backup"
    "   AND key = NEW.key);"
    "END;"
    "CREATE TRIGGER backup_skip_stays BEFORE UPDATE ON backup_skip BEGIN"
    " SELECT RAISE(ABORT, 'what a backup skipped cannot change');"
    "END;"
    "CREATE TRIGGER backup_skip_kept BEFORE DELETE ON backup_skip BEGIN"
    " SELECT RAISE(ABORT, 'what a backup skipped cannot change');"
    "END;"

    /* All of a set are covered when its commit is through: none comes later. */
    "CREATE TRIGGER cover_begins BEFORE INSERT ON cover BEGIN"
    " SELECT RAISE(ABORT, 'a committed backup covers the keys of its set,"
    " once') WHERE NOT EXISTS (SELECT 1 FROM backup b"
    "   JOIN key k ON k.row = NEW.key"
    "   JOIN pool p ON p.row = k.pool AND p.repository = b.repository"
    "   WHERE b.row = NEW.backup AND b.state = 'committed'"
    "   AND k.row <= (SELECT high FROM backup_run WHERE backup = b.row"
    "    AND low <= k.row ORDER BY low DESC LIMIT 1)"
    "   AND NOT EXISTS (SELECT 1 FROM backup_skip WHERE backup = b.row"
    "    AND key = k.row))"
    "  OR EXISTS (SELECT 1 FROM cover WHERE key = NEW.key);"
    "END;"
    "CREATE TRIGGER cover_begun AFTER INSERT ON cover BEGIN"
    " DELETE FROM uncovered WHERE key = NEW.key;"
    " INSERT INTO cover_count SELECT pool, state, 1 FROM key"
    "  WHERE row = NEW.key"
    "  ON CONFLICT (pool, state) DO UPDATE SET n = n + 1;"
    "END;"
    "CREATE TRIGGER cover_stays BEFORE UPDATE ON cover BEGIN"
    " SELECT RAISE(ABORT, 'which backup covers a key cannot change');"
    "END;"
    "CREATE TRIGGER cover_kept BEFORE DELETE ON cover BEGIN"
    " SELECT RAISE(ABORT, 'which backup covers a key cannot change');"
    "END;"

    /*
     * By the state that is left and the one that is entered, so that the moves
     * in between, which are most, cost a comparison and not a look.
     */
    "CREATE TRIGGER key_needs_backup AFTER UPDATE OF state ON key"
    " WHEN (NEW.state = 'made' AND OLD.state IN ('intended', 'unknown'))"
    "  OR (NEW.state = 'missing' AND OLD.state = 'quarantined') BEGIN"
    " INSERT INTO uncovered SELECT NEW.row, NEW.pool, NEW.ended"
    "  WHERE NOT EXISTS (SELECT 1 FROM cover WHERE key = NEW.row);"
    "END;"
    "CREATE TRIGGER key_needs_no_backup AFTER UPDATE OF state ON key"
    " WHEN (NEW.state = 'quarantined' OR NEW.state = 'destroying'"
    "  OR NEW.state = 'consumed') AND OLD.state <> NEW.state BEGIN"
    " DELETE FROM uncovered WHERE key = NEW.row;"
    "END;"
    "CREATE TRIGGER key_moved_covered AFTER UPDATE OF state ON key"
    " WHEN NEW.state <> OLD.state"
    " AND EXISTS (SELECT 1 FROM cover WHERE key = NEW.row) BEGIN"
    " UPDATE cover_count SET n = n - 1"
    "  WHERE pool = OLD.pool AND state = OLD.state;"
    " INSERT INTO cover_count VALUES (NEW.pool, NEW.state, 1)"
    "  ON CONFLICT (pool, state) DO UPDATE SET n = n + 1;"
    "END;"

    /*
     * For operators with sqlite3: documented in ksmpoold(8), kept stable. The
     * columns of `keys` that were there before are as they were.
     */
    "DROP VIEW keys;"
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
    " k.ended AS created_s,"
    " b.label AS backup,"
    " strftime('%Y-%m-%dT%H:%M:%SZ', b.started, 'unixepoch') AS backed_up"
    " FROM key k JOIN pool p ON p.row = k.pool"
    " JOIN repository r ON r.row = p.repository"
    " LEFT JOIN cover c ON c.key = k.row"
    " LEFT JOIN backup b ON b.row = c.backup;"

    "CREATE VIEW backups AS SELECT"
    " r.name AS repository,"
    " b.label AS label,"
    " b.state AS state,"
    " strftime('%Y-%m-%dT%H:%M:%SZ', b.started, 'unixepoch') AS started,"
    " strftime('%Y-%m-%dT%H:%M:%SZ', b.finished, 'unixepoch') AS finished,"
    " b.frozen AS frozen,"
    " b.covered AS covered,"
    " b.skipped AS skipped,"
    " b.recorded AS recorded,"
    " b.uid AS uid,"
    " b.pid AS pid,"
    " b.medium AS medium,"
    " b.note AS note,"
    " b.started AS started_s,"
    " b.finished AS finished_s"
    " FROM backup b JOIN repository r ON r.row = b.repository;"

    "CREATE VIEW keys_not_in_last_backup AS"
    " WITH newest (repository, backup) AS MATERIALIZED ("
    "  SELECT repository, max(row) FROM backup WHERE state = 'committed'"
    "  GROUP BY repository)"
    " SELECT"
    " lower(hex(k.cka_id)) AS id,"
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
    " k.ended AS created_s,"
    " l.label AS last_backup,"
    " b.label AS backup"
    " FROM key k JOIN pool p ON p.row = k.pool"
    " JOIN repository r ON r.row = p.repository"
    " LEFT JOIN newest n ON n.repository = p.repository"
    " LEFT JOIN backup l ON l.row = n.backup"
    " LEFT JOIN cover c ON c.key = k.row"
    " LEFT JOIN backup b ON b.row = c.backup"
    " WHERE k.state IN ('made', 'ready', 'surplus', 'taking', 'taken',"
    "  'retired', 'missing')"
    " AND (coalesce(k.row > (SELECT high FROM backup_run"
    "   WHERE backup = n.backup AND low <= k.row"
    "   ORDER BY low DESC LIMIT 1), 1)"
    "  OR EXISTS (SELECT 1 FROM backup_skip"
    "   WHERE backup = n.backup AND key = k.row));";

/*
 * Hand-outs: see store_handout.h. What a key is stands here once more, because
 * the journal may know of keys that this database, restored from an older
 * copy, does not.
 */
static const char schema_4[] =
    "ALTER TABLE zone_count ADD COLUMN owners INTEGER NOT NULL DEFAULT 0"
    "  CHECK (owners >= 0);"
    "UPDATE zone_count SET owners = zones;"

    "CREATE TABLE handout ("
    " number INTEGER PRIMARY KEY CHECK (number > 0),"
    " cka_id BLOB NOT NULL CHECK (length(cka_id) = 16),"
    " zone TEXT NOT NULL CHECK (length(CAST(zone AS BLOB)) <= 1023),"
    " repository TEXT NOT NULL,"
    " policy TEXT NOT NULL CHECK (length(CAST(policy AS BLOB)) <= 255),"
    " role TEXT NOT NULL CHECK (role IN ('KSK', 'ZSK', 'CSK')),"
    " alg INTEGER NOT NULL CHECK (alg BETWEEN 1 AND 255),"
    " bits INTEGER NOT NULL CHECK (bits > 0),"
    " share TEXT NOT NULL CHECK (length(CAST(share AS BLOB)) <= 1031),"
    " drawn INTEGER NOT NULL CHECK (drawn IN (0, 1)),"
    " request TEXT CHECK (length(CAST(request AS BLOB)) BETWEEN 1 AND 63),"
    " consumer TEXT NOT NULL CHECK (length(CAST(consumer AS BLOB)) <= 31),"
    " when_s INTEGER NOT NULL,"
    " uid INTEGER,"
    " pid INTEGER,"
    " uncovered INTEGER NOT NULL CHECK (uncovered IN (0, 1)),"
    " outside INTEGER NOT NULL CHECK (outside IN (0, 1)),"
    " serial INTEGER NOT NULL,"
    " mark INTEGER NOT NULL,"
    " line TEXT NOT NULL CHECK (length(CAST(line AS BLOB)) BETWEEN 2 AND 4095),"
    " hash BLOB NOT NULL CHECK (length(hash) = 32)"
    ") STRICT;"
    /* Whatever else happens: no key is drawn twice. */
    "CREATE UNIQUE INDEX handout_drawn ON handout (cka_id) WHERE drawn = 1;"
    "CREATE INDEX handout_by_request ON handout (request)"
    " WHERE request IS NOT NULL;"
    "CREATE INDEX handout_by_zone ON handout (zone);"
    "CREATE INDEX handout_by_share ON handout (policy, share)"
    " WHERE drawn = 1;"
    "CREATE INDEX handout_by_key ON handout (cka_id);"
    "CREATE INDEX key_ready ON key (pool, serial) WHERE state = 'ready';"

    "ALTER TABLE meta ADD COLUMN handout_number INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE meta ADD COLUMN handout_hash BLOB NOT NULL DEFAULT"
    " x'0000000000000000000000000000000000000000000000000000000000000000'"
    "  CHECK (length(handout_hash) = 32);"
    "ALTER TABLE meta ADD COLUMN handout_lock TEXT NOT NULL DEFAULT ''"
    "  CHECK (length(CAST(handout_lock AS BLOB)) <= 511);"
    "ALTER TABLE repository ADD COLUMN orphans_accepted INTEGER NOT NULL"
    " DEFAULT 0 CHECK (orphans_accepted >= 0);"

    "CREATE TRIGGER handout_goes_on BEFORE INSERT ON handout BEGIN"
    " SELECT RAISE(ABORT, 'hand-outs have no gap and no second of a number')"
    "  WHERE NEW.number IS NOT (SELECT handout_number + 1 FROM meta);"
    " SELECT RAISE(ABORT, 'a key is drawn once') WHERE NEW.drawn = 1"
    "  AND EXISTS (SELECT 1 FROM handout WHERE cka_id = NEW.cka_id);"
    "END;"
    "CREATE TRIGGER handout_went_on AFTER INSERT ON handout BEGIN"
    " UPDATE meta SET handout_number = NEW.number, handout_hash = NEW.hash;"
    "END;"
    "CREATE TRIGGER handout_stays BEFORE UPDATE ON handout BEGIN"
    " SELECT RAISE(ABORT, 'what was handed out cannot change');"
    "END;"
    "CREATE TRIGGER handout_kept BEFORE DELETE ON handout BEGIN"
    " SELECT RAISE(ABORT, 'what was handed out cannot change');"
    "END;"
    "CREATE TRIGGER meta_handout_grows"
    " BEFORE UPDATE OF handout_number, handout_hash ON meta"
    " WHEN NEW.handout_number IS NOT OLD.handout_number + 1 BEGIN"
    " SELECT RAISE(ABORT, 'hand-outs only grow');"
    "END;"

    /* For operators with sqlite3: documented in ksmpoold(8), kept stable. */
    "CREATE VIEW handouts AS SELECT"
    " number,"
    " strftime('%Y-%m-%dT%H:%M:%SZ', when_s, 'unixepoch') AS time,"
    " lower(hex(cka_id)) AS id,"
    " zone,"
    " policy,"
    " role,"
    " repository,"
    " share,"
    " drawn,"
    " request,"
    " consumer,"
    " uid,"
    " pid,"
    " uncovered,"
    " outside,"
    " when_s AS time_s"
    " FROM handout;";

const char *const store_migrations[] = {
	schema_1,
	schema_2,
	schema_3,
	schema_4,
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

/* Of keys that are covered, as above of all. */
#define TRUE_COVERS                                                            \
	"SELECT k.pool, k.state, count(*) FROM cover c "                       \
	"JOIN key k ON k.row = c.key GROUP BY k.pool, k.state"
#define KEPT_COVERS "SELECT pool, state, n FROM cover_count WHERE n > 0"

#define TRUE_UNCOVERED                                                         \
	"SELECT row, pool, ended FROM key WHERE state IN " STORE_IN_USE        \
	" AND ended IS NOT NULL"                                               \
	" AND NOT EXISTS (SELECT 1 FROM cover WHERE key = key.row)"

const char store_covers_differ[] =
    "WITH kept AS (" KEPT_COVERS "), truth (pool, state, n) AS (" TRUE_COVERS
    ") SELECT 'pool row ' || pool || ' has ' || coalesce((SELECT n FROM truth"
    " t WHERE t.pool = d.pool AND t.state = d.state), 0) || ' keys that are ' "
    "|| state || ' and in a backup; its count says ' || coalesce((SELECT n "
    "FROM kept k WHERE k.pool = d.pool AND k.state = d.state), 0) "
    "FROM (SELECT DISTINCT pool, state FROM ("
    "SELECT * FROM (SELECT * FROM truth EXCEPT SELECT * FROM kept)"
    " UNION ALL SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM truth)"
    ")) d";

const char store_uncovered_differ[] =
    "SELECT 'key ' || lower(hex(cka_id)) || ' (' || state || '): is in no "
    "backup, and not counted so' FROM key WHERE state IN " STORE_IN_USE
    " AND NOT EXISTS (SELECT 1 FROM cover WHERE key = key.row)"
    " AND NOT EXISTS (SELECT 1 FROM uncovered u WHERE u.key = key.row"
    " AND u.pool = key.pool AND coalesce(u.ended = key.ended, 1))"
    " UNION ALL SELECT 'key row ' || u.key || ': is counted as in no backup, "
    "and should not be' FROM uncovered u LEFT JOIN key k ON k.row = u.key"
    " WHERE k.row IS NULL OR k.state NOT IN " STORE_IN_USE
    " OR u.pool <> k.pool OR u.ended <> k.ended"
    " OR EXISTS (SELECT 1 FROM cover c WHERE c.key = u.key)";

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
	char *values = NULL, *ask = NULL, *put = NULL, *ask_covers = NULL;
	int64_t arrows_differ = 0, counts_differ = 0, covers_differ = 0;
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
	if (err == KSM_OK) {
		ask_covers = sqlite3_mprintf("SELECT EXISTS (" TRUE_COVERS
		    " EXCEPT " KEPT_COVERS ") OR EXISTS (" KEPT_COVERS
		    " EXCEPT " TRUE_COVERS ") OR EXISTS (%s)",
		    store_uncovered_differ);
		err = ask_covers == NULL ?
		    ksm_failf(fail, KSM_ENOMEM, "database: no memory") :
		    store_ask_int(st, ask_covers, &covers_differ, fail);
	}
	if (err != KSM_OK ||
	    (arrows_differ == 0 && counts_differ == 0 && covers_differ == 0))
		goto out;

	if (store_exec(st, "BEGIN IMMEDIATE") != SQLITE_OK ||
	    store_exec(st, put) != SQLITE_OK ||
	    store_exec(st, "DELETE FROM key_count;"
		"INSERT INTO key_count " TRUE_COUNTS ";"
		"DELETE FROM cover_count;"
		"INSERT INTO cover_count " TRUE_COVERS ";"
		"DELETE FROM uncovered;"
		"INSERT INTO uncovered " TRUE_UNCOVERED) != SQLITE_OK ||
	    store_exec(st, "COMMIT") != SQLITE_OK) {
		err = store_failed(st, "prepare database", fail);
		if (sqlite3_get_autocommit(st->db) == 0)
			(void)store_exec(st, "ROLLBACK");
	}
out:
	sqlite3_free(values);
	sqlite3_free(ask);
	sqlite3_free(put);
	sqlite3_free(ask_covers);
	return err;
}
