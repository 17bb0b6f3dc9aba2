#include "ksmpool/err.h"

#include <stdio.h>
#include <string.h>

enum ksm_err
ksm_failf(struct ksm_fail *fail, enum ksm_err err, const char *fmt, ...)
{
	va_list ap;

	if (fail == NULL)
		return err;
	fail->err = err;
	va_start(ap, fmt);
	(void)vsnprintf(fail->text, sizeof(fail->text), fmt, ap);
	va_end(ap);
	return err;
}

enum ksm_err
ksm_fail_before(struct ksm_fail *fail, const char *fmt, ...)
{
	char old[sizeof(fail->text)];
	va_list ap;
	size_t used;

	if (fail == NULL)
		return KSM_OK;
	memcpy(old, fail->text, sizeof(old));
	old[sizeof(old) - 1] = '\0';
	va_start(ap, fmt);
	(void)vsnprintf(fail->text, sizeof(fail->text), fmt, ap);
	va_end(ap);
	used = strlen(fail->text);
	(void)snprintf(fail->text + used, sizeof(fail->text) - used, ": %s",
	    old);
	return fail->err;
}
