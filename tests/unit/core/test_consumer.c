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

static void
a_signer_is_told_names_that_it_can_take(void **ctx)
{
	static char many[950];
	const struct {
		const char *consumer;
		struct consumer_names names;
		const char *words; /* in the refusal; NULL: it fits */
	} cases[] = {
		{ "opendnssec", { .zone = "a.example", .repository = "hsm-1" },
		    NULL },
		{ "opendnssec", { .zone = "a.example", .repository = "my hsm" },
		    "no repository with blanks" },
		{ "opendnssec", { .zone = "a\\032b.example",
		      .repository = "hsm" }, "no zone with blanks" },
		{ "opendnssec", { .zone = many, .repository = "hsm" },
		    "at most 1023 characters" },
		{ "opendnssec-pool", { .zone = many, .repository = "my hsm" },
		    NULL },
		{ "cascade", { .zone = "a.example", .repository = "h-" },
		    NULL },
		{ "cascade", { .zone = "a.example", .repository = "-h" },
		    "begins with a hyphen" },
		{ "powerdns", { .module = "/usr/lib/libsofthsm2.so",
		      .token_label = "lab" }, NULL },
		{ "powerdns", { .module = "/usr/lib/libsofthsm2.so" }, NULL },
		{ "powerdns", { .module = "/usr/lib/ lib.so" }, "a module" },
		{ "powerdns", { .module = "/x.so", .token_label = "" },
		    "label of a token" },
		{ "powerdns", { .module = "/x.so", .token_label = "a\nb" },
		    "control characters" },
		{ "powerdns", { .module = "/x.so", .key_label = " a" },
		    "label of a key" },
		{ "knot", { .zone = many, .repository = "- h" }, NULL },
	};

	(void)ctx;
	memset(many, 'a', sizeof(many) - 1);
	for (size_t i = 0; i < nitems(cases); i++) {
		struct ksm_fail fail = { .text = "" };
		enum consumer c;
		enum ksm_err err;

		assert_true(consumer_find(cases[i].consumer, &c));
		err = consumer_names_fit(c, &cases[i].names, &fail);
		assert_int_equal(err,
		    cases[i].words == NULL ? KSM_OK : KSM_EREFUSED);
		if (cases[i].words != NULL &&
		    strstr(fail.text, cases[i].words) == NULL)
			fail_msg("%zu: %s", i, fail.text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_consumer_is_found_by_its_name),
		cmocka_unit_test(what_is_no_consumer_is_not_found),
		cmocka_unit_test(a_signer_is_given_what_it_can_use),
		cmocka_unit_test(a_signer_is_told_names_that_it_can_take),
		cmocka_unit_test(nobody_in_particular_takes_any_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
