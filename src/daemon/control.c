#include "control.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ksmpool/clock.h"
#include "ksmpool/fd.h"
#include "ksmpool/log.h"

#include "commands.h"

#define CLIENTS_MAX	64
#define CLIENTS_ROOT	4     /* of these, kept free for root */
#define CLIENTS_PER_UID 16    /* root has no such limit */
#define BUFFER_HIGH	65536 /* above it nothing more is made */
#define REQUEST_USEC	(10 * UINT64_C(1000000))
#define STALLED_USEC	(60 * UINT64_C(1000000))
#define ACCEPT_BATCH	16 /* per turn of the loop */
#define ACCEPT_PAUSE	UINT64_C(1000000)
#define DENIED_EVERY	10000 /* ms between log lines */

/*
 *   READING --line--> RUNNING --last reply--> CLOSING --buffer empty--> freed
 *      |                 |                       |
 *      +--- bad line, 10 s without one --------->+
 *      +--- peer gone ---+--- peer gone, 60 s without reading ---------> freed
 *
 * READING: `in` holds what came so far, no newline among it.
 * RUNNING: `call` was started and has not said its last word.
 * CLOSING: call.done; only `out` is still sent.
 */
enum client_state { CLIENT_READING, CLIENT_RUNNING, CLIENT_CLOSING };

struct client {
	LIST_ENTRY(client) link;
	struct control *control;
	enum client_state state;
	int fd;
	uid_t uid;
	sd_event_source *io, *timer;
	char *in; /* MSG_CTL_LINE bytes while READING */
	size_t inlen;
	char *out;
	size_t outlen, outoff, outcap;
	bool broken; /* no memory for an answer: give up on it */
	struct command_call call;
};

struct control {
	sd_event *event;
	struct daemon_face face;
	int fd;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	dev_t dev; /* of the socket file, to remove only our own */
	ino_t ino;
	bool bound;
	char group[64]; /* "" : none */
	gid_t gid;
	sd_event_source *io, *pause;
	ksm_msec denied_said;
	int64_t denied; /* since then */
	LIST_HEAD(, client) clients;
	size_t nclients;
};

/* ---- one client ------------------------------------------------------ */

static void
client_free(struct client *cl)
{
	struct control *c = cl->control;

	command_end(&cl->call);
	(void)sd_event_source_disable_unref(cl->io);
	(void)sd_event_source_disable_unref(cl->timer);
	fd_close(&cl->fd);
	free(cl->in);
	free(cl->out);
	LIST_REMOVE(cl, link);
	c->nclients--;
	free(cl);
}

static void
client_arm(struct client *cl, uint64_t usec)
{
	int r;

	r = sd_event_source_set_time_relative(cl->timer, usec);
	if (r >= 0)
		r = sd_event_source_set_enabled(cl->timer, SD_EVENT_ONESHOT);
	if (r < 0)
		cl->broken = true; /* rather lose it than keep it for ever */
}

/* What the loop waits for on this socket; a hang-up it always tells. */
static void
client_watch(struct client *cl)
{
	uint32_t events = 0;

	if (cl->state == CLIENT_READING)
		events = EPOLLIN;
	else if (cl->broken || cl->outlen > cl->outoff ||
		 cl->state == CLIENT_CLOSING || command_streams(&cl->call))
		events = EPOLLOUT;
	(void)sd_event_source_set_io_events(cl->io, events);
}

/*
 * Append only: it is called from inside commands and from the engine, where
 * no client may be freed. The loop sends.
 */
static void
client_emit(void *to, const struct ctl_reply *r)
{
	static const char sorry[] =
	    "{\"v\":1,\"type\":\"error\",\"exit\":2,\"code\":\"no-memory\","
	    "\"text\":\"an answer could not be made\",\"hint\":\"\"}\n";
	struct client *cl = to;
	char *line, *bigger;
	const char *text;
	size_t len, need;

	if (cl->broken)
		return;
	line = ctl_reply_encode(r);
	text = line != NULL ? line : sorry;
	if (line == NULL)
		cl->call.done = true; /* nothing may follow an error */
	len = strlen(text);
	if (cl->outlen == cl->outoff) {
		/* From quiet to waiting: the time to read begins now. */
		cl->outlen = cl->outoff = 0;
		client_arm(cl, STALLED_USEC);
	}
	need = cl->outlen + len;
	if (need > cl->outcap) {
		need += need / 2;
		bigger = realloc(cl->out, need);
		if (bigger == NULL) {
			cl->broken = true;
			goto out;
		}
		cl->out = bigger;
		cl->outcap = need;
	}
	memcpy(cl->out + cl->outlen, text, len);
	cl->outlen += len;
out:
	if (cl->call.done)
		cl->state = CLIENT_CLOSING;
	client_watch(cl);
	free(line);
}

static void
client_refuse(struct client *cl, const char *code, const char *text)
{
	command_fail(&cl->call, CTL_FAILED, code, NULL, "%s", text);
	cl->state = CLIENT_CLOSING;
}

static void
client_request(struct client *cl, size_t len)
{
	struct ctl_request request = { .args = NULL };
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err;

	(void)sd_event_source_set_enabled(cl->timer, SD_EVENT_OFF);
	err = ctl_request_decode(cl->in, len, &request, &fail);
	if (err == KSM_OK && len != cl->inlen)
		err = ksm_failf(
		    &fail, KSM_EPROTO, "request: only one line per connection");
	free(cl->in);
	cl->in = NULL;
	if (err != KSM_OK) {
		client_refuse(cl, "bad-request", fail.text);
		goto out;
	}
	cl->state = CLIENT_RUNNING;
	command_start(&cl->call, &request);
	if (command_changes(&cl->call))
		log_info("control: %s asked for by uid %" PRId64
			 ", process %" PRId64,
		    request.command, cl->call.uid, cl->call.pid);
	else
		log_debug("control: %s asked for by uid %" PRId64
			  ", process %" PRId64,
		    request.command, cl->call.uid, cl->call.pid);
out:
	ctl_request_clear(&request);
}

/* False when the client has left without a word. */
static bool
client_read(struct client *cl)
{
	char *newline;
	ssize_t n;

	n = recv(cl->fd, cl->in + cl->inlen, MSG_CTL_LINE - cl->inlen, 0);
	if (n == -1)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0 && cl->inlen == 0)
		return false;
	if (n == 0) {
		client_refuse(
		    cl, "bad-request", "request: the line has no end");
		return true;
	}
	newline = memchr(cl->in + cl->inlen, '\n', (size_t)n);
	cl->inlen += (size_t)n;
	if (newline != NULL)
		client_request(cl, (size_t)(newline - cl->in) + 1);
	else if (cl->inlen == MSG_CTL_LINE)
		client_refuse(
		    cl, "bad-request", "request: longer than 65536 bytes");
	return true;
}

/* Send what the socket takes; false when the peer is gone. */
static bool
client_flush(struct client *cl)
{
	ssize_t n;

	while (cl->outlen > cl->outoff) {
		n = send(cl->fd, cl->out + cl->outoff, cl->outlen - cl->outoff,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return errno == EAGAIN;
		cl->outoff += (size_t)n;
		client_arm(cl, STALLED_USEC);
	}
	cl->outlen = cl->outoff = 0;
	(void)sd_event_source_set_enabled(cl->timer, SD_EVENT_OFF);
	return true;
}

/* One page at most per turn: other events have theirs. */
static bool
client_push(struct client *cl)
{
	if (!client_flush(cl))
		return false;
	if (command_streams(&cl->call) &&
	    cl->outlen - cl->outoff < BUFFER_HIGH) {
		/* Drop what was sent, so that the buffer stays bounded. */
		if (cl->outoff > 0) {
			memmove(cl->out, cl->out + cl->outoff,
			    cl->outlen - cl->outoff);
			cl->outlen -= cl->outoff;
			cl->outoff = 0;
		}
		command_more(&cl->call);
		if (!client_flush(cl))
			return false;
	}
	return !(cl->state == CLIENT_CLOSING && cl->outlen == cl->outoff);
}

static int
on_client(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct client *cl = arg;
	bool keep = true;

	(void)source;
	(void)fd;
	if (cl->state == CLIENT_READING)
		keep = client_read(cl);
	if (keep && cl->state != CLIENT_READING)
		keep = client_push(cl);
	if (revents & (EPOLLHUP | EPOLLERR))
		keep = false;
	if (!keep || cl->broken)
		client_free(cl);
	else
		client_watch(cl);
	return 0;
}

static int
on_client_time(sd_event_source *source, uint64_t usec, void *arg)
{
	struct client *cl = arg;

	(void)source;
	(void)usec;
	if (cl->state == CLIENT_READING) {
		client_refuse(cl, "timeout", "request: none within 10 s");
		if (client_push(cl) && !cl->broken) {
			client_watch(cl);
			return 0;
		}
	}
	client_free(cl);
	return 0;
}

/* ---- who may --------------------------------------------------------- */

static bool
peer_in_group(int fd, gid_t primary, gid_t wanted)
{
	gid_t few[64], *groups = few;
	socklen_t len = sizeof(few);
	bool in = primary == wanted;
	int r;

	if (in)
		return true;
	r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
	if (r == -1 && errno == ERANGE) {
		groups = malloc(len);
		if (groups == NULL)
			return false;
		r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
	}
	for (size_t i = 0; r == 0 && i < len / sizeof(*groups); i++)
		in = in || groups[i] == wanted;
	if (groups != few)
		free(groups);
	return in;
}

static bool
peer_allowed(const struct control *c, int fd, const struct ucred *peer)
{
	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	return c->group[0] != '\0' && peer_in_group(fd, peer->gid, c->gid);
}

/* One error line into a fresh socket, which always has room for it. */
static void
peer_refuse(
    int fd, int status, const char *code, const char *hint, const char *text)
{
	struct ctl_reply r = { .type = CTL_ERROR, .exit = status };
	char *line;

	(void)snprintf(r.code, sizeof(r.code), "%s", code);
	(void)snprintf(r.hint, sizeof(r.hint), "%s", hint);
	(void)snprintf(r.text, sizeof(r.text), "%s", text);
	line = ctl_reply_encode(&r);
	if (line != NULL)
		(void)send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
	free(line);
}

static void
peer_denied(struct control *c, int fd, const struct ucred *peer)
{
	char text[256], hint[256] = "";
	ksm_msec now = clock_steady();

	if (c->group[0] != '\0')
		(void)snprintf(hint, sizeof(hint),
		    "become root or a member of group '%s'", c->group);
	(void)snprintf(text, sizeof(text), "uid %u may not use %s",
	    (unsigned int)peer->uid, c->path);
	peer_refuse(fd, CTL_DENIED, "denied", hint, text);

	/* A knock on the door is worth a line, a drum roll is not. */
	c->denied++;
	if (c->denied_said != 0 && now - c->denied_said < DENIED_EVERY)
		return;
	log_notice("control: denied uid %u, process %d (%" PRId64
		   " since the last such line)",
	    (unsigned int)peer->uid, (int)peer->pid, c->denied);
	c->denied_said = now;
	c->denied = 0;
}

static bool
peer_too_many(const struct control *c, uid_t uid)
{
	const struct client *cl;
	size_t mine = 0;

	if (uid == 0)
		return c->nclients >= CLIENTS_MAX;
	if (c->nclients >= CLIENTS_MAX - CLIENTS_ROOT)
		return true;
	for (cl = LIST_FIRST(&c->clients); cl != NULL; cl = LIST_NEXT(cl, link))
		mine += cl->uid == uid;
	return mine >= CLIENTS_PER_UID;
}

/* Takes `fd` over. */
static void
client_new(struct control *c, int fd, const struct ucred *peer)
{
	struct client *cl = calloc(1, sizeof(*cl));
	int r = -ENOMEM;

	if (cl == NULL) {
		fd_close(&fd);
		return;
	}
	cl->control = c;
	cl->fd = fd;
	cl->uid = peer->uid;
	cl->call.face = &c->face;
	cl->call.uid = peer->uid;
	cl->call.pid = peer->pid;
	cl->call.may_act = true;
	cl->call.emit = client_emit;
	cl->call.to = cl;
	LIST_INSERT_HEAD(&c->clients, cl, link);
	c->nclients++;
	cl->in = malloc(MSG_CTL_LINE);
	if (cl->in != NULL)
		r = sd_event_add_io(
		    c->event, &cl->io, fd, EPOLLIN, on_client, cl);
	if (r >= 0)
		r = sd_event_add_time_relative(c->event, &cl->timer,
		    CLOCK_MONOTONIC, REQUEST_USEC, 250000, on_client_time, cl);
	if (r >= 0)
		return;
	log_warning("control: a client of uid %u is lost: %s",
	    (unsigned int)peer->uid, strerror(-r));
	client_free(cl);
}

static int
on_pause_over(sd_event_source *source, uint64_t usec, void *arg)
{
	struct control *c = arg;

	(void)source;
	(void)usec;
	(void)sd_event_source_set_enabled(c->io, SD_EVENT_ON);
	return 0;
}

/* Out of descriptors or memory: the queue stays, the loop must not spin. */
static void
listen_pause(struct control *c, int error)
{
	log_warning(
	    "control: no client can be accepted for 1 s: %s", strerror(error));
	if (c->pause == NULL) {
		if (sd_event_add_time_relative(c->event, &c->pause,
			CLOCK_MONOTONIC, ACCEPT_PAUSE, 0, on_pause_over, c) < 0)
			return;
	} else if (sd_event_source_set_time_relative(c->pause, ACCEPT_PAUSE) <
		       0 ||
		   sd_event_source_set_enabled(c->pause, SD_EVENT_ONESHOT) < 0)
		return;
	(void)sd_event_source_set_enabled(c->io, SD_EVENT_OFF);
}

static int
on_listen(sd_event_source *source, int listener, uint32_t revents, void *arg)
{
	struct control *c = arg;
	struct ucred peer;
	socklen_t len;
	int fd;

	(void)source;
	(void)revents;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		fd =
		    accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd == -1 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd == -1) {
			if (errno != EAGAIN)
				listen_pause(c, errno);
			break;
		}
		len = sizeof(peer);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == -1)
			fd_close(&fd);
		else if (!peer_allowed(c, fd, &peer)) {
			peer_denied(c, fd, &peer);
			fd_close(&fd);
		} else if (peer_too_many(c, peer.uid)) {
			peer_refuse(fd, CTL_FAILED, "busy",
			    "try again in a moment",
			    "too many control connections are open");
			fd_close(&fd);
		} else
			client_new(c, fd, &peer);
	}
	return 0;
}

/* ---- the socket file ------------------------------------------------- */

/* Make room at `addr`: a socket nobody listens on is removed. */
static enum ksm_err
path_clear(const struct sockaddr_un *addr, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	const char *path = addr->sun_path;
	struct stat sb;
	int fd = -1;

	if (lstat(path, &sb) == -1) {
		if (errno != ENOENT)
			err = ksm_failf(
			    fail, KSM_ESYS, "%s: %s", path, strerror(errno));
		goto out;
	}
	if (!S_ISSOCK(sb.st_mode)) {
		err = ksm_failf(
		    fail, KSM_EREFUSED, "%s exists and is not a socket", path);
		goto out;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1) {
		err = ksm_failf(fail, KSM_ESYS, "socket: %s", strerror(errno));
		goto out;
	}
	/* EAGAIN: its queue is full, so somebody owns it. */
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
	    errno == EAGAIN) {
		err = ksm_failf(
		    fail, KSM_EBUSY, "%s: another daemon listens there", path);
		goto out;
	}
	if (errno != ECONNREFUSED && errno != ENOENT) {
		err = ksm_failf(fail, KSM_ESYS,
		    "%s: cannot tell whether it is in use: %s", path,
		    strerror(errno));
		goto out;
	}
	if (unlink(path) == -1 && errno != ENOENT)
		err = ksm_failf(fail, KSM_ESYS, "remove stale %s: %s", path,
		    strerror(errno));
out:
	fd_close(&fd);
	return err;
}

static enum ksm_err
group_find(const char *name, gid_t *gid, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	struct group gr, *found = NULL;
	size_t size = 16384;
	char *buf = NULL, *bigger;
	int r;

	for (;;) {
		bigger = realloc(buf, size);
		if (bigger == NULL) {
			err = ksm_failf(fail, KSM_ENOMEM, "out of memory");
			goto out;
		}
		buf = bigger;
		r = getgrnam_r(name, &gr, buf, size, &found);
		if (r != ERANGE || size >= 16 * 1024 * 1024)
			break;
		size *= 4;
	}
	if (found == NULL) {
		err = ksm_failf(fail, KSM_EREFUSED,
		    "socket group '%s' does not exist%s%s", name,
		    r != 0 ? ": " : "", r != 0 ? strerror(r) : "");
		goto out;
	}
	*gid = gr.gr_gid;
out:
	free(buf);
	return err;
}

/* Nobody but us can connect before the group is set. */
static enum ksm_err
path_bind(
    struct control *c, const struct sockaddr_un *addr, struct ksm_fail *fail)
{
	struct stat sb;
	mode_t mask;
	int r, error;

	mask = umask(0177);
	r = bind(c->fd, (const struct sockaddr *)addr, sizeof(*addr));
	error = errno;
	(void)umask(mask);
	if (r == -1)
		return ksm_failf(
		    fail, KSM_ESYS, "bind %s: %s", c->path, strerror(error));
	c->bound = true;
	if (lstat(c->path, &sb) == -1)
		return ksm_failf(
		    fail, KSM_ESYS, "%s: %s", c->path, strerror(errno));
	c->dev = sb.st_dev;
	c->ino = sb.st_ino;
	if (c->group[0] == '\0')
		return KSM_OK;
	if (lchown(c->path, (uid_t)-1, c->gid) == -1)
		return ksm_failf(fail, errno == EPERM ? KSM_EREFUSED : KSM_ESYS,
		    "%s: cannot give it to group '%s': %s (the daemon's user "
		    "must be a member)",
		    c->path, c->group, strerror(errno));
	if (chmod(c->path, 0660) == -1)
		return ksm_failf(
		    fail, KSM_ESYS, "%s: chmod: %s", c->path, strerror(errno));
	return KSM_OK;
}

enum ksm_err
control_open(sd_event *event, const struct control_want *want,
    const struct daemon_face *face, struct control **out, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = want->path, *group = want->group;
	struct control *c = NULL;
	int r;

	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "out of memory");
	c->fd = -1;
	c->face = *face;
	LIST_INIT(&c->clients);
	c->event = sd_event_ref(event);
	if (path[0] != '/' || strlen(path) >= sizeof(addr.sun_path)) {
		err = ksm_failf(fail, KSM_EREFUSED,
		    "socket path '%s' must be absolute and at most %zu bytes",
		    path, sizeof(addr.sun_path) - 1);
		goto out;
	}
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	(void)snprintf(c->path, sizeof(c->path), "%s", path);
	if (group != NULL) {
		if (strlen(group) >= sizeof(c->group) || group[0] == '\0') {
			err = ksm_failf(fail, KSM_EREFUSED,
			    "socket group '%s' does not exist", group);
			goto out;
		}
		(void)snprintf(c->group, sizeof(c->group), "%s", group);
		err = group_find(group, &c->gid, fail);
		if (err != KSM_OK)
			goto out;
	}
	err = path_clear(&addr, fail);
	if (err != KSM_OK)
		goto out;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd == -1) {
		err = ksm_failf(fail, KSM_ESYS, "socket: %s", strerror(errno));
		goto out;
	}
	err = path_bind(c, &addr, fail);
	if (err != KSM_OK)
		goto out;
	if (listen(c->fd, SOMAXCONN) == -1) {
		err = ksm_failf(
		    fail, KSM_ESYS, "listen on %s: %s", path, strerror(errno));
		goto out;
	}
	r = sd_event_add_io(event, &c->io, c->fd, EPOLLIN, on_listen, c);
	if (r < 0) {
		err = ksm_failf(
		    fail, KSM_ESYS, "watch %s: %s", path, strerror(-r));
		goto out;
	}
	*out = c;
	c = NULL;
out:
	control_close(c);
	return err;
}

void
control_close(struct control *c)
{
	struct client *cl, *next;
	struct stat sb;

	if (c == NULL)
		return;
	for (cl = LIST_FIRST(&c->clients); cl != NULL; cl = next) {
		next = LIST_NEXT(cl, link);
		/* A last word, as far as the socket takes it. */
		command_fail(&cl->call, CTL_FAILED, "stopping",
		    "keys being made are settled at the next start",
		    "the daemon is stopping");
		(void)client_flush(cl);
		client_free(cl);
	}
	(void)sd_event_source_disable_unref(c->io);
	(void)sd_event_source_disable_unref(c->pause);
	fd_close(&c->fd);
	if (c->bound && lstat(c->path, &sb) == 0 && sb.st_dev == c->dev &&
	    sb.st_ino == c->ino)
		(void)unlink(c->path);
	(void)sd_event_unref(c->event);
	free(c);
}

void
control_poll(struct control *c)
{
	struct client *cl;

	/* Nothing is freed here: answers are only appended. */
	for (cl = LIST_FIRST(&c->clients); cl != NULL; cl = LIST_NEXT(cl, link))
		if (cl->state == CLIENT_RUNNING)
			command_poll(&cl->call);
}
