#include "ksmpool/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPAWN_FDS 16

void
fd_close(int *fdp)
{
	int saved = errno;

	if (*fdp >= 0)
		(void)close(*fdp);
	*fdp = -1;
	errno = saved;
}

enum ksm_err
fd_packet_pair(int pair[2], struct ksm_fail *fail)
{
	int room = 4 * 65536;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return ksm_failf(fail, KSM_ESYS, "socketpair: %s",
		    strerror(errno));
	for (int i = 0; i < 2; i++)
		(void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &room,
		    sizeof(room));
	return KSM_OK;
}

enum ksm_err
fd_packet_send(int sock, const void *buf, size_t len, int fd,
    struct ksm_fail *fail)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *head;
	ssize_t n;

	if (fd != -1) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		head = CMSG_FIRSTHDR(&msg);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	}
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return ksm_failf(fail, KSM_EBUSY, "send packet: would block");
	if (n == -1)
		return ksm_failf(fail, KSM_ESYS, "send packet: %s",
		    strerror(errno));
	return KSM_OK;
}

/* Take the first descriptor of a message and close any other. */
static bool
take_rights(struct msghdr *msg, int *fd)
{
	bool one = true;

	*fd = -1;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h != NULL;
	     h = CMSG_NXTHDR(msg, h)) {
		size_t n;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int got;

			memcpy(&got, CMSG_DATA(h) + i * sizeof(int),
			    sizeof(got));
			if (*fd == -1 && i == 0) {
				*fd = got;
			} else {
				one = false;
				fd_close(&got);
			}
		}
	}
	return one;
}

enum ksm_err
fd_packet_recv(int sock, void *buf, size_t size, size_t *len, int *fd,
    struct ksm_fail *fail)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;
	int got;
	bool one;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n == -1 && errno == EINTR);
	if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return ksm_failf(fail, KSM_EBUSY, "receive: would block");
	if (n == -1)
		return ksm_failf(fail, KSM_ESYS, "receive packet: %s",
		    strerror(errno));
	one = take_rights(&msg, &got);
	if (n == 0) {
		fd_close(&got);
		return KSM_ENOENT;
	}
	if (!one || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
		fd_close(&got);
		return ksm_failf(fail, KSM_EPROTO,
		    one ? "packet longer than %zu bytes"
			: "packet of at most %zu bytes with several descriptors",
		    size);
	}
	if (fd == NULL)
		fd_close(&got);
	else
		*fd = got;
	*len = (size_t)n;
	return KSM_OK;
}

/*
 * In the child, between fork and exec: only async-signal-safe calls. All
 * descriptors are first moved out of the way of 0..n-1, then put in place.
 */
static void
child_exec(char *const argv[], char *const env[], const int *fds, size_t nfds)
{
	static const struct rlimit no_core = { 0, 0 };
	int high[SPAWN_FDS];
	sigset_t none;

	for (size_t i = 0; i < nfds; i++) {
		int from = fds[i];

		if (from == -1)
			from = open("/dev/null", O_RDWR);
		if (from == -1)
			_exit(126);
		high[i] = fcntl(from, F_DUPFD, SPAWN_FDS);
		if (high[i] == -1)
			_exit(126);
	}
	for (size_t i = 0; i < nfds; i++)
		if (dup2(high[i], (int)i) == -1)
			_exit(126);
	if (close_range((unsigned int)nfds, ~0U, 0) == -1)
		_exit(126);
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)execve(argv[0], argv, env);
	_exit(127);
}

static enum ksm_err
spawn(char *const argv[], char *const env[], const int *fds, size_t nfds,
    bool group, pid_t *pid, int *pidfd, struct ksm_fail *fail)
{
	int hold[2] = { -1, -1 };
	enum ksm_err err = KSM_OK;
	pid_t child;
	char none;

	if (nfds > SPAWN_FDS)
		return ksm_failf(fail, KSM_ESYS, "spawn %s: %zu descriptors",
		    argv[0], nfds);
	if (access(argv[0], X_OK) == -1)
		return ksm_failf(fail, KSM_ESYS, "%s: %s", argv[0],
		    strerror(errno));
	/*
	 * The child waits until its pidfd is open: where SIGCHLD is ignored it
	 * would be gone, and its number somebody else's.
	 */
	if (pipe2(hold, O_CLOEXEC) == -1)
		return ksm_failf(fail, KSM_ESYS, "pipe: %s", strerror(errno));
	child = fork();
	if (child == -1) {
		err = ksm_failf(fail, KSM_ESYS, "fork for %s: %s", argv[0],
		    strerror(errno));
		goto out;
	}
	if (child == 0) {
		(void)close(hold[1]);
		while (read(hold[0], &none, 1) == -1 && errno == EINTR)
			;
		(void)close(hold[0]);
		if (group && setpgid(0, 0) == -1)
			_exit(126);
		child_exec(argv, env != NULL ? env : environ, fds, nfds);
	}
	*pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	if (*pidfd == -1) {
		err = ksm_failf(fail, KSM_ESYS, "pidfd_open: %s",
		    strerror(errno));
		(void)kill(child, SIGKILL);
		(void)waitpid(child, NULL, 0);
		goto out;
	}
	*pid = child;
out:
	fd_close(&hold[0]);
	fd_close(&hold[1]);
	return err;
}

enum ksm_err
fd_spawn(char *const argv[], char *const env[], const int *fds, size_t nfds,
    pid_t *pid, int *pidfd, struct ksm_fail *fail)
{
	return spawn(argv, env, fds, nfds, false, pid, pidfd, fail);
}

enum ksm_err
fd_spawn_group(char *const argv[], char *const env[], const int *fds,
    size_t nfds, pid_t *pid, int *pidfd, struct ksm_fail *fail)
{
	return spawn(argv, env, fds, nfds, true, pid, pidfd, fail);
}

enum ksm_err
fd_write_all(int fd, const void *buf, size_t len, struct ksm_fail *fail)
{
	const char *at = buf;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return ksm_failf(fail, KSM_ESYS, "write: %s",
			    strerror(errno));
		at += n;
		len -= (size_t)n;
	}
	return KSM_OK;
}

int
fd_rename_new(int dirfd, const char *from, const char *to)
{
	struct stat st;

	if (renameat2(dirfd, from, dirfd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (fstatat(dirfd, to, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return -1;
	}
	return errno == ENOENT ? renameat(dirfd, from, dirfd, to) : -1;
}
