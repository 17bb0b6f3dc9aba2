/*
 * Lines of the control socket, as both ends read them: whatever is taken can
 * be written, and what was written is read as the same; whatever is refused
 * has words.
 */
#include <stdlib.h>
#include <string.h>

#include "ksmpool/msg_ctl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(int truth)
{
	if (!truth)
		abort();
}

static void
try_request(const char *line, size_t len)
{
	struct ksm_fail fail = { .text = "" };
	struct ctl_request r, back;
	char *written;

	if (ctl_request_decode(line, len, &r, &fail) != KSM_OK) {
		must(fail.err == KSM_EPROTO && fail.text[0] != '\0');
		return;
	}
	written = ctl_request_encode(&r);
	if (written != NULL) { /* NULL: escapes made it too long */
		must(strlen(written) <= MSG_CTL_LINE);
		must(ctl_request_decode(
			 written, strlen(written), &back, NULL) == KSM_OK);
		must(strcmp(r.command, back.command) == 0);
		must(json_equal(r.args, back.args));
		ctl_request_clear(&back);
		free(written);
	}
	ctl_request_clear(&r);
}

static void
try_reply(const char *line, size_t len)
{
	struct ksm_fail fail = { .text = "" };
	struct ctl_reply r, back;
	char *written;

	if (ctl_reply_decode(line, len, &r, &fail) != KSM_OK) {
		must(fail.err == KSM_EPROTO && fail.text[0] != '\0');
		return;
	}
	written = ctl_reply_encode(&r);
	if (written != NULL) {
		must(ctl_reply_decode(written, strlen(written), &back, NULL) ==
		     KSM_OK);
		must(r.type == back.type && r.exit == back.exit);
		must(r.done == back.done && r.total == back.total);
		must(strcmp(r.code, back.code) == 0);
		must(strcmp(r.text, back.text) == 0);
		must(strcmp(r.hint, back.hint) == 0);
		must(r.body == NULL || json_equal(r.body, back.body));
		ctl_reply_clear(&back);
		free(written);
	}
	ctl_reply_clear(&r);
}

static void
try_text(const char *text)
{
	json_t *value = ctl_text(text);

	must(value != NULL && json_string_length(value) <= CTL_TEXT);
	json_decref(value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = malloc(size + 1);

	if (line == NULL)
		return 0;
	if (size > 0)
		memcpy(line, data, size);
	line[size] = '\0';
	try_request(line, size);
	try_reply(line, size);
	try_text(line);
	free(line);
	return 0;
}
