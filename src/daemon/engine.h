/*
 * engine.h - decides what every repository does next.
 *
 * Runs in: ksmpoold, and the replay tests with an invented world behind
 *          struct engine_io.
 * Owns:    the plan, the configuration in force, per-repository state; it
 *          borrows the store.
 * Blocks:  on the store only.
 *
 * Level-triggered: after every event the caller runs engine_run, which looks
 * at what is and starts what is due. It makes no system call but through
 * engine_io and the store.
 */
#ifndef KSMPOOL_ENGINE_H
#define KSMPOOL_ENGINE_H

#include "ksmpool/msg_hsm.h"
#include "ksmpool/plan.h"

#include "store.h"

struct engine;

/* A worker as the engine sees it: a number given by the engine. */
typedef int64_t worker_no;

struct engine_io {
	void *ctx;
	ksm_time (*wall)(void *ctx);
	ksm_msec (*steady)(void *ctx);
	void (*random)(void *ctx, void *buf, size_t len);
	/*
	 * Start ksmpool-hsm and send `start`. Its hello, answers and exit come
	 * back as engine_on_*. KSM_EBUSY: an earlier worker still holds the
	 * repository's lock (only when `alone` was asked). `pin_print` goes
	 * into start.refused_pin.
	 */
	enum ksm_err (*worker_start)(void *ctx, worker_no no,
	    const struct conf_repository *r, enum worker_purpose purpose,
	    bool alone, const char *refused_pin, struct ksm_fail *fail);
	/* One request; the deadline arms now. */
	enum ksm_err (*worker_send)(void *ctx, worker_no no,
	    const struct hsm_msg *m, ksm_msec deadline, ksm_msec kill_after,
	    struct ksm_fail *fail);
	void (*worker_leave)(void *ctx, worker_no no);
	/* It broke the protocol: SIGKILL, whatever it is doing. */
	void (*worker_kill)(void *ctx, worker_no no, const char *why);
	/* A print of the repository's PIN source (stat), to see it change. */
	void (*pin_source_print)(void *ctx, const struct conf_repository *r,
	    char out[128]);
	/* Still here, in a call that takes long; once a second. NULL: nobody. */
	void (*busy)(void *ctx);
};

enum ksm_err engine_new(struct store *st, const struct engine_io *io,
    struct engine **out, struct ksm_fail *fail);
void engine_free(struct engine *e);

/*
 * Put a configuration in force, whole or not at all; on KSM_OK the engine
 * owns *c's contents (it is left empty). Workers of repositories whose
 * settings changed are replaced when idle.
 */
enum ksm_err engine_configure(struct engine *e, struct conf *c,
    struct ksm_fail *fail);
const struct conf *engine_conf(const struct engine *e);

/* Do what is due. Returns milliseconds until it must be called again. */
ksm_msec engine_run(struct engine *e);

/* Events from the supervisor. */
void engine_on_message(struct engine *e, worker_no no, struct hsm_msg *m);
void engine_on_overdue(struct engine *e, worker_no no);
/* `asked`: a request was open. `how`: "exit 1", "signal 9". */
void engine_on_exit(struct engine *e, worker_no no, bool asked,
    const char *how);
/* Idle, it closed its socket and lives: it will be ended. */
void engine_on_deaf(struct engine *e, worker_no no);
/* A process that cannot be reaped. */
void engine_on_stuck(struct engine *e, worker_no no);

/*
 * Stop: nothing new is started; true when no generator is busy and all
 * results are committed.
 */
void engine_stop(struct engine *e);
bool engine_stopped(const struct engine *e);

/* ---- what commands ask ---------------------------------------------- */

/*
 * Every function below that changes something takes who asked for it and
 * writes that to the history, in the same batch; KSM_OK means it is on disk.
 */

/*
 * The plan with fresh stock; borrowed until the next call that is none of
 * engine_repository_view and engine_pool_*: those may count its stock anew,
 * but it stays where it is.
 */
const struct plan *engine_plan(struct engine *e);

enum repository_status {
	REPO_OK,
	REPO_STARTING, /* first look not done yet */
	REPO_WAITING,  /* an earlier worker still holds the lock */
	REPO_DEGRADED, /* token absent or failing: retried, see `until` */
	REPO_PARKED,
	REPO_ALIEN,
	REPO_STUCK,    /* a worker cannot be reaped */
	REPO__COUNT
};
const char *repository_status_text(enum repository_status s);

struct repository_view {
	const struct conf_repository *conf;
	enum repository_status status;
	char reason[256];      /* "" when ok */
	ksm_msec retry_in;     /* degraded: until the next try */
	char token_label[128], token_serial[64];
	int generators, busy, overdue;
	int64_t unknown, made; /* being settled, being verified */
	int64_t missing, quarantined;
	int64_t orphans;       /* ours by tag, without a row */
	int64_t foreign;       /* pairs of others, at the last look */
	int64_t nameless;      /* debris, objects */
	int64_t deaths;	       /* workers that died, since start */
	ksm_time looked;       /* last complete look; 0 never */
};
size_t engine_repositories(const struct engine *e);
void engine_repository_view(struct engine *e, size_t i,
    struct repository_view *out);

/*
 * Why a pool is not being filled, or may not be as full as it looks: "" when
 * nothing stands in the way.
 */
void engine_pool_trouble(struct engine *e, size_t pool, char out[256]);
/* Keys held back by MaxPerRun in pool i of the plan. */
int64_t engine_pool_held(struct engine *e, size_t pool);
/* Measured ms per key, 0 when never measured. */
ksm_msec engine_pool_rate(struct engine *e, size_t pool);
/* True and the words when the clock is behind the newest record. */
bool engine_clock_trouble(struct engine *e, char out[256]);
/* True and the words when the database cannot be written now, or ever again. */
bool engine_store_trouble(struct engine *e, char out[256]);

/*
 * An explicit top-up of all pools, or those of `policy`. Pools that are full
 * cost nothing. Its state is `done` after a later engine_run, when every pool
 * of it is full, held back or in trouble, or the engine stops.
 */
/* While paused a topup is refused (KSM_EREFUSED, with words). */
struct topup_want {
	const char *policy; /* NULL: all; unknown names: KSM_ENOENT */
	int64_t max;	    /* keys per pool, -1: each pool's MaxPerRun */
	enum run_cause cause;
	int64_t uid, pid;
};
struct topup_state {
	int64_t wanted, made, failed, held;
	bool done;
	bool full; /* every pool of it has what is required */
	char trouble[512]; /* first reasons, "" */
};
enum ksm_err engine_topup(struct engine *e, const struct topup_want *want,
    int64_t *ticket, struct ksm_fail *fail);
/*
 * KSM_ENOENT: no such ticket. A finished one is kept until it is forgotten or
 * engine_topup has given 64 newer ones that have finished as well: whoever
 * waits for one asks after every engine_run.
 */
enum ksm_err engine_topup_state(struct engine *e, int64_t ticket,
    struct topup_state *out);
void engine_topup_forget(struct engine *e, int64_t ticket);

/*
 * Lift parking or back-off; with accept_token an alien token becomes the
 * repository's token. KSM_ENOENT: no such repository.
 */
enum ksm_err engine_repository_resume(struct engine *e, const char *name,
    bool accept_token, struct store_actor who, struct ksm_fail *fail);

/*
 * Pause: no key is made and nothing is looked at; keys that are being made are
 * finished and recorded, workers leave. It outlives a restart. Errands go on:
 * an operator asks for them. `until` PAUSE_OPEN: until engine_unpause.
 */
enum ksm_err engine_pause(struct engine *e, ksm_time until, const char *reason,
    struct store_actor who, struct ksm_fail *fail);
/* *was: it was paused. */
enum ksm_err engine_unpause(struct engine *e, struct store_actor who,
    bool *was, struct ksm_fail *fail);
/* until 0: not paused. */
void engine_pause_view(const struct engine *e, struct store_pause *out);

/*
 * The clock is right and the record is not: creation dates go on from now.
 * *before: what the newest record said. KSM_EREFUSED: there is no dispute.
 */
enum ksm_err engine_clock_accept(struct engine *e, const char *reason,
    struct store_actor who, ksm_time *before, struct ksm_fail *fail);

/* The reason of a key that came back begins so; no other taken key has it. */
#define KEY_RETURNED_WHY "unused: "

/*
 * ready, surplus, taken -> retired: never handed out again, kept until it is
 * destroyed. KSM_ENOENT: no such key. KSM_EREFUSED: its state does not allow
 * it, or the reason would make it a key that came back; `fail` names it and
 * what would.
 */
enum ksm_err engine_key_retire(struct engine *e, const struct key_id *id,
    const char *reason, struct store_actor who, struct ksm_fail *fail);

/*
 * taken -> retired, because nobody came to use it: it is never ready again,
 * since whoever had it may have. KSM_EREFUSED: it is not taken.
 */
enum ksm_err engine_key_return(struct engine *e, const struct key_id *id,
    const char *reason, struct store_actor who, struct ksm_fail *fail);

/*
 * Until when a retired key that a zone has used is kept: signatures of it may
 * be in caches for so long as Purge of its policy says. 0: no such time.
 */
enum ksm_err engine_key_kept_until(struct engine *e, const struct store_key *k,
    ksm_time *until, struct ksm_fail *fail);
/* The same as why it is not destroyed yet; "": it may be. */
#define KEPT_TEXT 256
enum ksm_err engine_key_kept(struct engine *e, const struct store_key *k,
    char out[KEPT_TEXT], struct ksm_fail *fail);

/*
 * A pair that is in the token and not on record becomes a key of that pool: a
 * row in state unknown, settled by a look at once. The pool must be one of
 * the plan; alg 0: the only one of policy, role and repository (KSM_EREFUSED
 * names those there are). Whether the pair is there, the caller has found out
 * by an inventory.
 */
struct adopt_want {
	struct key_id id;
	const char *policy, *repository, *reason;
	enum key_role role;
	int alg;
	struct store_actor who;
	bool dry_run; /* only whether it could be */
};
enum ksm_err engine_key_adopt(struct engine *e, const struct adopt_want *want,
    struct ksm_fail *fail);

/*
 * Errands: what an operator has done in a token, in a worker of its own that
 * is started for it (inspector or destroyer). One at a time per repository;
 * further ones wait. As with topups, its state is kept until it is forgotten.
 *
 *   INVENTORY  one search pass over every object; nothing is touched.
 *   DESTROY    pairs on record: each in ready, surplus, quarantined, retired
 *              or (interrupted) destroying; others are refused one by one.
 *              Proven to be what the record says first: the public key that
 *              the handle gives is the one on record. `destroying` is on disk
 *              before the token is asked.
 *   CLEAN      halves: ids of this installation whose other half is nowhere,
 *              not on record as living; each seen by two processes.
 *   SWEEP      debris, exactly `debris` objects, or nothing is touched.
 */
enum errand_kind {
	ERRAND_INVENTORY,
	ERRAND_DESTROY,
	ERRAND_CLEAN,
	ERRAND_SWEEP,
	ERRAND_PROVE, /* of take.c alone: keys that are to be handed out */
	ERRAND__COUNT
};
struct errand_want {
	enum errand_kind kind;
	const char *repository;
	const struct key_id *ids; /* DESTROY, CLEAN; copied */
	size_t nids;
	/*
	 * INVENTORY: what of it is kept to be listed, bits FOUND_BIT(sort), and
	 * if `only` is not NULL of these ids alone (copied). All is counted.
	 */
	unsigned sorts;
	const struct key_id *only;
	size_t nonly;
	int64_t debris; /* SWEEP */
	bool before_purge; /* DESTROY: also what engine_key_kept keeps */
	const char *reason;
	struct store_actor who;
};
/* What became of one id. */
struct errand_item {
	struct key_id id;
	bool done;
	bool bad;    /* PROVE: it will not be right when tried again */
	bool single; /* PROVE: it has no public object */
	char text[256]; /* why not, "" */
};
/* One pair, or what is alone, as an inventory saw it. */
enum found_sort {
	FOUND_OURS,	/* on record and whole, as it should be */
	FOUND_MISSING,	/* on record as living, not in the token */
	FOUND_HALF,	/* ours, on record or not, and only a half */
	FOUND_DOUBLED,	/* ours, several objects with its id */
	FOUND_ORPHAN,	/* id of this installation, whole, not on record */
	FOUND_ELSEWHERE, /* on record, but of another repository */
	FOUND_LEFT,	/* on record as history (destroyed, gone), yet there */
	FOUND_FOREIGN,	/* of other programs, key objects */
	FOUND_DEBRIS,
	FOUND_OTHER,	/* certificates, data, secret keys */
	FOUND__COUNT
};
const char *found_sort_text(enum found_sort s); /* "ours" */
#define FOUND_BIT(sort) (1U << (sort))
#define FOUND_ANY	(FOUND_BIT(FOUND__COUNT) - 1)
struct errand_found {
	enum found_sort sort;
	char id[2 * 64 + 1];
	int64_t idlen;
	int privates, publics, others; /* objects */
	char label[128];
	int64_t key_type, bits;
	bool on_record;
	enum key_state state; /* when on record */
};
struct errand_state {
	bool done;
	bool failed; /* as a whole; text says why */
	char text[512];
	size_t nitems;
	const struct errand_item *items; /* borrowed */
	int64_t swept;
	/* INVENTORY: FOUND_OURS is counted, the rest can be listed. */
	int64_t counts[FOUND__COUNT];
	bool cut; /* more was to be listed than FOUND_MOST */
	size_t nfound;
	const struct errand_found *found; /* borrowed, in order of id */
};
#define FOUND_MOST 100000 /* listed by one inventory; more are counted */
/* KSM_ENOENT: no such repository; KSM_EREFUSED: parked, alien, stuck. */
enum ksm_err engine_errand(struct engine *e, const struct errand_want *want,
    int64_t *ticket, struct ksm_fail *fail);
enum ksm_err engine_errand_state(struct engine *e, int64_t ticket,
    struct errand_state *out);
/* Not done yet: it is given up, but what was asked of the token is settled. */
void engine_errand_forget(struct engine *e, int64_t ticket);

/*
 * A change that a command makes in the store by itself is an order, too:
 * nothing of the engine's open batch may be lost by it, and a database that is
 * not ours any more takes none. begin; on KSM_OK change the store; then end,
 * with what the change said. `what` in words, for the log.
 */
enum ksm_err engine_order_begin(struct engine *e, struct store_actor who,
    struct ksm_fail *fail);
enum ksm_err engine_order_end(struct engine *e, enum ksm_err err,
    const char *what, struct ksm_fail *fail);
/* An order that is nothing but its line of history. */
enum ksm_err engine_note(struct engine *e, struct store_actor who,
    const char *what, const char *subject, const char *why,
    struct ksm_fail *fail);
/* The same, on disk with the next commit. */
enum ksm_err engine_note_soon(struct engine *e, struct store_actor who,
    const char *what, const char *subject, const char *why,
    struct ksm_fail *fail);

/*
 * Counters since the daemon started, for metrics. Labels are repositories,
 * algorithms, sizes and the groups of PKCS#11 return codes: bounded.
 */
#define METRIC_BUCKETS 12
extern const int64_t metric_bounds_ms[METRIC_BUCKETS]; /* 5 ms ... 10 min */
struct engine_metric {
	const char *repository;
	int alg, bits;
	int64_t generated; /* keys made and recorded */
	int64_t bucket[METRIC_BUCKETS + 1]; /* not cumulative */
	int64_t sum_ms;
};
struct engine_errors {
	const char *repository;
	int64_t refused[CKRG__COUNT]; /* clear noes by group */
	int64_t unknown, check, start, deaths;
};
size_t engine_metrics(const struct engine *e, const struct engine_metric **out);
size_t engine_error_counts(const struct engine *e,
    const struct engine_errors **out);
/* When every pool was last full after a run; 0: not since it is on record. */
ksm_time engine_last_topup(const struct engine *e);

#endif
