#include "ksmpool/plan.h"

#include "ksmpool/alg.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * A pool in the sharing of a token's room. It has `have` keys of `need` and
 * may get up to `most`; the next key goes to the pool with the smallest
 * have/need, the first in the plan among equals. So key number j of a pool
 * (from 0) has the place j/need in the queue, and nobody has to walk through
 * a queue of 10^9 keys: how many of them stand before a given place is one
 * division for each pool.
 */
struct plan_share {
	struct plan_pool *pool;
	int64_t have, need, most;
};

__extension__ typedef unsigned __int128 wide;

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

static const char *const room_text[ROOM__COUNT] = {
	[ROOM_OK]       = "ok",
	[ROOM_WARNING]  = "warning",
	[ROOM_CRITICAL] = "critical",
};

const char *
plan_room_text(enum plan_room room)
{
	if ((unsigned)room >= ROOM__COUNT)
		return "?";
	return room_text[room];
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
plan_pool_find(const struct plan *p, const char *policy, enum key_role role,
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

static int64_t
above(int64_t a, int64_t b)
{
	return a > b ? a - b : 0;
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

/* Scope of ksmpool.xml wins over ShareKeys of kasp.xml. */
static void
scope_set(struct plan_pool *pool, const struct conf_policy *policy,
    const struct conf_key *key, const struct plan_what_if *what)
{
	if (what->scope != SCOPE_KASP) {
		pool->scope = what->scope;
		pool->scope_by = SCOPE_BY_WHAT_IF;
	} else if (key->pool.scope != SCOPE_KASP) {
		pool->scope = key->pool.scope;
		pool->scope_by = SCOPE_BY_KSMPOOL;
	} else {
		pool->scope = policy->share_keys ? SCOPE_POLICY : SCOPE_ZONE;
		pool->scope_by = SCOPE_BY_KASP;
	}
}

/* The pool that `key` draws from; made, and empty, when there is none yet. */
static enum ksm_err
pool_get(struct plan *p, const struct conf_policy *policy,
    const struct conf_key *key, const struct plan_what_if *what,
    struct plan_pool **out, struct ksm_fail *fail)
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
	scope_set(pool, policy, key, what);
	if (what->horizon >= 0) {
		pool->settings.horizon = what->horizon;
		pool->settings.minimum_horizon = what->horizon;
	}
	if (what->emergency_rolls >= 0)
		pool->settings.emergency_rolls = what->emergency_rolls;
	*out = pool;
	return KSM_OK;
}

/*
 * Owners of `zones` zones: as many for each of them as of those there are,
 * rounded up.
 */
static int64_t
owners_of(const struct conf_policy *p, int64_t zones)
{
	wide owners;

	if (p->zones <= 0 || p->owners < 0)
		return zones;
	if (zones == p->zones)
		return p->owners;
	owners = ((wide)p->owners * (wide)zones + (wide)p->zones - 1) /
	    (wide)p->zones;
	return owners < (wide)INT64_MAX ? (int64_t)owners : INT64_MAX;
}

static enum ksm_err
term_add(struct plan_pool *pool, const struct conf_key *key,
    const struct plan_what_if *what, struct ksm_fail *fail)
{
	const struct conf_pool *set = &pool->settings;
	int64_t zones = what->zones >= 0 ? what->zones :
	    pool->policy_conf->zones;
	struct plan_term term = {
		.key = key,
		.in = {
			.zones = zones,
			.shared = pool->scope == SCOPE_POLICY,
			.by_owner = pool->scope == SCOPE_OWNER,
			.owners = owners_of(pool->policy_conf, zones),
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
		term.in.rolls = above(what->emergency_rolls, 0);
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
policy_plan(struct plan *p, const struct conf_policy *policy,
    const struct plan_what_if *what, struct ksm_fail *fail)
{
	size_t first = p->npools;
	enum ksm_err err;

	for (int role = 0; role < ROLE__COUNT; role++) {
		for (size_t i = 0; i < policy->nkeys; i++) {
			const struct conf_key *key = &policy->keys[i];
			struct plan_pool *pool = NULL;

			if ((int)key->role != role)
				continue;
			err = pool_get(p, policy, key, what, &pool, fail);
			if (err == KSM_OK)
				err = term_add(pool, key, what, fail);
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
	const struct plan_what_if as_configured = PLAN_AS_CONFIGURED;
	struct plan p = { 0 };
	enum ksm_err err = KSM_OK;

	if (what == NULL)
		what = &as_configured;
	if (what->scope == SCOPE_OWNER && c->owner_file == NULL)
		return ksm_failf(fail, KSM_EREFUSED,
		    "nothing says which owner a zone has: no OwnerFile is "
		    "configured");
	if (c->nrepositories > 0) {
		p.tokens = calloc(c->nrepositories, sizeof(*p.tokens));
		if (p.tokens == NULL) {
			err = ksm_failf(fail, KSM_ENOMEM,
			    "no memory for a plan");
			goto out;
		}
	}
	for (; p.ntokens < c->nrepositories; p.ntokens++) {
		struct plan_token *token = &p.tokens[p.ntokens];

		token->repository = &c->repositories[p.ntokens];
		token->capacity = what->capacity >= 0 ? what->capacity :
		    token->repository->capacity;
	}

	for (size_t i = 0; i < c->npolicies; i++) {
		err = policy_plan(&p, &c->policies[i], what, fail);
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
	if (p.npools > 0) {
		p.shares = calloc(p.npools, sizeof(*p.shares));
		if (p.shares == NULL) {
			err = ksm_failf(fail, KSM_ENOMEM,
			    "no memory for a plan");
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
	free(p->shares);
	memset(p, 0, sizeof(*p));
}

void
plan_stock_set(struct plan_pool *pool, enum key_state state, int64_t n)
{
	assert((unsigned)state < KEY__STATES);
	pool->stock[state] = n;
}

void
plan_cover_set(struct plan_pool *pool, int64_t covered)
{
	pool->covered = covered;
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

enum pool_level
plan_level_at(const struct plan_pool *pool, int64_t usable)
{
	if (usable >= pool->required)
		return LEVEL_FULL;
	if (usable == 0)
		return LEVEL_EMPTY;
	if (usable < pool->critical)
		return LEVEL_CRITICAL;
	return usable >= pool->low_water ? LEVEL_OK : LEVEL_LOW;
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

/* ---- room ------------------------------------------------------------ */

/* Places are searched for in parts of one `need`. */
#define PLACE_BITS 63

/* Keys of `s` that stand before the place `at`/2^63 and that it may get. */
static int64_t
share_before(const struct plan_share *s, wide at)
{
	const wide one = (wide)1 << PLACE_BITS;
	wide whole = at / one, part = at % one, n;

	/* ceil(at x need / 2^63), with nothing beyond 128 bits. */
	n = (part * (wide)s->need + (one - 1)) / one;
	if (whole > 0 && s->need > 0) {
		if (whole > (wide)INT64_MAX / (wide)s->need)
			return above(s->most, s->have);
		n += whole * (wide)s->need;
	}
	if (n >= (wide)s->most)
		return above(s->most, s->have);
	return above((int64_t)n, s->have);
}

static wide
shares_before(const struct plan_share *shares, size_t n, wide at)
{
	wide sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (wide)share_before(&shares[i], at);
	return sum;
}

static int
share_order(const void *a, const void *b)
{
	const struct plan_share *x = a, *y = b;
	wide left = (wide)x->have * (wide)y->need;
	wide right = (wide)y->have * (wide)x->need;

	if (left != right)
		return left < right ? -1 : 1;
	return x->pool < y->pool ? -1 : x->pool > y->pool;
}

/*
 * Give out `room`, and return what is left of it. Afterwards `have` is what
 * each pool then has.
 */
static int64_t
shares_fill(struct plan_share *shares, size_t n, int64_t room)
{
	wide low = 0, high = 1, lacking = 0;
	size_t candidates = 0;

	for (size_t i = 0; i < n; i++)
		lacking += (wide)above(shares[i].most, shares[i].have);
	if (lacking <= (wide)room) {
		for (size_t i = 0; i < n; i++) {
			if (shares[i].most > shares[i].have)
				shares[i].have = shares[i].most;
		}
		return room - (int64_t)lacking;
	}
	/* The last place before which no more keys stand than there is room. */
	while (shares_before(shares, n, high) <= (wide)room) {
		low = high;
		high *= 2;
	}
	while (high - low > 1) {
		wide middle = low + (high - low) / 2;

		if (shares_before(shares, n, middle) <= (wide)room)
			low = middle;
		else
			high = middle;
	}
	for (size_t i = 0; i < n; i++) {
		int64_t got = share_before(&shares[i], low);

		room -= got;
		shares[i].have += got;
	}
	/*
	 * 2^-63 further stands one more key at most of each pool, as two of one
	 * pool are 1/need apart: those are put in order, and few enough.
	 */
	for (size_t i = 0; i < n; i++) {
		if (share_before(&shares[i], high) > 0) {
			struct plan_share s = shares[i];

			shares[i] = shares[candidates];
			shares[candidates++] = s;
		}
	}
	qsort(shares, candidates, sizeof(*shares), share_order);
	assert((int64_t)candidates > room);
	for (size_t i = 0; i < candidates && room > 0; i++, room--)
		shares[i].have++;
	return room;
}

/* The steps in which pools are filled, the most dangerous lack first. */
static int64_t
step_need(const struct plan_pool *pool, int step)
{
	int64_t need = pool->critical;

	if (step >= 1 && pool->low_water > need)
		need = pool->low_water;
	if (step >= 2 && pool->required > need)
		need = pool->required;
	return need;
}

/*
 * Pools of STRATEGY_FILL share what is left in proportion to what they
 * require, with no end but the room.
 */
static void
shares_open(struct plan_share *shares, size_t n, int64_t room)
{
	bool weighed = false;

	for (size_t i = 0; i < n; i++)
		weighed = weighed || (shares[i].pool->required > 0 &&
		    shares[i].pool->strategy == STRATEGY_FILL);
	for (size_t i = 0; i < n; i++) {
		const struct plan_pool *pool = shares[i].pool;
		int64_t weight = weighed ? pool->required : 1;

		shares[i].need = weight;
		shares[i].most = pool->strategy == STRATEGY_FILL &&
		    !pool->passthrough && weight > 0 ?
		    plus(shares[i].have, room) : shares[i].have;
	}
}

static enum plan_room
token_room(const struct plan_token *token)
{
	wide need = (wide)token->pairs_need * 100;

	if (token->capacity < 0)
		return ROOM_OK;
	if (need >= (wide)token->capacity * 90)
		return ROOM_CRITICAL;
	return need >= (wide)token->capacity * 75 ? ROOM_WARNING : ROOM_OK;
}

/* What each pool gets of the room that the token has. */
static void
token_share(struct plan *p, struct plan_token *token)
{
	const struct conf_repository *r = token->repository;
	int64_t room = token->pairs_free < 0 ? INT64_MAX : token->pairs_free;
	struct plan_share *shares = p->shares;
	size_t n = 0;

	for (size_t i = 0; i < p->npools; i++) {
		struct plan_pool *pool = &p->pools[i];

		if (pool->repository_conf != r)
			continue;
		shares[n++] = (struct plan_share){
			.pool = pool,
			.have = pool_pairs(pool, key_state_stock),
		};
	}
	for (int step = 0; step < 3; step++) {
		for (size_t i = 0; i < n; i++) {
			shares[i].need = step_need(shares[i].pool, step);
			shares[i].most = shares[i].need;
		}
		room = shares_fill(shares, n, room);
	}
	if (token->capacity >= 0 && room > 0) {
		shares_open(shares, n, room);
		(void)shares_fill(shares, n, room);
	}
	for (size_t i = 0; i < n; i++) {
		struct plan_pool *pool = shares[i].pool;
		int64_t stock = pool_pairs(pool, key_state_stock);

		pool->target = pool->required;
		if (pool->strategy == STRATEGY_FILL &&
		    shares[i].have > pool->target)
			pool->target = shares[i].have;
		pool->deficit = above(pool->target, stock);
		pool->make = shares[i].have - stock;
		pool->capacity_short = pool->deficit - pool->make;
		token->pairs_make = plus(token->pairs_make, pool->make);
		token->objects_make = plus(token->objects_make,
		    times(pool->make, plan_objects(r, pool->alg)));
	}
}

static void
token_level(struct plan *p, struct plan_token *token, const int64_t *held)
{
	const struct conf_repository *r = token->repository;
	int64_t known = 0, known_objects = 0; /* of the pools of this plan */
	int64_t wanted = 0; /* what the pools will hold when all are full */
	int64_t other;	    /* pairs that are no stock of these pools */

	token->pairs_stock = 0;
	token->pairs_need = 0;
	for (size_t i = 0; i < p->npools; i++) {
		const struct plan_pool *pool = &p->pools[i];
		int64_t pairs, stock, most;

		if (pool->repository_conf != r)
			continue;
		pairs = pool_pairs(pool, takes_room);
		stock = pool_pairs(pool, key_state_stock);
		most = stock > pool->required ? stock : pool->required;
		known = plus(known, pairs);
		known_objects = plus(known_objects,
		    times(pairs, plan_objects(r, pool->alg)));
		token->pairs_stock = plus(token->pairs_stock, stock);
		wanted = plus(wanted, most);
		token->pairs_need = plus(token->pairs_need,
		    pool->strategy == STRATEGY_FILL ? pool->required : most);
	}
	token->pairs_held = held != NULL ? *held : known;
	other = above(token->pairs_held, token->pairs_stock);
	token->pairs_need = plus(token->pairs_need, other);
	/*
	 * Pairs that no pool of this plan knows: their algorithm is not known
	 * here, so they count whole.
	 */
	token->objects_held = plus(known_objects,
	    times(above(token->pairs_held, known), 2));
	token->pairs_make = 0;
	token->objects_make = 0;
	token->pairs_over = 0;
	token->pairs_free = -1;
	if (token->capacity >= 0) {
		token->pairs_over = above(plus(wanted, other), token->capacity);
		token->pairs_free = above(token->capacity, token->pairs_held);
	}
	token->room = token_room(token);
	token_share(p, token);
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
		pool->usable = pool->ready;
		if (pool->repository_conf->require_backup &&
		    pool->covered < pool->ready)
			pool->usable = pool->covered;
		pool->level = plan_level_at(pool, pool->usable);
		p->deficit = plus(p->deficit, pool->deficit);
		p->make = plus(p->make, pool->make);
	}
}

/* Keys that the units there are draw in `horizon` seconds. */
static int64_t
pool_draws(const struct plan_pool *pool, int64_t horizon)
{
	struct formula_out out;
	struct ksm_fail fail;
	int64_t sum = 0;

	for (size_t i = 0; i < pool->nterms; i++) {
		struct formula_in in = pool->terms[i].in;

		in.horizon = horizon;
		in.growth = 0;
		if (formula_required(&in, &out, &fail) != KSM_OK)
			return INT64_MAX;
		sum = plus(sum, out.required);
	}
	return sum;
}

#define LASTS_MOST (INT64_C(100) * 365 * 86400)

int64_t
plan_pool_lasts(const struct plan_pool *pool, int64_t have)
{
	int64_t low = 0, high = LASTS_MOST, middle;

	if (pool_draws(pool, 0) > have)
		return -1;
	if (pool_draws(pool, high) <= have)
		return INT64_MAX;
	/* low is served, high is not */
	while (high - low > 1) {
		middle = low + (high - low) / 2;
		if (pool_draws(pool, middle) <= have)
			low = middle;
		else
			high = middle;
	}
	return low;
}
