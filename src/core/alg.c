#include "ksmpool/alg.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * The RFCs allow RSA keys under 1024 bits for some numbers; we make none.
 * RFC 3110 section 2 ends at 4096 bits. The size of 15 and 16 is that of the
 * encoded public key, as dnssec-keygen and the tokens count it.
 */
static const struct alg algs[] = {
	{ 5, "RSASHA1", ALG_RSA, 1024, 4096, 8, 0, "SHA1" },
	{ 7, "RSASHA1-NSEC3-SHA1", ALG_RSA, 1024, 4096, 8, 0, "SHA1" },
	{ 8, "RSASHA256", ALG_RSA, 1024, 4096, 8, 0, "SHA256" },
	{ 10, "RSASHA512", ALG_RSA, 1024, 4096, 8, 0, "SHA512" },
	{ 13, "ECDSAP256SHA256", ALG_ECDSA, 256, 256, 256, 64, "SHA256" },
	{ 14, "ECDSAP384SHA384", ALG_ECDSA, 384, 384, 384, 96, "SHA384" },
	{ 15, "ED25519", ALG_EDDSA, 256, 256, 256, 32, NULL },
	{ 16, "ED448", ALG_EDDSA, 456, 456, 456, 57, NULL },
};

/* Everything IANA has assigned, so that a refusal can say what it refuses. */
static const struct {
	int number;
	const char *name;
} iana[] = {
	{ 0, "DELETE" },
	{ 1, "RSAMD5" },
	{ 2, "DH" },
	{ 3, "DSA" },
	{ 5, "RSASHA1" },
	{ 6, "DSA-NSEC3-SHA1" },
	{ 7, "RSASHA1-NSEC3-SHA1" },
	{ 8, "RSASHA256" },
	{ 10, "RSASHA512" },
	{ 12, "ECC-GOST" },
	{ 13, "ECDSAP256SHA256" },
	{ 14, "ECDSAP384SHA384" },
	{ 15, "ED25519" },
	{ 16, "ED448" },
	{ 17, "SM2SM3" },
	{ 23, "ECC-GOST12" },
	{ 252, "INDIRECT" },
	{ 253, "PRIVATEDNS" },
	{ 254, "PRIVATEOID" },
};

const struct alg *
alg_find(int number)
{
	for (size_t i = 0; i < nitems(algs); i++) {
		if (algs[i].number == number)
			return &algs[i];
	}
	return NULL;
}

const struct alg *
alg_parse(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	if (digits > 0 && digits <= 3 && text[digits] == '\0')
		return alg_find(atoi(text));
	for (size_t i = 0; i < nitems(algs); i++)
		if (strcasecmp(algs[i].name, text) == 0)
			return &algs[i];
	return NULL;
}

const char *
alg_iana_name(int number)
{
	for (size_t i = 0; i < nitems(iana); i++) {
		if (iana[i].number == number)
			return iana[i].name;
	}
	return NULL;
}

enum ksm_err
alg_bits(const struct alg *alg, int64_t length, int *bits, bool *odd,
    struct ksm_fail *fail)
{
	assert(alg != NULL);
	if (length < 0)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s: a key length of %" PRId64 " bits cannot be",
		    alg->name, length);
	if (alg->bits_min == alg->bits_max) {
		*bits = alg->bits_min;
		*odd = length != 0 && length != alg->bits_min;
		return KSM_OK;
	}
	if (length == 0)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s needs a key length, %d to %d bits", alg->name,
		    alg->bits_min, alg->bits_max);
	if (length < alg->bits_min || length > alg->bits_max)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s keys have %d to %d bits, not %" PRId64, alg->name,
		    alg->bits_min, alg->bits_max, length);
	if (length % alg->bits_step != 0)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s key lengths are multiples of %d bits, %" PRId64
		    " is not", alg->name, alg->bits_step, length);
	*bits = (int)length;
	*odd = false;
	return KSM_OK;
}

static void
strip_zeros(const uint8_t **bytes, size_t *len)
{
	while (*len > 0 && **bytes == 0) {
		(*bytes)++;
		(*len)--;
	}
}

enum ksm_err
dnskey_from_rsa(const uint8_t *modulus, size_t mlen, const uint8_t *exponent,
    size_t elen, uint8_t out[DNSKEY_PUB_MAX], size_t *outlen,
    struct ksm_fail *fail)
{
	uint8_t *p = out;

	strip_zeros(&modulus, &mlen);
	strip_zeros(&exponent, &elen);
	if (mlen == 0)
		return ksm_failf(fail, KSM_EREFUSED, "RSA modulus is zero");
	if (elen == 0)
		return ksm_failf(fail, KSM_EREFUSED, "RSA exponent is zero");
	/* RFC 3110 section 2: both are limited to 4096 bits. */
	if (mlen > 512)
		return ksm_failf(fail, KSM_EREFUSED,
		    "RSA modulus of %zu octets, more than 512", mlen);
	if (elen > 512)
		return ksm_failf(fail, KSM_EREFUSED,
		    "RSA exponent of %zu octets, more than 512", elen);
	if (3 + elen + mlen > DNSKEY_PUB_MAX)
		return ksm_failf(fail, KSM_EREFUSED,
		    "RSA exponent of %zu and modulus of %zu octets are more "
		    "than %d together", elen, mlen, DNSKEY_PUB_MAX - 3);

	if (elen <= UINT8_MAX) {
		*p++ = (uint8_t)elen;
	} else {
		*p++ = 0;
		*p++ = (uint8_t)(elen >> 8);
		*p++ = (uint8_t)(elen & 0xff);
	}
	memcpy(p, exponent, elen);
	p += elen;
	memcpy(p, modulus, mlen);
	p += mlen;
	*outlen = (size_t)(p - out);
	return KSM_OK;
}

uint16_t
dnskey_tag(uint16_t flags, uint8_t alg, const uint8_t *pub, size_t publen)
{
	/*
	 * The sum of the RDATA as 16-bit words: flags, then protocol 3 and
	 * algorithm, then the key. Algorithm 1 has a rule of its own in
	 * appendix B.1; we make no such keys.
	 */
	uint32_t sum = (uint32_t)flags + (3U << 8) + alg;

	assert(publen <= DNSKEY_PUB_MAX); /* so that sum stays in 32 bits */
	for (size_t i = 0; i < publen; i++)
		sum += (i & 1) == 0 ? (uint32_t)pub[i] << 8 : pub[i];
	sum += sum >> 16 & 0xffff;
	return (uint16_t)(sum & 0xffff);
}
