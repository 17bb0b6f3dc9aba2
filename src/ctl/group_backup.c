#include "command_parts.h"

#define OPTION_WHERE                                             \
	{ "repository", "NAME", OPTION_NAME, "repository",       \
		"which; needless where there is only one" }

static const struct ctl_option backup_label = {
	"LABEL",
	NULL,
	OPTION_NAME,
	"label",
	"as 'backup begin' or 'backup list' shows it",
};

static const struct ctl_option begin_options[] = {
	OPTION_WHERE,
	{ "label", "LABEL", OPTION_NAME, "label",
	    "a name for it; otherwise made from the time" },
	{ "note", "TEXT", OPTION_TEXT, "note", "kept with it" },
	{ "medium", "TEXT", OPTION_TEXT, "medium", "where the HSM's copy is" },
};

static const struct ctl_option commit_options[] = {
	OPTION_WHERE,
	{ "except", "ID", OPTION_ID, "except",
	    "a key that is not in it; may be given again" },
};

static const struct ctl_option where_options[] = { OPTION_WHERE };

static const struct ctl_option record_options[] = {
	OPTION_WHERE,
	{ "started", "TIME", OPTION_TIME, "started",
	    "when the HSM's backup began" },
	{ "finished", "TIME", OPTION_TIME, "finished", "when it ended" },
	{ "note", "TEXT", OPTION_TEXT, "note", "kept with it" },
	{ "medium", "TEXT", OPTION_TEXT, "medium", "where the HSM's copy is" },
};

static const struct ctl_option check_options[] = {
	{ "repository", "NAME", OPTION_NAME, "repository",
	    "in this repository" },
	{ "at", "TIME", OPTION_TIME, "at",
	    "in no backup that had begun by then" },
};

static const struct ctl_command commands[] = {
	{
	    .name = "backup begin",
	    .summary = "freeze the set of keys that the HSM's backup will hold",
	    OPTIONS(begin_options),
	    .exits = "2   another one is open, or the label is taken\n",
	    .print = print_backup_begun,
	},
	{
	    .name = "backup commit",
	    .summary = "the HSM's backup is done: its set is covered",
	    .operand = &backup_label,
	    OPTIONS(commit_options),
	    .many = "except",
	    .lists = { "keys" },
	    .exits = "2   refused, nothing was marked: a key of the set is not "
		     "in the token\n",
	    .slow = true,
	    .print = print_backup_committed,
	},
	{
	    .name = "backup rollback",
	    .summary = "the HSM's backup failed: forget the set",
	    .operand = &backup_label,
	    OPTIONS(where_options),
	    .exits = "2   it is not open\n",
	    .print = print_backup_undone,
	},
	{
	    .name = "backup record",
	    .summary = "a backup that ran by itself",
	    OPTIONS(record_options),
	    .needs = { "started" },
	    .exits = "2   in the future, or before the previous one\n",
	    .print = print_backup_committed,
	},
	{
	    .name = "backup list",
	    .summary = "all backups, oldest first",
	    OPTIONS(where_options),
	    .lists = { "backups" },
	    .stream = true,
	    .print = print_backup_count,
	    .print_item = print_backup_row,
	},
	{
	    .name = "backup show",
	    .summary = "one backup and its keys",
	    .operand = &backup_label,
	    OPTIONS(where_options),
	    .lists = { "keys" },
	    .exits = "2   there is no such backup\n",
	    .stream = true,
	    .print = print_backup_shown,
	    .print_item = print_backup_key,
	},
	{
	    .name = "backup check",
	    .summary = "keys that are in no backup",
	    OPTIONS(check_options),
	    .lists = { "keys", "pools" },
	    .exits = "1   there are such keys, or keys that are being settled\n",
	    .stream = true,
	    .print = print_uncovered,
	    .print_item = print_uncovered_row,
	    .note = note_backup_check,
	    .trouble = trouble_backup,
	},
};

const struct ctl_group group_backup = { commands, nitems(commands) };
