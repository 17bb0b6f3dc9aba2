#include "hook_taken.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/log.h"

#include "handout_facts.h"

static const char *
member_text(const json_t *body, const char *name, char out[32])
{
	const json_t *v = json_object_get(body, name);

	if (json_is_string(v))
		return json_string_value(v);
	(void)snprintf(out, 32, "%lld", (long long)json_integer_value(v));
	return out;
}

static const struct conf_repository *
repository_of(const struct hook_taker *t, const struct handout *h)
{
	const struct conf *c = engine_conf(t->engine);

	return conf_repository_find(c, h->pool.repository);
}

bool
hook_wanted(const struct hook_taker *t, const struct handout *h)
{
	const struct conf_repository *r = repository_of(t, h);

	return r != NULL && r->hook != NULL && h->number > 0 && !h->outside;
}

/* False: no memory. */
static bool
hook_begin(const struct hook_taker *t, const struct handout *h,
    const json_t *body)
{
	static const struct {
		const char *variable, *member;
	} facts[] = {
		{ "KSMPOOL_KEY_ID", "id" },
		{ "KSMPOOL_KEY_LABEL", "label" },
		{ "KSMPOOL_ZONE", "zone" },
		{ "KSMPOOL_ROLE", "role" },
		{ "KSMPOOL_POLICY", "policy" },
		{ "KSMPOOL_REPOSITORY", "repository" },
		{ "KSMPOOL_ALGORITHM", "algorithm" },
		{ "KSMPOOL_ALGORITHM_NUMBER", "algorithm_number" },
		{ "KSMPOOL_SIZE", "size" },
		{ "KSMPOOL_FLAGS", "flags" },
		{ "KSMPOOL_TAG", "tag" },
		{ "KSMPOOL_PUBLIC_KEY", "public_key" },
		{ "KSMPOOL_MODULE", "module" },
		{ "KSMPOOL_TOKEN_LABEL", "token_label" },
		{ "KSMPOOL_TOKEN_SERIAL", "token_serial" },
		{ "KSMPOOL_HANDOUT", "handout" },
	};
	const struct conf_repository *r = repository_of(t, h);
	const char *env[HOOK_ENV + 1] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin" };
	char *owned[HOOK_ENV] = { NULL }, number[32];
	struct hook_want want = { .path = r->hook,
		.timeout = r->hook_timeout,
		.handout = h->number,
		.repository = r->name,
		.id = json_string_value(json_object_get(body, "id")),
		.who = h->who,
		.env = env };
	size_t n = 0;
	bool ok = true;

	for (size_t k = 0; ok && k < nitems(facts); k++, n += ok)
		ok = asprintf(&owned[n], "%s=%s", facts[k].variable,
		    member_text(body, facts[k].member, number)) != -1;
	if (ok && (ok = asprintf(&owned[n], "KSMPOOL_CONSUMER=%s",
		       h->consumer) != -1))
		n++;
	if (ok && (ok = asprintf(&owned[n], "KSMPOOL_REQUEST=%s",
		       h->request) != -1))
		n++;
	for (size_t k = 0; k < n; k++)
		env[k + 1] = owned[k];
	ok = ok && hooks_add(t->hooks, &want);
	for (size_t k = 0; k < n; k++)
		free(owned[k]);
	return ok;
}

static enum ksm_err
hook_due(const struct hook_taker *t, const struct handout *h, bool single,
    struct ksm_fail *fail)
{
	json_t *body = handout_facts(t->engine, t->store, h, single, fail);
	enum ksm_err err = body == NULL ? fail->err : KSM_OK;

	if (err == KSM_OK && !hook_begin(t, h, body))
		err = ksm_failf(fail, KSM_ENOMEM, "no memory");
	json_decref(body);
	return err;
}

void
hook_taken(void *ctx, const struct handout *keys, const bool *singles,
    size_t n)
{
	const struct hook_taker *t = ctx;
	char hex[KEY_ID_HEX];
	struct ksm_fail fail;

	for (size_t i = 0; i < n; i++) {
		if (!hook_wanted(t, &keys[i]) ||
		    hook_due(t, &keys[i], singles[i], &fail) == KSM_OK)
			continue;
		key_id_format(&keys[i].id, hex);
		log_error("the hook for key %s was not run: %s", hex,
		    fail.text);
	}
}

enum hook_end
hook_look(const struct hook_taker *t, const struct handout *h, char text[256])
{
	enum hook_end end = hooks_look(t->hooks, h->number, text);
	char hex[KEY_ID_HEX];
	struct ksm_fail fail;

	if (end != HOOK_UNKNOWN)
		return end;
	key_id_format(&h->id, hex);
	if (hook_record_look(t->store, hex, h->number, &end, text, &fail) !=
	    KSM_OK)
		(void)snprintf(text, 256, "%.200s", fail.text);
	return end;
}
