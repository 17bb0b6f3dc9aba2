/*
 * kill_at - SIGKILL, or an error, at a call that can be named and counted.
 *
 *   LD_PRELOAD=kill_at.so KILL_AT_DIR=DIR [KILL_AT_WHILE=FILE]
 *       [KILL_AT=PROGRAM:KIND:N:before|after|fail:daemon|worker|both]
 *
 * Before or after the N-th call of one kind in all processes of PROGRAM
 * (ksmpoold or ksmpool-hsm), the daemon, the worker or both are killed. Seen
 * from the daemon the worker is every worker it has, seen from a worker it is
 * that worker itself. Only the first kill counts. With `fail` nobody is killed:
 * that call is not made, and answers EIO. Nothing in the programs knows of it:
 * the calls of libc are interposed. Calls count only while there is a FILE.
 *
 *   write   write, pwrite and their kin, to files and pipes
 *   flush   fflush and fclose that have something to write: SoftHSM writes its
 *           objects with stdio
 *   trunc   ftruncate
 *   sync    fsync, fdatasync, syncfs
 *   create  open with O_CREAT, where the file was not there before
 *   mkdir   mkdir
 *   rename  rename, renameat, renameat2
 *   unlink  unlink, remove, rmdir
 *   send    send, sendmsg
 *   recv    recv, recvmsg, also those that find nothing
 *
 * DIR/PROGRAM.KIND grows by one byte with each such call: its size is the
 * count. DIR/fired says that the N-th call came, DIR/missed that the victim
 * was not there at that moment.
 */
#undef _FORTIFY_SOURCE /* we define what its headers would inline */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define DAEMON "ksmpoold"
#define WORKER "ksmpool-hsm"

static struct {
	bool counting; /* this process is of a program that is looked at */
	bool armed;    /* it may be the one that kills */
	bool is_daemon;
	bool after, fail, kill_daemon, kill_worker;
	long at;
	pid_t pid; /* a forked child that is no program yet does not count */
	char kind[16], dir[4096], name[32], while_there[4096];
} self;

enum due { DUE_NOT, DUE_AFTER, DUE_FAIL };

/* ---- counting ---------------------------------------------------------- */

/* By system call: what we do must not be counted. */
static int
own_open(const char *leaf, int flags)
{
	char path[4200];

	(void)snprintf(path, sizeof(path), "%s/%s", self.dir, leaf);
	return (int)syscall(SYS_openat, AT_FDCWD, path,
	    flags | O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
}

static long
count(const char *kind)
{
	char leaf[64];
	long n;
	int fd;

	(void)snprintf(leaf, sizeof(leaf), "%s.%s", self.name, kind);
	fd = own_open(leaf, O_APPEND);
	if (fd == -1 || syscall(SYS_write, fd, ".", 1) != 1)
		abort();
	/* behind our own byte, whoever else wrote meanwhile */
	n = lseek(fd, 0, SEEK_CUR);
	(void)close(fd);
	return n;
}

static bool
leave_mark(const char *leaf)
{
	int fd = own_open(leaf, O_EXCL);

	if (fd == -1)
		return false;
	(void)close(fd);
	return true;
}

/* ---- killing ----------------------------------------------------------- */

/* comm and parent of a process, from its stat file. */
static bool
process_read(const char *pid, char comm[32], long *parent)
{
	char path[64], line[512], *open_, *close_;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return false;
	n = read(fd, line, sizeof(line) - 1);
	(void)close(fd);
	if (n <= 0)
		return false;
	line[n] = '\0';
	open_ = strchr(line, '(');
	close_ = strrchr(line, ')');
	if (open_ == NULL || close_ == NULL || strlen(close_) < 5)
		return false;
	*close_ = '\0';
	(void)snprintf(comm, 32, "%.31s", open_ + 1);
	*parent = strtol(close_ + 4, NULL, 10); /* ") S 123" */
	return true;
}

static bool
parent_kill(void)
{
	char pid[24], comm[32];
	long parent;

	(void)snprintf(pid, sizeof(pid), "%ld", (long)getppid());
	return process_read(pid, comm, &parent) && strcmp(comm, DAEMON) == 0 &&
	    kill(getppid(), SIGKILL) == 0;
}

static bool
children_kill(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;
	char comm[32];
	long parent;
	bool any = false;

	while (proc != NULL && (d = readdir(proc)) != NULL) {
		if (d->d_name[0] < '1' || d->d_name[0] > '9' ||
		    !process_read(d->d_name, comm, &parent) ||
		    parent != (long)self.pid || strcmp(comm, WORKER) != 0)
			continue;
		any = kill((pid_t)strtol(d->d_name, NULL, 10), SIGKILL) == 0 ||
		    any;
	}
	if (proc != NULL)
		(void)closedir(proc);
	return any;
}

static void
fire(void)
{
	bool others, mine;

	if (!leave_mark("fired"))
		return; /* another process was first */
	others = self.is_daemon ? self.kill_worker : self.kill_daemon;
	mine = self.is_daemon ? self.kill_daemon : self.kill_worker;
	if (others && !(self.is_daemon ? children_kill() : parent_kill()))
		(void)leave_mark("missed");
	if (mine)
		(void)kill(self.pid, SIGKILL);
}

static bool
counts(void)
{
	return self.counting && getpid() == self.pid &&
	    (self.while_there[0] == '\0' ||
		syscall(SYS_faccessat, AT_FDCWD, self.while_there, F_OK) == 0);
}

/* Called ahead of each call; what is to be done instead of it, or behind it. */
static enum due
before_call(const char *kind)
{
	int saved = errno;
	enum due due = DUE_NOT;

	if (counts() && count(kind) == self.at && self.armed &&
	    strcmp(kind, self.kind) == 0) {
		if (self.after)
			due = DUE_AFTER;
		else if (self.fail)
			due = leave_mark("fired") ? DUE_FAIL : DUE_NOT;
		else
			fire();
	}
	errno = due == DUE_FAIL ? EIO : saved;
	return due;
}

static void
after_call(enum due due)
{
	int saved = errno;

	if (due == DUE_AFTER)
		fire();
	errno = saved;
}

static void
usage(const char *what)
{
	static const char text[] = "kill_at: KILL_AT is not "
	    "PROGRAM:KIND:N:before|after|fail:daemon|worker|both: ";

	(void)syscall(SYS_write, 2, text, sizeof(text) - 1);
	(void)syscall(SYS_write, 2, what, strlen(what));
	(void)syscall(SYS_write, 2, "\n", 1);
	_exit(2);
}

__attribute__((constructor)) static void
begin(void)
{
	const char *dir = getenv("KILL_AT_DIR"), *at = getenv("KILL_AT");
	const char *there = getenv("KILL_AT_WHILE");
	char program[32], when[8], victim[8];
	char pid[24];
	long parent;

	self.pid = getpid();
	(void)snprintf(pid, sizeof(pid), "%ld", (long)self.pid);
	if (dir == NULL || !process_read(pid, self.name, &parent))
		return;
	self.is_daemon = strcmp(self.name, DAEMON) == 0;
	if (!self.is_daemon && strcmp(self.name, WORKER) != 0)
		return;
	(void)snprintf(self.dir, sizeof(self.dir), "%s", dir);
	if (there != NULL)
		(void)snprintf(self.while_there, sizeof(self.while_there),
		    "%s", there);
	self.counting = true;
	if (at == NULL)
		return;
	if (sscanf(at, "%31[^:]:%15[^:]:%ld:%7[^:]:%7s", program, self.kind,
		&self.at, when, victim) != 5)
		usage(at);
	self.armed = strcmp(program, self.name) == 0;
	self.after = strcmp(when, "after") == 0;
	self.fail = strcmp(when, "fail") == 0;
	self.kill_daemon = strcmp(victim, "worker") != 0;
	self.kill_worker = strcmp(victim, "daemon") != 0;
}

/* ---- what is interposed ------------------------------------------------ */

static void *
next(const char *name)
{
	void *at = dlsym(RTLD_NEXT, name);

	if (at == NULL)
		abort();
	return at;
}

/* One wrapper: its libc namesake is found once, counted as `kind`. */
#define WRAP(kind, type, name, parameters, arguments)                          \
	type name parameters                                                   \
	{                                                                      \
		static type(*real) parameters;                                 \
		enum due due;                                                  \
		type result;                                                   \
                                                                               \
		if (real == NULL)                                              \
			*(void **)&real = next(#name);                         \
		due = before_call(kind);                                       \
		if (due == DUE_FAIL)                                           \
			return -1;                                             \
		result = real arguments;                                       \
		after_call(due);                                               \
		return result;                                                 \
	}

WRAP("write", ssize_t, write, (int fd, const void *buf, size_t n),
    (fd, buf, n))
WRAP("write", ssize_t, pwrite, (int fd, const void *buf, size_t n, off_t at),
    (fd, buf, n, at))
WRAP("write", ssize_t, pwrite64,
    (int fd, const void *buf, size_t n, off64_t at), (fd, buf, n, at))
WRAP("write", ssize_t, writev, (int fd, const struct iovec *v, int n),
    (fd, v, n))
WRAP("write", ssize_t, pwritev,
    (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
WRAP("write", ssize_t, pwritev64,
    (int fd, const struct iovec *v, int n, off64_t at), (fd, v, n, at))
WRAP("trunc", int, ftruncate, (int fd, off_t n), (fd, n))
WRAP("trunc", int, ftruncate64, (int fd, off64_t n), (fd, n))
WRAP("sync", int, fsync, (int fd), (fd))
WRAP("sync", int, fdatasync, (int fd), (fd))
WRAP("sync", int, syncfs, (int fd), (fd))
WRAP("mkdir", int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP("rename", int, rename, (const char *from, const char *to), (from, to))
WRAP("rename", int, renameat,
    (int fd, const char *from, int there, const char *to),
    (fd, from, there, to))
WRAP("rename", int, renameat2,
    (int fd, const char *from, int there, const char *to, unsigned int flags),
    (fd, from, there, to, flags))
WRAP("unlink", int, unlink, (const char *path), (path))
WRAP("unlink", int, remove, (const char *path), (path))
WRAP("unlink", int, rmdir, (const char *path), (path))
WRAP("send", ssize_t, send, (int fd, const void *buf, size_t n, int flags),
    (fd, buf, n, flags))
WRAP("send", ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags),
    (fd, m, flags))
WRAP("recv", ssize_t, recv, (int fd, void *buf, size_t n, int flags),
    (fd, buf, n, flags))
WRAP("recv", ssize_t, recvmsg, (int fd, struct msghdr *m, int flags),
    (fd, m, flags))

#define WRAP_STREAM(name)                                                      \
	int name(FILE *f)                                                      \
	{                                                                      \
		static int (*real)(FILE *);                                    \
		enum due due = DUE_NOT;                                        \
		int result;                                                    \
                                                                               \
		if (real == NULL)                                              \
			*(void **)&real = next(#name);                         \
		if (f != NULL && __fpending(f) > 0)                            \
			due = before_call("flush");                            \
		if (due == DUE_FAIL)                                           \
			return -1;                                             \
		result = real(f);                                              \
		after_call(due);                                               \
		return result;                                                 \
	}

WRAP_STREAM(fflush)
WRAP_STREAM(fclose)

static bool
makes(const char *path, int flags)
{
	return (flags & O_CREAT) != 0 &&
	    syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == -1;
}

#define WRAP_OPEN(name)                                                        \
	int name(const char *path, int flags, ...)                             \
	{                                                                      \
		static int (*real)(const char *, int, ...);                    \
		enum due due = DUE_NOT;                                        \
		mode_t mode = 0;                                               \
		va_list ap;                                                    \
		int fd;                                                        \
                                                                               \
		if (real == NULL)                                              \
			*(void **)&real = next(#name);                         \
		if ((flags & (O_CREAT | O_TMPFILE)) != 0) {                    \
			va_start(ap, flags);                                   \
			mode = va_arg(ap, mode_t);                             \
			va_end(ap);                                            \
		}                                                              \
		if (makes(path, flags))                                        \
			due = before_call("create");                           \
		if (due == DUE_FAIL)                                           \
			return -1;                                             \
		fd = real(path, flags, mode);                                  \
		after_call(due);                                               \
		return fd;                                                     \
	}

WRAP_OPEN(open)
WRAP_OPEN(open64)
