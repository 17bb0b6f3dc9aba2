#include "store_internal.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum ksm_err
store_path_failed(const char *path, int why, struct ksm_fail *fail)
{
	return ksm_failf(fail, KSM_ESTORE, "%s: %s for uid %lu", path,
	    strerror(why), (unsigned long)geteuid());
}

enum ksm_err
store_directory_sync(const char *path, struct ksm_fail *fail)
{
	char copy[PATH_MAX];
	const char *dir;
	int fd, saved = 0;

	if (strlen(path) >= sizeof(copy))
		return store_path_failed(path, ENAMETOOLONG, fail);
	(void)strcpy(copy, path);
	dir = dirname(copy);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1 || fsync(fd) == -1)
		saved = errno;
	if (fd != -1)
		(void)close(fd);
	return saved == 0 ? KSM_OK : store_path_failed(dir, saved, fail);
}

/* What SQLite said while it wrote, with the words of the system if it can. */
static enum ksm_err
vacuum_failed(sqlite3 *db, const char *part, struct ksm_fail *fail)
{
	int code = sqlite3_errcode(db) & 0xff, sys = sqlite3_system_errno(db);

	if (code == SQLITE_FULL)
		return store_path_failed(part, ENOSPC, fail);
	if ((code == SQLITE_IOERR || code == SQLITE_CANTOPEN) && sys != 0)
		return store_path_failed(part, sys, fail);
	return ksm_failf(fail, KSM_ESTORE, "copy to %s: %s for uid %lu", part,
	    sqlite3_errmsg(db), (unsigned long)geteuid());
}

static enum ksm_err
vacuum_into(sqlite3 *db, const char *part, struct ksm_fail *fail)
{
	sqlite3_stmt *q = NULL;
	enum ksm_err err = KSM_OK;

	if (sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &q, NULL) !=
		SQLITE_OK ||
	    sqlite3_bind_text(q, 1, part, -1, SQLITE_TRANSIENT) !=
		SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_DONE)
		err = vacuum_failed(db, part, fail);
	(void)sqlite3_finalize(q);
	return err;
}

/* What was written is read again, by a connection of its own. */
static enum ksm_err
part_check(const char *part, struct ksm_fail *fail)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *q = NULL;
	enum ksm_err err = KSM_OK;
	const char *said = NULL;

	if (sqlite3_open_v2(part, &db, SQLITE_OPEN_READONLY, NULL) ==
		SQLITE_OK &&
	    sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &q, NULL) ==
		SQLITE_OK &&
	    sqlite3_step(q) == SQLITE_ROW)
		said = (const char *)sqlite3_column_text(q, 0);
	if (said == NULL || strcmp(said, "ok") != 0)
		err = ksm_failf(fail, KSM_ESTORE,
		    "the copy %s is not sound: %s", part,
		    said != NULL ? said : sqlite3_errmsg(db));
	(void)sqlite3_finalize(q);
	(void)sqlite3_close(db);
	return err;
}

enum ksm_err
store_copy_write(struct sqlite3 *db, const char *part, mode_t mode,
    struct ksm_fail *fail)
{
	enum ksm_err err;
	int fd;

	/* Made here, so that its mode does not depend on the umask. */
	fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
	    mode);
	if (fd == -1)
		return store_path_failed(part, errno, fail);
	err = fchmod(fd, mode) == -1 ? store_path_failed(part, errno, fail) :
				       vacuum_into(db, part, fail);
	/* SQLite does not sync what VACUUM INTO writes. */
	if (err == KSM_OK && fsync(fd) == -1)
		err = store_path_failed(part, errno, fail);
	(void)close(fd);
	if (err == KSM_OK)
		err = part_check(part, fail);
	if (err != KSM_OK)
		(void)unlink(part);
	return err;
}

enum ksm_err
store_copy_place(const char *part, const char *to, struct ksm_fail *fail)
{
	if (renameat2(AT_FDCWD, part, AT_FDCWD, to, RENAME_NOREPLACE) == -1) {
		if (errno == EEXIST)
			return ksm_failf(fail, KSM_EREFUSED,
			    "%s: exists already", to);
		/* Some network file systems cannot; a link can neither. */
		if (errno != EINVAL || link(part, to) == -1)
			return store_path_failed(to, errno, fail);
		(void)unlink(part);
	}
	return store_directory_sync(to, fail);
}
