/*
 * object.h - looking at objects in the token.
 *
 * Runs in: ksmpool-hsm.
 */
#ifndef KSMPOOL_HSM_OBJECT_H
#define KSMPOOL_HSM_OBJECT_H

#include "session.h"

/*
 * C_GetAttributeValue over all of `attrs` in one call. Where that fails (one
 * attribute is unknown, too long or sensitive; some tokens fail the whole
 * call for it), once more for each alone. What cannot be read has the length
 * CK_UNAVAILABLE_INFORMATION. CKR_OK if anything could be read; else the
 * token's code. At most OBJECT_ATTRS of them.
 */
#define OBJECT_ATTRS 16
CK_RV object_read(struct session *s, CK_OBJECT_HANDLE object,
    CK_ATTRIBUTE *attrs, CK_ULONG n);

/* Was it read, and is it so? */
bool attr_is(const CK_ATTRIBUTE *a, const void *value, size_t len);
bool attr_true(const CK_ATTRIBUTE *a);
bool attr_ulong(const CK_ATTRIBUTE *a, CK_ULONG *out);

/*
 * Up to `max` objects of any class that carry `id`. A linear scan in many
 * tokens: not for every key.
 */
CK_RV object_find_id(struct session *s, const struct key_id *id,
    CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG *n);

/*
 * Every object there is, by the empty template: what finds the debris that a
 * killed module leaves, without id, label and CKA_TOKEN. Handles first,
 * attributes after: some modules do not like calls in the middle of a search.
 * free(*out).
 */
CK_RV object_find_all(struct session *s, CK_OBJECT_HANDLE **out, size_t *n);

#endif
