#include "command_parts.h"

static const struct ctl_option reload_options[] = {
	{ "allow-empty", NULL, OPTION_FLAG, "allow_empty",
	    "a zone list without zones is meant" },
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
	    .name = "stop",
	    .summary = "end the daemon when the running keys are done",
	    .print = print_stopping,
	},
};

const struct ctl_group group_daemon = { commands, nitems(commands) };
