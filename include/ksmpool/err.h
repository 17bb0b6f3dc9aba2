/*
 * err.h - the one status type, and the words that travel beside it.
 *
 * Runs in: every program.
 * Owns:    nothing; struct ksm_fail is the caller's storage.
 *
 * A value exists only if some caller acts on it. Library code fills `fail`
 * where the foreign error is known and returns; it is logged once, where the
 * decision to carry on is made.
 */
#ifndef KSMPOOL_ERR_H
#define KSMPOOL_ERR_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t ksm_time; /* seconds since 1970-01-01 UTC */
typedef int64_t ksm_msec; /* milliseconds of a monotonic clock */

#define nitems(a) (sizeof(a) / sizeof((a)[0]))

enum ksm_err {
	KSM_OK = 0,
	KSM_ENOENT,   /* not there; an answer, not a fault */
	KSM_EBUSY,    /* nothing changed, try later */
	KSM_EREFUSED, /* the other side said no; nothing changed */
	KSM_EUNKNOWN, /* it may have happened: settle, never just retry */
	KSM_EPROTO,   /* the peer broke the protocol */
	KSM_ESTORE,   /* the database failed */
	KSM_ESYS,     /* a system call failed */
	KSM_ENOMEM,
	KSM__ERRS
};

struct ksm_fail {
	enum ksm_err err;
	char text[512];
};

/*
 * Write the words and return `err`, so that `return ksm_failf(...)` reads
 * well. `fail` may be NULL. Text longer than the buffer is cut.
 */
enum ksm_err ksm_failf(struct ksm_fail *fail, enum ksm_err err, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

/* Put `fmt` in front of the words already there: "open DB: disk full". */
enum ksm_err ksm_fail_before(struct ksm_fail *fail, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
