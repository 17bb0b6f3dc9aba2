/*
 * store_place.c - the file under our feet.
 *
 * While the database is open its name may go: somebody removes the file, or
 * the directory is restored from elsewhere. SQLite goes on with the file
 * itself, which nobody will find at the next start. Putting it back:
 *
 *   all we hold -> X.put-back-part, synced, checked
 *               -> X.put-back           from here on it is whole
 *   X-wal, X-shm of the old file go
 *   X.put-back  -> X                    never over a file that is not ours
 *   X is opened, the old handle closed
 *
 * Killed anywhere, the next start finds X.put-back whole, or it finds X, or
 * it finds neither and says that the database is missing.
 */
#include "store_internal.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct names {
	char part[PATH_MAX + 32], back[PATH_MAX + 32];
	char wal[PATH_MAX + 32], shm[PATH_MAX + 32];
};

static void
names_make(const char *path, struct names *n)
{
	(void)snprintf(n->part, sizeof(n->part), "%.*s.put-back-part",
	    PATH_MAX, path);
	(void)snprintf(n->back, sizeof(n->back), "%.*s.put-back", PATH_MAX,
	    path);
	(void)snprintf(n->wal, sizeof(n->wal), "%.*s-wal", PATH_MAX, path);
	(void)snprintf(n->shm, sizeof(n->shm), "%.*s-shm", PATH_MAX, path);
}

static bool
is_file(const struct stat *sb, const struct store_file *f)
{
	return sb->st_dev == f->dev && sb->st_ino == f->ino;
}

enum ksm_err
store_place_note(struct store *st, struct ksm_fail *fail)
{
	struct names n;
	struct stat sb;

	names_make(st->path, &n);
	if (stat(st->path, &sb) == -1)
		return store_path_failed(st->path, errno, fail);
	st->file = (struct store_file){ sb.st_dev, sb.st_ino };
	st->mode = sb.st_mode & 0777;
	st->group = sb.st_gid;
	if (stat(n.wal, &sb) == -1)
		return store_path_failed(n.wal, errno, fail);
	st->wal = (struct store_file){ sb.st_dev, sb.st_ino };
	return KSM_OK;
}

enum store_place
store_place_look(const struct store *st)
{
	struct names n;
	struct stat sb;

	if (stat(st->path, &sb) == -1)
		/* Not to be looked at is not gone. */
		return errno == ENOENT || errno == ENOTDIR ? STORE_GONE :
							     STORE_HERE;
	if (!is_file(&sb, &st->file))
		return STORE_REPLACED;
	/* What was committed last may be in the log alone. */
	names_make(st->path, &n);
	if (stat(n.wal, &sb) == -1)
		return errno == ENOENT ? STORE_GONE : STORE_HERE;
	return is_file(&sb, &st->wal) ? STORE_HERE : STORE_GONE;
}

enum ksm_err
store_place_restore(const char *path, struct ksm_fail *fail)
{
	struct names n;
	struct stat sb;

	names_make(path, &n);
	(void)unlink(n.part);
	if (lstat(path, &sb) == 0) {
		/* Older than what is there: see the order above. */
		(void)unlink(n.back);
		return KSM_OK;
	}
	if (errno != ENOENT)
		return KSM_OK; /* whoever opens it finds the words */
	if (lstat(n.back, &sb) == 0) {
		(void)unlink(n.wal);
		(void)unlink(n.shm);
		return store_copy_place(n.back, path, fail);
	}
	if (lstat(n.wal, &sb) == 0 && sb.st_size > 0)
		return ksm_failf(fail, KSM_EREFUSED, "%s: not there, but its "
		    "log %s is: the database was removed or moved away; put "
		    "it back or restore it from a copy, or remove the log, "
		    "too, to begin with an empty one", path, n.wal);
	return KSM_OK;
}

/* Into the file that has the name, when only the log was taken away. */
static enum ksm_err
log_write_back(struct store *st, struct ksm_fail *fail)
{
	if (sqlite3_wal_checkpoint_v2(st->db, "main", SQLITE_CHECKPOINT_FULL,
		NULL, NULL) != SQLITE_OK)
		return store_failed(st, "write the log back", fail);
	return KSM_OK;
}

/* Write the copy and give it the name; `here`: over our own file. */
static enum ksm_err
copy_place(struct store *st, bool here, struct ksm_fail *fail)
{
	enum ksm_err err;
	struct names n;
	struct stat sb;

	names_make(st->path, &n);
	(void)unlink(n.part);
	(void)unlink(n.back);
	err = store_copy_write(st->db, n.part, st->mode, fail);
	if (err != KSM_OK)
		return err;
	/* Readers by group keep what they had, if we may give it. */
	if (stat(n.part, &sb) == 0 && sb.st_gid != st->group &&
	    chown(n.part, (uid_t)-1, st->group) == -1)
		(void)chmod(n.part, st->mode & ~(mode_t)0070);
	err = store_copy_place(n.part, n.back, fail);
	if (err != KSM_OK) {
		(void)unlink(n.part);
		return err;
	}
	(void)unlink(n.wal);
	(void)unlink(n.shm);
	if (!here) {
		err = store_copy_place(n.back, st->path, fail);
	} else if (stat(st->path, &sb) == -1 || !is_file(&sb, &st->file)) {
		err = ksm_failf(fail, KSM_EREFUSED, "%s: another file has its "
		    "name now", st->path);
	} else if (rename(n.back, st->path) == -1) {
		err = store_path_failed(st->path, errno, fail);
	} else {
		err = store_directory_sync(st->path, fail);
	}
	(void)unlink(n.back);
	/* From now on the file of that name is ours, its log is to be made. */
	if (stat(st->path, &sb) == 0 && err == KSM_OK) {
		st->file = (struct store_file){ sb.st_dev, sb.st_ino };
		memset(&st->wal, 0, sizeof(st->wal));
	}
	return err;
}

enum ksm_err
store_put_back(struct store *st, struct ksm_fail *fail)
{
	struct store *fresh = NULL, old;
	enum store_place place = store_place_look(st);
	enum ksm_err err;
	struct stat sb;
	bool here;

	if (place == STORE_HERE)
		return KSM_OK;
	if (place == STORE_REPLACED)
		return ksm_failf(fail, KSM_EREFUSED, "%s: another file has "
		    "the name of the database", st->path);
	here = stat(st->path, &sb) == 0;

	err = store_commit(st, fail);
	if (err == KSM_OK && here)
		err = log_write_back(st, fail);
	if (err == KSM_OK)
		err = copy_place(st, here, fail);
	if (err != KSM_OK)
		goto out;

	fresh = calloc(1, sizeof(*fresh));
	if (fresh == NULL || (fresh->path = strdup(st->path)) == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "%s: no memory", st->path);
		goto out;
	}
	err = store_connect(fresh, fail);
	if (err != KSM_OK)
		goto out;

	/* The handle, the statements and the files change, nothing else. */
	old = *st;
	st->db = fresh->db;
	memcpy(st->stmt, fresh->stmt, sizeof(st->stmt));
	st->file = fresh->file;
	st->wal = fresh->wal;
	fresh->db = old.db;
	memcpy(fresh->stmt, old.stmt, sizeof(fresh->stmt));
out:
	(void)ksm_fail_before(err != KSM_OK ? fail : NULL,
	    "put the database back");
	store_close(fresh);
	return err;
}

bool
store_damaged(const struct store *st)
{
	return st->damaged;
}
