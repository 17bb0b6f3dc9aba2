#include "evidence.h"

#include <stdio.h>
#include <string.h>

#include "ckr.h"
#include "object.h"

#define BYTES_MAX ((sizeof(((struct hsm_evidence *)NULL)->modulus) - 1) / 2)
#define EXP_MAX	  ((sizeof(((struct hsm_evidence *)NULL)->exponent) - 1) / 2)
#define POINT_MAX ((sizeof(((struct hsm_evidence *)NULL)->point) - 1) / 2)
#define SIG_MAX	  ((sizeof(((struct hsm_evidence *)NULL)->signature) - 1) / 2)

/* Long enough to see that an id or label is too long. */
#define ID_ROOM	   (KEY_ID_LEN + 1)
#define LABEL_ROOM (KEY_ID_HEX + 1)

/* PKCS#11 v3.0 mechanisms, 2.3.5; p11-kit 0.24 does not have it. */
struct eddsa_params {
	CK_BBOOL ph_flag;
	CK_ULONG context_len;
	CK_BYTE *context;
};

/* RFC 8017 9.2, note 1: DigestInfo of SHA-256 up to the digest. */
static const uint8_t digestinfo_sha256[] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09,
	0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04,
	0x20 };

static void
attr_hex(const CK_ATTRIBUTE *a, char *out)
{
	if (a->ulValueLen == CK_UNAVAILABLE_INFORMATION)
		out[0] = '\0';
	else
		hex_format(a->pValue, a->ulValueLen, out);
}

static int64_t
number_bits(const CK_ATTRIBUTE *a)
{
	const uint8_t *p = a->pValue;
	int64_t bits;
	size_t i = 0;

	if (a->ulValueLen == CK_UNAVAILABLE_INFORMATION)
		return 0;
	while (i < a->ulValueLen && p[i] == 0)
		i++;
	if (i == a->ulValueLen)
		return 0;
	bits = (int64_t)(a->ulValueLen - i) * 8;
	for (uint8_t top = p[i]; (top & 0x80) == 0; top = (uint8_t)(top << 1))
		bits--;
	return bits;
}

/* The public numbers, from either half: RSA private keys have them as well. */
struct numbers {
	uint8_t modulus[BYTES_MAX], exponent[EXP_MAX], point[POINT_MAX];
};

static CK_ULONG
numbers_want(const struct alg *alg, struct numbers *room, CK_ATTRIBUTE *attrs)
{
	if (alg->family != ALG_RSA) {
		attrs[0] = (CK_ATTRIBUTE){ CKA_EC_POINT, room->point,
			sizeof(room->point) };
		return 1;
	}
	attrs[0] =
	    (CK_ATTRIBUTE){ CKA_MODULUS, room->modulus, sizeof(room->modulus) };
	attrs[1] = (CK_ATTRIBUTE){ CKA_PUBLIC_EXPONENT, room->exponent,
		sizeof(room->exponent) };
	return 2;
}

static void
numbers_note(
    const struct alg *alg, const CK_ATTRIBUTE *attrs, struct hsm_evidence *e)
{
	if (alg->family != ALG_RSA) {
		attr_hex(&attrs[0], e->point);
		return;
	}
	attr_hex(&attrs[0], e->modulus);
	attr_hex(&attrs[1], e->exponent);
	e->bits = number_bits(&attrs[0]);
}

static CK_RV
private_read(struct session *s, const struct alg *alg, const struct key_id *id,
    CK_OBJECT_HANDLE priv, bool with_numbers, struct hsm_evidence *e)
{
	CK_BBOOL private = CK_FALSE, sensitive = CK_FALSE;
	CK_BBOOL extractable = CK_TRUE, token = CK_FALSE, sign = CK_FALSE;
	CK_ULONG class = 0, type = 0;
	uint8_t id_room[ID_ROOM], label_room[LABEL_ROOM];
	struct numbers numbers;
	char hex[KEY_ID_HEX];
	CK_ATTRIBUTE a[OBJECT_ATTRS] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_PRIVATE, &private, sizeof(private) },
		{ CKA_SENSITIVE, &sensitive, sizeof(sensitive) },
		{ CKA_EXTRACTABLE, &extractable, sizeof(extractable) },
		{ CKA_TOKEN, &token, sizeof(token) },
		{ CKA_SIGN, &sign, sizeof(sign) },
		{ CKA_ID, id_room, sizeof(id_room) },
		{ CKA_LABEL, label_room, sizeof(label_room) },
	};
	CK_ULONG n = 9;
	CK_RV rv;

	/* no public half, so the private one is asked for its numbers */
	if (with_numbers)
		n += numbers_want(alg, &numbers, &a[n]);
	rv = object_read(s, priv, a, n);
	if (rv != CKR_OK)
		return rv;
	if (!attr_ulong(&a[0], &class) || class != CKO_PRIVATE_KEY)
		return CKR_OK; /* nothing it says is about a private key */
	e->key_type = attr_ulong(&a[1], &type) ? (int64_t)type : -1;
	e->is_private = attr_true(&a[2]);
	e->is_sensitive = attr_true(&a[3]);
	/* what cannot be read is taken for the dangerous value */
	e->is_extractable =
	    a[4].ulValueLen != sizeof(CK_BBOOL) || attr_true(&a[4]);
	e->is_token = attr_true(&a[5]);
	e->can_sign = attr_true(&a[6]);
	e->id_ok = attr_is(&a[7], id->bytes, sizeof(id->bytes));
	key_id_format(id, hex);
	e->label_ok = attr_is(&a[8], hex, KEY_ID_HEX - 1);
	if (with_numbers)
		numbers_note(alg, &a[9], e);
	return CKR_OK;
}

static CK_RV
public_read(struct session *s, const struct alg *alg, const struct key_id *id,
    CK_OBJECT_HANDLE pub, struct hsm_evidence *e, struct public_half *half)
{
	CK_BBOOL token = CK_FALSE, verify = CK_FALSE;
	CK_ULONG class = 0;
	uint8_t id_room[ID_ROOM], label_room[LABEL_ROOM];
	struct numbers numbers;
	char hex[KEY_ID_HEX];
	CK_ATTRIBUTE a[OBJECT_ATTRS] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_TOKEN, &token, sizeof(token) },
		{ CKA_VERIFY, &verify, sizeof(verify) },
		{ CKA_ID, id_room, sizeof(id_room) },
		{ CKA_LABEL, label_room, sizeof(label_room) },
	};
	CK_ULONG n = 5;
	CK_RV rv;

	n += numbers_want(alg, &numbers, &a[n]);
	rv = object_read(s, pub, a, n);
	if (rv != CKR_OK)
		return rv;
	key_id_format(id, hex);
	half->is_public = attr_ulong(&a[0], &class) && class == CKO_PUBLIC_KEY;
	half->is_token = attr_true(&a[1]);
	half->id_ok = attr_is(&a[3], id->bytes, sizeof(id->bytes));
	e->public_ok = half->is_public && half->is_token && attr_true(&a[2]);
	e->id_ok = e->id_ok && half->id_ok;
	e->label_ok = e->label_ok && attr_is(&a[4], hex, KEY_ID_HEX - 1);
	numbers_note(alg, &a[5], e);
	return CKR_OK;
}

static CK_RV
sign_with(struct session *s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE priv,
    const uint8_t *data, size_t len, uint8_t *sig, CK_ULONG *siglen)
{
	uint8_t copy[sizeof(digestinfo_sha256) + CHALLENGE_LEN];
	CK_RV rv;

	memcpy(copy, data, len); /* PKCS#11 has no const */
	rv = s->fn->C_SignInit(s->handle, mechanism, priv);
	if (rv != CKR_OK)
		return rv;
	return s->fn->C_Sign(s->handle, copy, len, sig, siglen);
}

/* The contract of each mechanism is in msg_hsm.h, at struct hsm_evidence. */
static CK_RV
challenge_sign(struct session *s, enum alg_family family, CK_OBJECT_HANDLE priv,
    const uint8_t challenge[CHALLENGE_LEN], struct hsm_evidence *e)
{
	uint8_t info[sizeof(digestinfo_sha256) + CHALLENGE_LEN];
	uint8_t sig[SIG_MAX];
	CK_ULONG siglen = sizeof(sig);
	struct eddsa_params pure = { .ph_flag = CK_FALSE };
	CK_MECHANISM m = { 0, NULL, 0 };
	const char *name = "";
	CK_RV rv = CKR_MECHANISM_INVALID;

	switch (family) {
	case ALG_RSA:
		name = "CKM_SHA256_RSA_PKCS";
		m.mechanism = CKM_SHA256_RSA_PKCS;
		if (session_has(s, m.mechanism))
			rv = sign_with(s, &m, priv, challenge, CHALLENGE_LEN,
			    sig, &siglen);
		if (rv != CKR_MECHANISM_INVALID)
			break;
		name = "CKM_RSA_PKCS";
		m.mechanism = CKM_RSA_PKCS;
		siglen = sizeof(sig);
		memcpy(info, digestinfo_sha256, sizeof(digestinfo_sha256));
		memcpy(
		    info + sizeof(digestinfo_sha256), challenge, CHALLENGE_LEN);
		rv = sign_with(s, &m, priv, info, sizeof(info), sig, &siglen);
		break;
	case ALG_ECDSA:
		name = "CKM_ECDSA";
		m.mechanism = CKM_ECDSA;
		rv = sign_with(
		    s, &m, priv, challenge, CHALLENGE_LEN, sig, &siglen);
		break;
	case ALG_EDDSA:
		name = "CKM_EDDSA";
		m.mechanism = CKM_EDDSA;
		rv = sign_with(
		    s, &m, priv, challenge, CHALLENGE_LEN, sig, &siglen);
		if (rv != CKR_MECHANISM_PARAM_INVALID &&
		    rv != CKR_ARGUMENTS_BAD)
			break;
		/* v3.0 wants the parameter for Ed448; for Ed25519 it is ok */
		m.pParameter = &pure;
		m.ulParameterLen = sizeof(pure);
		siglen = sizeof(sig);
		rv = sign_with(
		    s, &m, priv, challenge, CHALLENGE_LEN, sig, &siglen);
		break;
	}
	(void)snprintf(e->mechanism, sizeof(e->mechanism), "%s", name);
	if (rv == CKR_OK && siglen <= sizeof(sig))
		hex_format(sig, siglen, e->signature);
	else
		ckr_name(
		    rv == CKR_OK ? CKR_SIGNATURE_LEN_RANGE : rv, e->sign_ckr);
	return rv;
}

bool
evidence_signs(struct session *s, CK_OBJECT_HANDLE priv)
{
	static const uint8_t challenge[CHALLENGE_LEN] = { 1 };
	struct hsm_evidence scratch;
	CK_KEY_TYPE type = 0;
	CK_ATTRIBUTE a = { CKA_KEY_TYPE, &type, sizeof(type) };

	if (object_read(s, priv, &a, 1) != CKR_OK || !attr_ulong(&a, &type))
		return false;
	switch (type) {
	case CKK_RSA:
		return challenge_sign(s, ALG_RSA, priv, challenge, &scratch) ==
		       CKR_OK;
	case CKK_EC:
		return challenge_sign(
			   s, ALG_ECDSA, priv, challenge, &scratch) == CKR_OK;
	case CKK_EC_EDWARDS:
		return challenge_sign(
			   s, ALG_EDDSA, priv, challenge, &scratch) == CKR_OK;
	default:
		return false;
	}
}

CK_RV
evidence_take(struct session *s, const struct alg *alg, const struct key_id *id,
    const struct pair *pair, const uint8_t challenge[CHALLENGE_LEN],
    struct hsm_evidence *e, struct public_half *half)
{
	struct public_half unused;
	bool with_numbers = pair->pub == CK_INVALID_HANDLE;
	CK_RV rv, bad = CKR_OK;

	memset(e, 0, sizeof(*e));
	e->is_extractable = true;
	e->key_type = -1;
	if (half == NULL)
		half = &unused;
	memset(half, 0, sizeof(*half));

	rv = private_read(s, alg, id, pair->priv, with_numbers, e);
	if (ckr_fatal(rv))
		bad = rv;
	if (!with_numbers && !ckr_lost(bad)) {
		rv = public_read(s, alg, id, pair->pub, e, half);
		if (rv != CKR_OK) /* it says nothing, so it is not equal */
			e->id_ok = e->label_ok = false;
		if (ckr_fatal(rv))
			bad = rv;
	}
	if (!ckr_lost(bad)) {
		rv = challenge_sign(s, alg->family, pair->priv, challenge, e);
		if (ckr_fatal(rv))
			bad = rv;
	} else {
		ckr_name(bad, e->sign_ckr);
	}
	return bad;
}
