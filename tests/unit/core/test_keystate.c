#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "ksmpool/key.h"

/*
 * The arrows once more, as a list: a cell that is added to or lost from the
 * table by accident differs from it.
 */
static const struct {
	const char *from, *to;
} arrows[] = {
	{ "intended", "made" },
	{ "intended", "unknown" },
	{ "intended", "gone" },
	{ "unknown", "made" },
	{ "unknown", "gone" },
	{ "gone", "unknown" },
	{ "made", "ready" },
	{ "made", "quarantined" },
	{ "made", "missing" },
	{ "ready", "taking" },
	{ "ready", "surplus" },
	{ "ready", "retired" },
	{ "ready", "missing" },
	{ "ready", "destroying" },
	{ "surplus", "ready" },
	{ "surplus", "retired" },
	{ "surplus", "missing" },
	{ "surplus", "destroying" },
	{ "quarantined", "missing" },
	{ "quarantined", "destroying" },
	{ "taking", "taken" },
	{ "taking", "ready" },
	{ "taking", "quarantined" },
	{ "taken", "consumed" },
	{ "taken", "retired" },
	{ "taken", "missing" },
	{ "retired", "consumed" },
	{ "retired", "missing" },
	{ "retired", "destroying" },
	{ "missing", "made" },
	{ "missing", "ready" },
	{ "missing", "surplus" },
	{ "missing", "quarantined" },
	{ "missing", "taken" },
	{ "missing", "retired" },
	{ "destroying", "destroyed" },
};

static void
a_key_moves_along_the_arrows_and_nowhere_else(void **ctx)
{
	bool want[KEY__STATES][KEY__STATES] = { { false } };

	(void)ctx;
	for (size_t i = 0; i < nitems(arrows); i++) {
		enum key_state from, to;

		assert_true(key_state_find(arrows[i].from, &from));
		assert_true(key_state_find(arrows[i].to, &to));
		want[from][to] = true;
	}
	for (int from = 0; from < KEY__STATES; from++) {
		for (int to = 0; to < KEY__STATES; to++) {
			if (key_state_may((enum key_state)from,
			    (enum key_state)to) != want[from][to])
				fail_msg("%s -> %s is wrong",
				    key_state_text((enum key_state)from),
				    key_state_text((enum key_state)to));
		}
	}
}

/* Every state that can be reached from `from`, in any number of moves. */
static void
reach(enum key_state from, bool seen[KEY__STATES])
{
	for (int to = 0; to < KEY__STATES; to++) {
		if (!seen[to] && key_state_may(from, (enum key_state)to)) {
			seen[to] = true;
			reach((enum key_state)to, seen);
		}
	}
}

static void
a_key_begins_intended_and_every_state_can_be_reached(void **ctx)
{
	bool seen[KEY__STATES] = { false };

	(void)ctx;
	reach(KEY_INTENDED, seen);
	for (int s = 0; s < KEY__STATES; s++) {
		if (s != KEY_INTENDED && !seen[s])
			fail_msg("%s cannot be reached",
			    key_state_text((enum key_state)s));
	}
	assert_false(seen[KEY_INTENDED]);
}

static void
what_was_retired_destroyed_or_consumed_never_comes_back(void **ctx)
{
	(void)ctx;
	for (int to = 0; to < KEY__STATES; to++) {
		assert_false(key_state_may(KEY_CONSUMED, (enum key_state)to));
		assert_false(key_state_may(KEY_DESTROYED, (enum key_state)to));
	}
	assert_false(key_state_may(KEY_RETIRED, KEY_READY));
	assert_false(key_state_may(KEY_TAKEN, KEY_READY));
	assert_false(key_state_may(KEY_QUARANTINED, KEY_READY));
	assert_false(key_state_may(KEY_DESTROYING, KEY_READY));
}

static void
what_nobody_had_yet_can_be_retired_like_what_was_taken(void **ctx)
{
	(void)ctx;
	for (int s = 0; s < KEY__STATES; s++)
		assert_int_equal(
		    key_state_may((enum key_state)s, KEY_RETIRED),
		    s == KEY_READY || s == KEY_SURPLUS || s == KEY_TAKEN ||
			s == KEY_MISSING); /* back to what it was */
}

static void
missing_leads_back_to_exactly_what_can_go_missing(void **ctx)
{
	(void)ctx;
	for (int s = 0; s < KEY__STATES; s++)
		assert_int_equal(key_state_may(KEY_MISSING, (enum key_state)s),
		    key_state_may((enum key_state)s, KEY_MISSING));
}

static void
no_state_outside_the_table_has_an_arrow(void **ctx)
{
	(void)ctx;
	for (int s = 0; s <= KEY__STATES; s++) {
		assert_false(key_state_may(KEY__STATES, (enum key_state)s));
		assert_false(key_state_may((enum key_state)s, KEY__STATES));
	}
	assert_false(key_state_living(KEY__STATES));
	assert_false(key_state_stock(KEY__STATES));
	assert_string_equal(key_state_text(KEY__STATES), "?");
}

static void
living_and_stock_are_what_the_pool_counts(void **ctx)
{
	static const struct {
		enum key_state state;
		bool living, stock;
	} cases[] = {
		{ KEY_INTENDED, false, true },
		{ KEY_UNKNOWN, false, true },
		{ KEY_GONE, false, false },
		{ KEY_MADE, true, true },
		{ KEY_READY, true, true },
		{ KEY_SURPLUS, true, false },
		{ KEY_QUARANTINED, true, false },
		{ KEY_TAKING, true, true },
		{ KEY_TAKEN, true, false },
		{ KEY_RETIRED, true, false },
		{ KEY_MISSING, false, false },
		{ KEY_DESTROYING, true, false },
		{ KEY_CONSUMED, false, false },
		{ KEY_DESTROYED, false, false },
	};

	(void)ctx;
	assert_int_equal(nitems(cases), KEY__STATES);
	for (size_t i = 0; i < nitems(cases); i++) {
		if (key_state_living(cases[i].state) != cases[i].living ||
		    key_state_stock(cases[i].state) != cases[i].stock)
			fail_msg("%s", key_state_text(cases[i].state));
	}
}

/* Who may use a key keeps both its halves. */
static void
what_a_zone_may_use_is_not_destroyed(void **ctx)
{
	static const enum key_state kept[] = { KEY_TAKING, KEY_TAKEN };
	static const enum key_state unused[] = { KEY_READY, KEY_SURPLUS,
		KEY_QUARANTINED, KEY_RETIRED, KEY_DESTROYING };

	(void)ctx;
	for (size_t i = 0; i < nitems(kept); i++) {
		assert_non_null(key_state_destroy_not(kept[i]));
		assert_false(key_state_half_may_go(kept[i]));
	}
	for (size_t i = 0; i < nitems(unused); i++) {
		assert_null(key_state_destroy_not(unused[i]));
		assert_true(key_state_may(unused[i], KEY_DESTROYING) ||
		    unused[i] == KEY_DESTROYING);
	}
	for (int s = 0; s < KEY__STATES; s++)
		if (key_state_destroy_not((enum key_state)s) == NULL)
			assert_true(key_state_living((enum key_state)s));
	assert_false(key_state_half_may_go(KEY_READY));
	assert_false(key_state_half_may_go(KEY_MISSING));
	assert_true(key_state_half_may_go(KEY__STATES));
	assert_true(key_state_half_may_go(KEY_DESTROYED));
}

static void
every_state_has_a_name_of_its_own(void **ctx)
{
	enum key_state state;

	(void)ctx;
	for (int s = 0; s < KEY__STATES; s++) {
		assert_true(key_state_find(key_state_text((enum key_state)s),
		    &state));
		assert_int_equal(state, s);
	}
	assert_false(key_state_find("", &state));
	assert_false(key_state_find("Ready", &state));
	assert_false(key_state_find("?", &state));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_moves_along_the_arrows_and_nowhere_else),
		cmocka_unit_test(
		    a_key_begins_intended_and_every_state_can_be_reached),
		cmocka_unit_test(
		    what_was_retired_destroyed_or_consumed_never_comes_back),
		cmocka_unit_test(
		    what_nobody_had_yet_can_be_retired_like_what_was_taken),
		cmocka_unit_test(
		    missing_leads_back_to_exactly_what_can_go_missing),
		cmocka_unit_test(no_state_outside_the_table_has_an_arrow),
		cmocka_unit_test(living_and_stock_are_what_the_pool_counts),
		cmocka_unit_test(what_a_zone_may_use_is_not_destroyed),
		cmocka_unit_test(every_state_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
