#include "said.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksmpool/fd.h"
#include "ksmpool/msg_conf.h"
#include "ksmpool/zoneindex.h"

#define POLICY_KASP "<KASP>" POLICY_IN "</KASP>"
#define POLICY_IN                                                             \
	"<Policy name='default'><Keys>"                                       \
	"<KSK><Algorithm>13</Algorithm><Lifetime>P365D</Lifetime>"            \
	"<Repository>one</Repository></KSK>"                                  \
	"<ZSK><Algorithm>13</Algorithm><Lifetime>P90D</Lifetime>"             \
	"<Repository>one</Repository></ZSK></Keys></Policy>"
#define ZONES                                                                 \
	"<ZoneList><Zone name='a.example'><Policy>default</Policy></Zone>"    \
	"<Zone name='b.example'><Policy>default</Policy></Zone></ZoneList>"
#define OPENDNSSEC                                                            \
	"<Configuration><RepositoryList>\n<Repository name='one'>"            \
	"<Module>module.so</Module><TokenLabel>one</TokenLabel>"              \
	"<PIN>1234</PIN><Capacity>100</Capacity><RequireBackup/>"             \
	"</Repository></RepositoryList><Common>"                              \
	"<PolicyFile>kasp.xml</PolicyFile>"                                   \
	"<ZoneListFile>zonelist.xml</ZoneListFile></Common>"                  \
	"</Configuration>"
#define OWN(in)                                                               \
	"<Ksmpool><Policy><OpenDNSSEC>conf.xml</OpenDNSSEC></Policy>" in      \
	"</Ksmpool>"

/* A directory of files, as an operator has them. */
struct site {
	char dir[64], config[128];
};

static void
put(const struct site *s, const char *name, const char *text, mode_t mode)
{
	char path[256];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", s->dir, name);
	(void)unlink(path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int
setup(void **ctx)
{
	struct site *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	(void)strcpy(s->dir, "/tmp/ksm-load-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	(void)snprintf(s->config, sizeof(s->config), "%s/ksmpool.xml",
	    s->dir);
	put(s, "module.so", "", 0644);
	put(s, "kasp.xml", POLICY_KASP, 0644);
	put(s, "zonelist.xml", ZONES, 0644);
	put(s, "conf.xml", OPENDNSSEC, 0600);
	put(s, "ksmpool.xml", OWN(""), 0644);
	*ctx = s;
	return 0;
}

static int
teardown(void **ctx)
{
	static const char *const names[] = {
		"module.so", "other.so", "kasp.xml", "zonelist.xml",
		"conf.xml", "ksmpool.xml", "pin", "owners", "hook",
	};
	struct site *s = *ctx;
	char path[256];

	for (size_t i = 0; i < nitems(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", s->dir, names[i]);
		(void)unlink(path);
	}
	assert_int_equal(rmdir(s->dir), 0);
	free(s);
	return 0;
}

static void
load(const struct site *s, struct loaded *l)
{
	struct inputs in = { .config = s->config };
	struct ksm_fail fail;

	assert_int_equal(config_load(&in, l, &fail), KSM_OK);
}

static void
an_installation_of_opendnssec_is_taken_as_it_is(void **ctx)
{
	struct loaded l;

	load(*ctx, &l);
	if (l.conf.errors + l.conf.warnings != 0) {
		said_show(&l.conf);
		fail_msg("findings");
	}
	assert_int_equal(l.conf.nrepositories, 1);
	assert_int_equal(l.conf.repositories[0].pin, PIN_INLINE);
	assert_int_equal(l.conf.repositories[0].capacity, 100);
	assert_int_equal(l.conf.npolicies, 1);
	assert_int_equal(l.conf.policies[0].zones, 2);
	assert_int_equal(l.conf.zones, 2);
	assert_int_equal(l.conf.zonelist, ZONELIST_OK);
	assert_string_equal(l.conf.database, KSM_STATEDIR "/ksmpool.db");
	assert_string_equal(l.conf.socket_path, KSM_RUNDIR "/control.sock");
	assert_string_equal(l.conf.user, "ksmpool");
	assert_null(l.conf.socket_group);
	loaded_clear(&l);
}

static void
a_repository_of_ours_refines_theirs(void **ctx)
{
	const struct conf_repository *r;
	struct site *s = *ctx;
	struct loaded l;

	put(s, "pin", "1234\n", 0400);
	put(s, "ksmpool.xml", OWN("<RepositoryList><Repository name='one'>"
	    "<PINFile>pin</PINFile><Sessions>2</Sessions>"
	    "<TokenSerial>42</TokenSerial></Repository></RepositoryList>"),
	    0644);
	load(s, &l);
	assert_int_equal(l.conf.errors + l.conf.warnings, 0);
	assert_int_equal(l.conf.nrepositories, 1);
	r = &l.conf.repositories[0];
	assert_int_equal(r->pin, PIN_FILE);
	assert_int_equal(r->pin_fd, -1);
	assert_int_equal(r->sessions, 2);
	assert_int_equal(r->capacity, 100);
	assert_true(r->require_backup);
	assert_string_equal(r->token_label, "one");
	assert_string_equal(r->token_serial, "42");
	loaded_clear(&l);
}

static void
a_repository_of_ours_may_stand_beside_theirs(void **ctx)
{
	struct site *s = *ctx;
	struct loaded l;

	put(s, "ksmpool.xml", OWN("<RepositoryList>\n<Repository name='two'>"
	    "<PINCredential>two</PINCredential></Repository>"
	    "</RepositoryList>"), 0644);
	load(s, &l);
	assert_int_equal(l.conf.nrepositories, 2);
	assert_int_equal(l.conf.errors, 2);
	assert_non_null(said(&l.conf, "repository without a Module"));
	assert_non_null(said(&l.conf, "repository without a TokenLabel"));
	loaded_clear(&l);
}

static void
a_value_that_is_refused_is_not_missed_as_well(void **ctx)
{
	struct site *s = *ctx;
	struct loaded l;

	put(s, "ksmpool.xml", OWN("<RepositoryList>\n<Repository name='two'>"
	    "<Module/><TokenLabel/><PINFile/></Repository>"
	    "<Repository name='three'><Module>module.so</Module>"
	    "<TokenURI>pkcs11:</TokenURI><PINCredential>a/b</PINCredential>"
	    "</Repository></RepositoryList>"), 0644);
	load(s, &l);
	if (l.conf.errors != 5 || l.conf.warnings != 0) {
		said_show(&l.conf);
		fail_msg("not one finding for each of five values");
	}
	loaded_clear(&l);
}

static void
what_conf_xml_does_not_name_is_missed(void **ctx)
{
	struct site *s = *ctx;
	struct loaded l;

	put(s, "conf.xml", "<Configuration><RepositoryList/></Configuration>",
	    0600);
	load(s, &l);
	assert_non_null(said(&l.conf, "no policy file is named"));
	assert_non_null(said(&l.conf, "no zone list is named"));
	assert_non_null(said(&l.conf, "no repository is configured"));
	assert_int_equal(l.conf.errors, 3);
	loaded_clear(&l);
}

static void
a_configuration_that_is_not_there_is_one_error(void **ctx)
{
	struct site *s = *ctx;
	struct loaded l;

	assert_int_equal(unlink(s->config), 0);
	load(s, &l);
	assert_int_equal(l.conf.errors, 1);
	assert_string_equal(l.conf.user, "ksmpool");
	loaded_clear(&l);
	assert_int_equal(mkfifo(s->config, 0600), 0);
	load(s, &l); /* does not wait for a writer */
	assert_int_equal(l.conf.errors, 1);
	loaded_clear(&l);
}

static void
a_fixed_number_without_its_strategy_is_a_warning(void **ctx)
{
	struct site *s = *ctx;
	struct loaded l;

	put(s, "ksmpool.xml", OWN("<Pools>\n<Pool role='KSK'><Fixed>7</Fixed>"
	    "</Pool></Pools>"), 0644);
	load(s, &l);
	assert_int_equal(l.conf.warnings, 1);
	assert_non_null(said(&l.conf, "Fixed has no effect"));
	loaded_clear(&l);
}

static void
a_name_of_ours_twice_is_a_duplicate(void **ctx)
{
	struct site *s = *ctx;
	struct loaded l;

	put(s, "ksmpool.xml", OWN("<RepositoryList><Repository name='one'/>\n"
	    "<Repository name='one'/></RepositoryList>"), 0644);
	load(s, &l);
	assert_non_null(said(&l.conf, "duplicate repository"));
	loaded_clear(&l);
}

static void
a_zone_list_that_is_not_there_is_vanished(void **ctx)
{
	struct site *s = *ctx;
	char path[256];
	struct loaded l;

	(void)snprintf(path, sizeof(path), "%s/zonelist.xml", s->dir);
	assert_int_equal(unlink(path), 0);
	load(s, &l);
	assert_int_equal(l.conf.zonelist, ZONELIST_VANISHED);
	assert_int_equal(l.conf.errors, 1);
	assert_int_equal(l.conf.zonelist_errors, 1);
	loaded_clear(&l);
}

static void
a_zone_list_is_bad_when_cut_or_faulty_and_may_be_empty(void **ctx)
{
	static const struct {
		const char *text;
		enum zonelist_state state;
	} cases[] = {
		{ "", ZONELIST_BAD },
		{ "<ZoneList>", ZONELIST_BAD },
		{ "<ZoneList><Zone name='a.example'><Policy>default</Policy>"
		  "</Zone>", ZONELIST_BAD },
		{ "<ZoneList><Zone name='a.example'><Policy>nobody</Policy>"
		  "</Zone></ZoneList>", ZONELIST_BAD },
		{ "<KASP/>", ZONELIST_BAD },
		{ "<ZoneList/>", ZONELIST_EMPTY },
		{ "<ZoneList><Zone name='a'><Policy>default</Policy></Zone>"
		  "<Zone name='A.'><Policy>default</Policy></Zone>"
		  "</ZoneList>", ZONELIST_OK },
	};
	struct site *s = *ctx;

	for (size_t i = 0; i < nitems(cases); i++) {
		struct loaded l;

		put(s, "zonelist.xml", cases[i].text, 0644);
		load(s, &l);
		assert_int_equal(l.conf.zonelist, cases[i].state);
		assert_int_equal(l.conf.zonelist_errors > 0,
		    cases[i].state == ZONELIST_BAD);
		loaded_clear(&l);
	}
}

#define OWNED(scope)                                                          \
	"<Ksmpool><Policy><OpenDNSSEC>conf.xml</OpenDNSSEC>"                  \
	"<OwnerFile>owners</OwnerFile></Policy><Pools><Default>"              \
	"<Scope>" scope "</Scope></Default></Pools></Ksmpool>"

static void
an_owner_file_says_how_many_owners_there_are(void **ctx)
{
	static const struct {
		const char *text; /* NULL: it is not there */
		enum zonelist_state state;
		int64_t owners;
	} cases[] = {
		{ "a.example x\nb.example x\n", ZONELIST_OK, 1 },
		{ "a.example x\nb.example y\n", ZONELIST_OK, 2 },
		{ "a.example x\nz.example x\n", ZONELIST_OK, 2 },
		{ "# nobody\n", ZONELIST_EMPTY, 2 },
		{ "", ZONELIST_EMPTY, 2 },
		{ "a.example\n", ZONELIST_BAD, 2 },
		{ "a.example x\nb.example", ZONELIST_BAD, 2 },
		{ NULL, ZONELIST_VANISHED, 2 },
	};
	struct site *s = *ctx;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/owners", s->dir);
	put(s, "ksmpool.xml", OWNED("owner"), 0644);
	for (size_t i = 0; i < nitems(cases); i++) {
		bool bad = cases[i].state == ZONELIST_BAD ||
		    cases[i].state == ZONELIST_VANISHED;
		struct loaded l;

		if (cases[i].text != NULL)
			put(s, "owners", cases[i].text, 0644);
		else
			assert_int_equal(unlink(path), 0);
		load(s, &l);
		assert_string_equal(l.conf.owner_file, path);
		assert_int_equal(l.conf.owners, cases[i].state);
		assert_int_equal(l.conf.zonelist, ZONELIST_OK);
		assert_int_equal(l.conf.zonelist_errors > 0, bad);
		assert_int_equal(l.conf.errors, l.conf.zonelist_errors);
		assert_int_equal(l.conf.policies[0].zones, 2);
		assert_int_equal(l.conf.policies[0].owners, cases[i].owners);
		assert_int_equal(l.conf.policies[0].keys[0].pool.scope,
		    SCOPE_OWNER);
		loaded_clear(&l);
	}
	/* without the file every zone is its own owner */
	put(s, "ksmpool.xml", OWN(""), 0644);
	{
		struct loaded l;

		load(s, &l);
		assert_null(l.conf.owner_file);
		assert_int_equal(l.conf.owners, ZONELIST_OK);
		assert_int_equal(l.conf.policies[0].owners, 2);
		loaded_clear(&l);
	}
}

static void
expect_zone(const struct zoneindex *zi, const char *zone, const char *policy,
    const char *owner)
{
	struct zone_found found;
	struct ksm_fail fail;

	assert_int_equal(zoneindex_find(zi, zone, &found, &fail), KSM_OK);
	if (policy == NULL)
		assert_null(found.policy);
	else
		assert_string_equal(found.policy, policy);
	if (owner == NULL)
		assert_null(found.owner);
	else
		assert_string_equal(found.owner, owner);
}

static void
what_is_sent_knows_the_zones(void **ctx)
{
	struct site *s = *ctx;
	struct inputs in = { .config = s->config, .index = true };
	struct zoneindex *zi;
	struct zone_found found;
	struct ksm_fail fail;
	struct loaded l;

	put(s, "ksmpool.xml", OWNED("zone"), 0644);
	put(s, "kasp.xml", "<KASP><Policy name='first'/>"
	    POLICY_IN "<Policy name='last'><Passthrough/></Policy></KASP>",
	    0644);
	put(s, "zonelist.xml", "<ZoneList>"
	    "<Zone name='p.example'><Policy>last</Policy></Zone>"
	    "<Zone name='a.example'><Policy>default</Policy></Zone>"
	    "<Zone name='A.example.'><Policy>default</Policy></Zone>"
	    "<Zone name='b.example'><Policy>default</Policy></Zone>"
	    "</ZoneList>", 0644);
	put(s, "owners", "b.example x\nz.example y\np.example y\n", 0644);
	assert_int_equal(config_load(&in, &l, &fail), KSM_OK);
	/* a policy without keys is an error: nothing may be handed out */
	assert_true(l.conf.errors > 0);
	assert_int_equal(l.conf.zones_fd, -1);
	loaded_clear(&l);

	put(s, "kasp.xml", "<KASP>" POLICY_IN
	    "<Policy name='last'><Passthrough/><Keys/></Policy></KASP>", 0644);
	assert_int_equal(config_load(&in, &l, &fail), KSM_OK);
	if (l.conf.errors != 0) {
		said_show(&l.conf);
		fail_msg("errors");
	}
	assert_true(l.conf.zones_fd >= 0);
	assert_int_equal(zoneindex_open(l.conf.zones_fd, &zi, &fail), KSM_OK);
	assert_int_equal(zoneindex_zones(zi), 4);
	expect_zone(zi, "a.example", "default", NULL);
	expect_zone(zi, "B.EXAMPLE", "default", "x");
	expect_zone(zi, "p.example", "last", "y");
	/* of the owner file alone: it may be given keys before it is listed */
	expect_zone(zi, "z.example", NULL, "y");
	assert_int_equal(zoneindex_find(zi, "q.example", &found, &fail),
	    KSM_ENOENT);
	zoneindex_close(zi);
	loaded_clear(&l);

	/* an empty list is one, too */
	put(s, "zonelist.xml", "<ZoneList/>", 0644);
	assert_int_equal(config_load(&in, &l, &fail), KSM_OK);
	assert_true(l.conf.zones_fd >= 0);
	loaded_clear(&l);
	/* of a bad one nothing is known */
	put(s, "zonelist.xml", "<ZoneList>", 0644);
	assert_int_equal(config_load(&in, &l, &fail), KSM_OK);
	assert_int_equal(l.conf.zones_fd, -1);
	loaded_clear(&l);
	put(s, "zonelist.xml", ZONES, 0644);
	put(s, "owners", "a.example\n", 0644);
	assert_int_equal(config_load(&in, &l, &fail), KSM_OK);
	assert_int_equal(l.conf.zones_fd, -1);
	loaded_clear(&l);
	/* nobody asked */
	put(s, "owners", "a.example x\n", 0644);
	load(s, &l);
	assert_int_equal(l.conf.zones_fd, -1);
	loaded_clear(&l);
}

static void
the_journal_is_no_database(void **ctx)
{
	static const char *const cases[] = {
		"<Daemon>\n<HandoutJournal>" KSM_STATEDIR "/ksmpool.db"
		"</HandoutJournal></Daemon>",
		"<Daemon><Database>/x/h</Database>\n"
		"<HandoutJournal>/x/h</HandoutJournal></Daemon>",
	};
	struct expect same = { "same", NULL, CONF_ERROR, 2,
		"are the same file" };
	struct site *s = *ctx;
	struct loaded l;
	char text[1024];

	for (size_t i = 0; i < nitems(cases); i++) {
		(void)snprintf(text, sizeof(text), OWN("%s"), cases[i]);
		put(s, "ksmpool.xml", text, 0644);
		load(s, &l);
		expect_said(&same, &l.conf);
		loaded_clear(&l);
	}
	put(s, "ksmpool.xml", OWN("<Daemon><StateDirectory>/s"
	    "</StateDirectory></Daemon>"), 0644);
	load(s, &l);
	assert_int_equal(l.conf.errors, 0);
	assert_string_equal(l.conf.handout_journal, "/s/handout.journal");
	loaded_clear(&l);
}

static void
a_hook_is_a_program_that_nobody_else_can_change(void **ctx)
{
	static const struct {
		mode_t mode;
		const char *words; /* NULL: it is good */
	} cases[] = {
		{ 0755, NULL }, { 0500, NULL },
		{ 0644, "the hook is not a program" },
		{ 0775, "others than its owner can change the hook" },
		{ 0757, "others than its owner can change the hook" },
	};
	struct site *s = *ctx;
	struct loaded l;

	put(s, "ksmpool.xml", OWN("<RepositoryList><Repository name='one'>"
	    "<Hook timeout='PT5S'>hook</Hook></Repository></RepositoryList>"),
	    0644);
	load(s, &l);
	assert_non_null(said(&l.conf, "the hook is not on this host"));
	assert_int_equal(l.conf.errors, 1);
	loaded_clear(&l);
	for (size_t i = 0; i < nitems(cases); i++) {
		put(s, "hook", "#!/bin/sh\n", cases[i].mode);
		load(s, &l);
		assert_int_equal(l.conf.errors, cases[i].words != NULL);
		if (cases[i].words != NULL)
			assert_non_null(said(&l.conf, cases[i].words));
		assert_int_equal(l.conf.repositories[0].hook_timeout, 5);
		assert_non_null(strstr(l.conf.repositories[0].hook, "/hook"));
		loaded_clear(&l);
	}
}

static void
a_policy_file_that_is_broken_does_not_blame_the_zones(void **ctx)
{
	struct site *s = *ctx;
	struct loaded l;

	put(s, "kasp.xml", "<KASP><Policy name='other'></KASP>", 0644);
	load(s, &l);
	assert_null(said(&l.conf, "unknown policy"));
	assert_int_equal(l.conf.zonelist_errors, 0);
	assert_true(l.conf.errors > 0);
	loaded_clear(&l);
}

static void
pin_files_are_looked_at(void **ctx)
{
	static const char own[] = OWN("<RepositoryList><Repository name='one'>"
	    "<PINFile>pin</PINFile></Repository></RepositoryList>");
	struct site *s = *ctx;
	struct loaded l;

	put(s, "ksmpool.xml", own, 0644);
	load(s, &l);
	assert_non_null(said(&l.conf, "PIN file cannot be opened"));
	assert_int_equal(l.conf.errors, 1);
	loaded_clear(&l);

	put(s, "pin", "", 0400);
	load(s, &l);
	assert_non_null(said(&l.conf, "PIN file is empty"));
	assert_int_equal(l.conf.errors, 1);
	loaded_clear(&l);

	put(s, "pin", "1234\n", 0444);
	load(s, &l);
	assert_non_null(said(&l.conf, "everybody can read the PIN file"));
	assert_null(said(&l.conf, "1234"));
	assert_int_equal(l.conf.errors, 0);
	assert_int_equal(l.conf.warnings, 1);
	loaded_clear(&l);
}

static void
a_module_that_is_not_there_is_an_error_on_its_own_host(void **ctx)
{
	struct site *s = *ctx;
	struct inputs alone = { .config = NULL };
	struct ksm_fail fail;
	struct loaded l;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/module.so", s->dir);
	assert_int_equal(unlink(path), 0);
	load(s, &l);
	assert_non_null(said(&l.conf, "the module is not on this host"));
	assert_int_equal(l.conf.errors, 1);
	loaded_clear(&l);

	(void)snprintf(path, sizeof(path), "%s/conf.xml", s->dir);
	alone.opendnssec = path;
	assert_int_equal(config_load(&alone, &l, &fail), KSM_OK);
	assert_non_null(said(&l.conf, "the module is not on this host"));
	assert_int_equal(l.conf.errors, 0);
	assert_int_equal(l.conf.warnings, 1);
	loaded_clear(&l);
}

static void
two_names_of_one_module_do_not_hide_a_clash(void **ctx)
{
	struct site *s = *ctx;
	char target[256], link[256];
	struct loaded l;

	(void)snprintf(target, sizeof(target), "%s/module.so", s->dir);
	(void)snprintf(link, sizeof(link), "%s/other.so", s->dir);
	assert_int_equal(symlink(target, link), 0);
	put(s, "ksmpool.xml", OWN("<RepositoryList><Repository name='two'>"
	    "<Module>other.so</Module><TokenLabel>one</TokenLabel>"
	    "<PINCredential>p</PINCredential></Repository></RepositoryList>"),
	    0644);
	load(s, &l);
	assert_int_equal(l.conf.errors, 1);
	assert_non_null(said(&l.conf, "two repositories mean the same token"));
	loaded_clear(&l);
}

static void
files_alone_say_what_was_not_checked(void **ctx)
{
	struct site *s = *ctx;
	struct inputs in = { .config = NULL };
	struct ksm_fail fail;
	struct loaded l;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/kasp.xml", s->dir);
	in.kasp = path;
	assert_int_equal(config_load(&in, &l, &fail), KSM_OK);
	assert_int_equal(l.conf.errors + l.conf.warnings, 0);
	assert_non_null(said(&l.conf, "repositories were not given"));
	assert_non_null(said(&l.conf, "zones were not given"));
	assert_int_equal(l.conf.policies[0].nkeys, 2);
	loaded_clear(&l);
}

static void
what_this_host_lacks_is_said_with_its_line(void **ctx)
{
	static const struct expect cases[] = {
		{ "user", OWN("\n<Daemon>\n<User>no-such-user</User></Daemon>"),
		    CONF_WARNING, 3, "User that ksmpoold becomes is missing" },
		{ "group", OWN("<Daemon><User>root</User><Socket>\n"
		    "<Group>no-such-group</Group></Socket></Daemon>"),
		    CONF_WARNING, 2, "Group of the Socket is missing" },
		{ "member", OWN("<Daemon><User>nobody</User><Socket>\n"
		    "<Group>daemon</Group></Socket></Daemon>"),
		    CONF_WARNING, 2, "the User is no member of the Group" },
		{ "readers", OWN("<Daemon><User>daemon</User><Socket>"
		    "<Group>daemon</Group>\n"
		    "<ReadersGroup>no-such-group</ReadersGroup></Socket>"
		    "</Daemon>"),
		    CONF_WARNING, 2, "ReadersGroup of the Socket is missing" },
		{ "sync", OWN("<RepositoryList>\n<Repository name='one'>\n"
		    "<SyncPath>nowhere</SyncPath></Repository>"
		    "</RepositoryList>"),
		    CONF_WARNING, 3, "SyncPath is missing on this host" },
		{ "sync to a file", OWN("<RepositoryList>\n"
		    "<Repository name='one'><SyncPath>kasp.xml</SyncPath>"
		    "</Repository></RepositoryList>"),
		    CONF_WARNING, 2, "SyncPath is not a directory" },
	};
	static const char fine[] = OWN("<RepositoryList><Repository name='one'>"
	    "<SyncPath>.</SyncPath></Repository></RepositoryList><Daemon>"
	    "<User>daemon</User><Socket><Group>daemon</Group>"
	    "<ReadersGroup>root</ReadersGroup></Socket>"
	    "</Daemon>");
	struct site *s = *ctx;
	struct loaded l;

	for (size_t i = 0; i < nitems(cases); i++) {
		put(s, "ksmpool.xml", cases[i].text, 0644);
		load(s, &l);
		expect_said(&cases[i], &l.conf);
		assert_int_equal(l.conf.errors, 0);
		assert_int_equal(l.conf.warnings, 1);
		loaded_clear(&l);
	}
	put(s, "ksmpool.xml", fine, 0644);
	load(s, &l);
	if (l.conf.errors + l.conf.warnings != 0) {
		said_show(&l.conf);
		fail_msg("findings");
	}
	loaded_clear(&l);
}

/* Quotes of every kind, SQL, markup and three alphabets. */
#define ODD_XML	 "O&apos;Re&quot;illy`; DROP TABLE key;-- &lt;&amp;&gt; %s " \
	"\303\251\320\264\344\270\255"
#define ODD_TEXT "O'Re\"illy`; DROP TABLE key;-- <&> %s " \
	"\303\251\320\264\344\270\255"
/* 255 octets on the wire: 3 x 63 letters and 61. */
#define LONG_LABEL "o23456789012345678901234567890123456789012345678901234567890"
#define LONG_ZONE  LONG_LABEL "123." LONG_LABEL "123." LONG_LABEL "123." \
	LONG_LABEL "1"

static enum ksm_err
take_in(void *ctx, const char *text, size_t len, int fd, struct ksm_fail *fail)
{
	return conf_decode(ctx, text, len, fd == -1 ? -1 : dup(fd), fail);
}

static void
names_arrive_as_they_were_written(void **ctx)
{
	struct conf_decoder d;
	struct site *s = *ctx;
	struct loaded l;
	struct conf got;

	put(s, "kasp.xml", "<KASP><Policy name=\"" ODD_XML "\"><Keys><KSK>"
	    "<Algorithm>13</Algorithm><Lifetime>P100Y</Lifetime><Repository>"
	    "one</Repository></KSK></Keys></Policy></KASP>", 0644);
	put(s, "zonelist.xml", "<ZoneList><Zone name='" LONG_ZONE "'><Policy>"
	    ODD_XML "</Policy></Zone><Zone name='\303\251.example'><Policy>"
	    ODD_XML "</Policy></Zone><Zone name='a\\.b&apos;&quot;.example'>"
	    "<Policy>" ODD_XML "</Policy></Zone></ZoneList>", 0644);
	put(s, "ksmpool.xml", OWN("<RepositoryList><Repository name='"
	    ODD_XML "'><Module>module.so</Module><TokenLabel>O&apos;&quot;`"
	    "\303\251</TokenLabel><PIN>'1\"</PIN></Repository>"
	    "</RepositoryList><Pools><Pool policy='" ODD_XML "'>"
	    "<Horizon>P30Y</Horizon></Pool></Pools>"), 0600);
	load(s, &l);
	if (l.conf.errors > 0) {
		said_show(&l.conf);
		fail_msg("findings");
	}
	assert_string_equal(l.conf.policies[0].name, ODD_TEXT);
	assert_int_equal(l.conf.policies[0].zones, 3);
	assert_int_equal(l.conf.policies[0].keys[0].lifetime,
	    INT64_C(3153600000));
	assert_int_equal(l.conf.policies[0].keys[0].pool.horizon,
	    INT64_C(946080000));
	assert_string_equal(l.conf.repositories[1].name, ODD_TEXT);
	assert_string_equal(l.conf.repositories[1].token_label,
	    "O'\"`\303\251");
	conf_init(&got);
	conf_decoder_init(&d, &got);
	assert_int_equal(conf_encode(&l.conf, take_in, &d, NULL), KSM_OK);
	assert_int_equal(conf_decode_end(&d, NULL), KSM_OK);
	assert_string_equal(got.policies[0].name, ODD_TEXT);
	assert_string_equal(got.repositories[1].name, ODD_TEXT);
	assert_string_equal(got.repositories[1].token_label, "O'\"`\303\251");
	conf_clear(&got);
	loaded_clear(&l);
}

static void
what_is_sent_is_what_was_read(void **ctx)
{
	static const char pin[] = "1234";
	struct conf_decoder d;
	struct loaded l;
	struct conf got;
	struct ksm_fail fail;
	enum ksm_err err;
	char buf[MSG_CONF_MAX], *at;
	int pair[2];

	load(*ctx, &l);
	assert_int_equal(fd_packet_pair(pair, &fail), KSM_OK);
	assert_int_equal(config_send(&l.conf, pair[0], &fail), KSM_OK);
	fd_close(&pair[0]);
	conf_init(&got);
	conf_decoder_init(&d, &got);
	for (;;) {
		size_t len;
		int fd;

		err = fd_packet_recv(pair[1], buf, sizeof(buf), &len, &fd,
		    &fail);
		if (err == KSM_ENOENT)
			break;
		assert_int_equal(err, KSM_OK);
		at = memmem(buf, len, pin, strlen(pin));
		assert_null(at);
		assert_int_equal(conf_decode(&d, buf, len, fd, &fail), KSM_OK);
	}
	assert_int_equal(conf_decode_end(&d, &fail), KSM_OK);
	assert_int_equal(got.policies[0].zones, 2);
	assert_true(got.repositories[0].pin_fd >= 0);
	assert_int_equal(pread(got.repositories[0].pin_fd, buf, sizeof(buf),
	    0), strlen(pin));
	assert_memory_equal(buf, pin, strlen(pin));
	fd_close(&pair[1]);
	conf_clear(&got);
	loaded_clear(&l);
}

static void
the_file_alone_opens_no_file_that_it_names(void **ctx)
{
	struct site *s = *ctx;
	struct inputs in = { .config = s->config, .own = true };
	struct ksm_fail fail;
	struct loaded l;

	put(s, "conf.xml", "<broken", 0644);
	put(s, "ksmpool.xml", OWN("<Daemon><User>keys</User></Daemon>"), 0644);
	assert_int_equal(config_load(&in, &l, &fail), KSM_OK);
	assert_int_equal(l.conf.errors, 0);
	assert_string_equal(l.conf.user, "keys");
	assert_null(l.conf.opendnssec_file);
	loaded_clear(&l);

	put(s, "ksmpool.xml", "<broken", 0644);
	assert_int_equal(config_load(&in, &l, &fail), KSM_OK);
	assert_true(l.conf.errors > 0);
	loaded_clear(&l);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_installation_of_opendnssec_is_taken_as_it_is),
		TEST(a_repository_of_ours_refines_theirs),
		TEST(a_repository_of_ours_may_stand_beside_theirs),
		TEST(a_value_that_is_refused_is_not_missed_as_well),
		TEST(what_conf_xml_does_not_name_is_missed),
		TEST(a_configuration_that_is_not_there_is_one_error),
		TEST(a_fixed_number_without_its_strategy_is_a_warning),
		TEST(a_name_of_ours_twice_is_a_duplicate),
		TEST(a_zone_list_that_is_not_there_is_vanished),
		TEST(a_zone_list_is_bad_when_cut_or_faulty_and_may_be_empty),
		TEST(an_owner_file_says_how_many_owners_there_are),
		TEST(what_is_sent_knows_the_zones),
		TEST(the_journal_is_no_database),
		TEST(a_hook_is_a_program_that_nobody_else_can_change),
		TEST(a_policy_file_that_is_broken_does_not_blame_the_zones),
		TEST(pin_files_are_looked_at),
		TEST(a_module_that_is_not_there_is_an_error_on_its_own_host),
		TEST(two_names_of_one_module_do_not_hide_a_clash),
		TEST(files_alone_say_what_was_not_checked),
		TEST(what_this_host_lacks_is_said_with_its_line),
		TEST(names_arrive_as_they_were_written),
		TEST(what_is_sent_is_what_was_read),
		TEST(the_file_alone_opens_no_file_that_it_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
