#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "text.h"

static void
padding_goes_and_the_rest_stays(void **ctx)
{
	static const struct {
		const char *field, *text;
	} cases[] = {
		{ "OpenDNSSEC      ", "OpenDNSSEC" },
		{ "  two words     ", "  two words" },
		{ "full to the end!", "full to the end!" },
		{ "                ", "" },
		{ "nul\0            ", "nul" },
		{ "l\xc3\xa4"
		  "b            ",
		    "l\xc3\xa4"
		    "b" },
	};
	char out[64];

	(void)ctx;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		text_field((const unsigned char *)cases[i].field, 16, out,
		    sizeof(out));
		assert_string_equal(out, cases[i].text);
	}
}

static void
what_a_message_cannot_carry_is_a_question_mark(void **ctx)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "a\tb\x1b[0m", "a?b?[0m" }, { "\x7f", "?" },
		{ "l\xe4"
		  "b",
		    "l?b" },			/* ISO 8859-1 */
		{ "\xc0\x80", "??" },		/* overlong */
		{ "\xed\xa0\x80", "???" },	/* surrogate */
		{ "\xf4\x90\x80\x80", "????" }, /* past the end */
		{ "\xf0\x9f\x94\x91", "\xf0\x9f\x94\x91" },
		{ "\xe2\x82", "??" }, /* cut */
		{ "\xc2\x85", "??" }, /* a control character, too */
	};
	char out[64];

	(void)ctx;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		text_format(out, sizeof(out), "%s", cases[i].in);
		assert_string_equal(out, cases[i].out);
	}
}

static void
cutting_never_splits_a_character(void **ctx)
{
	char out[4];

	(void)ctx;
	text_format(out, sizeof(out), "%s", "ab\xc3\xa9");
	assert_string_equal(out, "ab?");
	text_field((const unsigned char *)"abc\xc3\xa9 ", 6, out, sizeof(out));
	assert_string_equal(out, "abc");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(padding_goes_and_the_rest_stays),
		cmocka_unit_test(
		    what_a_message_cannot_carry_is_a_question_mark),
		cmocka_unit_test(cutting_never_splits_a_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
