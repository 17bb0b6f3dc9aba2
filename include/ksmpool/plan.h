/*
 * plan.h - from policies and stock to what must be made.
 *
 * Runs in: ksmpoold; ksmpool-config for its sums (core: pure, no clock).
 * Owns:    struct plan owns its arrays; names point into the conf it was
 *          made from, which must outlive it.
 * Units:   key pairs unless said otherwise.
 *
 * A pool is policy + role + repository + algorithm + size. Policy keys of
 * one policy that differ only in lifetime are one pool, their needs added.
 */
#ifndef KSMPOOL_PLAN_H
#define KSMPOOL_PLAN_H

#include "ksmpool/formula.h"

enum pool_level {
	LEVEL_FULL,	/* usable keys >= required */
	LEVEL_OK,	/* >= low water */
	LEVEL_LOW,
	LEVEL_CRITICAL, /* < U x n: "roll every key n times" is broken */
	LEVEL_EMPTY,
	LEVEL__COUNT
};
const char *pool_level_text(enum pool_level level);

/* One policy key of a pool, with every term of the formula. */
struct plan_term {
	const struct conf_key *key;
	struct formula_in in;
	struct formula_out out;
};

/* Who says which zones share a key. */
enum scope_by { SCOPE_BY_KASP, SCOPE_BY_KSMPOOL, SCOPE_BY_WHAT_IF };

struct plan_pool {
	const char *policy;	/* borrowed from conf */
	enum key_role role;
	const char *repository; /* borrowed from conf */
	int alg, bits;
	enum strategy strategy;
	enum key_scope scope; /* counted with: never SCOPE_KASP */
	enum scope_by scope_by;
	const struct conf_policy *policy_conf;
	const struct conf_repository *repository_conf;
	struct conf_pool settings; /* of the pool's first policy key */

	struct plan_term *terms;
	size_t nterms;

	int64_t required, low_water, critical;
	/*
	 * What a refill makes it up to: `required`, and with STRATEGY_FILL its
	 * share of the room that Capacity leaves when all pools are full (one
	 * that has more than its share keeps it, and it is not missing then).
	 */
	int64_t target;
	int64_t stock[KEY__STATES]; /* as given by plan_stock_set */
	int64_t coming;	 /* intended + unknown + made */
	int64_t ready;	 /* verified and unused */
	int64_t covered; /* of these, in a backup; as given by plan_cover_set */
	/*
	 * Could be taken now, and decides the level: ready, and covered where
	 * the repository has RequireBackup. What is to be made counts all the
	 * same, since no new key makes up for a backup.
	 */
	int64_t usable;
	int64_t deficit; /* target - coming - ready - taking, or 0 */
	int64_t capacity_short; /* of the deficit, does not fit the token */
	int64_t make;	 /* deficit that fits */
	enum pool_level level;
	bool passthrough;
};

/*
 * How much of Capacity the pools need: a token that is too small is to be
 * seen long before it is full. What STRATEGY_FILL adds does not count.
 */
enum plan_room {
	ROOM_OK,       /* below 75 %, or no limit */
	ROOM_WARNING,  /* 75 % */
	ROOM_CRITICAL, /* 90 % */
	ROOM__COUNT
};
const char *plan_room_text(enum plan_room room); /* "ok" */

/* Per repository, over all pools. */
struct plan_token {
	const struct conf_repository *repository;
	int64_t capacity;     /* in force or what-if; -1: no limit */
	int64_t pairs_held;   /* pairs of ours that take room, any state */
	int64_t pairs_make;   /* to be made */
	/*
	 * Pairs beyond Capacity once every pool is full: of each pool what it
	 * requires or, if more, has, and all other pairs. 0 when it fits.
	 */
	int64_t pairs_over;
	int64_t objects_held, objects_make; /* PKCS#11 objects */
	int64_t pairs_stock; /* of pairs_held: unused, in or for a pool */
	/*
	 * Room that the pools ask for: what each requires or, if more and not
	 * by STRATEGY_FILL, has, and all other pairs.
	 */
	int64_t pairs_need;
	int64_t pairs_free; /* capacity - pairs_held, or 0; -1: no limit */
	enum plan_room room;
};

struct plan {
	struct plan_pool *pools; /* policy order, KSK, ZSK, CSK */
	size_t npools;
	struct plan_token *tokens; /* conf order */
	size_t ntokens;
	struct plan_share *shares; /* of plan_level alone */
	int64_t required, deficit, make; /* sums */
};

/* What if: -1, or SCOPE_KASP, leaves a value as it is configured. */
struct plan_what_if {
	/*
	 * Of every policy that is not Passthrough; its owners are then as many
	 * for a zone as they are now, or one for each where it has no zone.
	 */
	int64_t zones;
	int64_t horizon;	 /* s, of every pool (minimum's horizon, too) */
	int64_t emergency_rolls; /* of every pool, minimum included */
	int64_t capacity;	 /* key pairs, of every repository */
	enum key_scope scope;	 /* of every pool; SCOPE_KASP: as it is */
};
#define PLAN_AS_CONFIGURED ((struct plan_what_if){ -1, -1, -1, -1, SCOPE_KASP })

/*
 * Pools and requirements, stock zero. `what` may be NULL: as configured.
 * KSM_EREFUSED: overflow, unknown repository, or what if owners shared keys
 * and nothing says which owner a zone has; with words.
 */
enum ksm_err plan_make(const struct conf *c, const struct plan_what_if *what,
    struct plan *out, struct ksm_fail *fail);
void plan_clear(struct plan *p);

/* NULL: there is none. Its place is what it returns less plan->pools. */
struct plan_pool *plan_pool_find(const struct plan *p, const char *policy,
    enum key_role role, const char *repository, int alg, int bits);

/* Put stock in; then plan_level works out deficit, capacity and level. */
void plan_stock_set(struct plan_pool *pool, enum key_state state, int64_t n);
/* How many of the ready keys are in a backup; before plan_level, too. */
void plan_cover_set(struct plan_pool *pool, int64_t covered);
/*
 * `held`: pairs of ours that take room in each token, in plan->tokens order,
 * of all pools, also those the policy no longer names: living ones, and those
 * on their way (intended, unknown), or two refills could together go over
 * Capacity. NULL: sums of the pools' own stock. Where Capacity does not hold
 * everything, room goes where the risk is: first every pool up to `critical`,
 * then up to low water, then up to `required`, then to STRATEGY_FILL; within
 * one step to the pool that has the smallest part of it, key by key in effect,
 * ties in the order of the plan.
 */
void plan_level(struct plan *p, const int64_t *held);

/* The level that the pool has with `usable` keys to take. */
enum pool_level plan_level_at(const struct plan_pool *pool, int64_t usable);

/*
 * How many seconds `have` unused keys of this pool last with nobody acting, in
 * the worst case the formula knows: until then draws, emergency rolls and
 * standby keys of its units are served. -1: not even now; INT64_MAX: for as
 * long as the formula counts (100 years).
 */
int64_t plan_pool_lasts(const struct plan_pool *pool, int64_t have);

/* PKCS#11 objects of one pair in that repository: 2, or 1. */
int plan_objects(const struct conf_repository *r, int alg);

#endif
