#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "test_store.h"

#include "engine_parts.h"

/* An engine whose workers never say a word: all but proofs can be run. */
struct site {
	struct bed *bed;
	struct engine *engine;
	int64_t commits;
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
	return steady_now;
}

static void
dice(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	memset(buf, 7, len);
}

static enum ksm_err
worker_start(void *ctx, worker_no no, const struct conf_repository *r,
    enum worker_purpose purpose, bool alone, const char *refused_pin,
    struct ksm_fail *fail)
{
	(void)ctx, (void)no, (void)r, (void)purpose, (void)alone;
	(void)refused_pin, (void)fail;
	return KSM_OK;
}

static void
worker_leave(void *ctx, worker_no no)
{
	(void)ctx, (void)no;
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
	struct conf_policy *p;
	struct conf_key *k;
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
	p = conf_policy_add(&c, "default");
	assert_non_null(p);
	p->zones = p->owners = c.zones = 1;
	k = conf_key_add(p);
	assert_non_null(k);
	k->role = ROLE_ZSK;
	k->alg = 13;
	k->bits = 256;
	k->repository = strdup("hsm");
	conf_pool_default(&k->pool);
	k->pool.strategy = STRATEGY_MANUAL;
	k->pool.scope = SCOPE_ZONE;
	ok(s->bed, engine_configure(s->engine, &c, &s->bed->fail));
	conf_clear(&c);
}

static int
setup(void **ctx)
{
	static const struct engine_io io = { .wall = wall, .steady = steady,
		.random = dice, .worker_start = worker_start,
		.worker_leave = worker_leave };
	struct site *s = calloc(1, sizeof(*s));
	char path[160];
	void *bed = NULL;

	assert_non_null(s);
	(void)bed_setup(&bed);
	s->bed = bed;
	steady_now = 5000000;
	log_level_set(LOGL_ERROR);
	ok(s->bed, engine_new(s->bed->st, &io, &s->engine, &s->bed->fail));
	configure(s);
	bed_file(s->bed, ".journal", path);
	ok(s->bed, engine_handouts_open(s->engine, path, &s->bed->fail));
	(void)engine_run(s->engine);
	(void)sqlite3_commit_hook(s->bed->st->db, committed, s);
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

/* Ready keys, on disk. */
static void
keys_ready(struct site *s, struct key_id *ids, size_t n)
{
	int64_t pool = pool_any(s->bed);

	for (size_t i = 0; i < n; i++)
		ids[i] = key_in(s->bed, pool, KEY_READY, KEY__STATES);
	ok(s->bed, store_commit(s->bed->st, &s->bed->fail));
	s->commits = 0;
}

/* mark-used: a take without a proof, of a zone of its own. */
static int64_t
used(struct site *s, const struct key_id *id, size_t zone)
{
	char name[32];
	struct take_want want = { .zone = name,
		.policy = "default",
		.repository = "hsm",
		.role = ROLE_ZSK,
		.alg = 13,
		.count = 1,
		.outside = id,
		.reason = "test",
		.who = { 1000, 4711 } };
	int64_t ticket = 0;

	(void)snprintf(name, sizeof(name), "z%zu.example", zone);
	ok(s->bed, engine_take(s->engine, &want, &ticket, &s->bed->fail));
	return ticket;
}

static void
assert_taken(struct site *s, int64_t ticket, const struct key_id *id)
{
	struct take_state st;

	assert_int_equal(engine_take_state(s->engine, ticket, &st), KSM_OK);
	assert_true(st.done);
	assert_int_equal(st.err, KSM_OK);
	assert_int_equal(st.nkeys, 1);
	assert_int_equal(key_id_cmp(&st.keys[0].id, id), 0);
	assert_int_equal(key_look(s->bed, id).state, KEY_TAKEN);
}

/* ---- tests ------------------------------------------------------------- */

static void
of_many_takes_that_end_together_each_has_its_answer(void **ctx)
{
	struct site *s = *ctx;
	struct key_id ids[200];
	int64_t tickets[nitems(ids)];

	keys_ready(s, ids, nitems(ids));
	for (size_t i = 0; i < nitems(ids); i++)
		tickets[i] = used(s, &ids[i], i);
	(void)engine_run(s->engine);
	for (size_t i = 0; i < nitems(ids); i++)
		assert_taken(s, tickets[i], &ids[i]);
}

static void
takes_nobody_fetches_do_not_pile_up(void **ctx)
{
	struct site *s = *ctx;
	struct key_id ids[100];
	struct take_state st;
	int64_t first = 0;

	keys_ready(s, ids, nitems(ids));
	for (size_t i = 0; i < nitems(ids); i++) {
		int64_t ticket = used(s, &ids[i], i);

		first = i == 0 ? ticket : first;
		(void)engine_run(s->engine);
	}
	assert_int_equal(engine_take_state(s->engine, first, &st), KSM_ENOENT);
}

static void
takes_that_wait_together_are_on_disk_with_one_commit(void **ctx)
{
	struct site *s = *ctx;
	struct key_id ids[8];
	int64_t tickets[nitems(ids)], one;

	keys_ready(s, ids, nitems(ids));
	tickets[0] = used(s, &ids[0], 0);
	(void)engine_run(s->engine);
	assert_taken(s, tickets[0], &ids[0]);
	one = s->commits;
	s->commits = 0;
	for (size_t i = 1; i < nitems(ids); i++)
		tickets[i] = used(s, &ids[i], i);
	(void)engine_run(s->engine);
	for (size_t i = 1; i < nitems(ids); i++)
		assert_taken(s, tickets[i], &ids[i]);
	assert_int_equal(s->commits, one);
}

static void
a_take_that_is_refused_keeps_no_other(void **ctx)
{
	struct site *s = *ctx;
	struct key_id ids[3];
	int64_t tickets[nitems(ids)], doubted = 0;
	struct take_state st;

	keys_ready(s, ids, 2);
	ok(s->bed, store_keys_doubt(s->bed->st, &doubted, &s->bed->fail));
	assert_int_equal(doubted, 2);
	ok(s->bed, store_key_proved(s->bed->st, &ids[0], &s->bed->fail));
	keys_ready(s, &ids[2], 1);
	for (size_t i = 0; i < nitems(ids); i++)
		tickets[i] = used(s, &ids[i], i);
	(void)engine_run(s->engine);
	assert_taken(s, tickets[0], &ids[0]);
	assert_taken(s, tickets[2], &ids[2]);
	assert_int_equal(engine_take_state(s->engine, tickets[1], &st), KSM_OK);
	assert_int_equal(st.err, KSM_EREFUSED);
	assert_non_null(strstr(st.text, "has to prove itself again"));
	assert_int_equal(key_look(s->bed, &ids[1]).state, KEY_READY);
}

/* The next commit fails, as on a full disk. */
static int
commit_fails(void *ctx)
{
	struct site *s = ctx;

	(void)sqlite3_commit_hook(s->bed->st->db, committed, s);
	return 1;
}

static void
takes_whose_commit_failed_are_chosen_again(void **ctx)
{
	struct site *s = *ctx;
	struct key_id ids[8];
	int64_t tickets[nitems(ids)];
	struct take_state st;
	sqlite3 *db;

	keys_ready(s, ids, nitems(ids));
	for (size_t i = 0; i < nitems(ids); i++)
		tickets[i] = used(s, &ids[i], i);
	log_level_set(LOGL_ERROR + 1);
	(void)sqlite3_commit_hook(s->bed->st->db, commit_fails, s);
	(void)engine_run(s->engine);
	for (size_t i = 0; i < nitems(ids); i++) {
		assert_int_equal(engine_take_state(s->engine, tickets[i], &st),
		    KSM_OK);
		assert_false(st.done);
	}
	assert_int_equal(ask(s->bed, "SELECT count(*) FROM key "
				     "WHERE state = 'ready'"), nitems(ids));
	assert_int_equal(ask(s->bed, "SELECT count(*) FROM handout"), 0);
	for (int i = 0; i < 10; i++) {
		steady_now += 60 * 1000;
		(void)engine_run(s->engine);
	}
	for (size_t i = 0; i < nitems(ids); i++)
		assert_taken(s, tickets[i], &ids[i]);
	db = other_open(s->bed);
	other_is_refused(db, "UPDATE key SET state = 'ready'",
	    "a key handed out never comes back");
	(void)sqlite3_close(db);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(of_many_takes_that_end_together_each_has_its_answer),
		T(takes_nobody_fetches_do_not_pile_up),
		T(takes_that_wait_together_are_on_disk_with_one_commit),
		T(a_take_that_is_refused_keeps_no_other),
		T(takes_whose_commit_failed_are_chosen_again),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
