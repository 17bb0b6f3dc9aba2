/*
 * dbtool.h - ksmpoold --check-database and --copy-database.
 *
 * Runs in: a process of its own that is ksmpoold by name and not a daemon: it
 *          takes no lock, opens no socket, reads no configuration.
 * Writes:  one line a fault on standard output, then "ok" or "N faults"; what
 *          went wrong on standard error.
 */
#ifndef KSMPOOL_DBTOOL_H
#define KSMPOOL_DBTOOL_H

/* Exit statuses; documented in ksmpoold(8). */
enum dbtool_exit {
	DBTOOL_OK = 0,
	DBTOOL_FAULTS = 1,
	DBTOOL_FAILED = 2, /* cannot be read, or not be copied */
};

int dbtool_check(const char *file);
int dbtool_copy(const char *file, const char *to);

#endif
