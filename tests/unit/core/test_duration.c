#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ksmpool/duration.h"

#define DAY INT64_C(86400)

static void
durations_are_read_as_opendnssec_means_them(void **ctx)
{
	static const struct {
		const char *text;
		int64_t seconds;
		int inexact;
	} cases[] = {
		{ "P1Y", 365 * DAY, 1 },
		{ "P1M", 31 * DAY, 1 },
		{ "P15M", 465 * DAY, 1 },	/* months; PT15M is minutes */
		{ "PT15M", 900, 0 },
		{ "P1Y1M1DT1H1M1S", 397 * DAY + 3661, 1 },
		{ "P90D", 90 * DAY, 0 },
		{ "P366D", 366 * DAY, 0 },
		{ "P2W", 14 * DAY, 0 },
		{ "P1W2D", 9 * DAY, 0 },
		{ "P1Y2W", 379 * DAY, 1 },
		{ "P1M1W", 38 * DAY, 1 },
		{ "PT3600S", 3600, 0 },
		{ "PT49H19M17S", 177557, 0 },
		{ "PT0S", 0, 0 },
		{ "P0D", 0, 0 },
		{ "P0Y", 0, 0 }, /* the rule makes no difference */
		{ "P0Y0M3D", 3 * DAY, 0 },
		{ "P007D", 7 * DAY, 0 },
		{ "PT1H5S", 3605, 0 },
		{ "P100Y", INT64_C(3153600000), 1 }, /* over 32 bits */
		{ "PT4294967296S", INT64_C(4294967296), 0 },
		{ "PT9223372036854775807S", INT64_MAX, 0 },
		{ "P106751991167300DT15H30M7S", INT64_MAX, 0 },
		{ "PT00000000000000000000000000000001S", 1, 0 },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct duration_note note = { -1 };
		struct ksm_fail fail;
		int64_t got = -1;

		if (duration_parse(cases[i].text, DURATION_POSITIVE, &got,
		    &note, &fail) != KSM_OK)
			fail_msg("%s", fail.text);
		if (got != cases[i].seconds)
			fail_msg("%s: %lld s", cases[i].text, (long long)got);
		assert_int_equal(note.months_or_years != 0, cases[i].inexact);
		assert_int_equal(duration_parse(cases[i].text, DURATION_SIGNED,
		    &got, NULL, NULL), KSM_OK);
	}
}

static void
what_is_no_duration_is_refused_where_it_stops_being_one(void **ctx)
{
	static const struct {
		const char *text;
		int position;
		const char *found, *expected;
		const char *shown; /* NULL: as it is */
	} cases[] = {
		{ "", 1, "the end", "P", NULL },
		{ "P", 2, "the end", "a number or T", NULL },
		{ "PT", 3, "the end", "a number", NULL },
		{ "P1DT", 5, "the end", "a number", NULL },
		{ "1D", 1, "'1'", "P", NULL },
		{ "p1d", 1, "'p'", "P", NULL },
		{ "P1d", 3, "'d'", "one of Y, M, W, D", NULL },
		{ "PT1s", 4, "'s'", "one of H, M, S", NULL },
		{ "P-1D", 2, "'-'", "a number or T", NULL },
		{ "-P1D", 1, "'-'", "P", NULL },
		{ "+P1D", 1, "'+'", "P", NULL },
		{ "P+1D", 2, "'+'", "a number or T", NULL },
		{ "P1.5D", 3, "'.'", "one of Y, M, W, D", NULL },
		{ "P1,5D", 3, "','", "one of Y, M, W, D", NULL },
		{ "PT0.5S", 4, "'.'", "one of H, M, S", NULL },
		{ "P1", 3, "the end", "one of Y, M, W, D", NULL },
		{ "PT3600", 7, "the end", "one of H, M, S", NULL },
		{ "P1S", 3, "'S'", "one of Y, M, W, D (S comes after T)",
		    NULL },
		{ "P1H", 3, "'H'", "one of Y, M, W, D (H comes after T)",
		    NULL },
		{ "PT1Y", 4, "'Y'", "one of H, M, S (Y comes before T)",
		    NULL },
		{ "PT1D", 4, "'D'", "one of H, M, S (D comes before T)", NULL },
		{ "P1DT1W", 6, "'W'", "one of H, M, S (W comes before T)",
		    NULL },
		{ "PYMD", 2, "'Y'", "a number or T", NULL },
		{ "PD", 2, "'D'", "a number or T", NULL },
		{ "P1M2Y", 5, "'Y'", "one of W, D", NULL },
		{ "P1D1D", 4, "'1'", "T or the end", NULL },
		{ "P1D2W", 4, "'2'", "T or the end", NULL },
		{ "P1W1M", 5, "'M'", "D (M comes after T)", NULL },
		{ "PT1M1H", 6, "'H'", "S", NULL },
		{ "PT1M1M", 6, "'M'", "S (M comes before T)", NULL },
		{ "PT1S1S", 5, "'1'", "the end", NULL },
		{ "PT1HT1M", 5, "'T'", "a number or the end", NULL },
		{ "PTT1M", 3, "'T'", "a number", NULL },
		{ "P1D ", 4, "a blank", "T or the end", NULL },
		{ " P1D", 1, "a blank", "P", NULL },
		{ "P 1D", 2, "a blank", "a number or T", NULL },
		{ "P1 D", 3, "a blank", "one of Y, M, W, D", NULL },
		{ "P1D\n", 4, "the byte 0x0a", "T or the end", "P1D?" },
		{ "P1Y\t", 4, "the byte 0x09", "a number, T or the end",
		    "P1Y?" },
		{ "PT1H\xc3\xa9", 5, "the byte 0xc3", "a number or the end",
		    "PT1H??" },
		{ "P~", 2, "'~'", "a number or T", NULL },
		{ "P\x7f", 2, "the byte 0x7f", "a number or T", "P?" },
		{ "P3Y\"", 4, "'\"'", "a number, T or the end", NULL },
		{ "P0x10D", 3, "'x'", "one of Y, M, W, D", NULL },
		{ "P1e3D", 3, "'e'", "one of Y, M, W, D", NULL },
		{ "3600", 1, "'3'", "P", NULL },
		{ "P1DP1D", 4, "'P'", "T or the end", NULL },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct ksm_fail fail = { .text = "" };
		int64_t got = 4711;
		char want[160];

		if (duration_parse(cases[i].text, DURATION_POSITIVE, &got,
		    NULL, &fail) != KSM_EREFUSED)
			fail_msg("\"%s\" was taken", cases[i].text);
		assert_int_equal(got, 4711);
		(void)snprintf(want, sizeof(want),
		    "duration \"%s\": position %d has %s, expected %s",
		    cases[i].shown != NULL ? cases[i].shown : cases[i].text,
		    cases[i].position, cases[i].found, cases[i].expected);
		assert_string_equal(fail.text, want);
	}
}

static void
a_duration_too_long_for_64_bits_is_refused(void **ctx)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{ "PT9223372036854775808S", "position 3 " },
		{ "PT18446744073709551617S", "position 3 " }, /* 2^64 + 1 */
		{ "PT99999999999999999999999999S", "position 3 " },
		{ "P292471208678Y", "position 2 " },
		{ "P9223372036854775807D", "position 2 " },
		{ "P106751991167300DT15H30M8S", "position 25 " },
		{ "P106751991167301D", "position 2 " },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct ksm_fail fail = { .text = "" };
		int64_t got = 4711;

		if (duration_parse(cases[i].text, DURATION_POSITIVE, &got,
		    NULL, &fail) != KSM_EREFUSED)
			fail_msg("\"%s\" was taken", cases[i].text);
		assert_int_equal(got, 4711);
		if (strstr(fail.text, cases[i].words) == NULL ||
		    strstr(fail.text, "too large") == NULL)
			fail_msg("%s", fail.text);
	}
}

static void
a_minus_is_taken_only_where_one_makes_sense(void **ctx)
{
	int64_t got;

	(void)ctx;
	assert_int_equal(duration_parse("-PT300S", DURATION_SIGNED, &got, NULL,
	    NULL), KSM_OK);
	assert_int_equal(got, -300);
	assert_int_equal(duration_parse("-P1W", DURATION_SIGNED, &got, NULL,
	    NULL), KSM_OK);
	assert_int_equal(got, -7 * DAY);
	assert_int_equal(duration_parse("-PT0S", DURATION_SIGNED, &got, NULL,
	    NULL), KSM_OK);
	assert_int_equal(got, 0);
	assert_int_equal(duration_parse("--PT1S", DURATION_SIGNED, &got, NULL,
	    NULL), KSM_EREFUSED);
	assert_int_equal(duration_parse("P-1D", DURATION_SIGNED, &got, NULL,
	    NULL), KSM_EREFUSED);
	assert_int_equal(duration_parse("-", DURATION_SIGNED, &got, NULL,
	    NULL), KSM_EREFUSED);
}

static void
a_hostile_duration_is_cut_and_shown_in_print(void **ctx)
{
	char text[5000];
	struct ksm_fail fail;
	int64_t got;

	(void)ctx;
	memset(text, '\x1b', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(duration_parse(text, DURATION_POSITIVE, &got, NULL,
	    &fail), KSM_EREFUSED);
	assert_null(strchr(fail.text, '\x1b'));
	assert_non_null(strstr(fail.text, "...\": position 1 has the byte"));
	assert_true(strlen(fail.text) < 200);
}

static void
what_is_written_is_read_back(void **ctx)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {
		{ 0, "PT0S" },
		{ 1, "PT1S" },
		{ 60, "PT1M" },
		{ 3600, "PT1H" },
		{ 3605, "PT1H5S" },
		{ DAY, "P1D" },
		{ 90 * DAY, "P90D" },
		{ 365 * DAY, "P365D" },
		{ 177557, "P2DT1H19M17S" },
		{ -300, "-PT5M" },
		{ INT64_MAX, "P106751991167300DT15H30M7S" },
		{ -INT64_MAX, "-P106751991167300DT15H30M7S" },
	};
	char text[DURATION_TEXT];
	int64_t back;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		duration_format(cases[i].seconds, text);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(duration_parse(text, DURATION_SIGNED, &back,
		    NULL, NULL), KSM_OK);
		assert_int_equal(back, cases[i].seconds);
	}
	for (int64_t s = 0; s < 3 * DAY; s += 61) {
		duration_format(s, text);
		assert_int_equal(duration_parse(text, DURATION_POSITIVE, &back,
		    NULL, NULL), KSM_OK);
		assert_int_equal(back, s);
	}
	/* No text can be read as this one, but it can be shown. */
	duration_format(INT64_MIN, text);
	assert_string_equal(text, "-P106751991167300DT15H30M8S");
}

static void
people_see_two_units_at_most(void **ctx)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {
		{ 0, "0 s" },
		{ 12, "12 s" },
		{ 59, "59 s" },
		{ 60, "1 min" },
		{ 61, "1 min 1 s" },
		{ 3599, "59 min 59 s" },
		{ 3600, "1 h" },
		{ 3601, "1 h" },
		{ 5400, "1 h 30 min" },
		{ DAY, "1 day" },
		{ DAY + 3600, "1 day 1 h" },
		{ 3 * DAY + 4 * 3600 + 59 * 60, "3 days 4 h" },
		{ 400 * DAY, "400 days" },
		{ -12, "-12 s" },
		{ -3 * DAY, "-3 days" },
		{ INT64_MIN, "-106751991167300 days 15 h" },
	};
	char text[DURATION_TEXT];

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		duration_human(cases[i].seconds, text);
		assert_string_equal(text, cases[i].text);
	}
}

static bool
is_leap(int year)
{
	if (year % 400 == 0)
		return true;
	return year % 4 == 0 && year % 100 != 0;
}

/* Counted up one by one, so that nothing is computed as the code does it. */
static void
every_day_of_two_centuries_has_its_date(void **ctx)
{
	static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31,
		30, 31 };
	char text[40], got[TIME_TEXT];
	ksm_time t = 0, back;

	(void)ctx;
	for (int year = 1970; year <= 2200; year++) {
		for (int month = 1; month <= 12; month++) {
			int last = lengths[month - 1];

			if (month == 2 && is_leap(year))
				last++;
			for (int day = 1; day <= last; day++, t += DAY) {
				(void)snprintf(text, sizeof(text),
				    "%04d-%02d-%02d", year, month, day);
				assert_int_equal(time_parse(text, &back, NULL),
				    KSM_OK);
				assert_int_equal(back, t);
				(void)strcat(text, "T23:59:59Z");
				time_format(t + DAY - 1, got);
				assert_string_equal(got, text);
				assert_int_equal(time_parse(text, &back, NULL),
				    KSM_OK);
				assert_int_equal(back, t + DAY - 1);
			}
			(void)snprintf(text, sizeof(text), "%04d-%02d-%02d",
			    year, month, last + 1);
			assert_int_equal(time_parse(text, &back, NULL),
			    KSM_EREFUSED);
		}
	}
}

static void
moments_are_read_in_each_form(void **ctx)
{
	static const struct {
		const char *text;
		ksm_time t;
	} cases[] = {
		{ "1970-01-01", 0 },
		{ "2026-11-25", 1795564800 },
		{ "2026-11-25T13:00:00Z", 1795611600 },
		{ "2026-11-25 13:00:00", 1795611600 },
		{ "2026-11-25T00:00:00Z", 1795564800 },
		{ "@1732500000", 1732500000 },
		{ "@0", 0 },
		{ "2038-01-19T03:14:07Z", 2147483647 },
		{ "2038-01-19T03:14:08Z", INT64_C(2147483648) },
		{ "2106-02-07T06:28:16Z", INT64_C(4294967296) },
		{ "@4294967296", INT64_C(4294967296) },
		{ "2000-02-29", 951782400 },
		{ "2400-02-29", INT64_C(13574563200) },
		{ "9999-12-31T23:59:59Z", INT64_C(253402300799) },
		{ "@253402300799", INT64_C(253402300799) },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct ksm_fail fail;
		ksm_time t;

		if (time_parse(cases[i].text, &t, &fail) != KSM_OK)
			fail_msg("%s", fail.text);
		if (t != cases[i].t)
			fail_msg("%s: %lld", cases[i].text, (long long)t);
	}
}

static void
what_is_no_moment_is_refused_with_words(void **ctx)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{ "", "position 1 has the end, expected a year" },
		{ "yesterday", "position 1 has 'y', expected a year" },
		{ "1969-12-31", "position 1 has '1', expected a year" },
		{ "26-11-25", "position 3 has '-', expected a year" },
		{ "2026", "position 5 has the end, expected '-'" },
		{ "20261125", "position 5 has '1', expected '-'" },
		{ "20261-11-25", "position 5 has '1', expected '-'" },
		{ "2026/11/25", "position 5 has '/', expected '-'" },
		{ "2026-1-25", "position 7 has '-', expected a month" },
		{ "2026-00-25", "position 6 has '0', expected a month" },
		{ "2026-13-25", "position 6 has '1', expected a month" },
		{ "2026-11-00", "position 9 has '0', expected a day" },
		{ "2026-11-31", "position 9 has '3', expected a day" },
		{ "2026-02-29", "position 9 has '2', expected a day" },
		{ "2100-02-29", "position 9 has '2', expected a day" },
		{ "2026-11-25T", "position 12 has the end, expected an hour" },
		{ "2026-11-25T24:00:00Z", "position 12 has '2', expected an" },
		{ "2026-11-25T13:60:00Z", "position 15 has '6', expected a m" },
		{ "2026-11-25T13:00:60Z", "position 18 has '6', expected a s" },
		{ "2026-11-25T13:00Z", "position 17 has 'Z', expected ':'" },
		{ "2026-11-25T13:00:00",
		    "position 20 has the end, expected Z, times are UTC" },
		{ "2026-11-25T13:00:00z", "position 20 has 'z', expected Z" },
		{ "2026-11-25T13:00:00+01:00", "position 20 has '+'" },
		{ "2026-11-25T13:00:00Z ", "position 21 has a blank" },
		{ "2026-11-25 13:00:00Z", "position 20 has 'Z'" },
		{ "2026-11-25t13:00:00Z", "position 11 has 't'" },
		{ " 2026-11-25", "position 1 has a blank" },
		{ "2026-11-25 ", "position 12 has the end, expected an hour" },
		{ "-2026-11-25", "position 1 has '-'" },
		{ "@", "position 2 has the end, expected seconds" },
		{ "@-1", "position 2 has '-', expected seconds" },
		{ "@12x", "position 4 has 'x', expected a digit" },
		{ "@253402300800", "position 2 is too large" },
		{ "@99999999999999999999", "position 2 is too large" },
		{ "1732500000", "position 1 has '1', expected a year" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct ksm_fail fail = { .text = "" };
		ksm_time t = 4711;

		if (time_parse(cases[i].text, &t, &fail) != KSM_EREFUSED)
			fail_msg("\"%s\" was taken", cases[i].text);
		assert_int_equal(t, 4711);
		if (strstr(fail.text, cases[i].words) == NULL)
			fail_msg("\"%s\": %s", cases[i].text, fail.text);
	}
}

static void
any_64_bit_moment_can_be_written(void **ctx)
{
	static const struct {
		ksm_time t;
		const char *text;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00Z" },
		{ -1, "1969-12-31T23:59:59Z" },
		{ -DAY, "1969-12-31T00:00:00Z" },
		{ INT64_C(-62162035200), "0000-03-01T00:00:00Z" },
		{ INT64_C(-62162035201), "0000-02-29T23:59:59Z" },
		{ INT64_C(-62162035200) - 146097 * DAY,
		    "-400-03-01T00:00:00Z" },
		{ INT64_C(-62162035201) - 146097 * DAY,
		    "-400-02-29T23:59:59Z" },
		{ INT64_C(-62135596800), "0001-01-01T00:00:00Z" },
		{ INT64_C(253402300800), "10000-01-01T00:00:00Z" },
		{ INT64_MAX, "292277026596-12-04T15:30:07Z" },
		{ INT64_MIN, "-292277022657-01-27T08:29:52Z" },
	};
	char text[TIME_TEXT];

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		time_format(cases[i].t, text);
		assert_string_equal(text, cases[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_are_read_as_opendnssec_means_them),
		cmocka_unit_test(
		    what_is_no_duration_is_refused_where_it_stops_being_one),
		cmocka_unit_test(a_duration_too_long_for_64_bits_is_refused),
		cmocka_unit_test(a_minus_is_taken_only_where_one_makes_sense),
		cmocka_unit_test(a_hostile_duration_is_cut_and_shown_in_print),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(people_see_two_units_at_most),
		cmocka_unit_test(every_day_of_two_centuries_has_its_date),
		cmocka_unit_test(moments_are_read_in_each_form),
		cmocka_unit_test(what_is_no_moment_is_refused_with_words),
		cmocka_unit_test(any_64_bit_moment_can_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
