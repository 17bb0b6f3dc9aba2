/*
 * An owner file may be any bytes: it is read, or findings say why not. What is
 * not sound has an error, and owners are never more than zones.
 */
#include <stdlib.h>
#include <string.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char zones[] =
    "<ZoneList><Zone name='a.example'><Policy>default</Policy></Zone>"
    "<Zone name='b.example'><Policy>default</Policy></Zone></ZoneList>";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf c;
	struct xml_file of_zones = { &c, CONF_ZONELIST, "zones.xml" };
	struct xml_file file = { &c, CONF_OWNERS, "fuzz" };
	struct xml_result result;
	struct ksm_fail fail;
	struct zonelist list;
	struct owners owners;

	xml_setup();
	conf_init(&c);
	if (zonelist_read_bytes(&of_zones, zones, sizeof(zones) - 1, false,
	    &list, &result, &fail) != KSM_OK ||
	    owners_read_bytes(&file, data, size, &list, true, &owners, &result,
	    &fail) != KSM_OK)
		abort();
	if (result.sound != (c.errors == 0))
		abort();
	if (list.counts[0].owners < 1 || list.counts[0].owners > 2)
		abort();
	for (size_t i = 0; i < c.nfindings; i++)
		if (c.findings[i].what[0] == '\0' || c.findings[i].line < 0)
			abort();
	owners_clear(&owners);
	zonelist_clear(&list);
	conf_clear(&c);
	return 0;
}
