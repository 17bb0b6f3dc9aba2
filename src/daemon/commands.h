/*
 * commands.h - what may be asked of the daemon, as one table.
 *
 * Runs in: ksmpoold, on its loop; never waits.
 * Owns:    the arguments and the state of a running command.
 *
 * It knows no sockets: answers go through `emit`, one struct ctl_reply each,
 * the last of them a result or an error. Who runs a command
 *
 *   command_start   once;
 *   command_more    while command_streams and its buffer is short;
 *   command_poll    when the engine has done something;
 *   command_end     once, whether it is done or its client is gone.
 *
 * Adding a command is a row in its command_GROUP.c and one in ksmctl's table.
 */
#ifndef KSMPOOL_COMMANDS_H
#define KSMPOOL_COMMANDS_H

#include "ksmpool/msg_ctl.h"

#include "control.h"

struct command;

struct command_call {
	/* Set by who runs it. */
	const struct daemon_face *face;
	int64_t uid, pid;
	bool may_act;	    /* else it may only look */
	const char *actors; /* the group whose members may act; NULL: none */
	void (*emit)(void *to, const struct ctl_reply *r);
	void *to;
	/* Kept by commands.c. */
	const struct command *command;
	json_t *args;
	void *state;
	bool streams; /* of a command that is polled: it has pages now */
	bool done;    /* the last reply was emitted */
};

/*
 * True if the last word may be long in coming, because the engine, a helper or
 * the token has it: of these only so many may run at a time (control.c).
 */
bool command_waits(const struct ctl_request *r);
/*
 * Check the request against the table and begin. Takes r->args over. An
 * unknown command or argument is answered as an error, like any other.
 */
void command_start(struct command_call *call, struct ctl_request *r);
/* True while command_more has something to say. */
bool command_streams(const struct command_call *call);
/* One page. */
void command_more(struct command_call *call);
void command_poll(struct command_call *call);
void command_end(struct command_call *call);

/* An error as the last reply; nothing happens when it is done already. */
void command_fail(struct command_call *call, int status, const char *code,
    const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* True if it may change something: worth a line in the log. */
bool command_changes(const struct command_call *call);

#endif
