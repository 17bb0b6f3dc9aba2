#include "commands_parts.h"

#include <stdio.h>
#include <string.h>

#include "ksmpool/consumer.h"
#include "ksmpool/dnsname.h"
#include "ksmpool/log.h"

#define IDS_BYTES 64 /* of a CKA_ID that is not ours */

static const struct command_group *const groups[] = {
	&commands_status,
	&commands_plan,
	&commands_key,
	&commands_topup,
	&commands_repository,
	&commands_errand,
	&commands_record,
	&commands_backup,
	&commands_take,
	&commands_daemon,
	&commands_metrics,
};

static void
name_append(char *list, size_t size, const char *name)
{
	size_t used = strlen(list);

	(void)snprintf(list + used, size - used, "%s%s",
	    used > 0 ? ", " : "", name);
}

static bool
is_sentence(const char *text)
{
	if (text == NULL || text[0] == '\0' || strlen(text) > 255)
		return false;
	for (const char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return false;
	return true;
}

static bool
is_word(const char *text)
{
	size_t len = text == NULL ? 0 : strlen(text);

	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return len > 0 && len < 64;
}

static bool
is_number(const json_t *value, int64_t least, int64_t most)
{
	return json_is_integer(value) && json_integer_value(value) >= least &&
	    json_integer_value(value) <= most;
}

static bool
is_level(const char *text)
{
	enum log_level level;

	return text != NULL && log_level_find(text, &level);
}

static bool
is_cka_id(const char *text)
{
	size_t len = text != NULL ? strlen(text) : 0;

	return len > 0 && len % 2 == 0 && len <= 2 * IDS_BYTES &&
	    strspn(text, "0123456789abcdefABCDEF") == len;
}

static bool
is_key_id(const char *text)
{
	struct key_id id;

	return text != NULL && key_id_parse(text, &id);
}

static bool
are_key_ids(const json_t *value)
{
	size_t n = json_array_size(value);

	if (n == 0 || n > IDS_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_key_id(json_string_value(json_array_get(value, i))))
			return false;
	return true;
}

/* NULL when the value is right; otherwise what was expected. */
static const char *
arg_expected(enum arg_type type, const json_t *value)
{
	enum key_state state;
	enum key_scope scope;
	enum consumer consumer;
	enum key_role role;
	const char *text = json_string_value(value);

	switch (type) {
	case ARG_BOOL:
		return json_is_boolean(value) ? NULL : "true or false";
	case ARG_COUNT:
		return is_number(value, 0, INT64_MAX)
		    ? NULL : "a whole number, 0 or more";
	case ARG_SOME:
		return is_number(value, 1, INT64_MAX)
		    ? NULL : "a whole number, 1 or more";
	case ARG_TIME:
		return json_is_integer(value) ? NULL : "seconds since 1970";
	case ARG_DURATION:
		return is_number(value, 1, INT64_MAX)
		    ? NULL : "a number of seconds, 1 or more";
	case ARG_NAME:
		return text != NULL && text[0] != '\0' && strlen(text) < 256
		    ? NULL : "a name of 1 to 255 bytes";
	case ARG_TEXT:
		return is_sentence(text)
		    ? NULL : "a text of 1 to 255 bytes on one line";
	case ARG_FILE:
		return text != NULL && text[0] == '/' && strlen(text) < 4096
		    ? NULL : "an absolute path";
	case ARG_ROLE:
		return text != NULL && key_role_find(text, &role)
		    ? NULL : "KSK, ZSK or CSK";
	case ARG_STATE:
		return text != NULL && key_state_find(text, &state)
		    ? NULL : "a state of a key, see ksmctl(1)";
	case ARG_ALG:
		return text != NULL && alg_parse(text) != NULL
		    ? NULL : "an algorithm, RSASHA256 or 8 for example";
	case ARG_LEVEL:
		return is_level(text)
		    ? NULL : "error, warning, notice, info or debug";
	case ARG_SCOPE:
		return text != NULL && key_scope_find(text, &scope)
		    ? NULL : "zone, owner or policy";
	case ARG_TAG:
		return is_number(value, 0, 65535)
		    ? NULL : "a key tag, 0 to 65535";
	case ARG_ID:
		return is_key_id(text) ? NULL : "32 hex digits";
	case ARG_IDS:
		return are_key_ids(value)
		    ? NULL : "1 to 1000 ids of 32 hex digits each";
	case ARG_ZONE:
		return text != NULL && text[0] != '\0' &&
			strlen(text) < DNSNAME_TEXT
		    ? NULL : "the name of a zone";
	case ARG_CONSUMER:
		return text != NULL && consumer_find(text, &consumer)
		    ? NULL : "a consumer of keys, see ksmctl(1)";
	case ARG_REQUEST:
		return is_word(text)
		    ? NULL : "1 to 63 printable characters without blanks";
	case ARG_CKA_ID:
		return is_cka_id(text) ? NULL : "2 to 128 hex digits";
	}
	return "nothing";
}

static bool
args_check(struct command_call *call)
{
	const struct command *c = call->command;
	const char *name, *expected;
	char known[1024] = "";
	json_t *value;
	size_t i;

	for (i = 0; i < c->nargs; i++)
		name_append(known, sizeof(known), c->args[i].name);
	json_object_foreach(call->args, name, value) {
		for (i = 0; i < c->nargs; i++)
			if (strcmp(c->args[i].name, name) == 0)
				break;
		if (i == c->nargs) {
			command_fail(call, CTL_USAGE, "bad-argument", NULL,
			    "unknown argument \"%.64s\"; known: %s", name,
			    known[0] != '\0' ? known : "none");
			return false;
		}
		expected = arg_expected(c->args[i].type, value);
		if (expected != NULL) {
			command_fail(call, CTL_USAGE, "bad-argument", NULL,
			    "argument \"%s\" must be %s", name, expected);
			return false;
		}
	}
	for (i = 0; i < c->nargs; i++) {
		if (!c->args[i].required ||
		    json_object_get(call->args, c->args[i].name) != NULL)
			continue;
		command_fail(call, CTL_USAGE, "bad-argument", NULL,
		    "argument \"%s\" is missing", c->args[i].name);
		return false;
	}
	return true;
}

static const struct command *
command_find(const char *name, char *known, size_t size)
{
	const struct command *found = NULL;

	for (size_t g = 0; g < nitems(groups); g++)
		for (size_t i = 0; i < groups[g]->n; i++) {
			const struct command *c = &groups[g]->commands[i];

			name_append(known, size, c->name);
			if (strcmp(c->name, name) == 0)
				found = c;
		}
	return found;
}

bool
command_waits(const struct ctl_request *r)
{
	char known[1200] = "";
	const struct command *c = command_find(r->command, known, sizeof(known));
	bool may_choose = false;

	if (c == NULL)
		return false;
	for (size_t i = 0; i < c->nargs; i++)
		may_choose = may_choose || strcmp(c->args[i].name, "wait") == 0;
	/* A dry run of an errand looks through the token as the real one does. */
	if (may_choose &&
	    (!json_is_true(json_object_get(r->args, "wait")) ||
		json_is_true(json_object_get(r->args, "dry_run"))))
		return false;
	return c->poll != NULL || (c->more == NULL && c->end != NULL);
}

void
command_start(struct command_call *call, struct ctl_request *r)
{
	char known[1200] = "", hint[128] = "become root";

	call->args = r->args;
	r->args = NULL;
	call->command = command_find(r->command, known, sizeof(known));
	if (call->command == NULL) {
		command_fail(call, CTL_FAILED, "unknown-command", NULL,
		    "unknown command \"%s\"; known: %s", r->command, known);
		return;
	}
	if (command_changes(call) && !call->may_act) {
		if (call->actors != NULL)
			(void)snprintf(hint, sizeof(hint),
			    "become root or a member of group '%.64s'",
			    call->actors);
		command_fail(call, CTL_DENIED, "denied", hint,
		    "uid %lld may look, but not %s", (long long)call->uid,
		    call->command->name);
		return;
	}
	if (args_check(call))
		call->command->start(call);
}

bool
command_streams(const struct command_call *call)
{
	return !call->done && call->command != NULL &&
	    call->command->more != NULL &&
	    (call->command->poll == NULL || call->streams);
}

void
command_more(struct command_call *call)
{
	if (command_streams(call))
		call->command->more(call);
}

void
command_poll(struct command_call *call)
{
	if (!call->done && call->command != NULL &&
	    call->command->poll != NULL)
		call->command->poll(call);
}

void
command_end(struct command_call *call)
{
	if (call->command != NULL && call->command->end != NULL)
		call->command->end(call);
	call->command = NULL;
	call->done = true;
	json_decref(call->args);
	call->args = NULL;
}

bool
command_changes(const struct command_call *call)
{
	if (call->command == NULL)
		return false;
	switch (call->command->right) {
	case RIGHT_LOOK:
		return false;
	case RIGHT_SET:
		return json_object_size(call->args) > 0;
	case RIGHT_ACT:
		break;
	}
	return !arg_bool(call, "dry_run");
}
