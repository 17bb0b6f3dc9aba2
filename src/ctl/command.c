#include "command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ksmpool/duration.h"
#include "ksmpool/key.h"

#include "print.h"
#include "run.h"

#define WORD_MAX 64

/* ---- the table ------------------------------------------------------- */

#define EXIT_ANY                                \
	"64  the command line is wrong\n"       \
	"69  no daemon answers on the socket\n" \
	"75  no answer in time\n"               \
	"77  no permission\n"

static const struct ctl_option plan_options[] = {
	{ "zones", "N", OPTION_COUNT, "zones",
	    "what if every policy had N zones; changes nothing" },
};

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

static const struct ctl_option topup_options[] = {
	{ "policy", "NAME", OPTION_NAME, "policy", "only this policy's pools" },
	{ "max", "N", OPTION_SOME, "max",
	    "at most N keys per pool, instead of its MaxPerRun" },
	{ "wait", NULL, OPTION_FLAG, "wait",
	    "until every pool is full or cannot be filled" },
	{ "dry-run", NULL, OPTION_FLAG, "dry_run",
	    "show what would be made; changes nothing" },
};

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

static const struct ctl_option reload_options[] = {
	{ "allow-empty", NULL, OPTION_FLAG, "allow_empty",
	    "a zone list without zones is meant" },
};

#define OPTIONS(a) .options = (a), .noptions = nitems(a)

static const struct ctl_command commands[] = {
	{
	    .name = "status",
	    .summary = "the daemon, its repositories and pools",
	    .lists = { "repositories", "pools" },
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
	    .name = "check",
	    .summary = "check every configuration file; needs no daemon",
	    .exits = "1   warnings, with --strict\n2   errors\n",
	    .local = check_exec,
	    .verbatim = true,
	},
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
	    .name = "topup",
	    .summary = "fill the pools now",
	    OPTIONS(topup_options),
	    .lists = { "pools" },
	    .exits = "1   --wait: not every pool is full\n"
		     "2   no such policy\n",
	    .print = print_topup,
	    .trouble = trouble_topup,
	},
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
	{
	    .name = "version",
	    .summary = "versions of ksmctl and of the running daemon",
	    .own_version = true,
	    .print = print_version,
	},
};

enum global {
	GLOBAL_SOCKET,
	GLOBAL_TIMEOUT,
	GLOBAL_JSON,
	GLOBAL_QUIET,
	GLOBAL_HELP,
	GLOBAL_VERSION
};

static const struct ctl_option globals[] = {
	[GLOBAL_SOCKET] = { "socket", "PATH", OPTION_NAME, NULL,
	    "the daemon's socket (default $KSMPOOL_SOCKET or\n"
	    "                         " KSM_RUNDIR "/control.sock)" },
	[GLOBAL_TIMEOUT] = { "timeout", "DURATION", OPTION_NAME, NULL,
	    "wait no longer for the daemon (PT30S; topup --wait:\n"
	    "                         no limit); PT0S: no limit" },
	[GLOBAL_JSON] = { "json", NULL, OPTION_FLAG, NULL,
	    "one JSON document on standard output" },
	[GLOBAL_QUIET] = { "quiet", NULL, OPTION_FLAG, NULL,
	    "silent when all is well, one line when not" },
	[GLOBAL_HELP] = { "help", NULL, OPTION_FLAG, NULL, "this text" },
	[GLOBAL_VERSION] = { "version", NULL, OPTION_FLAG, NULL,
	    "ksmctl's own version" },
};

const struct ctl_command *
command_at(size_t i)
{
	return i < nitems(commands) ? &commands[i] : NULL;
}

const struct ctl_command *
command_find(const char *name)
{
	for (size_t i = 0; i < nitems(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* ---- near misses ----------------------------------------------------- */

/* Damerau and Levenshtein, three rows. Words over WORD_MAX are far. */
size_t
word_distance(const char *a, const char *b)
{
	size_t rows[3][WORD_MAX + 1];
	size_t la = strlen(a), lb = strlen(b), best;
	size_t *before = rows[0], *last = rows[1], *now = rows[2], *spare;

	if (la > WORD_MAX || lb > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= lb; j++)
		last[j] = j;
	for (size_t i = 1; i <= la; i++) {
		now[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			best = last[j - 1] + (a[i - 1] != b[j - 1]);
			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
		spare = before;
		before = last;
		last = now;
		now = spare;
	}
	return last[lb];
}

/* Keep the nearer one; a third of the letters may be wrong, at most three. */
static void
near_try(
    const char *word, const char *name, const char **nearest, size_t *distance)
{
	size_t d = word_distance(word, name), limit = strlen(name) / 3 + 1;

	if (limit > 3)
		limit = 3;
	if (d > limit || d >= *distance)
		return;
	*nearest = name;
	*distance = d;
}

const char *
command_near(const char *word)
{
	const char *nearest = NULL;
	size_t distance = WORD_MAX;

	for (size_t i = 0; i < nitems(commands); i++)
		near_try(word, commands[i].name, &nearest, &distance);
	near_try(word, "help", &nearest, &distance);
	return nearest;
}

/* ---- reading the command line ---------------------------------------- */

/* An option as it stands: --name, --name=value, -h. */
struct option_word {
	char name[WORD_MAX];
	const char *value; /* after '='; NULL */
};

static bool
option_read(const char *word, struct option_word *o)
{
	const char *equals;
	size_t len;

	*o = (struct option_word){ .value = NULL };
	if (strcmp(word, "-h") == 0)
		word = "--help";
	if (strcmp(word, "-V") == 0)
		word = "--version";
	if (strcmp(word, "-q") == 0)
		word = "--quiet";
	if (word[0] != '-' || word[1] != '-')
		return false;
	word += 2;
	equals = strchr(word, '=');
	len = equals != NULL ? (size_t)(equals - word) : strlen(word);
	if (len >= sizeof(o->name))
		return false;
	memcpy(o->name, word, len);
	o->name[len] = '\0';
	o->value = equals != NULL ? equals + 1 : NULL;
	return true;
}

static const struct ctl_option *
option_in(const struct ctl_option *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	return NULL;
}

/* Of any command: whether it takes a value is the same everywhere. */
static const struct ctl_option *
option_anywhere(const char *name)
{
	const struct ctl_option *o = option_in(globals, nitems(globals), name);

	for (size_t i = 0; o == NULL && i < nitems(commands); i++)
		o = option_in(commands[i].options, commands[i].noptions, name);
	return o;
}

static enum ksm_err
option_unknown(const struct ctl_command *c, const char *word, const char *name,
    struct ksm_fail *fail)
{
	const char *nearest = NULL;
	size_t distance = WORD_MAX;

	if (c != NULL && option_anywhere(name) != NULL)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s: has no option '--%s'; 'ksmctl %s --help' lists them",
		    c->name, name, c->name);
	for (size_t i = 0; i < nitems(globals); i++)
		near_try(name, globals[i].name, &nearest, &distance);
	for (size_t i = 0; c != NULL && i < c->noptions; i++)
		near_try(name, c->options[i].name, &nearest, &distance);
	if (nearest != NULL && name[0] != '\0')
		return ksm_failf(fail, KSM_EREFUSED,
		    "unknown option '%.64s'; did you mean '--%s'?", word,
		    nearest);
	return ksm_failf(fail, KSM_EREFUSED,
	    "unknown option '%.64s'; 'ksmctl %s%s--help' lists them", word,
	    c != NULL ? c->name : "", c != NULL ? " " : "");
}

static enum ksm_err
count_parse(
    const char *value, int64_t least, int64_t *out, struct ksm_fail *fail)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 ||
	    n < least)
		return ksm_failf(fail, KSM_EREFUSED,
		    "'%.64s' is not a whole number of %d or more", value,
		    (int)least);
	*out = n;
	return KSM_OK;
}

static enum ksm_err
state_check(const char *value, struct ksm_fail *fail)
{
	const char *nearest = NULL;
	size_t distance = WORD_MAX;
	enum key_state state;

	if (key_state_find(value, &state))
		return KSM_OK;
	for (int s = 0; s < KEY__STATES; s++)
		near_try(value, key_state_text((enum key_state)s), &nearest,
		    &distance);
	if (nearest != NULL)
		return ksm_failf(fail, KSM_EREFUSED,
		    "'%.64s' is not a state of a key; did you mean '%s'?",
		    value, nearest);
	return ksm_failf(fail, KSM_EREFUSED,
	    "'%.64s' is not a state of a key; ksmctl(1) lists them", value);
}

/* A value of an option or operand into the request. */
static enum ksm_err
value_put(struct ctl_call *call, const struct ctl_option *o, const char *value,
    struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	struct key_id id;
	json_t *json = NULL;
	int64_t n = 0;

	switch (o->kind) {
	case OPTION_FLAG:
		json = json_true();
		break;
	case OPTION_TIME:
		err = time_parse(value, &n, fail);
		json = json_integer(n);
		break;
	case OPTION_COUNT:
	case OPTION_SOME:
		err = count_parse(value, o->kind == OPTION_SOME, &n, fail);
		json = json_integer(n);
		break;
	case OPTION_STATE:
		err = state_check(value, fail);
		break;
	case OPTION_ROLE:
		for (int i = 0; i < ROLE__COUNT && json == NULL; i++)
			if (strcasecmp(
				value, key_role_text((enum key_role)i)) == 0)
				json = json_string(
				    key_role_text((enum key_role)i));
		if (json == NULL)
			err = ksm_failf(fail, KSM_EREFUSED,
			    "'%.64s' is not KSK, ZSK or CSK", value);
		break;
	case OPTION_ID:
		if (!key_id_parse(value, &id))
			err = ksm_failf(fail, KSM_EREFUSED,
			    "'%.64s' is not a key id (32 hex digits)", value);
		break;
	case OPTION_NAME:
		if (value[0] == '\0' || strlen(value) > 255)
			err = ksm_failf(fail, KSM_EREFUSED,
			    "'%.64s' is not a name (1 to 255 bytes)", value);
		break;
	}
	if (err == KSM_OK && json == NULL) {
		json = json_string(value);
		if (json == NULL)
			err = ksm_failf(
			    fail, KSM_EREFUSED, "the value is not UTF-8");
	}
	if (err != KSM_OK) {
		json_decref(json);
		return ksm_fail_before(
		    fail, "%s%s", o->value != NULL ? "--" : "", o->name);
	}
	(void)json_object_set_new(call->args, o->field, json);
	return KSM_OK;
}

static enum ksm_err
global_put(struct ctl_call *call, const struct ctl_option *o, const char *value,
    struct ksm_fail *fail)
{
	switch ((enum global)(o - globals)) {
	case GLOBAL_SOCKET:
		call->socket = value;
		break;
	case GLOBAL_TIMEOUT:
		if (duration_parse(value, DURATION_POSITIVE, &call->timeout,
			NULL, fail) != KSM_OK)
			return ksm_fail_before(fail, "--timeout");
		break;
	case GLOBAL_JSON:
		call->json = true;
		break;
	case GLOBAL_QUIET:
		call->quiet = true;
		break;
	case GLOBAL_HELP:
		call->help = true;
		break;
	case GLOBAL_VERSION:
		call->version = true;
		break;
	}
	return KSM_OK;
}

/*
 * First pass: the words that are no options and no values of options, and
 * the place behind a command whose arguments are not ours.
 */
struct words {
	const char *word[4];
	size_t n, total;
	int end; /* argv index where our part ends */
};

static void
words_read(struct words *w, int argc, char *const argv[])
{
	const struct ctl_option *o;
	const struct ctl_command *c;
	struct option_word ow;
	bool options = true;

	*w = (struct words){ .end = argc };
	for (int i = 1; i < argc; i++) {
		if (options && strcmp(argv[i], "--") == 0) {
			options = false;
			continue;
		}
		if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
			if (!option_read(argv[i], &ow))
				continue; /* the second pass complains */
			o = option_anywhere(ow.name);
			if (o != NULL && o->value != NULL && ow.value == NULL)
				i++;
			continue;
		}
		w->total++;
		if (w->n == nitems(w->word))
			continue;
		w->word[w->n++] = argv[i];
		c = w->n == 1 ? command_find(argv[i]) : NULL;
		if (c != NULL && c->verbatim) {
			w->end = i + 1;
			return;
		}
	}
}

static enum ksm_err
command_unknown(const struct words *w, struct ksm_fail *fail)
{
	char two[2 * WORD_MAX + 2], members[256] = "";
	const char *nearest = NULL;
	size_t len = strlen(w->word[0]), used;

	(void)snprintf(two, sizeof(two), "%.64s%s%.64s", w->word[0],
	    w->n > 1 ? " " : "", w->n > 1 ? w->word[1] : "");
	nearest = command_near(two);
	if (nearest == NULL)
		nearest = command_near(w->word[0]);
	for (size_t i = 0; i < nitems(commands); i++) {
		if (strncmp(commands[i].name, w->word[0], len) != 0 ||
		    commands[i].name[len] != ' ')
			continue;
		used = strlen(members);
		(void)snprintf(members + used, sizeof(members) - used, "%s'%s'",
		    used > 0 ? " or " : "", commands[i].name);
	}
	if (members[0] != '\0' && w->n == 1)
		return ksm_failf(fail, KSM_EREFUSED,
		    "'%s' is not complete; try %s", w->word[0], members);
	/* Of "key lst" both words are the command, of "stauts x" only one. */
	if (members[0] == '\0' &&
	    (nearest == NULL || strchr(nearest, ' ') == NULL))
		(void)snprintf(two, sizeof(two), "%.64s", w->word[0]);
	if (nearest != NULL)
		return ksm_failf(fail, KSM_EREFUSED,
		    "unknown command '%s'; did you mean '%s'?", two, nearest);
	return ksm_failf(fail, KSM_EREFUSED,
	    "unknown command '%s'; 'ksmctl help' lists them", two);
}

/* The command that the first one or two words name; `used` says which. */
static const struct ctl_command *
command_of(const struct words *w, size_t from, size_t *used)
{
	char two[2 * WORD_MAX + 2];
	const struct ctl_command *c;

	*used = 0;
	if (w->n <= from)
		return NULL;
	if (w->n > from + 1) {
		(void)snprintf(two, sizeof(two), "%.64s %.64s", w->word[from],
		    w->word[from + 1]);
		c = command_find(two);
		if (c != NULL) {
			*used = 2;
			return c;
		}
	}
	c = command_find(w->word[from]);
	*used = c != NULL;
	return c;
}

static enum ksm_err
help_parse(struct ctl_call *call, const struct words *w, struct ksm_fail *fail)
{
	struct words rest = { .n = 0 };
	size_t used;

	call->help = true;
	if (w->n == 1)
		return KSM_OK;
	call->about = command_of(w, 1, &used);
	if (call->about != NULL)
		return KSM_OK;
	for (size_t i = 1; i < w->n; i++)
		rest.word[rest.n++] = w->word[i];
	return command_unknown(&rest, fail);
}

/* Second pass: every option to its place. */
static enum ksm_err
options_parse(
    struct ctl_call *call, int end, char *const argv[], struct ksm_fail *fail)
{
	const struct ctl_command *c = call->command;
	const struct ctl_option *o;
	struct option_word ow;
	enum ksm_err err;
	bool global;

	for (int i = 1; i < end; i++) {
		if (strcmp(argv[i], "--") == 0)
			break;
		if (argv[i][0] != '-' || argv[i][1] == '\0')
			continue;
		if (!option_read(argv[i], &ow))
			return option_unknown(c, argv[i], "", fail);
		o = option_in(globals, nitems(globals), ow.name);
		global = o != NULL;
		if (o == NULL && c != NULL)
			o = option_in(c->options, c->noptions, ow.name);
		if (o == NULL)
			return option_unknown(c, argv[i], ow.name, fail);
		if (o->value == NULL && ow.value != NULL)
			return ksm_failf(fail, KSM_EREFUSED,
			    "option '--%s' takes no value", o->name);
		if (o->value != NULL && ow.value == NULL) {
			if (i + 1 >= end)
				return ksm_failf(fail, KSM_EREFUSED,
				    "option '--%s' needs a value: %s", o->name,
				    o->value);
			ow.value = argv[++i];
		}
		err = global ? global_put(call, o, ow.value, fail)
			     : value_put(call, o, ow.value, fail);
		if (err != KSM_OK)
			return err;
	}
	return KSM_OK;
}

static enum ksm_err
operand_parse(struct ctl_call *call, const struct words *w, size_t used,
    struct ksm_fail *fail)
{
	const struct ctl_command *c = call->command;

	if (c->operand == NULL && w->total > used)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s: '%.64s' is one word too many", c->name, w->word[used]);
	if (c->operand == NULL)
		return KSM_OK;
	if (w->total == used)
		return ksm_failf(fail, KSM_EREFUSED, "%s: %s is missing (%s)",
		    c->name, c->operand->name, c->operand->help);
	if (w->total > used + 1)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s: '%.64s' is one word too many", c->name,
		    w->n > used + 1 ? w->word[used + 1] : "...");
	return value_put(call, c->operand, w->word[used], fail);
}

/* Before anything can be wrong: in which form shall errors be said? */
static bool
json_wanted(int end, char *const argv[])
{
	for (int i = 1; i < end && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

enum ksm_err
call_parse(
    struct ctl_call *call, int argc, char *const argv[], struct ksm_fail *fail)
{
	struct words w;
	enum ksm_err err;
	size_t used = 0;

	*call = (struct ctl_call){ .timeout = -1 };
	call->args = json_object();
	call->socket = getenv("KSMPOOL_SOCKET");
	if (call->socket == NULL || call->socket[0] == '\0')
		call->socket = KSM_RUNDIR "/control.sock";
	words_read(&w, argc, argv);
	call->json = json_wanted(w.end, argv);
	if (w.n > 0 && strcmp(w.word[0], "help") == 0)
		return help_parse(call, &w, fail);
	call->command = command_of(&w, 0, &used);
	if (call->command == NULL && w.n > 0)
		return command_unknown(&w, fail);
	err = options_parse(call, w.end, argv, fail);
	if (err != KSM_OK)
		return err;
	if (call->help)
		call->about = call->command;
	if (call->help || call->version || call->command == NULL)
		return KSM_OK;
	if (call->command->verbatim) {
		call->rest = argv + w.end;
		return KSM_OK;
	}
	return operand_parse(call, &w, used, fail);
}

void
call_clear(struct ctl_call *call)
{
	json_decref(call->args);
	call->args = NULL;
}

/* ---- help ------------------------------------------------------------ */

static void
options_print(FILE *out, const struct ctl_option *list, size_t n)
{
	char left[WORD_MAX];

	for (size_t i = 0; i < n; i++) {
		(void)snprintf(left, sizeof(left), "--%s%s%s", list[i].name,
		    list[i].value != NULL ? " " : "",
		    list[i].value != NULL ? list[i].value : "");
		(void)fprintf(out, "  %-22s %s\n", left, list[i].help);
	}
}

void
help_print(FILE *out)
{
	(void)fprintf(out,
	    "usage: ksmctl [OPTIONS] COMMAND [OPTIONS]\n"
	    "Look at and steer ksmpoold, which keeps pools of DNSSEC keys "
	    "filled.\n\ncommands:\n");
	for (size_t i = 0; i < nitems(commands); i++)
		(void)fprintf(
		    out, "  %-22s %s\n", commands[i].name, commands[i].summary);
	(void)fprintf(out, "  %-22s %s\n", "help [COMMAND]",
	    "this text, or that of a command");
	(void)fprintf(out, "\noptions, before or after the command:\n");
	options_print(out, globals, nitems(globals));
	(void)fprintf(out, "\n'ksmctl COMMAND --help' says more; "
			   "see ksmctl(1)\n");
}

void
help_print_command(FILE *out, const struct ctl_command *c)
{
	(void)fprintf(out, "usage: ksmctl %s%s%s%s\n%s\n", c->name,
	    c->operand != NULL ? " " : "",
	    c->operand != NULL ? c->operand->name : "",
	    c->noptions > 0 || c->verbatim ? " [OPTIONS]" : "", c->summary);
	if (c->verbatim)
		(void)fprintf(out,
		    "\noptions are those of "
		    "'ksmpool-config check', see ksmpool-config(8)\n");
	if (c->operand != NULL)
		(void)fprintf(
		    out, "\n  %-22s %s\n", c->operand->name, c->operand->help);
	if (c->noptions > 0) {
		(void)fprintf(out, "\noptions:\n");
		options_print(out, c->options, c->noptions);
	}
	(void)fprintf(out, "\nexit status:\n0   all is well\n%s%s",
	    c->exits != NULL ? c->exits : "", c->verbatim ? "" : EXIT_ANY);
	(void)fprintf(out, "\noptions of every command: 'ksmctl help'\n");
}
