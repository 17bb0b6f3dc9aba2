#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/msg_ctl.h"

static void
a_request_comes_back_as_it_was_sent(void **ctx)
{
	struct ctl_request r = { .command = "key list" }, back;
	char *line;

	(void)ctx;
	r.args = json_pack("{s:s, s:i, s:b}", "policy",
	    "d\xc3\xa9"
	    "faut \"x\"",
	    "max", 40, "wait", 1);
	line = ctl_request_encode(&r);
	assert_non_null(line);
	assert_int_equal(line[strlen(line) - 1], '\n');
	assert_int_equal(
	    ctl_request_decode(line, strlen(line), &back, NULL), KSM_OK);
	assert_string_equal(back.command, "key list");
	assert_true(json_equal(back.args, r.args));
	free(line);
	ctl_request_clear(&r);
	ctl_request_clear(&back);
}

static void
a_request_without_arguments_has_an_empty_object(void **ctx)
{
	struct ctl_request r = { .command = "status" };
	char *line = ctl_request_encode(&r);

	(void)ctx;
	assert_string_equal(
	    line, "{\"v\":1,\"command\":\"status\",\"args\":{}}\n");
	free(line);
}

static void
a_wrong_request_is_refused_with_the_word_that_is_wrong(void **ctx)
{
	static const struct {
		const char *line, *word;
	} cases[] = {
		{ "", "empty" },
		{ "\n", "empty" },
		{ "{", "not JSON" },
		{ "hello", "not JSON" },
		{ "[1]", "not a JSON object" },
		{ "\"v\"", "not JSON" },
		{ "{}", "\"v\"" },
		{ "{\"v\":\"1\",\"command\":\"x\",\"args\":{}}", "\"v\"" },
		{ "{\"v\":2,\"verb\":\"x\"}", "version 2" },
		{ "{\"v\":4294967297,\"command\":\"x\",\"args\":{}}",
		    "version 4294967297" },
		{ "{\"v\":1,\"args\":{}}", "command" },
		{ "{\"v\":1,\"command\":7,\"args\":{}}", "string" },
		{ "{\"v\":1,\"command\":\"\",\"args\":{}}", "empty" },
		{ "{\"v\":1,\"command\":\"x\"}", "args" },
		{ "{\"v\":1,\"command\":\"x\",\"args\":[]}", "args" },
		{ "{\"v\":1,\"command\":\"x\",\"args\":{},\"b\":1}", "b" },
		{ "{\"v\":1,\"v\":1,\"command\":\"x\",\"args\":{}}",
		    "duplicate" },
		{ "{\"v\":1,\"command\":\"x\",\"args\":{}}\n{}\n", "line" },
		{ "{\"v\":1,\"command\":\"x\",\"args\":{}} {}", "not JSON" },
		{ "{\"v\":1,\"command\":\"x\",\"args\":{\"n\":"
		  "99999999999999999999}}",
		    "too big" },
		{ "{\"v\":1,\"command\":\"a\\u0000\",\"args\":{}}",
		    "not JSON" },
		{ "{\"v\":1,\"command\":\"\xff\",\"args\":{}}", "not JSON" },
		{ "{\"v\":1,\"command\":"
		  "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		  "xxxxxxx\",\"args\":{}}",
		    "longer than 63" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct ksm_fail fail = { .text = "" };
		struct ctl_request r;

		if (ctl_request_decode(cases[i].line, strlen(cases[i].line), &r,
			&fail) != KSM_EPROTO ||
		    strstr(fail.text, cases[i].word) == NULL)
			fail_msg("%s: \"%s\" does not say \"%s\"",
			    cases[i].line, fail.text, cases[i].word);
	}
}

static void
bytes_that_are_zero_are_refused(void **ctx)
{
	static const char line[] = "{\"v\":1,\"command\":\"a\0b\",\"args\":{}}";
	struct ctl_request r;

	(void)ctx;
	assert_int_equal(
	    ctl_request_decode(line, sizeof(line) - 1, &r, NULL), KSM_EPROTO);
}

static void
nesting_without_end_is_refused(void **ctx)
{
	size_t len = 60000;
	char *line = malloc(len);
	struct ctl_request r;

	(void)ctx;
	memset(line, '[', len);
	assert_int_equal(ctl_request_decode(line, len, &r, NULL), KSM_EPROTO);
	free(line);
}

static void
a_line_may_have_64_kib_and_not_a_byte_more(void **ctx)
{
	struct ctl_request r = { .command = "x" }, back;
	size_t frame =
	    strlen("{\"v\":1,\"command\":\"x\",\"args\":{\"a\":\"\"}}"
		   "\n");
	char *text = malloc(MSG_CTL_LINE), *line;

	(void)ctx;
	memset(text, 'a', MSG_CTL_LINE);
	text[MSG_CTL_LINE - frame] = '\0';
	r.args = json_pack("{s:s}", "a", text);
	line = ctl_request_encode(&r);
	assert_non_null(line);
	assert_int_equal(strlen(line), MSG_CTL_LINE);
	assert_int_equal(
	    ctl_request_decode(line, strlen(line), &back, NULL), KSM_OK);
	ctl_request_clear(&back);
	ctl_request_clear(&r);
	free(line);

	text[MSG_CTL_LINE - frame] = 'a';
	text[MSG_CTL_LINE - frame + 1] = '\0';
	r.args = json_pack("{s:s}", "a", text);
	assert_null(ctl_request_encode(&r));
	ctl_request_clear(&r);
	memset(text, ' ', MSG_CTL_LINE);
	assert_int_equal(
	    ctl_request_decode(text, MSG_CTL_LINE, &back, NULL), KSM_EPROTO);
	free(text);
}

static void
every_type_of_reply_comes_back_as_it_was_sent(void **ctx)
{
	struct ctl_reply replies[] = {
		{ .type = CTL_ITEM },
		{ .type = CTL_PROGRESS,
		    .done = 7,
		    .total = INT64_MAX,
		    .text = "busy" },
		{ .type = CTL_RESULT, .exit = CTL_ATTENTION },
		{ .type = CTL_ERROR,
		    .exit = CTL_FAILED,
		    .code = "unknown-key",
		    .text = "no key",
		    .hint = "look" },
	};

	(void)ctx;
	replies[0].body = json_pack("{s:{s:i}}", "keys", "n", 1);
	replies[2].body = json_pack("{s:i}", "count", 12);
	for (size_t i = 0; i < nitems(replies); i++) {
		struct ctl_reply back;
		char *line = ctl_reply_encode(&replies[i]);

		assert_non_null(line);
		assert_int_equal(
		    ctl_reply_decode(line, strlen(line), &back, NULL), KSM_OK);
		assert_int_equal(back.type, replies[i].type);
		assert_int_equal(back.exit, replies[i].exit);
		assert_int_equal(back.done, replies[i].done);
		assert_int_equal(back.total, replies[i].total);
		assert_string_equal(back.code, replies[i].code);
		assert_string_equal(back.text, replies[i].text);
		assert_string_equal(back.hint, replies[i].hint);
		assert_true(replies[i].body == NULL ||
			    json_equal(back.body, replies[i].body));
		ctl_reply_clear(&back);
		ctl_reply_clear(&replies[i]);
		free(line);
	}
}

static void
a_reply_has_exactly_the_fields_of_its_type(void **ctx)
{
	static const char *const lines[] = {
		"{\"v\":1,\"item\":{}}",
		"{\"v\":1,\"type\":\"song\",\"item\":{}}",
		"{\"v\":1,\"type\":\"item\",\"item\":[]}",
		"{\"v\":1,\"type\":\"item\",\"result\":{}}",
		"{\"v\":1,\"type\":\"item\",\"item\":{},\"exit\":0}",
		"{\"v\":1,\"type\":\"progress\",\"done\":-1,\"total\":1,"
		"\"text\":\"\"}",
		"{\"v\":1,\"type\":\"progress\",\"done\":1,\"total\":1}",
		"{\"v\":1,\"type\":\"result\",\"result\":{}}",
		"{\"v\":1,\"type\":\"result\",\"exit\":256,\"result\":{}}",
		"{\"v\":1,\"type\":\"result\",\"exit\":4294967296,"
		"\"result\":{}}",
		"{\"v\":1,\"type\":\"result\",\"exit\":-1,\"result\":{}}",
		"{\"v\":1,\"type\":\"error\",\"exit\":2,\"code\":\"x\","
		"\"text\":\"y\"}",
		"{\"v\":1,\"type\":\"error\",\"exit\":2,\"code\":"
		"\"a-code-of-more-than-31-bytes-is-none\",\"text\":\"y\","
		"\"hint\":\"\"}",
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(lines); i++) {
		struct ksm_fail fail = { .text = "" };
		struct ctl_reply r;

		if (ctl_reply_decode(lines[i], strlen(lines[i]), &r, &fail) !=
			KSM_EPROTO ||
		    fail.text[0] == '\0')
			fail_msg("%s was taken", lines[i]);
	}
}

static void
text_that_is_not_utf8_is_made_so(void **ctx)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", "" },
		{ "plain", "plain" },
		{ "d\xc3\xa9j\xc3\xa0", "d\xc3\xa9j\xc3\xa0" },
		{ "\xe2\x82\xac \xf0\x9f\x94\x91",
		    "\xe2\x82\xac \xf0\x9f\x94\x91" },
		{ "caf\xe9", "caf?" },		/* Latin-1 */
		{ "\xc0\xaf", "??" },		/* overlong */
		{ "\xed\xa0\x80", "???" },	/* a surrogate */
		{ "\xf4\x90\x80\x80", "????" }, /* above U+10FFFF */
		{ "cut \xe2\x82", "cut ??" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		json_t *t = ctl_text(cases[i].in);

		assert_non_null(t);
		assert_string_equal(json_string_value(t), cases[i].out);
		json_decref(t);
	}
}

static void
long_text_is_cut_between_characters(void **ctx)
{
	char text[3 * CTL_TEXT + 1];
	json_t *t;

	(void)ctx;
	for (size_t i = 0; i < CTL_TEXT; i++)
		memcpy(text + 3 * i, "\xe2\x82\xac", 3);
	text[3 * CTL_TEXT] = '\0';
	t = ctl_text(text);
	assert_int_equal(json_string_length(t), CTL_TEXT / 3 * 3);
	json_decref(t);
}

static void
an_error_text_cut_in_a_character_still_travels(void **ctx)
{
	struct ctl_reply r = { .type = CTL_ERROR, .exit = 2, .code = "x" };
	struct ctl_reply back;
	char *line;

	(void)ctx;
	memset(r.text, 'a', sizeof(r.text) - 1);
	r.text[sizeof(r.text) - 2] = '\xc3';
	line = ctl_reply_encode(&r);
	assert_non_null(line);
	assert_int_equal(
	    ctl_reply_decode(line, strlen(line), &back, NULL), KSM_OK);
	assert_int_equal(back.text[sizeof(r.text) - 2], '?');
	free(line);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_comes_back_as_it_was_sent),
		cmocka_unit_test(
		    a_request_without_arguments_has_an_empty_object),
		cmocka_unit_test(
		    a_wrong_request_is_refused_with_the_word_that_is_wrong),
		cmocka_unit_test(bytes_that_are_zero_are_refused),
		cmocka_unit_test(nesting_without_end_is_refused),
		cmocka_unit_test(a_line_may_have_64_kib_and_not_a_byte_more),
		cmocka_unit_test(every_type_of_reply_comes_back_as_it_was_sent),
		cmocka_unit_test(a_reply_has_exactly_the_fields_of_its_type),
		cmocka_unit_test(text_that_is_not_utf8_is_made_so),
		cmocka_unit_test(long_text_is_cut_between_characters),
		cmocka_unit_test(
		    an_error_text_cut_in_a_character_still_travels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
