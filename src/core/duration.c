#include "ksmpool/duration.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MINUTE INT64_C(60)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* The fields of a duration in the order they must come in. */
static const struct field {
	char letter;
	bool after_t;
	bool inexact; /* the 31/365 rule */
	int64_t seconds;
} fields[] = {
	{ 'Y', false, true, 365 * DAY },
	{ 'M', false, true, 31 * DAY },
	{ 'W', false, false, 7 * DAY },
	{ 'D', false, false, DAY },
	{ 'H', true, false, HOUR },
	{ 'M', true, false, MINUTE },
	{ 'S', true, false, 1 },
};

#define DATE_FIELDS 4 /* those before T */

/* The value as it may stand in a message: printable, and not too long. */
#define SHOWN_TEXT 64

static void
show_text(const char *text, char out[SHOWN_TEXT])
{
	size_t n = 0;

	for (; *text != '\0' && n < SHOWN_TEXT - 4; text++)
		out[n++] = *text >= ' ' && *text <= '~' ? *text : '?';
	if (*text != '\0')
		n += (size_t)snprintf(out + n, SHOWN_TEXT - n, "...");
	out[n] = '\0';
}

#define SHOWN_CHAR 24

static void
show_char(char c, char out[SHOWN_CHAR])
{
	if (c == '\0')
		(void)snprintf(out, SHOWN_CHAR, "the end");
	else if (c == ' ')
		(void)snprintf(out, SHOWN_CHAR, "a blank");
	else if (c > ' ' && c <= '~')
		(void)snprintf(out, SHOWN_CHAR, "'%c'", c);
	else
		(void)snprintf(out, SHOWN_CHAR, "the byte 0x%02x",
		    (unsigned)(unsigned char)c);
}

/* "duration "P1.5D": position 3 has '.', expected one of Y, M, W, D" */
static enum ksm_err
misfit(struct ksm_fail *fail, const char *kind, const char *text,
    const char *at, const char *expected)
{
	char shown[SHOWN_TEXT], found[SHOWN_CHAR];

	show_text(text, shown);
	show_char(*at, found);
	return ksm_failf(fail, KSM_EREFUSED,
	    "%s \"%s\": position %td has %s, expected %s", kind, shown,
	    at - text + 1, found, expected);
}

static enum ksm_err
overflow(struct ksm_fail *fail, const char *kind, const char *text,
    const char *at)
{
	char shown[SHOWN_TEXT];

	show_text(text, shown);
	return ksm_failf(fail, KSM_EREFUSED,
	    "%s \"%s\": the number at position %td is too large", kind, shown,
	    at - text + 1);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Digits at *p, at least one; *p moves behind them. False if the number does
 * not fit; *p is then behind the digits all the same.
 */
static bool
number_parse(const char **p, int64_t *out)
{
	int64_t n = 0;
	bool fits = true;

	for (; is_digit(**p); (*p)++) {
		if (!fits || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, **p - '0', &n))
			fits = false;
	}
	*out = n;
	return fits;
}

#define LETTERS_TEXT 64

/* "one of M, W, D", and a hint when the letter is right but misplaced. */
static void
letters_expected(size_t next, bool after_t, char found, char out[LETTERS_TEXT])
{
	size_t end = after_t ? nitems(fields) : DATE_FIELDS;
	size_t n = 0;

	if (end - next > 1)
		n += (size_t)snprintf(out, LETTERS_TEXT, "one of ");
	for (size_t i = next; i < end; i++)
		n += (size_t)snprintf(out + n, LETTERS_TEXT - n, "%s%c",
		    i == next ? "" : ", ", fields[i].letter);
	for (size_t i = 0; i < nitems(fields); i++) {
		if (fields[i].letter == found && fields[i].after_t != after_t) {
			(void)snprintf(out + n, LETTERS_TEXT - n,
			    " (%c comes %s T)", found,
			    after_t ? "before" : "after");
			break;
		}
	}
}

/* What may stand where a field could begin. */
static const char *
field_expected(size_t next, bool after_t, bool any)
{
	if (after_t) {
		if (!any)
			return "a number";
		return next < nitems(fields) ? "a number or the end" :
		    "the end";
	}
	if (!any)
		return "a number or T";
	return next < DATE_FIELDS ? "a number, T or the end" :
	    "T or the end";
}

enum ksm_err
duration_parse(const char *text, enum duration_sign sign, int64_t *seconds,
    struct duration_note *note, struct ksm_fail *fail)
{
	static const char kind[] = "duration";
	const char *p = text;
	struct duration_note used = { 0 };
	int64_t total = 0;
	size_t next = 0;      /* fields before it are spent */
	bool after_t = false; /* the T was read */
	bool any = false;     /* a field was read since the P or T */
	bool minus = false;

	if (*p == '-' && sign == DURATION_SIGNED) {
		minus = true;
		p++;
	}
	if (*p != 'P')
		return misfit(fail, kind, text, p, "P");
	p++;
	for (;;) {
		const char *number;
		size_t end, i;
		int64_t n;
		bool fits;

		if (*p == '\0' && any)
			break;
		if (*p == 'T' && !after_t) {
			after_t = true;
			any = false;
			next = DATE_FIELDS;
			p++;
			continue;
		}
		end = after_t ? nitems(fields) : DATE_FIELDS;
		if (!is_digit(*p) || next == end)
			return misfit(fail, kind, text, p,
			    field_expected(next, after_t, any));
		number = p;
		fits = number_parse(&p, &n);
		for (i = next; i < end && fields[i].letter != *p; i++)
			;
		if (i == end) {
			char letters[LETTERS_TEXT];

			letters_expected(next, after_t, *p, letters);
			return misfit(fail, kind, text, p, letters);
		}
		if (!fits || __builtin_mul_overflow(n, fields[i].seconds, &n) ||
		    __builtin_add_overflow(total, n, &total)) {
			return overflow(fail, kind, text, number);
		}
		if (fields[i].inexact && n != 0)
			used.months_or_years = 1;
		next = i + 1;
		any = true;
		p++;
	}
	*seconds = minus ? -total : total;
	if (note != NULL)
		*note = used;
	return KSM_OK;
}

/* Magnitude without the overflow that -INT64_MIN is. */
static uint64_t
magnitude(int64_t seconds)
{
	return seconds < 0 ? -(uint64_t)seconds : (uint64_t)seconds;
}

void
duration_format(int64_t seconds, char out[DURATION_TEXT])
{
	uint64_t left = magnitude(seconds);
	uint64_t days = left / DAY, hours = left % DAY / HOUR;
	uint64_t minutes = left % HOUR / MINUTE, rest = left % MINUTE;
	size_t n;

	n = (size_t)snprintf(out, DURATION_TEXT, "%sP", seconds < 0 ? "-" : "");
	if (days != 0)
		n += (size_t)snprintf(out + n, DURATION_TEXT - n,
		    "%" PRIu64 "D", days);
	if (left % DAY != 0 || days == 0)
		n += (size_t)snprintf(out + n, DURATION_TEXT - n, "T");
	if (hours != 0)
		n += (size_t)snprintf(out + n, DURATION_TEXT - n,
		    "%" PRIu64 "H", hours);
	if (minutes != 0)
		n += (size_t)snprintf(out + n, DURATION_TEXT - n,
		    "%" PRIu64 "M", minutes);
	if (rest != 0 || left == 0)
		(void)snprintf(out + n, DURATION_TEXT - n, "%" PRIu64 "S",
		    rest);
}

void
duration_human(int64_t seconds, char out[DURATION_TEXT])
{
	uint64_t left = magnitude(seconds);
	const char *minus = seconds < 0 ? "-" : "";
	uint64_t big, small;
	const char *big_unit, *small_unit;

	if (left >= (uint64_t)DAY) {
		big = left / DAY;
		small = left % DAY / HOUR;
		big_unit = big == 1 ? "day" : "days";
		small_unit = "h";
	} else if (left >= (uint64_t)HOUR) {
		big = left / HOUR;
		small = left % HOUR / MINUTE;
		big_unit = "h";
		small_unit = "min";
	} else if (left >= (uint64_t)MINUTE) {
		big = left / MINUTE;
		small = left % MINUTE;
		big_unit = "min";
		small_unit = "s";
	} else {
		big = left;
		small = 0;
		big_unit = "s";
		small_unit = "";
	}
	if (small == 0)
		(void)snprintf(out, DURATION_TEXT, "%s%" PRIu64 " %s", minus,
		    big, big_unit);
	else
		(void)snprintf(out, DURATION_TEXT,
		    "%s%" PRIu64 " %s %" PRIu64 " %s", minus, big, big_unit,
		    small, small_unit);
}

/*
 * The Gregorian calendar in eras of 400 years (146,097 days), years counted
 * from March so that the leap day is the last one. Not timegm(3): time_t is
 * not ours to choose, and gmtime(3) fails on years that an int cannot hold.
 */
#define ERA_DAYS    146097
#define EPOCH_DAYS  719468 /* 0000-03-01 to 1970-01-01 */

/* Years from 1970 on: time_parse takes no others. */
static int64_t
days_from_civil(int year, int month, int day)
{
	int64_t era, of_era, of_year;

	if (month <= 2)
		year--;
	era = year / 400;
	of_era = year % 400;
	of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	return era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 +
	    of_year - EPOCH_DAYS;
}

static void
civil_from_days(int64_t days, int64_t *year, int *month, int *day)
{
	int64_t era, day_of_era, year_of_era, day_of_year, march;

	days += EPOCH_DAYS;
	era = (days >= 0 ? days : days - (ERA_DAYS - 1)) / ERA_DAYS;
	day_of_era = days - era * ERA_DAYS;
	year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
	    day_of_era / 146096) / 365;
	day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 -
	    year_of_era / 100);
	march = (5 * day_of_year + 2) / 153;
	*day = (int)(day_of_year - (153 * march + 2) / 5 + 1);
	*month = (int)(march < 10 ? march + 3 : march - 9);
	*year = year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

static int
days_in_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
		31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

#define TIME_LAST INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

/* A part of a date: so many digits, in bounds, then one literal. */
struct part {
	int digits;
	int min, max;
	const char *what;
};

/* False: *p stands where the text stops fitting, `expected` says what did. */
static bool
part_parse(const char **p, const struct part *part, int *out,
    const char **expected)
{
	const char *start = *p;
	int n = 0;

	*expected = part->what;
	for (int i = 0; i < part->digits; i++, (*p)++) {
		if (!is_digit(**p))
			return false;
		n = n * 10 + (**p - '0');
	}
	if (n < part->min || n > part->max) {
		*p = start;
		return false;
	}
	*out = n;
	return true;
}

static bool
literal_parse(const char **p, char want, const char *what,
    const char **expected)
{
	*expected = what;
	if (**p != want)
		return false;
	(*p)++;
	return true;
}

static const struct part year_part = { 4, 1970, 9999,
	"a year of four digits, 1970 or later" };
static const struct part month_part = { 2, 1, 12, "a month, 01 to 12" };
static const struct part hour_part = { 2, 0, 23, "an hour, 00 to 23" };
static const struct part minute_part = { 2, 0, 59, "a minute, 00 to 59" };
static const struct part second_part = { 2, 0, 59, "a second, 00 to 59" };

/* The clock part of the two longer forms; *p stands on the T or blank. */
static bool
clock_parse(const char **p, int64_t *seconds, const char **expected)
{
	bool with_t = **p == 'T';
	int hour, minute, second;

	(*p)++;
	if (!part_parse(p, &hour_part, &hour, expected) ||
	    !literal_parse(p, ':', "':'", expected) ||
	    !part_parse(p, &minute_part, &minute, expected) ||
	    !literal_parse(p, ':', "':'", expected) ||
	    !part_parse(p, &second_part, &second, expected))
		return false;
	if (with_t && !literal_parse(p, 'Z', "Z, times are UTC", expected))
		return false;
	*seconds = hour * HOUR + minute * MINUTE + second;
	return true;
}

enum ksm_err
time_parse(const char *text, ksm_time *out, struct ksm_fail *fail)
{
	static const char kind[] = "time";
	struct part day_part = { 2, 1, 0, "a day of that month" };
	const char *p = text, *expected;
	int year, month, day;
	int64_t clock = 0, n;

	if (*p == '@') {
		p++;
		if (!is_digit(*p))
			return misfit(fail, kind, text, p,
			    "seconds since 1970 in digits");
		if (!number_parse(&p, &n) || n > TIME_LAST)
			return overflow(fail, kind, text, text + 1);
		if (*p != '\0')
			return misfit(fail, kind, text, p,
			    "a digit or the end");
		*out = n;
		return KSM_OK;
	}
	if (!part_parse(&p, &year_part, &year, &expected) ||
	    !literal_parse(&p, '-', "'-'", &expected) ||
	    !part_parse(&p, &month_part, &month, &expected) ||
	    !literal_parse(&p, '-', "'-'", &expected))
		return misfit(fail, kind, text, p, expected);
	day_part.max = days_in_month(year, month);
	if (!part_parse(&p, &day_part, &day, &expected))
		return misfit(fail, kind, text, p, expected);
	if (*p == 'T' || *p == ' ') {
		if (!clock_parse(&p, &clock, &expected))
			return misfit(fail, kind, text, p, expected);
		expected = "the end";
	} else {
		expected = "T, a blank or the end";
	}
	if (*p != '\0')
		return misfit(fail, kind, text, p, expected);
	*out = days_from_civil(year, month, day) * DAY + clock;
	return KSM_OK;
}

void
time_format(ksm_time t, char out[TIME_TEXT])
{
	int64_t days = t / DAY, rest = t % DAY, year;
	int month, day;

	if (rest < 0) {
		rest += DAY;
		days--;
	}
	civil_from_days(days, &year, &month, &day);
	(void)snprintf(out, TIME_TEXT,
	    "%04" PRId64 "-%02d-%02dT%02d:%02d:%02dZ", year, month, day,
	    (int)(rest / HOUR), (int)(rest % HOUR / MINUTE),
	    (int)(rest % MINUTE));
}
