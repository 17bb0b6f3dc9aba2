#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "test_store.h"

#include "engine_parts.h"
#include "journal.h"

#define LONG 10000

/* A journal and a database; the engine between them looks when it is told. */
struct site {
	struct bed *bed;
	struct engine *engine;
	char path[160];
	int64_t commits;
	int busy;
};

static ksm_msec steady_now;

static ksm_time
wall(void *ctx)
{
	(void)ctx;
	return T0 + 100;
}

static ksm_msec
steady(void *ctx)
{
	(void)ctx;
	return steady_now += 50;
}

static void
dice(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	memset(buf, 7, len);
}

static void
busy(void *ctx)
{
	struct site *s = ctx;

	s->busy++;
}

static int
committed(void *ctx)
{
	struct site *s = ctx;

	s->commits++;
	return 0;
}

static void
configure(struct site *s)
{
	struct conf_repository *r;
	struct conf c;

	conf_init(&c);
	r = conf_repository_add(&c, "hsm");
	assert_non_null(r);
	r->module = strdup("/module.so");
	r->token_label = strdup("hsm");
	r->pin = PIN_FILE;
	r->pin_path = strdup("/pin");
	r->capacity = -1;
	r->sessions = 1;
	r->deadline = 120;
	ok(s->bed, engine_configure(s->engine, &c, &s->bed->fail));
	conf_clear(&c);
}

static int
setup(void **ctx)
{
	struct site *s = calloc(1, sizeof(*s));
	void *bed = NULL;

	assert_non_null(s);
	(void)bed_setup(&bed);
	s->bed = bed;
	steady_now = 5000000;
	log_level_set(LOGL_ERROR);
	bed_file(s->bed, ".journal", s->path);
	*ctx = s;
	return 0;
}

static int
teardown(void **ctx)
{
	struct site *s = *ctx;
	void *bed = s->bed;

	engine_free(s->engine);
	(void)bed_teardown(&bed);
	free(s);
	return 0;
}

/* As a start of the daemon. */
static void
start(struct site *s)
{
	struct engine_io io = { .ctx = s,
		.wall = wall,
		.steady = steady,
		.random = dice,
		.busy = busy };

	engine_free(s->engine);
	s->engine = NULL;
	ok(s->bed, engine_new(s->bed->st, &io, &s->engine, &s->bed->fail));
	configure(s);
	(void)sqlite3_commit_hook(s->bed->st->db, committed, s);
	s->commits = s->busy = 0;
	ok(s->bed, engine_handouts_open(s->engine, s->path, &s->bed->fail));
}

static void
accept(struct site *s)
{
	char aside[512];

	ok(s->bed, engine_handouts_accept(s->engine, "test", ACTOR_DAEMON,
	    aside, &s->bed->fail));
}

static void
assert_locked(struct site *s, const char *words)
{
	char why[LOCK_TEXT];

	assert_true(handouts_closed(s->engine, why));
	if (strstr(why, words) == NULL)
		fail_msg("locked: %s, not %s", why, words);
}

static void
assert_open(struct site *s)
{
	char why[LOCK_TEXT];

	if (handouts_closed(s->engine, why))
		fail_msg("locked: %s", why);
}

static struct handout
handout_no(int i)
{
	struct handout h;

	memset(&h, 0, sizeof(h));
	memcpy(h.id.bytes, &i, sizeof(i));
	(void)snprintf(h.zone, sizeof(h.zone), "z%d.example", i);
	(void)snprintf(h.share, sizeof(h.share), "zone:z%d.example", i);
	(void)strcpy(h.pool.policy, "default");
	(void)strcpy(h.pool.repository, "hsm");
	h.pool.role = ROLE_ZSK;
	h.pool.alg = 13;
	h.pool.bits = 256;
	h.drawn = true;
	h.when = T0 + i;
	h.who = (struct store_actor){ 1000, 4711 };
	return h;
}

static enum ksm_err
pass(void *ctx, const struct handout *h, const struct handout_line *line,
    struct ksm_fail *fail)
{
	(void)ctx, (void)h, (void)line, (void)fail;
	return KSM_OK;
}

/* So many lines more in the file, which the database knows nothing of. */
static void
written(struct site *s, struct handout *h, size_t n)
{
	struct handout_line *lines = calloc(n, sizeof(*lines));
	struct journal *j = NULL;
	uint8_t tag[KEY_TAG_LEN];
	int64_t cut;

	assert_non_null(lines);
	store_tag_get(s->bed->st, tag);
	ok(s->bed, journal_open(s->path, tag, 0, pass, NULL, &j, &cut,
	    &s->bed->fail));
	ok(s->bed, journal_append(j, h, n, lines, &s->bed->fail));
	journal_close(j);
	for (size_t i = 0; i < n; i++)
		free(lines[i].text);
	free(lines);
}

/* A byte of the first line: the file is somebody else's now. */
static void
spoil(struct site *s)
{
	FILE *f = fopen(s->path, "r+e");

	assert_non_null(f);
	(void)fputc('[', f);
	assert_int_equal(fclose(f), 0);
}

static int64_t
rows_with(struct site *s, const char *condition)
{
	char sql[200];

	(void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM handout WHERE %s",
	    condition);
	return ask(s->bed, sql);
}

/* ---- tests ------------------------------------------------------------- */

static void
a_long_journal_is_entered_in_pages(void **ctx)
{
	struct site *s = *ctx;
	struct handout *h = calloc(LONG, sizeof(*h));

	assert_non_null(h);
	for (int i = 0; i < LONG; i++)
		h[i] = handout_no(i);
	h[0].mark = 500;
	written(s, h, LONG);
	start(s);
	assert_int_equal(rows_with(s, "drawn = 1"), LONG);
	assert_true(s->commits >= 3);
	assert_true(s->busy > 1);
	/* the mark of one line counts, wherever it stands */
	assert_locked(s, "up to serial 500; the database ends at 0");
	start(s);
	assert_locked(s, "up to serial 500");
	assert_true(s->busy > 1); /* nothing to enter, but all to be read */
	accept(s);
	assert_int_equal(store_serial_last(s->bed->st), 500);
	start(s);
	assert_open(s);
	free(h);
}

static void
what_is_salvaged_keeps_its_request_unless_it_is_anothers(void **ctx)
{
	struct site *s = *ctx;
	struct handout h[4] = { handout_no(0), handout_no(1), handout_no(2),
		handout_no(3) };
	struct handout mine = handout_no(9);

	(void)strcpy(mine.request, "taken");
	written(s, &mine, 1);
	start(s);
	engine_free(s->engine);
	s->engine = NULL;
	assert_int_equal(unlink(s->path), 0);

	/* two keys of one request, one whose name is another's, one without */
	(void)strcpy(h[1].zone, h[0].zone);
	(void)strcpy(h[0].request, "pair");
	(void)strcpy(h[1].request, "pair");
	(void)strcpy(h[2].request, "taken");
	written(s, h, 4);
	spoil(s);
	start(s);
	assert_locked(s, "is not the hand-out journal of this installation");
	accept(s);
	assert_open(s);
	assert_int_equal(rows_with(s, "request = 'pair'"), 2);
	assert_int_equal(rows_with(s, "request = 'taken'"), 1);
	assert_int_equal(rows_with(s, "request IS NULL AND drawn = 1"), 2);
	start(s);
	assert_open(s);
	assert_int_equal(rows_with(s, "1"), 5);
}

static void
what_is_salvaged_raises_serials(void **ctx)
{
	struct site *s = *ctx;
	struct handout h = handout_no(0);

	h.mark = 900;
	written(s, &h, 1);
	spoil(s);
	start(s);
	accept(s);
	assert_int_equal(store_serial_last(s->bed->st), 900);
	start(s);
	assert_open(s);
}

/* What an accept of an earlier day set aside is read again, and not doubled. */
static void
what_was_set_aside_is_never_forgotten(void **ctx)
{
	struct site *s = *ctx;
	struct handout h[2] = { handout_no(0), handout_no(1) };
	char aside[200];

	written(s, &h[0], 1);
	(void)snprintf(aside, sizeof(aside), "%s.set-aside-7", s->path);
	assert_int_equal(rename(s->path, aside), 0);
	written(s, &h[1], 1);
	start(s);
	assert_open(s);
	for (int i = 0; i < 2; i++) {
		handouts_lock(s->engine, "test");
		accept(s);
		assert_open(s);
		assert_int_equal(rows_with(s, "drawn = 1"), 2);
		start(s);
		assert_open(s);
	}
	assert_int_equal(rows_with(s, "1"), 2);
}

static void
pairs_that_are_gone_are_not_accepted_any_more(void **ctx)
{
	struct site *s = *ctx;
	struct repo *r;

	start(s);
	r = s->engine->repos[0];
	r->looked = true;
	r->orphans = 3;
	handouts_look(s->engine);
	assert_locked(s, "holds 3 pairs of this installation");
	accept(s);
	handouts_look(s->engine);
	assert_open(s);
	/* two go, two others come */
	r->orphans = 1;
	handouts_look(s->engine);
	assert_open(s);
	r->orphans = 3;
	handouts_look(s->engine);
	assert_locked(s, "holds 3 pairs of this installation");
	accept(s);
	/* all go while nobody looks, and it is so after a start, too */
	start(s);
	r = s->engine->repos[0];
	r->looked = true;
	handouts_look(s->engine);
	r->orphans = 1;
	handouts_look(s->engine);
	assert_locked(s, "holds 1 pair of this installation");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(a_long_journal_is_entered_in_pages),
		T(what_is_salvaged_keeps_its_request_unless_it_is_anothers),
		T(what_is_salvaged_raises_serials),
		T(what_was_set_aside_is_never_forgotten),
		T(pairs_that_are_gone_are_not_accepted_any_more),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
