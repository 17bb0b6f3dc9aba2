#include "text.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the well-formed UTF-8 character at `s`, 0: there is none. */
static size_t
utf8_len(const unsigned char *s)
{
	static const struct {
		unsigned char mask, lead;
		unsigned long least;
	} forms[] = {
		{ 0x80, 0x00, 0x20 }, /* no control characters */
		{ 0xe0, 0xc0, 0xa0 },
		{ 0xf0, 0xe0, 0x800 },
		{ 0xf8, 0xf0, 0x10000 },
	};
	unsigned long point;

	for (size_t n = 0; n < sizeof(forms) / sizeof(forms[0]); n++) {
		if ((s[0] & forms[n].mask) != forms[n].lead)
			continue;
		point = s[0] & (unsigned char)~forms[n].mask;
		for (size_t i = 1; i <= n; i++) {
			if ((s[i] & 0xc0) != 0x80)
				return 0; /* the NUL stops here, too */
			point = point << 6 | (s[i] & 0x3f);
		}
		if (point < forms[n].least || point == 0x7f ||
		    point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
			return 0;
		return n + 1;
	}
	return 0;
}

static void
text_clean(char *text)
{
	unsigned char *s = (unsigned char *)text;
	size_t n;

	while (*s != '\0') {
		n = utf8_len(s);
		if (n == 0) {
			*s = '?';
			n = 1;
		}
		s += n;
	}
}

void
text_format(char *out, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(out, size, fmt, ap);
	va_end(ap);
	text_clean(out);
}

void
text_field(const unsigned char *field, size_t len, char *out, size_t size)
{
	len = strnlen((const char *)field, len); /* some pad with NUL */
	while (len > 0 && field[len - 1] == ' ')
		len--;
	if (len >= size)
		len = size - 1;
	memcpy(out, field, len);
	out[len] = '\0';
	text_clean(out);
}
