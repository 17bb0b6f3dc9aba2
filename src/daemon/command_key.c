#include "commands_parts.h"

#include <stdlib.h>
#include <string.h>

#include "ksmpool/clock.h"

#define LIST_PAGE 200 /* rows per command_more */

json_t *
key_json(const struct store_key *k)
{
	char id[KEY_ID_HEX];

	key_id_format(&k->id, id);
	return json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:i, s:s, s:o, s:o}",
	    "id", id,
	    "serial", count_or_null(k->serial, k->serial > 0),
	    "policy", ctl_text(k->pool.policy),
	    "role", key_role_text(k->pool.role),
	    "repository", ctl_text(k->pool.repository),
	    "algorithm", algorithm_json(k->pool.alg),
	    "size", k->pool.bits,
	    "state", key_state_text(k->state),
	    "created", time_json(k->ended),
	    "since", time_json(k->since));
}

static json_t *
key_json_whole(const struct store_key *k)
{
	char pub[2 * DNSKEY_PUB_MAX + 1] = "";
	char digest[2 * sizeof(k->digest) + 1] = "";
	json_t *key = key_json(k);
	size_t len = k->publen < DNSKEY_PUB_MAX ? k->publen : DNSKEY_PUB_MAX;

	if (len > 0) {
		hex_format(k->pub, len, pub);
		hex_format(k->digest, sizeof(k->digest), digest);
	}
	(void)json_object_update_new(key,
	    json_pack("{s:o, s:o, s:o, s:o, s:b, s:b, s:o, s:o, s:o, s:o,"
		" s:o}",
		"was", k->was < KEY__STATES
		    ? json_string(key_state_text(k->was)) : json_null(),
		"why", text_or_null(k->why),
		"intended", time_json(k->intended),
		"started", time_json(k->started),
		"proved", k->proved,
		"adopted", k->adopted,
		"tag_zsk", count_or_null(k->tag_zsk, k->tag_zsk >= 0),
		"tag_ksk", count_or_null(k->tag_ksk, k->tag_ksk >= 0),
		"tag_revoked", count_or_null(k->tag_revoked,
		    k->tag_revoked >= 0),
		"public_key", text_or_null(pub),
		"sha256", text_or_null(digest)));
	return key;
}

struct listing {
	struct key_filter filter; /* its names are borrowed from the args */
	bool backup; /* --created-after: what is in no backup? */
	int64_t cursor, count;
};

/* --older-than and --newer-than, seen from now; with the dates, both hold. */
static void
ages_filter(const struct command_call *call, struct key_filter *f)
{
	int64_t older = arg_integer(call, "older_than", -1);
	int64_t newer = arg_integer(call, "newer_than", -1);
	ksm_time now = clock_wall();

	if (older >= 0 && older < now &&
	    (f->created_before == 0 || now - older < f->created_before))
		f->created_before = now - older;
	else if (older >= now)
		f->created_before = 1;
	if (newer >= 0 && (!f->by_created || now - newer > f->created_after)) {
		f->by_created = true;
		f->created_after = now - newer;
	}
}

static void
key_list_start(struct command_call *call)
{
	const char *state = arg_text(call, "state");
	const char *role = arg_text(call, "role");
	struct listing *l;

	if (!names_check(call, arg_text(call, "policy"),
		arg_text(call, "repository")))
		return;
	l = calloc(1, sizeof(*l));
	if (l == NULL) {
		fail_memory(call);
		return;
	}
	l->backup = l->filter.by_created =
	    json_object_get(call->args, "created_after") != NULL;
	l->filter.created_after = arg_integer(call, "created_after", 0);
	l->filter.by_state = state != NULL &&
	    key_state_find(state, &l->filter.state);
	l->filter.by_role = role != NULL &&
	    key_role_find(role, &l->filter.role);
	l->filter.alg = arg_alg(call, "algorithm");
	l->filter.by_tag = json_object_get(call->args, "tag") != NULL;
	l->filter.tag = (int)arg_integer(call, "tag", 0);
	l->filter.created_before = arg_integer(call, "created_before", 0);
	ages_filter(call, &l->filter);
	l->filter.policy = arg_text(call, "policy");
	l->filter.repository = arg_text(call, "repository");
	call->state = l;
}

struct unsettled {
	const struct key_filter *filter;
	int64_t n;
};

static void
unsettled_add(void *ctx, int64_t pool_row, const struct pool_spec *spec,
    enum key_state state, int64_t n)
{
	struct unsettled *u = ctx;
	const struct key_filter *f = u->filter;

	(void)pool_row;
	if (state == KEY_UNKNOWN &&
	    (f->policy == NULL || strcmp(f->policy, spec->policy) == 0) &&
	    (f->repository == NULL ||
		strcmp(f->repository, spec->repository) == 0) &&
	    (!f->by_role || f->role == spec->role))
		u->n += n;
}

enum ksm_err
unsettled_count(struct command_call *call, const struct key_filter *f,
    int64_t *n, struct ksm_fail *fail)
{
	struct unsettled u = { .filter = f };
	enum ksm_err err = store_counts(call->face->store, unsettled_add, &u,
	    fail);

	*n = u.n;
	return err;
}

/*
 * Whether keys in state unknown exist is not known, so a list of those that
 * exist leaves them out; whoever asks what is in no backup must hear of them.
 */
static void
key_list_end(struct command_call *call, const struct listing *l)
{
	struct ksm_fail fail = { .text = "" };
	json_t *body = json_pack("{s:I}", "count", (json_int_t)l->count);
	enum ksm_err err = KSM_OK;
	int64_t unsettled = 0;

	if (l->backup && !l->filter.by_state) {
		err = unsettled_count(call, &l->filter, &unsettled, &fail);
		if (body != NULL)
			(void)json_object_set_new(body, "unsettled",
			    json_integer(unsettled));
	}
	if (err == KSM_OK) {
		result_send(call, l->backup && l->count > 0
		    ? CTL_ATTENTION : CTL_OK, body);
		return;
	}
	json_decref(body);
	fail_err(call, err, "failed", &fail);
}

static void
key_list_more(struct command_call *call)
{
	struct listing *l = call->state;
	struct store_key *page = NULL;
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err;
	size_t n = 0;

	page = calloc(LIST_PAGE, sizeof(*page));
	if (page == NULL) {
		fail_memory(call);
		goto out;
	}
	err = store_keys_list(call->face->store, &l->filter, &l->cursor, page,
	    LIST_PAGE, &n, &fail);
	if (err != KSM_OK) {
		fail_err(call, err, "failed", &fail);
		goto out;
	}
	for (size_t i = 0; i < n; i++)
		item_send(call, "keys", key_json(&page[i]));
	l->count += (int64_t)n;
	if (n == 0)
		key_list_end(call, l);
out:
	free(page);
}

static void
key_show_start(struct command_call *call)
{
	struct ksm_fail fail = { .text = "" };
	struct store_key key;
	struct key_id id;
	enum ksm_err err;
	int64_t total = 0;
	ksm_time kept = 0;
	json_t *zones, *whole;

	if (!key_id_parse(arg_text(call, "id"), &id)) {
		command_fail(call, CTL_USAGE, "bad-argument", NULL,
		    "argument \"id\" is not 32 hex digits");
		return;
	}
	err = store_key_get(call->face->store, &id, &key, &fail);
	if (err == KSM_ENOENT)
		command_fail(call, CTL_FAILED, "unknown-key",
		    "ksmctl key list shows what there is",
		    "no key with id %s", arg_text(call, "id"));
	else if (err != KSM_OK)
		fail_err(call, err, "unknown-key", &fail);
	else if ((err = engine_key_kept_until(call->face->engine,
		 &key, &kept, &fail)) != KSM_OK ||
	    (err = handout_zones_json(call, &id, &zones, &total, &fail)) !=
		KSM_OK)
		fail_err(call, err, "failed", &fail);
	else {
		whole = key_json_whole(&key);
		(void)json_object_set_new(whole, "kept_until",
		    kept == 0 ? json_null() : time_json(kept));
		result_send(call, CTL_OK,
		    json_pack("{s:o, s:o, s:I}", "key", whole,
			"zones", zones, "zones_total", (json_int_t)total));
	}
}

/* What an order does to each of the keys, and what became of it. */
static void
keys_order(struct command_call *call,
    enum ksm_err (*order)(struct engine *e, const struct key_id *id,
	const char *reason, struct store_actor who, struct ksm_fail *fail))
{
	const json_t *ids = json_object_get(call->args, "ids");
	struct ksm_fail fail;
	int64_t done = 0, refused = 0;
	struct key_id id;
	enum ksm_err err;

	for (size_t i = 0; i < json_array_size(ids); i++) {
		const char *text = json_string_value(json_array_get(ids, i));

		fail.text[0] = '\0';
		err = key_id_parse(text, &id)
		    ? order(call->face->engine, &id, arg_text(call, "reason"),
			  call_actor(call), &fail)
		    : KSM_ENOENT;
		if (err == KSM_ENOENT && fail.text[0] == '\0')
			(void)ksm_failf(&fail, err, "no such key");
		if (err != KSM_OK && err != KSM_ENOENT && err != KSM_EREFUSED) {
			fail_err(call, err, "failed", &fail);
			return;
		}
		done += err == KSM_OK;
		refused += err != KSM_OK;
		item_send(call, "keys",
		    json_pack("{s:o, s:b, s:o}", "id", ctl_text(text), "done",
			err == KSM_OK, "text",
			text_or_null(err == KSM_OK ? NULL : fail.text)));
	}
	result_send(call, refused == 0 ? CTL_OK
		: done == 0	       ? CTL_FAILED
				       : CTL_ATTENTION,
	    json_pack("{s:I, s:I}", "done", (json_int_t)done, "refused",
		(json_int_t)refused));
}

static void
key_retire_start(struct command_call *call)
{
	keys_order(call, engine_key_retire);
}

static void
key_return_start(struct command_call *call)
{
	keys_order(call, engine_key_return);
}

static const struct command_arg key_list_args[] = {
	{ "created_after", ARG_TIME, false },
	{ "created_before", ARG_TIME, false },
	{ "older_than", ARG_DURATION, false },
	{ "newer_than", ARG_DURATION, false },
	{ "algorithm", ARG_ALG, false },
	{ "tag", ARG_TAG, false },
	{ "state", ARG_STATE, false },
	{ "policy", ARG_NAME, false },
	{ "role", ARG_ROLE, false },
	{ "repository", ARG_NAME, false },
};
static const struct command_arg key_retire_args[] = {
	{ "ids", ARG_IDS, true },
	{ "reason", ARG_TEXT, true },
};
static const struct command_arg key_show_args[] = {
	{ "id", ARG_ID, true },
};

static const struct command commands[] = {
	{ .name = "key list", ARGS(key_list_args), .start = key_list_start,
	    .more = key_list_more, .end = state_free },
	{ .name = "key show", ARGS(key_show_args), .start = key_show_start },
	{ .name = "key retire", ARGS(key_retire_args), .right = RIGHT_ACT,
	    .start = key_retire_start },
	{ .name = "key return", ARGS(key_retire_args), .right = RIGHT_ACT,
	    .start = key_return_start },
};

const struct command_group commands_key = { commands, nitems(commands) };
