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
} rules[CONSUMER__COUNT] = {
	[CONSUMER_NONE] = { .name = "", .title = "nobody" },
	[CONSUMER_BIND] = { .name = "bind", .title = "BIND",
	    .algs = { 5, 7, 8, 10, 13, 14, 15, 16 }, .needs = NEEDS_ALWAYS },
	[CONSUMER_KNOT] = { .name = "knot", .title = "Knot DNS",
	    .algs = { 5, 7, 8, 10, 13, 14, 15 }, .needs = NEEDS_FOR_EC },
	[CONSUMER_KNOT_LATER] = { .name = "knot-later", .title = "Knot DNS",
	    .algs = { 5, 7, 8, 10, 13, 14, 15 }, .needs = NEEDS_FOR_EC },
	[CONSUMER_OPENDNSSEC] = { .name = "opendnssec", .title = "OpenDNSSEC",
	    .algs = { 5, 7, 8, 10, 13, 14, 15, 16 }, .needs = NEEDS_FOR_EC },
	[CONSUMER_OPENDNSSEC_POOL] = { .name = "opendnssec-pool",
	    .title = "OpenDNSSEC",
	    .algs = { 5, 7, 8, 10, 13, 14, 15, 16 }, .needs = NEEDS_FOR_EC },
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
