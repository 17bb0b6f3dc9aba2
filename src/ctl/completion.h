/*
 * completion.h - what a shell completes, from the table of commands.
 *
 * Runs in: ksmctl.
 */
#ifndef KSMPOOL_COMPLETION_H
#define KSMPOOL_COMPLETION_H

#include <stdbool.h>
#include <stdio.h>

/* False: no such shell; nothing was printed. */
bool completion_print(FILE *out, const char *shell);

struct ctl_call;
int completion_run(const struct ctl_call *call);

#endif
