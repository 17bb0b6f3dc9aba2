/*
 * consumer.h - what a signer needs to use a key that was taken for it.
 *
 * Runs in: ksmctl.
 * From:    the signers' own formats; RFC 7512 (URIs), RFC 4034 and 7344
 *          (records), RFC 3110 (RSA public keys).
 *
 * A command line is written so that a shell runs just that: whatever stands in
 * a name is quoted. Where a signer cannot be told something (it splits its
 * commands at blanks, say), that is refused with words.
 */
#ifndef KSMPOOL_CONSUMER_CTL_H
#define KSMPOOL_CONSUMER_CTL_H

#include <stdio.h>

#include <jansson.h>

#include "ksmpool/alg.h"
#include "ksmpool/consumer.h"
#include "ksmpool/dnsname.h"

#define OWNER_TEXT (DNSNAME_TEXT + 8) /* a hyphen escaped, a dot behind it */

struct consumer_key {
	struct key_id id;
	char id_hex[KEY_ID_HEX];
	/* Borrowed from the document. */
	const char *label, *zone, *policy, *repository, *public_key, *module;
	const char *token_label, *token_serial; /* "": it has none */
	uint8_t wire[DNSNAME_WIRE]; /* the zone, canonical (RFC 4034 6.2) */
	size_t wire_len;
	char owner[OWNER_TEXT]; /* the same as text, with its last dot */
	enum key_role role;
	const struct alg *alg;
	int size, flags, tag, tag_revoked;
	uint8_t pub[DNSKEY_PUB_MAX]; /* the DNSKEY's public key field */
	size_t pub_len;
	bool single; /* the token holds no public object */
	ksm_time created, taken;
	int64_t serial;
};

/*
 * Out of what the daemon sends; `json` must outlive it. KSM_EPROTO: a member
 * is missing, of another type, or does not fit the others (the tag is that of
 * the public key, its length that of the algorithm). Members that are not
 * known here are left alone.
 */
enum ksm_err consumer_key_read(const json_t *json, struct consumer_key *out,
    struct ksm_fail *fail);

struct consumer_where {
	const char *directory; /* NULL: not said */
};

/*
 * Before a key is taken: can files for that zone go there? `directory` NULL:
 * none is named. KSM_EREFUSED with words.
 */
enum ksm_err consumer_place_check(enum consumer c, const char *zone,
    const char *directory, struct ksm_fail *fail);

/*
 * Write it: to `out`, and for BIND and PowerDNS files into the directory.
 * KSM_EREFUSED: it cannot be (consumer_fits), the directory is missing, or a
 * file of that name is there with other content; then no file was written. A
 * file that is there with the same content is left as it is. KSM_ESYS: the
 * file or `out` cannot be written.
 */
enum ksm_err consumer_write(enum consumer c, const struct consumer_key *k,
    const struct consumer_where *w, FILE *out, struct ksm_fail *fail);

#endif
