#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "monitor.h"

static json_t *
document(const char *text)
{
	char *json = strdup(text);
	json_error_t where;
	json_t *doc;

	for (char *s = json; *s != '\0'; s++)
		if (*s == '\'')
			*s = '"';
	doc = json_loads(json, 0, &where);
	if (doc == NULL)
		fail_msg("%s: %s", where.text, json);
	free(json);
	return doc;
}

#define POOL(policy, level, ready)                                           \
	"{'policy':'" policy "','role':'KSK','repository':'SoftHSM',"        \
	"'algorithm':'RSASHA256','size':2048,'level':'" level "',"           \
	"'required':40,'ready':" ready ",'low_water':32,'critical':20}"
#define REPOSITORY(status, missing)                                  \
	"{'name':'SoftHSM','status':'" status "','reason':'why',"    \
	"'missing':" missing "}"
#define DOCUMENT(pools, repositories, more) \
	"{'pools':[" pools "],'repositories':[" repositories "]" more "}"

static void
expect(const struct monitor_want *want, const char *text,
    enum monitor_state state, const char *begin)
{
	json_t *doc = document(text);
	char line[MONITOR_LINE];

	assert_int_equal(monitor_judge(want, doc, line), state);
	assert_null(strchr(line, '\n'));
	if (strncmp(line, begin, strlen(begin)) != 0)
		fail_msg("%s\n does not begin with %s", line, begin);
	json_decref(doc);
}

static void
a_range_says_where_to_alert(void **ctx)
{
	static const struct {
		const char *text;
		double value;
		bool alerts;
	} cases[] = {
		{ "10", 10, false },	   { "10", 10.1, true },
		{ "10", 0, false },	   { "10", -1, true },
		{ "10:", 10, false },	   { "10:", 9.9, true },
		{ "~:10", -5, false },	   { "~:10", 11, true },
		{ "10:20", 10, false },	   { "10:20", 20, false },
		{ "10:20", 21, true },	   { "10:20", 9, true },
		{ "@10:20", 10, true },	   { "@10:20", 20, true },
		{ "@10:20", 21, false },   { "@10:20", 9.9, false },
		{ "0.5:", 0.4, true },	   { "-5:-1", -3, false },
		{ "@~:0", 0, true },	   { "@~:0", 0.1, false },
	};
	struct monitor_range r;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		assert_true(monitor_range_parse(cases[i].text, &r));
		if (monitor_range_alerts(&r, cases[i].value) !=
		    cases[i].alerts)
			fail_msg("%s of %f", cases[i].text, cases[i].value);
	}
}

static void
what_is_no_range_is_refused(void **ctx)
{
	static const char *const cases[] = { "", "@", ":", "x", "10:x", "20:10",
		"1e3", "inf", "nan", "0x10", " 1", "1 ", "~", "10::20", "1.2.3",
		"--1", "+1", ":10", "10%",
		"11111111111111111111111111111111111111111111" };
	struct monitor_range r;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++)
		if (monitor_range_parse(cases[i], &r))
			fail_msg("'%s' was taken for a range", cases[i]);
}

static void
without_ranges_the_levels_decide(void **ctx)
{
	static const struct monitor_want want = { .pool = NULL };

	(void)ctx;
	expect(&want,
	    DOCUMENT(POOL("a", "full", "40") "," POOL("b", "ok", "33"),
		REPOSITORY("ok", "0"), ""),
	    MONITOR_OK,
	    "KSMPOOL OK - 2 pools, the lowest has 82.5 % of what is required |"
	    " 'lowest'=82.5%;;;0; 'a/KSK/SoftHSM/RSASHA256/2048'=40;32:;20:;0;"
	    " 'b/");
	expect(&want, DOCUMENT(POOL("a", "low", "30"), "", ""),
	    MONITOR_WARNING, "KSMPOOL WARNING - pool a KSK in SoftHSM is low: "
	    "30 ready, 40 required |");
	expect(&want,
	    DOCUMENT(POOL("a", "low", "30") "," POOL("b", "empty", "0"), "",
		""),
	    MONITOR_CRITICAL, "KSMPOOL CRITICAL - pool b KSK in SoftHSM is "
	    "empty: 0 ready, 40 required (and 1 more) |");
	expect(&want, DOCUMENT(POOL("a", "critical", "1"), "", ""),
	    MONITOR_CRITICAL, "KSMPOOL CRITICAL");
	expect(&want, DOCUMENT("", "", ""), MONITOR_OK, "KSMPOOL OK - 0 pools");
}

static void
ranges_judge_the_lowest_percentage(void **ctx)
{
	struct monitor_want want = { .pool = NULL };
	const char *doc = DOCUMENT(
	    POOL("a", "full", "40") "," POOL("b", "low", "20"), "", "");

	(void)ctx;
	assert_true(monitor_range_parse("80:", &want.warning));
	expect(&want, doc, MONITOR_WARNING, "KSMPOOL WARNING - pool b KSK in "
	    "SoftHSM has 50.0 % of what is required (80:) | "
	    "'lowest'=50.0%;80:;;0;");
	assert_true(monitor_range_parse("60:", &want.critical));
	expect(&want, doc, MONITOR_CRITICAL, "KSMPOOL CRITICAL - pool b");
	assert_true(monitor_range_parse("50:", &want.critical));
	assert_true(monitor_range_parse("50:", &want.warning));
	expect(&want, doc, MONITOR_OK, "KSMPOOL OK");
	want.pool = "a/KSK";
	expect(&want, doc, MONITOR_OK, "KSMPOOL OK - 1 pool, the lowest has "
	    "100.0 %");
}

static void
trouble_elsewhere_is_judged_as_well(void **ctx)
{
	static const struct monitor_want want = { .pool = NULL };
	static const struct {
		const char *doc;
		enum monitor_state state;
	} cases[] = {
		{ DOCUMENT("", REPOSITORY("starting", "0"), ""), MONITOR_OK },
		{ DOCUMENT("", REPOSITORY("degraded", "0"), ""),
		    MONITOR_WARNING },
		{ DOCUMENT("", REPOSITORY("waiting", "0"), ""),
		    MONITOR_WARNING },
		{ DOCUMENT("", REPOSITORY("parked", "0"), ""),
		    MONITOR_CRITICAL },
		{ DOCUMENT("", REPOSITORY("alien", "0"), ""),
		    MONITOR_CRITICAL },
		{ DOCUMENT("", REPOSITORY("stuck", "0"), ""),
		    MONITOR_CRITICAL },
		{ DOCUMENT("", REPOSITORY("ok", "3"), ""), MONITOR_WARNING },
		{ DOCUMENT("", "", ",'clock':'behind'"), MONITOR_CRITICAL },
		{ DOCUMENT("", "", ",'database':'full'"), MONITOR_CRITICAL },
		{ DOCUMENT("", "", ",'handouts':{'locked':true}"),
		    MONITOR_CRITICAL },
		{ DOCUMENT("", "", ",'handouts':{'locked':false}"),
		    MONITOR_OK },
		{ DOCUMENT("", "", ",'clock':null,'database':null"),
		    MONITOR_OK },
		{ DOCUMENT("", "", ",'older_zonelist':true"), MONITOR_WARNING },
		{ DOCUMENT("", "", ",'paused':true"), MONITOR_WARNING },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++)
		expect(&want, cases[i].doc, cases[i].state, "KSMPOOL ");
}

#define BACKUP(more)                                                     \
	",'now_s':10000000,'backups':[{'repository':'SoftHSM'," more     \
	"'lasts_until':'LATER','last':'THEN','last_s':9999000}]"
#define NO_BACKUP(required)                                              \
	",'now_s':10000000,'backups':[{'repository':'SoftHSM',"          \
	"'required':" required ",'last':null,'last_s':null,"             \
	"'uncovered':6,'uncovered_in_use':1,'oldest_uncovered_s':5,"     \
	"'suffices':false,'first_out':'a/KSK','first_out_uncovered':6}]"

static void
backups_are_judged_where_they_are_told_of(void **ctx)
{
	static const struct monitor_want want = { .pool = NULL };
	static const struct {
		const char *doc, *line;
		enum monitor_state state;
	} cases[] = {
		{ DOCUMENT("", "", BACKUP("'uncovered':4,'lasts_s':604800,"
			"'first_out':'a/KSK','first_out_uncovered':4,"
			"'oldest_uncovered_s':9992800,'suffices':true,"
			"'uncovered_in_use':0,")),
		    "KSMPOOL OK - 0 pools, the lowest has 100.0 % of what is "
		    "required; 4 keys in no backup, the oldest 2 h old, last "
		    "backup begun THEN, backed-up keys last until LATER | "
		    "'lowest'=100.0%;;;0; 'backup/SoftHSM/uncovered'=4;;;0; "
		    "'backup/SoftHSM/uncovered_in_use'=0;;0;0; "
		    "'backup/SoftHSM/oldest_uncovered'=7200s;2592000;;0; "
		    "'backup/SoftHSM/last'=1000s;;;0; "
		    "'backup/SoftHSM/lasts'=604800s;604800:;;0;",
		    MONITOR_OK },
		{ DOCUMENT("", "", BACKUP("'uncovered':4,'lasts_s':604799,"
			"'first_out':'a/KSK','first_out_uncovered':4,"
			"'suffices':true,")),
		    "KSMPOOL WARNING - repository SoftHSM: backed-up keys of "
		    "a/KSK last until LATER; ", MONITOR_WARNING },
		/* There is nothing that a backup would add. */
		{ DOCUMENT("", "", BACKUP("'uncovered':4,'lasts_s':60,"
			"'first_out':'a/KSK','first_out_uncovered':0,"
			"'suffices':true,")),
		    "KSMPOOL OK", MONITOR_OK },
		{ DOCUMENT("", "", BACKUP("'uncovered':4,"
			"'first_out':'a/KSK','first_out_uncovered':1,"
			"'suffices':false,")),
		    "KSMPOOL WARNING - repository SoftHSM: backed-up keys of "
		    "a/KSK do not suffice; ", MONITOR_WARNING },
		{ DOCUMENT("", "", BACKUP("'uncovered':1,'suffices':true,"
			"'oldest_uncovered_s':7407999,")),
		    "KSMPOOL WARNING - repository SoftHSM: a key is in no "
		    "backup since 30 days", MONITOR_WARNING },
		{ DOCUMENT("", "", BACKUP("'uncovered':1,'suffices':true,"
			"'oldest_uncovered_s':7408000,")),
		    "KSMPOOL OK", MONITOR_OK },
		{ DOCUMENT("", "", BACKUP("'uncovered':1,'suffices':true,"
			"'uncovered_in_use':1,")),
		    "KSMPOOL CRITICAL - repository SoftHSM: 1 key is in use "
		    "and in no backup; ", MONITOR_CRITICAL },
		/* Who keeps no ledger is not alarmed by it. */
		{ DOCUMENT("", "", NO_BACKUP("false")),
		    "KSMPOOL OK - 0 pools, the lowest has 100.0 % of what is "
		    "required; 6 keys in no backup, the oldest 115 days 17 h "
		    "old, no backup on record | 'lowest'=100.0%;;;0; "
		    "'backup/SoftHSM/uncovered'=6;;;0; "
		    "'backup/SoftHSM/uncovered_in_use'=1;;;0; "
		    "'backup/SoftHSM/oldest_uncovered'=9999995s;;;0;",
		    MONITOR_OK },
		{ DOCUMENT("", "", NO_BACKUP("true")),
		    "KSMPOOL CRITICAL - repository SoftHSM: 1 key is in use "
		    "and in no backup (and 2 more); ", MONITOR_CRITICAL },
	};
	static const struct monitor_want other = { .repository = "other" };

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++)
		expect(&want, cases[i].doc, cases[i].state, cases[i].line);
	expect(&other, DOCUMENT("", "{'name':'other','status':'ok'}",
	    NO_BACKUP("true")), MONITOR_OK, "KSMPOOL OK - 0 pools, the lowest "
	    "has 100.0 % of what is required | 'lowest'=100.0%;;;0;");
}

static void
keys_that_may_not_be_taken_do_not_count(void **ctx)
{
	struct monitor_want want = { .pool = NULL };
	const char *doc = DOCUMENT("{'policy':'a','role':'KSK',"
	    "'repository':'SoftHSM','algorithm':'RSASHA256','size':2048,"
	    "'level':'empty','required':40,'ready':40,'usable':0,"
	    "'low_water':32,'critical':20}", "", "");

	(void)ctx;
	expect(&want, doc, MONITOR_CRITICAL, "KSMPOOL CRITICAL - pool a KSK in "
	    "SoftHSM is empty: 40 ready, of which 40 are in no backup, 40 "
	    "required | 'lowest'=0.0%;;;0; "
	    "'a/KSK/SoftHSM/RSASHA256/2048'=0;32:;20:;0;");
	assert_true(monitor_range_parse("80:", &want.warning));
	expect(&want, doc, MONITOR_WARNING, "KSMPOOL WARNING - pool a KSK in "
	    "SoftHSM has 0.0 %");
}

static void
what_is_not_there_is_unknown(void **ctx)
{
	struct monitor_want want = { .pool = "a/KS" };
	const char *doc = DOCUMENT(
	    POOL("a", "full", "40"), REPOSITORY("ok", "0"), "");

	(void)ctx;
	expect(&want, doc, MONITOR_UNKNOWN, "KSMPOOL UNKNOWN - there is no "
	    "pool a/KS");
	want = (struct monitor_want){ .repository = "other\n" };
	expect(&want, doc, MONITOR_UNKNOWN, "KSMPOOL UNKNOWN - there is no "
	    "repository other?");
}

static void
a_name_cannot_break_the_line(void **ctx)
{
	static const struct monitor_want want = { .pool = NULL };

	(void)ctx;
	expect(&want, DOCUMENT(POOL("o=\\u0027|\\n", "empty", "0"), "", ""),
	    MONITOR_CRITICAL, "KSMPOOL CRITICAL - pool o='?? KSK in SoftHSM is "
	    "empty: 0 ready, 40 required | 'lowest'=0.0%;;;0; "
	    "'o__?" "?/KSK/SoftHSM/RSASHA256/2048'=0;32:;20:;0;");
}

static void
many_pools_are_cut_between_two(void **ctx)
{
	static const struct monitor_want want = { .pool = NULL };
	json_t *doc = document(DOCUMENT(POOL("a", "full", "40"), "", ""));
	json_t *pools = json_object_get(doc, "pools");
	char line[MONITOR_LINE];

	(void)ctx;
	for (int i = 0; i < 1000; i++)
		(void)json_array_append_new(pools,
		    json_deep_copy(json_array_get(pools, 0)));
	assert_int_equal(monitor_judge(&want, doc, line), MONITOR_OK);
	assert_true(strlen(line) < MONITOR_LINE);
	assert_string_equal(line + strlen(line) - 4, ":;0;");
	json_decref(doc);
}

static void
almost_all_is_not_all(void **ctx)
{
	static const struct monitor_want want = { .pool = NULL };

	(void)ctx;
	expect(&want,
	    "{'pools':[{'policy':'a','required':100000,'ready':99999,"
	    "'level':'ok'}]}",
	    MONITOR_OK, "KSMPOOL OK - 1 pool, the lowest has 99.9 %");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_range_says_where_to_alert),
		cmocka_unit_test(what_is_no_range_is_refused),
		cmocka_unit_test(without_ranges_the_levels_decide),
		cmocka_unit_test(ranges_judge_the_lowest_percentage),
		cmocka_unit_test(trouble_elsewhere_is_judged_as_well),
		cmocka_unit_test(backups_are_judged_where_they_are_told_of),
		cmocka_unit_test(keys_that_may_not_be_taken_do_not_count),
		cmocka_unit_test(what_is_not_there_is_unknown),
		cmocka_unit_test(a_name_cannot_break_the_line),
		cmocka_unit_test(many_pools_are_cut_between_two),
		cmocka_unit_test(almost_all_is_not_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
