/*
 * keycheck.h - believe nothing the token says: check the key outside it.
 *
 * Runs in: ksmpoold; the only file of it with OpenSSL.
 * From:    RFC 3110, 5702, 6605, 8080 (formats); PKCS#11 v2.40 mechanisms:
 *          CKA_EC_POINT is a DER OCTET STRING, some tokens give it raw.
 */
#ifndef KSMPOOL_KEYCHECK_H
#define KSMPOOL_KEYCHECK_H

#include "ksmpool/alg.h"
#include "ksmpool/msg_hsm.h"

struct keycheck_want {
	int alg, bits;
	bool extractable;
	/* Another program made it (its id is not of ours): any label will do. */
	bool other_label;
	uint8_t challenge[CHALLENGE_LEN];
};

struct key_facts {
	uint8_t pub[DNSKEY_PUB_MAX];
	size_t publen;
	uint8_t digest[32]; /* SHA-256 of pub */
	uint16_t tag_zsk, tag_ksk, tag_revoked;
};

/*
 * KSM_OK: the public key is well formed and fits `want` (RSA: size, odd
 * exponent >= 65537, odd modulus; EC: point on the curve), attributes are as
 * asked, the signature over the challenge verifies. KSM_EREFUSED: words say
 * which check failed. *out is written whenever the public key could be read
 * (facts_ok true), also when another check failed, so that it is on record.
 */
enum ksm_err keycheck_evidence(const struct hsm_evidence *e,
    const struct keycheck_want *want, struct key_facts *out, bool *facts_ok,
    struct ksm_fail *fail);

#endif
