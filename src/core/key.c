#include "ksmpool/key.h"

#include <string.h>

static const char *const role_text[ROLE__COUNT] = {
	[ROLE_KSK] = "KSK",
	[ROLE_ZSK] = "ZSK",
	[ROLE_CSK] = "CSK",
};

const char *
key_role_text(enum key_role role)
{
	if ((unsigned)role >= ROLE__COUNT)
		return "?";
	return role_text[role];
}

bool
key_role_find(const char *text, enum key_role *out)
{
	for (int i = 0; i < ROLE__COUNT; i++) {
		if (strcmp(text, role_text[i]) == 0) {
			*out = (enum key_role)i;
			return true;
		}
	}
	return false;
}

void
hex_format(const uint8_t *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 0x0f];
	}
	*out = '\0';
}

/* Not isxdigit(3): the locale has no say in what an id is. */
static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
hex_parse(const char *hex, uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int high, low;

		/* The NUL is no digit: a short text is never read past. */
		high = hex_digit(hex[2 * i]);
		if (high == -1)
			return false;
		low = hex_digit(hex[2 * i + 1]);
		if (low == -1)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return hex[2 * len] == '\0';
}

void
key_id_format(const struct key_id *id, char out[KEY_ID_HEX])
{
	hex_format(id->bytes, sizeof(id->bytes), out);
}

bool
key_id_parse(const char *hex, struct key_id *out)
{
	struct key_id id;

	if (!hex_parse(hex, id.bytes, sizeof(id.bytes)))
		return false;
	*out = id;
	return true;
}

int
key_id_cmp(const struct key_id *a, const struct key_id *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

int
key_id_order(const void *a, const void *b)
{
	return key_id_cmp(a, b);
}
