#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test_store.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>

static bool
there(const struct bed *b, const char *suffix)
{
	char path[160];

	bed_file(b, suffix, path);
	return access(path, F_OK) == 0;
}

static void
lose(const struct bed *b, const char *suffix)
{
	char path[160];

	bed_file(b, suffix, path);
	assert_int_equal(unlink(path), 0);
}

/* Somebody else, who opens the file by its name. */
static int64_t
by_name(const struct bed *b, const char *sql)
{
	sqlite3_stmt *q = NULL;
	sqlite3 *db = NULL;
	int64_t n;

	assert_int_equal(sqlite3_open_v2(b->path, &db, SQLITE_OPEN_READONLY,
			     NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &q, NULL),
	    SQLITE_OK);
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	n = sqlite3_column_int64(q, 0);
	(void)sqlite3_finalize(q);
	(void)sqlite3_close(db);
	return n;
}

static void
ready_keys(struct bed *b, int n)
{
	for (int i = 0; i < n; i++)
		(void)key_in(b, pool_any(b), KEY_READY, 0);
	ok(b, store_commit(b->st, &b->fail));
}

/* ---- looking --------------------------------------------------------- */

static void
what_happens_to_the_name_is_seen(void **ctx)
{
	struct bed *b = *ctx;
	char aside[160];

	ready_keys(b, 1);
	assert_int_equal(store_place_look(b->st), STORE_HERE);
	bed_file(b, ".aside", aside);
	assert_int_equal(rename(b->path, aside), 0);
	assert_int_equal(store_place_look(b->st), STORE_GONE);
	(void)sqlite3_close(other_open(b));
	assert_int_equal(close(open(b->path, O_CREAT | O_RDWR, 0600)), 0);
	assert_int_equal(store_place_look(b->st), STORE_REPLACED);
	assert_int_equal(rename(aside, b->path), 0);
	assert_int_equal(store_place_look(b->st), STORE_HERE);
	lose(b, "-wal");
	assert_int_equal(store_place_look(b->st), STORE_GONE);
}

/* ---- putting back ---------------------------------------------------- */

static void
nothing_is_lost(struct bed *b, int64_t n)
{
	struct history_check h = { 0 };
	struct stat sb;

	assert_int_equal(store_place_look(b->st), STORE_HERE);
	assert_false(there(b, ".put-back"));
	assert_false(there(b, ".put-back-part"));
	assert_int_equal(ask(b, "SELECT count(*) FROM key "
				"WHERE state = 'ready'"), n);
	assert_int_equal(by_name(b, "SELECT count(*) FROM key "
				    "WHERE state = 'ready'"), n);
	assert_int_equal(stat(b->path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0640);
	while (!h.done)
		ok(b, store_history_verify(b->st, &h, 100, &b->fail));
	assert_int_equal(h.faults, 0);
}

static void
a_database_that_was_deleted_is_put_back(void **ctx)
{
	static const char *const gone[][4] = {
		{ "" }, { "", "-wal" }, { "", "-wal", "-shm" }, { "-wal" },
		{ "-wal", "-shm" }, { "", "-shm" },
	};
	struct bed *b = *ctx;
	uint8_t tag[KEY_TAG_LEN], again[KEY_TAG_LEN];
	int64_t n = 0;

	store_tag_get(b->st, tag);
	for (size_t i = 0; i < nitems(gone); i++) {
		ready_keys(b, 3);
		n += 3;
		for (size_t k = 0; k < 4 && gone[i][k] != NULL; k++)
			lose(b, gone[i][k]);
		assert_int_equal(store_place_look(b->st), STORE_GONE);
		/* a batch that is open now comes with it */
		(void)key_in(b, pool_any(b), KEY_READY, 0);
		n++;
		ok(b, store_put_back(b->st, &b->fail));
		assert_false(store_batch_open(b->st));
		nothing_is_lost(b, n);
		/* and it works on */
		ready_keys(b, 1);
		n++;
		nothing_is_lost(b, n);
		bed_close(b);
		bed_open(b);
		nothing_is_lost(b, n);
		assert_int_equal(store_serial_last(b->st), n);
		store_tag_get(b->st, again);
		assert_memory_equal(tag, again, sizeof(tag));
	}
}

static void
mode_and_settings_are_kept(void **ctx)
{
	struct bed *b = *ctx;
	struct stat sb;

	bed_close(b);
	assert_int_equal(chmod(b->path, 0600), 0);
	bed_open(b);
	lose(b, "");
	ok(b, store_put_back(b->st, &b->fail));
	assert_int_equal(stat(b->path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	assert_int_equal(ask(b, "PRAGMA synchronous"), 2);
	assert_int_equal(ask(b, "PRAGMA foreign_keys"), 1);
	assert_int_equal(ask(b, "PRAGMA busy_timeout"), STORE_BUSY_MS);
	assert_int_equal(ask(b, "PRAGMA user_version"), store_nmigrations);
}

static void
what_is_here_needs_no_putting_back(void **ctx)
{
	struct bed *b = *ctx;

	ready_keys(b, 2);
	ok(b, store_put_back(b->st, &b->fail));
	nothing_is_lost(b, 2);
}

static void
a_file_of_somebody_else_is_never_written_to(void **ctx)
{
	struct bed *b = *ctx;
	struct stat sb;
	int fd;

	ready_keys(b, 2);
	lose(b, "");
	fd = open(b->path, O_CREAT | O_RDWR, 0600);
	assert_int_equal(write(fd, "mine", 4), 4);
	(void)close(fd);
	assert_int_equal(store_put_back(b->st, &b->fail), KSM_EREFUSED);
	assert_says(b, "another file has the name");
	assert_int_equal(stat(b->path, &sb), 0);
	assert_int_equal(sb.st_size, 4);
	/* when it is taken away again all is well */
	lose(b, "");
	ok(b, store_put_back(b->st, &b->fail));
	nothing_is_lost(b, 2);
}

static void
a_failure_can_be_tried_again(void **ctx)
{
	struct bed *b = *ctx;
	char aside[160];

	ready_keys(b, 2);
	(void)snprintf(aside, sizeof(aside), "%s.aside", b->dir);
	/* the whole directory is away */
	assert_int_equal(rename(b->dir, aside), 0);
	assert_int_equal(store_place_look(b->st), STORE_GONE);
	assert_int_equal(store_put_back(b->st, &b->fail), KSM_ESTORE);
	assert_says(b, "put the database back");
	assert_says(b, b->dir);
	assert_says(b, "No such file or directory for uid");
	/* another in its place, empty */
	assert_int_equal(mkdir(b->dir, 0700), 0);
	ok(b, store_put_back(b->st, &b->fail));
	nothing_is_lost(b, 2);
	bed_close(b);
	bed_open(b);
	nothing_is_lost(b, 2);
	(void)snprintf(aside, sizeof(aside), "rm -r %s.aside", b->dir);
	assert_int_equal(system(aside), 0);
}

static void
too_little_room_is_said_and_leaves_no_crumbs(void **ctx)
{
	static const struct rlimit little = { 8192, 8192 };
	struct bed *b = *ctx;
	int status;
	pid_t pid;

	ready_keys(b, 200);
	lose(b, "");
	pid = fork();
	if (pid == 0) {
		(void)signal(SIGXFSZ, SIG_IGN);
		(void)setrlimit(RLIMIT_FSIZE, &little);
		if (store_put_back(b->st, &b->fail) != KSM_ESTORE)
			_exit(1);
		_exit(strstr(b->fail.text, "put-back-part") != NULL &&
			    !there(b, ".put-back-part") &&
			    store_place_look(b->st) == STORE_GONE ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	ok(b, store_put_back(b->st, &b->fail));
	nothing_is_lost(b, 200);
}

static void
a_log_without_its_database_is_not_passed_over(void **ctx)
{
	struct bed *b = *ctx;
	char wal[160];
	int status;
	pid_t pid;

	/* of a daemon that was killed: after a clean end the log is empty */
	bed_close(b);
	pid = fork();
	if (pid == 0) {
		bed_open(b);
		ready_keys(b, 2);
		(void)kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	bed_file(b, "-wal", wal);
	lose(b, "");
	assert_int_equal(store_open(b->path, &b->st, &b->fail), KSM_EREFUSED);
	assert_says(b, "removed or moved away");
	assert_says(b, wal);
	assert_false(there(b, ""));
	lose(b, "-wal");
	bed_open(b);
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 0);
}

/* ---- killed in the middle -------------------------------------------- */

/*
 * Run `fn` in a child and kill it before its n-th system call, for every n:
 * there is no step between which it could not be. False: it came to its end.
 */
static bool
killed_at(struct bed *b, int n, int (*fn)(struct bed *b))
{
	int status, calls = 0;
	pid_t pid;

	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1)
			_exit(77);
		(void)raise(SIGSTOP);
		_exit(fn(b));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	for (;;) {
		assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status)) {
			assert_int_equal(WEXITSTATUS(status), 0);
			return false;
		}
		assert_true(WIFSTOPPED(status));
		if (++calls == n) {
			assert_int_equal(kill(pid, SIGKILL), 0);
			assert_int_equal(waitpid(pid, &status, 0), pid);
			return true;
		}
	}
}

/* The directory as it was, for the next try. */
static void
keep(const struct bed *b)
{
	char run[200];

	(void)snprintf(run, sizeof(run), "cd %s && cp ksmpool.db kept",
	    b->dir);
	assert_int_equal(system(run), 0);
}

static void
as_kept(const struct bed *b)
{
	char run[200];

	(void)snprintf(run, sizeof(run), "cd %s && rm -f ksmpool.db* && "
	    "cp kept ksmpool.db", b->dir);
	assert_int_equal(system(run), 0);
}

static int
open_lose_and_put_back(struct bed *b)
{
	char path[160];

	if (store_open(b->path, &b->st, &b->fail) != KSM_OK)
		return 1;
	(void)unlink(b->path);
	bed_file(b, "-wal", path);
	(void)unlink(path);
	return store_put_back(b->st, &b->fail) == KSM_OK ? 0 : 2;
}

static void
killed_while_it_is_put_back_it_is_old_or_whole(void **ctx)
{
	struct bed *b = *ctx;
	int n, old = 0, lost = 0, back = 0;

	ready_keys(b, 5);
	bed_close(b);
	keep(b);
	for (n = 1; killed_at(b, n, open_lose_and_put_back); n += 5) {
		/* what the test took away before there was a copy is gone */
		bool taken = !there(b, "") && !there(b, ".put-back");
		bool aside = there(b, ".put-back");

		bed_open(b);
		assert_int_equal(ask(b, "SELECT count(*) FROM key"),
		    taken ? 0 : 5);
		assert_false(there(b, ".put-back"));
		assert_false(there(b, ".put-back-part"));
		bed_close(b);
		if (taken)
			lost++;
		else if (aside)
			back++;
		else
			old++;
		as_kept(b);
	}
	print_message("%d calls: %d times in place, %d times aside, %d lost "
		      "with the file\n", n, old, back, lost);
	assert_true(back > 0);
	assert_true(old > 0);
	bed_open(b);
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 5);
}

/* ---- an older schema ------------------------------------------------- */

/* As ksmpoold made it when the schema was at version 1, with n keys. */
static void
version_1(const struct bed *b, int n)
{
	sqlite3 *db = other_open(b);

	other_run(db, "PRAGMA journal_mode = WAL; BEGIN");
	other_run(db, store_migrations[0]);
	other_run(db, "PRAGMA application_id = 1263750480;"
		      "PRAGMA user_version = 1;"
		      "INSERT INTO repository (name) VALUES ('hsm');"
		      "INSERT INTO pool (policy, role, repository, alg, bits) "
		      "VALUES ('default', 'ZSK', 1, 13, 256);"
		      "INSERT INTO arrow VALUES ('intended', 'made')");
	for (int i = 0; i < n; i++)
		other_run(db, "INSERT INTO key (cka_id, pool, state, since, "
			      "intended) VALUES (randomblob(16), 1, "
			      "'intended', 1, 1)");
	other_run(db, "UPDATE key SET state = 'made', serial = row, "
		      "started = 1, ended = 2, proved = 1, "
		      "pub = zeroblob(64), digest = zeroblob(32), "
		      "tag_zsk = 1, tag_ksk = 2, tag_revoked = 3");
	other_run(db, "COMMIT");
	(void)sqlite3_close(db);
}

static void
before_the_schema_changes_a_copy_is_taken(void **ctx)
{
	struct bed *b = *ctx;
	char first[160], second[160];
	struct stat sb;
	struct bed old = { .st = NULL };

	assert_int_equal(STORE_APPLICATION, 1263750480);
	version_1(b, 7);
	bed_open(b);
	assert_int_equal(ask(b, "PRAGMA user_version"), store_nmigrations);
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 7);
	assert_int_equal(ask(b, "SELECT history_number FROM meta"), 0);
	bed_file(b, ".schema-1", first);
	assert_non_null(store_migrated(b->st));
	assert_string_equal(store_migrated(b->st), first);
	assert_int_equal(stat(first, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0640);
	(void)key_in(b, 1, KEY_READY, 0);
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	bed_open(b);
	assert_null(store_migrated(b->st));
	bed_close(b);

	/* the copy is what the older program knows */
	(void)snprintf(old.path, sizeof(old.path), "%.100s", first);
	assert_int_equal(by_name(&old, "PRAGMA user_version"), 1);
	assert_int_equal(by_name(&old, "PRAGMA application_id"),
	    STORE_APPLICATION);
	assert_int_equal(by_name(&old, "SELECT count(*) FROM key"), 7);
	assert_int_equal(by_name(&old, "SELECT seq FROM sqlite_sequence "
				       "WHERE name = 'key'"), 7);

	/* a second one has a name of its own */
	lose(b, "");
	lose(b, "-wal");
	lose(b, "-shm");
	version_1(b, 3);
	bed_open(b);
	bed_file(b, ".schema-1-2", second);
	assert_string_equal(store_migrated(b->st), second);
	assert_int_equal(by_name(&old, "SELECT count(*) FROM key"), 7);
}

static void
a_new_database_needs_no_copy(void **ctx)
{
	struct bed *b = *ctx;

	assert_null(store_migrated(b->st));
	assert_false(there(b, ".schema-0"));
}

static void
without_room_for_the_copy_nothing_is_migrated(void **ctx)
{
	static const struct rlimit little = { 65536, 65536 };
	struct bed *b = *ctx;
	int status;
	pid_t pid;

	version_1(b, 300);
	pid = fork();
	if (pid == 0) {
		(void)signal(SIGXFSZ, SIG_IGN);
		(void)setrlimit(RLIMIT_FSIZE, &little);
		if (store_open(b->path, &b->st, &b->fail) != KSM_ESTORE)
			_exit(1);
		if (strstr(b->fail.text, ".schema-1.part") == NULL ||
		    strstr(b->fail.text, "for uid") == NULL ||
		    strstr(b->fail.text, "nothing was changed") == NULL) {
			(void)fprintf(stderr, "%s\n", b->fail.text);
			_exit(2);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(by_name(b, "PRAGMA user_version"), 1);
	assert_false(there(b, ".schema-1"));
	assert_false(there(b, ".schema-1.part"));
	bed_open(b);
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 300);
}

static int
open_and_close(struct bed *b)
{
	if (store_open(b->path, &b->st, &b->fail) != KSM_OK)
		return 1;
	store_close(b->st);
	return 0;
}

static void
killed_while_it_migrates_it_is_one_version_or_the_other(void **ctx)
{
	struct bed *b = *ctx;
	int n, before = 0, after = 0;

	version_1(b, 5);
	keep(b);
	for (n = 1; killed_at(b, n, open_and_close); n += 11) {
		bed_open(b);
		if (store_migrated(b->st) != NULL)
			before++;
		else
			after++;
		assert_int_equal(ask(b, "PRAGMA user_version"),
		    store_nmigrations);
		assert_int_equal(ask(b, "SELECT count(*) FROM key"), 5);
		if (after > 0)
			assert_true(there(b, ".schema-1"));
		assert_false(there(b, ".schema-1.part"));
		bed_close(b);
		as_kept(b);
	}
	print_message("%d calls: killed %d times before, %d after\n", n,
	    before, after);
	assert_true(before > 0);
	assert_true(after > 0);
}

/* ---- damage ---------------------------------------------------------- */

static void
damage_is_remembered(void **ctx)
{
	struct bed *b = *ctx;
	uint8_t junk[4096];
	struct key_id ids[8];
	int64_t root;
	int fd;

	ready_keys(b, 300);
	root = ask(b, "SELECT rootpage FROM sqlite_schema "
		      "WHERE name = 'key_by_state'");
	bed_close(b);
	bed_open(b);
	assert_false(store_damaged(b->st));
	(void)sqlite3_exec(b->st->db, "PRAGMA cache_size = 1", NULL, NULL,
	    NULL);
	(void)sqlite3_db_release_memory(b->st->db);
	memset(junk, 0x5a, sizeof(junk));
	fd = open(b->path, O_RDWR);
	assert_int_equal(pwrite(fd, junk, sizeof(junk), (root - 1) * 4096),
	    sizeof(junk));
	(void)close(fd);
	assert_int_equal(store_keys_intend(b->st, 1, nitems(ids), T0, ids,
			     &b->fail), KSM_ESTORE);
	assert_says(b, "damaged");
	assert_says(b, b->path);
	assert_true(store_damaged(b->st));
}

int
main(void)
{
#define bare(f)	  cmocka_unit_test_setup_teardown(f, bed_make, bed_teardown)
#define opened(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		opened(what_happens_to_the_name_is_seen),
		opened(a_database_that_was_deleted_is_put_back),
		opened(mode_and_settings_are_kept),
		opened(what_is_here_needs_no_putting_back),
		opened(a_file_of_somebody_else_is_never_written_to),
		opened(a_failure_can_be_tried_again),
		opened(too_little_room_is_said_and_leaves_no_crumbs),
		opened(a_log_without_its_database_is_not_passed_over),
		opened(killed_while_it_is_put_back_it_is_old_or_whole),
		bare(before_the_schema_changes_a_copy_is_taken),
		opened(a_new_database_needs_no_copy),
		bare(without_room_for_the_copy_nothing_is_migrated),
		bare(killed_while_it_migrates_it_is_one_version_or_the_other),
		opened(damage_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
