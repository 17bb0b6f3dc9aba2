#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckr.h"
#include "evidence.h"
#include "object.h"
#include "operation.h"

#define ID_ROOM	   64 /* longer ids are foreign anyhow */
#define REUSE_MAX  16 /* enumerations in a row that trust earlier ones */

struct entry {
	struct key_id id;
	bool is_private;
	CK_OBJECT_HANDLE handle;
};

/* Modulus or point of one half, by which it is known again. */
struct value {
	uint8_t bytes[600];
	CK_ULONG len; /* 0: could not be read */
};

/* The pair that was proven last: what `remove` may destroy. */
struct proven {
	bool valid;
	struct key_id id;
	struct pair pair;
	int family; /* enum alg_family */
	struct value priv, pub;
};

struct inventory {
	struct entry *entries; /* by id when complete */
	struct entry *by_handle; /* the same by handle; NULL: not wanted */
	size_t n, room;
	int reused; /* enumerations since one that read every object */
	struct proven proven;
};

void
inventory_free(struct inventory *inv)
{
	if (inv == NULL)
		return;
	free(inv->entries);
	free(inv->by_handle);
	free(inv);
}

static int
handle_cmp(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->handle < y->handle ? -1 : x->handle > y->handle;
}

static const struct entry *
known_find(const struct inventory *inv, CK_OBJECT_HANDLE handle)
{
	struct entry e = { .handle = handle };

	return bsearch(&e, inv->by_handle, inv->n, sizeof(e), handle_cmp);
}

static int
entry_cmp(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return key_id_cmp(&x->id, &y->id);
}

static struct inventory *
inventory_new(void)
{
	struct inventory *inv = calloc(1, sizeof(*inv));

	if (inv == NULL)
		return NULL;
	inv->room = 1024;
	inv->entries = calloc(inv->room, sizeof(*inv->entries));
	if (inv->entries == NULL) {
		free(inv);
		return NULL;
	}
	return inv;
}

static bool
entry_add(struct inventory *inv, const struct entry *e)
{
	struct entry *more;

	if (inv->n == inv->room) {
		more = reallocarray(inv->entries, 2 * inv->room, sizeof(*more));
		if (more == NULL)
			return false;
		inv->entries = more;
		inv->room *= 2;
	}
	inv->entries[inv->n++] = *e;
	return true;
}

/* The entries of one id: the first, and how many. */
static struct entry *
entries_find(const struct inventory *inv, const struct key_id *id, size_t *n)
{
	size_t low = 0, high = inv->n, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (key_id_cmp(&inv->entries[mid].id, id) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*n = 0;
	while (low + *n < inv->n &&
	       key_id_cmp(&inv->entries[low + *n].id, id) == 0)
		(*n)++;
	return inv->entries + low;
}

struct halves {
	int privates, publics;
	struct pair first;
};

static struct halves
halves_of(const struct inventory *inv, const struct key_id *id)
{
	struct halves h = { 0, 0, { CK_INVALID_HANDLE, CK_INVALID_HANDLE } };
	const struct entry *e;
	size_t n;

	e = entries_find(inv, id, &n);
	for (; n > 0; n--, e++) {
		if (e->is_private && h.privates++ == 0)
			h.first.priv = e->handle;
		if (!e->is_private && h.publics++ == 0)
			h.first.pub = e->handle;
	}
	return h;
}

/* ---- enumerate -------------------------------------------------------- */

enum sort {
	SORT_KEY, /* a 16-byte id */
	SORT_FOREIGN,
	SORT_NAMELESS,
	SORT_OTHER,
	SORT_VANISHED, /* gone between the search and the look */
};

static CK_RV
object_sort(struct session *s, CK_OBJECT_HANDLE object, enum sort *sort,
    struct entry *e)
{
	CK_OBJECT_CLASS class = 0;
	uint8_t id[ID_ROOM];
	CK_ATTRIBUTE a[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_ID, id, sizeof(id) },
	};
	CK_ATTRIBUTE l = { CKA_LABEL, NULL, 0 };
	CK_RV rv;

	*sort = SORT_NAMELESS;
	rv = object_read(s, object, a, nitems(a));
	if (ckr_lost(rv))
		return rv;
	if (rv == CKR_OBJECT_HANDLE_INVALID) {
		*sort = SORT_VANISHED;
		return CKR_OK;
	}
	if (rv != CKR_OK || !attr_ulong(&a[0], &class))
		return CKR_OK;
	if (class != CKO_PRIVATE_KEY && class != CKO_PUBLIC_KEY) {
		*sort = SORT_OTHER;
		return CKR_OK;
	}
	if (a[1].ulValueLen == KEY_ID_LEN) {
		*sort = SORT_KEY;
		memcpy(e->id.bytes, id, KEY_ID_LEN);
		e->is_private = class == CKO_PRIVATE_KEY;
		e->handle = object;
		return CKR_OK;
	}
	if (a[1].ulValueLen != 0 &&
	    a[1].ulValueLen != CK_UNAVAILABLE_INFORMATION) {
		*sort = SORT_FOREIGN;
		return CKR_OK;
	}
	/* no id, or one too long for us: its length, then the label's */
	a[1].pValue = NULL;
	a[1].ulValueLen = 0;
	rv = s->fn->C_GetAttributeValue(s->handle, object, &a[1], 1);
	if (rv == CKR_OK && a[1].ulValueLen != 0 &&
	    a[1].ulValueLen != CK_UNAVAILABLE_INFORMATION) {
		*sort = SORT_FOREIGN;
		return CKR_OK;
	}
	if (ckr_lost(rv))
		return rv;
	rv = s->fn->C_GetAttributeValue(s->handle, object, &l, 1);
	if (rv == CKR_OK && l.ulValueLen != 0 &&
	    l.ulValueLen != CK_UNAVAILABLE_INFORMATION)
		*sort = SORT_FOREIGN;
	return ckr_lost(rv) ? rv : CKR_OK;
}

/* A page under way, and the counts. */
struct listing {
	struct inventory *inv;
	struct hsm_msg page;
	struct key_id privates[PAGE_IDS], publics[PAGE_IDS];
	struct hsm_listed counts;
	page_fn send;
	void *ctx;
};

static bool
page_flush(struct listing *l)
{
	struct hsm_page *p = &l->page.u.page;

	if (p->nprivates + p->npublics == 0)
		return true;
	l->counts.pages++;
	if (!l->send(l->ctx, &l->page))
		return false;
	p->nprivates = p->npublics = 0;
	return true;
}

enum step { STEP_OK, STEP_NOMEM, STEP_DEAF };

/*
 * A verifier that enumerates again in one session reads only what is new: in
 * a token of 10,000 keys reading takes three times as long as finding, and
 * the signers pay for it. An object keeps its handle as long as it is there
 * (PKCS#11 2.6.5); when any known handle is gone, or after REUSE_MAX rounds,
 * everything is read. NULL: read everything.
 */
static const struct inventory *
reusable(const struct session *s, const struct inventory *before,
    const CK_OBJECT_HANDLE *handles, size_t n)
{
	size_t hits = 0;

	if (s->start.purpose != PURPOSE_VERIFIER || before == NULL ||
	    before->by_handle == NULL || before->reused >= REUSE_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++)
		hits += known_find(before, handles[i]) != NULL;
	return hits == before->n ? before : NULL;
}

/* For the next enumeration; without memory it reads everything again. */
static void
handles_remember(struct inventory *inv, const struct inventory *before)
{
	inv->reused = before == NULL ? 0 : before->reused + 1;
	inv->by_handle = calloc(inv->n + 1, sizeof(*inv->by_handle));
	if (inv->by_handle == NULL)
		return;
	memcpy(inv->by_handle, inv->entries, inv->n * sizeof(*inv->entries));
	qsort(inv->by_handle, inv->n, sizeof(*inv->by_handle), handle_cmp);
}

static enum step
listing_add(struct listing *l, enum sort sort, const struct entry *e)
{
	struct hsm_page *p = &l->page.u.page;

	switch (sort) {
	case SORT_KEY:
		break;
	case SORT_FOREIGN:
		l->counts.foreign++;
		return STEP_OK;
	case SORT_NAMELESS:
		l->counts.nameless++;
		return STEP_OK;
	case SORT_OTHER:
		l->counts.other++;
		return STEP_OK;
	case SORT_VANISHED:
		return STEP_OK;
	}
	if (!entry_add(l->inv, e))
		return STEP_NOMEM;
	if (e->is_private) {
		l->counts.privates++;
		p->privates[p->nprivates++] = e->id;
	} else {
		l->counts.publics++;
		p->publics[p->npublics++] = e->id;
	}
	if (p->nprivates + p->npublics == PAGE_IDS && !page_flush(l))
		return STEP_DEAF;
	return STEP_OK;
}

/*
 * All objects into the listing. What reads as nameless is looked at once
 * more at the end: it may have been in the middle of being written.
 */
static CK_RV
objects_list(struct session *s, struct listing *l,
    const struct inventory *before, CK_OBJECT_HANDLE *handles, size_t n,
    enum step *step)
{
	const struct entry *known;
	struct entry e;
	enum sort sort;
	size_t again = 0;
	CK_RV rv;

	*step = STEP_OK;
	for (size_t i = 0; i < n; i++) {
		known = before == NULL ? NULL : known_find(before, handles[i]);
		if (known != NULL) {
			*step = listing_add(l, SORT_KEY, known);
			if (*step != STEP_OK)
				return CKR_OK;
			continue;
		}
		rv = object_sort(s, handles[i], &sort, &e);
		if (rv != CKR_OK)
			return rv;
		if (sort == SORT_NAMELESS) {
			handles[again++] = handles[i];
			continue;
		}
		*step = listing_add(l, sort, &e);
		if (*step != STEP_OK)
			return CKR_OK;
	}
	for (size_t i = 0; i < again; i++) {
		rv = object_sort(s, handles[i], &sort, &e);
		if (rv != CKR_OK)
			return rv;
		*step = listing_add(l, sort, &e);
		if (*step != STEP_OK)
			return CKR_OK;
	}
	return CKR_OK;
}

/* False: errno says why. */
static bool
path_sync(const char *path)
{
	int fd, saved;
	bool ok;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return false;
	ok = syncfs(fd) == 0;
	saved = errno;
	(void)close(fd);
	errno = saved;
	return ok;
}

enum op_end
enumerate_run(struct session *s, struct inventory **inv,
    const struct hsm_enumerate *want, page_fn send, void *ctx,
    struct hsm_msg *reply)
{
	enum op_end end = OP_LEAVE;
	struct listing *l = NULL;
	const struct inventory *before = NULL;
	CK_OBJECT_HANDLE *handles = NULL;
	const char *call = "looking at the token";
	enum step step = STEP_OK;
	size_t n = 0;
	CK_RV rv;

	if (want->sync_path[0] != '\0' && !path_sync(want->sync_path)) {
		reply_no(reply, HSM_REFUSED, want->job, NULL, "sync", CKR_OK,
		    CKRG_OTHER, "sync %.150s: %s", want->sync_path,
		    strerror(errno));
		return OP_STAY;
	}
	l = calloc(1, sizeof(*l));
	if (l != NULL)
		l->inv = inventory_new();
	if (l == NULL || l->inv == NULL) {
		rv = CKR_HOST_MEMORY;
		goto unknown;
	}
	l->send = send;
	l->ctx = ctx;
	l->counts.job = want->job;
	l->page.type = HSM_PAGE;
	l->page.u.page.job = want->job;
	l->page.u.page.privates = l->privates;
	l->page.u.page.publics = l->publics;

	call = "C_FindObjects";
	rv = object_find_all(s, &handles, &n);
	if (rv != CKR_OK)
		goto unknown;
	call = "C_GetAttributeValue";
	before = reusable(s, *inv, handles, n);
	rv = objects_list(s, l, before, handles, n, &step);
	if (rv == CKR_OK && step == STEP_NOMEM)
		rv = CKR_HOST_MEMORY;
	if (rv != CKR_OK)
		goto unknown;
	if (step == STEP_OK && !page_flush(l))
		step = STEP_DEAF;
	/* an absent token answers "nothing there, CKR_OK" in some modules */
	call = "C_GetTokenInfo";
	rv = session_check(s);
	if (rv != CKR_OK)
		goto unknown;

	qsort(l->inv->entries, l->inv->n, sizeof(*l->inv->entries), entry_cmp);
	if (s->start.purpose == PURPOSE_VERIFIER)
		handles_remember(l->inv, before);
	inventory_free(*inv);
	*inv = l->inv;
	l->inv = NULL;
	memset(reply, 0, sizeof(*reply));
	reply->type = HSM_LISTED;
	reply->u.listed = l->counts;
	end = step == STEP_DEAF ? OP_LEAVE : OP_STAY;
	goto out;
unknown:
	reply_no(reply, HSM_UNKNOWN, want->job, NULL, "enumerate", rv,
	    ckr_group(rv), "%s failed", call);
out:
	if (l != NULL)
		inventory_free(l->inv);
	free(handles);
	free(l);
	return end;
}

/* ---- prove ------------------------------------------------------------ */

/* What other keys say about a token that could not sign with this one. */
enum others {
	OTHERS_SIGN,
	OTHERS_FEW, /* not enough of them to judge by */
	OTHERS_FAIL,
};

#define OTHERS_ASKED 8 /* at most; so many torn keys in a row are none */
#define OTHERS_LEAST 3

/*
 * CKR_GENERAL_ERROR of a signature may mean this key (torn by a kill) or this
 * process (tpm2-pkcs11 signs with some 28 keys per login) or the token.
 */
static enum others
others_ask(
    struct session *s, const struct inventory *inv, const struct key_id *id)
{
	int asked = 0;

	/* last in the order of ids: most often not proven just before */
	for (size_t i = inv->n; i > 0 && asked < OTHERS_ASKED; i--) {
		const struct entry *e = &inv->entries[i - 1];

		if (!e->is_private || key_id_cmp(&e->id, id) == 0)
			continue;
		asked++;
		if (evidence_signs(s, e->handle))
			return OTHERS_SIGN;
	}
	return asked < OTHERS_LEAST ? OTHERS_FEW : OTHERS_FAIL;
}

/*
 * What identifies the key behind a handle: the modulus, or the point (a
 * private half has none in most tokens: a length of 0).
 */
static CK_RV
value_read(
    struct session *s, CK_OBJECT_HANDLE object, int family, struct value *v)
{
	CK_ATTRIBUTE a = { family == ALG_RSA ? CKA_MODULUS : CKA_EC_POINT,
		v->bytes, sizeof(v->bytes) };
	CK_RV rv = object_read(s, object, &a, 1);

	v->len = rv == CKR_OK && a.ulValueLen != CK_UNAVAILABLE_INFORMATION
		     ? a.ulValueLen
		     : 0;
	return ckr_lost(rv) ? rv : CKR_OK;
}

static void
proven_note(struct session *s, struct inventory *inv, const struct alg *alg,
    const struct key_id *id, const struct halves *h)
{
	struct proven *p = &inv->proven;

	*p = (struct proven){ .valid = h->privates == 1 && h->publics <= 1,
		.id = *id,
		.pair = h->first,
		.family = (int)alg->family };
	if (p->valid)
		(void)value_read(s, h->first.priv, p->family, &p->priv);
	if (p->valid && h->publics == 1)
		(void)value_read(s, h->first.pub, p->family, &p->pub);
}

enum op_end
prove_run(struct session *s, struct inventory *inv,
    const struct hsm_prove *want, struct hsm_msg *reply)
{
	const struct alg *alg = alg_find(want->alg);
	struct halves h = halves_of(inv, &want->id);
	enum others others = OTHERS_SIGN;
	struct hsm_proof proof;
	CK_RV rv = CKR_OK;

	if (alg == NULL) {
		reply_no(reply, HSM_REFUSED, want->job, &want->id, "read",
		    CKR_OK, CKRG_POLICY, "no keys of algorithm %d", want->alg);
		return OP_STAY;
	}
	proven_note(s, inv, alg, &want->id, &h);
	memset(&proof, 0, sizeof(proof));
	proof.job = want->job;
	proof.id = want->id;
	proof.privates = h.privates;
	proof.publics = h.publics;
	if (h.privates > 0) {
		rv = evidence_take(s, alg, &want->id, &h.first, want->challenge,
		    &proof.evidence, NULL);
		if (h.publics == 0)
			proof.evidence.public_ok =
			    s->start.skip_public && alg->family == ALG_RSA;
	}
	if (ckr_fatal(rv) && !ckr_lost(rv))
		others = others_ask(s, inv, &want->id);
	if (ckr_lost(rv) || others == OTHERS_FAIL) {
		reply_no(reply, HSM_UNKNOWN, want->job, &want->id, "sign", rv,
		    ckr_group(rv), "%s failed",
		    others == OTHERS_FAIL ? "signing, with other keys as well,"
					  : "reading back and signing");
		return OP_LEAVE;
	}
	memset(reply, 0, sizeof(*reply));
	reply->type = HSM_PROOF;
	reply->u.proof = proof;
	/* what a destroyer is to remove need not sign: it is known otherwise */
	return others == OTHERS_SIGN || s->start.purpose == PURPOSE_DESTROYER
		   ? OP_STAY
		   : OP_LEAVE;
}

/* ---- destroy ---------------------------------------------------------- */

/* Does the handle still stand for that half of that key? */
static CK_RV
half_check(struct session *s, CK_OBJECT_HANDLE object, const struct key_id *id,
    enum key_half half, bool *same)
{
	CK_OBJECT_CLASS class = 0;
	CK_OBJECT_CLASS wanted =
	    half == HALF_PRIVATE ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY;
	uint8_t room[ID_ROOM];
	CK_ATTRIBUTE a[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_ID, room, sizeof(room) },
	};
	CK_RV rv;

	rv = object_read(s, object, a, nitems(a));
	*same = rv == CKR_OK && attr_ulong(&a[0], &class) && class == wanted &&
		attr_is(&a[1], id->bytes, sizeof(id->bytes));
	return rv;
}

static void
entry_remove(struct inventory *inv, const struct key_id *id)
{
	struct entry *e;
	size_t n, after;

	e = entries_find(inv, id, &n);
	after = inv->n - (size_t)(e - inv->entries) - n;
	memmove(e, e + n, after * sizeof(*e));
	inv->n -= n;
}

enum op_end
destroy_run(struct session *s, struct inventory *inv,
    const struct hsm_destroy *want, struct hsm_msg *reply)
{
	struct halves h = halves_of(inv, &want->id);
	bool private = want->half == HALF_PRIVATE, same = false;
	CK_OBJECT_HANDLE object = private ? h.first.priv : h.first.pub;
	CK_RV rv;

	if ((private ? h.privates : h.publics) != 1 ||
	    (private ? h.publics : h.privates) != 0) {
		reply_no(reply, HSM_REFUSED, want->job, &want->id, "destroy",
		    CKR_OK, CKRG_OTHER,
		    "not just the one %s half: %d private, %d public",
		    private ? "private" : "public", h.privates, h.publics);
		return OP_STAY;
	}
	rv = half_check(s, object, &want->id, want->half, &same);
	if (rv == CKR_OK && !same) {
		reply_no(reply, HSM_REFUSED, want->job, &want->id, "destroy",
		    CKR_OK, CKRG_OTHER,
		    "the handle stands for another object now");
		return OP_STAY;
	}
	if (rv != CKR_OK) {
		/* nothing was destroyed, that much is sure */
		reply_no(reply, HSM_REFUSED, want->job, &want->id, "read", rv,
		    ckr_group(rv), "C_GetAttributeValue failed");
		return ckr_fatal(rv) ? OP_LEAVE : OP_STAY;
	}
	rv = s->fn->C_DestroyObject(s->handle, object);
	if (rv == CKR_OK) {
		entry_remove(inv, &want->id);
		memset(reply, 0, sizeof(*reply));
		reply->type = HSM_DESTROYED;
		reply->u.destroyed.job = want->job;
		reply->u.destroyed.id = want->id;
		return OP_STAY;
	}
	reply_no(reply, ckr_clear_no(rv) ? HSM_REFUSED : HSM_UNKNOWN, want->job,
	    &want->id, "destroy", rv, ckr_group(rv), "C_DestroyObject failed");
	return ckr_clear_no(rv) && !ckr_fatal(rv) ? OP_STAY : OP_LEAVE;
}

/* ---- remove ----------------------------------------------------------- */

/*
 * Once more, directly before it goes: this handle is that half of that key.
 * A value that was read for the proof must be read again, and be the same.
 */
static CK_RV
proven_check(struct session *s, const struct proven *p, enum key_half half,
    bool *same)
{
	CK_OBJECT_HANDLE object =
	    half == HALF_PRIVATE ? p->pair.priv : p->pair.pub;
	const struct value *was = half == HALF_PRIVATE ? &p->priv : &p->pub;
	struct value now;
	CK_RV rv;

	rv = half_check(s, object, &p->id, half, same);
	if (rv != CKR_OK || !*same || was->len == 0)
		return rv;
	rv = value_read(s, object, p->family, &now);
	*same = now.len == was->len &&
		memcmp(now.bytes, was->bytes, now.len) == 0;
	return rv;
}

/*
 * Both halves are looked at before anything goes: of an EC pair only the
 * public one says which key it is. Then the private half first: a public half
 * that stays signs nothing and is settled as a half later. After it has gone
 * there is no clear no any more.
 */
enum op_end
remove_run(struct session *s, struct inventory *inv,
    const struct hsm_remove *want, struct hsm_msg *reply)
{
	struct proven p = inv->proven;
	bool same = true, asked = false, begun = false;
	enum key_half half = HALF_PRIVATE;
	CK_RV rv = CKR_OK;

	inv->proven.valid = false;
	if (!p.valid || key_id_cmp(&p.id, &want->id) != 0) {
		reply_no(reply, HSM_REFUSED, want->job, &want->id, "destroy",
		    CKR_OK, CKRG_OTHER, "not the pair that was proven last");
		return OP_STAY;
	}
	if (p.pair.pub != CK_INVALID_HANDLE)
		rv = proven_check(s, &p, HALF_PUBLIC, &same);
	for (; rv == CKR_OK && same; half = HALF_PUBLIC) {
		rv = proven_check(s, &p, half, &same);
		if (rv != CKR_OK || !same)
			break;
		asked = true;
		rv = s->fn->C_DestroyObject(s->handle,
		    half == HALF_PRIVATE ? p.pair.priv : p.pair.pub);
		if (rv != CKR_OK)
			break;
		begun = true;
		if (half == HALF_PUBLIC || p.pair.pub == CK_INVALID_HANDLE)
			break;
	}
	if (rv == CKR_OK && same) {
		entry_remove(inv, &want->id);
		memset(reply, 0, sizeof(*reply));
		reply->type = HSM_DESTROYED;
		reply->u.destroyed.job = want->job;
		reply->u.destroyed.id = want->id;
		return OP_STAY;
	}
	if (begun || (asked && !ckr_clear_no(rv))) {
		reply_no(reply, HSM_UNKNOWN, want->job, &want->id, "destroy",
		    rv, ckr_group(rv), "%s",
		    begun ? "its public half was not destroyed"
			  : "C_DestroyObject failed");
		return OP_LEAVE;
	}
	reply_no(reply, HSM_REFUSED, want->job, &want->id, "destroy", rv,
	    ckr_group(rv), "%s",
	    rv != CKR_OK ? "it could not be read or destroyed"
			 : "the handle stands for another object now");
	return ckr_fatal(rv) ? OP_LEAVE : OP_STAY;
}
