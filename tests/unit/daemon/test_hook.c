#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test_store.h"

#include <signal.h>
#include <sys/wait.h>

#include "engine_parts.h"
#include "hook.h"

/* Hooks, and an engine without a world that keeps the history. */
struct site {
	struct bed *bed;
	struct engine *engine;
	sd_event *event;
	struct hooks *hooks;
	int kicks;
	int64_t handouts;
};

static const struct store_actor somebody = { 1000, 4711 };
static const char *const no_env[] = { NULL };

static ksm_time
wall(void *ctx)
{
	(void)ctx;
	return T0;
}

static ksm_msec
steady(void *ctx)
{
	(void)ctx;
	return 5000000;
}

static void
dice(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	memset(buf, 7, len);
}

static void
kick(void *ctx)
{
	struct site *s = ctx;

	s->kicks++;
}

static bool
no_log(enum log_level level, const char *text, const struct log_about *about)
{
	(void)level;
	(void)text;
	(void)about;
	return true;
}

static int
setup(void **ctx)
{
	static const struct engine_io io = { .wall = wall, .steady = steady,
		.random = dice };
	struct site *s = calloc(1, sizeof(*s));
	void *bed = NULL;

	assert_non_null(s);
	(void)bed_setup(&bed);
	s->bed = bed;
	log_sink_set(no_log);
	ok(s->bed, engine_new(s->bed->st, &io, &s->engine, &s->bed->fail));
	assert_true(sd_event_new(&s->event) >= 0);
	ok(s->bed, hooks_new(s->event, s->engine, kick, s, &s->hooks,
		       &s->bed->fail));
	*ctx = s;
	return 0;
}

static int
teardown(void **ctx)
{
	struct site *s = *ctx;
	void *bed = s->bed;

	hooks_free(s->hooks);
	(void)sd_event_unref(s->event);
	engine_free(s->engine);
	(void)bed_teardown(&bed);
	log_sink_set(NULL);
	free(s);
	return 0;
}

/* ---- doing --------------------------------------------------------------- */

/* A script of that name; its path in `path`. */
static void
script(const struct site *s, const char *name, const char *body,
    char path[160])
{
	FILE *f;

	(void)snprintf(path, 160, "%s/%s", s->bed->dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	(void)fprintf(f, "#!/bin/sh\n%s\n", body);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0700), 0);
}

static int64_t
add(struct site *s, const char *path, const char *const *env)
{
	struct hook_want want = { .path = path, .timeout = 30,
		.repository = "hsm", .id = "4b53", .who = somebody,
		.env = env, .handout = ++s->handouts };

	assert_true(hooks_add(s->hooks, &want));
	return s->handouts;
}

static enum hook_end
look(struct site *s, int64_t n)
{
	char text[256];

	return hooks_look(s->hooks, n, text);
}

/* Until it ended, 20 s at most; what became of it, and the words for it. */
static enum hook_end
await(struct site *s, int64_t n, char text[256])
{
	for (int i = 0; i < 400; i++) {
		enum hook_end end = hooks_look(s->hooks, n, text);

		if (end != HOOK_WAITS)
			return end;
		assert_true(sd_event_run(s->event, 50000) >= 0);
	}
	fail_msg("hook %lld does not end", (long long)n);
	return HOOK_UNKNOWN;
}

static size_t
file_get(const struct site *s, const char *name, char *buf, size_t size)
{
	char path[160];
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", s->bed->dir, name);
	f = fopen(path, "re");
	if (f == NULL) {
		buf[0] = '\0';
		return 0;
	}
	n = fread(buf, 1, size - 1, f);
	buf[n] = '\0';
	(void)fclose(f);
	return n;
}

static size_t
lines_of(const struct site *s, const char *name)
{
	char text[1000];
	size_t n = 0;

	(void)file_get(s, name, text, sizeof(text));
	for (const char *p = text; *p != '\0'; p++)
		n += *p == '\n';
	return n;
}

/* ---- tests --------------------------------------------------------------- */

static void
a_hook_gets_its_facts_and_nothing_else(void **ctx)
{
	struct site *s = *ctx;
	char path[160], body[600], text[256], env[1000], out[1000];
	const char *const facts[] = { "PATH=/usr/bin:/bin",
		"KSMPOOL_ZONE=it's \"a\".example; $(id)", "KSMPOOL_REQUEST=",
		"KSMPOOL_POLICY=two\nlines", NULL };
	size_t n = 0;
	int64_t hook;

	assert_int_equal(setenv("KSMPOOL_SECRET", "1", 1), 0);
	(void)snprintf(body, sizeof(body),
	    "cd %s && tr '\\0' '\\n' </proc/$$/environ >env &&\n"
	    "exec >out && echo $# && readlink /proc/$$/fd/0 && ulimit -c &&\n"
	    "for i in 0 1 2 3 4 5 6 7 8 9; do\n"
	    "[ ! -e /proc/$$/fd/$i ] || printf $i; done", s->bed->dir);
	script(s, "hook", body, path);
	hook = add(s, path, facts);
	assert_int_equal(look(s, hook), HOOK_WAITS);
	assert_int_equal(await(s, hook, text), HOOK_WELL);
	assert_string_equal(text, "");
	assert_int_equal(s->kicks, 1);

	(void)file_get(s, "env", env, sizeof(env));
	for (size_t i = 0; facts[i] != NULL; i++) {
		if (strstr(env, facts[i]) == NULL)
			fail_msg("\"%s\" lacks \"%s\"", env, facts[i]);
		n += strlen(facts[i]) + 1;
	}
	assert_int_equal(strlen(env), n);
	/* no argument, no input, no core, no descriptor of ours */
	(void)file_get(s, "out", out, sizeof(out));
	assert_string_equal(out, "0\n/dev/null\n0\n012");
	/* it is on record with the next commit */
	ok(s->bed, store_commit(s->bed->st, &s->bed->fail));
	assert_int_equal(ask(s->bed, "SELECT count(*) FROM events WHERE what "
	    "= 'hook done' AND why = 'hand-out 1'"), 1);
	assert_int_equal(unsetenv("KSMPOOL_SECRET"), 0);
}

static void
what_a_hook_says_goes_where_ours_does(void **ctx)
{
	struct site *s = *ctx;
	char path[160], text[256];
	int pair[2], own = dup(STDERR_FILENO);
	enum hook_end end;
	int64_t hook;
	ssize_t n;

	script(s, "hook", "echo said; echo shouted >&2", path);
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(dup2(pair[1], STDERR_FILENO), STDERR_FILENO);
	hook = add(s, path, no_env);
	end = await(s, hook, text);
	(void)dup2(own, STDERR_FILENO);
	(void)close(own);
	(void)close(pair[1]);
	assert_int_equal(end, HOOK_WELL);
	n = read(pair[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	(void)close(pair[0]);
	assert_string_equal(text, "said\nshouted\n");
}

static void
why_it_failed_is_said_and_on_record(void **ctx)
{
	static const struct {
		const char *body, *words;
	} cases[] = {
		{ "exit 1", "exit status 1" },
		{ "exit 255", "exit status 255" },
		{ "kill -TERM $$", "signal 15" },
		{ "kill -KILL $$", "signal 9" },
		{ "no-such-program-as-this 2>/dev/null", "exit status 127" },
	};
	struct site *s = *ctx;
	struct history_filter f = { .uid = -1 };
	struct store_history row;
	char path[160], text[256], why[300];
	int64_t cursor = 0;
	size_t n;

	for (size_t i = 0; i < nitems(cases); i++) {
		int64_t hook;

		script(s, "hook", cases[i].body, path);
		hook = add(s, path, no_env);
		assert_int_equal(await(s, hook, text), HOOK_FAILED);
		assert_string_equal(text, cases[i].words);
		assert_int_equal(s->kicks, i + 1);
		/* it can be asked again */
		assert_int_equal(look(s, hook), HOOK_FAILED);
		ok(s->bed, store_history_list(s->bed->st, &f, &cursor, &row, 1,
			       &n, &s->bed->fail));
		assert_int_equal(n, 1);
		assert_string_equal(row.what, "hook failed");
		assert_string_equal(row.subject, "4b53");
		(void)snprintf(why, sizeof(why), "hand-out %lld: %s",
		    (long long)hook, cases[i].words);
		assert_string_equal(row.why, why);
		assert_int_equal(row.who.uid, 1000);
		assert_int_equal(row.who.pid, 4711);
	}
}

static void
one_that_cannot_be_started_failed(void **ctx)
{
	struct site *s = *ctx;
	char path[160], text[256];
	int64_t hook;

	(void)snprintf(path, sizeof(path), "%s/none", s->bed->dir);
	hook = add(s, path, no_env);
	assert_int_equal(await(s, hook, text), HOOK_FAILED);
	assert_non_null(strstr(text, "none: No such file or directory"));
	script(s, "hook", "true", path);
	assert_int_equal(chmod(path, 0600), 0);
	hook = add(s, path, no_env);
	assert_int_equal(await(s, hook, text), HOOK_FAILED);
	assert_non_null(strstr(text, "hook: Permission denied"));
	/* what the kernel does not know */
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(chmod(path, 0700), 0);
	hook = add(s, path, no_env);
	assert_int_equal(await(s, hook, text), HOOK_FAILED);
	assert_string_equal(text, "exit status 127");
	assert_int_equal(s->kicks, 3);
	assert_int_equal(ask(s->bed, "SELECT count(*) FROM events "
				     "WHERE what = 'hook failed'"), 3);
	/* and it keeps no other from its turn */
	script(s, "hook", "true", path);
	hook = add(s, path, no_env);
	assert_int_equal(await(s, hook, text), HOOK_WELL);
}

static void
one_that_does_not_end_is_killed(void **ctx)
{
	struct site *s = *ctx;
	struct hook_want want = { .timeout = 1, .handout = 7,
		.repository = "hsm", .id = "4b53", .who = somebody,
		.env = no_env };
	char path[160], body[200], text[256];
	pid_t pid;

	(void)snprintf(body, sizeof(body), "trap '' TERM INT HUP\n"
	    "echo $$ >%s/pid\nwhile :; do :; done", s->bed->dir);
	script(s, "hook", body, path);
	want.path = path;
	assert_true(hooks_add(s->hooks, &want));
	assert_int_equal(await(s, 7, text), HOOK_FAILED);
	assert_string_equal(text, "it did not end within 1 s and was killed");
	(void)file_get(s, "pid", text, sizeof(text));
	pid = (pid_t)atoi(text);
	assert_true(pid > 1);
	assert_int_equal(kill(pid, 0), -1); /* gone, and waited for */
	assert_int_equal(errno, ESRCH);
	assert_int_equal(ask(s->bed, "SELECT count(*) FROM events "
				     "WHERE why LIKE '%was killed'"), 1);
}

static void
eight_run_at_once_and_the_rest_in_turn(void **ctx)
{
	struct site *s = *ctx;
	char path[160], body[400], text[256];
	int64_t hooks[HOOKS_AT_ONCE + 5];
	FILE *f;

	/* each says that it runs, and waits for a word */
	(void)snprintf(body, sizeof(body), "cd %s && echo $N >>ran &&\n"
	    "until [ -f go ]; do sleep 0.02; done", s->bed->dir);
	script(s, "hook", body, path);
	for (size_t i = 0; i < nitems(hooks); i++) {
		char number[16];
		const char *env[] = { "PATH=/usr/bin:/bin", number, NULL };

		(void)snprintf(number, sizeof(number), "N=%zu", i);
		hooks[i] = add(s, path, env);
		assert_true(i == 0 || hooks[i] > hooks[i - 1]);
	}
	for (int i = 0; i < 400 && lines_of(s, "ran") < HOOKS_AT_ONCE; i++)
		assert_true(sd_event_run(s->event, 50000) >= 0);
	for (int i = 0; i < 6; i++) /* and no more of them */
		assert_true(sd_event_run(s->event, 50000) >= 0);
	assert_int_equal(lines_of(s, "ran"), HOOKS_AT_ONCE);
	for (size_t i = 0; i < nitems(hooks); i++)
		assert_int_equal(look(s, hooks[i]), HOOK_WAITS);
	assert_int_equal(s->kicks, 0);

	(void)snprintf(body, sizeof(body), "%s/go", s->bed->dir);
	f = fopen(body, "we");
	assert_non_null(f);
	(void)fclose(f);
	for (size_t i = 0; i < nitems(hooks); i++)
		assert_int_equal(await(s, hooks[i], text), HOOK_WELL);
	assert_int_equal(lines_of(s, "ran"), nitems(hooks));
	assert_int_equal(s->kicks, nitems(hooks));
}

static void
what_cannot_be_asked_for_is_refused(void **ctx)
{
	struct site *s = *ctx;
	const char *env[HOOK_ENV + 2] = { NULL };
	struct hook_want want = { .path = "/bin/true", .timeout = 30,
		.handout = 7, .repository = "hsm", .id = "4b53", .env = env };
	char text[256] = "x";

	for (size_t i = 0; i <= HOOK_ENV; i++)
		env[i] = "A=b";
	assert_false(hooks_add(s->hooks, &want));
	env[HOOK_ENV] = NULL;
	assert_true(hooks_add(s->hooks, &want));
	assert_int_equal(await(s, 7, text), HOOK_WELL);
	assert_int_equal(hooks_look(s->hooks, 0, text), HOOK_UNKNOWN);
	assert_int_equal(hooks_look(s->hooks, 4711, text), HOOK_UNKNOWN);
	assert_string_equal(text, "");
}

static enum hook_end
on_record(struct site *s, int64_t handout, char text[256])
{
	enum hook_end end;

	ok(s->bed, hook_record_look(s->bed->st, "4b53", handout, &end, text,
		       &s->bed->fail));
	return end;
}

/* What is not in memory any more is on record: a failure stays one. */
static void
what_ended_is_forgotten_in_time(void **ctx)
{
	struct site *s = *ctx;
	char path[160], text[256];
	int64_t first, last = 0;

	/* none of these is ever started, so it is quick */
	(void)snprintf(path, sizeof(path), "%s/none", s->bed->dir);
	first = add(s, path, no_env);
	for (int i = 0; i < 2000; i++)
		last = add(s, path, no_env);
	for (int i = 0; i < 5000 && look(s, last) == HOOK_WAITS; i++)
		assert_true(sd_event_run(s->event, 50000) >= 0);
	assert_int_equal(look(s, first), HOOK_UNKNOWN);
	assert_int_equal(look(s, first + 1), HOOK_FAILED);
	assert_int_equal(look(s, last), HOOK_FAILED);
	assert_int_equal(on_record(s, first, text), HOOK_FAILED);
	assert_non_null(strstr(text, "none: No such file or directory"));
	assert_int_equal(on_record(s, last, text), HOOK_FAILED);
	assert_int_equal(on_record(s, last + 1, text), HOOK_UNKNOWN);
	assert_string_equal(text, "");
}

/* The last word of a hand-out counts, and 1 is not 12. */
static void
of_two_for_one_hand_out_the_last_counts(void **ctx)
{
	struct site *s = *ctx;
	struct hook_want want = { .timeout = 30, .handout = 1,
		.repository = "hsm", .id = "4b53", .who = somebody,
		.env = no_env };
	char path[160], text[256];

	want.path = path;
	script(s, "hook", "exit 3", path);
	assert_true(hooks_add(s->hooks, &want));
	assert_int_equal(await(s, 1, text), HOOK_FAILED);
	script(s, "hook", "exit 0", path);
	assert_true(hooks_add(s->hooks, &want));
	assert_int_equal(look(s, 1), HOOK_WAITS);
	assert_int_equal(await(s, 1, text), HOOK_WELL);
	script(s, "hook", "exit 4", path);
	want.handout = 12;
	assert_true(hooks_add(s->hooks, &want));
	assert_int_equal(await(s, 12, text), HOOK_FAILED);
	assert_int_equal(on_record(s, 1, text), HOOK_WELL);
	assert_string_equal(text, "");
	assert_int_equal(on_record(s, 12, text), HOOK_FAILED);
	assert_string_equal(text, "exit status 4");
}

static void
those_that_run_go_on_when_we_leave(void **ctx)
{
	struct site *s = *ctx;
	char path[160], body[200], text[256];
	int64_t hooks[HOOKS_AT_ONCE + 3];

	(void)snprintf(body, sizeof(body), "echo >>%s/ran; sleep 0.5; "
	    "echo done >>%s/done", s->bed->dir, s->bed->dir);
	script(s, "hook", body, path);
	for (size_t i = 0; i < nitems(hooks); i++)
		hooks[i] = add(s, path,
		    (const char *const[]){ "PATH=/usr/bin:/bin", NULL });
	for (int i = 0; i < 400 && lines_of(s, "ran") < HOOKS_AT_ONCE; i++)
		assert_true(sd_event_run(s->event, 10000) >= 0);
	hooks_stop(s->hooks);
	hooks_free(s->hooks);
	s->hooks = NULL;
	/* what is not known of the others is on record */
	assert_int_equal(on_record(s, hooks[0], text), HOOK_FAILED);
	assert_non_null(strstr(text, "not known"));
	assert_int_equal(on_record(s, hooks[HOOKS_AT_ONCE], text),
	    HOOK_NOT_RUN);
	assert_int_equal(on_record(s, hooks[nitems(hooks) - 1], text),
	    HOOK_NOT_RUN);
	assert_non_null(strstr(text, "stopped"));
	assert_int_equal(ask(s->bed, "SELECT count(*) FROM events WHERE what "
	    "= 'hook not run'"), 3);
	for (int i = 0; i < 400 && lines_of(s, "done") < HOOKS_AT_ONCE; i++)
		(void)usleep(50000);
	assert_int_equal(lines_of(s, "done"), HOOKS_AT_ONCE);
	while (waitpid(-1, NULL, 0) > 0)
		;
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_hook_gets_its_facts_and_nothing_else),
		T(what_a_hook_says_goes_where_ours_does),
		T(why_it_failed_is_said_and_on_record),
		T(one_that_cannot_be_started_failed),
		T(one_that_does_not_end_is_killed),
		T(eight_run_at_once_and_the_rest_in_turn),
		T(what_cannot_be_asked_for_is_refused),
		T(what_ended_is_forgotten_in_time),
		T(of_two_for_one_hand_out_the_last_counts),
		T(those_that_run_go_on_when_we_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
