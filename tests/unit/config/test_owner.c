#include "said.h"

#include <stdlib.h>

static struct zonelist list;
static struct owners owners;

#define ZONE(name, policy) \
	"<Zone name='" name "'><Policy>" policy "</Policy></Zone>\n"
#define LIST(zones) "<ZoneList>\n" zones "</ZoneList>"
#define FEW                                                                    \
	LIST(ZONE("a.example", "default") ZONE("b.example", "default")         \
	    ZONE("c.example", "default") ZONE("d.example", "other"))

static void
zones_are(struct conf *c, const char *zones)
{
	struct xml_file file = { c, CONF_ZONELIST, "zonelist.xml" };
	struct xml_result result;
	struct ksm_fail fail;

	xml_setup();
	conf_init(c);
	c->kasp_file = strdup("kasp.xml");
	assert_non_null(conf_policy_add(c, "default"));
	assert_non_null(conf_policy_add(c, "other"));
	assert_int_equal(zonelist_read_bytes(&file, zones, strlen(zones), true,
	    &list, &result, &fail), KSM_OK);
	assert_int_equal(c->errors + c->warnings, 0);
}

static struct xml_result
read_bytes(struct conf *c, const char *text, size_t len)
{
	struct xml_file file = { c, CONF_OWNERS, "owners" };
	struct xml_result result;
	struct ksm_fail fail;

	assert_int_equal(owners_read_bytes(&file, text, len, &list, true,
	    &owners, &result, &fail), KSM_OK);
	return result;
}

static struct xml_result
read_owners(struct conf *c, const char *text)
{
	zones_are(c, FEW);
	return read_bytes(c, text, strlen(text));
}

static void
done(struct conf *c)
{
	owners_clear(&owners);
	zonelist_clear(&list);
	conf_clear(c);
}

/* "" : it has none. */
static const char *
owner_of(const char *name, size_t len)
{
	struct zone_row row;
	bool added;
	uint32_t at = nametable_put(&list.names, name, len, &added);

	assert_true(at != 0);
	assert_false(added);
	row = zone_row_get(&list, at);
	if (row.owner == 0)
		return "";
	return (const char *)nametable_name(&owners.names, row.owner, &len);
}
#define OWNER(wire) owner_of(wire, sizeof(wire))

static void
zones_have_the_owners_that_are_written(void **ctx)
{
	struct conf c;

	(void)ctx;
	assert_true(read_owners(&c,
	    "# whose\n"
	    "\n"
	    "a.example acme\n"
	    "  \t \n"
	    "\tB.Example.\t \tacme  # until March\r\n"
	    "d.example Jos\xc3\xa9#1\n").sound);
	if (c.nfindings != 0) {
		said_show(&c);
		fail_msg("findings");
	}
	assert_int_equal(owners.zones, 3);
	assert_string_equal(OWNER("\1a\7example"), "acme");
	assert_string_equal(OWNER("\1b\7example"), "acme");
	assert_string_equal(OWNER("\1c\7example"), "");
	assert_string_equal(OWNER("\1d\7example"), "Jos\xc3\xa9#1");
	/* acme, and the zone that nobody has */
	assert_int_equal(list.counts[0].zones, 3);
	assert_int_equal(list.counts[0].owners, 2);
	assert_int_equal(list.counts[1].owners, 1);
	done(&c);
}

static void
an_owner_counts_on_each_of_its_policies(void **ctx)
{
	struct conf c;

	(void)ctx;
	(void)read_owners(&c, "a.example acme\nb.example acme\n"
	    "c.example acme\nd.example acme\n");
	assert_int_equal(list.counts[0].owners, 1);
	assert_int_equal(list.counts[1].owners, 1);
	done(&c);
	/* names are compared as they are written */
	(void)read_owners(&c, "a.example acme\nb.example Acme\n");
	assert_int_equal(list.counts[0].owners, 3);
	done(&c);
}

static void
faults_are_told_with_their_line(void **ctx)
{
	static const struct expect cases[] = {
		{ "no owner", "a.example\n", CONF_ERROR, 1,
		    "a zone without an owner" },
		{ "only a comment", "\na.example # acme\n", CONF_ERROR, 2,
		    "a zone without an owner" },
		{ "more", "a.example acme ltd\n", CONF_ERROR, 1, "ltd" },
		{ "no zone", "a..example acme\n", CONF_ERROR, 1,
		    "empty label" },
		{ "two owners", "a.example x\n\nA.EXAMPLE. y\n", CONF_ERROR, 3,
		    "one owner; at line 1 it is 'x', here 'y'" },
		{ "two owners of none", "z.example x\nz.example y\n",
		    CONF_ERROR, 2, "with two owners" },
		{ "twice", "a.example x\na.example x\n", CONF_WARNING, 2,
		    "first at line 1" },
		{ "long", "a.example 0123456789012345678901234567890123456789"
		    "012345678901234567890123\n", CONF_ERROR, 1,
		    "1 to 63 bytes; this has 64" },
		{ "control", "a.example a\x01" "b\n", CONF_ERROR, 1,
		    "not plain text" },
		{ "DEL", "a.example a\x7f\n", CONF_ERROR, 1,
		    "not plain text" },
		{ "not UTF-8", "a.example \xff\n", CONF_ERROR, 1,
		    "not plain text" },
		{ "overlong", "a.example \xc0\xaf\n", CONF_ERROR, 1,
		    "not plain text" },
		{ "surrogate", "a.example \xed\xa0\x80\n", CONF_ERROR, 1,
		    "not plain text" },
		{ "cut in a character", "a.example \xe2\x82\n", CONF_ERROR, 1,
		    "not plain text" },
		{ "no-break space", "a.example a\xc2\xa0" "b\n", CONF_ERROR,
		    1, "not plain text" },
		{ "right to left", "a.example a\xe2\x80\xae" "b\n",
		    CONF_ERROR, 1, "not plain text" },
		{ "C1 control", "a.example a\xc2\x85\n", CONF_ERROR, 1,
		    "not plain text" },
		{ "no end", "a.example x\nb.example acm", CONF_ERROR, 2,
		    "the last line has no end" },
		{ "no end of a comment", "a.example x\n# a", CONF_ERROR, 2,
		    "the last line has no end" },
		{ "nothing", "", CONF_NOTICE, 0, "no owner in it" },
		{ "comments", "# a.example x\n\n", CONF_NOTICE, 0,
		    "no owner in it" },
		{ "XML", "<?xml version='1.0' encoding='UTF-8'?>\n",
		    CONF_ERROR, 1, "more than a zone and its owner" },
	};
	struct conf c;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct xml_result r = read_owners(&c, cases[i].text);

		expect_said(&cases[i], &c);
		assert_int_equal(r.sound, cases[i].severity != CONF_ERROR);
		assert_int_equal(c.zonelist_errors, c.errors);
		done(&c);
	}
}

static void
all_faults_are_told_and_not_only_the_first(void **ctx)
{
	struct conf c;

	(void)ctx;
	assert_false(read_owners(&c, "a.example\nb..example x\n"
	    "c.example x y\na.example x\na.example y\n").sound);
	assert_int_equal(c.errors, 4);
	/* counts that are not to be used stay as the zone list has them */
	assert_int_equal(list.counts[0].owners, 3);
	done(&c);
}

static void
zones_that_are_not_listed_are_one_notice(void **ctx)
{
	static const struct expect few = {
		"unlisted", NULL, CONF_NOTICE, 2,
		"2 zones are not in the zone list, the first is",
	};
	static const struct expect one = {
		"unlisted", NULL, CONF_NOTICE, 1, "1 zone is not in the zone",
	};
	struct xml_file file = { .in = CONF_OWNERS, .path = "owners" };
	struct xml_result result;
	struct ksm_fail fail;
	struct conf c;

	(void)ctx;
	assert_true(read_owners(&c, "a.example x\ny.example x\nz.example x\n"
	    "y.example x\n").sound);
	expect_said(&few, &c);
	assert_string_equal(said(&c, few.words)->value, "y.example");
	assert_int_equal(c.notices, 1);
	assert_int_equal(c.warnings, 1);
	assert_int_equal(list.counts[0].owners, 3);
	assert_int_equal(list.zones, 4);
	done(&c);

	(void)read_owners(&c, "y.example x\n");
	expect_said(&one, &c);
	done(&c);

	/* a list with faults has not all zones that there are */
	zones_are(&c, FEW);
	file.conf = &c;
	assert_int_equal(owners_read_bytes(&file, "y.example x\n", 12, &list,
	    false, &owners, &result, &fail), KSM_OK);
	assert_int_equal(c.nfindings, 0);
	done(&c);
}

static void
odd_bytes_do_no_harm(void **ctx)
{
	static const char nul[] = "a.example ac\0me\nb.example x\n";
	static const struct expect in_line = {
		"NUL", NULL, CONF_ERROR, 1, "a NUL byte in a line",
	};
	static const struct expect too_long = {
		"long", NULL, CONF_ERROR, 1, "a line is too long",
	};
	static const struct expect cut = {
		"cut", NULL, CONF_ERROR, 2, "has no end",
	};
	char *text = malloc(20000);
	struct conf c;

	(void)ctx;
	zones_are(&c, FEW);
	assert_false(read_bytes(&c, nul, sizeof(nul) - 1).sound);
	expect_said(&in_line, &c);
	assert_int_equal(owners.zones, 1);
	done(&c);

	assert_non_null(text);
	memset(text, 'x', 20000);
	(void)memcpy(text, "a.example ", 10);
	(void)memcpy(text + 9998, "\nb", 2);
	zones_are(&c, FEW);
	assert_false(read_bytes(&c, text, 20000).sound);
	expect_said(&too_long, &c);
	expect_said(&cut, &c);
	done(&c);
	free(text);

	/* a byte order mark, as some editors leave it */
	assert_true(read_owners(&c, "\xef\xbb\xbf" "a.example x\n").sound);
	assert_string_equal(OWNER("\1a\7example"), "x");
	done(&c);
}

static void
what_cannot_be_opened_is_said_so(void **ctx)
{
	struct xml_file file = { .in = CONF_OWNERS };
	struct xml_result result;
	struct ksm_fail fail;
	struct conf c;

	(void)ctx;
	zones_are(&c, FEW);
	file.conf = &c;
	file.path = "/nonexistent/owners";
	assert_int_equal(owners_read(&file, &list, true, &owners, &result,
	    &fail), KSM_OK);
	assert_false(result.opened);
	assert_non_null(said(&c, "No such file"));
	owners_clear(&owners);
	file.path = "/tmp";
	assert_int_equal(owners_read(&file, &list, true, &owners, &result,
	    &fail), KSM_OK);
	assert_false(result.opened);
	assert_non_null(said(&c, "not a directory"));
	assert_int_equal(c.zonelist_errors, 2);
	owners_clear(&owners);
	file.path = KSM_FIXTURES "/owners/good";
	assert_int_equal(owners_read(&file, &list, true, &owners, &result,
	    &fail), KSM_OK);
	assert_true(result.opened);
	assert_true(result.sound);
	assert_int_equal(c.errors, 2);
	done(&c);
}

static void
many_owners_are_counted_fast(void **ctx)
{
	enum { MANY = 100000 };
	size_t size = (size_t)MANY * 80, used = 0;
	char *text = malloc(size);
	struct conf c;

	(void)ctx;
	assert_non_null(text);
	used += (size_t)snprintf(text, size, "<ZoneList>");
	for (int i = 0; i < MANY; i++)
		used += (size_t)snprintf(text + used, size - used,
		    ZONE("z%d.example", "default"), i);
	(void)snprintf(text + used, size - used, "</ZoneList>");
	zones_are(&c, text);
	used = 0;
	for (int i = 0; i < MANY; i++)
		used += (size_t)snprintf(text + used, size - used,
		    "z%d.example owner-%d\n", i, i / 4);
	assert_true(read_bytes(&c, text, used).sound);
	assert_int_equal(c.nfindings, 0);
	assert_int_equal(list.counts[0].zones, MANY);
	assert_int_equal(list.counts[0].owners, MANY / 4);
	done(&c);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zones_have_the_owners_that_are_written),
		cmocka_unit_test(an_owner_counts_on_each_of_its_policies),
		cmocka_unit_test(faults_are_told_with_their_line),
		cmocka_unit_test(all_faults_are_told_and_not_only_the_first),
		cmocka_unit_test(zones_that_are_not_listed_are_one_notice),
		cmocka_unit_test(odd_bytes_do_no_harm),
		cmocka_unit_test(what_cannot_be_opened_is_said_so),
		cmocka_unit_test(many_owners_are_counted_fast),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
