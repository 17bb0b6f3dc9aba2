#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test_store.h"

#include <openssl/evp.h>

static void
history_all(struct bed *b, const struct history_filter *f,
    struct store_history *out, size_t max, size_t *n)
{
	int64_t cursor = 0;

	ok(b, store_history_list(b->st, f, &cursor, out, max, n, &b->fail));
}

static struct store_history
history_last(struct bed *b)
{
	static struct store_history page[64];
	struct history_filter any = { .uid = -1 };
	int64_t cursor = 0;
	struct store_history last = { .number = 0 };
	size_t n;

	do {
		ok(b, store_history_list(b->st, &any, &cursor, page,
			  nitems(page), &n, &b->fail));
		if (n > 0)
			last = page[n - 1];
	} while (n > 0);
	return last;
}

static struct history_check
verified(struct bed *b)
{
	struct history_check c = { 0 };

	while (!c.done)
		ok(b, store_history_verify(b->st, &c, 3, &b->fail));
	return c;
}

static void
says(struct bed *b, ksm_time when, const char *what, const char *subject,
    const char *why)
{
	ok(b, store_history_add(b->st, when,
		  (struct store_actor){ 1000, 4711 }, what, subject, why,
		  &b->fail));
}

/* ---- what is written ------------------------------------------------- */

static void
nothing_written_is_number_zero(void **ctx)
{
	static const uint8_t zeroes[32];
	struct bed *b = *ctx;
	uint8_t hash[32] = { 1 };
	int64_t number = 7;
	struct history_check c;

	ok(b, store_history_head(b->st, &number, hash, &b->fail));
	assert_int_equal(number, 0);
	assert_memory_equal(hash, zeroes, sizeof(hash));
	c = verified(b);
	assert_int_equal(c.faults, 0);
	assert_int_equal(c.number, 0);
}

static void
a_row_reads_as_it_was_written(void **ctx)
{
	struct bed *b = *ctx;
	struct store_history h;

	says(b, T0, "topup", "default", "wanted 10");
	ok(b, store_history_add(b->st, T0 + 1, ACTOR_DAEMON, "reload", NULL,
		  NULL, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	h = history_last(b);
	assert_int_equal(h.number, 2);
	assert_int_equal(h.when, T0 + 1);
	assert_int_equal(h.who.uid, -1);
	assert_int_equal(h.who.pid, -1);
	assert_string_equal(h.what, "reload");
	assert_string_equal(h.subject, "");
	assert_string_equal(h.why, "");
	assert_int_equal(ask(b, "SELECT count(*) FROM events WHERE number = 1 "
	    "AND time = '2030-03-17T17:46:40Z' AND uid = 1000 AND pid = 4711 "
	    "AND what = 'topup' AND subject = 'default' "
	    "AND why = 'wanted 10'"), 1);
	assert_int_equal(ask(b, "SELECT uid IS NULL AND pid IS NULL "
				"FROM events WHERE number = 2"), 1);
}

static void
what_is_too_long_is_cut_between_characters(void **ctx)
{
	struct bed *b = *ctx;
	struct store_history h;
	char text[2000];

	for (size_t i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa4", 3);
	says(b, T0, text, text, text);
	ok(b, store_commit(b->st, &b->fail));
	h = history_last(b);
	assert_int_equal(strlen(h.what), 46);
	assert_int_equal(strlen(h.subject), 254);
	assert_int_equal(strlen(h.why), 510);
	assert_int_equal(verified(b).faults, 0);
	assert_int_equal(store_history_add(b->st, T0, ACTOR_DAEMON, "", "a",
			     "b", &b->fail), KSM_EREFUSED);
}

/* ksmpoold(8) says how; this does it again without a line of ours. */
static void
the_hash_is_what_the_manual_says(void **ctx)
{
	static const char text[] =
	    "64:0000000000000000000000000000000000000000000000000000000000000000,"
	    "1:1,10:1900000000,4:1000,4:4711,5:pause,0:,7:3:a,1:b,";
	struct bed *b = *ctx;
	uint8_t want[32];
	struct store_history h;
	char sql[1024];

	says(b, T0, "pause", "", "3:a,1:b");
	ok(b, store_commit(b->st, &b->fail));
	h = history_last(b);
	assert_int_equal(EVP_Digest(text, sizeof(text) - 1, want, NULL,
			     EVP_sha256(), NULL), 1);
	assert_memory_equal(h.hash, want, sizeof(want));
	(void)snprintf(sql, sizeof(sql), "WITH h AS (SELECT *, coalesce(lag("
	    "lower(hex(hash))) OVER (ORDER BY number), printf('%%064d', 0)) "
	    "AS before FROM history), f (n, i, t) AS ("
	    "SELECT number, 1, before FROM h "
	    "UNION ALL SELECT number, 2, number FROM h "
	    "UNION ALL SELECT number, 3, when_s FROM h "
	    "UNION ALL SELECT number, 4, coalesce(uid, '') FROM h "
	    "UNION ALL SELECT number, 5, coalesce(pid, '') FROM h "
	    "UNION ALL SELECT number, 6, what FROM h "
	    "UNION ALL SELECT number, 7, subject FROM h "
	    "UNION ALL SELECT number, 8, why FROM h) "
	    "SELECT group_concat(length(CAST(t AS BLOB)) || ':' || t || ',', "
	    "'') = '%s' FROM (SELECT * FROM f WHERE n = 1 ORDER BY i)", text);
	assert_int_equal(ask(b, sql), 1);
}

static void
fields_cannot_be_shifted_into_each_other(void **ctx)
{
	struct bed *b = *ctx;
	uint8_t one[32], two[32];
	int64_t number;

	says(b, T0, "a", "bc", "d");
	ok(b, store_history_head(b->st, &number, one, &b->fail));
	store_rollback(b->st);
	says(b, T0, "ab", "c", "d");
	ok(b, store_history_head(b->st, &number, two, &b->fail));
	assert_int_equal(number, 1);
	assert_memory_not_equal(one, two, sizeof(one));
}

static void
a_batch_that_is_rolled_back_leaves_no_gap(void **ctx)
{
	struct bed *b = *ctx;

	says(b, T0, "one", "", "");
	ok(b, store_commit(b->st, &b->fail));
	says(b, T0, "never", "", "");
	says(b, T0, "never", "", "");
	store_rollback(b->st);
	says(b, T0, "two", "", "");
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(history_last(b).number, 2);
	assert_string_equal(history_last(b).what, "two");
	assert_int_equal(verified(b).faults, 0);
	bed_close(b);
	bed_open(b);
	says(b, T0, "three", "", "");
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(verified(b).number, 3);
	assert_int_equal(verified(b).faults, 0);
}

/* ---- keys ------------------------------------------------------------ */

static void
a_key_that_came_to_be_has_a_life_on_record(void **ctx)
{
	static struct store_history page[16];
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct store_made made = answer(T0 + 5);
	struct history_filter f = { .uid = -1 };
	struct key_id id = key_intended(b, pool);
	char hex[KEY_ID_HEX];
	size_t n;

	store_actor_set(b->st, (struct store_actor){ 7, 8 });
	ok(b, store_key_made(b->st, &id, &made, T0 + 5, &b->fail));
	ok(b, store_key_move(b->st, &id, KEY_MADE, KEY_READY, "seen", T0 + 6,
		  &b->fail));
	store_actor_set(b->st, ACTOR_DAEMON);
	ok(b, store_key_move(b->st, &id, KEY_READY, KEY_MISSING, "", T0 + 7,
		  &b->fail));
	ok(b, store_key_move(b->st, &id, KEY_MISSING, KEY_READY, NULL, T0 + 8,
		  &b->fail));
	/* somebody was faster: nothing happened, nothing is written */
	assert_int_equal(store_key_move(b->st, &id, KEY_MISSING, KEY_READY,
			     "", T0 + 9, &b->fail), KSM_ENOENT);
	ok(b, store_commit(b->st, &b->fail));

	key_id_format(&id, hex);
	f.subject = hex;
	history_all(b, &f, page, nitems(page), &n);
	assert_int_equal(n, 4);
	assert_string_equal(page[0].what, "key made");
	assert_string_equal(page[0].why,
	    "repository hsm, policy default, ZSK, serial 1");
	assert_int_equal(page[0].when, T0 + 5);
	assert_int_equal(page[0].who.uid, 7);
	assert_int_equal(page[0].who.pid, 8);
	assert_string_equal(page[1].what, "key ready");
	assert_string_equal(page[1].why, "made -> ready: seen");
	assert_string_equal(page[2].what, "key missing");
	assert_string_equal(page[2].why, "ready -> missing");
	assert_int_equal(page[2].who.uid, -1);
	assert_string_equal(page[3].what, "key found");
	assert_string_equal(page[3].why, "missing -> ready");
}

static void
what_never_was_has_no_history(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), n = 0;
	struct key_id id = key_in(b, pool, KEY_GONE, 0);

	key_moved(b, &id, KEY_GONE, KEY_UNKNOWN);
	id = key_in(b, pool, KEY_UNKNOWN, 0);
	ok(b, store_key_refused(b->st, &id, &b->fail));
	(void)key_intended(b, pool);
	ok(b, store_keys_orphan(b->st, T0, &n, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(history_last(b).number, 0);
}

static void
a_pool_that_changes_sides_is_one_row(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), surplus, ready;
	struct store_history h;

	for (int i = 0; i < 20; i++)
		(void)key_in(b, pool, KEY_READY, 0);
	assert_int_equal(history_last(b).number, 40);
	ok(b, store_pools_wanted(b->st, NULL, 0, T0, &surplus, &ready,
		  &b->fail));
	h = history_last(b);
	assert_int_equal(h.number, 41);
	assert_string_equal(h.what, "keys surplus");
	assert_string_equal(h.subject, "default");
	assert_string_equal(h.why, "20 keys of repository hsm, ZSK: no policy "
				   "asks for the pool");
	ok(b, store_pools_wanted(b->st, &pool, 1, T0, &surplus, &ready,
		  &b->fail));
	h = history_last(b);
	assert_int_equal(h.number, 42);
	assert_string_equal(h.what, "keys ready");
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(verified(b).faults, 0);
}

/* ---- listing --------------------------------------------------------- */

static void
pages_are_filtered_and_in_order(void **ctx)
{
	static const struct {
		struct history_filter f;
		size_t n;
		int64_t first;
	} cases[] = {
		{ { .uid = -1 }, 100, 1 },
		{ { .uid = -1, .since = T0 + 90 }, 10, 91 },
		{ { .uid = -1, .until = T0 + 10 }, 10, 1 },
		{ { .uid = -1, .since = T0 + 10, .until = T0 + 20 }, 10, 11 },
		{ { .uid = -1, .subject = "s3" }, 10, 4 },
		{ { .uid = -1, .what = "odd" }, 50, 2 },
		{ { .uid = -1, .what = "od" }, 50, 2 },
		{ { .uid = -1, .what = "odd one" }, 0, 0 },
		{ { .uid = -1, .what = "%" }, 0, 0 },
		{ { .uid = 1000 }, 100, 1 },
		{ { .uid = 0 }, 0, 0 },
		{ { .uid = 1000, .subject = "s3", .what = "odd",
		      .since = T0 + 50 }, 5, 54 },
	};
	static struct store_history page[7];
	struct bed *b = *ctx;
	char subject[8];

	for (int i = 0; i < 100; i++) {
		(void)snprintf(subject, sizeof(subject), "s%d", i % 10);
		says(b, T0 + i, i % 2 == 0 ? "even" : "odd", subject, "");
	}
	for (size_t i = 0; i < nitems(cases); i++) {
		struct history_filter some = cases[i].f;
		int64_t cursor = 0, last = 0, first = 0;
		size_t n, total = 0, looked = 0;

		do {
			ok(b, store_history_list(b->st, &cases[i].f, &cursor,
				  page, nitems(page), &n, &b->fail));
			for (size_t k = 0; k < n; k++) {
				assert_true(page[k].number > last);
				last = page[k].number;
				if (first == 0)
					first = last;
			}
			total += n;
		} while (n > 0);
		/* The same, nine rows looked at in a call: none may be lost. */
		some.scan = 9;
		cursor = 0;
		do {
			ok(b, store_history_list(b->st, &some, &cursor, page,
				  nitems(page), &n, &b->fail));
			looked += n;
		} while (cursor < 100);
		assert_int_equal(looked, cases[i].n);
		assert_int_equal(total, cases[i].n);
		assert_int_equal(first, cases[i].first);
	}
}

/* ---- who would change it --------------------------------------------- */

static void
ten_rows(struct bed *b)
{
	for (int i = 1; i <= 10; i++)
		says(b, T0 + i, "row", "", "");
	ok(b, store_commit(b->st, &b->fail));
}

static void
the_table_refuses_what_is_not_the_next_row(void **ctx)
{
	static const struct {
		const char *sql, *words;
	} cases[] = {
		{ "UPDATE history SET why = 'x' WHERE number = 3",
		    "history cannot change" },
		{ "DELETE FROM history", "history cannot be deleted" },
		{ "DELETE FROM history WHERE number = 10",
		    "history cannot be deleted" },
		{ "INSERT INTO history VALUES (12, 1, 0, 0, 'a', '', '', "
		  "zeroblob(32))", "no gap" },
		{ "INSERT INTO history VALUES (10, 1, 0, 0, 'a', '', '', "
		  "zeroblob(32))", "no gap" },
		{ "INSERT INTO history VALUES (NULL, 1, 0, 0, 'a', '', '', "
		  "zeroblob(32))", "no gap" },
		{ "INSERT OR REPLACE INTO history VALUES (3, 1, 0, 0, 'a', "
		  "'', '', zeroblob(32))", "no gap" },
		{ "UPDATE meta SET history_number = 3", "only grows" },
		{ "UPDATE meta SET history_hash = zeroblob(32)",
		    "only grows" },
		{ "INSERT INTO history VALUES (11, 1, 0, 0, 'a', '', '', "
		  "zeroblob(31))", "CHECK" },
	};
	struct bed *b = *ctx;
	sqlite3 *db;

	ten_rows(b);
	db = other_open(b);
	for (size_t i = 0; i < nitems(cases); i++)
		other_is_refused(db, cases[i].sql, cases[i].words);
	(void)sqlite3_close(db);
	assert_int_equal(verified(b).faults, 0);
}

static void
whoever_takes_the_triggers_away_is_found_out(void **ctx)
{
	static const struct {
		const char *sql, *words;
		int64_t faults;
	} cases[] = {
		{ "UPDATE history SET why = 'another' WHERE number = 4",
		    "history row 4 (row ) is not what was written", 1 },
		{ "UPDATE history SET when_s = when_s + 1 WHERE number = 4",
		    "history row 4", 1 },
		{ "UPDATE history SET uid = 0 WHERE number = 10",
		    "history row 10", 1 },
		{ "UPDATE history SET uid = NULL WHERE number = 1",
		    "history row 1", 1 },
		{ "DELETE FROM history WHERE number = 4",
		    "history row 4 is not there", 1 },
		{ "DELETE FROM history WHERE number BETWEEN 3 AND 5",
		    "history rows 3 to 5 are not there", 1 },
		{ "DELETE FROM history WHERE number = 1",
		    "history row 1 is not there", 1 },
		{ "DELETE FROM history WHERE number >= 9",
		    "ends with row 8; the newest ever written is 10", 1 },
		{ "DELETE FROM history", "ends with row 0", 1 },
		{ "UPDATE history SET hash = zeroblob(32) WHERE number = 10",
		    "history row 10", 2 },
		{ "UPDATE meta SET history_hash = zeroblob(32)",
		    "the newest hash on record is not that of history row 10",
		    1 },
	};
	struct bed *b = *ctx;
	struct history_check c;
	sqlite3 *db;

	ten_rows(b);
	bed_close(b);
	for (size_t i = 0; i < nitems(cases); i++) {
		db = other_open(b);
		other_run(db, "BEGIN; DROP TRIGGER history_stays;"
			      "DROP TRIGGER history_kept;"
			      "DROP TRIGGER meta_history_grows");
		other_run(db, cases[i].sql);
		/* seen by the same connection; then it never happened */
		b->st = calloc(1, sizeof(*b->st));
		assert_non_null(b->st);
		b->st->db = db;
		b->st->path = strdup(b->path);
		ok(b, store_prepare(b->st, &b->fail));
		c = verified(b);
		if (strstr(c.first, cases[i].words) == NULL)
			fail_msg("%s: \"%s\"", cases[i].sql, c.first);
		assert_int_equal(c.faults, cases[i].faults);
		store_finalize(b->st);
		other_run(db, "ROLLBACK");
		bed_close(b);
	}
	bed_open(b);
	assert_int_equal(verified(b).faults, 0);
}

static void
a_row_of_somebody_else_does_not_stop_ours(void **ctx)
{
	struct bed *b = *ctx;
	sqlite3 *db;

	ten_rows(b);
	db = other_open(b);
	other_run(db, "INSERT INTO history VALUES (11, 1, 0, 0, 'a', '', '', "
		      "zeroblob(32))");
	(void)sqlite3_close(db);
	says(b, T0, "twelve", "", "");
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(verified(b).faults, 1);
	assert_int_equal(verified(b).number, 12);
}

/* ---- pause ----------------------------------------------------------- */

static void
a_pause_is_kept_over_a_restart(void **ctx)
{
	struct bed *b = *ctx;
	struct store_pause p = { .since = 1 };

	ok(b, store_pause_get(b->st, &p, &b->fail));
	assert_int_equal(p.until, 0);
	p = (struct store_pause){ .since = T0, .until = PAUSE_OPEN,
		.who = { 1000, 4711 }, .reason = "HSM firmware" };
	ok(b, store_pause_put(b->st, &p, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	bed_open(b);
	memset(&p, 0, sizeof(p));
	ok(b, store_pause_get(b->st, &p, &b->fail));
	assert_int_equal(p.since, T0);
	assert_true(p.until == PAUSE_OPEN);
	assert_int_equal(p.who.uid, 1000);
	assert_int_equal(p.who.pid, 4711);
	assert_string_equal(p.reason, "HSM firmware");
	p = (struct store_pause){ .who = ACTOR_DAEMON };
	ok(b, store_pause_put(b->st, &p, &b->fail));
	ok(b, store_pause_get(b->st, &p, &b->fail));
	assert_int_equal(p.until, 0);
	assert_int_equal(p.who.uid, -1);
	assert_string_equal(p.reason, "");
}

int
main(void)
{
#define opened(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		opened(nothing_written_is_number_zero),
		opened(a_row_reads_as_it_was_written),
		opened(what_is_too_long_is_cut_between_characters),
		opened(the_hash_is_what_the_manual_says),
		opened(fields_cannot_be_shifted_into_each_other),
		opened(a_batch_that_is_rolled_back_leaves_no_gap),
		opened(a_key_that_came_to_be_has_a_life_on_record),
		opened(what_never_was_has_no_history),
		opened(a_pool_that_changes_sides_is_one_row),
		opened(pages_are_filtered_and_in_order),
		opened(the_table_refuses_what_is_not_the_next_row),
		opened(whoever_takes_the_triggers_away_is_found_out),
		opened(a_row_of_somebody_else_does_not_stop_ours),
		opened(a_pause_is_kept_over_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
