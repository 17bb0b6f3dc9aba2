/*
 * ksmctl's end of the socket against a daemon that says what the test wrote
 * down for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

struct world {
	char dir[64], path[96];
	pid_t daemon;
	char *out, *err;
	size_t outlen, errlen;
};

static int
setup(void **ctx)
{
	struct world *w = calloc(1, sizeof(*w));

	(void)signal(SIGPIPE, SIG_IGN);
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/ksm-run-XXXXXX");
	if (mkdtemp(w->dir) == NULL)
		return -1;
	(void)snprintf(w->path, sizeof(w->path), "%s/s", w->dir);
	*ctx = w;
	return 0;
}

static void
settle(struct world *w)
{
	if (w->daemon > 0) {
		(void)kill(w->daemon, SIGKILL);
		(void)waitpid(w->daemon, NULL, 0);
	}
	w->daemon = 0;
	(void)unlink(w->path);
	free(w->out);
	free(w->err);
	w->out = w->err = NULL;
}

static int
teardown(void **ctx)
{
	struct world *w = *ctx;

	settle(w);
	(void)rmdir(w->dir);
	free(w);
	return 0;
}

/* One client: read its line, say `answer`, hang up (or not). */
static void
daemon_start(struct world *w, const char *answer, bool hang_up)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client;
	char line[4096];

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", w->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 4), 0);
	w->daemon = fork();
	if (w->daemon == 0) {
		client = accept(fd, NULL, NULL);
		if (recv(client, line, sizeof(line), 0) <= 0)
			_exit(1);
		(void)send(client, answer, strlen(answer), MSG_NOSIGNAL);
		if (!hang_up)
			(void)pause();
		_exit(0);
	}
	(void)close(fd);
}

/* Single quotes stand for double ones. */
static char *
quoted(const char *text)
{
	char *copy = strdup(text);

	for (char *s = copy; *s != '\0'; s++)
		if (*s == '\'')
			*s = '"';
	return copy;
}

static int
run(struct world *w, const char *words, const char *answer)
{
	struct run_streams to = { .out = NULL };
	struct ksm_fail fail = { .text = "" };
	struct ctl_call call;
	char text[256], *argv[16], *said = NULL;
	int argc = 1, status;

	settle(w);
	if (answer != NULL) {
		said = quoted(answer);
		daemon_start(w, said, true);
	}
	(void)snprintf(text, sizeof(text), "%s", words);
	argv[0] = (char *)(uintptr_t) "ksmctl";
	for (char *word = strtok(text, " "); word != NULL;
	     word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	assert_int_equal(call_parse(&call, argc, argv, &fail), KSM_OK);
	call.socket = w->path;
	to.out = open_memstream(&w->out, &w->outlen);
	to.err = open_memstream(&w->err, &w->errlen);
	status = run_call(&call, &to);
	(void)fclose(to.out);
	(void)fclose(to.err);
	call_clear(&call);
	free(said);
	return status;
}

static void
expect_out(struct world *w, const char *want)
{
	char *text = quoted(want);

	assert_string_equal(w->out, text);
	free(text);
}

#define KEY(n)                                                               \
	"{'v':1,'type':'item','item':{'keys':{'id':'" n "','state':'ready'," \
	"'role':'KSK','algorithm':'ED25519','size':256,"                     \
	"'created':'2026-11-25T13:00:00Z','repository':'SoftHSM',"           \
	"'policy':'default'}}}\n"
#define COUNT(status, n) \
	"{'v':1,'type':'result','exit':" status ",'result':{'count':" n "}}\n"
#define ERROR                                                               \
	"{'v':1,'type':'error','exit':2,'code':'store','text':'disk full'," \
	"'hint':'make room'}\n"

static void
a_list_is_one_document_in_json(void **ctx)
{
	struct world *w = *ctx;

	assert_int_equal(run(w, "key list --json --created-after @1",
			     KEY("1") KEY("2") COUNT("1", "2")),
	    CTL_ATTENTION);
	expect_out(w,
	    "{'version':1,'keys':["
	    "{'id':'1','state':'ready','role':'KSK','algorithm':'ED25519',"
	    "'size':256,'created':'2026-11-25T13:00:00Z',"
	    "'repository':'SoftHSM','policy':'default'},"
	    "{'id':'2','state':'ready','role':'KSK','algorithm':'ED25519',"
	    "'size':256,'created':'2026-11-25T13:00:00Z',"
	    "'repository':'SoftHSM','policy':'default'}],'count':2}\n");
	assert_string_equal(w->err, "");
	assert_int_equal(run(w, "key list --json", COUNT("0", "0")), CTL_OK);
	expect_out(w, "{'version':1,'keys':[],'count':0}\n");
}

static void
a_list_that_breaks_off_is_still_one_document(void **ctx)
{
	struct world *w = *ctx;
	json_t *doc;

	assert_int_equal(run(w, "key list --json", KEY("1") ERROR), CTL_FAILED);
	doc = json_loads(w->out, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(doc);
	assert_string_equal(json_string_value(json_object_get(
				json_object_get(doc, "error"), "code")),
	    "store");
	json_decref(doc);
	assert_int_equal(run(w, "key list --json", KEY("1")), CTL_UNREACHABLE);
	doc = json_loads(w->out, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(doc);
	json_decref(doc);
}

static void
a_list_for_people_has_a_head_and_a_count(void **ctx)
{
	struct world *w = *ctx;

	assert_int_equal(run(w, "key list", KEY("1") COUNT("0", "1")), CTL_OK);
	assert_string_equal(w->out,
	    "ID                                STATE        ROLE  "
	    "ALGORITHM           SIZE  CREATED               REPOSITORY        "
	    "POLICY\n"
	    "1                                 ready        KSK   "
	    "ED25519              256  2026-11-25T13:00:00Z  SoftHSM           "
	    "default\n"
	    "1 key\n");
}

static void
quiet_says_one_line_only_when_it_must(void **ctx)
{
	struct world *w = *ctx;

	assert_int_equal(
	    run(w, "key list -q --created-after @1", COUNT("0", "0")), CTL_OK);
	assert_string_equal(w->out, "");
	assert_string_equal(w->err, "");
	assert_int_equal(run(w, "key list -q --created-after @1",
			     KEY("1") KEY("2") COUNT("1", "2")),
	    CTL_ATTENTION);
	assert_string_equal(w->out, "");
	assert_string_equal(w->err,
	    "ksmctl: key list: 2 keys were created after the given time\n");
	assert_int_equal(
	    run(w, "topup --wait --quiet",
		"{'v':1,'type':'progress','done':1,'total':9,'text':''}\n"
		"{'v':1,'type':'result','exit':1,'result':{'wanted':9,'made':8,"
		"'failed':1,'held':0,'full':false,'trouble':'token full'}}\n"),
	    CTL_ATTENTION);
	assert_string_equal(w->out, "");
	assert_string_equal(w->err, "ksmctl: topup: made 8 of 9 keys, "
				    "1 failed; token full\n");
}

#define UNSETTLED(status, n)                                              \
	"{'v':1,'type':'result','exit':" status                           \
	",'result':{'count':" n ",'unsettled':2}}\n"
#define NOTE                                                              \
	"ksmctl: key list: 2 more keys are still being settled and not "  \
	"listed: they may be in the token and in no backup\n"

static void
keys_that_are_being_settled_are_told_beside_the_list(void **ctx)
{
	struct world *w = *ctx;
	const char *words = "key list --created-after @1";

	assert_int_equal(run(w, words, UNSETTLED("0", "0")), CTL_OK);
	assert_string_equal(w->out, "0 keys\n");
	assert_string_equal(w->err, NOTE);
	assert_int_equal(
	    run(w, "key list -q --created-after @1", UNSETTLED("0", "0")),
	    CTL_OK);
	assert_string_equal(w->out, "");
	assert_string_equal(w->err, NOTE);
	assert_int_equal(run(w, "key list -q --created-after @1",
			     KEY("1") UNSETTLED("1", "1")),
	    CTL_ATTENTION);
	assert_string_equal(w->err,
	    "ksmctl: key list: 1 key was created after the given time, 2 more "
	    "may have been\n");
	assert_int_equal(
	    run(w, "key list --json --created-after @1", UNSETTLED("0", "0")),
	    CTL_OK);
	expect_out(w, "{'version':1,'keys':[],'count':0,'unsettled':2}\n");
	assert_string_equal(w->err, "");
}

static void
an_answer_of_several_lists_is_one_document(void **ctx)
{
	struct world *w = *ctx;

	assert_int_equal(
	    run(w, "--json status",
		"{'v':1,'type':'item','item':{'pools':{'policy':'a'}}}\n"
		"{'v':1,'type':'item','item':{'pools':{'policy':'b'}}}\n"
		"{'v':1,'type':'result','exit':0,'result':{'pid':7}}\n"),
	    CTL_OK);
	expect_out(w, "{'version':1,'repositories':[],"
		      "'pools':[{'policy':'a'},{'policy':'b'}],'backups':[],'pid':7}\n");
}

static void
an_error_is_a_line_or_a_document(void **ctx)
{
	struct world *w = *ctx;

	assert_int_equal(run(w, "status", ERROR), CTL_FAILED);
	assert_string_equal(w->out, "");
	assert_string_equal(w->err, "ksmctl: status: disk full (make room)\n");
	assert_int_equal(run(w, "status --json", ERROR), CTL_FAILED);
	expect_out(w, "{'version':1,'error':{'code':'store',"
		      "'text':'disk full','hint':'make room'}}\n");
	assert_string_equal(w->err, "");
}

static void
a_refused_reload_keeps_its_findings(void **ctx)
{
	static const char answer[] =
	    "{'v':1,'type':'item','item':{'findings':{'severity':'error',"
	    "'file':'kasp.xml','line':3,'what':'bad','value':null,"
	    "'expected':null}}}\n" ERROR;
	struct world *w = *ctx;

	assert_int_equal(run(w, "reload", answer), CTL_FAILED);
	assert_string_equal(w->out, "kasp.xml:3: error: bad\n");
	assert_int_equal(run(w, "reload --json", answer), CTL_FAILED);
	expect_out(w,
	    "{'version':1,'findings':[{'severity':'error',"
	    "'file':'kasp.xml','line':3,'what':'bad','value':null,"
	    "'expected':null}],'error':{'code':'store','text':'disk full',"
	    "'hint':'make room'}}\n");
}

static void
no_daemon_is_told_how_to_start_it(void **ctx)
{
	struct world *w = *ctx;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	assert_int_equal(run(w, "status", NULL), CTL_UNREACHABLE);
	assert_non_null(strstr(w->err, "systemctl start ksmpoold"));
	assert_non_null(strstr(w->err, "ksmpoold --once"));

	settle(w);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", w->path);
	(void)bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	{
		struct ctl_call call;
		char *argv[] = { (char *)(uintptr_t) "ksmctl",
			(char *)(uintptr_t) "status", NULL };
		struct run_streams to = {
			.out = open_memstream(&w->out, &w->outlen),
			.err = open_memstream(&w->err, &w->errlen),
		};

		assert_int_equal(call_parse(&call, 2, argv, NULL), KSM_OK);
		call.socket = w->path;
		assert_int_equal(run_call(&call, &to), CTL_UNREACHABLE);
		(void)fclose(to.out);
		(void)fclose(to.err);
		call_clear(&call);
	}
	(void)close(fd);
}

static void
an_answer_that_makes_no_sense_is_said_so(void **ctx)
{
	struct world *w = *ctx;

	assert_int_equal(run(w, "status", "hello\n"), CTL_FAILED);
	assert_non_null(strstr(w->err, "not understood"));
	assert_int_equal(
	    run(w, "status", "{'v':1,'type':'resu"), CTL_UNREACHABLE);
	assert_non_null(strstr(w->err, "before it had answered"));
	assert_int_equal(
	    run(w, "status", "{'v':2,'type':'result','exit':0,'result':{}}\n"),
	    CTL_FAILED);
	assert_non_null(strstr(w->err, "version 2"));
}

static void
a_denial_is_passed_on(void **ctx)
{
	struct world *w = *ctx;

	assert_int_equal(
	    run(w, "status",
		"{'v':1,'type':'error','exit':77,'code':'denied','text':'uid 5 "
		"may not','hint':'become root'}\n"),
	    CTL_DENIED);
	assert_string_equal(
	    w->err, "ksmctl: status: uid 5 may not (become root)\n");
}

/* Without a terminal nobody can be asked, and no daemon is. */
static void
what_cannot_be_undone_needs_a_yes(void **ctx)
{
	static const char *const lines[] = {
		"key destroy 00112233445566778899aabbccddeeff --reason r",
		"inventory adopt a1 --policy p --role ksk --reason r",
		"inventory clean debris --repository h --reason r",
		"clock accept --reason r",
	};
	struct world *w = *ctx;
	char line[128];

	for (size_t i = 0; i < nitems(lines); i++) {
		assert_int_equal(run(w, lines[i], NULL), CTL_USAGE);
		assert_non_null(strstr(w->err, "--yes"));
		assert_string_equal(w->out, "");
		(void)snprintf(line, sizeof(line), "%s --yes", lines[i]);
		assert_int_equal(run(w, line, NULL), CTL_UNREACHABLE);
	}
	(void)snprintf(line, sizeof(line), "%s --json", lines[0]);
	assert_int_equal(run(w, line, NULL), CTL_USAGE);
	assert_non_null(strstr(w->out, "\"code\":\"usage\""));
	assert_string_equal(w->err, "");
	(void)snprintf(line, sizeof(line), "%s --dry-run", lines[0]);
	assert_int_equal(run(w, line, NULL), CTL_UNREACHABLE);
}

static void
a_silent_daemon_is_not_waited_for(void **ctx)
{
	struct world *w = *ctx;
	struct ctl_call call;
	char *argv[] = { (char *)(uintptr_t) "ksmctl",
		(char *)(uintptr_t) "status",
		(char *)(uintptr_t) "--timeout=PT1S", NULL };
	struct run_streams to = { .progress = false };

	daemon_start(w, "", false);
	to.out = open_memstream(&w->out, &w->outlen);
	to.err = open_memstream(&w->err, &w->errlen);
	assert_int_equal(call_parse(&call, 3, argv, NULL), KSM_OK);
	call.socket = w->path;
	assert_int_equal(run_call(&call, &to), CTL_TIMEOUT);
	(void)fclose(to.out);
	(void)fclose(to.err);
	call_clear(&call);
	assert_non_null(strstr(w->err, "no answer from the daemon in time"));
}

static void
a_reader_that_has_gone_is_no_error_and_a_full_disk_is(void **ctx)
{
	struct world *w = *ctx;
	struct run_streams to = { .err = NULL };
	int pair[2];

	assert_int_equal(pipe(pair), 0);
	(void)close(pair[0]);
	to.out = fdopen(pair[1], "w");
	to.err = open_memstream(&w->err, &w->errlen);
	(void)fputs("x", to.out);
	assert_int_equal(run_finish(&to, CTL_ATTENTION), CTL_OK);
	(void)fclose(to.out);
	(void)fflush(to.err);
	assert_string_equal(w->err, "");

	to.out = fopen("/dev/full", "w");
	(void)fputs("x", to.out);
	assert_int_equal(run_finish(&to, CTL_OK), CTL_FAILED);
	(void)fclose(to.out);
	(void)fclose(to.err);
	assert_non_null(strstr(w->err, "No space left"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_list_is_one_document_in_json),
		T(a_list_that_breaks_off_is_still_one_document),
		T(a_list_for_people_has_a_head_and_a_count),
		T(quiet_says_one_line_only_when_it_must),
		T(keys_that_are_being_settled_are_told_beside_the_list),
		T(an_answer_of_several_lists_is_one_document),
		T(an_error_is_a_line_or_a_document),
		T(a_refused_reload_keeps_its_findings),
		T(no_daemon_is_told_how_to_start_it),
		T(an_answer_that_makes_no_sense_is_said_so),
		T(a_denial_is_passed_on),
		T(what_cannot_be_undone_needs_a_yes),
		T(a_silent_daemon_is_not_waited_for),
		T(a_reader_that_has_gone_is_no_error_and_a_full_disk_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
