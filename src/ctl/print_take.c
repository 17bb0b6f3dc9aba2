#include "print_parts.h"

#include <inttypes.h>
#include <string.h>

static void
taken_row(FILE *out, const json_t *k, bool first)
{
	if (first)
		(void)fprintf(out, "%-32s  %-4s  %5s  %-18s  %8s  %s\n", "ID",
		    "ROLE", "TAG", "ALGORITHM", "HAND-OUT", "ZONE");
	(void)fprintf(out, "%-32s  %-4s  %5" PRId64 "  %-18s  ",
	    doc_text(k, "id"), doc_text(k, "role"), doc_number(k, "tag"),
	    doc_text(k, "algorithm"));
	if (doc_known(k, "handout"))
		(void)fprintf(out, "%8" PRId64, doc_number(k, "handout"));
	else
		(void)fprintf(out, "%8s", "none");
	(void)fputs("  ", out);
	text_print(out, doc_text(k, "zone"));
	if (doc_flag(k, "shared"))
		(void)fprintf(out, "  (shared: %s)", doc_text(k, "share"));
	if (doc_flag(k, "uncovered"))
		(void)fprintf(out, "  IN NO BACKUP");
	(void)fputc('\n', out);
}

/* With --for alone what the consumer needs, so that it can be piped to it. */
void
print_taken(FILE *out, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "keys"), *k;
	bool first = true;
	size_t i;

	json_array_foreach(list, i, k) {
		if (doc_known(k, "output")) {
			(void)fputs(doc_text(k, "output"), out);
			continue;
		}
		if (doc_known(k, "error"))
			continue; /* said already */
		taken_row(out, k, first);
		first = false;
	}
}

void
print_handout(FILE *out, const json_t *h, bool first)
{
	if (first)
		(void)fprintf(out,
		    "%6s  %-20s  %-32s  %-4s  %-15s  %-23s  %s\n", "NUMBER",
		    "TIME", "ID", "ROLE", "FOR", "REQUEST", "ZONE");
	(void)fprintf(out, "%6" PRId64 "  %-20s  %-32s  %-4s  %-15s  %-23s  ",
	    doc_number(h, "number"), doc_text(h, "time"), doc_text(h, "id"),
	    doc_text(h, "role"), doc_text_or(h, "consumer", "-"),
	    doc_text_or(h, "request", "-"));
	text_print(out, doc_text(h, "zone"));
	if (!doc_flag(h, "drawn"))
		(void)fprintf(out, "  (shared)");
	if (doc_flag(h, "outside"))
		(void)fprintf(out, "  (marked used)");
	if (doc_flag(h, "uncovered"))
		(void)fprintf(out, "  (in no backup)");
	(void)fputc('\n', out);
}

void
print_handout_count(FILE *out, const json_t *doc)
{
	print_count(out, doc, "hand-out", "hand-outs");
}

void
print_handout_status(FILE *out, const json_t *doc)
{
	const json_t *h = json_object_get(doc, "handouts");

	fact(out, "journal", doc_text(h, "journal"));
	fact_number(out, "hand-outs", h, "number");
	fact(out, "locked", doc_flag(h, "locked") ? "yes" : "no");
	if (doc_known(h, "reason"))
		fact(out, "because", doc_text(h, "reason"));
	if (doc_known(h, "next"))
		fact(out, "next", doc_text(h, "next"));
}

void
trouble_handout(FILE *out, const json_t *doc)
{
	(void)fputs("nothing is handed out: ", out);
	text_print(out, doc_text(json_object_get(doc, "handouts"), "reason"));
}

void
print_handout_accepted(FILE *out, const json_t *doc)
{
	const json_t *h = json_object_get(doc, "handouts");

	(void)fprintf(out, "hand-outs go on after number %" PRId64 "\n",
	    doc_number(h, "number"));
	if (doc_known(h, "aside")) {
		(void)fputs("the old journal is kept as ", out);
		text_print(out, doc_text(h, "aside"));
		(void)fputc('\n', out);
	}
}

void
print_impact(FILE *out, const json_t *doc)
{
	const json_t *k = json_object_get(doc, "key");
	const json_t *zones = json_object_get(doc, "zones"), *z;
	int64_t total = doc_number(doc, "zones_total");
	int64_t need = doc_number(doc, "keys_needed");
	int64_t have = doc_number(doc, "keys_ready");
	size_t i;

	(void)fprintf(out, "key %s, %s of policy ", doc_text(k, "id"),
	    doc_text(k, "role"));
	text_print(out, doc_text(k, "policy"));
	(void)fprintf(out, " (%s), is %s\n", doc_text(k, "algorithm"),
	    doc_text(k, "state"));
	if (total == 0)
		(void)fprintf(out, "no zone uses it, as far as hand-outs are "
				   "on record\n");
	else
		(void)fprintf(out, "%" PRId64 " %s it:\n", total,
		    plural(total, "zone uses", "zones use"));
	json_array_foreach(zones, i, z) {
		(void)fputs("  ", out);
		text_print(out, json_string_value(z));
		(void)fputc('\n', out);
	}
	if ((int64_t)json_array_size(zones) < total)
		(void)fprintf(out, "  and %" PRId64 " more\n",
		    total - (int64_t)json_array_size(zones));
	(void)fprintf(out,
	    "to replace it takes %" PRId64 " %s; %" PRId64 " may be taken now: "
	    "%s\n",
	    need, plural(need, "key", "keys"), have,
	    doc_flag(doc, "replaceable") ? "it can be replaced"
					 : "it CANNOT be replaced now");
}

void
trouble_impact(FILE *out, const json_t *doc)
{
	(void)fprintf(out,
	    "it takes %" PRId64 " keys to replace it, and %" PRId64
	    " may be taken now",
	    doc_number(doc, "keys_needed"), doc_number(doc, "keys_ready"));
}
