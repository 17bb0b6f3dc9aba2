#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "ksmpool/consumer.h"

static void
every_consumer_is_found_by_its_name(void **ctx)
{
	(void)ctx;
	for (int i = CONSUMER_NONE + 1; i < CONSUMER__COUNT; i++) {
		enum consumer c = CONSUMER_NONE;

		assert_true(consumer_find(consumer_text((enum consumer)i), &c));
		assert_int_equal(c, i);
	}
}

static void
what_is_no_consumer_is_not_found(void **ctx)
{
	static const char *const words[] = { "", "BIND", "bind ", "knot3",
		"json" };
	enum consumer c = CONSUMER_DS;

	(void)ctx;
	for (size_t i = 0; i < nitems(words); i++)
		assert_false(consumer_find(words[i], &c));
	assert_int_equal(c, CONSUMER_DS);
	assert_string_equal(consumer_text(CONSUMER_NONE), "");
	assert_string_equal(consumer_text(CONSUMER__COUNT), "?");
}

static void
a_signer_is_given_what_it_can_use(void **ctx)
{
	static const struct {
		const char *consumer;
		enum key_role role;
		int alg;
		bool single, fits;
		const char *words; /* in the refusal */
	} cases[] = {
		{ "bind", ROLE_KSK, 13, false, true, NULL },
		{ "bind", ROLE_ZSK, 16, false, true, NULL },
		{ "bind", ROLE_ZSK, 8, true, false, "SkipPublicKey" },
		{ "knot", ROLE_CSK, 15, false, true, NULL },
		{ "knot", ROLE_KSK, 8, true, true, NULL },
		{ "knot", ROLE_KSK, 13, true, false, "can use RSA keys" },
		{ "knot-later", ROLE_KSK, 16, false, false, "ED448" },
		{ "opendnssec", ROLE_KSK, 10, true, true, NULL },
		{ "opendnssec-pool", ROLE_ZSK, 14, true, false,
		    "ECDSAP384SHA384" },
		{ "powerdns", ROLE_KSK, 14, false, true, NULL },
		{ "powerdns", ROLE_KSK, 15, false, false,
		    "ECDSAP256SHA256 and ECDSAP384SHA384" },
		{ "powerdns", ROLE_KSK, 8, true, false, "PowerDNS" },
		{ "cascade", ROLE_CSK, 8, false, true, NULL },
		{ "cascade", ROLE_CSK, 14, false, false,
		    "Cascade cannot use ECDSAP384SHA384 keys that are in a "
		    "token; it can use RSASHA256 and ECDSAP256SHA256" },
		{ "cascade", ROLE_CSK, 13, true, false, "public object" },
		{ "uri", ROLE_ZSK, 16, true, true, NULL },
		{ "dnskey", ROLE_ZSK, 5, true, true, NULL },
		{ "cds", ROLE_KSK, 13, true, true, NULL },
		{ "cds", ROLE_ZSK, 13, false, false, "CDS" },
		{ "ds", ROLE_CSK, 13, false, true, NULL },
		{ "ds", ROLE_ZSK, 13, false, false, "not a ZSK" },
		{ "uri", ROLE_ZSK, 12, false, false, "ECC-GOST" },
		{ "uri", ROLE_ZSK, 269, false, false, "unassigned" },
		{ "uri", ROLE_ZSK, -1, false, false, "-1" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct ksm_fail fail = { .text = "" };
		enum consumer c = CONSUMER_NONE;
		enum ksm_err err;

		assert_true(consumer_find(cases[i].consumer, &c));
		err = consumer_fits(c, cases[i].role, cases[i].alg,
		    cases[i].single, &fail);
		if (err != (cases[i].fits ? KSM_OK : KSM_EREFUSED) ||
		    (!cases[i].fits &&
			strstr(fail.text, cases[i].words) == NULL))
			fail_msg("case %zu, %s: %d, \"%s\"", i,
			    cases[i].consumer, err, fail.text);
	}
}

static void
nobody_in_particular_takes_any_key(void **ctx)
{
	(void)ctx;
	assert_int_equal(
	    consumer_fits(CONSUMER_NONE, ROLE_ZSK, 16, true, NULL), KSM_OK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_consumer_is_found_by_its_name),
		cmocka_unit_test(what_is_no_consumer_is_not_found),
		cmocka_unit_test(a_signer_is_given_what_it_can_use),
		cmocka_unit_test(nobody_in_particular_takes_any_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
