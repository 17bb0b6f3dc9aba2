/*
 * msg_hsm.h - what ksmpoold and ksmpool-hsm say to each other.
 *
 * Runs in: both ends (core: jansson, no I/O).
 * Wire:    SOCK_SEQPACKET on descriptor 3; one packet is one JSON object
 *          under 64 KiB with "v":1, "type" and exactly the fields of that
 *          type. Anything else is KSM_EPROTO with words.
 * Owns:    strings are fixed buffers in the structs; nothing to free, but
 *          struct hsm_page.
 *
 *   ksmpoold                     ksmpool-hsm
 *   start      ------------->
 *              <-------------    hello | failed (and exits)
 *   generate   ------------->    (generator)
 *              <-------------    generated | refused | unknown (and exits)
 *   enumerate  ------------->    (verifier, settler)
 *              <-------------    page* listed | refused (stage sync) |
 *                                unknown (and exits)
 *   prove      ------------->    (verifier, settler; after enumerate)
 *              <-------------    proof | refused | unknown (and exits)
 *   destroy    ------------->    (settler, destroyer; after enumerate)
 *              <-------------    destroyed | refused | unknown (and exits)
 *   remove     ------------->    (destroyer; the pair it proved last)
 *              <-------------    destroyed | refused | unknown (and exits)
 *   inspect    ------------->    (inspector, destroyer)
 *              <-------------    objects* listed | unknown (and exits)
 *   sweep      ------------->    (destroyer; after inspect)
 *              <-------------    swept | refused | unknown (and exits)
 *   end of file: finish what runs, C_Finalize, exit 0.
 *
 * `refused` of group login, session or token is a clear no like any other,
 * but the worker exits after it: a fresh one must look at the token. It also
 * exits after `generated` when reading back or signing failed that way.
 * Pages that came before `unknown` are worth nothing.
 */
#ifndef KSMPOOL_MSG_HSM_H
#define KSMPOOL_MSG_HSM_H

#include <stdbool.h>

#include <jansson.h>

#include "ksmpool/key.h"
#include "ksmpool/worker.h"

#define MSG_HSM_VERSION 1
#define MSG_HSM_MAX	65536
#define MSG_TEXT	256
#define CHALLENGE_LEN	32
#define PAGE_IDS	1000 /* at most, both classes together */

enum hsm_type {
	/* to the worker */
	HSM_START,
	HSM_GENERATE,
	HSM_ENUMERATE,
	HSM_PROVE,
	HSM_DESTROY,
	HSM_REMOVE,
	HSM_INSPECT,
	HSM_SWEEP,
	/* from the worker */
	HSM_HELLO,
	HSM_FAILED,
	HSM_GENERATED,
	HSM_REFUSED,
	HSM_UNKNOWN,
	HSM_PAGE,
	HSM_LISTED,
	HSM_PROOF,
	HSM_DESTROYED,
	HSM_OBJECTS,
	HSM_SWEPT,
	HSM__TYPES
};

/* Return codes, grouped by what to do (facts of several tokens). */
enum ckr_group {
	CKRG_POLICY,  /* this token cannot do that: fail the pool */
	CKRG_PIN,     /* wrong or locked: park, never retry */
	CKRG_LOGIN,   /* login lost: fresh worker */
	CKRG_SESSION, /* session lost: fresh worker */
	CKRG_TOKEN,   /* token lost or not there: back off */
	CKRG_FULL,    /* no room left in the token */
	CKRG_NOTHING, /* GENERAL_ERROR, FUNCTION_FAILED: says nothing */
	CKRG_OTHER,
	CKRG__COUNT
};
const char *ckr_group_text(enum ckr_group g); /* "policy" */

/* One change to the template of a half; see <Attributes> of ksmpool.xml(5). */
#define ATTRIBUTES_MAX 16
struct hsm_attribute {
	bool public_half; /* false: the private half */
	bool remove;	  /* do not name it in the template */
	char name[40];	  /* "CKA_DECRYPT" */
	char value[40];	  /* "true", "false", a number, or hex "0x..."; "" */
};

struct hsm_start {
	enum worker_purpose purpose;
	char repository[128];
	char module[1024];
	char label[128];   /* "" : not by label */
	char serial[64];   /* "" : any */
	char uri[512];	   /* "" : by label */
	char reserved[1024]; /* pReserved; "" : NULL */
	bool skip_public, extractable, search_first;
	/*
	 * Print of the PIN that this token refused last, or "". The worker
	 * answers failed/pin-unchanged without a login if its PIN has it.
	 */
	char refused_pin[64];
	struct hsm_attribute attributes[ATTRIBUTES_MAX];
	size_t nattributes;
};

struct hsm_generate {
	int64_t job;
	struct key_id id;
	int alg, bits;
	uint8_t challenge[CHALLENGE_LEN]; /* to be signed with the new key */
};

struct hsm_enumerate {
	int64_t job;
	char sync_path[1024]; /* syncfs(2) first; "" : not */
};

struct hsm_prove {
	int64_t job;
	struct key_id id;
	int alg;
	uint8_t challenge[CHALLENGE_LEN];
};

/* Which halves a half-pair cleaning may take; both is never sent. */
enum key_half { HALF_PRIVATE, HALF_PUBLIC };

struct hsm_destroy {
	int64_t job;
	struct key_id id;
	enum key_half half; /* refused unless exactly this one half exists */
};

/*
 * Destroy a whole pair: exactly the handles that the last `prove` of this
 * process was answered for, read once more before each C_DestroyObject.
 * Refused unless that proof was of the same id and saw one private and at
 * most one public object.
 */
struct hsm_remove {
	int64_t job;
	struct key_id id;
};

struct hsm_inspect {
	int64_t job;
};

/*
 * Destroy debris (see struct hsm_object) that `inspect` of this process has
 * listed; refused, and nothing is touched, unless there are exactly `debris`.
 * Refused as well when an object that was read then cannot be read now, or when
 * there is none and some of the debris does not say what it is.
 */
struct hsm_sweep {
	int64_t job;
	int64_t debris;
};

struct hsm_hello {
	char label[128], serial[64], manufacturer[128], model[64];
	char module[128]; /* CK_INFO description and version */
	int starts; /* C_Initialize rounds until the token was seen */
};

/* Why a worker cannot start. */
struct hsm_failed {
	char stage[32]; /* module initialize token ambiguous session pin
			   pin-unchanged login */
	int64_t ckr;	/* 0: no PKCS#11 code */
	char name[48];	/* "CKR_PIN_INCORRECT" or "" */
	enum ckr_group group;
	char text[MSG_TEXT]; /* for the operator; labels seen, path, ... */
	char pin_print[64];  /* stage pin: print of the refused PIN, or "" */
};

/*
 * What the token says of a pair: attributes read back by handle, and one
 * signature with the private half. `mechanism` says what was signed:
 *
 *   CKM_SHA256_RSA_PKCS  PKCS #1 v1.5, SHA-256 over the 32 challenge bytes
 *   CKM_RSA_PKCS         PKCS #1 v1.5, the challenge taken as the SHA-256
 *                        digest: DigestInfo(SHA-256, challenge)
 *   CKM_ECDSA            the challenge taken as the digest, P-384 too; the
 *                        signature is r | s, each as long as the order
 *   CKM_EDDSA            pure EdDSA over the 32 challenge bytes
 *
 * Whatever could not be read is "" or 0 or false. Without a public half the
 * RSA numbers come from the private one; `point` is then "" on most tokens.
 */
struct hsm_evidence {
	bool is_private, is_sensitive, is_extractable, is_token, can_sign;
	bool label_ok;	/* both labels are the id's hex */
	bool id_ok;	/* both CKA_ID read back equal */
	bool public_ok; /* public half: token object with VERIFY; or skipped */
	int64_t key_type; /* CKK_* */
	int64_t bits;	  /* modulus bits; 0 for EC */
	char modulus[2 * 512 + 1 + 64];	 /* hex as the token gave it, RSA */
	char exponent[2 * 16 + 1];	 /* hex */
	char point[2 * 160 + 1];	 /* hex of CKA_EC_POINT, EC */
	char mechanism[32];		 /* used to sign: "CKM_ECDSA" */
	char signature[2 * 512 + 1 + 64]; /* hex; "" : signing failed */
	char sign_ckr[48];		 /* why; "" : it did not fail */
};

struct hsm_generated {
	int64_t job;
	struct key_id id;
	ksm_time started, ended; /* wall clock around C_GenerateKeyPair */
	ksm_msec took;		 /* monotonic, of the call alone */
	struct hsm_evidence evidence;
};

/* A clear no (refused), or an outcome nobody knows (unknown). */
struct hsm_no {
	int64_t job;
	struct key_id id; /* zeroes for enumerate */
	char stage[32]; /* search generate read sign enumerate destroy sync */
	int64_t ckr;
	char name[48];
	enum ckr_group group;
	char text[MSG_TEXT];
};

struct hsm_page {
	int64_t job;
	struct key_id *privates, *publics; /* malloc'd by decode */
	size_t nprivates, npublics;
};
void hsm_page_clear(struct hsm_page *p);

struct hsm_listed {
	int64_t job;
	int64_t privates, publics; /* with a 16-byte id, sent in pages */
	int64_t foreign;    /* keys with another id length */
	int64_t nameless;   /* debris: no id and no label, or no class */
	int64_t other;	    /* certificates, data, secret keys */
	int64_t pages;
};

struct hsm_proof {
	int64_t job;
	struct key_id id;
	int privates, publics; /* objects with that id in the enumeration */
	struct hsm_evidence evidence;
};

struct hsm_destroyed {
	int64_t job;
	struct key_id id;
};

/*
 * One object, as its attributes read. Debris is what a killed module leaves:
 * no id, no label, and no token object that has a readable class. It is never
 * a key of anybody's.
 */
enum object_class {
	OBJECT_PRIVATE,
	OBJECT_PUBLIC,
	OBJECT_SECRET,
	OBJECT_CERTIFICATE,
	OBJECT_DATA,
	OBJECT_OTHER,
	OBJECT_UNREADABLE,
	OBJECT__COUNT
};
const char *object_class_text(enum object_class c); /* "private" */
struct hsm_object {
	enum object_class class;
	char id[2 * 64 + 1]; /* hex of CKA_ID, its first 64 bytes; "" : none */
	int64_t idlen;	     /* bytes in the token */
	char label[128];     /* printable UTF-8, cut */
	int64_t key_type;    /* CKK_*; -1: not known */
	int64_t bits;	     /* RSA modulus, EC field; 0: not known */
	bool debris;
};
#define PAGE_OBJECTS 100
struct hsm_objects {
	int64_t job;
	struct hsm_object *objects; /* malloc'd by decode */
	size_t nobjects;
};
void hsm_objects_clear(struct hsm_objects *p);

struct hsm_swept {
	int64_t job;
	int64_t n; /* objects that are gone now */
};

struct hsm_msg {
	enum hsm_type type;
	union {
		struct hsm_start start;
		struct hsm_generate generate;
		struct hsm_enumerate enumerate;
		struct hsm_prove prove;
		struct hsm_destroy destroy;
		struct hsm_remove remove;
		struct hsm_inspect inspect;
		struct hsm_sweep sweep;
		struct hsm_hello hello;
		struct hsm_failed failed;
		struct hsm_generated generated;
		struct hsm_no no; /* HSM_REFUSED, HSM_UNKNOWN */
		struct hsm_page page;
		struct hsm_listed listed;
		struct hsm_proof proof;
		struct hsm_destroyed destroyed;
		struct hsm_objects objects;
		struct hsm_swept swept;
	} u;
};

/* `*text` is malloc'd, without newline; KSM_EPROTO if over MSG_HSM_MAX. */
enum ksm_err hsm_msg_encode(const struct hsm_msg *m, char **text, size_t *len,
    struct ksm_fail *fail);
/* `*m` is written only on KSM_OK; then hsm_msg_clear it. */
enum ksm_err hsm_msg_decode(const char *text, size_t len, struct hsm_msg *m,
    struct ksm_fail *fail);
void hsm_msg_clear(struct hsm_msg *m);
const char *hsm_type_text(enum hsm_type t);
/* May a worker of `purpose` be asked `t`? Indexed by purpose and type. */
bool hsm_type_allowed(enum worker_purpose purpose, enum hsm_type t);

#endif
