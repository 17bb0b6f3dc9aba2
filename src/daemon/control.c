#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "ksmpool/clock.h"
#include "ksmpool/fd.h"
#include "ksmpool/log.h"

#include "commands.h"
#include "logsink.h"

/*
 * A client costs its struct until it has sent something; `in` grows with what
 * comes, to 64 KiB, and goes when the request is read; `out` goes when it is
 * sent. All of them together hold at most HELD_MAX bytes, and one page each
 * (some 64 KiB) that was made when `out` was empty: with 512 clients, none of
 * which reads, 48 MiB.
 */
#define SLOTS_MAX	512
#define SLOTS_MIN	16
#define HELD_MAX	(16u << 20)
#define BUFFER_HIGH	65536 /* above it nothing more is made */
#define IN_FIRST	1024
#define REQUEST_USEC	(10 * UINT64_C(1000000))
#define STALLED_USEC	(60 * UINT64_C(1000000))
#define ACCEPT_BATCH	16 /* per turn of the loop */
#define ACCEPT_PAUSE	UINT64_C(1000000)
#define FULL_PAUSE	UINT64_C(5000)
/* Who lists gets the time that short answers and the engine leave. */
#define STREAM_PRIO	(SD_EVENT_PRIORITY_NORMAL + 30)
#define DENIED_EVERY	10000 /* ms between log lines */
/* When there is no room, these may lose theirs: ms without a request, or */
#define GRACE_READING	100
#define GRACE_STALLED	150  /* without reading what was said. */

/*
 *   READING --line--> RUNNING --last reply--> CLOSING --buffer empty--> freed
 *      |                 |                       |
 *      +--- bad line, 10 s without one --------->+
 *      +--- peer gone ---+--- peer gone, 60 s without reading ---------> freed
 *      +--- no room, 0.1 s ---+--- no room, 0.15 s without reading ----> freed
 *
 * READING: `in` holds what came so far, no newline among it.
 * RUNNING: `call` was started and has not said its last word.
 * CLOSING: call.done; only `out` is still sent.
 */
enum client_state { CLIENT_READING, CLIENT_RUNNING, CLIENT_CLOSING };

/* All clients of one user. */
struct peer {
	LIST_ENTRY(peer) link;
	uid_t uid;
	size_t clients, waiting;
};

struct client {
	TAILQ_ENTRY(client) link;
	struct control *control;
	struct peer *peer;
	enum client_state state;
	int fd;
	bool waits; /* counted in peer->waiting */
	ksm_msec since; /* it came; RUNNING: it read something last */
	sd_event_source *io, *timer;
	char *in;
	size_t inlen, incap;
	char *out;
	size_t outlen, outoff, outcap;
	bool broken; /* no memory for an answer: give up on it */
	struct command_call call;
};

/* What somebody at the other end may do. */
enum peer_right { PEER_NOTHING, PEER_LOOK, PEER_ACT };

struct control_group {
	char name[64]; /* "" : none */
	gid_t gid;
};

struct control {
	sd_event *event;
	struct daemon_face face;
	int fd;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	dev_t dev; /* of the socket file, to remove only our own */
	ino_t ino;
	bool bound;
	struct control_group actors, readers;
	sd_event_source *io, *pause;
	bool full; /* newcomers wait in the kernel's queue for a slot */
	ksm_msec denied_said;
	int64_t denied; /* since then */
	TAILQ_HEAD(clients, client) clients; /* oldest first */
	LIST_HEAD(, peer) peers;
	size_t nclients, waiting, slots;
	size_t held; /* bytes of all buffers */
	char scratch[MSG_CTL_LINE];
};

/* ---- one client ------------------------------------------------------ */

static void
client_waits(struct client *cl, bool waits)
{
	if (cl->waits == waits)
		return;
	cl->waits = waits;
	cl->peer->waiting += waits ? 1 : (size_t)-1;
	cl->control->waiting += waits ? 1 : (size_t)-1;
}

static void
client_in_drop(struct client *cl)
{
	cl->control->held -= cl->incap;
	free(cl->in);
	cl->in = NULL;
	cl->inlen = cl->incap = 0;
}

static void
client_out_drop(struct client *cl)
{
	cl->control->held -= cl->outcap;
	free(cl->out);
	cl->out = NULL;
	cl->outlen = cl->outoff = cl->outcap = 0;
}

static struct peer *
peer_join(struct control *c, uid_t uid)
{
	struct peer *p;

	LIST_FOREACH(p, &c->peers, link)
		if (p->uid == uid)
			break;
	if (p == NULL) {
		p = calloc(1, sizeof(*p));
		if (p == NULL)
			return NULL;
		p->uid = uid;
		LIST_INSERT_HEAD(&c->peers, p, link);
	}
	p->clients++;
	return p;
}

static void
peer_leave(struct peer *p)
{
	if (--p->clients > 0)
		return;
	LIST_REMOVE(p, link);
	free(p);
}

static void
client_free(struct client *cl)
{
	struct control *c = cl->control;

	client_waits(cl, false);
	command_end(&cl->call);
	(void)sd_event_source_disable_unref(cl->io);
	(void)sd_event_source_disable_unref(cl->timer);
	fd_close(&cl->fd);
	client_in_drop(cl);
	client_out_drop(cl);
	peer_leave(cl->peer);
	TAILQ_REMOVE(&c->clients, cl, link);
	c->nclients--;
	free(cl);
	/* There is a slot: who waits for one need not wait for the timer. */
	if (c->full) {
		c->full = false;
		(void)sd_event_source_set_enabled(c->pause, SD_EVENT_OFF);
		(void)sd_event_source_set_enabled(c->io, SD_EVENT_ON);
	}
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
		cl->since = clock_steady();
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
		cl->control->held += need - cl->outcap;
		cl->out = bigger;
		cl->outcap = need;
	}
	memcpy(cl->out + cl->outlen, text, len);
	cl->outlen += len;
out:
	if (cl->call.done) {
		cl->state = CLIENT_CLOSING;
		client_waits(cl, false);
	}
	client_watch(cl);
	free(line);
}

static void
client_refuse(
    struct client *cl, const char *code, const char *hint, const char *text)
{
	command_fail(&cl->call, CTL_FAILED, code, hint, "%s", text);
	cl->state = CLIENT_CLOSING;
}

/*
 * Commands that wait for the engine keep their slot for as long as it takes:
 * no user may fill half of the slots with them, nor all users together.
 */
static bool
client_may_wait(const struct client *cl, struct ksm_fail *fail)
{
	const struct control *c = cl->control;

	if (cl->peer->waiting < c->slots / 8 && c->waiting < c->slots / 2)
		return true;
	(void)ksm_failf(fail, KSM_EBUSY,
	    "%zu commands of uid %u wait for an end already (%zu of all users)",
	    cl->peer->waiting, (unsigned int)cl->peer->uid, c->waiting);
	return false;
}

/* The line is `len` bytes of the `came` that were sent. */
static void
client_request(struct client *cl, const char *line, size_t len, size_t came)
{
	struct ctl_request request = { .args = NULL };
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err;
	bool waits;

	(void)sd_event_source_set_enabled(cl->timer, SD_EVENT_OFF);
	err = ctl_request_decode(line, len, &request, &fail);
	if (err == KSM_OK && len != came)
		err = ksm_failf(
		    &fail, KSM_EPROTO, "request: only one line per connection");
	if (err != KSM_OK) {
		client_refuse(cl, "bad-request", NULL, fail.text);
		goto out;
	}
	waits = command_waits(&request);
	if (waits && !client_may_wait(cl, &fail)) {
		client_refuse(cl, "busy",
		    "wait until they are done, or ask without --wait",
		    fail.text);
		goto out;
	}
	cl->state = CLIENT_RUNNING;
	command_start(&cl->call, &request);
	client_waits(cl, waits && !cl->call.done);
	if (command_streams(&cl->call))
		(void)sd_event_source_set_priority(cl->io, STREAM_PRIO);
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
	client_in_drop(cl);
}

static bool victim_drop(struct control *c, const struct client *but);

/* Keep a piece of a line; false: there is no room for it. */
static bool
client_keep(struct client *cl, const char *bytes, size_t n)
{
	struct control *c = cl->control;
	size_t need = cl->incap > 0 ? cl->incap : IN_FIRST;
	char *bigger;

	while (need < cl->inlen + n)
		need *= 2;
	while (c->held + need - cl->incap > HELD_MAX)
		if (!victim_drop(c, cl))
			return false;
	if (need > cl->incap) {
		bigger = realloc(cl->in, need);
		if (bigger == NULL)
			return false;
		c->held += need - cl->incap;
		cl->in = bigger;
		cl->incap = need;
	}
	memcpy(cl->in + cl->inlen, bytes, n);
	cl->inlen += n;
	return true;
}

/* False when the client has left without a word. */
static bool
client_read(struct client *cl)
{
	char *scratch = cl->control->scratch, *newline;
	ssize_t n;

	n = recv(cl->fd, scratch, MSG_CTL_LINE - cl->inlen, 0);
	if (n == -1)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0 && cl->inlen == 0)
		return false;
	if (n == 0) {
		client_refuse(
		    cl, "bad-request", NULL, "request: the line has no end");
		return true;
	}
	newline = memchr(scratch, '\n', (size_t)n);
	if (newline != NULL && cl->inlen == 0) /* the usual case: no copy */
		client_request(cl, scratch, (size_t)(newline - scratch) + 1,
		    (size_t)n);
	else if (!client_keep(cl, scratch, (size_t)n))
		client_refuse(cl, "busy", "try again in a moment",
		    "too many requests are half sent");
	else if (newline != NULL)
		client_request(cl, cl->in,
		    cl->inlen - (size_t)n + (size_t)(newline - scratch) + 1,
		    cl->inlen);
	else if (cl->inlen == MSG_CTL_LINE)
		client_refuse(cl, "bad-request", NULL,
		    "request: longer than 65536 bytes");
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
		cl->since = clock_steady();
		client_arm(cl, STALLED_USEC);
	}
	client_out_drop(cl);
	/* A stream has no more yet because the socket is full: that counts. */
	if (!command_streams(&cl->call))
		(void)sd_event_source_set_enabled(cl->timer, SD_EVENT_OFF);
	return true;
}

/*
 * An empty buffer may always have a page, or clients that do not read would
 * keep the others waiting.
 */
static bool
client_may_make(const struct client *cl)
{
	struct control *c = cl->control;

	if (cl->outlen == cl->outoff)
		return true;
	while (c->held > HELD_MAX)
		if (!victim_drop(c, cl))
			return false;
	return cl->outlen - cl->outoff < BUFFER_HIGH;
}

/* One page at most per turn: other events have theirs. */
static bool
client_push(struct client *cl)
{
	if (!client_flush(cl))
		return false;
	if (command_streams(&cl->call) && client_may_make(cl)) {
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
	if (cl->state == CLIENT_READING) {
		keep = client_read(cl);
		/* Pages are made when the socket says so, which is later. */
		if (keep && cl->state != CLIENT_READING)
			keep = command_streams(&cl->call) ? client_flush(cl)
							  : client_push(cl);
	} else
		keep = client_push(cl);
	if (revents & (EPOLLHUP | EPOLLERR))
		keep = false;
	if (!keep || cl->broken)
		client_free(cl);
	else
		client_watch(cl);
	return 0;
}

/* We wait for it to read, and not it for us. */
static bool
client_owes_reading(const struct client *cl)
{
	return cl->outlen > cl->outoff || command_streams(&cl->call);
}

static int
on_client_time(sd_event_source *source, uint64_t usec, void *arg)
{
	struct client *cl = arg;

	(void)source;
	(void)usec;
	if (cl->state == CLIENT_READING) {
		client_refuse(cl, "timeout", NULL, "request: none within 10 s");
		if (client_push(cl) && !cl->broken) {
			client_watch(cl);
			return 0;
		}
	} else if (!client_owes_reading(cl))
		return 0;
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

static enum peer_right
peer_right(const struct control *c, int fd, const struct ucred *peer)
{
	if (peer->uid == 0 || peer->uid == geteuid())
		return PEER_ACT;
	if (c->actors.name[0] != '\0' &&
	    peer_in_group(fd, peer->gid, c->actors.gid))
		return PEER_ACT;
	if (c->readers.name[0] != '\0' &&
	    peer_in_group(fd, peer->gid, c->readers.gid))
		return PEER_LOOK;
	return PEER_NOTHING;
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
	bool actors = c->actors.name[0] != '\0';

	if (actors && c->readers.name[0] != '\0')
		(void)snprintf(hint, sizeof(hint),
		    "become root or a member of group '%s'; group '%s' may "
		    "look",
		    c->actors.name, c->readers.name);
	else if (actors)
		(void)snprintf(hint, sizeof(hint),
		    "become root or a member of group '%s'", c->actors.name);
	else if (c->readers.name[0] != '\0')
		(void)snprintf(hint, sizeof(hint),
		    "become root, or a member of group '%s' to look",
		    c->readers.name);
	(void)snprintf(text, sizeof(text), "uid %u may not use %s",
	    (unsigned int)peer->uid, c->path);
	peer_refuse(fd, CTL_DENIED, "denied", hint, text);

	/* A knock on the door is worth a line, a drum roll is not. */
	c->denied++;
	if (c->denied_said != 0 && now - c->denied_said < DENIED_EVERY)
		return;
	log_event(LOGL_NOTICE, &(struct log_about){ .id = LOG_ID_DENIED },
	    "control: denied uid %u, process %d (%" PRId64
	    " since the last such line)",
	    (unsigned int)peer->uid, (int)peer->pid, c->denied);
	c->denied_said = now;
	c->denied = 0;
}

/* Its request may be there and the loop was busy: then it is no idler. */
static bool
client_unread(const struct client *cl)
{
	int n = 0;

	return cl->inlen == 0 && ioctl(cl->fd, FIONREAD, &n) == 0 && n > 0;
}

static bool
client_idles(const struct client *cl, ksm_msec now)
{
	if (cl->state == CLIENT_READING)
		return now - cl->since >= GRACE_READING && !client_unread(cl);
	return client_owes_reading(cl) && now - cl->since >= GRACE_STALLED;
}

/*
 * The user with most clients loses one, and rather one without a request than
 * one that does not read. Both are asked in order of age: the elder stays.
 */
static bool
victim_beats(const struct client *cl, const struct client *victim)
{
	if (victim == NULL)
		return true;
	if (cl->peer->clients != victim->peer->clients)
		return cl->peer->clients > victim->peer->clients;
	return cl->state == CLIENT_READING && victim->state != CLIENT_READING;
}

/* Make room at the cost of one that idles; false: there is none. */
static bool
victim_drop(struct control *c, const struct client *but)
{
	ksm_msec now = clock_steady();
	struct client *cl, *victim = NULL;

	TAILQ_FOREACH(cl, &c->clients, link)
		if (cl != but && victim_beats(cl, victim) &&
		    client_idles(cl, now))
			victim = cl;
	if (victim == NULL)
		return false;
	if (victim->state == CLIENT_READING) {
		client_refuse(victim, "busy", "try again in a moment",
		    "too many control connections are open, and this one "
		    "asked for nothing");
		(void)client_flush(victim);
	}
	client_free(victim);
	return true;
}

/* Takes `fd` over. */
static void
client_new(struct control *c, int fd, const struct ucred *peer, bool may_act)
{
	struct client *cl = calloc(1, sizeof(*cl));
	int r;

	if (cl != NULL)
		cl->peer = peer_join(c, peer->uid);
	if (cl == NULL || cl->peer == NULL) {
		free(cl);
		fd_close(&fd);
		return;
	}
	cl->control = c;
	cl->fd = fd;
	cl->since = clock_steady();
	cl->call.face = &c->face;
	cl->call.uid = peer->uid;
	cl->call.pid = peer->pid;
	cl->call.may_act = may_act;
	cl->call.actors = c->actors.name[0] != '\0' ? c->actors.name : NULL;
	cl->call.emit = client_emit;
	cl->call.to = cl;
	TAILQ_INSERT_TAIL(&c->clients, cl, link);
	c->nclients++;
	r = sd_event_add_io(c->event, &cl->io, fd, EPOLLIN, on_client, cl);
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
	c->full = false;
	(void)sd_event_source_set_enabled(c->io, SD_EVENT_ON);
	return 0;
}

/* Newcomers stay in the kernel's queue, and the loop must not spin on them. */
static bool
listen_pause(struct control *c, uint64_t usec)
{
	if (sd_event_source_set_time_relative(c->pause, usec) < 0 ||
	    sd_event_source_set_enabled(c->pause, SD_EVENT_ONESHOT) < 0)
		return false;
	(void)sd_event_source_set_enabled(c->io, SD_EVENT_OFF);
	return true;
}

/* True if one more may be accepted now. */
static bool
listen_room(struct control *c)
{
	struct pollfd queue = { .fd = c->fd, .events = POLLIN };

	if (c->nclients < c->slots)
		return true;
	/* Nobody loses a slot for a newcomer that is not there. */
	if (poll(&queue, 1, 0) <= 0)
		return false;
	if (victim_drop(c, NULL))
		return true;
	c->full = listen_pause(c, FULL_PAUSE);
	return false;
}

/* Out of descriptors or memory. */
static void
listen_failed(struct control *c, int error)
{
	if (victim_drop(c, NULL))
		return;
	log_warning(
	    "control: no client can be accepted for 1 s: %s", strerror(error));
	(void)listen_pause(c, ACCEPT_PAUSE);
}

static int
on_listen(sd_event_source *source, int listener, uint32_t revents, void *arg)
{
	struct control *c = arg;
	enum peer_right right;
	struct ucred peer;
	socklen_t len;
	int fd;

	(void)source;
	(void)revents;
	for (int i = 0; i < ACCEPT_BATCH && listen_room(c); i++) {
		fd =
		    accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd == -1 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd == -1) {
			if (errno != EAGAIN)
				listen_failed(c, errno);
			break;
		}
		len = sizeof(peer);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) ==
		    -1) {
			fd_close(&fd);
			continue;
		}
		right = peer_right(c, fd, &peer);
		if (right == PEER_NOTHING) {
			peer_denied(c, fd, &peer);
			fd_close(&fd);
		} else
			client_new(c, fd, &peer, right == PEER_ACT);
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
group_find(const char *name, struct control_group *out, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	struct group gr, *found = NULL;
	size_t size = 16384;
	char *buf = NULL, *bigger;
	int r = 0;

	if (name == NULL)
		return KSM_OK;
	if (name[0] == '\0' || strlen(name) >= sizeof(out->name))
		return ksm_failf(fail, KSM_EREFUSED,
		    "socket group '%s' does not exist", name);
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
	(void)snprintf(out->name, sizeof(out->name), "%s", name);
	out->gid = gr.gr_gid;
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
	mode_t mask, mode = 0600;
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
	if (c->actors.name[0] != '\0' &&
	    lchown(c->path, (uid_t)-1, c->actors.gid) == -1)
		return ksm_failf(fail, errno == EPERM ? KSM_EREFUSED : KSM_ESYS,
		    "%s: cannot give it to group '%s': %s (the daemon's user "
		    "must be a member)",
		    c->path, c->actors.name, strerror(errno));
	/* A file has one group only; the door is open, we look who comes. */
	if (c->readers.name[0] != '\0')
		mode = 0666;
	else if (c->actors.name[0] != '\0')
		mode = 0660;
	if (chmod(c->path, mode) == -1)
		return ksm_failf(
		    fail, KSM_ESYS, "%s: chmod: %s", c->path, strerror(errno));
	return KSM_OK;
}

/* What systemd holds for us, if it is what it should be. */
static enum ksm_err
listener_adopt(struct control *c, struct ksm_fail *fail)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(addr) - 1; /* always ends in a zero */
	int flags;

	if (sd_is_socket_unix(c->fd, SOCK_STREAM, 1, NULL, 0) <= 0)
		return ksm_failf(fail, KSM_EREFUSED,
		    "the socket passed by systemd must be a listening Unix "
		    "stream socket (ListenStream=%s)",
		    c->path);
	flags = fcntl(c->fd, F_GETFL);
	if (flags == -1 || fcntl(c->fd, F_SETFL, flags | O_NONBLOCK) == -1 ||
	    fcntl(c->fd, F_SETFD, FD_CLOEXEC) == -1 ||
	    getsockname(c->fd, (struct sockaddr *)&addr, &len) == -1)
		return ksm_failf(fail, KSM_ESYS,
		    "the socket passed by systemd: %s", strerror(errno));
	if (strcmp(addr.sun_path, c->path) != 0)
		log_warning("control: systemd listens on '%s', but Socket/Path "
			    "is '%s'; the former is used, and ksmctl must be "
			    "told so (--socket, KSMPOOL_SOCKET)",
		    addr.sun_path, c->path);
	(void)snprintf(c->path, sizeof(c->path), "%s", addr.sun_path);
	return KSM_OK;
}

static enum ksm_err
listener_make(struct control *c, struct ksm_fail *fail)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	enum ksm_err err;

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", c->path);
	err = path_clear(&addr, fail);
	if (err != KSM_OK)
		return err;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd == -1)
		return ksm_failf(
		    fail, KSM_ESYS, "socket: %s", strerror(errno));
	err = path_bind(c, &addr, fail);
	if (err == KSM_OK && listen(c->fd, SOMAXCONN) == -1)
		err = ksm_failf(fail, KSM_ESYS, "listen on %s: %s", c->path,
		    strerror(errno));
	return err;
}

/* Half of the descriptors at most: workers and the database need theirs. */
static size_t
slots_find(void)
{
	struct rlimit files = { 0, 0 };
	size_t n = SLOTS_MIN;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 2 > n)
		n = files.rlim_cur / 2 < SLOTS_MAX
		    ? (size_t)files.rlim_cur / 2 : SLOTS_MAX;
	return n;
}

enum ksm_err
control_open(sd_event *event, const struct control_want *want,
    const struct daemon_face *face, struct control **out, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	const char *path = want->path;
	struct control *c = NULL;
	int r;

	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "out of memory");
	c->fd = want->passed;
	c->face = *face;
	c->slots = slots_find();
	TAILQ_INIT(&c->clients);
	LIST_INIT(&c->peers);
	c->event = sd_event_ref(event);
	if (path[0] != '/' || strlen(path) >= sizeof(c->path)) {
		err = ksm_failf(fail, KSM_EREFUSED,
		    "socket path '%s' must be absolute and at most %zu bytes",
		    path, sizeof(c->path) - 1);
		goto out;
	}
	(void)snprintf(c->path, sizeof(c->path), "%s", path);
	if ((err = group_find(want->group, &c->actors, fail)) != KSM_OK ||
	    (err = group_find(want->readers, &c->readers, fail)) != KSM_OK)
		goto out;
	err = c->fd != -1 ? listener_adopt(c, fail) : listener_make(c, fail);
	if (err != KSM_OK)
		goto out;
	r = sd_event_add_io(event, &c->io, c->fd, EPOLLIN, on_listen, c);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &c->pause,
		    CLOCK_MONOTONIC, 0, 1000, on_pause_over, c);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->pause, SD_EVENT_OFF);
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
	c->full = false;
	for (cl = TAILQ_FIRST(&c->clients); cl != NULL; cl = next) {
		next = TAILQ_NEXT(cl, link);
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
	TAILQ_FOREACH(cl, &c->clients, link)
		if (cl->state == CLIENT_RUNNING)
			command_poll(&cl->call);
}
