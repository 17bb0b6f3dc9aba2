#include "print_parts.h"

#include <inttypes.h>
#include <string.h>

#include "ksmpool/duration.h"

static void
repository_notes(const json_t *r, struct notes *n)
{
	static const struct {
		const char *field, *one, *many;
	} counts[] = {
		{ "overdue", "overdue", "overdue" },
		{ "settling", "being settled", "being settled" },
		{ "verifying", "being verified", "being verified" },
		{ "missing", "missing", "missing" },
		{ "quarantined", "quarantined", "quarantined" },
		{ "orphans", "of ours without a record",
		    "of ours without a record" },
		{ "foreign", "foreign key pair", "foreign key pairs" },
		{ "debris", "object without a name (debris)",
		    "objects without a name (debris)" },
		{ "deaths", "worker death", "worker deaths" },
	};
	char human[DURATION_TEXT];
	int64_t count;

	n->text[0] = '\0';
	if (doc_text(r, "reason")[0] != '\0')
		notes_add(n, "%s", doc_text(r, "reason"));
	if (doc_known(r, "retry_in_ms") && doc_number(r, "retry_in_ms") <= 0)
		notes_add(n, "next try now");
	else if (doc_known(r, "retry_in_ms")) {
		duration_human((doc_number(r, "retry_in_ms") + 999) / 1000, human);
		notes_add(n, "next try in %s", human);
	}
	for (size_t i = 0; i < nitems(counts); i++) {
		count = doc_number(r, counts[i].field);
		if (count != 0)
			notes_add(n, "%" PRId64 " %s", count,
			    plural(count, counts[i].one, counts[i].many));
	}
}

void
print_repositories(FILE *out, const json_t *doc)
{
	static const char *const heads[] = { "REPOSITORY", "STATUS", "TOKEN",
		"SERIAL", ">WORKERS", ">BUSY", ">PAIRS", ">CAPACITY",
		"LAST LOOK", "REMARKS" };
	const json_t *list = json_object_get(doc, "repositories"), *r;
	struct table t;
	struct notes n;
	size_t i;

	table_init(&t, heads, nitems(heads));
	json_array_foreach(list, i, r) {
		table_cell(&t, "%s", doc_text(r, "name"));
		table_cell(&t, "%s", doc_text(r, "status"));
		table_cell(&t, "%s", doc_text_or(r, "token", "-"));
		table_cell(&t, "%s", doc_text_or(r, "serial", "-"));
		table_cell(&t, "%" PRId64 "/%" PRId64, doc_number(r, "generators"),
		    doc_number(r, "sessions"));
		table_cell(&t, "%" PRId64, doc_number(r, "busy"));
		if (doc_known(r, "pairs"))
			table_cell(&t, "%" PRId64, doc_number(r, "pairs"));
		else
			table_cell(&t, "-");
		if (doc_known(r, "capacity"))
			table_cell(&t, "%" PRId64, doc_number(r, "capacity"));
		else
			table_cell(&t, "-");
		table_cell(&t, "%s", doc_text_or(r, "looked", "never"));
		repository_notes(r, &n);
		table_cell(&t, "%s", n.text[0] != '\0' ? n.text : "-");
	}
	table_print(&t, out);
}

void
print_resumed(FILE *out, const json_t *doc)
{
	(void)fputs("repository ", out);
	text_print(out, doc_text(doc, "resumed"));
	(void)fprintf(out, ": %s\n",
	    doc_flag(doc, "accept_token")
		? "its token is accepted as it is; it is tried again now"
		: "it is tried again now");
}

static void
print_last_run(FILE *out, const json_t *run)
{
	struct notes n = { .text = "" };
	int64_t made = doc_number(run, "made");
	int64_t wanted = doc_number(run, "wanted");

	if (!json_is_object(run)) {
		fact(out, "last run", "none yet");
		return;
	}
	if (doc_known(run, "uid"))
		notes_add(&n, "%s by uid %" PRId64, doc_text(run, "cause"),
		    doc_number(run, "uid"));
	else
		notes_add(&n, "%s", doc_text(run, "cause"));
	notes_add(
	    &n, "%s to %s", doc_text(run, "started"),
	    doc_text_or(run, "ended", "now"));
	/* Keys that were taken while it ran are made, too. */
	notes_add(&n, "made %" PRId64 " of %" PRId64, made,
	    made > wanted ? made : wanted);
	if (doc_number(run, "failed") != 0)
		notes_add(&n, "%" PRId64 " failed", doc_number(run, "failed"));
	if (doc_number(run, "held") != 0)
		notes_add(&n, "%" PRId64 " held back", doc_number(run, "held"));
	fact(out, "last run", n.text);
}

static void
print_pools(FILE *out, const json_t *doc)
{
	static const char *const heads[] = { "POLICY", "ROLE", "REPOSITORY",
		"ALGORITHM", ">SIZE", "STRATEGY", "LEVEL", ">READY", ">COMING",
		">REQUIRED", ">DEFICIT", "REMARKS" };
	const json_t *list = json_object_get(doc, "pools"), *p;
	struct table t;
	struct notes n;
	size_t i;

	table_init(&t, heads, nitems(heads));
	json_array_foreach(list, i, p) {
		table_cell(&t, "%s", doc_text(p, "policy"));
		table_cell(&t, "%s", doc_text(p, "role"));
		table_cell(&t, "%s", doc_text(p, "repository"));
		table_cell(&t, "%s", doc_text(p, "algorithm"));
		table_cell(&t, "%" PRId64, doc_number(p, "size"));
		table_cell(&t, "%s", doc_text(p, "strategy"));
		table_cell(&t, "%s", doc_text(p, "level"));
		table_cell(&t, "%" PRId64, doc_number(p, "ready"));
		table_cell(&t, "%" PRId64, doc_number(p, "coming"));
		table_cell(&t, "%" PRId64, doc_number(p, "required"));
		table_cell(&t, "%" PRId64, doc_number(p, "deficit"));
		n.text[0] = '\0';
		if (pool_unusable(p) > 0)
			notes_add(&n, "%" PRId64 " ready in no backup",
			    pool_unusable(p));
		if (doc_number(p, "held") != 0)
			notes_add(&n, "%" PRId64 " held back by MaxPerRun",
			    doc_number(p, "held"));
		if (doc_text(p, "trouble")[0] != '\0')
			notes_add(&n, "%s", doc_text(p, "trouble"));
		table_cell(&t, "%s", n.text[0] != '\0' ? n.text : "-");
	}
	table_print(&t, out);
}

static bool
is_last_good(const json_t *zonelist)
{
	return strcmp(doc_text(zonelist, "in_force"), "last-good") == 0;
}

/* Its state, and what is counted on. */
static void
zonelist_notes(const json_t *zonelist, struct notes *n)
{
	int64_t zones = doc_number(zonelist, "zones");
	int64_t owners = doc_number(zonelist, "owners");
	char of[64] = "";

	if (doc_known(zonelist, "owners"))
		(void)snprintf(of, sizeof(of), " of %" PRId64 " %s", owners,
		    plural(owners, "owner", "owners"));
	notes_add(n, "%s", doc_text(zonelist, "state"));
	if (doc_known(zonelist, "owner_file") &&
	    strcmp(doc_text(zonelist, "owner_file"), "ok") != 0)
		notes_add(n, "owner file %s",
		    doc_text(zonelist, "owner_file"));
	if (is_last_good(zonelist))
		notes_add(n,
		    "the last good list stays in force with %" PRId64 " %s%s",
		    zones, plural(zones, "zone", "zones"), of);
	else
		notes_add(n, "%" PRId64 " %s%s%s", zones,
		    plural(zones, "zone", "zones"), of,
		    strcmp(doc_text(zonelist, "state"), "ok") == 0
			? ""
			: ", accepted as it is");
}

static void
pause_fact(FILE *out, const json_t *p)
{
	struct notes n = { .text = "" };

	if (!json_is_object(p))
		return;
	notes_add(&n, "since %s", doc_text(p, "since"));
	if (doc_known(p, "until"))
		notes_add(&n, "until %s", doc_text(p, "until"));
	else
		notes_add(&n, "until 'ksmctl resume'");
	notes_add(&n, "by uid %" PRId64, doc_number(p, "uid"));
	if (doc_text(p, "reason")[0] != '\0')
		notes_add(&n, "%s", doc_text(p, "reason"));
	fact(out, "paused", n.text);
}

/* What no backup has, and how long what one has will do. */
static void
backup_fact(FILE *out, const json_t *b)
{
	struct notes n = { .text = "" };
	int64_t none = doc_number(b, "uncovered");
	int64_t in_use = doc_number(b, "uncovered_in_use");
	bool last = doc_known(b, "last");

	if (last)
		notes_add(&n, "%s: last begun %s (%s), %" PRId64
		    " %s uncovered", doc_text(b, "repository"),
		    doc_text(b, "last"), doc_text(b, "last_label"), none,
		    plural(none, "key", "keys"));
	else
		notes_add(&n, "%s: no backup on record: %" PRId64
		    " %s uncovered", doc_text(b, "repository"), none,
		    plural(none, "key", "keys"));
	if (none > 0)
		notes_add(&n, "the oldest of %s",
		    doc_text_or(b, "oldest_uncovered", "an unknown time"));
	if (in_use > 0)
		notes_add(&n, "%" PRId64 " of them in use", in_use);
	if (doc_known(b, "open"))
		notes_add(&n, "%s is open", doc_text(b, "open"));
	if (doc_known(b, "lasts_until") && (last || doc_flag(b, "required")))
		notes_add(&n,
		    "backed-up keys last until %s, %s runs out first; next "
		    "backup needed before %s",
		    doc_text(b, "lasts_until"),
		    doc_text_or(b, "first_out", "one pool"),
		    doc_text(b, "lasts_until"));
	else if (doc_known(b, "first_out") && !doc_flag(b, "suffices") &&
	    (last || doc_flag(b, "required")))
		notes_add(&n,
		    "backed-up keys do not suffice now, %s runs out first: %s",
		    doc_text(b, "first_out"),
		    doc_number(b, "first_out_uncovered") > 0
			? "back up now"
			: "let it be filled, then back up");
	fact(out, "backup", n.text);
}

void
print_status(FILE *out, const json_t *doc)
{
	const json_t *zonelist = json_object_get(doc, "zonelist"), *name;
	const json_t *required =
	    json_object_get(json_object_get(doc, "backup"), "required");
	const json_t *handouts = json_object_get(doc, "handouts");
	struct notes n = { .text = "" };
	char human[DURATION_TEXT];
	size_t i;

	duration_human(doc_number(doc, "uptime_s"), human);
	notes_add(&n, "ksmpoold %s", doc_text(doc, "daemon_version"));
	notes_add(&n, "process %" PRId64, doc_number(doc, "pid"));
	notes_add(&n, "up %s since %s", human, doc_text(doc, "started"));
	fact(out, "daemon", n.text);
	fact(out, "configuration", doc_text(doc, "config"));
	n.text[0] = '\0';
	zonelist_notes(zonelist, &n);
	fact(out, "zone list", n.text);
	print_last_run(out, json_object_get(doc, "last_run"));
	if (doc_known(doc, "clock"))
		fact(out, "clock", doc_text(doc, "clock"));
	if (doc_known(doc, "database"))
		fact(out, "database", doc_text(doc, "database"));
	pause_fact(out, json_object_get(doc, "paused"));
	n.text[0] = '\0';
	json_array_foreach(required, i, name)
		notes_add(&n, "%s", json_string_value(name));
	if (n.text[0] != '\0')
		fact(out, "RequireBackup", n.text);
	json_array_foreach(json_object_get(doc, "backups"), i, name)
		backup_fact(out, name);
	n.text[0] = '\0';
	notes_add(&n, "%" PRId64, doc_number(handouts, "number"));
	if (doc_flag(handouts, "locked"))
		notes_add(&n, "locked: %s",
		    doc_text_or(handouts, "reason", "no reason given"));
	else if (doc_known(handouts, "reason"))
		notes_add(&n, "the last take failed: %s",
		    doc_text(handouts, "reason"));
	fact(out, "hand-outs", n.text);
	(void)fputc('\n', out);
	print_repositories(out, doc);
	(void)fputc('\n', out);
	print_pools(out, doc);
}

/* The worst first, and how many more there are. */
void
trouble_status(FILE *out, const json_t *doc)
{
	const json_t *list, *o, *zonelist = json_object_get(doc, "zonelist");
	struct notes first = { .text = "" }, zones = { .text = "" };
	int64_t in_use;
	int more = -1;
	size_t i;

	if (doc_known(doc, "database") && more++ < 0)
		notes_add(&first, "database: %s", doc_text(doc, "database"));
	if (doc_known(doc, "clock") && more++ < 0)
		notes_add(&first, "clock: %s", doc_text(doc, "clock"));
	if (is_last_good(zonelist) && more++ < 0) {
		zonelist_notes(zonelist, &zones);
		notes_add(&first, "zone list: %s", zones.text);
	}
	o = json_object_get(doc, "handouts");
	if ((doc_flag(o, "locked") || doc_known(o, "reason")) && more++ < 0)
		notes_add(&first, "nothing is handed out: %s",
		    doc_text_or(o, "reason", "no reason given"));
	list = json_object_get(doc, "repositories");
	json_array_foreach(list, i, o) {
		if (strcmp(doc_text(o, "status"), "ok") == 0 ||
		    strcmp(doc_text(o, "status"), "starting") == 0)
			continue;
		if (more++ < 0)
			notes_add(&first, "repository %s is %s: %s",
			    doc_text(o, "name"), doc_text(o, "status"),
			    doc_text_or(o, "reason", "no reason given"));
	}
	list = json_object_get(doc, "pools");
	json_array_foreach(list, i, o) {
		if (strcmp(doc_text(o, "level"), "critical") != 0 &&
		    strcmp(doc_text(o, "level"), "empty") != 0)
			continue;
		if (more++ < 0)
			pool_trouble(o, first.text, sizeof(first.text));
	}
	list = json_object_get(doc, "backups");
	json_array_foreach(list, i, o) {
		in_use = doc_number(o, "uncovered_in_use");
		if (in_use == 0 ||
		    (!doc_flag(o, "required") && !doc_known(o, "last")))
			continue;
		if (more++ < 0)
			notes_add(&first,
			    "repository %s: %" PRId64
			    " %s in use and in no backup",
			    doc_text(o, "repository"), in_use,
			    plural(in_use, "key is", "keys are"));
	}
	text_print(out, first.text);
	if (more > 0)
		(void)fprintf(out, " (and %d more)", more);
}
