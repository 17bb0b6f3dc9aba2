#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "ksmpool/clock.h"
#include "ksmpool/fd.h"
#include "ksmpool/log.h"

#define START_DEADLINE_MS (120 * 1000)
#define STUCK_AFTER_MS	  (20 * 1000) /* SIGKILL sent, still not reaped */
#define LOG_LINES	  200 /* of one worker; more are not logged */
#define DEAF_MS		  2000 /* for its exit, when its socket is closed */
#define LAST_PACKETS	  1024 /* read of a dead worker; its child may go on */
#define LAST_READS	  64
#define PRIO_WORKER	  (SD_EVENT_PRIORITY_NORMAL + 10)

struct child {
	struct supervisor *sv;
	struct child *next;
	worker_no no;
	char repository[128];
	enum worker_purpose purpose;
	enum worker_state state;
	pid_t pid;
	int pidfd, sock, log;
	sd_event_source *on_exit, *on_sock, *on_log, *on_time;
	ksm_msec kill_after; /* of the open request; -1: never */
	bool leave; /* told to go while it was in a call */
	bool stuck;
	char line[1024]; /* of its log, up to the newline */
	size_t used;
	int lines;
};

struct supervisor {
	sd_event *event;
	struct engine *engine;
	char *lock_dir;
	void (*kick)(void *ctx);
	void *ctx;
	struct child *children;
};

/* ---- one event --------------------------------------------------------- */

static void
child_timer(struct child *c, ksm_msec in)
{
	if (in < 0) {
		(void)sd_event_source_set_enabled(c->on_time, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_set_time_relative(c->on_time,
	    (uint64_t)in * 1000);
	(void)sd_event_source_set_enabled(c->on_time, SD_EVENT_ONESHOT);
}

static void
child_close(struct child *c)
{
	c->on_sock = sd_event_source_disable_unref(c->on_sock);
	fd_close(&c->sock);
}

static void
child_kill(struct child *c)
{
	(void)syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
	child_timer(c, STUCK_AFTER_MS);
}

/* Steps the table; false: the event has no place in that state. */
static bool
child_step(struct child *c, enum worker_event ev, enum worker_act *act)
{
	struct worker_rule rule = worker_step(c->state, ev);

	*act = rule.act;
	if (rule.act == ACT_VIOLATION)
		return false;
	c->state = rule.next;
	return true;
}

static void
child_violation(struct child *c, const char *what)
{
	enum worker_act act;

	if (c->state == WORKER_DYING)
		return;
	log_event(LOGL_ERROR,
	    &(struct log_about){ .repository = c->repository, .error = what },
	    "repository %s: worker %lld (%s, pid %d) broke the protocol: "
	    "%s; it is killed and its open key is settled",
	    c->repository, (long long)c->no, worker_purpose_text(c->purpose),
	    (int)c->pid, what);
	child_close(c); /* it has said enough */
	if (child_step(c, WEV_KILL, &act))
		child_kill(c);
}

static enum worker_event
event_of(enum hsm_type type)
{
	switch (type) {
	case HSM_HELLO:
		return WEV_HELLO;
	case HSM_FAILED:
		return WEV_FAILED;
	case HSM_PAGE:
	case HSM_OBJECTS:
		return WEV_PAGE;
	default:
		return WEV_REPLY;
	}
}

/* A message that only ksmpoold may send has no place here. */
static bool
from_worker(enum hsm_type type)
{
	return type >= HSM_HELLO && type < HSM__TYPES;
}

/* It has to go: at once when idle, after its call when in one. */
static void
child_leave(struct child *c)
{
	enum worker_act act;

	c->leave = true;
	if (child_step(c, WEV_LEAVE, &act))
		child_timer(c, START_DEADLINE_MS);
	if (c->sock != -1)
		(void)shutdown(c->sock, SHUT_WR);
}

/*
 * It closed its socket, and most often its exit follows. If it lives on it can
 * neither hear nor answer: idle, it is ended (on_time); in a call, that may
 * take its time, but nobody waits beyond its deadline.
 */
static void
child_deaf(struct child *c)
{
	child_close(c);
	c->kill_after = 0;
	if (c->state == WORKER_IDLE || c->state == WORKER_STARTING)
		child_timer(c, DEAF_MS);
}

/* One packet. False: there was none, or the socket is closed. */
static bool
child_read(struct child *c)
{
	static char packet[MSG_HSM_MAX];
	struct hsm_msg m;
	struct ksm_fail fail;
	enum worker_act act;
	enum ksm_err err;
	size_t len;

	if (c->sock == -1)
		return false;
	err = fd_packet_recv(c->sock, packet, sizeof(packet), &len, NULL,
	    &fail);
	if (err == KSM_EBUSY)
		return false;
	if (err == KSM_EPROTO) {
		child_violation(c, fail.text);
		return true;
	}
	if (err != KSM_OK) {
		child_deaf(c);
		return false;
	}
	if (hsm_msg_decode(packet, len, &m, &fail) != KSM_OK) {
		child_violation(c, fail.text);
		return true;
	}
	if (!from_worker(m.type) ||
	    !child_step(c, event_of(m.type), &act)) {
		child_violation(c, hsm_type_text(m.type));
	} else {
		if (c->state == WORKER_IDLE)
			child_timer(c, -1);
		if (c->state == WORKER_IDLE && c->leave)
			child_leave(c);
		engine_on_message(c->sv->engine, c->no, &m);
	}
	hsm_msg_clear(&m);
	return true;
}

static int
on_sock(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct child *c = ctx;

	(void)s;
	(void)fd;
	(void)revents;
	(void)child_read(c);
	c->sv->kick(c->sv->ctx);
	return 0;
}

static int
on_time(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct child *c = ctx;
	enum worker_act act;
	enum worker_event ev = c->state == WORKER_OVERDUE ? WEV_KILL
							   : WEV_DEADLINE;

	(void)s;
	(void)usec;
	if (c->state == WORKER_DYING) {
		c->stuck = true;
		engine_on_stuck(c->sv->engine, c->no);
	} else if (c->sock == -1 && (c->state == WORKER_IDLE ||
	    c->state == WORKER_STARTING)) {
		engine_on_deaf(c->sv->engine, c->no);
		child_leave(c);
	} else if (child_step(c, ev, &act)) {
		if (act == ACT_REPORT) {
			child_timer(c, c->kill_after);
			engine_on_overdue(c->sv->engine, c->no);
		} else if (act == ACT_KILL) {
			log_event(LOGL_WARNING,
			    &(struct log_about){ .repository = c->repository },
			    "repository %s: worker %lld (%s, pid %d) is "
			    "killed: no answer in time",
			    c->repository, (long long)c->no,
			    worker_purpose_text(c->purpose), (int)c->pid);
			child_kill(c);
		}
	}
	c->sv->kick(c->sv->ctx);
	return 0;
}

/* ---- what vendor code prints ------------------------------------------- */

static void
log_flush(struct child *c)
{
	c->line[c->used] = '\0';
	if (c->used > 0 && c->lines < LOG_LINES) {
		log_event(LOGL_INFO,
		    &(struct log_about){ .repository = c->repository },
		    "repository %s: worker %lld says: %s", c->repository,
		    (long long)c->no, c->line);
		if (++c->lines == LOG_LINES)
			log_event(LOGL_NOTICE,
			    &(struct log_about){ .repository = c->repository },
			    "repository %s: worker %lld says too much; "
			    "the rest is not logged",
			    c->repository, (long long)c->no);
	}
	c->used = 0;
}

static void
log_take(struct child *c, const char *buf, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (buf[i] == '\n' || c->used == sizeof(c->line) - 1)
			log_flush(c);
		if (buf[i] != '\n')
			c->line[c->used++] = buf[i];
	}
}

static bool
log_read(struct child *c)
{
	char buf[4096];
	ssize_t n = c->log == -1 ? 0 : read(c->log, buf, sizeof(buf));

	if (n > 0) {
		log_take(c, buf, (size_t)n);
		return true;
	}
	return n == -1 && errno == EINTR;
}

static int
on_log(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct child *c = ctx;

	(void)s;
	(void)fd;
	if (!log_read(c) && (revents & EPOLLHUP) != 0) {
		c->on_log = sd_event_source_disable_unref(c->on_log);
		fd_close(&c->log);
	}
	return 0;
}

/* ---- death -------------------------------------------------------------- */

static void
child_free(struct child *c)
{
	for (struct child **at = &c->sv->children; *at != NULL;
	     at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	child_close(c);
	(void)sd_event_source_disable_unref(c->on_exit);
	(void)sd_event_source_disable_unref(c->on_log);
	(void)sd_event_source_disable_unref(c->on_time);
	fd_close(&c->log);
	fd_close(&c->pidfd);
	free(c);
}

static int
on_exit_(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct child *c = ctx;
	struct supervisor *sv = c->sv;
	siginfo_t si = { 0 };
	enum worker_act act = ACT_REAP;
	char how[32];

	(void)s;
	(void)fd;
	(void)revents;
	if (waitid(P_PID, (id_t)c->pid, &si, WEXITED | WNOHANG) == -1)
		(void)snprintf(how, sizeof(how), "%s", strerror(errno));
	else if (si.si_pid == 0)
		return 0;
	else
		(void)snprintf(how, sizeof(how), "%s %d",
		    si.si_code == CLD_EXITED ? "exit" : "signal",
		    si.si_status);
	/* Read what is left on the socket before judging the death. */
	for (int i = 0; i < LAST_PACKETS && child_read(c); i++)
		;
	for (int i = 0; i < LAST_READS && log_read(c); i++)
		;
	log_flush(c);
	(void)child_step(c, WEV_EXIT, &act);
	engine_on_exit(sv->engine, c->no, act == ACT_SETTLE, how);
	child_free(c);
	sv->kick(sv->ctx);
	return 0;
}

/* ---- birth -------------------------------------------------------------- */

static bool
env_is_ours(const char *entry)
{
	static const char *const drop[] = { "NOTIFY_SOCKET=", "WATCHDOG_USEC=",
		"WATCHDOG_PID=", "LISTEN_FDS=", "LISTEN_PID=",
		"LISTEN_FDNAMES=", "CREDENTIALS_DIRECTORY=" };

	for (size_t i = 0; i < nitems(drop); i++)
		if (strncmp(entry, drop[i], strlen(drop[i])) == 0)
			return true;
	return false;
}

static bool
env_is_set(const struct conf_repository *r, const char *entry)
{
	for (size_t i = 0; i < r->nenv; i++) {
		size_t n = strlen(r->env[i].name);

		if (strncmp(entry, r->env[i].name, n) == 0 && entry[n] == '=')
			return true;
	}
	return false;
}

static void
env_free(char **env)
{
	for (size_t i = 0; env != NULL && env[i] != NULL; i++)
		free(env[i]);
	free(env);
}

/* Ours without what speaks to systemd, and what <Environment> says. */
static char **
env_make(const struct conf_repository *r)
{
	size_t n = 0, k = 0;
	char **env;

	while (environ[n] != NULL)
		n++;
	env = calloc(n + r->nenv + 1, sizeof(*env));
	if (env == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (!env_is_ours(environ[i]) && !env_is_set(r, environ[i]) &&
		    (env[k++] = strdup(environ[i])) == NULL)
			goto fail;
	for (size_t i = 0; i < r->nenv; i++)
		if (asprintf(&env[k++], "%s=%s", r->env[i].name,
			r->env[i].value) == -1) {
			env[k - 1] = NULL;
			goto fail;
		}
	return env;
fail:
	env_free(env);
	return NULL;
}

enum ksm_err
helper_find(const char *name, const char *installed, char out[4096],
    struct ksm_fail *fail)
{
	const char *dir = secure_getenv("KSMPOOL_LIBEXEC");
	char self[PATH_MAX], *slash;
	ssize_t n;

	if (dir != NULL) {
		(void)snprintf(out, 4096, "%s/%s", dir, name);
		if (access(out, X_OK) == 0)
			return KSM_OK;
	}
	(void)snprintf(out, 4096, "%s/%s", installed, name);
	if (access(out, X_OK) == 0)
		return KSM_OK;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = '\0';
		if ((slash = strrchr(self, '/')) != NULL)
			*slash = '\0';
		(void)snprintf(out, 4096, "%.3900s/%s", self, name);
		if (access(out, X_OK) == 0)
			return KSM_OK;
	}
	return ksm_failf(fail, KSM_ESYS,
	    "%s is not in %s: the installation is not complete", name,
	    installed);
}

/* A repository's name as a file name: anything odd as %XX. */
static enum ksm_err
lock_open(struct supervisor *sv, const char *repository, bool alone, int *out,
    struct ksm_fail *fail)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	char path[PATH_MAX], name[400];
	size_t used = 0;
	int fd;

	for (const char *p = repository; *p != '\0' && used < 380; p++)
		used += (size_t)snprintf(name + used, sizeof(name) - used,
		    strchr(plain, *p) != NULL ? "%c" : "%%%02X",
		    (unsigned char)*p);
	name[used] = '\0';
	(void)snprintf(path, sizeof(path), "%.3600s/%s.lock", sv->lock_dir,
	    name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd == -1)
		return ksm_failf(fail, KSM_ESYS, "lock file %s: %s", path,
		    strerror(errno));
	if (flock(fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) == -1) {
		enum ksm_err err = errno == EWOULDBLOCK ? KSM_EBUSY : KSM_ESYS;

		(void)ksm_failf(fail, err, "lock file %s: %s", path,
		    strerror(errno));
		fd_close(&fd);
		return err;
	}
	if (alone && flock(fd, LOCK_SH | LOCK_NB) == -1) {
		fd_close(&fd);
		return ksm_failf(fail, KSM_EBUSY, "lock file %s is taken",
		    path);
	}
	*out = fd;
	return KSM_OK;
}

static void
pin_path(const struct conf_repository *r, char out[PATH_MAX])
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");

	out[0] = '\0';
	if (r->pin == PIN_FILE)
		(void)snprintf(out, PATH_MAX, "%s", r->pin_path);
	else if (r->pin == PIN_CREDENTIAL && dir != NULL)
		(void)snprintf(out, PATH_MAX, "%s/%s", dir, r->pin_path);
}

/*
 * Opened here and passed on; never read. Nonblocking, so that a FIFO in its
 * place cannot stop the loop.
 */
static enum ksm_err
pin_open(const struct conf_repository *r, int *out, struct ksm_fail *fail)
{
	char path[PATH_MAX];

	*out = -1;
	if (r->pin == PIN_NONE)
		return KSM_OK;
	if (r->pin == PIN_INLINE) {
		*out = fcntl(r->pin_fd, F_DUPFD_CLOEXEC, 0);
		if (*out == -1)
			return ksm_failf(fail, KSM_ESYS, "PIN: %s",
			    strerror(errno));
		return KSM_OK;
	}
	pin_path(r, path);
	if (path[0] == '\0')
		return ksm_failf(fail, KSM_ESYS,
		    "PIN credential %s: ksmpoold was started without "
		    "credentials; LoadCredential= in its unit gives it one",
		    r->pin_path);
	*out = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (*out == -1)
		return ksm_failf(fail, KSM_ESYS,
		    "PIN file %s cannot be opened by uid %d: %s", path,
		    (int)geteuid(), strerror(errno));
	return KSM_OK;
}

static void
io_pin_source_print(void *ctx, const struct conf_repository *r, char out[128])
{
	char path[PATH_MAX];
	struct stat st;
	int rc;

	(void)ctx;
	if (r->pin == PIN_INLINE) {
		rc = fstat(r->pin_fd, &st);
	} else {
		pin_path(r, path);
		rc = stat(path, &st);
	}
	if (rc == -1)
		(void)snprintf(out, 128, "none");
	else
		(void)snprintf(out, 128, "%lld:%lld:%lld:%lld.%09ld:%lld.%09ld",
		    (long long)st.st_dev, (long long)st.st_ino,
		    (long long)st.st_size, (long long)st.st_mtim.tv_sec,
		    st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec,
		    st.st_ctim.tv_nsec);
}

static enum ksm_err
child_watch(struct child *c, struct ksm_fail *fail)
{
	sd_event *ev = c->sv->event;
	int rc;

	if ((rc = sd_event_add_io(ev, &c->on_exit, c->pidfd, EPOLLIN,
		 on_exit_, c)) < 0 ||
	    (rc = sd_event_add_io(ev, &c->on_sock, c->sock, EPOLLIN, on_sock,
		 c)) < 0 ||
	    (rc = sd_event_add_io(ev, &c->on_log, c->log, EPOLLIN, on_log,
		 c)) < 0 ||
	    (rc = sd_event_add_time_relative(ev, &c->on_time, CLOCK_MONOTONIC,
		 START_DEADLINE_MS * 1000ULL, 0, on_time, c)) < 0)
		return ksm_failf(fail, KSM_ESYS, "watch a worker: %s",
		    strerror(-rc));
	(void)sd_event_source_set_priority(c->on_sock, PRIO_WORKER);
	(void)sd_event_source_set_priority(c->on_log, PRIO_WORKER + 1);
	(void)sd_event_source_set_priority(c->on_exit, PRIO_WORKER + 2);
	return KSM_OK;
}

static void
start_message(const struct conf_repository *r, enum worker_purpose purpose,
    const char *refused_pin, struct hsm_msg *m)
{
	struct hsm_start *s = &m->u.start;

	*m = (struct hsm_msg){ .type = HSM_START };
	s->purpose = purpose;
	s->skip_public = r->skip_public_key;
	s->extractable = r->allow_extraction;
	s->search_first = r->search_first;
	for (size_t i = 0; i < r->nattributes && i < ATTRIBUTES_MAX; i++) {
		const struct conf_attribute *from = &r->attributes[i];
		struct hsm_attribute *to = &s->attributes[s->nattributes++];

		to->public_half = from->public_half;
		to->remove = from->remove;
		(void)snprintf(to->name, sizeof(to->name), "%s", from->name);
		(void)snprintf(to->value, sizeof(to->value), "%s",
		    from->value == NULL ? "" : from->value);
	}
#define FILL(field, text)                                                      \
	(void)snprintf(s->field, sizeof(s->field), "%s",                       \
	    (text) == NULL ? "" : (text))
	FILL(repository, r->name);
	FILL(module, r->module);
	FILL(label, r->token_label);
	FILL(serial, r->token_serial);
	FILL(uri, r->token_uri);
	FILL(reserved, r->init_reserved);
	FILL(refused_pin, refused_pin);
#undef FILL
}

static enum ksm_err
child_send(struct child *c, const struct hsm_msg *m, struct ksm_fail *fail)
{
	char *text = NULL;
	size_t len;
	enum ksm_err err = hsm_msg_encode(m, &text, &len, fail);

	if (err == KSM_OK && c->sock == -1)
		err = ksm_failf(fail, KSM_ESYS, "its socket is closed");
	if (err == KSM_OK)
		err = fd_packet_send(c->sock, text, len, -1, fail);
	free(text);
	return err;
}

static enum ksm_err
io_worker_start(void *ctx, worker_no no, const struct conf_repository *r,
    enum worker_purpose purpose, bool alone, const char *refused_pin,
    struct ksm_fail *fail)
{
	struct supervisor *sv = ctx;
	struct child *c = NULL;
	struct hsm_msg start;
	enum worker_act act;
	enum ksm_err err;
	int sock[2] = { -1, -1 }, logs[2] = { -1, -1 }, pin = -1, lock = -1;
	char path[4096], **env = NULL;
	char *argv[] = { path, (char *)worker_purpose_text(purpose),
		r->name, NULL };

	err = helper_find("ksmpool-hsm", KSM_LIBEXECDIR, path, fail);
	if (err != KSM_OK || (err = pin_open(r, &pin, fail)) != KSM_OK ||
	    (err = lock_open(sv, r->name, alone, &lock, fail)) != KSM_OK ||
	    (err = fd_packet_pair(sock, fail)) != KSM_OK)
		goto out;
	if (pipe2(logs, O_CLOEXEC) == -1) {
		err = ksm_failf(fail, KSM_ESYS, "pipe: %s", strerror(errno));
		goto out;
	}
	c = calloc(1, sizeof(*c));
	env = env_make(r);
	if (c == NULL || env == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "start a worker: no memory");
		goto out;
	}
	*c = (struct child){ .sv = sv, .no = no, .purpose = purpose,
		.pidfd = -1, .sock = -1, .log = -1, .kill_after = -1 };
	(void)snprintf(c->repository, sizeof(c->repository), "%s", r->name);
	err = fd_spawn(argv, env,
	    (int[]){ -1, logs[1], logs[1], sock[1], pin, lock }, 6, &c->pid,
	    &c->pidfd, fail);
	if (err != KSM_OK)
		goto out;
	c->sock = sock[0];
	c->log = logs[0];
	sock[0] = logs[0] = -1;
	(void)fcntl(c->sock, F_SETFL, O_NONBLOCK);
	(void)fcntl(c->log, F_SETFL, O_NONBLOCK);
	(void)child_step(c, WEV_START, &act);
	start_message(r, purpose, refused_pin, &start);
	err = child_watch(c, fail);
	if (err == KSM_OK)
		err = child_send(c, &start, fail);
	c->next = sv->children;
	sv->children = c;
	if (err != KSM_OK) {
		/*
		 * It sees the end of its socket and leaves. Where it cannot
		 * even be watched it is ended, and the kernel's wait is short.
		 */
		if (c->on_time == NULL) {
			child_kill(c);
			(void)waitid(P_PID, (id_t)c->pid, NULL, WEXITED);
			goto out;
		}
		child_close(c);
		child_leave(c);
		c = NULL;
		goto out;
	}
	log_event(LOGL_DEBUG, &(struct log_about){ .repository = r->name },
	    "repository %s: worker %lld (%s, pid %d) started", r->name,
	    (long long)no, worker_purpose_text(purpose), (int)c->pid);
	c = NULL;
out:
	if (c != NULL)
		child_free(c);
	env_free(env);
	fd_close(&sock[0]);
	fd_close(&sock[1]);
	fd_close(&logs[0]);
	fd_close(&logs[1]);
	fd_close(&pin);
	fd_close(&lock);
	return err;
}

static struct child *
child_find(struct supervisor *sv, worker_no no)
{
	for (struct child *c = sv->children; c != NULL; c = c->next)
		if (c->no == no)
			return c;
	return NULL;
}

static enum ksm_err
io_worker_send(void *ctx, worker_no no, const struct hsm_msg *m,
    ksm_msec deadline, ksm_msec kill_after, struct ksm_fail *fail)
{
	struct child *c = child_find(ctx, no);
	enum worker_act act;
	enum ksm_err err;

	if (c == NULL || c->state != WORKER_IDLE)
		return ksm_failf(fail, KSM_ESYS, "worker %lld is %s",
		    (long long)no,
		    c == NULL ? "gone" : worker_state_text(c->state));
	err = child_send(c, m, fail);
	if (err != KSM_OK)
		return err;
	(void)child_step(c, WEV_JOB, &act);
	c->kill_after = kill_after;
	child_timer(c, deadline);
	return KSM_OK;
}

static void
io_worker_leave(void *ctx, worker_no no)
{
	struct child *c = child_find(ctx, no);

	if (c != NULL)
		child_leave(c);
}

static void
io_worker_kill(void *ctx, worker_no no, const char *why)
{
	struct child *c = child_find(ctx, no);

	if (c != NULL)
		child_violation(c, why);
}

static ksm_time
io_wall(void *ctx)
{
	(void)ctx;
	return clock_wall();
}

static ksm_msec
io_steady(void *ctx)
{
	(void)ctx;
	return clock_steady();
}

static void
io_random(void *ctx, void *buf, size_t len)
{
	char *at = buf;

	(void)ctx;
	while (len > 0) {
		ssize_t n = getrandom(at, len, 0);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			abort(); /* no ids without randomness */
		at += n;
		len -= (size_t)n;
	}
}

/* So that systemd kills neither a long start nor a long command. */
static void
io_busy(void *ctx)
{
	(void)ctx;
	(void)sd_notify(0, "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000");
}

void
supervisor_io(struct supervisor *sv, struct engine_io *io)
{
	*io = (struct engine_io){
		.ctx = sv,
		.wall = io_wall,
		.steady = io_steady,
		.random = io_random,
		.worker_start = io_worker_start,
		.worker_send = io_worker_send,
		.worker_leave = io_worker_leave,
		.worker_kill = io_worker_kill,
		.pin_source_print = io_pin_source_print,
		.busy = io_busy,
	};
}

void
supervisor_engine(struct supervisor *sv, struct engine *e)
{
	sv->engine = e;
}

enum ksm_err
supervisor_new(sd_event *event, const char *lock_dir, void (*kick)(void *ctx),
    void *ctx, struct supervisor **out, struct ksm_fail *fail)
{
	struct supervisor *sv = calloc(1, sizeof(*sv));

	if (sv == NULL || (sv->lock_dir = strdup(lock_dir)) == NULL) {
		free(sv);
		return ksm_failf(fail, KSM_ENOMEM, "supervisor: no memory");
	}
	if (mkdir(lock_dir, 0700) == -1 && errno != EEXIST) {
		enum ksm_err err = ksm_failf(fail, KSM_ESYS,
		    "directory %s cannot be made by uid %d: %s", lock_dir,
		    (int)geteuid(), strerror(errno));

		free(sv->lock_dir);
		free(sv);
		return err;
	}
	sv->event = sd_event_ref(event);
	sv->kick = kick;
	sv->ctx = ctx;
	*out = sv;
	return KSM_OK;
}

void
supervisor_release(struct supervisor *sv)
{
	for (struct child *c = sv->children; c != NULL; c = c->next)
		if (c->sock != -1)
			(void)shutdown(c->sock, SHUT_WR);
}

size_t
supervisor_workers(const struct supervisor *sv)
{
	size_t n = 0;

	for (const struct child *c = sv->children; c != NULL; c = c->next)
		n += !c->stuck;
	return n;
}

void
supervisor_free(struct supervisor *sv)
{
	if (sv == NULL)
		return;
	while (sv->children != NULL)
		child_free(sv->children);
	(void)sd_event_unref(sv->event);
	free(sv->lock_dir);
	free(sv);
}
