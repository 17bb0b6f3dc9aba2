#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "test_store.h"

#include "engine_parts.h"

/* An engine without a world: nothing is ever started. */
struct site {
	struct bed *bed;
	struct engine *engine;
};

static ksm_time
wall(void *ctx)
{
	(void)ctx;
	return T0;
}

static ksm_msec
steady(void *ctx)
{
	(void)ctx;
	return 5000000;
}

static void
dice(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	memset(buf, 7, len);
}

static int
setup(void **ctx)
{
	static const struct engine_io io = { .wall = wall, .steady = steady,
		.random = dice };
	struct site *s = calloc(1, sizeof(*s));
	void *bed = NULL;

	assert_non_null(s);
	(void)bed_setup(&bed);
	s->bed = bed;
	log_level_set(LOGL_ERROR);
	assert_int_equal(
	    engine_new(s->bed->st, &io, &s->engine, &s->bed->fail), KSM_OK);
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

static void
pool_add(struct conf_policy *p, const char *repository, enum key_role role)
{
	struct conf_key *k = conf_key_add(p);

	assert_non_null(k);
	k->role = role;
	k->alg = 13;
	k->bits = 256;
	k->repository = strdup(repository);
	k->pool.strategy = STRATEGY_FIXED;
	k->pool.fixed = 4;
	k->pool.low_water = 80;
	k->pool.max_per_run = 1000;
}

static void
repository_add(struct conf *c, const char *name, int sessions)
{
	struct conf_repository *r = conf_repository_add(c, name);

	assert_non_null(r);
	r->module = strdup("/module.so");
	r->token_label = strdup(name);
	r->pin = PIN_FILE;
	r->pin_path = strdup("/pin");
	r->capacity = -1;
	r->sessions = sessions;
	r->deadline = 120;
}

/* One repository with `sessions`, a policy on it with so many zones. */
static void
conf_plain(struct conf *c, int sessions, int64_t zones)
{
	struct conf_policy *p;

	conf_init(c);
	repository_add(c, "hsm", sessions);
	p = conf_policy_add(c, "default");
	assert_non_null(p);
	p->zones = c->zones = zones;
	pool_add(p, "hsm", ROLE_ZSK);
	pool_add(p, "hsm", ROLE_KSK);
}

/* A statement that fails when it is run, as on a disk that cannot be read. */
static void
statement_break(struct store *st, enum store_stmt which)
{
	(void)sqlite3_finalize(st->stmt[which]);
	assert_int_equal(
	    sqlite3_prepare_v2(st->db, "SELECT abs(-9223372036854775808)", -1,
		&st->stmt[which], NULL),
	    SQLITE_OK);
}

static int64_t
ask_now(struct site *s, const char *sql)
{
	int64_t n = -1;

	assert_int_equal(
	    store_ask_int(s->bed->st, sql, &n, &s->bed->fail), KSM_OK);
	return n;
}

static void
a_refused_configuration_changes_nothing(void **ctx)
{
	struct site *s = *ctx;
	struct bed *b = s->bed;
	struct conf c;
	struct conf_policy *p;
	struct repo *r;

	conf_plain(&c, 3, 5);
	assert_int_equal(engine_configure(s->engine, &c, &b->fail), KSM_OK);
	r = repo_find(s->engine, "hsm");
	assert_non_null(r);
	assert_int_equal(r->ngens, 3);

	/* Fewer sessions, other zones, one repository and one pool more. */
	conf_plain(&c, 1, 7);
	repository_add(&c, "second", 1);
	p = conf_policy_add(&c, "other");
	assert_non_null(p);
	pool_add(p, "second", ROLE_ZSK);
	statement_break(b->st, ST_COUNTS_UNUSED);
	assert_int_equal(
	    engine_configure(s->engine, &c, &b->fail), KSM_ESTORE);
	conf_clear(&c);

	assert_int_equal(repo_find(s->engine, "hsm")->ngens, 3);
	assert_null(repo_find(s->engine, "second"));
	assert_int_equal(engine_conf(s->engine)->zones, 5);
	assert_false(store_batch_open(b->st));
	assert_false(store_batch_lost(b->st));
	assert_int_equal(
	    ask_now(s, "SELECT zones FROM zone_count WHERE policy = 'default'"),
	    5);
	assert_int_equal(ask_now(s, "SELECT count(*) FROM repository"), 1);
	assert_int_equal(ask_now(s, "SELECT count(*) FROM pool"), 2);
}

static void
more_or_fewer_sessions_are_in_force_at_once(void **ctx)
{
	static const int sessions[] = { 2, 5, 1, 3 };
	struct site *s = *ctx;
	struct conf c;

	for (size_t i = 0; i < nitems(sessions); i++) {
		struct repo *r;

		conf_plain(&c, sessions[i], 5);
		assert_int_equal(
		    engine_configure(s->engine, &c, &s->bed->fail), KSM_OK);
		r = repo_find(s->engine, "hsm");
		assert_int_equal(r->ngens, sessions[i]);
		for (size_t k = 0; k < r->ngens; k++)
			assert_int_equal(r->gens[k].no, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_refused_configuration_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    more_or_fewer_sessions_are_in_force_at_once, setup,
		    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
