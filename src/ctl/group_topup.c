#include "command_parts.h"
#include "program.h"

static const struct ctl_option topup_options[] = {
	{ "policy", "NAME", OPTION_NAME, "policy", "only this policy's pools" },
	{ "max", "N", OPTION_SOME, "max",
	    "at most N keys per pool, instead of its MaxPerRun" },
	{ "wait", NULL, OPTION_FLAG, "wait",
	    "until every pool is full or cannot be filled" },
	{ "dry-run", NULL, OPTION_FLAG, "dry_run",
	    "show what would be made; changes nothing" },
	{ "or-once", NULL, OPTION_FLAG, "or_once",
	    "where no daemon listens, run 'ksmpoold --once' instead" },
	{ "config", "FILE", OPTION_FILE, "config",
	    "with --or-once: its configuration" },
};

static const struct ctl_command commands[] = {
	{
	    .name = "topup",
	    .summary = "fill the pools now",
	    OPTIONS(topup_options),
	    .lists = { "pools" },
	    .exits = "1   --wait: not every pool is full\n"
		     "2   no such policy\n",
	    .print = print_topup,
	    .trouble = trouble_topup,
	    .local = topup_run,
	},
};

const struct ctl_group group_topup = { commands, nitems(commands) };
