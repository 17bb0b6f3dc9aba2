#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "ksmpool/key.h"

static void
an_id_survives_its_text(void **ctx)
{
	struct key_id id, back;
	char hex[KEY_ID_HEX];

	(void)ctx;
	for (size_t i = 0; i < sizeof(id.bytes); i++)
		id.bytes[i] = (uint8_t)(i * 17 + 3);
	key_id_format(&id, hex);
	assert_int_equal(strlen(hex), 32);
	assert_string_equal(hex, "031425364758697a8b9cadbecfe0f102");
	assert_true(key_id_parse(hex, &back));
	assert_int_equal(key_id_cmp(&id, &back), 0);
}

static void
an_id_is_read_in_either_case_and_written_in_lower(void **ctx)
{
	struct key_id id;
	char hex[KEY_ID_HEX];

	(void)ctx;
	assert_true(key_id_parse("ABCDEF0123456789abcdefABCDEFabcd", &id));
	key_id_format(&id, hex);
	assert_string_equal(hex, "abcdef0123456789abcdefabcdefabcd");
}

static void
what_is_not_32_hex_digits_is_no_id(void **ctx)
{
	static const char *const wrong[] = {
		"",
		"0",
		"00112233445566778899aabbccddee",     /* 30 */
		"00112233445566778899aabbccddeef",    /* 31 */
		"00112233445566778899aabbccddeeff0",  /* 33 */
		"00112233445566778899aabbccddeeff00", /* 34 */
		"g0112233445566778899aabbccddeeff",
		"0g112233445566778899aabbccddeeff",
		"00112233445566778899aabbccddeef ",
		" 0112233445566778899aabbccddeeff",
		"0x112233445566778899aabbccddeeff",
		"-0112233445566778899aabbccddeeff",
		"00112233445566778899aabbccddee\xc3\xa9",
	};
	struct key_id id, before;

	(void)ctx;
	memset(&id, 0x5a, sizeof(id));
	before = id;
	for (size_t i = 0; i < nitems(wrong); i++) {
		if (key_id_parse(wrong[i], &id))
			fail_msg("taken for an id: \"%s\"", wrong[i]);
		assert_int_equal(key_id_cmp(&id, &before), 0);
	}
}

static void
ids_are_ordered_as_bytes_without_sign(void **ctx)
{
	struct key_id low, high;

	(void)ctx;
	assert_true(key_id_parse("7fffffffffffffffffffffffffffffff", &low));
	assert_true(key_id_parse("80000000000000000000000000000000", &high));
	assert_true(key_id_cmp(&low, &high) < 0);
	assert_true(key_id_cmp(&high, &low) > 0);
}

static void
every_octet_survives_hex(void **ctx)
{
	uint8_t all[256], back[256];
	char hex[2 * sizeof(all) + 1];

	(void)ctx;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	hex_format(all, sizeof(all), hex);
	assert_int_equal(strlen(hex), 512);
	assert_true(hex_parse(hex, back, sizeof(back)));
	assert_memory_equal(all, back, sizeof(all));

	hex_format(all, 0, hex);
	assert_string_equal(hex, "");
	assert_true(hex_parse("", back, 0));
	assert_false(hex_parse("00", back, 0));
}

static void
a_role_has_one_spelling(void **ctx)
{
	enum key_role role;

	(void)ctx;
	for (int i = 0; i < ROLE__COUNT; i++) {
		assert_true(key_role_find(key_role_text((enum key_role)i),
		    &role));
		assert_int_equal(role, i);
	}
	assert_string_equal(key_role_text(ROLE_KSK), "KSK");
	assert_string_equal(key_role_text(ROLE_ZSK), "ZSK");
	assert_string_equal(key_role_text(ROLE_CSK), "CSK");
	assert_string_equal(key_role_text(ROLE__COUNT), "?");
	assert_false(key_role_find("ksk", &role));
	assert_false(key_role_find("", &role));
	assert_false(key_role_find("KSK ", &role));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_survives_its_text),
		cmocka_unit_test(
		    an_id_is_read_in_either_case_and_written_in_lower),
		cmocka_unit_test(what_is_not_32_hex_digits_is_no_id),
		cmocka_unit_test(ids_are_ordered_as_bytes_without_sign),
		cmocka_unit_test(every_octet_survives_hex),
		cmocka_unit_test(a_role_has_one_spelling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
