#include <inttypes.h>
#include <string.h>

#include "ksmpool/duration.h"

#include "print_parts.h"

/* As it can be typed; `where`: there are several repositories. */
static void
command_print(FILE *out, const char *command, const json_t *b, bool where)
{
	(void)fprintf(out, "ksmctl backup %s ", command);
	word_print(out, doc_text(b, "label"));
	if (!where)
		return;
	(void)fputs(" --repository ", out);
	word_print(out, doc_text(b, "repository"));
}

void
print_backup_begun(FILE *out, const json_t *doc)
{
	const json_t *b = json_object_get(doc, "backup");
	bool where = doc_number(doc, "repositories") > 1;
	int64_t n = doc_number(b, "frozen");

	(void)fprintf(out, "%s: %" PRId64 " %s frozen; to list them: ",
	    doc_text(b, "label"), n, plural(n, "key is", "keys are"));
	command_print(out, "show", b, where);
	(void)fprintf(out, "\nBack the HSM up now, then: ");
	command_print(out, "commit", b, where);
	(void)fputc('\n', out);
}

void
print_backup_committed(FILE *out, const json_t *doc)
{
	const json_t *b = json_object_get(doc, "backup");
	const json_t *list = json_object_get(doc, "keys"), *k;
	int64_t covered = doc_number(b, "covered");
	int64_t skipped = doc_number(b, "skipped");
	size_t i;

	json_array_foreach(list, i, k) {
		(void)fprintf(out, "%s  %s: ", doc_text(k, "id"),
		    doc_flag(k, "done") ? "left out" : "refused");
		text_print(out, doc_text(k, "text"));
		(void)fputc('\n', out);
	}
	if (b == NULL)
		return; /* an error follows */
	(void)fprintf(out, "%s: %" PRId64 " %s covered", doc_text(b, "label"),
	    covered, plural(covered, "key is", "keys are"));
	if (skipped > 0)
		(void)fprintf(out, ", %" PRId64 " left out", skipped);
	(void)fputc('\n', out);
}

void
print_backup_undone(FILE *out, const json_t *doc)
{
	(void)fprintf(out, "%s: rolled back, it covers nothing\n",
	    doc_text(json_object_get(doc, "backup"), "label"));
}

void
print_backup_row(FILE *out, const json_t *b, bool first)
{
	if (first)
		(void)fprintf(out, "%-20s  %-11s  %-20s  %-20s  %8s  %8s  %s\n",
		    "LABEL", "STATE", "STARTED", "FINISHED", "KEYS", "COVERED",
		    "REPOSITORY");
	(void)fprintf(out, "%-20s  %-11s  %-20s  %-20s  %8" PRId64 "  %8" PRId64
			   "  ",
	    doc_text(b, "label"), doc_text(b, "state"),
	    doc_text_or(b, "started", "-"), doc_text_or(b, "finished", "-"),
	    doc_number(b, "frozen"), doc_number(b, "covered"));
	text_print(out, doc_text(b, "repository"));
	(void)fputc('\n', out);
}

void
print_backup_count(FILE *out, const json_t *doc)
{
	print_count(out, doc, "backup", "backups");
}

void
print_backup_key(FILE *out, const json_t *k, bool first)
{
	if (first)
		(void)fprintf(out, "%-32s  %-11s  %s\n", "ID", "STATE NOW",
		    "COVERED");
	(void)fprintf(out, "%s  %-11s  %s\n", doc_text(k, "id"),
	    doc_text(k, "state"), doc_flag(k, "covered") ? "yes" : "no");
}

void
print_backup_shown(FILE *out, const json_t *doc)
{
	const json_t *b = json_object_get(doc, "backup");

	fact(out, "label", doc_text(b, "label"));
	fact(out, "repository", doc_text(b, "repository"));
	fact(out, "state", doc_text(b, "state"));
	fact(out, doc_flag(b, "recorded") ? "recorded" : "frozen",
	    doc_text_or(b, "started", "-"));
	fact(out, "finished", doc_text_or(b, "finished", "-"));
	fact_number(out, "keys", b, "frozen");
	fact_number(out, "covered", b, "covered");
	fact_number(out, "left out", b, "skipped");
	fact(out, "medium", doc_text_or(b, "medium", "-"));
	fact(out, "note", doc_text_or(b, "note", "-"));
}

/* ---- backup check ------------------------------------------------------ */

static void
age_format(const json_t *o, const char *field, char out[DURATION_TEXT])
{
	if (doc_known(o, field))
		duration_human(doc_number(o, field), out);
	else
		(void)snprintf(out, DURATION_TEXT, "-");
}

void
print_uncovered_row(FILE *out, const json_t *k, bool first)
{
	char age[DURATION_TEXT];

	age_format(k, "age_s", age);
	if (first)
		(void)fprintf(out, "%-32s  %-8s  %-20s  %-12s  %s\n", "ID",
		    "STATE", "CREATED", "AGE", "POOL");
	(void)fprintf(out, "%s  %-8s  %-20s  %-12s  ", doc_text(k, "id"),
	    doc_text(k, "state"), doc_text_or(k, "created", "-"), age);
	pool_print(out, k);
	(void)fputc('\n', out);
}

void
print_uncovered(FILE *out, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "pools"), *p;
	char age[DURATION_TEXT];
	int64_t n;
	size_t i;

	if (json_array_size(list) > 0)
		(void)fputc('\n', out);
	json_array_foreach(list, i, p) {
		n = doc_number(p, "uncovered");
		age_format(p, "oldest_age_s", age);
		pool_print(out, p);
		(void)fprintf(out, ": %" PRId64 " %s in no backup, the oldest "
				   "is %s old\n",
		    n, plural(n, "key is", "keys are"),
		    doc_known(p, "oldest_age_s") ? age : "not known how");
	}
	n = doc_number(doc, "count");
	(void)fprintf(out, "%" PRId64 " %s in no backup\n", n,
	    plural(n, "key is", "keys are"));
}

void
note_backup_check(FILE *err, const json_t *doc)
{
	int64_t n = doc_number(doc, "unsettled");

	if (n > 0)
		(void)fprintf(err,
		    "ksmctl: backup check: %" PRId64 " %s still being settled "
		    "and not listed: they may be in the token and in no "
		    "backup\n",
		    n, plural(n, "more key is", "more keys are"));
}

void
trouble_backup(FILE *out, const json_t *doc)
{
	int64_t n = doc_number(doc, "count");

	(void)fprintf(out, "%" PRId64 " %s in no backup", n,
	    plural(n, "key is", "keys are"));
	if (doc_number(doc, "unsettled") > 0)
		(void)fprintf(out, ", %" PRId64 " more may be, they are still "
				   "being settled",
		    doc_number(doc, "unsettled"));
}
