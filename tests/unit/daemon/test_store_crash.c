#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test_store.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#define KILLS 25
#define BATCH 64
#define MANY  100000

static double
seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- kill -9 --------------------------------------------------------- */

/*
 * What the daemon does, for ever: intend a batch, commit, record the answers,
 * commit. After each commit one byte says so.
 */
static void
work_until_killed(struct bed *b, int64_t pool, int says)
{
	struct store_made made = answer(T0);
	struct key_id ids[BATCH];

	for (;;) {
		if (store_keys_intend(b->st, pool, BATCH, T0, ids,
			&b->fail) != KSM_OK ||
		    store_commit(b->st, &b->fail) != KSM_OK ||
		    write(says, "i", 1) != 1)
			_exit(1);
		for (size_t i = 0; i < BATCH; i++)
			if (store_key_made(b->st, &ids[i], &made, T0,
				&b->fail) != KSM_OK)
				_exit(1);
		if (store_commit(b->st, &b->fail) != KSM_OK ||
		    write(says, "m", 1) != 1)
			_exit(1);
	}
}

/*
 * Start it, kill it `us` after it has said `words`, and count what it said:
 * the commits it saw done.
 */
static void
kill_after(struct bed *b, int words, long us, int64_t *intends,
    int64_t *mades)
{
	struct timespec t = { .tv_nsec = us * 1000 };
	int says[2], status;
	char said[512];
	ssize_t n = 0;
	pid_t pid;

	assert_int_equal(pipe(says), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		(void)close(says[0]);
		if (store_open(b->path, &b->st, &b->fail) != KSM_OK)
			_exit(2);
		work_until_killed(b, pool_any(b), says[1]);
	}
	(void)close(says[1]);
	for (; n < words; n++)
		assert_int_equal(read(says[0], said + n, 1), 1);
	(void)nanosleep(&t, NULL);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	do {
		for (ssize_t i = 0; i < n; i++)
			(*(said[i] == 'i' ? intends : mades))++;
		n = read(says[0], said, sizeof(said));
	} while (n > 0);
	(void)close(says[0]);
}

static void
a_killed_daemon_leaves_whole_batches_only(void **ctx)
{
	struct bed *b = *ctx;
	int64_t intends = 0, mades = 0, rows, made, orphans;

	/* the pool is on record before; batches are rows 1-64, 65-128, ... */
	(void)pool_any(b);
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);

	for (int i = 0; i < KILLS; i++) {
		kill_after(b, 1 + i % 5, 137L * i % 3000, &intends, &mades);
		bed_open(b); /* quick_check is part of it */
		rows = ask(b, "SELECT count(*) FROM key");
		made = ask(b, "SELECT count(*) FROM key "
			      "WHERE state = 'made'");
		assert_int_equal(rows % BATCH, 0);
		assert_int_equal(made % BATCH, 0);
		/* whoever was told of a commit finds it; one may be untold */
		assert_in_range(rows / BATCH, intends, intends + i + 1);
		assert_in_range(made / BATCH, mades, mades + i + 1);
		assert_int_equal(ask(b, "SELECT count(*) FROM ("
		    "SELECT (row - 1) / 64 AS batch FROM key GROUP BY batch "
		    "HAVING count(*) <> 64 OR min(state) <> max(state))"), 0);
		assert_int_equal(ask(b, "SELECT count(*) FROM pragma_integrity_"
		    "check WHERE integrity_check <> 'ok'"), 0);
		assert_int_equal(ask(b, "SELECT max(serial) = count(serial) "
		    "AND max(serial) = (SELECT serial FROM meta) FROM key "
		    "WHERE serial IS NOT NULL") != 0, mades > 0 || made > 0);
		ok(b, store_keys_orphan(b->st, T0 + 1, &orphans, &b->fail));
		assert_int_equal(orphans % BATCH, 0);
		assert_true(orphans <= BATCH);
		ok(b, store_commit(b->st, &b->fail));
		bed_close(b);
	}
	print_message("%d kills: %lld batches intended, %lld made\n", KILLS,
	    (long long)intends, (long long)mades);
	assert_true(mades > 0);
	bed_open(b);
}

/* ---- size ------------------------------------------------------------ */

static void
count_one(void *ctx, int64_t row, const struct pool_spec *spec,
    enum key_state state, int64_t n)
{
	(void)row;
	(void)spec;
	(void)state;
	*(int64_t *)ctx += n;
}

/*
 * Times are printed and not asserted: the machine that runs this has other
 * things to do. The counts are.
 */
static void
a_hundred_thousand_keys_are_no_burden(void **ctx)
{
	static struct store_key page[500];
	static struct store_brief brief[1000];
	struct bed *b = *ctx;
	struct key_filter rare = { .by_state = true, .state = KEY_UNKNOWN };
	struct key_filter after = { .by_created = true,
		.created_after = T0 + 1000 }, all = { 0 };
	struct key_filter tag = { .by_tag = true, .tag = 4711 };
	struct key_filter before = { .created_before = T0, .alg = 13 };
	int64_t pool = pool_any(b), n = 0, cursor, surplus, ready;
	struct key_id ids[BATCH];
	struct store_made made = answer(T0);
	double at, intended, answered, worst;
	size_t got, total;
	char sql[256];

	(void)snprintf(sql, sizeof(sql), "WITH RECURSIVE c (i) AS (VALUES (1) "
	    "UNION ALL SELECT i + 1 FROM c WHERE i < %d) "
	    "INSERT INTO key (cka_id, pool, state, since, intended) "
	    "SELECT randomblob(16), %lld, 'intended', 1, 1 FROM c",
	    MANY, (long long)pool);
	assert_int_equal(store_exec(b->st, sql), SQLITE_OK);
	assert_int_equal(store_exec(b->st, "UPDATE key SET state = 'made', "
	    "serial = row, started = 1, ended = 2, proved = 1, "
	    "pub = zeroblob(260), digest = zeroblob(32), tag_zsk = 1, "
	    "tag_ksk = 2, tag_revoked = 3"), SQLITE_OK);
	assert_int_equal(store_exec(b->st, "UPDATE key SET state = 'ready'"),
	    SQLITE_OK);
	ok(b, store_commit(b->st, &b->fail));

	at = seconds();
	bed_close(b);
	bed_open(b);
	print_message("%d keys: open and check %.0f ms\n", MANY,
	    (seconds() - at) * 1e3);

	at = seconds();
	ok(b, store_counts(b->st, count_one, &n, &b->fail));
	print_message("counts %.3f ms\n", (seconds() - at) * 1e3);
	assert_int_equal(n, MANY);

	at = seconds();
	ok(b, store_keys_intend(b->st, pool, BATCH, T0, ids, &b->fail));
	intended = seconds() - at;
	ok(b, store_commit(b->st, &b->fail));
	at = seconds();
	for (size_t i = 0; i < BATCH; i++)
		ok(b, store_key_made(b->st, &ids[i], &made, T0, &b->fail));
	answered = seconds() - at;
	ok(b, store_commit(b->st, &b->fail));
	print_message("intend %.1f us, made %.1f us a key\n",
	    intended / BATCH * 1e6, answered / BATCH * 1e6);

	at = seconds();
	for (int i = 0; i < 1000; i++)
		ok(b, store_history_add(b->st, T0, ACTOR_DAEMON, "key made",
			  "0123456789abcdef0123456789abcdef", "repository "
			  "SoftHSM, policy default, ZSK, serial 100000",
			  &b->fail));
	print_message("history %.1f us a row\n", (seconds() - at) * 1e3);
	ok(b, store_commit(b->st, &b->fail));

	/* a tag nobody has, an age nobody has: each page ends, none sorts */
	cursor = 0;
	at = seconds();
	ok(b, store_keys_list(b->st, &tag, &cursor, page, nitems(page), &got,
		  &b->fail));
	assert_int_equal(got, 0);
	print_message("a tag nobody has %.1f ms, ", (seconds() - at) * 1e3);
	total = 0;
	cursor = 0;
	worst = 0;
	do {
		at = seconds();
		ok(b, store_keys_list(b->st, &before, &cursor, page,
			  nitems(page), &got, &b->fail));
		if (seconds() - at > worst)
			worst = seconds() - at;
		total += got;
	} while (got > 0);
	assert_int_equal(total, MANY);
	print_message("worst page by age %.2f ms\n", worst * 1e3);

	worst = 0;
	total = 0;
	cursor = 0;
	do {
		at = seconds();
		ok(b, store_keys_list(b->st, &all, &cursor, page,
			  nitems(page), &got, &b->fail));
		if (seconds() - at > worst)
			worst = seconds() - at;
		total += got;
	} while (got > 0);
	assert_int_equal(total, MANY + BATCH);
	print_message("worst page of %zu: %.2f ms\n", nitems(page),
	    worst * 1e3);

	cursor = 0;
	at = seconds();
	ok(b, store_keys_list(b->st, &rare, &cursor, page, nitems(page), &got,
		  &b->fail));
	assert_int_equal(got, 0);
	print_message("a rare state %.3f ms, ", (seconds() - at) * 1e3);
	cursor = 0;
	at = seconds();
	ok(b, store_keys_list(b->st, &after, &cursor, page, nitems(page), &got,
		  &b->fail));
	assert_int_equal(got, 0);
	print_message("none after the backup %.1f ms\n",
	    (seconds() - at) * 1e3);

	total = 0;
	cursor = 0;
	at = seconds();
	do {
		ok(b, store_keys_brief(b->st, "hsm", &cursor, brief,
			  nitems(brief), &got, &b->fail));
		total += got;
	} while (got > 0);
	assert_int_equal(total, MANY + BATCH);
	print_message("all short facts %.1f ms\n", (seconds() - at) * 1e3);

	at = seconds();
	ok(b, store_pools_wanted(b->st, NULL, 0, T0, &surplus, &ready,
		  &b->fail));
	assert_int_equal(surplus, MANY);
	print_message("all to surplus %.0f ms\n", (seconds() - at) * 1e3);
}

int
main(void)
{
#define opened(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		opened(a_killed_daemon_leaves_whole_batches_only),
		opened(a_hundred_thousand_keys_are_no_burden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
