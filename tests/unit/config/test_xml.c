#include "said.h"

#include <stdlib.h>

enum { T_ROOT, T_LIST, T_ITEM, T_NUMBER, T_LIFE, T_FLAG, T_WORD, T_PIN,
	T_IGNORED, T_QUICK, T__COUNT };

static const char *const words[] = { "red", "green", NULL };

static const struct xml_rule rules[T__COUNT] = {
	[T_ROOT] = { "Root", -1, XML_PARENT, .lo = 0 },
	[T_LIST] = { "List", T_ROOT, XML_PARENT, XML_LENIENT, .lo = 0 },
	[T_ITEM] = { "Item", T_ROOT, XML_TEXT, XML_MANY,
		{ { "name", true }, { "more", false } }, .lo = 0 },
	[T_NUMBER] = { "Number", T_ROOT, XML_NUMBER, XML_MANY, .lo = 1,
		.hi = 10 },
	[T_LIFE] = { "Life", T_ROOT, XML_DURATION, XML_MANY | XML_LIFE,
		.lo = 0 },
	[T_FLAG] = { "Flag", T_ROOT, XML_PRESENCE, .lo = 0 },
	[T_WORD] = { "Word", T_ROOT, XML_WORD, .words = words },
	[T_PIN] = { "PIN", T_ROOT, XML_SECRET, XML_MANY, .lo = 0 },
	[T_IGNORED] = { "Ignored", T_ROOT, XML_SKIP, XML_MANY | XML_UNUSED,
		.lo = 0 },
	[T_QUICK] = { "Quick", T_ROOT, XML_DURATION, XML_MANY | XML_QUICK,
		.lo = 0 },
};

/* The last value and attribute that a handler was told. */
struct seen {
	char text[XML_TEXT_MAX + 1];
	char attr[64];
	int64_t number, line;
	int items, good;
};

static void
on_open(void *ctx, const struct xml_node *n)
{
	struct seen *s = ctx;

	if (n->id == T_ITEM && n->attrs[0] != NULL)
		(void)snprintf(s->attr, sizeof(s->attr), "%s", n->attrs[0]);
}

static void
on_close(void *ctx, const struct xml_node *n)
{
	struct seen *s = ctx;

	if (rules[n->id].type == XML_PARENT)
		return;
	s->items++;
	s->good += n->ok ? 1 : 0;
	s->number = n->number;
	s->line = n->line;
	memcpy(s->text, n->text, n->len + 1);
}

static const struct xml_grammar grammar = {
	.what = "a test", .rules = rules, .nrules = T__COUNT,
	.open = on_open, .close = on_close,
};

static struct seen seen;

static struct xml_result
read_bytes(struct conf *c, const char *bytes, size_t len)
{
	struct xml_file file = { c, CONF_KASP, "test.xml" };
	struct xml_result result;
	struct ksm_fail fail;

	xml_setup();
	conf_init(c);
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(xml_read_bytes(&grammar, &file, bytes, len, &seen,
	    &result, &fail), KSM_OK);
	return result;
}

static struct xml_result
read_text(struct conf *c, const char *text)
{
	return read_bytes(c, text, strlen(text));
}

static void
faults_are_found_with_their_lines(void **ctx)
{
	static const struct expect cases[] = {
		{ "nothing", "", CONF_ERROR, 1, "nothing in the file" },
		{ "another root", "<KASP/>", CONF_ERROR, 1,
		    "this is not a test" },
		{ "root in lower case", "<root/>", CONF_ERROR, 1,
		    "case-sensitive" },
		{ "root of a namespace", "<Root xmlns='urn:x'/>", CONF_ERROR,
		    1, "in no namespace" },
		{ "unknown element", "<Root>\n<Other/>\n</Root>", CONF_ERROR,
		    2, "Other" },
		{ "what is known is said", "<Root><Other/></Root>",
		    CONF_ERROR, 1, "<List>, <Item>, <Number>" },
		{ "lenient parent", "<Root>\n<List><Other/></List></Root>",
		    CONF_WARNING, 2, "unknown element in <List>" },
		{ "unknown attribute", "<Root>\n\n<Flag x='1'/></Root>",
		    CONF_ERROR, 3, "unknown attribute of <Flag>" },
		{ "missing attribute", "<Root><Item>a</Item></Root>",
		    CONF_ERROR, 1, "<Item> has no name" },
		{ "empty attribute", "<Root><Item name=' '>a</Item></Root>",
		    CONF_ERROR, 1, "<Item> has no name" },
		{ "twice", "<Root>\n<Flag/>\n<Flag/></Root>", CONF_ERROR, 3,
		    "first at line 2" },
		{ "text between", "<Root>\n some text</Root>", CONF_ERROR, 2,
		    "some text" },
		{ "empty text", "<Root><Item name='a'> </Item></Root>",
		    CONF_ERROR, 1, "Item is empty" },
		{ "number too high", "<Root><Number>11</Number></Root>",
		    CONF_ERROR, 1, "1 to 10" },
		{ "number with a sign", "<Root><Number>+1</Number></Root>",
		    CONF_ERROR, 1, "1 to 10" },
		{ "number with a fraction",
		    "<Root><Number>1.0</Number></Root>", CONF_ERROR, 1,
		    "1 to 10" },
		{ "number beyond 64 bits",
		    "<Root><Number>18446744073709551617</Number></Root>",
		    CONF_ERROR, 1, "1 to 10" },
		{ "no number", "<Root><Number/></Root>", CONF_ERROR, 1,
		    "1 to 10" },
		{ "bad duration", "<Root>\n<Life>bad_text</Life></Root>",
		    CONF_ERROR, 2, "bad_text" },
		{ "negative duration", "<Root><Life>-P1D</Life></Root>",
		    CONF_ERROR, 1, "-P1D" },
		{ "text in a switch", "<Root>\n<Flag>false</Flag></Root>",
		    CONF_WARNING, 2, "counts as present" },
		{ "unknown word", "<Root><Word>blue</Word></Root>",
		    CONF_ERROR, 1, "red or green" },
		{ "ignored", "<Root><Ignored><Any x='1'>t</Any></Ignored>"
		  "</Root>", CONF_NOTICE, 0, "Ignored" },
		{ "months alone", "<Root><Life>P15M</Life></Root>",
		    CONF_WARNING, 1, "PT15M" },
		{ "minutes for a life", "<Root><Life>PT3M</Life></Root>",
		    CONF_WARNING, 1, "P3M" },
		{ "months of a quick thing",
		    "<Root><Quick>P5M</Quick></Root>", CONF_WARNING, 1,
		    "PT5M" },
		{ "calendar", "<Root><Life>P1Y</Life></Root>", CONF_NOTICE,
		    1, "31 days" },
		{ "doctype", "<?xml version='1.0'?>\n<!DOCTYPE Root [\n"
		  "<!ENTITY a 'b'>]>\n<Root/>", CONF_ERROR, 2,
		    "a document type is not allowed" },
		{ "external doctype", "\n<!DOCTYPE Root SYSTEM "
		  "'file:///etc/passwd'><Root/>", CONF_ERROR, 2,
		    "a document type is not allowed" },
		{ "entity", "<Root>\n<Item name='a'>&x;</Item></Root>",
		    CONF_ERROR, 2, "an entity that is not" },
		{ "ampersand", "<Root>\n<Item name='a'>a & b</Item></Root>",
		    CONF_ERROR, 2, "&amp;" },
		{ "truncated", "<Root>\n<Flag/>\n", CONF_ERROR, 3,
		    "not well-formed" },
		{ "closing tag", "<Root>\n<Flag>\n</Root>", CONF_ERROR, 3,
		    "closing tag" },
		{ "two roots", "<Root/>\n<Root/>", CONF_ERROR, 2,
		    "more after the end" },
		{ "bad bytes", "<Root>\n<Item name='a'>\xff\xfe</Item></Root>",
		    CONF_ERROR, 2, "encoding" },
		{ "xinclude", "<Root xmlns:xi='http://www.w3.org/2001/XInclude'"
		  ">\n<xi:include href='/etc/passwd'/></Root>", CONF_ERROR, 2,
		    "unknown element" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct conf c;

		(void)read_text(&c, cases[i].text);
		expect_said(&cases[i], &c);
		conf_clear(&c);
	}
}

static void
reading_goes_on_after_a_fault(void **ctx)
{
	struct xml_result result;
	struct conf c;

	(void)ctx;
	result = read_text(&c, "<Root><A/>\n<Number>x</Number>\n"
	    "<Word>blue</Word>\n<Life>1</Life></Root>");
	assert_true(result.sound);
	assert_int_equal(c.errors, 4);
	conf_clear(&c);
}

static void
an_unknown_element_hides_what_is_in_it(void **ctx)
{
	struct conf c;

	(void)ctx;
	(void)read_text(&c, "<Root><A><Number>x</Number><B>y</B></A></Root>");
	assert_int_equal(c.errors, 1);
	assert_int_equal(seen.items, 0);
	conf_clear(&c);
}

static void
blanks_line_ends_and_comments_are_not_part_of_a_value(void **ctx)
{
	struct conf c;

	(void)ctx;
	assert_true(read_text(&c, "<Root>\r\n<Item name=' n '>\r\n\t a"
	    "<!-- not this -->b &amp; c<![CDATA[ <d> ]]>\r\n</Item></Root>")
	    .sound);
	assert_string_equal(seen.text, "ab & c <d>");
	assert_string_equal(seen.attr, "n");
	conf_clear(&c);
}

static void
a_secret_keeps_its_blanks_but_not_its_layout(void **ctx)
{
	static const struct {
		const char *text, *secret;
	} cases[] = {
		{ "<Root><PIN>1234</PIN></Root>", "1234" },
		{ "<Root><PIN> 12 34 </PIN></Root>", " 12 34 " },
		{ "<Root><PIN>\n\t1234\n</PIN></Root>", "1234" },
		{ "<Root><PIN>1234 \r\n </PIN></Root>", "1234" },
		{ "<Root><PIN> 1234\n</PIN></Root>", " 1234" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct conf c;

		assert_true(read_text(&c, cases[i].text).sound);
		assert_string_equal(seen.text, cases[i].secret);
		conf_clear(&c);
	}
}

static void
no_finding_shows_a_secret(void **ctx)
{
	static const char *const cases[] = {
		"<Root><PIN>s3cr&et;</PIN></Root>",
		"<Root><PIN>s3cr<et></PIN></Root>",
		"<Root><PIN>s3cr</Root>",
		"<Root><PIN>s3cr<b/>et</PIN></Root>",
		"<Root><PIN a='s3cr'>x</PIN></Root>",
		"<Root><PIN>\x01s3cr</PIN></Root>",
		"<Root><PIN>s3cr&#0;</PIN></Root>",
		"<Root><PIN>s3cr",
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct conf c;

		(void)read_text(&c, cases[i]);
		assert_true(c.errors > 0);
		if (said(&c, "s3cr") != NULL)
			fail_msg("shown: %s", cases[i]);
		conf_clear(&c);
	}
}

static void
lines_are_exact_beyond_65535(void **ctx)
{
	size_t lines = 200000, used;
	struct conf c;
	char *text;

	(void)ctx;
	text = malloc(lines + 100);
	assert_non_null(text);
	used = (size_t)sprintf(text, "<Root>");
	memset(text + used, '\n', lines);
	(void)strcpy(text + used + lines, "<Number>x</Number></Root>");
	(void)read_text(&c, text);
	assert_int_equal(c.nfindings, 1);
	assert_int_equal(c.findings[0].line, lines + 1);
	conf_clear(&c);
	free(text);
}

static void
text_is_bounded(void **ctx)
{
	size_t n;
	struct conf c;
	char *text;

	(void)ctx;
	text = malloc(XML_TEXT_MAX + 200);
	assert_non_null(text);
	for (int over = 0; over < 2; over++) {
		n = (size_t)sprintf(text, "<Root><Item name='a'>");
		memset(text + n, 'x', XML_TEXT_MAX + (size_t)over);
		(void)strcpy(text + n + XML_TEXT_MAX + over,
		    "</Item></Root>");
		assert_true(read_text(&c, text).sound);
		assert_int_equal(c.errors, over);
		assert_int_equal(seen.good, 1 - over);
		conf_clear(&c);
	}
	n = (size_t)sprintf(text, "<Root><Item name='");
	memset(text + n, 'x', XML_TEXT_MAX + 1);
	(void)strcpy(text + n + XML_TEXT_MAX + 1, "'>a</Item></Root>");
	(void)read_text(&c, text);
	assert_non_null(said(&c, "too long"));
	conf_clear(&c);
	free(text);
}

static void
depth_is_bounded_even_in_what_is_skipped(void **ctx)
{
	struct conf c;
	char *text;
	size_t n;

	(void)ctx;
	text = malloc(10000);
	assert_non_null(text);
	n = (size_t)sprintf(text, "<Root><Ignored>");
	for (int i = 0; i < 1000; i++)
		n += (size_t)sprintf(text + n, "<a>");
	assert_false(read_text(&c, text).sound);
	assert_int_equal(c.errors, 1);
	assert_non_null(said(&c, "nested too deeply"));
	conf_clear(&c);
	free(text);
}

static void
a_value_in_a_finding_is_cut_between_characters(void **ctx)
{
	const struct conf_finding *f;
	struct conf c;
	char text[2000];
	size_t n;

	(void)ctx;
	n = (size_t)sprintf(text, "<Root><Number>x");
	for (int i = 0; i < 300; i++)
		n += (size_t)sprintf(text + n, "\303\244");
	(void)strcpy(text + n, "</Number></Root>");
	(void)read_text(&c, text);
	f = said(&c, "not a number");
	assert_non_null(f);
	/* x, 99 whole characters, and the dots: 200 would split one */
	assert_int_equal(strlen(f->value), 1 + 2 * 99 + 3);
	conf_clear(&c);
}

static void
other_encodings_and_marks_are_read(void **ctx)
{
	static const char bom[] = "\357\273\277<Root><Item name='a'>\303\244"
	    "</Item></Root>";
	static const char latin[] = "<?xml version='1.0' encoding='ISO-8859-1'"
	    "?><Root><Item name='a'>\344</Item></Root>";
	static const char utf16[] = "\377\376<\0R\0o\0o\0t\0>\0<\0I\0t\0e\0m\0"
	    " \0n\0a\0m\0e\0=\0'\0a\0'\0>\0\344\0<\0/\0I\0t\0e\0m\0>\0<\0/\0R"
	    "\0o\0o\0t\0>\0";
	struct conf c;

	(void)ctx;
	assert_true(read_text(&c, bom).sound);
	assert_string_equal(seen.text, "\303\244");
	conf_clear(&c);
	assert_true(read_text(&c, latin).sound);
	assert_string_equal(seen.text, "\303\244");
	conf_clear(&c);
	assert_true(read_bytes(&c, utf16, sizeof(utf16) - 1).sound);
	assert_string_equal(seen.text, "\303\244");
	conf_clear(&c);
}

static void
a_file_that_cannot_be_opened_is_a_finding(void **ctx)
{
	struct conf c;
	struct xml_file file = { &c, CONF_KASP, "/nonexistent/kasp.xml" };
	struct xml_result result;
	struct ksm_fail fail;

	(void)ctx;
	conf_init(&c);
	assert_int_equal(xml_read(&grammar, &file, &seen, &result, &fail),
	    KSM_OK);
	assert_false(result.opened);
	assert_false(result.sound);
	assert_non_null(said(&c, "cannot be opened: No such file"));
	file.path = "/tmp";
	assert_int_equal(xml_read(&grammar, &file, &seen, &result, &fail),
	    KSM_OK);
	assert_false(result.opened);
	assert_int_equal(c.errors, 2);
	conf_clear(&c);
}

static void
ordinary_months_draw_no_warning(void **ctx)
{
	static const char *const fine[] = {
		"<Root><Life>P3M</Life></Root>",
		"<Root><Life>P12M</Life></Root>",
		"<Root><Life>P1Y6M</Life></Root>",
		"<Root><Life>PT4H</Life></Root>",
		"<Root><Life>PT0S</Life></Root>",
		"<Root><Life>PT60M</Life></Root>",
		"<Root><Quick>PT5M</Quick></Root>",
		"<Root><Quick>P14D</Quick></Root>",
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(fine); i++) {
		struct conf c;

		(void)read_text(&c, fine[i]);
		if (c.warnings != 0)
			fail_msg("%s", fine[i]);
		conf_clear(&c);
	}
}

static void
an_attribute_is_what_was_meant(void **ctx)
{
	static const struct {
		const char *text, *value;
	} cases[] = {
		{ "<Root><Item name='a&amp;b'>t</Item></Root>", "a&b" },
		{ "<Root><Item name='&amp;&amp;'>t</Item></Root>", "&&" },
		{ "<Root><Item name='a&#38;'>t</Item></Root>", "a&" },
		{ "<Root><Item name='&amp;#38;'>t</Item></Root>", "&#38;" },
		{ "<Root><Item name='&amp;amp;'>t</Item></Root>", "&amp;" },
		{ "<Root><Item name='&lt;&gt;&quot;&apos;'>t</Item></Root>",
		    "<>\"'" },
		{ "<Root><Item name='#38;'>t</Item></Root>", "#38;" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct conf c;

		(void)read_text(&c, cases[i].text);
		assert_int_equal(c.errors, 0);
		assert_string_equal(seen.attr, cases[i].value);
		conf_clear(&c);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults_are_found_with_their_lines),
		cmocka_unit_test(reading_goes_on_after_a_fault),
		cmocka_unit_test(an_unknown_element_hides_what_is_in_it),
		cmocka_unit_test(
		    blanks_line_ends_and_comments_are_not_part_of_a_value),
		cmocka_unit_test(a_secret_keeps_its_blanks_but_not_its_layout),
		cmocka_unit_test(no_finding_shows_a_secret),
		cmocka_unit_test(lines_are_exact_beyond_65535),
		cmocka_unit_test(text_is_bounded),
		cmocka_unit_test(depth_is_bounded_even_in_what_is_skipped),
		cmocka_unit_test(
		    a_value_in_a_finding_is_cut_between_characters),
		cmocka_unit_test(other_encodings_and_marks_are_read),
		cmocka_unit_test(a_file_that_cannot_be_opened_is_a_finding),
		cmocka_unit_test(an_attribute_is_what_was_meant),
		cmocka_unit_test(ordinary_months_draw_no_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
