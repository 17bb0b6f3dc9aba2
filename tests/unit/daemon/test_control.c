/*
 * The real control.c and commands.c on a real socket and event loop; engine
 * and store are invented below, so that nothing but the socket is real.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control.h"
#include "engine_take.h"
#include "store_backup.h"

/* ---- an invented engine and store ------------------------------------ */

static struct {
	struct conf conf;
	struct conf_repository repository;
	struct conf_policy policy;
	struct conf_key key;
	struct plan_pool pools[2];
	struct plan_term term;
	struct plan_token token;
	struct plan plan;
	enum repository_status status;
	struct topup_state topup;
	int64_t asked_uid, asked_max;
	int topups, forgotten, kicks, stops, reloads, reload_forgets;
	bool resumed, accepted;
	int64_t keys, pages; /* rows there are, pages that were read */
	enum errand_kind errand;
	size_t errand_ids, errand_only;
	unsigned errand_sorts;
	int64_t errand_uid;
	int errands, errands_forgotten, adopted, events, committed;
	int orders;
	bool dead;
	size_t excepted;
	bool settled, covered; /* no unknown key; none without a backup */
	int64_t in_use;	       /* and in no backup */
	struct errand_state errand_state;
	struct store_pause pause;
	void (*reload_done)(void *arg, enum ksm_err err,
	    const struct conf *read, const struct ksm_fail *fail);
	void *reload_arg;
} fake;

const struct conf *
engine_conf(const struct engine *e)
{
	(void)e;
	return &fake.conf;
}

const struct plan *
engine_plan(struct engine *e)
{
	(void)e;
	return &fake.plan;
}

const char *
repository_status_text(enum repository_status s)
{
	return s == REPO_OK ? "ok" : s == REPO_PARKED ? "parked" : "degraded";
}

size_t
engine_repositories(const struct engine *e)
{
	(void)e;
	return 1;
}

void
engine_repository_view(struct engine *e, size_t i, struct repository_view *out)
{
	(void)e;
	(void)i;
	*out = (struct repository_view){ .conf = &fake.repository,
		.status = fake.status, .token_label = "caf\xe9", .foreign = 3 };
}

void
engine_pool_trouble(struct engine *e, size_t pool, char out[256])
{
	(void)e;
	(void)snprintf(out, 256, "%s", pool == 1 ? "size refused" : "");
}

int64_t
engine_pool_held(struct engine *e, size_t pool)
{
	(void)e;
	return pool == 0 ? 2 : 0;
}

ksm_msec
engine_pool_rate(struct engine *e, size_t pool)
{
	(void)e;
	return pool == 0 ? 1500 : 0;
}

bool
engine_clock_trouble(struct engine *e, char out[256])
{
	(void)e;
	(void)out;
	return false;
}

enum ksm_err
engine_topup(struct engine *e, const struct topup_want *want, int64_t *ticket,
    struct ksm_fail *fail)
{
	(void)e;
	if (want->policy != NULL && strcmp(want->policy, "default") != 0)
		return ksm_failf(fail, KSM_ENOENT, "no policy '%s'",
		    want->policy);
	fake.topups++;
	fake.asked_uid = want->uid;
	fake.asked_max = want->max;
	*ticket = 7;
	return KSM_OK;
}

enum ksm_err
engine_topup_state(struct engine *e, int64_t ticket, struct topup_state *out)
{
	(void)e;
	if (ticket != 7)
		return KSM_ENOENT;
	*out = fake.topup;
	return KSM_OK;
}

void
engine_topup_forget(struct engine *e, int64_t ticket)
{
	(void)e;
	assert_int_equal(ticket, 7);
	fake.forgotten++;
}

enum ksm_err
engine_repository_resume(struct engine *e, const char *name, bool accept_token,
    struct store_actor who, struct ksm_fail *fail)
{
	(void)e;
	(void)who;
	if (strcmp(name, "SoftHSM") != 0)
		return ksm_failf(fail, KSM_ENOENT, "no repository '%s'", name);
	fake.resumed = true;
	fake.accepted = accept_token;
	return KSM_OK;
}

static void
key_invent(struct store_key *k, int64_t n)
{
	*k = (struct store_key){ .serial = n, .state = KEY_READY,
		.was = KEY__STATES, .ended = 1732500000 + n,
		.tag_zsk = -1, .tag_ksk = -1, .tag_revoked = -1 };
	memcpy(k->id.bytes, &n, sizeof(n));
	(void)snprintf(k->pool.policy, sizeof(k->pool.policy), "default");
	(void)snprintf(k->pool.repository, sizeof(k->pool.repository),
	    "SoftHSM");
	k->pool.alg = 8;
	k->pool.bits = 2048;
}

enum ksm_err
store_keys_list(struct store *st, const struct key_filter *f, int64_t *cursor,
    struct store_key *out, size_t max, size_t *n, struct ksm_fail *fail)
{
	(void)st;
	(void)fail;
	(void)f;
	fake.pages++;
	for (*n = 0; *n < max && *cursor < fake.keys; (*n)++)
		key_invent(&out[*n], ++*cursor);
	return KSM_OK;
}

enum ksm_err
store_key_get(struct store *st, const struct key_id *id, struct store_key *out,
    struct ksm_fail *fail)
{
	(void)st;
	(void)fail;
	if (id->bytes[0] != 1)
		return KSM_ENOENT;
	key_invent(out, 1);
	return KSM_OK;
}

enum ksm_err
store_run_last(struct store *st, struct store_run *out, struct ksm_fail *fail)
{
	(void)st;
	(void)out;
	(void)fail;
	return KSM_ENOENT;
}

enum ksm_err
store_counts(struct store *st, store_count_fn fn, void *ctx,
    struct ksm_fail *fail)
{
	struct pool_spec spec = { .policy = "default", .role = ROLE_ZSK,
		.repository = "SoftHSM", .alg = 13, .bits = 256 };

	(void)st;
	(void)fail;
	fn(ctx, 1, &spec, KEY_READY, 7);
	fn(ctx, 1, &spec, KEY_UNKNOWN, fake.settled ? 0 : 3);
	return KSM_OK;
}

enum ksm_err
store_policy_known(struct store *st, const char *name, bool *known,
    struct ksm_fail *fail)
{
	(void)st;
	(void)fail;
	*known = strcmp(name, "former") == 0;
	return KSM_OK;
}

enum ksm_err
store_repository_known(struct store *st, const char *name, bool *known,
    struct ksm_fail *fail)
{
	return store_policy_known(st, name, known, fail);
}

/* ---- errands, history: enough for a command to go its whole way -------- */

const char *
found_sort_text(enum found_sort s)
{
	return s == FOUND_OURS ? "ours" : s == FOUND_HALF ? "half" : "foreign";
}

enum ksm_err
engine_errand(struct engine *e, const struct errand_want *want,
    int64_t *ticket, struct ksm_fail *fail)
{
	(void)e;
	(void)fail;
	assert_string_equal(want->repository, "SoftHSM");
	fake.errand = want->kind;
	fake.errand_ids = want->nids;
	fake.errand_only = want->nonly;
	fake.errand_sorts = want->sorts;
	fake.errand_uid = want->who.uid;
	fake.errands++;
	*ticket = 9;
	return KSM_OK;
}

enum ksm_err
engine_errand_state(struct engine *e, int64_t ticket, struct errand_state *out)
{
	(void)e;
	if (ticket != 9)
		return KSM_ENOENT;
	*out = fake.errand_state;
	return KSM_OK;
}

void
engine_errand_forget(struct engine *e, int64_t ticket)
{
	(void)e;
	assert_int_equal(ticket, 9);
	fake.errands_forgotten++;
}

enum ksm_err
engine_key_kept_until(struct engine *e, const struct store_key *k,
    ksm_time *until, struct ksm_fail *fail)
{
	(void)e;
	(void)k;
	(void)fail;
	*until = 0;
	return KSM_OK;
}

enum ksm_err
engine_key_kept(struct engine *e, const struct store_key *k,
    char out[KEPT_TEXT], struct ksm_fail *fail)
{
	(void)e;
	(void)k;
	(void)fail;
	out[0] = '\0';
	return KSM_OK;
}

enum ksm_err
engine_key_adopt(struct engine *e, const struct adopt_want *want,
    struct ksm_fail *fail)
{
	(void)e;
	(void)fail;
	assert_string_equal(want->policy, "default");
	fake.adopted++;
	return KSM_OK;
}

enum ksm_err
engine_key_retire(struct engine *e, const struct key_id *id,
    const char *reason, struct store_actor who, struct ksm_fail *fail)
{
	(void)e;
	(void)who;
	assert_string_equal(reason, "broken");
	if (id->bytes[0] == 1)
		return KSM_OK;
	if (id->bytes[0] == 2)
		return ksm_failf(fail, KSM_EREFUSED, "it is destroyed");
	return KSM_ENOENT;
}

enum ksm_err
engine_key_return(struct engine *e, const struct key_id *id,
    const char *reason, struct store_actor who, struct ksm_fail *fail)
{
	return engine_key_retire(e, id, reason, who, fail);
}

enum ksm_err
store_handout_list(struct store *st, const struct handout_filter *f,
    int64_t *cursor, struct handout *out, size_t max, size_t *n,
    struct ksm_fail *fail)
{
	(void)st;
	(void)f;
	(void)cursor;
	(void)out;
	(void)max;
	(void)fail;
	*n = 0;
	return KSM_OK;
}

enum ksm_err
store_handout_zones(struct store *st, const struct key_id *id, int64_t *n,
    struct ksm_fail *fail)
{
	(void)st;
	(void)id;
	(void)fail;
	*n = 0;
	return KSM_OK;
}

enum ksm_err
store_handout_outside(struct store *st, const struct key_id *id, bool *outside,
    struct ksm_fail *fail)
{
	(void)st;
	(void)id;
	(void)fail;
	*outside = false;
	return KSM_OK;
}

enum ksm_err
engine_take(struct engine *e, const struct take_want *want, int64_t *ticket,
    struct ksm_fail *fail)
{
	(void)e;
	(void)want;
	(void)ticket;
	return ksm_failf(fail, KSM_EREFUSED, "not here");
}

enum ksm_err
engine_take_state(struct engine *e, int64_t ticket, struct take_state *out)
{
	(void)e;
	(void)ticket;
	(void)out;
	return KSM_ENOENT;
}

void
engine_take_forget(struct engine *e, int64_t ticket)
{
	(void)e;
	(void)ticket;
}

void
engine_handouts_view(struct engine *e, struct handouts_view *out)
{
	(void)e;
	*out = (struct handouts_view){ .journal = "/nowhere" };
}

enum ksm_err
engine_handouts_accept(struct engine *e, const char *reason,
    struct store_actor who, char aside[512], struct ksm_fail *fail)
{
	(void)e;
	(void)reason;
	(void)who;
	(void)aside;
	return ksm_failf(fail, KSM_EREFUSED, "not locked");
}

enum ksm_err
engine_pause(struct engine *e, ksm_time until, const char *reason,
    struct store_actor who, struct ksm_fail *fail)
{
	(void)e;
	(void)fail;
	fake.pause = (struct store_pause){ .since = 1732500000,
		.until = until, .who = who };
	(void)snprintf(fake.pause.reason, sizeof(fake.pause.reason), "%s",
	    reason);
	return KSM_OK;
}

enum ksm_err
engine_unpause(struct engine *e, struct store_actor who, bool *was,
    struct ksm_fail *fail)
{
	(void)e;
	(void)who;
	(void)fail;
	*was = fake.pause.until != 0;
	fake.pause.until = 0;
	return KSM_OK;
}

void
engine_pause_view(const struct engine *e, struct store_pause *out)
{
	(void)e;
	*out = fake.pause;
}

enum ksm_err
engine_clock_accept(struct engine *e, const char *reason,
    struct store_actor who, ksm_time *before, struct ksm_fail *fail)
{
	(void)e;
	(void)reason;
	(void)who;
	(void)before;
	return ksm_failf(fail, KSM_EREFUSED, "there is no dispute");
}

bool
engine_store_trouble(struct engine *e, char out[256])
{
	(void)e;
	(void)snprintf(out, 256, "%s", fake.dead ? "it was replaced" : "");
	return fake.dead;
}

const int64_t metric_bounds_ms[METRIC_BUCKETS] = { 5, 10, 25, 50, 100, 250,
	1000, 2500, 10000, 30000, 120000, 600000 };

size_t
engine_metrics(const struct engine *e, const struct engine_metric **out)
{
	(void)e;
	*out = NULL;
	return 0;
}

size_t
engine_error_counts(const struct engine *e, const struct engine_errors **out)
{
	(void)e;
	*out = NULL;
	return 0;
}

ksm_time
engine_last_topup(const struct engine *e)
{
	(void)e;
	return 0;
}

enum ksm_err
engine_order_begin(struct engine *e, struct store_actor who,
    struct ksm_fail *fail)
{
	(void)e;
	(void)who;
	fake.orders++;
	return fake.dead ? ksm_failf(fail, KSM_EREFUSED, "it was replaced")
			 : KSM_OK;
}

enum ksm_err
engine_order_end(struct engine *e, enum ksm_err err, const char *what,
    struct ksm_fail *fail)
{
	(void)e;
	(void)what;
	(void)fail;
	fake.orders--;
	return err;
}

enum ksm_err
engine_note(struct engine *e, struct store_actor who, const char *what,
    const char *subject, const char *why, struct ksm_fail *fail)
{
	(void)e;
	(void)who;
	(void)subject;
	(void)why;
	if (fake.dead)
		return ksm_failf(fail, KSM_EREFUSED, "it was replaced");
	(void)what;
	fake.events++;
	return KSM_OK;
}

enum ksm_err
engine_note_soon(struct engine *e, struct store_actor who, const char *what,
    const char *subject, const char *why, struct ksm_fail *fail)
{
	return engine_note(e, who, what, subject, why, fail);
}

enum ksm_err
store_newest(struct store *st, ksm_time *out, struct ksm_fail *fail)
{
	(void)st;
	(void)fail;
	*out = 0;
	return KSM_OK;
}

enum ksm_err
store_history_head(struct store *st, int64_t *number, uint8_t hash[32],
    struct ksm_fail *fail)
{
	(void)st;
	(void)fail;
	*number = 5;
	memset(hash, 0xab, 32);
	return KSM_OK;
}

enum ksm_err
store_history_list(struct store *st, const struct history_filter *f,
    int64_t *cursor, struct store_history *out, size_t max, size_t *n,
    struct ksm_fail *fail)
{
	(void)st;
	(void)f;
	(void)fail;
	for (*n = 0; *n < max && *cursor < 450; (*n)++) {
		out[*n] = (struct store_history){ .number = ++*cursor,
			.when = 1732500000, .who = ACTOR_DAEMON };
		(void)snprintf(out[*n].what, sizeof(out[*n].what), "key made");
	}
	return KSM_OK;
}

enum ksm_err
store_history_verify(struct store *st, struct history_check *c, size_t max,
    struct ksm_fail *fail)
{
	(void)st;
	(void)max;
	(void)fail;
	if (c->number < 5)
		c->number++;
	else
		c->done = true;
	memset(c->hash, (int)c->number, sizeof(c->hash));
	return KSM_OK;
}

/* ---- backups ---------------------------------------------------------- */

const char *
backup_state_text(enum backup_state state)
{
	return state == BACKUP_OPEN ? "open" : "committed";
}

static enum ksm_err
backup_invent(const char *repository, const char *label,
    struct store_backup *out)
{
	*out = (struct store_backup){ .row = 1, .state = BACKUP_OPEN,
		.started = 1732500000, .frozen = 2 };
	(void)snprintf(out->repository, sizeof(out->repository), "%s",
	    repository);
	(void)snprintf(out->label, sizeof(out->label), "%s",
	    label != NULL ? label : "monday");
	return KSM_OK;
}

enum ksm_err
store_backup_label(const char *label, struct ksm_fail *fail)
{
	(void)label;
	(void)fail;
	return KSM_OK;
}

enum ksm_err
store_backup_begin(struct store *st, const char *repository,
    const char *label, const char *note, const char *medium, ksm_time now,
    struct store_actor who, struct store_backup *out, struct ksm_fail *fail)
{
	(void)st;
	(void)now;
	(void)who;
	(void)fail;
	assert_string_equal(note, "weekly");
	assert_string_equal(medium, "");
	return backup_invent(repository, label, out);
}

enum ksm_err
store_backup_commit(struct store *st, const char *repository,
    const char *label, const struct key_id *except, size_t nexcept,
    ksm_time now, struct store_actor who, struct store_backup *out,
    struct ksm_fail *fail)
{
	(void)st;
	(void)except;
	(void)now;
	(void)who;
	(void)fail;
	fake.committed++;
	fake.excepted = nexcept;
	return backup_invent(repository, label, out);
}

enum ksm_err
store_backup_rollback(struct store *st, const char *repository,
    const char *label, ksm_time now, struct store_actor who,
    struct store_backup *out, struct ksm_fail *fail)
{
	(void)st;
	(void)now;
	(void)who;
	(void)fail;
	return backup_invent(repository, label, out);
}

enum ksm_err
store_backup_record(struct store *st, const char *repository,
    ksm_time started, ksm_time finished, const char *note, const char *medium,
    ksm_time now, struct store_actor who, struct store_backup *out,
    struct ksm_fail *fail)
{
	(void)st;
	(void)repository;
	(void)finished;
	(void)note;
	(void)medium;
	(void)now;
	(void)who;
	(void)out;
	assert_int_equal(started, 1732500000);
	return ksm_failf(fail, KSM_EREFUSED, "older than the last one");
}

enum ksm_err
store_backup_get(struct store *st, const char *repository, const char *label,
    struct store_backup *out, struct ksm_fail *fail)
{
	(void)st;
	if (label == NULL || strcmp(label, "monday") != 0)
		return ksm_failf(fail, KSM_ENOENT, "no such backup");
	return backup_invent(repository, label, out);
}

enum ksm_err
store_backup_last(struct store *st, const char *repository,
    struct store_backup *out, struct ksm_fail *fail)
{
	(void)st;
	(void)repository;
	(void)out;
	(void)fail;
	return KSM_ENOENT;
}

enum ksm_err
store_backup_list(struct store *st, const char *repository, int64_t *cursor,
    struct store_backup *out, size_t max, size_t *n, struct ksm_fail *fail)
{
	(void)st;
	(void)max;
	(void)fail;
	*n = *cursor == 0;
	*cursor = 1;
	return *n == 0 ? KSM_OK
		       : backup_invent(repository != NULL ? repository
							  : "SoftHSM",
			     "monday", out);
}

enum ksm_err
store_backup_keys(struct store *st, int64_t backup_row, int64_t *cursor,
    struct backup_key *out, size_t max, size_t *n, struct ksm_fail *fail)
{
	(void)st;
	(void)max;
	(void)fail;
	assert_int_equal(backup_row, 1);
	*n = *cursor == 0 ? 2 : 0;
	*cursor = 1;
	memset(out, 0, 2 * sizeof(*out));
	out[0].state = KEY_READY;
	out[0].id.bytes[0] = 1;
	out[1].state = KEY_DESTROYED;
	out[1].id.bytes[0] = 2;
	return KSM_OK;
}

enum ksm_err
store_uncovered_list(struct store *st, const char *repository,
    int64_t pool_row, ksm_time at, int64_t *cursor, struct store_key *out,
    size_t max, size_t *n, struct ksm_fail *fail)
{
	(void)st;
	(void)repository;
	(void)at;
	assert_int_equal(pool_row, 1);
	(void)max;
	(void)fail;
	*n = 0;
	if (*cursor == 0) {
		key_invent(&out[0], 1);
		*n = 1;
	}
	*cursor = 1;
	return KSM_OK;
}

enum ksm_err
store_cover_counts(struct store *st, store_cover_fn fn, void *ctx,
    struct ksm_fail *fail)
{
	struct pool_spec spec = { .policy = "default", .role = ROLE_KSK,
		.repository = "SoftHSM", .alg = 8, .bits = 2048 };

	(void)st;
	(void)fail;
	fn(ctx, 1, &spec, KEY_READY, 3, fake.covered ? 0 : 4);
	if (fake.in_use > 0)
		fn(ctx, 1, &spec, KEY_TAKEN, 9, fake.in_use);
	return KSM_OK;
}

enum ksm_err
store_uncovered_oldest(struct store *st, const char *repository,
    ksm_time *out, struct ksm_fail *fail)
{
	(void)st;
	(void)repository;
	(void)fail;
	*out = 1732500000;
	return KSM_OK;
}

static void
face_reload(void *ctx, bool allow_empty,
    void (*done)(void *arg, enum ksm_err err, const struct conf *read,
	const struct ksm_fail *fail),
    void *arg)
{
	(void)ctx;
	(void)allow_empty;
	fake.reloads++;
	fake.reload_done = done;
	fake.reload_arg = arg;
}

static void
face_reload_forget(void *ctx, void *arg)
{
	(void)ctx;
	assert_ptr_equal(arg, fake.reload_arg);
	fake.reload_forgets++;
}

static void
face_stop(void *ctx)
{
	(void)ctx;
	fake.stops++;
}

static enum log_level
face_log_level(void *ctx)
{
	(void)ctx;
	return log_level_get();
}

static void
face_log_level_set(void *ctx, enum log_level level)
{
	(void)ctx;
	log_level_set(level);
}

static void
face_database(void *ctx, const char *to, struct store_actor who,
    void (*done)(void *arg, enum ksm_err err, char *const *findings, size_t n,
	const struct ksm_fail *fail),
    void *arg)
{
	static const struct ksm_fail busy = { KSM_EBUSY, "one is running" };
	static char fault[] = "history row 3 was changed";
	static char *const faults[] = { fault };

	(void)ctx;
	assert_int_equal(who.uid, getuid());
	if (to != NULL)
		done(arg, KSM_EBUSY, NULL, 0, &busy);
	else
		done(arg, KSM_OK, faults, 1, NULL);
}

static void
face_database_forget(void *ctx, void *arg)
{
	(void)ctx;
	(void)arg;
}

static void
face_kick(void *ctx)
{
	(void)ctx;
	fake.kicks++;
}

/* ---- the world around a test ----------------------------------------- */

struct world {
	sd_event *event;
	struct control *control;
	char dir[64], path[96];
};

static void
fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.repository = (struct conf_repository){ .name = (char *)"SoftHSM",
		.capacity = -1, .sessions = 2, .require_backup = true };
	fake.key = (struct conf_key){ .role = ROLE_KSK, .alg = 8,
		.bits = 2048 };
	fake.policy = (struct conf_policy){ .name = (char *)"default",
		.keys = &fake.key, .nkeys = 1 };
	fake.conf = (struct conf){ .file = (char *)"/etc/ksmpool/ksmpool.xml",
		.repositories = &fake.repository, .nrepositories = 1,
		.policies = &fake.policy, .npolicies = 1, .zones = 12 };
	fake.term = (struct plan_term){ .key = &fake.key };
	for (size_t i = 0; i < nitems(fake.pools); i++)
		fake.pools[i] = (struct plan_pool){ .policy = "default",
			.role = i == 0 ? ROLE_KSK : ROLE_ZSK,
			.repository = "SoftHSM", .alg = 8, .bits = 2048,
			.policy_conf = &fake.policy,
			.repository_conf = &fake.repository,
			.settings = { .max_per_run = 10 }, .terms = &fake.term,
			.nterms = 1, .required = 38, .ready = 3,
			.deficit = 35, .make = 35, .level = LEVEL_OK };
	fake.token = (struct plan_token){ .repository = &fake.repository,
		.pairs_held = 6 };
	fake.plan = (struct plan){ .pools = fake.pools,
		.npools = nitems(fake.pools), .tokens = &fake.token,
		.ntokens = 1, .required = 76, .deficit = 70, .make = 70 };
}

static const struct daemon_face face = {
	.version = "9.9",
	.started = 1732500000,
	.reload = face_reload,
	.reload_forget = face_reload_forget,
	.stop = face_stop,
	.log_level = face_log_level,
	.log_level_set = face_log_level_set,
	.database = face_database,
	.database_forget = face_database_forget,
	.kick = face_kick,
};

static int
setup(void **ctx)
{
	struct world *w = calloc(1, sizeof(*w));

	fake_reset();
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/ksm-control-XXXXXX");
	if (mkdtemp(w->dir) == NULL)
		return -1;
	(void)chmod(w->dir, 0755);
	(void)snprintf(w->path, sizeof(w->path), "%s/s", w->dir);
	if (sd_event_new(&w->event) < 0)
		return -1;
	*ctx = w;
	return control_open(w->event,
	    &(struct control_want){ w->path, NULL, NULL, -1 }, &face, &w->control,
	    NULL) == KSM_OK ? 0 : -1;
}

static int
teardown(void **ctx)
{
	struct world *w = *ctx;

	control_close(w->control);
	(void)sd_event_unref(w->event);
	(void)unlink(w->path);
	(void)rmdir(w->dir);
	free(w);
	return 0;
}

/* Let everything that is due happen. */
static void
turn(struct world *w)
{
	for (int i = 0; i < 10000 && sd_event_run(w->event, 0) > 0; i++)
		;
}

static int
join(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static int
begin(struct world *w, const char *bytes, size_t len)
{
	int fd = join(w->path);

	assert_true(fd >= 0);
	for (size_t sent = 0; sent < len;) {
		ssize_t n = send(fd, bytes + sent, len - sent,
		    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			sent += (size_t)n;
		else if (errno != EAGAIN)
			break;
		turn(w);
	}
	turn(w);
	return fd;
}

/* What comes until the end of file; NULL if that does not come. */
static char *
rest(struct world *w, int fd)
{
	size_t used = 0, room = 1 << 16;
	char *text = malloc(room + 1);
	ssize_t n;

	for (int idle = 0; idle < 100;) {
		if (used == room) {
			room *= 2;
			text = realloc(text, room + 1);
		}
		n = recv(fd, text + used, room - used, MSG_DONTWAIT);
		if (n == 0 || (n == -1 && errno == ECONNRESET)) {
			(void)close(fd);
			text[used] = '\0';
			return text;
		}
		if (n > 0)
			used += (size_t)n;
		else
			idle++;
		turn(w);
	}
	free(text);
	(void)close(fd);
	return NULL;
}

static char *
ask(struct world *w, const char *line)
{
	int fd = begin(w, line, strlen(line));
	char *text = rest(w, fd);

	if (text == NULL)
		fail_msg("no answer to %s", line);
	return text;
}

static size_t
lines(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

static void
expect_error(char *text, const char *code, const char *word)
{
	struct ctl_reply r;

	assert_non_null(text);
	assert_int_equal(lines(text), 1);
	assert_int_equal(ctl_reply_decode(text, strlen(text), &r, NULL),
	    KSM_OK);
	assert_int_equal(r.type, CTL_ERROR);
	assert_string_equal(r.code, code);
	if (strstr(r.text, word) == NULL)
		fail_msg("'%s' does not say '%s'", r.text, word);
	free(text);
}

static void
expect_result(char *text, int status, const char *word)
{
	const char *last = text;

	assert_non_null(text);
	for (const char *s = text; *s != '\0'; s++)
		if (s[0] == '\n' && s[1] != '\0')
			last = s + 1;
	if (strstr(last, "\"type\":\"result\"") == NULL ||
	    strstr(text, word) == NULL)
		fail_msg("no result with '%s': %s", word, text);
	{
		struct ctl_reply r;

		assert_int_equal(ctl_reply_decode(last, strlen(last), &r,
		    NULL), KSM_OK);
		assert_int_equal(r.exit, status);
		ctl_reply_clear(&r);
	}
	free(text);
}

#define Q(command, args) "{\"v\":1,\"command\":\"" command "\",\"args\":" args "}\n"

/* ---- answers --------------------------------------------------------- */

static void
status_shows_repositories_then_pools_then_the_daemon(void **ctx)
{
	char *text = ask(*ctx, Q("status", "{}"));

	assert_int_equal(lines(text), 5);
	assert_non_null(strstr(text, "\"token\":\"caf?\""));
	assert_non_null(strstr(text, "\"trouble\":\"size refused\""));
	assert_non_null(strstr(text, "\"held\":2"));
	assert_non_null(strstr(text, "\"required\":[\"SoftHSM\"]"));
	expect_result(text, CTL_OK, "\"daemon_version\":\"9.9\"");
}

static void
status_asks_for_attention_when_a_pool_is_critical(void **ctx)
{
	fake.pools[1].level = LEVEL_CRITICAL;
	expect_result(ask(*ctx, Q("status", "{}")), CTL_ATTENTION, "critical");
	fake.pools[1].level = LEVEL_LOW;
	fake.status = REPO_PARKED;
	expect_result(ask(*ctx, Q("status", "{}")), CTL_ATTENTION, "parked");
}

static void
status_asks_for_attention_when_a_key_in_use_is_in_no_backup(void **ctx)
{
	fake.in_use = 2;
	expect_result(ask(*ctx, Q("status", "{}")), CTL_ATTENTION,
	    "\"uncovered\":6,\"uncovered_in_use\":2");
	/* Neither asked for nor told of. */
	fake.repository.require_backup = false;
	expect_result(ask(*ctx, Q("status", "{}")), CTL_OK,
	    "\"uncovered_in_use\":2");
}

static void
status_counts_the_zones_that_are_in_force(void **ctx)
{
	fake.policy.zones = 2;
	fake.conf.zones = 2;
	expect_result(ask(*ctx, Q("status", "{}")), CTL_OK,
	    "{\"zones\":2,\"owners\":null,\"state\":\"ok\","
	    "\"owner_file\":null,\"in_force\":\"read\"}");
	fake.conf.zones = 0; /* of the file; the policy keeps its count */
	fake.conf.zonelist = ZONELIST_VANISHED;
	expect_result(ask(*ctx, Q("status", "{}")), CTL_ATTENTION,
	    "{\"zones\":2,\"owners\":null,\"state\":\"vanished\","
	    "\"owner_file\":null,\"in_force\":\"last-good\"}");
	fake.conf.zonelist = ZONELIST_BAD;
	expect_result(ask(*ctx, Q("status", "{}")), CTL_ATTENTION, "\"bad\"");
	fake.conf.zonelist = ZONELIST_EMPTY;
	expect_result(ask(*ctx, Q("status", "{}")), CTL_ATTENTION,
	    "\"in_force\":\"last-good\"");
	fake.policy.zones = 0; /* reload --allow-empty */
	expect_result(ask(*ctx, Q("status", "{}")), CTL_OK,
	    "{\"zones\":0,\"owners\":null,\"state\":\"empty\","
	    "\"owner_file\":null,\"in_force\":\"read\"}");
	fake.policy.zones = 3;
	fake.policy.owners = 2;
	fake.conf.owner_file = strdup("/etc/ksmpool/owners");
	fake.conf.zonelist = ZONELIST_OK;
	expect_result(ask(*ctx, Q("status", "{}")), CTL_OK,
	    "{\"zones\":3,\"owners\":2,\"state\":\"ok\","
	    "\"owner_file\":\"ok\",\"in_force\":\"read\"}");
	fake.conf.owners = ZONELIST_VANISHED;
	expect_result(ask(*ctx, Q("status", "{}")), CTL_ATTENTION,
	    "\"owner_file\":\"vanished\",\"in_force\":\"last-good\"");
	fake.conf.owners = ZONELIST_EMPTY;
	expect_result(ask(*ctx, Q("status", "{}")), CTL_ATTENTION,
	    "\"owner_file\":\"empty\",\"in_force\":\"last-good\"");
	fake.policy.owners = 3; /* reload --allow-empty */
	expect_result(ask(*ctx, Q("status", "{}")), CTL_OK,
	    "\"owner_file\":\"empty\",\"in_force\":\"read\"");
	fake.conf.owners = ZONELIST_OK;
	free(fake.conf.owner_file);
	fake.conf.owner_file = NULL;
}

static void
plan_shows_every_term(void **ctx)
{
	char *text = ask(*ctx, Q("plan", "{}"));

	assert_int_equal(lines(text), 4);
	assert_non_null(strstr(text, "\"emergency_rolls\":"));
	/* 35 keys of 1.5 s each, by two workers */
	assert_non_null(strstr(text, "\"fill_s\":27"));
	expect_result(text, CTL_OK, "\"make\":70");
}

static void
an_unknown_command_is_told_what_is_known(void **ctx)
{
	expect_error(ask(*ctx, Q("stauts", "{}")), "unknown-command",
	    "repository resume");
}

static void
arguments_are_checked_against_the_table(void **ctx)
{
	static const struct {
		const char *line, *word;
	} cases[] = {
		{ Q("status", "{\"x\":1}"), "known: none" },
		{ Q("topup", "{\"waits\":true}"), "known: policy, max" },
		{ Q("topup", "{\"wait\":1}"), "true or false" },
		{ Q("topup", "{\"max\":0}"), "1 or more" },
		{ Q("topup", "{\"max\":\"4\"}"), "1 or more" },
		{ Q("plan", "{\"zones\":-1}"), "0 or more" },
		{ Q("key list", "{\"state\":\"raedy\"}"), "state" },
		{ Q("key list", "{\"role\":\"PSK\"}"), "KSK, ZSK or CSK" },
		{ Q("key list", "{\"created_after\":\"now\"}"), "seconds" },
		{ Q("key list", "{\"policy\":\"\"}"), "1 to 255" },
		{ Q("key show", "{}"), "missing" },
		{ Q("key show", "{\"id\":\"12\"}"), "32 hex" },
		{ Q("repository resume", "{\"name\":null}"), "1 to 255" },
	};

	for (size_t i = 0; i < nitems(cases); i++)
		expect_error(ask(*ctx, cases[i].line), "bad-argument",
		    cases[i].word);
	assert_int_equal(fake.topups, 0);
}

static void
what_is_not_there_is_an_error_of_its_own(void **ctx)
{
	expect_error(ask(*ctx, Q("key show",
	    "{\"id\":\"ffffffffffffffffffffffffffffffff\"}")), "unknown-key",
	    "ffffffff");
	expect_error(ask(*ctx, Q("topup", "{\"policy\":\"nobody\"}")),
	    "unknown-policy", "nobody");
	expect_error(ask(*ctx, Q("topup",
	    "{\"policy\":\"nobody\",\"dry_run\":true}")), "unknown-policy",
	    "nobody");
	expect_error(ask(*ctx, Q("repository resume",
	    "{\"name\":\"nobody\"}")), "unknown-repository", "nobody");
	expect_result(ask(*ctx, Q("key show",
	    "{\"id\":\"01000000000000000000000000000000\"}")), CTL_OK,
	    "\"created\":\"2024-11-25T02:00:01Z\"");
}

static void
resume_and_stop_reach_the_daemon(void **ctx)
{
	expect_result(ask(*ctx, Q("repository resume",
	    "{\"name\":\"SoftHSM\",\"accept_token\":true}")), CTL_OK,
	    "SoftHSM");
	assert_true(fake.resumed && fake.accepted);
	assert_int_equal(fake.kicks, 1);
	expect_result(ask(*ctx, Q("stop", "{}")), CTL_OK, "stopping");
	assert_int_equal(fake.stops, 1);
}

/* ---- lists ----------------------------------------------------------- */

static void
a_list_comes_whole_and_in_pages(void **ctx)
{
	char *text;

	fake.keys = 1001;
	text = ask(*ctx, Q("key list", "{}"));
	assert_int_equal(lines(text), 1002);
	assert_int_equal(fake.pages, 7);
	expect_result(text, CTL_OK, "\"count\":1001");
}

static void
a_mistyped_name_is_no_all_clear(void **ctx)
{
	expect_error(ask(*ctx, Q("key list", "{\"policy\":\"defualt\"}")),
	    "unknown-policy", "defualt");
	expect_error(ask(*ctx, Q("key list", "{\"repository\":\"softhsm\"}")),
	    "unknown-repository", "softhsm");
	assert_int_equal(fake.pages, 0);
	expect_result(ask(*ctx, Q("key list",
	    "{\"policy\":\"default\",\"repository\":\"SoftHSM\"}")),
	    CTL_OK, "\"count\":0");
	expect_result(ask(*ctx, Q("key list",
	    "{\"policy\":\"former\",\"repository\":\"former\"}")), CTL_OK,
	    "\"count\":0");
}

static void
keys_after_a_date_ask_for_attention(void **ctx)
{
	fake.keys = 1;
	expect_result(ask(*ctx, Q("key list", "{\"created_after\":1}")),
	    CTL_ATTENTION, "\"count\":1");
	fake.keys = 0;
	expect_result(ask(*ctx, Q("key list", "{\"created_after\":1}")),
	    CTL_OK, "\"count\":0");
}

static void
keys_after_a_date_may_include_those_being_settled(void **ctx)
{
	expect_result(ask(*ctx, Q("key list", "{\"created_after\":1}")),
	    CTL_OK, "\"unsettled\":3");
	expect_result(ask(*ctx, Q("key list",
	    "{\"created_after\":1,\"role\":\"ZSK\","
	    "\"policy\":\"default\"}")), CTL_OK, "\"unsettled\":3");
	expect_result(ask(*ctx, Q("key list",
	    "{\"created_after\":1,\"role\":\"KSK\"}")), CTL_OK,
	    "\"unsettled\":0");
	expect_result(ask(*ctx, Q("key list",
	    "{\"created_after\":1,\"policy\":\"former\"}")), CTL_OK,
	    "\"unsettled\":0");
}

static void
a_reader_that_stops_stops_the_list_and_nobody_else(void **ctx)
{
	struct world *w = *ctx;
	const char *line = Q("key list", "{}");
	int64_t pages;
	char *text;
	int fd;

	fake.keys = 100000;
	fd = begin(w, line, strlen(line));
	turn(w);
	pages = fake.pages;
	assert_true(pages < 30); /* a socket and a buffer full, no more */
	turn(w);
	assert_int_equal(fake.pages, pages);
	fake.keys = 0;
	expect_result(ask(w, Q("status", "{}")), CTL_OK, "pid");
	fake.keys = 100000;
	text = rest(w, fd);
	assert_int_equal(lines(text), 100001);
	free(text);
}

static void
a_reader_that_dies_in_a_list_costs_only_its_connection(void **ctx)
{
	struct world *w = *ctx;
	const char *line = Q("key list", "{}");
	int64_t pages;
	int fd;

	fake.keys = 100000;
	fd = begin(w, line, strlen(line));
	(void)close(fd);
	turn(w);
	pages = fake.pages;
	turn(w);
	assert_int_equal(fake.pages, pages);
	expect_result(ask(w, Q("version", "{}")), CTL_OK, "9.9");
}

/* ---- topup and reload ------------------------------------------------ */

static void
a_topup_that_nobody_waits_for_answers_at_once(void **ctx)
{
	expect_result(ask(*ctx, Q("topup", "{\"max\":40}")), CTL_OK,
	    "\"tickets\":[7]");
	assert_int_equal(fake.asked_uid, getuid());
	assert_int_equal(fake.asked_max, 40);
	assert_int_equal(fake.forgotten, 0); /* its end is still recorded */
}

static void
a_dry_run_has_the_limits_of_the_real_one_and_changes_nothing(void **ctx)
{
	char *text = ask(*ctx, Q("topup", "{\"dry_run\":true}"));

	assert_non_null(strstr(text, "\"make\":10,\"held\":25"));
	expect_result(text, CTL_OK, "\"make\":20,\"held\":50");
	expect_result(ask(*ctx, Q("topup", "{\"dry_run\":true,\"max\":100}")),
	    CTL_OK, "\"make\":70,\"held\":0");
	assert_int_equal(fake.topups, 0);
}

static void
a_waiting_topup_hears_of_progress_and_of_the_end(void **ctx)
{
	struct world *w = *ctx;
	const char *line = Q("topup", "{\"wait\":true}");
	int fd = begin(w, line, strlen(line));
	char *text;

	fake.topup = (struct topup_state){ .wanted = 40, .made = 3 };
	control_poll(w->control);
	fake.topup.made = 4;
	control_poll(w->control); /* too soon to say again */
	turn(w);
	fake.topup = (struct topup_state){ .wanted = 40, .made = 40,
		.done = true, .full = true };
	control_poll(w->control);
	text = rest(w, fd);
	assert_int_equal(lines(text), 2);
	assert_non_null(strstr(text, "\"done\":3,\"total\":40"));
	expect_result(text, CTL_OK, "\"full\":true");
	assert_int_equal(fake.forgotten, 1);
}

static void
a_topup_that_stops_short_asks_for_attention(void **ctx)
{
	struct world *w = *ctx;
	const char *line = Q("topup", "{\"wait\":true}");
	int fd = begin(w, line, strlen(line));

	fake.topup = (struct topup_state){ .wanted = 40, .made = 3,
		.failed = 1, .held = 36, .done = true, .trouble = "token full" };
	control_poll(w->control);
	expect_result(rest(w, fd), CTL_ATTENTION, "token full");
}

static void
a_topup_goes_on_when_its_client_dies(void **ctx)
{
	struct world *w = *ctx;
	const char *line = Q("topup", "{\"wait\":true}");
	int fd = begin(w, line, strlen(line));

	(void)close(fd);
	turn(w);
	control_poll(w->control);
	assert_int_equal(fake.topups, 1);
	assert_int_equal(fake.forgotten, 0);
}

static void
a_reload_answers_with_the_findings(void **ctx)
{
	struct world *w = *ctx;
	const char *line = Q("reload", "{}");
	struct conf_finding finding = { .severity = CONF_ERROR,
		.file = (char *)"kasp.xml", .line = 12,
		.what = (char *)"algorithm is not known",
		.value = (char *)"99" };
	struct conf read = { .findings = &finding, .nfindings = 1,
		.errors = 1 };
	struct ksm_fail fail = { .text = "the new configuration has 1 error" };
	int fd = begin(w, line, strlen(line));
	char *text;

	fake.reload_done(fake.reload_arg, KSM_EREFUSED, &read, &fail);
	text = rest(w, fd);
	assert_int_equal(lines(text), 2);
	assert_non_null(strstr(text, "\"line\":12"));
	assert_non_null(strstr(text, "the configuration in force is kept"));
	assert_non_null(strstr(text, "\"exit\":2"));
	free(text);

	fd = begin(w, line, strlen(line));
	read.errors = 0;
	read.nfindings = 0;
	fake.reload_done(fake.reload_arg, KSM_OK, &read, NULL);
	expect_result(rest(w, fd), CTL_OK, "\"in_force\":true");
	assert_int_equal(fake.reload_forgets, 0);
}

static void
a_reload_is_forgotten_when_its_client_dies(void **ctx)
{
	struct world *w = *ctx;
	const char *line = Q("reload", "{}");
	int fd = begin(w, line, strlen(line));

	(void)close(fd);
	turn(w);
	assert_int_equal(fake.reload_forgets, 1);
}

/* ---- bad clients ----------------------------------------------------- */

static void
garbage_gets_one_error_line_and_the_door(void **ctx)
{
	struct world *w = *ctx;
	static const char nul[] = "{\"v\":1,\"command\":\"sta\0tus\"}\n";
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{ "\n", 1 },
		{ "GET / HTTP/1.0\r\n\r\n", 18 },
		{ nul, sizeof(nul) - 1 },
		{ "\xff\xfe\xfd\n", 4 },
		{ Q("plan", "{\"zones\":99999999999999999999}"),
		    sizeof(Q("plan", "{\"zones\":99999999999999999999}")) - 1 },
		{ Q("stop", "{}") Q("stop", "{}"),
		    2 * (sizeof(Q("stop", "{}")) - 1) },
	};

	for (size_t i = 0; i < nitems(cases); i++)
		expect_error(rest(w, begin(w, cases[i].bytes, cases[i].len)),
		    "bad-request", "request");
	assert_int_equal(fake.stops, 0);
	expect_result(ask(w, Q("version", "{}")), CTL_OK, "9.9");
}

static void
a_line_over_64_kib_is_not_read_to_its_end(void **ctx)
{
	struct world *w = *ctx;
	char *bytes = malloc(4 * MSG_CTL_LINE);

	memset(bytes, '[', 4 * MSG_CTL_LINE);
	expect_error(rest(w, begin(w, bytes, 4 * MSG_CTL_LINE)),
	    "bad-request", "longer than 65536");
	bytes[60000] = '\n';
	expect_error(rest(w, begin(w, bytes, 60001)), "bad-request",
	    "not JSON");
	free(bytes);
}

static void
half_a_line_is_said_to_be_half(void **ctx)
{
	struct world *w = *ctx;
	int fd = begin(w, "{\"v\":1,\"comm", 12);

	(void)shutdown(fd, SHUT_WR);
	expect_error(rest(w, fd), "bad-request", "no end");
	fd = begin(w, "", 0);
	(void)shutdown(fd, SHUT_WR);
	{
		char *text = rest(w, fd);

		assert_string_equal(text, "");
		free(text);
	}
}

static void
a_client_may_close_its_sending_half(void **ctx)
{
	struct world *w = *ctx;
	const char *line = Q("version", "{}");
	int fd = join(w->path);

	assert_int_equal(send(fd, line, strlen(line), MSG_NOSIGNAL),
	    strlen(line));
	(void)shutdown(fd, SHUT_WR);
	expect_result(rest(w, fd), CTL_OK, "9.9");
}

static void
a_request_may_come_byte_by_byte(void **ctx)
{
	struct world *w = *ctx;
	const char *line = Q("version", "{}");
	int fd = join(w->path);

	for (const char *s = line; *s != '\0'; s++) {
		assert_int_equal(send(fd, s, 1, MSG_NOSIGNAL), 1);
		turn(w);
	}
	expect_result(rest(w, fd), CTL_OK, "9.9");
}

/* As many as there are slots for half of these descriptors. */
#define FEW_FILES 400
#define FEW_SLOTS (FEW_FILES / 2)

static void
slots_limit(struct world *w)
{
	struct rlimit files;

	control_close(w->control);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = FEW_FILES;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	assert_int_equal(control_open(w->event,
	    &(struct control_want){ w->path, NULL, NULL, -1 }, &face,
	    &w->control, NULL), KSM_OK);
	files.rlim_cur = files.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
}

static void
one_that_asks_gets_the_slot_of_the_oldest_that_does_not(void **ctx)
{
	struct world *w = *ctx;
	int fds[FEW_SLOTS];

	slots_limit(w);
	for (int i = 0; i < FEW_SLOTS; i++)
		fds[i] = begin(w, "{", 1);
	(void)usleep(120 * 1000);
	expect_result(ask(w, Q("version", "{}")), CTL_OK, "9.9");
	expect_error(rest(w, fds[0]), "busy", "asked for nothing");
	/* The next is still there. */
	assert_int_equal(send(fds[1], "\n", 1, MSG_NOSIGNAL), 1);
	expect_error(rest(w, fds[1]), "bad-request", "request");
	for (int i = 2; i < FEW_SLOTS; i++)
		(void)close(fds[i]);
	turn(w);
}

static void
young_clients_keep_their_slots_and_newcomers_wait(void **ctx)
{
	struct world *w = *ctx;
	const char *line = Q("version", "{}");
	int fds[FEW_SLOTS], late;
	char c;

	slots_limit(w);
	for (int i = 0; i < FEW_SLOTS; i++)
		fds[i] = join(w->path);
	turn(w);
	late = begin(w, line, strlen(line));
	/* Not refused, only not accepted yet. */
	assert_int_equal(recv(late, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	(void)close(fds[0]);
	turn(w);
	expect_result(rest(w, late), CTL_OK, "9.9");
	for (int i = 1; i < FEW_SLOTS; i++)
		(void)close(fds[i]);
	turn(w);
}

static void
those_who_wait_for_an_end_are_bounded(void **ctx)
{
	struct world *w = *ctx;
	const char *line = Q("topup", "{\"wait\":true}");
	int fds[FEW_SLOTS / 8];

	slots_limit(w);
	for (int i = 0; i < FEW_SLOTS / 8; i++)
		fds[i] = begin(w, line, strlen(line));
	assert_int_equal(fake.topups, FEW_SLOTS / 8);
	expect_error(ask(w, line), "busy", "wait for an end already");
	assert_int_equal(fake.topups, FEW_SLOTS / 8);
	/* What ends at once is no burden. */
	expect_result(ask(w, Q("topup", "{}")), CTL_OK, "tickets");
	expect_result(ask(w, Q("version", "{}")), CTL_OK, "9.9");
	(void)close(fds[0]);
	turn(w);
	fds[0] = begin(w, line, strlen(line));
	assert_int_equal(fake.topups, FEW_SLOTS / 8 + 2);
	for (int i = 0; i < FEW_SLOTS / 8; i++)
		(void)close(fds[i]);
	turn(w);
}

static void
a_dry_run_of_an_errand_waits_as_the_errand_does(void **ctx)
{
	static const char *const lines[] = {
		Q("inventory clean", "{\"repository\":\"SoftHSM\","
		    "\"debris\":true,\"reason\":\"old\",\"dry_run\":true}"),
		Q("inventory adopt", "{\"id\":"
		    "\"01000000000000000000000000000000\","
		    "\"policy\":\"default\",\"role\":\"KSK\","
		    "\"reason\":\"ours\",\"dry_run\":true}"),
	};
	struct world *w = *ctx;
	int fds[FEW_SLOTS / 8];

	slots_limit(w);
	for (size_t l = 0; l < nitems(lines); l++) {
		fake.errands = 0;
		for (int i = 0; i < FEW_SLOTS / 8; i++)
			fds[i] = begin(w, lines[l], strlen(lines[l]));
		assert_int_equal(fake.errands, FEW_SLOTS / 8);
		expect_error(ask(w, lines[l]), "busy",
		    "wait for an end already");
		assert_int_equal(fake.errands, FEW_SLOTS / 8);
		for (int i = 0; i < FEW_SLOTS / 8; i++)
			(void)close(fds[i]);
		turn(w);
	}
}

static void
clients_hear_when_the_daemon_stops(void **ctx)
{
	struct world *w = *ctx;
	const char *line = Q("topup", "{\"wait\":true}");
	int fd = begin(w, line, strlen(line));

	control_close(w->control);
	w->control = NULL;
	expect_error(rest(w, fd), "stopping", "stopping");
	assert_int_equal(access(w->path, F_OK), -1);
}

/* ---- errands and the record ------------------------------------------- */

static void
an_inventory_is_looked_at_and_shown_in_pages(void **ctx)
{
	static struct errand_found found[450];
	struct world *w = *ctx;
	const char *line = Q("inventory", "{}");
	char *text;
	int fd;

	for (size_t i = 0; i < nitems(found); i++) {
		found[i] = (struct errand_found){ .sort = FOUND_HALF,
			.privates = 1, .key_type = 3, .bits = 256 };
		(void)snprintf(found[i].id, sizeof(found[i].id), "%032zx", i);
	}
	fd = begin(w, line, strlen(line));
	assert_int_equal(fake.errands, 1);
	assert_int_equal(fake.errand, ERRAND_INVENTORY);
	control_poll(w->control);
	fake.errand_state = (struct errand_state){ .done = true,
		.found = found, .nfound = nitems(found) };
	fake.errand_state.counts[FOUND_HALF] = (int64_t)nitems(found);
	control_poll(w->control);
	text = rest(w, fd);
	assert_non_null(text);
	assert_int_equal(lines(text), nitems(found) + 2);
	assert_int_equal(fake.errands_forgotten, 1);
	expect_result(text, CTL_ATTENTION, "\"half\"");
}

static void
destroying_goes_on_without_its_client_and_looking_does_not(void **ctx)
{
	static const char destroy[] = Q("key destroy",
	    "{\"ids\":[\"01000000000000000000000000000000\"],"
	    "\"reason\":\"old\"}");
	static const char look[] = Q("inventory", "{}");
	struct world *w = *ctx;
	int fd;

	fd = begin(w, destroy, strlen(destroy));
	assert_int_equal(fake.errand, ERRAND_DESTROY);
	assert_int_equal(fake.errand_ids, 1);
	assert_int_equal(fake.errand_uid, getuid());
	(void)close(fd);
	turn(w);
	assert_int_equal(fake.errands_forgotten, 0);
	fd = begin(w, look, strlen(look));
	(void)close(fd);
	turn(w);
	assert_int_equal(fake.errands_forgotten, 1);
}

static void
each_id_of_a_destroying_has_its_answer(void **ctx)
{
	static const char line[] = Q("key destroy",
	    "{\"ids\":[\"01000000000000000000000000000000\","
	    "\"05000000000000000000000000000000\"],\"reason\":\"old\"}");
	static struct errand_item item = { .done = true };
	struct world *w = *ctx;
	char *text;
	int fd;

	item.id.bytes[0] = 1;
	fd = begin(w, line, strlen(line));
	fake.errand_state = (struct errand_state){ .done = true,
		.items = &item, .nitems = 1 };
	control_poll(w->control);
	text = rest(w, fd);
	assert_non_null(strstr(text, "no such key"));
	assert_int_equal(lines(text), 3);
	expect_result(text, CTL_ATTENTION, "\"refused\":1");
}

static void
a_dry_run_asks_nothing_of_the_token(void **ctx)
{
	struct world *w = *ctx;

	expect_result(ask(w, Q("key destroy",
	    "{\"ids\":[\"01000000000000000000000000000000\"],"
	    "\"reason\":\"old\",\"dry_run\":true}")), CTL_OK, "\"would\"");
	assert_int_equal(fake.errands, 0);
}

static void
retiring_tells_of_each_key(void **ctx)
{
	struct world *w = *ctx;
	char *text = ask(w, Q("key retire",
	    "{\"ids\":[\"01000000000000000000000000000000\","
	    "\"02000000000000000000000000000000\","
	    "\"03000000000000000000000000000000\"],\"reason\":\"broken\"}"));

	assert_non_null(strstr(text, "it is destroyed"));
	assert_non_null(strstr(text, "no such key"));
	expect_result(text, CTL_ATTENTION, "\"refused\"");
}

static void
a_pause_has_an_end_or_none_and_shows_in_the_status(void **ctx)
{
	struct world *w = *ctx;

	expect_result(ask(w, Q("pause", "{\"for\":9223372036854775807}")),
	    CTL_OK, "\"paused\"");
	assert_true(fake.pause.until == PAUSE_OPEN);
	expect_result(ask(w, Q("status", "{}")), CTL_OK, "\"since\"");
	expect_result(ask(w, Q("resume", "{}")), CTL_OK, "true");
	expect_result(ask(w, Q("resume", "{}")), CTL_OK, "false");
}

static void
the_history_comes_in_pages_and_is_verified(void **ctx)
{
	struct world *w = *ctx;
	char *text = ask(w, Q("history", "{}"));
	char line[256], hash[65];

	assert_int_equal(lines(text), 451);
	expect_result(text, CTL_OK, "key made");
	expect_result(ask(w, Q("history verify", "{}")), CTL_OK, "05050505");
	for (int i = 0; i < 64; i += 2)
		(void)memcpy(hash + i, "03", 2);
	hash[64] = '\0';
	(void)snprintf(line, sizeof(line),
	    Q("history verify", "{\"head\":\"3:%s\"}"), hash);
	expect_result(ask(w, line), CTL_OK, "\"head_fits\":true");
	(void)snprintf(line, sizeof(line),
	    Q("history verify", "{\"head\":\"4:%s\"}"), hash);
	expect_result(ask(w, line), CTL_ATTENTION, "\"head_fits\":false");
	expect_error(ask(w, Q("history verify", "{\"head\":\"x\"}")),
	    "bad-argument", "NUMBER:HASH");
}

static void
the_database_is_checked_by_somebody_else(void **ctx)
{
	struct world *w = *ctx;

	expect_result(ask(w, Q("database check", "{}")), CTL_ATTENTION,
	    "row 3");
	expect_error(ask(w, Q("database backup", "{\"file\":\"/x\"}")),
	    "busy", "one is running");
}

static void
a_database_that_was_replaced_takes_no_order(void **ctx)
{
	static const char *const orders[] = {
		Q("log level", "{\"level\":\"debug\"}"),
		Q("database backup", "{\"file\":\"/x\"}"),
		Q("backup begin", "{\"note\":\"weekly\"}"),
		Q("backup rollback", "{\"label\":\"monday\"}"),
		Q("backup record", "{\"started\":1732500000}"),
	};
	struct world *w = *ctx;

	fake.dead = true;
	for (size_t i = 0; i < nitems(orders); i++) {
		char *text = ask(w, orders[i]);

		assert_non_null(strstr(text, "it was replaced"));
		free(text);
	}
	assert_int_equal(fake.events, 0);
	assert_int_not_equal(log_level_get(), LOGL_DEBUG);
}

static void
the_log_level_is_shown_and_set(void **ctx)
{
	struct world *w = *ctx;

	expect_result(ask(w, Q("log level", "{}")), CTL_OK, "\"level\"");
	assert_int_equal(fake.events, 0);
	expect_result(ask(w, Q("log level", "{\"level\":\"debug\"}")), CTL_OK,
	    "debug");
	assert_int_equal(fake.events, 1);
	assert_int_equal(log_level_get(), LOGL_DEBUG);
	log_level_set(LOGL_INFO);
}

static void
a_backup_is_committed_only_when_its_keys_are_there(void **ctx)
{
	static const char commit[] = Q("backup commit",
	    "{\"label\":\"monday\"}");
	static const char except[] = Q("backup commit", "{\"label\":\"monday\","
	    "\"except\":[\"01000000000000000000000000000000\"]}");
	static struct errand_found gone = { .sort = FOUND_MISSING,
		.id = "01000000000000000000000000000000" };
	struct world *w = *ctx;
	char *text;
	int fd;

	expect_result(ask(w, Q("backup begin", "{\"note\":\"weekly\"}")),
	    CTL_OK, "\"monday\"");
	expect_error(ask(w, Q("backup commit", "{\"label\":\"tuesday\"}")),
	    "unknown-backup", "no such backup");

	fd = begin(w, commit, strlen(commit));
	fake.errand_state = (struct errand_state){ .done = true,
		.found = &gone, .nfound = 1 };
	control_poll(w->control);
	text = rest(w, fd);
	assert_non_null(strstr(text, "it is not in the token"));
	assert_non_null(strstr(text, "destroyed in between"));
	assert_non_null(strstr(text, "\"refused\""));
	assert_int_equal(fake.committed, 0);
	free(text);

	fd = begin(w, except, strlen(except));
	control_poll(w->control);
	expect_result(rest(w, fd), CTL_OK, "\"monday\"");
	assert_int_equal(fake.committed, 1);
	assert_int_equal(fake.excepted, 1);

	/* Of other programs' keys there may be any number. */
	assert_int_equal(fake.errand_sorts & FOUND_BIT(FOUND_FOREIGN), 0);
	fd = begin(w, commit, strlen(commit));
	fake.errand_state = (struct errand_state){ .done = true,
		.cut = true };
	control_poll(w->control);
	expect_error(rest(w, fd), "refused", "more than 100000 keys");
	assert_int_equal(fake.committed, 1);

	/* A token that could not be looked at proves nothing. */
	fd = begin(w, commit, strlen(commit));
	fake.errand_state = (struct errand_state){ .done = true,
		.failed = true, .text = "token absent" };
	control_poll(w->control);
	expect_error(rest(w, fd), "failed", "token absent");
	assert_int_equal(fake.committed, 1);
}

static void
a_thousand_exceptions_are_found_again(void **ctx)
{
	static struct errand_found gone = { .sort = FOUND_MISSING,
		.id = "01000000000000000000000000000000" };
	struct world *w = *ctx;
	size_t room = 1000 * 40 + 200, len;
	char *line = malloc(room);
	int fd;

	assert_non_null(line);
	len = (size_t)snprintf(line, room, "{\"v\":1,\"command\":\"backup "
	    "commit\",\"args\":{\"label\":\"monday\",\"except\":[");
	for (int i = 1000; i > 0; i--)
		len += (size_t)snprintf(line + len, room - len,
		    "\"%02x%030x\"%s", i == 500 ? 1 : 0, i == 500 ? 0 : i,
		    i > 1 ? "," : "");
	len += (size_t)snprintf(line + len, room - len, "]}}\n");
	fake.errand_state = (struct errand_state){ .done = true,
		.found = &gone, .nfound = 1 };
	fd = begin(w, line, len);
	control_poll(w->control);
	expect_result(rest(w, fd), CTL_OK, "\"monday\"");
	assert_int_equal(fake.excepted, 1000);
	free(line);
}

static void
what_is_being_settled_is_no_all_clear(void **ctx)
{
	struct world *w = *ctx;

	fake.covered = true;
	expect_result(ask(w, Q("backup check", "{}")), CTL_ATTENTION,
	    "{\"count\":0,\"unsettled\":3}");
	expect_result(ask(w, Q("backup check", "{\"repository\":\"former\"}")),
	    CTL_OK, "{\"count\":0,\"unsettled\":0}");
	fake.settled = true;
	expect_result(ask(w, Q("backup check", "{}")), CTL_OK,
	    "{\"count\":0,\"unsettled\":0}");
}

static void
a_backup_is_of_one_repository(void **ctx)
{
	struct conf_repository three[3];
	struct world *w = *ctx;

	for (size_t i = 0; i < nitems(three); i++)
		three[i] = fake.repository;
	three[1].name = (char *)(uintptr_t)"hsm-b";
	three[2].name = (char *)(uintptr_t)"hsm-c";
	fake.conf.repositories = three;
	fake.conf.nrepositories = 3;
	expect_error(ask(w, Q("backup begin", "{\"note\":\"weekly\"}")),
	    "bad-argument", "3 repositories, SoftHSM, hsm-b and hsm-c; say");
	expect_result(ask(w, Q("backup begin",
	    "{\"note\":\"weekly\",\"repository\":\"hsm-b\"}")),
	    CTL_OK, "\"repositories\":3");
	/* Of former times: its backups can be looked at, none is begun. */
	expect_error(ask(w, Q("backup begin", "{\"repository\":\"former\"}")),
	    "unknown-repository", "not configured any more");
	expect_error(ask(w, Q("backup commit",
	    "{\"label\":\"monday\",\"repository\":\"former\"}")),
	    "unknown-repository", "not configured any more");
	expect_result(ask(w, Q("backup rollback",
	    "{\"label\":\"monday\",\"repository\":\"former\"}")),
	    CTL_OK, "\"monday\"");
	fake.conf.nrepositories = 0;
	expect_error(ask(w, Q("backup begin", "{\"note\":\"weekly\"}")),
	    "unknown-repository", "no repository is configured");
	assert_int_equal(fake.errands, 0);
}

static void
the_ledger_is_shown_and_what_is_in_no_backup(void **ctx)
{
	struct world *w = *ctx;

	expect_result(ask(w, Q("backup list", "{}")), CTL_OK, "\"open\"");
	expect_result(ask(w, Q("backup show", "{\"label\":\"monday\"}")),
	    CTL_OK, "\"covered\"");
	expect_result(ask(w, Q("backup check", "{}")), CTL_ATTENTION,
	    "\"age_s\"");
	expect_result(ask(w, Q("backup check", "{}")), CTL_ATTENTION,
	    "\"uncovered\":1,\"oldest\":\"2024-11-25T02:00:01Z\"");
	expect_error(ask(w, Q("backup check", "{\"at\":99999999999}")),
	    "bad-argument", "in the future");
	expect_error(ask(w, Q("backup record", "{\"started\":1732500000}")),
	    "refused", "older than");
	expect_result(ask(w, Q("status", "{}")), CTL_OK, "\"uncovered\":4");
	assert_int_equal(fake.orders, 0); /* each that began has ended */
}

static void
values_of_every_kind_are_checked(void **ctx)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{ Q("key destroy", "{\"ids\":[],\"reason\":\"x\"}"), "1 to 1000" },
		{ Q("key destroy", "{\"ids\":\"01\",\"reason\":\"x\"}"),
		    "1 to 1000" },
		{ Q("key destroy", "{\"ids\":[\"zz\"],\"reason\":\"x\"}"),
		    "32 hex" },
		{ Q("key destroy", "{\"ids\":[7],\"reason\":\"x\"}"),
		    "32 hex" },
		{ Q("key destroy",
		      "{\"ids\":[\"01000000000000000000000000000000\"]}"),
		    "\"reason\" is missing" },
		{ Q("pause", "{\"for\":0}"), "1 or more" },
		{ Q("pause", "{\"reason\":\"two\\nlines\"}"), "one line" },
		{ Q("pause", "{\"reason\":\"\"}"), "one line" },
		{ Q("log level", "{\"level\":\"loud\"}"), "notice" },
		{ Q("key list", "{\"tag\":65536}"), "65535" },
		{ Q("key list", "{\"algorithm\":\"DSA\"}"), "algorithm" },
		{ Q("key list", "{\"older_than\":-1}"), "1 or more" },
		{ Q("database backup", "{\"file\":\"copy.db\"}"),
		    "absolute path" },
		{ Q("inventory adopt", "{\"id\":\"0\",\"policy\":\"default\","
				       "\"role\":\"ZSK\",\"reason\":\"x\"}"),
		    "hex digits" },
		{ Q("inventory clean",
		      "{\"repository\":\"SoftHSM\",\"reason\":\"x\"}"),
		    "either ids or debris" },
	};
	struct world *w = *ctx;

	for (size_t i = 0; i < nitems(cases); i++)
		expect_error(ask(w, cases[i].line), "bad-argument",
		    cases[i].says);
	assert_int_equal(fake.errands, 0);
}

static void
ids_of_another_length_are_left_to_others(void **ctx)
{
	struct world *w = *ctx;

	expect_error(ask(w, Q("inventory adopt",
	    "{\"id\":\"0102030405060708090a0b0c0d0e0f1011121314\","
	    "\"policy\":\"default\",\"role\":\"ZSK\",\"reason\":\"x\"}")),
	    "refused", "20 bytes");
	assert_int_equal(fake.errands, 0);
}

/* ---- who may --------------------------------------------------------- */

/* The answer that a process of that user gets. */
static char *
ask_as(struct world *w, uid_t uid, gid_t gid, gid_t also)
{
	char buf[1024], *text;
	int pair[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(pair), 0);
	pid = fork();
	if (pid == 0) {
		int fd;

		if (setgroups(also != 0, &also) != 0 || setgid(gid) != 0 ||
		    setuid(uid) != 0)
			_exit(1);
		fd = join(w->path);
		(void)send(fd, Q("version", "{}"),
		    strlen(Q("version", "{}")), MSG_NOSIGNAL);
		while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
			if (write(pair[1], buf, (size_t)n) != n)
				_exit(1);
		_exit(0);
	}
	(void)close(pair[1]);
	for (int i = 0; i < 1000 && waitpid(pid, &status, WNOHANG) == 0; i++)
		(void)sd_event_run(w->event, 10000);
	n = read(pair[0], buf, sizeof(buf) - 1);
	(void)close(pair[0]);
	text = strndup(buf, n > 0 ? (size_t)n : 0);
	return text;
}

static void
only_root_the_daemon_and_the_group_may_speak(void **ctx)
{
	struct world *w = *ctx;
	const struct group *gr = getgrnam("daemon");
	struct stat sb;

	if (getuid() != 0 || gr == NULL)
		skip();
	control_close(w->control);
	assert_int_equal(control_open(w->event,
	    &(struct control_want){ w->path, "daemon", NULL, -1 }, &face,
	    &w->control, NULL), KSM_OK);
	assert_int_equal(stat(w->path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0660);
	assert_int_equal(sb.st_gid, gr->gr_gid);
	/* The mode is the first lock; here only the second is tried. */
	assert_int_equal(chmod(w->path, 0666), 0);
	expect_error(ask_as(w, 54321, 54321, 0), "denied", "uid 54321");
	expect_error(ask_as(w, 54321, 54321, 54322), "denied", "uid 54321");
	expect_result(ask_as(w, 54321, gr->gr_gid, 0), CTL_OK, "9.9");
	expect_result(ask_as(w, 54321, 54321, gr->gr_gid), CTL_OK, "9.9");
	expect_result(ask_as(w, 0, 0, 0), CTL_OK, "9.9");
}

static void
readers_may_look_and_not_act(void **ctx)
{
	struct world *w = *ctx;
	const struct group *gr = getgrnam("daemon");
	struct stat sb;

	if (getuid() != 0 || gr == NULL)
		skip();
	control_close(w->control);
	assert_int_equal(control_open(w->event,
	    &(struct control_want){ w->path, NULL, "daemon", -1 }, &face,
	    &w->control, NULL), KSM_OK);
	assert_int_equal(stat(w->path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0666);
	expect_error(ask_as(w, 54321, 54321, 0), "denied", "uid 54321");
	expect_result(ask_as(w, 54321, 54321, gr->gr_gid), CTL_OK, "9.9");
}

static void
a_socket_from_outside_is_used_and_left(void **ctx)
{
	struct world *w = *ctx;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct ksm_fail fail = { .text = "" };
	struct control *none = NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), pair[2];

	control_close(w->control);
	w->control = NULL;
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", w->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(control_open(w->event,
	    &(struct control_want){ w->path, NULL, NULL, fd }, &face,
	    &w->control, NULL), KSM_OK);
	expect_result(ask(w, Q("version", "{}")), CTL_OK, "9.9");
	control_close(w->control);
	w->control = NULL;
	assert_int_equal(access(w->path, F_OK), 0);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(control_open(w->event,
	    &(struct control_want){ w->path, NULL, NULL, pair[0] }, &face,
	    &none, &fail), KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "listening"));
	(void)close(pair[1]);
}

/* ---- the socket file ------------------------------------------------- */

static void
without_a_group_the_socket_is_the_owners_alone(void **ctx)
{
	struct world *w = *ctx;
	struct stat sb;

	assert_int_equal(stat(w->path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
}

static void
a_live_socket_is_left_alone(void **ctx)
{
	struct world *w = *ctx;
	struct ksm_fail fail = { .text = "" };
	struct control *second = NULL;

	assert_int_equal(control_open(w->event,
	    &(struct control_want){ w->path, NULL, NULL, -1 }, &face, &second,
	    &fail), KSM_EBUSY);
	assert_non_null(strstr(fail.text, w->path));
	turn(w);
	expect_result(ask(w, Q("version", "{}")), CTL_OK, "9.9");
}

static void
a_stale_socket_is_replaced(void **ctx)
{
	struct world *w = *ctx;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	control_close(w->control);
	w->control = NULL;
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", w->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	(void)close(fd);
	assert_int_equal(control_open(w->event,
	    &(struct control_want){ w->path, NULL, NULL, -1 }, &face,
	    &w->control, NULL), KSM_OK);
	expect_result(ask(w, Q("version", "{}")), CTL_OK, "9.9");
}

static void
what_cannot_be_a_socket_is_refused_with_words(void **ctx)
{
	struct world *w = *ctx;
	struct ksm_fail fail = { .text = "" };
	struct control *c = NULL;
	char path[128], longest[256];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/file", w->dir);
	f = fopen(path, "w");
	(void)fclose(f);
	assert_int_equal(control_open(w->event,
	    &(struct control_want){ path, NULL, NULL, -1 }, &face, &c, &fail),
	    KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "not a socket"));
	assert_int_equal(access(path, F_OK), 0);
	(void)unlink(path);

	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(control_open(w->event,
	    &(struct control_want){ longest, NULL, NULL, -1 }, &face, &c,
	    &fail), KSM_EREFUSED);
	assert_int_equal(control_open(w->event,
	    &(struct control_want){ path, "no-such-group", NULL, -1 }, &face,
	    &c, &fail), KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "no-such-group"));
	assert_int_equal(access(path, F_OK), -1);

	(void)snprintf(path, sizeof(path), "%s/none/s", w->dir);
	assert_int_equal(control_open(w->event,
	    &(struct control_want){ path, NULL, NULL, -1 }, &face, &c, &fail),
	    KSM_ESYS);
	assert_null(c);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(status_shows_repositories_then_pools_then_the_daemon),
		T(status_asks_for_attention_when_a_pool_is_critical),
		T(status_asks_for_attention_when_a_key_in_use_is_in_no_backup),
		T(status_counts_the_zones_that_are_in_force),
		T(plan_shows_every_term),
		T(an_unknown_command_is_told_what_is_known),
		T(arguments_are_checked_against_the_table),
		T(what_is_not_there_is_an_error_of_its_own),
		T(resume_and_stop_reach_the_daemon),
		T(a_list_comes_whole_and_in_pages),
		T(a_mistyped_name_is_no_all_clear),
		T(keys_after_a_date_ask_for_attention),
		T(keys_after_a_date_may_include_those_being_settled),
		T(a_reader_that_stops_stops_the_list_and_nobody_else),
		T(a_reader_that_dies_in_a_list_costs_only_its_connection),
		T(a_topup_that_nobody_waits_for_answers_at_once),
		T(a_dry_run_has_the_limits_of_the_real_one_and_changes_nothing),
		T(a_waiting_topup_hears_of_progress_and_of_the_end),
		T(a_topup_that_stops_short_asks_for_attention),
		T(a_topup_goes_on_when_its_client_dies),
		T(a_reload_answers_with_the_findings),
		T(a_reload_is_forgotten_when_its_client_dies),
		T(garbage_gets_one_error_line_and_the_door),
		T(a_line_over_64_kib_is_not_read_to_its_end),
		T(half_a_line_is_said_to_be_half),
		T(a_client_may_close_its_sending_half),
		T(a_request_may_come_byte_by_byte),
		T(one_that_asks_gets_the_slot_of_the_oldest_that_does_not),
		T(young_clients_keep_their_slots_and_newcomers_wait),
		T(those_who_wait_for_an_end_are_bounded),
		T(a_dry_run_of_an_errand_waits_as_the_errand_does),
		T(clients_hear_when_the_daemon_stops),
		T(an_inventory_is_looked_at_and_shown_in_pages),
		T(destroying_goes_on_without_its_client_and_looking_does_not),
		T(each_id_of_a_destroying_has_its_answer),
		T(a_dry_run_asks_nothing_of_the_token),
		T(retiring_tells_of_each_key),
		T(a_pause_has_an_end_or_none_and_shows_in_the_status),
		T(the_history_comes_in_pages_and_is_verified),
		T(the_database_is_checked_by_somebody_else),
		T(a_database_that_was_replaced_takes_no_order),
		T(the_log_level_is_shown_and_set),
		T(a_backup_is_committed_only_when_its_keys_are_there),
		T(a_thousand_exceptions_are_found_again),
		T(what_is_being_settled_is_no_all_clear),
		T(a_backup_is_of_one_repository),
		T(the_ledger_is_shown_and_what_is_in_no_backup),
		T(values_of_every_kind_are_checked),
		T(ids_of_another_length_are_left_to_others),
		T(only_root_the_daemon_and_the_group_may_speak),
		T(readers_may_look_and_not_act),
		T(a_socket_from_outside_is_used_and_left),
		T(without_a_group_the_socket_is_the_owners_alone),
		T(a_live_socket_is_left_alone),
		T(a_stale_socket_is_replaced),
		T(what_cannot_be_a_socket_is_refused_with_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
