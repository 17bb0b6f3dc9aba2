#include "command_parts.h"

static const struct ctl_option key_list_options[] = {
	{ "created-after", "TIME", OPTION_TIME, "created_after",
	    "keys made at TIME or later; exit 1 if there are any" },
	{ "created-before", "TIME", OPTION_TIME, "created_before",
	    "keys made before TIME" },
	{ "older-than", "DURATION", OPTION_DURATION, "older_than",
	    "keys made longer ago than that" },
	{ "newer-than", "DURATION", OPTION_DURATION, "newer_than",
	    "keys made since then" },
	{ "algorithm", "NAME", OPTION_ALG, "algorithm",
	    "of this algorithm, by name or number" },
	{ "tag", "N", OPTION_TAG, "tag",
	    "with this key tag as ZSK, as KSK or revoked" },
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

static const struct ctl_option key_ids = {
	"ID",
	NULL,
	OPTION_ID,
	"ids",
	"32 hex digits",
};

static const struct ctl_option retire_options[] = { OPTION_REASON };

static const struct ctl_option destroy_options[] = {
	OPTION_REASON,
	{ "before-purge", NULL, OPTION_FLAG, "before_purge",
	    "retired ones, too, that Purge still keeps" },
	OPTION_YES,
	OPTION_DRY_RUN,
};

#define EXIT_SOME                           \
	"1   some of the keys were refused\n" \
	"2   none was done\n"

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
	{
	    .name = "key retire",
	    .summary = "never hand these keys out again",
	    .operand = &key_ids,
	    .operand_many = true,
	    OPTIONS(retire_options),
	    .needs = { "reason" },
	    .lists = { "keys" },
	    .exits = EXIT_SOME,
	    .print = print_key_results,
	},
	{
	    .name = "key return",
	    .summary = "taken and never used: retired, it is not ready again",
	    .operand = &key_ids,
	    .operand_many = true,
	    OPTIONS(retire_options),
	    .needs = { "reason" },
	    .lists = { "keys" },
	    .exits = EXIT_SOME,
	    .print = print_key_results,
	},
	{
	    .name = "key destroy",
	    .summary = "destroy keys that no zone uses, in token and for ever",
	    .operand = &key_ids,
	    .operand_many = true,
	    OPTIONS(destroy_options),
	    .needs = { "reason" },
	    .lists = { "keys" },
	    .exits = EXIT_SOME,
	    .slow = true,
	    .confirm = "Destroyed keys cannot be brought back, but from a "
		       "backup of the HSM.",
	    .dry_run = true,
	    .print = print_key_results,
	},
};

const struct ctl_group group_key = { commands, nitems(commands) };
