/*
 * store_backup.h - the ledger of HSM backups: which keys are in which.
 *
 * Runs in: ksmpoold only; part of the store (store.h has owner, errors, units).
 *
 * A key is covered by a backup when its row was frozen by `begin` and marked
 * by `commit`, or when it was made before a backup that was recorded later had
 * started. What is marked stays marked: nothing here is ever rewritten.
 *
 *   begin --> OPEN --commit--> COMMITTED
 *               |
 *               +--rollback--> ROLLED_BACK          record --> COMMITTED
 *
 * OPEN:        the set is fixed row by row; at most one in each repository.
 * COMMITTED:   history; its keys are covered, for ever.
 * ROLLED_BACK: history; it covers nothing.
 *
 * Times: `started` of a recorded backup is the HSM's, told by the operator,
 * and a key is covered only if its `ended` is before it, and if no key that is
 * older by its serial was made at `started` or later. A frozen set does not
 * ask the clock at all.
 */
#ifndef KSMPOOL_STORE_BACKUP_H
#define KSMPOOL_STORE_BACKUP_H

#include "store.h"

#define BACKUP_LABEL 64

enum backup_state {
	BACKUP_OPEN,
	BACKUP_COMMITTED,
	BACKUP_ROLLED_BACK,
	BACKUP__STATES
};
const char *backup_state_text(enum backup_state s); /* "rolled-back" */

struct store_backup {
	int64_t row;
	char repository[128];
	char label[BACKUP_LABEL]; /* unique in its repository */
	enum backup_state state;
	bool recorded; /* in one step, afterwards */
	ksm_time started, finished; /* finished 0: not known yet */
	struct store_actor who;
	char note[256], medium[128]; /* "" */
	int64_t frozen;	 /* keys of the set */
	int64_t covered; /* of these, marked; recorded: all that it covers */
	int64_t skipped; /* destroyed in between, or excepted */
};

/* KSM_EREFUSED: it can be no label, with words. */
enum ksm_err store_backup_label(const char *label, struct ksm_fail *fail);

/*
 * Freeze every made, ready, surplus, taking, taken and retired key of the
 * repository. `label` NULL: one is made from the time. KSM_EBUSY: a backup of
 * it is open, which one and since when is in `fail`. KSM_EREFUSED: the label
 * exists or is not printable ASCII without blanks, or a text is too long;
 * KSM_ENOENT: no such repository.
 */
enum ksm_err store_backup_begin(struct store *st, const char *repository,
    const char *label, const char *note, const char *medium, ksm_time now,
    struct store_actor who, struct store_backup *out, struct ksm_fail *fail);
/*
 * Mark the set, but for `except` and for keys that are destroyed, destroying,
 * consumed or missing by now. That the rest is in the token the caller has
 * just seen. KSM_ENOENT: no backup of that label; KSM_EREFUSED: it is not
 * open, or `except` names a key that is not in the set.
 */
enum ksm_err store_backup_commit(struct store *st, const char *repository,
    const char *label, const struct key_id *except, size_t nexcept,
    ksm_time now, struct store_actor who, struct store_backup *out,
    struct ksm_fail *fail);
enum ksm_err store_backup_rollback(struct store *st, const char *repository,
    const char *label, ksm_time now, struct store_actor who,
    struct store_backup *out, struct ksm_fail *fail);
/*
 * A backup that ran by itself: covers keys with `ended` < started that begin
 * would freeze now; its label is made from `started`. `finished` 0: not told.
 * KSM_EREFUSED: started or finished lies in the future, finished before
 * started, started not after the newest committed backup's, or one is open.
 */
enum ksm_err store_backup_record(struct store *st, const char *repository,
    ksm_time started, ksm_time finished, const char *note, const char *medium,
    ksm_time now, struct store_actor who, struct store_backup *out,
    struct ksm_fail *fail);

/* By label; NULL: the open one. KSM_ENOENT: there is none. */
enum ksm_err store_backup_get(struct store *st, const char *repository,
    const char *label, struct store_backup *out, struct ksm_fail *fail);
/* The newest committed one. KSM_ENOENT: there is none. */
enum ksm_err store_backup_last(struct store *st, const char *repository,
    struct store_backup *out, struct ksm_fail *fail);
/* Oldest first; `repository` NULL: all. Paged as store_keys_list is. */
enum ksm_err store_backup_list(struct store *st, const char *repository,
    int64_t *cursor, struct store_backup *out, size_t max, size_t *n,
    struct ksm_fail *fail);

struct backup_key {
	struct key_id id;
	enum key_state state; /* now */
	bool covered;	      /* by this backup */
};
/* The set of one backup, in row order, paged. */
enum ksm_err store_backup_keys(struct store *st, int64_t backup_row,
    int64_t *cursor, struct backup_key *out, size_t max, size_t *n,
    struct ksm_fail *fail);

/*
 * Keys in use or for use (made, ready, surplus, taking, taken, retired,
 * missing) that no committed backup covers which had started by `at` (0: any).
 * In row order, paged. `repository` NULL: all; `pool_row` 0: of all pools.
 */
enum ksm_err store_uncovered_list(struct store *st, const char *repository,
    int64_t pool_row, ksm_time at, int64_t *cursor, struct store_key *out,
    size_t max, size_t *n, struct ksm_fail *fail);

/*
 * Per pool (by row) and state, of the same states: how many keys are covered
 * by any committed backup, and how many by none. Kept by triggers, as is what
 * store_uncovered_oldest says; cheap enough for every status.
 */
typedef void (*store_cover_fn)(void *ctx, int64_t pool_row,
    const struct pool_spec *spec, enum key_state state, int64_t covered,
    int64_t uncovered);
enum ksm_err store_cover_counts(struct store *st, store_cover_fn fn, void *ctx,
    struct ksm_fail *fail);
/* `ended` of the oldest uncovered key of the repository; 0: there is none. */
enum ksm_err store_uncovered_oldest(struct store *st, const char *repository,
    ksm_time *out, struct ksm_fail *fail);

#endif
