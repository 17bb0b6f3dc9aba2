#include "dbtool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ksmpool/log.h"

#include "store.h"

static void
fault_print(void *ctx, const char *text)
{
	(void)ctx;
	(void)printf("%s\n", text);
}

/* What nobody could read was not said. */
static int
output_end(int status)
{
	if (fflush(stdout) == 0)
		return status;
	log_error("standard output: %s", strerror(errno));
	return DBTOOL_FAILED;
}

int
dbtool_check(const char *file)
{
	struct ksm_fail fail = { .text = "" };
	int64_t faults = 0;

	if (store_file_check(file, fault_print, NULL, &faults, &fail) !=
	    KSM_OK) {
		log_error("%s", fail.text);
		return output_end(DBTOOL_FAILED);
	}
	if (faults == 0)
		(void)printf("ok\n");
	else
		(void)printf("%lld %s\n", (long long)faults,
		    faults == 1 ? "fault" : "faults");
	return output_end(faults == 0 ? DBTOOL_OK : DBTOOL_FAULTS);
}

int
dbtool_copy(const char *file, const char *to)
{
	struct ksm_fail fail = { .text = "" };

	if (store_file_copy(file, to, &fail) != KSM_OK) {
		log_error("%s", fail.text);
		return DBTOOL_FAILED;
	}
	return DBTOOL_OK;
}
