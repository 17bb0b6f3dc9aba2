/*
 * command_take.c - hand keys out, and what is on record about that: take,
 * key mark-used, handout list, status and accept, impact.
 */
#include "commands_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/clock.h"
#include "ksmpool/consumer.h"
#include "ksmpool/dnsname.h"
#include "ksmpool/zoneindex.h"

#include "engine_take.h"
#include "handout_facts.h"
#include "hook_taken.h"

#define HANDOUT_PAGE 200
#define ZONES_SHOWN  1000 /* of one key */

/* ---- a zone ------------------------------------------------------------- */

/* Its canonical text. False: the caller was told. */
static bool
zone_of(struct command_call *call, char zone[ZONE_TEXT])
{
	const char *text = arg_text(call, "zone");
	uint8_t wire[DNSNAME_WIRE];
	struct ksm_fail fail;
	size_t len;

	/* DNS would have it as octets that no other program shows like this. */
	for (const char *c = text; *c != '\0'; c++)
		if (((unsigned char)*c & 0x80) != 0) {
			command_fail(call, CTL_USAGE, "bad-argument", NULL,
			    "zone %.200s: DNS has such names as A-labels "
			    "(xn--...); an octet above 127 that is really "
			    "meant is written \\DDD", text);
			return false;
		}
	if (dnsname_parse(text, wire, &len, &fail) != KSM_OK) {
		command_fail(call, CTL_USAGE, "bad-argument", NULL, "%s",
		    fail.text);
		return false;
	}
	dnsname_text(wire, len, zone);
	return true;
}

/* What the zone list and the owner file in force say of it. */
struct home {
	bool known; /* they are known by name: else nothing is said of it */
	bool listed;
	char policy[256], owner[128]; /* "": none is named */
};

/* False: the caller was told. */
static bool
home_look(struct command_call *call, const struct conf *conf,
    const char *zone, struct home *out)
{
	struct zone_found found = { .owner = NULL };
	struct zoneindex *zi = NULL;
	struct ksm_fail fail;
	enum ksm_err err;

	*out = (struct home){ .known = conf->zones_fd >= 0 };
	if (!out->known)
		return true;
	err = zoneindex_open(conf->zones_fd, &zi, &fail);
	if (err == KSM_OK)
		err = zoneindex_find(zi, zone, &found, &fail);
	if (err == KSM_OK) {
		out->listed = found.policy != NULL;
		(void)snprintf(out->policy, sizeof(out->policy), "%s",
		    found.policy == NULL ? "" : found.policy);
		(void)snprintf(out->owner, sizeof(out->owner), "%s",
		    found.owner == NULL ? "" : found.owner);
	}
	zoneindex_close(zi);
	if (err == KSM_OK || err == KSM_ENOENT)
		return true;
	fail_err(call, err, "failed", &fail);
	return false;
}

/*
 * The policy that was named, or that of the zone. A zone that is not in the
 * list yet may be given keys, but then its policy must be said; one that is on
 * another policy may not. False: the caller was told.
 */
static bool
home_of(struct command_call *call, const char *zone, struct home *home)
{
	const char *policy = arg_text(call, "policy");
	const struct conf *conf;

	if (plan_in_force(call, &conf) == NULL ||
	    !home_look(call, conf, zone, home))
		return false;
	if (policy != NULL && home->listed &&
	    strcmp(policy, home->policy) != 0) {
		command_fail(call, CTL_FAILED, "refused",
		    "leave --policy out, or change the zone list first",
		    "zone %.200s is on policy %s, not %s", zone, home->policy,
		    policy);
		return false;
	}
	if (policy == NULL && !home->known) {
		command_fail(call, CTL_FAILED, "unknown-zone",
		    "--policy NAME, or mend the lists, then `ksmctl reload`",
		    "which policy zone %.200s is on is not known: of the last "
		    "good zone list, which is in force, only the counts are "
		    "at hand", zone);
		return false;
	}
	if (policy == NULL && !home->listed) {
		command_fail(call, CTL_FAILED, "unknown-zone",
		    "--policy NAME for a zone that is to be added",
		    "zone %.200s is not in the zone list in force", zone);
		return false;
	}
	if (policy != NULL)
		(void)snprintf(home->policy, sizeof(home->policy), "%s",
		    policy);
	return true;
}

/*
 * Where the zones of an owner share a key, a zone whose owner is not known
 * would draw one of its own. False: the caller was told.
 */
static bool
owner_known(struct command_call *call, const char *zone,
    const struct home *home, const char *policy, enum key_role role)
{
	const struct conf *conf;
	const struct plan *plan = plan_in_force(call, &conf);

	if (plan == NULL)
		return false;
	for (size_t i = 0; !home->known && i < plan->npools; i++) {
		const struct plan_pool *p = &plan->pools[i];

		if (p->scope != SCOPE_OWNER || p->role != role ||
		    strcmp(p->policy, policy) != 0)
			continue;
		command_fail(call, CTL_FAILED, "refused",
		    "mend zone list and owner file, then `ksmctl reload`",
		    "whose zone %.200s is, is not known, and the zones of an "
		    "owner share the %s of policy %.100s: of the last good "
		    "lists, which are in force, only the counts are at hand",
		    zone, key_role_text(role), policy);
		return false;
	}
	return true;
}

/* ---- take --------------------------------------------------------------- */

struct taking {
	int64_t ticket; /* 0: none */
	bool proven;	/* the take is done, hooks may run */
	struct handout *keys;
	bool *singles;
	size_t nkeys, hooks_at; /* the first whose hook may run still */
	bool hooks;		/* what became of them is part of the answer */
	bool again, uncovered;
};

static void
taking_free(struct command_call *call)
{
	struct taking *t = call->state;

	if (t == NULL)
		return;
	if (t->ticket != 0)
		engine_take_forget(call->face->engine, t->ticket);
	free(t->keys);
	free(t->singles);
	free(t);
	call->state = NULL;
}

static void
taking_begin(struct command_call *call, const struct take_want *want)
{
	struct taking *t = calloc(1, sizeof(*t));
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err;

	if (t == NULL) {
		fail_memory(call);
		return;
	}
	call->state = t;
	err = engine_take(call->face->engine, want, &t->ticket, &fail);
	if (err != KSM_OK) {
		t->ticket = 0;
		fail_err(call, err, "unknown-policy", &fail);
		return;
	}
	call->face->kick(call->face->ctx);
}

/* Tags that fit. False: the caller was told. */
static bool
tags_want(struct command_call *call, struct take_want *want)
{
	bool low = json_object_get(call->args, "tag_low") != NULL;
	bool high = json_object_get(call->args, "tag_high") != NULL;
	bool modulo = json_object_get(call->args, "tag_modulo") != NULL;
	bool rest = json_object_get(call->args, "tag_rest") != NULL;

	want->by_range = low;
	want->tag_low = (int)arg_integer(call, "tag_low", 0);
	want->tag_high = (int)arg_integer(call, "tag_high", 65535);
	want->tag_modulo = (int)arg_integer(call, "tag_modulo", 0);
	want->tag_rest = (int)arg_integer(call, "tag_rest", 0);
	if (low == high && want->tag_low <= want->tag_high &&
	    modulo == rest && (!modulo || want->tag_rest < want->tag_modulo))
		return true;
	command_fail(call, CTL_USAGE, "bad-argument", NULL,
	    "a range of key tags is a low and a high one, and a modulo a "
	    "number and a rest below it");
	return false;
}

static void
take_start(struct command_call *call)
{
	const char *consumer = arg_text(call, "for");
	char zone[ZONE_TEXT];
	struct take_want want = { .zone = zone,
		.repository = arg_text(call, "repository"),
		.alg = arg_alg(call, "algorithm"),
		.not_before = arg_integer(call, "not_before", 0),
		.request = arg_text(call, "request"),
		.roll = arg_bool(call, "roll"),
		.dry_run = arg_bool(call, "dry_run"),
		.who = call_actor(call) };
	int64_t count = arg_integer(call, "count", 1);
	struct home home;

	if (!names_check(call, arg_text(call, "policy"), want.repository) ||
	    !zone_of(call, zone) || !home_of(call, zone, &home) ||
	    !tags_want(call, &want))
		return;
	want.policy = home.policy;
	want.owner = home.owner[0] == '\0' ? NULL : home.owner;
	(void)key_role_find(arg_text(call, "role"), &want.role);
	if (!owner_known(call, zone, &home, want.policy, want.role))
		return;
	if (consumer != NULL)
		(void)consumer_find(consumer, &want.consumer);
	if (count > TAKE_MOST) {
		command_fail(call, CTL_USAGE, "bad-argument", NULL,
		    "argument \"count\" must be 1 to %d", TAKE_MOST);
		return;
	}
	want.count = (size_t)count;
	taking_begin(call, &want);
}

static void
mark_used_start(struct command_call *call)
{
	struct ksm_fail fail = { .text = "" };
	struct store_key *key = calloc(1, sizeof(*key));
	char zone[ZONE_TEXT];
	struct key_id id;
	const struct conf *conf;
	struct home home;
	struct take_want want = { .zone = zone,
		.count = 1,
		.outside = &id,
		.reason = arg_text(call, "reason"),
		.who = call_actor(call) };
	enum ksm_err err = KSM_ENOENT;

	if (key != NULL && key_id_parse(arg_text(call, "id"), &id))
		err = store_key_get(call->face->store, &id, key, &fail);
	if (key == NULL) {
		fail_memory(call);
	} else if (err == KSM_ENOENT) {
		command_fail(call, CTL_FAILED, "unknown-key",
		    "ksmctl key list shows what there is",
		    "no key with id %s", arg_text(call, "id"));
	} else if (err != KSM_OK) {
		fail_err(call, err, "failed", &fail);
	} else if (plan_in_force(call, &conf) != NULL && zone_of(call, zone) &&
	    home_look(call, conf, zone, &home) &&
	    owner_known(call, zone, &home, key->pool.policy,
		key->pool.role)) {
		want.owner = home.owner[0] == '\0' ? NULL : home.owner;
		want.policy = key->pool.policy;
		/* who is on another policy is of no group of this one */
		want.apart = home.known &&
		    strcmp(home.policy, want.policy) != 0;
		want.role = key->pool.role;
		want.alg = key->pool.alg;
		want.repository = key->pool.repository;
		taking_begin(call, &want);
	}
	free(key);
}

/* ---- the answer --------------------------------------------------- */

/* What the engine has; its list may be gone at the next turn. */
static bool
taking_keep(struct command_call *call, struct taking *t,
    const struct take_state *s)
{
	t->nkeys = s->nkeys;
	t->again = s->again;
	t->uncovered = s->uncovered;
	t->keys = calloc(s->nkeys + 1, sizeof(*t->keys));
	t->singles = calloc(s->nkeys + 1, sizeof(*t->singles));
	if (t->keys == NULL || t->singles == NULL) {
		fail_memory(call);
		return false;
	}
	memcpy(t->keys, s->keys, s->nkeys * sizeof(*t->keys));
	if (s->singles != NULL)
		memcpy(t->singles, s->singles, s->nkeys * sizeof(bool));
	return true;
}

/*
 * They were started as the take ended. Of one that was answered before, those
 * are started now that are not known to have run.
 */
static void
hooks_begin(struct command_call *call, struct taking *t)
{
	struct hook_taker *taker = call->face->hook;
	char text[256];

	t->hooks = taker != NULL && !arg_bool(call, "dry_run") &&
	    json_object_get(call->args, "id") == NULL;
	for (size_t i = 0; t->hooks && t->again && i < t->nkeys; i++) {
		enum hook_end end;

		if (!hook_wanted(taker, &t->keys[i]))
			continue;
		end = hook_look(taker, &t->keys[i], text);
		if (end == HOOK_UNKNOWN || end == HOOK_NOT_RUN)
			hook_taken(taker, &t->keys[i], &t->singles[i], 1);
	}
}

static bool
hooks_wait(struct command_call *call, struct taking *t)
{
	char text[256];

	while (t->hooks && t->hooks_at < t->nkeys &&
	    hooks_look(call->face->hook->hooks, t->keys[t->hooks_at].number,
		text) != HOOK_WAITS)
		t->hooks_at++;
	return t->hooks && t->hooks_at < t->nkeys;
}

/* Into the answer; false: it did not do what it was to do. */
static bool
hook_put(struct command_call *call, const struct handout *h, json_t *body)
{
	char text[256], words[320];

	switch (hook_look(call->face->hook, h, text)) {
	case HOOK_WELL:
		(void)json_object_set_new(body, "hook", json_string("done"));
		return true;
	case HOOK_FAILED:
		(void)json_object_set_new(body, "hook", ctl_text(text));
		return false;
	default:
		(void)snprintf(words, sizeof(words),
		    "it is not known to have run%s%s",
		    text[0] == '\0' ? "" : ": ", text);
		(void)json_object_set_new(body, "hook", ctl_text(words));
		return false;
	}
}

/* A key of a database that was lost or restored: what is on record of it. */
static json_t *
handout_without_key(const struct handout *h, const struct ksm_fail *fail)
{
	char id[KEY_ID_HEX];

	key_id_format(&h->id, id);
	return json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:I, s:b, s:b, s:s,"
	    " s:o}",
	    "id", id, "zone", ctl_text(h->zone), "role",
	    key_role_text(h->pool.role), "policy", ctl_text(h->pool.policy),
	    "repository", ctl_text(h->pool.repository), "algorithm",
	    algorithm_json(h->pool.alg), "handout", (json_int_t)h->number,
	    "shared", (int)!h->drawn, "uncovered", (int)h->uncovered, "share",
	    h->share, "error", ctl_text(fail->text));
}

static void
taking_answer(struct command_call *call, struct taking *t)
{
	int64_t failed = 0, lost = 0;

	for (size_t i = 0; i < t->nkeys; i++) {
		const struct handout *h = &t->keys[i];
		struct ksm_fail fail = { .err = KSM_OK };
		json_t *body = handout_facts(call->face->engine,
		    call->face->store, h, t->singles[i], &fail);

		if (body == NULL && fail.err == KSM_ENOENT) {
			body = handout_without_key(h, &fail);
			lost++;
		} else if (body == NULL && fail.err != KSM_ENOMEM) {
			fail_err(call, fail.err, "failed", &fail);
			return;
		} else if (body != NULL && t->hooks &&
		    hook_wanted(call->face->hook, h)) {
			failed += !hook_put(call, h, body);
		}
		item_send(call, "keys", body);
	}
	result_send(call,
	    failed > 0 || lost > 0 || t->uncovered ? CTL_ATTENTION : CTL_OK,
	    json_pack("{s:I, s:b, s:b, s:I, s:b}", "count",
		(json_int_t)t->nkeys, "again", (int)t->again, "uncovered",
		(int)t->uncovered, "hooks_failed", (json_int_t)failed,
		"dry_run", (int)arg_bool(call, "dry_run")));
}

static void
take_poll(struct command_call *call)
{
	struct taking *t = call->state;
	struct ksm_fail fail;
	struct take_state s;

	if (t == NULL || call->done)
		return;
	if (!t->proven) {
		if (engine_take_state(call->face->engine, t->ticket, &s) !=
		    KSM_OK) {
			t->ticket = 0;
			command_fail(call, CTL_FAILED, "failed", NULL,
			    "the daemon lost sight of this take");
			return;
		}
		if (!s.done)
			return;
		if (s.err != KSM_OK) {
			(void)ksm_failf(&fail, s.err, "%s", s.text);
			fail_err(call, s.err, "unknown-policy", &fail);
			return;
		}
		t->proven = true;
		if (!taking_keep(call, t, &s))
			return;
		engine_take_forget(call->face->engine, t->ticket);
		t->ticket = 0;
		hooks_begin(call, t);
	}
	if (!hooks_wait(call, t))
		taking_answer(call, t);
}

/* ---- what was handed out ------------------------------------------ */

struct listing {
	struct handout_filter filter; /* its names are borrowed from the args */
	struct key_id id;
	char zone[ZONE_TEXT];
	int64_t cursor, count;
};

static json_t *
handout_json(const struct handout *h)
{
	char id[KEY_ID_HEX];

	key_id_format(&h->id, id);
	return json_pack("{s:I, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:b,"
	    " s:o, s:o, s:I, s:I, s:b, s:b}",
	    "number", (json_int_t)h->number, "time", time_json(h->when), "id",
	    id, "zone", ctl_text(h->zone), "role",
	    key_role_text(h->pool.role), "policy", ctl_text(h->pool.policy),
	    "repository", ctl_text(h->pool.repository), "algorithm",
	    algorithm_json(h->pool.alg), "share", ctl_text(h->share), "drawn",
	    (int)h->drawn, "request", text_or_null(h->request), "consumer",
	    text_or_null(h->consumer), "uid", (json_int_t)h->who.uid, "pid",
	    (json_int_t)h->who.pid, "uncovered", (int)h->uncovered, "outside",
	    (int)h->outside);
}

static void
handout_list_start(struct command_call *call)
{
	const char *id = arg_text(call, "key");
	struct listing *l;

	if (!names_check(call, arg_text(call, "policy"), NULL))
		return;
	l = calloc(1, sizeof(*l));
	if (l == NULL) {
		fail_memory(call);
		return;
	}
	call->state = l;
	l->filter.policy = arg_text(call, "policy");
	l->filter.request = arg_text(call, "request");
	if (id != NULL && key_id_parse(id, &l->id))
		l->filter.id = &l->id;
	if (arg_text(call, "zone") != NULL && zone_of(call, l->zone))
		l->filter.zone = l->zone;
}

static void
handout_list_more(struct command_call *call)
{
	struct listing *l = call->state;
	struct handout *page = calloc(HANDOUT_PAGE, sizeof(*page));
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err;
	size_t n = 0;

	if (page == NULL) {
		fail_memory(call);
		return;
	}
	err = store_handout_list(call->face->store, &l->filter, &l->cursor,
	    page, HANDOUT_PAGE, &n, &fail);
	if (err != KSM_OK)
		fail_err(call, err, "failed", &fail);
	for (size_t i = 0; err == KSM_OK && i < n; i++)
		item_send(call, "handouts", handout_json(&page[i]));
	l->count += (int64_t)n;
	if (err == KSM_OK && n == 0)
		result_send(call, CTL_OK,
		    json_pack("{s:I}", "count", (json_int_t)l->count));
	free(page);
}

json_t *
handouts_json(struct engine *e, bool *trouble)
{
	struct handouts_view view;
	const char *next = NULL;

	engine_handouts_view(e, &view);
	*trouble = view.reason[0] != '\0';
	if (view.locked)
		next = "bring back what was lost and restart ksmpoold; or look "
		       "at `ksmctl inventory`, then `ksmctl handout accept "
		       "--reason TEXT` (ksmpoold(8), HAND-OUT JOURNAL)";
	else if (*trouble)
		next = "mend what is named; the next take tries again";
	return json_pack("{s:I, s:o, s:b, s:o, s:o}",
	    "number", (json_int_t)view.number,
	    "journal", ctl_text(view.journal),
	    "locked", (int)view.locked,
	    "reason", text_or_null(view.reason),
	    "next", text_or_null(next));
}

static void
handout_status_start(struct command_call *call)
{
	bool locked;
	json_t *handouts = handouts_json(call->face->engine, &locked);

	result_send(call, locked ? CTL_ATTENTION : CTL_OK,
	    json_pack("{s:o}", "handouts", handouts));
}

static void
handout_accept_start(struct command_call *call)
{
	struct ksm_fail fail = { .text = "" };
	struct handouts_view view;
	char aside[512] = "";
	enum ksm_err err;

	err = engine_handouts_accept(call->face->engine,
	    arg_text(call, "reason"), call_actor(call), aside, &fail);
	if (err != KSM_OK) {
		fail_err(call, err, "failed", &fail);
		return;
	}
	engine_handouts_view(call->face->engine, &view);
	result_send(call, CTL_OK,
	    json_pack("{s:{s:I, s:o, s:o}}", "handouts", "number",
		(json_int_t)view.number, "journal", ctl_text(view.journal),
		"aside", text_or_null(aside)));
}

/* ---- impact ------------------------------------------------------- */

/* Zones that have the key, at most ZONES_SHOWN of them; NULL: no memory. */
enum ksm_err
handout_zones_json(struct command_call *call, const struct key_id *id,
    json_t **out, int64_t *total, struct ksm_fail *fail)
{
	struct handout_filter f = { .id = id };
	struct handout *page = calloc(HANDOUT_PAGE, sizeof(*page));
	json_t *zones = json_array(), *seen = json_object();
	int64_t cursor = 0;
	size_t n = 1;
	enum ksm_err err = page == NULL || zones == NULL || seen == NULL
	    ? ksm_failf(fail, KSM_ENOMEM, "no memory")
	    : store_handout_zones(call->face->store, id, total, fail);

	while (err == KSM_OK && n > 0 && json_array_size(zones) < ZONES_SHOWN) {
		err = store_handout_list(call->face->store, &f, &cursor, page,
		    HANDOUT_PAGE, &n, fail);
		for (size_t i = 0; err == KSM_OK && i < n; i++) {
			if (json_object_get(seen, page[i].zone) != NULL ||
			    json_array_size(zones) == ZONES_SHOWN)
				continue;
			(void)json_object_set_new(seen, page[i].zone,
			    json_true());
			(void)json_array_append_new(zones,
			    ctl_text(page[i].zone));
		}
	}
	json_decref(seen);
	free(page);
	*out = zones;
	if (err != KSM_OK) {
		json_decref(zones);
		*out = NULL;
	}
	return err;
}

/* Keys that the zones of it need: one, where they share it. */
static int64_t
keys_needed(const struct plan_pool *p, int64_t zones)
{
	return p == NULL || p->scope == SCOPE_ZONE ? zones
	    : zones > 0				   ? 1
						   : 0;
}

static void
impact_start(struct command_call *call)
{
	struct store_key *key = calloc(1, sizeof(*key));
	struct ksm_fail fail = { .text = "" };
	const struct plan *plan;
	const struct plan_pool *p;
	const struct conf *conf;
	struct key_id id;
	enum ksm_err err = KSM_ENOENT;
	int64_t total = 0, need, have;
	json_t *zones;

	plan = plan_in_force(call, &conf);
	if (plan == NULL || key == NULL) {
		if (plan != NULL)
			fail_memory(call);
		goto out;
	}
	if (key_id_parse(arg_text(call, "id"), &id))
		err = store_key_get(call->face->store, &id, key, &fail);
	if (err != KSM_OK) {
		if (err == KSM_ENOENT)
			command_fail(call, CTL_FAILED, "unknown-key",
			    "ksmctl key list shows what there is",
			    "no key with id %s", arg_text(call, "id"));
		else
			fail_err(call, err, "unknown-key", &fail);
		goto out;
	}
	p = plan_pool_find(plan, key->pool.policy, key->pool.role,
	    key->pool.repository, key->pool.alg, key->pool.bits);
	err = handout_zones_json(call, &id, &zones, &total, &fail);
	if (err != KSM_OK) {
		fail_err(call, err, "failed", &fail);
		goto out;
	}
	need = keys_needed(p, total);
	have = p == NULL ? 0 : p->usable;
	result_send(call, have < need ? CTL_ATTENTION : CTL_OK,
	    json_pack("{s:o, s:o, s:I, s:o, s:I, s:I, s:b}", "key",
		key_json(key), "zones", zones, "zones_total",
		(json_int_t)total, "scope", p == NULL ? json_null()
		    : json_string(key_scope_text(p->scope)), "keys_needed",
		(json_int_t)need, "keys_ready", (json_int_t)have,
		"replaceable", (int)(have >= need)));
out:
	free(key);
}

/* ---- table -------------------------------------------------------- */

static const struct command_arg take_args[] = {
	{ "zone", ARG_ZONE, true },
	{ "role", ARG_ROLE, true },
	{ "policy", ARG_NAME, false },
	{ "repository", ARG_NAME, false },
	{ "algorithm", ARG_ALG, false },
	{ "count", ARG_SOME, false },
	{ "tag_low", ARG_TAG, false },
	{ "tag_high", ARG_TAG, false },
	{ "tag_modulo", ARG_TAG, false },
	{ "tag_rest", ARG_TAG, false },
	{ "for", ARG_CONSUMER, false },
	{ "not_before", ARG_TIME, false },
	{ "request", ARG_REQUEST, false },
	{ "roll", ARG_BOOL, false },
	{ "dry_run", ARG_BOOL, false },
};
static const struct command_arg mark_used_args[] = {
	{ "id", ARG_ID, true },
	{ "zone", ARG_ZONE, true },
	{ "reason", ARG_TEXT, true },
};
static const struct command_arg handout_list_args[] = {
	{ "zone", ARG_ZONE, false },
	{ "policy", ARG_NAME, false },
	{ "key", ARG_ID, false },
	{ "request", ARG_REQUEST, false },
};
static const struct command_arg accept_args[] = {
	{ "reason", ARG_TEXT, true },
};
static const struct command_arg impact_args[] = {
	{ "id", ARG_ID, true },
};

static const struct command commands[] = {
	{ .name = "take", ARGS(take_args), .right = RIGHT_ACT,
	    .start = take_start, .poll = take_poll, .end = taking_free },
	{ .name = "key mark-used", ARGS(mark_used_args), .right = RIGHT_ACT,
	    .start = mark_used_start, .poll = take_poll, .end = taking_free },
	{ .name = "handout list", ARGS(handout_list_args),
	    .start = handout_list_start, .more = handout_list_more,
	    .end = state_free },
	{ .name = "handout status", .start = handout_status_start },
	{ .name = "handout accept", ARGS(accept_args), .right = RIGHT_ACT,
	    .start = handout_accept_start },
	{ .name = "impact", ARGS(impact_args), .start = impact_start },
};

const struct command_group commands_take = { commands, nitems(commands) };
