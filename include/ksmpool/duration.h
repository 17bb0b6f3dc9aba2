/*
 * duration.h - the one parser of ISO 8601 durations.
 *
 * Runs in: ksmpool-config, ksmctl, ksmpoold (core: no I/O).
 * Units:   seconds in 64 bits; a month is 31 days, a year 365 days, as
 *          OpenDNSSEC reads them. P1W alone or with other fields is accepted.
 */
#ifndef KSMPOOL_DURATION_H
#define KSMPOOL_DURATION_H

#include "ksmpool/err.h"

enum duration_sign {
	DURATION_POSITIVE, /* a leading minus is refused */
	DURATION_SIGNED,   /* "-PT300S" is minus 300 s */
};

struct duration_note {
	int months_or_years; /* not 0: the 31/365 rule was used */
};

/*
 * Upper-case fields in order, whole numbers, no blanks, at least one field.
 * KSM_EREFUSED: the words give the position (from 1), what stands there and
 * what was expected, or the overflow. `note` may be NULL.
 */
enum ksm_err duration_parse(const char *text, enum duration_sign sign,
    int64_t *seconds, struct duration_note *note, struct ksm_fail *fail);

#define DURATION_TEXT 64
/* Seconds as P..DT..H..M..S without months or years: "P90D", "PT0S". */
void duration_format(int64_t seconds, char out[DURATION_TEXT]);
/* For people: "3 days 4 h", "12 s"; two fields at most. */
void duration_human(int64_t seconds, char out[DURATION_TEXT]);

/*
 * A date for the command line: "2026-11-25", "2026-11-25T13:00:00Z",
 * "2026-11-25 13:00:00", "@1732500000", all UTC. KSM_EREFUSED with words.
 */
enum ksm_err time_parse(const char *text, ksm_time *out, struct ksm_fail *fail);
#define TIME_TEXT 32
void time_format(ksm_time t, char out[TIME_TEXT]); /* 2026-11-25T13:00:00Z */

#endif
