/*
 * A zone list may be any bytes: it is read, or findings say why not. What is
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
	struct xml_file file = { &c, CONF_ZONELIST, "fuzz.xml" };
	struct xml_result result;
	struct ksm_fail fail;
	struct zonelist list;

	xml_setup();
	conf_init(&c);
	/* both ways: with policies to hold against, and without */
	if (conf_policy_add(&c, "default") == NULL)
		abort();
	c.kasp_file = strdup("kasp.xml");
	for (int check = 0; check < 2; check++) {
		if (zonelist_read_bytes(&file, data, size, check == 1, &list,
		    &result, &fail) != KSM_OK)
			abort();
		zonelist_clear(&list);
	}
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
