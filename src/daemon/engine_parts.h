/*
 * engine_parts.h - what the files of the engine share: engine.c, configure.c,
 * dispatch.c, answer.c, topup.c, settle.c with judge.c, errand.c with
 * errand_found.c and errand_item.c, take.c with take_choose.c, take_group.c,
 * take_record.c and handouts.c, view.c, order.c, and under them batch.c,
 * stock.c, repo.c and metric.c.
 *
 * Runs in: ksmpoold, replay tests. Private to those files.
 *
 * One repository has generator slots (<Sessions> of them), one look and one
 * errand. A look is one freshly exec'd process that enumerates the token, and
 * everything that follows from what it saw: it verifies the keys of a group,
 * settles unknown ones, finds missing ones. It is the only place where a
 * key's presence is judged. An errand is what an operator asked for; it and a
 * look take turns.
 */
#ifndef KSMPOOL_ENGINE_PARTS_H
#define KSMPOOL_ENGINE_PARTS_H

#include "ksmpool/backoff.h"
#include "ksmpool/duration.h"
#include "ksmpool/idmap.h"
#include "ksmpool/log.h"

#include "engine.h"
#include "engine_take.h"
#include "keycheck.h"
#include "store.h"

#define GROUP_MS	(10 * 1000) /* a made key waits no longer than this */
#define GROUP_LOOKS	4 /* or than so many looks last, in a large token */
#define COMMIT_MS	3000 /* results wait no longer; intents take them along */
#define COMMIT_RESULTS	256
#define INTENT_MAX	64
#define LOOK_MOST	4000000 /* ids; no token of ours holds so many */
#define POISON_DEATHS	3
#define WARM_KEYS	100 /* a refill of so many keeps its verifier */
#define WARM_LOOK_MS	300 /* a look that takes so long keeps it, too */
#define WARM_MS		(5 * 60 * 1000) /* and so long after its last look */
#define LOOK_EVERY_MS	(6 * 60 * 60 * 1000LL) /* with nothing to do */
#define WAITING_MS	500  /* between looks at an earlier worker's lock */
#define PARKED_MS	5000 /* between looks at the PIN source */
#define CLOCK_SLACK	5
#define CLOCK_LOOK_MS	1000 /* between looks at a clock that is wrong */
#define POOL_BAD	3 /* failed checks in a row that block a pool */
#define POOL_MISSES	4 /* failures in a row before a topup gives up */
#define TOPUP_LOOK_MS	(60 * 1000) /* an older look is taken again */
#define TICKETS_KEPT	64 /* finished, not fetched */
#define LOOK_DEADLINE	(10 * 60) /* s, at least, for an enumeration */
#define TROUBLED_TRIES	3    /* failures in a row that go into the history */
#define LOCKED_MS	250  /* between tries while others hold the lock */
#define LOCKED_LONG_MS	(120 * 1000) /* nobody waits for it any longer */
#define PLACE_MS	1000 /* between looks at the file of the database */
#define ERRAND_DEATHS	3    /* workers that one errand may lose */
#define DEADLINE_GONE	120  /* s, of a repository not configured any more */

struct slot {
	worker_no no; /* 0: no process */
	enum worker_purpose purpose;
	bool starting, busy, leaving, overdue;
	bool looking; /* what it was asked last changes nothing in the token */
	bool stuck; /* cannot be reaped: the slot is lost */
	int64_t job;
	int64_t generation; /* of the settings it was started with */
	/* a generator's open request */
	struct key_id id;
	int64_t pool_row;
	struct keycheck_want want;
	bool automatic;
	bool single;  /* its public half is not stored */
	int64_t made; /* for RecycleAfter */
	bool warm;    /* a verifier that stays for the next look */
};

enum look_step {
	LOOK_IDLE,
	LOOK_START,   /* process started, no hello yet */
	LOOK_LIST,    /* enumerating */
	LOOK_COMPARE, /* walking the rows */
	LOOK_APPLY,   /* moving states */
	LOOK_PROVE,   /* signatures of settled keys */
	LOOK_DESTROY, /* second look at half pairs */
	LOOK_END,
};

struct look_move {
	struct key_id id;
	enum key_state from, to;
	const char *why; /* static text */
};

struct look_half {
	struct key_id id;
	enum key_half half;
};

/* An array of ids that grows. */
struct id_list {
	struct key_id *ids;
	size_t n, allocated;
};
bool id_list_add(struct id_list *l, const struct key_id *id);
void id_list_clear(struct id_list *l);

struct look {
	enum look_step step;
	struct slot slot;
	int64_t serial_limit;	/* made later: not judged */
	struct idmap unknowns;	/* unknown before the enumeration began */
	struct idmap seen;
	int64_t cursor;
	int64_t living, found;	/* known sentinel rows, and seen of them */
	int64_t fresh, fresh_found; /* made since the look before */
	struct look_move *moves;
	size_t nmoves, amoves, at_move;
	struct key_id *proofs;
	size_t nproofs, aproofs, at_proof;
	struct look_half *halves;
	size_t nhalves, ahalves, at_half;
	struct idmap half_now;	/* half pairs of this look */
	uint8_t tag[KEY_TAG_LEN]; /* of this installation */
	struct id_list unfinished; /* destroying, and yet whole */
	int64_t foreign, nameless;
	int64_t pages, privates, publics; /* heard so far */
	int64_t settled_gone, settled_made;
	ksm_msec started;
	bool again;		/* another look is needed at once */
};

/* What an operator asked for; see errand.c. */
struct errand {
	int64_t number;
	enum errand_kind kind;
	char repository[128];
	char reason[256];
	struct store_actor who;
	int64_t debris;
	bool before_purge;
	bool forgotten; /* nobody waits for it: freed when it has ended */
	struct errand_state state;
	struct errand_item *items;
	struct errand_found *found;
	size_t afound;
	unsigned sorts; /* of an inventory, to be listed */
	struct key_id *only; /* in order; NULL: whatever id */
	size_t nonly;
	struct errand *next; /* the one that was asked for later */
};

enum job_step {
	JOB_IDLE,
	JOB_START,   /* process started, no hello yet */
	JOB_LIST,    /* it enumerates or inspects */
	JOB_COMPARE, /* walking the rows */
	JOB_SORT,    /* an inventory: what each id is */
	JOB_NEXT,    /* between two ids */
	JOB_PROVE,
	JOB_ACT,     /* the token was asked to destroy something */
	JOB_BETWEEN, /* a clean: the first of its two workers leaves */
};

struct sighting; /* one object, as an inventory saw it */

/* The errand of a repository that is being run, and its worker. */
struct job {
	struct errand *errand; /* NULL: none */
	enum job_step step;
	struct slot slot;
	int deaths;
	int at_deaths;	/* of them, with this id */
	bool crowded;	/* no session for it: others are to leave first */
	char cut[256];	/* it is to end, with these words; "" */
	size_t at;	/* of its items */
	ksm_msec warm_until; /* its worker stays idle until then; 0: it left */
	int64_t serial_limit, cursor, pages, privates, publics;
	int64_t living, found;	     /* rows that bear witness, and seen of them */
	int64_t fresh, fresh_found; /* the same of keys no look has seen yet */
	struct idmap seen;
	struct idmap halves; /* a clean: what its first worker saw */
	bool second;	     /* a clean: its second worker */
	bool again;	     /* its worker had an errand before this one */
	enum key_state *states; /* of its items; KEY__STATES: no row */
	bool *singles;
	struct sighting *sightings;
	size_t nsightings, asightings;
	int64_t debris;
};

struct repo {
	char name[128];
	const struct conf_repository *conf; /* NULL: no longer configured */
	int64_t generation; /* grows when its settings change */
	struct store_repository row;

	bool looked; /* a complete look since start, trouble or loss */
	bool look_wanted;
	bool alone;  /* no worker of ours was started yet: ask for the lock */
	bool waiting;
	bool single; /* the token has one session: look and generators in turn */
	bool hold;   /* a worker is to log in: no new key until it has */
	size_t most; /* generators that it has sessions for; 0: not known */
	bool scarce; /* a worker that waited cost another one its session */
	bool accept; /* the operator accepts the token as it is */
	char pin_seen[128]; /* print of the PIN source when it was parked */
	ksm_msec pin_at;

	struct slot *gens;
	size_t ngens;
	struct look look;
	struct job job;
	struct idmap halves; /* half pairs of the look before */
	struct key_id poison; /* the key whose proof a look last died of */
	int poison_deaths;
	int taken; /* ids in a row that the token said are taken */
	struct backoff cleaning; /* halves that the token does not give up */

	struct backoff backoff; /* workers that could not start or look */
	struct backoff making;	/* keys that did not come to be */
	char why[256];		/* of the last failure of either */
	ksm_msec next_paced;
	ksm_msec group_since; /* 0: no key waits to be verified */
	ksm_msec waiting_at;	/* next look at the lock */
	ksm_msec waiting_since;
	bool troubled; /* the history says that it is degraded */
	int64_t deaths;
	int64_t orphans, foreign; /* pairs not on record, at the last look */
	int64_t orphans_judged; /* locked for more, or not; -1: not yet */
	int64_t nameless;
	ksm_time looked_at;
	ksm_msec looked_ms;
	ksm_msec look_took; /* the last complete one, start to end */
};

/* What runs for one pool of the plan. */
struct prun {
	int64_t row; /* of the pool in the store */
	int64_t auto_made;
	bool automatic; /* a refill by itself is under way */
	bool explicit;	/* a topup is under way */
	int64_t left;	/* keys the topup may still start */
	bool blocked;	/* the token said it cannot do this */
	int bad;	/* keys in a row that failed their check */
	char trouble[256];
	/* rows intended and committed, not asked yet */
	struct key_id queue[INTENT_MAX];
	size_t nqueue;
	bool queue_automatic;
	int64_t ticket; /* the last topup that reached this pool */
};

/* Stock of every pool row of the store, wanted or not. */
struct tally {
	int64_t row;
	char repository[128];
	int64_t n[KEY__STATES];
	int64_t covered; /* of its ready keys */
};

struct ticket {
	int64_t number;
	char *policy; /* NULL: all */
	int64_t max;  /* keys per pool; -1: MaxPerRun */
	ksm_msec asked;
	struct topup_state state;
	struct store_run run;
	struct ticket *next;
};

/*
 * What a generator said, or that it died, while the database could not be
 * written: kept until it can be. At most one for each generator, which makes
 * no other key until then.
 */
struct kept {
	char repository[128];
	worker_no no;
	struct slot was;
	struct hsm_msg m; /* HSM_GENERATED, HSM_REFUSED; else it is unknown */
	char why[256];
	struct kept *next;
};

struct engine {
	struct store *store;
	struct engine_io io;
	struct conf conf;
	struct plan plan;
	struct prun *runs; /* one per pool of the plan */
	struct repo **repos;
	size_t nrepos, nconf; /* the first nconf are conf.repositories */
	struct tally *tallies;
	size_t ntallies;
	bool tallies_old, covers_old, levels_old;
	worker_no last_no;
	int64_t last_job, last_ticket;
	struct ticket *tickets;
	struct store_run auto_run;
	bool auto_running;
	ksm_time newest;
	bool clock_bad;
	ksm_msec batch_since; /* 0: no results wait */
	int batch_results;
	bool recover; /* the database cannot be written: nothing new is begun */
	bool lost;    /* a batch was lost: settle as after a restart */
	bool dead;    /* replaced or damaged: until we are started again */
	bool gone;    /* the file is not there and could not be put back */
	char store_why[256];
	ksm_msec locked_since, locked_at, place_at, stop_at, busy_at;
	struct backoff store_backoff;
	struct kept *kept, **kept_end;
	struct store_pause pause;
	struct errand *errands;
	int64_t last_errand;
	struct take *takes;
	int64_t last_take;
	engine_taken *taken; /* NULL: nobody is told */
	void *taken_ctx;
	struct journal *journal; /* NULL: it cannot be used */
	char journal_path[512], journal_why[LOCK_TEXT];
	int64_t journal_mark; /* the highest serial that it knew at the start */
	char handout_lock[LOCK_TEXT]; /* why nothing is handed out; "" */
	char journal_failing[LOCK_TEXT]; /* its last write failed; "" */
	bool closed_told; /* hand-outs are closed, and that is on record */
	ksm_msec closed_looked;
	bool take_sweep; /* keys are not yet what the hand-outs say */
	ksm_msec sweep_at;
	struct engine_metric *metrics;
	size_t nmetrics;
	struct engine_errors *errors;
	size_t nerrors;
	ksm_time last_topup;
	bool stopping;
	bool only_asked; /* --once: nothing is refilled by itself */
};

/* The engine looks again after `ms` at the latest. */
static inline void
wait_at_most(ksm_msec *wait, ksm_msec ms)
{
	if (ms < *wait)
		*wait = ms;
}

/* batch.c: the clocks, and the store with its open batch */
ksm_time engine_wall(struct engine *e);
ksm_msec engine_steady(struct engine *e);
/* Called often where one call may take minutes: whoever waits hears of it. */
void engine_busy(struct engine *e);
/* True for KSM_OK; a store failure is logged and starts recovery. */
bool batch_stored(struct engine *e, enum ksm_err err,
    const struct ksm_fail *fail, const char *doing);
bool batch_commit(struct engine *e);
/* A result waits for its commit. */
void batch_noted(struct engine *e);
void batch_commit_due(struct engine *e, ksm_msec *wait);
/* Can a result be written now? False while others hold the lock, too. */
bool batch_ready(struct engine *e);
/* Is the file still ours? */
void batch_place_look(struct engine *e, ksm_msec *wait);
/* KSM_OK, or why nothing an operator asks for can be put on record. */
enum ksm_err batch_may(struct engine *e, struct ksm_fail *fail);
/* One line of history, in the open batch. */
void batch_history(struct engine *e, struct store_actor who, const char *what,
    const char *subject, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* stock.c: counts of every pool row, and the plan's levels */
void stock_levels(struct engine *e);
struct tally *stock_tally(struct engine *e, int64_t pool_row);
void stock_moved(struct engine *e, int64_t pool_row, enum key_state from,
    enum key_state to); /* KEY__STATES: from or to nothing */

/* repo.c: one repository, its trouble and its workers */
struct repo *repo_find(struct engine *e, const char *name);
struct slot *repo_slot_find(struct engine *e, worker_no no, struct repo **r);
bool repo_usable(const struct repo *r);
/* A worker is logging in. */
bool repo_starting(const struct repo *r);
bool repo_any_busy(const struct engine *e);
bool repo_has_process(const struct repo *r);
/* Its troubles as the history tells them: when they begin and end. */
void repo_troubled(struct engine *e, struct repo *r);
/* The repository failed: back off, once more longer. */
void repo_failed(struct engine *e, struct repo *r, const char *why);
/*
 * A key did not come to be. Looks go on, and one that goes well forgives
 * nothing here: only a key that is made does.
 */
void repo_making_failed(struct engine *e, struct repo *r, const char *why);
void repo_park(struct engine *e, struct repo *r, const char *why,
    const char *pin_print);
void repo_alien(struct engine *e, struct repo *r, const char *why);
bool repo_worker_start(struct engine *e, struct repo *r, struct slot *s,
    enum worker_purpose purpose);
bool repo_worker_send(struct engine *e, struct repo *r, struct slot *s,
    const struct hsm_msg *m, int64_t deadline);
/* Ask for a signature over a challenge, by the key that the row names. */
void repo_prove(struct engine *e, struct repo *r, struct slot *s,
    const struct store_key *key);
/* One private object carries the id, and at most one public one. */
enum ksm_err proof_once(const struct hsm_proof *proof, struct ksm_fail *check);
/* The public key in the token is the one on record, which there must be. */
enum ksm_err proof_same(const struct key_facts *facts,
    const struct store_key *key, struct ksm_fail *check);
void repo_worker_leave(struct engine *e, struct slot *s);

/* configure.c */
void configure_repo_free(struct repo *r);
/* Repositories nobody configures any more go with their last worker. */
void configure_repos_forget(struct engine *e);
/* Ready keys that no pool asks for are surplus, and the other way round. */
void configure_surplus(struct engine *e);

/* dispatch.c: pools, refills, which key is made next */
void dispatch_configure(struct engine *e);
void dispatch_run(struct engine *e, ksm_msec *wait);
/* Give `s` the next key, if there is one to make now. */
void dispatch_assign(struct engine *e, struct repo *r, struct slot *s,
    ksm_msec *wait);
/* Beyond <Sessions>, or what the token has. */
bool dispatch_spare(const struct repo *r, size_t slot);
void dispatch_drop_queues(struct engine *e, bool forget_only);
/* Nothing more is to be made in this pool for now. */
void dispatch_block(struct engine *e, struct prun *run);
/* Keys are being made or could be started in this repository right now. */
bool dispatch_working(struct engine *e, struct repo *r);
/* Keys of this repository that will be made as fast as it allows. */
int64_t dispatch_left(struct engine *e, struct repo *r);
/* Milliseconds until a generator of it may be asked again. */
ksm_msec dispatch_wait(struct engine *e, const struct repo *r);
/* Failures in a row, as far as they still stand in somebody's way. */
int dispatch_tries(struct engine *e, const struct repo *r);
struct repo *dispatch_repo(struct engine *e, const struct plan_pool *p);
struct prun *dispatch_run_of(struct engine *e, int64_t pool_row,
    struct plan_pool **p);
/* False: the store failed, and the open batch is gone. */
bool dispatch_auto_made(struct engine *e, struct prun *run, int64_t n);
void dispatch_pool_name(const struct plan_pool *p, char out[400]);

/* answer.c: what generators say */
void answer_message(struct engine *e, struct repo *r, struct slot *s,
    struct hsm_msg *m);
void answer_exit(struct engine *e, struct repo *r, struct slot *s, bool asked,
    const char *how);
/* It cannot be reaped: its key is settled as if it had died. */
void answer_stuck(struct engine *e, struct repo *r, struct slot *s);
/* Any worker's first words; false: the token is another one. */
bool answer_hello(struct engine *e, struct repo *r, struct slot *s,
    const struct hsm_hello *h);
void answer_start_failed(struct engine *e, struct repo *r, struct slot *s,
    const struct hsm_failed *f);
/*
 * No other key has that public key. KSM_EREFUSED: one has, `check` names it;
 * KSM_ESTORE: not known, recovery has begun.
 */
enum ksm_err answer_key_fresh(struct engine *e, const struct key_id *id,
    const struct key_facts *facts, struct ksm_fail *check);
void answer_no_text(const struct hsm_no *no, char out[256]);
/* The database takes results again. */
void answer_kept(struct engine *e);
bool answer_is_kept(const struct engine *e, const struct key_id *id);
void answer_kept_clear(struct engine *e);

/* topup.c: refills that somebody asked for */
void topup_run(struct engine *e);
/* Somebody waits for a topup of it: no refill by itself meanwhile. */
bool topup_pending(const struct engine *e, const char *policy);
void topup_count(struct engine *e, int64_t pool_row, bool automatic,
    bool made);

/* judge.c: one row against what was seen; false: no memory */
bool look_judge(struct repo *r, struct look *l, const struct store_brief *b);

/* settle.c: looks */
void look_run(struct engine *e, struct repo *r, ksm_msec *wait);
void look_message(struct engine *e, struct repo *r, struct hsm_msg *m);
void look_exit(struct engine *e, struct repo *r, const char *how);
void look_abandon(struct engine *e, struct repo *r);
bool look_due(struct engine *e, struct repo *r);
void look_clear(struct look *l);

/* errand.c */
void errand_run(struct engine *e, struct repo *r, ksm_msec *wait);
void errand_message(struct engine *e, struct repo *r, struct hsm_msg *m);
void errand_exit(struct engine *e, struct repo *r, const char *how);
void errand_stuck(struct engine *e, struct repo *r);
/* End what is run for it, after the request that is open; `why` for whoever
 * waits. */
void errand_cut(struct engine *e, struct repo *r, const char *why);
/* One is run, and looks wait. */
bool errand_running(const struct repo *r);
/*
 * It is destroying objects, and no key is made beside it: SoftHSM tears pairs
 * that one process makes while another removes some.
 */
bool errand_destroys(const struct repo *r);
/* It needs the sessions of the others. */
bool errand_crowded(const struct engine *e, const struct repo *r);
/*
 * Prove keys before they are handed out, before whatever else waits; its
 * number, for engine_errand_state. 0: no memory.
 */
int64_t errand_prove(struct engine *e, const char *repository,
    const struct key_id *ids, size_t n);
/* Is that key being destroyed by it at this moment? */
bool errand_holds(const struct repo *r, const struct key_id *id);
/* Keys that were being destroyed when somebody died. */
void errand_finish_keys(struct engine *e, struct repo *r,
    const struct id_list *ids);
void errand_clear(struct engine *e);
void errands_homeless(struct engine *e);
void job_clear(struct job *j);

/* view.c */
/* Nothing is made and nothing looked at. */
bool pause_now(struct engine *e);
void pause_text(struct engine *e, char out[256]);

/* order.c: what an operator orders, but topups and errands */
struct pool_words {
	const char *policy, *repository; /* repository NULL: any */
	enum key_role role;
	int alg; /* 0: the only one */
};
/*
 * A pool of the plan as an operator names it. KSM_ENOENT: no such policy;
 * KSM_EREFUSED: none, or several; the words name those there are.
 */
enum ksm_err order_pool_find(struct engine *e, const struct pool_words *want,
    size_t *out, struct ksm_fail *fail);
void pause_look(struct engine *e, ksm_msec *wait);

/* take.c: keys are handed out (engine_take.h) */
void take_run(struct engine *e, ksm_msec *wait);
/* Some are on their way: a stop waits for them. */
bool take_busy(const struct engine *e);
/* The journal has some that the database has not yet. */
bool take_recording(const struct engine *e);
/* Is that key on its way to somebody? */
bool take_holds(const struct engine *e, const struct key_id *id);
void take_clear(struct engine *e);

/* handouts.c: journal and database side by side */
/* What stands in the way of all hand-outs; false: nothing. */
bool handouts_closed(struct engine *e, char out[LOCK_TEXT]);
/* Until an operator has looked; on record. */
void handouts_lock(struct engine *e, const char *why);
void handouts_look(struct engine *e);

/* metric.c */
void metric_made(struct engine *e, const char *repository, int alg, int bits,
    ksm_msec took);
/* Never NULL; what finds no room is counted where nobody reads it. */
struct engine_errors *metric_errors(struct engine *e, const char *repository);
void metric_clear(struct engine *e);

/* Lines about something, for whoever reads them as fields. */
#define LOG_REPO(level, r, ...)                                                \
	log_event(level, &(struct log_about){ .repository = (r)->name },       \
	    __VA_ARGS__)
#define LOG_KEY(level, r, hex, ...)                                            \
	log_event(level,                                                       \
	    &(struct log_about){ .repository = (r)->name, .key = (hex) },      \
	    __VA_ARGS__)
#define LOG_POOL(level, p, ...)                                                \
	log_event(level,                                                       \
	    &(struct log_about){ .policy = (p)->policy,                        \
		.role = key_role_text((p)->role),                              \
		.repository = (p)->repository },                               \
	    __VA_ARGS__)

#endif
