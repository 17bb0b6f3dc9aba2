/*
 * hook.h - an operator's program, run for each key that was taken.
 *
 * Runs in: ksmpoold, on its loop. The key is handed out before its hook is
 *          started, so whatever the hook does, the key is not lost.
 * Owns:    the processes and what became of them.
 *
 * A hook gets nothing on standard input, its output goes to the daemon's log,
 * and of the environment only what is given here. It is killed when its time
 * is over, with what it has started. What became of it is in the history, by
 * whoever took the key: "hook done", "hook failed" or "hook not run", and after
 * the number of its hand-out why.
 */
#ifndef KSMPOOL_HOOK_H
#define KSMPOOL_HOOK_H

#include <systemd/sd-event.h>

#include "engine.h"

#define HOOKS_AT_ONCE 8
#define HOOK_ENV      24

struct hooks;

struct hook_want {
	const char *path;
	int64_t timeout; /* seconds */
	int64_t handout; /* its number: what it is known by */
	const char *repository, *id; /* what it is about */
	struct store_actor who;
	const char *const *env; /* "NAME=value", NULL at the end; copied */
};

enum hook_end { HOOK_UNKNOWN, HOOK_WAITS, HOOK_WELL, HOOK_FAILED,
	HOOK_NOT_RUN };

enum ksm_err hooks_new(sd_event *event, struct engine *e,
    void (*kick)(void *ctx), void *ctx, struct hooks **out,
    struct ksm_fail *fail);
/*
 * The daemon ends: those that run go on by themselves, and it is on record
 * that nobody saw how they ended, and which were not run. NULL is fine.
 */
void hooks_stop(struct hooks *h);
void hooks_free(struct hooks *h);
/*
 * It is started on another turn of the loop; of two for one hand-out the second
 * waits for its turn like any other. False: no memory, or too much environment.
 */
bool hooks_add(struct hooks *h, const struct hook_want *want);
/*
 * `text`: why it failed. What has ended is forgotten in time, and HOOK_UNKNOWN
 * then: hook_record_look knows.
 */
enum hook_end hooks_look(const struct hooks *h, int64_t handout,
    char text[256]);

/*
 * What the history has of the hook for that hand-out of that key. HOOK_UNKNOWN:
 * nothing.
 */
enum ksm_err hook_record_look(struct store *st, const char *id,
    int64_t handout, enum hook_end *end, char text[256],
    struct ksm_fail *fail);

#endif
