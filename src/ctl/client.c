#include "client.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ksmpool/clock.h"
#include "ksmpool/fd.h"

static bool
client_fail(struct ctl_reply *r, int status, const char *code, const char *hint,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static bool
client_fail(struct ctl_reply *r, int status, const char *code, const char *hint,
    const char *fmt, ...)
{
	va_list ap;

	*r = (struct ctl_reply){ .type = CTL_ERROR, .exit = status };
	(void)snprintf(r->code, sizeof(r->code), "%s", code);
	(void)snprintf(r->hint, sizeof(r->hint), "%s", hint);
	va_start(ap, fmt);
	(void)vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	return false;
}

static bool
timed_out(struct ctl_reply *r)
{
	return client_fail(r, CTL_TIMEOUT, "timeout",
	    "--timeout allows more; what was asked for may still be done",
	    "no answer from the daemon in time");
}

/* Permission: who would have it? The group of the socket or its directory. */
static bool
denied(struct ctl_reply *r, const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	char hint[256] = "become root or the daemon's user";
	const struct group *gr = NULL;
	struct stat sb;
	char *slash;

	(void)snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash != NULL && slash != dir)
		*slash = '\0';
	/* A socket of mode 0600 belongs to no group. */
	if (stat(path, &sb) == 0) {
		if ((sb.st_mode & S_IWGRP) != 0)
			gr = getgrgid(sb.st_gid);
	} else if (stat(dir, &sb) == 0 && (sb.st_mode & S_IXGRP) != 0)
		gr = getgrgid(sb.st_gid);
	if (gr != NULL)
		(void)snprintf(hint, sizeof(hint),
		    "become root or a member of group '%s'", gr->gr_name);
	return client_fail(
	    r, CTL_DENIED, "denied", hint, "no permission to use %s", path);
}

void
client_init(struct client *cl)
{
	*cl = (struct client){ .fd = -1, .left = -1 };
}

/* Arm the kernel's timeout with what is left; 0 there means for ever. */
static bool
client_limit(struct client *cl, int which)
{
	struct timeval tv = { .tv_sec = 0 };

	if (cl->left == 0)
		return false;
	if (cl->left > 0) {
		tv.tv_sec = (time_t)(cl->left / 1000);
		tv.tv_usec = (suseconds_t)(cl->left % 1000 * 1000);
	}
	return setsockopt(cl->fd, SOL_SOCKET, which, &tv, sizeof(tv)) == 0;
}

static void
client_spend(struct client *cl, ksm_msec since)
{
	ksm_msec spent = clock_steady() - since;

	if (cl->left >= 0)
		cl->left = spent < cl->left ? cl->left - spent : 0;
}

bool
client_open(
    struct client *cl, const char *path, ksm_msec timeout, struct ctl_reply *r)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	ksm_msec since = clock_steady();
	int rc;

	cl->left = timeout;
	if (strlen(path) >= sizeof(addr.sun_path) || path[0] == '\0')
		return client_fail(r, CTL_USAGE, "usage", "",
		    "socket path '%s' must be 1 to %zu bytes", path,
		    sizeof(addr.sun_path) - 1);
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	cl->buf = malloc(MSG_CTL_LINE);
	cl->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (cl->buf == NULL || cl->fd == -1)
		return client_fail(
		    r, CTL_FAILED, "failed", "", "socket: %s", strerror(errno));
	/* The send timeout is connect's too: a full queue makes it wait. */
	if (!client_limit(cl, SO_SNDTIMEO))
		return timed_out(r);
	do
		rc = connect(cl->fd, (struct sockaddr *)&addr, sizeof(addr));
	while (rc == -1 && errno == EINTR);
	client_spend(cl, since);
	if (rc == 0)
		return true;
	switch (errno) {
	case EAGAIN:
	case EINPROGRESS:
		return timed_out(r);
	case EACCES:
	case EPERM:
		return denied(r, path);
	case ENOENT:
	case ECONNREFUSED:
	case ENOTDIR:
		return client_fail(r, CTL_UNREACHABLE, "unreachable",
		    "start it with 'systemctl start ksmpoold', or fill the "
		    "pools once with 'ksmpoold --once'",
		    "no daemon listens on %s", path);
	default:
		return client_fail(r, CTL_UNREACHABLE, "unreachable", "",
		    "%s: %s", path, strerror(errno));
	}
}

bool
client_ask(struct client *cl, const struct ctl_request *q, struct ctl_reply *r)
{
	char *line = ctl_request_encode(q);
	ksm_msec since = clock_steady();
	size_t len, sent = 0;
	bool asked = true;
	ssize_t n;

	if (line == NULL)
		return client_fail(r, CTL_USAGE, "usage", "",
		    "the arguments are not UTF-8 or too long");
	len = strlen(line);
	while (sent < len) {
		n = send(cl->fd, line + sent, len - sent, MSG_NOSIGNAL);
		if (n == -1 && errno == EINTR)
			continue;
		/* It hung up; why, it has said before: client_next reads it. */
		if (n == -1 && (errno == EPIPE || errno == ECONNRESET))
			break;
		if (n == -1) {
			asked =
			    errno == EAGAIN
				? timed_out(r)
				: client_fail(r, CTL_UNREACHABLE, "unreachable",
				      "", "send: %s", strerror(errno));
			break;
		}
		sent += (size_t)n;
	}
	client_spend(cl, since);
	free(line);
	return asked;
}

/* More bytes into the buffer; false: *r says why not. */
static bool
client_fill(struct client *cl, struct ctl_reply *r)
{
	ksm_msec since = clock_steady();
	ssize_t n;
	int error;

	if (cl->start > 0) {
		memmove(cl->buf, cl->buf + cl->start, cl->end - cl->start);
		cl->end -= cl->start;
		cl->start = 0;
	}
	if (cl->end == MSG_CTL_LINE)
		return client_fail(r, CTL_FAILED, "protocol", "",
		    "the daemon sent a line over %d bytes", MSG_CTL_LINE);
	if (!client_limit(cl, SO_RCVTIMEO))
		return timed_out(r);
	n = recv(cl->fd, cl->buf + cl->end, MSG_CTL_LINE - cl->end, 0);
	error = errno;
	client_spend(cl, since);
	if (n > 0) {
		cl->end += (size_t)n;
		return true;
	}
	if (n == -1 && error == EINTR)
		return true;
	if (n == -1 && error == EAGAIN)
		return timed_out(r);
	return client_fail(r, CTL_UNREACHABLE, "unreachable",
	    "its log says why",
	    "the daemon closed the connection before it "
	    "had answered");
}

void
client_next(struct client *cl, struct ctl_reply *r)
{
	struct ksm_fail fail = { .text = "" };
	size_t seen = 0;
	char *newline;

	for (;;) {
		newline = memchr(cl->buf + cl->start + seen, '\n',
		    cl->end - cl->start - seen);
		if (newline != NULL)
			break;
		seen = cl->end - cl->start;
		if (!client_fill(cl, r))
			return;
	}
	newline++;
	if (ctl_reply_decode(cl->buf + cl->start,
		(size_t)(newline - cl->buf) - cl->start, r, &fail) != KSM_OK)
		(void)client_fail(r, CTL_FAILED, "protocol",
		    "are ksmctl and ksmpoold of the same version?",
		    "the daemon's answer is not understood: %s", fail.text);
	cl->start = (size_t)(newline - cl->buf);
}

void
client_close(struct client *cl)
{
	fd_close(&cl->fd);
	free(cl->buf);
	cl->buf = NULL;
}
