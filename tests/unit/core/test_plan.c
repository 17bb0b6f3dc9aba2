#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "ksmpool/plan.h"

#define DAY INT64_C(86400)

/* A configuration by hand: two policies, two repositories. */
struct site {
	struct conf_repository repositories[2];
	struct conf_policy policies[2];
	struct conf_key gold[4], silver[2];
	struct conf conf;
	struct plan plan;
};

static struct conf_key
key_of(enum key_role role, int alg, int bits, int64_t lifetime, char *where)
{
	return (struct conf_key){
		.role = role,
		.alg = alg,
		.bits = bits,
		.lifetime = lifetime,
		.repository = where,
		.pool = {
			.strategy = STRATEGY_FORMULA,
			.horizon = 30 * DAY,
			.minimum_horizon = DAY,
			.emergency_rolls = 1,
			.low_water = 80,
			.max_per_run = 1000,
		},
	};
}

/* gold: 10 zones, KSK in hsm-a, ZSK in hsm-b; silver: 5 zones, hsm-b. */
static void
site_init(struct site *s)
{
	memset(s, 0, sizeof(*s));
	s->repositories[0].name = "hsm-a";
	s->repositories[0].capacity = -1;
	s->repositories[1].name = "hsm-b";
	s->repositories[1].capacity = -1;
	/* ZSK first: the plan has its own order. */
	s->gold[0] = key_of(ROLE_ZSK, 8, 1024, 90 * DAY, "hsm-b");
	s->gold[1] = key_of(ROLE_KSK, 8, 2048, 365 * DAY, "hsm-a");
	s->policies[0].name = "gold";
	s->policies[0].zones = 10;
	s->policies[0].keys = s->gold;
	s->policies[0].nkeys = 2;
	s->silver[0] = key_of(ROLE_CSK, 13, 256, 90 * DAY, "hsm-b");
	s->policies[1].name = "silver";
	s->policies[1].zones = 5;
	s->policies[1].keys = s->silver;
	s->policies[1].nkeys = 1;
	s->conf.repositories = s->repositories;
	s->conf.nrepositories = 2;
	s->conf.policies = s->policies;
	s->conf.npolicies = 2;
}

static void
site_plan(struct site *s)
{
	struct ksm_fail fail;

	if (plan_make(&s->conf, NULL, &s->plan, &fail) != KSM_OK)
		fail_msg("%s", fail.text);
}

static void
a_pool_is_policy_role_repository_algorithm_and_size(void **ctx)
{
	struct site s;

	(void)ctx;
	site_init(&s);
	site_plan(&s);
	assert_int_equal(s.plan.npools, 3);
	assert_int_equal(s.plan.ntokens, 2);

	assert_string_equal(s.plan.pools[0].policy, "gold");
	assert_int_equal(s.plan.pools[0].role, ROLE_KSK);
	assert_string_equal(s.plan.pools[0].repository, "hsm-a");
	assert_int_equal(s.plan.pools[0].alg, 8);
	assert_int_equal(s.plan.pools[0].bits, 2048);
	assert_int_equal(s.plan.pools[0].required, 20);
	assert_int_equal(s.plan.pools[0].critical, 10);
	assert_int_equal(s.plan.pools[0].low_water, 16);
	assert_ptr_equal(s.plan.pools[0].policy_conf, &s.policies[0]);
	assert_ptr_equal(s.plan.pools[0].repository_conf, &s.repositories[0]);

	assert_int_equal(s.plan.pools[1].role, ROLE_ZSK);
	assert_int_equal(s.plan.pools[1].required, 20);
	assert_string_equal(s.plan.pools[2].policy, "silver");
	assert_int_equal(s.plan.pools[2].required, 10);
	assert_int_equal(s.plan.required, 50);
	assert_int_equal(s.plan.deficit, 50);
	assert_int_equal(s.plan.make, 50);
	assert_int_equal(s.plan.tokens[0].pairs_make, 20);
	assert_int_equal(s.plan.tokens[1].pairs_make, 30);

	assert_ptr_equal(plan_pool_find(&s.plan, "gold", ROLE_ZSK, "hsm-b", 8,
	    1024), &s.plan.pools[1]);
	assert_null(plan_pool_find(&s.plan, "gold", ROLE_ZSK, "hsm-b", 8,
	    2048));
	assert_null(plan_pool_find(&s.plan, "gold", ROLE_ZSK, "hsm-b", 10,
	    1024));
	assert_null(plan_pool_find(&s.plan, "gold", ROLE_ZSK, "hsm-a", 8,
	    1024));
	assert_null(plan_pool_find(&s.plan, "gold", ROLE_CSK, "hsm-b", 8,
	    1024));
	assert_null(plan_pool_find(&s.plan, "silver", ROLE_ZSK, "hsm-b", 8,
	    1024));
	plan_clear(&s.plan);
}

static void
keys_that_differ_only_in_lifetime_share_a_pool(void **ctx)
{
	struct site s;
	struct plan_pool *pool;

	(void)ctx;
	site_init(&s);
	s.gold[2] = key_of(ROLE_ZSK, 8, 1024, 30 * DAY, "hsm-b");
	s.gold[2].pool.emergency_rolls = 5; /* the first key's 1 holds */
	s.gold[3] = key_of(ROLE_ZSK, 8, 2048, 30 * DAY, "hsm-b");
	s.policies[0].nkeys = 4;
	site_plan(&s);
	assert_int_equal(s.plan.npools, 4);
	pool = plan_pool_find(&s.plan, "gold", ROLE_ZSK, "hsm-b", 8, 1024);
	assert_non_null(pool);
	assert_int_equal(pool->nterms, 2);
	assert_ptr_equal(pool->terms[0].key, &s.gold[0]);
	assert_ptr_equal(pool->terms[1].key, &s.gold[2]);
	/* 10 x (1 + 1) and 10 x (2 + 1) */
	assert_int_equal(pool->terms[0].out.required, 20);
	assert_int_equal(pool->terms[1].out.required, 30);
	assert_int_equal(pool->required, 50);
	assert_int_equal(pool->critical, 20);
	plan_clear(&s.plan);
}

static void
the_same_key_in_two_policies_is_two_pools(void **ctx)
{
	struct site s;

	(void)ctx;
	site_init(&s);
	s.silver[0] = s.gold[0];
	site_plan(&s);
	assert_int_equal(s.plan.npools, 3);
	assert_int_equal(plan_pool_find(&s.plan, "gold", ROLE_ZSK, "hsm-b", 8,
	    1024)->required, 20);
	assert_int_equal(plan_pool_find(&s.plan, "silver", ROLE_ZSK, "hsm-b",
	    8, 1024)->required, 10);
	plan_clear(&s.plan);
}

static void
each_strategy_asks_for_its_own_number(void **ctx)
{
	static const struct {
		const char *what;
		enum strategy strategy;
		int64_t fixed, zones;
		bool passthrough;
		int64_t required, critical, low_water;
	} cases[] = {
		/* (10 + 2) x (1 + 3 + 1) + 2 */
		{ "formula", STRATEGY_FORMULA, 7, 10, false, 62, 30, 50 },
		{ "manual", STRATEGY_MANUAL, 7, 10, false, 62, 30, 50 },
		/* 10 x (1 + 1): H = P1D, neither emergencies nor growth */
		{ "minimum", STRATEGY_MINIMUM, 7, 10, false, 20, 0, 16 },
		{ "fixed, few", STRATEGY_FIXED, 7, 10, false, 7, 7, 6 },
		{ "fixed, many", STRATEGY_FIXED, 700, 10, false, 700, 30, 560 },
		{ "fixed, none", STRATEGY_FIXED, 0, 10, false, 0, 0, 0 },
		{ "fixed, no zones", STRATEGY_FIXED, 7, 0, false, 7, 0, 6 },
		{ "no zones", STRATEGY_FORMULA, 7, 0, false, 0, 0, 0 },
		{ "passthrough", STRATEGY_FORMULA, 7, 10, true, 0, 0, 0 },
		{ "passthrough, fixed", STRATEGY_FIXED, 7, 10, true, 0, 0, 0 },
		{ "passthrough, minimum", STRATEGY_MINIMUM, 7, 10, true, 0, 0,
		    0 },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		const struct plan_pool *pool;
		struct site s;

		site_init(&s);
		s.policies[0].zones = cases[i].zones;
		s.policies[0].passthrough = cases[i].passthrough;
		s.policies[0].nkeys = 1;
		s.gold[0].standby = 1;
		s.gold[0].pool.strategy = cases[i].strategy;
		s.gold[0].pool.fixed = cases[i].fixed;
		s.gold[0].pool.emergency_rolls = 3;
		s.gold[0].pool.growth = 20;
		site_plan(&s);
		pool = &s.plan.pools[0];
		assert_int_equal(pool->strategy, cases[i].strategy);
		assert_int_equal(pool->passthrough, cases[i].passthrough);
		if (pool->required != cases[i].required ||
		    pool->critical != cases[i].critical ||
		    pool->low_water != cases[i].low_water)
			fail_msg("%s: %lld, critical %lld, low water %lld",
			    cases[i].what, (long long)pool->required,
			    (long long)pool->critical,
			    (long long)pool->low_water);
		plan_clear(&s.plan);
	}
}

static void
a_fixed_number_counts_once_for_two_lifetimes(void **ctx)
{
	struct site s;

	(void)ctx;
	site_init(&s);
	s.gold[0].pool.strategy = STRATEGY_FIXED;
	s.gold[0].pool.fixed = 25;
	s.gold[1] = s.gold[0];
	s.gold[1].lifetime = 7 * DAY;
	s.gold[1].pool.fixed = 99;
	site_plan(&s);
	assert_int_equal(s.plan.pools[0].nterms, 2);
	assert_int_equal(s.plan.pools[0].required, 25);
	assert_int_equal(s.plan.pools[0].critical, 20);
	plan_clear(&s.plan);
}

static void
shared_keys_are_one_unit_for_the_policy(void **ctx)
{
	struct site s;

	(void)ctx;
	site_init(&s);
	s.policies[0].share_keys = true;
	site_plan(&s);
	assert_int_equal(s.plan.pools[0].required, 2);
	assert_int_equal(s.plan.pools[1].required, 2);
	plan_clear(&s.plan);
}

static void
a_scope_decides_instead_of_share_keys(void **ctx)
{
	struct plan_what_if what = PLAN_AS_CONFIGURED;
	struct site s;

	(void)ctx;
	site_init(&s);
	s.policies[0].share_keys = true;
	s.gold[0].pool.scope = SCOPE_ZONE;
	site_plan(&s);
	assert_int_equal(s.plan.pools[0].scope, SCOPE_POLICY);
	assert_int_equal(s.plan.pools[0].required, 2);
	assert_int_equal(s.plan.pools[1].scope, SCOPE_ZONE);
	assert_int_equal(s.plan.pools[1].required, 20);
	plan_clear(&s.plan);
	what.scope = SCOPE_ZONE;
	assert_int_equal(plan_make(&s.conf, &what, &s.plan, NULL), KSM_OK);
	assert_int_equal(s.plan.pools[0].required, 20);
	plan_clear(&s.plan);
	what.scope = SCOPE_POLICY;
	assert_int_equal(plan_make(&s.conf, &what, &s.plan, NULL), KSM_OK);
	assert_int_equal(s.plan.pools[1].required, 2);
	plan_clear(&s.plan);
}

static void
owners_are_the_units_where_they_share_keys(void **ctx)
{
	const struct plan_term *term;
	struct site s;

	(void)ctx;
	site_init(&s);
	s.conf.owner_file = "owners";
	s.policies[0].owners = 3;
	s.policies[0].share_keys = true;
	s.gold[0].pool.scope = SCOPE_OWNER;
	s.gold[0].pool.growth = 50;
	s.gold[0].standby = 1;
	site_plan(&s);
	assert_int_equal(s.plan.pools[0].scope_by, SCOPE_BY_KASP);
	assert_int_equal(s.plan.pools[1].scope, SCOPE_OWNER);
	assert_int_equal(s.plan.pools[1].scope_by, SCOPE_BY_KSMPOOL);
	term = &s.plan.pools[1].terms[0];
	assert_int_equal(term->in.zones, 10);
	assert_int_equal(term->in.owners, 3);
	assert_int_equal(term->out.units, 3);
	assert_int_equal(term->out.grown, 2);
	/* (3 + 2) x (1 + 1 + 1) + 2 */
	assert_int_equal(s.plan.pools[1].required, 17);
	assert_int_equal(s.plan.pools[1].critical, 3);
	plan_clear(&s.plan);
}

static void
more_zones_have_more_owners(void **ctx)
{
	static const struct {
		int64_t zones, owners, then, units;
	} cases[] = {
		{ 10, 3, 10, 3 },
		{ 10, 3, 20, 6 },
		{ 10, 3, 11, 4 },	/* rounded up */
		{ 10, 3, 1, 1 },
		{ 10, 3, 0, 0 },
		{ 10, 10, 1000, 1000 }, /* as many as zones */
		{ 10, 1, 1000, 100 },
		{ 0, 0, 7, 7 },		/* nobody knows: one for each */
		{ INT64_MAX, INT64_MAX, 3, 3 },
		{ 1000000, 999999, INT64_C(1000000000000),
		    INT64_C(999999000000) },
	};
	struct site s;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct plan_what_if what = PLAN_AS_CONFIGURED;

		site_init(&s);
		s.conf.owner_file = "owners";
		s.conf.npolicies = 1;
		s.policies[0].zones = cases[i].zones;
		s.policies[0].owners = cases[i].owners;
		what.zones = cases[i].then;
		what.scope = SCOPE_OWNER;
		assert_int_equal(plan_make(&s.conf, &what, &s.plan, NULL),
		    KSM_OK);
		assert_int_equal(s.plan.pools[0].scope_by, SCOPE_BY_WHAT_IF);
		if (s.plan.pools[0].terms[0].out.units != cases[i].units)
			fail_msg("case %zu: %lld", i, (long long)
			    s.plan.pools[0].terms[0].out.units);
		plan_clear(&s.plan);
	}
}

static void
nobody_plans_for_owners_that_nothing_names(void **ctx)
{
	struct plan_what_if what = PLAN_AS_CONFIGURED;
	struct ksm_fail fail = { .text = "" };
	struct site s;

	(void)ctx;
	site_init(&s);
	what.scope = SCOPE_OWNER;
	assert_int_equal(plan_make(&s.conf, &what, &s.plan, &fail),
	    KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "OwnerFile"));
}

static void
what_covered_keys_last(void **ctx)
{
	static const struct {
		const char *what;
		int64_t zones, lifetime, have, lasts;
	} cases[] = {
		{ "none", 10, 90 * DAY, 0, -1 },
		{ "one short of now", 10, 90 * DAY, 19, -1 },
		{ "one draw each and the emergency", 10, 90 * DAY, 20,
		    90 * DAY - 1 },
		{ "two draws each", 10, 90 * DAY, 30, 180 * DAY - 1 },
		{ "nearly three", 10, 90 * DAY, 39, 180 * DAY - 1 },
		{ "never rolls, emergency served", 10, 0, 10, INT64_MAX },
		{ "never rolls, emergency not", 10, 0, 9, -1 },
		{ "no zone", 0, 90 * DAY, 0, INT64_MAX },
	};
	struct site s;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		int64_t lasts;

		site_init(&s);
		s.policies[0].zones = cases[i].zones;
		s.gold[1].lifetime = cases[i].lifetime;
		site_plan(&s);
		lasts = plan_pool_lasts(&s.plan.pools[0], cases[i].have);
		if (lasts != cases[i].lasts)
			fail_msg("%s: %lld", cases[i].what, (long long)lasts);
		plan_clear(&s.plan);
	}
}

static void
what_if_replaces_the_zones_of_all_but_passthrough(void **ctx)
{
	struct site s;

	(void)ctx;
	site_init(&s);
	s.policies[1].passthrough = true;
	assert_int_equal(plan_make(&s.conf,
	    &(struct plan_what_if){ 1000, -1, -1, -1, SCOPE_KASP }, &s.plan, NULL), KSM_OK);
	assert_int_equal(s.plan.pools[0].required, 2000);
	assert_int_equal(s.plan.pools[1].required, 2000);
	assert_int_equal(s.plan.pools[2].required, 0);
	plan_clear(&s.plan);
	assert_int_equal(plan_make(&s.conf,
	    &(struct plan_what_if){ 0, -1, -1, -1, SCOPE_KASP }, &s.plan, NULL), KSM_OK);
	assert_int_equal(s.plan.required, 0);
	plan_clear(&s.plan);
	assert_int_equal(s.policies[0].zones, 10);
}

static void
all_that_is_coming_counts_against_the_deficit(void **ctx)
{
	struct site s;
	struct plan_pool *pool;

	(void)ctx;
	site_init(&s);
	site_plan(&s);
	pool = &s.plan.pools[0]; /* requires 20 */
	for (int state = 0; state < KEY__STATES; state++) {
		int64_t want = key_state_stock((enum key_state)state) ? 17 :
		    20;

		plan_stock_set(pool, (enum key_state)state, 3);
		plan_level(&s.plan, NULL);
		if (pool->deficit != want)
			fail_msg("%s", key_state_text((enum key_state)state));
		assert_int_equal(pool->make, want);
		assert_int_equal(s.plan.deficit, want + 30);
		plan_stock_set(pool, (enum key_state)state, 0);
	}
	plan_stock_set(pool, KEY_INTENDED, 1);
	plan_stock_set(pool, KEY_UNKNOWN, 2);
	plan_stock_set(pool, KEY_MADE, 3);
	plan_stock_set(pool, KEY_READY, 4);
	plan_stock_set(pool, KEY_TAKING, 5);
	plan_stock_set(pool, KEY_TAKEN, 100);
	plan_level(&s.plan, NULL);
	assert_int_equal(pool->coming, 6);
	assert_int_equal(pool->ready, 4);
	assert_int_equal(pool->deficit, 5);
	plan_stock_set(pool, KEY_READY, 40);
	plan_level(&s.plan, NULL);
	assert_int_equal(pool->deficit, 0);
	assert_int_equal(pool->make, 0);
	plan_clear(&s.plan);
}

static void
a_full_plan_makes_nothing(void **ctx)
{
	struct site s;

	(void)ctx;
	site_init(&s);
	site_plan(&s);
	for (size_t i = 0; i < s.plan.npools; i++)
		plan_stock_set(&s.plan.pools[i], KEY_READY,
		    s.plan.pools[i].make);
	plan_level(&s.plan, NULL);
	assert_int_equal(s.plan.deficit, 0);
	assert_int_equal(s.plan.make, 0);
	for (size_t i = 0; i < s.plan.npools; i++)
		assert_int_equal(s.plan.pools[i].level, LEVEL_FULL);
	plan_clear(&s.plan);
}

static void
the_level_counts_only_what_could_be_taken_now(void **ctx)
{
	static const struct {
		int64_t ready;
		enum pool_level level;
	} cases[] = { /* required 20, low water 16, critical 10 */
		{ 0, LEVEL_EMPTY },
		{ 1, LEVEL_CRITICAL },
		{ 9, LEVEL_CRITICAL },
		{ 10, LEVEL_LOW },
		{ 15, LEVEL_LOW },
		{ 16, LEVEL_OK },
		{ 19, LEVEL_OK },
		{ 20, LEVEL_FULL },
		{ 21, LEVEL_FULL },
	};
	struct site s;

	(void)ctx;
	site_init(&s);
	site_plan(&s);
	plan_stock_set(&s.plan.pools[0], KEY_MADE, 20);
	plan_stock_set(&s.plan.pools[0], KEY_SURPLUS, 20);
	for (size_t i = 0; i < nitems(cases); i++) {
		plan_stock_set(&s.plan.pools[0], KEY_READY, cases[i].ready);
		plan_level(&s.plan, NULL);
		if (s.plan.pools[0].level != cases[i].level)
			fail_msg("%lld ready: %s", (long long)cases[i].ready,
			    pool_level_text(s.plan.pools[0].level));
	}
	plan_clear(&s.plan);

	site_init(&s);
	s.policies[0].zones = 0;
	site_plan(&s);
	assert_int_equal(s.plan.pools[0].level, LEVEL_FULL);
	plan_clear(&s.plan);
}

static void
low_water_is_rounded_up(void **ctx)
{
	static const struct {
		int64_t fixed, percent, low_water;
	} cases[] = {
		{ 1, 80, 1 },
		{ 2, 80, 2 },
		{ 5, 80, 4 },
		{ 6, 80, 5 },
		{ 100, 1, 1 },
		{ 101, 1, 2 },
		{ 20, 0, 0 },
		{ 20, 100, 20 },
		{ INT64_MAX, 100, INT64_MAX },
		{ INT64_MAX, 50, INT64_C(4611686018427387904) },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct site s;

		site_init(&s);
		s.conf.npolicies = 1;
		s.policies[0].nkeys = 1;
		s.gold[0].pool.strategy = STRATEGY_FIXED;
		s.gold[0].pool.fixed = cases[i].fixed;
		s.gold[0].pool.low_water = cases[i].percent;
		site_plan(&s);
		assert_int_equal(s.plan.pools[0].low_water,
		    cases[i].low_water);
		plan_clear(&s.plan);
	}
}

static void
capacity_is_never_exceeded_and_the_rest_is_named(void **ctx)
{
	int64_t held[2] = { 0, 12 };
	struct site s;

	(void)ctx;
	site_init(&s);
	s.repositories[1].capacity = 35;
	site_plan(&s);
	/* hsm-b: ZSK 20, CSK 10, nothing held: all of it fits */
	assert_int_equal(s.plan.make, 50);
	assert_int_equal(s.plan.tokens[1].pairs_over, 0);

	plan_level(&s.plan, held);
	assert_int_equal(s.plan.pools[1].make, 15); /* of low water 16 */
	assert_int_equal(s.plan.pools[1].capacity_short, 5);
	assert_int_equal(s.plan.pools[2].make, 8); /* low water: 7/8 < 15/16 */
	assert_int_equal(s.plan.pools[2].capacity_short, 2);
	assert_int_equal(s.plan.pools[2].deficit, 10);
	assert_int_equal(s.plan.tokens[1].pairs_held, 12);
	assert_int_equal(s.plan.tokens[1].pairs_make, 23);
	assert_int_equal(s.plan.tokens[1].pairs_over, 7);
	assert_int_equal(s.plan.deficit, 50);
	assert_int_equal(s.plan.make, 43);
	/* the other token has room for ever */
	assert_int_equal(s.plan.pools[0].make, 20);
	assert_int_equal(s.plan.tokens[0].pairs_over, 0);

	held[1] = 36; /* more than there should be */
	plan_level(&s.plan, held);
	assert_int_equal(s.plan.tokens[1].pairs_make, 0);
	assert_int_equal(s.plan.tokens[1].pairs_over, 31);
	plan_clear(&s.plan);
}

static void
keys_on_their_way_take_room(void **ctx)
{
	int64_t held[2] = { 0, 30 };
	struct site s;

	(void)ctx;
	site_init(&s);
	s.repositories[1].capacity = 35;
	site_plan(&s);
	plan_stock_set(&s.plan.pools[1], KEY_READY, 15);
	plan_stock_set(&s.plan.pools[1], KEY_INTENDED, 4);
	plan_stock_set(&s.plan.pools[1], KEY_UNKNOWN, 1);
	/* 30, the 5 that are coming included, leave 5 of 35 */
	plan_level(&s.plan, held);
	assert_int_equal(s.plan.pools[1].make, 0);
	assert_int_equal(s.plan.pools[2].make, 5);
	assert_int_equal(s.plan.pools[2].capacity_short, 5);
	assert_int_equal(s.plan.tokens[1].pairs_over, 5);
	/* and 20 of them are the pools' own */
	plan_level(&s.plan, NULL);
	assert_int_equal(s.plan.tokens[1].pairs_held, 20);
	assert_int_equal(s.plan.pools[2].make, 10);
	assert_int_equal(s.plan.tokens[1].pairs_over, 0);
	s.plan.tokens[1].capacity = 29;
	plan_level(&s.plan, NULL);
	assert_int_equal(s.plan.pools[2].make, 9);
	assert_int_equal(s.plan.tokens[1].pairs_over, 1);
	plan_clear(&s.plan);
}

static void
a_pool_with_more_than_it_requires_keeps_its_room(void **ctx)
{
	struct site s;

	(void)ctx;
	site_init(&s);
	s.repositories[1].capacity = 35;
	site_plan(&s);
	plan_stock_set(&s.plan.pools[1], KEY_READY, 30); /* requires 20 */
	plan_level(&s.plan, NULL);
	assert_int_equal(s.plan.tokens[1].pairs_held, 30);
	assert_int_equal(s.plan.pools[2].make, 5);
	assert_int_equal(s.plan.pools[2].capacity_short, 5);
	assert_int_equal(s.plan.tokens[1].pairs_over, 5);
	plan_clear(&s.plan);
}

static void
counts_that_cannot_be_do_not_wrap_around(void **ctx)
{
	struct site s;

	(void)ctx;
	site_init(&s);
	s.repositories[1].capacity = 35;
	site_plan(&s);
	plan_stock_set(&s.plan.pools[1], KEY_READY, INT64_MAX);
	plan_stock_set(&s.plan.pools[1], KEY_TAKEN, INT64_MAX);
	plan_level(&s.plan, NULL);
	assert_int_equal(s.plan.tokens[1].pairs_held, INT64_MAX);
	assert_int_equal(s.plan.tokens[1].objects_held, INT64_MAX);
	assert_int_equal(s.plan.tokens[1].pairs_make, 0);
	assert_int_equal(s.plan.pools[1].deficit, 0);
	assert_int_equal(s.plan.pools[2].make, 0);
	plan_clear(&s.plan);
}

/* A small generator of numbers: the same ones in every run. */
static int64_t
draw(uint32_t *seed, int64_t below)
{
	*seed = *seed * UINT32_C(1664525) + UINT32_C(1013904223);
	return (int64_t)(*seed >> 8) % below;
}

static void
whatever_the_stock_the_sums_agree(void **ctx)
{
	uint32_t seed = 1;

	(void)ctx;
	for (int round = 0; round < 2000; round++) {
		struct site s;
		int64_t held[2], lacking[2] = { 0, 0 };
		int64_t capacity[2], required = 0, deficit = 0, make = 0;

		site_init(&s);
		for (int r = 0; r < 2; r++) {
			capacity[r] = draw(&seed, 120);
			s.repositories[r].capacity = capacity[r];
			held[r] = draw(&seed, 30);
		}
		site_plan(&s);
		for (size_t i = 0; i < s.plan.npools; i++) {
			struct plan_pool *pool = &s.plan.pools[i];
			int r = pool->repository_conf == &s.repositories[1];

			for (int k = 0; k < KEY__STATES; k++) {
				enum key_state state = (enum key_state)k;
				int64_t n = draw(&seed, 6);

				plan_stock_set(pool, state, n);
				if (key_state_living(state) ||
				    key_state_stock(state))
					held[r] += n;
			}
		}
		plan_level(&s.plan, held);
		for (size_t i = 0; i < s.plan.npools; i++) {
			const struct plan_pool *pool = &s.plan.pools[i];
			int r = pool->repository_conf == &s.repositories[1];

			assert_true(pool->make >= 0);
			assert_true(pool->capacity_short >= 0);
			assert_int_equal(pool->make + pool->capacity_short,
			    pool->deficit);
			lacking[r] += pool->capacity_short;
			required += pool->required;
			deficit += pool->deficit;
			make += pool->make;
		}
		assert_int_equal(s.plan.required, required);
		assert_int_equal(s.plan.deficit, deficit);
		assert_int_equal(s.plan.make, make);
		for (int r = 0; r < 2; r++) {
			const struct plan_token *t = &s.plan.tokens[r];
			int64_t after = held[r] + t->pairs_make;

			/* Nothing is made that does not fit, ... */
			assert_true(t->pairs_make == 0 ||
			    after <= capacity[r]);
			/* ... nothing held back that would have fitted, ... */
			assert_true(lacking[r] == 0 || after >= capacity[r]);
			/* ... and what is over is what is lacking. */
			if (held[r] <= capacity[r])
				assert_int_equal(t->pairs_over, lacking[r]);
			else
				assert_true(t->pairs_over >= lacking[r]);
		}
		plan_clear(&s.plan);
	}
}

/*
 * The order of plan.h, one key at a time: what plan_level must come to without
 * walking through the keys. Pools of one token, stock by stock.
 */
struct naive {
	int64_t have, critical, low_water, required;
	bool fill;
};

static int64_t
naive_need(const struct naive *p, int step, int64_t zero)
{
	int64_t need = p->critical;

	if (step >= 1 && p->low_water > need)
		need = p->low_water;
	if (step >= 2 && p->required > need)
		need = p->required;
	return step < 3 ? need : p->required + zero;
}

static void
naive_share(struct naive *pools, size_t n, int64_t room)
{
	int64_t zero = 1; /* no fill pool requires any: all weigh the same */

	for (size_t i = 0; i < n; i++) {
		if (pools[i].fill && pools[i].required > 0)
			zero = 0;
	}
	for (int step = 0; step < 4; step++) {
		for (; room > 0; room--) {
			struct naive *best = NULL;
			int64_t of = 0;

			for (size_t i = 0; i < n; i++) {
				struct naive *p = &pools[i];
				int64_t need = naive_need(p, step, zero);

				if (step == 3 ? !p->fill || need == 0 :
				    p->have >= need)
					continue;
				if (best == NULL ||
				    p->have * of < best->have * need) {
					best = p;
					of = need;
				}
			}
			if (best == NULL)
				break;
			best->have++;
		}
	}
}

#define CROWD 5

/* One repository, CROWD policies with one key each. */
struct crowd {
	struct conf_repository repository;
	struct conf_policy policies[CROWD];
	struct conf_key keys[CROWD];
	struct conf conf;
	struct plan plan;
};

static void
crowd_init(struct crowd *c, int64_t capacity)
{
	static char *const names[CROWD] = { "a", "b", "c", "d", "e" };

	memset(c, 0, sizeof(*c));
	c->repository.name = "hsm";
	c->repository.capacity = capacity;
	for (size_t i = 0; i < CROWD; i++) {
		c->keys[i] = key_of(ROLE_ZSK, 13, 256, 0, "hsm");
		c->policies[i].name = names[i];
		c->policies[i].keys = &c->keys[i];
		c->policies[i].nkeys = 1;
	}
	c->conf.repositories = &c->repository;
	c->conf.nrepositories = 1;
	c->conf.policies = c->policies;
	c->conf.npolicies = CROWD;
}

static void
crowd_plan(struct crowd *c)
{
	struct ksm_fail fail;

	if (plan_make(&c->conf, NULL, &c->plan, &fail) != KSM_OK)
		fail_msg("%s", fail.text);
}

/* Settings and stock of every kind, small enough to count by hand. */
static void
crowd_draw(struct crowd *c, uint32_t *seed)
{
	crowd_init(c, 0);
	for (size_t i = 0; i < CROWD; i++) {
		struct conf_pool *set = &c->keys[i].pool;

		c->policies[i].zones = draw(seed, 12);
		set->emergency_rolls = draw(seed, 3);
		set->low_water = draw(seed, 101);
		c->keys[i].standby = draw(seed, 3);
		switch (draw(seed, 4)) {
		case 0:
			set->strategy = STRATEGY_FIXED;
			set->fixed = draw(seed, 30);
			break;
		case 1:
			set->strategy = STRATEGY_FILL;
			break;
		case 2:
			set->strategy = STRATEGY_MANUAL;
			break;
		default:
			break;
		}
	}
	crowd_plan(c);
}

static void
room_goes_where_the_risk_is_key_by_key(void **ctx)
{
	uint32_t seed = 7;

	(void)ctx;
	for (int round = 0; round < 3000; round++) {
		int64_t stock[CROWD], before[CROWD] = { 0 };
		int64_t held = draw(&seed, 20);
		int64_t most = held + draw(&seed, 150);
		struct crowd c;

		crowd_draw(&c, &seed);
		for (size_t i = 0; i < CROWD; i++) {
			stock[i] = draw(&seed, 15) * draw(&seed, 2);
			held += stock[i];
			plan_stock_set(&c.plan.pools[i], KEY_READY, stock[i]);
		}
		for (int64_t capacity = most - 7; capacity <= most;
		     capacity++) {
			struct plan_token *token = &c.plan.tokens[0];
			struct naive pools[CROWD];
			int64_t all = held;

			if (capacity < 0)
				continue;
			for (size_t i = 0; i < CROWD; i++) {
				const struct plan_pool *p = &c.plan.pools[i];

				pools[i] = (struct naive){ stock[i],
				    p->critical, p->low_water, p->required,
				    p->strategy == STRATEGY_FILL };
			}
			naive_share(pools, CROWD,
			    capacity > held ? capacity - held : 0);
			token->capacity = capacity;
			plan_level(&c.plan, &held);
			for (size_t i = 0; i < CROWD; i++) {
				const struct plan_pool *p = &c.plan.pools[i];

				if (stock[i] + p->make != pools[i].have)
					fail_msg("round %d, capacity %lld, "
					    "pool %zu: %lld, not %lld", round,
					    (long long)capacity, i,
					    (long long)(stock[i] + p->make),
					    (long long)pools[i].have);
				assert_true(p->make >= before[i] ||
				    capacity == most - 7);
				before[i] = p->make;
				assert_int_equal(p->make + p->capacity_short,
				    p->deficit);
				assert_true(p->target >= p->required);
				all += p->make;
			}
			assert_true(all == held || all <= capacity);
			assert_int_equal(all - held, token->pairs_make);
		}
		plan_clear(&c.plan);
	}
}

static void
numbers_of_any_size_are_shared_at_once(void **ctx)
{
	static const struct {
		const char *what;
		int64_t fixed[2], capacity, make[2];
	} cases[] = {
		{ "a third of it", { 600000000, 900000000 }, 500000000,
		    { 200000000, 300000000 } },
		{ "one key over", { 600000000, 900000000 }, 500000001,
		    { 200000001, 300000000 } },
		{ "two keys over", { 600000000, 900000000 }, 500000002,
		    { 200000001, 300000001 } },
		{ "neighbours", { 999999999, 1000000000 }, 1999999997,
		    { 999999998, 999999999 } },
		{ "neighbours, one less", { 999999999, 1000000000 },
		    1999999998, { 999999999, 999999999 } },
		{ "64 bits", { INT64_MAX / 2, INT64_MAX / 2 },
		    INT64_MAX / 2, { INT64_MAX / 4 + 1, INT64_MAX / 4 } },
		{ "all but one key", { INT64_MAX / 2, INT64_MAX / 2 },
		    INT64_MAX / 2 * 2 - 1,
		    { INT64_MAX / 2, INT64_MAX / 2 - 1 } },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct crowd c;

		crowd_init(&c, cases[i].capacity);
		c.conf.npolicies = 2;
		for (int k = 0; k < 2; k++) {
			c.keys[k].pool.strategy = STRATEGY_FIXED;
			c.keys[k].pool.fixed = cases[i].fixed[k];
			c.keys[k].pool.low_water = 0; /* one step */
		}
		crowd_plan(&c);
		if (c.plan.pools[0].make != cases[i].make[0] ||
		    c.plan.pools[1].make != cases[i].make[1])
			fail_msg("%s: %lld and %lld", cases[i].what,
			    (long long)c.plan.pools[0].make,
			    (long long)c.plan.pools[1].make);
		plan_clear(&c.plan);
	}
}

static void
fill_takes_the_room_that_is_left_in_proportion(void **ctx)
{
	static const struct {
		const char *what;
		int64_t zones[2], capacity, other, stock[2], target[2];
	} cases[] = { /* the third pool requires 10 and does not fill */
		{ "nothing left", { 10, 20 }, 40, 0, { 0, 0 }, { 10, 20 } },
		{ "too little", { 10, 20 }, 15, 0, { 0, 0 }, { 10, 20 } },
		{ "even", { 10, 20 }, 70, 0, { 0, 0 }, { 20, 40 } },
		{ "keys in use", { 10, 20 }, 100, 30, { 0, 0 }, { 20, 40 } },
		{ "one over", { 10, 20 }, 71, 0, { 0, 0 }, { 21, 40 } },
		{ "half way", { 10, 20 }, 70, 0, { 7, 23 }, { 20, 40 } },
		{ "full", { 10, 20 }, 70, 0, { 20, 40 }, { 20, 40 } },
		{ "more than its share", { 10, 20 }, 70, 0, { 30, 0 },
		    { 30, 30 } },
		{ "none required", { 0, 0 }, 21, 0, { 0, 0 }, { 6, 5 } },
		{ "one required", { 0, 20 }, 70, 0, { 0, 0 }, { 0, 60 } },
		{ "over capacity", { 10, 20 }, 50, 60, { 0, 0 }, { 10, 20 } },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		int64_t held = cases[i].other;
		struct crowd c;

		crowd_init(&c, cases[i].capacity);
		c.conf.npolicies = 3;
		c.policies[2].zones = 10;
		for (int k = 0; k < 2; k++) {
			c.policies[k].zones = cases[i].zones[k];
			c.keys[k].pool.strategy = STRATEGY_FILL;
			held += cases[i].stock[k];
		}
		crowd_plan(&c);
		for (int k = 0; k < 2; k++)
			plan_stock_set(&c.plan.pools[k], KEY_READY,
			    cases[i].stock[k]);
		plan_level(&c.plan, &held);
		for (int k = 0; k < 2; k++) {
			const struct plan_pool *p = &c.plan.pools[k];

			if (p->target != cases[i].target[k])
				fail_msg("%s, pool %d: %lld", cases[i].what, k,
				    (long long)p->target);
			assert_int_equal(p->required, cases[i].zones[k]);
			assert_int_equal(p->deficit,
			    p->target - cases[i].stock[k]);
		}
		assert_int_equal(c.plan.pools[2].target, 10);
		plan_clear(&c.plan);
	}
}

static void
fill_is_the_formula_where_there_is_no_limit_or_no_zone(void **ctx)
{
	struct crowd c;

	(void)ctx;
	crowd_init(&c, -1);
	c.policies[0].zones = 10;
	c.keys[0].pool.strategy = STRATEGY_FILL;
	crowd_plan(&c);
	assert_int_equal(c.plan.pools[0].required, 10);
	assert_int_equal(c.plan.pools[0].critical, 10);
	assert_int_equal(c.plan.pools[0].low_water, 8);
	assert_int_equal(c.plan.pools[0].target, 10);
	assert_int_equal(c.plan.pools[0].make, 10);
	plan_clear(&c.plan);

	c.repository.capacity = 100;
	c.policies[0].passthrough = true;
	crowd_plan(&c);
	assert_int_equal(c.plan.pools[0].target, 0);
	assert_int_equal(c.plan.make, 0);
	plan_clear(&c.plan);
}

static void
what_if_replaces_horizon_emergencies_and_capacity(void **ctx)
{
	struct site s;

	(void)ctx;
	site_init(&s);
	s.silver[0].pool.strategy = STRATEGY_MINIMUM;
	assert_int_equal(plan_make(&s.conf,
	    &(struct plan_what_if){ -1, 180 * DAY, -1, -1, SCOPE_KASP }, &s.plan, NULL),
	    KSM_OK);
	assert_int_equal(s.plan.pools[1].required, 10 * (3 + 1));
	assert_int_equal(s.plan.pools[2].required, 5 * 3);
	assert_int_equal(s.plan.pools[1].settings.horizon, 180 * DAY);
	plan_clear(&s.plan);

	assert_int_equal(plan_make(&s.conf,
	    &(struct plan_what_if){ -1, -1, 4, -1, SCOPE_KASP }, &s.plan, NULL), KSM_OK);
	assert_int_equal(s.plan.pools[1].required, 10 * (1 + 4));
	assert_int_equal(s.plan.pools[1].critical, 40);
	assert_int_equal(s.plan.pools[2].required, 5 * (1 + 4));
	plan_clear(&s.plan);

	assert_int_equal(plan_make(&s.conf,
	    &(struct plan_what_if){ -1, -1, -1, 12, SCOPE_KASP }, &s.plan, NULL), KSM_OK);
	assert_int_equal(s.plan.tokens[0].capacity, 12);
	assert_int_equal(s.plan.tokens[1].capacity, 12);
	assert_int_equal(s.plan.tokens[0].pairs_make, 12);
	assert_int_equal(s.plan.tokens[0].pairs_over, 8);
	plan_clear(&s.plan);
	assert_int_equal(plan_make(&s.conf,
	    &(struct plan_what_if){ -1, -1, -1, 0, SCOPE_KASP }, &s.plan, NULL), KSM_OK);
	assert_int_equal(s.plan.make, 0);
	plan_clear(&s.plan);

	assert_int_equal(plan_make(&s.conf, &PLAN_AS_CONFIGURED, &s.plan,
	    NULL), KSM_OK);
	assert_int_equal(s.plan.pools[1].required, 20);
	assert_int_equal(s.plan.tokens[1].capacity, -1);
	plan_clear(&s.plan);
	assert_int_equal(s.gold[0].pool.horizon, 30 * DAY);
}

static void
a_token_says_what_is_needed_there_and_free(void **ctx)
{
	static const struct {
		int64_t capacity, other, free;
		enum plan_room room;
	} cases[] = { /* the pools of hsm-b require 30, and 4 are there */
		{ -1, 1000, -1, ROOM_OK },
		{ 40, 0, 36, ROOM_WARNING },    /* 75 % */
		{ 41, 0, 37, ROOM_OK },
		{ 33, 0, 29, ROOM_CRITICAL },
		{ 34, 0, 30, ROOM_WARNING },
		{ 100, 45, 51, ROOM_WARNING },
		{ 100, 60, 36, ROOM_CRITICAL }, /* 90 % */
		{ 100, 120, 0, ROOM_CRITICAL },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		const struct plan_token *t;
		int64_t held[2] = { 0, cases[i].other + 4 };
		struct site s;

		site_init(&s);
		s.repositories[1].capacity = cases[i].capacity;
		site_plan(&s);
		plan_stock_set(&s.plan.pools[1], KEY_READY, 3);
		plan_stock_set(&s.plan.pools[1], KEY_MADE, 1);
		plan_level(&s.plan, held);
		t = &s.plan.tokens[1];
		assert_int_equal(t->pairs_stock, 4);
		assert_int_equal(t->pairs_need, 30 + cases[i].other);
		assert_int_equal(t->pairs_free, cases[i].free);
		if (t->room != cases[i].room)
			fail_msg("%lld of %lld: %s", (long long)t->pairs_need,
			    (long long)t->capacity, plan_room_text(t->room));
		plan_clear(&s.plan);
	}
	assert_string_equal(plan_room_text(ROOM_WARNING), "warning");
	assert_string_equal(plan_room_text(ROOM__COUNT), "?");
}

static void
what_fill_holds_is_no_alarm(void **ctx)
{
	struct crowd c;

	(void)ctx;
	crowd_init(&c, 100);
	c.conf.npolicies = 1;
	c.policies[0].zones = 10;
	c.keys[0].pool.strategy = STRATEGY_FILL;
	crowd_plan(&c);
	assert_int_equal(c.plan.pools[0].make, 100);
	plan_stock_set(&c.plan.pools[0], KEY_READY, 100);
	plan_level(&c.plan, NULL);
	assert_int_equal(c.plan.tokens[0].pairs_need, 10);
	assert_int_equal(c.plan.tokens[0].room, ROOM_OK);
	assert_int_equal(c.plan.tokens[0].pairs_over, 0);
	assert_int_equal(c.plan.deficit, 0);
	plan_clear(&c.plan);
}

static void
a_century_is_planned_for_as_a_month_is(void **ctx)
{
	static const struct {
		int64_t years, lifetime, required;
	} cases[] = {
		{ 30, 90 * DAY, 10 * (121 + 1 + 1) },
		{ 100, 90 * DAY, 10 * (405 + 1 + 1) },
		{ 100, 100 * 365 * DAY, 10 * (2 + 1) },
		{ 100, 3600, 10 * (876000 + 1 + 1) },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct site s;

		site_init(&s);
		s.gold[0].pool.horizon = cases[i].years * 365 * DAY;
		s.gold[0].lifetime = cases[i].lifetime;
		site_plan(&s);
		assert_int_equal(s.plan.pools[1].required, cases[i].required);
		plan_clear(&s.plan);
	}
}

static void
rsa_pairs_are_one_object_where_the_public_half_is_skipped(void **ctx)
{
	int64_t held[2] = { 0, 8 };
	struct site s;

	(void)ctx;
	site_init(&s);
	s.repositories[1].skip_public_key = true;
	assert_int_equal(plan_objects(&s.repositories[0], 8), 2);
	assert_int_equal(plan_objects(&s.repositories[1], 8), 1);
	assert_int_equal(plan_objects(&s.repositories[1], 13), 2);
	assert_int_equal(plan_objects(&s.repositories[1], 15), 2);
	assert_int_equal(plan_objects(&s.repositories[1], 200), 2);

	site_plan(&s);
	assert_int_equal(s.plan.tokens[0].objects_make, 2 * 20);
	assert_int_equal(s.plan.tokens[1].objects_make, 20 + 2 * 10);
	plan_stock_set(&s.plan.pools[1], KEY_READY, 3);
	plan_stock_set(&s.plan.pools[1], KEY_TAKEN, 1);
	plan_stock_set(&s.plan.pools[1], KEY_MISSING, 9);
	plan_stock_set(&s.plan.pools[2], KEY_SURPLUS, 2);
	plan_level(&s.plan, held);
	/* 4 RSA, 2 EC, and 2 that no pool knows: those count whole */
	assert_int_equal(s.plan.tokens[1].objects_held, 4 + 2 * 2 + 2 * 2);
	plan_clear(&s.plan);
}

static void
what_cannot_be_planned_is_refused_and_says_where(void **ctx)
{
	struct ksm_fail fail;
	struct site s;

	(void)ctx;
	site_init(&s);
	s.gold[1].repository = "hsm-c";
	assert_int_equal(plan_make(&s.conf, NULL, &s.plan, &fail), KSM_EREFUSED);
	assert_string_equal(fail.text,
	    "policy \"gold\", KSK: repository \"hsm-c\" is not configured");
	assert_null(s.plan.pools);

	site_init(&s);
	s.policies[1].zones = INT64_MAX;
	assert_int_equal(plan_make(&s.conf, NULL, &s.plan, &fail), KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "policy \"silver\", CSK: required"));

	site_init(&s); /* each fits, not their sum */
	s.gold[0].pool.strategy = STRATEGY_FIXED;
	s.gold[0].pool.fixed = INT64_MAX - 20;
	assert_int_equal(plan_make(&s.conf, NULL, &s.plan, &fail), KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "of all pools"));

	site_init(&s); /* two lifetimes of one pool */
	s.policies[0].zones = INT64_MAX / 2 - 10;
	s.gold[1] = s.gold[0];
	assert_int_equal(plan_make(&s.conf, NULL, &s.plan, &fail), KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "policy \"gold\", ZSK"));

	site_init(&s);
	s.gold[0].pool.low_water = 101;
	assert_int_equal(plan_make(&s.conf, NULL, &s.plan, &fail), KSM_EREFUSED);
	assert_string_equal(fail.text, "policy \"gold\", ZSK: low water is 0 "
	    "to 100 percent, not 101");

	site_init(&s);
	s.gold[0].pool.strategy = STRATEGY_FIXED;
	s.gold[0].pool.fixed = -1;
	assert_int_equal(plan_make(&s.conf, NULL, &s.plan, &fail), KSM_EREFUSED);
	assert_int_equal(plan_make(&s.conf, NULL, &s.plan, NULL), KSM_EREFUSED);
}

static void
an_empty_configuration_is_an_empty_plan(void **ctx)
{
	struct conf none;
	struct plan plan;

	(void)ctx;
	memset(&none, 0, sizeof(none));
	assert_int_equal(plan_make(&none, NULL, &plan, NULL), KSM_OK);
	assert_int_equal(plan.npools, 0);
	assert_int_equal(plan.ntokens, 0);
	assert_int_equal(plan.required, 0);
	plan_level(&plan, NULL);
	plan_clear(&plan);
	plan_clear(&plan); /* twice does no harm */
}

static void
every_level_has_its_name(void **ctx)
{
	(void)ctx;
	assert_string_equal(pool_level_text(LEVEL_FULL), "full");
	assert_string_equal(pool_level_text(LEVEL_OK), "ok");
	assert_string_equal(pool_level_text(LEVEL_LOW), "low");
	assert_string_equal(pool_level_text(LEVEL_CRITICAL), "critical");
	assert_string_equal(pool_level_text(LEVEL_EMPTY), "empty");
	assert_string_equal(pool_level_text(LEVEL__COUNT), "?");
}

static void
with_require_backup_only_covered_keys_make_the_level(void **ctx)
{
	static const struct {
		bool required;
		int64_t ready, covered, usable;
		enum pool_level level;
	} cases[] = { /* required 20, low water 16, critical 10 */
		{ false, 20, 0, 20, LEVEL_FULL },
		{ true, 20, 0, 0, LEVEL_EMPTY },
		{ true, 20, 1, 1, LEVEL_CRITICAL },
		{ true, 20, 10, 10, LEVEL_LOW },
		{ true, 20, 16, 16, LEVEL_OK },
		{ true, 20, 20, 20, LEVEL_FULL },
		{ true, 30, 20, 20, LEVEL_FULL },
		{ true, 5, 20, 5, LEVEL_CRITICAL }, /* counted in between */
		{ true, 0, 0, 0, LEVEL_EMPTY },
	};
	struct site s;
	struct plan_pool *p;

	(void)ctx;
	site_init(&s);
	site_plan(&s);
	p = &s.plan.pools[0];
	for (size_t i = 0; i < nitems(cases); i++) {
		for (size_t k = 0; k < nitems(s.repositories); k++)
			s.repositories[k].require_backup = cases[i].required;
		plan_stock_set(p, KEY_READY, cases[i].ready);
		plan_cover_set(p, cases[i].covered);
		plan_level(&s.plan, NULL);
		if (p->level != cases[i].level || p->usable != cases[i].usable)
			fail_msg("%zu: %lld usable, %s", i,
			    (long long)p->usable, pool_level_text(p->level));
		/* A refill makes up for no backup. */
		assert_int_equal(p->ready, cases[i].ready);
		assert_int_equal(p->make,
		    cases[i].ready < 20 ? 20 - cases[i].ready : 0);
	}
	plan_clear(&s.plan);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_pool_is_policy_role_repository_algorithm_and_size),
		cmocka_unit_test(
		    keys_that_differ_only_in_lifetime_share_a_pool),
		cmocka_unit_test(the_same_key_in_two_policies_is_two_pools),
		cmocka_unit_test(each_strategy_asks_for_its_own_number),
		cmocka_unit_test(a_fixed_number_counts_once_for_two_lifetimes),
		cmocka_unit_test(shared_keys_are_one_unit_for_the_policy),
		cmocka_unit_test(a_scope_decides_instead_of_share_keys),
		cmocka_unit_test(owners_are_the_units_where_they_share_keys),
		cmocka_unit_test(more_zones_have_more_owners),
		cmocka_unit_test(nobody_plans_for_owners_that_nothing_names),
		cmocka_unit_test(what_covered_keys_last),
		cmocka_unit_test(
		    what_if_replaces_the_zones_of_all_but_passthrough),
		cmocka_unit_test(all_that_is_coming_counts_against_the_deficit),
		cmocka_unit_test(a_full_plan_makes_nothing),
		cmocka_unit_test(the_level_counts_only_what_could_be_taken_now),
		cmocka_unit_test(
		    with_require_backup_only_covered_keys_make_the_level),
		cmocka_unit_test(low_water_is_rounded_up),
		cmocka_unit_test(
		    capacity_is_never_exceeded_and_the_rest_is_named),
		cmocka_unit_test(keys_on_their_way_take_room),
		cmocka_unit_test(
		    a_pool_with_more_than_it_requires_keeps_its_room),
		cmocka_unit_test(counts_that_cannot_be_do_not_wrap_around),
		cmocka_unit_test(whatever_the_stock_the_sums_agree),
		cmocka_unit_test(room_goes_where_the_risk_is_key_by_key),
		cmocka_unit_test(numbers_of_any_size_are_shared_at_once),
		cmocka_unit_test(
		    fill_takes_the_room_that_is_left_in_proportion),
		cmocka_unit_test(
		    fill_is_the_formula_where_there_is_no_limit_or_no_zone),
		cmocka_unit_test(
		    what_if_replaces_horizon_emergencies_and_capacity),
		cmocka_unit_test(a_token_says_what_is_needed_there_and_free),
		cmocka_unit_test(what_fill_holds_is_no_alarm),
		cmocka_unit_test(a_century_is_planned_for_as_a_month_is),
		cmocka_unit_test(
		    rsa_pairs_are_one_object_where_the_public_half_is_skipped),
		cmocka_unit_test(
		    what_cannot_be_planned_is_refused_and_says_where),
		cmocka_unit_test(an_empty_configuration_is_an_empty_plan),
		cmocka_unit_test(every_level_has_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
