#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "ksmpool/alg.h"
#include "ksmpool/consumer.h"
#include "ksmpool/dnsname.h"
#include "ksmpool/duration.h"
#include "ksmpool/key.h"
#include "ksmpool/log.h"
#include "ksmpool/policy.h"

#include "command_parts.h"

#define WORD_MAX     64
#define OPERANDS_MAX 1000

static const struct ctl_group *const groups[] = {
	&group_status,
	&group_key,
	&group_take,
	&group_topup,
	&group_inventory,
	&group_backup,
	&group_record,
	&group_repository,
	&group_daemon,
	&group_monitor,
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
	for (size_t g = 0; g < nitems(groups); g++) {
		if (i < groups[g]->n)
			return &groups[g]->commands[i];
		i -= groups[g]->n;
	}
	return NULL;
}

const struct ctl_command *
command_find(const char *name)
{
	const struct ctl_command *c;

	for (size_t i = 0; (c = command_at(i)) != NULL; i++)
		if (strcmp(c->name, name) == 0)
			return c;
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
	const struct ctl_command *c;
	const char *nearest = NULL;
	size_t distance = WORD_MAX;

	for (size_t i = 0; (c = command_at(i)) != NULL; i++)
		near_try(word, c->name, &nearest, &distance);
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
	const struct ctl_command *c;

	for (size_t i = 0; o == NULL && (c = command_at(i)) != NULL; i++)
		o = option_in(c->options, c->noptions, name);
	return o;
}

static enum ksm_err
option_unknown(const struct ctl_command *c, const char *word, const char *name,
    struct ksm_fail *fail)
{
	const char *nearest = NULL;
	size_t distance = WORD_MAX;

	for (size_t i = 0; c != NULL && i < c->noptions; i++)
		near_try(name, c->options[i].name, &nearest, &distance);
	/* One of another command's: said so, unless it is a slip of the hand. */
	if (c != NULL && option_anywhere(name) != NULL &&
	    (nearest == NULL || distance > 1))
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s: has no option '--%s'; 'ksmctl %s --help' lists them",
		    c->name, name, c->name);
	for (size_t i = 0; i < nitems(globals); i++)
		near_try(name, globals[i].name, &nearest, &distance);
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

static bool
sentence(const char *value)
{
	size_t len = strlen(value);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)value[i] < ' ' || value[i] == 0x7f)
			return false;
	return len > 0 && len < 256;
}

static bool
cka_id(const char *value)
{
	size_t len = strlen(value);

	return len > 0 && len % 2 == 0 && len <= 128 &&
	       strspn(value, "0123456789abcdefABCDEF") == len;
}

/* The daemon has another current directory. */
static enum ksm_err
path_put(const char *value, json_t **out, struct ksm_fail *fail)
{
	char here[PATH_MAX], path[2 * PATH_MAX];

	if (value[0] == '\0' || strlen(value) >= PATH_MAX)
		return ksm_failf(fail, KSM_EREFUSED, "it is not a path");
	if (value[0] == '/')
		(void)snprintf(path, sizeof(path), "%s", value);
	else if (getcwd(here, sizeof(here)) == NULL)
		return ksm_failf(fail, KSM_EREFUSED,
		    "the current directory: %s; name an absolute path",
		    strerror(errno));
	else
		(void)snprintf(path, sizeof(path), "%s/%s", here, value);
	if (strlen(path) >= PATH_MAX)
		return ksm_failf(fail, KSM_EREFUSED, "the path is too long");
	*out = json_string(path);
	return *out != NULL
		   ? KSM_OK
		   : ksm_failf(fail, KSM_EREFUSED, "the path is not UTF-8");
}

static enum ksm_err
many_put(struct ctl_call *call, const struct ctl_option *o, json_t *json)
{
	json_t *array = json_object_get(call->args, o->field);

	if (array == NULL) {
		array = json_array();
		(void)json_object_set_new(call->args, o->field, array);
	}
	(void)json_array_append_new(array, json);
	return KSM_OK;
}

/* Ids, or all the debris there is: one of the two. */
static enum ksm_err
clean_put(struct ctl_call *call, const struct ctl_option *o, const char *value,
    struct ksm_fail *fail)
{
	bool debris = strcmp(value, "debris") == 0;
	struct key_id id;

	if (json_object_get(call->args, debris ? o->field : "debris") != NULL)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s: either ids or the word debris, not both",
		    call->command->name);
	if (debris) {
		(void)json_object_set_new(call->args, "debris", json_true());
		return KSM_OK;
	}
	if (!key_id_parse(value, &id))
		return ksm_failf(fail, KSM_EREFUSED,
		    "'%.64s' is neither a key id (32 hex digits) nor the word "
		    "debris",
		    value);
	return many_put(call, o, json_string(value));
}

/* LOW:HIGH as tag_low and tag_high, I/N as tag_rest and tag_modulo. */
static enum ksm_err
tags_put(struct ctl_call *call, const struct ctl_option *o, const char *value,
    struct ksm_fail *fail)
{
	bool range = o->kind == OPTION_TAG_RANGE;
	char *end = NULL;
	long first = -1, second = -1;

	if (value[0] >= '0' && value[0] <= '9') {
		errno = 0;
		first = strtol(value, &end, 10);
		if (errno == 0 && *end == (range ? ':' : '/') &&
		    end[1] >= '0' && end[1] <= '9')
			second = strtol(end + 1, &end, 10);
	}
	if (end == NULL || *end != '\0' || errno != 0 || first < 0 ||
	    second < 0 || second > 65535 ||
	    (range ? first > second : first >= second))
		return ksm_failf(fail, KSM_EREFUSED,
		    range ? "--%s: '%.64s' is not LOW:HIGH, two key tags such "
			    "as 0:32767"
			  : "--%s: '%.64s' is not I/N with I below N, such as "
			    "0/2",
		    o->name, value);
	(void)json_object_set_new(call->args, range ? "tag_low" : "tag_rest",
	    json_integer(first));
	(void)json_object_set_new(call->args, range ? "tag_high" : "tag_modulo",
	    json_integer(second));
	return KSM_OK;
}

static enum ksm_err
consumer_check(const char *value, struct ksm_fail *fail)
{
	char known[256] = "";
	enum consumer c;

	if (consumer_find(value, &c))
		return KSM_OK;
	for (int i = CONSUMER_NONE + 1; i < CONSUMER__COUNT; i++) {
		size_t used = strlen(known);

		(void)snprintf(known + used, sizeof(known) - used, "%s%s",
		    used == 0 ? "" : ", ", consumer_text((enum consumer)i));
	}
	return ksm_failf(fail, KSM_EREFUSED, "'%.64s' is none of %s", value,
	    known);
}

/*
 * The DNS knows no UTF-8: who types a name with an umlaut means its A-label,
 * and would get a key for a zone that nobody has.
 */
static enum ksm_err
zone_ascii(const char *value, struct ksm_fail *fail)
{
	for (const char *p = value; *p != '\0'; p++)
		if ((uint8_t)*p >= 0x80)
			return ksm_failf(fail, KSM_EREFUSED,
			    "'%.300s' has bytes that are not ASCII: write "
			    "the A-label (xn--...), or such an octet as \\DDD",
			    value);
	return KSM_OK;
}

/* A value of an option or operand into the request. */
static enum ksm_err
value_put(struct ctl_call *call, const struct ctl_option *o, const char *value,
    struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	enum key_scope scope;
	enum log_level level;
	struct key_id id;
	uint8_t wire[DNSNAME_WIRE];
	json_t *json = NULL;
	int64_t n = 0;
	size_t len;

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
	case OPTION_DURATION:
		err = duration_parse(value, DURATION_POSITIVE, &n, NULL, fail);
		if (err == KSM_OK && n == 0)
			err = ksm_failf(fail, KSM_EREFUSED,
			    "'%.64s' is no time at all", value);
		json = json_integer(n);
		break;
	case OPTION_TAG:
		err = count_parse(value, 0, &n, fail);
		if (err == KSM_OK && n > 65535)
			err = ksm_failf(fail, KSM_EREFUSED,
			    "'%.64s' is not a key tag (0 to 65535)", value);
		json = json_integer(n);
		break;
	case OPTION_ALG:
		if (alg_parse(value) == NULL)
			err = ksm_failf(fail, KSM_EREFUSED,
			    "'%.64s' is not an algorithm keys are made for; "
			    "RSASHA256 or 8 is one, ECDSAP256SHA256 or 13",
			    value);
		break;
	case OPTION_LEVEL:
		if (!log_level_find(value, &level))
			err = ksm_failf(fail, KSM_EREFUSED,
			    "'%.64s' is not error, warning, notice, info or "
			    "debug",
			    value);
		break;
	case OPTION_SCOPE:
		if (!key_scope_find(value, &scope))
			err = ksm_failf(fail, KSM_EREFUSED,
			    "'%.64s' is not zone, owner or policy", value);
		break;
	case OPTION_TEXT:
		if (!sentence(value))
			err = ksm_failf(fail, KSM_EREFUSED,
			    "it must be one line of 1 to 255 bytes");
		break;
	case OPTION_FILE:
		err = path_put(value, &json, fail);
		break;
	case OPTION_CKA_ID:
		if (!cka_id(value))
			err = ksm_failf(fail, KSM_EREFUSED,
			    "'%.64s' is not a CKA_ID (2 to 128 hex digits)",
			    value);
		break;
	case OPTION_ID:
		if (!key_id_parse(value, &id))
			err = ksm_failf(fail, KSM_EREFUSED,
			    "'%.64s' is not a key id (32 hex digits)", value);
		break;
	case OPTION_TAG_RANGE:
	case OPTION_TAG_MODULO:
		return tags_put(call, o, value, fail);
	case OPTION_ZONE:
		err = zone_ascii(value, fail);
		if (err == KSM_OK)
			err = dnsname_parse(value, wire, &len, fail);
		break;
	case OPTION_CONSUMER:
		err = consumer_check(value, fail);
		break;
	case OPTION_REQUEST:
		for (len = 0; value[len] > ' ' && value[len] <= '~'; len++)
			;
		if (len == 0 || len > 63 || value[len] != '\0')
			err = ksm_failf(fail, KSM_EREFUSED,
			    "'%.64s' is not 1 to 63 printable characters "
			    "without blanks", value);
		break;
	case OPTION_CLEAN:
		return clean_put(call, o, value, fail);
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
	if ((o == call->command->operand && call->command->operand_many) ||
	    (call->command->many != NULL &&
		strcmp(call->command->many, o->name) == 0))
		return many_put(call, o, json);
	if (o->field == NULL)
		(void)json_object_set_new(call->local, o->name, json);
	else
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
	const char *word[2 + OPERANDS_MAX];
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
	const struct ctl_command *c;
	const char *nearest = NULL;
	size_t len = strlen(w->word[0]), used;

	(void)snprintf(two, sizeof(two), "%.64s%s%.64s", w->word[0],
	    w->n > 1 ? " " : "", w->n > 1 ? w->word[1] : "");
	nearest = command_near(two);
	if (nearest == NULL)
		nearest = command_near(w->word[0]);
	for (size_t i = 0; (c = command_at(i)) != NULL; i++) {
		if (strncmp(c->name, w->word[0], len) != 0 ||
		    c->name[len] != ' ')
			continue;
		used = strlen(members);
		(void)snprintf(members + used, sizeof(members) - used, "%s'%s'",
		    used > 0 ? " or " : "", c->name);
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
	static struct words rest;
	size_t used;

	rest.n = 0;
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
	size_t most = c->operand == NULL ? 0 : c->operand_many ? OPERANDS_MAX
							       : 1;
	char two[2 * WORD_MAX + 2];
	const char *nearest;
	enum ksm_err err = KSM_OK;

	if (w->total > used + most && most == OPERANDS_MAX)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s: more than %d words at once", c->name, OPERANDS_MAX);
	if (w->total > used + most && used == 1 && w->n > 1) {
		(void)snprintf(two, sizeof(two), "%.64s %.64s", w->word[0],
		    w->word[1]);
		nearest = command_near(two);
		if (nearest != NULL && strchr(nearest, ' ') != NULL)
			return ksm_failf(fail, KSM_EREFUSED,
			    "unknown command '%s'; did you mean '%s'?", two,
			    nearest);
	}
	if (w->total > used + most)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s: '%.64s' is one word too many", c->name,
		    w->n > used + most ? w->word[used + most] : "...");
	if (w->total == used && c->operand != NULL && !c->operand_optional)
		return ksm_failf(fail, KSM_EREFUSED, "%s: %s is missing (%s)",
		    c->name, c->operand->name, c->operand->help);
	for (size_t i = used; err == KSM_OK && i < w->total; i++)
		err = value_put(call, c->operand, w->word[i], fail);
	return err;
}

/* What a command cannot do without. */
static enum ksm_err
options_needed(const struct ctl_call *call, struct ksm_fail *fail)
{
	const struct ctl_command *c = call->command;
	const struct ctl_option *o;

	for (size_t i = 0; i < nitems(c->needs) && c->needs[i] != NULL; i++) {
		o = option_in(c->options, c->noptions, c->needs[i]);
		if (json_object_get(call->args, o->field) == NULL)
			return ksm_failf(fail, KSM_EREFUSED,
			    "%s: --%s %s is missing (%s)", c->name, o->name,
			    o->value, o->help);
	}
	return KSM_OK;
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
	static struct words w;
	enum ksm_err err;
	size_t used = 0;

	*call = (struct ctl_call){ .timeout = -1 };
	call->args = json_object();
	call->local = json_object();
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
	err = operand_parse(call, &w, used, fail);
	return err == KSM_OK ? options_needed(call, fail) : err;
}

void
call_clear(struct ctl_call *call)
{
	json_decref(call->args);
	json_decref(call->local);
	call->args = call->local = NULL;
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
	const struct ctl_command *c;

	(void)fprintf(out,
	    "usage: ksmctl [OPTIONS] COMMAND [OPTIONS]\n"
	    "Look at and steer ksmpoold, which keeps pools of DNSSEC keys "
	    "filled.\n\ncommands:\n");
	for (size_t i = 0; (c = command_at(i)) != NULL; i++)
		(void)fprintf(out, "  %-22s %s\n", c->name, c->summary);
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
	bool may = c->operand != NULL && c->operand_optional;

	(void)fprintf(out, "usage: ksmctl %s%s%s%s%s%s\n%s\n", c->name,
	    c->operand == NULL ? "" : may ? " [" : " ",
	    c->operand != NULL ? c->operand->name : "",
	    c->operand_many ? "..." : "", may ? "]" : "",
	    c->noptions > 0 || c->verbatim ? " [OPTIONS]" : "", c->summary);
	if (c->verbatim && c->noptions == 0)
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
