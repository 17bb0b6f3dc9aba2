#include "keycheck.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <string.h>

/* PKCS#11 v3.0, key types. */
#define CKK_RSA	       0x00
#define CKK_EC	       0x03
#define CKK_EC_EDWARDS 0x40

#define EXPONENT_LEAST	65537
#define EXPONENT_OCTETS 8 /* larger ones only slow every resolver down */

/* What the token's strings can hold at most, as bytes. */
#define NUMBER_MAX (sizeof(((struct hsm_evidence *)0)->modulus) / 2)

static const struct {
	int64_t type;
	const char *name;
} key_types[] = {
	[ALG_RSA] = { CKK_RSA, "CKK_RSA" },
	[ALG_ECDSA] = { CKK_EC, "CKK_EC" },
	[ALG_EDDSA] = { CKK_EC_EDWARDS, "CKK_EC_EDWARDS" },
};

/* How the challenge was signed; see struct hsm_evidence. */
static const struct mechanism {
	const char *name;
	enum alg_family family;
	bool hashed; /* SHA-256 over it first; else it is the digest */
} mechanisms[] = {
	{ "CKM_SHA256_RSA_PKCS", ALG_RSA, true },
	{ "CKM_RSA_PKCS", ALG_RSA, false },
	{ "CKM_ECDSA", ALG_ECDSA, false },
	{ "CKM_EDDSA", ALG_EDDSA, false },
};

struct bytes {
	uint8_t at[NUMBER_MAX];
	size_t len;
};

static enum ksm_err
bytes_parse(const char *what, const char *hex, struct bytes *out,
    struct ksm_fail *fail)
{
	size_t len = strlen(hex);

	if (len == 0)
		return ksm_failf(fail, KSM_EREFUSED, "the token gave no %s",
		    what);
	if (len % 2 != 0 || len / 2 > sizeof(out->at) ||
	    !hex_parse(hex, out->at, len / 2))
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s is not hex of at most %zu bytes", what,
		    sizeof(out->at));
	out->len = len / 2;
	return KSM_OK;
}

/* Big-endian; some tokens put zeros in front. */
static void
bytes_strip(struct bytes *b)
{
	size_t zeros = 0;

	while (zeros < b->len && b->at[zeros] == 0)
		zeros++;
	b->len -= zeros;
	memmove(b->at, b->at + zeros, b->len);
}

static int
bytes_bits(const struct bytes *b)
{
	int bits = (int)b->len * 8;

	if (b->len == 0)
		return 0;
	for (uint8_t top = b->at[0]; (top & 0x80) == 0;
	     top = (uint8_t)(top << 1))
		bits--;
	return bits;
}

static bool
bytes_odd(const struct bytes *b)
{
	return b->len > 0 && (b->at[b->len - 1] & 1) != 0;
}

/* ---- the public key -------------------------------------------------- */

struct public_key {
	struct bytes modulus, exponent; /* RSA, stripped */
	uint8_t field[DNSKEY_PUB_MAX];	/* as in a DNSKEY */
	size_t len;
};

static enum ksm_err
rsa_read(const struct hsm_evidence *e, struct public_key *pk,
    struct ksm_fail *fail)
{
	enum ksm_err err;

	err = bytes_parse("modulus", e->modulus, &pk->modulus, fail);
	if (err == KSM_OK)
		err = bytes_parse("public exponent", e->exponent, &pk->exponent,
		    fail);
	if (err != KSM_OK)
		return err;
	bytes_strip(&pk->modulus);
	bytes_strip(&pk->exponent);
	return dnskey_from_rsa(pk->modulus.at, pk->modulus.len,
	    pk->exponent.at, pk->exponent.len, pk->field, &pk->len, fail);
}

/*
 * CKA_EC_POINT is the DER of an OCTET STRING (PKCS#11 v2.40 2.3.3); v3.0 drafts
 * had a BIT STRING for Edwards curves; some tokens give the bare point. For
 * one curve the lengths of the three differ, so there is nothing to guess.
 */
static bool
point_find(const struct bytes *b, size_t want, bool edwards,
    const uint8_t **point)
{
	if (b->len == want) {
		*point = b->at;
		return true;
	}
	if (b->len == want + 2 && b->at[0] == 0x04 && b->at[1] == want) {
		*point = b->at + 2;
		return true;
	}
	if (edwards && b->len == want + 3 && b->at[0] == 0x03 &&
	    b->at[1] == want + 1 && b->at[2] == 0) {
		*point = b->at + 3;
		return true;
	}
	return false;
}

static enum ksm_err
point_read(const struct hsm_evidence *e, const struct alg *alg,
    struct public_key *pk, struct ksm_fail *fail)
{
	bool edwards = alg->family == ALG_EDDSA;
	size_t want = alg->point_len + (edwards ? 0 : 1);
	const uint8_t *point;
	struct bytes b;
	enum ksm_err err;

	err = bytes_parse("EC point", e->point, &b, fail);
	if (err != KSM_OK)
		return err;
	if (!point_find(&b, want, edwards, &point))
		return ksm_failf(fail, KSM_EREFUSED, "EC point has %zu bytes "
		    "and starts %02x; expected %zu for %s, bare or in an "
		    "OCTET STRING", b.len, b.at[0], want, alg->name);
	if (!edwards) {
		if (point[0] != 0x04)
			return ksm_failf(fail, KSM_EREFUSED, "EC point has "
			    "form %02x; expected 04, uncompressed", point[0]);
		point++;
	}
	memcpy(pk->field, point, alg->point_len);
	pk->len = alg->point_len;
	return KSM_OK;
}

static enum ksm_err
facts_fill(const struct alg *alg, const struct public_key *pk,
    struct key_facts *out, struct ksm_fail *fail)
{
	size_t len = 0;

	memset(out, 0, sizeof(*out));
	if (EVP_Q_digest(NULL, "SHA256", NULL, pk->field, pk->len, out->digest,
		&len) != 1 || len != sizeof(out->digest)) {
		ERR_clear_error();
		return ksm_failf(fail, KSM_ENOMEM, "OpenSSL has no SHA-256");
	}
	memcpy(out->pub, pk->field, pk->len);
	out->publen = pk->len;
	out->tag_zsk = dnskey_tag(DNSKEY_ZSK, alg->number, pk->field, pk->len);
	out->tag_ksk = dnskey_tag(DNSKEY_KSK, alg->number, pk->field, pk->len);
	out->tag_revoked = dnskey_tag(DNSKEY_REVOKED, alg->number, pk->field,
	    pk->len);
	return KSM_OK;
}

static enum ksm_err
rsa_check(const struct hsm_evidence *e, const struct public_key *pk, int want,
    struct ksm_fail *fail)
{
	int bits = bytes_bits(&pk->modulus);
	uint64_t exponent = 0;

	if (bits != want)
		return ksm_failf(fail, KSM_EREFUSED,
		    "modulus has %d bits; expected %d", bits, want);
	if (e->bits != 0 && e->bits != bits)
		return ksm_failf(fail, KSM_EREFUSED, "the token says %lld "
		    "bits, its modulus has %d", (long long)e->bits, bits);
	if (!bytes_odd(&pk->modulus))
		return ksm_failf(fail, KSM_EREFUSED, "modulus is even");
	if (pk->exponent.len > EXPONENT_OCTETS)
		return ksm_failf(fail, KSM_EREFUSED, "public exponent has %d "
		    "bits; expected at most %d", bytes_bits(&pk->exponent),
		    8 * EXPONENT_OCTETS);
	for (size_t i = 0; i < pk->exponent.len; i++)
		exponent = exponent << 8 | pk->exponent.at[i];
	if (!bytes_odd(&pk->exponent))
		return ksm_failf(fail, KSM_EREFUSED,
		    "public exponent %llu is even",
		    (unsigned long long)exponent);
	if (exponent < EXPONENT_LEAST)
		return ksm_failf(fail, KSM_EREFUSED, "public exponent is "
		    "%llu; expected at least %d", (unsigned long long)exponent,
		    EXPONENT_LEAST);
	return KSM_OK;
}

/* ---- the attributes -------------------------------------------------- */

static enum ksm_err
attributes_check(const struct hsm_evidence *e, const struct alg *alg,
    const struct keycheck_want *want, struct ksm_fail *fail)
{
	const struct {
		bool good;
		const char *what;
	} checks[] = {
		{ e->is_token, "is not stored in the token (CKA_TOKEN)" },
		{ e->is_private, "can be seen without a login (CKA_PRIVATE)" },
		{ e->is_sensitive, "can be read out (CKA_SENSITIVE)" },
		{ e->can_sign, "may not sign (CKA_SIGN)" },
		{ e->id_ok, "has not the id it was asked for on both halves "
			    "(CKA_ID)" },
		{ want->other_label || e->label_ok,
		    "has not its id as label on both halves (CKA_LABEL)" },
		{ e->public_ok, "has a public half that is not stored in the "
				"token or may not verify" },
		{ want->extractable || !e->is_extractable,
		    "is extractable, which is not allowed (CKA_EXTRACTABLE)" },
		{ !want->extractable || e->is_extractable,
		    "is not extractable, which AllowExtraction asks for "
		    "(CKA_EXTRACTABLE)" },
	};

	if (e->key_type != key_types[alg->family].type)
		return ksm_failf(fail, KSM_EREFUSED, "key type is 0x%llx; "
		    "expected %s for %s", (unsigned long long)e->key_type,
		    key_types[alg->family].name, alg->name);
	for (size_t i = 0; i < nitems(checks); i++) {
		if (!checks[i].good)
			return ksm_failf(fail, KSM_EREFUSED, "key %s",
			    checks[i].what);
	}
	return KSM_OK;
}

/* ---- the signature --------------------------------------------------- */

static EVP_PKEY *
pkey_from(const char *type, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;

	if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
		(void)EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY,
		    params);
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

static EVP_PKEY *
rsa_pkey(const struct public_key *pk)
{
	BIGNUM *n = BN_bin2bn(pk->modulus.at, (int)pk->modulus.len, NULL);
	BIGNUM *e = BN_bin2bn(pk->exponent.at, (int)pk->exponent.len, NULL);
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY *pkey = NULL;

	if (n != NULL && e != NULL && bld != NULL &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1)
		params = OSSL_PARAM_BLD_to_param(bld);
	if (params != NULL)
		pkey = pkey_from("RSA", params);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	BN_free(e);
	BN_free(n);
	return pkey;
}

static EVP_PKEY *
point_pkey(const struct alg *alg, const struct public_key *pk)
{
	char group[16];
	uint8_t point[1 + DNSKEY_PUB_MAX];
	OSSL_PARAM params[3];

	if (alg->family == ALG_EDDSA)
		return EVP_PKEY_new_raw_public_key_ex(NULL, alg->name, NULL,
		    pk->field, pk->len);
	(void)strcpy(group, alg->bits_min == 256 ? "P-256" : "P-384");
	point[0] = 0x04;
	memcpy(point + 1, pk->field, pk->len);
	params[0] = OSSL_PARAM_construct_utf8_string(
	    OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
	    point, 1 + pk->len);
	params[2] = OSSL_PARAM_construct_end();
	return pkey_from("EC", params); /* only points on the curve pass */
}

/* r | s to the DER that OpenSSL wants; OPENSSL_free it. */
static uint8_t *
ecdsa_der(const struct bytes *raw, int *len)
{
	size_t half = raw->len / 2;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw->at, (int)half, NULL);
	BIGNUM *s = BN_bin2bn(raw->at + half, (int)half, NULL);
	uint8_t *der = NULL;

	*len = -1;
	if (sig != NULL && r != NULL && s != NULL &&
	    ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL;
		*len = i2d_ECDSA_SIG(sig, &der);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return der;
}

/* RSA and ECDSA over a digest that is given or taken here. */
static bool
digest_verify(EVP_PKEY *pkey, const struct mechanism *m,
    const uint8_t challenge[CHALLENGE_LEN], const uint8_t *sig, size_t siglen)
{
	uint8_t digest[32];
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
	size_t len = sizeof(digest);
	bool good;

	memcpy(digest, challenge, sizeof(digest));
	good = ctx != NULL && EVP_PKEY_verify_init(ctx) == 1;
	if (good && m->hashed)
		good = EVP_Q_digest(NULL, "SHA256", NULL, challenge,
			   CHALLENGE_LEN, digest, &len) == 1;
	if (good && m->family == ALG_RSA)
		good = EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) ==
			1 &&
		    EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1;
	good = good && EVP_PKEY_verify(ctx, sig, siglen, digest,
			   sizeof(digest)) == 1;
	EVP_PKEY_CTX_free(ctx);
	return good;
}

static bool
eddsa_verify(EVP_PKEY *pkey, const uint8_t challenge[CHALLENGE_LEN],
    const struct bytes *sig)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool good;

	good = ctx != NULL &&
	    EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, pkey,
		NULL) == 1 &&
	    EVP_DigestVerify(ctx, sig->at, sig->len, challenge,
		CHALLENGE_LEN) == 1;
	EVP_MD_CTX_free(ctx);
	return good;
}

static bool
signature_verifies(EVP_PKEY *pkey, const struct mechanism *m,
    const uint8_t challenge[CHALLENGE_LEN], const struct bytes *sig)
{
	uint8_t *der;
	bool good;
	int len;

	switch (m->family) {
	case ALG_RSA:
		return digest_verify(pkey, m, challenge, sig->at, sig->len);
	case ALG_ECDSA:
		der = ecdsa_der(sig, &len);
		good = len > 0 &&
		    digest_verify(pkey, m, challenge, der, (size_t)len);
		OPENSSL_free(der);
		return good;
	case ALG_EDDSA:
		return eddsa_verify(pkey, challenge, sig);
	}
	return false;
}

static const struct mechanism *
mechanism_find(const char *name)
{
	for (size_t i = 0; i < nitems(mechanisms); i++) {
		if (strcmp(mechanisms[i].name, name) == 0)
			return &mechanisms[i];
	}
	return NULL;
}

static enum ksm_err
signature_check(const struct hsm_evidence *e, const struct alg *alg,
    const struct keycheck_want *want, EVP_PKEY *pkey, struct ksm_fail *fail)
{
	const struct mechanism *m;
	struct bytes sig;
	enum ksm_err err;

	if (e->signature[0] == '\0')
		return ksm_failf(fail, KSM_EREFUSED, "key did not sign: %s",
		    e->sign_ckr[0] != '\0' ? e->sign_ckr : "no reason given");
	m = mechanism_find(e->mechanism);
	if (m == NULL || m->family != alg->family)
		return ksm_failf(fail, KSM_EREFUSED,
		    "signed with \"%s\", which is none for %s", e->mechanism,
		    alg->name);
	err = bytes_parse("signature", e->signature, &sig, fail);
	if (err != KSM_OK)
		return err;
	if (m->family == ALG_ECDSA && sig.len != alg->point_len)
		return ksm_failf(fail, KSM_EREFUSED,
		    "signature has %zu bytes; expected %zu", sig.len,
		    alg->point_len);
	if (!signature_verifies(pkey, m, want->challenge, &sig))
		return ksm_failf(fail, KSM_EREFUSED, "signature does not "
		    "verify with the public key (%s)", e->mechanism);
	return KSM_OK;
}

/* ---- all of it ------------------------------------------------------- */

enum ksm_err
keycheck_evidence(const struct hsm_evidence *e,
    const struct keycheck_want *want, struct key_facts *out, bool *facts_ok,
    struct ksm_fail *fail)
{
	const struct alg *alg = alg_find(want->alg);
	struct public_key pk = { .len = 0 };
	EVP_PKEY *pkey = NULL;
	enum ksm_err err;

	*facts_ok = false;
	if (alg == NULL)
		return ksm_failf(fail, KSM_EREFUSED,
		    "algorithm %d is none we make", want->alg);

	err = alg->family == ALG_RSA ? rsa_read(e, &pk, fail) :
				       point_read(e, alg, &pk, fail);
	if (err == KSM_OK)
		err = facts_fill(alg, &pk, out, fail);
	if (err != KSM_OK)
		goto out;
	*facts_ok = true;

	if (alg->family == ALG_RSA)
		err = rsa_check(e, &pk, want->bits, fail);
	else if (want->bits != alg->bits_min)
		err = ksm_failf(fail, KSM_EREFUSED,
		    "%s keys have %d bits, not %d", alg->name, alg->bits_min,
		    want->bits);
	if (err == KSM_OK)
		err = attributes_check(e, alg, want, fail);
	if (err != KSM_OK)
		goto out;

	pkey = alg->family == ALG_RSA ? rsa_pkey(&pk) : point_pkey(alg, &pk);
	if (pkey == NULL) {
		err = ksm_failf(fail, KSM_EREFUSED, "%s", alg->family ==
			ALG_RSA ? "OpenSSL does not take the RSA key" :
				  "EC point is not on the curve");
		goto out;
	}
	err = signature_check(e, alg, want, pkey, fail);
out:
	EVP_PKEY_free(pkey);
	ERR_clear_error(); /* nobody reads the rest of its queue */
	return err;
}
