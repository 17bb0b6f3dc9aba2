/*
 * run.h - carry a command out and tell what came of it.
 *
 * Runs in: ksmctl.
 */
#ifndef KSMPOOL_RUN_H
#define KSMPOOL_RUN_H

#include "command.h"

struct run_streams {
	FILE *out, *err;
	bool progress; /* `err` is a terminal */
	bool asks;     /* somebody at a terminal can answer */
};

/* Returns the exit status (enum ctl_exit). */
int run_call(const struct ctl_call *call, const struct run_streams *to);

/* An error in the form that was asked for: one line, or one document. */
void run_say_error(const struct run_streams *to, bool json, const char *command,
    const struct ctl_reply *r);

/* What ksmctl says of itself, without a daemon: one JSON document. */
void run_say_version(const struct run_streams *to);
void run_say_help(const struct run_streams *to, const struct ctl_command *c);

/*
 * Flush; an error of `out` becomes the exit status. A reader that has gone
 * (EPIPE) has seen enough: that is no error.
 */
int run_finish(const struct run_streams *to, int status);

/*
 * Become 'ksmpool-config check'; returns only when that fails. With --quiet
 * it is a child, and one line is said when it found something.
 */
int check_exec(const struct ctl_call *call);

#endif
