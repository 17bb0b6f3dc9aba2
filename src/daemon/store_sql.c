#include "store_internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define POOL_COLUMNS "p.policy, p.role, r.name, p.alg, p.bits"
#define POOL_JOIN                                                              \
	"CROSS JOIN pool p ON p.row = k.pool "                                 \
	"CROSS JOIN repository r ON r.row = p.repository "

/* As store_key_read in store_key.c reads them. */
#define KEY_COLUMNS                                                            \
	"k.row, k.cka_id, k.serial, " POOL_COLUMNS ", k.state, k.was, "        \
	"k.proved, k.adopted, k.why, k.since, k.intended, k.started, "         \
	"k.ended, k.pub, k.digest, k.tag_zsk, k.tag_ksk, k.tag_revoked, "      \
	"k.single "

/*
 * CROSS JOIN keeps the key table outermost: the pages come in row order from
 * the table or from key_by_state, without a sort.
 */
#define KEY_LIST                                                               \
	"SELECT " KEY_COLUMNS "FROM key k " POOL_JOIN                          \
	"WHERE k.row > :cursor "                                               \
	"AND (:after IS NULL OR k.ended IS NULL OR k.ended >= :after) "        \
	"AND (:before IS NULL OR k.ended < :before) "                          \
	"AND (:alg IS NULL OR p.alg = :alg) "                                  \
	"AND (:tag IS NULL "                                                   \
	"OR :tag IN (k.tag_zsk, k.tag_ksk, k.tag_revoked)) "                   \
	"AND (:policy IS NULL OR p.policy = :policy) "                         \
	"AND (:repository IS NULL OR r.name = :repository) "                   \
	"AND (:role IS NULL OR p.role = :role) "

/* As history_read in store_history.c reads them. */
#define HISTORY_COLUMNS                                                        \
	"number, when_s, uid, pid, what, subject, why, hash "
#define HISTORY_LIST                                                           \
	"SELECT " HISTORY_COLUMNS "FROM history WHERE number > :cursor "       \
	"AND number <= :stop "                                                 \
	"AND (:since IS NULL OR when_s >= :since) "                            \
	"AND (:until IS NULL OR when_s < :until) "                             \
	"AND (:what IS NULL OR substr(what, 1, length(:what)) = :what) "       \
	"AND (:uid IS NULL OR uid = :uid) "

#define THE_REPOSITORY "(SELECT row FROM repository WHERE name = :repository)"

/* As backup_read in store_backup.c reads them. */
#define BACKUP_COLUMNS                                                         \
	"b.row, r.name, b.label, b.state, b.recorded, b.started, b.finished, " \
	"b.uid, b.pid, b.note, b.medium, b.frozen, b.covered, b.skipped "
#define BACKUP_FROM                                                            \
	"FROM backup b JOIN repository r ON r.row = b.repository "

/*
 * Whether key k belongs into the set: with :started it must be older, by its
 * date and by its serial.
 */
#define BACKUP_MEMBER                                                          \
	"k.state IN ('made', 'ready', 'surplus', 'taking', 'taken', "          \
	"'retired') AND (:started IS NULL "                                    \
	"OR (k.ended < :started AND k.serial < :cut))"
#define BACKUP_CANDIDATES                                                      \
	"FROM key k CROSS JOIN pool p ON p.row = k.pool "                      \
	"WHERE p.repository = :repository"
/* Keys k of backup b from row number `from` on, in row order. */
#define BACKUP_SET(from)                                                       \
	"FROM backup b CROSS JOIN backup_run s ON s.backup = b.row "           \
	"CROSS JOIN key k ON k.row BETWEEN " from " AND s.high "               \
	"CROSS JOIN pool p ON p.row = k.pool AND p.repository = b.repository "
/* Whether a backup of k's repository has k in its set. */
#define BACKUP_HAS(backup)                                                     \
	"k.row <= (SELECT high FROM backup_run WHERE backup = " backup " "     \
	"AND low <= k.row ORDER BY low DESC LIMIT 1)"
#define BACKUP_SKIPS(backup)                                                   \
	"EXISTS (SELECT 1 FROM backup_skip WHERE backup = " backup " "         \
	"AND key = k.row)"

/* As handout_read in store_handout.c reads them. */
#define HANDOUT_COLUMNS                                                        \
	"h.number, h.cka_id, h.zone, h.policy, h.role, h.repository, h.alg, "  \
	"h.bits, h.share, h.drawn, h.request, h.consumer, h.when_s, h.uid, "   \
	"h.pid, h.uncovered, h.outside, h.serial, h.mark "
#define HANDOUT_LIST                                                           \
	"SELECT " HANDOUT_COLUMNS "FROM handout h WHERE h.number > :cursor "   \
	"AND (:policy IS NULL OR h.policy = :policy) "
#define HANDOUT_ORDER " ORDER BY h.number"

/* What was handed out to a zone, and what was drawn for its group. */
#define HOME_KEYS                                                              \
	"WITH others (cka_id) AS (SELECT cka_id FROM handout "                 \
	"WHERE zone = :zone UNION ALL SELECT cka_id FROM handout "             \
	"WHERE policy = :policy AND share = :share AND drawn = 1) "

static const char *const store_sql[ST__COUNT] = {
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",

	[ST_REPOSITORY_GET] =
	    "SELECT row, name, token_label, token_serial, trouble, reason, "
	    "since, pin_print FROM repository WHERE name = :name",
	[ST_REPOSITORY_ADD] = "INSERT INTO repository (name) VALUES (:name)",
	[ST_REPOSITORY_TOKEN] =
	    "UPDATE repository SET token_label = :label, "
	    "token_serial = :serial WHERE row = :row",
	[ST_REPOSITORY_TROUBLE] =
	    "UPDATE repository SET trouble = :trouble, reason = :reason, "
	    "pin_print = :pin_print, since = :now WHERE row = :row",
	[ST_REPOSITORY_SYNCED] =
	    "UPDATE repository SET synced = max(synced, :serial) "
	    "WHERE row = :row",

	[ST_POOL_GET] =
	    "SELECT p.row, p.auto_made FROM repository r "
	    "JOIN pool p ON p.repository = r.row "
	    "WHERE r.name = :repository AND p.policy = :policy "
	    "AND p.role = :role AND p.alg = :alg AND p.bits = :bits",
	[ST_POOL_ADD] =
	    "INSERT INTO pool (policy, role, repository, alg, bits) "
	    "VALUES (:policy, :role, :repository, :alg, :bits)",
	[ST_POOL_AUTO] = "UPDATE pool SET auto_made = :n WHERE row = :row",
	[ST_POLICY_KNOWN] =
	    "SELECT EXISTS (SELECT 1 FROM pool WHERE policy = :name)",
	[ST_REPOSITORY_KNOWN] =
	    "SELECT EXISTS (SELECT 1 FROM repository WHERE name = :name)",

	[ST_POOL_NAMES] =
	    "SELECT p.policy, p.role, r.name FROM pool p "
	    "JOIN repository r ON r.row = p.repository WHERE p.row = :row",

	[ST_COUNTS] =
	    "SELECT c.pool, " POOL_COLUMNS ", c.state, c.n FROM key_count c "
	    "CROSS JOIN pool p ON p.row = c.pool "
	    "CROSS JOIN repository r ON r.row = p.repository "
	    "WHERE c.n > 0 ORDER BY c.pool",
	[ST_COUNTS_UNUSED] =
	    "SELECT pool, state FROM key_count "
	    "WHERE n > 0 AND state IN ('ready', 'surplus')",
	[ST_COUNT_STATE] =
	    "SELECT coalesce(sum(n), 0) FROM key_count WHERE state = :state",

	[ST_KEY_INTEND] =
	    "INSERT INTO key (cka_id, pool, state, since, intended) "
	    "VALUES (:id, :pool, 'intended', :now, :now)",
	[ST_KEY_CLAIM] =
	    "INSERT INTO key (cka_id, pool, state, since, intended, claimed) "
	    "VALUES (:id, :pool, 'intended', :now, :now, 1)",
	/* The trigger key_serial carries meta.serial forward. */
	[ST_KEY_MADE] =
	    "UPDATE key SET state = 'made', since = :now, why = :why, "
	    "serial = (SELECT serial + 1 FROM meta), started = :started, "
	    "ended = :ended, took_ms = :took, adopted = :adopted, "
	    "proved = :proved, single = :single, pub = :pub, "
	    "digest = :digest, tag_zsk = :tag_zsk, tag_ksk = :tag_ksk, "
	    "tag_revoked = :tag_revoked "
	    "WHERE cka_id = :id AND state IN ('intended', 'unknown') "
	    "RETURNING serial, pool",
	[ST_KEY_PROVED] =
	    "UPDATE key SET proved = 1 WHERE cka_id = :id "
	    "AND serial IS NOT NULL",
	[ST_KEY_REFUSED] =
	    "DELETE FROM key WHERE cka_id = :id "
	    "AND state IN ('intended', 'unknown')",
	[ST_KEY_MOVE] =
	    "UPDATE key SET state = :to, was = :was, since = :now, why = :why "
	    "WHERE cka_id = :id AND state = :from",
	[ST_KEYS_SHIFT] =
	    "UPDATE key SET state = :to, since = :now, why = :why "
	    "WHERE state = :from AND pool = :pool",
	[ST_KEYS_ORPHAN] =
	    "UPDATE key SET state = 'unknown', since = :now, "
	    "why = 'whoever asked for it is gone' WHERE state = 'intended'",
	[ST_KEYS_DOUBT] =
	    "UPDATE key SET proved = 0 WHERE proved = 1 "
	    "AND state IN ('made', 'ready', 'surplus', 'taking', 'taken', "
	    "'retired', 'destroying') "
	    "AND EXISTS (SELECT 1 FROM pool p "
	    "JOIN repository r ON r.row = p.repository "
	    "WHERE p.row = key.pool AND key.serial > r.synced "
	    "AND (r.synced > 0 OR key.ended >= "
	    "(SELECT max(newest, coalesce(zones_when, 0)) - 3600 "
	    "FROM meta)))",

	[ST_KEY_GET] =
	    "SELECT " KEY_COLUMNS "FROM key k " POOL_JOIN
	    "WHERE k.cka_id = :id",
	[ST_DIGEST_FIND] =
	    "SELECT row, cka_id FROM key WHERE digest = :digest "
	    "AND cka_id <> :but ORDER BY row LIMIT 1",
	[ST_KEYS_BRIEF] =
	    "SELECT k.row, k.cka_id, k.serial, k.state, k.was, k.proved, "
	    "k.single, p.alg, k.claimed, CASE WHEN k.state IN ('taken', "
	    "'retired') THEN (SELECT coalesce(min("
	    "h.consumer IN (" STORE_DESTROYERS ")), 0) FROM handout h "
	    "WHERE h.cka_id = k.cka_id) "
	    "ELSE 0 END FROM key k CROSS JOIN pool p ON p.row = k.pool "
	    "WHERE k.row > :cursor AND p.repository = " THE_REPOSITORY
	    " ORDER BY k.row",
	[ST_KEYS_LIST] = KEY_LIST "ORDER BY k.row",
	[ST_KEYS_LIST_STATE] = KEY_LIST "AND k.state = :state ORDER BY k.row",

	[ST_NEWEST] = "SELECT newest FROM meta",
	[ST_NEWEST_ACCEPT] = "UPDATE meta SET newest = min(newest, :now)",
	[ST_PAUSE_GET] =
	    "SELECT pause_since, pause_until, pause_uid, pause_pid, "
	    "pause_reason FROM meta",
	[ST_PAUSE_PUT] =
	    "UPDATE meta SET pause_since = :since, pause_until = :until, "
	    "pause_uid = :uid, pause_pid = :pid, pause_reason = :reason",

	[ST_HISTORY_HEAD] = "SELECT history_number, history_hash FROM meta",
	/* The trigger history_went_on carries the head forward. */
	[ST_HISTORY_ADD] =
	    "INSERT INTO history (number, when_s, uid, pid, what, subject, "
	    "why, hash) VALUES (:number, :when, :uid, :pid, :what, :subject, "
	    ":why, :hash)",
	[ST_HISTORY_LIST] = HISTORY_LIST "ORDER BY number",
	[ST_HISTORY_LIST_SUBJECT] =
	    HISTORY_LIST "AND subject = :subject ORDER BY number",
	[ST_HISTORY_NEXT] =
	    "SELECT " HISTORY_COLUMNS "FROM history WHERE number > :cursor "
	    "ORDER BY number",
	[ST_BOOT_GET] = "SELECT boot_id FROM meta",
	[ST_BOOT_PUT] = "UPDATE meta SET boot_id = :boot_id",

	[ST_RATE_GET] =
	    "SELECT us FROM rate WHERE repository = " THE_REPOSITORY
	    " AND alg = :alg AND bits = :bits",
	[ST_RATE_ADD] =
	    "INSERT INTO rate (repository, alg, bits, us) "
	    "SELECT row, :alg, :bits, :us FROM repository "
	    "WHERE name = :repository "
	    "ON CONFLICT DO UPDATE SET us = us + (excluded.us - us) / 16",

	[ST_ZONES_CLEAR] = "DELETE FROM zone_count",
	[ST_ZONES_ADD] =
	    "INSERT INTO zone_count (policy, zones, owners) "
	    "VALUES (:policy, :zones, :owners)",
	[ST_ZONES_WHEN] =
	    "UPDATE meta SET zones_when = :now",
	[ST_ZONES_WHEN_GET] = "SELECT zones_when FROM meta",
	[ST_ZONES_GET] = "SELECT policy, zones, owners FROM zone_count",

	[ST_RUN_START] =
	    "INSERT INTO run (cause, uid, pid, most, started, wanted, made, "
	    "failed, held) VALUES (:cause, :uid, :pid, :most, :started, "
	    ":wanted, :made, :failed, :held)",
	[ST_RUN_END] =
	    "UPDATE run SET ended = :ended, wanted = :wanted, made = :made, "
	    "failed = :failed, held = :held WHERE row = :row "
	    "AND ended IS NULL",
	[ST_RUN_LAST] =
	    "SELECT row, cause, uid, pid, most, started, ended, wanted, made, "
	    "failed, held FROM run WHERE ended IS NOT NULL "
	    "ORDER BY row DESC LIMIT 1",

	[ST_BACKUP_REPOSITORY] =
	    "SELECT row FROM repository WHERE name = :repository",
	/*
	 * Dates after :now were written under a clock that was ahead: they say
	 * nothing about the order.
	 */
	[ST_BACKUP_CUT] =
	    "SELECT min(serial) FROM key WHERE ended BETWEEN :started AND :now",
	[ST_BACKUP_ADD] =
	    "INSERT INTO backup (repository, label, state, recorded, started, "
	    "uid, pid, note, medium, frozen) "
	    "SELECT :repository, :label, 'open', :started IS NOT NULL, "
	    "coalesce(:started, :now), :uid, :pid, :note, :medium, "
	    "(SELECT count(*) " BACKUP_CANDIDATES " AND " BACKUP_MEMBER ")",
	/* Between two keys of one run stands none that is not in the set. */
	[ST_BACKUP_FREEZE] =
	    "INSERT INTO backup_run (backup, low, high, upto) "
	    "SELECT :backup, min(row), max(row), max(upto) FROM ("
	    "SELECT row, member, sum(member) OVER w AS upto, "
	    "row_number() OVER w AS place FROM (SELECT k.row AS row, "
	    BACKUP_MEMBER " AS member " BACKUP_CANDIDATES ") "
	    "WINDOW w AS (ORDER BY row ROWS UNBOUNDED PRECEDING)) "
	    "WHERE member GROUP BY place - upto ORDER BY min(row)",
	[ST_BACKUP_HAS] =
	    "SELECT 1 FROM backup b JOIN key k ON k.cka_id = :id "
	    "JOIN pool p ON p.row = k.pool AND p.repository = b.repository "
	    "WHERE b.row = :backup AND " BACKUP_HAS("b.row"),
	[ST_BACKUP_EXCEPT] =
	    "INSERT INTO backup_skip (backup, key, why) "
	    "SELECT :backup, k.row, 'excepted' FROM key k "
	    "WHERE k.cka_id = :id AND NOT " BACKUP_SKIPS(":backup"),
	[ST_BACKUP_SKIP] =
	    "INSERT INTO backup_skip (backup, key, why) "
	    "SELECT :backup, k.row, k.state " BACKUP_SET("s.low")
	    "WHERE b.row = :backup AND k.state IN ('missing', 'destroying', "
	    "'consumed', 'destroyed') AND NOT " BACKUP_SKIPS("b.row"),
	[ST_BACKUP_CLOSE] =
	    "UPDATE backup SET state = :state, finished = :finished, "
	    "skipped = iif(:state = 'committed', skips, 0), "
	    "covered = iif(:state = 'committed', frozen - skips, 0) "
	    "FROM (SELECT count(*) AS skips FROM backup_skip "
	    "WHERE backup = :backup) WHERE row = :backup AND state = 'open'",
	[ST_BACKUP_COVER] =
	    "INSERT INTO cover (key, backup) "
	    "SELECT k.row, :backup " BACKUP_SET("s.low")
	    "WHERE b.row = :backup AND NOT " BACKUP_SKIPS("b.row") " "
	    "AND NOT EXISTS (SELECT 1 FROM cover WHERE key = k.row)",

	[ST_BACKUP_GET] =
	    "SELECT " BACKUP_COLUMNS BACKUP_FROM
	    "WHERE r.name = :repository AND b.label = :label",
	[ST_BACKUP_GET_OPEN] =
	    "SELECT " BACKUP_COLUMNS BACKUP_FROM
	    "WHERE r.name = :repository AND b.state = 'open'",
	[ST_BACKUP_LAST] =
	    "SELECT " BACKUP_COLUMNS BACKUP_FROM
	    "WHERE r.name = :repository AND b.state = 'committed' "
	    "ORDER BY b.row DESC LIMIT 1",
	[ST_BACKUP_LIST] =
	    "SELECT " BACKUP_COLUMNS "FROM backup b "
	    "CROSS JOIN repository r ON r.row = b.repository "
	    "WHERE b.row > :cursor "
	    "AND (:repository IS NULL OR r.name = :repository) ORDER BY b.row",
	[ST_BACKUP_KEYS] =
	    "SELECT k.row, k.cka_id, k.state, "
	    "b.state = 'committed' AND NOT " BACKUP_SKIPS("b.row") " "
	    BACKUP_SET("max(s.low, :cursor + 1)")
	    "WHERE b.row = :backup AND s.high > :cursor "
	    "ORDER BY s.low, k.row",

	[ST_UNCOVERED_LIST] =
	    "SELECT " KEY_COLUMNS "FROM uncovered u "
	    "CROSS JOIN key k ON k.row = u.key " POOL_JOIN
	    "WHERE u.key > :cursor "
	    "AND (:pool IS NULL OR u.pool = :pool) "
	    "AND (:repository IS NULL OR r.name = :repository) "
	    "ORDER BY u.key",
	/*
	 * The first backup of a key is the one that started first, but where
	 * the clock was set back: then those after it are asked too.
	 */
	[ST_UNCOVERED_LIST_AT] =
	    "WITH latest (repository, backup) AS MATERIALIZED ("
	    "SELECT repository, max(row) FROM backup "
	    "WHERE state = 'committed' AND started <= :at "
	    "GROUP BY repository) "
	    "SELECT " KEY_COLUMNS "FROM key k " POOL_JOIN
	    "LEFT JOIN cover c ON c.key = k.row "
	    "LEFT JOIN backup b ON b.row = c.backup "
	    "LEFT JOIN latest l ON l.repository = p.repository "
	    /* '+': by row, not by state and then sorted, page after page */
	    "WHERE k.row > :cursor AND +k.state IN " STORE_IN_USE " "
	    "AND (:pool IS NULL OR k.pool = :pool) "
	    "AND (:repository IS NULL OR r.name = :repository) "
	    "AND (b.row IS NULL OR (b.started > :at "
	    "AND NOT (coalesce(l.backup > b.row, 0) "
	    "AND EXISTS (SELECT 1 FROM backup o "
	    "WHERE o.repository = p.repository AND o.state = 'committed' "
	    "AND o.row > b.row AND o.started <= :at "
	    "AND " BACKUP_HAS("o.row") " AND NOT " BACKUP_SKIPS("o.row")
	    ")))) ORDER BY k.row",
	[ST_UNCOVERED_OLDEST] =
	    "SELECT min((SELECT min(u.ended) FROM uncovered u "
	    "WHERE u.pool = p.row)) FROM pool p "
	    "WHERE p.repository = " THE_REPOSITORY,
	[ST_COVER_COUNTS] =
	    "SELECT c.pool, " POOL_COLUMNS ", c.state, coalesce(v.n, 0), c.n "
	    "FROM key_count c "
	    "CROSS JOIN pool p ON p.row = c.pool "
	    "CROSS JOIN repository r ON r.row = p.repository "
	    "LEFT JOIN cover_count v ON v.pool = c.pool AND v.state = c.state "
	    "WHERE c.n > 0 AND c.state IN " STORE_IN_USE " ORDER BY c.pool",

	/* The trigger handout_went_on carries the head forward. */
	[ST_HANDOUT_ADD] =
	    "INSERT INTO handout (number, cka_id, zone, repository, "
	    "policy, role, alg, bits, share, drawn, request, consumer, "
	    "when_s, uid, pid, uncovered, outside, serial, mark, line, hash) "
	    "VALUES (:number, :id, :zone, :repository, :policy, :role, :alg, :bits, :share, "
	    ":drawn, :request, :consumer, :when, :uid, :pid, :uncovered, "
	    ":outside, :serial, :mark, :line, :hash)",
	[ST_HANDOUT_HEAD] = "SELECT handout_number, handout_hash FROM meta",
	[ST_HANDOUT_TEXT] =
	    "SELECT line, hash FROM handout WHERE number = :number",
	[ST_HANDOUT_LIST] = HANDOUT_LIST HANDOUT_ORDER,
	/* One of these columns each: no plan fits all. */
	[ST_HANDOUT_LIST_ZONE] =
	    HANDOUT_LIST "AND h.zone = :zone "
	    "AND (:id IS NULL OR h.cka_id = :id)" HANDOUT_ORDER,
	[ST_HANDOUT_LIST_KEY] = HANDOUT_LIST "AND h.cka_id = :id" HANDOUT_ORDER,
	[ST_HANDOUT_LIST_REQUEST] =
	    HANDOUT_LIST "AND h.request = :request "
	    "AND (:zone IS NULL OR h.zone = :zone) "
	    "AND (:id IS NULL OR h.cka_id = :id)" HANDOUT_ORDER,
	[ST_HANDOUT_CURRENT] =
	    "SELECT " HANDOUT_COLUMNS "FROM handout h "
	    "WHERE h.policy = :policy AND h.share = :share "
	    "AND h.role = :role AND h.alg = :alg AND h.bits = :bits "
	    "AND h.repository = :repository AND h.drawn = 1 "
	    "ORDER BY h.number DESC LIMIT 1",
	[ST_HANDOUT_HAS] =
	    "SELECT EXISTS (SELECT 1 FROM handout "
	    "WHERE cka_id = :id AND zone = :zone)",
	[ST_HANDOUT_DRAWN] =
	    "SELECT EXISTS (SELECT 1 FROM handout "
	    "WHERE cka_id = :id AND drawn = 1)",
	[ST_HANDOUT_ZONES] =
	    "SELECT count(DISTINCT zone) FROM handout WHERE cka_id = :id",
	[ST_HANDOUT_OUTSIDE] =
	    "SELECT EXISTS (SELECT 1 FROM handout "
	    "WHERE cka_id = :id AND outside = 1)",
	[ST_TAG_CLASH] =
	    HOME_KEYS
	    "SELECT k.row, k.cka_id FROM others o "
	    "CROSS JOIN key k ON k.cka_id = o.cka_id "
	    "CROSS JOIN pool p ON p.row = k.pool "
	    "WHERE k.cka_id <> :id "
	    "AND k.state NOT IN ('destroyed', 'consumed') "
	    "AND CASE p.role WHEN 'ZSK' THEN k.tag_zsk IN (:tag, :revoked) "
	    "ELSE k.tag_ksk IN (:tag, :revoked) "
	    "OR k.tag_revoked IN (:tag, :revoked) END LIMIT 1",
	[ST_HOME_TAGS] =
	    HOME_KEYS
	    "SELECT CASE p.role WHEN 'ZSK' THEN k.tag_zsk ELSE k.tag_ksk END, "
	    "CASE p.role WHEN 'ZSK' THEN k.tag_zsk ELSE k.tag_revoked END "
	    "FROM others o CROSS JOIN key k ON k.cka_id = o.cka_id "
	    "CROSS JOIN pool p ON p.row = k.pool "
	    "WHERE k.state NOT IN ('destroyed', 'consumed')",
	[ST_CANDIDATES] =
	    "SELECT " KEY_COLUMNS "FROM key k " POOL_JOIN
	    "WHERE k.pool = :pool AND k.state = 'ready' "
	    "AND k.serial > :cursor AND k.proved = 1 "
	    "AND (:after IS NULL OR k.ended >= :after) "
	    "AND (:covered = 0 OR EXISTS (SELECT 1 FROM cover "
	    "WHERE key = k.row)) AND NOT EXISTS (SELECT 1 FROM handout "
	    "WHERE cka_id = k.cka_id) ORDER BY k.serial",
	/* By the keys that are left: they are few beside what went out. */
	[ST_HANDED_OUT] =
	    "SELECT k.row, k.cka_id, k.state FROM key k INDEXED BY key_by_state "
	    "WHERE k.state IN ('unknown', 'made', 'ready', 'surplus', 'taking', "
	    "'missing', 'quarantined') AND k.row > :cursor "
	    "AND coalesce(k.was, '') NOT IN ('taken', 'retired') "
	    "AND EXISTS (SELECT 1 FROM handout h WHERE h.cka_id = k.cka_id "
	    "AND h.drawn = 1) ORDER BY k.row",
	[ST_KEY_COVERED] =
	    "SELECT EXISTS (SELECT 1 FROM cover c JOIN key k ON k.row = c.key "
	    "WHERE k.cka_id = :id)",
	[ST_HANDOUT_LOCKED] = "SELECT handout_lock FROM meta",
	[ST_HANDOUT_LOCK] = "UPDATE meta SET handout_lock = :reason",
	[ST_SERIAL_RAISE] =
	    "UPDATE meta SET serial = max(serial, :serial) RETURNING serial",
	[ST_ORPHANS_ACCEPTED] =
	    "SELECT orphans_accepted FROM repository WHERE row = :row",
	[ST_ORPHANS_ACCEPT] =
	    "UPDATE repository SET orphans_accepted = :n WHERE row = :row",
};

enum ksm_err
store_prepare_one(struct store *st, enum store_stmt which,
    struct ksm_fail *fail)
{
	if (sqlite3_prepare_v3(st->db, store_sql[which], -1,
		SQLITE_PREPARE_PERSISTENT, &st->stmt[which], NULL) != SQLITE_OK)
		return store_failed(st, "prepare statements", fail);
	return KSM_OK;
}

enum ksm_err
store_prepare(struct store *st, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;

	for (int i = 0; err == KSM_OK && i < ST__COUNT; i++)
		err = store_prepare_one(st, (enum store_stmt)i, fail);
	return err;
}

void
store_finalize(struct store *st)
{
	for (int i = 0; i < ST__COUNT; i++) {
		(void)sqlite3_finalize(st->stmt[i]);
		st->stmt[i] = NULL;
	}
}

int
store_exec(struct store *st, const char *sql)
{
	return sqlite3_exec(st->db, sql, NULL, NULL, NULL);
}

enum ksm_err
store_ask_int(struct store *st, const char *sql, int64_t *out,
    struct ksm_fail *fail)
{
	sqlite3_stmt *q = NULL;
	enum ksm_err err = KSM_OK;

	if (sqlite3_prepare_v2(st->db, sql, -1, &q, NULL) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW)
		err = store_failed(st, "read database", fail);
	else
		*out = sqlite3_column_int64(q, 0);
	(void)sqlite3_finalize(q);
	return err;
}

int
bind_int(sqlite3_stmt *q, const char *name, int64_t v)
{
	return sqlite3_bind_int64(q, sqlite3_bind_parameter_index(q, name), v);
}

int
bind_known(sqlite3_stmt *q, const char *name, int64_t v, int64_t unknown)
{
	return v == unknown ? SQLITE_OK : bind_int(q, name, v);
}

int
bind_text(sqlite3_stmt *q, const char *name, const char *text)
{
	return sqlite3_bind_text(q, sqlite3_bind_parameter_index(q, name), text,
	    -1, SQLITE_TRANSIENT);
}

int
bind_blob(sqlite3_stmt *q, const char *name, const void *p, size_t len)
{
	return sqlite3_bind_blob64(q, sqlite3_bind_parameter_index(q, name), p,
	    len, SQLITE_TRANSIENT);
}

size_t
text_cut(const char *text, size_t size)
{
	size_t len = strlen(text);

	if (len >= size) {
		len = size - 1;
		/* Not in the middle of a character: 10xxxxxx continues one. */
		while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
			len--;
	}
	return len;
}

int
bind_cut(sqlite3_stmt *q, const char *name, const char *text, size_t size)
{
	size_t len = text_cut(text, size);

	return sqlite3_bind_text64(q, sqlite3_bind_parameter_index(q, name),
	    text, len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

bool
column_text(sqlite3_stmt *q, int col, char *out, size_t size)
{
	const unsigned char *text = sqlite3_column_text(q, col);
	size_t len;

	out[0] = '\0';
	if (text == NULL)
		return sqlite3_column_type(q, col) == SQLITE_NULL;
	len = (size_t)sqlite3_column_bytes(q, col);
	if (len >= size || strlen((const char *)text) != len)
		return false;
	memcpy(out, text, len + 1);
	return true;
}

bool
column_blob(sqlite3_stmt *q, int col, void *out, size_t size, size_t *len)
{
	const void *p = sqlite3_column_blob(q, col);
	size_t have = (size_t)sqlite3_column_bytes(q, col);

	*len = 0;
	if (have > size)
		return false;
	if (have > 0) {
		if (p == NULL)
			return false;
		memcpy(out, p, have);
	}
	*len = have;
	return true;
}

int64_t
column_int(sqlite3_stmt *q, int col, int64_t if_null)
{
	if (sqlite3_column_type(q, col) == SQLITE_NULL)
		return if_null;
	return sqlite3_column_int64(q, col);
}

void
stmt_done(sqlite3_stmt *q)
{
	(void)sqlite3_reset(q);
	(void)sqlite3_clear_bindings(q);
}
