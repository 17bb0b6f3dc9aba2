#include "zonefile.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ksmpool/fd.h"
#include "ksmpool/zoneindex.h"

#include "digest.h"

#define NAME "zones.index"

static enum ksm_err
trouble(struct ksm_fail *fail, const char *directory, const char *what)
{
	return ksm_failf(fail, KSM_ESYS, "%s/" NAME " %s: %s", directory, what,
	    strerror(errno));
}

enum ksm_err
zonefile_keep(const char *directory, int fd, struct ksm_fail *fail)
{
	uint8_t digest[DIGEST_LEN];
	struct zoneindex *zi = NULL;
	const void *bytes;
	bool made = false;
	enum ksm_err err;
	int dir, file = -1;
	size_t len;

	dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir == -1) {
		err = trouble(fail, directory, "cannot be written");
		goto out;
	}
	err = zoneindex_open(fd, &zi, fail);
	if (err != KSM_OK)
		goto out;
	bytes = zoneindex_bytes(zi, &len);
	err = digest_sha256(bytes, len, digest, fail);
	if (err != KSM_OK)
		goto out;
	/* One that is there was left by a process that was killed. */
	file = openat(dir, NAME ".new",
	    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (file == -1) {
		err = trouble(fail, directory, "cannot be written");
		goto out;
	}
	made = true;
	if ((err = fd_write_all(file, bytes, len, fail)) != KSM_OK ||
	    (err = fd_write_all(file, digest, sizeof(digest), fail)) !=
		KSM_OK) {
		(void)ksm_fail_before(fail, "%s/" NAME, directory);
		goto out;
	}
	if (fsync(file) == -1 ||
	    renameat(dir, NAME ".new", dir, NAME) == -1 || fsync(dir) == -1)
		err = trouble(fail, directory, "cannot be written");
	else
		made = false;
out:
	zoneindex_close(zi);
	fd_close(&file);
	if (err != KSM_OK && dir != -1)
		(void)unlinkat(dir, NAME, 0);
	if (made)
		(void)unlinkat(dir, NAME ".new", 0);
	fd_close(&dir);
	return err;
}

/* What it begins with is the index its end is the SHA-256 of. */
static enum ksm_err
index_take(const char *directory, const uint8_t *bytes, size_t size, int *fd,
    struct ksm_fail *fail)
{
	size_t len = size - DIGEST_LEN;
	uint8_t digest[DIGEST_LEN];
	struct zoneindex *zi = NULL;
	enum ksm_err err;
	int again = -1;

	err = digest_sha256(bytes, len, digest, fail);
	if (err != KSM_OK)
		return err;
	if (memcmp(digest, bytes + len, sizeof(digest)) != 0)
		return ksm_failf(fail, KSM_EPROTO,
		    "%s/" NAME " is damaged: it does not have the SHA-256 "
		    "that it ends with", directory);
	err = zoneindex_again(bytes, len, &again, fail);
	if (err == KSM_OK)
		err = zoneindex_open(again, &zi, fail);
	zoneindex_close(zi);
	if (err == KSM_OK) {
		*fd = again;
		again = -1;
	}
	fd_close(&again);
	return err;
}

/* All of it: what is read is judged, and a mapping could go under our eyes. */
static enum ksm_err
file_read(int file, uint8_t *bytes, size_t size, const char *directory,
    struct ksm_fail *fail)
{
	size_t used = 0;
	ssize_t n = 1;

	while (used < size && n != 0) {
		n = read(file, bytes + used, size - used);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return trouble(fail, directory, "cannot be read");
		used += (size_t)n;
	}
	if (used < size)
		return ksm_failf(fail, KSM_EPROTO,
		    "%s/" NAME " became shorter while it was read", directory);
	return KSM_OK;
}

enum ksm_err
zonefile_load(const char *directory, int *fd, struct ksm_fail *fail)
{
	char path[PATH_MAX];
	uint8_t *bytes = NULL;
	enum ksm_err err;
	struct stat st;
	int file;

	(void)snprintf(path, sizeof(path), "%.4000s/" NAME, directory);
	file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (file == -1 && errno == ENOENT)
		return ksm_failf(fail, KSM_ENOENT, "there is no %s", path);
	if (file == -1 || fstat(file, &st) == -1) {
		err = trouble(fail, directory, "cannot be read");
		goto out;
	}
	if (!S_ISREG(st.st_mode) || st.st_size <= DIGEST_LEN) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "%s is damaged: no index fits into %lld bytes", path,
		    (long long)st.st_size);
		goto out;
	}
	bytes = malloc((size_t)st.st_size);
	if (bytes == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "%s: no memory", path);
		goto out;
	}
	err = file_read(file, bytes, (size_t)st.st_size, directory, fail);
	if (err == KSM_OK)
		err = index_take(directory, bytes, (size_t)st.st_size, fd,
		    fail);
out:
	free(bytes);
	fd_close(&file);
	return err;
}
