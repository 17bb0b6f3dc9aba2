/*
 * program.h - where the programs of this project lie, seen from ksmctl.
 *
 * Runs in: ksmctl.
 */
#ifndef KSMPOOL_PROGRAM_H
#define KSMPOOL_PROGRAM_H

#include <limits.h>
#include <stdbool.h>

/* In $KSMPOOL_LIBEXEC, beside ksmctl, or where they were installed. */
bool program_find(const char *name, char out[PATH_MAX]);

struct ctl_call;

/*
 * ksmctl topup: where --or-once is given and no daemon listens, become
 * ksmpoold --once. Returns the exit status.
 */
int topup_run(const struct ctl_call *call);

#endif
