/*
 * command_parts.h - what command.c and the groups of commands share.
 *
 * Runs in: ksmctl. Private to command.c and group_*.c.
 */
#ifndef KSMPOOL_COMMAND_PARTS_H
#define KSMPOOL_COMMAND_PARTS_H

#include "command.h"
#include "print.h"
#include "run.h"

/* What every command that asks the daemon can end with. */
#define EXIT_ANY                                \
	"64  the command line is wrong\n"       \
	"69  no daemon answers on the socket\n" \
	"75  no answer in time\n"               \
	"77  no permission\n"

#define OPTIONS(a) .options = (a), .noptions = nitems(a)

struct ctl_group {
	const struct ctl_command *commands;
	size_t n;
};

extern const struct ctl_group group_status;
extern const struct ctl_group group_key;
extern const struct ctl_group group_take;
extern const struct ctl_group group_topup;
extern const struct ctl_group group_repository;
extern const struct ctl_group group_inventory;
extern const struct ctl_group group_record;
extern const struct ctl_group group_backup;
extern const struct ctl_group group_daemon;
extern const struct ctl_group group_monitor;

#define OPTION_REASON                                      \
	{ "reason", "TEXT", OPTION_TEXT, "reason",         \
		"why, for the history" }
/* Not sent: run.c looks at it. */
#define OPTION_YES                             \
	{ "yes", NULL, OPTION_FLAG, "yes",     \
		"do it without asking" }
#define OPTION_DRY_RUN                             \
	{ "dry-run", NULL, OPTION_FLAG, "dry_run", \
		"show what would be done; changes nothing" }

#endif
