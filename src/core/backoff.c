#include "ksmpool/backoff.h"

void
backoff_fail(struct backoff *b, ksm_msec now, uint32_t random)
{
	ksm_msec delay = BACKOFF_FIRST_MS;

	for (int i = 0; i < b->tries && delay < BACKOFF_MAX_MS; i++)
		delay *= 2;
	if (delay > BACKOFF_MAX_MS)
		delay = BACKOFF_MAX_MS;
	if (b->tries < INT32_MAX)
		b->tries++;
	/* delay / 2 < 2^20, so the product fits 64 bits. */
	delay -= (delay / 2 * (ksm_msec)random) >> 32;
	b->until = now + delay;
}

void
backoff_ok(struct backoff *b)
{
	b->tries = 0;
	b->until = 0;
}

ksm_msec
backoff_wait(const struct backoff *b, ksm_msec now)
{
	if (b->until == 0 || now >= b->until)
		return 0;
	return b->until - now;
}
