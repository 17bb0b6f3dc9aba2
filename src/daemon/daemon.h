/*
 * daemon.h - ksmpoold from configuration to exit.
 *
 * Runs in: ksmpoold. Owns everything: event loop, store, engine, supervisor,
 *          control socket.
 */
#ifndef KSMPOOL_DAEMON_H
#define KSMPOOL_DAEMON_H

#include <stdbool.h>

/* Exit statuses of ksmpoold; documented in ksmpoold(8). */
enum daemon_exit {
	DAEMON_OK = 0,
	DAEMON_PARTIAL = 1, /* --once: something is held back or in trouble */
	DAEMON_FAILED = 2,  /* configuration, database, start */
	DAEMON_TAKEN = 3,   /* another ksmpoold holds the state directory */
};

struct daemon_options {
	const char *file;
	bool once;
	bool quiet; /* at start: warnings and errors only, whatever is set */
};

/* Reads `file`, becomes the configured user, runs until told to stop. */
int daemon_main(const struct daemon_options *options);

#endif
