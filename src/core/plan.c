#include "ksmpool/plan.h"

#include "ksmpool/alg.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const level_text[LEVEL__COUNT] = {
	[LEVEL_FULL]     = "full",
	[LEVEL_OK]       = "ok",
	[LEVEL_LOW]      = "low",
	[LEVEL_CRITICAL] = "critical",
	[LEVEL_EMPTY]    = "empty",
};

const char *
pool_level_text(enum pool_level level)
{
	if ((unsigned)level >= LEVEL__COUNT)
		return "?";
	return level_text[level];
}

/*
 * An EC public key cannot be worked out of the private object, so its public
 * half is stored whatever SkipPublicKey says.
 */
int
plan_objects(const struct conf_repository *r, int alg)
{
	const struct alg *a = alg_find(alg);

	return r->skip_public_key && a != NULL && a->family == ALG_RSA ? 1 : 2;
}

struct plan_pool *
plan_pool_find(struct plan *p, const char *policy, enum key_role role,
    const char *repository, int alg, int bits)
{
	for (size_t i = 0; i < p->npools; i++) {
		struct plan_pool *pool = &p->pools[i];

		if (pool->role == role && pool->alg == alg &&
		    pool->bits == bits && strcmp(pool->policy, policy) == 0 &&
		    strcmp(pool->repository, repository) == 0)
			return pool;
	}
	return NULL;
}

static struct plan_token *
token_find(struct plan *p, const char *repository)
{
	for (size_t i = 0; i < p->ntokens; i++) {
		if (strcmp(p->tokens[i].repository->name, repository) == 0)
			return &p->tokens[i];
	}
	return NULL;
}

/* The pool that `key` draws from; made, and empty, when there is none yet. */
static enum ksm_err
pool_get(struct plan *p, const struct conf_policy *policy,
    const struct conf_key *key, struct plan_pool **out, struct ksm_fail *fail)
{
	struct plan_token *token;
	struct plan_pool *pools, *pool;

	pool = plan_pool_find(p, policy->name, key->role, key->repository,
	    key->alg, key->bits);
	if (pool != NULL) {
		*out = pool;
		return KSM_OK;
	}
	token = token_find(p, key->repository);
	if (token == NULL)
		return ksm_failf(fail, KSM_EREFUSED,
		    "repository \"%s\" is not configured", key->repository);
	pools = realloc(p->pools, (p->npools + 1) * sizeof(*pools));
	if (pools == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "no memory for a pool");
	p->pools = pools;
	pool = &pools[p->npools++];
	*pool = (struct plan_pool){
		.policy = policy->name,
		.role = key->role,
		.repository = token->repository->name,
		.alg = key->alg,
		.bits = key->bits,
		.strategy = key->pool.strategy,
		.policy_conf = policy,
		.repository_conf = token->repository,
		.settings = key->pool,
		.passthrough = policy->passthrough,
	};
	*out = pool;
	return KSM_OK;
}

static enum ksm_err
term_add(struct plan_pool *pool, const struct conf_key *key, int64_t zones,
    struct ksm_fail *fail)
{
	const struct conf_pool *set = &pool->settings;
	struct plan_term term = {
		.key = key,
		.in = {
			.zones = zones,
			.shared = pool->policy_conf->share_keys,
			.passthrough = pool->passthrough,
			.lifetime = key->lifetime,
			.horizon = set->horizon,
			.rolls = set->emergency_rolls,
			.standby = key->standby,
			.growth = set->growth,
		},
	};
	struct plan_term *terms;
	enum ksm_err err;

	if (pool->strategy == STRATEGY_MINIMUM) {
		term.in.horizon = set->minimum_horizon;
		term.in.rolls = 0;
		term.in.growth = 0;
	}
	err = formula_required(&term.in, &term.out, fail);
	if (err != KSM_OK)
		return err;
	if (__builtin_add_overflow(pool->required, term.out.required,
	    &pool->required))
		return ksm_failf(fail, KSM_EREFUSED,
		    "required keys do not fit 64 bits: %" PRId64 " more than "
		    "those of the other lifetimes", term.out.required);
	/* At most `required`, of which it is a part. */
	pool->critical += term.out.critical;

	terms = realloc(pool->terms, (pool->nterms + 1) * sizeof(*terms));
	if (terms == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "no memory for a pool");
	pool->terms = terms;
	terms[pool->nterms++] = term;
	return KSM_OK;
}

/* What the settings make of the sum of the terms. */
static enum ksm_err
pool_finish(struct plan_pool *pool, struct ksm_fail *fail)
{
	const struct conf_pool *set = &pool->settings;

	if (pool->strategy == STRATEGY_FIXED && !pool->passthrough) {
		if (set->fixed < 0)
			return ksm_failf(fail, KSM_EREFUSED,
			    "a fixed number of keys cannot be negative: "
			    "%" PRId64, set->fixed);
		pool->required = set->fixed;
		if (pool->critical > pool->required)
			pool->critical = pool->required;
	}
	if (set->low_water < 0 || set->low_water > 100)
		return ksm_failf(fail, KSM_EREFUSED,
		    "low water is 0 to 100 percent, not %" PRId64,
		    set->low_water);
	/* Hundreds and rest apart, so that nothing can overflow. */
	pool->low_water = pool->required / 100 * set->low_water +
	    (pool->required % 100 * set->low_water + 99) / 100;
	return KSM_OK;
}

static enum ksm_err
policy_plan(struct plan *p, const struct conf_policy *policy, int64_t zones,
    struct ksm_fail *fail)
{
	size_t first = p->npools;
	enum ksm_err err;

	for (int role = 0; role < ROLE__COUNT; role++) {
		for (size_t i = 0; i < policy->nkeys; i++) {
			const struct conf_key *key = &policy->keys[i];
			struct plan_pool *pool = NULL;

			if ((int)key->role != role)
				continue;
			err = pool_get(p, policy, key, &pool, fail);
			if (err == KSM_OK)
				err = term_add(pool, key, zones, fail);
			if (err != KSM_OK) {
				(void)ksm_fail_before(fail, "policy \"%s\", %s",
				    policy->name, key_role_text(key->role));
				return err;
			}
		}
	}
	for (size_t i = first; i < p->npools; i++) {
		struct plan_pool *pool = &p->pools[i];

		err = pool_finish(pool, fail);
		if (err != KSM_OK) {
			(void)ksm_fail_before(fail, "policy \"%s\", %s",
			    policy->name, key_role_text(pool->role));
			return err;
		}
	}
	return KSM_OK;
}

enum ksm_err
plan_make(const struct conf *c, const struct plan_what_if *what,
    struct plan *out, struct ksm_fail *fail)
{
	int64_t zones_override = what != NULL ? what->zones : -1;
	struct plan p = { 0 };
	enum ksm_err err = KSM_OK;

	if (c->nrepositories > 0) {
		p.tokens = calloc(c->nrepositories, sizeof(*p.tokens));
		if (p.tokens == NULL) {
			err = ksm_failf(fail, KSM_ENOMEM,
			    "no memory for a plan");
			goto out;
		}
	}
	for (; p.ntokens < c->nrepositories; p.ntokens++)
		p.tokens[p.ntokens].repository = &c->repositories[p.ntokens];

	for (size_t i = 0; i < c->npolicies; i++) {
		const struct conf_policy *policy = &c->policies[i];

		err = policy_plan(&p, policy,
		    zones_override >= 0 ? zones_override : policy->zones, fail);
		if (err != KSM_OK)
			goto out;
	}
	for (size_t i = 0; i < p.npools; i++) {
		if (__builtin_add_overflow(p.required, p.pools[i].required,
		    &p.required)) {
			err = ksm_failf(fail, KSM_EREFUSED,
			    "the required keys of all pools do not fit 64 "
			    "bits: %" PRId64 " in policy \"%s\" alone",
			    p.pools[i].required, p.pools[i].policy);
			goto out;
		}
	}
	plan_level(&p, NULL);
	*out = p;
	memset(&p, 0, sizeof(p));
out:
	plan_clear(&p);
	return err;
}

void
plan_clear(struct plan *p)
{
	for (size_t i = 0; i < p->npools; i++)
		free(p->pools[i].terms);
	free(p->pools);
	free(p->tokens);
	memset(p, 0, sizeof(*p));
}

void
plan_stock_set(struct plan_pool *pool, enum key_state state, int64_t n)
{
	assert((unsigned)state < KEY__STATES);
	pool->stock[state] = n;
}

static int64_t
above(int64_t a, int64_t b)
{
	return a > b ? a - b : 0;
}

/* Sums of counts from a database stay where they are at the end of 64 bits. */
static int64_t
plus(int64_t a, int64_t b)
{
	int64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static int64_t
times(int64_t n, int objects)
{
	int64_t product;

	return __builtin_mul_overflow(n, objects, &product) ? INT64_MAX :
	    product;
}

static enum pool_level
pool_level(const struct plan_pool *pool)
{
	if (pool->ready >= pool->required)
		return LEVEL_FULL;
	if (pool->ready == 0)
		return LEVEL_EMPTY;
	if (pool->ready < pool->critical)
		return LEVEL_CRITICAL;
	return pool->ready >= pool->low_water ? LEVEL_OK : LEVEL_LOW;
}

/* What is asked for and not in the token yet needs room as if it were. */
static bool
takes_room(enum key_state state)
{
	return key_state_living(state) || key_state_stock(state);
}

/* Pairs of this pool in the states that `in` says yes to. */
static int64_t
pool_pairs(const struct plan_pool *pool, bool (*in)(enum key_state))
{
	int64_t n = 0;

	for (int i = 0; i < KEY__STATES; i++) {
		if (in((enum key_state)i))
			n = plus(n, pool->stock[i]);
	}
	return n;
}

static void
token_level(struct plan *p, struct plan_token *token, const int64_t *held)
{
	const struct conf_repository *r = token->repository;
	int64_t known = 0, known_objects = 0; /* of the pools of this plan */
	int64_t stocked = 0; /* of these, the stock of a pool */
	int64_t wanted = 0;  /* what the pools will hold when all are full */
	int64_t room;

	for (size_t i = 0; i < p->npools; i++) {
		struct plan_pool *pool = &p->pools[i];
		int64_t pairs, stock;

		if (pool->repository_conf != r)
			continue;
		pairs = pool_pairs(pool, takes_room);
		stock = pool_pairs(pool, key_state_stock);
		known = plus(known, pairs);
		known_objects = plus(known_objects,
		    times(pairs, plan_objects(r, pool->alg)));
		stocked = plus(stocked, stock);
		wanted = plus(wanted,
		    stock > pool->required ? stock : pool->required);
		pool->deficit = above(pool->required, stock);
	}
	token->pairs_held = held != NULL ? *held : known;
	/*
	 * Pairs that no pool of this plan knows: their algorithm is not known
	 * here, so they count whole.
	 */
	token->objects_held = plus(known_objects,
	    times(above(token->pairs_held, known), 2));
	token->pairs_make = 0;
	token->objects_make = 0;
	token->pairs_over = 0;
	if (r->capacity >= 0)
		token->pairs_over = above(
		    plus(wanted, above(token->pairs_held, stocked)),
		    r->capacity);

	room = r->capacity < 0 ? INT64_MAX :
	    above(r->capacity, token->pairs_held);
	for (size_t i = 0; i < p->npools; i++) {
		struct plan_pool *pool = &p->pools[i];

		if (pool->repository_conf != r)
			continue;
		pool->make = pool->deficit < room ? pool->deficit : room;
		pool->capacity_short = pool->deficit - pool->make;
		if (r->capacity >= 0)
			room -= pool->make;
		token->pairs_make = plus(token->pairs_make, pool->make);
		token->objects_make = plus(token->objects_make,
		    times(pool->make, plan_objects(r, pool->alg)));
	}
}

void
plan_level(struct plan *p, const int64_t *held)
{
	p->deficit = 0;
	p->make = 0;
	for (size_t i = 0; i < p->ntokens; i++)
		token_level(p, &p->tokens[i], held != NULL ? &held[i] : NULL);
	for (size_t i = 0; i < p->npools; i++) {
		struct plan_pool *pool = &p->pools[i];

		pool->coming = plus(plus(pool->stock[KEY_INTENDED],
		    pool->stock[KEY_UNKNOWN]), pool->stock[KEY_MADE]);
		pool->ready = pool->stock[KEY_READY];
		pool->level = pool_level(pool);
		/* Each is at most `required`, and that sum was checked. */
		p->deficit += pool->deficit;
		p->make += pool->make;
	}
}
