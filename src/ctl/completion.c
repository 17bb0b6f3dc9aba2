#include "completion.h"

#include <string.h>

#include "command.h"
#include "ksmpool/key.h"
#include "run.h"

/*
 * The words are sorted into three lists that a script looks through: first
 * words, second words by first word, options by command. What a value may be
 * hangs on the option's name, which means the same in every command.
 */

static const char *const global_options[] = { "--socket", "--timeout", "--json",
	"--quiet", "--help", "--version" };

static bool
first_seen(size_t i, size_t len)
{
	const char *name = command_at(i)->name;
	const struct ctl_command *c;

	for (size_t j = 0; j < i; j++) {
		c = command_at(j);
		if (strncmp(c->name, name, len) == 0 &&
		    (c->name[len] == ' ' || c->name[len] == '\0'))
			return true;
	}
	return false;
}

static void
first_words(FILE *out)
{
	const struct ctl_command *c;
	size_t len;

	for (size_t i = 0; (c = command_at(i)) != NULL; i++) {
		len = strcspn(c->name, " ");
		if (!first_seen(i, len))
			(void)fprintf(out, "%.*s ", (int)len, c->name);
	}
	(void)fputs("help", out);
}

static void
second_words(FILE *out, const char *first, size_t len)
{
	const struct ctl_command *c;

	for (size_t i = 0; (c = command_at(i)) != NULL; i++)
		if (strncmp(c->name, first, len) == 0 && c->name[len] == ' ')
			(void)fprintf(out, "%s ", c->name + len + 1);
}

/* "inventory" may stand alone before "inventory adopt". */
static bool
second_seen(size_t i, size_t len)
{
	const char *name = command_at(i)->name;

	for (size_t j = 0; j < i; j++)
		if (strncmp(command_at(j)->name, name, len) == 0 &&
		    command_at(j)->name[len] == ' ')
			return true;
	return false;
}

static bool
option_has(const struct ctl_option *o, enum option_kind kind)
{
	return o != NULL && o->kind == kind;
}

/* NULL: nothing to offer. A word in capitals is asked or done by the shell. */
static const char *
value_words(const struct ctl_option *o)
{
	static char states[512];

	if (option_has(o, OPTION_ROLE))
		return "KSK ZSK CSK";
	if (option_has(o, OPTION_LEVEL))
		return "error warning notice info debug";
	if (option_has(o, OPTION_SCOPE))
		return "zone owner policy";
	if (option_has(o, OPTION_ALG))
		return "RSASHA256 RSASHA512 ECDSAP256SHA256 ECDSAP384SHA384 "
		       "ED25519 ED448";
	if (option_has(o, OPTION_FILE))
		return "FILES";
	if (strcmp(o->name, "repository") == 0 ||
	    (strcmp(o->name, "NAME") == 0 && o->value == NULL))
		return "REPOSITORIES";
	if (strcmp(o->name, "policy") == 0)
		return "POLICIES";
	if (strcmp(o->name, "pool") == 0 || strcmp(o->name, "POOL") == 0)
		return "POOLS";
	if (strcmp(o->name, "SHELL") == 0)
		return "bash zsh fish";
	if (option_has(o, OPTION_STATE)) {
		states[0] = '\0';
		for (int s = 0; s < KEY__STATES; s++)
			(void)snprintf(states + strlen(states),
			    sizeof(states) - strlen(states), "%s%s",
			    s > 0 ? " " : "",
			    key_state_text((enum key_state)s));
		return states;
	}
	return NULL;
}

/* Options with a value, each once: name and what it may be. */
static void
values_each(FILE *out, void (*print)(FILE *out, const struct ctl_option *o,
    const char *words))
{
	const struct ctl_command *c, *before;
	bool seen;

	for (size_t i = 0; (c = command_at(i)) != NULL; i++)
		for (size_t k = 0; k < c->noptions; k++) {
			if (c->options[k].value == NULL)
				continue;
			seen = false;
			for (size_t j = 0; j < i && !seen; j++) {
				before = command_at(j);
				for (size_t m = 0; m < before->noptions; m++)
					seen = seen ||
					    strcmp(before->options[m].name,
						c->options[k].name) == 0;
			}
			if (!seen)
				print(out, &c->options[k],
				    value_words(&c->options[k]));
		}
}

static void
shell_value(FILE *out, const struct ctl_option *o, const char *words)
{
	(void)fprintf(out, "\t--%s) words='%s' ;;\n", o->name,
	    words != NULL ? words : "NOTHING");
}

static void
options_line(FILE *out, const struct ctl_command *c)
{
	(void)fprintf(out, "\t'%s') words='", c->name);
	for (size_t k = 0; k < c->noptions; k++)
		(void)fprintf(out, "--%s ", c->options[k].name);
	for (size_t g = 0; g < nitems(global_options); g++)
		(void)fprintf(out, "%s%s", g > 0 ? " " : "",
		    global_options[g]);
	(void)fprintf(out, "' ;;\n");
}

/*
 * The words that fit where the cursor is, in plain shell that bash and zsh
 * both read: the words before it, the command and its second word found among
 * them. Sets `words`.
 */
static void
shell_core(FILE *out)
{
	const struct ctl_command *c;
	const char *words;
	size_t len;

	(void)fputs("# Made by 'ksmctl completion'.\n"
		    "_ksmctl_ask()\n{\n"
		    "\tksmctl ${_ksmctl_socket:+--socket \"$_ksmctl_socket\"} "
		    "--timeout PT1S --json metrics 2>/dev/null |\n"
		    "\t    tr '{,' '\\n\\n' | sed -n \"s/^ *\\\"$1\\\": "
		    "*\\\"\\([^\\\"]*\\)\\\".*/\\1/p\" | sort -u\n}\n\n",
	    out);
	(void)fputs("# _ksmctl_words PREVIOUS CURRENT WORD...: sets words\n"
		    "_ksmctl_words()\n{\n"
		    "\tlocal previous=$1 current=$2 first= second= skip= w\n"
		    "\tshift 2\n\t_ksmctl_socket=\n\twords=\n"
		    "\tfor w in \"$@\"; do\n"
		    "\t\tif [ \"$skip\" = --socket ]; then\n"
		    "\t\t\t_ksmctl_socket=$w\n\t\tfi\n"
		    "\t\tif [ -n \"$skip\" ]; then\n\t\t\tskip=\n"
		    "\t\t\tcontinue\n\t\tfi\n"
		    "\t\tcase $w in\n"
		    "\t\t--json | --quiet | --help | --version",
	    out);
	for (size_t i = 0; (c = command_at(i)) != NULL; i++)
		for (size_t k = 0; k < c->noptions; k++)
			if (c->options[k].value == NULL)
				(void)fprintf(out, " | --%s",
				    c->options[k].name);
	(void)fputs(") ;;\n\t\t--*=*) ;;\n\t\t--*) skip=$w ;;\n\t\t-*) ;;\n"
		    "\t\t*)\n\t\t\tif [ -z \"$first\" ]; then\n"
		    "\t\t\t\tfirst=$w\n"
		    "\t\t\telif [ -z \"$second\" ]; then\n"
		    "\t\t\t\tsecond=$w\n\t\t\tfi\n\t\t\t;;\n"
		    "\t\tesac\n\tdone\n",
	    out);
	(void)fputs("\tcase $previous in\n\t--socket) words=FILES ;;\n"
		    "\t--timeout) words=NOTHING ;;\n",
	    out);
	values_each(out, shell_value);
	(void)fputs("\tesac\n\t[ -z \"$words\" ] || return 0\n"
		    "\tif [ -z \"$first\" ] && [ \"${current#-}\" = "
		    "\"$current\" ]; then\n\t\twords='",
	    out);
	first_words(out);
	(void)fputs("'\n\t\treturn 0\n\tfi\n"
		    "\tif [ \"${current#-}\" = \"$current\" ]; then\n"
		    "\t\tcase \"$first $second\" in\n",
	    out);
	(void)fputs("\t\t'help ') words='", out);
	first_words(out);
	(void)fputs("' ;;\n", out);
	for (size_t i = 0; (c = command_at(i)) != NULL; i++) {
		len = strcspn(c->name, " ");
		if (c->name[len] == '\0' || second_seen(i, len))
			continue;
		(void)fprintf(out, "\t\t'%.*s ') words='", (int)len, c->name);
		second_words(out, c->name, len);
		(void)fputs("' ;;\n", out);
	}
	for (size_t i = 0; (c = command_at(i)) != NULL; i++) {
		words = c->operand != NULL ? value_words(c->operand) : NULL;
		if (words == NULL)
			continue;
		(void)fprintf(out, "\t\t'%s%s') words='%s' ;;\n", c->name,
		    strchr(c->name, ' ') == NULL ? " " : "", words);
	}
	(void)fputs("\t\tesac\n\t\treturn 0\n\tfi\n"
		    "\tcase \"$first${second:+ $second}\" in\n",
	    out);
	for (size_t i = 0; (c = command_at(i)) != NULL; i++)
		if (strchr(c->name, ' ') != NULL)
			options_line(out, c);
	(void)fputs("\tesac\n\t[ -z \"$words\" ] || return 0\n"
		    "\tcase $first in\n",
	    out);
	for (size_t i = 0; (c = command_at(i)) != NULL; i++)
		if (strchr(c->name, ' ') == NULL)
			options_line(out, c);
	(void)fputs("\t*) words='", out);
	for (size_t g = 0; g < nitems(global_options); g++)
		(void)fprintf(out, "%s%s", g > 0 ? " " : "",
		    global_options[g]);
	(void)fputs("' ;;\n\tesac\n}\n\n", out);
	(void)fputs("# Names come from the daemon, if one answers at once.\n"
		    "_ksmctl_names()\n{\n\tcase $words in\n"
		    "\tREPOSITORIES) words=$(_ksmctl_ask repository) ;;\n"
		    "\tPOLICIES | POOLS) words=$(_ksmctl_ask policy) ;;\n"
		    "\tNOTHING) words= ;;\n\tesac\n}\n\n",
	    out);
}

static void
bash_print(FILE *out)
{
	shell_core(out);
	(void)fputs("_ksmctl()\n{\n"
		    "\tlocal current=${COMP_WORDS[COMP_CWORD]} words= "
		    "_ksmctl_socket=\n"
		    "\tlocal IFS=$' \\t\\n'\n"
		    "\t_ksmctl_words \"${COMP_WORDS[COMP_CWORD-1]}\" "
		    "\"$current\" \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"\n"
		    "\tCOMPREPLY=()\n"
		    "\tif [ \"$words\" = FILES ]; then\n"
		    "\t\tlocal IFS=$'\\n'\n"
		    "\t\tCOMPREPLY=($(compgen -f -- \"$current\"))\n"
		    "\t\treturn 0\n\tfi\n"
		    "\t_ksmctl_names\n"
		    "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
		    "}\ncomplete -F _ksmctl ksmctl\n",
	    out);
}

static void
zsh_print(FILE *out)
{
	(void)fputs("#compdef ksmctl\n", out);
	shell_core(out);
	(void)fputs("_ksmctl()\n{\n"
		    "\temulate -L zsh\n"
		    "\tlocal current=$words[CURRENT] "
		    "previous=$words[CURRENT-1] _ksmctl_socket=\n"
		    "\tlocal -a before\n"
		    "\tbefore=(${words[2,CURRENT-1]})\n"
		    "\tlocal words=\n"
		    "\t_ksmctl_words \"$previous\" \"$current\" $before\n"
		    "\tif [[ $words == FILES ]]; then\n\t\t_files\n"
		    "\t\treturn\n\tfi\n"
		    "\t_ksmctl_names\n"
		    "\tcompadd -- ${=words}\n}\n\n"
		    "if [ \"$funcstack[1]\" = _ksmctl ]; then\n"
		    "\t_ksmctl \"$@\"\n"
		    "else\n\tcompdef _ksmctl ksmctl\nfi\n",
	    out);
}

/* In single quotes. */
static void
fish_quoted(FILE *out, const char *text)
{
	(void)fputc('\'', out);
	for (const char *c = text; *c != '\0'; c++) {
		if (*c == '\'' || *c == '\\')
			(void)fputc('\\', out);
		(void)fputc(*c == '\n' ? ' ' : *c, out);
	}
	(void)fputc('\'', out);
}

static void
fish_words(FILE *out, const char *words)
{
	if (words == NULL)
		(void)fputs(" -x", out);
	else if (strcmp(words, "FILES") == 0)
		(void)fputs(" -r -F", out);
	else if (strcmp(words, "REPOSITORIES") == 0)
		(void)fputs(" -x -a '(__ksmctl_ask repository)'", out);
	else if (strcmp(words, "POLICIES") == 0 || strcmp(words, "POOLS") == 0)
		(void)fputs(" -x -a '(__ksmctl_ask policy)'", out);
	else
		(void)fprintf(out, " -x -a '%s'", words);
}

static void
fish_command(FILE *out, const struct ctl_command *c)
{
	size_t len = strcspn(c->name, " ");
	const char *second = c->name[len] == ' ' ? c->name + len + 1 : NULL;

	(void)fprintf(out, "complete -c ksmctl -n ");
	if (second == NULL)
		(void)fprintf(out, "__fish_use_subcommand -a %s", c->name);
	else
		(void)fprintf(out,
		    "'__fish_seen_subcommand_from %.*s' -a %s", (int)len,
		    c->name, second);
	(void)fputs(" -d ", out);
	fish_quoted(out, c->summary);
	(void)fputc('\n', out);
	for (size_t k = 0; k < c->noptions; k++) {
		(void)fprintf(out,
		    "complete -c ksmctl -n '__fish_seen_subcommand_from "
		    "%.*s%s%s' -l %s", (int)len, c->name,
		    second != NULL
			? "; and __fish_seen_subcommand_from " : "",
		    second != NULL ? second : "", c->options[k].name);
		if (c->options[k].value != NULL)
			fish_words(out, value_words(&c->options[k]));
		(void)fputs(" -d ", out);
		fish_quoted(out, c->options[k].help);
		(void)fputc('\n', out);
	}
	if (c->operand == NULL || value_words(c->operand) == NULL)
		return;
	(void)fprintf(out,
	    "complete -c ksmctl -n '__fish_seen_subcommand_from %s'",
	    second != NULL ? second : c->name);
	fish_words(out, value_words(c->operand));
	(void)fputc('\n', out);
}

static void
fish_print(FILE *out)
{
	const struct ctl_command *c;
	size_t len;

	(void)fputs("# Made by 'ksmctl completion'.\n"
		    "function __ksmctl_ask\n"
		    "\tksmctl --timeout PT1S --json metrics 2>/dev/null |\n"
		    "\t    string match -ra '\"'$argv[1]'\": *\"([^\"]*)\"' "
		    "-g | sort -u\nend\n"
		    "complete -c ksmctl -f\n",
	    out);
	for (size_t g = 0; g < nitems(global_options); g++)
		(void)fprintf(out, "complete -c ksmctl -l %s%s\n",
		    global_options[g] + 2,
		    strcmp(global_options[g], "--socket") == 0	  ? " -r -F"
		    : strcmp(global_options[g], "--timeout") == 0 ? " -x"
								  : "");
	(void)fputs("complete -c ksmctl -n __fish_use_subcommand -a help\n",
	    out);
	for (size_t i = 0; (c = command_at(i)) != NULL; i++) {
		len = strcspn(c->name, " ");
		if (c->name[len] == ' ' && !first_seen(i, len))
			(void)fprintf(out,
			    "complete -c ksmctl -n __fish_use_subcommand "
			    "-a %.*s\n", (int)len, c->name);
		fish_command(out, c);
	}
}

bool
completion_print(FILE *out, const char *shell)
{
	if (strcmp(shell, "bash") == 0)
		bash_print(out);
	else if (strcmp(shell, "zsh") == 0)
		zsh_print(out);
	else if (strcmp(shell, "fish") == 0)
		fish_print(out);
	else
		return false;
	return true;
}

int
completion_run(const struct ctl_call *call)
{
	const struct run_streams to = { .out = stdout, .err = stderr };
	const char *shell = json_string_value(
	    json_object_get(call->args, "shell"));
	struct ctl_reply r = { .type = CTL_ERROR, .exit = CTL_USAGE,
		.code = "usage" };

	if (!call->json && completion_print(stdout, shell))
		return CTL_OK;
	if (call->json)
		(void)snprintf(r.text, sizeof(r.text),
		    "it prints a script; there is no document for --json");
	else
		(void)snprintf(r.text, sizeof(r.text),
		    "'%.64s' is none of bash, zsh and fish", shell);
	run_say_error(&to, call->json, "completion", &r);
	return CTL_USAGE;
}
