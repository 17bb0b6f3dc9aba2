#include "store_internal.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- words ----------------------------------------------------------- */

/* What SQLite's code means here, for people who do not know SQLite. */
static const char *
code_words(int code)
{
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return "locked by another program";
	case SQLITE_FULL:
		return "the disk or the quota is full";
	case SQLITE_READONLY:
		return "cannot be written; expected a writable file and "
		       "directory";
	case SQLITE_CANTOPEN:
		return "cannot be opened; expected a writable file and "
		       "directory";
	case SQLITE_CORRUPT:
		return "damaged; stop ksmpoold, keep a copy, restore the file "
		       "from its backup";
	case SQLITE_NOTADB:
		return "not an SQLite database; expected one made by ksmpoold";
	default:
		return NULL;
	}
}

enum ksm_err
store_failed(struct store *st, const char *what, struct ksm_fail *fail)
{
	int code = sqlite3_extended_errcode(st->db);
	const char *words = code_words(code);
	int sys = sqlite3_system_errno(st->db);

	if ((code & 0xff) == SQLITE_IOERR && sys != 0)
		words = strerror(sys);
	if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB)
		st->damaged = true;
	(void)ksm_failf(fail, KSM_ESTORE, "%s: %s (%s%s%s)", what,
	    sqlite3_errmsg(st->db), words != NULL ? words : "",
	    words != NULL ? ": " : "", st->path);

	/* After a full disk or an I/O error SQLite may have rolled back. */
	if (st->batch && sqlite3_get_autocommit(st->db) != 0) {
		st->batch = false;
		st->lost = true;
		st->serial = st->serial_committed;
	}
	return KSM_ESTORE;
}

static void
batch_drop(struct store *st)
{
	if (!st->batch)
		return;
	/* When ROLLBACK fails SQLite already has: there is nothing to keep. */
	(void)sqlite3_step(st->stmt[ST_ROLLBACK]);
	(void)sqlite3_reset(st->stmt[ST_ROLLBACK]);
	st->batch = false;
	st->serial = st->serial_committed;
}

enum ksm_err
store_change_failed(struct store *st, sqlite3_stmt *q, const char *what,
    struct ksm_fail *fail)
{
	(void)store_failed(st, what, fail);
	if (q != NULL)
		stmt_done(q);
	batch_drop(st);
	st->lost = true;
	return KSM_ESTORE;
}

/* ---- batches --------------------------------------------------------- */

/* In WAL mode NORMAL writes a commit and leaves the sync to a later one. */
static enum ksm_err
sync_set(struct store *st, bool later, struct ksm_fail *fail)
{
	if (st->sync_later == later)
		return KSM_OK;
	if (store_exec(st, later ? "PRAGMA synchronous = NORMAL"
				 : "PRAGMA synchronous = FULL") != SQLITE_OK)
		return store_failed(st, "begin", fail);
	st->sync_later = later;
	return KSM_OK;
}

static enum ksm_err
batch_begin(struct store *st, bool later, struct ksm_fail *fail)
{
	enum ksm_err err;

	if (st->batch)
		return KSM_OK;
	if ((err = sync_set(st, later, fail)) != KSM_OK)
		return err;
	if (sqlite3_step(st->stmt[ST_BEGIN]) != SQLITE_DONE)
		err = store_failed(st, "begin", fail);
	else
		st->batch = true;
	st->changes = sqlite3_total_changes(st->db);
	(void)sqlite3_reset(st->stmt[ST_BEGIN]);
	/*
	 * From the disk each time: what was rolled back is no part of the
	 * chain, and whoever else wrote a row must not make all ours fail.
	 */
	if (err == KSM_OK) {
		err = store_history_read(st, fail);
		if (err != KSM_OK)
			batch_drop(st);
	}
	return err;
}

enum ksm_err
store_begin(struct store *st, struct ksm_fail *fail)
{
	return batch_begin(st, false, fail);
}

enum ksm_err
store_begin_later(struct store *st, struct ksm_fail *fail)
{
	return batch_begin(st, true, fail);
}

enum ksm_err
store_commit(struct store *st, struct ksm_fail *fail)
{
	if (!st->batch)
		return KSM_OK;
	if (sqlite3_step(st->stmt[ST_COMMIT]) != SQLITE_DONE)
		return store_change_failed(st, st->stmt[ST_COMMIT], "commit",
		    fail);
	(void)sqlite3_reset(st->stmt[ST_COMMIT]);
	st->batch = false;
	st->serial_committed = st->serial;
	return KSM_OK;
}

void
store_rollback(struct store *st)
{
	batch_drop(st);
	st->lost = false;
}

bool
store_batch_open(const struct store *st)
{
	return st->batch;
}

bool
store_batch_clean(const struct store *st)
{
	return st->batch && sqlite3_total_changes(st->db) == st->changes;
}

bool
store_batch_lost(struct store *st)
{
	bool lost = st->lost;

	st->lost = false;
	return lost;
}

void
store_tag_get(const struct store *st, uint8_t tag[KEY_TAG_LEN])
{
	memcpy(tag, st->tag, KEY_TAG_LEN);
}

int64_t
store_serial_last(const struct store *st)
{
	return st->serial;
}

int64_t
store_serial_on_disk(const struct store *st)
{
	return st->serial_committed;
}

/* ---- open ------------------------------------------------------------ */

static enum ksm_err
dice_kernel(void *buf, size_t len, struct ksm_fail *fail)
{
	uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return ksm_failf(fail, KSM_ESYS, "getrandom: %s",
			    strerror(errno));
		p += n;
		len -= (size_t)n;
	}
	return KSM_OK;
}

static enum ksm_err
may_not(const char *path, int why, const char *expected, struct ksm_fail *fail)
{
	struct stat sb;
	char owner[64] = "";

	if (why == EACCES && stat(path, &sb) == 0)
		(void)snprintf(owner, sizeof(owner),
		    ", it belongs to uid %lu with mode %04o",
		    (unsigned long)sb.st_uid, (unsigned)sb.st_mode & 07777);
	return ksm_failf(fail, KSM_ESTORE, "%s: %s for uid %lu%s; expected %s",
	    path, strerror(why), (unsigned long)geteuid(), owner, expected);
}

/* The file is made here, so that its mode does not depend on the umask. */
static enum ksm_err
file_make(const char *path, const char *dir, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	int fd = -1, dirfd = -1;

	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0640);
	if (fd == -1) {
		if (errno == EEXIST)
			return KSM_OK; /* somebody was faster */
		return may_not(errno == EACCES ? dir : path, errno,
		    "a directory on a writable file system with room in it",
		    fail);
	}
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fchmod(fd, 0640) == -1 || dirfd == -1 || fsync(dirfd) == -1)
		err = ksm_failf(fail, KSM_ESTORE, "%s: %s", path,
		    strerror(errno));
	if (dirfd != -1)
		(void)close(dirfd);
	(void)close(fd);
	return err;
}

/*
 * Find out beforehand what SQLite would only call "unable to open", or pass
 * over by opening the file read-only.
 */
static enum ksm_err
place_check(const char *path, struct ksm_fail *fail)
{
	static const char *const beside[] = { "-wal", "-shm" };
	char copy[PATH_MAX], other[PATH_MAX + 8];
	const char *dir;
	enum ksm_err err;
	struct stat sb;

	if (strlen(path) >= sizeof(copy))
		return ksm_failf(fail, KSM_ESTORE, "database path has %zu "
		    "bytes; expected less than %zu", strlen(path),
		    sizeof(copy));
	(void)strcpy(copy, path);
	dir = dirname(copy);

	if (stat(dir, &sb) == -1)
		return may_not(dir, errno, "the directory of the database",
		    fail);
	if (!S_ISDIR(sb.st_mode))
		return may_not(dir, ENOTDIR, "the directory of the database",
		    fail);
	if (faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) == -1)
		return may_not(dir, errno, "a writable directory: the "
		    "database keeps its log beside it", fail);

	err = store_place_restore(path, fail);
	if (err != KSM_OK)
		return err;
	if (stat(path, &sb) == -1) {
		if (errno != ENOENT)
			return may_not(path, errno, "a database", fail);
		return file_make(path, dir, fail);
	}
	if (!S_ISREG(sb.st_mode))
		return ksm_failf(fail, KSM_ESTORE,
		    "%s: not a regular file; expected a database", path);
	if (faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) == -1)
		return may_not(path, errno, "a writable database", fail);
	for (size_t i = 0; i < nitems(beside); i++) {
		(void)snprintf(other, sizeof(other), "%s%s", path, beside[i]);
		if (faccessat(AT_FDCWD, other, R_OK | W_OK, AT_EACCESS) == -1 &&
		    errno != ENOENT)
			return may_not(other, errno, "the database's log, "
			    "writable as the database is", fail);
	}
	return KSM_OK;
}

enum ksm_err
store_owner_check(struct store *st, struct ksm_fail *fail)
{
	int64_t app = 0, version = 0, objects = 0;
	enum ksm_err err;

	err = store_ask_int(st, "SELECT count(*) FROM sqlite_schema", &objects,
	    fail);
	if (err == KSM_OK)
		err = store_ask_int(st, "PRAGMA application_id", &app, fail);
	if (err == KSM_OK)
		err = store_ask_int(st, "PRAGMA user_version", &version, fail);
	if (err != KSM_OK) {
		if (sqlite3_errcode(st->db) == SQLITE_NOTADB)
			return ksm_failf(fail, KSM_EREFUSED, "%s: not an "
			    "SQLite database; expected one made by ksmpoold",
			    st->path);
		return err;
	}

	if (app == 0 && version == 0 && objects == 0)
		return KSM_OK; /* new and empty */
	if (app != STORE_APPLICATION)
		return ksm_failf(fail, KSM_EREFUSED, "%s: a database of "
		    "another program (application_id 0x%08llx); expected "
		    "ksmpoold's (0x%08x)", st->path, (unsigned long long)app,
		    STORE_APPLICATION);
	if (version < 1 || version > (int64_t)store_nmigrations)
		return ksm_failf(fail, KSM_EREFUSED, "%s: schema version %lld; "
		    "this ksmpoold knows 1 to %zu: use the newer ksmpoold "
		    "that wrote it", st->path, (long long)version,
		    store_nmigrations);
	return KSM_OK;
}

static enum ksm_err
damage_check(struct store *st, struct ksm_fail *fail)
{
	sqlite3_stmt *q = NULL;
	enum ksm_err err = KSM_OK;
	const char *answer;

	if (sqlite3_prepare_v2(st->db, "PRAGMA quick_check(1)", -1, &q,
		NULL) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW) {
		err = store_failed(st, "check database", fail);
		goto out;
	}
	answer = (const char *)sqlite3_column_text(q, 0);
	if (answer == NULL || strcmp(answer, "ok") != 0)
		err = ksm_failf(fail, KSM_ESTORE, "%s: damaged: %s; keep a "
		    "copy of it and of %s-wal, then restore the file from its "
		    "backup or rebuild it with sqlite3's .recover", st->path,
		    answer != NULL ? answer : "no answer", st->path);
out:
	(void)sqlite3_finalize(q);
	return err;
}

static enum ksm_err
wal_start(struct store *st, struct ksm_fail *fail)
{
	sqlite3_stmt *q = NULL;
	enum ksm_err err = KSM_OK;
	const char *mode;
	int keep = 1;

	if (sqlite3_prepare_v2(st->db, "PRAGMA journal_mode = WAL", -1, &q,
		NULL) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW) {
		err = store_failed(st, "start the write-ahead log", fail);
		goto out;
	}
	mode = (const char *)sqlite3_column_text(q, 0);
	if (mode == NULL || strcmp(mode, "wal") != 0) {
		err = ksm_failf(fail, KSM_ESTORE, "%s: no write-ahead log "
		    "here (journal mode is %s); expected a local file system",
		    st->path, mode != NULL ? mode : "unknown");
		goto out;
	}
	/*
	 * The log stays when we close: without it an operator who may only
	 * read could not look at the database of a stopped daemon.
	 */
	(void)sqlite3_file_control(st->db, "main", SQLITE_FCNTL_PERSIST_WAL,
	    &keep);
out:
	(void)sqlite3_finalize(q);
	return err;
}

static enum ksm_err
database_open(struct store *st, struct ksm_fail *fail)
{
	enum ksm_err err;

	if (sqlite3_open_v2(st->path, &st->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
		    SQLITE_OPEN_EXRESCODE,
		NULL) != SQLITE_OK) {
		if (st->db == NULL)
			return ksm_failf(fail, KSM_ENOMEM, "%s: no memory",
			    st->path);
		return store_failed(st, "open database", fail);
	}
	(void)sqlite3_busy_timeout(st->db, STORE_OPEN_BUSY_MS);
	(void)sqlite3_db_config(st->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (store_exec(st, "PRAGMA trusted_schema = OFF;"
			   "PRAGMA cell_size_check = ON;"
			   "PRAGMA temp_store = MEMORY;") != SQLITE_OK)
		return store_failed(st, "open database", fail);

	err = store_owner_check(st, fail);
	if (err == KSM_OK)
		err = damage_check(st, fail);
	if (err == KSM_OK)
		err = wal_start(st, fail);
	if (err == KSM_OK &&
	    store_exec(st, "PRAGMA cache_size = -16384;" /* KiB */
			   "PRAGMA synchronous = FULL;"
			   "PRAGMA foreign_keys = ON;"
			   "PRAGMA journal_size_limit = 4194304;") != SQLITE_OK)
		err = store_failed(st, "open database", fail);
	st->sync_later = false;
	return err;
}

static enum ksm_err
meta_read(struct store *st, struct ksm_fail *fail)
{
	sqlite3_stmt *q = NULL;
	enum ksm_err err = KSM_OK;
	size_t len;

	if (sqlite3_prepare_v2(st->db, "SELECT tag, serial FROM meta", -1, &q,
		NULL) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW)
		err = store_failed(st, "read the installation's tag", fail);
	else if (!column_blob(q, 0, st->tag, sizeof(st->tag), &len) ||
	    len != sizeof(st->tag))
		err = ksm_failf(fail, KSM_ESTORE, "%s: the installation's tag "
		    "has not %d bytes", st->path, KEY_TAG_LEN);
	else
		st->serial = st->serial_committed = sqlite3_column_int64(q, 1);
	(void)sqlite3_finalize(q);
	return err;
}

enum ksm_err
store_connect(struct store *st, struct ksm_fail *fail)
{
	enum ksm_err err;

	st->dice = dice_kernel;
	st->actor = ACTOR_DAEMON;
	err = place_check(st->path, fail);
	if (err == KSM_OK)
		err = database_open(st, fail);
	if (err == KSM_OK)
		err = store_migrate(st, store_migrations, store_nmigrations,
		    fail);
	if (err == KSM_OK)
		err = store_derive(st, fail);
	if (err == KSM_OK)
		err = store_prepare(st, fail);
	if (err == KSM_OK)
		err = meta_read(st, fail);
	if (err == KSM_OK)
		err = store_place_note(st, fail);
	if (err == KSM_OK)
		(void)sqlite3_busy_timeout(st->db, STORE_BUSY_MS);
	return err;
}

enum ksm_err
store_open(const char *path, struct store **out, struct ksm_fail *fail)
{
	struct store *st = NULL;
	enum ksm_err err;

	st = calloc(1, sizeof(*st));
	if (st == NULL || (st->path = strdup(path)) == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "%s: no memory", path);
		goto out;
	}
	err = store_connect(st, fail);
	if (err != KSM_OK)
		goto out;
	*out = st;
	st = NULL;
out:
	store_close(st);
	return err;
}

const char *
store_migrated(const struct store *st)
{
	return st->migrated;
}

void
store_close(struct store *st)
{
	if (st == NULL)
		return;
	batch_drop(st);
	store_finalize(st);
	(void)sqlite3_close(st->db);
	free(st->migrated);
	free(st->path);
	free(st);
}
