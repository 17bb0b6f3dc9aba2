#include "ksmpool/msg_conf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h> /* close(2): descriptors come with packets */

#include <jansson.h>

#include "ksmpool/alg.h"

/* More of them than any host has; a reader of ours never sends so many. */
#define REPOSITORIES_MAX 1000
#define POLICIES_MAX	 10000
#define KEYS_MAX	 64
#define ENV_MAX		 16
#define CHANGES_MAX	 16 /* of attributes */
#define FINDINGS_MAX	 10000

static const char *const pin_texts[] = {
	[PIN_NONE] = "none",
	[PIN_FILE] = "file",
	[PIN_CREDENTIAL] = "credential",
	[PIN_INLINE] = "inline",
};

static const char *const overdue_texts[] = {
	[OVERDUE_WAIT] = "wait",
	[OVERDUE_KILL] = "kill",
};

static const char *const zonelist_texts[] = {
	[ZONELIST_OK] = "ok",
	[ZONELIST_EMPTY] = "empty",
	[ZONELIST_VANISHED] = "vanished",
	[ZONELIST_BAD] = "bad",
};

static const char *const file_texts[CONF__FILES] = {
	[CONF_KSMPOOL] = "ksmpool",
	[CONF_OPENDNSSEC] = "opendnssec",
	[CONF_KASP] = "kasp",
	[CONF_ZONELIST] = "zonelist",
	[CONF_OWNERS] = "owners",
};

static const char *const severity_texts[] = {
	[CONF_NOTICE] = "notice",
	[CONF_WARNING] = "warning",
	[CONF_ERROR] = "error",
};

/* ---- out ------------------------------------------------------------- */

/* Paths and values may be any bytes; JSON text is UTF-8. */
static json_t *
text_out(const char *text)
{
	json_t *j;
	char *copy;

	if (text == NULL)
		return json_null();
	j = json_string(text);
	if (j != NULL)
		return j;
	copy = strdup(text);
	if (copy == NULL)
		return NULL;
	for (char *p = copy; *p != '\0'; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	j = json_string(copy);
	free(copy);
	return j;
}

static enum ksm_err
packet_emit(json_t *root, int fd, conf_emit_fn emit, void *ctx,
    struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	char *text = NULL;
	size_t len;

	if (root == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "out of memory");
		goto out;
	}
	text = json_dumps(root, JSON_COMPACT);
	if (text == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "out of memory");
		goto out;
	}
	len = strlen(text);
	if (len >= MSG_CONF_MAX) {
		const char *name = json_string_value(json_object_get(root,
		    "name"));

		err = ksm_failf(fail, KSM_EPROTO,
		    "%s %s does not fit into one message: %zu bytes, at most "
		    "%d", json_string_value(json_object_get(root, "type")),
		    name != NULL ? name : "", len, MSG_CONF_MAX - 1);
		goto out;
	}
	err = emit(ctx, text, len, fd, fail);
out:
	free(text);
	json_decref(root);
	return err;
}

static json_t *
settings_out(const struct conf *c)
{
	return json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, "
	    "s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:I}",
	    "v", MSG_CONF_VERSION, "type", "settings",
	    "file", text_out(c->file),
	    "state_dir", text_out(c->state_dir),
	    "database", text_out(c->database),
	    "socket_path", text_out(c->socket_path),
	    "socket_group", text_out(c->socket_group),
	    "socket_readers", text_out(c->socket_readers),
	    "user", text_out(c->user),
	    "log_level", c->log_level,
	    "kasp_file", text_out(c->kasp_file),
	    "zonelist_file", text_out(c->zonelist_file),
	    "opendnssec_file", text_out(c->opendnssec_file),
	    "owner_file", text_out(c->owner_file),
	    "handout_journal", text_out(c->handout_journal),
	    "zonelist", zonelist_texts[c->zonelist],
	    "owners", zonelist_texts[c->owners],
	    "zones", (json_int_t)c->zones);
}

static json_t *
attributes_out(const struct conf_repository *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->nattributes; i++) {
		const struct conf_attribute *a = &r->attributes[i];

		if (json_array_append_new(list, json_pack(
		    "{s:b, s:b, s:o, s:o}",
		    "public_half", (int)a->public_half,
		    "remove", (int)a->remove, "name", text_out(a->name),
		    "value", text_out(a->value))) == -1) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *
repository_out(const struct conf_repository *r)
{
	json_t *env = json_array(), *attributes;

	for (size_t i = 0; i < r->nenv; i++) {
		if (json_array_append_new(env, json_pack("[o, o]",
		    text_out(r->env[i].name),
		    text_out(r->env[i].value))) == -1) {
			json_decref(env);
			return NULL;
		}
	}
	attributes = attributes_out(r);
	return json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o, "
	    "s:I, s:b, s:b, s:b, s:b, s:i, s:I, s:s, s:I, s:I, s:I, s:o, s:o, "
	    "s:I, s:o, s:o, s:o, s:I}",
	    "v", MSG_CONF_VERSION, "type", "repository",
	    "name", text_out(r->name),
	    "module", text_out(r->module),
	    "token_label", text_out(r->token_label),
	    "token_serial", text_out(r->token_serial),
	    "token_uri", text_out(r->token_uri),
	    "init_reserved", text_out(r->init_reserved),
	    "pin", pin_texts[r->pin],
	    "pin_path", text_out(r->pin_path),
	    "capacity", (json_int_t)r->capacity,
	    "require_backup", (int)r->require_backup,
	    "skip_public_key", (int)r->skip_public_key,
	    "allow_extraction", (int)r->allow_extraction,
	    "search_first", (int)r->search_first,
	    "sessions", r->sessions,
	    "deadline", (json_int_t)r->deadline,
	    "on_overdue", overdue_texts[r->on_overdue],
	    "kill_after", (json_int_t)r->kill_after,
	    "keys_per_minute", (json_int_t)r->keys_per_minute,
	    "recycle_after", (json_int_t)r->recycle_after,
	    "sync_path", text_out(r->sync_path),
	    "hook", text_out(r->hook),
	    "hook_timeout", (json_int_t)r->hook_timeout,
	    "env", env,
	    "attributes", attributes,
	    "file", text_out(r->file),
	    "line", (json_int_t)r->line);
}

static json_t *
key_out(const struct conf_key *k)
{
	return json_pack("{s:s, s:i, s:i, s:I, s:o, s:I, s:b, s:I, "
	    "s:{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}}",
	    "role", key_role_text(k->role), "alg", k->alg, "bits", k->bits,
	    "lifetime", (json_int_t)k->lifetime,
	    "repository", text_out(k->repository),
	    "standby", (json_int_t)k->standby,
	    "manual_rollover", (int)k->manual_rollover,
	    "line", (json_int_t)k->line,
	    "pool",
	    "strategy", strategy_text(k->pool.strategy),
	    "horizon", (json_int_t)k->pool.horizon,
	    "minimum_horizon", (json_int_t)k->pool.minimum_horizon,
	    "emergency_rolls", (json_int_t)k->pool.emergency_rolls,
	    "growth", (json_int_t)k->pool.growth,
	    "low_water", (json_int_t)k->pool.low_water,
	    "max_per_run", (json_int_t)k->pool.max_per_run,
	    "fixed", (json_int_t)k->pool.fixed,
	    "scope", key_scope_text(k->pool.scope),
	    "on_shortage", on_shortage_text(k->pool.on_shortage));
}

static json_t *
policy_out(const struct conf_policy *p)
{
	json_t *keys = json_array();

	for (size_t i = 0; i < p->nkeys; i++) {
		if (json_array_append_new(keys, key_out(&p->keys[i])) == -1) {
			json_decref(keys);
			return NULL;
		}
	}
	return json_pack("{s:i, s:s, s:o, s:b, s:b, s:I, s:I, s:I, s:o, s:I}",
	    "v", MSG_CONF_VERSION, "type", "policy",
	    "name", text_out(p->name),
	    "passthrough", (int)p->passthrough,
	    "share_keys", (int)p->share_keys,
	    "purge", (json_int_t)p->purge,
	    "zones", (json_int_t)p->zones,
	    "owners", (json_int_t)p->owners, "keys", keys,
	    "line", (json_int_t)p->line);
}

static json_t *
finding_out(const struct conf_finding *f)
{
	return json_pack("{s:i, s:s, s:s, s:s, s:o, s:I, s:o, s:o, s:o}",
	    "v", MSG_CONF_VERSION, "type", "finding",
	    "severity", severity_texts[f->severity], "in", file_texts[f->in],
	    "file", text_out(f->file), "line", (json_int_t)f->line,
	    "what", text_out(f->what), "value", text_out(f->value),
	    "expected", text_out(f->expected));
}

enum ksm_err
conf_encode(const struct conf *c, conf_emit_fn emit, void *ctx,
    struct ksm_fail *fail)
{
	enum ksm_err err;

	err = packet_emit(settings_out(c), c->zones_fd, emit, ctx, fail);
	for (size_t i = 0; i < c->nrepositories && err == KSM_OK; i++) {
		const struct conf_repository *r = &c->repositories[i];

		err = packet_emit(repository_out(r),
		    r->pin == PIN_INLINE ? r->pin_fd : -1, emit, ctx, fail);
	}
	for (size_t i = 0; i < c->npolicies && err == KSM_OK; i++)
		err = packet_emit(policy_out(&c->policies[i]), -1, emit, ctx,
		    fail);
	for (size_t i = 0; i < c->nfindings && err == KSM_OK; i++)
		err = packet_emit(finding_out(&c->findings[i]), -1, emit, ctx,
		    fail);
	if (err != KSM_OK)
		return err;
	return packet_emit(json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, "
	    "s:I}",
	    "v", MSG_CONF_VERSION, "type", "end",
	    "repositories", (json_int_t)c->nrepositories,
	    "policies", (json_int_t)c->npolicies,
	    "findings", (json_int_t)c->nfindings,
	    "errors", (json_int_t)c->errors,
	    "warnings", (json_int_t)c->warnings,
	    "notices", (json_int_t)c->notices,
	    "zonelist_errors", (json_int_t)c->zonelist_errors),
	    -1, emit, ctx, fail);
}

/* ---- in -------------------------------------------------------------- */

void
conf_decoder_init(struct conf_decoder *d, struct conf *into)
{
	memset(d, 0, sizeof(*d));
	d->conf = into;
}

/* A field that is text or null, copied. */
static enum ksm_err
text_in(const json_t *j, const char *field, char **out, struct ksm_fail *fail)
{
	*out = NULL;
	if (json_is_null(j))
		return KSM_OK;
	if (!json_is_string(j))
		return ksm_failf(fail, KSM_EPROTO, "%s is not text", field);
	*out = strdup(json_string_value(j));
	if (*out == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "out of memory");
	return KSM_OK;
}

struct text_field {
	const char *name;
	json_t *json;
	char **out;
};

static enum ksm_err
texts_in(const struct text_field *fields, size_t n, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;

	for (size_t i = 0; i < n && err == KSM_OK; i++)
		err = text_in(fields[i].json, fields[i].name, fields[i].out,
		    fail);
	return err;
}

static bool
word_in(const char *word, const char *const *words, size_t n, int *out)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i], word) == 0) {
			*out = (int)i;
			return true;
		}
	}
	return false;
}

static enum ksm_err
range_in(const char *field, json_int_t v, int64_t lo, int64_t hi,
    struct ksm_fail *fail)
{
	if (v >= lo && v <= hi)
		return KSM_OK;
	return ksm_failf(fail, KSM_EPROTO,
	    "%s is %" PRId64 ", not %" PRId64 " to %" PRId64, field,
	    (int64_t)v, lo, hi);
}

struct range {
	const char *field;
	json_int_t value;
	int64_t lo, hi;
};

static enum ksm_err
ranges_in(const struct range *ranges, size_t n, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;

	for (size_t i = 0; i < n && err == KSM_OK; i++)
		err = range_in(ranges[i].field, ranges[i].value, ranges[i].lo,
		    ranges[i].hi, fail);
	return err;
}

/* Takes *fd over: the zones, where there is one. */
static enum ksm_err
settings_in(struct conf *c, json_t *root, int *fd, struct ksm_fail *fail)
{
	json_t *file, *state_dir, *database, *path, *group, *readers, *user;
	json_t *kasp, *zonelist, *opendnssec, *owners, *journal;
	json_int_t zones;
	json_error_t where;
	const char *state, *owned;
	int v, level, word, owner_word;
	enum ksm_err err;

	if (json_unpack_ex(root, &where, JSON_STRICT, "{s:i, s:s, s:o, s:o, "
	    "s:o, s:o, s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:s, "
	    "s:s, s:I !}",
	    "v", &v, "type", &state, "file", &file, "state_dir", &state_dir,
	    "database", &database, "socket_path", &path,
	    "socket_group", &group, "socket_readers", &readers,
	    "user", &user, "log_level", &level,
	    "kasp_file", &kasp, "zonelist_file", &zonelist,
	    "opendnssec_file", &opendnssec, "owner_file", &owners,
	    "handout_journal", &journal, "zonelist", &state,
	    "owners", &owned, "zones", &zones) == -1)
		return ksm_failf(fail, KSM_EPROTO, "settings: %s", where.text);
	if (!word_in(state, zonelist_texts, nitems(zonelist_texts), &word) ||
	    !word_in(owned, zonelist_texts, nitems(zonelist_texts),
	    &owner_word))
		return ksm_failf(fail, KSM_EPROTO,
		    "settings: unknown state of the zone list or owner file");
	const struct range ranges[] = {
		{ "log_level", level, 0, 7 },
		{ "zones", zones, 0, INT64_MAX },
	};
	err = ranges_in(ranges, nitems(ranges), fail);
	if (err != KSM_OK) {
		(void)ksm_fail_before(fail, "settings");
		return err;
	}
	c->zonelist = (enum zonelist_state)word;
	c->owners = (enum zonelist_state)owner_word;
	c->zones = zones;
	c->zones_fd = *fd;
	*fd = -1;
	c->log_level = level;
	const struct text_field fields[] = {
		{ "file", file, &c->file },
		{ "state_dir", state_dir, &c->state_dir },
		{ "database", database, &c->database },
		{ "socket_path", path, &c->socket_path },
		{ "socket_group", group, &c->socket_group },
		{ "socket_readers", readers, &c->socket_readers },
		{ "user", user, &c->user },
		{ "kasp_file", kasp, &c->kasp_file },
		{ "zonelist_file", zonelist, &c->zonelist_file },
		{ "opendnssec_file", opendnssec, &c->opendnssec_file },
		{ "owner_file", owners, &c->owner_file },
		{ "handout_journal", journal, &c->handout_journal },
	};
	err = texts_in(fields, nitems(fields), fail);
	if (err != KSM_OK)
		(void)ksm_fail_before(fail, "settings");
	return err;
}

static enum ksm_err
env_in(struct conf_repository *r, json_t *env, struct ksm_fail *fail)
{
	size_t n;

	if (!json_is_array(env))
		return ksm_failf(fail, KSM_EPROTO, "env is not an array");
	n = json_array_size(env);
	if (n > ENV_MAX)
		return ksm_failf(fail, KSM_EPROTO,
		    "%zu environment variables, at most %d", n, ENV_MAX);
	if (n == 0)
		return KSM_OK;
	r->env = calloc(n, sizeof(*r->env));
	if (r->env == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const char *name, *value;
		json_error_t where;

		if (json_unpack_ex(json_array_get(env, i), &where, JSON_STRICT,
		    "[s, s !]", &name, &value) == -1)
			return ksm_failf(fail, KSM_EPROTO, "env: %s",
			    where.text);
		r->nenv = i + 1;
		r->env[i].name = strdup(name);
		r->env[i].value = strdup(value);
		if (r->env[i].name == NULL || r->env[i].value == NULL)
			return ksm_failf(fail, KSM_ENOMEM, "out of memory");
	}
	return KSM_OK;
}

static enum ksm_err
attributes_in(struct conf_repository *r, json_t *list, struct ksm_fail *fail)
{
	size_t n;

	if (!json_is_array(list))
		return ksm_failf(fail, KSM_EPROTO,
		    "attributes is not an array");
	n = json_array_size(list);
	if (n > CHANGES_MAX)
		return ksm_failf(fail, KSM_EPROTO,
		    "%zu attributes, at most %d", n, CHANGES_MAX);
	if (n == 0)
		return KSM_OK;
	r->attributes = calloc(n, sizeof(*r->attributes));
	if (r->attributes == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		struct conf_attribute *a = &r->attributes[i];
		int public_half, removal;
		json_error_t where;
		json_t *name, *value;
		enum ksm_err err;

		if (json_unpack_ex(json_array_get(list, i), &where,
		    JSON_STRICT, "{s:b, s:b, s:o, s:o !}",
		    "public_half", &public_half, "remove", &removal,
		    "name", &name, "value", &value) == -1)
			return ksm_failf(fail, KSM_EPROTO, "attributes: %s",
			    where.text);
		if (!json_is_string(name) ||
		    json_is_string(value) != (removal == 0))
			return ksm_failf(fail, KSM_EPROTO, removal != 0 ?
			    "attributes: a removal is a name and no value" :
			    "attributes: an addition is a name and a value");
		r->nattributes = i + 1;
		a->public_half = public_half != 0;
		a->remove = removal != 0;
		err = text_in(name, "attributes: name", &a->name, fail);
		if (err == KSM_OK)
			err = text_in(value, "attributes: value", &a->value,
			    fail);
		if (err != KSM_OK)
			return err;
	}
	return KSM_OK;
}

/* Takes *fd over when it is the PIN; otherwise leaves it. */
static enum ksm_err
repository_in(struct conf *c, json_t *root, int *fd, struct ksm_fail *fail)
{
	json_t *module, *label, *serial, *uri, *reserved, *pin_path, *sync;
	json_t *env, *attributes, *file, *hook;
	json_int_t capacity, deadline, kill_after, rate, recycle, line;
	json_int_t hook_timeout;
	int v, backup, skip, extract, search, sessions, pin, overdue;
	const char *name, *type, *pin_text, *overdue_text;
	struct conf_repository *r;
	json_error_t where;
	enum ksm_err err;

	if (json_unpack_ex(root, &where, JSON_STRICT, "{s:i, s:s, s:s, s:o, "
	    "s:o, s:o, s:o, s:o, s:s, s:o, s:I, s:b, s:b, s:b, s:b, s:i, s:I, "
	    "s:s, s:I, s:I, s:I, s:o, s:o, s:I, s:o, s:o, s:o, s:I !}",
	    "v", &v, "type", &type, "name", &name, "module", &module,
	    "token_label", &label, "token_serial", &serial, "token_uri", &uri,
	    "init_reserved", &reserved, "pin", &pin_text,
	    "pin_path", &pin_path, "capacity", &capacity,
	    "require_backup", &backup, "skip_public_key", &skip,
	    "allow_extraction", &extract, "search_first", &search,
	    "sessions", &sessions, "deadline", &deadline,
	    "on_overdue", &overdue_text, "kill_after", &kill_after,
	    "keys_per_minute", &rate, "recycle_after", &recycle,
	    "sync_path", &sync, "hook", &hook, "hook_timeout", &hook_timeout,
	    "env", &env, "attributes", &attributes,
	    "file", &file, "line", &line) == -1)
		return ksm_failf(fail, KSM_EPROTO, "repository: %s",
		    where.text);
	if (c->nrepositories >= REPOSITORIES_MAX)
		return ksm_failf(fail, KSM_EPROTO,
		    "more than %d repositories", REPOSITORIES_MAX);
	if (!word_in(pin_text, pin_texts, nitems(pin_texts), &pin))
		return ksm_failf(fail, KSM_EPROTO,
		    "repository: unknown PIN source");
	if (!word_in(overdue_text, overdue_texts, nitems(overdue_texts),
	    &overdue))
		return ksm_failf(fail, KSM_EPROTO,
		    "repository: unknown on_overdue");
	if ((pin == PIN_INLINE) != (*fd != -1))
		return ksm_failf(fail, KSM_EPROTO, pin == PIN_INLINE ?
		    "repository: inline PIN without its descriptor" :
		    "repository: a descriptor that nothing asked for");
	const struct range ranges[] = {
		{ "capacity", capacity, -1, INT64_MAX },
		{ "sessions", sessions, 1, 64 },
		{ "deadline", deadline, 1, INT32_MAX },
		{ "kill_after", kill_after, 0, INT32_MAX },
		{ "keys_per_minute", rate, 0, INT32_MAX },
		{ "recycle_after", recycle, 0, INT64_MAX },
		{ "hook_timeout", hook_timeout, 1, 600 },
		{ "line", line, 0, INT64_MAX },
	};
	err = ranges_in(ranges, nitems(ranges), fail);
	if (err != KSM_OK)
		goto out;

	r = conf_repository_add(c, name);
	if (r == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "out of memory");
	r->pin = (enum pin_kind)pin;
	r->pin_fd = *fd;
	*fd = -1;
	r->capacity = capacity;
	r->require_backup = backup != 0;
	r->skip_public_key = skip != 0;
	r->allow_extraction = extract != 0;
	r->search_first = search != 0;
	r->sessions = sessions;
	r->deadline = deadline;
	r->on_overdue = (enum overdue_act)overdue;
	r->kill_after = kill_after;
	r->keys_per_minute = rate;
	r->recycle_after = recycle;
	r->hook_timeout = hook_timeout;
	r->line = line;
	const struct text_field fields[] = {
		{ "module", module, &r->module },
		{ "token_label", label, &r->token_label },
		{ "token_serial", serial, &r->token_serial },
		{ "token_uri", uri, &r->token_uri },
		{ "init_reserved", reserved, &r->init_reserved },
		{ "pin_path", pin_path, &r->pin_path },
		{ "sync_path", sync, &r->sync_path },
		{ "hook", hook, &r->hook },
		{ "file", file, &r->file },
	};
	err = texts_in(fields, nitems(fields), fail);
	if (err == KSM_OK)
		err = env_in(r, env, fail);
	if (err == KSM_OK)
		err = attributes_in(r, attributes, fail);
out:
	if (err != KSM_OK)
		(void)ksm_fail_before(fail, "repository %s", name);
	return err;
}

static enum ksm_err
key_in(struct conf_policy *p, json_t *root, struct ksm_fail *fail)
{
	json_int_t lifetime, standby, line, horizon, minimum, rolls, growth;
	json_int_t low_water, max_per_run, fixed;
	const char *role_text, *repository, *strategy, *scope_text;
	const char *shortage_text;
	enum on_shortage shortage;
	enum strategy how = STRATEGY_FORMULA;
	enum key_scope scope = SCOPE_KASP;
	enum key_role role = ROLE_KSK;
	struct conf_key *k;
	json_error_t where;
	int alg, bits, manual;
	enum ksm_err err;

	if (json_unpack_ex(root, &where, JSON_STRICT, "{s:s, s:i, s:i, s:I, "
	    "s:s, s:I, s:b, s:I, "
	    "s:{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s !} !}",
	    "role", &role_text, "alg", &alg, "bits", &bits,
	    "lifetime", &lifetime, "repository", &repository,
	    "standby", &standby, "manual_rollover", &manual, "line", &line,
	    "pool", "strategy", &strategy, "horizon", &horizon,
	    "minimum_horizon", &minimum, "emergency_rolls", &rolls,
	    "growth", &growth, "low_water", &low_water,
	    "max_per_run", &max_per_run, "fixed", &fixed,
	    "scope", &scope_text, "on_shortage", &shortage_text) == -1)
		return ksm_failf(fail, KSM_EPROTO, "key: %s", where.text);
	if (!key_role_find(role_text, &role))
		return ksm_failf(fail, KSM_EPROTO, "key: unknown role");
	if (!strategy_find(strategy, &how))
		return ksm_failf(fail, KSM_EPROTO, "key: unknown strategy");
	if (strcmp(scope_text, key_scope_text(SCOPE_KASP)) != 0 &&
	    !key_scope_find(scope_text, &scope))
		return ksm_failf(fail, KSM_EPROTO, "key: unknown scope");
	if (!on_shortage_find(shortage_text, &shortage))
		return ksm_failf(fail, KSM_EPROTO,
		    "key: unknown on_shortage");
	if (alg_find(alg) == NULL)
		return ksm_failf(fail, KSM_EPROTO,
		    "key: algorithm %d is not supported", alg);
	const struct range ranges[] = {
		{ "bits", bits, 1, 65536 },
		{ "lifetime", lifetime, 0, INT64_MAX },
		{ "standby", standby, 0, INT64_MAX },
		{ "line", line, 0, INT64_MAX },
		{ "horizon", horizon, 0, INT64_MAX },
		{ "minimum_horizon", minimum, 0, INT64_MAX },
		{ "emergency_rolls", rolls, 0, INT64_MAX },
		{ "growth", growth, 0, INT64_MAX },
		{ "low_water", low_water, 1, 100 },
		{ "max_per_run", max_per_run, 1, INT64_MAX },
		{ "fixed", fixed, 0, INT64_MAX },
	};
	err = ranges_in(ranges, nitems(ranges), fail);
	if (err != KSM_OK) {
		(void)ksm_fail_before(fail, "key");
		return err;
	}
	k = conf_key_add(p);
	if (k == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "out of memory");
	k->role = role;
	k->alg = alg;
	k->bits = bits;
	k->lifetime = lifetime;
	k->standby = standby;
	k->manual_rollover = manual != 0;
	k->line = line;
	k->pool.strategy = how;
	k->pool.horizon = horizon;
	k->pool.minimum_horizon = minimum;
	k->pool.emergency_rolls = rolls;
	k->pool.growth = growth;
	k->pool.low_water = low_water;
	k->pool.max_per_run = max_per_run;
	k->pool.fixed = fixed;
	k->pool.scope = scope;
	k->pool.on_shortage = shortage;
	k->repository = strdup(repository);
	if (k->repository == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "out of memory");
	return KSM_OK;
}

static enum ksm_err
policy_in(struct conf *c, json_t *root, struct ksm_fail *fail)
{
	int v, passthrough, share;
	const char *name, *type;
	json_int_t purge, zones, owners, line;
	struct conf_policy *p;
	json_error_t where;
	enum ksm_err err;
	json_t *keys;

	if (json_unpack_ex(root, &where, JSON_STRICT,
	    "{s:i, s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:o, s:I !}",
	    "v", &v, "type", &type, "name", &name,
	    "passthrough", &passthrough, "share_keys", &share,
	    "purge", &purge,
	    "zones", &zones, "owners", &owners, "keys", &keys,
	    "line", &line) == -1)
		return ksm_failf(fail, KSM_EPROTO, "policy: %s", where.text);
	if (c->npolicies >= POLICIES_MAX)
		return ksm_failf(fail, KSM_EPROTO, "more than %d policies",
		    POLICIES_MAX);
	const struct range ranges[] = {
		{ "purge", purge, 0, INT64_MAX },
		{ "zones", zones, 0, INT64_MAX },
		{ "owners", owners, 0, zones },
		{ "line", line, 0, INT64_MAX },
	};
	err = ranges_in(ranges, nitems(ranges), fail);
	if (err != KSM_OK)
		goto out;
	if (!json_is_array(keys) || json_array_size(keys) > KEYS_MAX) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "keys is not an array of at most %d", KEYS_MAX);
		goto out;
	}
	p = conf_policy_add(c, name);
	if (p == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "out of memory");
	p->passthrough = passthrough != 0;
	p->share_keys = share != 0;
	p->purge = purge;
	p->zones = zones;
	p->owners = owners;
	p->line = line;
	for (size_t i = 0; i < json_array_size(keys) && err == KSM_OK; i++)
		err = key_in(p, json_array_get(keys, i), fail);
out:
	if (err != KSM_OK)
		(void)ksm_fail_before(fail, "policy %s", name);
	return err;
}

static enum ksm_err
finding_in(struct conf *c, json_t *root, struct ksm_fail *fail)
{
	const char *what, *type, *severity_text, *in_text;
	json_t *file, *value, *expected;
	char *texts[3] = { NULL, NULL, NULL };
	json_error_t where;
	json_int_t line;
	enum ksm_err err;
	int v, severity, in;

	if (json_unpack_ex(root, &where, JSON_STRICT,
	    "{s:i, s:s, s:s, s:s, s:o, s:I, s:s, s:o, s:o !}",
	    "v", &v, "type", &type, "severity", &severity_text,
	    "in", &in_text, "file", &file, "line", &line, "what", &what,
	    "value", &value, "expected", &expected) == -1)
		return ksm_failf(fail, KSM_EPROTO, "finding: %s", where.text);
	if (!word_in(severity_text, severity_texts, nitems(severity_texts),
	    &severity) ||
	    !word_in(in_text, file_texts, nitems(file_texts), &in))
		return ksm_failf(fail, KSM_EPROTO,
		    "finding: unknown severity or file");
	if (c->nfindings >= FINDINGS_MAX)
		return ksm_failf(fail, KSM_EPROTO, "more than %d findings",
		    FINDINGS_MAX);
	err = range_in("finding: line", line, 0, INT64_MAX, fail);
	if (err != KSM_OK)
		return err;
	const struct text_field fields[] = {
		{ "finding: file", file, &texts[0] },
		{ "finding: value", value, &texts[1] },
		{ "finding: expected", expected, &texts[2] },
	};
	err = texts_in(fields, nitems(fields), fail);
	if (err == KSM_OK) {
		err = conf_finding_add(c, (enum conf_severity)severity,
		    (enum conf_file)in, texts[0], line, what, texts[1],
		    texts[2]);
		if (err != KSM_OK)
			(void)ksm_failf(fail, err, "out of memory");
	}
	for (size_t i = 0; i < nitems(texts); i++)
		free(texts[i]);
	return err;
}

static enum ksm_err
end_in(struct conf *c, json_t *root, struct ksm_fail *fail)
{
	json_int_t repositories, policies, findings;
	json_int_t errors, warnings, notices, zonelist;
	json_error_t where;
	const char *type;
	int v;

	if (json_unpack_ex(root, &where, JSON_STRICT,
	    "{s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I !}",
	    "v", &v, "type", &type, "repositories", &repositories,
	    "policies", &policies, "findings", &findings,
	    "errors", &errors, "warnings", &warnings, "notices", &notices,
	    "zonelist_errors", &zonelist) == -1)
		return ksm_failf(fail, KSM_EPROTO, "end: %s", where.text);
	if (repositories != (json_int_t)c->nrepositories ||
	    policies != (json_int_t)c->npolicies ||
	    findings != (json_int_t)c->nfindings)
		return ksm_failf(fail, KSM_EPROTO, "end: it counts %" PRId64
		    " repositories, %" PRId64 " policies and %" PRId64
		    " findings; there came %zu, %zu and %zu",
		    (int64_t)repositories, (int64_t)policies,
		    (int64_t)findings, c->nrepositories, c->npolicies,
		    c->nfindings);
	/* findings that were not kept are in these sums only */
	if (errors < c->errors || warnings < c->warnings ||
	    notices < c->notices || zonelist < c->zonelist_errors ||
	    zonelist > errors)
		return ksm_failf(fail, KSM_EPROTO,
		    "end: its sums are below what came");
	c->errors = errors;
	c->warnings = warnings;
	c->notices = notices;
	c->zonelist_errors = zonelist;
	return KSM_OK;
}

enum ksm_err
conf_decode(struct conf_decoder *d, const char *text, size_t len, int fd,
    struct ksm_fail *fail)
{
	struct conf *c = d->conf;
	json_t *root = NULL;
	enum ksm_err err;
	const char *type;
	json_int_t v;

	if (len >= MSG_CONF_MAX) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "packet of %zu bytes, at most %d", len, MSG_CONF_MAX - 1);
		goto out;
	}
	/* what jansson says of bad text may quote it; it holds no secret */
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(root)) {
		err = ksm_failf(fail, KSM_EPROTO, "packet is not a JSON object");
		goto out;
	}
	v = json_integer_value(json_object_get(root, "v"));
	type = json_string_value(json_object_get(root, "type"));
	if (v != MSG_CONF_VERSION) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "packet of version %" PRId64 ", this is version %d",
		    (int64_t)v, MSG_CONF_VERSION);
		goto out;
	}
	if (type == NULL) {
		err = ksm_failf(fail, KSM_EPROTO, "packet without a type");
		goto out;
	}
	if (d->ended) {
		err = ksm_failf(fail, KSM_EPROTO, "packet after the end");
		goto out;
	}
	if ((strcmp(type, "settings") == 0) != (d->packets == 0)) {
		err = ksm_failf(fail, KSM_EPROTO, d->packets == 0 ?
		    "the first packet is not settings" :
		    "settings came twice");
		goto out;
	}
	if (fd != -1 && strcmp(type, "repository") != 0 &&
	    strcmp(type, "settings") != 0) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "a descriptor that nothing asked for");
		goto out;
	}
	d->packets++;
	if (strcmp(type, "settings") == 0) {
		err = settings_in(c, root, &fd, fail);
	} else if (strcmp(type, "repository") == 0) {
		if (c->npolicies > 0 || c->nfindings > 0)
			err = ksm_failf(fail, KSM_EPROTO,
			    "repository out of order");
		else
			err = repository_in(c, root, &fd, fail);
	} else if (strcmp(type, "policy") == 0) {
		if (c->nfindings > 0)
			err = ksm_failf(fail, KSM_EPROTO,
			    "policy out of order");
		else
			err = policy_in(c, root, fail);
	} else if (strcmp(type, "finding") == 0) {
		err = finding_in(c, root, fail);
	} else if (strcmp(type, "end") == 0) {
		err = end_in(c, root, fail);
		d->ended = err == KSM_OK;
	} else {
		err = ksm_failf(fail, KSM_EPROTO, "packet of unknown type");
	}
out:
	if (fd != -1)
		(void)close(fd);
	json_decref(root);
	return err;
}

enum ksm_err
conf_decode_end(struct conf_decoder *d, struct ksm_fail *fail)
{
	if (!d->ended)
		return ksm_failf(fail, KSM_EPROTO,
		    "the configuration ended after %" PRId64
		    " packets, before its end was sent", d->packets);
	return KSM_OK;
}
