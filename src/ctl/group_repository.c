#include "command_parts.h"

static const struct ctl_option repository_name = {
	"NAME",
	NULL,
	OPTION_NAME,
	"name",
	"a repository's name",
};

static const struct ctl_option resume_options[] = {
	{ "accept-token", NULL, OPTION_FLAG, "accept_token",
	    "the alien token found there is the right one from now on" },
};

static const struct ctl_command commands[] = {
	{
	    .name = "repository list",
	    .summary = "the tokens: state, sessions, what was found",
	    .lists = { "repositories" },
	    .exits = "1   a repository is not ok\n",
	    .print = print_repositories,
	    .trouble = trouble_status,
	},
	{
	    .name = "repository resume",
	    .summary = "try a parked, alien or failing repository again",
	    .operand = &repository_name,
	    OPTIONS(resume_options),
	    .exits = "2   no such repository\n",
	    .print = print_resumed,
	},
};

const struct ctl_group group_repository = { commands, nitems(commands) };
