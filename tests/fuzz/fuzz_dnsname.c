/*
 * Zone names: whatever is taken is a well-formed wire name without capital
 * letters, and written out again, every octet escaped or only what must be, it
 * is the same name.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/dnsname.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(int truth)
{
	if (!truth)
		abort();
}

static void
check_wire(const uint8_t *wire, size_t len)
{
	char text[4 * DNSNAME_WIRE + 1] = ".", shown[DNSNAME_TEXT];
	uint8_t again[DNSNAME_WIRE];
	size_t at = 0, n = 0, again_len;

	must(len >= 1 && len <= DNSNAME_WIRE);
	while (wire[at] != 0) {
		size_t label = wire[at++];

		must(label <= 63 && at + label < len);
		for (; label > 0; label--, at++) {
			must(wire[at] < 'A' || wire[at] > 'Z');
			n += (size_t)snprintf(text + n, sizeof(text) - n,
			    "\\%03d", wire[at]);
		}
		n += (size_t)snprintf(text + n, sizeof(text) - n, ".");
	}
	must(at + 1 == len);
	must(dnsname_parse(text, again, &again_len, NULL) == KSM_OK);
	must(again_len == len && memcmp(again, wire, len) == 0);
	dnsname_text(wire, len, shown);
	must(dnsname_parse(shown, again, &again_len, NULL) == KSM_OK);
	must(again_len == len && memcmp(again, wire, len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ksm_fail fail = { .text = "" };
	uint8_t wire[DNSNAME_WIRE];
	char *text = malloc(size + 1);
	size_t len;

	if (text == NULL)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	if (dnsname_parse(text, wire, &len, &fail) == KSM_OK)
		check_wire(wire, len);
	else
		must(fail.err == KSM_EREFUSED && fail.text[0] != '\0');
	free(text);
	return 0;
}
