#include "xml.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <libxml/xmlerror.h>

#include "ksmpool/duration.h"
#include "ksmpool/fd.h"

#define DEPTH_MAX    64
#define VALUE_MAX    200
#define CHILDREN_MAX 40
#define HOUR	     INT64_C(3600)
#define DAY	     (24 * HOUR)

/* An open element that the grammar knows. */
struct frame {
	int id;
	int64_t line;
	bool stray; /* text where none belongs was reported */
	bool ok;
	int64_t seen[CHILDREN_MAX]; /* line of each child's first; 0: none */
};

struct reader {
	const struct xml_grammar *g;
	struct xml_file *file;
	void *ctx;
	xmlParserCtxtPtr parser;

	/* children of each rule, in table order */
	int first[XML_RULES_MAX], count[XML_RULES_MAX];
	int child[XML_RULES_MAX];

	struct frame frames[DEPTH_MAX];
	int depth;
	int64_t skip; /* levels inside something not looked at */

	char *text; /* XML_TEXT_MAX + 1 */
	size_t len;
	bool overlong;
	char *attr[XML_ATTRS_MAX]; /* XML_TEXT_MAX + 1 each */

	bool unused[XML_RULES_MAX];
	bool calendar; /* the 31/365 rule was mentioned */
	bool rooted, stopped, broken, ended;

	int fd;
	const char *bytes;
	size_t left;
	int read_errno;
};

/* ---- memory of libxml2 ------------------------------------------------ */

static void
wiping_free(void *p)
{
	if (p == NULL)
		return;
	explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

/* realloc(3) may leave the old bytes behind. */
static void *
wiping_realloc(void *p, size_t size)
{
	size_t old;
	void *q;

	if (p == NULL)
		return malloc(size);
	old = malloc_usable_size(p);
	if (size <= old)
		return p;
	q = malloc(size);
	if (q == NULL)
		return NULL;
	memcpy(q, p, old);
	wiping_free(p);
	return q;
}

void
xml_setup(void)
{
	static bool done;

	if (done)
		return;
	(void)xmlMemSetup(wiping_free, malloc, wiping_realloc, strdup);
	xmlInitParser();
	done = true;
}

/* ---- findings --------------------------------------------------------- */

static void
finding_add(struct xml_file *file, enum conf_severity sev, int64_t line,
    const char *what, const char *value, const char *expected)
{
	char cut[VALUE_MAX + 8];

	if (value != NULL && strlen(value) > VALUE_MAX) {
		size_t n = VALUE_MAX;

		/* not in the middle of a UTF-8 character */
		while (n > 0 && ((unsigned char)value[n] & 0xc0) == 0x80)
			n--;
		memcpy(cut, value, n);
		memcpy(cut + n, "...", 4);
		value = cut;
	}
	/* without memory the next real step fails and says so */
	(void)conf_finding_add(
	    file->conf, sev, file->in, file->path, line, what, value, expected);
}

void
xml_find(struct xml_file *file, enum conf_severity sev, int64_t line,
    const char *what, const char *value, const char *expected, ...)
{
	char text[512];
	va_list ap;

	if (expected == NULL) {
		finding_add(file, sev, line, what, value, NULL);
		return;
	}
	va_start(ap, expected);
	(void)vsnprintf(text, sizeof(text), expected, ap);
	va_end(ap);
	finding_add(file, sev, line, what, value, text);
}

static int64_t
line_now(const struct reader *r)
{
	if (r->parser == NULL || r->parser->input == NULL)
		return 0;
	return r->parser->input->line;
}

static void
reader_stop(struct reader *r)
{
	r->stopped = true;
	xmlStopParser(r->parser);
}

static const struct xml_rule *
rule_at(const struct reader *r, int id)
{
	return &r->g->rules[id];
}

/* "<A>, <B> or <C>": what is known inside rule `id`. */
static void
children_text(const struct reader *r, int id, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (int i = 0; i < r->count[id] && used + 1 < size; i++) {
		const char *sep = i == 0		  ? ""
				  : i + 1 == r->count[id] ? " or "
							  : ", ";
		int n = snprintf(out + used, size - used, "%s<%s>", sep,
		    rule_at(r, r->child[r->first[id] + i])->name);

		if (n > 0)
			used += (size_t)n;
	}
	if (r->count[id] == 0)
		(void)snprintf(
		    out, size, "no element inside <%s>", rule_at(r, id)->name);
}

/* ---- values ----------------------------------------------------------- */

static bool
blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
all_blank(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!blank(s[i]))
			return false;
	return true;
}

/*
 * Blanks around a value are layout. Around a secret they may be part of it:
 * there only a run that holds a line break is layout.
 */
static void
text_trim(struct reader *r, bool secret)
{
	size_t from = 0, to = r->len;
	bool broken = false;

	while (from < to && blank(r->text[from])) {
		broken =
		    broken || r->text[from] == '\n' || r->text[from] == '\r';
		from++;
	}
	if (secret && !broken)
		from = 0;
	broken = false;
	while (to > from && blank(r->text[to - 1])) {
		broken = broken || r->text[to - 1] == '\n' ||
			 r->text[to - 1] == '\r';
		to--;
	}
	if (secret && !broken)
		to = r->len;
	memmove(r->text, r->text + from, to - from);
	r->len = to - from;
	r->text[r->len] = '\0';
}

/* "P5M" and not "PT5M", "P1Y5M": a number of months alone. */
static bool
months_alone(const char *text)
{
	size_t n;

	if (*text == '-')
		text++;
	if (*text++ != 'P')
		return false;
	n = strspn(text, "0123456789");
	return n > 0 && strcmp(text + n, "M") == 0;
}

static void
duration_doubt(
    struct reader *r, const struct xml_rule *rule, const struct xml_node *n)
{
	char human[DURATION_TEXT], what[128];

	duration_human(n->number, human);
	if (months_alone(n->text) &&
	    ((rule->flags & XML_QUICK) != 0 ||
		((rule->flags & XML_LIFE) != 0 && n->number > 372 * DAY))) {
		(void)snprintf(what, sizeof(what),
		    "%s is in months: %s; minutes have a T before them",
		    rule->name, human);
		xml_find(r->file, CONF_WARNING, n->line, what, n->text,
		    "PT%s if minutes are meant", n->text + 1);
	} else if ((rule->flags & XML_LIFE) != 0 && n->number > 0 &&
		   n->number < HOUR && strncmp(n->text, "PT", 2) == 0 &&
		   strchr(n->text, 'M') != NULL) {
		(void)snprintf(what, sizeof(what),
		    "%s is in minutes: %s; months have no T before them",
		    rule->name, human);
		xml_find(r->file, CONF_WARNING, n->line, what, n->text,
		    "P%s if months are meant", n->text + 2);
	}
}

static void
value_duration(
    struct reader *r, const struct xml_rule *rule, struct xml_node *n)
{
	struct duration_note note = { .months_or_years = 0 };
	struct ksm_fail fail = { .err = KSM_OK };
	char what[sizeof(fail.text) + 64], lo[DURATION_TEXT];
	char hi[DURATION_TEXT];

	n->ok =
	    duration_parse(n->text,
		rule->type == XML_OFFSET ? DURATION_SIGNED : DURATION_POSITIVE,
		&n->number, &note, &fail) == KSM_OK;
	if (!n->ok) {
		(void)snprintf(what, sizeof(what), "%s is not a duration (%s)",
		    rule->name, fail.text);
		xml_find(r->file, CONF_ERROR, n->line, what, n->text,
		    "an ISO 8601 duration such as P90D or PT1H30M");
		return;
	}
	if (rule->hi != 0 && (n->number < rule->lo || n->number > rule->hi)) {
		duration_format(rule->lo, lo);
		duration_format(rule->hi, hi);
		(void)snprintf(
		    what, sizeof(what), "%s is out of range", rule->name);
		xml_find(r->file, CONF_ERROR, n->line, what, n->text,
		    "%s to %s", lo, hi);
		n->ok = false;
		return;
	}
	if (note.months_or_years != 0 && !r->calendar) {
		r->calendar = true;
		xml_find(r->file, CONF_NOTICE, n->line,
		    "a month is read as 31 days and a year as 365 days, here "
		    "and below",
		    n->text, NULL);
	}
	duration_doubt(r, rule, n);
}

static void
value_number(struct reader *r, const struct xml_rule *rule, struct xml_node *n)
{
	char what[128];
	int64_t v = 0;

	n->ok = n->len > 0;
	for (size_t i = 0; i < n->len && n->ok; i++) {
		if (n->text[i] < '0' || n->text[i] > '9' ||
		    __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, n->text[i] - '0', &v))
			n->ok = false;
	}
	if (n->ok && (v < rule->lo || (rule->hi != 0 && v > rule->hi)))
		n->ok = false;
	n->number = v;
	if (n->ok)
		return;
	(void)snprintf(
	    what, sizeof(what), "%s is not a number it can be", rule->name);
	if (rule->hi != 0)
		xml_find(r->file, CONF_ERROR, n->line, what, n->text,
		    "a whole number, %" PRId64 " to %" PRId64, rule->lo,
		    rule->hi);
	else
		xml_find(r->file, CONF_ERROR, n->line, what, n->text,
		    "a whole number, %" PRId64 " or more", rule->lo);
}

static void
value_word(struct reader *r, const struct xml_rule *rule, struct xml_node *n)
{
	char what[128], list[256];
	size_t used = 0;

	n->ok = false;
	list[0] = '\0';
	for (size_t i = 0; rule->words[i] != NULL; i++) {
		int w = snprintf(list + used, sizeof(list) - used, "%s%s",
		    i == 0			 ? ""
		    : rule->words[i + 1] == NULL ? " or "
						 : ", ",
		    rule->words[i]);

		if (w > 0 && used + (size_t)w < sizeof(list))
			used += (size_t)w;
		if (strcmp(rule->words[i], n->text) == 0) {
			n->ok = true;
			n->number = (int64_t)i;
			return;
		}
	}
	(void)snprintf(
	    what, sizeof(what), "%s has an unknown value", rule->name);
	xml_find(r->file, CONF_ERROR, n->line, what, n->text, "%s", list);
}

static void
value_check(struct reader *r, const struct xml_rule *rule, struct xml_node *n)
{
	char what[128];

	if (r->overlong) {
		(void)snprintf(
		    what, sizeof(what), "%s is too long", rule->name);
		xml_find(r->file, CONF_ERROR, n->line, what, NULL,
		    "at most %d bytes", XML_TEXT_MAX);
		n->ok = false;
		return;
	}
	switch (rule->type) {
	case XML_PARENT:
	case XML_LOOSE:
	case XML_SKIP:
		return;
	case XML_TEXT:
	case XML_SECRET:
		if (n->len > 0)
			return;
		n->ok = false;
		(void)snprintf(what, sizeof(what), "%s is empty", rule->name);
		xml_find(
		    r->file, CONF_ERROR, n->line, what, NULL, "text in it");
		return;
	case XML_PRESENCE:
		if (n->len == 0)
			return;
		(void)snprintf(what, sizeof(what),
		    r->g->strict
			? "%s has something written in it"
			: "%s counts as present, whatever is written in it",
		    rule->name);
		xml_find(r->file, r->g->strict ? CONF_ERROR : CONF_WARNING,
		    n->line, what, r->g->secrets ? NULL : n->text,
		    "<%s/>, or no such element", rule->name);
		return;
	case XML_NUMBER:
		value_number(r, rule, n);
		break;
	case XML_DURATION:
	case XML_OFFSET:
		value_duration(r, rule, n);
		break;
	case XML_WORD:
		value_word(r, rule, n);
		break;
	}
	if (rule->superseded != NULL) {
		(void)snprintf(what, sizeof(what), "%s is ignored", rule->name);
		xml_find(r->file, CONF_WARNING, n->line, what, n->text, "%s",
		    rule->superseded);
	}
}

/* ---- elements --------------------------------------------------------- */

/* Ordinal among the children of `parent`, or -1. */
static int
child_find(const struct reader *r, int parent, const char *name)
{
	for (int i = 0; i < r->count[parent]; i++)
		if (strcmp(rule_at(r, r->child[r->first[parent] + i])->name,
			name) == 0)
			return i;
	return -1;
}

static bool
root_check(struct reader *r, const char *name, bool foreign, int64_t line)
{
	const struct xml_rule *root = rule_at(r, 0);
	char what[160];

	r->rooted = true;
	if (!foreign && strcmp(name, root->name) == 0)
		return true;
	(void)snprintf(what, sizeof(what), "this is not %s", r->g->what);
	xml_find(r->file, CONF_ERROR, line, what, name, "<%s> as the root%s",
	    root->name,
	    foreign				? ", in no namespace"
	    : strcasecmp(name, root->name) == 0 ? "; names are case-sensitive"
						: "");
	reader_stop(r);
	return false;
}

static void
unknown_report(struct reader *r, int parent, const char *name, int64_t line)
{
	char list[400], what[160];

	children_text(r, parent, list, sizeof(list));
	(void)snprintf(what, sizeof(what), "unknown element in <%s>",
	    rule_at(r, parent)->name);
	xml_find(r->file,
	    (rule_at(r, parent)->flags & XML_LENIENT) != 0 ? CONF_WARNING
							   : CONF_ERROR,
	    line, what, name, "%s", list);
}

/*
 * As entities are not replaced, libxml2 leaves each & of a value, however it
 * was written, as the reference &#38;.
 */
static size_t
attribute_copy(char *out, const char *from, size_t len)
{
	static const char amp[] = "&#38;";
	size_t n = 0;

	for (size_t i = 0; i < len; n++) {
		bool is_amp = len - i >= sizeof(amp) - 1 &&
			      memcmp(from + i, amp, sizeof(amp) - 1) == 0;

		out[n] = from[i];
		i += is_amp ? sizeof(amp) - 1 : 1;
	}
	return n;
}

/* Copies what the rule knows; reports the rest. */
static void
attributes_take(struct reader *r, const struct xml_rule *rule,
    struct xml_node *n, int nb, const xmlChar **attributes)
{
	char what[160];

	for (int i = 0; i < nb; i++) {
		const char *name = (const char *)attributes[i * 5];
		const char *prefix = (const char *)attributes[i * 5 + 1];
		const char *from = (const char *)attributes[i * 5 + 3];
		const char *to = (const char *)attributes[i * 5 + 4];
		size_t len = (size_t)(to - from), a;

		for (a = 0; a < XML_ATTRS_MAX; a++)
			if (prefix == NULL && rule->attrs[a].name != NULL &&
			    strcmp(rule->attrs[a].name, name) == 0)
				break;
		if (a == XML_ATTRS_MAX) {
			(void)snprintf(what, sizeof(what),
			    "unknown attribute of <%s>", rule->name);
			if (rule->attrs[0].name == NULL)
				xml_find(r->file, CONF_ERROR, n->line, what,
				    name, "no attribute");
			else
				xml_find(r->file, CONF_ERROR, n->line, what,
				    name, "%s%s%s", rule->attrs[0].name,
				    rule->attrs[1].name != NULL ? " or " : "",
				    rule->attrs[1].name != NULL
					? rule->attrs[1].name
					: "");
			continue;
		}
		if (len > XML_TEXT_MAX) {
			(void)snprintf(what, sizeof(what),
			    "attribute %s of <%s> is too long", name,
			    rule->name);
			xml_find(r->file, CONF_ERROR, n->line, what, NULL,
			    "at most %d bytes", XML_TEXT_MAX);
			n->ok = false;
			continue;
		}
		len = attribute_copy(r->attr[a], from, len);
		while (len > 0 && blank(r->attr[a][len - 1]))
			len--;
		r->attr[a][len] = '\0';
		n->attrs[a] = r->attr[a] + strspn(r->attr[a], " \t\r\n");
	}
	for (size_t a = 0; a < XML_ATTRS_MAX; a++) {
		if (rule->attrs[a].name == NULL || !rule->attrs[a].required)
			continue;
		if (n->attrs[a] != NULL && n->attrs[a][0] != '\0')
			continue;
		(void)snprintf(what, sizeof(what), "<%s> has no %s", rule->name,
		    rule->attrs[a].name);
		xml_find(r->file, CONF_ERROR, n->line, what, NULL,
		    "<%s %s=\"...\">", rule->name, rule->attrs[a].name);
		n->attrs[a] = NULL;
		n->ok = false;
	}
}

static void
on_open(void *ctx, const xmlChar *local, const xmlChar *prefix,
    const xmlChar *uri, int nb_namespaces, const xmlChar **namespaces,
    int nb_attributes, int nb_defaulted, const xmlChar **attributes)
{
	const char *name = (const char *)local;
	const struct xml_rule *rule;
	struct reader *r = ctx;
	struct xml_node n = { .ok = true };
	/* none of the files has a namespace */
	bool foreign = uri != NULL || prefix != NULL;
	struct frame *f;
	int ordinal, id;

	(void)nb_namespaces;
	(void)namespaces;
	(void)nb_defaulted;
	if (r->stopped)
		return;
	n.line = line_now(r);
	if (r->depth + r->skip >= DEPTH_MAX) {
		xml_find(r->file, CONF_ERROR, n.line,
		    "elements are nested too deeply", NULL, "at most %d levels",
		    DEPTH_MAX);
		reader_stop(r);
		return;
	}
	if (r->skip > 0) {
		r->skip++;
		return;
	}
	if (r->depth == 0) {
		if (!root_check(r, name, foreign, n.line))
			return;
		id = 0;
	} else {
		f = &r->frames[r->depth - 1];
		ordinal = foreign ? -1 : child_find(r, f->id, name);
		if (ordinal == -1) {
			unknown_report(r, f->id, name, n.line);
			r->skip = 1;
			return;
		}
		id = r->child[r->first[f->id] + ordinal];
		if (f->seen[ordinal] == 0) {
			f->seen[ordinal] = n.line;
		} else if ((rule_at(r, id)->flags & XML_MANY) == 0) {
			char what[128];

			(void)snprintf(what, sizeof(what),
			    "<%s> is there more than once", name);
			xml_find(r->file, CONF_ERROR, n.line, what, NULL,
			    "one in each <%s>; first at line %" PRId64,
			    rule_at(r, f->id)->name, f->seen[ordinal]);
		}
	}
	rule = rule_at(r, id);
	if ((rule->flags & XML_UNUSED) != 0)
		r->unused[id] = true;
	if (rule->type == XML_SKIP) {
		r->skip = 1;
		return;
	}
	f = &r->frames[r->depth++];
	f->id = id;
	f->line = n.line;
	f->stray = false;
	memset(f->seen, 0, (size_t)r->count[id] * sizeof(f->seen[0]));
	r->len = 0;
	r->overlong = false;

	n.id = id;
	attributes_take(r, rule, &n, nb_attributes, attributes);
	f->ok = n.ok;
	r->g->open(r->ctx, &n);
}

static void
on_close(
    void *ctx, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri)
{
	const struct xml_rule *rule;
	struct reader *r = ctx;
	struct xml_node n = { .ok = true };
	struct frame *f;

	(void)local;
	(void)prefix;
	(void)uri;
	if (r->stopped)
		return;
	if (r->skip > 0) {
		r->skip--;
		return;
	}
	f = &r->frames[--r->depth];
	rule = rule_at(r, f->id);
	n.id = f->id;
	n.line = f->line;
	n.ok = f->ok;
	if (rule->type == XML_PARENT) {
		for (int i = 0; i < r->count[f->id]; i++) {
			const struct xml_rule *c =
			    rule_at(r, r->child[r->first[f->id] + i]);
			char what[128];

			if (f->seen[i] != 0 || (c->flags & XML_REQUIRED) == 0)
				continue;
			(void)snprintf(what, sizeof(what), "<%s> has no <%s>",
			    rule->name, c->name);
			xml_find(r->file, CONF_ERROR, f->line, what, NULL,
			    "one <%s> in it", c->name);
			n.ok = false;
		}
		n.text = "";
	} else {
		text_trim(r, rule->type == XML_SECRET);
		n.text = r->text;
		n.len = r->len;
		value_check(r, rule, &n);
	}
	r->g->close(r->ctx, &n);
	if (rule->type == XML_SECRET)
		explicit_bzero(r->text, XML_TEXT_MAX + 1);
	r->len = 0;
}

static void
on_text(void *ctx, const xmlChar *ch, int chars)
{
	const char *s = (const char *)ch;
	struct reader *r = ctx;
	size_t len = (size_t)chars;
	struct frame *f;

	if (r->stopped || r->skip > 0 || r->depth == 0)
		return;
	f = &r->frames[r->depth - 1];
	if (rule_at(r, f->id)->type == XML_PARENT) {
		char value[64], what[128];

		if (f->stray || all_blank(s, len))
			return;
		f->stray = true;
		while (len > 0 && blank(*s)) {
			s++;
			len--;
		}
		(void)snprintf(
		    value, sizeof(value), "%.*s", len < 40 ? (int)len : 40, s);
		value[strcspn(value, "\r\n")] = '\0';
		(void)snprintf(what, sizeof(what),
		    "text in <%s>, where only elements belong",
		    rule_at(r, f->id)->name);
		xml_find(r->file, CONF_ERROR, line_now(r), what,
		    r->g->secrets ? NULL : value, NULL);
		return;
	}
	if (len > XML_TEXT_MAX - r->len) {
		r->overlong = true;
		return;
	}
	memcpy(r->text + r->len, s, len);
	r->len += len;
	r->text[r->len] = '\0';
}

/* Called at a DOCTYPE, before anything in it has any effect. */
static void
on_doctype(void *ctx, const xmlChar *name, const xmlChar *external,
    const xmlChar *system)
{
	struct reader *r = ctx;

	(void)external;
	(void)system;
	if (r->stopped)
		return;
	xml_find(r->file, CONF_ERROR, line_now(r),
	    "a document type is not allowed", (const char *)name,
	    "no DOCTYPE and no entities of your own");
	reader_stop(r);
}

static void
on_end(void *ctx)
{
	struct reader *r = ctx;

	r->ended = true;
}

/*
 * Our own words: those of libxml2 quote the file, and what they quote may be
 * a PIN.
 */
static const char *
error_text(int code)
{
	switch (code) {
	case XML_ERR_DOCUMENT_EMPTY:
		return "there is nothing in the file";
	case XML_ERR_DOCUMENT_END:
		return "there is more after the end of the document";
	case XML_ERR_TAG_NAME_MISMATCH:
		return "a closing tag does not match";
	case XML_ERR_TAG_NOT_FINISHED:
		return "the file ends inside an element: it is truncated";
	case XML_ERR_UNDECLARED_ENTITY:
	case XML_WAR_UNDECLARED_ENTITY:
		return "an entity that is not one of &amp; &lt; &gt; &quot; "
		       "&apos;";
	case XML_ERR_ENTITYREF_SEMICOL_MISSING:
	case XML_ERR_ENTITYREF_NO_NAME:
	case XML_ERR_NAME_REQUIRED:
		return "an & or < that is not written as &amp; or &lt;";
	case XML_ERR_INVALID_ENCODING:
	case XML_I18N_CONV_FAILED:
		return "bytes that are not of the encoding of the file";
	case XML_ERR_UNKNOWN_ENCODING:
	case XML_ERR_UNSUPPORTED_ENCODING:
		return "an encoding that is not known";
	case XML_ERR_INVALID_CHAR:
	case XML_ERR_INVALID_CHARREF:
		return "a character that XML does not allow, or bytes that "
		       "are not of the encoding of the file";
	case XML_ERR_COMMENT_NOT_FINISHED:
		return "a comment that never ends";
	case XML_ERR_HYPHEN_IN_COMMENT:
		return "two hyphens inside a comment";
	case XML_ERR_CDATA_NOT_FINISHED:
		return "a CDATA section that never ends";
	case XML_ERR_GT_REQUIRED:
		return "a tag without its closing >";
	case XML_ERR_LT_REQUIRED:
	case XML_ERR_LTSLASH_REQUIRED:
		return "a tag that does not begin with < or </";
	case XML_ERR_ATTRIBUTE_REDEFINED:
		return "the same attribute twice";
	case XML_ERR_ATTRIBUTE_NOT_STARTED:
	case XML_ERR_ATTRIBUTE_NOT_FINISHED:
	case XML_ERR_ATTRIBUTE_WITHOUT_VALUE:
		return "an attribute whose value is not between quotes";
	case XML_ERR_LT_IN_ATTRIBUTE:
		return "a < inside an attribute";
	case XML_ERR_RESERVED_XML_NAME:
	case XML_ERR_XMLDECL_NOT_STARTED:
	case XML_ERR_XMLDECL_NOT_FINISHED:
		return "an XML declaration that is not at the very beginning "
		       "or not complete";
	case XML_NS_ERR_UNDEFINED_NAMESPACE:
		return "a name with a prefix that is not declared";
	default:
		return NULL;
	}
}

static void
on_error(void *ctx, xmlErrorPtr error)
{
	struct reader *r = ctx;
	char what[256];
	const char *text;

	if (r->stopped || r->broken || error->level == XML_ERR_WARNING)
		return;
	r->broken = error->level == XML_ERR_FATAL;
	text = error_text(error->code);
	if (text != NULL)
		(void)snprintf(what, sizeof(what), "not well-formed: %s", text);
	else
		(void)snprintf(what, sizeof(what),
		    "not well-formed (libxml2 error %d)", error->code);
	xml_find(r->file, CONF_ERROR, error->line, what, NULL,
	    error->code == XML_ERR_TAG_NAME_MISMATCH && r->depth > 0 ? "</%s>"
								     : NULL,
	    r->depth > 0 ? rule_at(r, r->frames[r->depth - 1].id)->name : "");
}

/* ---- reading ---------------------------------------------------------- */

static int
source_read(void *ctx, char *buffer, int len)
{
	struct reader *r = ctx;
	ssize_t n;

	if (r->fd == -1) {
		size_t take = r->left < (size_t)len ? r->left : (size_t)len;

		memcpy(buffer, r->bytes, take);
		r->bytes += take;
		r->left -= take;
		return (int)take;
	}
	do {
		n = read(r->fd, buffer, (size_t)len);
	} while (n == -1 && errno == EINTR);
	if (n == -1) {
		r->read_errno = errno;
		return -1;
	}
	return (int)n;
}

static int
source_close(void *ctx)
{
	(void)ctx;
	return 0;
}

/* Children of each rule side by side, so that a look-up is a short walk. */
static void
grammar_index(struct reader *r)
{
	int used = 0;

	for (size_t p = 0; p < r->g->nrules; p++) {
		r->first[p] = used;
		for (size_t i = 1; i < r->g->nrules; i++)
			if (r->g->rules[i].parent == (int)p)
				r->child[used++] = (int)i;
		r->count[p] = used - r->first[p];
	}
}

static void
unused_report(struct reader *r)
{
	char list[512];
	size_t used = 0;

	for (size_t i = 0; i < r->g->nrules; i++) {
		const char *name = r->g->rules[i].name;
		bool again = false;
		int n;

		if (!r->unused[i])
			continue;
		for (size_t j = 0; j < i; j++)
			again = again ||
				(r->unused[j] &&
				    strcmp(r->g->rules[j].name, name) == 0);
		if (again || used + strlen(name) + 3 > sizeof(list))
			continue;
		n = snprintf(list + used, sizeof(list) - used, "%s%s",
		    used == 0 ? "" : ", ", name);
		if (n > 0)
			used += (size_t)n;
	}
	if (used > 0)
		(void)conf_finding_add(r->file->conf, CONF_NOTICE, r->file->in,
		    r->file->path, 0, "these elements have no effect here",
		    list, NULL);
}

static enum ksm_err
reader_run(struct reader *r, struct xml_result *result, struct ksm_fail *fail)
{
	xmlSAXHandler sax;
	enum ksm_err err = KSM_OK;
	char what[256];

	memset(&sax, 0, sizeof(sax));
	sax.initialized = XML_SAX2_MAGIC;
	sax.startElementNs = on_open;
	sax.endElementNs = on_close;
	sax.characters = on_text;
	sax.cdataBlock = on_text;
	sax.internalSubset = on_doctype;
	sax.endDocument = on_end;
	sax.serror = on_error;

	r->text = malloc(XML_TEXT_MAX + 1);
	for (size_t i = 0; i < XML_ATTRS_MAX; i++)
		r->attr[i] = malloc(XML_TEXT_MAX + 1);
	if (r->text == NULL || r->attr[0] == NULL || r->attr[1] == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "out of memory");
		goto out;
	}
	grammar_index(r);
	r->parser = xmlCreateIOParserCtxt(
	    &sax, r, source_read, source_close, r, XML_CHAR_ENCODING_NONE);
	if (r->parser == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM,
		    "%s: no memory for the XML parser", r->file->path);
		goto out;
	}
	(void)xmlCtxtUseOptions(r->parser, XML_PARSE_NONET);
	r->parser->linenumbers = 1;
	(void)xmlParseDocument(r->parser);

	if (r->read_errno != 0) {
		(void)snprintf(what, sizeof(what), "cannot be read: %s",
		    strerror(r->read_errno));
		xml_find(r->file, CONF_ERROR, line_now(r), what, NULL, NULL);
		r->broken = true;
	} else if (!r->stopped && !r->broken &&
		   (r->parser->wellFormed == 0 || !r->ended || !r->rooted ||
		       r->depth != 0)) {
		xml_find(r->file, CONF_ERROR, line_now(r),
		    "not well-formed: the file ends too early", NULL, NULL);
		r->broken = true;
	}
	result->sound = !r->stopped && !r->broken;
	if (result->sound)
		unused_report(r);
out:
	if (r->parser != NULL) {
		if (r->parser->myDoc != NULL)
			xmlFreeDoc(r->parser->myDoc);
		r->parser->myDoc = NULL;
		xmlFreeParserCtxt(r->parser);
	}
	for (size_t i = 0; i < XML_ATTRS_MAX; i++)
		wiping_free(r->attr[i]);
	wiping_free(r->text);
	return err;
}

enum ksm_err
xml_read_bytes(const struct xml_grammar *g, struct xml_file *file,
    const void *bytes, size_t len, void *ctx, struct xml_result *result,
    struct ksm_fail *fail)
{
	struct reader r = {
		.g = g,
		.file = file,
		.ctx = ctx,
		.fd = -1,
		.bytes = bytes,
		.left = len,
	};

	memset(result, 0, sizeof(*result));
	result->opened = true;
	return reader_run(&r, result, fail);
}

int
xml_open(struct xml_file *file, struct xml_result *result)
{
	char what[256];
	struct stat st;
	int fd;

	memset(result, 0, sizeof(*result));
	/* O_NONBLOCK: a FIFO without a writer must not hold us up */
	fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd == -1 || fstat(fd, &st) == -1 || fcntl(fd, F_SETFL, 0) == -1) {
		(void)snprintf(what, sizeof(what), "cannot be opened: %s",
		    strerror(errno));
		xml_find(file, CONF_ERROR, 0, what, NULL, NULL);
		fd_close(&fd);
	} else if (S_ISDIR(st.st_mode)) {
		xml_find(file, CONF_ERROR, 0, "cannot be opened", NULL,
		    "a file, not a directory");
		fd_close(&fd);
	} else {
		result->opened = true;
		result->mode = st.st_mode;
	}
	return fd;
}

enum ksm_err
xml_read(const struct xml_grammar *g, struct xml_file *file, void *ctx,
    struct xml_result *result, struct ksm_fail *fail)
{
	struct reader r = { .g = g, .file = file, .ctx = ctx };
	enum ksm_err err;

	r.fd = xml_open(file, result);
	if (r.fd == -1)
		return KSM_OK;
	(void)posix_fadvise(r.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	err = reader_run(&r, result, fail);
	fd_close(&r.fd);
	return err;
}
