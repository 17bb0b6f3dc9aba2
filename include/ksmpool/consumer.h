/*
 * consumer.h - who takes a key: signers, and records for people.
 *
 * Runs in: ksmpoold, before a key is taken, and ksmctl (core: no I/O).
 */
#ifndef KSMPOOL_CONSUMER_H
#define KSMPOOL_CONSUMER_H

#include <stdbool.h>

#include "ksmpool/key.h"

enum consumer {
	CONSUMER_NONE, /* not said: anything fits */
	CONSUMER_BIND,
	CONSUMER_KNOT,	     /* 3.2 and later: timers */
	CONSUMER_KNOT_LATER, /* 3.4.8 and later: for-later */
	CONSUMER_OPENDNSSEC,
	CONSUMER_OPENDNSSEC_POOL, /* its pool of unused keys */
	CONSUMER_POWERDNS,
	CONSUMER_CASCADE,
	CONSUMER_URI,
	CONSUMER_DNSKEY,
	CONSUMER_CDS,
	CONSUMER_DS,
	CONSUMER__COUNT
};

/* "bind", "knot-later"; "" of CONSUMER_NONE, which consumer_find misses. */
const char *consumer_text(enum consumer c);
bool consumer_find(const char *text, enum consumer *out);

/*
 * Can it use a key of that role and algorithm? `single`: the token holds no
 * public object for it. KSM_EREFUSED with words that say what it cannot use
 * and what it can.
 */
enum ksm_err consumer_fits(enum consumer c, enum key_role role, int alg,
    bool single, struct ksm_fail *fail);

#endif
