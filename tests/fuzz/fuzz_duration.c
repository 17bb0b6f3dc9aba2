/*
 * Durations and dates: whatever is taken can be written, and what was
 * written is read as the same; whatever is refused has words.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/duration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(int truth)
{
	if (!truth)
		abort();
}

static void
try_duration(const char *text, enum duration_sign sign)
{
	struct ksm_fail fail = { .text = "" };
	char written[DURATION_TEXT];
	int64_t seconds, back;

	if (duration_parse(text, sign, &seconds, NULL, &fail) != KSM_OK) {
		must(fail.err == KSM_EREFUSED && fail.text[0] != '\0');
		return;
	}
	must(sign == DURATION_SIGNED || seconds >= 0);
	duration_format(seconds, written);
	must(duration_parse(written, DURATION_SIGNED, &back, NULL, NULL) ==
	    KSM_OK);
	must(back == seconds);
	duration_human(seconds, written);
	must(written[0] != '\0');
}

static void
try_time(const char *text)
{
	struct ksm_fail fail = { .text = "" };
	char written[TIME_TEXT];
	ksm_time t, back;

	if (time_parse(text, &t, &fail) != KSM_OK) {
		must(fail.err == KSM_EREFUSED && fail.text[0] != '\0');
		return;
	}
	time_format(t, written);
	must(time_parse(written, &back, NULL) == KSM_OK);
	must(back == t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char written[TIME_TEXT];
	int64_t any;

	if (text == NULL)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	try_duration(text, DURATION_POSITIVE);
	try_duration(text, DURATION_SIGNED);
	try_time(text);
	free(text);

	if (size >= sizeof(any)) {
		memcpy(&any, data, sizeof(any));
		time_format(any, written);
		must(strlen(written) >= 20);
	}
	return 0;
}
