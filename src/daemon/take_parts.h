/*
 * take_parts.h - takes, in four files: take.c (from the asking to the end, and
 * the proof), take_choose.c (which keys), take_group.c (shared ones),
 * take_record.c (on record).
 *
 * Runs in: ksmpoold; for these files alone.
 */
#ifndef KSMPOOL_TAKE_PARTS_H
#define KSMPOOL_TAKE_PARTS_H

#include "engine_parts.h"

enum take_step { TAKE_CHOOSE, TAKE_PICKED, TAKE_CHOSEN, TAKE_PROVING,
	TAKE_PROVEN, TAKE_WRITTEN, TAKE_DONE };

/* A key's tag and, of one that can be revoked, what that becomes. */
struct tags {
	int tag, revoked;
};

struct take {
	int64_t number;
	enum take_step step;
	struct take_want want; /* its texts are the ones below */
	char zone[ZONE_TEXT], owner[128], policy[256], repository[128];
	char request[REQUEST_TEXT], reason[256], share[SHARE_TEXT];
	struct key_id outside;
	struct take_state state;
	struct handout *keys; /* want.count of them */
	struct handout_line *lines;
	bool *singles;
	struct tags *tags;
	size_t nkeys;
	bool lent;	     /* the group's own key, which is taken already */
	bool forgotten;
	bool offered;	     /* done for a turn of the loop, and not fetched */
	int64_t errand;	     /* of its repository; shared with others */
	size_t errand_at;    /* where its keys begin there */
	int tries;
	int64_t topup;	     /* asked for because the pool was short */
	struct id_list excluded; /* failed their proof */
	/* a choice that takes several turns */
	int64_t cursor, seen, unfit, clashes;
	int turns;
	bool unbacked; /* it looks at keys in no backup, too */
	bool waits;    /* the log has why */
	bool retried;  /* its rows may be there: a commit was not heard of */
	ksm_msec looked;
	struct take *next;
};

/* take.c */
/* Its answer is there; `text` says why not. */
void take_end(struct engine *e, struct take *t, enum ksm_err err,
    const char *text);
/* The same, and keys of it that are `taking` go back to their pool. */
void take_fail(struct engine *e, struct take *t, enum ksm_err err,
    const char *text);
/* All that were chosen go from `from` to `to`, in the open batch. */
enum ksm_err keys_move(struct engine *e, const struct take *t,
    enum key_state from, enum key_state to, const char *why,
    struct ksm_fail *fail);
/* That of its keys; they are of one pool. */
const char *take_repository(const struct take *t);

/* Which pool it is of, and that its consumer can use keys of that. */
enum ksm_err take_pool_check(struct engine *e, const struct take_want *want,
    size_t *pool, struct ksm_fail *fail);

/* take_choose.c */
struct tags tags_of(const struct store_key *k);
bool tag_fits(const struct take_want *w, int tag);
bool tags_fit(const struct take_want *w, const struct tags *tags);
/* One more key of it. `drawn`: from the pool, for the first time. */
void handout_fill(struct engine *e, struct take *t, const struct store_key *k,
    bool drawn);
void take_choose(struct engine *e, struct take *t, ksm_msec *wait);
/* From the start: what was chosen is forgotten. */
void choice_reset(struct take *t);
/* On disk as `taking`, all that were picked, before anything else happens. */
void picks_commit(struct engine *e);

/* take_group.c */
/* "zone:NAME", "owner:NAME" or "policy", as the pool's scope says. */
void share_set(struct take *t, enum key_scope scope);
/* Another take draws for the group now. */
bool group_busy(struct engine *e, const struct take *t);
/*
 * The group's own key, when it has one that goes on. KSM_ENOENT: one is to be
 * drawn. KSM_EBUSY: it is waited for. KSM_EREFUSED: neither, with words.
 */
enum ksm_err group_key(struct engine *e, struct take *t,
    const struct plan_pool *p, struct ksm_fail *fail);

/* take_record.c */
#define CLOSED_TEXT 512
/* What is answered while nothing is handed out. */
void closed_text(const char *why, char out[CLOSED_TEXT]);
/* Keys that should be in a backup and are not, as things stand now. */
enum ksm_err uncovered_note(struct engine *e, struct take *t,
    struct ksm_fail *fail);
/* Proven: one write and one sync for all of them. */
void takes_write(struct engine *e, ksm_msec *wait);
/* All that the journal has and the database does not. */
void takes_store(struct engine *e, ksm_msec *wait);

#endif
