#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "ksmpool/alg.h"

/* RFC 4648 base 64, as DNSKEY records are written. */
static size_t
base64(const char *text, uint8_t *out)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	    "0123456789+/";
	uint32_t bits = 0;
	size_t n = 0;
	int have = 0;

	for (; *text != '\0' && *text != '='; text++) {
		const char *at = strchr(alphabet, *text);

		assert_non_null(at);
		bits = bits << 6 | (uint32_t)(at - alphabet);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (uint8_t)(bits >> have);
		}
	}
	return n;
}

static const struct dnskey {
	const char *what;
	uint16_t flags;
	uint8_t alg;
	uint16_t tag;
	const char *pub;
} published[] = {
	{ "RFC 4034 5.4", 256, 5, 60485,
	    "AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMz"
	    "NXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6Dhwe"
	    "JBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==" },
	{ "RFC 5702 6.1", 256, 8, 9033,
	    "AwEAAcFcGsaxxdgiuuGmCkVImy4h99CqT7jwY3pexPGcnUFtR2Fh36BponcwtkZ4"
	    "cAgtvd4Qs8PkxUdp6p/DlUmObdk=" },
	{ "RFC 5702 6.2", 256, 10, 3740,
	    "AwEAAdHoNTOW+et86KuJOWRDp1pndvwb6Y83nSVXXyLA3DLroROUkN6X0O6pnWnj"
	    "JQujX/AyhqFDxj13tOnD9u/1kTg7cV6rklMrZDtJCQ5PCl/D7QNPsgVsMu1J2Q8g"
	    "pMpztNFLpPBz1bWXjDtaR7ZQBlZ3PFY12ZTSncorffcGmhOL" },
	{ "RFC 6605 6.1", 257, 13, 55648,
	    "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+"
	    "e+MAnLr+Wi9xMWyQLc8NAA==" },
	{ "RFC 6605 6.2", 257, 14, 10771,
	    "xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1w/egsXvSADtNJhyem5RC"
	    "OpgQ6K8X1DRSEkrbYQ+OB+v8/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40" },
	{ "RFC 8080 6.1", 257, 15, 3613,
	    "l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=" },
	{ "RFC 8080 6.1", 257, 15, 35217,
	    "zPnZ/QwEe7S8C5SPz2OfS5RR40ATk2/rYnE9xHIEijs=" },
	{ "RFC 8080 6.2", 257, 16, 9713,
	    "3kgROaDjrh0H2iuixWBrc8g2EpBBLCdGzHmn+G2MpTPhpj/OiBVHHSfPodx1FYYU"
	    "cJKm1MDpJtIA" },
	{ "RFC 8080 6.2", 257, 16, 38353,
	    "kkreGWoccSDmUBGAe7+zsbG6ZAFQp+syPmYUurBRQc3tDjeMCJcVMRDmgcNLp5Hl"
	    "HAMy12VoISsA" },
	{ "root, 2017", 257, 8, 20326,
	    "AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq"
	    "7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnI"
	    "DdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb"
	    "9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTId"
	    "sIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qih"
	    "ylGa8subX2Nn6UwNR1AkUTV74bU=" },
};

static void
key_tags_are_those_of_published_keys(void **ctx)
{
	uint8_t pub[DNSKEY_PUB_MAX];

	(void)ctx;
	for (size_t i = 0; i < nitems(published); i++) {
		const struct dnskey *k = &published[i];
		size_t len = base64(k->pub, pub);

		if (dnskey_tag(k->flags, k->alg, pub, len) != k->tag)
			fail_msg("%s: tag %d, not %d", k->what,
			    dnskey_tag(k->flags, k->alg, pub, len), k->tag);
	}
}

static void
a_key_has_three_tags_for_its_three_flags(void **ctx)
{
	uint8_t pub[DNSKEY_PUB_MAX];
	size_t len = base64(published[nitems(published) - 1].pub, pub);

	(void)ctx;
	assert_int_equal(dnskey_tag(DNSKEY_ZSK, 8, pub, len), 20325);
	assert_int_equal(dnskey_tag(DNSKEY_KSK, 8, pub, len), 20326);
	assert_int_equal(dnskey_tag(DNSKEY_REVOKED, 8, pub, len), 20454);
}

static void
the_carry_of_a_key_tag_is_added_once(void **ctx)
{
	uint8_t pub[4] = { 0xff, 0xff, 0xff, 0xff };

	(void)ctx;
	/* 0x0101 + 0x030d + 2 * 0xffff = 0x2040c; 0x040c + 2 = 0x040e */
	assert_int_equal(dnskey_tag(257, 13, pub, 4), 0x040e);
	/* An odd octet is the high half of a word: 0x2040c - 0xff. */
	assert_int_equal(dnskey_tag(257, 13, pub, 3), 0x030f);
	assert_int_equal(dnskey_tag(257, 13, pub, 0), 0x040e);
}

static void
an_rsa_key_takes_its_published_form(void **ctx)
{
	uint8_t want[DNSKEY_PUB_MAX], got[DNSKEY_PUB_MAX];
	uint8_t modulus[512 + 2] = { 0 }, exponent[8] = { 0 };
	struct ksm_fail fail;
	size_t len, gotlen;

	(void)ctx;
	for (size_t i = 0; i < nitems(published); i++) {
		const struct alg *alg = alg_find(published[i].alg);
		size_t elen, mlen;

		assert_non_null(alg);
		if (alg->family != ALG_RSA)
			continue;
		len = base64(published[i].pub, want);
		elen = want[0];
		mlen = len - 1 - elen;

		assert_int_equal(dnskey_from_rsa(want + 1 + elen, mlen,
		    want + 1, elen, got, &gotlen, &fail), KSM_OK);
		assert_int_equal(gotlen, len);
		assert_memory_equal(got, want, len);

		/* As DER and some tokens have it, with zeros in front. */
		memcpy(modulus + 2, want + 1 + elen, mlen);
		memcpy(exponent + 5, want + 1, elen);
		assert_int_equal(dnskey_from_rsa(modulus, mlen + 2, exponent,
		    5 + elen, got, &gotlen, &fail), KSM_OK);
		assert_int_equal(gotlen, len);
		assert_memory_equal(got, want, len);
	}
}

static void
the_exponent_length_takes_one_octet_or_three(void **ctx)
{
	uint8_t modulus[128], exponent[512], got[DNSKEY_PUB_MAX];
	struct ksm_fail fail;
	size_t len;

	(void)ctx;
	memset(modulus, 0xc1, sizeof(modulus));
	memset(exponent, 0xe3, sizeof(exponent));

	assert_int_equal(dnskey_from_rsa(modulus, 128, exponent, 255, got,
	    &len, &fail), KSM_OK);
	assert_int_equal(len, 1 + 255 + 128);
	assert_int_equal(got[0], 255);
	assert_int_equal(got[1], 0xe3);
	assert_int_equal(got[255], 0xe3);
	assert_int_equal(got[256], 0xc1);

	assert_int_equal(dnskey_from_rsa(modulus, 128, exponent, 256, got,
	    &len, &fail), KSM_OK);
	assert_int_equal(len, 3 + 256 + 128);
	assert_int_equal(got[0], 0);
	assert_int_equal(got[1], 1);
	assert_int_equal(got[2], 0);
	assert_int_equal(got[3], 0xe3);
	assert_int_equal(got[258], 0xe3);
	assert_int_equal(got[259], 0xc1);
}

static void
an_rsa_key_that_cannot_be_is_refused_with_words(void **ctx)
{
	static const struct {
		const char *what;
		size_t mlen, elen;
		int octet;
		const char *words;
	} cases[] = {
		{ "no modulus", 0, 3, 1, "modulus is zero" },
		{ "no exponent", 128, 0, 1, "exponent is zero" },
		{ "all zero", 128, 3, 0, "modulus is zero" },
		{ "4104 bits", 513, 3, 1, "513 octets" },
		{ "huge exponent", 1, 513, 1, "513 octets" },
		{ "too much together", 512, 86, 1, "more than 597 together" },
	};
	uint8_t modulus[513], exponent[513], got[DNSKEY_PUB_MAX];
	struct ksm_fail fail;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		size_t len = 77;

		memset(modulus, cases[i].octet, sizeof(modulus));
		memset(exponent, cases[i].octet, sizeof(exponent));
		if (dnskey_from_rsa(modulus, cases[i].mlen, exponent,
		    cases[i].elen, got, &len, &fail) != KSM_EREFUSED)
			fail_msg("%s: taken", cases[i].what);
		if (strstr(fail.text, cases[i].words) == NULL)
			fail_msg("%s: \"%s\"", cases[i].what, fail.text);
		assert_int_equal(len, 77);
	}
	memset(modulus, 1, sizeof(modulus));
	memset(exponent, 1, sizeof(exponent));
	assert_int_equal(dnskey_from_rsa(modulus, 512, exponent, 85, got,
	    &(size_t){ 0 }, &fail), KSM_OK);
}

static void
we_make_eight_algorithms_under_their_iana_names(void **ctx)
{
	static const int ours[] = { 5, 7, 8, 10, 13, 14, 15, 16 };
	size_t found = 0;

	(void)ctx;
	for (int n = -1; n <= 300; n++) {
		const struct alg *alg = alg_find(n);

		if (alg == NULL)
			continue;
		assert_true(found < nitems(ours));
		assert_int_equal(n, ours[found++]);
		assert_int_equal(alg->number, n);
		assert_string_equal(alg->name, alg_iana_name(n));
		assert_int_equal(alg->family == ALG_RSA, alg->point_len == 0);
		assert_int_equal(alg->family == ALG_EDDSA, alg->hash == NULL);
		assert_int_equal(alg->family == ALG_RSA,
		    alg->bits_min != alg->bits_max);
	}
	assert_int_equal(found, nitems(ours));
	assert_int_equal(alg_find(13)->point_len, 64);
	assert_int_equal(alg_find(14)->point_len, 96);
	assert_int_equal(alg_find(15)->point_len, 32);
	assert_int_equal(alg_find(16)->point_len, 57);
	assert_string_equal(alg_find(5)->hash, "SHA1");
	assert_string_equal(alg_find(7)->hash, "SHA1");
	assert_string_equal(alg_find(8)->hash, "SHA256");
	assert_string_equal(alg_find(10)->hash, "SHA512");
	assert_string_equal(alg_find(13)->hash, "SHA256");
	assert_string_equal(alg_find(14)->hash, "SHA384");
}

static void
numbers_we_cannot_make_have_their_names_too(void **ctx)
{
	static const struct {
		int number;
		const char *name;
	} cases[] = {
		{ 0, "DELETE" },
		{ 1, "RSAMD5" },
		{ 2, "DH" },
		{ 3, "DSA" },
		{ 6, "DSA-NSEC3-SHA1" },
		{ 12, "ECC-GOST" },
		{ 17, "SM2SM3" },
		{ 23, "ECC-GOST12" },
		{ 252, "INDIRECT" },
		{ 253, "PRIVATEDNS" },
		{ 254, "PRIVATEOID" },
	};
	static const int unassigned[] = { -1, 4, 9, 11, 18, 22, 24, 123, 200,
		251, 255, 256, 264 };

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		assert_string_equal(alg_iana_name(cases[i].number),
		    cases[i].name);
		assert_null(alg_find(cases[i].number));
	}
	for (size_t i = 0; i < nitems(unassigned); i++)
		assert_null(alg_iana_name(unassigned[i]));
}

static void
sizes_are_those_the_algorithm_can_have(void **ctx)
{
	static const struct {
		int alg;
		int64_t length;
		int bits; /* 0: refused */
		bool odd;
		const char *words;
	} cases[] = {
		{ 8, 1024, 1024, false, NULL },
		{ 8, 2048, 2048, false, NULL },
		{ 8, 4096, 4096, false, NULL },
		{ 8, 1032, 1032, false, NULL },
		{ 8, 0, 0, false, "RSASHA256 needs a key length" },
		{ 8, 1023, 0, false, "1024 to 4096 bits, not 1023" },
		{ 8, 4097, 0, false, "1024 to 4096 bits, not 4097" },
		{ 8, 4104, 0, false, "1024 to 4096 bits, not 4104" },
		{ 8, 2047, 0, false, "multiples of 8 bits, 2047 is not" },
		{ 8, -2048, 0, false, "-2048" },
		/* 2^32 + 2048 */
		{ 8, INT64_C(4294969344), 0, false, "4294969344" },
		{ 8, INT64_MIN, 0, false, "-9223372036854775808" },
		{ 5, 512, 0, false, "not 512" },
		{ 13, 0, 256, false, NULL },
		{ 13, 256, 256, false, NULL },
		{ 13, 2048, 256, true, NULL },
		{ 13, -1, 0, false, "-1" },
		{ 14, 384, 384, false, NULL },
		{ 14, 256, 384, true, NULL },
		{ 15, 0, 256, false, NULL },
		{ 16, 456, 456, false, NULL },
		{ 16, 9999, 456, true, NULL },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		const struct alg *alg = alg_find(cases[i].alg);
		struct ksm_fail fail = { .text = "" };
		bool odd = false;
		int bits = 0;
		enum ksm_err err;

		err = alg_bits(alg, cases[i].length, &bits, &odd, &fail);
		assert_int_equal(err,
		    cases[i].bits != 0 ? KSM_OK : KSM_EREFUSED);
		assert_int_equal(bits, cases[i].bits);
		assert_int_equal(odd, cases[i].odd);
		if (cases[i].words != NULL &&
		    strstr(fail.text, cases[i].words) == NULL)
			fail_msg("\"%s\" lacks \"%s\"", fail.text,
			    cases[i].words);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(key_tags_are_those_of_published_keys),
		cmocka_unit_test(a_key_has_three_tags_for_its_three_flags),
		cmocka_unit_test(the_carry_of_a_key_tag_is_added_once),
		cmocka_unit_test(an_rsa_key_takes_its_published_form),
		cmocka_unit_test(the_exponent_length_takes_one_octet_or_three),
		cmocka_unit_test(
		    an_rsa_key_that_cannot_be_is_refused_with_words),
		cmocka_unit_test(
		    we_make_eight_algorithms_under_their_iana_names),
		cmocka_unit_test(numbers_we_cannot_make_have_their_names_too),
		cmocka_unit_test(sizes_are_those_the_algorithm_can_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
