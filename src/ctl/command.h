/*
 * command.h - what ksmctl can do, as one table, and the command line read
 *             against it.
 *
 * Runs in: ksmctl.
 *
 * Adding a command is a row in its group_X.c (and one in the daemon's table).
 * The option names of all commands are one space: a name takes a value or not
 * wherever it appears, which lets options stand before the command words, and
 * it means the same (but for --for: a time to pause, whom to take a key for).
 */
#ifndef KSMPOOL_COMMAND_H
#define KSMPOOL_COMMAND_H

#include <stdbool.h>
#include <stdio.h>

#include "ksmpool/msg_ctl.h"

enum option_kind {
	OPTION_FLAG,
	OPTION_TIME,  /* time_parse; seconds on the wire */
	OPTION_COUNT, /* a whole number, 0 or more */
	OPTION_SOME,  /* a whole number, 1 or more */
	OPTION_NAME,
	OPTION_ROLE,
	OPTION_STATE,
	OPTION_ID, /* a key id */
	OPTION_CLEAN,	 /* a key id, or the word "debris" */
	OPTION_CKA_ID,	 /* an id of anybody's */
	OPTION_DURATION, /* duration_parse; seconds on the wire */
	OPTION_ALG,
	OPTION_LEVEL,
	OPTION_SCOPE, /* of keys: zone, owner or policy */
	OPTION_TAG,
	OPTION_TEXT, /* one line */
	OPTION_FILE, /* made absolute */
	OPTION_ZONE,
	OPTION_CONSUMER,
	OPTION_REQUEST,	  /* one word */
	OPTION_TAG_RANGE, /* LOW:HIGH: two fields */
	OPTION_TAG_MODULO, /* I/N: two fields */
};

struct ctl_option {
	const char *name;  /* without "--"; of an operand: "ID" */
	const char *value; /* "TIME"; NULL for a flag or operand */
	enum option_kind kind;
	const char *field; /* in the request's args; NULL: kept in `local` */
	const char *help;
};

struct ctl_call;

struct ctl_command {
	const char *name; /* "key list" */
	const char *summary;
	const struct ctl_option *operand; /* what stands after it, or NULL */
	bool operand_optional;
	bool operand_many;    /* one or more; an array on the wire */
	const char *many; /* an option that may be given again: an array */
	const char *needs[4]; /* options it is wrong without, NULL at the end */
	const struct ctl_option *options;
	size_t noptions;
	const char *lists[4]; /* what its items are, NULL at the end */
	const char *exits;    /* lines for --help */
	bool stream;	      /* lists[0] may be long: shown as it comes */
	bool slow;	      /* it waits for a token: no time limit by default */
	/*
	 * What cannot be undone: asked on a terminal after a dry run showed
	 * what would happen (dry_run: the daemon has one), else --yes.
	 */
	const char *confirm;
	bool dry_run;

	/* A whole answer for people; of a stream: what follows the items. */
	void (*print)(FILE *out, const json_t *doc);
	/* One item of a stream. */
	void (*print_item)(FILE *out, const json_t *item, bool first);
	/*
	 * A line on standard error beside the answer, or nothing; not with
	 * --json, which has it inside, nor beside the line of --quiet.
	 */
	void (*note)(FILE *err, const json_t *doc);
	/* One line that says what is wrong, for --quiet. */
	void (*trouble)(FILE *out, const json_t *doc);
	/* Before asking: KSM_EREFUSED, the command line is wrong. */
	enum ksm_err (*check)(const struct ctl_call *call, struct ksm_fail *fail);
	/*
	 * After a good answer, before it is shown: what is to be done here with
	 * it goes into `doc`. `status` may be made worse, with words on `err`.
	 */
	void (*finish)(const struct ctl_call *call, FILE *err, json_t *doc,
	    int *status);
	/* Instead of asking the daemon. Returns the exit status. */
	int (*local)(const struct ctl_call *call);
	bool own_version; /* the document tells ksmctl's version, too */
	bool verbatim; /* what follows the name is for another program */
};

struct ctl_call {
	const struct ctl_command *command; /* NULL: none was named */
	const struct ctl_command *about;   /* "help status" */
	json_t *args;			   /* owned */
	json_t *local; /* owned: options that are not the daemon's */
	const char *socket; /* borrowed from argv or environment */
	int64_t timeout;    /* seconds, 0: none, -1: the default */
	bool json, quiet, help, version;
	char *const *rest; /* verbatim arguments, NULL at the end */
};

const struct ctl_command *command_find(const char *name);
const struct ctl_command *command_at(size_t i); /* NULL past the last */
/* The nearest name within a few typing errors, or NULL. */
const char *command_near(const char *word);

/*
 * KSM_EREFUSED: the command line is wrong, with words that say how it would
 * be right. call->json is set all the same, so that the caller can say it in
 * the form that was asked for. call_clear in every case.
 */
enum ksm_err call_parse(
    struct ctl_call *call, int argc, char *const argv[], struct ksm_fail *fail);
void call_clear(struct ctl_call *call);

void help_print(FILE *out);
void help_print_command(FILE *out, const struct ctl_command *c);

/* Typing errors between two words: changed, missing, surplus, swapped. */
size_t word_distance(const char *a, const char *b);

#endif
