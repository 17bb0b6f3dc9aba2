#include "dbjob.h"

#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ksmpool/fd.h"

#define LINE_LEN 1024

/* One of its outputs, cut into lines. */
struct lines {
	struct dbjob *job;
	sd_event_source *source;
	int fd;
	char text[LINE_LEN];
	size_t len;
	void (*line)(struct dbjob *job, const char *text);
};

struct dbjob {
	dbjob_done_fn done;
	void *arg;
	bool copy;
	char *to; /* of a copy */
	pid_t pid;
	int pidfd;
	sd_event_source *on_exit, *on_time;
	struct lines out, err;
	char *findings[DBJOB_FINDINGS + 1];
	size_t n, more;
	char said[LINE_LEN]; /* on standard error, the last line */
	bool late;
};

/* ---- what it says ---------------------------------------------------- */

static void
finding_add(struct dbjob *job, const char *text)
{
	if (job->n < DBJOB_FINDINGS &&
	    (job->findings[job->n] = strdup(text)) != NULL)
		job->n++;
	else
		job->more++;
}

static void
said_keep(struct dbjob *job, const char *text)
{
	static const char before[] = "ksmpoold: error: ";

	/* A priority for the journal, or our own name: both are known. */
	if (text[0] == '<' && text[1] != '\0' && text[2] == '>')
		text += 3;
	if (strncmp(text, before, sizeof(before) - 1) == 0)
		text += sizeof(before) - 1;
	(void)snprintf(job->said, sizeof(job->said), "%s", text);
}

static void
lines_end(struct lines *l)
{
	if (l->len == 0)
		return;
	l->text[l->len] = '\0';
	l->len = 0;
	l->line(l->job, l->text);
}

/* False: there is no more now. A line that is too long is cut in pieces. */
static bool
lines_read(struct lines *l)
{
	char piece[1024];
	ssize_t n;

	if (l->fd == -1)
		return false;
	n = read(l->fd, piece, sizeof(piece));
	if (n == -1 && errno == EINTR)
		return true;
	if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	if (n <= 0) {
		lines_end(l);
		l->source = sd_event_source_disable_unref(l->source);
		fd_close(&l->fd);
		return false;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (piece[i] != '\n')
			l->text[l->len++] = piece[i];
		if (piece[i] == '\n' || l->len == sizeof(l->text) - 1)
			lines_end(l);
	}
	return true;
}

/* ---- the loop -------------------------------------------------------- */

/* What a copy that was killed leaves; store_copy.c gives it its name. */
static void
part_remove(const struct dbjob *job)
{
	char part[PATH_MAX + 16];
	int n;

	if (job->to == NULL)
		return;
	n = snprintf(part, sizeof(part), "%s.part-%ld-journal", job->to,
	    (long)job->pid);
	if (n < 0 || (size_t)n >= sizeof(part))
		return;
	(void)unlink(part);
	part[strlen(part) - strlen("-journal")] = '\0';
	(void)unlink(part);
}

/* Its process is reaped already, or never was. */
static void
job_free(struct dbjob *job)
{
	if (job == NULL)
		return;
	(void)sd_event_source_disable_unref(job->on_exit);
	(void)sd_event_source_disable_unref(job->on_time);
	(void)sd_event_source_disable_unref(job->out.source);
	(void)sd_event_source_disable_unref(job->err.source);
	fd_close(&job->out.fd);
	fd_close(&job->err.fd);
	fd_close(&job->pidfd);
	for (size_t i = 0; i < job->n; i++)
		free(job->findings[i]);
	free(job->to);
	free(job);
}

/*
 * Where no loop will say that the process has ended: it was never watched, or
 * the loop itself is at its end.
 */
static void
job_reap(struct dbjob *job)
{
	(void)syscall(SYS_pidfd_send_signal, job->pidfd, SIGKILL, NULL, 0);
	while (waitpid(job->pid, NULL, 0) == -1 && errno == EINTR)
		;
	part_remove(job);
	job_free(job);
}

/* The loop has let go of the source, and with it of a forgotten job. */
static void
job_left(void *ctx)
{
	struct dbjob *job = ctx;

	if (job->pidfd != -1)
		job_reap(job);
	else
		job_free(job);
}

static int
on_lines(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	(void)s;
	(void)fd;
	(void)revents;
	(void)lines_read(ctx);
	return 0;
}

static int
on_time(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct dbjob *job = ctx;

	(void)s;
	(void)usec;
	job->late = true;
	(void)syscall(SYS_pidfd_send_signal, job->pidfd, SIGKILL, NULL, 0);
	return 0;
}

/* What its end means; the last line of a check is a sum and no finding. */
static enum ksm_err
job_judge(struct dbjob *job, const siginfo_t *si, struct ksm_fail *fail)
{
	const char *what = job->copy ? "the copy of the database" :
				       "the check of the database";
	char more[64];

	if (job->late)
		return ksm_failf(fail, KSM_ESYS,
		    "%s was not done after %d s and was ended", what,
		    DBJOB_SECONDS);
	if (si->si_code != CLD_EXITED)
		return ksm_failf(fail, KSM_ESYS, "%s ended with signal %d",
		    what, si->si_status);
	if (si->si_status > 1 || (job->copy && si->si_status != 0))
		return ksm_failf(fail, job->said[0] != '\0' ? KSM_ESTORE :
							      KSM_ESYS,
		    "%s", job->said[0] != '\0' ? job->said :
						 "it ended without a word");
	if (job->more > 0) {
		(void)snprintf(more, sizeof(more), "and %zu more",
		    job->more - 1);
		if (job->more > 1 &&
		    (job->findings[job->n] = strdup(more)) != NULL)
			job->n++;
	} else if (job->n > 0) {
		free(job->findings[--job->n]);
	}
	if (si->si_status == 1 && job->n == 0)
		return ksm_failf(fail, KSM_ESYS,
		    "%s found faults and did not say which", what);
	return KSM_OK;
}

static int
on_exit_(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct dbjob *job = ctx;
	struct ksm_fail fail = { .text = "" };
	siginfo_t si = { 0 };
	enum ksm_err err;
	int rc = waitid(P_PID, (id_t)job->pid, &si, WEXITED | WNOHANG);

	(void)fd;
	(void)revents;
	if (rc == 0 && si.si_pid == 0)
		return 0;
	while (lines_read(&job->out))
		;
	while (lines_read(&job->err))
		;
	lines_end(&job->out);
	lines_end(&job->err);
	if (job->late || si.si_code != CLD_EXITED)
		part_remove(job);
	/*
	 * First the loop lets go of the pidfd: a child between fork and exec
	 * has it too, and then closing it would not end the loop's watch.
	 */
	if (job->done == NULL) {
		(void)sd_event_source_set_floating(s, 0);
		fd_close(&job->pidfd); /* now job_left only frees it */
		return 0;
	}
	job->on_exit = sd_event_source_disable_unref(job->on_exit);
	fd_close(&job->pidfd);
	err = rc == 0 ? job_judge(job, &si, &fail) :
			ksm_failf(&fail, KSM_ESYS,
			    "wait for the work on the database: %s",
			    strerror(errno));
	job->done(job->arg, err, job->findings, err == KSM_OK ? job->n : 0,
	    &fail);
	job_free(job);
	return 0;
}

/* ---- start ----------------------------------------------------------- */

static void
program_find(char out[4096])
{
	const char *dir = secure_getenv("KSMPOOL_LIBEXEC");

	if (dir != NULL) {
		(void)snprintf(out, 4096, "%s/ksmpoold", dir);
		if (access(out, X_OK) == 0)
			return;
	}
	(void)strcpy(out, "/proc/self/exe");
}

enum ksm_err
dbjob_start(sd_event *event, const char *database, const char *to,
    dbjob_done_fn done, void *arg, struct dbjob **out, struct ksm_fail *fail)
{
	struct dbjob *job = calloc(1, sizeof(*job));
	char path[4096];
	char *argv[] = { path, to != NULL ? "--copy-database" :
					    "--check-database",
		(char *)database, (char *)to, NULL };
	int says[2] = { -1, -1 }, errs[2] = { -1, -1 }, rc;
	enum ksm_err err = KSM_OK;

	if (job == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "%s: no memory", database);
	job->pidfd = job->out.fd = job->err.fd = -1;
	job->out.job = job->err.job = job;
	job->out.line = finding_add;
	job->err.line = said_keep;
	job->done = done;
	job->arg = arg;
	job->copy = to != NULL;
	if (to != NULL && (job->to = strdup(to)) == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "%s: no memory", database);
		goto out;
	}
	program_find(path);
	if (pipe2(says, O_CLOEXEC) == -1 || pipe2(errs, O_CLOEXEC) == -1) {
		err = ksm_failf(fail, KSM_ESYS, "pipe: %s", strerror(errno));
		goto out;
	}
	err = fd_spawn(argv, NULL, (int[]){ -1, says[1], errs[1] }, 3,
	    &job->pid, &job->pidfd, fail);
	if (err != KSM_OK)
		goto out;
	job->out.fd = says[0];
	job->err.fd = errs[0];
	says[0] = errs[0] = -1;
	(void)fcntl(job->out.fd, F_SETFL, O_NONBLOCK);
	(void)fcntl(job->err.fd, F_SETFL, O_NONBLOCK);
	/* Its end comes first: once that is watched the loop can reap it. */
	if ((rc = sd_event_add_io(event, &job->on_exit, job->pidfd, EPOLLIN,
		 on_exit_, job)) < 0 ||
	    (rc = sd_event_add_io(event, &job->out.source, job->out.fd,
		 EPOLLIN, on_lines, &job->out)) < 0 ||
	    (rc = sd_event_add_io(event, &job->err.source, job->err.fd,
		 EPOLLIN, on_lines, &job->err)) < 0 ||
	    (rc = sd_event_add_time_relative(event, &job->on_time,
		 CLOCK_MONOTONIC, DBJOB_SECONDS * 1000000ULL, 0, on_time,
		 job)) < 0) {
		err = ksm_failf(fail, KSM_ESYS, "%s: %s", database,
		    strerror(-rc));
		goto out;
	}
	(void)sd_event_source_set_priority(job->on_exit,
	    SD_EVENT_PRIORITY_NORMAL + 1);
	*out = job;
	job = NULL;
out:
	fd_close(&says[0]);
	fd_close(&says[1]);
	fd_close(&errs[0]);
	fd_close(&errs[1]);
	dbjob_forget(job);
	return err;
}

void
dbjob_forget(struct dbjob *job)
{
	if (job == NULL)
		return;
	if (job->pidfd == -1) {
		job_free(job);
		return;
	}
	if (job->on_exit == NULL) {
		job_reap(job);
		return;
	}
	job->done = NULL;
	job->on_time = sd_event_source_disable_unref(job->on_time);
	job->out.source = sd_event_source_disable_unref(job->out.source);
	job->err.source = sd_event_source_disable_unref(job->err.source);
	fd_close(&job->out.fd);
	fd_close(&job->err.fd);
	(void)syscall(SYS_pidfd_send_signal, job->pidfd, SIGKILL, NULL, 0);
	/* The loop keeps it until its process has ended, or the loop has. */
	(void)sd_event_source_set_destroy_callback(job->on_exit, job_left);
	(void)sd_event_source_set_floating(job->on_exit, 1);
	job->on_exit = sd_event_source_unref(job->on_exit);
}
