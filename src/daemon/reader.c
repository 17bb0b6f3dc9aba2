#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ksmpool/fd.h"
#include "ksmpool/msg_conf.h"

#include "supervisor.h"

#define READ_SECONDS 300 /* no list is longer than that */

struct reader {
	struct conf conf;
	struct conf_decoder decoder;
	reader_done_fn done;
	void *ctx;
	pid_t pid;
	int pidfd, sock;
	sd_event_source *on_exit, *on_sock, *on_time;
	enum ksm_err err;
	struct ksm_fail fail;
};

void
reader_free(struct reader *r)
{
	if (r == NULL)
		return;
	(void)sd_event_source_disable_unref(r->on_exit);
	(void)sd_event_source_disable_unref(r->on_sock);
	(void)sd_event_source_disable_unref(r->on_time);
	if (r->pidfd != -1) {
		(void)syscall(SYS_pidfd_send_signal, r->pidfd, SIGKILL, NULL,
		    0);
		/* It only reads files, so this is soon. */
		(void)waitid(P_PID, (id_t)r->pid, NULL, WEXITED);
	}
	fd_close(&r->pidfd);
	fd_close(&r->sock);
	conf_clear(&r->conf);
	free(r);
}

static bool
read_packet(struct reader *r)
{
	static char packet[MSG_CONF_MAX];
	struct ksm_fail fail;
	enum ksm_err err;
	size_t len;
	int fd = -1;

	if (r->err != KSM_OK || r->sock == -1)
		return false;
	err = fd_packet_recv(r->sock, packet, sizeof(packet), &len, &fd,
	    &fail);
	if (err == KSM_EBUSY || err == KSM_ENOENT) {
		if (err == KSM_ENOENT)
			r->on_sock = sd_event_source_disable_unref(r->on_sock);
		return false;
	}
	if (err == KSM_OK)
		err = conf_decode(&r->decoder, packet, len, fd, &fail);
	if (err != KSM_OK) {
		r->err = err;
		r->fail = fail;
		r->on_sock = sd_event_source_disable_unref(r->on_sock);
		(void)syscall(SYS_pidfd_send_signal, r->pidfd, SIGKILL, NULL,
		    0);
	}
	return err == KSM_OK;
}

static int
on_sock(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	(void)s;
	(void)fd;
	(void)revents;
	(void)read_packet(ctx);
	return 0;
}

static int
on_time(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct reader *r = ctx;

	(void)s;
	(void)usec;
	r->err = ksm_failf(&r->fail, KSM_ESYS,
	    "ksmpool-config was not done after %d s and is ended",
	    READ_SECONDS);
	(void)syscall(SYS_pidfd_send_signal, r->pidfd, SIGKILL, NULL, 0);
	return 0;
}

static int
on_exit_(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct reader *r = ctx;
	siginfo_t si = { 0 };
	int rc = waitid(P_PID, (id_t)r->pid, &si, WEXITED | WNOHANG);

	(void)s;
	(void)fd;
	(void)revents;
	if (rc == 0 && si.si_pid == 0)
		return 0;
	while (read_packet(r))
		;
	r->on_exit = sd_event_source_disable_unref(r->on_exit);
	fd_close(&r->pidfd);
	/* Somebody else reaped it: gone too, only how is not known. */
	if (r->err == KSM_OK && rc == 0 &&
	    (si.si_code != CLD_EXITED || si.si_status != 0))
		r->err = ksm_failf(&r->fail, KSM_ESYS,
		    "ksmpool-config ended with %s %d",
		    si.si_code == CLD_EXITED ? "exit" : "signal",
		    si.si_status);
	if (r->err == KSM_OK)
		r->err = conf_decode_end(&r->decoder, &r->fail);
	r->done(r->ctx, r->err, &r->conf, &r->fail);
	reader_free(r);
	return 0;
}

enum ksm_err
reader_start(sd_event *event, const char *file, bool own, reader_done_fn done,
    void *ctx, struct reader **out, struct ksm_fail *fail)
{
	struct reader *r = calloc(1, sizeof(*r));
	char path[4096];
	char *argv[] = { path, "send", "--config", (char *)file,
		own ? "--own" : NULL, NULL };
	int sock[2] = { -1, -1 }, rc;
	enum ksm_err err;

	if (r == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "read %s: no memory", file);
	r->pidfd = r->sock = -1;
	conf_init(&r->conf);
	conf_decoder_init(&r->decoder, &r->conf);
	r->done = done;
	r->ctx = ctx;
	if ((err = helper_find("ksmpool-config", KSM_BINDIR, path, fail)) !=
		KSM_OK ||
	    (err = fd_packet_pair(sock, fail)) != KSM_OK)
		goto out;
	err = fd_spawn(argv, NULL,
	    (int[]){ -1, STDERR_FILENO, STDERR_FILENO, sock[1] }, 4, &r->pid,
	    &r->pidfd, fail);
	if (err != KSM_OK)
		goto out;
	r->sock = sock[0];
	sock[0] = -1;
	(void)fcntl(r->sock, F_SETFL, O_NONBLOCK);
	if ((rc = sd_event_add_io(event, &r->on_sock, r->sock, EPOLLIN,
		 on_sock, r)) < 0 ||
	    (rc = sd_event_add_io(event, &r->on_exit, r->pidfd, EPOLLIN,
		 on_exit_, r)) < 0 ||
	    (rc = sd_event_add_time_relative(event, &r->on_time,
		 CLOCK_MONOTONIC, READ_SECONDS * 1000000ULL, 0, on_time,
		 r)) < 0) {
		err = ksm_failf(fail, KSM_ESYS, "read %s: %s", file,
		    strerror(-rc));
		goto out;
	}
	(void)sd_event_source_set_priority(r->on_exit,
	    SD_EVENT_PRIORITY_NORMAL + 1);
	*out = r;
	r = NULL;
out:
	fd_close(&sock[0]);
	fd_close(&sock[1]);
	reader_free(r);
	return err;
}
