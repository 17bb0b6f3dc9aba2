#include <sys/stat.h>

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "reader.h"

#define PATIENCE (5 * 1000 * 1000) /* us */

/* A folder with a ksmpool-config that is the given script. */
struct bench {
	char dir[64], helper[96];
	sd_event *event;
	bool done;
	enum ksm_err err;
	struct ksm_fail fail;
};

static int
setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	(void)strcpy(b->dir, "/tmp/ksmpool-reader-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	(void)snprintf(b->helper, sizeof(b->helper), "%s/ksmpool-config",
	    b->dir);
	assert_int_equal(setenv("KSMPOOL_LIBEXEC", b->dir, 1), 0);
	assert_true(sd_event_new(&b->event) >= 0);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct bench *b = *state;

	(void)signal(SIGCHLD, SIG_DFL);
	(void)sd_event_unref(b->event);
	(void)unlink(b->helper);
	(void)rmdir(b->dir);
	free(b);
	return 0;
}

static void
on_done(void *ctx, enum ksm_err err, struct conf *conf,
    const struct ksm_fail *fail)
{
	struct bench *b = ctx;

	(void)conf;
	b->done = true;
	b->err = err;
	b->fail = *fail;
}

/* Run it to its end; the loop must not turn in vain meanwhile. */
static void
helper_run(struct bench *b, const char *script)
{
	struct reader *r = NULL;
	int fd = open(b->helper, O_WRONLY | O_CREAT | O_EXCL, 0700);
	int turns = 0;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, script, strlen(script)),
	    (ssize_t)strlen(script));
	(void)close(fd);
	assert_int_equal(
	    reader_start(b->event, "/nowhere", false, on_done, b, &r, &b->fail),
	    KSM_OK);
	while (!b->done && turns++ < 100)
		assert_true(sd_event_run(b->event, PATIENCE) > 0);
	if (!b->done)
		reader_free(r);
}

static void
a_helper_that_says_nothing_is_an_error(void **state)
{
	struct bench *b = *state;

	helper_run(b, "#!/bin/sh\nexit 0\n");
	assert_true(b->done);
	assert_int_equal(b->err, KSM_EPROTO);
}

static void
a_helper_that_fails_is_an_error_with_its_status(void **state)
{
	struct bench *b = *state;

	helper_run(b, "#!/bin/sh\nexit 7\n");
	assert_true(b->done);
	assert_int_equal(b->err, KSM_ESYS);
	assert_non_null(strstr(b->fail.text, "exit 7"));
}

static void
a_helper_that_somebody_else_reaped_is_gone_as_well(void **state)
{
	struct bench *b = *state;

	(void)signal(SIGCHLD, SIG_IGN); /* the kernel reaps it */
	helper_run(b, "#!/bin/sh\nexit 0\n");
	assert_true(b->done);
	assert_int_equal(b->err, KSM_EPROTO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_helper_that_says_nothing_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_helper_that_fails_is_an_error_with_its_status, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(
		    a_helper_that_somebody_else_reaped_is_gone_as_well, setup,
		    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
