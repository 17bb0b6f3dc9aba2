#include "said.h"

#include <stdlib.h>

static struct zonelist list;

static struct xml_result
read_list(struct conf *c, const char *text, bool check_policies)
{
	struct xml_file file = { c, CONF_ZONELIST, "zonelist.xml" };
	struct xml_result result;
	struct ksm_fail fail;

	xml_setup();
	assert_int_equal(zonelist_read_bytes(&file, text, strlen(text),
	    check_policies, &list, &result, &fail), KSM_OK);
	return result;
}

static int64_t
zones_on(const char *policy)
{
	for (size_t i = 0; i < list.ncounts; i++)
		if (strcmp(list.counts[i].policy, policy) == 0)
			return list.counts[i].zones;
	return -1;
}

static void
two_policies(struct conf *c)
{
	conf_init(c);
	c->kasp_file = strdup("kasp.xml");
	assert_non_null(conf_policy_add(c, "default"));
	assert_non_null(conf_policy_add(c, "other"));
}

#define ZONE(name, policy) \
	"<Zone name='" name "'><Policy>" policy "</Policy></Zone>\n"
#define LIST(zones) "<ZoneList>\n" zones "</ZoneList>"

static void
both_generations_of_lists_are_read(void **ctx)
{
	struct xml_file file = { .in = CONF_ZONELIST };
	struct xml_result result;
	struct ksm_fail fail;
	struct conf c;

	(void)ctx;
	xml_setup();
	two_policies(&c);
	file.conf = &c;
	file.path = KSM_FIXTURES "/zonelist/good-1x.xml";
	assert_int_equal(zonelist_read(&file, true, &list, &result, &fail),
	    KSM_OK);
	assert_true(result.sound);
	assert_int_equal(list.zones, 3);
	assert_int_equal(zones_on("default"), 2);
	assert_int_equal(zones_on("other"), 1);
	zonelist_clear(&list);
	file.path = KSM_FIXTURES "/zonelist/good-2x.xml";
	assert_int_equal(zonelist_read(&file, true, &list, &result, &fail),
	    KSM_OK);
	assert_int_equal(list.zones, 3);
	assert_int_equal(zones_on("default"), 3);
	assert_int_equal(c.errors + c.warnings, 0);
	zonelist_clear(&list);
	conf_clear(&c);
}

static void
commented_zones_are_no_zones(void **ctx)
{
	struct conf c;

	(void)ctx;
	two_policies(&c);
	assert_true(read_list(&c, LIST("<!-- " ZONE("a", "default") "-->"),
	    true).sound);
	assert_int_equal(list.zones, 0);
	assert_int_equal(c.errors + c.warnings, 0);
	assert_non_null(said(&c, "no zone in it"));
	zonelist_clear(&list);
	conf_clear(&c);
}

static void
one_name_in_other_spellings_is_one_zone(void **ctx)
{
	static const struct expect doubled = {
		"doubled", NULL, CONF_WARNING, 3, "first at line 2",
	};
	struct conf c;

	(void)ctx;
	two_policies(&c);
	(void)read_list(&c, LIST(
	    ZONE("64/1.0.168.192.IN-ADDR.ARPA.", "default")
	    ZONE("64/1.0.168.192.in-addr.arpa", "default")
	    ZONE("\\0544/1.0.168.192.in-addr.arpa", "default")), true);
	expect_said(&doubled, &c);
	assert_int_equal(list.zones, 1);
	assert_int_equal(zones_on("default"), 1);
	assert_int_equal(c.warnings, 2);
	assert_int_equal(c.errors, 0);
	zonelist_clear(&list);
	conf_clear(&c);
}

static void
one_zone_on_two_policies_is_an_error_that_names_both(void **ctx)
{
	const struct conf_finding *f;
	struct conf c;

	(void)ctx;
	two_policies(&c);
	(void)read_list(&c, LIST(ZONE("a.example", "default")
	    ZONE("A.example", "other")), true);
	f = said(&c, "on two policies");
	assert_non_null(f);
	assert_int_equal(f->severity, CONF_ERROR);
	assert_int_equal(f->line, 3);
	assert_non_null(strstr(f->expected,
	    "at line 2 it is on 'default', here on 'other'"));
	assert_int_equal(c.zonelist_errors, 1);
	zonelist_clear(&list);
	conf_clear(&c);
}

static void
faulty_zones_are_errors(void **ctx)
{
	static const struct expect cases[] = {
		{ "unknown policy", LIST(ZONE("a", "nobody")), CONF_ERROR, 2,
		    "zone on an unknown policy" },
		{ "no policy", LIST("<Zone name='a'/>"), CONF_ERROR, 2,
		    "<Zone> has no <Policy>" },
		{ "empty policy", LIST(ZONE("a", "")), CONF_ERROR, 2,
		    "Policy is empty" },
		{ "no name", LIST("<Zone><Policy>default</Policy></Zone>"),
		    CONF_ERROR, 2, "<Zone> has no name" },
		{ "empty name", LIST(ZONE("", "default")), CONF_ERROR, 2,
		    "<Zone> has no name" },
		{ "empty label", LIST(ZONE("a..b", "default")), CONF_ERROR,
		    2, "not a DNS name" },
		{ "blank", LIST(ZONE("a b", "default")), CONF_ERROR, 2,
		    "not a DNS name" },
		{ "long label", LIST(ZONE("0123456789012345678901234567890123"
		  "456789012345678901234567890123", "default")), CONF_ERROR,
		    2, "not a DNS name" },
		{ "unknown element", LIST("<Zone name='a'><Policy>default"
		  "</Policy><Extra/></Zone>"), CONF_ERROR, 2, "Extra" },
		{ "cut", "<ZoneList>\n" ZONE("a", "default") "<Zone na",
		    CONF_ERROR, 3, "not well-formed" },
		{ "policy file", "<KASP/>", CONF_ERROR, 1,
		    "this is not a zone list" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct conf c;

		two_policies(&c);
		(void)read_list(&c, cases[i].text, true);
		expect_said(&cases[i], &c);
		if (c.zonelist_errors < 1)
			fail_msg("%s: not an error of the list",
			    cases[i].what);
		zonelist_clear(&list);
		conf_clear(&c);
	}
}

static void
a_list_alone_counts_the_policies_it_names(void **ctx)
{
	struct conf c;

	(void)ctx;
	conf_init(&c);
	(void)read_list(&c, LIST(ZONE("a", "x") ZONE("b", "y")
	    ZONE("c", "x")), false);
	assert_int_equal(c.errors, 0);
	assert_int_equal(list.ncounts, 2);
	assert_int_equal(zones_on("x"), 2);
	assert_int_equal(zones_on("y"), 1);
	zonelist_clear(&list);
	conf_clear(&c);
}

static void
the_root_zone_counts(void **ctx)
{
	struct conf c;

	(void)ctx;
	two_policies(&c);
	(void)read_list(&c, LIST(ZONE(".", "default")), true);
	assert_int_equal(list.zones, 1);
	assert_int_equal(c.errors, 0);
	zonelist_clear(&list);
	conf_clear(&c);
}

static void
many_zones_are_counted_once_each(void **ctx)
{
	size_t n = 20000, used;
	struct conf c;
	char *text;

	(void)ctx;
	two_policies(&c);
	text = malloc(n * 2 * 80 + 100);
	assert_non_null(text);
	used = (size_t)sprintf(text, "<ZoneList>");
	for (size_t i = 0; i < 2 * n; i++)
		used += (size_t)sprintf(text + used, "<Zone name='zone%zu.example'>"
		    "<Policy>%s</Policy></Zone>\n", i % n,
		    i % n % 2 == 0 ? "default" : "other");
	(void)strcpy(text + used, "</ZoneList>");
	assert_true(read_list(&c, text, true).sound);
	assert_int_equal(list.zones, n);
	assert_int_equal(zones_on("default"), n / 2);
	assert_int_equal(zones_on("other"), n / 2);
	assert_int_equal(c.warnings, n);
	assert_int_equal(c.nfindings, 10000);
	zonelist_clear(&list);
	conf_clear(&c);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_generations_of_lists_are_read),
		cmocka_unit_test(commented_zones_are_no_zones),
		cmocka_unit_test(one_name_in_other_spellings_is_one_zone),
		cmocka_unit_test(
		    one_zone_on_two_policies_is_an_error_that_names_both),
		cmocka_unit_test(faulty_zones_are_errors),
		cmocka_unit_test(a_list_alone_counts_the_policies_it_names),
		cmocka_unit_test(the_root_zone_counts),
		cmocka_unit_test(many_zones_are_counted_once_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
