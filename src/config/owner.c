/*
 * owner.c - the owner file: whose a zone is, a line for each.
 *
 *	# customers
 *	example.com	acme
 *	example.net	acme	# until March
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <libxml/xmlstring.h>

#include "ksmpool/dnsname.h"
#include "ksmpool/fd.h"

#include "config.h"

#define LINE_BYTES_MAX 4095
#define BLANKS	       " \t\r"

struct reading {
	struct xml_file *file;
	FILE *in;
	struct zonelist *zones;
	struct owners *out;
	enum ksm_err err;

	char text[LINE_BYTES_MAX + 1];
	size_t len;
	int64_t line, faults;
	bool cut;   /* there is no newline after it */
	int failed; /* errno of a read that failed */

	int64_t unlisted, unlisted_line;
	char unlisted_zone[DNSNAME_TEXT];
};

static void fault(struct reading *o, const char *what, const char *value,
    const char *expected, ...) __attribute__((format(printf, 4, 5)));

static void
fault(struct reading *o, const char *what, const char *value,
    const char *expected, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, expected);
	(void)vsnprintf(text, sizeof(text), expected, ap);
	va_end(ap);
	o->faults++;
	xml_find(o->file, CONF_ERROR, o->line, what, value, "%s", text);
}

/* ---- an owner --------------------------------------------------------- */

/* What shows nothing, or changes how the text around it shows (Unicode 15). */
static bool
unseen(int c)
{
	static const struct {
		int from, to;
	} ranges[] = {
		{ 0x00, 0x20 },	    /* controls, blank */
		{ 0x7f, 0xa0 },	    /* controls, no-break space */
		{ 0xad, 0xad },	    /* soft hyphen */
		{ 0x61c, 0x61c },   /* Arabic letter mark */
		{ 0x1680, 0x1680 }, /* Ogham space */
		{ 0x180e, 0x180e }, /* Mongolian vowel separator */
		{ 0x2000, 0x200f }, /* spaces, joiners, directions */
		{ 0x2028, 0x202f }, /* separators, directions */
		{ 0x205f, 0x206f }, /* a space, invisible operators */
		{ 0x3000, 0x3000 }, /* ideographic space */
		{ 0xfdd0, 0xfdef }, /* no characters */
		{ 0xfeff, 0xfeff }, /* byte order mark */
		{ 0xfff0, 0xfffb }, /* annotations */
		{ 0xe0000, 0xe0fff }, /* tags */
	};

	for (size_t i = 0; i < nitems(ranges); i++)
		if (c >= ranges[i].from && c <= ranges[i].to)
			return true;
	return (c & 0xfffe) == 0xfffe;
}

static bool
printable(const char *text, size_t len)
{
	size_t at = 0;
	json_t *utf8;

	while (at < len && text[at] > ' ' && text[at] <= '~')
		at++;
	if (at == len)
		return true;
	utf8 = json_stringn(text, len); /* none of what is not UTF-8 */
	if (utf8 == NULL)
		return false;
	json_decref(utf8);
	while (at < len) {
		int left = (int)(len - at);
		int c = xmlGetUTF8Char((const xmlChar *)text + at, &left);

		if (c < 0 || unseen(c))
			return false;
		at += (size_t)left;
	}
	return true;
}

/* Where its name stands; 0: a finding says why it does not. */
static uint32_t
owner_get(struct reading *o, const char *name)
{
	size_t len = strlen(name);
	bool added;
	uint32_t at;

	if (len > OWNER_BYTES_MAX) {
		fault(o, "the name of an owner is too long", name,
		    "1 to %d bytes; this has %zu", OWNER_BYTES_MAX, len);
		return 0;
	}
	if (!printable(name, len)) {
		fault(o, "the name of an owner is not plain text", name,
		    "printable UTF-8 without blanks");
		return 0;
	}
	at = nametable_put(&o->out->names, name, len, &added);
	if (at == 0)
		o->err = KSM_ENOMEM;
	return at;
}

/* ---- a line ----------------------------------------------------------- */

static const char *
owner_text(const struct reading *o, uint32_t at)
{
	size_t len;

	return (const char *)nametable_name(&o->out->names, at, &len);
}

static void
owner_set(struct reading *o, const char *zone, const uint8_t *name, size_t len,
    uint32_t owner)
{
	struct zonelist *z = o->zones;
	struct zone_row row;
	bool added;
	uint32_t at;

	at = nametable_put(&z->names, name, len, &added);
	if (at == 0) {
		o->err = KSM_ENOMEM;
		return;
	}
	row = zone_row_get(z, at);
	if (added) {
		row.policy = ZONE_UNLISTED;
		if (o->unlisted++ == 0) {
			o->unlisted_line = o->line;
			(void)snprintf(o->unlisted_zone,
			    sizeof(o->unlisted_zone), "%s", zone);
		}
	}
	if (row.owner == owner) {
		xml_find(o->file, CONF_WARNING, o->line,
		    "the same zone twice with one owner", zone,
		    "each zone once; first at line %" PRIu32, row.line);
		return;
	}
	if (row.owner != 0) {
		fault(o, "the same zone with two owners", zone,
		    "one owner; at line %" PRIu32 " it is '%s', here '%s'",
		    row.line, owner_text(o, row.owner), owner_text(o, owner));
		return;
	}
	row.owner = owner;
	row.line = (uint32_t)o->line;
	zone_row_set(z, at, &row);
	o->out->zones++;
}

/* The next word, ended with a NUL; NULL: none, or a comment begins. */
static char *
word_next(char **rest)
{
	char *word = *rest + strspn(*rest, BLANKS);
	size_t len = strcspn(word, BLANKS);

	if (len == 0 || word[0] == '#')
		return NULL;
	*rest = word + len;
	if (word[len] != '\0') {
		word[len] = '\0';
		(*rest)++;
	}
	return word;
}

static void
line_take(struct reading *o)
{
	struct ksm_fail fail = { .err = KSM_OK };
	const char *zone, *owner, *more;
	uint8_t name[DNSNAME_WIRE];
	char *rest = o->text;
	uint32_t at;
	size_t len;

	if (strlen(o->text) != o->len) {
		fault(o, "a NUL byte in a line", o->text,
		    "a zone and its owner, as text");
		return;
	}
	if (o->line == 1 && strncmp(rest, "\xef\xbb\xbf", 3) == 0)
		rest += 3; /* a byte order mark */
	zone = word_next(&rest);
	if (zone == NULL)
		return;
	owner = word_next(&rest);
	more = owner != NULL ? word_next(&rest) : NULL;
	if (dnsname_parse(zone, name, &len, &fail) != KSM_OK) {
		fault(o, "the name of a zone is not a DNS name", zone,
		    "labels of 1 to 63 octets, 255 in all (%s)", fail.text);
	} else if (owner == NULL) {
		fault(o, "a zone without an owner", zone,
		    "the zone, blanks and its owner");
	} else if (more != NULL) {
		fault(o, "more than a zone and its owner in a line", more,
		    "the zone, blanks and its owner, which has no blanks");
	} else {
		at = owner_get(o, owner);
		if (at != 0)
			owner_set(o, zone, name, len, at);
	}
}

/*
 * One line, without its end. What is too long is reported and left out. False:
 * the end of the file.
 */
static bool
line_read(struct reading *o)
{
	bool fits = true;
	int c;

	o->len = 0;
	o->line++;
	while ((c = getc_unlocked(o->in)) != EOF && c != '\n') {
		if (o->len < LINE_BYTES_MAX)
			o->text[o->len++] = (char)c;
		else
			fits = false;
	}
	o->text[o->len] = '\0';
	if (ferror(o->in) != 0) {
		o->failed = errno;
		return false;
	}
	if (c == EOF && o->len == 0)
		return false;
	o->cut = c == EOF;
	if (!fits) {
		fault(o, "a line is too long", o->text, "at most %d bytes",
		    LINE_BYTES_MAX);
		o->text[0] = '\0';
		o->len = 0;
	}
	return true;
}

/* ---- the file --------------------------------------------------------- */

static int
pair_order(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

/* The owners of each policy: those named, and zones that have none. */
static enum ksm_err
owners_count(struct zonelist *z)
{
	uint64_t *pairs = malloc((z->names.n + 1) * sizeof(*pairs));
	size_t n = 0;

	if (pairs == NULL)
		return KSM_ENOMEM;
	for (size_t i = 0; i < z->ncounts; i++)
		z->counts[i].owners = 0;
	for (uint32_t at = 0; (at = nametable_next(&z->names, at)) != 0;) {
		struct zone_row row = zone_row_get(z, at);

		if (row.policy == ZONE_UNLISTED)
			continue;
		if (row.owner == 0)
			z->counts[row.policy].owners++;
		else
			pairs[n++] = (uint64_t)row.policy << 32 | row.owner;
	}
	qsort(pairs, n, sizeof(*pairs), pair_order);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || pairs[i] != pairs[i - 1])
			z->counts[pairs[i] >> 32].owners++;
	free(pairs);
	return KSM_OK;
}

static enum ksm_err
reading_run(struct reading *o, bool listed, struct xml_result *result,
    struct ksm_fail *fail)
{
	char what[256];

	while (o->err == KSM_OK && line_read(o)) {
		line_take(o);
		if (o->cut)
			/* half an owner may be the name of another */
			fault(o, "the last line has no end; the file may be "
			    "cut", o->text, "a newline after it");
	}
	if (o->failed != 0) {
		(void)snprintf(what, sizeof(what), "cannot be read: %s",
		    strerror(o->failed));
		fault(o, what, NULL, "a file");
	}
	if (o->err == KSM_OK && o->faults == 0)
		o->err = owners_count(o->zones);
	if (o->err != KSM_OK)
		return ksm_failf(fail, o->err,
		    "%s: out of memory at line %" PRId64, o->file->path,
		    o->line);
	if (listed && o->unlisted > 0) {
		(void)snprintf(what, sizeof(what),
		    "%" PRId64 " %s not in the zone list, the first is",
		    o->unlisted, o->unlisted == 1 ? "zone is" : "zones are");
		xml_find(o->file, CONF_NOTICE, o->unlisted_line, what,
		    o->unlisted_zone, NULL);
	}
	if (o->faults == 0 && o->out->zones == 0)
		xml_find(o->file, CONF_NOTICE, 0, "no owner in it", NULL,
		    NULL);
	result->sound = o->faults == 0;
	return KSM_OK;
}

enum ksm_err
owners_read(struct xml_file *file, struct zonelist *zones, bool listed,
    struct owners *out, struct xml_result *result, struct ksm_fail *fail)
{
	struct reading o = { .file = file, .zones = zones, .out = out };
	enum ksm_err err;
	int fd;

	memset(out, 0, sizeof(*out));
	nametable_init(&out->names, 0);
	fd = xml_open(file, result);
	if (fd == -1)
		return KSM_OK;
	o.in = fdopen(fd, "r");
	if (o.in == NULL) {
		fd_close(&fd);
		return ksm_failf(fail, KSM_ENOMEM, "%s: out of memory",
		    file->path);
	}
	err = reading_run(&o, listed, result, fail);
	(void)fclose(o.in);
	return err;
}

enum ksm_err
owners_read_bytes(struct xml_file *file, const void *bytes, size_t len,
    struct zonelist *zones, bool listed, struct owners *out,
    struct xml_result *result, struct ksm_fail *fail)
{
	struct reading o = { .file = file, .zones = zones, .out = out };
	enum ksm_err err;

	memset(out, 0, sizeof(*out));
	nametable_init(&out->names, 0);
	memset(result, 0, sizeof(*result));
	o.in = fmemopen((void *)(uintptr_t)bytes, len, "r");
	if (o.in == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "%s: out of memory",
		    file->path);
	result->opened = true;
	err = reading_run(&o, listed, result, fail);
	(void)fclose(o.in);
	return err;
}

void
owners_clear(struct owners *o)
{
	nametable_clear(&o->names);
	memset(o, 0, sizeof(*o));
}
