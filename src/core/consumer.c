#include "ksmpool/consumer.h"

#include <stdio.h>
#include <string.h>

#include "ksmpool/alg.h"

/* When it needs the public object that <SkipPublicKey/> leaves out. */
enum needs { NEEDS_NONE, NEEDS_FOR_EC, NEEDS_ALWAYS };

#define ALGS 8

/*
 * The numbers of each are what it can sign with through PKCS#11, which is less
 * than what it knows: GnuTLS under Knot finds no Ed448 key in a token, PowerDNS
 * has no mechanism for EdDSA, Cascade's bridge hashes with SHA-256 alone.
 */
static const struct consumer_rule {
	const char *name;  /* on the command line and in records */
	const char *title; /* in a sentence */
	uint8_t algs[ALGS]; /* 0 at the end, all 0: any */
	enum needs needs;
	bool at_parent; /* only for keys the parent points to */
	bool once;	/* a key it has cannot be given to it again */
} rules[CONSUMER__COUNT] = {
	[CONSUMER_NONE] = { .name = "", .title = "nobody" },
	[CONSUMER_BIND] = { .name = "bind", .title = "BIND",
	    .algs = { 5, 7, 8, 10, 13, 14, 15, 16 }, .needs = NEEDS_ALWAYS },
	[CONSUMER_KNOT] = { .name = "knot", .title = "Knot DNS",
	    .algs = { 5, 7, 8, 10, 13, 14, 15 }, .needs = NEEDS_FOR_EC },
	[CONSUMER_KNOT_LATER] = { .name = "knot-later", .title = "Knot DNS",
	    .algs = { 5, 7, 8, 10, 13, 14, 15 }, .needs = NEEDS_FOR_EC },
	[CONSUMER_OPENDNSSEC] = { .name = "opendnssec", .title = "OpenDNSSEC",
	    .algs = { 5, 7, 8, 10, 13, 14, 15, 16 }, .needs = NEEDS_FOR_EC,
	    .once = true },
	[CONSUMER_OPENDNSSEC_POOL] = { .name = "opendnssec-pool",
	    .title = "OpenDNSSEC",
	    .algs = { 5, 7, 8, 10, 13, 14, 15, 16 }, .needs = NEEDS_FOR_EC,
	    .once = true },
	[CONSUMER_POWERDNS] = { .name = "powerdns", .title = "PowerDNS",
	    .algs = { 5, 7, 8, 10, 13, 14 }, .needs = NEEDS_ALWAYS },
	[CONSUMER_CASCADE] = { .name = "cascade", .title = "Cascade",
	    .algs = { 8, 13 }, .needs = NEEDS_ALWAYS },
	[CONSUMER_URI] = { .name = "uri", .title = "a PKCS#11 URI" },
	[CONSUMER_DNSKEY] = { .name = "dnskey", .title = "a DNSKEY record" },
	[CONSUMER_CDS] = { .name = "cds", .title = "a CDS record",
	    .at_parent = true },
	[CONSUMER_DS] = { .name = "ds", .title = "a DS record",
	    .at_parent = true },
};

const char *
consumer_text(enum consumer c)
{
	if ((unsigned)c >= CONSUMER__COUNT)
		return "?";
	return rules[c].name;
}

bool
consumer_find(const char *text, enum consumer *out)
{
	for (int i = CONSUMER_NONE + 1; i < CONSUMER__COUNT; i++) {
		if (strcmp(text, rules[i].name) == 0) {
			*out = (enum consumer)i;
			return true;
		}
	}
	return false;
}

/* "RSASHA256 and ECDSAP256SHA256" */
static void
algs_list(const uint8_t algs[ALGS], char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < ALGS && algs[i] != 0; i++) {
		bool last = i + 1 == ALGS || algs[i + 1] == 0;

		used += (size_t)snprintf(out + used, size - used, "%s%s",
		    i == 0 ? "" : last ? " and " : ", ",
		    alg_iana_name(algs[i]));
	}
}

enum ksm_err
consumer_fits(enum consumer c, enum key_role role, int alg, bool single,
    struct ksm_fail *fail)
{
	const struct consumer_rule *r = &rules[c];
	const struct alg *a = alg_find(alg);
	char list[160];

	if (a == NULL)
		return ksm_failf(fail, KSM_EREFUSED,
		    "keys of algorithm %d (%s) are not made here", alg,
		    alg_iana_name(alg) != NULL ? alg_iana_name(alg)
					       : "unassigned");
	if (r->at_parent && role == ROLE_ZSK)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s is for the parent zone and names a KSK or a CSK, not a "
		    "ZSK", r->title);
	if (r->algs[0] != 0 &&
	    (alg > UINT8_MAX || memchr(r->algs, alg, ALGS) == NULL)) {
		algs_list(r->algs, list, sizeof(list));
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s cannot use %s keys that are in a token; it can use %s",
		    r->title, a->name, list);
	}
	if (single && r->needs == NEEDS_ALWAYS)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s cannot use a key whose public object is not in the "
		    "token; it can use keys of a repository without "
		    "<SkipPublicKey/>", r->title);
	if (single && r->needs == NEEDS_FOR_EC && a->family != ALG_RSA)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s cannot use %s keys whose public object is not in the "
		    "token; without one it can use RSA keys, and keys of a "
		    "repository without <SkipPublicKey/>", r->title, a->name);
	return KSM_OK;
}

bool
consumer_takes_once(enum consumer c)
{
	return rules[c].once;
}

/* ---- names -------------------------------------------------------------- */

void
consumer_module_name(const char *path, char out[MODULE_NAME])
{
	const char *base = strrchr(path, '/');
	char *dot;

	base = base != NULL ? base + 1 : path;
	if (strncmp(base, "lib", 3) == 0)
		base += 3;
	(void)snprintf(out, MODULE_NAME, "%s", base);
	dot = strstr(out, ".so");
	if (dot != NULL && dot != out)
		*dot = '\0';
}

/*
 * The enforcer's client joins its arguments with blanks and the enforcer
 * splits them there, so no quoting helps.
 */
static enum ksm_err
word_check(const char *what, const char *text, struct ksm_fail *fail)
{
	for (const char *p = text; *p != '\0'; p++)
		if (*p <= ' ' || *p >= 0x7f || strchr("\\\"'", *p) != NULL)
			return ksm_failf(fail, KSM_EREFUSED,
			    "OpenDNSSEC takes no %s with blanks, quotes, "
			    "backslashes or letters beyond ASCII, and \"%.200s\" "
			    "has one", what, text);
	return KSM_OK;
}

/* Its line has an end: this is the longest there is beside the names. */
#define ODS_LINE 1024
#define ODS_REST                                                               \
	"ods-enforcer key import --cka_id 00112233445566778899aabbccddeeff "   \
	"--repository  --zone  --bits 16384 --algorithm 255 --keystate "       \
	"generate --keytype KSK --inception_time 2026-11-25-09:30:00"

static enum ksm_err
opendnssec_names(const struct consumer_names *n, struct ksm_fail *fail)
{
	size_t names = strlen(n->zone) + strlen(n->repository);
	enum ksm_err err;

	err = word_check("zone", n->zone, fail);
	if (err == KSM_OK)
		err = word_check("repository", n->repository, fail);
	if (err == KSM_OK && names > ODS_LINE - sizeof(ODS_REST))
		err = ksm_failf(fail, KSM_EREFUSED,
		    "OpenDNSSEC takes a command of at most %d characters; the "
		    "names of zone and repository have %zu, and there is room "
		    "for %zu", ODS_LINE - 1, names, ODS_LINE - sizeof(ODS_REST));
	return err;
}

/* A line of a file has no way to say these. */
static enum ksm_err
line_check(const char *what, const char *text, struct ksm_fail *fail)
{
	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return ksm_failf(fail, KSM_EREFUSED,
			    "PowerDNS takes no %s with control characters, and "
			    "this one has some", what);
	if (text[0] == '\0' || text[0] == ' ' || text[strlen(text) - 1] == ' ')
		return ksm_failf(fail, KSM_EREFUSED,
		    "PowerDNS needs a %s without blanks at either end, and "
		    "\"%.100s\" is none", what, text);
	return KSM_OK;
}

static enum ksm_err
powerdns_names(const struct consumer_names *n, struct ksm_fail *fail)
{
	char module[MODULE_NAME];
	enum ksm_err err;

	consumer_module_name(n->module, module);
	err = line_check("name of a module", module, fail);
	if (err == KSM_OK && n->token_label != NULL)
		err = line_check("label of a token", n->token_label, fail);
	if (err == KSM_OK && n->key_label != NULL)
		err = line_check("label of a key", n->key_label, fail);
	return err;
}

enum ksm_err
consumer_names_fit(enum consumer c, const struct consumer_names *names,
    struct ksm_fail *fail)
{
	switch (c) {
	case CONSUMER_OPENDNSSEC:
		return opendnssec_names(names, fail);
	case CONSUMER_POWERDNS:
		return powerdns_names(names, fail);
	case CONSUMER_CASCADE:
		if (names->repository[0] == '-')
			return ksm_failf(fail, KSM_EREFUSED,
			    "Cascade takes no name of a server that begins "
			    "with a hyphen, and the repository is \"%.100s\"",
			    names->repository);
		return KSM_OK;
	default:
		return KSM_OK;
	}
}
