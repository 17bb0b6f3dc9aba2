#include "object.h"

#include <stdlib.h>
#include <string.h>

#include "ckr.h"

#define FIND_BATCH 1024

CK_RV
object_read(
    struct session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attrs, CK_ULONG n)
{
	CK_ULONG room[OBJECT_ATTRS];
	bool any = false;
	CK_RV rv, one;

	for (CK_ULONG i = 0; i < n; i++)
		room[i] = attrs[i].ulValueLen;
	rv = s->fn->C_GetAttributeValue(s->handle, object, attrs, n);
	if (rv == CKR_OK) {
		for (CK_ULONG i = 0; i < n; i++)
			if (attrs[i].ulValueLen > room[i])
				attrs[i].ulValueLen =
				    CK_UNAVAILABLE_INFORMATION;
		return CKR_OK;
	}
	for (CK_ULONG i = 0; i < n; i++) {
		attrs[i].ulValueLen = room[i];
		one = ckr_lost(rv) ? rv
				   : s->fn->C_GetAttributeValue(
					 s->handle, object, &attrs[i], 1);
		if (one == CKR_OK && attrs[i].ulValueLen <= room[i]) {
			any = true;
			continue;
		}
		attrs[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
		if (one != CKR_OK)
			rv = one;
	}
	return any ? CKR_OK : rv;
}

bool
attr_is(const CK_ATTRIBUTE *a, const void *value, size_t len)
{
	return a->ulValueLen == len && memcmp(a->pValue, value, len) == 0;
}

bool
attr_true(const CK_ATTRIBUTE *a)
{
	return a->ulValueLen == sizeof(CK_BBOOL) &&
	       *(const CK_BBOOL *)a->pValue != CK_FALSE;
}

bool
attr_ulong(const CK_ATTRIBUTE *a, CK_ULONG *out)
{
	if (a->ulValueLen != sizeof(*out))
		return false;
	memcpy(out, a->pValue, sizeof(*out));
	return true;
}

CK_RV
object_find_id(struct session *s, const struct key_id *id,
    CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG *n)
{
	struct key_id wanted = *id;
	CK_ATTRIBUTE by_id[] = {
		{ CKA_ID, wanted.bytes, sizeof(wanted.bytes) },
	};
	CK_RV rv, end;

	*n = 0;
	rv = s->fn->C_FindObjectsInit(s->handle, by_id, nitems(by_id));
	if (rv != CKR_OK)
		return rv;
	rv = s->fn->C_FindObjects(s->handle, out, max, n);
	end = s->fn->C_FindObjectsFinal(s->handle);
	if (*n > max)
		*n = max;
	return rv != CKR_OK ? rv : end;
}

CK_RV
object_find_all(struct session *s, CK_OBJECT_HANDLE **out, size_t *nout)
{
	CK_OBJECT_HANDLE *all = NULL, *more;
	size_t n = 0, room = 0;
	CK_ULONG got;
	CK_RV rv, end;

	rv = s->fn->C_FindObjectsInit(s->handle, NULL, 0);
	if (rv != CKR_OK)
		return rv;
	do {
		got = 0;
		if (room - n < FIND_BATCH) {
			room = room == 0 ? FIND_BATCH : 2 * room;
			more = reallocarray(all, room, sizeof(*all));
			if (more == NULL) {
				rv = CKR_HOST_MEMORY;
				break;
			}
			all = more;
		}
		rv = s->fn->C_FindObjects(s->handle, all + n, FIND_BATCH, &got);
		if (rv == CKR_OK && got > FIND_BATCH)
			rv = CKR_GENERAL_ERROR;
		if (rv == CKR_OK)
			n += got;
	} while (rv == CKR_OK && got > 0);
	end = s->fn->C_FindObjectsFinal(s->handle);
	if (rv == CKR_OK)
		rv = end;
	if (rv != CKR_OK) {
		free(all);
		return rv;
	}
	*out = all;
	*nout = n;
	return CKR_OK;
}
