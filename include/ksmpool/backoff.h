/*
 * backoff.h - how long a failing token is left alone.
 *
 * Runs in: ksmpoold (core: pure; the caller brings clock and randomness).
 */
#ifndef KSMPOOL_BACKOFF_H
#define KSMPOOL_BACKOFF_H

#include "ksmpool/err.h"

struct backoff {
	int tries;	/* failures in a row */
	ksm_msec until; /* do nothing before; 0: free */
};

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS	 (10 * 60 * 1000)

/*
 * One more failure: doubles from 1 s to 10 min; `random` (any 32 bits) takes
 * up to half of it away, so that many hosts do not knock together.
 */
void backoff_fail(struct backoff *b, ksm_msec now, uint32_t random);
void backoff_ok(struct backoff *b);
/* Milliseconds to wait still; 0: go. */
ksm_msec backoff_wait(const struct backoff *b, ksm_msec now);

#endif
