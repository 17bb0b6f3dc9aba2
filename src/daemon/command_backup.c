/*
 * command_backup.c - the ledger of HSM backups.
 *
 *   backup begin     freezes a set; then the operator backs the HSM up
 *   backup commit    INVENTORY: each key of the set must be in the token; then
 *                    the set is marked
 *   backup rollback  forgets it
 *   backup record    a backup that ran by itself, told afterwards
 */
#include "commands_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/clock.h"
#include "ksmpool/duration.h"

#include "store_backup.h"

#define LIST_PAGE 200
#define SET_PAGE  1000

static json_t *
backup_json(const struct store_backup *b)
{
	return json_pack("{s:o, s:o, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:I,"
	    " s:I, s:I}",
	    "repository", ctl_text(b->repository),
	    "label", ctl_text(b->label),
	    "state", backup_state_text(b->state),
	    "recorded", b->recorded,
	    "started", time_json(b->started),
	    "finished", time_json(b->finished),
	    "uid", count_or_null(b->who.uid, b->who.uid >= 0),
	    "note", text_or_null(b->note),
	    "medium", text_or_null(b->medium),
	    "frozen", (json_int_t)b->frozen,
	    "covered", (json_int_t)b->covered,
	    "skipped", (json_int_t)b->skipped);
}

/*
 * The one that was named, or the only one there is. What was in force once may
 * have backups still. NULL: the caller was told.
 */
static const char *
repository_of(struct command_call *call)
{
	const char *name = arg_text(call, "repository");
	const struct conf *conf;

	if (plan_in_force(call, &conf) == NULL ||
	    (name != NULL && !names_check(call, NULL, name)))
		return NULL;
	if (name != NULL)
		return name;
	if (conf->nrepositories == 1)
		return conf->repositories[0].name;
	command_fail(call, CTL_FAILED, "bad-argument",
	    "ksmctl repository list names them",
	    "%s: there are %zu repositories; say which one",
	    call->command->name, conf->nrepositories);
	return NULL;
}

/* False: the caller was told. */
static bool
ledger_begin(struct command_call *call)
{
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err = engine_order_begin(call->face->engine,
	    call_actor(call), &fail);

	if (err != KSM_OK)
		fail_err(call, err, "failed", &fail);
	return err == KSM_OK;
}

/* A change of the ledger is on disk before it is answered. */
static void
ledger_answer(struct command_call *call, enum ksm_err err,
    const struct store_backup *b, struct ksm_fail *fail)
{
	err = engine_order_end(call->face->engine, err, "keep the ledger",
	    fail);
	if (err != KSM_OK)
		fail_err(call, err, "unknown-backup", fail);
	else
		result_send(call, CTL_OK,
		    json_pack("{s:o}", "backup", backup_json(b)));
}

static const char *
text_of(const struct command_call *call, const char *name)
{
	const char *text = arg_text(call, name);

	return text != NULL ? text : "";
}

static void
begin_start(struct command_call *call)
{
	const char *repository = repository_of(call);
	struct ksm_fail fail = { .text = "" };
	struct store_backup b;
	enum ksm_err err;

	if (repository == NULL || !ledger_begin(call))
		return;
	err = store_backup_begin(call->face->store, repository,
	    arg_text(call, "label"), text_of(call, "note"),
	    text_of(call, "medium"), clock_wall(), call_actor(call), &b, &fail);
	ledger_answer(call, err, &b, &fail);
}

static void
rollback_start(struct command_call *call)
{
	const char *repository = repository_of(call);
	struct ksm_fail fail = { .text = "" };
	struct store_backup b;
	enum ksm_err err;

	if (repository == NULL || !ledger_begin(call))
		return;
	err = store_backup_rollback(call->face->store, repository,
	    arg_text(call, "label"), clock_wall(), call_actor(call), &b, &fail);
	ledger_answer(call, err, &b, &fail);
}

static void
record_start(struct command_call *call)
{
	const char *repository = repository_of(call);
	struct ksm_fail fail = { .text = "" };
	struct store_backup b;
	enum ksm_err err;

	if (repository == NULL || !ledger_begin(call))
		return;
	err = store_backup_record(call->face->store, repository,
	    arg_integer(call, "started", 0), arg_integer(call, "finished", 0),
	    text_of(call, "note"), text_of(call, "medium"), clock_wall(),
	    call_actor(call), &b, &fail);
	ledger_answer(call, err, &b, &fail);
}

/* ---- commit ----------------------------------------------------------- */

struct closing {
	struct store_backup backup;
	int64_t ticket; /* 0: none */
	struct key_id *except; /* malloc'd */
	size_t nexcept;
	int64_t refused, skipped;
};

static void
closing_free(struct command_call *call)
{
	struct closing *c = call->state;

	if (c == NULL)
		return;
	if (c->ticket != 0)
		engine_errand_forget(call->face->engine, c->ticket);
	free(c->except);
	free(c);
	call->state = NULL;
}

static void
commit_start(struct command_call *call)
{
	const json_t *ids = json_object_get(call->args, "except");
	const char *repository = repository_of(call);
	struct errand_want want = { .kind = ERRAND_INVENTORY,
		.repository = repository, .who = call_actor(call) };
	struct ksm_fail fail = { .text = "" };
	struct closing *c;
	enum ksm_err err;

	if (repository == NULL)
		return;
	c = calloc(1, sizeof(*c));
	if (c != NULL)
		c->except = calloc(json_array_size(ids) + 1,
		    sizeof(*c->except));
	call->state = c;
	if (c == NULL || c->except == NULL) {
		fail_memory(call);
		return;
	}
	for (size_t i = 0; i < json_array_size(ids); i++)
		if (key_id_parse(json_string_value(json_array_get(ids, i)),
			&c->except[c->nexcept]))
			c->nexcept++;
	err = store_backup_get(call->face->store, repository,
	    arg_text(call, "label"), &c->backup, &fail);
	if (err == KSM_OK && c->backup.state != BACKUP_OPEN)
		err = ksm_failf(&fail, KSM_EREFUSED,
		    "backup %s of repository %s is %s already",
		    c->backup.label, repository,
		    backup_state_text(c->backup.state));
	if (err == KSM_OK)
		err = engine_errand(call->face->engine, &want, &c->ticket,
		    &fail);
	if (err != KSM_OK) {
		fail_err(call, err, "unknown-backup", &fail);
		return;
	}
	call->face->kick(call->face->ctx);
}

static bool
is_excepted(const struct closing *c, const struct key_id *id)
{
	for (size_t i = 0; i < c->nexcept; i++)
		if (key_id_cmp(&c->except[i], id) == 0)
			return true;
	return false;
}

/* What the inventory says against it; they are in order of id. */
static const struct errand_found *
found_of(const struct errand_state *s, const char *hex)
{
	size_t low = 0, high = s->nfound, middle;
	int d;

	while (low < high) {
		middle = low + (high - low) / 2;
		d = strcmp(s->found[middle].id, hex);
		if (d == 0)
			return &s->found[middle];
		if (d < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* One key of the set; NULL: nothing stands against it. */
static const char *
against(const struct errand_state *s, const struct backup_key *k,
    const char *hex, bool *history)
{
	const struct errand_found *f = found_of(s, hex);

	*history = k->state == KEY_DESTROYED || k->state == KEY_DESTROYING ||
	    k->state == KEY_CONSUMED;
	if (*history)
		return "it was destroyed in between; it is skipped";
	if (k->state == KEY_MISSING)
		return "it is missing from the token";
	if (f == NULL)
		return NULL;
	switch (f->sort) {
	case FOUND_MISSING:
		return "it is not in the token";
	case FOUND_HALF:
		return "only a half of it is in the token";
	case FOUND_DOUBLED:
		return "several objects in the token carry its id";
	default:
		return NULL;
	}
}

/* False: the caller was told. */
static bool
set_check(struct command_call *call, const struct errand_state *s)
{
	struct closing *c = call->state;
	struct backup_key *page = calloc(SET_PAGE, sizeof(*page));
	struct ksm_fail fail = { .text = "" };
	char hex[KEY_ID_HEX];
	enum ksm_err err = KSM_OK;
	int64_t cursor = 0;
	size_t n = 1;

	if (page == NULL) {
		fail_memory(call);
		return false;
	}
	while (n > 0) {
		err = store_backup_keys(call->face->store, c->backup.row,
		    &cursor, page, SET_PAGE, &n, &fail);
		if (err != KSM_OK) {
			fail_err(call, err, "failed", &fail);
			break;
		}
		for (size_t i = 0; i < n; i++) {
			const char *why;
			bool history;

			key_id_format(&page[i].id, hex);
			why = against(s, &page[i], hex, &history);
			if (why == NULL)
				continue;
			if (history || is_excepted(c, &page[i].id))
				c->skipped++;
			else
				c->refused++;
			item_send(call, "keys",
			    json_pack("{s:s, s:b, s:s}", "id", hex, "done",
				history || is_excepted(c, &page[i].id), "text",
				why));
		}
	}
	free(page);
	return err == KSM_OK;
}

static void
commit_poll(struct command_call *call)
{
	struct closing *c = call->state;
	struct ksm_fail fail = { .text = "" };
	struct store_backup b;
	struct errand_state s;
	enum ksm_err err;

	if (engine_errand_state(call->face->engine, c->ticket, &s) != KSM_OK) {
		c->ticket = 0;
		command_fail(call, CTL_FAILED, "failed", NULL,
		    "the daemon lost sight of its inventory");
		return;
	}
	if (!s.done)
		return;
	if (s.failed || s.text[0] != '\0') {
		command_fail(call, CTL_FAILED, "failed",
		    "nothing was marked; the backup is still open",
		    "the token could not be looked at: %s", s.text);
		return;
	}
	if (!set_check(call, &s))
		return;
	if (c->refused > 0) {
		command_fail(call, CTL_FAILED, "refused",
		    "--except ID leaves a key out; the backup is still open",
		    "%lld keys of the set are not whole in the token: were "
		    "they when it was backed up?",
		    (long long)c->refused);
		return;
	}
	if (!ledger_begin(call))
		return;
	err = store_backup_commit(call->face->store, c->backup.repository,
	    c->backup.label, c->except, c->nexcept, clock_wall(),
	    call_actor(call), &b, &fail);
	ledger_answer(call, err, &b, &fail);
}

/* ---- looking ---------------------------------------------------------- */

struct page_of {
	int64_t cursor, count;
	int64_t backup; /* row */
	ksm_time at;
	const char *repository; /* borrowed from the arguments; NULL: all */
};

static struct page_of *
page_new(struct command_call *call)
{
	const char *repository = arg_text(call, "repository");
	struct page_of *p;

	if (repository != NULL && !names_check(call, NULL, repository))
		return NULL;
	p = calloc(1, sizeof(*p));
	if (p == NULL) {
		fail_memory(call);
		return NULL;
	}
	p->repository = repository;
	call->state = p;
	return p;
}

static void
list_start(struct command_call *call)
{
	(void)page_new(call);
}

static void
list_more(struct command_call *call)
{
	struct page_of *p = call->state;
	struct store_backup *page = calloc(LIST_PAGE, sizeof(*page));
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err;
	size_t n = 0;

	if (page == NULL) {
		fail_memory(call);
		return;
	}
	err = store_backup_list(call->face->store, p->repository, &p->cursor,
	    page, LIST_PAGE, &n, &fail);
	for (size_t i = 0; err == KSM_OK && i < n; i++)
		item_send(call, "backups", backup_json(&page[i]));
	p->count += (int64_t)n;
	if (err != KSM_OK)
		fail_err(call, err, "failed", &fail);
	else if (n == 0)
		result_send(call, CTL_OK,
		    json_pack("{s:I}", "count", (json_int_t)p->count));
	free(page);
}

static void
show_start(struct command_call *call)
{
	const char *repository = repository_of(call);
	struct ksm_fail fail = { .text = "" };
	struct store_backup b;
	struct page_of *p;
	enum ksm_err err;

	if (repository == NULL)
		return;
	err = store_backup_get(call->face->store, repository,
	    arg_text(call, "label"), &b, &fail);
	if (err != KSM_OK) {
		fail_err(call, err, "unknown-backup", &fail);
		return;
	}
	p = page_new(call);
	if (p != NULL)
		p->backup = b.row;
}

static void
show_end(struct command_call *call, const struct page_of *p)
{
	const char *repository = repository_of(call);
	struct ksm_fail fail = { .text = "" };
	struct store_backup b;
	enum ksm_err err;

	if (repository == NULL)
		return;
	err = store_backup_get(call->face->store, repository,
	    arg_text(call, "label"), &b, &fail);
	if (err != KSM_OK)
		fail_err(call, err, "unknown-backup", &fail);
	else
		result_send(call, CTL_OK, json_pack("{s:o, s:I}", "backup",
		    backup_json(&b), "count", (json_int_t)p->count));
}

static void
show_more(struct command_call *call)
{
	struct page_of *p = call->state;
	struct backup_key page[LIST_PAGE];
	struct ksm_fail fail = { .text = "" };
	char hex[KEY_ID_HEX];
	enum ksm_err err;
	size_t n = 0;

	err = store_backup_keys(call->face->store, p->backup, &p->cursor, page,
	    LIST_PAGE, &n, &fail);
	for (size_t i = 0; err == KSM_OK && i < n; i++) {
		key_id_format(&page[i].id, hex);
		item_send(call, "keys",
		    json_pack("{s:s, s:s, s:b}", "id", hex, "state",
			key_state_text(page[i].state), "covered",
			page[i].covered));
	}
	p->count += (int64_t)n;
	if (err != KSM_OK)
		fail_err(call, err, "failed", &fail);
	else if (n == 0)
		show_end(call, p);
}

static void
check_start(struct command_call *call)
{
	ksm_time at = arg_integer(call, "at", 0), now = clock_wall();
	char text[TIME_TEXT];
	struct page_of *p;

	if (at > now) {
		time_format(at, text);
		command_fail(call, CTL_FAILED, "bad-argument", NULL,
		    "backup check: %s lies in the future", text);
		return;
	}
	p = page_new(call);
	if (p != NULL)
		p->at = at;
}

static void
check_more(struct command_call *call)
{
	struct page_of *p = call->state;
	struct store_key *page = calloc(LIST_PAGE, sizeof(*page));
	struct ksm_fail fail = { .text = "" };
	ksm_time now = clock_wall();
	enum ksm_err err;
	size_t n = 0;
	json_t *key;

	if (page == NULL) {
		fail_memory(call);
		return;
	}
	err = store_uncovered_list(call->face->store, p->repository, p->at,
	    &p->cursor, page, LIST_PAGE, &n, &fail);
	for (size_t i = 0; err == KSM_OK && i < n; i++) {
		key = key_json(&page[i]);
		(void)json_object_set_new(key, "age_s",
		    count_or_null(now - page[i].ended, page[i].ended > 0));
		item_send(call, "keys", key);
	}
	p->count += (int64_t)n;
	if (err != KSM_OK)
		fail_err(call, err, "failed", &fail);
	else if (n == 0)
		result_send(call, p->count > 0 ? CTL_ATTENTION : CTL_OK,
		    json_pack("{s:I}", "count", (json_int_t)p->count));
	free(page);
}

/* ---- what status says ------------------------------------------------- */

struct cover_sum {
	const char *repository;
	const struct plan *plan;
	int64_t *ready; /* covered ready keys, per pool of the plan */
	int64_t covered, uncovered;
};

static void
cover_add(void *ctx, int64_t pool_row, const struct pool_spec *spec,
    enum key_state state, int64_t covered, int64_t uncovered)
{
	struct cover_sum *sum = ctx;

	(void)pool_row;
	if (strcmp(spec->repository, sum->repository) != 0)
		return;
	sum->covered += covered;
	sum->uncovered += uncovered;
	for (size_t i = 0; state == KEY_READY && i < sum->plan->npools; i++) {
		const struct plan_pool *p = &sum->plan->pools[i];

		if (strcmp(p->policy, spec->policy) == 0 &&
		    p->role == spec->role && p->alg == spec->alg &&
		    p->bits == spec->bits &&
		    strcmp(p->repository, spec->repository) == 0)
			sum->ready[i] += covered;
	}
}

/* Of the pool whose covered keys last shortest: -1 not even now. */
static int64_t
covered_last(const struct cover_sum *sum)
{
	int64_t least = INT64_MAX, lasts;

	for (size_t i = 0; i < sum->plan->npools; i++) {
		const struct plan_pool *p = &sum->plan->pools[i];

		if (strcmp(p->repository, sum->repository) != 0 ||
		    p->required == 0)
			continue;
		lasts = plan_pool_lasts(p, sum->ready[i]);
		least = lasts < least ? lasts : least;
	}
	return least;
}

json_t *
backup_summary(struct command_call *call, const struct plan *plan,
    const struct conf_repository *r)
{
	struct store *st = call->face->store;
	struct cover_sum sum = { .repository = r->name, .plan = plan,
		.ready = calloc(plan->npools + 1, sizeof(*sum.ready)) };
	struct store_backup last, open;
	struct ksm_fail fail;
	ksm_time oldest = 0, now = clock_wall(), until = 0;
	bool have_last, have_open, ok;
	int64_t lasts = -1;
	json_t *summary;

	have_last = store_backup_last(st, r->name, &last, &fail) == KSM_OK;
	have_open =
	    store_backup_get(st, r->name, NULL, &open, &fail) == KSM_OK;
	ok = sum.ready != NULL &&
	    store_cover_counts(st, cover_add, &sum, &fail) == KSM_OK &&
	    store_uncovered_oldest(st, r->name, &oldest, &fail) == KSM_OK;
	if (ok)
		lasts = covered_last(&sum);
	if (lasts >= 0 && __builtin_add_overflow(now, lasts, &until))
		until = 0;
	summary = json_pack("{s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o,"
	    " s:o, s:b, s:o, s:o}",
	    "repository", ctl_text(r->name),
	    "required", r->require_backup,
	    "covered", count_or_null(sum.covered, ok),
	    "uncovered", count_or_null(sum.uncovered, ok),
	    "oldest_uncovered", time_json(oldest),
	    "oldest_uncovered_s", count_or_null(oldest, oldest > 0),
	    "last", have_last ? time_json(last.started) : json_null(),
	    "last_s", have_last ? json_integer(last.started) : json_null(),
	    "last_label", have_last ? ctl_text(last.label) : json_null(),
	    "open", have_open ? ctl_text(open.label) : json_null(),
	    "suffices", ok && lasts >= 0,
	    "lasts_until", time_json(lasts == INT64_MAX ? 0 : until),
	    "lasts_until_s",
	    count_or_null(until, lasts != INT64_MAX && until > 0));
	free(sum.ready);
	return summary;
}

/* ---- the table -------------------------------------------------------- */

static const struct command_arg begin_args[] = {
	{ "repository", ARG_NAME, false },
	{ "label", ARG_NAME, false },
	{ "note", ARG_TEXT, false },
	{ "medium", ARG_TEXT, false },
};
static const struct command_arg commit_args[] = {
	{ "label", ARG_NAME, true },
	{ "repository", ARG_NAME, false },
	{ "except", ARG_IDS, false },
};
static const struct command_arg one_args[] = {
	{ "label", ARG_NAME, true },
	{ "repository", ARG_NAME, false },
};
static const struct command_arg record_args[] = {
	{ "repository", ARG_NAME, false },
	{ "started", ARG_TIME, true },
	{ "finished", ARG_TIME, false },
	{ "note", ARG_TEXT, false },
	{ "medium", ARG_TEXT, false },
};
static const struct command_arg list_args[] = {
	{ "repository", ARG_NAME, false },
};
static const struct command_arg check_args[] = {
	{ "repository", ARG_NAME, false },
	{ "at", ARG_TIME, false },
};

static const struct command commands[] = {
	{ .name = "backup begin", ARGS(begin_args), .right = RIGHT_ACT,
	    .start = begin_start },
	{ .name = "backup commit", ARGS(commit_args), .right = RIGHT_ACT,
	    .start = commit_start, .poll = commit_poll, .end = closing_free },
	{ .name = "backup rollback", ARGS(one_args), .right = RIGHT_ACT,
	    .start = rollback_start },
	{ .name = "backup record", ARGS(record_args), .right = RIGHT_ACT,
	    .start = record_start },
	{ .name = "backup list", ARGS(list_args), .start = list_start,
	    .more = list_more, .end = state_free },
	{ .name = "backup show", ARGS(one_args), .start = show_start,
	    .more = show_more, .end = state_free },
	{ .name = "backup check", ARGS(check_args), .start = check_start,
	    .more = check_more, .end = state_free },
};

const struct command_group commands_backup = { commands, nitems(commands) };
