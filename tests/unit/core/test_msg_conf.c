#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <cmocka.h>

#include "ksmpool/msg_conf.h"

#define PACKETS_MAX 32

struct packets {
	char *text[PACKETS_MAX];
	int fd[PACKETS_MAX];
	size_t n;
};

static enum ksm_err
keep(void *ctx, const char *text, size_t len, int fd, struct ksm_fail *fail)
{
	struct packets *p = ctx;

	(void)fail;
	assert_true(p->n < PACKETS_MAX);
	assert_int_equal(strlen(text), len);
	p->text[p->n] = strdup(text);
	p->fd[p->n++] = fd;
	return KSM_OK;
}

static void
packets_clear(struct packets *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->text[i]);
	memset(p, 0, sizeof(*p));
}

static void
sample(struct conf *c)
{
	struct conf_repository *r;
	struct conf_policy *p;
	struct conf_key *k;

	conf_init(c);
	c->file = strdup("/etc/ksmpool/ksmpool.xml");
	c->state_dir = strdup("/var/lib/ksmpool");
	c->database = strdup("/var/lib/ksmpool/ksmpool.db");
	c->socket_path = strdup("/run/ksmpool/control.sock");
	c->socket_readers = strdup("watchers");
	c->user = strdup("ksmpool");
	c->log_level = 6;
	c->kasp_file = strdup("kasp.xml");
	c->zonelist_file = strdup("zone\xff list.xml");
	c->zonelist = ZONELIST_OK;
	c->zones = INT64_C(5000000000);
	c->owner_file = strdup("/etc/ksmpool/owners");
	c->handout_journal = strdup("/srv/handout.journal");
	c->zones_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	r = conf_repository_add(c, "hsm-a");
	r->module = strdup("/usr/lib/softhsm/libsofthsm2.so");
	r->token_label = strdup("T\303\244st \"quoted\"");
	r->pin = PIN_INLINE;
	r->pin_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	r->capacity = 1000;
	r->skip_public_key = true;
	r->sessions = 2;
	r->on_overdue = OVERDUE_KILL;
	r->kill_after = 60;
	r->sync_path = strdup("/var/lib/softhsm");
	r->hook = strdup("/usr/local/sbin/told");
	r->hook_timeout = 30;
	r->env = calloc(1, sizeof(*r->env));
	r->env[0].name = strdup("SOFTHSM2_CONF");
	r->env[0].value = strdup("/etc/softhsm/softhsm2.conf");
	r->nenv = 1;
	r->attributes = calloc(2, sizeof(*r->attributes));
	r->attributes[0].name = strdup("CKA_DECRYPT");
	r->attributes[0].value = strdup("false");
	r->attributes[1].name = strdup("CKA_VERIFY");
	r->attributes[1].public_half = true;
	r->attributes[1].remove = true;
	r->nattributes = 2;
	r->file = strdup("ksmpool.xml");
	r->line = 17;
	r = conf_repository_add(c, "hsm-b");
	r->token_uri = strdup("pkcs11:token=B");
	r->pin = PIN_CREDENTIAL;
	r->pin_path = strdup("b.pin");
	r->require_backup = true;

	p = conf_policy_add(c, "default");
	p->zones = 3;
	p->owners = 2;
	p->share_keys = true;
	p->purge = 1209600;
	p->line = 4;
	k = conf_key_add(p);
	k->role = ROLE_ZSK;
	k->alg = 13;
	k->bits = 256;
	k->lifetime = INT64_C(7776000);
	k->repository = strdup("hsm-a");
	k->standby = 2;
	k->manual_rollover = true;
	k->pool.strategy = STRATEGY_MINIMUM;
	k->pool.growth = 20;
	k->pool.scope = SCOPE_OWNER;
	k->pool.on_shortage = SHORTAGE_UNCOVERED;
	k = conf_key_add(p);
	k->role = ROLE_KSK;
	k->alg = 13;
	k->bits = 256;
	k->repository = strdup("hsm-a");
	k->pool.strategy = STRATEGY_FILL;
	k->line = 12;
	p = conf_policy_add(c, "through");
	p->passthrough = true;

	assert_int_equal(conf_finding_add(c, CONF_WARNING, CONF_KASP,
	    "kasp.xml", 70000, "a sentence", NULL, "other"), KSM_OK);
	assert_int_equal(conf_finding_add(c, CONF_ERROR, CONF_ZONELIST,
	    "zonelist.xml", 0, "another", "a\nb", NULL), KSM_OK);
}

static void
everything_arrives_as_it_was_sent(void **ctx)
{
	struct conf_decoder d;
	struct packets p = { .n = 0 };
	struct ksm_fail fail;
	const struct conf_repository *r;
	const struct conf_key *k;
	struct conf c, got;

	(void)ctx;
	sample(&c);
	assert_int_equal(conf_encode(&c, keep, &p, &fail), KSM_OK);
	assert_int_equal(p.n, 1 + 2 + 2 + 2 + 1);
	assert_int_equal(p.fd[0], c.zones_fd);
	assert_int_equal(p.fd[1], c.repositories[0].pin_fd);
	assert_int_equal(p.fd[2], -1);

	conf_init(&got);
	conf_decoder_init(&d, &got);
	for (size_t i = 0; i < p.n; i++)
		assert_int_equal(conf_decode(&d, p.text[i], strlen(p.text[i]),
		    p.fd[i] == -1 ? -1 : dup(p.fd[i]), &fail), KSM_OK);
	assert_int_equal(conf_decode_end(&d, &fail), KSM_OK);

	assert_string_equal(got.file, c.file);
	assert_null(got.socket_group);
	assert_string_equal(got.socket_readers, "watchers");
	assert_null(got.opendnssec_file);
	/* JSON is UTF-8: bytes that are not become question marks */
	assert_string_equal(got.zonelist_file, "zone? list.xml");
	assert_true(got.zones == c.zones);
	assert_string_equal(got.owner_file, c.owner_file);
	assert_string_equal(got.handout_journal, c.handout_journal);
	assert_true(got.zones_fd >= 0);
	assert_true(got.zones_fd != c.zones_fd);
	assert_int_equal(got.log_level, 6);
	assert_int_equal(got.nrepositories, 2);
	r = &got.repositories[0];
	assert_string_equal(r->token_label, c.repositories[0].token_label);
	assert_int_equal(r->pin, PIN_INLINE);
	assert_true(r->pin_fd >= 0);
	assert_true(r->pin_fd != c.repositories[0].pin_fd);
	assert_int_equal(r->capacity, 1000);
	assert_true(r->skip_public_key);
	assert_false(r->require_backup);
	assert_int_equal(r->sessions, 2);
	assert_int_equal(r->deadline, 120);
	assert_int_equal(r->on_overdue, OVERDUE_KILL);
	assert_int_equal(r->kill_after, 60);
	assert_string_equal(r->hook, "/usr/local/sbin/told");
	assert_int_equal(r->hook_timeout, 30);
	assert_int_equal(r->nenv, 1);
	assert_string_equal(r->env[0].value, "/etc/softhsm/softhsm2.conf");
	assert_int_equal(r->nattributes, 2);
	assert_false(r->attributes[0].public_half);
	assert_false(r->attributes[0].remove);
	assert_string_equal(r->attributes[0].name, "CKA_DECRYPT");
	assert_string_equal(r->attributes[0].value, "false");
	assert_true(r->attributes[1].public_half);
	assert_true(r->attributes[1].remove);
	assert_string_equal(r->attributes[1].name, "CKA_VERIFY");
	assert_null(r->attributes[1].value);
	assert_int_equal(r->line, 17);
	r = &got.repositories[1];
	assert_null(r->module);
	assert_int_equal(r->pin, PIN_CREDENTIAL);
	assert_string_equal(r->pin_path, "b.pin");
	assert_int_equal(r->pin_fd, -1);
	assert_int_equal(r->capacity, -1);
	assert_int_equal(got.npolicies, 2);
	assert_true(got.policies[0].share_keys);
	assert_int_equal(got.policies[0].purge, 1209600);
	assert_int_equal(got.policies[1].purge, 0);
	assert_int_equal(got.policies[0].zones, 3);
	assert_int_equal(got.policies[0].owners, 2);
	assert_true(got.policies[1].passthrough);
	k = &got.policies[0].keys[0];
	assert_int_equal(k->role, ROLE_ZSK);
	assert_int_equal(k->alg, 13);
	assert_int_equal(k->standby, 2);
	assert_true(k->manual_rollover);
	assert_memory_equal(&k->pool, &c.policies[0].keys[0].pool,
	    sizeof(k->pool));
	assert_int_equal(got.policies[0].keys[1].pool.strategy, STRATEGY_FILL);
	assert_int_equal(got.nfindings, 2);
	assert_int_equal(got.findings[0].line, 70000);
	assert_null(got.findings[0].value);
	assert_string_equal(got.findings[1].value, "a\nb");
	assert_int_equal(got.errors, 1);
	assert_int_equal(got.zonelist_errors, 1);
	assert_int_equal(got.warnings, 1);

	conf_clear(&got);
	conf_clear(&c);
	packets_clear(&p);
}

static void
findings_that_were_not_kept_are_still_counted(void **ctx)
{
	struct conf_decoder d;
	struct packets p = { .n = 0 };
	struct ksm_fail fail;
	struct conf c, got;

	(void)ctx;
	conf_init(&c);
	c.errors = 12345;
	assert_int_equal(conf_encode(&c, keep, &p, &fail), KSM_OK);
	conf_init(&got);
	conf_decoder_init(&d, &got);
	for (size_t i = 0; i < p.n; i++)
		assert_int_equal(conf_decode(&d, p.text[i], strlen(p.text[i]),
		    -1, &fail), KSM_OK);
	assert_int_equal(got.errors, 12345);
	conf_clear(&got);
	packets_clear(&p);
}

static void
a_stream_that_is_cut_anywhere_is_not_used(void **ctx)
{
	struct packets p = { .n = 0 };
	struct ksm_fail fail;
	struct conf c;

	(void)ctx;
	sample(&c);
	assert_int_equal(conf_encode(&c, keep, &p, &fail), KSM_OK);
	for (size_t cut = 0; cut < p.n; cut++) {
		struct conf_decoder d;
		struct conf got;

		conf_init(&got);
		conf_decoder_init(&d, &got);
		for (size_t i = 0; i < cut; i++)
			assert_int_equal(conf_decode(&d, p.text[i],
			    strlen(p.text[i]), p.fd[i] == -1 ? -1 :
			    dup(p.fd[i]), &fail), KSM_OK);
		assert_int_equal(conf_decode_end(&d, &fail), KSM_EPROTO);
		conf_clear(&got);
	}
	conf_clear(&c);
	packets_clear(&p);
}

static void
a_packet_that_is_missing_in_the_middle_is_noticed(void **ctx)
{
	struct packets p = { .n = 0 };
	struct ksm_fail fail;
	struct conf c;

	(void)ctx;
	sample(&c);
	assert_int_equal(conf_encode(&c, keep, &p, &fail), KSM_OK);
	for (size_t skip = 0; skip + 1 < p.n; skip++) {
		enum ksm_err err = KSM_OK;
		struct conf_decoder d;
		struct conf got;

		conf_init(&got);
		conf_decoder_init(&d, &got);
		for (size_t i = 0; i < p.n && err == KSM_OK; i++) {
			if (i == skip)
				continue;
			err = conf_decode(&d, p.text[i], strlen(p.text[i]),
			    p.fd[i] == -1 ? -1 : dup(p.fd[i]), &fail);
		}
		assert_int_equal(err, KSM_EPROTO);
		conf_clear(&got);
	}
	conf_clear(&c);
	packets_clear(&p);
}

/* `text` after good settings; the words of the failure. */
static const char *
after_settings(const char *text, int fd, struct ksm_fail *fail)
{
	struct packets p = { .n = 0 };
	struct conf_decoder d;
	struct conf c, got;
	enum ksm_err err;

	conf_init(&c);
	assert_int_equal(conf_encode(&c, keep, &p, fail), KSM_OK);
	conf_init(&got);
	conf_decoder_init(&d, &got);
	assert_int_equal(conf_decode(&d, p.text[0], strlen(p.text[0]), -1,
	    fail), KSM_OK);
	memset(fail, 0, sizeof(*fail));
	err = conf_decode(&d, text, strlen(text), fd, fail);
	assert_int_equal(err, KSM_EPROTO);
	conf_clear(&got);
	packets_clear(&p);
	return fail->text;
}

#define REPOSITORY(pin, sessions) CHANGED(pin, sessions, "")
#define CHANGED(pin, sessions, attributes)                                    \
	HOOKED(pin, sessions, attributes, "10")
#define HOOKED(pin, sessions, attributes, timeout)                            \
	"{\"v\":1,\"type\":\"repository\",\"name\":\"r\",\"module\":null,"    \
	"\"token_label\":null,\"token_serial\":null,\"token_uri\":null,"      \
	"\"init_reserved\":null,\"pin\":\"" pin "\",\"pin_path\":null,"       \
	"\"capacity\":-1,\"require_backup\":false,\"skip_public_key\":false," \
	"\"allow_extraction\":false,\"search_first\":false,\"sessions\":"     \
	sessions ",\"deadline\":1,\"on_overdue\":\"wait\",\"kill_after\":0,"  \
	"\"keys_per_minute\":0,\"recycle_after\":0,\"sync_path\":null,"       \
	"\"hook\":null,\"hook_timeout\":" timeout ","                       \
	"\"env\":[],\"attributes\":[" attributes "],\"file\":null,"          \
	"\"line\":1}"

#define CHANGE(removed, value)                                                \
	"{\"public_half\":false,\"remove\":" removed ","                      \
	"\"name\":\"CKA_SIGN\",\"value\":" value "}"
#define REMOVAL CHANGE("true", "null")
#define FOUR	REMOVAL "," REMOVAL "," REMOVAL "," REMOVAL
#define EIGHT	FOUR "," FOUR

static void
bad_packets_are_refused_with_words(void **ctx)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{ "", "not a JSON object" },
		{ "[]", "not a JSON object" },
		{ "{\"v\":1}", "without a type" },
		{ "{\"v\":2,\"type\":\"end\"}", "version 2" },
		{ "{\"v\":1,\"type\":\"what\"}", "unknown type" },
		{ "{\"v\":1,\"v\":1,\"type\":\"end\"}", "not a JSON object" },
		{ "{\"v\":1,\"type\":\"end\"}", "repositories" },
		{ "{\"v\":1,\"type\":\"settings\"}", "twice" },
		{ "{\"v\":1,\"type\":\"policy\",\"name\":\"p\"}",
		    "passthrough" },
		{ "{\"v\":1,\"type\":\"policy\",\"name\":\"p\","
		  "\"passthrough\":false,\"share_keys\":false,"
		  "\"purge\":-1,\"zones\":0,"
		  "\"owners\":0,\"keys\":[],\"line\":1}", "purge is -1" },
		{ "{\"v\":1,\"type\":\"policy\",\"name\":\"p\","
		  "\"passthrough\":false,\"share_keys\":false,"
		  "\"purge\":0,\"zones\":-1,"
		  "\"owners\":0,\"keys\":[],\"line\":1}", "zones is -1" },
		{ "{\"v\":1,\"type\":\"policy\",\"name\":\"p\","
		  "\"passthrough\":false,\"share_keys\":false,"
		  "\"purge\":0,\"zones\":2,"
		  "\"owners\":3,\"keys\":[],\"line\":1}",
		    "owners is 3, not 0 to 2" },
		{ "{\"v\":1,\"type\":\"policy\",\"name\":\"p\","
		  "\"passthrough\":false,\"share_keys\":false,"
		  "\"purge\":0,\"zones\":1,"
		  "\"owners\":1,\"keys\":[],\"line\":1,\"more\":1}", "more" },
		{ REPOSITORY("none", "0"), "sessions is 0" },
		{ REPOSITORY("none", "65"), "sessions is 65" },
		{ REPOSITORY("thin air", "1"), "unknown PIN source" },
		{ REPOSITORY("inline", "1"), "without its descriptor" },
		{ HOOKED("none", "1", "", "0"), "hook_timeout is 0" },
		{ HOOKED("none", "1", "", "601"), "hook_timeout is 601" },
		{ CHANGED("none", "1", "1"), "attributes: " },
		{ CHANGED("none", "1", CHANGE("false", "1")),
		    "an addition is a name and a value" },
		{ CHANGED("none", "1", CHANGE("false", "null")),
		    "an addition is a name and a value" },
		{ CHANGED("none", "1", CHANGE("true", "\"1\"")),
		    "a removal is a name and no value" },
		{ CHANGED("none", "1", CHANGE("0", "\"1\"")), "attributes" },
		{ CHANGED("none", "1", "{\"public_half\":false,"
		  "\"remove\":true,\"name\":\"a\"}"), "value" },
		{ CHANGED("none", "1", "{\"public_half\":false,"
		  "\"remove\":true,\"name\":7,\"value\":null}"), "a name" },
		{ CHANGED("none", "1", "{\"public_half\":false,"
		  "\"remove\":true,\"name\":\"a\",\"value\":null,"
		  "\"b\":1}"), "b" },
		{ CHANGED("none", "1", EIGHT "," EIGHT "," REMOVAL),
		    "17 attributes, at most 16" },
	};
	struct ksm_fail fail;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		const char *said = after_settings(cases[i].text, -1, &fail);

		if (strstr(said, cases[i].words) == NULL)
			fail_msg("%s: \"%s\"", cases[i].text, said);
	}
}

static void
a_descriptor_nobody_asked_for_is_closed(void **ctx)
{
	struct ksm_fail fail;
	int fd;

	(void)ctx;
	fd = dup(2);
	assert_true(fd >= 0);
	(void)after_settings(REPOSITORY("none", "1"), fd, &fail);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(errno, EBADF);

	fd = dup(2);
	assert_true(fd >= 0);
	(void)after_settings("{\"v\":1,\"type\":\"policy\"}", fd, &fail);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void
what_does_not_fit_a_packet_is_not_sent(void **ctx)
{
	struct packets p = { .n = 0 };
	struct ksm_fail fail;
	struct conf c;

	(void)ctx;
	conf_init(&c);
	c.file = malloc(MSG_CONF_MAX + 1);
	assert_non_null(c.file);
	memset(c.file, 'x', MSG_CONF_MAX);
	c.file[MSG_CONF_MAX] = '\0';
	assert_int_equal(conf_encode(&c, keep, &p, &fail), KSM_EPROTO);
	assert_non_null(strstr(fail.text, "settings"));
	conf_clear(&c);
	packets_clear(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_arrives_as_it_was_sent),
		cmocka_unit_test(findings_that_were_not_kept_are_still_counted),
		cmocka_unit_test(a_stream_that_is_cut_anywhere_is_not_used),
		cmocka_unit_test(
		    a_packet_that_is_missing_in_the_middle_is_noticed),
		cmocka_unit_test(bad_packets_are_refused_with_words),
		cmocka_unit_test(a_descriptor_nobody_asked_for_is_closed),
		cmocka_unit_test(what_does_not_fit_a_packet_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
