/*
 * A configuration of OpenDNSSEC may be any bytes: it is read, or findings say why not. What is
 * not sound has an error, and every finding has its words.
 */
#include <stdlib.h>
#include <string.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf c;
	struct xml_file file = { &c, CONF_OPENDNSSEC, "fuzz.xml" };
	struct xml_result result;
	struct ksm_fail fail;
	struct opendnssec od;

	xml_setup();
	conf_init(&c);
	if (opendnssec_read_bytes(&file, data, size, &od, &result,
	    &fail) != KSM_OK)
		abort();
	opendnssec_clear(&od);
	if (!result.sound && c.errors == 0)
		abort();
	for (size_t i = 0; i < c.nfindings; i++)
		if (c.findings[i].what[0] == '\0' || c.findings[i].line < 0)
			abort();
	if (conf_check(&c, &fail) != KSM_OK)
		abort();
	conf_clear(&c);
	return 0;
}
