#include "print_parts.h"

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

size_t
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

int64_t
doc_number(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

const char *
doc_text(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s != NULL ? s : "";
}

const char *
doc_text_or(const json_t *o, const char *name, const char *none)
{
	const char *s = doc_text(o, name);

	return s[0] != '\0' ? s : none;
}

bool
doc_known(const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);

	return v != NULL && !json_is_null(v);
}

bool
doc_flag(const json_t *o, const char *name)
{
	return json_is_true(json_object_get(o, name));
}

void
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

void
fact(FILE *out, const char *label, const char *value)
{
	(void)fprintf(out, "%-14s ", label);
	text_print(out, value);
	(void)fputc('\n', out);
}

int64_t
pool_usable(const json_t *pool)
{
	return doc_number(pool, doc_known(pool, "usable") ? "usable" : "ready");
}

int64_t
pool_unusable(const json_t *pool)
{
	return doc_number(pool, "ready") - pool_usable(pool);
}

void
pool_trouble(const json_t *pool, char *out, size_t size)
{
	int64_t unusable = pool_unusable(pool);
	char backup[96] = "";

	if (unusable > 0)
		(void)snprintf(backup, sizeof(backup),
		    ", of which %" PRId64 " %s in no backup", unusable,
		    plural(unusable, "is", "are"));
	(void)snprintf(out, size,
	    "pool %s %s in %s is %s: %" PRId64 " ready%s, %" PRId64 " required",
	    doc_text(pool, "policy"), doc_text(pool, "role"),
	    doc_text(pool, "repository"), doc_text(pool, "level"),
	    doc_number(pool, "ready"), backup, doc_number(pool, "required"));
}

void
pool_print(FILE *out, const json_t *pool)
{
	text_print(out, doc_text(pool, "policy"));
	(void)fprintf(out, "/%s/", doc_text(pool, "role"));
	text_print(out, doc_text(pool, "repository"));
	(void)fprintf(out, "/%s/%" PRId64, doc_text(pool, "algorithm"),
	    doc_number(pool, "size"));
}

void
word_print(FILE *out, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-./:@%+,";
	char part[512];

	if (word[0] != '\0' && strspn(word, plain) == strlen(word)) {
		text_print(out, word);
		return;
	}
	(void)fputc('\'', out);
	for (size_t len; *word != '\0'; word += len) {
		len = strcspn(word, "'");
		(void)snprintf(part, sizeof(part), "%.*s", (int)len, word);
		text_print(out, part);
		if (word[len] == '\'') {
			(void)fputs("'\\''", out);
			len++;
		}
	}
	(void)fputc('\'', out);
}

void
print_count(FILE *out, const json_t *doc, const char *one, const char *many)
{
	int64_t n = doc_number(doc, "count");

	(void)fprintf(out, "%" PRId64 " %s\n", n, plural(n, one, many));
}

void
fact_number(FILE *out, const char *label, const json_t *o, const char *field)
{
	char digits[32] = "unknown";

	if (doc_known(o, field))
		(void)snprintf(
		    digits, sizeof(digits), "%" PRId64, doc_number(o, field));
	fact(out, label, digits);
}

/* ---- progress -------------------------------------------------------- */

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

