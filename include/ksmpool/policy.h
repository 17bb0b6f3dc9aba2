/*
 * policy.h - what the operator wrote, as plain data.
 *
 * Runs in: ksmpool-config makes it from XML; ksmpoold receives the same
 *          struct over msg_conf and swaps it in whole or keeps the old one.
 * Owns:    every string and array in it; conf_free releases all.
 * Units:   durations in seconds, counts in key pairs.
 */
#ifndef KSMPOOL_POLICY_H
#define KSMPOOL_POLICY_H

#include <stdbool.h>

#include "ksmpool/key.h"

enum conf_file { /* where a fault was found */
	CONF_KSMPOOL,
	CONF_OPENDNSSEC, /* conf.xml */
	CONF_KASP,
	CONF_ZONELIST,
	CONF_OWNERS, /* the owner file */
	CONF__FILES
};

enum conf_severity { CONF_NOTICE, CONF_WARNING, CONF_ERROR };

/* One fault: "FILE:LINE: severity: what; value; expected". */
struct conf_finding {
	enum conf_severity severity;
	enum conf_file in;
	char *file;	/* path as opened */
	int64_t line;	/* 0: the file as a whole */
	char *what;	/* a sentence without the value */
	char *value;	/* NULL: there is none, or it is a secret */
	char *expected; /* NULL: nothing to add */
};

enum pin_kind { PIN_NONE, PIN_FILE, PIN_CREDENTIAL, PIN_INLINE };
enum overdue_act { OVERDUE_WAIT, OVERDUE_KILL };

struct conf_env {
	char *name, *value;
};

/* One change to the template of generated halves (msg_hsm.h has the wire). */
struct conf_attribute {
	bool public_half, remove;
	char *name;  /* "CKA_DECRYPT" */
	char *value; /* "true", "false", a number, "0x..."; NULL: remove */
};

struct conf_repository {
	char *name;
	char *module;	    /* absolute path of the PKCS#11 module */
	char *token_label;  /* one of token_label and token_uri is set */
	char *token_serial; /* NULL: any; only beside token_label */
	char *token_uri;    /* "pkcs11:token=...;serial=..." (RFC 7512) */
	char *init_reserved; /* CK_C_INITIALIZE_ARGS.pReserved, or NULL */
	enum pin_kind pin;
	char *pin_path; /* PIN_FILE: path; PIN_CREDENTIAL: its name */
	int pin_fd;	/* PIN_INLINE: a sealed memfd; -1 otherwise */
	int64_t capacity; /* key pairs; -1: no limit */
	bool require_backup;
	bool skip_public_key; /* RSA only; EC halves are always stored */
	bool allow_extraction;
	bool search_first;   /* look for the id before each generation */
	int sessions;	     /* generators, 1..64, default 1 */
	int64_t deadline;    /* seconds for one key, default 120 */
	enum overdue_act on_overdue;
	int64_t kill_after;  /* seconds past the deadline, OVERDUE_KILL */
	int64_t keys_per_minute; /* limit when not urgent; 0: none */
	int64_t recycle_after;	 /* keys per worker process; 0: never */
	char *sync_path;     /* syncfs(2) here before keys become ready */
	char *hook;	     /* program run for each key taken; NULL: none */
	int64_t hook_timeout; /* seconds, default 10 */
	struct conf_env *env;
	size_t nenv;
	struct conf_attribute *attributes; /* at most ATTRIBUTES_MAX */
	size_t nattributes;
	char *file; /* where it was written */
	int64_t line;
	/* ksmpool-config only: settings whose value a finding refuses, bits */
	unsigned faulty;
};

enum strategy {
	STRATEGY_FORMULA,
	STRATEGY_MINIMUM,
	STRATEGY_FIXED,
	STRATEGY_MANUAL,
	STRATEGY_FILL, /* the formula, and all room the Capacity leaves */
	STRATEGY__COUNT
};
const char *strategy_text(enum strategy s);
bool strategy_find(const char *text, enum strategy *out);

/* Which zones of a policy use the same key at the same time. */
enum key_scope {
	SCOPE_KASP,   /* what ShareKeys of kasp.xml says */
	SCOPE_ZONE,   /* each zone has its own */
	SCOPE_OWNER,  /* all zones of the policy with one owner share one */
	SCOPE_POLICY, /* all zones of the policy share one */
	SCOPE__COUNT
};
const char *key_scope_text(enum key_scope s); /* "kasp", "zone" */
/* Of what an operator may write: "zone", "owner" or "policy". */
bool key_scope_find(const char *text, enum key_scope *out);

/*
 * What `take` does when no key of the pool may be handed out: it is empty, or
 * the repository has RequireBackup and no ready key is in a backup.
 */
enum on_shortage {
	SHORTAGE_REFUSE,
	SHORTAGE_WAIT,      /* the request stays open until there is one */
	SHORTAGE_GENERATE,  /* as a topup at once, and wait */
	SHORTAGE_UNCOVERED, /* one in no backup, with a loud record */
	SHORTAGE__COUNT
};
const char *on_shortage_text(enum on_shortage s); /* "refuse" */
bool on_shortage_find(const char *text, enum on_shortage *out);

/* Pool settings, resolved per policy key by ksmpool-config. */
struct conf_pool {
	enum strategy strategy;
	int64_t horizon;	 /* s, default P30D */
	int64_t minimum_horizon; /* s, default P1D */
	int64_t emergency_rolls; /* default 1 */
	int64_t growth;		 /* percent, default 0 */
	int64_t low_water;	 /* percent of required, default 80 */
	int64_t max_per_run;	 /* keys, default 1000 */
	int64_t fixed;		 /* STRATEGY_FIXED: keys */
	enum key_scope scope;
	enum on_shortage on_shortage;
};

struct conf_key {
	enum key_role role;
	int alg;  /* DNSSEC number, supported */
	int bits; /* as alg_bits says */
	int64_t lifetime; /* 0: never rolls by schedule */
	char *repository;
	int64_t standby;
	bool manual_rollover;
	struct conf_pool pool;
	int64_t line;
};

struct conf_policy {
	char *name;
	bool passthrough, share_keys;
	int64_t zones; /* distinct zones on it */
	/*
	 * Distinct owners of these zones; a zone that OwnerFile does not name
	 * is an owner of its own. As zones without OwnerFile.
	 */
	int64_t owners;
	int64_t purge; /* s that a retired key is kept; 0: no such time */
	struct conf_key *keys;
	size_t nkeys;
	int64_t line;
};

enum zonelist_state { /* of the zone list, and of the owner file */
	ZONELIST_OK,
	ZONELIST_EMPTY,	   /* well-formed, no zone or no owner in it */
	ZONELIST_VANISHED, /* cannot be opened */
	ZONELIST_BAD,	   /* truncated or faulty; counts are not to be used */
};

struct conf {
	/* ksmpool.xml */
	char *file; /* absolute path */
	char *state_dir, *database, *socket_path, *socket_group, *user;
	char *socket_readers; /* group that may look, not act; NULL: none */
	int log_level; /* enum log_level */
	char *kasp_file, *zonelist_file, *opendnssec_file; /* NULL: none */
	char *owner_file;      /* zone to owner; NULL: none */
	char *handout_journal; /* absolute path */
	/* Which zone is on which policy (zoneindex.h); -1: not known. */
	int zones_fd;

	struct conf_repository *repositories;
	size_t nrepositories;
	struct conf_policy *policies;
	size_t npolicies;

	enum zonelist_state zonelist;
	enum zonelist_state owners; /* ZONELIST_OK without OwnerFile */
	int64_t zones; /* in all */

	struct conf_finding *findings;
	size_t nfindings;
	int64_t errors, warnings, notices; /* counted, even if not kept */
	/* errors that only say that counts are not to be used */
	int64_t zonelist_errors;
};

void conf_init(struct conf *c);
void conf_clear(struct conf *c); /* closes pin_fd and zones_fd, frees all */

/*
 * Append one of each. They copy the strings; the pointer returned (NULL: no
 * memory) is good until the next append to the same array.
 */
struct conf_repository *conf_repository_add(struct conf *c, const char *name);
struct conf_policy *conf_policy_add(struct conf *c, const char *name);
struct conf_key *conf_key_add(struct conf_policy *p);
enum ksm_err conf_finding_add(struct conf *c, enum conf_severity sev,
    enum conf_file in, const char *file, int64_t line, const char *what,
    const char *value, const char *expected);
void conf_pool_default(struct conf_pool *p);
void conf_repository_clear(struct conf_repository *r);

const struct conf_repository *conf_repository_find(const struct conf *c,
    const char *name);
const struct conf_policy *conf_policy_find(const struct conf *c,
    const char *name);

/*
 * The checks that need no file: they append findings and never stop at the
 * first. Duplicate policies, repositories and policy keys; label clashes;
 * labels over 32 bytes; policies without keys; unknown repositories; pools
 * over Capacity; a refill that can never catch up; a surprising number of
 * keys; shared halves of EC keys with SkipPublicKey; sums that overflow.
 */
enum ksm_err conf_check(struct conf *c, struct ksm_fail *fail);

const char *conf_severity_text(enum conf_severity s); /* "error" */
/* A fault there leaves the counts of zones and owners that were in force. */
bool conf_file_counts(enum conf_file in);

#endif
