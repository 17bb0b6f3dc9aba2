#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test_store.h"

#include <sys/wait.h>

#define NOBODY 65534

/* ---- the file -------------------------------------------------------- */

static void
the_file_has_mode_0640_whatever_the_umask(void **ctx)
{
	static const mode_t masks[] = { 0000, 0027, 0077 };
	static const char *const files[] = { "", "-wal", "-shm" };
	struct bed *b = *ctx;
	char path[160];
	struct stat sb;

	for (size_t i = 0; i < nitems(masks); i++) {
		mode_t before = umask(masks[i]);

		bed_open(b);
		(void)umask(before);
		for (size_t k = 0; k < nitems(files); k++) {
			bed_file(b, files[k], path);
			assert_int_equal(stat(path, &sb), 0);
			assert_int_equal(sb.st_mode & 07777, 0640);
		}
		bed_close(b);
		for (size_t k = 0; k < nitems(files); k++) {
			bed_file(b, files[k], path);
			(void)unlink(path);
		}
	}
}

static void
the_mode_of_an_existing_file_is_the_operators(void **ctx)
{
	struct bed *b = *ctx;
	struct stat sb;

	assert_int_equal(chmod(b->path, 0600), 0);
	bed_close(b);
	bed_open(b);
	assert_int_equal(stat(b->path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
}

static void
every_safety_setting_is_in_force(void **ctx)
{
	struct bed *b = *ctx;
	sqlite3_stmt *q;

	assert_int_equal(ask(b, "PRAGMA synchronous"), 2);
	assert_int_equal(ask(b, "PRAGMA foreign_keys"), 1);
	assert_int_equal(ask(b, "PRAGMA trusted_schema"), 0);
	assert_int_equal(ask(b, "PRAGMA application_id"), STORE_APPLICATION);
	assert_int_equal(ask(b, "PRAGMA user_version"), store_nmigrations);
	assert_int_equal(ask(b, "PRAGMA busy_timeout"), STORE_BUSY_MS);
	assert_int_equal(STORE_BUSY_MS, 50);
	assert_int_equal(ask(b, "SELECT count(*) FROM pragma_table_list "
				"WHERE schema = 'main' AND type = 'table' "
				"AND name NOT LIKE 'sqlite_%' AND NOT strict"),
	    0);
	assert_int_equal(sqlite3_prepare_v2(b->st->db, "PRAGMA journal_mode",
			     -1, &q, NULL),
	    SQLITE_OK);
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(q, 0), "wal");
	(void)sqlite3_finalize(q);
}

static void
the_tag_is_made_once_and_stays(void **ctx)
{
	struct bed *b = *ctx;
	uint8_t first[KEY_TAG_LEN], again[KEY_TAG_LEN];
	static const uint8_t zeroes[KEY_TAG_LEN];

	store_tag_get(b->st, first);
	assert_memory_not_equal(first, zeroes, sizeof(first));
	bed_close(b);
	bed_open(b);
	store_tag_get(b->st, again);
	assert_memory_equal(first, again, sizeof(first));
}

/* ---- what cannot be opened ------------------------------------------- */

static void
must_not_open(struct bed *b, enum ksm_err err, const char *words)
{
	b->fail.text[0] = '\0';
	assert_int_equal(store_open(b->path, &b->st, &b->fail), err);
	assert_null(b->st);
	assert_says(b, words);
}

static void
a_missing_directory_is_named(void **ctx)
{
	struct bed *b = *ctx;
	char good[sizeof(b->path)], words[160];

	(void)strcpy(good, b->path);
	(void)snprintf(b->path, sizeof(b->path), "%s/no/ksmpool.db", b->dir);
	(void)snprintf(words, sizeof(words),
	    "%s/no: No such file or directory for uid %lu; expected", b->dir,
	    (unsigned long)geteuid());
	must_not_open(b, KSM_ESTORE, words);
	(void)strcpy(b->path, good);
}

static void
a_directory_in_its_place_is_no_database(void **ctx)
{
	struct bed *b = *ctx;

	assert_int_equal(mkdir(b->path, 0700), 0);
	must_not_open(b, KSM_ESTORE, "not a regular file");
}

static void
bytes_write(const struct bed *b, off_t at, const void *bytes, size_t len)
{
	int fd = open(b->path, O_RDWR | O_CREAT, 0600);

	assert_int_not_equal(fd, -1);
	assert_int_equal(pwrite(fd, bytes, len, at), len);
	(void)close(fd);
}

static void
a_file_that_is_no_database_is_refused_and_left_alone(void **ctx)
{
	static const char text[] = "<?xml version=\"1.0\"?><KASP/>, and so on "
				   "for more than a hundred bytes, so that "
				   "there is something to read in the file";
	struct bed *b = *ctx;
	struct stat sb;

	bytes_write(b, 0, text, sizeof(text));
	must_not_open(b, KSM_EREFUSED, "not an SQLite database");
	assert_says(b, b->path);
	assert_int_equal(stat(b->path, &sb), 0);
	assert_int_equal(sb.st_size, sizeof(text));
}

static void
a_database_of_another_program_is_refused_and_left_alone(void **ctx)
{
	struct bed *b = *ctx;
	sqlite3 *db = other_open(b);

	other_run(db, "PRAGMA journal_mode = DELETE;"
		      "PRAGMA application_id = 4711;"
		      "CREATE TABLE t (a)");
	(void)sqlite3_close(db);
	must_not_open(b, KSM_EREFUSED,
	    "another program (application_id 0x00001267)");
	assert_says(b, "0x4b534d50");

	db = other_open(b);
	other_run(db, "INSERT INTO t VALUES (1)");
	other_is_refused(db, "SELECT * FROM meta", "no such table");
	(void)sqlite3_close(db);
}

static void
a_database_without_owner_that_is_not_empty_is_refused(void **ctx)
{
	struct bed *b = *ctx;
	sqlite3 *db = other_open(b);

	other_run(db, "CREATE TABLE keypairs (id)");
	(void)sqlite3_close(db);
	must_not_open(b, KSM_EREFUSED, "another program");
}

static void
a_newer_schema_is_refused_with_both_versions(void **ctx)
{
	struct bed *b = *ctx;
	sqlite3 *db;
	char words[64];

	bed_close(b);
	db = other_open(b);
	other_run(db, "PRAGMA user_version = 977");
	(void)sqlite3_close(db);
	(void)snprintf(words, sizeof(words), "schema version 977; this "
	    "ksmpoold knows 1 to %zu", store_nmigrations);
	must_not_open(b, KSM_EREFUSED, words);
}

static void
a_damaged_database_says_what_to_do(void **ctx)
{
	struct bed *b = *ctx;
	uint8_t junk[4096];
	int64_t root;

	for (int i = 0; i < 500; i++)
		(void)key_intended(b, pool_any(b));
	ok(b, store_commit(b->st, &b->fail));
	root = ask(b, "SELECT rootpage FROM sqlite_schema "
		      "WHERE name = 'key_by_state'");
	bed_close(b);
	memset(junk, 0x5a, sizeof(junk));
	bytes_write(b, (root - 1) * 4096, junk, sizeof(junk));
	must_not_open(b, KSM_ESTORE, "damaged");
	assert_says(b, b->path);
	assert_says(b, "backup");
}

static void
a_cut_database_says_what_to_do(void **ctx)
{
	struct bed *b = *ctx;
	struct stat sb;

	for (int i = 0; i < 500; i++)
		(void)key_intended(b, pool_any(b));
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	assert_int_equal(stat(b->path, &sb), 0);
	assert_int_equal(truncate(b->path, sb.st_size / 2), 0);
	must_not_open(b, KSM_ESTORE, "damaged");
	assert_says(b, "backup");
}

/* Run `fn` as nobody; it answers with an exit status. */
static void
as_nobody(struct bed *b, int (*fn)(struct bed *b))
{
	pid_t pid;
	int status;

	if (geteuid() != 0)
		skip();
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		if (setgid(NOBODY) == -1 || setuid(NOBODY) == -1)
			_exit(99);
		_exit(fn(b));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int
open_says(struct bed *b, const char *words)
{
	if (store_open(b->path, &b->st, &b->fail) != KSM_ESTORE)
		return 1;
	if (strstr(b->fail.text, words) == NULL ||
	    strstr(b->fail.text, "for uid 65534") == NULL ||
	    strstr(b->fail.text, "Permission denied") == NULL) {
		(void)fprintf(stderr, "says: %s\n", b->fail.text);
		return 2;
	}
	return 0;
}

static int
open_in_closed_directory(struct bed *b)
{
	return open_says(b, "a writable directory");
}

static int
open_closed_file(struct bed *b)
{
	return open_says(b, "it belongs to uid 0 with mode 0640; expected a "
			    "writable database");
}

static int
open_beside_closed_log(struct bed *b)
{
	return open_says(b, "-wal: Permission denied");
}

static void
permission_is_asked_beforehand(void **ctx)
{
	struct bed *b = *ctx;
	char wal[160];

	bed_close(b);
	assert_int_equal(chmod(b->dir, 0755), 0);
	as_nobody(b, open_in_closed_directory);
	assert_int_equal(chmod(b->dir, 0777), 0);
	as_nobody(b, open_closed_file);
	assert_int_equal(chown(b->path, NOBODY, NOBODY), 0);
	bed_file(b, "-wal", wal);
	assert_int_equal(access(wal, F_OK), 0);
	as_nobody(b, open_beside_closed_log);
}

/* As `sqlite3 file:...?mode=ro` does, by somebody who may only read. */
static int
read_only_look(struct bed *b)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *q = NULL;
	char uri[200];
	int n = -1;

	(void)snprintf(uri, sizeof(uri), "file:%s?mode=ro", b->path);
	if (sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
		NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, "SELECT count(*) FROM keys", -1, &q,
		NULL) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW) {
		(void)fprintf(stderr, "look: %s\n", sqlite3_errmsg(db));
		return 1;
	}
	n = sqlite3_column_int(q, 0);
	(void)sqlite3_finalize(q);
	(void)sqlite3_close(db);
	return n == 1 ? 0 : 2;
}

static void
who_may_only_read_can_look_with_and_without_the_daemon(void **ctx)
{
	static const char *const files[] = { "", "-wal", "-shm" };
	struct bed *b = *ctx;
	char path[160];

	(void)key_intended(b, pool_any(b));
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(chmod(b->dir, 0755), 0);
	for (size_t i = 0; i < nitems(files); i++) {
		bed_file(b, files[i], path);
		assert_int_equal(chmod(path, 0644), 0);
	}
	as_nobody(b, read_only_look);
	bed_close(b);
	as_nobody(b, read_only_look);
}

/* ---- batches --------------------------------------------------------- */

static void
nothing_is_durable_before_commit(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);

	ok(b, store_commit(b->st, &b->fail));
	assert_false(store_batch_open(b->st));
	(void)key_intended(b, pool);
	assert_true(store_batch_open(b->st));
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 1);
	bed_close(b);

	bed_open(b);
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 0);
	(void)key_intended(b, pool);
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	bed_open(b);
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 1);
}

static void
committing_nothing_is_fine(void **ctx)
{
	struct bed *b = *ctx;

	ok(b, store_commit(b->st, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	assert_false(store_batch_lost(b->st));
}

static void
a_failed_change_takes_the_whole_batch_with_it(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id;
	int64_t serial;

	(void)key_in(b, pool, KEY_READY, 0);
	ok(b, store_commit(b->st, &b->fail));
	serial = store_serial_last(b->st);

	(void)key_in(b, pool, KEY_READY, 0);
	assert_int_equal(store_serial_last(b->st), serial + 1);
	/* no such pool: the foreign key says so */
	assert_int_equal(store_keys_intend(b->st, 4711, 1, T0, &id, &b->fail),
	    KSM_ESTORE);
	assert_says(b, "FOREIGN KEY");
	assert_says(b, b->path);
	assert_false(store_batch_open(b->st));
	assert_true(store_batch_lost(b->st));
	assert_false(store_batch_lost(b->st));
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 1);
	assert_int_equal(store_serial_last(b->st), serial);

	/* and the next batch works */
	(void)key_in(b, pool, KEY_READY, 0);
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 2);
	assert_int_equal(ask(b, "SELECT serial FROM meta"), serial + 1);
}

static void
a_batch_that_is_rolled_back_is_not_lost(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	int64_t serial;

	(void)key_in(b, pool, KEY_READY, 0);
	ok(b, store_commit(b->st, &b->fail));
	serial = store_serial_last(b->st);
	store_rollback(b->st);
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 1);

	(void)key_in(b, pool, KEY_READY, 0);
	store_rollback(b->st);
	assert_false(store_batch_open(b->st));
	assert_false(store_batch_lost(b->st));
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 1);
	assert_int_equal(store_serial_last(b->st), serial);
}

static void
an_answer_that_is_no_fault_leaves_the_batch_alone(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id id = key_intended(b, pool_any(b));

	assert_int_equal(store_key_move(b->st, &id, KEY_UNKNOWN, KEY_GONE, "",
			     T0, &b->fail),
	    KSM_ENOENT);
	assert_int_equal(store_key_move(b->st, &id, KEY_INTENDED, KEY_TAKEN,
			     "", T0, &b->fail),
	    KSM_EREFUSED);
	assert_true(store_batch_open(b->st));
	assert_false(store_batch_lost(b->st));
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 1);
}

static void
a_full_disk_loses_the_batch_and_nothing_else(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), before;
	struct key_id ids[64];
	char sql[64];
	enum ksm_err err = KSM_OK;

	(void)key_in(b, pool, KEY_READY, 0);
	ok(b, store_commit(b->st, &b->fail));
	before = ask(b, "SELECT count(*) FROM key");

	(void)snprintf(sql, sizeof(sql), "PRAGMA max_page_count = %lld",
	    (long long)ask(b, "PRAGMA page_count") + 2);
	(void)ask(b, sql);
	for (int i = 0; i < 100 && err == KSM_OK; i++)
		err = store_keys_intend(b->st, pool, nitems(ids), T0, ids,
		    &b->fail);
	assert_int_equal(err, KSM_ESTORE);
	assert_says(b, "the disk or the quota is full");
	assert_says(b, b->path);
	assert_true(store_batch_lost(b->st));
	assert_false(store_batch_open(b->st));
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), before);

	(void)ask(b, "PRAGMA max_page_count = 1000000");
	ok(b, store_keys_intend(b->st, pool, nitems(ids), T0, ids, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(ask(b, "SELECT count(*) FROM key"),
	    before + (int64_t)nitems(ids));
}

static void
a_lock_held_by_another_program_ends_in_words(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id;
	sqlite3 *db;

	ok(b, store_commit(b->st, &b->fail));
	db = other_open(b);
	other_run(db, "BEGIN IMMEDIATE");
	assert_int_equal(store_keys_intend(b->st, pool, 1, T0, &id, &b->fail),
	    KSM_ESTORE);
	assert_says(b, "locked by another program");
	assert_false(store_batch_open(b->st));
	assert_false(store_batch_lost(b->st)); /* there was nothing to lose */
	/* a writer never keeps us from reading */
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 0);

	other_run(db, "COMMIT");
	ok(b, store_keys_intend(b->st, pool, 1, T0, &id, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	(void)sqlite3_close(db);
}

static void
a_reader_that_stays_does_not_stop_us(void **ctx)
{
	struct bed *b = *ctx;
	sqlite3 *db = other_open(b);

	other_run(db, "BEGIN; SELECT count(*) FROM keys");
	for (int i = 0; i < 20; i++) {
		(void)key_in(b, pool_any(b), KEY_READY, 0);
		ok(b, store_commit(b->st, &b->fail));
	}
	other_run(db, "COMMIT");
	(void)sqlite3_close(db);
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 20);
}

/* ---- schema ---------------------------------------------------------- */

static void
each_migration_is_one_step_that_happens_or_not(void **ctx)
{
	static const char green[] =
		"ALTER TABLE pool ADD COLUMN colour TEXT;"
		"UPDATE pool SET colour = 'green';";
	static const char half[] =
		"CREATE TABLE half (a INTEGER) STRICT;"
		"INSERT INTO nowhere VALUES (1);";
	const char *steps[16] = { NULL };
	struct bed *b = *ctx;
	size_t n = store_nmigrations;
	char words[64];

	/* what is there already, one that works, one that does not */
	assert_true(n + 2 <= nitems(steps));
	steps[n] = green;
	steps[n + 1] = half;
	(void)key_in(b, pool_any(b), KEY_READY, 0);
	ok(b, store_commit(b->st, &b->fail));

	assert_int_equal(store_migrate(b->st, steps, n + 2, &b->fail),
	    KSM_ESTORE);
	(void)snprintf(words, sizeof(words), "schema version %zu", n + 2);
	assert_says(b, words);
	assert_says(b, "nowhere");
	assert_int_equal(ask(b, "PRAGMA user_version"), n + 1);
	assert_int_equal(ask(b, "SELECT count(*) FROM pool "
				"WHERE colour = 'green'"), 1);
	assert_int_equal(ask(b, "SELECT count(*) FROM sqlite_schema "
				"WHERE name = 'half'"), 0);

	/* done is done */
	ok(b, store_migrate(b->st, steps, n + 1, &b->fail));
	bed_close(b);
	(void)snprintf(words, sizeof(words), "schema version %zu; this "
	    "ksmpoold knows 1 to %zu", n + 1, n);
	must_not_open(b, KSM_EREFUSED, words);
}

static void
what_is_derived_is_put_right_at_open(void **ctx)
{
	struct bed *b = *ctx;
	int64_t arrows;
	sqlite3 *db;

	(void)key_in(b, pool_any(b), KEY_READY, 0);
	ok(b, store_commit(b->st, &b->fail));
	arrows = ask(b, "SELECT count(*) FROM arrow");
	bed_close(b);

	db = other_open(b);
	other_run(db, "DELETE FROM arrow WHERE state = 'made';"
		      "INSERT INTO arrow VALUES ('taken', 'ready');"
		      "UPDATE key_count SET n = n + 7");
	(void)sqlite3_close(db);

	bed_open(b);
	assert_int_equal(ask(b, "SELECT count(*) FROM arrow"), arrows);
	assert_int_equal(ask(b, "SELECT count(*) FROM arrow WHERE "
				"state = 'taken' AND next = 'ready'"), 0);
	assert_int_equal(
	    ask(b, "SELECT n FROM key_count WHERE state = 'ready'"), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define bare(f)	  cmocka_unit_test_setup_teardown(f, bed_make, bed_teardown)
#define opened(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
		bare(the_file_has_mode_0640_whatever_the_umask),
		opened(the_mode_of_an_existing_file_is_the_operators),
		opened(every_safety_setting_is_in_force),
		opened(the_tag_is_made_once_and_stays),
		bare(a_missing_directory_is_named),
		bare(a_directory_in_its_place_is_no_database),
		bare(a_file_that_is_no_database_is_refused_and_left_alone),
		bare(a_database_of_another_program_is_refused_and_left_alone),
		bare(a_database_without_owner_that_is_not_empty_is_refused),
		opened(a_newer_schema_is_refused_with_both_versions),
		opened(a_damaged_database_says_what_to_do),
		opened(a_cut_database_says_what_to_do),
		opened(permission_is_asked_beforehand),
		opened(who_may_only_read_can_look_with_and_without_the_daemon),
		opened(nothing_is_durable_before_commit),
		opened(committing_nothing_is_fine),
		opened(a_failed_change_takes_the_whole_batch_with_it),
		opened(a_batch_that_is_rolled_back_is_not_lost),
		opened(an_answer_that_is_no_fault_leaves_the_batch_alone),
		opened(a_full_disk_loses_the_batch_and_nothing_else),
		opened(a_lock_held_by_another_program_ends_in_words),
		opened(a_reader_that_stays_does_not_stop_us),
		opened(each_migration_is_one_step_that_happens_or_not),
		opened(what_is_derived_is_put_right_at_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
