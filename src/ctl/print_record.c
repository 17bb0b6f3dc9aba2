#include <inttypes.h>
#include <string.h>

#include "print_parts.h"

/* number  time  who  what  subject: why */
void
print_event(FILE *out, const json_t *e, bool first)
{
	char who[64] = "ksmpoold";

	if (first)
		(void)fprintf(out, "%8s  %-20s  %-16s  %s\n", "NUMBER", "TIME",
		    "WHO", "WHAT");
	if (doc_known(e, "uid"))
		(void)snprintf(who, sizeof(who), "uid %" PRId64 " pid %" PRId64,
		    doc_number(e, "uid"), doc_number(e, "pid"));
	(void)fprintf(out, "%8" PRId64 "  %-20s  %-16s  ",
	    doc_number(e, "number"), doc_text_or(e, "time", "-"), who);
	text_print(out, doc_text(e, "what"));
	if (doc_text(e, "subject")[0] != '\0') {
		(void)fputc(' ', out);
		text_print(out, doc_text(e, "subject"));
	}
	if (doc_text(e, "why")[0] != '\0') {
		(void)fprintf(out, ": ");
		text_print(out, doc_text(e, "why"));
	}
	(void)fputc('\n', out);
}

void
print_history_count(FILE *out, const json_t *doc)
{
	print_count(out, doc, "event", "events");
}

void
print_verified(FILE *out, const json_t *doc)
{
	int64_t faults = doc_number(doc, "faults");

	if (faults > 0) {
		(void)fprintf(out, "%" PRId64 " %s; the first: ", faults,
		    plural(faults, "fault", "faults"));
		text_print(out, doc_text(doc, "first_fault"));
		(void)fputc('\n', out);
	} else
		(void)fprintf(out, "the chain is whole\n");
	if (doc_known(doc, "head_fits"))
		(void)fprintf(out, "%s\n",
		    doc_flag(doc, "head_fits")
			? "the head that was kept is in it"
			: "the head that was kept is NOT in it: the history was "
			  "cut off or written anew");
	(void)fprintf(out, "head %" PRId64 ":%s\n", doc_number(doc, "number"),
	    doc_text(doc, "hash"));
}

void
trouble_verified(FILE *out, const json_t *doc)
{
	if (doc_number(doc, "faults") > 0) {
		(void)fprintf(out, "the history was changed: ");
		text_print(out, doc_text(doc, "first_fault"));
	} else
		(void)fprintf(out, "the head that was kept is not in the "
				   "history");
}

void
print_backup(FILE *out, const json_t *doc)
{
	text_print(out, doc_text(doc, "file"));
	(void)fprintf(out, " is a copy of the database, synced and checked\n");
}

void
print_database(FILE *out, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "findings"), *f;
	size_t i;

	json_array_foreach(list, i, f) {
		text_print(out, json_string_value(f));
		(void)fputc('\n', out);
	}
	if (json_array_size(list) == 0)
		(void)fprintf(out, "the database is sound\n");
}
