/*
 * store_handout.h - who was given which key.
 *
 * Runs in: ksmpoold only; part of the store (store.h has owner, errors, units).
 *
 * One row for each line of the hand-out journal (journal.h), with its text, so
 * that either can be mended from the other: a database that was restored from
 * an older copy learns from the journal what was handed out since, a journal
 * that was lost is written again from the database. Numbers have no gap; what
 * is on record never changes. A key is drawn once: its first row.
 */
#ifndef KSMPOOL_STORE_HANDOUT_H
#define KSMPOOL_STORE_HANDOUT_H

#include "digest.h"
#include "store.h"

#define ZONE_TEXT      1024 /* canonical: lower case, no trailing dot */
#define SHARE_TEXT     (ZONE_TEXT + 8)
#define REQUEST_TEXT   64
#define CONSUMER_TEXT  32
#define HANDOUT_LINE   4096 /* one line of the journal, without its end */

struct handout {
	int64_t number; /* 1, 2, 3, ... without a gap */
	struct key_id id;
	char zone[ZONE_TEXT];
	struct pool_spec pool;
	/* Whose key it is: "zone:NAME", "owner:NAME" or "policy". */
	char share[SHARE_TEXT];
	bool drawn; /* from the pool; else the group's own key once more */
	char request[REQUEST_TEXT];   /* "" */
	char consumer[CONSUMER_TEXT]; /* "" */
	ksm_time when;
	struct store_actor who;
	bool uncovered; /* it was in no backup, and was to be in one */
	bool outside;	/* an operator said that it is in use */
	int64_t serial; /* of the key */
	int64_t mark;	/* the highest serial there was */
};

/* What stands in the journal for it, and its hash. */
struct handout_line {
	char *text; /* without the newline */
	uint8_t hash[DIGEST_LEN];
};

/*
 * The next row. The key may be one this database does not know (any more).
 * KSM_EREFUSED: its number is not the next one, the key was drawn before, or
 * another rule of the database says no; the batch is as it was.
 */
enum ksm_err store_handout_add(struct store *st, const struct handout *h,
    const struct handout_line *line, struct ksm_fail *fail);
/* Number 0 and a hash of zeroes when nothing was ever handed out. */
enum ksm_err store_handout_head(struct store *st, int64_t *number,
    uint8_t hash[DIGEST_LEN], struct ksm_fail *fail);
/* The line of that number; `out` holds HANDOUT_LINE. */
enum ksm_err store_handout_text(struct store *st, int64_t number, char *out,
    uint8_t hash[DIGEST_LEN], struct ksm_fail *fail);

struct handout_filter {
	const char *zone, *policy, *request; /* NULL: any */
	const struct key_id *id;	     /* NULL: any */
};
/* In order of number; paged as store_keys_list is. */
enum ksm_err store_handout_list(struct store *st,
    const struct handout_filter *f, int64_t *cursor, struct handout *out,
    size_t max, size_t *n, struct ksm_fail *fail);
/* The newest key drawn for that group from that pool. KSM_ENOENT: none was. */
enum ksm_err store_handout_current(struct store *st,
    const struct pool_spec *pool, const char *share, struct handout *out,
    struct ksm_fail *fail);
/* Was that key drawn, for whomever? */
enum ksm_err store_handout_drawn(struct store *st, const struct key_id *id,
    bool *drawn, struct ksm_fail *fail);
/* Was that key given to that zone? */
enum ksm_err store_handout_has(struct store *st, const struct key_id *id,
    const char *zone, bool *has, struct ksm_fail *fail);
/* How many zones have it. */
enum ksm_err store_handout_zones(struct store *st, const struct key_id *id,
    int64_t *n, struct ksm_fail *fail);
/* Did an operator say that a zone uses it? */
enum ksm_err store_handout_outside(struct store *st, const struct key_id *id,
    bool *outside, struct ksm_fail *fail);

/*
 * A key that was handed out to the zone, or to a zone of the group, and is not
 * destroyed, one of whose tags is one of those that `key` would have there: as
 * ZSK one, otherwise that of the KSK and of the revoked KSK. KSM_ENOENT: none.
 */
enum ksm_err store_tag_clash(struct store *st, const struct store_key *key,
    const char *zone, const char *share, struct key_id *out,
    struct ksm_fail *fail);

/*
 * The tags of all such keys, each with what it becomes when it is revoked (of a
 * ZSK: the same). Those without a tag yet are left out.
 */
typedef void store_tags_fn(void *ctx, int tag, int revoked);
enum ksm_err store_home_tags(struct store *st, const char *policy,
    const char *zone, const char *share, store_tags_fn *fn, void *ctx,
    struct ksm_fail *fail);

struct candidate_want {
	int64_t pool_row;
	bool covered;	   /* only keys that are in a backup */
	ksm_time not_before; /* made then or later; 0: any */
};
/*
 * Keys that may be taken, the oldest first: *cursor is a serial, start with 0.
 */
enum ksm_err store_candidates(struct store *st,
    const struct candidate_want *want, int64_t *cursor, struct store_key *out,
    size_t max, size_t *n, struct ksm_fail *fail);
/*
 * Keys on record as drawn that are nevertheless in a state from which they
 * could still be handed out: what a database restored from an older copy has.
 * store_candidates never names them. Paged; *cursor starts with 0.
 */
struct handed_out {
	struct key_id id;
	enum key_state state;
};
enum ksm_err store_handed_out(struct store *st, int64_t *cursor,
    struct handed_out *out, size_t max, size_t *n, struct ksm_fail *fail);
/* Is that key in a committed backup? */
enum ksm_err store_key_covered(struct store *st, const struct key_id *id,
    bool *covered, struct ksm_fail *fail);

/*
 * Why nothing is handed out until an operator says so; "" : it is not locked.
 * `reason` of store_handout_lock is cut at 511 bytes; "" unlocks.
 */
#define LOCK_TEXT 512
enum ksm_err store_handout_locked(struct store *st, char out[LOCK_TEXT],
    struct ksm_fail *fail);
enum ksm_err store_handout_lock(struct store *st, const char *reason,
    struct ksm_fail *fail);
/*
 * Serials up to that were given once, to keys that are not on record (any
 * more): the next key gets a later one.
 */
enum ksm_err store_serial_raise(struct store *st, int64_t serial,
    struct ksm_fail *fail);
/* Pairs of ours without a row that an operator has looked at. */
enum ksm_err store_orphans_accepted(struct store *st, int64_t repository,
    int64_t *n, struct ksm_fail *fail);
enum ksm_err store_orphans_accept(struct store *st, int64_t repository,
    int64_t n, struct ksm_fail *fail);

#endif
