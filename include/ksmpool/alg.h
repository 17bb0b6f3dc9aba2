/*
 * alg.h - DNSSEC algorithms: numbers, names, sizes, and DNSKEY arithmetic.
 *
 * Runs in: every program (core: no I/O).
 * From:    IANA "DNS Security Algorithm Numbers"; RFC 3110, 5702, 6605, 8080
 *          (public key formats), RFC 4034 appendix B (key tag).
 */
#ifndef KSMPOOL_ALG_H
#define KSMPOOL_ALG_H

#include <stdbool.h>

#include "ksmpool/err.h"

enum alg_family { ALG_RSA, ALG_ECDSA, ALG_EDDSA };

struct alg {
	uint8_t number;	   /* 5, 7, 8, 10, 13, 14, 15, 16 */
	const char *name;  /* "RSASHA256", "ECDSAP256SHA256", "ED25519" */
	enum alg_family family;
	int bits_min, bits_max; /* equal where the algorithm fixes the size */
	int bits_step;		/* sizes are multiples of it */
	size_t point_len; /* EC: bytes of the DNSKEY public key; 0 for RSA */
	const char *hash; /* digest signed with RSA/ECDSA: "SHA256"; NULL EdDSA */
};

/* NULL if we cannot make keys of that number. */
const struct alg *alg_find(int number);
/* By IANA's name, in any case, or by number; NULL as above. */
const struct alg *alg_parse(const char *text);
/* IANA's name of any number, supported or not; NULL if unassigned. */
const char *alg_iana_name(int number);
/*
 * The size a key of `alg` really has if the policy says `length` (0: not
 * said). KSM_EREFUSED with words when it cannot be. For EC the algorithm's
 * size is returned whatever was said; *odd is true if the words disagreed.
 */
enum ksm_err alg_bits(const struct alg *alg, int64_t length, int *bits,
    bool *odd, struct ksm_fail *fail);

#define DNSKEY_PUB_MAX 600 /* RSA-4096: 3 + 8 + 512, with room */

/*
 * DNSKEY public key field. RSA per RFC 3110 with leading zero octets of
 * modulus and exponent stripped; EC: `x` is the raw point without the 0x04
 * (13, 14) or the raw key (15, 16). KSM_EREFUSED with words if it cannot be.
 */
enum ksm_err dnskey_from_rsa(const uint8_t *modulus, size_t mlen,
    const uint8_t *exponent, size_t elen, uint8_t out[DNSKEY_PUB_MAX],
    size_t *outlen, struct ksm_fail *fail);
/* RFC 4034 appendix B over flags, protocol 3, algorithm, public key. */
uint16_t dnskey_tag(uint16_t flags, uint8_t alg, const uint8_t *pub,
    size_t publen);

#define DNSKEY_ZSK 256
#define DNSKEY_KSK 257
#define DNSKEY_REVOKED 385

#endif
