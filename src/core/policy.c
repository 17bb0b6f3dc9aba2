#include "ksmpool/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h> /* close(2): a conf owns its PIN descriptors */

#include "ksmpool/alg.h"
#include "ksmpool/plan.h"

/* More findings than this are counted and not kept. */
#define FINDINGS_MAX 10000
/* CK_TOKEN_INFO.label is 32 bytes, padded with blanks (PKCS#11 3.3). */
#define TOKEN_LABEL_MAX 32
/* Keys per zone from which an operator should look twice. */
#define SURPRISING_PER_ZONE 10

static const char *const strategy_texts[STRATEGY__COUNT] = {
	[STRATEGY_FORMULA] = "formula",
	[STRATEGY_MINIMUM] = "minimum",
	[STRATEGY_FIXED] = "fixed",
	[STRATEGY_MANUAL] = "manual",
	[STRATEGY_FILL] = "fill",
};

static const char *const scope_texts[SCOPE__COUNT] = {
	[SCOPE_KASP] = "kasp",
	[SCOPE_ZONE] = "zone",
	[SCOPE_OWNER] = "owner",
	[SCOPE_POLICY] = "policy",
};

static const char *const shortage_texts[SHORTAGE__COUNT] = {
	[SHORTAGE_REFUSE] = "refuse",
	[SHORTAGE_WAIT] = "wait",
	[SHORTAGE_GENERATE] = "generate",
	[SHORTAGE_UNCOVERED] = "uncovered",
};

const char *
on_shortage_text(enum on_shortage s)
{
	if ((unsigned)s >= SHORTAGE__COUNT)
		return "?";
	return shortage_texts[s];
}

bool
on_shortage_find(const char *text, enum on_shortage *out)
{
	for (int i = 0; i < SHORTAGE__COUNT; i++) {
		if (strcmp(text, shortage_texts[i]) == 0) {
			*out = (enum on_shortage)i;
			return true;
		}
	}
	return false;
}

const char *
key_scope_text(enum key_scope s)
{
	if ((unsigned)s >= SCOPE__COUNT)
		return "?";
	return scope_texts[s];
}

bool
key_scope_find(const char *text, enum key_scope *out)
{
	for (int i = SCOPE_ZONE; i < SCOPE__COUNT; i++) {
		if (strcmp(text, scope_texts[i]) == 0) {
			*out = (enum key_scope)i;
			return true;
		}
	}
	return false;
}

const char *
strategy_text(enum strategy s)
{
	if ((unsigned)s >= STRATEGY__COUNT)
		return "?";
	return strategy_texts[s];
}

bool
strategy_find(const char *text, enum strategy *out)
{
	for (size_t i = 0; i < STRATEGY__COUNT; i++) {
		if (strcmp(text, strategy_texts[i]) == 0) {
			*out = (enum strategy)i;
			return true;
		}
	}
	return false;
}

const char *
conf_severity_text(enum conf_severity s)
{
	switch (s) {
	case CONF_NOTICE:
		return "notice";
	case CONF_WARNING:
		return "warning";
	case CONF_ERROR:
		return "error";
	}
	return "?";
}

bool
conf_file_counts(enum conf_file in)
{
	return in == CONF_ZONELIST || in == CONF_OWNERS;
}

void
conf_init(struct conf *c)
{
	memset(c, 0, sizeof(*c));
	c->zones_fd = -1;
}

void
conf_repository_clear(struct conf_repository *r)
{
	free(r->name);
	free(r->module);
	free(r->token_label);
	free(r->token_serial);
	free(r->token_uri);
	free(r->init_reserved);
	free(r->pin_path);
	if (r->pin_fd >= 0)
		(void)close(r->pin_fd);
	free(r->sync_path);
	free(r->hook);
	for (size_t i = 0; i < r->nenv; i++) {
		free(r->env[i].name);
		free(r->env[i].value);
	}
	free(r->env);
	for (size_t i = 0; i < r->nattributes; i++) {
		free(r->attributes[i].name);
		free(r->attributes[i].value);
	}
	free(r->attributes);
	free(r->file);
	memset(r, 0, sizeof(*r));
	r->pin_fd = -1;
}

void
conf_clear(struct conf *c)
{
	free(c->file);
	free(c->state_dir);
	free(c->database);
	free(c->socket_path);
	free(c->socket_group);
	free(c->socket_readers);
	free(c->user);
	free(c->kasp_file);
	free(c->zonelist_file);
	free(c->opendnssec_file);
	free(c->owner_file);
	free(c->handout_journal);
	if (c->zones_fd >= 0)
		(void)close(c->zones_fd);
	for (size_t i = 0; i < c->nrepositories; i++)
		conf_repository_clear(&c->repositories[i]);
	free(c->repositories);
	for (size_t i = 0; i < c->npolicies; i++) {
		struct conf_policy *p = &c->policies[i];

		for (size_t k = 0; k < p->nkeys; k++)
			free(p->keys[k].repository);
		free(p->keys);
		free(p->name);
	}
	free(c->policies);
	for (size_t i = 0; i < c->nfindings; i++) {
		struct conf_finding *f = &c->findings[i];

		free(f->file);
		free(f->what);
		free(f->value);
		free(f->expected);
	}
	free(c->findings);
	conf_init(c);
}

/* Room for one more; arrays grow at each power of two. */
static void *
array_grow(void *array, size_t n, size_t size)
{
	if ((n & (n - 1)) != 0)
		return array;
	return reallocarray(array, n == 0 ? 1 : n * 2, size);
}

struct conf_repository *
conf_repository_add(struct conf *c, const char *name)
{
	struct conf_repository *grown, *r;

	grown = array_grow(c->repositories, c->nrepositories, sizeof(*grown));
	if (grown == NULL)
		return NULL;
	c->repositories = grown;
	r = &grown[c->nrepositories];
	memset(r, 0, sizeof(*r));
	r->name = strdup(name);
	if (r->name == NULL)
		return NULL;
	r->pin_fd = -1;
	r->capacity = -1;
	r->sessions = 1;
	r->deadline = 120;
	r->hook_timeout = 10;
	r->keys_per_minute = 60;
	c->nrepositories++;
	return r;
}

struct conf_policy *
conf_policy_add(struct conf *c, const char *name)
{
	struct conf_policy *grown, *p;

	grown = array_grow(c->policies, c->npolicies, sizeof(*grown));
	if (grown == NULL)
		return NULL;
	c->policies = grown;
	p = &grown[c->npolicies];
	memset(p, 0, sizeof(*p));
	p->name = strdup(name);
	if (p->name == NULL)
		return NULL;
	c->npolicies++;
	return p;
}

struct conf_key *
conf_key_add(struct conf_policy *p)
{
	struct conf_key *grown, *k;

	grown = array_grow(p->keys, p->nkeys, sizeof(*grown));
	if (grown == NULL)
		return NULL;
	p->keys = grown;
	k = &grown[p->nkeys++];
	memset(k, 0, sizeof(*k));
	conf_pool_default(&k->pool);
	return k;
}

void
conf_pool_default(struct conf_pool *p)
{
	memset(p, 0, sizeof(*p));
	p->strategy = STRATEGY_FORMULA;
	p->horizon = INT64_C(30) * 86400;
	p->minimum_horizon = 86400;
	p->emergency_rolls = 1;
	p->low_water = 80;
	p->max_per_run = 1000;
}

static bool
text_copy(char **out, const char *text)
{
	*out = NULL;
	if (text == NULL)
		return true;
	*out = strdup(text);
	return *out != NULL;
}

enum ksm_err
conf_finding_add(struct conf *c, enum conf_severity sev, enum conf_file in,
    const char *file, int64_t line, const char *what, const char *value,
    const char *expected)
{
	struct conf_finding *grown, *f;

	switch (sev) {
	case CONF_ERROR:
		c->errors++;
		if (conf_file_counts(in))
			c->zonelist_errors++;
		break;
	case CONF_WARNING:
		c->warnings++;
		break;
	case CONF_NOTICE:
		c->notices++;
		break;
	}
	if (c->nfindings >= FINDINGS_MAX)
		return KSM_OK;

	grown = array_grow(c->findings, c->nfindings, sizeof(*grown));
	if (grown == NULL)
		return KSM_ENOMEM;
	c->findings = grown;
	f = &grown[c->nfindings];
	memset(f, 0, sizeof(*f));
	f->severity = sev;
	f->in = in;
	f->line = line;
	if (!text_copy(&f->file, file) || !text_copy(&f->what, what) ||
	    !text_copy(&f->value, value) ||
	    !text_copy(&f->expected, expected)) {
		free(f->file);
		free(f->what);
		free(f->value);
		return KSM_ENOMEM;
	}
	c->nfindings++;
	return KSM_OK;
}

const struct conf_repository *
conf_repository_find(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->nrepositories; i++)
		if (strcmp(c->repositories[i].name, name) == 0)
			return &c->repositories[i];
	return NULL;
}

const struct conf_policy *
conf_policy_find(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->npolicies; i++)
		if (strcmp(c->policies[i].name, name) == 0)
			return &c->policies[i];
	return NULL;
}

/* ---- checks ---------------------------------------------------------- */

static const char *
kasp_name(const struct conf *c)
{
	return c->kasp_file != NULL ? c->kasp_file : "kasp.xml";
}

static enum conf_file
repository_where(const struct conf *c, const struct conf_repository *r)
{
	if (r->file != NULL && c->opendnssec_file != NULL &&
	    strcmp(r->file, c->opendnssec_file) == 0)
		return CONF_OPENDNSSEC;
	return CONF_KSMPOOL;
}

static enum ksm_err
find_repository(struct conf *c, enum conf_severity sev,
    const struct conf_repository *r, const char *what, const char *value,
    const char *expected)
{
	return conf_finding_add(c, sev, repository_where(c, r),
	    r->file != NULL ? r->file : c->file, r->line, what, value,
	    expected);
}

static enum ksm_err
find_policy(struct conf *c, enum conf_severity sev, int64_t line,
    const char *what, const char *value, const char *expected)
{
	return conf_finding_add(
	    c, sev, CONF_KASP, kasp_name(c), line, what, value, expected);
}

/* What a repository says about its token; "" where it says nothing. */
struct token_name {
	char label[TOKEN_LABEL_MAX + 1];
	char serial[64];
};

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* One attribute of a PKCS#11 URI (RFC 7512 2.3), percent-decoded. */
static void
uri_get(const char *uri, const char *attribute, char *out, size_t size)
{
	const char *p = uri;
	size_t alen = strlen(attribute), n = 0;

	out[0] = '\0';
	if (strncmp(p, "pkcs11:", 7) != 0)
		return;
	p += 7;
	while (*p != '\0' && *p != '?') {
		size_t len = strcspn(p, ";?");

		if (len > alen && p[alen] == '=' &&
		    strncmp(p, attribute, alen) == 0) {
			for (size_t i = alen + 1; i < len && n + 1 < size;
			     i++) {
				if (p[i] == '%' && i + 2 < len &&
				    hex_digit(p[i + 1]) >= 0 &&
				    hex_digit(p[i + 2]) >= 0) {
					out[n++] =
					    (char)(hex_digit(p[i + 1]) * 16 +
						   hex_digit(p[i + 2]));
					i += 2;
				} else {
					out[n++] = p[i];
				}
			}
			out[n] = '\0';
			return;
		}
		p += len;
		if (*p == ';')
			p++;
	}
}

static void
token_name_get(const struct conf_repository *r, struct token_name *t)
{
	size_t len;

	memset(t, 0, sizeof(*t));
	if (r->token_uri != NULL) {
		uri_get(r->token_uri, "token", t->label, sizeof(t->label));
		uri_get(r->token_uri, "serial", t->serial, sizeof(t->serial));
	} else {
		/* tokens compare 32 padded bytes; what is beyond is lost */
		if (r->token_label != NULL)
			(void)snprintf(
			    t->label, sizeof(t->label), "%s", r->token_label);
		if (r->token_serial != NULL)
			(void)snprintf(t->serial, sizeof(t->serial), "%s",
			    r->token_serial);
	}
	len = strlen(t->label);
	while (len > 0 && t->label[len - 1] == ' ')
		t->label[--len] = '\0';
}

/* True if one token could answer to both names. */
static bool
token_name_clash(const struct token_name *a, const struct token_name *b)
{
	bool same = false;

	if (a->label[0] != '\0' && b->label[0] != '\0') {
		if (strcmp(a->label, b->label) != 0)
			return false;
		same = true;
	}
	if (a->serial[0] != '\0' && b->serial[0] != '\0') {
		if (strcmp(a->serial, b->serial) != 0)
			return false;
		same = true;
	}
	return same;
}

static enum ksm_err
check_repositories(struct conf *c)
{
	enum ksm_err err = KSM_OK;
	char text[512];

	for (size_t i = 0; i < c->nrepositories && err == KSM_OK; i++) {
		const struct conf_repository *r = &c->repositories[i];
		struct token_name mine;

		if (r->token_label != NULL &&
		    strlen(r->token_label) > TOKEN_LABEL_MAX) {
			(void)snprintf(text, sizeof(text),
			    "at most %d bytes; this has %zu", TOKEN_LABEL_MAX,
			    strlen(r->token_label));
			err = find_repository(c, CONF_ERROR, r,
			    "token label is too long", r->token_label, text);
			if (err != KSM_OK)
				break;
		}
		token_name_get(r, &mine);
		for (size_t j = 0; j < i && err == KSM_OK; j++) {
			const struct conf_repository *o = &c->repositories[j];
			struct token_name theirs;

			if (strcmp(o->name, r->name) == 0) {
				(void)snprintf(text, sizeof(text),
				    "each name once; first at line %" PRId64,
				    o->line);
				err = find_repository(c, CONF_ERROR, r,
				    "duplicate repository", r->name, text);
				continue;
			}
			if (o->module == NULL || r->module == NULL ||
			    strcmp(o->module, r->module) != 0)
				continue;
			token_name_get(o, &theirs);
			if (!token_name_clash(&mine, &theirs))
				continue;
			(void)snprintf(text, sizeof(text),
			    "one repository for each token; '%s' at line "
			    "%" PRId64 " means the same module and token",
			    o->name, o->line);
			err = find_repository(c, CONF_ERROR, r,
			    "two repositories mean the same token", r->name,
			    text);
		}
	}
	return err;
}

static bool
key_same(const struct conf_key *a, const struct conf_key *b)
{
	return a->role == b->role && a->alg == b->alg && a->bits == b->bits &&
	       a->lifetime == b->lifetime &&
	       strcmp(a->repository, b->repository) == 0;
}

/*
 * A borrowed view of `c` with one policy of one key, so that the plan itself
 * says whether the formula overflows for that key.
 */
static enum ksm_err
key_plan_try(const struct conf *c, const struct conf_policy *p,
    const struct conf_key *k, struct ksm_fail *fail)
{
	struct conf one = *c;
	struct conf_policy policy = *p;
	struct conf_key key = *k;
	struct plan plan;
	enum ksm_err err;

	policy.keys = &key;
	policy.nkeys = 1;
	one.policies = &policy;
	one.npolicies = 1;
	memset(&plan, 0, sizeof(plan));
	err = plan_make(&one, NULL, &plan, fail);
	plan_clear(&plan);
	return err;
}

/* Whether key k can go into a plan; appends what stands against it. */
static enum ksm_err
check_key(struct conf *c, const struct conf_policy *p, size_t k, bool *good)
{
	const struct conf_key *key = &p->keys[k];
	const struct conf_repository *r;
	struct ksm_fail fail = { .err = KSM_OK };
	enum ksm_err err = KSM_OK;
	const struct alg *alg;
	char text[512], value[256];

	*good = false;
	alg = alg_find(key->alg);
	for (size_t j = 0; j < k && err == KSM_OK; j++) {
		if (!key_same(&p->keys[j], key))
			continue;
		(void)snprintf(value, sizeof(value),
		    "%s algorithm %d, %d bits, repository %s, policy %s",
		    key_role_text(key->role), key->alg, key->bits,
		    key->repository, p->name);
		(void)snprintf(text, sizeof(text),
		    "each policy key once; first at line %" PRId64,
		    p->keys[j].line);
		err = find_policy(c, CONF_ERROR, key->line,
		    "duplicate policy key", value, text);
		break;
	}
	if (err != KSM_OK || c->nrepositories == 0)
		return err; /* nothing is known about repositories */

	r = conf_repository_find(c, key->repository);
	if (r == NULL) {
		size_t used = 0;

		text[0] = '\0';
		for (size_t i = 0;
		     i < c->nrepositories && used + 4 < sizeof(text); i++) {
			int n = snprintf(text + used, sizeof(text) - used,
			    "%s%s", i == 0 ? "one of " : ", ",
			    c->repositories[i].name);

			if (n > 0)
				used += (size_t)n;
		}
		return find_policy(c, CONF_ERROR, key->line,
		    "unknown repository", key->repository, text);
	}
	if (r->skip_public_key && alg != NULL && alg->family != ALG_RSA) {
		(void)snprintf(text, sizeof(text),
		    "nothing to change: both halves of %s keys are always "
		    "stored, so count two objects for each",
		    alg->name);
		err = find_policy(c, CONF_WARNING, key->line,
		    "SkipPublicKey has no effect on keys of this algorithm",
		    r->name, text);
		if (err != KSM_OK)
			return err;
	}
	err = key_plan_try(c, p, key, &fail);
	if (err == KSM_EREFUSED)
		return find_policy(c, CONF_ERROR, key->line,
		    "the number of keys cannot be computed", fail.text, NULL);
	*good = err == KSM_OK;
	return err;
}

static enum ksm_err
check_pool(struct conf *c, const struct plan_pool *pool)
{
	const struct conf_policy *p = pool->policy_conf;
	char text[512], value[256];
	int64_t line = 0;

	if (pool->required == 0)
		return KSM_OK;
	if (pool->nterms > 0)
		line = pool->terms[0].key->line;
	(void)snprintf(value, sizeof(value),
	    "%" PRId64 " (policy %s, %s, %" PRId64 " zones)", pool->required,
	    pool->policy, key_role_text(pool->role), p->zones);

	if (pool->strategy != STRATEGY_FIXED &&
	    pool->required / SURPRISING_PER_ZONE >= p->zones &&
	    pool->required > p->zones * SURPRISING_PER_ZONE) {
		(void)snprintf(text, sizeof(text),
		    "at most %d keys for each zone; look at Lifetime, Standby "
		    "and Horizon (%" PRId64 " s)",
		    SURPRISING_PER_ZONE, pool->settings.horizon);
		return find_policy(c, CONF_WARNING, line,
		    "a surprising number of keys", value, text);
	}
	if (pool->required > pool->settings.max_per_run) {
		(void)snprintf(text, sizeof(text),
		    "at most %" PRId64 " (MaxPerRun) in one refill; the rest "
		    "needs further refills or 'ksmctl topup --max'",
		    pool->settings.max_per_run);
		return find_policy(c, CONF_WARNING, line,
		    "a surprising number of keys", value, text);
	}
	return KSM_OK;
}

/* What the pools require of a token, before it is known what it holds. */
static enum ksm_err
check_room(struct conf *c, const struct conf_repository *repo,
    const struct plan_token *token)
{
	char text[512], value[128];

	if (token->pairs_over > 0) {
		(void)snprintf(
		    value, sizeof(value), "%" PRId64, repo->capacity);
		(void)snprintf(text, sizeof(text),
		    "room for %" PRId64 " key pairs, %" PRId64
		    " more than repository '%s' may hold, keys in use not "
		    "counted",
		    token->pairs_need, token->pairs_over, repo->name);
		return find_repository(c, CONF_WARNING, repo,
		    "Capacity is too small for the pools", value, text);
	}
	if (token->room == ROOM_OK)
		return KSM_OK;
	(void)snprintf(value, sizeof(value),
	    "%" PRId64 " of %" PRId64 " key pairs", token->pairs_need,
	    token->capacity);
	(void)snprintf(text, sizeof(text),
	    "a larger Capacity of repository '%s', if it has one, or fewer "
	    "keys; keys in use are not counted", repo->name);
	return find_repository(c, CONF_WARNING, repo,
	    token->room == ROOM_CRITICAL ?
		"the pools need 90 % of Capacity or more" :
		"the pools need 75 % of Capacity or more", value, text);
}

static enum ksm_err
check_load(struct conf *c, const struct plan *plan, size_t r)
{
	const struct conf_repository *repo = &c->repositories[r];
	enum ksm_err err = KSM_OK;
	const struct plan_token *token = &plan->tokens[r];
	const struct plan_pool *unbounded = NULL;
	double per_minute = 0;
	char text[512], value[128];

	for (size_t i = 0; i < plan->npools; i++) {
		const struct plan_pool *pool = &plan->pools[i];

		if (strcmp(pool->repository, repo->name) != 0)
			continue;
		if (pool->strategy == STRATEGY_FILL && !pool->passthrough &&
		    repo->capacity < 0 && unbounded == NULL)
			unbounded = pool;
		if (pool->strategy == STRATEGY_MANUAL)
			continue;
		for (size_t t = 0; t < pool->nterms; t++) {
			const struct plan_term *term = &pool->terms[t];

			if (term->in.lifetime > 0)
				per_minute += (double)term->out.units * 60 /
					      (double)term->in.lifetime;
		}
	}
	if (unbounded != NULL) {
		(void)snprintf(text, sizeof(text),
		    "<Capacity> in repository '%s'; %s of policy '%s' is to "
		    "fill it", repo->name, key_role_text(unbounded->role),
		    unbounded->policy);
		err = find_repository(c, CONF_ERROR, repo,
		    "strategy fill in a repository without Capacity",
		    repo->name, text);
	}
	if (err == KSM_OK)
		err = check_room(c, repo, token);
	if (err == KSM_OK && repo->keys_per_minute > 0 &&
	    per_minute > (double)repo->keys_per_minute) {
		(void)snprintf(value, sizeof(value),
		    "%.1f keys a minute are used", per_minute);
		(void)snprintf(text, sizeof(text),
		    "fewer than the %" PRId64
		    " that KeysPerMinute of repository '%s' allows",
		    repo->keys_per_minute, repo->name);
		err = find_repository(c, CONF_WARNING, repo,
		    "a refill can never catch up", value, text);
	}
	return err;
}

/* Pools and their sums, over those keys that a plan can hold. */
static enum ksm_err
check_plan(struct conf *c, const struct conf *view, struct ksm_fail *fail)
{
	struct ksm_fail why = { .err = KSM_OK };
	struct plan plan;
	enum ksm_err err;

	memset(&plan, 0, sizeof(plan));
	err = plan_make(view, NULL, &plan, &why);
	if (err == KSM_EREFUSED) {
		err = find_policy(c, CONF_ERROR, 0,
		    "the number of keys cannot be computed", why.text, NULL);
		goto out;
	}
	if (err != KSM_OK) {
		(void)ksm_failf(fail, err, "%s", why.text);
		goto out;
	}
	for (size_t i = 0; i < plan.npools && err == KSM_OK; i++)
		err = check_pool(c, &plan.pools[i]);
	for (size_t r = 0; r < c->nrepositories && err == KSM_OK; r++)
		err = check_load(c, &plan, r);
out:
	plan_clear(&plan);
	return err;
}

/* An error between this policy and the next says why it has no keys. */
static bool
policy_excused(const struct conf *c, size_t i)
{
	int64_t from = c->policies[i].line, to = INT64_MAX;

	if (i + 1 < c->npolicies)
		to = c->policies[i + 1].line;
	for (size_t f = 0; f < c->nfindings; f++) {
		const struct conf_finding *found = &c->findings[f];

		if (found->in == CONF_KASP && found->severity == CONF_ERROR &&
		    found->line >= from && found->line < to)
			return true;
	}
	return false;
}

static enum ksm_err
check_policies(struct conf *c)
{
	enum ksm_err err = KSM_OK;
	char text[256];

	for (size_t i = 0; i < c->npolicies && err == KSM_OK; i++) {
		const struct conf_policy *p = &c->policies[i];

		for (size_t j = 0; j < i && err == KSM_OK; j++) {
			if (strcmp(c->policies[j].name, p->name) != 0)
				continue;
			(void)snprintf(text, sizeof(text),
			    "each name once; first at line %" PRId64,
			    c->policies[j].line);
			err = find_policy(c, CONF_ERROR, p->line,
			    "duplicate policy", p->name, text);
			break;
		}
		if (err == KSM_OK && p->nkeys == 0 && !p->passthrough &&
		    !policy_excused(c, i))
			err = find_policy(c, CONF_ERROR, p->line,
			    "policy without keys", p->name,
			    "at least one KSK, ZSK or CSK in Keys");
		if (err == KSM_OK && p->passthrough)
			err = find_policy(c, CONF_NOTICE, p->line,
			    "zones of this policy are not signed, its pools "
			    "require no keys (Passthrough)",
			    p->name, NULL);
	}
	return err;
}

enum ksm_err
conf_check(struct conf *c, struct ksm_fail *fail)
{
	struct conf view = *c;
	enum ksm_err err;
	size_t npolicies = c->npolicies;

	view.policies = NULL;
	view.npolicies = 0;
	err = check_repositories(c);
	if (err == KSM_OK)
		err = check_policies(c);
	if (err != KSM_OK)
		goto out;

	if (npolicies > 0) {
		view.policies = calloc(npolicies, sizeof(*view.policies));
		if (view.policies == NULL) {
			err = KSM_ENOMEM;
			goto out;
		}
	}
	for (size_t i = 0; i < npolicies; i++) {
		const struct conf_policy *p = &c->policies[i];
		struct conf_policy *v = &view.policies[i];

		*v = *p;
		v->keys = NULL;
		v->nkeys = 0;
		view.npolicies = i + 1;
		if (p->nkeys == 0)
			continue;
		v->keys = calloc(p->nkeys, sizeof(*v->keys));
		if (v->keys == NULL) {
			err = KSM_ENOMEM;
			goto out;
		}
		for (size_t k = 0; k < p->nkeys; k++) {
			bool good;

			err = check_key(c, p, k, &good);
			if (err != KSM_OK)
				goto out;
			if (good)
				v->keys[v->nkeys++] = p->keys[k];
		}
	}
	if (c->nrepositories > 0)
		err = check_plan(c, &view, fail);
out:
	for (size_t i = 0; i < view.npolicies; i++)
		free(view.policies[i].keys);
	free(view.policies);
	if (err == KSM_ENOMEM)
		(void)ksm_failf(fail, err, "out of memory");
	return err;
}
