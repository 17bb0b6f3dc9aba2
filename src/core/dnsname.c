#include "ksmpool/dnsname.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LABEL_MAX 63

/*
 * A zone name as it may stand in a message: printable, and not too long. The
 * text may come from a hostile file.
 */
#define SHOWN_TEXT 80

static enum ksm_err
misfit(struct ksm_fail *fail, const char *text, const char *at,
    const char *what)
{
	char shown[SHOWN_TEXT];
	const char *s = text;
	size_t n = 0;

	for (; *s != '\0' && n < SHOWN_TEXT - 4; s++)
		shown[n++] = *s > ' ' && *s <= '~' ? *s : '?';
	if (*s != '\0')
		n += (size_t)snprintf(shown + n, SHOWN_TEXT - n, "...");
	shown[n] = '\0';
	return ksm_failf(fail, KSM_EREFUSED, "zone name \"%s\": %s at position "
	    "%td", shown, what, at - text + 1);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* RFC 4343 section 3: only the 26 ASCII letters have case, escaped or not. */
static uint8_t
lower(uint8_t octet)
{
	return octet >= 'A' && octet <= 'Z' ? (uint8_t)(octet + 32) : octet;
}

/* RFC 1035 5.1: \DDD is the octet of that decimal number, \X is X. */
static bool
escape_parse(const char **p, uint8_t *octet)
{
	const char *s = *p + 1;
	int n;

	if (*s == '\0')
		return false;
	if (!is_digit(*s)) {
		*octet = (uint8_t)*s;
		*p = s + 1;
		return true;
	}
	if (!is_digit(s[1]) || !is_digit(s[2]))
		return false;
	n = (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0');
	if (n > UINT8_MAX)
		return false;
	*octet = (uint8_t)n;
	*p = s + 3;
	return true;
}

enum ksm_err
dnsname_parse(const char *text, uint8_t wire[DNSNAME_WIRE], size_t *len,
    struct ksm_fail *fail)
{
	uint8_t tmp[DNSNAME_WIRE];
	size_t length_at = 0;	/* where the length of this label goes */
	size_t used = 1;	/* octets of tmp, that length included */
	const char *p = text;

	if (*p == '\0')
		return misfit(fail, text, p, "empty");
	if (strcmp(p, ".") == 0) {
		wire[0] = 0;
		*len = 1;
		return KSM_OK;
	}
	while (*p != '\0') {
		const char *start = p;
		uint8_t octet;

		if (*p == '.') {
			if (used == length_at + 1)
				return misfit(fail, text, p, "empty label");
			tmp[length_at] = (uint8_t)(used - length_at - 1);
			p++;
			if (*p == '\0')
				break;
			length_at = used++;
		} else {
			if (*p == '\\') {
				if (!escape_parse(&p, &octet))
					return misfit(fail, text, start,
					    "bad escape");
			} else if (is_blank(*p)) {
				return misfit(fail, text, p, "blank");
			} else {
				octet = (uint8_t)*p++;
			}
			if (used - length_at - 1 == LABEL_MAX)
				return misfit(fail, text, start,
				    "label over 63 octets");
			/* One octet stays free for the root label. */
			if (used >= DNSNAME_WIRE - 1)
				return misfit(fail, text, start,
				    "name over 255 octets");
			tmp[used++] = lower(octet);
		}
	}
	tmp[length_at] = (uint8_t)(used - length_at - 1);
	tmp[used++] = 0;
	memcpy(wire, tmp, used);
	*len = used;
	return KSM_OK;
}

void
dnsname_text(const uint8_t *wire, size_t len, char out[DNSNAME_TEXT])
{
	size_t used = 0;

	for (size_t at = 0; at < len && wire[at] != 0; at += wire[at] + 1u) {
		if (used > 0)
			out[used++] = '.';
		for (size_t i = 1; i <= wire[at] && at + i < len; i++) {
			uint8_t c = wire[at + i];

			if (c <= ' ' || c > '~')
				used += (size_t)snprintf(out + used,
				    DNSNAME_TEXT - used, "\\%03u", c);
			else if (strchr(".\\\"();@$", c) != NULL)
				used += (size_t)snprintf(out + used,
				    DNSNAME_TEXT - used, "\\%c", c);
			else
				out[used++] = (char)c;
		}
	}
	if (used == 0)
		out[used++] = '.';
	out[used] = '\0';
}
