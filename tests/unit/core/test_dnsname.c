#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ksmpool/dnsname.h"

/* True if both are names, and the same one. */
static bool
same(const char *a, const char *b)
{
	uint8_t wa[DNSNAME_WIRE], wb[DNSNAME_WIRE];
	struct ksm_fail fail;
	size_t la = 0, lb = 0;

	if (dnsname_parse(a, wa, &la, &fail) != KSM_OK ||
	    dnsname_parse(b, wb, &lb, &fail) != KSM_OK)
		fail_msg("%s", fail.text);
	return la == lb && memcmp(wa, wb, la) == 0;
}

static void
names_that_are_equal_in_the_dns_are_equal_here(void **ctx)
{
	static const struct {
		const char *a, *b;
		bool same;
	} cases[] = {
		{ "example.com", "example.com", true },
		{ "example.com", "example.com.", true },
		{ "Example.COM", "eXAMPLE.com", true },
		{ "ex\\097mple", "example", true },
		{ "ex\\065mple", "example", true }, /* escaped A has case too */
		{ "ex\\ample", "example", true },
		{ "a\\.b.c", "a.b.c", false },
		{ "a\\.b", "a\\046b", true },
		{ "a\\.b", "a\\.B.", true },
		{ "0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.IN-ADDR.arpa.",
		    true },
		{ "0/25.2.0.192.in-addr.arpa", "0\\04725.2.0.192.in-addr.arpa",
		    true },
		{ "0/25.2.0.192.in-addr.arpa", "0-25.2.0.192.in-addr.arpa",
		    false },
		{ "example.com", "example.net", false },
		{ "example.com", "www.example.com", false },
		{ "ab.c", "a.bc", false },
		{ "\xc3\xa4.example", "\\195\\164.example", true },
		/* RFC 4343: no case beyond ASCII */
		{ "\xc3\xa4.example", "\xc3\x84.example", false },
		{ "[", "{", false }, /* 32 apart, and no letters */
		{ "@", "`", false },
		{ "a\\ b", "a\\032b", true },
		{ "a\\000b", "a", false },
		{ "\\\\", "\\092", true },
		{ "_dmarc.example", "_DMARC.example", true },
		{ "*.example", "\\042.example", true },
		{ ".", ".", true },
		{ ".", "a", false },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		if (same(cases[i].a, cases[i].b) != cases[i].same)
			fail_msg("\"%s\" and \"%s\"", cases[i].a, cases[i].b);
	}
}

static void
the_wire_form_is_that_of_rfc_1035(void **ctx)
{
	uint8_t wire[DNSNAME_WIRE];
	size_t len;

	(void)ctx;
	assert_int_equal(dnsname_parse("Www.Example", wire, &len, NULL),
	    KSM_OK);
	assert_int_equal(len, 13);
	assert_memory_equal(wire, "\3www\7example", 13);
	assert_int_equal(dnsname_parse("aZ.\\255b.c0d-e.", wire, &len, NULL),
	    KSM_OK);
	assert_int_equal(len, 13);
	assert_memory_equal(wire, "\2az\2\377b\5c0d-e", 13);
	assert_int_equal(dnsname_parse(".", wire, &len, NULL), KSM_OK);
	assert_int_equal(len, 1);
	assert_int_equal(wire[0], 0);
}

static void
what_is_no_name_is_refused_with_words(void **ctx)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{ "", "empty at position 1" },
		{ "..", "empty label at position 1" },
		{ ".a", "empty label at position 1" },
		{ "a..", "empty label at position 3" },
		{ "a..b", "empty label at position 3" },
		{ "a b", "blank at position 2" },
		{ " a", "blank at position 1" },
		{ "a\t", "blank at position 2" },
		{ "a\n", "blank at position 2" },
		{ "a\r", "blank at position 2" },
		{ "a\\", "bad escape at position 2" },
		{ "a\\1", "bad escape at position 2" },
		{ "a\\1.2", "bad escape at position 2" },
		{ "~!\x7f\xff b",
		    "zone name \"~!???b\": blank at position 5" },
		{ "a\\12", "bad escape at position 2" },
		{ "a\\12b", "bad escape at position 2" },
		{ "a\\1b2", "bad escape at position 2" },
		{ "a\\256", "bad escape at position 2" },
		{ "a\\999.b", "bad escape at position 2" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct ksm_fail fail = { .text = "" };
		uint8_t wire[DNSNAME_WIRE];
		size_t len = 4711;

		if (dnsname_parse(cases[i].text, wire, &len, &fail) !=
		    KSM_EREFUSED)
			fail_msg("\"%s\" was taken", cases[i].text);
		assert_int_equal(len, 4711);
		if (strstr(fail.text, cases[i].words) == NULL)
			fail_msg("\"%s\": %s", cases[i].text, fail.text);
	}
}

/* n octets 'a' at `at`; returns the end. */
static char *
run(char *at, size_t n)
{
	memset(at, 'a', n);
	at[n] = '\0';
	return at + n;
}

static void
a_label_has_63_octets_at_most(void **ctx)
{
	char text[400];
	uint8_t wire[DNSNAME_WIRE];
	struct ksm_fail fail;
	size_t len;
	char *end;

	(void)ctx;
	(void)run(text, 63);
	assert_int_equal(dnsname_parse(text, wire, &len, &fail), KSM_OK);
	assert_int_equal(len, 65);
	assert_int_equal(wire[0], 63);
	(void)run(text, 64);
	assert_int_equal(dnsname_parse(text, wire, &len, &fail), KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "label over 63 octets"));

	/* The same behind another label. */
	text[0] = 'b';
	text[1] = '.';
	(void)run(text + 2, 63);
	assert_int_equal(dnsname_parse(text, wire, &len, &fail), KSM_OK);
	assert_int_equal(len, 67);
	(void)run(text + 2, 64);
	assert_int_equal(dnsname_parse(text, wire, &len, &fail), KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "label over 63 octets"));

	/* Octets count, not letters: 63 escapes are 252 letters. */
	end = text;
	for (int i = 0; i < 63; i++)
		end += snprintf(end, 5, "\\%03d", 200);
	assert_int_equal(dnsname_parse(text, wire, &len, &fail), KSM_OK);
	assert_int_equal(len, 65);
	(void)snprintf(end, 5, "\\%03d", 200);
	assert_int_equal(dnsname_parse(text, wire, &len, &fail), KSM_EREFUSED);
}

static void
a_name_has_255_octets_at_most(void **ctx)
{
	char text[400], *end;
	uint8_t wire[DNSNAME_WIRE];
	struct ksm_fail fail;
	size_t len;

	(void)ctx;
	/* 3 x 64 + 1 + 61 + the root = 255 */
	end = run(text, 63);
	for (int i = 0; i < 2; i++) {
		*end++ = '.';
		end = run(end, 63);
	}
	*end++ = '.';
	end = run(end, 61);
	assert_int_equal(dnsname_parse(text, wire, &len, &fail), KSM_OK);
	assert_int_equal(len, 255);
	assert_int_equal(wire[254], 0);
	(void)run(end, 0);
	*end = '.';
	end[1] = '\0';
	assert_int_equal(dnsname_parse(text, wire, &len, &fail), KSM_OK);
	assert_int_equal(len, 255);
	(void)run(end, 1);
	assert_int_equal(dnsname_parse(text, wire, &len, &fail), KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "name over 255 octets"));

	/* As many labels as there can be, and one more. */
	end = text;
	for (int i = 0; i < 127; i++)
		end += snprintf(end, 3, "%s", i == 0 ? "a" : ".a");
	assert_int_equal(dnsname_parse(text, wire, &len, &fail), KSM_OK);
	assert_int_equal(len, 255);
	(void)snprintf(end, 3, ".a");
	assert_int_equal(dnsname_parse(text, wire, &len, &fail), KSM_EREFUSED);
}

static void
a_hostile_name_is_cut_and_shown_in_print(void **ctx)
{
	char text[5000];
	uint8_t wire[DNSNAME_WIRE];
	struct ksm_fail fail;
	size_t len;

	(void)ctx;
	memset(text, '\x1b', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(dnsname_parse(text, wire, &len, &fail), KSM_EREFUSED);
	assert_null(strchr(fail.text, '\x1b'));
	assert_non_null(strstr(fail.text, "???...\": label over 63 octets"));
	assert_true(strlen(fail.text) < 200);
}

static void
all_spellings_of_a_name_have_one_text(void **ctx)
{
	static const struct {
		const char *spelt, *text;
	} cases[] = {
		{ ".", "." },
		{ "example", "example" },
		{ "Example.COM.", "example.com" },
		{ "ex\\065mple\\.", "example\\." },
		{ "a\\046b.c", "a\\.b.c" },
		{ "\\\\", "\\\\" },
		{ "a\\\"b", "a\\\"b" },
		{ "a\"b", "a\\\"b" },
		{ "a;b", "a\\;b" },
		{ "(a)", "\\(a\\)" },
		{ "@", "\\@" },
		{ "$include", "\\$include" },
		{ "a\\ b", "a\\032b" },
		{ "a\\000b", "a\\000b" },
		{ "a\\127b", "a\\127b" },
		{ "\xc3\xa4.example", "\\195\\164.example" },
		{ "0/25.2.0.192.IN-ADDR.ARPA", "0/25.2.0.192.in-addr.arpa" },
		{ "_dmarc.*.Example", "_dmarc.*.example" },
		{ "'it'.`{|}~!#%&+,:<=>?[]^", "'it'.`{|}~!#%&+,:<=>?[]^" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		uint8_t wire[DNSNAME_WIRE], again[DNSNAME_WIRE];
		char text[DNSNAME_TEXT];
		struct ksm_fail fail;
		size_t len, n;

		if (dnsname_parse(cases[i].spelt, wire, &len, &fail) != KSM_OK)
			fail_msg("%s", fail.text);
		dnsname_text(wire, len, text);
		assert_string_equal(text, cases[i].text);
		/* and that one is a spelling, too */
		if (dnsname_parse(text, again, &n, &fail) != KSM_OK)
			fail_msg("%s", fail.text);
		assert_int_equal(n, len);
		assert_memory_equal(again, wire, len);
	}
}

static void
every_octet_has_a_text_that_reads_as_itself(void **ctx)
{
	uint8_t wire[DNSNAME_WIRE] = { 2 }, again[DNSNAME_WIRE];
	char text[DNSNAME_TEXT];
	size_t n;

	(void)ctx;
	for (int octet = 0; octet < 256; octet++) {
		if (octet >= 'A' && octet <= 'Z')
			continue;
		wire[1] = (uint8_t)octet;
		wire[2] = '1'; /* a digit behind it is no part of an escape */
		dnsname_text(wire, 4, text);
		for (const char *p = text; *p != '\0'; p++)
			assert_true(*p > ' ' && *p <= '~');
		assert_int_equal(dnsname_parse(text, again, &n, NULL), KSM_OK);
		assert_int_equal(n, 4);
		assert_memory_equal(again, wire, 4);
	}
}

static void
the_longest_text_has_room(void **ctx)
{
	uint8_t wire[DNSNAME_WIRE], again[DNSNAME_WIRE];
	char text[DNSNAME_TEXT + 16];
	size_t at = 0, n;

	(void)ctx;
	for (size_t label = 0; label < 4; label++) {
		uint8_t octets = label < 3 ? 63 : 61;

		wire[at] = octets;
		memset(wire + at + 1, 0xff, octets);
		at += octets + 1u;
	}
	wire[at++] = 0;
	assert_int_equal(at, DNSNAME_WIRE);
	memset(text, '#', sizeof(text));
	dnsname_text(wire, at, text);
	assert_int_equal(strlen(text), 4 * 250 + 3);
	assert_int_equal(text[DNSNAME_TEXT], '#');
	assert_int_equal(dnsname_parse(text, again, &n, NULL), KSM_OK);
	assert_int_equal(n, DNSNAME_WIRE);
	assert_memory_equal(again, wire, n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    names_that_are_equal_in_the_dns_are_equal_here),
		cmocka_unit_test(the_wire_form_is_that_of_rfc_1035),
		cmocka_unit_test(what_is_no_name_is_refused_with_words),
		cmocka_unit_test(a_label_has_63_octets_at_most),
		cmocka_unit_test(a_name_has_255_octets_at_most),
		cmocka_unit_test(a_hostile_name_is_cut_and_shown_in_print),
		cmocka_unit_test(all_spellings_of_a_name_have_one_text),
		cmocka_unit_test(every_octet_has_a_text_that_reads_as_itself),
		cmocka_unit_test(the_longest_text_has_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
