/*
 * replay FILE.scn - the real engine and the real store in an invented world:
 * the clocks, the workers and the tokens are ours.
 *
 * A scenario is lines of words; '#' begins a comment. Durations are 250ms,
 * 90s, 5m, 6h, 30d. Settings come into force with the first `at`, later ones
 * with `at T reload`:
 *
 *   repository NAME [deadline=T] [overdue=wait|kill:T] [sessions=N]
 *       [capacity=N] [pace=KEYS-PER-MINUTE] [recycle=N] [module=TEXT]
 *       [skip-public=yes|no] [extractable=yes|no] [backup=yes|no]
 *   policy NAME [zones=N] [shared]
 *   key POLICY ROLE ALG REPOSITORY [bits=N] [fixed=N] [lifetime=T] [low=N]
 *       [horizon=T] [rolls=N] [standby=N] [max=N]
 *       [strategy=formula|minimum|fixed|manual]
 *   forget repository NAME | forget policy NAME
 *
 * The token behind a repository, changed at once:
 *
 *   token NAME [label=TEXT] [serial=TEXT] [present|absent] [pin=TEXT]
 *       [room=PAIRS] [sessions=N] [takes=T] [leave=T] [refuses=ALG]
 *       [does=work|hang|die|lose] [left=LEFT] [bad=LIE] [keeps-halves=yes|no]
 *   token NAME clear | drop N | drop kN [private|public] | hide N | show |
 *       foreign N | nameless N | double kN | stray N  (ours, without a row) |
 *       other N (keys that another program made) | certificate kN |
 *       crowd N (as other, but only inspectors see them)
 *   pin NAME TEXT            what the PIN source of the repository holds
 *
 * LEFT is what a worker that ends leaves of its key: nothing, whole, public,
 * private, or WHAT+T: WHAT at once and the whole pair after T. LIE is what is
 * wrong with the next answers: no, signature, sensitive, extractable, id,
 * silent, twin (the public key of an earlier one), another (a proof is that of
 * the next key). Keys are k1, k2, ... in the
 * order in which they are asked for.
 *
 *   at T auto | by-hand      workers answer by themselves, or as told
 *   at T WHO REPOSITORY WHAT, where WHO is worker (a generator), verifier,
 *       settler, inspector or destroyer, and WHAT is one of
 *       hello | failed stage=S [name=CKR] [group=G]
 *       generated [bad=LIE] [took=T] | refused group=G [stage=S] [name=CKR]
 *       unknown [left=LEFT] [group=G] | list | prove [bad=LIE] | destroyed |
 *       removed | objects | swept
 *       exit signal=N|status=N [left=LEFT] | stuck | babble
 *   at T topup [policy=NAME] [max=N] [once] [refused]
 *   at T resume REPOSITORY [accept]
 *   at T pause [for=T] | unpause
 *   at T retire kN [refused]
 *   at T note [refused]               a row of history alone
 *   at T backup begin|commit REPOSITORY     what is open is committed unseen
 *   at T adopt kN POLICY ROLE REPOSITORY [alg=N] [refused]
 *   at T errand inventory|destroy|clean|sweep REPOSITORY [kN ...] [debris=N]
 *       [list=SORT] [refused] | errand forget
 *       an inventory lists all sorts, or the one, and of all ids, or of those
 *   at T reload [refused]                 at T stop
 *   at T restart [killed] [lock=T] [left=LEFT]   workers are orphans, or dead
 *   at T restart unclean     with the whole machine: no key is believed
 *   at T store fail [in=N] | lock | unlock       the Nth statement from now
 *   at T store gone | replace             its file is removed, or another one
 *   at T store fail at=WORD-WORD          the next one that begins so
 *   at T store work          what was to fail and did not, will not
 *   at T clock +T|-T|accept [refused]     the wall clock jumps
 *   at T tally               counts of requests begin again
 *   at T random seed=N steps=N
 *
 *   at T expect start|leave|kill REPOSITORY [PURPOSE]
 *   at T expect send REPOSITORY TYPE [kN]
 *   at T expect report REPOSITORY overdue
 *   at T expect nothing [REPOSITORY]      nothing started or sent unseen
 *   at T expect key kN STATE|none
 *   at T expect count STATE OP N [policy=NAME] [repository=NAME]
 *   at T expect status REPOSITORY STATUS
 *   at T expect level|trouble|held|required|ready|usable|deficit POLICY ROLE ...
 *   at T expect topup running|done [full|short] [wanted=N] [made=N] [held=N]
 *       [failed=N]
 *   at T expect asked REPOSITORY TYPE OP N   requests since the last tally
 *   at T expect started|logins|deaths|pairs|foreign|nameless|orphans
 *       REPOSITORY OP N                     logins: with a wrong PIN
 *   at T expect retry REPOSITORY OP T
 *   at T expect errand running|done|failed [swept=N] [cut|whole] [WORD]
 *       of its text; cut: not all that was to be listed is
 *   at T expect item kN done|not [WORD]   what became of that id
 *   at T expect found SORT OP N [listed=N]  in the last inventory
 *   at T expect history WORD-WORD OP N    rows that begin so
 *   at T expect generated REPOSITORY OP N
 *   at T expect clock good|bad
 *   at T expect store good|bad [WORD]
 *   at T expect stopped | running
 *   at T expect sound        token and database agree, nothing is open
 *
 * OP is =, < , >, <= or >=. What no scenario may see is looked for always: a
 * key asked for without a row on disk, or twice; a half destroyed that is not
 * known to be unsettled, or is not alone; more pairs than Capacity; two
 * logins at a time; a request that its worker may not be sent.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <sqlite3.h>

#include "ksmpool/duration.h"
#include "ksmpool/log.h"

#include "engine.h"
#include "store_backup.h"
#include "store_internal.h"

#define WALL_START   INT64_C(1790000000)
#define STEADY_START INT64_C(5000000)
#define HELLO_MS     200
#define LIST_MS	     100
#define PROVE_MS     20
#define EXIT_MS	     10
#define START_LIMIT  (120 * 1000)
#define SPINS	     20000 /* turns of engine_run at one moment */
#define WORDS	     32
#define NEVER	     (-1)
#define PEEK	     "SELECT state FROM key WHERE cka_id = ?"

/* ---- the world -------------------------------------------------------- */

enum lie {
	LIE_NO,
	LIE_SIGNATURE,
	LIE_SENSITIVE,
	LIE_EXTRACTABLE,
	LIE_ID,
	LIE_SILENT,
	LIE_TWIN,
	LIE_ANOTHER,
	LIE__COUNT
};
static const char *const lie_text[LIE__COUNT] = { "no", "signature",
	"sensitive", "extractable", "id", "silent", "twin", "another" };

/* What a worker that ends leaves of the key it was making. */
struct left {
	bool private, public;
	ksm_msec late; /* the rest comes after so long; NEVER */
};

enum deed { DEED_WORK, DEED_HANG, DEED_DIE, DEED_LOSE, DEED__COUNT };
static const char *const deed_text[DEED__COUNT] = { "work", "hang", "die",
	"lose" };

/* A key that was asked for; its number is its place plus one. */
struct key {
	struct key_id id;
	int alg, bits;
	bool other; /* made by another program */
	EVP_PKEY *pkey;
};

struct object {
	struct key_id id;
	size_t key;
	bool private, hidden;
};

struct late {
	ksm_msec at;
	size_t key;
	bool private, public;
};

enum kind { DID_START, DID_SEND, DID_LEAVE, DID_KILL, DID_REPORT, DID__COUNT };
static const char *const kind_text[DID__COUNT] = { "start", "send", "leave",
	"kill", "report" };

/* What the engine did and no expectation has named yet. */
struct did {
	enum kind kind;
	char text[64];
	bool seen;
};

/* A repository: what is configured, its token, its workers' deeds. */
struct site {
	struct site *next;
	char *name, *module;
	bool configured;
	int64_t deadline, kill_after, capacity, pace, recycle;
	int sessions;
	bool skip_public, extractable, backup;

	char label[64], serial[64], pin[64], pin_source[64];
	bool absent, keeps_halves;
	int64_t room;
	int limit; /* sessions of the token */
	int refuses;
	ksm_msec takes, leave;
	enum deed deed;
	struct left left;
	enum lie lie;
	int64_t foreign, nameless, bad_logins, starts;
	struct key_id certificates[WORDS]; /* ids that a certificate has, too */
	size_t ncertificates;
	size_t crowd; /* private keys of others, for inspectors alone */
	int64_t came_late; /* pairs that nobody could expect any more */
	int64_t asked[HSM__TYPES];
	struct object *objects;
	size_t nobjects, aobjects;
	struct late *lates;
	size_t nlates, alates;
	struct did *dids;
	size_t ndids, adids;
};

struct pool_words {
	char *policy, *repository;
	enum key_role role;
	int alg, bits;
	int64_t lifetime, standby;
	struct conf_pool pool;
};

struct policy_words {
	char *name;
	int64_t zones;
	bool shared;
};

enum next_act { NEXT_NOTHING, NEXT_HELLO, NEXT_ANSWER, NEXT_EXIT };

struct child {
	struct child *next;
	struct site *site;
	worker_no no;
	enum worker_purpose purpose;
	enum worker_state state;
	bool orphan, logged_in, open;
	bool leave; /* told to; one in a call goes after its answer */
	char refused_pin[128];
	struct hsm_msg request;
	size_t key; /* of an open generate */
	ksm_msec due, kill_after;
	enum next_act next_act;
	ksm_msec next_at;
	struct left left;
	char how[32];
	struct key_id proven; /* the pair that it proved last */
};

struct world {
	const char *file;
	int line;
	char dir[128], database[160];
	struct store *store;
	struct engine *engine;
	sqlite3 *peek; /* sees only what is committed */
	sqlite3_stmt *peek_state;
	bool locked, moved;
	int64_t fail_in; /* statements until one fails; 0: none will */
	char fail_at[48];
	bool failing, watching; /* what we read ourselves never fails */

	ksm_msec now, wake, origin;
	int64_t wall_offset;
	uint64_t dice;
	bool by_itself, started, may_fail;
	int64_t ticket, errand;
	unsigned errand_sorts; /* that it was to list, of all ids */

	struct site *sites;
	struct child *children;
	struct key *keys;
	size_t nkeys, akeys;
	struct policy_words *policies;
	size_t npolicies, apolicies;
	struct pool_words *pools;
	size_t npools, apools;
};

static struct world the_world;

static void world_clear(struct world *w);

static void __attribute__((format(printf, 2, 3), noreturn))
die(struct world *w, const char *fmt, ...)
{
	va_list ap;

	(void)fprintf(stderr, "%s:%d: ", w->file, w->line);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, " (at %" PRId64 " ms; -v tells more)\n",
	    w->now - w->origin);
	world_clear(w);
	exit(1);
}

static void *
grow(struct world *w, void *array, size_t n, size_t *allocated, size_t size)
{
	void *p;

	if (n < *allocated)
		return array;
	*allocated = *allocated == 0 ? 16 : *allocated * 2;
	p = reallocarray(array, *allocated, size);
	if (p == NULL)
		die(w, "no memory");
	return p;
}

static char *
copy(struct world *w, const char *text)
{
	char *p = strdup(text);

	if (p == NULL)
		die(w, "no memory");
	return p;
}

static uint64_t
dice(struct world *w)
{
	w->dice ^= w->dice << 13;
	w->dice ^= w->dice >> 7;
	w->dice ^= w->dice << 17;
	return w->dice;
}

static uint64_t
dice_below(struct world *w, uint64_t n)
{
	return (dice(w) >> 16) % n;
}

static struct site *
site_find(struct world *w, const char *name)
{
	for (struct site *s = w->sites; s != NULL; s = s->next)
		if (strcmp(s->name, name) == 0)
			return s;
	return NULL;
}

static struct site *
site_get(struct world *w, const char *name)
{
	struct site *s = site_find(w, name);

	if (s == NULL)
		die(w, "there is no repository %s", name);
	return s;
}

static void __attribute__((format(printf, 4, 5)))
did(struct world *w, struct site *s, enum kind kind, const char *fmt, ...)
{
	struct did *d;
	va_list ap;

	s->dids = grow(w, s->dids, s->ndids, &s->adids, sizeof(*s->dids));
	d = &s->dids[s->ndids++];
	*d = (struct did){ .kind = kind,
		.seen =
		    w->by_itself && kind != DID_REPORT && kind != DID_KILL };
	va_start(ap, fmt);
	(void)vsnprintf(d->text, sizeof(d->text), fmt, ap);
	va_end(ap);
	log_debug("%8" PRId64 " ms: %s %s %s", w->now - w->origin,
	    kind_text[kind], s->name, d->text);
}

/* ---- the token -------------------------------------------------------- */

static size_t
key_of(struct world *w, const struct key_id *id)
{
	for (size_t i = w->nkeys; i-- > 0;)
		if (key_id_cmp(&w->keys[i].id, id) == 0)
			return i;
	return SIZE_MAX;
}

/* Made only when a token is to hold it: RSA keys cost time. */
static EVP_PKEY *
key_pair(struct world *w, size_t n)
{
	struct key *k = &w->keys[n];
	const struct alg *alg = alg_find(k->alg);

	if (k->pkey != NULL)
		return k->pkey;
	if (alg->family == ALG_RSA)
		k->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)k->bits);
	else if (alg->family == ALG_ECDSA)
		k->pkey = EVP_PKEY_Q_keygen(
		    NULL, NULL, "EC", k->bits == 256 ? "P-256" : "P-384");
	if (k->pkey == NULL)
		die(w, "no keys of %s here", alg->name);
	return k->pkey;
}

/* A key that is not made yet will be the first of its kind once more. */
static void
key_twin(struct world *w, size_t n)
{
	struct key *k = &w->keys[n];

	for (size_t i = 0; i < n; i++) {
		struct key *first = &w->keys[i];

		if (first->alg != k->alg || first->bits != k->bits ||
		    first->pkey == NULL)
			continue;
		k->pkey = first->pkey;
		(void)EVP_PKEY_up_ref(k->pkey);
		return;
	}
	die(w, "no earlier key to make a twin of");
}

static void
object_put(struct world *w, struct site *s, size_t key, bool private)
{
	s->objects =
	    grow(w, s->objects, s->nobjects, &s->aobjects, sizeof(*s->objects));
	s->objects[s->nobjects++] = (struct object){
		.id = w->keys[key].id, .key = key, .private = private
	};
}

static void
object_drop(struct site *s, size_t at)
{
	s->objects[at] = s->objects[--s->nobjects];
}

static int
token_count(const struct site *s, const struct key_id *id, bool private)
{
	int n = 0;

	for (size_t i = 0; i < s->nobjects; i++)
		n += !s->objects[i].hidden &&
		     s->objects[i].private == private &&
		     key_id_cmp(&s->objects[i].id, id) == 0;
	return n;
}

static int64_t
token_pairs(const struct site *s)
{
	int64_t n = 0;

	for (size_t i = 0; i < s->nobjects; i++)
		n += s->objects[i].private;
	return n;
}

static bool
single_object(const struct site *s, int alg)
{
	return s->skip_public && alg_find(alg)->family == ALG_RSA;
}

/* What is missing of the pair comes into being. */
static void
token_complete(
    struct world *w, struct site *s, size_t key, bool private, bool public)
{
	const struct key_id *id = &w->keys[key].id;

	if (public && !single_object(s, w->keys[key].alg) &&
	    token_count(s, id, false) == 0)
		object_put(w, s, key, false);
	if (private && token_count(s, id, true) == 0)
		object_put(w, s, key, true);
}

static void
token_leave(
    struct world *w, struct site *s, size_t key, const struct left *left)
{
	token_complete(w, s, key, left->private, left->public);
	if (left->late == NEVER)
		return;
	s->lates = grow(w, s->lates, s->nlates, &s->alates, sizeof(*s->lates));
	s->lates[s->nlates++] = (struct late){ .at = w->now + left->late,
		.key = key,
		.private = true,
		.public = true };
}

static const struct left left_nothing = { false, false, NEVER };
static const struct left left_whole = { true, true, NEVER };

/* ---- evidence --------------------------------------------------------- */

static void
hex_number(EVP_PKEY *pkey, const char *name, char *out)
{
	BIGNUM *n = NULL;
	uint8_t bytes[512];
	int len;

	if (EVP_PKEY_get_bn_param(pkey, name, &n) != 1)
		abort();
	len = BN_bn2bin(n, bytes);
	hex_format(bytes, (size_t)len, out);
	BN_free(n);
}

static void
ecdsa_raw(const uint8_t *der, size_t len, size_t half, uint8_t *out)
{
	const uint8_t *at = der;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)len);

	if (sig == NULL ||
	    BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)half) < 0 ||
	    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, (int)half) < 0)
		abort();
	ECDSA_SIG_free(sig);
}

static void
evidence_sign(EVP_PKEY *pkey, const struct alg *alg,
    const uint8_t challenge[CHALLENGE_LEN], struct hsm_evidence *e)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
	uint8_t sig[512], raw[512];
	size_t len = sizeof(sig);

	if (ctx == NULL || EVP_PKEY_sign_init(ctx) != 1 ||
	    (alg->family == ALG_RSA &&
		(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) != 1 ||
		    EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) != 1)) ||
	    EVP_PKEY_sign(ctx, sig, &len, challenge, CHALLENGE_LEN) != 1)
		abort();
	EVP_PKEY_CTX_free(ctx);
	if (alg->family == ALG_RSA) {
		hex_format(sig, len, e->signature);
		return;
	}
	ecdsa_raw(sig, len, alg->point_len / 2, raw);
	hex_format(raw, alg->point_len, e->signature);
}

static void
evidence_make(struct world *w, const struct site *s, size_t key,
    const uint8_t challenge[CHALLENGE_LEN], enum lie lie,
    struct hsm_evidence *e)
{
	const struct alg *alg = alg_find(w->keys[key].alg);
	EVP_PKEY *pkey = key_pair(w,
	    lie == LIE_ANOTHER ? (key + 1) % w->nkeys : key);
	uint8_t point[160];
	size_t len;

	*e = (struct hsm_evidence){ .is_private = true,
		.is_sensitive = lie != LIE_SENSITIVE,
		.is_extractable = s->extractable != (lie == LIE_EXTRACTABLE),
		.is_token = true,
		.can_sign = true,
		.label_ok = !w->keys[key].other,
		.id_ok = lie != LIE_ID,
		.public_ok = true };
	if (alg->family == ALG_RSA) {
		hex_number(pkey, OSSL_PKEY_PARAM_RSA_N, e->modulus);
		hex_number(pkey, OSSL_PKEY_PARAM_RSA_E, e->exponent);
		e->bits = w->keys[key].bits;
		(void)strcpy(e->mechanism, "CKM_RSA_PKCS");
	} else {
		if (EVP_PKEY_get_octet_string_param(pkey,
			OSSL_PKEY_PARAM_PUB_KEY, point + 2, sizeof(point) - 2,
			&len) != 1)
			abort();
		point[0] = 0x04; /* OCTET STRING */
		point[1] = (uint8_t)len;
		hex_format(point, len + 2, e->point);
		e->key_type = 3; /* CKK_EC */
		(void)strcpy(e->mechanism, "CKM_ECDSA");
	}
	if (lie == LIE_SILENT) {
		(void)strcpy(e->sign_ckr, "CKR_FUNCTION_FAILED");
		return;
	}
	evidence_sign(pkey, alg, challenge, e);
	if (lie == LIE_SIGNATURE)
		e->signature[0] = e->signature[0] == '0' ? '1' : '0';
}

/* ---- the clock and the store's faults -------------------------------- */

static ksm_time
io_wall(void *ctx)
{
	struct world *w = ctx;

	return WALL_START + w->wall_offset + (w->now - w->origin) / 1000;
}

static ksm_msec
io_steady(void *ctx)
{
	return ((struct world *)ctx)->now;
}

static void
io_random(void *ctx, void *buf, size_t len)
{
	uint8_t *at = buf;

	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)(dice(ctx) >> 24);
}

static enum ksm_err
store_dice(void *buf, size_t len, struct ksm_fail *fail)
{
	(void)fail;
	io_random(&the_world, buf, len);
	return KSM_OK;
}

/* Every statement of the store passes here before it runs. */
static int
on_statement(unsigned type, void *ctx, void *stmt, void *text)
{
	struct world *w = ctx;
	const char *sql = text;

	(void)type;
	(void)stmt;
	w->failing = false;
	/* A trigger's comment; BEGIN fails by a lock, ROLLBACK never fails. */
	if (w->watching || strncmp(sql, "--", 2) == 0 ||
	    strncmp(sql, "BEGIN", 5) == 0 || strncmp(sql, "ROLLBACK", 8) == 0)
		return 0;
	if (w->fail_in > 0) {
		w->failing = --w->fail_in == 0;
	} else if (w->fail_at[0] != '\0' &&
		   strncmp(sql, w->fail_at, strlen(w->fail_at)) == 0) {
		w->failing = true;
		w->fail_at[0] = '\0';
	}
	if (w->failing)
		log_debug("%8" PRId64 " ms: this fails: %.60s",
		    w->now - w->origin, sql);
	return 0;
}

static int
on_step(void *ctx)
{
	struct world *w = ctx;

	return w->failing;
}

static int
on_commit(void *ctx)
{
	struct world *w = ctx;

	return w->failing;
}

static void peek_open(struct world *w);

static void
store_start(struct world *w)
{
	struct ksm_fail fail;

	if (store_open(w->database, &w->store, &fail) != KSM_OK)
		die(w, "%s", fail.text);
	w->store->dice = store_dice;
	(void)sqlite3_busy_timeout(w->store->db, 0);
	(void)sqlite3_exec(
	    w->store->db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
	(void)sqlite3_trace_v2(
	    w->store->db, SQLITE_TRACE_STMT, on_statement, w);
	sqlite3_progress_handler(w->store->db, 1, on_step, w);
	(void)sqlite3_commit_hook(w->store->db, on_commit, w);
	peek_open(w);
}

static void
peek_open(struct world *w)
{
	if (w->peek != NULL)
		return;
	if (sqlite3_open(w->database, &w->peek) != SQLITE_OK ||
	    sqlite3_prepare_v2(w->peek, PEEK, -1, &w->peek_state, NULL) !=
		SQLITE_OK)
		die(w, "%s: %s", w->database, sqlite3_errmsg(w->peek));
}

static void
peek_close(struct world *w)
{
	(void)sqlite3_finalize(w->peek_state);
	(void)sqlite3_close(w->peek);
	w->peek = NULL;
	w->peek_state = NULL;
}

/*
 * The file was removed: once it is there again, that is what is on disk. Until
 * then the one that has no name any more is.
 */
static void
peek_again(struct world *w)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *q = NULL;

	if (sqlite3_open_v2(w->database, &db, SQLITE_OPEN_READWRITE, NULL) ==
		SQLITE_OK &&
	    sqlite3_prepare_v2(db, PEEK, -1, &q, NULL) == SQLITE_OK) {
		peek_close(w);
		w->peek = db;
		w->peek_state = q;
		w->moved = false;
	} else {
		(void)sqlite3_close(db);
	}
}

static void
store_lock(struct world *w, bool lock)
{
	if (w->locked == lock)
		return;
	if (w->moved)
		peek_again(w);
	if (sqlite3_exec(w->peek, lock ? "BEGIN IMMEDIATE" : "ROLLBACK", NULL,
		NULL, NULL) != SQLITE_OK) {
		if (w->may_fail)
			return;
		die(w, "store lock: %s", sqlite3_errmsg(w->peek));
	}
	w->locked = lock;
}

/* The file goes, with what belongs to it; another may come. */
static void
store_gone(struct world *w, bool replace)
{
	static const char *const files[] = { "", "-wal", "-shm" };
	char path[256];
	FILE *f;

	w->moved = true;
	for (size_t i = 0; i < nitems(files); i++) {
		(void)snprintf(path, sizeof(path), "%.190s%s", w->database,
		    files[i]);
		(void)unlink(path);
	}
	if (!replace)
		return;
	f = fopen(w->database, "w");
	if (f == NULL)
		die(w, "%s", w->database);
	(void)fputs("another file", f);
	(void)fclose(f);
}

/* The state of a row on disk; "none". */
static void
committed_state(struct world *w, const struct key_id *id, char out[16])
{
	sqlite3_stmt *q;

	if (w->moved)
		peek_again(w);
	q = w->peek_state;
	(void)strcpy(out, "none");
	(void)sqlite3_bind_blob(
	    q, 1, id->bytes, sizeof(id->bytes), SQLITE_STATIC);
	if (sqlite3_step(q) == SQLITE_ROW)
		(void)snprintf(
		    out, 16, "%s", (const char *)sqlite3_column_text(q, 0));
	(void)sqlite3_reset(q);
}

/* ---- workers ----------------------------------------------------------- */

static void
run(struct world *w)
{
	ksm_msec wait = 0;
	int spins = 0;

	if (w->engine == NULL)
		return;
	while ((wait = engine_run(w->engine)) == 0)
		if (++spins > SPINS)
			die(w, "engine_run wants to be called again and again");
	w->wake = w->now + wait;
}

static struct child *
child_of(struct world *w, worker_no no)
{
	for (struct child *c = w->children; c != NULL; c = c->next)
		if (c->no == no && !c->orphan)
			return c;
	return NULL;
}

static void
child_forget(struct world *w, struct child *c)
{
	for (struct child **at = &w->children; *at != NULL; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	free(c);
}

static bool
child_step(struct child *c, enum worker_event ev, enum worker_act *act)
{
	struct worker_rule rule = worker_step(c->state, ev);

	*act = rule.act;
	if (rule.act == ACT_VIOLATION)
		return false;
	c->state = rule.next;
	return true;
}

static void
child_next(struct world *w, struct child *c, enum next_act act, ksm_msec in)
{
	c->next_act = act;
	c->next_at = w->now + in;
}

/* SIGKILL is sent; by hand its exit is the scenario's to tell. */
static void
child_kill(struct world *w, struct child *c, const char *why)
{
	enum worker_act act;

	if (!child_step(c, WEV_KILL, &act))
		return;
	c->due = NEVER;
	did(w, c->site, DID_KILL, "%s", why);
	c->next_act = NEXT_NOTHING;
	(void)strcpy(c->how, "signal 9");
	if (w->by_itself)
		child_next(w, c, NEXT_EXIT, EXIT_MS);
}

static void
child_exit(struct world *w, struct child *c)
{
	enum worker_act act = ACT_REAP;
	worker_no no = c->no;
	bool orphan = c->orphan;
	char how[32];

	(void)strcpy(how, c->how);
	if (c->open && c->request.type == HSM_GENERATE)
		token_leave(w, c->site, c->key, &c->left);
	(void)child_step(c, WEV_EXIT, &act);
	log_debug("%8" PRId64 " ms: exit %s worker %" PRId64 "%s",
	    w->now - w->origin, c->site->name, no, orphan ? ", an orphan" : "");
	child_forget(w, c);
	if (orphan)
		return;
	engine_on_exit(w->engine, no, act == ACT_SETTLE, how);
	run(w);
}

/* Hand a message over as it comes through the socket. */
static void
deliver(struct world *w, struct child *c, struct hsm_msg *said)
{
	enum worker_event ev = said->type == HSM_HELLO	  ? WEV_HELLO
			       : said->type == HSM_FAILED ? WEV_FAILED
			       : said->type == HSM_PAGE ||
					 said->type == HSM_OBJECTS ? WEV_PAGE
							  : WEV_REPLY;
	enum worker_act act;
	struct hsm_msg m;
	struct ksm_fail fail;
	char *text = NULL;
	size_t len;

	log_debug("%8" PRId64 " ms: %s worker %" PRId64 " says %s",
	    w->now - w->origin, c->site->name, c->no,
	    hsm_type_text(said->type));
	if (hsm_msg_encode(said, &text, &len, &fail) != KSM_OK ||
	    hsm_msg_decode(text, len, &m, &fail) != KSM_OK)
		die(w, "%s: %s", hsm_type_text(said->type), fail.text);
	free(text);
	if (ev == WEV_REPLY)
		c->open = false;
	if (!child_step(c, ev, &act)) {
		child_kill(w, c, "violation");
	} else {
		if (c->state == WORKER_IDLE)
			c->due = NEVER;
		if (c->leave && c->next_act != NEXT_EXIT &&
		    child_step(c, WEV_LEAVE, &act))
			child_next(w, c, NEXT_EXIT, c->site->leave);
		engine_on_message(w->engine, c->no, &m);
	}
	hsm_msg_clear(&m);
	if (ev != WEV_PAGE)
		run(w);
}

static int
sessions_open(const struct world *w, const struct site *s)
{
	int n = 0;

	for (const struct child *c = w->children; c != NULL; c = c->next)
		n += c->site == s && c->logged_in;
	return n;
}

static void
say_failed(struct world *w, struct child *c, const char *stage,
    const char *name, enum ckr_group group, const char *pin_print)
{
	struct hsm_msg m = { .type = HSM_FAILED };

	(void)snprintf(m.u.failed.stage, sizeof(m.u.failed.stage), "%s", stage);
	(void)snprintf(m.u.failed.name, sizeof(m.u.failed.name), "%s", name);
	(void)snprintf(m.u.failed.text, sizeof(m.u.failed.text),
	    "the invented token says so");
	(void)snprintf(m.u.failed.pin_print, sizeof(m.u.failed.pin_print), "%s",
	    pin_print);
	m.u.failed.group = group;
	m.u.failed.ckr = name[0] == '\0' ? 0 : 1;
	(void)strcpy(c->how, "exit 1");
	child_next(w, c, NEXT_EXIT, EXIT_MS);
	deliver(w, c, &m);
}

static void
say_hello(struct world *w, struct child *c)
{
	struct hsm_msg m = { .type = HSM_HELLO };
	struct site *s = c->site;

	c->logged_in = true;
	(void)strcpy(m.u.hello.label, s->label);
	(void)strcpy(m.u.hello.serial, s->serial);
	(void)strcpy(m.u.hello.manufacturer, "replay");
	(void)strcpy(m.u.hello.model, "invented");
	(void)strcpy(m.u.hello.module, "none 0.0");
	m.u.hello.starts = 1;
	deliver(w, c, &m);
}

/* The answer to a request that was never sent. */
static void
say_babble(struct world *w, struct child *c)
{
	struct hsm_msg m = { .type = HSM_DESTROYED };

	bool open = c->open;

	m.u.destroyed.job = 999999;
	deliver(w, c, &m);
	c->open = open; /* it goes on with what it was doing */
}

/* What the token makes of a worker that starts. */
static void
child_log_in(struct world *w, struct child *c)
{
	struct site *s = c->site;

	if (s->absent)
		say_failed(w, c, "token", "", CKRG_TOKEN, "");
	else if (s->limit > 0 && sessions_open(w, s) >= s->limit)
		say_failed(
		    w, c, "session", "CKR_SESSION_COUNT", CKRG_SESSION, "");
	else if (c->refused_pin[0] != '\0' &&
		 strcmp(c->refused_pin, s->pin_source) == 0)
		say_failed(w, c, "pin-unchanged", "", CKRG_PIN, "");
	else if (strcmp(s->pin, s->pin_source) != 0) {
		s->bad_logins++;
		say_failed(
		    w, c, "pin", "CKR_PIN_INCORRECT", CKRG_PIN, s->pin_source);
	} else
		say_hello(w, c);
}

static void
request_id(const struct hsm_msg *m, int64_t *job, struct key_id *id)
{
	*id = (struct key_id){ 0 };
	switch (m->type) {
	case HSM_GENERATE:
		*job = m->u.generate.job;
		*id = m->u.generate.id;
		break;
	case HSM_ENUMERATE:
		*job = m->u.enumerate.job;
		break;
	case HSM_PROVE:
		*job = m->u.prove.job;
		*id = m->u.prove.id;
		break;
	case HSM_REMOVE:
		*job = m->u.remove.job;
		*id = m->u.remove.id;
		break;
	case HSM_INSPECT:
		*job = m->u.inspect.job;
		break;
	case HSM_SWEEP:
		*job = m->u.sweep.job;
		break;
	default:
		*job = m->u.destroy.job;
		*id = m->u.destroy.id;
		break;
	}
}

static bool
group_leaves(enum ckr_group group)
{
	return group == CKRG_LOGIN || group == CKRG_SESSION ||
	       group == CKRG_TOKEN;
}

static void
say_no(struct world *w, struct child *c, enum hsm_type type,
    enum ckr_group group, const char *stage, const char *name)
{
	struct hsm_msg m = { .type = type };

	request_id(&c->request, &m.u.no.job, &m.u.no.id);
	(void)snprintf(m.u.no.stage, sizeof(m.u.no.stage), "%s", stage);
	(void)snprintf(m.u.no.name, sizeof(m.u.no.name), "%s", name);
	(void)snprintf(m.u.no.text, sizeof(m.u.no.text), "so it says");
	m.u.no.ckr = name[0] == '\0' ? 0 : 1;
	m.u.no.group = group;
	if (type == HSM_UNKNOWN || group_leaves(group)) {
		(void)strcpy(c->how, "exit 0");
		child_next(w, c, NEXT_EXIT, EXIT_MS);
	}
	deliver(w, c, &m);
}

static void
say_generated(struct world *w, struct child *c, enum lie lie, ksm_msec took)
{
	struct hsm_msg m = { .type = HSM_GENERATED };
	struct hsm_generated *g = &m.u.generated;
	const struct hsm_generate *asked = &c->request.u.generate;

	token_complete(w, c->site, c->key, true, true);
	if (c->site->capacity >= 0 &&
	    token_pairs(c->site) - c->site->came_late > c->site->capacity)
		die(w, "%s holds %" PRId64 " pairs, Capacity is %" PRId64,
		    c->site->name, token_pairs(c->site), c->site->capacity);
	g->job = asked->job;
	g->id = asked->id;
	g->ended = io_wall(w);
	g->started = g->ended - took / 1000;
	g->took = took;
	evidence_make(w, c->site, c->key, asked->challenge, lie, &g->evidence);
	if (lie == LIE_SILENT) {
		(void)strcpy(c->how, "exit 0");
		child_next(w, c, NEXT_EXIT, EXIT_MS);
	}
	deliver(w, c, &m);
}

static void
say_list(struct world *w, struct child *c)
{
	struct site *s = c->site;
	struct hsm_msg m = { .type = HSM_LISTED };
	struct hsm_msg page = { .type = HSM_PAGE };
	struct key_id ids[2][PAGE_IDS];
	int64_t job = c->request.u.enumerate.job;
	worker_no no = c->no;
	size_t at = 0;

	m.u.listed.job = page.u.page.job = job;
	page.u.page.privates = ids[0];
	page.u.page.publics = ids[1];
	while (at < s->nobjects) {
		struct hsm_page *p = &page.u.page;

		p->nprivates = p->npublics = 0;
		for (;
		     at < s->nobjects && p->nprivates + p->npublics < PAGE_IDS;
		     at++) {
			if (s->objects[at].hidden)
				continue;
			if (s->objects[at].private)
				ids[0][p->nprivates++] = s->objects[at].id;
			else
				ids[1][p->npublics++] = s->objects[at].id;
		}
		m.u.listed.privates += (int64_t)p->nprivates;
		m.u.listed.publics += (int64_t)p->npublics;
		m.u.listed.pages++;
		deliver(w, c, &page);
		if (child_of(w, no) != c)
			return;
	}
	m.u.listed.foreign = s->foreign;
	m.u.listed.nameless = s->nameless;
	deliver(w, c, &m);
}

static void
say_proof(struct world *w, struct child *c, enum lie lie)
{
	struct hsm_msg m = { .type = HSM_PROOF };
	const struct hsm_prove *asked = &c->request.u.prove;
	size_t key = key_of(w, &asked->id);

	m.u.proof.job = asked->job;
	m.u.proof.id = asked->id;
	m.u.proof.privates = token_count(c->site, &asked->id, true);
	m.u.proof.publics = token_count(c->site, &asked->id, false);
	if (key == SIZE_MAX || m.u.proof.privates == 0) {
		say_no(w, c, HSM_REFUSED, CKRG_OTHER, "search", "");
		return;
	}
	c->proven = asked->id;
	evidence_make(
	    w, c->site, key, asked->challenge, lie, &m.u.proof.evidence);
	deliver(w, c, &m);
}

static void
say_destroyed(struct world *w, struct child *c)
{
	struct hsm_msg m = { .type = HSM_DESTROYED };
	const struct hsm_destroy *asked = &c->request.u.destroy;
	bool private = asked->half == HALF_PRIVATE;
	struct site *s = c->site;

	if (s->keeps_halves || token_count(s, &asked->id, private) != 1 ||
	    token_count(s, &asked->id, !private) != 0) {
		say_no(w, c, HSM_REFUSED, CKRG_OTHER, "destroy", "");
		return;
	}
	for (size_t i = 0; i < s->nobjects; i++)
		if (key_id_cmp(&s->objects[i].id, &asked->id) == 0) {
			object_drop(s, i);
			break;
		}
	m.u.destroyed.job = asked->job;
	m.u.destroyed.id = asked->id;
	deliver(w, c, &m);
}

static void
token_remove(struct world *w, struct site *s, const struct key_id *id,
    bool private, bool public)
{
	for (size_t i = s->nobjects; i-- > 0;)
		if (key_id_cmp(&s->objects[i].id, id) == 0 &&
		    (s->objects[i].private ? private : public))
			object_drop(s, i);
	/* What was whole has nothing left to come. */
	for (size_t i = s->nlates; i-- > 0;)
		if (key_id_cmp(&w->keys[s->lates[i].key].id, id) == 0)
			s->lates[i] = s->lates[--s->nlates];
}

static void
say_removed(struct world *w, struct child *c)
{
	struct hsm_msg m = { .type = HSM_DESTROYED };
	const struct hsm_remove *asked = &c->request.u.remove;

	if (token_count(c->site, &asked->id, true) != 1 ||
	    token_count(c->site, &asked->id, false) > 1 ||
	    key_id_cmp(&c->proven, &asked->id) != 0) {
		say_no(w, c, HSM_REFUSED, CKRG_OTHER, "destroy", "");
		return;
	}
	token_remove(w, c->site, &asked->id, true, true);
	m.u.destroyed.job = asked->job;
	m.u.destroyed.id = asked->id;
	deliver(w, c, &m);
}

static void
say_objects(struct world *w, struct child *c)
{
	struct site *s = c->site;
	struct hsm_msg m = { .type = HSM_LISTED };
	struct hsm_msg page = { .type = HSM_OBJECTS };
	struct hsm_object *objects =
	    calloc((size_t)s->nameless + s->nobjects + s->ncertificates +
		s->crowd + 1, sizeof(*objects));
	int64_t job = c->request.u.inspect.job;
	worker_no no = c->no;
	size_t n = 0;

	if (objects == NULL)
		die(w, "no memory");
	for (size_t i = 0; i < s->nobjects; i++) {
		struct hsm_object *o = &objects[n];
		const struct key *k = &w->keys[s->objects[i].key];

		if (s->objects[i].hidden)
			continue;
		o->class = s->objects[i].private ? OBJECT_PRIVATE
						 : OBJECT_PUBLIC;
		hex_format(s->objects[i].id.bytes, KEY_ID_LEN, o->id);
		o->idlen = KEY_ID_LEN;
		(void)snprintf(o->label, sizeof(o->label), "%.127s",
		    k->other ? "somebody's" : o->id);
		o->key_type = alg_find(k->alg)->family == ALG_RSA ? 0 : 3;
		o->bits = k->bits;
		m.u.listed.privates += s->objects[i].private;
		m.u.listed.publics += !s->objects[i].private;
		n++;
	}
	for (int64_t i = 0; i < s->nameless; i++)
		objects[n++] = (struct hsm_object){ .class = OBJECT_UNREADABLE,
			.key_type = -1,
			.debris = true };
	for (size_t i = 0; i < s->ncertificates; i++) {
		struct hsm_object *o = &objects[n++];

		*o = (struct hsm_object){ .class = OBJECT_CERTIFICATE,
			.idlen = KEY_ID_LEN, .key_type = -1 };
		hex_format(s->certificates[i].bytes, KEY_ID_LEN, o->id);
	}
	for (size_t i = 0; i < s->crowd; i++) {
		struct hsm_object *o = &objects[n++];

		*o = (struct hsm_object){ .class = OBJECT_PRIVATE,
			.idlen = KEY_ID_LEN, .key_type = 3 };
		(void)snprintf(o->id, sizeof(o->id), "%032zx", i);
	}
	m.u.listed.nameless = s->nameless;
	for (size_t at = 0; at < n; at += PAGE_OBJECTS) {
		page.u.objects.job = job;
		page.u.objects.objects = objects + at;
		page.u.objects.nobjects =
		    n - at > PAGE_OBJECTS ? PAGE_OBJECTS : n - at;
		m.u.listed.pages++;
		deliver(w, c, &page);
		if (child_of(w, no) != c)
			break;
	}
	free(objects);
	if (child_of(w, no) != c)
		return;
	m.u.listed.job = job;
	deliver(w, c, &m);
}

static void
say_swept(struct world *w, struct child *c)
{
	struct hsm_msg m = { .type = HSM_SWEPT };

	m.u.swept.job = c->request.u.sweep.job;
	m.u.swept.n = c->request.u.sweep.debris;
	if (m.u.swept.n != c->site->nameless) {
		say_no(w, c, HSM_REFUSED, CKRG_OTHER, "destroy", "");
		return;
	}
	c->site->nameless = 0;
	deliver(w, c, &m);
}

/* The worker works, as the token lets it. */
static void
child_generate(struct world *w, struct child *c)
{
	struct site *s = c->site;
	const struct hsm_generate *asked = &c->request.u.generate;
	enum lie lie = s->lie;

	if (s->absent) {
		say_no(w, c, HSM_REFUSED, CKRG_TOKEN, "generate",
		    "CKR_TOKEN_NOT_PRESENT");
	} else if (asked->alg == s->refuses) {
		say_no(w, c, HSM_REFUSED, CKRG_POLICY, "generate",
		    "CKR_MECHANISM_INVALID");
	} else if (s->room >= 0 && token_pairs(s) >= s->room) {
		say_no(w, c, HSM_REFUSED, CKRG_FULL, "generate",
		    "CKR_DEVICE_MEMORY");
	} else if (s->deed == DEED_DIE) {
		c->left = s->left;
		(void)strcpy(c->how, "signal 11");
		child_exit(w, c);
	} else if (s->deed == DEED_LOSE) {
		token_leave(w, s, c->key, &s->left);
		say_no(w, c, HSM_UNKNOWN, CKRG_NOTHING, "generate",
		    "CKR_GENERAL_ERROR");
	} else {
		say_generated(w, c, lie, s->takes);
	}
}

static void
child_answer(struct world *w, struct child *c)
{
	if (c->request.type == HSM_GENERATE)
		child_generate(w, c);
	else if (c->site->absent)
		say_no(w, c, HSM_UNKNOWN, CKRG_TOKEN, "enumerate",
		    "CKR_TOKEN_NOT_PRESENT");
	else if (c->request.type == HSM_ENUMERATE)
		say_list(w, c);
	else if (c->request.type == HSM_PROVE)
		say_proof(w, c, LIE_NO);
	else if (c->request.type == HSM_REMOVE)
		say_removed(w, c);
	else if (c->request.type == HSM_INSPECT)
		say_objects(w, c);
	else if (c->request.type == HSM_SWEEP)
		say_swept(w, c);
	else
		say_destroyed(w, c);
}

static ksm_msec
answer_time(const struct child *c)
{
	switch (c->request.type) {
	case HSM_GENERATE:
		return c->site->takes;
	case HSM_ENUMERATE:
	case HSM_INSPECT:
		return LIST_MS;
	default:
		return PROVE_MS;
	}
}

/* ---- what the engine may do ------------------------------------------ */

static enum ksm_err
io_start(void *ctx, worker_no no, const struct conf_repository *r,
    enum worker_purpose purpose, bool alone, const char *refused_pin,
    struct ksm_fail *fail)
{
	struct world *w = ctx;
	struct site *s = site_get(w, r->name);
	struct child *c;
	enum worker_act act;

	for (c = w->children; c != NULL; c = c->next) {
		if (c->site != s)
			continue;
		if (alone && c->orphan)
			return ksm_failf(fail, KSM_EBUSY, "the lock is held");
		if (c->state == WORKER_STARTING && !c->orphan)
			die(w, "%s: two workers log in at a time", s->name);
	}
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		die(w, "no memory");
	*c = (struct child){ .site = s,
		.no = no,
		.purpose = purpose,
		.due = w->now + START_LIMIT,
		.kill_after = NEVER,
		.left = left_nothing };
	(void)child_step(c, WEV_START, &act);
	(void)snprintf(
	    c->refused_pin, sizeof(c->refused_pin), "%s", refused_pin);
	(void)strcpy(c->how, "exit 0");
	c->next = w->children;
	w->children = c;
	s->starts++;
	did(w, s, DID_START, "%s", worker_purpose_text(purpose));
	if (w->by_itself)
		child_next(w, c, NEXT_HELLO, HELLO_MS);
	return KSM_OK;
}

/* A key is asked for: once, with a row on disk. */
static void
generate_check(
    struct world *w, const struct site *s, const struct hsm_generate *g)
{
	char id[KEY_ID_HEX], state[16];

	key_id_format(&g->id, id);
	if (key_of(w, &g->id) != SIZE_MAX)
		die(w, "%s: key %s is asked for twice", s->name, id);
	committed_state(w, &g->id, state);
	if (strcmp(state, "intended") != 0)
		die(w, "%s: key %s is asked for; on disk it is %s", s->name, id,
		    state);
}

static void
destroy_check(struct world *w, const struct site *s,
    enum worker_purpose purpose, const struct hsm_destroy *d)
{
	char id[KEY_ID_HEX], state[16];

	key_id_format(&d->id, id);
	committed_state(w, &d->id, state);
	if (strcmp(state, "unknown") != 0 &&
	    strcmp(state, "destroying") != 0 &&
	    (purpose != PURPOSE_DESTROYER ||
		(strcmp(state, "none") != 0 && strcmp(state, "gone") != 0 &&
		    strcmp(state, "destroyed") != 0)))
		die(w,
		    "%s: a half of key %s is to be destroyed; on disk it "
		    "is %s",
		    s->name, id, state);
	for (const struct child *c = w->children; c != NULL; c = c->next)
		if (c->open && c->request.type == HSM_GENERATE &&
		    key_id_cmp(&c->request.u.generate.id, &d->id) == 0)
			die(w,
			    "%s: a half of key %s is to be destroyed while "
			    "the key is made",
			    s->name, id);
}

/* A pair goes only when its row says so on disk, and nobody works with it. */
static void
remove_check(struct world *w, const struct site *s, const struct key_id *id)
{
	char hex[KEY_ID_HEX], state[16];

	key_id_format(id, hex);
	committed_state(w, id, state);
	if (strcmp(state, "destroying") != 0)
		die(w, "%s: key %s is to be destroyed; on disk it is %s",
		    s->name, hex, state);
}

static enum ksm_err
io_send(void *ctx, worker_no no, const struct hsm_msg *m, ksm_msec deadline,
    ksm_msec kill_after, struct ksm_fail *fail)
{
	struct world *w = ctx;
	struct child *c = child_of(w, no);
	enum worker_act act;
	char *text = NULL, name[24] = "";
	size_t len;

	if (c == NULL || c->state != WORKER_IDLE)
		return ksm_failf(fail, KSM_ESYS, "worker %" PRId64 " is %s", no,
		    c == NULL ? "gone" : worker_state_text(c->state));
	if (!hsm_type_allowed(c->purpose, m->type))
		die(w, "%s: a %s is sent %s", c->site->name,
		    worker_purpose_text(c->purpose), hsm_type_text(m->type));
	if (hsm_msg_encode(m, &text, &len, fail) != KSM_OK)
		die(w, "%s: %s", hsm_type_text(m->type), fail->text);
	free(text);
	if (m->type == HSM_GENERATE) {
		generate_check(w, c->site, &m->u.generate);
		w->keys =
		    grow(w, w->keys, w->nkeys, &w->akeys, sizeof(*w->keys));
		c->key = w->nkeys++;
		w->keys[c->key] = (struct key){ .id = m->u.generate.id,
			.alg = m->u.generate.alg,
			.bits = m->u.generate.bits };
		if (c->site->lie == LIE_TWIN)
			key_twin(w, c->key);
		(void)snprintf(name, sizeof(name), " k%zu", w->nkeys);
	} else if (m->type == HSM_DESTROY) {
		destroy_check(w, c->site, c->purpose, &m->u.destroy);
	} else if (m->type == HSM_REMOVE) {
		remove_check(w, c->site, &m->u.remove.id);
	}
	if (m->type == HSM_PROVE || m->type == HSM_DESTROY ||
	    m->type == HSM_REMOVE) {
		struct key_id id;
		int64_t job;

		request_id(m, &job, &id);
		(void)snprintf(name, sizeof(name), " k%zu", key_of(w, &id) + 1);
	}
	(void)child_step(c, WEV_JOB, &act);
	c->request = *m;
	c->open = true;
	c->due = w->now + deadline;
	c->kill_after = kill_after;
	c->site->asked[m->type]++;
	did(w, c->site, DID_SEND, "%s%s", hsm_type_text(m->type), name);
	/* One that is about to exit reads nothing any more. */
	if (c->next_act == NEXT_EXIT)
		return KSM_OK;
	if (w->by_itself &&
	    (m->type != HSM_GENERATE || c->site->deed != DEED_HANG))
		child_next(w, c, NEXT_ANSWER, answer_time(c));
	return KSM_OK;
}

static void
io_leave(void *ctx, worker_no no)
{
	struct world *w = ctx;
	struct child *c = child_of(w, no);
	enum worker_act act;

	if (c == NULL)
		return;
	did(w, c->site, DID_LEAVE, "%s", worker_purpose_text(c->purpose));
	c->leave = true;
	if (child_step(c, WEV_LEAVE, &act)) {
		c->due = w->now + START_LIMIT;
		child_next(w, c, NEXT_EXIT, c->site->leave);
	}
}

static void
io_kill(void *ctx, worker_no no, const char *why)
{
	struct child *c = child_of(ctx, no);

	(void)why;
	if (c != NULL)
		child_kill(ctx, c, "violation");
}

static void
io_pin_print(void *ctx, const struct conf_repository *r, char out[128])
{
	(void)snprintf(
	    out, 128, "print of %s", site_get(ctx, r->name)->pin_source);
}

/* ---- time passes ------------------------------------------------------ */

static void
child_timeout(struct world *w, struct child *c)
{
	enum worker_act act;
	worker_no no = c->no;

	if (c->state == WORKER_OVERDUE) {
		child_kill(w, c, "overdue");
		return;
	}
	c->due = NEVER;
	if (c->state == WORKER_BUSY && child_step(c, WEV_DEADLINE, &act)) {
		if (c->kill_after != NEVER)
			c->due = w->now + c->kill_after;
		did(w, c->site, DID_REPORT, "overdue");
		engine_on_overdue(w->engine, no);
		run(w);
	} else {
		child_kill(w, c, "slow");
	}
}

static void
child_act(struct world *w, struct child *c)
{
	enum next_act act = c->next_act;

	c->next_act = NEXT_NOTHING;
	if (act == NEXT_HELLO)
		child_log_in(w, c);
	else if (act == NEXT_ANSWER)
		child_answer(w, c);
	else if (act == NEXT_EXIT)
		child_exit(w, c);
}

static void
late_look(struct world *w, struct site *s)
{
	for (size_t i = 0; i < s->nlates;) {
		if (s->lates[i].at > w->now) {
			i++;
			continue;
		}
		s->came_late -= token_pairs(s);
		token_complete(w, s, s->lates[i].key, s->lates[i].private,
		    s->lates[i].public);
		s->came_late += token_pairs(s);
		s->lates[i] = s->lates[--s->nlates];
	}
}

/* One thing that is due by `limit`, the earliest first. False: none is. */
static bool
happen(struct world *w, ksm_msec limit)
{
	ksm_msec at = limit + 1;
	struct child *who = NULL;
	bool timeout = false;

	if (w->engine != NULL && w->wake < at)
		at = w->wake;
	for (struct child *c = w->children; c != NULL; c = c->next) {
		if (c->next_act != NEXT_NOTHING && c->next_at < at) {
			at = c->next_at;
			who = c;
			timeout = false;
		}
		if (c->due != NEVER && !c->orphan && c->due < at) {
			at = c->due;
			who = c;
			timeout = true;
		}
	}
	for (struct site *s = w->sites; s != NULL; s = s->next)
		for (size_t i = 0; i < s->nlates; i++)
			if (s->lates[i].at < at) {
				at = s->lates[i].at;
				who = NULL;
			}
	if (at > limit)
		return false;
	if (at > w->now)
		w->now = at;
	for (struct site *s = w->sites; s != NULL; s = s->next)
		late_look(w, s);
	if (who == NULL)
		run(w);
	else if (timeout)
		child_timeout(w, who);
	else
		child_act(w, who);
	return true;
}

static void
advance(struct world *w, ksm_msec to)
{
	if (to < w->now)
		die(w, "time goes forward only");
	while (happen(w, to))
		;
	w->now = to;
}

/* ---- configuration ---------------------------------------------------- */

static void
conf_repository_fill(struct world *w, struct conf *c, const struct site *s)
{
	struct conf_repository *r = conf_repository_add(c, s->name);

	if (r == NULL)
		die(w, "no memory");
	r->module = copy(w, s->module);
	r->token_label = copy(w, s->label);
	r->pin = PIN_FILE;
	r->pin_path = copy(w, "/invented");
	r->capacity = s->capacity;
	r->sessions = s->sessions;
	r->deadline = s->deadline / 1000;
	r->on_overdue = s->kill_after == NEVER ? OVERDUE_WAIT : OVERDUE_KILL;
	r->kill_after = s->kill_after == NEVER ? 0 : s->kill_after / 1000;
	r->keys_per_minute = s->pace;
	r->recycle_after = s->recycle;
	r->skip_public_key = s->skip_public;
	r->allow_extraction = s->extractable;
	r->require_backup = s->backup;
}

static void
conf_make(struct world *w, struct conf *c)
{
	conf_init(c);
	for (const struct site *s = w->sites; s != NULL; s = s->next)
		if (s->configured)
			conf_repository_fill(w, c, s);
	for (size_t i = 0; i < w->npolicies; i++) {
		struct conf_policy *p = conf_policy_add(c, w->policies[i].name);

		if (p == NULL)
			die(w, "no memory");
		p->zones = w->policies[i].zones;
		p->share_keys = w->policies[i].shared;
		c->zones += p->zones;
		for (size_t k = 0; k < w->npools; k++) {
			struct pool_words *q = &w->pools[k];
			struct conf_key *key;

			if (strcmp(q->policy, p->name) != 0)
				continue;
			key = conf_key_add(p);
			if (key == NULL)
				die(w, "no memory");
			key->role = q->role;
			key->alg = q->alg;
			key->bits = q->bits;
			key->lifetime = q->lifetime;
			key->standby = q->standby;
			key->repository = copy(w, q->repository);
			key->pool = q->pool;
		}
	}
}

static bool
configure(struct world *w)
{
	struct conf c;
	struct ksm_fail fail;
	enum ksm_err err;

	conf_make(w, &c);
	err = engine_configure(w->engine, &c, &fail);
	conf_clear(&c);
	if (err != KSM_OK && !w->may_fail)
		die(w, "configure: %s", fail.text);
	return err == KSM_OK;
}

static void
engine_begin(struct world *w, bool unclean)
{
	int64_t doubted;
	struct engine_io io = { .ctx = w,
		.wall = io_wall,
		.steady = io_steady,
		.random = io_random,
		.worker_start = io_start,
		.worker_send = io_send,
		.worker_leave = io_leave,
		.worker_kill = io_kill,
		.pin_source_print = io_pin_print };
	struct ksm_fail fail;

	store_start(w);
	if (unclean && (store_keys_doubt(w->store, &doubted, &fail) != KSM_OK ||
			   store_commit(w->store, &fail) != KSM_OK))
		die(w, "%s", fail.text);
	if (engine_new(w->store, &io, &w->engine, &fail) != KSM_OK)
		die(w, "%s", fail.text);
	(void)configure(w);
	run(w);
}

/* The daemon is killed: what it had not committed is lost. */
static void
engine_end(struct world *w)
{
	w->fail_in = 0;
	w->fail_at[0] = '\0';
	w->failing = false;
	if (w->store != NULL && w->store->batch) {
		(void)sqlite3_exec(w->store->db, "ROLLBACK", NULL, NULL, NULL);
		w->store->batch = false;
	}
	engine_free(w->engine);
	w->engine = NULL;
	store_close(w->store);
	w->store = NULL;
}

/*
 * Orphans finish the key they are making and hold the lock until then. An
 * open request of another kind is carried out or not; nobody hears of it.
 */
static void
restart(struct world *w, bool killed, bool unclean, ksm_msec lock,
    const struct left *left)
{
	struct child *next;

	engine_end(w);
	store_lock(w, false); /* or it would not start */
	for (struct child *c = w->children; c != NULL; c = next) {
		bool making = c->open && c->request.type == HSM_GENERATE;

		next = c->next;
		if (c->orphan && !killed)
			continue;
		if (making && !c->orphan)
			c->left = *left;
		if (!making || killed || c->state == WORKER_DYING) {
			c->orphan = true;
			child_exit(w, c);
			continue;
		}
		c->orphan = true;
		if (lock != NEVER || c->next_act != NEXT_ANSWER)
			child_next(w, c, NEXT_EXIT, lock == NEVER ? 0 : lock);
		c->next_act = NEXT_EXIT;
	}
	w->ticket = w->errand = 0;
	engine_begin(w, unclean);
}

/* ---- sound ------------------------------------------------------------- */

static const char *
row_fault(const struct site *s, const struct store_key *k)
{
	int privates = token_count(s, &k->id, true);
	int publics = token_count(s, &k->id, false);

	if (k->state == KEY_INTENDED || k->state == KEY_UNKNOWN ||
	    k->state == KEY_MADE || k->state == KEY_DESTROYING)
		return "is not settled";
	if (!key_state_living(k->state))
		return privates + publics == 0 ? NULL
					       : "has objects in the token";
	if (privates != 1)
		return "has not one private object";
	if (publics != (single_object(s, k->pool.alg) ? 0 : 1))
		return "has not one public object";
	return NULL;
}

/* A key is never dated before one that was recorded earlier. */
static void
expect_dates(struct world *w)
{
	sqlite3_stmt *q = NULL;
	int64_t newest = 0;

	if (sqlite3_prepare_v2(w->peek,
		"SELECT serial, ended FROM key "
		"WHERE serial IS NOT NULL ORDER BY serial",
		-1, &q, NULL) != SQLITE_OK)
		die(w, "%s", sqlite3_errmsg(w->peek));
	while (sqlite3_step(q) == SQLITE_ROW) {
		int64_t ended = sqlite3_column_int64(q, 1);

		if (ended < newest) {
			int64_t serial = sqlite3_column_int64(q, 0);

			(void)sqlite3_finalize(q);
			die(w,
			    "expected dates in order; serial %" PRId64
			    " is dated %" PRId64 " s before one that was "
			    "recorded earlier",
			    serial, newest - ended);
		}
		newest = ended;
	}
	(void)sqlite3_finalize(q);
}

static void
expect_sound(struct world *w)
{
	struct key_filter all = { 0 };
	struct store_key k;
	struct ksm_fail fail;
	char id[KEY_ID_HEX];
	int64_t cursor = 0;
	size_t n = 0;

	for (;;) {
		const struct site *s;
		const char *fault;

		if (store_keys_list(
			w->store, &all, &cursor, &k, 1, &n, &fail) != KSM_OK)
			die(w, "%s", fail.text);
		if (n == 0)
			break;
		s = site_find(w, k.pool.repository);
		if (s == NULL || !s->configured)
			continue;
		fault = row_fault(s, &k);
		key_id_format(&k.id, id);
		if (fault != NULL)
			die(w,
			    "expected a sound token; %s: key k%zu %s, %s, %s "
			    "(%s)",
			    s->name, key_of(w, &k.id) + 1, id,
			    key_state_text(k.state), fault, k.why);
	}
	for (const struct site *s = w->sites; s != NULL; s = s->next)
		for (size_t i = 0; s->configured && i < s->nobjects; i++) {
			key_id_format(&s->objects[i].id, id);
			if (!w->keys[s->objects[i].key].other &&
			    store_key_get(w->store, &s->objects[i].id, &k,
				&fail) != KSM_OK)
				die(w,
				    "expected a sound token; %s: object %s "
				    "of k%zu has no row",
				    s->name, id, s->objects[i].key + 1);
		}
	for (size_t i = 0; i < engine_repositories(w->engine); i++) {
		struct repository_view v;

		engine_repository_view(w->engine, i, &v);
		if (v.orphans != 0)
			die(w,
			    "expected a sound token; %s: %" PRId64 " orphans",
			    v.conf->name, v.orphans);
	}
	expect_dates(w);
}

/* ---- words -------------------------------------------------------------- */

struct words {
	char *at[WORDS];
	bool used[WORDS];
	size_t n, next;
};

/* The next word that is not name=value and was not used; NULL. */
static const char *
word_find(struct words *v)
{
	for (; v->next < v->n; v->next++)
		if (!v->used[v->next]) {
			v->used[v->next] = true;
			return v->at[v->next++];
		}
	return NULL;
}

static const char *
word(struct world *w, struct words *v, const char *what)
{
	const char *text = word_find(v);

	if (text == NULL)
		die(w, "%s is missing", what);
	return text;
}

static const char *
option(struct words *v, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < v->n; i++)
		if (!v->used[i] && strncmp(v->at[i], name, len) == 0 &&
		    v->at[i][len] == '=') {
			v->used[i] = true;
			return v->at[i] + len + 1;
		}
	return NULL;
}

static bool
flag(struct words *v, const char *name)
{
	for (size_t i = 0; i < v->n; i++)
		if (!v->used[i] && strcmp(v->at[i], name) == 0)
			return v->used[i] = true;
	return false;
}

static void
words_end(struct world *w, const struct words *v)
{
	for (size_t i = 0; i < v->n; i++)
		if (!v->used[i])
			die(w, "\"%s\" is not understood here", v->at[i]);
}

static int64_t
number(struct world *w, const char *text)
{
	char *end;
	long long n = strtoll(text, &end, 10);

	if (end == text || *end != '\0')
		die(w, "\"%s\" is not a number", text);
	return n;
}

static ksm_msec
duration(struct world *w, const char *text)
{
	static const struct {
		const char *unit;
		ksm_msec ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 },
		{ "h", 3600 * 1000 }, { "d", 86400 * INT64_C(1000) } };
	char *end;
	long long n = strtoll(text, &end, 10);

	for (size_t i = 0; end != text && i < nitems(units); i++)
		if (strcmp(end, units[i].unit) == 0)
			return n * units[i].ms;
	die(w, "\"%s\" is not a duration", text);
}

static int64_t
option_number(
    struct world *w, struct words *v, const char *name, int64_t otherwise)
{
	const char *text = option(v, name);

	return text == NULL ? otherwise : number(w, text);
}

static ksm_msec
option_duration(
    struct world *w, struct words *v, const char *name, ksm_msec otherwise)
{
	const char *text = option(v, name);

	return text == NULL ? otherwise : duration(w, text);
}

static bool
option_yes(struct words *v, const char *name, bool otherwise)
{
	const char *text = option(v, name);

	return text == NULL ? otherwise : strcmp(text, "yes") == 0;
}

static size_t
choice(struct world *w, const char *text, const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(text, texts[i]) == 0)
			return i;
	die(w, "\"%s\" is none of the choices", text);
}

static enum ckr_group
group_parse(struct world *w, const char *text)
{
	for (int g = 0; g < CKRG__COUNT; g++)
		if (strcmp(text, ckr_group_text((enum ckr_group)g)) == 0)
			return (enum ckr_group)g;
	die(w, "there is no group \"%s\"", text);
}

static struct left
left_parse(struct world *w, const char *text)
{
	struct left left = left_nothing;
	const char *plus = strchr(text, '+');
	size_t len = plus == NULL ? strlen(text) : (size_t)(plus - text);

	if (strncmp(text, "whole", len) == 0)
		left.private = left.public = true;
	else if (strncmp(text, "private", len) == 0)
		left.private = true;
	else if (strncmp(text, "public", len) == 0)
		left.public = true;
	else if (strncmp(text, "nothing", len) != 0)
		die(w, "nothing is left as \"%s\"", text);
	if (plus != NULL)
		left.late = duration(w, plus + 1);
	return left;
}

static size_t
key_parse(struct world *w, const char *text)
{
	int64_t n = text[0] == 'k' ? number(w, text + 1) : 0;

	if (n < 1 || (size_t)n > w->nkeys)
		die(w, "no key %s was asked for yet", text);
	return (size_t)n - 1;
}

static enum key_role
role_parse(struct world *w, const char *text)
{
	enum key_role role = ROLE_KSK;

	if (!key_role_find(text, &role))
		die(w, "there is no role \"%s\"", text);
	return role;
}

/* "OP N": does `is` fit? */
static void
compare(struct world *w, struct words *v, const char *what, int64_t is,
    bool durations)
{
	const char *op = word(w, v, "a comparison");
	const char *text = word(w, v, "a number");
	int64_t n = durations ? duration(w, text) : number(w, text);
	bool ok;

	if (strcmp(op, "=") == 0)
		ok = is == n;
	else if (strcmp(op, "<") == 0)
		ok = is < n;
	else if (strcmp(op, ">") == 0)
		ok = is > n;
	else if (strcmp(op, "<=") == 0)
		ok = is <= n;
	else if (strcmp(op, ">=") == 0)
		ok = is >= n;
	else
		die(w, "\"%s\" compares nothing", op);
	if (!ok)
		die(w, "expected %s %s %s; it is %" PRId64 "%s", what, op, text,
		    is, durations ? " ms" : "");
}

/* ---- settings ----------------------------------------------------------- */

static struct site *
site_add(struct world *w, const char *name)
{
	struct site *s = calloc(1, sizeof(*s)), **at = &w->sites;

	if (s == NULL)
		die(w, "no memory");
	*s = (struct site){ .name = copy(w, name),
		.module = copy(w, "/invented.so"),
		.deadline = 120 * 1000,
		.kill_after = NEVER,
		.capacity = -1,
		.sessions = 1,
		.room = -1,
		.takes = 1000,
		.leave = EXIT_MS,
		.left = left_nothing };
	(void)snprintf(s->label, sizeof(s->label), "%.50s", name);
	(void)snprintf(s->serial, sizeof(s->serial), "serial-%.40s", name);
	(void)strcpy(s->pin, "1234");
	(void)strcpy(s->pin_source, "1234");
	while (*at != NULL)
		at = &(*at)->next;
	*at = s;
	return s;
}

static void
do_repository(struct world *w, struct words *v)
{
	const char *name = word(w, v, "a name"), *text;
	struct site *s = site_find(w, name);

	if (s == NULL)
		s = site_add(w, name);
	s->configured = true;
	s->deadline = option_duration(w, v, "deadline", s->deadline);
	s->sessions = (int)option_number(w, v, "sessions", s->sessions);
	s->capacity = option_number(w, v, "capacity", s->capacity);
	s->pace = option_number(w, v, "pace", s->pace);
	s->recycle = option_number(w, v, "recycle", s->recycle);
	s->skip_public = option_yes(v, "skip-public", s->skip_public);
	s->extractable = option_yes(v, "extractable", s->extractable);
	s->backup = option_yes(v, "backup", s->backup);
	if ((text = option(v, "module")) != NULL) {
		free(s->module);
		s->module = copy(w, text);
	}
	if ((text = option(v, "overdue")) == NULL)
		return;
	if (strcmp(text, "wait") == 0)
		s->kill_after = NEVER;
	else if (strncmp(text, "kill:", 5) == 0)
		s->kill_after = duration(w, text + 5);
	else
		die(w, "overdue is wait or kill:T");
}

static void
do_policy(struct world *w, struct words *v)
{
	const char *name = word(w, v, "a name");
	struct policy_words *p = NULL;

	for (size_t i = 0; i < w->npolicies; i++)
		if (strcmp(w->policies[i].name, name) == 0)
			p = &w->policies[i];
	if (p == NULL) {
		w->policies = grow(w, w->policies, w->npolicies, &w->apolicies,
		    sizeof(*w->policies));
		p = &w->policies[w->npolicies++];
		*p = (struct policy_words){ .name = copy(w, name), .zones = 1 };
	}
	p->zones = option_number(w, v, "zones", p->zones);
	p->shared = flag(v, "shared") || p->shared;
}

static struct pool_words *
pool_words_get(struct world *w, const char *policy, enum key_role role, int alg,
    const char *repository)
{
	struct pool_words *p;

	for (size_t i = 0; i < w->npools; i++) {
		p = &w->pools[i];
		if (strcmp(p->policy, policy) == 0 && p->role == role &&
		    p->alg == alg && strcmp(p->repository, repository) == 0)
			return p;
	}
	w->pools = grow(w, w->pools, w->npools, &w->apools, sizeof(*w->pools));
	p = &w->pools[w->npools++];
	*p = (struct pool_words){ .policy = copy(w, policy),
		.repository = copy(w, repository),
		.role = role,
		.alg = alg,
		.bits = alg == 14   ? 384
			: alg == 13 ? 256
				    : 1024 };
	conf_pool_default(&p->pool);
	return p;
}

static void
do_key(struct world *w, struct words *v)
{
	const char *policy = word(w, v, "a policy"), *text;
	enum key_role role = role_parse(w, word(w, v, "a role"));
	int alg = (int)number(w, word(w, v, "an algorithm"));
	struct pool_words *p =
	    pool_words_get(w, policy, role, alg, word(w, v, "a repository"));

	p->bits = (int)option_number(w, v, "bits", p->bits);
	p->lifetime =
	    option_duration(w, v, "lifetime", p->lifetime * 1000) / 1000;
	p->standby = option_number(w, v, "standby", p->standby);
	p->pool.horizon =
	    option_duration(w, v, "horizon", p->pool.horizon * 1000) / 1000;
	p->pool.emergency_rolls =
	    option_number(w, v, "rolls", p->pool.emergency_rolls);
	p->pool.low_water = option_number(w, v, "low", p->pool.low_water);
	p->pool.max_per_run = option_number(w, v, "max", p->pool.max_per_run);
	if ((text = option(v, "fixed")) != NULL) {
		p->pool.strategy = STRATEGY_FIXED;
		p->pool.fixed = number(w, text);
	}
	if ((text = option(v, "strategy")) != NULL &&
	    !strategy_find(text, &p->pool.strategy))
		die(w, "there is no strategy \"%s\"", text);
}

static void
forget_policy(struct world *w, const char *name)
{
	for (size_t i = 0; i < w->npolicies; i++)
		if (strcmp(w->policies[i].name, name) == 0) {
			free(w->policies[i].name);
			w->npolicies--;
			memmove(&w->policies[i], &w->policies[i + 1],
			    (w->npolicies - i) * sizeof(w->policies[0]));
			return;
		}
	die(w, "there is no policy %s", name);
}

static void
pool_words_drop(struct world *w, size_t i)
{
	free(w->pools[i].policy);
	free(w->pools[i].repository);
	w->npools--;
	memmove(&w->pools[i], &w->pools[i + 1],
	    (w->npools - i) * sizeof(w->pools[0]));
}

static void
do_forget(struct world *w, struct words *v)
{
	const char *what = word(w, v, "what"), *name = word(w, v, "a name");

	if (strcmp(what, "policy") == 0) {
		forget_policy(w, name);
	} else if (strcmp(what, "repository") == 0) {
		site_get(w, name)->configured = false;
		for (size_t i = 0; i < w->npools;)
			if (strcmp(w->pools[i].repository, name) == 0)
				pool_words_drop(w, i);
			else
				i++;
	} else {
		die(w, "forget a policy or a repository");
	}
}

static void
token_drop(struct world *w, struct site *s, struct words *v)
{
	const char *what = word(w, v, "which");
	bool private = flag(v, "private"), public = flag(v, "public");
	size_t key;

	if (what[0] != 'k') {
		for (int64_t n = number(w, what); n > 0; n--) {
			struct key_id id;

			if (s->nobjects == 0)
				die(w, "the token is empty");
			id = s->objects[0].id;
			for (size_t i = s->nobjects; i-- > 0;)
				if (key_id_cmp(&s->objects[i].id, &id) == 0)
					object_drop(s, i);
		}
		return;
	}
	key = key_parse(w, what);
	for (size_t i = s->nobjects; i-- > 0;)
		if (s->objects[i].key == key &&
		    (private == public || s->objects[i].private == private))
			object_drop(s, i);
}

/* Pairs that the token does not show for a while. */
static void
token_hide(struct world *w, struct site *s, int64_t n)
{
	for (; n > 0; n--) {
		size_t first = 0;

		while (first < s->nobjects && s->objects[first].hidden)
			first++;
		if (first == s->nobjects)
			die(w, "the token shows nothing any more");
		for (size_t i = first + 1; i < s->nobjects; i++)
			if (key_id_cmp(
				&s->objects[i].id, &s->objects[first].id) == 0)
				s->objects[i].hidden = true;
		s->objects[first].hidden = true;
	}
}

static void
token_stray(struct world *w, struct site *s, bool other)
{
	struct key *k;

	w->keys = grow(w, w->keys, w->nkeys, &w->akeys, sizeof(*w->keys));
	k = &w->keys[w->nkeys++];
	*k = (struct key){ .alg = 13, .bits = 256 };
	io_random(w, &k->id, sizeof(k->id));
	k->other = other;
	if (!other)
		store_tag_get(w->store, k->id.bytes);
	token_complete(w, s, w->nkeys - 1, true, true);
}

static void
token_settings(struct world *w, struct site *s, struct words *v)
{
	const char *text;

	if ((text = option(v, "label")) != NULL)
		(void)snprintf(s->label, sizeof(s->label), "%s", text);
	if ((text = option(v, "serial")) != NULL)
		(void)snprintf(s->serial, sizeof(s->serial), "%s", text);
	if ((text = option(v, "pin")) != NULL)
		(void)snprintf(s->pin, sizeof(s->pin), "%s", text);
	if ((text = option(v, "does")) != NULL)
		s->deed = (enum deed)choice(w, text, deed_text, DEED__COUNT);
	if ((text = option(v, "left")) != NULL)
		s->left = left_parse(w, text);
	if ((text = option(v, "bad")) != NULL)
		s->lie = (enum lie)choice(w, text, lie_text, LIE__COUNT);
	s->room = option_number(w, v, "room", s->room);
	s->limit = (int)option_number(w, v, "sessions", s->limit);
	s->refuses = (int)option_number(w, v, "refuses", s->refuses);
	s->takes = option_duration(w, v, "takes", s->takes);
	s->leave = option_duration(w, v, "leave", s->leave);
	s->keeps_halves = option_yes(v, "keeps-halves", s->keeps_halves);
	if (flag(v, "absent"))
		s->absent = true;
	if (flag(v, "present"))
		s->absent = false;
}

static void
do_token(struct world *w, struct words *v)
{
	struct site *s = site_get(w, word(w, v, "a repository"));
	const char *what;

	token_settings(w, s, v);
	what = word_find(v);
	if (what == NULL)
		return;
	if (strcmp(what, "clear") == 0) {
		s->nobjects = 0;
	} else if (strcmp(what, "drop") == 0) {
		token_drop(w, s, v);
	} else if (strcmp(what, "hide") == 0) {
		token_hide(w, s, number(w, word(w, v, "how many")));
	} else if (strcmp(what, "show") == 0) {
		for (size_t i = 0; i < s->nobjects; i++)
			s->objects[i].hidden = false;
	} else if (strcmp(what, "foreign") == 0) {
		s->foreign = number(w, word(w, v, "how many"));
	} else if (strcmp(what, "nameless") == 0) {
		s->nameless = number(w, word(w, v, "how many"));
	} else if (strcmp(what, "stray") == 0) {
		for (int64_t n = number(w, word(w, v, "how many")); n > 0; n--)
			token_stray(w, s, false);
	} else if (strcmp(what, "other") == 0) {
		for (int64_t n = number(w, word(w, v, "how many")); n > 0; n--)
			token_stray(w, s, true);
	} else if (strcmp(what, "crowd") == 0) {
		s->crowd = (size_t)number(w, word(w, v, "how many"));
	} else if (strcmp(what, "certificate") == 0) {
		size_t key = key_parse(w, word(w, v, "a key"));

		if (s->ncertificates == nitems(s->certificates))
			die(w, "no room for more certificates");
		s->certificates[s->ncertificates++] = w->keys[key].id;
	} else if (strcmp(what, "double") == 0) {
		size_t key = key_parse(w, word(w, v, "a key"));

		object_put(w, s, key, true);
		object_put(w, s, key, false);
	} else {
		die(w, "a token does not %s", what);
	}
}

static void
do_pin(struct world *w, struct words *v)
{
	struct site *s = site_get(w, word(w, v, "a repository"));

	(void)snprintf(
	    s->pin_source, sizeof(s->pin_source), "%s", word(w, v, "a PIN"));
}

/* ---- what workers do by hand ------------------------------------------- */

static bool
child_is(const struct child *c, const char *who)
{
	return strcmp(who, c->purpose == PURPOSE_GENERATOR
			       ? "worker"
			       : worker_purpose_text(c->purpose)) == 0;
}

/* The oldest of that kind to which `what` can happen now. */
static struct child *
child_pick(
    struct world *w, const char *who, const struct site *s, const char *what)
{
	bool starts = strcmp(what, "hello") == 0 || strcmp(what, "failed") == 0;
	bool ends = strcmp(what, "exit") == 0 || strcmp(what, "stuck") == 0 ||
		    strcmp(what, "babble") == 0;
	struct child *best = NULL;

	for (struct child *c = w->children; c != NULL; c = c->next) {
		if (c->site != s || !child_is(c, who) ||
		    c->next_act == NEXT_EXIT)
			continue;
		if (starts && c->state != WORKER_STARTING)
			continue;
		if (!starts && !ends && !c->open)
			continue;
		/* Ends: the dying first, then those in a call. */
		if (best != NULL && ends &&
		    ((best->state == WORKER_DYING) >
			    (c->state == WORKER_DYING) ||
			(best->open > c->open && c->state != WORKER_DYING)))
			continue;
		best = c;
	}
	if (best == NULL)
		die(w, "%s has no %s that could say or do %s", s->name, who,
		    what);
	return best;
}

static void
worker_refused(
    struct world *w, struct child *c, struct words *v, enum hsm_type type)
{
	const char *group = option(v, "group"), *stage = option(v, "stage");
	const char *name = option(v, "name"), *left = option(v, "left");
	struct left rest = left_nothing;

	if (left != NULL)
		rest = left_parse(w, left);
	if (c->request.type == HSM_GENERATE)
		token_leave(w, c->site, c->key, &rest);
	say_no(w, c, type, group == NULL ? CKRG_NOTHING : group_parse(w, group),
	    stage == NULL ? hsm_type_text(c->request.type) : stage,
	    name == NULL ? "" : name);
}

static void
worker_exits(struct world *w, struct child *c, struct words *v)
{
	const char *sig = option(v, "signal"), *status = option(v, "status");
	const char *left = option(v, "left");

	(void)snprintf(c->how, sizeof(c->how), "%s %.10s",
	    sig != NULL ? "signal" : "exit",
	    sig != NULL	     ? sig
	    : status == NULL ? "0"
			     : status);
	if (left != NULL)
		c->left = left_parse(w, left);
	/* Of a pair that was to be destroyed that much is still there. */
	if (left != NULL && c->open && c->request.type == HSM_REMOVE)
		token_remove(w, c->site, &c->request.u.remove.id,
		    !c->left.private, !c->left.public);
	child_exit(w, c);
}

static void
do_worker(struct world *w, const char *who, struct words *v)
{
	struct site *s = site_get(w, word(w, v, "a repository"));
	const char *what = word(w, v, "what it does");
	struct child *c = child_pick(w, who, s, what);
	const char *lie = option(v, "bad");
	enum lie bad = lie == NULL
			   ? LIE_NO
			   : (enum lie)choice(w, lie, lie_text, LIE__COUNT);

	if (strcmp(what, "hello") == 0) {
		say_hello(w, c);
	} else if (strcmp(what, "failed") == 0) {
		const char *stage = option(v, "stage");
		const char *name = option(v, "name");
		const char *group = option(v, "group");

		say_failed(w, c, stage == NULL ? "token" : stage,
		    name == NULL ? "" : name,
		    group == NULL ? CKRG_OTHER : group_parse(w, group), "");
	} else if (strcmp(what, "generated") == 0) {
		say_generated(w, c, bad, option_duration(w, v, "took", 1000));
	} else if (strcmp(what, "refused") == 0) {
		worker_refused(w, c, v, HSM_REFUSED);
	} else if (strcmp(what, "unknown") == 0) {
		worker_refused(w, c, v, HSM_UNKNOWN);
	} else if (strcmp(what, "list") == 0) {
		say_list(w, c);
	} else if (strcmp(what, "prove") == 0) {
		say_proof(w, c, bad);
	} else if (strcmp(what, "destroyed") == 0) {
		say_destroyed(w, c);
	} else if (strcmp(what, "removed") == 0) {
		say_removed(w, c);
	} else if (strcmp(what, "objects") == 0) {
		say_objects(w, c);
	} else if (strcmp(what, "swept") == 0) {
		say_swept(w, c);
	} else if (strcmp(what, "exit") == 0) {
		worker_exits(w, c, v);
	} else if (strcmp(what, "babble") == 0) {
		say_babble(w, c);
	} else if (strcmp(what, "stuck") == 0) {
		engine_on_stuck(w->engine, c->no);
		run(w);
	} else {
		die(w, "a %s does not %s", who, what);
	}
}

/* ---- expectations ------------------------------------------------- */

/* The first of that kind and type that no line has named yet. */
static void
expect_did(struct world *w, enum kind kind, struct words *v)
{
	struct site *s = site_get(w, word(w, v, "a repository"));
	char want[64];
	const char *first = word_find(v), *second = word_find(v);

	(void)snprintf(want, sizeof(want), "%s%s%s", first == NULL ? "" : first,
	    second == NULL ? "" : " ", second == NULL ? "" : second);
	for (size_t i = 0; i < s->ndids; i++) {
		struct did *d = &s->dids[i];
		size_t len = strlen(want);

		if (d->seen || d->kind != kind ||
		    (first != NULL &&
			strncmp(d->text, first, strlen(first)) != 0))
			continue;
		/* "generate" fits "generate k1". */
		if (strncmp(d->text, want, len) != 0 ||
		    (len > 0 && d->text[len] != '\0' && d->text[len] != ' '))
			die(w, "expected %s %s %s; it was %s %s",
			    kind_text[kind], s->name, want, kind_text[kind],
			    d->text);
		d->seen = true;
		return;
	}
	die(w, "expected %s %s %s; nothing of the kind happened",
	    kind_text[kind], s->name, want);
}

static void
expect_nothing(struct world *w, struct words *v)
{
	const char *name = word_find(v);

	for (struct site *s = w->sites; s != NULL; s = s->next)
		for (size_t i = 0; i < s->ndids; i++) {
			const struct did *d = &s->dids[i];

			if ((name != NULL && strcmp(s->name, name) != 0) ||
			    d->seen || d->kind == DID_LEAVE)
				continue;
			die(w, "expected nothing; there was %s %s %s",
			    kind_text[d->kind], s->name, d->text);
		}
}

static void
expect_key(struct world *w, struct words *v)
{
	const char *name = word(w, v, "a key");
	const char *want = word(w, v, "a state");
	const struct key *k = &w->keys[key_parse(w, name)];
	struct store_key row;
	struct ksm_fail fail;
	enum key_state state;
	const char *is;

	if (strcmp(want, "none") != 0 && !key_state_find(want, &state))
		die(w, "there is no state %s", want);
	is = store_key_get(w->store, &k->id, &row, &fail) == KSM_OK
		 ? key_state_text(row.state)
		 : "none";
	if (strcmp(is, want) != 0)
		die(w, "expected key %s %s; it is %s", name, want, is);
}

struct counting {
	const char *policy, *repository;
	enum key_state state;
	int64_t n;
};

static void
count_one(void *ctx, int64_t row, const struct pool_spec *spec,
    enum key_state state, int64_t n)
{
	struct counting *c = ctx;

	(void)row;
	if (state == c->state &&
	    (c->policy == NULL || strcmp(c->policy, spec->policy) == 0) &&
	    (c->repository == NULL ||
		strcmp(c->repository, spec->repository) == 0))
		c->n += n;
}

static int64_t
count_keys(struct world *w, enum key_state state, const char *policy,
    const char *repository)
{
	struct counting c = { policy, repository, state, 0 };
	struct ksm_fail fail;

	if (store_counts(w->store, count_one, &c, &fail) != KSM_OK)
		die(w, "%s", fail.text);
	return c.n;
}

static void
expect_count(struct world *w, struct words *v)
{
	const char *text = word(w, v, "a state");
	const char *policy = option(v, "policy");
	const char *repository = option(v, "repository");
	enum key_state state = KEY_READY;
	char what[64];

	if (!key_state_find(text, &state))
		die(w, "there is no state %s", text);
	(void)snprintf(what, sizeof(what), "count of %s", text);
	compare(w, v, what, count_keys(w, state, policy, repository), false);
}

static void
view_of(struct world *w, const char *name, struct repository_view *out)
{
	for (size_t i = 0; i < engine_repositories(w->engine); i++) {
		engine_repository_view(w->engine, i, out);
		if (strcmp(out->conf->name, name) == 0)
			return;
	}
	die(w, "repository %s is not in force", name);
}

static void
expect_status(struct world *w, struct words *v)
{
	const char *name = word(w, v, "a repository");
	const char *want = word(w, v, "a status");
	struct repository_view view;

	view_of(w, name, &view);
	if (strcmp(repository_status_text(view.status), want) != 0)
		die(w, "expected status of %s %s; it is %s (%s)", name, want,
		    repository_status_text(view.status), view.reason);
}

static void
expect_pool(struct world *w, const char *what, struct words *v)
{
	static const struct {
		const char *what;
		size_t at;
	} counts[] = {
		{ "required", offsetof(struct plan_pool, required) },
		{ "ready", offsetof(struct plan_pool, ready) },
		{ "usable", offsetof(struct plan_pool, usable) },
		{ "deficit", offsetof(struct plan_pool, deficit) },
	};
	const char *policy = word(w, v, "a policy");
	enum key_role role = role_parse(w, word(w, v, "a role"));
	const struct plan *plan = engine_plan(w->engine);
	const char *repository = option(v, "repository"), *want;
	size_t i = 0;
	char trouble[256];

	while (i < plan->npools &&
	       (strcmp(plan->pools[i].policy, policy) != 0 ||
		   plan->pools[i].role != role ||
		   (repository != NULL &&
		       strcmp(plan->pools[i].repository, repository) != 0)))
		i++;
	if (i == plan->npools)
		die(w, "there is no such pool");
	if (strcmp(what, "held") == 0) {
		compare(
		    w, v, "keys held", engine_pool_held(w->engine, i), false);
		return;
	}
	for (size_t k = 0; k < nitems(counts); k++)
		if (strcmp(what, counts[k].what) == 0) {
			compare(w, v, what,
			    *(const int64_t *)((const char *)&plan->pools[i] +
				counts[k].at),
			    false);
			return;
		}
	want = word(w, v, "what");
	if (strcmp(what, "level") == 0) {
		if (strcmp(pool_level_text(plan->pools[i].level), want) != 0)
			die(w, "expected level %s; it is %s", want,
			    pool_level_text(plan->pools[i].level));
		return;
	}
	engine_pool_trouble(w->engine, i, trouble);
	if (strcmp(want, "none") == 0 ? trouble[0] != '\0'
				      : strstr(trouble, want) == NULL)
		die(w, "expected trouble with \"%s\"; it is \"%s\"", want,
		    trouble);
}

static void
expect_topup(struct world *w, struct words *v)
{
	struct topup_state st;
	bool running = flag(v, "running"), full = flag(v, "full");
	bool not_full = flag(v, "short");
	const struct {
		const char *name;
		const int64_t *is;
	} counts[] = { { "wanted", &st.wanted }, { "made", &st.made },
		{ "held", &st.held }, { "failed", &st.failed } };

	(void)flag(v, "done");
	if (engine_topup_state(w->engine, w->ticket, &st) != KSM_OK)
		die(w, "there is no topup");
	if (st.done == running)
		die(w, "expected topup %s; it is %s",
		    running ? "running" : "done", st.done ? "done" : "running");
	if ((full && !st.full) || (not_full && st.full))
		die(w, "expected topup %s; it is not (%s)",
		    full ? "full" : "short", st.trouble);
	for (size_t i = 0; i < nitems(counts); i++) {
		const char *text = option(v, counts[i].name);

		if (text != NULL && number(w, text) != *counts[i].is)
			die(w, "expected topup %s=%s; it is %" PRId64 " (%s)",
			    counts[i].name, text, *counts[i].is, st.trouble);
	}
}

static void
expect_site(struct world *w, const char *what, struct words *v)
{
	const char *name = word(w, v, "a repository"), *text;
	struct site *s = site_get(w, name);
	struct repository_view view;

	if (strcmp(what, "asked") == 0) {
		text = word(w, v, "a type");
		for (int t = 0; t < HSM__TYPES; t++)
			if (strcmp(text, hsm_type_text((enum hsm_type)t)) ==
			    0) {
				compare(w, v, "requests", s->asked[t], false);
				return;
			}
		die(w, "there is no request %s", text);
	}
	if (strcmp(what, "started") == 0) {
		compare(w, v, what, s->starts, false);
		return;
	}
	if (strcmp(what, "logins") == 0) {
		compare(w, v, what, s->bad_logins, false);
		return;
	}
	if (strcmp(what, "pairs") == 0) {
		compare(w, v, what, token_pairs(s), false);
		return;
	}
	view_of(w, name, &view);
	if (strcmp(what, "retry") == 0)
		compare(w, v, what, view.retry_in, true);
	else
		compare(w, v, what,
		    strcmp(what, "deaths") == 0	   ? view.deaths
		    : strcmp(what, "foreign") == 0 ? view.foreign
		    : strcmp(what, "orphans") == 0 ? view.orphans
						   : view.nameless,
		    false);
}

static void
errand_of(struct world *w, struct errand_state *out)
{
	if (engine_errand_state(w->engine, w->errand, out) != KSM_OK)
		die(w, "there is no errand");
}

static void
expect_errand(struct world *w, struct words *v)
{
	struct errand_state st;
	const char *want = word(w, v, "running, done or failed"), *text;
	int64_t swept = option_number(w, v, "swept", -1);
	const char *is;

	errand_of(w, &st);
	is = !st.done ? "running" : st.failed ? "failed" : "done";
	if (strcmp(is, want) != 0)
		die(w, "expected errand %s; it is %s (%s)", want, is, st.text);
	if ((flag(v, "cut") && !st.cut) || (flag(v, "whole") && st.cut))
		die(w, "the list is %s", st.cut ? "cut" : "whole");
	if (swept != -1 && swept != st.swept)
		die(w, "expected %" PRId64 " swept; it is %" PRId64, swept,
		    st.swept);
	text = word_find(v);
	if (text != NULL && strstr(st.text, text) == NULL)
		die(w, "expected words with \"%s\"; it is \"%s\"", text,
		    st.text);
}

static enum found_sort
sort_parse(struct world *w, const char *text)
{
	for (int sort = 0; sort < FOUND__COUNT; sort++)
		if (strcmp(text, found_sort_text((enum found_sort)sort)) == 0)
			return (enum found_sort)sort;
	die(w, "there is no sort %s", text);
}

static void
expect_item(struct world *w, struct words *v)
{
	struct errand_state st;
	const char *name = word(w, v, "a key");
	const struct key_id *id = &w->keys[key_parse(w, name)].id;
	bool done = strcmp(word(w, v, "done or not"), "done") == 0;
	const char *text = word_find(v);

	errand_of(w, &st);
	for (size_t i = 0; i < st.nitems; i++) {
		const struct errand_item *item = &st.items[i];

		if (key_id_cmp(&item->id, id) != 0)
			continue;
		if (item->done != done)
			die(w, "expected %s %s; it is %s (%s)", name,
			    done ? "done" : "not done",
			    item->done ? "done" : "not done", item->text);
		if (text != NULL && strstr(item->text, text) == NULL)
			die(w, "expected words with \"%s\"; it is \"%s\"",
			    text, item->text);
		return;
	}
	die(w, "%s is not of this errand", name);
}

static void
expect_found(struct world *w, struct words *v)
{
	struct errand_state st;
	const char *name = word(w, v, "a sort");
	int64_t listed = 0, want;

	errand_of(w, &st);
	for (int sort = 0; sort < FOUND__COUNT; sort++) {
		if (strcmp(name, found_sort_text((enum found_sort)sort)) != 0)
			continue;
		for (size_t i = 0; i < st.nfound; i++)
			listed += st.found[i].sort == (enum found_sort)sort;
		if ((want = option_number(w, v, "listed", listed)) != listed)
			die(w, "%" PRId64 " are listed, not %" PRId64, listed,
			    want);
		if (sort != FOUND_OURS && !st.cut &&
		    (w->errand_sorts & FOUND_BIT(sort)) != 0 &&
		    listed != st.counts[sort])
			die(w, "%" PRId64 " are listed, %" PRId64 " counted",
			    listed, st.counts[sort]);
		for (size_t i = 1; i < st.nfound; i++)
			if (strcmp(st.found[i - 1].id, st.found[i].id) > 0)
				die(w, "what was found is not in order");
		compare(w, v, name, st.counts[sort], false);
		return;
	}
	die(w, "nothing is found as %s", name);
}

static void
expect_history(struct world *w, struct words *v)
{
	struct history_filter f = { .uid = -1 };
	struct store_history row;
	struct ksm_fail fail;
	char what[48];
	int64_t cursor = 0, n = 0;
	size_t got = 0;

	(void)snprintf(what, sizeof(what), "%s", word(w, v, "what"));
	for (char *p = what; *p != '\0'; p++)
		*p = *p == '-' ? ' ' : *p;
	f.what = what;
	do {
		if (store_history_list(w->store, &f, &cursor, &row, 1, &got,
			&fail) != KSM_OK)
			die(w, "%s", fail.text);
		n += (int64_t)got;
	} while (got > 0);
	compare(w, v, what, n, false);
}

static void
expect_generated(struct world *w, struct words *v)
{
	const char *name = word(w, v, "a repository");
	const struct engine_metric *m;
	size_t n = engine_metrics(w->engine, &m);
	int64_t made = 0, counted = 0;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(m[i].repository, name) != 0)
			continue;
		made += m[i].generated;
		for (int k = 0; k <= METRIC_BUCKETS; k++)
			counted += m[i].bucket[k];
	}
	if (made != counted)
		die(w, "the buckets hold %" PRId64 " of %" PRId64, counted,
		    made);
	compare(w, v, "generated", made, false);
}

static void
do_expect(struct world *w, struct words *v)
{
	static const char *const sites[] = { "asked", "started", "logins",
		"pairs", "retry", "deaths", "foreign", "nameless", "orphans" };
	static const char *const pools[] = { "level", "trouble", "held",
		"required", "ready", "usable", "deficit" };
	const char *what = word(w, v, "what to expect");
	char text[256];

	for (int k = 0; k < DID__COUNT; k++)
		if (strcmp(what, kind_text[k]) == 0) {
			expect_did(w, (enum kind)k, v);
			return;
		}
	for (size_t i = 0; i < nitems(sites); i++)
		if (strcmp(what, sites[i]) == 0) {
			expect_site(w, what, v);
			return;
		}
	for (size_t i = 0; i < nitems(pools); i++)
		if (strcmp(what, pools[i]) == 0) {
			expect_pool(w, what, v);
			return;
		}
	if (strcmp(what, "nothing") == 0) {
		expect_nothing(w, v);
	} else if (strcmp(what, "key") == 0) {
		expect_key(w, v);
	} else if (strcmp(what, "count") == 0) {
		expect_count(w, v);
	} else if (strcmp(what, "status") == 0) {
		expect_status(w, v);
	} else if (strcmp(what, "topup") == 0) {
		expect_topup(w, v);
	} else if (strcmp(what, "sound") == 0) {
		expect_sound(w);
	} else if (strcmp(what, "errand") == 0) {
		expect_errand(w, v);
	} else if (strcmp(what, "item") == 0) {
		expect_item(w, v);
	} else if (strcmp(what, "found") == 0) {
		expect_found(w, v);
	} else if (strcmp(what, "history") == 0) {
		expect_history(w, v);
	} else if (strcmp(what, "generated") == 0) {
		expect_generated(w, v);
	} else if (strcmp(what, "store") == 0) {
		bool bad = strcmp(word(w, v, "good or bad"), "bad") == 0;
		const char *why = word_find(v);

		if (engine_store_trouble(w->engine, text) != bad ||
		    (why != NULL && strstr(text, why) == NULL))
			die(w, "expected the store to be %s; \"%s\"",
			    bad ? "bad" : "good", text);
	} else if (strcmp(what, "clock") == 0) {
		bool bad = strcmp(word(w, v, "good or bad"), "bad") == 0;

		if (engine_clock_trouble(w->engine, text) != bad)
			die(w, "expected the clock to be %s; %s",
			    bad ? "bad" : "good", text);
	} else if (strcmp(what, "stopped") == 0) {
		if (!engine_stopped(w->engine))
			die(w, "expected the engine to have stopped");
	} else if (strcmp(what, "running") == 0) {
		if (engine_stopped(w->engine))
			die(w, "expected the engine to be running");
	} else {
		die(w, "nobody can expect %s", what);
	}
}

/* ---- chance ------------------------------------------------------------ */

static struct left
random_left(struct world *w)
{
	struct left left = { dice_below(w, 2) == 0, dice_below(w, 2) == 0,
		NEVER };

	if (dice_below(w, 4) == 0)
		left.late = (ksm_msec)dice_below(w, 3000);
	return left;
}

/* Somebody is killed, whatever it is doing. */
static void
random_kill(struct world *w)
{
	struct child *c = w->children;

	for (uint64_t n = dice_below(w, 4); c != NULL && n > 0; n--)
		c = c->next;
	if (c == NULL || c->orphan)
		return;
	c->left = random_left(w);
	if (c->open && c->request.type == HSM_REMOVE)
		token_remove(w, c->site, &c->request.u.remove.id,
		    !c->left.private, !c->left.public);
	(void)strcpy(c->how, "signal 9");
	child_exit(w, c);
}

static struct site *
random_site(struct world *w)
{
	struct site *s = w->sites;

	for (uint64_t n = dice_below(w, 4); n > 0; n--)
		s = s->next == NULL ? w->sites : s->next;
	return s;
}

static void
random_topup(struct world *w)
{
	struct topup_want want = { .max = -1, .cause = RUN_TOPUP };
	struct ksm_fail fail;

	(void)engine_topup(w->engine, &want, &w->ticket, &fail);
	run(w);
}

static void
random_zones(struct world *w)
{
	struct policy_words *p = &w->policies[dice_below(w, w->npolicies)];

	/* More and more, so that there is always something to make. */
	p->zones =
	    (int64_t)dice_below(w, 8 + (uint64_t)(w->now - w->origin) / 60000);
	(void)configure(w);
	run(w);
}

static void
random_errand(struct world *w, const struct site *s)
{
	static const enum errand_kind kinds[] = { ERRAND_INVENTORY,
		ERRAND_DESTROY, ERRAND_DESTROY, ERRAND_CLEAN };
	struct key_id ids[4];
	struct errand_want want = { .kind = kinds[dice_below(w, 4)],
		.sorts = FOUND_ANY,
		.repository = s->name,
		.ids = ids,
		.reason = "chance",
		.who = { .uid = 0, .pid = 1 } };
	struct ksm_fail fail;

	if (w->errand != 0 && dice_below(w, 2) == 0)
		engine_errand_forget(w->engine, w->errand);
	while (want.nids < nitems(ids) && w->nkeys > 0)
		ids[want.nids++] = w->keys[dice_below(w, w->nkeys)].id;
	(void)engine_errand(w->engine, &want, &w->errand, &fail);
	run(w);
}

static void
random_order(struct world *w)
{
	struct store_actor who = { .uid = 0, .pid = 1 };
	struct ksm_fail fail;
	bool was;

	if (dice_below(w, 2) == 0)
		(void)engine_pause(w->engine,
		    io_wall(w) + 1 + (ksm_time)dice_below(w, 10), "chance", who,
		    &fail);
	else if (dice_below(w, 2) == 0)
		(void)engine_unpause(w->engine, who, &was, &fail);
	else if (w->nkeys > 0)
		(void)engine_key_retire(w->engine,
		    &w->keys[dice_below(w, w->nkeys)].id, "chance", who, &fail);
	run(w);
}

static void
random_deed(struct world *w)
{
	struct site *s = random_site(w);
	struct left left = random_left(w);

	switch (dice_below(w, 28)) {
	case 0:
	case 1:
	case 2:
	case 3:
		random_kill(w);
		break;
	case 4:
		restart(w, true, dice_below(w, 4) == 0, NEVER, &left);
		break;
	case 5:
		restart(w, false, false, NEVER, &left_whole);
		break;
	case 6:
		restart(w, false, false, (ksm_msec)dice_below(w, 3000), &left);
		break;
	case 7:
	case 8:
	case 9:
		w->fail_in = 1 + (int64_t)dice_below(w, 30);
		break;
	case 10:
		store_lock(w, !w->locked);
		break;
	case 11:
		s->absent = !s->absent;
		break;
	case 12:
	case 13:
		s->deed = (enum deed)dice_below(w, DEED__COUNT);
		s->left = left;
		break;
	case 14:
		s->deed = DEED_WORK;
		break;
	case 15:
		random_topup(w);
		break;
	case 16:
		random_zones(w);
		break;
	case 17:
		s->takes = 1 + (ksm_msec)dice_below(w, 4000);
		break;
	case 18:
		w->wall_offset += (int64_t)dice_below(w, 7) - 3;
		break;
	case 19:
		s->room = dice_below(w, 2) == 0 ? token_pairs(s) : -1;
		break;
	case 20:
	case 21:
		random_errand(w, s);
		break;
	case 22:
		random_order(w);
		break;
	default:
		break;
	}
}

static void
random_heal(struct world *w)
{
	w->fail_in = 0;
	store_lock(w, false);
	for (struct site *s = w->sites; s != NULL; s = s->next) {
		s->absent = false;
		s->deed = DEED_WORK;
		s->room = -1;
	}
	/* One that hangs in a call for ever would be killed by somebody. */
	for (struct child *c = w->children, *next; c != NULL; c = next) {
		next = c->next;
		if (!c->orphan && c->open && c->next_act == NEXT_NOTHING) {
			(void)strcpy(c->how, "signal 9");
			child_exit(w, c);
			next = w->children;
		}
	}
}

static void
do_random(struct world *w, struct words *v)
{
	int64_t steps = option_number(w, v, "steps", 2000);

	w->dice = (uint64_t)option_number(w, v, "seed", 1) *
		      UINT64_C(0x9e3779b97f4a7c15) |
		  1;
	w->by_itself = true;
	w->may_fail = true;
	for (int64_t i = 0; i < steps; i++) {
		advance(w, w->now + (ksm_msec)dice_below(w, 3000));
		if (dice_below(w, 12) == 0)
			random_heal(w);
		random_deed(w);
	}
	random_heal(w);
	w->may_fail = false;
}

/* ---- events ----------------------------------------------------------- */

static const struct store_actor somebody = { .uid = 1000, .pid = 77 };

static void
outcome_is(struct world *w, bool refused, enum ksm_err err,
    const struct ksm_fail *fail)
{
	if (refused && err == KSM_OK)
		die(w, "expected this to be refused");
	if (!refused && err != KSM_OK)
		die(w, "%s", fail->text);
	run(w);
}

/* Of what an operator asks for. */
static void
outcome(struct world *w, struct words *v, enum ksm_err err,
    const struct ksm_fail *fail)
{
	outcome_is(w, flag(v, "refused"), err, fail);
}

static void
do_topup(struct world *w, struct words *v)
{
	struct topup_want want = { .policy = option(v, "policy"),
		.max = option_number(w, v, "max", -1),
		.cause = RUN_TOPUP,
		.uid = 0,
		.pid = 1 };
	struct ksm_fail fail;

	if (flag(v, "once"))
		want.cause = RUN_ONCE;
	outcome(w, v,
	    engine_topup(w->engine, &want, &w->ticket, &fail), &fail);
}

static void
do_pause(struct world *w, struct words *v)
{
	const char *text = option(v, "for");
	ksm_time until = text == NULL
			     ? PAUSE_OPEN
			     : io_wall(w) + duration(w, text) / 1000;
	struct ksm_fail fail;

	outcome(w, v,
	    engine_pause(w->engine, until, "a scenario", somebody, &fail),
	    &fail);
}

static void
do_unpause(struct world *w, struct words *v)
{
	struct ksm_fail fail;
	bool was;

	outcome(w, v, engine_unpause(w->engine, somebody, &was, &fail), &fail);
}

static void
do_note(struct world *w, struct words *v)
{
	struct ksm_fail fail;

	outcome(w, v,
	    engine_note(w->engine, somebody, "noted", "", "a scenario", &fail),
	    &fail);
}

static void
do_retire(struct world *w, struct words *v)
{
	size_t key = key_parse(w, word(w, v, "a key"));
	struct ksm_fail fail;

	outcome(w, v,
	    engine_key_retire(
		w->engine, &w->keys[key].id, "a scenario", somebody, &fail),
	    &fail);
}

static void
do_backup(struct world *w, struct words *v)
{
	const char *what = word(w, v, "begin or commit");
	const char *repository = word(w, v, "a repository");
	struct store_backup b;
	struct ksm_fail fail;
	enum ksm_err err = engine_order_begin(w->engine, somebody, &fail);

	if (err != KSM_OK)
		die(w, "%s", fail.text);
	if (strcmp(what, "begin") == 0) {
		err = store_backup_begin(w->store, repository, NULL, "", "",
		    io_wall(w), somebody, &b, &fail);
	} else if (strcmp(what, "commit") == 0) {
		err = store_backup_get(w->store, repository, NULL, &b, &fail);
		if (err == KSM_OK)
			err = store_backup_commit(w->store, repository,
			    b.label, NULL, 0, io_wall(w), somebody, &b, &fail);
	} else {
		die(w, "a backup does not %s", what);
	}
	err = engine_order_end(w->engine, err, what, &fail);
	outcome_is(w, false, err, &fail);
}

static void
do_adopt(struct world *w, struct words *v)
{
	struct adopt_want want = { .reason = "a scenario", .who = somebody };
	struct ksm_fail fail;

	want.id = w->keys[key_parse(w, word(w, v, "a key"))].id;
	want.policy = word(w, v, "a policy");
	want.role = role_parse(w, word(w, v, "a role"));
	want.repository = word(w, v, "a repository");
	want.alg = (int)option_number(w, v, "alg", 0);
	outcome(w, v, engine_key_adopt(w->engine, &want, &fail), &fail);
}

static void
do_errand(struct world *w, struct words *v)
{
	static const char *const kinds[] = { "inventory", "destroy", "clean",
		"sweep" };
	struct errand_want want = { .reason = "a scenario", .who = somebody,
		.sorts = FOUND_ANY };
	const char *what = word(w, v, "what"), *text;
	struct key_id ids[WORDS];
	struct ksm_fail fail;
	bool refused = flag(v, "refused");

	if (strcmp(what, "forget") == 0) {
		engine_errand_forget(w->engine, w->errand);
		run(w);
		return;
	}
	want.kind = (enum errand_kind)choice(w, what, kinds, nitems(kinds));
	want.repository = word(w, v, "a repository");
	want.debris = option_number(w, v, "debris", 0);
	if ((text = option(v, "list")) != NULL)
		want.sorts = FOUND_BIT(sort_parse(w, text));
	want.ids = ids;
	while ((text = word_find(v)) != NULL)
		ids[want.nids++] = w->keys[key_parse(w, text)].id;
	if (want.kind == ERRAND_INVENTORY && want.nids > 0) {
		want.only = ids;
		want.nonly = want.nids;
		want.nids = 0;
	}
	w->errand_sorts = want.only == NULL ? want.sorts : 0;
	outcome_is(w, refused,
	    engine_errand(w->engine, &want, &w->errand, &fail), &fail);
}

static void
do_resume(struct world *w, struct words *v)
{
	const char *name = word(w, v, "a repository");
	struct ksm_fail fail;

	if (engine_repository_resume(
		w->engine, name, flag(v, "accept"), ACTOR_DAEMON, &fail) != KSM_OK)
		die(w, "resume: %s", fail.text);
	run(w);
}

static void
do_restart(struct world *w, struct words *v)
{
	bool unclean = flag(v, "unclean");
	bool killed = flag(v, "killed") || unclean;
	ksm_msec lock = option_duration(w, v, "lock", NEVER);
	const char *text = option(v, "left");
	struct left left = text != NULL ? left_parse(w, text)
			   : killed	? left_nothing
					: left_whole;

	restart(w, killed, unclean, lock, &left);
}

/* As soon as no batch is open: others wait for that, too. */
static void
store_lock_soon(struct world *w)
{
	while (store_batch_open(w->store))
		advance(w, w->now + 10);
	store_lock(w, true);
}

static void
do_store(struct world *w, struct words *v)
{
	const char *what = word(w, v, "what"), *at = option(v, "at");

	if (strcmp(what, "fail") == 0 && at != NULL) {
		(void)snprintf(w->fail_at, sizeof(w->fail_at), "%s", at);
		for (char *p = w->fail_at; *p != '\0'; p++)
			*p = *p == '-' ? ' ' : *p;
	} else if (strcmp(what, "fail") == 0)
		w->fail_in = option_number(w, v, "in", 1);
	else if (strcmp(what, "work") == 0)
		w->fail_in = w->fail_at[0] = 0;
	else if (strcmp(what, "lock") == 0)
		store_lock_soon(w);
	else if (strcmp(what, "unlock") == 0)
		store_lock(w, false);
	else if (strcmp(what, "gone") == 0 || strcmp(what, "replace") == 0)
		store_gone(w, what[0] == 'r');
	else
		die(w, "a store does not %s", what);
}

static void
do_clock(struct world *w, struct words *v)
{
	const char *by = word(w, v, "by how much");
	struct ksm_fail fail;
	ksm_time before;
	int64_t s;

	if (strcmp(by, "accept") == 0) {
		outcome(w, v,
		    engine_clock_accept(w->engine, "a scenario", somebody,
			&before, &fail),
		    &fail);
		return;
	}

	if (by[0] != '+' && by[0] != '-')
		die(w, "the clock jumps +T or -T");
	s = duration(w, by + 1) / 1000;
	w->wall_offset += by[0] == '+' ? s : -s;
	run(w);
}

static void
do_tally(struct world *w)
{
	for (struct site *s = w->sites; s != NULL; s = s->next) {
		memset(s->asked, 0, sizeof(s->asked));
		s->starts = s->bad_logins = 0;
	}
}

static void
all_seen(struct world *w)
{
	for (struct site *s = w->sites; s != NULL; s = s->next)
		s->ndids = 0;
}

/* From now on workers answer by themselves, those already asked, too. */
static void
do_auto(struct world *w)
{
	w->by_itself = true;
	all_seen(w);
	for (struct child *c = w->children; c != NULL; c = c->next) {
		if (c->next_act != NEXT_NOTHING)
			continue;
		if (c->state == WORKER_STARTING)
			child_next(w, c, NEXT_HELLO, HELLO_MS);
		else if (c->state == WORKER_DYING)
			child_next(w, c, NEXT_EXIT, EXIT_MS);
		else if (c->open)
			child_next(w, c, NEXT_ANSWER, answer_time(c));
	}
}

static void
do_event(struct world *w, const char *verb, struct words *v)
{
	if (strcmp(verb, "expect") == 0) {
		w->watching = true;
		do_expect(w, v);
		w->watching = false;
	} else if (strcmp(verb, "worker") == 0 ||
		   strcmp(verb, "verifier") == 0 ||
		   strcmp(verb, "settler") == 0 ||
		   strcmp(verb, "inspector") == 0 ||
		   strcmp(verb, "destroyer") == 0)
		do_worker(w, verb, v);
	else if (strcmp(verb, "auto") == 0)
		do_auto(w);
	else if (strcmp(verb, "by-hand") == 0)
		w->by_itself = false;
	else if (strcmp(verb, "topup") == 0)
		do_topup(w, v);
	else if (strcmp(verb, "resume") == 0)
		do_resume(w, v);
	else if (strcmp(verb, "pause") == 0)
		do_pause(w, v);
	else if (strcmp(verb, "unpause") == 0)
		do_unpause(w, v);
	else if (strcmp(verb, "retire") == 0)
		do_retire(w, v);
	else if (strcmp(verb, "note") == 0)
		do_note(w, v);
	else if (strcmp(verb, "backup") == 0)
		do_backup(w, v);
	else if (strcmp(verb, "adopt") == 0)
		do_adopt(w, v);
	else if (strcmp(verb, "errand") == 0)
		do_errand(w, v);
	else if (strcmp(verb, "restart") == 0)
		do_restart(w, v);
	else if (strcmp(verb, "store") == 0)
		do_store(w, v);
	else if (strcmp(verb, "clock") == 0)
		do_clock(w, v);
	else if (strcmp(verb, "tally") == 0)
		do_tally(w);
	else if (strcmp(verb, "random") == 0)
		do_random(w, v);
	else if (strcmp(verb, "reload") == 0) {
		bool refused = w->may_fail = flag(v, "refused");

		if (configure(w) == refused)
			die(w, "expected this configuration to be refused");
		w->may_fail = false;
		run(w);
	} else if (strcmp(verb, "stop") == 0) {
		engine_stop(w->engine);
		run(w);
	} else
		die(w, "\"%s\" is no verb", verb);
}

/* NULL: it is no setting. */
static void (*setting_find(const char *verb))(struct world *, struct words *)
{
	static const struct {
		const char *verb;
		void (*fn)(struct world *w, struct words *v);
	} settings[] = { { "repository", do_repository },
		{ "policy", do_policy }, { "key", do_key },
		{ "forget", do_forget }, { "token", do_token },
		{ "pin", do_pin } };

	for (size_t i = 0; i < nitems(settings); i++)
		if (strcmp(verb, settings[i].verb) == 0)
			return settings[i].fn;
	return NULL;
}

static void
do_line(struct world *w, struct words *v)
{
	void (*setting)(struct world *, struct words *);
	const char *verb = word_find(v);
	bool now;

	if (verb == NULL)
		return;
	now = strcmp(verb, "at") == 0;
	if (now) {
		ksm_msec at = w->origin + duration(w, word(w, v, "a time"));

		if (!w->started) {
			w->started = true;
			engine_begin(w, false);
		}
		advance(w, at);
		verb = word(w, v, "a verb");
	}
	setting = setting_find(verb);
	if (setting != NULL)
		setting(w, v);
	else if (now)
		do_event(w, verb, v);
	else
		die(w, "\"%s\" is neither a setting nor `at`", verb);
	words_end(w, v);
}

/* ---- beginning and end -------------------------------------------------- */

static void
site_free(struct site *s)
{
	free(s->name);
	free(s->module);
	free(s->objects);
	free(s->lates);
	free(s->dids);
	free(s);
}

static void
world_clear(struct world *w)
{
	static const char *const files[] = { "", "-wal", "-shm" };
	char path[256];

	engine_end(w);
	peek_close(w);
	while (w->children != NULL)
		child_forget(w, w->children);
	while (w->sites != NULL) {
		struct site *s = w->sites;

		w->sites = s->next;
		site_free(s);
	}
	for (size_t i = 0; i < w->nkeys; i++)
		EVP_PKEY_free(w->keys[i].pkey);
	free(w->keys);
	for (size_t i = 0; i < w->npolicies; i++)
		free(w->policies[i].name);
	free(w->policies);
	while (w->npools > 0)
		pool_words_drop(w, w->npools - 1);
	free(w->pools);
	for (size_t i = 0; i < nitems(files) && w->dir[0] != '\0'; i++) {
		(void)snprintf(
		    path, sizeof(path), "%.190s%s", w->database, files[i]);
		(void)unlink(path);
	}
	if (w->dir[0] != '\0')
		(void)rmdir(w->dir);
}

static void
replay(struct world *w, FILE *in)
{
	char line[512];

	while (fgets(line, sizeof(line), in) != NULL) {
		struct words v = { .n = 0 };
		char *comment = strchr(line, '#'), *save = NULL;

		w->line++;
		if (comment != NULL)
			*comment = '\0';
		for (char *p = strtok_r(line, " \t\n", &save); p != NULL;
		     p = strtok_r(NULL, " \t\n", &save)) {
			if (v.n == WORDS)
				die(w, "too many words");
			v.at[v.n++] = p;
		}
		do_line(w, &v);
	}
}

int
main(int argc, char **argv)
{
	struct world *w = &the_world;
	const char *tmp = getenv("TMPDIR");
	FILE *in;

	log_open("replay");
	log_level_set((enum log_level)0); /* trouble is what we play */
	if (argc == 3 && strcmp(argv[1], "-v") == 0) {
		log_level_set(LOGL_DEBUG);
		argv++;
		argc--;
	}
	if (argc != 2) {
		(void)fprintf(stderr, "usage: replay [-v] FILE.scn\n");
		return 2;
	}
	w->file = argv[1];
	w->now = w->origin = STEADY_START;
	w->dice = UINT64_C(0x853c49e6748fea9b);
	in = fopen(argv[1], "r");
	if (in == NULL) {
		perror(argv[1]);
		return 2;
	}
	(void)snprintf(w->dir, sizeof(w->dir), "%.100s/replay.XXXXXX",
	    tmp == NULL ? "/tmp" : tmp);
	if (mkdtemp(w->dir) == NULL) {
		perror(w->dir);
		(void)fclose(in);
		return 2;
	}
	(void)snprintf(
	    w->database, sizeof(w->database), "%.120s/ksmpool.db", w->dir);
	replay(w, in);
	(void)fclose(in);
	world_clear(w);
	return 0;
}
