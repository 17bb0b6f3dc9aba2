/*
 * Packets of a configuration, one a line: refused with words, or read; and
 * what was read whole can be sent again.
 */
#include <stdlib.h>
#include <string.h>

#include "ksmpool/msg_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum ksm_err
count(void *ctx, const char *text, size_t len, int fd, struct ksm_fail *fail)
{
	int64_t *packets = ctx;

	(void)fd;
	(void)fail;
	if (strlen(text) != len || len >= MSG_CONF_MAX)
		abort();
	(*packets)++;
	return KSM_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data, *end = p + size;
	struct conf_decoder d;
	struct ksm_fail fail;
	enum ksm_err err = KSM_OK;
	int64_t packets = 0;
	struct conf c;

	conf_init(&c);
	conf_decoder_init(&d, &c);
	while (p < end && err == KSM_OK) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t len = eol != NULL ? (size_t)(eol - p) :
		    (size_t)(end - p);

		fail.text[0] = '\0';
		err = conf_decode(&d, p, len, -1, &fail);
		if (err != KSM_OK && fail.text[0] == '\0')
			abort();
		p += len + 1;
		if (eol == NULL)
			break;
	}
	if (err == KSM_OK && conf_decode_end(&d, &fail) == KSM_OK) {
		if (conf_encode(&c, count, &packets, &fail) == KSM_OK &&
		    packets != d.packets)
			abort();
	}
	conf_clear(&c);
	return 0;
}
