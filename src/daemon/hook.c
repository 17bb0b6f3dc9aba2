#include "hook.h"

#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ksmpool/fd.h"
#include "ksmpool/log.h"

#define HOOKS_KEPT 2000 /* that have ended */

struct hook {
	struct hooks *all;
	struct hook *next;
	int64_t number;
	char *path, *env[HOOK_ENV + 1];
	int64_t timeout;
	char repository[128], id[KEY_ID_HEX];
	struct store_actor who;
	enum hook_end end;
	char text[256];
	bool started, late;
	pid_t pid;
	int pidfd;
	sd_event_source *on_exit, *on_time;
};

struct hooks {
	sd_event *event;
	struct engine *engine;
	void (*kick)(void *ctx);
	void *ctx;
	struct hook *first;
	int64_t last;
	int running;
};

static void hooks_run(struct hooks *h);

static void
hook_free(struct hook *k)
{
	if (k == NULL)
		return;
	(void)sd_event_source_disable_unref(k->on_exit);
	(void)sd_event_source_disable_unref(k->on_time);
	fd_close(&k->pidfd);
	for (size_t i = 0; i < HOOK_ENV; i++)
		free(k->env[i]);
	free(k->path);
	free(k);
}

/* The oldest that have ended go. */
static void
hooks_prune(struct hooks *h)
{
	size_t ended = 0;

	for (const struct hook *k = h->first; k != NULL; k = k->next)
		ended += k->end != HOOK_WAITS;
	for (struct hook **at = &h->first;
	     ended > HOOKS_KEPT && *at != NULL;) {
		struct hook *k = *at;

		if (k->end == HOOK_WAITS) {
			at = &k->next;
			continue;
		}
		*at = k->next;
		hook_free(k);
		ended--;
	}
}

/* On record, and said: `why` NULL: it did what it was to do. */
static void
hook_ended(struct hook *k, const char *why)
{
	struct log_about about = { .repository = k->repository, .key = k->id };
	struct ksm_fail fail;

	k->on_exit = sd_event_source_disable_unref(k->on_exit);
	k->on_time = sd_event_source_disable_unref(k->on_time);
	fd_close(&k->pidfd);
	k->end = why == NULL ? HOOK_WELL : HOOK_FAILED;
	if (why != NULL) {
		(void)snprintf(k->text, sizeof(k->text), "%s", why);
		log_event(LOGL_ERROR, &about,
		    "repository %s: the hook %s for key %s failed: %s; the key "
		    "is handed out all the same, do by hand what it was to do",
		    k->repository, k->path, k->id, why);
		if (engine_note(k->all->engine, k->who, "hook failed", k->id,
			why, &fail) != KSM_OK)
			log_error("history: that a hook failed could not be "
				  "recorded: %s", fail.text);
	}
	k->all->kick(k->all->ctx);
}

static int
on_hook_exit(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct hook *k = ctx;
	struct hooks *h = k->all;
	siginfo_t si = { 0 };
	char why[128];

	(void)s;
	(void)fd;
	(void)revents;
	if (waitid(P_PID, (id_t)k->pid, &si, WEXITED | WNOHANG) == 0 &&
	    si.si_pid == 0)
		return 0;
	if (k->late)
		(void)snprintf(why, sizeof(why),
		    "it did not end within %lld s and was killed",
		    (long long)k->timeout);
	else if (si.si_code == CLD_EXITED)
		(void)snprintf(why, sizeof(why), "exit status %d",
		    si.si_status);
	else
		(void)snprintf(why, sizeof(why), "signal %d", si.si_status);
	h->running--;
	hook_ended(k, !k->late && si.si_code == CLD_EXITED &&
		    si.si_status == 0
		? NULL
		: why);
	hooks_run(h);
	return 0;
}

static int
on_hook_time(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct hook *k = ctx;

	(void)s;
	(void)usec;
	k->late = true;
	/* It is not reaped yet, so its number is nobody else's. */
	(void)kill(-k->pid, SIGKILL);
	(void)syscall(SYS_pidfd_send_signal, k->pidfd, SIGKILL, NULL, 0);
	return 0;
}

static void
hook_start(struct hook *k)
{
	struct hooks *h = k->all;
	char *argv[] = { k->path, NULL };
	struct ksm_fail fail = { .text = "" };
	int rc = 0;

	k->started = true;
	if (fd_spawn_group(argv, k->env,
		(int[]){ -1, STDERR_FILENO, STDERR_FILENO }, 3, &k->pid,
		&k->pidfd, &fail) != KSM_OK) {
		hook_ended(k, fail.text);
		return;
	}
	h->running++;
	if ((rc = sd_event_add_io(h->event, &k->on_exit, k->pidfd, EPOLLIN,
		 on_hook_exit, k)) < 0 ||
	    (rc = sd_event_add_time_relative(h->event, &k->on_time,
		 CLOCK_MONOTONIC, (uint64_t)k->timeout * 1000000, 0,
		 on_hook_time, k)) < 0) {
		/* It runs, and nobody can wait for it. */
		h->running--;
		hook_ended(k, strerror(-rc));
	}
}

static void
hooks_run(struct hooks *h)
{
	for (struct hook *k = h->first;
	     k != NULL && h->running < HOOKS_AT_ONCE; k = k->next)
		if (!k->started)
			hook_start(k);
	hooks_prune(h);
}

enum ksm_err
hooks_new(sd_event *event, struct engine *e, void (*kick)(void *ctx),
    void *ctx, struct hooks **out, struct ksm_fail *fail)
{
	struct hooks *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "hooks: no memory");
	h->event = event;
	h->engine = e;
	h->kick = kick;
	h->ctx = ctx;
	*out = h;
	return KSM_OK;
}

void
hooks_stop(struct hooks *h)
{
	for (struct hook *k = h == NULL ? NULL : h->first; k != NULL;
	     k = k->next) {
		if (k->end != HOOK_WAITS)
			continue;
		hook_ended(k, k->started
			? "ksmpoold stopped while it ran, how it ended is not "
			  "known"
			: "ksmpoold stopped before it was run");
		k->started = true;
	}
}

void
hooks_free(struct hooks *h)
{
	struct hook *next;

	if (h == NULL)
		return;
	for (struct hook *k = h->first; k != NULL; k = next) {
		next = k->next;
		hook_free(k);
	}
	free(h);
}

int64_t
hooks_add(struct hooks *h, const struct hook_want *want)
{
	struct hook *k = calloc(1, sizeof(*k)), **at = &h->first;

	if (k == NULL)
		return 0;
	k->pidfd = -1;
	k->all = h;
	k->path = strdup(want->path);
	for (size_t i = 0; k->path != NULL && want->env[i] != NULL; i++)
		if (i == HOOK_ENV ||
		    (k->env[i] = strdup(want->env[i])) == NULL) {
			free(k->path);
			k->path = NULL;
		}
	if (k->path == NULL) {
		hook_free(k);
		return 0;
	}
	k->timeout = want->timeout;
	k->who = want->who;
	k->end = HOOK_WAITS;
	(void)snprintf(k->repository, sizeof(k->repository), "%s",
	    want->repository);
	(void)snprintf(k->id, sizeof(k->id), "%s", want->id);
	k->number = ++h->last;
	while (*at != NULL)
		at = &(*at)->next;
	*at = k;
	hooks_run(h);
	return h->last;
}

enum hook_end
hooks_look(const struct hooks *h, int64_t number, char text[256])
{
	text[0] = '\0';
	for (const struct hook *k = h->first; k != NULL; k = k->next)
		if (k->number == number) {
			(void)snprintf(text, 256, "%s", k->text);
			return k->end;
		}
	return HOOK_UNKNOWN;
}
