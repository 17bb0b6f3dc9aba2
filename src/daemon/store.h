/*
 * store.h - what ksmpoold remembers: keys, their states, and why.
 *
 * Runs in: ksmpoold only.
 * Owns:    the database handle, its prepared statements, the open batch.
 * Blocks:  on disk; at most 50 ms of busy waiting for another program's lock
 *          (2 s while it opens); reads do not wait for a writer at all.
 * Units:   ksm_time is seconds UTC; key ids are 16 raw bytes.
 * Fails:   KSM_ESTORE with SQLite's text and the path in `fail`. KSM_ENOENT
 *          (no such row, or not in that state) and KSM_EREFUSED (an argument
 *          that cannot be) change nothing and leave the batch as it was.
 *
 * Every function that changes something opens a batch (BEGIN IMMEDIATE) when
 * none is open. Nothing of a batch is durable before store_commit: whoever
 * must not act before a row is on disk (intend) commits first. When a change
 * or the commit fails the whole batch is rolled back, and store_batch_lost
 * is true until it is asked: everything since the last commit is undone, and
 * the caller settles as after a restart.
 *
 * When a batch cannot be opened, because another program holds the lock, it
 * is KSM_ESTORE too and store_batch_lost stays false: what is on disk is as it
 * was, and the change that was to be the first of the batch is not made.
 * Reads see the open batch.
 */
#ifndef KSMPOOL_STORE_H
#define KSMPOOL_STORE_H

#include <stdbool.h>

#include "ksmpool/alg.h"
#include "ksmpool/key.h"
#include "ksmpool/policy.h"

struct store;

/*
 * Open or create, mode 0640; WAL, synchronous=FULL, foreign keys; migrate;
 * quick_check. KSM_EREFUSED: a newer schema (both versions named), or not
 * our database. The directory must exist. "read-only", "full disk",
 * "permission" are named with path and uid.
 */
enum ksm_err store_open(const char *path, struct store **out,
    struct ksm_fail *fail);
/*
 * Path of the copy that was taken because an older schema was brought up to
 * date: PATH.schema-1, or PATH.schema-1-2 when that exists. NULL: it was not.
 */
const char *store_migrated(const struct store *st);
void store_close(struct store *st); /* rolls an open batch back; NULL is fine */
/*
 * Open a batch when none is open, for who wants to know beforehand whether it
 * can be: KSM_ESTORE, and nothing is lost, while another program holds the
 * lock.
 */
enum ksm_err store_begin(struct store *st, struct ksm_fail *fail);
/*
 * A batch that is committed for every process at once, and on the disk only
 * with the next one that is not like this: when the whole machine dies before,
 * it never was. For what something else vouches for.
 */
enum ksm_err store_begin_later(struct store *st, struct ksm_fail *fail);
enum ksm_err store_commit(struct store *st, struct ksm_fail *fail);
/*
 * Undo everything since the last commit; the batch is not lost then, since
 * the caller knows what it undid. Without an open batch nothing happens.
 */
void store_rollback(struct store *st);
bool store_batch_open(const struct store *st);
bool store_batch_clean(const struct store *st); /* open, and nothing in it */
/* True once after a batch was rolled back; clears the mark. */
bool store_batch_lost(struct store *st);

/* The installation's 4-byte id tag; random, made with the database. */
void store_tag_get(const struct store *st, uint8_t tag[KEY_TAG_LEN]);

/* ---- repositories ---------------------------------------------------- */

enum repository_trouble {
	TROUBLE_NONE,
	TROUBLE_PARKED, /* wrong PIN; until its source changes or resume */
	TROUBLE_ALIEN,	/* another or an emptied token; until an operator speaks */
};

struct store_repository {
	int64_t row;
	char name[128];
	char token_label[128], token_serial[64]; /* "" until first seen */
	enum repository_trouble trouble;
	char reason[256];
	ksm_time since;
	char pin_print[64]; /* of the refused PIN; "" */
};

/* The row of that name; made when there is none. */
enum ksm_err store_repository_get(struct store *st, const char *name,
    struct store_repository *out, struct ksm_fail *fail);
enum ksm_err store_repository_token(struct store *st, int64_t row,
    const char *label, const char *serial, struct ksm_fail *fail);
enum ksm_err store_repository_trouble(struct store *st, int64_t row,
    enum repository_trouble trouble, const char *reason, const char *pin_print,
    ksm_time now, struct ksm_fail *fail);

/* ---- pools ----------------------------------------------------------- */

struct pool_spec {
	char policy[256];
	enum key_role role;
	char repository[128];
	int alg, bits;
};

struct store_pool {
	int64_t row;
	int64_t auto_made; /* keys made by itself since the last full/topup */
};

enum ksm_err store_pool_get(struct store *st, const struct pool_spec *spec,
    struct store_pool *out, struct ksm_fail *fail);
enum ksm_err store_pool_auto(struct store *st, int64_t row, int64_t auto_made,
    struct ksm_fail *fail);

/*
 * Whether a policy or repository of that name is or ever was in force here.
 * They change nothing.
 */
enum ksm_err store_policy_known(struct store *st, const char *name,
    bool *known, struct ksm_fail *fail);
enum ksm_err store_repository_known(struct store *st, const char *name,
    bool *known, struct ksm_fail *fail);

/* Counts per pool and state, also of pools no policy names any more. */
typedef void (*store_count_fn)(void *ctx, int64_t pool_row,
    const struct pool_spec *spec, enum key_state state, int64_t n);
enum ksm_err store_counts(struct store *st, store_count_fn fn, void *ctx,
    struct ksm_fail *fail);

/*
 * ready <-> surplus: keys of pools not in `wanted` become surplus, surplus
 * keys of wanted pools become ready. Counts in *out_surplus, *out_ready.
 */
enum ksm_err store_pools_wanted(struct store *st, const int64_t *wanted_rows,
    size_t n, ksm_time now, int64_t *out_surplus, int64_t *out_ready,
    struct ksm_fail *fail);

/* ---- keys ------------------------------------------------------------ */

struct store_key {
	struct key_id id;
	int64_t serial; /* 0 until the answer is recorded */
	struct pool_spec pool;
	enum key_state state;
	enum key_state was; /* state before missing; else KEY__STATES */
	bool proved;	    /* a signature was verified outside the token */
	bool adopted;	    /* found by settling, not by its answer */
	bool single;	    /* made with SkipPublicKey: one object is the whole */
	char why[256];	    /* of the last move, "" */
	ksm_time since, intended, started, ended; /* 0: not known */
	uint8_t pub[DNSKEY_PUB_MAX];
	size_t publen;
	uint8_t digest[32]; /* SHA-256 of the DNSKEY public key field */
	int tag_zsk, tag_ksk, tag_revoked; /* -1: not known */
};

/*
 * n new rows in state intended, ids made of tag + random; ids in out[n],
 * to be used only on KSM_OK.
 */
enum ksm_err store_keys_intend(struct store *st, int64_t pool_row, size_t n,
    ksm_time now, struct key_id *out, struct ksm_fail *fail);

/*
 * What the answer says; the serial is given here. intended/unknown -> made.
 * `ended` must be known; a `started` after it (the clock was set back) is
 * recorded as `ended`. Without `pub` there is no digest, no tag, no proof.
 */
struct store_made {
	ksm_time started, ended;
	ksm_msec took;
	bool adopted, proved;
	bool single; /* no public object was stored */
	const uint8_t *pub;
	size_t publen;
	const uint8_t *digest;
	int tag_zsk, tag_ksk, tag_revoked;
};
enum ksm_err store_key_made(struct store *st, const struct key_id *id,
    const struct store_made *made, ksm_time now, struct ksm_fail *fail);
/* A key whose signature was verified later (settled keys). */
enum ksm_err store_key_proved(struct store *st, const struct key_id *id,
    struct ksm_fail *fail);
/* Never asked, or the token said a clear no: the row goes. */
enum ksm_err store_key_refused(struct store *st, const struct key_id *id,
    struct ksm_fail *fail);
/*
 * Compare-and-set along an arrow of keystate.c. KSM_ENOENT: it is not in
 * `from` (any more). `missing` remembers `from`; back from missing, `to`
 * must be what it was. made -> ready and ready -> taking need a proved key,
 * or the database refuses (KSM_ESTORE). `why` is cut at 255 bytes.
 */
enum ksm_err store_key_move(struct store *st, const struct key_id *id,
    enum key_state from, enum key_state to, const char *why, ksm_time now,
    struct ksm_fail *fail);
/* At start: every intended row is unknown (whoever asked is gone). */
enum ksm_err store_keys_orphan(struct store *st, ksm_time now, int64_t *n,
    struct ksm_fail *fail);
/* KSM_ENOENT if there is no such row. */
enum ksm_err store_key_get(struct store *st, const struct key_id *id,
    struct store_key *out, struct ksm_fail *fail);

/*
 * The oldest key other than `but` with that digest of its public key, in
 * whatever state it is or was. KSM_ENOENT: there is none.
 */
enum ksm_err store_digest_find(struct store *st, const uint8_t digest[32],
    const struct key_id *but, struct key_id *out, struct ksm_fail *fail);

/* Short facts of every key of one repository, for comparing with a token. */
struct store_brief {
	struct key_id id;
	int64_t serial; /* 0 until the answer is recorded */
	enum key_state state, was;
	bool proved;
	bool single; /* made with SkipPublicKey: one object is the whole */
	bool claimed; /* by store_key_adopt: others may know it, too */
	/* Taken or retired; all it was given to destroy what they drop. */
	bool destroyer;
	int alg;
};
/*
 * Up to `max` rows with row number above *cursor (start: 0), which is moved
 * on; *n == 0: done. All states.
 */
enum ksm_err store_keys_brief(struct store *st, const char *repository,
    int64_t *cursor, struct store_brief *out, size_t max, size_t *n,
    struct ksm_fail *fail);

struct key_filter {
	bool by_created; /* ended >= created_after, or no `ended` yet */
	ksm_time created_after;
	ksm_time created_before; /* ended < it, and known; 0: any */
	int alg; /* 0: any */
	bool by_tag; /* any of its three tags */
	int tag;
	bool by_state;
	enum key_state state;
	const char *policy, *repository; /* NULL: any */
	bool by_role;
	enum key_role role;
};
/*
 * Listing in a stable order (row number), paged by cursor as above. With
 * by_created only keys that exist are meant: living states.
 */
enum ksm_err store_keys_list(struct store *st, const struct key_filter *f,
    int64_t *cursor, struct store_key *out, size_t max, size_t *n,
    struct ksm_fail *fail);

/*
 * A row for a pair that is in the token already, whatever made it: intended
 * and at once unknown, so that the next look settles it like any other.
 * KSM_EREFUSED: the id is on record, and in which state.
 */
enum ksm_err store_key_adopt(struct store *st, int64_t pool_row,
    const struct key_id *id, const char *why, ksm_time now,
    struct ksm_fail *fail);

/* ---- history: what happened, append-only ----------------------------- */

/* Who asked: from SO_PEERCRED. ACTOR_DAEMON: nobody, ksmpoold by itself. */
struct store_actor {
	int64_t uid, pid;
};
#define ACTOR_DAEMON ((struct store_actor){ -1, -1 })

/*
 * Moves of keys that came to be (made and all that follows) are written by
 * store_key_made and store_key_move themselves, in the same batch; who asked
 * is what store_actor_set said last (ACTOR_DAEMON at first). Everything else
 * is added by who does it.
 *
 * Row n carries SHA-256 over the hash of row n - 1 and its own fields, so that
 * a row that is changed or taken out shows; the newest hash is also in meta and
 * is logged at start and stop, where whoever edits the file cannot reach it.
 *
 * What is hashed is eight netstrings (LENGTH:BYTES, with the length in decimal
 * bytes) one after the other: the hash of row n - 1 as 64 lower-case hex digits
 * (zeroes for the first row), number, when, uid, pid (decimal; nobody: empty),
 * what, subject, why. ksmpoold(8) shows how to do it with sqlite3 and
 * sha256sum.
 */
struct store_history {
	int64_t number; /* 1, 2, 3, ... without a gap */
	ksm_time when;
	struct store_actor who;
	char what[48];	  /* "key made", "topup", "repository parked" */
	char subject[256]; /* key id, repository, policy; "" */
	char why[512];	  /* reason, from -> to, numbers */
	uint8_t hash[32];
};
void store_actor_set(struct store *st, struct store_actor who);
/*
 * what, subject and why are cut to their size; NULL is "". KSM_EREFUSED: no
 * `what`.
 */
enum ksm_err store_history_add(struct store *st, ksm_time when,
    struct store_actor who, const char *what, const char *subject,
    const char *why, struct ksm_fail *fail);

struct history_filter {
	ksm_time since, until; /* 0: any; since <= when < until */
	const char *subject;   /* NULL: any */
	const char *what;      /* NULL: any; else how it begins */
	int64_t uid;	       /* -1: any */
	/*
	 * Rows to look at in one call, 0: all there are. *cursor is moved
	 * behind them even when none of them was meant; the end is where it
	 * reaches the head.
	 */
	int64_t scan;
};
/* Oldest first, paged as store_keys_list is; *cursor is the last number. */
enum ksm_err store_history_list(struct store *st,
    const struct history_filter *f, int64_t *cursor,
    struct store_history *out, size_t max, size_t *n, struct ksm_fail *fail);
/* Number 0 and a hash of zeroes when nothing was ever written. */
enum ksm_err store_history_head(struct store *st, int64_t *number,
    uint8_t hash[32], struct ksm_fail *fail);

/* Checks up to `max` rows on; zero it first. */
struct history_check {
	int64_t number;	  /* the last row that was read */
	uint8_t hash[32]; /* its hash, as it should be */
	int64_t faults;
	char first[256];  /* words for the first fault, "" */
	bool done;	  /* compared with the head in meta, too */
};
enum ksm_err store_history_verify(struct store *st, struct history_check *c,
    size_t max, struct ksm_fail *fail);

/* ---- pause ----------------------------------------------------------- */

#define PAUSE_OPEN INT64_MAX /* until somebody resumes */
struct store_pause {
	ksm_time since, until; /* until 0: not paused */
	struct store_actor who;
	char reason[256];
};
enum ksm_err store_pause_get(struct store *st, struct store_pause *out,
    struct ksm_fail *fail);
enum ksm_err store_pause_put(struct store *st, const struct store_pause *p,
    struct ksm_fail *fail);

/* ---- the file under our feet ----------------------------------------- */

enum store_place {
	STORE_HERE,
	STORE_GONE,	/* no file of that name any more: we hold the only copy */
	STORE_REPLACED, /* another file has its name: not ours to write to */
};
/*
 * Two stat(2); cheap enough for every commit. A log (-wal) that was taken away
 * is STORE_GONE, too: what was committed last may be nowhere else.
 */
enum store_place store_place_look(const struct store *st);
/*
 * STORE_GONE only: write what we hold to its name again, whole and synced,
 * and go on with that file. An open batch is committed with it. A failure
 * changes nothing that counts and can be tried again: until this succeeds
 * store_place_look stays STORE_GONE, and nothing committed is durable.
 */
enum ksm_err store_put_back(struct store *st, struct ksm_fail *fail);
/* SQLite called the file damaged since it was opened. */
bool store_damaged(const struct store *st);

/* ---- a database as a file ---------------------------------------------- */

/*
 * Neither takes the daemon's lock nor changes the file; both read one snapshot
 * of it, also while ksmpoold works with it.
 *
 * check: `say` gets a sentence for each fault, STORE_FAULTS at most of one
 * kind; *faults counts those said. KSM_ESTORE, KSM_EREFUSED: it cannot be read,
 * is newer or another program's.
 */
#define STORE_FAULTS 100
typedef void (*store_fault_fn)(void *ctx, const char *text);
enum ksm_err store_file_check(const char *path, store_fault_fn say, void *ctx,
    int64_t *faults, struct ksm_fail *fail);
/*
 * Whole, mode 0640, checked and synced, or nothing. KSM_EREFUSED: `to` is not
 * absolute, or exists.
 */
enum ksm_err store_file_copy(const char *path, const char *to,
    struct ksm_fail *fail);

/* ---- time ------------------------------------------------------------ */

/* Newest creation on record: no other may be dated before it. */
enum ksm_err store_newest(struct store *st, ksm_time *out,
    struct ksm_fail *fail);
/* An operator says that `now` is right, whatever the record says. */
enum ksm_err store_newest_accept(struct store *st, ksm_time now,
    struct ksm_fail *fail);

/* Measured ms per key; KSM_ENOENT when nothing was measured yet. */
enum ksm_err store_rate_get(struct store *st, const char *repository, int alg,
    int bits, ksm_msec *per_key, struct ksm_fail *fail);
/* Fold one measurement in (moving average, weight 1/16). */
enum ksm_err store_rate_add(struct store *st, const char *repository, int alg,
    int bits, ksm_msec took, struct ksm_fail *fail);

/* ---- across boots ---------------------------------------------------- */

/*
 * Tokens that never fsync can lose or tear keys when the machine goes down.
 * store_boot remembers `boot_id`; *changed is true when the machine was
 * booted since. Doubt keys in the same batch: once the boot is on record
 * nobody is told again.
 */
enum ksm_err store_boot(struct store *st, const char *boot_id, bool *changed,
    struct ksm_fail *fail);
/* The highest serial given in that repository becomes its synced mark. */
enum ksm_err store_repository_synced(struct store *st, int64_t row,
    int64_t serial, struct ksm_fail *fail);
/*
 * proved = no for every living key above its repository's synced mark, but for
 * quarantined ones: they are not proved again, and whether they were once tells
 * a key that a look saw whole from one that never was. Where nothing was ever
 * synced (no SyncPath), for those of the last hour on record: what is older was
 * written back by the kernel long since.
 */
enum ksm_err store_keys_doubt(struct store *st, int64_t *n,
    struct ksm_fail *fail);
/* The highest serial ever given; 0 when there is none. */
int64_t store_serial_last(const struct store *st);
int64_t store_serial_on_disk(const struct store *st); /* without the batch */

/* ---- zone list: the last good one stays in force -------------------- */

struct zone_count {
	char policy[256];
	int64_t zones, owners;
};
enum ksm_err store_zones_put(struct store *st, const struct zone_count *z,
    size_t n, ksm_time now, struct ksm_fail *fail);
/* *n == 0: none was ever recorded. free(*z). */
enum ksm_err store_zones_get(struct store *st, struct zone_count **z,
    size_t *n, ksm_time *when, struct ksm_fail *fail);

/* ---- runs: refills, append-only ------------------------------------- */

enum run_cause { RUN_AUTO, RUN_TOPUP, RUN_ONCE };
struct store_run {
	int64_t row;
	enum run_cause cause;
	int64_t uid, pid;  /* who asked; -1: nobody */
	int64_t max;	   /* --max, -1: MaxPerRun */
	ksm_time started, ended; /* ended 0: running or cut off */
	int64_t wanted, made, failed, held;
};
enum ksm_err store_run_start(struct store *st, struct store_run *run,
    struct ksm_fail *fail); /* fills run->row */
enum ksm_err store_run_end(struct store *st, const struct store_run *run,
    struct ksm_fail *fail);
/* The newest finished run; KSM_ENOENT when there is none. */
enum ksm_err store_run_last(struct store *st, struct store_run *out,
    struct ksm_fail *fail);

#endif
