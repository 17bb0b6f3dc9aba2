/*
 * hook.h - an operator's program, run for each key that was taken.
 *
 * Runs in: ksmpoold, on its loop. The key is handed out before its hook is
 *          started, so whatever the hook does, the key is not lost.
 * Owns:    the processes and what became of them.
 *
 * A hook gets nothing on standard input, its output goes to the daemon's log,
 * and of the environment only what is given here. It is killed when its time
 * is over, with what it has started. A failure is logged and in the history,
 * by whoever took the key.
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
	const char *repository, *id; /* what it is about */
	struct store_actor who;
	const char *const *env; /* "NAME=value", NULL at the end; copied */
};

enum hook_end { HOOK_UNKNOWN, HOOK_WAITS, HOOK_WELL, HOOK_FAILED };

enum ksm_err hooks_new(sd_event *event, struct engine *e,
    void (*kick)(void *ctx), void *ctx, struct hooks **out,
    struct ksm_fail *fail);
/*
 * The daemon ends: those that run go on by themselves, and it is on record
 * that nobody saw how they ended. NULL is fine.
 */
void hooks_stop(struct hooks *h);
void hooks_free(struct hooks *h);
/* Its number, for hooks_look; 0: no memory. */
int64_t hooks_add(struct hooks *h, const struct hook_want *want);
/* `text`: why it failed. What is not looked at is forgotten in time. */
enum hook_end hooks_look(const struct hooks *h, int64_t number,
    char text[256]);

#endif
