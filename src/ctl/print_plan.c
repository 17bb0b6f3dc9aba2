#include "print_parts.h"

#include <inttypes.h>
#include <string.h>

#include "ksmpool/duration.h"

/* (U 10 + g 2) x (S 1 + n 2 + s 0) + g 2 = 38 */
static void
print_formula(FILE *out, const json_t *t)
{
	int64_t units = doc_number(t, "units"), grown = doc_number(t, "growth");
	int64_t roll = doc_number(t, "algorithm_roll");

	(void)fprintf(out,
	    "(U %" PRId64 " + g %" PRId64 ") x (S %" PRId64 " + n %" PRId64
	    " + s %" PRId64 ") + g %" PRId64,
	    units, grown, doc_number(t, "scheduled"), doc_number(t, "emergency_rolls"),
	    doc_number(t, "standby"), grown);
	if (roll != 0)
		(void)fprintf(
		    out, " + a %" PRId64 " x U %" PRId64, roll, units);
	(void)fprintf(out, " = %" PRId64 "\n", doc_number(t, "required"));
}

static void
print_term(FILE *out, const json_t *t)
{
	char lifetime[DURATION_TEXT] = "never rolls", horizon[DURATION_TEXT];
	char sharing[64] = "";

	if (doc_flag(t, "passthrough"))
		(void)snprintf(sharing, sizeof(sharing),
		    " (passthrough: no keys)");
	else if (doc_flag(t, "shared"))
		(void)snprintf(sharing, sizeof(sharing), " (sharing one key)");
	else if (doc_flag(t, "by_owner"))
		(void)snprintf(sharing, sizeof(sharing),
		    " of %" PRId64 " %s (each sharing one key)",
		    doc_number(t, "owners"),
		    plural(doc_number(t, "owners"), "owner", "owners"));
	if (doc_number(t, "lifetime_s") > 0)
		duration_format(doc_number(t, "lifetime_s"), lifetime);
	duration_format(doc_number(t, "horizon_s"), horizon);
	(void)fprintf(out, "  formula   ");
	print_formula(out, t);
	(void)fprintf(out,
	    "            zones Z %" PRId64 "%s, lifetime L %s, "
	    "horizon H %s\n",
	    doc_number(t, "zones"), sharing, lifetime, horizon);
}

static void
print_plan_pool(FILE *out, const json_t *p)
{
	const json_t *terms = json_object_get(p, "terms"), *t, *count;
	const json_t *stock = json_object_get(p, "stock");
	const char *strategy = doc_text(p, "strategy"), *state, *comma = "";
	char human[DURATION_TEXT];
	size_t i;

	text_print(out, doc_text(p, "policy"));
	(void)fprintf(out, " %s in ", doc_text(p, "role"));
	text_print(out, doc_text(p, "repository"));
	(void)fprintf(out, ": %s %" PRId64 ", %s\n", doc_text(p, "algorithm"),
	    doc_number(p, "size"), doc_text(p, "level"));
	json_array_foreach(terms, i, t)
		print_term(out, t);
	if (doc_known(p, "scope"))
		(void)fprintf(out, "  scope     %s\n", doc_text(p, "scope"));
	(void)fprintf(out, "  required  %" PRId64, doc_number(p, "required"));
	if (strcmp(strategy, "fixed") == 0)
		(void)fprintf(out, " (strategy fixed, not the formula)");
	else if (strcmp(strategy, "minimum") == 0)
		(void)fprintf(out, " (strategy minimum: n = g = 0, "
				   "H = MinimumHorizon)");
	else if (strcmp(strategy, "manual") == 0)
		(void)fprintf(out, " (strategy manual: made by 'ksmctl topup' "
				   "only)");
	else if (strcmp(strategy, "fill") == 0)
		(void)fprintf(out,
		    " (strategy fill: made up to %" PRId64 ", what the token "
		    "has room for)",
		    doc_number(p, "target"));
	(void)fprintf(out,
	    ", low water %" PRId64 ", critical below %" PRId64 "\n",
	    doc_number(p, "low_water"), doc_number(p, "critical"));
	(void)fprintf(out, "  stock     ");
	json_object_foreach((json_t *)(uintptr_t)stock, state, count) {
		(void)fprintf(out, "%s%s %" PRId64, comma, state,
		    (int64_t)json_integer_value(count));
		comma = ", ";
	}
	(void)fprintf(out, "%s\n", comma[0] == '\0' ? "none" : "");
	if (pool_unusable(p) > 0)
		(void)fprintf(out,
		    "  usable    %" PRId64 ", %" PRId64 " ready in no backup "
		    "(RequireBackup)\n",
		    pool_usable(p), pool_unusable(p));
	(void)fprintf(out, "  deficit   %" PRId64 ", to make %" PRId64,
	    doc_number(p, "deficit"), doc_number(p, "make"));
	if (doc_number(p, "held") != 0)
		(void)fprintf(out,
		    ", of these %" PRId64 " held back by MaxPerRun",
		    doc_number(p, "held"));
	if (doc_number(p, "capacity_short") != 0)
		(void)fprintf(out,
		    ", %" PRId64 " %s not fit the token's Capacity",
		    doc_number(p, "capacity_short"),
		    plural(doc_number(p, "capacity_short"), "does", "do"));
	(void)fputc('\n', out);
	if (doc_known(p, "ms_per_key"))
		(void)fprintf(out, "  time      %" PRId64 " ms per key",
		    doc_number(p, "ms_per_key"));
	else
		(void)fprintf(out, "  time      not measured yet");
	if (doc_known(p, "fill_s") && doc_number(p, "make") > 0) {
		duration_human(doc_number(p, "fill_s"), human);
		(void)fprintf(out, ", %s to fill", human);
	}
	(void)fputc('\n', out);
	if (doc_text(p, "trouble")[0] != '\0') {
		(void)fprintf(out, "  trouble   ");
		text_print(out, doc_text(p, "trouble"));
		(void)fputc('\n', out);
	}
	(void)fputc('\n', out);
}

/* From 75 % of its Capacity on, and what does not fit. */
static void
print_room(FILE *out, const json_t *k)
{
	int64_t then = doc_number(k, "pairs_held") + doc_number(k, "pairs_make");
	int64_t capacity = doc_number(k, "capacity");
	int64_t over = doc_number(k, "pairs_over");
	const char *room = doc_text_or(k, "room", "ok");

	if (!doc_known(k, "capacity") || (strcmp(room, "ok") == 0 && over == 0))
		return;
	(void)fputs("token of ", out);
	text_print(out, doc_text(k, "repository"));
	(void)fprintf(out, ": %" PRId64 " of %" PRId64 " key pairs then", then,
	    capacity);
	if (strcmp(room, "ok") != 0)
		(void)fprintf(out, ", %s: %s %% of its Capacity or more", room,
		    strcmp(room, "critical") == 0 ? "90" : "75");
	if (over > 0)
		(void)fprintf(out,
		    "; %" PRId64 " %s not fit, the pools at the greatest risk "
		    "are filled first",
		    over, plural(over, "does", "do"));
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
		table_cell(&t, "%s", doc_text(k, "repository"));
		if (doc_known(k, "capacity"))
			table_cell(&t, "%" PRId64, doc_number(k, "capacity"));
		else
			table_cell(&t, "-");
		table_cell(&t, "%" PRId64, doc_number(k, "pairs_held"));
		table_cell(&t, "%" PRId64, doc_number(k, "pairs_make"));
		table_cell(&t, "%" PRId64,
		    doc_number(k, "pairs_held") + doc_number(k, "pairs_make"));
		table_cell(&t, "%" PRId64, doc_number(k, "pairs_over"));
		table_cell(&t, "%" PRId64, doc_number(k, "objects_held"));
		table_cell(&t, "%" PRId64,
		    doc_number(k, "objects_held") + doc_number(k, "objects_make"));
	}
	table_print(&t, out);
	json_array_foreach(list, i, k)
		print_room(out, k);
}

static const char *
scope_words(const char *scope)
{
	if (strcmp(scope, "zone") == 0)
		return "each zone had keys of its own";
	if (strcmp(scope, "owner") == 0)
		return "all zones of a policy with one owner shared a key";
	return "all zones of a policy shared a key";
}

void
print_plan(FILE *out, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "pools"), *p;
	size_t i;

	if (doc_known(doc, "what_if_zones"))
		(void)fprintf(out,
		    "What if every policy had %" PRId64
		    " %s; nothing is changed.\n\n",
		    doc_number(doc, "what_if_zones"),
		    plural(doc_number(doc, "what_if_zones"), "zone", "zones"));
	if (doc_known(doc, "what_if_scope"))
		(void)fprintf(out, "What if %s; nothing is changed.\n\n",
		    scope_words(doc_text(doc, "what_if_scope")));
	json_array_foreach(list, i, p)
		print_plan_pool(out, p);
	print_tokens(out, doc);
	(void)fprintf(out,
	    "\nin all: required %" PRId64 ", deficit %" PRId64
	    ", to make %" PRId64 "\n",
	    doc_number(doc, "required"), doc_number(doc, "deficit"),
	    doc_number(doc, "make"));
}
