#include "command_parts.h"

static const struct ctl_option reload_options[] = {
	{ "allow-empty", NULL, OPTION_FLAG, "allow_empty",
	    "a zone list without zones is meant" },
};

static const struct ctl_option pause_options[] = {
	{ "for", "DURATION", OPTION_DURATION, "for",
	    "so long; otherwise until 'ksmctl resume'" },
	OPTION_REASON,
};

static const struct ctl_option clock_options[] = {
	OPTION_REASON,
	OPTION_YES,
};

static const struct ctl_option log_level = {
	"LEVEL",
	NULL,
	OPTION_LEVEL,
	"level",
	"error, warning, notice, info or debug",
};

static const struct ctl_command commands[] = {
	{
	    .name = "reload",
	    .summary = "read the configuration again, whole or not at all",
	    OPTIONS(reload_options),
	    .lists = { "findings" },
	    .exits = "2   refused; the configuration in force is kept\n",
	    .print = print_reload,
	},
	{
	    .name = "pause",
	    .summary = "make no keys and leave the tokens alone",
	    OPTIONS(pause_options),
	    .print = print_paused,
	},
	{
	    .name = "resume",
	    .summary = "end a pause",
	    .print = print_unpaused,
	},
	{
	    .name = "clock accept",
	    .summary = "the clock is right, the newest record is not",
	    OPTIONS(clock_options),
	    .needs = { "reason" },
	    .exits = "2   there is no dispute\n",
	    .confirm = "From now on keys are dated by the clock as it is, "
		       "earlier than some on record.",
	    .print = print_clock,
	},
	{
	    .name = "log level",
	    .summary = "how much the daemon says; until a reload or restart",
	    .operand = &log_level,
	    .operand_optional = true,
	    .print = print_log_level,
	},
	{
	    .name = "stop",
	    .summary = "end the daemon when the running keys are done",
	    .print = print_stopping,
	},
};

const struct ctl_group group_daemon = { commands, nitems(commands) };
