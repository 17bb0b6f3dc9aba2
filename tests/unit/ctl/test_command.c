#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "command.h"

/* Split at blanks; "ksmctl" stands in front. */
static enum ksm_err
parse(const char *words, struct ctl_call *call, struct ksm_fail *fail)
{
	static char text[512];
	static char *argv[32];
	int argc = 1;

	(void)snprintf(text, sizeof(text), "%s", words);
	argv[0] = (char *)(uintptr_t) "ksmctl";
	for (char *w = strtok(text, " "); w != NULL; w = strtok(NULL, " "))
		argv[argc++] = w;
	argv[argc] = NULL;
	return call_parse(call, argc, argv, fail);
}

static void
options_stand_before_or_after_the_command(void **ctx)
{
	static const char *const lines[] = {
		"--json --socket /s key list --policy p --created-after @60",
		"key list --policy p --created-after @60 --json --socket /s",
		"--created-after=@60 key --json list --policy=p --socket=/s",
		"--policy p key --socket /s list --json --created-after @60",
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(lines); i++) {
		struct ksm_fail fail = { .text = "" };
		struct ctl_call call;
		json_t *want =
		    json_pack("{s:s, s:i}", "policy", "p", "created_after", 60);

		if (parse(lines[i], &call, &fail) != KSM_OK)
			fail_msg("%s: %s", lines[i], fail.text);
		assert_string_equal(call.command->name, "key list");
		assert_true(call.json);
		assert_string_equal(call.socket, "/s");
		assert_true(json_equal(call.args, want));
		json_decref(want);
		call_clear(&call);
	}
}

static void
every_kind_of_value_reaches_the_request(void **ctx)
{
	static const struct {
		const char *line, *args;
	} cases[] = {
		{ "status", "{}" },
		{ "plan --zones 0", "{\"zones\":0}" },
		{ "topup --wait --max 40", "{\"wait\":true,\"max\":40}" },
		{ "topup --dry-run", "{\"dry_run\":true}" },
		{ "key list --role ksk --state ready",
		    "{\"role\":\"KSK\",\"state\":\"ready\"}" },
		{ "key list --created-after 2026-11-25T13:00:00Z",
		    "{\"created_after\":1795611600}" },
		{ "key show 00112233445566778899aabbccddeeff",
		    "{\"id\":\"00112233445566778899aabbccddeeff\"}" },
		{ "repository resume hsm-a --accept-token",
		    "{\"accept_token\":true,\"name\":\"hsm-a\"}" },
		{ "repository resume -- --odd-name",
		    "{\"name\":\"--odd-name\"}" },
		{ "reload --allow-empty", "{\"allow_empty\":true}" },
		{ "explain", "{}" },
		{ "explain default/ksk", "{\"pool\":\"default/ksk\"}" },
		{ "plan --horizon P1D --emergency-rolls 0 --capacity 9",
		    "{\"horizon\":86400,\"emergency_rolls\":0,"
		    "\"capacity\":9}" },
		{ "key list --algorithm 13 --tag 65535 --older-than PT1M",
		    "{\"algorithm\":\"13\",\"tag\":65535,"
		    "\"older_than\":60}" },
		{ "key retire 00112233445566778899aabbccddeeff "
		  "10112233445566778899aabbccddeeff --reason leak",
		    "{\"ids\":[\"00112233445566778899aabbccddeeff\","
		    "\"10112233445566778899aabbccddeeff\"],"
		    "\"reason\":\"leak\"}" },
		{ "inventory --all", "{\"all\":true}" },
		{ "inventory adopt a1 --policy p --role ksk --reason r",
		    "{\"id\":\"a1\",\"policy\":\"p\",\"role\":\"KSK\","
		    "\"reason\":\"r\"}" },
		{ "inventory clean debris --repository h --reason r",
		    "{\"debris\":true,\"repository\":\"h\","
		    "\"reason\":\"r\"}" },
		{ "inventory clean 00112233445566778899aabbccddeeff "
		  "--repository h --reason r",
		    "{\"ids\":[\"00112233445566778899aabbccddeeff\"],"
		    "\"repository\":\"h\",\"reason\":\"r\"}" },
		{ "pause --for PT1H --reason hsm",
		    "{\"for\":3600,\"reason\":\"hsm\"}" },
		{ "log level", "{}" },
		{ "log level debug", "{\"level\":\"debug\"}" },
		{ "history --uid 0 --what key --since @60",
		    "{\"uid\":0,\"what\":\"key\",\"since\":60}" },
		{ "database backup /a/b", "{\"file\":\"/a/b\"}" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct ksm_fail fail = { .text = "" };
		struct ctl_call call;
		json_t *want = json_loads(cases[i].args, 0, NULL);
		enum ksm_err err = parse(cases[i].line, &call, &fail);

		if (err != KSM_OK)
			fail_msg("%s: %s", cases[i].line, fail.text);
		if (!json_equal(call.args, want))
			fail_msg(
			    "%s: %s", cases[i].line, json_dumps(call.args, 0));
		json_decref(want);
		call_clear(&call);
	}
}

static void
a_wrong_line_is_told_how_it_would_be_right(void **ctx)
{
	static const struct {
		const char *line, *words;
	} cases[] = {
		{ "stauts",
		    "unknown command 'stauts'; did you mean 'status'?" },
		{ "paln", "did you mean 'plan'?" },
		{ "keys list", "did you mean 'key list'?" },
		{ "key lsit", "unknown command 'key lsit'; did you mean "
			      "'key list'?" },
		{ "rpository resume x", "did you mean 'repository" },
		{ "stauts x", "unknown command 'stauts'" },
		{ "frobnicate", "'ksmctl help' lists them" },
		{ "key", "try 'key list' or 'key show'" },
		{ "status extra", "'extra' is one word too many" },
		{ "key show", "ID is missing" },
		{ "key show 12", "32 hex digits" },
		{ "key show 00112233445566778899aabbccddeeff x",
		    "'x' is one word too many" },
		{ "repository resume", "NAME is missing" },
		{ "status --zones 4", "has no option '--zones'" },
		{ "plan --zone 4", "did you mean '--zones'?" },
		{ "plan --zones", "'--zones' needs a value: N" },
		{ "plan --zones -4", "not a whole number of 0 or more" },
		{ "plan --zones 4x", "not a whole number" },
		{ "plan --zones 99999999999999999999", "not a whole number" },
		{ "topup --max 0", "not a whole number of 1 or more" },
		{ "topup --wait=yes", "takes no value" },
		{ "key list --state raedy", "did you mean 'ready'?" },
		{ "key list --role PSK", "not KSK, ZSK or CSK" },
		{ "key list --policy=", "not a name" },
		{ "key list --created-after yesterday", "--created-after: " },
		{ "status --timeout 30", "--timeout: " },
		{ "status --timeout -PT1S", "--timeout: " },
		{ "-z status", "unknown option '-z'" },
		{ "help plna", "did you mean 'plan'?" },
		{ "inventory adpot x", "did you mean 'inventory adopt'?" },
		{ "history verfy", "did you mean 'history verify'?" },
		{ "log levle", "did you mean 'log level'?" },
		{ "clock", "try 'clock accept'" },
		{ "database", "try 'database backup' or 'database check'" },
		{ "key retire --reason r", "ID is missing" },
		{ "key retire 00112233445566778899aabbccddeeff",
		    "--reason TEXT is missing" },
		{ "key retire 00112233445566778899aabbccddeeff 12 --reason r",
		    "'12' is not a key id" },
		{ "inventory adopt xyz --policy p --role ksk --reason r",
		    "not a CKA_ID" },
		{ "inventory clean all --repository h --reason r",
		    "neither a key id (32 hex digits) nor the word debris" },
		{ "inventory clean debris 00112233445566778899aabbccddeeff "
		  "--repository h --reason r", "not both" },
		{ "inventory clean 00112233445566778899aabbccddeeff debris "
		  "--repository h --reason r", "not both" },
		{ "pause --for PT0S", "no time at all" },
		{ "key list --tag 65536", "0 to 65535" },
		{ "take --tag-modulo 2/2", "'2/2' is not I/N with I below N" },
		{ "take --tag-range 7:6", "'7:6' is not LOW:HIGH" },
		{ "key list --algorithm MD5", "RSASHA256" },
		{ "log level loud", "error, warning, notice, info or debug" },
		{ "database backup", "FILE is missing" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct ksm_fail fail = { .text = "" };
		struct ctl_call call;

		if (parse(cases[i].line, &call, &fail) != KSM_EREFUSED ||
		    strstr(fail.text, cases[i].words) == NULL)
			fail_msg("%s: '%s' does not say '%s'", cases[i].line,
			    fail.text, cases[i].words);
		call_clear(&call);
	}
}

static void
the_form_of_errors_is_known_before_the_error(void **ctx)
{
	struct ctl_call call;

	(void)ctx;
	assert_int_equal(parse("stauts --json", &call, NULL), KSM_EREFUSED);
	assert_true(call.json);
	call_clear(&call);
	assert_int_equal(
	    parse("status --zones --json", &call, NULL), KSM_EREFUSED);
	assert_true(call.json);
	call_clear(&call);
}

static void
what_follows_check_is_not_ours(void **ctx)
{
	struct ctl_call call;

	(void)ctx;
	assert_int_equal(
	    parse("--json check --strict --config /x --json", &call, NULL),
	    KSM_OK);
	assert_true(call.json);
	assert_string_equal(call.command->name, "check");
	assert_string_equal(call.rest[0], "--strict");
	assert_string_equal(call.rest[3], "--json");
	assert_null(call.rest[4]);
	call_clear(&call);
}

static void
times_out_as_asked(void **ctx)
{
	struct ctl_call call;

	(void)ctx;
	assert_int_equal(parse("status", &call, NULL), KSM_OK);
	assert_int_equal(call.timeout, -1);
	call_clear(&call);
	assert_int_equal(parse("--timeout PT2M status", &call, NULL), KSM_OK);
	assert_int_equal(call.timeout, 120);
	call_clear(&call);
}

static void
help_is_there_for_every_command(void **ctx)
{
	const struct ctl_command *c;
	char line[128], *text = NULL;
	size_t len = 0;

	(void)ctx;
	for (size_t i = 0; (c = command_at(i)) != NULL; i++) {
		struct ctl_call call;
		FILE *out = open_memstream(&text, &len);

		(void)snprintf(line, sizeof(line), "help %s", c->name);
		assert_int_equal(parse(line, &call, NULL), KSM_OK);
		assert_ptr_equal(call.about, c);
		call_clear(&call);
		if (!c->verbatim) {
			(void)snprintf(
			    line, sizeof(line), "%s --help", c->name);
			assert_int_equal(parse(line, &call, NULL), KSM_OK);
			assert_ptr_equal(call.about, c);
			call_clear(&call);
		}
		help_print_command(out, c);
		(void)fclose(out);
		assert_non_null(strstr(text, c->name));
		assert_non_null(strstr(text, c->summary));
		for (size_t k = 0; k < c->noptions; k++)
			assert_non_null(strstr(text, c->options[k].name));
		free(text);
	}
}

static const char *
field_of(const struct ctl_option *o)
{
	return o->field != NULL ? o->field : "(kept here)";
}

/* What lets options stand before the command they belong to. */
static void
an_option_means_the_same_in_every_command(void **ctx)
{
	const struct ctl_command *a, *b;

	(void)ctx;
	for (size_t i = 0; (a = command_at(i)) != NULL; i++)
		for (size_t k = 0; (b = command_at(k)) != NULL; k++)
			for (size_t x = 0; x < a->noptions; x++)
				for (size_t y = 0; y < b->noptions; y++)
					if (strcmp(a->options[x].name,
						b->options[y].name) == 0) {
						assert_true(
						    (a->options[x].value ==
							NULL) ==
						    (b->options[y].value ==
							NULL));
						/* pause --for, take --for */
						if (strcmp(a->options[x].name,
							"for") == 0)
							continue;
						assert_int_equal(
						    a->options[x].kind,
						    b->options[y].kind);
						assert_string_equal(
						    field_of(&a->options[x]),
						    field_of(&b->options[y]));
					}
}

/* A path means the caller's directory, which the daemon does not know. */
static void
a_relative_file_becomes_an_absolute_one(void **ctx)
{
	struct ctl_call call;
	const char *file;

	(void)ctx;
	assert_int_equal(parse("database backup b", &call, NULL), KSM_OK);
	file = json_string_value(json_object_get(call.args, "file"));
	assert_non_null(file);
	assert_int_equal(file[0], '/');
	assert_string_equal(strrchr(file, '/'), "/b");
	call_clear(&call);
}

/* What cannot be undone can be tried first, and says yes in scripts. */
static void
what_asks_for_a_yes_takes_one(void **ctx)
{
	const struct ctl_command *c;

	(void)ctx;
	for (size_t i = 0; (c = command_at(i)) != NULL; i++) {
		bool yes = false, dry_run = false;

		for (size_t k = 0; k < c->noptions; k++) {
			yes |= strcmp(c->options[k].name, "yes") == 0;
			dry_run |= strcmp(c->options[k].name, "dry-run") == 0;
		}
		if (yes != (c->confirm != NULL) || (c->dry_run && !dry_run))
			fail_msg("%s", c->name);
	}
}

static void
distance_counts_typing_errors(void **ctx)
{
	(void)ctx;
	assert_int_equal(word_distance("status", "status"), 0);
	assert_int_equal(word_distance("stauts", "status"), 1);
	assert_int_equal(word_distance("stats", "status"), 1);
	assert_int_equal(word_distance("statuss", "status"), 1);
	assert_int_equal(word_distance("stutas", "status"), 2);
	assert_int_equal(word_distance("", "plan"), 4);
	assert_true(word_distance("x", "a-word-that-is-far-longer-than-any-"
				       "command-or-option-could-ever-"
				       "be") >= 64);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_stand_before_or_after_the_command),
		cmocka_unit_test(every_kind_of_value_reaches_the_request),
		cmocka_unit_test(a_wrong_line_is_told_how_it_would_be_right),
		cmocka_unit_test(the_form_of_errors_is_known_before_the_error),
		cmocka_unit_test(what_follows_check_is_not_ours),
		cmocka_unit_test(times_out_as_asked),
		cmocka_unit_test(help_is_there_for_every_command),
		cmocka_unit_test(an_option_means_the_same_in_every_command),
		cmocka_unit_test(a_relative_file_becomes_an_absolute_one),
		cmocka_unit_test(what_asks_for_a_yes_takes_one),
		cmocka_unit_test(distance_counts_typing_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
