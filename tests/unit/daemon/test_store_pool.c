#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test_store.h"

/* ---- repositories ---------------------------------------------------- */

static void
a_repository_is_made_when_first_asked_for(void **ctx)
{
	struct bed *b = *ctx;
	struct store_repository r, again;

	ok(b, store_repository_get(b->st, "hsm-a", &r, &b->fail));
	assert_true(store_batch_open(b->st));
	assert_string_equal(r.name, "hsm-a");
	assert_string_equal(r.token_label, "");
	assert_string_equal(r.token_serial, "");
	assert_string_equal(r.reason, "");
	assert_string_equal(r.pin_print, "");
	assert_int_equal(r.trouble, TROUBLE_NONE);
	assert_int_equal(r.since, 0);
	ok(b, store_commit(b->st, &b->fail));
	ok(b, store_repository_get(b->st, "hsm-a", &again, &b->fail));
	assert_false(store_batch_open(b->st)); /* nothing to write */
	assert_int_equal(again.row, r.row);
	ok(b, store_repository_get(b->st, "HSM-A", &again, &b->fail));
	assert_int_not_equal(again.row, r.row);
}

static void
a_name_has_1_to_127_bytes(void **ctx)
{
	struct bed *b = *ctx;
	struct store_repository r;
	char name[129];

	memset(name, 'n', sizeof(name));
	name[128] = '\0';
	assert_int_equal(store_repository_get(b->st, name, &r, &b->fail),
	    KSM_EREFUSED);
	assert_says(b, "128 bytes");
	assert_int_equal(store_repository_get(b->st, "", &r, &b->fail),
	    KSM_EREFUSED);
	name[127] = '\0';
	ok(b, store_repository_get(b->st, name, &r, &b->fail));
	assert_string_equal(r.name, name);
}

static void
names_that_were_once_in_force_are_known(void **ctx)
{
	struct bed *b = *ctx;
	struct pool_spec spec = { .policy = "lab", .role = ROLE_ZSK,
		.repository = "hsm", .alg = 13, .bits = 256 };
	struct store_pool pool;
	bool known = true;

	ok(b, store_policy_known(b->st, "lab", &known, &b->fail));
	assert_false(known);
	known = true;
	ok(b, store_repository_known(b->st, "hsm", &known, &b->fail));
	assert_false(known);
	assert_false(store_batch_open(b->st));
	ok(b, store_pool_get(b->st, &spec, &pool, &b->fail));
	ok(b, store_policy_known(b->st, "lab", &known, &b->fail));
	assert_true(known);
	known = false;
	ok(b, store_repository_known(b->st, "hsm", &known, &b->fail));
	assert_true(known);
	ok(b, store_policy_known(b->st, "LAB", &known, &b->fail));
	assert_false(known);
}

static void
trouble_is_remembered_over_restarts_until_it_is_lifted(void **ctx)
{
	struct bed *b = *ctx;
	struct store_repository r;

	ok(b, store_repository_get(b->st, "hsm", &r, &b->fail));
	ok(b, store_repository_token(b->st, r.row, "lab \xc3\xa4", "c0ffee",
		  &b->fail));
	ok(b, store_repository_trouble(b->st, r.row, TROUBLE_PARKED,
		  "wrong PIN", "9f86d0", T0, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	bed_open(b);
	ok(b, store_repository_get(b->st, "hsm", &r, &b->fail));
	assert_int_equal(r.trouble, TROUBLE_PARKED);
	assert_string_equal(r.reason, "wrong PIN");
	assert_string_equal(r.pin_print, "9f86d0");
	assert_int_equal(r.since, T0);
	assert_string_equal(r.token_label, "lab \xc3\xa4");
	assert_string_equal(r.token_serial, "c0ffee");

	ok(b, store_repository_trouble(b->st, r.row, TROUBLE_ALIEN, "another",
		  NULL, T0 + 1, &b->fail));
	ok(b, store_repository_get(b->st, "hsm", &r, &b->fail));
	assert_int_equal(r.trouble, TROUBLE_ALIEN);
	assert_string_equal(r.pin_print, "");
	ok(b, store_repository_trouble(b->st, r.row, TROUBLE_NONE, NULL, NULL,
		  T0 + 2, &b->fail));
	ok(b, store_repository_get(b->st, "hsm", &r, &b->fail));
	assert_int_equal(r.trouble, TROUBLE_NONE);
	assert_string_equal(r.reason, "");
	assert_int_equal(r.since, T0 + 2);
}

static void
a_repository_row_that_is_not_there_is_an_answer(void **ctx)
{
	struct bed *b = *ctx;

	assert_int_equal(store_repository_token(b->st, 4711, "l", "s",
			     &b->fail),
	    KSM_ENOENT);
	assert_int_equal(store_repository_trouble(b->st, 4711, TROUBLE_NONE,
			     "", "", T0, &b->fail),
	    KSM_ENOENT);
	assert_int_equal(store_pool_auto(b->st, 4711, 1, &b->fail),
	    KSM_ENOENT);
	assert_false(store_batch_lost(b->st));
}

/* ---- pools ----------------------------------------------------------- */

static void
a_pool_is_policy_role_repository_algorithm_and_size(void **ctx)
{
	struct bed *b = *ctx;
	int64_t row = pool_of(b, "p", ROLE_ZSK, "hsm", 8, 2048);

	assert_int_equal(pool_of(b, "p", ROLE_ZSK, "hsm", 8, 2048), row);
	assert_int_not_equal(pool_of(b, "q", ROLE_ZSK, "hsm", 8, 2048), row);
	assert_int_not_equal(pool_of(b, "P", ROLE_ZSK, "hsm", 8, 2048), row);
	assert_int_not_equal(pool_of(b, "p", ROLE_KSK, "hsm", 8, 2048), row);
	assert_int_not_equal(pool_of(b, "p", ROLE_ZSK, "hs2", 8, 2048), row);
	assert_int_not_equal(pool_of(b, "p", ROLE_ZSK, "hsm", 10, 2048), row);
	assert_int_not_equal(pool_of(b, "p", ROLE_ZSK, "hsm", 8, 1024), row);
	assert_int_equal(ask(b, "SELECT count(*) FROM pool"), 7);
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(pool_of(b, "p", ROLE_ZSK, "hsm", 8, 2048), row);
	assert_false(store_batch_open(b->st));
}

static void
a_pool_of_no_key_is_refused(void **ctx)
{
	struct bed *b = *ctx;
	struct pool_spec spec = { .policy = "p", .repository = "hsm",
		.role = ROLE_ZSK, .alg = 8, .bits = 2048 }, bad;
	struct store_pool pool;

	bad = spec;
	bad.alg = 0;
	assert_int_equal(store_pool_get(b->st, &bad, &pool, &b->fail),
	    KSM_EREFUSED);
	bad = spec;
	bad.bits = 0;
	assert_int_equal(store_pool_get(b->st, &bad, &pool, &b->fail),
	    KSM_EREFUSED);
	bad = spec;
	bad.role = ROLE__COUNT;
	assert_int_equal(store_pool_get(b->st, &bad, &pool, &b->fail),
	    KSM_EREFUSED);
	bad = spec;
	bad.repository[0] = '\0';
	assert_int_equal(store_pool_get(b->st, &bad, &pool, &b->fail),
	    KSM_EREFUSED);
	assert_false(store_batch_lost(b->st));
}

static void
what_was_made_by_itself_is_counted_per_pool(void **ctx)
{
	struct bed *b = *ctx;
	struct pool_spec spec = { .policy = "p", .repository = "hsm",
		.role = ROLE_ZSK, .alg = 8, .bits = 2048 };
	struct store_pool pool;

	ok(b, store_pool_get(b->st, &spec, &pool, &b->fail));
	assert_int_equal(pool.auto_made, 0);
	ok(b, store_pool_auto(b->st, pool.row, 999, &b->fail));
	ok(b, store_pool_get(b->st, &spec, &pool, &b->fail));
	assert_int_equal(pool.auto_made, 999);
}

struct seen {
	int64_t n[KEY__STATES];
	int64_t calls, row;
	struct pool_spec spec;
};

static void
see(void *ctx, int64_t row, const struct pool_spec *spec,
    enum key_state state, int64_t n)
{
	struct seen *s = ctx;

	assert_true(n > 0);
	s->calls++;
	s->n[state] += n;
	s->row = row;
	s->spec = *spec;
}

static void
counts_follow_every_change_and_every_rollback(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id, refused;
	struct seen s = { .calls = 0 };

	ok(b, store_counts(b->st, see, &s, &b->fail));
	assert_int_equal(s.calls, 0);

	(void)key_in(b, pool, KEY_READY, 0);
	(void)key_in(b, pool, KEY_READY, 0);
	id = key_in(b, pool, KEY_TAKING, 0);
	refused = key_intended(b, pool);
	ok(b, store_commit(b->st, &b->fail));
	ok(b, store_counts(b->st, see, &s, &b->fail));
	assert_int_equal(s.calls, 3);
	assert_int_equal(s.n[KEY_READY], 2);
	assert_int_equal(s.n[KEY_TAKING], 1);
	assert_int_equal(s.n[KEY_INTENDED], 1);
	assert_int_equal(s.row, pool);
	assert_string_equal(s.spec.policy, "default");
	assert_string_equal(s.spec.repository, "hsm");
	assert_int_equal(s.spec.role, ROLE_ZSK);
	assert_int_equal(s.spec.alg, 13);
	assert_int_equal(s.spec.bits, 256);

	key_moved(b, &id, KEY_TAKING, KEY_TAKEN);
	ok(b, store_key_refused(b->st, &refused, &b->fail));
	memset(&s, 0, sizeof(s));
	ok(b, store_counts(b->st, see, &s, &b->fail)); /* the open batch */
	assert_int_equal(s.n[KEY_TAKEN], 1);
	assert_int_equal(s.n[KEY_TAKING], 0);
	assert_int_equal(s.n[KEY_INTENDED], 0);

	assert_int_equal(store_keys_intend(b->st, 4711, 1, T0, &id, &b->fail),
	    KSM_ESTORE);
	assert_true(store_batch_lost(b->st));
	memset(&s, 0, sizeof(s));
	ok(b, store_counts(b->st, see, &s, &b->fail));
	assert_int_equal(s.n[KEY_TAKEN], 0);
	assert_int_equal(s.n[KEY_TAKING], 1);
	assert_int_equal(s.n[KEY_INTENDED], 1);
}

static void
kept_counts_are_the_true_ones_after_a_long_life(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pools[3] = { pool_of(b, "a", ROLE_ZSK, "hsm", 13, 256),
		pool_of(b, "a", ROLE_KSK, "hsm", 13, 256),
		pool_of(b, "b", ROLE_ZSK, "other", 8, 2048) };

	for (int i = 0; i < 300; i++) {
		enum key_state s = (enum key_state)(i * 7 % KEY__STATES);

		(void)key_in(b, pools[i % 3], s, KEY_READY);
	}
	assert_int_equal(ask(b, "SELECT count(*) FROM ("
	    "SELECT pool, state, count(*) FROM key GROUP BY pool, state "
	    "EXCEPT SELECT pool, state, n FROM key_count)"), 0);
	assert_int_equal(ask(b, "SELECT sum(n) FROM key_count"), 300);
}

static void
keys_nobody_asks_for_are_surplus_until_asked_for_again(void **ctx)
{
	struct bed *b = *ctx;
	int64_t a = pool_of(b, "a", ROLE_ZSK, "hsm", 13, 256);
	int64_t c = pool_of(b, "c", ROLE_ZSK, "hsm", 13, 256);
	int64_t both[2] = { a, c }, surplus, ready;
	struct key_id unused[3], taken, made;

	for (size_t i = 0; i < nitems(unused); i++)
		unused[i] = key_in(b, a, KEY_READY, 0);
	(void)key_in(b, c, KEY_READY, 0);
	taken = key_in(b, a, KEY_TAKEN, 0);
	made = key_in(b, a, KEY_MADE, 0);
	ok(b, store_commit(b->st, &b->fail));

	ok(b, store_pools_wanted(b->st, both, 2, T0 + 1, &surplus, &ready,
		  &b->fail));
	assert_int_equal(surplus, 0);
	assert_int_equal(ready, 0);
	assert_false(store_batch_open(b->st)); /* nothing to write */

	ok(b, store_pools_wanted(b->st, &c, 1, T0 + 2, &surplus, &ready,
		  &b->fail));
	assert_int_equal(surplus, 3);
	assert_int_equal(ready, 0);
	for (size_t i = 0; i < nitems(unused); i++) {
		assert_int_equal(key_look(b, &unused[i]).state, KEY_SURPLUS);
		assert_int_equal(key_look(b, &unused[i]).since, T0 + 2);
	}
	assert_int_equal(key_look(b, &taken).state, KEY_TAKEN);
	assert_int_equal(key_look(b, &made).state, KEY_MADE);

	/* the other way round, both directions in one call */
	ok(b, store_pools_wanted(b->st, &a, 1, T0 + 3, &surplus, &ready,
		  &b->fail));
	assert_int_equal(surplus, 1);
	assert_int_equal(ready, 3);
	ok(b, store_pools_wanted(b->st, NULL, 0, T0 + 4, &surplus, &ready,
		  &b->fail));
	assert_int_equal(surplus, 3);
	assert_int_equal(ready, 0);
}

static void
counts_that_lie_do_not_make_it_loop(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), surplus, ready;

	(void)key_in(b, pool, KEY_READY, 0);
	assert_int_equal(store_exec(b->st, "UPDATE key_count SET n = 5 "
	    "WHERE state = 'ready'"), SQLITE_OK);
	assert_int_equal(store_pools_wanted(b->st, NULL, 0, T0, &surplus,
			     &ready, &b->fail),
	    KSM_ESTORE);
	assert_says(b, "disagree");
}

int
main(void)
{
#define opened(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		opened(a_repository_is_made_when_first_asked_for),
		opened(a_name_has_1_to_127_bytes),
		opened(names_that_were_once_in_force_are_known),
		opened(trouble_is_remembered_over_restarts_until_it_is_lifted),
		opened(a_repository_row_that_is_not_there_is_an_answer),
		opened(a_pool_is_policy_role_repository_algorithm_and_size),
		opened(a_pool_of_no_key_is_refused),
		opened(what_was_made_by_itself_is_counted_per_pool),
		opened(counts_follow_every_change_and_every_rollback),
		opened(kept_counts_are_the_true_ones_after_a_long_life),
		opened(keys_nobody_asks_for_are_surplus_until_asked_for_again),
		opened(counts_that_lie_do_not_make_it_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
