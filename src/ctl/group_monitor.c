#include "command_parts.h"
#include "completion.h"
#include "metrics.h"

static const struct ctl_option metrics_options[] = {
	{ "output", "FILE", OPTION_FILE, "output",
	    "replace FILE, a name in .prom, at once and whole" },
};

static const struct ctl_option monitor_options[] = {
	{ "warning", "RANGE", OPTION_NAME, "warning",
	    "-w: warn by the lowest percentage of all pools" },
	{ "critical", "RANGE", OPTION_NAME, "critical",
	    "-c: critical by it; without both the levels decide" },
	{ "pool", "POOL", OPTION_NAME, "pool",
	    "only POLICY[/ROLE[/REPOSITORY]]" },
	{ "repository", "NAME", OPTION_NAME, "repository",
	    "only this repository and its pools" },
};

static const struct ctl_option shell = {
	"SHELL",
	NULL,
	OPTION_NAME,
	"shell",
	"bash, zsh or fish",
};

static const struct ctl_command commands[] = {
	{
	    .name = "metrics",
	    .summary = "numbers for Prometheus",
	    OPTIONS(metrics_options),
	    .lists = { "repositories", "pools" },
	    .local = metrics_run,
	},
	{
	    .name = "monitor",
	    .summary = "a monitoring plug-in: one line and 0, 1, 2 or 3",
	    OPTIONS(monitor_options),
	    .exits = "1   WARNING\n2   CRITICAL, or no daemon answers\n"
		     "3   UNKNOWN: no answer in time (-t SECONDS, 10), no "
		     "permission, wrong use\n",
	    .local = monitor_run,
	    .verbatim = true,
	},
	{
	    .name = "completion",
	    .summary = "a completion script for a shell",
	    .operand = &shell,
	    .local = completion_run,
	},
};

const struct ctl_group group_monitor = { commands, nitems(commands) };
