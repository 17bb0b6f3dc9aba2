#include "command_parts.h"

static const struct ctl_option inventory_options[] = {
	{ "repository", "NAME", OPTION_NAME, "repository",
	    "this one only" },
	{ "all", NULL, OPTION_FLAG, "all",
	    "list what belongs to other programs, too" },
};

static const struct ctl_option pair_id = {
	"ID",
	NULL,
	OPTION_CKA_ID,
	"id",
	"the pair's CKA_ID in hex",
};

static const struct ctl_option adopt_options[] = {
	{ "policy", "NAME", OPTION_NAME, "policy", "the pool's policy" },
	{ "role", "ROLE", OPTION_ROLE, "role", "KSK, ZSK or CSK" },
	{ "repository", "NAME", OPTION_NAME, "repository",
	    "where it is; otherwise it is looked for" },
	{ "algorithm", "NAME", OPTION_ALG, "algorithm",
	    "where the policy has several for that role" },
	OPTION_REASON,
	OPTION_YES,
	OPTION_DRY_RUN,
};

static const struct ctl_option half_ids = {
	"ID",
	NULL,
	OPTION_CLEAN,
	"ids",
	"half pairs, 32 hex digits; or the word debris",
};

static const struct ctl_option clean_options[] = {
	{ "repository", "NAME", OPTION_NAME, "repository", "where" },
	OPTION_REASON,
	OPTION_YES,
	OPTION_DRY_RUN,
};

static const struct ctl_command commands[] = {
	{
	    .name = "inventory",
	    .summary = "the tokens' objects held against the database",
	    OPTIONS(inventory_options),
	    .lists = { "repositories", "found" },
	    .exits = "1   something is missing, half, doubled, not on record "
		     "or debris\n2   a token could not be looked at\n",
	    .slow = true,
	    .print = print_inventory,
	    .trouble = trouble_inventory,
	},
	{
	    .name = "inventory adopt",
	    .summary = "put a pair that is not on record into a pool",
	    .operand = &pair_id,
	    OPTIONS(adopt_options),
	    .needs = { "policy", "role", "reason" },
	    .exits = "1   it was adopted and failed its check: see why\n"
		     "2   refused: nothing was changed\n",
	    .slow = true,
	    .confirm = "An adopted key is handed out like any other: you "
		       "assert that no signer uses it.",
	    .dry_run = true,
	    .print = print_adopted,
	},
	{
	    .name = "inventory clean",
	    .summary = "destroy half pairs of ours, or debris",
	    .operand = &half_ids,
	    .operand_many = true,
	    OPTIONS(clean_options),
	    .needs = { "repository", "reason" },
	    .lists = { "keys", "found" },
	    .exits = "1   some were refused\n2   none was done\n",
	    .slow = true,
	    .confirm = "Objects that are cleaned away cannot be brought back.",
	    .dry_run = true,
	    .print = print_cleaned,
	},
};

const struct ctl_group group_inventory = { commands, nitems(commands) };
