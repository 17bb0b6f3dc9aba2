/*
 * hook_taken.h - the hooks of keys that were taken.
 *
 * Runs in: ksmpoold, on its loop. A hook is due as soon as the hand-out is on
 *          disk, whether or not somebody still waits for the answer.
 */
#ifndef KSMPOOL_HOOK_TAKEN_H
#define KSMPOOL_HOOK_TAKEN_H

#include "engine_take.h"
#include "hook.h"

struct hook_taker { /* borrowed */
	struct engine *engine;
	struct store *store;
	struct hooks *hooks;
};

/* For engine_take_tell: `ctx` is a struct hook_taker. */
void hook_taken(void *ctx, const struct handout *keys, const bool *singles,
    size_t n);
/* Has its repository a hook, as things are now? */
bool hook_wanted(const struct hook_taker *t, const struct handout *h);
/*
 * What became of it, as far as anything is known: HOOK_UNKNOWN after a kill
 * that came before its end was on record.
 */
enum hook_end hook_look(const struct hook_taker *t, const struct handout *h,
    char text[256]);

#endif
