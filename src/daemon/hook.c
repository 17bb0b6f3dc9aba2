#include "hook.h"

#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <search.h>
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
	int64_t handout;
	char *path, *env[HOOK_ENV + 1];
	int64_t timeout;
	char repository[128], id[KEY_ID_HEX];
	struct store_actor who;
	enum hook_end end;
	char text[256];
	bool late;
	pid_t pid;
	int pidfd;
	sd_event_source *on_exit, *on_time;
};

/*
 * In the order they came: some that have ended, among them those that run, and
 * from `turn` on those that wait to be started.
 */
struct hooks {
	sd_event *event;
	struct engine *engine;
	void (*kick)(void *ctx);
	void *ctx;
	struct hook *first, **last, *turn;
	void *by_handout; /* tsearch(3): the newest of each */
	size_t ended;
	int running;
	sd_event_source *on_turn; /* enabled: one may be started */
};

/* What the history says, by how it ended. */
static const char *const record[] = {
	[HOOK_WELL] = "hook done",
	[HOOK_FAILED] = "hook failed",
	[HOOK_NOT_RUN] = "hook not run",
};

/* ---- the list ---------------------------------------------------------- */

static int
handout_order(const void *a, const void *b)
{
	const struct hook *x = a, *y = b;

	return x->handout < y->handout ? -1 : x->handout > y->handout;
}

static struct hook *
hook_find(const struct hooks *h, int64_t handout)
{
	struct hook want = { .handout = handout };
	struct hook *const *found = tfind(&want, &h->by_handout,
	    handout_order);

	return found == NULL ? NULL : *found;
}

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

/* The oldest that have ended go: all but a few before them have, too. */
static void
hooks_prune(struct hooks *h)
{
	for (struct hook **at = &h->first;
	     h->ended > HOOKS_KEPT && *at != NULL;) {
		struct hook *k = *at;

		if (k->end == HOOK_WAITS) {
			at = &k->next;
			continue;
		}
		*at = k->next;
		if (h->last == &k->next)
			h->last = at;
		if (hook_find(h, k->handout) == k)
			(void)tdelete(k, &h->by_handout, handout_order);
		hook_free(k);
		h->ended--;
	}
}

static void
turn_next(struct hooks *h)
{
	if (h->turn != NULL && h->running < HOOKS_AT_ONCE)
		(void)sd_event_source_set_enabled(h->on_turn,
		    SD_EVENT_ONESHOT);
}

/* ---- how it ended ------------------------------------------------------ */

/*
 * On record. What did not go well is there before anybody is told; what did
 * goes with the next commit, since nobody has anything to do about it.
 */
static void
hook_note(struct hook *k, const char *why)
{
	enum ksm_err (*note)(struct engine *, struct store_actor, const char *,
	    const char *, const char *, struct ksm_fail *) =
	    k->end == HOOK_WELL ? engine_note_soon : engine_note;
	struct ksm_fail fail;
	char text[320];

	(void)snprintf(text, sizeof(text), "hand-out %lld%s%s",
	    (long long)k->handout, why == NULL ? "" : ": ",
	    why == NULL ? "" : why);
	if (note(k->all->engine, k->who, record[k->end], k->id, text,
		&fail) != KSM_OK)
		log_error("history: \"%s\" for key %s, %s, could not be "
			  "recorded: %s",
		    record[k->end], k->id, text, fail.text);
}

/* On record, and said: `why` NULL: it did what it was to do. */
static void
hook_ended(struct hook *k, enum hook_end end, const char *why)
{
	struct log_about about = { .repository = k->repository, .key = k->id };

	k->on_exit = sd_event_source_disable_unref(k->on_exit);
	k->on_time = sd_event_source_disable_unref(k->on_time);
	fd_close(&k->pidfd);
	k->end = end;
	k->all->ended++;
	(void)snprintf(k->text, sizeof(k->text), "%s", why == NULL ? "" : why);
	if (end == HOOK_FAILED)
		log_event(LOGL_ERROR, &about,
		    "repository %s: the hook %s for key %s failed: %s; the key "
		    "is handed out all the same, do by hand what it was to do",
		    k->repository, k->path, k->id, why);
	else if (end == HOOK_NOT_RUN)
		log_event(LOGL_WARNING, &about,
		    "repository %s: the hook %s for key %s was not run: %s; "
		    "asking for the same request again runs it",
		    k->repository, k->path, k->id, why);
	hook_note(k, why);
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
	if (!k->late && si.si_code == CLD_EXITED && si.si_status == 0)
		hook_ended(k, HOOK_WELL, NULL);
	else
		hook_ended(k, HOOK_FAILED, why);
	turn_next(h);
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

	if (fd_spawn_group(argv, k->env,
		(int[]){ -1, STDERR_FILENO, STDERR_FILENO }, 3, &k->pid,
		&k->pidfd, &fail) != KSM_OK) {
		hook_ended(k, HOOK_FAILED, fail.text);
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
		hook_ended(k, HOOK_FAILED, strerror(-rc));
	}
}

/* One in a turn of the loop: a start is a fork. */
static int
on_hooks_turn(sd_event_source *s, void *ctx)
{
	struct hooks *h = ctx;
	struct hook *k = h->turn;

	(void)s;
	if (k != NULL && h->running < HOOKS_AT_ONCE) {
		h->turn = k->next;
		hook_start(k);
		hooks_prune(h);
	}
	turn_next(h);
	return 0;
}

enum ksm_err
hooks_new(sd_event *event, struct engine *e, void (*kick)(void *ctx),
    void *ctx, struct hooks **out, struct ksm_fail *fail)
{
	struct hooks *h = calloc(1, sizeof(*h));
	int rc;

	if (h == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "hooks: no memory");
	if ((rc = sd_event_add_defer(event, &h->on_turn, on_hooks_turn, h)) <
		0 ||
	    (rc = sd_event_source_set_enabled(h->on_turn, SD_EVENT_OFF)) < 0) {
		hooks_free(h);
		return ksm_failf(fail, KSM_ESYS, "hooks: %s", strerror(-rc));
	}
	h->event = event;
	h->engine = e;
	h->kick = kick;
	h->ctx = ctx;
	h->last = &h->first;
	*out = h;
	return KSM_OK;
}

void
hooks_stop(struct hooks *h)
{
	if (h == NULL)
		return;
	for (struct hook *k = h->first; k != h->turn; k = k->next)
		if (k->end == HOOK_WAITS)
			hook_ended(k, HOOK_FAILED, "ksmpoold stopped while it "
			    "ran, how it ended is not known");
	for (; h->turn != NULL; h->turn = h->turn->next)
		hook_ended(h->turn, HOOK_NOT_RUN,
		    "ksmpoold stopped before it was");
}

static void
keep_node(void *node)
{
	(void)node; /* the list has it */
}

void
hooks_free(struct hooks *h)
{
	struct hook *next;

	if (h == NULL)
		return;
	tdestroy(h->by_handout, keep_node);
	for (struct hook *k = h->first; k != NULL; k = next) {
		next = k->next;
		hook_free(k);
	}
	(void)sd_event_source_disable_unref(h->on_turn);
	free(h);
}

/* The newest of a hand-out is the one that is found. */
static bool
hook_enter(struct hooks *h, struct hook *k)
{
	struct hook **node = tsearch(k, &h->by_handout, handout_order);

	if (node == NULL)
		return false;
	*node = k;
	*h->last = k;
	h->last = &k->next;
	if (h->turn == NULL)
		h->turn = k;
	return true;
}

bool
hooks_add(struct hooks *h, const struct hook_want *want)
{
	struct hook *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return false;
	k->pidfd = -1;
	k->all = h;
	k->path = strdup(want->path);
	for (size_t i = 0; k->path != NULL && want->env[i] != NULL; i++)
		if (i == HOOK_ENV ||
		    (k->env[i] = strdup(want->env[i])) == NULL) {
			free(k->path);
			k->path = NULL;
		}
	k->handout = want->handout;
	k->timeout = want->timeout;
	k->who = want->who;
	k->end = HOOK_WAITS;
	(void)snprintf(k->repository, sizeof(k->repository), "%s",
	    want->repository);
	(void)snprintf(k->id, sizeof(k->id), "%s", want->id);
	if (k->path == NULL || !hook_enter(h, k)) {
		hook_free(k);
		return false;
	}
	turn_next(h);
	return true;
}

enum hook_end
hooks_look(const struct hooks *h, int64_t handout, char text[256])
{
	const struct hook *k = hook_find(h, handout);

	(void)snprintf(text, 256, "%s", k == NULL ? "" : k->text);
	return k == NULL ? HOOK_UNKNOWN : k->end;
}

/* ---- on record ---------------------------------------------------------- */

/* Is it about that hand-out? Then *why is what follows, "" when nothing does. */
static bool
record_is_of(const char *text, int64_t handout, const char **why)
{
	char begin[48];
	int n = snprintf(begin, sizeof(begin), "hand-out %lld",
	    (long long)handout);

	if (strncmp(text, begin, (size_t)n) != 0)
		return false;
	*why = text + n;
	if (**why == '\0')
		return true;
	if (strncmp(*why, ": ", 2) != 0)
		return false;
	*why += 2;
	return true;
}

enum ksm_err
hook_record_look(struct store *st, const char *id, int64_t handout,
    enum hook_end *end, char text[256], struct ksm_fail *fail)
{
	enum { PAGE = 20 };
	struct history_filter f = { .subject = id, .what = "hook ",
		.uid = -1 };
	struct store_history *page = calloc(PAGE, sizeof(*page));
	enum ksm_err err = KSM_OK;
	int64_t cursor = 0;
	size_t n = PAGE;

	*end = HOOK_UNKNOWN;
	text[0] = '\0';
	if (page == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "hooks: no memory");
	while (err == KSM_OK && n == PAGE) { /* the last word counts */
		err = store_history_list(st, &f, &cursor, page, PAGE, &n, fail);
		for (size_t i = 0; err == KSM_OK && i < n; i++) {
			const char *why;

			if (!record_is_of(page[i].why, handout, &why))
				continue;
			for (int k = HOOK_WELL; k <= HOOK_NOT_RUN; k++)
				if (strcmp(page[i].what, record[k]) == 0)
					*end = (enum hook_end)k;
			(void)snprintf(text, 256, "%s", why);
		}
	}
	free(page);
	return err;
}
