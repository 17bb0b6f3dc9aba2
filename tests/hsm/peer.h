/*
 * peer.h - the other end of a real ksmpool-hsm, for the tests in here.
 *
 * A worker is started over a socket pair as ksmpoold does it; each call says
 * one thing and hears the answer, in w->got. A fresh token before each test.
 */
#ifndef KSMPOOL_TEST_PEER_H
#define KSMPOOL_TEST_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ksmpool/fd.h"
#include "ksmpool/msg_hsm.h"

#define SOFTHSM "/usr/lib/softhsm/libsofthsm2.so"

extern char **environ;

static char dir[64];

/* ---- a worker on the other end ---------------------------------------- */

struct worker {
	int sock, lock; /* lock: read end of a pipe it holds for life */
	pid_t pid;
	struct hsm_msg got; /* the last answer */
};

static inline void
knob(const char *name, const char *value)
{
	assert_int_equal(setenv(name, value, 1), 0);
}

static inline void
path_in(char *out, size_t size, const char *name)
{
	(void)snprintf(out, size, "%s/%s", dir, name);
}

static inline int
pin_file(const char *pin)
{
	char path[128];
	int fd;

	if (pin == NULL)
		return -1;
	path_in(path, sizeof(path), "pin");
	fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, pin, strlen(pin)), (ssize_t)strlen(pin));
	/* left at its end: the worker reads from the start all the same */
	return fd;
}

static inline void
send_text(struct worker *w, const char *text)
{
	assert_int_equal(
	    fd_packet_send(w->sock, text, strlen(text), -1, NULL), KSM_OK);
}

static inline void
send_msg(struct worker *w, const struct hsm_msg *m)
{
	struct ksm_fail fail;
	char *text = NULL;
	size_t len;

	if (hsm_msg_encode(m, &text, &len, &fail) != KSM_OK)
		fail_msg("%s", fail.text);
	(void)fd_packet_send(w->sock, text, len, -1, &fail);
	free(text);
}

/* The next message, or HSM__TYPES when the worker is gone. */
static inline enum hsm_type
hear(struct worker *w)
{
	static char buf[MSG_HSM_MAX + 1];
	struct ksm_fail fail = { KSM_OK, "" };
	enum ksm_err err;
	size_t len;

	hsm_msg_clear(&w->got);
	err = fd_packet_recv(w->sock, buf, sizeof(buf), &len, NULL, &fail);
	if (err == KSM_ENOENT || err == KSM_ESYS)
		return HSM__TYPES;
	if (err == KSM_OK)
		err = hsm_msg_decode(buf, len, &w->got, &fail);
	if (err != KSM_OK)
		fail_msg("%s", fail.text);
	return w->got.type;
}

static inline void
worker_exec(struct worker *w, const char *pin)
{
	char program[256];
	char *argv[] = { program, (char *)"generator", (char *)"test", NULL };
	int pair[2], life[2], fds[6], pidfd = -1, pinfd = pin_file(pin);
	struct ksm_fail fail;

	memset(w, 0, sizeof(*w));
	w->got.type = HSM__TYPES;
	(void)snprintf(program, sizeof(program), "%s/ksmpool-hsm",
	    getenv("KSMPOOL_LIBEXEC"));
	assert_int_equal(fd_packet_pair(pair, &fail), KSM_OK);
	assert_int_equal(pipe2(life, O_CLOEXEC), 0);
	fds[0] = -1;
	fds[1] = fds[2] = -1;
	fds[3] = pair[1];
	fds[4] = pinfd;
	fds[5] = life[1];
	if (fd_spawn(argv, NULL, fds, 6, &w->pid, &pidfd, &fail) != KSM_OK)
		fail_msg("%s", fail.text);
	fd_close(&pair[1]);
	fd_close(&life[1]);
	fd_close(&pinfd);
	fd_close(&pidfd);
	w->sock = pair[0];
	w->lock = life[0];
}

static inline struct hsm_msg
start_of(enum worker_purpose purpose)
{
	struct hsm_msg m;

	memset(&m, 0, sizeof(m));
	m.type = HSM_START;
	m.u.start.purpose = purpose;
	(void)snprintf(
	    m.u.start.repository, sizeof(m.u.start.repository), "test");
	(void)snprintf(m.u.start.module, sizeof(m.u.start.module),
	    "%s/tests/ksmfake.so", getenv("KSM_BUILD"));
	(void)snprintf(m.u.start.label, sizeof(m.u.start.label), "fake");
	return m;
}

/* Up to its hello or failed. */
static inline enum hsm_type
worker_start(struct worker *w, const struct hsm_msg *start, const char *pin)
{
	worker_exec(w, pin);
	send_msg(w, start);
	return hear(w);
}

static inline void
worker_ready(struct worker *w, enum worker_purpose purpose)
{
	struct hsm_msg start = start_of(purpose);

	if (worker_start(w, &start, "1234\n") != HSM_HELLO)
		fail_msg("no hello: %s",
		    w->got.type == HSM_FAILED ? w->got.u.failed.text : "gone");
}

/* Exit status, or minus the signal. Closes our end first. */
static inline int
worker_end(struct worker *w)
{
	int status;

	fd_close(&w->sock);
	assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
	fd_close(&w->lock);
	hsm_msg_clear(&w->got);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static inline struct key_id
id_of(int n)
{
	struct key_id id;

	memset(&id, 0x10, sizeof(id));
	id.bytes[14] = (uint8_t)(n >> 8);
	id.bytes[15] = (uint8_t)n;
	return id;
}

static inline enum hsm_type
generate(struct worker *w, int n, int alg, int bits)
{
	struct hsm_msg m;

	memset(&m, 0, sizeof(m));
	m.type = HSM_GENERATE;
	m.u.generate.job = n;
	m.u.generate.id = id_of(n);
	m.u.generate.alg = alg;
	m.u.generate.bits = bits;
	memset(m.u.generate.challenge, 0x77, CHALLENGE_LEN);
	send_msg(w, &m);
	return hear(w);
}

/* Pages are added up in *pages (may be NULL); the last message is the answer */
static inline enum hsm_type
enumerate(struct worker *w, const char *sync_path, struct hsm_listed *pages)
{
	struct hsm_listed sum = { 0 };
	struct hsm_msg m;

	memset(&m, 0, sizeof(m));
	m.type = HSM_ENUMERATE;
	m.u.enumerate.job = 500;
	(void)snprintf(m.u.enumerate.sync_path, sizeof(m.u.enumerate.sync_path),
	    "%s", sync_path);
	send_msg(w, &m);
	while (hear(w) == HSM_PAGE) {
		sum.pages++;
		sum.privates += (int64_t)w->got.u.page.nprivates;
		sum.publics += (int64_t)w->got.u.page.npublics;
	}
	if (pages != NULL)
		*pages = sum;
	return w->got.type;
}

static inline enum hsm_type
prove(struct worker *w, int n, int alg)
{
	struct hsm_msg m;

	memset(&m, 0, sizeof(m));
	m.type = HSM_PROVE;
	m.u.prove.job = 600;
	m.u.prove.id = id_of(n);
	m.u.prove.alg = alg;
	send_msg(w, &m);
	return hear(w);
}

static inline enum hsm_type
destroy(struct worker *w, int n, enum key_half half)
{
	struct hsm_msg m;

	memset(&m, 0, sizeof(m));
	m.type = HSM_DESTROY;
	m.u.destroy.job = 700;
	m.u.destroy.id = id_of(n);
	m.u.destroy.half = half;
	send_msg(w, &m);
	return hear(w);
}

/* What a second process sees in the token. */
static inline void
token_holds(int64_t privates, int64_t publics)
{
	struct worker v;

	worker_ready(&v, PURPOSE_VERIFIER);
	assert_int_equal(enumerate(&v, "", NULL), HSM_LISTED);
	assert_int_equal(v.got.u.listed.privates, privates);
	assert_int_equal(v.got.u.listed.publics, publics);
	assert_int_equal(worker_end(&v), 0);
}

static inline off_t
file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : 0;
}

static inline int
fresh_token(void **ctx)
{
	static const char *const files[] = { "store", "store.lock", "logins",
		"healed", "gone", "pin", "mute", "calls", "templates" };
	char path[128];

	(void)ctx;
	for (char **e = environ; e != NULL && *e != NULL;) {
		char name[64];
		size_t len = strcspn(*e, "=");

		if (strncmp(*e, "KSMFAKE_", 8) != 0 || len >= sizeof(name)) {
			e++;
			continue;
		}
		memcpy(name, *e, len);
		name[len] = '\0';
		(void)unsetenv(name);
		e = environ;
	}
	for (size_t i = 0; i < nitems(files); i++) {
		path_in(path, sizeof(path), files[i]);
		(void)unlink(path);
	}
	path_in(path, sizeof(path), "store");
	knob("KSMFAKE_STORE", path);
	return 0;
}

/* ---- tokens ----------------------------------------------------------- */

static inline void
store_line(FILE *f, int handle, int class, const char *id, const char *label)
{
	(void)fprintf(f, "%d %d 0 1000000 %s %s -\n", handle, class, id, label);
}

static inline enum hsm_type
sweep(struct worker *w, int64_t debris)
{
	struct hsm_msg m;

	memset(&m, 0, sizeof(m));
	m.type = HSM_SWEEP;
	m.u.sweep.job = 501;
	m.u.sweep.debris = debris;
	send_msg(w, &m);
	return hear(w);
}

static inline bool
softhsm_token(struct hsm_msg *start)
{
	char path[128], command[512];
	FILE *f;

	if (access(SOFTHSM, R_OK) == -1)
		return false;
	path_in(path, sizeof(path), "softhsm2.conf");
	knob("SOFTHSM2_CONF", path);
	f = fopen(path, "we");
	assert_non_null(f);
	(void)fprintf(f,
	    "directories.tokendir = %s/tokens\nobjectstore.backend = file\n"
	    "log.level = ERROR\n",
	    dir);
	(void)fclose(f);
	(void)snprintf(command, sizeof(command),
	    "rm -rf %s/tokens && mkdir %s/tokens && softhsm2-util "
	    "--init-token --free --label lab --so-pin 12345678 --pin 1234 "
	    ">/dev/null 2>&1",
	    dir, dir);
	if (system(command) != 0)
		return false;
	(void)snprintf(start->u.start.module, sizeof(start->u.start.module),
	    "%s", SOFTHSM);
	(void)snprintf(
	    start->u.start.label, sizeof(start->u.start.label), "lab");
	return true;
}

static inline int
make_dir(void **ctx)
{
	(void)ctx;
	if (getenv("KSMPOOL_LIBEXEC") == NULL || getenv("KSM_BUILD") == NULL) {
		(void)fprintf(
		    stderr, "KSMPOOL_LIBEXEC and KSM_BUILD are not set\n");
		return -1;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)snprintf(dir, sizeof(dir), "/tmp/ksmtest.XXXXXX");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static inline int
remove_dir(void **ctx)
{
	char command[128];

	(void)ctx;
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

#define TEST(f) cmocka_unit_test_setup(f, fresh_token)

#endif
