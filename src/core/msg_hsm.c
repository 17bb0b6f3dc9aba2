#include "ksmpool/msg_hsm.h"

#include <stdlib.h>
#include <string.h>

/*
 * One table per type names its fields, and serves both directions: what can
 * be encoded can be decoded, and nothing else can.
 */
enum field_kind {
	F_TEXT,	 /* char[size], NUL-terminated UTF-8 */
	F_HEX,	 /* char[size] of lower- or upper-case hex pairs */
	F_INT,	 /* int, min..max */
	F_INT64, /* int64_t, min..max */
	F_BOOL,
	F_ID,	     /* struct key_id, as 32 hex digits */
	F_CHALLENGE, /* uint8_t[CHALLENGE_LEN], as hex */
	F_WORD,	     /* enum, by its word in `words` */
	F_EVIDENCE,  /* struct hsm_evidence, an object of its own */
};

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset, size;
	int64_t min, max;
	const char *(*word)(int value);
	int nwords;
};

static const char *const type_words[HSM__TYPES] = {
	[HSM_START] = "start",
	[HSM_GENERATE] = "generate",
	[HSM_ENUMERATE] = "enumerate",
	[HSM_PROVE] = "prove",
	[HSM_DESTROY] = "destroy",
	[HSM_REMOVE] = "remove",
	[HSM_INSPECT] = "inspect",
	[HSM_SWEEP] = "sweep",
	[HSM_HELLO] = "hello",
	[HSM_FAILED] = "failed",
	[HSM_GENERATED] = "generated",
	[HSM_REFUSED] = "refused",
	[HSM_UNKNOWN] = "unknown",
	[HSM_PAGE] = "page",
	[HSM_LISTED] = "listed",
	[HSM_PROOF] = "proof",
	[HSM_DESTROYED] = "destroyed",
	[HSM_OBJECTS] = "objects",
	[HSM_SWEPT] = "swept",
};

static const char *const group_words[CKRG__COUNT] = {
	[CKRG_POLICY] = "policy",
	[CKRG_PIN] = "pin",
	[CKRG_LOGIN] = "login",
	[CKRG_SESSION] = "session",
	[CKRG_TOKEN] = "token",
	[CKRG_FULL] = "full",
	[CKRG_NOTHING] = "nothing",
	[CKRG_OTHER] = "other",
};

static const bool allowed[PURPOSE__COUNT][HSM__TYPES] = {
	[PURPOSE_GENERATOR] = {
		[HSM_START] = true,
		[HSM_GENERATE] = true,
	},
	[PURPOSE_VERIFIER] = {
		[HSM_START] = true,
		[HSM_ENUMERATE] = true,
		[HSM_PROVE] = true,
	},
	[PURPOSE_SETTLER] = {
		[HSM_START] = true,
		[HSM_ENUMERATE] = true,
		[HSM_PROVE] = true,
		[HSM_DESTROY] = true,
	},
	[PURPOSE_INSPECTOR] = {
		[HSM_START] = true,
		[HSM_ENUMERATE] = true,
		[HSM_PROVE] = true,
		[HSM_INSPECT] = true,
	},
	[PURPOSE_DESTROYER] = {
		[HSM_START] = true,
		[HSM_ENUMERATE] = true,
		[HSM_PROVE] = true,
		[HSM_INSPECT] = true,
		[HSM_DESTROY] = true,
		[HSM_REMOVE] = true,
		[HSM_SWEEP] = true,
	},
};

static const char *const class_words[OBJECT__COUNT] = {
	[OBJECT_PRIVATE] = "private",
	[OBJECT_PUBLIC] = "public",
	[OBJECT_SECRET] = "secret",
	[OBJECT_CERTIFICATE] = "certificate",
	[OBJECT_DATA] = "data",
	[OBJECT_OTHER] = "other",
	[OBJECT_UNREADABLE] = "unreadable",
};

const char *
hsm_type_text(enum hsm_type t)
{
	return (int)t >= 0 && t < HSM__TYPES ? type_words[t] : "?";
}

const char *
ckr_group_text(enum ckr_group g)
{
	return (int)g >= 0 && g < CKRG__COUNT ? group_words[g] : "?";
}

const char *
object_class_text(enum object_class c)
{
	return (int)c >= 0 && c < OBJECT__COUNT ? class_words[c] : "?";
}

bool
hsm_type_allowed(enum worker_purpose purpose, enum hsm_type t)
{
	if ((int)purpose < 0 || purpose >= PURPOSE__COUNT || (int)t < 0 ||
	    t >= HSM__TYPES)
		return false;
	return allowed[purpose][t];
}

static const char *
word_purpose(int value)
{
	return worker_purpose_text((enum worker_purpose)value);
}

static const char *
word_group(int value)
{
	return group_words[value];
}

static const char *
word_class(int value)
{
	return class_words[value];
}

static const char *
word_half(int value)
{
	return value == HALF_PRIVATE ? "private" : "public";
}

#define COUNT_MAX INT64_C(1000000000000)
#define AT(s, f)  offsetof(struct s, f), sizeof(((struct s *)NULL)->f)
/* clang-format off */
#define TEXT(s, f) { #f, F_TEXT, AT(s, f), 0, 0, NULL, 0 }
#define HEX(s, f) { #f, F_HEX, AT(s, f), 0, 0, NULL, 0 }
#define INT(s, f, lo, hi) { #f, F_INT, AT(s, f), lo, hi, NULL, 0 }
#define INT64(s, f, lo, hi) { #f, F_INT64, AT(s, f), lo, hi, NULL, 0 }
#define BOOL(s, f) { #f, F_BOOL, AT(s, f), 0, 0, NULL, 0 }
#define ID(s) { "id", F_ID, AT(s, id), 0, 0, NULL, 0 }
#define CHALLENGE(s) \
	{ "challenge", F_CHALLENGE, AT(s, challenge), 0, 0, NULL, 0 }
#define WORD(s, f, fn, n) { #f, F_WORD, AT(s, f), 0, 0, fn, n }
#define EVIDENCE(s) { "evidence", F_EVIDENCE, AT(s, evidence), 0, 0, NULL, 0 }
#define END { NULL, F_TEXT, 0, 0, 0, 0, NULL, 0 }
/* clang-format on */
#define JOB(s)	    INT64(s, job, 0, INT64_MAX)
#define COUNT(s, f) INT64(s, f, 0, COUNT_MAX)
#define TIME(s, f)  INT64(s, f, 0, INT64_MAX)
/* CK_RV is unsigned long: 64 bits, but only vendors use more than 32. */
#define CKR(s) INT64(s, ckr, INT64_MIN, INT64_MAX)

static const struct field start_fields[] = {
	WORD(hsm_start, purpose, word_purpose, PURPOSE__COUNT),
	TEXT(hsm_start, repository),
	TEXT(hsm_start, module),
	TEXT(hsm_start, label),
	TEXT(hsm_start, serial),
	TEXT(hsm_start, uri),
	TEXT(hsm_start, reserved),
	BOOL(hsm_start, skip_public),
	BOOL(hsm_start, extractable),
	BOOL(hsm_start, search_first),
	TEXT(hsm_start, refused_pin),
	END,
};

static const struct field generate_fields[] = {
	JOB(hsm_generate),
	ID(hsm_generate),
	INT(hsm_generate, alg, 0, 255),
	INT(hsm_generate, bits, 0, 65536),
	CHALLENGE(hsm_generate),
	END,
};

static const struct field enumerate_fields[] = {
	JOB(hsm_enumerate),
	TEXT(hsm_enumerate, sync_path),
	END,
};

static const struct field prove_fields[] = {
	JOB(hsm_prove),
	ID(hsm_prove),
	INT(hsm_prove, alg, 0, 255),
	CHALLENGE(hsm_prove),
	END,
};

static const struct field destroy_fields[] = {
	JOB(hsm_destroy),
	ID(hsm_destroy),
	WORD(hsm_destroy, half, word_half, 2),
	END,
};

static const struct field remove_fields[] = {
	JOB(hsm_remove),
	ID(hsm_remove),
	END,
};

static const struct field inspect_fields[] = {
	JOB(hsm_inspect),
	END,
};

static const struct field sweep_fields[] = {
	JOB(hsm_sweep),
	COUNT(hsm_sweep, debris),
	END,
};

static const struct field hello_fields[] = {
	TEXT(hsm_hello, label),
	TEXT(hsm_hello, serial),
	TEXT(hsm_hello, manufacturer),
	TEXT(hsm_hello, model),
	TEXT(hsm_hello, module),
	INT(hsm_hello, starts, 0, 1000),
	END,
};

static const struct field failed_fields[] = {
	TEXT(hsm_failed, stage),
	CKR(hsm_failed),
	TEXT(hsm_failed, name),
	WORD(hsm_failed, group, word_group, CKRG__COUNT),
	TEXT(hsm_failed, text),
	TEXT(hsm_failed, pin_print),
	END,
};

static const struct field evidence_fields[] = {
	BOOL(hsm_evidence, is_private),
	BOOL(hsm_evidence, is_sensitive),
	BOOL(hsm_evidence, is_extractable),
	BOOL(hsm_evidence, is_token),
	BOOL(hsm_evidence, can_sign),
	BOOL(hsm_evidence, label_ok),
	BOOL(hsm_evidence, id_ok),
	BOOL(hsm_evidence, public_ok),
	INT64(hsm_evidence, key_type, INT64_MIN, INT64_MAX),
	INT64(hsm_evidence, bits, 0, 65536),
	HEX(hsm_evidence, modulus),
	HEX(hsm_evidence, exponent),
	HEX(hsm_evidence, point),
	TEXT(hsm_evidence, mechanism),
	HEX(hsm_evidence, signature),
	TEXT(hsm_evidence, sign_ckr),
	END,
};

static const struct field generated_fields[] = {
	JOB(hsm_generated),
	ID(hsm_generated),
	TIME(hsm_generated, started),
	TIME(hsm_generated, ended),
	TIME(hsm_generated, took),
	EVIDENCE(hsm_generated),
	END,
};

static const struct field no_fields[] = {
	JOB(hsm_no),
	ID(hsm_no),
	TEXT(hsm_no, stage),
	CKR(hsm_no),
	TEXT(hsm_no, name),
	WORD(hsm_no, group, word_group, CKRG__COUNT),
	TEXT(hsm_no, text),
	END,
};

/* Arrays are no field kind: struct lists says how they are read and written. */
static const struct field page_fields[] = {
	JOB(hsm_page),
	END,
};

static const struct field listed_fields[] = {
	JOB(hsm_listed),
	COUNT(hsm_listed, privates),
	COUNT(hsm_listed, publics),
	COUNT(hsm_listed, foreign),
	COUNT(hsm_listed, nameless),
	COUNT(hsm_listed, other),
	COUNT(hsm_listed, pages),
	END,
};

static const struct field proof_fields[] = {
	JOB(hsm_proof),
	ID(hsm_proof),
	INT(hsm_proof, privates, 0, INT32_MAX),
	INT(hsm_proof, publics, 0, INT32_MAX),
	EVIDENCE(hsm_proof),
	END,
};

static const struct field destroyed_fields[] = {
	JOB(hsm_destroyed),
	ID(hsm_destroyed),
	END,
};

static const struct field objects_fields[] = {
	JOB(hsm_objects),
	END,
};

static const struct field swept_fields[] = {
	JOB(hsm_swept),
	COUNT(hsm_swept, n),
	END,
};

/* What stands in the arrays. */
static const struct field object_fields[] = {
	WORD(hsm_object, class, word_class, OBJECT__COUNT),
	HEX(hsm_object, id),
	COUNT(hsm_object, idlen),
	TEXT(hsm_object, label),
	INT64(hsm_object, key_type, -1, INT64_MAX),
	INT64(hsm_object, bits, 0, 65536),
	BOOL(hsm_object, debris),
	END,
};

static const struct field attribute_fields[] = {
	BOOL(hsm_attribute, public_half),
	BOOL(hsm_attribute, remove),
	TEXT(hsm_attribute, name),
	TEXT(hsm_attribute, value),
	END,
};

static const struct field *const type_fields[HSM__TYPES] = {
	[HSM_START] = start_fields,
	[HSM_GENERATE] = generate_fields,
	[HSM_ENUMERATE] = enumerate_fields,
	[HSM_PROVE] = prove_fields,
	[HSM_DESTROY] = destroy_fields,
	[HSM_REMOVE] = remove_fields,
	[HSM_INSPECT] = inspect_fields,
	[HSM_SWEEP] = sweep_fields,
	[HSM_HELLO] = hello_fields,
	[HSM_FAILED] = failed_fields,
	[HSM_GENERATED] = generated_fields,
	[HSM_REFUSED] = no_fields,
	[HSM_UNKNOWN] = no_fields,
	[HSM_PAGE] = page_fields,
	[HSM_LISTED] = listed_fields,
	[HSM_PROOF] = proof_fields,
	[HSM_DESTROYED] = destroyed_fields,
	[HSM_OBJECTS] = objects_fields,
	[HSM_SWEPT] = swept_fields,
};

/* ---- encode ---------------------------------------------------------- */

static enum ksm_err fields_encode(const char *type, const struct field *fields,
    const void *from, json_t *into, struct ksm_fail *fail);

static enum ksm_err
range_check(const char *type, const struct field *f, int64_t value,
    struct ksm_fail *fail)
{
	if (value < f->min || value > f->max)
		return ksm_failf(fail, KSM_EPROTO,
		    "%s: %s is %lld, not %lld to %lld", type, f->name,
		    (long long)value, (long long)f->min, (long long)f->max);
	return KSM_OK;
}

static bool
is_hex(const char *text, size_t len)
{
	return len % 2 == 0 && strspn(text, "0123456789abcdefABCDEF") == len;
}

static enum ksm_err
field_encode(const char *type, const struct field *f, const void *base,
    json_t **out, struct ksm_fail *fail)
{
	const char *at = (const char *)base + f->offset;
	enum ksm_err err = KSM_OK;
	char hex[2 * CHALLENGE_LEN + 1];
	json_t *v = NULL;
	int64_t number;
	size_t len;
	int word;

	switch (f->kind) {
	case F_TEXT:
	case F_HEX:
		len = strnlen(at, f->size);
		if (len == f->size)
			return ksm_failf(fail, KSM_EPROTO,
			    "%s: %s is not terminated", type, f->name);
		if (f->kind == F_HEX && !is_hex(at, len))
			return ksm_failf(fail, KSM_EPROTO, "%s: %s is not hex",
			    type, f->name);
		v = json_stringn(at, len);
		if (v == NULL)
			return ksm_failf(fail, KSM_EPROTO,
			    "%s: %s is not UTF-8", type, f->name);
		break;
	case F_INT:
	case F_INT64:
		number = f->kind == F_INT ? *(const int *)(const void *)at
					  : *(const int64_t *)(const void *)at;
		err = range_check(type, f, number, fail);
		if (err != KSM_OK)
			return err;
		v = json_integer(number);
		break;
	case F_BOOL:
		v = json_boolean(*(const bool *)at);
		break;
	case F_ID:
		hex_format((const uint8_t *)at, KEY_ID_LEN, hex);
		v = json_string(hex);
		break;
	case F_CHALLENGE:
		hex_format((const uint8_t *)at, CHALLENGE_LEN, hex);
		v = json_string(hex);
		break;
	case F_WORD:
		word = *(const int *)(const void *)at;
		if (word < 0 || word >= f->nwords)
			return ksm_failf(fail, KSM_EPROTO,
			    "%s: %s has no word for %d", type, f->name, word);
		v = json_string(f->word(word));
		break;
	case F_EVIDENCE:
		v = json_object();
		if (v != NULL)
			err = fields_encode(
			    "evidence", evidence_fields, at, v, fail);
		break;
	}
	if (v == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "%s: no memory", type);
	if (err != KSM_OK) {
		json_decref(v);
		return err;
	}
	*out = v;
	return KSM_OK;
}

static enum ksm_err
fields_encode(const char *type, const struct field *fields, const void *from,
    json_t *into, struct ksm_fail *fail)
{
	enum ksm_err err;
	json_t *v = NULL;

	for (const struct field *f = fields; f->name != NULL; f++) {
		err = field_encode(type, f, from, &v, fail);
		if (err != KSM_OK)
			return err;
		if (json_object_set_new_nocheck(into, f->name, v) == -1)
			return ksm_failf(
			    fail, KSM_ENOMEM, "%s: no memory", type);
	}
	return KSM_OK;
}

static enum ksm_err
ids_encode(const struct key_id *ids, size_t n, const char *name, json_t *into,
    struct ksm_fail *fail)
{
	char hex[KEY_ID_HEX];
	json_t *array;

	array = json_array();
	for (size_t i = 0; array != NULL && i < n; i++) {
		key_id_format(&ids[i], hex);
		if (json_array_append_new(array, json_string_nocheck(hex)) ==
		    -1) {
			json_decref(array);
			array = NULL;
		}
	}
	if (array == NULL ||
	    json_object_set_new_nocheck(into, name, array) == -1)
		return ksm_failf(fail, KSM_ENOMEM, "page: no memory");
	return KSM_OK;
}

static enum ksm_err
page_encode(const struct hsm_msg *m, json_t *into, struct ksm_fail *fail)
{
	const struct hsm_page *p = &m->u.page;
	enum ksm_err err;

	if (p->nprivates > PAGE_IDS || p->npublics > PAGE_IDS ||
	    p->nprivates + p->npublics > PAGE_IDS)
		return ksm_failf(fail, KSM_EPROTO,
		    "page: %zu ids, at most %d fit", p->nprivates + p->npublics,
		    PAGE_IDS);
	err = ids_encode(p->privates, p->nprivates, "privates", into, fail);
	if (err == KSM_OK)
		err =
		    ids_encode(p->publics, p->npublics, "publics", into, fail);
	return err;
}

/* An array of `n` structs of `size` bytes under `name`. */
static enum ksm_err
structs_encode(const char *name, const struct field *fields, const void *items,
    size_t size, size_t n, size_t max, json_t *into, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	json_t *array, *item;

	if (n > max)
		return ksm_failf(fail, KSM_EPROTO,
		    "%s: %zu of them, at most %zu fit", name, n, max);
	array = json_array();
	for (size_t i = 0; array != NULL && err == KSM_OK && i < n; i++) {
		item = json_object();
		if (item != NULL)
			err = fields_encode(name, fields,
			    (const char *)items + i * size, item, fail);
		if (json_array_append_new(array, item) == -1 && err == KSM_OK)
			err = ksm_failf(
			    fail, KSM_ENOMEM, "%s: no memory", name);
	}
	if (err == KSM_OK &&
	    json_object_set_new_nocheck(into, name, array) == 0)
		return KSM_OK;
	if (err == KSM_OK)
		return ksm_failf(fail, KSM_ENOMEM, "%s: no memory", name);
	json_decref(array);
	return err;
}

static enum ksm_err
objects_encode(const struct hsm_msg *m, json_t *into, struct ksm_fail *fail)
{
	return structs_encode("objects", object_fields, m->u.objects.objects,
	    sizeof(struct hsm_object), m->u.objects.nobjects, PAGE_OBJECTS,
	    into, fail);
}

static enum ksm_err
attributes_encode(const struct hsm_msg *m, json_t *into, struct ksm_fail *fail)
{
	return structs_encode("attributes", attribute_fields,
	    m->u.start.attributes, sizeof(struct hsm_attribute),
	    m->u.start.nattributes, ATTRIBUTES_MAX, into, fail);
}

static enum ksm_err page_decode(
    const json_t *root, struct hsm_msg *m, struct ksm_fail *fail);
static enum ksm_err objects_decode(
    const json_t *root, struct hsm_msg *m, struct ksm_fail *fail);
static enum ksm_err attributes_decode(
    const json_t *root, struct hsm_msg *m, struct ksm_fail *fail);

/* The arrays of a type, beside its fields. */
struct lists {
	const char *names[5]; /* of all that is read elsewhere, NULL at the end */
	enum ksm_err (*encode)(const struct hsm_msg *m, json_t *into,
	    struct ksm_fail *fail);
	enum ksm_err (*decode)(const json_t *root, struct hsm_msg *m,
	    struct ksm_fail *fail);
};

static const struct lists no_lists = { { "v", "type", NULL }, NULL, NULL };

static const struct lists *
lists_of(enum hsm_type type)
{
	static const struct lists page = { { "v", "type", "privates", "publics",
					       NULL },
		page_encode, page_decode };
	static const struct lists objects = { { "v", "type", "objects", NULL },
		objects_encode, objects_decode };
	static const struct lists start = { { "v", "type", "attributes", NULL },
		attributes_encode, attributes_decode };

	switch (type) {
	case HSM_PAGE:
		return &page;
	case HSM_OBJECTS:
		return &objects;
	case HSM_START:
		return &start;
	default:
		return &no_lists;
	}
}

enum ksm_err
hsm_msg_encode(
    const struct hsm_msg *m, char **text, size_t *len, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	json_t *root = NULL;
	char *out = NULL;
	const char *type;
	size_t outlen;

	if ((int)m->type < 0 || m->type >= HSM__TYPES)
		return ksm_failf(
		    fail, KSM_EPROTO, "no message type %d", (int)m->type);
	type = type_words[m->type];
	root = json_pack("{s:i, s:s}", "v", MSG_HSM_VERSION, "type", type);
	if (root == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "%s: no memory", type);
		goto out;
	}
	/* every member of the union starts where the union does */
	err = fields_encode(type, type_fields[m->type], &m->u, root, fail);
	if (err == KSM_OK && lists_of(m->type)->encode != NULL)
		err = lists_of(m->type)->encode(m, root, fail);
	if (err != KSM_OK)
		goto out;
	out = json_dumps(root, JSON_COMPACT);
	if (out == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "%s: no memory", type);
		goto out;
	}
	outlen = strlen(out);
	if (outlen > MSG_HSM_MAX) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "%s: %zu bytes, at most %d fit", type, outlen, MSG_HSM_MAX);
		goto out;
	}
	*text = out;
	*len = outlen;
	out = NULL;
out:
	free(out);
	json_decref(root);
	return err;
}

/* ---- decode ---------------------------------------------------------- */

static enum ksm_err fields_decode(const char *type, const struct field *fields,
    const char *const also[], const json_t *root, void *into,
    struct ksm_fail *fail);

/* Is `v` a string, and does it fit? */
static enum ksm_err
text_get(const char *type, const char *name, const json_t *v, size_t size,
    const char **text, size_t *len, struct ksm_fail *fail)
{
	if (!json_is_string(v))
		return ksm_failf(
		    fail, KSM_EPROTO, "%s: %s is not a string", type, name);
	*text = json_string_value(v);
	*len = json_string_length(v);
	if (*len >= size)
		return ksm_failf(fail, KSM_EPROTO,
		    "%s: %s is %zu bytes, at most %zu fit", type, name, *len,
		    size - 1);
	return KSM_OK;
}

static enum ksm_err
field_decode(const char *type, const struct field *f, const json_t *v,
    void *base, struct ksm_fail *fail)
{
	char *at = (char *)base + f->offset;
	enum ksm_err err;
	const char *text = NULL;
	int64_t number;
	size_t len = 0;

	switch (f->kind) {
	case F_TEXT:
	case F_HEX:
		err = text_get(type, f->name, v, f->size, &text, &len, fail);
		if (err != KSM_OK)
			return err;
		if (f->kind == F_HEX && !is_hex(text, len))
			return ksm_failf(fail, KSM_EPROTO, "%s: %s is not hex",
			    type, f->name);
		memcpy(at, text, len + 1);
		break;
	case F_INT:
	case F_INT64:
		if (!json_is_integer(v))
			return ksm_failf(fail, KSM_EPROTO,
			    "%s: %s is not an integer", type, f->name);
		number = json_integer_value(v);
		err = range_check(type, f, number, fail);
		if (err != KSM_OK)
			return err;
		if (f->kind == F_INT)
			*(int *)(void *)at = (int)number;
		else
			*(int64_t *)(void *)at = number;
		break;
	case F_BOOL:
		if (!json_is_boolean(v))
			return ksm_failf(fail, KSM_EPROTO,
			    "%s: %s is not true or false", type, f->name);
		*(bool *)at = json_is_true(v);
		break;
	case F_ID:
		if (!json_is_string(v) || !key_id_parse(json_string_value(v),
					      (struct key_id *)(void *)at))
			return ksm_failf(fail, KSM_EPROTO,
			    "%s: %s is not 32 hex digits", type, f->name);
		break;
	case F_CHALLENGE:
		if (!json_is_string(v) || !hex_parse(json_string_value(v),
					      (uint8_t *)at, CHALLENGE_LEN))
			return ksm_failf(fail, KSM_EPROTO,
			    "%s: %s is not %d hex digits", type, f->name,
			    2 * CHALLENGE_LEN);
		break;
	case F_WORD:
		if (!json_is_string(v))
			return ksm_failf(fail, KSM_EPROTO,
			    "%s: %s is not a string", type, f->name);
		for (int i = 0; i < f->nwords; i++) {
			if (strcmp(json_string_value(v), f->word(i)) != 0)
				continue;
			*(int *)(void *)at = i;
			return KSM_OK;
		}
		return ksm_failf(fail, KSM_EPROTO,
		    "%s: %s has no value \"%.32s\"", type, f->name,
		    json_string_value(v));
	case F_EVIDENCE:
		if (!json_is_object(v))
			return ksm_failf(fail, KSM_EPROTO,
			    "%s: %s is not an object", type, f->name);
		return fields_decode(
		    "evidence", evidence_fields, NULL, v, at, fail);
	}
	return KSM_OK;
}

static bool
name_known(
    const struct field *fields, const char *const also[], const char *name)
{
	for (const struct field *f = fields; f->name != NULL; f++)
		if (strcmp(f->name, name) == 0)
			return true;
	for (; also != NULL && *also != NULL; also++)
		if (strcmp(*also, name) == 0)
			return true;
	return false;
}

/* `also`: names that are read elsewhere and so not surplus. */
static enum ksm_err
fields_decode(const char *type, const struct field *fields,
    const char *const also[], const json_t *root, void *into,
    struct ksm_fail *fail)
{
	enum ksm_err err;
	const char *name;
	json_t *v;

	for (const struct field *f = fields; f->name != NULL; f++) {
		v = json_object_get(root, f->name);
		if (v == NULL)
			return ksm_failf(fail, KSM_EPROTO, "%s: %s is missing",
			    type, f->name);
		err = field_decode(type, f, v, into, fail);
		if (err != KSM_OK)
			return err;
	}
	/* jansson's iterators take a mutable object; nothing is changed */
	json_object_foreach((json_t *)root, name, v)
	{
		if (!name_known(fields, also, name))
			return ksm_failf(fail, KSM_EPROTO,
			    "%s: surplus field \"%.64s\"", type, name);
	}
	return KSM_OK;
}

static enum ksm_err
ids_decode(const json_t *root, const char *name, struct key_id **out,
    size_t *nout, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	struct key_id *ids = NULL;
	const json_t *array, *v;
	size_t n;

	array = json_object_get(root, name);
	if (array == NULL)
		return ksm_failf(fail, KSM_EPROTO, "page: %s is missing", name);
	if (!json_is_array(array))
		return ksm_failf(
		    fail, KSM_EPROTO, "page: %s is not an array", name);
	n = json_array_size(array);
	if (n > PAGE_IDS)
		return ksm_failf(fail, KSM_EPROTO,
		    "page: %s has %zu ids, at most %d fit", name, n, PAGE_IDS);
	ids = calloc(n + 1, sizeof(*ids));
	if (ids == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "page: no memory");
	for (size_t i = 0; i < n; i++) {
		v = json_array_get(array, i);
		if (!json_is_string(v) ||
		    !key_id_parse(json_string_value(v), &ids[i])) {
			err = ksm_failf(fail, KSM_EPROTO,
			    "page: %s, item %zu is not 32 hex digits", name,
			    i + 1);
			goto out;
		}
	}
	*out = ids;
	*nout = n;
	ids = NULL;
out:
	free(ids);
	return err;
}

static enum ksm_err
page_decode(const json_t *root, struct hsm_msg *m, struct ksm_fail *fail)
{
	struct hsm_page *p = &m->u.page;
	enum ksm_err err;

	err = ids_decode(root, "privates", &p->privates, &p->nprivates, fail);
	if (err == KSM_OK)
		err = ids_decode(
		    root, "publics", &p->publics, &p->npublics, fail);
	if (err == KSM_OK && p->nprivates + p->npublics > PAGE_IDS)
		err =
		    ksm_failf(fail, KSM_EPROTO, "page: %zu ids, at most %d fit",
			p->nprivates + p->npublics, PAGE_IDS);
	return err;
}

/* Into `items`, room for `max`. */
static enum ksm_err
structs_decode(const json_t *root, const char *name, const struct field *fields,
    void *items, size_t size, size_t max, size_t *n, struct ksm_fail *fail)
{
	const json_t *array = json_object_get(root, name), *item;
	enum ksm_err err = KSM_OK;

	if (!json_is_array(array))
		return ksm_failf(
		    fail, KSM_EPROTO, "%s is missing or not an array", name);
	if (json_array_size(array) > max)
		return ksm_failf(fail, KSM_EPROTO,
		    "%s: %zu of them, at most %zu fit", name,
		    json_array_size(array), max);
	for (size_t i = 0; err == KSM_OK && i < json_array_size(array); i++) {
		item = json_array_get(array, i);
		if (!json_is_object(item))
			return ksm_failf(fail, KSM_EPROTO,
			    "%s: item %zu is not an object", name, i + 1);
		err = fields_decode(
		    name, fields, NULL, item, (char *)items + i * size, fail);
	}
	*n = json_array_size(array);
	return err;
}

static enum ksm_err
objects_decode(const json_t *root, struct hsm_msg *m, struct ksm_fail *fail)
{
	struct hsm_objects *o = &m->u.objects;

	o->objects = calloc(PAGE_OBJECTS, sizeof(*o->objects));
	if (o->objects == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "objects: no memory");
	return structs_decode(root, "objects", object_fields, o->objects,
	    sizeof(*o->objects), PAGE_OBJECTS, &o->nobjects, fail);
}

static enum ksm_err
attributes_decode(const json_t *root, struct hsm_msg *m, struct ksm_fail *fail)
{
	struct hsm_start *s = &m->u.start;

	return structs_decode(root, "attributes", attribute_fields,
	    s->attributes, sizeof(s->attributes[0]), ATTRIBUTES_MAX,
	    &s->nattributes, fail);
}

static enum ksm_err
head_decode(const json_t *root, enum hsm_type *type, struct ksm_fail *fail)
{
	const json_t *v;

	if (!json_is_object(root))
		return ksm_failf(fail, KSM_EPROTO, "message is not an object");
	v = json_object_get(root, "v");
	if (!json_is_integer(v))
		return ksm_failf(
		    fail, KSM_EPROTO, "v is missing or not an integer");
	if (json_integer_value(v) != MSG_HSM_VERSION)
		return ksm_failf(fail, KSM_EPROTO,
		    "protocol version %lld, not %d",
		    (long long)json_integer_value(v), MSG_HSM_VERSION);
	v = json_object_get(root, "type");
	if (!json_is_string(v))
		return ksm_failf(
		    fail, KSM_EPROTO, "type is missing or not a string");
	for (int i = 0; i < HSM__TYPES; i++) {
		if (strcmp(type_words[i], json_string_value(v)) != 0)
			continue;
		*type = (enum hsm_type)i;
		return KSM_OK;
	}
	return ksm_failf(
	    fail, KSM_EPROTO, "no type \"%.32s\"", json_string_value(v));
}

enum ksm_err
hsm_msg_decode(
    const char *text, size_t len, struct hsm_msg *m, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	struct hsm_msg tmp;
	json_error_t where;
	json_t *root = NULL;

	memset(&tmp, 0, sizeof(tmp));
	tmp.type = HSM__TYPES; /* nothing to clear yet */
	if (len > MSG_HSM_MAX) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "message is %zu bytes, at most %d fit", len, MSG_HSM_MAX);
		goto out;
	}
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	if (root == NULL) {
		err = ksm_failf(fail, KSM_EPROTO, "not JSON: %s at byte %d",
		    where.text, where.position);
		goto out;
	}
	err = head_decode(root, &tmp.type, fail);
	if (err != KSM_OK)
		goto out;
	err = fields_decode(type_words[tmp.type], type_fields[tmp.type],
	    lists_of(tmp.type)->names, root, &tmp.u, fail);
	if (err == KSM_OK && lists_of(tmp.type)->decode != NULL)
		err = lists_of(tmp.type)->decode(root, &tmp, fail);
	if (err != KSM_OK)
		goto out;
	*m = tmp;
	tmp.type = HSM__TYPES;
out:
	hsm_msg_clear(&tmp);
	json_decref(root);
	return err;
}

void
hsm_page_clear(struct hsm_page *p)
{
	free(p->privates);
	free(p->publics);
	memset(p, 0, sizeof(*p));
}

void
hsm_objects_clear(struct hsm_objects *p)
{
	free(p->objects);
	memset(p, 0, sizeof(*p));
}

void
hsm_msg_clear(struct hsm_msg *m)
{
	if (m->type == HSM_PAGE)
		hsm_page_clear(&m->u.page);
	else if (m->type == HSM_OBJECTS)
		hsm_objects_clear(&m->u.objects);
	m->type = HSM__TYPES;
}
