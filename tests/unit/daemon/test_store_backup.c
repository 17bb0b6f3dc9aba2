#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test_store.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "store_backup.h"

#define MANY 100000

static const struct store_actor somebody = { 1000, 4711 };

/* ---- doing ----------------------------------------------------------- */

/* A key made at `ended`, in `state` made or ready. */
static struct key_id
key_at(struct bed *b, int64_t pool, ksm_time ended, enum key_state state)
{
	struct key_id id = key_intended(b, pool);
	struct store_made made = answer(ended);

	ok(b, store_key_made(b->st, &id, &made, ended, &b->fail));
	if (state != KEY_MADE)
		key_moved(b, &id, KEY_MADE, state);
	return id;
}

static struct store_backup
begun(struct bed *b, const char *label, ksm_time now)
{
	struct store_backup out;

	ok(b, store_backup_begin(b->st, "hsm", label, NULL, NULL, now,
		  somebody, &out, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	return out;
}

static struct store_backup
committed(struct bed *b, const char *label, ksm_time now)
{
	struct store_backup out;

	ok(b, store_backup_commit(b->st, "hsm", label, NULL, 0, now, somebody,
		  &out, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	return out;
}

static struct store_backup
rolled_back(struct bed *b, const char *label, ksm_time now)
{
	struct store_backup out;

	ok(b, store_backup_rollback(b->st, "hsm", label, now, somebody, &out,
		  &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	return out;
}

static struct store_backup
recorded(struct bed *b, ksm_time started, ksm_time now)
{
	struct store_backup out;

	ok(b, store_backup_record(b->st, "hsm", started, 0, NULL, NULL, now,
		  somebody, &out, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	return out;
}

static enum ksm_err
record_try(struct bed *b, ksm_time started, ksm_time finished, ksm_time now)
{
	struct store_backup out;

	return store_backup_record(b->st, "hsm", started, finished, NULL, NULL,
	    now, somebody, &out, &b->fail);
}

/* ---- looking --------------------------------------------------------- */

/* Whether the list of keys without a backup, at `at`, has it. */
static bool
uncovered_at(struct bed *b, const struct key_id *id, ksm_time at)
{
	struct store_key page[3];
	int64_t cursor = 0;
	bool found = false;
	size_t n;

	do {
		ok(b, store_uncovered_list(b->st, "hsm", 0, at, &cursor, page,
			  nitems(page), &n, &b->fail));
		for (size_t i = 0; i < n; i++)
			if (key_id_cmp(&page[i].id, id) == 0)
				found = true;
	} while (n > 0);
	return found;
}

static bool
covered(struct bed *b, const struct key_id *id)
{
	return !uncovered_at(b, id, 0);
}

static size_t
uncovered(struct bed *b, const char *repository, ksm_time at)
{
	struct store_key page[3];
	int64_t cursor = 0;
	size_t n, total = 0;

	do {
		ok(b, store_uncovered_list(b->st, repository, 0, at, &cursor,
			  page, nitems(page), &n, &b->fail));
		total += n;
	} while (n > 0);
	return total;
}

/* How many keys its set has; *marked of them are covered by it. */
static size_t
set_of(struct bed *b, int64_t row, size_t *marked)
{
	struct backup_key page[3];
	int64_t cursor = 0;
	size_t n, total = 0;

	*marked = 0;
	do {
		ok(b, store_backup_keys(b->st, row, &cursor, page,
			  nitems(page), &n, &b->fail));
		total += n;
		for (size_t i = 0; i < n; i++)
			*marked += page[i].covered;
	} while (n > 0);
	return total;
}

static bool
set_has(struct bed *b, int64_t row, const struct key_id *id)
{
	struct backup_key page[3];
	int64_t cursor = 0;
	bool found = false;
	size_t n;

	do {
		ok(b, store_backup_keys(b->st, row, &cursor, page,
			  nitems(page), &n, &b->fail));
		for (size_t i = 0; i < n; i++)
			if (key_id_cmp(&page[i].id, id) == 0)
				found = true;
	} while (n > 0);
	return found;
}

static void
history_newest(struct bed *b, struct store_history *out)
{
	struct history_filter any = { .uid = -1 };
	struct store_history page[16];
	int64_t cursor = 0;
	size_t n;

	memset(out, 0, sizeof(*out));
	do {
		ok(b, store_history_list(b->st, &any, &cursor, page,
			  nitems(page), &n, &b->fail));
		if (n > 0)
			*out = page[n - 1];
	} while (n > 0);
}

/* The keys of these tests have no true digest; every other fault counts. */
static void
hear(void *ctx, const char *text)
{
	if (strstr(text, "its digest is not") != NULL)
		return;
	(*(int *)ctx)++;
	print_message("%s\n", text);
}

/* Every count and list is what the keys and the ledger say. */
static void
all_is_sound(struct bed *b)
{
	int64_t faults;
	int heard = 0;

	ok(b, store_commit(b->st, &b->fail));
	ok(b, store_file_check(b->path, hear, &heard, &faults, &b->fail));
	assert_int_equal(heard, 0);
}

struct sum {
	int64_t covered, uncovered;
};

static void
add_up(void *ctx, int64_t pool_row, const struct pool_spec *spec,
    enum key_state state, int64_t covered, int64_t uncovered)
{
	struct sum *s = ctx;

	assert_true(pool_row > 0);
	assert_true(spec->repository[0] != '\0');
	assert_int_not_equal(state, KEY_QUARANTINED);
	assert_true(covered + uncovered > 0);
	s->covered += covered;
	s->uncovered += uncovered;
}

static struct sum
counted(struct bed *b)
{
	struct sum s = { 0, 0 };

	ok(b, store_cover_counts(b->st, add_up, &s, &b->fail));
	return s;
}

/* ---- begin ----------------------------------------------------------- */

static void
begin_freezes_what_is_in_the_token_and_in_use(void **ctx)
{
	static const struct {
		enum key_state state;
		bool frozen;
	} cases[] = {
		{ KEY_INTENDED, false }, { KEY_UNKNOWN, false },
		{ KEY_GONE, false }, { KEY_MADE, true }, { KEY_READY, true },
		{ KEY_SURPLUS, true }, { KEY_QUARANTINED, false },
		{ KEY_TAKING, true }, { KEY_TAKEN, true },
		{ KEY_RETIRED, true }, { KEY_MISSING, false },
		{ KEY_DESTROYING, false }, { KEY_CONSUMED, false },
		{ KEY_DESTROYED, false },
	};
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	int64_t other = pool_of(b, "default", ROLE_ZSK, "other", 13, 256);
	struct key_id ids[nitems(cases)];
	struct store_backup out;
	size_t marked;

	assert_int_equal(nitems(cases), KEY__STATES);
	for (size_t i = 0; i < nitems(cases); i++) {
		ids[i] = key_in(b, pool, cases[i].state, KEY_READY);
		(void)key_in(b, other, cases[i].state, KEY_READY);
	}
	out = begun(b, "a", T0 + 20);
	assert_int_equal(out.frozen, 6);
	assert_int_equal(out.covered, 0);
	assert_int_equal(out.skipped, 0);
	for (size_t i = 0; i < nitems(cases); i++)
		if (set_has(b, out.row, &ids[i]) != cases[i].frozen)
			fail_msg("%s", key_state_text(cases[i].state));
	assert_int_equal(set_of(b, out.row, &marked), 6);
	assert_int_equal(marked, 0);
	all_is_sound(b);

	/* the set is of rows: what they become does not change it */
	key_moved(b, &ids[KEY_READY], KEY_READY, KEY_DESTROYING);
	key_moved(b, &ids[KEY_MADE], KEY_MADE, KEY_QUARANTINED);
	assert_int_equal(set_of(b, out.row, &marked), 6);
	all_is_sound(b);
}

static void
a_backup_reads_as_it_was_begun(void **ctx)
{
	struct bed *b = *ctx;
	struct store_backup out, got;
	struct store_history h;

	(void)key_in(b, pool_any(b), KEY_READY, 0);
	(void)key_in(b, pool_any(b), KEY_READY, 0);
	ok(b, store_backup_begin(b->st, "hsm", "weekly", "with \xc3\xa4",
		  "tape 7", T0 + 20, somebody, &out, &b->fail));
	ok(b, store_backup_get(b->st, "hsm", NULL, &got, &b->fail));
	assert_memory_equal(&out, &got, sizeof(out));
	ok(b, store_backup_get(b->st, "hsm", "weekly", &got, &b->fail));
	assert_memory_equal(&out, &got, sizeof(out));
	assert_string_equal(out.repository, "hsm");
	assert_string_equal(out.label, "weekly");
	assert_int_equal(out.state, BACKUP_OPEN);
	assert_false(out.recorded);
	assert_int_equal(out.started, T0 + 20);
	assert_int_equal(out.finished, 0);
	assert_int_equal(out.who.uid, 1000);
	assert_int_equal(out.who.pid, 4711);
	assert_string_equal(out.note, "with \xc3\xa4");
	assert_string_equal(out.medium, "tape 7");
	assert_int_equal(out.frozen, 2);
	history_newest(b, &h);
	assert_string_equal(h.what, "backup begun");
	assert_string_equal(h.subject, "hsm weekly");
	assert_string_equal(h.why, "2 keys frozen, medium tape 7: with "
				   "\xc3\xa4");
	assert_int_equal(h.when, T0 + 20);
	assert_int_equal(h.who.uid, 1000);
	assert_int_equal(h.who.pid, 4711);

	/* the daemon by itself is nobody */
	(void)rolled_back(b, "weekly", T0 + 21);
	ok(b, store_backup_begin(b->st, "hsm", NULL, NULL, NULL, T0 + 22,
		  ACTOR_DAEMON, &out, &b->fail));
	assert_int_equal(out.who.uid, -1);
	assert_int_equal(out.who.pid, -1);
}

static void
without_a_label_one_is_made_from_the_time(void **ctx)
{
	struct bed *b = *ctx;

	(void)pool_any(b);
	assert_string_equal(begun(b, NULL, T0).label, "20300317T174640Z");
	(void)rolled_back(b, "20300317T174640Z", T0);
	assert_string_equal(begun(b, NULL, T0).label, "20300317T174640Z-2");
	(void)committed(b, "20300317T174640Z-2", T0);
	assert_string_equal(begun(b, NULL, T0).label, "20300317T174640Z-3");
}

static void
a_set_may_be_empty(void **ctx)
{
	struct bed *b = *ctx;
	struct store_backup out;
	size_t marked;

	(void)key_in(b, pool_any(b), KEY_INTENDED, 0);
	out = begun(b, "a", T0);
	assert_int_equal(out.frozen, 0);
	out = committed(b, "a", T0);
	assert_int_equal(out.covered, 0);
	assert_int_equal(set_of(b, out.row, &marked), 0);
	all_is_sound(b);
}

static void
a_second_begin_is_refused_with_words(void **ctx)
{
	struct bed *b = *ctx;
	struct store_backup out;
	int64_t rows;

	(void)key_in(b, pool_any(b), KEY_READY, 0);
	(void)pool_of(b, "default", ROLE_ZSK, "other", 13, 256);
	(void)begun(b, "first", T0);
	rows = ask(b, "SELECT count(*) FROM history");
	assert_int_equal(store_backup_begin(b->st, "hsm", "second", NULL, NULL,
			     T0 + 5, somebody, &out, &b->fail), KSM_EBUSY);
	assert_says(b, "backup first of repository hsm is open since "
		       "2030-03-17T17:46:40Z");
	assert_int_equal(store_backup_begin(b->st, "hsm", NULL, NULL, NULL,
			     T0 + 5, somebody, &out, &b->fail), KSM_EBUSY);
	assert_false(store_batch_open(b->st));
	assert_false(store_batch_lost(b->st));
	assert_int_equal(ask(b, "SELECT count(*) FROM backup"), 1);
	assert_int_equal(ask(b, "SELECT count(*) FROM history"), rows);

	/* that is so in each repository, not for all of them */
	ok(b, store_backup_begin(b->st, "other", "first", NULL, NULL, T0 + 5,
		  somebody, &out, &b->fail));
	(void)committed(b, "first", T0 + 6);
	(void)begun(b, "second", T0 + 7);
	all_is_sound(b);
}

static void
a_label_is_used_once_in_its_repository(void **ctx)
{
	struct bed *b = *ctx;
	struct store_backup out;

	(void)pool_any(b);
	(void)begun(b, "a", T0);
	(void)rolled_back(b, "a", T0);
	assert_int_equal(store_backup_begin(b->st, "hsm", "a", NULL, NULL, T0,
			     somebody, &out, &b->fail), KSM_EREFUSED);
	assert_says(b, "repository hsm has a backup a already, it is "
		       "rolled-back");
	assert_false(store_batch_open(b->st));
}

static void
what_cannot_be_is_refused(void **ctx)
{
	static const char long_label[] = "0123456789012345678901234567890123"
					 "456789012345678901234567890123";
	static const struct {
		const char *label, *words;
	} cases[] = {
		{ "", "label of the backup has 0 bytes; expected 1 to 63" },
		{ long_label, "label of the backup has 64 bytes" },
		{ "a b", "byte 2 is not allowed" },
		{ "a\n", "byte 2 is not allowed" },
		{ "-a", "byte 1 is not allowed" },
		{ "\xc3\xa4", "byte 1 is not allowed" },
		{ "a\x7f", "byte 2 is not allowed" },
	};
	struct bed *b = *ctx;
	struct store_backup out;
	char text[257];

	(void)pool_any(b);
	ok(b, store_commit(b->st, &b->fail));
	for (size_t i = 0; i < nitems(cases); i++) {
		assert_int_equal(store_backup_begin(b->st, "hsm",
				     cases[i].label, NULL, NULL, T0, somebody,
				     &out, &b->fail), KSM_EREFUSED);
		assert_says(b, cases[i].words);
	}
	memset(text, 'x', sizeof(text));
	text[256] = '\0';
	assert_int_equal(store_backup_begin(b->st, "hsm", "a", text, NULL, T0,
			     somebody, &out, &b->fail), KSM_EREFUSED);
	assert_says(b, "note of the backup has 256 bytes; expected at most "
		       "255");
	text[128] = '\0';
	assert_int_equal(store_backup_record(b->st, "hsm", T0, 0, NULL, text,
			     T0, somebody, &out, &b->fail), KSM_EREFUSED);
	assert_says(b, "medium of the backup has 128 bytes; expected at most "
		       "127");
	assert_int_equal(store_backup_begin(b->st, "none", "a", NULL, NULL,
			     T0, somebody, &out, &b->fail), KSM_ENOENT);
	assert_says(b, "no repository none");
	assert_int_equal(store_backup_record(b->st, "none", T0, 0, NULL, NULL,
			     T0, somebody, &out, &b->fail), KSM_ENOENT);
	assert_false(store_batch_open(b->st));
	assert_int_equal(ask(b, "SELECT count(*) FROM backup"), 0);

	/* all that fits is kept */
	text[127] = '\0';
	ok(b, store_backup_begin(b->st, "hsm", long_label + 1, text, text, T0,
		  somebody, &out, &b->fail));
	assert_string_equal(out.label, long_label + 1);
	assert_string_equal(out.medium, text);
}

/* ---- commit ---------------------------------------------------------- */

static void
commit_marks_exactly_the_set(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id in[3], between, early = key_intended(b, pool);
	struct store_made made = answer(T0 + 30);
	struct store_backup out;
	struct store_history h;
	size_t marked;

	in[0] = key_in(b, pool, KEY_READY, 0);
	in[1] = key_in(b, pool, KEY_TAKEN, 0);
	in[2] = key_in(b, pool, KEY_MADE, 0);
	out = begun(b, "a", T0 + 20);
	for (size_t i = 0; i < nitems(in); i++)
		assert_false(covered(b, &in[i]));

	/* asked for before begin, answered after it; and all after it */
	ok(b, store_key_made(b->st, &early, &made, T0 + 30, &b->fail));
	between = key_in(b, pool, KEY_READY, 0);

	out = committed(b, "a", T0 + 40);
	assert_int_equal(out.state, BACKUP_COMMITTED);
	assert_int_equal(out.finished, T0 + 40);
	assert_int_equal(out.started, T0 + 20);
	assert_int_equal(out.frozen, 3);
	assert_int_equal(out.covered, 3);
	assert_int_equal(out.skipped, 0);
	assert_int_equal(set_of(b, out.row, &marked), 3);
	assert_int_equal(marked, 3);
	for (size_t i = 0; i < nitems(in); i++)
		assert_true(covered(b, &in[i]));
	assert_false(covered(b, &early));
	assert_false(covered(b, &between));
	history_newest(b, &h);
	assert_string_equal(h.what, "backup committed");
	assert_string_equal(h.subject, "hsm a");
	assert_string_equal(h.why, "3 of 3 keys covered");
	all_is_sound(b);
}

static void
the_clock_makes_no_key_covered(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id old, ahead, back;
	struct store_backup out;

	old = key_at(b, pool, T0, KEY_READY);
	ahead = key_at(b, pool, T0 + 1000000, KEY_READY); /* a wild clock */
	out = begun(b, "a", T0 + 10);
	assert_int_equal(out.frozen, 2);
	/* set back before begin: dated as older than all of the set */
	back = key_at(b, pool, T0 - 5000, KEY_READY);
	out = committed(b, "a", T0 - 4000);
	assert_int_equal(out.finished, T0 - 4000);
	assert_true(covered(b, &old));
	assert_true(covered(b, &ahead));
	assert_false(covered(b, &back));

	/* and the next backup is begun under the clock that was set back */
	out = begun(b, "b", T0 - 3000);
	assert_int_equal(out.frozen, 3);
	(void)committed(b, "b", T0 - 2000);
	assert_true(covered(b, &back));
	all_is_sound(b);
}

static void
commit_skips_what_went_in_between(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id destroyed, destroying, consumed, missing, quarantined;
	struct key_id kept;
	struct store_backup out;
	struct store_history h;
	size_t marked;

	destroyed = key_in(b, pool, KEY_READY, 0);
	destroying = key_in(b, pool, KEY_SURPLUS, 0);
	consumed = key_in(b, pool, KEY_TAKEN, 0);
	missing = key_in(b, pool, KEY_READY, 0);
	quarantined = key_in(b, pool, KEY_MADE, 0);
	kept = key_in(b, pool, KEY_READY, 0);
	(void)begun(b, "a", T0 + 20);
	key_moved(b, &destroyed, KEY_READY, KEY_DESTROYING);
	key_moved(b, &destroyed, KEY_DESTROYING, KEY_DESTROYED);
	key_moved(b, &destroying, KEY_SURPLUS, KEY_DESTROYING);
	key_moved(b, &consumed, KEY_TAKEN, KEY_CONSUMED);
	key_moved(b, &missing, KEY_READY, KEY_MISSING);
	key_moved(b, &quarantined, KEY_MADE, KEY_QUARANTINED);

	out = committed(b, "a", T0 + 40);
	assert_int_equal(out.frozen, 6);
	assert_int_equal(out.covered, 2);
	assert_int_equal(out.skipped, 4);
	assert_int_equal(set_of(b, out.row, &marked), 6);
	assert_int_equal(marked, 2);
	assert_true(covered(b, &kept));
	assert_false(covered(b, &missing));
	history_newest(b, &h);
	assert_string_equal(h.why, "2 of 6 keys covered, 4 skipped");
	assert_int_equal(ask(b, "SELECT count(*) FROM backup_skip "
				"WHERE why IN ('destroyed', 'destroying', "
				"'consumed', 'missing')"), 4);

	/* found again it is as uncovered as it was; quarantined is covered */
	key_moved(b, &missing, KEY_MISSING, KEY_READY);
	assert_false(covered(b, &missing));
	key_moved(b, &quarantined, KEY_QUARANTINED, KEY_MISSING);
	assert_true(covered(b, &quarantined));
	all_is_sound(b);
}

static void
what_is_excepted_is_not_marked(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id ids[4], except[4];
	struct store_backup out;
	struct store_history h;
	char hex[KEY_ID_HEX];
	size_t marked;

	for (size_t i = 0; i < nitems(ids); i++)
		ids[i] = key_in(b, pool, KEY_READY, 0);
	(void)begun(b, "a", T0 + 20);
	key_moved(b, &ids[2], KEY_READY, KEY_DESTROYING);
	/* one twice, one that is skipped anyway */
	except[0] = except[1] = ids[1];
	except[2] = ids[2];
	ok(b, store_backup_commit(b->st, "hsm", "a", except, 3, T0 + 30,
		  somebody, &out, &b->fail));
	assert_int_equal(out.covered, 2);
	assert_int_equal(out.skipped, 2);
	assert_int_equal(set_of(b, out.row, &marked), 4);
	assert_int_equal(marked, 2);
	assert_true(covered(b, &ids[0]));
	assert_false(covered(b, &ids[1]));
	assert_true(covered(b, &ids[3]));
	history_newest(b, &h);
	key_id_format(&ids[1], hex);
	assert_non_null(strstr(h.why, "2 of 4 keys covered, 2 skipped; "
				      "excepted "));
	assert_non_null(strstr(h.why, hex));
	all_is_sound(b);

	/* the next backup has it */
	(void)begun(b, "b", T0 + 40);
	(void)committed(b, "b", T0 + 50);
	assert_true(covered(b, &ids[1]));
	all_is_sound(b);
}

static void
many_excepted_keys_are_named_as_far_as_they_fit(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id ids[40];
	struct store_backup out;
	struct store_history h;

	for (size_t i = 0; i < nitems(ids); i++)
		ids[i] = key_in(b, pool, KEY_READY, 0);
	(void)begun(b, "a", T0 + 20);
	ok(b, store_backup_commit(b->st, "hsm", "a", ids, nitems(ids), T0 + 30,
		  somebody, &out, &b->fail));
	assert_int_equal(out.covered, 0);
	assert_int_equal(out.skipped, 40);
	history_newest(b, &h);
	assert_non_null(strstr(h.why, " more"));
	all_is_sound(b);
}

static void
an_exception_must_be_in_the_set(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id ids[4], unknown = { .bytes = { 0 } };
	struct store_backup out;
	char hex[KEY_ID_HEX];

	ids[0] = key_in(b, pool, KEY_READY, 0);
	ids[1] = key_in(b, pool, KEY_QUARANTINED, 0);
	ids[2] = key_in(b, pool_of(b, "p", ROLE_ZSK, "other", 13, 256),
	    KEY_READY, 0);
	(void)key_in(b, pool, KEY_READY, 0);
	(void)begun(b, "a", T0 + 20);
	ids[3] = key_in(b, pool, KEY_READY, 0);
	ok(b, store_commit(b->st, &b->fail));
	for (size_t i = 1; i <= nitems(ids); i++) {
		struct key_id except[2] = { ids[0],
			i < nitems(ids) ? ids[i] : unknown };

		assert_int_equal(store_backup_commit(b->st, "hsm", "a",
				     except, 2, T0 + 30, somebody, &out,
				     &b->fail), KSM_EREFUSED);
		key_id_format(&except[1], hex);
		assert_says(b, hex);
		assert_says(b, "is not in the set of backup a of repository "
			       "hsm");
		assert_false(store_batch_open(b->st));
	}
	assert_int_equal(ask(b, "SELECT count(*) FROM backup_skip"), 0);
	assert_int_equal(committed(b, "a", T0 + 40).covered, 2);
}

static void
only_what_is_open_can_be_committed_or_rolled_back(void **ctx)
{
	struct bed *b = *ctx;
	struct store_backup out;
	struct key_id id = key_in(b, pool_any(b), KEY_READY, 0);
	struct store_history h;

	assert_int_equal(store_backup_commit(b->st, "hsm", "a", NULL, 0, T0,
			     somebody, &out, &b->fail), KSM_ENOENT);
	assert_says(b, "repository hsm has no backup a");
	assert_int_equal(store_backup_rollback(b->st, "none", "a", T0,
			     somebody, &out, &b->fail), KSM_ENOENT);

	out = begun(b, "a", T0 + 20);
	out = rolled_back(b, "a", T0 + 21);
	assert_int_equal(out.state, BACKUP_ROLLED_BACK);
	assert_int_equal(out.finished, T0 + 21);
	assert_int_equal(out.frozen, 1);
	assert_int_equal(out.covered, 0);
	assert_false(covered(b, &id));
	history_newest(b, &h);
	assert_string_equal(h.what, "backup rolled back");
	assert_string_equal(h.subject, "hsm a");
	assert_int_equal(store_backup_commit(b->st, "hsm", "a", NULL, 0, T0,
			     somebody, &out, &b->fail), KSM_EREFUSED);
	assert_says(b, "backup a of repository hsm was rolled back at "
		       "2030-03-17T17:47:01Z");

	(void)begun(b, "b", T0 + 30);
	(void)committed(b, "b", T0 + 31);
	for (int i = 0; i < 2; i++) {
		if (i == 0)
			assert_int_equal(store_backup_commit(b->st, "hsm", "b",
					     NULL, 0, T0, somebody, &out,
					     &b->fail), KSM_EREFUSED);
		else
			assert_int_equal(store_backup_rollback(b->st, "hsm",
					     "b", T0, somebody, &out,
					     &b->fail), KSM_EREFUSED);
		assert_says(b, "backup b of repository hsm was committed at");
	}
	assert_true(covered(b, &id));
	out = recorded(b, T0 + 40, T0 + 50);
	assert_int_equal(store_backup_rollback(b->st, "hsm", out.label, T0,
			     somebody, &out, &b->fail), KSM_EREFUSED);
	assert_says(b, "was recorded as a whole");
	all_is_sound(b);
}

static void
what_is_covered_stays_covered(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id id = key_in(b, pool_any(b), KEY_READY, 0);
	struct backup_key key;
	struct store_backup out;
	int64_t cursor = 0;
	size_t n;

	out = begun(b, "a", T0 + 20);
	(void)committed(b, "a", T0 + 21);
	key_moved(b, &id, KEY_READY, KEY_MISSING);
	assert_true(covered(b, &id));
	key_moved(b, &id, KEY_MISSING, KEY_READY);
	(void)begun(b, "b", T0 + 30);
	(void)rolled_back(b, "b", T0 + 31);
	key_moved(b, &id, KEY_READY, KEY_TAKING);
	key_moved(b, &id, KEY_TAKING, KEY_TAKEN);
	(void)begun(b, "c", T0 + 40);
	key_moved(b, &id, KEY_TAKEN, KEY_RETIRED);
	ok(b, store_backup_commit(b->st, "hsm", "c", &id, 1, T0 + 41,
		  somebody, &out, &b->fail));
	assert_true(covered(b, &id));
	assert_int_equal(counted(b).covered, 1);
	assert_int_equal(ask(b, "SELECT count(*) FROM keys "
				"WHERE backup = 'a'"), 1);
	key_moved(b, &id, KEY_RETIRED, KEY_DESTROYING);
	key_moved(b, &id, KEY_DESTROYING, KEY_DESTROYED);
	all_is_sound(b);
	ok(b, store_backup_get(b->st, "hsm", "a", &out, &b->fail));
	ok(b, store_backup_keys(b->st, out.row, &cursor, &key, 1, &n,
		  &b->fail));
	assert_int_equal(n, 1);
	assert_int_equal(key_id_cmp(&key.id, &id), 0);
	assert_int_equal(key.state, KEY_DESTROYED);
	assert_true(key.covered);
}

/* ---- record ---------------------------------------------------------- */

static void
record_covers_what_was_made_before_it_started(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id before, same, after, gone;
	struct store_backup out;
	struct store_history h;
	size_t marked;

	before = key_at(b, pool, T0 + 99, KEY_READY);
	gone = key_at(b, pool, T0 + 99, KEY_READY);
	key_moved(b, &gone, KEY_READY, KEY_MISSING);
	same = key_at(b, pool, T0 + 100, KEY_READY);
	after = key_at(b, pool, T0 + 101, KEY_READY);
	(void)key_at(b, pool_of(b, "p", ROLE_ZSK, "other", 13, 256), T0 + 101,
	    KEY_READY);
	ok(b, store_backup_record(b->st, "hsm", T0 + 100, T0 + 150, "nightly",
		  "vault", T0 + 200, somebody, &out, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(out.state, BACKUP_COMMITTED);
	assert_true(out.recorded);
	assert_int_equal(out.started, T0 + 100);
	assert_int_equal(out.finished, T0 + 150);
	assert_string_equal(out.label, "20300317T174820Z");
	assert_string_equal(out.note, "nightly");
	assert_string_equal(out.medium, "vault");
	assert_int_equal(out.frozen, 1);
	assert_int_equal(out.covered, 1);
	assert_int_equal(out.skipped, 0);
	assert_int_equal(set_of(b, out.row, &marked), 1);
	assert_int_equal(marked, 1);
	assert_true(covered(b, &before));
	/* it is not known since when it was not there */
	assert_false(covered(b, &gone));
	assert_false(covered(b, &same));
	assert_false(covered(b, &after));
	history_newest(b, &h);
	assert_string_equal(h.what, "backup recorded");
	assert_string_equal(h.subject, "hsm 20300317T174820Z");
	assert_string_equal(h.why, "started 2030-03-17T17:48:20Z, 1 key "
				   "covered, medium vault: nightly");
	assert_int_equal(h.when, T0 + 200);
	all_is_sound(b);
}

static void
record_does_not_trust_dates_alone(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id old, later, back, wild, tame;

	old = key_at(b, pool, T0 + 90, KEY_READY);
	later = key_at(b, pool, T0 + 101, KEY_READY);
	/* the clock went back three seconds: made after `later` for all that */
	back = key_at(b, pool, T0 + 98, KEY_READY);
	(void)recorded(b, T0 + 100, T0 + 200);
	assert_true(covered(b, &old));
	assert_false(covered(b, &later));
	assert_false(covered(b, &back));

	/* a date that is still to come says nothing about the others */
	wild = key_at(b, pool, T0 + 1000000, KEY_READY);
	tame = key_at(b, pool, T0 + 210, KEY_READY);
	(void)recorded(b, T0 + 300, T0 + 400);
	assert_true(covered(b, &back));
	assert_false(covered(b, &wild));
	assert_true(covered(b, &tame));
	all_is_sound(b);
}

static void
times_of_a_record_that_cannot_be_are_refused(void **ctx)
{
	struct bed *b = *ctx;
	struct store_backup out;

	(void)key_at(b, pool_any(b), T0 - 100, KEY_READY);
	(void)begun(b, "a", T0);
	(void)committed(b, "a", T0 + 10);

	assert_int_equal(record_try(b, T0 + 101, 0, T0 + 100), KSM_EREFUSED);
	assert_says(b, "the backup's start, 2030-03-17T17:48:21Z, lies in the "
		       "future: it is 2030-03-17T17:48:20Z");
	assert_int_equal(record_try(b, T0 + 50, T0 + 101, T0 + 100),
	    KSM_EREFUSED);
	assert_says(b, "the backup's end, 2030-03-17T17:48:21Z, lies in the "
		       "future");
	assert_int_equal(record_try(b, T0 + 50, T0 + 49, T0 + 100),
	    KSM_EREFUSED);
	assert_says(b, "lies before its start, 2030-03-17T17:47:30Z");
	assert_int_equal(record_try(b, T0, 0, T0 + 100), KSM_EREFUSED);
	assert_says(b, "is not after that of backup a of repository hsm, "
		       "2030-03-17T17:46:40Z");
	assert_int_equal(record_try(b, T0 - 1, 0, T0 + 100), KSM_EREFUSED);
	assert_int_equal(record_try(b, 0, 0, T0 + 100), KSM_EREFUSED);
	assert_int_equal(record_try(b, -5, 0, T0 + 100), KSM_EREFUSED);
	assert_false(store_batch_open(b->st));
	assert_int_equal(ask(b, "SELECT count(*) FROM backup"), 1);

	(void)begun(b, "open", T0 + 60);
	assert_int_equal(record_try(b, T0 + 70, 0, T0 + 100), KSM_EREFUSED);
	assert_says(b, "backup open of repository hsm is open since "
		       "2030-03-17T17:47:40Z");
	(void)rolled_back(b, "open", T0 + 61);

	/* the one that was rolled back is no backup; limits are included */
	ok(b, store_backup_record(b->st, "hsm", T0 + 1, T0 + 100, NULL, NULL,
		  T0 + 100, somebody, &out, &b->fail));
	ok(b, store_backup_record(b->st, "hsm", T0 + 100, T0 + 100, NULL, NULL,
		  T0 + 100, somebody, &out, &b->fail));
	assert_int_equal(out.finished, T0 + 100);
	all_is_sound(b);
}

static void
the_end_of_a_recorded_backup_may_be_unknown(void **ctx)
{
	struct bed *b = *ctx;
	struct store_backup out, last;

	(void)pool_any(b);
	out = recorded(b, T0, T0 + 10);
	assert_int_equal(out.finished, 0);
	ok(b, store_backup_last(b->st, "hsm", &last, &b->fail));
	assert_memory_equal(&out, &last, sizeof(out));
}

/* ---- looking --------------------------------------------------------- */

static void
backups_are_found_by_label_and_the_newest_by_itself(void **ctx)
{
	struct bed *b = *ctx;
	struct store_backup out, page[2];
	int64_t cursor = 0;
	size_t n;

	(void)pool_any(b);
	(void)pool_of(b, "p", ROLE_ZSK, "other", 13, 256);
	assert_int_equal(store_backup_last(b->st, "hsm", &out, &b->fail),
	    KSM_ENOENT);
	assert_says(b, "repository hsm has no committed backup");
	assert_int_equal(store_backup_get(b->st, "hsm", NULL, &out, &b->fail),
	    KSM_ENOENT);
	assert_says(b, "repository hsm has no open backup");
	assert_int_equal(store_backup_get(b->st, "hsm", "a", &out, &b->fail),
	    KSM_ENOENT);
	ok(b, store_backup_list(b->st, NULL, &cursor, page, 2, &n, &b->fail));
	assert_int_equal(n, 0);

	(void)begun(b, "a", T0);
	(void)committed(b, "a", T0 + 1);
	ok(b, store_backup_begin(b->st, "other", "a", NULL, NULL, T0 + 2,
		  somebody, &out, &b->fail));
	(void)begun(b, "b", T0 + 3);
	(void)committed(b, "b", T0 + 4);
	(void)begun(b, "c", T0 + 5);
	(void)rolled_back(b, "c", T0 + 6);
	(void)begun(b, "d", T0 + 7);
	ok(b, store_backup_last(b->st, "hsm", &out, &b->fail));
	assert_string_equal(out.label, "b");
	ok(b, store_backup_get(b->st, "hsm", NULL, &out, &b->fail));
	assert_string_equal(out.label, "d");
	ok(b, store_backup_get(b->st, "other", "a", &out, &b->fail));
	assert_string_equal(out.repository, "other");
	assert_int_equal(out.state, BACKUP_OPEN);

	cursor = 0;
	ok(b, store_backup_list(b->st, "hsm", &cursor, page, 2, &n, &b->fail));
	assert_int_equal(n, 2);
	assert_string_equal(page[0].label, "a");
	assert_string_equal(page[1].label, "b");
	ok(b, store_backup_list(b->st, "hsm", &cursor, page, 2, &n, &b->fail));
	assert_int_equal(n, 2);
	assert_string_equal(page[0].label, "c");
	assert_int_equal(page[0].state, BACKUP_ROLLED_BACK);
	assert_string_equal(page[1].label, "d");
	ok(b, store_backup_list(b->st, "hsm", &cursor, page, 2, &n, &b->fail));
	assert_int_equal(n, 0);
	cursor = 0;
	ok(b, store_backup_list(b->st, NULL, &cursor, page, 2, &n, &b->fail));
	assert_string_equal(page[1].repository, "other");
}

static void
uncovered_are_the_keys_in_use_or_for_use(void **ctx)
{
	static const enum key_state in_use[] = { KEY_MADE, KEY_READY,
		KEY_SURPLUS, KEY_TAKING, KEY_TAKEN, KEY_RETIRED, KEY_MISSING };
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	int64_t other = pool_of(b, "p", ROLE_KSK, "other", 8, 2048);
	struct store_key page[20];
	int64_t cursor = 0;
	size_t n;

	for (int s = 0; s < KEY__STATES; s++)
		(void)key_in(b, pool, (enum key_state)s, KEY_READY);
	(void)key_in(b, other, KEY_READY, 0);
	for (int at = 0; at < 2; at++) {
		cursor = 0;
		ok(b, store_uncovered_list(b->st, "hsm", 0, at == 0 ? 0 : T0 + 90,
			  &cursor, page, nitems(page), &n, &b->fail));
		assert_int_equal(n, nitems(in_use));
		for (size_t i = 0; i < n; i++) {
			bool found = false;

			for (size_t k = 0; k < nitems(in_use); k++)
				found |= page[i].state == in_use[k];
			assert_true(found);
			assert_true(i == 0 ||
			    page[i].serial > page[i - 1].serial);
			assert_string_equal(page[i].pool.repository, "hsm");
		}
		assert_int_equal(uncovered(b, NULL, at == 0 ? 0 : T0 + 90),
		    nitems(in_use) + 1);
		cursor = 0; /* pool by pool */
		ok(b, store_uncovered_list(b->st, NULL, pool,
			  at == 0 ? 0 : T0 + 90, &cursor, page, nitems(page),
			  &n, &b->fail));
		assert_int_equal(n, nitems(in_use));
		cursor = 0;
		ok(b, store_uncovered_list(b->st, NULL, other,
			  at == 0 ? 0 : T0 + 90, &cursor, page, nitems(page),
			  &n, &b->fail));
		assert_int_equal(n, 1);
		assert_string_equal(page[0].pool.repository, "other");
		assert_int_equal(uncovered(b, "none", at == 0 ? 0 : T0 + 90),
		    0);
	}
	assert_int_equal(counted(b).uncovered, nitems(in_use) + 1);
	assert_int_equal(counted(b).covered, 0);
}

static void
at_a_time_only_backups_that_had_started_count(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id first, second, third;
	struct store_backup out;

	first = key_at(b, pool, T0, KEY_READY);
	(void)begun(b, "a", T0 + 100);
	(void)committed(b, "a", T0 + 150);
	second = key_at(b, pool, T0 + 160, KEY_READY);
	(void)begun(b, "b", T0 + 200);
	ok(b, store_backup_commit(b->st, "hsm", "b", &first, 1, T0 + 250,
		  somebody, &out, &b->fail));
	third = key_at(b, pool, T0 + 260, KEY_READY);

	/* the one that started by then: not the one that ended by then */
	assert_true(uncovered_at(b, &first, T0 + 99));
	assert_false(uncovered_at(b, &first, T0 + 100));
	assert_false(uncovered_at(b, &first, T0 + 300));
	assert_true(uncovered_at(b, &second, T0 + 199));
	assert_false(uncovered_at(b, &second, T0 + 200));
	assert_true(uncovered_at(b, &third, T0 + 300));
	assert_int_equal(uncovered(b, "hsm", T0 + 99), 3);
	assert_int_equal(uncovered(b, "hsm", T0 + 100), 2);
	assert_int_equal(uncovered(b, "hsm", 0), 1);

	/* an open one, or one that was rolled back, is none */
	(void)begun(b, "c", T0 + 300);
	assert_true(uncovered_at(b, &third, T0 + 400));
	(void)rolled_back(b, "c", T0 + 310);
	assert_true(uncovered_at(b, &third, T0 + 400));
}

static void
at_a_time_under_a_clock_that_was_set_back(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id, other, not;
	struct store_backup out;

	id = key_at(b, pool, T0, KEY_READY);
	other = key_at(b, pool, T0, KEY_READY);
	not = key_at(b, pool, T0, KEY_QUARANTINED);
	(void)begun(b, "wild", T0 + 1000000);
	(void)committed(b, "wild", T0 + 1000001);
	/* no backup had started by then that has it */
	assert_true(uncovered_at(b, &id, T0 + 100));
	(void)begun(b, "tame", T0 + 100);
	ok(b, store_backup_commit(b->st, "hsm", "tame", &other, 1, T0 + 110,
		  somebody, &out, &b->fail));
	assert_false(uncovered_at(b, &id, T0 + 100));
	assert_true(uncovered_at(b, &id, T0 + 99));
	assert_true(uncovered_at(b, &other, T0 + 100));
	key_moved(b, &not, KEY_QUARANTINED, KEY_MISSING);
	assert_true(uncovered_at(b, &not, T0 + 100));
	assert_true(uncovered_at(b, &not, T0 + 2000000));
}

static void
the_oldest_uncovered_key_is_known(void **ctx)
{
	struct bed *b = *ctx;
	int64_t zsk = pool_any(b);
	int64_t ksk = pool_of(b, "default", ROLE_KSK, "hsm", 13, 256);
	struct key_id id;
	ksm_time oldest;

	ok(b, store_uncovered_oldest(b->st, "hsm", &oldest, &b->fail));
	assert_int_equal(oldest, 0);
	ok(b, store_uncovered_oldest(b->st, "none", &oldest, &b->fail));
	assert_int_equal(oldest, 0);
	(void)key_at(b, pool_of(b, "p", ROLE_ZSK, "other", 13, 256), T0 - 500,
	    KEY_READY);
	(void)key_at(b, zsk, T0 + 20, KEY_READY);
	id = key_at(b, ksk, T0 + 10, KEY_READY);
	(void)key_at(b, zsk, T0 + 30, KEY_READY);
	ok(b, store_uncovered_oldest(b->st, "hsm", &oldest, &b->fail));
	assert_int_equal(oldest, T0 + 10);
	key_moved(b, &id, KEY_READY, KEY_DESTROYING);
	ok(b, store_uncovered_oldest(b->st, "hsm", &oldest, &b->fail));
	assert_int_equal(oldest, T0 + 20);
	(void)begun(b, "a", T0 + 40);
	(void)key_at(b, ksk, T0 + 41, KEY_MADE);
	(void)committed(b, "a", T0 + 50);
	ok(b, store_uncovered_oldest(b->st, "hsm", &oldest, &b->fail));
	assert_int_equal(oldest, T0 + 41);
}

struct wanted {
	int64_t pool;
	enum key_state state;
	int64_t covered, uncovered;
	int seen;
};

static void
compare(void *ctx, int64_t pool_row, const struct pool_spec *spec,
    enum key_state state, int64_t covered, int64_t uncovered)
{
	struct wanted *w = ctx;

	for (size_t i = 0; i < 4; i++) {
		if (w[i].pool != pool_row || w[i].state != state)
			continue;
		assert_int_equal(covered, w[i].covered);
		assert_int_equal(uncovered, w[i].uncovered);
		assert_string_equal(spec->policy, "default");
		assert_string_equal(spec->repository, "hsm");
		assert_int_equal(spec->role, i == 3 ? ROLE_KSK : ROLE_ZSK);
		assert_int_equal(spec->alg, i == 3 ? 8 : 13);
		assert_int_equal(spec->bits, i == 3 ? 2048 : 256);
		w[i].seen++;
		return;
	}
	fail_msg("pool %lld %s", (long long)pool_row, key_state_text(state));
}

static void
counts_are_by_pool_and_state(void **ctx)
{
	struct bed *b = *ctx;
	int64_t zsk = pool_any(b);
	int64_t ksk = pool_of(b, "default", ROLE_KSK, "hsm", 8, 2048);
	struct wanted w[] = { { zsk, KEY_READY, 3, 2, 0 },
		{ zsk, KEY_MISSING, 1, 1, 0 }, { zsk, KEY_TAKEN, 1, 0, 0 },
		{ ksk, KEY_MADE, 0, 1, 0 } };
	struct key_id id;

	id = key_in(b, zsk, KEY_READY, 0);
	for (int i = 0; i < 3; i++)
		(void)key_in(b, zsk, KEY_READY, 0);
	(void)key_in(b, zsk, KEY_TAKEN, 0);
	(void)key_in(b, zsk, KEY_QUARANTINED, 0);
	(void)begun(b, "a", T0 + 20);
	(void)committed(b, "a", T0 + 21);
	key_moved(b, &id, KEY_READY, KEY_MISSING);
	(void)key_in(b, zsk, KEY_MISSING, KEY_READY);
	(void)key_in(b, zsk, KEY_READY, 0);
	(void)key_in(b, zsk, KEY_READY, 0);
	(void)key_in(b, zsk, KEY_DESTROYED, 0);
	(void)key_in(b, zsk, KEY_INTENDED, 0);
	(void)key_in(b, ksk, KEY_MADE, 0);
	ok(b, store_cover_counts(b->st, compare, w, &b->fail));
	for (size_t i = 0; i < nitems(w); i++)
		assert_int_equal(w[i].seen, 1);
	all_is_sound(b);
}

/*
 * Every arrow there is, with a key that is in a backup and one that is not:
 * what is kept of them stays what the keys say.
 */
static void
every_arrow_keeps_the_counts(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct store_key k;
	struct key_id id;

	for (int round = 0; round < 2; round++) {
		struct key_id ids[KEY__STATES * KEY__STATES];
		enum key_state to[nitems(ids)];
		size_t n = 0;

		for (int from = 0; from < KEY__STATES; from++) {
			for (int t = 0; t < KEY__STATES; t++) {
				enum key_state was = KEY_READY;

				if (!key_state_may((enum key_state)from,
					(enum key_state)t))
					continue;
				/* back from missing, to what it was */
				if (from == KEY_MISSING)
					was = (enum key_state)t;
				ids[n] = key_in(b, pool, (enum key_state)from,
				    was);
				to[n++] = (enum key_state)t;
			}
		}
		if (round == 1) {
			(void)begun(b, NULL, T0 + 20);
			(void)committed(b, "20300317T174700Z", T0 + 20);
		}
		for (size_t i = 0; i < n; i++) {
			struct store_made made = answer(T0 + 30);

			id = ids[i];
			k = key_look(b, &id);
			if (to[i] == KEY_MADE && k.state != KEY_MISSING)
				ok(b, store_key_made(b->st, &id, &made,
					  T0 + 30, &b->fail));
			else
				key_moved(b, &id, k.state, to[i]);
		}
		all_is_sound(b);
	}
	assert_true(ask(b, "SELECT count(*) FROM cover") > 10);
}

#define IN_HSM                                                                 \
	"FROM key JOIN pool p ON p.row = key.pool "                            \
	"WHERE p.repository = (SELECT row FROM repository WHERE name = 'hsm')"

/* Beside the ledger: the set as a list of rows, and what each one covers. */
static void
random_begin(struct bed *b, ksm_time now)
{
	struct store_backup out;

	ok(b, store_backup_begin(b->st, "hsm", NULL, NULL, NULL, now, somebody,
		  &out, &b->fail));
	assert_int_equal(store_exec(b->st, "DELETE FROM temp.frozen;"
	    "INSERT INTO temp.frozen SELECT key.row " IN_HSM
	    " AND state IN ('made', 'ready', 'surplus', 'taking', 'taken', "
	    "'retired')"), SQLITE_OK);
	assert_int_equal(out.frozen, ask(b, "SELECT count(*) FROM frozen"));
}

static void
random_end(struct bed *b, ksm_time now, bool commit)
{
	struct backup_key page[7];
	struct store_backup out;
	int64_t cursor = 0, row, gone;
	char sql[300];
	size_t n, total = 0;

	ok(b, store_backup_get(b->st, "hsm", NULL, &out, &b->fail));
	row = out.row;
	do {
		ok(b, store_backup_keys(b->st, row, &cursor, page,
			  nitems(page), &n, &b->fail));
		for (size_t i = 0; i < n; i++) {
			char hex[KEY_ID_HEX];

			key_id_format(&page[i].id, hex);
			(void)snprintf(sql, sizeof(sql), "SELECT count(*) "
			    "FROM frozen WHERE row = (SELECT row FROM key "
			    "WHERE lower(hex(cka_id)) = '%s')", hex);
			assert_int_equal(ask(b, sql), 1);
		}
		total += n;
	} while (n > 0);
	assert_int_equal(total, ask(b, "SELECT count(*) FROM frozen"));
	if (!commit) {
		ok(b, store_backup_rollback(b->st, "hsm", out.label, now,
			  somebody, &out, &b->fail));
		return;
	}
	ok(b, store_backup_commit(b->st, "hsm", out.label, NULL, 0, now,
		  somebody, &out, &b->fail));
	gone = ask(b, "SELECT count(*) FROM frozen f JOIN key k "
		      "ON k.row = f.row WHERE k.state IN ('destroyed', "
		      "'destroying', 'consumed', 'missing')");
	assert_int_equal(out.skipped, gone);
	(void)snprintf(sql, sizeof(sql), "INSERT INTO temp.known "
	    "SELECT f.row, %lld FROM frozen f JOIN key k ON k.row = f.row "
	    "WHERE k.state NOT IN ('destroyed', 'destroying', 'consumed', "
	    "'missing')", (long long)out.started);
	assert_int_equal(store_exec(b->st, sql), SQLITE_OK);
}

static int64_t
random_uncovered(struct bed *b, ksm_time at)
{
	char sql[400];

	(void)snprintf(sql, sizeof(sql), "SELECT count(*) " IN_HSM
	    " AND state IN ('made', 'ready', 'surplus', 'taking', 'taken', "
	    "'retired', 'missing') AND NOT EXISTS (SELECT 1 FROM temp.known n "
	    "WHERE n.row = key.row AND n.started <= %lld)", (long long)at);
	return ask(b, sql);
}

static void
random_lives_keep_the_counts(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pools[3];
	struct key_id ids[60];
	unsigned dice = 4711;
	bool open = false;

	pools[0] = pool_any(b);
	pools[1] = pool_of(b, "default", ROLE_KSK, "hsm", 13, 256);
	pools[2] = pool_of(b, "default", ROLE_ZSK, "other", 13, 256);
	assert_int_equal(store_exec(b->st, "CREATE TEMP TABLE frozen (row);"
	    "CREATE TEMP TABLE known (row, started)"), SQLITE_OK);
	for (size_t i = 0; i < nitems(ids); i++)
		ids[i] = key_intended(b, pools[i % 3]);
	for (int step = 0; step < 3000; step++) {
		/* now and then the clock was an hour ahead */
		ksm_time now = T0 + step + (step % 1000 > 900 ? 3600 : 0);
		struct store_made made = answer(now);
		struct store_key k;
		enum key_state to;
		size_t i;

		dice = dice * 1103515245 + 12345;
		i = (dice >> 8) % nitems(ids);
		k = key_look(b, &ids[i]);
		dice = dice * 1103515245 + 12345;
		to = (enum key_state)((dice >> 8) % KEY__STATES);
		if (k.state == KEY_MISSING)
			to = k.was;
		if (k.state == KEY_DESTROYED || k.state == KEY_CONSUMED)
			ids[i] = key_intended(b, pools[i % 3]);
		else if (to == KEY_MADE && k.state <= KEY_UNKNOWN)
			ok(b, store_key_made(b->st, &ids[i], &made, now,
				  &b->fail));
		else if (key_state_may(k.state, to) &&
		    (to != KEY_DESTROYING || step % 4 == 0))
			key_moved(b, &ids[i], k.state, to);
		if (step % 97 != 0)
			continue;
		if (!open)
			random_begin(b, now);
		else
			random_end(b, now, step % 5 != 0);
		open = !open;
		for (ksm_time at = T0; at < T0 + 7200; at += 450)
			assert_int_equal(uncovered(b, "hsm", at),
			    random_uncovered(b, at));
		assert_int_equal(uncovered(b, "hsm", 0),
		    random_uncovered(b, INT64_MAX));
		assert_int_equal(counted(b).uncovered,
		    uncovered(b, NULL, 0));
		all_is_sound(b);
	}
	assert_true(ask(b, "SELECT count(*) FROM backup "
			   "WHERE state = 'committed'") > 5);
	assert_true(ask(b, "SELECT max(n) FROM (SELECT count(*) AS n "
			   "FROM backup_run GROUP BY backup)") > 3);
	/* as often as the clock, the order of starts went back */
	assert_true(ask(b, "SELECT count(*) FROM backup a JOIN backup b "
			   "ON b.row > a.row AND b.started < a.started") > 0);
}

/* ---- one transaction ------------------------------------------------- */

static void
a_step_that_fails_leaves_nothing(void **ctx)
{
	static const char *const steps[] = { "backup", "backup_run",
		"backup_skip", "cover", "cover_count", "history" };
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id ids[6];
	struct store_backup out;
	struct sum before, after;
	char sql[200];

	for (size_t i = 0; i < nitems(ids); i++)
		ids[i] = key_in(b, pool, KEY_READY, 0);
	ok(b, store_commit(b->st, &b->fail));
	for (size_t i = 0; i < nitems(steps); i++) {
		int64_t rows = ask(b, "SELECT count(*) FROM history");
		int64_t backups;
		int failed = 0;

		before = counted(b);
		(void)snprintf(sql, sizeof(sql), "CREATE TEMP TRIGGER no "
		    "BEFORE INSERT ON main.%s BEGIN "
		    "SELECT RAISE(ABORT, 'the disk is full'); END", steps[i]);
		assert_int_equal(store_exec(b->st, sql), SQLITE_OK);
		if (store_backup_begin(b->st, "hsm", NULL, NULL, NULL,
			T0 + 20, somebody, &out, &b->fail) != KSM_OK) {
			assert_says(b, "the disk is full");
			failed++;
			assert_true(store_batch_lost(b->st));
			assert_int_equal(ask(b, "SELECT count(*) FROM backup "
						"WHERE state = 'open'"), 0);
			assert_int_equal(record_try(b, T0 + 30 + (ksm_time)i,
					     0, T0 + 90), KSM_ESTORE);
			assert_true(store_batch_lost(b->st));
		} else {
			ok(b, store_commit(b->st, &b->fail));
			rows++;
			assert_int_equal(store_backup_commit(b->st, "hsm",
					     out.label, ids, 1, T0 + 21,
					     somebody, &out, &b->fail),
			    KSM_ESTORE);
			assert_says(b, "the disk is full");
			failed++;
			assert_true(store_batch_lost(b->st));
			ok(b, store_backup_get(b->st, "hsm", NULL, &out,
				  &b->fail));
			assert_int_equal(out.skipped, 0);
		}
		assert_false(store_batch_open(b->st));
		assert_int_equal(failed, 1);
		assert_int_equal(ask(b, "SELECT count(*) FROM history"), rows);
		assert_int_equal(ask(b, "SELECT count(*) FROM cover"), 0);
		assert_int_equal(ask(b, "SELECT count(*) FROM backup_skip"),
		    0);
		after = counted(b);
		assert_memory_equal(&before, &after, sizeof(before));
		assert_int_equal(store_exec(b->st, "DROP TRIGGER temp.no"),
		    SQLITE_OK);
		backups = ask(b, "SELECT count(*) FROM backup "
				 "WHERE state = 'open'");
		if (backups != 0)
			(void)rolled_back(b, out.label, T0 + 22);
		all_is_sound(b);
	}
}

static void
what_is_not_committed_did_not_happen(void **ctx)
{
	struct bed *b = *ctx;
	struct store_backup out;
	struct key_id id = key_in(b, pool_any(b), KEY_READY, 0);

	ok(b, store_commit(b->st, &b->fail));
	ok(b, store_backup_begin(b->st, "hsm", "a", NULL, NULL, T0 + 20,
		  somebody, &out, &b->fail));
	store_rollback(b->st);
	assert_int_equal(store_backup_get(b->st, "hsm", "a", &out, &b->fail),
	    KSM_ENOENT);
	(void)begun(b, "a", T0 + 20);
	ok(b, store_backup_commit(b->st, "hsm", "a", NULL, 0, T0 + 21,
		  somebody, &out, &b->fail));
	assert_true(covered(b, &id));
	bed_close(b);
	bed_open(b);
	assert_false(covered(b, &id));
	assert_int_equal(counted(b).covered, 0);
	(void)committed(b, "a", T0 + 30);
	bed_close(b);
	bed_open(b);
	assert_true(covered(b, &id));
	assert_int_equal(counted(b).covered, 1);
	all_is_sound(b);
}

/* Backups for ever, with keys made and destroyed in between. */
static void
back_up_until_killed(struct bed *b, int64_t pool, int says)
{
	for (int i = 0;; i++) {
		struct store_backup out;
		struct key_id id = key_in(b, pool, KEY_READY, 0);

		if (store_backup_begin(b->st, "hsm", NULL, NULL, NULL, T0 + i,
			somebody, &out, &b->fail) != KSM_OK ||
		    store_commit(b->st, &b->fail) != KSM_OK)
			_exit(1);
		if (i % 2 == 0)
			key_moved(b, &id, KEY_READY, KEY_DESTROYING);
		(void)key_in(b, pool, KEY_READY, 0);
		if (store_backup_commit(b->st, "hsm", out.label, NULL, 0,
			T0 + i, somebody, &out, &b->fail) != KSM_OK ||
		    store_commit(b->st, &b->fail) != KSM_OK ||
		    write(says, "c", 1) != 1)
			_exit(1);
	}
}

static void
killed_at_any_moment_the_ledger_is_whole(void **ctx)
{
	struct bed *b = *ctx;
	int64_t told = 0, pool = pool_any(b);

	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	for (int i = 0; i < 15; i++) {
		struct timespec t = { .tv_nsec = 211000L * i };
		struct store_backup out;
		int says[2], status;
		ssize_t n;
		char said[256];
		pid_t pid;

		assert_int_equal(pipe(says), 0);
		pid = fork();
		if (pid == 0) {
			(void)close(says[0]);
			if (store_open(b->path, &b->st, &b->fail) != KSM_OK)
				_exit(2);
			back_up_until_killed(b, pool, says[1]);
		}
		(void)close(says[1]);
		for (int k = 0; k < 1 + i % 3; k++) {
			assert_int_equal(read(says[0], said, 1), 1);
			told++;
		}
		(void)nanosleep(&t, NULL);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		while ((n = read(says[0], said, sizeof(said))) > 0)
			told += n;
		(void)close(says[0]);

		bed_open(b);
		assert_int_equal(ask(b, "SELECT count(*) FROM ("
		    "SELECT b.row FROM backup b LEFT JOIN backup_run r "
		    "ON r.backup = b.row GROUP BY b.row "
		    "HAVING coalesce(max(r.upto), 0) <> b.frozen)"), 0);
		assert_in_range(ask(b, "SELECT count(*) FROM backup "
				       "WHERE state = 'committed'"), told,
		    told + i + 1);
		all_is_sound(b);
		if (store_backup_get(b->st, "hsm", NULL, &out, &b->fail) ==
		    KSM_OK)
			(void)rolled_back(b, out.label, T0 + 99);
		bed_close(b);
	}
	bed_open(b);
}

/* ---- never rewritten ------------------------------------------------- */

static void
history_is_refused_to_an_honest_mistake(void **ctx)
{
	static const struct {
		const char *sql, *words;
	} cases[] = {
		{ "DELETE FROM backup", "a backup on record cannot be" },
		{ "UPDATE backup SET started = started - 1",
		    "a backup on record cannot change" },
		{ "UPDATE backup SET note = 'x' WHERE state = 'open'",
		    "a backup on record cannot change" },
		{ "UPDATE backup SET state = 'open', finished = NULL, "
		  "covered = 0, skipped = 0 WHERE label = 'done'", "cannot" },
		{ "UPDATE backup SET state = 'rolled-back', covered = 0, "
		  "skipped = 0 WHERE label = 'done'", "cannot change" },
		{ "UPDATE backup SET state = 'committed', covered = frozen "
		  "WHERE label = 'back'", "cannot change" },
		{ "UPDATE backup SET state = 'committed', finished = 1, "
		  "covered = frozen - 1, skipped = 1 WHERE state = 'open'",
		    "skips the keys that are named" },
		{ "UPDATE backup SET state = 'committed', finished = 1, "
		  "covered = frozen + 1 WHERE state = 'open'",
		    "constraint" },
		{ "INSERT OR REPLACE INTO backup (row, repository, label, "
		  "state, recorded, started, note, medium, frozen) "
		  "SELECT 1, row, 'new', 'open', 0, 1, '', '', 0 "
		  "FROM repository WHERE name = 'other'", "cannot change" },
		{ "INSERT OR REPLACE INTO backup (repository, label, "
		  "state, recorded, started, note, medium, frozen) "
		  "SELECT row, 'new', 'open', 0, 1, '', '', 0 "
		  "FROM repository WHERE name = 'hsm'",
		    "a backup of the repository is open" },
		{ "INSERT INTO backup (repository, label, "
		  "state, recorded, started, finished, note, medium, frozen) "
		  "SELECT row, 'new', 'committed', 0, 1, 1, '', '', 0 "
		  "FROM repository WHERE name = 'other'", "begins as open" },
		{ "DELETE FROM backup_run", "the set of a backup is fixed" },
		{ "UPDATE backup_run SET high = high + 1",
		    "the set of a backup is fixed" },
		{ "INSERT INTO backup_run SELECT row, 1000, 1000, frozen + 1 "
		  "FROM backup WHERE state = 'open'",
		    "the set of a backup is fixed" },
		{ "INSERT INTO backup_run SELECT row, 1000, 1000, frozen "
		  "FROM backup WHERE state = 'open'",
		    "the set of a backup is fixed" },
		{ "INSERT OR REPLACE INTO backup_run SELECT backup, low, "
		  "high + 1, upto FROM backup_run",
		    "the set of a backup is fixed" },
		{ "DELETE FROM backup_skip", "cannot change" },
		{ "UPDATE backup_skip SET why = 'missing'", "cannot change" },
		{ "INSERT INTO backup_skip SELECT row, 1, 'excepted' "
		  "FROM backup WHERE label = 'done'", "an open backup skips" },
		{ "INSERT INTO backup_skip SELECT row, 1000, 'excepted' "
		  "FROM backup WHERE state = 'open'", "a key of its set" },
		{ "DELETE FROM cover", "cannot change" },
		{ "UPDATE cover SET backup = backup + 1", "cannot change" },
		{ "INSERT OR REPLACE INTO cover SELECT key, (SELECT row FROM "
		  "backup WHERE label = 'more') FROM cover", "once" },
		{ "INSERT INTO cover SELECT k.row, b.row FROM key k, backup b "
		  "WHERE k.row NOT IN (SELECT key FROM cover)",
		    "a committed backup covers the keys of its set" },
		/* the one that was excepted */
		{ "INSERT INTO cover SELECT key, backup FROM backup_skip",
		    "a committed backup covers the keys of its set" },
	};
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id ids[4];
	struct store_backup out;
	sqlite3 *db;

	(void)pool_of(b, "p", ROLE_ZSK, "other", 13, 256);
	for (size_t i = 0; i < nitems(ids); i++)
		ids[i] = key_in(b, pool, KEY_READY, 0);
	(void)begun(b, "done", T0 + 20);
	ok(b, store_backup_commit(b->st, "hsm", "done", &ids[1], 1, T0 + 21,
		  somebody, &out, &b->fail));
	(void)begun(b, "back", T0 + 22);
	(void)rolled_back(b, "back", T0 + 23);
	(void)begun(b, "more", T0 + 24);
	ok(b, store_backup_commit(b->st, "hsm", "more", &ids[1], 1, T0 + 25,
		  somebody, &out, &b->fail));
	(void)begun(b, "open", T0 + 26);
	(void)key_in(b, pool, KEY_READY, 0);
	all_is_sound(b);
	db = other_open(b);
	for (size_t i = 0; i < nitems(cases); i++)
		other_is_refused(db, cases[i].sql, cases[i].words);
	(void)sqlite3_close(db);
	all_is_sound(b);
	assert_int_equal(committed(b, "open", T0 + 30).covered, 4);
	all_is_sound(b);
}

/* ---- checked from outside -------------------------------------------- */

struct said {
	char text[8192];
};

/* The same, into words. */
static void
listen_to(void *ctx, const char *text)
{
	struct said *s = ctx;
	size_t len = strlen(s->text);

	if (strstr(text, "its digest") == NULL)
		(void)snprintf(s->text + len, sizeof(s->text) - len, "%s\n",
		    text);
}

static void
a_ledger_at_odds_is_found(void **ctx)
{
	static const struct {
		const char *sql, *words;
	} cases[] = {
		{ "UPDATE cover_count SET n = n + 1 WHERE state = 'ready'",
		    "keys that are ready and in a backup; its count says" },
		{ "DELETE FROM uncovered",
		    "(ready): is in no backup, and not counted so" },
		{ "UPDATE uncovered SET ended = ended + 1",
		    "(ready): is in no backup, and not counted so" },
		{ "INSERT INTO uncovered SELECT key, 1, 1 FROM cover",
		    "is counted as in no backup, and should not be" },
		{ "DROP TRIGGER cover_kept; DELETE FROM cover WHERE key = 1",
		    "is covered by backup a of hsm, and not on record so" },
		{ "DROP TRIGGER cover_begins; INSERT INTO cover SELECT key, 1 "
		  "FROM uncovered", "is on record as covered by backup a of "
		  "hsm, which has it not" },
		{ "DROP TRIGGER cover_stays; UPDATE cover SET backup = 2 "
		  "WHERE key = 1", "backup b of hsm, which has it not" },
		{ "DROP TRIGGER backup_run_stays; UPDATE backup_run SET "
		  "high = high + 1 WHERE backup = 1 AND low = 1",
		    "backup a of hsm: its set is not what it was" },
		{ "DROP TRIGGER backup_run_kept; DELETE FROM backup_run WHERE "
		  "backup = 1 AND low > 1",
		    "backup a of hsm: its set is not what it was" },
		{ "DROP TRIGGER backup_skip_kept; DELETE FROM backup_skip",
		    "backup a of hsm: its counts contradict its set" },
		{ "DROP TRIGGER backup_moves; UPDATE backup SET frozen = 9, "
		  "covered = 8 WHERE row = 1",
		    "backup a of hsm: its set is not what it was" },
		{ "PRAGMA ignore_check_constraints = ON; "
		  "DROP TRIGGER backup_moves; UPDATE backup SET covered = 9 "
		  "WHERE row = 1",
		    "backup a of hsm: its counts contradict its set" },
		{ "PRAGMA ignore_check_constraints = ON; "
		  "DROP TRIGGER backup_moves; UPDATE backup SET state = 'x' "
		  "WHERE row = 1", "backup a of hsm: its counts contradict" },
	};
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), faults;
	struct store_backup out;
	struct key_id ids[5];
	char run[200];

	for (size_t i = 0; i < nitems(ids); i++)
		ids[i] = key_in(b, pool, i == 2 ? KEY_QUARANTINED : KEY_READY,
		    0);
	(void)begun(b, "a", T0 + 20);
	ok(b, store_backup_commit(b->st, "hsm", "a", &ids[4], 1, T0 + 21,
		  somebody, &out, &b->fail));
	(void)begun(b, "b", T0 + 22);
	(void)rolled_back(b, "b", T0 + 23);
	(void)key_in(b, pool, KEY_READY, 0);
	all_is_sound(b);
	bed_close(b);
	(void)snprintf(run, sizeof(run), "cd %s && rm -f ksmpool.db-* && "
	    "cp ksmpool.db kept", b->dir);
	assert_int_equal(system(run), 0);
	(void)snprintf(run, sizeof(run), "cd %s && rm -f ksmpool.db* && "
	    "cp kept ksmpool.db", b->dir);
	for (size_t i = 0; i < nitems(cases); i++) {
		struct said s = { .text = "" };
		sqlite3 *db = other_open(b);

		other_run(db, "PRAGMA journal_mode = DELETE");
		other_run(db, cases[i].sql);
		(void)sqlite3_close(db);
		ok(b, store_file_check(b->path, listen_to, &s, &faults,
			  &b->fail));
		if (strstr(s.text, cases[i].words) == NULL)
			fail_msg("%s: %s", cases[i].sql, s.text);
		assert_int_equal(system(run), 0);
	}
}

static void
what_is_kept_is_put_right_at_open(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	sqlite3 *db;

	(void)key_in(b, pool, KEY_READY, 0);
	(void)key_in(b, pool, KEY_TAKEN, 0);
	(void)begun(b, "a", T0 + 20);
	(void)committed(b, "a", T0 + 21);
	(void)key_in(b, pool, KEY_READY, 0);
	ok(b, store_commit(b->st, &b->fail));
	for (int i = 0; i < 3; i++) {
		static const char *const harm[] = {
			"DELETE FROM uncovered",
			"INSERT INTO uncovered SELECT key, 1, 1 FROM cover",
			"UPDATE cover_count SET n = n + 7",
		};

		bed_close(b);
		db = other_open(b);
		other_run(db, harm[i]);
		(void)sqlite3_close(db);
		bed_open(b);
		assert_int_equal(counted(b).covered, 2);
		assert_int_equal(counted(b).uncovered, 1);
		assert_int_equal(uncovered(b, NULL, 0), 1);
		all_is_sound(b);
	}
}

/* ---- an older schema ------------------------------------------------- */

static void
keys_of_an_older_schema_are_uncovered(void **ctx)
{
	struct bed *b = *ctx;
	struct said s = { .text = "" };
	sqlite3 *db = other_open(b);
	int64_t faults;
	ksm_time oldest;

	other_run(db, "PRAGMA journal_mode = WAL; BEGIN");
	other_run(db, store_migrations[0]);
	other_run(db, store_migrations[1]);
	other_run(db, "PRAGMA application_id = 1263750480;"
		      "PRAGMA user_version = 2;"
		      "INSERT INTO repository (name) VALUES ('hsm');"
		      "INSERT INTO pool (policy, role, repository, alg, bits) "
		      "VALUES ('default', 'ZSK', 1, 13, 256);"
		      "INSERT INTO arrow VALUES ('intended', 'made'),"
		      "('made', 'ready')");
	for (int i = 0; i < 5; i++)
		other_run(db, "INSERT INTO key (cka_id, pool, state, since, "
			      "intended) VALUES (randomblob(16), 1, "
			      "'intended', 1, 1)");
	other_run(db, "UPDATE key SET state = 'made', serial = row, "
		      "started = 1, ended = 1 + row, proved = 1, "
		      "pub = zeroblob(64), digest = zeroblob(32), "
		      "tag_zsk = 1, tag_ksk = 2, tag_revoked = 3 "
		      "WHERE row > 1");
	other_run(db, "UPDATE key SET state = 'ready' WHERE row > 2");
	other_run(db, "COMMIT");
	(void)sqlite3_close(db);
	/* it can be checked as it is, with its history */
	ok(b, store_file_check(b->path, listen_to, &s, &faults, &b->fail));
	assert_string_equal(s.text, "");

	bed_open(b);
	assert_int_equal(ask(b, "PRAGMA user_version"), store_nmigrations);
	assert_int_equal(uncovered(b, "hsm", 0), 4);
	assert_int_equal(counted(b).uncovered, 4);
	ok(b, store_uncovered_oldest(b->st, "hsm", &oldest, &b->fail));
	assert_int_equal(oldest, 3);
	assert_int_equal(begun(b, "a", T0).frozen, 4);
	assert_int_equal(committed(b, "a", T0).covered, 4);
	assert_int_equal(uncovered(b, "hsm", 0), 0);
	all_is_sound(b);
}

/* ---- for operators with sqlite3 -------------------------------------- */

/* Names of the columns, in order. */
static void
columns(struct bed *b, const char *view, char *out, size_t size)
{
	sqlite3_stmt *q = NULL;
	char sql[100];

	(void)snprintf(sql, sizeof(sql), "SELECT * FROM %s", view);
	assert_int_equal(sqlite3_prepare_v2(b->st->db, sql, -1, &q, NULL),
	    SQLITE_OK);
	out[0] = '\0';
	for (int i = 0; i < sqlite3_column_count(q); i++) {
		size_t len = strlen(out);

		(void)snprintf(out + len, size - len, "%s%s",
		    i == 0 ? "" : " ", sqlite3_column_name(q, i));
	}
	(void)sqlite3_finalize(q);
}

/* As a name of its own in ksmpoold(8). */
static void
each_is_documented(const char *name)
{
	static char man[100000];
	const char *at = man;
	size_t len = strlen(name);
	FILE *f;

	f = fopen(KSM_FIXTURES "/../../man/ksmpoold.8", "r");
	assert_non_null(f);
	man[fread(man, 1, sizeof(man) - 1, f)] = '\0';
	(void)fclose(f);
	while ((at = strstr(at, name)) != NULL) {
		if (at > man && at[-1] == ' ' &&
		    (at[len] == ' ' || at[len] == '\n') &&
		    (memcmp(at - 4, ".Va ", 4) == 0 ||
			memcmp(at - 4, " Va ", 4) == 0 ||
			memcmp(at - 3, " , ", 3) == 0))
			return;
		at += len;
	}
	fail_msg("ksmpoold(8) does not document %s", name);
}

static void
the_views_keep_their_columns(void **ctx)
{
	static const struct {
		const char *view, *columns;
	} cases[] = {
		{ "keys", "id label repository policy role algorithm size "
			  "created state serial created_s backup backed_up" },
		{ "events", "number time uid pid what subject why" },
		{ "backups", "repository label state started finished frozen "
			     "covered skipped recorded uid pid medium note "
			     "started_s finished_s" },
		{ "keys_not_in_last_backup", "id repository policy role "
		  "algorithm size created state serial created_s last_backup "
		  "backup" },
	};
	struct bed *b = *ctx;
	char text[512];

	for (size_t i = 0; i < nitems(cases); i++) {
		columns(b, cases[i].view, text, sizeof(text));
		assert_string_equal(text, cases[i].columns);
		each_is_documented(cases[i].view);
		for (char *p = strtok(text, " "); p != NULL;
		     p = strtok(NULL, " "))
			each_is_documented(p);
	}
	/* and cannot be written to */
	assert_int_not_equal(store_exec(b->st, "DELETE FROM backups"),
	    SQLITE_OK);
}

static void
the_views_say_what_the_ledger_says(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct store_backup out;
	struct key_id ids[3], later, gone;

	for (size_t i = 0; i < nitems(ids); i++)
		ids[i] = key_in(b, pool, KEY_READY, 0);
	gone = key_in(b, pool, KEY_READY, 0);
	(void)key_in(b, pool_of(b, "p", ROLE_KSK, "other", 8, 2048), KEY_TAKEN,
	    0);
	(void)begun(b, "a", T0 + 20);
	(void)committed(b, "a", T0 + 30);
	assert_int_equal(ask(b, "SELECT count(*) FROM "
				"keys_not_in_last_backup"), 1);
	assert_int_equal(ask(b, "SELECT count(*) FROM keys_not_in_last_backup "
	    "WHERE repository = 'other' AND role = 'KSK' AND algorithm = "
	    "'RSASHA256' AND size = 2048 AND state = 'taken' AND policy = 'p' "
	    "AND last_backup IS NULL AND backup IS NULL AND "
	    "created = '2030-03-17T17:46:45Z' AND created_s = 1900000005"), 1);

	ok(b, store_backup_begin(b->st, "hsm", "b", "n", "m", T0 + 40,
		  somebody, &out, &b->fail));
	key_moved(b, &gone, KEY_READY, KEY_DESTROYING);
	ok(b, store_backup_commit(b->st, "hsm", "b", &ids[1], 1, T0 + 50,
		  somebody, &out, &b->fail));
	later = key_in(b, pool, KEY_READY, 0);
	(void)later;
	(void)key_in(b, pool, KEY_QUARANTINED, 0);
	(void)begun(b, "c", T0 + 60);

	/* excepted from the last, and in the one before */
	assert_int_equal(ask(b, "SELECT count(*) FROM keys_not_in_last_backup "
	    "WHERE repository = 'hsm'"), 2);
	assert_int_equal(ask(b, "SELECT count(*) FROM keys_not_in_last_backup "
	    "WHERE last_backup = 'b' AND backup = 'a' AND serial = 2"), 1);
	assert_int_equal(ask(b, "SELECT count(*) FROM keys_not_in_last_backup "
	    "WHERE last_backup = 'b' AND backup IS NULL"), 1);
	assert_int_equal(ask(b, "SELECT count(*) FROM keys "
	    "WHERE backup = 'a' AND backed_up = '2030-03-17T17:47:00Z'"), 4);
	assert_int_equal(ask(b, "SELECT count(*) FROM keys "
	    "WHERE backup IS NULL AND backed_up IS NULL"), 3);
	assert_int_equal(ask(b, "SELECT count(*) FROM backups"), 3);
	assert_int_equal(ask(b, "SELECT count(*) FROM backups "
	    "WHERE repository = 'hsm' AND label = 'b' AND state = 'committed' "
	    "AND started = '2030-03-17T17:47:20Z' "
	    "AND finished = '2030-03-17T17:47:30Z' "
	    "AND frozen = 4 AND covered = 2 AND skipped = 2 AND recorded = 0 "
	    "AND uid = 1000 AND pid = 4711 AND medium = 'm' AND note = 'n' "
	    "AND started_s = 1900000040 AND finished_s = 1900000050"), 1);
	assert_int_equal(ask(b, "SELECT count(*) FROM backups "
	    "WHERE label = 'c' AND state = 'open' AND finished IS NULL"), 1);
	all_is_sound(b);
}

/* Each SELECT that ksmpoold(8) shows. */
static void
the_examples_of_the_manual_work(void **ctx)
{
	struct bed *b = *ctx;
	char line[256], sql[2048] = "";
	bool shown = false;
	int n = 0;
	FILE *f;

	(void)key_in(b, pool_any(b), KEY_READY, 0);
	(void)begun(b, "a", T0 + 20);
	(void)committed(b, "a", T0 + 30);
	(void)key_in(b, pool_any(b), KEY_READY, 0);
	f = fopen(KSM_FIXTURES "/../../man/ksmpoold.8", "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		size_t len = strlen(sql);

		if (strncmp(line, ".Bd -literal", 12) == 0) {
			shown = true;
			sql[0] = '\0';
		} else if (strncmp(line, ".Ed", 3) == 0) {
			shown = false;
			if (strncmp(sql, "SELECT", 6) != 0)
				continue;
			if (store_exec(b->st, sql) != SQLITE_OK)
				fail_msg("%s: %s", sql,
				    sqlite3_errmsg(b->st->db));
			n++;
		} else if (shown) {
			(void)snprintf(sql + len, sizeof(sql) - len, "%s",
			    line);
		}
	}
	(void)fclose(f);
	assert_true(n >= 5);
}

/* ---- size ------------------------------------------------------------ */

static double
seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/*
 * The limits are ten times what is promised: the machine that runs this may
 * have other things to do.
 */
static void
a_hundred_thousand_keys_are_no_burden(void **ctx)
{
	static struct store_key page[500];
	static struct backup_key keys[500];
	static struct key_id except[1000];
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), cursor;
	struct store_backup out;
	struct sum s = { 0, 0 };
	double at, worst, took;
	size_t n, total;
	ksm_time oldest;
	char sql[256];

	(void)snprintf(sql, sizeof(sql), "WITH RECURSIVE c (i) AS (VALUES (1) "
	    "UNION ALL SELECT i + 1 FROM c WHERE i < %d) "
	    "INSERT INTO key (cka_id, pool, state, since, intended) "
	    "SELECT randomblob(16), %lld, 'intended', 1, 1 FROM c",
	    MANY, (long long)pool);
	assert_int_equal(store_exec(b->st, sql), SQLITE_OK);
	assert_int_equal(store_exec(b->st, "UPDATE key SET state = 'made', "
	    "serial = row, started = 1, ended = 1 + row, proved = 1, "
	    "pub = zeroblob(260), digest = zeroblob(32), tag_zsk = 1, "
	    "tag_ksk = 2, tag_revoked = 3"), SQLITE_OK);
	assert_int_equal(store_exec(b->st, "UPDATE key SET state = 'ready'"),
	    SQLITE_OK);
	ok(b, store_commit(b->st, &b->fail));

	/* all are new to the first, to the others none is */
	for (int round = 0; round < 3; round++) {
		at = seconds();
		if (round < 2) {
			out = begun(b, NULL, T0 + round);
			took = seconds() - at;
			print_message("begin %.0f ms, ", took * 1e3);
			assert_true(took < 10);
			at = seconds();
			out = committed(b, out.label, T0 + round);
			took = seconds() - at;
			print_message("commit %.0f ms\n", took * 1e3);
		} else {
			out = recorded(b, T0 + 10, T0 + 20);
			took = seconds() - at;
			print_message("record %.0f ms\n", took * 1e3);
		}
		assert_true(took < 10);
		assert_int_equal(out.covered, MANY);
		assert_int_equal(ask(b, "SELECT count(*) FROM backup_run"),
		    round + 1);
	}

	(void)key_at(b, pool, T0 + 30, KEY_READY);
	at = seconds();
	for (int i = 0; i < 100; i++) {
		ok(b, store_cover_counts(b->st, add_up, &s, &b->fail));
		ok(b, store_uncovered_oldest(b->st, "hsm", &oldest,
			  &b->fail));
	}
	at = (seconds() - at) / 100;
	print_message("counts and oldest %.3f ms\n", at * 1e3);
	assert_true(at < 0.01);
	assert_int_equal(s.covered, 100 * MANY);
	assert_int_equal(s.uncovered, 100);
	assert_int_equal(oldest, T0 + 30);

	at = seconds();
	assert_int_equal(uncovered(b, NULL, 0), 1);
	print_message("uncovered %.3f ms\n", (seconds() - at) * 1e3);
	for (ksm_time when = 1; when <= T0 + 30; when += T0 + 28) {
		cursor = 0;
		total = 0;
		worst = 0;
		do {
			at = seconds();
			ok(b, store_uncovered_list(b->st, NULL, 0, when, &cursor,
				  page, nitems(page), &n, &b->fail));
			if (seconds() - at > worst)
				worst = seconds() - at;
			total += n;
		} while (n > 0);
		print_message("at a time: %zu, worst page %.2f ms\n", total,
		    worst * 1e3);
		assert_int_equal(total, when == 1 ? MANY + 1 : 1);
	}

	cursor = 0;
	total = 0;
	worst = 0;
	do {
		at = seconds();
		ok(b, store_backup_keys(b->st, out.row, &cursor, keys,
			  nitems(keys), &n, &b->fail));
		if (seconds() - at > worst)
			worst = seconds() - at;
		total += n;
	} while (n > 0);
	print_message("worst page of a set %.2f ms\n", worst * 1e3);
	assert_int_equal(total, MANY);

	at = seconds();
	assert_int_equal(ask(b, "SELECT count(*) FROM "
				"keys_not_in_last_backup"), 1);
	print_message("the view %.0f ms\n", (seconds() - at) * 1e3);

	/* as many exceptions as a command takes */
	for (cursor = 0, total = 0; total < nitems(except); total += n) {
		ok(b, store_backup_keys(b->st, out.row, &cursor, keys,
			  nitems(keys), &n, &b->fail));
		for (size_t i = 0; i < n && total + i < nitems(except); i++)
			except[total + i] = keys[i].id;
	}
	out = begun(b, "except", T0 + 40);
	at = seconds();
	ok(b, store_backup_commit(b->st, "hsm", "except", except,
		  nitems(except), T0 + 41, somebody, &out, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	took = seconds() - at;
	print_message("commit but for %zu keys %.0f ms\n", nitems(except),
	    took * 1e3);
	assert_true(took < 10);
	assert_int_equal(out.skipped, nitems(except));

	/* as torn as a set can be */
	assert_int_equal(store_exec(b->st, "UPDATE key SET state = "
	    "'destroying' WHERE row % 2 = 0"), SQLITE_OK);
	at = seconds();
	out = begun(b, NULL, T0 + 50);
	print_message("%lld runs: begin %.0f ms, ", (long long)out.frozen,
	    (seconds() - at) * 1e3);
	at = seconds();
	out = committed(b, out.label, T0 + 51);
	print_message("commit %.0f ms\n", (seconds() - at) * 1e3);
	assert_int_equal(out.covered, MANY / 2 + 1);
	bed_close(b);
	at = seconds();
	bed_open(b);
	print_message("open and check %.0f ms\n", (seconds() - at) * 1e3);
	at = seconds();
	all_is_sound(b);
	print_message("check from outside %.0f ms\n", (seconds() - at) * 1e3);
}

int
main(void)
{
#define opened(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
#define closed(f) cmocka_unit_test_setup_teardown(f, bed_make, bed_teardown)
	const struct CMUnitTest tests[] = {
		opened(begin_freezes_what_is_in_the_token_and_in_use),
		opened(a_backup_reads_as_it_was_begun),
		opened(without_a_label_one_is_made_from_the_time),
		opened(a_set_may_be_empty),
		opened(a_second_begin_is_refused_with_words),
		opened(a_label_is_used_once_in_its_repository),
		opened(what_cannot_be_is_refused),
		opened(commit_marks_exactly_the_set),
		opened(the_clock_makes_no_key_covered),
		opened(commit_skips_what_went_in_between),
		opened(what_is_excepted_is_not_marked),
		opened(many_excepted_keys_are_named_as_far_as_they_fit),
		opened(an_exception_must_be_in_the_set),
		opened(only_what_is_open_can_be_committed_or_rolled_back),
		opened(what_is_covered_stays_covered),
		opened(record_covers_what_was_made_before_it_started),
		opened(record_does_not_trust_dates_alone),
		opened(times_of_a_record_that_cannot_be_are_refused),
		opened(the_end_of_a_recorded_backup_may_be_unknown),
		opened(backups_are_found_by_label_and_the_newest_by_itself),
		opened(uncovered_are_the_keys_in_use_or_for_use),
		opened(at_a_time_only_backups_that_had_started_count),
		opened(at_a_time_under_a_clock_that_was_set_back),
		opened(the_oldest_uncovered_key_is_known),
		opened(counts_are_by_pool_and_state),
		opened(every_arrow_keeps_the_counts),
		opened(random_lives_keep_the_counts),
		opened(a_step_that_fails_leaves_nothing),
		opened(what_is_not_committed_did_not_happen),
		opened(killed_at_any_moment_the_ledger_is_whole),
		opened(history_is_refused_to_an_honest_mistake),
		opened(a_ledger_at_odds_is_found),
		opened(what_is_kept_is_put_right_at_open),
		closed(keys_of_an_older_schema_are_uncovered),
		opened(the_views_keep_their_columns),
		opened(the_views_say_what_the_ledger_says),
		opened(the_examples_of_the_manual_work),
		opened(a_hundred_thousand_keys_are_no_burden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
