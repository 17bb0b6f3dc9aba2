#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keycheck.h"

/* A token in OpenSSL, and what it says of one key; each test changes it. */
struct bed {
	EVP_PKEY *key;
	struct hsm_evidence e;
	struct keycheck_want want;
	struct key_facts facts;
	bool facts_ok;
	struct ksm_fail fail;
};

/* ---- the token ------------------------------------------------------- */

static EVP_PKEY *
key_make(int alg, int bits)
{
	switch (alg_find(alg)->family) {
	case ALG_RSA:
		return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);
	case ALG_ECDSA:
		return EVP_PKEY_Q_keygen(NULL, NULL, "EC",
		    alg == 13 ? "P-256" : "P-384");
	case ALG_EDDSA:
		return EVP_PKEY_Q_keygen(NULL, NULL,
		    alg == 15 ? "ED25519" : "ED448");
	}
	return NULL;
}

/* One of each kind for all tests: RSA keys take their time. */
static EVP_PKEY *
key_cached(int alg, int bits)
{
	static struct {
		int alg, bits;
		EVP_PKEY *key;
	} cache[16];
	size_t i;

	if (alg_find(alg)->family == ALG_RSA)
		alg = 8;
	for (i = 0; cache[i].key != NULL; i++)
		if (cache[i].alg == alg && cache[i].bits == bits)
			return cache[i].key;
	assert_true(i + 1 < nitems(cache));
	cache[i].alg = alg;
	cache[i].bits = bits;
	cache[i].key = key_make(alg, bits);
	assert_non_null(cache[i].key);
	return cache[i].key;
}

static void
number_hex(EVP_PKEY *key, const char *name, char *out)
{
	uint8_t bytes[520];
	BIGNUM *n = NULL;

	assert_int_equal(EVP_PKEY_get_bn_param(key, name, &n), 1);
	hex_format(bytes, (size_t)BN_bn2bin(n, bytes), out);
	BN_free(n);
}

/* The bare point: 04 x y, or the Edwards key. */
static size_t
point_of(EVP_PKEY *key, uint8_t out[160])
{
	size_t len = 0;

	if (EVP_PKEY_is_a(key, "EC")) {
		assert_int_equal(EVP_PKEY_get_octet_string_param(key,
				     OSSL_PKEY_PARAM_PUB_KEY, out, 160, &len),
		    1);
		return len;
	}
	len = 160;
	assert_int_equal(EVP_PKEY_get_raw_public_key(key, out, &len), 1);
	return len;
}

static void
point_say(struct bed *b, const uint8_t *prefix, size_t prefixlen)
{
	uint8_t bytes[3 + 160];
	size_t len;

	if (prefixlen > 0)
		memcpy(bytes, prefix, prefixlen);
	len = point_of(b->key, bytes + prefixlen);
	hex_format(bytes, prefixlen + len, b->e.point);
}

static void
point_say_octets(struct bed *b)
{
	uint8_t bytes[160], prefix[2] = { 0x04 };

	prefix[1] = (uint8_t)point_of(b->key, bytes);
	point_say(b, prefix, sizeof(prefix));
}

/* Sign the 32 bytes as a digest of `md`, or hashed with it first. */
static size_t
digest_sign(EVP_PKEY *key, bool hash, const char *md,
    const uint8_t challenge[32], uint8_t *sig, size_t room)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	uint8_t digest[64];
	size_t len = 32;

	memcpy(digest, challenge, 32);
	if (hash)
		assert_int_equal(EVP_Q_digest(NULL, md, NULL, challenge, 32,
				     digest, &len), 1);
	assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
	if (EVP_PKEY_is_a(key, "RSA")) {
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx,
				     RSA_PKCS1_PADDING), 1);
		assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx,
				     EVP_get_digestbyname(md)), 1);
	}
	assert_int_equal(EVP_PKEY_sign(ctx, sig, &room, digest, len), 1);
	EVP_PKEY_CTX_free(ctx);
	return room;
}

static size_t
ecdsa_sign(EVP_PKEY *key, const uint8_t challenge[32], uint8_t *raw)
{
	uint8_t der[160];
	const uint8_t *p = der;
	size_t len = digest_sign(key, false, NULL, challenge, der,
	    sizeof(der));
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)len);
	int half = EVP_PKEY_get_bits(key) / 8;

	assert_non_null(sig);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, half), half);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + half, half),
	    half);
	ECDSA_SIG_free(sig);
	return (size_t)half * 2;
}

static size_t
eddsa_sign(EVP_PKEY *key, const uint8_t challenge[32], uint8_t *sig,
    size_t room)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL,
			     key, NULL), 1);
	assert_int_equal(EVP_DigestSign(ctx, sig, &room, challenge, 32), 1);
	EVP_MD_CTX_free(ctx);
	return room;
}

static void
sign_with(struct bed *b, EVP_PKEY *key, const char *mechanism)
{
	uint8_t sig[520];
	size_t len;

	if (strcmp(mechanism, "CKM_SHA256_RSA_PKCS") == 0)
		len = digest_sign(key, true, "SHA256", b->want.challenge, sig,
		    sizeof(sig));
	else if (strcmp(mechanism, "CKM_RSA_PKCS") == 0)
		len = digest_sign(key, false, "SHA256", b->want.challenge, sig,
		    sizeof(sig));
	else if (strcmp(mechanism, "CKM_ECDSA") == 0)
		len = ecdsa_sign(key, b->want.challenge, sig);
	else
		len = eddsa_sign(key, b->want.challenge, sig, sizeof(sig));
	if (mechanism != b->e.mechanism)
		(void)snprintf(b->e.mechanism, sizeof(b->e.mechanism), "%s",
		    mechanism);
	hex_format(sig, len, b->e.signature);
}

/* Everything as a good token says it. */
static void
good(struct bed *b, int alg, int bits)
{
	static const char *const mechanism[] = {
		[ALG_RSA] = "CKM_SHA256_RSA_PKCS",
		[ALG_ECDSA] = "CKM_ECDSA",
		[ALG_EDDSA] = "CKM_EDDSA",
	};
	static const int type[] = { [ALG_RSA] = 0, [ALG_ECDSA] = 3,
		[ALG_EDDSA] = 0x40 };
	enum alg_family family = alg_find(alg)->family;

	memset(b, 0, sizeof(*b));
	b->key = key_cached(alg, bits);
	b->want.alg = alg;
	b->want.bits = bits;
	for (size_t i = 0; i < sizeof(b->want.challenge); i++)
		b->want.challenge[i] = (uint8_t)(i * 11 + 1);
	b->e = (struct hsm_evidence){ .is_private = true,
		.is_sensitive = true,
		.is_token = true,
		.can_sign = true,
		.label_ok = true,
		.id_ok = true,
		.public_ok = true,
		.key_type = type[family] };
	if (family == ALG_RSA) {
		number_hex(b->key, OSSL_PKEY_PARAM_RSA_N, b->e.modulus);
		number_hex(b->key, OSSL_PKEY_PARAM_RSA_E, b->e.exponent);
		b->e.bits = bits;
	} else {
		point_say_octets(b);
	}
	sign_with(b, b->key, mechanism[family]);
}

static enum ksm_err
check(struct bed *b)
{
	b->fail.text[0] = '\0';
	return keycheck_evidence(&b->e, &b->want, &b->facts, &b->facts_ok,
	    &b->fail);
}

static void
is_good(struct bed *b)
{
	if (check(b) != KSM_OK)
		fail_msg("algorithm %d: %s", b->want.alg, b->fail.text);
	assert_true(b->facts_ok);
}

static void
is_refused(struct bed *b, bool facts_ok, const char *words)
{
	assert_int_equal(check(b), KSM_EREFUSED);
	if (strstr(b->fail.text, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", b->fail.text, words);
	assert_int_equal(b->facts_ok, facts_ok);
}

/* ---- good keys ------------------------------------------------------- */

static const struct {
	int alg, bits;
} kinds[] = { { 5, 1024 }, { 7, 2048 }, { 8, 1024 }, { 8, 2048 }, { 8, 1280 },
	{ 10, 2048 }, { 13, 256 }, { 14, 384 }, { 15, 256 }, { 16, 456 } };

static void
good_keys_of_every_algorithm_pass(void **ctx)
{
	struct bed b;
	uint8_t digest[32];
	size_t len = 0;

	(void)ctx;
	for (size_t i = 0; i < nitems(kinds); i++) {
		uint8_t alg = (uint8_t)kinds[i].alg;

		good(&b, alg, kinds[i].bits);
		is_good(&b);
		assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL,
				     b.facts.pub, b.facts.publen, digest,
				     &len), 1);
		assert_memory_equal(b.facts.digest, digest, sizeof(digest));
		assert_int_equal(b.facts.tag_zsk,
		    dnskey_tag(256, alg, b.facts.pub, b.facts.publen));
		assert_int_equal(b.facts.tag_ksk,
		    dnskey_tag(257, alg, b.facts.pub, b.facts.publen));
		assert_int_equal(b.facts.tag_revoked,
		    dnskey_tag(385, alg, b.facts.pub, b.facts.publen));
	}
}

static void
the_public_key_is_as_in_a_dnskey(void **ctx)
{
	struct bed b;
	uint8_t point[160];
	char modulus[2 * DNSKEY_PUB_MAX];
	size_t len;

	(void)ctx;
	good(&b, 8, 2048);
	is_good(&b);
	/* RFC 3110: length of the exponent, exponent, modulus */
	assert_int_equal(b.facts.publen, 1 + 3 + 256);
	assert_memory_equal(b.facts.pub, "\x03\x01\x00\x01", 4);
	hex_format(b.facts.pub + 4, 256, modulus);
	assert_string_equal(modulus, b.e.modulus);

	good(&b, 13, 256);
	is_good(&b);
	len = point_of(b.key, point);
	assert_int_equal(b.facts.publen, 64); /* RFC 6605: without the 04 */
	assert_int_equal(len, 65);
	assert_memory_equal(b.facts.pub, point + 1, 64);

	good(&b, 16, 456);
	is_good(&b);
	(void)point_of(b.key, point);
	assert_int_equal(b.facts.publen, 57); /* RFC 8080 */
	assert_memory_equal(b.facts.pub, point, 57);
}

static void
zeros_in_front_of_rsa_numbers_change_nothing(void **ctx)
{
	struct bed b;
	struct key_facts before;
	char modulus[sizeof(b.e.modulus)];

	(void)ctx;
	good(&b, 8, 1024);
	is_good(&b);
	before = b.facts;
	(void)strcpy(modulus, b.e.modulus);
	(void)snprintf(b.e.modulus, sizeof(b.e.modulus), "000000%.600s",
	    modulus);
	(void)strcpy(b.e.exponent, "0000000000010001");
	is_good(&b);
	assert_int_equal(b.facts.publen, before.publen);
	assert_memory_equal(b.facts.pub, before.pub, before.publen);
	assert_int_equal(b.facts.tag_zsk, before.tag_zsk);
}

static void
a_point_may_come_bare_or_wrapped(void **ctx)
{
	static const uint8_t bits_25519[] = { 0x03, 0x21, 0x00 };
	static const uint8_t bits_448[] = { 0x03, 0x3a, 0x00 };
	struct bed b;

	(void)ctx;
	for (size_t i = 0; i < nitems(kinds); i++) {
		if (kinds[i].alg < 13)
			continue;
		good(&b, kinds[i].alg, kinds[i].bits);
		point_say(&b, NULL, 0);
		is_good(&b);
		for (char *p = b.e.point; *p != '\0'; p++)
			if (*p >= 'a')
				*p = (char)(*p - 'a' + 'A');
		is_good(&b);
	}
	good(&b, 15, 256);
	point_say(&b, bits_25519, sizeof(bits_25519));
	is_good(&b);
	good(&b, 16, 456);
	point_say(&b, bits_448, sizeof(bits_448));
	is_good(&b);
}

static void
a_token_with_raw_rsa_only_can_prove_its_keys(void **ctx)
{
	struct bed b;

	(void)ctx;
	good(&b, 8, 2048);
	sign_with(&b, b.key, "CKM_RSA_PKCS");
	is_good(&b);
	/* the two differ in what was signed */
	(void)strcpy(b.e.mechanism, "CKM_SHA256_RSA_PKCS");
	is_refused(&b, true, "does not verify");
}

static void
extraction_that_was_asked_for_passes(void **ctx)
{
	struct bed b;

	(void)ctx;
	good(&b, 13, 256);
	b.want.extractable = true;
	b.e.is_extractable = true;
	is_good(&b);
}

static void
a_key_of_another_program_keeps_its_label(void **ctx)
{
	struct bed b;

	(void)ctx;
	good(&b, 13, 256);
	b.want.other_label = true;
	b.e.label_ok = false;
	is_good(&b);
	b.e.is_extractable = true; /* and nothing else is forgiven */
	is_refused(&b, true, "extractable, which is not allowed");
}

/* ---- one lie each ---------------------------------------------------- */

static void
each_attribute_that_is_wrong_is_named(void **ctx)
{
	static const struct {
		size_t at;
		bool value;
		const char *says;
	} lies[] = {
#define LIE(field) offsetof(struct hsm_evidence, field)
		{ LIE(is_private), false, "CKA_PRIVATE" },
		{ LIE(is_sensitive), false, "CKA_SENSITIVE" },
		{ LIE(is_token), false, "CKA_TOKEN" },
		{ LIE(can_sign), false, "CKA_SIGN" },
		{ LIE(id_ok), false, "CKA_ID" },
		{ LIE(label_ok), false, "CKA_LABEL" },
		{ LIE(public_ok), false, "public half" },
		{ LIE(is_extractable), true, "extractable, which is not "
					     "allowed" },
#undef LIE
	};
	struct bed b;

	(void)ctx;
	for (size_t i = 0; i < nitems(lies); i++) {
		good(&b, 13, 256);
		*(bool *)((char *)&b.e + lies[i].at) = lies[i].value;
		is_refused(&b, true, lies[i].says);
	}
	good(&b, 13, 256);
	b.want.extractable = true;
	is_refused(&b, true, "not extractable, which AllowExtraction");
}

static void
a_key_of_another_type_is_refused(void **ctx)
{
	struct bed b;

	(void)ctx;
	good(&b, 8, 2048);
	b.e.key_type = 3;
	is_refused(&b, true, "key type is 0x3; expected CKK_RSA");
	good(&b, 13, 256);
	b.e.key_type = 0;
	is_refused(&b, true, "expected CKK_EC for ECDSAP256SHA256");
	good(&b, 15, 256);
	b.e.key_type = 3;
	is_refused(&b, true, "expected CKK_EC_EDWARDS");
	good(&b, 15, 256);
	b.e.key_type = -1;
	is_refused(&b, true, "key type");
}

static void
rsa_numbers_that_are_wrong_are_named(void **ctx)
{
	struct bed b;
	size_t len;

	(void)ctx;
	good(&b, 8, 2048);
	b.want.bits = 1024;
	is_refused(&b, true, "modulus has 2048 bits; expected 1024");
	good(&b, 8, 2048);
	b.e.modulus[0] = '7'; /* the top bit is gone */
	is_refused(&b, true, "modulus has 2047 bits; expected 2048");
	good(&b, 8, 2048);
	b.e.bits = 2040;
	is_refused(&b, true, "the token says 2040 bits");
	good(&b, 8, 2048);
	len = strlen(b.e.modulus);
	b.e.modulus[len - 1] = '2';
	is_refused(&b, true, "modulus is even");
	good(&b, 8, 2048);
	(void)strcpy(b.e.exponent, "03");
	is_refused(&b, true, "public exponent is 3; expected at least 65537");
	(void)strcpy(b.e.exponent, "010000");
	is_refused(&b, true, "public exponent 65536 is even");
	(void)strcpy(b.e.exponent, "010000000000000001");
	is_refused(&b, true, "public exponent has 65 bits");
	(void)strcpy(b.e.exponent, "010003"); /* fits, but is not its own */
	is_refused(&b, true, "does not verify");

	(void)strcpy(b.e.exponent, "00");
	is_refused(&b, false, "exponent is zero");
	b.e.exponent[0] = '\0';
	is_refused(&b, false, "the token gave no public exponent");
	good(&b, 8, 2048);
	b.e.modulus[0] = '\0';
	is_refused(&b, false, "the token gave no modulus");
	(void)strcpy(b.e.modulus, "0000");
	is_refused(&b, false, "modulus is zero");
	(void)strcpy(b.e.modulus, "abc");
	is_refused(&b, false, "modulus is not hex");
	(void)strcpy(b.e.modulus, "abcx");
	is_refused(&b, false, "modulus is not hex");
}

static void
points_that_are_wrong_are_named(void **ctx)
{
	struct bed b;
	size_t len;

	(void)ctx;
	for (size_t i = 0; i < nitems(kinds); i++) {
		if (kinds[i].alg < 13)
			continue;
		good(&b, kinds[i].alg, kinds[i].bits);
		len = strlen(b.e.point);
		b.e.point[len - 2] = '\0';
		is_refused(&b, false, "EC point has");
		b.e.point[0] = '\0';
		is_refused(&b, false, "the token gave no EC point");
		good(&b, kinds[i].alg, kinds[i].bits);
		b.e.point[1] ^= 1; /* OCTET STRING no longer */
		is_refused(&b, false, "EC point has");
		good(&b, kinds[i].alg, kinds[i].bits);
		b.want.bits += 8;
		is_refused(&b, true, "keys have");
	}

	/* another curve's */
	good(&b, 14, 384);
	b.want.alg = 13;
	b.want.bits = 256;
	is_refused(&b, false, "expected 65 for ECDSAP256SHA256");
	/* compressed */
	good(&b, 13, 256);
	point_say(&b, NULL, 0);
	b.e.point[1] = '2';
	is_refused(&b, false, "EC point has form 02");
	/* on no curve: any other y will do */
	good(&b, 13, 256);
	len = strlen(b.e.point);
	b.e.point[len - 1] = b.e.point[len - 1] == '0' ? '1' : '0';
	is_refused(&b, true, "EC point is not on the curve");
	good(&b, 14, 384);
	len = strlen(b.e.point);
	b.e.point[len - 1] = b.e.point[len - 1] == '0' ? '1' : '0';
	is_refused(&b, true, "EC point is not on the curve");
}

static void
a_signature_of_another_key_is_refused(void **ctx)
{
	struct bed b;
	EVP_PKEY *other;

	(void)ctx;
	for (size_t i = 0; i < nitems(kinds); i++) {
		if (kinds[i].bits > 1024 && kinds[i].alg < 13)
			continue; /* one RSA size says it */
		good(&b, kinds[i].alg, kinds[i].bits);
		other = key_make(kinds[i].alg, kinds[i].bits);
		sign_with(&b, other, b.e.mechanism);
		EVP_PKEY_free(other);
		is_refused(&b, true, "does not verify");
	}
}

static void
a_signature_over_something_else_is_refused(void **ctx)
{
	struct bed b;

	(void)ctx;
	for (size_t i = 0; i < nitems(kinds); i++) {
		good(&b, kinds[i].alg, kinds[i].bits);
		b.want.challenge[31] ^= 1;
		is_refused(&b, true, "does not verify");
	}
}

static void
a_signature_that_is_none_is_refused(void **ctx)
{
	struct bed b;
	size_t len;

	(void)ctx;
	for (size_t i = 0; i < nitems(kinds); i++) {
		good(&b, kinds[i].alg, kinds[i].bits);
		len = strlen(b.e.signature);
		memset(b.e.signature, '0', len);
		is_refused(&b, true, "does not verify");
		memset(b.e.signature, 'f', len);
		is_refused(&b, true, "does not verify");
		b.e.signature[len - 2] = '\0';
		is_refused(&b, true, "signature");
		(void)strcpy(b.e.signature, "zz");
		is_refused(&b, true, "signature is not hex");
		b.e.signature[0] = '\0';
		is_refused(&b, true, "did not sign: no reason given");
		(void)strcpy(b.e.sign_ckr, "CKR_KEY_HANDLE_INVALID");
		is_refused(&b, true, "did not sign: CKR_KEY_HANDLE_INVALID");
	}
}

static void
a_mechanism_of_another_family_is_refused(void **ctx)
{
	struct bed b;

	(void)ctx;
	good(&b, 13, 256);
	(void)strcpy(b.e.mechanism, "CKM_EDDSA");
	is_refused(&b, true, "signed with \"CKM_EDDSA\", which is none for "
			     "ECDSAP256SHA256");
	(void)strcpy(b.e.mechanism, "CKM_MD5_RSA_PKCS");
	is_refused(&b, true, "CKM_MD5_RSA_PKCS");
	b.e.mechanism[0] = '\0';
	is_refused(&b, true, "signed with");
	good(&b, 8, 2048);
	(void)strcpy(b.e.mechanism, "CKM_ECDSA");
	is_refused(&b, true, "none for RSASHA256");
}

static void
an_algorithm_we_do_not_make_is_refused(void **ctx)
{
	struct bed b;

	(void)ctx;
	good(&b, 13, 256);
	b.want.alg = 3;
	is_refused(&b, false, "algorithm 3");
}

static void
strings_filled_to_the_end_are_survived(void **ctx)
{
	struct bed b;

	(void)ctx;
	good(&b, 8, 2048);
	memset(b.e.modulus, 'f', sizeof(b.e.modulus) - 1);
	is_refused(&b, false, "modulus");
	good(&b, 8, 2048);
	memset(b.e.exponent, 'f', sizeof(b.e.exponent) - 1);
	is_refused(&b, true, "public exponent has 128 bits");
	good(&b, 8, 2048);
	memset(b.e.signature, 'f', sizeof(b.e.signature) - 1);
	is_refused(&b, true, "does not verify");
	good(&b, 13, 256);
	memset(b.e.point, 'f', sizeof(b.e.point) - 1);
	is_refused(&b, false, "EC point");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_keys_of_every_algorithm_pass),
		cmocka_unit_test(the_public_key_is_as_in_a_dnskey),
		cmocka_unit_test(zeros_in_front_of_rsa_numbers_change_nothing),
		cmocka_unit_test(a_point_may_come_bare_or_wrapped),
		cmocka_unit_test(a_token_with_raw_rsa_only_can_prove_its_keys),
		cmocka_unit_test(extraction_that_was_asked_for_passes),
		cmocka_unit_test(a_key_of_another_program_keeps_its_label),
		cmocka_unit_test(each_attribute_that_is_wrong_is_named),
		cmocka_unit_test(a_key_of_another_type_is_refused),
		cmocka_unit_test(rsa_numbers_that_are_wrong_are_named),
		cmocka_unit_test(points_that_are_wrong_are_named),
		cmocka_unit_test(a_signature_of_another_key_is_refused),
		cmocka_unit_test(a_signature_over_something_else_is_refused),
		cmocka_unit_test(a_signature_that_is_none_is_refused),
		cmocka_unit_test(a_mechanism_of_another_family_is_refused),
		cmocka_unit_test(an_algorithm_we_do_not_make_is_refused),
		cmocka_unit_test(strings_filled_to_the_end_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
