#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "command_parts.h"
#include "consumer.h"

#define OPTION_OF_ZONE \
	{ "zone", "ZONE", OPTION_ZONE, "zone", "the zone" }

static const struct ctl_option take_options[] = {
	{ "zone", "ZONE", OPTION_ZONE, "zone", "the zone it is for" },
	{ "role", "ROLE", OPTION_ROLE, "role", "KSK, ZSK or CSK" },
	{ "policy", "NAME", OPTION_NAME, "policy",
	    "otherwise that of the zone" },
	{ "algorithm", "NAME", OPTION_ALG, "algorithm",
	    "where the policy has several" },
	{ "repository", "NAME", OPTION_NAME, "repository",
	    "where the policy has several" },
	{ "count", "N", OPTION_SOME, "count", "so many keys (1)" },
	{ "tag-range", "LOW:HIGH", OPTION_TAG_RANGE, "tag_low",
	    "with a key tag of these, revoked too" },
	{ "tag-modulo", "I/N", OPTION_TAG_MODULO, "tag_modulo",
	    "with a key tag that leaves I when divided by N" },
	{ "not-before", "TIME", OPTION_TIME, "not_before",
	    "made at TIME or later" },
	{ "for", "CONSUMER", OPTION_CONSUMER, "for",
	    "print or write what it needs: bind, knot, ...;\n"
	    "                         see ksmpool-consumers(7)" },
	{ "directory", "DIR", OPTION_FILE, NULL,
	    "where files for the consumer go" },
	{ "request", "ID", OPTION_REQUEST, "request",
	    "a name for it: asked again, the same answer" },
	{ "roll", NULL, OPTION_FLAG, "roll",
	    "of a shared key: draw the next one" },
	OPTION_DRY_RUN,
};

static const struct ctl_option key_id = {
	"ID",
	NULL,
	OPTION_ID,
	"id",
	"32 hex digits",
};

static const struct ctl_option mark_used_options[] = {
	OPTION_OF_ZONE,
	OPTION_REASON,
};

static const struct ctl_option handout_list_options[] = {
	{ "zone", "ZONE", OPTION_ZONE, "zone", "to this zone" },
	{ "policy", "NAME", OPTION_NAME, "policy", "of this policy" },
	{ "key", "ID", OPTION_ID, "key", "of this key" },
	{ "request", "ID", OPTION_REQUEST, "request", "asked for under it" },
};

static const struct ctl_option accept_options[] = { OPTION_REASON };

static enum consumer
consumer_of(const struct ctl_call *call)
{
	const char *text =
	    json_string_value(json_object_get(call->args, "for"));
	enum consumer c = CONSUMER_NONE;

	if (text != NULL)
		(void)consumer_find(text, &c);
	return c;
}

static const char *
directory_of(const struct ctl_call *call)
{
	return json_string_value(json_object_get(call->local, "directory"));
}

/*
 * A name for the request, when none was given: whoever loses the answer can
 * ask for it again with what `handout list` shows.
 */
static void
request_name(const struct ctl_call *call)
{
	uint8_t dice[8];
	char hex[2 * sizeof(dice) + 1], name[32];

	if (json_object_get(call->args, "request") != NULL ||
	    json_is_true(json_object_get(call->args, "dry_run")) ||
	    getrandom(dice, sizeof(dice), 0) != (ssize_t)sizeof(dice))
		return;
	hex_format(dice, sizeof(dice), hex);
	(void)snprintf(name, sizeof(name), "ksmctl-%s", hex);
	(void)json_object_set_new(call->args, "request", json_string(name));
}

/* What would fail after the key is handed out fails before. */
static enum ksm_err
take_check(const struct ctl_call *call, struct ksm_fail *fail)
{
	const char *zone =
	    json_string_value(json_object_get(call->args, "zone"));
	enum ksm_err err;

	err = consumer_place_check(consumer_of(call), zone == NULL ? "" : zone,
	    directory_of(call), fail);
	if (err != KSM_OK)
		return err;
	request_name(call);
	return KSM_OK;
}

/* One key: its output into the document. */
static enum ksm_err
key_write(const struct ctl_call *call, json_t *key, struct ksm_fail *fail)
{
	struct consumer_where where = { .directory = directory_of(call) };
	struct consumer_key *k = calloc(1, sizeof(*k));
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	enum ksm_err err;

	if (k == NULL || out == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "out of memory");
		goto out;
	}
	err = consumer_key_read(key, k, fail);
	if (err == KSM_OK)
		err = consumer_write(consumer_of(call), k, &where, out, fail);
out:
	if (out != NULL && fclose(out) != 0 && err == KSM_OK)
		err = ksm_failf(fail, KSM_ENOMEM, "out of memory");
	if (err == KSM_OK)
		(void)json_object_set_new(key, "output", json_string(text));
	free(text);
	free(k);
	return err;
}

/* One key that is not as it should be. */
static void
key_tell(FILE *err, const json_t *key, const char *what, const char *why,
    const char *then)
{
	(void)fprintf(err, "ksmctl: take: key ");
	text_print(err, json_string_value(json_object_get(key, "id")));
	(void)fputs(what, err);
	text_print(err, why);
	(void)fprintf(err, "%s\n", then);
}

/* What became of each on the side of the daemon. */
static void
keys_tell(FILE *err, const json_t *doc)
{
	const json_t *keys = json_object_get(doc, "keys"), *key;
	const char *hook, *error;
	size_t i;

	json_array_foreach(keys, i, key) {
		hook = json_string_value(json_object_get(key, "hook"));
		error = json_string_value(json_object_get(key, "error"));
		if (hook != NULL && strcmp(hook, "done") != 0)
			key_tell(err, key,
			    " is handed out, but its hook failed: ", hook,
			    "; do by hand what it was to do");
		if (error != NULL)
			key_tell(err, key, ": ", error, "");
	}
}

static void
take_finish(const struct ctl_call *call, FILE *err, json_t *doc, int *status)
{
	const char *request =
	    json_string_value(json_object_get(call->args, "request"));
	json_t *keys = json_object_get(doc, "keys"), *key;
	struct ksm_fail fail;
	char again[160];
	size_t i;

	(void)snprintf(again, sizeof(again),
	    " (mend that and ask again with --request %.63s: it is the same "
	    "key)", request == NULL ? "?" : request);
	if (request != NULL)
		(void)json_object_set_new(doc, "request",
		    json_string(request));
	keys_tell(err, doc);
	if (consumer_of(call) == CONSUMER_NONE ||
	    json_is_true(json_object_get(call->args, "dry_run")))
		return;
	json_array_foreach(keys, i, key) {
		if (json_object_get(key, "error") != NULL)
			continue;
		if (key_write(call, key, &fail) == KSM_OK)
			continue;
		(void)json_object_set_new(key, "error",
		    json_string(fail.text));
		key_tell(err, key, " is handed out, but not written: ",
		    fail.text, again);
		*status = CTL_ATTENTION;
	}
}

static const struct ctl_command commands[] = {
	{
	    .name = "take",
	    .summary = "hand a key out: once, proven, and in a backup",
	    OPTIONS(take_options),
	    .needs = { "zone", "role" },
	    .lists = { "keys" },
	    .exits = "1   taken, but it is in no backup, a hook failed or a "
		     "file could\n    not be written\n"
		     "2   none was handed out\n",
	    .slow = true,
	    .print = print_taken,
	    .check = take_check,
	    .finish = take_finish,
	},
	{
	    .name = "key mark-used",
	    .summary = "somebody uses this key already: it is taken",
	    .operand = &key_id,
	    OPTIONS(mark_used_options),
	    .needs = { "zone", "reason" },
	    .lists = { "keys" },
	    .exits = "1   taken, but it is in no backup\n"
		     "2   no such key, or it is neither ready nor surplus\n",
	    .print = print_taken,
	},
	{
	    .name = "handout list",
	    .summary = "who was given which key, oldest first",
	    OPTIONS(handout_list_options),
	    .lists = { "handouts" },
	    .stream = true,
	    .print = print_handout_count,
	    .print_item = print_handout,
	},
	{
	    .name = "handout status",
	    .summary = "the hand-out journal, and whether keys are handed out",
	    .exits = "1   nothing is handed out\n",
	    .print = print_handout_status,
	    .trouble = trouble_handout,
	},
	{
	    .name = "handout accept",
	    .summary = "journal and token were looked at: hand out again",
	    OPTIONS(accept_options),
	    .needs = { "reason" },
	    .exits = "2   it is not locked, or the journal cannot be written\n",
	    .print = print_handout_accepted,
	},
	{
	    .name = "impact",
	    .summary = "what a compromise of this key would touch",
	    .operand = &key_id,
	    .exits = "1   its pool cannot replace it now\n"
		     "2   no such key\n",
	    .print = print_impact,
	    .trouble = trouble_impact,
	},
};

const struct ctl_group group_take = { commands, nitems(commands) };
