#include <string.h>

#include "ksmpool/attribute.h"
#include "ksmpool/clock.h"

#include "ckr.h"
#include "evidence.h"
#include "object.h"
#include "operation.h"

/*
 * The template that four modules take (SoftHSM, NSS, opencryptoki, tpm2):
 * class, type, TOKEN, PRIVATE, SENSITIVE, EXTRACTABLE, SIGN or VERIFY, id,
 * label, size or curve, and nothing else. Each attribute more is refused by
 * one of them; each one less has a dangerous default in one of them.
 */

/* DER of CKA_EC_PARAMS, RFC 5480 and RFC 8410; PKCS#11 v3.0 2.3.10. */
static const uint8_t oid_p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
	0x03, 0x01, 0x07 };
static const uint8_t oid_p384[] = { 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22 };
static const uint8_t oid_ed25519[] = { 0x06, 0x03, 0x2b, 0x65, 0x70 };
static const uint8_t oid_ed448[] = { 0x06, 0x03, 0x2b, 0x65, 0x71 };
static const uint8_t name_ed25519[] = { 0x13, 0x0c, 'e', 'd', 'w', 'a', 'r',
	'd', 's', '2', '5', '5', '1', '9' };
static const uint8_t name_ed448[] = { 0x13, 0x0a, 'e', 'd', 'w', 'a', 'r', 'd',
	's', '4', '4', '8' };

struct curve {
	int alg;
	const uint8_t *oid, *name; /* name NULL: by OID only */
	size_t oidlen, namelen;
};

static const struct curve curves[] = {
	{ 13, oid_p256, NULL, sizeof(oid_p256), 0 },
	{ 14, oid_p384, NULL, sizeof(oid_p384), 0 },
	{ 15, oid_ed25519, name_ed25519, sizeof(oid_ed25519),
	    sizeof(name_ed25519) },
	{ 16, oid_ed448, name_ed448, sizeof(oid_ed448), sizeof(name_ed448) },
};

static const struct curve *
curve_find(int alg)
{
	for (size_t i = 0; i < nitems(curves); i++)
		if (curves[i].alg == alg)
			return &curves[i];
	return NULL;
}

/* A template under way, and room for what operators add to it. */
struct template {
	CK_ATTRIBUTE a[10 + ATTRIBUTES_MAX];
	CK_ULONG n;
	union {
		CK_BBOOL flag;
		CK_ULONG number;
		uint8_t bytes[ATTRIBUTE_BYTES_MAX];
	} room[ATTRIBUTES_MAX];
	size_t nroom;
};

static void
template_add(struct template *t, CK_ATTRIBUTE_TYPE type, void *value,
    CK_ULONG len)
{
	t->a[t->n++] = (CK_ATTRIBUTE){ type, value, len };
}

static void
template_remove(struct template *t, CK_ATTRIBUTE_TYPE type)
{
	CK_ULONG kept = 0;

	for (CK_ULONG i = 0; i < t->n; i++)
		if (t->a[i].type != type)
			t->a[kept++] = t->a[i];
	t->n = kept;
}

static CK_RV
template_change(struct template *t, const struct hsm_attribute *change)
{
	CK_ATTRIBUTE_TYPE type = attribute_type(change->name);
	struct attribute_value v;
	struct ksm_fail fail;

	if (attribute_check(change->name, change->public_half,
		change->remove ? NULL : change->value, &v, &fail) != KSM_OK)
		return CKR_TEMPLATE_INCONSISTENT;
	template_remove(t, type);
	if (change->remove)
		return CKR_OK;
	switch (v.kind) {
	case ATTRIBUTE_BOOL:
		t->room[t->nroom].flag = v.flag ? CK_TRUE : CK_FALSE;
		template_add(t, type, &t->room[t->nroom].flag, sizeof(CK_BBOOL));
		break;
	case ATTRIBUTE_NUMBER:
		t->room[t->nroom].number = (CK_ULONG)v.number;
		template_add(
		    t, type, &t->room[t->nroom].number, sizeof(CK_ULONG));
		break;
	case ATTRIBUTE_BYTES:
	case ATTRIBUTE_FIXED:
		memcpy(t->room[t->nroom].bytes, v.bytes, v.len);
		template_add(t, type, t->room[t->nroom].bytes, v.len);
		break;
	}
	t->nroom++;
	return CKR_OK;
}

/* <Attributes> of the repository; ksmpool.xml(5). */
static CK_RV
templates_change(const struct hsm_start *start, struct template *pub,
    struct template *priv)
{
	CK_RV rv = CKR_OK;

	for (size_t i = 0; rv == CKR_OK && i < start->nattributes; i++)
		rv = template_change(
		    start->attributes[i].public_half ? pub : priv,
		    &start->attributes[i]);
	return rv;
}

static CK_RV
pair_make(struct session *s, const struct alg *alg, int bits,
    const struct key_id *id, bool curve_by_name, struct pair *pair)
{
	const struct curve *curve = curve_find(alg->number);
	const CK_BBOOL skip = s->start.skip_public && alg->family == ALG_RSA;
	CK_BBOOL yes = CK_TRUE, stored = skip ? CK_FALSE : CK_TRUE;
	CK_BBOOL extractable = s->start.extractable ? CK_TRUE : CK_FALSE;
	CK_OBJECT_CLASS pub_class = CKO_PUBLIC_KEY;
	CK_OBJECT_CLASS priv_class = CKO_PRIVATE_KEY;
	CK_KEY_TYPE type = CKK_RSA;
	CK_MECHANISM m = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 };
	CK_ULONG modulus_bits = (CK_ULONG)bits;
	uint8_t exponent[] = { 0x01, 0x00, 0x01 };
	struct key_id id_copy = *id;
	char label[KEY_ID_HEX];
	struct template pub = { .n = 6, .a = {
		{ CKA_CLASS, &pub_class, sizeof(pub_class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_TOKEN, &stored, sizeof(stored) },
		{ CKA_VERIFY, &yes, sizeof(yes) },
		{ CKA_ID, id_copy.bytes, sizeof(id_copy.bytes) },
		{ CKA_LABEL, label, KEY_ID_HEX - 1 },
	} };
	struct template priv = { .n = 9, .a = {
		{ CKA_CLASS, &priv_class, sizeof(priv_class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, &yes, sizeof(yes) },
		{ CKA_SENSITIVE, &yes, sizeof(yes) },
		{ CKA_EXTRACTABLE, &extractable, sizeof(extractable) },
		{ CKA_SIGN, &yes, sizeof(yes) },
		{ CKA_ID, id_copy.bytes, sizeof(id_copy.bytes) },
		{ CKA_LABEL, label, KEY_ID_HEX - 1 },
	} };
	CK_RV rv;

	key_id_format(id, label);
	if (alg->family == ALG_RSA) {
		template_add(&pub, CKA_MODULUS_BITS, &modulus_bits,
		    sizeof(modulus_bits));
		template_add(
		    &pub, CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent));
	} else {
		if (curve == NULL)
			return CKR_CURVE_NOT_SUPPORTED;
		type = alg->family == ALG_EDDSA ? CKK_EC_EDWARDS : CKK_EC;
		m.mechanism = alg->family == ALG_EDDSA
				  ? CKM_EC_EDWARDS_KEY_PAIR_GEN
				  : CKM_EC_KEY_PAIR_GEN;
		/* PKCS#11 has no const; nobody writes to a template */
		if (curve_by_name)
			template_add(&pub, CKA_EC_PARAMS, (void *)curve->name,
			    curve->namelen);
		else
			template_add(&pub, CKA_EC_PARAMS, (void *)curve->oid,
			    curve->oidlen);
	}
	rv = templates_change(&s->start, &pub, &priv);
	if (rv != CKR_OK)
		return rv;
	pair->priv = pair->pub = CK_INVALID_HANDLE;
	return s->fn->C_GenerateKeyPair(s->handle, &m, pub.a, pub.n, priv.a,
	    priv.n, &pair->pub, &pair->priv);
}

/* Could it be that the token only dislikes how the curve was written? */
static bool
dislikes_form(CK_RV rv)
{
	switch (rv) {
	case CKR_ARGUMENTS_BAD:
	case CKR_ATTRIBUTE_VALUE_INVALID:
	case CKR_CURVE_NOT_SUPPORTED:
	case CKR_DOMAIN_PARAMS_INVALID:
	case CKR_MECHANISM_PARAM_INVALID:
	case CKR_TEMPLATE_INCONSISTENT:
		return true;
	default:
		return false;
	}
}

/*
 * A code may promise that nothing was made, and a module may be wrong about
 * its own half-done work. It is asked only after a failure, where the time
 * of a search does not matter.
 */
static bool
surely_nothing(struct session *s, const struct key_id *id)
{
	CK_OBJECT_HANDLE found[1];
	CK_ULONG n;

	return object_find_id(s, id, found, 1, &n) == CKR_OK && n == 0;
}

static enum op_end
refuse(struct hsm_msg *reply, const struct hsm_generate *want,
    const char *stage, CK_RV rv, const char *call)
{
	reply_no(reply, HSM_REFUSED, want->job, &want->id, stage, rv,
	    ckr_group(rv), "%s failed", call);
	return ckr_fatal(rv) ? OP_LEAVE : OP_STAY;
}

/*
 * SkipPublicKey: the public half was a session object and goes at once. It
 * is destroyed only if it is one, whatever handle the module returned.
 */
static void
public_drop(struct session *s, const struct pair *pair,
    const struct public_half *half, struct hsm_evidence *e)
{
	e->public_ok = false;
	if (!half->is_public || pair->pub == pair->priv)
		return;
	if (half->is_token && !half->id_ok)
		return;
	if (s->fn->C_DestroyObject(s->handle, pair->pub) == CKR_OK ||
	    !half->is_token)
		e->public_ok = true;
}

enum op_end
generate_run(
    struct session *s, const struct hsm_generate *want, struct hsm_msg *reply)
{
	const struct alg *alg = alg_find(want->alg);
	struct hsm_generated done;
	struct public_half half;
	struct pair pair;
	CK_OBJECT_HANDLE found[1];
	CK_ULONG n = 0;
	ksm_msec from;
	CK_RV rv;

	if (alg == NULL) {
		reply_no(reply, HSM_REFUSED, want->job, &want->id, "generate",
		    CKR_OK, CKRG_POLICY, "no keys of algorithm %d", want->alg);
		return OP_STAY;
	}
	if (s->start.search_first) {
		rv = object_find_id(s, &want->id, found, 1, &n);
		if (rv != CKR_OK)
			return refuse(
			    reply, want, "search", rv, "looking for the id");
		if (n > 0) {
			reply_no(reply, HSM_REFUSED, want->job, &want->id,
			    "search", CKR_OK, CKRG_OTHER,
			    "an object with this CKA_ID is in the token");
			return OP_STAY;
		}
	}

	memset(&done, 0, sizeof(done));
	done.job = want->job;
	done.id = want->id;
	done.started = clock_wall();
	from = clock_steady();
	rv = pair_make(s, alg, want->bits, &want->id, s->curve_by_name, &pair);
	if (alg->family == ALG_EDDSA && dislikes_form(rv) &&
	    surely_nothing(s, &want->id)) {
		from = clock_steady();
		rv = pair_make(
		    s, alg, want->bits, &want->id, !s->curve_by_name, &pair);
		if (rv == CKR_OK)
			s->curve_by_name = !s->curve_by_name;
	}
	done.took = clock_steady() - from;
	done.ended = clock_wall();

	if (rv != CKR_OK && ckr_clear_no(rv) && surely_nothing(s, &want->id))
		return refuse(reply, want, "generate", rv, "C_GenerateKeyPair");
	if (rv != CKR_OK) {
		reply_no(reply, HSM_UNKNOWN, want->job, &want->id, "generate",
		    rv, ckr_group(rv), "C_GenerateKeyPair failed");
		return OP_LEAVE;
	}

	rv = evidence_take(
	    s, alg, &want->id, &pair, want->challenge, &done.evidence, &half);
	if (s->start.skip_public && alg->family == ALG_RSA)
		public_drop(s, &pair, &half, &done.evidence);
	memset(reply, 0, sizeof(*reply));
	reply->type = HSM_GENERATED;
	reply->u.generated = done;
	return rv == CKR_OK ? OP_STAY : OP_LEAVE;
}
