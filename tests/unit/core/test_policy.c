#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ksmpool/policy.h"

#define DAY INT64_C(86400)

static struct conf_repository *
repository(struct conf *c, const char *name, const char *module,
    const char *label)
{
	struct conf_repository *r = conf_repository_add(c, name);

	assert_non_null(r);
	r->module = strdup(module);
	r->token_label = strdup(label);
	r->file = strdup("ksmpool.xml");
	r->line = (int64_t)c->nrepositories * 10;
	return r;
}

static struct conf_policy *
policy(struct conf *c, const char *name, int64_t zones)
{
	struct conf_policy *p = conf_policy_add(c, name);

	assert_non_null(p);
	p->zones = zones;
	p->line = (int64_t)c->npolicies * 100;
	return p;
}

static struct conf_key *
key(struct conf_policy *p, enum key_role role, int alg, int bits,
    int64_t lifetime, const char *repo)
{
	struct conf_key *k = conf_key_add(p);

	assert_non_null(k);
	k->role = role;
	k->alg = alg;
	k->bits = bits;
	k->lifetime = lifetime;
	k->repository = strdup(repo);
	k->line = p->line + (int64_t)p->nkeys;
	return k;
}

static void
plain(struct conf *c)
{
	struct conf_policy *p;

	conf_init(c);
	c->file = strdup("ksmpool.xml");
	c->kasp_file = strdup("kasp.xml");
	(void)repository(c, "hsm", "/lib/a.so", "A");
	p = policy(c, "default", 10);
	(void)key(p, ROLE_KSK, 8, 2048, 365 * DAY, "hsm");
	(void)key(p, ROLE_ZSK, 8, 2048, 90 * DAY, "hsm");
}

static const struct conf_finding *
find(const struct conf *c, const char *what)
{
	for (size_t i = 0; i < c->nfindings; i++)
		if (strcmp(c->findings[i].what, what) == 0)
			return &c->findings[i];
	return NULL;
}

static void
check(struct conf *c)
{
	struct ksm_fail fail;

	assert_int_equal(conf_check(c, &fail), KSM_OK);
}

static void
an_ordinary_configuration_has_no_findings(void **ctx)
{
	struct conf c;

	(void)ctx;
	plain(&c);
	check(&c);
	assert_int_equal(c.nfindings, 0);
	conf_clear(&c);
}

static void
an_empty_configuration_can_be_checked_and_cleared_twice(void **ctx)
{
	struct conf c;

	(void)ctx;
	conf_init(&c);
	check(&c);
	assert_int_equal(c.nfindings, 0);
	conf_clear(&c);
	conf_clear(&c);
}

static void
the_second_and_third_repository_may_be_the_ones_that_clash(void **ctx)
{
	const struct conf_finding *f;
	struct conf c;

	(void)ctx;
	plain(&c);
	(void)repository(&c, "two", "/lib/b.so", "B");
	(void)repository(&c, "three", "/lib/b.so", "B");
	check(&c);
	f = find(&c, "two repositories mean the same token");
	assert_non_null(f);
	assert_int_equal(c.errors, 1);
	assert_string_equal(f->value, "three");
	assert_int_equal(f->line, 30);
	assert_non_null(strstr(f->expected, "'two' at line 20"));
	conf_clear(&c);
}

static void
tokens_clash_where_one_token_could_answer_to_both(void **ctx)
{
	static const struct {
		const char *what, *label1, *serial1, *uri1;
		const char *label2, *serial2, *uri2;
		bool clash;
	} cases[] = {
		{ "other labels", "A", NULL, NULL, "B", NULL, NULL, false },
		{ "padded label", "A", NULL, NULL, "A  ", NULL, NULL, true },
		{ "two serials", "A", "1", NULL, "A", "2", NULL, false },
		{ "any serial", "A", "1", NULL, "A", NULL, NULL, true },
		{ "uri and label", "A", NULL, NULL, NULL, NULL,
		    "pkcs11:token=A", true },
		{ "escaped uri", "A B", NULL, NULL, NULL, NULL,
		    "pkcs11:serial=7;token=A%20B", true },
		{ "serials in uris", NULL, NULL, "pkcs11:serial=1", NULL,
		    NULL, "pkcs11:serial=2", false },
		{ "the same serial", NULL, NULL, "pkcs11:serial=1", NULL,
		    NULL, "pkcs11:token=B;serial=1", true },
		{ "cut at 32 bytes", "0123456789012345678901234567890123",
		    NULL, NULL, "01234567890123456789012345678901", NULL,
		    NULL, true },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct conf_repository *r;
		struct conf c;

		conf_init(&c);
		for (int n = 0; n < 2; n++) {
			const char *label = n == 0 ? cases[i].label1 :
			    cases[i].label2;
			const char *serial = n == 0 ? cases[i].serial1 :
			    cases[i].serial2;
			const char *uri = n == 0 ? cases[i].uri1 :
			    cases[i].uri2;

			r = conf_repository_add(&c, n == 0 ? "a" : "b");
			assert_non_null(r);
			r->module = strdup("/lib/x.so");
			r->token_label = label != NULL ? strdup(label) : NULL;
			r->token_serial = serial != NULL ? strdup(serial) :
			    NULL;
			r->token_uri = uri != NULL ? strdup(uri) : NULL;
		}
		check(&c);
		if ((find(&c, "two repositories mean the same token") !=
		    NULL) != cases[i].clash)
			fail_msg("%s", cases[i].what);
		conf_clear(&c);
	}
}

static void
a_label_over_32_bytes_is_an_error(void **ctx)
{
	struct conf c;

	(void)ctx;
	plain(&c);
	(void)repository(&c, "just", "/lib/b.so",
	    "01234567890123456789012345678901");
	check(&c);
	assert_int_equal(c.errors, 0);
	(void)repository(&c, "over", "/lib/c.so",
	    "012345678901234567890123456789012");
	check(&c);
	assert_int_equal(c.errors, 1);
	assert_non_null(find(&c, "token label is too long"));
	conf_clear(&c);
}

static void
duplicates_are_errors_that_name_the_first(void **ctx)
{
	const struct conf_finding *f;
	struct conf_policy *p;
	struct conf c;

	(void)ctx;
	plain(&c);
	(void)repository(&c, "hsm", "/lib/b.so", "B");
	p = policy(&c, "default", 0);
	(void)key(p, ROLE_ZSK, 13, 256, DAY, "hsm");
	(void)key(p, ROLE_ZSK, 13, 256, DAY, "hsm");
	check(&c);
	assert_int_equal(c.errors, 3);
	f = find(&c, "duplicate repository");
	assert_non_null(f);
	assert_non_null(strstr(f->expected, "line 10"));
	f = find(&c, "duplicate policy");
	assert_non_null(f);
	assert_non_null(strstr(f->expected, "line 100"));
	f = find(&c, "duplicate policy key");
	assert_non_null(f);
	assert_int_equal(f->line, 202);
	assert_non_null(strstr(f->expected, "line 201"));
	conf_clear(&c);
}

static void
keys_that_differ_only_in_lifetime_are_no_duplicates(void **ctx)
{
	struct conf_policy *p;
	struct conf c;

	(void)ctx;
	plain(&c);
	p = policy(&c, "other", 5);
	(void)key(p, ROLE_ZSK, 13, 256, 90 * DAY, "hsm");
	(void)key(p, ROLE_ZSK, 13, 256, 91 * DAY, "hsm");
	check(&c);
	assert_int_equal(c.errors, 0);
	conf_clear(&c);
}

static void
an_unknown_repository_is_an_error_that_lists_the_known(void **ctx)
{
	const struct conf_finding *f;
	struct conf c;

	(void)ctx;
	plain(&c);
	(void)key(&c.policies[0], ROLE_CSK, 13, 256, 0, "bob");
	check(&c);
	f = find(&c, "unknown repository");
	assert_non_null(f);
	assert_string_equal(f->value, "bob");
	assert_string_equal(f->expected, "one of hsm");
	conf_clear(&c);
}

static void
without_any_repository_none_is_called_unknown(void **ctx)
{
	struct conf_policy *p;
	struct conf c;

	(void)ctx;
	conf_init(&c);
	p = policy(&c, "default", 10);
	(void)key(p, ROLE_KSK, 8, 2048, DAY, "bob");
	check(&c);
	assert_int_equal(c.errors, 0);
	conf_clear(&c);
}

static void
a_policy_without_keys_is_an_error_unless_it_signs_nothing(void **ctx)
{
	struct conf_policy *p;
	struct conf c;

	(void)ctx;
	plain(&c);
	p = policy(&c, "through", 3);
	p->passthrough = true;
	check(&c);
	assert_int_equal(c.errors, 0);
	assert_int_equal(c.notices, 1);
	(void)policy(&c, "bare", 3);
	check(&c);
	assert_non_null(find(&c, "policy without keys"));
	assert_int_equal(c.errors, 1);
	conf_clear(&c);
}

static void
a_policy_whose_keys_are_all_faulty_is_not_called_bare(void **ctx)
{
	struct conf c;

	(void)ctx;
	plain(&c);
	(void)policy(&c, "faulty", 3);
	assert_int_equal(conf_finding_add(&c, CONF_ERROR, CONF_KASP,
	    "kasp.xml", 205, "unknown algorithm", "200", NULL), KSM_OK);
	check(&c);
	assert_null(find(&c, "policy without keys"));
	conf_clear(&c);
}

static void
capacity_below_the_pools_is_a_warning_with_numbers(void **ctx)
{
	const struct conf_finding *f;
	struct conf c;

	(void)ctx;
	plain(&c);
	/* 10 zones, each (1 + 1) KSK and (1 + 1) ZSK */
	c.repositories[0].capacity = 40;
	check(&c);
	assert_null(find(&c, "Capacity is too small for the pools"));
	c.repositories[0].capacity = 39;
	check(&c);
	f = find(&c, "Capacity is too small for the pools");
	assert_non_null(f);
	assert_string_equal(f->value, "39");
	assert_non_null(strstr(f->expected, "40 key pairs, 1 more"));
	conf_clear(&c);
}

static void
a_token_that_is_nearly_too_small_is_seen_in_time(void **ctx)
{
	static const struct {
		int64_t capacity; /* of 40 that the pools require */
		const char *what; /* NULL: nothing is said */
	} cases[] = {
		{ -1, NULL }, /* no Capacity is no limit */
		{ 54, NULL },
		{ 53, "the pools need 75 % of Capacity or more" },
		{ 45, "the pools need 75 % of Capacity or more" },
		{ 44, "the pools need 90 % of Capacity or more" },
		{ 40, "the pools need 90 % of Capacity or more" },
		{ 39, "Capacity is too small for the pools" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct conf c;

		plain(&c);
		c.repositories[0].capacity = cases[i].capacity;
		check(&c);
		if (c.warnings != (cases[i].what != NULL ? 1 : 0) ||
		    (cases[i].what != NULL && find(&c, cases[i].what) == NULL))
			fail_msg("capacity %lld",
			    (long long)cases[i].capacity);
		conf_clear(&c);
	}
}

static void
fill_needs_a_capacity_and_says_where(void **ctx)
{
	static const char what[] =
	    "strategy fill in a repository without Capacity";
	const struct conf_finding *f;
	struct conf c;

	(void)ctx;
	plain(&c);
	c.policies[0].keys[1].pool.strategy = STRATEGY_FILL;
	check(&c);
	f = find(&c, what);
	assert_non_null(f);
	assert_int_equal(f->severity, CONF_ERROR);
	assert_string_equal(f->file, "ksmpool.xml");
	assert_int_equal(f->line, 10);
	assert_string_equal(f->value, "hsm");
	assert_non_null(strstr(f->expected, "ZSK of policy 'default'"));
	assert_int_equal(c.errors, 1);
	conf_clear(&c);

	plain(&c);
	c.policies[0].keys[1].pool.strategy = STRATEGY_FILL;
	c.repositories[0].capacity = 100; /* filled, and yet no alarm */
	check(&c);
	assert_int_equal(c.nfindings, 0);
	conf_clear(&c);

	plain(&c);
	c.policies[0].keys[1].pool.strategy = STRATEGY_FILL;
	c.policies[0].passthrough = true; /* needs no keys, so no room */
	check(&c);
	assert_null(find(&c, what));
	conf_clear(&c);
}

static void
every_strategy_has_its_name(void **ctx)
{
	(void)ctx;
	for (int i = 0; i < STRATEGY__COUNT; i++) {
		enum strategy found = STRATEGY__COUNT;

		assert_true(strategy_find(strategy_text((enum strategy)i),
		    &found));
		assert_int_equal(found, i);
	}
	assert_string_equal(strategy_text(STRATEGY_FILL), "fill");
	assert_string_equal(strategy_text(STRATEGY__COUNT), "?");
	assert_false(strategy_find("full", &(enum strategy){ 0 }));
}

static void
a_refill_that_cannot_catch_up_is_a_warning(void **ctx)
{
	struct conf c;

	(void)ctx;
	plain(&c);
	c.repositories[0].keys_per_minute = 1;
	c.policies[0].zones = 100000;
	check(&c);
	assert_null(find(&c, "a refill can never catch up"));
	c.policies[0].zones = 200000; /* 1.5 keys a minute for ZSKs alone */
	check(&c);
	assert_non_null(find(&c, "a refill can never catch up"));
	conf_clear(&c);
}

static void
no_limit_of_keys_per_minute_always_catches_up(void **ctx)
{
	struct conf c;

	(void)ctx;
	plain(&c);
	c.repositories[0].keys_per_minute = 0;
	c.policies[0].zones = 200000;
	check(&c);
	assert_null(find(&c, "a refill can never catch up"));
	conf_clear(&c);
}

static void
more_than_ten_keys_for_each_zone_surprise(void **ctx)
{
	const struct conf_finding *f;
	struct conf c;

	(void)ctx;
	plain(&c);
	c.policies[0].keys[1].lifetime = 14400; /* the lab policy: PT4H */
	check(&c);
	f = find(&c, "a surprising number of keys");
	assert_non_null(f);
	assert_int_equal(c.warnings, 1);
	assert_int_equal(f->line, 102);
	assert_non_null(strstr(f->value, "1820 "));
	conf_clear(&c);
}

static void
more_keys_than_one_refill_makes_surprise(void **ctx)
{
	struct conf c;

	(void)ctx;
	plain(&c);
	c.policies[0].zones = 500;
	check(&c);
	assert_int_equal(c.warnings, 0);
	c.policies[0].zones = 501;
	check(&c);
	assert_int_equal(c.warnings, 2);
	assert_non_null(find(&c, "a surprising number of keys"));
	conf_clear(&c);
}

static void
an_absurd_standby_surprises(void **ctx)
{
	struct conf c;

	(void)ctx;
	plain(&c);
	c.policies[0].keys[0].standby = 1000000;
	check(&c);
	assert_non_null(find(&c, "a surprising number of keys"));
	conf_clear(&c);
}

static void
skipping_public_keys_of_curves_is_a_warning(void **ctx)
{
	struct conf c;

	(void)ctx;
	plain(&c);
	c.repositories[0].skip_public_key = true;
	check(&c);
	assert_int_equal(c.warnings, 0);
	(void)key(&c.policies[0], ROLE_CSK, 13, 256, 0, "hsm");
	check(&c);
	assert_int_equal(c.warnings, 1);
	conf_clear(&c);
}

static void
a_sum_that_overflows_is_an_error_of_its_key(void **ctx)
{
	const struct conf_finding *f;
	struct conf c;

	(void)ctx;
	plain(&c);
	c.policies[0].keys[1].standby = INT64_MAX / 2;
	check(&c);
	f = find(&c, "the number of keys cannot be computed");
	assert_non_null(f);
	assert_int_equal(c.errors, 1);
	assert_int_equal(f->line, 102);
	assert_non_null(f->value);
	conf_clear(&c);
}

static void
sums_that_overflow_together_are_an_error(void **ctx)
{
	struct conf c;

	(void)ctx;
	plain(&c);
	for (size_t k = 0; k < 2; k++) {
		c.policies[0].keys[k].pool.strategy = STRATEGY_FIXED;
		c.policies[0].keys[k].pool.fixed = INT64_MAX - 1;
	}
	check(&c);
	assert_non_null(find(&c, "the number of keys cannot be computed"));
	conf_clear(&c);
}

static void
findings_beyond_the_limit_are_counted(void **ctx)
{
	struct conf c;

	(void)ctx;
	conf_init(&c);
	for (int i = 0; i < 10100; i++)
		assert_int_equal(conf_finding_add(&c, i % 2 == 0 ? CONF_ERROR :
		    CONF_WARNING, CONF_ZONELIST, "z", i, "w", NULL, NULL),
		    KSM_OK);
	assert_int_equal(c.nfindings, 10000);
	assert_int_equal(c.errors, 5050);
	assert_int_equal(c.zonelist_errors, 5050);
	assert_int_equal(c.warnings, 5050);
	conf_clear(&c);
}

static void
strategies_have_one_name_each(void **ctx)
{
	enum strategy s;

	(void)ctx;
	for (int i = 0; i < STRATEGY__COUNT; i++) {
		assert_true(strategy_find(strategy_text((enum strategy)i),
		    &s));
		assert_int_equal(s, i);
	}
	assert_false(strategy_find("Formula", &s));
	assert_false(strategy_find("", &s));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ordinary_configuration_has_no_findings),
		cmocka_unit_test(
		    an_empty_configuration_can_be_checked_and_cleared_twice),
		cmocka_unit_test(
		    the_second_and_third_repository_may_be_the_ones_that_clash),
		cmocka_unit_test(
		    tokens_clash_where_one_token_could_answer_to_both),
		cmocka_unit_test(a_label_over_32_bytes_is_an_error),
		cmocka_unit_test(duplicates_are_errors_that_name_the_first),
		cmocka_unit_test(
		    keys_that_differ_only_in_lifetime_are_no_duplicates),
		cmocka_unit_test(
		    an_unknown_repository_is_an_error_that_lists_the_known),
		cmocka_unit_test(without_any_repository_none_is_called_unknown),
		cmocka_unit_test(
		    a_policy_without_keys_is_an_error_unless_it_signs_nothing),
		cmocka_unit_test(
		    a_policy_whose_keys_are_all_faulty_is_not_called_bare),
		cmocka_unit_test(
		    capacity_below_the_pools_is_a_warning_with_numbers),
		cmocka_unit_test(
		    a_token_that_is_nearly_too_small_is_seen_in_time),
		cmocka_unit_test(fill_needs_a_capacity_and_says_where),
		cmocka_unit_test(every_strategy_has_its_name),
		cmocka_unit_test(a_refill_that_cannot_catch_up_is_a_warning),
		cmocka_unit_test(no_limit_of_keys_per_minute_always_catches_up),
		cmocka_unit_test(more_than_ten_keys_for_each_zone_surprise),
		cmocka_unit_test(more_keys_than_one_refill_makes_surprise),
		cmocka_unit_test(an_absurd_standby_surprises),
		cmocka_unit_test(skipping_public_keys_of_curves_is_a_warning),
		cmocka_unit_test(a_sum_that_overflows_is_an_error_of_its_key),
		cmocka_unit_test(sums_that_overflow_together_are_an_error),
		cmocka_unit_test(findings_beyond_the_limit_are_counted),
		cmocka_unit_test(strategies_have_one_name_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
