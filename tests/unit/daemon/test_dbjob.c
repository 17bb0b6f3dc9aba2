#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test_store.h"

#include <sys/wait.h>

#include <glob.h>

#include "dbjob.h"

struct world {
	struct bed *b;
	sd_event *event;
	char program[128]; /* what stands for ksmpoold */
	bool done;
	enum ksm_err err;
	size_t n;
	char first[600], last[600], words[600];
};

static int
setup(void **ctx)
{
	struct world *w = calloc(1, sizeof(*w));
	void *bed = NULL;

	assert_non_null(w);
	(void)bed_setup(&bed);
	w->b = bed;
	(void)snprintf(w->program, sizeof(w->program), "%s/ksmpoold",
	    w->b->dir);
	(void)setenv("KSMPOOL_LIBEXEC", w->b->dir, 1);
	*ctx = w;
	return sd_event_new(&w->event) < 0 ? -1 : 0;
}

static int
teardown(void **ctx)
{
	struct world *w = *ctx;
	void *bed = w->b;

	(void)sd_event_unref(w->event);
	(void)bed_teardown(&bed);
	free(w);
	return 0;
}

/* A script that is called as ksmpoold would be. */
static void
program(struct world *w, const char *script)
{
	FILE *f = fopen(w->program, "w");

	assert_non_null(f);
	(void)fprintf(f, "#!/bin/sh\n%s\n", script);
	(void)fclose(f);
	assert_int_equal(chmod(w->program, 0700), 0);
}

static void
done(void *arg, enum ksm_err err, char *const *findings, size_t n,
    const struct ksm_fail *fail)
{
	struct world *w = arg;

	assert_false(w->done);
	w->done = true;
	w->err = err;
	w->n = n;
	w->first[0] = w->last[0] = '\0';
	if (n > 0) {
		(void)snprintf(w->first, sizeof(w->first), "%s", findings[0]);
		(void)snprintf(w->last, sizeof(w->last), "%s",
		    findings[n - 1]);
	}
	(void)snprintf(w->words, sizeof(w->words), "%s", fail->text);
}

static void
run(struct world *w, const char *to)
{
	struct dbjob *job = NULL;

	w->done = false;
	ok(w->b, dbjob_start(w->event, w->b->path, to, done, w, &job,
		     &w->b->fail));
	assert_non_null(job);
	assert_false(w->done);
	while (!w->done)
		assert_true(sd_event_run(w->event, 10000000) > 0);
}

static void
a_sound_database_has_no_findings(void **ctx)
{
	struct world *w = *ctx;

	program(w, "[ $# = 2 ] && [ \"$1\" = --check-database ] && echo ok");
	run(w, NULL);
	assert_int_equal(w->err, KSM_OK);
	assert_int_equal(w->n, 0);
}

static void
each_fault_is_a_finding_and_the_sum_is_none(void **ctx)
{
	struct world *w = *ctx;

	program(w, "echo one; echo two; echo '2 faults'; exit 1");
	run(w, NULL);
	assert_int_equal(w->err, KSM_OK);
	assert_int_equal(w->n, 2);
	assert_string_equal(w->first, "one");
	assert_string_equal(w->last, "two");
}

static void
findings_are_bounded(void **ctx)
{
	struct world *w = *ctx;

	program(w, "seq 100000; echo '100000 faults'; exit 1");
	run(w, NULL);
	assert_int_equal(w->err, KSM_OK);
	assert_int_equal(w->n, DBJOB_FINDINGS + 1);
	assert_string_equal(w->last, "and 99800 more");
	program(w, "head -c 1000000 /dev/zero | tr '\\0' x; exit 1");
	run(w, NULL);
	assert_int_equal(w->err, KSM_OK);
	assert_int_equal(w->n, DBJOB_FINDINGS + 1);
}

static void
what_it_could_not_do_has_its_words(void **ctx)
{
	struct world *w = *ctx;

	program(w, "echo 'ksmpoold: error: /x: No such file' >&2; exit 2");
	run(w, NULL);
	assert_int_equal(w->err, KSM_ESTORE);
	assert_string_equal(w->words, "/x: No such file");
	program(w, "echo '<3>/y: full' >&2; exit 2");
	run(w, "/y");
	assert_int_equal(w->err, KSM_ESTORE);
	assert_string_equal(w->words, "/y: full");
	program(w, "exit 2");
	run(w, NULL);
	assert_int_equal(w->err, KSM_ESYS);
	program(w, "kill -9 $$");
	run(w, NULL);
	assert_int_equal(w->err, KSM_ESYS);
	assert_non_null(strstr(w->words, "signal 9"));
	program(w, "exit 1");
	run(w, NULL);
	assert_int_equal(w->err, KSM_ESYS);
}

static void
a_copy_is_told_where(void **ctx)
{
	struct world *w = *ctx;
	char to[160];

	bed_file(w->b, ".copy", to);
	program(w, "[ $# = 3 ] && [ $1 = --copy-database ] && : >\"$3\"");
	run(w, to);
	assert_int_equal(w->err, KSM_OK);
	assert_int_equal(access(to, F_OK), 0);
	/* 1 means faults found, and a copy finds none */
	program(w, "exit 1");
	run(w, to);
	assert_int_equal(w->err, KSM_ESYS);
}

/* Is a child there, running or to be reaped? */
static bool
has_child(void)
{
	siginfo_t si;

	return waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void
run_until_reaped(struct world *w)
{
	for (int i = 0; has_child() && i < 100; i++)
		assert_true(sd_event_run(w->event, 100000) >= 0);
	assert_false(has_child());
}

/* A copy that is at its work: it has written `part` and its journal. */
static struct dbjob *
copy_begun(struct world *w, const char *to, char part[200])
{
	struct dbjob *job = NULL;
	glob_t found;
	int rc = GLOB_NOMATCH;

	program(w, ": >\"$3.part-$$\"; : >\"$3.part-$$-journal\"; "
		   "exec sleep 100");
	ok(w->b, dbjob_start(w->event, w->b->path, to, done, w, &job,
		     &w->b->fail));
	(void)snprintf(part, 200, "%s.part-*-journal", to);
	for (int i = 0; rc != 0 && i < 1000; i++) {
		(void)usleep(5000);
		rc = glob(part, 0, NULL, &found);
	}
	assert_int_equal(rc, 0);
	globfree(&found);
	(void)snprintf(part, 200, "%s.part-*", to);
	return job;
}

static bool
is_there(const char *pattern)
{
	glob_t found;
	int rc = glob(pattern, 0, NULL, &found);

	globfree(&found);
	return rc == 0;
}

static void
who_forgets_is_not_called_and_nothing_stays(void **ctx)
{
	struct world *w = *ctx;
	struct dbjob *job = NULL;

	program(w, "exec sleep 100");
	ok(w->b, dbjob_start(w->event, w->b->path, NULL, done, w, &job,
		     &w->b->fail));
	(void)sd_event_run(w->event, 50000);
	dbjob_forget(job);
	dbjob_forget(NULL);
	run_until_reaped(w);
	assert_int_equal(sd_event_run(w->event, 50000), 0);
	assert_false(w->done);
}

static void
forgetting_does_not_wait_for_the_process(void **ctx)
{
	struct world *w = *ctx;
	struct dbjob *job = NULL;

	program(w, "exec sleep 100");
	ok(w->b, dbjob_start(w->event, w->b->path, NULL, done, w, &job,
		     &w->b->fail));
	dbjob_forget(job);
	assert_true(has_child()); /* it is the loop that reaps it */
	run_until_reaped(w);
}

static void
a_copy_that_is_forgotten_leaves_no_pieces(void **ctx)
{
	struct world *w = *ctx;
	char to[160], part[200];

	bed_file(w->b, ".copy", to);
	dbjob_forget(copy_begun(w, to, part));
	run_until_reaped(w);
	assert_false(is_there(part));
	assert_false(w->done);
}

static void
a_loop_that_ends_first_leaves_nothing_either(void **ctx)
{
	struct world *w = *ctx;
	char to[160], part[200];

	bed_file(w->b, ".copy", to);
	dbjob_forget(copy_begun(w, to, part));
	w->event = sd_event_unref(w->event);
	assert_false(has_child());
	assert_false(is_there(part));
	assert_false(w->done);
}

static void
another_job_begins_while_a_forgotten_one_ends(void **ctx)
{
	struct world *w = *ctx;
	char to[160], part[200];

	bed_file(w->b, ".copy", to);
	dbjob_forget(copy_begun(w, to, part));
	program(w, "echo ok");
	run(w, NULL);
	assert_int_equal(w->err, KSM_OK);
	run_until_reaped(w);
	assert_false(is_there(part));
}

int
main(void)
{
#define told(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		told(a_sound_database_has_no_findings),
		told(each_fault_is_a_finding_and_the_sum_is_none),
		told(findings_are_bounded),
		told(what_it_could_not_do_has_its_words),
		told(a_copy_is_told_where),
		told(who_forgets_is_not_called_and_nothing_stays),
		told(forgetting_does_not_wait_for_the_process),
		told(a_copy_that_is_forgotten_leaves_no_pieces),
		told(a_loop_that_ends_first_leaves_nothing_either),
		told(another_job_begins_while_a_forgotten_one_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
