/*
 * Whatever a worker may send: it is refused with words, or it is a message
 * that is encoded again to something that means the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/msg_hsm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ksm_fail fail = { KSM_OK, "" };
	struct hsm_msg m, again;
	char *text = NULL, *second = NULL;
	size_t len, len2;
	enum ksm_err err;

	err = hsm_msg_decode((const char *)data, size, &m, &fail);
	if (err != KSM_OK) {
		if (fail.text[0] == '\0')
			abort();
		return 0;
	}
	if (hsm_msg_encode(&m, &text, &len, &fail) != KSM_OK ||
	    hsm_msg_decode(text, len, &again, &fail) != KSM_OK ||
	    hsm_msg_encode(&again, &second, &len2, &fail) != KSM_OK ||
	    len != len2 || memcmp(text, second, len) != 0)
		abort();
	free(text);
	free(second);
	hsm_msg_clear(&m);
	hsm_msg_clear(&again);
	return 0;
}
