#include "consumer_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksmpool/fd.h"

#define TEMP_NAME 40 /* as short as can be: f->name may fill NAME_MAX */

static enum ksm_err
trouble(struct ksm_fail *fail, const char *directory, const char *name,
    const char *what)
{
	return ksm_failf(fail, KSM_ESYS, "%s/%s: %s: %s", directory, name, what,
	    strerror(errno));
}

/*
 * Is it there? KSM_OK with *same when it has just that content, KSM_ENOENT if
 * it is not. One byte more than ours is read, so that a longer one differs.
 */
static enum ksm_err
file_compare(int dirfd, const char *directory, const struct key_file *f,
    struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	size_t used = 0;
	char *buf = NULL;
	struct stat sb;
	ssize_t n;
	int fd;

	fd = openat(dirfd, f->name,
	    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd == -1 && errno == ENOENT)
		return KSM_ENOENT;
	if (fd == -1 && errno != ELOOP)
		return trouble(fail, directory, f->name, "cannot be read");
	if (fd == -1 || fstat(fd, &sb) == -1 || !S_ISREG(sb.st_mode)) {
		err = ksm_failf(fail, KSM_EREFUSED,
		    "%s/%s is there and not a regular file; nothing was written",
		    directory, f->name);
		goto out;
	}
	buf = malloc(f->len + 1);
	if (buf == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "no memory");
		goto out;
	}
	while (used < f->len + 1) {
		n = read(fd, buf + used, f->len + 1 - used);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1) {
			err = trouble(fail, directory, f->name,
			    "cannot be read");
			goto out;
		}
		if (n == 0)
			break;
		used += (size_t)n;
	}
	if (used != f->len || memcmp(buf, f->text, used) != 0)
		err = ksm_failf(fail, KSM_EREFUSED,
		    "%s/%s is there with other content; nothing was written",
		    directory, f->name);
out:
	free(buf);
	fd_close(&fd);
	return err;
}

static enum ksm_err
file_write(int dirfd, const char *directory, const struct key_file *f,
    struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	char temp[TEMP_NAME];
	bool made = false;
	int fd = -1;

	(void)snprintf(temp, sizeof(temp), ".ksmctl-%ld", (long)getpid());
	/* One left by a process of that number that was killed. */
	if (unlinkat(dirfd, temp, 0) == -1 && errno != ENOENT)
		return trouble(fail, directory, temp, "cannot be removed");
	fd = openat(dirfd, temp,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1)
		return trouble(fail, directory, temp, "cannot be made");
	made = true;
	err = fd_write_all(fd, f->text, f->len, fail);
	if (err != KSM_OK) {
		(void)ksm_fail_before(fail, "%s/%s", directory, temp);
		goto out;
	}
	if (fchmod(fd, (mode_t)f->mode) == -1 || fsync(fd) == -1) {
		err = trouble(fail, directory, temp, "cannot be written");
		goto out;
	}
	if (fd_rename_new(dirfd, temp, f->name) == -1) {
		err = trouble(fail, directory, f->name, "cannot be made");
		if (errno == EEXIST)
			err = ksm_failf(fail, KSM_EREFUSED,
			    "%s/%s was made by somebody else just now",
			    directory, f->name);
		goto out;
	}
	made = false;
out:
	if (made)
		(void)unlinkat(dirfd, temp, 0);
	fd_close(&fd);
	return err;
}

/*
 * Can a file be made there? access() says yes of /proc, and of a file system
 * without free inodes: only a file that was made proves it.
 */
static enum ksm_err
directory_try(const char *directory, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	char temp[TEMP_NAME];
	int dirfd, fd = -1;

	(void)snprintf(temp, sizeof(temp), ".ksmctl-%ld", (long)getpid());
	dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd == -1)
		return ksm_failf(fail, KSM_EREFUSED, "--directory %s: %s",
		    directory, strerror(errno));
	/* One left by a process of that number that was killed. */
	if (unlinkat(dirfd, temp, 0) == 0 || errno == ENOENT)
		fd = openat(dirfd, temp,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1 || unlinkat(dirfd, temp, 0) == -1)
		err = ksm_failf(fail, KSM_EREFUSED,
		    "--directory %s cannot be written to: %s", directory,
		    strerror(errno));
	fd_close(&fd);
	fd_close(&dirfd);
	return err;
}

/* The longest name of a file for that zone; KSM_EREFUSED: it does not fit. */
static enum ksm_err
name_check(const char *zone, const char *directory, struct ksm_fail *fail)
{
	static const char rest[] = "K.+013+12345.private";
	long most = pathconf(directory, _PC_NAME_MAX);
	uint8_t wire[DNSNAME_WIRE];
	char *text = NULL;
	size_t wire_len, len = 0;
	enum ksm_err err;
	FILE *mem;

	err = dnsname_parse(zone, wire, &wire_len, fail);
	if (err != KSM_OK)
		return err;
	mem = open_memstream(&text, &len);
	if (mem == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "no memory");
	put_zone_file(mem, wire);
	if (fclose(mem) != 0)
		err = ksm_failf(fail, KSM_ENOMEM, "no memory");
	len += sizeof(rest) - 1;
	if (err == KSM_OK && most > 0 && len > (size_t)most)
		err = ksm_failf(fail, KSM_EREFUSED,
		    "the zone is too long for the name of a file: it would "
		    "have %zu bytes, and --directory %s takes %ld", len,
		    directory, most);
	free(text);
	return err;
}

enum ksm_err
consumer_place_check(enum consumer c, const char *zone, const char *directory,
    struct ksm_fail *fail)
{
	bool files = c == CONSUMER_BIND || c == CONSUMER_POWERDNS;
	enum ksm_err err;
	struct stat sb;

	if (directory == NULL && c == CONSUMER_BIND)
		return ksm_failf(fail, KSM_EREFUSED,
		    "--for bind writes two files: --directory says where");
	if (directory == NULL)
		return KSM_OK;
	if (!files)
		return ksm_failf(fail, KSM_EREFUSED,
		    "--directory goes with --for bind and --for powerdns");
	if (stat(directory, &sb) == 0 && !S_ISDIR(sb.st_mode))
		return ksm_failf(fail, KSM_EREFUSED,
		    "--directory %s is no directory", directory);
	err = directory_try(directory, fail);
	if (err != KSM_OK)
		return err;
	return name_check(zone, directory, fail);
}

enum ksm_err
key_files_write(const char *directory, const struct key_file *files, size_t n,
    struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	size_t missing = 0;
	int dirfd;

	dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd == -1)
		return ksm_failf(fail, KSM_ESYS, "--directory %s: %s",
		    directory, strerror(errno));
	for (size_t i = 0; i < n; i++) {
		err = file_compare(dirfd, directory, &files[i], fail);
		if (err == KSM_ENOENT)
			missing++;
		else if (err != KSM_OK)
			goto out;
	}
	err = KSM_OK;
	for (size_t i = 0; i < n && missing > 0; i++) {
		err = file_compare(dirfd, directory, &files[i], fail);
		if (err == KSM_ENOENT)
			err = file_write(dirfd, directory, &files[i], fail);
		if (err != KSM_OK)
			goto out;
	}
	/* Also for what was there: the one who wrote it may have been killed. */
	if (fsync(dirfd) == -1)
		err = ksm_failf(fail, KSM_ESYS, "--directory %s: %s",
		    directory, strerror(errno));
out:
	fd_close(&dirfd);
	return err;
}
