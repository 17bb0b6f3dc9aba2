#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ksmpool/attribute.h"
#include "ksmpool/msg_hsm.h"

static void
what_may_be_said_and_what_not(void **ctx)
{
	static const struct {
		const char *name, *value; /* NULL: removed */
		bool public_half, fine;
		const char *says;
	} cases[] = {
		{ "CKA_DECRYPT", "false", false, true, NULL },
		{ "CKA_DECRYPT", "true", false, true, NULL },
		{ "CKA_DECRYPT", "no", false, false, "true or false" },
		{ "CKA_DECRYPT", "false", true, false, "private half" },
		{ "CKA_WRAP", "false", false, false, "public half" },
		{ "CKA_WRAP", "false", true, true, NULL },
		{ "CKA_DECRYPT", NULL, false, false, "without being added" },
		{ "CKA_SENSITIVE", NULL, false, true, NULL },
		{ "CKA_SENSITIVE", "false", false, false, "leave it out" },
		{ "CKA_SENSITIVE", "true", false, false, "leave it out" },
		{ "CKA_EXTRACTABLE", "true", false, false, "leave it out" },
		{ "CKA_SIGN", NULL, false, true, NULL },
		{ "CKA_ID", "0x01", false, false, "may be changed" },
		{ "CKA_ID", NULL, false, false, "may be changed" },
		{ "CKA_LABEL", NULL, true, false, "may be changed" },
		{ "CKA_TOKEN", "false", false, false, "may be changed" },
		{ "CKA_MODULUS_BITS", "512", true, false, "may be changed" },
		{ "cka_decrypt", "false", false, false, "may be changed" },
		{ "CKA_SUBJECT", "0x3000", false, true, NULL },
		{ "CKA_SUBJECT", "0x300", false, false, "hex pairs" },
		{ "CKA_SUBJECT", "3000", false, false, "hex pairs" },
		{ "CKA_SUBJECT", "0x", false, true, NULL },
		{ "CKA_0x80000001", "true", false, true, NULL },
		{ "CKA_0x80000001", "17", true, true, NULL },
		{ "CKA_0x80000001", "0xff", true, true, NULL },
		{ "CKA_0x80000001", "-1", true, false, "whole number" },
		{ "CKA_0x80000001", "99999999999999999999", true, false,
		    "whole number" },
		/* not a vendor's: the standard's numbers go by name */
		{ "CKA_0x00000103", "false", false, false, "may be changed" },
		{ "CKA_0x180000001", "false", false, false, "may be changed" },
		{ "CKA_0x", "false", false, false, "may be changed" },
	};
	struct ksm_fail fail;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		enum ksm_err err = attribute_check(cases[i].name,
		    cases[i].public_half, cases[i].value, NULL, &fail);

		if ((err == KSM_OK) != cases[i].fine)
			fail_msg("%s %s", cases[i].name,
			    cases[i].value != NULL ? cases[i].value : "-");
		if (cases[i].says != NULL &&
		    strstr(fail.text, cases[i].says) == NULL)
			fail_msg("%s: \"%s\" does not say \"%s\"",
			    cases[i].name, fail.text, cases[i].says);
	}
}

static void
values_are_read_as_their_kind(void **ctx)
{
	struct attribute_value v;

	(void)ctx;
	assert_int_equal(attribute_check("CKA_0x80000001", false, "true", &v,
	    NULL), KSM_OK);
	assert_int_equal(v.kind, ATTRIBUTE_BOOL);
	assert_true(v.flag);
	assert_int_equal(attribute_check("CKA_0x80000001", false, "4711", &v,
	    NULL), KSM_OK);
	assert_int_equal(v.kind, ATTRIBUTE_NUMBER);
	assert_int_equal(v.number, 4711);
	assert_int_equal(attribute_check("CKA_0xFFFFFFFF", true, "0x00ff", &v,
	    NULL), KSM_OK);
	assert_int_equal(v.kind, ATTRIBUTE_BYTES);
	assert_int_equal(v.len, 2);
	assert_int_equal(v.bytes[1], 0xff);
	assert_int_equal(attribute_type("CKA_0xFFFFFFFF"), 0xffffffff);
	assert_int_equal(attribute_type("CKA_DECRYPT"), 0x105);
	assert_int_equal(attribute_type("CKA_ID"), 0);
}

/* What is accepted in the file must fit the wire to the worker. */
static void
the_longest_value_fits_a_message(void **ctx)
{
	char value[sizeof(((struct hsm_attribute *)NULL)->value) + 4] = "0x";
	struct ksm_fail fail;

	(void)ctx;
	for (size_t i = 0; i < ATTRIBUTE_BYTES_MAX; i++)
		(void)strcat(value, "ab");
	assert_int_equal(attribute_check("CKA_SUBJECT", false, value, NULL,
	    &fail), KSM_OK);
	assert_true(
	    strlen(value) < sizeof(((struct hsm_attribute *)NULL)->value));
	(void)strcat(value, "ab");
	assert_int_equal(attribute_check("CKA_SUBJECT", false, value, NULL,
	    &fail), KSM_EREFUSED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_may_be_said_and_what_not),
		cmocka_unit_test(values_are_read_as_their_kind),
		cmocka_unit_test(the_longest_value_fits_a_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
