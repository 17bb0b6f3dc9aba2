#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test_store.h"

/* ---- time ------------------------------------------------------------ */

static ksm_time
newest(struct bed *b)
{
	ksm_time t;

	ok(b, store_newest(b->st, &t, &b->fail));
	return t;
}

static void
only_a_creation_moves_the_newest_moment(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct store_run run = { .cause = RUN_AUTO, .uid = -1, .pid = -1,
		.max = -1, .started = T0 + 50 };
	struct store_made made = answer(T0 + 30), older = answer(T0 + 10);
	struct store_repository r;
	struct key_id id;

	assert_int_equal(newest(b), 0);
	id = key_intended(b, pool);
	assert_int_equal(newest(b), 0);
	ok(b, store_key_made(b->st, &id, &made, T0 + 20, &b->fail));
	assert_int_equal(newest(b), T0 + 30);
	/* What happens under a wild clock without a key made leaves no mark. */
	ok(b, store_key_move(b->st, &id, KEY_MADE, KEY_READY, "", T0 + 40,
		  &b->fail));
	ok(b, store_run_start(b->st, &run, &b->fail));
	run.ended = T0 + 60;
	ok(b, store_run_end(b->st, &run, &b->fail));
	ok(b, store_zones_put(b->st, NULL, 0, T0 + 70, &b->fail));
	ok(b, store_repository_get(b->st, "hsm", &r, &b->fail));
	ok(b, store_repository_trouble(b->st, r.row, TROUBLE_PARKED, "", "",
		  T0 + 80, &b->fail));
	assert_int_equal(newest(b), T0 + 30);
	/* An older creation does not lower it. */
	id = key_intended(b, pool);
	ok(b, store_key_made(b->st, &id, &older, T0 + 90, &b->fail));
	assert_int_equal(newest(b), T0 + 30);
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	bed_open(b);
	assert_int_equal(newest(b), T0 + 30);
}

static void
a_rate_is_a_moving_average(void **ctx)
{
	struct bed *b = *ctx;
	ksm_msec ms = -1;

	(void)pool_any(b);
	assert_int_equal(store_rate_get(b->st, "hsm", 8, 2048, &ms, &b->fail),
	    KSM_ENOENT);
	ok(b, store_rate_add(b->st, "hsm", 8, 2048, 1600, &b->fail));
	ok(b, store_rate_get(b->st, "hsm", 8, 2048, &ms, &b->fail));
	assert_int_equal(ms, 1600);
	ok(b, store_rate_add(b->st, "hsm", 8, 2048, 3200, &b->fail));
	ok(b, store_rate_get(b->st, "hsm", 8, 2048, &ms, &b->fail));
	assert_int_equal(ms, 1700);
	ok(b, store_rate_add(b->st, "hsm", 8, 2048, 100, &b->fail));
	ok(b, store_rate_get(b->st, "hsm", 8, 2048, &ms, &b->fail));
	assert_int_equal(ms, 1600);
	/* one per algorithm and size */
	assert_int_equal(store_rate_get(b->st, "hsm", 8, 4096, &ms, &b->fail),
	    KSM_ENOENT);
	assert_int_equal(store_rate_get(b->st, "hsm", 10, 2048, &ms, &b->fail),
	    KSM_ENOENT);
	assert_int_equal(store_rate_get(b->st, "other", 8, 2048, &ms,
			     &b->fail),
	    KSM_ENOENT);
}

static void
a_rate_of_fast_keys_does_not_stick(void **ctx)
{
	struct bed *b = *ctx;
	ksm_msec ms = -1;

	(void)pool_any(b);
	ok(b, store_rate_add(b->st, "hsm", 13, 256, 10, &b->fail));
	for (int i = 0; i < 100; i++)
		ok(b, store_rate_add(b->st, "hsm", 13, 256, 4, &b->fail));
	ok(b, store_rate_get(b->st, "hsm", 13, 256, &ms, &b->fail));
	assert_int_equal(ms, 4);
	/* measured as nothing is not the same as never measured */
	for (int i = 0; i < 200; i++)
		ok(b, store_rate_add(b->st, "hsm", 13, 256, 0, &b->fail));
	ok(b, store_rate_get(b->st, "hsm", 13, 256, &ms, &b->fail));
	assert_int_equal(ms, 1);
}

static void
a_rate_that_cannot_be_is_refused(void **ctx)
{
	struct bed *b = *ctx;

	(void)pool_any(b);
	assert_int_equal(store_rate_add(b->st, "hsm", 8, 2048, -1, &b->fail),
	    KSM_EREFUSED);
	assert_int_equal(store_rate_add(b->st, "hsm", 8, 2048, INT64_MAX,
			     &b->fail),
	    KSM_EREFUSED);
	assert_int_equal(store_rate_add(b->st, "other", 8, 2048, 1, &b->fail),
	    KSM_ENOENT);
	assert_false(store_batch_lost(b->st));
}

/* ---- across boots ---------------------------------------------------- */

static void
a_boot_is_another_only_when_the_machine_was_booted(void **ctx)
{
	struct bed *b = *ctx;
	bool changed = true;

	ok(b, store_boot(b->st, "boot-1", &changed, &b->fail));
	assert_false(changed); /* the first ever */
	ok(b, store_commit(b->st, &b->fail));
	/* killed and started again, same boot: the kernel has kept it all */
	ok(b, store_boot(b->st, "boot-1", &changed, &b->fail));
	assert_false(changed);
	ok(b, store_boot(b->st, "boot-2", &changed, &b->fail));
	assert_true(changed);
}

static void
only_keys_after_the_synced_mark_are_in_doubt(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), other, n;
	struct key_id old = key_in(b, pool, KEY_READY, 0);
	struct key_id new = key_in(b, pool, KEY_READY, 0);
	struct key_id taken = key_in(b, pool, KEY_TAKEN, 0);
	struct key_id gone = key_in(b, pool, KEY_DESTROYED, 0);
	struct key_id kept = key_in(b, pool, KEY_QUARANTINED, 0);
	struct key_id elsewhere;
	struct store_repository r;

	other = pool_of(b, "p", ROLE_ZSK, "other", 13, 256);
	elsewhere = key_in(b, other, KEY_READY, 0);
	ok(b, store_repository_get(b->st, "hsm", &r, &b->fail));
	ok(b, store_repository_synced(b->st, r.row, key_look(b, &old).serial,
		  &b->fail));
	ok(b, store_repository_synced(b->st, r.row, 0, &b->fail));

	ok(b, store_keys_doubt(b->st, &n, &b->fail));
	assert_int_equal(n, 3);
	assert_true(key_look(b, &old).proved);
	assert_false(key_look(b, &new).proved);
	assert_false(key_look(b, &taken).proved);
	assert_true(key_look(b, &gone).proved); /* history */
	assert_true(key_look(b, &kept).proved); /* it was whole once */
	assert_false(key_look(b, &elsewhere).proved);
	assert_int_equal(key_look(b, &new).state, KEY_READY);
}

static void
without_a_sync_only_the_last_hour_on_record_is_in_doubt(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), n;
	struct key_id old = key_intended(b, pool);
	struct key_id new = key_intended(b, pool);
	struct store_made then = answer(T0), now = answer(T0 + 3601);

	ok(b, store_key_made(b->st, &old, &then, T0, &b->fail));
	ok(b, store_key_made(b->st, &new, &now, T0 + 3601, &b->fail));
	ok(b, store_keys_doubt(b->st, &n, &b->fail));
	assert_int_equal(n, 1);
	assert_true(key_look(b, &old).proved);
	assert_false(key_look(b, &new).proved);
}

static void
a_key_much_older_than_the_last_start_is_not_in_doubt(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), n;
	struct key_id id = key_intended(b, pool);
	struct store_made made = answer(T0);

	ok(b, store_key_made(b->st, &id, &made, T0, &b->fail));
	ok(b, store_zones_put(b->st, NULL, 0, T0 + 3601, &b->fail));
	ok(b, store_keys_doubt(b->st, &n, &b->fail));
	assert_int_equal(n, 0);
}

/* ---- zone list ------------------------------------------------------- */

static void
the_last_zone_counts_replace_those_before(void **ctx)
{
	struct bed *b = *ctx;
	struct zone_count in[3] = { { "default", 1000000, 999 }, { "", 0, 0 },
		{ "it's \"lab\"", 7, 7 } }, *z = NULL;
	ksm_time when = -1;
	size_t n = 99;

	ok(b, store_zones_get(b->st, &z, &n, &when, &b->fail));
	assert_int_equal(n, 0);
	assert_int_equal(when, 0);
	free(z);

	memset(in[1].policy, 'p', 255);
	ok(b, store_zones_put(b->st, in, 3, T0, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	bed_open(b);
	ok(b, store_zones_get(b->st, &z, &n, &when, &b->fail));
	assert_int_equal(n, 3);
	assert_int_equal(when, T0);
	for (size_t i = 0; i < 3; i++) {
		size_t k = 0;

		while (k < n && strcmp(z[k].policy, in[i].policy) != 0)
			k++;
		assert_true(k < n);
		assert_int_equal(z[k].zones, in[i].zones);
		assert_int_equal(z[k].owners, in[i].owners);
	}
	free(z);

	ok(b, store_zones_put(b->st, in, 1, T0 + 9, &b->fail));
	ok(b, store_zones_get(b->st, &z, &n, &when, &b->fail));
	assert_int_equal(n, 1);
	assert_int_equal(when, T0 + 9);
	assert_string_equal(z[0].policy, "default");
	free(z);
}

static void
zone_counts_that_cannot_be_leave_the_last_good_ones(void **ctx)
{
	struct bed *b = *ctx;
	struct zone_count good = { "default", 5, 5 };
	struct zone_count twice[2] = { { "a", 1, 1 }, { "a", 2, 2 } };
	struct zone_count negative = { "a", -1, 0 };
	struct zone_count nobody = { "a", 1, -1 };
	struct zone_count *z;
	ksm_time when;
	size_t n;

	ok(b, store_zones_put(b->st, &good, 1, T0, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(store_zones_put(b->st, twice, 2, T0, &b->fail),
	    KSM_ESTORE);
	assert_true(store_batch_lost(b->st));
	assert_int_equal(store_zones_put(b->st, &negative, 1, T0, &b->fail),
	    KSM_ESTORE);
	assert_true(store_batch_lost(b->st));
	assert_int_equal(store_zones_put(b->st, &nobody, 1, T0, &b->fail),
	    KSM_ESTORE);
	assert_true(store_batch_lost(b->st));
	ok(b, store_zones_get(b->st, &z, &n, &when, &b->fail));
	assert_int_equal(n, 1);
	assert_int_equal(z[0].zones, 5);
	free(z);
}

/* ---- runs ------------------------------------------------------------ */

static void
the_last_run_is_the_newest_that_finished(void **ctx)
{
	struct bed *b = *ctx;
	struct store_run a = { .cause = RUN_TOPUP, .uid = 1000, .pid = 4711,
		.max = 50, .started = T0, .wanted = 60 }, last;
	struct store_run c = { .cause = RUN_AUTO, .uid = -1, .pid = -1,
		.max = -1, .started = T0 + 1 };

	assert_int_equal(store_run_last(b->st, &last, &b->fail), KSM_ENOENT);
	ok(b, store_run_start(b->st, &a, &b->fail));
	ok(b, store_run_start(b->st, &c, &b->fail));
	assert_true(c.row > a.row);
	assert_int_equal(store_run_last(b->st, &last, &b->fail), KSM_ENOENT);

	a.ended = T0 + 5;
	a.made = 48;
	a.failed = 2;
	a.held = 10;
	ok(b, store_run_end(b->st, &a, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	bed_open(b);
	ok(b, store_run_last(b->st, &last, &b->fail));
	assert_int_equal(last.row, a.row);
	assert_int_equal(last.cause, RUN_TOPUP);
	assert_int_equal(last.uid, 1000);
	assert_int_equal(last.pid, 4711);
	assert_int_equal(last.max, 50);
	assert_int_equal(last.started, T0);
	assert_int_equal(last.ended, T0 + 5);
	assert_int_equal(last.wanted, 60);
	assert_int_equal(last.made, 48);
	assert_int_equal(last.failed, 2);
	assert_int_equal(last.held, 10);

	c.ended = T0 + 6;
	ok(b, store_run_end(b->st, &c, &b->fail));
	ok(b, store_run_last(b->st, &last, &b->fail));
	assert_int_equal(last.row, c.row);
	assert_int_equal(last.cause, RUN_AUTO);
	assert_int_equal(last.uid, -1);
	assert_int_equal(last.max, -1);
}

static void
a_run_ends_once_and_stays_on_record(void **ctx)
{
	struct bed *b = *ctx;
	struct store_run run = { .cause = RUN_ONCE, .uid = 0, .pid = 1,
		.max = 0, .started = T0 };
	sqlite3 *db;

	ok(b, store_run_start(b->st, &run, &b->fail));
	run.ended = T0 + 1;
	ok(b, store_run_end(b->st, &run, &b->fail));
	assert_int_equal(store_run_end(b->st, &run, &b->fail), KSM_ENOENT);
	run.row = 4711;
	assert_int_equal(store_run_end(b->st, &run, &b->fail), KSM_ENOENT);
	ok(b, store_commit(b->st, &b->fail));
	db = other_open(b);
	other_is_refused(db, "UPDATE run SET made = 5", "cannot change");
	other_is_refused(db, "DELETE FROM run", "cannot be deleted");
	(void)sqlite3_close(db);
}

static void
an_accepted_clock_ends_the_dispute_and_is_kept(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id = key_intended(b, pool);
	struct store_made wild = answer(T0 + 400000000), made = answer(T0);
	ksm_time newest = 0;

	ok(b, store_key_made(b->st, &id, &wild, T0, &b->fail));
	ok(b, store_newest(b->st, &newest, &b->fail));
	assert_int_equal(newest, T0 + 400000000);
	ok(b, store_newest_accept(b->st, T0, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	bed_open(b);
	ok(b, store_newest(b->st, &newest, &b->fail));
	assert_int_equal(newest, T0);
	id = key_intended(b, pool);
	made.ended = T0 + 1;
	ok(b, store_key_made(b->st, &id, &made, T0 + 1, &b->fail));
	ok(b, store_newest(b->st, &newest, &b->fail));
	assert_int_equal(newest, T0 + 1);
	/* there is nothing to accept in a record that is older */
	ok(b, store_newest_accept(b->st, T0 + 100, &b->fail));
	ok(b, store_newest(b->st, &newest, &b->fail));
	assert_int_equal(newest, T0 + 1);
}

int
main(void)
{
#define opened(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		opened(only_a_creation_moves_the_newest_moment),
		opened(a_rate_is_a_moving_average),
		opened(a_rate_of_fast_keys_does_not_stick),
		opened(a_rate_that_cannot_be_is_refused),
		opened(
		    a_boot_is_another_only_when_the_machine_was_booted),
		opened(only_keys_after_the_synced_mark_are_in_doubt),
		opened(
		    without_a_sync_only_the_last_hour_on_record_is_in_doubt),
		opened(a_key_much_older_than_the_last_start_is_not_in_doubt),
		opened(the_last_zone_counts_replace_those_before),
		opened(zone_counts_that_cannot_be_leave_the_last_good_ones),
		opened(the_last_run_is_the_newest_that_finished),
		opened(a_run_ends_once_and_stays_on_record),
		opened(an_accepted_clock_ends_the_dispute_and_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
