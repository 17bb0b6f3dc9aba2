/*
 * command_errand.c - what operators have done in a token: inventory, adopt,
 * clean, destroy.
 *
 * All go by errands of the engine (engine.h), one repository at a time. A
 * client that is gone leaves a destroying errand running: what was asked of
 * the token is finished and recorded all the same.
 */
#include "commands_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/clock.h"
#include "ksmpool/duration.h"

#define FOUND_PAGE     200
#define PROGRESS_EVERY 250 /* ms */
#define READERS_EVERY  (60 * 1000) /* ms between inventories of readers */
#define SETTLE_MOST    (10 * 60 * 1000) /* ms until adopt stops waiting */

/* When readers, all of them together, may take an inventory again. */
static ksm_msec readers_next;

/*
 *   inventory          each repository: INVENTORY, its pages, the next
 *   inventory adopt    INVENTORY, a row, wait until it is settled
 *   inventory clean    INVENTORY for debris, then SWEEP; or CLEAN
 *   key destroy        DESTROY for each repository that has some of the ids
 */
enum errand_step { STEP_ASK, STEP_WAIT, STEP_PAGES, STEP_SETTLE };

struct chore {
	enum errand_step step;
	char **repositories; /* malloc'd, the names too */
	size_t nrepositories, at;
	struct key_id *ids; /* malloc'd */
	size_t nids;
	unsigned sorts;	/* that an inventory is asked to list */
	int64_t ticket; /* 0: none */
	bool ours;	/* the errand only looks: give it up with the client */
	size_t page;	/* the next found to be sent */
	int64_t done, refused, attention, failed;
	ksm_msec said, since;
};

static void
chore_free(struct command_call *call)
{
	struct chore *c = call->state;

	if (c == NULL)
		return;
	if (c->ticket != 0 && (c->ours || call->done))
		engine_errand_forget(call->face->engine, c->ticket);
	for (size_t i = 0; i < c->nrepositories; i++)
		free(c->repositories[i]);
	free(c->repositories);
	free(c->ids);
	free(c);
	call->state = NULL;
}

static bool
repository_add(struct chore *c, const char *name)
{
	char **more, *copy;

	for (size_t i = 0; i < c->nrepositories; i++)
		if (strcmp(c->repositories[i], name) == 0)
			return true;
	more = reallocarray(c->repositories, c->nrepositories + 1,
	    sizeof(*more));
	if (more == NULL)
		return false;
	c->repositories = more;
	copy = strdup(name);
	if (copy == NULL)
		return false;
	c->repositories[c->nrepositories++] = copy;
	return true;
}

/* The one that was named, or all there are. False: the caller was told. */
static bool
repositories_of(struct command_call *call, struct chore *c, const char *name)
{
	const struct conf *conf = engine_conf(call->face->engine);
	bool ok = true;

	if (name != NULL && conf_repository_find(conf, name) == NULL) {
		command_fail(call, CTL_FAILED, "unknown-repository",
		    "ksmctl repository list names them", "no repository '%s'",
		    name);
		return false;
	}
	for (size_t i = 0; ok && i < conf->nrepositories; i++)
		if (name == NULL ||
		    strcmp(conf->repositories[i].name, name) == 0)
			ok = repository_add(c, conf->repositories[i].name);
	if (!ok)
		fail_memory(call);
	return ok;
}

static struct chore *
chore_new(struct command_call *call)
{
	const struct conf *conf;
	struct chore *c = NULL;

	if (plan_in_force(call, &conf) == NULL)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		fail_memory(call);
	call->state = c;
	return c;
}

/* Ask for the next errand. False: the caller was told, the command ends. */
static bool
errand_ask(struct command_call *call, const struct errand_want *want)
{
	struct chore *c = call->state;
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err;

	err = engine_errand(call->face->engine, want, &c->ticket, &fail);
	if (err != KSM_OK) {
		c->ticket = 0;
		fail_err(call, err, "unknown-repository", &fail);
		return false;
	}
	c->ours = want->kind == ERRAND_INVENTORY;
	c->step = STEP_WAIT;
	call->face->kick(call->face->ctx);
	return true;
}

/* True when the errand that runs is done; *s is its end. */
static bool
errand_ended(struct command_call *call, struct errand_state *s)
{
	struct chore *c = call->state;
	struct ctl_reply r = { .type = CTL_PROGRESS };
	ksm_msec now = clock_steady();
	size_t done = 0;

	if (engine_errand_state(call->face->engine, c->ticket, s) != KSM_OK) {
		c->ticket = 0;
		command_fail(call, CTL_FAILED, "failed", NULL,
		    "the daemon lost sight of this errand");
		return false;
	}
	if (s->done || s->nitems == 0 || now - c->said < PROGRESS_EVERY)
		return s->done;
	c->said = now;
	for (size_t i = 0; i < s->nitems; i++)
		done += s->items[i].done || s->items[i].text[0] != '\0';
	r.done = (int64_t)done;
	r.total = (int64_t)s->nitems;
	reply_send(call, &r);
	return false;
}

static void
errand_close(struct command_call *call)
{
	struct chore *c = call->state;

	engine_errand_forget(call->face->engine, c->ticket);
	c->ticket = 0;
}

/* ---- inventory -------------------------------------------------------- */

static bool
needs_a_look(enum found_sort sort)
{
	return sort != FOUND_OURS && sort != FOUND_FOREIGN &&
	    sort != FOUND_OTHER;
}

static json_t *
found_json(const char *repository, const struct errand_found *f)
{
	static const char *const types[] = { "RSA", "DSA", "DH", "EC" };
	const char *type = f->key_type == 0x40 ? "EdDSA"
	    : f->key_type >= 0 && f->key_type < (int64_t)nitems(types)
	    ? types[f->key_type] : NULL;

	return json_pack("{s:o, s:s, s:o, s:I, s:i, s:i, s:i, s:o, s:o, s:o,"
	    " s:o}",
	    "repository", ctl_text(repository),
	    "sort", found_sort_text(f->sort),
	    "id", text_or_null(f->id),
	    "id_bytes", (json_int_t)f->idlen,
	    "privates", f->privates,
	    "publics", f->publics,
	    "others", f->others,
	    "label", text_or_null(f->label),
	    "key_type", text_or_null(type),
	    "size", count_or_null(f->bits, f->bits > 0),
	    "state", f->on_record ? json_string(key_state_text(f->state))
				  : json_null());
}

/* Of the ids that were named, if any were. */
static void
inventory_ask(struct command_call *call)
{
	struct chore *c = call->state;
	struct errand_want want = { .kind = ERRAND_INVENTORY,
		.sorts = c->sorts,
		.only = c->ids,
		.nonly = c->nids,
		.who = call_actor(call) };

	want.repository = c->repositories[c->at];
	if (errand_ask(call, &want) && !call->may_act)
		readers_next = clock_steady() + READERS_EVERY;
}

/*
 * A login and a pass over all objects, for which generators stand still: who
 * may only look may not do that all the time. False: the caller was told.
 */
static bool
inventory_may(struct command_call *call)
{
	ksm_msec left = readers_next - clock_steady();

	if (call->may_act || left <= 0)
		return true;
	command_fail(call, CTL_FAILED, "busy", "operators are not held up",
	    "readers may take one inventory a minute; the next in %lld s",
	    (long long)((left + 999) / 1000));
	return false;
}

static void
inventory_start(struct command_call *call)
{
	struct chore *c = chore_new(call);

	if (c == NULL ||
	    !repositories_of(call, c, arg_text(call, "repository")))
		return;
	for (int i = 0; i < FOUND__COUNT; i++)
		if (needs_a_look((enum found_sort)i) || arg_bool(call, "all"))
			c->sorts |= FOUND_BIT(i);
	if (c->nrepositories == 0)
		result_send(call, CTL_OK, json_pack("{s:i}", "found", 0));
	else if (inventory_may(call))
		inventory_ask(call);
}

static void
inventory_counts(struct command_call *call, const struct errand_state *s)
{
	struct chore *c = call->state;
	json_t *counts = json_object();

	for (int i = 0; i < FOUND__COUNT; i++) {
		(void)json_object_set_new(counts,
		    found_sort_text((enum found_sort)i),
		    json_integer(s->counts[i]));
		if (needs_a_look((enum found_sort)i))
			c->attention += s->counts[i];
	}
	if (s->failed)
		c->failed++;
	item_send(call, "repositories",
	    json_pack("{s:o, s:o, s:b, s:o}", "name",
		ctl_text(c->repositories[c->at]), "counts", counts, "cut",
		s->cut, "trouble",
		text_or_null(s->failed ? s->text : NULL)));
}

static void
inventory_poll(struct command_call *call)
{
	struct chore *c = call->state;
	struct errand_state s;

	if (c->step != STEP_WAIT || !errand_ended(call, &s))
		return;
	inventory_counts(call, &s);
	c->page = 0;
	c->step = STEP_PAGES;
	call->streams = true;
}

static void
inventory_end(struct command_call *call)
{
	struct chore *c = call->state;

	result_send(call, c->failed > 0 ? CTL_FAILED
		: c->attention > 0	? CTL_ATTENTION
					: CTL_OK,
	    json_pack("{s:I}", "found", (json_int_t)c->attention));
}

static void
inventory_more(struct command_call *call)
{
	struct chore *c = call->state;
	struct errand_state s;

	if (engine_errand_state(call->face->engine, c->ticket, &s) != KSM_OK) {
		c->ticket = 0;
		command_fail(call, CTL_FAILED, "failed", NULL,
		    "the daemon lost sight of this errand");
		return;
	}
	for (size_t i = 0; i < FOUND_PAGE && c->page < s.nfound; i++, c->page++)
		item_send(call, "found",
		    found_json(c->repositories[c->at], &s.found[c->page]));
	if (c->page < s.nfound)
		return;
	errand_close(call);
	call->streams = false;
	if (++c->at == c->nrepositories)
		inventory_end(call);
	else
		inventory_ask(call);
}

/* ---- inventory adopt -------------------------------------------------- */

static void
adopt_start(struct command_call *call)
{
	const char *id = arg_text(call, "id"), *policy = arg_text(call, "policy");
	struct chore *c = chore_new(call);

	if (c == NULL)
		return;
	if (conf_policy_find(engine_conf(call->face->engine), policy) == NULL) {
		command_fail(call, CTL_FAILED, "unknown-policy",
		    "ksmctl plan names them", "no policy '%s'", policy);
		return;
	}
	c->ids = calloc(1, sizeof(*c->ids));
	if (c->ids == NULL) {
		fail_memory(call);
		return;
	}
	if (!key_id_parse(id, c->ids)) {
		command_fail(call, CTL_FAILED, "refused", NULL,
		    "CKA_ID %s has %zu bytes; keys of a pool have 16, others "
		    "are left to the program that made them",
		    id, strlen(id) / 2);
		return;
	}
	c->nids = 1;
	c->sorts = FOUND_ANY;
	if (!repositories_of(call, c, arg_text(call, "repository")))
		return;
	if (c->nrepositories == 0)
		command_fail(call, CTL_FAILED, "unknown-repository", NULL,
		    "no repository is configured");
	else if (inventory_may(call))
		inventory_ask(call);
}

static const struct errand_found *
found_of(const struct errand_state *s, const struct key_id *id)
{
	char hex[KEY_ID_HEX];

	key_id_format(id, hex);
	for (size_t i = 0; i < s->nfound; i++)
		if (strcmp(s->found[i].id, hex) == 0)
			return &s->found[i];
	return NULL;
}

/* What the inventory saw of it must be a whole pair that nobody has. */
static bool
adopt_allowed(struct command_call *call, const struct errand_found *f)
{
	if ((f->sort == FOUND_FOREIGN || f->sort == FOUND_ORPHAN) &&
	    f->privates == 1 && f->publics == 1 && f->others == 0)
		return true;
	command_fail(call, CTL_FAILED, "refused", NULL,
	    "%s is %s here (%d private, %d public objects%s%s); only a whole "
	    "pair that is not on record can be adopted",
	    f->id, found_sort_text(f->sort), f->privates, f->publics,
	    f->on_record ? ", on record as " : "",
	    f->on_record ? key_state_text(f->state) : "");
	return false;
}

static void
adopt_found(struct command_call *call, const struct errand_found *f)
{
	struct chore *c = call->state;
	struct ksm_fail fail = { .text = "" };
	struct adopt_want want = {
		.id = c->ids[0],
		.policy = arg_text(call, "policy"),
		.repository = c->repositories[c->at],
		.reason = arg_text(call, "reason"),
		.alg = arg_alg(call, "algorithm"),
		.who = call_actor(call),
	};
	enum ksm_err err;

	if (!adopt_allowed(call, f))
		return;
	(void)key_role_find(arg_text(call, "role"), &want.role);
	want.dry_run = arg_bool(call, "dry_run");
	err = engine_key_adopt(call->face->engine, &want, &fail);
	if (err != KSM_OK) {
		fail_err(call, err, "unknown-pool", &fail);
		return;
	}
	if (want.dry_run) {
		result_send(call, CTL_OK, json_pack("{s:b, s:o, s:o}",
		    "dry_run", 1, "id", ctl_text(f->id), "repository",
		    ctl_text(want.repository)));
		return;
	}
	errand_close(call);
	c->step = STEP_SETTLE;
	c->since = clock_steady();
	call->face->kick(call->face->ctx);
}

static void
adopt_settled(struct command_call *call)
{
	struct chore *c = call->state;
	struct ksm_fail fail = { .text = "" };
	struct store_key *key = calloc(1, sizeof(*key));
	enum ksm_err err;

	if (key == NULL) {
		fail_memory(call);
		return;
	}
	err = store_key_get(call->face->store, &c->ids[0], key, &fail);
	if (err != KSM_OK)
		fail_err(call, err, "failed", &fail);
	else if (key->state != KEY_UNKNOWN && key->state != KEY_MADE)
		result_send(call,
		    key->state == KEY_READY || key->state == KEY_SURPLUS
			? CTL_OK : CTL_ATTENTION,
		    json_pack("{s:o, s:o}", "key", key_json(key), "why",
			text_or_null(key->why)));
	else if (clock_steady() - c->since > SETTLE_MOST)
		command_fail(call, CTL_FAILED, "timeout",
		    "ksmctl key show tells what becomes of it",
		    "it is on record and not settled yet");
	free(key);
}

static void
adopt_poll(struct command_call *call)
{
	struct chore *c = call->state;
	const struct errand_found *f;
	struct errand_state s;
	char hex[KEY_ID_HEX];

	if (c->step == STEP_SETTLE) {
		adopt_settled(call);
		return;
	}
	if (!errand_ended(call, &s))
		return;
	f = found_of(&s, &c->ids[0]);
	if (f != NULL) {
		adopt_found(call, f);
		return;
	}
	if (s.failed && c->failed++ == 0 && c->nrepositories == 1) {
		command_fail(call, CTL_FAILED, "failed", NULL, "%s", s.text);
		return;
	}
	errand_close(call);
	if (++c->at < c->nrepositories) {
		inventory_ask(call);
		return;
	}
	key_id_format(&c->ids[0], hex);
	command_fail(call, CTL_FAILED, "unknown-key",
	    "ksmctl inventory lists what is in the tokens and not on record",
	    "no object with id %s that is not on record already%s", hex,
	    c->failed > 0 ? " (not every repository could be looked at)" : "");
}

/* ---- inventory clean -------------------------------------------------- */

static void
clean_ask(struct command_call *call, enum errand_kind kind, int64_t debris)
{
	struct chore *c = call->state;
	struct errand_want want = {
		.kind = kind,
		.repository = c->repositories[0],
		.ids = c->ids,
		.nids = c->nids,
		.debris = debris,
		.reason = arg_text(call, "reason"),
		.who = call_actor(call),
	};

	(void)errand_ask(call, &want);
}

static void
clean_start(struct command_call *call)
{
	const json_t *ids = json_object_get(call->args, "ids");
	struct chore *c = chore_new(call);

	if (c == NULL ||
	    !repositories_of(call, c, arg_text(call, "repository")))
		return;
	if (arg_bool(call, "debris") == (ids != NULL)) {
		command_fail(call, CTL_USAGE, "bad-argument", NULL,
		    "either ids or debris must be named");
		return;
	}
	if (ids != NULL) {
		c->sorts = FOUND_ANY;
		c->nids = json_array_size(ids);
		c->ids = calloc(c->nids, sizeof(*c->ids));
		if (c->ids == NULL) {
			fail_memory(call);
			return;
		}
	}
	for (size_t i = 0; i < c->nids; i++)
		(void)key_id_parse(json_string_value(json_array_get(ids, i)),
		    &c->ids[i]);
	if (ids != NULL && !arg_bool(call, "dry_run"))
		clean_ask(call, ERRAND_CLEAN, 0);
	else if (inventory_may(call))
		inventory_ask(call); /* debris is only counted */
}

static void
items_send(struct command_call *call, const struct errand_state *s)
{
	struct chore *c = call->state;
	char hex[KEY_ID_HEX];

	for (size_t i = 0; i < s->nitems; i++) {
		const struct errand_item *item = &s->items[i];

		key_id_format(&item->id, hex);
		item_send(call, "keys",
		    json_pack("{s:s, s:b, s:o}", "id", hex, "done",
			item->done, "text", text_or_null(item->text)));
		c->done += item->done;
		c->refused += !item->done;
	}
}

static void
items_end(struct command_call *call)
{
	struct chore *c = call->state;

	result_send(call, c->refused + c->failed == 0 ? CTL_OK
		: c->done == 0			      ? CTL_FAILED
						      : CTL_ATTENTION,
	    json_pack("{s:I, s:I}", "done", (json_int_t)c->done, "refused",
		(json_int_t)c->refused));
}

/* NULL: as far as record and inventory tell, that half would be cleaned. */
static const char *
clean_refusal(const struct errand_found *f)
{
	if (f == NULL)
		return "it is whole and on record, or not in the token";
	if (f->sort == FOUND_FOREIGN)
		return "its id is not of this installation";
	if (f->sort == FOUND_ELSEWHERE)
		return "it is on record in another repository";
	if (f->sort != FOUND_HALF)
		return "it is no half";
	if (f->on_record && !key_state_half_may_go(f->state))
		return "it is on record as a key in use or for use";
	return NULL;
}

/* Of an inventory: what would be cleaned. */
static void
clean_would(struct command_call *call, const struct errand_state *s)
{
	const json_t *ids = json_object_get(call->args, "ids");
	struct key_id id;
	int64_t would = 0;

	for (size_t i = 0; i < json_array_size(ids); i++) {
		const char *text = json_string_value(json_array_get(ids, i));
		const char *why = key_id_parse(text, &id)
		    ? clean_refusal(found_of(s, &id)) : "it is no id";

		would += why == NULL;
		item_send(call, "keys",
		    json_pack("{s:o, s:b, s:o}", "id", ctl_text(text), "would",
			why == NULL, "text", text_or_null(why)));
	}
	result_send(call, CTL_OK, json_pack("{s:b, s:I, s:I}", "dry_run", 1,
	    "would", (json_int_t)would, "debris",
	    (json_int_t)s->counts[FOUND_DEBRIS]));
}

static void
clean_poll(struct command_call *call)
{
	struct chore *c = call->state;
	bool looked = c->ours;
	struct errand_state s;
	int64_t debris;

	if (!errand_ended(call, &s))
		return;
	if (s.failed) {
		items_send(call, &s);
		command_fail(call, CTL_FAILED, "failed", NULL, "%s", s.text);
		return;
	}
	debris = s.counts[FOUND_DEBRIS];
	if (looked && arg_bool(call, "dry_run")) {
		clean_would(call, &s);
	} else if (looked && debris > 0) {
		errand_close(call);
		clean_ask(call, ERRAND_SWEEP, debris);
	} else if (looked) {
		result_send(call, CTL_OK, json_pack("{s:i}", "swept", 0));
	} else if (arg_bool(call, "debris")) {
		result_send(call, CTL_OK, json_pack("{s:I}", "swept",
		    (json_int_t)s.swept));
	} else {
		items_send(call, &s);
		items_end(call);
	}
}

/* ---- key destroy ------------------------------------------------------ */

static bool
destroy_one(struct command_call *call, const char *text, bool dry)
{
	struct chore *c = call->state;
	struct ksm_fail fail = { .text = "" };
	struct store_key *key = calloc(1, sizeof(*key));
	const char *why = "no such key";
	char kept[KEPT_TEXT] = "";
	struct key_id id;
	enum ksm_err err;
	bool ok = true;

	if (key == NULL || !key_id_parse(text, &id)) {
		fail_memory(call);
		free(key);
		return false;
	}
	err = store_key_get(call->face->store, &id, key, &fail);
	if (err != KSM_OK && err != KSM_ENOENT) {
		fail_err(call, err, "failed", &fail);
		ok = false;
		goto out;
	}
	if (err == KSM_OK)
		why = key_state_destroy_not(key->state);
	if (err == KSM_OK && why == NULL && !arg_bool(call, "before_purge")) {
		err = engine_key_kept(call->face->engine, key, kept, &fail);
		if (err != KSM_OK) {
			fail_err(call, err, "failed", &fail);
			ok = false;
			goto out;
		}
		why = kept[0] == '\0' ? NULL : kept;
	}
	if (dry || why != NULL)
		item_send(call, "keys",
		    json_pack("{s:o, s:b, s:o, s:o}", "id", ctl_text(text),
			dry ? "would" : "done", dry && why == NULL, "text",
			text_or_null(why), "key",
			err == KSM_OK ? key_json(key) : json_null()));
	if (why != NULL) {
		c->refused++;
	} else {
		c->ids[c->nids++] = id;
		if (!repository_add(c, key->pool.repository)) {
			fail_memory(call);
			ok = false;
		}
	}
out:
	free(key);
	return ok;
}

/* Those of the ids that are in the repository whose turn it is. */
static void
destroy_ask(struct command_call *call)
{
	struct chore *c = call->state;
	struct key_id *here = calloc(c->nids, sizeof(*here));
	struct store_key *key = calloc(1, sizeof(*key));
	struct errand_want want = { .kind = ERRAND_DESTROY,
		.before_purge = arg_bool(call, "before_purge"),
		.repository = c->repositories[c->at],
		.ids = here,
		.reason = arg_text(call, "reason"),
		.who = call_actor(call) };
	struct ksm_fail fail;

	if (here == NULL || key == NULL) {
		fail_memory(call);
		goto out;
	}
	for (size_t i = 0; i < c->nids; i++)
		if (store_key_get(call->face->store, &c->ids[i], key, &fail) ==
			KSM_OK &&
		    strcmp(key->pool.repository, want.repository) == 0)
			here[want.nids++] = c->ids[i];
	(void)errand_ask(call, &want);
out:
	free(here);
	free(key);
}

static void
destroy_start(struct command_call *call)
{
	const json_t *ids = json_object_get(call->args, "ids");
	bool dry = arg_bool(call, "dry_run");
	struct chore *c = chore_new(call);

	if (c == NULL)
		return;
	c->ids = calloc(json_array_size(ids), sizeof(*c->ids));
	if (c->ids == NULL) {
		fail_memory(call);
		return;
	}
	for (size_t i = 0; i < json_array_size(ids); i++)
		if (!destroy_one(call,
			json_string_value(json_array_get(ids, i)), dry))
			return;
	if (dry)
		result_send(call, CTL_OK, json_pack("{s:b, s:I, s:I}",
		    "dry_run", 1, "would", (json_int_t)c->nids, "refused",
		    (json_int_t)c->refused));
	else if (c->nids == 0)
		items_end(call);
	else
		destroy_ask(call);
}

static void
destroy_poll(struct command_call *call)
{
	struct chore *c = call->state;
	struct errand_state s;

	if (!errand_ended(call, &s))
		return;
	items_send(call, &s);
	if (s.failed) {
		command_fail(call, CTL_FAILED, "failed",
		    "what was begun is finished by the daemon; ksmctl key show "
		    "tells how",
		    "%s", s.text);
		return;
	}
	errand_close(call);
	if (++c->at == c->nrepositories)
		items_end(call);
	else
		destroy_ask(call);
}

/* ---- the table -------------------------------------------------------- */

static const struct command_arg inventory_args[] = {
	{ "repository", ARG_NAME, false },
	{ "all", ARG_BOOL, false },
};
static const struct command_arg adopt_args[] = {
	{ "id", ARG_CKA_ID, true },
	{ "policy", ARG_NAME, true },
	{ "role", ARG_ROLE, true },
	{ "repository", ARG_NAME, false },
	{ "algorithm", ARG_ALG, false },
	{ "reason", ARG_TEXT, true },
	{ "dry_run", ARG_BOOL, false },
};
static const struct command_arg clean_args[] = {
	{ "ids", ARG_IDS, false },
	{ "debris", ARG_BOOL, false },
	{ "repository", ARG_NAME, true },
	{ "reason", ARG_TEXT, true },
	{ "dry_run", ARG_BOOL, false },
};
static const struct command_arg destroy_args[] = {
	{ "ids", ARG_IDS, true },
	{ "reason", ARG_TEXT, true },
	{ "before_purge", ARG_BOOL, false },
	{ "dry_run", ARG_BOOL, false },
};

static const struct command commands[] = {
	{ .name = "inventory", ARGS(inventory_args), .start = inventory_start,
	    .poll = inventory_poll, .more = inventory_more,
	    .end = chore_free },
	{ .name = "inventory adopt", ARGS(adopt_args), .right = RIGHT_ACT,
	    .start = adopt_start, .poll = adopt_poll, .end = chore_free },
	{ .name = "inventory clean", ARGS(clean_args), .right = RIGHT_ACT,
	    .start = clean_start, .poll = clean_poll, .end = chore_free },
	{ .name = "key destroy", ARGS(destroy_args), .right = RIGHT_ACT,
	    .start = destroy_start, .poll = destroy_poll, .end = chore_free },
};

const struct command_group commands_errand = { commands, nitems(commands) };
