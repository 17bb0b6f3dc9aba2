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

struct consumer_names {
	const char *zone, *repository;
	const char *module;	 /* its path */
	const char *token_label, *key_label; /* NULL: not known yet */
};
/* Can it be told these names? KSM_EREFUSED with words. */
enum ksm_err consumer_names_fit(enum consumer c,
    const struct consumer_names *names, struct ksm_fail *fail);
/* It takes a key once: a second zone is not to be given it. */
bool consumer_takes_once(enum consumer c);

/*
 * The name under which p11-kit knows a module: by custom that of the file,
 * without lib and .so (/usr/lib/softhsm/libsofthsm2.so is softhsm2).
 */
#define MODULE_NAME 256
void consumer_module_name(const char *path, char out[MODULE_NAME]);

#endif
