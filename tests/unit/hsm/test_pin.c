#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pin.h"

static int
source_of(const char *bytes, size_t len)
{
	int fd = memfd_create("pin", MFD_CLOEXEC);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	return fd;
}

static void
one_newline_is_not_part_of_it(void **ctx)
{
	static const struct {
		const char *bytes, *pin;
	} cases[] = {
		{ "1234", "1234" },
		{ "1234\n", "1234" },
		{ "1234\r\n", "1234" },
		{ "1234\r", "1234\r" },
		{ " 12 34 ", " 12 34 " },
		{ "\xc3\xa9", "\xc3\xa9" },
	};
	struct ksm_fail fail;
	struct pin pin;
	int fd;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		fd = source_of(cases[i].bytes, strlen(cases[i].bytes));
		assert_int_equal(pin_read(fd, &pin, &fail), KSM_OK);
		assert_int_equal(pin.len, strlen(cases[i].pin));
		assert_memory_equal(pin.bytes, cases[i].pin, pin.len + 1);
		/* and again, by the next worker on the same descriptor */
		assert_int_equal(pin_read(fd, &pin, &fail), KSM_OK);
		assert_int_equal(pin.len, strlen(cases[i].pin));
		(void)close(fd);
	}
}

static void
what_is_no_pin_is_refused_and_not_repeated(void **ctx)
{
	static char long_pin[256];
	static const struct {
		const char *bytes;
		size_t len;
		const char *says;
	} cases[] = {
		{ "", 0, "no PIN was given" },
		{ "\n", 1, "empty" },
		{ "\r\n", 2, "empty" },
		{ "1234\n\n", 6, "more than one line" },
		{ "1234\0005678", 9, "more than one line" },
		{ long_pin, 256, "longer than 255" },
	};
	struct ksm_fail fail;
	struct pin pin, wiped;
	int fd;

	(void)ctx;
	memset(long_pin, '1', sizeof(long_pin));
	memset(&wiped, 0, sizeof(wiped));
	for (size_t i = 0; i < nitems(cases); i++) {
		fd = source_of(cases[i].bytes, cases[i].len);
		assert_int_equal(pin_read(fd, &pin, &fail), KSM_EREFUSED);
		assert_non_null(strstr(fail.text, cases[i].says));
		assert_null(strstr(fail.text, "1234"));
		assert_memory_equal(&pin, &wiped, sizeof(pin));
		(void)close(fd);
	}
	assert_int_equal(pin_read(-1, &pin, &fail), KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "no PIN was given"));
}

static void
a_pipe_will_do(void **ctx)
{
	struct ksm_fail fail;
	struct pin pin;
	int fds[2];

	(void)ctx;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "12", 2), 2);
	assert_int_equal(write(fds[1], "34\n", 3), 3);
	(void)close(fds[1]);
	assert_int_equal(pin_read(fds[0], &pin, &fail), KSM_OK);
	assert_string_equal((const char *)pin.bytes, "1234");
	(void)close(fds[0]);
}

static void
a_print_knows_its_pin_and_gives_it_away_to_nobody(void **ctx)
{
	struct pin pin = { .bytes = "1234", .len = 4 };
	struct pin other = { .bytes = "1235", .len = 4 };
	char print[PIN_PRINT], again[PIN_PRINT];
	struct ksm_fail fail;
	int same = 0;

	(void)ctx;
	assert_int_equal(pin_print(&pin, NULL, print, &fail), KSM_OK);
	assert_int_equal(strlen(print), 8 + 1 + 2);
	assert_null(strstr(print, "1234"));
	assert_true(pin_print_matches(&pin, print));
	/* a salt of its own for each print */
	assert_int_equal(pin_print(&pin, NULL, again, &fail), KSM_OK);
	assert_string_not_equal(print, again);
	/* 12 bits: one of 4096 may be taken for another, not three in a row */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pin_print(&pin, NULL, print, &fail), KSM_OK);
		same += pin_print_matches(&other, print);
	}
	assert_true(same < 3);
}

static void
a_print_from_elsewhere_matches_nothing(void **ctx)
{
	static const char *const prints[] = { "", ":", "x:y", "aaaaaaaa",
		"aaaaaaaa:", "aaaaaaaaa:bb", "$6$aaaaa:bb" };
	struct pin pin = { .bytes = "1234", .len = 4 };

	(void)ctx;
	for (size_t i = 0; i < nitems(prints); i++)
		assert_false(pin_print_matches(&pin, prints[i]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_newline_is_not_part_of_it),
		cmocka_unit_test(what_is_no_pin_is_refused_and_not_repeated),
		cmocka_unit_test(a_pipe_will_do),
		cmocka_unit_test(
		    a_print_knows_its_pin_and_gives_it_away_to_nobody),
		cmocka_unit_test(a_print_from_elsewhere_matches_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
