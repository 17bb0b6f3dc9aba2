#include "print_parts.h"

#include <inttypes.h>

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
	    doc_text(k, "id"), doc_text(k, "state"), doc_text(k, "role"),
	    doc_text(k, "algorithm"), doc_number(k, "size"),
	    doc_text_or(k, "created", "-"));
	text_print(out, doc_text(k, "repository"));
	(void)fprintf(out, "%*s  ",
	    text_width(doc_text(k, "repository")) < 16
		? (int)(16 - text_width(doc_text(k, "repository")))
		: 0,
	    "");
	text_print(out, doc_text(k, "policy"));
	(void)fputc('\n', out);
}

void
print_key_count(FILE *out, const json_t *doc)
{
	print_count(out, doc, "key", "keys");
}

void
note_key_list(FILE *err, const json_t *doc)
{
	int64_t n = doc_number(doc, "unsettled");

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
	    doc_number(doc, "count"),
	    plural(doc_number(doc, "count"), "key was", "keys were"));
	if (doc_number(doc, "unsettled") > 0)
		(void)fprintf(out, ", %" PRId64 " more may have been",
		    doc_number(doc, "unsettled"));
}

void
print_key(FILE *out, const json_t *doc)
{
	const json_t *k = json_object_get(doc, "key");
	const json_t *zones = json_object_get(doc, "zones"), *z;
	struct notes n = { .text = "" }, kept = { .text = "" };
	size_t i;

	fact(out, "id", doc_text(k, "id"));
	fact(out, "state", doc_text(k, "state"));
	if (doc_known(k, "was"))
		fact(out, "state before", doc_text(k, "was"));
	fact(out, "since", doc_text_or(k, "since", "unknown"));
	if (doc_known(k, "why"))
		fact(out, "because", doc_text(k, "why"));
	if (doc_known(k, "kept_until")) {
		notes_add(&kept, "%s, Purge of policy %s",
		    doc_text(k, "kept_until"), doc_text(k, "policy"));
		fact(out, "kept until", kept.text);
	}
	fact(out, "policy", doc_text(k, "policy"));
	fact(out, "role", doc_text(k, "role"));
	fact(out, "repository", doc_text(k, "repository"));
	notes_add(&n, "%s, %" PRId64 " bits", doc_text(k, "algorithm"),
	    doc_number(k, "size"));
	fact(out, "algorithm", n.text);
	fact_number(out, "serial", k, "serial");
	fact(out, "intended", doc_text_or(k, "intended", "unknown"));
	fact(out, "started", doc_text_or(k, "started", "unknown"));
	fact(out, "created", doc_text_or(k, "created", "unknown"));
	fact(out, "signature",
	    doc_flag(k, "proved") ? "made and verified" : "not verified yet");
	if (doc_flag(k, "adopted"))
		fact(out, "adopted",
		    "yes: found in the token, its answer was "
		    "lost");
	fact_number(out, "tag as ZSK", k, "tag_zsk");
	fact_number(out, "tag as KSK", k, "tag_ksk");
	fact_number(out, "tag if revoked", k, "tag_revoked");
	fact(out, "SHA-256", doc_text_or(k, "sha256", "unknown"));
	fact(out, "public key", doc_text_or(k, "public_key", "unknown"));
	json_array_foreach(zones, i, z)
		fact(out, i == 0 ? "zones" : "", json_string_value(z));
	if ((int64_t)json_array_size(zones) < doc_number(doc, "zones_total"))
		fact(out, "", "and more; see 'ksmctl handout list --key'");
}

/* Of key retire and destroy, of a dry run and of inventory clean. */
void
print_key_results(FILE *out, const json_t *doc)
{
	bool dry = doc_flag(doc, "dry_run");
	const json_t *list = json_object_get(doc, "keys"), *k, *key;
	size_t i;

	json_array_foreach(list, i, k) {
		key = json_object_get(k, "key");
		(void)fprintf(out, "%s  ", doc_text(k, "id"));
		if (doc_flag(k, dry ? "would" : "done"))
			(void)fprintf(out, dry ? "would be done" : "done");
		else {
			(void)fprintf(out, "refused: ");
			text_print(out, doc_text(k, "text"));
		}
		if (json_is_object(key)) {
			(void)fprintf(out, " (%s %s of ", doc_text(key, "state"),
			    doc_text(key, "role"));
			text_print(out, doc_text(key, "policy"));
			(void)fprintf(out, ", made %s)",
			    doc_text_or(key, "created", "never"));
		}
		(void)fputc('\n', out);
	}
}
