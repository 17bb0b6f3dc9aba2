#include "operation.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ckr.h"
#include "text.h"

void
reply_no(struct hsm_msg *reply, enum hsm_type type, int64_t job,
    const struct key_id *id, const char *stage, CK_RV rv, enum ckr_group group,
    const char *fmt, ...)
{
	struct hsm_no *no = &reply->u.no;
	char text[MSG_TEXT];
	va_list ap;

	memset(reply, 0, sizeof(*reply));
	reply->type = type;
	no->job = job;
	if (id != NULL)
		no->id = *id;
	(void)snprintf(no->stage, sizeof(no->stage), "%s", stage);
	no->ckr = (int64_t)rv;
	if (rv != CKR_OK)
		ckr_name(rv, no->name);
	no->group = group;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_format(no->text, sizeof(no->text), "%s", text);
}
