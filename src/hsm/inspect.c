#include <stdlib.h>
#include <string.h>

#include "ksmpool/key.h"

#include "ckr.h"
#include "object.h"
#include "operation.h"
#include "text.h"

#define ID_MOST	  64 /* bytes that are shown; the length is told whole */
#define LABEL_MOST 127

/* DER of CKA_EC_PARAMS and what we call the size; RFC 5480, RFC 8410. */
static const struct {
	uint8_t der[16];
	size_t len;
	int bits;
} curves[] = {
	{ { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 }, 10,
	    256 },
	{ { 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22 }, 7, 384 },
	{ { 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23 }, 7, 521 },
	{ { 0x06, 0x03, 0x2b, 0x65, 0x70 }, 5, 256 },
	{ { 0x06, 0x03, 0x2b, 0x65, 0x71 }, 5, 456 },
	{ { 0x13, 0x0c, 'e', 'd', 'w', 'a', 'r', 'd', 's', '2', '5', '5', '1',
	      '9' },
	    14, 256 },
	{ { 0x13, 0x0a, 'e', 'd', 'w', 'a', 'r', 'd', 's', '4', '4', '8' }, 12,
	    456 },
};

struct debris {
	CK_OBJECT_HANDLE *handles;
	size_t n, room;
	/* An object that could be read: if it cannot any more, the token fails. */
	CK_OBJECT_HANDLE witness;
	bool mute; /* one of them does not say what it is */
};

void
debris_free(struct debris *d)
{
	if (d == NULL)
		return;
	free(d->handles);
	free(d);
}

static bool
debris_add(struct debris *d, CK_OBJECT_HANDLE handle)
{
	CK_OBJECT_HANDLE *more;

	if (d->n == d->room) {
		more = reallocarray(
		    d->handles, d->room == 0 ? 64 : 2 * d->room, sizeof(*more));
		if (more == NULL)
			return false;
		d->room = d->room == 0 ? 64 : 2 * d->room;
		d->handles = more;
	}
	d->handles[d->n++] = handle;
	return true;
}

static enum object_class
class_of(const CK_ATTRIBUTE *a)
{
	CK_ULONG class = 0;

	if (!attr_ulong(a, &class))
		return OBJECT_UNREADABLE;
	switch (class) {
	case CKO_PRIVATE_KEY:
		return OBJECT_PRIVATE;
	case CKO_PUBLIC_KEY:
		return OBJECT_PUBLIC;
	case CKO_SECRET_KEY:
		return OBJECT_SECRET;
	case CKO_CERTIFICATE:
		return OBJECT_CERTIFICATE;
	case CKO_DATA:
		return OBJECT_DATA;
	default:
		return OBJECT_OTHER;
	}
}

/*
 * The length of an attribute that could not be read into the room there was.
 * *known: the token said how long it is, or that there is none; a token that
 * fails is no witness of that. Of an object that never got a class SoftHSM
 * says CKR_ATTRIBUTE_VALUE_INVALID, whatever is asked.
 */
static CK_RV
length_of(struct session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
    int64_t *len, bool *known)
{
	CK_ATTRIBUTE a = { type, NULL, 0 };
	CK_RV rv = s->fn->C_GetAttributeValue(s->handle, object, &a, 1);

	*known = rv == CKR_OK || rv == CKR_ATTRIBUTE_TYPE_INVALID ||
		 rv == CKR_ATTRIBUTE_VALUE_INVALID;
	*len = rv == CKR_OK && a.ulValueLen != CK_UNAVAILABLE_INFORMATION
		   ? (int64_t)a.ulValueLen
		   : 0;
	return ckr_lost(rv) ? rv : CKR_OK;
}

static int64_t
bits_of(const uint8_t *modulus, size_t len)
{
	size_t i = 0;
	int64_t bits;

	while (i < len && modulus[i] == 0)
		i++;
	if (i == len)
		return 0;
	bits = (int64_t)(len - i) * 8;
	for (unsigned top = modulus[i]; (top & 0x80) == 0; top <<= 1)
		bits--;
	return bits;
}

/* The size, where it is known. */
static CK_RV
size_read(struct session *s, CK_OBJECT_HANDLE object, int64_t key_type,
    int64_t *bits)
{
	uint8_t room[2100];
	CK_ATTRIBUTE a = { CKA_EC_PARAMS, room, sizeof(room) };
	CK_RV rv;

	*bits = 0;
	if (key_type == CKK_RSA)
		a.type = CKA_MODULUS;
	rv = object_read(s, object, &a, 1);
	if (ckr_lost(rv))
		return rv;
	if (rv != CKR_OK || a.ulValueLen == CK_UNAVAILABLE_INFORMATION ||
	    a.ulValueLen == 0)
		return CKR_OK;
	if (key_type == CKK_RSA) {
		*bits = bits_of(room, a.ulValueLen);
		return CKR_OK;
	}
	for (size_t i = 0; i < nitems(curves); i++)
		if (attr_is(&a, curves[i].der, curves[i].len))
			*bits = curves[i].bits;
	return CKR_OK;
}

/*
 * Nobody's key: neither id nor label, as the token itself says, and either it
 * does not even say what it is, or it is a key that says of itself it is no
 * token object (SoftHSM's halves that a kill left), although it was found by a
 * process that has made nothing. Anything else without a name belongs to
 * somebody: a token object that says its class is never debris, whether or not
 * its public value can be read (a DSA or GOST key has none that we know of).
 */
static bool
is_debris(const struct hsm_object *o, const CK_ATTRIBUTE *token)
{
	if (o->idlen != 0)
		return false;
	if (o->class == OBJECT_UNREADABLE)
		return true;
	return (o->class == OBJECT_PRIVATE || o->class == OBJECT_PUBLIC) &&
	       token->ulValueLen == sizeof(CK_BBOOL) && !attr_true(token);
}

/* *there: false when it went between the search and the look. */
static CK_RV
object_describe(struct session *s, CK_OBJECT_HANDLE object,
    struct hsm_object *o, bool *there)
{
	CK_ULONG class = 0, type = 0;
	CK_BBOOL token = CK_FALSE;
	uint8_t id[ID_MOST];
	unsigned char label[LABEL_MOST];
	CK_ATTRIBUTE a[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_ID, id, sizeof(id) },
		{ CKA_LABEL, label, sizeof(label) },
		{ CKA_TOKEN, &token, sizeof(token) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
	};
	int64_t labellen = 0;
	bool id_known = true, label_known = true;
	CK_RV rv;

	memset(o, 0, sizeof(*o));
	o->key_type = -1;
	*there = false;
	rv = object_read(s, object, a, nitems(a));
	if (ckr_lost(rv))
		return rv;
	if (rv == CKR_OBJECT_HANDLE_INVALID)
		return CKR_OK;
	*there = true;
	o->class = class_of(&a[0]);
	if (a[1].ulValueLen != CK_UNAVAILABLE_INFORMATION) {
		o->idlen = (int64_t)a[1].ulValueLen;
		hex_format(id, a[1].ulValueLen, o->id);
	} else {
		rv = length_of(s, object, CKA_ID, &o->idlen, &id_known);
		if (rv != CKR_OK)
			return rv;
	}
	if (a[2].ulValueLen != CK_UNAVAILABLE_INFORMATION) {
		labellen = (int64_t)a[2].ulValueLen;
		text_format(
		    o->label, sizeof(o->label), "%.*s", (int)labellen, label);
	} else {
		rv = length_of(
		    s, object, CKA_LABEL, &labellen, &label_known);
		if (rv != CKR_OK)
			return rv;
		if (labellen > 0)
			text_format(o->label, sizeof(o->label), "(%lld bytes)",
			    (long long)labellen);
	}
	if (attr_ulong(&a[4], &type) && type <= INT32_MAX)
		o->key_type = (int64_t)type;
	if (o->class == OBJECT_PRIVATE || o->class == OBJECT_PUBLIC) {
		rv = size_read(s, object, o->key_type, &o->bits);
		if (rv != CKR_OK)
			return rv;
	}
	o->debris = id_known && label_known && labellen == 0 &&
		    is_debris(o, &a[3]);
	return CKR_OK;
}

static void
object_count(struct hsm_listed *c, const struct hsm_object *o)
{
	bool key = o->class == OBJECT_PRIVATE || o->class == OBJECT_PUBLIC;

	if (o->debris)
		c->nameless++;
	else if (!key)
		c->other++;
	else if (o->idlen != KEY_ID_LEN)
		c->foreign++;
	else if (o->class == OBJECT_PRIVATE)
		c->privates++;
	else
		c->publics++;
}

/* A page under way. */
struct report {
	struct hsm_msg page;
	struct hsm_object objects[PAGE_OBJECTS];
	struct hsm_listed counts;
	page_fn send;
	void *ctx;
};

static bool
report_flush(struct report *r)
{
	struct hsm_objects *p = &r->page.u.objects;

	if (p->nobjects == 0)
		return true;
	r->counts.pages++;
	if (!r->send(r->ctx, &r->page))
		return false;
	p->nobjects = 0;
	return true;
}

static CK_RV
objects_report(struct session *s, struct report *r, struct debris *d,
    const CK_OBJECT_HANDLE *handles, size_t n, bool *deaf)
{
	struct hsm_objects *p = &r->page.u.objects;
	struct hsm_object *o;
	bool there;
	CK_RV rv;

	for (size_t i = 0; i < n; i++) {
		o = &r->objects[p->nobjects];
		rv = object_describe(s, handles[i], o, &there);
		/* It may be in the middle of being written. */
		if (rv == CKR_OK && there && o->debris)
			rv = object_describe(s, handles[i], o, &there);
		if (rv != CKR_OK)
			return rv;
		if (!there)
			continue;
		if (o->debris && !debris_add(d, handles[i]))
			return CKR_HOST_MEMORY;
		if (o->debris && o->class == OBJECT_UNREADABLE)
			d->mute = true;
		if (!o->debris && o->class != OBJECT_UNREADABLE)
			d->witness = handles[i];
		object_count(&r->counts, o);
		p->nobjects++;
		if (p->nobjects == PAGE_OBJECTS && !report_flush(r)) {
			*deaf = true;
			return CKR_OK;
		}
	}
	*deaf = !report_flush(r);
	return CKR_OK;
}

enum op_end
inspect_run(struct session *s, struct debris **found,
    const struct hsm_inspect *want, page_fn send, void *ctx,
    struct hsm_msg *reply)
{
	enum op_end end = OP_LEAVE;
	struct report *r = calloc(1, sizeof(*r));
	struct debris *d = calloc(1, sizeof(*d));
	CK_OBJECT_HANDLE *handles = NULL;
	const char *call = "C_FindObjects";
	bool deaf = false;
	CK_RV rv = CKR_HOST_MEMORY;
	size_t n = 0;

	if (r == NULL || d == NULL)
		goto unknown;
	r->send = send;
	r->ctx = ctx;
	r->counts.job = want->job;
	r->page.type = HSM_OBJECTS;
	r->page.u.objects.job = want->job;
	r->page.u.objects.objects = r->objects;
	rv = object_find_all(s, &handles, &n);
	if (rv != CKR_OK)
		goto unknown;
	call = "C_GetAttributeValue";
	rv = objects_report(s, r, d, handles, n, &deaf);
	if (rv != CKR_OK)
		goto unknown;
	/* an absent token answers "nothing there, CKR_OK" in some modules */
	call = "C_GetTokenInfo";
	rv = session_check(s);
	if (rv != CKR_OK)
		goto unknown;
	debris_free(*found);
	*found = d;
	d = NULL;
	memset(reply, 0, sizeof(*reply));
	reply->type = HSM_LISTED;
	reply->u.listed = r->counts;
	end = deaf ? OP_LEAVE : OP_STAY;
	goto out;
unknown:
	reply_no(reply, HSM_UNKNOWN, want->job, NULL, "inspect", rv,
	    ckr_group(rv), "%s failed", call);
out:
	debris_free(d);
	free(handles);
	free(r);
	return end;
}

/* ---- sweep ------------------------------------------------------------ */

/*
 * A token that fails for a while shows every object as one that does not say
 * what it is. Directly before anything is destroyed, one that did say must say
 * it again. A token that holds nothing but debris has no such object; then only
 * what says of itself that it is no token object goes.
 */
static CK_RV
witness_check(struct session *s, const struct debris *found, bool *sane)
{
	struct hsm_object o;
	bool there;
	CK_RV rv;

	*sane = !found->mute;
	if (found->witness == CK_INVALID_HANDLE)
		return CKR_OK;
	rv = object_describe(s, found->witness, &o, &there);
	*sane = rv == CKR_OK && there && o.class != OBJECT_UNREADABLE;
	return rv;
}

enum op_end
sweep_run(struct session *s, struct debris *found,
    const struct hsm_sweep *want, struct hsm_msg *reply)
{
	struct hsm_object o;
	int64_t swept = 0;
	bool there, no, sane;
	CK_RV rv;

	if ((int64_t)found->n != want->debris) {
		reply_no(reply, HSM_REFUSED, want->job, NULL, "destroy", CKR_OK,
		    CKRG_OTHER,
		    "%zu objects are debris now, not %lld; nothing was touched",
		    found->n, (long long)want->debris);
		return OP_STAY;
	}
	for (size_t i = 0; i < found->n; i++) {
		rv = witness_check(s, found, &sane);
		if (rv == CKR_OK && !sane) {
			found->n = 0;
			reply_no(reply, HSM_REFUSED, want->job, NULL, "destroy",
			    CKR_OK, CKRG_OTHER,
			    "no other object can be read now: the token fails; "
			    "%lld of %lld were destroyed",
			    (long long)swept, (long long)want->debris);
			return OP_LEAVE;
		}
		if (rv == CKR_OK)
			rv = object_describe(s, found->handles[i], &o, &there);
		if (rv == CKR_OK && there && o.debris)
			rv =
			    s->fn->C_DestroyObject(s->handle, found->handles[i]);
		else if (rv == CKR_OK)
			continue; /* it went, or has become something */
		if (rv != CKR_OK) {
			found->n = 0;
			/* after the first there is no clear no any more */
			no = swept == 0 && ckr_clear_no(rv);
			reply_no(reply, no ? HSM_REFUSED : HSM_UNKNOWN,
			    want->job, NULL, "destroy", rv, ckr_group(rv),
			    "C_DestroyObject failed after %lld of %lld",
			    (long long)swept, (long long)want->debris);
			return no && !ckr_fatal(rv) ? OP_STAY : OP_LEAVE;
		}
		swept++;
	}
	found->n = 0;
	memset(reply, 0, sizeof(*reply));
	reply->type = HSM_SWEPT;
	reply->u.swept.job = want->job;
	reply->u.swept.n = swept;
	return OP_STAY;
}
