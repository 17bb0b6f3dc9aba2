#include "command_parts.h"

static const struct ctl_option key_list_options[] = {
	{ "created-after", "TIME", OPTION_TIME, "created_after",
	    "keys made at TIME or later; exit 1 if there are any" },
	{ "state", "STATE", OPTION_STATE, "state",
	    "in this state: ready, made, taken, ..." },
	{ "policy", "NAME", OPTION_NAME, "policy", "of this policy" },
	{ "role", "ROLE", OPTION_ROLE, "role", "KSK, ZSK or CSK" },
	{ "repository", "NAME", OPTION_NAME, "repository",
	    "in this repository" },
};

static const struct ctl_option key_id = {
	"ID",
	NULL,
	OPTION_ID,
	"id",
	"32 hex digits",
};

static const struct ctl_command commands[] = {
	{
	    .name = "key list",
	    .summary = "keys, and with --created-after those in no backup",
	    OPTIONS(key_list_options),
	    .lists = { "keys" },
	    .exits = "1   --created-after was given and there are such keys\n"
		     "2   no such policy or repository\n",
	    .stream = true,
	    .print = print_key_count,
	    .print_item = print_key_row,
	    .note = note_key_list,
	    .trouble = trouble_key_list,
	},
	{
	    .name = "key show",
	    .summary = "all that is on record about one key",
	    .operand = &key_id,
	    .exits = "2   no such key\n",
	    .print = print_key,
	},
};

const struct ctl_group group_key = { commands, nitems(commands) };
