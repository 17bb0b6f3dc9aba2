/*
 * engine_take.h - hand keys out: each once, proven, and on record first.
 *
 * Runs in: ksmpoold; part of the engine (engine.h has owner and rules). Beside
 *          the store it uses the hand-out journal (journal.h).
 *
 * A take goes through these steps; whatever is killed in between, the journal
 * decides at the next start what became of it:
 *
 *   choose   the oldest ready key that may go; `taking` is on disk
 *   prove    in the token, with all other takes that wait for it
 *   journal  written and synced: from here on the key is handed out
 *   taken    on disk, with a row beside it; then whoever asked is told
 */
#ifndef KSMPOOL_ENGINE_TAKE_H
#define KSMPOOL_ENGINE_TAKE_H

#include "ksmpool/consumer.h"

#include "engine.h"
#include "store_handout.h"

#define TAKE_MOST 1000 /* keys of one take */

struct take_want {
	const char *zone;  /* canonical text */
	const char *owner; /* of the zone; NULL: not known, it is its own */
	const char *policy, *repository; /* repository NULL: any */
	enum key_role role;
	int alg; /* 0: the only one there is */
	size_t count;
	/* Tags that fit; of a KSK or CSK its revoked tag fits, too. */
	bool by_range;
	int tag_low, tag_high;
	int tag_modulo, tag_rest; /* tag % modulo == rest; modulo 0: any */
	enum consumer consumer;
	ksm_time not_before; /* made then or later; 0: any */
	const char *request; /* NULL, or a name: the same answer again */
	bool roll;    /* of a group: a new key, unless the zone lags behind */
	bool dry_run; /* only choose */
	/* key mark-used: this key, which somebody uses already; no proof. */
	const struct key_id *outside;
	const char *reason; /* of mark-used */
	bool apart; /* of mark-used: its zone shares no keys of that policy */
	struct store_actor who;
};

struct take_state {
	bool done;
	enum ksm_err err; /* when done */
	/* Why not, when done; what it waits for, when not; "". */
	char text[512];
	bool again;	  /* the request was answered before */
	bool uncovered;	  /* some of them are in no backup, and should be */
	size_t nkeys;
	const struct handout *keys; /* borrowed; of a dry run without number */
	const bool *singles;	    /* borrowed: it has no public object */
};

/*
 * KSM_ENOENT: no such policy or pool. KSM_EREFUSED: it cannot be, with words.
 * Asked anew with the same `request` while the first is under way, it waits
 * for that one and is answered alike.
 */
enum ksm_err engine_take(struct engine *e, const struct take_want *want,
    int64_t *ticket, struct ksm_fail *fail);
enum ksm_err engine_take_state(struct engine *e, int64_t ticket,
    struct take_state *out);
/* Not done yet: its keys stay in the pool, unless the journal has them. */
void engine_take_forget(struct engine *e, int64_t ticket);

/*
 * Called when the rows of a take are on disk, whether or not somebody waits for
 * it still, and before who waits is told; not for mark-used. What is given is
 * borrowed, and the engine is not to be called.
 */
typedef void engine_taken(void *ctx, const struct handout *keys,
    const bool *singles, size_t n);
void engine_take_tell(struct engine *e, engine_taken *taken, void *ctx);

/*
 * At start, once: open the journal, learn from it what this database does not
 * know, and settle keys that were being taken. A journal that cannot be used
 * is no error: nothing is handed out then, and everything else goes on.
 * KSM_ESTORE: the database failed.
 */
enum ksm_err engine_handouts_open(struct engine *e, const char *path,
    struct ksm_fail *fail);
struct handouts_view {
	int64_t number; /* the last one on record */
	const char *journal; /* path; borrowed */
	bool locked;
	/* Why nothing is handed out, or why the last try failed; "". */
	char reason[LOCK_TEXT];
};
void engine_handouts_view(struct engine *e, struct handouts_view *out);
/*
 * An operator has looked: the journal is brought in line with the database (a
 * file that cannot be is set aside), pairs of ours without a row are accepted
 * as they are, and the lock is gone. KSM_EREFUSED: it is not locked, or the
 * journal still cannot be written. `aside` holds 512: where the old file is.
 */
enum ksm_err engine_handouts_accept(struct engine *e, const char *reason,
    struct store_actor who, char aside[512], struct ksm_fail *fail);

#endif
