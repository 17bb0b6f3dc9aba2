#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "ckr.h"

static void
codes_have_their_names(void **ctx)
{
	char name[CKR_NAME];

	(void)ctx;
	ckr_name(CKR_PIN_LOCKED, name);
	assert_string_equal(name, "CKR_PIN_LOCKED");
	ckr_name(0x80000001UL, name);
	assert_string_equal(name, "CKR_0x80000001");
	ckr_name(~0UL, name);
	assert_string_equal(name, "CKR_0xffffffffffffffff");
}

static void
codes_are_grouped_by_what_to_do(void **ctx)
{
	static const struct {
		CK_RV rv;
		enum ckr_group group;
	} cases[] = {
		{ CKR_MECHANISM_INVALID, CKRG_POLICY },
		{ CKR_KEY_SIZE_RANGE, CKRG_POLICY },
		{ CKR_TEMPLATE_INCONSISTENT, CKRG_POLICY },
		{ CKR_CURVE_NOT_SUPPORTED, CKRG_POLICY },
		{ CKR_ARGUMENTS_BAD, CKRG_POLICY },
		{ CKR_PIN_INCORRECT, CKRG_PIN },
		{ CKR_PIN_LOCKED, CKRG_PIN },
		{ CKR_USER_PIN_NOT_INITIALIZED, CKRG_PIN },
		{ CKR_USER_NOT_LOGGED_IN, CKRG_LOGIN },
		{ CKR_SESSION_HANDLE_INVALID, CKRG_SESSION },
		{ CKR_SESSION_COUNT, CKRG_SESSION },
		{ CKR_DEVICE_REMOVED, CKRG_TOKEN },
		{ CKR_SLOT_ID_INVALID, CKRG_TOKEN },
		{ CKR_DEVICE_MEMORY, CKRG_FULL },
		{ CKR_GENERAL_ERROR, CKRG_NOTHING },
		{ CKR_FUNCTION_FAILED, CKRG_NOTHING },
		{ CKR_VENDOR_DEFINED | 7, CKRG_NOTHING },
		{ 0x4242, CKRG_NOTHING },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++)
		assert_int_equal(ckr_group(cases[i].rv), cases[i].group);
}

static void
what_says_nothing_proves_nothing(void **ctx)
{
	static const CK_RV never[] = { CKR_OK, CKR_GENERAL_ERROR,
		CKR_FUNCTION_FAILED, CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED,
		CKR_HOST_MEMORY, CKR_SESSION_CLOSED, CKR_SESSION_HANDLE_INVALID,
		CKR_TOKEN_NOT_PRESENT, CKR_FUNCTION_CANCELED,
		CKR_BUFFER_TOO_SMALL, CKR_VENDOR_DEFINED, 0x4242, ~0UL };

	(void)ctx;
	for (size_t i = 0; i < nitems(never); i++)
		assert_false(ckr_clear_no(never[i]));
	/* and nobody goes on after such a code */
	for (CK_RV rv = 0; rv < 0x300; rv++)
		if (ckr_group(rv) == CKRG_NOTHING)
			assert_true(ckr_fatal(rv) && !ckr_clear_no(rv));
}

static void
only_the_pin_group_parks(void **ctx)
{
	(void)ctx;
	assert_true(ckr_pin_refused(CKR_PIN_EXPIRED));
	assert_true(ckr_pin_refused(CKR_PIN_LEN_RANGE));
	assert_false(ckr_pin_refused(CKR_GENERAL_ERROR));
	assert_false(ckr_pin_refused(CKR_USER_TYPE_INVALID));
	assert_false(ckr_fatal(CKR_MECHANISM_INVALID));
	assert_true(ckr_lost(CKR_USER_NOT_LOGGED_IN));
	assert_false(ckr_lost(CKR_GENERAL_ERROR));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes_have_their_names),
		cmocka_unit_test(codes_are_grouped_by_what_to_do),
		cmocka_unit_test(what_says_nothing_proves_nothing),
		cmocka_unit_test(only_the_pin_group_parks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
