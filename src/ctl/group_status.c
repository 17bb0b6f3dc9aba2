#include "command_parts.h"

static const struct ctl_option plan_options[] = {
	{ "zones", "N", OPTION_COUNT, "zones",
	    "what if every policy had N zones" },
	{ "horizon", "DURATION", OPTION_DURATION, "horizon",
	    "what if every pool had to last so long" },
	{ "emergency-rolls", "N", OPTION_COUNT, "emergency_rolls",
	    "what if all keys were to be rolled N times more" },
	{ "capacity", "N", OPTION_COUNT, "capacity",
	    "what if every token held N key pairs" },
	{ "scope", "SCOPE", OPTION_SCOPE, "scope",
	    "what if each zone had its own key, each owner one, or a policy "
	    "one: zone, owner or policy" },
};

static const struct ctl_option pool_name = {
	"POOL",
	NULL,
	OPTION_NAME,
	"pool",
	"POLICY/ROLE/REPOSITORY/ALGORITHM, or its beginning",
};

static const struct ctl_command commands[] = {
	{
	    .name = "status",
	    .summary = "the daemon, its repositories and pools",
	    .lists = { "repositories", "pools", "backups" },
	    .exits = "1   a pool is critical or empty, a repository is not "
		     "ok, the clock is in\n    doubt, or an older zone list "
		     "stays in force\n",
	    .print = print_status,
	    .trouble = trouble_status,
	},
	{
	    .name = "plan",
	    .summary = "how many keys are required, and why",
	    OPTIONS(plan_options),
	    .lists = { "pools", "tokens" },
	    .print = print_plan,
	},
	{
	    .name = "explain",
	    .summary = "a pool's number of keys, in sentences",
	    .operand = &pool_name,
	    .operand_optional = true,
	    .lists = { "pools", "tokens" },
	    .exits = "2   no such pool\n",
	    .print = print_explain,
	},
	{
	    .name = "check",
	    .summary = "check every configuration file; needs no daemon",
	    .exits = "1   warnings, with --strict\n2   errors\n",
	    .local = check_exec,
	    .verbatim = true,
	},
	{
	    .name = "version",
	    .summary = "versions of ksmctl and of the running daemon",
	    .own_version = true,
	    .print = print_version,
	},
};

const struct ctl_group group_status = { commands, nitems(commands) };
