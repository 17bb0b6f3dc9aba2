#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/alg.h"

#include "config.h"

/* A policy key is written the same way for all three roles. */
enum key_part {
	P_KEY,
	P_ALGORITHM,
	P_LIFETIME,
	P_REPOSITORY,
	P_STANDBY,
	P_EMERGENCY,
	P_MANUAL,
	P_ROLLTYPE,
	P_RFC5011,
	P__COUNT
};

enum kasp_id {
	K_KASP,
	K_POLICY,
	K_PASSTHROUGH,
	K_DESCRIPTION,
	K_AUDIT,
	K_SIGNATURES,
	K_RESIGN,
	K_REFRESH,
	K_VALIDITY,
	K_VALIDITY_DEFAULT,
	K_VALIDITY_DENIAL,
	K_VALIDITY_KEYSET,
	K_JITTER,
	K_INCEPTION,
	K_MAXZONETTL,
	K_DENIAL,
	K_NSEC,
	K_NSEC3,
	K_NSEC3_TTL,
	K_OPTOUT,
	K_RESALT,
	K_HASH,
	K_HASH_ALGORITHM,
	K_ITERATIONS,
	K_SALT,
	K_KEYS,
	K_KEYS_TTL,
	K_RETIRE,
	K_PUBLISH,
	K_SHARE,
	K_PURGE,
	K_KSK,
	K_ZSK = K_KSK + P__COUNT,
	K_CSK = K_ZSK + P__COUNT,
	K_ZONE = K_CSK + P__COUNT,
	K_ZONE_DELAY,
	K_ZONE_SOA,
	K_ZONE_SOA_TTL,
	K_ZONE_SOA_MINIMUM,
	K_SERIAL,
	K_PARENT,
	K_PARENT_DELAY,
	K_REGISTRATION,
	K_DS,
	K_DS_TTL,
	K_PARENT_SOA,
	K_PARENT_SOA_TTL,
	K_PARENT_SOA_MINIMUM,
	K__COUNT
};

static const char *const serials[] = { "counter", "datecounter", "unixtime",
	"keep", NULL };

static const char *const ksk_rolls[] = { "KskDoubleRRset", "KskDoubleDS",
	"KskDoubleSignature", NULL };

static const char *const zsk_rolls[] = { "ZskDoubleSignature",
	"ZskPrePublication", "ZskDoubleRRsig", NULL };

static const char *const csk_rolls[] = { "CskDoubleRRset", "CskSingleSignature",
	"CskDoubleDS", "CskDoubleSignature", "CskPrePublication", NULL };

/* clang-format off: tables */
#define QUICK(id, name, parent) \
	[id] = { name, parent, XML_DURATION, XML_QUICK, .lo = 0 }

#define KEY_RULES(base, text, roll, rolls)                                     \
	[(base) +                                                              \
	    P_KEY] = { text, K_KEYS, XML_PARENT, XML_MANY, .lo = 0 },          \
	    [(base) + P_ALGORITHM] = { "Algorithm", base, XML_NUMBER,          \
		    XML_REQUIRED, { { "length", false } }, .lo = 0,            \
		    .hi = 255 },                                               \
	    [(base) + P_LIFETIME] = { "Lifetime", base, XML_DURATION,          \
		    XML_REQUIRED | XML_LIFE, .lo = 0 },                        \
	    [(base) + P_REPOSITORY] = { "Repository", base, XML_TEXT,          \
		    XML_REQUIRED, .lo = 0 },                                   \
	    [(base) + P_STANDBY] = { "Standby", base, XML_NUMBER, .lo = 0 },   \
	    [(base) + P_EMERGENCY] = { "Emergency", base, XML_NUMBER, .lo = 0, \
		    .superseded =                                              \
			"EmergencyRolls of the pool in ksmpool.xml" },         \
	    [(base) +                                                          \
		P_MANUAL] = { "ManualRollover", base, XML_PRESENCE, .lo = 0 }, \
	    [(base) + P_ROLLTYPE] = { roll, base, XML_WORD, XML_UNUSED,        \
		    .words = rolls },                                          \
	    [(base) + P_RFC5011] = { "RFC5011", base, XML_PRESENCE,            \
		    XML_UNUSED, .lo = 0 }

/*
 * The grammar of OpenDNSSEC 1.0 to 2.1 (conf/kasp.rnc there), one table for
 * all: what is no longer there was accepted once and still is in the files.
 * Only what a pool needs is required.
 */
static const struct xml_rule rules[K__COUNT] = {
	[K_KASP] = { "KASP", -1, XML_PARENT, .lo = 0 },
	[K_POLICY] = { "Policy", K_KASP, XML_PARENT, XML_MANY,
	    { { "name", true } }, .lo = 0 },
	[K_PASSTHROUGH] = { "Passthrough", K_POLICY, XML_PRESENCE, .lo = 0 },
	[K_DESCRIPTION] = { "Description", K_POLICY, XML_LOOSE, .lo = 0 },
	[K_AUDIT] = { "Audit", K_POLICY, XML_SKIP, XML_UNUSED, .lo = 0 },

	[K_SIGNATURES] = { "Signatures", K_POLICY, XML_PARENT, XML_UNUSED,
	    .lo = 0 },
	QUICK(K_RESIGN, "Resign", K_SIGNATURES),
	QUICK(K_REFRESH, "Refresh", K_SIGNATURES),
	[K_VALIDITY] = { "Validity", K_SIGNATURES, XML_PARENT, .lo = 0 },
	[K_VALIDITY_DEFAULT] = { "Default", K_VALIDITY, XML_DURATION, .lo = 0 },
	[K_VALIDITY_DENIAL] = { "Denial", K_VALIDITY, XML_DURATION, .lo = 0 },
	[K_VALIDITY_KEYSET] = { "Keyset", K_VALIDITY, XML_DURATION, .lo = 0 },
	QUICK(K_JITTER, "Jitter", K_SIGNATURES),
	[K_INCEPTION] = { "InceptionOffset", K_SIGNATURES, XML_OFFSET,
	    XML_QUICK, .lo = 0 },
	QUICK(K_MAXZONETTL, "MaxZoneTTL", K_SIGNATURES),

	[K_DENIAL] = { "Denial", K_POLICY, XML_PARENT, XML_UNUSED, .lo = 0 },
	[K_NSEC] = { "NSEC", K_DENIAL, XML_PRESENCE, .lo = 0 },
	[K_NSEC3] = { "NSEC3", K_DENIAL, XML_PARENT, .lo = 0 },
	QUICK(K_NSEC3_TTL, "TTL", K_NSEC3),
	[K_OPTOUT] = { "OptOut", K_NSEC3, XML_PRESENCE, .lo = 0 },
	[K_RESALT] = { "Resalt", K_NSEC3, XML_DURATION, .lo = 0 },
	[K_HASH] = { "Hash", K_NSEC3, XML_PARENT, .lo = 0 },
	[K_HASH_ALGORITHM] = { "Algorithm", K_HASH, XML_NUMBER, .lo = 0,
	    .hi = 255 },
	[K_ITERATIONS] = { "Iterations", K_HASH, XML_NUMBER, .lo = 0,
	    .hi = 65535 },
	[K_SALT] = { "Salt", K_HASH, XML_LOOSE, 0, { { "length", true } },
	    .lo = 0 },

	[K_KEYS] = { "Keys", K_POLICY, XML_PARENT, .lo = 0 },
	QUICK(K_KEYS_TTL, "TTL", K_KEYS),
	QUICK(K_RETIRE, "RetireSafety", K_KEYS),
	QUICK(K_PUBLISH, "PublishSafety", K_KEYS),
	[K_SHARE] = { "ShareKeys", K_KEYS, XML_PRESENCE, .lo = 0 },
	[K_PURGE] = { "Purge", K_KEYS, XML_DURATION, XML_QUICK, .lo = 0 },
	KEY_RULES(K_KSK, "KSK", "KskRollType", ksk_rolls),
	KEY_RULES(K_ZSK, "ZSK", "ZskRollType", zsk_rolls),
	KEY_RULES(K_CSK, "CSK", "CskRollType", csk_rolls),

	[K_ZONE] = { "Zone", K_POLICY, XML_PARENT, XML_UNUSED, .lo = 0 },
	QUICK(K_ZONE_DELAY, "PropagationDelay", K_ZONE),
	[K_ZONE_SOA] = { "SOA", K_ZONE, XML_PARENT, .lo = 0 },
	QUICK(K_ZONE_SOA_TTL, "TTL", K_ZONE_SOA),
	QUICK(K_ZONE_SOA_MINIMUM, "Minimum", K_ZONE_SOA),
	[K_SERIAL] = { "Serial", K_ZONE_SOA, XML_WORD, .words = serials },

	[K_PARENT] = { "Parent", K_POLICY, XML_PARENT, XML_UNUSED, .lo = 0 },
	QUICK(K_PARENT_DELAY, "PropagationDelay", K_PARENT),
	QUICK(K_REGISTRATION, "RegistrationDelay", K_PARENT),
	[K_DS] = { "DS", K_PARENT, XML_PARENT, .lo = 0 },
	QUICK(K_DS_TTL, "TTL", K_DS),
	[K_PARENT_SOA] = { "SOA", K_PARENT, XML_PARENT, .lo = 0 },
	QUICK(K_PARENT_SOA_TTL, "TTL", K_PARENT_SOA),
	QUICK(K_PARENT_SOA_MINIMUM, "Minimum", K_PARENT_SOA),
};
/* clang-format on */

struct kasp {
	struct xml_file *file;
	bool in_policy; /* its name is good: keys go to the last policy */
	bool key_ok;
	size_t nkeys; /* written in this policy */
	int number;   /* algorithm as written */
	char length[24];
	bool has_length, length_ok;
	struct conf_key key;
	enum ksm_err err;
};

static enum key_role
role_of(int base)
{
	return base == K_KSK ? ROLE_KSK : base == K_ZSK ? ROLE_ZSK : ROLE_CSK;
}

/* The first rule of the key that `id` belongs to, or -1. */
static int
base_of(int id)
{
	if (id < K_KSK || id >= K_ZONE)
		return -1;
	return K_KSK + (id - K_KSK) / P__COUNT * P__COUNT;
}

static void
policy_open(struct kasp *k, const struct xml_node *n)
{
	struct conf *c = k->file->conf;
	struct conf_policy *p;

	k->in_policy = false;
	k->nkeys = 0;
	if (n->attrs[0] == NULL)
		return;
	if (strlen(n->attrs[0]) > NAME_MAX_BYTES) {
		xml_find(k->file, CONF_ERROR, n->line,
		    "the name of a policy is too long", n->attrs[0],
		    "at most %d bytes", NAME_MAX_BYTES);
		return;
	}
	if (c->npolicies >= POLICIES_MAX) {
		if (c->npolicies == POLICIES_MAX && k->err == KSM_OK)
			xml_find(k->file, CONF_ERROR, n->line,
			    "too many policies", n->attrs[0], "at most %d",
			    POLICIES_MAX);
		return;
	}
	p = conf_policy_add(c, n->attrs[0]);
	if (p == NULL) {
		k->err = KSM_ENOMEM;
		return;
	}
	p->line = n->line;
	k->in_policy = true;
}

static void
on_open(void *ctx, const struct xml_node *n)
{
	struct kasp *k = ctx;
	int base = base_of(n->id);

	if (n->id == K_POLICY) {
		policy_open(k, n);
		return;
	}
	if (base == -1)
		return;
	if (n->id == base) {
		free(k->key.repository);
		memset(&k->key, 0, sizeof(k->key));
		conf_pool_default(&k->key.pool);
		k->key.role = role_of(base);
		k->key.line = n->line;
		k->key_ok = true;
		k->has_length = false;
	} else if (n->id == base + P_ALGORITHM) {
		k->has_length = n->attrs[0] != NULL;
		if (k->has_length)
			(void)snprintf(
			    k->length, sizeof(k->length), "%s", n->attrs[0]);
	}
}

/* "8 or 13 (...)": the numbers keys can be made for. */
static void
supported_text(char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (int number = 0; number < 256 && used < size; number++) {
		const struct alg *a = alg_find(number);
		int n;

		if (a == NULL)
			continue;
		n = snprintf(out + used, size - used, "%s%d (%s)",
		    used == 0 ? "one of " : ", ", number, a->name);
		if (n > 0)
			used += (size_t)n;
	}
}

static void
algorithm_take(struct kasp *k, const struct xml_node *n)
{
	struct ksm_fail fail = { .err = KSM_OK };
	const struct alg *alg;
	char what[160], list[400], said[32];
	int64_t length = 0;
	bool odd = false;

	if (!n->ok) {
		k->key_ok = false;
		return;
	}
	alg = alg_find((int)n->number);
	if (alg == NULL) {
		const char *name = alg_iana_name((int)n->number);

		if (name != NULL)
			(void)snprintf(what, sizeof(what),
			    "keys of algorithm %s cannot be made", name);
		else
			(void)snprintf(what, sizeof(what),
			    "no DNSSEC algorithm has this number");
		supported_text(list, sizeof(list));
		xml_find(
		    k->file, CONF_ERROR, n->line, what, n->text, "%s", list);
		k->key_ok = false;
		return;
	}
	k->key.alg = (int)n->number;
	if (k->has_length) {
		size_t digits = strspn(k->length, "0123456789");

		if (digits == 0 || digits > 9 || k->length[digits] != '\0' ||
		    strtol(k->length, NULL, 10) == 0) {
			xml_find(k->file, CONF_ERROR, n->line,
			    "the length of a key is not a number", k->length,
			    "bits, 1 or more");
			k->key_ok = false;
			return;
		}
		length = strtol(k->length, NULL, 10);
	} else if (alg->family == ALG_RSA) {
		xml_find(k->file, CONF_ERROR, n->line,
		    "an RSA key without a length", NULL,
		    "<Algorithm length=\"2048\">%d</Algorithm>", alg->number);
		k->key_ok = false;
		return;
	}
	if (alg_bits(alg, length, &k->key.bits, &odd, &fail) != KSM_OK) {
		(void)snprintf(what, sizeof(what),
		    "keys of algorithm %s cannot have this length", alg->name);
		if (alg->bits_min == alg->bits_max)
			xml_find(k->file, CONF_ERROR, n->line, what, k->length,
			    "%d bits", alg->bits_min);
		else
			xml_find(k->file, CONF_ERROR, n->line, what, k->length,
			    "%d to %d bits, a multiple of %d", alg->bits_min,
			    alg->bits_max, alg->bits_step);
		k->key_ok = false;
		return;
	}
	if (odd) {
		(void)snprintf(what, sizeof(what),
		    "keys of algorithm %s have one size only; this length "
		    "is ignored",
		    alg->name);
		xml_find(k->file, CONF_WARNING, n->line, what, k->length, "%d",
		    k->key.bits);
	}
	if (alg->family == ALG_RSA && k->key.bits < 2048) {
		(void)snprintf(said, sizeof(said), "%d bits", k->key.bits);
		xml_find(k->file, CONF_WARNING, n->line,
		    "RSA keys this short are within reach of an attacker "
		    "(NIST SP 800-57: below 112 bits of strength)",
		    said, "2048 bits or more");
	}
	if (alg->hash != NULL && strcmp(alg->hash, "SHA1") == 0) {
		(void)snprintf(what, sizeof(what),
		    "algorithm %s signs with SHA-1, which is broken; RFC 8624 "
		    "recommends against it and validators drop it",
		    alg->name);
		xml_find(k->file, CONF_WARNING, n->line, what, n->text,
		    "8 (RSASHA256) or 13 (ECDSAP256SHA256)");
	}
}

static void
key_close(struct kasp *k, const struct xml_node *n)
{
	struct conf *c = k->file->conf;
	struct conf_policy *p;
	struct conf_key *key;

	k->nkeys++;
	if (k->nkeys == POLICY_KEYS_MAX + 1)
		xml_find(k->file, CONF_ERROR, n->line,
		    "too many keys in one policy", NULL, "at most %d",
		    POLICY_KEYS_MAX);
	if (!n->ok || !k->key_ok || !k->in_policy || k->nkeys > POLICY_KEYS_MAX)
		return;
	p = &c->policies[c->npolicies - 1];
	key = conf_key_add(p);
	if (key == NULL) {
		k->err = KSM_ENOMEM;
		return;
	}
	*key = k->key;
	k->key.repository = NULL;
}

static void
on_close(void *ctx, const struct xml_node *n)
{
	struct kasp *k = ctx;
	struct conf *c = k->file->conf;
	int base = base_of(n->id);

	if (n->id == K_PASSTHROUGH && k->in_policy)
		c->policies[c->npolicies - 1].passthrough = true;
	else if (n->id == K_SHARE && k->in_policy)
		c->policies[c->npolicies - 1].share_keys = true;
	else if (n->id == K_PURGE && k->in_policy && n->ok)
		c->policies[c->npolicies - 1].purge = n->number;
	else if (n->id == K_POLICY)
		k->in_policy = false;
	if (base == -1)
		return;

	switch (n->id - base) {
	case P_KEY:
		key_close(k, n);
		break;
	case P_ALGORITHM:
		algorithm_take(k, n);
		break;
	case P_LIFETIME:
		k->key_ok = k->key_ok && n->ok;
		k->key.lifetime = n->number;
		break;
	case P_REPOSITORY:
		if (!n->ok) {
			k->key_ok = false;
			break;
		}
		if (n->len > NAME_MAX_BYTES) {
			xml_find(k->file, CONF_ERROR, n->line,
			    "the name of a repository is too long", n->text,
			    "at most %d bytes", NAME_MAX_BYTES);
			k->key_ok = false;
			break;
		}
		free(k->key.repository);
		k->key.repository = strdup(n->text);
		if (k->key.repository == NULL) {
			k->key_ok = false;
			k->err = KSM_ENOMEM;
		}
		break;
	case P_STANDBY:
		k->key_ok = k->key_ok && n->ok;
		k->key.standby = n->number;
		break;
	case P_MANUAL:
		k->key.manual_rollover = true;
		break;
	default:
		break;
	}
}

static const struct xml_grammar grammar = {
	.what = "a policy file (kasp.xml)",
	.rules = rules,
	.nrules = K__COUNT,
	.open = on_open,
	.close = on_close,
};

static enum ksm_err
kasp_finish(struct kasp *k, enum ksm_err err, const struct xml_result *result,
    struct ksm_fail *fail)
{
	free(k->key.repository);
	if (err == KSM_OK && k->err != KSM_OK)
		err =
		    ksm_failf(fail, k->err, "%s: out of memory", k->file->path);
	if (err == KSM_OK && result->sound && k->file->conf->npolicies == 0)
		xml_find(
		    k->file, CONF_NOTICE, 0, "no policy in it", NULL, NULL);
	return err;
}

enum ksm_err
kasp_read(
    struct xml_file *file, struct xml_result *result, struct ksm_fail *fail)
{
	struct kasp k = { .file = file };

	return kasp_finish(
	    &k, xml_read(&grammar, file, &k, result, fail), result, fail);
}

enum ksm_err
kasp_read_bytes(struct xml_file *file, const void *bytes, size_t len,
    struct xml_result *result, struct ksm_fail *fail)
{
	struct kasp k = { .file = file };

	return kasp_finish(&k,
	    xml_read_bytes(&grammar, file, bytes, len, &k, result, fail),
	    result, fail);
}
