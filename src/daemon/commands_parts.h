/*
 * commands_parts.h - what the files of the daemon's commands share.
 *
 * Runs in: ksmpoold, on its loop. Private to commands.c (the table of all of
 *          them, requests checked against it), command_reply.c (replies and
 *          what several commands show) and one command_GROUP.c for each group.
 *
 * A command is a row in its group: what it takes, what right it needs, and
 * what is called when (commands.h).
 */
#ifndef KSMPOOL_COMMANDS_PARTS_H
#define KSMPOOL_COMMANDS_PARTS_H

#include "commands.h"

enum arg_type {
	ARG_BOOL,
	ARG_COUNT,    /* an integer >= 0 */
	ARG_SOME,     /* an integer >= 1 */
	ARG_TIME,     /* seconds UTC */
	ARG_DURATION, /* seconds, >= 1 */
	ARG_NAME,     /* 1 to 255 bytes */
	ARG_TEXT,     /* a sentence: 1 to 255 bytes, no control characters */
	ARG_FILE,     /* an absolute path */
	ARG_ROLE,
	ARG_STATE,
	ARG_ALG, /* DNSSEC name or number */
	ARG_LEVEL,
	ARG_SCOPE, /* of keys: zone, owner or policy */
	ARG_TAG, /* 0 to 65535 */
	ARG_ID,
	ARG_IDS,     /* an array of 1 to IDS_MAX of them */
	ARG_CKA_ID,  /* of anybody: 1 to 64 bytes */
	ARG_ZONE,    /* as its command reads it: dnsname.h */
	ARG_CONSUMER,
	ARG_REQUEST, /* 1 to 63 printable bytes without blanks */
};

#define IDS_MAX 1000

struct command_arg {
	const char *name;
	enum arg_type type;
	bool required;
};

enum command_right {
	RIGHT_LOOK, /* readers may */
	RIGHT_ACT,  /* it may change something; with "dry_run" it only looks */
	RIGHT_SET,  /* acts when it has arguments, without them it looks */
};

struct command {
	const char *name;
	const struct command_arg *args;
	size_t nargs;
	enum command_right right;
	void (*start)(struct command_call *call);
	void (*more)(struct command_call *call);
	/* With `more` beside it: sets call->streams when there are pages. */
	void (*poll)(struct command_call *call);
	void (*end)(struct command_call *call);
};

#define ARGS(a) .args = (a), .nargs = nitems(a)

struct command_group {
	const struct command *commands;
	size_t n;
};

extern const struct command_group commands_status;
extern const struct command_group commands_plan;
extern const struct command_group commands_key;
extern const struct command_group commands_topup;
extern const struct command_group commands_repository;
extern const struct command_group commands_daemon;
extern const struct command_group commands_metrics;
extern const struct command_group commands_errand;
extern const struct command_group commands_record;
extern const struct command_group commands_backup;
extern const struct command_group commands_take;

/* ---- command_reply.c: replies ---------------------------------------- */

void reply_send(struct command_call *call, const struct ctl_reply *r);
void fail_memory(struct command_call *call);
/* Codes are a promise to scripts; words are not. `enoent`: its code. */
void fail_err(struct command_call *call, enum ksm_err err, const char *enoent,
    const struct ksm_fail *fail);
/* Both take `body` over; NULL: out of memory. */
void item_send(struct command_call *call, const char *list, json_t *body);
void result_send(struct command_call *call, int status, json_t *body);

json_t *time_json(ksm_time t);		 /* null for 0 */
json_t *text_or_null(const char *text); /* null for NULL and "" */
json_t *count_or_null(int64_t n, bool known);
json_t *algorithm_json(int number);

const char *arg_text(const struct command_call *call, const char *name);
bool arg_bool(const struct command_call *call, const char *name);
/* `none` when it was not given. */
int64_t arg_integer(const struct command_call *call, const char *name,
    int64_t none);
/* The number of an ARG_ALG; 0: not given. */
int arg_alg(const struct command_call *call, const char *name);
struct store_actor call_actor(const struct command_call *call);

/* ---- command_reply.c: what several commands show --------------------- */

const struct plan_token *token_find(const struct plan *plan,
    const char *repository);
/* What every list of pools says first. */
json_t *pool_json(const struct plan_pool *p);
/*
 * Zones and owners that are counted on, which is not what was read where an
 * older list stays. Of each policy, added: an owner with zones on two is two.
 */
struct list_counts {
	int64_t zones, owners;
};
struct list_counts lists_in_force(const struct conf *conf);
bool lists_are_last_good(const struct conf *conf);
/* The plan and configuration in force; answers the caller if there is none. */
const struct plan *plan_in_force(struct command_call *call,
    const struct conf **conf);
/*
 * "No keys" for a name that was mistyped would be a false all-clear. What was
 * in force once may have keys still. False: the caller was told.
 */
bool names_check(struct command_call *call, const char *policy,
    const char *repository);
/* An `end` for commands whose state is one block. */
void state_free(struct command_call *call);

/* command_repository.c: all as items; false if one needs a look. */
bool repositories_send(struct command_call *call, const struct plan *plan);
/*
 * command_backup_status.c: what the ledger says of one repository, and until
 * when the covered keys of its pools last.
 */
json_t *backup_summary(struct command_call *call, const struct plan *plan,
    const struct conf_repository *r);
/* command_daemon.c: since when and until when; null when it is not. */
json_t *pause_json(const struct engine *e);
/* command_take.c: how hand-outs stand, and whether that needs a look. */
json_t *handouts_json(struct engine *e, bool *trouble);
/*
 * command_take.c: zones that have the key, some of them if there are many, and
 * how many there are.
 */
enum ksm_err handout_zones_json(struct command_call *call,
    const struct key_id *id, json_t **out, int64_t *total,
    struct ksm_fail *fail);
/* command_key.c: what every list of keys says, and all that is on record. */
json_t *key_json(const struct store_key *k);
/*
 * Keys that are being settled and match policy, role and repository: whether
 * they exist is not known, so no list has them.
 */
enum ksm_err unsettled_count(struct command_call *call,
    const struct key_filter *f, int64_t *n, struct ksm_fail *fail);

#endif
