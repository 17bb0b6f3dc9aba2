#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ksmpool/backoff.h"

static void
waiting_doubles_from_a_second_to_ten_minutes(void **ctx)
{
	static const ksm_msec want[] = { 1000, 2000, 4000, 8000, 16000, 32000,
		64000, 128000, 256000, 512000, 600000, 600000, 600000 };
	struct backoff b = { 0 };

	(void)ctx;
	for (size_t i = 0; i < nitems(want); i++) {
		backoff_fail(&b, 50, 0);
		assert_int_equal(b.tries, i + 1);
		assert_int_equal(backoff_wait(&b, 50), want[i]);
	}
}

static void
chance_takes_up_to_half_away_and_never_more(void **ctx)
{
	(void)ctx;
	for (int tries = 1; tries < 40; tries++) {
		struct backoff most = { .tries = tries - 1 };
		struct backoff least = most, middle = most;

		backoff_fail(&most, 0, 0);
		backoff_fail(&middle, 0, UINT32_C(0x80000000));
		backoff_fail(&least, 0, UINT32_MAX);
		assert_true(least.until >= most.until / 2);
		assert_true(least.until <= most.until / 2 + 1);
		assert_int_equal(middle.until, most.until - most.until / 4);
	}
}

static void
it_is_over_when_the_time_has_come_and_not_before(void **ctx)
{
	struct backoff b = { 0 };

	(void)ctx;
	assert_int_equal(backoff_wait(&b, 0), 0);
	assert_int_equal(backoff_wait(&b, INT64_MAX), 0);
	backoff_fail(&b, 7000, 0);
	assert_int_equal(backoff_wait(&b, 7000), 1000);
	assert_int_equal(backoff_wait(&b, 7999), 1);
	assert_int_equal(backoff_wait(&b, 8000), 0);
	assert_int_equal(backoff_wait(&b, 9000), 0);
}

static void
success_forgets_all_failures(void **ctx)
{
	struct backoff b = { 0 };

	(void)ctx;
	for (int i = 0; i < 8; i++)
		backoff_fail(&b, 0, 0);
	backoff_ok(&b);
	assert_int_equal(b.tries, 0);
	assert_int_equal(backoff_wait(&b, 0), 0);
	backoff_fail(&b, 0, 0);
	assert_int_equal(backoff_wait(&b, 0), 1000);
}

static void
endless_failure_does_not_overflow(void **ctx)
{
	struct backoff b = { .tries = INT32_MAX - 1 };

	(void)ctx;
	for (int i = 0; i < 3; i++)
		backoff_fail(&b, 0, 0);
	assert_int_equal(b.tries, INT32_MAX);
	assert_int_equal(backoff_wait(&b, 0), BACKOFF_MAX_MS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waiting_doubles_from_a_second_to_ten_minutes),
		cmocka_unit_test(chance_takes_up_to_half_away_and_never_more),
		cmocka_unit_test(
		    it_is_over_when_the_time_has_come_and_not_before),
		cmocka_unit_test(success_forgets_all_failures),
		cmocka_unit_test(endless_failure_does_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
