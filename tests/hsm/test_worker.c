/*
 * The real ksmpool-hsm, over a socket pair, in front of a module that
 * misbehaves (fake_module.c has the knobs) and of a SoftHSM token.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"

/* ---- start ------------------------------------------------------------- */

static void
says_who_the_token_is_and_leaves_at_end_of_file(void **ctx)
{
	struct worker w;
	struct pollfd p;
	char byte;

	(void)ctx;
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_string_equal(w.got.u.hello.label, "fake");
	assert_string_equal(w.got.u.hello.serial, "0001");
	assert_string_equal(w.got.u.hello.module, "ksmpool fake module 1.0");
	assert_int_equal(w.got.u.hello.starts, 1);

	/* descriptor 5 is held for life */
	p = (struct pollfd){ .fd = w.lock, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 0), 0);
	fd_close(&w.sock);
	assert_int_equal(read(w.lock, &byte, 1), 0);
	assert_int_equal(worker_end(&w), 0);
}

static void
a_person_who_starts_it_is_told_what_it_is(void **ctx)
{
	char command[512];
	int status;

	(void)ctx;
	(void)snprintf(command, sizeof(command),
	    "%s/ksmpool-hsm generator x 2>&1 >/dev/null 3<&- | "
	    "grep -q 'started by ksmpoold'",
	    getenv("KSMPOOL_LIBEXEC"));
	assert_int_equal(system(command), 0);
	(void)snprintf(command, sizeof(command),
	    "%s/ksmpool-hsm generator x 2>/dev/null 3</dev/null",
	    getenv("KSMPOOL_LIBEXEC"));
	status = system(command);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 64);
}

static void
a_refused_pin_is_not_tried_again(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;
	char logins[128], print[64];

	(void)ctx;
	path_in(logins, sizeof(logins), "logins");
	knob("KSMFAKE_LOGINS", logins);
	assert_int_equal(worker_start(&w, &start, "9999"), HSM_FAILED);
	assert_string_equal(w.got.u.failed.stage, "pin");
	assert_string_equal(w.got.u.failed.name, "CKR_PIN_INCORRECT");
	assert_string_equal(
	    w.got.u.failed.text, "the token refuses the PIN");
	assert_int_equal(w.got.u.failed.group, CKRG_PIN);
	assert_null(strstr(w.got.u.failed.text, "9999"));
	(void)snprintf(print, sizeof(print), "%s", w.got.u.failed.pin_print);
	assert_string_not_equal(print, "");
	assert_null(strstr(print, "9999"));
	assert_int_equal(worker_end(&w), 1);
	assert_int_equal(file_size(logins), 1);

	/* the same PIN, its file written anew and with a newline now */
	(void)snprintf(start.u.start.refused_pin,
	    sizeof(start.u.start.refused_pin), "%s", print);
	assert_int_equal(worker_start(&w, &start, "9999\n"), HSM_FAILED);
	assert_string_equal(w.got.u.failed.stage, "pin-unchanged");
	assert_int_equal(worker_end(&w), 1);
	assert_int_equal(file_size(logins), 1);

	assert_int_equal(worker_start(&w, &start, "1234\r\n"), HSM_HELLO);
	assert_int_equal(worker_end(&w), 0);
	assert_int_equal(file_size(logins), 2);
}

static void
without_a_usable_pin_there_is_no_login(void **ctx)
{
	static char long_pin[300];
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	const struct {
		const char *pin, *says;
	} cases[] = {
		{ NULL, "no PIN was given" },
		{ "", "no PIN was given" },
		{ "\n", "empty" },
		{ "1234\n5678\n", "more than one line" },
		{ long_pin, "longer than 255" },
	};
	struct worker w;
	char logins[128];

	(void)ctx;
	memset(long_pin, '1', sizeof(long_pin) - 1);
	path_in(logins, sizeof(logins), "logins");
	knob("KSMFAKE_LOGINS", logins);
	for (size_t i = 0; i < nitems(cases); i++) {
		assert_int_equal(
		    worker_start(&w, &start, cases[i].pin), HSM_FAILED);
		assert_string_equal(w.got.u.failed.stage, "pin");
		if (strstr(w.got.u.failed.text, cases[i].says) == NULL)
			fail_msg("\"%s\" does not say \"%s\"",
			    w.got.u.failed.text, cases[i].says);
		assert_string_equal(w.got.u.failed.pin_print, "");
		assert_int_equal(worker_end(&w), 1);
	}
	assert_int_equal(file_size(logins), 0);
}

static void
a_pin_of_255_bytes_is_good(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;
	char pin[256 + 2];

	(void)ctx;
	memset(pin, 'x', 255);
	pin[255] = '\0';
	knob("KSMFAKE_PIN", pin);
	(void)strcat(pin, "\r\n");
	assert_int_equal(worker_start(&w, &start, pin), HSM_HELLO);
	assert_int_equal(worker_end(&w), 0);
}

static void
a_token_that_is_not_seen_is_looked_for_again(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_ABSENT", "2");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(w.got.u.hello.starts, 3);
	assert_int_equal(worker_end(&w), 0);

	knob("KSMFAKE_ABSENT", "99");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_FAILED);
	assert_string_equal(w.got.u.failed.stage, "token");
	assert_int_equal(w.got.u.failed.group, CKRG_TOKEN);
	assert_non_null(strstr(w.got.u.failed.text, "seen: none"));
	assert_int_equal(worker_end(&w), 1);
}

static void
another_label_never_opens_a_token(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;
	char logins[128];

	(void)ctx;
	path_in(logins, sizeof(logins), "logins");
	knob("KSMFAKE_LOGINS", logins);
	(void)snprintf(start.u.start.label, sizeof(start.u.start.label), "fak");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_FAILED);
	assert_string_equal(w.got.u.failed.stage, "token");
	assert_non_null(strstr(w.got.u.failed.text, "\"fake\" (serial 0001)"));
	assert_int_equal(worker_end(&w), 1);
	assert_int_equal(file_size(logins), 0);
}

static void
two_tokens_of_one_label_need_a_serial(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;
	char logins[128];

	(void)ctx;
	path_in(logins, sizeof(logins), "logins");
	knob("KSMFAKE_LOGINS", logins);
	knob("KSMFAKE_TOKENS", "2");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_FAILED);
	assert_string_equal(w.got.u.failed.stage, "ambiguous");
	assert_non_null(strstr(w.got.u.failed.text, "serial 0001-2"));
	assert_int_equal(worker_end(&w), 1);
	assert_int_equal(file_size(logins), 0);

	(void)snprintf(
	    start.u.start.serial, sizeof(start.u.start.serial), "0001-2");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_string_equal(w.got.u.hello.serial, "0001-2");
	assert_int_equal(worker_end(&w), 0);
}

static void
a_token_can_be_named_by_uri(void **ctx)
{
	static const struct {
		const char *uri;
		enum hsm_type answer;
		const char *stage;
	} cases[] = {
		{ "pkcs11:token=fake", HSM_HELLO, "" },
		{ "pkcs11:token=fake;serial=0001", HSM_HELLO, "" },
		{ "pkcs11:token=fake;serial=0002", HSM_FAILED, "token" },
		{ "pkcs11:serial=0001;model=real", HSM_FAILED, "token" },
		{ "pkcs12:token=fake", HSM_FAILED, "token" },
		/* a PIN in the URI is neither used nor repeated */
		{ "pkcs11:token=no?pin-value=S3cret", HSM_FAILED, "token" },
	};
	struct worker w;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct hsm_msg start = start_of(PURPOSE_GENERATOR);

		start.u.start.label[0] = '\0';
		(void)snprintf(start.u.start.uri, sizeof(start.u.start.uri),
		    "%s", cases[i].uri);
		assert_int_equal(
		    worker_start(&w, &start, "1234"), cases[i].answer);
		if (cases[i].answer == HSM_FAILED)
			assert_string_equal(
			    w.got.u.failed.stage, cases[i].stage);
		if (cases[i].answer == HSM_FAILED)
			assert_null(strstr(w.got.u.failed.text, "S3cret"));
		(void)worker_end(&w);
	}
}

static void
a_module_that_cannot_be_used_is_named(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;

	(void)ctx;
	(void)snprintf(start.u.start.module, sizeof(start.u.start.module),
	    "/nonexistent/module.so");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_FAILED);
	assert_string_equal(w.got.u.failed.stage, "module");
	assert_string_equal(w.got.u.failed.text,
	    "/nonexistent/module.so: couldn't load module: cannot open shared "
	    "object file: No such file or directory");
	assert_int_equal(worker_end(&w), 1);

	memset(start.u.start.module, 'l', 200);
	start.u.start.module[0] = '/';
	(void)snprintf(start.u.start.module + 200, 32, "/module.so");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_FAILED);
	assert_int_equal(strncmp(w.got.u.failed.text, "...ll", 5), 0);
	assert_non_null(strstr(w.got.u.failed.text,
	    "ll/module.so: couldn't load module: cannot open"));
	assert_int_equal(worker_end(&w), 1);

	start = start_of(PURPOSE_GENERATOR);
	knob("KSMFAKE_FAULT", "initialize:*:ckr=0x5");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_FAILED);
	assert_string_equal(w.got.u.failed.stage, "initialize");
	assert_string_equal(w.got.u.failed.name, "CKR_GENERAL_ERROR");
	assert_string_equal(w.got.u.failed.text, "C_Initialize failed");
	assert_int_equal(worker_end(&w), 1);

	knob("KSMFAKE_FAULT", "opensession:*:ckr=0xb1");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_FAILED);
	assert_string_equal(w.got.u.failed.stage, "session");
	assert_int_equal(w.got.u.failed.group, CKRG_SESSION);
	assert_int_equal(worker_end(&w), 1);

	knob("KSMFAKE_FAULT", "login:*:ckr=0x30");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_FAILED);
	assert_string_equal(w.got.u.failed.stage, "login");
	assert_string_equal(w.got.u.failed.pin_print, "");
	assert_int_equal(worker_end(&w), 1);

	knob("KSMFAKE_FAULT", "login:*:ckr=0x100"); /* already logged in */
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(worker_end(&w), 0);
}

/* ---- generate ---------------------------------------------------------- */

static const struct {
	int alg, bits;
	int64_t key_type;
	const char *mechanism;
	size_t point, signature; /* bytes */
} algorithms[] = {
	{ 5, 1024, 0, "CKM_SHA256_RSA_PKCS", 0, 128 },
	{ 7, 1024, 0, "CKM_SHA256_RSA_PKCS", 0, 128 },
	{ 8, 2048, 0, "CKM_SHA256_RSA_PKCS", 0, 256 },
	{ 10, 1024, 0, "CKM_SHA256_RSA_PKCS", 0, 128 },
	{ 13, 256, 3, "CKM_ECDSA", 2 + 65, 64 },
	{ 14, 384, 3, "CKM_ECDSA", 2 + 97, 96 },
	{ 15, 256, 0x40, "CKM_EDDSA", 2 + 32, 64 },
	{ 16, 456, 0x40, "CKM_EDDSA", 2 + 57, 114 },
};

static void
evidence_is_good(const struct hsm_evidence *e, size_t i)
{
	assert_true(e->is_private);
	assert_true(e->is_sensitive);
	assert_false(e->is_extractable);
	assert_true(e->is_token);
	assert_true(e->can_sign);
	assert_true(e->label_ok);
	assert_true(e->id_ok);
	assert_true(e->public_ok);
	assert_int_equal(e->key_type, algorithms[i].key_type);
	assert_string_equal(e->mechanism, algorithms[i].mechanism);
	assert_string_equal(e->sign_ckr, "");
	assert_int_equal(strlen(e->signature), 2 * algorithms[i].signature);
	assert_int_equal(strlen(e->point), 2 * algorithms[i].point);
	if (algorithms[i].key_type == 0) {
		assert_int_equal(e->bits, algorithms[i].bits);
		assert_int_equal(
		    strlen(e->modulus), 2 * algorithms[i].signature);
		assert_string_equal(e->exponent, "010001");
	}
}

static void
what_the_token_says_is_named_once(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_FAULT", "generate:*:ckr=0x5");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_UNKNOWN);
	assert_string_equal(w.got.u.no.name, "CKR_GENERAL_ERROR");
	assert_string_equal(w.got.u.no.text, "C_GenerateKeyPair failed");
	(void)worker_end(&w);
}

/* Make one of each, look with another process, prove each. */
static void
all_algorithms(const struct hsm_msg *start)
{
	struct hsm_msg look = *start;
	struct worker w;
	int n = (int)nitems(algorithms);

	assert_int_equal(worker_start(&w, start, "1234"), HSM_HELLO);
	for (int i = 0; i < n; i++) {
		if (generate(&w, i, algorithms[i].alg, algorithms[i].bits) !=
		    HSM_GENERATED)
			fail_msg("algorithm %d: %s", algorithms[i].alg,
			    w.got.u.no.text);
		assert_int_equal(w.got.u.generated.job, i);
		assert_true(
		    w.got.u.generated.ended >= w.got.u.generated.started);
		evidence_is_good(&w.got.u.generated.evidence, (size_t)i);
	}
	assert_int_equal(worker_end(&w), 0);

	look.u.start.purpose = PURPOSE_VERIFIER;
	assert_int_equal(worker_start(&w, &look, "1234"), HSM_HELLO);
	assert_int_equal(enumerate(&w, dir, NULL), HSM_LISTED);
	assert_int_equal(w.got.u.listed.privates, n);
	assert_int_equal(w.got.u.listed.publics, n);
	assert_int_equal(w.got.u.listed.nameless, 0);
	for (int i = 0; i < n; i++) {
		assert_int_equal(prove(&w, i, algorithms[i].alg), HSM_PROOF);
		assert_int_equal(w.got.u.proof.privates, 1);
		assert_int_equal(w.got.u.proof.publics, 1);
		evidence_is_good(&w.got.u.proof.evidence, (size_t)i);
	}
	assert_int_equal(prove(&w, 999, 8), HSM_PROOF);
	assert_int_equal(w.got.u.proof.privates, 0);
	assert_int_equal(w.got.u.proof.publics, 0);
	assert_int_equal(worker_end(&w), 0);
}

static void
makes_and_proves_every_algorithm(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);

	(void)ctx;
	all_algorithms(&start);
}

static void
chatter_of_the_module_is_harmless(void **ctx)
{
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_PRINT", "1");
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);
}

/* What one answer of C_GenerateKeyPair means, and whether it goes on. */
static void
a_return_code_proves_what_it_proves(void **ctx)
{
	static const struct {
		const char *fault;
		enum hsm_type answer;
		enum ckr_group group;
		bool lives;
	} cases[] = {
		{ "0x13", HSM_REFUSED, CKRG_POLICY, true },
		{ "0x70", HSM_REFUSED, CKRG_POLICY, true },
		{ "0x31", HSM_REFUSED, CKRG_FULL, true },
		{ "0xe2", HSM_REFUSED, CKRG_OTHER, true },
		{ "0xa3", HSM_REFUSED, CKRG_PIN, true },
		{ "0x101", HSM_REFUSED, CKRG_LOGIN, false },
		{ "0x5", HSM_UNKNOWN, CKRG_NOTHING, false },
		{ "0x6", HSM_UNKNOWN, CKRG_NOTHING, false },
		{ "0x2", HSM_UNKNOWN, CKRG_SESSION, false },
		{ "0x30", HSM_UNKNOWN, CKRG_TOKEN, false },
		{ "0xe0", HSM_UNKNOWN, CKRG_TOKEN, false },
		{ "0xb3", HSM_UNKNOWN, CKRG_SESSION, false },
		{ "0x190", HSM_UNKNOWN, CKRG_SESSION, false },
		{ "0x80000001", HSM_UNKNOWN, CKRG_NOTHING, false },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct worker w;
		char fault[64];

		(void)snprintf(
		    fault, sizeof(fault), "generate:1:ckr=%s", cases[i].fault);
		knob("KSMFAKE_FAULT", fault);
		worker_ready(&w, PURPOSE_GENERATOR);
		if (generate(&w, 1, 13, 256) != cases[i].answer ||
		    w.got.u.no.group != cases[i].group)
			fail_msg("%s: %s, group %s", fault,
			    hsm_type_text(w.got.type),
			    ckr_group_text(w.got.u.no.group));
		assert_string_equal(w.got.u.no.stage, "generate");
		if (cases[i].lives) {
			assert_int_equal(
			    generate(&w, (int)i + 2, 13, 256), HSM_GENERATED);
			assert_int_equal(worker_end(&w), 0);
		} else {
			assert_int_equal(hear(&w), HSM__TYPES);
			assert_int_equal(worker_end(&w), 1);
		}
	}
}

static void
a_no_that_leaves_half_a_key_is_no_clear_no(void **ctx)
{
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_FAULT", "generate:1:ckr=0x13");
	knob("KSMFAKE_LIE", "half-no");
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_UNKNOWN);
	assert_int_equal(w.got.u.no.group, CKRG_POLICY);
	assert_int_equal(worker_end(&w), 1);
	token_holds(0, 1);
}

static void
an_answer_lost_after_the_work_is_unknown(void **ctx)
{
	struct worker w;

	(void)ctx;
	/* the code is a clear no, but the key is there */
	knob("KSMFAKE_FAULT", "generate:1:ckr-after=0x13");
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_UNKNOWN);
	assert_int_equal(worker_end(&w), 1);
	token_holds(1, 1);
}

static void
a_full_token_refuses_and_says_full(void **ctx)
{
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_CAPACITY", "3");
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
	assert_int_equal(generate(&w, 2, 13, 256), HSM_REFUSED);
	assert_int_equal(w.got.u.no.group, CKRG_FULL);
	assert_int_equal(worker_end(&w), 0);

	knob("KSMFAKE_LIE", "half-full");
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 3, 13, 256), HSM_UNKNOWN);
	assert_int_equal(w.got.u.no.group, CKRG_FULL);
	assert_int_equal(worker_end(&w), 1);
}

static void
a_crash_costs_one_process(void **ctx)
{
	static const struct {
		const char *fault;
		int status;
		int64_t privates, publics; /* added */
	} cases[] = {
		{ "generate:1:abort", -SIGABRT, 0, 0 },
		{ "generate:1:segv-between", -SIGSEGV, 0, 1 },
		{ "generate:1:segv-after", -SIGSEGV, 1, 1 },
		{ "generate:1:exit-after", 97, 1, 1 },
	};
	int64_t privates = 0, publics = 0;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct worker w;

		knob("KSMFAKE_FAULT", cases[i].fault);
		worker_ready(&w, PURPOSE_GENERATOR);
		assert_int_equal(generate(&w, (int)i, 13, 256), HSM__TYPES);
		assert_int_equal(worker_end(&w), cases[i].status);
		privates += cases[i].privates;
		publics += cases[i].publics;
		(void)unsetenv("KSMFAKE_FAULT");
		token_holds(privates, publics);
	}
}

static void
a_module_that_heals_after_a_restart_is_given_one(void **ctx)
{
	struct worker w;
	char healed[128];

	(void)ctx;
	path_in(healed, sizeof(healed), "healed");
	knob("KSMFAKE_HEALED", healed);
	knob("KSMFAKE_FAULT", "generate:2+:ckr=0x5");
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
	assert_int_equal(generate(&w, 2, 13, 256), HSM_UNKNOWN);
	assert_int_equal(worker_end(&w), 1);
	worker_ready(&w, PURPOSE_GENERATOR);
	for (int n = 3; n < 6; n++)
		assert_int_equal(generate(&w, n, 13, 256), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);
}

static void
what_the_token_made_of_it_is_reported(void **ctx)
{
	static const struct {
		const char *lie;
		bool private, sensitive, extractable, token, label, id, public;
		int64_t bits;
	} cases[] = {
		{ "none", true, true, false, true, true, true, true, 1024 },
		{ "wrong-id", true, true, false, true, true, false, true,
		    1024 },
		{ "short-id", true, true, false, true, true, false, true,
		    1024 },
		{ "wrong-label", true, true, false, true, false, true, true,
		    1024 },
		{ "wrong-size", true, true, false, true, true, true, true,
		    512 },
		{ "not-sensitive", true, false, false, true, true, true, true,
		    1024 },
		{ "extractable", true, true, true, true, true, true, true,
		    1024 },
		{ "not-private", false, true, false, true, true, true, true,
		    1024 },
		{ "not-token", true, true, false, false, true, true, false,
		    1024 },
		{ "no-public", true, true, false, true, true, true, false,
		    1024 },
		{ "no-private", false, false, true, false, false, false, true,
		    1024 },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		const struct hsm_evidence *e;
		struct worker w;

		knob("KSMFAKE_LIE", cases[i].lie);
		worker_ready(&w, PURPOSE_GENERATOR);
		assert_int_equal(generate(&w, (int)i, 8, 1024), HSM_GENERATED);
		e = &w.got.u.generated.evidence;
		if (e->is_private != cases[i].private ||
		    e->is_sensitive != cases[i].sensitive ||
		    e->is_extractable != cases[i].extractable ||
		    e->is_token != cases[i].token ||
		    e->label_ok != cases[i].label || e->id_ok != cases[i].id ||
		    e->public_ok != cases[i].public || e->bits != cases[i].bits)
			fail_msg("%s: %d %d %d %d %d %d %d %d", cases[i].lie,
			    e->is_private, e->is_sensitive, e->is_extractable,
			    e->is_token, e->label_ok, e->id_ok, e->public_ok,
			    (int)e->bits);
		assert_int_equal(worker_end(&w), 0);
	}
}

static void
extractable_is_asked_for_when_configured(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;

	(void)ctx;
	start.u.start.extractable = true;
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(generate(&w, 1, 8, 1024), HSM_GENERATED);
	assert_true(w.got.u.generated.evidence.is_extractable);
	assert_true(w.got.u.generated.evidence.is_sensitive);
	assert_int_equal(worker_end(&w), 0);
}

static void
without_sha256_the_digest_is_made_outside(void **ctx)
{
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_NO_MECH", "0x40");
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 1, 8, 1024), HSM_GENERATED);
	assert_string_equal(
	    w.got.u.generated.evidence.mechanism, "CKM_RSA_PKCS");
	assert_int_equal(strlen(w.got.u.generated.evidence.signature), 256);
	assert_int_equal(worker_end(&w), 0);
}

static void
an_edwards_curve_is_asked_for_in_both_forms(void **ctx)
{
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_CURVES", "name");
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 1, 15, 256), HSM_GENERATED);
	assert_int_equal(generate(&w, 2, 16, 456), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);
	token_holds(2, 2);

	knob("KSMFAKE_CURVES", "neither");
	knob("KSMFAKE_NO_MECH", "0x1055");
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 3, 15, 256), HSM_REFUSED);
	assert_string_equal(w.got.u.no.name, "CKR_MECHANISM_INVALID");
	assert_int_equal(w.got.u.no.group, CKRG_POLICY);
	assert_int_equal(generate(&w, 4, 13, 256), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);
}

static void
a_key_is_not_lost_because_it_cannot_sign(void **ctx)
{
	static const struct {
		const char *fault, *name;
		int status;
	} cases[] = {
		{ "sign:1:ckr=0x68", "CKR_KEY_FUNCTION_NOT_PERMITTED", 0 },
		{ "signinit:1:ckr=0x5", "CKR_GENERAL_ERROR", 1 },
		{ "sign:1:ckr=0x30", "CKR_DEVICE_ERROR", 1 },
		{ "getattr:1+:ckr=0x30", "CKR_DEVICE_ERROR", 1 },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct worker w;

		knob("KSMFAKE_FAULT", cases[i].fault);
		worker_ready(&w, PURPOSE_GENERATOR);
		assert_int_equal(generate(&w, (int)i, 13, 256), HSM_GENERATED);
		assert_string_equal(
		    w.got.u.generated.evidence.sign_ckr, cases[i].name);
		assert_string_equal(w.got.u.generated.evidence.signature, "");
		assert_int_equal(worker_end(&w), cases[i].status);
	}
}

static void
one_bad_attribute_does_not_hide_the_others(void **ctx)
{
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_WHOLE", "1");
	knob("KSMFAKE_LIE", "no-public");
	worker_ready(&w, PURPOSE_GENERATOR);
	/* the private half has no CKA_EC_POINT: the whole call fails */
	assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
	assert_true(w.got.u.generated.evidence.is_sensitive);
	assert_true(w.got.u.generated.evidence.id_ok);
	assert_string_equal(w.got.u.generated.evidence.point, "");
	assert_int_equal(strlen(w.got.u.generated.evidence.signature), 128);
	assert_int_equal(worker_end(&w), 0);
}

static void
an_id_that_is_taken_is_refused_when_asked_to_look(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;

	(void)ctx;
	start.u.start.search_first = true;
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_REFUSED);
	assert_string_equal(w.got.u.no.stage, "search");
	assert_int_equal(w.got.u.no.group, CKRG_OTHER);
	assert_int_equal(generate(&w, 2, 13, 256), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);
	token_holds(2, 2);
}

static void
a_skipped_public_half_leaves_its_numbers(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;

	(void)ctx;
	start.u.start.skip_public = true;
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(generate(&w, 1, 8, 1024), HSM_GENERATED);
	assert_true(w.got.u.generated.evidence.public_ok);
	assert_int_equal(strlen(w.got.u.generated.evidence.modulus), 256);
	/* the public numbers of EC keys are in no other place */
	assert_int_equal(generate(&w, 2, 13, 256), HSM_GENERATED);
	assert_true(w.got.u.generated.evidence.public_ok);
	assert_int_equal(worker_end(&w), 0);
	token_holds(2, 1);

	start.u.start.purpose = PURPOSE_VERIFIER;
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	assert_int_equal(prove(&w, 1, 8), HSM_PROOF);
	assert_int_equal(w.got.u.proof.publics, 0);
	assert_true(w.got.u.proof.evidence.public_ok);
	assert_string_equal(w.got.u.proof.evidence.exponent, "010001");
	assert_int_equal(strlen(w.got.u.proof.evidence.signature), 256);
	assert_int_equal(worker_end(&w), 0);
}

static void
an_impatient_terminal_does_not_stop_a_call(void **ctx)
{
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_FAULT", "generate:1:hang=1");
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(kill(w.pid, SIGINT), 0);
	assert_int_equal(kill(w.pid, SIGTERM), 0);
	assert_int_equal(kill(w.pid, SIGHUP), 0);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);
}

static void
an_orphan_finishes_its_key_and_leaves(void **ctx)
{
	struct hsm_msg m;
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_DELAY_MS", "200");
	worker_ready(&w, PURPOSE_GENERATOR);
	memset(&m, 0, sizeof(m));
	m.type = HSM_GENERATE;
	m.u.generate.id = id_of(1);
	m.u.generate.alg = 13;
	m.u.generate.bits = 256;
	send_msg(&w, &m);
	assert_int_equal(worker_end(&w), 0);
	token_holds(1, 1);
}

/* ---- enumerate, prove, destroy ----------------------------------------- */

static void
a_token_is_told_in_pages_and_sorted(void **ctx)
{
	struct hsm_listed pages;
	char path[128], hex[KEY_ID_HEX], long_id[201];
	struct key_id id;
	struct worker w;
	FILE *f;

	(void)ctx;
	path_in(path, sizeof(path), "store");
	f = fopen(path, "we");
	assert_non_null(f);
	memset(long_id, 'a', 200);
	long_id[200] = '\0';
	for (int n = 0; n < 1200; n++) {
		id = id_of(n);
		key_id_format(&id, hex);
		store_line(f, 2 * n + 1, 3, hex, "ab");
		if (n % 2 == 0)
			store_line(f, 2 * n + 2, 2, hex, "ab");
	}
	store_line(f, 9001, 3, "0102", "-"); /* another length of id */
	store_line(f, 9002, 2, "01", "ab");
	store_line(f, 9008, 2, long_id, "-");
	store_line(f, 9003, 3, "-", "ab"); /* no id, but a label */
	store_line(f, 9004, 3, "-", "-");  /* debris */
	store_line(f, 9005, 2, "-", "-");
	store_line(f, 9006, 1, "-", "ab"); /* a certificate */
	store_line(f, 9007, 4, hex, "ab"); /* a secret key with a good id */
	(void)fclose(f);

	worker_ready(&w, PURPOSE_VERIFIER);
	assert_int_equal(enumerate(&w, "", &pages), HSM_LISTED);
	assert_int_equal(w.got.u.listed.privates, 1200);
	assert_int_equal(w.got.u.listed.publics, 600);
	assert_int_equal(w.got.u.listed.foreign, 4);
	assert_int_equal(w.got.u.listed.nameless, 2);
	assert_int_equal(w.got.u.listed.other, 2);
	assert_int_equal(w.got.u.listed.pages, 2);
	assert_int_equal(pages.pages, 2);
	assert_int_equal(pages.privates, 1200);
	assert_int_equal(pages.publics, 600);
	/* and once more, with the same worker */
	assert_int_equal(enumerate(&w, dir, &pages), HSM_LISTED);
	assert_int_equal(pages.privates, 1200);
	assert_int_equal(worker_end(&w), 0);
}

static void
only_debris_is_swept_and_only_all_of_it(void **ctx)
{
	struct hsm_msg m;
	struct worker w;
	char path[128];
	FILE *f;

	(void)ctx;
	path_in(path, sizeof(path), "store");
	f = fopen(path, "we");
	assert_non_null(f);
	store_line(f, 1, 3, "-", "-");	/* somebody's: a token object */
	store_line(f, 2, 2, "-", "ab"); /* somebody's: a label */
	(void)fprintf(f, "3 3 0 0000000 - - -\n4 2 0 0000000 - - -\n");
	(void)fclose(f);

	worker_ready(&w, PURPOSE_DESTROYER);
	memset(&m, 0, sizeof(m));
	m.type = HSM_INSPECT;
	m.u.inspect.job = 500;
	send_msg(&w, &m);
	while (hear(&w) == HSM_OBJECTS)
		;
	assert_int_equal(w.got.type, HSM_LISTED);
	assert_int_equal(w.got.u.listed.nameless, 2);
	assert_int_equal(w.got.u.listed.foreign, 2);
	assert_int_equal(sweep(&w, 3), HSM_REFUSED);
	assert_int_equal(sweep(&w, 2), HSM_SWEPT);
	assert_int_equal(w.got.u.swept.n, 2);
	assert_int_equal(sweep(&w, 2), HSM_REFUSED);
	assert_int_equal(worker_end(&w), 0);
}

static void
an_unreadable_object_stops_nobody(void **ctx)
{
	struct worker w;

	(void)ctx;
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
	assert_int_equal(generate(&w, 2, 13, 256), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);

	/* one object: the call, then each attribute alone; and again */
	knob("KSMFAKE_FAULT",
	    "getattr:1:ckr=0x5,getattr:2:ckr=0x5,getattr:3:ckr=0x5");
	worker_ready(&w, PURPOSE_VERIFIER);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	assert_int_equal(w.got.u.listed.privates, 2);
	assert_int_equal(w.got.u.listed.publics, 2);
	assert_int_equal(w.got.u.listed.nameless, 0);
	assert_int_equal(worker_end(&w), 0);

	knob("KSMFAKE_FAULT", "getattr:1+:ckr=0x5");
	worker_ready(&w, PURPOSE_VERIFIER);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	assert_int_equal(w.got.u.listed.nameless, 4);
	assert_int_equal(worker_end(&w), 0);
}

static void
a_token_that_is_lost_is_not_called_empty(void **ctx)
{
	static const struct {
		const char *fault, *lie;
		enum ckr_group group;
	} cases[] = {
		{ "find:1:ckr=0x30", "none", CKRG_TOKEN },
		{ "getattr:2:ckr=0xb3", "none", CKRG_SESSION },
		{ "tokeninfo:2+:ckr=0xe0", "empty", CKRG_TOKEN },
		{ "tokeninfo:2+:ckr=0x5", "empty", CKRG_NOTHING },
	};
	struct worker w;

	(void)ctx;
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);
	for (size_t i = 0; i < nitems(cases); i++) {
		knob("KSMFAKE_FAULT", cases[i].fault);
		knob("KSMFAKE_LIE", cases[i].lie);
		worker_ready(&w, PURPOSE_VERIFIER);
		assert_int_equal(enumerate(&w, "", NULL), HSM_UNKNOWN);
		assert_int_equal(w.got.u.no.group, cases[i].group);
		assert_string_equal(w.got.u.no.stage, "enumerate");
		assert_int_equal(worker_end(&w), 1);
	}
}

static void
a_sync_that_fails_is_said_before_any_listing(void **ctx)
{
	struct worker w;

	(void)ctx;
	worker_ready(&w, PURPOSE_VERIFIER);
	assert_int_equal(enumerate(&w, "/nonexistent", NULL), HSM_REFUSED);
	assert_string_equal(w.got.u.no.stage, "sync");
	assert_non_null(strstr(w.got.u.no.text, "/nonexistent: No such file"));
	assert_int_equal(enumerate(&w, dir, NULL), HSM_LISTED);
	assert_int_equal(worker_end(&w), 0);
}

static void
a_torn_key_and_a_failing_token_are_told_apart(void **ctx)
{
	static const struct {
		const char *fault;
		int n; /* pairs in the token */
		enum hsm_type answer;
		bool lives;
	} cases[] = {
		/* another key signs: it is this key */
		{ "sign:1:ckr=0x5", 2, HSM_PROOF, true },
		{ "getattr:5:ckr=0x5,sign:1:ckr=0x5", 2, HSM_PROOF, true },
		/* nobody to compare with: it is this key, and a fresh start */
		{ "sign:1+:ckr=0x5", 3, HSM_PROOF, false },
		/* no key signs: it is the token or the process */
		{ "sign:1+:ckr=0x5", 4, HSM_UNKNOWN, false },
		{ "sign:1:ckr=0x30", 4, HSM_UNKNOWN, false },
	};
	int n = 0;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct worker w;

		(void)unsetenv("KSMFAKE_FAULT");
		worker_ready(&w, PURPOSE_GENERATOR);
		while (n < cases[i].n) {
			n++;
			assert_int_equal(
			    generate(&w, n, 13 + n % 3, 0), HSM_GENERATED);
		}
		assert_int_equal(worker_end(&w), 0);

		knob("KSMFAKE_FAULT", cases[i].fault);
		worker_ready(&w, PURPOSE_SETTLER);
		assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
		assert_int_equal(prove(&w, 1, 14), cases[i].answer);
		if (cases[i].answer == HSM_PROOF)
			assert_string_equal(w.got.u.proof.evidence.sign_ckr,
			    "CKR_GENERAL_ERROR");
		if (cases[i].lives)
			assert_int_equal(prove(&w, 2, 15), HSM_PROOF);
		else
			assert_int_equal(hear(&w), HSM__TYPES);
		assert_int_equal(worker_end(&w), cases[i].lives ? 0 : 1);
	}
}

static void
two_pairs_of_one_id_are_counted(void **ctx)
{
	struct worker w;

	(void)ctx;
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);
	worker_ready(&w, PURPOSE_SETTLER);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	assert_int_equal(prove(&w, 1, 13), HSM_PROOF);
	assert_int_equal(w.got.u.proof.privates, 2);
	assert_int_equal(w.got.u.proof.publics, 2);
	assert_int_equal(destroy(&w, 1, HALF_PUBLIC), HSM_REFUSED);
	assert_int_equal(worker_end(&w), 0);
}

static void
only_a_lonely_half_is_destroyed(void **ctx)
{
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_LIE", "no-private@2,no-public@3");
	worker_ready(&w, PURPOSE_GENERATOR);
	for (int n = 1; n <= 3; n++)
		assert_int_equal(generate(&w, n, 13, 256), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);
	token_holds(2, 2);

	worker_ready(&w, PURPOSE_SETTLER);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	/* the whole pair, either half of it; the half that is not there */
	assert_int_equal(destroy(&w, 1, HALF_PRIVATE), HSM_REFUSED);
	assert_int_equal(destroy(&w, 1, HALF_PUBLIC), HSM_REFUSED);
	assert_non_null(strstr(w.got.u.no.text, "1 private, 1 public"));
	assert_int_equal(destroy(&w, 2, HALF_PRIVATE), HSM_REFUSED);
	assert_int_equal(destroy(&w, 3, HALF_PUBLIC), HSM_REFUSED);
	assert_int_equal(destroy(&w, 4, HALF_PUBLIC), HSM_REFUSED);

	assert_int_equal(destroy(&w, 2, HALF_PUBLIC), HSM_DESTROYED);
	assert_int_equal(destroy(&w, 2, HALF_PUBLIC), HSM_REFUSED);
	assert_int_equal(destroy(&w, 3, HALF_PRIVATE), HSM_DESTROYED);
	assert_int_equal(worker_end(&w), 0);
	token_holds(1, 1);
}

static void
a_handle_that_stands_for_another_object_is_spared(void **ctx)
{
	char path[128], hex[KEY_ID_HEX];
	struct key_id id = id_of(1), other = id_of(2);
	struct worker w;
	FILE *f;

	(void)ctx;
	path_in(path, sizeof(path), "store");
	f = fopen(path, "we");
	assert_non_null(f);
	key_id_format(&id, hex);
	store_line(f, 5, 2, hex, hex);
	(void)fclose(f);
	worker_ready(&w, PURPOSE_SETTLER);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	f = fopen(path, "we");
	assert_non_null(f);
	key_id_format(&other, hex);
	store_line(f, 5, 2, hex, hex);
	store_line(f, 6, 2, hex, hex);
	(void)fclose(f);
	assert_int_equal(destroy(&w, 1, HALF_PUBLIC), HSM_REFUSED);
	assert_non_null(strstr(w.got.u.no.text, "another object"));
	assert_int_equal(worker_end(&w), 0);
	token_holds(0, 2);
}

static void
a_destruction_without_a_clear_answer_is_unknown(void **ctx)
{
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_LIE", "no-private");
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);
	knob("KSMFAKE_FAULT", "destroy:1:ckr-after=0x30");
	worker_ready(&w, PURPOSE_SETTLER);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	assert_int_equal(destroy(&w, 1, HALF_PUBLIC), HSM_UNKNOWN);
	assert_int_equal(w.got.u.no.group, CKRG_TOKEN);
	assert_int_equal(worker_end(&w), 1);
	token_holds(0, 0);
}

/* ---- protocol ----------------------------------------------------------- */

static void
a_purpose_is_kept(void **ctx)
{
	struct worker w;

	(void)ctx;
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(destroy(&w, 1, HALF_PUBLIC), HSM__TYPES);
	assert_int_equal(worker_end(&w), 3);
	worker_ready(&w, PURPOSE_GENERATOR);
	assert_int_equal(enumerate(&w, "", NULL), HSM__TYPES);
	assert_int_equal(worker_end(&w), 3);
	worker_ready(&w, PURPOSE_VERIFIER);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	assert_int_equal(destroy(&w, 1, HALF_PUBLIC), HSM__TYPES);
	assert_int_equal(worker_end(&w), 3);
	worker_ready(&w, PURPOSE_SETTLER);
	assert_int_equal(generate(&w, 1, 13, 256), HSM__TYPES);
	assert_int_equal(worker_end(&w), 3);
	token_holds(0, 0);
}

static void
nonsense_ends_the_worker(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_SETTLER);
	struct worker w;

	(void)ctx;
	worker_exec(&w, "1234");
	send_text(&w, "{\"v\":1,\"type\":\"enumerate\",\"job\":1,"
		      "\"sync_path\":\"\"}");
	assert_int_equal(hear(&w), HSM__TYPES);
	assert_int_equal(worker_end(&w), 3);

	worker_exec(&w, "1234");
	send_text(&w, "hello");
	assert_int_equal(hear(&w), HSM__TYPES);
	assert_int_equal(worker_end(&w), 3);

	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	send_msg(&w, &start);
	assert_int_equal(hear(&w), HSM__TYPES);
	assert_int_equal(worker_end(&w), 3);

	/* there is nothing yet whose handles could be used */
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(prove(&w, 1, 13), HSM__TYPES);
	assert_int_equal(worker_end(&w), 3);

	worker_exec(&w, "1234");
	assert_int_equal(worker_end(&w), 0);
}

/* ---- SoftHSM ------------------------------------------------------ */

static void
softhsm_makes_and_proves_every_algorithm(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);

	(void)ctx;
	if (!softhsm_token(&start)) {
		skip();
		return;
	}
	all_algorithms(&start);
}

static void
softhsm_skips_public_halves_and_loses_lonely_ones(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;

	(void)ctx;
	if (!softhsm_token(&start)) {
		skip();
		return;
	}
	start.u.start.skip_public = start.u.start.search_first = true;
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(generate(&w, 1, 8, 1024), HSM_GENERATED);
	assert_true(w.got.u.generated.evidence.public_ok);
	assert_int_equal(generate(&w, 1, 8, 1024), HSM_REFUSED);
	assert_string_equal(w.got.u.no.stage, "search");
	assert_int_equal(worker_end(&w), 0);

	start.u.start.purpose = PURPOSE_SETTLER;
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(enumerate(&w, dir, NULL), HSM_LISTED);
	assert_int_equal(w.got.u.listed.privates, 1);
	assert_int_equal(w.got.u.listed.publics, 0);
	assert_int_equal(prove(&w, 1, 8), HSM_PROOF);
	assert_true(w.got.u.proof.evidence.public_ok);
	assert_int_equal(strlen(w.got.u.proof.evidence.modulus), 256);
	assert_int_equal(destroy(&w, 1, HALF_PRIVATE), HSM_DESTROYED);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	assert_int_equal(w.got.u.listed.privates, 0);
	assert_int_equal(worker_end(&w), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(says_who_the_token_is_and_leaves_at_end_of_file),
		TEST(a_person_who_starts_it_is_told_what_it_is),
		TEST(a_refused_pin_is_not_tried_again),
		TEST(without_a_usable_pin_there_is_no_login),
		TEST(a_pin_of_255_bytes_is_good),
		TEST(a_token_that_is_not_seen_is_looked_for_again),
		TEST(another_label_never_opens_a_token),
		TEST(two_tokens_of_one_label_need_a_serial),
		TEST(a_token_can_be_named_by_uri),
		TEST(a_module_that_cannot_be_used_is_named),
		TEST(makes_and_proves_every_algorithm),
		TEST(what_the_token_says_is_named_once),
		TEST(chatter_of_the_module_is_harmless),
		TEST(a_return_code_proves_what_it_proves),
		TEST(a_no_that_leaves_half_a_key_is_no_clear_no),
		TEST(an_answer_lost_after_the_work_is_unknown),
		TEST(a_full_token_refuses_and_says_full),
		TEST(a_crash_costs_one_process),
		TEST(a_module_that_heals_after_a_restart_is_given_one),
		TEST(what_the_token_made_of_it_is_reported),
		TEST(extractable_is_asked_for_when_configured),
		TEST(without_sha256_the_digest_is_made_outside),
		TEST(an_edwards_curve_is_asked_for_in_both_forms),
		TEST(a_key_is_not_lost_because_it_cannot_sign),
		TEST(one_bad_attribute_does_not_hide_the_others),
		TEST(an_id_that_is_taken_is_refused_when_asked_to_look),
		TEST(a_skipped_public_half_leaves_its_numbers),
		TEST(an_impatient_terminal_does_not_stop_a_call),
		TEST(an_orphan_finishes_its_key_and_leaves),
		TEST(a_token_is_told_in_pages_and_sorted),
		TEST(only_debris_is_swept_and_only_all_of_it),
		TEST(an_unreadable_object_stops_nobody),
		TEST(a_token_that_is_lost_is_not_called_empty),
		TEST(a_sync_that_fails_is_said_before_any_listing),
		TEST(a_torn_key_and_a_failing_token_are_told_apart),
		TEST(two_pairs_of_one_id_are_counted),
		TEST(only_a_lonely_half_is_destroyed),
		TEST(a_handle_that_stands_for_another_object_is_spared),
		TEST(a_destruction_without_a_clear_answer_is_unknown),
		TEST(a_purpose_is_kept),
		TEST(nonsense_ends_the_worker),
		TEST(softhsm_makes_and_proves_every_algorithm),
		TEST(softhsm_skips_public_halves_and_loses_lonely_ones),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
