#include "said.h"

static struct xml_result
read_text(struct conf *c, const char *text)
{
	struct xml_file file = { c, CONF_KASP, "kasp.xml" };
	struct xml_result result;
	struct ksm_fail fail;

	xml_setup();
	conf_init(c);
	assert_int_equal(kasp_read_bytes(&file, text, strlen(text), &result,
	    &fail), KSM_OK);
	return result;
}

static struct xml_result
read_fixture(struct conf *c, const char *path)
{
	struct xml_file file = { c, CONF_KASP, path };
	struct xml_result result;
	struct ksm_fail fail;

	xml_setup();
	conf_init(c);
	assert_int_equal(kasp_read(&file, &result, &fail), KSM_OK);
	assert_true(result.opened);
	return result;
}

static void
expect_key(const struct conf_key *k, enum key_role role, int alg, int bits,
    int64_t lifetime, const char *repository)
{
	assert_int_equal(k->role, role);
	assert_int_equal(k->alg, alg);
	assert_int_equal(k->bits, bits);
	assert_int_equal(k->lifetime, lifetime);
	assert_string_equal(k->repository, repository);
}

static void
a_file_of_2x_is_read(void **ctx)
{
	const struct conf_policy *p;
	struct conf c;

	(void)ctx;
	assert_true(read_fixture(&c, KSM_FIXTURES "/kasp/good-2x.xml").sound);
	assert_int_equal(c.errors, 0);
	assert_int_equal(c.npolicies, 3);
	p = &c.policies[0];
	assert_string_equal(p->name, "default");
	assert_false(p->passthrough);
	assert_false(p->share_keys);
	assert_int_equal(p->purge, 14 * 86400);
	assert_int_equal(p->nkeys, 2);
	expect_key(&p->keys[0], ROLE_KSK, 8, 2048, 31536000, "KSKs");
	expect_key(&p->keys[1], ROLE_ZSK, 8, 2048, 8035200, "ZSKs");
	assert_true(p->keys[0].manual_rollover);
	assert_int_equal(p->keys[0].standby, 1);
	assert_false(p->keys[1].manual_rollover);
	p = &c.policies[1];
	assert_int_equal(p->purge, 0);
	assert_true(p->share_keys);
	expect_key(&p->keys[0], ROLE_CSK, 13, 256, 0, "ZSKs");
	assert_true(c.policies[2].passthrough);
	assert_null(strstr(said(&c, "no effect here")->value, "Purge"));
	conf_clear(&c);
}

static void
a_file_of_1x_is_read_and_says_what_it_ignores(void **ctx)
{
	const struct conf_finding *f;
	const struct conf_policy *p;
	struct conf c;

	(void)ctx;
	assert_true(read_fixture(&c, KSM_FIXTURES "/kasp/good-1x.xml").sound);
	assert_int_equal(c.errors, 0);
	assert_int_equal(c.npolicies, 1);
	p = &c.policies[0];
	assert_true(p->share_keys);
	expect_key(&p->keys[0], ROLE_KSK, 7, 2048, 14460, "softHSM");
	assert_int_equal(p->keys[1].standby, 2);
	f = said(&c, "Emergency is ignored");
	assert_non_null(f);
	assert_int_equal(f->severity, CONF_WARNING);
	assert_non_null(strstr(f->expected, "EmergencyRolls"));
	f = said(&c, "no effect here");
	assert_non_null(f);
	assert_non_null(strstr(f->value, "Audit"));
	assert_non_null(strstr(f->value, "RFC5011"));
	assert_int_equal(said_times(&c, "no effect here"), 1);
	conf_clear(&c);
}

static void
every_fault_of_a_file_is_reported(void **ctx)
{
	static const struct expect faults[] = {
		{ "jitter", NULL, CONF_ERROR, 12, "Jitter is not a duration" },
		{ "element", NULL, CONF_ERROR, 14, "InvalidNode" },
		{ "algorithm", NULL, CONF_ERROR, 21,
		    "no DNSSEC algorithm has this number" },
		{ "dsa", NULL, CONF_ERROR, 26, "algorithm DSA" },
		{ "length", NULL, CONF_ERROR, 31, "without a length" },
		{ "lifetime", NULL, CONF_ERROR, 35, "<KSK> has no <Lifetime>" },
		{ "size", NULL, CONF_ERROR, 40, "1024 to 4096" },
		{ "standby", NULL, CONF_ERROR, 48, "Standby" },
		{ "serial", NULL, CONF_ERROR, 57, "rubbish" },
		{ "name", NULL, CONF_ERROR, 61, "<Policy> has no name" },
	};
	struct conf c;

	(void)ctx;
	assert_true(read_fixture(&c, KSM_FIXTURES "/kasp/bad-all.xml").sound);
	for (size_t i = 0; i < nitems(faults); i++)
		expect_said(&faults[i], &c);
	if (c.errors != (int64_t)nitems(faults)) {
		said_show(&c);
		fail_msg("%d errors", (int)c.errors);
	}
	/* the one key without a fault is there */
	assert_int_equal(c.npolicies, 1);
	assert_int_equal(c.policies[0].nkeys, 1);
	expect_key(&c.policies[0].keys[0], ROLE_ZSK, 8, 2048, 7776000, "hsm");
	conf_clear(&c);
}

#define KASP(keys) \
	"<KASP>\n<Policy name='p'><Keys>\n" keys "\n</Keys></Policy></KASP>"
#define KEY(role, alg, life) \
	"<" role ">" alg "<Lifetime>" life "</Lifetime>" \
	"<Repository>r</Repository></" role ">"

static void
weak_and_odd_keys_draw_warnings(void **ctx)
{
	static const struct expect cases[] = {
		{ "short RSA", KASP(KEY("ZSK",
		  "<Algorithm length='1024'>8</Algorithm>", "P90D")),
		    CONF_WARNING, 3, "1024 bits" },
		{ "SHA-1", KASP(KEY("ZSK",
		  "<Algorithm length='2048'>5</Algorithm>", "P90D")),
		    CONF_WARNING, 3, "SHA-1" },
		{ "SHA-1 with NSEC3", KASP(KEY("ZSK",
		  "<Algorithm length='2048'>7</Algorithm>", "P90D")),
		    CONF_WARNING, 3, "SHA-1" },
		{ "odd length of a curve", KASP(KEY("CSK",
		  "<Algorithm length='9999'>13</Algorithm>", "PT0S")),
		    CONF_WARNING, 3, "one size only" },
		{ "months", KASP(KEY("ZSK",
		  "<Algorithm length='2048'>8</Algorithm>", "P15M")),
		    CONF_WARNING, 3, "PT15M" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct conf c;

		(void)read_text(&c, cases[i].text);
		expect_said(&cases[i], &c);
		assert_int_equal(c.errors, 0);
		assert_int_equal(c.policies[0].nkeys, 1);
		conf_clear(&c);
	}
}

static void
a_curve_needs_no_length(void **ctx)
{
	struct conf c;

	(void)ctx;
	(void)read_text(&c, KASP(KEY("CSK", "<Algorithm>15</Algorithm>",
	    "PT0S")));
	assert_int_equal(c.errors + c.warnings, 0);
	expect_key(&c.policies[0].keys[0], ROLE_CSK, 15, 256, 0, "r");
	conf_clear(&c);
}

static void
algorithms_that_cannot_be_are_errors(void **ctx)
{
	static const char *const numbers[] = {
		"0", "1", "2", "3", "4", "6", "9", "12", "200", "253", "256",
		"-8", "RSASHA256", "",
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(numbers); i++) {
		char text[400];
		struct conf c;

		(void)snprintf(text, sizeof(text), KASP(KEY("KSK",
		    "<Algorithm length='2048'>%s</Algorithm>", "P1D")),
		    numbers[i]);
		(void)read_text(&c, text);
		if (c.errors != 1 || c.policies[0].nkeys != 0)
			fail_msg("algorithm %s", numbers[i]);
		conf_clear(&c);
	}
}

static void
lengths_that_cannot_be_are_errors(void **ctx)
{
	static const char *const lengths[] = {
		"0", "-1", "2048x", "", "99999999999", "4097", "8192", "511",
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(lengths); i++) {
		char text[400];
		struct conf c;

		(void)snprintf(text, sizeof(text), KASP(KEY("KSK",
		    "<Algorithm length='%s'>8</Algorithm>", "P1D")),
		    lengths[i]);
		(void)read_text(&c, text);
		if (c.errors != 1 || c.policies[0].nkeys != 0) {
			said_show(&c);
			fail_msg("length %s", lengths[i]);
		}
		conf_clear(&c);
	}
}

static void
the_offset_of_old_files_may_be_negative(void **ctx)
{
	struct conf c;

	(void)ctx;
	(void)read_text(&c, "<KASP><Policy name='p'><Signatures>"
	    "<InceptionOffset>-PT300S</InceptionOffset></Signatures>"
	    "</Policy></KASP>");
	assert_int_equal(c.errors, 0);
	conf_clear(&c);
}

static void
no_policy_is_worth_a_notice(void **ctx)
{
	struct conf c;

	(void)ctx;
	assert_true(read_text(&c, "<KASP/>").sound);
	assert_int_equal(c.errors + c.warnings, 0);
	assert_non_null(said(&c, "no policy in it"));
	conf_clear(&c);
}

static void
keys_of_one_policy_are_bounded(void **ctx)
{
	char text[40000];
	struct conf c;
	size_t n;

	(void)ctx;
	n = (size_t)sprintf(text, "<KASP><Policy name='p'><Keys>");
	for (int i = 0; i < POLICY_KEYS_MAX + 3; i++)
		n += (size_t)sprintf(text + n, "<CSK><Algorithm>13</Algorithm>"
		    "<Lifetime>P%dD</Lifetime><Repository>r</Repository>"
		    "</CSK>", i);
	(void)strcpy(text + n, "</Keys></Policy></KASP>");
	(void)read_text(&c, text);
	assert_int_equal(c.errors, 1);
	assert_int_equal(c.policies[0].nkeys, POLICY_KEYS_MAX);
	conf_clear(&c);
}

static void
a_truncated_file_is_not_sound(void **ctx)
{
	struct conf c;

	(void)ctx;
	assert_false(read_text(&c, "<KASP><Policy name='p'><Keys>").sound);
	assert_int_equal(c.errors, 1);
	conf_clear(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_of_2x_is_read),
		cmocka_unit_test(a_file_of_1x_is_read_and_says_what_it_ignores),
		cmocka_unit_test(every_fault_of_a_file_is_reported),
		cmocka_unit_test(weak_and_odd_keys_draw_warnings),
		cmocka_unit_test(a_curve_needs_no_length),
		cmocka_unit_test(algorithms_that_cannot_be_are_errors),
		cmocka_unit_test(lengths_that_cannot_be_are_errors),
		cmocka_unit_test(the_offset_of_old_files_may_be_negative),
		cmocka_unit_test(no_policy_is_worth_a_notice),
		cmocka_unit_test(keys_of_one_policy_are_bounded),
		cmocka_unit_test(a_truncated_file_is_not_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
