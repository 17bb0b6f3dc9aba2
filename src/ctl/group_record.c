#include "command_parts.h"

static const struct ctl_option history_options[] = {
	{ "since", "TIME", OPTION_TIME, "since", "at TIME or later" },
	{ "until", "TIME", OPTION_TIME, "until", "before TIME" },
	{ "subject", "TEXT", OPTION_NAME, "subject",
	    "about this key, repository or policy" },
	{ "what", "TEXT", OPTION_NAME, "what",
	    "that begins so: key, \"key destroy\", topup, ..." },
	{ "uid", "N", OPTION_COUNT, "uid", "asked for by this user" },
};

static const struct ctl_option verify_options[] = {
	{ "head", "NUMBER:HASH", OPTION_NAME, "head",
	    "what an earlier 'history verify' printed must still be there" },
};

static const struct ctl_option backup_file = {
	"FILE",
	NULL,
	OPTION_FILE,
	"file",
	"a new file, in a directory that the daemon may write to",
};

static const struct ctl_command commands[] = {
	{
	    .name = "history",
	    .summary = "what happened: when, who, what, why",
	    OPTIONS(history_options),
	    .lists = { "events" },
	    .stream = true,
	    .print = print_history_count,
	    .print_item = print_event,
	},
	{
	    .name = "history verify",
	    .summary = "no row was changed or taken out since it was written",
	    OPTIONS(verify_options),
	    .exits = "1   a fault was found, or HEAD is not there\n",
	    .slow = true,
	    .print = print_verified,
	    .trouble = trouble_verified,
	},
	{
	    .name = "database backup",
	    .summary = "a consistent copy while the daemon runs",
	    .operand = &backup_file,
	    .lists = { "findings" },
	    .exits = "2   not written\n",
	    .slow = true,
	    .print = print_backup,
	},
	{
	    .name = "database check",
	    .summary = "the file, its invariants and the history, whole",
	    .lists = { "findings" },
	    .exits = "1   faults were found\n2   it could not be read\n",
	    .slow = true,
	    .print = print_database,
	},
};

const struct ctl_group group_record = { commands, nitems(commands) };
