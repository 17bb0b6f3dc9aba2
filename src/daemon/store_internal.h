/*
 * store_internal.h - what the files of the store share among themselves.
 *
 * Runs in: ksmpoold; included by store*.c and their tests only.
 *
 *   store.c          open, close, batches
 *   store_sql.c      every statement, binding, reading columns
 *   store_schema.c   tables, triggers, migrations
 *   store_pool.c     repositories, pools, counts
 *   store_key.c      keys
 *   store_record.c   times, pause, rates, zone counts, runs
 *   store_history.c  what happened, and the chain of its hashes
 *   store_backup.c   the ledger of backups (store_backup.h)
 *   store_handout.c  who was given which key (store_handout.h)
 *   store_place.c    the file under our feet: gone, replaced, put back
 *   store_copy.c     whole copies of a database
 *   store_check.c    a database as a file, looked at from outside
 */
#ifndef KSMPOOL_STORE_INTERNAL_H
#define KSMPOOL_STORE_INTERNAL_H

#include <sys/types.h>

#include "digest.h"
#include "store.h"

struct sqlite3;
struct sqlite3_stmt;

#define STORE_APPLICATION 0x4b534d50 /* "KSMP", PRAGMA application_id */
/*
 * For another program's lock: the loop must not stand still for it, a start
 * may.
 */
#define STORE_BUSY_MS	   50
#define STORE_OPEN_BUSY_MS 2000

/* Keys in use or for use, which should be in a backup. */
#define STORE_IN_USE                                                           \
	"('made', 'ready', 'surplus', 'taking', 'taken', 'retired', 'missing')"

/*
 * Consumers that destroy a key in the token when no zone of theirs uses it any
 * more: Knot at once, OpenDNSSEC after its Purge.
 */
#define STORE_DESTROYERS                                                       \
	"'knot', 'knot-later', 'opendnssec', 'opendnssec-pool'"

enum store_stmt {
	ST_BEGIN,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_REPOSITORY_GET,
	ST_REPOSITORY_ADD,
	ST_REPOSITORY_TOKEN,
	ST_REPOSITORY_TROUBLE,
	ST_REPOSITORY_SYNCED,
	ST_POOL_GET,
	ST_POOL_ADD,
	ST_POOL_AUTO,
	ST_POLICY_KNOWN,
	ST_REPOSITORY_KNOWN,
	ST_COUNTS,
	ST_COUNTS_UNUSED,
	ST_COUNT_STATE,
	ST_KEY_INTEND,
	ST_KEY_CLAIM,
	ST_KEY_MADE,
	ST_KEY_PROVED,
	ST_KEY_REFUSED,
	ST_KEY_MOVE,
	ST_KEYS_SHIFT,
	ST_POOL_NAMES,
	ST_KEYS_ORPHAN,
	ST_KEYS_DOUBT,
	ST_KEY_GET,
	ST_DIGEST_FIND,
	ST_KEYS_BRIEF,
	ST_KEYS_LIST,
	ST_KEYS_LIST_STATE,
	ST_NEWEST,
	ST_NEWEST_ACCEPT,
	ST_PAUSE_GET,
	ST_PAUSE_PUT,
	ST_HISTORY_HEAD,
	ST_HISTORY_ADD,
	ST_HISTORY_LIST,
	ST_HISTORY_LIST_SUBJECT,
	ST_HISTORY_NEXT,
	ST_BOOT_GET,
	ST_BOOT_PUT,
	ST_RATE_GET,
	ST_RATE_ADD,
	ST_ZONES_CLEAR,
	ST_ZONES_ADD,
	ST_ZONES_WHEN,
	ST_ZONES_WHEN_GET,
	ST_ZONES_GET,
	ST_RUN_START,
	ST_RUN_END,
	ST_RUN_LAST,
	ST_BACKUP_REPOSITORY,
	ST_BACKUP_CUT,
	ST_BACKUP_ADD,
	ST_BACKUP_FREEZE,
	ST_BACKUP_HAS,
	ST_BACKUP_EXCEPT,
	ST_BACKUP_SKIP,
	ST_BACKUP_CLOSE,
	ST_BACKUP_COVER,
	ST_BACKUP_GET,
	ST_BACKUP_GET_OPEN,
	ST_BACKUP_LAST,
	ST_BACKUP_LIST,
	ST_BACKUP_KEYS,
	ST_UNCOVERED_LIST,
	ST_UNCOVERED_LIST_AT,
	ST_UNCOVERED_OLDEST,
	ST_COVER_COUNTS,
	ST_HANDOUT_ADD,
	ST_HANDOUT_HEAD,
	ST_HANDOUT_TEXT,
	ST_HANDOUT_LIST,
	ST_HANDOUT_LIST_ZONE,
	ST_HANDOUT_LIST_KEY,
	ST_HANDOUT_LIST_REQUEST,
	ST_HANDOUT_CURRENT,
	ST_HANDOUT_HAS,
	ST_HANDOUT_DRAWN,
	ST_HANDOUT_ZONES,
	ST_HANDOUT_OUTSIDE,
	ST_TAG_CLASH,
	ST_HOME_TAGS,
	ST_CANDIDATES,
	ST_HANDED_OUT,
	ST_KEY_COVERED,
	ST_HANDOUT_LOCKED,
	ST_HANDOUT_LOCK,
	ST_SERIAL_RAISE,
	ST_ORPHANS_ACCEPTED,
	ST_ORPHANS_ACCEPT,
	ST__COUNT
};

/* Which file that is, whatever its name. */
struct store_file {
	dev_t dev;
	ino_t ino;
};

struct store {
	struct sqlite3 *db;
	struct sqlite3_stmt *stmt[ST__COUNT];
	char *path;
	uint8_t tag[KEY_TAG_LEN];
	bool batch; /* BEGIN IMMEDIATE was done, COMMIT was not */
	int changes; /* of SQLite's count, when the batch began */
	bool sync_later; /* synchronous is NORMAL: see store_begin_later */
	bool lost;  /* a batch was rolled back and nobody has asked yet */
	int64_t serial, serial_committed; /* last given, last on disk */
	/* The newest row of history, with the open batch; see store_begin. */
	int64_t history_number;
	uint8_t history_hash[DIGEST_LEN];
	struct store_actor actor; /* of the moves of keys */
	bool damaged;		  /* SQLite has said so */
	char *migrated;		  /* copy taken before the schema changed */
	struct store_file file, wal;
	mode_t mode; /* of the file as it was when it was opened */
	gid_t group;
	/* The random part of ids; a test puts its own dice here. */
	enum ksm_err (*dice)(void *buf, size_t len, struct ksm_fail *fail);
};

/* ---- store.c --------------------------------------------------------- */

/* The database at st->path, opened, migrated, and with its statements. */
enum ksm_err store_connect(struct store *st, struct ksm_fail *fail);
/* Whose database is it? Asked before anything in it is changed. */
enum ksm_err store_owner_check(struct store *st, struct ksm_fail *fail);
/* Open a batch when none is open. Nothing is lost when this fails. */
enum ksm_err store_begin(struct store *st, struct ksm_fail *fail);
/*
 * Words for SQLite's last error: "what: SQLite's text (what it means, path)".
 * For reads. If SQLite rolled the batch back by itself this is noticed here.
 */
enum ksm_err store_failed(struct store *st, const char *what,
    struct ksm_fail *fail);
/* The same for a change: resets `q`, rolls the batch back, marks it lost. */
enum ksm_err store_change_failed(struct store *st, struct sqlite3_stmt *q,
    const char *what, struct ksm_fail *fail);

/* ---- store_key.c ----------------------------------------------------- */

/* Columns as in KEY_COLUMNS of store_sql.c; false: it cannot be read. */
bool store_key_read(struct sqlite3_stmt *q, struct store_key *k);
/* What is said then: column 0 is the row of the key. */
enum ksm_err store_key_unreadable(struct store *st, struct sqlite3_stmt *q,
    struct ksm_fail *fail);
/* A CKA_ID of 16 bytes in that column. */
bool store_id_read(struct sqlite3_stmt *q, int col, struct key_id *out);

/* ---- store_history.c ------------------------------------------------- */

/* The head as it is on disk or in the open batch, into the struct. */
enum ksm_err store_history_read(struct store *st, struct ksm_fail *fail);
/* By whoever store_actor_set named. */
enum ksm_err store_history_note(struct store *st, ksm_time when,
    const char *what, const char *subject, const char *why,
    struct ksm_fail *fail);

/* ---- store_copy.c ---------------------------------------------------- */

/*
 * All that `db` holds into the new file `part`, synced and checked. It must
 * not exist; it is removed when this fails. No transaction may be open.
 */
enum ksm_err store_copy_write(struct sqlite3 *db, const char *part,
    mode_t mode, struct ksm_fail *fail);
/* `part` becomes `to`, which must not exist, and that is synced. */
enum ksm_err store_copy_place(const char *part, const char *to,
    struct ksm_fail *fail);
enum ksm_err store_directory_sync(const char *path, struct ksm_fail *fail);
/* "to: why for uid 104". */
enum ksm_err store_path_failed(const char *path, int why,
    struct ksm_fail *fail);

/* ---- store_place.c --------------------------------------------------- */

/* Remember which files these are. */
enum ksm_err store_place_note(struct store *st, struct ksm_fail *fail);
/*
 * Before the file is opened: a copy that was whole when we were killed while
 * putting it back is put in place. KSM_EREFUSED: the database is not there
 * and its log is.
 */
enum ksm_err store_place_restore(const char *path, struct ksm_fail *fail);

/* ---- store_schema.c -------------------------------------------------- */

/* Migration i leads from schema version i to i + 1. */
extern const char *const store_migrations[];
extern const size_t store_nmigrations;

/*
 * Bring the schema from its version to `n`, one transaction per step; a step
 * that fails leaves the version before it.
 */
enum ksm_err store_migrate(struct store *st, const char *const *steps,
    size_t n, struct ksm_fail *fail);
/*
 * What differs between the arrows of this program, or the counts, and what the
 * database has of them, one text a row. sqlite3_free; NULL: no memory.
 */
char *store_arrows_differ(void);
extern const char store_counts_differ[];
extern const char store_covers_differ[];
extern const char store_uncovered_differ[];
/* Bring the arrows, the counts and the like in line with the truth. */
enum ksm_err store_derive(struct store *st, struct ksm_fail *fail);

/* ---- store_sql.c ----------------------------------------------------- */

enum ksm_err store_prepare(struct store *st, struct ksm_fail *fail);
/* One of them, for a database of an older schema. */
enum ksm_err store_prepare_one(struct store *st, enum store_stmt which,
    struct ksm_fail *fail);
void store_finalize(struct store *st);
/* Run one-off text that gives no rows. */
int store_exec(struct store *st, const char *sql);
/* The first column of the first row; `what` names it in words. */
enum ksm_err store_ask_int(struct store *st, const char *sql, int64_t *out,
    struct ksm_fail *fail);

/* These answer SQLITE_OK or SQLite's code. NULL text binds NULL. */
int bind_int(struct sqlite3_stmt *q, const char *name, int64_t v);
int bind_text(struct sqlite3_stmt *q, const char *name, const char *text);
int bind_blob(struct sqlite3_stmt *q, const char *name, const void *p,
    size_t len);
/* NULL for a value that stands for "not known". */
int bind_known(struct sqlite3_stmt *q, const char *name, int64_t v,
    int64_t unknown);
/* How much of it fits `size` with a NUL, cut between two UTF-8 characters. */
size_t text_cut(const char *text, size_t size);
/* At most `size` - 1 bytes, cut so. */
int bind_cut(struct sqlite3_stmt *q, const char *name, const char *text,
    size_t size);

/* False if the text does not fit or holds a NUL. NULL reads as "". */
bool column_text(struct sqlite3_stmt *q, int col, char *out, size_t size);
/* False if it is neither NULL nor at most `size` bytes. */
bool column_blob(struct sqlite3_stmt *q, int col, void *out, size_t size,
    size_t *len);
int64_t column_int(struct sqlite3_stmt *q, int col, int64_t if_null);

/* Ready for the next use. Its error was reported before. */
void stmt_done(struct sqlite3_stmt *q);

#endif
