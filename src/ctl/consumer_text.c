#include "consumer_parts.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

void
put_word(FILE *out, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-./:=+,@%";

	if (text[0] != '\0' && text[strspn(text, plain)] == '\0') {
		(void)fputs(text, out);
		return;
	}
	(void)fputc('\'', out);
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			(void)fputs("'\\''", out);
		else
			(void)fputc(*text, out);
	}
	(void)fputc('\'', out);
}

/* Everything but the unreserved characters of RFC 3986 2.3 is escaped. */
static void
put_uri_text(FILE *out, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-._~";

	for (; *text != '\0'; text++) {
		if (strchr(plain, *text) != NULL)
			(void)fputc(*text, out);
		else
			(void)fprintf(out, "%%%02x",
			    (unsigned)(unsigned char)*text);
	}
}

void
put_uri(FILE *out, const struct consumer_key *k, bool serial)
{
	(void)fputs("pkcs11:", out);
	if (k->token_label[0] != '\0') {
		(void)fputs("token=", out);
		put_uri_text(out, k->token_label);
		(void)fputc(';', out);
	}
	/* A token without a label is known by nothing else. */
	if ((serial || k->token_label[0] == '\0') &&
	    k->token_serial[0] != '\0') {
		(void)fputs("serial=", out);
		put_uri_text(out, k->token_serial);
		(void)fputc(';', out);
	}
	(void)fputs("id=", out);
	for (size_t i = 0; i < sizeof(k->id.bytes); i++)
		(void)fprintf(out, "%%%02x", (unsigned)k->id.bytes[i]);
}

char *
uri_text(const struct consumer_key *k, bool serial)
{
	char *text = NULL;
	size_t len = 0;
	FILE *mem = open_memstream(&text, &len);

	if (mem == NULL)
		return NULL;
	put_uri(mem, k, serial);
	if (fclose(mem) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* As BIND does it: what no host name has is escaped, a slash above all. */
void
put_zone_file(FILE *out, const uint8_t *wire)
{
	const uint8_t *p = wire;

	if (*p == 0)
		(void)fputc('.', out);
	while (*p != 0) {
		for (size_t n = *p++; n > 0; n--, p++) {
			bool plain = (*p >= 'a' && *p <= 'z') ||
			    (*p >= '0' && *p <= '9') || *p == '-' || *p == '_';

			(void)fprintf(out, plain ? "%c" : "%%%02X", *p);
		}
		if (*p != 0)
			(void)fputc('.', out);
	}
}

enum ksm_err
put_base64(FILE *out, const void *bytes, size_t len, struct ksm_fail *fail)
{
	unsigned char *text = NULL;

	text = malloc(4 * ((len + 2) / 3) + 1);
	if (text == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "no memory");
	(void)EVP_EncodeBlock(text, bytes, (int)len);
	(void)fputs((const char *)text, out);
	free(text);
	return KSM_OK;
}

bool
base64_parse(const char *text, uint8_t *out, size_t size, size_t *len)
{
	size_t chars = strlen(text), pad;
	unsigned char *bytes = NULL, *again = NULL;
	bool ok = false;
	int n;

	if (chars == 0 || chars % 4 != 0 || chars / 4 * 3 > size + 2)
		return false;
	pad = text[chars - 1] != '=' ? 0 : text[chars - 2] != '=' ? 1 : 2;
	bytes = malloc(chars / 4 * 3);
	again = malloc(chars + 1);
	if (bytes == NULL || again == NULL)
		goto out;
	/* It takes blanks and odd padding; the way back does not. */
	n = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)chars);
	if (n < 0 || (size_t)n < pad || (size_t)n - pad > size)
		goto out;
	*len = (size_t)n - pad;
	(void)EVP_EncodeBlock(again, bytes, (int)*len);
	if (strcmp((const char *)again, text) != 0)
		goto out;
	memcpy(out, bytes, *len);
	ok = true;
out:
	free(again);
	free(bytes);
	return ok;
}

bool
rsa_split(const uint8_t *pub, size_t len, struct rsa_parts *out)
{
	size_t n;

	/* RFC 3110 section 2: one octet of length, or zero and two. */
	if (len >= 1 && pub[0] != 0) {
		n = pub[0];
		pub++;
		len--;
	} else if (len >= 3) {
		n = (size_t)pub[1] << 8 | pub[2];
		pub += 3;
		len -= 3;
	} else
		return false;
	if (n == 0 || n >= len || pub[0] == 0 || pub[n] == 0)
		return false;
	out->exponent = pub;
	out->exponent_len = n;
	out->modulus = pub + n;
	out->modulus_len = len - n;
	return true;
}

bool
time_digits(ksm_time t, char out[16])
{
	time_t when = (time_t)t;
	struct tm tm;

	return gmtime_r(&when, &tm) != NULL && tm.tm_year < 9999 - 1900 &&
	    tm.tm_year >= 0 && strftime(out, 16, "%Y%m%d%H%M%S", &tm) == 14;
}
