#include <inttypes.h>
#include <string.h>

#include "print_parts.h"

/* In the order of what matters. */
static const char *const sorts[] = { "ours", "missing", "half", "doubled",
	"orphan", "elsewhere", "left", "debris", "foreign", "other" };

static void
print_counts(FILE *out, const json_t *r)
{
	const json_t *counts = json_object_get(r, "counts");

	text_print(out, doc_text(r, "name"));
	(void)fputc(':', out);
	if (doc_text(r, "trouble")[0] != '\0') {
		(void)fprintf(out, " could not be looked at: ");
		text_print(out, doc_text(r, "trouble"));
		(void)fputc('\n', out);
		return;
	}
	for (size_t i = 0; i < nitems(sorts); i++)
		if (i == 0 || doc_number(counts, sorts[i]) > 0)
			(void)fprintf(out, "%s %" PRId64 " %s",
			    i == 0 ? "" : ",", doc_number(counts, sorts[i]),
			    sorts[i]);
	if (doc_flag(r, "cut"))
		(void)fprintf(out, " (too many to list them all)");
	(void)fputc('\n', out);
}

static void
print_found(FILE *out, const json_t *list)
{
	static const char *const heads[] = { "REPOSITORY", "WHAT", "ID",
		">PRIV", ">PUB", "TYPE", ">SIZE", "ON RECORD", "LABEL" };
	const json_t *f;
	struct table t;
	size_t i;

	table_init(&t, heads, nitems(heads));
	json_array_foreach(list, i, f) {
		table_cell(&t, "%s", doc_text(f, "repository"));
		table_cell(&t, "%s", doc_text(f, "sort"));
		table_cell(&t, "%s", doc_text_or(f, "id", "-"));
		table_cell(&t, "%" PRId64, doc_number(f, "privates"));
		table_cell(&t, "%" PRId64, doc_number(f, "publics"));
		table_cell(&t, "%s", doc_text_or(f, "key_type", "-"));
		if (doc_known(f, "size"))
			table_cell(&t, "%" PRId64, doc_number(f, "size"));
		else
			table_cell(&t, "-");
		table_cell(&t, "%s", doc_text_or(f, "state", "-"));
		table_cell(&t, "%s", doc_text_or(f, "label", "-"));
	}
	table_print(&t, out);
}

void
print_inventory(FILE *out, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "repositories"), *r;
	size_t i;

	json_array_foreach(list, i, r)
		print_counts(out, r);
	list = json_object_get(doc, "found");
	if (json_array_size(list) == 0)
		return;
	(void)fputc('\n', out);
	print_found(out, list);
}

void
trouble_inventory(FILE *out, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "repositories"), *r;
	size_t i;

	json_array_foreach(list, i, r)
		if (doc_text(r, "trouble")[0] != '\0') {
			(void)fprintf(out, "repository ");
			text_print(out, doc_text(r, "name"));
			(void)fprintf(out, " could not be looked at: ");
			text_print(out, doc_text(r, "trouble"));
			return;
		}
	(void)fprintf(out,
	    "%" PRId64 " %s not as it should be; 'ksmctl inventory' lists %s",
	    doc_number(doc, "found"),
	    plural(doc_number(doc, "found"), "thing is", "things are"),
	    plural(doc_number(doc, "found"), "it", "them"));
}

void
print_adopted(FILE *out, const json_t *doc)
{
	const json_t *key = json_object_get(doc, "key");

	if (doc_flag(doc, "dry_run")) {
		(void)fprintf(out, "%s in ", doc_text(doc, "id"));
		text_print(out, doc_text(doc, "repository"));
		(void)fprintf(out, " would be adopted\n");
		return;
	}
	(void)fprintf(out, "%s is %s now", doc_text(key, "id"),
	    doc_text(key, "state"));
	if (doc_text(doc, "why")[0] != '\0') {
		(void)fprintf(out, ": ");
		text_print(out, doc_text(doc, "why"));
	}
	(void)fputc('\n', out);
}

void
print_cleaned(FILE *out, const json_t *doc)
{
	if (doc_flag(doc, "dry_run")) {
		print_key_results(out, doc);
		if (json_array_size(json_object_get(doc, "keys")) == 0)
			(void)fprintf(out,
			    "%" PRId64 " %s of debris would be destroyed\n",
			    doc_number(doc, "debris"),
			    plural(doc_number(doc, "debris"), "object",
				"objects"));
	} else if (doc_known(doc, "swept"))
		(void)fprintf(out, "%" PRId64 " %s destroyed\n",
		    doc_number(doc, "swept"),
		    plural(doc_number(doc, "swept"), "object of debris was",
			"objects of debris were"));
	else
		print_key_results(out, doc);
}
