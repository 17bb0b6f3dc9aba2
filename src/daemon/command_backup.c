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
#define NAMES_TEXT 400

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

/* "a, b and c", or as many of them as there is room for. */
static void
repositories_name(const struct conf *conf, char out[NAMES_TEXT])
{
	size_t len = 0, n = conf->nrepositories;

	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		const char *name = conf->repositories[i].name;

		/* with room for the end, whatever number it names */
		if (len + strlen(name) + 40 >= NAMES_TEXT) {
			(void)snprintf(out + len, NAMES_TEXT - len,
			    " and %zu more", n - i);
			return;
		}
		len += (size_t)snprintf(out + len, NAMES_TEXT - len, "%s%s",
		    i == 0 ? "" : i + 1 == n ? " and " : ", ", name);
	}
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
	char names[NAMES_TEXT];

	if (plan_in_force(call, &conf) == NULL ||
	    (name != NULL && !names_check(call, NULL, name)))
		return NULL;
	if (name != NULL)
		return name;
	if (conf->nrepositories == 1)
		return conf->repositories[0].name;
	if (conf->nrepositories == 0) {
		command_fail(call, CTL_FAILED, "unknown-repository",
		    "--repository names one of former times",
		    "no repository is configured");
		return NULL;
	}
	repositories_name(conf, names);
	command_fail(call, CTL_USAGE, "bad-argument", "--repository NAME",
	    "there are %zu repositories, %s; say which one",
	    conf->nrepositories, names);
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
	if (err != KSM_OK) {
		fail_err(call, err, "unknown-backup", fail);
		return;
	}
	result_send(call, CTL_OK,
	    json_pack("{s:o}", "backup", backup_json(b)));
	call->face->kick(call->face->ctx); /* more may be usable now */
}

static const char *
text_of(const struct command_call *call, const char *name)
{
	const char *text = arg_text(call, name);

	return text != NULL ? text : "";
}

/* What nobody configures is not looked at, so it could not be committed. */
static bool
repository_configured(struct command_call *call, const char *name)
{
	if (conf_repository_find(engine_conf(call->face->engine), name) != NULL)
		return true;
	command_fail(call, CTL_FAILED, "unknown-repository",
	    "ksmctl repository list names those that are",
	    "%s: repository %s is not configured any more",
	    call->command->name, name);
	return false;
}

static void
begin_start(struct command_call *call)
{
	const char *repository = repository_of(call);
	const char *label = arg_text(call, "label");
	struct ksm_fail fail = { .text = "" };
	struct store_backup b;
	enum ksm_err err;

	if (repository != NULL && label != NULL &&
	    store_backup_label(label, &fail) != KSM_OK) {
		command_fail(call, CTL_USAGE, "bad-argument", NULL, "%s",
		    fail.text);
		return;
	}
	if (repository == NULL || !repository_configured(call, repository) ||
	    !ledger_begin(call))
		return;
	err = store_backup_begin(call->face->store, repository, label,
	    text_of(call, "note"), text_of(call, "medium"), clock_wall(),
	    call_actor(call), &b, &fail);
	err = engine_order_end(call->face->engine, err, "keep the ledger",
	    &fail);
	if (err != KSM_OK) {
		fail_err(call, err, "unknown-repository", &fail);
		return;
	}
	/* Where there are several, commit must be told which, too. */
	result_send(call, CTL_OK, json_pack("{s:o, s:I}",
	    "backup", backup_json(&b), "repositories",
	    (json_int_t)engine_conf(call->face->engine)->nrepositories));
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

/* What of an inventory stands against a key; what others own does not. */
#define AGAINST                                             \
	(FOUND_BIT(FOUND_MISSING) | FOUND_BIT(FOUND_HALF) | \
	    FOUND_BIT(FOUND_DOUBLED))

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
		.repository = repository, .sorts = AGAINST,
		.who = call_actor(call) };
	struct ksm_fail fail = { .text = "" };
	struct closing *c;
	enum ksm_err err;

	if (repository == NULL || !repository_configured(call, repository))
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
	qsort(c->except, c->nexcept, sizeof(*c->except), key_id_order);
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
	return bsearch(id, c->except, c->nexcept, sizeof(*id), key_id_order) !=
	    NULL;
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
	switch (f == NULL ? FOUND__COUNT : f->sort) {
	case FOUND_MISSING:
		return "it is not in the token";
	case FOUND_HALF:
		return "only a half of it is in the token";
	case FOUND_DOUBLED:
		return "several objects in the token carry its id";
	default: /* seen again, and no look has said so yet */
		return k->state == KEY_MISSING
		    ? "it is on record as missing from the token" : NULL;
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
	if (s.failed) {
		command_fail(call, CTL_FAILED, "failed",
		    "nothing was marked; the backup is still open",
		    "the token could not be looked at: %s", s.text);
		return;
	}
	if (s.cut) {
		command_fail(call, CTL_FAILED, "refused",
		    "ksmctl inventory; the backup is still open",
		    "more than %d keys of repository %s are not whole in the "
		    "token (%lld missing, %lld half, %lld doubled): that they "
		    "are in a backup cannot be seen",
		    FOUND_MOST, c->backup.repository,
		    (long long)s.counts[FOUND_MISSING],
		    (long long)s.counts[FOUND_HALF],
		    (long long)s.counts[FOUND_DOUBLED]);
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

/* ---- check: what no backup has, pool by pool ---------------------- */

struct check_pool {
	int64_t row;
	struct pool_spec spec;
	int64_t keys; /* found so far */
	ksm_time oldest; /* of them; 0: not known */
};

struct checking {
	const char *repository; /* borrowed from the arguments; NULL: all */
	ksm_time at;
	struct check_pool *pools; /* malloc'd: those that may have such keys */
	size_t npools, pool;	  /* the one at hand */
	int64_t cursor, count;
	int64_t unsettled; /* as it began: what is settled now is listed */
	bool failed;
};

static void
checking_free(struct command_call *call)
{
	struct checking *c = call->state;

	if (c != NULL)
		free(c->pools);
	state_free(call);
}

static void
check_pool_note(void *ctx, int64_t pool_row, const struct pool_spec *spec,
    enum key_state state, int64_t covered, int64_t uncovered)
{
	struct checking *c = ctx;
	struct check_pool *more;

	(void)state;
	/* Backups that began after `at` do not count. */
	if ((uncovered == 0 && (c->at == 0 || covered == 0)) ||
	    (c->repository != NULL &&
		strcmp(c->repository, spec->repository) != 0) ||
	    (c->npools > 0 && c->pools[c->npools - 1].row == pool_row))
		return;
	more = reallocarray(c->pools, c->npools + 1, sizeof(*more));
	if (more == NULL) {
		c->failed = true;
		return;
	}
	c->pools = more;
	c->pools[c->npools++] =
	    (struct check_pool){ .row = pool_row, .spec = *spec };
}

static void
check_start(struct command_call *call)
{
	const char *repository = arg_text(call, "repository");
	ksm_time at = arg_integer(call, "at", 0), now = clock_wall();
	struct key_filter all = { .repository = repository };
	struct ksm_fail fail = { .text = "" };
	char text[TIME_TEXT];
	struct checking *c;
	enum ksm_err err;

	if (at > now) {
		time_format(at, text);
		command_fail(call, CTL_USAGE, "bad-argument", NULL,
		    "%s lies in the future", text);
		return;
	}
	if (repository != NULL && !names_check(call, NULL, repository))
		return;
	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		fail_memory(call);
		return;
	}
	call->state = c;
	c->repository = repository;
	c->at = at;
	err = unsettled_count(call, &all, &c->unsettled, &fail);
	if (err == KSM_OK)
		err = store_cover_counts(call->face->store, check_pool_note, c,
		    &fail);
	if (err != KSM_OK)
		fail_err(call, err, "failed", &fail);
	else if (c->failed)
		fail_memory(call);
}

/* What is being settled may be in the token, and is in no backup. */
static void
check_end(struct command_call *call, const struct checking *c)
{
	result_send(call,
	    c->count + c->unsettled > 0 ? CTL_ATTENTION : CTL_OK,
	    json_pack("{s:I, s:I}", "count", (json_int_t)c->count, "unsettled",
		(json_int_t)c->unsettled));
}

static void
check_pool_end(struct command_call *call, struct checking *c)
{
	const struct check_pool *p = &c->pools[c->pool++];

	c->cursor = 0;
	c->count += p->keys;
	if (p->keys == 0)
		return;
	item_send(call, "pools",
	    json_pack("{s:o, s:s, s:o, s:o, s:i, s:I, s:o, s:o}",
		"policy", ctl_text(p->spec.policy),
		"role", key_role_text(p->spec.role),
		"repository", ctl_text(p->spec.repository),
		"algorithm", algorithm_json(p->spec.alg),
		"size", p->spec.bits,
		"uncovered", (json_int_t)p->keys,
		"oldest", time_json(p->oldest),
		"oldest_age_s",
		count_or_null(clock_wall() - p->oldest, p->oldest > 0)));
}

/* A page of the pool at hand. */
static void
check_more(struct command_call *call)
{
	struct checking *c = call->state;
	struct store_key *page = NULL;
	struct ksm_fail fail = { .text = "" };
	ksm_time now = clock_wall();
	struct check_pool *p;
	enum ksm_err err;
	size_t n = 0;
	json_t *key;

	if (c->pool == c->npools) {
		check_end(call, c);
		return;
	}
	p = &c->pools[c->pool];
	page = calloc(LIST_PAGE, sizeof(*page));
	if (page == NULL) {
		fail_memory(call);
		return;
	}
	err = store_uncovered_list(call->face->store, NULL, p->row, c->at,
	    &c->cursor, page, LIST_PAGE, &n, &fail);
	for (size_t i = 0; err == KSM_OK && i < n; i++) {
		ksm_time ended = page[i].ended;

		key = key_json(&page[i]);
		(void)json_object_set_new(key, "age_s",
		    count_or_null(now - ended, ended > 0));
		item_send(call, "keys", key);
		if (ended > 0 && (p->oldest == 0 || ended < p->oldest))
			p->oldest = ended;
	}
	p->keys += (int64_t)n;
	if (err != KSM_OK)
		fail_err(call, err, "failed", &fail);
	else if (n == 0)
		check_pool_end(call, c);
	free(page);
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
	    .more = check_more, .end = checking_free },
};

const struct command_group commands_backup = { commands, nitems(commands) };
