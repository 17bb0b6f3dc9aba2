#include "print_parts.h"

#include <inttypes.h>
#include <string.h>

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
		table_cell(&t, "%s", doc_text(p, "policy"));
		table_cell(&t, "%s", doc_text(p, "role"));
		table_cell(&t, "%s", doc_text(p, "repository"));
		table_cell(&t, "%s", doc_text(p, "algorithm"));
		table_cell(&t, "%" PRId64, doc_number(p, "size"));
		table_cell(&t, "%" PRId64, doc_number(p, "required"));
		table_cell(&t, "%" PRId64, doc_number(p, "ready"));
		table_cell(&t, "%" PRId64, doc_number(p, "coming"));
		table_cell(&t, "%" PRId64, doc_number(p, "make"));
		table_cell(&t, "%" PRId64, doc_number(p, "held"));
		n.text[0] = '\0';
		/* Where nothing at all fits, that is the trouble. */
		if (doc_number(p, "capacity_short") != 0 &&
		    strstr(doc_text(p, "trouble"), "Capacity") == NULL)
			notes_add(&n,
			    "%" PRId64 " %s not fit the token's "
			    "Capacity",
			    doc_number(p, "capacity_short"),
			    plural(doc_number(p, "capacity_short"), "does", "do"));
		if (doc_text(p, "trouble")[0] != '\0')
			notes_add(&n, "%s", doc_text(p, "trouble"));
		table_cell(&t, "%s", n.text[0] != '\0' ? n.text : "-");
	}
	table_print(&t, out);
	(void)fprintf(out, "\nwould make %" PRId64 " %s; nothing is changed\n",
	    doc_number(doc, "make"), plural(doc_number(doc, "make"), "key", "keys"));
}

/* made 38 of 40 keys, 1 failed, 1 held back: why */
static void
print_made(FILE *out, const json_t *doc)
{
	int64_t made = doc_number(doc, "made");
	int64_t wanted = doc_number(doc, "wanted");

	/* Keys that were taken while it ran are made, too. */
	if (wanted < made)
		wanted = made;
	(void)fprintf(out, "made %" PRId64 " of %" PRId64 " %s", made, wanted,
	    plural(wanted, "key", "keys"));
	if (doc_number(doc, "failed") != 0)
		(void)fprintf(
		    out, ", %" PRId64 " failed", doc_number(doc, "failed"));
	if (doc_number(doc, "held") != 0)
		(void)fprintf(out,
		    ", %" PRId64 " held back (--max N allows "
		    "more)",
		    doc_number(doc, "held"));
	if (doc_flag(doc, "full"))
		(void)fprintf(out, "; every pool is full");
	else if (doc_text(doc, "trouble")[0] == '\0')
		(void)fprintf(out, "; not every pool is full");
	if (doc_text(doc, "trouble")[0] != '\0') {
		(void)fprintf(out, "; ");
		text_print(out, doc_text(doc, "trouble"));
	}
}

void
print_topup(FILE *out, const json_t *doc)
{
	const json_t *tickets = json_object_get(doc, "tickets");

	if (doc_flag(doc, "dry_run")) {
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
