#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/formula.h"

#define DAY INT64_C(86400)

static void
closed_window_counts_the_draw_that_is_due_now(void **ctx)
{
	static const struct {
		const char *what;
		int64_t horizon, lifetime, draws;
	} cases[] = {
		{ "never rolls", 30 * DAY, 0, 0 },
		{ "shorter than life", 30 * DAY, 90 * DAY, 1 },
		{ "exactly one life", 90 * DAY, 90 * DAY, 2 },
		{ "one second short", 90 * DAY - 1, 90 * DAY, 1 },
		{ "one second over", 90 * DAY + 1, 90 * DAY, 2 },
		{ "no horizon", 0, 90 * DAY, 1 },
		{ "neither", 0, 0, 0 },
		{ "every second", 10, 1, 11 },
		{ "longer than life on earth", INT64_MAX, 2,
		    INT64_C(4611686018427387904) },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		if (formula_scheduled(cases[i].horizon, cases[i].lifetime) !=
		    cases[i].draws)
			fail_msg("%s", cases[i].what);
	}
}

/*
 * The most keys that one unit can draw from `now` to `end`, both included,
 * found by trying everything: the scheduled draw comes at `due`; any of `n`
 * emergencies may come at any moment before, and starts the clock anew.
 */
static int
most_draws(int now, int end, int due, int lifetime, int n)
{
	int best = 0, got;

	if (lifetime > 0 && due <= end)
		best = 1 + most_draws(due, end, due + lifetime, lifetime, n);
	if (n == 0)
		return best;
	for (int at = now; at <= end && (lifetime == 0 || at <= due); at++) {
		got = 1 + most_draws(at, end, at + lifetime, lifetime, n - 1);
		if (got > best)
			best = got;
	}
	return best;
}

static void
no_course_of_events_draws_more_than_the_formula_says(void **ctx)
{
	(void)ctx;
	for (int lifetime = 0; lifetime <= 6; lifetime++) {
		for (int horizon = 0; horizon <= 14; horizon++) {
			for (int n = 0; n <= 2; n++) {
				struct formula_in in = {
					.zones = 1,
					.lifetime = lifetime,
					.horizon = horizon,
					.rolls = n,
				};
				struct formula_out out;
				int worst = 0, got;

				for (int due = 0; due <= lifetime; due++) {
					got = most_draws(0, horizon, due,
					    lifetime, n);
					if (got > worst)
						worst = got;
				}
				assert_int_equal(formula_required(&in, &out,
				    NULL), KSM_OK);
				if (out.required != worst)
					fail_msg("L %d, H %d, n %d: %d, not %"
					    PRId64, lifetime, horizon, n,
					    worst, out.required);
			}
		}
	}
}

/* ---- vectors ----------------------------------------------------------- */

enum column {
	COL_ZONES,
	COL_SHARED,
	COL_LIFETIME,
	COL_HORIZON,
	COL_N,
	COL_STANDBY,
	COL_GROWTH,
	COL_UNITS,
	COL_GROWN,
	COL_SCHED,
	COL_REQUIRED,
	COL_WARN,
	COL_CRITICAL,
	COL__COUNT
};

static const char *const column_name[COL__COUNT] = {
	[COL_ZONES] = "zones",
	[COL_SHARED] = "shared",
	[COL_LIFETIME] = "lifetime_s",
	[COL_HORIZON] = "horizon_s",
	[COL_N] = "n",
	[COL_STANDBY] = "standby",
	[COL_GROWTH] = "growth_pct",
	[COL_UNITS] = "units",
	[COL_GROWN] = "growth_units",
	[COL_SCHED] = "sched_closed",
	[COL_REQUIRED] = "required_closed",
	[COL_WARN] = "warn_floor",
	[COL_CRITICAL] = "critical_floor",
};

#define FIELDS_MAX 64

/*
 * Split one RFC 4180 line in place: a quoted field may hold commas, and "" is
 * a quote. No field of these files goes over a line end.
 */
static size_t
csv_split(char *line, char *field[FIELDS_MAX])
{
	char *in = line, *out;
	size_t n = 0;

	for (;;) {
		assert_true(n < FIELDS_MAX);
		field[n++] = out = in;
		if (*in == '"') {
			in++;
			while (*in != '\0' && (*in != '"' || in[1] == '"')) {
				if (*in == '"')
					in++;
				*out++ = *in++;
			}
			if (*in != '"')
				fail_msg("quote not closed");
			in++;
		} else {
			while (*in != '\0' && *in != ',')
				*out++ = *in++;
		}
		if (*in == '\0') {
			*out = '\0';
			return n;
		}
		if (*in != ',')
			fail_msg("text behind a quoted field: %s", in);
		in++;
		*out = '\0';
	}
}

static int64_t
number(const char *text, const char *row, const char *column)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0)
		fail_msg("%s: %s is \"%s\"", row, column, text);
	return n;
}

static void
check_row(const char *row, const int64_t v[COL__COUNT])
{
	struct formula_in in = {
		.zones = v[COL_ZONES],
		.shared = v[COL_SHARED] != 0,
		.lifetime = v[COL_LIFETIME],
		.horizon = v[COL_HORIZON],
		.rolls = v[COL_N],
		.standby = v[COL_STANDBY],
		.growth = v[COL_GROWTH],
	};
	struct formula_out out;
	struct ksm_fail fail;

	if (formula_required(&in, &out, &fail) != KSM_OK)
		fail_msg("%s: %s", row, fail.text);
	const struct {
		enum column column;
		int64_t got;
	} results[] = {
		{ COL_UNITS, out.units },
		{ COL_GROWN, out.grown },
		{ COL_SCHED, out.scheduled },
		{ COL_REQUIRED, out.required },
		{ COL_WARN, out.warn_floor },
		{ COL_CRITICAL, out.critical },
	};
	for (size_t i = 0; i < nitems(results); i++) {
		if (results[i].got != v[results[i].column])
			fail_msg("%s: %s is %" PRId64 ", not %" PRId64, row,
			    column_name[results[i].column], results[i].got,
			    v[results[i].column]);
	}
}

/* KSM_FORMULA_VECTORS: any other file with these columns. */
static void
every_row_of_the_vectors_comes_out_exactly(void **ctx)
{
	const char *path = getenv("KSM_FORMULA_VECTORS");
	size_t where[COL__COUNT], header_fields = 0, rows = 0;
	char *line = NULL, *field[FIELDS_MAX];
	size_t size = 0;
	FILE *f;

	(void)ctx;
	if (path == NULL || path[0] == '\0')
		path = KSM_FIXTURES "/formula.csv";
	f = fopen(path, "r");
	if (f == NULL)
		fail_msg("%s: %s", path, strerror(errno));
	while (getline(&line, &size, f) != -1) {
		int64_t v[COL__COUNT];
		size_t n;

		line[strcspn(line, "\r\n")] = '\0';
		if (line[0] == '\0')
			continue;
		n = csv_split(line, field);
		if (header_fields == 0) {
			header_fields = n;
			for (int c = 0; c < COL__COUNT; c++) {
				size_t i = 0;

				while (i < n &&
				    strcmp(field[i], column_name[c]) != 0)
					i++;
				if (i == n)
					fail_msg("%s: no column %s", path,
					    column_name[c]);
				where[c] = i;
			}
			continue;
		}
		if (n != header_fields)
			fail_msg("%s: %s has %zu fields, not %zu", path,
			    field[0], n, header_fields);
		for (int c = 0; c < COL__COUNT; c++)
			v[c] = number(field[where[c]], field[0],
			    column_name[c]);
		check_row(field[0], v);
		rows++;
	}
	free(line);
	(void)fclose(f);
	if (rows == 0)
		fail_msg("%s: no rows", path);
}

static void
passthrough_needs_nothing(void **ctx)
{
	struct formula_in in = {
		.zones = 1000, .passthrough = true, .lifetime = DAY,
		.horizon = 30 * DAY, .rolls = 3, .standby = 1, .growth = 50,
		.algorithm_roll = 1,
	};
	struct formula_out out;

	(void)ctx;
	assert_int_equal(formula_required(&in, &out, NULL), KSM_OK);
	assert_int_equal(out.units, 0);
	assert_int_equal(out.grown, 0);
	assert_int_equal(out.required, 0);
	assert_int_equal(out.critical, 0);
	in.shared = true;
	assert_int_equal(formula_required(&in, &out, NULL), KSM_OK);
	assert_int_equal(out.required, 0);
}

static void
owners_draw_instead_of_zones(void **ctx)
{
	struct formula_in in = {
		.zones = 10, .by_owner = true, .owners = 4,
		.lifetime = 90 * DAY, .horizon = 30 * DAY, .rolls = 2,
		.growth = 20,
	};
	struct ksm_fail fail = { .text = "" };
	struct formula_out out;

	(void)ctx;
	assert_int_equal(formula_required(&in, &out, NULL), KSM_OK);
	assert_int_equal(out.units, 4);
	assert_int_equal(out.grown, 1);
	assert_int_equal(out.required, (4 + 1) * 3 + 1);
	assert_int_equal(out.critical, 8);
	in.shared = true;
	assert_int_equal(formula_required(&in, &out, NULL), KSM_OK);
	assert_int_equal(out.units, 1);
	in.shared = false;
	in.passthrough = true;
	assert_int_equal(formula_required(&in, &out, NULL), KSM_OK);
	assert_int_equal(out.units, 0);
	in.passthrough = false;
	in.owners = 11;
	assert_int_equal(formula_required(&in, &out, &fail), KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "11 owners cannot have 10 zones"));
	in.owners = -1;
	assert_int_equal(formula_required(&in, &out, &fail), KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "owners cannot be negative: -1"));
}

static void
an_algorithm_roll_adds_one_key_for_every_unit_of_today(void **ctx)
{
	struct formula_in in = {
		.zones = 10, .lifetime = 90 * DAY, .horizon = 30 * DAY,
		.rolls = 2, .growth = 20,
	};
	struct formula_out without, with;

	(void)ctx;
	assert_int_equal(formula_required(&in, &without, NULL), KSM_OK);
	assert_int_equal(without.required, 38);
	in.algorithm_roll = 1;
	assert_int_equal(formula_required(&in, &with, NULL), KSM_OK);
	assert_int_equal(with.required, 38 + 10);
	assert_int_equal(with.critical, without.critical);
	assert_int_equal(with.warn_floor, without.warn_floor);
}

static void
what_does_not_fit_64_bits_is_refused_with_its_numbers(void **ctx)
{
	static const struct {
		struct formula_in in;
		const char *words[2];
	} cases[] = {
		{ { .zones = INT64_MAX, .rolls = 2 },
		    { "required keys", "9223372036854775807 zones" } },
		{ { .zones = INT64_MAX, .rolls = 1, .growth = 1 },
		    { "required keys", "growth 1 %" } },
		{ { .zones = INT64_MAX, .rolls = 1, .growth = 2 },
		    { "growth", "growth 2 %" } },
		{ { .zones = INT64_MAX, .rolls = 1, .algorithm_roll = 1 },
		    { "required keys", "1 emergency rolls" } },
		{ { .zones = 1, .lifetime = 1, .horizon = INT64_MAX },
		    { "scheduled draws", "horizon 9223372036854775807 s" } },
		{ { .zones = 1, .rolls = INT64_MAX, .standby = 1 },
		    { "keys per unit", "1 standby" } },
		{ { .zones = 1, .lifetime = 1, .rolls = INT64_MAX },
		    { "keys per unit", "lifetime 1 s" } },
		{ { .zones = INT64_C(3037000500),
		      .rolls = INT64_C(3037000500) },
		    { "required keys", "3037000500 zones" } },
		{ { .zones = 1000000, .lifetime = 1,
		      .horizon = INT64_C(9223372036854775) },
		    { "required keys", "horizon 9223372036854775 s" } },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct formula_out out = { .required = 4711 };
		struct ksm_fail fail = { .text = "" };

		if (formula_required(&cases[i].in, &out, &fail) !=
		    KSM_EREFUSED)
			fail_msg("case %zu: %" PRId64, i, out.required);
		assert_int_equal(out.required, 4711);
		for (size_t j = 0; j < 2; j++) {
			if (strstr(fail.text, cases[i].words[j]) == NULL)
				fail_msg("case %zu: %s", i, fail.text);
		}
	}
}

static void
what_cannot_be_is_refused_by_name(void **ctx)
{
	static const struct {
		struct formula_in in;
		const char *words;
	} cases[] = {
		{ { .zones = -1 }, "zones cannot be negative: -1" },
		{ { .lifetime = -2 }, "lifetime cannot be negative: -2" },
		{ { .horizon = -3 }, "horizon cannot be negative: -3" },
		{ { .rolls = -4 }, "emergency rolls cannot be negative: -4" },
		{ { .standby = -5 }, "standby keys cannot be negative: -5" },
		{ { .growth = -6 }, "growth cannot be negative: -6" },
		{ { .algorithm_roll = -1 }, "algorithm rolls" },
		{ { .algorithm_roll = 2 }, "algorithm rolls are 0 or 1" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct formula_out out;
		struct ksm_fail fail = { .text = "" };

		assert_int_equal(formula_required(&cases[i].in, &out, &fail),
		    KSM_EREFUSED);
		if (strstr(fail.text, cases[i].words) == NULL)
			fail_msg("case %zu: %s", i, fail.text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(closed_window_counts_the_draw_that_is_due_now),
		cmocka_unit_test(
		    no_course_of_events_draws_more_than_the_formula_says),
		cmocka_unit_test(every_row_of_the_vectors_comes_out_exactly),
		cmocka_unit_test(passthrough_needs_nothing),
		cmocka_unit_test(owners_draw_instead_of_zones),
		cmocka_unit_test(
		    an_algorithm_roll_adds_one_key_for_every_unit_of_today),
		cmocka_unit_test(
		    what_does_not_fit_64_bits_is_refused_with_its_numbers),
		cmocka_unit_test(what_cannot_be_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
