#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logsink.h"

static char text[LOGSINK_FIELDS][LOGSINK_BYTES];
static struct iovec fields[LOGSINK_FIELDS];

static void
field_is(size_t i, const char *want)
{
	assert_int_equal(fields[i].iov_len, strlen(want));
	assert_memory_equal(fields[i].iov_base, want, strlen(want));
}

static void
a_line_is_a_message_with_a_priority(void **ctx)
{
	static const struct log_about nothing = { .policy = NULL };

	(void)ctx;
	assert_int_equal(
	    logsink_fields(LOGL_WARNING, "it is so", &nothing, text, fields),
	    3);
	field_is(0, "MESSAGE=it is so");
	field_is(1, "PRIORITY=4");
	field_is(2, "SYSLOG_IDENTIFIER=ksmpoold");
}

static void
what_it_is_about_goes_beside_it(void **ctx)
{
	static const struct log_about all = { .policy = "gold", .role = "KSK",
		.repository = "hsm-a", .key = "3f2a", .error = "token full",
		.id = LOG_ID_STARTED };

	(void)ctx;
	assert_int_equal(
	    logsink_fields(LOGL_ERROR, "x", &all, text, fields), 9);
	field_is(3, "KSMPOOL_POLICY=gold");
	field_is(4, "KSMPOOL_ROLE=KSK");
	field_is(5, "KSMPOOL_REPOSITORY=hsm-a");
	field_is(6, "KSMPOOL_KEY=3f2a");
	field_is(7, "KSMPOOL_ERROR=token full");
	field_is(8, "MESSAGE_ID=" LOG_ID_STARTED);
}

static void
what_is_not_said_or_empty_is_left_out(void **ctx)
{
	static const struct log_about some = { .policy = "",
		.repository = "hsm-a" };

	(void)ctx;
	assert_int_equal(
	    logsink_fields(LOGL_INFO, "x", &some, text, fields), 4);
	field_is(3, "KSMPOOL_REPOSITORY=hsm-a");
}

static void
the_code_that_a_line_names_is_its_error(void **ctx)
{
	static const struct log_about some = { .repository = "hsm-a" };

	(void)ctx;
	assert_int_equal(logsink_fields(LOGL_WARNING,
	    "repository hsm-a: generate: CKR_DEVICE_MEMORY: no", &some, text,
	    fields), 5);
	field_is(4, "KSMPOOL_ERROR=CKR_DEVICE_MEMORY");
}

static void
what_is_too_long_is_cut(void **ctx)
{
	static char fat[2 * LOGSINK_BYTES];
	const struct log_about some = { .error = fat };

	(void)ctx;
	memset(fat, 'a', sizeof(fat) - 1);
	assert_int_equal(
	    logsink_fields(LOGL_INFO, "x", &some, text, fields), 4);
	assert_int_equal(fields[3].iov_len, LOGSINK_BYTES - 1);
}

static void
the_journal_is_known_by_device_and_inode(void **ctx)
{
	char name[64];
	struct stat sb;
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)ctx;
	assert_int_equal(fstat(fd, &sb), 0);
	(void)snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)sb.st_dev,
	    (uintmax_t)sb.st_ino);
	assert_true(logsink_is_stream(name, fd));
	(void)snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)sb.st_dev,
	    (uintmax_t)sb.st_ino + 1);
	assert_false(logsink_is_stream(name, fd));
	assert_false(logsink_is_stream("", fd));
	assert_false(logsink_is_stream(NULL, fd));
	(void)close(fd);
	assert_false(logsink_is_stream(name, fd));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_is_a_message_with_a_priority),
		cmocka_unit_test(what_it_is_about_goes_beside_it),
		cmocka_unit_test(what_is_not_said_or_empty_is_left_out),
		cmocka_unit_test(the_code_that_a_line_names_is_its_error),
		cmocka_unit_test(what_is_too_long_is_cut),
		cmocka_unit_test(the_journal_is_known_by_device_and_inode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
