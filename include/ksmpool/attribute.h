/*
 * attribute.h - what an operator may say of a generated key's template.
 *
 * Runs in: ksmpool-config (checks what is written), ksmpool-hsm (uses it);
 *          core: pure.
 * From:    PKCS#11 v3.0, 4 (objects); the names are the standard's.
 *
 * What decides whether a key is ours and safe (CKA_ID, CKA_LABEL, CKA_TOKEN,
 * the size or curve, and PRIVATE, SENSITIVE, EXTRACTABLE, SIGN and VERIFY
 * themselves) cannot be set here. Some of these may be left unsaid, for tokens
 * that refuse to hear them: what the token then made is read back and must be
 * as the policy says all the same.
 */
#ifndef KSMPOOL_ATTRIBUTE_H
#define KSMPOOL_ATTRIBUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ksmpool/err.h"

enum attribute_kind {
	ATTRIBUTE_BOOL,	  /* "true" or "false" */
	ATTRIBUTE_NUMBER, /* CK_ULONG, decimal */
	ATTRIBUTE_BYTES,  /* "0x" and hex pairs */
	ATTRIBUTE_FIXED,  /* may be removed, never set */
};

struct attribute_rule {
	const char *name;
	uint64_t type; /* CKA_* */
	enum attribute_kind kind;
	bool private_half, public_half; /* where it may be said */
};

/*
 * By name; "CKA_0x80000001" (CKA_VENDOR_DEFINED and above) is anybody's: its
 * kind follows from the value, its rule has no name. NULL: not known, or it
 * cannot be changed.
 */
const struct attribute_rule *attribute_find(const char *name);
/* The number of `name`; 0: as above. */
uint64_t attribute_type(const char *name);

#define ATTRIBUTE_BYTES_MAX 18 /* of a value: "0x" and two digits each */
struct attribute_value {
	enum attribute_kind kind;
	bool flag;
	uint64_t number;
	uint8_t bytes[ATTRIBUTE_BYTES_MAX];
	size_t len;
};

/*
 * Is this a change that can be made? `value` NULL: the attribute is removed
 * from the template. KSM_EREFUSED: fail->text says what was expected, without
 * the name. `out` may be NULL.
 */
enum ksm_err attribute_check(const char *name, bool public_half,
    const char *value, struct attribute_value *out, struct ksm_fail *fail);

#endif
