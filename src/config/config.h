/*
 * config.h - from files to one struct conf.
 *
 * Runs in: ksmpool-config only.
 * Owns:    what config_load fills belongs to the caller (loaded_clear).
 * Blocks:  on files.
 * Fails:   a bad file is a finding, never a failure; KSM_ENOMEM and KSM_ESYS
 *          mean that nothing can be said.
 */
#ifndef KSMPOOL_CONFIG_CONFIG_H
#define KSMPOOL_CONFIG_CONFIG_H

#include "ksmpool/policy.h"

#include "nametable.h"
#include "xml.h"

#define NAME_MAX_BYTES	 127 /* of a policy or repository */
#define POLICIES_MAX	 10000
#define POLICY_KEYS_MAX	 64
#define REPOSITORIES_MAX 1000
#define POOLS_MAX	 1000
#define ENV_MAX		 16
#define ENV_BYTES_MAX	 8192 /* all names and values of one repository */
#define PIN_BYTES_MAX	 255
#define ATTRIBUTES_MAX	 16
#define ATTRIBUTE_NAME_MAX 39 /* and its value; as long as a worker takes */
#define PATH_BYTES_MAX	 1023 /* as long as a worker takes */

/* ---- repositories ---------------------------------------------------- */

/* Which settings of a repository were written, as bits. */
enum repository_set {
	SET_MODULE = 1 << 0,
	SET_LABEL = 1 << 1,
	SET_SERIAL = 1 << 2,
	SET_URI = 1 << 3,
	SET_PIN = 1 << 4,
	SET_CAPACITY = 1 << 5,
	SET_SESSIONS = 1 << 6,
	SET_DEADLINE = 1 << 7,
	SET_OVERDUE = 1 << 8,
	SET_RATE = 1 << 9,
	SET_RECYCLE = 1 << 10,
	SET_SYNC = 1 << 11,
	SET_RESERVED = 1 << 12,
	SET_ENV = 1 << 13,
	SET_ATTRIBUTES = 1 << 14,
	SET_HOOK = 1 << 15,
};

/*
 * One repository while it is being read. It stays outside the conf, since
 * one of ksmpool.xml may only refine one of conf.xml.
 */
struct draft {
	struct conf_repository r;
	unsigned set;
	int64_t pin_line, sync_line;
	bool merged;
};

struct drafts {
	struct draft *items;
	size_t n;
};

struct draft *
draft_add(struct drafts *d, const char *name, const char *file, int64_t line);
void drafts_clear(struct drafts *d);

/*
 * A PIN as sealed memfd; the text is the caller's to wipe (the reader does).
 * Findings about it never show it.
 */
enum ksm_err pin_seal(struct draft *d, struct xml_file *file,
    const struct xml_node *n, struct ksm_fail *fail);

/*
 * `text` against the directory of the file it was written in; NULL: no
 * memory. `file` may be relative to the working directory.
 */
char *path_resolve(const char *file, const char *text);

/* ---- kasp.xml -------------------------------------------------------- */

/* Policies and keys into file->conf, with default pool settings. */
enum ksm_err kasp_read(
    struct xml_file *file, struct xml_result *result, struct ksm_fail *fail);
enum ksm_err kasp_read_bytes(struct xml_file *file, const void *bytes,
    size_t len, struct xml_result *result, struct ksm_fail *fail);

/* ---- zonelist.xml ---------------------------------------------------- */

struct zone_count {
	char *policy;
	int64_t zones, owners, line; /* line of its first zone */
};

/* What is known of a zone, beside its name on the wire. */
struct zone_row {
	uint32_t policy; /* in counts; ZONE_UNLISTED: of the owner file alone */
	uint32_t line;	 /* in the zone list; with an owner, in its file */
	uint32_t owner;	 /* where it stands in owners.names; 0: none */
};
#define ZONE_UNLISTED UINT32_MAX

struct zonelist {
	int64_t zones;		   /* distinct */
	struct zone_count *counts; /* in order of appearance */
	size_t ncounts;
	struct nametable names; /* each with its zone_row */
};

struct zone_row zone_row_get(const struct zonelist *z, uint32_t at);
void zone_row_set(struct zonelist *z, uint32_t at, const struct zone_row *row);

/*
 * Distinct zones per policy. With `check_policies` a zone on a policy that
 * file->conf does not have is an error.
 */
enum ksm_err zonelist_read(struct xml_file *file, bool check_policies,
    struct zonelist *out, struct xml_result *result, struct ksm_fail *fail);
enum ksm_err zonelist_read_bytes(struct xml_file *file, const void *bytes,
    size_t len, bool check_policies, struct zonelist *out,
    struct xml_result *result, struct ksm_fail *fail);
void zonelist_clear(struct zonelist *z);

/* ---- the owner file --------------------------------------------------- */

#define OWNER_BYTES_MAX 63

struct owners {
	struct nametable names;
	int64_t zones; /* lines that say whose a zone is, each zone once */
};

/*
 * Whose the zones are: into the rows of `zones`, and the owners of each policy
 * into its counts. `listed`: the zone list is as it should be, so zones that
 * it does not have are worth a word. A file with faults leaves the counts as
 * they are.
 */
enum ksm_err owners_read(struct xml_file *file, struct zonelist *zones,
    bool listed, struct owners *out, struct xml_result *result,
    struct ksm_fail *fail);
enum ksm_err owners_read_bytes(struct xml_file *file, const void *bytes,
    size_t len, struct zonelist *zones, bool listed, struct owners *out,
    struct xml_result *result, struct ksm_fail *fail);
void owners_clear(struct owners *o);

/* ---- conf.xml of OpenDNSSEC ------------------------------------------ */

struct opendnssec {
	struct drafts repositories;
	char *kasp, *zonelist; /* resolved; NULL: not named */
	bool manual;	       /* ManualKeyGeneration */
	int64_t pin_line;      /* of the first inline PIN; 0: none */
};

enum ksm_err opendnssec_read(struct xml_file *file, struct opendnssec *out,
    struct xml_result *result, struct ksm_fail *fail);
enum ksm_err
opendnssec_read_bytes(struct xml_file *file, const void *bytes, size_t len,
    struct opendnssec *out, struct xml_result *result, struct ksm_fail *fail);
void opendnssec_clear(struct opendnssec *o);

/* ---- ksmpool.xml ----------------------------------------------------- */

enum pool_set {
	POOL_STRATEGY = 1 << 0,
	POOL_HORIZON = 1 << 1,
	POOL_MINIMUM = 1 << 2,
	POOL_ROLLS = 1 << 3,
	POOL_GROWTH = 1 << 4,
	POOL_LOW_WATER = 1 << 5,
	POOL_MAX_PER_RUN = 1 << 6,
	POOL_FIXED = 1 << 7,
	POOL_SCOPE = 1 << 8,
	POOL_SHORTAGE = 1 << 9,
};

/* <Default> (neither policy nor role) or <Pool>. */
struct pool_rule {
	char *policy; /* NULL: all */
	bool has_role;
	enum key_role role;
	bool is_default;
	unsigned set;
	struct conf_pool values;
	int64_t line;
};

struct ksmpool {
	struct drafts repositories;
	char *kasp, *zonelist, *opendnssec; /* resolved; NULL: not named */
	struct pool_rule *pools;
	size_t npools;
	int64_t pin_line;
	/* 0: not written; owner_line: the first Scope of owners */
	int64_t user_line, group_line, readers_line, owner_line, journal_line;
};

/* Paths, user and log level go into file->conf. */
enum ksm_err ksmpool_read(struct xml_file *file, struct ksmpool *out,
    struct xml_result *result, struct ksm_fail *fail);
enum ksm_err
ksmpool_read_bytes(struct xml_file *file, const void *bytes, size_t len,
    struct ksmpool *out, struct xml_result *result, struct ksm_fail *fail);
void ksmpool_clear(struct ksmpool *k);

/*
 * Settings of each policy key: those of <Default>, then the pools of its
 * role, of its policy, of both. `manual`: where nothing sets a strategy it
 * is manual. With `check_policies` a pool of an unknown policy is an error.
 */
void pools_resolve(const struct ksmpool *k, bool manual, bool check_policies,
    struct xml_file *file);

/* ---- all of them ----------------------------------------------------- */

struct inputs { /* paths as the operator gave them; NULL: not given */
	const char *config, *kasp, *zonelist, *opendnssec;
	bool own;   /* only what `config` itself says, of no file it names */
	bool index; /* conf.zones_fd is wanted */
};

struct loaded {
	struct conf conf;
	struct zonelist zonelist;
	struct owners owners;
};

/*
 * Read everything that is named, put it together and check it. Without
 * in->config only the files given are looked at, and what that leaves
 * unchecked is said in notices.
 */
enum ksm_err
config_load(const struct inputs *in, struct loaded *out, struct ksm_fail *fail);
void loaded_clear(struct loaded *l);

/* Host checks and what is missing, after merging. `here`: it is this host. */
void repositories_check(struct conf *c, bool here);
/* What `own`, ksmpool.xml, names and this host lacks; before merging. */
void host_check(struct xml_file *own, const struct ksmpool *k);

/* ---- what main does with it ------------------------------------------ */

/* The whole as packets on descriptor `sock`. */
enum ksm_err config_send(const struct conf *c, int sock, struct ksm_fail *fail);

struct check_options {
	bool strict, json;
};
/*
 * What takes the place of the report with --json: {"version":1,"error":{...}}
 * or another document of one member.
 */
void config_say_error(const char *code, const char *text, const char *hint);
void config_say(const char *name, const char *text);
/* Report on standard output; *status is the exit status. */
enum ksm_err config_report(const struct loaded *l,
    const struct check_options *options, int *status, struct ksm_fail *fail);

#endif
