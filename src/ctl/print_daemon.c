#include "print_parts.h"

#include <inttypes.h>

/* FILE:LINE: severity: what; value; expected */
static void
print_findings(FILE *out, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "findings"), *f;
	size_t i;

	json_array_foreach(list, i, f) {
		text_print(out, doc_text_or(f, "file", "configuration"));
		if (doc_known(f, "line"))
			(void)fprintf(out, ":%" PRId64, doc_number(f, "line"));
		(void)fprintf(out, ": %s: ", doc_text(f, "severity"));
		text_print(out, doc_text(f, "what"));
		if (doc_known(f, "value")) {
			(void)fputs(": '", out);
			text_print(out, doc_text(f, "value"));
			(void)fputc('\'', out);
		}
		if (doc_known(f, "expected")) {
			(void)fputs("; expected ", out);
			text_print(out, doc_text(f, "expected"));
		}
		(void)fputc('\n', out);
	}
}

void
print_reload(FILE *out, const json_t *doc)
{
	print_findings(out, doc);
	if (!doc_flag(doc, "in_force"))
		return; /* the error that follows says so */
	(void)fprintf(out,
	    "the new configuration is in force: %" PRId64 " %s, %" PRId64
	    " %s, %" PRId64 " %s",
	    doc_number(doc, "repositories"),
	    plural(doc_number(doc, "repositories"), "repository", "repositories"),
	    doc_number(doc, "policies"),
	    plural(doc_number(doc, "policies"), "policy", "policies"),
	    doc_number(doc, "zones"),
	    plural(doc_number(doc, "zones"), "zone", "zones"));
	if (doc_number(doc, "warnings") != 0)
		(void)fprintf(out, "; %" PRId64 " %s", doc_number(doc, "warnings"),
		    plural(doc_number(doc, "warnings"), "warning", "warnings"));
	(void)fputc('\n', out);
}

void
print_stopping(FILE *out, const json_t *doc)
{
	(void)fprintf(out,
	    "ksmpoold (process %" PRId64 ") stops when the "
	    "running keys are done\n",
	    doc_number(doc, "pid"));
}

void
print_version(FILE *out, const json_t *doc)
{
	(void)fprintf(out, "ksmctl   %s\nksmpoold ", KSM_VERSION);
	text_print(out, doc_text(doc, "daemon_version"));
	(void)fputc('\n', out);
}

void
print_paused(FILE *out, const json_t *doc)
{
	const json_t *p = json_object_get(doc, "paused");

	(void)fprintf(out, "paused %s%s; keys that are being made are finished\n",
	    doc_known(p, "until") ? "until " : "until 'ksmctl resume'",
	    doc_text(p, "until"));
}

void
print_unpaused(FILE *out, const json_t *doc)
{
	(void)fprintf(out, "%s\n", doc_flag(doc, "was_paused")
		? "generation goes on" : "it was not paused");
}

void
print_clock(FILE *out, const json_t *doc)
{
	(void)fprintf(out, "the clock is right: %s (the record said %s)\n",
	    doc_text(doc, "accepted"), doc_text(doc, "record_said"));
}

void
print_log_level(FILE *out, const json_t *doc)
{
	(void)fprintf(out, "%s\n", doc_text(doc, "level"));
}
