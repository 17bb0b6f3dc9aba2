#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test_store.h"

#include <sys/wait.h>

struct said {
	char text[4096];
	int64_t lines;
};

static void
hear(void *ctx, const char *text)
{
	struct said *s = ctx;
	size_t len = strlen(s->text);

	s->lines++;
	(void)snprintf(s->text + len, sizeof(s->text) - len, "%s\n", text);
}

/* Faults of the file; their words in *s. */
static int64_t
checked(struct bed *b, const char *path, struct said *s)
{
	int64_t faults = -1;

	memset(s, 0, sizeof(*s));
	ok(b, store_file_check(path, hear, s, &faults, &b->fail));
	assert_int_equal(s->lines, faults);
	return faults;
}

/* Keys whose digest and tags are those of their public key. */
static void
true_keys(struct bed *b, int n)
{
	uint8_t pub[64], digest[32];
	struct store_made made;
	struct key_id id;

	for (int i = 0; i < n; i++) {
		made = answer(T0 + i);
		id = key_intended(b, pool_any(b));
		memset(pub, i + 1, sizeof(pub));
		ok(b, digest_sha256(pub, sizeof(pub), digest, &b->fail));
		made.pub = pub;
		made.publen = sizeof(pub);
		made.digest = digest;
		made.tag_zsk = dnskey_tag(DNSKEY_ZSK, 13, pub, sizeof(pub));
		made.tag_ksk = dnskey_tag(DNSKEY_KSK, 13, pub, sizeof(pub));
		made.tag_revoked = dnskey_tag(DNSKEY_REVOKED, 13, pub,
		    sizeof(pub));
		ok(b, store_key_made(b->st, &id, &made, T0 + i, &b->fail));
		key_moved(b, &id, KEY_MADE, KEY_READY);
	}
	ok(b, store_commit(b->st, &b->fail));
}

/* Names of the directory, so that nothing was made or left. */
static void
names(const struct bed *b, char out[1024])
{
	char run[200];
	size_t n;
	FILE *p;

	(void)snprintf(run, sizeof(run), "ls -A %s", b->dir);
	p = popen(run, "r");
	assert_non_null(p);
	n = fread(out, 1, 1023, p);
	out[n] = '\0';
	(void)pclose(p);
}

/* ---- checking -------------------------------------------------------- */

static void
a_sound_database_has_no_faults(void **ctx)
{
	struct bed *b = *ctx;
	char before[1024], after[1024];
	struct said s;

	assert_int_equal(checked(b, b->path, &s), 0);
	true_keys(b, 20);
	/* in use, with a batch that is open */
	(void)key_intended(b, pool_any(b));
	names(b, before);
	assert_int_equal(checked(b, b->path, &s), 0);
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	assert_int_equal(checked(b, b->path, &s), 0);
	names(b, after);
	assert_string_equal(before, after);
}

static void
each_kind_of_fault_has_its_words(void **ctx)
{
	static const struct {
		const char *sql, *words;
		int64_t faults;
	} cases[] = {
		{ "UPDATE key_count SET n = n + 1 WHERE state = 'ready'",
		    "pool row 1 has 20 keys that are ready; its count says "
		    "21", 1 },
		{ "DELETE FROM key_count WHERE state = 'ready'",
		    "its count says 0", 1 },
		{ "INSERT INTO arrow VALUES ('taken', 'ready')",
		    "there is no arrow from taken to ready", 1 },
		{ "DELETE FROM arrow WHERE state = 'made' AND next = 'ready'",
		    "the arrow from made to ready is not on record", 1 },
		{ "PRAGMA foreign_keys = OFF; DELETE FROM pool",
		    "points to no row of pool", -1 },
		{ "DROP TRIGGER meta_serial_grows; UPDATE meta SET serial = 3",
		    "serial 20 was given; the last on record is 3", 1 },
		{ "DROP TRIGGER key_stays; UPDATE key SET digest = "
		  "zeroblob(32) WHERE row = 4", "its digest is not that", 1 },
		{ "DROP TRIGGER key_stays; UPDATE key SET tag_ksk = "
		  "(tag_ksk + 1) % 65536 WHERE row = 4",
		    "its key tags are not", 1 },
		{ "DROP TRIGGER history_stays; UPDATE history SET what = 'x' "
		  "WHERE number IN (4, 8)", "history row 8 (x ", 2 },
		{ "DROP TRIGGER meta_stays; DELETE FROM meta",
		    "the installation has 0 rows", -1 },
		{ "PRAGMA ignore_check_constraints = ON; DROP TRIGGER "
		  "key_stays; UPDATE key SET ended = NULL WHERE row = 5",
		    "(ready): what is on record of it contradicts itself", 1 },
		{ "PRAGMA ignore_check_constraints = ON; DROP TRIGGER "
		  "key_moves; UPDATE key SET state = 'fine' WHERE row = 5",
		    "(fine): what is on record", 2 },
		{ "DROP VIEW keys; DROP TABLE history", "no such table", -1 },
	};
	struct bed *b = *ctx;
	char run[200];
	struct said s;

	true_keys(b, 20);
	bed_close(b);
	(void)snprintf(run, sizeof(run), "cd %s && rm -f ksmpool.db-* && "
	    "cp ksmpool.db kept", b->dir);
	assert_int_equal(system(run), 0);
	for (size_t i = 0; i < nitems(cases); i++) {
		sqlite3 *db = other_open(b);
		int64_t faults;

		other_run(db, "PRAGMA journal_mode = DELETE");
		other_run(db, cases[i].sql);
		(void)sqlite3_close(db);
		faults = checked(b, b->path, &s);
		if (strstr(s.text, cases[i].words) == NULL ||
		    (cases[i].faults >= 0 && faults != cases[i].faults) ||
		    faults < 1)
			fail_msg("%s: %lld: %s", cases[i].sql,
			    (long long)faults, s.text);
		(void)snprintf(run, sizeof(run), "cd %s && rm -f ksmpool.db* "
		    "&& cp kept ksmpool.db", b->dir);
		assert_int_equal(system(run), 0);
	}
}

static void
damage_is_faults_and_no_error(void **ctx)
{
	struct bed *b = *ctx;
	uint8_t junk[4096];
	struct stat sb;
	struct said s;
	int fd;

	for (int i = 0; i < 40; i++)
		true_keys(b, 20);
	bed_close(b);
	assert_int_equal(stat(b->path, &sb), 0);
	memset(junk, 0x5a, sizeof(junk));
	fd = open(b->path, O_RDWR);
	assert_int_equal(pwrite(fd, junk, sizeof(junk),
			     sb.st_size / 2 / 4096 * 4096), sizeof(junk));
	(void)close(fd);
	assert_true(checked(b, b->path, &s) > 0);
	assert_true(s.lines < 1000);

	/* not even the schema */
	fd = open(b->path, O_RDWR);
	assert_int_equal(pwrite(fd, junk, sizeof(junk) - 100, 100),
	    sizeof(junk) - 100);
	(void)close(fd);
	assert_int_equal(checked(b, b->path, &s), 1);
	assert_non_null(strstr(s.text, "damaged"));
}

static void
what_cannot_be_read_is_an_error(void **ctx)
{
	static const char text[] = "this is a text and no database, and it is "
				   "longer than a hundred bytes so that there "
				   "is something to look at in it";
	struct bed *b = *ctx;
	int64_t faults;
	struct said s = { .lines = 0 };
	char path[160];
	sqlite3 *db;
	int fd;

	bed_close(b);
	bed_file(b, ".no", path);
	assert_int_equal(store_file_check(path, hear, &s, &faults, &b->fail),
	    KSM_ESTORE);
	assert_says(b, "No such file or directory for uid");
	assert_int_equal(store_file_check(b->dir, hear, &s, &faults,
			     &b->fail), KSM_ESTORE);
	assert_says(b, "not a regular file");
	fd = open(path, O_CREAT | O_RDWR, 0600);
	assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	(void)close(fd);
	assert_int_equal(store_file_check(path, hear, &s, &faults, &b->fail),
	    KSM_EREFUSED);
	assert_says(b, "not an SQLite database");
	db = other_open(b);
	other_run(db, "PRAGMA user_version = 977");
	(void)sqlite3_close(db);
	assert_int_equal(store_file_check(b->path, hear, &s, &faults,
			     &b->fail), KSM_EREFUSED);
	assert_says(b, "schema version 977; this ksmpoold knows 1 to");
	assert_int_equal(s.lines, 0);
}

static void
odd_names_are_names(void **ctx)
{
	struct bed *b = *ctx;
	char path[200];
	struct said s;

	true_keys(b, 3);
	(void)snprintf(path, sizeof(path), "%s/a %%41?mode=rw#b&c", b->dir);
	ok(b, store_file_copy(b->path, path, &b->fail));
	assert_int_equal(checked(b, path, &s), 0);
}

/* ---- copying --------------------------------------------------------- */

static void
a_copy_is_whole_while_it_is_written_to(void **ctx)
{
	struct bed *b = *ctx;
	char path[160], before[1024], after[1024];
	struct stat sb;
	struct said s;
	sqlite3 *db;

	true_keys(b, 20);
	(void)key_intended(b, pool_any(b));
	bed_file(b, ".copy", path);
	ok(b, store_file_copy(b->path, path, &b->fail));
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0640);
	names(b, before);
	assert_int_equal(checked(b, path, &s), 0);
	names(b, after);
	assert_string_equal(before, after);
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);

	/* it can take the place of what it is a copy of */
	assert_int_equal(rename(path, b->path), 0);
	bed_open(b);
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 20);
	assert_int_equal(store_serial_last(b->st), 20);
	db = other_open(b);
	(void)sqlite3_close(db);
}

static void
a_copy_needs_a_new_absolute_name(void **ctx)
{
	struct bed *b = *ctx;
	char path[200], before[1024], after[1024];

	true_keys(b, 3);
	names(b, before);
	assert_int_equal(store_file_copy(b->path, "copy.db", &b->fail),
	    KSM_EREFUSED);
	assert_says(b, "absolute path");
	assert_int_equal(store_file_copy(b->path, b->path, &b->fail),
	    KSM_EREFUSED);
	assert_says(b, "exists already");
	(void)snprintf(path, sizeof(path), "%s/none/copy", b->dir);
	assert_int_equal(store_file_copy(b->path, path, &b->fail),
	    KSM_ESTORE);
	assert_says(b, "No such file or directory for uid");
	assert_says(b, b->dir);
	names(b, after);
	assert_string_equal(before, after);
}

static void
a_full_disk_leaves_no_half_copy(void **ctx)
{
	struct bed *b = *ctx;
	char path[160];

	if (access("/dev/full", F_OK) == -1 || geteuid() != 0)
		skip();
	true_keys(b, 20);
	bed_close(b);
	(void)snprintf(path, sizeof(path), "%s/small", b->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	{
		char run[300];
		int status;

		/* no file system to mount: the test is for who can */
		(void)snprintf(run, sizeof(run), "mount -t tmpfs -o size=32k "
		    "none %s 2>/dev/null", path);
		status = system(run);
		if (status != 0) {
			bed_open(b);
			skip();
		}
		(void)snprintf(path, sizeof(path), "%s/small/copy", b->dir);
		assert_int_equal(store_file_copy(b->path, path, &b->fail),
		    KSM_ESTORE);
		(void)snprintf(run, sizeof(run), "test -z \"$(ls -A %s/small)\""
		    "; e=$?; umount %s/small; exit $e", b->dir, b->dir);
		status = system(run);
		assert_says(b, "No space left on device for uid");
		assert_int_equal(status, 0);
	}
	bed_open(b);
}

int
main(void)
{
#define opened(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		opened(a_sound_database_has_no_faults),
		opened(each_kind_of_fault_has_its_words),
		opened(damage_is_faults_and_no_error),
		opened(what_cannot_be_read_is_an_error),
		opened(odd_names_are_names),
		opened(a_copy_is_whole_while_it_is_written_to),
		opened(a_copy_needs_a_new_absolute_name),
		opened(a_full_disk_leaves_no_half_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
