#include "ksmpool/attribute.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/key.h"

#define VENDOR	    UINT64_C(0x80000000)
#define VENDOR_LAST UINT64_C(0xffffffff)

static const struct attribute_rule rules[] = {
	/* said by the template itself; a token may not want to hear it */
	{ "CKA_CLASS", 0x0, ATTRIBUTE_FIXED, true, true },
	{ "CKA_KEY_TYPE", 0x100, ATTRIBUTE_FIXED, true, true },
	{ "CKA_PRIVATE", 0x2, ATTRIBUTE_FIXED, true, false },
	{ "CKA_SENSITIVE", 0x103, ATTRIBUTE_FIXED, true, false },
	{ "CKA_EXTRACTABLE", 0x162, ATTRIBUTE_FIXED, true, false },
	{ "CKA_SIGN", 0x108, ATTRIBUTE_FIXED, true, false },
	{ "CKA_VERIFY", 0x10a, ATTRIBUTE_FIXED, false, true },
	/* usage */
	{ "CKA_DECRYPT", 0x105, ATTRIBUTE_BOOL, true, false },
	{ "CKA_UNWRAP", 0x107, ATTRIBUTE_BOOL, true, false },
	{ "CKA_SIGN_RECOVER", 0x109, ATTRIBUTE_BOOL, true, false },
	{ "CKA_ENCRYPT", 0x104, ATTRIBUTE_BOOL, false, true },
	{ "CKA_WRAP", 0x106, ATTRIBUTE_BOOL, false, true },
	{ "CKA_VERIFY_RECOVER", 0x10b, ATTRIBUTE_BOOL, false, true },
	{ "CKA_DERIVE", 0x10c, ATTRIBUTE_BOOL, true, true },
	/* storage and policy */
	{ "CKA_MODIFIABLE", 0x170, ATTRIBUTE_BOOL, true, true },
	{ "CKA_COPYABLE", 0x171, ATTRIBUTE_BOOL, true, true },
	{ "CKA_DESTROYABLE", 0x172, ATTRIBUTE_BOOL, true, true },
	{ "CKA_TRUSTED", 0x86, ATTRIBUTE_BOOL, false, true },
	{ "CKA_ALWAYS_SENSITIVE", 0x165, ATTRIBUTE_BOOL, true, false },
	{ "CKA_NEVER_EXTRACTABLE", 0x164, ATTRIBUTE_BOOL, true, false },
	{ "CKA_WRAP_WITH_TRUSTED", 0x210, ATTRIBUTE_BOOL, true, false },
	{ "CKA_ALWAYS_AUTHENTICATE", 0x202, ATTRIBUTE_BOOL, true, false },
	{ "CKA_SUBJECT", 0x101, ATTRIBUTE_BYTES, true, true },
	{ "CKA_START_DATE", 0x110, ATTRIBUTE_BYTES, true, true },
	{ "CKA_END_DATE", 0x111, ATTRIBUTE_BYTES, true, true },
};

static const struct attribute_rule vendors = {
	NULL, VENDOR, ATTRIBUTE_BYTES, true, true
};

/* "CKA_0x80000001"; 0: it is none of a vendor. */
static uint64_t
vendor_type(const char *name)
{
	uint64_t type;
	char *end;

	if (strncmp(name, "CKA_0x", 6) != 0 || name[6] == '\0' ||
	    strlen(name) > 6 + 8 ||
	    strspn(name + 6, "0123456789abcdefABCDEF") != strlen(name + 6))
		return 0;
	type = strtoull(name + 6, &end, 16);
	return type >= VENDOR && type <= VENDOR_LAST ? type : 0;
}

const struct attribute_rule *
attribute_find(const char *name)
{
	for (size_t i = 0; i < nitems(rules); i++)
		if (strcmp(rules[i].name, name) == 0)
			return &rules[i];
	return vendor_type(name) != 0 ? &vendors : NULL;
}

uint64_t
attribute_type(const char *name)
{
	const struct attribute_rule *rule = attribute_find(name);

	if (rule == NULL)
		return 0;
	return rule->name != NULL ? rule->type : vendor_type(name);
}

static bool
is_flag(const char *value)
{
	return strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
}

/* Of a vendor's attribute only the value says what it is. */
static enum attribute_kind
kind_of(const char *value)
{
	if (is_flag(value))
		return ATTRIBUTE_BOOL;
	return strncmp(value, "0x", 2) == 0 ? ATTRIBUTE_BYTES : ATTRIBUTE_NUMBER;
}

static enum ksm_err
value_parse(enum attribute_kind kind, const char *value,
    struct attribute_value *out, struct ksm_fail *fail)
{
	size_t len = strlen(value);
	char *end;

	out->kind = kind;
	switch (kind) {
	case ATTRIBUTE_BOOL:
		if (!is_flag(value))
			return ksm_failf(fail, KSM_EREFUSED, "true or false");
		out->flag = value[0] == 't';
		return KSM_OK;
	case ATTRIBUTE_NUMBER:
		errno = 0;
		out->number = strtoull(value, &end, 10);
		if (value[0] < '0' || value[0] > '9' || *end != '\0' ||
		    errno != 0)
			return ksm_failf(fail, KSM_EREFUSED,
			    "true, false, a whole number, or 0x and hex pairs");
		return KSM_OK;
	case ATTRIBUTE_BYTES:
		out->len = len > 2 ? (len - 2) / 2 : 0;
		if (strncmp(value, "0x", 2) != 0 || len % 2 != 0 ||
		    out->len > sizeof(out->bytes) ||
		    (out->len > 0 &&
			!hex_parse(value + 2, out->bytes, out->len)))
			return ksm_failf(fail, KSM_EREFUSED,
			    "0x and at most %d hex pairs", ATTRIBUTE_BYTES_MAX);
		return KSM_OK;
	case ATTRIBUTE_FIXED:
		break;
	}
	return ksm_failf(fail, KSM_EREFUSED,
	    "to leave it out at most: what it says is the policy's");
}

enum ksm_err
attribute_check(const char *name, bool public_half, const char *value,
    struct attribute_value *out, struct ksm_fail *fail)
{
	const struct attribute_rule *rule = attribute_find(name);
	struct attribute_value none;

	if (out == NULL)
		out = &none;
	memset(out, 0, sizeof(*out));
	if (rule == NULL)
		return ksm_failf(fail, KSM_EREFUSED,
		    "an attribute that may be changed, CKA_DECRYPT for "
		    "example, or a vendor's as CKA_0x80000001");
	if (public_half ? !rule->public_half : !rule->private_half)
		return ksm_failf(fail, KSM_EREFUSED, "it on the %s half",
		    public_half ? "private" : "public");
	if (value == NULL)
		return rule->kind == ATTRIBUTE_FIXED
		    ? KSM_OK
		    : ksm_failf(fail, KSM_EREFUSED,
			  "one that is in the template without being added");
	return value_parse(rule->name != NULL ? rule->kind : kind_of(value),
	    value, out, fail);
}
