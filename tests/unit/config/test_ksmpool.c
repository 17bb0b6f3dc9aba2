#include "said.h"

#include <glob.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "ksmpool/log.h"

#define DAY	 INT64_C(86400)
#define FIXTURES KSM_FIXTURES "/ksmpool/"
#define SCHEMA	 KSM_FIXTURES "/../../conf/ksmpool.rng"

static struct ksmpool own;

static struct xml_result
read_file(struct conf *c, const char *path)
{
	struct xml_file file = { c, CONF_KSMPOOL, path };
	struct xml_result result;
	struct ksm_fail fail;

	xml_setup();
	conf_init(c);
	assert_int_equal(ksmpool_read(&file, &own, &result, &fail), KSM_OK);
	assert_true(result.opened);
	return result;
}

static struct xml_result
read_text(struct conf *c, const char *text)
{
	struct xml_file file = { c, CONF_KSMPOOL, "/etc/k/ksmpool.xml" };
	struct xml_result result;
	struct ksm_fail fail;

	xml_setup();
	conf_init(c);
	assert_int_equal(ksmpool_read_bytes(&file, text, strlen(text), &own,
	    &result, &fail), KSM_OK);
	return result;
}

static void
done(struct conf *c)
{
	ksmpool_clear(&own);
	conf_clear(c);
}

static void
every_element_arrives(void **ctx)
{
	const struct conf_repository *r;
	struct conf c;

	(void)ctx;
	assert_true(read_file(&c, FIXTURES "good-all.xml").sound);
	assert_int_equal(c.errors, 0);
	assert_string_equal(own.opendnssec, "/etc/opendnssec/conf.xml");
	assert_string_equal(own.zonelist, FIXTURES "zones.xml");
	assert_null(own.kasp);
	assert_string_equal(c.state_dir, "/srv/state");
	assert_string_equal(c.database, FIXTURES "db/keys.db");
	assert_string_equal(c.handout_journal, "/mnt/handout.journal");
	assert_string_equal(c.owner_file, FIXTURES "owners.txt");
	assert_string_equal(c.socket_path, "/run/x/control.sock");
	assert_string_equal(c.socket_group, "operators");
	assert_string_equal(c.socket_readers, "watchers");
	assert_string_equal(c.user, "keys");
	assert_int_equal(c.log_level, LOGL_DEBUG);

	assert_int_equal(own.repositories.n, 2);
	r = &own.repositories.items[0].r;
	assert_string_equal(r->name, "a");
	assert_string_equal(r->module, FIXTURES "lib/a.so");
	assert_string_equal(r->token_uri, "pkcs11:token=A%20B;serial=77");
	assert_null(r->token_label);
	assert_int_equal(r->pin, PIN_INLINE);
	assert_true(r->pin_fd >= 0);
	assert_int_equal(r->capacity, 1000);
	assert_true(r->require_backup);
	assert_true(r->skip_public_key);
	assert_true(r->allow_extraction);
	assert_true(r->search_first);
	assert_int_equal(r->sessions, 64);
	assert_int_equal(r->deadline, 600);
	assert_int_equal(r->on_overdue, OVERDUE_KILL);
	assert_int_equal(r->kill_after, 60);
	assert_int_equal(r->keys_per_minute, 0);
	assert_int_equal(r->recycle_after, 10000);
	assert_string_equal(r->sync_path, FIXTURES "tokens");
	assert_string_equal(r->hook, "/usr/local/sbin/told");
	assert_int_equal(r->hook_timeout, 60);
	assert_string_equal(r->init_reserved, "name=\"x\" path='y'");
	assert_int_equal(r->nenv, 2);
	assert_string_equal(r->env[0].name, "A_CONF");
	assert_string_equal(r->env[0].value, "/etc/a.conf");
	assert_string_equal(r->env[1].value, "");
	assert_int_equal(r->nattributes, 4);
	assert_true(r->attributes[0].public_half);
	assert_true(r->attributes[0].remove);
	assert_string_equal(r->attributes[0].name, "CKA_VERIFY");
	assert_null(r->attributes[0].value);
	assert_false(r->attributes[1].remove);
	assert_string_equal(r->attributes[1].value, "false");
	assert_false(r->attributes[2].public_half);
	assert_string_equal(r->attributes[2].name, "CKA_DECRYPT");
	assert_string_equal(r->attributes[2].value, "false");
	assert_true(r->attributes[3].remove);
	r = &own.repositories.items[1].r;
	assert_int_equal(r->nattributes, 0);
	assert_string_equal(r->token_label, "B");
	assert_string_equal(r->token_serial, "0123456789abcdef");
	assert_int_equal(r->pin, PIN_CREDENTIAL);
	assert_string_equal(r->pin_path, "b.pin");
	assert_int_equal(r->sessions, 1);
	assert_int_equal(r->deadline, 120);
	assert_int_equal(r->keys_per_minute, 60);
	assert_null(r->hook);
	assert_int_equal(r->hook_timeout, 10);
	assert_int_equal(own.npools, 5);
	done(&c);
}

static const struct conf_pool *
pool_of(const struct conf *c, const char *policy, size_t key)
{
	return &conf_policy_find(c, policy)->keys[key].pool;
}

static void
policies_add(struct conf *c)
{
	static const char *const names[] = { "default", "lab", "wide" };

	c->kasp_file = strdup("kasp.xml");
	for (size_t i = 0; i < nitems(names); i++) {
		struct conf_policy *p = conf_policy_add(c, names[i]);

		assert_non_null(p);
		conf_key_add(p)->role = ROLE_KSK;
		conf_key_add(p)->role = ROLE_ZSK;
		for (size_t k = 0; k < 2; k++)
			p->keys[k].repository = strdup("a");
	}
}

static void
the_most_specific_pool_wins_for_each_setting(void **ctx)
{
	struct xml_file file = { .in = CONF_KSMPOOL, .path = "ksmpool.xml" };
	const struct conf_pool *p;
	struct conf c;

	(void)ctx;
	(void)read_file(&c, FIXTURES "good-all.xml");
	policies_add(&c);
	file.conf = &c;
	pools_resolve(&own, false, true, &file);
	assert_int_equal(c.errors, 0);

	p = pool_of(&c, "default", 0); /* <Default>, then role KSK */
	assert_int_equal(p->strategy, STRATEGY_FORMULA);
	assert_int_equal(p->horizon, 365 * DAY);
	assert_int_equal(p->emergency_rolls, 3);
	assert_int_equal(p->growth, 20);
	assert_int_equal(p->low_water, 50);
	assert_int_equal(p->max_per_run, 500);
	p = pool_of(&c, "default", 1); /* <Default> alone */
	assert_int_equal(p->horizon, 60 * DAY);
	assert_int_equal(p->minimum_horizon, 2 * DAY);
	assert_int_equal(p->emergency_rolls, 2);
	p = pool_of(&c, "lab", 0); /* policy over role, role over <Default> */
	assert_int_equal(p->strategy, STRATEGY_MINIMUM);
	assert_int_equal(p->horizon, 365 * DAY);
	assert_int_equal(p->emergency_rolls, 0);
	p = pool_of(&c, "lab", 1); /* both over policy */
	assert_int_equal(p->strategy, STRATEGY_FIXED);
	assert_int_equal(p->fixed, 20);
	assert_int_equal(p->emergency_rolls, 0);
	p = pool_of(&c, "wide", 1);
	assert_int_equal(p->strategy, STRATEGY_FILL);
	assert_int_equal(p->horizon, 60 * DAY);
	done(&c);
}

#define WITH(in) "<Ksmpool>\n<Policy><OpenDNSSEC>c</OpenDNSSEC></Policy>\n" \
	in "</Ksmpool>"

static void
manual_generation_gives_way_to_a_strategy(void **ctx)
{
	struct xml_file file = { .in = CONF_KSMPOOL, .path = "ksmpool.xml" };
	struct conf c;

	(void)ctx;
	(void)read_text(&c, WITH("<Pools><Pool role='KSK'><Strategy>formula"
	    "</Strategy></Pool><Pool role='ZSK'><Growth>5</Growth></Pool>"
	    "</Pools>"));
	policies_add(&c);
	file.conf = &c;
	pools_resolve(&own, true, true, &file);
	assert_int_equal(pool_of(&c, "lab", 0)->strategy, STRATEGY_FORMULA);
	assert_int_equal(pool_of(&c, "lab", 1)->strategy, STRATEGY_MANUAL);
	assert_int_equal(pool_of(&c, "lab", 1)->growth, 5);
	done(&c);
}

static void
a_scope_wins_over_share_keys_and_says_so_once(void **ctx)
{
	struct xml_file file = { .in = CONF_KSMPOOL, .path = "ksmpool.xml" };
	struct conf c;
	size_t said = 0;

	(void)ctx;
	(void)read_text(&c, WITH("<Pools><Default><Scope>policy</Scope>"
	    "</Default>\n<Pool role='ZSK'><Scope>zone</Scope></Pool></Pools>"));
	policies_add(&c);
	c.policies[0].share_keys = true;
	file.conf = &c;
	pools_resolve(&own, false, true, &file);
	assert_int_equal(c.errors, 0);
	assert_int_equal(pool_of(&c, "default", 0)->scope, SCOPE_POLICY);
	assert_int_equal(pool_of(&c, "default", 1)->scope, SCOPE_ZONE);
	assert_int_equal(pool_of(&c, "lab", 0)->scope, SCOPE_POLICY);
	for (size_t i = 0; i < c.nfindings; i++)
		said += strstr(c.findings[i].what, "Scope wins over") != NULL;
	/* <Default> against lab's KSK, the ZSK's against default's. */
	assert_int_equal(said, 2);
	done(&c);
}

static void
settings_of_a_pool_say_what_a_shortage_means(void **ctx)
{
	struct xml_file file = { .in = CONF_KSMPOOL, .path = "ksmpool.xml" };
	struct conf c;

	(void)ctx;
	(void)read_text(&c, "<Ksmpool><Policy><OpenDNSSEC>c</OpenDNSSEC>"
	    "<OwnerFile>owners</OwnerFile></Policy><Pools><Default>"
	    "<OnShortage>wait</OnShortage><Scope>owner</Scope></Default>"
	    "<Pool role='ZSK'><OnShortage>uncovered</OnShortage></Pool>"
	    "<Pool policy='lab'><OnShortage>generate</OnShortage></Pool>"
	    "</Pools></Ksmpool>");
	policies_add(&c);
	c.policies[0].share_keys = true;
	file.conf = &c;
	pools_resolve(&own, false, true, &file);
	assert_int_equal(c.errors, 0);
	assert_string_equal(c.owner_file, "/etc/k/owners");
	assert_int_equal(pool_of(&c, "wide", 0)->on_shortage, SHORTAGE_WAIT);
	assert_int_equal(pool_of(&c, "wide", 1)->on_shortage,
	    SHORTAGE_UNCOVERED);
	assert_int_equal(pool_of(&c, "lab", 1)->on_shortage,
	    SHORTAGE_GENERATE);
	assert_int_equal(pool_of(&c, "lab", 1)->scope, SCOPE_OWNER);
	assert_non_null(said(&c, "Scope wins over ShareKeys"));
	done(&c);
}

static void
what_is_no_scope_is_refused(void **ctx)
{
	static const struct expect wrong = { "everybody", NULL, CONF_ERROR, 4,
		"Scope" };
	struct conf c;

	(void)ctx;
	(void)read_text(&c, WITH("<Pools><Default>\n<Scope>everybody</Scope>"
	    "</Default></Pools>"));
	expect_said(&wrong, &c);
	done(&c);
}

static void
a_pool_of_an_unknown_policy_is_an_error(void **ctx)
{
	static const struct expect unknown = {
		"unknown", NULL, CONF_ERROR, 4, "a pool of an unknown policy",
	};
	struct xml_file file = { .in = CONF_KSMPOOL, .path = "ksmpool.xml" };
	struct conf c;

	(void)ctx;
	(void)read_text(&c, WITH("<Pools>\n<Pool policy='nobody'/></Pools>"));
	policies_add(&c);
	file.conf = &c;
	pools_resolve(&own, false, false, &file);
	assert_int_equal(c.errors, 0); /* policies could not be read */
	pools_resolve(&own, false, true, &file);
	expect_said(&unknown, &c);
	done(&c);
}

#define REPO(in) \
	WITH("<RepositoryList><Repository name='r'>\n" in \
	    "</Repository></RepositoryList>")

static void
what_a_schema_cannot_say_is_found(void **ctx)
{
	static const struct expect cases[] = {
		{ "same pool twice", WITH("<Pools><Pool role='KSK'/>\n"
		  "<Pool role='KSK'/></Pools>"), CONF_ERROR, 4,
		    "the same pool twice" },
		{ "short deadline", REPO("<Deadline>PT0S</Deadline>"),
		    CONF_ERROR, 4, "Deadline is out of range" },
		{ "long horizon", WITH("<Pools><Default>\n<Horizon>P101Y"
		  "</Horizon></Default></Pools>"), CONF_ERROR, 4,
		    "Horizon is out of range" },
		{ "one group", WITH("<Daemon><Socket>\n<Group>g</Group>\n"
		  "<ReadersGroup>g</ReadersGroup></Socket></Daemon>"),
		    CONF_ERROR, 5, "ReadersGroup and Group are the same" },
		{ "readers alone", WITH("<Daemon><Socket>\n"
		  "<ReadersGroup>g</ReadersGroup></Socket></Daemon>"),
		    CONF_WARNING, 4, "a ReadersGroup without a Group" },
		{ "attribute twice", REPO("<Attributes><Private>\n"
		  "<Add name='CKA_0x8000000A'>1</Add>\n"
		  "<Add name='CKA_0x8000000a'>2</Add></Private></Attributes>"),
		    CONF_ERROR, 6, "the same attribute twice" },
		{ "unknown attribute", REPO("<Attributes><Private>\n"
		  "<Add name='CKA_NOT_THERE'>false</Add></Private>"
		  "</Attributes>"), CONF_ERROR, 5, "cannot be added" },
		{ "attribute of no such value", REPO("<Attributes><Private>\n"
		  "<Add name='CKA_DECRYPT'>perhaps</Add></Private>"
		  "</Attributes>"), CONF_ERROR, 5, "cannot be added" },
		{ "attribute that is ours", REPO("<Attributes><Private>\n"
		  "<Remove name='CKA_ID'/></Private></Attributes>"),
		    CONF_ERROR, 5, "cannot be removed" },
		{ "a key that is no secret", REPO("<Attributes><Private>\n"
		  "<Add name='CKA_SENSITIVE'>false</Add></Private>"
		  "</Attributes>"), CONF_ERROR, 5, "cannot be added" },
		{ "on the other half", REPO("<Attributes><Public>\n"
		  "<Add name='CKA_DECRYPT'>false</Add></Public>"
		  "</Attributes>"), CONF_ERROR, 5, "on the private half" },
		{ "long value", REPO("<Attributes><Public>\n"
		  "<Add name='CKA_0x80000001'>"
		  "0000000000000000000000000000000000000001</Add></Public>"
		  "</Attributes>"), CONF_ERROR, 5, "too long" },
		{ "owners that nothing names", WITH("<Pools><Default>\n"
		  "<Scope>owner</Scope></Default></Pools>"), CONF_ERROR, 4,
		    "nothing says whose a zone is" },
		{ "short hook", REPO("<Hook timeout='PT0S'>/h</Hook>"),
		    CONF_ERROR, 4, "timeout is not a duration it can be" },
		{ "long hook", REPO("<Hook timeout='PT601S'>/h</Hook>"),
		    CONF_ERROR, 4, "from PT1S to PT10M" },
		{ "long serial",
		    REPO("<TokenLabel>t</TokenLabel><TokenSerial>"
		    "01234567890123456</TokenSerial>"), CONF_ERROR, 4,
		    "serial is too long" },
		{ "uri of no token", REPO("<TokenURI>pkcs11:model=x"
		  "</TokenURI>"), CONF_ERROR, 4, "names no token" },
		{ "long socket path", WITH("<Daemon><Socket><Path>\n/"
		  "0123456789012345678901234567890123456789012345678901234567"
		  "890123456789012345678901234567890123456789012345678901"
		  "</Path></Socket></Daemon>"), CONF_ERROR, 3, "socket" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct conf c;

		(void)read_text(&c, cases[i].text);
		expect_said(&cases[i], &c);
		done(&c);
	}
}

static void
no_finding_shows_a_pin(void **ctx)
{
	static const char *const cases[] = {
		REPO("<TokenURI>pkcs11:token=a?pin-value=s3cret</TokenURI>"),
		REPO("<TokenURI>pkcs11:pin-value=s3cret;token=a</TokenURI>"),
		REPO("<PINFile>a</PINFile><PIN>s3cret</PIN>"),
		REPO("<Pin>s3cret</Pin>"),
		REPO("s3cret"),
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct conf c;

		(void)read_text(&c, cases[i]);
		assert_true(c.errors > 0);
		if (said(&c, "s3cret") != NULL)
			fail_msg("shown: %s", cases[i]);
		done(&c);
	}
}

/* 0 valid, 1 not; -1: xmllint is not here. */
static int
schema_says(const char *path)
{
	char command[2048];
	int status;

	(void)snprintf(command, sizeof(command),
	    "xmllint --noout --nonet --relaxng '%s' '%s' >/dev/null 2>&1",
	    SCHEMA, path);
	status = system(command);
	if (!WIFEXITED(status) || WEXITSTATUS(status) == 127)
		return -1;
	return WEXITSTATUS(status) == 0 ? 0 : 1;
}

static void
schema_and_reader_agree_on_every_fixture(void **ctx)
{
	static const char *const kinds[] = { "good", "bad" };
	size_t seen = 0;

	(void)ctx;
	if (schema_says(FIXTURES "good-small.xml") == -1)
		skip();
	for (int bad = 0; bad < 2; bad++) {
		char pattern[1024];
		glob_t files;

		(void)snprintf(pattern, sizeof(pattern), "%s%s-*.xml",
		    FIXTURES, kinds[bad]);
		assert_int_equal(glob(pattern, 0, NULL, &files), 0);
		for (size_t i = 0; i < files.gl_pathc; i++) {
			const char *path = files.gl_pathv[i];
			struct conf c;

			(void)read_file(&c, path);
			if ((c.errors > 0) != (bad == 1)) {
				said_show(&c);
				fail_msg("%s: read with %d errors", path,
				    (int)c.errors);
			}
			if (schema_says(path) != bad)
				fail_msg("%s: the schema says otherwise",
				    path);
			done(&c);
			seen++;
		}
		globfree(&files);
	}
	assert_true(seen > 40);
}

static void
the_example_is_good(void **ctx)
{
	struct conf c;

	(void)ctx;
	assert_true(read_file(&c, KSM_FIXTURES "/../../conf/ksmpool.xml")
	    .sound);
	assert_int_equal(c.errors + c.warnings, 0);
	assert_int_equal(own.repositories.n, 1);
	done(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_element_arrives),
		cmocka_unit_test(the_most_specific_pool_wins_for_each_setting),
		cmocka_unit_test(manual_generation_gives_way_to_a_strategy),
		cmocka_unit_test(a_scope_wins_over_share_keys_and_says_so_once),
		cmocka_unit_test(settings_of_a_pool_say_what_a_shortage_means),
		cmocka_unit_test(what_is_no_scope_is_refused),
		cmocka_unit_test(a_pool_of_an_unknown_policy_is_an_error),
		cmocka_unit_test(what_a_schema_cannot_say_is_found),
		cmocka_unit_test(no_finding_shows_a_pin),
		cmocka_unit_test(schema_and_reader_agree_on_every_fixture),
		cmocka_unit_test(the_example_is_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
