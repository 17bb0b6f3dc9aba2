#include "print.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/duration.h"

#define BAR_WIDTH 30

/* ---- text and tables ------------------------------------------------- */

void
text_print(FILE *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	for (; *s != '\0'; s++) {
		if (*s < 0x20 || *s == 0x7f)
			(void)fputc('?', out);
		else if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0) {
			(void)fputc('?', out); /* C1 controls in UTF-8 */
			s++;
		} else
			(void)fputc(*s, out);
	}
}

/* Characters, not bytes; wide ones count as one. */
static size_t
text_width(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

void
table_init(struct table *t, const char *const *heads, size_t columns)
{
	*t = (struct table){ .heads = heads, .columns = columns };
	for (size_t i = 0; i < columns; i++)
		table_cell(t, "%s", heads[i] + (heads[i][0] == '>'));
}

void
table_cell(struct table *t, const char *fmt, ...)
{
	char **bigger;
	va_list ap;

	if (t->failed)
		return;
	if (t->ncells == t->room) {
		bigger =
		    realloc(t->cells, (2 * t->room + 64) * sizeof(*t->cells));
		if (bigger == NULL) {
			t->failed = true;
			return;
		}
		t->cells = bigger;
		t->room = 2 * t->room + 64;
	}
	va_start(ap, fmt);
	if (vasprintf(&t->cells[t->ncells], fmt, ap) == -1)
		t->failed = true;
	else
		t->ncells++;
	va_end(ap);
}

void
table_print(struct table *t, FILE *out)
{
	size_t width[32] = { 0 }, w, column;
	bool right, last;

	if (t->failed)
		(void)fprintf(out, "(out of memory)\n");
	for (size_t i = 0; i < t->ncells && !t->failed; i++) {
		w = text_width(t->cells[i]);
		if (w > width[i % t->columns])
			width[i % t->columns] = w;
	}
	for (size_t i = 0; i < t->ncells && !t->failed; i++) {
		column = i % t->columns;
		right = t->heads[column][0] == '>';
		last = column + 1 == t->columns;
		w = width[column] - text_width(t->cells[i]);
		if (right)
			(void)fprintf(out, "%*s", (int)w, "");
		text_print(out, t->cells[i]);
		if (!right && !last)
			(void)fprintf(out, "%*s", (int)w, "");
		(void)fputs(last ? "\n" : "  ", out);
	}
	for (size_t i = 0; i < t->ncells; i++)
		free(t->cells[i]);
	free(t->cells);
	*t = (struct table){ .heads = t->heads, .columns = t->columns };
}

/* ---- reading the document -------------------------------------------- */

static int64_t
number(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

/* "" when it is null or missing. */
static const char *
text(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s != NULL ? s : "";
}

static const char *
text_or(const json_t *o, const char *name, const char *none)
{
	const char *s = text(o, name);

	return s[0] != '\0' ? s : none;
}

static bool
known(const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);

	return v != NULL && !json_is_null(v);
}

static bool
flag(const json_t *o, const char *name)
{
	return json_is_true(json_object_get(o, name));
}

/* Remarks of one row: "a, b, c". */
struct notes {
	char text[1024];
};

static void notes_add(struct notes *n, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
notes_add(struct notes *n, const char *fmt, ...)
{
	size_t used = strlen(n->text);
	va_list ap;

	if (used > 0 && used + 3 < sizeof(n->text)) {
		(void)memcpy(n->text + used, ", ", 3);
		used += 2;
	}
	va_start(ap, fmt);
	(void)vsnprintf(n->text + used, sizeof(n->text) - used, fmt, ap);
	va_end(ap);
}

/* "label   text" on a line of its own, cleaned. */
static void
fact(FILE *out, const char *label, const char *value)
{
	(void)fprintf(out, "%-14s ", label);
	text_print(out, value);
	(void)fputc('\n', out);
}

static const char *
plural(int64_t n, const char *one, const char *many)
{
	return n == 1 ? one : many;
}

/* ---- repositories ---------------------------------------------------- */

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
	if (text(r, "reason")[0] != '\0')
		notes_add(n, "%s", text(r, "reason"));
	if (known(r, "retry_in_ms") && number(r, "retry_in_ms") <= 0)
		notes_add(n, "next try now");
	else if (known(r, "retry_in_ms")) {
		duration_human((number(r, "retry_in_ms") + 999) / 1000, human);
		notes_add(n, "next try in %s", human);
	}
	for (size_t i = 0; i < nitems(counts); i++) {
		count = number(r, counts[i].field);
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
		table_cell(&t, "%s", text(r, "name"));
		table_cell(&t, "%s", text(r, "status"));
		table_cell(&t, "%s", text_or(r, "token", "-"));
		table_cell(&t, "%s", text_or(r, "serial", "-"));
		table_cell(&t, "%" PRId64 "/%" PRId64, number(r, "generators"),
		    number(r, "sessions"));
		table_cell(&t, "%" PRId64, number(r, "busy"));
		if (known(r, "pairs"))
			table_cell(&t, "%" PRId64, number(r, "pairs"));
		else
			table_cell(&t, "-");
		if (known(r, "capacity"))
			table_cell(&t, "%" PRId64, number(r, "capacity"));
		else
			table_cell(&t, "-");
		table_cell(&t, "%s", text_or(r, "looked", "never"));
		repository_notes(r, &n);
		table_cell(&t, "%s", n.text[0] != '\0' ? n.text : "-");
	}
	table_print(&t, out);
}

void
print_resumed(FILE *out, const json_t *doc)
{
	(void)fputs("repository ", out);
	text_print(out, text(doc, "resumed"));
	(void)fprintf(out, ": %s\n",
	    flag(doc, "accept_token")
		? "its token is accepted as it is; it is tried again now"
		: "it is tried again now");
}

/* ---- status ---------------------------------------------------------- */

static void
print_last_run(FILE *out, const json_t *run)
{
	struct notes n = { .text = "" };

	if (!json_is_object(run)) {
		fact(out, "last run", "none yet");
		return;
	}
	if (known(run, "uid"))
		notes_add(&n, "%s by uid %" PRId64, text(run, "cause"),
		    number(run, "uid"));
	else
		notes_add(&n, "%s", text(run, "cause"));
	notes_add(
	    &n, "%s to %s", text(run, "started"), text_or(run, "ended", "now"));
	notes_add(&n, "made %" PRId64 " of %" PRId64, number(run, "made"),
	    number(run, "wanted"));
	if (number(run, "failed") != 0)
		notes_add(&n, "%" PRId64 " failed", number(run, "failed"));
	if (number(run, "held") != 0)
		notes_add(&n, "%" PRId64 " held back", number(run, "held"));
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
		table_cell(&t, "%s", text(p, "policy"));
		table_cell(&t, "%s", text(p, "role"));
		table_cell(&t, "%s", text(p, "repository"));
		table_cell(&t, "%s", text(p, "algorithm"));
		table_cell(&t, "%" PRId64, number(p, "size"));
		table_cell(&t, "%s", text(p, "strategy"));
		table_cell(&t, "%s", text(p, "level"));
		table_cell(&t, "%" PRId64, number(p, "ready"));
		table_cell(&t, "%" PRId64, number(p, "coming"));
		table_cell(&t, "%" PRId64, number(p, "required"));
		table_cell(&t, "%" PRId64, number(p, "deficit"));
		n.text[0] = '\0';
		if (number(p, "held") != 0)
			notes_add(&n, "%" PRId64 " held back by MaxPerRun",
			    number(p, "held"));
		if (text(p, "trouble")[0] != '\0')
			notes_add(&n, "%s", text(p, "trouble"));
		table_cell(&t, "%s", n.text[0] != '\0' ? n.text : "-");
	}
	table_print(&t, out);
}

static bool
is_last_good(const json_t *zonelist)
{
	return strcmp(text(zonelist, "in_force"), "last-good") == 0;
}

/* Its state, and what is counted on. */
static void
zonelist_notes(const json_t *zonelist, struct notes *n)
{
	int64_t zones = number(zonelist, "zones");

	notes_add(n, "%s", text(zonelist, "state"));
	if (is_last_good(zonelist))
		notes_add(n,
		    "the last good list stays in force with %" PRId64 " %s",
		    zones, plural(zones, "zone", "zones"));
	else
		notes_add(n, "%" PRId64 " %s%s", zones,
		    plural(zones, "zone", "zones"),
		    strcmp(text(zonelist, "state"), "ok") == 0
			? ""
			: ", accepted as it is");
}

void
print_status(FILE *out, const json_t *doc)
{
	const json_t *zonelist = json_object_get(doc, "zonelist"), *name;
	const json_t *required =
	    json_object_get(json_object_get(doc, "backup"), "required");
	struct notes n = { .text = "" };
	char human[DURATION_TEXT];
	size_t i;

	duration_human(number(doc, "uptime_s"), human);
	notes_add(&n, "ksmpoold %s", text(doc, "daemon_version"));
	notes_add(&n, "process %" PRId64, number(doc, "pid"));
	notes_add(&n, "up %s since %s", human, text(doc, "started"));
	fact(out, "daemon", n.text);
	fact(out, "configuration", text(doc, "config"));
	n.text[0] = '\0';
	zonelist_notes(zonelist, &n);
	fact(out, "zone list", n.text);
	print_last_run(out, json_object_get(doc, "last_run"));
	if (known(doc, "clock"))
		fact(out, "clock", text(doc, "clock"));
	n.text[0] = '\0';
	json_array_foreach(required, i, name)
		notes_add(&n, "%s", json_string_value(name));
	if (n.text[0] != '\0')
		fact(out, "RequireBackup", n.text);
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
	int more = -1;
	size_t i;

	if (known(doc, "clock") && more++ < 0)
		notes_add(&first, "clock: %s", text(doc, "clock"));
	if (is_last_good(zonelist) && more++ < 0) {
		zonelist_notes(zonelist, &zones);
		notes_add(&first, "zone list: %s", zones.text);
	}
	list = json_object_get(doc, "repositories");
	json_array_foreach(list, i, o) {
		if (strcmp(text(o, "status"), "ok") == 0 ||
		    strcmp(text(o, "status"), "starting") == 0)
			continue;
		if (more++ < 0)
			notes_add(&first, "repository %s is %s: %s",
			    text(o, "name"), text(o, "status"),
			    text_or(o, "reason", "no reason given"));
	}
	list = json_object_get(doc, "pools");
	json_array_foreach(list, i, o) {
		if (strcmp(text(o, "level"), "critical") != 0 &&
		    strcmp(text(o, "level"), "empty") != 0)
			continue;
		if (more++ < 0)
			notes_add(&first,
			    "pool %s %s in %s is %s: %" PRId64
			    " ready, %" PRId64 " required",
			    text(o, "policy"), text(o, "role"),
			    text(o, "repository"), text(o, "level"),
			    number(o, "ready"), number(o, "required"));
	}
	text_print(out, first.text);
	if (more > 0)
		(void)fprintf(out, " (and %d more)", more);
}

/* ---- plan ------------------------------------------------------------ */

/* (U 10 + g 2) x (S 1 + n 2 + s 0) + g 2 = 38 */
static void
print_formula(FILE *out, const json_t *t)
{
	int64_t units = number(t, "units"), grown = number(t, "growth");
	int64_t roll = number(t, "algorithm_roll");

	(void)fprintf(out,
	    "(U %" PRId64 " + g %" PRId64 ") x (S %" PRId64 " + n %" PRId64
	    " + s %" PRId64 ") + g %" PRId64,
	    units, grown, number(t, "scheduled"), number(t, "emergency_rolls"),
	    number(t, "standby"), grown);
	if (roll != 0)
		(void)fprintf(
		    out, " + a %" PRId64 " x U %" PRId64, roll, units);
	(void)fprintf(out, " = %" PRId64 "\n", number(t, "required"));
}

static void
print_term(FILE *out, const json_t *t)
{
	char lifetime[DURATION_TEXT] = "never rolls", horizon[DURATION_TEXT];

	if (number(t, "lifetime_s") > 0)
		duration_format(number(t, "lifetime_s"), lifetime);
	duration_format(number(t, "horizon_s"), horizon);
	(void)fprintf(out, "  formula   ");
	print_formula(out, t);
	(void)fprintf(out,
	    "            zones Z %" PRId64 "%s, lifetime L %s, "
	    "horizon H %s\n",
	    number(t, "zones"),
	    flag(t, "passthrough") ? " (passthrough: no keys)"
	    : flag(t, "shared")	   ? " (sharing one key)"
				   : "",
	    lifetime, horizon);
}

static void
print_plan_pool(FILE *out, const json_t *p)
{
	const json_t *terms = json_object_get(p, "terms"), *t, *count;
	const json_t *stock = json_object_get(p, "stock");
	const char *strategy = text(p, "strategy"), *state, *comma = "";
	char human[DURATION_TEXT];
	size_t i;

	text_print(out, text(p, "policy"));
	(void)fprintf(out, " %s in ", text(p, "role"));
	text_print(out, text(p, "repository"));
	(void)fprintf(out, ": %s %" PRId64 ", %s\n", text(p, "algorithm"),
	    number(p, "size"), text(p, "level"));
	json_array_foreach(terms, i, t)
		print_term(out, t);
	(void)fprintf(out, "  required  %" PRId64, number(p, "required"));
	if (strcmp(strategy, "fixed") == 0)
		(void)fprintf(out, " (strategy fixed, not the formula)");
	else if (strcmp(strategy, "minimum") == 0)
		(void)fprintf(out, " (strategy minimum: n = g = 0, "
				   "H = MinimumHorizon)");
	else if (strcmp(strategy, "manual") == 0)
		(void)fprintf(out, " (strategy manual: made by 'ksmctl topup' "
				   "only)");
	(void)fprintf(out,
	    ", low water %" PRId64 ", critical below %" PRId64 "\n",
	    number(p, "low_water"), number(p, "critical"));
	(void)fprintf(out, "  stock     ");
	json_object_foreach((json_t *)(uintptr_t)stock, state, count) {
		(void)fprintf(out, "%s%s %" PRId64, comma, state,
		    (int64_t)json_integer_value(count));
		comma = ", ";
	}
	(void)fprintf(out, "%s\n", comma[0] == '\0' ? "none" : "");
	(void)fprintf(out, "  deficit   %" PRId64 ", to make %" PRId64,
	    number(p, "deficit"), number(p, "make"));
	if (number(p, "held") != 0)
		(void)fprintf(out,
		    ", of these %" PRId64 " held back by MaxPerRun",
		    number(p, "held"));
	if (number(p, "capacity_short") != 0)
		(void)fprintf(out,
		    ", %" PRId64 " %s not fit the token's Capacity",
		    number(p, "capacity_short"),
		    plural(number(p, "capacity_short"), "does", "do"));
	(void)fputc('\n', out);
	if (known(p, "ms_per_key"))
		(void)fprintf(out, "  time      %" PRId64 " ms per key",
		    number(p, "ms_per_key"));
	else
		(void)fprintf(out, "  time      not measured yet");
	if (known(p, "fill_s") && number(p, "make") > 0) {
		duration_human(number(p, "fill_s"), human);
		(void)fprintf(out, ", %s to fill", human);
	}
	(void)fputc('\n', out);
	if (text(p, "trouble")[0] != '\0') {
		(void)fprintf(out, "  trouble   ");
		text_print(out, text(p, "trouble"));
		(void)fputc('\n', out);
	}
	(void)fputc('\n', out);
}

static void
print_tokens(FILE *out, const json_t *doc)
{
	static const char *const heads[] = { "REPOSITORY", ">CAPACITY",
		">PAIRS", ">TO MAKE", ">THEN", ">OVER", ">OBJECTS",
		">OBJECTS THEN" };
	const json_t *list = json_object_get(doc, "tokens"), *k;
	struct table t;
	size_t i;

	table_init(&t, heads, nitems(heads));
	json_array_foreach(list, i, k) {
		table_cell(&t, "%s", text(k, "repository"));
		if (known(k, "capacity"))
			table_cell(&t, "%" PRId64, number(k, "capacity"));
		else
			table_cell(&t, "-");
		table_cell(&t, "%" PRId64, number(k, "pairs_held"));
		table_cell(&t, "%" PRId64, number(k, "pairs_make"));
		table_cell(&t, "%" PRId64,
		    number(k, "pairs_held") + number(k, "pairs_make"));
		table_cell(&t, "%" PRId64, number(k, "pairs_over"));
		table_cell(&t, "%" PRId64, number(k, "objects_held"));
		table_cell(&t, "%" PRId64,
		    number(k, "objects_held") + number(k, "objects_make"));
	}
	table_print(&t, out);
}

void
print_plan(FILE *out, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "pools"), *p;
	size_t i;

	if (known(doc, "what_if_zones"))
		(void)fprintf(out,
		    "What if every policy had %" PRId64
		    " %s; nothing is changed.\n\n",
		    number(doc, "what_if_zones"),
		    plural(number(doc, "what_if_zones"), "zone", "zones"));
	json_array_foreach(list, i, p)
		print_plan_pool(out, p);
	print_tokens(out, doc);
	(void)fprintf(out,
	    "\nin all: required %" PRId64 ", deficit %" PRId64
	    ", to make %" PRId64 "\n",
	    number(doc, "required"), number(doc, "deficit"),
	    number(doc, "make"));
}

/* ---- keys ------------------------------------------------------------ */

/* Shown as they come, so the widths are those of the longest words. */
void
print_key_row(FILE *out, const json_t *k, bool first)
{
	if (first)
		(void)fprintf(out,
		    "%-32s  %-11s  %-4s  %-18s  %4s  %-20s  "
		    "%-16s  %s\n",
		    "ID", "STATE", "ROLE", "ALGORITHM", "SIZE", "CREATED",
		    "REPOSITORY", "POLICY");
	(void)fprintf(out, "%-32s  %-11s  %-4s  %-18s  %4" PRId64 "  %-20s  ",
	    text(k, "id"), text(k, "state"), text(k, "role"),
	    text(k, "algorithm"), number(k, "size"),
	    text_or(k, "created", "-"));
	text_print(out, text(k, "repository"));
	(void)fprintf(out, "%*s  ",
	    text_width(text(k, "repository")) < 16
		? (int)(16 - text_width(text(k, "repository")))
		: 0,
	    "");
	text_print(out, text(k, "policy"));
	(void)fputc('\n', out);
}

void
print_key_count(FILE *out, const json_t *doc)
{
	(void)fprintf(out, "%" PRId64 " %s\n", number(doc, "count"),
	    plural(number(doc, "count"), "key", "keys"));
}

void
note_key_list(FILE *err, const json_t *doc)
{
	int64_t n = number(doc, "unsettled");

	if (n > 0)
		(void)fprintf(err,
		    "ksmctl: key list: %" PRId64 " %s still being settled and "
		    "not listed: they may be in the token and in no backup\n",
		    n, plural(n, "more key is", "more keys are"));
}

void
trouble_key_list(FILE *out, const json_t *doc)
{
	(void)fprintf(out, "%" PRId64 " %s created after the given time",
	    number(doc, "count"),
	    plural(number(doc, "count"), "key was", "keys were"));
	if (number(doc, "unsettled") > 0)
		(void)fprintf(out, ", %" PRId64 " more may have been",
		    number(doc, "unsettled"));
}

static void
fact_number(FILE *out, const char *label, const json_t *o, const char *field)
{
	char digits[32] = "unknown";

	if (known(o, field))
		(void)snprintf(
		    digits, sizeof(digits), "%" PRId64, number(o, field));
	fact(out, label, digits);
}

void
print_key(FILE *out, const json_t *doc)
{
	const json_t *k = json_object_get(doc, "key");
	struct notes n = { .text = "" };

	fact(out, "id", text(k, "id"));
	fact(out, "state", text(k, "state"));
	if (known(k, "was"))
		fact(out, "state before", text(k, "was"));
	fact(out, "since", text_or(k, "since", "unknown"));
	if (known(k, "why"))
		fact(out, "because", text(k, "why"));
	fact(out, "policy", text(k, "policy"));
	fact(out, "role", text(k, "role"));
	fact(out, "repository", text(k, "repository"));
	notes_add(&n, "%s, %" PRId64 " bits", text(k, "algorithm"),
	    number(k, "size"));
	fact(out, "algorithm", n.text);
	fact_number(out, "serial", k, "serial");
	fact(out, "intended", text_or(k, "intended", "unknown"));
	fact(out, "started", text_or(k, "started", "unknown"));
	fact(out, "created", text_or(k, "created", "unknown"));
	fact(out, "signature",
	    flag(k, "proved") ? "made and verified" : "not verified yet");
	if (flag(k, "adopted"))
		fact(out, "adopted",
		    "yes: found in the token, its answer was "
		    "lost");
	fact_number(out, "tag as ZSK", k, "tag_zsk");
	fact_number(out, "tag as KSK", k, "tag_ksk");
	fact_number(out, "tag if revoked", k, "tag_revoked");
	fact(out, "SHA-256", text_or(k, "sha256", "unknown"));
	fact(out, "public key", text_or(k, "public_key", "unknown"));
}

/* ---- topup ----------------------------------------------------------- */

static void
print_dry_run(FILE *out, const json_t *doc)
{
	static const char *const heads[] = { "POLICY", "ROLE", "REPOSITORY",
		"ALGORITHM", ">SIZE", ">REQUIRED", ">READY", ">COMING", ">MAKE",
		">HELD BACK", "REMARKS" };
	const json_t *list = json_object_get(doc, "pools"), *p;
	struct table t;
	struct notes n;
	size_t i;

	table_init(&t, heads, nitems(heads));
	json_array_foreach(list, i, p) {
		table_cell(&t, "%s", text(p, "policy"));
		table_cell(&t, "%s", text(p, "role"));
		table_cell(&t, "%s", text(p, "repository"));
		table_cell(&t, "%s", text(p, "algorithm"));
		table_cell(&t, "%" PRId64, number(p, "size"));
		table_cell(&t, "%" PRId64, number(p, "required"));
		table_cell(&t, "%" PRId64, number(p, "ready"));
		table_cell(&t, "%" PRId64, number(p, "coming"));
		table_cell(&t, "%" PRId64, number(p, "make"));
		table_cell(&t, "%" PRId64, number(p, "held"));
		n.text[0] = '\0';
		/* Where nothing at all fits, that is the trouble. */
		if (number(p, "capacity_short") != 0 &&
		    strstr(text(p, "trouble"), "Capacity") == NULL)
			notes_add(&n,
			    "%" PRId64 " %s not fit the token's "
			    "Capacity",
			    number(p, "capacity_short"),
			    plural(number(p, "capacity_short"), "does", "do"));
		if (text(p, "trouble")[0] != '\0')
			notes_add(&n, "%s", text(p, "trouble"));
		table_cell(&t, "%s", n.text[0] != '\0' ? n.text : "-");
	}
	table_print(&t, out);
	(void)fprintf(out, "\nwould make %" PRId64 " %s; nothing is changed\n",
	    number(doc, "make"), plural(number(doc, "make"), "key", "keys"));
}

/* made 38 of 40 keys, 1 failed, 1 held back: why */
static void
print_made(FILE *out, const json_t *doc)
{
	(void)fprintf(out, "made %" PRId64 " of %" PRId64 " %s",
	    number(doc, "made"), number(doc, "wanted"),
	    plural(number(doc, "wanted"), "key", "keys"));
	if (number(doc, "failed") != 0)
		(void)fprintf(
		    out, ", %" PRId64 " failed", number(doc, "failed"));
	if (number(doc, "held") != 0)
		(void)fprintf(out,
		    ", %" PRId64 " held back (--max N allows "
		    "more)",
		    number(doc, "held"));
	if (flag(doc, "full"))
		(void)fprintf(out, "; every pool is full");
	else if (text(doc, "trouble")[0] == '\0')
		(void)fprintf(out, "; not every pool is full");
	if (text(doc, "trouble")[0] != '\0') {
		(void)fprintf(out, "; ");
		text_print(out, text(doc, "trouble"));
	}
}

void
print_topup(FILE *out, const json_t *doc)
{
	const json_t *tickets = json_object_get(doc, "tickets");

	if (flag(doc, "dry_run")) {
		print_dry_run(out, doc);
		return;
	}
	if (tickets != NULL) {
		(void)fprintf(out,
		    "top-up %" PRId64 " has begun; 'ksmctl "
		    "status' shows how far it is\n",
		    (int64_t)json_integer_value(json_array_get(tickets, 0)));
		return;
	}
	print_made(out, doc);
	(void)fputc('\n', out);
}

void
trouble_topup(FILE *out, const json_t *doc)
{
	print_made(out, doc);
}

void
print_progress(FILE *out, int64_t done, int64_t total, ksm_msec elapsed)
{
	char bar[BAR_WIDTH + 1], human[DURATION_TEXT];
	double part = total > 0 ? (double)done / (double)total : 0.0;
	int full;

	if (part > 1.0)
		part = 1.0;
	full = (int)(part * BAR_WIDTH);
	memset(bar, '#', (size_t)full);
	memset(bar + full, '.', (size_t)(BAR_WIDTH - full));
	bar[BAR_WIDTH] = '\0';
	(void)fprintf(out, "\r[%s] %" PRId64 "/%" PRId64 "  %d %%", bar, done,
	    total, (int)(part * 100));
	if (done > 0 && elapsed >= 1000 && total > done) {
		duration_human(
		    (int64_t)((double)elapsed / 1000 * (double)(total - done) /
			      (double)done) +
			1,
		    human);
		(void)fprintf(out, "  %s left", human);
	}
	(void)fputs("\033[K", out);
	(void)fflush(out);
}

/* ---- daemon ---------------------------------------------------------- */

/* FILE:LINE: severity: what; value; expected */
static void
print_findings(FILE *out, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "findings"), *f;
	size_t i;

	json_array_foreach(list, i, f) {
		text_print(out, text_or(f, "file", "configuration"));
		if (known(f, "line"))
			(void)fprintf(out, ":%" PRId64, number(f, "line"));
		(void)fprintf(out, ": %s: ", text(f, "severity"));
		text_print(out, text(f, "what"));
		if (known(f, "value")) {
			(void)fputs(": '", out);
			text_print(out, text(f, "value"));
			(void)fputc('\'', out);
		}
		if (known(f, "expected")) {
			(void)fputs("; expected ", out);
			text_print(out, text(f, "expected"));
		}
		(void)fputc('\n', out);
	}
}

void
print_reload(FILE *out, const json_t *doc)
{
	print_findings(out, doc);
	if (!flag(doc, "in_force"))
		return; /* the error that follows says so */
	(void)fprintf(out,
	    "the new configuration is in force: %" PRId64 " %s, %" PRId64
	    " %s, %" PRId64 " %s",
	    number(doc, "repositories"),
	    plural(number(doc, "repositories"), "repository", "repositories"),
	    number(doc, "policies"),
	    plural(number(doc, "policies"), "policy", "policies"),
	    number(doc, "zones"),
	    plural(number(doc, "zones"), "zone", "zones"));
	if (number(doc, "warnings") != 0)
		(void)fprintf(out, "; %" PRId64 " %s", number(doc, "warnings"),
		    plural(number(doc, "warnings"), "warning", "warnings"));
	(void)fputc('\n', out);
}

void
print_stopping(FILE *out, const json_t *doc)
{
	(void)fprintf(out,
	    "ksmpoold (process %" PRId64 ") stops when the "
	    "running keys are done\n",
	    number(doc, "pid"));
}

void
print_version(FILE *out, const json_t *doc)
{
	(void)fprintf(out, "ksmctl   %s\nksmpoold ", KSM_VERSION);
	text_print(out, text(doc, "daemon_version"));
	(void)fputc('\n', out);
}
