#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "print.h"

/* What `print` makes of that document. Single quotes stand for double. */
static char *
printed(void (*print)(FILE *out, const json_t *doc), const char *text)
{
	char *json = strdup(text), *out = NULL;
	size_t len = 0;
	json_error_t where;
	json_t *doc;
	FILE *f;

	for (char *s = json; *s != '\0'; s++)
		if (*s == '\'')
			*s = '"';
	doc = json_loads(json, 0, &where);
	if (doc == NULL)
		fail_msg("%s: %s", where.text, json);
	f = open_memstream(&out, &len);
	print(f, doc);
	(void)fclose(f);
	json_decref(doc);
	free(json);
	return out;
}

static void
expect(void (*print)(FILE *out, const json_t *doc), const char *doc,
    const char *want)
{
	char *got = printed(print, doc);

	assert_string_equal(got, want);
	free(got);
}

#define POOL(level, ready, more)                                          \
	"{'policy':'default','role':'KSK','repository':'SoftHSM',"        \
	"'algorithm':'RSASHA256','size':2048,'strategy':'formula',"       \
	"'level':'" level "','required':38,'ready':" ready ",'coming':1," \
	"'deficit':2" more "}"

#define REPOSITORY(status, more)                                          \
	"{'name':'SoftHSM','status':'" status "','token':'OpenDNSSEC',"   \
	"'serial':'a1','sessions':2,'generators':1,'busy':1,'overdue':0," \
	"'settling':0,'verifying':0,'missing':0,'quarantined':0,"         \
	"'orphans':0,'foreign':0,'debris':0,'deaths':0,"                  \
	"'looked':'2026-11-25T13:00:00Z','pairs':36,'capacity':null" more "}"

static void
status_is_three_tables(void **ctx)
{
	(void)ctx;
	expect(print_status,
	    "{'daemon_version':'0.1.0','pid':812,"
	    "'started':'2026-11-25T13:00:00Z','uptime_s':90,"
	    "'config':'/etc/ksmpool/ksmpool.xml',"
	    "'zonelist':{'zones':1,'state':'ok'},'clock':null,"
	    "'backup':{'required':['SoftHSM']},"
	    "'last_run':{'cause':'topup','uid':0,"
	    "'started':'2026-11-25T13:00:00Z','ended':'2026-11-25T13:00:40Z',"
	    "'wanted':38,'made':36,'failed':0,'held':2},"
	    "'handouts':{'number':12,'locked':false,'reason':null},"
	    "'repositories':[" REPOSITORY(
		"ok", "") "],"
			  "'pools':[" POOL(
			      "ok", "35", ",'held':2,'trouble':null") "]}",

	    "daemon         ksmpoold 0.1.0, process 812, up 1 min 30 s since "
	    "2026-11-25T13:00:00Z\n"
	    "configuration  /etc/ksmpool/ksmpool.xml\n"
	    "zone list      ok, 1 zone\n"
	    "last run       topup by uid 0, 2026-11-25T13:00:00Z to "
	    "2026-11-25T13:00:40Z, made 36 of 38, 2 held back\n"
	    "RequireBackup  SoftHSM\n"
	    "hand-outs      12\n"
	    "\n"
	    "REPOSITORY  STATUS  TOKEN       SERIAL  WORKERS  BUSY  PAIRS  "
	    "CAPACITY  LAST LOOK             REMARKS\n"
	    "SoftHSM     ok      OpenDNSSEC  a1          1/2     1     36  "
	    "       -  2026-11-25T13:00:00Z  -\n"
	    "\n"
	    "POLICY   ROLE  REPOSITORY  ALGORITHM  SIZE  STRATEGY  LEVEL  "
	    "READY  COMING  REQUIRED  DEFICIT  REMARKS\n"
	    "default  KSK   SoftHSM     RSASHA256  2048  formula   ok     "
	    "   35       1        38        2  2 held back by MaxPerRun\n");
}

static void
status_says_what_backups_are_good_for(void **ctx)
{
	static const struct {
		const char *doc, *line;
	} cases[] = {
		{ "'last':null,'uncovered':58,"
		  "'oldest_uncovered':'2026-11-25T13:00:00Z',"
		  "'suffices':false,'first_out':'a/KSK'",
		    "hsm: no backup on record: 58 keys uncovered, the oldest "
		    "of 2026-11-25T13:00:00Z\n" },
		{ "'last':null,'uncovered':1,'suffices':false,"
		  "'required':true,'first_out':'a/KSK','first_out_uncovered':1",
		    "hsm: no backup on record: 1 key uncovered, the oldest of "
		    "an unknown time, backed-up keys do not suffice now, a/KSK "
		    "runs out first: back up now\n" },
		{ "'last':'THEN','last_label':'monday','uncovered':0,"
		  "'suffices':false,'first_out':'a/KSK','first_out_uncovered':0",
		    "hsm: last begun THEN (monday), 0 keys uncovered, "
		    "backed-up keys do not suffice now, a/KSK runs out first: "
		    "let it be filled, then back up\n" },
		{ "'last':'THEN','last_label':'monday','uncovered':0,"
		  "'suffices':true,'lasts_until':'LATER','first_out':'a/KSK'",
		    "hsm: last begun THEN (monday), 0 keys uncovered, "
		    "backed-up keys last until LATER, a/KSK runs out first; "
		    "next backup needed before LATER\n" },
		{ "'last':'THEN','last_label':'monday','uncovered':3,"
		  "'uncovered_in_use':2,'open':'tuesday',"
		  "'oldest_uncovered':'NOON','suffices':true,"
		  "'lasts_until':null,'first_out':null",
		    "hsm: last begun THEN (monday), 3 keys uncovered, the "
		    "oldest of NOON, 2 of them in use, tuesday is open\n" },
	};
	char doc[512], *got;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		(void)snprintf(doc, sizeof(doc),
		    "{'backups':[{'repository':'hsm',%s}]}", cases[i].doc);
		got = printed(print_status, doc);
		if (strstr(got, cases[i].line) == NULL)
			fail_msg("no '%s' in %s", cases[i].line, got);
		free(got);
	}
	expect(trouble_status, "{'backups':[{'repository':'hsm','last':'THEN',"
	    "'uncovered_in_use':2}]}",
	    "repository hsm: 2 keys are in use and in no backup");
	expect(trouble_status, "{'backups':[{'repository':'hsm','last':null,"
	    "'uncovered_in_use':2}]}", "");
}

static void
the_zone_list_says_what_is_in_force(void **ctx)
{
	static const struct {
		const char *doc, *line;
	} cases[] = {
		{ "{'zonelist':{'zones':2,'state':'vanished',"
		  "'in_force':'last-good'}}",
		    "zone list      vanished, the last good list stays in "
		    "force with 2 zones\n" },
		{ "{'zonelist':{'zones':0,'state':'empty',"
		  "'in_force':'read'}}",
		    "zone list      empty, 0 zones, accepted as it is\n" },
		{ "{'zonelist':{'zones':1,'state':'ok','in_force':'read'}}",
		    "zone list      ok, 1 zone\n" },
		{ "{'zonelist':{'zones':9,'owners':2,'state':'ok',"
		  "'in_force':'read'}}",
		    "zone list      ok, 9 zones of 2 owners\n" },
		{ "{'zonelist':{'zones':9,'owners':2,'state':'ok',"
		  "'owner_file':'bad','in_force':'last-good'}}",
		    "zone list      ok, owner file bad, the last good list "
		    "stays in force with 9 zones of 2 owners\n" },
		{ "{'zonelist':{'zones':9,'owners':null,'state':'ok',"
		  "'in_force':'read'}}",
		    "zone list      ok, 9 zones\n" },
	};
	char *got;

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		got = printed(print_status, cases[i].doc);
		if (strstr(got, cases[i].line) == NULL)
			fail_msg("no '%s' in %s", cases[i].line, got);
		free(got);
	}
	expect(trouble_status, cases[0].doc,
	    "zone list: vanished, the last good list stays in force with 2 "
	    "zones");
	expect(trouble_status, cases[1].doc, "");
}

static void
remarks_name_what_is_not_nothing(void **ctx)
{
	(void)ctx;
	expect(print_repositories,
	    "{'repositories':[{'name':'a','status':'degraded','token':null,"
	    "'serial':null,'sessions':1,'generators':0,'busy':0,"
	    "'reason':'token not found','retry_in_ms':1500,'missing':2,"
	    "'debris':3,'looked':null,'pairs':null,'capacity':100}]}",

	    "REPOSITORY  STATUS    TOKEN  SERIAL  WORKERS  BUSY  PAIRS  "
	    "CAPACITY  LAST LOOK  REMARKS\n"
	    "a           degraded  -      -           0/1     0      -  "
	    "     100  never      token not found, next try in 2 s, "
	    "2 missing, 3 objects without a name (debris)\n");
}

static void
one_is_not_many(void **ctx)
{
	static const struct {
		void (*print)(FILE *out, const json_t *doc);
		const char *doc, *words;
	} cases[] = {
		{ print_repositories,
		    "{'repositories':[{'name':'a','foreign':1,'debris':1,"
		    "'deaths':1,'retry_in_ms':0}]}",
		    "next try now, 1 foreign key pair, 1 object without a name "
		    "(debris), 1 worker death\n" },
		{ print_repositories, "{'repositories':[{'deaths':2}]}",
		    "2 worker deaths\n" },
		{ print_topup, "{'wanted':1,'made':1,'full':true}",
		    "made 1 of 1 key; every pool is full\n" },
		{ print_plan, "{'what_if_zones':1}",
		    "What if every policy had 1 zone; nothing is changed.\n" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		char *got = printed(cases[i].print, cases[i].doc);

		if (strstr(got, cases[i].words) == NULL)
			fail_msg("no '%s' in %s", cases[i].words, got);
		free(got);
	}
}

static void
a_backup_that_is_begun_says_what_to_type(void **ctx)
{
	(void)ctx;
	expect(print_backup_begun,
	    "{'backup':{'label':'monday','repository':'hsm','frozen':2},"
	    "'repositories':1}",
	    "monday: 2 keys are frozen; to list them: ksmctl backup show "
	    "monday\n"
	    "Back the HSM up now, then: ksmctl backup commit monday\n");
	/* Where there are several, and names that a shell would split. */
	expect(print_backup_begun,
	    "{'backup':{'label':'a$b\\u0027;c','repository':'hsm two',"
	    "'frozen':1},'repositories':2}",
	    "a$b';c: 1 key is frozen; to list them: ksmctl backup show "
	    "'a$b'\\'';c' --repository 'hsm two'\n"
	    "Back the HSM up now, then: ksmctl backup commit 'a$b'\\'';c' "
	    "--repository 'hsm two'\n");
}

static void
keys_in_no_backup_have_a_sum_for_each_pool(void **ctx)
{
	static const char doc[] =
	    "{'pools':[{'policy':'a','role':'KSK','repository':'hsm',"
	    "'algorithm':'RSASHA256','size':2048,'uncovered':1,"
	    "'oldest_age_s':7200},{'policy':'b','role':'ZSK',"
	    "'repository':'hsm','algorithm':'RSASHA256','size':2048,"
	    "'uncovered':2,'oldest_age_s':null}],'count':3,'unsettled':2}";

	(void)ctx;
	expect(print_uncovered, doc,
	    "\na/KSK/hsm/RSASHA256/2048: 1 key is in no backup, the oldest is "
	    "2 h old\n"
	    "b/ZSK/hsm/RSASHA256/2048: 2 keys are in no backup, the oldest is "
	    "not known how old\n"
	    "3 keys are in no backup\n");
	expect(note_backup_check, doc,
	    "ksmctl: backup check: 2 more keys are still being settled and not "
	    "listed: they may be in the token and in no backup\n");
	expect(trouble_backup, doc,
	    "3 keys are in no backup, 2 more may be, they are still being "
	    "settled");
	expect(print_uncovered, "{'pools':[],'count':0,'unsettled':0}",
	    "0 keys are in no backup\n");
	expect(note_backup_check, "{'count':0,'unsettled':0}", "");
}

static void
a_dry_run_says_once_that_the_token_is_full(void **ctx)
{
	char *got = printed(print_topup,
	    "{'dry_run':true,'make':0,'pools':[{'capacity_short':3,'trouble':"
	    "'3 keys do not fit the Capacity of repository R'},"
	    "{'capacity_short':1,'trouble':null}]}");
	const char *first = strstr(got, "Capacity");

	(void)ctx;
	assert_non_null(first);
	first = strstr(first + 1, "Capacity");
	assert_non_null(strstr(got, " 1 does not fit the token's Capacity\n"));
	assert_null(strstr(strstr(first, "Capacity") + 1, "Capacity"));
	free(got);
}

static void
trouble_is_one_line_and_says_how_much_more(void **ctx)
{
	(void)ctx;
	expect(trouble_status,
	    "{'repositories':[" REPOSITORY("ok", "") "," REPOSITORY("parked",
		",'reason':'wrong PIN'") "],"
					 "'pools':[" POOL("empty", "0",
					     "") "," POOL("critical", "1",
					     "") "," POOL("low", "20", "") "]}",
	    "repository SoftHSM is parked: wrong PIN (and 2 more)");
	expect(trouble_status,
	    "{'repositories':[" REPOSITORY(
		"starting", "") "],"
				"'pools':[" POOL("critical", "3", "") "]}",
	    "pool default KSK in SoftHSM is critical: 3 ready, 38 required");
	expect(trouble_status,
	    "{'clock':'behind','repositories':[],'pools':[]}", "clock: behind");
}

#define TERM(shared, pass, a)                                              \
	"{'line':9,'zones':10,'shared':" shared ",'passthrough':" pass "," \
	"'lifetime_s':31536000,'horizon_s':2592000,'units':10,"            \
	"'scheduled':1,'emergency_rolls':2,'standby':0,'growth':2,"        \
	"'algorithm_roll':" a ",'required':38}"

static void
plan_shows_the_formula_with_its_numbers(void **ctx)
{
	(void)ctx;
	expect(print_plan,
	    "{'what_if_zones':null,'required':38,'deficit':2,'make':2,"
	    "'pools':[" POOL("ok", "35",
		",'low_water':31,'critical':20,'make':2,'held':0,"
		"'capacity_short':0,'ms_per_key':1500,'fill_s':3,"
		"'stock':{'made':1,'ready':35},'trouble':null,"
		"'terms':[" TERM("false", "false",
		    "0") "]") "],"
			      "'tokens':[{'repository':'SoftHSM','capacity':"
			      "100,"
			      "'pairs_held':36,'pairs_make':2,'pairs_over':0,"
			      "'objects_held':72,'objects_make':4}]}",

	    "default KSK in SoftHSM: RSASHA256 2048, ok\n"
	    "  formula   (U 10 + g 2) x (S 1 + n 2 + s 0) + g 2 = 38\n"
	    "            zones Z 10, lifetime L P365D, horizon H P30D\n"
	    "  required  38, low water 31, critical below 20\n"
	    "  stock     made 1, ready 35\n"
	    "  deficit   2, to make 2\n"
	    "  time      1500 ms per key, 3 s to fill\n"
	    "\n"
	    "REPOSITORY  CAPACITY  PAIRS  TO MAKE  THEN  OVER  OBJECTS  "
	    "OBJECTS THEN\n"
	    "SoftHSM          100     36        2    38     0       72  "
	    "          76\n"
	    "\n"
	    "in all: required 38, deficit 2, to make 2\n");
}

static void
plan_says_where_the_formula_does_not_decide(void **ctx)
{
	char *text = printed(print_plan,
	    "{'what_if_zones':500,'tokens':[],'pools':[{'policy':'lab',"
	    "'role':'ZSK','repository':'r','algorithm':'ED25519','size':256,"
	    "'strategy':'fixed','level':'empty','required':50,'deficit':50,"
	    "'make':20,'held':20,'capacity_short':30,'ms_per_key':null,"
	    "'fill_s':null,'stock':{},'trouble':'size refused',"
	    "'terms':[" TERM("true", "false", "1") "]}]}");

	(void)ctx;
	assert_non_null(strstr(text, "What if every policy had 500 zones"));
	assert_non_null(strstr(text, "+ g 2 + a 1 x U 10 = 38"));
	assert_non_null(strstr(text, "(sharing one key)"));
	assert_non_null(strstr(text, "(strategy fixed, not the formula)"));
	assert_non_null(strstr(text, "stock     none\n"));
	assert_non_null(strstr(text, "20 held back by MaxPerRun, 30 do not "
				     "fit the token's Capacity\n"));
	assert_non_null(strstr(text, "not measured yet\n"));
	assert_non_null(strstr(text, "trouble   size refused\n"));
	free(text);
}

static void
plan_and_explain_speak_of_owners(void **ctx)
{
	static const char document[] =
	    "{'what_if_scope':'owner','tokens':[],'pools':[{'policy':'lab',"
	    "'role':'ZSK','repository':'r','algorithm':'ED25519','size':256,"
	    "'strategy':'formula','level':'full','required':9,'scope':'owner',"
	    "'scope_by':'what-if','stock':{},'terms':[{'line':9,'zones':10,"
	    "'owners':3,'by_owner':true,'shared':false,'passthrough':false,"
	    "'units':3}]}]}";
	char *text = printed(print_plan, document);

	(void)ctx;
	assert_non_null(strstr(text,
	    "What if all zones of a policy with one owner shared a key; "
	    "nothing is changed.\n"));
	assert_non_null(strstr(text,
	    "zones Z 10 of 3 owners (each sharing one key), lifetime"));
	assert_non_null(strstr(text, "scope     owner\n"));
	free(text);
	text = printed(print_explain, document);
	assert_non_null(strstr(text,
	    "  10 zones are on the policy, of 3 owners, and the zones of one "
	    "owner share a key: 3 units draw.\n"));
	assert_null(strstr(text, "So says Scope"));
	free(text);
}

static void
topup_tells_the_whole_outcome_in_one_line(void **ctx)
{
	(void)ctx;
	expect(print_topup,
	    "{'wanted':38,'made':38,'failed':0,'held':0,'full':true,"
	    "'trouble':null}",
	    "made 38 of 38 keys; every pool is full\n");
	expect(trouble_topup,
	    "{'wanted':38,'made':3,'failed':1,'held':34,'full':false,"
	    "'trouble':'token full'}",
	    "made 3 of 38 keys, 1 failed, 34 held back (--max N allows more); "
	    "token full");
	expect(trouble_topup,
	    "{'wanted':0,'made':0,'failed':0,'held':0,'full':false,"
	    "'trouble':null}",
	    "made 0 of 0 keys; not every pool is full");
}

static void
findings_look_as_those_of_check(void **ctx)
{
	(void)ctx;
	expect(print_reload,
	    "{'findings':[{'severity':'error','file':'kasp.xml','line':12,"
	    "'what':'unknown algorithm','value':'99',"
	    "'expected':'5, 7, 8, 10, 13, 14, 15 or 16'},"
	    "{'severity':'warning','file':'zonelist.xml','line':null,"
	    "'what':'empty','value':null,'expected':null}]}",

	    "kasp.xml:12: error: unknown algorithm: '99'; expected "
	    "5, 7, 8, 10, 13, 14, 15 or 16\n"
	    "zonelist.xml: warning: empty\n");
	expect(print_reload,
	    "{'findings':[],'in_force':true,'repositories':1,'policies':2,"
	    "'zones':1,'warnings':0}",
	    "the new configuration is in force: 1 repository, 2 policies, "
	    "1 zone\n");
}

static void
text_from_outside_cannot_steer_the_terminal(void **ctx)
{
	char *out = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&out, &len);

	(void)ctx;
	text_print(f, "a\x1b[31mb\nc\x7f\xc2\x9b"
		      "d \xc3\xa9");
	(void)fclose(f);
	assert_string_equal(out, "a?[31mb?c??d \xc3\xa9");
	free(out);
}

static void
columns_are_aligned_by_characters_not_bytes(void **ctx)
{
	static const char *const heads[] = { "NAME", ">N", "END" };
	char *out = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&out, &len);
	struct table t;

	(void)ctx;
	table_init(&t, heads, nitems(heads));
	table_cell(&t, "d\xc3\xa9j\xc3\xa0 vu");
	table_cell(&t, "%d", 7);
	table_cell(&t, "x");
	table_cell(&t, "z");
	table_cell(&t, "%d", 1000);
	table_cell(&t, "y");
	table_print(&t, f);
	(void)fclose(f);
	assert_string_equal(out, "NAME        N  END\n"
				 "d\xc3\xa9j\xc3\xa0 vu     7  x\n"
				 "z        1000  y\n");
	free(out);
}

static void
the_bar_never_leaves_its_frame(void **ctx)
{
	static const struct {
		int64_t done, total;
		const char *bar;
	} cases[] = {
		{ 0, 40, "[..............................] 0/40  0 %" },
		{ 20, 40, "[###############...............] 20/40  50 %" },
		{ 40, 40, "[##############################] 40/40  100 %" },
		{ 41, 40, "[##############################] 41/40  100 %" },
		{ 3, 0, "[..............................] 3/0  0 %" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		char *out = NULL;
		size_t len = 0;
		FILE *f = open_memstream(&out, &len);

		print_progress(f, cases[i].done, cases[i].total, 0);
		(void)fclose(f);
		assert_non_null(strstr(out, cases[i].bar));
		free(out);
	}
}

#define ID "00112233445566778899aabbccddeeff"

static void
each_key_has_its_own_answer(void **ctx)
{
	(void)ctx;
	expect(print_key_results,
	    "{'keys':[{'id':'" ID "','done':true,'text':null},"
	    "{'id':'" ID "','done':false,'text':'no such key'}]}",
	    ID "  done\n" ID "  refused: no such key\n");
	expect(print_key_results,
	    "{'dry_run':true,'keys':[{'id':'" ID "','would':true,"
	    "'text':null,'key':{'state':'retired','role':'ZSK',"
	    "'policy':'lab','created':'2026-11-25T13:00:00Z'}}]}",
	    ID "  would be done (retired ZSK of lab, made "
	       "2026-11-25T13:00:00Z)\n");
}

static void
a_key_that_is_kept_says_until_when(void **ctx)
{
#define KEY(until)                                                     \
	"{'key':{'id':'" ID "','state':'retired','policy':'lab',"      \
	"'kept_until':" until "},'zones':['a.example'],'zones_total':1}"
	char *kept = printed(print_key, KEY("'2026-12-09T13:00:00Z'")),
	     *free_to_go = printed(print_key, KEY("null"));
#undef KEY

	(void)ctx;
	assert_non_null(strstr(kept,
	    "kept until     2026-12-09T13:00:00Z, Purge of policy lab\n"));
	assert_null(strstr(free_to_go, "kept until"));
	free(kept);
	free(free_to_go);
}

static void
an_inventory_counts_what_there_is_and_lists_what_is_odd(void **ctx)
{
	(void)ctx;
	expect(print_inventory,
	    "{'repositories':[{'name':'a','counts':{'ours':7,'half':1,"
	    "'foreign':0},'trouble':null},"
	    "{'name':'b','counts':{},'trouble':'it is parked'}],'found':[]}",
	    "a: 7 ours, 1 half\nb: could not be looked at: it is parked\n");
	expect(print_adopted,
	    "{'key':{'id':'" ID "','state':'quarantined'},"
	    "'why':'extractable'}",
	    ID " is quarantined now: extractable\n");
}

static void
a_broken_chain_names_its_first_fault(void **ctx)
{
	(void)ctx;
	expect(print_verified,
	    "{'number':9,'hash':'ab','faults':0,'head_fits':null}",
	    "the chain is whole\nhead 9:ab\n");
	expect(print_verified,
	    "{'number':9,'hash':'ab','faults':2,'first_fault':'row 3',"
	    "'head_fits':null}",
	    "2 faults; the first: row 3\nhead 9:ab\n");
	expect(trouble_verified,
	    "{'faults':0,'head_fits':false}",
	    "the head that was kept is not in the history");
}

static void
a_pause_says_when_it_ends(void **ctx)
{
	(void)ctx;
	expect(print_paused, "{'paused':{'until':null}}",
	    "paused until 'ksmctl resume'; keys that are being made are "
	    "finished\n");
	expect(print_paused, "{'paused':{'until':'2026-11-25T13:00:00Z'}}",
	    "paused until 2026-11-25T13:00:00Z; keys that are being made are "
	    "finished\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_is_three_tables),
		cmocka_unit_test(the_zone_list_says_what_is_in_force),
		cmocka_unit_test(remarks_name_what_is_not_nothing),
		cmocka_unit_test(one_is_not_many),
		cmocka_unit_test(a_dry_run_says_once_that_the_token_is_full),
		cmocka_unit_test(trouble_is_one_line_and_says_how_much_more),
		cmocka_unit_test(plan_shows_the_formula_with_its_numbers),
		cmocka_unit_test(plan_says_where_the_formula_does_not_decide),
		cmocka_unit_test(plan_and_explain_speak_of_owners),
		cmocka_unit_test(topup_tells_the_whole_outcome_in_one_line),
		cmocka_unit_test(findings_look_as_those_of_check),
		cmocka_unit_test(text_from_outside_cannot_steer_the_terminal),
		cmocka_unit_test(columns_are_aligned_by_characters_not_bytes),
		cmocka_unit_test(the_bar_never_leaves_its_frame),
		cmocka_unit_test(status_says_what_backups_are_good_for),
		cmocka_unit_test(a_backup_that_is_begun_says_what_to_type),
		cmocka_unit_test(keys_in_no_backup_have_a_sum_for_each_pool),
		cmocka_unit_test(each_key_has_its_own_answer),
		cmocka_unit_test(a_key_that_is_kept_says_until_when),
		cmocka_unit_test(
		    an_inventory_counts_what_there_is_and_lists_what_is_odd),
		cmocka_unit_test(a_broken_chain_names_its_first_fault),
		cmocka_unit_test(a_pause_says_when_it_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
